//! Apps and their OAuth clients: what is set up, and the page where a client is entered, tested and deleted.
//!
//! Owns the order of the steps. Shows no secret, not even one that was just entered: only one that an app has sent and that a
//! person has to enter there, for an hour.

use maud::{Markup, html};

use super::super::form::fields as input_fields;
use super::super::form::{FormField, described_by, field_error};
use super::super::frame::{
    app_logo, back_link, code_text, copyable_block, csrf_field, empty_list, external_link_line, head, icon,
    relative_time, status_badge, tone_class, tone_icon, user_text,
};
use super::super::text::{count, fill, fill_plain};
use super::fields::{FormErrors, TextField, TextKind, form_errors, shown_once, state_field, text_field, tick};
use super::webhooks::switched_off_notice;
use super::{SettingsPage, settings_page};
use crate::http::page::{PageContext, SetupView, StatusLabel, Tone};
use crate::secret::Secret;
use crate::time::Timestamp;

/// What an app needs before people can connect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppState {
    /// It has a client.
    Ready,
    /// It has a client that the app refuses, or that can't be used.
    Broken,
    /// It has a client whose secret ends soon.
    EndsSoon(Timestamp),
    /// It has none, and nobody can connect it.
    Missing,
    /// It has none, and can be connected in another way.
    MissingForOneWay,
    /// It needs none.
    NotNeeded,
}

/// An app of the list.
#[derive(Debug, Clone)]
pub struct AppRow {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its ways to connect.
    pub methods: Vec<String>,
    /// What it needs.
    pub state: AppState,
    /// Whether the workspace has defined it.
    pub is_custom: bool,
}

/// The apps.
#[derive(Debug, Clone, Default)]
pub struct AppsView {
    /// All that were searched for.
    pub apps: Vec<AppRow>,
    /// The search.
    pub search: Option<String>,
    /// Webhooks that were switched off because they failed: this is the first page of the administration.
    pub switched_off_webhooks: i64,
}

/// What is entered of a client. Secrets never come back.
#[derive(Debug, Clone, Default)]
pub struct ClientForm {
    /// The app's id of it.
    pub client_id: String,
    /// Scopes to request instead of the app's, with spaces.
    pub scopes: String,
    /// The day on which the secret ends.
    pub expires_on: String,
    /// The name of the private key.
    pub key_id: String,
    /// The hash of the key's certificate.
    pub certificate: String,
}

/// A client that is set up.
#[derive(Debug, Clone)]
pub struct ClientSummary {
    /// Whether it has a secret.
    pub has_secret: bool,
    /// When the secret ends.
    pub secret_expires_at: Option<Timestamp>,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What the app made of a test.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// How good the news is.
    pub tone: Tone,
    /// In a few words.
    pub title: String,
    /// What it means and what to do.
    pub detail: String,
    /// The app's error code.
    pub code: Option<String>,
}

/// The page of an app's client.
#[derive(Debug, Clone)]
pub struct ClientPageView {
    /// The app's id.
    pub app: String,
    /// The steps at the app.
    pub setup: SetupView,
    /// Its events, if it sends any.
    pub events: Option<EventsView>,
    /// `?auth_method=…`, where the app has several ways with a client.
    pub query: String,
    /// The client, if there is one.
    pub client: Option<ClientSummary>,
    /// The state that the form was filled from.
    pub state: String,
    /// The form.
    pub form: ClientForm,
    /// Values of the app's addresses that are set with the client.
    pub variables: Vec<FormField>,
    /// Values that a person would enter, for a test.
    pub test_variables: Vec<FormField>,
    /// What was refused.
    pub errors: FormErrors,
    /// What the app made of a test.
    pub test: Option<TestResult>,
}

/// The events that an app sends.
#[derive(Debug, Clone)]
pub struct EventsView {
    /// Where the app sends them. None before there is a client.
    pub address: Option<String>,
    /// Whether something is set to verify them with.
    pub has_secret: bool,
    /// Whether the client's own secret verifies them.
    pub uses_client_secret: bool,
    /// Whether the app signs them: others can't be verified.
    pub is_signed: bool,
    /// What the app asks before it sends any, from its definition.
    pub handshake: Option<String>,
    /// The app's own documentation of them.
    pub docs_url: Option<String>,
    /// Where an address for a secret that the app sends itself is asked for, if it does that.
    pub secret_handshake: Option<HandshakeView>,
}

