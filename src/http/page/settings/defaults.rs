//! Default connections: which connection a step gets that names an app, and which workflows a change moves.

use maud::{Markup, html};

use super::super::frame::{
    app_logo, back_link, csrf_field, environment_words, head, icon, reveal_control_characters, status_badge, user_text,
};
use super::super::text::count;
use super::fields::{Choice, FormErrors, form_errors, select_field};
use super::list::{List, list, rows};
use super::{SettingsPage, settings_page};
use crate::http::page::{PageContext, StatusLabel};

/// A default of the list.
#[derive(Debug, Clone)]
pub struct DefaultRow {
    /// The app's id and name.
    pub app: (String, String),
    /// For whom. None: the workspace.
    pub person: Option<String>,
    /// For which environment.
    pub environment: Option<&'static str>,
    /// The connection's id and name.
    pub connection: (String, String),
    /// The connection's status, if it needs a person.
    pub broken: Option<StatusLabel>,
    /// Where it is changed.
    pub href: String,
}

/// The defaults.
#[derive(Debug, Clone, Default)]
pub struct DefaultsView {
    /// One page of defaults.
    pub defaults: Vec<DefaultRow>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// The apps.
    pub apps: Vec<Choice>,
}

/// One default.
#[derive(Debug, Clone, Default)]
pub struct DefaultView {
    /// The app's id and name.
    pub app: (String, String),
    /// For whom. Empty: the workspace.
    pub user: String,
    /// The environment, or empty.
    pub environment: String,
    /// The connection that it has now: id and name.
    pub connection: Option<(String, String)>,
    /// Workflows that used it by default: a change moves them.
    pub workflows: Vec<String>,
    /// Connections that it could have.
    pub candidates: Vec<Choice>,
    /// Its address, which its forms are sent to: a page that is shown again has to say which default it is about.
    pub href: String,
    /// What was chosen.
    pub chosen: String,
    /// What was refused.
    pub errors: FormErrors,
}

/// The defaults.
pub fn settings_defaults(shell: &PageContext, view: &DefaultsView) -> Markup {
    let text = &shell.text.defaults;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        form.line method="get" action="/settings/default" role="search" aria-label=(text.set) {
            label for="app" { (text.set) }
            select #app name="app" {
                @for app in &view.apps { option value=(app.value) { (reveal_control_characters(&app.label)) } }
            }
            button type="submit" { (text.choose) }
        }
        (list(shell, "list", &List {
            title: text.title,
            columns: &[(text.app, ""), (text.who, "w25"), (text.connection, "w30")],
            action: Some(text.change),
            none: text.none,
            next_page_href: view.next_page_href.as_deref(),
        }, &rows(&view.defaults, |one| default_row(shell, one))))
    };
    settings_page(shell, SettingsPage::Defaults, text.title, &body)
}

fn default_row(shell: &PageContext, one: &DefaultRow) -> Markup {
    let text = &shell.text.defaults;
    let (app, app_name) = &one.app;
    html! {
        tr {
            th scope="row" { div.with-logo { (app_logo(app, app_name, "")) span { (user_text(app_name)) } } }
            td data-label=(text.who) {
                div {
                    @match &one.person { Some(person) => (user_text(person)), None => (text.workspace) }
                    @if let Some(words) = environment_words(shell.text, one.environment.unwrap_or_default()) { " " span.badge { (words) } }
                }
            }
            td data-label=(text.connection) {
                div {
                    a.way href={ "/connections/" (one.connection.0) } { (user_text(&one.connection.1)) }
                    @if let Some(status) = &one.broken { " " (status_badge(status)) }
                }
            }
            td.tight { a.button href=(one.href) { (text.change) span.unseen { ": " (user_text(app_name)) } } }
        }
    }
}

/// One default, what a change moves, and the form.
pub fn settings_default(shell: &PageContext, view: &DefaultView) -> Markup {
    let text = &shell.text.defaults;
    let (app, app_name) = &view.app;
    let body = html! {
        (back_link(text.title, "/settings/defaults"))
        (head(&html! { (app_logo(app, app_name, "large")) " " (user_text(app_name)) }, &html! {}))
        (form_errors(shell, &view.errors, &[("connection", text.connection)]))
        p {
            @if view.user.is_empty() { (text.for_workspace) } @else { (text.for_person) " " (user_text(&view.user)) }
            @if let Some(words) = environment_words(shell.text, &view.environment) { " " span.badge { (words) } }
        }
        @match &view.connection {
            None => p { (text.has_none) },
            Some((id, name)) => p { (text.has) " " a.way href={ "/connections/" (id) } { (user_text(name)) } },
        }
        @if !view.workflows.is_empty() {
            div.notice.waiting {
                (icon("workflow"))
                div {
                    p { (count(i64::try_from(view.workflows.len()).unwrap_or(i64::MAX), text.moves_one, text.moves_some)) }
                    ul { @for workflow in &view.workflows { li { (user_text(workflow)) } } }
                }
            }
        }
        section.card aria-labelledby="change" {
            h2 #change { (text.change) }
            @if view.candidates.is_empty() { p { (text.no_candidates) } }
            @else {
                form method="post" action=(view.href) {
                    (csrf_field(shell))
                    (slot_fields(view))
                    (select_field(shell, &view.errors, "connection", text.connection, None, &view.candidates, &view.chosen))
                    button.primary type="submit" { (text.save) }
                }
            }
        }
        @if view.connection.is_some() {
            section.card aria-labelledby="end" {
                h2 #end { (text.end) }
                p { (text.end_about) }
                form method="post" action=(view.href) {
                    (csrf_field(shell))
                    (slot_fields(view))
                    input type="hidden" name="end" value="yes";
                    button.danger type="submit" { (text.end) }
                }
            }
        }
    };
    settings_page(shell, SettingsPage::Defaults, app_name, &body)
}

fn slot_fields(view: &DefaultView) -> Markup {
    html! {
        input type="hidden" name="app" value=(view.app.0);
        input type="hidden" name="user" value=(view.user);
        input type="hidden" name="environment" value=(view.environment);
    }
}
