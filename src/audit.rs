//! The words of the audit log: what happened in a workspace, who did it, and where the request came from.
//!
//! Owns what each word means and its stored text. Refuses to store anything: `store::events` writes the lines. What is
//! read may come from another version, so a text that is not known here is no error.

use std::fmt;

use crate::frozen;
use crate::ids::{ApiKeyId, LinkId};

/// What happened, to a connection or to something else of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// It was made.
    Connected,
    /// It got a new grant.
    Reconnected,
    /// It got a grant of another account, because a person or a program said so.
    AccountSwitched,
    /// Its account was connected once more, and it stayed as it was: it has more permissions than the new grant.
    Reused,
    /// The embedding product confirmed the person.
    Confirmed,
    /// Its name, metadata or policy was changed.
    Edited,
    /// Only a person can repair it from now on.
    NeedsReconnect,
    /// One of its several tokens can't be renewed any more.
    TokenLost,
    /// It was moved to the current definition of its app.
    DefinitionUpdated,
    /// It stays with an earlier definition of its app.
    DefinitionChanged,
    /// It became the default of its app, or is no longer.
    DefaultChanged,
    /// Another connection answers for it from now on, or it answers for another one.
    Replaced,
    /// It answers for itself again, or no longer for another one.
    ReplacementEnded,
    /// Somebody has seen that steps used another connection before.
    ChangesAcknowledged,
    /// It was disconnected, and its grant revoked or not.
    Disconnected,
    /// Its disconnect was undone.
    DisconnectUndone,
    /// An API key was made.
    KeyCreated,
    /// A key got a new secret.
    KeyRotated,
    /// A key was revoked.
    KeyRevoked,
    /// The workspace was made.
    WorkspaceCreated,
    /// Settings of the workspace were changed.
    WorkspaceChanged,
    /// A custom app was made.
    AppCreated,
    /// The definition of a custom app was replaced.
    AppChanged,
    /// A custom app was removed.
    AppDeleted,
    /// All connections of an app, or of one of its clients, were disconnected at once.
    AppDisconnected,
    /// An OAuth client was put, or got a new secret.
    ClientChanged,
    /// What an app's events are verified with was set or removed.
    EventSecretChanged,
    /// An OAuth client was deleted.
    ClientDeleted,
    /// A connect link was made.
    LinkCreated,
    /// A connect link was ended.
    LinkEnded,
    /// A sign-in link was made.
    SignInLinkCreated,
    /// A sign-in link was deleted.
    SignInLinkDeleted,
    /// A person signed in.
    SignedIn,
    /// A person signed out.
    SignedOut,
    /// A session was ended by somebody else.
    SessionEnded,
    /// A person got another role.
    RoleChanged,
    /// A person was removed from the workspace.
    PersonRemoved,
    /// A credential was handed out.
    CredentialReturned,
    /// A request was sent to an app with a credential that its caller did not get.
    RequestProxied,
    /// A key of the workspace was sent with a wrong secret, or after its end.
    AuthenticationRefused,
    /// A webhook was made.
    WebhookCreated,
    /// A webhook was changed.
    WebhookChanged,
    /// A webhook got a new secret.
    WebhookRotated,
    /// A webhook was deleted.
    WebhookDeleted,
    /// A webhook was switched off, because it failed.
    WebhookDisabled,
    /// A person gets other e-mails, or none.
    EmailPreferenceChanged,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 46] = [
        Self::Connected,
        Self::Reconnected,
        Self::AccountSwitched,
        Self::Reused,
        Self::Confirmed,
        Self::Edited,
        Self::NeedsReconnect,
        Self::TokenLost,
        Self::DefinitionUpdated,
        Self::DefinitionChanged,
        Self::DefaultChanged,
        Self::Replaced,
        Self::ReplacementEnded,
        Self::ChangesAcknowledged,
        Self::Disconnected,
        Self::DisconnectUndone,
        Self::KeyCreated,
        Self::KeyRotated,
        Self::KeyRevoked,
        Self::WorkspaceCreated,
        Self::WorkspaceChanged,
        Self::AppCreated,
        Self::AppChanged,
        Self::AppDeleted,
        Self::AppDisconnected,
        Self::ClientChanged,
        Self::EventSecretChanged,
        Self::ClientDeleted,
        Self::LinkCreated,
        Self::LinkEnded,
        Self::SignInLinkCreated,
        Self::SignInLinkDeleted,
        Self::SignedIn,
        Self::SignedOut,
        Self::SessionEnded,
        Self::RoleChanged,
        Self::PersonRemoved,
        Self::CredentialReturned,
        Self::RequestProxied,
        Self::AuthenticationRefused,
        Self::WebhookCreated,
        Self::WebhookChanged,
        Self::WebhookRotated,
        Self::WebhookDeleted,
        Self::WebhookDisabled,
        Self::EmailPreferenceChanged,
    ];

    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => frozen::event::CONNECTED,
            Self::Reconnected => frozen::event::RECONNECTED,
            Self::AccountSwitched => frozen::event::ACCOUNT_SWITCHED,
            Self::Reused => frozen::event::REUSED,
            Self::Confirmed => frozen::event::CONFIRMED,
            Self::Edited => frozen::event::EDITED,
            Self::NeedsReconnect => frozen::event::NEEDS_RECONNECT,
            Self::TokenLost => frozen::event::TOKEN_LOST,
            Self::DefinitionUpdated => frozen::event::DEFINITION_UPDATED,
            Self::DefinitionChanged => frozen::event::DEFINITION_CHANGED,
            Self::DefaultChanged => frozen::event::DEFAULT_CHANGED,
            Self::Replaced => frozen::event::REPLACED,
            Self::ReplacementEnded => frozen::event::REPLACEMENT_ENDED,
            Self::ChangesAcknowledged => frozen::event::CHANGES_ACKNOWLEDGED,
            Self::Disconnected => frozen::event::DISCONNECTED,
            Self::DisconnectUndone => frozen::event::DISCONNECT_UNDONE,
            Self::KeyCreated => frozen::event::KEY_CREATED,
            Self::KeyRotated => frozen::event::KEY_ROTATED,
            Self::KeyRevoked => frozen::event::KEY_REVOKED,
            Self::WorkspaceCreated => frozen::event::WORKSPACE_CREATED,
            Self::WorkspaceChanged => frozen::event::WORKSPACE_CHANGED,
            Self::AppCreated => frozen::event::APP_CREATED,
            Self::AppChanged => frozen::event::APP_CHANGED,
            Self::AppDeleted => frozen::event::APP_DELETED,
            Self::AppDisconnected => frozen::event::APP_DISCONNECTED,
            Self::ClientChanged => frozen::event::CLIENT_CHANGED,
            Self::EventSecretChanged => frozen::event::EVENT_SECRET_CHANGED,
            Self::ClientDeleted => frozen::event::CLIENT_DELETED,
            Self::LinkCreated => frozen::event::LINK_CREATED,
            Self::LinkEnded => frozen::event::LINK_ENDED,
            Self::SignInLinkCreated => frozen::event::SIGN_IN_LINK_CREATED,
            Self::SignInLinkDeleted => frozen::event::SIGN_IN_LINK_DELETED,
            Self::SignedIn => frozen::event::SIGNED_IN,
            Self::SignedOut => frozen::event::SIGNED_OUT,
            Self::SessionEnded => frozen::event::SESSION_ENDED,
            Self::RoleChanged => frozen::event::ROLE_CHANGED,
            Self::PersonRemoved => frozen::event::PERSON_REMOVED,
            Self::CredentialReturned => frozen::event::CREDENTIAL_RETURNED,
            Self::RequestProxied => frozen::event::REQUEST_PROXIED,
            Self::AuthenticationRefused => frozen::event::AUTHENTICATION_REFUSED,
            Self::WebhookCreated => frozen::event::WEBHOOK_CREATED,
            Self::WebhookChanged => frozen::event::WEBHOOK_CHANGED,
            Self::WebhookRotated => frozen::event::WEBHOOK_ROTATED,
            Self::WebhookDeleted => frozen::event::WEBHOOK_DELETED,
            Self::WebhookDisabled => frozen::event::WEBHOOK_DISABLED,
            Self::EmailPreferenceChanged => frozen::event::EMAIL_PREFERENCE_CHANGED,
        }
    }

    /// Reads the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// Who did something. `Display` is the stored text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, by the workspace's id of them.
    User(String),
    /// A person whose id nobody told.
    UnknownUser,
    /// A program, by its API key.
    Key(ApiKeyId),
    /// Whoever came by a connect link.
    Link(LinkId),
    /// The embedding product that made a connect link.
    Embedder,
    /// A refresh.
    Refresh,
    /// A check, scheduled or on demand.
    Check,
    /// The scheduled run.
    ScheduledRun,
    /// Who runs the installation.
    Operator,
    /// Somebody whose credential was refused.
    Unauthenticated,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(id) => write!(f, "user:{id}"),
            Self::UnknownUser => f.write_str("user"),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Link(id) => write!(f, "link:{id}"),
            Self::Embedder => f.write_str("embedder"),
            Self::Refresh => f.write_str("refresh"),
            Self::Check => f.write_str("check"),
            // Its older name.
            Self::ScheduledRun => f.write_str("clock"),
            Self::Operator => f.write_str("operator"),
            Self::Unauthenticated => f.write_str("unauthenticated"),
        }
    }
}