/// An app that sends its signing secret itself.
#[derive(Debug, Clone)]
pub struct HandshakeView {
    /// The app's name.
    pub app_name: String,
    /// Where an address is asked for.
    pub action: String,
    /// When a secret came, in the last hour, and the secret if a person has to enter it at the app.
    pub received: Option<(Timestamp, Option<Secret>)>,
}

/// An address for one secret that an app sends.
#[derive(Debug, Clone)]
pub struct OpenedHandshakeView {
    /// The app's name.
    pub app_name: String,
    /// The page of the client.
    pub page: String,
    /// The address.
    pub address: Secret,
    /// Until when a secret may come.
    pub expires_at: Timestamp,
    /// Whether a person has to enter the secret at the app.
    pub must_be_entered: bool,
}

/// The page of an app that sends events and whose connections need no client.
#[derive(Debug, Clone)]
pub struct EventsOnlyView {
    /// The app's id and name.
    pub app: (String, String),
    /// Where it is connected.
    pub connect_href: String,
    /// Its events.
    pub events: EventsView,
    /// What was refused.
    pub errors: FormErrors,
}

/// What a deletion of a client ends.
#[derive(Debug, Clone)]
pub struct ClientDeletionView {
    /// The app's id and name.
    pub app: (String, String),
    /// The app's id of the client.
    pub client_id: String,
    /// `?auth_method=…`.
    pub query: String,
    /// Connections that use it, as far as they are shown: ids and names.
    pub connections: Vec<(String, String)>,
    /// Whether there are more.
    pub has_more: bool,
    /// Names of other apps that share it.
    pub apps_sharing_client: Vec<String>,
    /// What was refused.
    pub errors: FormErrors,
}

fn state_label(shell: &PageContext, state: AppState) -> StatusLabel {
    let text = &shell.text.apps;
    let (words, tone) = match state {
        AppState::Ready => (text.ready, Tone::Good),
        AppState::Broken => (text.broken, Tone::Bad),
        AppState::EndsSoon(_) => (text.ends_soon, Tone::Waiting),
        AppState::Missing => (text.missing, Tone::Waiting),
        AppState::MissingForOneWay => (text.missing_for_one_way, Tone::Info),
        AppState::NotNeeded => (text.not_needed, Tone::Info),
    };
    StatusLabel { text: words.to_owned(), tone }
}

/// The apps.
pub fn settings_apps(shell: &PageContext, view: &AppsView) -> Markup {
    let text = &shell.text.apps;
    let is_set_up = |app: &&AppRow| matches!(app.state, AppState::Ready | AppState::Broken | AppState::EndsSoon(_));
    let groups = [
        (text.group_set_up, "set-up", view.apps.iter().filter(is_set_up).collect::<Vec<_>>()),
        (
            text.group_missing,
            "needs-client",
            view.apps
                .iter()
                .filter(|app| matches!(app.state, AppState::Missing | AppState::MissingForOneWay))
                .collect(),
        ),
        (text.group_not_needed, "no-client", view.apps.iter().filter(|app| app.state == AppState::NotNeeded).collect()),
    ];
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        (switched_off_notice(shell, view.switched_off_webhooks, true))
        p { (text.about) }
        form.line method="get" action="/settings/apps" role="search" aria-label=(text.search) {
            label for="q" { (text.search) }
            input #q type="search" name="q" value=(view.search.as_deref().unwrap_or_default()) autocomplete="off"
                dir="auto" data-filter="apps" data-found=(text.found);
            button type="submit" { (shell.text.settings.search) }
            @if view.search.is_some() { a.button href="/settings/apps" { (shell.text.settings.show_all) } }
        }
        div #apps {
            @for (title, id, apps) in &groups {
                @if !apps.is_empty() {
                    section data-group aria-labelledby=(id) {
                        h2 id=(id) { (title) " " span.count { (apps.len()) } }
                        ul.grid { @for app in apps { (app_tile(shell, app)) } }
                    }
                }
            }
        }
        div #apps-none hidden[!view.apps.is_empty()] {
            (empty_list("search", text.none_found, Some((shell.text.settings.show_all, "/settings/apps"))))
        }
    };
    settings_page(shell, SettingsPage::Apps, text.title, &body)
}

