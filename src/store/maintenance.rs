//! What the scheduled run and the operator do across workspaces: deleting expired rows, key checks, the status.

use std::collections::BTreeMap;

use super::attention_sweeps::{self, AttentionSweep};
use super::authorizations::Flow;
use super::cache_deletes::{self, CacheDelete};
use super::clients;
use super::definition_moves::{self, DefinitionMove};
use super::disconnect_jobs::{self, DisconnectJob};
use super::emails::EmailBacklog;
use super::erasing::{self, DisconnectedConnection, STATUS_ROWS_COUNTED};
use super::keys;
use super::{Columns, FromRow, StoreResult, emails, outbox, read_count, read_first, run_statement, webhooks};
use crate::email::EmailSubscription;
use crate::ids::{ConnectionId, WorkspaceId};
use crate::ports::{Database, Rows, Statement};
use crate::retention::{self, PURGED_ROWS};
use crate::sql;
use crate::time::Timestamp;
use crate::webhook::Webhook;

/// What is deleted of each kind: of before `?1`, which is so many seconds ago, at most `?2` rows.
const PURGES: [(&str, i64); 14] = [
    (
        "DELETE FROM flows WHERE id IN (SELECT id FROM flows WHERE expires_at < ?1 LIMIT ?2)",
        retention::EXPIRED_FLOW_AGE,
    ),
    (
        "DELETE FROM connect_links WHERE id IN (SELECT id FROM connect_links WHERE expires_at < ?1 LIMIT ?2)",
        retention::EXPIRED_LINK_AGE,
    ),
    ("DELETE FROM sessions WHERE token_hash IN (SELECT token_hash FROM sessions WHERE expires_at <= ?1 LIMIT ?2)", 0),
    (
        "DELETE FROM sign_in_links WHERE token_hash IN (SELECT token_hash FROM sign_in_links WHERE expires_at <= ?1 LIMIT ?2)",
        0,
    ),
    ("DELETE FROM revocations WHERE id IN (SELECT id FROM revocations WHERE expires_at <= ?1 LIMIT ?2)", 0),
    (
        "DELETE FROM idempotent_requests WHERE id IN (SELECT id FROM idempotent_requests WHERE expires_at <= ?1 LIMIT ?2)",
        0,
    ),
    (
        "DELETE FROM client_tests WHERE (oauth_client, input_hash) IN (SELECT oauth_client, input_hash FROM client_tests WHERE started_at < ?1 LIMIT ?2)",
        retention::CLIENT_TEST_AGE,
    ),
    (
        "UPDATE flows SET sealed_verifier = NULL WHERE id IN
      (SELECT id FROM flows WHERE expires_at <= ?1 AND sealed_verifier IS NOT NULL LIMIT ?2)",
        0,
    ),
    (
        "DELETE FROM cache_deletes WHERE id IN (SELECT id FROM cache_deletes WHERE created_at <= ?1 LIMIT ?2)",
        retention::CACHE_DELETE_AGE,
    ),
    (
        "DELETE FROM disconnect_jobs WHERE id IN (SELECT id FROM disconnect_jobs WHERE finished_at IS NOT NULL AND finished_at < ?1 LIMIT ?2)",
        retention::FINISHED_JOB_AGE,
    ),
    (
        "DELETE FROM seen_app_events WHERE (oauth_client, event_hash) IN (SELECT oauth_client, event_hash FROM seen_app_events WHERE seen_at < ?1 LIMIT ?2)",
        retention::SEEN_EVENT_AGE,
    ),
    // Its deliveries go with it.
    (
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE occurred_at < ?1 LIMIT ?2)",
        retention::OUTBOX_AGE,
    ),
    ("DELETE FROM emails WHERE id IN (SELECT id FROM emails WHERE created_at < ?1 LIMIT ?2)", retention::OUTBOX_AGE),
    (
        "UPDATE subscriptions SET sealed_previous_secret = NULL, previous_secret_expires_at = NULL WHERE id IN
      (SELECT id FROM subscriptions WHERE sealed_previous_secret IS NOT NULL AND previous_secret_expires_at <= ?1 LIMIT ?2)",
        0,
    ),
];
const PURGE_EVENTS: &str = "DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE occurred_at < ?1 LIMIT ?2)";
/// Sealed tokens of a connection that needs a reconnect are kept for a week, so that "check now" may restore it.
const ERASE_REFUSED_CREDENTIALS: &str = concat!(
    "UPDATE connections SET sealed_credential = NULL, version = version + 1 WHERE id IN
    (SELECT id FROM connections WHERE reconnect_reason IS NOT NULL AND sealed_credential IS NOT NULL AND checked_at < ?2 LIMIT ?3)
    AND ",
    no_live_lease!("?1")
);
/// Most flows, and deleted workspaces, that a run takes.
const MOST_PER_KIND: i64 = 5;
/// Deleted workspaces that a run empties. The next run takes the next ones.
const MOST_WORKSPACES: i64 = 2;
/// Single disconnects that a run reads in addition to the oldest of the queue.
const NEWEST_DISCONNECTED: i64 = 5;
/// Workspaces that a run searches for what ends soon.
const MOST_SWEEPS: i64 = 5;
/// Seconds for which nobody is notified that a connection needs a reconnect: one that is repaired in between makes no noise.
/// The first run after that passes it on.
const HELD_FOR: i64 = 240;
/// A connection that no embedding product has confirmed within a week is ended.
const END_UNCONFIRMED: &str = "UPDATE connections SET deleted_at = ?1, generation = generation + 1, next_check_at = NULL WHERE id IN
    (SELECT id FROM connections WHERE deleted_at IS NULL AND status = 'awaiting_confirmation' AND created_at < ?2 LIMIT ?3)";
