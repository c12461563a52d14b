//! Rows of `emails`, of `subscriptions` whose channel is `email`, and the addresses of people.
//!
//! Owns that an e-mail is sent by one program, once: it is claimed before it is sent, and one whose claim has ended without a
//! result is never claimed again (the trigger `unknown_emails_are_told_again` puts its events into the next digest).

use std::collections::{BTreeMap, BTreeSet};

use super::outbox::{self, DeliveryLease, LeasedDelivery};
use super::{Columns, FromRow, StoreResult, json_text, query_first, read_all, read_count};
use crate::email::{
    ClaimedEmail, EmailKind, EmailPreference, EmailStatus, EmailSubscription, NO_ANSWER, PersonEmail, ToldEvent,
    calm_types,
};
use crate::email_address::EmailAddress;
use crate::ids::{WebhookId, WorkspaceId};
use crate::ports::{Database, DatabaseError, Rows, Statement};
use crate::retention;
use crate::sql;
use crate::time::Timestamp;
use crate::webhook::OutboxEvent;
use crate::workspace::Role;

const GET: &str = "SELECT * FROM subscriptions WHERE workspace_id = ?1 AND channel = 'email'";
const TURN_ON: &str = "INSERT OR IGNORE INTO subscriptions (id, workspace_id, channel, types, created_at, updated_at)
    VALUES (?1, ?2, 'email', ?3, ?4, ?4)";
const TURN_OFF: &str = "DELETE FROM subscriptions WHERE workspace_id = ?1 AND channel = 'email'";
const LEASE_DUE: &str = "UPDATE subscriptions SET due_at = ?2 WHERE id IN
    (SELECT id FROM subscriptions WHERE channel = 'email' AND due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?3) RETURNING *";
const HAS_DUE: &str =
    "SELECT EXISTS (SELECT 1 FROM subscriptions WHERE channel = 'email' AND due_at IS NOT NULL AND due_at <= ?1)
    OR EXISTS (SELECT 1 FROM emails WHERE due_at IS NOT NULL AND due_at <= ?1) AS n";
const ADMINS: &str = "SELECT user_id FROM people WHERE workspace_id = ?1 AND role = 'admin' AND email IS NOT NULL
    AND coalesce(email_preference, '') <> 'none' LIMIT ?2";
const OWNERS: &str =
    "SELECT DISTINCT p.user_id FROM deliveries d CROSS JOIN outbox o CROSS JOIN people p
    WHERE d.subscription_id = ?1 AND d.next_attempt_at = ?2 AND d.lease_id = ?3 AND o.id = d.event_id
      AND p.workspace_id = o.workspace_id AND p.user_id = o.user_id AND p.email IS NOT NULL AND coalesce(p.email_preference, '') <> 'none'";
/// Whoever lost the lease writes nothing.
const QUEUE_URGENT: &str =
    "INSERT INTO emails (id, workspace_id, user_id, kind, events, event_count, created_at, status, due_at)
    SELECT ?1, ?2, ?3, 'urgent', ?4, ?5, ?6, 'waiting', ?7
    WHERE EXISTS (SELECT 1 FROM deliveries WHERE subscription_id = ?8 AND next_attempt_at = ?9 AND lease_id = ?10)";
/// What a digest lists of these events: a hundred, first what needs a person, then the oldest. `?11` are the types of the others.
macro_rules! listed_events {
    ($all:literal) => {
        concat!(
            "(SELECT json_group_array(value) FROM (SELECT bounded.value FROM (",
            $all,
            ") bounded LEFT JOIN outbox o ON o.id = bounded.value
        ORDER BY coalesce(o.type, '') IN (SELECT value FROM json_each(?11)), o.occurred_at, bounded.value LIMIT 100))"
        )
    };
}
const ADD_TO_DIGEST: &str = concat!(
    "INSERT INTO emails (id, workspace_id, user_id, kind, events, event_count, created_at, status, due_at)
    SELECT ?1, ?2, ?3, 'digest', ",
    listed_events!("SELECT value FROM json_each(?4)"),
    ", ?5, ?6, 'waiting', ?7
    WHERE EXISTS (SELECT 1 FROM deliveries WHERE subscription_id = ?8 AND next_attempt_at = ?9 AND lease_id = ?10)
    ON CONFLICT (workspace_id, user_id) WHERE kind = 'digest' AND status = 'waiting' AND attempts = 0 DO UPDATE SET
      event_count = event_count + excluded.event_count,
      events = ",
    listed_events!("SELECT value FROM json_each(emails.events) UNION ALL SELECT value FROM json_each(excluded.events)")
);
const END_LEASE: &str = "UPDATE deliveries SET status = 'delivered', next_attempt_at = NULL, lease_id = NULL
    WHERE subscription_id = ?1 AND next_attempt_at = ?2 AND lease_id = ?3";
