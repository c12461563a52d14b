//! Webhooks: addresses that are told of events, what was sent to them, and how something is sent again.

use maud::{Markup, html};

use super::super::form::field_error;
use super::super::frame::{
    back_link, code_text, copyable_block, csrf_field, head, icon, relative_time, status_badge, tone_class, tone_icon,
    user_text,
};
use super::super::text::{count, fill};
use super::fields::{
    Choice, FormErrors, TextField, form_errors, guard_fields, select_field, shown_once, state_field, text_field, tick,
};
use super::list::{List, list, rows, table};
use super::{SettingsPage, settings_page};
use crate::http::page::{PageContext, StatusLabel, Tone};
use crate::time::Timestamp;

/// A type of events, and whether it is ticked.
#[derive(Debug, Clone)]
pub struct EventOption {
    /// As the API names it.
    pub id: &'static str,
    /// Whether it is ticked.
    pub is_checked: bool,
}

/// What is entered of a webhook.
#[derive(Debug, Clone, Default)]
pub struct WebhookForm {
    /// The address.
    pub url: String,
    /// All types.
    pub types: Vec<EventOption>,
}

/// A webhook of the list.
#[derive(Debug, Clone)]
pub struct WebhookRow {
    /// Its id.
    pub id: String,
    /// Where events are sent.
    pub url: String,
    /// How many types it is notified of.
    pub types: usize,
    /// How it is.
    pub status: StatusLabel,
}

/// The webhooks.
#[derive(Debug, Clone, Default)]
pub struct WebhooksView {
    /// One page of webhooks.
    pub webhooks: Vec<WebhookRow>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// The form.
    pub form: WebhookForm,
    /// What was refused of it.
    pub errors: FormErrors,
}

/// A webhook that was just made, or has a new secret.
#[derive(Debug, Clone)]
pub struct NewWebhookView {
    /// Its id.
    pub id: String,
    /// Its address.
    pub url: String,
    /// Its secret, which is shown this once.
    pub secret: String,
    /// Until when deliveries are signed with the secret before, too.
    pub previous_until: Option<Timestamp>,
}

/// A delivery.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    /// The event's id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// How far it is.
    pub status: StatusLabel,
    /// When the event happened.
    pub created_at: Timestamp,
    /// How often it was sent.
    pub attempts: i64,
    /// The status of the last answer, or why there was none.
    pub last: Option<String>,
    /// When it is sent next.
    pub next_attempt_at: Option<Timestamp>,
}

/// A webhook with its deliveries.
#[derive(Debug, Clone)]
pub struct WebhookView {
    /// Its id.
    pub id: String,
    /// How it is.
    pub status: StatusLabel,
    /// Why it is switched off or fails, and what to do.
    pub problem: Option<String>,
    /// Whether it is on.
    pub is_enabled: bool,
    /// The form.
    pub form: WebhookForm,
    /// The state that it was filled from.
    pub state: String,
    /// What was refused of it.
    pub errors: FormErrors,
    /// What came of a test or a redelivery.
    pub sent: Option<DeliveryRow>,
    /// One page of deliveries.
    pub deliveries: Vec<DeliveryRow>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
}

/// Says that webhooks were switched off because they failed. With a link, where they are not on the page.
pub(super) fn switched_off_notice(shell: &PageContext, number: i64, with_link: bool) -> Markup {
    let text = &shell.text.webhooks;
    html! {
        @if number > 0 {
            div.notice.bad {
                (icon("alert"))
                div {
                    p { (count(number, text.switched_off_one, text.switched_off_some)) }
                    @if with_link { p { a href="/settings/webhooks" { (text.show) } } }
                }
            }
        }
    }
}

/// The webhooks.
pub fn settings_webhooks(shell: &PageContext, view: &WebhooksView) -> Markup {
    let text = &shell.text.webhooks;
    let switched_off = view.webhooks.iter().filter(|one| one.status.tone == Tone::Bad).count();
    let switched_off = i64::try_from(switched_off).unwrap_or(0);
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        (switched_off_notice(shell, switched_off, false))
        p { (text.about) }
        (form_errors(shell, &view.errors, &[("url", text.url), ("types", text.types)]))
        details.fold open[view.webhooks.is_empty() || !view.errors.is_empty() || shell.shows_form_again()] {
            summary { (text.create) }
            form method="post" action="/settings/webhooks" autocomplete="off" data-once {
                (guard_fields(shell))
                (form_fields(shell, &view.form, &view.errors))
                div.actions { button.primary type="submit" { (text.create) } }
            }
        }
        (list(shell, "bell", &List {
            title: text.title,
            columns: &[(text.url, ""), (text.types, "w30"), (text.state, "w25")],
            action: None,
            none: text.none,
            next_page_href: view.next_page_href.as_deref(),
        }, &rows(&view.webhooks, |one| webhook_row(shell, one))))
    };
    settings_page(shell, SettingsPage::Webhooks, text.title, &body)
}

