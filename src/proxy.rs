//! The proxy: a caller's request goes to an app with the connection's credential, which the caller does not get.
//!
//! Owns what leaves and what comes back, and the one repetition after a 401. Bodies pass as the platform's own streams and
//! are never looked at. Refuses every address that is not below the app's `base_url`, everything of a caller that would
//! stand in the credential's place, and every answer that must not come from our own address.
//!
//! It has two steps. [`prepare`] decides, in one round trip to the database, as a resolve does. [`pass`] sends. Between them
//! the line of the audit log is written, where the operator wants no request without it.

mod headers;
mod path;
mod secrets;

use serde_json::json;

use crate::app::OutboundMethod;
use crate::caller::{KeyScope, PresentedKey};
use crate::codes::codes;
use crate::context::{BodyOf, Context, ResponseOf};
use crate::destinations::{RequestSecret, SecretKind};
use crate::egress::{EgressPolicy, EgressUrl};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::ConnectionId;
use crate::metrics::{self, CountedRequest};
use crate::ports::{
    Http, HttpError, MetricEvent, OutboundRequest, PASSING_BODY_LIMIT, Ports, RateLimit, RateLimiter, RefreshReason,
    RefreshRunner,
};
use crate::resolve::{self, DeferredTask, ResolveRequest, ResolvedCredential, UsedCredential};

use secrets::SecretTexts;

/// Milliseconds that an exchange with an app may take, bodies included: five minutes.
const TIMEOUT_MS: u32 = 300_000;
/// The largest body that is kept for a repetition, in bytes.
pub const KEPT_BODY_LIMIT: u64 = 256 * 1024;
/// Requests of one connection that one instance of the program has under way, at most.
pub const MOST_AT_ONCE: u32 = 100;
/// Seconds after which a caller may try again where so many are under way.
const BUSY_RETRY_AFTER: i64 = 1;
/// The longest path and query together, in characters.
const MAX_ADDRESS_LENGTH: usize = 16 * 1024;

/// A caller's request, as far as it is sent to the app.
pub struct ProxiedRequest {
    /// The method.
    pub method: OutboundMethod,
    /// The path below `base_url`, percent-encoded as sent.
    pub path: String,
    /// The query, as sent.
    pub query: String,
    /// All headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Whether it may be repeated after a 401.
    pub repeats: bool,
}

codes! {
    /// What came of a request, as `X-Connections-Outcome` says it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ProxyOutcome {
        /// The app's answer.
        Passed = "passed",
        /// The app answered 401. The request was repeated with a newer credential, and this is the answer to that.
        Refreshed = "refreshed",
        /// The app's 401. There is no newer credential.
        Refused = "refused",
        /// The app's 401. There is a newer credential, and the request was not repeated: send it again.
        RefusedNotRepeated = "refused_not_repeated",
    }
}

/// A request that may be sent.
pub struct ProxyPlan {
    presented: PresentedKey,
    id: ConnectionId,
    resolve: ResolveRequest,
    request: ProxiedRequest,
    used: UsedCredential,
    outbound: OutboundRequest,
    counted: CountedRequest,
}

impl ProxyPlan {
    /// What a resolve would have answered. It stays here.
    pub fn resolved(&self) -> &ResolvedCredential {
        &self.used.resolved
    }

    /// What was asked of the connection.
    pub fn resolve_request(&self) -> &ResolveRequest {
        &self.resolve
    }
}

impl std::fmt::Debug for ProxyPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProxyPlan({}, {:?})", self.id, self.outbound)
    }
}

/// An app's answer on its way to the caller.
pub struct ProxiedResponse<P: Ports> {
    /// The app's status.
    pub status: u16,
    /// What passes of its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Option<BodyOf<P>>,
    /// What came of the request.
    pub outcome: ProxyOutcome,
    /// The work after the answer.
    pub deferred: Vec<DeferredTask>,
}

