//! The audit log, for people: filters, one page of lines, and links to the same lines as files.

use maud::{Markup, html};

use super::super::frame::{
    code_text, copyable, empty_list, head, icon, relative_time, reveal_control_characters, user_text,
};
use super::super::layout::section_page;
use super::fields::{Choice, FormErrors, form_errors};
use super::list::{List, table};
use crate::http::page::{PageContext, Section};
use crate::time::Timestamp;

/// What is filtered by, as it was entered.
#[derive(Debug, Clone, Default)]
pub struct ActivityFilters {
    /// A type.
    pub kind: String,
    /// An actor, as a line names it.
    pub actor: String,
    /// A connection's id.
    pub connection: String,
    /// An app's id.
    pub app: String,
    /// A workflow.
    pub workflow: String,
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
}

impl ActivityFilters {
    fn is_empty(&self) -> bool {
        [&self.kind, &self.actor, &self.connection, &self.app, &self.workflow, &self.from, &self.to]
            .iter()
            .all(|text| text.is_empty())
    }
}

/// A line.
#[derive(Debug, Clone)]
pub struct ActivityRow {
    /// When.
    pub at: Timestamp,
    /// What happened, in words.
    pub what: String,
    /// Who: a name, and where it is shown.
    pub actor: (String, Option<String>),
    /// About what: a name, and where it is shown.
    pub subject: Option<(String, Option<String>)>,
    /// The app.
    pub app: Option<String>,
    /// The workflow and its step.
    pub workflow: Option<String>,
    /// Details, in pieces.
    pub detail: Vec<DetailPart>,
    /// The ids of what it is about or mentions.
    pub ids: Vec<ActivityId>,
    /// The address that the request came from.
    pub address: Option<String>,
    /// What the caller calls itself.
    pub user_agent: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
}

/// A piece of the details of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DetailPart {
    /// A text.
    Text(String),
    /// Something with a name, and where it is shown.
    Named(String, Option<String>),
    /// An id whose name is not known any more.
    Id(String),
}

/// An id that a line mentions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivityId {
    /// What it is of.
    pub label: &'static str,
    /// The id.
    pub id: String,
}

/// The audit log.
#[derive(Debug, Clone, Default)]
pub struct ActivityView {
    /// The filters.
    pub filters: ActivityFilters,
    /// All types: the value and the words.
    pub kinds: Vec<Choice>,
    /// What was refused of the filters.
    pub errors: FormErrors,
    /// One page of lines.
    pub rows: Vec<ActivityRow>,
    /// Whether it is not the first page.
    pub is_later_page: bool,
    /// Where the first page is.
    pub first_page_href: String,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// Where the same lines are as CSV.
    pub csv_href: String,
    /// Where the same lines are as JSON.
    pub json_href: String,
}

/// The audit log.
pub fn activity(shell: &PageContext, view: &ActivityView) -> Markup {
    let text = &shell.text.activity;
    let exports = html! {
        a.button href=(view.csv_href) download { (icon("download")) (text.export_csv) }
        a.button href=(view.json_href) download { (icon("download")) (text.export_json) }
    };
    let body = html! {
        (head(&html! { (text.title) }, &exports))
        p { (text.about) }
        (filter_form(shell, view))
        @if view.rows.is_empty() { (empty(shell, view)) } @else {
            div.card.flush {
                (table(&List {
                    title: text.title,
                    columns: &[
                        (text.when, "w15"),
                        (text.what, "w20"),
                        (text.who, "w15"),
                        (text.subject, "w25"),
                        (text.details, ""),
                    ],
                    action: None,
                    none: text.none,
                    next_page_href: None,
                }, &numbered_rows(shell, &view.rows)))
            }
        }
        div.pages {
            @if view.is_later_page { a.button href=(view.first_page_href) { (shell.text.frame.first_page) } } @else { span {} }
            @if let Some(next) = &view.next_page_href {
                a.button href=(next) { @if view.rows.is_empty() { (text.look_further) } @else { (text.older) } }
            }
        }
        p.quiet.small { (text.export_about) }
    };
    section_page(shell, Section::Activity, text.title, &body)
}

fn empty(shell: &PageContext, view: &ActivityView) -> Markup {
    let text = &shell.text.activity;
    let all = (shell.text.settings.show_all, "/activity");
    let (sentence, button) = match &view.next_page_href {
        // The way to older lines stands below.
        Some(_) => (text.none_yet, None),
        None if view.filters.is_empty() && !view.is_later_page => (text.none, None),
        None => (text.none_found, Some(all)),
    };
    empty_list("activity", sentence, button)
}

