//! API keys: what there is, what a new one may do, its text once, a new secret, and the end of one.

use maud::{Markup, html};

use super::super::form::field_error;
use super::super::frame::{
    back_link, code_text, copyable_block, csrf_field, environment_words, head, relative_time, relative_time_or_never,
    user_text,
};
use super::super::text::{count, fill};
use super::fields::{
    Choice, FormErrors, TextField, form_errors, guard_fields, select_field, shown_once, text_field, tick,
};
use super::list::{List, list, rows};
use super::{SettingsPage, settings_page};
use crate::caller::KeyScope;
use crate::http::page::PageContext;
use crate::time::Timestamp;

/// A scope that a new key may have.
#[derive(Debug, Clone)]
pub struct ScopeOption {
    /// As the API names it.
    pub id: &'static str,
    /// Whether it is ticked.
    pub is_checked: bool,
}

/// An app or a connection that a key may be limited to.
#[derive(Debug, Clone)]
pub struct LimitChoice {
    /// Its id.
    pub id: String,
    /// Its name, as no other one is shown.
    pub name: String,
    /// What it is of, such as the app of a connection.
    pub about: Option<String>,
    /// Whether it is ticked.
    pub is_checked: bool,
}

impl KeyForm {
    fn is_limited(&self) -> bool {
        let ticked = |list: &[LimitChoice]| list.iter().any(|one| one.is_checked);
        !self.apps.is_empty()
            || !self.connections.is_empty()
            || !self.environment.is_empty()
            || ticked(&self.app_choices)
            || ticked(&self.connection_choices)
    }
}

/// What was entered for a new key.
#[derive(Debug, Clone)]
pub struct KeyForm {
    /// Its name.
    pub name: String,
    /// All scopes.
    pub scopes: Vec<ScopeOption>,
    /// Apps that it may be limited to.
    pub app_choices: Vec<LimitChoice>,
    /// Ids of others.
    pub apps: String,
    /// Connections that it may be limited to.
    pub connection_choices: Vec<LimitChoice>,
    /// Whether there are more.
    pub has_more_connections: bool,
    /// Ids of others.
    pub connections: String,
    /// `production`, `test`, or empty.
    pub environment: String,
    /// Days until it ends, or empty.
    pub days: String,
}

/// A key of the list.
#[derive(Debug, Clone)]
pub struct KeyRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<&'static str>,
    /// Apps that it is limited to.
    pub apps: Option<usize>,
    /// Connections that it is limited to.
    pub connections: Option<usize>,
    /// The environment that it is limited to.
    pub environment: Option<&'static str>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// Until when the secret before is accepted.
    pub previous_until: Option<Timestamp>,
    /// The key that made it.
    pub made_by: Option<String>,
}

/// All keys, and the form for a new one.
#[derive(Debug, Clone)]
pub struct KeysView {
    /// One page of keys.
    pub keys: Vec<KeyRow>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// The form.
    pub form: KeyForm,
    /// What was refused of it.
    pub errors: FormErrors,
}

/// A key that was just made, or has a new secret.
#[derive(Debug, Clone)]
pub struct NewKeyView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its text, which is shown this once.
    pub key: String,
    /// A command that uses it.
    pub command: String,
    /// Until when the secret before is accepted, where it was rotated.
    pub previous_until: Option<Timestamp>,
    /// Whether it is a rotation.
    pub is_rotation: bool,
}

/// One key, and what ends with it.
#[derive(Debug, Clone)]
pub struct KeyView {
    /// The key.
    pub key: KeyRow,
    /// Its apps.
    pub apps: Vec<String>,
    /// Its connections.
    pub connections: Vec<String>,
    /// Connect links that it made and that are still open.
    pub links: i64,
    /// Sign-in links of it.
    pub sign_in_links: i64,
    /// Sessions that began with a link of it.
    pub sessions: i64,
    /// What was refused.
    pub errors: FormErrors,
}

