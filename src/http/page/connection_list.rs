//! The Connections page: what is connected, and what can be connected.
//!
//! Owns the table, the search and the list of apps. Changes nothing: it has links and a search, and each connection's
//! own page has the rest.

use maud::{Markup, html};

use super::frame::{account_label, app_logo, head, link, quoted_text, relative_time_or_never, status_badge, user_text};
use super::layout::section_page;
use super::recently_disconnected::{RecentlyDisconnected, recently_disconnected_section};
use super::{ConnectionSummary, PageContext, Section, Tone};

/// Apps that are shown without a search.
const APPS_WITHOUT_SEARCH: usize = 8;

/// An app that can be connected.
#[derive(Debug, Clone)]
pub struct AppChoice {
    /// Id, as in `/oauth/start/{app}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The names of its auth methods ("API key"). Empty if there is nothing to show.
    pub auth_methods: Vec<String>,
    /// Words for the search, in addition to its name.
    pub categories: Vec<String>,
    /// Whether it can be connected now. An auth method without an OAuth client always can.
    pub ready: bool,
    /// The name of its auth method with a consent, if that is not set up and another is ready.
    pub auth_method_without_client: Option<String>,
}

/// The Connections page.
#[derive(Debug, Clone, Default)]
pub struct ConnectionListView {
    /// One page of connections.
    pub connections: Vec<ConnectionSummary>,
    /// All apps, in any order: the page sorts them.
    pub apps: Vec<AppChoice>,
    /// The search text for apps (the parameter `apps`). The page does the search.
    pub apps_search: Option<String>,
    /// The search text.
    pub search: Option<String>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// Whether this is not the first page.
    pub is_later_page: bool,
    /// What can be brought back.
    pub recently_disconnected: Vec<RecentlyDisconnected>,
}

/// The Connections page.
pub fn connection_list(shell: &PageContext, view: &ConnectionListView) -> Markup {
    let body = html! {
        (head(&html! { (shell.text.list.title) }, &html! {}))
        (recently_disconnected_section(shell, &view.recently_disconnected))
        @if view.connections.is_empty() && view.search.is_none() {
            (no_connections())
        } @else {
            (connection_search(view))
            @if view.connections.is_empty() {
                (no_search_results(view))
            } @else {
                (connection_table(shell, &view.connections))
            }
            @if let Some(next) = &view.next_page_href {
                @let label = if view.connections.is_empty() { "Search older connections" } else { "Next page" };
                p { (link(label, next, "button")) }
            }
        }
        (apps_section(view))
    };
    section_page(shell, Section::Connections, shell.text.list.page_title, &body)
}

fn no_connections() -> Markup {
    html! {
        section.panel aria-labelledby="empty" {
            h2 #empty { "Nothing is connected yet" }
            p {
                "A connection lets workflows act in an app, such as a mailbox or a team chat, with an account of "
                "yours. You make it once. Any number of workflow steps can use it, and you are not asked again."
            }
            p {
                "To make the first one, choose an app below. "
                "Most apps then ask you to sign in and to allow access. Some need a key that you enter here."
            }
        }
    }
}

/// A search looks at a limited number of connections for each page, so that a page without a hit is not always the last.
fn no_search_results(view: &ConnectionListView) -> Markup {
    let (heading, which) = match (&view.next_page_href, view.is_later_page) {
        (Some(_), _) => ("No connection found yet", "None of the newest connections has "),
        (None, true) => ("No more connections found", "No older connection has "),
        (None, false) => ("No connection found", "No connection has "),
    };
    html! {
        section.panel aria-labelledby="empty" {
            h2 #empty { (heading) }
            p {
                @if let Some(search) = &view.search {
                    (which) (quoted_text(search)) " in its name, app or account. "
                }
                @if view.next_page_href.is_some() {
                    "Continue with the older ones, try another word, or show all connections."
                } @else {
                    "Try another word, or show all connections."
                }
            }
            p { a.button href="/" { "Show all connections" } }
        }
    }
}

fn connection_search(view: &ConnectionListView) -> Markup {
    let search = view.search.as_deref();
    let apps = view.apps_search.as_deref();
    html! {
        form.line method="get" action="/" role="search" {
            label for="q" { "Search your connections" }
            input #q type="search" name="q" value=(search.unwrap_or_default()) autocomplete="off";
            (hidden_search_field("apps", apps))
            button type="submit" { "Search" }
            @if search.is_some() {
                a.button href=(add_query_param("apps", apps, "/")) { "Show all" }
            }
        }
    }
}

fn connection_table(shell: &PageContext, connections: &[ConnectionSummary]) -> Markup {
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
                // Connections that need repair come first, within this page.
                @for card in connections.iter().filter(|card| needs_reconnect(card)) { (connection_row(shell, card)) }
                @for card in connections.iter().filter(|card| !needs_reconnect(card)) { (connection_row(shell, card)) }
            }
        }
    }
}

fn needs_reconnect(card: &ConnectionSummary) -> bool {
    card.status.tone == Tone::Bad
}

