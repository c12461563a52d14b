//! The pages that change a connection: its name, its environment, who uses it, what answers for it, and its end.
//!
//! Owns these forms. Each stands at the address that it posts to, so that a refused one can be loaded again. What would stop working
//! is said before the button.

use maud::{Markup, html};

use super::form::{FormError, InvalidField, described_by, error_summary, field_error};
use super::frame::{
    app_logo, back_link, csrf_field, environment_words, link, quoted_text, relative_time, reveal_control_characters,
    user_text,
};
use super::layout::section_page;
use super::settings::state_field;
use super::text::{fill, fill_plain};
use super::{PageContext, Section};
use crate::names::MAX_NAME_LENGTH;
use crate::time::Timestamp;

/// What a connection is called, and of which app and account it is.
#[derive(Debug, Clone)]
pub struct ConnectionIdentity {
    /// Id, as in `/connections/{id}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The app's id.
    pub app: String,
    /// The app's name.
    pub app_name: String,
    /// The account's label. `None` if it is unknown.
    pub account_label: Option<String>,
}

/// A page with a form about a connection.
#[derive(Debug, Clone)]
pub struct ConnectionFormView {
    /// The connection.
    pub identity: ConnectionIdentity,
    /// The form.
    pub form: ConnectionForm,
    /// Why what was entered was refused.
    pub rejected: Option<RejectedForm>,
}

/// Why a form was refused.
#[derive(Debug, Clone)]
pub enum RejectedForm {
    /// What was entered in a field, and why. A name that the form does not have stands for its main field.
    Field(String, String),
    /// Nothing that was entered, as a sentence.
    Whole(String),
}

/// A form about a connection, with what is chosen in it.
#[derive(Debug, Clone)]
pub enum ConnectionForm {
    /// Its name, as it is or was entered.
    Name(String),
    /// Its environment, or empty.
    Environment(String),
    /// Who uses it.
    Sharing(SharingView),
    /// What answers for it.
    Replacement(ReplacementView),
    /// Its end.
    Disconnect(DisconnectView),
}

/// Who uses a connection.
#[derive(Debug, Clone)]
pub struct SharingView {
    /// The state that the form was filled from.
    pub state: String,
    /// Whether everybody does.
    pub shared: bool,
    /// Who owns it. `None`: the person may not change that.
    pub owner: Option<OwnerChoice>,
}

/// Who owns a connection, and who may.
#[derive(Debug, Clone)]
pub struct OwnerChoice {
    /// The id of the owner. Empty: nobody.
    pub owner: String,
    /// Ids and names of the people of the workspace. Empty if there are too many: then the id is entered.
    pub people: Vec<(String, String)>,
}

/// What may answer for a connection.
#[derive(Debug, Clone)]
pub struct ReplacementView {
    /// Those that may.
    pub candidates: Vec<OtherConnection>,
    /// The one that was chosen.
    pub chosen: String,
    /// Whether their environments may differ.
    pub across: bool,
    /// Whether it answers for others, so that nothing can answer for it.
    pub answers_for_others: bool,
    /// Workflows that get the other one.
    pub workflows: Vec<String>,
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

/// What the end of a connection stops.
#[derive(Debug, Clone)]
pub struct DisconnectView {
    /// Workflows that use it.
    pub workflows: Vec<String>,
    /// When a credential was last returned.
    pub last_used_at: Option<Timestamp>,
    /// Whether it is a default.
    pub is_default: bool,
}

impl OwnerChoice {
    fn label(&self, shell: &PageContext) -> &'static str {
        let text = &shell.text.change;
        if self.people.is_empty() { text.owner_id_label } else { text.owner_label }
    }
}

impl ConnectionForm {
    /// The last part of its address.
    fn path(&self) -> &'static str {
        match self {
            Self::Name(_) => "rename",
            Self::Environment(_) => "environment",
            Self::Sharing(_) => "sharing",
            Self::Replacement(_) => "replace",
            Self::Disconnect(_) => "disconnect",
        }
    }

    /// The element with its main field, and its label.
    fn field(&self, shell: &PageContext) -> (&'static str, &'static str) {
        let (text, names) = (&shell.text.change, &shell.text.connection);
        match self {
            Self::Name(_) => ("name", names.name_label),
            Self::Environment(_) => ("environment", text.environment_label),
            Self::Sharing(_) => ("shared", text.sharing_label),
            Self::Replacement(_) => ("with", text.replace_label),
            Self::Disconnect(_) => ("disconnect", text.disconnect_now),
        }
    }

    /// The element with the field of this name, and its label.
    fn field_named(&self, shell: &PageContext, name: &str) -> (&'static str, &'static str) {
        match self {
            Self::Sharing(SharingView { owner: Some(choice), .. }) if name == "owner" => ("owner", choice.label(shell)),
            _ => self.field(shell),
        }
    }

    fn title(&self, shell: &PageContext) -> &'static str {
        let text = &shell.text.change;
        match self {
            Self::Name(_) => text.rename_title,
            Self::Environment(_) => text.environment_title,
            Self::Sharing(_) => text.sharing_title,
            Self::Replacement(_) => text.replace_title,
            Self::Disconnect(_) => text.disconnect_title,
        }
    }
}

