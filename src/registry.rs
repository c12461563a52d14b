//! From an app's id to its definition and its endpoints.
//!
//! Owns the order of look-up (a workspace's custom app, then the catalogue), the places of addresses, and discovery at
//! first use with its copy in the cache. Refuses to hand out a definition other than the one a connection
//! was made with.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{
    self, App, AppId, AuthMethod, AuthMethodId, DiscoveryError, OAuthServer, OutboundMethod, RequestError,
    ResolvedEndpoints, TemplateValues,
};
use crate::cache;
use crate::catalogue;
use crate::connection::Connection;
use crate::context::Context;
use crate::destinations::Destinations;
use crate::egress::EgressUrl;
use crate::error::{Error, ErrorCode, Result};
use crate::frozen;
use crate::ids::WorkspaceId;
use crate::ports::{AppResponse, Cache, HttpError, OutboundRequest, Ports};
use crate::secret::Secret;
use crate::store;
use crate::time::Timestamp;
use crate::vault::SealContext;

/// Seconds a discovery document is kept.
const DISCOVERY_TTL_SECONDS: i64 = 3600;
/// How long a discovery may take, in milliseconds.
const DISCOVERY_TIMEOUT_MS: u32 = 10_000;

/// An app as a workspace knows it now.
#[derive(Debug, Clone)]
pub struct AppRevision {
    /// The definition.
    pub app: Rc<App>,
    /// Its revision; 0 for the catalogue.
    pub revision: i64,
}

/// The definition a connection was made with, from what was read beside it.
pub fn parse_app_revision<P: Ports>(
    context: &Context<P>,
    id: &AppId,
    revision: i64,
    stored: Option<&str>,
) -> Result<Rc<App>> {
    if revision == 0 {
        return catalogue::find(id.as_str())
            .ok_or_else(|| Error::internal(format!("the catalogue has no app {id} any more")));
    }
    let text = stored.ok_or_else(|| Error::internal(format!("revision {revision} of the app {id} is missing")))?;
    // Read again where it fails: only then are the problems wanted.
    let parse = |text: &str| app::read_stored_definition(text, context.config.egress).ok().map(App::into_custom);
    let read = context.ports.isolate_cache().definitions().get_or_parse(text, parse);
    read.ok_or_else(|| {
        let problems = app::read_stored_definition(text, context.config.egress).err().unwrap_or_default();
        unreadable_definition_error(id, revision, &problems)
    })
}

/// A definition that an earlier version took and this one does not: whoever wrote it can mend it.
fn unreadable_definition_error(id: &AppId, revision: i64, problems: &[app::FieldProblem]) -> Error {
    let named = problems.first().map_or_else(String::new, |one| format!(" {} {}.", one.field, one.problem));
    let detail = format!(
        "The definition of the app {id} (revision {revision}) can't be used any more:{named} Put a corrected one (PUT /v1/apps/{id}) and connect again."
    );
    let mut error = Error::new(ErrorCode::Conflict, detail);
    error.cause = Some(format!("revision {revision} of the app {id} can't be read"));
    error
}

/// One way to connect of a definition that a connection was made with.
pub fn auth_method(app: &App, auth_method: &AuthMethodId) -> Result<Rc<AuthMethod>> {
    let gone = || Error::internal(format!("the app {} has no way {auth_method} to connect any more", app.id));
    app.auth_method(Some(auth_method)).ok_or_else(gone)
}

/// The app as new flows see it.
pub async fn load_current_app<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &AppId,
) -> Result<Option<AppRevision>> {
    match store::apps::get_current(context.db(), workspace, id).await? {
        Some(row) => Ok(Some(AppRevision {
            app: parse_app_revision(context, id, row.revision, Some(&row.definition))?,
            revision: row.revision,
        })),
        None => Ok(catalogue::find(id.as_str()).map(|app| AppRevision { app, revision: 0 })),
    }
}

/// The same.
///
/// # Errors
/// `not_found` where the workspace knows no such app.
pub async fn require_current_app<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &AppId,
) -> Result<AppRevision> {
    load_current_app(context, workspace, id).await?.ok_or_else(|| Error::not_found("app"))
}

