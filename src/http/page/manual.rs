//! The form for a manual credential: a key, a token, a key file.
//!
//! Owns the text about how it is used. Never shows a secret, even one that was just entered: after an error secrets are
//! entered again.

use maud::{Markup, html};

use super::consent::{ConsentDetails, app_head, disconnect_hint, other_auth_methods, requester_details, strong_text};
use super::form::{described_by, error_summary, field_error, fields, invalid_fields, scope_fields};
use super::frame::{csrf_field, link, quoted_text, user_text, warnings_section};
use super::hosts::hosts_section;
use super::layout::page;
use super::text::{fill, fill_plain};
use super::{AuthMethodChoice, FormError, FormField, HostsView, PageContext, ScopeChoice};
use crate::names::MAX_NAME_LENGTH;

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
    let text = &shell.text.manual;
    let mut wrong = invalid_fields(&view.fields);
    if let Some(error) = view.name_error.as_deref().filter(|_| view.consent.existing_connection.is_none()) {
        wrong.push(("name".to_owned(), text.name, error));
    }
    let refused = view.form_error.is_some() || !wrong.is_empty();
    let heading = match &view.consent.existing_connection {
        Some((name, _)) => fill(text.new_key_title, &[("name", quoted_text(name))]),
        None => fill(shell.text.consent.connect_title, &[("app", user_text(&view.consent.app_name))]),
    };
    let body = html! {
        (error_summary(shell, view.form_error.as_ref(), &wrong))
        (app_head(&view.consent, &heading))
        (requester_details(shell, &view.consent, shell.text.consent.same_account_key))
        (warnings_section(shell, &view.warnings))
        form.whole method="post" action=(view.form_action) autocomplete="off" {
            (csrf_field(shell))
            section.card aria-labelledby="credential" {
                h2 #credential { (user_text(&view.credential_kind)) }
                @if refused && view.fields.iter().any(|input| input.secret) { p { (text.enter_again) } }
                (fields(shell, &view.fields))
                @if view.consent.existing_connection.is_none() { (name_field(shell, view)) }
            }
            (hosts_section(shell, &view.hosts, shell.text.hosts.sent_entered))
            (scope_section(shell, view))
            (next_steps_section(shell, view))
            div.actions {
                button.main type="submit" { (text.save) }
                @if let Some(cancel) = &view.cancel_href { (link(shell.text.consent.cancel, cancel, "button")) }
            }
        }
        @if view.cancel_href.is_none() { p.quiet { (text.close_before_save) } }
        (disconnect_hint(shell, &view.consent))
        (other_auth_methods(shell, &view.auth_methods))
    };
    page(shell, &page_title(shell, view, refused), &body)
}

/// A screen reader reads the title first, which says that the form is shown again.
fn page_title(shell: &PageContext, view: &ManualCredentialView, refused: bool) -> String {
    let text = &shell.text.manual;
    let title = match &view.consent.existing_connection {
        Some((name, _)) => fill_plain(text.new_key_title, &[("name", name)]),
        None => fill_plain(shell.text.consent.connect_title, &[("app", &view.consent.app_name)]),
    };
    let unreachable = view.form_error.as_ref().is_some_and(|error| error.is_unreachable);
    match (refused, unreachable) {
        (false, _) => title,
        (true, false) => fill_plain(text.refused_title, &[("title", &title)]),
        (true, true) => fill_plain(text.unreachable_title, &[("title", &title)]),
    }
}

fn scope_section(shell: &PageContext, view: &ManualCredentialView) -> Markup {
    html! {
        @if !view.scopes.is_empty() {
            section.card aria-labelledby="scopes" {
                h2 #scopes { (shell.text.consent.scopes) }
                (scope_fields(shell, &view.scopes, view.scopes_are_fixed))
            }
        }
    }
}

fn name_field(shell: &PageContext, view: &ManualCredentialView) -> Markup {
    let text = &shell.text.manual;
    let error = view.name_error.as_deref();
    let described = described_by("name", true, error.is_some());
    html! {
        div.field.wrong[error.is_some()] {
            label for="name" { (text.name) " " (shell.text.form.optional) }
            p.hint #name-hint { (text.name_hint) }
            (field_error(shell, "name", error))
            input #name type="text" name="name" value=(view.connection_name) maxlength=(MAX_NAME_LENGTH) autocomplete="off" dir="auto"
                aria-invalid=[error.map(|_| "true")] aria-describedby=[described.as_deref()];
        }
    }
}

fn next_steps_section(shell: &PageContext, view: &ManualCredentialView) -> Markup {
    let text = &shell.text.manual;
    let app = &view.consent.app_name;
    html! {
        section.card aria-labelledby="next" {
            h2 #next { (shell.text.consent.next) }
            p { (fill(text.checked_first, &[("app", strong_text(app)), ("workspace", strong_text(&view.consent.workspace))])) }
            p { (fill(text.least_rights, &[("app", user_text(app))])) }
        }
    }
}
