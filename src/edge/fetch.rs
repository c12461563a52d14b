//! The outbound HTTP port over the platform's fetch: no redirects, a time limit, a limit of the body.

use futures_util::StreamExt as _;
use worker::wasm_bindgen::JsValue;
use worker::{AbortSignal, Headers, Method, Request, RequestInit, RequestRedirect, Response, ResponseBody, web_sys};

use super::{glue, promises};
use crate::app::OutboundMethod;
use crate::ports::{
    AppResponse, Http, HttpError, PASSING_BODY_LIMIT, PassingBody, PassingResponse, PermittedRequest,
    RESPONSE_BODY_LIMIT,
};

pub(crate) struct FetchClient;

/// A body that passes through: what carries it. A request, a response, or its bytes.
pub(crate) struct BodyCarrier(JsValue);

impl BodyCarrier {
    pub(super) fn new(carrier: JsValue) -> Self {
        Self(carrier)
    }

    pub(super) fn carrier(&self) -> &JsValue {
        &self.0
    }
}

/// The limit of bodies that pass through, as JavaScript counts.
#[expect(clippy::cast_precision_loss, reason = "it is far below 2^53")]
pub(super) const PASSING_LIMIT: f64 = PASSING_BODY_LIMIT as f64;

impl Http for FetchClient {
    type Body = BodyCarrier;

    async fn pass(
        &self,
        request: PermittedRequest,
        body: Option<&PassingBody<BodyCarrier>>,
    ) -> Result<PassingResponse<BodyCarrier>, HttpError> {
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        let headers = headers.join("\n");
        let (url, method) = (request.url.as_str(), request.method.as_str());
        let nothing = JsValue::NULL;
        let carrier = body.map_or(&nothing, |body| body.stream.carrier());
        // What is known is the length that HTTP holds the caller to.
        let length = if body.is_none_or(|body| body.length.is_some()) { 0.0 } else { -1.0 };
        let settled = promises::wait(|settle, number| {
            glue::pass(url, method, &headers, carrier, length, PASSING_LIMIT, request.timeout_ms, settle, number);
        });
        let response = settled.await.map_err(|_| HttpError::Network)?;
        match response.as_string().as_deref() {
            None => Ok(read_passing(response)),
            Some("timeout") => Err(HttpError::Timeout),
            Some(_) => Err(HttpError::RequestTooLarge),
        }
    }

    async fn keep(&self, body: PassingBody<BodyCarrier>) -> Result<PassingBody<BodyCarrier>, HttpError> {
        let kept = promises::wait(|settle, number| glue::keep_body(body.stream.carrier(), settle, number)).await;
        Ok(PassingBody { stream: BodyCarrier::new(kept.map_err(|_| HttpError::RequestTooLarge)?), length: body.length })
    }

    fn discard(&self, body: PassingBody<BodyCarrier>) {
        glue::discard(body.stream.carrier());
    }

    async fn send(&self, request: PermittedRequest) -> Result<AppResponse, HttpError> {
        let signal = AbortSignal::from(web_sys::AbortSignal::timeout_with_u32(request.timeout_ms));
        let prepared = build_request(&request).map_err(|_| HttpError::Network)?;
        let mut response =
            worker::Fetch::Request(prepared).send_with_signal(&signal).await.map_err(|error| http_error(&error))?;
        let body = if request.reads_body { read_body(&mut response).await? } else { drop_body(&response) };
        let headers = response.headers().entries().map(|(name, value)| (name.to_lowercase(), value)).collect();
        Ok(AppResponse { status: response.status_code(), headers, body })
    }
}

fn read_passing(response: JsValue) -> PassingResponse<BodyCarrier> {
    let lines = glue::response_lines(&response);
    let mut lines = lines.split('\n');
    let status = lines.next().and_then(|status| status.parse().ok()).unwrap_or_default();
    let has_body = lines.next().is_some_and(|body| !body.is_empty());
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let body = has_body.then(|| PassingBody { stream: BodyCarrier::new(response), length });
    PassingResponse { status, headers, body }
}

/// A string body is sent with a Content-Length, which token endpoints require.
fn build_request(request: &PermittedRequest) -> worker::Result<Request> {
    let headers = Headers::new();
    for (name, value) in &request.headers {
        headers.set(name, value)?;
    }
    let mut init = RequestInit::new();
    init.with_method(method(request.method))
        .with_headers(headers)
        .with_redirect(RequestRedirect::Manual)
        .with_body(request.body.as_deref().map(JsValue::from_str));
    Request::new_with_init(request.url.as_str(), &init)
}

fn method(method: OutboundMethod) -> Method {
    match method {
        OutboundMethod::Get => Method::Get,
        OutboundMethod::Head => Method::Head,
        OutboundMethod::Post => Method::Post,
        OutboundMethod::Put => Method::Put,
        OutboundMethod::Patch => Method::Patch,
        OutboundMethod::Delete => Method::Delete,
    }
}

/// The platform reports a timeout by the error's name, and nothing else that is useful.
fn http_error(error: &worker::Error) -> HttpError {
    if error.to_string().contains("TimeoutError") { HttpError::Timeout } else { HttpError::Network }
}

/// The platform stops receiving it, and the connection is free for others.
fn drop_body(response: &Response) -> Vec<u8> {
    if let ResponseBody::Stream(stream) = response.body() {
        drop(stream.cancel());
    }
    Vec::new()
}

async fn read_body(response: &mut Response) -> Result<Vec<u8>, HttpError> {
    if matches!(response.body(), ResponseBody::Empty) {
        return Ok(Vec::new());
    }
    // A body that is null has no stream: nothing was received.
    let Ok(mut stream) = response.stream() else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend(chunk.map_err(|error| http_error(&error))?);
        if bytes.len() > RESPONSE_BODY_LIMIT {
            return Err(HttpError::TooLarge);
        }
    }
    Ok(bytes)
}
