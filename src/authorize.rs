//! Who may do what: one step before every handler, driven by what each route declares.
//!
//! A route says what it is about ([`Resource`]), what is done to it ([`Action`]) and, where people call, which of them may
//! ([`RequiredRole`]). [`authorize`] loads what the path names and decides. Rules:
//!
//! - Outside the allow-lists of a key a thing does not exist for that key: 404 on every route.
//! - A key that is for one environment sees the connections of that one only, as if they were on a list.
//! - A key that has an allow-list or an environment is *limited*. It makes nothing new, but for links that repair its own
//!   connections. It changes neither workspace nor apps, and knows nothing of sessions and sign-in links.
//! - A client belongs to all apps that share it, and to connections of all environments: a key changes it only where its `apps`
//!   list has all of them, and it has no list of connections and no environment.
//! - A member sees shared connections and their own, and changes their own. An admin sees and changes all.
//!
//! Refuses to read requests: what a body names is asked here by the handler, with the functions below.

use percent_encoding::percent_decode_str;

use crate::app::AppId;
use crate::audit::Actor;
use crate::caller::{ApiKey, CreatorKey, KeyScope};
use crate::catalogue;
use crate::connection::Connection;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ApiKeyId, ConnectionId, JobId, LinkId, SessionId, SignInLinkId, WebhookId, WorkspaceId};
use crate::ports::Ports;
use crate::store;
use crate::store::authorizations::Flow;
use crate::store::connections::{
    self, ConnectionFilter, ConnectionPage, ListedConnection, PageLimits, RequestedConnection,
};
use crate::store::disconnect_jobs::{self, DisconnectJob};
use crate::store::disconnected::{self, DisconnectedForNow};
use crate::store::links::{self, Link};
use crate::store::people::{self, Person};
use crate::store::replacements::RelatedConnection;
use crate::store::sessions::{self, Session, SignInLink};
use crate::store::webhooks;
use crate::store::workflows::UsedConnection;
use crate::webhook::Webhook;
use crate::workspace::{Role, User};

/// What the page of a connection shows of its uses and its history.
const PAGE_LIMITS: PageLimits = PageLimits { uses: 20, events: 20 };

/// What a route does to its resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Shows what of it the caller may see.
    List,
    /// Shows one.
    Read,
    /// Works with one and leaves it as it is.
    Use,
    /// Changes or ends one.
    Change,
    /// Makes one.
    Create,
}

/// What a route is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// The installation, or nothing at all.
    Installation,
    /// A workspace.
    Workspace,
    /// An API key.
    Key,
    /// An app.
    App,
    /// The OAuth client of an app.
    Client,
    /// A connection.
    Connection,
    /// A connection, with all that its page shows.
    ConnectionPage,
    /// A connection that was disconnected on the page and may be brought back.
    DisconnectedConnection,
    /// A link that asks somebody to connect.
    Link,
    /// A link that signs somebody in.
    SignInLink,
    /// A browser's session.
    Session,
    /// A person of the workspace.
    Person,
    /// A job that ends all connections of an app.
    Job,
    /// One pending consent, which belongs to the browser that began it.
    Flow,
    /// A workflow of the callers. It exists for a key if it used a connection that exists for the key.
    Workflow,
    /// The audit log. A limited key sees the lines about its own connections.
    Event,
    /// A webhook. It is notified of all connections, so a limited key has none.
    Webhook,
}

/// Which people a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredRole {
    /// Everybody who may see the resource.
    Member,
    /// The owner of the resource, and admins. A shared connection has no owner.
    OwnerOrAdmin,
    /// Admins alone: the administration of the workspace.
    Admin,
}