fn app_tile(shell: &PageContext, app: &AppRow) -> Markup {
    let words = format!("{} {} {}", app.name, app.id, app.methods.join(" ")).to_lowercase();
    html! {
        li data-words=(words) {
            a.tile href={ "/settings/apps/" (app.id) } {
                (app_logo(&app.id, &app.name, ""))
                span {
                    strong { (user_text(&app.name)) }
                    @if app.is_custom { span.badge { (shell.text.apps.custom) } " " }
                    (status_badge(&state_label(shell, app.state)))
                    @if let AppState::EndsSoon(at) = app.state { small { (relative_time(shell, at)) } }
                }
            }
        }
    }
}

/// An app's client: the steps, the form, the test.
pub fn client_page(shell: &PageContext, view: &ClientPageView) -> Markup {
    let text = &shell.text.apps;
    let setup = &view.setup;
    let title = html! {
        (app_logo(&view.app, &setup.app_name, "large")) " " (user_text(&setup.app_name))
        @if let Some(way) = &setup.auth_method { ": " (user_text(way)) }
    };
    let labels = [
        ("client_id", text.client_id),
        ("client_secret", text.client_secret),
        ("private_key", text.private_key),
        ("key_id", text.key_id),
        ("certificate", text.certificate),
        ("scopes", text.scopes),
        ("secret_expires_at", text.expires_on),
        ("event_secret", text.event_secret),
    ];
    let body = html! {
        (back_link(text.title, "/settings/apps"))
        (head(&title, &html! {}))
        @if let Some(test) = &view.test { (test_result(test)) }
        (form_errors(shell, &view.errors, &labels))
        (client_state(shell, view))
        (register_section(shell, setup))
        (enter_section(shell, view))
        @if view.client.is_some() {
            (test_section(shell, view))
            (delete_section(shell, view))
        }
        @if let Some(events) = view.events.as_ref().filter(|events| events.address.is_some()) {
            (events_section(shell, &format!("/settings/apps/{}/events{}", view.app, view.query), events, &view.errors))
        }
        (emergency_section(shell, &view.app))
        (other_ways(shell, setup))
    };
    settings_page(shell, SettingsPage::Apps, &setup.app_name, &body)
}

fn test_result(test: &TestResult) -> Markup {
    html! {
        div #test-result.notice.(tone_class(test.tone)) role="status" tabindex="-1" autofocus {
            (icon(tone_icon(test.tone)))
            div {
                p { strong { (user_text(&test.title)) } }
                p { (user_text(&test.detail)) @if let Some(code) = &test.code { " " (code_text(code)) } }
            }
        }
    }
}

fn client_state(shell: &PageContext, view: &ClientPageView) -> Markup {
    let text = &shell.text.apps;
    html! {
        @match &view.client {
            None => p { (fill(text.no_client_yet, &[("app", user_text(&view.setup.app_name))])) },
            Some(client) => {
                section.card aria-labelledby="client-state" {
                    h2 #client-state { (text.client) }
                    @if let Some(problem) = &client.problem {
                        div.notice.bad { (icon("alert")) div { p { (user_text(problem)) } } }
                    }
                    dl {
                        div { dt { (text.client_id) } dd { (code_text(&view.form.client_id)) } }
                        div { dt { (text.client_secret) } dd { @if client.has_secret { (text.stored) } @else { (text.no_secret) } } }
                        @if client.has_secret {
                            div {
                                dt { (text.expires_on) }
                                dd {
                                    @match client.secret_expires_at {
                                        Some(at) if at <= shell.now => span.status.bad { (text.secret_ended) " " (relative_time(shell, at)) },
                                        Some(at) => (relative_time(shell, at)),
                                        None => span.quiet { (text.expiry_unknown) },
                                    }
                                }
                            }
                        }
                        div { dt { (text.changed) } dd { (relative_time(shell, client.updated_at)) } }
                    }
                }
            }
        }
        @if !view.setup.apps_sharing_client.is_empty() {
            p.quiet { (fill(text.shared_with, &[("apps", user_text(&view.setup.apps_sharing_client.join(", ")))])) }
        }
    }
}

