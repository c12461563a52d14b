//! What an app is: where its OAuth server is, how it differs from others, who an account is there.
//!
//! Owns the parsed definition and the questions that are asked of it. One format serves a file of the
//! catalogue and a custom app (docs/catalogue.md). Refuses to know any app by name: what differs between
//! apps is an option here. An `App` that exists has only addresses that passed the egress guard.

pub mod catalogue;
mod discovery;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::egress::Address;
use crate::ports::{OutboundMethod, Value};

pub use discovery::{Discovered, DiscoveryError, read_discovery, well_known};
pub use read::{FieldError, read, read_custom};

/// Characters of an app's id, at most.
const LONGEST_ID: usize = 63;

/// An app's id: `^[a-z0-9][a-z0-9_-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

impl AppId {
    /// Reads an id; `None` when it has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        (first_ok && rest_ok && text.len() <= LONGEST_ID).then(|| Self(text.to_owned()))
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

impl From<&AppId> for Value {
    fn from(id: &AppId) -> Self {
        Self::Text(id.0.clone())
    }
}

/// A JSON Pointer (RFC 6901): where something stands in an app's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a pointer; `None` when it neither is empty nor begins with `/`, or has a stray `~`.
    pub fn parse(text: &str) -> Option<Self> {
        let escapes_ok = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        let form_ok = text.is_empty() || text.starts_with('/');
        (escapes_ok && form_ok && text.len() <= 256).then(|| Self(text.to_owned()))
    }

    /// What stands there.
    pub fn find<'a>(&self, json: &'a serde_json::Value) -> Option<&'a serde_json::Value> {
        json.pointer(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A pointer that is known to be well-formed.
    fn fixed(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

/// An external product, as its definition tells it.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id: the catalogue file's name, or what the workspace chose.
    pub id: AppId,
    /// The name people know.
    pub name: String,
    /// Words to filter by.
    pub categories: Vec<String>,
    /// The app's own documentation, an `https` address.
    pub docs: Option<String>,
    /// The pages the definition's facts come from.
    pub sources: Vec<String>,
    /// How it authenticates.
    pub auth: Auth,
    /// The permissions it knows, in the order they are shown.
    pub scopes: Vec<Scope>,
    /// The request that tells whose account it is.
    pub identity: Option<Probe>,
    /// The request that tells whether a credential works, where `identity` does not do.
    pub check: Option<Probe>,
    /// How a credential is sent.
    pub request: RequestShape,
    /// What its error codes mean, beyond the default table.
    pub errors: ErrorTable,
    /// Apps of one family share an OAuth client. Only catalogue files have one.
    pub client_family: Option<String>,
}

/// How an app authenticates.
#[derive(Debug, Clone)]
pub enum Auth {
    /// OAuth 2.0, authorization code grant (RFC 6749 4.1).
    OAuth2(OAuth2),
}

/// A permission at the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// As the app writes it.
    pub id: String,
    /// What it allows, for people.
    pub description: Option<String>,
    /// Always asked for.
    pub required: bool,
    /// Asked for when nobody chooses.
    pub default: bool,
}

/// Everything in which OAuth servers differ.
#[derive(Debug, Clone)]
pub struct OAuth2 {
    /// Where its endpoints are.
    pub endpoints: Endpoints,
    /// How the client authenticates, if the definition says; otherwise discovery decides, then [`ClientAuth::Basic`].
    pub client_auth: Option<ClientAuth>,
    /// How it authenticates when refreshing, if that differs.
    pub refresh_client_auth: Option<ClientAuth>,
    /// How token requests are encoded.
    pub body: BodyEncoding,
    /// What separates scopes in requests (RFC 6749 3.3 says a space).
    pub scope_separator: String,
    /// Extra parameters of the authorize URL.
    pub authorize_params: BTreeMap<String, String>,
    /// Extra parameters of the code exchange.
    pub token_params: BTreeMap<String, String>,
    /// Extra parameters of a refresh.
    pub refresh_params: BTreeMap<String, String>,
    /// Extra headers of token requests.
    pub token_headers: BTreeMap<String, String>,
    /// Whether a reconnect sends the account's label as `login_hint`.
    pub login_hint: bool,
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
    /// Where things stand in token answers.
    pub response: ResponseShape,
}

/// Where an OAuth server's endpoints are: written down, or found at its issuer.
#[derive(Debug, Clone)]
pub enum Endpoints {
    /// Written down.
    Fixed(Box<FixedEndpoints>),
    /// Found by discovery (RFC 8414, `OpenID` Connect Discovery 1.0).
    Issuer(Address),
}

