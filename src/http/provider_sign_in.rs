//! A person signs in at the identity provider of their workspace, or comes through Cloudflare Access.
//!
//! Owns these pages, and what a person without a session gets who opens a page: a way in that leads back to it. It is the
//! same whatever the page names, so it tells nobody whether that exists. A sign-in begins with a button that names the
//! workspace, and whoever is signed in already is asked first (login CSRF).

use url::form_urlencoded;

use super::browser_session;
use super::notices::signed_in_response;
use super::own_pages::parse_own_page_path;
use super::page::{self, SignInChoice, SignInRequiredView, Tone};
use super::page_frame::{guest_page_context, page_context};
use super::{Call, LEADS_TO_APP_MARKER, Response, access_log, input, kept_forms, oauth, problem};
use crate::access;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::identity::{self, SignInError, SignInFailure, SignInResponse, SignedIn};
use crate::ids::{ClientId, Shard, WorkspaceId};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::sessions;
use crate::store::sessions::Session;

/// The header with the token of Cloudflare Access.
const ACCESS_HEADER: &str = "cf-access-jwt-assertion";

/// The session of the browser, wherever it is: the page may be of a workspace in another shard.
pub(super) async fn load_session<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Option<Session>> {
    if let Some(session) = &call.session {
        return Ok(Some(session.clone()));
    }
    let Some(token) = browser_session::read_user_token(context, call.request) else { return Ok(None) };
    let found = sessions::find_session_elsewhere(context, token.expose()).await?;
    Ok(found.map(|(_, session)| session).filter(|session| session.user().is_some()))
}

fn read_return_to<P: Ports>(context: &Context<P>, text: Option<String>) -> Result<Option<String>> {
    text.filter(|text| !text.is_empty()).map(|text| parse_own_page_path(context, &text)).transpose()
}

/// The page with the button.
pub(super) async fn show_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    workspace: &WorkspaceId,
) -> Result<Response> {
    let return_to = read_return_to(context, input::query_param(call.request, "return_to"))?;
    let session = load_session(context, call).await?;
    page_response(context, call, workspace, return_to, session.as_ref()).await
}

async fn page_response<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    workspace: &WorkspaceId,
    return_to: Option<String>,
    session: Option<&Session>,
) -> Result<Response> {
    let (workspace, provider) = identity::load_sign_in(context, workspace).await?;
    let view = page::ProviderSignInView {
        workspace: workspace.name,
        provider: provider.issuer,
        action: format!("/sign-in/{}", workspace.id),
        return_to,
        replaces: session
            .and_then(|session| Some((session.id().to_string(), session.user()?.display_name().to_owned()))),
    };
    let markup = page::provider_sign_in(&page_context(context, call.request, session), &view);
    Ok(Response::html(200, markup).with_header(LEADS_TO_APP_MARKER, String::new()))
}

/// The button.
pub(super) async fn submit<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    workspace: &WorkspaceId,
) -> Result<Response> {
    let return_to = read_return_to(context, input::form_field(call.request, "return_to"))?;
    let session = load_session(context, call).await?;
    let agreed = input::form_field(call.request, "replace");
    if session.as_ref().is_some_and(|session| agreed.as_deref() != Some(session.id().as_str())) {
        return page_response(context, call, workspace, return_to, session.as_ref()).await;
    }
    let (_, provider) = identity::load_sign_in(context, workspace).await?;
    let begun = identity::begin(context, &provider, return_to, session.map(|session| session.hash))?;
    Ok(Response::see_other(begun.authorize_url.as_str())
        .with_header("set-cookie", browser_session::pending_sign_in_cookie(context, &begun.pending)))
}

