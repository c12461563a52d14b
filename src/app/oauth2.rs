//! All differences between OAuth servers, as options.
//!
//! Owns the parsed options and their meaning. Knows no app: unforeseen behaviour of a server becomes an option here,
//! named after the behaviour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::template::{Template, TemplateValues, UrlTemplate};
use super::{JsonPointer, OutboundMethod, RequestError};
use crate::egress::EgressUrl;

/// How tokens are obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantType {
    /// A person consents at the app (RFC 6749 4.1).
    AuthorizationCode,
    /// Client credentials of a person (RFC 6749 4.4, or an app's own name for it).
    ClientCredentials {
        /// The `grant_type` in the request.
        grant_type: String,
    },
    /// A signed assertion is exchanged (RFC 7523 2.1).
    JwtBearer(KeyFileLayout),
}

/// Where the values are in a service account's key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFileLayout {
    /// The issuer of the assertion.
    pub issuer: JsonPointer,
    /// The private key, as PEM.
    pub private_key: JsonPointer,
    /// The key's id.
    pub key_id: JsonPointer,
}

/// All differences between OAuth servers.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way in which servers differ, by its own name")]
pub struct OAuthServer {
    /// How tokens are obtained.
    pub grant_type: GrantType,
    /// Where its endpoints are.
    pub endpoints: EndpointSource,
    /// How the client authenticates, if the definition says; otherwise discovery decides, then [`ClientAuth::Basic`].
    pub client_auth: Option<ClientAuth>,
    /// The algorithm of a client's assertions, if it is not the default for the key.
    pub assertion_alg: Option<SigningAlgorithm>,
    /// Client authentication of refreshes, if it differs.
    pub refresh_client_auth: Option<ClientAuth>,
    /// How token requests are encoded.
    pub body_encoding: BodyEncoding,
    /// What separates scopes in requests (RFC 6749 3.3 says a space).
    pub scope_separator: String,
    /// Extra parameters of the authorize URL.
    pub authorize_params: ParamTemplates,
    /// Extra parameters of the authorize URL if scopes are added to a connection.
    pub more_scopes_params: ParamTemplates,
    /// Extra parameters of the code exchange, or of the token request of other grants.
    pub token_params: ParamTemplates,
    /// Extra parameters of a refresh.
    pub refresh_params: ParamTemplates,
    /// Extra headers of token requests.
    pub token_headers: BTreeMap<String, String>,
    /// The parameter of the redirect with the code (RFC 6749 4.1.2: `code`).
    pub code_param: String,
    /// The parameter of the exchange with the code (RFC 6749 4.1.3: `code`).
    pub exchange_code_param: String,
    /// The parameter of the redirect with the granted scopes, if the token response does not have them.
    pub callback_scope: Option<String>,
    /// The value of `redirect_uri`, if the app identifies the address by its own name for it.
    pub redirect_name: Option<Template>,
    /// Whether the exchange sends `redirect_uri` (RFC 6749 4.1.3 requires it).
    pub exchange_redirect_uri: bool,
    /// Whether refreshes also send it.
    pub refresh_redirect_uri: bool,
    /// Whether a reconnect sends the account's label as `login_hint`.
    pub login_hint: bool,
    /// Length of `state` in characters. Some apps truncate or refuse a long one.
    pub state_length: usize,
    /// Whether PKCE (RFC 7636, S256) is sent.
    pub pkce: bool,
    /// Whether a refresh repeats the scopes.
    pub send_scope_on_refresh: bool,
    /// What happens to a refresh token when it is used.
    pub rotation: RefreshTokenRotation,
    /// What a revocation ends and how it is requested.
    pub revoke: RevocationConfig,
    /// Lifetime of an access token in seconds, if the response has none.
    pub access_token_lifetime: Option<i64>,
    /// Lifetime of a refresh token in seconds from its issue, if the response has none.
    pub refresh_token_lifetime: Option<i64>,
    /// Seconds after which an unused refresh token expires.
    pub refresh_token_idle: Option<i64>,
    /// Seconds after the consent at which the grant ends, independent of refreshes.
    pub grant_lifetime: Option<i64>,
    /// Where the values are in token responses.
    pub response: TokenResponseLayout,
    /// Further tokens in the same response, by name.
    pub tokens: BTreeMap<String, AdditionalToken>,
    /// Where a client is registered, and what to enter there.
    pub client_help: Option<ClientHelp>,
    /// What a person should know before going to the app.
    pub connect_help: Vec<String>,
    /// How the app says that an administrator must consent first.
    pub approval: Option<AdminApproval>,
}