impl Actor {
    /// Reads the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("user", id)) => Some(Self::User(id.to_owned())),
            Some(("key", id)) => ApiKeyId::parse(id).map(Self::Key),
            Some(("link", id)) => LinkId::parse(id).map(Self::Link),
            _ => [
                Self::UnknownUser,
                Self::Embedder,
                Self::Refresh,
                Self::Check,
                Self::ScheduledRun,
                Self::Operator,
                Self::Unauthenticated,
            ]
            .into_iter()
            .find(|one| one.to_string() == text),
        }
    }
}

/// Characters of a user agent that an event keeps.
const MAX_USER_AGENT_LENGTH: usize = 200;

/// Where a request came from, as its events say it. Nothing is known of what the scheduled run or a Durable Object does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestOrigin {
    /// The id of the request, as in `X-Request-Id`.
    pub request: Option<String>,
    /// The caller's address; of IPv6 the network.
    pub address: Option<String>,
    /// What the caller calls itself, shortened.
    pub user_agent: Option<String>,
}

impl RequestOrigin {
    /// A user agent as an event keeps it. The caller may send anything: it is cut, and control characters are left out.
    pub fn shorten_user_agent(text: &str) -> Option<String> {
        let text: String = text.chars().filter(|one| !one.is_control()).take(MAX_USER_AGENT_LENGTH).collect();
        Some(text).filter(|text| !text.is_empty())
    }
}

