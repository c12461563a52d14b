//! Apps and their OAuth clients.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use super::body::{DeletedResponse, Json, ListResponse, Unread};
use super::input::Filters;
use super::known::{self, Known};
use super::view::{AppDetailsResponse, OAuthClientResponse, UpdatedAppResponse};
use super::{Call, input};
use crate::app::{App, AppId, Definition, Form, Kind, Usage, clean, unwrapped};
use crate::authorize;
use crate::catalogue;
use crate::client::{Client, ClientSecret};
use crate::connect::client_setup::{self, NewClient, NewSecret};
use crate::connect::recent_test::{self, RecentTest};
use crate::connect::start;
use crate::core::Core;
use crate::definition_moves;
use crate::error::{Code, Error, FieldError, Result};
use crate::ids::ClientId;
use crate::ports::{DatabaseError, Ports};
use crate::quotas::{self, Quota};
use crate::registry::{self, Registered};
use crate::secret::Secret;
use crate::store::clients::Registrations;
use crate::store::{self, apps::AppRow};
use crate::time::Timestamp;
use crate::token::SigningKey;

/// Bytes of the name of a client's private key, at most.
const LONGEST_KEY_NAME: usize = 256;

fn missing() -> Error {
    Error::not_found("app")
}

/// The custom app a key may change, as it is now. The catalogue's are the same for everybody.
async fn custom<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<AppRow> {
    let id = call.app()?;
    match store::apps::current(core.db(), &call.key()?.workspace, id).await? {
        Some(row) => Ok(row),
        None => Err(catalogue::find(id.as_str()).map_or_else(missing, |app| unchangeable(&app.name))),
    }
}

fn unchangeable(name: &str) -> Error {
    Error::new(
        Code::Conflict,
        format!(
            "{name} belongs to the catalogue and can't be changed here. Define an app of your own under another id: POST /v1/apps."
        ),
    )
}

pub(super) async fn registered<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Registered> {
    registry::current(core, &call.key()?.workspace, call.app()?).await?.ok_or_else(missing)
}

pub(super) async fn list<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<ListResponse<AppDetailsResponse>>> {
    let key = call.key()?;
    let filters = Filters::of(call.request, &["q", "category"])?;
    let text = filters.get("q").map(str::to_lowercase);
    let category = filters.get("category");
    let clients = store::clients::registrations(core.db(), &key.workspace).await?;
    let shown: Vec<_> = known::all(core, &key.workspace)
        .await?
        .into_iter()
        .filter(|one| AppId::parse(one.id()).is_some_and(|id| authorize::sees_app(key, &id)))
        .filter(|one| {
            text.as_ref().is_none_or(|text| one.name().to_lowercase().contains(text) || one.id().contains(text))
        })
        .filter(|one| category.is_none_or(|category| one.categories().iter().any(|one| one == category)))
        .collect();
    page(core, (&shown, &filters), call, &clients)
}

/// The cursor is the last app's id: the list is sorted by it.
fn page<P: Ports>(
    core: &Core<P>,
    (shown, filters): (&[Known], &Filters),
    call: &Call<'_>,
    clients: &Registrations,
) -> Result<Json<ListResponse<AppDetailsResponse>>> {
    let limit = usize::try_from(filters.limit()?).unwrap_or(usize::MAX);
    let after = filters.cursor(AppId::parse)?;
    let rest: Vec<_> =
        shown.iter().filter(|one| after.as_ref().is_none_or(|after| one.id() > after.as_str())).collect();
    let shown = rest.iter().take(limit).filter_map(|one| Some((one, one.definition()?)));
    let workspace = &call.key()?.workspace;
    let data = shown
        .map(|(one, definition)| {
            AppDetailsResponse::of(core, (workspace, clients), &definition, matches!(one, Known::Custom(_)))
        })
        .collect();
    let next = rest.get(limit.saturating_sub(1)).filter(|_| rest.len() > limit).map(|one| one.id().to_owned());
    Ok(Json::ok(ListResponse { data, next_cursor: next }))
}

pub(super) async fn get<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<AppDetailsResponse>> {
    let one = registered(core, call).await?;
    Ok(Json::ok(shown(core, call, &one.definition, one.revision > 0).await?))
}

