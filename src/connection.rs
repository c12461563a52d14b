//! The connection: app + account + credential + name + status, and the rules it carries itself.
//!
//! Owns status words, lifetimes and freshness of a token, missing scopes and what needs attention.
//! Refuses I/O and time: `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;

use crate::account::Account;
use crate::app::{AppId, AuthMethod, AuthMethodId, CredentialKind, ResolvedEndpoints, TemplateValues};
use crate::client::ClientProblem;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::ids::{AttemptId, ClientId, ConnectionId, WorkspaceId};
use crate::time::Timestamp;
use crate::vault::KeyRing;
use crate::workspace::User;

/// Whether a connection can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConnectionStatus"))]
pub enum ConnectionStatus {
    /// It works, as far as is known.
    Connected,
    /// Made through a link; the embedding product has not confirmed the person yet.
    AwaitingConfirmation,
    /// Only a person can repair it.
    NeedsReconnect,
}

impl ConnectionStatus {
    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::AwaitingConfirmation => "awaiting_confirmation",
            Self::NeedsReconnect => "needs_reconnect",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Connected, Self::AwaitingConfirmation, Self::NeedsReconnect]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// Why a connection needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConnectionReason"))]
pub enum ReconnectReason {
    /// The app says the grant is gone.
    Revoked,
    /// The grant's life, as the app tells it, is over.
    Expired,
    /// The app rotated the refresh token and its answer was lost on the way.
    LostRotation,
    /// The access token ended and the app gave no refresh token.
    RefreshTokenMissing,
    /// The app refuses the credential.
    CredentialRejected,
    /// The app says that the credential is another account's.
    OtherAccount,
    /// The stored credential does not open with the present keys.
    Unreadable,
}

impl ReconnectReason {
    const ALL: [Self; 7] = [
        Self::Revoked,
        Self::Expired,
        Self::LostRotation,
        Self::RefreshTokenMissing,
        Self::CredentialRejected,
        Self::OtherAccount,
        Self::Unreadable,
    ];

    /// The stored and shown word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::LostRotation => "lost_rotation",
            Self::RefreshTokenMissing => "refresh_token_missing",
            Self::CredentialRejected => "credential_rejected",
            Self::OtherAccount => "other_account",
            Self::Unreadable => "unreadable",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }

    /// What happened, for a person.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Revoked => "The app says that the access was revoked.",
            Self::Expired => "The access has expired, at the time that the app had set.",
            Self::LostRotation => "The app renewed the access, but its answer was lost on the way.",
            Self::RefreshTokenMissing => "The access ended and the app gave nothing to renew it with.",
            Self::CredentialRejected => "The app no longer accepts this credential.",
            Self::OtherAccount => "The app says that this credential now belongs to another account.",
            Self::Unreadable => "The stored credential cannot be decrypted with the current encryption keys.",
        }
    }
}

/// The life of an access token, in the record's clear columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime {
    /// When it was obtained.
    pub issued_at: Timestamp,
    /// When it ends; `None` when the app did not say.
    pub expires_at: Option<Timestamp>,
}

/// A refresh that was promised in the record and may still be under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshLease {
    /// Whose it is.
    pub attempt: AttemptId,
    /// Until when nobody else may redeem the token.
    pub until: Timestamp,
    /// The hash of the refresh token being redeemed.
    pub token_hash: String,
}

/// That an app refuses to renew a connection, by a code that does not end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshRefusal {
    /// The app's error code, reduced to `[a-z0-9_.-]{1,64}`; none where it gave none.
    pub code: Option<String>,
    /// When it first did so without having renewed it since.
    pub since: Timestamp,
}

impl RefreshRefusal {
    /// Its code as a sentence.
    pub fn reported_code_sentence(&self) -> String {
        match &self.code {
            Some(code) => format!("Its error code is {code}."),
            None => "It gives no error code.".to_owned(),
        }
    }
}

