//! The JSON structure of a definition, as serde reads it.
//!
//! Owns the members and which of them are optional. Refuses unknown members, with their path. [`super`] validates the
//! values.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::{
    BodyEncoding, ClientAuth, CredentialKind, LifetimeUnit, RevocationEffect, RevokeStyle, SigningAlgorithm,
    StatusMeaning,
};
use super::MAX_DEFINITION_BYTES;
use super::events::RawEvents;
use crate::app::FieldProblem;
use crate::environment::Environment;
use crate::json::{self, JsonFault, ReadFault, objects};

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
    pub(super) auth: RawAuthMethods,
    #[serde(default)]
    pub(super) scopes: Vec<RawScopeEntry>,
    pub(super) identity: Option<RawIdentity>,
    pub(super) check: Option<RawProbe>,
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
    pub(super) from: RawVariableSource,
    pub(super) at: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawVariableSource {
    #[default]
    Person,
    Client,
    Token,
    Identity,
    Callback,
}

/// One auth method. A later check assigns members to types, because serde could not name the member.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawAuthMethod {
    pub(super) r#type: CredentialKind,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) deprecated: Option<String>,
    pub(super) scopes: Option<Vec<RawScopeEntry>>,
    pub(super) identity: Option<RawIdentity>,
    pub(super) check: Option<RawProbe>,
    pub(super) nothing_shared: Option<RawNothingShared>,
    pub(super) request: Option<RawRequest>,
    pub(super) errors: Option<RawErrors>,
    pub(super) limits: Option<RawLimits>,
    // Of an OAuth server.
    pub(super) issuer: Option<String>,
    pub(super) authorize_url: Option<String>,
    pub(super) token_url: Option<String>,
    pub(super) refresh_url: Option<String>,
    pub(super) revoke_url: Option<String>,
    pub(super) client_auth: Option<ClientAuth>,
    pub(super) assertion_alg: Option<SigningAlgorithm>,
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
    pub(super) response: Option<RawTokenResponse>,
    #[serde(default)]
    pub(super) tokens: BTreeMap<String, RawAdditionalToken>,
    pub(super) client_help: Option<RawClientHelp>,
    #[serde(default)]
    pub(super) connect_help: Vec<String>,
    pub(super) approval: Option<RawApproval>,
    pub(super) key_file: Option<RawKeyFile>,
    // Of a manual credential.
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
    pub(super) kills: RevocationEffect,
    #[serde(default)]
    pub(super) style: RevokeStyle,
    pub(super) authenticate: Option<bool>,
    pub(super) client_auth: Option<ClientAuth>,
    pub(super) method: Option<RawRevokeMethod>,
    pub(super) body: Option<BodyEncoding>,
    pub(super) params: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum RawRevokeMethod {
    Post,
    Delete,
}

