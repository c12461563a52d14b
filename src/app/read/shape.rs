//! The JSON shape of a definition, as serde reads it.
//!
//! Owns which members there are and which of them may be left out. Refuses unknown members, with their path. What the
//! texts mean is [`super`]'s to say.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::{Algorithm, BodyEncoding, ClientAuth, Kills, Kind, LifetimeUnit, RevokeStyle, StatusMeaning};
use super::events::RawEvents;
use super::{FieldError, LARGEST};
use crate::json::{self, Fault, objects};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApp {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) categories: Vec<String>,
    pub(super) docs: Option<String>,
    #[serde(default)]
    pub(super) sources: Vec<String>,
    #[serde(default)]
    pub(super) unverified: Vec<String>,
    pub(super) deprecated: Option<String>,
    pub(super) client_family: Option<String>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, RawVariable>,
    pub(super) auth: Ways,
    #[serde(default)]
    pub(super) scopes: Vec<ScopeEntry>,
    pub(super) identity: Option<RawIdentity>,
    pub(super) check: Option<RawCheck>,
    pub(super) nothing_shared: Option<RawNothingShared>,
    pub(super) request: Option<RawRequest>,
    pub(super) errors: Option<RawErrors>,
    pub(super) limits: Option<RawLimits>,
    pub(super) events: Option<RawEvents>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawVariable {
    pub(super) label: Option<String>,
    pub(super) help: Option<String>,
    pub(super) example: Option<String>,
    pub(super) pattern: Option<String>,
    pub(super) default: Option<String>,
    #[serde(default)]
    pub(super) from: RawOrigin,
    pub(super) at: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawOrigin {
    #[default]
    Person,
    Client,
    Token,
    Identity,
    Callback,
}

/// One way to connect. Which members belong to which type is checked afterwards: serde could not name the member.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawAuth {
    pub(super) r#type: Kind,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) deprecated: Option<String>,
    pub(super) scopes: Option<Vec<ScopeEntry>>,
    pub(super) identity: Option<RawIdentity>,
    pub(super) check: Option<RawCheck>,
    pub(super) nothing_shared: Option<RawNothingShared>,
    pub(super) request: Option<RawRequest>,
    pub(super) errors: Option<RawErrors>,
    pub(super) limits: Option<RawLimits>,
    // A server's.
    pub(super) issuer: Option<String>,
    pub(super) authorize_url: Option<String>,
    pub(super) token_url: Option<String>,
    pub(super) refresh_url: Option<String>,
    pub(super) revoke_url: Option<String>,
    pub(super) client_auth: Option<ClientAuth>,
    pub(super) assertion_alg: Option<Algorithm>,
    pub(super) refresh_client_auth: Option<ClientAuth>,
    pub(super) body: Option<BodyEncoding>,
    pub(super) scope_separator: Option<String>,
    pub(super) grant_type: Option<String>,
    #[serde(default)]
    pub(super) authorize_params: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) more_scopes_params: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) token_params: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) refresh_params: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) token_headers: BTreeMap<String, String>,
    pub(super) code_param: Option<String>,
    pub(super) exchange_code_param: Option<String>,
    pub(super) callback_scope: Option<String>,
    pub(super) redirect_uri: Option<String>,
    pub(super) exchange_redirect_uri: Option<bool>,
    pub(super) refresh_redirect_uri: Option<bool>,
    pub(super) login_hint: Option<bool>,
    pub(super) pkce: Option<bool>,
    pub(super) send_scope_on_refresh: Option<bool>,
    pub(super) rotation: Option<RawRotation>,
    pub(super) revoke: Option<RawRevocation>,
    pub(super) state_length: Option<usize>,
    pub(super) access_token_lifetime: Option<i64>,
    pub(super) refresh_token_lifetime: Option<i64>,
    pub(super) refresh_token_idle: Option<i64>,
    pub(super) grant_lifetime: Option<i64>,
    pub(super) response: Option<RawResponse>,
    #[serde(default)]
    pub(super) tokens: BTreeMap<String, RawToken>,
    pub(super) client_help: Option<RawHelp>,
    #[serde(default)]
    pub(super) connect_help: Vec<String>,
    pub(super) approval: Option<RawApproval>,
    pub(super) key_file: Option<RawKeyFile>,
    // A pasted credential's.
    pub(super) fields: Option<Vec<RawField>>,
    pub(super) header: Option<String>,
    pub(super) query: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawRotation {
    None,
    Reissue,
    Strict,
    Grace(i64),
}

