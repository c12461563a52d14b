//! Stores new tokens in the database, or as a pending write: an app does not return them again.
//!
//! Owns how often and how long writing is retried, and what happened to a write that seemed to fail. Does not overwrite
//! what somebody else has stored in the meantime.

use serde_json::json;

use crate::connection::Connection;
use crate::context::Context;
use crate::credential::Credential;
use crate::error::Result;
use crate::ports::{Clock, Database, DatabaseError, PendingWrites, Ports, RefreshOutcome};
use crate::revocation;
use crate::store::refreshes::{self, AttemptRef, Renewal, WriteStatus};
use crate::store::{clients, connections};
use crate::timeout::with_timeout;

use super::attempt::RefreshAttempt;

/// Pauses between retries of a write, in milliseconds; less than 10 s in total.
const PERSIST_WAITS_MS: [u32; 5] = [100, 300, 900, 2000, 4000];
/// How long writing may take with all retries, in milliseconds, however slow the database is.
const PERSIST_LIMIT_MS: u32 = 10_000;

/// Stores a pending write. Returns whether the database has it, or does not need it any more.
pub async fn write_pending_renewal<P: Ports>(context: &Context<P>, kept: &str) -> bool {
    let Ok(renewal) = serde_json::from_str::<Renewal>(kept) else {
        context.log("error", "pending_write_unreadable", &json!({}));
        return true;
    };
    let Some(context) = &context.in_shard(renewal.attempt.connection.shard()) else {
        context.log("error", "database_not_bound", &json!({ "connection": renewal.attempt.connection.as_str() }));
        return false;
    };
    let fate = persist_once(context, &renewal, ClientUpdate::Afterwards).await;
    if fate == Ok(WriteStatus::GrantReplaced) {
        context.log("warn", "tokens_superseded", &json!({ "connection": renewal.attempt.connection.as_str() }));
    }
    fate.is_ok()
}

pub(super) async fn store_renewal<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    renewal: &Renewal,
    success: RefreshOutcome,
) -> Result<RefreshOutcome> {
    let connection = &of.loaded.connection;
    match persist_renewal(context, renewal).await {
        PersistOutcome::Stored => {
            if connection.status == crate::connection::ConnectionStatus::NeedsReconnect {
                context.log("info", "connection_recovered", &json!({ "connection": connection.id.as_str() }));
            }
            Ok(success)
        }
        // Somebody used a newer token of the same grant, and that one counts.
        PersistOutcome::Superseded => Ok(RefreshOutcome::StillValid),
        PersistOutcome::GrantReplaced => {
            discard_renewal(context, of, renewal).await;
            Ok(RefreshOutcome::NotFound)
        }
        PersistOutcome::Pending => {
            context.log("error", "token_write_pending", &json!({ "connection": connection.id.as_str() }));
            Ok(RefreshOutcome::DatabaseUnavailable)
        }
        PersistOutcome::Lost => {
            context.log("error", "tokens_lost", &json!({ "connection": connection.id.as_str() }));
            Ok(RefreshOutcome::DatabaseUnavailable)
        }
    }
}

/// A response for a connection that was reconnected or disconnected in the meantime: nobody uses the grant any more,
/// unless a newer generation does.
async fn discard_renewal<P: Ports>(context: &Context<P>, of: &RefreshAttempt<'_>, renewal: &Renewal) {
    let connection = &of.loaded.connection;
    context.log("warn", "tokens_superseded", &json!({ "connection": connection.id.as_str() }));
    let seal_context = Credential::seal_context(&connection.workspace, &connection.id, connection.generation);
    if let Ok(credential) = Credential::open(&context.config.key_ring, &seal_context, &renewal.sealed)
        && !shares_secret_with_current(context, connection, &credential).await
    {
        let account = connection.account.as_ref().map(|account| account.id.as_str());
        let destinations = Some(&*of.refresh_context.destinations);
        let held = revocation::RevocableCredential {
            credential: &credential,
            account,
            variables: &connection.variables,
            destinations,
        };
        revocation::revoke_unused(
            context,
            &of.refresh_context.auth_method,
            &connection.workspace,
            of.loaded.client.as_ref(),
            &held,
        )
        .await;
    }
}

/// Whether the current connection uses a secret of this credential: a reconnect may have carried over the refresh
/// token. If that is unknown, nothing is revoked.
async fn shares_secret_with_current<P: Ports>(
    context: &Context<P>,
    before: &Connection,
    credential: &Credential,
) -> bool {
    let Ok(now) = connections::get(context.db(), &before.workspace, &before.id).await else { return true };
    let living = now.and_then(|now| now.credential(&context.config.key_ring));
    living.is_some_and(|living| living.shares_a_secret_with(credential))
}

enum PersistOutcome {
    Stored,
    Superseded,
    GrantReplaced,
    Pending,
    Lost,
}

