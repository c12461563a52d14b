//! The requests: exchange, refresh, issue, revoke, probe.
//!
//! Owns client authentication and the encoding of parameters. A request has at most one client authentication (RFC 6749
//! 2.3).

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::form_urlencoded;

use super::{ClientIdentity, ClientProof, TokenTypeHint};
use crate::app::{
    AuthMethod, BodyEncoding, ClientAuth, GrantType, OAuthServer, OutboundMethod, ParamTemplates, Probe, RequestError,
    ResolvedEndpoints, RevokeStyle, Template, TemplateValues, Variable, VariableSource, fill_templates,
};
use crate::destinations::{Destinations, RequestSecret, SecretKind};
use crate::egress::EgressUrl;
use crate::gather::Gather as _;
use crate::ports::OutboundRequest;
use crate::secret::Secret;

/// Time limit of a token request, in milliseconds: well within the 60 s of a refresh attempt.
const TOKEN_TIMEOUT_MS: u32 = 15_000;

/// Time limit of a probe, in milliseconds.
const PROBE_TIMEOUT_MS: u32 = 10_000;

/// The user agent of this program.
const USER_AGENT: &str = "connections";

const FORM_CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
const JSON_CONTENT_TYPE: &str = "application/json";

/// RFC 7523 2.1.
const JWT_BEARER_GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// RFC 7523 2.2.
const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A request, or the placeholder that cannot be filled.
pub type RequestResult<T> = Result<T, RequestError>;

/// The parties of a token request, and the known values of placeholders.
#[derive(Clone, Copy)]
pub struct TokenRequestContext<'a> {
    /// The app's OAuth server.
    pub server: &'a OAuthServer,
    /// Its endpoints.
    pub endpoints: &'a ResolvedEndpoints,
    /// The client.
    pub client: &'a ClientIdentity,
    /// Variables, and manual fields.
    pub values: &'a TemplateValues,
    /// The destinations of the grant's code and tokens, and of manual fields. The client's proof has its own.
    pub destinations: &'a Rc<Destinations>,
}

/// Redeems an authorization code (RFC 6749 4.1.3, RFC 7636 4.5).
pub fn build_exchange_request(
    of: &TokenRequestContext<'_>,
    code: &Secret,
    redirect_uri: &str,
    verifier: Option<&Secret>,
) -> RequestResult<OutboundRequest> {
    let code_param = of.server.exchange_code_param.as_str();
    let mut params = to_params(&[("grant_type", "authorization_code"), (code_param, code.expose())]);
    if of.server.exchange_redirect_uri {
        params.extend(to_params(&[("redirect_uri", &of.server.redirect_uri(redirect_uri, of.values)?)]));
    }
    params.extend(verifier.map(|verifier| ("code_verifier".to_owned(), verifier.expose().to_owned())));
    params.extend(fill_params(&of.server.token_params, of.values)?);
    Ok(of.build_token_request(&of.endpoints.token_url, of.endpoints.client_auth, params, SecretKind::AuthorizationCode))
}

