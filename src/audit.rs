//! The words of the audit log: what happened to a connection, and who did it.
//!
//! Owns what each word means and its stored text. Refuses to store anything: `store::events` writes the lines. What is
//! read may come from another version, so a text that is not known here is no error.

use std::fmt;

use crate::frozen;
use crate::ids::{ApiKeyId, LinkId};

/// What happened to a connection.
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
    /// It was disconnected, and its grant revoked or not.
    Disconnected,
}

impl EventType {
    const ALL: [Self; 12] = [
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
        Self::Disconnected,
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
            Self::Disconnected => frozen::event::DISCONNECTED,
        }
    }

    /// Reads the stored text.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// Who did something to a connection. `Display` is the stored text.
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
            _ => [Self::UnknownUser, Self::Embedder, Self::Refresh, Self::Check, Self::ScheduledRun]
                .into_iter()
                .find(|one| one.to_string() == text),
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
        ];
        for (actor, text) in texts {
            assert_eq!(actor.to_string(), text);
            assert_eq!(Actor::parse(&text), Some(actor));
        }
        assert_eq!(Actor::parse("of a later version"), None);
    }
}