/// Writes within the time limit. What the database does not accept by then becomes a pending write.
async fn persist_renewal<P: Ports>(context: &Context<P>, renewal: &Renewal) -> PersistOutcome {
    let tried = with_timeout(context.ports.clock(), PERSIST_LIMIT_MS, persist_with_retries(context, renewal)).await;
    if let Some(Some(persisted)) = tried {
        return persisted;
    }
    let kept = serde_json::to_string(renewal).unwrap_or_default();
    if context.ports.pending_writes().keep(&renewal.attempt.connection, &kept).await {
        PersistOutcome::Pending
    } else {
        PersistOutcome::Lost
    }
}

/// Writes until it succeeds, and reads from the database what happened to a write that seemed to fail.
async fn persist_with_retries<P: Ports>(context: &Context<P>, renewal: &Renewal) -> Option<PersistOutcome> {
    let mut bookkeeping = ClientUpdate::InTransaction;
    for wait in PERSIST_WAITS_MS.into_iter().map(Some).chain([None]) {
        if let Ok(fate) = persist_once(context, renewal, bookkeeping).await {
            return Some(match fate {
                WriteStatus::Applied => PersistOutcome::Stored,
                WriteStatus::Superseded | WriteStatus::Pending => PersistOutcome::Superseded,
                WriteStatus::Moved(_) | WriteStatus::GrantReplaced => PersistOutcome::GrantReplaced,
            });
        }
        bookkeeping = ClientUpdate::Afterwards;
        if let Some(milliseconds) = wait {
            context.ports.clock().sleep(milliseconds).await;
        }
    }
    None
}

/// Where it is recorded that the client works: in the transaction of the renewal, or after it once that has failed, so
/// that nothing else can block storing the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientUpdate {
    InTransaction,
    Afterwards,
}

/// How often a write follows a connection that is disconnected and brought back all the time.
const MOST_MOVES: usize = 3;

/// The write, under the generation that the connection has by now: a disconnect that was undone has given it another one, and the
/// tokens belong to it all the same.
async fn persist_once<P: Ports>(
    context: &Context<P>,
    renewal: &Renewal,
    bookkeeping: ClientUpdate,
) -> std::result::Result<WriteStatus, DatabaseError> {
    let mut fate = try_persist(context, renewal, bookkeeping).await?;
    for _ in 0..MOST_MOVES {
        let WriteStatus::Moved(generation) = fate else { return Ok(fate) };
        let Some(moved) = move_to_generation(context, renewal, generation) else {
            return Ok(WriteStatus::GrantReplaced);
        };
        fate = try_persist(context, &moved, bookkeeping).await?;
    }
    if matches!(fate, WriteStatus::Moved(_)) { Err(not_applied()) } else { Ok(fate) }
}

/// The same tokens, sealed for another generation. `None`: they can't be opened.
fn move_to_generation<P: Ports>(context: &Context<P>, renewal: &Renewal, generation: i64) -> Option<Renewal> {
    let AttemptRef { workspace, connection, .. } = &renewal.attempt;
    let key_ring = &context.config.key_ring;
    let before = Credential::seal_context(workspace, connection, renewal.attempt.generation);
    let credential = Credential::open(key_ring, &before, &renewal.sealed).ok()?;
    let after = Credential::seal_context(workspace, connection, generation);
    let sealed = credential.seal(key_ring, context.ports.random(), &after).ok()?;
    let attempt = AttemptRef { generation, ..renewal.attempt.clone() };
    Some(Renewal { attempt, sealed, ..renewal.clone() })
}

fn not_applied() -> DatabaseError {
    DatabaseError::Unavailable("a write was neither applied nor refused".into())
}

/// One attempt: the write, then, if it changed nothing, what the database has. `Waiting` cannot be the end: a database
/// that still waits accepts the write.
async fn try_persist<P: Ports>(
    context: &Context<P>,
    renewal: &Renewal,
    bookkeeping: ClientUpdate,
) -> std::result::Result<WriteStatus, DatabaseError> {
    let attempt = &renewal.attempt;
    let working = attempt.client.as_ref().map(|client| clients::mark_working(&attempt.workspace, client));
    let (within, behind) = match bookkeeping {
        ClientUpdate::InTransaction => (working, None),
        ClientUpdate::Afterwards => (None, working),
    };
    let written = context.db().batch([refreshes::persist_renewal(renewal)].into_iter().chain(within).collect()).await?;
    if written.first().is_some_and(|rows| rows.changes > 0) {
        if let Some(statement) = behind
            && let Err(error) = context.db().batch(vec![statement]).await
        {
            context.log_cause(&error.into());
        }
        return Ok(WriteStatus::Applied);
    }
    match refreshes::read_write_status(context.db(), attempt).await? {
        WriteStatus::Pending => Err(not_applied()),
        fate => Ok(fate),
    }
}
