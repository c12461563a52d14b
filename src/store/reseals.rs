//! Rows of `reseals`, and the sealed columns of all tables as one list that is read page by page.
//!
//! Owns the pass: in order of id and column, from a cursor that moves in the same batch that writes the page, so that
//! an interrupted run repeats a page or has completed it. Never scans a table: a page is found by the primary keys, and
//! bounded in rows and bytes.

use super::{Columns, FromRow, StoreResult, json_text, read_all, read_first};
use crate::frozen::{self, SealedField};
use crate::ports::{Database, DatabaseError, Statement};
use crate::sql;
use crate::time::Timestamp;

/// Most sealed bytes of a page: what is read after the row that reaches it waits for the next page. This limits memory
/// and time of a run whose apps issue very large tokens, and stays under D1's 2 MB for one value.
const PAGE_BYTES: i64 = 128 * 1024;

/// A column with sealed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedColumn {
    /// Tokens of a connection.
    Credential,
    /// The secret of a client.
    Secret,
    /// Tokens that an app has not confirmed as revoked.
    Tokens,
    /// The PKCE verifier of a flow.
    Verifier,
    /// The pending grant of a flow.
    Grant,
    /// The answer to a request with an `Idempotency-Key`.
    Answer,
    /// The secret of an identity provider's client.
    ProviderSecret,
    /// What an app's events are verified with.
    EventSecret,
    /// The secret of a webhook.
    WebhookSecret,
    /// The secret of a webhook before its last rotation.
    WebhookPreviousSecret,
    /// The event of an app that is to be passed on.
    OutboxPayload,
}

impl SealedColumn {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Credential,
        Self::Secret,
        Self::Tokens,
        Self::Verifier,
        Self::Grant,
        Self::Answer,
        Self::ProviderSecret,
        Self::EventSecret,
        Self::WebhookSecret,
        Self::WebhookPreviousSecret,
        Self::OutboxPayload,
    ];

    /// The sealed field of its values.
    pub fn sealed_field(self) -> SealedField {
        match self {
            Self::Credential => frozen::CREDENTIAL,
            Self::Secret => frozen::CLIENT_SECRET,
            Self::Tokens => frozen::REVOKED_TOKENS,
            Self::Verifier => frozen::PKCE_VERIFIER,
            Self::Grant => frozen::PENDING_GRANT,
            Self::Answer => frozen::IDEMPOTENT_ANSWER,
            Self::ProviderSecret => frozen::PROVIDER_SECRET,
            Self::EventSecret => frozen::EVENT_SECRET,
            Self::WebhookSecret => frozen::WEBHOOK_SECRET,
            Self::WebhookPreviousSecret => frozen::WEBHOOK_PREVIOUS_SECRET,
            Self::OutboxPayload => frozen::OUTBOX_PAYLOAD,
        }
    }

    fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::ALL.get(at).copied())
    }

    fn replace_sql(self) -> &'static str {
        match self {
            Self::Credential => REPLACE_CREDENTIAL,
            Self::Secret => REPLACE_SECRET,
            Self::Tokens => REPLACE_TOKENS,
            Self::Verifier => REPLACE_VERIFIER,
            Self::Grant => REPLACE_GRANT,
            Self::Answer => REPLACE_ANSWER,
            Self::ProviderSecret => REPLACE_PROVIDER_SECRET,
            Self::EventSecret => REPLACE_EVENT_SECRET,
            Self::WebhookSecret => REPLACE_WEBHOOK_SECRET,
            Self::WebhookPreviousSecret => REPLACE_WEBHOOK_PREVIOUS_SECRET,
            Self::OutboxPayload => REPLACE_OUTBOX_PAYLOAD,
        }
    }
}

/// Another key is the first one now: its pass starts again, whatever was done for it before.
const FORGET_OTHERS: &str = "DELETE FROM reseal_progress WHERE key_id <> ?1";
const BEGIN: &str =
    "INSERT INTO reseal_progress (key_id, pass, after_id, after_column, resealed, unsettled, unreadable, started_at)
    VALUES (?1, 1, '', -1, 0, 0, 0, ?2) ON CONFLICT (key_id) DO NOTHING";