/// Endpoints as a definition writes them down.
#[derive(Debug, Clone)]
pub struct FixedEndpoints {
    /// RFC 6749 3.1.
    pub authorize_url: Address,
    /// RFC 6749 3.2.
    pub token_url: Address,
    /// Where refreshes go, if not to the token endpoint.
    pub refresh_url: Option<Address>,
    /// RFC 7009, or the app's own.
    pub revoke_url: Option<Address>,
}

/// How a client authenticates at the token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// HTTP Basic with form-encoded id and secret (RFC 6749 2.3.1).
    Basic,
    /// `client_id` and `client_secret` in the body.
    Body,
    /// `client_id` in the body, no secret.
    None,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// What dies.
    pub kills: Kills,
    /// How it is asked for.
    pub style: RevokeStyle,
    /// Whether the client authenticates (RFC 7009 2.1 says so); some apps take the token alone.
    pub authenticate: bool,
}

impl Default for Revocation {
    fn default() -> Self {
        Self { kills: Kills::Grant, style: RevokeStyle::Rfc7009, authenticate: true }
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
            scope: Pointer::fixed("/scope"),
            token_type: Pointer::fixed("/token_type"),
            scope_separator: None,
        }
    }
}

/// A request to the app's API that carries a credential: who is it, does it work.
#[derive(Debug, Clone)]
pub struct Probe {
    /// GET unless the definition says POST.
    pub method: OutboundMethod,
    /// Where.
    pub url: Address,
    /// Headers beside those of the request shape.
    pub headers: BTreeMap<String, String>,
    /// The body, as it stands.
    pub body: Option<String>,
    /// Where the account stands in the answer; a check has none.
    pub account: Option<AccountPointers>,
}

/// Where an account's id and label stand in an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountPointers {
    /// What never changes about the account.
    pub id: Pointer,
    /// What a person recognises; the first that is present.
    pub label: Vec<Pointer>,
}

/// How a credential is sent in requests to the app.
#[derive(Debug, Clone)]
pub struct RequestShape {
    /// The address that the app's API paths are relative to.
    pub base_url: Option<Address>,
    /// Header names and templates with `{access_token}`.
    pub headers: BTreeMap<String, String>,
}

impl Default for RequestShape {
    fn default() -> Self {
        let bearer = ("Authorization".to_owned(), format!("Bearer {ACCESS_TOKEN}"));
        Self { base_url: None, headers: BTreeMap::from([bearer]) }
    }
}

/// The only placeholder a header template knows.
pub(crate) const ACCESS_TOKEN: &str = "{access_token}";

impl RequestShape {
    /// The headers with the token in place, and the base address. The result is a secret.
    pub fn render(&self, access_token: &str) -> (BTreeMap<String, String>, Option<&Address>) {
        let fill = |(name, template): (&String, &String)| (name.clone(), template.replace(ACCESS_TOKEN, access_token));
        (self.headers.iter().map(fill).collect(), self.base_url.as_ref())
    }
}

/// What an app's error codes mean. It is looked at before the default table of the token module.
#[derive(Debug, Clone)]
pub struct ErrorTable {
    /// The grant is gone.
    pub permanent: Vec<String>,
    /// Our client is refused.
    pub client: Vec<String>,
    /// This connection asks for what it may not have.
    pub configuration: Vec<String>,
    /// Try again later.
    pub transient: Vec<String>,
    /// Where the error's name stands. Default `/error`.
    pub error: Pointer,
    /// Where finer codes stand: a value or a list, numbers compared as text.
    pub codes: Option<Pointer>,
}

impl Default for ErrorTable {
    fn default() -> Self {
        Self {
            permanent: Vec::new(),
            client: Vec::new(),
            configuration: Vec::new(),
            transient: Vec::new(),
            error: Pointer::fixed("/error"),
            codes: None,
        }
    }
}

/// An app's endpoints and what depends on them, once known.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Where a person is sent to consent.
    pub authorize_url: Address,
    /// Where codes are exchanged.
    pub token_url: Address,
    /// Where refresh tokens are redeemed: the token endpoint, unless the app has another.
    pub refresh_url: Address,
    /// Where tokens are revoked.
    pub revoke_url: Option<Address>,
    /// The issuer, exactly as it calls itself: what `iss` is compared with (RFC 9207).
    pub issuer: Option<String>,
    /// Whether it promises to send `iss` with every authorization response (RFC 9207 3).
    pub iss_promised: bool,
    /// How the client authenticates.
    pub client_auth: ClientAuth,
    /// The request that tells whose account it is: the definition's, or the issuer's userinfo.
    pub identity: Option<Probe>,
}