async fn shown<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    definition: &Definition,
    custom: bool,
) -> Result<AppDetailsResponse> {
    let workspace = &call.key()?.workspace;
    let clients = store::clients::registrations(core.db(), workspace).await?;
    Ok(AppDetailsResponse::of(core, (workspace, &clients), definition, custom))
}

fn definition<P: Ports>(core: &Core<P>, text: &str) -> Result<Definition> {
    catalogue::read_custom(text, core.config.egress).map_err(|problems| {
        let told = |FieldError { field, problem }| match field.as_str() {
            "." => FieldError { field: String::new(), problem: format!("The body {problem}.") },
            _ => FieldError { field, problem: format!("{problem}.") },
        };
        let problems = problems.into_iter().map(|one| FieldError { field: one.field, problem: one.problem });
        Error::invalid_fields(problems.map(told).collect())
    })
}

/// An app's definition, at most 64 KB. It is read by the reader of the catalogue, not by serde.
pub(super) struct CustomAppRequest;

pub(super) async fn create<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, CustomAppRequest>,
) -> Result<Json<AppDetailsResponse>> {
    let text = body.text()?;
    let app = definition(core, text)?;
    let workspace = &call.key()?.workspace;
    if store::apps::current(core.db(), workspace, &app.id).await?.is_some() {
        return Err(taken(&app.id));
    }
    put_revision(core, call, &app, text, &[Quota::Apps, Quota::Revisions(&app.id)]).await?;
    Ok(Json::created(shown(core, call, &app, true).await?))
}

fn taken(id: &AppId) -> Error {
    Error::new(
        Code::AlreadyExists,
        format!(
            "There is an app {id} in this workspace already. Change it with PUT /v1/apps/{id}, or choose another id."
        ),
    )
}

/// A new revision. Connections of earlier ones follow where [`definition_moves`] allows.
async fn put_revision<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    app: &Definition,
    text: &str,
    limits: &[Quota<'_>],
) -> Result<()> {
    let workspace = &call.key()?.workspace;
    let revision = store::apps::latest_revision(core.db(), workspace, &app.id).await? + 1;
    let row = AppRow { id: app.id.clone(), revision, definition: text.to_owned() };
    store::apps::prune(core.db(), workspace, &row, core.now()).await?;
    let put = store::apps::put(&quotas::guarded(core, workspace, limits), workspace, &row, core.now()).await;
    let was_refused = put == Err(DatabaseError::Constraint);
    match quotas::allowed(core, workspace, limits, put).await {
        Err(error) if was_refused && error.code == Code::Internal => Err(Error::new(
            Code::Conflict,
            "The app was changed elsewhere at the same moment. Read it again and retry.",
        )),
        put => put,
    }
}

/// Whether two texts are the same JSON, whatever their white space and the order of their members.
fn is_same(left: &str, right: &str) -> bool {
    let parsed = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parsed(left).is_some_and(|left| parsed(right) == Some(left))
}

pub(super) async fn put<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, CustomAppRequest>,
) -> Result<Json<UpdatedAppResponse>> {
    let AppRow { id, definition: current, .. } = custom(core, call).await?;
    let text = body.text()?;
    let app = definition(core, text)?;
    if app.id != id {
        return Err(Error::invalid("id", format!("must be {id}: an app keeps its id.")));
    }
    if !is_same(&current, text) {
        put_revision(core, call, &app, text, &[Quota::Revisions(&app.id)]).await?;
    }
    let key = call.key()?;
    // Also where nothing was changed: what stood against a move may be gone.
    let connections = definition_moves::begin(core, &key.workspace, &app.id, &call.key_actor()?).await?;
    Ok(Json::ok(UpdatedAppResponse::of(shown(core, call, &app, true).await?, connections)))
}

pub(super) async fn delete<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<DeletedResponse<AppId>>> {
    let id = custom(core, call).await?.id;
    if !store::apps::remove(core.db(), &call.key()?.workspace, &id, core.now()).await? {
        return Err(missing());
    }
    Ok(Json::ok(DeletedResponse::of(id)))
}