const NEXT_PASS: &str = "UPDATE reseal_progress SET pass = pass + 1, after_id = '', after_column = -1, unsettled = 0, unreadable = 0, next_pass_at = NULL
    WHERE key_id = ?1 AND after_id IS NULL AND next_pass_at <= ?2";
const PROGRESS: &str = "SELECT * FROM reseal_progress WHERE key_id = ?1";

/// One column's part of the list, from the cursor on: `?1` is the first key, `?2` the beginning of its envelopes.
/// Values that it sealed are skipped without being read. A space sorts before any character of an id.
macro_rules! part {
    ($number:literal, $table:literal, $column:literal, $generation:literal, $version:literal) => {
        concat!(
            "SELECT id, ",
            $number,
            " AS number, workspace_id, ",
            $generation,
            " AS generation, ",
            $version,
            " AS version,
        CASE WHEN substr(",
            $column,
            ", 1, length(?2)) <> ?2 THEN ",
            $column,
            " END AS sealed FROM ",
            $table,
            "
        WHERE id >= (SELECT CASE WHEN after_column < ",
            $number,
            " THEN after_id ELSE after_id || ' ' END FROM reseal_progress WHERE key_id = ?1)"
        )
    };
}
/// The next page. A connection that has ended is sealed under the previous generation. D1 takes five terms of a compound
/// `SELECT` at most, so there are several.
const PAGE: &str = concat!(
    "SELECT id, number, workspace_id, generation, version, sealed FROM (
      SELECT *, sum(coalesce(length(sealed), 0)) OVER (ORDER BY id, number) - coalesce(length(sealed), 0) AS ahead FROM (
      SELECT * FROM (",
    part!("0", "connections", "sealed_credential", "generation - (deleted_at IS NOT NULL)", "version"),
    " UNION ALL ",
    part!("1", "oauth_clients", "sealed_secret", "0", "0"),
    " UNION ALL ",
    part!("2", "revocations", "sealed_tokens", "0", "0"),
    " UNION ALL ",
    part!("3", "flows", "sealed_verifier", "0", "0"),
    " ORDER BY id, number LIMIT ?3)
      UNION ALL SELECT * FROM (",
    part!("4", "flows", "sealed_grant", "0", "0"),
    " UNION ALL ",
    part!("5", "idempotent_requests", "sealed_answer", "0", "0"),
    " UNION ALL ",
    part!("6", "identity_providers", "sealed_secret", "0", "0"),
    " UNION ALL ",
    part!("7", "oauth_clients", "sealed_event_secret", "0", "0"),
    " ORDER BY id, number LIMIT ?3)
      UNION ALL SELECT * FROM (",
    part!("8", "subscriptions", "sealed_secret", "0", "0"),
    " UNION ALL ",
    part!("9", "subscriptions", "sealed_previous_secret", "0", "0"),
    " UNION ALL ",
    part!("10", "outbox", "sealed_payload", "0", "0"),
    " ORDER BY id, number LIMIT ?3)
      ORDER BY id, number LIMIT ?3)) WHERE ahead < ?4 ORDER BY id, number"
);

/// Replaces exactly the envelopes that were read. What was written in the meantime stays.
macro_rules! replace {
    ($table:literal, $column:literal, $and:expr) => {
        concat!(
            "UPDATE ",
            $table,
            " SET ",
            $column,
            " = n.sealed FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS version,
      json_extract(value, '$[2]') AS was, json_extract(value, '$[3]') AS sealed FROM json_each(?1)) AS n
    WHERE ",
            $table,
            ".id = n.id AND ",
            $table,
            ".",
            $column,
            " = n.was",
            $and
        )
    };
}
/// The version stays: the tokens are the same, and a pending response is compared with it. A connection with a lease is
/// not changed.
const REPLACE_CREDENTIAL: &str = replace!(
    "connections",
    "sealed_credential",
    concat!(" AND connections.version = n.version AND ", no_live_lease!("connections.", "?2"))
);
const REPLACE_SECRET: &str = replace!("oauth_clients", "sealed_secret", "");
const REPLACE_TOKENS: &str = replace!("revocations", "sealed_tokens", "");
const REPLACE_PROVIDER_SECRET: &str = replace!("identity_providers", "sealed_secret", "");
const REPLACE_EVENT_SECRET: &str = replace!("oauth_clients", "sealed_event_secret", "");
const REPLACE_WEBHOOK_SECRET: &str = replace!("subscriptions", "sealed_secret", "");
const REPLACE_WEBHOOK_PREVIOUS_SECRET: &str = replace!("subscriptions", "sealed_previous_secret", "");
const REPLACE_OUTBOX_PAYLOAD: &str = replace!("outbox", "sealed_payload", "");
const REPLACE_VERIFIER: &str = replace!("flows", "sealed_verifier", "");
const REPLACE_GRANT: &str = replace!("flows", "sealed_grant", "");
const REPLACE_ANSWER: &str = replace!("idempotent_requests", "sealed_answer", "");
/// Counts what the statement before it changed, unless another run has done this page.
const COUNT: &str = "UPDATE reseal_progress SET resealed = resealed + changes()
    WHERE key_id = ?1 AND pass = ?2 AND after_id = ?3 AND after_column = ?4";
const ADVANCE: &str = "UPDATE reseal_progress SET after_id = ?5, after_column = ?6, unsettled = ?7, unreadable = ?8, next_pass_at = ?9, finished_at = ?10
    WHERE key_id = ?1 AND pass = ?2 AND after_id = ?3 AND after_column = ?4";

/// The progress of the pass for the first key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResealProgress {
    /// The first key.
    pub key_id: String,
    /// Number of passes that have begun.
    pub pass: i64,
    /// The last handled row, by id and column's number. None if no pass is running.
    pub after: Option<(String, i64)>,
    /// Values sealed again, in all passes.
    pub resealed: i64,
    /// Values that this pass sealed again, or left for the next one.
    pub unsettled: i64,
    /// Values that this pass could not decrypt.
    pub unreadable: i64,
    /// When the pass for this key began.
    pub started_at: Timestamp,
    /// When the next pass begins.
    pub next_pass_at: Option<Timestamp>,
    /// Since when nothing is left to do.
    pub finished_at: Option<Timestamp>,
}

impl FromRow for ResealProgress {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let after_column = row.integer("after_column")?;
        Ok(Self {
            key_id: row.text("key_id")?,
            pass: row.integer("pass")?,
            after: row.optional_text("after_id")?.map(|id| (id, after_column)),
            resealed: row.integer("resealed")?,
            unsettled: row.integer("unsettled")?,
            unreadable: row.integer("unreadable")?,
            started_at: row.time("started_at")?,
            next_pass_at: row.optional_time("next_pass_at")?,
            finished_at: row.optional_time("finished_at")?,
        })
    }
}

/// A value that may be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedValue {
    /// The row's id.
    pub id: String,
    /// The column.
    pub column: SealedColumn,
    /// The row's workspace.
    pub workspace: String,
    /// The generation it is sealed for. 0 if there is none.
    pub generation: i64,
    /// The version of a connection's credential. 0 if there is none.
    pub version: i64,
    /// The envelope, if there is one and another key than the first sealed it.
    pub sealed: Option<String>,
}

