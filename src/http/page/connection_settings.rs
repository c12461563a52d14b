//! The settings on a connection's page: its environment, who uses it, and which connection answers for it.
//!
//! Owns their forms. Each is shown only to who may use it; what a member may not change is said in a sentence instead.

use maud::{Markup, html};

use super::PageContext;
use super::form::{described_by, field_error};
use super::frame::{csrf_field, link, reveal_control_characters, user_text};

/// What is set about a connection, and what the person may choose.
#[derive(Debug, Clone, Default)]
pub struct SettingsView {
    /// `production`, `test`, or empty if it is unknown.
    pub environment: String,
    /// Whether everybody of the workspace uses it.
    pub shared: bool,
    /// The id of the owner, empty for nobody. `None`: the person may not change it.
    pub owner: Option<String>,
    /// The connection that answers for it.
    pub replaced_by: Option<OtherConnection>,
    /// The connections that it answers for.
    pub replaces: Vec<OtherConnection>,
    /// Those that the person may let answer for it.
    pub candidates: Vec<OtherConnection>,
    /// Steps that used another connection before, as sentences.
    pub step_changes: Vec<String>,
    /// What was refused, and why.
    pub rejected: Option<(SettingsForm, String)>,
}

/// Another connection.
#[derive(Debug, Clone)]
pub struct OtherConnection {
    /// Its id.
    pub id: String,
    /// Its name. `None`: the person does not see it.
    pub name: Option<String>,
    /// Its environment, or empty.
    pub environment: String,
}

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingsForm {
    /// The environment.
    Environment,
    /// The owner, and whether it is shared.
    Sharing,
    /// The connection that answers.
    Replacement,
}

impl SettingsForm {
    /// The element with its main field.
    pub(super) fn anchor(self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::Sharing => "shared",
            Self::Replacement => "with",
        }
    }

    /// The label of that field.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Environment => "What the account is for",
            Self::Sharing => "Everybody in the workspace may use it",
            Self::Replacement => "Connection that answers instead",
        }
    }
}

impl SettingsView {
    fn error_of(&self, form: SettingsForm) -> Option<&str> {
        self.rejected.as_ref().filter(|(of, _)| *of == form).map(|(_, why)| why.as_str())
    }
}

/// What was told of steps, with a button that ends it for who may.
pub(super) fn step_changes_section(shell: &PageContext, id: &str, view: &SettingsView, may_change: bool) -> Markup {
    html! {
        @if !view.step_changes.is_empty() {
            section.panel.waiting aria-labelledby="changed-steps" {
                h2 #changed-steps { "Steps that used another connection before" }
                ul { @for sentence in &view.step_changes { li { (user_text(sentence)) } } }
                @if may_change {
                    form method="post" action={ "/connections/" (id) "/acknowledge" } {
                        (csrf_field(shell))
                        button type="submit" { "This is right" }
                    }
                }
            }
        }
    }
}

fn other_name(one: &OtherConnection) -> Markup {
    html! {
        @match &one.name {
            Some(name) => (link(name, &format!("/connections/{}", one.id), "name")),
            None => "a connection that you do not see",
        }
    }
}

/// Which connection answers, and for which ones this one does.
pub(super) fn replacement_section(shell: &PageContext, id: &str, view: &SettingsView, may_change: bool) -> Markup {
    html! {
        @if view.replaced_by.is_some() || !view.replaces.is_empty() {
            section.panel.waiting aria-labelledby="replaced" {
                @if let Some(by) = &view.replaced_by {
                    h2 #replaced { "Replaced" }
                    p { "Workflows that name this connection get " (other_name(by)) " instead. Nothing of this one has changed." }
                    @if may_change {
                        form method="post" action={ "/connections/" (id) "/undo-replace" } {
                            (csrf_field(shell))
                            button type="submit" { "Use this connection again" }
                        }
                    } @else {
                        p { "Its owner or an admin can end that." }
                    }
                } @else {
                    h2 #replaced { "Answers for other connections" }
                    p { "Workflows that name one of these get this connection. It can’t be disconnected until that is ended, on the page of each." }
                    ul { @for one in &view.replaces { li { (other_name(one)) } } }
                }
            }
        }
    }
}

