//! A form that was sent after its session had ended: what was typed comes back after the sign-in.
//!
//! Owns the cookie that keeps them: sealed, in this browser alone, for half an hour, for one page and one person, and shown once. Which fields
//! are kept, [`super::kept_fields`] says. Refuses a form that another site has sent, and to send a form by itself: a person sees
//! it again, and presses the button.

use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use super::browser_session::{kept_form_cookie, read_kept_form_cookie, require_same_origin};
use super::own_pages::parse_own_page_path;
use super::{Body, Call, Method, Request, Response, input, page_with_form};
use crate::caller::hash_secret;
use crate::context::Context;
use crate::frozen;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::sessions::Session;
use crate::vault::SealContext;

/// Seconds for which a form is kept.
const KEPT_TTL: i64 = 1800;
/// Bytes of a form that is kept, once it is sealed: browsers drop a cookie of more than 4,096 with its name.
const MAX_SEALED: usize = 4000;

/// What the browser keeps, sealed.
#[derive(Serialize, Deserialize)]
struct KeptForm {
    /// The page that shows the form, with its query.
    page: String,
    /// Whose it is.
    whose: String,
    /// The fields as a browser sends them.
    fields: String,
    /// Until when they are shown.
    until: i64,
}

/// What becomes of a form that was sent without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedForm {
    /// Its fields come back after the sign-in.
    Kept,
    /// They are too long for that.
    TooLong,
    /// It has none that may be kept.
    NothingTyped,
}

/// Whose the forms of a session are, as their pages say it: a hash of workspace and person.
pub(super) fn whose(session: &Session) -> Option<String> {
    Some(hash_secret(&format!("the forms of {} {}", session.workspace, session.user()?.id)))
}

/// The page with the form that is sent to this address: at the same one, or above it. Some forms are on another page.
pub(super) fn page_of_form<P: Ports>(context: &Context<P>, request: &Request) -> Option<String> {
    if let Some(page) = page_with_form(request) {
        return Some(page.to_owned());
    }
    let query = if request.query.is_empty() { String::new() } else { format!("?{}", request.query) };
    let mut path = request.path.as_str();
    loop {
        if let Ok(page) = parse_own_page_path(context, &format!("{path}{query}")) {
            return Some(page);
        }
        path = path.rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())?;
    }
}

/// Keeps these fields of a form, as a cookie for the answer. `page` is where the form is.
pub(super) fn keep<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    names: &[&str],
    page: Option<&str>,
) -> (EndedForm, Option<String>) {
    let page = page.filter(|_| require_same_origin(context, call.request).is_ok());
    let (Some(page), Some(whose)) = (page, input::form_field(call.request, "whose")) else {
        return (EndedForm::NothingTyped, None);
    };
    let fields = select_fields(&call.request.body, names);
    if fields.is_empty() {
        return (EndedForm::NothingTyped, None);
    }
    let kept = KeptForm { page: page.to_owned(), whose, fields, until: context.now().plus(KEPT_TTL).unix() };
    let sealed = serde_json::to_string(&kept).ok().and_then(|text| {
        let key_ring = &context.config.key_ring;
        key_ring.seal(context.ports.random(), &SealContext::of(frozen::KEPT_FORM, "", "", 0), &Secret::new(text)).ok()
    });
    // Without it only what was typed is lost. The address of the page may be long, too.
    let Some(sealed) = sealed.filter(|sealed| sealed.len() <= MAX_SEALED) else { return (EndedForm::TooLong, None) };
    (EndedForm::Kept, Some(kept_form_cookie(context, &sealed, KEPT_TTL)))
}

/// Those fields of a form that have one of these names, and a value.
fn select_fields(body: &Body, names: &[&str]) -> String {
    let Body::Bytes(bytes) = body else { return String::new() };
    let mut kept = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(bytes).filter(|(name, value)| {
        let is_named = names.contains(&name.as_ref());
        is_named && !value.is_empty()
    }) {
        kept.append_pair(&name, &value);
    }
    kept.finish()
}

/// The request of a page, with what its browser has kept for it.
pub(super) struct Restored {
    /// It has the kept fields as a body, so that they are read as if they had just been sent.
    pub request: Request,
    /// Whose they are, and the request for everybody else.
    pub of: Option<(String, Request)>,
}

/// The request of a page that shows a form again. A body that a browser sends with the request of a page is dropped.
pub(super) fn restore<P: Ports>(context: &Context<P>, request: &Request) -> Option<Restored> {
    if request.method != Method::Get {
        return None;
    }
    let has_body = !matches!(&request.body, Body::Bytes(bytes) if bytes.is_empty());
    let with_body = |bytes| Request { body: Body::Bytes(bytes), ..request.clone() };
    match read_kept(context, request) {
        Some(kept) => {
            Some(Restored { request: with_body(kept.fields.into_bytes()), of: Some((kept.whose, with_body(vec![]))) })
        }
        None => has_body.then(|| Restored { request: with_body(vec![]), of: None }),
    }
}

fn read_kept<P: Ports>(context: &Context<P>, request: &Request) -> Option<KeptForm> {
    let sealed = read_kept_form_cookie(context, request).filter(|_| !request.is_speculative())?;
    let place = SealContext::of(frozen::KEPT_FORM, "", "", 0);
    let text = context.config.key_ring.open(&place, sealed.expose()).ok()?;
    let kept: KeptForm = serde_json::from_str(text.expose()).ok()?;
    let (path, query) = kept.page.split_once('?').unwrap_or((&kept.page, ""));
    let is_this_page = path == request.path && query == request.query;
    (is_this_page && context.now().unix() < kept.until).then_some(kept)
}

/// Whether a request is that of a page which shows a form again.
pub(super) fn is_restored(request: &Request) -> bool {
    request.method == Method::Get && matches!(&request.body, Body::Bytes(bytes) if !bytes.is_empty())
}

/// Takes the cookie away with the page that has shown the form to somebody who is signed in. One that has failed has not.
pub(super) fn end_kept<P: Ports>(
    context: &Context<P>,
    request: &Request,
    session: Option<&Session>,
    response: Response,
) -> Response {
    if is_restored(request) && session.is_some() && response.status == 200 {
        return response.with_header("set-cookie", kept_form_cookie(context, "", 0));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_named_are_left_out() {
        let body = b"csrf=x&name=a%26b&scope=1&scope=2&client_secret=hunter2&input.key=hunter2&days=";
        assert_eq!(
            select_fields(&Body::Bytes(body.to_vec()), &["name", "scope", "days"]),
            "name=a%26b&scope=1&scope=2"
        );
    }
}
