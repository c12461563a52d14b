//! The page before the app: who asks, for what, and where the person is redirected.
//!
//! Owns informed consent on our side. Redirects nobody by itself: only the button does.

use maud::{Markup, html};

use super::consent::{ConsentDetails, app_head, disconnect_hint, other_auth_methods, requester_details, strong_text};
use super::form::{error_summary, fields, invalid_fields, scope_fields};
use super::frame::{csrf_field, link, quoted_text, user_text, warnings_section};
use super::hosts::hosts_section;
use super::layout::page;
use super::text::{fill, fill_plain};
use super::{AuthMethodChoice, FormError, FormField, HostsView, PageContext, ScopeChoice};

/// The page before the app.
#[derive(Debug, Clone)]
pub struct ConnectView {
    /// Who asks, and for what.
    pub consent: ConsentDetails,
    /// Scopes to choose, or the fixed ones.
    pub scopes: Vec<ScopeChoice>,
    /// Whether the creator of the link has fixed the scopes.
    pub scopes_are_fixed: bool,
    /// Variables of the app for the person to fill in.
    pub fields: Vec<FormField>,
    /// The error of the whole form, if the person has just tried.
    pub form_error: Option<FormError>,
    /// What to tick at the app, one sentence each.
    pub connect_help: Vec<String>,
    /// Notes for the person, such as the app's limits, one sentence each.
    pub warnings: Vec<String>,
    /// All auth methods of the app, including this one.
    pub auth_methods: Vec<AuthMethodChoice>,
    /// Where the form posts.
    pub form_action: String,
    /// The app's host that the person is redirected to. `None` while it depends on their input.
    pub authorize_host: Option<String>,
    /// The hosts that get a secret.
    pub hosts: HostsView,
    /// Where Cancel leads.
    pub cancel_href: Option<String>,
}

/// The page before the app.
pub fn connect(shell: &PageContext, view: &ConnectView) -> Markup {
    let text = &shell.text.consent;
    let app = || user_text(&view.consent.app_name);
    let title = match &view.consent.existing_connection {
        Some((name, _)) => fill_plain(text.reconnect_title, &[("name", name)]),
        None => fill_plain(text.connect_title, &[("app", &view.consent.app_name)]),
    };
    let heading = match &view.consent.existing_connection {
        Some((name, _)) => fill(text.reconnect_title, &[("name", quoted_text(name))]),
        None => fill(text.connect_title, &[("app", app())]),
    };
    let body = html! {
        (error_summary(shell, view.form_error.as_ref(), &invalid_fields(&view.fields)))
        (app_head(&view.consent, &heading))
        (requester_details(shell, &view.consent, text.same_account_sign_in))
        (warnings_section(shell, &view.warnings))
        form.whole method="post" action=(view.form_action) {
            (csrf_field(shell))
            (account_section(shell, view))
            (scope_section(shell, view))
            (hosts_section(shell, &view.hosts, shell.text.hosts.sent_access))
            (next_steps_section(shell, view))
            div.actions {
                button.main type="submit" { span { (fill(text.continue_to, &[("app", app())])) } }
                @if let Some(cancel) = &view.cancel_href { (link(text.cancel, cancel, "button")) }
            }
        }
        @if view.cancel_href.is_none() { p.quiet { (text.close_before_continue) } }
        (disconnect_hint(shell, &view.consent))
        (other_auth_methods(shell, &view.auth_methods))
    };
    page(shell, &title, &body)
}

fn account_section(shell: &PageContext, view: &ConnectView) -> Markup {
    html! {
        @if !view.fields.is_empty() {
            section.card aria-labelledby="account" {
                h2 #account { (shell.text.consent.account_place) }
                (fields(shell, &view.fields))
            }
        }
    }
}

fn scope_section(shell: &PageContext, view: &ConnectView) -> Markup {
    let text = &shell.text.consent;
    html! {
        section.card aria-labelledby="scopes" {
            h2 #scopes { (text.scopes) }
            @if view.scopes.is_empty() {
                p { (fill(text.no_scopes, &[("app", user_text(&view.consent.app_name))])) }
            } @else {
                (scope_fields(shell, &view.scopes, view.scopes_are_fixed))
            }
        }
    }
}

fn next_steps_section(shell: &PageContext, view: &ConnectView) -> Markup {
    let text = &shell.text.consent;
    let app = || user_text(&view.consent.app_name);
    let (go_to, place) = match &view.authorize_host {
        Some(host) => (text.you_go_to, strong_text(host)),
        None if view.fields.is_empty() => (text.you_go_to_app, app()),
        None => (text.you_go_to_entered, app()),
    };
    html! {
        section.card aria-labelledby="next" {
            h2 #next { (text.next) }
            p { (fill(go_to, &[("place", place)])) " " (text.password_stays) }
            @if !view.connect_help.is_empty() {
                h3 { (fill(text.to_do_there, &[("app", app())])) }
                ul { @for sentence in &view.connect_help { li { (user_text(sentence)) } } }
            }
        }
    }
}
