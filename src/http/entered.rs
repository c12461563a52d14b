//! Credentials that a program enters: `POST /v1/connections` and `PUT /v1/connections/{id}/credential`.
//!
//! Owns what is said beside a credential: the app, the way, what becomes of an account that is connected already.
//! Refuses to answer with a question: a program has decided. The credential's own JSON is `members`.

mod members;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::body::{Json, Unread};
use super::connections::{self, checked_metadata};
use super::view::ConnectionResponse;
use super::{Call, input, links};
use crate::app::{App, AppId, Definition, WayId};
use crate::connect::Failure;
use crate::connect::hosts;
use crate::connect::paste::{self, Paste};
use crate::connect::settle::{Deciding, LONGEST_NAME};
use crate::connect::start::{self, Offer, Wish};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, random_text};
use crate::ports::Ports;
use crate::quotas;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{Authorization, Outcome};
use crate::workspace::Role;

use members::entered;

pub(super) use members::Members;

/// A connection that is to be made from a credential.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateConnectionRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct NewInput {
    app: AppId,
    /// Which of the app's ways to connect. Left out: the first of the credential's type.
    way: Option<WayId>,
    /// Left out: app and account, with a number where that is taken. No control characters; spaces around it are cut off.
    #[cfg_attr(test, schemars(length(min = 1, max = 100)))]
    name: Option<String>,
    /// Whose the connection will be; absent or null: the whole workspace's.
    user: Option<links::UserInput>,
    /// The embedder's own map.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "super::openapi::Metadata"))]
    metadata: BTreeMap<String, String>,
    /// What the app's addresses depend on and the person gives: those of `variables` of the app's way. Other names are
    /// refused.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Asked for, instead of the usual ones; where the credential is tokens or makes them. For imported tokens: what the
    /// connection is to have, as `credential.scopes` is what was granted.
    #[cfg_attr(test, schemars(length(max = 200)))]
    scopes: Option<Vec<String>>,
    credential: Members,
    /// Whether the app is asked whose credential it is, or whether it works. Tokens that must first be made or renewed are
    /// asked for all the same.
    #[serde(default = "yes")]
    check: bool,
    /// What happens when the user has a connection to that account already.
    #[serde(default)]
    on_duplicate: OnDuplicate,
}

/// A credential in the place of the one that a connection has.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ReplaceCredentialRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct ReplaceInput {
    /// Which of the app's ways to connect. Left out: the connection's own, if the credential is of its type, else the app's
    /// first of that type.
    way: Option<WayId>,
    /// What the app's addresses depend on and the person gives. Those the connection has are kept where they are left out.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Asked for beside those asked for before; where the credential is tokens or makes them.
    #[cfg_attr(test, schemars(length(max = 200)))]
    scopes: Option<Vec<String>>,
    credential: Members,
    /// Whether the app is asked whose credential it is. Without that the account is unknown, so `switch_account` is needed.
    #[serde(default = "yes")]
    check: bool,
    /// Store it also when it is for another account, or when nobody knows whether it is the same. What the connection had
    /// before is revoked, where the app can and no other connection lives on it.
    #[serde(default)]
    switch_account: bool,
    /// Hosts of the workspace's own app that are new since the connection was made, and that may get the credential. A token
    /// or revocation address that is new at a known host is named with its path (`login.example.com/realms/b/token`). Without
    /// them the answer is 409 `addresses_changed`, which names them.
    #[serde(default)]
    accept_hosts: BTreeSet<String>,
}

/// What becomes of a credential for an account that is connected already.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "OnDuplicateCredential", extend("default" = "create")))]
#[serde(rename_all = "snake_case")]
enum OnDuplicate {
    /// A second connection is made.
    #[default]
    Create,
    /// The one that is there gets the credential. It keeps its name and metadata.
    Reuse,
}

fn yes() -> bool {
    true
}

