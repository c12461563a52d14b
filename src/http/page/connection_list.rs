//! The Connections page: what is connected.
//!
//! Owns the table and the search. Changes nothing: it has links and a search, and each connection's own page has the rest.

use maud::{Markup, html};

use super::frame::{
    account_label, app_logo, head, icon, link, quoted_text, relative_time_or_never, status_badge, user_text,
};
use super::layout::section_page;
use super::recently_disconnected::{RecentlyDisconnected, recently_disconnected_section};
use super::{ConnectionSummary, PageContext, Section, Tone};

/// The Connections page.
#[derive(Debug, Clone, Default)]
pub struct ConnectionListView {
    /// One page of connections.
    pub connections: Vec<ConnectionSummary>,
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
        (head(&html! { (shell.text.list.title) }, &html! { a.button.primary href="/connect" { (icon("plus")) (shell.text.connect.title) } }))
        (recently_disconnected_section(shell, &view.recently_disconnected))
        @if view.connections.is_empty() && view.search.is_none() {
            (no_connections())
        } @else {
            (connection_search(view.search.as_deref()))
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
                "To make the first one, choose an app. "
                "Most apps then ask you to sign in and to allow access. Some need a key that you enter here."
            }
            p { a.button.main href="/connect" { "Choose an app" } }
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

fn connection_search(search: Option<&str>) -> Markup {
    html! {
        form.line method="get" action="/" role="search" {
            label for="q" { "Search your connections" }
            input #q type="search" name="q" value=(search.unwrap_or_default()) autocomplete="off";
            button type="submit" { "Search" }
            @if search.is_some() {
                a.button href="/" { "Show all" }
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
