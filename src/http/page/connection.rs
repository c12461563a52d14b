//! A connection's own page: what it is, whether it works, who uses it, what it may do, and one next action.
//!
//! Owns that page. What changes a connection has a page of its own ([`super::connection_forms`]); the name can be changed here,
//! too. Whoever may not change it sees no form.

use maud::{Markup, html};

use super::connection_forms::{ConnectionIdentity, name_form};
use super::connection_settings::{SettingsView, replacement_section, step_changes_section};
use super::evidence::{Evidence, evidence_sentence};
use super::frame::{
    account_label, app_logo, back_link, code_text, column_heads, copyable, copyable_block, csrf_field,
    environment_words, icon, link, relative_time, relative_time_or_never, status_badge, time_element, tone_class,
    user_text, warnings_section,
};
use super::history::{HistoryEntry, history_section};
use super::layout::section_page;
use super::text::{count, fill, fill_plain};
use super::{PageContext, Section, StatusLabel, Tone};
use crate::time::Timestamp;

/// All details of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// What it is called, and of which app and account it is.
    pub identity: ConnectionIdentity,
    /// Status.
    pub status: StatusLabel,
    /// What that is known by, and since when.
    pub evidence: (Evidence, Option<Timestamp>),
    /// What needs attention, in sentences.
    pub attention: Vec<String>,
    /// What a person should do now.
    pub next_action: NextAction,
    /// Granted scopes, with what each permits.
    pub granted_scopes: Vec<ScopeView>,
    /// Requested scopes that were not granted, with what each permits.
    pub missing_scopes: Vec<ScopeView>,
    /// Where they are requested again. `None` if that cannot help.
    pub missing_scopes_href: Option<String>,
    /// Whether the workspace has removed the app: the connection can be used, and not connected again.
    pub app_removed: bool,
    /// Who may change it.
    pub change_permission: ChangePermission,
    /// What its access is based on.
    pub access_source: AccessSource,
    /// Expiry of the access.
    pub expires_at: Option<Timestamp>,
    /// Whether it can be refreshed without a person.
    pub refreshable: bool,
    /// The expected end of the whole grant, and what extends it.
    pub predicted_end: Option<(Timestamp, ExtendedBy)>,
    /// Notes for a person, such as the app's limits, one sentence each.
    pub warnings: Vec<String>,
    /// The last steps that used it.
    pub uses: Vec<UseView>,
    /// Workflows and steps that used it.
    pub use_counts: (i64, i64),
    /// How many of the steps that are shown used it on each of the last days, the first day first.
    pub steps_by_day: Vec<usize>,
    /// When a credential was last returned.
    pub last_used_at: Option<Timestamp>,
    /// Its settings.
    pub settings: SettingsView,
    /// Who owns it.
    pub owner: OwnerView,
    /// What it is the default of: the user (none: the workspace) and the environment (empty: any).
    pub defaults: Vec<(Option<String>, String)>,
    /// What happened, newest first.
    pub history: Vec<HistoryEntry>,
    /// What only people who look for a fault need.
    pub machinery: Machinery,
    /// Where a workflow step asks for the credential.
    pub resolve_url: String,
}

/// A scope.
#[derive(Debug, Clone)]
pub struct ScopeView {
    /// As the app names it.
    pub id: String,
    /// What it permits, if that is known.
    pub description: Option<String>,
}

/// A step that used a connection.
#[derive(Debug, Clone)]
pub struct UseView {
    /// The workflow, or empty.
    pub workflow: String,
    /// Where its page is.
    pub href: String,
    /// The step, or empty.
    pub step: String,
    /// The last use.
    pub last_used_at: Timestamp,
    /// Days with a use.
    pub days: i64,
}

/// Who owns a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerView {
    /// Whoever looks.
    You,
    /// A person, by their name.
    Person(String),
    /// Nobody.
    Nobody,
}

/// What only people who look for a fault need.
#[derive(Debug, Clone)]
pub struct Machinery {
    /// How it was connected.
    pub auth_method: String,
    /// The account's id at the app.
    pub account_id: Option<String>,
    /// The workspace's OAuth client.
    pub client: Option<String>,
    /// The revision of a custom app's definition.
    pub revision: Option<i64>,
    /// Counts its grants.
    pub generation: i64,
    /// Counts the changes of its credential.
    pub version: i64,
    /// When it is checked next.
    pub next_check_at: Option<Timestamp>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last connected.
    pub connected_at: Timestamp,
}

