//! Things as JSON shows them.

use serde_json::{Value, json};

use super::known::is_ready;
use crate::app::{App, Definition, Kind, Origin, Variable};
use crate::attention::{self, Attention};
use crate::caller::Key;
use crate::client::{Client, ClientProblem};
use crate::connect::start::redirect_uri;
use crate::connect::{client_setup, hosts};
use crate::core::Core;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::resolve::removal::CachedCopies;
use crate::resolve::{Resolved, reconnect_url};
use crate::store::clients::Registrations;
use crate::store::connections::Listed;
use crate::store::links::Link;
use crate::time::Timestamp;

/// A connection, as api.md has it.
pub(super) fn connection<P: Ports>(core: &Core<P>, listed: &Listed) -> Value {
    let connection = &listed.connection;
    let (status, reason) = connection.shown_status(&core.config.ring);
    json!({
        "id": connection.id,
        "app": connection.app,
        "way": connection.way,
        "name": connection.name,
        "status": status,
        "reason": reason,
        "account": connection.account,
        "user": connection.user,
        "metadata": connection.metadata,
        "allowed_workflows": connection.allowed_workflows,
        "scopes": {
            "requested": connection.scopes_requested,
            "granted": connection.scopes_granted,
            "missing": connection.missing_scopes(),
        },
        "variables": connection.variables,
        "credential": {
            "type": connection.kind,
            "expires_at": connection.expires_at,
            "refreshable": connection.refreshable,
            "refreshed_at": connection.refreshed_at,
            "ends_at": connection.ends_for_good_at(),
        },
        "attention": attention(core, listed),
        "uses": { "workflows": listed.workflows, "steps": listed.steps },
        "last_used_at": connection.last_used_at,
        "checked_at": connection.checked_at,
        "check_evidence": connection.check_evidence,
        "next_check_at": connection.next_check_at,
        "created_at": connection.created_at,
        "connected_at": connection.connected_at,
        "generation": connection.generation,
        "replaced_by": null,
    })
}

/// What deserves a look, with the address where a person does what helps.
fn attention<P: Ports>(core: &Core<P>, listed: &Listed) -> Vec<Attention> {
    let mut all = attention::of(listed, core.now());
    for one in all.iter_mut().filter(|one| one.code == attention::Code::DefinitionChanged) {
        one.reconnect_url = Some(reconnect_url(core, &listed.connection.id, &[]));
    }
    all
}

/// A resolve's answer. The only place where a credential becomes JSON.
pub(super) fn resolved(resolved: &Resolved) -> Value {
    json!({
        "connection": { "id": resolved.id, "app": resolved.app, "name": resolved.name, "account": resolved.account },
        "credential": resolved.issued.credential,
        "request": resolved.issued.request,
        "freshness": resolved.freshness,
        "source": resolved.source,
    })
}

/// A key without its text, as it is now.
pub(super) fn key(key: &Key, now: Timestamp) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "connections": key.connections,
        "apps": key.apps,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
        "made_by": key.made_by,
        "previous_secret_until": key.previous.as_ref().map(|one| one.until).filter(|until| now < *until),
    })
}

/// An app with its ways to connect, as a workspace with these clients may walk them.
pub(super) fn app<P: Ports>(
    core: &Core<P>,
    (workspace, clients): (&WorkspaceId, &Registrations),
    definition: &Definition,
    custom: bool,
) -> Value {
    let expected =
        |app: &App| client_setup::expected_redirect_id(clients, workspace, app).map(|id| redirect_uri(core, &id));
    let ways: Vec<_> =
        definition.ways().iter().map(|app| way(app, is_ready(clients, app), expected(app).as_deref())).collect();
    let first = definition.ways().first();
    json!({
        "id": definition.id,
        "name": definition.name,
        "categories": definition.categories,
        "docs": definition.docs,
        "sources": definition.sources,
        "unverified": definition.unverified,
        "custom": custom,
        "defined_by": if custom { "workspace" } else { "catalogue" },
        "auth": ways,
        "scopes": first.map(|app| &app.scopes),
        "events": definition.events,
        "client_family": first.and_then(|app| app.client_family.as_ref()),
        "client_is_set_up": definition.oauth2().is_some_and(|app| is_ready(clients, &app)),
    })
}