/// The way of an app that people consent to at the app: the one that needs a client.
async fn consented<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Rc<App>> {
    let definition = registered(core, call).await?.definition;
    let unknown = || Error::not_found("way to connect this app");
    Filters::only(call.request, &["way"])?;
    let found = match input::way(call.request)? {
        Some(id) => {
            let way = definition.way(Some(&id)).ok_or_else(unknown)?;
            if way.kind != Kind::OAuth2 {
                return Err(needs_none(&format!("The way {} of {}", way.way, definition.name)));
            }
            Some(way)
        }
        None => definition.oauth2(),
    };
    found.ok_or_else(|| needs_none(&definition.name))
}

fn needs_none(what: &str) -> Error {
    Error::new(Code::Conflict, format!("{what} needs no OAuth client: its credential is entered when connecting."))
}

async fn current_client<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<(Rc<App>, Client)> {
    let app = consented(core, call).await?;
    let client = store::clients::current(core.db(), &call.key()?.workspace, app.registration()).await?;
    let client = client.ok_or_else(|| Error::not_found("client: this app has none yet"))?;
    Ok((app, client))
}

pub(super) async fn get_client<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Json<OAuthClientResponse>> {
    let (app, client) = current_client(core, call).await?;
    Ok(Json::ok(OAuthClientResponse::of(core, client, &app)))
}

/// Tells what the app makes of the client, before anybody connects.
pub(super) async fn test_client<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, TrialInput>,
) -> Result<Json<RecentTest>> {
    let (app, client) = current_client(core, call).await?;
    let input = body.read()?;
    Ok(Json::ok(recent_test::test(core, &app, &client, &input.variables).await?))
}

/// With what an app's OAuth client is tried.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TestClientRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct TrialInput {
    /// What a person would give for the app's addresses.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// An app's OAuth client, as it was made at the app.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PutClientRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a secret are three different wishes")]
pub(super) struct ClientInput {
    /// As the app shows it.
    #[cfg_attr(test, schemars(length(min = 1, max = 4096)))]
    client_id: String,
    /// Left out: a secret stored before is kept (unless the app's hosts have changed); a new client without one is a public
    /// client. `null` removes the stored secret and makes the client public. A text with a PEM block is taken for a private
    /// key (PKCS#8, RSA of 2048 bits or more, or EC P-256; at most 16 KB): it is never sent, but signs an assertion for each
    /// request (RFC 7523, 2.2). Any other secret has at most 4096 characters.
    #[serde(default, deserialize_with = "input::present")]
    #[cfg_attr(test, schemars(with = "Option<Secret>", length(min = 1, max = 16384)))]
    client_secret: Option<Option<Secret>>,
    /// With a private key: how the app names it (`kid` of the assertion). Given together with the key; otherwise it is refused.
    #[cfg_attr(test, schemars(length(min = 1, max = 256)))]
    key_id: Option<String>,
    /// With a private key: the SHA-256 of its certificate's DER in unpadded base64url (`x5t#S256`), where the app asks for it.
    /// Given together with the key.
    #[cfg_attr(test, schemars(length(min = 1, max = 256)))]
    certificate: Option<String>,
    /// What the app's addresses depend on and whoever sets up the client gives: those of `client.variables` of the app's way.
    /// A default fills in what is left out; other names are refused.
    #[serde(default)]
    variables: BTreeMap<String, String>,
    /// Asked for instead of the app's defaults.
    scopes: Option<Vec<String>>,
    /// When the app will stop accepting the secret.
    secret_expires_at: Option<Timestamp>,
}

impl ClientInput {
    fn secret(&self) -> Option<&Secret> {
        self.client_secret.as_ref()?.as_ref()
    }

    /// Without what copying brings along, as for every credential that is entered.
    fn cleaned(self) -> Result<Self> {
        let one = |field: &str, text: &str| {
            let text = clean(text);
            let value = unwrapped(&text, &Usage::default(), None).map_err(|problem| Error::invalid(field, problem))?;
            Ok::<_, Error>(value.to_owned())
        };
        let secret = |secret: Secret| match secret.expose() {
            key if ClientSecret::is_key(key) => Ok(Secret::new(clean(key))),
            text => one("client_secret", text).map(Secret::new),
        };
        Ok(Self {
            client_id: one("client_id", &self.client_id)?,
            client_secret: self.client_secret.map(|given| given.map(secret).transpose()).transpose()?,
            key_id: self.key_id.map(|text| one("key_id", &text)).transpose()?,
            certificate: self.certificate.map(|text| one("certificate", &text)).transpose()?,
            ..self
        })
    }
}

