//! The connection: app + account + credential + name + status, and its rules.
//!
//! Owns statuses, lifetimes and freshness of a token, missing scopes and what needs attention. Does no I/O and reads no
//! clock: `now` is an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;

use crate::account::Account;
use crate::app::{AppId, AuthMethod, AuthMethodId, CredentialKind, ResolvedEndpoints, TemplateValues};
use crate::client::ClientProblem;
use crate::codes::codes;
use crate::credential::Credential;
use crate::destinations::Destinations;
use crate::environment::Environment;
use crate::ids::{AttemptId, ClientId, ConnectionId, WorkspaceId};
use crate::time::Timestamp;
use crate::vault::KeyRing;
use crate::workspace::User;

codes! {
    /// Whether a connection can be used.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConnectionStatus"))]
    pub enum ConnectionStatus {
        /// It works, as far as it is known.
        Connected = "connected",
        /// Created through a link. The embedding product has not confirmed the person yet.
        AwaitingConfirmation = "awaiting_confirmation",
        /// Only a person can repair it.
        NeedsReconnect = "needs_reconnect",
    }
}

codes! {
    /// Why a person must reconnect.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConnectionReason"))]
    pub enum ReconnectReason {
        /// The app says that the grant has ended.
        Revoked = "revoked",
        /// The grant has expired, by the lifetime that the app returned.
        Expired = "expired",
        /// The app rotated the refresh token and its response was lost.
        LostRotation = "lost_rotation",
        /// The access token expired and the app issued no refresh token.
        RefreshTokenMissing = "refresh_token_missing",
        /// The app refuses the credential.
        CredentialRejected = "credential_rejected",
        /// The app says that the credential belongs to another account.
        OtherAccount = "other_account",
        /// The stored credential cannot be decrypted with the current keys.
        Unreadable = "unreadable",
    }
}

impl ReconnectReason {
    /// What happened, for a person.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Revoked => "The app says that the access was revoked.",
            Self::Expired => "The access has expired, at the time that the app had set.",
            Self::LostRotation => "The app renewed the access, but we did not receive its answer.",
            Self::RefreshTokenMissing => "The access ended and the app gave nothing to renew it with.",
            Self::CredentialRejected => "The app no longer accepts this credential.",
            Self::OtherAccount => "The app says that this credential now belongs to another account.",
            Self::Unreadable => "The stored credential cannot be decrypted with the current encryption keys.",
        }
    }
}

/// The lifetime of an access token, in unencrypted columns of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime {
    /// When it was obtained.
    pub issued_at: Timestamp,
    /// Its expiry. `None` if the app returned none.
    pub expires_at: Option<Timestamp>,
}

/// A lease in the database. Its refresh may still be running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshLease {
    /// Its attempt.
    pub attempt: AttemptId,
    /// Until when nobody else may send the token.
    pub until: Timestamp,
    /// The hash of the refresh token that is sent.
    pub token_hash: String,
}

/// The app refuses to refresh a connection, with a code that does not end it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshRefusal {
    /// The app's error code, reduced to `[a-z0-9_.-]{1,64}`. None if it returned none.
    pub code: Option<String>,
    /// The first refusal since the last successful refresh.
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

/// How a step got its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum ChosenBy {
    /// It named the connection.
    #[default]
    Id,
    /// It named the app, and got the default of its user or of the workspace.
    Default,
    /// It named the app, and got the only connection that its user sees.
    Only,
}

impl ChosenBy {
    /// The word in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Default => "default",
            Self::Only => "only",
        }
    }

    /// Reads the word. What a later version wrote is read as an id: nothing is claimed of a default.
    pub fn parse(text: &str) -> Self {
        [Self::Default, Self::Only].into_iter().find(|one| one.as_str() == text).unwrap_or(Self::Id)
    }
}

/// What a new connection is given beside its grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConnectionSettings {
    /// What its account is for, if somebody says so.
    pub environment: Option<Environment>,
    /// Whether everybody of the workspace sees and uses it. None: if it has no owner.
    pub shared: Option<bool>,
}

