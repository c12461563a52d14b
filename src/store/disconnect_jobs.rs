//! Rows of `denied_apps` and `disconnect_jobs`: one denies every connection of an app, or of one of its clients, that was made
//! until a time; the other says how far those are ended.
//!
//! Owns both rows and the steps behind them: connections are ended a few at a time and then handled like every ended one.
//! The statements that read a connection look at the first row themselves, by the condition `is_not_denied`.

use serde::Serialize;

use super::{Columns, FromRow, StoreResult, json_text, query_first, read_count, read_first};
use crate::app::AppId;
use crate::ids::{ClientId, ConnectionId, JobId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::sql;
use crate::time::Timestamp;

/// Connections and uses that are counted before a job begins, at most.
pub const MOST_COUNTED: i64 = 10_000;
/// Apps of a workspace that the cache is told one by one, at most.
const MOST_DENIED_APPS: i64 = 200;
/// Grants that wait for a choice and end with one press, at most.
const MOST_WAITING_GRANTS: i64 = 1_000;
/// Unfinished jobs that a run takes a step of.
const JOBS_PER_RUN: i64 = 5;
/// Seconds after which no connection can appear any more that was made before a job began.
const SETTLED_AFTER: i64 = 120;

/// The live connections of the app, or of one of its clients.
macro_rules! of_job {
    () => {
        "workspace_id = ?1 AND app = ?2 AND deleted_at IS NULL AND (?3 = '' OR oauth_client = ?3)"
    };
}

const COUNT_CONNECTIONS: &str =
    concat!("SELECT count(*) AS n FROM (SELECT 1 FROM connections WHERE ", of_job!(), " LIMIT ?4)");
const COUNT_WORKFLOWS: &str = concat!(
    "SELECT count(DISTINCT workflow) AS workflows, count(*) AS n FROM (SELECT u.workflow FROM
      (SELECT id FROM connections WHERE ",
    of_job!(),
    " LIMIT ?4) bounded CROSS JOIN uses u ON u.connection_id = bounded.id LIMIT ?4)"
);
const FIND_UNFINISHED: &str = "SELECT * FROM disconnect_jobs
    WHERE workspace_id = ?1 AND app = ?2 AND oauth_client = ?3 AND finished_at IS NULL ORDER BY made_until DESC LIMIT 1";
/// One that is not finished goes on, for what was made since it began, too.
const INSERT: &str = "INSERT INTO disconnect_jobs (id, workspace_id, app, oauth_client, reason, made_until, connections, workflows,
      is_count_complete, created_at)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?6)
    ON CONFLICT (id) DO UPDATE SET made_until = max(made_until, excluded.made_until), tombstoned_at = NULL, finished_at = NULL";
const GET: &str = "SELECT * FROM disconnect_jobs WHERE workspace_id = ?1 AND id = ?2";
/// By turns, so that none waits for others that take long, or fail.
const TAKE_UNFINISHED: &str = "UPDATE disconnect_jobs SET taken_at = ?1 WHERE id IN
    (SELECT id FROM disconnect_jobs WHERE finished_at IS NULL ORDER BY taken_at LIMIT ?2) RETURNING *";
const DENY: &str = "INSERT INTO denied_apps (workspace_id, app, oauth_client, made_until) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (workspace_id, app, oauth_client) DO UPDATE SET made_until = max(made_until, excluded.made_until)";
/// Grants that wait for a person's choice, and could still become a connection. The scheduled run revokes what has expired. By
/// the index of all waiting grants: there are few.
const END_WAITING_GRANTS: &str = "UPDATE flows SET expires_at = ?4 WHERE id IN (SELECT id FROM flows
    WHERE sealed_grant IS NOT NULL AND expires_at > ?4 AND +workspace_id = ?1 AND +app = ?2 AND (?3 = '' OR oauth_client = ?3) LIMIT ?5)";
/// After the statement that finishes the job. Another job of the same target may go on.
const ALLOW: &str = "DELETE FROM denied_apps WHERE workspace_id = ?1 AND app = ?2 AND oauth_client = ?3
    AND EXISTS (SELECT 1 FROM disconnect_jobs j WHERE j.id = ?4 AND j.finished_at IS NOT NULL AND j.made_until >= denied_apps.made_until)";
