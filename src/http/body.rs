//! Bodies as types: what a route reads and what it returns.
//!
//! The table of routes names both types of each route, and passes values through these types. So a handler cannot read
//! or return anything else, and the description of the API is made of the same types.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Request, Response, input};
use crate::error::{Error, Result};
use crate::preconditions::{ReadState, short_hash};
use crate::resolve::DeferredTask;
use crate::store::Page;

/// The unread body of a request: the handler decides what is refused before the body is read.
pub(super) struct Unread<'a, T> {
    request: &'a Request,
    body: PhantomData<T>,
}

impl<'a, T> Unread<'a, T> {
    pub(super) fn of(request: &'a Request) -> Self {
        Self { request, body: PhantomData }
    }

    /// The body as text, for a body with its own reader.
    pub(super) fn text(&self) -> Result<&'a str> {
        input::body_text(self.request)
    }
}

impl<T: DeserializeOwned> Unread<'_, T> {
    pub(super) fn read(&self) -> Result<T> {
        input::parse_json(self.request)
    }
}

/// An answer of the API.
pub(super) struct Json<T> {
    status: u16,
    body: T,
    after: Vec<DeferredTask>,
    as_text: Option<(&'static str, String)>,
    headers: Vec<(String, String)>,
    state: Option<ReadState>,
}

impl<T: Serialize> Json<T> {
    pub(super) fn new(status: u16, body: T) -> Self {
        Self { status, body, after: vec![], as_text: None, headers: vec![], state: None }
    }

    pub(super) fn ok(body: T) -> Self {
        Self::new(200, body)
    }

    pub(super) fn created(body: T) -> Self {
        Self::new(201, body)
    }

    /// The same, with deferred work.
    pub(super) fn then(self, after: Vec<DeferredTask>) -> Self {
        Self { after, ..self }
    }

    /// The same, sent as another type of text.
    pub(super) fn written_as(self, content_type: &'static str, text: String) -> Self {
        Self { as_text: Some((content_type, text)), ..self }
    }

    /// The same, with an `ETag`: the state of the thing that is shown, and a hash of what is shown.
    pub(super) fn tagged(self, state: ReadState) -> Self {
        Self { state: Some(state), ..self }
    }

    /// The same, with a header.
    pub(super) fn with_header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.to_owned(), value));
        self
    }

    pub(super) fn into_response(self) -> Result<Response> {
        let mut response = match self.as_text {
            Some((content_type, text)) => {
                Response { deferred: self.after, ..Response::new(self.status, content_type, text) }
            }
            None => respond(self.status, serde_json::to_value(&self.body), self.after)?,
        };
        response.headers.extend(self.headers);
        if let Some(state) = self.state {
            let etag = format!("\"{}-{}\"", state.tag, short_hash(&response.body));
            response.headers.push(("etag".into(), etag));
        }
        Ok(response)
    }
}

/// The same for all types, because generic code is compiled for each of them.
fn respond(status: u16, body: serde_json::Result<serde_json::Value>, after: Vec<DeferredTask>) -> Result<Response> {
    let body = body.map_err(|error| Error::internal(format!("an answer could not be written as JSON: {error}")))?;
    Ok(Response { deferred: after, ..Response::json(status, &body) })
}

/// A type whose members are among another's, for `#[serde(flatten)]`. Without it the type would be compiled again for
/// that place.
pub(super) struct Flat<T>(pub(super) T);

impl<T: Serialize> Serialize for Flat<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serde_json::to_value(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

#[cfg(test)]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Flat<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(schemas: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(schemas)
    }
}

/// One page of a list.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub(super) struct ListResponse<T> {
    pub(super) data: Vec<T>,
    /// The cursor of the next page; null on the last.
    pub(super) next_cursor: Option<String>,
}

impl<T> ListResponse<T> {
    pub(super) fn of<R>(page: Page<R>, show: impl FnMut(R) -> T) -> Self {
        Self { data: page.data.into_iter().map(show).collect(), next_cursor: page.next }
    }
}

/// Something was deleted.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub(super) struct DeletedResponse<I> {
    pub(super) id: I,
    #[cfg_attr(test, schemars(extend("const" = true)))]
    deleted: bool,
}

impl<I> DeletedResponse<I> {
    pub(super) fn of(id: I) -> Self {
        Self { id, deleted: true }
    }
}
