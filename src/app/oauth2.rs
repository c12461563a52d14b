//! Everything in which OAuth servers differ, as options.
//!
//! Owns the parsed options and their meaning. Refuses to know any app: a server that behaves in a way nobody
//! foresaw gets an option here, named after the behaviour.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::template::{AddressTemplate, Template, Values};
use super::{OutboundMethod, Pointer, RequestError};
use crate::egress::Address;

/// How tokens are had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// A person consents at the app (RFC 6749 4.1).
    AuthorizationCode,
    /// A client of the person's own speaks for itself (RFC 6749 4.4, or an app's own name for it).
    ClientCredentials {
        /// The `grant_type` that is sent.
        grant_type: String,
    },
    /// A signed assertion is exchanged (RFC 7523 2.1).
    ServiceAccount(KeyFileShape),
}

/// Where things stand in a service account's key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFileShape {
    /// Who signs.
    pub issuer: Pointer,
    /// The private key, as PEM.
    pub private_key: Pointer,
    /// The key's id.
    pub key_id: Pointer,
}

/// Everything in which OAuth servers differ.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way in which servers differ, by its own name")]
pub struct OAuth2 {
    /// How tokens are had.
    pub grant: Grant,
    /// Where its endpoints are.
    pub endpoints: Endpoints,
    /// How the client authenticates, if the definition says; otherwise discovery decides, then [`ClientAuth::Basic`].
    pub client_auth: Option<ClientAuth>,
    /// What a client's assertions are signed with, where the app wants something else than the key's usual.
    pub assertion_alg: Option<Algorithm>,
    /// How it authenticates when refreshing, if that differs.
    pub refresh_client_auth: Option<ClientAuth>,
    /// How token requests are encoded.
    pub body: BodyEncoding,
    /// What separates scopes in requests (RFC 6749 3.3 says a space).
    pub scope_separator: String,
    /// Extra parameters of the authorize URL.
    pub authorize_params: Params,
    /// Extra parameters of the authorize URL where scopes are added to a connection.
    pub more_scopes_params: Params,
    /// Extra parameters of the code exchange, or of the only token request there is.
    pub token_params: Params,
    /// Extra parameters of a refresh.
    pub refresh_params: Params,
    /// Extra headers of token requests.
    pub token_headers: BTreeMap<String, String>,
    /// The parameter of the redirect that has the code (RFC 6749 4.1.2 says `code`).
    pub code_param: String,
    /// The parameter of the exchange that has it (RFC 6749 4.1.3 says `code`).
    pub exchange_code_param: String,
    /// The parameter of the redirect that names the granted scopes, where the token answer does not.
    pub callback_scope: Option<String>,
    /// What is sent as `redirect_uri`, where the app knows the address by a name that it gave.
    pub redirect_name: Option<Template>,
    /// Whether the exchange sends `redirect_uri` (RFC 6749 4.1.3 says so).
    pub exchange_redirect_uri: bool,
    /// Whether refreshes send it, too.
    pub refresh_redirect_uri: bool,
    /// Whether a reconnect sends the account's label as `login_hint`.
    pub login_hint: bool,
    /// How long `state` is, in characters: some apps cut or refuse a long one.
    pub state_length: usize,
    /// Whether PKCE (RFC 7636, S256) is sent.
    pub pkce: bool,
    /// Whether a refresh repeats the scopes.
    pub send_scope_on_refresh: bool,
    /// What becomes of a refresh token when it is used.
    pub rotation: Rotation,
    /// What a revocation kills and how it is asked for.
    pub revoke: Revocation,
    /// Life of an access token in seconds, where the answer does not say.
    pub access_token_lifetime: Option<i64>,
    /// Life of a refresh token in seconds from its issue, where the answer does not say.
    pub refresh_token_lifetime: Option<i64>,
    /// Seconds after which an unused refresh token dies.
    pub refresh_token_idle: Option<i64>,
    /// Seconds after the consent at which everything ends, however often it is refreshed.
    pub grant_lifetime: Option<i64>,
    /// Where things stand in token answers.
    pub response: ResponseShape,
    /// Further tokens that come in the same answer, by name.
    pub tokens: BTreeMap<String, FurtherToken>,
    /// Where a client is created, and what to enter there.
    pub client_help: Option<ClientHelp>,
    /// What a person should know before going to the app.
    pub connect_help: Vec<String>,
    /// How the app says that somebody else must consent first.
    pub approval: Option<Approval>,
}

/// Extra parameters: names and templates.
pub type Params = BTreeMap<String, Template>;

/// Where a client is created.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ClientHelp {
    /// The app's page.
    #[cfg_attr(test, schemars(url))]
    pub url: String,
    /// What to do there; `{redirect_uri}` stands for the client's `redirect_uri`.
    pub steps: Vec<String>,
}

