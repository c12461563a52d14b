//! A flow in the browser: to an app and back. [`super::flows`] shows how it ends.

use std::collections::BTreeMap;

use super::browser_session::{self, require_user};
use super::consent_page;
use super::flows::{end_response, parse_flow_id};
use super::page;
use super::page_frame::page_context;
use super::popup;
use super::problem;
use super::{Call, Response, input};
use crate::app::AppId;
use crate::connect::callback::{self, CallbackParams, CallbackRefusal, CallbackResult};
use crate::connect::link;
use crate::connect::start::ConnectRequest;
use crate::connect::was_link_reopened;
use crate::connection::ConnectionSettings;
use crate::consent::{self, ConsentForm, SubmittedConsent};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::flows;
use crate::ids::{ClientId, ConnectionId};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::sessions;
use crate::store::links::{Link, LinkStatus};
use crate::store::sessions::Session;

// ---- starting, as a signed-in person ----

/// What the address and the form say about the connection to make.
fn connect_request(call: &Call<'_>, app: AppId, connection: Option<ConnectionId>) -> Result<ConnectRequest> {
    let session = call.session()?;
    let request = ConnectRequest {
        workspace: session.workspace.clone(),
        app,
        auth_method: input::auth_method_param(call.request)?,
        variables: BTreeMap::new(),
        connection,
        scopes: None,
        exact_scopes: false,
        user: Some(require_user(session)?.clone()),
        settings: ConnectionSettings::default(),
        role: session.role,
        link: None,
        return_to: None,
    };
    Ok(apply_chosen_scopes(call, request))
}

/// The person's ticks have precedence over the address, and scopes that somebody else has fixed over both.
fn apply_chosen_scopes(call: &Call<'_>, request: ConnectRequest) -> ConnectRequest {
    let ticked = (input::form_field(call.request, "chosen").as_deref() == Some("scopes"))
        .then(|| input::form_field_values(call.request, "scope"));
    let asked = input::query_param(call.request, "scopes")
        .map(|text| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>());
    // A person with a link can only add scopes to a repair: the connection belongs to somebody else.
    let exactly = ticked.is_some() && request.scopes.is_none() && request.link.is_none();
    ConnectRequest { scopes: request.scopes.clone().or(ticked).or(asked), exact_scopes: exactly, ..request }
}

fn new_connect_request(call: &Call<'_>) -> Result<ConnectRequest> {
    connect_request(call, AppId::parse(call.path_param(0)).ok_or_else(|| Error::not_found("app"))?, None)
}

/// A repair uses the app of the connection.
fn reconnect_request(call: &Call<'_>) -> Result<ConnectRequest> {
    let connection = &call.path_connection()?.connection;
    connect_request(call, connection.app.clone(), Some(connection.id.clone()))
}

pub(super) async fn show_connect_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    show_consent_page(context, call, &new_connect_request(call)?, None).await
}

pub(super) async fn submit_connect<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    start_flow(context, call, new_connect_request(call)?, &call.session()?.hash).await
}

pub(super) async fn show_reconnect_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    show_consent_page(context, call, &reconnect_request(call)?, None).await
}

pub(super) async fn submit_reconnect<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    start_flow(context, call, reconnect_request(call)?, &call.session()?.hash).await
}

/// The page before the app, or the form for a manual credential.
async fn show_consent_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    request: &ConnectRequest,
    refused: Option<&Error>,
) -> Result<Response> {
    let options = match consent::load_connect_options(context, request).await {
        Err(error) if error.code == ErrorCode::ClientMissing => {
            return consent_page::render_auth_method_page(context, call, request, Some(&error)).await;
        }
        options => options?,
    };
    if options.unusable.is_some() {
        return consent_page::render_auth_method_page(context, call, request, None).await;
    }
    consent_page::render_page(context, call, request, &options, refused).await
}

