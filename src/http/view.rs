//! Things as JSON shows them.

use serde_json::{Value, json};

use crate::app::{App, AppId};
use crate::attention;
use crate::caller::Key;
use crate::client::Client;
use crate::connect::start::redirect_uri;
use crate::core::Core;
use crate::ports::Ports;
use crate::resolve::Resolved;
use crate::store::connections::Listed;
use crate::store::links::Link;

/// A connection, as api.md has it.
pub(super) fn connection<P: Ports>(core: &Core<P>, listed: &Listed) -> Value {
    let connection = &listed.connection;
    let (status, reason) = connection.shown_status(&core.config.ring);
    json!({
        "id": connection.id,
        "app": connection.app,
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
        "credential": {
            "type": "oauth2",
            "expires_at": connection.expires_at,
            "refreshable": connection.refreshable,
            "refreshed_at": connection.refreshed_at,
        },
        "attention": attention::of(listed, core.now()),
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

/// A resolve's answer. The only place where a credential becomes JSON.
pub(super) fn resolved(resolved: &Resolved) -> Value {
    json!({
        "connection": { "id": resolved.id, "app": resolved.app, "name": resolved.name, "account": resolved.account },
        "credential": {
            "type": "oauth2",
            "access_token": resolved.access_token.expose(),
            "token_type": resolved.token_type,
            "expires_at": resolved.expires_at,
            "scopes": resolved.scopes,
        },
        "request": { "headers": resolved.headers, "base_url": resolved.base_url },
        "freshness": resolved.freshness,
        "source": resolved.source,
    })
}

/// A key without its text.
pub(super) fn key(key: &Key) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "connections": key.connections,
        "apps": key.apps,
        "expires_at": key.expires_at,
        "created_at": key.created_at,
    })
}

/// An app.
pub(super) fn app(app: &App, custom: bool, client_is_set_up: bool) -> Value {
    json!({
        "id": app.id,
        "name": app.name,
        "categories": app.categories,
        "docs": app.docs,
        "custom": custom,
        "auth": [{ "type": "oauth2", "fields": ["client_id", "client_secret"] }],
        "scopes": app.scopes,
        "client_family": app.client_family,
        "client_is_set_up": client_is_set_up,
    })
}

/// A client without its secret.
pub(super) fn client<P: Ports>(core: &Core<P>, client: &Client, app: &AppId) -> Value {
    json!({
        "id": client.id,
        "app": app,
        "client_id": client.client_id,
        "has_secret": client.sealed_secret.is_some(),
        "redirect_uri": redirect_uri(core, &client.id),
        "scopes": client.scopes,
        "secret_expires_at": client.secret_expires_at,
        "misconfigured": client.misconfigured.as_ref().map(|(since, error)| json!({ "since": since, "error": error })),
        "created_at": client.created_at,
        "updated_at": client.updated_at,
    })
}

/// A link without its token.
pub(super) fn link(link: &Link, expired: bool) -> Value {
    let status = if expired { "expired" } else { link.status.as_str() };
    json!({
        "id": link.id,
        "app": link.app,
        "status": status,
        "user": link.user,
        "connection": link.result,
        "repairs": link.connection,
        "confirm": link.confirm,
        "on_duplicate": link.on_duplicate,
        "created_at": link.created_at,
        "expires_at": link.expires_at,
    })
}
