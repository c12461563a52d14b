//! HTTP: request → use case → response, as plain structs that any platform can fill.
//!
//! Owns authentication, the step that authorises every request before its handler, the order of refusals (401, 403,
//! 404, 422, then the rest), headers, and the form of JSON and pages. Contains no SQL and no platform types.

mod access_log;
mod apps;
pub mod assets;
mod attention_words;
mod body;
mod brand;
mod browser_session;
mod bulk;
mod catalogue_page;
mod choices;
mod connection_forms;
mod connection_page;
mod connection_summary;
mod connections;
mod connections_page;
mod consent_page;
mod credentials;
mod defaults;
mod disconnecting;
mod emails;
mod etags;
mod events;
mod flows;
mod form_words;
mod hooks;
mod idempotency;
mod identity;
mod input;
mod jobs;
mod kept_fields;
mod kept_forms;
mod keys;
mod limits;
mod links;
mod notices;
mod oauth;
mod oauth_clients;
mod openapi;
mod operator;
mod own_pages;
mod people;
pub mod page;
mod page_frame;
mod popup;
mod problem;
mod provider_sign_in;
pub mod proxy;
mod recently_disconnected;
mod replacements;
mod resolving;
mod responses;
mod review_page;
pub mod routes;
mod sessions;
mod settings;
mod settings_view;
mod setup;
mod shard;
mod sign_in;
mod try_resolve;
mod webhooks;
mod workflow_pages;
mod workflows;

use crate::api_keys;
use crate::app::AppId;
use crate::audit::{Actor, RequestOrigin};
use crate::audit_log;
use crate::authorize::{self, Caller, LoadedResource, Resource, unauthorized};
use crate::caller::{ApiKey, PresentedKey};
use crate::config::Config;
use crate::context::Context;
use crate::egress::EgressPolicy;
use crate::error::{Error, ErrorCode, Result};
use crate::maintenance;
use crate::ports::Ports;
use crate::preconditions::IfMatch;
use crate::proxy::ProxyPlan;
use crate::resolve::DeferredTask;
use crate::store::connections::ListedConnection;
use crate::store::links::Link;
use crate::store::sessions::Session;
use crate::webhook::Webhook;

use routes::{RequiredAuth, RouteEntry, RouteMatch};

/// The largest body a request may have, in bytes.
pub const BODY_LIMIT: u32 = 256 * 1024;

/// The header of an answer with the id of its request.
pub const REQUEST_ID: &str = "x-request-id";

/// The headers that are read of a request, in lower case. The platform is asked for no others.
pub const READ_HEADERS: [&str; 16] = [
    "accept",
    "authorization",
    "cf-access-jwt-assertion",
    "cf-connecting-ip",
    "content-type",
    "cookie",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "origin",
    "purpose",
    "sec-fetch-site",
    "sec-purpose",
    "user-agent",
    "x-moz",
    "x-purpose",
];

/// A request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: routed as GET, answered without a body.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// Anything else: no route has it.
    Other,
}

impl Method {
    /// Reads a method. Methods are case-sensitive (RFC 9110 9.1).
    pub fn parse(text: &str) -> Self {
        match text {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }

    /// The method's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Other => "OTHER",
        }
    }

    /// Whether a request with this method may change nothing (RFC 9110 9.2.1).
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// A request's body, as far as it was read.
#[derive(Clone)]
pub enum Body {
    /// The whole body.
    Bytes(Vec<u8>),
    /// It is over [`BODY_LIMIT`]. Reading has stopped.
    TooLarge,
    /// It is not read, because the request passes through to an app ([`routes::passes_body`]).
    Passing {
        /// Its length in bytes, if the caller names it; 0 if there is none.
        length: Option<u64>,
    },
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path, percent-encoded as sent.
    pub path: String,
    /// The query, without `?`.
    pub query: String,
    /// Headers, names in lower case: those of [`READ_HEADERS`] that were sent; all of a request that passes
    /// through, and if [`Request::needs_all_headers`].
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// An id for answers and the log.
    pub id: String,
}