/// The app at the revision a connection, flow or job was made with.
pub async fn load_app_at_revision<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    id: &AppId,
    revision: i64,
) -> Result<Rc<App>> {
    if revision == 0 {
        return parse_app_revision(context, id, 0, None);
    }
    let row = store::apps::get_revision(context.db(), workspace, id, revision).await?;
    parse_app_revision(context, id, revision, row.as_ref().map(|row| row.definition.as_str()))
}

/// The app of a connection, by the way it was made.
pub async fn load_auth_method<P: Ports>(context: &Context<P>, connection: &Connection) -> Result<Rc<AuthMethod>> {
    let Connection { workspace, app, app_revision, .. } = connection;
    auth_method(&*load_app_at_revision(context, workspace, app, *app_revision).await?, &connection.auth_method)
}

/// Where the secrets of a connection may go; `None` where its definition can't be read any more, or its issuer does not
/// say where its endpoints are.
pub async fn load_destinations<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
) -> Result<Option<Rc<Destinations>>> {
    if let Some(stored) = &connection.destinations {
        return Ok(Some(Rc::new(stored.clone())));
    }
    keep_database_errors(
        async { resolve_destinations(context, connection, &*load_auth_method(context, connection).await?).await }.await,
    )
}

/// The same, where the definition that it was made by is at hand.
pub async fn load_destinations_with_method<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    auth_method: &AuthMethod,
) -> Result<Option<Rc<Destinations>>> {
    match &connection.destinations {
        Some(stored) => Ok(Some(Rc::new(stored.clone()))),
        None => keep_database_errors(resolve_destinations(context, connection, auth_method).await),
    }
}

async fn resolve_destinations<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    auth_method: &AuthMethod,
) -> Result<Rc<Destinations>> {
    let endpoints = load_endpoints_if_any(context, auth_method, &connection.variables).await?;
    Ok(connection.destinations(auth_method, endpoints.as_ref()))
}

/// Only a database that does not answer is a failure.
fn keep_database_errors(found: Result<Rc<Destinations>>) -> Result<Option<Rc<Destinations>>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == ErrorCode::DatabaseUnavailable => Err(error),
        Err(_) => Ok(None),
    }
}

/// A request that can't be built of what is stored.
pub fn unfilled_request_error(auth_method: &AuthMethod, problem: &RequestError) -> Error {
    Error::internal(format!("an address or parameter of {} {problem}", auth_method.app_id))
}

/// A request that can't be built of what somebody has just given.
pub fn invalid_value_error(auth_method: &AuthMethod, problem: &RequestError) -> Error {
    match problem {
        RequestError::InvalidValue(name) => Error::invalid_field(
            &value_path(auth_method, name),
            "has a character that can't stand where it is sent, such as a colon in a user name.",
        ),
        RequestError::InvalidUrl(_) => Error::invalid_field("variables", "lead to an address that is not allowed."),
        RequestError::MissingValue(_) | RequestError::DestinationNotAllowed => {
            unfilled_request_error(auth_method, problem)
        }
    }
}

/// Where a request has the value of a place; what the app told stands in none.
fn value_path(auth_method: &AuthMethod, name: &str) -> String {
    if auth_method.fields.iter().any(|field| field.id == name) {
        return app::field_path(name);
    }
    if auth_method.variables.contains_key(name) { app::variable_path(name) } else { name.to_owned() }
}

/// Requests that the discovery of endpoints may take: the cache is asked for the issuer's document, then the issuer at two
/// addresses, then it is kept.
pub const DISCOVERY_SUBREQUESTS: i64 = 4;

/// The endpoints of the app's OAuth server, if it has one.
pub async fn load_endpoints_if_any<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    variables: &BTreeMap<String, String>,
) -> Result<Option<ResolvedEndpoints>> {
    match auth_method.oauth_server() {
        None => Ok(None),
        Some(_) => load_endpoints(context, auth_method, variables).await.map(Some),
    }
}

