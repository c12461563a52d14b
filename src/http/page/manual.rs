//! The form for a manual credential: a key, a token, a key file.
//!
//! Owns the text about how it is used. Never shows a secret, even one that was just entered: after an error secrets are
//! entered again.

use maud::{Markup, html};

use super::consent::{ConsentDetails, disconnect_hint, other_auth_methods, requester_details};
use super::form::{described_by, error_summary, field_error, fields, invalid_fields, scope_fields};
use super::frame::{csrf_field, link, quoted_text, user_text, warnings_section};
use super::hosts::hosts_section;
use super::layout::page;
use super::{AuthMethodChoice, FormError, FormField, HostsView, PageContext, ScopeChoice};
use crate::names::MAX_NAME_LENGTH;

const SAME_ACCOUNT_HINT: &str =
    "Enter a key of that account. If the key belongs to another account, you are asked before anything changes.";

/// The form for a manual credential.
#[derive(Debug, Clone)]
pub struct ManualCredentialView {
    /// Who asks, and for what.
    pub consent: ConsentDetails,
    /// The name of its type ("API key").
    pub credential_kind: String,
    /// The inputs: the fields of the credential and variables of the app.
    pub fields: Vec<FormField>,
    /// Scopes to choose. Empty if the credential itself decides what it permits.
    pub scopes: Vec<ScopeChoice>,
    /// Whether the creator of the link has fixed the scopes.
    pub scopes_are_fixed: bool,
    /// The name of the new connection (the field `name`). Empty if none was entered.
    pub connection_name: String,
    /// Why the name was refused.
    pub name_error: Option<String>,
    /// Why the form was refused.
    pub form_error: Option<FormError>,
    /// Notes for the person, such as the app's limits, one sentence each.
    pub warnings: Vec<String>,
    /// All auth methods of the app, including this one.
    pub auth_methods: Vec<AuthMethodChoice>,
    /// Where the form posts.
    pub form_action: String,
    /// The hosts that get a secret.
    pub hosts: HostsView,
    /// Where Cancel leads.
    pub cancel_href: Option<String>,
}

/// The form for a manual credential.
pub fn manual_credential(shell: &PageContext, view: &ManualCredentialView) -> Markup {
    let mut wrong = invalid_fields(&view.fields);
    if let Some(error) = view.name_error.as_deref().filter(|_| view.consent.existing_connection.is_none()) {
        wrong.push(("name".to_owned(), NAME_LABEL, error));
    }
    let refused = view.form_error.is_some() || !wrong.is_empty();
    let body = html! {
        (error_summary(view.form_error.as_ref(), &wrong))
        h1 {
            @match &view.consent.existing_connection {
                Some((name, _)) => { "New key for " (quoted_text(name)) },
                None => { "Connect " (user_text(&view.consent.app_name)) },
            }
        }
        (requester_details(&view.consent, SAME_ACCOUNT_HINT))
        (warnings_section(&view.warnings))
        form.whole method="post" action=(view.form_action) autocomplete="off" {
            (csrf_field(shell))
            section aria-labelledby="credential" {
                h2 #credential { (user_text(&view.credential_kind)) }
                @if refused && view.fields.iter().any(|input| input.secret) {
                    p { "For your safety nothing secret was kept: enter it again." }
                }
                (fields(&view.fields))
            }
            (hosts_section(&view.hosts, "What you enter is sent to these hosts and no others:"))
            (scope_section(view))
            @if view.consent.existing_connection.is_none() { (name_field(view)) }
            (next_steps_section(view))
            div.actions {
                button.main type="submit" { "Check and save" }
                @if let Some(cancel) = &view.cancel_href { (link("Cancel", cancel, "button")) }
            }
        }
        @if view.cancel_href.is_none() {
            p.quiet { "Don’t want this? Close this page. Nothing is stored until you save." }
        }
        (disconnect_hint(&view.consent))
        (other_auth_methods(&view.auth_methods))
    };
    page(shell, &page_title(view, refused), &body)
}

/// A screen reader reads the title first, which says that the form is shown again.
fn page_title(view: &ManualCredentialView, refused: bool) -> String {
    let title = match &view.consent.existing_connection {
        Some((name, _)) => format!("New key for {name}"),
        None => format!("Connect {}", view.consent.app_name),
    };
    if refused { format!("Not accepted: {title}") } else { title }
}

fn scope_section(view: &ManualCredentialView) -> Markup {
    html! {
        @if !view.scopes.is_empty() {
            section aria-labelledby="scopes" {
                h2 #scopes { "What it asks for" }
                (scope_fields(&view.scopes, view.scopes_are_fixed))
            }
        }
    }
}

const NAME_LABEL: &str = "Name of the connection";

fn name_field(view: &ManualCredentialView) -> Markup {
    let error = view.name_error.as_deref();
    let described = described_by("name", true, error.is_some());
    html! {
        div.field.wrong[error.is_some()] {
            label for="name" { (NAME_LABEL) " (optional)" }
            p.hint #name-hint { "If empty, the name is the app and the account." }
            (field_error("name", error))
            input #name type="text" name="name" value=(view.connection_name) maxlength=(MAX_NAME_LENGTH) autocomplete="off" dir="auto"
                aria-invalid=[error.map(|_| "true")] aria-describedby=[described.as_deref()];
        }
    }
}

fn next_steps_section(view: &ManualCredentialView) -> Markup {
    html! {
        section aria-labelledby="next" {
            h2 #next { "What happens next" }
            p {
                "It is checked with " strong { (user_text(&view.consent.app_name)) } " before anything is saved. It is kept encrypted and "
                "no page shows it again. Workflow steps of the workspace " strong { (user_text(&view.consent.workspace)) } " can use it."
            }
            p {
                "Such a key allows whatever it was made for: where " (user_text(&view.consent.app_name)) " lets you choose, give it only "
                "what the workflows need, and make one for this purpose alone, so that you can revoke it alone."
            }
        }
    }
}
