//! Apps and their OAuth clients.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Deserialize;

use super::app_list::{self, ListedApp};
use super::body::{DeletedResponse, Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{AppDetailsResponse, OAuthClientResponse, UpdatedAppResponse};
use super::{Call, input};
use crate::app::{
    App, AppId, AuthMethod, CredentialKind, FieldPlacement, ValueFormat, strip_invisible, unwrap_pasted_value,
};
use crate::authorize;
use crate::catalogue;
use crate::client::{Client, ClientSecret};
use crate::connect::client_setup::{self, NewClient, NewSecret};
use crate::connect::recent_client_test::{self, RecentTest};
use crate::connect::start;
use crate::context::Context;
use crate::definition_moves;
use crate::error::{Error, ErrorCode, FieldError, Result};
use crate::ids::ClientId;
use crate::ports::{DatabaseError, Ports};
use crate::quotas::{self, Quota};
use crate::registry::{self, AppRevision};
use crate::secret::Secret;
use crate::signing_key::SigningKey;
use crate::store::clients::WorkspaceClients;
use crate::store::{self, apps::AppRow};
use crate::time::Timestamp;

/// Bytes of the name of a client's private key, at most.
const MAX_KEY_NAME_BYTES: usize = 256;

fn app_not_found() -> Error {
    Error::not_found("app")
}

/// The custom app a key may change, as it is now. The catalogue's are the same for everybody.
async fn load_custom_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<AppRow> {
    let id = call.path_app()?;
    match store::apps::get_current(context.db(), &call.caller_key()?.workspace, id).await? {
        Some(row) => Ok(row),
        None => Err(catalogue::find(id.as_str()).map_or_else(app_not_found, |app| catalogue_app_error(&app.name))),
    }
}

fn catalogue_app_error(name: &str) -> Error {
    Error::new(
        ErrorCode::Conflict,
        format!(
            "{name} belongs to the catalogue and can't be changed here. Define an app of your own under another id: POST /v1/apps."
        ),
    )
}

pub(super) async fn load_registered_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<AppRevision> {
    registry::load_current_app(context, &call.caller_key()?.workspace, call.path_app()?)
        .await?
        .ok_or_else(app_not_found)
}

pub(super) async fn list_apps<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<AppDetailsResponse>>> {
    let key = call.caller_key()?;
    let filters = QueryParams::parse_list_query(call.request, &["q", "category"])?;
    let text = filters.get("q").map(str::to_lowercase);
    let category = filters.get("category");
    let clients = store::clients::list(context.db(), &key.workspace).await?;
    let shown: Vec<_> = app_list::load_all(context, &key.workspace)
        .await?
        .into_iter()
        .filter(|one| AppId::parse(one.id()).is_some_and(|id| authorize::sees_app(key, &id)))
        .filter(|one| {
            text.as_ref().is_none_or(|text| one.name().to_lowercase().contains(text) || one.id().contains(text))
        })
        .filter(|one| category.is_none_or(|category| one.categories().iter().any(|one| one == category)))
        .collect();
    app_page_response(context, call, &shown, &filters, &clients)
}

/// The cursor is the last app's id: the list is sorted by it.
fn app_page_response<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    shown: &[ListedApp],
    filters: &QueryParams,
    clients: &WorkspaceClients,
) -> Result<Json<ListResponse<AppDetailsResponse>>> {
    let limit = usize::try_from(filters.limit()?).unwrap_or(usize::MAX);
    let after = filters.cursor(AppId::parse)?;
    let rest: Vec<_> =
        shown.iter().filter(|one| after.as_ref().is_none_or(|after| one.id() > after.as_str())).collect();
    let shown = rest.iter().take(limit).filter_map(|one| Some((one, one.load_app()?)));
    let workspace = &call.caller_key()?.workspace;
    let data = shown
        .map(|(one, app)| {
            AppDetailsResponse::of(context, workspace, clients, &app, matches!(one, ListedApp::Custom(_)))
        })
        .collect();
    let next = rest.get(limit.saturating_sub(1)).filter(|_| rest.len() > limit).map(|one| one.id().to_owned());
    Ok(Json::ok(ListResponse { data, next_cursor: next }))
}

pub(super) async fn get_app<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<AppDetailsResponse>> {
    let one = load_registered_app(context, call).await?;
    Ok(Json::ok(app_json(context, call, &one.app, one.revision > 0).await?))
}

async fn app_json<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    custom: bool,
) -> Result<AppDetailsResponse> {
    let workspace = &call.caller_key()?.workspace;
    let clients = store::clients::list(context.db(), workspace).await?;
    Ok(AppDetailsResponse::of(context, workspace, &clients, app, custom))
}