/// The way back from the provider.
pub(super) async fn handle_callback<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    // Only the person's own request uses the code.
    if call.request.is_speculative() {
        return Ok(oauth::prefetch_response());
    }
    let Some(id) = ClientId::parse(call.path_param(0)) else {
        return Ok(failure_page(context, SignInFailure::NotPending));
    };
    if ["state", "code", "iss", "error"].iter().any(|name| input::values(call.request, name) > 1) {
        return Ok(failure_page(context, SignInFailure::NotPending));
    }
    let query = |name| input::query_param(call.request, name);
    let response = SignInResponse {
        state: query("state"),
        code: query("code").map(Secret::new),
        error: query("error"),
        iss: query("iss"),
    };
    let pending = browser_session::read_pending_sign_in(context, call.request);
    let before = load_session(context, call).await?.map(|session| session.hash);
    let removed = browser_session::removed_pending_sign_in_cookie(context);
    match identity::finish(context, &id, response, pending.as_ref(), before.as_deref()).await {
        Ok(SignedIn { opened, return_to }) => {
            access_log::write_sign_in(context, call, &opened.session.workspace);
            let token_before = browser_session::read_user_token(context, call.request);
            sessions::end_session_elsewhere(context, token_before.as_ref().map(Secret::expose)).await;
            let response = signed_in_response(context, call.request, &opened, return_to.as_deref());
            Ok(response.with_header("set-cookie", removed))
        }
        Err(SignInError::Refused(failure)) => Ok(failure_page(context, failure).with_header("set-cookie", removed)),
        Err(SignInError::Internal(error)) => Err(error),
    }
}

fn failure_page<P: Ports>(context: &Context<P>, failure: SignInFailure) -> Response {
    let shell = guest_page_context(context);
    let words = &shell.text.sign_in;
    let text = match failure {
        SignInFailure::NotPending => words.failed_not_pending,
        SignInFailure::OtherSession => words.failed_other_session,
        SignInFailure::WrongIssuer => words.failed_wrong_issuer,
        SignInFailure::Denied => words.failed_denied,
        SignInFailure::ProviderFailed => words.failed_provider,
        SignInFailure::NotVerified => words.failed_not_verified,
        SignInFailure::DomainNotAllowed => words.failed_domain,
    };
    let status = if failure == SignInFailure::ProviderFailed { 503 } else { 403 };
    let message = page::Message {
        title: words.failed_title.into(),
        text: text.into(),
        tone: Tone::Bad,
        links: vec![(words.begin_again.into(), "/".into())],
    };
    Response::html(status, page::message(&shell, &message))
}

/// The page of a workspace, which leads to another page in the end.
fn sign_in_path(workspace: &WorkspaceId, return_to: Option<&str>) -> String {
    let query = return_to.map(|page| {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", page).finish();
        format!("?{query}")
    });
    format!("/sign-in/{workspace}{}", query.unwrap_or_default())
}

/// Leads to the page of a workspace that a person has named.
pub(super) async fn choose_workspace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let return_to = read_return_to(context, input::query_param(call.request, "return_to"))?;
    let named = input::query_param(call.request, "workspace");
    let Some(workspace) = named.as_deref().and_then(|named| WorkspaceId::parse(named.trim())) else {
        let status = if named.is_some() { 422 } else { 200 };
        let view =
            SignInRequiredView { choice: SignInChoice::AskForWorkspace { return_to, refused: named }, ended: None };
        return Ok(Response::html(status, page::sign_in_required(&guest_page_context(context), &view)));
    };
    Ok(Response::see_other(&sign_in_path(&workspace, return_to.as_deref())))
}

/// Seconds for which the page is remembered that was asked for.
const RETURN_TO_TTL: i64 = 1800;
/// Bytes of the address of a page that is remembered.
const MAX_REMEMBERED: usize = 1024;

/// The page that a person wants: the one they open, or the one with the form that they have sent.
fn wanted_page<P: Ports>(context: &Context<P>, call: &Call<'_>, is_form: bool) -> Option<String> {
    if is_form {
        return kept_forms::page_of_form(context, call.request);
    }
    let query = Some(call.request.query.as_str()).filter(|query| !query.is_empty());
    let asked = query.map_or_else(|| call.request.path.clone(), |query| format!("{}?{query}", call.request.path));
    parse_own_page_path(context, &asked).ok()
}