/// What is urgent goes before all digests, however many are due at the same hour.
const CLAIM: &str =
    "UPDATE emails SET status = 'sending', due_at = NULL, claim_id = ?3, claimed_until = ?2, attempts = attempts + 1
    WHERE id IN (SELECT id FROM (
      SELECT * FROM (SELECT id FROM emails WHERE kind = 'urgent' AND due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?4)
      UNION ALL SELECT * FROM (SELECT id FROM emails WHERE kind = 'digest' AND due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT ?4))
      LIMIT ?4)";
const CLAIMED: &str = "SELECT e.id, e.workspace_id, e.user_id, e.kind, e.event_count, e.attempts, p.email, p.email_preference, p.role,
      w.name AS workspace_name, EXISTS (SELECT 1 FROM subscriptions s WHERE s.workspace_id = e.workspace_id AND s.channel = 'email') AS is_on
    FROM emails e LEFT JOIN people p ON p.workspace_id = e.workspace_id AND p.user_id = e.user_id
      LEFT JOIN workspaces w ON w.id = e.workspace_id AND w.deleted_at IS NULL
    WHERE e.status = 'sending' AND e.claimed_until = ?1 AND e.claim_id = ?2";
const CLAIMED_EVENTS: &str =
    "SELECT o.*, e.id AS email_id, coalesce(c.status = 'needs_reconnect' AND c.deleted_at IS NULL, 0) AS is_broken,
      c.id IS NULL OR c.deleted_at IS NOT NULL AS is_gone, coalesce(c.connected_at > o.occurred_at, 0) AS is_renewed
    FROM emails e CROSS JOIN json_each(e.events) j CROSS JOIN outbox o LEFT JOIN connections c ON c.id = o.connection_id
    WHERE e.status = 'sending' AND e.claimed_until = ?1 AND e.claim_id = ?2 AND o.id = j.value";
const RECORD: &str = "UPDATE emails SET status = ?3, due_at = ?4, error = ?5, claim_id = NULL
    WHERE id = ?1 AND status = 'sending' AND claim_id = ?2";
const END_CLAIMS: &str = "UPDATE emails SET status = 'unknown', error = ?2, claim_id = NULL WHERE id IN
    (SELECT id FROM emails WHERE status = 'sending' AND claimed_until <= ?1 LIMIT ?3)";
const WORKS: &str = "UPDATE subscriptions SET last_sent_at = ?2 WHERE workspace_id = ?1 AND channel = 'email'";
const FAILS: &str =
    "UPDATE subscriptions SET last_failed_at = ?2, last_error = ?3 WHERE workspace_id = ?1 AND channel = 'email'";
const COUNT_WAITING: &str =
    "SELECT count(*) AS n FROM (SELECT 1 FROM emails WHERE due_at IS NOT NULL AND due_at > 0 LIMIT ?1)";
const OLDEST_DUE: &str = "SELECT due_at FROM emails WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at LIMIT 1";
const LAST_FAILURE: &str =
    "SELECT last_failed_at, last_error FROM subscriptions WHERE channel = 'email' AND last_failed_at > ?1
    ORDER BY last_failed_at DESC LIMIT 1";
const PERSON: &str = "SELECT email, email_preference FROM people WHERE workspace_id = ?1 AND user_id = ?2";
/// `NULL` is everything, so that somebody who never chose gets what others get.
const SET_PREFERENCE: &str =
    "UPDATE people SET email_preference = nullif(?3, 'all') WHERE workspace_id = ?1 AND user_id = ?2
    AND coalesce(email_preference, 'all') <> ?3";
const SET_ADDRESS: &str = "UPDATE people SET email = ?3 WHERE workspace_id = ?1 AND user_id = ?2 AND email IS NOT ?3";
/// The row is there: a trigger has made it with the session.
const SET_ADDRESS_OF_LINK: &str = "UPDATE people SET email = l.user_email FROM
      (SELECT workspace_id, user_id, user_email FROM sign_in_links WHERE token_hash = ?1 AND user_email IS NOT NULL) AS l
    WHERE people.workspace_id = l.workspace_id AND people.user_id = l.user_id AND people.email IS NOT l.user_email";

impl FromRow for EmailSubscription {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.id("id")?,
            workspace: row.id("workspace_id")?,
            last_sent_at: row.optional_time("last_sent_at")?,
            last_failure: row.optional_time("last_failed_at")?.zip(row.optional_text("last_error")?),
        })
    }
}

impl FromRow for PersonEmail {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let preference = row.optional_text("email_preference")?;
        Ok(Self {
            address: row.optional_text("email")?.as_deref().and_then(EmailAddress::parse),
            preference: preference.as_deref().and_then(EmailPreference::parse).unwrap_or_default(),
        })
    }
}

