//! HTTP: request → use case → response, over plain structs that any platform can fill.
//!
//! Owns authentication, the step that authorises every request before its handler, the order of refusals
//! (401, 403, 404, 422, then the rest), headers, and the shape of JSON and pages. Refuses SQL and
//! platform types.

mod access_log;
mod apps;
mod ask;
mod body;
mod connections;
mod entered;
mod flows;
mod input;
mod keys;
mod known;
mod limits;
mod links;
mod oauth;
mod openapi;
mod operator;
pub mod page;
mod people;
mod problem;
pub mod routes;
mod session;
mod sessions;
mod setup;
mod sign_in;
mod view;

use crate::app::AppId;
use crate::authorize::{self, Caller, Resource, Subject};
use crate::caller::{Key, PresentedKey};
use crate::config::Config;
use crate::core::Core;
use crate::egress::Egress;
use crate::error::{Code, Error, Result};
use crate::maintenance;
use crate::ports::Ports;
use crate::resolve::{After, unauthorized};
use crate::store;
use crate::store::connections::Listed;
use crate::store::links::Link;
use crate::store::sessions::Session;

use routes::{Auth, Found, Line};
#[cfg(test)]
pub(crate) use view::ReconnectReason;

/// The largest body a request may have, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;

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

/// A request's body as far as it was read.
#[derive(Clone)]
pub enum Body {
    /// The whole body.
    Bytes(Vec<u8>),
    /// It is over [`BODY_LIMIT`]; reading stopped.
    TooLarge,
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
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// An id for answers and the log.
    pub id: String,
}

impl Request {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether nobody has asked for the page yet: a HEAD, or a browser that loads a page ahead of need. Such a request
    /// must not use anything up.
    fn is_speculative(&self) -> bool {
        let prefetch = |name: &str| {
            let value = self.header(name).unwrap_or_default();
            value.split([';', ',']).any(|part| matches!(part.trim(), "prefetch" | "prerender" | "preview"))
        };
        self.method == Method::Head || ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().any(prefetch)
    }

    fn bearer(&self) -> Option<&str> {
        let value = self.header("authorization")?;
        let (scheme, rest) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| rest.trim())
    }
}

/// A response, and what is to be done after it was sent.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// To be done afterwards.
    pub after: Vec<After>,
}

/// A body may hold a credential, a header a cookie: neither is shown.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        write!(f, "Response({}, {names:?}, {} bytes)", self.status, self.body.len())
    }
}