#[derive(Deserialize, Default)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawRevocation {
    #[serde(default)]
    pub(super) kills: Kills,
    #[serde(default)]
    pub(super) style: RevokeStyle,
    pub(super) authenticate: Option<bool>,
    pub(super) client_auth: Option<ClientAuth>,
    pub(super) method: Option<RevokeMethod>,
    pub(super) body: Option<BodyEncoding>,
    pub(super) params: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum RevokeMethod {
    Post,
    Delete,
}

#[derive(Deserialize, Default)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawResponse {
    pub(super) access_token: Option<String>,
    pub(super) refresh_token: Option<String>,
    pub(super) expires_in: Option<String>,
    pub(super) expires_in_unit: Option<LifetimeUnit>,
    pub(super) expires_at: Option<String>,
    pub(super) refresh_expires_in: Option<String>,
    pub(super) refresh_expires_in_unit: Option<LifetimeUnit>,
    pub(super) scope: Option<String>,
    pub(super) token_type: Option<String>,
    pub(super) scope_separator: Option<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawToken {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    pub(super) expires_in: Option<String>,
    pub(super) scope: Option<String>,
    pub(super) token_type: Option<String>,
    pub(super) scope_param: String,
    pub(super) account: Option<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawHelp {
    pub(super) url: String,
    pub(super) steps: Vec<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawApproval {
    pub(super) codes: Vec<String>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) steps: Vec<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawKeyFile {
    pub(super) issuer: String,
    pub(super) private_key: String,
    pub(super) key_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawField {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
    pub(super) url: Option<String>,
    #[serde(default = "yes")]
    pub(super) secret: bool,
    #[serde(default)]
    pub(super) optional: bool,
    #[serde(default)]
    pub(super) multiline: bool,
    pub(super) placeholder: Option<String>,
    pub(super) pattern: Option<String>,
    pub(super) pattern_help: Option<String>,
    #[serde(default)]
    pub(super) marks: Vec<RawMark>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawMark {
    pub(super) prefix: String,
    pub(super) label: Option<String>,
    pub(super) account: Option<String>,
    pub(super) refuse: Option<String>,
    pub(super) warn: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) from: Option<IdentityFrom>,
    pub(super) method: Option<Method>,
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    pub(super) id: OneOrMany,
    pub(super) label: OneOrMany,
    #[serde(default)]
    pub(super) statuses: BTreeMap<String, StatusMeaning>,
    pub(super) scopes: Option<RawScopesHeader>,
    #[serde(default)]
    pub(super) marks: Vec<RawAnswerMark>,
    pub(super) named_by: Option<RawNamedBy>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawNamedBy {
    pub(super) method: Option<Method>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    pub(super) label: OneOrMany,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawAnswerMark {
    pub(super) at: String,
    pub(super) is: serde_json::Value,
    pub(super) label: Option<String>,
    pub(super) account: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawScopesHeader {
    pub(super) header: String,
    pub(super) separator: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum IdentityFrom {
    Token,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawCheck {
    pub(super) method: Option<Method>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) statuses: BTreeMap<String, StatusMeaning>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawNothingShared {
    pub(super) method: Option<Method>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    pub(super) at: String,
    pub(super) say: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    Get,
    Post,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawRequest {
    pub(super) base_url: Option<String>,
    pub(super) headers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) query: BTreeMap<String, String>,
    pub(super) basic: Option<RawBasic>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawBasic {
    pub(super) username: String,
    pub(super) password: String,
}

#[derive(Deserialize, Default, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawErrors {
    #[serde(default)]
    pub(super) permanent: Vec<String>,
    #[serde(default)]
    pub(super) client: Vec<String>,
    #[serde(default)]
    pub(super) configuration: Vec<String>,
    #[serde(default)]
    pub(super) transient: Vec<String>,
    #[serde(default)]
    pub(super) denied: Vec<String>,
    pub(super) error: Option<OneOrMany>,
    pub(super) codes: Option<String>,
    pub(super) retry_after: Option<String>,
}

#[derive(Deserialize, Default, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) grants_per_account: Option<i64>,
    pub(super) one_per_account: Option<String>,
    #[serde(default)]
    pub(super) notes: Vec<String>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawScope {
    pub(super) id: String,
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) required: bool,
    #[serde(default = "yes")]
    pub(super) default: bool,
    #[serde(default)]
    pub(super) includes: Vec<String>,
    pub(super) sensitive: Option<String>,
    #[serde(default = "yes")]
    pub(super) answered: bool,
}

objects!(
    RawVariable,
    RawAuth,
    RawRevocation,
    RawResponse,
    RawToken,
    RawHelp,
    RawApproval,
    RawKeyFile,
    RawField,
    RawMark,
    RawIdentity,
    RawNamedBy,
    RawAnswerMark,
    RawNothingShared,
    RawScopesHeader,
    RawCheck,
    RawRequest,
    RawBasic,
    RawErrors,
    RawLimits,
    RawScope,
);

fn yes() -> bool {
    true
}

/// A scope is its id alone, or an object. An untagged enum would hide which field of the object is wrong.
#[derive(Clone)]
pub(super) struct ScopeEntry(pub(super) RawScope);

impl<'de> Deserialize<'de> for ScopeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ScopeEntry;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a scope as text, or an object with \"id\"")
            }
            fn visit_str<E>(self, id: &str) -> Result<ScopeEntry, E> {
                Ok(ScopeEntry(RawScope {
                    id: id.to_owned(),
                    description: None,
                    required: false,
                    default: true,
                    includes: vec![],
                    sensitive: None,
                    answered: true,
                }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScopeEntry, A::Error> {
                RawScope::deserialize(MapAccessDeserializer::new(map)).map(ScopeEntry)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A text, or a list of texts.
#[derive(Clone)]
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON pointer such as \"/email\", or a list of them")
            }
            fn visit_str<E>(self, one: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![one.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = list.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany(many))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One way to connect, or a list of them.
pub(super) struct Ways {
    pub(super) ways: Vec<RawAuth>,
    /// Whether they stand in a list: paths of fields tell which.
    pub(super) listed: bool,
}

impl<'de> Deserialize<'de> for Ways {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Ways;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with \"type\", or a list of them")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Ways, A::Error> {
                let way = RawAuth::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Ways { ways: vec![way], listed: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Ways, A::Error> {
                let mut ways = Vec::new();
                while let Some(way) = list.next_element()? {
                    ways.push(way);
                }
                Ok(Ways { ways, listed: true })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

pub(super) fn parse(text: &str) -> Result<RawApp, FieldError> {
    if text.len() > LARGEST {
        return Err(FieldError { field: ".".into(), problem: "is over 64 KB".into() });
    }
    // Else an array would do: serde reads a struct from its members in order, too.
    if !json::is_object(text.as_bytes()) {
        return Err(FieldError { field: ".".into(), problem: "must be a JSON object".into() });
    }
    shape(text)
}

fn shape<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, FieldError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let value = read.map_err(|error| match error.inner() {
        inner if !json::is_json(text.as_bytes()) => not_json(inner),
        inner => shape_error(&error.path().to_string(), &inner.to_string()),
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

fn not_json(error: &serde_json::Error) -> FieldError {
    FieldError { field: ".".into(), problem: format!("is not JSON: {error}") }
}

/// What serde says, put at the field it is about.
fn shape_error(path: &str, message: &str) -> FieldError {
    let (field, fault) = Fault::at(path, message);
    let problem = match fault {
        Fault::Missing => "is required".to_owned(),
        fault @ Fault::Unknown(_) => format!("{fault}; see docs/catalogue.md"),
        fault => fault.to_string(),
    };
    FieldError { field, problem }
}