/// What a person should do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// Nothing.
    None,
    /// Connect it again.
    Reconnect,
    /// Enter a new key.
    NewKey,
    /// Ask for the missing permissions.
    AskMissing,
    /// Try it for the first time.
    Check,
}

/// Who may change a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangePermission {
    /// The person who looks.
    Allowed,
    /// Only admins, and the person is not one.
    AdminsOnly,
}

/// What a connection's access is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessSource {
    /// A person's consent, which is refreshed if the app permits it.
    Consent,
    /// A manual secret that is used directly, until it is revoked.
    ManualCredential,
    /// A manual secret that is exchanged for access again and again.
    TokenExchange,
}

/// What extends an expected end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtendedBy {
    /// Any use.
    Use,
    /// A refresh, which happens automatically.
    Refresh,
    /// Only a reconnect by a person.
    Reconnect,
}

/// A connection's own page.
pub fn connection(shell: &PageContext, view: &ConnectionView) -> Markup {
    let id = &view.identity.id;
    let body = html! {
        (back_link(shell.text.connection.back, "/"))
        (heading(shell, view))
        div.columns {
            div {
                (status_section(shell, view))
                (replacement_section(shell, id, &view.settings, may_change(view)))
                (step_changes_section(shell, id, &view.settings, may_change(view)))
                (warnings_section(shell, &view.warnings))
                (missing_scopes_section(shell, view))
                (uses_section(shell, view))
                (granted_scopes_section(shell, view))
                (history_section(shell, &view.history))
            }
            div {
                (details_section(shell, view))
                (resolve_section(shell, view))
                (machinery_section(shell, view))
                @if !may_change(view) { (admins_only_note(shell)) }
            }
        }
    };
    section_page(shell, Section::Connections, &view.identity.name, &body)
}

fn may_change(view: &ConnectionView) -> bool {
    view.change_permission == ChangePermission::Allowed
}

fn needs_reconnect(view: &ConnectionView) -> bool {
    view.status.tone == Tone::Bad
}

/// A link below the connection's address.
fn below(view: &ConnectionView, form: &str) -> String {
    format!("/connections/{}/{form}", view.identity.id)
}

fn heading(shell: &PageContext, view: &ConnectionView) -> Markup {
    let (text, one) = (&shell.text.connection, &view.identity);
    html! {
        div.head.top {
            div {
                (app_logo(&one.app, &one.app_name, "large"))
                div {
                    h1 { (user_text(&one.name)) }
                    p {
                        (fill(text.subtitle, &[
                            ("app", user_text(&one.app_name)),
                            ("account", account_label(shell, one.account_label.as_deref())),
                        ]))
                    }
                    @if may_change(view) {
                        details.rename {
                            summary { (icon("pencil")) (text.rename) }
                            (name_form(shell, &one.id, &one.name, None))
                        }
                    }
                }
            }
            div.actions {
                (next_action(shell, view))
                @if view.next_action != NextAction::Check { (check_form(shell, view, "")) }
                @if may_change(view) { (menu(shell, view)) }
            }
        }
    }
}

/// What a person should do now, as the only button that stands out.
fn next_action(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    match view.next_action {
        NextAction::None => html! {},
        NextAction::Reconnect => link(text.reconnect, &below(view, "reconnect"), "button main"),
        NextAction::NewKey => link(text.new_key, &below(view, "reconnect"), "button main"),
        NextAction::AskMissing => {
            html! { @if let Some(href) = &view.missing_scopes_href { (link(text.ask_missing, href, "button main")) } }
        }
        NextAction::Check => check_form(shell, view, "main"),
    }
}

fn check_form(shell: &PageContext, view: &ConnectionView, class: &str) -> Markup {
    html! {
        form method="post" action=(below(view, "check")) {
            (csrf_field(shell))
            button.(class) type="submit" { (shell.text.connection.check) }
        }
    }
}