/// Decides over a request: everything that a resolve decides, and where it goes. What is wrong with the request is told
/// after key and connection.
pub async fn prepare<P: Ports>(
    context: &Context<P>,
    presented: &PresentedKey,
    id: &ConnectionId,
    asked: Result<(ResolveRequest, ProxiedRequest)>,
) -> Result<(ProxyPlan, Vec<DeferredTask>)> {
    let started = metrics::start(context);
    let (resolve, request) = match asked {
        Ok((resolve, request)) => (Ok(resolve), Some(request)),
        Err(error) => (Err(error), None),
    };
    let resolve_request = resolve.clone();
    let (caller, counted) = ((presented, KeyScope::Proxy), Some(MetricEvent::Proxy));
    let (used, deferred) = resolve::resolve_for_use(context, caller, id, resolve, counted).await?;
    let (resolve, Some(request)) = (resolve_request?, request) else {
        return Err(Error::internal("a request without an address"));
    };
    let counted = CountedRequest::new(context, (&used.connection.workspace, used.connection.app.as_str()), started);
    let permitted = match build_request(context, &request, &used) {
        Ok(outbound) => check_rate(context, &used.connection.id).await.map(|()| outbound),
        Err(error) => Err(error),
    };
    match permitted {
        Ok(outbound) => {
            let (presented, id) = (presented.clone(), id.clone());
            Ok((ProxyPlan { presented, id, resolve, request, used, outbound, counted }, deferred))
        }
        Err(error) => {
            counted.end(context, Err(&error));
            Err(error)
        }
    }
}

async fn check_rate<P: Ports>(context: &Context<P>, connection: &ConnectionId) -> Result<()> {
    let limit = RateLimit::ProxiedRequests;
    if context.ports.rate_limiter().allows(limit, connection.as_str()).await {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::RateLimited,
        "Too many requests go through this connection. Wait for Retry-After, then send fewer. Nothing was sent to the app.",
    )
    .with_hints(|h| (h.retry_after, h.rate_limit) = (Some(limit.seconds()), Some(limit))))
}

/// Sends a request, and repeats it once where the app refuses the credential and there is a newer one.
pub async fn pass<P: Ports>(
    context: &Context<P>,
    plan: ProxyPlan,
    body: Option<BodyOf<P>>,
) -> Result<ProxiedResponse<P>> {
    let counted = plan.counted.clone();
    let answered = pass_once_or_twice(context, plan, body).await;
    counted.end(context, answered.as_ref().map(|answer| (answer.outcome.as_str(), answer.status)));
    answered
}

async fn pass_once_or_twice<P: Ports>(
    context: &Context<P>,
    plan: ProxyPlan,
    body: Option<BodyOf<P>>,
) -> Result<ProxiedResponse<P>> {
    let at_once = context.ports.isolate_cache().proxied().enter(&plan.used.connection.id, MOST_AT_ONCE);
    let Some(_slot) = at_once else { return Err(busy_error()) };
    let http = context.ports.http();
    let is_short = |body: &BodyOf<P>| body.length.is_some_and(|length| length <= KEPT_BODY_LIMIT);
    let can_repeat = plan.request.repeats && body.as_ref().is_none_or(is_short);
    let body = match body {
        Some(body) if can_repeat => Some(http.keep(body).await.map_err(|error| failure(context, &plan, error))?),
        body => body,
    };
    let sent = context.pass(plan.outbound.clone(), body.as_ref()).await;
    let first = sent.map_err(|error| failure(context, &plan, error))?;
    if first.status != 401 {
        return finish(context, &plan.used, first, ProxyOutcome::Passed);
    }
    // In memory of its own: an app refuses few credentials.
    Box::pin(pass_refused(context, plan, first, body, can_repeat)).await
}

