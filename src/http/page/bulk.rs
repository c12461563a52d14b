//! Something is done with several connections: the boxes and buttons beside a list, the question before it, how far it is, and
//! what came of it.
//!
//! Owns the fields of these forms. What is left to do travels in them, from page to page: nothing is kept of it here, a page that
//! is loaded again goes on where it was, and each connection is looked at anew when its turn comes.

use maud::{Markup, html};

use super::connection_forms::OwnerChoice;
use super::form::{InvalidField, described_by, error_summary, field_error};
use super::frame::{app_logo, back_link, column_heads, csrf_field, head, link, reveal_control_characters, user_text};
use super::layout::section_page;
use super::text::{count, fill, fill_plain};
use super::{PageContext, Section};
use crate::bulk::BulkOutcome;
use crate::codes::codes;

codes! {
    /// What is offered for the selected rows.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum BulkOffer {
        /// Ask the apps whether they work.
        Check = "check",
        /// Disconnect them.
        Disconnect = "disconnect",
        /// Bring them back.
        Undo = "undo",
        /// Give them the suggested names.
        Rename = "rename",
        /// Give them to somebody, or share them.
        Share = "share",
    }
}

impl BulkOffer {
    fn label(self, shell: &PageContext) -> &'static str {
        let text = &shell.text.bulk;
        match self {
            Self::Check => text.check,
            Self::Disconnect => text.disconnect,
            Self::Undo => text.undo_all,
            Self::Rename => text.rename,
            Self::Share => text.share,
        }
    }

    fn under_way(self, shell: &PageContext) -> &'static str {
        let text = &shell.text.bulk;
        match self {
            Self::Check => text.checking,
            Self::Disconnect => text.disconnecting,
            Self::Undo => text.undoing,
            Self::Rename => text.renaming,
            Self::Share => text.sharing_now,
        }
    }

    fn finished(self, shell: &PageContext) -> &'static str {
        let text = &shell.text.bulk;
        match self {
            Self::Check => text.checked,
            Self::Disconnect => text.disconnected,
            Self::Undo => text.undone,
            Self::Rename => text.renamed,
            Self::Share => text.changed,
        }
    }
}

/// The buttons for the rows that are selected. With scripts they appear with the first selected row.
pub(super) fn bulk_bar(shell: &PageContext, form: &str, here: &str, offers: &[BulkOffer]) -> Markup {
    let text = &shell.text.bulk;
    html! {
        form.bulk id=(form) method="post" action="/bulk" data-select=(text.selected) {
            (csrf_field(shell))
            input type="hidden" name="back" value=(here);
            span data-count { (text.selected_ones) }
            @for offer in offers {
                button.danger[*offer == BulkOffer::Disconnect] type="submit" name="action" value=(offer.as_str()) {
                    (offer.label(shell))
                }
            }
        }
    }
}

/// The box that selects a row.
pub(super) fn bulk_checkbox(shell: &PageContext, form: &str, id: &str, name: &str) -> Markup {
    html! {
        label.box {
            input type="checkbox" name="id" value=(id) form=(form);
            span.unseen { (fill(shell.text.list.select, &[("name", user_text(name))])) }
        }
    }
}

/// A form without buttons: those of the rows belong to it, each with its connection.
pub(super) fn one_click_form(shell: &PageContext, form: &str, offer: BulkOffer, here: &str) -> Markup {
    html! {
        form id=(form) method="post" action="/bulk" {
            (csrf_field(shell))
            input type="hidden" name="action" value=(offer.as_str());
            input type="hidden" name="back" value=(here);
        }
    }
}

/// What is left and what was done, as it travels from page to page.
#[derive(Debug, Clone)]
pub struct BulkFields {
    /// What is done.
    pub offer: BulkOffer,
    /// Ids of the connections that are left.
    pub left: Vec<String>,
    /// With how many it was done.
    pub done: i64,
    /// How many there are in all.
    pub all: i64,
    /// Ids of those with which it was not done, and why.
    pub problems: Vec<(String, BulkOutcome)>,
    /// Ids of those that were disconnected, and can be brought back.
    pub ended: Vec<String>,
    /// Where the person came from.
    pub back: String,
    /// The new owner, as it was chosen.
    pub owner: String,
    /// Who uses them, as it was chosen.
    pub sharing: String,
}