fn menu(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    let is_offered = matches!(view.next_action, NextAction::Reconnect | NextAction::NewKey);
    let reconnect = if view.access_source == AccessSource::Consent { text.reconnect } else { text.new_key };
    html! {
        details.menu {
            summary { (icon("more")) span.unseen { (text.more) } }
            div {
                @if !view.app_removed && !is_offered { (link(reconnect, &below(view, "reconnect"), "")) }
                @if view.settings.replaces.is_empty() { (link(text.replace, &below(view, "replace"), "")) }
                (link(text.disconnect, &below(view, "disconnect"), "danger"))
            }
        }
    }
}

fn status_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    let (evidence, at) = &view.evidence;
    html! {
        section.panel.(tone_class(view.status.tone)) aria-labelledby="state" {
            h2 #state { span.unseen { (text.status) ": " } (status_badge(&view.status)) }
            p { (evidence_sentence(shell, evidence, *at, &view.identity.app_name)) }
            @if view.app_removed {
                p {
                    (text.app_removed) " "
                    (if needs_reconnect(view) { text.app_removed_broken } else { text.app_removed_works })
                }
            }
            @if !view.attention.is_empty() {
                ul { @for sentence in &view.attention { li { (user_text(sentence)) } } }
            }
            @if let Some((at, put_off)) = view.predicted_end.filter(|_| !needs_reconnect(view)) {
                p {
                    (fill(match put_off {
                        ExtendedBy::Use => text.ends_by_use,
                        ExtendedBy::Refresh => text.ends_unless_renewed,
                        ExtendedBy::Reconnect if view.app_removed => text.ends_for_good_removed,
                        ExtendedBy::Reconnect => text.ends_for_good,
                    }, &[("time", time_element(at))]))
                }
            }
            p { span.quiet { (text.access) ": " } (access_note(shell, view)) "." }
        }
    }
}

fn access_note(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    let about = match (view.access_source, view.expires_at, view.refreshable) {
        _ if needs_reconnect(view) => text.ended,
        (AccessSource::TokenExchange, ..) => text.renews_until_revoked,
        (AccessSource::Consent, _, true) => text.renews,
        (AccessSource::ManualCredential, None, _) => text.no_end_until_revoked,
        (AccessSource::Consent, None, false) => text.no_end_known,
        (_, Some(_), _) if view.app_removed => text.ends,
        (AccessSource::ManualCredential, Some(_), _) => text.ends_new_key,
        (AccessSource::Consent, Some(_), false) => text.ends_reconnect,
    };
    let time = view.expires_at.map_or_else(|| html! {}, time_element);
    fill(about, &[("app", user_text(&view.identity.app_name)), ("time", time)])
}

/// By what it permits. What the app calls it is in the title, and is all there is where nothing is known of it.
fn scope_name(scope: &ScopeView) -> Markup {
    html! {
        @match &scope.description {
            Some(description) => span title=(scope.id) { (user_text(description)) },
            None => (code_text(&scope.id)),
        }
    }
}

fn missing_scopes_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    html! {
        @if !view.missing_scopes.is_empty() {
            section.panel.waiting aria-labelledby="missing" {
                h2 #missing { (text.missing_title) }
                p { (fill(text.missing_about, &[("app", user_text(&view.identity.app_name))])) }
                ul { @for scope in &view.missing_scopes { li { (scope_name(scope)) } } }
                @if let Some(href) = view.missing_scopes_href.as_ref().filter(|_| view.next_action != NextAction::AskMissing) {
                    p { (link(text.ask_missing, href, "button")) }
                }
            }
        }
    }
}

fn granted_scopes_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    html! {
        section.card aria-labelledby="granted" {
            h2 #granted { (text.granted_title) }
            @if view.granted_scopes.is_empty() {
                p.quiet { (fill(text.granted_none, &[("app", user_text(&view.identity.app_name))])) }
            } @else {
                ul.scopes { @for scope in &view.granted_scopes { li { (scope_name(scope)) } } }
            }
        }
    }
}

