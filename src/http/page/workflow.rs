//! The pages of workflows: a list of them, and what one uses and whether it could run.

use maud::{Markup, html};

use super::frame::{
    account_label, app_logo, back_link, column_heads, empty_list, environment_words, head, icon, link, relative_time,
    status_badge, tone_class, tone_icon, user_text,
};
use super::layout::section_page;
use super::text::{count, fill, fill_plain};
use super::{PageContext, Section, StatusLabel, Tone};
use crate::time::Timestamp;

/// The workflows that used a connection which the person sees.
#[derive(Debug, Clone, Default)]
pub struct WorkflowsView {
    /// One page of them.
    pub workflows: Vec<WorkflowRow>,
    /// How their names begin.
    pub search: Option<String>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// Whether this is not the first page.
    pub is_later_page: bool,
}

/// A workflow of the list.
#[derive(Debug, Clone)]
pub struct WorkflowRow {
    /// The caller's name for it.
    pub workflow: String,
    /// Its page.
    pub href: String,
    /// The first apps that it uses: id and name.
    pub apps: Vec<(String, String)>,
    /// How many more it uses.
    pub more_apps: usize,
    /// Connections.
    pub connections: usize,
    /// Steps.
    pub steps: usize,
    /// Whether the numbers are exact. Otherwise there are at least so many.
    pub is_complete: bool,
    /// Whether a person has to look at it.
    pub status: StatusLabel,
    /// Whether a step named only the app.
    pub used_default: bool,
    /// Steps that used another connection before.
    pub changed_steps: usize,
    /// The last use.
    pub last_used_at: Timestamp,
}

/// What a workflow's steps use, as far as the person sees it.
#[derive(Debug, Clone)]
pub struct WorkflowView {
    /// The workflow.
    pub workflow: String,
    /// This page.
    pub href: String,
    /// The environment that its connections should have, or empty.
    pub environment: String,
    /// Whether the connections are all.
    pub is_complete: bool,
    /// The connections that it used lately, and whether they could be used now.
    pub connections: Vec<WorkflowConnectionView>,
    /// Its steps, with all that they used.
    pub steps: Vec<StepView>,
    /// Whether there are more steps than are shown.
    pub has_more: bool,
}

/// A connection before a run.
#[derive(Debug, Clone)]
pub struct WorkflowConnectionView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The app's id and name.
    pub app: (String, String),
    /// The account's label.
    pub account_label: Option<String>,
    /// `production`, `test`, or empty.
    pub environment: String,
    /// Whether another connection answers for it.
    pub is_replaced: bool,
    /// The steps that use it. An empty one was not named.
    pub steps: Vec<String>,
    /// Why it could not be used now, as a sentence.
    pub problem: Option<String>,
    /// How a person repairs it: a label and an address.
    pub repair: Option<(&'static str, String)>,
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
    /// The app's id and name.
    pub app: (String, String),
    /// Whether the step named only the app.
    pub by_default: bool,
    /// What else is to be known, in sentences.
    pub notes: Vec<String>,
    /// The last use.
    pub last_used_at: Timestamp,
}

/// The list of workflows.
pub fn workflow_list(shell: &PageContext, view: &WorkflowsView) -> Markup {
    let text = &shell.text.workflows;
    let is_empty = view.workflows.is_empty() && view.search.is_none() && !view.is_later_page;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        @if is_empty && view.next_page_href.is_none() {
            (empty_list("workflow", text.none, Some((text.see_connections, "/"))))
        } @else {
            (search_form(shell, view.search.as_deref()))
            @if view.workflows.is_empty() { p { (none_found(shell, view)) } } @else { (workflow_table(shell, &view.workflows)) }
        }
        @if view.is_later_page || view.next_page_href.is_some() {
            nav.pages aria-label=(text.pages) {
                @if view.is_later_page { a.button href=(first_page_href(view.search.as_deref())) { (shell.text.frame.first_page) } }
                @if let Some(next) = &view.next_page_href { a.button href=(next) { (shell.text.frame.next_page) } }
            }
        }
    };
    section_page(shell, Section::Workflows, text.title, &body)
}

fn first_page_href(search: Option<&str>) -> String {
    let query = |text| url::form_urlencoded::Serializer::new(String::new()).append_pair("q", text).finish();
    search.map_or_else(|| "/workflows".to_owned(), |text| format!("/workflows?{}", query(text)))
}

