//! A credential that somebody enters: an API key, a bot token, a client of their own, a key file, or tokens that an app
//! gave elsewhere.
//!
//! Owns its check with the app before anything is stored: what the app refuses is not kept. What it becomes (a new
//! connection, a repaired one, a question to the person) is [`super::settle`]'s to decide, as for every grant.

use std::collections::BTreeMap;

use crate::app::{App, FieldError, Grant as GrantKind, Kind, Mark, RequestError, read_fields};
use crate::connection::Account;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::error::{Code, Error, Result};
use crate::ids::{AuthorizationId, random_text};
use crate::ports::{Database, Http, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::server::{self, KEY_FIELD};
use crate::store::authorizations::{self, Authorization, Outcome};
use crate::time::Timestamp;
use crate::token::{self, Answer, Class, Parties, ProbeVerdict, Refusal, TokenSet};

use super::account::{self, Asked, Found};
use super::settle::{self, Deciding, Grant};
use super::start::{self, Offer, Wish};
use super::{FLOW_KEPT, Failure};

/// Seconds of life under which an imported token is renewed before it is asked about.
const NEAR_END: i64 = 60;

/// What somebody entered.
#[derive(Debug, Clone)]
pub enum Entered {
    /// The fields of the app's form.
    Fields(BTreeMap<String, Secret>),
    /// Tokens that the app gave elsewhere, to the same client.
    Tokens(Box<Imported>),
}

/// Tokens that an app gave elsewhere.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The first token.
    pub token: Token,
    /// Further ones, by name.
    pub others: BTreeMap<String, Token>,
    /// What the app granted, if it is known.
    pub scopes: Option<Vec<String>>,
}

/// A credential with what is said beside it.
#[derive(Debug, Clone)]
pub struct Paste {
    /// The credential.
    pub entered: Entered,
    /// What a new connection is to be called.
    pub name: Option<String>,
    /// The embedder's own map, for a new connection.
    pub metadata: BTreeMap<String, String>,
    /// Whether the app is asked.
    pub check: bool,
    /// Who enters it, for the audit trail, where that is no person's session.
    pub actor: Option<String>,
}

/// Checks what somebody entered and stores it. The answer is how it ended, as for a consent at the app.
pub async fn paste<P: Ports>(
    core: &Core<P>,
    wish: &Wish,
    paste: Paste,
    session_hash: &str,
    deciding: Deciding,
) -> Result<Authorization> {
    let offer = start::offer(core, wish).await?;
    let app = &*offer.app;
    let obtained_at = core.now();
    let (mut had, mut variables) = match &paste.entered {
        Entered::Fields(fields) => {
            let variables = start::variables(&offer, &wish.variables)?;
            (enter(core, app, fields, (&offer.scopes, &variables)).await?, variables)
        }
        Entered::Tokens(imported) => {
            let variables = start::imported_variables(&offer, &wish.variables)?;
            (import(core, &offer, imported, &variables).await?, variables)
        }
    };
    if let Some(tokens) = &had.tokens {
        variables.extend(account::told_by_tokens(app, tokens));
    }
    let found = if paste.check {
        check(core, &offer, &mut had, variables).await?
    } else {
        Found { account: None, granted: None, variables }
    };
    fits(app, &had.credential, &found)?;
    let flow = begin(core, wish, &offer, &found, session_hash).await?;
    let grant = grant(app, &paste, had, found, (&offer.scopes, obtained_at));
    let failure = settle::settle(core, &flow, app, grant, deciding).await?;
    if let Some(failure) = failure {
        let end = authorizations::end(&flow.id, Outcome::Failed, Some(failure.as_str()), None);
        core.db().batch(vec![end]).await?;
    }
    let ended = authorizations::get_in_workspace(core.db(), &flow.workspace, &flow.id).await?;
    ended.ok_or_else(|| Error::internal("a flow that has just ended is not there"))
}

/// What can't be sent is told now, not to whoever resolves it.
fn fits(app: &App, credential: &Credential, found: &Found) -> Result<()> {
    let values = server::values(app, credential, &found.variables);
    let values = found.account.iter().fold(values, |values, account| values.with("account_id", &account.id));
    match app.request.dress(&values) {
        Err(problem @ (RequestError::Value(_) | RequestError::Address(_))) => Err(registry::misfit(app, &problem)),
        Ok(_) | Err(RequestError::Missing(_)) => Ok(()),
    }
}

