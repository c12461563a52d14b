//! A connection's own page: its account, whether it works, who uses it, and what can be done.
//!
//! Owns the forms that rename, check and disconnect. Disconnecting asks for confirmation and names what will stop
//! working.

use maud::{Markup, html};

use super::connection_settings::{SettingsView, replacement_section, settings_sections, step_changes_section};
use super::form::{InvalidField, described_by, error_summary, field_error};
use super::frame::{
    account_label, back_link, code_text, copyable, csrf_field, link, quoted_text, relative_time_or_never, status_badge,
    time_element, tone_class, user_text, warnings_section,
};
use super::layout::section_page;
use super::{ConnectionSummary, PageContext, Section, Tone};
use crate::names::MAX_NAME_LENGTH;
use crate::time::Timestamp;

/// All details of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// The summary of the connection.
    pub summary: ConnectionSummary,
    /// Why it needs a reconnect, as a sentence.
    pub reason: Option<String>,
    /// Granted scopes.
    pub granted_scopes: Vec<String>,
    /// Requested scopes that were not granted, with what each permits.
    pub missing_scopes: Vec<(String, Option<String>)>,
    /// Whether the workspace has removed the app: the connection can be used, and not connected again.
    pub app_removed: bool,
    /// Who may rename, reconnect and disconnect it.
    pub change_permission: ChangePermission,
    /// The entered name that was refused, and why.
    pub rejected_name: Option<(String, String)>,
    /// Where they are requested again. `None` if that cannot help.
    pub missing_scopes_href: Option<String>,
    /// The name of the credential's type ("API key"). Empty for a consent.
    pub credential_kind: String,
    /// What its access is based on.
    pub access_source: AccessSource,
    /// Where a new key is entered, for a manual credential.
    pub new_credential_href: Option<String>,
    /// Notes for a person, such as the app's limits, one sentence each.
    pub warnings: Vec<String>,
    /// Expiry of the access.
    pub expires_at: Option<Timestamp>,
    /// Whether it can be refreshed without a person.
    pub refreshable: bool,
    /// The expected end of the whole grant, and what extends it.
    pub predicted_end: Option<(Timestamp, ExtendedBy)>,
    /// When it was last checked, and the result.
    pub last_check: Option<(Timestamp, String)>,
    /// When it is checked next.
    pub next_check_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last connected.
    pub connected_at: Timestamp,
    /// Workflow, step and when it last used this connection.
    pub uses: Vec<(String, String, Timestamp)>,
    /// Where the pages of these workflows are, in the same order.
    pub workflow_hrefs: Vec<String>,
    /// Its settings.
    pub settings: SettingsView,
    /// What happened, and when.
    pub events: Vec<(Timestamp, String)>,
    /// Whether the person must still confirm a disconnect.
    pub confirming_disconnect: bool,
}

/// Who may change a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangePermission {
    /// The person who looks.
    Allowed,
    /// Only admins, and the person is not one.
    AdminsOnly,
}

/// What a connection's access is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessSource {
    /// A person's consent, which is refreshed if the app permits it.
    Consent,
    /// A manual secret that is used directly, until it is revoked.
    ManualCredential,
    /// A manual secret that is exchanged for access again and again.
    TokenExchange,
}

/// What extends an expected end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendedBy {
    /// Any use.
    Use,
    /// A refresh, which happens automatically.
    Refresh,
    /// Only a reconnect by a person.
    Reconnect,
}

/// A connection's own page.
pub fn connection(shell: &PageContext, view: &ConnectionView) -> Markup {
    let card = &view.summary;
    let body = html! {
        (error_summary(None, &invalid_fields(view)))
        (back_link(shell.text.connection.back, "/"))
        h1 { (user_text(&card.name)) }
        @if view.confirming_disconnect { (disconnect_confirmation(shell, view)) }
        (status_panel(shell, view))
        (replacement_section(shell, &card.id, &view.settings, may_change(view)))
        (step_changes_section(shell, &card.id, &view.settings, may_change(view)))
        (warnings_section(&view.warnings))
        p { a.button href={ "/connections/" (card.id) "/try" } { (shell.text.try_it.title) } }
        (details_section(shell, view))
        (granted_scopes_section(&view.granted_scopes))
        (uses_section(view))
        @if may_change(view) { (rename_section(shell, view)) (settings_sections(shell, &card.id, &view.settings)) } @else { (admins_only_note()) }
        @if may_change(view) && !view.confirming_disconnect { (disconnect_section(view)) }
        (events_section(view))
    };
    let is_rejected = view.rejected_name.is_some() || view.settings.rejected.is_some();
    let title = match (view.confirming_disconnect, is_rejected) {
        (true, _) => format!("Disconnect {}?", card.name),
        // A screen reader reads the title first, which says that the form is shown again.
        (false, true) => format!("Not accepted: {}", card.name),
        (false, false) => card.name.clone(),
    };
    section_page(shell, Section::Connections, &title, &body)
}

