//! Events that apps send: received, or verified for a program that receives them itself.
//!
//! Owns which app and which connections an event is about, and what follows from it. An event that says that access ended is a
//! reason to check these connections now, and never a verdict. Refuses to say to a stranger why a request was not accepted, and
//! writes nothing to the database for one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::app::{App, AppEvents, AppId, ChallengeAnswer, EventChallenge, WebhookSignature};
use crate::authorize::sees_connection_of;
use crate::caller::ApiKey;
use crate::catalogue;
use crate::client::Client;
use crate::connection::ConnectionStatus;
use crate::context::Context;
use crate::egress::EgressUrl;
use crate::error::{Error, Result};
use crate::event_handshakes;
use crate::event_request::{EventFacts, EventRefusal, EventRequest, PublicKeyScheme, ReplayMark, challenge_answer};
use crate::ids::{ClientId, ConnectionId};
use crate::metrics;
use crate::ports::{Database, Ports, RefreshRunner, Statement};
use crate::public_keys;
use crate::registry;
use crate::resolve::DeferredTask;
use crate::secret::Secret;
use crate::store::app_events::{self, EventConnection};
use crate::store::clients;
use crate::webhook::AppEventPayload;
use crate::webhooks;
use std::rc::Rc;

/// Connections that an event has checked behind its answer, at most. The scheduled run checks the others.
const MAX_CHECKS: i64 = 20;

/// The address that an app sends the events of a client to, with a query or without one.
pub fn events_url<P: Ports>(context: &Context<P>, client: &ClientId, query: &str) -> String {
    let separator = if query.is_empty() { "" } else { "?" };
    context.config.public_url.at(&format!("/hooks/{client}{separator}{query}"))
}