/// A connection as stored, without its decrypted credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Id.
    pub id: ConnectionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its app.
    pub app: AppId,
    /// The revision of a custom app's definition. 0 for the catalogue.
    pub app_revision: i64,
    /// The auth method it was created with.
    pub auth_method: AuthMethodId,
    /// The type of its credential.
    pub kind: CredentialKind,
    /// The variables of the app's addresses.
    pub variables: BTreeMap<String, String>,
    /// The destinations of its credential that were fixed when it was obtained: for custom apps, and for discovered
    /// endpoints.
    pub destinations: Option<Destinations>,
    /// The client it was created with. None for a manual credential.
    pub client: Option<ClientId>,
    /// Its name for people.
    pub name: String,
    /// Its owner. One that has none and is shared belongs to the whole workspace.
    pub user: Option<User>,
    /// Whether everybody of the workspace sees and uses it. Otherwise its owner and admins do.
    pub shared: bool,
    /// What its account is for, if it is known.
    pub environment: Option<Environment>,
    /// The metadata of the embedding product.
    pub metadata: BTreeMap<String, String>,
    /// The only workflows that may use it, if limited.
    pub allowed_workflows: Option<Vec<String>>,
    /// The account at the app, if it is known.
    pub account: Option<Account>,
    /// Requested scopes.
    pub scopes_requested: Vec<String>,
    /// Granted scopes.
    pub scopes_granted: Vec<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last connected.
    pub connected_at: Timestamp,
    /// When a credential was last returned (to five minutes).
    pub last_used_at: Option<Timestamp>,
    /// The number of reconnects.
    pub generation: i64,
    /// The number of changes of the credential.
    pub version: i64,
    /// Whether it can be used.
    pub status: ConnectionStatus,
    /// Why not.
    pub reason: Option<ReconnectReason>,
    /// The sealed credential. None if it was deleted.
    pub sealed_credential: Option<String>,
    /// Expiry of the access token.
    pub expires_at: Option<Timestamp>,
    /// Whether there is a refresh token.
    pub refreshable: bool,
    /// When it was last refreshed.
    pub refreshed_at: Option<Timestamp>,
    /// Expiry of the refresh token, if it is known.
    pub refresh_expires_at: Option<Timestamp>,
    /// When an unused refresh token expires.
    pub refresh_idle_until: Option<Timestamp>,
    /// When the whole grant expires, independent of refreshes.
    pub grant_expires_at: Option<Timestamp>,
    /// The running refresh, or the one that never ended.
    pub lease: Option<RefreshLease>,
    /// A refresh token whose use ended without a readable response.
    pub ambiguous_token_hash: Option<String>,
    /// When it was first sent.
    pub ambiguous_since: Option<Timestamp>,
    /// No refresh before this time.
    pub next_attempt_at: Timestamp,
    /// Consecutive failures.
    pub failures: i64,
    /// The code of the last failure.
    pub last_error: Option<String>,
    /// The app's refusal to refresh it, if there is one.
    pub refusal: Option<RefreshRefusal>,
    /// When its status was last checked.
    pub checked_at: Option<Timestamp>,
    /// The evidence of that check.
    pub check_evidence: Option<String>,
    /// When the scheduled run checks it next.
    pub next_check_at: Option<Timestamp>,
    /// The text for a person if it works but sees no content.
    pub nothing_shared: Option<String>,
    /// Why it keeps an earlier definition of its app.
    pub definition_changed: Option<DefinitionChange>,
}

/// A connection does not follow its app's current definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct DefinitionChange {
    /// The revision that it was compared with.
    pub revision: i64,
    /// The reason.
    pub obstacle: MoveObstacle,
    /// The hosts that its credential would be sent to in addition, or for a known host the address.
    #[serde(default)]
    pub hosts: BTreeSet<String>,
}

/// Why a connection is not moved to a changed definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveObstacle {
    /// Its secrets would be sent to other addresses.
    Addresses,
    /// Its client was set up for other addresses.
    Client,
    /// Its auth method is gone, or has another type of credential.
    Method,
    /// The manual fields differ.
    Fields,
    /// The addresses have variables that are unknown for it.
    Variables,
    /// Its account would have another id.
    Identity,
}

impl MoveObstacle {
    /// The code in the API.
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
    /// The problem and the remedy, for a person.
    pub fn explanation(&self) -> String {
        let hosts: Vec<_> = self.hosts.iter().map(String::as_str).collect();
        let hosts = if hosts.is_empty() { String::new() } else { format!(" ({})", hosts.join(", ")) };
        format!(
            "The app's definition was changed, and the new one {}{hosts}. This connection stays with the earlier definition. Reconnect it to use the new one.",
            self.obstacle.explanation()
        )
    }
}

/// Seconds of difference between the clocks of two Workers.
const CLOCK_SLACK: i64 = 5;
/// Seconds, a week: an access that ends sooner "expires soon".
pub const EXPIRES_SOON_WITHIN: i64 = 7 * 86_400;
/// Seconds without a use after which a connection counts as unused: 90 days.
pub const UNUSED_AFTER: i64 = 90 * 86_400;
/// Seconds before the expiry of a refresh token in which a check refreshes it: a day before people would be warned.
const REFRESH_TOKEN_RENEWAL_LEAD: i64 = EXPIRES_SOON_WITHIN + 86_400;
/// After this many consecutive failures the problem is reported.
pub const FAILURE_THRESHOLD: i64 = 3;
/// A token with less remaining time, in seconds, is not returned after a failed refresh.
pub const MIN_USABLE_TTL: i64 = 10;