/// Who calls: a key that has the route's scope, or a signed-in person.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// A key.
    Key(&'a ApiKey),
    /// A person, and which people the route is for.
    User(&'a Session, RequiredRole),
}

/// What the path names, loaded, and allowed to the caller.
#[derive(Debug, Default)]
pub enum LoadedResource {
    /// The path names nothing that is loaded.
    #[default]
    None,
    /// An app's id. Whether there is such an app, the handler finds out.
    App(AppId),
    /// A connection.
    Connection(Box<ListedConnection>),
    /// One with all that its page shows.
    ConnectionPage(Box<ConnectionPage>),
    /// One that may be brought back.
    Disconnected(Box<DisconnectedForNow>),
    /// A link.
    Link(Box<Link>),
    /// A key.
    Key(Box<ApiKey>),
    /// A session.
    Session(Box<Session>),
    /// A sign-in link.
    SignInLink(Box<SignInLink>),
    /// A person.
    Person(Box<Person>),
    /// A job.
    Job(Box<DisconnectJob>),
    /// A webhook.
    Webhook(Box<Webhook>),
}

impl Caller<'_> {
    /// The caller's workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Key(key) => &key.workspace,
            Self::User(session, _) => &session.workspace,
        }
    }

    /// The caller, for the audit log.
    pub fn actor(&self) -> Actor {
        match self {
            Self::Key(key) => Actor::Key(key.id.clone()),
            Self::User(session, _) => session.user().map_or(Actor::UnknownUser, |user| Actor::User(user.id.clone())),
        }
    }

    /// The key with which ends what the caller makes. What a person makes ends with no key.
    pub fn creator_key(&self) -> Option<CreatorKey> {
        match self {
            Self::Key(key) => Some(CreatorKey::from(*key)),
            Self::User(..) => None,
        }
    }

    /// Whether the caller may know and change a key of its workspace: one that can do nothing more than itself.
    pub fn covers_key(&self, other: &ApiKey) -> bool {
        match self {
            Self::Key(key) => key.covers_key(other),
            Self::User(session, _) => session.role == Role::Admin,
        }
    }

    /// The connections that exist for the caller, as a list asks for them. Without the caller's own filters.
    pub fn connection_filter(&self) -> ConnectionFilter {
        match self {
            Self::Key(key) => ConnectionFilter {
                connections: key.connections.clone(),
                apps: key.apps.clone(),
                key_environment: key.environment,
                ..ConnectionFilter::default()
            },
            Self::User(session, _) => {
                ConnectionFilter { visible_to: visible_to(session), ..ConnectionFilter::default() }
            }
        }
    }

    /// Whether a connection that a workflow used exists for the caller.
    pub fn sees_used_connection(&self, used: &UsedConnection) -> bool {
        !used.is_deleted && self.sees(&used.id, &used.app, used.environment, used.owner.as_ref(), used.shared)
    }

    /// Whether a connection of this app that is shown together with another one exists for the caller.
    pub fn sees_related(&self, one: &RelatedConnection, app: &AppId) -> bool {
        self.sees(&one.id, app, one.environment, one.owner().as_ref(), one.is_shared())
    }

    /// Leaves out of what is shown of a connection other connections that do not exist for the caller. The one that answers
    /// for it stays: its credential is what a resolve gives.
    pub fn hide_unseen(&self, listed: &mut ListedConnection) {
        let app = &listed.connection.app;
        listed.replaces.retain(|one| self.sees_related(one, app));
        for change in &mut listed.step_changes {
            change.from = change.from.take().filter(|one| self.sees_related(one, app));
        }
    }

    /// Whether the caller may change a connection that it sees.
    pub fn may_change(&self, connection: &Connection) -> bool {
        match self {
            Self::Key(_) => true,
            Self::User(session, _) => session_may_change(session, connection),
        }
    }

    /// Whether the caller gets credentials of this environment.
    pub fn covers_environment(&self, environment: Option<Environment>) -> bool {
        match self {
            Self::Key(key) => key.covers_environment(environment),
            Self::User(..) => true,
        }
    }

    /// Whether a connection exists for the caller.
    pub fn sees_connection(&self, one: &Connection) -> bool {
        self.sees(&one.id, &one.app, one.environment, one.user.as_ref(), one.shared)
    }

    /// Whether a connection exists for the caller, by what decides it.
    fn sees(
        &self,
        id: &ConnectionId,
        app: &AppId,
        environment: Option<Environment>,
        owner: Option<&User>,
        is_shared: bool,
    ) -> bool {
        match self {
            Self::Key(key) => sees_connection_of(key, id, app, environment),
            Self::User(session, _) => {
                session.user().is_some_and(|user| session.role == Role::Admin || user.sees_owned_by(owner, is_shared))
            }
        }
    }
}

