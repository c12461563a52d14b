//! A browser's sessions: cookies, and the proof that a form is our own.
//!
//! Owns the cookies: one of a signed-in person, and one per link, which opens nothing else; one with a notice for the
//! next page; one with the page that was asked for without a session, and one with a form that was. A state-changing request must come from our own origin (`Sec-Fetch-Site`, otherwise `Origin`) and, with a session, contain the token of its
//! page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Body, Request, input};
use crate::caller::{constant_time_eq, hash_secret};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::identity::SIGN_IN_TTL;
use crate::ids::LinkId;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::sessions::{self, OpenedSession};
use crate::store::sessions::{Session, SessionKind};
use crate::workspace::User;

/// Most links of one browser whose flows are found.
const MAX_LINK_SESSIONS: usize = 10;

const USER_COOKIE: &str = "cx_session";
/// The beginning of the name of each link's cookie: links in parallel tabs keep theirs.
const LINK_COOKIE_PREFIX: &str = "cx_link_";

/// What is kept of a sign-in at an identity provider.
const PENDING_SIGN_IN_COOKIE: &str = "cx_sign_in";

/// What has just happened, for the next page.
const NOTICE_COOKIE: &str = "cx_notice";

/// A form that was sent after its session had ended, sealed.
const KEPT_FORM_COOKIE: &str = "cx_form";

/// The page that was asked for without a session.
const RETURN_TO_COOKIE: &str = "cx_return";

/// Nobody is signed in.
pub(super) fn not_signed_in_error() -> Error {
    Error::new(ErrorCode::Unauthorized, "You are not signed in. Ask an admin of the workspace for a sign-in link.")
}

/// `__Host-` binds a cookie to this host over TLS. Without TLS (development) browsers refuse it.
fn cookie_name<P: Ports>(context: &Context<P>, base: &str) -> String {
    if context.config.public_url.is_secure() { format!("__Host-{base}") } else { base.to_owned() }
}

fn link_cookie_name(id: &LinkId) -> String {
    hash_secret(id.as_str()).chars().take(12).fold(LINK_COOKIE_PREFIX.to_owned(), |mut name, letter| {
        name.push(letter);
        name
    })
}

/// The cookies a browser sent: names and values.
fn parse_cookies(request: &Request) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    request.header("cookie").unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='))
}

fn read_cookie<P: Ports>(context: &Context<P>, request: &Request, base: &str) -> Option<Secret> {
    let name = cookie_name(context, base);
    parse_cookies(request).find(|(known, _)| *known == name).map(|(_, value)| Secret::new(value))
}

/// SameSite=Lax: the redirect back from an app is a top-level GET from another site and must have it.
fn set_cookie_header<P: Ports>(context: &Context<P>, base: &str, value: &str, seconds: i64) -> String {
    let secure = if context.config.public_url.is_secure() { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", cookie_name(context, base))
}

/// The signed-in person's session.
pub(super) async fn load_user_session<P: Ports>(context: &Context<P>, request: &Request) -> Result<Option<Session>> {
    let session = load_session_of_cookie(context, request, USER_COOKIE).await?;
    Ok(session.filter(|session| matches!(session.kind, SessionKind::User(_))))
}

/// The signed-in person's session as this isolate knows it. It may have ended since.
pub(super) fn recall_user_session<P: Ports>(context: &Context<P>, request: &Request) -> Option<Session> {
    sessions::recall_session(context, read_user_token(context, request)?.expose())
}

/// The session of a link.
pub(super) async fn load_link_session<P: Ports>(
    context: &Context<P>,
    request: &Request,
    id: &LinkId,
) -> Result<Option<Session>> {
    let session = load_session_of_cookie(context, request, &link_cookie_name(id)).await?;
    Ok(session.filter(|session| session.kind == SessionKind::Link(id.clone())))
}

async fn load_session_of_cookie<P: Ports>(
    context: &Context<P>,
    request: &Request,
    base: &str,
) -> Result<Option<Session>> {
    match read_cookie(context, request, base) {
        None => Ok(None),
        Some(token) => sessions::find_session(context, token.expose()).await,
    }
}

/// The person of a session.
pub(super) fn require_user(session: &Session) -> Result<&User> {
    session.user().ok_or_else(not_signed_in_error)
}

/// The token of the signed-in person's session, as the browser sends it.
pub(super) fn read_user_token<P: Ports>(context: &Context<P>, request: &Request) -> Option<Secret> {
    read_cookie(context, request, USER_COOKIE)
}

/// The cookie of a person who has just signed in.
pub(super) fn user_cookie<P: Ports>(context: &Context<P>, opened: &OpenedSession) -> String {
    session_cookie(context, USER_COOKIE, opened)
}

/// The cookie that takes a signed-in person's away.
pub(super) fn removed_user_cookie<P: Ports>(context: &Context<P>) -> String {
    set_cookie_header(context, USER_COOKIE, "", 0)
}

/// The cookie of whoever goes to an identity provider: sealed, and of use in this browser alone.
pub(super) fn pending_sign_in_cookie<P: Ports>(context: &Context<P>, pending: &Secret) -> String {
    set_cookie_header(context, PENDING_SIGN_IN_COOKIE, pending.expose(), SIGN_IN_TTL)
}

/// The cookie that takes it away.
pub(super) fn removed_pending_sign_in_cookie<P: Ports>(context: &Context<P>) -> String {
    set_cookie_header(context, PENDING_SIGN_IN_COOKIE, "", 0)
}

/// What this browser has kept of a sign-in.
pub(super) fn read_pending_sign_in<P: Ports>(context: &Context<P>, request: &Request) -> Option<Secret> {
    read_cookie(context, request, PENDING_SIGN_IN_COOKIE)
}

/// The cookie with what has just happened. Empty, with no time left, it takes the earlier one away.
pub(super) fn notice_cookie<P: Ports>(context: &Context<P>, value: &str, seconds: i64) -> String {
    set_cookie_header(context, NOTICE_COOKIE, value, seconds)
}

/// What has just happened, as the browser brings it.
pub(super) fn read_notice_cookie<P: Ports>(context: &Context<P>, request: &Request) -> Option<Secret> {
    read_cookie(context, request, NOTICE_COOKIE)
}

/// The cookie with a form to show again. Empty, with no time left, it takes the earlier one away.
pub(super) fn kept_form_cookie<P: Ports>(context: &Context<P>, sealed: &str, seconds: i64) -> String {
    set_cookie_header(context, KEPT_FORM_COOKIE, sealed, seconds)
}

/// The form that this browser has kept.
pub(super) fn read_kept_form_cookie<P: Ports>(context: &Context<P>, request: &Request) -> Option<Secret> {
    read_cookie(context, request, KEPT_FORM_COOKIE)
}

/// The cookie with the page that a sign-in leads back to. Empty, with no time left, it takes the earlier one away.
pub(super) fn return_to_cookie<P: Ports>(context: &Context<P>, path: &str, seconds: i64) -> String {
    set_cookie_header(context, RETURN_TO_COOKIE, &URL_SAFE_NO_PAD.encode(path), seconds)
}

/// The page that was asked for, as the browser brings it.
pub(super) fn read_return_to_cookie<P: Ports>(context: &Context<P>, request: &Request) -> Option<String> {
    let cookie = read_cookie(context, request, RETURN_TO_COOKIE)?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(cookie.expose()).ok()?).ok()
}