fn parse_app<P: Ports>(context: &Context<P>, text: &str) -> Result<App> {
    catalogue::read_custom_definition(text, context.config.egress).map_err(|problems| {
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

pub(super) async fn create_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CustomAppRequest>,
) -> Result<Json<AppDetailsResponse>> {
    let text = body.text()?;
    let app = parse_app(context, text)?;
    let workspace = &call.caller_key()?.workspace;
    if store::apps::get_current(context.db(), workspace, &app.id).await?.is_some() {
        return Err(app_exists_error(&app.id));
    }
    store_revision(context, call, &app, text, &[Quota::Apps, Quota::Revisions(&app.id)]).await?;
    Ok(Json::created(app_json(context, call, &app, true).await?))
}

fn app_exists_error(id: &AppId) -> Error {
    Error::new(
        ErrorCode::AlreadyExists,
        format!(
            "There is an app {id} in this workspace already. Change it with PUT /v1/apps/{id}, or choose another id."
        ),
    )
}

/// A new revision. Connections of earlier ones follow where [`definition_moves`] allows.
async fn store_revision<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    app: &App,
    text: &str,
    limits: &[Quota<'_>],
) -> Result<()> {
    let workspace = &call.caller_key()?.workspace;
    let revision = store::apps::latest_revision(context.db(), workspace, &app.id).await? + 1;
    let row = AppRow { id: app.id.clone(), revision, definition: text.to_owned() };
    store::apps::prune(context.db(), workspace, &row, context.now()).await?;
    let put =
        store::apps::put(&quotas::guard_database(context, workspace, limits), workspace, &row, context.now()).await;
    let was_refused = put == Err(DatabaseError::Constraint);
    match quotas::map_insert_error(context, workspace, limits, put).await {
        Err(error) if was_refused && error.code == ErrorCode::Internal => Err(Error::new(
            ErrorCode::Conflict,
            "The app was changed elsewhere at the same moment. Read it again, then retry.",
        )),
        put => put,
    }
}

/// Whether two texts are the same JSON, whatever their white space and the order of their members.
fn is_same_json(left: &str, right: &str) -> bool {
    let parsed = |text| serde_json::from_str::<serde_json::Value>(text).ok();
    parsed(left).is_some_and(|left| parsed(right) == Some(left))
}

pub(super) async fn update_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CustomAppRequest>,
) -> Result<Json<UpdatedAppResponse>> {
    let AppRow { id, definition: current, .. } = load_custom_app(context, call).await?;
    let text = body.text()?;
    let app = parse_app(context, text)?;
    if app.id != id {
        return Err(Error::invalid_field("id", format!("must be {id}: an app keeps its id.")));
    }
    if !is_same_json(&current, text) {
        store_revision(context, call, &app, text, &[Quota::Revisions(&app.id)]).await?;
    }
    let key = call.caller_key()?;
    // Also where nothing was changed: what stood against a move may be gone.
    let connections = definition_moves::begin(context, &key.workspace, &app.id, &call.key_actor()?).await?;
    Ok(Json::ok(UpdatedAppResponse::of(app_json(context, call, &app, true).await?, connections)))
}

pub(super) async fn delete_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<AppId>>> {
    let id = load_custom_app(context, call).await?.id;
    if !store::apps::remove(context.db(), &call.caller_key()?.workspace, &id, context.now()).await? {
        return Err(app_not_found());
    }
    Ok(Json::ok(DeletedResponse::of(id)))
}

/// The way of an app that people consent to at the app: the one that needs a client.
async fn load_oauth2_method<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Rc<AuthMethod>> {
    let app = load_registered_app(context, call).await?.app;
    let unknown = || Error::not_found("way to connect this app");
    QueryParams::parse_known(call.request, &["auth_method"])?;
    let found = match input::auth_method_param(call.request)? {
        Some(id) => {
            let auth_method = app.auth_method(Some(&id)).ok_or_else(unknown)?;
            if auth_method.kind != CredentialKind::OAuth2 {
                return Err(no_client_needed_error(&format!("The way {} of {}", auth_method.method_id, app.name)));
            }
            Some(auth_method)
        }
        None => app.oauth2_method(),
    };
    found.ok_or_else(|| no_client_needed_error(&app.name))
}

fn no_client_needed_error(what: &str) -> Error {
    Error::new(ErrorCode::Conflict, format!("{what} needs no OAuth client. The credential is entered when connecting."))
}

async fn load_current_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<(Rc<AuthMethod>, Client)> {
    let auth_method = load_oauth2_method(context, call).await?;
    let client =
        store::clients::get_current(context.db(), &call.caller_key()?.workspace, auth_method.registration()).await?;
    let client = client.ok_or_else(|| Error::not_found("OAuth client for this app"))?;
    Ok((auth_method, client))
}

pub(super) async fn get_client<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<OAuthClientResponse>> {
    let (auth_method, client) = load_current_client(context, call).await?;
    Ok(Json::ok(OAuthClientResponse::of(context, client, &auth_method)))
}

/// Tells what the app makes of the client, before anybody connects.
pub(super) async fn test_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, TestClientInput>,
) -> Result<Json<RecentTest>> {
    let (auth_method, client) = load_current_client(context, call).await?;
    let input = body.read()?;
    Ok(Json::ok(recent_client_test::run_or_reuse(context, &auth_method, &client, &input.variables).await?))
}

