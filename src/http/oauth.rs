//! The way to an app and back, as a browser walks it. How it ends is [`super::flows`]'s.

use std::collections::BTreeMap;

use super::ask;
use super::flows::{destination, flow, flow_id, open_link};
use super::page;
use super::problem;
use super::session::{self, shell, user_of};
use super::{Call, Response, input};
use crate::app::AppId;
use crate::connect::callback::{self, Landing, Refusal, Returned};
use crate::connect::hosts;
use crate::connect::link;
use crate::connect::paste::{self, Entered, Paste};
use crate::connect::settle::{self, Deciding};
use crate::connect::start::{self, Offer, Wish};
use crate::connect::was_begun_anew;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{ClientId, ConnectionId};
use crate::ports::Ports;
use crate::quotas;
use crate::registry;
use crate::secret::Secret;
use crate::store::links::Link;
use crate::store::sessions::{self, Session};

// ---- starting, as a signed-in person ----

/// What the address and the form say of what is to be connected.
fn wish(call: &Call<'_>, app: AppId, connection: Option<ConnectionId>) -> Result<Wish> {
    let session = call.session()?;
    let wish = Wish {
        workspace: session.workspace.clone(),
        app,
        way: input::way(call.request)?,
        variables: BTreeMap::new(),
        connection,
        scopes: None,
        exactly: false,
        user: Some(user_of(session)?.clone()),
        role: session.role,
        link: None,
        return_to: None,
    };
    Ok(chosen(call, wish))
}

/// What a person ticked goes before what an address asks for; what somebody else fixed goes before both.
fn chosen(call: &Call<'_>, wish: Wish) -> Wish {
    let ticked =
        (input::form(call.request, "chosen").as_deref() == Some("scopes")).then(|| input::forms(call.request, "scope"));
    let asked = input::query(call.request, "scopes")
        .map(|text| text.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>());
    // Who came by a link changes the scopes of a repair only to more: the connection is somebody else's to narrow.
    let exactly = ticked.is_some() && wish.scopes.is_none() && wish.link.is_none();
    Wish { scopes: wish.scopes.clone().or(ticked).or(asked), exactly, ..wish }
}

fn new_wish(call: &Call<'_>) -> Result<Wish> {
    wish(call, AppId::parse(call.param(0)).ok_or_else(|| Error::not_found("app"))?, None)
}

/// Repairing asks for the app the connection is of.
fn repair_wish(call: &Call<'_>) -> Result<Wish> {
    let connection = &call.connection()?.connection;
    wish(call, connection.app.clone(), Some(connection.id.clone()))
}

pub(super) async fn show_start<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    show(core, call, &new_wish(call)?, None).await
}

pub(super) async fn start<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    walk(core, call, new_wish(call)?, &call.session()?.hash).await
}

pub(super) async fn show_reconnect<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    show(core, call, &repair_wish(call)?, None).await
}

pub(super) async fn reconnect<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    walk(core, call, repair_wish(call)?, &call.session()?.hash).await
}

/// What is offered. The app that a link or a connection is of may have been removed since it was made.
async fn offer<P: Ports>(core: &Core<P>, wish: &Wish) -> Result<Offer> {
    let offered = start::offer(core, wish).await;
    let of_another_day = wish.link.is_some() || wish.connection.is_some();
    if matches!(&offered, Err(error) if error.code == Code::NotFound)
        && of_another_day
        && registry::current(core, &wish.workspace, &wish.app).await?.is_none()
    {
        return Err(removed(wish));
    }
    offered
}

fn removed(wish: &Wish) -> Error {
    if wish.link.is_some() {
        let text = "The app of this link was removed from the workspace. Ask whoever sent you the link what to do.";
        return Error::new(Code::LinkEnded, text);
    }
    Error::new(
        Code::Conflict,
        "The app of this connection was removed from this workspace, so it can't be connected again. Workflows can \
         still use the connection as long as its access lasts.",
    )
}

/// The page before the app, or the form for what is entered here.
async fn show<P: Ports>(core: &Core<P>, call: &Call<'_>, wish: &Wish, refused: Option<&Error>) -> Result<Response> {
    let offer = offer(core, wish).await?;
    ask::page(core, call, (wish, &offer), refused).await
}