/// Extra parameters: names and templates.
pub type ParamTemplates = BTreeMap<String, Template>;

/// Where a client is registered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientHelp {
    /// The app's page.
    #[cfg_attr(test, schemars(url))]
    pub url: String,
    /// The steps there. `{redirect_uri}` is replaced by the client's `redirect_uri`.
    pub steps: Vec<String>,
}

/// How the app says that an administrator must consent before a person can, and what to do then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminApproval {
    /// What it returns instead of a code: an `error`, or a word in its `error_description`.
    pub codes: Vec<String>,
    /// The page with instructions for an administrator.
    pub url: Option<String>,
    /// The steps, and what to tell the administrator. `{client_id}` is replaced by the client's id at the app.
    pub steps: Vec<String>,
}

impl AdminApproval {
    /// Whether a response requires an administrator. A code must match as a whole word, because a longer one has
    /// another meaning.
    pub fn is_required(&self, error: &str, description: Option<&str>) -> bool {
        let parts = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.');
        let words = description.into_iter().flat_map(|text| text.split(parts));
        [error].into_iter().chain(words).any(|word| self.codes.iter().any(|code| code.eq_ignore_ascii_case(word)))
    }
}

/// The endpoints of an OAuth server: fixed, or discovered from its issuer.
#[derive(Debug, Clone)]
pub enum EndpointSource {
    /// In the definition.
    Fixed(Box<FixedEndpoints>),
    /// Found by discovery (RFC 8414, `OpenID` Connect Discovery 1.0).
    Issuer(UrlTemplate),
}

/// Fixed endpoints of a definition.
#[derive(Debug, Clone)]
pub struct FixedEndpoints {
    /// RFC 6749 3.1. Grants without a consent have none.
    pub authorize_url: Option<UrlTemplate>,
    /// RFC 6749 3.2.
    pub token_url: UrlTemplate,
    /// The endpoint for refreshes, if it is not the token endpoint.
    pub refresh_url: Option<UrlTemplate>,
    /// RFC 7009, or the app's own form.
    pub revoke_url: Option<UrlTemplate>,
    /// The issuer of these endpoints, if the app sends it in redirects (RFC 9207).
    pub issuer: Option<String>,
}

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic with form-encoded id and secret (RFC 6749 2.3.1).
    Basic,
    /// HTTP Basic with id and secret unencoded: some apps compare the bytes.
    BasicRaw,
    /// HTTP Basic with the secret as user name and an empty password. The client id is not sent.
    BasicSecret,
    /// `client_id` and `client_secret` in the body.
    Body,
    /// `client_id` in the body, no secret.
    None,
    /// A signed assertion (RFC 7523 2.2): the client has a private key instead of a secret.
    PrivateKeyJwt,
}

/// How a JWS is signed (RFC 7518 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256. The signature is r and s, 32 bytes each.
    Es256,
    /// Ed25519 (RFC 8032). Only events of apps are verified with it: a definition cannot name it.
    #[serde(skip)]
    EdDsa,
}

/// How token requests are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyEncoding {
    /// `application/x-www-form-urlencoded`, as RFC 6749 says.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// What happens to a refresh token when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshTokenRotation {
    /// It stays valid, and no other is issued.
    None,
    /// Another is issued, and the used one stays valid.
    Reissue,
    /// Another is issued. The used one is accepted again within this many seconds.
    Grace(i64),
    /// Another is issued. Using the old one again revokes the grant. This is also the default if nothing is known.
    #[default]
    Strict,
}