const DENIED_APPS: &str =
    "SELECT DISTINCT app FROM disconnect_jobs WHERE workspace_id = ?1 AND made_until > ?2 ORDER BY app LIMIT ?3";
/// Not if another job has begun since the list of apps was read: what was written may have taken the place of a longer list.
const MARK_TOMBSTONED: &str = "UPDATE disconnect_jobs SET tombstoned_at = ?3 WHERE id = ?1 AND made_until = ?2
    AND NOT EXISTS (SELECT 1 FROM disconnect_jobs o WHERE o.workspace_id = ?4 AND o.made_until > ?5
      AND o.app NOT IN (SELECT value FROM json_each(?6)))";
/// Every app is denied: no list is too short.
const MARK_ALL_TOMBSTONED: &str = "UPDATE disconnect_jobs SET tombstoned_at = ?3 WHERE id = ?1 AND made_until = ?2";
const END_CONNECTIONS: &str = "UPDATE connections SET deleted_at = ?4, generation = generation + 1, next_check_at = NULL, disconnect_job = ?5
    WHERE id IN (SELECT id FROM connections WHERE workspace_id = ?1 AND app = ?2 AND created_at <= ?3 AND deleted_at IS NULL
      AND (?6 = '' OR oauth_client = ?6) LIMIT ?7)";
/// After the statement that ends connections.
const COUNT_ENDED: &str = "UPDATE disconnect_jobs SET ended = ended + changes() WHERE id = ?1";
const FINISH: &str = "UPDATE disconnect_jobs SET finished_at = ?2
    WHERE id = ?1 AND finished_at IS NULL AND made_until < ?3 AND ended = erased AND (tombstoned_at IS NOT NULL OR ?4)
      AND NOT EXISTS (SELECT 1 FROM connections c WHERE c.workspace_id = disconnect_jobs.workspace_id AND c.app = disconnect_jobs.app
        AND c.created_at <= disconnect_jobs.made_until AND c.deleted_at IS NULL
        AND (disconnect_jobs.oauth_client = '' OR c.oauth_client = disconnect_jobs.oauth_client))";
const COUNT_OUTCOMES: &str = "UPDATE disconnect_jobs SET
      confirmed = confirmed + (SELECT count(*) FROM json_each(?1) o CROSS JOIN connections c ON c.id = json_extract(o.value, '$[0]')
        WHERE c.disconnect_job = disconnect_jobs.id AND json_extract(o.value, '$[1]') = 'confirmed'),
      unsupported = unsupported + (SELECT count(*) FROM json_each(?1) o CROSS JOIN connections c ON c.id = json_extract(o.value, '$[0]')
        WHERE c.disconnect_job = disconnect_jobs.id AND json_extract(o.value, '$[1]') = 'unsupported'),
      kept_shared = kept_shared + (SELECT count(*) FROM json_each(?1) o CROSS JOIN connections c ON c.id = json_extract(o.value, '$[0]')
        WHERE c.disconnect_job = disconnect_jobs.id AND json_extract(o.value, '$[1]') = 'kept_shared'),
      failed = failed + (SELECT count(*) FROM json_each(?1) o CROSS JOIN connections c ON c.id = json_extract(o.value, '$[0]')
        WHERE c.disconnect_job = disconnect_jobs.id AND json_extract(o.value, '$[1]') = 'failed')
    WHERE id IN (SELECT c.disconnect_job FROM json_each(?1) o CROSS JOIN connections c ON c.id = json_extract(o.value, '$[0]'))";

/// What a job is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobTarget {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The app.
    pub app: AppId,
    /// Only the connections of this client.
    pub client: Option<ClientId>,
}

impl JobTarget {
    fn client_text(&self) -> &str {
        self.client.as_ref().map(ClientId::as_str).unwrap_or_default()
    }
}

