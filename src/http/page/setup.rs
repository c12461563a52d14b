//! How an app's OAuth client is set up, for the admins of a workspace.
//!
//! Owns the order of the steps and the call to copy. Never takes a secret: its owner sends it directly to the API, not
//! through a page.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{code_text, copyable_block, external_link, link, user_text};
use super::layout::page;

/// How an app's OAuth client is set up, for the admins of a workspace.
#[derive(Debug, Clone)]
pub struct SetupView {
    /// The app's name.
    pub app_name: String,
    /// The name of the client's auth method, if the app has several.
    pub auth_method: Option<String>,
    /// The app's other auth methods: their names, whether they are ready, and where they start or are set up.
    pub other_auth_methods: Vec<(String, bool, String)>,
    /// The workspace of the client.
    pub workspace: String,
    /// Whether it has one that works with the app's current definition.
    pub is_set_up: bool,
    /// The app's page where clients are registered.
    pub console_url: Option<String>,
    /// The steps there, one sentence each, with the redirect URI if it is known.
    pub steps: Vec<String>,
    /// The redirect URI to enter at the app. `None` if only the answer to the call contains it, because an earlier
    /// client has the expected one.
    pub redirect_uri: Option<String>,
    /// The labels of the variables that decide the authorization server: another value than the default has another
    /// redirect URI. Empty if they are fixed.
    pub redirect_uri_depends_on: Vec<String>,
    /// Permissions that are requested by default, with what each permits.
    pub default_scopes: Vec<(String, Option<String>)>,
    /// Those that people may choose in addition.
    pub optional_scopes: Vec<(String, Option<String>)>,
    /// What people do at the app when they connect, one sentence each.
    pub connect_help: Vec<String>,
    /// The call that enters the client.
    pub put_client_call: SetupCall,
    /// The call that tests it.
    pub test_client_call: SetupCall,
    /// Names of other apps that share the client.
    pub apps_sharing_client: Vec<String>,
    /// The app's own documentation.
    pub docs_url: Option<String>,
}

/// A call to copy.
#[derive(Debug, Clone)]
pub struct SetupCall {
    /// Its method.
    pub method: &'static str,
    /// Its whole address.
    pub url: String,
    /// Its body as JSON, with `…` for the values to fill in. It contains no secret.
    pub body: String,
}

/// How an app's OAuth client is set up.
pub fn setup(shell: &PageContext, view: &SetupView) -> Markup {
    let body = html! {
        @if shell.person.is_some() { nav { a href="/" { "All connections" } } }
        h1 { "Set up " (user_text(&view.app_name)) @if let Some(way) = &view.auth_method { ": " (user_text(way)) } }
        (setup_status(view))
        (other_auth_methods(view))
        (apps_sharing_client(view))
        (create_client_section(shell, view))
        (scopes_to_enable_section(view))
        (enter_client_section(shell, view))
        @if view.redirect_uri.is_none() { (enter_redirect_uri_section(view)) }
        section aria-labelledby="done" {
            h2 #done { "Then" }
            p #trial { "See what " (user_text(&view.app_name)) " makes of it, before anybody connects"
                @if view.test_client_call.body.contains('…') { " (replace each " code { "…" } " by a value that a person would enter)" } ":" }
            (copyable_block(shell, "trial", &curl_command(&view.test_client_call)))
            p { "Reload the list of connections: " (user_text(&view.app_name)) " is among the apps to connect." }
            @if !view.connect_help.is_empty() {
                p { "Tell the people who connect:" }
                ul { @for sentence in &view.connect_help { li { (user_text(sentence)) } } }
            }
            @if let Some(docs) = &view.docs_url {
                p { (external_link(&html! { "Documentation of " (user_text(&view.app_name)) }, docs)) }
            }
        }
    };
    let of_way = view.auth_method.as_ref().map(|way| format!(": {way}")).unwrap_or_default();
    page(shell, &format!("Set up {}{of_way}", view.app_name), &body)
}

/// Whether it is set up, and what that means.
fn setup_status(view: &SetupView) -> Markup {
    let how = if view.auth_method.is_some() { "this way" } else { "by signing in at the app" };
    html! {
        p {
            "The workspace " strong { (user_text(&view.workspace)) }
            @if view.is_set_up {
                " has an OAuth client of " (user_text(&view.app_name)) ", and everybody can connect it " (how) ". These steps "
                "are for whoever changes the client or its secret."
            } @else {
                " has no OAuth client of " (user_text(&view.app_name)) " yet, so nobody can connect it " (how)
                ". Whoever runs the workspace makes one, once, and everybody can connect. "
                "If that is not you, send them the address of this page."
            }
        }
    }
}