impl RefreshTokenRotation {
    /// Whether a refresh token may be sent a second time (for `Grace`: within its seconds).
    pub fn reuse_is_safe(&self) -> bool {
        !matches!(self, Self::Strict)
    }
}

/// What a revocation ends and how it is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationConfig {
    /// What it ends.
    pub effect: RevocationEffect,
    /// How it is requested.
    pub style: RevokeStyle,
    /// Whether the client authenticates (RFC 7009 2.1 requires it). Some apps accept the token alone.
    pub authenticate: bool,
    /// Client authentication of the revocation, if it differs from token requests.
    pub client_auth: Option<ClientAuth>,
    /// POST, or DELETE.
    pub method: OutboundMethod,
    /// The encoding of the request, if it differs from token requests.
    pub body_encoding: Option<BodyEncoding>,
    /// The parameters, instead of `token` and `token_type_hint`.
    pub params: Option<ParamTemplates>,
    /// Extra headers.
    pub headers: BTreeMap<String, String>,
}

impl Default for RevocationConfig {
    fn default() -> Self {
        Self {
            effect: RevocationEffect::Grant,
            style: RevokeStyle::Rfc7009,
            authenticate: true,
            client_auth: None,
            method: OutboundMethod::Post,
            body_encoding: None,
            params: None,
            headers: BTreeMap::new(),
        }
    }
}

/// What ends with a revoked token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevocationEffect {
    /// Only that token.
    Token,
    /// Every token of the same account and client.
    #[default]
    Grant,
}

/// How a revocation is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokeStyle {
    /// POST with the token in the body (RFC 7009 2.1).
    #[default]
    Rfc7009,
    /// POST without a body, with the access token to revoke as bearer token.
    Bearer,
}

/// Where the values are in token responses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenResponseLayout {
    /// Default `/access_token`.
    pub access_token: JsonPointer,
    /// Default `/refresh_token`.
    pub refresh_token: JsonPointer,
    /// Default `/expires_in`: seconds.
    pub expires_in: JsonPointer,
    /// The unit of `expires_in`.
    pub expires_in_unit: LifetimeUnit,
    /// Expiry of the access token as a point in time, if the response has that instead.
    pub expires_at: Option<JsonPointer>,
    /// Lifetime of the refresh token in seconds, in addition to the members that are always read.
    pub refresh_expires_in: Option<JsonPointer>,
    /// The unit of the refresh token's lifetime.
    pub refresh_expires_in_unit: LifetimeUnit,
    /// Default `/scope`.
    pub scope: JsonPointer,
    /// Default `/token_type`.
    pub token_type: JsonPointer,
    /// The separator of scopes in responses, if it differs from requests.
    pub scope_separator: Option<String>,
}

impl Default for TokenResponseLayout {
    fn default() -> Self {
        Self {
            access_token: JsonPointer::from_static("/access_token"),
            refresh_token: JsonPointer::from_static("/refresh_token"),
            expires_in: JsonPointer::from_static("/expires_in"),
            expires_in_unit: LifetimeUnit::default(),
            expires_at: None,
            refresh_expires_in: None,
            refresh_expires_in_unit: LifetimeUnit::default(),
            scope: JsonPointer::from_static("/scope"),
            token_type: JsonPointer::from_static("/token_type"),
            scope_separator: None,
        }
    }
}

/// The unit of a lifetime in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LifetimeUnit {
    /// Seconds (RFC 6749 5.1).
    #[default]
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Minutes.
    Minutes,
}

/// A further token in the response to an authorization code, such as a user's token in addition to a bot's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalToken {
    /// Where its values are in that response. In the response to its own refresh they are at the default pointers.
    pub response: TokenResponseLayout,
    /// The parameter of the authorize URL for its scopes.
    pub scope_param: String,
    /// Where that response names its account.
    pub account: Option<JsonPointer>,
}