/// A page with a form about a connection.
pub fn connection_form(shell: &PageContext, view: &ConnectionFormView) -> Markup {
    let (one, form) = (&view.identity, &view.form);
    let (problem, wrong) = match &view.rejected {
        Some(RejectedForm::Field(name, why)) => (None, Some((form.field_named(shell, name), why.as_str()))),
        Some(RejectedForm::Whole(text)) => {
            let title = shell.text.settings.not_saved.to_owned();
            (Some(FormError { title, text: text.clone(), is_unreachable: false }), None)
        }
        None => (None, None),
    };
    let mistakes: Vec<InvalidField<'_>> =
        wrong.iter().map(|((anchor, label), why)| ((*anchor).to_owned(), *label, *why)).collect();
    let wrong_owner = wrong.filter(|((anchor, _), _)| *anchor == "owner").map(|(_, why)| why);
    let wrong = wrong.filter(|((anchor, _), _)| *anchor != "owner").map(|(_, why)| why);
    let page = format!("/connections/{}", one.id);
    let body = html! {
        (error_summary(shell, problem.as_ref(), &mistakes))
        (back_link(&one.name, &page))
        div.head { div {
            (app_logo(&one.app, &one.app_name, "large"))
            h1 { (fill(form.title(shell), &[("name", quoted_text(&one.name))])) }
        } }
        @match form {
            ConnectionForm::Name(entered) => (name_form(shell, &one.id, entered, wrong)),
            ConnectionForm::Environment(chosen) => (environment_form(shell, &page, form, chosen, wrong)),
            ConnectionForm::Sharing(sharing) => (sharing_form(shell, &page, form, sharing, (wrong, wrong_owner))),
            ConnectionForm::Replacement(replacement) => (replacement_form(shell, &page, form, replacement, wrong)),
            ConnectionForm::Disconnect(end) => (disconnect_form(shell, &page, form, end, &one.app_name, wrong)),
        }
    };
    let title = fill_plain(form.title(shell), &[("name", &one.name)]);
    // A screen reader reads the title first, which says that the form is shown again.
    let title = match &view.rejected {
        None => title,
        Some(_) => fill_plain(shell.text.connection.not_accepted, &[("name", &title)]),
    };
    section_page(shell, Section::Connections, &title, &body)
}

fn post_form(shell: &PageContext, page: &str, form: &ConnectionForm, fields: &Markup, buttons: &Markup) -> Markup {
    html! {
        form method="post" action={ (page) "/" (form.path()) } {
            (csrf_field(shell))
            (fields)
            div.actions { (buttons) (link(shell.text.change.cancel, page, "button")) }
        }
    }
}

fn submit(label: &str) -> Markup {
    html! { button.main type="submit" { (label) } }
}

/// The form for the name: on its own page, and on that of the connection.
pub(super) fn name_form(shell: &PageContext, id: &str, entered: &str, wrong: Option<&str>) -> Markup {
    let text = &shell.text.connection;
    let described = described_by("name", true, wrong.is_some());
    html! {
        (field_error(shell, "name", wrong))
        form.line method="post" action={ "/connections/" (id) "/rename" } {
            (csrf_field(shell))
            label for="name" { (text.name_label) }
            input #name type="text" name="name" value=(entered) required maxlength=(MAX_NAME_LENGTH)
                autocomplete="off" dir="auto" aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described.as_deref()];
            button type="submit" { (text.save_name) }
        }
        p.hint #name-hint { (text.rename_hint) }
    }
}

fn environment_form(
    shell: &PageContext,
    page: &str,
    form: &ConnectionForm,
    chosen: &str,
    wrong: Option<&str>,
) -> Markup {
    let text = &shell.text.change;
    let choices =
        [("", text.environment_unknown), ("production", text.environment_production), ("test", text.environment_test)];
    let described = described_by("environment", true, wrong.is_some());
    let fields = html! {
        div.field.wrong[wrong.is_some()] {
            label for="environment" { (text.environment_label) }
            p.hint #environment-hint { (text.environment_hint) }
            (field_error(shell, "environment", wrong))
            select #environment name="environment" aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described.as_deref()] {
                @for (value, name) in choices { option value=(value) selected[value == chosen] { (name) } }
            }
        }
    };
    post_form(shell, page, form, &fields, &submit(text.environment_save))
}