async fn pass_refused<P: Ports>(
    context: &Context<P>,
    plan: ProxyPlan,
    first: ResponseOf<P>,
    body: Option<BodyOf<P>>,
    can_repeat: bool,
) -> Result<ProxiedResponse<P>> {
    let newer = match find_newer_credential(context, &plan).await {
        Ok(newer) => newer,
        // The refusal of a resolve says what to do, and the app's own does not.
        Err(error) if is_final(error.code) => {
            discard(context, first);
            return Err(error);
        }
        Err(error) => {
            context.log_cause(&error);
            None
        }
    };
    let Some(newer) = newer else {
        let mut answer = finish(context, &plan.used, first, ProxyOutcome::Refused)?;
        if !plan.used.connection.refreshable {
            answer.deferred.push(DeferredTask::CheckRefused(Box::new(plan.used.connection)));
        }
        return Ok(answer);
    };
    if !can_repeat {
        return finish(context, &plan.used, first, ProxyOutcome::RefusedNotRepeated);
    }
    let again = build_request(context, &plan.request, &newer);
    discard(context, first);
    let answer = context.pass(again?, body.as_ref()).await.map_err(|error| failure(context, &plan, error))?;
    finish(context, &newer, answer, ProxyOutcome::Refreshed)
}

/// Whether an error is about the connection, and another try would end in the same way.
fn is_final(code: ErrorCode) -> bool {
    !matches!(
        code,
        ErrorCode::AppUnavailable
            | ErrorCode::RefreshInProgress
            | ErrorCode::DatabaseUnavailable
            | ErrorCode::Internal
            | ErrorCode::Misconfigured
    )
}

/// Another credential than the one that was refused: one that somebody has stored meanwhile, or else that of one refresh,
/// however many callers were refused.
async fn find_newer_credential<P: Ports>(context: &Context<P>, plan: &ProxyPlan) -> Result<Option<UsedCredential>> {
    let stored = resolve_again(context, plan).await?;
    if is_newer(&stored, &plan.used) {
        return Ok(Some(stored));
    }
    if !stored.connection.refreshable {
        return Ok(None);
    }
    context.ports.refresher().run(&stored.connection.id, RefreshReason::Force).await;
    let refreshed = resolve_again(context, plan).await?;
    Ok(is_newer(&refreshed, &plan.used).then_some(refreshed))
}

fn is_newer(found: &UsedCredential, refused: &UsedCredential) -> bool {
    let version = |of: &UsedCredential| (of.connection.id.clone(), of.resolved.credential_version.clone());
    version(found) != version(refused)
}

async fn resolve_again<P: Ports>(context: &Context<P>, plan: &ProxyPlan) -> Result<UsedCredential> {
    let request = Ok(plan.resolve.clone());
    let caller = (&plan.presented, KeyScope::Proxy);
    let found = resolve::resolve_for_use(context, caller, &plan.id, request, None).await?;
    Ok(found.0)
}

fn discard<P: Ports>(context: &Context<P>, response: ResponseOf<P>) {
    if let Some(body) = response.body {
        context.ports.http().discard(body);
    }
}

/// The request to the app.
fn build_request<P: Ports>(
    context: &Context<P>,
    request: &ProxiedRequest,
    used: &UsedCredential,
) -> Result<OutboundRequest> {
    let prepared = &used.resolved.issued.request;
    let Some(base) = &prepared.base_url else { return Err(no_base_error(&used.resolved.app)) };
    let base = EgressUrl::parse(base, context.config.egress)
        .map_err(|problem| Error::internal(format!("base_url of {} {problem}", used.resolved.app)))?;
    if is_own_host(context, &base) {
        return Err(Error::new(
            ErrorCode::Conflict,
            "The app's base_url is this installation's own address. The proxy sends nothing there.",
        ));
    }
    path::check(&request.path)?;
    if request.path.len() + request.query.len() > MAX_ADDRESS_LENGTH {
        return Err(Error::invalid_field("path", format!("has over {MAX_ADDRESS_LENGTH} characters with its query.")));
    }
    let template = &used.auth_method.request;
    let query = path::query(&request.query, template, prepared)?;
    let url = base.below(&request.path, &query).ok_or_else(path::outside_error)?;
    let headers = headers::to_app(&request.headers, template, prepared)?;
    let kind = if used.credential.token.is_some() { SecretKind::AccessToken } else { SecretKind::ManualCredential };
    let carried = vec![RequestSecret::new(kind, &used.connection.destinations(&used.auth_method, None))];
    Ok(OutboundRequest::new(request.method, url, carried, TIMEOUT_MS).with_headers_and_body(headers, None))
}

