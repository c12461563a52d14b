//! Connect links: made for an app or a connection, their state, and their end.

use maud::{Markup, html};

use super::super::frame::{
    app_logo, back_link, copyable_block, csrf_field, head, relative_time, status_badge, user_text,
};
use super::super::text::fill;
use super::fields::{
    Choice, FormErrors, TextField, form_errors, guard_fields, select_field, shown_once, text_field, tick,
};
use super::list::{List, list, rows};
use super::{SettingsPage, settings_page};
use crate::http::page::{PageContext, StatusLabel};
use crate::time::Timestamp;

/// What was entered for a link.
#[derive(Debug, Clone, Default)]
pub struct LinkForm {
    /// The app.
    pub app: String,
    /// The id of the person.
    pub user_id: String,
    /// The name of the person.
    pub user_name: String,
    /// Whether everybody uses the connection.
    pub is_shared: bool,
    /// `production`, `test`, or empty.
    pub environment: String,
    /// Seconds.
    pub expires_in: String,
}

/// A link of the list.
#[derive(Debug, Clone)]
pub struct LinkRow {
    /// Its id.
    pub id: String,
    /// The app's id and name.
    pub app: (String, String),
    /// For whom.
    pub person: Option<String>,
    /// Its state.
    pub status: StatusLabel,
    /// What came of it, or what it repairs: a connection's id.
    pub connection: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether it can be ended.
    pub can_end: bool,
}

/// The links, and the form for a new one.
#[derive(Debug, Clone, Default)]
pub struct LinksView {
    /// One page of links.
    pub links: Vec<LinkRow>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// The apps.
    pub apps: Vec<Choice>,
    /// The form.
    pub form: LinkForm,
    /// What was refused of it.
    pub errors: FormErrors,
}

/// A link that was just made.
#[derive(Debug, Clone)]
pub struct NewLinkView {
    /// The app's name.
    pub app_name: String,
    /// The link, which is shown this once.
    pub url: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The links.
pub fn settings_links(shell: &PageContext, view: &LinksView) -> Markup {
    let text = &shell.text.links;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        (link_form(shell, view))
        (list(shell, "link", &List {
            title: text.title,
            columns: &[(text.app, ""), (text.person, "w20"), (text.state, "w20"), (text.ends, "w20")],
            action: Some(text.end),
            none: text.none,
            next_page_href: view.next_page_href.as_deref(),
        }, &rows(&view.links, |link| link_row(shell, link))))
    };
    settings_page(shell, SettingsPage::Links, text.title, &body)
}

fn link_row(shell: &PageContext, link: &LinkRow) -> Markup {
    let text = &shell.text.links;
    let (app, app_name) = &link.app;
    html! {
        tr {
            th scope="row" {
                div.with-logo {
                    (app_logo(app, app_name, ""))
                    div {
                        (user_text(app_name))
                        p.quiet.small { (text.made) " " (relative_time(shell, link.created_at)) }
                    }
                }
            }
            td data-label=(text.person) {
                @match &link.person { Some(name) => (user_text(name)), None => span.quiet { (text.anybody) } }
            }
            td data-label=(text.state) {
                div {
                    (status_badge(&link.status))
                    @if let Some(connection) = &link.connection {
                        p.attention { a.way href={ "/connections/" (connection) } { (text.connection) } }
                    }
                }
            }
            td data-label=(text.ends) { (relative_time(shell, link.expires_at)) }
            td.tight {
                @if link.can_end {
                    form method="post" action={ "/settings/links/" (link.id) "/end" } {
                        (csrf_field(shell))
                        button type="submit" { (text.end) span.unseen { ": " (user_text(app_name)) } }
                    }
                }
            }
        }
    }
}

fn link_form(shell: &PageContext, view: &LinksView) -> Markup {
    let (text, form, errors) = (&shell.text.links, &view.form, &view.errors);
    let lives = [Choice::new("3600", text.hour), Choice::new("86400", text.day), Choice::new("604800", text.week)];
    let environments = [
        Choice::new("", shell.text.connection.environment_unknown),
        Choice::new("production", shell.text.keys.production),
        Choice::new("test", shell.text.keys.test),
    ];
    let labels = [
        ("app", text.app),
        ("user_id", text.user_id),
        ("user_name", text.user_name),
        ("environment", text.environment),
    ];
    html! {
        (form_errors(shell, errors, &labels))
        details.fold open[view.links.is_empty() || !errors.is_empty() || shell.shows_form_again()] {
            summary { (text.create) }
            form method="post" action="/settings/links" autocomplete="off" data-once {
                (guard_fields(shell))
                (select_field(shell, errors, "app", text.app, Some(text.app_hint), &view.apps, &form.app))
                (text_field(shell, errors, &TextField::new("user_id", text.user_id, &form.user_id).hint(text.user_id_hint).optional()))
                (text_field(shell, errors, &TextField::new("user_name", text.user_name, &form.user_name).optional()))
                (tick("shared", "yes", &html! { (text.shared) }, form.is_shared))
                (select_field(shell, errors, "environment", text.environment, None, &environments, &form.environment))
                (select_field(shell, errors, "expires_in", text.ends, None, &lives, &form.expires_in))
                div.actions { button.primary type="submit" { (text.create) } }
            }
        }
    }
}

/// A link that was just made. It is on this page alone.
pub fn new_link(shell: &PageContext, view: &NewLinkView) -> Markup {
    let text = &shell.text.links;
    let body = html! {
        (back_link(text.title, "/settings/links"))
        (head(&html! { (fill(text.created_title, &[("app", user_text(&view.app_name))])) }, &html! {}))
        (shown_once(&html! { p { strong { (text.once) } " " (text.once_about) } }))
        section.card aria-labelledby="link" {
            h2 #link { (text.link) }
            (copyable_block(shell, "link", &view.url))
            p { (fill(text.link_ends, &[("time", relative_time(shell, view.expires_at))])) }
        }
        div.actions { a.button href="/settings/links" { (text.title) } }
    };
    settings_page(shell, SettingsPage::Links, text.create, &body)
}