impl Request {
    /// The first value of a header, by its lower-case name: one of [`READ_HEADERS`].
    pub fn header(&self, name: &str) -> Option<&str> {
        debug_assert!(READ_HEADERS.contains(&name), "{name} is not among the headers that are read");
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether all headers of a request to this path are read: which one has a signature is known from the app's definition.
    pub fn needs_all_headers(path: &str) -> bool {
        path.starts_with(hooks::PATH_PREFIX)
    }

    /// Where it came from, for the events of what it changes.
    pub fn origin(&self) -> RequestOrigin {
        RequestOrigin {
            request: Some(self.id.clone()).filter(|id| !id.is_empty()),
            address: limits::caller_address(self),
            user_agent: self.header("user-agent").and_then(RequestOrigin::shorten_user_agent),
        }
    }

    /// Whether nobody has opened the page yet: a HEAD, or a browser that loads a page in advance. Such a request must
    /// not use anything that works once.
    fn is_speculative(&self) -> bool {
        let prefetch = |name: &str| {
            let value = self.header(name).unwrap_or_default();
            value.split([';', ',']).any(|part| matches!(part.trim(), "prefetch" | "prerender" | "preview"))
        };
        self.method == Method::Head || ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().any(prefetch)
    }

    fn bearer_token(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    }
}

/// A response and its deferred work.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The work after it was sent.
    pub deferred: Vec<DeferredTask>,
    /// What is to be passed to an app. Its answer takes the place of this one ([`proxy::pass`]).
    pub passes: Option<Box<ProxyPlan>>,
}

/// A body may contain a credential and a header a cookie, so neither is shown.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "Response({}, {names:?}, {} bytes)", self.status, self.body.len())
    }
}

impl Response {
    fn new(status: u16, content_type: &str, body: String) -> Self {
        let headers = vec![("content-type".into(), content_type.into())];
        Self { status, headers, body, deferred: vec![], passes: None }
    }

    fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", value.to_string())
    }

    fn html(status: u16, markup: maud::Markup) -> Self {
        Self::new(status, "text/html; charset=utf-8", markup.into_string())
    }

    /// 303: whatever the method was, the next request is a GET without the body (RFC 9700, 4.12).
    fn see_other(location: &str) -> Self {
        let mut response = Self::new(303, "text/plain; charset=utf-8", String::new());
        response.headers.push(("location".into(), location.into()));
        response
    }

    fn with_header(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The headers as `name:value` lines, apart from [`REQUEST_ID`], which is another in each answer. None if one holds a line break: it would end its line, and what follows would be
    /// another header.
    pub fn header_lines(&self) -> Option<String> {
        let mut lines = String::with_capacity(1024);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != REQUEST_ID) {
            if name.contains([':', '\n']) || value.contains('\n') {
                return None;
            }
            if !lines.is_empty() {
                lines.push('\n');
            }
            lines.push_str(name);
            lines.push(':');
            lines.push_str(value);
        }
        Some(lines)
    }
}

/// Path and query of an address as it was sent. The runtime does not normalise it, and puts the header `Host` before the
/// path as it is: a host may hold a question mark or a hash, and there may be no path.
pub fn path_and_query(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    (before.find('/').and_then(|at| before.get(at..)).unwrap_or("/"), query)
}

/// A request for its handler: the caller is known and authorised.
pub(crate) struct Call<'a> {
    request: &'a Request,
    /// Whose form the request shows again, and the request for everybody else.
    kept_of: Option<&'a (String, Request)>,
    /// The well-formed key in the request, not yet checked. Read once, because that takes two hashes.
    presented_key: Option<PresentedKey>,
    path_params: Vec<String>,
    caller_key: Option<ApiKey>,
    session: Option<Session>,
    subject: LoadedResource,
}

