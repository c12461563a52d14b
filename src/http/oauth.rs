//! The way to an app and back, as a browser walks it.

use std::collections::BTreeMap;

use super::ask;
use super::page::{self, Shell};
use super::problem;
use super::session::{self, user_of};
use super::{Call, LEADS_OUT, Response, input};
use crate::app::{App, AppId, WayId};
use crate::connect::callback::{self, Landing, Refusal, Returned};
use crate::connect::paste::{self, Entered, Paste};
use crate::connect::settle::{self, Choice, Deciding};
use crate::connect::start::{self, Offer, Wish};
use crate::connect::{Failure, link};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{AuthorizationId, ClientId, ConnectionId};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{self, Authorization, Outcome, Question};
use crate::store::links::{self, Link, LinkStatus};
use crate::store::sessions::Session;
use crate::store::{clients, connections};

/// What stands around a signed-in person's page.
pub(super) fn shell<'a>(session: Option<&'a Session>, csrf: Option<&'a str>) -> Shell<'a> {
    let signed_in_as = session.and_then(|session| user_of(session).ok()).map(crate::workspace::User::shown);
    Shell { signed_in_as, csrf: csrf.filter(|_| signed_in_as.is_some()) }
}

// ---- starting, as a signed-in person ----

/// What the address and the form say of what is to be connected.
fn wish(call: &Call<'_>, app: AppId, connection: Option<ConnectionId>) -> Result<Wish> {
    let session = call.session()?;
    let wish = Wish {
        workspace: session.workspace.clone(),
        app,
        way: way(call)?,
        variables: BTreeMap::new(),
        connection,
        scopes: None,
        exactly: false,
        user: Some(user_of(session)?.clone()),
        link: None,
        return_to: None,
    };
    Ok(chosen(call, wish))
}

fn way(call: &Call<'_>) -> Result<Option<WayId>> {
    let text = input::query(call.request, "way");
    text.map(|text| WayId::parse(&text).ok_or_else(|| Error::not_found("way to connect this app"))).transpose()
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
async fn repair_wish<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Wish> {
    let session = call.session()?;
    let id = ConnectionId::parse(call.param(0)).ok_or_else(Error::connection_not_found)?;
    let connection =
        connections::get(core.db(), &session.workspace, &id).await?.ok_or_else(Error::connection_not_found)?;
    wish(call, connection.app, Some(id))
}

pub(super) async fn show_start<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    show(core, call, &new_wish(call)?, None).await
}

pub(super) async fn start<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    walk(core, call, new_wish(call)?, &call.session()?.hash).await
}

pub(super) async fn show_reconnect<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    show(core, call, &repair_wish(core, call).await?, None).await
}