fn invalid_fields(view: &ConnectionView) -> Vec<InvalidField<'_>> {
    let name = view.rejected_name.iter().map(|(_, why)| ("name".to_owned(), NAME_LABEL, why.as_str()));
    let setting = view.settings.rejected.iter();
    name.chain(setting.map(|(form, why)| (form.anchor().to_owned(), form.label(), why.as_str()))).collect()
}

fn status_panel(shell: &PageContext, view: &ConnectionView) -> Markup {
    let card = &view.summary;
    // With missing scopes it must not look healthy.
    let tone = match card.status.tone {
        Tone::Good if !view.missing_scopes.is_empty() => Tone::Waiting,
        tone => tone,
    };
    html! {
        section.panel.(tone_class(tone)) aria-labelledby="state" {
            h2 #state { (status_badge(&card.status)) }
            p { (user_text(&card.app_name)) ", account: " strong { (account_label(shell, card.account_label.as_deref())) } }
            @if let Some(reason) = &view.reason { p { (user_text(reason)) } }
            @if view.app_removed { (app_removed_note(view)) }
            @if !card.attention.is_empty() {
                ul { @for sentence in &card.attention { li { (user_text(sentence)) } } }
            }
            @if let Some((at, put_off)) = view.predicted_end { (predicted_end_note(view, at, put_off)) }
            @if !view.missing_scopes.is_empty() { (missing_scopes_section(view)) }
            div.actions {
                form method="post" action={ "/connections/" (card.id) "/check" } {
                    (csrf_field(shell))
                    button type="submit" { "Check now" }
                }
                @if !view.app_removed && may_change(view) { (reconnect_link(view)) }
            }
        }
    }
}

fn app_removed_note(view: &ConnectionView) -> Markup {
    html! {
        p {
            "The app was removed from this workspace, so this can’t be connected again. "
            @if needs_reconnect(view) {
                "Disconnect it when no workflow needs it any more."
            } @else {
                "Workflows can still use the connection as long as the access lasts."
            }
        }
    }
}

/// The link to repair it: at the app, or with another key.
fn reconnect_link(view: &ConnectionView) -> Markup {
    let urgent = needs_reconnect(view) && (view.missing_scopes.is_empty() || view.missing_scopes_href.is_none());
    let class = if urgent { "button main" } else { "button" };
    match &view.new_credential_href {
        Some(href) => link("Enter a new key", href, class),
        None => link("Reconnect", &format!("/connections/{}/reconnect", view.summary.id), class),
    }
}

fn missing_scopes_section(view: &ConnectionView) -> Markup {
    html! {
        div.missing {
            h2 { "Permissions that were not granted" }
            p { "Steps that need them will fail until you allow them at " (user_text(&view.summary.app_name)) ":" }
            ul.asked {
                @for (scope, description) in &view.missing_scopes {
                    li {
                        @if let Some(description) = description { span { (user_text(description)) } }
                        (code_text(scope))
                    }
                }
            }
            @if let Some(href) = &view.missing_scopes_href { p { (link("Ask for them again", href, "button main")) } }
        }
    }
}

fn predicted_end_note(view: &ConnectionView, at: Timestamp, put_off: ExtendedBy) -> Markup {
    html! {
        @if !needs_reconnect(view) {
            p {
                "This access ends on " (time_element(at))
                @match put_off {
                    ExtendedBy::Use => " unless it is used before, which the regular check does, too.",
                    ExtendedBy::Refresh => " unless it is renewed before, which happens by itself.",
                    ExtendedBy::Reconnect if view.app_removed => ", however often it is used.",
                    ExtendedBy::Reconnect => {
                        ", even if it is used. "
                        @if view.new_credential_href.is_some() { "Enter a new key before then." } @else { "Reconnect before then." }
                    },
                }
            }
        }
    }
}