/// What becomes of a request of an app.
#[derive(Debug)]
pub enum Received {
    /// It is an event, and was taken: the status that the app expects, and what is left to do.
    Event(u16, Vec<DeferredTask>),
    /// It asks for an answer: its status, its content type, and its text.
    Challenge(u16, &'static str, String),
    /// It had the secret of the app's events, and that was taken: a header of the answer.
    Secret(Option<(String, Secret)>),
    /// It is not taken for one of the app.
    Refused,
}

/// A request of an app to the address of a client.
///
/// # Errors
/// The database does not answer: the app sends the event again.
pub async fn receive<P: Ports>(context: &Context<P>, id: &ClientId, request: &EventRequest) -> Result<Received> {
    let refuse = |why: &str| {
        log_refusal(context, Some(id), why);
        Received::Refused
    };
    let Some(client) = app_events::get_receiver(context.db(), id).await? else { return Ok(refuse("unknown_client")) };
    let apps = load_apps(context, &client).await?;
    if apps.is_empty() {
        return Ok(refuse("app_without_events"));
    }
    if let Some(taken) = take_handshake(context, &client, &apps, request).await? {
        return Ok(taken.unwrap_or_else(refuse));
    }
    if let Some((status, content_type, text)) = answer_unsigned_challenge(context, &client, &apps, request) {
        return Ok(Received::Challenge(status, content_type, text));
    }
    match verify_for_apps(context, &client, &apps, request).await {
        Ok((app, events, mark)) => {
            let secrets = open_secrets(context, &client, events).unwrap_or_default();
            let signed = events.challenge.as_ref().filter(|challenge| challenge.signed);
            let value = signed.and_then(|challenge| Some((challenge, request.find_challenge(challenge)?)));
            if let Some((challenge, value)) = value {
                let answer = challenge_answer(challenge, value.as_deref(), &secrets);
                let status = challenge_status(events, challenge);
                return Ok(
                    answer.map_or_else(|| refuse("challenge"), |(kind, text)| Received::Challenge(status, kind, text))
                );
            }
            if request.method != "POST" {
                return Ok(refuse("no_event"));
            }
            let deferred = act_on_event(context, &client, &app.id, events, request, mark).await?;
            Ok(Received::Event(events.answer_status, deferred))
        }
        Err(why) => {
            let app = apps.first().map_or("", |app| app.id.as_str());
            metrics::count_app_event(context, &client.workspace, app, "refused", why.as_str());
            Ok(refuse(why.as_str()))
        }
    }
}

/// Whoever sent it learns nothing, so the operator has a line of the log.
pub fn log_refusal<P: Ports>(context: &Context<P>, client: Option<&ClientId>, reason: &str) {
    context.log("warn", "app_event_refused", &json!({ "client": client, "reason": reason }));
}

/// The apps whose events come to a client's address: those that claim their requests first.
async fn load_apps<P: Ports>(context: &Context<P>, client: &Client) -> Result<Vec<Rc<App>>> {
    let (app, _) = client.registration.split_once(':').unwrap_or((&client.registration, ""));
    let mut apps: Vec<Rc<App>> = catalogue::apps_of_registration(app).filter_map(catalogue::find).collect();
    if apps.is_empty()
        && let Some(id) = AppId::parse(app)
        && let Some(custom) = registry::load_current_app(context, &client.workspace, &id).await?
    {
        apps.push(custom.app);
    }
    apps.retain(|app| app.events.is_some());
    apps.sort_by_key(|app| app.events.as_ref().is_some_and(|events| events.when.is_none()));
    Ok(apps)
}

/// The secrets that a client's events are verified with.
fn open_secrets<P: Ports>(
    context: &Context<P>,
    client: &Client,
    events: &AppEvents,
) -> std::result::Result<Vec<Secret>, EventRefusal> {
    let is_client_secret = match &events.signature {
        WebhookSignature::HmacSha256(hmac) | WebhookSignature::HmacSha1(hmac) => hmac.is_client_secret,
        _ => false,
    };
    let secrets = client.event_secrets(&context.config.key_ring, is_client_secret).unwrap_or_default();
    if secrets.is_empty() { Err(EventRefusal::NoSecret) } else { Ok(secrets) }
}

/// An app that finds out whether the address is ours before it sends events. It has no secret to sign with yet, but ours is set:
/// nobody has registered an address for which none is.
fn answer_unsigned_challenge<P: Ports>(
    context: &Context<P>,
    client: &Client,
    apps: &[Rc<App>],
    request: &EventRequest,
) -> Option<(u16, &'static str, String)> {
    apps.iter().find_map(|app| {
        let events = app.events.as_ref()?;
        let challenge = events.challenge.as_ref().filter(|challenge| !challenge.signed)?;
        let value = request.find_challenge(challenge)?;
        let mut secrets = open_secrets(context, client, events).ok()?;
        // While a secret is replaced there are two: the answer is by the one that the app has used, if it signs what it asks.
        let is_used =
            |one: &Secret| request.verify(&events.signature, std::slice::from_ref(one), context.now()).is_ok();
        if let Some(used) = secrets.iter().find(|one| is_used(one)).cloned() {
            secrets = vec![used];
        }
        let (content_type, text) = challenge_answer(challenge, value.as_deref(), &secrets)?;
        Some((challenge_status(events, challenge), content_type, text))
    })
}

/// An answer without a value is the one that an event gets.
fn challenge_status(events: &AppEvents, challenge: &EventChallenge) -> u16 {
    if challenge.answer == ChallengeAnswer::Empty { events.answer_status } else { 200 }
}

/// Takes the secret that an app sends before its events. `None`: this is no such request. Otherwise what becomes of it, or why
/// it is refused.
async fn take_handshake<P: Ports>(
    context: &Context<P>,
    client: &Client,
    apps: &[Rc<App>],
    request: &EventRequest,
) -> Result<Option<std::result::Result<Received, &'static str>>> {
    let found = apps.iter().find_map(|app| {
        let handshake = app.events.as_ref()?.secret_handshake.as_ref()?;
        Some((app, handshake, request.find_handshake_secret(handshake)?))
    });
    let Some((app, handshake, secret)) = found else { return Ok(None) };
    let token = request.query_parameter(event_handshakes::PARAMETER);
    let taken = event_handshakes::take(context, client, &app.id, token.as_deref(), &secret).await?;
    Ok(Some(taken.map(|()| Received::Secret(handshake.header.clone().map(|name| (name, secret))))))
}

/// The app that a request is from, of those that share an address.
async fn verify_for_apps<'a, P: Ports>(
    context: &Context<P>,
    client: &Client,
    apps: &'a [Rc<App>],
    request: &EventRequest,
) -> std::result::Result<(&'a App, &'a AppEvents, ReplayMark), EventRefusal> {
    let address = events_url(context, &client.id, "");
    let mut why = EventRefusal::Unsigned;
    for app in apps {
        let Some(events) = app.events.as_ref().filter(|events| request.is_claimed_by(events)) else { continue };
        match verify_request(context, client, events, request, &address).await {
            Ok(mark) => return Ok((app, events, mark)),
            // What is missing altogether says less than what is wrong.
            Err(EventRefusal::Unsigned) => {}
            Err(other) => why = other,
        }
    }
    Err(why)
}