fn register_section(shell: &PageContext, setup: &SetupView) -> Markup {
    let text = &shell.text.apps;
    html! {
        section.card aria-labelledby="register" {
            h2 #register { "1. " (fill(text.register, &[("app", user_text(&setup.app_name))])) }
            @if let Some(console) = &setup.console_url {
                (external_link_line(shell, &html! { (fill(text.open_console, &[("app", user_text(&setup.app_name))])) }, console))
            }
            @if setup.steps.is_empty() { p { (text.register_about) } }
            @else { ol.steps { @for step in &setup.steps { li { (user_text(step)) } } } }
            @match &setup.redirect_uri {
                Some(uri) => {
                    h3 #redirect-uri { (text.redirect_uri) }
                    (copyable_block(shell, "redirect-uri", uri))
                    @if !setup.redirect_uri_depends_on.is_empty() {
                        p.quiet { (fill(text.redirect_uri_depends, &[("variables", user_text(&setup.redirect_uri_depends_on.join(", ")))])) }
                    }
                }
                None => p { (text.redirect_uri_later) },
            }
            (scopes_to_enable(shell, setup))
            @if let Some(docs) = &setup.docs_url {
                (external_link_line(shell, &html! { (fill(text.documentation, &[("app", user_text(&setup.app_name))])) }, docs))
            }
        }
    }
}

fn scopes_to_enable(shell: &PageContext, setup: &SetupView) -> Markup {
    let text = &shell.text.apps;
    let list = |scopes: &[(String, Option<String>)]| {
        html! {
            ul.asked {
                @for (scope, description) in scopes {
                    li { @if let Some(description) = description { span { (user_text(description)) } } (code_text(scope)) }
                }
            }
        }
    };
    html! {
        @if !setup.default_scopes.is_empty() {
            details {
                summary { (text.default_scopes) " (" (setup.default_scopes.len()) ")" }
                p.quiet { (text.scopes_about) }
                (list(&setup.default_scopes))
            }
        }
        @if !setup.optional_scopes.is_empty() {
            details {
                summary { (text.optional_scopes) " (" (setup.optional_scopes.len()) ")" }
                (list(&setup.optional_scopes))
            }
        }
    }
}

fn enter_section(shell: &PageContext, view: &ClientPageView) -> Markup {
    let (text, form, errors) = (&shell.text.apps, &view.form, &view.errors);
    let has_secret = view.client.as_ref().is_some_and(|client| client.has_secret);
    let secret_hint = if has_secret { text.secret_kept } else { text.secret_hint };
    let is_key = ["private_key", "key_id", "certificate"].iter().any(|name| errors.of(name).is_some());
    html! {
        section.card aria-labelledby="enter" {
            h2 #enter { "2. " (text.enter) }
            form method="post" action={ "/settings/apps/" (view.app) "/client" (view.query) } autocomplete="off" {
                (csrf_field(shell))
                (state_field(&view.state))
                (text_field(shell, errors, &TextField::new("client_id", text.client_id, &form.client_id)))
                (text_field(shell, errors, &TextField::new("client_secret", text.client_secret, "").hint(secret_hint)
                    .optional().kind(TextKind::Secret)))
                (input_fields(shell, &view.variables))
                (text_field(shell, errors, &TextField::new("secret_expires_at", text.expires_on, &form.expires_on)
                    .hint(text.expires_hint).optional().kind(TextKind::Day)))
                details open[errors.of("scopes").is_some() || is_key || !form.scopes.is_empty()] {
                    summary { (text.more) }
                    (text_field(shell, errors, &TextField::new("scopes", text.scopes, &form.scopes).hint(text.scopes_hint)
                        .optional().kind(TextKind::Lines(3))))
                    (text_field(shell, errors, &TextField::new("private_key", text.private_key, "").hint(text.private_key_hint)
                        .optional().kind(TextKind::Lines(4))))
                    (text_field(shell, errors, &TextField::new("key_id", text.key_id, &form.key_id).optional()))
                    (text_field(shell, errors, &TextField::new("certificate", text.certificate, &form.certificate)
                        .hint(text.certificate_hint).optional()))
                    @if has_secret { (tick("without_secret", "yes", &html! { (text.without_secret) }, false)) }
                }
                div.actions { button.primary type="submit" { (text.save) } }
            }
        }
    }
}

