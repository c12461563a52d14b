//! What was disconnected a short time ago: it can be brought back, or its access revoked at once.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{account_label, app_logo, csrf_field, relative_time, user_text};
use super::text::fill;
use crate::time::Timestamp;

/// A connection that can be brought back.
#[derive(Debug, Clone)]
pub struct RecentlyDisconnected {
    /// Its id.
    pub id: String,
    /// The app's id.
    pub app: String,
    /// The app's name.
    pub app_name: String,
    /// Its name.
    pub name: String,
    /// The account's label. `None` if it is unknown.
    pub account_label: Option<String>,
    /// Until when it can be brought back.
    pub undo_until: Timestamp,
}

/// The list of them. Empty if there are none.
pub(super) fn recently_disconnected_section(shell: &PageContext, list: &[RecentlyDisconnected]) -> Markup {
    let text = &shell.text.undo;
    html! {
        @if !list.is_empty() {
            section.card aria-labelledby="recently-disconnected" {
                h2 #recently-disconnected { (text.title) }
                p.quiet { (text.about) }
                ul.list {
                    @for one in list {
                        li {
                            div.with-logo {
                                (app_logo(&one.app, &one.app_name, ""))
                                div {
                                    strong { (user_text(&one.name)) }
                                    div.quiet.small {
                                        (user_text(&one.app_name)) " · " (account_label(shell, one.account_label.as_deref())) " · "
                                        (fill(text.revoked_at, &[("time", relative_time(shell, one.undo_until))]))
                                    }
                                }
                            }
                            (undo_forms(shell, &one.id, Some(&one.name)))
                        }
                    }
                }
            }
        }
    }
}

/// The two buttons about a connection. Among several of them, screen readers tell its name.
pub(super) fn undo_forms(shell: &PageContext, id: &str, name: Option<&str>) -> Markup {
    let text = &shell.text.undo;
    html! {
        div.actions {
            @for (action, label, class) in [("undo-disconnect", text.undo, "main"), ("revoke-now", text.revoke_now, "")] {
                form method="post" action={ "/connections/" (id) "/" (action) } {
                    (csrf_field(shell))
                    button.(class) type="submit" {
                        (label) @if let Some(name) = name { span.unseen { ": " (user_text(name)) } }
                    }
                }
            }
        }
    }
}