/// Whose connections a person's list is cut to; none for an admin.
fn visible_to(session: &Session) -> Option<String> {
    match (session.role, session.user()) {
        (Role::Admin, Some(_)) => None,
        (_, user) => Some(user.map(|user| user.id.clone()).unwrap_or_default()),
    }
}

/// Decides over a request and answers what its path names. `named` is the first segment that the path leaves open.
pub async fn authorize<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    action: Action,
    resource: Resource,
    named: Option<&str>,
) -> Result<LoadedResource> {
    // A member does not learn whether there is such a thing.
    if let Caller::User(session, RequiredRole::Admin) = caller
        && session.role != Role::Admin
    {
        return Err(admin_required());
    }
    let subject = match named {
        Some(text) if !matches!(action, Action::List | Action::Create) => {
            load_resource(context, caller, resource, text).await?
        }
        _ => LoadedResource::None,
    };
    match caller {
        Caller::Key(key) => check_key(key, action, resource, &subject)?,
        Caller::User(session, needs) => check_user(session, *needs, &subject)?,
    }
    Ok(subject)
}

/// What the path names, if it exists for the caller.
async fn load_resource<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    resource: Resource,
    text: &str,
) -> Result<LoadedResource> {
    let (workspace, now) = (caller.workspace(), context.now());
    Ok(match resource {
        Resource::Installation | Resource::Workspace | Resource::Flow | Resource::Workflow | Resource::Event => {
            LoadedResource::None
        }
        Resource::App | Resource::Client => {
            let app = AppId::parse(text).filter(|app| match caller {
                Caller::Key(key) => sees_app(key, app),
                Caller::User(..) => true,
            });
            LoadedResource::App(app.ok_or_else(|| Error::not_found("app"))?)
        }
        Resource::Connection => {
            let id = ConnectionId::parse(text).ok_or_else(Error::connection_not_found)?;
            LoadedResource::Connection(Box::new(load_connection(context, caller, &id).await?))
        }
        Resource::ConnectionPage => {
            let id = ConnectionId::parse(text).ok_or_else(Error::connection_not_found)?;
            let found = connections::load_page(context.db(), workspace, &id, PAGE_LIMITS, now).await?;
            let found = found.filter(|found| caller.sees_connection(&found.listed.connection));
            let mut found = found.ok_or_else(Error::connection_not_found)?;
            caller.hide_unseen(&mut found.listed);
            LoadedResource::ConnectionPage(Box::new(found))
        }
        Resource::DisconnectedConnection => {
            let id = ConnectionId::parse(text).ok_or_else(Error::connection_not_found)?;
            match disconnected::get(context.db(), workspace, &id).await? {
                Some(found) if caller.sees_connection(&found.connection) => {
                    LoadedResource::Disconnected(Box::new(found))
                }
                Some(_) => return Err(Error::connection_not_found()),
                // It is back already.
                None => LoadedResource::Connection(Box::new(load_connection(context, caller, &id).await?)),
            }
        }
        Resource::Link => {
            let missing = || Error::not_found("link");
            let id = LinkId::parse(text).ok_or_else(missing)?;
            let link = links::get(context.db(), workspace, &id).await?;
            let in_environment = match (&link, caller) {
                (Some(link), Caller::Key(key)) => names_only_environment(context, key, link).await?,
                _ => true,
            };
            let sees = |link: &Link| match caller {
                Caller::Key(key) => sees_link(key, link),
                Caller::User(session, _) => session.role == Role::Admin,
            };
            LoadedResource::Link(Box::new(link.filter(|link| in_environment && sees(link)).ok_or_else(missing)?))
        }
        Resource::Key => {
            let missing = || Error::not_found("key");
            let id = ApiKeyId::parse(text).ok_or_else(missing)?;
            let found = store::keys::get(context.db(), &id).await?.filter(|found| found.workspace == *workspace);
            LoadedResource::Key(Box::new(found.filter(|found| caller.covers_key(found)).ok_or_else(missing)?))
        }
        // Nobody who is limited gets as far as to learn whether there is such a one.
        Resource::Session | Resource::SignInLink | Resource::Person | Resource::Job | Resource::Webhook
            if is_limited_caller(caller) =>
        {
            LoadedResource::None
        }
        Resource::Session => {
            let missing = || Error::not_found("session");
            let id = SessionId::parse(text).ok_or_else(missing)?;
            let found = sessions::get_by_id(context.db(), workspace, &id, now).await?;
            LoadedResource::Session(Box::new(found.ok_or_else(missing)?))
        }
        Resource::SignInLink => {
            let missing = || Error::not_found("sign-in link");
            let id = SignInLinkId::parse(text).ok_or_else(missing)?;
            let found = sessions::get_sign_in_link_by_id(context.db(), workspace, &id, now).await?;
            LoadedResource::SignInLink(Box::new(found.ok_or_else(missing)?))
        }
        Resource::Person => {
            let missing = || Error::not_found("person");
            // An id is any text, so it is percent-encoded in the path.
            let id = percent_decode_str(text).decode_utf8().map_err(|_| missing())?;
            let found = people::get(context.db(), workspace, &id).await?;
            LoadedResource::Person(Box::new(found.ok_or_else(missing)?))
        }
        Resource::Job => {
            let missing = || Error::not_found("job");
            let id = JobId::parse(text).ok_or_else(missing)?;
            let found = disconnect_jobs::get(context.db(), workspace, &id).await?;
            LoadedResource::Job(Box::new(found.ok_or_else(missing)?))
        }
        Resource::Webhook => {
            let missing = || Error::not_found("webhook");
            let id = WebhookId::parse(text).ok_or_else(missing)?;
            let found = webhooks::get(context.db(), workspace, &id).await?;
            LoadedResource::Webhook(Box::new(found.ok_or_else(missing)?))
        }
    })
}

