//! Rows of `attention_sweeps`: what ends soon, or lacks permissions, is found in every workspace that is told of it, once a day.
//!
//! Owns the steps through the connections of a workspace: a step looks at so many, and writes what is to be told to the
//! outbox, and the cursor, in one transaction. `told_states` remembers what was told, so nothing is told twice.

use super::{Columns, FromRow, StoreResult};
use crate::client::SECRET_EXPIRY_WARNING;
use crate::connection::EXPIRES_SOON_WITHIN;
use crate::ids::WorkspaceId;
use crate::ports::{Database, Statement};
use crate::retention::DAY;
use crate::sql;
use crate::time::Timestamp;

/// Connections that a step looks at.
const PAGE: i64 = 200;
/// Seconds for which the end of a refresh token has to stay the same within its last week: one that refreshes extend moves
/// within half of its life.
const UNMOVED_FOR: i64 = 4 * DAY;

const LEASE: &str = "UPDATE attention_sweeps SET due_at = ?2 WHERE workspace_id IN
    (SELECT workspace_id FROM attention_sweeps WHERE due_at <= ?1 ORDER BY due_at LIMIT ?3) RETURNING *";

/// An id for something that has no line in the audit log.
macro_rules! new_id {
    ($workspace:literal) => {
        concat!(
            "'evt_' || CASE length(",
            $workspace,
            ") WHEN 27 THEN substr(",
            $workspace,
            ", 4, 2) ELSE '' END || lower(hex(randomblob(11)))"
        )
    };
}
/// The connections of a step. `fixed_end`: nothing extends it. `token_end`: a refresh may.
macro_rules! page {
    () => {
        "(SELECT *, nullif(min(coalesce(CASE WHEN refreshable = 0 THEN expires_at END, 9e12), coalesce(grant_expires_at, 9e12)), 9e12) AS fixed_end,
        nullif(min(coalesce(refresh_expires_at, 9e12), coalesce(refresh_idle_until, 9e12)), 9e12) AS token_end
      FROM (SELECT * FROM connections WHERE workspace_id = ?1 AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT ?4)
      WHERE deleted_at IS NULL AND is_unconfirmed IS NULL) c"
    };
}
macro_rules! told {
    ($subject:literal, $type:literal, $marker:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM told_states t WHERE t.subject = ",
            $subject,
            " AND t.type = '",
            $type,
            "' AND t.marker ",
            $marker,
            ")"
        )
    };
}
macro_rules! subscribed {
    ($type:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = ?1 AND s.disabled_at IS NULL AND instr(s.types, '\"",
            $type,
            "\"') > 0)"
        )
    };
}
macro_rules! workflows_of {
    ($connection:literal) => {
        concat!(
            "(SELECT count(DISTINCT u.workflow) FROM uses u WHERE u.connection_id = ",
            $connection,
            "), (SELECT json_group_array(workflow) FROM (SELECT DISTINCT u.workflow FROM uses u WHERE u.connection_id = ",
            $connection,
            " ORDER BY u.workflow LIMIT 20))"
        )
    };
}

