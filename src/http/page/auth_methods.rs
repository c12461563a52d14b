//! The page that asks for an auth method, where the recommended one can't be used.
//!
//! Owns that a person knows it before they give another kind of access than the app recommends, and that they can ask for
//! what is missing. Asks for no credential.

use maud::{Markup, html};

use super::PageContext;
use super::consent::{ConsentDetails, app_head, requester_details};
use super::frame::{copyable_block, icon, link, quoted_text, user_text};
use super::layout::page;
use super::text::{fill, fill_plain};
use crate::app::CredentialKind;

/// The page that asks for an auth method.
#[derive(Debug, Clone)]
pub struct AuthMethodsView {
    /// Who asks, and for what.
    pub consent: ConsentDetails,
    /// The auth methods of the app, the recommended one first.
    pub methods: Vec<MethodCard>,
    /// Where Cancel leads.
    pub cancel_href: Option<String>,
}

/// An auth method of the page.
#[derive(Debug, Clone)]
pub struct MethodCard {
    /// Its name.
    pub name: String,
    /// What a person does.
    pub kind: CredentialKind,
    /// Whether the app's definition names it first.
    pub is_recommended: bool,
    /// Whether its OAuth client was entered for addresses that the app no longer has.
    pub addresses_changed: bool,
    /// How it goes on.
    pub next: MethodStep,
}

/// How an auth method goes on.
#[derive(Debug, Clone)]
pub enum MethodStep {
    /// It can be used: its page.
    Use(String),
    /// It needs an OAuth client, and this person may set it up: where.
    SetUp(String),
    /// It needs an OAuth client: what an admin can be sent, and the page that tells how.
    AskAdmin {
        /// The text to copy.
        request: String,
        /// The page.
        href: String,
    },
    /// It needs an OAuth client, and the person has come by a link.
    AskSender,
}

/// The page that asks for an auth method.
pub fn auth_methods(shell: &PageContext, view: &AuthMethodsView) -> Markup {
    let text = &shell.text.methods;
    let can_go_on = view.methods.iter().any(|one| matches!(one.next, MethodStep::Use(_)));
    let has_changed = view.methods.iter().any(|one| one.addresses_changed);
    let (title, heading) = if let Some((name, _)) = &view.consent.existing_connection {
        let title = shell.text.consent.reconnect_title;
        (fill_plain(title, &[("name", name)]), fill(title, &[("name", quoted_text(name))]))
    } else {
        let title = match (can_go_on, has_changed) {
            (true, _) => text.title,
            (false, true) => text.addresses_changed_title,
            (false, false) => text.not_set_up_title,
        };
        let app = &view.consent.app_name;
        (fill_plain(title, &[("app", app)]), fill(title, &[("app", user_text(app))]))
    };
    let body = html! {
        (app_head(&view.consent, &heading))
        @if view.consent.by_link { (requester_details(shell, &view.consent, "")) }
        ul.ways {
            @for (index, method) in view.methods.iter().enumerate() { li.card { (method_card(shell, view, index, method)) } }
        }
        @if let Some(cancel) = &view.cancel_href {
            div.actions { (link(shell.text.consent.cancel, cancel, "button")) }
        }
    };
    page(shell, &title, &body)
}

fn method_card(shell: &PageContext, view: &AuthMethodsView, index: usize, method: &MethodCard) -> Markup {
    let text = &shell.text.methods;
    let app = || user_text(&view.consent.app_name);
    let anchor = format!("way-{index}");
    html! {
        h2 id=(anchor) {
            (user_text(&method.name))
            @if method.is_recommended { " " span.badge { (shell.text.consent.recommended) } }
        }
        p { (fill(explanation(shell, method.kind), &[("app", app())])) }
        @match &method.next {
            MethodStep::Use(href) => {
                p {
                    a.button.main[method.is_recommended] href=(href) {
                        (text.use_it) span.unseen { ": " (user_text(&method.name)) }
                    }
                }
            },
            MethodStep::SetUp(href) => {
                (state(if method.addresses_changed { text.enter_again_here } else { text.needs_setup_here }))
                p { a.button.main href=(href) { (text.set_up) span.unseen { ": " (user_text(&method.name)) } } }
            },
            MethodStep::AskAdmin { request, href } => {
                (state(if method.addresses_changed { text.enter_again } else { text.needs_setup }))
                p id={ (anchor) "-ask" } { (text.send_this) span.unseen { " " (user_text(&method.name)) } }
                (copyable_block(shell, &format!("{anchor}-ask"), request))
                p.small { a.way href=(href) { (text.how) } }
            },
            MethodStep::AskSender => {
                (state(if method.addresses_changed { text.ask_sender_again } else { text.ask_sender }))
            },
        }
    }
}

fn state(words: &str) -> Markup {
    html! { p.needs { (icon("clock")) " " (words) } }
}

fn explanation(shell: &PageContext, kind: CredentialKind) -> &'static str {
    let text = &shell.text.methods;
    match kind {
        CredentialKind::OAuth2 => text.oauth2,
        CredentialKind::ClientCredentials => text.client_credentials,
        CredentialKind::ServiceAccount => text.service_account,
        CredentialKind::ApiKey => text.api_key,
        CredentialKind::BotToken => text.bot_token,
        CredentialKind::Basic => text.basic,
    }
}
