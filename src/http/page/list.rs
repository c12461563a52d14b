//! The Connections page: what is connected, and what could be.
//!
//! Owns the table, the search and the offer of apps. Refuses to change anything: it has links and a
//! search, and each connection's own page has the rest.

use maud::{Markup, html};

use super::frame::{account, link, notice, page, quoted, said, status, time_or_never};
use super::{AppChoice, Card, ListView, Shell};

/// The Connections page.
pub fn list(shell: &Shell<'_>, view: &ListView) -> Markup {
    let body = html! {
        h1 { "Connections" }
        (notice(view.notice.as_deref()))
        @if view.connections.is_empty() && view.search.is_none() {
            (nothing_yet())
        } @else {
            (search(view.search.as_deref()))
            @if view.connections.is_empty() {
                (nothing_found(view.search.as_deref()))
            } @else {
                (table(&view.connections))
            }
            @if let Some(next) = &view.next {
                p { (link("Next page", next, "button")) }
            }
        }
        (apps(&view.apps))
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
                "The app then asks you to sign in and to allow the access."
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

fn search(search: Option<&str>) -> Markup {
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
                @for card in connections { (row(card)) }
            }
        }
    }
}

fn row(card: &Card) -> Markup {
    html! {
        tr {
            th scope="row" { a.name href={ "/connections/" (card.id) } { (said(&card.name)) } }
            td data-label="App" { (said(&card.app_name)) }
            td data-label="Account" { (account(card.account.as_deref())) }
            td data-label="Status" {
                div {
                    (status(&card.status))
                    @if !card.attention.is_empty() {
                        ul.attention {
                            @for sentence in &card.attention { li { (said(sentence)) } }
                        }
                    }
                }
            }
            td data-label="Last used" { (time_or_never(card.last_used)) }
        }
    }
}

fn apps(apps: &[AppChoice]) -> Markup {
    let (ready, others): (Vec<_>, Vec<_>) = apps.iter().partition(|app| app.ready);
    html! {
        section aria-labelledby="connect" {
            h2 #connect { "Connect an app" }
            @if ready.is_empty() {
                p { "No app is ready to be connected. Whoever runs this must set up an app's OAuth client first." }
            } @else {
                ul.apps {
                    @for app in &ready {
                        li { a.button href={ "/oauth/start/" (app.id) } { (said(&app.name)) } }
                    }
                }
            }
            @if !others.is_empty() {
                details open[ready.is_empty()] {
                    summary { "Apps that are not ready (" (others.len()) ")" }
                    ul.others {
                        @for app in &others {
                            li {
                                (said(&app.name))
                                span.quiet { " needs an OAuth client (set up by whoever runs this)" }
                            }
                        }
                    }
                }
            }
        }
    }
}
