//! What the frame of a page shows of this browser: who is signed in, and what has just happened.

use super::page::{Notice, NoticeCode, PageContext, SignedInPerson};
use super::{Request, browser_session, kept_forms, notices};
use crate::context::Context;
use crate::emails;
use crate::ports::Ports;
use crate::store::sessions::Session;
use crate::workspace::Role;

/// The frame of a page for this browser: for the signed-in person, or for nobody.
pub(super) fn page_context<P: Ports>(
    context: &Context<P>,
    request: &Request,
    session: Option<&Session>,
) -> PageContext {
    match session.and_then(|session| Some((session, session.user()?))) {
        None => guest_page_context(context),
        Some((session, user)) => PageContext {
            person: Some(SignedInPerson {
                name: user.display_name().to_owned(),
                is_admin: session.role == Role::Admin,
            }),
            csrf: browser_session::csrf_token(context, request),
            whose: kept_forms::whose(session),
            notice: if kept_forms::is_restored(request) {
                Some(Notice { code: NoticeCode::FormRestored, about: String::new() })
            } else {
                notices::read_notice(context, request)
            },
            ..guest_page_context(context)
        },
    }
}

/// The frame of a page that is the same for everybody.
pub(super) fn guest_page_context<P: Ports>(context: &Context<P>) -> PageContext {
    PageContext { has_email: emails::is_available(context), ..PageContext::signed_out(context.now()) }
}