fn test_section(shell: &PageContext, view: &ClientPageView) -> Markup {
    let text = &shell.text.apps;
    html! {
        section.card aria-labelledby="test" {
            h2 #test { "3. " (text.test) }
            p { (fill(text.test_about, &[("app", user_text(&view.setup.app_name))])) }
            form method="post" action={ "/settings/apps/" (view.app) "/client/test" (view.query) } autocomplete="off" {
                (csrf_field(shell))
                @for (index, variable) in view.test_variables.iter().enumerate() {
                    @let id = format!("test-input-{index}");
                    @let described = described_by(&id, false, variable.error.is_some());
                    div.field.wrong[variable.error.is_some()] {
                        label for=(id) { (user_text(&variable.label)) }
                        (field_error(shell, &id, variable.error.as_deref()))
                        input id=(id) type="text" name={ "input." (variable.id) } value=(variable.value.as_deref().unwrap_or_default())
                            autocomplete="off" autocapitalize="none" spellcheck="false" dir="auto"
                            aria-invalid=[variable.error.as_ref().map(|_| "true")] aria-describedby=[described.as_deref()];
                    }
                }
                div.actions {
                    button type="submit" { (text.test) }
                    a.button href={ "/oauth/start/" (view.app) (view.query) } {
                        (fill(text.connect, &[("app", user_text(&view.setup.app_name))]))
                    }
                }
            }
        }
    }
}

fn delete_section(shell: &PageContext, view: &ClientPageView) -> Markup {
    let text = &shell.text.apps;
    html! {
        section.card aria-labelledby="delete" {
            h2 #delete { (text.delete) }
            p { (text.delete_about) }
            a.button.danger href={ "/settings/apps/" (view.app) "/client/delete" (view.query) } { (text.delete_look) }
        }
    }
}

/// An app that sends events and whose connections need no client.
pub fn events_only_page(shell: &PageContext, view: &EventsOnlyView) -> Markup {
    let text = &shell.text.apps;
    let (app, name) = &view.app;
    let title = fill_plain(text.no_client_needed, &[("app", name)]);
    let heading =
        html! { (app_logo(app, name, "large")) " " (fill(text.no_client_needed, &[("app", user_text(name))])) };
    let body = html! {
        (back_link(text.title, "/settings/apps"))
        (head(&heading, &html! {}))
        (form_errors(shell, &view.errors, &[("event_secret", text.event_secret)]))
        p { (text.no_client_needed_about) }
        div.actions { a.button href=(view.connect_href) { span { (fill(text.connect, &[("app", user_text(name))])) } } }
        (events_section(shell, &format!("/settings/apps/{app}/events"), &view.events, &view.errors))
        (emergency_section(shell, app))
    };
    settings_page(shell, SettingsPage::Apps, &title, &body)
}

/// Where the app sends its events, and what they are verified with.
fn events_section(shell: &PageContext, action: &str, view: &EventsView, errors: &FormErrors) -> Markup {
    let text = &shell.text.apps;
    let state = match (view.is_signed, view.has_secret, view.uses_client_secret) {
        (false, ..) => text.events_unsigned,
        (true, true, _) => text.event_secret_set,
        (true, false, true) => text.events_by_client_secret,
        (true, false, false) => text.event_secret_not_set,
    };
    html! {
        section.card aria-labelledby="events" {
            h2 #events { (text.events) }
            p { (text.events_about) }
            @if let Some(address) = &view.address {
                h3 #events-url { (text.events_url) }
                (copyable_block(shell, "events-url", address))
            } @else {
                p.quiet { (text.events_url_later) }
            }
            @if let Some(handshake) = &view.handshake {
                details { summary { (text.first_request) } p { (user_text(handshake)) } }
            }
            @if let Some(docs) = &view.docs_url { (external_link_line(shell, &html! { (text.events_docs) }, docs)) }
            p { (state) }
            @if let Some(handshake) = view.secret_handshake.as_ref().filter(|_| view.address.is_some()) {
                (handshake_part(shell, handshake))
            }
            @if view.is_signed {
                form method="post" action=(action) autocomplete="off" {
                    (csrf_field(shell))
                    (text_field(shell, errors, &TextField::new("event_secret", text.event_secret, "").hint(text.event_secret_hint)
                        .optional().kind(TextKind::Lines(2))))
                    @if view.has_secret { (tick("without_event_secret", "yes", &html! { (text.without_event_secret) }, false)) }
                    button type="submit" { (text.save_event_secret) }
                }
            }
        }
    }
}