impl App {
    /// The OAuth 2.0 part of the definition.
    pub fn oauth2(&self) -> &OAuth2 {
        let Auth::OAuth2(oauth2) = &self.auth;
        oauth2
    }

    /// The issuer, where the endpoints must be discovered.
    pub fn issuer(&self) -> Option<&Address> {
        self.oauth2().endpoints.issuer()
    }

    /// What an OAuth client is registered under: the family, or the app itself.
    pub fn registration(&self) -> &str {
        self.client_family.as_deref().unwrap_or(self.id.as_str())
    }

    /// The scopes asked for when nobody chooses.
    pub fn default_scopes(&self) -> Vec<String> {
        self.scopes.iter().filter(|scope| scope.required || scope.default).map(|scope| scope.id.clone()).collect()
    }

    /// The scopes asked for when somebody chose: theirs, after those that are always asked for. No doubles.
    pub fn scopes_with(&self, chosen: &[String]) -> Vec<String> {
        let required = self.scopes.iter().filter(|scope| scope.required).map(|scope| &scope.id);
        let mut seen = BTreeSet::new();
        required.chain(chosen).filter(|id| seen.insert(id.as_str())).cloned().collect()
    }

    /// Every host (with a port, where it is not the scheme's own) that this definition sends a person, a
    /// token or a secret to. A definition that changes one must not inherit the secrets of the old one.
    pub fn hosts(&self) -> BTreeSet<String> {
        let probes = [&self.identity, &self.check].into_iter().flatten().map(|probe| &probe.url);
        self.oauth2()
            .endpoints
            .addresses()
            .into_iter()
            .chain(probes)
            .chain(&self.request.base_url)
            .map(Address::authority)
            .collect()
    }

    /// The endpoints as written down; `None` where they must be discovered.
    pub fn resolve_fixed(&self) -> Option<Resolved> {
        let oauth2 = self.oauth2();
        let Endpoints::Fixed(fixed) = &oauth2.endpoints else { return None };
        let FixedEndpoints { authorize_url, token_url, refresh_url, revoke_url } = &**fixed;
        Some(Resolved {
            authorize_url: authorize_url.clone(),
            token_url: token_url.clone(),
            refresh_url: refresh_url.as_ref().unwrap_or(token_url).clone(),
            revoke_url: revoke_url.clone(),
            issuer: None,
            iss_promised: false,
            client_auth: oauth2.client_auth.unwrap_or(ClientAuth::Basic),
            identity: self.identity.clone(),
        })
    }

    /// The endpoints as discovered. What the definition says itself goes before what the issuer says.
    pub fn resolve_with(&self, discovered: &Discovered) -> Resolved {
        let userinfo = || discovered.userinfo_url.clone().map(Probe::userinfo);
        Resolved {
            authorize_url: discovered.authorize_url.clone(),
            token_url: discovered.token_url.clone(),
            refresh_url: discovered.token_url.clone(),
            revoke_url: discovered.revoke_url.clone(),
            issuer: Some(discovered.issuer.clone()),
            iss_promised: discovered.iss_promised,
            client_auth: self.oauth2().client_auth.unwrap_or(discovered.client_auth),
            identity: self.identity.clone().or_else(userinfo),
        }
    }
}

impl Endpoints {
    /// The issuer, where the endpoints must be discovered.
    pub fn issuer(&self) -> Option<&Address> {
        match self {
            Self::Issuer(issuer) => Some(issuer),
            Self::Fixed(_) => None,
        }
    }

    fn addresses(&self) -> Vec<&Address> {
        match self {
            Self::Issuer(issuer) => vec![issuer],
            Self::Fixed(fixed) => {
                let always = [&fixed.authorize_url, &fixed.token_url];
                always.into_iter().chain(&fixed.refresh_url).chain(&fixed.revoke_url).collect()
            }
        }
    }
}

impl Probe {
    /// The userinfo request of `OpenID` Connect (Core 1.0, 5.3).
    fn userinfo(url: Address) -> Self {
        let label = ["/email", "/preferred_username", "/name", "/sub"].map(Pointer::fixed);
        Self {
            method: OutboundMethod::Get,
            url,
            headers: BTreeMap::new(),
            body: None,
            account: Some(AccountPointers { id: Pointer::fixed("/sub"), label: label.to_vec() }),
        }
    }
}

#[cfg(test)]
mod tests;
