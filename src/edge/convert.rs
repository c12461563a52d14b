//! Requests and responses between the platform's types and the core's.

use worker::js_sys::{Array, Uint8Array};
use worker::wasm_bindgen::JsValue;
use worker::web_sys;

use super::system::SystemRandom;
use super::{glue, promises};
use crate::http::{BODY_LIMIT, Body, Method, READ_HEADERS, REQUEST_ID, Request, Response, path_and_query};
use crate::ids::random_text;

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
    let headers =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Request {
        method,
        path,
        query,
        headers: headers.collect(),
        body: if has_body { body(request).await? } else { Body::Bytes(Vec::new()) },
        id: random_text::<12>(&SystemRandom).unwrap_or_default(),
    })
}

async fn body(request: &web_sys::Request) -> worker::Result<Body> {
    let read = promises::wait(|settle, number| glue::request_body(request, BODY_LIMIT, settle, number)).await?;
    Ok(if read.is_undefined() { Body::TooLarge } else { Body::Bytes(Uint8Array::new(&read).to_vec()) })
}

/// Writes a response.
pub(super) fn response(response: &Response) -> worker::Result<web_sys::Response> {
    let malformed = || worker::Error::RustError("a header of the answer holds a line break".into());
    let lines = response.header_lines().ok_or_else(malformed)?;
    let id = response.header(REQUEST_ID).unwrap_or_default();
    Ok(glue::response(response.status, &lines, id, &response.body)?)
}