impl TokenLifetime {
    /// Remaining seconds. `None` means unlimited.
    pub fn remaining(self, now: Timestamp) -> Option<i64> {
        self.expires_at.map(|until| until.since(now))
    }

    fn total(self) -> Option<i64> {
        self.expires_at.map(|until| until.since(self.issued_at).max(0))
    }

    /// The minimum remaining time that applies for a caller: for a token with a short lifetime, at most half of it.
    pub fn effective_min_ttl(self, min_ttl: i64) -> i64 {
        self.total().map_or(min_ttl, |whole| min_ttl.min(whole / 2))
    }

    /// Whether it is valid for at least this long.
    pub fn lasts_for(self, seconds: i64, now: Timestamp) -> bool {
        self.remaining(now).is_none_or(|left| left >= seconds)
    }

    /// From when an early refresh makes sense: a tenth of its lifetime before its expiry, at least a minute, at most a
    /// quarter of it. `jitter` (0 to 255) spreads connections over a tenth of that.
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

    /// The lifetime of its access token.
    pub fn life(&self) -> TokenLifetime {
        TokenLifetime {
            issued_at: self.refreshed_at.unwrap_or(self.connected_at).max(self.connected_at),
            expires_at: self.expires_at,
        }
    }

    /// A constant number per connection that spreads scheduled work.
    pub fn jitter(&self) -> u8 {
        self.id.jitter()
    }

    /// The app's refusal, if it repeatedly refuses a refresh and that matters: no valid token is left, or it has
    /// refused [`FAILURE_THRESHOLD`] times. The list's filter in `store::connections` is the same rule in SQL.
    pub fn lasting_refusal(&self, now: Timestamp) -> Option<&RefreshRefusal> {
        let matters = self.failures >= FAILURE_THRESHOLD || self.expires_at.is_some_and(|end| end <= now);
        self.refusal.as_ref().filter(|_| self.status == ConnectionStatus::Connected && matters)
    }

    /// Requested scopes that were not granted.
    pub fn missing_scopes(&self) -> Vec<String> {
        self.scopes_requested.iter().filter(|scope| !self.scopes_granted.contains(scope)).cloned().collect()
    }

    /// The earliest expiry that only a person can extend: of the refresh token, of the grant, of an unused token.
    pub fn reconnect_due_at(&self) -> Option<Timestamp> {
        [self.refresh_expires_at, self.refresh_idle_until, self.grant_expires_at].into_iter().flatten().min()
    }

    /// From when it is refreshed although its access token is valid, because that extends the expiry of its refresh
    /// token: [`REFRESH_TOKEN_RENEWAL_LEAD`] seconds before, or half of its lifetime if that is shorter.
    pub fn refresh_token_renewal_from(&self) -> Option<Timestamp> {
        let end =
            self.refresh_expires_at.into_iter().chain(self.refresh_idle_until).min().filter(|_| self.refreshable)?;
        // An expiry before the last refresh has no meaning.
        let whole = Some(end.since(self.life().issued_at)).filter(|whole| *whole > 0)?;
        Some(end.plus(-REFRESH_TOKEN_RENEWAL_LEAD.min(whole / 2)))
    }

    /// Its credential, unless it was deleted or cannot be decrypted with this ring.
    pub fn credential(&self, key_ring: &KeyRing) -> Option<Credential> {
        let seal_context = Credential::seal_context(&self.workspace, &self.id, self.generation);
        Credential::open(key_ring, &seal_context, self.sealed_credential.as_deref()?).ok()
    }

    /// The destinations of its credential. A row without them uses those of its definition.
    pub fn destinations(&self, auth_method: &AuthMethod, endpoints: Option<&ResolvedEndpoints>) -> Rc<Destinations> {
        let stored = self.destinations.clone();
        Rc::new(stored.unwrap_or_else(|| Destinations::for_grant(auth_method, endpoints, &self.variables)))
    }

    /// The values of placeholders in addresses, without the credential.
    pub fn add_template_values(&self, values: TemplateValues) -> TemplateValues {
        let values = values.with_all(&self.variables);
        match &self.account {
            Some(account) => values.with("account_id", &account.id),
            None => values,
        }
    }

    /// Whether its refresh token may have been used with an unknown result.
    pub fn has_unknown_refresh_outcome(&self) -> bool {
        self.lease.is_some() || self.ambiguous_token_hash.is_some()
    }

    /// The lease of an attempt that may still be running.
    pub fn active_lease(&self, now: Timestamp) -> Option<&RefreshLease> {
        self.lease.as_ref().filter(|lease| now <= lease.until.plus(CLOCK_SLACK))
    }

    /// Whether a person owns it.
    pub fn is_owned_by(&self, user: &User) -> bool {
        self.user.as_ref().is_some_and(|owner| owner.id == user.id)
    }

    /// The status in the API: `unreadable` is computed with the ring, never stored.
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