/// A page looks at a limited number of uses, so that one without a workflow is not always the last.
fn none_found(shell: &PageContext, view: &WorkflowsView) -> Markup {
    let text = &shell.text.workflows;
    let words = match (&view.search, &view.next_page_href) {
        (_, Some(_)) => text.none_yet,
        (Some(_), None) => text.none_found,
        (None, None) => text.no_more,
    };
    fill(words, &[("search", user_text(view.search.as_deref().unwrap_or_default()))])
}

fn search_form(shell: &PageContext, search: Option<&str>) -> Markup {
    let text = &shell.text.workflows;
    html! {
        form.line method="get" action="/workflows" role="search" aria-label=(text.search_title) {
            label for="q" { (text.search) }
            input #q type="search" name="q" value=(search.unwrap_or_default()) autocomplete="off" autocapitalize="none"
                spellcheck="false" dir="auto";
            button type="submit" { (shell.text.settings.search) }
            @if search.is_some() { a.button href="/workflows" { (shell.text.settings.show_all) } }
        }
    }
}

fn workflow_table(shell: &PageContext, workflows: &[WorkflowRow]) -> Markup {
    let text = &shell.text.workflows;
    html! {
        div.card.flush {
            table {
                caption.unseen { (text.title) }
                thead {
                    tr {
                        (column_heads(&[
                            (text.workflow, ""), (text.uses, "w30"), (text.state, "w20"), (text.last_used, "w15"),
                        ]))
                    }
                }
                tbody { @for one in workflows { (workflow_row(shell, one)) } }
            }
        }
    }
}

fn workflow_row(shell: &PageContext, one: &WorkflowRow) -> Markup {
    let text = &shell.text.workflows;
    let number = |number: usize, one, other| count(i64::try_from(number).unwrap_or(i64::MAX), one, other);
    html! {
        tr {
            th scope="row" {
                @if one.workflow.is_empty() { span.quiet { (text.unnamed) } } @else { (link(&one.workflow, &one.href, "name")) }
                @if one.used_default || one.changed_steps > 0 {
                    p.small {
                        @if one.used_default { span.badge { (text.by_default) } " " }
                        @if one.changed_steps > 0 { span.badge { (number(one.changed_steps, text.one_changed, text.some_changed)) } }
                    }
                }
            }
            td data-label=(text.uses) {
                div {
                    div.logos {
                        @for (id, name) in &one.apps { (app_logo(id, name, "")) span.unseen { (user_text(name)) " " } }
                        @if one.more_apps > 0 { span.quiet { "+" (one.more_apps) } }
                    }
                    span.quiet.small {
                        @if !one.is_complete { (text.at_least) " " }
                        (number(one.connections, text.one_connection, text.some_connections)) ", "
                        (number(one.steps, text.one_step, text.some_steps))
                    }
                }
            }
            td data-label=(text.state) { (status_badge(&one.status)) }
            td data-label=(text.last_used) { (relative_time(shell, one.last_used_at)) }
        }
    }
}

/// A workflow's page.
pub fn workflow(shell: &PageContext, view: &WorkflowView) -> Markup {
    let text = &shell.text.workflows;
    let title = fill_plain(text.title_of, &[("name", &view.workflow)]);
    let body = html! {
        (back_link(text.all, "/workflows"))
        (head(&fill(text.title_of, &[("name", user_text(&view.workflow))]), &html! {}))
        (preflight_panel(shell, view))
        section.card aria-labelledby="connections" {
            h2 #connections { (text.connections) }
            p.quiet { (text.connections_about) }
            (environment_form(shell, view))
            @if view.connections.is_empty() { p { (text.none_now) } } @else { (connection_table(shell, &view.connections)) }
            @if !view.is_complete { p.quiet { (text.more_connections) } }
        }
        section.card aria-labelledby="steps" {
            h2 #steps { (text.steps) }
            (step_table(shell, &view.steps))
            @if view.has_more { p.quiet { (text.more_steps) } }
        }
    };
    section_page(shell, Section::Workflows, &title, &body)
}

/// Whether it could run now, first.
fn preflight_panel(shell: &PageContext, view: &WorkflowView) -> Markup {
    let text = &shell.text.workflows;
    let broken = view.connections.iter().filter(|one| one.problem.is_some()).count();
    let (tone, title) = match broken {
        0 if view.connections.is_empty() => (Tone::Info, text.nothing_known.to_owned()),
        0 => (Tone::Good, text.is_ready.to_owned()),
        number => {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            (Tone::Bad, count(number, text.one_is_not_ready, text.some_are_not_ready))
        }
    };
    html! {
        section.panel.(tone_class(tone)) aria-labelledby="preflight" {
            h2 #preflight { (icon(tone_icon(tone))) " " (title) }
            p { @if tone == Tone::Bad { (text.not_ready_about) } @else { (text.is_ready_about) } }
        }
    }
}