/// With what an app's OAuth client is tried.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TestClientRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct TestClientInput {
    /// What a person would give for the app's addresses.
    #[serde(default)]
    variables: BTreeMap<String, String>,
}

/// An app's OAuth client, as it was made at the app.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PutClientRequest"))]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "absent, null and a secret are three different wishes")]
pub(super) struct PutClientInput {
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

impl PutClientInput {
    fn secret(&self) -> Option<&Secret> {
        self.client_secret.as_ref()?.as_ref()
    }

    /// Without what copying brings along, as for every credential that is entered.
    fn trim_pasted_text(self) -> Result<Self> {
        let one = |field: &str, text: &str| {
            let text = strip_invisible(text);
            let value = unwrap_pasted_value(&text, &FieldPlacement::default(), None)
                .map_err(|problem| Error::invalid_field(field, problem))?;
            Ok::<_, Error>(value.to_owned())
        };
        let secret = |secret: Secret| match secret.expose() {
            key if ClientSecret::is_private_key(key) => Ok(Secret::new(strip_invisible(key))),
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
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, PutClientInput>,
) -> Result<Json<OAuthClientResponse>> {
    let auth_method = load_oauth2_method(context, call).await?;
    let new = body.read()?.trim_pasted_text()?;
    validate_client(&new, context.now())?;
    let seal = |secret| ClientSecret::text_to_seal(secret, new.key_id.as_deref(), new.certificate.as_deref());
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
    let client = client_setup::put(context, &call.caller_key()?.workspace, &auth_method, new).await?;
    if auth_method.is_custom {
        // Connections that stayed with an earlier definition for want of a client may follow now.
        let due = context.now();
        if let Err(error) =
            store::definition_moves::restart(context.db(), &client.workspace, &auth_method.app_id, due).await
        {
            context.log_cause(&error.into());
        }
    }
    Ok(Json::ok(OAuthClientResponse::of(context, client, &auth_method)))
}

fn validate_client(new: &PutClientInput, now: Timestamp) -> Result<()> {
    require_visible_ascii("client_id", &new.client_id, "Copy it again from the app.")?;
    let names = [("key_id", &new.key_id), ("certificate", &new.certificate)];
    for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name.as_ref()?))) {
        require_visible_ascii(field, name, "Leave it out where there is none.")?;
        if name.len() > MAX_KEY_NAME_BYTES {
            return Err(Error::invalid_field(field, format!("is over {MAX_KEY_NAME_BYTES} bytes.")));
        }
    }
    let is_key = new.secret().is_some_and(|secret| ClientSecret::is_private_key(secret.expose()));
    if !is_key && let Some((field, _)) = names.into_iter().find(|(_, name)| name.is_some()) {
        return Err(Error::invalid_field(field, "needs a private key. Send the key in client_secret."));
    }
    if let Some(secret) = new.secret().filter(|_| is_key) {
        SigningKey::from_pem(secret.expose())
            .map_err(|problem| Error::invalid_field("client_secret", problem.to_string()))?;
    } else if let Some(secret) = new.secret() {
        require_visible_ascii(
            "client_secret",
            secret.expose(),
            "Copy it again from the app; send null for a public client.",
        )?;
    }
    if new.client_secret.as_ref().is_some_and(Option::is_none) && new.secret_expires_at.is_some() {
        return Err(Error::invalid_field("secret_expires_at", "is the end of a secret, and client_secret is null."));
    }
    if new.secret_expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid_field(
            "secret_expires_at",
            "has passed. Enter a secret that is valid, with its end, or leave this out.",
        ));
    }
    start::validate_scopes(new.scopes.as_deref().unwrap_or_default())
}

/// A line that can be sent as it is; else what is wrong with it, and what to do.
fn require_visible_ascii(field: &str, text: &str, remedy: &str) -> Result<()> {
    let problem = if text.is_empty() { Some("is missing.".to_owned()) } else { ValueFormat::Ascii.find_problem(text) };
    problem.map_or(Ok(()), |problem| Err(Error::invalid_field(field, format!("{problem} {remedy}"))))
}

pub(super) async fn delete_client<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedResponse<ClientId>>> {
    let (_, client) = load_current_client(context, call).await?;
    if !store::clients::delete(context.db(), &client.workspace, &client.id).await? {
        return Err(Error::new(
            ErrorCode::ClientInUse,
            "Connections still use this client. Disconnect them first, or rotate the secret with PUT instead.",
        ));
    }
    Ok(Json::ok(DeletedResponse::of(client.id)))
}
