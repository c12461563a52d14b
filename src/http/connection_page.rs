//! A connection's own page: what people see of it, and the check that they ask for.
//!
//! Owns how data becomes what this page shows. [`crate::authorize`] loads it in the one round trip that also decides who sees it.

use super::attention_words::explain;
use super::browser_session::require_user;
use super::connection_summary::{is_unchecked, status_label};
use super::consent_page::grant_limit_warning;
use super::page::{
    self, AccessSource, ChangePermission, CheckResult, ConnectionView, Evidence, ExtendedBy, HistoryActor,
    HistoryEntry, HistoryWhat, Machinery, NextAction, NoticeCode, OwnerView, ScopeView, UseView,
};
use super::page_frame::page_context;
use super::settings_view::{build_settings, environment_text, identity, redirect_to_connection, workflow_href};
use super::{Call, Response, input, undeclared_resource_error};
use crate::app::{AuthMethod, CredentialKind, RefreshTokenRotation};
use crate::attention::{self, Attention, AttentionCode};
use crate::audit::Actor;
use crate::authorize::{self, Caller, LoadedResource, RequiredRole};
use crate::connection::{Connection, ConnectionStatus, ReconnectReason};
use crate::connections::{self, PageDetails};
use crate::context::Context;
use crate::error::Result;
use crate::on_demand_check;
use crate::ports::{Health, Ports, RefreshOutcome};
use crate::store::connections::{ConnectionPage, NamedEvent};
use crate::store::sessions::Session;
use crate::store::uses::{DAYS_KEPT, Use};
use crate::time::Timestamp;

pub(super) async fn show_connection_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let LoadedResource::ConnectionPage(found) = &call.subject else { return Err(undeclared_resource_error()) };
    let session = call.session()?;
    let may_change = authorize::session_may_change(session, &found.listed.connection);
    if may_change && input::query_param(call.request, "disconnect").is_some() {
        return super::connection_forms::show_disconnect(context, call, &found.listed).await;
    }
    let view = build_view(context, session, found)?;
    let mut shell = page_context(context, call.request, Some(session));
    if let Some(notice) = shell.notice.as_mut().filter(|notice| notice.code == NoticeCode::Connected) {
        match &view.identity.account_label {
            Some(account) => notice.about.clone_from(account),
            None => notice.code = NoticeCode::ConnectedUnknown,
        }
    }
    Ok(Response::html(200, page::connection(&shell, &view)))
}

fn build_view<P: Ports>(context: &Context<P>, session: &Session, found: &ConnectionPage) -> Result<ConnectionView> {
    let (listed, connection) = (&found.listed, &found.listed.connection);
    let details = connections::describe_page(context, found);
    let auth_method = details.auth_method.as_deref();
    let may_change = authorize::session_may_change(session, connection);
    let (status, reason) = connection.shown_status(&context.config.key_ring);
    let missing = scope_views(&connection.missing_scopes(), auth_method);
    let missing_scopes_href =
        Some(missing_scopes_url(connection)).filter(|_| !missing.is_empty() && !details.app_removed && may_change);
    let attention = attention::for_connection(listed, context.now());
    let me = require_user(session)?;
    let next_action = next_action(connection, &attention, may_change, missing_scopes_href.is_some(), status, &details);
    Ok(ConnectionView {
        identity: identity(listed, details.app_name.clone()),
        status: status_label(&page::ENGLISH, connection, status, &attention),
        evidence: (evidence(connection, status, reason), connection.checked_at),
        attention: attention
            .iter()
            .filter(|one| !is_shown_elsewhere(one))
            .map(|one| explain(&page::ENGLISH, listed, one))
            .collect(),
        next_action,
        granted_scopes: scope_views(&connection.scopes_granted, auth_method),
        missing_scopes: missing,
        missing_scopes_href,
        app_removed: details.app_removed,
        change_permission: if may_change { ChangePermission::Allowed } else { ChangePermission::AdminsOnly },
        access_source: access_source(connection.kind),
        expires_at: connection.expires_at,
        refreshable: connection.refreshable,
        predicted_end: predicted_end(connection, auth_method),
        warnings: warnings(context, connection, &details),
        uses: found
            .uses
            .iter()
            .map(|one| UseView {
                href: workflow_href(&one.workflow),
                workflow: one.workflow.clone(),
                step: one.step.clone(),
                last_used_at: one.last_used_at,
                days: one.active_days,
            })
            .collect(),
        use_counts: (listed.workflows, listed.steps),
        steps_by_day: steps_by_day(&found.uses, context.now()),
        last_used_at: connection.last_used_at,
        settings: build_settings(&page::ENGLISH, session, listed),
        owner: match &connection.user {
            None => OwnerView::Nobody,
            Some(owner) if owner.id == me.id => OwnerView::You,
            Some(owner) => OwnerView::Person(owner.display_name().to_owned()),
        },
        defaults: found.defaults.iter().map(|one| (one.user.clone(), environment_text(one.environment))).collect(),
        history: history(found, &me.id),
        machinery: machinery(connection, auth_method),
        resolve_url: context.config.public_url.at(&format!("/v1/connections/{}/resolve", connection.id)),
    })
}

