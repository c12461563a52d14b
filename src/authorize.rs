//! Who may do what: one step before every handler, driven by what each route declares.
//!
//! A route says what it is about ([`Resource`]), what is done to it ([`Action`]) and, where people call, which of them may
//! ([`Needs`]). [`authorize`] loads what the path names and decides. Rules:
//!
//! - Outside the allow-lists of a key a thing does not exist for that key: 404 on every route.
//! - A key that has an allow-list is *limited*. It makes nothing new, but for links that repair its own connections. It
//!   changes neither workspace nor apps, and knows nothing of sessions and sign-in links.
//! - A client belongs to all apps that share it: a key changes it only where its `apps` list has all of them.
//! - A member sees shared connections and their own, and changes their own. An admin sees and changes all.
//!
//! Refuses to read requests: what a body names is asked here by the handler, with the functions below.

use crate::app::AppId;
use crate::caller::{Key, KeyId, Scope};
use crate::catalogue;
use crate::connection::Connection;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{ConnectionId, LinkId, SessionId, SignInLinkId, WorkspaceId};
use crate::ports::Ports;
use crate::store;
use crate::store::authorizations::Authorization;
use crate::store::connections::{self, Filter, Listed};
use crate::store::links::{self, Link};
use crate::store::sessions::{self, Session, SignIn};
use crate::workspace::{Role, User};

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
    /// A link that asks somebody to connect.
    Link,
    /// A link that signs somebody in.
    SignInLink,
    /// A browser's session.
    Session,
    /// One pending consent, which belongs to the browser that began it.
    Flow,
}

/// Which people a route is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everybody who may see the resource.
    Member,
    /// The owner of the resource, and admins. A shared connection has no owner.
    OwnerOrAdmin,
    /// Admins.
    Admin,
}

/// Who calls: a key that has the route's scope, or a signed-in person.
#[derive(Debug, Clone, Copy)]
pub enum Caller<'a> {
    /// A key.
    Key(&'a Key),
    /// A person, and which people the route is for.
    Person(&'a Session, Needs),
}

/// What the path names, loaded, and allowed to the caller.
#[derive(Debug, Default)]
pub enum Subject {
    /// The path names nothing that is loaded.
    #[default]
    None,
    /// An app's id. Whether there is such an app, the handler finds out.
    App(AppId),
    /// A connection.
    Connection(Box<Listed>),
    /// A link.
    Link(Box<Link>),
    /// A key.
    Key(Box<Key>),
    /// A session.
    Session(Box<Session>),
    /// A sign-in link.
    SignInLink(Box<SignIn>),
}

impl Caller<'_> {
    /// The caller's workspace.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Key(key) => &key.workspace,
            Self::Person(session, _) => &session.workspace,
        }
    }

    /// The connections that exist for the caller, as a list asks for them. Without the caller's own filters.
    pub fn connections(&self) -> Filter {
        match self {
            Self::Key(key) => {
                Filter { connections: key.connections.clone(), apps: key.apps.clone(), ..Filter::default() }
            }
            Self::Person(session, _) => Filter { seen_by: seen_by(session), ..Filter::default() },
        }
    }

    fn sees_connection(&self, connection: &Connection) -> bool {
        match self {
            Self::Key(key) => sees_connection(key, &connection.id, &connection.app),
            Self::Person(session, _) => match session.user() {
                Some(user) => session.role == Role::Admin || connection.belongs_to(user),
                None => false,
            },
        }
    }
}

/// Whose connections a person's list is cut to; none for an admin.
fn seen_by(session: &Session) -> Option<String> {
    match (session.role, session.user()) {
        (Role::Admin, Some(_)) => None,
        (_, user) => Some(user.map(|user| user.id.clone()).unwrap_or_default()),
    }
}

/// Decides over a request and answers what its path names. `named` is the first segment that the path leaves open.
pub async fn authorize<P: Ports>(
    core: &Core<P>,
    caller: &Caller<'_>,
    (action, resource): (Action, Resource),
    named: Option<&str>,
) -> Result<Subject> {
    let subject = match named {
        Some(text) if !matches!(action, Action::List | Action::Create) => load(core, caller, resource, text).await?,
        _ => Subject::None,
    };
    match caller {
        Caller::Key(key) => key_may(key, action, resource, &subject)?,
        Caller::Person(session, needs) => person_may(session, *needs, &subject)?,
    }
    Ok(subject)
}