impl Call<'_> {
    fn path_param(&self, index: usize) -> &str {
        self.path_params.get(index).map_or("", String::as_str)
    }

    fn presented_key(&self) -> Result<&PresentedKey> {
        self.presented_key.as_ref().ok_or_else(unauthorized)
    }

    fn caller_key(&self) -> Result<&ApiKey> {
        self.caller_key.as_ref().ok_or_else(unauthorized)
    }

    /// The actor in the audit log.
    fn key_actor(&self) -> Result<Actor> {
        Ok(Actor::Key(self.caller_key()?.id.clone()))
    }

    /// The same for a signed-in person.
    fn user_actor(&self) -> Result<Actor> {
        Ok(Actor::User(browser_session::require_user(self.session()?)?.id.clone()))
    }

    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(browser_session::not_signed_in_error)
    }

    /// What the caller requires of the thing that it changes.
    fn if_match(&self) -> Result<IfMatch> {
        etags::parse_if_match(self.request)
    }

    /// The connection in the path.
    fn path_connection(&self) -> Result<&ListedConnection> {
        match &self.subject {
            LoadedResource::Connection(listed) => Ok(listed),
            LoadedResource::ConnectionPage(page) => Ok(&page.listed),
            _ => Err(undeclared_resource_error()),
        }
    }

    /// The app in the path. It may not exist.
    fn path_app(&self) -> Result<&AppId> {
        match &self.subject {
            LoadedResource::App(id) => Ok(id),
            _ => Err(undeclared_resource_error()),
        }
    }

    /// The link in the path.
    fn path_link(&self) -> Result<&Link> {
        match &self.subject {
            LoadedResource::Link(link) => Ok(link),
            _ => Err(undeclared_resource_error()),
        }
    }

    /// The webhook in the path.
    fn path_webhook(&self) -> Result<&Webhook> {
        match &self.subject {
            LoadedResource::Webhook(webhook) => Ok(webhook),
            _ => Err(undeclared_resource_error()),
        }
    }

    /// The key in the path.
    fn path_key(&self) -> Result<&ApiKey> {
        match &self.subject {
            LoadedResource::Key(key) => Ok(key),
            _ => Err(undeclared_resource_error()),
        }
    }
}

/// A handler needs a resource that its route does not declare.
fn undeclared_resource_error() -> Error {
    Error::internal("a route does not declare what its handler works with")
}

/// Answers a request.
pub async fn handle<P: Ports>(context: &Context<P>, request: &Request) -> Response {
    let found = routes::match_route(request.method, &request.path);
    let presented = request.bearer_token().and_then(PresentedKey::parse);
    let shard = shard::of_request(context, request, &found, presented.as_ref());
    // Boxed, so that the future of a request stays small.
    let context = Box::new(context.in_named_shard(shard).with_origin(request.origin()));
    let context = &*context;
    let is_page = matches!(&found, RouteMatch::Matched { route, .. } if route.is_page_of_person());
    let restored = is_page.then(|| kept_forms::restore(context, request)).flatten();
    let request = restored.as_ref().map_or(request, |restored| &restored.request);
    let mut call = Call {
        request,
        kept_of: restored.as_ref().and_then(|restored| restored.of.as_ref()),
        presented_key: presented,
        path_params: vec![],
        caller_key: None,
        session: None,
        subject: LoadedResource::None,
    };
    let answered = match require_usable_encryption_keys(context, request).await {
        Ok(()) => dispatch_request(context, &mut call, &found).await,
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| refuse(context, &call, &found, &error));
    // In memory of its own: few installations want this.
    if audit_log::has_durable_events(&response.deferred)
        && let Err(error) = Box::pin(audit_log::write_durable_events(context, &mut response.deferred)).await
    {
        response = refuse(context, &call, &found, &error);
    }
    response.deferred.extend(context.take_announced().into_iter().map(DeferredTask::SendWebhooks));
    limits::count_call(context, &found, call.presented_key, &mut response);
    let response = notices::end_notice(context, request, response);
    let response = kept_forms::end_kept(context, request, call.session.as_ref(), response);
    finish_response(response, request, Some(&context.config))
}

/// The answer to a request that is refused or has failed.
fn refuse<P: Ports>(context: &Context<P>, call: &Call<'_>, found: &RouteMatch, error: &Error) -> Response {
    context.log_cause(error);
    access_log::write_refusal(context, call, found.name().as_deref(), error);
    let shell = page_frame::page_context(context, call.request, call.session.as_ref());
    let mut response = error_response(call.request, found, error, &shell);
    if proxy::is_proxy_path(&call.request.path) {
        response = proxy::refused(response, error.code);
    }
    response.deferred.extend(refusal_task(context, call, found, error));
    response
}