fn connection_row(shell: &PageContext, card: &ConnectionSummary) -> Markup {
    html! {
        tr {
            th scope="row" {
                div.with-logo {
                    (app_logo(&card.app, &card.app_name, ""))
                    div {
                        a.name href={ "/connections/" (card.id) } { (user_text(&card.name)) }
                        @if let Some(owner) = &card.owner { p.quiet.small { (user_text(owner)) } }
                    }
                }
            }
            td data-label="App" { (user_text(&card.app_name)) }
            td.address data-label="Account" { (account_label(shell, card.account_label.as_deref())) }
            td data-label="Status" {
                div {
                    (status_badge(&card.status))
                    @if !card.attention.is_empty() {
                        ul.attention {
                            @for sentence in &card.attention { li { (user_text(sentence)) } }
                        }
                    }
                    @if let Some((label, href)) = &card.reconnect {
                        p.repair { a.button href=(href) { (label) span.unseen { ": " (user_text(&card.name)) } } }
                    }
                }
            }
            td data-label="Last used" { (relative_time_or_never(shell, card.last_used_at)) }
        }
    }
}

/// The anchor of the apps on the page, for a search among them.
const APPS_SECTION_HREF: &str = "/#connect";

fn apps_section(view: &ConnectionListView) -> Markup {
    let found = filter_apps(view);
    let ready: Vec<_> = found.iter().filter(|app| app.ready).collect();
    let others: Vec<_> = found.iter().filter(|app| !app.ready || app.auth_method_without_client.is_some()).collect();
    let none_ready = view.apps.iter().all(|app| !app.ready);
    html! {
        section aria-labelledby="connect" {
            h2 #connect { "Connect an app" }
            @if none_ready {
                p { "No app is ready to be connected. Whoever runs this must set up an app's OAuth client first." }
            }
            @if view.apps.len() > APPS_WITHOUT_SEARCH || view.apps_search.is_some() { (app_search(view)) }
            @if let (Some(search), true) = (&view.apps_search, ready.is_empty() && others.is_empty()) {
                p { "No app has " (quoted_text(search)) " in its name or category." }
            }
            @if !ready.is_empty() {
                ul.apps { @for app in &ready { li { (connect_button(app)) } } }
            }
            @if !others.is_empty() {
                details open[none_ready || view.apps_search.is_some()] {
                    summary { "Apps that need an OAuth client (" (others.len()) ")" }
                    ul.others { @for app in &others { li { (setup_link(app)) } } }
                }
            }
        }
    }
}

/// The apps that match every word of the search, by name.
fn filter_apps(view: &ConnectionListView) -> Vec<&AppChoice> {
    let search = view.apps_search.as_deref().unwrap_or_default().to_lowercase();
    let has = |app: &AppChoice, word: &str| {
        app.id.contains(word)
            || std::iter::once(&app.name)
                .chain(&app.categories)
                .chain(&app.auth_methods)
                .any(|text| text.to_lowercase().contains(word))
    };
    let mut found: Vec<_> =
        view.apps.iter().filter(|app| search.split_whitespace().all(|word| has(app, word))).collect();
    found.sort_by_key(|app| app.name.to_lowercase());
    found
}

fn connect_button(app: &AppChoice) -> Markup {
    html! {
        a.button href={ "/oauth/start/" (app.id) } {
            (user_text(&app.name))
            @for way in &app.auth_methods { " " small { (user_text(way)) } }
        }
    }
}

fn setup_link(app: &AppChoice) -> Markup {
    html! {
        span {
            (user_text(&app.name))
            @if let Some(way) = app.auth_method_without_client.as_ref().filter(|_| app.ready) { ": " (user_text(way)) }
            span.quiet { " needs an OAuth client" }
        }
        a.way href={ "/apps/" (app.id) "/setup" } { span { "How to set up " (user_text(&app.name)) } }
    }
}

fn app_search(view: &ConnectionListView) -> Markup {
    html! {
        form.line method="get" action=(APPS_SECTION_HREF) role="search" {
            label for="apps" { "Search the apps" }
            input #apps type="search" name="apps" value=(view.apps_search.as_deref().unwrap_or_default())
                autocomplete="off";
            (hidden_search_field("q", view.search.as_deref()))
            button type="submit" { "Search" }
            @if view.apps_search.is_some() {
                a.button href=(add_query_param("q", view.search.as_deref(), APPS_SECTION_HREF)) { "Show all apps" }
            }
        }
    }
}

/// The other search of this page, which is kept.
fn hidden_search_field(name: &str, value: Option<&str>) -> Markup {
    html! { @if let Some(value) = value { input type="hidden" name=(name) value=(value); } }
}

/// An address of this page with a search.
fn add_query_param(name: &str, value: Option<&str>, address: &str) -> String {
    let Some(value) = value else { return address.to_owned() };
    let (path, fragment) = address.split_once('#').map_or((address, None), |(path, rest)| (path, Some(rest)));
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
    match fragment {
        Some(fragment) => format!("{path}?{query}#{fragment}"),
        None => format!("{path}?{query}"),
    }
}