/// An app's known endpoints and what depends on them.
#[derive(Debug, Clone)]
pub struct ResolvedEndpoints {
    /// Where a person is redirected to consent.
    pub authorize_url: Option<EgressUrl>,
    /// Where codes are exchanged.
    pub token_url: EgressUrl,
    /// Where refresh tokens are sent: the token endpoint, unless the app has another.
    pub refresh_url: EgressUrl,
    /// Where tokens are revoked. It may have placeholders for the token and the client's id.
    pub revoke_url: Option<UrlTemplate>,
    /// The issuer, exactly as it names itself. `iss` is compared with it (RFC 9207).
    pub issuer: Option<String>,
    /// Whether it promises to send `iss` with every authorization response (RFC 9207 3).
    pub iss_parameter_supported: bool,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// The algorithm of its assertions, if it is not the default for the key.
    pub assertion_alg: Option<SigningAlgorithm>,
    /// The identity request: the definition's, or the issuer's userinfo.
    pub identity: Option<super::IdentityLookup>,
}

impl EndpointSource {
    /// The issuer, if the endpoints must be discovered.
    pub fn issuer(&self) -> Option<&UrlTemplate> {
        match self {
            Self::Issuer(issuer) => Some(issuer),
            Self::Fixed(_) => None,
        }
    }

    /// All addresses.
    pub(super) fn url_templates(&self) -> Vec<&UrlTemplate> {
        match self {
            Self::Issuer(issuer) => vec![issuer],
            Self::Fixed(fixed) => fixed
                .authorize_url
                .iter()
                .chain([&fixed.token_url])
                .chain(&fixed.refresh_url)
                .chain(&fixed.revoke_url)
                .collect(),
        }
    }
}

impl FixedEndpoints {
    /// The endpoints with their placeholders filled.
    ///
    /// # Errors
    /// A value is missing or not permitted.
    pub(super) fn fill(
        &self,
        oauth2: &OAuthServer,
        values: &TemplateValues,
    ) -> Result<ResolvedEndpoints, RequestError> {
        let token_url = self.token_url.fill(values)?;
        Ok(ResolvedEndpoints {
            authorize_url: self.authorize_url.as_ref().map(|url| url.fill(values)).transpose()?,
            refresh_url: self.refresh_url.as_ref().map_or_else(|| Ok(token_url.clone()), |url| url.fill(values))?,
            token_url,
            revoke_url: self.revoke_url.clone(),
            issuer: self.issuer.clone(),
            iss_parameter_supported: false,
            client_auth: oauth2.client_auth.unwrap_or(ClientAuth::Basic),
            assertion_alg: oauth2.assertion_alg,
            identity: None,
        })
    }
}

impl OAuthServer {
    /// Whether new tokens are requested without a refresh token, with the manual credential.
    pub fn issues_tokens(&self) -> bool {
        self.grant_type != GrantType::AuthorizationCode
    }

    /// The value of `redirect_uri`: the address, or the app's own name for it.
    ///
    /// # Errors
    /// The name is unknown, or could be an address. A code may be sent only to our own address.
    pub fn redirect_uri(&self, address: &str, values: &TemplateValues) -> Result<String, RequestError> {
        let Some(name) = &self.redirect_name else { return Ok(address.to_owned()) };
        let filled = name.fill(values)?;
        let is_name = !filled.is_empty() && filled.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
        let place = || name.placeholders().next().unwrap_or("redirect_uri").to_owned();
        if is_name { Ok(filled) } else { Err(RequestError::InvalidValue(place())) }
    }

    /// The scopes of one token in a request, without its name. `None` is the first token.
    pub fn scopes_for_token(&self, token: Option<&str>, scopes: &[String]) -> Vec<String> {
        let further = |scope: &str| {
            let (name, rest) = scope.split_once(':')?;
            self.tokens.contains_key(name).then(|| (name.to_owned(), rest.to_owned()))
        };
        scopes
            .iter()
            .filter_map(|scope| match (further(scope), token) {
                (None, None) => Some(scope.clone()),
                (Some((name, rest)), Some(token)) if name == token => Some(rest),
                _ => None,
            })
            .collect()
    }
}