/// The same id at the app rotates the secret and keeps our id and the redirect URI; another id makes another client beside
/// it, and connections stay with theirs.
pub(super) async fn put_client<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    body: Unread<'_, ClientInput>,
) -> Result<Json<OAuthClientResponse>> {
    let app = consented(core, call).await?;
    let new = body.read()?.cleaned()?;
    check(&new, core.now())?;
    let seal = |secret| ClientSecret::to_seal(secret, new.key_id.as_deref(), new.certificate.as_deref());
    let secret = match (new.secret(), &new.client_secret) {
        (Some(secret), _) => NewSecret::Is(seal(secret)),
        (None, Some(_)) => NewSecret::Removed,
        (None, None) => NewSecret::Kept,
    };
    let new = NewClient {
        secret,
        client_id: new.client_id,
        variables: new.variables,
        scopes: new.scopes,
        secret_expires_at: new.secret_expires_at,
    };
    let client = client_setup::put(core, &call.key()?.workspace, &app, new).await?;
    if app.custom {
        // Connections that stayed with an earlier definition for want of a client may follow now.
        let due = core.now();
        if let Err(error) = store::definition_moves::restart(core.db(), &client.workspace, &app.id, due).await {
            core.log_cause(&error.into());
        }
    }
    Ok(Json::ok(OAuthClientResponse::of(core, client, &app)))
}

fn check(new: &ClientInput, now: Timestamp) -> Result<()> {
    visible("client_id", &new.client_id, "Copy it again from the app.")?;
    let names = [("key_id", &new.key_id), ("certificate", &new.certificate)];
    for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name.as_ref()?))) {
        visible(field, name, "Leave it out where there is none.")?;
        if name.len() > LONGEST_KEY_NAME {
            return Err(Error::invalid(field, format!("is over {LONGEST_KEY_NAME} bytes.")));
        }
    }
    let is_key = new.secret().is_some_and(|secret| ClientSecret::is_key(secret.expose()));
    if !is_key && let Some((field, _)) = names.into_iter().find(|(_, name)| name.is_some()) {
        return Err(Error::invalid(field, "names a private key: give that in client_secret, too."));
    }
    if let Some(secret) = new.secret().filter(|_| is_key) {
        SigningKey::from_pem(secret.expose())
            .map_err(|problem| Error::invalid("client_secret", problem.to_string()))?;
    } else if let Some(secret) = new.secret() {
        visible("client_secret", secret.expose(), "Copy it again from the app; send null for a public client.")?;
    }
    if new.client_secret.as_ref().is_some_and(Option::is_none) && new.secret_expires_at.is_some() {
        return Err(Error::invalid("secret_expires_at", "is the end of a secret, and client_secret is null."));
    }
    if new.secret_expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid(
            "secret_expires_at",
            "has passed. Enter a secret that is valid, with its end, or leave this out.",
        ));
    }
    start::fit(new.scopes.as_deref().unwrap_or_default())
}

/// A line that can be sent as it is; else what is wrong with it, and what to do.
fn visible(field: &str, text: &str, remedy: &str) -> Result<()> {
    let problem = if text.is_empty() { Some("is missing.".to_owned()) } else { Form::Ascii.misfit(text) };
    problem.map_or(Ok(()), |problem| Err(Error::invalid(field, format!("{problem} {remedy}"))))
}

pub(super) async fn delete_client<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<ClientId>>> {
    let (_, client) = current_client(core, call).await?;
    if !store::clients::delete(core.db(), &client.workspace, &client.id).await? {
        return Err(Error::new(
            Code::ClientInUse,
            "Connections still use this client. Disconnect them first, or rotate the secret with PUT instead.",
        ));
    }
    Ok(Json::ok(DeletedResponse::of(client.id)))
}
