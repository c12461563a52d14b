//! Requests that pass through to the simulated app: what left, completely, and bodies as bytes.
//!
//! A body that was not kept can be sent once, as a platform's stream: a second time is a mistake of the program, and panics.

use std::cell::{Cell, RefCell};

use connections::app::OutboundMethod;
use connections::ports::{HttpError, PASSING_BODY_LIMIT, PassingBody, PassingResponse, PermittedRequest};

/// The counterpart of a platform's stream.
#[derive(Debug, Default)]
pub(crate) struct TestBody {
    pub(crate) bytes: Vec<u8>,
    is_kept: bool,
    is_sent: Cell<bool>,
}

/// A body whose length is known.
pub(crate) fn body(bytes: &[u8]) -> PassingBody<TestBody> {
    PassingBody { length: Some(bytes.len() as u64), ..body_of_unknown_length(bytes) }
}

/// A body whose length is not known before it has ended.
pub(crate) fn body_of_unknown_length(bytes: &[u8]) -> PassingBody<TestBody> {
    PassingBody { stream: TestBody { bytes: bytes.to_vec(), ..TestBody::default() }, length: None }
}

/// One that was read and can be sent again.
pub(crate) fn keep(body: PassingBody<TestBody>) -> PassingBody<TestBody> {
    assert!(!body.stream.is_sent.get(), "a body that was sent can't be kept");
    PassingBody { stream: TestBody { is_kept: true, ..body.stream }, ..body }
}

/// An app's answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], bytes: &[u8]) -> PassingResponse<TestBody> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    PassingResponse { status, headers, body: Some(body(bytes)) }
}

/// A request as it left.
#[derive(Debug, Clone)]
pub(crate) struct PassedRequest {
    pub(crate) method: OutboundMethod,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl PassedRequest {
    /// The only value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next();
        assert!(found.next().is_none(), "{name} stands twice");
        first.map(|(_, value)| value.as_str())
    }
}

/// Answers a request that passes through.
pub(crate) type PassResponder = Box<dyn Fn(&PassedRequest) -> Result<PassingResponse<TestBody>, HttpError>>;

/// What passed through.
#[derive(Default)]
pub(crate) struct PassedRequests {
    pub(crate) requests: RefCell<Vec<PassedRequest>>,
    /// Answers in place of the app.
    pub(crate) responder: RefCell<Option<PassResponder>>,
    /// Bodies of answers that nobody wanted.
    pub(crate) discarded: Cell<usize>,
}

impl PassedRequests {
    /// Records a request.
    pub(crate) fn record(
        &self,
        request: &PermittedRequest,
        body: Option<&PassingBody<TestBody>>,
    ) -> Result<PassedRequest, HttpError> {
        if let Some(PassingBody { stream, .. }) = body {
            assert!(!stream.is_sent.replace(true) || stream.is_kept, "a stream was sent twice");
        }
        let bytes = body.map(|body| body.stream.bytes.clone());
        if bytes.as_ref().is_some_and(|bytes| bytes.len() as u64 > PASSING_BODY_LIMIT) {
            return Err(HttpError::RequestTooLarge);
        }
        let passed = PassedRequest {
            method: request.method,
            url: request.url.as_str().to_owned(),
            headers: request.headers.clone(),
            body: bytes,
        };
        self.requests.borrow_mut().push(passed.clone());
        Ok(passed)
    }
}