fn uses_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let (text, uses) = (&shell.text.connection, &view.uses);
    let (workflows, steps) = view.use_counts;
    let shown = i64::try_from(uses.len()).unwrap_or(i64::MAX);
    html! {
        section.card aria-labelledby="uses" {
            h2 #uses { (text.uses_title) @if workflows > 0 { " " span.count { (count(workflows, text.workflow, text.workflows)) } } }
            @if uses.is_empty() {
                p.quiet { (text.uses_none) }
            } @else {
                (sparkline(shell, &view.steps_by_day))
                table {
                    caption.unseen { (text.uses_caption) }
                    thead {
                        tr {
                            (column_heads(&[
                                (text.use_workflow, ""), (text.use_step, "w30"), (text.use_last, "w20"), (text.use_days, "w20"),
                            ]))
                        }
                    }
                    tbody { @for one in uses { (use_row(shell, one)) } }
                }
                @if shown < steps {
                    p.quiet { (fill(text.use_more, &[("shown", html! { (shown) }), ("count", html! { (steps) })])) }
                }
            }
        }
    }
}

/// The width of a day in the drawing, and its height.
const DAY_WIDTH: usize = 10;
const DRAWING_HEIGHT: usize = 40;

/// A bar for each day: how many steps used it.
fn sparkline(shell: &PageContext, days: &[usize]) -> Markup {
    let text = &shell.text.connection;
    let most = days.iter().copied().max().unwrap_or_default();
    let used = days.iter().filter(|steps| **steps > 0).count();
    let numbers = [("used", used.to_string()), ("days", days.len().to_string())];
    let values: Vec<_> = numbers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let words = fill_plain(text.used_on, &values);
    // A day without a use keeps its place.
    let height = |steps: usize| if steps == 0 { 2 } else { (DRAWING_HEIGHT * steps / most.max(1)).max(4) };
    html! {
        @if most > 0 {
            svg.spark role="img" aria-label=(words) viewBox={ "0 0 " (days.len() * DAY_WIDTH) " " (DRAWING_HEIGHT) }
                preserveAspectRatio="none" {
                @for (at, steps) in days.iter().enumerate() {
                    rect class=[(*steps == 0).then_some("none")] x=(at * DAY_WIDTH) y=(DRAWING_HEIGHT - height(*steps))
                        width=(DAY_WIDTH - 2) height=(height(*steps)) {}
                }
            }
            p.quiet.small { (words) }
        }
    }
}

fn use_row(shell: &PageContext, one: &UseView) -> Markup {
    let text = &shell.text.connection;
    html! {
        tr {
            th scope="row" {
                @if one.workflow.is_empty() { span.quiet { (text.use_unnamed) } } @else { (link(&one.workflow, &one.href, "name")) }
            }
            td data-label=(text.use_step) {
                @if one.step.is_empty() { span.quiet { (text.use_unnamed) } } @else { span { (user_text(&one.step)) } }
            }
            td data-label=(text.use_last) { (relative_time(shell, one.last_used_at)) }
            td data-label=(text.use_days) { (count(one.days, text.use_day, text.use_on_days)) }
        }
    }
}

fn details_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let (text, one) = (&shell.text.connection, &view.identity);
    let environment = environment_words(shell.text, &view.settings.environment).unwrap_or(text.environment_unknown);
    let sharing = match (view.settings.shared, &view.owner) {
        (true, _) => text.shared,
        (false, OwnerView::Nobody) => text.private_nobody,
        (false, _) => text.private,
    };
    let change = |form: &str, label: &str| html! { @if may_change(view) { " " (change_link(shell, &below(view, form), label)) } };
    html! {
        section.card aria-labelledby="details" {
            h2 #details { (text.details_title) }
            dl.stack {
                div { dt { (text.app) } dd { (user_text(&one.app_name)) } }
                div { dt { (text.account) } dd { (account_label(shell, one.account_label.as_deref())) } }
                div { dt { (text.owner) } dd {
                    @match &view.owner {
                        OwnerView::You => (text.owner_you),
                        OwnerView::Person(name) => (user_text(name)),
                        OwnerView::Nobody => (text.owner_none),
                    }
                    @if shell.is_admin() { (change("sharing", text.change_owner)) }
                } }
                div { dt { (text.sharing) } dd { (sharing) (change("sharing", text.change_sharing)) } }
                div { dt { (text.environment) } dd { (environment) (change("environment", text.change_environment)) } }
                div { dt { (text.default) } dd { (defaults_list(shell, view)) } }
                div { dt { (text.last_used) } dd { (relative_time_or_never(shell, view.last_used_at)) } }
                div { dt { (text.connected) } dd { (relative_time(shell, view.machinery.connected_at)) } }
            }
        }
    }
}

