//! The identifiers of things: opaque, prefixed, unguessable.
//!
//! Owns their form and how they are made. An id that exists as a type is well-formed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::random::{NoRandomness, Random};

/// Random bytes in an id: 128 bits, so that ids that grant something can't be guessed.
const ID_BYTES: usize = 16;

/// Characters of the random part: 16 bytes in unpadded base64url.
const ID_CHARS: usize = 22;
/// Those of an API key's id, in base62.
const KEY_ID_CHARS: usize = 16;

/// Random bytes in a token, and the characters that they make.
const TOKEN_BYTES: usize = 32;
const TOKEN_CHARS: usize = 43;

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

/// Which of an installation's databases something is in. The database of a workspace never changes, and every id and token
/// that is made for it names the shard: no directory is looked up. Ids and tokens from before name none and mean the
/// first; they are never rewritten. docs/storage.md tells the forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u16);

impl Shard {
    /// The first database: the binding `DB`.
    pub const FIRST: Self = Self(0);
    /// Databases that an installation can have.
    pub const MOST: u16 = 1_000;
    /// Characters that name a shard: two digits to the base of 62.
    const CHARS: usize = 2;

    /// A shard by its number; `None` beyond [`Self::MOST`].
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::MOST).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// The shard whose database's binding has this name.
    pub fn of_binding(name: &str) -> Option<Self> {
        let number = if name == "DB" { "0" } else { name.strip_prefix("DB_")? };
        number.parse().ok().and_then(Self::new).filter(|shard| shard.binding() == name)
    }

    /// The name of its database's binding.
    pub fn binding(self) -> String {
        if self == Self::FIRST { "DB".to_owned() } else { format!("DB_{}", self.0) }
    }

    /// Reads the characters that name it.
    fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| BASE62.iter().position(|known| *known == byte).and_then(|at| u16::try_from(at).ok());
        match text.as_bytes() {
            [high, low] => Self::new(digit(*high)? * 62 + digit(*low)?),
            _ => None,
        }
    }

    /// The shard at the beginning of a text that is as long as `unnamed` characters and the name of a shard. A text of
    /// `unnamed` characters is from before shards.
    pub(crate) fn at_beginning(text: &str, unnamed: usize) -> Option<Self> {
        match text.len().checked_sub(unnamed)? {
            0 => Some(Self::FIRST),
            Self::CHARS => Self::parse(text.get(..Self::CHARS)?),
            _ => None,
        }
    }

    /// The shard that a token names: a link's, a sign-in link's, a session's. `None` where it has another form.
    pub fn of_token(token: &str) -> Option<Self> {
        Self::at_beginning(token, TOKEN_CHARS)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = [usize::from(self.0) / 62, usize::from(self.0) % 62];
        digits
            .into_iter()
            .filter_map(|digit| BASE62.get(digit))
            .try_for_each(|digit| write!(f, "{}", char::from(*digit)))
    }
}

/// A new token that grants something: its shard, and 32 random bytes.
pub fn random_token(random: &impl Random, shard: Shard) -> Result<String, NoRandomness> {
    Ok(format!("{shard}{}", random_text::<TOKEN_BYTES>(random)?))
}

/// A new `state` of an authorization request, of at most `length` characters. An app that takes fewer than 24 gets one
/// without a shard: the redirect URI names it, too.
pub fn random_state(random: &impl Random, shard: Shard, length: usize) -> Result<String, NoRandomness> {
    let has_room = length >= ID_CHARS + Shard::CHARS;
    let mut text = if has_room { random_token(random, shard)? } else { random_text::<TOKEN_BYTES>(random)? };
    text.truncate(length);
    Ok(text)
}

impl EventId {
    /// How an id begins that is made in a statement: 22 hexadecimal digits follow.
    pub(crate) fn begin(shard: Shard) -> String {
        format!("evt_{shard}")
    }
}

fn of_base64url(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// What stands behind the prefix of an id that is well-formed.
fn rest_of<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix).filter(|rest| of_base64url(rest))
}

