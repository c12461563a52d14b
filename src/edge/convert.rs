//! Requests and responses between the platform's types and the core's.

use worker::js_sys::{Array, Uint8Array};
use worker::wasm_bindgen::JsValue;
use worker::web_sys;

use super::fetch::{BodyCarrier, PASSING_LIMIT};
use super::system::SystemRandom;
use super::{WorkerPorts, glue, promises};
use crate::http::proxy::PassedResponse;
use crate::http::routes::passes_body;
use crate::http::{BODY_LIMIT, Body, Method, READ_HEADERS, REQUEST_ID, Request, Response, path_and_query};
use crate::ids::random_text;
use crate::ports::PassingBody;

thread_local! {
    static HEADER_NAMES: Array = READ_HEADERS.into_iter().map(JsValue::from_str).collect();
}

/// Reads a request. Stops reading a body that is over the limit.
pub(super) async fn request(request: &web_sys::Request) -> worker::Result<Request> {
    let lines = HEADER_NAMES.with(|names| glue::request_lines(request, names));
    let mut lines = lines.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    // As it was sent: the crate's own type takes a method that it does not know for GET.
    let method = Method::parse(next());
    let (path, query) = path_and_query(next());
    let (path, query) = (path.to_owned(), query.to_owned());
    let has_body = !next().is_empty();
    let passes = passes_body(method, &path);
    let needs_all = passes || Request::needs_all_headers(&path);
    let headers =
        if needs_all { read_headers(glue::all_header_lines(request).split('\n')) } else { read_headers(lines) };
    let body = match (passes, has_body) {
        (true, true) => Body::Passing { length: content_length(&headers) },
        (true, false) => Body::Passing { length: Some(0) },
        (false, true) => body(request).await?,
        (false, false) => Body::Bytes(Vec::new()),
    };
    Ok(Request { method, path, query, headers, body, id: random_text::<12>(&SystemRandom).unwrap_or_default() })
}

fn read_headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn content_length(headers: &[(String, String)]) -> Option<u64> {
    headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok())
}

/// The body of a request that passes through, if it has one.
pub(super) fn passing_body(parsed: &Request, request: &web_sys::Request) -> Option<PassingBody<BodyCarrier>> {
    match parsed.body {
        Body::Passing { length } if length != Some(0) => {
            Some(PassingBody { stream: BodyCarrier::new(JsValue::from(request)), length })
        }
        _ => None,
    }
}

/// Writes a response whose body passes through.
pub(super) fn passed(passed: &PassedResponse<WorkerPorts>) -> worker::Result<web_sys::Response> {
    if !passed.response.body.is_empty() {
        return response(&passed.response);
    }
    let lines = header_lines(&passed.response)?;
    let id = passed.response.header(REQUEST_ID).unwrap_or_default();
    let nothing = JsValue::NULL;
    let carrier = passed.body.as_ref().map_or(&nothing, |body| body.stream.carrier());
    let is_counted = passed.body.as_ref().is_some_and(|body| body.length.is_none());
    Ok(glue::passed_response(passed.response.status, &lines, id, carrier, is_counted, PASSING_LIMIT)?)
}

async fn body(request: &web_sys::Request) -> worker::Result<Body> {
    let read = promises::wait(|settle, number| glue::request_body(request, BODY_LIMIT, settle, number)).await?;
    Ok(if read.is_undefined() { Body::TooLarge } else { Body::Bytes(Uint8Array::new(&read).to_vec()) })
}

/// Writes a response.
pub(super) fn response(response: &Response) -> worker::Result<web_sys::Response> {
    let lines = header_lines(response)?;
    let id = response.header(REQUEST_ID).unwrap_or_default();
    Ok(glue::response(response.status, &lines, id, &response.body)?)
}

fn header_lines(response: &Response) -> worker::Result<String> {
    let malformed = || worker::Error::RustError("a header of the answer holds a line break".into());
    response.header_lines().ok_or_else(malformed)
}