impl FromRow for SealedValue {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let column = SealedColumn::from_number(row.integer("number")?);
        Ok(Self {
            id: row.text("id")?,
            column: column.ok_or_else(|| DatabaseError::Malformed("a sealed column of an unknown number".into()))?,
            workspace: row.text("workspace_id")?,
            generation: row.integer("generation")?,
            version: row.integer("version")?,
            sealed: row.optional_text("sealed")?,
        })
    }
}

/// The work of a run.
#[derive(Debug)]
pub struct ResealPage {
    /// The progress.
    pub progress: ResealProgress,
    /// The next values, in order.
    pub rows: Vec<SealedValue>,
    /// Whether nothing comes after them.
    pub is_last: bool,
}

/// Begins a pass if it is due, and reads the next page of at most `limit` values: one round trip. `prefix` is the
/// beginning of envelopes of the first key.
pub async fn next_page(
    db: &impl Database,
    key_id: &str,
    prefix: &str,
    limit: i64,
    now: Timestamp,
) -> StoreResult<Option<ResealPage>> {
    let answers = db
        .batch(vec![
            sql!(FORGET_OTHERS, key_id),
            sql!(BEGIN, key_id, now),
            sql!(NEXT_PASS, key_id, now),
            sql!(PROGRESS, key_id),
            sql!(PAGE, key_id, prefix, limit, PAGE_BYTES),
        ])
        .await?;
    let [_, _, _, progress, page] = answers.as_slice() else { return Ok(None) };
    let Some(progress) = read_first::<ResealProgress>(progress)? else { return Ok(None) };
    let rows: Vec<SealedValue> = read_all(page)?;
    let bytes: usize = rows.iter().filter_map(|row| row.sealed.as_deref()).map(str::len).sum();
    let is_last = to_i64(rows.len()) < limit && to_i64(bytes) < PAGE_BYTES;
    Ok(Some(ResealPage { progress, rows, is_last }))
}