/// The line of the audit log about a key whose authentication was refused.
fn refusal_task<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    found: &RouteMatch,
    error: &Error,
) -> Option<DeferredTask> {
    let RouteMatch::Matched { route, .. } = found else { return None };
    let is_for_keys = matches!(route.auth, RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_));
    let refused = call.presented_key.as_ref().filter(|_| is_for_keys && error.code == ErrorCode::Unauthorized);
    audit_log::refusal_task(context, &refused?.id)
}

/// Answers a request while the configuration cannot be used: every route except the health check returns the error.
pub fn respond_misconfigured(request: &Request, error: &Error) -> Response {
    respond_without_context(request, operator::unhealthy_response(), error)
}

/// Answers a request during maintenance. Nothing is read or written, because the database may have any form.
pub fn respond_under_maintenance(request: &Request) -> Response {
    let response = respond_without_context(request, operator::maintenance_response(), &maintenance::error());
    match response.header("retry-after") {
        Some(_) => response,
        None => response.with_header("retry-after", maintenance::RETRY_AFTER.to_string()),
    }
}

fn respond_without_context(
    request: &Request,
    health: body::Json<responses::HealthResponse>,
    error: &Error,
) -> Response {
    let found = routes::match_route(request.method, &request.path);
    let response = if request.path == "/healthz" {
        health.into_response().unwrap_or_else(|error| problem::json_response(&error))
    } else {
        error_response(request, &found, error, &page::PageContext::default())
    };
    let response = if proxy::is_proxy_path(&request.path) { proxy::refused(response, error.code) } else { response };
    finish_response(response, request, None)
}

/// A resolve may continue while the database is down: it can only read the cache, whose entries can be opened only with
/// the right key ring. The status tells of each database whether it can be used.
async fn require_usable_encryption_keys<P: Ports>(context: &Context<P>, request: &Request) -> Result<()> {
    if matches!(request.path.as_str(), "/healthz" | "/openapi.json") || request.path.starts_with("/accent/") {
        return Ok(());
    }
    match context.check_key_ring().await {
        Err(error) if error.code == ErrorCode::DatabaseUnavailable && request.path.ends_with("/resolve") => Ok(()),
        Err(_) if request.path == "/v1/status" => Ok(()),
        checked => checked,
    }
}

async fn dispatch_request<P: Ports>(context: &Context<P>, call: &mut Call<'_>, found: &RouteMatch) -> Result<Response> {
    let request = call.request;
    let route = match found {
        RouteMatch::Matched { route: line, path_params: params } => {
            call.path_params.clone_from(params);
            *line
        }
        RouteMatch::WrongMethod { allowed_methods: allow, .. } => {
            return Err(Error::new(ErrorCode::MethodNotAllowed, "This address does not know that method.")
                .with_hints(|h| h.allow.clone_from(allow)));
        }
        RouteMatch::NoMatch => {
            if wants_page(request, found) {
                call.session = browser_session::load_user_session(context, request).await?;
            }
            return Err(Error::not_found("address here"));
        }
    };
    limits::refuse_blocked(context, route, call)?;
    match run_route(context, route, call).await {
        Ok(response) => Ok(response),
        Err(error) => Err(limits::count_failed_authentication(context, route, call, error).await),
    }
}

async fn run_route<P: Ports>(
    context: &Context<P>,
    route: &routes::RouteEntry,
    call: &mut Call<'_>,
) -> Result<Response> {
    if route.is_page_of_person()
        && let Some(session) = browser_session::recall_user_session(context, call.request)
        // In memory of its own, as everything that few requests need.
        && let Some(answered) = Box::pin(run_with_recalled_session(context, route, call, session)).await
    {
        return answered;
    }
    if let Err(error) = authenticate_call(context, route.auth, call).await {
        if matches!(route.auth, RequiredAuth::User(_)) && error.code == ErrorCode::Unauthorized {
            // In memory of its own: few requests come without a session.
            let form = (!route.method.is_safe()).then(|| kept_fields::of_form(route.handler));
            let name = format!("{} {}", route.method.as_str(), route.path);
            return Box::pin(provider_sign_in::respond_signed_out(context, call, &name, form, error)).await;
        }
        let form = kept_fields::of_form(route.handler);
        if error.code == ErrorCode::FormRejected
            && let Some(response) = provider_sign_in::respond_earlier_form(context, call, route.path, form, &error)
        {
            return Ok(response);
        }
        return Err(error);
    }
    run_authenticated(context, route, call).await
}