impl Response {
    fn new(status: u16, content_type: &str, body: String) -> Self {
        Self { status, headers: vec![("content-type".into(), content_type.into())], body, after: vec![] }
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

    fn with(mut self, name: &str, value: String) -> Self {
        self.headers.push((name.into(), value));
        self
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request on its way to its handler: who calls is known, and that they may.
pub(crate) struct Call<'a> {
    request: &'a Request,
    /// The key that it sends, well-formed and not yet checked. Read once: that takes two hashes.
    presented: Option<PresentedKey>,
    params: Vec<String>,
    key: Option<Key>,
    session: Option<Session>,
    subject: Subject,
}

impl Call<'_> {
    fn param(&self, index: usize) -> &str {
        self.params.get(index).map_or("", String::as_str)
    }

    fn presented(&self) -> Result<&PresentedKey> {
        self.presented.as_ref().ok_or_else(unauthorized)
    }

    fn key(&self) -> Result<&Key> {
        self.key.as_ref().ok_or_else(unauthorized)
    }

    /// Who acts, as the audit trail has it.
    fn key_actor(&self) -> Result<String> {
        Ok(format!("key:{}", self.key()?.id.as_str()))
    }

    /// The same for a signed-in person.
    fn user_actor(&self) -> Result<String> {
        Ok(format!("user:{}", session::user_of(self.session()?)?.id))
    }

    fn session(&self) -> Result<&Session> {
        self.session.as_ref().ok_or_else(session::needed)
    }

    /// The connection that the path names.
    fn connection(&self) -> Result<&Listed> {
        match &self.subject {
            Subject::Connection(listed) => Ok(listed),
            _ => Err(undeclared()),
        }
    }

    /// The app that the path names. It may be that there is none.
    fn app(&self) -> Result<&AppId> {
        match &self.subject {
            Subject::App(id) => Ok(id),
            _ => Err(undeclared()),
        }
    }

    /// The link that the path names.
    fn link(&self) -> Result<&Link> {
        match &self.subject {
            Subject::Link(link) => Ok(link),
            _ => Err(undeclared()),
        }
    }

    /// The key that the path names.
    fn named_key(&self) -> Result<&Key> {
        match &self.subject {
            Subject::Key(key) => Ok(key),
            _ => Err(undeclared()),
        }
    }
}

/// A handler wants what its route does not declare.
fn undeclared() -> Error {
    Error::internal("a route does not declare what its handler works with")
}

/// Answers a request.
pub async fn handle<P: Ports>(core: &Core<P>, request: &Request) -> Response {
    let found = routes::find(request.method, &request.path);
    let presented = request.bearer().and_then(PresentedKey::parse);
    let mut call = Call { request, presented, params: vec![], key: None, session: None, subject: Subject::None };
    let answered = match gate(core, request).await {
        Ok(()) => answer(core, &mut call, &found).await,
        Err(error) => Err(error),
    };
    let mut response = answered.unwrap_or_else(|error| {
        core.log_cause(&error);
        access_log::refused(core, &call, &found, &error);
        let csrf = session::form_token(core, request);
        refusal(request, &found, &error, &session::shell(call.session.as_ref(), csrf.as_deref()))
    });
    limits::count_call(&found, call.presented, &mut response);
    finished(response, request, Some(&core.config))
}

/// Answers a request when the configuration can't be used: every route but the health check says so.
pub fn misconfigured(request: &Request, error: &Error) -> Response {
    let found = routes::find(request.method, &request.path);
    let response = if request.path == "/healthz" {
        operator::unhealthy().into_response().unwrap_or_else(|error| problem::json(&error))
    } else {
        refusal(request, &found, error, &page::Shell::default())
    };
    finished(response, request, None)
}

/// Answers a request while the operator changes the database. Nothing is read or written: the database may have any form.
pub fn under_maintenance(request: &Request) -> Response {
    let found = routes::find(request.method, &request.path);
    let response = if request.path == "/healthz" {
        operator::under_maintenance().into_response().unwrap_or_else(|error| problem::json(&error))
    } else {
        refusal(request, &found, &maintenance::error(), &page::Shell::default())
    };
    finished(response.with("retry-after", maintenance::RETRY_AFTER.to_string()), request, None)
}

/// A resolve may go on while the database is out of reach: it can only read the cache, whose entries
/// open with the right ring or not at all.
async fn gate<P: Ports>(core: &Core<P>, request: &Request) -> Result<()> {
    if matches!(request.path.as_str(), "/healthz" | "/style.css" | "/openapi.json") {
        return Ok(());
    }
    match core.check_ring().await {
        Err(error) if error.code == Code::DatabaseUnavailable && request.path.ends_with("/resolve") => Ok(()),
        checked => checked,
    }
}

async fn answer<P: Ports>(core: &Core<P>, call: &mut Call<'_>, found: &Found) -> Result<Response> {
    let request = call.request;
    let route = match found {
        Found::Route { line, params } => {
            call.params.clone_from(params);
            *line
        }
        Found::OtherMethod { allow, .. } => {
            return Err(Error::new(Code::MethodNotAllowed, "This address does not know that method.")
                .hint(|h| h.allow.clone_from(allow)));
        }
        Found::Nothing => {
            if wants_page(request, found) {
                call.session = session::person(core, request).await?;
            }
            return Err(Error::not_found("address here"));
        }
    };
    limits::refuse_blocked(core, route, call)?;
    match routed(core, route, call).await {
        Ok(response) => Ok(response),
        Err(error) => Err(limits::count_failure(core, route, call, error).await),
    }
}

async fn routed<P: Ports>(core: &Core<P>, route: &routes::Line, call: &mut Call<'_>) -> Result<Response> {
    authenticate(core, route.auth, call).await?;
    call.subject = authorize(core, route, call).await?;
    // A resolve authenticates in its own round trip, and refuses such a body itself.
    if matches!(call.request.body, Body::TooLarge) && route.auth != Auth::Itself {
        return Err(too_large(core, route, call).await);
    }
    limits::count_costly(core, route, call).await?;
    routes::dispatch(core, route.handler, call).await
}

/// What a key or a person may do is decided here, by what the route declares. Operators may do what their routes do, a link
/// and a flow belong to whoever has their secret or began them, and a resolve asks in its own round trip.
async fn authorize<P: Ports>(core: &Core<P>, route: &Line, call: &Call<'_>) -> Result<Subject> {
    let caller = match (route.auth, &call.key, &call.session) {
        (Auth::Key(_), Some(key), _) => Caller::Key(key),
        (Auth::Person(needs), _, Some(session)) => Caller::Person(session, needs),
        (Auth::Key(_), None, _) => return Err(unauthorized()),
        (Auth::Person(_), _, None) => return Err(session::needed()),
        (Auth::Nobody | Auth::Operator | Auth::Itself | Auth::Browser, ..) => return Ok(Subject::None),
    };
    let named = call.params.first().map(String::as_str);
    authorize::authorize(core, &caller, (route.action, route.resource), named).await
}

async fn authenticate<P: Ports>(core: &Core<P>, auth: Auth, call: &mut Call<'_>) -> Result<()> {
    match auth {
        Auth::Nobody | Auth::Itself => Ok(()),
        Auth::Operator => match call.request.bearer() {
            Some(text) if core.config.is_admin_key(text) => Ok(()),
            _ => Err(Error::new(
                Code::Unauthorized,
                "Send the operator's key as `Authorization: Bearer …` (the secret ADMIN_KEY).",
            )),
        },
        Auth::Key(scope) => {
            let key = key_of(core, call).await?;
            scope.map_or(Ok(()), |scope| key.require(scope))?;
            call.key = Some(key);
            Ok(())
        }
        Auth::Browser => {
            session::require_same_origin(core, call.request)?;
            call.session = session::person(core, call.request).await?;
            Ok(())
        }
        Auth::Person(_) => {
            call.session = Some(session::person(core, call.request).await?.ok_or_else(session::needed)?);
            session::require_own_form(core, call.request)
        }
    }
}

async fn key_of<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Key> {
    let presented = call.presented()?;
    let key = store::keys::get(core.db(), &presented.id).await?;
    key.filter(|key| presented.is(key, core.now())).ok_or_else(unauthorized)
}

fn refusal(request: &Request, found: &Found, error: &Error, shell: &page::Shell<'_>) -> Response {
    if wants_page(request, found) { problem::page(error, shell) } else { problem::json(error) }
}

/// The refusal of a body that is too large: 404 where what the path names does not exist. Connections, keys and links are
/// known by now; apps and workspaces are looked up by their handlers only.
async fn too_large<P: Ports>(core: &Core<P>, route: &routes::Line, call: &Call<'_>) -> Error {
    let found = match (route.auth, route.resource, call.params.is_empty()) {
        (Auth::Key(_), Resource::App | Resource::Client, false) => apps::registered(core, call).await.map(drop),
        (Auth::Operator, Resource::Workspace, false) => operator::find_workspace(core, call).await,
        _ => Ok(()),
    };
    found.err().unwrap_or_else(input::too_large)
}

/// Whether a browser is answered, and not a program.
fn wants_page(request: &Request, found: &Found) -> bool {
    match found {
        Found::Route { line, .. } => line.is_page(),
        Found::OtherMethod { page, .. } => *page,
        Found::Nothing => {
            !request.path.starts_with("/v1/")
                && request.header("accept").is_some_and(|accept| accept.contains("text/html"))
        }
    }
}

/// Headers every answer has. `form-action` names what may follow a form's POST: pages that lead to an
/// app allow https, because Chromium applies it to every redirect after the POST.
fn finished(mut response: Response, request: &Request, config: Option<&Config>) -> Response {
    let leads_out = response.headers.iter().any(|(name, _)| name == LEADS_OUT);
    response.headers.retain(|(name, _)| name != LEADS_OUT);
    let loopback = config.is_some_and(|config| matches!(config.egress, Egress::DevLoopback));
    let form_action = match (leads_out, loopback) {
        (false, _) => "'self'",
        (true, false) => "'self' https:",
        (true, true) => "'self' https: http://localhost:* http://127.0.0.1:*",
    };
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    let headers = [
        ("cache-control", "no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-request-id", request.id.clone()),
        ("content-security-policy", policy),
        ("referrer-policy", "same-origin".to_owned()),
        ("cross-origin-opener-policy", "same-origin".to_owned()),
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

/// Marks a page whose form leads to an app; never sent.
const LEADS_OUT: &str = "x-leads-out";

#[cfg(test)]
mod tests {
    use super::Response;

    #[test]
    fn a_response_in_debug_output_shows_no_body_and_no_cookie() {
        let shown =
            format!("{:?}", Response::new(200, "text/plain", "hunter2".into()).with("set-cookie", "hunter2".into()));
        assert_eq!(shown, "Response(200, [\"content-type\", \"set-cookie\"], 7 bytes)");
    }
}
