//! A test of an OAuth client before anybody connects.
//!
//! Owns the way to test it without a person: an authorization code that the app never issued. An app checks the client
//! first (RFC 6749, 5.2), so its error shows whether it accepted the client. Nothing is granted.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde::Serialize;
use url::form_urlencoded;

use crate::app::{AuthMethod, ClientAuth, TemplateValues, VariableSource, read_variables};
use crate::client::Client;
use crate::client_auth;
use crate::context::Context;
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::{Database, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::store::clients;
use crate::token::{self, ClientIdentity, ClientProof, RefusalClass, TokenRequestContext, TokenResponse};

use super::start;

/// A code that no app has issued.
const INVALID_CODE: &str = "not-a-code-a-trial-of-the-client";

/// The result of a client test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTest {
    /// The result.
    pub verdict: ClientTestVerdict,
    /// The app's error code, or what was seen.
    pub code: Option<String>,
    /// The meaning and the remedy, for a person.
    pub detail: String,
    /// What must be registered at the app. Whether it is cannot be tested.
    pub redirect_uri: String,
}

/// The result of a client test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ClientTestVerdict"))]
pub enum ClientTestVerdict {
    /// It accepted the client and refused only the invalid code.
    Accepted,
    /// It does not know the client, or refuses its secret.
    Refused,
    /// It knows the client, but does not permit this use.
    Misconfigured,
    /// Its response says nothing about the client.
    Unclear,
    /// It returned no usable response.
    Unreachable,
}

impl ClientTestVerdict {
    fn detail(self) -> &'static str {
        match self {
            Self::Accepted => {
                "The app took the client and refused only the made-up code of this test. Connect an account next."
            }
            Self::Refused => {
                "The app refuses this client id or secret. Copy both again from the app. Check that they belong to the same environment."
            }
            Self::Misconfigured => {
                "The app knows the client, but does not allow this request. Check the client's redirect URI and type at the app."
            }
            Self::Unclear => "The app's error code says nothing about the client. Connect an account to be sure.",
            Self::Unreachable => {
                "The app did not answer properly. Check the addresses of the definition, or try again later."
            }
        }
    }
}

/// Apps differ in whether id and secret are form-encoded in HTTP Basic (RFC 6749 2.3.1). If that makes a difference,
/// the app may expect the other form than the definition's.
fn basic_encoding_hint(auth: ClientAuth, keys: &ClientIdentity) -> Option<&'static str> {
    let ClientProof::Secret(secret) = &keys.proof else { return None };
    let is_changed = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>() != text;
    if !is_changed(&keys.client_id) && !is_changed(secret.expose()) {
        return None;
    }
    match auth {
        ClientAuth::Basic => Some(
            "The id or the secret has characters that \"client_auth\": \"basic\" encodes, such as + / = or %, and some apps \
             compare them as they are: try \"basic_raw\" in the app's definition.",
        ),
        ClientAuth::BasicRaw => Some(
            "The id or the secret has characters that RFC 6749 wants encoded, such as + / = or %: try \"client_auth\": \
             \"basic\" in the app's definition.",
        ),
        ClientAuth::BasicSecret | ClientAuth::Body | ClientAuth::None | ClientAuth::PrivateKeyJwt => None,
    }
}

/// Tests a client, if its secret may be sent there. The result is stored, as when somebody connects. `given` are the
/// values that a person would enter for the app's addresses.
pub async fn run<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: &Client,
    given: &BTreeMap<String, String>,
) -> Result<ClientTest> {
    start::require_set_up_client(context, auth_method, client).await?;
    let persons = read_variables(auth_method, &VariableSource::Person, given).map_err(Error::from_field_problems)?;
    let variables = client.variables.clone().into_iter().chain(persons).collect();
    let redirect_uri = context.config.public_url.redirect_uri(&client.redirect_id);
    let endpoints = match registry::load_endpoints(context, auth_method, &variables).await {
        // The issuer is part of the test: if it cannot be reached, that is a result, and its error says what to do.
        Err(Error { code: ErrorCode::AppUnavailable, detail, .. }) => {
            return Ok(ClientTest { verdict: ClientTestVerdict::Unreachable, code: None, detail, redirect_uri });
        }
        found => found?,
    };
    let keys =
        client_auth::prepare_client_identity(context, client, auth_method, &endpoints, &endpoints.token_url).await?;
    let values = TemplateValues::new().with_all(&variables);
    let destinations = Rc::new(Destinations::for_grant(auth_method, Some(&endpoints), &variables));
    let parties = TokenRequestContext {
        server: auth_method.require_oauth_server()?,
        endpoints: &endpoints,
        client: &keys,
        values: &values,
        destinations: &destinations,
    };
    let (code, verifier) = (Secret::new(INVALID_CODE), Secret::new(INVALID_CODE.repeat(2)));
    let request =
        token::build_exchange_request(&parties, &code, &redirect_uri, Some(&verifier).filter(|_| parties.server.pkce));
    let request = request.map_err(|problem| registry::invalid_value_error(auth_method, &problem))?;
    let now = context.now();
    let answer = context.send(request).await;
    let (verdict, code) = match token::read_token_response(auth_method, &answer, now) {
        TokenResponse::Tokens(_) => (ClientTestVerdict::Unclear, None),
        TokenResponse::Ambiguous(odd) => (ClientTestVerdict::Unreachable, Some(odd.reason.to_owned())),
        TokenResponse::Refused(refusal) => {
            let verdict = match refusal.class_for_new_connection() {
                RefusalClass::Permanent => ClientTestVerdict::Accepted,
                RefusalClass::Client => ClientTestVerdict::Refused,
                RefusalClass::Configuration => ClientTestVerdict::Misconfigured,
                RefusalClass::Transient { .. } => ClientTestVerdict::Unreachable,
                RefusalClass::Unknown => ClientTestVerdict::Unclear,
            };
            (verdict, Some(refusal.code))
        }
    };
    let learned = match (verdict, &code) {
        (ClientTestVerdict::Accepted, _) => Some(clients::mark_working(&client.workspace, &client.id)),
        (ClientTestVerdict::Refused, Some(code)) => Some(clients::mark_misconfigured(client, now, code, now)),
        _ => None,
    };
    if let Some(statement) = learned {
        context.db().batch(vec![statement]).await?;
    }
    let hint =
        if verdict == ClientTestVerdict::Refused { basic_encoding_hint(endpoints.client_auth, &keys) } else { None };
    let detail = [Some(verdict.detail()), hint].into_iter().flatten().collect::<Vec<_>>().join(" ");
    Ok(ClientTest { verdict, code, detail, redirect_uri })
}
