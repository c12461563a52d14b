//! What every use case is given: the ports and the configuration, and the few steps all share.
//!
//! A context is in one shard: what works with it reads and writes that database and no other. Owns the check that the key
//! ring fits the data, and the writing of events and log lines.

mod database;
mod gathered;

use std::collections::BTreeSet;
use std::rc::Rc;

use serde_json::json;

use crate::audit::{Actor, EventType, RequestOrigin};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, EventId, Shard, WorkspaceId};
use crate::ports::{
    AppResponse, CacheError, Clock, Http, HttpError, Log, LogLine, OutboundRequest, PassingBody, PassingResponse,
    PermittedRequest, Ports, Statement,
};
use crate::store;
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject, NewEvent};
use crate::store::sessions::Session;
use crate::time::Timestamp;
use crate::vault::KeyRing;

pub use database::ShardDatabase;

/// Ports and configuration, in one shard.
pub struct Context<P: Ports> {
    /// The outside.
    pub ports: Rc<P>,
    /// What the operator set.
    pub config: Rc<Config>,
    /// Where the request came from that is being answered, for its events.
    pub origin: Rc<RequestOrigin>,
    shard: Shard,
    database: ShardDatabase<P::Database>,
}

/// The body of a request or an answer that passes through.
pub type BodyOf<P> = PassingBody<<<P as Ports>::Http as Http>::Body>;

/// An app's answer that passes through.
pub type ResponseOf<P> = PassingResponse<<<P as Ports>::Http as Http>::Body>;

/// The database that a context has.
pub type ContextDatabase<P> = ShardDatabase<<P as Ports>::Database>;

impl<P: Ports> Context<P> {
    /// A context in the first shard.
    ///
    /// # Errors
    /// No database is bound.
    pub fn new(ports: P, config: Rc<Config>) -> Result<Self> {
        let database = ports
            .database(Shard::FIRST)
            .ok_or_else(|| Error::misconfigured("The D1 binding DB is missing from wrangler.toml."))?;
        let database = ShardDatabase::new(Some(database));
        Ok(Self { ports: Rc::new(ports), config, origin: Rc::default(), shard: Shard::FIRST, database })
    }

    /// The same in another shard, if its database is bound.
    pub fn in_shard(&self, shard: Shard) -> Option<Self> {
        Some(self.in_named_shard(shard)).filter(Self::is_bound)
    }

    /// The same in a shard that somebody's id or token names, also if its database is not bound: then it has nothing in it.
    #[must_use]
    pub fn in_named_shard(&self, shard: Shard) -> Self {
        let (ports, config, origin) = (Rc::clone(&self.ports), Rc::clone(&self.config), Rc::clone(&self.origin));
        Self { database: ShardDatabase::new(ports.database(shard)), ports, config, origin, shard }
    }

    /// Whether the database of its shard is bound.
    pub fn is_bound(&self) -> bool {
        self.database.is_bound()
    }

    /// The same for a request that came from there.
    #[must_use]
    pub fn with_origin(self, origin: RequestOrigin) -> Self {
        Self { origin: Rc::new(origin), ..self }
    }

    /// One for each database that is bound, in the order of their numbers.
    pub fn all_shards(&self) -> Vec<Self> {
        (0..Shard::MOST).map_while(|number| self.in_shard(Shard::new(number)?)).collect()
    }

    /// The same with a part of what a scheduled run may do: so much of `CHECK_BATCH`, and one of so many parts of the others.
    #[must_use]
    pub fn with_share_of_batches(self, check_batch: i64, parts: usize) -> Self {
        let config = Rc::new(self.config.with_share_of_batches(check_batch, parts));
        Self { config, ..self }
    }

    /// The shard that it is in.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// The database of its shard.
    pub fn db(&self) -> &ContextDatabase<P> {
        &self.database
    }

    /// Runs two things that read. What both ask the database for first is one round trip; what they ask for later is sent as
    /// it comes.
    pub async fn at_once<A, B>(&self, one: impl Future<Output = A>, other: impl Future<Output = B>) -> (A, B) {
        self.database.at_once(one, other).await
    }

    /// The workspaces whose audit log got a line since this was last asked.
    pub fn take_announced(&self) -> BTreeSet<WorkspaceId> {
        self.database.take_announced()
    }

    /// Goes on as if this session had not ended. The first batch also asks whether that is so, and nothing is written before.
    /// Whoever assumes it asks [`Self::prove_session`] before anything is shown.
    pub fn assume_session(&self, session: &Session) {
        self.database.assume(session, self.now());
    }

    /// Whether the session that was assumed is still as it was. Nothing is assumed any more.
    ///
    /// # Errors
    /// The database did not answer, so nobody knows.
    pub async fn prove_session(&self) -> Result<bool> {
        Ok(self.database.prove().await?)
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.ports.clock().now()
    }

