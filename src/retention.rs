//! How long what is over is kept, and how many of what gives way to something newer.
//!
//! Owns these numbers; the statements of `store` are given them. Refuses to say what a workspace may have: those are
//! `store::quotas`.

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// Seconds of a day.
pub const DAY: i64 = 24 * HOUR;

/// Seconds that a flow is kept after its end, so that its page still says how it ended.
pub const EXPIRED_FLOW_AGE: i64 = DAY;
/// Seconds that a connect link is kept after its end.
pub const EXPIRED_LINK_AGE: i64 = 7 * DAY;
/// Days that a line of the audit log is kept, unless the operator says otherwise (`AUDIT_DAYS`).
pub const EVENT_DAYS: i64 = 90;
/// Most days that the operator may choose.
pub const MAX_EVENT_DAYS: i64 = 3650;
/// Seconds that a finished job is kept, with its receipt.
pub const FINISHED_JOB_AGE: i64 = 90 * DAY;
/// Seconds that the answer to a request with an `Idempotency-Key` is kept.
pub const IDEMPOTENT_REQUEST_AGE: i64 = DAY;
/// Seconds that an app's event is remembered whose time of sending is not signed, so that a replay is known.
pub const SEEN_EVENT_AGE: i64 = DAY;
/// Seconds that an event is kept that was told, with its deliveries.
pub const OUTBOX_AGE: i64 = 7 * DAY;
/// Seconds that the test of a client is kept that nobody repeats.
pub const CLIENT_TEST_AGE: i64 = HOUR;
/// Seconds after which the next test of the same client deletes an earlier one. None counts as long.
pub const REPEATED_CLIENT_TEST_AGE: i64 = MINUTE;
/// Seconds that the note of a cache entry is kept that must go. No entry lives as long: an hour, and what is still on its
/// way or in a location's memory.
pub const CACHE_DELETE_AGE: i64 = HOUR + 2 * MINUTE;
/// Seconds that the credential of a connection is kept that needs a reconnect, so that a check on demand may revive it.
pub const REFUSED_CREDENTIAL_AGE: i64 = 7 * DAY;
/// Seconds that a connection waits for the embedding product's confirmation.
pub const UNCONFIRMED_CONNECTION_AGE: i64 = 7 * DAY;
/// Seconds that a retired revision of an app is kept: a credential may just now be checked by it.
pub const RETIRED_REVISION_AGE: i64 = 10 * MINUTE;
/// Seconds after which the row of a deleted workspace goes without a tombstone in the cache: all copies have ended.
pub const DELETED_WORKSPACE_AGE: i64 = 2 * HOUR;

/// The newest revisions of an app that are kept, at most; a client without destinations may be for any of them.
pub const REVISIONS_KEPT: i64 = 50;
/// Sessions that a person keeps, at most; the oldest give way to the one that begins.
pub const SESSIONS_PER_USER: i64 = 100;
/// Flows that a browser keeps, at most; the oldest give way to the one that begins.
pub const FLOWS_PER_BROWSER: i64 = 10;
/// Uses that a connection keeps, at most; those of longest ago give way to a new one.
pub const USES_PER_CONNECTION: i64 = 500;

/// Rows of each kind that a scheduled run deletes, at most. The next run deletes the rest.
pub const PURGED_ROWS: i64 = 500;
/// Lines of the audit log that a scheduled run deletes, at most, where every credential that is handed out has one.
pub const PURGED_EVENTS: i64 = 5_000;
/// Revisions that are deleted when another one is put, at most.
pub const PRUNED_REVISIONS: i64 = 200;