/// The page was submitted: redirects to the app, or checks and stores the input. Errors that a person can correct are
/// shown on the form, which keeps everything except secrets.
async fn start_flow<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    mut request: ConnectRequest,
    session: &str,
) -> Result<Response> {
    let options = match consent::load_connect_options(context, &request).await {
        Err(error) if error.code == ErrorCode::ClientMissing => {
            return consent_page::render_auth_method_page(context, call, &request, Some(&error)).await;
        }
        options => options?,
    };
    if options.unusable.is_some() {
        return consent_page::render_auth_method_page(context, call, &request, None).await;
    }
    let form = ConsentForm {
        entered: input::form_fields_with_prefix(call.request, page::INPUT_PREFIX),
        name: input::form_field(call.request, "name"),
        hosts_fingerprint: input::form_field(call.request, page::HOSTS_FINGERPRINT_FIELD),
    };
    match consent::submit_consent(context, &mut request, &options, form, session).await {
        Ok(SubmittedConsent::LeadsTo(url)) => Ok(Response::see_other(&url)),
        // The session has ended, so this browser cannot open the flow's page.
        Ok(SubmittedConsent::Ended(flow)) if was_link_reopened(&flow) => {
            Ok(redirect_to_refusal_page(CallbackRefusal::LinkReopened))
        }
        Ok(SubmittedConsent::Ended(flow)) => Ok(end_response(context, call, &flow)),
        Err(error)
            if matches!(
                error.code,
                ErrorCode::InvalidRequest | ErrorCode::CredentialRejected | ErrorCode::AppUnavailable
            ) =>
        {
            consent_page::render_page(context, call, &request, &options, Some(&error)).await
        }
        Err(error) => Err(error),
    }
}

// ---- starting, through a link ----

pub(super) async fn show_connect_link_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    show_consent_page_for_link(context, call, &find_usable_link(context, call).await?).await
}

/// The link of the address. The browser that has used it may come again, if permissions are missing.
async fn find_usable_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Link> {
    let token = call.path_param(0);
    let ended = match link::find_open(context, token).await {
        Err(error) if error.code == ErrorCode::LinkEnded => error,
        found => return found,
    };
    let Some(used) = link::find_used(context, token).await? else { return Err(ended) };
    let Some(session) = browser_session::load_link_session(context, call.request, &used.id).await? else {
        return Err(ended);
    };
    link::find_to_use_again(context, used, &session.hash).await?.ok_or(ended)
}

/// A link's page for the browser that has used it before: its session replaces the secret, which is not stored.
pub(super) async fn show_retry_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    show_consent_page_for_link(context, call, &load_link_of_flow(context, call).await?).await
}

async fn show_consent_page_for_link<P: Ports>(context: &Context<P>, call: &Call<'_>, link: &Link) -> Result<Response> {
    if let Some(page) = other_person_page(context, call, link) {
        return Ok(page);
    }
    let page = show_consent_page(context, call, &link_connect_request(call, link)?, None).await?;
    Ok(popup::keep_opener(page, link.popup_origin.as_deref()))
}

/// The page for somebody whom a link is not for: they may sign out, and go on with it as nobody.
fn other_person_page<P: Ports>(context: &Context<P>, call: &Call<'_>, link: &Link) -> Option<Response> {
    let session = call.session.as_ref();
    let refused = consent::require_intended_user(session, link).err()?;
    let of_this_workspace = session.is_some_and(|session| session.workspace == link.workspace);
    let view = page::OtherPersonView {
        intended: link.user.as_ref().filter(|_| of_this_workspace).map(|user| user.display_name().to_owned()),
        text: refused.detail,
        return_to: call.request.path.clone(),
    };
    Some(Response::html(
        problem::status_and_title(refused.code).0,
        page::other_person(&page_context(context, call.request, session), &view),
    ))
}

/// The link of a flow of this browser, if it can still be used.
async fn load_link_of_flow<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Link> {
    let sessions = browser_session::load_session_hashes(context, call.request).await?;
    let flow = flows::load_flow(context, &sessions, &parse_flow_id(call)?).await?;
    flows::load_usable_link(context, &flow).await
}

/// A link without an auth method lets the person choose one. A link without scopes lets them tick some.
fn link_connect_request(call: &Call<'_>, link: &Link) -> Result<ConnectRequest> {
    let request = ConnectRequest::of_link(link);
    let auth_method = request
        .auth_method
        .clone()
        .map_or_else(|| input::auth_method_param(call.request), |auth_method| Ok(Some(auth_method)))?;
    Ok(apply_chosen_scopes(call, ConnectRequest { auth_method, ..request }))
}

pub(super) async fn submit_connect_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    start_flow_by_link(context, call, &find_usable_link(context, call).await?).await
}

pub(super) async fn submit_retry<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    start_flow_by_link(context, call, &load_link_of_flow(context, call).await?).await
}