    /// Writes a line of the log. Fields are ids, codes and counts.
    pub fn log(&self, level: &'static str, event: &'static str, fields: &serde_json::Value) {
        let fields = fields.as_object().cloned().unwrap_or_default();
        self.ports.log().write(LogLine { level, event, fields });
    }

    /// Sends a request to an app, unless a secret in it must not go there.
    ///
    /// # Errors
    /// No answer came. [`HttpError::NotPermitted`]: nothing was sent.
    pub async fn send(&self, request: OutboundRequest) -> std::result::Result<AppResponse, HttpError> {
        let permitted = self.permit(request)?;
        self.ports.http().send(permitted).await
    }

    /// The same for a request whose bodies pass through.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn pass(
        &self,
        request: OutboundRequest,
        body: Option<&BodyOf<P>>,
    ) -> std::result::Result<ResponseOf<P>, HttpError> {
        let permitted = self.permit(request)?;
        self.ports.http().pass(permitted, body).await
    }

    fn permit(&self, request: OutboundRequest) -> std::result::Result<PermittedRequest, HttpError> {
        let host = request.url.authority();
        request.into_permitted().map_err(|kind| {
            self.log("error", "destination_refused", &json!({ "host": host, "secret": format!("{kind:?}") }));
            HttpError::NotPermitted
        })
    }

    /// Logs an error's internal cause, if it has one.
    pub fn log_cause(&self, error: &Error) {
        if let Some(cause) = &error.cause {
            self.log("error", "internal_error", &json!({ "code": error.code.as_str(), "cause": cause }));
        }
    }

    /// Logs that the cache failed: what it holds is a copy, so nothing else fails with it.
    pub fn log_cache_error(&self, error: &CacheError) {
        self.log("warn", "cache_failed", &json!({ "cause": error.0 }));
    }

    /// The statement that writes a line of the audit trail, to go in the batch of what it tells.
    pub fn event_statement(
        &self,
        workspace: &WorkspaceId,
        connection: &ConnectionId,
        event: EventType,
        actor: &Actor,
        detail: Option<&str>,
    ) -> Result<Statement> {
        let subject = EventSubject { connection: Some(connection), ..EventSubject::default() };
        self.event_statement_about(workspace, event, actor, subject, detail)
    }

    /// The same for an event about something else.
    pub fn event_statement_about(
        &self,
        workspace: &WorkspaceId,
        event: EventType,
        actor: &Actor,
        subject: EventSubject<'_>,
        detail: Option<&str>,
    ) -> Result<Statement> {
        let id = EventId::random(self.ports.random(), workspace.shard())?;
        let new = NewEvent { id, at: self.now(), event, subject, actor, detail, origin: &self.origin };
        Ok(store::events::insert(workspace, &new))
    }

    /// The database, for a change whose first (or last) statement says if it happened: its event is written with it.
    pub fn audited_db(&self, event: Statement, changed_by: ChangedBy) -> AuditedDatabase<&ContextDatabase<P>> {
        AuditedDatabase::new(self.db(), event, changed_by)
    }

    /// Refuses when the ring has other bytes than the data was sealed with, under the same key id.
    /// Check values that are missing are written: a new key's first use.
    /// Asked of each database once per instance of the program.
    pub async fn check_key_ring(&self) -> Result<()> {
        if !self.is_bound() {
            return Ok(());
        }
        let fingerprint = self.config.key_ring.fingerprint();
        if !self.ports.isolate_cache().is_ring_checked(self.shard, fingerprint) {
            self.check_key_ring_now().await?;
            self.ports.isolate_cache().remember_checked_ring(self.shard, fingerprint);
        }
        Ok(())
    }

    /// The same, asked of the data each time: also tells whether the database answers.
    pub async fn check_key_ring_now(&self) -> Result<()> {
        let key_ring = &self.config.key_ring;
        let stored = store::maintenance::key_checks(self.db()).await?;
        // Before anything is written: with one wrong key the others leave no trace either.
        refuse_wrong_keys(key_ring, &stored)?;
        let mut missing = Vec::new();
        for id in key_ring.ids().filter(|id| stored.iter().all(|(known, _)| known != id)) {
            missing.extend(key_ring.seal_check_value(self.ports.random(), id)?.map(|value| (id, value)));
        }
        if missing.is_empty() {
            return Ok(());
        }
        // Another Worker may have written first, with other bytes: what is stored decides.
        refuse_wrong_keys(key_ring, &store::maintenance::add_key_checks(self.db(), &missing, self.now()).await?)
    }
}

fn refuse_wrong_keys(key_ring: &KeyRing, stored: &[(String, String)]) -> Result<()> {
    match key_ring
        .ids()
        .find(|id| stored.iter().any(|(known, value)| known == id && !key_ring.opens_check_value(id, value)))
    {
        None => Ok(()),
        Some(id) => Err(Error::misconfigured(format!(
            "ENCRYPTION_KEYS: the key with id {id} is not the one this database was sealed with. Put the right key back; nothing was changed."
        ))),
    }
}