/// How the app says that an administrator must consent before a person can, and what to do then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// What it answers then instead of a code: an `error`, or a word of its `error_description`.
    pub codes: Vec<String>,
    /// The page that tells an administrator how.
    pub url: Option<String>,
    /// What to do, and what to tell the administrator; `{client_id}` stands for the client's id at the app.
    pub steps: Vec<String>,
}

impl Approval {
    /// Whether an answer means it. A code counts as a whole word: a longer one that begins with it is another.
    pub fn is_asked(&self, error: &str, description: Option<&str>) -> bool {
        let parts = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-' | '.');
        let words = description.into_iter().flat_map(|text| text.split(parts));
        [error].into_iter().chain(words).any(|word| self.codes.iter().any(|code| code.eq_ignore_ascii_case(word)))
    }
}

/// Where an OAuth server's endpoints are: written down, or found at its issuer.
#[derive(Debug, Clone)]
pub enum Endpoints {
    /// Written down.
    Fixed(Box<FixedEndpoints>),
    /// Found by discovery (RFC 8414, `OpenID` Connect Discovery 1.0).
    Issuer(AddressTemplate),
}

/// Endpoints as a definition writes them down.
#[derive(Debug, Clone)]
pub struct FixedEndpoints {
    /// RFC 6749 3.1. Grants without a person have none.
    pub authorize_url: Option<AddressTemplate>,
    /// RFC 6749 3.2.
    pub token_url: AddressTemplate,
    /// Where refreshes go, if not to the token endpoint.
    pub refresh_url: Option<AddressTemplate>,
    /// RFC 7009, or the app's own.
    pub revoke_url: Option<AddressTemplate>,
    /// The issuer that these endpoints belong to, where the app names it in its answers (RFC 9207).
    pub issuer: Option<String>,
}

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// HTTP Basic with form-encoded id and secret (RFC 6749 2.3.1).
    Basic,
    /// HTTP Basic with id and secret as they are: some apps compare the bytes.
    BasicRaw,
    /// HTTP Basic with the secret as user name and an empty password; the client is not named.
    BasicSecret,
    /// `client_id` and `client_secret` in the body.
    Body,
    /// `client_id` in the body, no secret.
    None,
    /// A signed assertion (RFC 7523 2.2): the client has a private key for a secret.
    PrivateKeyJwt,
}

/// How a JWS is signed (RFC 7518 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256, and a salt of 32 bytes.
    Ps256,
    /// ECDSA on P-256 with SHA-256; the signature is r and s, 32 bytes each.
    Es256,
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

/// What becomes of a refresh token when it is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// It stays, and no other is issued.
    None,
    /// Another is issued, the used one goes on working.
    Reissue,
    /// Another is issued; the used one can be presented again within so many seconds.
    Grace(i64),
    /// Another is issued; presenting the used one again kills the grant. Also what is assumed when nothing is known.
    #[default]
    Strict,
}

impl Rotation {
    /// Whether a refresh token may be presented a second time (for `Grace`: within its seconds).
    pub fn reuse_is_safe(&self) -> bool {
        !matches!(self, Self::Strict)
    }
}

/// What a revocation kills and how it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What dies.
    pub kills: Kills,
    /// How it is asked for.
    pub style: RevokeStyle,
    /// Whether the client authenticates (RFC 7009 2.1 says so); some apps take the token alone.
    pub authenticate: bool,
    /// How it authenticates, where that differs from token requests.
    pub client_auth: Option<ClientAuth>,
    /// POST, or DELETE.
    pub method: OutboundMethod,
    /// How the request is encoded, where that differs from token requests.
    pub body: Option<BodyEncoding>,
    /// The parameters, instead of `token` and `token_type_hint`.
    pub params: Option<Params>,
    /// Extra headers.
    pub headers: BTreeMap<String, String>,
}

impl Default for Revocation {
    fn default() -> Self {
        Self {
            kills: Kills::Grant,
            style: RevokeStyle::Rfc7009,
            authenticate: true,
            client_auth: None,
            method: OutboundMethod::Post,
            body: None,
            params: None,
            headers: BTreeMap::new(),
        }
    }
}

/// What dies with a revoked token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kills {
    /// That token alone.
    Token,
    /// Every token of the same account and client.
    #[default]
    Grant,
}

/// How a revocation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevokeStyle {
    /// POST with the token in the body (RFC 7009 2.1).
    #[default]
    Rfc7009,
    /// POST without a body, the access token to revoke as the bearer.
    Bearer,
}