/// The progress for a key. None before a scheduled run has begun it.
pub async fn progress(db: &impl Database, key_id: &str) -> StoreResult<Option<ResealProgress>> {
    super::query_first(db, sql!(PROGRESS, key_id)).await
}

/// A handled value, and its new envelope.
pub type ResealedValue<'a> = (&'a SealedValue, String);

/// Writes a page's new envelopes and moves the cursor, both or neither. Returns how many envelopes were replaced. Moves
/// nothing if another run has done the page.
pub async fn write_page(
    db: &impl Database,
    before: &ResealProgress,
    after: &ResealProgress,
    renewed: &[ResealedValue<'_>],
    now: Timestamp,
) -> StoreResult<u64> {
    let at = before.after.as_ref();
    let (id, number) = at.map_or((None, -1), |(id, number)| (Some(id.as_str()), *number));
    let (key_id, pass) = (before.key_id.as_str(), before.pass);
    let mut statements = Vec::new();
    for column in SealedColumn::ALL {
        let of_column: Vec<_> = renewed.iter().filter(|(looked, _)| looked.column == column).collect();
        if !of_column.is_empty() {
            statements.push(replace_statement(column, &of_column, now));
            statements.push(sql!(COUNT, key_id, pass, id, number));
        }
    }
    let replaced = statements.len();
    statements.push(sql!(
        ADVANCE,
        key_id,
        pass,
        id,
        number,
        after.after.as_ref().map(|(id, _)| id.as_str()),
        after.after.as_ref().map_or(-1, |(_, number)| *number),
        after.unsettled,
        after.unreadable,
        after.next_pass_at,
        after.finished_at
    ));
    let answers = db.batch(statements).await?;
    Ok(answers.iter().take(replaced).step_by(2).map(|rows| rows.changes).sum())
}

fn replace_statement(column: SealedColumn, renewed: &[&ResealedValue<'_>], now: Timestamp) -> Statement {
    let list: Vec<_> =
        renewed.iter().map(|(looked, new)| (&looked.id, looked.version, looked.sealed.as_deref(), new)).collect();
    match column {
        SealedColumn::Credential => sql!(column.replace_sql(), json_text(&list), now),
        SealedColumn::Secret
        | SealedColumn::Tokens
        | SealedColumn::Verifier
        | SealedColumn::Grant
        | SealedColumn::Answer
        | SealedColumn::ProviderSecret
        | SealedColumn::EventSecret
        | SealedColumn::WebhookSecret
        | SealedColumn::WebhookPreviousSecret
        | SealedColumn::OutboxPayload => sql!(column.replace_sql(), json_text(&list)),
    }
}

fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
