//! A workspace's OAuth client registration at an app.
//!
//! Owns what a client is and where its secret may go. A connection stays with the client it was
//! made with: refresh tokens are bound to it (RFC 6749, 6).

use std::collections::BTreeSet;

use crate::error::{Code, Error, Result};
use crate::ids::{ClientId, WorkspaceId};
use crate::secret::Secret;
use crate::time::Timestamp;
use crate::token::ClientKeys;
use crate::vault::{KeyRing, Place};

/// An OAuth client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Our id; part of the redirect URI.
    pub id: ClientId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// The app's id, or the family of apps that share it.
    pub registration: String,
    /// The app's id of this client.
    pub client_id: String,
    /// The sealed secret; none for public clients.
    pub sealed_secret: Option<String>,
    /// Scopes to ask for instead of the app's defaults.
    pub scopes: Option<Vec<String>>,
    /// Hosts the secret may be sent to: those of the definition when it was entered.
    pub hosts: BTreeSet<String>,
    /// When the app will stop accepting the secret, if a person told.
    pub secret_expires_at: Option<Timestamp>,
    /// Whether new flows use it (a workspace has one current client per registration).
    pub current: bool,
    /// Since when the app refuses this client, and with which error code.
    pub misconfigured: Option<(Timestamp, String)>,
    /// Nothing is asked of the app for this client before.
    pub backoff_until: Timestamp,
    /// Failures in a row that are the client's.
    pub failures: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl Client {
    /// Where its secret is sealed.
    pub fn place<'a>(workspace: &'a WorkspaceId, id: &'a ClientId) -> Place<'a> {
        Place {
            workspace: workspace.as_str(),
            table: "clients",
            row: id.as_str(),
            field: "sealed_secret",
            generation: 0,
        }
    }

    /// Its id and secret, to speak to the app with.
    pub fn keys(&self, ring: &KeyRing) -> Result<ClientKeys> {
        let secret = match &self.sealed_secret {
            None => None,
            Some(sealed) => Some(self.open_secret(ring, sealed)?),
        };
        Ok(ClientKeys { client_id: self.client_id.clone(), client_secret: secret })
    }

    /// Whether its secret may be sent to all these hosts.
    pub fn may_reach(&self, hosts: &BTreeSet<String>) -> bool {
        hosts.is_subset(&self.hosts)
    }

    fn open_secret(&self, ring: &KeyRing, sealed: &str) -> Result<Secret> {
        ring.open(&Self::place(&self.workspace, &self.id), sealed).map_err(|_| {
            Error::new(
                Code::ClientMissing,
                "The stored client secret can't be read with the present keys. Enter the client's secret again.",
            )
        })
    }
}
