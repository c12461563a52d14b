//! Keys, links, sign-in links and sessions.

use serde::Serialize;

use crate::app::{AppId, AuthMethodId};
use crate::cache::CacheRemovalStatus;
use crate::caller::{ApiKey, KeyScope};
use crate::connect::FlowFailure;
use crate::environment::Environment;
use crate::http::body::Flat;
use crate::ids::{ApiKeyId, ConnectionId, LinkId, SessionId, SignInLinkId};
use crate::secret::Secret;
use crate::store::keys::EndedWithKey;
use crate::store::links::{Link, LinkAttempt, LinkAttemptStatus, LinkState, OnDuplicate};
use crate::store::sessions::{Session, SessionKind, SignInLink};
use crate::time::Timestamp;
use crate::workspace::{Role, User};

/// An API key, without its text.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ApiKeyResponse {
    id: ApiKeyId,
    name: String,
    scopes: Vec<KeyScope>,
    /// The only connections it may see. Null: all.
    connections: Option<Vec<ConnectionId>>,
    /// The only apps it may see. Null: all.
    apps: Option<Vec<AppId>>,
    /// The only environment whose connections it may see. Null: all.
    environment: Option<Environment>,
    expires_at: Option<Timestamp>,
    created_at: Option<Timestamp>,
    /// The key that created it. Null for a workspace's first key and for keys of earlier versions.
    made_by: Option<ApiKeyId>,
    /// Until when the secret before the last rotation is also accepted. Null if it is not.
    previous_secret_until: Option<Timestamp>,
}

impl ApiKeyResponse {
    /// As it is now.
    pub(crate) fn of(key: ApiKey, now: Timestamp) -> Self {
        Self {
            id: key.id,
            name: key.name,
            scopes: key.scopes,
            connections: key.connections,
            apps: key.apps,
            environment: key.environment,
            expires_at: key.expires_at,
            created_at: key.created_at,
            made_by: key.made_by,
            previous_secret_until: key.previous.map(|one| one.until).filter(|until| now < *until),
        }
    }
}

/// An API key with its text, which is shown once.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NewApiKeyResponse {
    #[serde(flatten)]
    about: Flat<ApiKeyResponse>,
    /// The key's text: `cx_<id>_<secret and checksum>`. Shown once.
    key: String,
    /// Only if a cache entry could not be deleted yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_entries: Option<CacheRemovalStatus>,
}

impl NewApiKeyResponse {
    pub(crate) fn of(key: ApiKey, text: &Secret, copies: Option<CacheRemovalStatus>, now: Timestamp) -> Self {
        Self {
            about: Flat(ApiKeyResponse::of(key, now)),
            key: text.expose().to_owned(),
            cache_entries: super::kept_copies(copies),
        }
    }
}

/// A key that was revoked, and what ended with it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DeletedKeyResponse {
    pub(crate) id: ApiKeyId,
    #[cfg_attr(test, schemars(extend("const" = true)))]
    pub(crate) deleted: bool,
    /// How many of each ended; 0 with `made=keep`.
    pub(crate) ended: EndedWithKey,
    /// Valid keys that it created. Revoke those that are not needed, too.
    #[cfg_attr(test, schemars(length(max = 200)))]
    pub(crate) made_keys: Vec<ApiKeyId>,
    /// Only if a cache entry could not be deleted yet. It is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_entries: Option<CacheRemovalStatus>,
}

/// A new link.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CreatedLinkResponse {
    pub(crate) id: LinkId,
    /// Opens the link. Send it only to its user.
    #[cfg_attr(test, schemars(url))]
    pub(crate) url: String,
    pub(crate) expires_at: Timestamp,
}

/// An attempt to connect by a link.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LinkAttemptResponse {
    status: LinkAttemptStatus,
    /// Why it failed.
    error: Option<FlowFailure>,
    started_at: Timestamp,
}

impl LinkAttemptResponse {
    fn of(attempt: &LinkAttempt, now: Timestamp) -> Self {
        Self {
            status: attempt.status(now),
            error: attempt.error().and_then(FlowFailure::parse),
            started_at: attempt.started_at(),
        }
    }
}