/// What was counted before a job began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AffectedCounts {
    /// Connections, up to 10,000.
    pub connections: i64,
    /// Workflows that used them, as far as 10,000 uses tell.
    pub workflows: i64,
    /// Whether these are all.
    pub complete: bool,
}

/// What became of the grants of a job's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RevocationCounts {
    /// The app confirmed that the grant is revoked.
    pub confirmed: i64,
    /// The app has no way to revoke it. It is erased here.
    pub unsupported: i64,
    /// Another connection, of which the job is not about, has the same grant.
    pub kept_shared: i64,
    /// The app did not confirm it at the first try. It is tried again for a day.
    pub failed: i64,
    /// There was no credential left.
    pub without_credential: i64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisconnectJob {
    /// Id.
    pub id: JobId,
    /// What it is about.
    pub target: JobTarget,
    /// Why, as somebody said.
    pub reason: String,
    /// Connections that were made until then are denied.
    pub made_until: Timestamp,
    /// What was counted when it began.
    pub affected: AffectedCounts,
    /// Connections that were ended so far.
    pub ended: i64,
    /// Those that were erased, after their grants were handled.
    pub erased: i64,
    /// What became of the grants.
    pub revoked: RevocationCounts,
    /// When it began.
    pub created_at: Timestamp,
    /// When the cache was told.
    pub tombstoned_at: Option<Timestamp>,
    /// When all was done.
    pub finished_at: Option<Timestamp>,
}

impl FromRow for DisconnectJob {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let unknown = || DatabaseError::Malformed("a job's app or client".into());
        let client = row.text("oauth_client")?;
        let client = (!client.is_empty()).then(|| ClientId::parse(&client).ok_or_else(unknown)).transpose()?;
        let erased = row.integer("erased")?;
        let mut revoked = RevocationCounts {
            confirmed: row.integer("confirmed")?,
            unsupported: row.integer("unsupported")?,
            kept_shared: row.integer("kept_shared")?,
            failed: row.integer("failed")?,
            without_credential: 0,
        };
        let handled = revoked.confirmed + revoked.unsupported + revoked.kept_shared + revoked.failed;
        revoked.without_credential = (erased - handled).max(0);
        Ok(Self {
            id: row.id("id")?,
            target: JobTarget {
                workspace: row.id("workspace_id")?,
                app: AppId::parse(&row.text("app")?).ok_or_else(unknown)?,
                client,
            },
            reason: row.text("reason")?,
            made_until: row.time("made_until")?,
            affected: AffectedCounts {
                connections: row.integer("connections")?,
                workflows: row.integer("workflows")?,
                complete: row.boolean("is_count_complete")?,
            },
            ended: row.integer("ended")?,
            erased,
            revoked,
            created_at: row.time("created_at")?,
            tombstoned_at: row.optional_time("tombstoned_at")?,
            finished_at: row.optional_time("finished_at")?,
        })
    }
}

/// Counts what a job would end, and finds one that is not finished, in one round trip.
pub async fn count_affected(
    db: &impl Database,
    of: &JobTarget,
) -> StoreResult<(AffectedCounts, Option<DisconnectJob>)> {
    let client = of.client_text();
    let answers = db
        .batch(vec![
            sql!(COUNT_CONNECTIONS, &of.workspace, &of.app, client, MOST_COUNTED),
            sql!(COUNT_WORKFLOWS, &of.workspace, &of.app, client, MOST_COUNTED),
            sql!(FIND_UNFINISHED, &of.workspace, &of.app, client),
        ])
        .await?;
    let [connections, uses, unfinished] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let connections = read_count(connections)?;
    let complete = connections < MOST_COUNTED && read_count(uses)? < MOST_COUNTED;
    let workflows = uses.rows.first().map(Columns).map_or(Ok(0), |row| row.integer("workflows"))?;
    Ok((AffectedCounts { connections, workflows, complete }, read_first(unfinished)?))
}

