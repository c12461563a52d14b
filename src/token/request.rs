//! The requests: exchange, refresh, revoke, probe.
//!
//! Owns how a client authenticates and how parameters are encoded. Refuses to send more than one client
//! authentication in a request (RFC 6749 2.3).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::{ClientKeys, TokenHint};
use crate::app::{App, BodyEncoding, ClientAuth, Probe, Resolved, RevokeStyle};
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

/// Redeems an authorization code (RFC 6749 4.1.3, RFC 7636 4.5).
pub fn exchange_request(
    app: &App,
    at: &Resolved,
    client: &ClientKeys,
    code: &str,
    redirect_uri: &str,
    verifier: Option<&Secret>,
) -> Outbound {
    let mut params = vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
    params.extend(verifier.map(|verifier| ("code_verifier", verifier.expose())));
    params.extend(pairs(&app.oauth2().token_params));
    token_request(app, &at.token_url, at.client_auth, client, params)
}

/// Redeems a refresh token (RFC 6749 6). The scopes are sent only where the app wants them.
pub fn refresh_request(
    app: &App,
    at: &Resolved,
    client: &ClientKeys,
    refresh_token: &Secret,
    scopes: &[String],
) -> Outbound {
    let oauth2 = app.oauth2();
    let scope = scopes.join(&oauth2.scope_separator);
    let mut params = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
    if oauth2.send_scope_on_refresh && !scope.is_empty() {
        params.push(("scope", &scope));
    }
    params.extend(pairs(&oauth2.refresh_params));
    let auth = oauth2.refresh_client_auth.unwrap_or(at.client_auth);
    token_request(app, &at.refresh_url, auth, client, params)
}

/// Revokes a token (RFC 7009 2.1, or the app's own way). `None` where the app has no way to revoke it.
pub fn revoke_request(
    app: &App,
    at: &Resolved,
    client: &ClientKeys,
    token: &Secret,
    hint: TokenHint,
) -> Option<Outbound> {
    let url = at.revoke_url.as_ref()?;
    let revoke = app.oauth2().revoke;
    match revoke.style {
        RevokeStyle::Bearer if hint == TokenHint::RefreshToken => None,
        RevokeStyle::Bearer => {
            let mut headers = Headers::new(app);
            headers.set("authorization", format!("Bearer {}", token.expose()));
            Some(post(url, headers, None))
        }
        RevokeStyle::Rfc7009 if revoke.authenticate => {
            let params = vec![("token", token.expose()), ("token_type_hint", hint.as_str())];
            Some(token_request(app, url, at.client_auth, client, params))
        }
        RevokeStyle::Rfc7009 => {
            let mut headers = Headers::new(app);
            headers.set("content-type", FORM.to_owned());
            Some(post(url, headers, Some(encode_form(&[("token", token.expose())]))))
        }
    }
}

/// Asks the app's API with an access token: who is it, does it work.
pub fn probe_request(probe: &Probe, app: &App, access_token: &Secret) -> Outbound {
    let mut headers = Headers::plain();
    if probe.body.is_some() {
        headers.set("content-type", JSON.to_owned());
    }
    for (name, value) in app.request.render(access_token.expose()).0 {
        headers.set(&name, value);
    }
    for (name, value) in &probe.headers {
        headers.set(name, value.clone());
    }
    Outbound {
        method: probe.method,
        url: probe.url.clone(),
        headers: headers.0,
        body: probe.body.clone(),
        timeout_ms: PROBE_TIMEOUT,
    }
}

/// Parameters in the order they are sent.
type Params<'a> = Vec<(&'a str, &'a str)>;

fn token_request<'a>(
    app: &'a App,
    url: &Address,
    auth: ClientAuth,
    client: &'a ClientKeys,
    mut params: Params<'a>,
) -> Outbound {
    let mut headers = Headers::new(app);
    match (auth, &client.client_secret) {
        (ClientAuth::Basic, Some(secret)) => headers.set("authorization", basic(&client.client_id, secret)),
        (ClientAuth::Body, Some(secret)) => {
            params.push(("client_id", &client.client_id));
            params.push(("client_secret", secret.expose()));
        }
        // A public client names itself (RFC 6749 3.2.1), whatever the app would like of others.
        (ClientAuth::None, _) | (_, None) => params.push(("client_id", &client.client_id)),
    }
    let (content_type, body) = match app.oauth2().body {
        BodyEncoding::Form => (FORM, encode_form(&params)),
        BodyEncoding::Json => (JSON, encode_json(&params)),
    };
    headers.set("content-type", content_type.to_owned());
    post(url, headers, Some(body))
}

fn post(url: &Address, headers: Headers, body: Option<String>) -> Outbound {
    Outbound { method: OutboundMethod::Post, url: url.clone(), headers: headers.0, body, timeout_ms: TOKEN_TIMEOUT }
}

fn pairs(params: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    params.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

fn encode_form(params: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

fn encode_json(params: &[(&str, &str)]) -> String {
    let members = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    serde_json::Value::Object(members.collect()).to_string()
}

/// HTTP Basic with id and secret form-encoded first (RFC 6749 2.3.1).
fn basic(id: &str, secret: &Secret) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Secret::new(format!("{}:{}", encode(id), encode(secret.expose())));
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
    fn new(app: &App) -> Self {
        let mut headers = Self::plain();
        for (name, value) in &app.oauth2().token_headers {
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
