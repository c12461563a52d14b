//! The requests: exchange, refresh, mint, revoke, probe.
//!
//! Owns how a client authenticates and how parameters are encoded. Refuses to send more than one client
//! authentication in a request (RFC 6749 2.3).

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::{ClientKeys, Proof, TokenHint};
use crate::app::{
    App, BodyEncoding, ClientAuth, Grant, OAuth2, Origin, Params, Probe, RequestError, Resolved, RevokeStyle, Template,
    Values, Variable, fill_all,
};
use crate::destinations::{Carried, Destinations, SecretKind};
use crate::egress::Address;
use crate::ports::{Outbound, OutboundMethod};
use crate::secret::Secret;

/// How long a token request may take, in milliseconds: well inside a refresh attempt's 60 s.
const TOKEN_TIMEOUT: u32 = 15_000;

/// How long a probe may take, in milliseconds.
const PROBE_TIMEOUT: u32 = 10_000;

/// The name this program gives itself.
const USER_AGENT: &str = "connections";

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// RFC 7523 2.1.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 7523 2.2.
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A request, or the place that can't be filled.
pub type Built<T> = Result<T, RequestError>;

/// Who asks whom, and what is known to fill places with.
#[derive(Clone, Copy)]
pub struct Parties<'a> {
    /// The app's OAuth server.
    pub server: &'a OAuth2,
    /// Its endpoints.
    pub at: &'a Resolved,
    /// The client.
    pub client: &'a ClientKeys,
    /// Variables, and what a person entered.
    pub values: &'a Values,
    /// Where the grant's code and tokens, and what a person entered, may go. The client's proof knows that itself.
    pub destinations: &'a Rc<Destinations>,
}

/// Redeems an authorization code (RFC 6749 4.1.3, RFC 7636 4.5).
pub fn exchange_request(
    of: &Parties<'_>,
    code: &Secret,
    redirect_uri: &str,
    verifier: Option<&Secret>,
) -> Built<Outbound> {
    let code_param = of.server.exchange_code_param.as_str();
    let mut params = pairs(&[("grant_type", "authorization_code"), (code_param, code.expose())]);
    if of.server.exchange_redirect_uri {
        params.extend(pairs(&[("redirect_uri", &of.server.redirect_uri(redirect_uri, of.values)?)]));
    }
    params.extend(verifier.map(|verifier| ("code_verifier".to_owned(), verifier.expose().to_owned())));
    params.extend(filled(&of.server.token_params, of.values)?);
    Ok(of.token_request(&of.at.token_url, of.at.client_auth, params, SecretKind::AuthorizationCode))
}

/// Redeems a refresh token (RFC 6749 6). The scopes are sent only where the app wants them.
pub fn refresh_request(
    of: &Parties<'_>,
    refresh_token: &Secret,
    scopes: &[String],
    redirect_uri: &str,
) -> Built<Outbound> {
    let scope = scopes.join(&of.server.scope_separator);
    let mut params = pairs(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())]);
    if of.server.send_scope_on_refresh && !scope.is_empty() {
        params.extend(pairs(&[("scope", &scope)]));
    }
    if of.server.refresh_redirect_uri {
        params.extend(pairs(&[("redirect_uri", &of.server.redirect_uri(redirect_uri, of.values)?)]));
    }
    params.extend(filled(&of.server.refresh_params, of.values)?);
    let auth = of.server.refresh_client_auth.unwrap_or(of.at.client_auth);
    Ok(of.token_request(&of.at.refresh_url, auth, params, SecretKind::RefreshToken))
}

