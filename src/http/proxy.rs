//! Requests that pass through to an app.
//!
//! Owns the headers by which a caller says for whom it calls, and the form of the answer: which of its headers are ours. The
//! body of such a request is not read ([`super::routes::passes_body`]): the platform hands it over beside the request, and gets one back
//! ([`pass`]).

use percent_encoding::percent_decode_str;

use super::{Body, Call, Method, Request, Response, access_log, authenticate_key, finish_response, problem};
use crate::app::{AppId, OutboundMethod};
use crate::authorize;
use crate::caller::KeyScope;
use crate::context::{BodyOf, Context};
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, FieldError, Result};
use crate::ids::ConnectionId;
use crate::ports::{PASSING_BODY_LIMIT, Ports};
use crate::proxy::{self, ProxiedRequest, ProxiedResponse, ProxyPlan};
use crate::resolve::ResolveRequest;

/// Says what came of a request: one of [`proxy::ProxyOutcome`], or the code of our own refusal.
pub(super) const OUTCOME: &str = "x-connections-outcome";

/// How the caller's own headers begin.
const PREFIX: &str = "x-connections-";

/// The caller's own headers, without [`PREFIX`].
const KNOWN: [&str; 9] = [
    "workflow",
    "step",
    "scopes",
    "min-ttl",
    "retries",
    "expect-app",
    "expect-account",
    "expect-connection",
    "expect-environment",
];

/// Answers come from our own address: whatever an app sends, a browser runs none of it.
const CONTENT_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'none'";

/// Whether an answer is about an address of the proxy.
pub(super) fn is_proxy_path(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    ["v1", "connections"].into_iter().all(|name| segments.next() == Some(name)) && segments.nth(1) == Some("proxy")
}

/// What the platform is to send: an answer whose body passes, or one of ours.
pub struct PassedResponse<P: Ports> {
    /// Status and headers, and the body if the answer is ours.
    pub response: Response,
    /// The app's body.
    pub body: Option<BodyOf<P>>,
}

pub(super) async fn prepare<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let presented = call.presented_key()?;
    let Some(id) = ConnectionId::parse(call.path_param(0)) else {
        authorize::require_scope(&authenticate_key(context, call).await?, KeyScope::Proxy)?;
        return Err(Error::connection_not_found());
    };
    let asked = read_request(call);
    let (plan, mut deferred) = Box::pin(proxy::prepare(context, presented, &id, asked)).await?;
    deferred.extend(access_log::write_proxied_request(context, call, plan.resolve_request(), plan.resolved())?);
    // Whoever sends this answer has not passed the request on.
    let mut response = problem::json_response(&Error::internal("a request was not passed on"));
    response.deferred = deferred;
    response.passes = Some(Box::new(plan));
    Ok(response)
}

/// Sends what [`super::handle`] has permitted.
pub async fn pass<P: Ports>(
    context: &Context<P>,
    request: &Request,
    plan: ProxyPlan,
    body: Option<BodyOf<P>>,
) -> PassedResponse<P> {
    let context = context.in_named_shard(plan.resolved().id.shard()).with_origin(request.origin());
    let (response, body) = match proxy::pass(&context, plan, body).await {
        Ok(passed) => build_response::<P>(passed),
        Err(error) => {
            context.log_cause(&error);
            (refused(problem::json_response(&error), error.code), None)
        }
    };
    PassedResponse { response: finish_response(response, request, Some(&context.config)), body }
}

fn build_response<P: Ports>(passed: ProxiedResponse<P>) -> (Response, Option<BodyOf<P>>) {
    let mut response = Response::new(passed.status, "", String::new());
    response.headers = passed.headers;
    response.deferred = passed.deferred;
    let response = response
        .with_header(OUTCOME, passed.outcome.as_str().to_owned())
        .with_header("content-security-policy", CONTENT_POLICY.to_owned())
        .with_header("cross-origin-resource-policy", "same-origin".to_owned())
        .with_header("referrer-policy", "no-referrer".to_owned());
    (response, passed.body)
}

