//! The page *Review*: what to look at, in groups.
//!
//! Owns how a group looks. Each leads to the list that shows it whole, and offers what can be done with its first connections.

use maud::{Markup, html};

use super::bulk::{BulkOffer, bulk_bar, bulk_checkbox, one_click_form};
use super::connection_list::{attention_list, row_action};
use super::frame::{app_logo, csrf_field, head, icon, link, picture, relative_time, status_badge, user_text};
use super::layout::section_page;
use super::text::{fill, fill_plain};
use super::{ConnectionSummary, PageContext, Section};
use crate::review::{NameProblem, ReviewGroup};

/// The page.
#[derive(Debug, Clone, Default)]
pub struct ReviewView {
    /// The groups that have something.
    pub groups: Vec<ReviewGroupView>,
    /// Connections that the page looked at, if they were not all.
    pub window: Option<i64>,
    /// Where the next ones are looked at.
    pub older_href: Option<String>,
    /// Where this page is.
    pub here: String,
}

/// A group.
#[derive(Debug, Clone)]
pub struct ReviewGroupView {
    /// Which.
    pub group: ReviewGroup,
    /// How many there are.
    pub number: i64,
    /// Whether there may be more.
    pub or_more: bool,
    /// The list that has all of them.
    pub all_href: String,
    /// The first of them.
    pub rows: Vec<ReviewRow>,
}

/// A connection of a group.
#[derive(Debug, Clone)]
pub struct ReviewRow {
    /// The connection.
    pub connection: ConnectionSummary,
    /// Another one to the same account: id and name.
    pub twin: Option<(String, String)>,
    /// A better name.
    pub suggestion: Option<NameSuggestion>,
}

/// A better name, and what is wrong with this one.
#[derive(Debug, Clone)]
pub struct NameSuggestion {
    /// The name.
    pub name: String,
    /// What is wrong.
    pub problem: NameProblem,
}

/// The page.
pub fn review(shell: &PageContext, view: &ReviewView) -> Markup {
    let text = &shell.text.review;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p.quiet { (text.about) }
        @if view.groups.is_empty() {
            section.card.empty aria-labelledby="fine" {
                (picture("check"))
                h2 #fine { (text.fine_title) }
                p { @if view.older_href.is_some() { (text.fine_here) } @else { (text.fine) } }
                p { a.button href="/" { (text.back) } }
            }
        } @else {
            @for group in &view.groups { (group_section(shell, group, &view.here)) }
            (one_click_form(shell, "rename-one", BulkOffer::Rename, &view.here))
            form #row method="post" { (csrf_field(shell)) }
        }
        @if let Some(href) = &view.older_href {
            div.pages {
                span.quiet.small { (fill_plain(text.in_parts, &[("window", &view.window.unwrap_or_default().to_string())])) }
                (link(text.older, href, "button"))
            }
        }
    };
    section_page(shell, Section::Review, text.title, &body)
}

/// The heading of a group, a sentence, and what is offered.
fn words(shell: &PageContext, group: ReviewGroup) -> (&'static str, &'static str, &'static [BulkOffer]) {
    let text = &shell.text.review;
    match group {
        ReviewGroup::NeedsReconnect => {
            (text.needs_reconnect, text.needs_reconnect_about, &[BulkOffer::Check, BulkOffer::Disconnect])
        }
        ReviewGroup::ExpiresSoon => (text.expires_soon, text.expires_soon_about, &[BulkOffer::Check]),
        ReviewGroup::NotChecked => (text.not_checked, text.not_checked_about, &[BulkOffer::Check]),
        ReviewGroup::Forgotten => (text.forgotten, text.forgotten_about, &[BulkOffer::Check, BulkOffer::Disconnect]),
        ReviewGroup::Duplicate => (text.duplicate, text.duplicate_about, &[BulkOffer::Disconnect]),
        ReviewGroup::UnclearName => (text.unclear_name, text.unclear_name_about, &[BulkOffer::Rename]),
    }
}

fn group_section(shell: &PageContext, view: &ReviewGroupView, here: &str) -> Markup {
    let text = &shell.text.review;
    let (title, about, offers) = words(shell, view.group);
    let id = view.group.as_str();
    let form = format!("bulk-{id}");
    let number = view.number.to_string();
    let number = if view.or_more { fill_plain(shell.text.list.or_more, &[("count", &number)]) } else { number };
    let shown = i64::try_from(view.rows.len()).unwrap_or(0);
    html! {
        section.card aria-labelledby=(id) {
            h2 id=(id) { (title) " " span.count { (number) } }
            p.quiet { (about) }
            ul.list { @for row in &view.rows { li.entry {
                (bulk_checkbox(shell, &form, &row.connection.id, &row.connection.name))
                (entry(shell, row))
                div.does {
                    @if row.suggestion.is_some() {
                        @if row.connection.may_change {
                            button type="submit" form="rename-one" name="id" value=(row.connection.id) {
                                (text.use_name) span.unseen { ": " (user_text(&row.connection.name)) }
                            }
                        }
                    } @else {
                        (row_action(shell, &row.connection))
                    }
                }
            } } }
            (bulk_bar(shell, &form, here, offers))
            @if shown < view.number || view.or_more {
                p { a.way href=(view.all_href) { (fill(text.show_all, &[("count", html! { (number) })])) (icon("right")) } }
            }
        }
    }
}

fn entry(shell: &PageContext, row: &ReviewRow) -> Markup {
    let (text, one) = (&shell.text.review, &row.connection);
    html! {
        div.with-logo {
            (app_logo(&one.app, &one.app_name, ""))
            div {
                a.name href={ "/connections/" (one.id) } { (user_text(&one.name)) } " "
                (status_badge(&one.status))
                div.quiet.small {
                    (user_text(&one.app_name)) " · " (super::frame::account_label(shell, one.account_label.as_deref())) " · "
                    @match one.last_used_at {
                        Some(at) => { (shell.text.list.last_used) " " (relative_time(shell, at)) },
                        None => (shell.text.list.never_used),
                    }
                }
                @if let Some((id, name)) = &row.twin {
                    p.attention { (fill(text.same_as, &[("name", html! { a href={ "/connections/" (id) } { (user_text(name)) } })])) }
                } @else if let Some(better) = &row.suggestion {
                    p.attention {
                        (name_problem(shell, better.problem)) " "
                        (fill(text.suggested, &[("name", html! { strong { (user_text(&better.name)) } })]))
                    }
                } @else {
                    (attention_list(&one.attention))
                }
            }
        }
    }
}

fn name_problem(shell: &PageContext, problem: NameProblem) -> &'static str {
    let text = &shell.text.review;
    match problem {
        NameProblem::Short => text.name_short,
        NameProblem::Generic => text.name_generic,
        NameProblem::OnlyApp => text.name_only_app,
        NameProblem::Same => text.name_same,
    }
}
