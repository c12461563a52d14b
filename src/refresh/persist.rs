//! A renewal reaches the record, or the lifeboat: what an app gave once it does not give again.
//!
//! Owns how often and how long writing is tried, and what became of a write that seemed to fail. Refuses to overwrite
//! what somebody else has stored meanwhile.

use serde_json::json;

use crate::connection::Connection;
use crate::core::Core;
use crate::credential::Credential;
use crate::disconnect;
use crate::error::Result;
use crate::patience::within;
use crate::ports::{Clock, Database, DatabaseError, ErrandOutcome, Lifeboat, Ports};
use crate::store::refreshes::{self, Fate, Renewal};
use crate::store::{clients, connections};

use super::redemption::Redemption;

/// How long a write is tried again, in milliseconds; together under 10 s.
const PERSIST_WAITS: [u32; 5] = [100, 300, 900, 2000, 4000];
/// How long writing may take with all its tries, in milliseconds, however slow the record is.
const PERSIST_LIMIT: u32 = 10_000;

/// Delivers what a lifeboat kept. Answers whether the record has it, or no longer wants it.
pub async fn deliver<P: Ports>(core: &Core<P>, kept: &str) -> bool {
    let Ok(renewal) = serde_json::from_str::<Renewal>(kept) else {
        core.log("error", "renewal_unreadable", &json!({}));
        return true;
    };
    let fate = persist_once(core, &renewal, Bookkeeping::Behind).await;
    if fate == Ok(Fate::Overtaken) {
        core.log("warn", "renewal_overtaken", &json!({ "connection": renewal.attempt.connection.as_str() }));
    }
    fate.is_ok()
}

pub(super) async fn store_renewal<P: Ports>(
    core: &Core<P>,
    of: &Redemption<'_>,
    renewal: &Renewal,
    success: ErrandOutcome,
) -> Result<ErrandOutcome> {
    let connection = &of.case.connection;
    match persist(core, renewal).await {
        Persisted::Yes => {
            if connection.status == crate::connection::Status::NeedsReconnect {
                core.log("info", "connection_revived", &json!({ "connection": connection.id.as_str() }));
            }
            Ok(success)
        }
        // Somebody redeemed a newer token of the same grant: theirs is the one that counts.
        Persisted::Superseded => Ok(ErrandOutcome::Satisfied),
        Persisted::Overtaken => {
            discard(core, of, renewal).await;
            Ok(ErrandOutcome::Gone)
        }
        Persisted::Kept => {
            core.log("error", "renewal_kept", &json!({ "connection": connection.id.as_str() }));
            Ok(ErrandOutcome::DatabaseDown)
        }
        Persisted::Lost => {
            core.log("error", "renewal_lost", &json!({ "connection": connection.id.as_str() }));
            Ok(ErrandOutcome::DatabaseDown)
        }
    }
}

/// An answer for a connection that was reconnected or disconnected meanwhile: a grant that nobody holds
/// any more, unless a newer generation lives on it.
async fn discard<P: Ports>(core: &Core<P>, of: &Redemption<'_>, renewal: &Renewal) {
    let connection = &of.case.connection;
    core.log("warn", "renewal_overtaken", &json!({ "connection": connection.id.as_str() }));
    let place = Credential::place(&connection.workspace, &connection.id, connection.generation);
    if let Ok(credential) = Credential::open(&core.config.ring, &place, &renewal.sealed)
        && !goes_on_in_part(core, connection, &credential).await
    {
        let account = connection.account.as_ref().map(|account| account.id.as_str());
        let destinations = Some(&*of.talk.destinations);
        let held =
            disconnect::Held { credential: &credential, account, variables: &connection.variables, destinations };
        disconnect::discard(core, &of.talk.app, (&connection.workspace, of.case.client.as_ref()), &held).await;
    }
}

/// Whether the connection of today lives on something of this: a reconnect may have inherited the refresh token. Nobody who
/// can't tell revokes.
async fn goes_on_in_part<P: Ports>(core: &Core<P>, before: &Connection, credential: &Credential) -> bool {
    let Ok(now) = connections::get(core.db(), &before.workspace, &before.id).await else { return true };
    let living = now.and_then(|now| now.credential(&core.config.ring));
    living.is_some_and(|living| living.shares_a_secret_with(credential))
}

enum Persisted {
    Yes,
    Superseded,
    Overtaken,
    Kept,
    Lost,
}

/// Writes within the time there is; what the record does not take by then goes to the lifeboat.
async fn persist<P: Ports>(core: &Core<P>, renewal: &Renewal) -> Persisted {
    let tried = within(core.ports.clock(), PERSIST_LIMIT, persist_repeatedly(core, renewal)).await;
    if let Some(Some(persisted)) = tried {
        return persisted;
    }
    let kept = serde_json::to_string(renewal).unwrap_or_default();
    if core.ports.lifeboat().keep(&renewal.attempt.connection, &kept).await { Persisted::Kept } else { Persisted::Lost }
}

/// Writes until it is written, and asks the record what became of a write that seemed to fail.
async fn persist_repeatedly<P: Ports>(core: &Core<P>, renewal: &Renewal) -> Option<Persisted> {
    let mut bookkeeping = Bookkeeping::Within;
    for wait in PERSIST_WAITS.into_iter().map(Some).chain([None]) {
        if let Ok(fate) = persist_once(core, renewal, bookkeeping).await {
            return Some(match fate {
                Fate::Applied => Persisted::Yes,
                Fate::Superseded | Fate::Waiting => Persisted::Superseded,
                Fate::Overtaken => Persisted::Overtaken,
            });
        }
        bookkeeping = Bookkeeping::Behind;
        if let Some(milliseconds) = wait {
            core.ports.clock().sleep(milliseconds).await;
        }
    }
    None
}

/// Where it is noted that the client works: in the transaction of the renewal, or, once that has failed, behind it, so that
/// nothing else can keep the renewal from being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bookkeeping {
    Within,
    Behind,
}

/// One try: the write, then, when it changed nothing, what the record says of it. `Waiting` can't be
/// the end: a record that still waits takes the write.
async fn persist_once<P: Ports>(
    core: &Core<P>,
    renewal: &Renewal,
    bookkeeping: Bookkeeping,
) -> std::result::Result<Fate, DatabaseError> {
    let attempt = &renewal.attempt;
    let working = attempt.client.as_ref().map(|client| clients::mark_working(&attempt.workspace, client));
    let (within, behind) = match bookkeeping {
        Bookkeeping::Within => (working, None),
        Bookkeeping::Behind => (None, working),
    };
    let written = core.db().batch([refreshes::persist(renewal)].into_iter().chain(within).collect()).await?;
    if written.first().is_some_and(|rows| rows.changes > 0) {
        if let Some(statement) = behind
            && let Err(error) = core.db().batch(vec![statement]).await
        {
            core.log_cause(&error.into());
        }
        return Ok(Fate::Applied);
    }
    match refreshes::fate(core.db(), attempt).await? {
        Fate::Waiting => Err(DatabaseError::Unavailable("a write was neither applied nor refused".into())),
        fate => Ok(fate),
    }
}