impl BulkFields {
    fn handled(&self) -> i64 {
        self.all - i64::try_from(self.left.len()).unwrap_or(0)
    }
}

fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

fn hidden_fields(shell: &PageContext, fields: &BulkFields) -> Markup {
    html! {
        (csrf_field(shell))
        (hidden("action", fields.offer.as_str()))
        (hidden("confirmed", "yes"))
        (hidden("back", &fields.back))
        (hidden("done", &fields.done.to_string()))
        @for id in &fields.left { (hidden("id", id)) }
        @for (id, outcome) in &fields.problems { (hidden("problem", &format!("{}:{id}", outcome.as_str()))) }
        @for id in &fields.ended { (hidden("ended", id)) }
    }
}

fn bulk_page(shell: &PageContext, title: &str, body: &Markup) -> Markup {
    section_page(shell, Section::Connections, title, body)
}

/// A page instead of one that would do nothing.
pub fn nothing_selected(shell: &PageContext, back: &str, too_many: Option<usize>) -> Markup {
    let text = &shell.text.bulk;
    let body = html! {
        (head(&html! { (text.none_title) }, &html! {}))
        p {
            @match too_many {
                Some(most) => (fill_plain(text.too_many, &[("count", &most.to_string())])),
                None => (text.none),
            }
        }
        p { (link(text.go_back, back, "button main")) }
    };
    bulk_page(shell, text.none_title, &body)
}

/// A connection before it is disconnected with others.
#[derive(Debug, Clone)]
pub struct BulkImpactRow {
    /// Its name.
    pub name: String,
    /// Its app's id.
    pub app: String,
    /// Its app's name.
    pub app_name: String,
    /// Workflows that used it.
    pub workflows: Vec<String>,
}

/// The question before several connections are disconnected.
#[derive(Debug, Clone)]
pub struct BulkConfirmView {
    /// What the button sends.
    pub fields: BulkFields,
    /// Those that are disconnected.
    pub rows: Vec<BulkImpactRow>,
    /// Names of those that stay.
    pub skipped: Vec<String>,
    /// Workflows that stop, each once.
    pub workflows: Vec<String>,
}

fn skipped_list(shell: &PageContext, names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() {
            p { (shell.text.bulk.skipped) }
            ul { @for name in names { li { (user_text(name)) } } }
        }
    }
}

/// The question before several connections are disconnected: what stops.
pub fn bulk_confirm(shell: &PageContext, view: &BulkConfirmView) -> Markup {
    let text = &shell.text.bulk;
    let title = count(i64::try_from(view.rows.len()).unwrap_or(0), text.disconnect_one, text.disconnect_some);
    let body = html! {
        (back_link(text.back, &view.fields.back))
        (head(&html! { (title) }, &html! {}))
        @if view.rows.is_empty() {
            section.panel.info aria-label=(text.nothing_left) { p { (text.nothing_left) } p { (link(text.go_back, &view.fields.back, "button")) } }
        } @else {
            section.panel.bad aria-labelledby="stops" {
                @if view.workflows.is_empty() {
                    p #stops { (text.disconnect_unused) }
                } @else {
                    p #stops { strong { (text.disconnect_stops) } }
                    ul { @for workflow in &view.workflows { li { (user_text(workflow)) } } }
                }
                p { (text.disconnect_about) }
                form method="post" action="/bulk" {
                    (hidden_fields(shell, &view.fields))
                    div.actions {
                        button.danger type="submit" { (text.disconnect_now) }
                        (link(text.cancel, &view.fields.back, "button"))
                    }
                }
            }
            div.card.flush { table {
                caption.unseen { (text.title) }
                thead { tr { (column_heads(&[(text.connection, ""), (text.stops, "w40")])) } }
                tbody { @for row in &view.rows { tr {
                    th scope="row" { div.with-logo { (app_logo(&row.app, &row.app_name, "")) div { (user_text(&row.name)) } } }
                    td data-label=(text.stops) {
                        @if row.workflows.is_empty() { span.quiet { (text.stops_nothing) } }
                        @else { div { @for workflow in &row.workflows { div { (user_text(workflow)) } } } }
                    }
                } } }
            } }
        }
        (skipped_list(shell, &view.skipped))
    };
    bulk_page(shell, &title, &body)
}