fn other_auth_methods(view: &SetupView) -> Markup {
    html! {
        @if !view.other_auth_methods.is_empty() {
            section aria-labelledby="others" {
                h2 #others { "Other ways to connect " (user_text(&view.app_name)) }
                ul {
                    @for (name, ready, href) in &view.other_auth_methods {
                        li {
                            (user_text(name)) ": "
                            (link(if *ready { "Connect" } else { "How to set it up" }, href, "auth_method"))
                        }
                    }
                }
            }
        }
    }
}

fn apps_sharing_client(view: &SetupView) -> Markup {
    html! {
        @if !view.apps_sharing_client.is_empty() {
            p {
                "The same client is used for "
                @for (index, name) in view.apps_sharing_client.iter().enumerate() { @if index > 0 { ", " } (user_text(name)) }
                ". If you set it up here, it is set up there too."
            }
        }
    }
}

fn create_client_section(shell: &PageContext, view: &SetupView) -> Markup {
    html! {
        section aria-labelledby="client" {
            h2 #client { "Make a client at " (user_text(&view.app_name)) }
            @if let Some(console) = &view.console_url {
                p { (external_link(&html! { "Open where " (user_text(&view.app_name)) " makes clients" }, console)) }
            }
            @if view.steps.is_empty() {
                p { "Register an application (an OAuth client) there. You need its client id and its client secret." }
            } @else {
                ol.steps { @for step in &view.steps { li { (user_text(step)) } } }
            }
            @if let Some(redirect_uri) = &view.redirect_uri {
                p #redirect-uri { "The redirect URI, also called callback address:" }
                (copyable_block(shell, "redirect-uri", redirect_uri))
                @if !view.redirect_uri_depends_on.is_empty() {
                    p {
                        "This is the redirect URI for the usual value of " (user_text(&view.redirect_uri_depends_on.join(", "))) ". If you enter "
                        "another value in the next step, the answer contains another redirect URI. Use that one."
                    }
                }
            } @else {
                p {
                    "The redirect URI is in the answer to the next step. If a form asks for it before, "
                    "enter any address of yours and change it afterwards."
                }
            }
        }
    }
}

fn scopes_to_enable_section(view: &SetupView) -> Markup {
    html! {
        @if !view.default_scopes.is_empty() || !view.optional_scopes.is_empty() {
            section aria-labelledby="tick" {
                h2 #tick { "Permissions to select at the app" }
                p { "If the app wants to know in advance which permissions its client may ask for, tick there whatever people are "
                    "to be able to choose here." }
                @if !view.default_scopes.is_empty() {
                    p { "Asked for, unless they choose otherwise:" }
                    (scope_list(&view.default_scopes))
                }
                @if !view.optional_scopes.is_empty() {
                    details {
                        summary { "Optional permissions (" (view.optional_scopes.len()) ")" }
                        (scope_list(&view.optional_scopes))
                    }
                }
            }
        }
    }
}

fn scope_list(scopes: &[(String, Option<String>)]) -> Markup {
    html! {
        ul.asked {
            @for (scope, description) in scopes {
                li {
                    @if let Some(description) = description { span { (user_text(description)) } }
                    (code_text(scope))
                }
            }
        }
    }
}

fn enter_client_section(shell: &PageContext, view: &SetupView) -> Markup {
    html! {
        section aria-labelledby="call" {
            h2 #call { "Enter it here" }
            p #call-help {
                "Run this on a computer that has the client secret. " code { "$KEY" } " is an API key of the workspace that has the scope "
                code { "apps" } "; what the app gave you takes the place of each " code { "…" } " in it."
            }
            (copyable_block(shell, "call-help", &curl_command(&view.put_client_call)))
        }
    }
}

fn enter_redirect_uri_section(view: &SetupView) -> Markup {
    html! {
        section aria-labelledby="afterwards" {
            h2 #afterwards { "Enter the redirect URI at " (user_text(&view.app_name)) }
            p {
                "The answer has it as " code { "redirect_uri" } ". The client at the app must allow exactly that address."
            }
        }
    }
}

/// A call as a shell command. Text in single quotes is literal, except single quotes.
fn curl_command(call: &SetupCall) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    format!(
        "curl -X {} -H \"Authorization: Bearer $KEY\" \\\n  -H 'Content-Type: application/json' \\\n  -d {} \\\n  {}",
        call.method,
        quoted(&call.body),
        quoted(&call.url)
    )
}
