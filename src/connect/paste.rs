//! A credential that somebody enters: an API key, a bot token, a client of their own, a key file, or tokens that an app
//! gave elsewhere.
//!
//! Owns the way from there to a grant: `enter` or `import` takes it, `check` asks the app about it before anything is
//! stored. What the app refuses is not kept. What it becomes (a new connection, a repaired one, a question to the
//! person) is [`super::settle`]'s to decide, as for every grant.

mod check;
mod complaints;
mod enter;
mod import;

use std::collections::BTreeMap;

use crate::app::{App, Mark, Origin};
use crate::connection::Account;
use crate::core::Core;
use crate::credential::{Credential, Token};
use crate::destinations::Destinations;
use crate::error::{Error, Result};
use crate::ids::{AuthorizationId, random_token};
use crate::ports::{Clock, Database, DatabaseError, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{self, Authorization, Outcome};
use crate::time::Timestamp;
use crate::token::TokenSet;

use super::FLOW_KEPT;
use super::account::{self, Found};
use super::settle::{self, Deciding, Grant};
use super::start::{self, Offer, Wish};

pub use complaints::failed;
use complaints::spent;

use check::{check, fits};
use enter::enter;
use import::{complete, import};

/// How long until a flow is stored once more, in milliseconds.
const INSERT_WAITS: [u32; 2] = [100, 500];

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
    paste_offered(core, (wish, &start::offer(core, wish).await?), paste, session_hash, deciding).await
}

/// The same with what was offered: whoever has looked at its hosts must get that, and no later edition of it.
pub async fn paste_offered<P: Ports>(
    core: &Core<P>,
    (wish, offer): (&Wish, &Offer),
    paste: Paste,
    session_hash: &str,
    deciding: Deciding,
) -> Result<Authorization> {
    let app = &*offer.app;
    let obtained_at = core.now();
    let (mut had, mut variables) = match &paste.entered {
        Entered::Fields(fields) => {
            let variables = start::variables(offer, &wish.variables)?;
            (enter(core, app, fields, (&offer.scopes, &variables)).await?, variables)
        }
        Entered::Tokens(imported) => {
            let mut variables = start::imported_variables(offer, &wish.variables)?;
            with_what_is_told(app, None, &mut variables);
            // Before a refresh token is used that may be good once.
            complete(app, &variables, |from| !matches!(from, Origin::Identity(_)) || !paste.check)?;
            (import(core, offer, imported, &variables).await?, variables)
        }
    };
    with_what_is_told(app, had.tokens.as_ref(), &mut variables);
    let checked = if paste.check {
        check(core, offer, &mut had, variables).await
    } else {
        Ok(Checked { found: Found { account: None, granted: None, variables }, is_proven: false })
    };
    let is_spent = had.renewed == Renewed::Rotated;
    let stored = match checked {
        Ok(checked) => store(core, (wish, offer), (paste, had, checked, obtained_at), session_hash, deciding).await,
        Err(error) => Err(error),
    };
    stored.map_err(|error| if is_spent { spent(error) } else { error })
}

/// Stores a credential that was tried.
async fn store<P: Ports>(
    core: &Core<P>,
    (wish, offer): (&Wish, &Offer),
    (paste, had, Checked { found, is_proven }, obtained_at): (Paste, Had, Checked, Timestamp),
    session_hash: &str,
    deciding: Deciding,
) -> Result<Authorization> {
    let app = &*offer.app;
    if matches!(paste.entered, Entered::Tokens(_)) && had.renewed == Renewed::No {
        complete(app, &found.variables, |_| true)?;
    }
    fits(app, &had.credential, &found)?;
    let is_spent = had.renewed == Renewed::Rotated;
    let at = registry::endpoints_if_any(core, app, &found.variables).await?;
    let destinations = Destinations::of_grant(app, at.as_ref(), &found.variables);
    let flow = begin(core, wish, offer, (&found, &destinations), session_hash).await?;
    let grant = grant(app, &paste, (had, is_proven), (found, destinations), (&offer.scopes, obtained_at));
    let failure = Box::pin(settle::settle_arrived(core, &flow, app, grant, deciding)).await?;
    if let Some(failure) = failure {
        let end = authorizations::end(&flow.id, Outcome::Failed, Some(failure.as_str()), None);
        core.db().batch(vec![end]).await?;
        if is_spent {
            return Err(failed(failure));
        }
    }
    let ended = authorizations::get_in_workspace(core.db(), &flow.workspace, &flow.id).await?;
    ended.ok_or_else(|| Error::internal("a flow that has just ended is not there"))
}

/// Adds what a token answer tells of the variables, or what is usual. What was given is meant.
fn with_what_is_told(app: &App, tokens: Option<&TokenSet>, variables: &mut BTreeMap<String, String>) {
    for (name, value) in account::told_by_tokens(app, tokens) {
        variables.entry(name).or_insert(value);
    }
}

