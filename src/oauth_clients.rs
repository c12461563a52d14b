//! A workspace's OAuth clients: put, read and deleted, by the app that they are for.
//!
//! Owns which auth method of an app needs a client, what may be entered as one, and that a client in use is not deleted.
//! Which row it becomes, and where its secret may go, is decided in [`client_setup`].

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{
    App, AuthMethod, AuthMethodId, CredentialKind, FieldPlacement, ValueFormat, strip_invisible, unwrap_pasted_value,
};
use crate::audit::{Actor, EventType};
use crate::client::{Client, ClientSecret};
use crate::connect::client_setup::{self, NewClient, NewSecret};
use crate::connect::start::validate_scopes;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::event_request::{MAX_SECRET_LENGTH, MAX_SECRETS, secret_problem};
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::preconditions::{Condition, IfMatch, ReadState};
use crate::secret::Secret;
use crate::signing_key::SigningKey;
use crate::store::clients::{self, WorkspaceClients};
use crate::store::definition_moves;
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::time::Timestamp;

/// Longest name of a client's private key, in bytes.
const MAX_KEY_NAME_BYTES: usize = 256;

/// The auth method of an app that needs a client: the one that is named, or the first. `None` where it needs none.
///
/// # Errors
/// `not_found` where the app has no auth method of that name.
pub fn find_oauth2_method(app: &App, named: Option<&AuthMethodId>) -> Result<Option<Rc<AuthMethod>>> {
    let Some(id) = named else { return Ok(app.oauth2_method()) };
    let auth_method = app.auth_method(Some(id)).ok_or_else(|| Error::not_found("way to connect this app"))?;
    Ok(Some(auth_method).filter(|auth_method| auth_method.kind == CredentialKind::OAuth2))
}

/// The same.
///
/// # Errors
/// Also `conflict` where it needs no client.
pub fn require_oauth2_method(app: &App, named: Option<&AuthMethodId>) -> Result<Rc<AuthMethod>> {
    find_oauth2_method(app, named)?.ok_or_else(|| {
        let what = named.map_or_else(|| app.name.clone(), |id| format!("The way {id} of {}", app.name));
        let detail = format!("{what} needs no OAuth client. The credential is entered when connecting.");
        Error::new(ErrorCode::Conflict, detail)
    })
}

/// The auth method of an app that sends events and whose connections need no OAuth client: what its events are verified with
/// is kept with a client all the same.
pub fn events_only_method(app: &App) -> Option<Rc<AuthMethod>> {
    app.events.as_ref().filter(|_| app.oauth2_method().is_none()).and_then(|_| app.auth_method(None))
}

/// The refusal of what only an OAuth client has.
pub fn needs_no_client_error(auth_method: &AuthMethod) -> Error {
    let detail = format!(
        "{} needs no OAuth client. The credential is entered when connecting. To receive its events, send event_secret alone (PUT).",
        auth_method.app_name
    );
    Error::new(ErrorCode::Conflict, detail)
}

/// The secrets that an app's events are verified with, as one text to seal.
///
/// # Errors
/// The app sends no events, or a secret can't be one for its signature.
pub fn read_event_secrets(app: &App, secrets: &[Secret]) -> Result<Secret> {
    let wrong = |problem: &str| Error::invalid_field("event_secret", problem);
    let events = app.events.as_ref().ok_or_else(|| {
        wrong("is of no use: the app's definition does not describe its events. Leave it out, or add `events` to a definition of your own.")
    })?;
    if secrets.is_empty() {
        return Err(wrong("is an empty list. Send null to remove what is set."));
    }
    if secrets.len() > MAX_SECRETS {
        return Err(wrong(&format!("has over {MAX_SECRETS} secrets.")));
    }
    for secret in secrets {
        if secret.expose().len() > MAX_SECRET_LENGTH {
            return Err(wrong(&format!("is over {MAX_SECRET_LENGTH} bytes.")));
        }
        require_visible_ascii("event_secret", secret.expose(), "Copy it again from the app.")?;
        if let Some(problem) = secret_problem(&events.signature, secret) {
            return Err(wrong(problem));
        }
    }
    Ok(Client::event_secret_text(secrets))
}