/// The end of a refresh token that may still move is seen first, and told when it has not moved.
const SEE_TOKEN_ENDS: &str = concat!(
    "INSERT INTO told_states (subject, type, workspace_id, marker, told_at)
    SELECT c.id, 'connection.expires_soon', ?1, 'seen ' || CAST(c.token_end AS INTEGER), ?5 FROM ",
    page!(),
    " WHERE c.status = 'connected' AND c.token_end > ?5 AND c.token_end < ?6 AND c.token_end < coalesce(c.fixed_end, 9e12) AND NOT ",
    told!(
        "c.id",
        "connection.expires_soon",
        "IN ('seen ' || CAST(c.token_end AS INTEGER), CAST(CAST(c.token_end AS INTEGER) AS TEXT))"
    ),
    " ON CONFLICT (subject, type) DO UPDATE SET marker = excluded.marker, told_at = excluded.told_at"
);
const TELL_ENDS: &str = concat!(
    "INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, environment, user_id, ends_at, workflow_count, workflows)
    SELECT ",
    new_id!("?1"),
    ", ?1, 'connection.expires_soon', ?5, c.id, c.app, c.name, c.environment, c.user_id,
      CAST(min(coalesce(c.fixed_end, 9e12), coalesce(c.token_end, 9e12)) AS INTEGER), ",
    workflows_of!("c.id"),
    " FROM ",
    page!(),
    " WHERE c.status = 'connected' AND ",
    subscribed!("connection.expires_soon"),
    " AND (c.fixed_end > ?5 AND c.fixed_end <= coalesce(c.token_end, 9e12)
        AND c.fixed_end - ?5 < min(?6 - ?5, (c.fixed_end - c.connected_at) / 4) AND NOT ",
    told!("c.id", "connection.expires_soon", "= CAST(CAST(c.fixed_end AS INTEGER) AS TEXT)"),
    " OR c.token_end > ?5 AND c.token_end < ?6 AND c.token_end < coalesce(c.fixed_end, 9e12) AND ",
    told!("c.id", "connection.expires_soon", "= 'seen ' || CAST(c.token_end AS INTEGER) AND t.told_at <= ?7"),
    ")"
);
const TELL_MISSING_SCOPES: &str = concat!(
    "INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, environment, user_id, detail, workflow_count, workflows)
    SELECT ",
    new_id!("?1"),
    ", ?1, 'connection.missing_scopes', ?5, c.id, c.app, c.name, c.environment, c.user_id, c.missing, ",
    workflows_of!("c.id"),
    " FROM (SELECT c.*, (SELECT json_group_array(value) FROM (SELECT r.value FROM json_each(c.scopes_requested) r
        WHERE r.value NOT IN (SELECT g.value FROM json_each(c.scopes_granted) g) ORDER BY r.value)) AS missing FROM ",
    page!(),
    " WHERE c.scopes_requested <> c.scopes_granted AND json_valid(c.scopes_requested) AND json_valid(c.scopes_granted)) c
    WHERE c.missing <> '[]' AND ",
    subscribed!("connection.missing_scopes"),
    " AND NOT ",
    told!("c.id", "connection.missing_scopes", "= c.missing")
);
const TELL_SECRETS: &str = concat!(
    "INSERT INTO outbox (id, workspace_id, type, occurred_at, target, app, ends_at, connection_count, workflow_count, workflows)
    SELECT ",
    new_id!("?1"),
    ", ?1, 'client.secret_expires', ?2, k.id, k.registration, k.secret_expires_at,
      (SELECT count(*) FROM (SELECT 1 FROM connections WHERE oauth_client = k.id LIMIT ?4)),
      (SELECT count(DISTINCT workflow) FROM (SELECT u.workflow FROM (SELECT id FROM connections WHERE oauth_client = k.id LIMIT ?4) bounded
        CROSS JOIN uses u WHERE u.connection_id = bounded.id LIMIT ?4)),
      (SELECT json_group_array(workflow) FROM (SELECT DISTINCT workflow FROM (SELECT u.workflow
        FROM (SELECT id FROM connections WHERE oauth_client = k.id LIMIT ?4) bounded CROSS JOIN uses u WHERE u.connection_id = bounded.id LIMIT ?4)
        ORDER BY workflow LIMIT 20))
    FROM oauth_clients k WHERE k.workspace_id = ?1 AND k.is_current = 1 AND k.secret_expires_at > ?2 AND k.secret_expires_at < ?3 AND ",
    subscribed!("client.secret_expires"),
    " AND NOT ",
    told!("k.id", "client.secret_expires", "= CAST(k.secret_expires_at AS TEXT)")
);
const END_SWEEP: &str =
    "UPDATE attention_sweeps SET due_at = ?2, after_created_at = -1, after_id = '' WHERE workspace_id = ?1";
/// Only if there is a whole page: then more may follow.
const ADVANCE: &str =
    "UPDATE attention_sweeps SET due_at = ?4, after_created_at = bounded.created_at, after_id = bounded.id
    FROM (SELECT created_at, id FROM connections WHERE workspace_id = ?1 AND (created_at, id) > (?2, ?3)
      ORDER BY created_at, id LIMIT 1 OFFSET ?5) AS bounded WHERE attention_sweeps.workspace_id = ?1";
/// Connections and uses that are counted for a client, at most.
const MOST_COUNTED: i64 = 1_000;

/// A sweep that a run has taken: where it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttentionSweep {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// When the last connection that was looked at was made.
    pub after_created_at: i64,
    /// Its id.
    pub after_id: String,
}

impl FromRow for AttentionSweep {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            workspace: row.id("workspace_id")?,
            after_created_at: row.integer("after_created_at")?,
            after_id: row.text("after_id")?,
        })
    }
}

/// The statement that takes the sweeps that are due.
pub(super) fn lease_due(now: Timestamp, until: Timestamp, limit: i64) -> Statement {
    sql!(LEASE, now, until, limit)
}

/// A step of each sweep, in one round trip.
pub async fn run_steps(db: &impl Database, sweeps: &[AttentionSweep], now: Timestamp) -> StoreResult<()> {
    db.batch(sweeps.iter().flat_map(|sweep| step_statements(sweep, now)).collect()).await.map(drop)
}

fn step_statements(sweep: &AttentionSweep, now: Timestamp) -> Vec<Statement> {
    let AttentionSweep { workspace, after_created_at, after_id } = sweep;
    let (at, id, soon) = (*after_created_at, after_id.as_str(), now.plus(EXPIRES_SOON_WITHIN));
    let mut statements = vec![
        sql!(SEE_TOKEN_ENDS, workspace, at, id, PAGE, now, soon),
        sql!(TELL_ENDS, workspace, at, id, PAGE, now, soon, now.plus(-UNMOVED_FOR)),
        sql!(TELL_MISSING_SCOPES, workspace, at, id, PAGE, now),
    ];
    // With the first page.
    if id.is_empty() {
        statements.push(sql!(TELL_SECRETS, workspace, now, now.plus(SECRET_EXPIRY_WARNING), MOST_COUNTED));
    }
    statements.push(sql!(END_SWEEP, workspace, now.plus(DAY)));
    statements.push(sql!(ADVANCE, workspace, at, id, now, PAGE - 1));
    statements
}