/// What a scope allows, in words. An unknown one speaks for itself.
fn scope_text(shell: &PageContext, scope: &str) -> &'static str {
    let text = &shell.text.keys;
    match scope {
        "connections:read" => text.scope_connections_read,
        "connections:write" => text.scope_connections_write,
        "resolve" => text.scope_resolve,
        "proxy" => text.scope_proxy,
        "apps" => text.scope_apps,
        "links" => text.scope_links,
        "keys" => text.scope_keys,
        "people" => text.scope_people,
        "webhooks" => text.scope_webhooks,
        "events" => text.scope_events,
        "*" => text.scope_all,
        _ => "",
    }
}

/// All keys.
pub fn settings_keys(shell: &PageContext, view: &KeysView) -> Markup {
    let text = &shell.text.keys;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        (key_form(shell, view))
        (list(shell, "key", &List {
            title: text.title,
            columns: &[(text.name, ""), (text.may, "w30"), (text.created, "w20"), (text.ends, "w20")],
            action: None,
            none: text.none,
            next_page_href: view.next_page_href.as_deref(),
        }, &rows(&view.keys, |key| key_row(shell, key))))
    };
    settings_page(shell, SettingsPage::Keys, text.title, &body)
}

/// A scope as the API calls it, and in a word the one that has all others.
fn scope_badge(shell: &PageContext, scope: &str) -> Markup {
    html! { span.badge { @if scope == KeyScope::All.as_str() { (shell.text.keys.scope_all) } @else { (scope) } } }
}

fn key_row(shell: &PageContext, key: &KeyRow) -> Markup {
    let text = &shell.text.keys;
    let limits = limits(shell, key);
    html! {
        tr {
            th scope="row" {
                div {
                    a.name href={ "/settings/keys/" (key.id) } { (user_text(&key.name)) }
                    @if !limits.is_empty() { p.quiet.small { (limits.join(" · ")) } }
                }
            }
            td data-label=(text.may) { div { @for scope in &key.scopes { (scope_badge(shell, scope)) " " } } }
            td data-label=(text.created) { (relative_time_or_never(shell, key.created_at)) }
            td data-label=(text.ends) { (end_of(shell, key)) }
        }
    }
}

fn end_of(shell: &PageContext, key: &KeyRow) -> Markup {
    html! {
        @match key.expires_at {
            Some(at) if at <= shell.now => span.status.bad { (shell.text.keys.ended) },
            Some(at) => (relative_time(shell, at)),
            None => span.quiet { (shell.text.frame.never) },
        }
    }
}