pub(super) async fn reconnect<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    walk(core, call, repair_wish(core, call).await?, &call.session()?.hash).await
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
    let is_variable = |name: &String| offer.app.variables.contains_key(name);
    let (variables, fields): (BTreeMap<_, _>, BTreeMap<_, _>) =
        entered.into_iter().partition(|(name, _)| is_variable(name));
    wish.variables = variables.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect();
    let walked = if offer.app.kind.is_pasted() {
        paste(core, call, &wish, (fields, session)).await
    } else {
        start::start(core, &wish, session).await.map(|url| Response::see_other(&url))
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
    wish: &Wish,
    (fields, session): (BTreeMap<String, Secret>, &str),
) -> Result<Response> {
    let name = input::form(call.request, "name").filter(|name| !name.trim().is_empty() && wish.connection.is_none());
    let name = name.map(|name| input::name("name", &name, settle::LONGEST_NAME)).transpose()?;
    let entered = Paste { entered: Entered::Fields(fields), name, metadata: BTreeMap::new(), check: true, actor: None };
    let flow = paste::paste(core, wish, entered, session, Deciding::Person).await?;
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

async fn open_link<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Option<Link>> {
    let Some(id) = &flow.link else { return Ok(None) };
    let link = links::get(core.db(), &flow.workspace, id).await?;
    Ok(link.filter(|link| link.status == LinkStatus::Open && core.now() < link.expires_at))
}

/// A link that names no way lets the person choose one; one that names no scopes lets them tick some.
fn link_wish(call: &Call<'_>, link: &Link) -> Result<Wish> {
    let wish = Wish::of_link(link);
    let way = wish.way.clone().map_or_else(|| way(call), |way| Ok(Some(way)))?;
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
    if !links::take(core.db(), link, &session.hash, core.now()).await? {
        return Err(Error::new(
            Code::LinkEnded,
            "This link is in use in another browser. Continue there, or ask for a new link.",
        ));
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
/// would get that other person's account.
fn not_somebody_else(call: &Call<'_>, link: &Link) -> Result<()> {
    let signed_in = call
        .session
        .as_ref()
        .filter(|session| session.workspace == link.workspace)
        .and_then(|session| user_of(session).ok());
    match (signed_in, &link.user) {
        (Some(signed_in), Some(expected)) if signed_in.id != expected.id => Err(Error::new(
            Code::Conflict,
            format!(
                "This link is for {}, but you are signed in as {}. Sign out first, or ask for a link of your own.",
                expected.shown(),
                signed_in.shown()
            ),
        )),
        _ => Ok(()),
    }
}

// ---- coming back ----

pub(super) async fn callback<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let Some(client) = ClientId::parse(call.param(0)) else { return Ok(ended(Refusal::Unknown)) };
    let twice = ["state", "code", "iss", "error"].iter().any(|name| input::times(call.request, name) > 1);
    if twice {
        return Ok(ended(Refusal::Unknown));
    }
    let query = |name| input::query(call.request, name);
    let returned = Returned {
        state: query("state"),
        code: query("code").map(Secret::new),
        error: query("error"),
        iss: query("iss"),
        others: input::queries(call.request),
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

/// Where a finished flow leads: back to the embedding product, or to the connection's page.
fn destination(flow: &Authorization) -> Option<String> {
    let connection = flow.connection.as_ref()?;
    let status = match flow.outcome {
        Outcome::Done => "connected",
        Outcome::AwaitingConfirmation => "awaiting_confirmation",
        Outcome::Pending | Outcome::Denied | Outcome::Failed | Outcome::Undecided | Outcome::Discarded => return None,
    };
    if let Some(return_to) = &flow.return_to {
        return with_outcome(return_to, &[("connection", connection.as_str()), ("status", status)]);
    }
    flow.link.is_none().then(|| format!("/connections/{connection}?connected=1"))
}

fn with_outcome(return_to: &str, pairs: &[(&str, &str)]) -> Option<String> {
    let mut url = url::Url::parse(return_to).ok()?;
    url.query_pairs_mut().extend_pairs(pairs);
    Some(url.into())
}

fn ended(refusal: Refusal) -> Response {
    let reason = match refusal {
        Refusal::Unknown => "unknown",
        Refusal::Expired => "expired",
        Refusal::AlreadyUsed => "used",
        Refusal::OtherBrowser => "other-browser",
    };
    Response::see_other(&format!("/oauth/ended/{reason}"))
}

pub(super) async fn show_ended<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let refusal = match call.param(0) {
        "expired" => Refusal::Expired,
        "used" => Refusal::AlreadyUsed,
        "other-browser" => Refusal::OtherBrowser,
        _ => Refusal::Unknown,
    };
    let csrf = session::form_token(core, call.request);
    Ok(Response::html(400, page::message(&shell(call.session.as_ref(), csrf.as_deref()), &page::refused(refusal))))
}

async fn flow<P: Ports>(core: &Core<P>, sessions: &[String], id: &AuthorizationId) -> Result<Authorization> {
    authorizations::get(core.db(), id, sessions).await?.ok_or_else(|| Error::not_found("flow of this browser"))
}

fn flow_id(call: &Call<'_>) -> Result<AuthorizationId> {
    AuthorizationId::parse(call.param(0)).ok_or_else(|| Error::not_found("flow of this browser"))
}

pub(super) async fn show_flow<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let sessions = session::hashes(core, call.request).await?;
    let flow = flow(core, &sessions, &flow_id(call)?).await?;
    let definition = registry::at_revision(core, &flow.workspace, &flow.app, flow.app_revision).await?;
    let app = registry::way(&definition, &flow.way)?;
    let csrf = session::form_token(core, call.request);
    let shell = shell(call.session.as_ref(), csrf.as_deref());
    let question = flow.pending.as_ref().and_then(|pending| pending.question.as_ref());
    match (flow.outcome, question) {
        (Outcome::Undecided, Some(question)) if core.now() < flow.expires_at => {
            let view = choosing(core, &flow, question, &app).await?;
            Ok(Response::html(200, page::choose(&shell, &view)).with(LEADS_OUT, String::new()))
        }
        _ => {
            let granted = granted(core, &flow).await?;
            let repeatable = flow.link.is_none() || open_link(core, &flow).await?.is_some();
            let message = ending(&flow, &app, &granted, repeatable);
            let message = with_approval(core, &flow, &app, message).await?;
            Ok(Response::html(200, page::message(&shell, &message)))
        }
    }
}

async fn choosing<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    question: &Question,
    app: &App,
) -> Result<page::ChooseView> {
    let now = flow.pending.as_ref().and_then(|pending| pending.account.as_ref()).map(|account| account.label.clone());
    let question = match question {
        Question::OtherAccount { before } => {
            let name = match &flow.connection {
                None => None,
                Some(id) => connections::get(core.db(), &flow.workspace, id).await?.map(|connection| connection.name),
            };
            page::Choosing::OtherAccount {
                before: before.as_ref().map(|account| account.label.clone()),
                now,
                name: name.unwrap_or_else(|| app.name.clone()),
            }
        }
        Question::Duplicate { name, .. } => {
            page::Choosing::Duplicate { account: now.unwrap_or_default(), existing_name: name.clone() }
        }
    };
    let note = match question {
        page::Choosing::Duplicate { .. } => app.limits.one_per_account.clone(),
        page::Choosing::OtherAccount { .. } => None,
    };
    Ok(page::ChooseView {
        app_name: app.name.clone(),
        action: format!("/flows/{}", flow.id),
        question,
        pasted: app.kind.is_pasted(),
        note,
    })
}

/// What a flow connected, for whoever has no page of the connection: the wrong account, and what is missing, are seen at once.
#[derive(Default)]
struct Granted {
    /// The account's label.
    account: Option<String>,
    /// What was asked for and not granted.
    missing: Vec<String>,
}

async fn granted<P: Ports>(core: &Core<P>, flow: &Authorization) -> Result<Granted> {
    if let (Outcome::AwaitingConfirmation, Some(waiting)) = (flow.outcome, &flow.pending) {
        return Ok(Granted {
            account: waiting.account.as_ref().map(|account| account.label.clone()),
            missing: flow.scopes.iter().filter(|scope| !waiting.granted.contains(scope)).cloned().collect(),
        });
    }
    let Some(id) = &flow.connection else { return Ok(Granted::default()) };
    let connection = connections::get(core.db(), &flow.workspace, id).await?;
    Ok(connection.map_or_else(Granted::default, |connection| Granted {
        missing: connection.missing_scopes(),
        account: connection.account.map(|account| account.label),
    }))
}

impl Granted {
    fn told(&self, app: &App) -> String {
        match &self.account {
            Some(account) => format!("{} is connected as {account}.", app.name),
            None => format!("{} is connected.", app.name),
        }
    }

    /// What is missing, as a paragraph of its own.
    fn lack(&self, app: &App) -> String {
        if self.missing.is_empty() {
            return String::new();
        }
        let known = |id: &String| app.scopes.iter().find(|scope| scope.id == *id)?.description.clone();
        let named = |id: &String| known(id).map_or_else(|| id.clone(), |what| format!("{what} ({id})"));
        let missing: Vec<_> = self.missing.iter().map(named).collect();
        format!(
            "\n\nThese permissions were not granted: {}. Steps that need them will fail. Tell whoever sent you the link.",
            missing.join("; ")
        )
    }

    fn tone(&self) -> page::Tone {
        if self.missing.is_empty() { page::Tone::Good } else { page::Tone::Waiting }
    }
}

/// How a flow ended, in words. A link may have ended in the meantime: then it can't be repeated.
fn ending(flow: &Authorization, app: &App, granted: &Granted, repeatable: bool) -> page::Message {
    let (connected, lack, name) = (granted.told(app), granted.lack(app), &app.name);
    let (title, mut text, tone) = match flow.outcome {
        Outcome::Done => ("Connected", format!("{connected}{lack}\n\nYou can close this page."), granted.tone()),
        Outcome::AwaitingConfirmation => (
            "Almost done",
            format!("{connected}{lack}\n\nGo back to where you came from to finish."),
            page::Tone::Waiting,
        ),
        Outcome::Denied => (
            "Not connected",
            format!("You did not allow access at {name}, so nothing was stored."),
            page::Tone::Waiting,
        ),
        Outcome::Discarded => (
            "Left as it was",
            "The connection keeps its account; the new permission was discarded.".to_owned(),
            page::Tone::Good,
        ),
        Outcome::Pending => {
            ("Still open", format!("{name} has not answered yet. Finish there, or start again."), page::Tone::Waiting)
        }
        Outcome::Undecided => (
            "Too late to choose",
            "The time to choose is over; nothing was changed. Please connect again.".to_owned(),
            page::Tone::Bad,
        ),
        Outcome::Failed => {
            let failure = flow.error.as_deref().and_then(Failure::parse);
            (
                "Not connected",
                failure.map_or("Nothing was stored. Please try again.", Failure::explained).to_owned(),
                page::Tone::Bad,
            )
        }
    };
    if !repeatable && is_fruitless(flow.outcome) {
        text.push_str("\n\nThe link has ended. Ask whoever sent it for a new one.");
    }
    page::Message { title: title.to_owned(), text, tone, links: ways_on(flow, repeatable) }
}

/// Where an administrator must approve, the page also says what to tell them. The client's id is no secret: the app has
/// shown it in the browser's address before.
async fn with_approval<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    mut message: page::Message,
) -> Result<page::Message> {
    let asked = flow.error.as_deref() == Some(Failure::ApprovalRequired.as_str());
    let Some(approval) = app.server().and_then(|server| server.approval.as_ref()).filter(|_| asked) else {
        return Ok(message);
    };
    let client = match &flow.client {
        None => None,
        Some(id) => clients::get(core.db(), &flow.workspace, id).await?,
    };
    let client_id = client.as_ref().map_or("of this client", |client| client.client_id.as_str());
    for step in &approval.steps {
        message.text.push_str("\n\n");
        message.text.push_str(&step.replace("{client_id}", client_id));
    }
    if let Some(url) = &approval.url {
        message.links.insert(0, ("How an administrator approves it".to_owned(), url.clone()));
    }
    Ok(message)
}