async fn verify_request<P: Ports>(
    context: &Context<P>,
    client: &Client,
    events: &AppEvents,
    request: &EventRequest,
    address: &str,
) -> std::result::Result<ReplayMark, EventRefusal> {
    let (secrets, now) = (open_secrets(context, client, events)?, context.now());
    let (jwt, verifier) = match &events.signature {
        WebhookSignature::Jwt(jwt) => (jwt, context.ports.signer()),
        WebhookSignature::JwtHs256(jwt) => return request.verify_secret_token(jwt, &secrets, (address, now)),
        WebhookSignature::Ed25519(signature) => {
            let scheme = (PublicKeyScheme::Ed25519, signature);
            return request.verify_with_key(scheme, context.ports.signer(), &secrets, now).await;
        }
        WebhookSignature::EcdsaP256(signature) => {
            let scheme = (PublicKeyScheme::EcdsaP256, signature);
            return request.verify_with_key(scheme, context.ports.signer(), &secrets, now).await;
        }
        signature => return request.verify(signature, &secrets, now),
    };
    let token = request.read_token(jwt)?;
    let url = EgressUrl::parse(&jwt.keys, context.config.egress).map_err(|_| EventRefusal::KeysUnavailable)?;
    let keys = public_keys::load(context, &url, |keys| token.find_key(keys).is_some()).await;
    let keys = keys.ok_or(EventRefusal::KeysUnavailable)?;
    request.verify_token(jwt, &token, (verifier, &*keys), &secrets, (address, now)).await
}

/// What an event is about, as far as it is known here.
struct EventSubject {
    facts: EventFacts,
    connections: Vec<EventConnection>,
}

impl EventSubject {
    /// The one account that it is about.
    fn account(&self) -> Option<&str> {
        let mut ids = self.connections.iter().filter_map(|one| one.account.as_deref());
        let first = ids.next().or_else(|| match self.facts.accounts.as_slice() {
            [one] if one.r#match == crate::app::AccountMatch::Id => Some(one.text.as_str()),
            _ => None,
        });
        first.filter(|first| ids.all(|other| other == *first))
    }
}

async fn load_subject<P: Ports>(
    context: &Context<P>,
    client: &Client,
    app: &AppId,
    events: &AppEvents,
    request: &EventRequest,
) -> Result<EventSubject> {
    let facts = request.read_facts(events, &client.variables);
    let connections = app_events::list_connections(context.db(), client, app, &facts.accounts).await?;
    Ok(EventSubject { facts, connections })
}

/// Does what follows from a verified event. One that has come before was dealt with then.
async fn act_on_event<P: Ports>(
    context: &Context<P>,
    client: &Client,
    app: &AppId,
    events: &AppEvents,
    request: &EventRequest,
    mark: ReplayMark,
) -> Result<Vec<DeferredTask>> {
    let subject = load_subject(context, client, app, events, request).await?;
    let has_ended = subject.facts.has_ended_access;
    let (mut statements, mut is_forwarded) = (Vec::new(), false);
    let checked = if has_ended { connections_to_check(context, client, &subject).await? } else { vec![] };
    if !checked.is_empty() {
        statements.push(app_events::take_checks(&client.workspace, &checked.iter().collect::<Vec<_>>(), context.now()));
    }
    if !has_ended || subject.facts.has_others || events.forward_access_ended {
        statements.push(forward(context, client, app, &subject, request)?);
        is_forwarded = true;
    }
    let count = |outcome| metrics::count_app_event(context, &client.workspace, app.as_str(), outcome, "");
    let rows = match mark {
        Some(mark) => {
            let marked = app_events::mark_seen(context.db(), &client.id, &mark, context.now(), statements).await?;
            let Some(rows) = marked else {
                count("repeated");
                return Ok(vec![]);
            };
            rows
        }
        None if statements.is_empty() => vec![],
        None => context.db().batch(statements).await?,
    };
    count(if has_ended { "access_ended" } else { "accepted" });
    let is_asked_for = is_forwarded && rows.last().is_some_and(|rows| rows.changes > 0);
    let taken = rows.first().filter(|_| !checked.is_empty()).map(app_events::read_taken).unwrap_or_default();
    let most = (context.config.check_batch / context.ports.refresher().subrequest_cost().max(1)).clamp(1, MAX_CHECKS);
    let now: Vec<ConnectionId> = taken.into_iter().take(usize::try_from(most).unwrap_or(1)).collect();
    let check = (!now.is_empty())
        .then(|| DeferredTask::CheckConnections { workspace: client.workspace.clone(), connections: now });
    let send = is_asked_for.then(|| DeferredTask::SendWebhooks(client.workspace.clone()));
    Ok(send.into_iter().chain(check).collect())
}

