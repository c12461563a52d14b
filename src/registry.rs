//! From an app's id to its definition and its endpoints.
//!
//! Owns the order of look-up (a workspace's custom app, then the catalogue), the places of addresses, and discovery at
//! first use with its copy in the cache. Refuses to hand out a definition other than the one a connection
//! was made with.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{self, App, AppId, Definition, DiscoveryError, OAuth2, RequestError, Resolved, Values, WayId};
use crate::catalogue;
use crate::connection::Connection;
use crate::core::Core;
use crate::destinations::Destinations;
use crate::egress::Address;
use crate::error::{Code, Error, Result};
use crate::frozen;
use crate::ids::WorkspaceId;
use crate::ports::{Cache, HttpError, Inbound, Outbound, OutboundMethod, Ports};
use crate::secret::Secret;
use crate::store;
use crate::time::Timestamp;
use crate::vault::Place;

/// Seconds a discovery document is kept.
const DISCOVERY_TTL: i64 = 3600;
/// How long a discovery may take, in milliseconds.
const DISCOVERY_TIMEOUT: u32 = 10_000;

/// An app as a workspace knows it now.
#[derive(Debug, Clone)]
pub struct Registered {
    /// The definition.
    pub definition: Rc<Definition>,
    /// Its revision; 0 for the catalogue.
    pub revision: i64,
}

/// The definition a connection was made with, from what was read beside it.
pub fn definition<P: Ports>(core: &Core<P>, id: &AppId, revision: i64, stored: Option<&str>) -> Result<Rc<Definition>> {
    if revision == 0 {
        return catalogue::find(id.as_str())
            .ok_or_else(|| Error::internal(format!("the catalogue has no app {id} any more")));
    }
    let text = stored.ok_or_else(|| Error::internal(format!("revision {revision} of the app {id} is missing")))?;
    // Read again where it fails: only then are the problems wanted.
    let parse = |text: &str| app::read_stored(text, core.config.egress).ok().map(Definition::of_workspace);
    let read = core.ports.memo().definitions().get(text, parse);
    read.ok_or_else(|| {
        let problems = app::read_stored(text, core.config.egress).err().unwrap_or_default();
        unreadable(id, revision, &problems)
    })
}

/// A definition that an earlier version took and this one does not: whoever wrote it can mend it.
fn unreadable(id: &AppId, revision: i64, problems: &[app::FieldError]) -> Error {
    let named = problems.first().map_or_else(String::new, |one| format!(" {} {}.", one.field, one.problem));
    let detail = format!(
        "The definition of the app {id} (revision {revision}) can't be used any more:{named} Put a corrected one (PUT /v1/apps/{id}) and connect again."
    );
    let mut error = Error::new(Code::Conflict, detail);
    error.cause = Some(format!("revision {revision} of the app {id} can't be read"));
    error
}

/// One way to connect of a definition that a connection was made with.
pub fn way(definition: &Definition, way: &WayId) -> Result<Rc<App>> {
    let gone = || Error::internal(format!("the app {} has no way {way} to connect any more", definition.id));
    definition.way(Some(way)).ok_or_else(gone)
}

/// The app as new flows see it.
pub async fn current<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, id: &AppId) -> Result<Option<Registered>> {
    match store::apps::current(core.db(), workspace, id).await? {
        Some(row) => Ok(Some(Registered {
            definition: definition(core, id, row.revision, Some(&row.definition))?,
            revision: row.revision,
        })),
        None => Ok(catalogue::find(id.as_str()).map(|definition| Registered { definition, revision: 0 })),
    }
}

/// The app at the revision a connection, flow or job was made with.
pub async fn at_revision<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    id: &AppId,
    revision: i64,
) -> Result<Rc<Definition>> {
    if revision == 0 {
        return definition(core, id, 0, None);
    }
    let row = store::apps::at_revision(core.db(), workspace, id, revision).await?;
    definition(core, id, revision, row.as_ref().map(|row| row.definition.as_str()))
}

/// The app of a connection, by the way it was made.
pub async fn of_connection<P: Ports>(core: &Core<P>, connection: &Connection) -> Result<Rc<App>> {
    let Connection { workspace, app, app_revision, .. } = connection;
    way(&*at_revision(core, workspace, app, *app_revision).await?, &connection.way)
}

/// Where the secrets of a connection may go; `None` where its definition can't be read any more, or its issuer does not
/// say where its endpoints are.
pub async fn destinations_of<P: Ports>(core: &Core<P>, connection: &Connection) -> Result<Option<Rc<Destinations>>> {
    if let Some(stored) = &connection.destinations {
        return Ok(Some(Rc::new(stored.clone())));
    }
    known(async { destinations_by(core, connection, &*of_connection(core, connection).await?).await }.await)
}

/// The same, where the definition that it was made by is at hand.
pub async fn destinations_at<P: Ports>(
    core: &Core<P>,
    connection: &Connection,
    app: &App,
) -> Result<Option<Rc<Destinations>>> {
    match &connection.destinations {
        Some(stored) => Ok(Some(Rc::new(stored.clone()))),
        None => known(destinations_by(core, connection, app).await),
    }
}

async fn destinations_by<P: Ports>(core: &Core<P>, connection: &Connection, app: &App) -> Result<Rc<Destinations>> {
    let at = endpoints_if_any(core, app, &connection.variables).await?;
    Ok(connection.destinations(app, at.as_ref()))
}

/// Only a database that does not answer is a failure.
fn known(found: Result<Rc<Destinations>>) -> Result<Option<Rc<Destinations>>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code == Code::DatabaseUnavailable => Err(error),
        Err(_) => Ok(None),
    }
}