fn is_limited_caller(caller: &Caller<'_>) -> bool {
    matches!(caller, Caller::Key(key) if is_limited(key))
}

/// A connection, if it exists for the caller.
pub async fn load_connection<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    id: &ConnectionId,
) -> Result<ListedConnection> {
    let filter = ConnectionFilter { id: Some(id.clone()), limit: 1, ..ConnectionFilter::default() };
    let page = connections::list(context.db(), caller.workspace(), &filter, context.now()).await?;
    let found = page.data.into_iter().next().filter(|one| caller.sees_connection(&one.connection));
    let mut found = found.ok_or_else(Error::connection_not_found)?;
    caller.hide_unseen(&mut found);
    Ok(found)
}

// ---- keys ----

/// Whether a key has an allow-list.
fn is_limited(key: &ApiKey) -> bool {
    key.connections.is_some() || key.apps.is_some() || key.environment.is_some()
}

/// Whether an app exists for a key.
pub fn sees_app(key: &ApiKey, app: &AppId) -> bool {
    key.apps.as_ref().is_none_or(|list| list.contains(app))
}

/// Whether a connection exists for a key.
pub fn sees_connection(key: &ApiKey, connection: &Connection) -> bool {
    sees_connection_of(key, &connection.id, &connection.app, connection.environment)
}

/// The same, by what decides it.
pub fn sees_connection_of(key: &ApiKey, id: &ConnectionId, app: &AppId, environment: Option<Environment>) -> bool {
    key.connections.as_ref().is_none_or(|list| list.contains(id))
        && sees_app(key, app)
        && key.covers_environment(environment)
}

/// A link exists for a key where all that it names is on the key's lists. With a list of connections it must name one.
fn sees_link(key: &ApiKey, link: &Link) -> bool {
    let mut named = [&link.connection, &link.result_connection].into_iter().flatten();
    sees_app(key, &link.app)
        && key.covers_environment(link.settings.environment)
        && key.connections.as_ref().is_none_or(|list| {
            let first = named.next();
            first.is_some() && first.into_iter().chain(named).all(|id| list.contains(id))
        })
}