fn way(app: &App, ready: bool, redirect_uri: Option<&str>) -> Value {
    let server = app.server();
    let of = |from: &Origin| -> Vec<_> {
        app.variables.iter().filter(|(_, one)| one.from == *from).map(|(name, one)| variable(name, one)).collect()
    };
    let client = (app.kind == Kind::OAuth2).then(|| {
        json!({
            "fields": ["client_id", "client_secret"],
            "variables": of(&Origin::Client),
            "redirect_uri": redirect_uri,
            "help": server.and_then(|server| server.client_help.as_ref()),
        })
    });
    json!({
        "id": app.way,
        "type": app.kind,
        "name": app.way_name,
        "ready": ready,
        "deprecated": app.deprecated,
        "hosts": hosts::of_app(app),
        "fields": app.fields,
        "variables": of(&Origin::Person),
        "client": client,
        "help": server.map(|server| &server.connect_help),
        "limits": app.limits,
        "scopes": app.scopes,
    })
}

fn variable(name: &str, variable: &Variable) -> Value {
    json!({
        "id": name,
        "label": variable.label,
        "help": variable.help,
        "example": variable.example,
        "default": variable.default,
    })
}

/// A client without its secret.
pub(super) fn client<P: Ports>(core: &Core<P>, client: &Client, app: &App) -> Value {
    let stored = client.misconfigured.as_ref();
    // What can be seen without the app is told before anybody runs into it.
    let seen = client.problem(&core.config.ring);
    let seen = seen.or_else(|| (!client_setup::serves(client, app)).then_some(ClientProblem::AddressesChanged));
    let known = stored.and_then(|(_, error)| ClientProblem::parse(error)).or(seen);
    let error = stored.map(|(_, error)| error.as_str()).or(seen.map(ClientProblem::as_str));
    json!({
        "id": client.id,
        "app": app.id,
        "client_id": client.client_id,
        "has_secret": client.sealed_secret.is_some(),
        "variables": client.variables,
        "redirect_uri": redirect_uri(core, &client.redirect_id),
        "scopes": client.scopes,
        "secret_expires_at": client.secret_expires_at,
        "misconfigured": error.map(|error| json!({
            "since": stored.map(|(since, _)| since),
            "error": error,
            "detail": known.map(ClientProblem::explained),
        })),
        "created_at": client.created_at,
        "updated_at": client.updated_at,
    })
}

/// A link without its token.
pub(super) fn link(link: &Link, now: Timestamp) -> Value {
    json!({
        "id": link.id,
        "app": link.app,
        "way": link.way,
        "status": link.shown_status(now),
        "user": link.user,
        "connection": link.result,
        "repairs": link.connection,
        "confirm": link.confirm,
        "on_duplicate": link.on_duplicate,
        "made_by": link.made_by.as_ref().map(|maker| &maker.key),
        "created_at": link.created_at,
        "expires_at": link.expires_at,
    })
}

/// The same object with further members.
pub(super) fn with<const N: usize>(mut shown: Value, members: [(&str, Value); N]) -> Value {
    if let Some(object) = shown.as_object_mut() {
        object.extend(members.map(|(name, value)| (name.to_owned(), value)));
    }
    shown
}

/// The same with `cached_copies`, where a copy in the cache could not be removed yet.
pub(super) fn with_copies(shown: Value, copies: Option<CachedCopies>) -> Value {
    match copies {
        Some(copies @ CachedCopies::Retrying { .. }) => with(shown, [("cached_copies", json!(copies))]),
        Some(CachedCopies::Removed) | None => shown,
    }
}