/// What whoever opens a page or sends a form without a session gets. A form is not handled: those of its
/// `form` fields are kept that were typed into.
pub(super) async fn respond_signed_out<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    route: &str,
    form: Option<&[&str]>,
    error: Error,
) -> Result<Response> {
    let asked = wanted_page(context, call, form.is_some());
    let (ended, kept) = form
        .map(|fields| kept_forms::keep(context, call, fields, asked.as_deref()))
        .map_or((None, None), |(ended, kept)| (Some(ended), kept));
    let with_kept = |response: Response| match &kept {
        Some(cookie) => response.with_header("set-cookie", cookie.clone()),
        None => response,
    };
    if let Some(token) = call.request.header(ACCESS_HEADER).filter(|_| !call.request.is_speculative())
        && let Some(opened) = access::sign_in(context, token).await?
    {
        access_log::write_sign_in(context, call, &opened.session.workspace);
        let cookie = browser_session::user_cookie(context, &opened);
        let response = Response::see_other(asked.as_deref().unwrap_or("/")).with_header("set-cookie", cookie);
        return Ok(with_kept(response));
    }
    let return_to = asked.filter(|path| path != "/");
    let remembered = return_to.as_deref().filter(|path| path.len() <= MAX_REMEMBERED && !call.request.is_speculative());
    let remembered = remembered.map(|path| browser_session::return_to_cookie(context, path, RETURN_TO_TTL));
    let choice = choose_sign_in(context, return_to).await?;
    access_log::write_refusal(context, call, Some(route), &error);
    let shell = guest_page_context(context);
    let markup = page::sign_in_required(&shell, &SignInRequiredView { choice, ended });
    let response = with_kept(problem::add_hint_headers(Response::html(401, markup), &error));
    Ok(match remembered {
        Some(cookie) => response.with_header("set-cookie", cookie),
        None => response,
    })
}

/// The refusal of a form of an earlier session, where somebody is signed in by now: what was typed comes back with a link. None:
/// nothing of it is kept.
pub(super) fn respond_earlier_form<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    route: &str,
    form: &[&str],
    error: &Error,
) -> Option<Response> {
    let session = call.session.as_ref()?;
    let page = kept_forms::page_of_form(context, call.request)?;
    let (_, kept) = kept_forms::keep(context, call, form, Some(&page));
    let cookie = kept?;
    access_log::write_refusal(context, call, Some(route), error);
    let shell = page_context(context, call.request, Some(session));
    let text = &shell.text.sign_in;
    let message = page::Message {
        title: shell.text.problem.form_rejected.to_owned(),
        text: text.earlier_form.to_owned(),
        tone: Tone::Bad,
        links: vec![(text.show_form.to_owned(), page)],
    };
    Some(Response::html(403, page::message(&shell, &message)).with_header("set-cookie", cookie))
}

/// The ways in that this installation has for somebody of whom nothing is known.
async fn choose_sign_in<P: Ports>(context: &Context<P>, return_to: Option<String>) -> Result<SignInChoice> {
    let has_one_database = Shard::new(1).and_then(|second| context.in_shard(second)).is_none();
    // A cookie may name a database that is gone, which makes no other one look. With several databases any of them may have
    // a provider, and nobody without a session makes all of them look.
    if !context.is_bound() || !has_one_database {
        return Ok(SignInChoice::AskForWorkspace { return_to, refused: None });
    }
    Ok(match identity::find_only_sign_in(context).await? {
        (_, false) => SignInChoice::LinkOnly,
        (Some(workspace), _) => SignInChoice::OnlyWorkspace { href: sign_in_path(&workspace, return_to.as_deref()) },
        (None, _) => SignInChoice::AskForWorkspace { return_to, refused: None },
    })
}
