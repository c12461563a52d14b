//! How many things a workspace may have, and what to say where it has as many.

use crate::context::{Context, ContextDatabase};
use crate::error::{Error, ErrorCode};
use crate::ids::WorkspaceId;
use crate::ports::{DatabaseError, Ports};
use crate::store::quotas::{self, GuardedDatabase};

pub use crate::store::quotas::Quota;

/// Connections of a workspace, at most. Those that are begun at the same moment may pass it.
const MOST_CONNECTIONS: i64 = 100_000;

/// The database, for an insert that quotas limit. What it answers goes to [`map_insert_error`].
pub fn guard_database<'a, P: Ports>(
    context: &'a Context<P>,
    workspace: &WorkspaceId,
    limits: &[Quota<'_>],
) -> GuardedDatabase<'a, ContextDatabase<P>> {
    GuardedDatabase::new(context.db(), workspace, limits)
}

/// What came of an insert by a guarded database.
///
/// # Errors
/// `limit_reached` with what to do, where a quota did not allow it.
pub async fn map_insert_error<P: Ports, T>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    limits: &[Quota<'_>],
    inserted: Result<T, DatabaseError>,
) -> Result<T, Error> {
    if matches!(inserted, Err(DatabaseError::Constraint)) {
        for quota in limits {
            if quotas::is_reached(context.db(), workspace, *quota).await? {
                return Err(limit_reached(*quota));
            }
        }
        // Another rule of the schema said no.
    }
    Ok(inserted?)
}

/// The refusal of one more.
fn limit_reached(quota: Quota<'_>) -> Error {
    let error = Error::new(
        ErrorCode::LimitReached,
        match quota {
            Quota::Keys => "A workspace may have 1,000 keys. Delete one that is not needed (DELETE /v1/keys/{id}).",
            Quota::OpenLinks(_) => {
                "A workspace may have 10,000 open links. Wait until some are used or expire, or give new ones a shorter expires_in."
            }
            Quota::SignInLinks(..) => {
                "A user may have 1,000 unused sign-in links. Use one of them, or wait until they expire (ten minutes)."
            }
            Quota::Apps => {
                "A workspace may have 200 custom apps. Delete one that is not needed (DELETE /v1/apps/{app})."
            }
            Quota::Webhooks => {
                "A workspace may have 20 webhooks. Delete one that is not needed (DELETE /v1/webhooks/{id})."
            }
            Quota::Revisions(_) => {
                "Connections use 100 revisions of this app. This is the maximum. Reconnect or disconnect some of them first."
            }
        },
    );
    let for_people = match quota {
        Quota::Keys => "A workspace may have 1,000 API keys. Revoke one that is not needed.",
        Quota::OpenLinks(_) => "A workspace may have 10,000 open links. End some of them, or wait until they expire.",
        Quota::SignInLinks(..) => {
            "This person has 1,000 unused sign-in links. Wait ten minutes, until they have expired."
        }
        Quota::Apps => "A workspace may have 200 custom apps. Delete one that is not needed.",
        Quota::Webhooks => "A workspace may have 20 webhooks. Delete one that is not needed.",
        Quota::Revisions(_) => return error,
    };
    error.with_hints(|h| h.for_people = Some(for_people.to_owned()))
}

/// Refuses where a workspace has as many connections as it may have.
///
/// # Errors
/// `limit_reached` with what to do.
pub async fn check_connection_quota<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<(), Error> {
    if quotas::count_connections(context.db(), workspace).await? >= MOST_CONNECTIONS {
        return Err(Error::new(
            ErrorCode::LimitReached,
            "A workspace may have 100,000 connections. Disconnect those that are not needed (DELETE /v1/connections/{id}).",
        ));
    }
    Ok(())
}
