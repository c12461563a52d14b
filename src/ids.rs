//! The identifiers of things: opaque, prefixed, unguessable.
//!
//! Owns their form and how they are made. An id that exists as a type is well-formed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::ports::{NoRandomness, Random};

/// Random bytes in an id: 128 bits, so that ids that grant something can't be guessed.
const ID_BYTES: usize = 16;

/// Characters of the random part: 16 bytes in unpadded base64url.
const ID_CHARS: usize = 22;

/// `bytes` random bytes as unpadded base64url.
pub fn random_text<const N: usize>(random: &impl Random) -> Result<String, NoRandomness> {
    let mut bytes = [0_u8; N];
    random.fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Base62 text of the bytes that map to it without bias (below 248 = 4 × 62).
pub(crate) fn base62(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    bytes
        .iter()
        .filter(|byte| **byte < 248)
        .filter_map(|byte| BASE62.get(usize::from(byte % 62)))
        .map(|letter| char::from(*letter))
}

/// Random base62 text of a given length.
pub(crate) fn random_base62(random: &impl Random, length: usize) -> Result<String, NoRandomness> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0_u8; 64];
        random.fill(&mut bytes)?;
        let missing = length - text.len();
        text.extend(base62(&bytes).take(missing));
    }
    Ok(text)
}

fn well_formed(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|rest| {
        rest.len() == ID_CHARS && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

macro_rules! id_types {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// A new random id.
            pub fn random(random: &impl Random) -> Result<Self, NoRandomness> {
                Ok(Self(format!("{}{}", $prefix, random_text::<ID_BYTES>(random)?)))
            }

            /// Reads an id; `None` when it has another form.
            pub fn parse(text: &str) -> Option<Self> {
                well_formed(text, $prefix).then(|| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::parse(&text).ok_or_else(|| format!("expected an id that begins with {}", $prefix))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl From<&$name> for $crate::ports::Value {
            fn from(id: &$name) -> Self {
                $crate::ports::Value::Text(id.0.clone())
            }
        }
    )*};
}

id_types! {
    /// A workspace: the tenant.
    WorkspaceId = "ws_";
    /// A workspace's OAuth client registration for an app.
    ClientId = "cli_";
    /// A connection.
    ConnectionId = "con_";
    /// A link that asks somebody to connect an app.
    LinkId = "lnk_";
    /// One pending OAuth flow.
    AuthorizationId = "aut_";
    /// One line of the audit trail.
    EventId = "evt_";
    /// One refresh attempt.
    AttemptId = "att_";
}

impl ClientId {
    /// Of a workspace's first client of a registration. It follows from the two, so that the redirect URI can be entered at the
    /// app while the client is made there: most apps ask for it at once. Nothing is granted to whoever guesses it.
    pub fn first(workspace: &WorkspaceId, registration: &str) -> Self {
        let hash = Sha256::digest(format!("client {workspace} {registration}"));
        let mut text = format!("cli_{}", URL_SAFE_NO_PAD.encode(hash));
        text.truncate("cli_".len() + ID_CHARS);
        Self(text)
    }
}

impl ClientId {
    /// The same for a client at an authorization server that is not the only one of its registration.
    pub fn first_at(workspace: &WorkspaceId, registration: &str, server: &str) -> Self {
        Self::first(workspace, &format!("{registration} {server}"))
    }
}

impl ConnectionId {
    /// A fixed number per connection that spreads work done for many of them.
    pub fn jitter(&self) -> u8 {
        self.0.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_client_of_a_registration_has_an_id_of_its_own_that_never_changes() {
        let workspace = |letter: &str| WorkspaceId::parse(&format!("ws_{}", letter.repeat(22))).unwrap();
        let first = ClientId::first(&workspace("a"), "slack");
        assert_eq!(ClientId::parse(first.as_str()), Some(first.clone()));
        assert_eq!(first.as_str(), "cli_TrPTaAzhQbRKVePcIKt_lH");
        for other in [ClientId::first(&workspace("b"), "slack"), ClientId::first(&workspace("a"), "slack:user")] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn reads_only_its_own_form() {
        assert!(ConnectionId::parse("con_0123456789abcdefABCD-_").is_some());
        for bad in ["", "con_", "cli_0123456789abcdefABCD-_", "con_0123456789abcdefABCD-", "con_0123456789abcdefABCD'_"]
        {
            assert_eq!(ConnectionId::parse(bad), None, "{bad}");
        }
    }
}