fn webhook_row(shell: &PageContext, one: &WebhookRow) -> Markup {
    let text = &shell.text.webhooks;
    html! {
        tr {
            th scope="row" { a.name href={ "/settings/webhooks/" (one.id) } { (user_text(&one.url)) } }
            td data-label=(text.types) { (count(i64::try_from(one.types).unwrap_or(i64::MAX), text.one_type, text.some_types)) }
            td data-label=(text.state) { div { (status_badge(&one.status)) } }
        }
    }
}

/// What an event means. One of a later version has no words here.
fn type_text(shell: &PageContext, id: &str) -> Option<&'static str> {
    let text = &shell.text.webhooks;
    Some(match id {
        "connection.created" => text.type_created,
        "connection.needs_reconnect" => text.type_needs_reconnect,
        "connection.recovered" => text.type_recovered,
        "connection.expires_soon" => text.type_expires_soon,
        "connection.missing_scopes" => text.type_missing_scopes,
        "connection.account_changed" => text.type_account_changed,
        "connection.default_changed" => text.type_default_changed,
        "connection.deleted" => text.type_deleted,
        "client.misconfigured" => text.type_client_misconfigured,
        "client.secret_expires" => text.type_client_secret_expires,
        "app.event" => text.type_app_event,
        "webhook.test" => text.type_test,
        _ => return None,
    })
}

/// The meaning of an event first, and what programs call it.
fn type_label(shell: &PageContext, id: &str) -> Markup {
    html! {
        @match type_text(shell, id) {
            Some(words) => { (words) " " span.quiet.small { (code_text(id)) } },
            None => (code_text(id)),
        }
    }
}

fn form_fields(shell: &PageContext, form: &WebhookForm, errors: &FormErrors) -> Markup {
    let text = &shell.text.webhooks;
    html! {
        (text_field(shell, errors, &TextField::new("url", text.url, &form.url).hint(text.url_hint)))
        fieldset #types tabindex="-1" aria-describedby=[errors.of("types").map(|_| "types-error")] {
            legend { (text.types) }
            (field_error(shell, "types", errors.of("types")))
            @for kind in &form.types { (tick("type", kind.id, &type_label(shell, kind.id), kind.is_checked)) }
        }
    }
}

/// A webhook that was just made. Its secret is on this page alone.
pub fn new_webhook(shell: &PageContext, view: &NewWebhookView) -> Markup {
    let text = &shell.text.webhooks;
    let body = html! {
        (back_link(text.title, "/settings/webhooks"))
        (head(&html! { (text.created_title) }, &html! {}))
        (shown_once(&html! { p { strong { (text.once) } " " (shell.text.keys.once_about) } }))
        section.card aria-labelledby="secret" {
            h2 #secret { (text.secret) }
            (copyable_block(shell, "secret", &view.secret))
            p { (text.secret_about) }
            @if let Some(until) = view.previous_until {
                p { (fill(shell.text.keys.previous_until, &[("time", relative_time(shell, until))])) }
            }
        }
        div.actions { a.button href={ "/settings/webhooks/" (view.id) } { (text.stored) } }
    };
    settings_page(shell, SettingsPage::Webhooks, text.created_title, &body)
}