fn sharing_form(
    shell: &PageContext,
    page: &str,
    form: &ConnectionForm,
    view: &SharingView,
    (wrong, wrong_owner): (Option<&str>, Option<&str>),
) -> Markup {
    let text = &shell.text.change;
    let described = described_by("shared", false, wrong.is_some());
    let fields = html! {
        (state_field(&view.state))
        (field_error(shell, "shared", wrong))
        label.tick {
            input #shared type="checkbox" name="shared" value="yes" checked[view.shared] aria-invalid=[wrong.map(|_| "true")]
                aria-describedby=[described.as_deref()];
            span { (text.sharing_label) }
        }
        @match &view.owner {
            Some(choice) => (owner_field(shell, choice, wrong_owner)),
            None => p.quiet { (text.owner_admins) },
        }
    };
    post_form(shell, page, form, &fields, &submit(text.sharing_save))
}

fn owner_field(shell: &PageContext, choice: &OwnerChoice, wrong: Option<&str>) -> Markup {
    let text = &shell.text.change;
    let described = described_by("owner", false, wrong.is_some());
    let invalid = wrong.map(|_| "true");
    let is_listed = choice.owner.is_empty() || choice.people.iter().any(|(id, _)| *id == choice.owner);
    html! {
        div.field.wrong[wrong.is_some()] {
            label for="owner" { (choice.label(shell)) }
            (field_error(shell, "owner", wrong))
            @if choice.people.is_empty() {
                input #owner type="text" name="owner" value=(choice.owner) maxlength="128" autocomplete="off" dir="auto"
                    aria-invalid=[invalid] aria-describedby=[described.as_deref()];
            } @else {
                select #owner name="owner" aria-invalid=[invalid] aria-describedby=[described.as_deref()] {
                    option value="" selected[choice.owner.is_empty()] { (text.owner_nobody) }
                    @if !is_listed { option value=(choice.owner) selected { (reveal_control_characters(&choice.owner)) } }
                    @for (id, name) in &choice.people {
                        option value=(id) selected[*id == choice.owner] { (reveal_control_characters(name)) }
                    }
                }
            }
        }
    }
}

fn replacement_form(
    shell: &PageContext,
    page: &str,
    form: &ConnectionForm,
    view: &ReplacementView,
    wrong: Option<&str>,
) -> Markup {
    let text = &shell.text.change;
    let described = described_by("with", false, wrong.is_some());
    if view.answers_for_others || (view.candidates.is_empty() && wrong.is_none()) {
        return html! {
            section.panel.info aria-labelledby="none" {
                h2 #none { (if view.answers_for_others { text.replace_answers } else { text.replace_none }) }
                p { (link(text.cancel, page, "button")) }
            }
        };
    }
    let fields = html! {
        p { (text.replace_about) }
        @if !view.workflows.is_empty() {
            p { (text.moved) }
            ul { @for workflow in &view.workflows { li { (user_text(workflow)) } } }
        }
        div.field.wrong[wrong.is_some()] {
            label for="with" { (text.replace_label) }
            (field_error(shell, "with", wrong))
            select #with name="with" aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described.as_deref()] {
                @for one in &view.candidates {
                    option value=(one.id) selected[one.id == view.chosen] {
                        (reveal_control_characters(one.name.as_deref().unwrap_or_default()))
                        @if let Some(words) = environment_words(shell.text, &one.environment) { " (" (words) ")" }
                    }
                }
            }
        }
        label.tick {
            input type="checkbox" name="across" value="yes" checked[view.across];
            span { (text.replace_across) }
        }
    };
    post_form(shell, page, form, &fields, &submit(text.replace_save))
}

fn disconnect_form(
    shell: &PageContext,
    page: &str,
    form: &ConnectionForm,
    view: &DisconnectView,
    app_name: &str,
    wrong: Option<&str>,
) -> Markup {
    let text = &shell.text.change;
    let fields = html! {
        (field_error(shell, "disconnect", wrong))
        @if !view.workflows.is_empty() {
            p { (text.disconnect_stops) }
            ul { @for workflow in &view.workflows { li { (user_text(workflow)) } } }
        } @else if let Some(last) = view.last_used_at {
            p { (fill(text.disconnect_unnamed, &[("time", relative_time(shell, last))])) }
        } @else {
            p { (text.disconnect_unused) }
        }
        @if view.is_default { p { (text.disconnect_defaults) } }
        p { (fill(text.disconnect_about, &[("app", user_text(app_name))])) }
    };
    let described = described_by("disconnect", false, wrong.is_some());
    let button = html! {
        button #disconnect.danger type="submit" aria-describedby=[described.as_deref()] { (text.disconnect_now) }
    };
    html! { section.panel.bad aria-label=(text.disconnect_now) { (post_form(shell, page, form, &fields, &button)) } }
}