fn limits(shell: &PageContext, key: &KeyRow) -> Vec<String> {
    let text = &shell.text.keys;
    let number = |list: Option<usize>, one, other| {
        list.map(|number| count(i64::try_from(number).unwrap_or(i64::MAX), one, other))
    };
    let environment = key.environment.map(|name| match name {
        "test" => text.only_test.to_owned(),
        _ => text.only_production.to_owned(),
    });
    [
        number(key.apps, text.one_app, text.some_apps),
        number(key.connections, text.one_connection, text.some_connections),
        environment,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Open where it is needed: for the first key, and after a refusal.
fn key_form(shell: &PageContext, view: &KeysView) -> Markup {
    let (text, form, errors) = (&shell.text.keys, &view.form, &view.errors);
    let environments =
        [Choice::new("", text.any), Choice::new("production", text.production), Choice::new("test", text.test)];
    let ends = [
        Choice::new("", shell.text.frame.never),
        Choice::new("7", text.in_7_days),
        Choice::new("30", text.in_30_days),
        Choice::new("90", text.in_90_days),
        Choice::new("365", text.in_a_year),
    ];
    let labels = [
        ("name", text.name),
        ("scopes", text.may),
        ("apps", text.apps),
        ("connections", text.connections),
        ("environment", text.environment),
        ("days", text.ends),
    ];
    html! {
        (form_errors(shell, errors, &labels))
        details.fold open[view.keys.is_empty() || !errors.is_empty() || shell.shows_form_again()] {
            summary { (text.create) }
            form method="post" action="/settings/keys" autocomplete="off" data-once {
                (guard_fields(shell))
                (text_field(shell, errors, &TextField::new("name", text.name, &form.name).hint(text.name_hint)))
                fieldset #scopes tabindex="-1" aria-describedby=[errors.of("scopes").map(|_| "scopes-error")] {
                    legend { (text.may) }
                    (field_error(shell, "scopes", errors.of("scopes")))
                    @for scope in &form.scopes {
                        (tick("scope", scope.id, &html! {
                            (code_text(scope.id)) " " span.quiet { (scope_text(shell, scope.id)) }
                        }, scope.is_checked))
                    }
                }
                details open[form.is_limited() || errors.of("apps").is_some() || errors.of("connections").is_some()] {
                    summary { (text.limit) }
                    p.quiet { (text.limit_about) }
                    (limit_choices(shell, "app", text.apps, text.search_apps, &form.app_choices))
                    (limit_choices(shell, "connection", text.connections, text.search_connections, &form.connection_choices))
                    @if form.has_more_connections { p.quiet { (text.more_connections) } }
                    details open[!form.apps.is_empty() || !form.connections.is_empty()] {
                        summary { (text.others) }
                        (text_field(shell, errors, &TextField::new("apps", text.other_apps, &form.apps).hint(text.apps_hint).optional()))
                        (text_field(shell, errors, &TextField::new("connections", text.other_connections, &form.connections)
                            .hint(text.connections_hint).optional()))
                    }
                    (select_field(shell, errors, "environment", text.environment, None, &environments, &form.environment))
                }
                (select_field(shell, errors, "days", text.ends, None, &ends, &form.days))
                div.actions { button.primary type="submit" { (text.create) } }
            }
        }
    }
}

fn search_words(one: &LimitChoice) -> String {
    format!("{} {} {}", one.name, one.about.as_deref().unwrap_or_default(), one.id).to_lowercase()
}

/// Boxes to tick, in a list that can be searched where scripts run. None ticked: no limit.
fn limit_choices(shell: &PageContext, name: &str, title: &str, search: &str, choices: &[LimitChoice]) -> Markup {
    let text = &shell.text.keys;
    let (list, field) = (format!("{name}-list"), format!("{name}-search"));
    html! {
        @if !choices.is_empty() {
            fieldset {
                legend { (title) }
                div.field data-script hidden {
                    label for=(field) { (search) }
                    input id=(field) type="search" autocomplete="off" dir="auto" data-filter=(list) data-found=(text.found);
                }
                ul.asked.chooser id=(list) {
                    @for one in choices {
                        li data-words=(search_words(one)) {
                            (tick(name, &one.id, &html! {
                                (user_text(&one.name))
                                @if let Some(about) = &one.about { small { (user_text(about)) } }
                            }, one.is_checked))
                        }
                    }
                }
                p id={ (list) "-none" } hidden { (text.none_found) }
            }
        }
    }
}

/// A key that was just made. Its text is on this page alone.
pub fn new_key(shell: &PageContext, view: &NewKeyView) -> Markup {
    let text = &shell.text.keys;
    let title = if view.is_rotation { text.rotated_title } else { text.created_title };
    let body = html! {
        (back_link(text.title, "/settings/keys"))
        (head(&html! { (title) }, &html! {}))
        (shown_once(&html! { p { strong { (text.once) } " " (text.once_about) } }))
        section.card aria-labelledby="key" {
            h2 #key { (user_text(&view.name)) }
            (copyable_block(shell, "key", &view.key))
            @if let Some(until) = view.previous_until {
                p { (fill(text.previous_until, &[("time", relative_time(shell, until))])) }
            }
        }
        section.card aria-labelledby="command" {
            h2 #command { (text.use_it) }
            p { (text.use_about) }
            (copyable_block(shell, "command", &view.command))
        }
        div.actions { a.button href="/settings/keys" { (text.stored) } }
    };
    settings_page(shell, SettingsPage::Keys, title, &body)
}

/// One key.
pub fn settings_key(shell: &PageContext, view: &KeyView) -> Markup {
    let text = &shell.text.keys;
    let key = &view.key;
    let body = html! {
        (back_link(text.title, "/settings/keys"))
        (head(&user_text(&key.name), &html! {}))
        (form_errors(shell, &view.errors, &[("overlap", text.overlap)]))
        section.card aria-labelledby="about" {
            h2 #about { (text.about_key) }
            dl {
                div { dt { (text.id) } dd { (code_text(&key.id)) } }
                div { dt { (text.may) } dd { @for scope in &key.scopes { (scope_badge(shell, scope)) " " } } }
                div { dt { (text.apps) } dd { (list_or_all(text.all_apps, &view.apps, key.apps.is_some())) } }
                div {
                    dt { (text.connections) }
                    dd { (list_or_all(text.all_connections, &view.connections, key.connections.is_some())) }
                }
                div { dt { (text.environment) } dd { (key.environment.and_then(|name| environment_words(shell.text, name)).unwrap_or(text.any)) } }
                div { dt { (text.created) } dd { (relative_time_or_never(shell, key.created_at)) } }
                div { dt { (text.ends) } dd { (end_of(shell, key)) } }
                @if let Some(maker) = &key.made_by { div { dt { (text.made_by) } dd { (code_text(maker)) } } }
                @if let Some(until) = key.previous_until {
                    div { dt { (text.previous) } dd { (fill(text.accepted_until, &[("time", relative_time(shell, until))])) } }
                }
            }
        }
        (rotation_section(shell, view))
        (revocation_section(shell, view))
    };
    settings_page(shell, SettingsPage::Keys, &key.name, &body)
}

fn list_or_all(all: &str, list: &[String], is_limited: bool) -> Markup {
    html! {
        @if is_limited { @for one in list { (code_text(one)) " " } @if list.is_empty() { "–" } } @else { (all) }
    }
}

fn rotation_section(shell: &PageContext, view: &KeyView) -> Markup {
    let text = &shell.text.keys;
    let overlaps = [
        Choice::new("86400", text.overlap_day),
        Choice::new("3600", text.overlap_hour),
        Choice::new("604800", text.overlap_week),
        Choice::new("0", text.overlap_none),
    ];
    html! {
        section.card aria-labelledby="rotate" {
            h2 #rotate { (text.rotate) }
            p { (text.rotate_about) }
            form method="post" action={ "/settings/keys/" (view.key.id) "/rotate" } data-once {
                (guard_fields(shell))
                (select_field(shell, &view.errors, "overlap", text.overlap, None, &overlaps, "86400"))
                button type="submit" { (text.rotate) }
            }
        }
    }
}

fn revocation_section(shell: &PageContext, view: &KeyView) -> Markup {
    let text = &shell.text.keys;
    let made = [
        (view.links, text.one_link, text.some_links),
        (view.sign_in_links, text.one_sign_in_link, text.some_sign_in_links),
        (view.sessions, text.one_session, text.some_sessions),
    ];
    html! {
        section.card aria-labelledby="revoke" {
            h2 #revoke { (text.revoke) }
            p { (text.revoke_about) }
            form method="post" action={ "/settings/keys/" (view.key.id) "/revoke" } {
                (csrf_field(shell))
                @if made.iter().any(|(number, ..)| *number > 0) {
                    p { (text.it_made) }
                    ul { @for (number, one, other) in made { @if number > 0 { li { (count(number, one, other)) } } } }
                    (tick("end", "yes", &html! { (text.end_made) }, true))
                } @else {
                    p.quiet { (text.made_nothing) }
                }
                button.danger type="submit" { (text.revoke) }
            }
        }
    }
}