/// A refusal of ours says so, so that nobody takes it for the app's.
pub(super) fn refused(response: Response, code: ErrorCode) -> Response {
    response.with_header(OUTCOME, code.as_str().to_owned())
}

fn read_request(call: &Call<'_>) -> Result<(ResolveRequest, ProxiedRequest)> {
    let request = call.request;
    check_body(request)?;
    let (resolve, repeats) = read_own_headers(request)?;
    let method = match request.method {
        Method::Get => OutboundMethod::Get,
        Method::Head => OutboundMethod::Head,
        Method::Post => OutboundMethod::Post,
        Method::Put => OutboundMethod::Put,
        Method::Patch => OutboundMethod::Patch,
        Method::Delete => OutboundMethod::Delete,
        Method::Other => return Err(Error::internal("a method without a route")),
    };
    let (path, query) = (call.path_param(1).to_owned(), request.query.clone());
    Ok((resolve, ProxiedRequest { method, path, query, headers: request.headers.clone(), repeats }))
}

fn check_body(request: &Request) -> Result<()> {
    let (has_body, length) = match &request.body {
        Body::Passing { length } => (*length != Some(0), *length),
        Body::Bytes(bytes) => (!bytes.is_empty(), None),
        Body::TooLarge => (true, None),
    };
    if length.is_some_and(|length| length > PASSING_BODY_LIMIT) {
        return Err(Error::new(
            ErrorCode::BodyTooLarge,
            "The body may have at most 100 MB. Nothing was sent to the app.",
        ));
    }
    if has_body && request.method.is_safe() {
        return Err(Error::invalid_field(
            "",
            "A GET or HEAD that passes through has no body. Use another method of the app.",
        ));
    }
    Ok(())
}

/// What the caller says with its own headers: the options of a resolve, and whether the request may be repeated. Texts are
/// percent-encoded UTF-8, because a header has only ASCII.
fn read_own_headers(request: &Request) -> Result<(ResolveRequest, bool)> {
    let (mut resolve, mut repeats, mut errors) = (ResolveRequest::default(), true, Vec::new());
    for (name, value) in &request.headers {
        let Some(own) = name.strip_prefix(PREFIX) else { continue };
        if let Err(problem) = read_own_header(&mut resolve, &mut repeats, own, value) {
            errors.push(FieldError { field: name.clone(), problem });
        }
    }
    if errors.is_empty() { Ok((resolve.validated()?, repeats)) } else { Err(Error::invalid_fields(errors)) }
}

fn read_own_header(
    resolve: &mut ResolveRequest,
    repeats: &mut bool,
    name: &str,
    value: &str,
) -> std::result::Result<(), String> {
    let text = percent_decode_str(value).decode_utf8().map_err(|_| "must be percent-encoded UTF-8.".to_owned())?;
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty. Give a value, or leave it out.".to_owned());
    }
    let own = || text.to_owned();
    match name {
        "workflow" => resolve.workflow = Some(own()),
        "step" => resolve.step = Some(own()),
        "scopes" => resolve.scopes = text.split_ascii_whitespace().map(str::to_owned).collect(),
        "min-ttl" => resolve.min_ttl = text.parse().map_err(|_| "must be a number of seconds.".to_owned())?,
        "retries" => {
            *repeats = match text {
                "0" => false,
                "1" => true,
                _ => return Err("must be 0 or 1: a request is repeated once at most, after a 401.".to_owned()),
            };
        }
        "expect-app" => resolve.expect.app = Some(AppId::parse(text).ok_or("is not the id of an app.")?),
        "expect-account" => resolve.expect.account = Some(own()),
        "expect-connection" => {
            resolve.expect.connection = Some(ConnectionId::parse(text).ok_or("is not the id of a connection.")?);
        }
        "expect-environment" => {
            resolve.expect.environment = Some(Environment::parse(text).ok_or("must be production or test.")?);
        }
        _ => {
            let known = KNOWN.map(|known| format!("{PREFIX}{known}")).join(", ");
            return Err(format!("is not known; there are {known}."));
        }
    }
    Ok(())
}
