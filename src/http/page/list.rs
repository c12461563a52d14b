//! The Connections page: what is connected, and what could be.
//!
//! Owns the table, the search and the offer of apps. Refuses to change anything: it has links and a
//! search, and each connection's own page has the rest.

use maud::{Markup, html};

use super::frame::{account, link, notice, page, quoted, said, status, time_or_never};
use super::{Card, Shell, Tone};

/// Apps that are seen at one glance, without a search.
const FEW_APPS: usize = 8;

/// An app that could be connected.
#[derive(Debug, Clone)]
pub struct AppChoice {
    /// Id, as in `/oauth/start/{app}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The ways to connect it, as people call them ("API key"). Empty when there is nothing to tell.
    pub ways: Vec<String>,
    /// Words that a search finds it by, beside its name.
    pub categories: Vec<String>,
    /// Whether it can be connected now. What needs no OAuth client always can.
    pub ready: bool,
    /// What people call the way at the app itself, where that one is not set up though another can be walked.
    pub lacks: Option<String>,
}

/// The Connections page.
#[derive(Debug, Clone, Default)]
pub struct ListView {
    /// One page of connections.
    pub connections: Vec<Card>,
    /// All apps on offer, in any order: the page sorts them.
    pub apps: Vec<AppChoice>,
    /// What was searched for among the apps (the parameter `apps`): the page does the search.
    pub apps_search: Option<String>,
    /// What was searched for.
    pub search: Option<String>,
    /// Where the next page is.
    pub next: Option<String>,
    /// What has just happened.
    pub notice: Option<String>,
}

/// The Connections page.
pub fn list(shell: &Shell<'_>, view: &ListView) -> Markup {
    let body = html! {
        h1 { "Connections" }
        (notice(view.notice.as_deref()))
        @if view.connections.is_empty() && view.search.is_none() {
            (nothing_yet())
        } @else {
            (search(view))
            @if view.connections.is_empty() {
                (nothing_found(view.search.as_deref()))
            } @else {
                (table(&view.connections))
            }
            @if let Some(next) = &view.next {
                p { (link("Next page", next, "button")) }
            }
        }
        (apps(view))
    };
    page(shell, "Your connections", &body)
}

fn nothing_yet() -> Markup {
    html! {
        section.panel aria-labelledby="empty" {
            h2 #empty { "Nothing is connected yet" }
            p {
                "A connection lets workflows act in an app, such as a mailbox or a team chat, with an account of "
                "yours. You make it once; any number of workflow steps can then use it, and none of them asks you again."
            }
            p {
                "To make the first one, choose an app below. "
                "Most apps then ask you to sign in and to allow the access; some want a key that you enter here."
            }
        }
    }
}

fn nothing_found(search: Option<&str>) -> Markup {
    html! {
        section.panel aria-labelledby="empty" {
            h2 #empty { "No connection found" }
            p {
                @if let Some(search) = search {
                    "No connection has " (quoted(search)) " in its name, app or account. "
                }
                "Try another word, or look through them all."
            }
            p { a.button href="/" { "Show all connections" } }
        }
    }
}

fn search(view: &ListView) -> Markup {
    let search = view.search.as_deref();
    let apps = view.apps_search.as_deref();
    html! {
        form.line method="get" action="/" role="search" {
            label for="q" { "Search your connections" }
            input #q type="search" name="q" value=(search.unwrap_or_default()) autocomplete="off";
            (kept("apps", apps))
            button type="submit" { "Search" }
            @if search.is_some() {
                a.button href=(with("apps", apps, "/")) { "Show all" }
            }
        }
    }
}

fn table(connections: &[Card]) -> Markup {
    html! {
        table {
            caption.unseen { "Your connections" }
            thead {
                tr {
                    th scope="col" { "Name" }
                    th scope="col" { "App" }
                    th scope="col" { "Account" }
                    th scope="col" { "Status" }
                    th scope="col" { "Last used" }
                }
            }
            tbody {
                // What a person must do comes first, as far as it is on this page.
                @for card in connections.iter().filter(|card| broken(card)) { (row(card)) }
                @for card in connections.iter().filter(|card| !broken(card)) { (row(card)) }
            }
        }
    }
}

fn broken(card: &Card) -> bool {
    card.status.tone == Tone::Bad
}