/// A credential with what is known of it before the app was asked who it is.
struct Had {
    credential: Credential,
    /// The token answer, where a token was had.
    tokens: Option<TokenSet>,
    /// What was granted, as far as it was said.
    granted: Option<Vec<String>>,
}

async fn enter<P: Ports>(
    core: &Core<P>,
    app: &App,
    fields: &BTreeMap<String, Secret>,
    (scopes, variables): (&[String], &BTreeMap<String, String>),
) -> Result<Had> {
    if !app.kind.is_pasted() {
        return Err(Error::invalid("credential", "of this kind is given at the app, not entered here."));
    }
    let mut problems = Vec::new();
    let fields = read_fields(&app.fields, fields).unwrap_or_else(|found| {
        problems = found;
        BTreeMap::new()
    });
    if problems.is_empty()
        && let Some(GrantKind::ServiceAccount(shape)) = app.server().map(|server| &server.grant)
        && let Err(problem) = server::key_file(shape, fields.get(KEY_FIELD).map(Secret::expose).unwrap_or_default())
    {
        problems.push(FieldError { field: KEY_FIELD.to_owned(), problem: problem.to_string() });
    }
    if !problems.is_empty() {
        return Err(start::invalid_fields(problems));
    }
    let mut credential = Credential::from_fields(fields);
    if !app.mints() {
        return Ok(Had { credential, tokens: None, granted: None });
    }
    let at = registry::endpoints(core, app, variables).await?;
    let request = server::mint(core, app, &at, &credential, (scopes, variables)).await?;
    let asked_at = core.now();
    let tokens = issued(app, token::read_answer(app, &core.ports.http().send(request).await, asked_at))?;
    credential.token = Some(Token::from_set(&tokens));
    Ok(Had { granted: tokens.scopes.clone(), tokens: Some(tokens), credential })
}

fn issued(app: &App, answer: Answer) -> Result<TokenSet> {
    match answer {
        Answer::Tokens(tokens) => Ok(tokens),
        Answer::Ambiguous(odd) => Err(unavailable(app, odd.retry_after)),
        Answer::Refused(Refusal { class: Class::Transient { retry_after }, .. }) => Err(unavailable(app, retry_after)),
        Answer::Refused(refusal) => Err(rejected(app, Some(&refusal.code))),
    }
}

/// Tokens from elsewhere: the refresh token is bound to the client that asked for it (RFC 6749, 6), so there must be
/// that client here, too; and a token whose end is not known can't be renewed in time.
async fn import<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    imported: &Imported,
    variables: &BTreeMap<String, String>,
) -> Result<Had> {
    let app = &*offer.app;
    if app.kind != Kind::OAuth2 {
        return Err(Error::invalid("credential.type", "is not the kind of this way to connect."));
    }
    let credential =
        Credential { token: Some(imported.token.clone()), others: imported.others.clone(), fields: BTreeMap::new() };
    if let Some((which, _)) =
        credential.tokens().find(|(_, one)| one.refresh_token.is_some() && one.expires_at.is_none())
    {
        let field = which.map_or_else(String::new, |name| format!("tokens.{name}."));
        return Err(Error::invalid(
            &format!("credential.{field}expires_at"),
            "must be given beside a refresh token: else nobody knows when to renew.",
        ));
    }
    let known = app.server().map(|server| &server.tokens);
    if let Some(name) = imported.others.keys().find(|name| known.is_none_or(|tokens| !tokens.contains_key(*name))) {
        return Err(Error::invalid(&format!("credential.tokens.{name}"), "is no further token of this app."));
    }
    let mut had = Had { credential, tokens: None, granted: imported.scopes.clone() };
    if imported.token.expires_at.is_some_and(|end| end < core.now().plus(NEAR_END)) {
        renew(core, offer, &mut had, variables).await?;
    }
    Ok(had)
}