/// Whether the connections that a link names are of the environment that a key is limited to. They may have become of
/// another one since the link was made.
async fn names_only_environment<P: Ports>(context: &Context<P>, key: &ApiKey, link: &Link) -> Result<bool> {
    if key.environment.is_none() {
        return Ok(true);
    }
    for id in [&link.connection, &link.result_connection].into_iter().flatten() {
        let found = connections::get(context.db(), &link.workspace, id).await?;
        if found.is_some_and(|found| !key.covers_environment(found.environment)) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The links that exist for a key, as a list asks for them.
pub fn link_filter(key: &ApiKey) -> links::LinkFilter {
    links::LinkFilter {
        connections: key.connections.clone(),
        apps: key.apps.clone(),
        environment: key.environment,
        ..links::LinkFilter::default()
    }
}

/// Refuses to move a connection to another environment with a key that is limited to one.
pub fn check_environment_change(key: &ApiKey) -> Result<()> {
    match key.environment {
        None => Ok(()),
        Some(_) => Err(limited_key_error("It cannot change an environment. Use a key without an environment.")),
    }
}

/// Nothing in the refusal tells an unknown key from a wrong or ended one.
pub fn unauthorized() -> Error {
    Error::new(
        ErrorCode::Unauthorized,
        "Send a valid API key as `Authorization: Bearer cx_…`. This one is missing, wrong, revoked or expired.",
    )
}

/// Refuses when a key lacks a scope.
pub fn require_scope(key: &ApiKey, scope: KeyScope) -> Result<()> {
    if key.has_scope(scope) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InsufficientKeyScope,
        format!("This key lacks the scope {}. Use a key that has it, or make one with POST /v1/keys.", scope.as_str()),
    ))
}

/// A resolve and the proxy ask this in their own round trip: the same answers as from [`authorize`], in the same order. Where another
/// connection answers for the one that was asked for, the lists are about the latter, and the environment of a key about
/// both.
pub fn resolve(
    key: &ApiKey,
    scope: KeyScope,
    connection: Option<Connection>,
    requested: Option<&RequestedConnection>,
) -> Result<Connection> {
    require_scope(key, scope)?;
    let found = connection.filter(|one| one.workspace == key.workspace).ok_or_else(Error::connection_not_found)?;
    let environment = requested.map_or(found.environment, |one| one.environment);
    check_resolve(key, scope, requested.map_or(&found.id, |one| &one.id), &found.app, environment)?;
    if key.covers_environment(found.environment) { Ok(found) } else { Err(Error::connection_not_found()) }
}

/// Whether a key gets the credential of a connection of its workspace, also where a copy of it answers.
pub fn check_resolve(
    key: &ApiKey,
    scope: KeyScope,
    id: &ConnectionId,
    app: &AppId,
    environment: Option<Environment>,
) -> Result<()> {
    require_scope(key, scope)?;
    if sees_connection_of(key, id, app, environment) { Ok(()) } else { Err(Error::connection_not_found()) }
}

fn check_key(key: &ApiKey, action: Action, resource: Resource, subject: &LoadedResource) -> Result<()> {
    if !is_limited(key) {
        return Ok(());
    }
    match (resource, action) {
        (Resource::Session | Resource::SignInLink | Resource::Person, _) => Err(limited_key_error(
            "A signed-in person sees all their connections. Use a key without allow-lists for people, sign-in links and sessions.",
        )),
        (Resource::Webhook, _) => {
            Err(limited_key_error("A webhook is notified of all connections. Use a key without allow-lists."))
        }
        (Resource::Job, _) => Err(limited_key_error(
            "All connections of an app are ended, whatever is on its lists. Use a key without allow-lists.",
        )),
        // Which link, its body says: see `new_link`.
        (Resource::Link, Action::Create) => Ok(()),
        (_, Action::Create) => Err(limited_key_error("It makes nothing new. Use a key without allow-lists.")),
        (Resource::Workspace | Resource::App, Action::Change) => {
            Err(limited_key_error("It cannot change apps or the workspace. Use a key without allow-lists."))
        }
        (Resource::Client, Action::Change) => match subject {
            LoadedResource::App(app) => check_client_change(key, app),
            _ => Err(Error::internal("a client without its app")),
        },
        (_, Action::List | Action::Read | Action::Use | Action::Change) => Ok(()),
    }
}

/// What a limited key may not do.
fn limited_key_error(why: &str) -> Error {
    Error::new(
        ErrorCode::InsufficientKeyScope,
        format!("This key is limited to some connections, apps or one environment. {why}"),
    )
}