fn is_own_host<P: Ports>(context: &Context<P>, base: &EgressUrl) -> bool {
    let own = EgressUrl::parse(context.config.public_url.origin(), EgressPolicy::DevLoopback);
    // On a developer's machine only the port tells two servers apart.
    let is_development = context.config.egress == EgressPolicy::DevLoopback;
    own.is_ok_and(|own| if is_development { own.authority() == base.authority() } else { own.host() == base.host() })
}

/// What passes of an app's answer.
fn finish<P: Ports>(
    context: &Context<P>,
    used: &UsedCredential,
    response: ResponseOf<P>,
    outcome: ProxyOutcome,
) -> Result<ProxiedResponse<P>> {
    let problem = if !(200..=599).contains(&response.status) {
        Some("The app answered with a status that HTTP does not know.")
    } else if response.body.as_ref().and_then(|body| body.length).is_some_and(|length| length > PASSING_BODY_LIMIT) {
        Some("The app's answer is over 100 MB. Ask it for a part, for example with Range.")
    } else {
        None
    };
    if let Some(detail) = problem {
        discard(context, response);
        return Err(Error::new(ErrorCode::AppResponseRefused, format!("{detail} The app has acted on the request.")));
    }
    let headers = headers::to_caller(response.headers, &SecretTexts::of(used));
    Ok(ProxiedResponse { status: response.status, headers, body: response.body, outcome, deferred: vec![] })
}

fn busy_error() -> Error {
    Error::new(
        ErrorCode::RateLimited,
        "Too many requests of this connection are under way. Wait for Retry-After, then send fewer at once. Nothing was sent to the app.",
    )
    .with_hints(|h| (h.retry_after, h.most_at_once) = (Some(BUSY_RETRY_AFTER), Some(MOST_AT_ONCE)))
}

fn no_base_error(app: &str) -> Error {
    Error::new(
        ErrorCode::Conflict,
        format!(
            "The definition of {app} has no request.base_url, so the proxy does not know where its requests go. Add one (PUT /v1/apps/{app}), or resolve the connection and send the request yourself."
        ),
    )
}

/// What a caller gets where no answer came.
fn failure<P: Ports>(context: &Context<P>, plan: &ProxyPlan, error: HttpError) -> Error {
    let (name, code, detail) = match error {
        HttpError::Timeout => (
            "timeout",
            ErrorCode::AppUnavailable,
            "The app did not answer within five minutes. It may have acted on the request.",
        ),
        HttpError::Network | HttpError::TooLarge => (
            "network",
            ErrorCode::AppUnavailable,
            "The connection to the app failed. The app may have acted on the request.",
        ),
        HttpError::RequestTooLarge => (
            "request_too_large",
            ErrorCode::BodyTooLarge,
            "The body may have at most 100 MB. The app got a part of it.",
        ),
        HttpError::NotPermitted => (
            "not_permitted",
            ErrorCode::AddressesChanged,
            "The app's base_url has changed since this connection was made, and its credential is not sent to the new one. A person must reconnect it. Nothing was sent.",
        ),
    };
    let fields = json!({ "connection": plan.used.connection.id, "host": plan.outbound.url.authority(), "cause": name });
    context.log("warn", "proxied_request_failed", &fields);
    Error::new(code, detail)
}