/// A connection as stored: everything but the opened credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Id.
    pub id: ConnectionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its app.
    pub app: AppId,
    /// The revision of a custom app's definition; 0 for the catalogue.
    pub app_revision: i64,
    /// Which of the app's ways to connect it was made by.
    pub auth_method: AuthMethodId,
    /// Which kind of credential that brings.
    pub kind: CredentialKind,
    /// What the app's addresses depend on.
    pub variables: BTreeMap<String, String>,
    /// Where its credential may go, as far as that was fixed when it was obtained: for a workspace's own app, and where the
    /// endpoints were discovered.
    pub destinations: Option<Destinations>,
    /// The client it was made with; none where a person entered the credential.
    pub client: Option<ClientId>,
    /// What people call it.
    pub name: String,
    /// Whose it is; nobody's means the whole workspace's.
    pub user: Option<User>,
    /// The embedder's own map.
    pub metadata: BTreeMap<String, String>,
    /// The only workflows that may use it, if limited.
    pub allowed_workflows: Option<Vec<String>>,
    /// Who it is at the app, if the app tells.
    pub account: Option<Account>,
    /// Scopes that were asked for.
    pub scopes_requested: Vec<String>,
    /// Scopes the app granted.
    pub scopes_granted: Vec<String>,
    /// When it was first made.
    pub created_at: Timestamp,
    /// When it was last connected.
    pub connected_at: Timestamp,
    /// When a credential was last handed out (to five minutes).
    pub last_used_at: Option<Timestamp>,
    /// Counts reconnects.
    pub generation: i64,
    /// Counts changes of the credential.
    pub version: i64,
    /// Whether it can be used.
    pub status: ConnectionStatus,
    /// Why not.
    pub reason: Option<ReconnectReason>,
    /// The sealed credential; none after a dead one was purged.
    pub sealed_credential: Option<String>,
    /// When the access token ends.
    pub expires_at: Option<Timestamp>,
    /// Whether there is a refresh token.
    pub refreshable: bool,
    /// When it was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// When the refresh token ends, if known.
    pub refresh_expires_at: Option<Timestamp>,
    /// When the refresh token dies if it is not used until then.
    pub refresh_idle_until: Option<Timestamp>,
    /// When the whole grant ends, however often it is refreshed.
    pub grant_expires_at: Option<Timestamp>,
    /// The refresh under way, or the one that never reported back.
    pub lease: Option<RefreshLease>,
    /// A refresh token whose redemption ended without a readable answer.
    pub ambiguous_token_hash: Option<String>,
    /// When it was first presented.
    pub ambiguous_since: Option<Timestamp>,
    /// No refresh before.
    pub next_attempt_at: Timestamp,
    /// Failures in a row.
    pub failures: i64,
    /// The code of the last failure.
    pub last_error: Option<String>,
    /// That the app refuses to renew it, if it does.
    pub refusal: Option<RefreshRefusal>,
    /// When it was last known to work or not.
    pub checked_at: Option<Timestamp>,
    /// How that was known.
    pub check_evidence: Option<String>,
    /// When the clock looks at it again.
    pub next_check_at: Option<Timestamp>,
    /// What to tell a person where it works and yet was seen to see nothing.
    pub nothing_shared: Option<String>,
    /// Why it stays with an earlier definition of its app than the current one.
    pub definition_changed: Option<DefinitionChange>,
}

/// A connection does not follow its app's current definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct DefinitionChange {
    /// The revision that it was held against.
    pub revision: i64,
    /// What stands against it.
    pub obstacle: MoveObstacle,
    /// The hosts that its credential would go to in addition; at a host that it goes to already, the address.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
}

/// What stands against moving a connection to a changed definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveObstacle {
    /// Its secrets would go to other addresses.
    Addresses,
    /// Its client was set up for other addresses.
    Client,
    /// Its way to connect is gone, or brings another kind of credential.
    Method,
    /// A person enters other fields.
    Fields,
    /// The addresses depend on what is not known of it.
    Variables,
    /// Its account would be known by another id.
    Identity,
}

impl MoveObstacle {
    /// The shown code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Client => "client",
            Self::Method => "method",
            Self::Fields => "fields",
            Self::Variables => "variables",
            Self::Identity => "identity",
        }
    }

    fn explanation(self) -> &'static str {
        match self {
            Self::Addresses => "would send this credential to other addresses",
            Self::Client => "needs an OAuth client that is set up for its present addresses",
            Self::Method => "does not have the auth method of this connection",
            Self::Fields => "asks for other fields",
            Self::Variables => "has addresses that depend on values that this connection does not have",
            Self::Identity => "uses another id for the account",
        }
    }
}