/// How many of these steps used it on each of the last days, the first day first.
fn steps_by_day(uses: &[Use], now: Timestamp) -> Vec<usize> {
    let on = |ago: i64| uses.iter().filter(|one| one.was_used_days_ago(now, ago)).count();
    (0..DAYS_KEPT).rev().map(on).collect()
}

/// These have sections of their own, or are said with a date.
fn is_shown_elsewhere(one: &Attention) -> bool {
    matches!(one.code, AttentionCode::MissingScopes | AttentionCode::StepChangedConnection | AttentionCode::ExpiresSoon)
}

fn next_action(
    connection: &Connection,
    attention: &[Attention],
    may_change: bool,
    may_ask_missing: bool,
    status: ConnectionStatus,
    details: &PageDetails,
) -> NextAction {
    let reconnect = if connection.kind.is_manual() { NextAction::NewKey } else { NextAction::Reconnect };
    let may_repair = may_change && !details.app_removed;
    let ends = attention.iter().any(|one| one.code == AttentionCode::ExpiresSoon);
    match status {
        ConnectionStatus::NeedsReconnect if may_repair => reconnect,
        ConnectionStatus::Connected if may_ask_missing => NextAction::AskMissing,
        ConnectionStatus::Connected if ends && may_repair => reconnect,
        ConnectionStatus::Connected if is_unchecked(connection) => NextAction::Check,
        _ => NextAction::None,
    }
}

/// What the database has of the last check, as `what: result`.
fn evidence(connection: &Connection, status: ConnectionStatus, reason: Option<ReconnectReason>) -> Evidence {
    let is_key = connection.kind.is_manual();
    match (status, reason) {
        (_, Some(ReconnectReason::Revoked)) => return Evidence::Revoked,
        (_, Some(ReconnectReason::Expired)) => return Evidence::Expired,
        (_, Some(ReconnectReason::LostRotation)) => return Evidence::LostRotation,
        (_, Some(ReconnectReason::RefreshTokenMissing)) => return Evidence::RefreshTokenMissing,
        (_, Some(ReconnectReason::CredentialRejected)) if is_key => return Evidence::RejectedKey,
        (_, Some(ReconnectReason::CredentialRejected)) => return Evidence::RejectedSignIn,
        (_, Some(ReconnectReason::OtherAccount)) => return Evidence::OtherAccount,
        (_, Some(ReconnectReason::Unreadable)) => return Evidence::Unreadable,
        (ConnectionStatus::AwaitingConfirmation, None) => return Evidence::Unconfirmed,
        (_, None) => {}
    }
    match connection.check_evidence.as_deref() {
        _ if is_unchecked(connection) => Evidence::Never,
        Some("connected") if is_key => Evidence::Accepted,
        Some("connected") => Evidence::SignedIn,
        Some("refreshed") => Evidence::Renewed,
        Some("probe: accepted" | "probe: accepted, but not allowed to ask") => Evidence::Accepted,
        Some("probe: an answer that tells nothing") => Evidence::Unclear,
        Some("probe: the app did not answer") => Evidence::NoAnswer,
        Some("nothing to probe") => Evidence::NothingToAsk,
        Some("held back: the app is failing") => Evidence::HeldBack,
        Some(text) if text.starts_with("probe: not sent") => Evidence::AddressesChanged,
        Some(text) => match text.strip_prefix("refresh: ") {
            Some(code) => Evidence::RenewalFailed(code.replace('_', " ")),
            None => Evidence::Unknown,
        },
        None => Evidence::Unknown,
    }
}