/// Sends a refresh token (RFC 6749 6). The scopes are sent only if the definition says so.
pub fn build_refresh_request(
    of: &TokenRequestContext<'_>,
    refresh_token: &Secret,
    scopes: &[String],
    redirect_uri: &str,
) -> RequestResult<OutboundRequest> {
    let scope = scopes.join(&of.server.scope_separator);
    let mut params = to_params(&[("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())]);
    if of.server.send_scope_on_refresh && !scope.is_empty() {
        params.extend(to_params(&[("scope", &scope)]));
    }
    if of.server.refresh_redirect_uri {
        params.extend(to_params(&[("redirect_uri", &of.server.redirect_uri(redirect_uri, of.values)?)]));
    }
    params.extend(fill_params(&of.server.refresh_params, of.values)?);
    let auth = of.server.refresh_client_auth.unwrap_or(of.endpoints.client_auth);
    Ok(of.build_token_request(&of.endpoints.refresh_url, auth, params, SecretKind::RefreshToken))
}

/// Requests a token with a manual credential (RFC 6749 4.4.2, RFC 7523 2.1). A service account's `assertion` contains
/// the scopes itself.
pub fn build_issue_request(
    of: &TokenRequestContext<'_>,
    assertion: Option<&Secret>,
    scopes: &[String],
) -> RequestResult<OutboundRequest> {
    if let Some(assertion) = assertion {
        let mut params = to_params(&[("grant_type", JWT_BEARER_GRANT_TYPE), ("assertion", assertion.expose())]);
        params.extend(fill_params(&of.server.token_params, of.values)?);
        let nobody = TokenRequestContext { client: &ClientIdentity::anonymous(), ..*of };
        return Ok(nobody.build_token_request(
            &of.endpoints.token_url,
            ClientAuth::None,
            params,
            SecretKind::ManualCredential,
        ));
    }
    let grant_type = match &of.server.grant_type {
        GrantType::ClientCredentials { grant_type } => grant_type.as_str(),
        GrantType::AuthorizationCode | GrantType::JwtBearer(_) => "client_credentials",
    };
    let mut params = to_params(&[("grant_type", grant_type)]);
    let scope = scopes.join(&of.server.scope_separator);
    if !scope.is_empty() {
        params.extend(to_params(&[("scope", &scope)]));
    }
    params.extend(fill_params(&of.server.token_params, of.values)?);
    Ok(of.build_token_request(&of.endpoints.token_url, of.endpoints.client_auth, params, SecretKind::ManualCredential))
}

/// Revokes a token (RFC 7009 2.1, or the app's own form). `None` if the app cannot revoke it.
pub fn build_revocation_request(
    of: &TokenRequestContext<'_>,
    token: &Secret,
    hint: TokenTypeHint,
) -> RequestResult<Option<OutboundRequest>> {
    let Some(url) = &of.endpoints.revoke_url else { return Ok(None) };
    let revoke = &of.server.revoke;
    let values = of.values.clone().with("token", token.expose()).with("client_id", &of.client.client_id);
    let url = url.fill(&values)?;
    let mut headers = RequestHeaders::for_server(of.server);
    for (name, value) in &revoke.headers {
        headers.set(name, value.clone());
    }
    if revoke.style == RevokeStyle::Bearer {
        if hint == TokenTypeHint::RefreshToken {
            return Ok(None);
        }
        headers.set("authorization", format!("Bearer {}", token.expose()));
        let request =
            OutboundRequest::new(revoke.method, url, of.request_secrets(SecretKind::AccessToken), TOKEN_TIMEOUT_MS);
        return Ok(Some(request.with_headers_and_body(headers.0, None)));
    }
    let mut params = match &revoke.params {
        Some(params) => fill_params(params, &values)?.collect(),
        None if revoke.authenticate => to_params(&[("token", token.expose()), ("token_type_hint", hint.as_str())]),
        None => to_params(&[("token", token.expose())]),
    };
    if revoke.authenticate {
        of.add_client_auth(revoke.client_auth.unwrap_or(of.endpoints.client_auth), &mut headers, &mut params);
    }
    let body = encode_body(revoke.body_encoding.unwrap_or(of.server.body_encoding), &params, &mut headers);
    let kind = match hint {
        TokenTypeHint::RefreshToken => SecretKind::RefreshToken,
        TokenTypeHint::AccessToken => SecretKind::AccessToken,
    };
    Ok(Some(
        OutboundRequest::new(revoke.method, url, of.request_secrets(kind), TOKEN_TIMEOUT_MS)
            .with_headers_and_body(headers.0, Some(body)),
    ))
}

/// Sends a request with a credential to the app's API: for the account, or as a check.
pub fn build_probe_request(
    probe: &Probe,
    auth_method: &AuthMethod,
    values: &TemplateValues,
    destinations: &Rc<Destinations>,
) -> RequestResult<OutboundRequest> {
    let mut headers = RequestHeaders::with_defaults();
    if probe.body.is_some() {
        headers.set("content-type", JSON_CONTENT_TYPE.to_owned());
    }
    // Values that only the response contains, such as a tenant's id, cannot be sent yet.
    let known = |template: &Template| {
        template.placeholders().all(|name| values.get(name).is_some() || !is_reported_by_app(auth_method, name))
    };
    for (name, value) in
        auth_method.request.fill_headers(values, known)?.into_iter().chain(fill_templates(&probe.headers, values)?)
    {
        headers.set(&name, value);
    }
    let mut query: Vec<_> = Vec::new();
    for (name, template) in auth_method.request.query.iter().filter(|(_, template)| known(template)) {
        query.push((name.clone(), template.fill(values)?));
    }
    // A manual credential is sent to the app's API like an access token, and nowhere else.
    let carried = vec![RequestSecret::new(SecretKind::AccessToken, destinations)];
    let url = probe.fill_url(values)?.with_query(&query);
    Ok(OutboundRequest::new(probe.method, url, carried, PROBE_TIMEOUT_MS)
        .with_headers_and_body(headers.0, probe.body.clone()))
}

/// Whether a value comes from the app.
fn is_reported_by_app(auth_method: &AuthMethod, name: &str) -> bool {
    let told = |one: &Variable| {
        matches!(one.source, VariableSource::Identity(_) | VariableSource::Token(_) | VariableSource::Callback(_))
    };
    name == "account_id" || auth_method.variables.get(name).is_some_and(told)
}

/// Parameters in the order they are sent.
type RequestParams = Vec<(String, String)>;

impl TokenRequestContext<'_> {
    fn build_token_request(
        &self,
        url: &EgressUrl,
        auth: ClientAuth,
        mut params: RequestParams,
        kind: SecretKind,
    ) -> OutboundRequest {
        let mut headers = RequestHeaders::for_server(self.server);
        self.add_client_auth(auth, &mut headers, &mut params);
        let body = encode_body(self.server.body_encoding, &params, &mut headers);
        let request =
            OutboundRequest::new(OutboundMethod::Post, url.clone(), self.request_secrets(kind), TOKEN_TIMEOUT_MS);
        request.with_headers_and_body(headers.0, Some(body))
    }

    /// The secrets of a request: one of the grant, and the client's proof if there is one. The proof counts as sent
    /// whenever the client is named.
    fn request_secrets(&self, kind: SecretKind) -> Vec<RequestSecret> {
        let proof = match self.client.proof {
            ClientProof::Nothing => None,
            ClientProof::Secret(_) | ClientProof::Assertion(_) => Some(self.client.as_request_secret()),
        };
        [RequestSecret::new(kind, self.destinations)].into_iter().chain(proof).collect()
    }

    fn add_client_auth(&self, auth: ClientAuth, headers: &mut RequestHeaders, params: &mut RequestParams) {
        let id = self.client.client_id.as_str();
        let mut add = |name: &str, value: &str| {
            // Parameters of the definition itself are not replaced.
            if !value.is_empty() && params.iter().all(|(known, _)| known != name) {
                params.push((name.to_owned(), value.to_owned()));
            }
        };
        match (auth, &self.client.proof) {
            (_, ClientProof::Assertion(assertion)) => {
                add("client_id", id);
                add("client_assertion_type", CLIENT_ASSERTION_TYPE);
                add("client_assertion", assertion.expose());
            }
            (ClientAuth::Basic, ClientProof::Secret(secret)) => {
                headers.set("authorization", basic_auth_value(&form_encode(id), &form_encode(secret.expose())));
            }
            (ClientAuth::BasicRaw, ClientProof::Secret(secret)) => {
                headers.set("authorization", basic_auth_value(id, secret.expose()));
            }
            (ClientAuth::BasicSecret, ClientProof::Secret(secret)) => {
                headers.set("authorization", basic_auth_value(secret.expose(), ""));
            }
            (ClientAuth::Body, ClientProof::Secret(secret)) => {
                add("client_id", id);
                add("client_secret", secret.expose());
            }
            // A public client sends its id (RFC 6749 3.2.1), whatever the app requires of others.
            (ClientAuth::None | ClientAuth::PrivateKeyJwt, _) | (_, ClientProof::Nothing) => add("client_id", id),
        }
    }
}

fn to_params(params: &[(&str, &str)]) -> RequestParams {
    params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn fill_params(
    params: &ParamTemplates,
    values: &TemplateValues,
) -> RequestResult<impl Iterator<Item = (String, String)>> {
    Ok(fill_templates(params, values)?.into_iter())
}

fn encode_body(encoding: BodyEncoding, params: &[(String, String)], headers: &mut RequestHeaders) -> String {
    let (content_type, body) = match encoding {
        BodyEncoding::Form => {
            (FORM_CONTENT_TYPE, form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish())
        }
        BodyEncoding::Json => {
            let members = params.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            (JSON_CONTENT_TYPE, serde_json::Value::Object(members.gather()).to_string())
        }
    };
    headers.set("content-type", content_type.to_owned());
    body
}

/// RFC 6749 2.3.1 requires id and secret to be encoded before they become the pair of Basic.
fn form_encode(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn basic_auth_value(username: &str, password: &str) -> String {
    let pair = Secret::new(format!("{username}:{password}"));
    format!("Basic {}", STANDARD.encode(pair.expose()))
}

/// Headers of a request, one value per name.
struct RequestHeaders(Vec<(String, String)>);

impl RequestHeaders {
    /// The headers of every request.
    fn with_defaults() -> Self {
        Self(vec![
            ("accept".to_owned(), JSON_CONTENT_TYPE.to_owned()),
            ("user-agent".to_owned(), USER_AGENT.to_owned()),
        ])
    }

    /// The headers of every request to the OAuth server.
    fn for_server(server: &OAuthServer) -> Self {
        let mut headers = Self::with_defaults();
        for (name, value) in &server.token_headers {
            headers.set(name, value.clone());
        }
        headers
    }

    /// Sets a header. Names are compared without case and sent in lower case.
    fn set(&mut self, name: &str, value: String) {
        let name = name.to_ascii_lowercase();
        self.0.retain(|(present, _)| *present != name);
        self.0.push((name, value));
    }
}