macro_rules! id_types {
    ($form:ident; $($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        id_types!(@$form $name = $prefix);

        impl $name {
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
    )*};
    (@random $name:ident = $prefix:literal) => {
        impl $name {
            /// A new random id, in a shard.
            pub fn random(random: &impl Random, shard: Shard) -> Result<Self, NoRandomness> {
                Ok(Self(format!("{}{shard}{}", $prefix, random_text::<ID_BYTES>(random)?)))
            }

            /// Reads an id. `None` if it has another form.
            pub fn parse(text: &str) -> Option<Self> {
                let rest = rest_of(text, $prefix)?;
                Shard::at_beginning(rest, ID_CHARS).map(|_| Self(text.to_owned()))
            }

            /// The shard that it names.
            pub fn shard(&self) -> Shard {
                // An id that exists names one.
                let rest = rest_of(&self.0, $prefix).unwrap_or_default();
                Shard::at_beginning(rest, ID_CHARS).unwrap_or(Shard::FIRST)
            }
        }
    };
    (@base62 $name:ident = $prefix:literal) => {
        impl $name {
            /// A new random id, in a shard.
            pub fn random(random: &impl Random, shard: Shard) -> Result<Self, NoRandomness> {
                Ok(Self(format!("{}{shard}{}", $prefix, random_base62(random, KEY_ID_CHARS)?)))
            }

            /// Reads an id. `None` if it has another form.
            pub fn parse(text: &str) -> Option<Self> {
                let rest = text.strip_prefix($prefix)?;
                let is_base62 = rest.bytes().all(|b| b.is_ascii_alphanumeric());
                Shard::at_beginning(rest, KEY_ID_CHARS).filter(|_| is_base62).map(|_| Self(text.to_owned()))
            }

            /// The shard that it names.
            pub fn shard(&self) -> Shard {
                let rest = self.0.strip_prefix($prefix).unwrap_or_default();
                Shard::at_beginning(rest, KEY_ID_CHARS).unwrap_or(Shard::FIRST)
            }
        }
    };
    (@of_hash $name:ident = $prefix:literal) => {
        impl $name {
            /// The id of what is stored under this hash: what the hash begins with. It is long enough to be nobody else's,
            /// and of no use to whoever wants in.
            pub fn of_hash(hash: &str) -> Self {
                Self($prefix.chars().chain(hash.chars().take(ID_CHARS)).collect())
            }

            /// What the stored hash begins with.
            pub fn hash_begins(&self) -> &str {
                self.0.strip_prefix($prefix).unwrap_or_default()
            }

            /// Reads an id. `None` if it has another form.
            pub fn parse(text: &str) -> Option<Self> {
                rest_of(text, $prefix).filter(|rest| rest.len() == ID_CHARS).map(|_| Self(text.to_owned()))
            }
        }
    };
}

id_types! {
    random;
    /// A workspace: the tenant.
    WorkspaceId = "ws_";
    /// A workspace's OAuth client registration for an app.
    ClientId = "cli_";
    /// A connection.
    ConnectionId = "con_";
    /// A link that asks somebody to connect an app.
    LinkId = "lnk_";
    /// One pending OAuth flow.
    FlowId = "aut_";
    /// One line of the audit trail.
    EventId = "evt_";
    /// One refresh attempt.
    AttemptId = "att_";
    /// A job that goes on behind an answer.
    JobId = "job_";
    /// An address that is told of events.
    WebhookId = "whk_";
}

id_types! {
    base62;
    /// The id of an API key: `key_`, two characters for the shard, and 16 random ones, of base62, so that a key's text is one
    /// word. Those from before shards have the 16 only.
    ApiKeyId = "key_";
}

// Found in the workspace of whoever asks, so they need no shard.
id_types! {
    of_hash;
    /// A browser's session.
    SessionId = "ses_";
    /// A link that signs a person in.
    SignInLinkId = "sil_";
}

impl ClientId {
    /// Of a workspace's first client of a registration. It follows from the two, so that the redirect URI can be entered at the
    /// app while the client is made there: most apps ask for it at once. Nothing is granted to whoever guesses it.
    pub fn derive_for_registration(workspace: &WorkspaceId, registration: &str) -> Self {
        let mut hash = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("client {workspace} {registration}")));
        hash.truncate(ID_CHARS);
        Self(format!("cli_{}{hash}", workspace.shard_text()))
    }

    /// The same for a client at an authorization server that is not the only one of its registration.
    pub fn derive_for_server(workspace: &WorkspaceId, registration: &str, server: &str) -> Self {
        Self::derive_for_registration(workspace, &format!("{registration} {server}"))
    }
}

impl WorkspaceId {
    /// The shard as it stands in the text. It is empty in one from before shards, so that its clients keep the ids that their
    /// redirect URIs were entered with.
    fn shard_text(&self) -> &str {
        let rest = self.0.strip_prefix("ws_").unwrap_or_default();
        rest.len().checked_sub(ID_CHARS).and_then(|end| rest.get(..end)).unwrap_or_default()
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

    struct Zeros;
    impl Random for Zeros {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
            buffer.fill(0);
            Ok(())
        }
    }

