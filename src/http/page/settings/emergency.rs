//! The panic button of an app: what it ends, the confirmation, how far it is, and what came of it.

use maud::{Markup, html};

use super::super::frame::{back_link, code_text, csrf_field, head, icon, relative_time, status_badge, user_text};
use super::super::text::{count, fill};
use super::fields::{FormErrors, TextField, form_errors, text_field};
use super::{SettingsPage, settings_page};
use crate::http::page::{PageContext, StatusLabel, Tone};
use crate::time::Timestamp;

/// What the button would end.
#[derive(Debug, Clone, Default)]
pub struct DisconnectAllView {
    /// The app's id and name.
    pub app: (String, String),
    /// Connections.
    pub connections: i64,
    /// Workflows.
    pub workflows: i64,
    /// Whether these are all.
    pub is_complete: bool,
    /// What was typed.
    pub confirm: String,
    /// Why.
    pub reason: String,
    /// What was refused.
    pub errors: FormErrors,
}

/// How far it is.
#[derive(Debug, Clone)]
pub struct JobView {
    /// The job's id.
    pub id: String,
    /// The app's id and name.
    pub app: (String, String),
    /// Why.
    pub reason: String,
    /// Connections that were counted at the beginning.
    pub connections: i64,
    /// Workflows that used them.
    pub workflows: i64,
    /// Connections that were ended so far.
    pub ended: i64,
    /// Those whose grant was handled and that were erased.
    pub erased: i64,
    /// What became of the grants: words and numbers.
    pub outcomes: Vec<(&'static str, i64)>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was over.
    pub finished_at: Option<Timestamp>,
}

fn at_least(shell: &PageContext, number: i64, is_complete: bool, one: &str, other: &str) -> String {
    let words = count(number, one, other);
    if is_complete { words } else { format!("{} {words}", shell.text.emergency.at_least) }
}

/// What the button would end, and the button.
pub fn disconnect_all(shell: &PageContext, view: &DisconnectAllView) -> Markup {
    let text = &shell.text.emergency;
    let (app, name) = &view.app;
    let errors = &view.errors;
    let hint = html! { (fill(text.confirm_hint, &[("app", code_text(app))])) };
    let body = html! {
        (back_link(name, &format!("/settings/apps/{app}")))
        (head(&html! { (fill(text.title, &[("app", user_text(name))])) }, &html! {}))
        (form_errors(shell, errors, &[("confirm", text.confirm), ("reason", text.reason)]))
        div.notice.bad {
            (icon("stop"))
            div {
                p { strong { (at_least(shell, view.connections, view.is_complete, text.one_connection, text.some_connections)) } }
                p { (at_least(shell, view.workflows, view.is_complete, text.one_workflow, text.some_workflows)) }
                p { (text.forever) }
            }
        }
        form.card method="post" action={ "/settings/apps/" (app) "/disconnect-all" } autocomplete="off" {
            (csrf_field(shell))
            (text_field(shell, errors, &TextField { hint: Some(hint), ..TextField::new("confirm", text.confirm, &view.confirm) }))
            (text_field(shell, errors, &TextField::new("reason", text.reason, &view.reason).hint(text.reason_hint)))
            div.actions {
                button.danger type="submit" { (text.button) }
                a.button href={ "/settings/apps/" (app) } { (shell.text.settings.cancel) }
            }
        }
    };
    settings_page(shell, SettingsPage::Apps, text.button, &body)
}

/// How far it is, and what came of it.
pub fn disconnect_job(shell: &PageContext, view: &JobView) -> Markup {
    let text = &shell.text.emergency;
    let (app, name) = &view.app;
    let is_over = view.finished_at.is_some();
    let status = if is_over {
        StatusLabel { text: text.finished.to_owned(), tone: Tone::Good }
    } else {
        StatusLabel { text: text.running.to_owned(), tone: Tone::Waiting }
    };
    let most = view.connections.max(view.ended).max(1);
    let progress = fill(
        text.progress,
        &[("done", html! { (view.erased) }), ("all", html! { (view.connections.max(view.ended)) })],
    );
    let body = html! {
        (back_link(name, &format!("/settings/apps/{app}")))
        (head(&html! { (fill(text.job_title, &[("app", user_text(name))])) }, &html! { (status_badge(&status)) }))
        p { (text.denied) }
        section.card aria-labelledby="job" {
            h2 #job { (text.receipt) }
            @if !is_over {
                p #progress { (progress) }
                progress aria-labelledby="progress" max=(most) value=(view.erased) { (progress) }
                p { a.button href={ "/settings/jobs/" (view.id) } { (icon("refresh")) (text.refresh) } }
                p.quiet { (text.by_itself) }
            }
            dl {
                div { dt { (text.reason) } dd { (user_text(&view.reason)) } }
                div { dt { (text.began) } dd { (relative_time(shell, view.created_at)) } }
                @if let Some(at) = view.finished_at { div { dt { (text.finished) } dd { (relative_time(shell, at)) } } }
                div { dt { (text.connections) } dd { (view.ended) } }
                div { dt { (text.workflows) } dd { (view.workflows) } }
                @for (words, number) in &view.outcomes { div { dt { (words) } dd { (number) } } }
                div { dt { (text.id) } dd { (code_text(&view.id)) } }
            }
        }
    };
    settings_page(shell, SettingsPage::Apps, text.receipt, &body)
}