fn named(one: &(String, Option<String>)) -> Markup {
    html! {
        @match &one.1 {
            Some(href) => a.way href=(href) { (user_text(&one.0)) },
            None => (user_text(&one.0)),
        }
    }
}

fn numbered_rows(shell: &PageContext, of: &[ActivityRow]) -> Vec<Markup> {
    of.iter().enumerate().map(|(number, row)| event_row(shell, number, row)).collect()
}

fn detail_part(part: &DetailPart) -> Markup {
    html! {
        @match part {
            DetailPart::Text(text) => (user_text(text)),
            DetailPart::Named(name, Some(href)) => a href=(href) { (user_text(name)) },
            DetailPart::Named(name, None) => (user_text(name)),
            DetailPart::Id(id) => (code_text(id)),
        }
    }
}

fn event_row(shell: &PageContext, number: usize, row: &ActivityRow) -> Markup {
    let text = &shell.text.activity;
    let has_more = row.address.is_some() || row.user_agent.is_some() || row.request_id.is_some();
    html! {
        tr {
            td.nowrap data-label=(text.when) { (relative_time(shell, row.at)) }
            th scope="row" { (user_text(&row.what)) }
            td data-label=(text.who) { (named(&row.actor)) }
            td data-label=(text.subject) {
                div {
                    @if let Some(subject) = &row.subject { (named(subject)) }
                    @if let Some(app) = &row.app { @if row.subject.is_some() { " " } span.badge { (user_text(app)) } }
                    @if row.subject.is_none() && row.app.is_none() { span.quiet { "–" } }
                }
            }
            td data-label=(text.details) {
                div {
                    @for part in &row.detail { (detail_part(part)) }
                    @if let Some(workflow) = &row.workflow { p.attention { (text.workflow) " " (user_text(workflow)) } }
                    @if has_more || !row.ids.is_empty() {
                        details {
                            summary.small { (text.more) }
                            @for (index, one) in row.ids.iter().enumerate() {
                                p.small.quiet { (one.label) " " (copyable(shell, &format!("id-{number}-{index}"), &one.id)) }
                            }
                            @if has_more {
                                p.small.quiet {
                                    (text.request) " "
                                    @if let Some(address) = &row.address { (code_text(address)) " " }
                                    @if let Some(agent) = &row.user_agent { (user_text(agent)) " " }
                                    @if let Some(request) = &row.request_id { (code_text(request)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn filter_form(shell: &PageContext, view: &ActivityView) -> Markup {
    let (text, filters, errors) = (&shell.text.activity, &view.filters, &view.errors);
    let fields = [
        ("actor", text.who, &filters.actor),
        ("connection", text.connection, &filters.connection),
        ("app", text.app, &filters.app),
        ("workflow", text.workflow_label, &filters.workflow),
    ];
    let days = [("from", text.from, &filters.from), ("to", text.to, &filters.to)];
    let labels: Vec<_> = [("type", text.what)]
        .into_iter()
        .chain(fields.iter().chain(&days).map(|(name, label, _)| (*name, *label)))
        .collect();
    html! {
        (form_errors(shell, errors, &labels))
        details.fold open[!filters.is_empty()] {
        summary { (text.filter_fold) }
        form.toolbar method="get" action="/activity" role="search" aria-label=(text.filters) {
            div {
                label for="type" { (text.what) }
                select #type name="type" {
                    option value="" { (text.anything) }
                    @for kind in &view.kinds {
                        option value=(kind.value) selected[kind.value == filters.kind] { (reveal_control_characters(&kind.label)) }
                    }
                }
            }
            @for (name, label, value) in fields {
                div {
                    label for=(name) { (label) }
                    input id=(name) type="text" name=(name) value=(value) autocomplete="off" autocapitalize="none" spellcheck="false" dir="auto"
                        aria-invalid=[errors.of(name).map(|_| "true")];
                }
            }
            @for (name, label, value) in days {
                div {
                    label for=(name) { (label) }
                    input id=(name) type="date" name=(name) value=(value) aria-invalid=[errors.of(name).map(|_| "true")];
                }
            }
            button type="submit" { (shell.text.settings.filter) }
            @if !filters.is_empty() { a.button.plain href="/activity" { (shell.text.settings.show_all) } }
        }
        }
    }
}