fn details_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="details" {
            h2 #details { "Details" }
            dl {
                div { dt { (shell.text.connection.id) } dd { (copyable(shell, "connection-id", &view.summary.id)) } }
                div { dt { "App" } dd { (user_text(&view.summary.app_name)) } }
                div { dt { "Account" } dd { (account_label(shell, view.summary.account_label.as_deref())) } }
                @if !view.credential_kind.is_empty() { div { dt { "Kind of access" } dd { (user_text(&view.credential_kind)) } } }
                @if let Some(owner) = &view.summary.owner { div { dt { "Owner" } dd { (user_text(owner)) } } }
                div { dt { "Last used" } dd { (relative_time_or_never(shell, view.summary.last_used_at)) } }
                div { dt { "Access token expires" } dd { (access_lifetime(view)) } }
                div {
                    dt { "Last checked" }
                    dd {
                        @match &view.last_check {
                            Some((at, found)) => { (time_element(*at)) @if !found.is_empty() { ": " (user_text(found)) } },
                            None => "never",
                        }
                    }
                }
                div {
                    dt { "Next check" }
                    dd {
                        @match view.next_check_at {
                            Some(at) => (time_element(at)),
                            None => "not planned",
                        }
                    }
                }
                div { dt { "Last connected" } dd { (time_element(view.connected_at)) } }
                // A connection is stored a moment after its first grant: until the second one this would look wrong.
                @if view.created_at < view.connected_at {
                    div { dt { "First connected" } dd { (time_element(view.created_at)) } }
                }
            }
        }
    }
}

fn access_lifetime(view: &ConnectionView) -> Markup {
    let app = user_text(&view.summary.app_name);
    html! {
        @match (view.access_source, view.expires_at, view.refreshable) {
            _ if needs_reconnect(view) && view.app_removed => "ended",
            (AccessSource::Consent, _, _) if needs_reconnect(view) => "ended: reconnect to renew it",
            _ if needs_reconnect(view) => "ended: enter a new key",
            (AccessSource::ManualCredential, Some(at), _) | (AccessSource::Consent, Some(at), false) if view.app_removed => {
                (time_element(at)) ", can’t be renewed"
            },
            (AccessSource::ManualCredential, Some(at), _) => { (time_element(at)) ", can’t be renewed: enter a new key before then" },
            (AccessSource::ManualCredential, None, _) => {
                "a key does not end by itself; it works until it is revoked at " (app)
            },
            (AccessSource::TokenExchange, Some(at), _) => {
                (time_element(at)) ", renewed by itself when needed, until the key is revoked at " (app)
            },
            (AccessSource::TokenExchange, None, _) => {
                "renewed by itself when needed, until the key is revoked at " (app)
            },
            (AccessSource::Consent, Some(at), true) => { (time_element(at)) ", renewed by itself when needed" },
            (AccessSource::Consent, Some(at), false) => { (time_element(at)) ", can’t be renewed: reconnect before then" },
            (AccessSource::Consent, None, true) => "no end known, renewed by itself when needed",
            (AccessSource::Consent, None, false) => "no end known",
        }
    }
}

fn may_change(view: &ConnectionView) -> bool {
    view.change_permission == ChangePermission::Allowed
}

fn needs_reconnect(view: &ConnectionView) -> bool {
    view.summary.status.tone == Tone::Bad
}

fn granted_scopes_section(granted: &[String]) -> Markup {
    html! {
        section aria-labelledby="granted" {
            h2 #granted { "Permissions" }
            @if granted.is_empty() {
                p { "The app has not named any permissions for this connection." }
            } @else {
                ul.scopes { @for scope in granted { li { (code_text(scope)) } } }
            }
        }
    }
}