/// Puts a client that only receives events.
///
/// # Errors
/// Those of `If-Match`, or another change came first.
pub async fn put_events_client<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    event_secret: NewSecret,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<Client> {
    let current = clients::get_current(context.db(), workspace, auth_method.registration()).await?;
    let condition = if_match.condition(current.as_ref().map(ReadState::of_client))?;
    client_setup::put_events_client_if(context, workspace, auth_method, (current, event_secret), actor, &condition)
        .await
}

/// Changes only what the events of an app are verified with. Everything else of its client stays as it is.
///
/// # Errors
/// The app sends no events, has no client yet although its connections need one, or another change came first.
pub async fn put_event_secret<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    app: &App,
    auth_method: &AuthMethod,
    event_secret: NewSecret,
    actor: &Actor,
) -> Result<Client> {
    if events_only_method(app).is_some() {
        return put_events_client(context, workspace, auth_method, event_secret, actor, &IfMatch::Anything).await;
    }
    let client = load_current_client(context, workspace, auth_method).await?;
    let condition = IfMatch::Anything.condition(Some(ReadState::of_client(&client)))?;
    let same = NewClient {
        client_id: client.client_id,
        event_secret,
        secret: NewSecret::Kept,
        variables: client.variables,
        scopes: client.scopes,
        secret_expires_at: client.secret_expires_at,
    };
    client_setup::put_if(context, workspace, auth_method, same, actor, &condition).await
}

/// All clients of a workspace.
pub async fn list_clients<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<WorkspaceClients> {
    Ok(clients::list(context.db(), workspace).await?)
}

/// The client that new flows of an auth method use.
///
/// # Errors
/// `not_found` where none was put.
pub async fn load_current_client<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
) -> Result<Client> {
    let client = clients::get_current(context.db(), workspace, auth_method.registration()).await?;
    client.ok_or_else(|| Error::not_found("OAuth client for this app"))
}

/// A client as somebody copies it from the app.
#[derive(Debug, Clone)]
pub struct EnteredClient {
    /// The app's id of it.
    pub client_id: String,
    /// What becomes of what the app's events are verified with, as [`read_event_secrets`] makes it.
    pub event_secret: NewSecret,
    /// What becomes of its secret: a text with a PEM block is a private key.
    pub secret: NewSecret,
    /// How the app names the private key.
    pub key_id: Option<String>,
    /// The SHA-256 of the private key's certificate.
    pub certificate: Option<String>,
    /// The variables of the app's addresses.
    pub variables: BTreeMap<String, String>,
    /// Scopes to request instead of the app's defaults.
    pub scopes: Option<Vec<String>>,
    /// When the secret expires at the app.
    pub secret_expires_at: Option<Timestamp>,
}

/// Puts a client. The same id at the app rotates the secret and keeps our id and the redirect URI; another id makes another
/// client beside it, and connections stay with theirs.
///
/// # Errors
/// A value can't be sent as it is, or does not fit the others. Also those of [`client_setup::put`].
pub async fn put_client<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    entered: EnteredClient,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<Client> {
    let entered = entered.trim_pasted_text()?;
    entered.validate(context.now())?;
    let condition = if *if_match == IfMatch::Anything {
        Condition::default()
    } else {
        let current = clients::get_current(context.db(), workspace, auth_method.registration()).await?;
        if_match.condition(current.as_ref().map(ReadState::of_client))?
    };
    let new = entered.into_new_client();
    let client = client_setup::put_if(context, workspace, auth_method, new, actor, &condition).await?;
    if auth_method.is_custom {
        // Connections that kept an earlier definition because there was no client may follow now.
        let due = context.now();
        if let Err(error) = definition_moves::restart(context.db(), workspace, &auth_method.app_id, due).await {
            context.log_cause(&error.into());
        }
    }
    Ok(client)
}

impl EnteredClient {
    fn secret(&self) -> Option<&Secret> {
        match &self.secret {
            NewSecret::Is(secret) => Some(secret),
            NewSecret::Kept | NewSecret::Removed => None,
        }
    }

    /// Removes what copying adds, as for every manual credential.
    fn trim_pasted_text(self) -> Result<Self> {
        let one = |field: &str, text: &str| {
            let text = strip_invisible(text);
            let value = unwrap_pasted_value(&text, &FieldPlacement::default(), None)
                .map_err(|problem| Error::invalid_field(field, problem))?;
            Ok::<_, Error>(value.to_owned())
        };
        let client_id = one("client_id", &self.client_id)?;
        let secret = match self.secret {
            NewSecret::Is(secret) if ClientSecret::is_private_key(secret.expose()) => {
                NewSecret::Is(Secret::new(strip_invisible(secret.expose())))
            }
            NewSecret::Is(secret) => NewSecret::Is(Secret::new(one("client_secret", secret.expose())?)),
            kept_or_removed => kept_or_removed,
        };
        let key_id = self.key_id.map(|text| one("key_id", &text)).transpose()?;
        let certificate = self.certificate.map(|text| one("certificate", &text)).transpose()?;
        Ok(Self { client_id, secret, key_id, certificate, ..self })
    }