/// A request that can't be built of what is stored.
pub fn unfilled(app: &App, problem: &RequestError) -> Error {
    Error::internal(format!("an address or parameter of {} {problem}", app.id))
}

/// A request that can't be built of what somebody has just given.
pub fn misfit(app: &App, problem: &RequestError) -> Error {
    match problem {
        RequestError::Value(name) => Error::invalid(
            &member(app, name),
            "has a character that can't stand where it is sent, such as a colon in a user name.",
        ),
        RequestError::Address(_) => Error::invalid("variables", "lead to an address that is not allowed."),
        RequestError::Missing(_) | RequestError::Destination => unfilled(app, problem),
    }
}

/// Where a request has the value of a place; what the app told stands in none.
fn member(app: &App, name: &str) -> String {
    if app.fields.iter().any(|field| field.id == name) {
        return app::field_at(name);
    }
    if app.variables.contains_key(name) { app::variable_at(name) } else { name.to_owned() }
}

/// Requests that the discovery of endpoints may take: the cache is asked for the issuer's document, then the issuer at two
/// addresses, then it is kept.
pub const DISCOVERY_COST: i64 = 4;

/// The endpoints of the app's OAuth server, if it has one.
pub async fn endpoints_if_any<P: Ports>(
    core: &Core<P>,
    app: &App,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Resolved>> {
    match app.server() {
        None => Ok(None),
        Some(_) => endpoints(core, app, variables).await.map(Some),
    }
}

/// The app's endpoints: written down, or discovered at its issuer and kept for an hour.
pub async fn endpoints<P: Ports>(core: &Core<P>, app: &App, variables: &BTreeMap<String, String>) -> Result<Resolved> {
    let values = Values::new().with_all(variables);
    if let Some(fixed) = app.resolve_fixed(&values) {
        return fixed.map_err(|problem| misfit(app, &problem));
    }
    let issuer = app.issuer().ok_or_else(|| Error::internal("an app without endpoints and issuer"))?;
    let issuer = &issuer.fill(&values).map_err(|problem| misfit(app, &problem))?;
    let key = format!("{}{}", frozen::CACHE_DISCOVERY, crate::caller::hash(issuer.as_str()));
    if let Ok(Some(sealed)) = core.ports.cache().get(&key).await
        // Sealed, so that nobody who can only write to the cache decides where secrets go.
        && let Ok(text) = core.config.ring.open(&document_place(&key), &sealed)
        && let Some(document) = kept_document(text.expose(), core.now())
        && let Ok(found) = read_discovery(core, app, issuer, document.as_bytes())
    {
        return Ok(found);
    }
    let (found, text) = discover(core, app, issuer).await?;
    let text = Secret::new(format!("{} {text}", core.now().unix()));
    let sealed = core.config.ring.seal(core.ports.random(), &document_place(&key), &text)?;
    if let Err(error) = core.ports.cache().put(&key, &sealed, DISCOVERY_TTL).await {
        core.log_cache(&error);
    }
    Ok(found)
}

/// The document in a cache entry, which tells when it was read: whoever can write to the cache could bring an old entry
/// back otherwise.
fn kept_document(text: &str, now: Timestamp) -> Option<&str> {
    let (at, document) = text.split_once(' ')?;
    let age = now.since(Timestamp::from_unix(at.parse().ok()?));
    (age <= DISCOVERY_TTL).then_some(document)
}

/// A public document is no workspace's. It is sealed so that it can't be replaced.
fn document_place(key: &str) -> Place<'_> {
    Place::of(frozen::CACHED_DISCOVERY, "", key, 0)
}

/// Asks the issuer, first where `OpenID` Connect Discovery puts the document, then where RFC 8414 does.
async fn discover<P: Ports>(core: &Core<P>, app: &App, issuer: &Address) -> Result<(Resolved, String)> {
    let mut problem = unreachable(app);
    for url in app::well_known(issuer) {
        let request = Outbound::new(OutboundMethod::Get, url, vec![], DISCOVERY_TIMEOUT)
            .with(vec![("accept".into(), "application/json".into())], None);
        match core.send(request).await {
            Ok(Inbound { status: 200, body, .. }) => match read_discovery(core, app, issuer, &body) {
                Ok(found) => return Ok((found, String::from_utf8_lossy(&body).into_owned())),
                Err(error) => {
                    problem = Error::new(
                        Code::AppUnavailable,
                        format!("{} can't be used as it describes itself: {error}.", app.name),
                    );
                }
            },
            Ok(_) | Err(HttpError::Timeout | HttpError::Network | HttpError::TooLarge | HttpError::NotPermitted) => {}
        }
    }
    Err(problem)
}

fn read_discovery<P: Ports>(
    core: &Core<P>,
    app: &App,
    issuer: &Address,
    body: &[u8],
) -> std::result::Result<Resolved, DiscoveryError> {
    app.resolve_with(&app::read_discovery(issuer, body, core.config.egress)?)
}

fn unreachable(app: &App) -> Error {
    Error::new(
        Code::AppUnavailable,
        format!("{} did not say where its endpoints are. Try again, and check its issuer address.", app.name),
    )
    .hint(|h| h.retry_after = Some(30))
}

impl App {
    /// Its OAuth server.
    ///
    /// # Errors
    /// It has none: a pasted credential needs no server. Whoever asks all the same has a fault.
    pub fn oauth2(&self) -> Result<&OAuth2> {
        self.server().ok_or_else(|| Error::internal(format!("{} has no OAuth server", self.id)))
    }
}
