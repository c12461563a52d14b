//! An app: how it is connected, where its OAuth server is, how it differs from others, and how its accounts are
//! identified.
//!
//! Owns the parsed definition and the questions about it. A catalogue file and a custom app have the same format
//! (docs/catalogue.md). Knows no app by name: differences between apps are options. Independent of the other modules,
//! because the build script reads the catalogue with it. Each address of an `App` passed the egress check when the
//! definition was read, and passes it again when its placeholders are filled.

mod discovery;
mod event_text;
mod events;
mod field;
mod manual_input;
mod oauth2;
mod read;
mod request;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::codes::codes;
use crate::egress::EgressUrl;

pub use discovery::{DiscoveryDocument, DiscoveryError, discovery_urls, read_discovery_document};
pub use event_text::{AccountInEvent, AccountMatch, EventText, EventValues, MAX_VALUES, NamedAccount};
pub use events::{
    AppEvents, ChallengeAnswer, ChallengeMethod, EventChallenge, EventCondition, JwtSecret, JwtSignature,
    RequestSignature, SecretEncoding, SecretHandshake, SharedSecret, SignatureEncoding, SignatureHeaderParts,
    TimestampFormat, WebhookSignature,
};
pub use field::{
    CredentialField, FieldProblem, Pattern, PrefixMark, ValueFormat, Variable, VariableSource, field_path, read_fields,
    read_variables, variable_path,
};
pub use manual_input::{FieldPlacement, strip_invisible, unwrap_pasted_value};
pub use oauth2::{
    AdditionalToken, AdminApproval, BodyEncoding, ClientAuth, ClientHelp, EndpointSource, FixedEndpoints, GrantType,
    KeyFileLayout, LifetimeUnit, OAuthServer, ParamTemplates, RefreshTokenRotation, ResolvedEndpoints,
    RevocationConfig, RevocationEffect, RevokeStyle, SigningAlgorithm, TokenResponseLayout,
};
pub use read::{read_definition, read_new_definition, read_stored_definition};
pub use request::{
    AccountLayout, ErrorTable, IdentityLookup, LabelLookup, NothingSharedCheck, OutboundMethod, PreparedRequest, Probe,
    RequestTemplate, ResponseMark, ResponseTextTemplate, ScopesHeader, StatusMeaning,
};
pub(crate) use request::{fill_templates, scalar_text};
pub use template::{RequestError, Template, TemplateValues, UrlTemplate};

/// Seconds after which the scheduled run moves connections to a new revision of a custom app, where the request that put
/// it has not.
pub const ROLLOUT_DELAY: i64 = 120;
/// Longest id of an app, in characters.
const MAX_ID_LENGTH: usize = 63;

/// An app's id: `^[a-z0-9][a-z0-9_-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

impl AppId {
    /// Reads an id. `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        (first_ok && rest_ok && text.len() <= MAX_ID_LENGTH).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AppId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| read::ID_RULE.to_owned())
    }
}

impl From<AppId> for String {
    fn from(id: AppId) -> Self {
        id.0
    }
}

/// A JSON Pointer (RFC 6901): where a value is in an app's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPointer(String);

impl JsonPointer {
    /// Reads a pointer. `None` if it is neither empty nor begins with `/`, or has an invalid `~`.
    pub fn parse(text: &str) -> Option<Self> {
        let escapes_ok = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let form_ok = text.is_empty() || text.starts_with('/');
        (escapes_ok && form_ok && text.len() <= 256).then(|| Self(text.to_owned()))
    }