/// The connections that may have lost their access. An event that names no account may be about any connection of the client,
/// so all are checked if they are few.
async fn connections_to_check<P: Ports>(
    context: &Context<P>,
    client: &Client,
    subject: &EventSubject,
) -> Result<Vec<ConnectionId>> {
    let mut found = subject.connections.clone();
    if subject.facts.accounts.is_empty() {
        found = app_events::list_of_client(context.db(), client, MAX_CHECKS + 1).await?;
        if i64::try_from(found.len()).unwrap_or(i64::MAX) > MAX_CHECKS {
            context.log(
                "warn",
                "app_event_names_no_account",
                &json!({ "client": client.id, "type": subject.facts.kind }),
            );
            return Ok(vec![]);
        }
    }
    let may_work = found.into_iter().filter(|one| one.status != ConnectionStatus::NeedsReconnect);
    Ok(may_work.map(|one| one.id).collect())
}

/// The statement that forwards an event to the webhooks that ask for such events, with what the app has sent.
fn forward<P: Ports>(
    context: &Context<P>,
    client: &Client,
    app: &AppId,
    subject: &EventSubject,
    request: &EventRequest,
) -> Result<Statement> {
    let text = std::str::from_utf8(&request.body).ok().map(str::to_owned);
    let payload = AppEventPayload {
        app: app.clone(),
        account: subject.account().map(str::to_owned),
        connections: subject.connections.iter().map(|one| one.id.clone()).collect(),
        content_type: request.header("content-type").map(str::to_owned),
        body_base64: text.is_none().then(|| STANDARD.encode(&request.body)),
        body: text,
    };
    Ok(webhooks::app_events::insert_statement(context, &client.workspace, &payload)?.1)
}

/// What a program learns about a request that it has received itself.
#[derive(Debug)]
pub struct EventVerification {
    /// Why it is not one of the app.
    pub refusal: Option<EventRefusal>,
    /// Its type, with the app's name.
    pub kind: Option<String>,
    /// The one account that it is about.
    pub account: Option<String>,
    /// The connections of its accounts that exist for the key.
    pub connections: Vec<ConnectionId>,
}

/// Verifies a request that a program has received, with the secrets of the workspace's clients of this app.
///
/// # Errors
/// `not_found`: the app's definition describes no events, or it has no client.
pub async fn verify<P: Ports>(
    context: &Context<P>,
    key: &ApiKey,
    app: &App,
    request: &EventRequest,
) -> Result<EventVerification> {
    let events = app.events.as_ref().ok_or_else(|| Error::not_found("description of this app's events"))?;
    let clients = clients::list_of_registration(context.db(), &key.workspace, app.registration()).await?;
    let mut refusal = EventRefusal::NoSecret;
    for client in &clients {
        let mark = match verify_request(context, client, events, request, &request.url).await {
            Ok(mark) => mark,
            Err(why) => {
                refusal = why;
                continue;
            }
        };
        let subject = load_subject(context, client, &app.id, events, request).await?;
        if let Some(mark) = mark
            && app_events::mark_seen(context.db(), &client.id, &mark, context.now(), vec![]).await?.is_none()
        {
            return Ok(EventVerification {
                refusal: Some(EventRefusal::Repeated),
                ..EventVerification::of(&subject, key)
            });
        }
        return Ok(EventVerification::of(&subject, key));
    }
    Ok(EventVerification { refusal: Some(refusal), kind: None, account: None, connections: vec![] })
}

impl EventVerification {
    /// What exists for the key. A key that sees none of an event's connections does not learn its account.
    fn of(subject: &EventSubject, key: &ApiKey) -> Self {
        let sees = |one: &&EventConnection| sees_connection_of(key, &one.id, &one.app, one.environment);
        let connections: Vec<ConnectionId> =
            subject.connections.iter().filter(sees).map(|one| one.id.clone()).collect();
        let is_hidden = connections.is_empty() && !subject.connections.is_empty();
        Self {
            refusal: None,
            kind: subject.facts.kind.clone(),
            account: subject.account().filter(|_| !is_hidden).map(str::to_owned),
            connections,
        }
    }
}
