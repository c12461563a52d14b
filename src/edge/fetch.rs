//! The outbound HTTP port over the platform's fetch: no redirects, a time limit, a limit of the body.

use futures_util::StreamExt as _;
use worker::wasm_bindgen::JsValue;
use worker::{AbortSignal, Headers, Method, Request, RequestInit, RequestRedirect, Response, ResponseBody, web_sys};

use crate::app::OutboundMethod;
use crate::ports::{AppResponse, Http, HttpError, PermittedRequest, RESPONSE_BODY_LIMIT};

pub(crate) struct FetchClient;

impl Http for FetchClient {
    async fn send(&self, request: PermittedRequest) -> Result<AppResponse, HttpError> {
        let signal = AbortSignal::from(web_sys::AbortSignal::timeout_with_u32(request.timeout_ms));
        let prepared = build_request(&request).map_err(|_| HttpError::Network)?;
        let mut response =
            worker::Fetch::Request(prepared).send_with_signal(&signal).await.map_err(|error| http_error(&error))?;
        let body = read_body(&mut response).await?;
        let headers = response.headers().entries().map(|(name, value)| (name.to_lowercase(), value)).collect();
        Ok(AppResponse { status: response.status_code(), headers, body })
    }
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
        OutboundMethod::Post => Method::Post,
        OutboundMethod::Delete => Method::Delete,
    }
}

/// The platform reports a timeout by the error's name, and nothing else that is useful.
fn http_error(error: &worker::Error) -> HttpError {
    if error.to_string().contains("TimeoutError") { HttpError::Timeout } else { HttpError::Network }
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
