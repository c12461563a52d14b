//! Sessions, and sign-in links that nobody has used yet: who is signed in, and how to end it.

use maud::{Markup, html};

use super::super::frame::{csrf_field, head, relative_time, user_text};
use super::list::{List, list, rows};
use super::people::person_href;
use super::{SettingsPage, settings_page};
use crate::http::page::PageContext;
use crate::time::Timestamp;

/// A session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// Its id.
    pub id: String,
    /// Whose it is: id and name. None: of a connect link.
    pub person: Option<(String, String)>,
    /// Whether the person is an admin in it.
    pub is_admin: bool,
    /// Whether it is the one of this browser.
    pub is_this: bool,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A sign-in link that can still be used.
#[derive(Debug, Clone)]
pub struct PendingSignIn {
    /// Its id.
    pub id: String,
    /// For whom.
    pub name: String,
    /// Whether it signs in an admin.
    pub is_admin: bool,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Sessions and sign-in links.
#[derive(Debug, Clone, Default)]
pub struct SessionsView {
    /// One page of sessions.
    pub sessions: Vec<SessionRow>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// Sign-in links.
    pub pending: Vec<PendingSignIn>,
}

/// Sessions and sign-in links.
pub fn settings_sessions(shell: &PageContext, view: &SessionsView) -> Markup {
    let text = &shell.text.sessions;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        (list(shell, "person", &List {
            title: text.title,
            columns: &[(text.person, ""), (text.began, "w20"), (text.ends, "w20")],
            action: Some(text.end),
            none: text.none,
            next_page_href: view.next_page_href.as_deref(),
        }, &rows(&view.sessions, |session| session_row(shell, session))))
        section aria-labelledby="pending" {
            h2 #pending { (text.pending) }
            @if view.pending.is_empty() { p.quiet { (text.none_pending) } }
            @else { ul.list { @for link in &view.pending { (pending_row(shell, link)) } } }
        }
    };
    settings_page(shell, SettingsPage::Sessions, text.title, &body)
}

fn session_row(shell: &PageContext, session: &SessionRow) -> Markup {
    let text = &shell.text.sessions;
    let name = session.person.as_ref().map_or(text.of_link, |(_, name)| name.as_str());
    html! {
        tr {
            th scope="row" {
                div {
                    @match &session.person {
                        Some((id, name)) => a.name href=(person_href(id)) { (user_text(name)) },
                        None => (text.of_link),
                    }
                    @if session.is_admin { " " span.badge { (shell.text.people.admin) } }
                    @if session.is_this { " " span.badge { (text.this_browser) } }
                }
            }
            td data-label=(text.began) { (relative_time(shell, session.created_at)) }
            td data-label=(text.ends) { (relative_time(shell, session.expires_at)) }
            td.tight {
                form method="post" action={ "/settings/sessions/" (session.id) "/end" } {
                    (csrf_field(shell))
                    button type="submit" { (text.end) span.unseen { ": " (user_text(name)) } }
                }
            }
        }
    }
}

fn pending_row(shell: &PageContext, link: &PendingSignIn) -> Markup {
    let text = &shell.text.sessions;
    html! {
        li {
            form.line method="post" action={ "/settings/sign-in-links/" (link.id) "/delete" } {
                (csrf_field(shell))
                span {
                    (user_text(&link.name)) " "
                    @if link.is_admin { span.badge { (shell.text.people.admin) } " " }
                    span.quiet { (text.ends) " " (relative_time(shell, link.expires_at)) }
                }
                button type="submit" { (text.delete) span.unseen { ": " (user_text(&link.name)) } }
            }
        }
    }
}