/// The question who gets several connections.
#[derive(Debug, Clone)]
pub struct BulkShareView {
    /// What the button sends beside what is chosen.
    pub fields: BulkFields,
    /// Who may own them.
    pub people: OwnerChoice,
    /// Whether nothing was chosen.
    pub is_incomplete: bool,
}

/// The question who gets several connections.
pub fn bulk_share(shell: &PageContext, view: &BulkShareView) -> Markup {
    let text = &shell.text.bulk;
    let title = count(view.fields.all, text.share_one, text.share_some);
    let wrong = view.is_incomplete.then_some(text.share_nothing);
    let mistakes: Vec<InvalidField<'_>> = wrong.iter().map(|why| ("owner".to_owned(), text.owner, *why)).collect();
    let described = described_by("owner", false, wrong.is_some());
    let sharings = [("", text.sharing_stays), ("shared", text.shared), ("private", text.private)];
    let body = html! {
        (error_summary(shell, None, &mistakes))
        (back_link(text.back, &view.fields.back))
        (head(&html! { (title) }, &html! {}))
        form.card method="post" action="/bulk" {
            (hidden_fields(shell, &view.fields))
            div.field.wrong[wrong.is_some()] {
                @if view.people.people.is_empty() {
                    label for="owner" { (text.owner_id) }
                    (field_error(shell, "owner", wrong))
                    input #owner type="text" name="owner" value=(view.people.owner) maxlength="128" autocomplete="off" dir="auto"
                        aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described.as_deref()];
                } @else {
                    label for="owner" { (text.owner) }
                    (field_error(shell, "owner", wrong))
                    select #owner name="owner" aria-invalid=[wrong.map(|_| "true")] aria-describedby=[described.as_deref()] {
                        option value="" { (text.owner_stays) }
                        option value="none" selected[view.people.owner == "none"] { (text.owner_nobody) }
                        @for (id, name) in &view.people.people {
                            option value={ "id:" (id) } selected[view.people.owner.strip_prefix("id:") == Some(id)] {
                                (reveal_control_characters(name))
                            }
                        }
                    }
                }
            }
            div.field {
                label for="sharing" { (text.sharing) }
                select #sharing name="sharing" {
                    @for (value, label) in sharings { option value=(value) selected[value == view.fields.sharing] { (label) } }
                }
            }
            div.actions {
                button.main type="submit" { (text.share_save) }
                (link(text.cancel, &view.fields.back, "button"))
            }
        }
    };
    bulk_page(shell, &title, &body)
}

/// How far it is.
#[derive(Debug, Clone)]
pub struct BulkProgressView {
    /// What is left, and what was done.
    pub fields: BulkFields,
}

/// How far it is. The form sends itself where scripts run.
pub fn bulk_progress(shell: &PageContext, view: &BulkProgressView) -> Markup {
    let (text, fields) = (&shell.text.bulk, &view.fields);
    let title = fields.offer.under_way(shell);
    let (done, all) = (fields.handled(), fields.all);
    let words = fill(text.progress, &[("done", html! { (done) }), ("all", html! { (all) })]);
    let body = html! {
        (head(&html! { (title) }, &html! {}))
        section.card aria-label=(title) {
            p #progress { strong { (words) } }
            progress aria-labelledby="progress" max=(all) value=(done) { (words) }
            p.quiet { (text.goes_on) }
            form method="post" action="/bulk" data-continue {
                (hidden_fields(shell, fields))
                @if !fields.owner.is_empty() { (hidden("owner", &fields.owner)) }
                @if !fields.sharing.is_empty() { (hidden("sharing", &fields.sharing)) }
                div.actions {
                    button.main type="submit" { (text.continue_button) }
                    (link(text.stop, &fields.back, "button"))
                }
            }
        }
    };
    let numbers = fill_plain(text.progress, &[("done", &done.to_string()), ("all", &all.to_string())]);
    bulk_page(shell, &format!("{numbers} – {title}"), &body)
}