fn row(card: &Card) -> Markup {
    html! {
        tr {
            th scope="row" {
                a.name href={ "/connections/" (card.id) } { (said(&card.name)) }
                @if let Some(owner) = &card.owner { p.quiet { (said(owner)) } }
            }
            td data-label="App" { (said(&card.app_name)) }
            td.address data-label="Account" { (account(card.account.as_deref())) }
            td data-label="Status" {
                div {
                    (status(&card.status))
                    @if !card.attention.is_empty() {
                        ul.attention {
                            @for sentence in &card.attention { li { (said(sentence)) } }
                        }
                    }
                    @if let Some((label, href)) = &card.repair {
                        p.repair { a.button href=(href) { (label) span.unseen { ": " (said(&card.name)) } } }
                    }
                }
            }
            td data-label="Last used" { (time_or_never(card.last_used)) }
        }
    }
}

/// Where the apps begin on the page: a search among them leads back there.
const APPS: &str = "/#connect";

fn apps(view: &ListView) -> Markup {
    let found = sought(view);
    let ready: Vec<_> = found.iter().filter(|app| app.ready).collect();
    let others: Vec<_> = found.iter().filter(|app| !app.ready || app.lacks.is_some()).collect();
    let none_ready = view.apps.iter().all(|app| !app.ready);
    html! {
        section aria-labelledby="connect" {
            h2 #connect { "Connect an app" }
            @if none_ready {
                p { "No app is ready to be connected. Whoever runs this must set up an app's OAuth client first." }
            }
            @if view.apps.len() > FEW_APPS || view.apps_search.is_some() { (search_apps(view)) }
            @if let (Some(search), true) = (&view.apps_search, ready.is_empty() && others.is_empty()) {
                p { "No app has " (quoted(search)) " in its name or category." }
            }
            @if !ready.is_empty() {
                ul.apps { @for app in &ready { li { (start(app)) } } }
            }
            @if !others.is_empty() {
                details open[none_ready || view.apps_search.is_some()] {
                    summary { "What is not set up (" (others.len()) ")" }
                    ul.others { @for app in &others { li { (not_set_up(app)) } } }
                }
            }
        }
    }
}

/// The apps that have every word that was searched for, by name.
fn sought(view: &ListView) -> Vec<&AppChoice> {
    let search = view.apps_search.as_deref().unwrap_or_default().to_lowercase();
    let has = |app: &AppChoice, word: &str| {
        app.id.contains(word)
            || std::iter::once(&app.name)
                .chain(&app.categories)
                .chain(&app.ways)
                .any(|text| text.to_lowercase().contains(word))
    };
    let mut found: Vec<_> =
        view.apps.iter().filter(|app| search.split_whitespace().all(|word| has(app, word))).collect();
    found.sort_by_key(|app| app.name.to_lowercase());
    found
}

fn start(app: &AppChoice) -> Markup {
    html! {
        a.button href={ "/oauth/start/" (app.id) } {
            (said(&app.name))
            @for way in &app.ways { " " small { (said(way)) } }
        }
    }
}

fn not_set_up(app: &AppChoice) -> Markup {
    html! {
        span {
            (said(&app.name))
            @if let Some(way) = app.lacks.as_ref().filter(|_| app.ready) { ": " (said(way)) }
            span.quiet { " is not set up" }
        }
        a.way href={ "/apps/" (app.id) "/setup" } { span { "How to set up " (said(&app.name)) } }
    }
}

fn search_apps(view: &ListView) -> Markup {
    html! {
        form.line method="get" action=(APPS) role="search" {
            label for="apps" { "Search the apps" }
            input #apps type="search" name="apps" value=(view.apps_search.as_deref().unwrap_or_default())
                autocomplete="off";
            (kept("q", view.search.as_deref()))
            button type="submit" { "Search" }
            @if view.apps_search.is_some() {
                a.button href=(with("q", view.search.as_deref(), APPS)) { "Show all apps" }
            }
        }
    }
}

/// The other search of this page, which goes on.
fn kept(name: &str, value: Option<&str>) -> Markup {
    html! { @if let Some(value) = value { input type="hidden" name=(name) value=(value); } }
}

/// An address of this page with a search in it.
fn with(name: &str, value: Option<&str>, address: &str) -> String {
    let Some(value) = value else { return address.to_owned() };
    let (path, fragment) = address.split_once('#').map_or((address, None), |(path, rest)| (path, Some(rest)));
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    match fragment {
        Some(fragment) => format!("{path}?{query}#{fragment}"),
        None => format!("{path}?{query}"),
    }
}