    #[test]
    fn the_id_of_the_first_client_is_derived_and_never_changes() {
        let workspace = |letter: &str| WorkspaceId::parse(&format!("ws_{}", letter.repeat(22))).unwrap();
        let first = ClientId::derive_for_registration(&workspace("a"), "slack");
        assert_eq!(ClientId::parse(first.as_str()), Some(first.clone()));
        assert_eq!(first.as_str(), "cli_TrPTaAzhQbRKVePcIKt_lH");
        for other in [
            ClientId::derive_for_registration(&workspace("b"), "slack"),
            ClientId::derive_for_registration(&workspace("a"), "slack:user"),
        ] {
            assert_ne!(other, first);
        }
        let named = WorkspaceId::random(&Zeros, Shard(7)).unwrap();
        let first = ClientId::derive_for_registration(&named, "slack");
        assert_eq!((first.shard(), ClientId::parse(first.as_str())), (Shard(7), Some(first.clone())));
        assert_eq!(first.as_str().len(), "cli_".len() + 24);
    }

    #[test]
    fn ids_are_read_only_in_their_own_form() {
        assert!(ConnectionId::parse("con_0123456789abcdefABCD-_").is_some());
        for bad in ["", "con_", "cli_0123456789abcdefABCD-_", "con_0123456789abcdefABCD-", "con_0123456789abcdefABCD'_"]
        {
            assert_eq!(ConnectionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_name_their_shard_and_older_ids_are_in_the_first() {
        let old = ConnectionId::parse("con_0123456789abcdefABCD-_").unwrap();
        assert_eq!(old.shard(), Shard::FIRST);
        for number in [0, 1, 61, 62, 999] {
            let shard = Shard::new(number).unwrap();
            let id = ConnectionId::random(&Zeros, shard).unwrap();
            assert_eq!((id.shard(), id.as_str().len()), (shard, old.as_str().len() + 2), "{number}");
            assert_eq!(ConnectionId::parse(id.as_str()), Some(id));
        }
        assert_eq!(ConnectionId::random(&Zeros, Shard(62)).unwrap().as_str(), "con_10AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Shard::new(Shard::MOST), None);
        // ZZ is a number beyond the last shard, - and _ are no digits, and one more character is none either.
        for beginning in ["ZZ", "-0", "0_", "0", "000"] {
            let text = format!("con_{beginning}{}", "A".repeat(22));
            assert_eq!(ConnectionId::parse(&text), None, "{text}");
        }
    }

    #[test]
    fn bindings_name_shards() {
        for (name, number) in [("DB", 0), ("DB_1", 1), ("DB_999", 999)] {
            assert_eq!(Shard::of_binding(name), Some(Shard(number)));
            assert_eq!(Shard(number).binding(), name);
        }
        for other in ["", "DB_", "DB_0", "DB_01", "DB_+1", "DB_1000", "DB_70000", "DB1", "db_1", "DB_NAME", "CACHE"] {
            assert_eq!(Shard::of_binding(other), None, "{other}");
        }
    }

    #[test]
    fn derived_ids_have_one_form() {
        let id = SessionId::of_hash(&"h".repeat(43));
        assert_eq!((id.as_str().len(), id.hash_begins().len()), (26, 22));
        assert_eq!(SessionId::parse(id.as_str()), Some(id));
        assert_eq!(SessionId::parse(&format!("ses_00{}", "h".repeat(22))), None);
    }

    #[test]
    fn the_length_of_a_token_names_its_shard() {
        let token = random_token(&Zeros, Shard(63)).unwrap();
        assert_eq!((token.len(), Shard::of_token(&token)), (45, Some(Shard(63))));
        assert_eq!(Shard::of_token(&"A".repeat(43)), Some(Shard::FIRST));
        for bad in ["", "11", &"A".repeat(42), &"A".repeat(44), &"Z".repeat(45), &"é".repeat(22)] {
            assert_eq!(Shard::of_token(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_state_fits_the_apps_limit_and_has_at_least_128_random_bits() {
        for (length, begins) in [(45, "11A"), (43, "11A"), (24, "11A"), (23, "AAA"), (22, "AAA")] {
            let state = random_state(&Zeros, Shard(63), length).unwrap();
            assert_eq!(state.len(), length);
            assert!(state.starts_with(begins), "{state}");
        }
    }
}
