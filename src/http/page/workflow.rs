//! The page of a workflow: which connection each of its steps uses.

use maud::{Markup, html};

use super::frame::{back_link, link, time_element, user_text};
use super::layout::section_page;
use super::{PageContext, Section};
use crate::time::Timestamp;

/// What a workflow's steps use, as far as the person sees it.
#[derive(Debug, Clone)]
pub struct WorkflowView {
    /// The workflow.
    pub workflow: String,
    /// Its steps.
    pub steps: Vec<StepView>,
    /// Whether there are more than are shown.
    pub more: bool,
}

/// A step that used a connection.
#[derive(Debug, Clone)]
pub struct StepView {
    /// The step, or empty.
    pub step: String,
    /// The connection's id.
    pub connection: String,
    /// Its name.
    pub name: String,
    /// What else is to be known, in sentences.
    pub notes: Vec<String>,
    /// The last use.
    pub last_used_at: Timestamp,
}

/// A workflow's page.
pub fn workflow(shell: &PageContext, view: &WorkflowView) -> Markup {
    let body = html! {
        (back_link(shell.text.connection.back, "/"))
        h1 { "Workflow " (user_text(&view.workflow)) }
        table {
            caption.unseen { "Steps and the connections that they use" }
            thead { tr { th scope="col" { "Step" } th scope="col" { "Connection" } th scope="col" { "Last used" } } }
            tbody {
                @for one in &view.steps {
                    tr {
                        th scope="row" { @if one.step.is_empty() { "not named" } @else { (user_text(&one.step)) } }
                        td data-label="Connection" {
                            div {
                                (link(&one.name, &format!("/connections/{}", one.connection), "name"))
                                @for note in &one.notes { p.attention { (user_text(note)) } }
                            }
                        }
                        td data-label="Last used" { (time_element(one.last_used_at)) }
                    }
                }
            }
        }
        @if view.more { p { "There are more steps than are shown here." } }
    };
    section_page(shell, Section::Workflows, &format!("Workflow {}", view.workflow), &body)
}