impl DefinitionChange {
    /// What happened and what helps, for a person.
    pub fn explanation(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(String::as_str).collect();
        let hosts = if hosts.is_empty() { String::new() } else { format!(" ({})", hosts.join(", ")) };
        format!(
            "The app's definition was changed, and the new one {}{hosts}. This connection stays with the earlier definition. Reconnect it to use the new one.",
            self.obstacle.explanation()
        )
    }
}

/// Seconds of slack between the clocks of two Workers.
const CLOCK_SLACK: i64 = 5;
/// Seconds, a week: an access that ends sooner "expires soon".
pub const EXPIRES_SOON_WITHIN: i64 = 7 * 86_400;
/// Seconds without a use after which a connection counts as unused: 90 days.
pub const UNUSED_AFTER: i64 = 90 * 86_400;
/// Seconds before the end of a refresh token in which a check renews it: a day before people would be warned of it.
const REFRESH_TOKEN_RENEWAL_LEAD: i64 = EXPIRES_SOON_WITHIN + 86_400;
/// So many failures in a row are no hiccup.
pub const FAILURE_THRESHOLD: i64 = 3;
/// Under so many seconds of life a token is not worth handing out after a failed refresh.
pub const MIN_USABLE_TTL: i64 = 10;

impl TokenLifetime {
    /// Seconds left; `None` for ever.
    pub fn remaining(self, now: Timestamp) -> Option<i64> {
        self.expires_at.map(|until| until.since(now))
    }

    fn total(self) -> Option<i64> {
        self.expires_at.map(|until| until.since(self.issued_at).max(0))
    }

    /// What a caller may demand: a token whose whole life is short counts as long enough from half of it.
    pub fn effective_min_ttl(self, min_ttl: i64) -> i64 {
        self.total().map_or(min_ttl, |whole| min_ttl.min(whole / 2))
    }

    /// Whether it lives at least that long.
    pub fn lasts_for(self, seconds: i64, now: Timestamp) -> bool {
        self.remaining(now).is_none_or(|left| left >= seconds)
    }

    /// From when a refresh ahead of need makes sense: a tenth of its life before its end, at least a
    /// minute, at most a quarter of it; `jitter` (0 to 255) spreads connections over a tenth of that.
    pub fn early_refresh_from(self, jitter: u8) -> Option<Timestamp> {
        let whole = self.total()?;
        let early = (whole / 10).max(60).min(whole / 4);
        Some(self.expires_at?.plus(-early - early * i64::from(jitter) / 2550))
    }
}

impl Connection {
    /// Why its client could not be used at the last attempt, so that the app was not asked.
    pub fn client_problem(&self) -> Option<ClientProblem> {
        self.last_error.as_deref().and_then(ClientProblem::parse)
    }

    /// The life of its access token.
    pub fn life(&self) -> TokenLifetime {
        TokenLifetime {
            issued_at: self.refreshed_at.unwrap_or(self.connected_at).max(self.connected_at),
            expires_at: self.expires_at,
        }
    }

    /// A fixed number per connection that spreads the clock's work.
    pub fn jitter(&self) -> u8 {
        self.id.jitter()
    }

    /// What the app says, where it keeps refusing to renew this and that matters: no valid token is left, or it has said so
    /// [`FAILURE_THRESHOLD`] times. The list's filter in `store::connections` says the same in SQL.
    pub fn lasting_refusal(&self, now: Timestamp) -> Option<&RefreshRefusal> {
        let matters = self.failures >= FAILURE_THRESHOLD || self.expires_at.is_some_and(|end| end <= now);
        self.refusal.as_ref().filter(|_| self.status == ConnectionStatus::Connected && matters)
    }

    /// Requested scopes that the app did not grant.
    pub fn missing_scopes(&self) -> Vec<String> {
        self.scopes_requested.iter().filter(|scope| !self.scopes_granted.contains(scope)).cloned().collect()
    }

    /// The nearest end that only a person can put off: of the refresh token, of the grant, of an unused token.
    pub fn reconnect_due_at(&self) -> Option<Timestamp> {
        [self.refresh_expires_at, self.refresh_idle_until, self.grant_expires_at].into_iter().flatten().min()
    }

