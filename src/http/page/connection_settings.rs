//! What a connection's page says about other connections: which one answers for it, and which steps used another one before.

use maud::{Markup, html};

use super::PageContext;
use super::connection_forms::OtherConnection;
use super::frame::{csrf_field, link, user_text};
use super::text::fill;

/// What is set about a connection.
#[derive(Debug, Clone, Default)]
pub struct SettingsView {
    /// `production`, `test`, or empty if it is unknown.
    pub environment: String,
    /// Whether everybody of the workspace uses it.
    pub shared: bool,
    /// The connection that answers for it.
    pub replaced_by: Option<OtherConnection>,
    /// The connections that it answers for.
    pub replaces: Vec<OtherConnection>,
    /// Steps that used another connection before, as sentences.
    pub step_changes: Vec<String>,
}

/// What was reported of steps, with a button that ends it for who may.
pub(super) fn step_changes_section(shell: &PageContext, id: &str, view: &SettingsView, may_change: bool) -> Markup {
    let text = &shell.text.connection;
    html! {
        @if !view.step_changes.is_empty() {
            section.panel.waiting aria-labelledby="changed-steps" {
                h2 #changed-steps { (text.steps_changed) }
                ul { @for sentence in &view.step_changes { li { (user_text(sentence)) } } }
                @if may_change {
                    form method="post" action={ "/connections/" (id) "/acknowledge" } {
                        (csrf_field(shell))
                        button type="submit" { (text.acknowledge) }
                    }
                }
            }
        }
    }
}

fn other_name(shell: &PageContext, one: &OtherConnection) -> Markup {
    html! {
        @match &one.name {
            Some(name) => (link(name, &format!("/connections/{}", one.id), "name")),
            None => (shell.text.connection.unseen),
        }
    }
}

/// Which connection answers, and for which ones this one does.
pub(super) fn replacement_section(shell: &PageContext, id: &str, view: &SettingsView, may_change: bool) -> Markup {
    let text = &shell.text.connection;
    html! {
        @if view.replaced_by.is_some() || !view.replaces.is_empty() {
            section.panel.waiting aria-labelledby="replaced" {
                @if let Some(by) = &view.replaced_by {
                    h2 #replaced { (text.replaced) }
                    p { (fill(text.replaced_about, &[("other", other_name(shell, by))])) }
                    @if may_change {
                        form method="post" action={ "/connections/" (id) "/undo-replace" } {
                            (csrf_field(shell))
                            button type="submit" { (text.unreplace) }
                        }
                    } @else {
                        p { (text.unreplace_admins) }
                    }
                } @else {
                    h2 #replaced { (text.answers) }
                    p { (text.answers_about) }
                    ul { @for one in &view.replaces { li { (other_name(shell, one)) } } }
                }
            }
        }
    }
}