fn environment_form(shell: &PageContext, view: &WorkflowView) -> Markup {
    let text = &shell.text.workflows;
    let options = [
        ("", text.any_environment),
        ("production", shell.text.connection.production),
        ("test", shell.text.connection.test),
    ];
    html! {
        form.toolbar method="get" action=(view.href) role="search" aria-label=(text.environment) {
            div {
                label for="environment" { (text.environment) }
                select #environment name="environment" data-submit {
                    @for (value, label) in options { option value=(value) selected[value == view.environment] { (label) } }
                }
            }
            button type="submit" { (shell.text.settings.filter) }
        }
    }
}

fn connection_table(shell: &PageContext, connections: &[WorkflowConnectionView]) -> Markup {
    let text = &shell.text.workflows;
    // What is not ready comes first.
    let (broken, usable): (Vec<_>, Vec<_>) = connections.iter().partition(|one| one.problem.is_some());
    html! {
        table {
            caption.unseen { (text.connections) }
            thead {
                tr {
                    (column_heads(&[
                        (text.connection, ""), (text.account, "w25"), (text.steps, "w20"), (text.state, "w25"),
                    ]))
                }
            }
            tbody { @for one in broken.into_iter().chain(usable) { (connection_row(shell, one)) } }
        }
    }
}

fn connection_row(shell: &PageContext, one: &WorkflowConnectionView) -> Markup {
    let text = &shell.text.workflows;
    let (app, app_name) = &one.app;
    let status = match one.problem {
        None => StatusLabel { text: text.ready.to_owned(), tone: Tone::Good },
        Some(_) => StatusLabel { text: text.not_ready.to_owned(), tone: Tone::Bad },
    };
    let environment = environment_words(shell.text, &one.environment);
    html! {
        tr {
            th scope="row" {
                div.with-logo {
                    (app_logo(app, app_name, ""))
                    div {
                        (link(&one.name, &format!("/connections/{}", one.id), "name"))
                        p.quiet.small { (user_text(app_name)) }
                    }
                }
            }
            td.address data-label=(text.account) {
                div {
                    (account_label(shell, one.account_label.as_deref()))
                    @if let Some(environment) = environment { " " span.badge { (environment) } }
                }
            }
            td data-label=(text.steps) { (step_names(shell, &one.steps)) }
            td data-label=(text.state) {
                div {
                    (status_badge(&status))
                    @if one.is_replaced { p.attention { (text.answered_by_other) } }
                    @if let Some(problem) = &one.problem { p.attention { (user_text(problem)) } }
                    @if let Some((label, href)) = &one.repair {
                        p.repair { a.button href=(href) { (label) span.unseen { ": " (user_text(&one.name)) } } }
                    }
                }
            }
        }
    }
}

/// Steps beside a connection, at most.
const STEP_NAMES_SHOWN: usize = 5;

fn step_names(shell: &PageContext, steps: &[String]) -> Markup {
    html! {
        span {
            @for (index, step) in steps.iter().take(STEP_NAMES_SHOWN).enumerate() {
                @if index > 0 { ", " }
                (step_name(shell, step))
            }
            @if steps.len() > STEP_NAMES_SHOWN { " +" (steps.len() - STEP_NAMES_SHOWN) }
        }
    }
}

fn step_name(shell: &PageContext, step: &str) -> Markup {
    html! { @if step.is_empty() { span.quiet { (shell.text.connection.use_unnamed) } } @else { (user_text(step)) } }
}

fn step_table(shell: &PageContext, steps: &[StepView]) -> Markup {
    let text = &shell.text.workflows;
    html! {
        table {
            caption.unseen { (text.steps_caption) }
            thead {
                tr { (column_heads(&[(text.step, ""), (text.connection, "w40"), (text.last_used, "w20")])) }
            }
            tbody { @for one in steps { (step_row(shell, one)) } }
        }
    }
}

fn step_row(shell: &PageContext, one: &StepView) -> Markup {
    let text = &shell.text.workflows;
    html! {
        tr {
            th scope="row" { (step_name(shell, &one.step)) }
            td data-label=(text.connection) {
                div {
                    div.with-logo {
                        (app_logo(&one.app.0, &one.app.1, ""))
                        div {
                            (link(&one.name, &format!("/connections/{}", one.connection), "name"))
                            @if one.by_default { " " span.badge { (text.by_default) } }
                        }
                    }
                    @for note in &one.notes { p.attention { (user_text(note)) } }
                }
            }
            td data-label=(text.last_used) { (relative_time(shell, one.last_used_at)) }
        }
    }
}