/// A connection with which it was not done.
#[derive(Debug, Clone)]
pub struct BulkProblem {
    /// Its id.
    pub id: String,
    /// Its name, if the person still sees it.
    pub name: Option<String>,
    /// Why.
    pub outcome: BulkOutcome,
    /// Whether the person may repair it.
    pub may_reconnect: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct BulkResultView {
    /// What was done.
    pub fields: BulkFields,
    /// Those with which it was not done.
    pub problems: Vec<BulkProblem>,
}

/// What came of it, and what to do about the rest.
pub fn bulk_result(shell: &PageContext, view: &BulkResultView) -> Markup {
    let (text, fields) = (&shell.text.bulk, &view.fields);
    let title = fields.offer.finished(shell);
    let sentence = match fields.offer {
        BulkOffer::Check if fields.done == fields.all => text.all_work,
        BulkOffer::Check => text.works,
        _ => text.all_done,
    };
    let undo = BulkFields {
        offer: BulkOffer::Undo,
        left: fields.ended.clone(),
        done: 0,
        all: i64::try_from(fields.ended.len()).unwrap_or(0),
        problems: vec![],
        ended: vec![],
        ..fields.clone()
    };
    let numbers = [("count", html! { (fields.done) }), ("all", html! { (fields.all) })];
    let tone = if view.problems.is_empty() { "good" } else { "waiting" };
    let body = html! {
        (head(&html! { (title) }, &html! {}))
        section.panel.(tone) aria-label=(title) {
            p { (fill(sentence, &numbers)) }
            @if !undo.left.is_empty() {
                p { (text.undo_about) }
                form method="post" action="/bulk" {
                    (hidden_fields(shell, &undo))
                    button type="submit" { (count(undo.all, text.undo_all, text.undo_all_of)) }
                }
            }
        }
        @if !view.problems.is_empty() {
            section.card aria-labelledby="problems" {
                h2 #problems { (text.problems) }
                ul.list { @for problem in &view.problems { li.entry { (problem_entry(shell, problem)) } } }
            }
        }
        p { (link(text.back, &fields.back, "button main")) }
    };
    bulk_page(shell, title, &body)
}

fn problem_entry(shell: &PageContext, problem: &BulkProblem) -> Markup {
    let text = &shell.text.bulk;
    let page = format!("/connections/{}", problem.id);
    html! {
        div {
            @match &problem.name {
                Some(name) => (link(name, &page, "name")),
                None => code { (user_text(&problem.id)) },
            }
            p.attention { (outcome_words(shell, problem.outcome)) }
        }
        @if problem.outcome == BulkOutcome::Broken && problem.may_reconnect {
            div.does { (link(text.reconnect, &format!("{page}/reconnect"), "button main")) }
        }
    }
}

fn outcome_words(shell: &PageContext, outcome: BulkOutcome) -> &'static str {
    let text = &shell.text.bulk;
    match outcome {
        BulkOutcome::Done => text.finished,
        BulkOutcome::Broken => text.broken,
        BulkOutcome::Unreachable => text.unreachable,
        BulkOutcome::ClientRefused => text.client_refused,
        BulkOutcome::NothingToAsk => text.nothing_to_ask,
        BulkOutcome::Gone => text.gone,
        BulkOutcome::NotAllowed => text.not_allowed,
        BulkOutcome::AnswersForOthers => text.answers_for_others,
        BulkOutcome::DoesNotFit => text.does_not_fit,
        BulkOutcome::TooLate => text.too_late,
        BulkOutcome::Failed => text.failed,
    }
}