/// Has a token made of what a person entered (RFC 6749 4.4.2, RFC 7523 2.1). A service account's `assertion` names
/// the scopes itself.
pub fn mint_request(of: &Parties<'_>, assertion: Option<&Secret>, scopes: &[String]) -> Built<Outbound> {
    if let Some(assertion) = assertion {
        let mut params = pairs(&[("grant_type", JWT_BEARER), ("assertion", assertion.expose())]);
        params.extend(filled(&of.server.token_params, of.values)?);
        let nobody = Parties { client: &ClientKeys::nobody(), ..*of };
        return Ok(nobody.token_request(&of.at.token_url, ClientAuth::None, params, SecretKind::Entered));
    }
    let grant_type = match &of.server.grant {
        Grant::ClientCredentials { grant_type } => grant_type.as_str(),
        Grant::AuthorizationCode | Grant::ServiceAccount(_) => "client_credentials",
    };
    let mut params = pairs(&[("grant_type", grant_type)]);
    let scope = scopes.join(&of.server.scope_separator);
    if !scope.is_empty() {
        params.extend(pairs(&[("scope", &scope)]));
    }
    params.extend(filled(&of.server.token_params, of.values)?);
    Ok(of.token_request(&of.at.token_url, of.at.client_auth, params, SecretKind::Entered))
}

/// Revokes a token (RFC 7009 2.1, or the app's own way). `None` where the app has no way to revoke it.
pub fn revoke_request(of: &Parties<'_>, token: &Secret, hint: TokenHint) -> Built<Option<Outbound>> {
    let Some(url) = &of.at.revoke_url else { return Ok(None) };
    let revoke = &of.server.revoke;
    let values = of.values.clone().with("token", token.expose()).with("client_id", &of.client.client_id);
    let url = url.fill(&values)?;
    let mut headers = Headers::of_server(of.server);
    for (name, value) in &revoke.headers {
        headers.set(name, value.clone());
    }
    if revoke.style == RevokeStyle::Bearer {
        if hint == TokenHint::RefreshToken {
            return Ok(None);
        }
        headers.set("authorization", format!("Bearer {}", token.expose()));
        let request = Outbound::new(revoke.method, url, of.carried(SecretKind::AccessToken), TOKEN_TIMEOUT);
        return Ok(Some(request.with(headers.0, None)));
    }
    let mut params = match &revoke.params {
        Some(params) => filled(params, &values)?.collect(),
        None if revoke.authenticate => pairs(&[("token", token.expose()), ("token_type_hint", hint.as_str())]),
        None => pairs(&[("token", token.expose())]),
    };
    if revoke.authenticate {
        of.authenticate(revoke.client_auth.unwrap_or(of.at.client_auth), &mut headers, &mut params);
    }
    let body = encode(revoke.body.unwrap_or(of.server.body), &params, &mut headers);
    let kind = match hint {
        TokenHint::RefreshToken => SecretKind::RefreshToken,
        TokenHint::AccessToken => SecretKind::AccessToken,
    };
    Ok(Some(Outbound::new(revoke.method, url, of.carried(kind), TOKEN_TIMEOUT).with(headers.0, Some(body))))
}

/// Asks the app's API with a credential: who is it, does it work.
pub fn probe_request(probe: &Probe, app: &App, values: &Values, destinations: &Rc<Destinations>) -> Built<Outbound> {
    let mut headers = Headers::plain();
    if probe.body.is_some() {
        headers.set("content-type", JSON.to_owned());
    }
    // What is only known from the answer, such as a tenant's id, can't stand in the request yet.
    let known = |template: &Template| template.places().all(|name| values.get(name).is_some() || !is_told(app, name));
    for (name, value) in app.request.filled_headers(values, known)?.into_iter().chain(fill_all(&probe.headers, values)?)
    {
        headers.set(&name, value);
    }
    let mut query: Vec<_> = Vec::new();
    for (name, template) in app.request.query.iter().filter(|(_, template)| known(template)) {
        query.push((name.clone(), template.fill(values)?));
    }
    // What a person entered goes to the app's API as an access token would, and nowhere else.
    let carried = vec![Carried::new(SecretKind::AccessToken, destinations)];
    let url = probe.address(values)?.with_query(&query);
    Ok(Outbound::new(probe.method, url, carried, PROBE_TIMEOUT).with(headers.0, probe.body.clone()))
}

/// Whether a value is the app's to tell.
fn is_told(app: &App, name: &str) -> bool {
    let told = |one: &Variable| matches!(one.from, Origin::Identity(_) | Origin::Token(_) | Origin::Callback(_));
    name == "account_id" || app.variables.get(name).is_some_and(told)
}