const EXPIRED_FLOWS: &str = select_flow!("expires_at <= ?1 AND sealed_grant IS NOT NULL ORDER BY expires_at LIMIT ?2");
const REVOKED_KEYS: &str =
    "SELECT id FROM api_keys WHERE revoked_at IS NOT NULL AND revoked_at <= ?1 AND is_ending IS NULL LIMIT 1";
const DUE_WEBHOOKS: &str =
    "SELECT 1 AS n FROM subscriptions WHERE due_at IS NOT NULL AND due_at <= ?1 AND channel = 'webhook' LIMIT 1";
const KEY_CHECKS: &str = "SELECT key_id, sealed_constant FROM encryption_key_checks";
const INSERT_KEY_CHECK: &str = "INSERT INTO encryption_key_checks (key_id, sealed_constant, created_at) VALUES (?1, ?2, ?3) ON CONFLICT (key_id) DO NOTHING";
const RECORD_RUN_START: &str = "INSERT INTO scheduled_runs (name, started_at) VALUES ('tick', ?1)
    ON CONFLICT (name) DO UPDATE SET started_at = ?1, finished_at = NULL";
/// How often runs begin tells how fast they catch up.
const KEEP_PREVIOUS_START: &str = "INSERT INTO scheduled_runs (name, started_at)
    SELECT 'tick_before', started_at FROM scheduled_runs WHERE name = 'tick' ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at";
const RECORD_RUN_END: &str = "UPDATE scheduled_runs SET finished_at = ?1, summary = ?2 WHERE name = 'tick'";
/// Each number of a summary is added to the one of the same name. A run that has not ended has none yet.
const ADD_TO_LAST_RUN: &str = "UPDATE scheduled_runs SET summary = (SELECT json_group_object(mine.key,
      mine.value + coalesce((SELECT other.value FROM json_each(?1) other WHERE other.key = mine.key), 0)) FROM json_each(summary) mine)
    WHERE name = 'tick' AND finished_at IS NOT NULL AND summary IS NOT NULL";
const CACHE_DELETES: &str = "SELECT count(*) AS n FROM (SELECT 1 FROM cache_deletes LIMIT ?1)";
const LAST_RUN: &str =
    "SELECT started_at, finished_at, summary, (SELECT started_at FROM scheduled_runs WHERE name = 'tick_before') AS previous_started_at
    FROM scheduled_runs WHERE name = 'tick'";
const DUE: &str = "SELECT count(*) AS n FROM
    (SELECT 1 FROM connections WHERE next_check_at IS NOT NULL AND next_check_at <= ?1 LIMIT ?2)";