/// What the path names, if it exists for the caller.
async fn load<P: Ports>(core: &Core<P>, caller: &Caller<'_>, resource: Resource, text: &str) -> Result<Subject> {
    let (workspace, now) = (caller.workspace(), core.now());
    Ok(match resource {
        Resource::Installation | Resource::Workspace | Resource::Flow => Subject::None,
        Resource::App | Resource::Client => {
            let app = AppId::parse(text).filter(|app| match caller {
                Caller::Key(key) => sees_app(key, app),
                Caller::Person(..) => true,
            });
            Subject::App(app.ok_or_else(|| Error::not_found("app"))?)
        }
        Resource::Connection => {
            let id = ConnectionId::parse(text).ok_or_else(Error::connection_not_found)?;
            Subject::Connection(Box::new(connection(core, caller, &id).await?))
        }
        Resource::Link => {
            let missing = || Error::not_found("link");
            let id = LinkId::parse(text).ok_or_else(missing)?;
            let link = links::get(core.db(), workspace, &id).await?;
            let sees = |link: &Link| match caller {
                Caller::Key(key) => sees_link(key, link),
                Caller::Person(..) => false,
            };
            Subject::Link(Box::new(link.filter(sees).ok_or_else(missing)?))
        }
        Resource::Key => {
            let missing = || Error::not_found("key");
            let id = KeyId::parse(text).ok_or_else(missing)?;
            let found = store::keys::get(core.db(), &id).await?.filter(|found| found.workspace == *workspace);
            let sees = |found: &Key| match caller {
                Caller::Key(key) => key.covers_key(found),
                Caller::Person(..) => false,
            };
            Subject::Key(Box::new(found.filter(sees).ok_or_else(missing)?))
        }
        // Nobody who is limited gets as far as to learn whether there is such a one.
        Resource::Session | Resource::SignInLink if limited(caller) => Subject::None,
        Resource::Session => {
            let missing = || Error::not_found("session");
            let id = SessionId::parse(text).ok_or_else(missing)?;
            let found = sessions::by_id(core.db(), workspace, &id, now).await?;
            Subject::Session(Box::new(found.ok_or_else(missing)?))
        }
        Resource::SignInLink => {
            let missing = || Error::not_found("sign-in link");
            let id = SignInLinkId::parse(text).ok_or_else(missing)?;
            let found = sessions::sign_in_by_id(core.db(), workspace, &id, now).await?;
            Subject::SignInLink(Box::new(found.ok_or_else(missing)?))
        }
    })
}

fn limited(caller: &Caller<'_>) -> bool {
    matches!(caller, Caller::Key(key) if is_limited(key))
}

/// A connection, if it exists for the caller.
pub async fn connection<P: Ports>(core: &Core<P>, caller: &Caller<'_>, id: &ConnectionId) -> Result<Listed> {
    let filter = Filter { id: Some(id.clone()), limit: 1, ..Filter::default() };
    let page = connections::list(core.db(), caller.workspace(), &filter, core.now()).await?;
    let found = page.data.into_iter().next().filter(|one| caller.sees_connection(&one.connection));
    found.ok_or_else(Error::connection_not_found)
}

// ---- keys ----

/// Whether a key has an allow-list.
fn is_limited(key: &Key) -> bool {
    key.connections.is_some() || key.apps.is_some()
}

/// Whether an app exists for a key.
pub fn sees_app(key: &Key, app: &AppId) -> bool {
    key.apps.as_ref().is_none_or(|list| list.contains(app))
}

/// Whether a connection of an app exists for a key.
pub fn sees_connection(key: &Key, id: &ConnectionId, app: &AppId) -> bool {
    key.connections.as_ref().is_none_or(|list| list.contains(id)) && sees_app(key, app)
}

/// A link exists for a key where all that it names is on the key's lists. With a list of connections it must name one.
fn sees_link(key: &Key, link: &Link) -> bool {
    let mut named = [&link.connection, &link.result].into_iter().flatten();
    sees_app(key, &link.app)
        && key.connections.as_ref().is_none_or(|list| {
            let first = named.next();
            first.is_some() && first.into_iter().chain(named).all(|id| list.contains(id))
        })
}

/// The links that exist for a key, as a list asks for them.
pub fn links_of(key: &Key) -> links::Filter {
    links::Filter { connections: key.connections.clone(), apps: key.apps.clone(), ..links::Filter::default() }
}

/// A resolve asks this in its own round trip: the same answers as from [`authorize`], in the same order.
pub fn resolve(key: &Key, connection: Option<Connection>) -> Result<Connection> {
    key.require(Scope::Resolve)?;
    let found = connection.filter(|one| one.workspace == key.workspace).ok_or_else(Error::connection_not_found)?;
    may_resolve(key, &found.id, &found.app)?;
    Ok(found)
}

/// Whether a key gets the credential of a connection of its workspace, also where a copy of it answers.
pub fn may_resolve(key: &Key, id: &ConnectionId, app: &AppId) -> Result<()> {
    key.require(Scope::Resolve)?;
    if sees_connection(key, id, app) { Ok(()) } else { Err(Error::connection_not_found()) }
}

