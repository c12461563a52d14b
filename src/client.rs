//! A workspace's OAuth client registration at an app.
//!
//! Owns what a client is and where its secret may be sent. A connection keeps the client it was created with, because
//! refresh tokens are bound to it (RFC 6749, 6).

use std::collections::{BTreeMap, BTreeSet};

use crate::codes::codes;
use crate::destinations::Destinations;
use crate::frozen::{self, CLIENT_CERTIFICATE, CLIENT_KEY_ID};
use crate::ids::{ClientId, WorkspaceId};
use crate::secret::Secret;
use crate::signing_key::SigningKey;
use crate::time::Timestamp;
use crate::vault::{KeyRing, OpenError, SealContext};

/// Seconds, thirty days: a client secret that ends sooner should be replaced.
pub const SECRET_EXPIRY_WARNING: i64 = 30 * 86_400;
/// Failures of the app in a row that may be chance: after so many, the next one holds off every connection of the client.
pub const FAILURES_WITHOUT_BACKOFF: i64 = 2;

/// Stands for the authorization server of a client that only receives events.
pub const EVENTS_ONLY: &str = "events";

/// An OAuth client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Our id, which is part of the redirect URI.
    pub id: ClientId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The app's id, or the client family.
    pub registration: String,
    /// The app's id of this client.
    pub client_id: String,
    /// The sealed secret. None for public clients.
    pub sealed_secret: Option<String>,
    /// What the app's events are verified with, sealed. None if it is not set.
    pub sealed_event_secret: Option<String>,
    /// When the app sent the last one of these itself. None if it did not, or if they were entered since.
    pub event_secret_received_at: Option<Timestamp>,
    /// Scopes to request instead of the app's defaults.
    pub scopes: Option<Vec<String>>,
    /// The id in the redirect URI. Clients of one workspace, registration and authorization server share it, so that a
    /// mistyped client id can be corrected. Another authorization server has another one (RFC 9700, 4.4.2).
    pub redirect_id: ClientId,
    /// The authorization server it was set up for, as [`Destinations::authorization_server_key`] writes it, or for a
    /// catalogue app the variables in its hosts. None in a row of an earlier version.
    pub authorization_server: Option<String>,
    /// The destinations of its secret, for a custom app: the addresses of the definition when it was entered.
    pub destinations: Option<Destinations>,
    /// The permitted hosts of a row of an earlier version, without destinations.
    pub hosts: BTreeSet<String>,
    /// The variables of the app's addresses that were set with the client.
    pub variables: BTreeMap<String, String>,
    /// When the secret expires at the app, if a person entered it.
    pub secret_expires_at: Option<Timestamp>,
    /// Whether new flows use it (a workspace has one current client per registration).
    pub current: bool,
    /// Since when the app refuses this client, and with which error code.
    pub misconfigured: Option<(Timestamp, String)>,
    /// No request for this client before this time.
    pub backoff_until: Timestamp,
    /// Consecutive failures because of the client.
    pub failures: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Client {
    /// The place of its sealed secret.
    pub fn seal_context<'a>(workspace: &'a WorkspaceId, id: &'a ClientId) -> SealContext<'a> {
        SealContext::of(frozen::CLIENT_SECRET, workspace.as_str(), id.as_str(), 0)
    }

    /// The place of what the app's events are verified with.
    pub fn event_secret_context<'a>(workspace: &'a WorkspaceId, id: &'a ClientId) -> SealContext<'a> {
        SealContext::of(frozen::EVENT_SECRET, workspace.as_str(), id.as_str(), 0)
    }

    /// The place of what an address for a handshake says.
    pub fn event_handshake_context<'a>(workspace: &'a WorkspaceId, id: &'a ClientId) -> SealContext<'a> {
        SealContext::of(frozen::EVENT_HANDSHAKE, workspace.as_str(), id.as_str(), 0)
    }

    /// What the app's events are verified with: the secrets that are set, else the client's own where the app signs with it.
    ///
    /// # Errors
    /// It cannot be decrypted with the key ring.
    pub fn event_secrets(&self, key_ring: &KeyRing, is_client_secret: bool) -> Result<Vec<Secret>, OpenError> {
        if let Some(sealed) = &self.sealed_event_secret {
            let opened = key_ring.open(&Self::event_secret_context(&self.workspace, &self.id), sealed)?;
            return Ok(opened.expose().lines().map(Secret::new).collect());
        }
        match (is_client_secret, self.secret(key_ring)?) {
            (true, ClientSecret::SharedSecret(secret)) => Ok(vec![secret]),
            _ => Ok(vec![]),
        }
    }

    /// The text to seal of secrets that events are verified with. None of them has a line end.
    pub fn event_secret_text(secrets: &[Secret]) -> Secret {
        Secret::new(secrets.iter().map(Secret::expose).collect::<Vec<_>>().join("\n"))
    }

    /// Whether it only receives events: the app's connections need no OAuth client.
    pub fn is_for_events_only(&self) -> bool {
        self.authorization_server.as_deref() == Some(EVENTS_ONLY)
    }

    /// The secret part, for requests to the app.
    pub fn secret(&self, key_ring: &KeyRing) -> Result<ClientSecret, OpenError> {
        match &self.sealed_secret {
            None => Ok(ClientSecret::None),
            Some(sealed) => self.open_secret(key_ring, sealed).map(ClientSecret::parse),
        }
    }

    /// The sealed secret, if it can be opened.
    pub fn stored_secret(&self, key_ring: &KeyRing) -> Option<Secret> {
        self.open_secret(key_ring, self.sealed_secret.as_deref()?).ok()
    }

    /// The problem of its secret, if it is known without asking the app.
    pub fn problem(&self, key_ring: &KeyRing) -> Option<ClientProblem> {
        match self.secret(key_ring) {
            Err(_) => Some(ClientProblem::SecretUnreadable),
            Ok(ClientSecret::PrivateKey { pem, .. }) if SigningKey::from_pem(pem.expose()).is_err() => {
                Some(ClientProblem::PrivateKeyUnusable)
            }
            Ok(_) => None,
        }
    }

    /// Whether a row without destinations was entered for these hosts. The row has the rules of their placeholders:
    /// `{shop: …}`.
    pub fn covers_hosts(&self, wanted: &Destinations) -> bool {
        let entered: Vec<_> = self.hosts.iter().map(|host| host.to_lowercase()).collect();
        let is_there =
            |wanted: &String| entered.iter().any(|entered| matches_host_pattern(entered, &wanted.to_lowercase()));
        wanted.hosts().iter().all(is_there)
    }

    /// Whether it is known to be for a catalogue app, whose addresses the program knows.
    pub fn is_for_catalogue_app(&self) -> bool {
        self.authorization_server.is_some() && self.destinations.is_none()
    }

    fn open_secret(&self, key_ring: &KeyRing, sealed: &str) -> Result<Secret, OpenError> {
        key_ring.open(&Self::seal_context(&self.workspace, &self.id), sealed)
    }
}

