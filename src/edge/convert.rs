//! Requests and responses between the platform's types and the context's.

use futures_util::StreamExt as _;
use worker::{Headers, Request, Response, ResponseBuilder};

use crate::http::{BODY_LIMIT, Body, Method, Request as CoreRequest, Response as CoreResponse};
use crate::ids::random_text;

use super::system::SystemRandom;

/// Reads a request; stops reading a body that is over the limit.
pub(super) async fn request(mut request: Request) -> worker::Result<CoreRequest> {
    let url = request.url()?;
    let headers = request.headers().entries().map(|(name, value)| (name.to_lowercase(), value)).collect();
    Ok(CoreRequest {
        // As it was sent: `Request::method` takes a method that it does not know for GET.
        method: Method::parse(&request.inner().method()),
        path: url.path().to_owned(),
        query: url.query().unwrap_or_default().to_owned(),
        headers,
        body: body(&mut request).await?,
        id: random_text::<12>(&SystemRandom).unwrap_or_default(),
    })
}

async fn body(request: &mut Request) -> worker::Result<Body> {
    if request.inner().body().is_none() {
        return Ok(Body::Bytes(Vec::new()));
    }
    let mut stream = request.stream()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend(chunk?);
        if bytes.len() > BODY_LIMIT {
            return Ok(Body::TooLarge);
        }
    }
    Ok(Body::Bytes(bytes))
}

/// Writes a response. `append`, because several cookies are several headers.
pub(super) fn response(response: CoreResponse) -> worker::Result<Response> {
    let headers = Headers::new();
    for (name, value) in &response.headers {
        headers.append(name, value)?;
    }
    let builder = ResponseBuilder::new().with_status(response.status).with_headers(headers);
    // A 204 must not even have an empty body (Fetch, "null body status").
    Ok(if response.status == 204 { builder.empty() } else { builder.fixed(response.body.into_bytes()) })
}