fn key_may(key: &Key, action: Action, resource: Resource, subject: &Subject) -> Result<()> {
    if !is_limited(key) {
        return Ok(());
    }
    match (resource, action) {
        (Resource::Session | Resource::SignInLink, _) => Err(refused(
            "A person who signs in has all their connections. Use a key without allow-lists for sign-in links and sessions.",
        )),
        // Which link, its body says: see `new_link`.
        (Resource::Link, Action::Create) => Ok(()),
        (_, Action::Create) => Err(refused("It makes nothing new. Use a key without allow-lists.")),
        (Resource::Workspace | Resource::App, Action::Change) => {
            Err(refused("It changes neither apps nor the workspace. Use a key without allow-lists."))
        }
        (Resource::Client, Action::Change) => match subject {
            Subject::App(app) => changes_client_of(key, app),
            _ => Err(Error::internal("a client without its app")),
        },
        (_, Action::List | Action::Read | Action::Use | Action::Change) => Ok(()),
    }
}

/// What a limited key may not do.
fn refused(why: &str) -> Error {
    Error::new(Code::InsufficientKeyScope, format!("This key is limited to some connections or apps. {why}"))
}

/// A client's connections are of all apps that share it.
fn changes_client_of(key: &Key, app: &AppId) -> Result<()> {
    if key.connections.is_some() {
        return Err(refused("Other connections may use this client, too. Use a key without a list of connections."));
    }
    let lacks = |id: &&str| !AppId::parse(id).is_some_and(|id| sees_app(key, &id));
    let lacking: Vec<_> = catalogue::sharing_a_client_with(app.as_str()).filter(lacks).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(refused(&format!(
        "These apps share the client and are not on its list: {}. Use a key that has all of them.",
        lacking.join(", ")
    )))
}

/// Refuses a link that a limited key may not make: all but the ones that repair its own connections.
pub fn new_link(key: &Key, repairs: Option<&ConnectionId>) -> Result<()> {
    if is_limited(key) && repairs.is_none() {
        return Err(refused(
            "It makes links for its own connections alone: name one in `connection`, or use a key without allow-lists.",
        ));
    }
    Ok(())
}

/// Refuses a sign-in link for a role that a key may not give.
pub fn sign_in_as(key: &Key, role: Role) -> Result<()> {
    match role {
        Role::Member => Ok(()),
        Role::Admin => key.require(Scope::People),
    }
}

// ---- people ----

/// Whether a person may change a connection.
pub fn changes(user: &User, role: Role, connection: &Connection) -> bool {
    role == Role::Admin || connection.user.as_ref().is_some_and(|owner| owner.id == user.id)
}

/// The same, for whoever is signed in.
pub fn may_change(session: &Session, connection: &Connection) -> bool {
    session.user().is_some_and(|user| changes(user, session.role, connection))
}

fn person_may(session: &Session, needs: Needs, subject: &Subject) -> Result<()> {
    let may = match (needs, subject) {
        (Needs::Member, _) => true,
        (Needs::OwnerOrAdmin, Subject::Connection(listed)) => may_change(session, &listed.connection),
        (Needs::OwnerOrAdmin | Needs::Admin, _) => session.role == Role::Admin,
    };
    if may { Ok(()) } else { Err(ask_an_admin()) }
}

/// A member wants to change what is everybody's.
pub fn ask_an_admin() -> Error {
    Error::new(
        Code::AdminRequired,
        "This belongs to the whole workspace, so only an admin may change it. Ask an admin of the workspace to do it.",
    )
}

/// Whether a person's flow may still change a connection. It was allowed when the flow began; the connection may have
/// become somebody else's, or the session ended, since. Who came by a link has the authority of the link, and a program
/// that of its key.
pub async fn may_still_change<P: Ports>(core: &Core<P>, flow: &Authorization, connection: &Connection) -> Result<bool> {
    let Some(user) = flow.user.as_ref().filter(|_| flow.link.is_none()) else { return Ok(true) };
    if changes(user, Role::Member, connection) {
        return Ok(true);
    }
    let session = sessions::get(core.db(), &flow.session_hash, core.now()).await?;
    Ok(session.is_some_and(|session| session.workspace == flow.workspace && may_change(&session, connection)))
}

/// Whether two connections would have the same owner: only then does a flow take the place of the other one's credential.
pub fn same_owner(flow: &Authorization, connection: &Connection) -> bool {
    let id = |user: &Option<User>| user.as_ref().map(|user| user.id.clone());
    id(&flow.user) == id(&connection.user)
}