/// Renews an imported token before it is stored. The tokens that were imported may be dead afterwards.
async fn renew<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    had: &mut Had,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    let app = &*offer.app;
    let Some(token) = had.credential.token.clone() else { return Ok(()) };
    let (Some(refresh_token), Some(client)) = (&token.refresh_token, &offer.client) else {
        return Err(rejected(app, Some("expired")));
    };
    let at = registry::endpoints(core, app, variables).await?;
    let keys = server::client_keys(core, client, (app, &at), variables).await?;
    let values = server::values(app, &had.credential, variables);
    let server = app.oauth2()?;
    let parties = Parties { server, at: &at, client: &keys, values: &values };
    let granted = had.granted.clone().unwrap_or_default();
    let scopes = server.scopes_of(None, &granted);
    let redirect_uri = start::redirect_uri(core, &client.id);
    let request = token::refresh_request(&parties, refresh_token, &scopes, &redirect_uri)
        .map_err(|problem| registry::misfit(app, &problem))?;
    let asked_at = core.now();
    let answer = token::read_answer(app, &core.ports.http().send(request).await, asked_at);
    if let Answer::Refused(Refusal { class: Class::Client, .. }) = &answer {
        return Err(Error::new(
            Code::ClientMisconfigured,
            format!(
                "{} refuses this workspace's OAuth client, so nothing was stored. Tokens live with the client that they were given to: set up that one.",
                app.name
            ),
        ));
    }
    let tokens = issued(app, answer)?;
    had.credential.token = Some(token.merged_with(&tokens));
    if let Some(said) = &tokens.scopes {
        // It speaks for the first token only.
        let further = granted.into_iter().filter(|scope| !scopes.contains(scope));
        had.granted = Some(said.iter().cloned().chain(further).collect());
    }
    had.tokens = Some(tokens);
    Ok(())
}

/// Asks the app whose credential it is, or, where it has no way to tell, whether it works.
async fn check<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    had: &mut Had,
    variables: BTreeMap<String, String>,
) -> Result<Found> {
    let told = match ask(core, &offer.app, had, variables.clone()).await? {
        Err(ProbeVerdict::Refused) if may_renew(had) => {
            renew(core, offer, had, &variables).await?;
            ask(core, &offer.app, had, variables.clone()).await?
        }
        told => told,
    };
    match told {
        // What was imported may be dead since it was renewed: the new tokens are kept, and believed to be for the account
        // that they are given for.
        Err(ProbeVerdict::Unavailable { .. } | ProbeVerdict::Odd) if was_renewed(offer, had) => {
            let account = offer.connection.as_ref().and_then(|connection| connection.account.clone());
            Ok(Found { account, granted: None, variables })
        }
        told => told.map_err(|verdict| refused(&offer.app, verdict)),
    }
}

fn was_renewed(offer: &Offer, had: &Had) -> bool {
    offer.app.kind == Kind::OAuth2 && had.tokens.is_some()
}

/// An imported token that has not been renewed yet.
fn may_renew(had: &Had) -> bool {
    had.tokens.is_none() && had.credential.token.as_ref().is_some_and(|token| token.refresh_token.is_some())
}

async fn ask<P: Ports>(
    core: &Core<P>,
    app: &App,
    had: &Had,
    variables: BTreeMap<String, String>,
) -> Result<std::result::Result<Found, ProbeVerdict>> {
    let at = match app.issuer() {
        Some(_) => Some(registry::endpoints(core, app, &variables).await?),
        None => None,
    };
    let identity = at.as_ref().map_or(app.identity.as_ref(), |at| at.identity.as_ref());
    let asked = Asked { app, identity, credential: &had.credential, tokens: had.tokens.as_ref() };
    let unknown = |variables| Found { account: None, granted: None, variables };
    match account::find(core, &asked, variables.clone()).await? {
        Ok(Found { account: None, granted, variables }) => {
            let works = account::works(core, &asked, &variables).await?;
            Ok(works.map(|()| Found { account: None, granted, variables }))
        }
        // It works, but must not be asked whose it is.
        Err(ProbeVerdict::Forbidden) => Ok(Ok(unknown(variables))),
        told => Ok(told),
    }
}

fn refused(app: &App, verdict: ProbeVerdict) -> Error {
    match verdict {
        ProbeVerdict::Unavailable { retry_after } => unavailable(app, retry_after),
        ProbeVerdict::Odd => Error::new(
            Code::CredentialRejected,
            format!(
                "{} did not say that this credential works: its answer tells nothing. Check what was entered.",
                app.name
            ),
        ),
        ProbeVerdict::Refused | ProbeVerdict::Forbidden | ProbeVerdict::Works => rejected(app, None),
    }
}