/// For an app that sends its signing secret: what came, and a button for an address.
fn handshake_part(shell: &PageContext, view: &HandshakeView) -> Markup {
    let text = &shell.text.apps;
    let app = || user_text(&view.app_name);
    html! {
        h3 { (text.handshake_title) }
        @if let Some((at, secret)) = &view.received {
            div.notice.good {
                (icon("check"))
                div {
                    p { (fill(text.handshake_received, &[("app", app()), ("time", relative_time(shell, *at))])) }
                    @if let Some(secret) = secret {
                        p { (fill(text.handshake_enter, &[("app", app())])) }
                        p #received-secret { strong { (fill(text.handshake_secret, &[("app", app())])) } }
                        (copyable_block(shell, "received-secret", secret.expose()))
                    }
                }
            }
        }
        p { (fill(text.handshake_about, &[("app", app())])) }
        form method="post" action=(view.action) {
            (csrf_field(shell))
            div.actions { button type="submit" { (text.handshake_open) } }
        }
    }
}

/// An address for one secret. It is on this page alone.
pub fn opened_handshake(shell: &PageContext, view: &OpenedHandshakeView) -> Markup {
    let text = &shell.text.apps;
    let named = |words: &str| fill(words, &[("app", user_text(&view.app_name))]);
    let once = fill(text.handshake_once_about, &[("time", relative_time(shell, view.expires_at))]);
    let then = if view.must_be_entered { text.handshake_next_enter } else { text.handshake_next_done };
    let body = html! {
        (back_link(&view.app_name, &view.page))
        (head(&html! { (text.handshake_opened) }, &html! {}))
        (shown_once(&html! { p { strong { (text.handshake_once) } " " (once) } }))
        section.card aria-labelledby="address" {
            h2 #address { (text.events_url) }
            (copyable_block(shell, "address", view.address.expose()))
        }
        section.card aria-labelledby="next" {
            h2 #next { (text.handshake_next) }
            ol.steps { li { (named(text.handshake_next_register)) } li { (named(then)) } }
        }
        div.actions { a.button.main href=(view.page) { span { (named(text.handshake_back)) } } }
    };
    settings_page(shell, SettingsPage::Apps, text.handshake_opened, &body)
}

fn emergency_section(shell: &PageContext, app: &str) -> Markup {
    let text = &shell.text.emergency;
    html! {
        section.card aria-labelledby="emergency" {
            h2 #emergency { (text.button) }
            p { (text.about) }
            a.button.danger href={ "/settings/apps/" (app) "/disconnect-all" } { (text.look) }
        }
    }
}

fn other_ways(shell: &PageContext, setup: &SetupView) -> Markup {
    html! {
        @if !setup.other_auth_methods.is_empty() {
            section.card aria-labelledby="others" {
                h2 #others { (shell.text.apps.other_ways) }
                ul.list {
                    @for (name, is_ready, href) in &setup.other_auth_methods {
                        li {
                            a.way href=(href) { (user_text(name)) } " "
                            @if *is_ready { span.badge { (shell.text.apps.ready) } }
                        }
                    }
                }
            }
        }
    }
}

/// What a deletion of a client ends, and the button.
pub fn client_deletion(shell: &PageContext, view: &ClientDeletionView) -> Markup {
    let text = &shell.text.apps;
    let (app, name) = &view.app;
    let page = format!("/settings/apps/{app}{}", view.query);
    let body = html! {
        (back_link(name, &page))
        (head(&html! { (fill(text.delete_title, &[("app", user_text(name))])) }, &html! {}))
        (form_errors(shell, &view.errors, &[]))
        p { (fill(text.delete_which, &[("client", code_text(&view.client_id))])) }
        @if view.connections.is_empty() {
            p { (text.delete_unused) }
            @if !view.apps_sharing_client.is_empty() {
                p { (fill(text.delete_shared, &[("apps", user_text(&view.apps_sharing_client.join(", ")))])) }
            }
            form method="post" action={ "/settings/apps/" (app) "/client/delete" (view.query) } {
                (csrf_field(shell))
                div.actions {
                    button.danger type="submit" { (text.delete) }
                    a.button href=(page) { (shell.text.settings.cancel) }
                }
            }
        } @else {
            div.notice.waiting {
                (icon("alert"))
                div {
                    p { (count(i64::try_from(view.connections.len()).unwrap_or(i64::MAX), text.used_by_one, text.used_by_some)) }
                    ul {
                        @for (id, name) in &view.connections { li { a.way href={ "/connections/" (id) } { (user_text(name)) } } }
                        @if view.has_more { li { (text.and_more) } }
                    }
                    p { (text.delete_instead) }
                }
            }
            div.actions { a.button href=(page) { (shell.text.settings.back) } }
        }
    };
    settings_page(shell, SettingsPage::Apps, text.delete, &body)
}
