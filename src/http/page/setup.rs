//! How an app's OAuth client is set up, for the admins of a workspace.
//!
//! Owns the order of the steps and the call to copy. Takes no secret: an admin enters it in the administration, or sends it
//! to the API.

use maud::{Markup, html};

use super::PageContext;
use super::consent::strong_text;
use super::frame::{app_logo, back_link, code_text, copyable_block, external_link_line, link, user_text};
use super::layout::page;
use super::text::{fill, fill_plain};

/// How an app's OAuth client is set up, for the admins of a workspace.
#[derive(Debug, Clone)]
pub struct SetupView {
    /// The app's id.
    pub app: String,
    /// `?auth_method=…` of the auth method.
    pub query: String,
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

/// How an app's OAuth client is set up, for the admins of a workspace.
pub fn setup(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    let app = || user_text(&view.app_name);
    let (title, heading) = match &view.auth_method {
        Some(way) => (
            fill_plain(text.title_of_method, &[("app", &view.app_name), ("method", way)]),
            fill(text.title_of_method, &[("app", app()), ("method", user_text(way))]),
        ),
        None => (fill_plain(text.title, &[("app", &view.app_name)]), fill(text.title, &[("app", app())])),
    };
    let has_blanks = view.test_client_call.body.contains('…');
    let test = if has_blanks { text.test_with_values } else { text.test };
    let body = html! {
        @if shell.person.is_some() { (back_link(text.all_apps, "/connect")) }
        div.head { div { (app_logo(&view.app, &view.app_name, "large")) h1 { (heading) } } }
        (setup_status(shell, view))
        (set_up_here(shell, view))
        (other_auth_methods(shell, view))
        (apps_sharing_client(shell, view))
        (create_client_section(shell, view))
        (scopes_to_enable_section(shell, view))
        (enter_client_section(shell, view))
        @if view.redirect_uri.is_none() { (enter_redirect_uri_section(shell, view)) }
        section.card aria-labelledby="done" {
            h2 #done { (text.then) }
            p #trial { (fill(test, &[("app", app()), ("blank", code("…"))])) }
            (copyable_block(shell, "trial", &curl_command(&view.test_client_call)))
            p { (fill(text.reload, &[("app", app())])) }
            @if !view.connect_help.is_empty() {
                p { (text.tell_people) }
                ul { @for sentence in &view.connect_help { li { (user_text(sentence)) } } }
            }
            @if let Some(docs) = &view.docs_url {
                (external_link_line(shell, &fill(text.documentation, &[("app", app())]), docs))
            }
        }
    };
    page(shell, &title, &body)
}

fn code(words: &str) -> Markup {
    html! { code { (words) } }
}

/// Whether it is set up, and what that means.
fn setup_status(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    let how = if view.auth_method.is_some() { text.this_way } else { text.by_sign_in };
    let words = if view.is_set_up { text.ready } else { text.not_ready };
    html! {
        p {
            (fill(words, &[
                ("workspace", strong_text(&view.workspace)), ("app", user_text(&view.app_name)), ("how", html! { (how) }),
            ]))
        }
    }
}

/// An admin needs no command.
fn set_up_here(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    html! {
        @if shell.is_admin() {
            section.panel.info aria-labelledby="here" {
                p #here { (text.here_about) }
                p { a.button.main href={ "/settings/apps/" (view.app) (view.query) } { (text.here) } }
            }
        }
    }
}

fn other_auth_methods(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    html! {
        @if !view.other_auth_methods.is_empty() {
            section aria-labelledby="others" {
                h2 #others { (fill(text.other_ways, &[("app", user_text(&view.app_name))])) }
                ul.list {
                    @for (name, ready, href) in &view.other_auth_methods {
                        li { (user_text(name)) ": " (link(if *ready { text.connect } else { text.how_to }, href, "way")) }
                    }
                }
            }
        }
    }
}

fn apps_sharing_client(shell: &PageContext, view: &SetupView) -> Markup {
    let names = html! {
        @for (index, name) in view.apps_sharing_client.iter().enumerate() { @if index > 0 { ", " } (user_text(name)) }
    };
    html! {
        @if !view.apps_sharing_client.is_empty() { p { (fill(shell.text.setup.shared_with, &[("apps", names)])) } }
    }
}

fn create_client_section(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    let app = || user_text(&view.app_name);
    html! {
        section.card aria-labelledby="client" {
            h2 #client { (fill(text.make_client, &[("app", app())])) }
            @if let Some(console) = &view.console_url {
                (external_link_line(shell, &fill(text.console, &[("app", app())]), console))
            }
            @if view.steps.is_empty() {
                p { (text.register) }
            } @else {
                ol.steps { @for step in &view.steps { li { (user_text(step)) } } }
            }
            @if let Some(redirect_uri) = &view.redirect_uri {
                p #redirect-uri { (text.redirect_uri) }
                (copyable_block(shell, "redirect-uri", redirect_uri))
                @if !view.redirect_uri_depends_on.is_empty() {
                    p {
                        (fill(text.redirect_uri_depends, &[
                            ("variables", user_text(&view.redirect_uri_depends_on.join(", "))),
                        ]))
                    }
                }
            } @else {
                p { (text.redirect_uri_later) }
            }
        }
    }
}

fn scopes_to_enable_section(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    html! {
        @if !view.default_scopes.is_empty() || !view.optional_scopes.is_empty() {
            section.card aria-labelledby="tick" {
                h2 #tick { (text.scopes) }
                p { (text.scopes_about) }
                @if !view.default_scopes.is_empty() {
                    p { (text.default_scopes) }
                    (scope_list(&view.default_scopes))
                }
                @if !view.optional_scopes.is_empty() {
                    details {
                        summary { (fill_plain(text.optional_scopes, &[("count", &view.optional_scopes.len().to_string())])) }
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
    let text = &shell.text.setup;
    html! {
        section.card aria-labelledby="call" {
            h2 #call { (text.enter) }
            p #call-help {
                (fill(text.enter_about, &[("key", code("$KEY")), ("scope", code("apps")), ("blank", code("…"))]))
            }
            (copyable_block(shell, "call-help", &curl_command(&view.put_client_call)))
        }
    }
}

fn enter_redirect_uri_section(shell: &PageContext, view: &SetupView) -> Markup {
    let text = &shell.text.setup;
    html! {
        section.card aria-labelledby="afterwards" {
            h2 #afterwards { (fill(text.enter_redirect_uri, &[("app", user_text(&view.app_name))])) }
            p { (fill(text.enter_redirect_uri_about, &[("member", code("redirect_uri"))])) }
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