    /// The value at the pointer.
    pub fn find<'a>(&self, json: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        json.pointer(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A pointer that is known to be well-formed.
    fn from_static(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

/// The id of one of an app's auth methods: 1 to 63 lower-case letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AuthMethodId(String);

impl AuthMethodId {
    /// Reads an id. `None` if it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        AppId::parse(text).map(|AppId(text)| Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthMethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for AuthMethodId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| read::ID_RULE.to_owned())
    }
}

impl From<AuthMethodId> for String {
    fn from(id: AuthMethodId) -> Self {
        id.0
    }
}

codes! {
    /// The type of credential of an auth method.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CredentialType"))]
    pub enum CredentialKind {
        /// Consent at the app (RFC 6749, 4.1).
        #[serde(rename = "oauth2")]
        OAuth2 = "oauth2",
        /// Tokens issued for a client id and secret that a person entered (RFC 6749, 4.4).
        ClientCredentials = "client_credentials",
        /// Tokens issued for a key file that a person entered (RFC 7523, 2.1).
        ServiceAccount = "service_account",
        /// A key that a person entered.
        ApiKey = "api_key",
        /// A bot's token that a person entered.
        BotToken = "bot_token",
        /// A user name and a password that a person entered.
        Basic = "basic",
    }
}

impl CredentialKind {
    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::OAuth2 => "Sign in at the app",
            Self::ClientCredentials => "Client id and secret",
            Self::ServiceAccount => "Service account",
            Self::ApiKey => "API key",
            Self::BotToken => "Bot token",
            Self::Basic => "User name and password",
        }
    }

    /// Whether a person enters it here, instead of consenting at the app.
    pub fn is_manual(self) -> bool {
        self != Self::OAuth2
    }

    /// Whether requests have a token that an OAuth server issued.
    pub fn uses_oauth_server(self) -> bool {
        matches!(self, Self::OAuth2 | Self::ClientCredentials | Self::ServiceAccount)
    }
}

/// An external product, as its definition describes it.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id: the catalogue file's name, or what the workspace chose.
    pub id: AppId,
    /// Its name for people.
    pub name: String,
    /// Words to filter by.
    pub categories: Vec<String>,
    /// The app's own documentation, an `https` address.
    pub docs: Option<String>,
    /// The pages the definition's facts come from.
    pub sources: Vec<String>,
    /// Facts that no source confirms.
    pub unverified: Vec<String>,
    /// Its webhook events, if they are known.
    pub events: Option<AppEvents>,
    /// Its auth methods, the recommended one first. There is at least one.
    auth_methods: Vec<Rc<AuthMethod>>,
}

impl App {
    /// Its auth methods, the recommended one first.
    pub fn auth_methods(&self) -> &[Rc<AuthMethod>] {
        &self.auth_methods
    }

    /// The auth method with this id, or the recommended one for `None`.
    pub fn auth_method(&self, id: Option<&AuthMethodId>) -> Option<Rc<AuthMethod>> {
        self.auth_methods.iter().find(|auth_method| id.is_none_or(|id| auth_method.method_id == *id)).cloned()
    }

    /// The same, as a custom app of a workspace.
    #[must_use]
    pub fn into_custom(mut self) -> Self {
        self.auth_methods.iter_mut().for_each(|auth_method| Rc::make_mut(auth_method).is_custom = true);
        self
    }

    /// The first auth method with a consent at the app.
    pub fn oauth2_method(&self) -> Option<Rc<AuthMethod>> {
        self.auth_methods.iter().find(|auth_method| auth_method.kind == CredentialKind::OAuth2).cloned()
    }

    /// What its OAuth client is registered under: the client family, or the app itself.
    pub fn registration(&self) -> &str {
        self.auth_methods
            .first()
            .and_then(|auth_method| auth_method.client_family.as_deref())
            .unwrap_or(self.id.as_str())
    }
}