/// The statements that deny the connections and begin a job, or have an unfinished one go on.
pub fn begin(id: &JobId, of: &JobTarget, reason: &str, affected: AffectedCounts, now: Timestamp) -> Vec<Statement> {
    let AffectedCounts { connections, workflows, complete } = affected;
    let client = of.client_text();
    vec![
        sql!(INSERT, id, &of.workspace, &of.app, client, reason, now, connections, workflows, complete),
        sql!(DENY, &of.workspace, &of.app, client, now),
    ]
}

/// The statement that ends grants of the app which wait for a person's choice.
pub fn end_waiting_grants(of: &JobTarget, now: Timestamp) -> Statement {
    sql!(END_WAITING_GRANTS, &of.workspace, &of.app, of.client_text(), now, MOST_WAITING_GRANTS)
}

/// The statement that ends the time in which disconnected connections of the app could be brought back.
pub fn end_undo(of: &JobTarget, now: Timestamp) -> Statement {
    super::disconnected::end_of_app(&of.workspace, &of.app, of.client_text(), now)
}

/// A job of a workspace.
pub async fn get(db: &impl Database, workspace: &WorkspaceId, id: &JobId) -> StoreResult<Option<DisconnectJob>> {
    query_first(db, sql!(GET, workspace, id)).await
}

/// The statement that takes the jobs that a run takes a step of: those whose last turn is longest ago.
pub(super) fn take_unfinished(now: Timestamp) -> Statement {
    sql!(TAKE_UNFINISHED, now, JOBS_PER_RUN)
}

/// The readable ones.
pub(super) fn read_unfinished(rows: &Rows) -> Vec<DisconnectJob> {
    super::erasing::read_valid_rows(rows)
}

/// The apps whose connections were denied since a time. `None`: too many to name them.
pub async fn list_denied_apps(
    db: &impl Database,
    workspace: &WorkspaceId,
    since: Timestamp,
) -> StoreResult<Option<Vec<String>>> {
    let rows = super::run_statement(db, sql!(DENIED_APPS, workspace, since, MOST_DENIED_APPS + 1)).await?;
    let apps = rows.rows.iter().map(|row| Columns(row).text("app")).collect::<StoreResult<Vec<_>>>()?;
    Ok(Some(apps).filter(|apps| i64::try_from(apps.len()).is_ok_and(|count| count <= MOST_DENIED_APPS)))
}

/// Records that the cache was told of a job, by these apps that were denied since a time (`None`: by all). Returns whether
/// that is still right: not if another app was denied in the meantime.
pub async fn mark_tombstoned(
    db: &impl Database,
    job: &DisconnectJob,
    told: Option<&[String]>,
    since: Timestamp,
    now: Timestamp,
) -> StoreResult<bool> {
    let mark = match told {
        None => sql!(MARK_ALL_TOMBSTONED, &job.id, job.made_until, now),
        Some(apps) => {
            sql!(MARK_TOMBSTONED, &job.id, job.made_until, now, &job.target.workspace, since, json_text(apps))
        }
    };
    Ok(super::run_statement(db, mark).await?.changes > 0)
}

/// A step of a job: ends some of its connections, as if no run had taken them since `ended_at`, or finishes it if nothing is
/// left. Returns how many were ended.
pub async fn run_step(
    db: &impl Database,
    job: &DisconnectJob,
    ended_at: Timestamp,
    limit: i64,
    has_cache: bool,
    now: Timestamp,
) -> StoreResult<u64> {
    let JobTarget { workspace, app, .. } = &job.target;
    let client = job.target.client_text();
    let answers = db
        .batch(vec![
            sql!(END_CONNECTIONS, workspace, app, job.made_until, ended_at, &job.id, client, limit),
            sql!(COUNT_ENDED, &job.id),
            sql!(FINISH, &job.id, now, now.plus(-SETTLED_AFTER), !has_cache),
            sql!(ALLOW, workspace, app, client, &job.id),
        ])
        .await?;
    Ok(answers.first().map_or(0, |rows| rows.changes))
}

/// The statement that counts what became of the grants of connections, for the jobs that ended them. It comes before the
/// connections are erased.
pub fn count_outcomes(outcomes: &[(&ConnectionId, &str)]) -> Statement {
    sql!(COUNT_OUTCOMES, json_text(outcomes))
}