/// Screen readers hear what is changed; for others that stands beside it.
fn change_link(shell: &PageContext, href: &str, label: &str) -> Markup {
    html! { a.way href=(href) aria-label=(label) { (shell.text.connection.change) } }
}

fn defaults_list(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    html! {
        @if view.defaults.is_empty() { (text.default_none) }
        @for (user, environment) in &view.defaults {
            div {
                (fill(match (user, environment.is_empty()) {
                    (None, true) => text.default_workspace,
                    (None, false) => text.default_workspace_in,
                    (Some(_), true) => text.default_user,
                    (Some(_), false) => text.default_user_in,
                }, &[("name", user_text(user.as_deref().unwrap_or_default())), ("environment", user_text(environment_words(shell.text, environment).unwrap_or(environment)))]))
            }
        }
    }
}

fn resolve_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let text = &shell.text.connection;
    let (curl, typescript) = (curl_snippet(&view.resolve_url), typescript_snippet(&view.resolve_url));
    html! {
        section.card aria-labelledby="use-it" {
            h2 #use-it { (text.use_it_title) }
            p.quiet { (text.use_it_about) }
            p { (link(shell.text.try_it.title, &below(view, "try"), "button")) }
            p.quiet.small { (text.id) }
            (copyable(shell, "connection-id", &view.identity.id))
            @for (label, id, snippet) in [(text.curl, "snippet-curl", curl), (text.typescript, "snippet-typescript", typescript)] {
                details { summary id=(id) { (label) } (copyable_block(shell, id, &snippet)) }
            }
        }
    }
}

fn curl_snippet(url: &str) -> String {
    format!(
        "curl -X POST \"{url}\" \\\n  -H \"Authorization: Bearer $CONNECTIONS_KEY\" \\\n  -d '{{\"workflow\": \"my-workflow\", \"step\": \"my-step\"}}'"
    )
}

fn typescript_snippet(url: &str) -> String {
    format!(
        "const answer = await fetch(\"{url}\", {{\n  method: \"POST\",\n  headers: {{ Authorization: `Bearer ${{process.env.CONNECTIONS_KEY}}` }},\n  body: JSON.stringify({{ workflow: \"my-workflow\", step: \"my-step\" }}),\n}});\nif (!answer.ok) throw new Error((await answer.json()).detail);\nconst {{ request }} = await answer.json();\nawait fetch(request.base_url, {{ headers: request.headers }});"
    )
}

fn machinery_section(shell: &PageContext, view: &ConnectionView) -> Markup {
    let (text, of) = (&shell.text.connection, &view.machinery);
    html! {
        details.fold {
            summary { (text.machinery) }
            dl.stack {
                div { dt { (text.auth_method) } dd { (user_text(&of.auth_method)) } }
                @if let Some(id) = &of.account_id { div { dt { (text.account_id) } dd { (code_text(id)) } } }
                @if let Some(id) = &of.client { div { dt { (text.client) } dd { (code_text(id)) } } }
                @if let Some(revision) = of.revision { div { dt { (text.revision) } dd { (revision) } } }
                div { dt { (text.generation) } dd { (of.generation) } }
                div { dt { (text.version) } dd { (of.version) } }
                div { dt { (text.next_check) } dd { (relative_time_or_never(shell, of.next_check_at)) } }
                div { dt { (text.created) } dd { (time_element(of.created_at)) } }
                div { dt { (text.connected) } dd { (time_element(of.connected_at)) } }
            }
        }
    }
}

/// For a member who sees a shared connection.
fn admins_only_note(shell: &PageContext) -> Markup {
    let text = &shell.text.connection;
    html! {
        section.card aria-labelledby="admins" {
            h2 #admins { (text.members_title) }
            p.quiet { (text.members_about) }
        }
    }
}