/// Which credentials that are handed out are written to the audit log, one line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuditReads {
    /// None: the uses of a connection tell who used it, and when last.
    #[default]
    Sampled,
    /// All, after the answer. A line may be lost if the database fails just then.
    All,
    /// All, before the answer: without its line no credential is handed out.
    Durable,
}

impl AuditReads {
    /// Reads the variable `AUDIT_READS`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "sampled" => Some(Self::Sampled),
            "all" => Some(Self::All),
            "durable" => Some(Self::Durable),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_type_is_read_as_it_was_stored() {
        for one in EventType::ALL {
            assert_eq!(EventType::parse(one.as_str()), Some(one));
        }
        assert_eq!(EventType::parse("of_a_later_version"), None);
    }

    #[test]
    fn the_texts_of_actors_are_frozen() {
        let key = ApiKeyId::parse("key_0123456789abcdef").unwrap();
        let link = LinkId::parse("lnk_0123456789abcdefghijkl").unwrap();
        let texts = [
            (Actor::User("ann:1".into()), "user:ann:1".to_owned()),
            (Actor::UnknownUser, "user".to_owned()),
            (Actor::Key(key.clone()), format!("key:{key}")),
            (Actor::Link(link.clone()), format!("link:{link}")),
            (Actor::Embedder, "embedder".to_owned()),
            (Actor::Refresh, "refresh".to_owned()),
            (Actor::Check, "check".to_owned()),
            (Actor::ScheduledRun, "clock".to_owned()),
            (Actor::Operator, "operator".to_owned()),
            (Actor::Unauthenticated, "unauthenticated".to_owned()),
        ];
        for (actor, text) in texts {
            assert_eq!(actor.to_string(), text);
            assert_eq!(Actor::parse(&text), Some(actor));
        }
        assert_eq!(Actor::parse("of a later version"), None);
    }
}