/// Whether a key may change an app's client. A client's connections are of all apps that share it.
///
/// # Errors
/// `insufficient_key_scope`: its lists do not have them all.
pub fn check_client_change(key: &ApiKey, app: &AppId) -> Result<()> {
    if key.connections.is_some() || key.environment.is_some() {
        return Err(limited_key_error(
            "Other connections may use this client, too. Use a key without a list of connections and without an environment.",
        ));
    }
    let lacks = |id: &&str| !AppId::parse(id).is_some_and(|id| sees_app(key, &id));
    let lacking: Vec<_> = catalogue::apps_sharing_client(app.as_str()).filter(lacks).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(limited_key_error(&format!(
        "These apps share the client and are not on its list: {}. Use a key that has all of them.",
        lacking.join(", ")
    )))
}

/// Refuses a link that a limited key may not make: all but the ones that repair its own connections.
pub fn check_new_link(key: &ApiKey, repairs: Option<&ConnectionId>) -> Result<()> {
    if is_limited(key) && repairs.is_none() {
        return Err(limited_key_error(
            "It makes links for its own connections alone: name one in `connection`, or use a key without allow-lists.",
        ));
    }
    Ok(())
}

/// The role of a sign-in link: the one that is asked for, or else the person's. Only an admin, and a key with `people`,
/// signs an admin in, or makes one: another key would get the rights of whom it signs in.
pub async fn decide_sign_in_role<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    user: &User,
    asked: Option<Role>,
) -> Result<Role> {
    let person = people::get(context.db(), caller.workspace(), &user.id).await?;
    let role = person.map_or(Role::Member, |person| person.role);
    if [asked, Some(role)].contains(&Some(Role::Admin)) {
        match caller {
            Caller::Key(key) => require_scope(key, KeyScope::People)?,
            Caller::User(session, _) if session.role == Role::Admin => {}
            Caller::User(..) => return Err(admin_required()),
        }
    }
    Ok(asked.unwrap_or(role))
}

// ---- people ----

/// Whether a person may change a connection.
pub fn user_may_change(user: &User, role: Role, connection: &Connection) -> bool {
    role == Role::Admin || connection.is_owned_by(user)
}

/// The same, for whoever is signed in.
pub fn session_may_change(session: &Session, connection: &Connection) -> bool {
    session.user().is_some_and(|user| user_may_change(user, session.role, connection))
}

fn check_user(session: &Session, needs: RequiredRole, subject: &LoadedResource) -> Result<()> {
    let may = match (needs, subject) {
        (RequiredRole::Member, _) => true,
        (RequiredRole::OwnerOrAdmin, LoadedResource::Connection(listed)) => {
            session_may_change(session, &listed.connection)
        }
        (RequiredRole::OwnerOrAdmin, LoadedResource::ConnectionPage(page)) => {
            session_may_change(session, &page.listed.connection)
        }
        (RequiredRole::OwnerOrAdmin, LoadedResource::Disconnected(ended)) => {
            session_may_change(session, &ended.connection)
        }
        (RequiredRole::OwnerOrAdmin | RequiredRole::Admin, _) => session.role == Role::Admin,
    };
    if may { Ok(()) } else { Err(admin_required()) }
}

/// A member wants to change what is everybody's.
pub fn admin_required() -> Error {
    Error::new(
        ErrorCode::AdminRequired,
        "This belongs to the whole workspace, so only an admin may change it. Ask an admin of the workspace to do it.",
    )
}

/// Whether a person's flow may still change a connection. It was allowed when the flow began; the connection may have
/// become somebody else's, or the session ended, since. Who came by a link has the authority of the link, and a program
/// that of its key.
pub async fn flow_may_change<P: Ports>(context: &Context<P>, flow: &Flow, connection: &Connection) -> Result<bool> {
    let Some(user) = flow.user.as_ref().filter(|_| flow.link.is_none()) else { return Ok(true) };
    if user_may_change(user, Role::Member, connection) {
        return Ok(true);
    }
    let session = sessions::get(context.db(), &flow.session_hash, context.now()).await?;
    Ok(session.is_some_and(|session| session.workspace == flow.workspace && session_may_change(&session, connection)))
}

/// Whether two connections would have the same owner: only then does a flow take the place of the other one's credential.
pub fn has_same_owner(flow: &Flow, connection: &Connection) -> bool {
    let id = |user: &Option<User>| user.as_ref().map(|user| user.id.clone());
    id(&flow.user) == id(&connection.user)
}