/// The app's own code tells more than a sentence of ours could.
fn rejected(app: &App, code: Option<&str>) -> Error {
    let told = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Error::new(
        Code::CredentialRejected,
        format!(
            "{} did not accept this credential{told}, so nothing was stored. Copy it again from the app.",
            app.name
        ),
    )
}

fn unavailable(app: &App, retry_after: Option<i64>) -> Error {
    Error::new(
        Code::AppUnavailable,
        format!("{} could not be asked whether this credential works, so nothing was stored. Try again.", app.name),
    )
    .hint(|hints| hints.retry_after = Some(retry_after.unwrap_or(30)))
}

/// A flow whose person was never sent away: it carries what settling needs, and a question if one arises.
async fn begin<P: Ports>(
    core: &Core<P>,
    wish: &Wish,
    offer: &Offer,
    found: &Found,
    session_hash: &str,
) -> Result<Authorization> {
    let now = core.now();
    let flow = Authorization {
        id: AuthorizationId::random(core.ports.random())?,
        session_hash: session_hash.to_owned(),
        workspace: wish.workspace.clone(),
        app: offer.app.id.clone(),
        app_revision: offer.revision,
        way: offer.app.way.clone(),
        variables: found.variables.clone(),
        client: offer.client.as_ref().map(|client| client.id.clone()),
        connection: wish.connection.clone(),
        generation: offer.connection.as_ref().map(|connection| connection.generation),
        link: wish.link.as_ref().map(|link| link.id.clone()),
        user: wish.user.clone(),
        scopes: offer.scopes.clone(),
        issuer: None,
        iss_promised: false,
        sealed_verifier: None,
        return_to: wish.return_to.clone(),
        outcome: Outcome::Pending,
        error: None,
        sealed_grant: None,
        pending: None,
        used_at: Some(now),
        created_at: now,
        expires_at: now.plus(FLOW_KEPT),
    };
    // Nobody comes back with a state: it is made up and told to nobody.
    let state = Secret::new(random_text::<32>(core.ports.random())?);
    authorizations::insert(core.db(), &flow, &crate::caller::hash(state.expose())).await?;
    Ok(flow)
}

/// What was granted where nobody says: as asked (RFC 6749, 5.1) where something was asked for.
fn said_nothing(app: &App, requested: &[String]) -> Vec<String> {
    if app.kind.has_tokens() { requested.to_vec() } else { vec![] }
}

fn grant(app: &App, paste: &Paste, had: Had, found: Found, (requested, obtained_at): (&[String], Timestamp)) -> Grant {
    let Had { credential, tokens, granted } = had;
    let server = app.server();
    let refreshable = credential.is_refreshable() || app.mints();
    let idle = server.and_then(|server| server.refresh_token_idle).filter(|_| credential.is_refreshable());
    Grant {
        account: found.account.map(|account| marked(app, &credential, account)),
        granted: app.granted(&granted.or(found.granted).unwrap_or_else(|| said_nothing(app, requested)), requested),
        expires_at: credential.expires_at(),
        refresh_expires_at: tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at),
        refresh_idle_until: idle.map(|seconds| obtained_at.plus(seconds)),
        grant_expires_at: None,
        variables: found.variables,
        obtained_at,
        refreshable,
        name: paste.name.clone(),
        metadata: paste.metadata.clone(),
        actor: paste.actor.clone(),
        imported: matches!(paste.entered, Entered::Tokens(_)),
        credential,
    }
}

/// What the beginning of a value tells stands behind the account: a test key must not pass for a live one.
fn marked(app: &App, credential: &Credential, account: Account) -> Account {
    let labels = marks(app, &credential.fields).filter_map(|mark| mark.label.as_deref());
    let label = labels.fold(account.label.clone(), |label, mark| format!("{label} ({mark})"));
    Account { label, ..account }
}

/// The marks that the entered values carry.
pub fn marks<'a>(app: &'a App, fields: &'a BTreeMap<String, Secret>) -> impl Iterator<Item = &'a Mark> {
    app.fields.iter().filter_map(|field| field.mark(fields.get(&field.id)?.expose().trim()))
}

/// What a failed settling means to a program.
pub fn failed(failure: Failure) -> Error {
    Error::new(Code::Conflict, failure.explained())
}