/// The app's endpoints: written down, or discovered at its issuer and kept for an hour.
pub async fn load_endpoints<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    variables: &BTreeMap<String, String>,
) -> Result<ResolvedEndpoints> {
    let values = TemplateValues::new().with_all(variables);
    if let Some(fixed) = auth_method.resolve_fixed_endpoints(&values) {
        return fixed.map_err(|problem| invalid_value_error(auth_method, &problem));
    }
    let issuer = auth_method.issuer().ok_or_else(|| Error::internal("an app without endpoints and issuer"))?;
    let issuer = &issuer.fill(&values).map_err(|problem| invalid_value_error(auth_method, &problem))?;
    let key = cache::discovery_entry_name(issuer);
    if let Ok(Some(sealed)) = context.ports.cache().get(&key).await
        // Sealed, so that nobody who can only write to the cache decides where secrets go.
        && let Ok(text) = context.config.key_ring.open(&document_seal_context(&key), &sealed)
        && let Some(document) = unexpired_document(text.expose(), context.now())
        && let Ok(found) = endpoints_from_document(context, auth_method, issuer, document.as_bytes())
    {
        return Ok(found);
    }
    let (found, text) = discover_endpoints(context, auth_method, issuer).await?;
    let text = Secret::new(format!("{} {text}", context.now().unix()));
    let sealed = context.config.key_ring.seal(context.ports.random(), &document_seal_context(&key), &text)?;
    if let Err(error) = context.ports.cache().put(&key, &sealed, DISCOVERY_TTL_SECONDS).await {
        context.log_cache_error(&error);
    }
    Ok(found)
}

/// The document in a cache entry, which tells when it was read: whoever can write to the cache could bring an old entry
/// back otherwise.
fn unexpired_document(text: &str, now: Timestamp) -> Option<&str> {
    let (at, document) = text.split_once(' ')?;
    let age = now.since(Timestamp::from_unix(at.parse().ok()?));
    (age <= DISCOVERY_TTL_SECONDS).then_some(document)
}

/// A public document is no workspace's. It is sealed so that it can't be replaced.
fn document_seal_context(key: &str) -> SealContext<'_> {
    SealContext::of(frozen::CACHED_DISCOVERY, "", key, 0)
}

/// Asks the issuer, first where `OpenID` Connect Discovery puts the document, then where RFC 8414 does.
async fn discover_endpoints<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    issuer: &EgressUrl,
) -> Result<(ResolvedEndpoints, String)> {
    let mut problem = no_endpoints_error(auth_method);
    for url in app::discovery_urls(issuer) {
        let request = OutboundRequest::new(OutboundMethod::Get, url, vec![], DISCOVERY_TIMEOUT_MS)
            .with_headers_and_body(vec![("accept".into(), "application/json".into())], None);
        match context.send(request).await {
            Ok(AppResponse { status: 200, body, .. }) => {
                match endpoints_from_document(context, auth_method, issuer, &body) {
                    Ok(found) => return Ok((found, String::from_utf8_lossy(&body).into_owned())),
                    Err(error) => {
                        problem = Error::new(
                            ErrorCode::AppUnavailable,
                            format!("{} can't be used as it describes itself: {error}.", auth_method.app_name),
                        );
                    }
                }
            }
            Ok(_)
            | Err(
                HttpError::Timeout
                | HttpError::Network
                | HttpError::TooLarge
                | HttpError::NotPermitted
                | HttpError::RequestTooLarge,
            ) => {}
        }
    }
    Err(problem)
}

fn endpoints_from_document<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    issuer: &EgressUrl,
    body: &[u8],
) -> std::result::Result<ResolvedEndpoints, DiscoveryError> {
    auth_method.resolve_discovered_endpoints(&app::read_discovery_document(issuer, body, context.config.egress)?)
}

fn no_endpoints_error(auth_method: &AuthMethod) -> Error {
    Error::new(
        ErrorCode::AppUnavailable,
        format!(
            "The discovery document of {} could not be read. Try again, and check the issuer address.",
            auth_method.app_name
        ),
    )
    .with_hints(|h| h.retry_after = Some(30))
}

impl AuthMethod {
    /// Its OAuth server.
    ///
    /// # Errors
    /// It has none: a pasted credential needs no server. Whoever asks all the same has a fault.
    pub fn require_oauth_server(&self) -> Result<&OAuthServer> {
        self.oauth_server().ok_or_else(|| Error::internal(format!("{} has no OAuth server", self.app_id)))
    }
}