/// How e-mail of a workspace goes, if it is on.
pub async fn get(db: &impl Database, workspace: &WorkspaceId) -> StoreResult<Option<EmailSubscription>> {
    query_first(db, sql!(GET, workspace)).await
}

/// The statement that turns it on, if it is off.
pub fn turn_on(id: &WebhookId, workspace: &WorkspaceId, types: &[&str], now: Timestamp) -> Statement {
    sql!(TURN_ON, id, workspace, json_text(types), now)
}

/// The statement that turns it off.
pub fn turn_off(workspace: &WorkspaceId) -> Statement {
    sql!(TURN_OFF, workspace)
}

/// The statement that takes the workspaces with something to notify people of. Without an end of the lease, what is due is put off
/// until something else happens: nobody can send it.
pub(super) fn lease_due(now: Timestamp, until: Option<Timestamp>, limit: i64) -> Statement {
    sql!(LEASE_DUE, now, until, limit)
}

/// The statement that answers whether anything is due.
pub(super) fn has_due(now: Timestamp) -> Statement {
    sql!(HAS_DUE, now)
}

/// The statement that gives up e-mails whose senders did not come back.
pub(super) fn end_claims(now: Timestamp, limit: i64) -> Statement {
    sql!(END_CLAIMS, now, NO_ANSWER, limit)
}

/// Events that people are to be notified of, and who can be.
#[derive(Debug, Default)]
pub struct TakenEvents {
    /// The events, each with its lease.
    pub events: Vec<LeasedDelivery>,
    /// Admins who get e-mail.
    pub admins: BTreeSet<String>,
    /// Owners of connections that events are about, who get e-mail.
    pub owners: BTreeSet<String>,
}

/// Takes the events of a workspace, at most so many.
pub async fn take_events(
    db: &impl Database,
    subscription: &EmailSubscription,
    lease: &DeliveryLease,
    (events, admins): (i64, i64),
) -> StoreResult<TakenEvents> {
    let [take, read] = outbox::take(&subscription.id, events, lease);
    let owners = sql!(OWNERS, &subscription.id, lease.until, lease.id.as_str());
    let answers = db.batch(vec![take, read, sql!(ADMINS, &subscription.workspace, admins), owners]).await?;
    let [_, events, admins, owners] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    Ok(TakenEvents { events: read_all(events)?, admins: read_users(admins)?, owners: read_users(owners)? })
}

fn read_users(rows: &Rows) -> StoreResult<BTreeSet<String>> {
    rows.rows.iter().map(|row| Columns(row).text("user_id")).collect()
}

/// An e-mail that is to be sent to a person, or what is to be added to their digest.
#[derive(Debug)]
pub struct NewEmail<'a> {
    /// Its id.
    pub id: String,
    /// Whom it is for.
    pub user: &'a str,
    /// Whether it is sent at once.
    pub kind: EmailKind,
    /// What it is about.
    pub events: Vec<&'a str>,
    /// When it is sent.
    pub due_at: Timestamp,
}

/// Events in the list of an e-mail, at most.
pub const MOST_LISTED: usize = 100;

/// The statement that writes it, if the lease is still held.
pub fn queue(of: &EmailSubscription, lease: &DeliveryLease, new: &NewEmail<'_>, now: Timestamp) -> Statement {
    // The statement of a digest chooses itself.
    let (text, most) = match new.kind {
        EmailKind::Urgent => (QUEUE_URGENT, MOST_LISTED),
        EmailKind::Digest => (ADD_TO_DIGEST, usize::MAX),
    };
    let listed: Vec<_> = new.events.iter().take(most).collect();
    let mut statement = sql!(
        text,
        new.id.as_str(),
        &of.workspace,
        new.user,
        json_text(&listed),
        i64::try_from(new.events.len()).unwrap_or(i64::MAX),
        now,
        new.due_at,
        &of.id,
        lease.until,
        lease.id.as_str()
    );
    if new.kind == EmailKind::Digest {
        statement.params.push(json_text(&calm_types()).into());
    }
    statement
}

/// The statement that says that the events were passed on. After those of [`queue`].
pub fn end_lease(of: &EmailSubscription, lease: &DeliveryLease) -> Statement {
    sql!(END_LEASE, &of.id, lease.until, lease.id.as_str())
}

/// Claims e-mails that are due, and reads what they need.
pub async fn claim(db: &impl Database, claim: &DeliveryLease, limit: i64) -> StoreResult<Vec<ClaimedEmail>> {
    let (until, id) = (claim.until, claim.id.as_str());
    let answers = db
        .batch(vec![
            sql!(CLAIM, claim.from, until, id, limit),
            sql!(CLAIMED, until, id),
            sql!(CLAIMED_EVENTS, until, id),
        ])
        .await?;
    let [_, emails, events] = answers.as_slice() else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()));
    };
    let mut of_email: BTreeMap<String, Vec<ToldEvent>> = BTreeMap::new();
    for EventOfEmail(id, event) in read_all(events)? {
        of_email.entry(id).or_default().push(event);
    }
    let mut emails: Vec<ClaimedEmail> = read_all(emails)?;
    for email in &mut emails {
        email.events = of_email.remove(&email.id).unwrap_or_default();
    }
    Ok(emails)
}