/// Scopes with what each permits.
fn scope_views(ids: &[String], auth_method: Option<&AuthMethod>) -> Vec<ScopeView> {
    let description = |id: &String| auth_method?.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
    ids.iter().map(|id| ScopeView { id: id.clone(), description: description(id) }).collect()
}

/// Where the missing permissions are requested again: exactly those.
fn missing_scopes_url(connection: &Connection) -> String {
    let path = format!("/connections/{}/reconnect", connection.id);
    let missing = connection.missing_scopes().join(" ");
    format!("{path}?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("scopes", &missing).finish())
}

/// Notes for a person about this app and the manual credential.
fn warnings<P: Ports>(context: &Context<P>, connection: &Connection, details: &PageDetails) -> Vec<String> {
    let Some(auth_method) = details.auth_method.as_deref() else { return vec![] };
    let pasted = Some(connection).filter(|connection| connection.kind.is_manual());
    let credential = pasted.and_then(|connection| connection.credential(&context.config.key_ring));
    let fields = credential.map(|credential| credential.fields).unwrap_or_default();
    let remarks: Vec<_> = auth_method.field_marks(&fields).filter_map(|mark| mark.warn.clone()).collect();
    let limit = details.grant_usage.map(|grants| grant_limit_warning(&page::ENGLISH, auth_method, grants));
    auth_method.deprecated.iter().chain(&auth_method.limits.notes).cloned().chain(remarks).chain(limit).collect()
}

fn access_source(kind: CredentialKind) -> AccessSource {
    match kind {
        CredentialKind::OAuth2 => AccessSource::Consent,
        CredentialKind::ClientCredentials | CredentialKind::ServiceAccount => AccessSource::TokenExchange,
        CredentialKind::ApiKey | CredentialKind::BotToken | CredentialKind::Basic => AccessSource::ManualCredential,
    }
}

/// The earliest known expiry, and what extends it.
fn predicted_end(connection: &Connection, auth_method: Option<&AuthMethod>) -> Option<(Timestamp, ExtendedBy)> {
    // If a refresh returns no other refresh token, the existing one expires anyway.
    let keeps = auth_method.is_some_and(|auth_method| auth_method.rotation() == RefreshTokenRotation::None);
    let renewal = if keeps || !connection.refreshable { ExtendedBy::Reconnect } else { ExtendedBy::Refresh };
    let ends = [
        (connection.grant_expires_at, ExtendedBy::Reconnect),
        (connection.refresh_expires_at, renewal),
        (connection.refresh_idle_until, ExtendedBy::Use),
    ];
    ends.into_iter().filter_map(|(end, by)| Some((end?, by))).min_by_key(|(end, _)| *end)
}

fn machinery(connection: &Connection, auth_method: Option<&AuthMethod>) -> Machinery {
    Machinery {
        auth_method: auth_method.map_or_else(|| connection.auth_method.to_string(), AuthMethod::display_name),
        account_id: connection.account.as_ref().map(|account| account.id.clone()),
        client: connection.client.as_ref().map(ToString::to_string),
        revision: Some(connection.app_revision).filter(|revision| *revision > 0),
        generation: connection.generation,
        version: connection.version,
        next_check_at: connection.next_check_at,
        created_at: connection.created_at,
        connected_at: connection.connected_at,
    }
}

/// What happened, with the last check in its place: checks that change nothing are no events.
fn history(found: &ConnectionPage, me: &str) -> Vec<HistoryEntry> {
    let mut entries: Vec<_> = found.events.iter().map(|one| history_entry(one, me)).collect();
    let connection = &found.listed.connection;
    let result = match evidence(connection, connection.status, connection.reason) {
        Evidence::Accepted | Evidence::Renewed => Some(CheckResult::Works),
        Evidence::NoAnswer | Evidence::RenewalFailed(_) => Some(CheckResult::NoAnswer),
        Evidence::Unclear => Some(CheckResult::Unclear),
        _ => None,
    };
    if let (Some(at), Some(result)) = (connection.checked_at, result) {
        let place = entries.iter().position(|one| one.at <= at).unwrap_or(entries.len());
        entries.insert(place, HistoryEntry { at, by: HistoryActor::Somebody, what: HistoryWhat::Check(result) });
    }
    entries
}

fn history_entry(one: &NamedEvent, me: &str) -> HistoryEntry {
    let by = match Actor::parse(&one.event.actor) {
        Some(Actor::User(id)) if id == me => HistoryActor::You,
        Some(Actor::User(id)) => HistoryActor::Person(one.person_name.clone().unwrap_or(id)),
        Some(Actor::Key(_)) => HistoryActor::Key(one.key_name.clone()),
        Some(Actor::Link(_)) => HistoryActor::Link,
        Some(Actor::ScheduledRun) => HistoryActor::Schedule,
        Some(Actor::Check) => HistoryActor::Check,
        Some(Actor::Refresh) => HistoryActor::Refresh,
        Some(Actor::Embedder) => HistoryActor::Embedder,
        Some(Actor::Operator) => HistoryActor::Operator,
        Some(Actor::UnknownUser | Actor::Unauthenticated) | None => HistoryActor::Somebody,
    };
    HistoryEntry { at: one.event.at, by, what: HistoryWhat::Event(one.event.r#type.clone(), one.event.detail.clone()) }
}

/// An app that was asked a moment ago is not asked again, and then nobody says that it was.
pub(super) async fn submit_check<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let before = &call.path_connection()?.connection;
    let Connection { id, workspace, .. } = before;
    let outcome = on_demand_check::run(context, workspace, id).await;
    let caller = Caller::User(call.session()?, RequiredRole::Member);
    let after = authorize::load_connection(context, &caller, id).await;
    let seen = |one: &Connection| (one.checked_at, one.check_evidence.clone(), one.failures);
    let was_asked = after.is_ok_and(|found| seen(&found.connection) != seen(before));
    let done = match (outcome.health(), was_asked) {
        (Health::Healthy, true) => NoticeCode::CheckHealthy,
        (Health::Healthy, false) => NoticeCode::CheckedBeforeHealthy,
        (Health::NeedsReconnect, true) => NoticeCode::CheckBroken,
        (Health::NeedsReconnect, false) => NoticeCode::CheckedBeforeBroken,
        (Health::ClientMisconfigured | Health::ConfigurationRefused, _) => NoticeCode::CheckClient,
        (Health::AppUnavailable, true) => NoticeCode::CheckUnavailable,
        (Health::AppUnavailable, false) => NoticeCode::CheckedBeforeUnavailable,
        // To try again later helps here, too.
        (Health::Unknown, _) if outcome == RefreshOutcome::DatabaseUnavailable => NoticeCode::CheckUnavailable,
        (Health::Unknown, _) => NoticeCode::CheckUnknown,
    };
    Ok(redirect_to_connection(context, call, id, done))
}