    fn validate(&self, now: Timestamp) -> Result<()> {
        require_visible_ascii("client_id", &self.client_id, "Copy it again from the app.")?;
        let names = [("key_id", &self.key_id), ("certificate", &self.certificate)];
        for (field, name) in names.into_iter().filter_map(|(field, name)| Some((field, name.as_ref()?))) {
            require_visible_ascii(field, name, "Leave it out where there is none.")?;
            if name.len() > MAX_KEY_NAME_BYTES {
                return Err(Error::invalid_field(field, format!("is over {MAX_KEY_NAME_BYTES} bytes.")));
            }
        }
        let is_key = self.secret().is_some_and(|secret| ClientSecret::is_private_key(secret.expose()));
        if !is_key && let Some((field, _)) = names.into_iter().find(|(_, name)| name.is_some()) {
            return Err(Error::invalid_field(field, "needs a private key. Send the key in client_secret."));
        }
        if let Some(secret) = self.secret().filter(|_| is_key) {
            SigningKey::from_pem(secret.expose())
                .map_err(|problem| Error::invalid_field("client_secret", problem.to_string()))?;
        } else if let Some(secret) = self.secret() {
            let remedy = "Copy it again from the app; send null for a public client.";
            require_visible_ascii("client_secret", secret.expose(), remedy)?;
        }
        if matches!(self.secret, NewSecret::Removed) && self.secret_expires_at.is_some() {
            return Err(Error::invalid_field(
                "secret_expires_at",
                "is the end of a secret, and client_secret is null.",
            ));
        }
        if self.secret_expires_at.is_some_and(|end| end <= now) {
            return Err(Error::invalid_field(
                "secret_expires_at",
                "has passed. Enter a secret that is valid, with its end, or leave this out.",
            ));
        }
        validate_scopes(self.scopes.as_deref().unwrap_or_default())
    }

    fn into_new_client(self) -> NewClient {
        let secret = match self.secret {
            NewSecret::Is(secret) => {
                NewSecret::Is(ClientSecret::text_to_seal(&secret, self.key_id.as_deref(), self.certificate.as_deref()))
            }
            kept_or_removed => kept_or_removed,
        };
        NewClient {
            event_secret: self.event_secret,
            secret,
            client_id: self.client_id,
            variables: self.variables,
            scopes: self.scopes,
            secret_expires_at: self.secret_expires_at,
        }
    }
}

/// A line that can be sent unchanged. Otherwise the problem and the remedy.
fn require_visible_ascii(field: &str, text: &str, remedy: &str) -> Result<()> {
    let problem = if text.is_empty() { Some("is missing.".to_owned()) } else { ValueFormat::Ascii.find_problem(text) };
    problem.map_or(Ok(()), |problem| Err(Error::invalid_field(field, format!("{problem} {remedy}"))))
}

/// Deletes a client.
///
/// # Errors
/// `client_in_use` where connections or revocations need it.
pub async fn delete_client<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: &Client,
    actor: &Actor,
    if_match: &IfMatch,
) -> Result<()> {
    let condition = if_match.condition(Some(ReadState::of_client(client)))?;
    let subject =
        EventSubject { app: Some(&auth_method.app_id), target: Some(client.id.as_str()), ..EventSubject::default() };
    let (deleted, detail) = (EventType::ClientDeleted, Some(client.client_id.as_str()));
    let event = context.event_statement_about(&client.workspace, deleted, actor, subject, detail)?;
    let db = AuditedDatabase::new(condition.db(context), event, ChangedBy::First);
    let deleted = clients::delete(&db, &client.workspace, &client.id, context.now()).await;
    if condition.explain(context, deleted).await? {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::ClientInUse,
        "Connections still use this client. Disconnect them first, or rotate the secret with PUT instead.",
    )
    .with_hints(|h| h.for_people = Some("Connections still use this client. Disconnect them first.".into())))
}