/// Shows a page to a person whose session this isolate knows: one round trip asks whether it is still so, and for what the
/// page shows. None: it is not, so nothing of the page may be shown, and nothing was written.
async fn run_with_recalled_session<P: Ports>(
    context: &Context<P>,
    route: &routes::RouteEntry,
    call: &mut Call<'_>,
    session: Session,
) -> Option<Result<Response>> {
    context.assume_session(&session);
    call.session = Some(session);
    let answered = run_authenticated(context, route, call).await;
    let proven = context.prove_session().await;
    if !matches!(proven, Ok(true)) {
        call.session = None;
        call.subject = LoadedResource::None;
    }
    match proven {
        Ok(true) => Some(answered),
        Ok(false) => None,
        Err(error) => Some(Err(error)),
    }
}

async fn run_authenticated<P: Ports>(
    context: &Context<P>,
    route: &routes::RouteEntry,
    call: &mut Call<'_>,
) -> Result<Response> {
    if let Some((whose, without)) = call.kept_of
        && call.session.as_ref().and_then(kept_forms::whose).as_ref() != Some(whose)
    {
        call.request = without;
    }
    call.subject = authorize_call(context, route, call).await?;
    etags::refuse_unknown_condition(route, call.request)?;
    // A resolve authenticates in its own round trip, and refuses such a body itself.
    if matches!(call.request.body, Body::TooLarge) && !matches!(route.auth, RequiredAuth::KeyInHandler(_)) {
        return Err(body_too_large_error(context, route, call).await);
    }
    limits::count_costly_call(context, route, call).await?;
    if idempotency::is_asked_for(route, call) {
        // In memory of its own: few requests can be repeated.
        return Box::pin(idempotency::handle_once(context, route, call)).await;
    }
    if idempotency::is_form_sent_once(route, call) {
        return Box::pin(idempotency::handle_form_once(context, route, call)).await;
    }
    let response = routes::dispatch(context, route.handler, call).await?;
    Ok(etags::answer_if_changed(call.request, response))
}

/// Decides what a key or a person may do, from the route's declaration. Operators may use their routes, a link and a
/// flow belong to the browser with their secret or session, and a resolve is authorised in its own round trip.
async fn authorize_call<P: Ports>(context: &Context<P>, route: &RouteEntry, call: &Call<'_>) -> Result<LoadedResource> {
    let caller = match (route.auth, &call.caller_key, &call.session) {
        (RequiredAuth::Key(_), Some(key), _) => Caller::Key(key),
        (RequiredAuth::User(needs), _, Some(session)) => Caller::User(session, needs),
        (RequiredAuth::Key(_), None, _) => return Err(unauthorized()),
        (RequiredAuth::User(_), _, None) => return Err(browser_session::not_signed_in_error()),
        (
            RequiredAuth::Public
            | RequiredAuth::Operator
            | RequiredAuth::KeyInHandler(_)
            | RequiredAuth::Browser
            | RequiredAuth::App
            | RequiredAuth::Holder,
            ..,
        ) => {
            return Ok(LoadedResource::None);
        }
    };
    let named = call.path_params.first().map(String::as_str);
    authorize::authorize(context, &caller, route.action, route.resource, named).await
}