/// An auth method of an app.
#[derive(Debug, Clone)]
pub struct AuthMethod {
    /// The app's id.
    pub app_id: AppId,
    /// Its name for people.
    pub app_name: String,
    /// The id of this auth method.
    pub method_id: AuthMethodId,
    /// Its name for people, if the app has several.
    pub method_name: Option<String>,
    /// The type of its credential.
    pub kind: CredentialKind,
    /// If the app or this auth method ends: when, and what to use instead.
    pub deprecated: Option<String>,
    /// The variables in its addresses.
    pub variables: Rc<BTreeMap<String, Variable>>,
    /// Its OAuth server. None if the manual credential is used directly.
    oauth_server: Option<OAuthServer>,
    /// What a person enters.
    pub fields: Vec<CredentialField>,
    /// The permissions it knows, in the order they are shown.
    pub scopes: Vec<AppScope>,
    /// How the account is found out.
    pub identity: Option<IdentityLookup>,
    /// The request that checks a credential, if `identity` does not.
    pub check: Option<Probe>,
    /// The request that finds out whether a working credential sees any content, for apps where people share items one
    /// by one.
    pub nothing_shared: Option<NothingSharedCheck>,
    /// How a credential is sent.
    pub request: RequestTemplate,
    /// The meanings of its error codes, in addition to the default table.
    pub errors: ErrorTable,
    /// The app's own limits.
    pub limits: Limits,
    /// Apps of one client family share an OAuth client. Only catalogue files have one.
    pub client_family: Option<String>,
    /// Whether a workspace defined it, and not the catalogue.
    pub is_custom: bool,
    /// What an OAuth client of this auth method is registered under.
    registration: String,
}

/// The app's own limits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AppLimits"))]
pub struct Limits {
    /// How many grants an account may have for one client at a time.
    pub grants_per_account: Option<i64>,
    /// Why two connections to one account interfere with each other.
    pub one_per_account: Option<String>,
    /// Other sentences.
    pub notes: Vec<String>,
}

/// A permission at the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AppScope"))]
pub struct AppScope {
    /// As the app names it. A scope of a further token is prefixed with that token's name and a colon.
    pub id: String,
    /// What it allows.
    pub description: Option<String>,
    /// Always requested.
    pub required: bool,
    /// Requested by default.
    pub default: bool,
    /// Other scopes that it includes.
    pub includes: Vec<String>,
    /// What the app requires before it grants this.
    pub sensitive: Option<String>,
    /// False for a scope that the app never lists as granted, so that it is never missing.
    pub answered: bool,
}

impl AuthMethod {
    /// The name for people.
    pub fn display_name(&self) -> String {
        self.method_name.clone().unwrap_or_else(|| self.kind.label().to_owned())
    }

    /// Its OAuth server, if it has one.
    pub fn oauth_server(&self) -> Option<&OAuthServer> {
        self.oauth_server.as_ref()
    }

    /// The first secret that a person enters. It takes the place of a token if there is none.
    pub fn first_secret_field(&self) -> Option<&str> {
        self.fields.iter().find(|field| field.secret).map(|field| field.id.as_str())
    }

    /// What happens to a refresh token when it is used.
    pub fn rotation(&self) -> RefreshTokenRotation {
        self.oauth_server.as_ref().map_or(RefreshTokenRotation::None, |oauth2| oauth2.rotation)
    }

    /// What a revocation ends and how it is requested.
    pub fn revocation(&self) -> RevocationConfig {
        self.oauth_server.as_ref().map_or_else(RevocationConfig::default, |oauth2| oauth2.revoke.clone())
    }

    /// Whether a new token is requested with the manual credential.
    pub fn issues_tokens(&self) -> bool {
        self.oauth_server.as_ref().is_some_and(OAuthServer::issues_tokens)
    }

    /// The issuer, if the endpoints must be discovered.
    pub fn issuer(&self) -> Option<&UrlTemplate> {
        self.oauth_server.as_ref().and_then(|oauth2| oauth2.endpoints.issuer())
    }