pub(super) async fn create<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, NewInput>,
) -> Result<Json<ConnectionResponse>> {
    let input = body.read()?;
    let key = call.key()?;
    let name = input.name.map(|name| input::name("name", &name, LONGEST_NAME)).transpose()?;
    checked_metadata(&input.metadata)?;
    let registered = registry::current(core, &key.workspace, &input.app).await?;
    let registered =
        registered.ok_or_else(|| Error::invalid("app", "is no app of the catalogue or this workspace."))?;
    let app = way(&registered.definition, input.way.as_ref(), &input.credential)?;
    let wish = Wish {
        workspace: key.workspace.clone(),
        app: input.app,
        way: Some(app.way.clone()),
        variables: input.variables,
        connection: None,
        scopes: input.scopes,
        exactly: false,
        user: input.user.map(links::user).transpose()?,
        role: Role::Member,
        link: None,
        return_to: None,
    };
    let paste = Paste {
        entered: entered(&app, input.credential)?,
        name,
        metadata: input.metadata,
        check: input.check,
        actor: Some(call.key_actor()?),
    };
    quotas::room_for_connection(core, &key.workspace).await?;
    let deciding = Deciding::Program { reuse: input.on_duplicate == OnDuplicate::Reuse, switch: false };
    let offer = start::offer(core, &wish).await?;
    let flow = stored(core, (&wish, &offer), paste, deciding).await?;
    shown(core, call, &flow, 201).await
}

pub(super) async fn replace<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, ReplaceInput>,
) -> Result<Json<ConnectionResponse>> {
    let connection = &call.connection()?.connection;
    let input = body.read()?;
    let registered = registry::current(core, &connection.workspace, &connection.app).await?;
    let registered = registered.ok_or_else(|| Error::not_found("app"))?;
    // Where nothing is said it is the way that the connection has, if the credential is of its kind.
    let own = Some(&connection.way).filter(|_| input.credential.kind() == Some(connection.kind));
    let own = own.filter(|way| registered.definition.way(Some(way)).is_some());
    let app = way(&registered.definition, input.way.as_ref().or(own), &input.credential)?;
    let wish = Wish {
        workspace: connection.workspace.clone(),
        app: connection.app.clone(),
        way: Some(app.way.clone()),
        variables: input.variables,
        connection: Some(connection.id.clone()),
        scopes: input.scopes,
        exactly: false,
        user: connection.user.clone(),
        // The key has been asked.
        role: Role::Admin,
        link: None,
        return_to: None,
    };
    let offer = start::offer(core, &wish).await?;
    hosts::require_accepted(core, &offer, &input.accept_hosts).await?;
    let paste = Paste {
        entered: entered(&app, input.credential)?,
        name: None,
        metadata: BTreeMap::new(),
        check: input.check,
        actor: Some(call.key_actor()?),
    };
    let deciding = Deciding::Program { reuse: false, switch: input.switch_account };
    let flow = stored(core, (&wish, &offer), paste, deciding).await?;
    shown(core, call, &flow, 200).await
}

/// Nobody's browser began it, so no browser's session ever fits it.
async fn stored<P: Ports>(
    core: &Core<P>,
    of: (&Wish, &Offer),
    paste: Paste,
    deciding: Deciding,
) -> Result<Authorization> {
    let nobody = Secret::new(random_text::<32>(core.ports.random())?);
    let flow = paste::paste_offered(core, of, paste, nobody.expose(), deciding).await?;
    match (flow.outcome, flow.error.as_deref().and_then(Failure::parse)) {
        (Outcome::Failed, Some(failure)) => Err(paste::failed(failure)),
        (Outcome::Failed, None) => Err(Error::internal("a flow failed without a reason")),
        _ => Ok(flow),
    }
}

async fn shown<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    flow: &Authorization,
    status: u16,
) -> Result<Json<ConnectionResponse>> {
    let id: &ConnectionId = flow.connection.as_ref().ok_or_else(|| Error::internal("a flow without its connection"))?;
    let listed = connections::by_id(core, call, id).await?;
    // One that was there already was not created.
    let status = if listed.connection.generation > 1 { 200 } else { status };
    Ok(Json::new(status, ConnectionResponse::of(core, listed)))
}

/// The way that was asked for, or the first of the credential's kind.
fn way(definition: &Definition, id: Option<&WayId>, members: &Members) -> Result<std::rc::Rc<App>> {
    let kind = members.kind().ok_or_else(|| {
        Error::invalid(
            "credential.type",
            "must be one of oauth2, client_credentials, service_account, api_key, bot_token, basic.",
        )
    })?;
    let fits = |app: &&std::rc::Rc<App>| app.kind == kind && id.is_none_or(|id| app.way == *id);
    let found = definition.ways().iter().find(fits).cloned();
    found.ok_or_else(|| {
        let has: Vec<_> = definition.ways().iter().map(|app| format!("{} ({})", app.way, app.kind.as_str())).collect();
        let problem = format!("is no way to connect {}; it has {}.", definition.name, has.join(", "));
        Error::invalid(if id.is_some() { "way" } else { "credential.type" }, problem)
    })
}