/// The cookie of whoever has just begun to use a link.
pub(super) fn link_cookie<P: Ports>(context: &Context<P>, id: &LinkId, opened: &OpenedSession) -> String {
    session_cookie(context, &link_cookie_name(id), opened)
}

fn session_cookie<P: Ports>(
    context: &Context<P>,
    base: &str,
    OpenedSession { session, token }: &OpenedSession,
) -> String {
    set_cookie_header(context, base, token.expose(), session.expires_at.since(session.created_at))
}

/// The hashes of this browser's sessions that have not ended, for flows bound to them: the signed-in person's, and
/// those of the links it opened last (browsers send the older cookies first).
pub(super) async fn load_session_hashes<P: Ports>(context: &Context<P>, request: &Request) -> Result<Vec<String>> {
    let links = cookie_name(context, LINK_COOKIE_PREFIX);
    let of_links = parse_cookies(request).rev().filter(|(name, _)| name.starts_with(&links)).take(MAX_LINK_SESSIONS);
    let user = read_user_token(context, request);
    let tokens: Vec<_> = of_links.map(|(_, token)| token).chain(user.as_ref().map(Secret::expose)).collect();
    sessions::find_unexpired_hashes(context, &tokens).await
}

/// The token of a session's own forms. It is made of the cookie, so that nobody else can make it.
pub(super) fn csrf_token<P: Ports>(context: &Context<P>, request: &Request) -> Option<String> {
    let value = read_cookie(context, request, USER_COOKIE)?;
    let mut hash = Sha256::new();
    hash.update(b"connections form token");
    hash.update(value.expose().as_bytes());
    Some(URL_SAFE_NO_PAD.encode(hash.finalize()))
}

/// A state-changing request with a session must come from a form of that session.
pub(super) fn require_csrf_token<P: Ports>(context: &Context<P>, request: &Request) -> Result<()> {
    require_same_origin(context, request)?;
    if request.method.is_safe() {
        return Ok(());
    }
    // Its token was not read. Nothing is done with it either.
    if matches!(request.body, Body::TooLarge) {
        return Err(input::body_too_large());
    }
    match (csrf_token(context, request), input::form_field(request, "csrf")) {
        (Some(expected), Some(sent)) if constant_time_eq(&expected, &sent) => Ok(()),
        _ => Err(form_rejected_error("This form has expired. Go back, reload the page, and try again.")),
    }
}

/// A state-changing request must come from our own pages.
pub(super) fn require_same_origin<P: Ports>(context: &Context<P>, request: &Request) -> Result<()> {
    if request.method.is_safe() {
        return Ok(());
    }
    let ours = match (request.header("sec-fetch-site"), request.header("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin == context.config.public_url.origin(),
        (None, None) => false,
    };
    if ours { Ok(()) } else { Err(form_rejected_error("This form was sent from another site, so nothing was done.")) }
}

fn form_rejected_error(detail: &str) -> Error {
    Error::new(ErrorCode::FormRejected, detail)
}