/// Whether nothing was connected, so that another try makes sense.
fn is_fruitless(outcome: Outcome) -> bool {
    !matches!(outcome, Outcome::Done | Outcome::AwaitingConfirmation)
}

fn ways_on(flow: &Authorization, repeatable: bool) -> Vec<(String, String)> {
    let mut links = Vec::new();
    let status = if flow.outcome == Outcome::Denied { "denied" } else { "failed" };
    let failure = flow.error.as_deref().map(|code| ("error", code));
    let told: Vec<_> = [("status", status)].into_iter().chain(failure).collect();
    if let Some(url) = flow.return_to.as_deref().and_then(|url| with_outcome(url, &told)) {
        links.push(("Go back".to_owned(), url));
    }
    if repeatable && is_fruitless(flow.outcome) {
        let again = match (&flow.link, &flow.connection) {
            (Some(_), _) => format!("/flows/{}/again", flow.id),
            (None, Some(id)) => format!("/connections/{id}/reconnect"),
            (None, None) => format!("/oauth/start/{}", flow.app),
        };
        links.push(("Try again".to_owned(), again));
    }
    if flow.link.is_none() {
        links.push(("Connections".to_owned(), "/".to_owned()));
    }
    links
}

/// Only the browser that began the flow reaches it; a signed-in one's form also carries its token.
pub(super) async fn choose<P: Ports>(core: &Core<P>, call: &Call<'_>) -> Result<Response> {
    let id = flow_id(call)?;
    let sessions = session::hashes(core, call.request).await?;
    let before = flow(core, &sessions, &id).await?;
    if before.link.is_none() {
        session::require_own_form(core, call.request)?;
    }
    let choice = input::form(call.request, "choice").as_deref().and_then(Choice::parse);
    settle::choose(core, &before, choice.ok_or_else(|| Error::invalid("choice", "must be one of the buttons."))?)
        .await?;
    let after = flow(core, &sessions, &id).await?;
    Ok(Response::see_other(&destination(&after).unwrap_or_else(|| format!("/flows/{id}"))))
}