/// The button was pressed: on to the app, or what was entered is checked and stored. What a person can put right is
/// said on the form, which keeps all but secrets.
async fn walk<P: Ports>(core: &Core<P>, call: &Call<'_>, mut wish: Wish, session: &str) -> Result<Response> {
    let entered = input::forms_under(call.request, page::INPUT);
    let offer = offer(core, &wish).await?;
    if wish.connection.is_none() {
        quotas::room_for_connection(core, &wish.workspace).await?;
    }
    let is_variable = |name: &String| offer.app.variables.contains_key(name);
    let (variables, fields): (BTreeMap<_, _>, BTreeMap<_, _>) =
        entered.into_iter().partition(|(name, _)| is_variable(name));
    wish.variables = variables.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
    let seen = hosts::require_seen(core, &offer, input::form(call.request, page::HOSTS_MARK).as_deref()).await;
    let walked = if let Err(changed) = seen {
        Err(changed)
    } else if offer.app.kind.is_pasted() {
        paste(core, call, (&wish, &offer), (fields, session)).await
    } else {
        start::start_offered(core, (&wish, &offer), session).await.map(|url| Response::see_other(&url))
    };
    match walked {
        Err(error) if matches!(error.code, Code::InvalidRequest | Code::CredentialRejected | Code::AppUnavailable) => {
            ask::page(core, call, (&wish, &offer), Some(&error)).await
        }
        walked => walked,
    }
}

async fn paste<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    (wish, offer): (&Wish, &Offer),
    (fields, session): (BTreeMap<String, Secret>, &str),
) -> Result<Response> {
    let name = input::form(call.request, "name").filter(|name| !name.trim().is_empty() && wish.connection.is_none());
    let name = name.map(|name| input::name("name", &name, settle::LONGEST_NAME)).transpose()?;
    let entered = Paste { entered: Entered::Fields(fields), name, metadata: BTreeMap::new(), check: true, actor: None };
    let flow = paste::paste_offered(core, (wish, offer), entered, session, Deciding::Person).await?;
    // The session has ended, so this browser doesn't reach the flow's page.
    if was_begun_anew(&flow) {
        return Ok(ended(Refusal::BegunAnew));
    }
    Ok(Response::see_other(&destination(&flow).unwrap_or_else(|| format!("/flows/{}", flow.id))))
}

// ---- starting, through a link ----

pub(super) async fn show_link<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    show_through(core, call, &link::open(core, call.param(0)).await?).await
}

/// A link's page for the browser that has used it before: its session stands for the secret, which nobody has stored.
pub(super) async fn show_again<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    show_through(core, call, &link_of_flow(core, call).await?).await
}

async fn show_through<P: Ports>(core: &Core<P>, call: &Call<'_>, link: &Link) -> Result<Response> {
    not_somebody_else(call, link)?;
    show(core, call, &link_wish(call, link)?, None).await
}

/// The link that a flow of this browser came by, if it can still be used.
async fn link_of_flow<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Link> {
    let sessions = session::hashes(core, call.request).await?;
    let flow = flow(core, &sessions, &flow_id(call)?).await?;
    open_link(core, &flow).await?.ok_or_else(|| {
        Error::new(Code::LinkEnded, "This link was used or has expired. Ask whoever sent it for a new one.")
    })
}

/// A link that names no way lets the person choose one; one that names no scopes lets them tick some.
fn link_wish(call: &Call<'_>, link: &Link) -> Result<Wish> {
    let wish = Wish::of_link(link);
    let way = wish.way.clone().map_or_else(|| input::way(call.request), |way| Ok(Some(way)))?;
    Ok(chosen(call, Wish { way, ..wish }))
}

pub(super) async fn use_link<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    use_through(core, call, &link::open(core, call.param(0)).await?).await
}

pub(super) async fn use_again<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    use_through(core, call, &link_of_flow(core, call).await?).await
}

