//! Events of apps: the address that they are sent to, and their verification for programs.
//!
//! Owns what an app is answered. Refuses to tell a stranger anything: an unknown address, a missing secret and a wrong
//! signature have one answer. What is echoed is text, never a page.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::apps::load_registered_app;
use super::body::{Json, Unread};
use super::responses::VerifiedEventResponse;
use super::{Body, Call, Response};
use crate::app_events::{self, Received, events_url};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::event_request::EventRequest;
use crate::ids::ClientId;
use crate::ports::Ports;

/// How the paths begin that apps send events to.
pub(super) const PATH_PREFIX: &str = "/hooks/";
/// Headers of an event, at most.
const MAX_HEADERS: usize = 100;
/// Bytes of a header's value, at most.
const MAX_HEADER_LENGTH: usize = 16 * 1024;

/// The one answer to whoever is not the app.
fn refused() -> Response {
    Response::new(401, "text/plain; charset=utf-8", "not accepted\n".to_owned())
}

pub(super) async fn receive_event<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let Some(client) = ClientId::parse(call.path_param(0)) else {
        app_events::log_refusal(context, None, "unknown_client");
        return Ok(refused());
    };
    let Body::Bytes(body) = &call.request.body else { return Err(super::input::body_too_large()) };
    let url = events_url(context, &client, &call.request.query);
    let request = EventRequest::new(call.request.method.as_str(), url, call.request.headers.clone(), body.clone());
    Ok(match app_events::receive(context, &client, &request).await? {
        Received::Event(status, deferred) => {
            let mut response = Response::new(status, "text/plain; charset=utf-8", String::new());
            response.deferred = deferred;
            response
        }
        Received::Challenge(status, content_type, text) => Response::new(status, content_type, text),
        Received::Secret(echoed) => {
            let response = Response::new(200, "text/plain; charset=utf-8", String::new());
            match echoed {
                // Only who has sent it sees it.
                Some((name, secret)) => response.with_header(&name, secret.expose().to_owned()),
                None => response,
            }
        }
        Received::Refused => refused(),
    })
}

/// An event that a program has received itself.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "VerifyEventRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct VerifyEventInput {
    /// The headers that it came with, by name. Values of a name that came several times are joined by `, `.
    #[cfg_attr(test, schemars(extend("maxProperties" = 100)))]
    headers: BTreeMap<String, String>,
    /// The received bytes of the body, in Base64. It is parsed after the verification alone: JSON that was read and written again
    /// is another text.
    body_base64: String,
    /// The method. Needed if the app signs it. Default: `POST`.
    #[cfg_attr(test, schemars(length(min = 1, max = 10)))]
    #[serde(default)]
    method: Option<String>,
    /// The address that the app has sent it to, with the query. Needed if the app signs it, or a token for it.
    #[cfg_attr(test, schemars(length(min = 1, max = 2048)))]
    #[serde(default)]
    url: Option<String>,
}

pub(super) async fn verify_event<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, VerifyEventInput>,
) -> Result<Json<VerifiedEventResponse>> {
    let app = load_registered_app(context, call).await?.app;
    let input = body.read()?;
    if input.headers.len() > MAX_HEADERS {
        return Err(Error::invalid_field("headers", format!("has over {MAX_HEADERS} entries.")));
    }
    if input.headers.values().any(|value| value.len() > MAX_HEADER_LENGTH) {
        return Err(Error::invalid_field("headers", format!("has a value over {MAX_HEADER_LENGTH} bytes.")));
    }
    let body = STANDARD
        .decode(&input.body_base64)
        .map_err(|_| Error::invalid_field("body_base64", "is not Base64 with padding (RFC 4648, 4)."))?;
    let (method, url) = (input.method.unwrap_or_else(|| "POST".to_owned()), input.url.unwrap_or_default());
    let headers = input.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let request = EventRequest::new(&method, url, headers, body);
    let verified = app_events::verify(context, call.caller_key()?, &app, &request).await?;
    Ok(Json::ok(VerifiedEventResponse::of(verified)))
}