/// A credential with what is known of it before the app was asked who it is.
struct Had {
    credential: Credential,
    /// The token answer, where a token was had.
    tokens: Option<TokenSet>,
    /// What was granted, as far as it was said.
    granted: Option<Vec<String>>,
    /// Whether it was imported and renewed on the way.
    renewed: Renewed,
}

/// What became of an imported token before it was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Renewed {
    /// It is as it was given.
    No,
    /// It was renewed, and its refresh token stayed.
    Kept,
    /// It was renewed, and its refresh token is another now: the imported one may be dead.
    Rotated,
}

/// What a check found out.
struct Checked {
    found: Found,
    /// Whether the app took the credential.
    is_proven: bool,
}

/// A flow whose person was never sent away: it carries what settling needs, and a question if one arises.
async fn begin<P: Ports>(
    core: &Core<P>,
    wish: &Wish,
    offer: &Offer,
    (found, destinations): (&Found, &Destinations),
    session_hash: &str,
) -> Result<Authorization> {
    let now = core.now();
    let flow = Authorization {
        id: AuthorizationId::random(core.ports.random(), wish.workspace.shard())?,
        session_hash: session_hash.to_owned(),
        workspace: wish.workspace.clone(),
        app: offer.app.id.clone(),
        app_revision: offer.revision,
        way: offer.app.way.clone(),
        variables: found.variables.clone(),
        destinations: offer.app.keeps_destinations().then(|| destinations.clone()),
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
    let state = Secret::new(random_token(core.ports.random(), flow.workspace.shard())?);
    insert(core, &flow, &crate::caller::hash(state.expose())).await?;
    Ok(flow)
}

/// Stores the flow, also when the first tries fail: tokens that were renewed on the way are nowhere else yet.
async fn insert<P: Ports>(core: &Core<P>, flow: &Authorization, state_hash: &str) -> Result<()> {
    let mut waits = INSERT_WAITS.into_iter();
    let mut is_repeated = false;
    loop {
        match (authorizations::insert(core.db(), flow, state_hash).await, waits.next()) {
            (Err(DatabaseError::Unavailable(_)), Some(milliseconds)) => {
                core.ports.clock().sleep(milliseconds).await;
                is_repeated = true;
            }
            // A try before was applied, though it was reported failed.
            (Err(DatabaseError::Constraint), _) if is_repeated => return Ok(()),
            (stored, _) => return Ok(stored?),
        }
    }
}

/// What was granted where nobody says: as asked (RFC 6749, 5.1) where something was asked for.
fn said_nothing(app: &App, requested: &[String]) -> Vec<String> {
    if app.kind.has_tokens() { requested.to_vec() } else { vec![] }
}

fn grant(
    app: &App,
    paste: &Paste,
    (had, is_proven): (Had, bool),
    (found, destinations): (Found, Destinations),
    (requested, obtained_at): (&[String], Timestamp),
) -> Grant {
    let Had { credential, tokens, granted, renewed: _ } = had;
    let server = app.server();
    let refreshable = credential.is_refreshable() || app.mints();
    let idle = server.and_then(|server| server.refresh_token_idle).filter(|_| credential.is_refreshable());
    Grant {
        account: found.account.map(|account| marked(app, &credential, account)),
        requested: requested.to_vec(),
        granted: app.granted(&granted.or(found.granted).unwrap_or_else(|| said_nothing(app, requested)), requested),
        expires_at: credential.expires_at(),
        refresh_expires_at: tokens.as_ref().and_then(|tokens| tokens.refresh_expires_at),
        refresh_idle_until: idle.map(|seconds| obtained_at.plus(seconds)),
        grant_expires_at: None,
        variables: found.variables,
        destinations: Some(destinations),
        obtained_at,
        refreshable,
        name: paste.name.clone(),
        metadata: paste.metadata.clone(),
        actor: paste.actor.clone(),
        proven: is_proven,
        imported: matches!(paste.entered, Entered::Tokens(_)),
        credential,
    }
}

/// What the beginning of a value tells stands behind the account: a test key must not pass for a live one.
pub fn marked(app: &App, credential: &Credential, account: Account) -> Account {
    let marks = marks(app, &credential.fields);
    marks.fold(account, |account, mark| account.marked(mark.label.as_deref(), mark.account.as_deref()))
}

/// The marks that the entered values carry.
pub fn marks<'a>(app: &'a App, fields: &'a BTreeMap<String, Secret>) -> impl Iterator<Item = &'a Mark> {
    app.fields.iter().filter_map(|field| field.mark(fields.get(&field.id)?.expose().trim()))
}