#[derive(Deserialize, Default)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawTokenResponse {
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
pub(super) struct RawAdditionalToken {
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
pub(super) struct RawClientHelp {
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
    pub(super) marks: Vec<RawPrefixMark>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawPrefixMark {
    pub(super) prefix: String,
    pub(super) label: Option<String>,
    pub(super) account: Option<String>,
    pub(super) environment: Option<Environment>,
    pub(super) refuse: Option<String>,
    pub(super) warn: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) from: Option<RawIdentitySource>,
    pub(super) method: Option<RawMethod>,
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
    pub(super) marks: Vec<RawResponseMark>,
    pub(super) named_by: Option<RawNamedBy>,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawNamedBy {
    pub(super) method: Option<RawMethod>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    pub(super) label: OneOrMany,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawResponseMark {
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
pub(super) enum RawIdentitySource {
    Token,
}

#[derive(Deserialize, Clone)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawProbe {
    pub(super) method: Option<RawMethod>,
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
    pub(super) method: Option<RawMethod>,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Option<String>,
    pub(super) at: String,
    pub(super) say: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum RawMethod {
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
    RawAuthMethod,
    RawRevocation,
    RawTokenResponse,
    RawAdditionalToken,
    RawClientHelp,
    RawApproval,
    RawKeyFile,
    RawField,
    RawPrefixMark,
    RawIdentity,
    RawNamedBy,
    RawResponseMark,
    RawNothingShared,
    RawScopesHeader,
    RawProbe,
    RawRequest,
    RawBasic,
    RawErrors,
    RawLimits,
    RawScope,
);

fn yes() -> bool {
    true
}

/// A scope is its id, or an object. An untagged enum would hide which field of the object is wrong.
#[derive(Clone)]
pub(super) struct RawScopeEntry(pub(super) RawScope);

impl<'de> Deserialize<'de> for RawScopeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScopeEntryVisitor;
        impl<'de> Visitor<'de> for ScopeEntryVisitor {
            type Value = RawScopeEntry;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a scope as text, or an object with \"id\"")
            }
            fn visit_str<E>(self, id: &str) -> Result<RawScopeEntry, E> {
                Ok(RawScopeEntry(RawScope {
                    id: id.to_owned(),
                    description: None,
                    required: false,
                    default: true,
                    includes: vec![],
                    sensitive: None,
                    answered: true,
                }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawScopeEntry, A::Error> {
                RawScope::deserialize(MapAccessDeserializer::new(map)).map(RawScopeEntry)
            }
        }
        deserializer.deserialize_any(ScopeEntryVisitor)
    }
}

/// A text, or a list of texts.
#[derive(Clone)]
pub(super) struct OneOrMany(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;
        impl<'de> Visitor<'de> for OneOrManyVisitor {
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
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

/// One auth method, or a list of them.
pub(super) struct RawAuthMethods {
    pub(super) methods: Vec<RawAuthMethod>,
    /// Whether they are in a list, which changes the paths of fields.
    pub(super) is_list: bool,
}

impl<'de> Deserialize<'de> for RawAuthMethods {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AuthMethodsVisitor;
        impl<'de> Visitor<'de> for AuthMethodsVisitor {
            type Value = RawAuthMethods;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object with \"type\", or a list of them")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawAuthMethods, A::Error> {
                let auth_method = RawAuthMethod::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawAuthMethods { methods: vec![auth_method], is_list: false })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawAuthMethods, A::Error> {
                let mut ways = Vec::new();
                while let Some(auth_method) = list.next_element()? {
                    ways.push(auth_method);
                }
                Ok(RawAuthMethods { methods: ways, is_list: true })
            }
        }
        deserializer.deserialize_any(AuthMethodsVisitor)
    }
}

pub(super) fn parse(text: &str) -> Result<RawApp, FieldProblem> {
    if text.len() > MAX_DEFINITION_BYTES {
        return Err(FieldProblem { field: ".".into(), problem: "is over 64 KB".into() });
    }
    // Otherwise an array would be accepted, because serde also reads a struct from its members in order.
    if !json::is_object(text.as_bytes()) {
        return Err(FieldProblem { field: ".".into(), problem: "must be a JSON object".into() });
    }
    json::read(text.as_bytes()).map_err(|fault| match fault {
        ReadFault::NotJson(error) => not_json_problem(&error),
        ReadFault::Member { path, message } => shape_problem(&path, &message),
    })
}

fn not_json_problem(error: &serde_json::Error) -> FieldProblem {
    FieldProblem { field: ".".into(), problem: format!("is not JSON: {error}") }
}

/// The error of serde, with the path of its field.
fn shape_problem(path: &str, message: &str) -> FieldProblem {
    let (field, fault) = JsonFault::from_serde(path, message);
    let problem = match fault {
        JsonFault::Missing => "is required".to_owned(),
        fault @ JsonFault::Unknown(_) => format!("{fault}; see docs/catalogue.md"),
        fault => fault.to_string(),
    };
    FieldProblem { field, problem }
}