fn uses_section(view: &ConnectionView) -> Markup {
    let uses = &view.uses;
    let hrefs = view.workflow_hrefs.iter().map(Some).chain(std::iter::repeat(None));
    html! {
        section aria-labelledby="uses" {
            h2 #uses { "Used by" }
            @if uses.is_empty() {
                p { "No workflow has used this connection yet." }
            } @else {
                table {
                    caption.unseen { "Workflow steps that use this connection" }
                    thead {
                        tr { th scope="col" { "Workflow" } th scope="col" { "Step" } th scope="col" { "Last used" } }
                    }
                    tbody {
                        @for ((workflow, step, last), href) in uses.iter().zip(hrefs) {
                            tr {
                                th scope="row" {
                                    @match href {
                                        _ if workflow.is_empty() => "not named",
                                        Some(href) => (link(workflow, href, "")),
                                        None => (user_text(workflow)),
                                    }
                                }
                                td data-label="Step" { @if step.is_empty() { "not named" } @else { (user_text(step)) } }
                                td data-label="Last used" { (time_element(*last)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

const NAME_LABEL: &str = "Name of this connection";

fn rename_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let entered = view.rejected_name.as_ref().map_or(view.summary.name.as_str(), |(entered, _)| entered);
    let wrong = view.rejected_name.as_ref().map(|(_, why)| why.as_str());
    let described = described_by("name", false, wrong.is_some());
    html! {
        section aria-labelledby="rename" {
            h2 #rename { "Rename" }
            (field_error("name", wrong))
            form.line method="post" action={ "/connections/" (view.summary.id) "/rename" } {
                (csrf_field(shell))
                label for="name" { (NAME_LABEL) }
                input #name type="text" name="name" value=(entered) required maxlength=(MAX_NAME_LENGTH)
                    autocomplete="off" dir="auto" aria-invalid=[wrong.map(|_| "true")]
                    aria-describedby=[described.as_deref()];
                button type="submit" { "Save name" }
            }
            p.quiet { "Workflows find the connection by its id, so a new name breaks nothing." }
        }
    }
}

/// For a member who sees a shared connection.
fn admins_only_note() -> Markup {
    html! {
        section aria-labelledby="admins" {
            h2 #admins { "Changes" }
            p {
                "This connection is shared with everybody in the workspace. Only its owner or an admin can rename, reconnect, "
                "replace or disconnect it, and change its environment and who uses it. Ask an admin if it has to change."
            }
        }
    }
}

fn disconnect_section(view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="disconnect" {
            h2 #disconnect { "Disconnect" }
            p { "Ends the access and erases what is stored. You are asked once more first." }
            p { a.button.danger href={ "/connections/" (view.summary.id) "?disconnect=1" } { "Disconnect…" } }
        }
    }
}

fn disconnect_confirmation(shell: &PageContext, view: &ConnectionView) -> Markup {
    let card = &view.summary;
    let workflows = workflow_names(view);
    html! {
        section.panel.bad aria-labelledby="confirm" {
            h2 #confirm { "Disconnect " (quoted_text(&card.name)) "?" }
            @if !workflows.is_empty() {
                p { "These workflows use it and will stop working until their steps use another connection:" }
                ul { @for workflow in &workflows { li { (user_text(workflow)) } } }
            } @else if let Some(last) = card.last_used_at {
                p { "A caller without a workflow name used it last on " (time_element(last)) "." }
            } @else {
                p { "No workflow has used it." }
            }
            p {
                "The access is revoked at " (user_text(&card.app_name)) ", if the app offers that and no other connection "
                "shares it. The stored credential is erased. This can’t be undone; you can connect the account again."
            }
            div.actions {
                form method="post" action={ "/connections/" (card.id) "/disconnect" } {
                    (csrf_field(shell))
                    button.danger type="submit" { "Disconnect now" }
                }
                a.button href={ "/connections/" (card.id) } { "Cancel" }
            }
        }
    }
}

/// Each workflow once, in the order of the uses.
fn workflow_names(view: &ConnectionView) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (workflow, _, _) in &view.uses {
        if !workflow.is_empty() && !names.contains(&workflow.as_str()) {
            names.push(workflow);
        }
    }
    names
}

fn events_section(view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 #history { "History" }
            @if view.events.is_empty() {
                p { "Nothing is recorded yet." }
            } @else {
                ol.events {
                    @for (at, what) in &view.events { li { (time_element(*at)) span { (user_text(what)) } } }
                }
            }
        }
    }
}