/// Where things stand in token answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseShape {
    /// Default `/access_token`.
    pub access_token: Pointer,
    /// Default `/refresh_token`.
    pub refresh_token: Pointer,
    /// Default `/expires_in`: seconds.
    pub expires_in: Pointer,
    /// What `expires_in` counts.
    pub expires_in_unit: LifetimeUnit,
    /// The end of the access token as a point in time, where the answer has that instead.
    pub expires_at: Option<Pointer>,
    /// The life of the refresh token in seconds, beside the members that are always looked at.
    pub refresh_expires_in: Option<Pointer>,
    /// What the life of the refresh token counts.
    pub refresh_expires_in_unit: LifetimeUnit,
    /// Default `/scope`.
    pub scope: Pointer,
    /// Default `/token_type`.
    pub token_type: Pointer,
    /// What separates scopes in answers, where that differs from requests.
    pub scope_separator: Option<String>,
}

impl Default for ResponseShape {
    fn default() -> Self {
        Self {
            access_token: Pointer::fixed("/access_token"),
            refresh_token: Pointer::fixed("/refresh_token"),
            expires_in: Pointer::fixed("/expires_in"),
            expires_in_unit: LifetimeUnit::default(),
            expires_at: None,
            refresh_expires_in: None,
            refresh_expires_in_unit: LifetimeUnit::default(),
            scope: Pointer::fixed("/scope"),
            token_type: Pointer::fixed("/token_type"),
            scope_separator: None,
        }
    }
}

/// What a life in an answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LifetimeUnit {
    /// Seconds (RFC 6749 5.1).
    #[default]
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Minutes.
    Minutes,
}

/// A further token that comes in the answer to an authorization code: a user's beside a bot's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FurtherToken {
    /// Where it stands in that answer. In the answer to its refresh it stands where every token does.
    pub response: ResponseShape,
    /// The parameter of the authorize URL that asks for its scopes.
    pub scope_param: String,
    /// Where that answer says whose this token is.
    pub account: Option<Pointer>,
}

/// An app's endpoints and what depends on them, once known.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Where a person is sent to consent.
    pub authorize_url: Option<Address>,
    /// Where codes are exchanged.
    pub token_url: Address,
    /// Where refresh tokens are redeemed: the token endpoint, unless the app has another.
    pub refresh_url: Address,
    /// Where tokens are revoked. It may have places for the token and the client's id.
    pub revoke_url: Option<AddressTemplate>,
    /// The issuer, exactly as it calls itself: what `iss` is compared with (RFC 9207).
    pub issuer: Option<String>,
    /// Whether it promises to send `iss` with every authorization response (RFC 9207 3).
    pub iss_promised: bool,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// What its assertions are signed with, if that is not the key's usual.
    pub assertion_alg: Option<Algorithm>,
    /// The request that tells whose account it is: the definition's, or the issuer's userinfo.
    pub identity: Option<super::Identity>,
}

impl Endpoints {
    /// The issuer, where the endpoints must be discovered.
    pub fn issuer(&self) -> Option<&AddressTemplate> {
        match self {
            Self::Issuer(issuer) => Some(issuer),
            Self::Fixed(_) => None,
        }
    }

    /// All addresses.
    pub(super) fn addresses(&self) -> Vec<&AddressTemplate> {
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
    /// The endpoints with their places filled.
    ///
    /// # Errors
    /// A value that is missing or must not stand there.
    pub(super) fn fill(&self, oauth2: &OAuth2, values: &Values) -> Result<Resolved, RequestError> {
        let token_url = self.token_url.fill(values)?;
        Ok(Resolved {
            authorize_url: self.authorize_url.as_ref().map(|url| url.fill(values)).transpose()?,
            refresh_url: self.refresh_url.as_ref().map_or_else(|| Ok(token_url.clone()), |url| url.fill(values))?,
            token_url,
            revoke_url: self.revoke_url.clone(),
            issuer: self.issuer.clone(),
            iss_promised: false,
            client_auth: oauth2.client_auth.unwrap_or(ClientAuth::Basic),
            assertion_alg: oauth2.assertion_alg,
            identity: None,
        })
    }
}

impl OAuth2 {
    /// Whether new tokens are had without a refresh token: by presenting what the person entered once more.
    pub fn mints(&self) -> bool {
        self.grant != Grant::AuthorizationCode
    }

    /// What is sent as `redirect_uri`: the address, or the name that the app knows it by.
    ///
    /// # Errors
    /// The name is not known, or could be an address: a code goes nowhere else.
    pub fn redirect_uri(&self, address: &str, values: &Values) -> Result<String, RequestError> {
        let Some(name) = &self.redirect_name else { return Ok(address.to_owned()) };
        let filled = name.fill(values)?;
        let is_name = !filled.is_empty() && filled.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
        let place = || name.places().next().unwrap_or("redirect_uri").to_owned();
        if is_name { Ok(filled) } else { Err(RequestError::Value(place())) }
    }

    /// The scopes of a request that are one token's, without its name: the first token's for `None`.
    pub fn scopes_of(&self, token: Option<&str>, scopes: &[String]) -> Vec<String> {
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