codes! {
    /// Why a client cannot be used, independent of the app.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ClientProblem {
        /// Its stored secret cannot be decrypted with the key ring.
        SecretUnreadable = "client_secret_unreadable",
        /// Its private key cannot be read, or does not support the app's algorithm.
        PrivateKeyUnusable = "client_key_unusable",
        /// Its secret was entered for other addresses.
        AddressesChanged = "client_addresses_changed",
    }
}

impl ClientProblem {
    /// The problem and the remedy.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::SecretUnreadable => {
                "The stored client secret can't be read with the present encryption keys. Enter the client's secret again (PUT /v1/apps/{app}/client), or put the missing key back into ENCRYPTION_KEYS."
            }
            Self::PrivateKeyUnusable => {
                "The client's private key can't be used to sign. Enter the key again (PUT /v1/apps/{app}/client)."
            }
            Self::AddressesChanged => {
                "The client secret was entered for other addresses than this connection's. Enter it again (PUT /v1/apps/{app}/client), then reconnect the connection."
            }
        }
    }

    /// Whether it concerns every connection of the client.
    pub fn affects_every_connection(self) -> bool {
        self != Self::AddressesChanged
    }
}

/// Whether a host with rules for its placeholders is the same host without them. A rule may contain braces.
fn matches_host_pattern(entered: &str, bare: &str) -> bool {
    let Some((literal, rest)) = bare.split_once('{') else { return entered == bare };
    let Some((name, bare)) = rest.split_once('}') else { return false };
    let Some(rest) = entered.strip_prefix(literal).and_then(|rest| rest.strip_prefix('{')?.strip_prefix(name)) else {
        return false;
    };
    rest.starts_with([':', '}'])
        && rest
            .match_indices('}')
            .any(|(at, _)| rest.get(at + 1..).is_some_and(|rest| matches_host_pattern(rest, bare)))
}

/// The secret part of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSecret {
    /// A public client has none.
    None,
    /// A secret that is sent.
    SharedSecret(Secret),
    /// A private key that signs (RFC 7523 2.2).
    PrivateKey {
        /// The key.
        pem: Secret,
        /// The app's name for it.
        key_id: Option<String>,
        /// The SHA-256 of its certificate, in base64url.
        certificate: Option<String>,
    },
}

/// The beginning of a private key in PEM (RFC 7468 10).
const PEM_BEGIN: &str = "-----BEGIN ";

impl ClientSecret {
    /// Whether a text is a private key, and not a secret to send.
    pub fn is_private_key(text: &str) -> bool {
        text.contains(PEM_BEGIN)
    }

    /// The text to seal. A key's names are lines before it, where PEM permits other text.
    pub fn text_to_seal(secret: &Secret, key_id: Option<&str>, certificate: Option<&str>) -> Secret {
        if !Self::is_private_key(secret.expose()) {
            return secret.clone();
        }
        let line =
            |name: &str, value: Option<&str>| value.map(|value| format!("{name}: {value}\n")).unwrap_or_default();
        let names = format!("{}{}", line(CLIENT_KEY_ID, key_id), line(CLIENT_CERTIFICATE, certificate));
        Secret::new(format!("{names}{}", secret.expose()))
    }

    fn parse(sealed: Secret) -> Self {
        let Some((names, _)) = sealed.expose().split_once(PEM_BEGIN) else { return Self::SharedSecret(sealed) };
        let named = |name: &str| {
            let lines = names.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).next()
        };
        Self::PrivateKey { key_id: named(CLIENT_KEY_ID), certificate: named(CLIENT_CERTIFICATE), pem: sealed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_keeps_its_key_id_and_a_secret_is_unchanged() {
        let key = Secret::new("-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----");
        let sealed = ClientSecret::text_to_seal(&key, Some("k1"), None);
        let ClientSecret::PrivateKey { pem, key_id, certificate } = ClientSecret::parse(sealed) else { panic!() };
        assert!(pem.expose().ends_with(key.expose()));
        assert_eq!((key_id.as_deref(), certificate), (Some("k1"), None));
        let plain = Secret::new("key-id: x");
        assert_eq!(
            ClientSecret::parse(ClientSecret::text_to_seal(&plain, Some("k"), None)),
            ClientSecret::SharedSecret(plain)
        );
    }
}