/// A webhook with its deliveries.
pub fn settings_webhook(shell: &PageContext, view: &WebhookView) -> Markup {
    let text = &shell.text.webhooks;
    let page = format!("/settings/webhooks/{}", view.id);
    let body = html! {
        (back_link(text.title, "/settings/webhooks"))
        (head(&user_text(&view.form.url), &status_badge(&view.status)))
        @if let Some(sent) = &view.sent { (sent_notice(shell, sent)) }
        (form_errors(shell, &view.errors, &[("url", text.url), ("types", text.types), ("overlap", shell.text.keys.overlap)]))
        @if let Some(problem) = &view.problem {
            div.notice.bad { (icon("alert")) div { p { (user_text(problem)) } } }
        }
        section.card aria-labelledby="send" {
            h2 #send { (text.test) }
            p { (text.test_about) }
            div.actions {
                form method="post" action={ (page) "/test" } { (csrf_field(shell)) button.primary type="submit" { (text.test) } }
                form method="post" action={ (page) "/enabled" } {
                    (csrf_field(shell))
                    input type="hidden" name="enabled" value=(if view.is_enabled { "no" } else { "yes" });
                    button type="submit" { @if view.is_enabled { (text.switch_off) } @else { (text.switch_on) } }
                }
            }
        }
        (deliveries_section(shell, view, &page))
        section.card aria-labelledby="change" {
            h2 #change { (text.change) }
            form method="post" action=(page) autocomplete="off" {
                (state_field(&view.state))
                (csrf_field(shell))
                (form_fields(shell, &view.form, &view.errors))
                button type="submit" { (shell.text.settings.save) }
            }
        }
        (secret_section(shell, view, &page))
        section.card aria-labelledby="delete" {
            h2 #delete { (text.delete) }
            p { (text.delete_about) }
            form method="post" action={ (page) "/delete" } { (csrf_field(shell)) button.danger type="submit" { (text.delete) } }
        }
    };
    settings_page(shell, SettingsPage::Webhooks, &view.form.url, &body)
}

fn sent_notice(shell: &PageContext, sent: &DeliveryRow) -> Markup {
    let tone = tone_class(sent.status.tone);
    html! {
        div #sent.notice.(tone) role="status" tabindex="-1" autofocus {
            (icon(tone_icon(sent.status.tone)))
            div {
                p { @if sent.status.tone == Tone::Good { (shell.text.webhooks.arrived) } @else { (shell.text.webhooks.not_arrived) } }
                @if let Some(last) = &sent.last { p { (user_text(last)) } }
            }
        }
    }
}

fn deliveries_section(shell: &PageContext, view: &WebhookView, page: &str) -> Markup {
    let text = &shell.text.webhooks;
    html! {
        section.card aria-labelledby="deliveries" {
            h2 #deliveries { (text.deliveries) }
            @if view.deliveries.is_empty() { p.quiet { (text.no_deliveries) } } @else {
                (table(&List {
                    title: text.deliveries,
                    columns: &[(text.event, ""), (text.state, "w20"), (text.happened, "w15"), (text.next, "w15")],
                    action: Some(text.redeliver),
                    none: text.no_deliveries,
                    next_page_href: None,
                }, &rows(&view.deliveries, |one| delivery_row(shell, one, page))))
            }
            @if let Some(next) = &view.next_page_href { p { a.button href=(next) { (shell.text.frame.next_page) } } }
        }
    }
}

fn delivery_row(shell: &PageContext, one: &DeliveryRow, page: &str) -> Markup {
    let text = &shell.text.webhooks;
    html! {
        tr {
            th scope="row" { div { (type_label(shell, &one.kind)) p.quiet.small { (user_text(&one.id)) } } }
            td data-label=(text.state) {
                div {
                    (status_badge(&one.status))
                    p.attention { (count(one.attempts, text.one_attempt, text.some_attempts)) @if let Some(last) = &one.last { " · " (user_text(last)) } }
                }
            }
            td data-label=(text.happened) { (relative_time(shell, one.created_at)) }
            td data-label=(text.next) {
                @match one.next_attempt_at {
                    Some(at) if at <= shell.now => (text.due),
                    Some(at) => (relative_time(shell, at)),
                    None => span.quiet { (text.no_next) },
                }
            }
            td.tight {
                form method="post" action={ (page) "/deliveries/" (one.id) "/redeliver" } {
                    (csrf_field(shell))
                    button type="submit" { (text.redeliver) span.unseen { ": " (user_text(&one.kind)) } }
                }
            }
        }
    }
}

fn secret_section(shell: &PageContext, view: &WebhookView, page: &str) -> Markup {
    let (text, keys) = (&shell.text.webhooks, &shell.text.keys);
    let overlaps = [
        Choice::new("86400", keys.overlap_day),
        Choice::new("3600", keys.overlap_hour),
        Choice::new("604800", keys.overlap_week),
        Choice::new("0", keys.overlap_none),
    ];
    html! {
        section.card aria-labelledby="rotate" {
            h2 #rotate { (keys.rotate) }
            p { (text.rotate_about) }
            form method="post" action={ (page) "/rotate" } data-once {
                (guard_fields(shell))
                (select_field(shell, &view.errors, "overlap", keys.overlap, None, &overlaps, "86400"))
                button type="submit" { (keys.rotate) }
            }
        }
    }
}
