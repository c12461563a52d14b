//! A notice on its way from the answer to a form to the next page.
//!
//! Owns its cookie: it lasts a minute, ends with the page that shows it, and is bound to the session, so that neither a
//! link nor a reload can show a notice about something that has not happened.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::browser_session::{
    notice_cookie, read_notice_cookie, read_return_to_cookie, read_user_token, return_to_cookie, user_cookie,
};
use super::own_pages::parse_own_page_path;
use super::page::{Notice, NoticeCode};
use super::{Request, Response};
use crate::caller::constant_time_eq;
use crate::context::Context;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::sessions::{self, OpenedSession};

/// Seconds until a notice that no page has shown is gone.
const NOTICE_TTL: i64 = 60;

/// Longest text about what a notice is, in bytes. A longer one is left out.
const MAX_ABOUT: usize = 512;

/// Sends a browser to a page that shows what has happened.
pub(super) fn redirect_with_notice<P: Ports>(
    context: &Context<P>,
    request: &Request,
    location: &str,
    notice: &Notice,
) -> Response {
    let response = Response::see_other(location);
    match read_user_token(context, request) {
        Some(token) => add_notice(context, response, &token, notice),
        None => response,
    }
}

/// The same, for a session that this answer opens.
fn add_notice<P: Ports>(context: &Context<P>, response: Response, token: &Secret, notice: &Notice) -> Response {
    let about = Some(notice.about.as_str()).filter(|about| about.len() <= MAX_ABOUT).unwrap_or_default();
    let text = format!("{}.{}", notice.code.as_str(), URL_SAFE_NO_PAD.encode(about));
    let cookie = notice_cookie(context, &format!("{text}.{}", proof(token, &text)), NOTICE_TTL);
    response.with_header("set-cookie", cookie)
}

/// Sends a browser that has just signed in to the page that the sign-in names, or else to the one that was asked for without
/// a session.
pub(super) fn signed_in_response<P: Ports>(
    context: &Context<P>,
    request: &Request,
    opened: &OpenedSession,
    return_to: Option<&str>,
) -> Response {
    sessions::remember_session(context, &opened.session);
    let asked = read_return_to_cookie(context, request);
    let page = asked.as_deref().and_then(|path| parse_own_page_path(context, path).ok());
    let mut response = Response::see_other(return_to.or(page.as_deref()).unwrap_or("/"))
        .with_header("set-cookie", user_cookie(context, opened));
    if asked.is_some() {
        response = response.with_header("set-cookie", return_to_cookie(context, "", 0));
    }
    let notice = Notice { code: NoticeCode::SignedIn, about: String::new() };
    add_notice(context, response, &opened.token, &notice)
}

/// The notice that this browser brings.
pub(super) fn read_notice<P: Ports>(context: &Context<P>, request: &Request) -> Option<Notice> {
    let (cookie, token) = (read_notice_cookie(context, request)?, read_user_token(context, request)?);
    let (text, sent) = cookie.expose().rsplit_once('.')?;
    if !constant_time_eq(&proof(&token, text), sent) {
        return None;
    }
    let (code, about) = text.split_once('.')?;
    let about = String::from_utf8(URL_SAFE_NO_PAD.decode(about).ok()?).ok()?;
    Some(Notice { code: NoticeCode::parse(code)?, about })
}

/// Takes the cookie away with the page that has shown it.
pub(super) fn end_notice<P: Ports>(context: &Context<P>, request: &Request, response: Response) -> Response {
    let shows = response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
    if !shows || read_notice_cookie(context, request).is_none() {
        return response;
    }
    response.with_header("set-cookie", notice_cookie(context, "", 0))
}

/// Made of the session's cookie, so that nobody else can make it.
fn proof(token: &Secret, text: &str) -> String {
    let mut hash = Sha256::new();
    for part in ["connections notice", token.expose(), text] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(hash.finalize())
}