/// The forms, for who may change the connection.
pub(super) fn settings_sections(shell: &PageContext, id: &str, view: &SettingsView) -> Markup {
    html! {
        (environment_section(shell, id, view))
        (sharing_section(shell, id, view))
        (replace_section(shell, id, view))
    }
}

fn environment_section(shell: &PageContext, id: &str, view: &SettingsView) -> Markup {
    let form = SettingsForm::Environment;
    let wrong = view.error_of(form);
    let described = described_by(form.anchor(), false, wrong.is_some());
    html! {
        section aria-labelledby="environment-title" {
            h2 #environment-title { "Environment" }
            (field_error(form.anchor(), wrong))
            form.line method="post" action={ "/connections/" (id) "/environment" } {
                (csrf_field(shell))
                label for=(form.anchor()) { (form.label()) }
                select #environment name="environment" aria-describedby=[described.as_deref()] {
                    @for (value, name) in [("", "Not known"), ("production", "Real work (production)"), ("test", "Tests (test)")] {
                        option value=(value) selected[value == view.environment] { (name) }
                    }
                }
                button type="submit" { "Save environment" }
            }
            p.quiet { "A step that expects the other environment is refused. If it was the default of its environment, that ends." }
        }
    }
}

fn sharing_section(shell: &PageContext, id: &str, view: &SettingsView) -> Markup {
    let form = SettingsForm::Sharing;
    let wrong = view.error_of(form);
    let described = described_by(form.anchor(), false, wrong.is_some());
    html! {
        section aria-labelledby="sharing-title" {
            h2 #sharing-title { "Who uses it" }
            (field_error(form.anchor(), wrong))
            form method="post" action={ "/connections/" (id) "/sharing" } {
                (csrf_field(shell))
                label.tick {
                    input #shared type="checkbox" name="shared" value="yes" checked[view.shared] aria-describedby=[described.as_deref()];
                    span { (form.label()) }
                }
                @if let Some(owner) = &view.owner {
                    div.field {
                        label for="owner" { "Id of the owner (empty for nobody)" }
                        input #owner type="text" name="owner" value=(owner) maxlength="128" autocomplete="off" dir="auto";
                    }
                }
                button type="submit" { "Save who uses it" }
            }
            @if view.owner.is_none() {
                p.quiet { "Only an admin can give the connection to somebody else." }
            }
        }
    }
}

fn replace_section(shell: &PageContext, id: &str, view: &SettingsView) -> Markup {
    let form = SettingsForm::Replacement;
    let wrong = view.error_of(form);
    let described = described_by(form.anchor(), false, wrong.is_some());
    html! {
        @if view.replaces.is_empty() && (wrong.is_some() || !view.candidates.is_empty()) {
            section aria-labelledby="replace-title" {
                h2 #replace-title { "Replace" }
                p { "The steps under “Used by” get the other connection from then on. You can end that at any time." }
                (field_error(form.anchor(), wrong))
                form method="post" action={ "/connections/" (id) "/replace" } {
                    (csrf_field(shell))
                    div.field {
                        label for=(form.anchor()) { (form.label()) }
                        select #with name="with" aria-describedby=[described.as_deref()] {
                            @for one in &view.candidates {
                                option value=(one.id) {
                                    (reveal_control_characters(one.name.as_deref().unwrap_or_default()))
                                    @if !one.environment.is_empty() { " (" (reveal_control_characters(&one.environment)) ")" }
                                }
                            }
                        }
                    }
                    label.tick {
                        input type="checkbox" name="across" value="yes";
                        span { "Also if the two are for different environments" }
                    }
                    button type="submit" { "Let it answer instead" }
                }
            }
        }
    }
}
