//! How an app's OAuth client is set up, for whoever runs the workspace.
//!
//! Owns the order of the steps and the call to copy. Refuses to take a secret: it goes from whoever has it
//! straight to the API, never through a page.

use maud::{Markup, html};

use super::Shell;
use super::frame::{code, link, outside, page, said};

/// How an app's OAuth client is set up, for whoever runs the workspace.
#[derive(Debug, Clone)]
pub struct SetupView {
    /// The app's name.
    pub app_name: String,
    /// What people call the way that the client is for, where the app has several.
    pub way: Option<String>,
    /// The app's other ways: what people call them, whether they need no set-up any more, and where they begin or are set up.
    pub others: Vec<(String, bool, String)>,
    /// The workspace whose client it is.
    pub workspace: String,
    /// Whether it has one that works with the app as it is now.
    pub is_set_up: bool,
    /// The app's page where clients are made.
    pub console: Option<String>,
    /// What to do there, a sentence each, with the redirect URI filled in where it is known.
    pub steps: Vec<String>,
    /// The redirect URI to enter at the app; `None` where only the answer to the call tells it, as an earlier client has the
    /// one that is told before.
    pub redirect_uri: Option<String>,
    /// What decides at which server the client is, by label: with another value than the usual one the redirect URI is
    /// another. Empty where that is settled.
    pub depends_on: Vec<String>,
    /// Permissions that are asked for unless people choose others, with what each allows.
    pub scopes: Vec<(String, Option<String>)>,
    /// Those that they may choose besides.
    pub further: Vec<(String, Option<String>)>,
    /// What people do at the app when they connect, a sentence each.
    pub connect_help: Vec<String>,
    /// The call that enters the client.
    pub enters: Call,
    /// The call that tells what the app makes of it.
    pub tries: Call,
    /// Names of other apps that share the client.
    pub family: Vec<String>,
    /// The app's own documentation.
    pub docs: Option<String>,
}

/// A call to copy.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its method.
    pub method: &'static str,
    /// Its whole address.
    pub url: String,
    /// Its body as JSON, with `…` for all that is to be filled in: it has no secret.
    pub body: String,
}

/// How an app's OAuth client is set up.
pub fn setup(shell: &Shell<'_>, view: &SetupView) -> Markup {
    let body = html! {
        @if shell.signed_in_as.is_some() { nav { a href="/" { "All connections" } } }
        h1 { "Set up " (said(&view.app_name)) @if let Some(way) = &view.way { ": " (said(way)) } }
        (whether(view))
        (others(view))
        (family(view))
        (at_the_app(view))
        (what_to_tick(view))
        (enter(view))
        @if view.redirect_uri.is_none() { (afterwards(view)) }
        section aria-labelledby="done" {
            h2 #done { "Then" }
            p #trial { "See what " (said(&view.app_name)) " makes of it, before anybody connects"
                @if view.tries.body.contains('…') { " (what they would enter takes the place of each " code { "…" } ")" } ":" }
            (copyable("trial", &command(&view.tries)))
            p { "Reload the list of connections: " (said(&view.app_name)) " is among the apps to connect." }
            @if !view.connect_help.is_empty() {
                p { "Whoever connects should know:" }
                ul { @for sentence in &view.connect_help { li { (said(sentence)) } } }
            }
            @if let Some(docs) = &view.docs {
                p { (outside(&html! { "Documentation of " (said(&view.app_name)) }, docs)) }
            }
        }
    };
    let of_way = view.way.as_ref().map(|way| format!(": {way}")).unwrap_or_default();
    page(shell, &format!("Set up {}{of_way}", view.app_name), &body)
}

/// Whether it is set up, and what that means.
fn whether(view: &SetupView) -> Markup {
    let how = if view.way.is_some() { "this way" } else { "by signing in at the app" };
    html! {
        p {
            "The workspace " strong { (said(&view.workspace)) }
            @if view.is_set_up {
                " has an OAuth client of " (said(&view.app_name)) ", and everybody can connect it " (how) ". These steps "
                "are for whoever changes the client or its secret."
            } @else {
                " has no OAuth client of " (said(&view.app_name)) " yet, so nobody can connect it " (how)
                ". Whoever runs the workspace makes one, once, and everybody can connect. "
                "If that is not you, send them the address of this page."
            }
        }
    }
}