    /// From when it is to be renewed although its access token is good, because that puts off the end of its refresh
    /// token: [`REFRESH_TOKEN_RENEWAL_LEAD`] seconds before, or half of its life where that is shorter.
    pub fn refresh_token_renewal_from(&self) -> Option<Timestamp> {
        let end =
            self.refresh_expires_at.into_iter().chain(self.refresh_idle_until).min().filter(|_| self.refreshable)?;
        // An end that a renewal has outlived means nothing.
        let whole = Some(end.since(self.life().issued_at)).filter(|whole| *whole > 0)?;
        Some(end.plus(-REFRESH_TOKEN_RENEWAL_LEAD.min(whole / 2)))
    }

    /// Its credential, unless it was purged or does not open with this ring.
    pub fn credential(&self, key_ring: &KeyRing) -> Option<Credential> {
        let seal_context = Credential::seal_context(&self.workspace, &self.id, self.generation);
        Credential::open(key_ring, &seal_context, self.sealed_credential.as_deref()?).ok()
    }

    /// Where its credential may go. Of a row that does not say it, this follows from the definition it was made with.
    pub fn destinations(&self, auth_method: &AuthMethod, endpoints: Option<&ResolvedEndpoints>) -> Rc<Destinations> {
        let stored = self.destinations.clone();
        Rc::new(stored.unwrap_or_else(|| Destinations::for_grant(auth_method, endpoints, &self.variables)))
    }

    /// What places in addresses are filled with, besides the credential.
    pub fn add_template_values(&self, values: TemplateValues) -> TemplateValues {
        let values = values.with_all(&self.variables);
        match &self.account {
            Some(account) => values.with("account_id", &account.id),
            None => values,
        }
    }

    /// Whether its refresh token may have been redeemed without anybody knowing what came of it.
    pub fn has_unknown_refresh_outcome(&self) -> bool {
        self.lease.is_some() || self.ambiguous_token_hash.is_some()
    }

    /// The intent of an attempt that may still be under way.
    pub fn active_lease(&self, now: Timestamp) -> Option<&RefreshLease> {
        self.lease.as_ref().filter(|lease| now <= lease.until.plus(CLOCK_SLACK))
    }

    /// Whether a person may see it: their own, and what belongs to the whole workspace.
    pub fn is_visible_to(&self, user: &User) -> bool {
        self.user.as_ref().is_none_or(|owner| owner.id == user.id)
    }

    /// The status as shown: `unreadable` is derived from the ring, never stored.
    pub fn shown_status(&self, key_ring: &KeyRing) -> (ConnectionStatus, Option<ReconnectReason>) {
        let readable = self.sealed_credential.as_deref().is_none_or(|sealed| {
            crate::vault::key_id_of(sealed).is_some_and(|id| key_ring.ids().any(|known| known == id))
        });
        if readable {
            (self.status, self.reason)
        } else {
            (ConnectionStatus::NeedsReconnect, Some(ReconnectReason::Unreadable))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix(seconds)
    }

    #[test]
    fn a_token_of_an_hour_is_refreshed_six_minutes_early_and_one_of_two_minutes_thirty_seconds_early() {
        let hour = TokenLifetime { issued_at: at(0), expires_at: Some(at(3600)) };
        assert_eq!(hour.early_refresh_from(0), Some(at(3240)));
        assert!(hour.early_refresh_from(255).unwrap() >= at(3240 - 36));
        let two_minutes = TokenLifetime { issued_at: at(0), expires_at: Some(at(120)) };
        assert_eq!(two_minutes.early_refresh_from(0), Some(at(90)));
        assert_eq!(TokenLifetime { issued_at: at(0), expires_at: None }.early_refresh_from(0), None);
    }

    #[test]
    fn min_ttl_is_capped_at_half_the_lifetime_of_a_short_token() {
        let short = TokenLifetime { issued_at: at(0), expires_at: Some(at(60)) };
        assert_eq!(short.effective_min_ttl(600), 30);
        assert!(short.lasts_for(30, at(30)));
        assert!(!short.lasts_for(31, at(30)));
        assert!(TokenLifetime { issued_at: at(0), expires_at: None }.lasts_for(1_000_000, at(30)));
    }
}