/// Parameters in the order they are sent.
type Sent = Vec<(String, String)>;

impl Parties<'_> {
    fn token_request(&self, url: &Address, auth: ClientAuth, mut params: Sent, kind: SecretKind) -> Outbound {
        let mut headers = Headers::of_server(self.server);
        self.authenticate(auth, &mut headers, &mut params);
        let body = encode(self.server.body, &params, &mut headers);
        let request = Outbound::new(OutboundMethod::Post, url.clone(), self.carried(kind), TOKEN_TIMEOUT);
        request.with(headers.0, Some(body))
    }

    /// What a request carries: a secret of the grant, and the client's proof where it has one. It counts as sent wherever
    /// the client is named, whether this server wants it or not.
    fn carried(&self, kind: SecretKind) -> Vec<Carried> {
        let proof = match self.client.proof {
            Proof::Nothing => None,
            Proof::Secret(_) | Proof::Assertion(_) => Some(self.client.carried()),
        };
        [Carried::new(kind, self.destinations)].into_iter().chain(proof).collect()
    }

    fn authenticate(&self, auth: ClientAuth, headers: &mut Headers, params: &mut Sent) {
        let id = self.client.client_id.as_str();
        let mut add = |name: &str, value: &str| {
            // What the definition puts there itself stays as it is.
            if !value.is_empty() && params.iter().all(|(known, _)| known != name) {
                params.push((name.to_owned(), value.to_owned()));
            }
        };
        match (auth, &self.client.proof) {
            (_, Proof::Assertion(assertion)) => {
                add("client_id", id);
                add("client_assertion_type", CLIENT_ASSERTION);
                add("client_assertion", assertion.expose());
            }
            (ClientAuth::Basic, Proof::Secret(secret)) => {
                headers.set("authorization", basic(&form(id), &form(secret.expose())));
            }
            (ClientAuth::BasicRaw, Proof::Secret(secret)) => headers.set("authorization", basic(id, secret.expose())),
            (ClientAuth::BasicSecret, Proof::Secret(secret)) => {
                headers.set("authorization", basic(secret.expose(), ""));
            }
            (ClientAuth::Body, Proof::Secret(secret)) => {
                add("client_id", id);
                add("client_secret", secret.expose());
            }
            // A public client names itself (RFC 6749 3.2.1), whatever the app would like of others.
            (ClientAuth::None | ClientAuth::PrivateKeyJwt, _) | (_, Proof::Nothing) => add("client_id", id),
        }
    }
}

fn pairs(params: &[(&str, &str)]) -> Sent {
    params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn filled(params: &Params, values: &Values) -> Built<impl Iterator<Item = (String, String)>> {
    Ok(fill_all(params, values)?.into_iter())
}

fn encode(encoding: BodyEncoding, params: &[(String, String)], headers: &mut Headers) -> String {
    let (content_type, body) = match encoding {
        BodyEncoding::Form => (FORM, form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()),
        BodyEncoding::Json => {
            let members = params.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            (JSON, serde_json::Value::Object(members.collect()).to_string())
        }
    };
    headers.set("content-type", content_type.to_owned());
    body
}

/// As RFC 6749 2.3.1 wants id and secret encoded before they become Basic's pair.
fn form(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn basic(username: &str, password: &str) -> String {
    let pair = Secret::new(format!("{username}:{password}"));
    format!("Basic {}", STANDARD.encode(pair.expose()))
}

/// Headers of a request, one value per name.
struct Headers(Vec<(String, String)>);

impl Headers {
    /// What every request has.
    fn plain() -> Self {
        Self(vec![("accept".to_owned(), JSON.to_owned()), ("user-agent".to_owned(), USER_AGENT.to_owned())])
    }

    /// What every request to the OAuth server has.
    fn of_server(server: &OAuth2) -> Self {
        let mut headers = Self::plain();
        for (name, value) in &server.token_headers {
            headers.set(name, value.clone());
        }
        headers
    }

    /// Sets a header; names compare without case and are sent in lower case.
    fn set(&mut self, name: &str, value: String) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(present, _)| *present != name);
        self.0.push((name, value));
    }
}