    /// How the account is found out: as discovered, or as defined.
    pub fn identity_for_endpoints<'a>(
        &'a self,
        endpoints: Option<&'a ResolvedEndpoints>,
    ) -> Option<&'a IdentityLookup> {
        endpoints.map_or(self.identity.as_ref(), |endpoints| endpoints.identity.as_ref())
    }

    /// Whether the destinations are stored with each of its credentials: for custom apps, and if the endpoints are
    /// discovered.
    pub fn stores_destinations(&self) -> bool {
        self.is_custom || self.issuer().is_some()
    }

    /// What an OAuth client is registered under: the client family, or the app itself. Further auth methods with a
    /// consent have their own clients; their ids follow the app's.
    pub fn registration(&self) -> &str {
        &self.registration
    }

    /// The scopes that are requested by default.
    pub fn default_scopes(&self) -> Vec<String> {
        self.scopes.iter().filter(|scope| scope.required || scope.default).map(|scope| scope.id.clone()).collect()
    }

    /// The scopes that are requested if somebody chose: the required ones, then the chosen ones, without duplicates.
    pub fn scopes_to_request(&self, chosen: &[String]) -> Vec<String> {
        let required = self.scopes.iter().filter(|scope| scope.required).map(|scope| &scope.id);
        let mut seen = BTreeSet::new();
        required.chain(chosen).filter(|id| seen.insert(id.as_str())).cloned().collect()
    }

    /// Whether a scope is granted: by itself, or because a granted scope includes it.
    pub fn is_scope_granted(&self, granted: &[String], scope: &str) -> bool {
        granted.iter().any(|have| have == scope)
            || self
                .scopes
                .iter()
                .any(|known| known.includes.iter().any(|included| included == scope) && granted.contains(&known.id))
    }

    /// The granted scopes: those that the app lists, those that they include, and the requested ones that the app never
    /// lists.
    pub fn granted_scopes(&self, named: &[String], requested: &[String]) -> Vec<String> {
        let mut granted = named.to_vec();
        for scope in &self.scopes {
            let unnamed = !scope.answered && requested.contains(&scope.id);
            let included = if named.contains(&scope.id) { scope.includes.as_slice() } else { &[] };
            let more = [&scope.id].into_iter().filter(|_| unnamed).chain(included);
            for id in more {
                if !granted.contains(id) {
                    granted.push(id.clone());
                }
            }
        }
        granted
    }

    /// The client's variables that decide a host of the authorization server, if its endpoints are fixed.
    pub fn client_host_variables(&self) -> Vec<&str> {
        let Some(EndpointSource::Fixed(_)) = self.oauth_server.as_ref().map(|server| &server.endpoints) else {
            return vec![];
        };
        let urls = self.oauth_server.iter().flat_map(|server| server.endpoints.url_templates());
        let of_client = |name: &&str| self.variables.get(*name).is_some_and(|one| one.source == VariableSource::Client);
        let mut names: Vec<_> = urls.flat_map(UrlTemplate::host_placeholders).filter(of_client).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The fixed endpoints, with their placeholders filled. `None` if they must be discovered.
    ///
    /// # Errors
    /// A value is missing or not permitted.
    pub fn resolve_fixed_endpoints(&self, values: &TemplateValues) -> Option<Result<ResolvedEndpoints, RequestError>> {
        let oauth2 = self.oauth_server.as_ref()?;
        let EndpointSource::Fixed(fixed) = &oauth2.endpoints else { return None };
        Some(fixed.fill(oauth2, values).map(|found| ResolvedEndpoints { identity: self.identity.clone(), ..found }))
    }

    /// The discovered endpoints. The definition has precedence over the issuer.
    ///
    /// # Errors
    /// Neither the definition nor the issuer names a supported client authentication.
    pub fn resolve_discovered_endpoints(
        &self,
        discovered: &DiscoveryDocument,
    ) -> Result<ResolvedEndpoints, DiscoveryError> {
        let template = |url: &EgressUrl| UrlTemplate::from_url(url.clone());
        let userinfo = || discovered.userinfo_url.as_ref().map(template).map(IdentityLookup::from_userinfo);
        let own = self.oauth_server.as_ref().and_then(|oauth2| oauth2.client_auth);
        Ok(ResolvedEndpoints {
            authorize_url: Some(discovered.authorize_url.clone()),
            token_url: discovered.token_url.clone(),
            refresh_url: discovered.token_url.clone(),
            revoke_url: discovered.revoke_url.as_ref().map(template),
            issuer: Some(discovered.issuer.clone()),
            iss_parameter_supported: discovered.iss_parameter_supported,
            client_auth: own.or(discovered.client_auth).ok_or(DiscoveryError::UnsupportedClientAuth)?,
            assertion_alg: self.oauth_server.as_ref().and_then(|oauth2| oauth2.assertion_alg),
            identity: self.identity.clone().or_else(userinfo),
        })
    }
}

#[cfg(test)]
mod tests;