async fn start_flow_by_link<P: Ports>(context: &Context<P>, call: &Call<'_>, link: &Link) -> Result<Response> {
    if let Some(page) = other_person_page(context, call, link) {
        return Ok(page);
    }
    if link.status == LinkStatus::Used {
        let session = browser_session::load_link_session(context, call.request, &link.id).await?;
        let session = session.ok_or_else(browser_session::not_signed_in_error)?;
        let response = start_flow(context, call, link_connect_request(call, link)?, &session.hash).await?;
        return Ok(popup::keep_opener(response, link.popup_origin.as_deref()));
    }
    let (session, cookie) = find_or_open_link_session(context, call, link).await?;
    if let Err(refused) = link::bind_to_session(context, link, &session.hash).await {
        // If the link cannot be used, no session is opened.
        if cookie.is_some() {
            sessions::close_session(context, &session).await?;
        }
        return Err(refused);
    }
    // From now on the link belongs to this browser: it gets the cookie in any case, so that it can try again.
    let walked = match link_connect_request(call, link) {
        Ok(request) => start_flow(context, call, request, &session.hash).await,
        Err(error) => Err(error),
    };
    let response = walked.unwrap_or_else(|error| {
        context.log_cause(&error);
        problem::page_response(&error, &page_context(context, call.request, call.session.as_ref()), call.request)
    });
    let response = popup::keep_opener(response, link.popup_origin.as_deref());
    Ok(match cookie {
        Some(cookie) => response.with_header("set-cookie", cookie),
        None => response,
    })
}

/// The same browser may try again with the link's session.
async fn find_or_open_link_session<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    link: &Link,
) -> Result<(Session, Option<String>)> {
    if let Some(session) = browser_session::load_link_session(context, call.request, &link.id).await? {
        return Ok((session, None));
    }
    let opened = sessions::open_link_session(context, link).await?;
    let cookie = browser_session::link_cookie(context, &link.id, &opened);
    Ok((opened.session, Some(cookie)))
}

// ---- coming back ----

pub(super) async fn handle_callback<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    // Only the person's own request uses the code.
    if call.request.is_speculative() {
        return Ok(prefetch_response());
    }
    let Some(client) = ClientId::parse(call.path_param(0)) else {
        return Ok(redirect_to_refusal_page(CallbackRefusal::UnknownState));
    };
    let twice = ["state", "code", "iss", "error"].iter().any(|name| input::values(call.request, name) > 1);
    if twice {
        return Ok(redirect_to_refusal_page(CallbackRefusal::UnknownState));
    }
    let query = |name| input::query_param(call.request, name);
    // A parameter with two different values was not sent by the app (RFC 6749 3.1), so none of them counts.
    let mut others = input::all_query_params(call.request);
    others.retain(|name, _| input::values(call.request, name) == 1);
    let returned = CallbackParams {
        state: query("state"),
        code: query("code").map(Secret::new),
        error: query("error"),
        iss: query("iss"),
        others,
    };
    let sessions = browser_session::load_session_hashes(context, call.request).await?;
    match callback::handle(context, &client, returned, &sessions).await? {
        CallbackResult::Refused(refusal) => Ok(redirect_to_refusal_page(refusal)),
        CallbackResult::Flow(id) => {
            let flow = flows::load_flow(context, &sessions, &id).await?;
            let response = end_response(context, call, &flow);
            Ok(popup::keep_opener(response, flow.popup_origin.as_deref()))
        }
    }
}

/// The answer to a request in advance. It must not be stored for the real request.
pub(super) fn prefetch_response() -> Response {
    Response::new(204, "text/plain; charset=utf-8", String::new()).with_header("vary", "Sec-Purpose, Purpose".into())
}

fn redirect_to_refusal_page(refusal: CallbackRefusal) -> Response {
    let reason = match refusal {
        CallbackRefusal::UnknownState => "unknown",
        CallbackRefusal::Expired => "expired",
        CallbackRefusal::LinkReopened => "begun-anew",
        CallbackRefusal::WrongBrowser => "other-browser",
    };
    Response::see_other(&format!("/oauth/ended/{reason}"))
}

pub(super) async fn show_refusal_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let refusal = match call.path_param(0) {
        "expired" => CallbackRefusal::Expired,
        "begun-anew" => CallbackRefusal::LinkReopened,
        "other-browser" => CallbackRefusal::WrongBrowser,
        _ => CallbackRefusal::UnknownState,
    };
    let shell = page_context(context, call.request, call.session.as_ref());
    Ok(Response::html(400, page::message(&shell, &page::refusal_message(shell.text, refusal))))
}