async fn use_through<P: Ports>(core: &Core<P>, call: &Call<'_>, link: &Link) -> Result<Response> {
    not_somebody_else(call, link)?;
    let (session, cookie) = link_session(core, call, link).await?;
    if let Err(refused) = link::begin(core, link, &session.hash).await {
        // Whoever has no use of the link leaves no session.
        if cookie.is_some() {
            sessions::delete(core.db(), &session.hash).await?;
        }
        return Err(refused);
    }
    // The link is this browser's from now on: it gets the cookie whatever comes of it, so that it may try again.
    let walked = match link_wish(call, link) {
        Ok(wish) => walk(core, call, wish, &session.hash).await,
        Err(error) => Err(error),
    };
    let response = walked.unwrap_or_else(|error| {
        core.log_cause(&error);
        let csrf = session::form_token(core, call.request);
        problem::page(&error, &shell(call.session.as_ref(), csrf.as_deref()))
    });
    Ok(match cookie {
        Some(cookie) => response.with("set-cookie", cookie),
        None => response,
    })
}

/// The same browser may try again: it has the link's session already.
async fn link_session<P: Ports>(core: &Core<P>, call: &Call<'_>, link: &Link) -> Result<(Session, Option<String>)> {
    if let Some(session) = session::link(core, call.request, &link.id).await? {
        return Ok((session, None));
    }
    let (session, cookie) = session::open_link(core, link).await?;
    Ok((session, Some(cookie)))
}

/// A link made for one person must not be used by another who is signed in here: whoever made it
/// would get that other person's account. The same holds for a link of another workspace: to whoever is signed in, this
/// site is their own workspace, so they could take the link for one of it.
fn not_somebody_else(call: &Call<'_>, link: &Link) -> Result<()> {
    let Some(session) = call.session.as_ref() else { return Ok(()) };
    let Ok(signed_in) = user_of(session) else { return Ok(()) };
    let refused = |problem: String| Err(Error::new(Code::Conflict, problem));
    if session.workspace != link.workspace {
        return refused(format!(
            "This link belongs to another workspace than the one you are signed in to as {}. If you expected it, sign \
             out first and open the link again.",
            signed_in.shown()
        ));
    }
    match &link.user {
        Some(expected) if signed_in.id != expected.id => refused(format!(
            "This link is for {}, but you are signed in as {}. Sign out first, or ask for a link of your own.",
            expected.shown(),
            signed_in.shown()
        )),
        _ => Ok(()),
    }
}

// ---- coming back ----

pub(super) async fn callback<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    // The code is used up by the person's own visit alone.
    if call.request.is_speculative() {
        return Ok(not_yet());
    }
    let Some(client) = ClientId::parse(call.param(0)) else { return Ok(ended(Refusal::Unknown)) };
    let twice = ["state", "code", "iss", "error"].iter().any(|name| input::values(call.request, name) > 1);
    if twice {
        return Ok(ended(Refusal::Unknown));
    }
    let query = |name| input::query(call.request, name);
    // What stands there twice and differs was not sent by the app (RFC 6749 3.1), so none of it counts.
    let mut others = input::queries(call.request);
    others.retain(|name, _| input::values(call.request, name) == 1);
    let returned = Returned {
        state: query("state"),
        code: query("code").map(Secret::new),
        error: query("error"),
        iss: query("iss"),
        others,
    };
    let sessions = session::hashes(core, call.request).await?;
    match callback::callback(core, &client, returned, &sessions).await? {
        Landing::Refused(refusal) => Ok(ended(refusal)),
        Landing::Flow(id) => {
            let flow = flow(core, &sessions, &id).await?;
            Ok(Response::see_other(&destination(&flow).unwrap_or_else(|| format!("/flows/{id}"))))
        }
    }
}

/// The answer to a request that only looks ahead. It must not be kept for the visit itself.
fn not_yet() -> Response {
    Response::new(204, "text/plain; charset=utf-8", String::new()).with("vary", "Sec-Purpose, Purpose".into())
}

fn ended(refusal: Refusal) -> Response {
    let reason = match refusal {
        Refusal::Unknown => "unknown",
        Refusal::Expired => "expired",
        Refusal::BegunAnew => "begun-anew",
        Refusal::OtherBrowser => "other-browser",
    };
    Response::see_other(&format!("/oauth/ended/{reason}"))
}

pub(super) async fn show_ended<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let refusal = match call.param(0) {
        "expired" => Refusal::Expired,
        "begun-anew" => Refusal::BegunAnew,
        "other-browser" => Refusal::OtherBrowser,
        _ => Refusal::Unknown,
    };
    let csrf = session::form_token(core, call.request);
    Ok(Response::html(400, page::message(&shell(call.session.as_ref(), csrf.as_deref()), &page::refused(refusal))))
}