fn others(view: &SetupView) -> Markup {
    html! {
        @if !view.others.is_empty() {
            section aria-labelledby="others" {
                h2 #others { "Other ways to connect " (said(&view.app_name)) }
                ul {
                    @for (name, ready, href) in &view.others {
                        li {
                            (said(name)) ": "
                            (link(if *ready { "Connect" } else { "How to set it up" }, href, "way"))
                        }
                    }
                }
            }
        }
    }
}

fn family(view: &SetupView) -> Markup {
    html! {
        @if !view.family.is_empty() {
            p {
                "The same client serves "
                @for (index, name) in view.family.iter().enumerate() { @if index > 0 { ", " } (said(name)) }
                ": set up here, it is set up there, too."
            }
        }
    }
}

fn at_the_app(view: &SetupView) -> Markup {
    html! {
        section aria-labelledby="client" {
            h2 #client { "Make a client at " (said(&view.app_name)) }
            @if let Some(console) = &view.console {
                p { (outside(&html! { "Open where " (said(&view.app_name)) " makes clients" }, console)) }
            }
            @if view.steps.is_empty() {
                p { "Register an application (an OAuth client) there. You need its client id and its client secret." }
            } @else {
                ol.steps { @for step in &view.steps { li { (said(step)) } } }
            }
            @if let Some(redirect_uri) = &view.redirect_uri {
                p #redirect-uri { "The redirect URI, also called callback address:" }
                (copyable("redirect-uri", redirect_uri))
                @if !view.depends_on.is_empty() {
                    p {
                        "This is the redirect URI for the usual value of " (said(&view.depends_on.join(", "))) ". If you enter "
                        "another value in the next step, its answer tells another redirect URI: use that one."
                    }
                }
            } @else {
                p {
                    "The redirect URI is not known before the next step: its answer tells it. If a form asks for one at once, "
                    "enter any address of yours and change it afterwards."
                }
            }
        }
    }
}

fn what_to_tick(view: &SetupView) -> Markup {
    html! {
        @if !view.scopes.is_empty() || !view.further.is_empty() {
            section aria-labelledby="tick" {
                h2 #tick { "What to tick there" }
                p { "If the app wants to know in advance which permissions its client may ask for, tick there whatever people are "
                    "to be able to choose here." }
                @if !view.scopes.is_empty() {
                    p { "Asked for, unless they choose otherwise:" }
                    (permissions(&view.scopes))
                }
                @if !view.further.is_empty() {
                    details {
                        summary { "What they may choose besides (" (view.further.len()) ")" }
                        (permissions(&view.further))
                    }
                }
            }
        }
    }
}

fn permissions(scopes: &[(String, Option<String>)]) -> Markup {
    html! {
        ul.asked {
            @for (scope, description) in scopes {
                li {
                    @if let Some(description) = description { span { (said(description)) } }
                    (code(scope))
                }
            }
        }
    }
}

fn enter(view: &SetupView) -> Markup {
    html! {
        section aria-labelledby="call" {
            h2 #call { "Enter it here" }
            p #call-help {
                "Run this where the secret is at hand. " code { "$KEY" } " is an API key of the workspace that has the scope "
                code { "apps" } "; what the app gave you takes the place of each " code { "…" } " in it."
            }
            (copyable("call-help", &command(&view.enters)))
        }
    }
}

fn afterwards(view: &SetupView) -> Markup {
    html! {
        section aria-labelledby="afterwards" {
            h2 #afterwards { "Enter the redirect URI at " (said(&view.app_name)) }
            p {
                "The answer has it as " code { "redirect_uri" } ". The client at the app must allow exactly that address."
            }
        }
    }
}

/// A call as a shell takes it. What stands between single quotes is taken as it is, but for those themselves.
fn command(call: &Call) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    format!(
        "curl -X {} -H \"Authorization: Bearer $KEY\" \\\n  -H 'Content-Type: application/json' \\\n  -d {} \\\n  {}",
        call.method,
        quoted(&call.body),
        quoted(&call.url)
    )
}

/// One tap selects all of it. It can be reached by keyboard, as it may have to be scrolled.
fn copyable(label: &str, text: &str) -> Markup {
    html! {
        pre.copy tabindex="0" role="region" aria-labelledby=(label) { (code(text)) }
    }
}