async fn authenticate_call<P: Ports>(context: &Context<P>, auth: RequiredAuth, call: &mut Call<'_>) -> Result<()> {
    match auth {
        RequiredAuth::Public | RequiredAuth::KeyInHandler(_) | RequiredAuth::Holder => Ok(()),
        RequiredAuth::App => limits::count_app_event(context, call.request).await,
        RequiredAuth::Operator => match call.request.bearer_token() {
            Some(text) if context.config.is_admin_key(text) => Ok(()),
            _ => Err(Error::new(
                ErrorCode::Unauthorized,
                "Send the operator's key as `Authorization: Bearer …` (the secret ADMIN_KEY).",
            )),
        },
        RequiredAuth::Key(scope) => {
            let key = authenticate_key(context, call).await?;
            scope.map_or(Ok(()), |scope| authorize::require_scope(&key, scope))?;
            call.caller_key = Some(key);
            Ok(())
        }
        RequiredAuth::Browser => {
            browser_session::require_same_origin(context, call.request)?;
            call.session = browser_session::load_user_session(context, call.request).await?;
            Ok(())
        }
        RequiredAuth::User(_) => {
            call.session = Some(
                browser_session::load_user_session(context, call.request)
                    .await?
                    .ok_or_else(browser_session::not_signed_in_error)?,
            );
            browser_session::require_csrf_token(context, call.request)
        }
    }
}

async fn authenticate_key<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<ApiKey> {
    api_keys::authenticate_key(context, call.presented_key()?).await
}

fn error_response(request: &Request, found: &RouteMatch, error: &Error, shell: &page::PageContext) -> Response {
    if wants_page(request, found) {
        problem::page_response(error, shell, request)
    } else {
        problem::json_response(error)
    }
}

/// The refusal of a body that is too large: 404 if the resource in the path does not exist. Connections, keys and links
/// are known by now; apps and workspaces are read only by their handlers.
async fn body_too_large_error<P: Ports>(context: &Context<P>, route: &routes::RouteEntry, call: &Call<'_>) -> Error {
    let found = match (route.auth, route.resource, call.path_params.is_empty()) {
        (RequiredAuth::Key(_), Resource::App | Resource::Client, false) => {
            apps::load_registered_app(context, call).await.map(drop)
        }
        (RequiredAuth::Operator, Resource::Workspace, false) => operator::require_workspace(context, call).await,
        _ => Ok(()),
    };
    found.err().unwrap_or_else(input::body_too_large)
}

/// Whether a path is one of our pages for signed-in people.
fn is_page_for_users(path: &str) -> bool {
    match routes::match_route(Method::Get, path) {
        RouteMatch::Matched { route: line, .. } => matches!(line.auth, RequiredAuth::User(_)),
        RouteMatch::WrongMethod { .. } | RouteMatch::NoMatch => false,
    }
}

/// The page of a form whose address has no page above it that would show the form.
fn page_with_form(request: &Request) -> Option<&'static str> {
    match routes::match_route(request.method, &request.path) {
        RouteMatch::Matched { route, .. } => kept_fields::page_elsewhere(route.handler),
        _ => None,
    }
}

/// Whether a path is a page of a connect link, which needs nobody to be signed in.
fn is_page_of_link(path: &str) -> bool {
    let of_links = [routes::Handler::ShowConnectLinkPage, routes::Handler::ShowRetryPage];
    match routes::match_route(Method::Get, path) {
        RouteMatch::Matched { route: line, .. } => of_links.contains(&line.handler),
        RouteMatch::WrongMethod { .. } | RouteMatch::NoMatch => false,
    }
}

/// Whether the caller is a browser and not a program.
fn wants_page(request: &Request, found: &RouteMatch) -> bool {
    match found {
        RouteMatch::Matched { route: line, .. } => line.is_page(),
        RouteMatch::WrongMethod { is_page: page, .. } => *page,
        RouteMatch::NoMatch => {
            !request.path.starts_with("/v1/")
                && request.header("accept").is_some_and(|accept| accept.contains("text/html"))
        }
    }
}