/// A link, without its URL.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LinkResponse {
    id: LinkId,
    app: AppId,
    /// The auth method that the creator of the link has fixed. Null: the person chooses.
    auth_method: Option<AuthMethodId>,
    status: LinkState,
    /// The last attempt of the person, in the browser that has the link. Null: nobody has pressed its button yet, or the
    /// attempt was over a day ago.
    last_attempt: Option<LinkAttemptResponse>,
    user: Option<User>,
    /// What the account is for. For a repair: that of the connection when the link was made.
    environment: Option<Environment>,
    /// Whether a new connection is shared. Null: if it has no owner.
    shared: Option<bool>,
    /// The connection that it created or repaired.
    connection: Option<ConnectionId>,
    /// The connection to repair.
    repairs: Option<ConnectionId>,
    confirm: bool,
    on_duplicate: OnDuplicate,
    /// The key that created it. Null for links of earlier versions.
    made_by: Option<ApiKeyId>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl LinkResponse {
    pub(crate) fn of(link: Link, now: Timestamp) -> Self {
        Self {
            status: link.state(now),
            last_attempt: link.last_attempt.as_ref().map(|attempt| LinkAttemptResponse::of(attempt, now)),
            id: link.id,
            app: link.app,
            auth_method: link.auth_method,
            user: link.user,
            environment: link.settings.environment,
            shared: link.settings.shared,
            connection: link.result_connection,
            repairs: link.connection,
            confirm: link.needs_confirmation,
            on_duplicate: link.on_duplicate,
            made_by: link.made_by.map(|maker| maker.key),
            created_at: link.created_at,
            expires_at: link.expires_at,
        }
    }
}

/// A new sign-in link.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CreatedSignInLinkResponse {
    pub(crate) id: SignInLinkId,
    /// Signs the person in, once.
    #[cfg_attr(test, schemars(url))]
    pub(crate) url: String,
    pub(crate) role: Role,
    pub(crate) expires_at: Timestamp,
}

/// Whether a sign-in link was used.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum SignInLinkState {
    /// It can be used.
    Open,
    /// It was used.
    Used,
}

/// A sign-in link, without its URL.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SignInLinkResponse {
    id: SignInLinkId,
    status: SignInLinkState,
    user: User,
    role: Role,
    /// The page after the sign-in. Null: the list of connections.
    return_to: Option<String>,
    /// The key that created it.
    made_by: Option<ApiKeyId>,
    created_at: Timestamp,
    expires_at: Timestamp,
    used_at: Option<Timestamp>,
}

impl From<SignInLink> for SignInLinkResponse {
    fn from(link: SignInLink) -> Self {
        Self {
            id: link.id(),
            status: if link.used_at.is_some() { SignInLinkState::Used } else { SignInLinkState::Open },
            user: link.user,
            role: link.role,
            return_to: link.return_to,
            made_by: link.made_by.map(|maker| maker.key),
            created_at: link.created_at,
            expires_at: link.expires_at,
            used_at: link.used_at,
        }
    }
}

/// The type of a session.
#[derive(Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(crate) enum SessionType {
    /// Of a signed-in person.
    Person,
    /// Of a connect link. It opens nothing else.
    Link,
}

impl SessionType {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Person, Self::Link].into_iter().find(|one| one.as_str() == text)
    }

    /// The stored and shown word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Link => "link",
        }
    }
}

/// A browser's session, without its cookie.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SessionResponse {
    id: SessionId,
    r#type: SessionType,
    /// The signed-in person. Null for a link's session.
    user: Option<User>,
    /// Null for a link's session.
    role: Option<Role>,
    /// The connect link. Null for a person's session.
    link: Option<LinkId>,
    /// The key that created the link it was opened with.
    made_by: Option<ApiKeyId>,
    created_at: Timestamp,
    expires_at: Timestamp,
}

impl From<Session> for SessionResponse {
    fn from(session: Session) -> Self {
        let id = session.id();
        let (r#type, user, link) = match session.kind {
            SessionKind::User(user) => (SessionType::Person, Some(user), None),
            SessionKind::Link(link) => (SessionType::Link, None, Some(link)),
        };
        Self {
            id,
            r#type,
            role: user.as_ref().map(|_| session.role),
            user,
            link,
            made_by: session.made_by,
            created_at: session.created_at,
            expires_at: session.expires_at,
        }
    }
}