impl FromRow for ClaimedEmail {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        Ok(Self {
            id: row.text("id")?,
            workspace: row.id("workspace_id")?,
            workspace_name: row.optional_text("workspace_name")?,
            user: row.text("user_id")?,
            person: PersonEmail::from_row(row)?,
            role: row.optional_text("role")?.as_deref().and_then(Role::parse),
            is_on: row.boolean("is_on")?,
            kind: EmailKind::parse(&row.text("kind")?),
            events: vec![],
            event_count: row.integer("event_count")?,
            attempts: row.integer("attempts")?,
        })
    }
}

/// An event, and the id of the e-mail about it.
struct EventOfEmail(String, ToldEvent);

impl FromRow for EventOfEmail {
    fn from_row(row: &Columns<'_>) -> StoreResult<Self> {
        let [is_broken, is_gone, is_renewed] = ["is_broken", "is_gone", "is_renewed"].map(|name| row.boolean(name));
        let event = OutboxEvent::from_row(row)?;
        let told = ToldEvent { event, is_broken: is_broken?, is_gone: is_gone?, is_renewed: is_renewed? };
        Ok(Self(row.text("email_id")?, told))
    }
}

/// What came of an e-mail.
#[derive(Debug)]
pub struct EmailRecord<'a> {
    /// How far it is.
    pub status: EmailStatus,
    /// When it is tried again.
    pub due_at: Option<Timestamp>,
    /// The code of a refusal.
    pub error: Option<&'a str>,
}

/// The statement that writes what came of an e-mail. It changes nothing if the claim is over.
pub fn record(email: &ClaimedEmail, claim: &DeliveryLease, came: &EmailRecord<'_>) -> Statement {
    sql!(RECORD, email.id.as_str(), claim.id.as_str(), came.status.as_str(), came.due_at, came.error)
}

/// The statement that writes that the service has taken an e-mail of a workspace.
pub fn mark_working(workspace: &WorkspaceId, now: Timestamp) -> Statement {
    sql!(WORKS, workspace, now)
}

/// The statement that writes that an e-mail of a workspace was not taken.
pub fn mark_failing(workspace: &WorkspaceId, now: Timestamp, error: &str) -> Statement {
    sql!(FAILS, workspace, now, error)
}

/// How sending goes in a database, for its operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmailBacklog {
    /// E-mails that wait to be sent, also digests of the next day, up to a number of them.
    pub waiting: i64,
    /// Since when the first one is due.
    pub oldest_due_at: Option<Timestamp>,
    /// The last failure of a week: when, and its code.
    pub last_failure: Option<(Timestamp, String)>,
}

/// The statements that read it.
pub(super) fn read_backlog_statements(now: Timestamp, most: i64) -> [Statement; 3] {
    [sql!(COUNT_WAITING, most), sql!(OLDEST_DUE, now), sql!(LAST_FAILURE, now.plus(-retention::OUTBOX_AGE))]
}

/// What they answered.
pub(super) fn read_backlog([waiting, oldest, failure]: [&Rows; 3]) -> StoreResult<EmailBacklog> {
    let failure = failure.rows.first().map(Columns);
    Ok(EmailBacklog {
        waiting: read_count(waiting)?,
        oldest_due_at: oldest.rows.first().map(|row| Columns(row).time("due_at")).transpose()?,
        last_failure: match failure {
            None => None,
            Some(row) => row.optional_time("last_failed_at")?.zip(row.optional_text("last_error")?),
        },
    })
}

/// How to reach a person. None: there is no such person.
pub async fn get_person(db: &impl Database, workspace: &WorkspaceId, user: &str) -> StoreResult<Option<PersonEmail>> {
    query_first(db, sql!(PERSON, workspace, user)).await
}

/// The statement that writes what a person wants to get.
pub fn set_preference(workspace: &WorkspaceId, user: &str, preference: EmailPreference) -> Statement {
    sql!(SET_PREFERENCE, workspace, user, preference.as_str())
}

/// The statement that writes the address of a person who has just signed in.
pub fn set_address(workspace: &WorkspaceId, user: &str, address: &EmailAddress) -> Statement {
    sql!(SET_ADDRESS, workspace, user, address.as_str())
}

/// The same with the address that a sign-in link names, if it does.
pub(super) fn set_address_of_link(token_hash: &str) -> Statement {
    sql!(SET_ADDRESS_OF_LINK, token_hash)
}