/// The headers of every answer. `form-action` lists the destinations of a form's POST: pages that lead to an app permit
/// https, because Chromium applies it to every redirect after the POST.
fn finish_response(mut response: Response, request: &Request, config: Option<&Config>) -> Response {
    let leads_out = take_marker(&mut response, LEADS_TO_APP_MARKER);
    // A window keeps its opener only through answers that allow it.
    let opener_policy = if take_marker(&mut response, IN_POPUP_MARKER) { "unsafe-none" } else { "same-origin" };
    let logos = take_marker_value(&mut response, LOGO_ORIGIN_MARKER).map(|origin| format!(" {origin}"));
    let logos = logos.unwrap_or_default();
    let loopback = config.is_some_and(|config| matches!(config.egress, EgressPolicy::DevLoopback));
    let form_action = match (leads_out, loopback) {
        (false, _) => "'self'",
        (true, false) => "'self' https:",
        (true, true) => "'self' https: http://localhost:* http://127.0.0.1:*",
    };
    // Static files only: nothing that this program answers can be run as a script.
    let scripts = config.map(|config| format!("script-src {}; ", config.public_url.at("/assets/"))).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; {scripts}style-src 'self'; img-src 'self'{logos}; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = [
        ("cache-control", "no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        (REQUEST_ID, request.id.clone()),
        ("content-security-policy", policy),
        ("referrer-policy", "same-origin".to_owned()),
        ("cross-origin-opener-policy", opener_policy.to_owned()),
        ("x-frame-options", "DENY".to_owned()),
    ];
    for (name, value) in headers {
        if response.header(name).is_none() {
            response.headers.push((name.into(), value));
        }
    }
    if config.is_none_or(|config| config.public_url.is_secure()) {
        response.headers.push(("strict-transport-security".into(), "max-age=31536000; includeSubDomains".into()));
    }
    if request.method == Method::Head {
        response.body.clear();
    }
    response
}

/// Marks a page whose form leads to an app. Never sent.
const LEADS_TO_APP_MARKER: &str = "x-leads-out";
/// Marks an answer in a window that the embedding product has opened for a link. Never sent.
const IN_POPUP_MARKER: &str = "x-in-popup";
/// The origin of a page's logo. Never sent.
const LOGO_ORIGIN_MARKER: &str = "x-logo-origin";

fn take_marker_value(response: &mut Response, marker: &str) -> Option<String> {
    let at = response.headers.iter().position(|(name, _)| name == marker)?;
    Some(response.headers.remove(at).1)
}

fn take_marker(response: &mut Response, marker: &str) -> bool {
    let count = response.headers.len();
    response.headers.retain(|(name, _)| name != marker);
    response.headers.len() < count
}

#[cfg(test)]
mod tests {
    use super::{Response, path_and_query};

    #[test]
    fn path_and_query_are_those_that_were_sent_whatever_the_host_holds() {
        for (url, path, query) in [
            ("https://a.example/v1/apps?x=/y?z", "/v1/apps", "x=/y?z"),
            ("https://a.example//b/../c", "//b/../c", ""),
            ("https://a.example", "/", ""),
            ("https://a.example?x=/v1/keys", "/", "x=/v1/keys"),
            ("http://a?b=/v1/keys/healthz", "/", "b=/v1/keys/healthz"),
            ("http://a#b/healthz?c", "/", ""),
            ("http://a.example/healthz?#c?d", "/healthz", ""),
            ("http://a.example*", "/", ""),
        ] {
            assert_eq!(path_and_query(url), (path, query), "{url}");
        }
    }

    #[test]
    fn a_header_with_a_line_break_becomes_no_second_header() {
        let response = |value: &str| {
            Response::new(200, "text/plain", String::new())
                .with_header("set-cookie", "a=b:c".into())
                .with_header("set-cookie", value.into())
        };
        let lines = response("").header_lines();
        assert_eq!(lines.as_deref(), Some("content-type:text/plain\nset-cookie:a=b:c\nset-cookie:"));
        assert_eq!(response("x\nlocation:https://evil.example").header_lines(), None);
    }

    #[test]
    fn debug_output_of_a_response_shows_no_body_and_no_cookie() {
        let shown = format!(
            "{:?}",
            Response::new(200, "text/plain", "hunter2".into()).with_header("set-cookie", "hunter2".into())
        );
        assert_eq!(shown, "Response(200, [\"content-type\", \"set-cookie\"], 7 bytes)");
    }
}