const OLDEST_DUE: &str = "SELECT next_check_at FROM connections WHERE next_check_at IS NOT NULL AND next_check_at <= ?1
    ORDER BY next_check_at LIMIT 1";
const DUE_SOON: &str = "SELECT count(*) AS n FROM
    (SELECT 1 FROM connections WHERE next_check_at IS NOT NULL AND next_check_at > ?1 AND next_check_at <= ?2 LIMIT ?3)";
const ENDED: &str = "SELECT count(*) AS n FROM (SELECT 1 FROM connections WHERE deleted_at IS NOT NULL LIMIT ?1)";
const REVOCATIONS: &str = "SELECT count(*) AS n FROM (SELECT 1 FROM revocations LIMIT ?1)";
/// Some rows of each table, and which keys sealed them. Ids are random, so these are like the others. The pass that
/// seals again goes the other way, so these are its last. D1 takes five terms of a compound `SELECT` at most, so there are
/// several.
const SEALED_UNDER: &str = "SELECT part, substr(sealed, 5, instr(substr(sealed, 5), '.') - 1) AS key_id, count(*) AS n FROM (
      SELECT * FROM (SELECT 0 AS part, sealed_credential AS sealed FROM (SELECT sealed_credential FROM connections ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 1, sealed_secret FROM (SELECT sealed_secret FROM oauth_clients ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 2, sealed_tokens FROM (SELECT sealed_tokens FROM revocations ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 3, sealed_verifier FROM (SELECT sealed_verifier FROM flows ORDER BY id DESC LIMIT ?1))
      UNION ALL SELECT * FROM (SELECT 4 AS part, sealed_grant AS sealed FROM (SELECT sealed_grant FROM flows ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 5, sealed_answer FROM (SELECT sealed_answer FROM idempotent_requests ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 6, sealed_secret FROM (SELECT sealed_secret FROM identity_providers ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 7, sealed_event_secret FROM (SELECT sealed_event_secret FROM oauth_clients ORDER BY id DESC LIMIT ?1))
      UNION ALL SELECT * FROM (SELECT 8 AS part, sealed_secret AS sealed FROM (SELECT sealed_secret FROM subscriptions ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 9, sealed_previous_secret FROM (SELECT sealed_previous_secret FROM subscriptions ORDER BY id DESC LIMIT ?1)
      UNION ALL SELECT 10, sealed_payload FROM (SELECT sealed_payload FROM outbox ORDER BY id DESC LIMIT ?1)))
    GROUP BY 1, 2 ORDER BY 1, 2";
/// Rows of a table whose keys the status counts, at most.
pub const SEALED_ROWS_COUNTED: i64 = 5_000;
const MIGRATIONS: &str = "SELECT name FROM d1_migrations ORDER BY id";

/// Deletes what has expired, and of the audit log what is older than so many days, at most so many lines. Returns how many
/// rows. Also wakes the next connections whose client was entered again, ends the next things that a revoked key made, and
/// takes so many webhooks and workspaces with something to send, which may have come in this run.
pub async fn purge(
    db: &impl Database,
    now: Timestamp,
    (days, events): (i64, i64),
    lease: ToldLease,
) -> StoreResult<Purged> {
    let purge = |(sql, age): &(&'static str, i64)| sql!(*sql, now.plus(-age), PURGED_ROWS);
    let mut statements: Vec<_> = PURGES.iter().map(purge).collect();
    statements.push(sql!(PURGE_EVENTS, now.plus(-days * retention::DAY), events));
    let refused_before = now.plus(-retention::REFUSED_CREDENTIAL_AGE);
    statements.push(sql!(ERASE_REFUSED_CREDENTIALS, now, refused_before, PURGED_ROWS));
    let purges = statements.len();
    statements.extend(clients::wake_connections(None, now));
    statements.extend(keys::end_made(None, now));
    statements.push(emails::end_claims(lease.from, PURGED_ROWS));
    statements.push(webhooks::lease_due(lease.from, lease.until, lease.webhooks));
    let until = lease.emails.map(|_| lease.until);
    statements.push(emails::lease_due(lease.from, until, lease.emails.unwrap_or(PURGED_ROWS)));
    let answers = db.batch(statements).await?;
    let rows = answers.iter().take(purges).map(|rows| rows.changes).sum();
    let [.., webhooks, emails] = answers.as_slice() else { return Ok(Purged { rows, ..Purged::default() }) };
    let emails = lease.emails.map(|_| erasing::read_valid_rows(emails)).unwrap_or_default();
    Ok(Purged { rows, webhooks: erasing::read_valid_rows(webhooks), emails })
}

/// What a run has deleted, and taken.
#[derive(Debug, Default)]
pub struct Purged {
    /// Rows that were deleted.
    pub rows: u64,
    /// Webhooks with something to send. Leased.
    pub webhooks: Vec<Webhook>,
    /// Workspaces with e-mail to write. Leased.
    pub emails: Vec<EmailSubscription>,
}

/// What a run takes to pass on: what is due at a time, until when, and how many.
#[derive(Debug, Clone, Copy)]
pub struct ToldLease {
    /// Now.
    pub from: Timestamp,
    /// The end of the lease.
    pub until: Timestamp,
    /// How many webhooks.
    pub webhooks: i64,
    /// How many workspaces with e-mail. None: no e-mail can be sent.
    pub emails: Option<i64>,
}

/// Stored check values by key id.
pub async fn key_checks(db: &impl Database) -> StoreResult<Vec<(String, String)>> {
    read_key_checks(&run_statement(db, sql!(KEY_CHECKS)).await?)
}

/// Stores check values of new keys, and returns all stored ones: one round trip for any number of new keys.
pub async fn add_key_checks(
    db: &impl Database,
    values: &[(&str, String)],
    now: Timestamp,
) -> StoreResult<Vec<(String, String)>> {
    let inserts = values.iter().map(|(key_id, sealed)| sql!(INSERT_KEY_CHECK, *key_id, sealed.as_str(), now));
    let answers = db.batch(inserts.chain([sql!(KEY_CHECKS)]).collect()).await?;
    answers.last().map_or(Ok(vec![]), read_key_checks)
}

fn read_key_checks(rows: &Rows) -> StoreResult<Vec<(String, String)>> {
    rows.rows.iter().map(|row| Ok((Columns(row).text("key_id")?, Columns(row).text("sealed_constant")?))).collect()
}

/// Records the start of a scheduled run.
pub async fn record_run_start(db: &impl Database, now: Timestamp) -> StoreResult<()> {
    db.batch(vec![sql!(KEEP_PREVIOUS_START), sql!(RECORD_RUN_START, now)]).await.map(|_| ())
}

/// Records its end, and its summary.
pub async fn record_run_end(db: &impl Database, now: Timestamp, summary: &str) -> StoreResult<()> {
    run_statement(db, sql!(RECORD_RUN_END, now, summary)).await.map(|_| ())
}

/// Adds a summary to that of the last run, if it has ended.
pub async fn add_to_last_run(db: &impl Database, summary: &str) -> StoreResult<()> {
    run_statement(db, sql!(ADD_TO_LAST_RUN, summary)).await.map(|_| ())
}

/// Connections whose check is due, up to a number of them.
pub async fn count_due(db: &impl Database, due: Timestamp, most: i64) -> StoreResult<i64> {
    read_count(&run_statement(db, sql!(DUE, due, most)).await?)
}

/// Unfinished work.
#[derive(Debug, Default)]
pub struct UnfinishedWork {
    /// Ended connections that no run has taken.
    pub disconnected: Vec<DisconnectedConnection>,
    /// Revocations to try again, by their former connections.
    pub revocations: Vec<ConnectionId>,
    /// Cache entries to delete. Leased.
    pub cache_deletes: Vec<CacheDelete>,
    /// Flows whose grant nobody chose or confirmed in time.
    pub flows: Vec<Flow>,
    /// Deleted workspaces without a tombstone in the cache.
    pub without_tombstone: Vec<WorkspaceId>,
    /// Deleted workspaces that are due. Leased.
    pub workspaces: Vec<WorkspaceId>,
    /// Whether there are revoked keys that no run has taken.
    pub has_revoked_keys: bool,
    /// A changed definition that connections are being moved to. Leased.
    pub definition_move: Option<DefinitionMove>,
    /// Jobs that end all connections of an app.
    pub jobs: Vec<DisconnectJob>,
    /// Workspaces that are searched for what ends soon. Leased.
    pub sweeps: Vec<AttentionSweep>,
    /// Whether any webhook has something to send.
    pub has_due_webhooks: bool,
    /// Whether any e-mail is to be written or sent.
    pub has_due_emails: bool,
}

/// How much of each kind a run takes, and until when its leases are valid.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits {
    /// Ended connections.
    pub disconnected: i64,
    /// Revocations.
    pub revocations: i64,
    /// Entries of the cache.
    pub cache_deletes: i64,
    /// Ended connections and keys that somebody has taken since then are not read.
    pub leased_before: Timestamp,
    /// When the lease ends.
    pub lease_until: Timestamp,
}

/// Reads the unfinished work, in one round trip. An unreadable row does not block the others.
pub async fn load_unfinished_work(db: &impl Database, now: Timestamp, share: RunLimits) -> StoreResult<UnfinishedWork> {
    let [oldest, newest] =
        erasing::queue_statements(share.leased_before, share.disconnected, NEWEST_DISCONNECTED.min(share.disconnected));
    let [tell_held, drop_held] = outbox::release_held(now.plus(-HELD_FOR), PURGED_ROWS);
    let answers = db
        .batch(vec![
            sql!(END_UNCONFIRMED, now, now.plus(-retention::UNCONFIRMED_CONNECTION_AGE), PURGED_ROWS),
            oldest,
            newest,
            super::revocations::select_due(now, share.revocations),
            cache_deletes::lease_due(now, share.lease_until, share.cache_deletes),
            erasing::select_without_tombstone(MOST_PER_KIND),
            erasing::lease_workspaces(now, share.lease_until, MOST_WORKSPACES),
            sql!(EXPIRED_FLOWS, now, MOST_PER_KIND),
            sql!(REVOKED_KEYS, share.leased_before),
            definition_moves::lease_due(now, share.lease_until),
            disconnect_jobs::take_unfinished(now),
            tell_held,
            drop_held,
            sql!(DUE_WEBHOOKS, now),
            attention_sweeps::lease_due(now, share.lease_until, MOST_SWEEPS),
            emails::has_due(now),
        ])
        .await?;
    let [
        _,
        oldest,
        newest,
        revocations,
        cache_deletes,
        without_tombstone,
        workspaces,
        flows,
        keys,
        moves,
        jobs,
        _,
        _,
        webhooks,
        sweeps,
        emails,
    ] = answers.as_slice()
    else {
        return Ok(UnfinishedWork::default());
    };
    Ok(UnfinishedWork {
        disconnected: erasing::read_queue(oldest, newest),
        revocations: read_ids(revocations),
        cache_deletes: erasing::read_valid_rows(cache_deletes),
        flows: erasing::read_valid_rows(flows),
        without_tombstone: read_ids(without_tombstone),
        workspaces: read_ids(workspaces),
        has_revoked_keys: !keys.rows.is_empty(),
        definition_move: definition_moves::read_leased(moves),
        jobs: disconnect_jobs::read_unfinished(jobs),
        sweeps: erasing::read_valid_rows(sweeps),
        has_due_webhooks: !webhooks.rows.is_empty(),
        has_due_emails: read_count(emails)? > 0,
    })
}

fn read_ids<T: TryFrom<String>>(rows: &Rows) -> Vec<T> {
    rows.rows.iter().filter_map(|row| Columns(row).id("id").ok()).collect()
}

/// The statements that erase keys revoked before a time. The deletion of their cache entries is recorded first.
pub fn erase_revoked_keys(before: Timestamp, limit: i64, now: Timestamp, has_cache: bool) -> Vec<Statement> {
    let note = has_cache.then(|| cache_deletes::insert_revoked_keys(before, limit, now));
    note.into_iter().chain([erasing::erase_revoked_keys(before, limit)]).collect()
}

/// The last scheduled run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// When it began.
    pub started_at: Timestamp,
    /// When the run before it began.
    pub previous_started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the last run that ended did: JSON.
    pub summary: Option<String>,
}

impl FromRow for LastRun {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            started_at: row.time("started_at")?,
            previous_started_at: row.optional_time("previous_started_at")?,
            finished_at: row.optional_time("finished_at")?,
            summary: row.optional_text("summary")?,
        })
    }
}

/// What the operator sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstallationState {
    /// Rows sealed under each key id.
    pub sealed_under: Vec<(String, i64)>,
    /// Whether those are all rows, and not [`SEALED_ROWS_COUNTED`] of a table.
    pub is_sealed_under_complete: bool,
    /// Connections whose check is due, up to [`STATUS_ROWS_COUNTED`].
    pub due_checks: i64,
    /// Since when the first of them is due.
    pub oldest_due_at: Option<Timestamp>,
    /// Connections whose check becomes due within an hour, up to [`STATUS_ROWS_COUNTED`].
    pub due_within_an_hour: i64,
    /// Connections that have ended and are not erased yet, up to [`STATUS_ROWS_COUNTED`].
    pub erasures: i64,
    /// Revocations that are tried again, up to [`STATUS_ROWS_COUNTED`].
    pub revocations: i64,
    /// The last scheduled run.
    pub last_run: Option<LastRun>,
    /// Entries of the cache that are still to be deleted, up to [`STATUS_ROWS_COUNTED`].
    pub cache_deletes: i64,
    /// How sending e-mail goes. Up to [`STATUS_ROWS_COUNTED`] wait.
    pub emails: EmailBacklog,
    /// Applied migrations.
    pub migrations: Vec<String>,
}

/// Reads the status.
pub async fn load_state(db: &impl Database, now: Timestamp) -> StoreResult<InstallationState> {
    let [emails_waiting, oldest_email, failed_email] = emails::read_backlog_statements(now, STATUS_ROWS_COUNTED);
    let answers = db
        .batch(vec![
            sql!(SEALED_UNDER, SEALED_ROWS_COUNTED),
            sql!(DUE, now, STATUS_ROWS_COUNTED),
            sql!(LAST_RUN),
            sql!(CACHE_DELETES, STATUS_ROWS_COUNTED),
            sql!(OLDEST_DUE, now),
            sql!(DUE_SOON, now, now.plus(3600), STATUS_ROWS_COUNTED),
            sql!(ENDED, STATUS_ROWS_COUNTED),
            sql!(REVOCATIONS, STATUS_ROWS_COUNTED),
            emails_waiting,
            oldest_email,
            failed_email,
        ])
        .await?;
    let mut state =
        InstallationState { migrations: migrations(db).await.unwrap_or_default(), ..InstallationState::default() };
    if let [sealed, due, last, deletes, oldest, soon, ended, revocations, emails_waiting, oldest_email, failed_email] =
        answers.as_slice()
    {
        (state.sealed_under, state.is_sealed_under_complete) = read_sealed_under(sealed)?;
        state.due_checks = read_count(due)?;
        state.oldest_due_at = oldest.rows.first().map(|row| Columns(row).time("next_check_at")).transpose()?;
        state.due_within_an_hour = read_count(soon)?;
        state.erasures = read_count(ended)?;
        state.revocations = read_count(revocations)?;
        state.cache_deletes = read_count(deletes)?;
        state.last_run = read_first(last)?;
        state.emails = emails::read_backlog([emails_waiting, oldest_email, failed_email])?;
    }
    Ok(state)
}

/// The rows that each key sealed, and whether they are all.
fn read_sealed_under(counted: &Rows) -> StoreResult<(Vec<(String, i64)>, bool)> {
    let (mut of_part, mut of_key) = (BTreeMap::<i64, i64>::new(), BTreeMap::<String, i64>::new());
    for row in counted.rows.iter().map(Columns) {
        let rows = row.integer("n")?;
        *of_part.entry(row.integer("part")?).or_default() += rows;
        if let Some(key) = row.optional_text("key_id")? {
            *of_key.entry(key).or_default() += rows;
        }
    }
    Ok((of_key.into_iter().collect(), of_part.values().all(|rows| *rows < SEALED_ROWS_COUNTED)))
}

/// Separate: a database that was migrated by other means has no such table.
async fn migrations(db: &impl Database) -> StoreResult<Vec<String>> {
    run_statement(db, sql!(MIGRATIONS)).await?.rows.iter().map(|row| Columns(row).text("name")).collect()
}
