//! Addresses that an app sends the secret to which its events will be signed with.
//!
//! Owns who may set such a secret. An app that sends it can prove nothing, because the secret is what it would prove itself with,
//! and the address of a client's events is no secret: it is a part of the redirect URI. So a program or an admin of the workspace
//! asks for an address with a token in it. Whoever has that address may set one secret with it, within an hour, and no longer than
//! the key is valid and the person an admin. Refuses everybody else, and never takes the place of a secret that is set: a further one stands beside it.

use crate::app::{App, AppId, SecretHandshake};
use crate::audit::{Actor, EventType};
use crate::caller::{constant_time_eq, hash_secret};
use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::event_request::MAX_SECRETS;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::app_events::{self, HandshakeAsker};
use crate::store::events::EventSubject;
use crate::time::Timestamp;

/// The parameter of the address that has the token.
pub const PARAMETER: &str = "handshake";
/// Seconds in which a secret may come, and in which one that came is shown.
const LIFETIME: i64 = 3600;
/// How often a secret is stored again that met another change.
const MAX_TRIES: usize = 3;

/// What an address for one secret needs.
#[derive(Debug)]
pub struct OpenedHandshake {
    /// Its token. Whoever has it may set a secret.
    pub token: Secret,
    /// Until when.
    pub expires_at: Timestamp,
}

/// How an app sends its secret.
///
/// # Errors
/// `conflict`: it never does.
pub fn require_handshake(app: &App) -> Result<&SecretHandshake> {
    app.events.as_ref().and_then(|events| events.secret_handshake.as_ref()).ok_or_else(|| {
        let detail = format!("{} does not send the secret of its events. Enter it as event_secret (PUT).", app.name);
        Error::new(ErrorCode::Conflict, detail)
    })
}

/// Opens an address for one secret. It is good once, and says by itself until when and who asked for it: nothing is stored.
///
/// # Errors
/// `conflict`: the client has as many secrets as it may.
pub fn open<P: Ports>(context: &Context<P>, client: &Client, actor: &Actor) -> Result<OpenedHandshake> {
    let secrets = client.event_secrets(&context.config.key_ring, false);
    if secrets.is_ok_and(|secrets| secrets.len() >= MAX_SECRETS) {
        let detail = format!("The client has {MAX_SECRETS} event secrets. Put a shorter list as event_secret first.");
        return Err(Error::new(ErrorCode::Conflict, detail));
    }
    let expires_at = context.now().plus(LIFETIME);
    let text = Secret::new(format!("{} {actor}", expires_at.unix()));
    let place = Client::event_handshake_context(&client.workspace, &client.id);
    let token = Secret::new(context.config.key_ring.seal(context.ports.random(), &place, &text)?);
    Ok(OpenedHandshake { token, expires_at })
}

/// Takes a secret that came to such an address. The same one may come again. Otherwise why it is refused.
///
/// # Errors
/// The database does not answer.
pub async fn take<P: Ports>(
    context: &Context<P>,
    client: &Client,
    app: &AppId,
    token: Option<&str>,
    secret: &Secret,
) -> Result<std::result::Result<(), &'static str>> {
    let Some((token, actor)) = token.and_then(|token| Some((token, read_token(context, client, token)?))) else {
        return Ok(Err("handshake_not_open"));
    };
    let asked_by = match &actor {
        Actor::Key(key) => HandshakeAsker::Key(key),
        Actor::User(id) => HandshakeAsker::Admin(id),
        _ => return Ok(Err("handshake_not_open")),
    };
    let mut client = client.clone();
    for _ in 0..MAX_TRIES {
        // What can't be read must not be replaced.
        let Ok(mut secrets) = client.event_secrets(&context.config.key_ring, false) else {
            return Ok(Err("no_secret"));
        };
        if secrets.iter().any(|known| constant_time_eq(known.expose(), secret.expose())) {
            return Ok(Ok(()));
        }
        if secrets.len() >= MAX_SECRETS {
            return Ok(Err("too_many_secrets"));
        }
        secrets.push(secret.clone());
        let place = Client::event_secret_context(&client.workspace, &client.id);
        let text = Client::event_secret_text(&secrets);
        let sealed = context.config.key_ring.seal(context.ports.random(), &place, &text)?;
        let subject = EventSubject { app: Some(app), target: Some(client.id.as_str()), ..EventSubject::default() };
        let (changed, detail) = (EventType::EventSecretChanged, Some("received"));
        let event = context.event_statement_about(&client.workspace, changed, &actor, subject, detail)?;
        let mark = hash_secret(token);
        if app_events::take_secret(context.db(), &client, &sealed, (&mark, asked_by), (event, context.now())).await? {
            return Ok(Ok(()));
        }
        let Some(now) = app_events::get_receiver(context.db(), &client.id).await? else { break };
        if now.sealed_event_secret == client.sealed_event_secret {
            break;
        }
        client = now;
    }
    Ok(Err("handshake_used"))
}

/// Who asked for the address, if it is one and its time is not over.
fn read_token<P: Ports>(context: &Context<P>, client: &Client, token: &str) -> Option<Actor> {
    let place = Client::event_handshake_context(&client.workspace, &client.id);
    let text = context.config.key_ring.open(&place, token).ok()?;
    let (expires_at, actor) = text.expose().split_once(' ')?;
    let expires_at = Timestamp::from_unix(expires_at.parse().ok()?);
    (context.now() < expires_at).then(|| Actor::parse(actor))?
}

/// The secret that came last, and when. Not after an hour, and not if `event_secret` was put since.
pub fn find_received<P: Ports>(context: &Context<P>, client: &Client) -> Option<(Secret, Timestamp)> {
    let at = client.event_secret_received_at.filter(|at| context.now() < at.plus(LIFETIME))?;
    let secrets = client.event_secrets(&context.config.key_ring, false).ok()?;
    Some((secrets.last()?.clone(), at))
}
