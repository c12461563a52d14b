//! What the core needs from outside, as traits: database, cache, outbound HTTP, clock, randomness,
//! signatures, log, and the way to the one who refreshes.
//!
//! Owns the contracts. Refuses to name a platform: the edge implements them over Workers, the
//! native tests over memory, with faults and counters.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use crate::app::{AppId, AuthMethodId, OutboundMethod, SigningAlgorithm};
use crate::destinations::{RequestSecret, SecretKind};
use crate::egress::EgressUrl;
use crate::ids::{
    ApiKeyId, AttemptId, ClientId, ConnectionId, EventId, FlowId, JobId, LinkId, SessionId, Shard, SignInLinkId,
    WebhookId, WorkspaceId,
};
use crate::isolate_cache::IsolateCache;
use crate::random::Random;
use crate::signing_key::SigningKey;
use crate::time::Timestamp;
use crate::verifying_key::VerifyingKey;

/// Everything a use case may reach, bundled so that one type parameter carries it.
pub trait Ports {
    /// The database.
    type Database: Database;
    /// The cache.
    type Cache: Cache;
    /// The way to apps.
    type Http: Http;
    /// The time.
    type Clock: Clock;
    /// The source of secrets and ids.
    type Random: Random;
    /// What signs, and checks signatures.
    type Signer: Signer + Verifier;
    /// The log.
    type Log: Log;
    /// The way to the owner of a connection's refreshes.
    type Refresher: RefreshRunner;
    /// Where a response is stored that the database did not accept.
    type PendingWrites: PendingWrites;
    /// What counts calls.
    type RateLimiter: RateLimiter;
    /// What starts runs in invocations of their own.
    type RunQueue: RunQueue;
    /// Where data points are written.
    type Metrics: Metrics;
    /// What sends e-mail.
    type Mailer: Mailer;

    /// The database of a shard, if it is bound.
    fn database(&self, shard: Shard) -> Option<Rc<Self::Database>>;
    /// The cache.
    fn cache(&self) -> &Self::Cache;
    /// The way to apps.
    fn http(&self) -> &Self::Http;
    /// The time.
    fn clock(&self) -> &Self::Clock;
    /// The source of secrets and ids.
    fn random(&self) -> &Self::Random;
    /// What signs, and checks signatures.
    fn signer(&self) -> &Self::Signer;
    /// The log.
    fn log(&self) -> &Self::Log;
    /// The way to the owner of a connection's refreshes.
    fn refresher(&self) -> &Self::Refresher;
    /// Where a response is stored that the database did not accept.
    fn pending_writes(&self) -> &Self::PendingWrites;
    /// What counts calls.
    fn rate_limiter(&self) -> &Self::RateLimiter;
    /// What starts runs in invocations of their own.
    fn run_queue(&self) -> &Self::RunQueue;
    /// Where data points are written.
    fn metrics(&self) -> &Self::Metrics;
    /// What sends e-mail.
    fn mailer(&self) -> &Self::Mailer;
    /// What this instance of the program remembers.
    fn isolate_cache(&self) -> &IsolateCache;
}

/// A value bound to a statement, or read from a row. D1 has no 64-bit integers: it takes and gives them as `f64`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum SqlValue {
    /// SQL `NULL`.
    Null,
    /// A whole number within ±2^53.
    Integer(i64),
    /// Text.
    Text(String),
}

impl<'de> Deserialize<'de> for SqlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;
        impl Visitor<'_> for ValueVisitor {
            type Value = SqlValue;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("null, a whole number or a text")
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<SqlValue, E> {
                Ok(SqlValue::Null)
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<SqlValue, E> {
                Ok(SqlValue::Integer(number))
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<SqlValue, E> {
                i64::try_from(number).map(SqlValue::Integer).map_err(E::custom)
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SqlValue, E> {
                Ok(SqlValue::Text(text.to_owned()))
            }
            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<SqlValue, E> {
                Ok(SqlValue::Text(text))
            }
        }
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl From<&str> for SqlValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
impl From<String> for SqlValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
impl From<i64> for SqlValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}
impl From<bool> for SqlValue {
    fn from(flag: bool) -> Self {
        Self::Integer(i64::from(flag))
    }
}
impl From<Timestamp> for SqlValue {
    fn from(time: Timestamp) -> Self {
        Self::Integer(time.unix())
    }
}
impl<T: Into<SqlValue>> From<Option<T>> for SqlValue {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

macro_rules! sql_values_of_ids {
    ($($name:ident),* $(,)?) => {$(
        impl From<&$name> for SqlValue {
            fn from(id: &$name) -> Self {
                Self::Text(id.as_str().to_owned())
            }
        }
    )*};
}

sql_values_of_ids! {
    ApiKeyId, AppId, AttemptId, AuthMethodId, ClientId, ConnectionId, EventId, FlowId, JobId, LinkId, SessionId,
    SignInLinkId, WebhookId, WorkspaceId,
}

/// The text of a statement. It is made of constants only, so nothing that a caller sends can get into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlText(Cow<'static, str>);

impl SqlText {
    /// The text, if it is one constant.
    pub fn as_constant(&self) -> Option<&'static str> {
        match self.0 {
            Cow::Borrowed(text) => Some(text),
            Cow::Owned(_) => None,
        }
    }

    /// How many values it takes: its values are numbered, and some numbers may be left out.
    fn values(&self) -> usize {
        let numbers = self.0.split('?').skip(1);
        let digits = numbers.map(|after| after.split(|next: char| !next.is_ascii_digit()).next().unwrap_or_default());
        digits.filter_map(|digits| digits.parse().ok()).max().unwrap_or(0)
    }
}

impl From<&'static str> for SqlText {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl FromIterator<&'static str> for SqlText {
    fn from_iter<T: IntoIterator<Item = &'static str>>(parts: T) -> Self {
        Self(Cow::Owned(parts.into_iter().collect()))
    }
}

impl Deref for SqlText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SqlText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// One SQL statement with its `?1, ?2 …` values.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The SQL.
    pub sql: SqlText,
    /// Bound values, in order.
    pub params: Vec<SqlValue>,
}

impl Statement {
    /// A statement that is put together, of the values that its parts may name. It takes them up to the last one that is named,
    /// because a database refuses more.
    pub fn put_together(parts: impl IntoIterator<Item = &'static str>, mut params: Vec<SqlValue>) -> Self {
        let sql: SqlText = parts.into_iter().collect();
        params.truncate(sql.values());
        Self { sql, params }
    }

    /// Whether it surely changes nothing.
    pub fn is_read(&self) -> bool {
        let sql = self.sql.trim_start();
        let writes = ["INSERT ", "UPDATE ", "DELETE ", "REPLACE "];
        sql.starts_with("SELECT") || sql.starts_with("WITH") && !writes.iter().any(|word| sql.contains(word))
    }
}

/// Makes a [`Statement`]: `sql!(SELECT_KEY, id, now)`.
#[macro_export]
macro_rules! sql {
    ($sql:expr $(, $param:expr)* $(,)?) => {
        $crate::ports::Statement { sql: $crate::ports::SqlText::from($sql), params: vec![$($crate::ports::SqlValue::from($param)),*] }
    };
}

/// A row as the database gives it. The rows of a statement share the names of their columns.
#[derive(Debug, Clone)]
pub struct Row {
    columns: Rc<[String]>,
    values: Vec<SqlValue>,
    /// Where the next column is looked for first: columns are read in about the order in which they come.
    next: Cell<usize>,
}

impl Row {
    /// A row of these columns.
    pub fn new(columns: Rc<[String]>, values: Vec<SqlValue>) -> Self {
        Self { columns, values, next: Cell::new(0) }
    }

    /// The value of a column, if the row has it.
    pub fn get(&self, column: &str) -> Option<&SqlValue> {
        let next = self.next.get();
        let is_it = |name: &String| name == column;
        let found = match self.columns.get(next) {
            Some(name) if is_it(name) => next,
            _ => self.columns.iter().position(is_it)?,
        };
        self.next.set(found + 1);
        self.values.get(found)
    }
}

/// What one statement answered.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Rows selected or returned.
    pub rows: Vec<Row>,
    /// Rows changed.
    pub changes: u64,
}

/// A database call that failed. A write may have been applied all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// A uniqueness or foreign key rule said no; nothing of the batch was applied.
    #[error("a database constraint was violated")]
    Constraint,
    /// Not reachable, too slow, or broken. The text is for the log.
    #[error("the database did not answer: {0}")]
    Unavailable(String),
    /// A table or column is missing: the migrations of this version were not applied. The text is for the log.
    #[error("a migration is missing: {0}")]
    NotMigrated(String),
    /// A row has another form than this version of the software writes. The text is for the log.
    #[error("a row is malformed: {0}")]
    Malformed(String),
    /// The session that a page assumed has ended or was changed. Nothing was written, and what was read is not shown.
    #[error("the session has ended or was changed")]
    SessionEnded,
}

impl DatabaseError {
    /// Characters of a cause, at most.
    const LONGEST_CAUSE: usize = 300;

    /// Reads the message of `SQLite`, which D1 hands on as it is. It names tables and columns, never values.
    pub fn from_message(message: &str) -> Self {
        const NOT_MIGRATED: [&str; 3] = ["no such table", "no such column", "has no column named"];
        if message.contains("constraint failed") {
            return Self::Constraint;
        }
        let cause = message.chars().take(Self::LONGEST_CAUSE).collect();
        if NOT_MIGRATED.iter().any(|text| message.contains(text)) {
            Self::NotMigrated(cause)
        } else {
            Self::Unavailable(cause)
        }
    }
}

/// The database (D1). One call is one round trip and one transaction.
pub trait Database {
    /// Runs the statements in order, all or none, and answers one [`Rows`] each.
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError>;
}

impl<D: Database> Database for &D {
    async fn batch(&self, statements: Vec<Statement>) -> Result<Vec<Rows>, DatabaseError> {
        (**self).batch(statements).await
    }
}

/// The cache failed; whoever asked goes on without it. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cache failed: {0}")]
pub struct CacheError(pub String);

/// The cache (Workers KV): eventually consistent, and never the source of truth.
pub trait Cache {
    /// The value under a key, if there is one.
    async fn get(&self, key: &str) -> Result<Option<String>, CacheError>;
    /// The values under several keys, in their order, in one call.
    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<String>>, CacheError>;
    /// Stores a value for so many seconds (at least 60).
    async fn put(&self, key: &str, value: &str, ttl_seconds: i64) -> Result<(), CacheError>;
    /// Whether there is a cache at all; without one every call succeeds and keeps nothing.
    fn is_bound(&self) -> bool;
    /// Removes a key.
    async fn delete(&self, key: &str) -> Result<(), CacheError>;
}

/// A request to an app. Its address passed the guard; redirects are never followed. It is made together with the secrets
/// that it carries, each of which knows where it may go.
#[derive(Clone)]
pub struct OutboundRequest {
    /// The method.
    pub method: OutboundMethod,
    /// An address that passed the egress guard.
    pub url: EgressUrl,
    /// Header names and values; they may hold secrets.
    pub headers: Vec<(String, String)>,
    /// The body, if one is sent.
    pub body: Option<String>,
    /// How long the whole exchange may take, in milliseconds.
    pub timeout_ms: u32,
    /// Whether the body of the answer is read.
    pub reads_body: bool,
    /// Private, so that no request is made without saying what it carries.
    carried: Vec<RequestSecret>,
}

impl OutboundRequest {
    /// A request with secrets; none for a public document.
    pub fn new(method: OutboundMethod, url: EgressUrl, carried: Vec<RequestSecret>, timeout_ms: u32) -> Self {
        Self { method, url, headers: Vec::new(), body: None, timeout_ms, reads_body: true, carried }
    }

    /// The same with headers and a body.
    #[must_use]
    pub fn with_headers_and_body(self, headers: Vec<(String, String)>, body: Option<String>) -> Self {
        Self { headers, body, ..self }
    }

    /// The same, if nobody looks at the body of the answer: it is not read.
    #[must_use]
    pub fn without_reading_body(self) -> Self {
        Self { reads_body: false, ..self }
    }

    /// The only way to what can be sent.
    ///
    /// # Errors
    /// A secret in it must not go to its address.
    pub fn into_permitted(self) -> Result<PermittedRequest, SecretKind> {
        match self.carried.iter().find(|secret| !secret.may_be_sent_to(&self.url)) {
            None => Ok(PermittedRequest(self)),
            Some(secret) => Err(secret.kind()),
        }
    }
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outbound({:?} {})", self.method, self.url.host())
    }
}

/// A request each of whose secrets may go where it goes.
#[derive(Clone, Debug)]
pub struct PermittedRequest(OutboundRequest);

impl Deref for PermittedRequest {
    type Target = OutboundRequest;
    fn deref(&self) -> &OutboundRequest {
        &self.0
    }
}

/// The largest body that is read from an app, in bytes. More is a failure.
pub const RESPONSE_BODY_LIMIT: usize = 256 * 1024;

/// An app's answer: any status, a body of at most [`RESPONSE_BODY_LIMIT`] bytes.
#[derive(Clone)]
pub struct AppResponse {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl AppResponse {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl fmt::Debug for AppResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbound({}, {} bytes)", self.status, self.body.len())
    }
}

/// Why no answer came. On Workers hardly more than this can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The time limit passed; the app may have acted.
    #[error("the app did not answer in time")]
    Timeout,
    /// The connection failed or broke; the app may have acted.
    #[error("the network connection to the app failed")]
    Network,
    /// The body was over [`RESPONSE_BODY_LIMIT`].
    #[error("the app's answer is too large")]
    TooLarge,
    /// Nothing was sent: a secret in the request must not go to its address.
    #[error("nothing was sent: a secret in the request must not go to its address")]
    NotPermitted,
    /// The body of a request that passes through was over [`PASSING_BODY_LIMIT`], or broke off.
    #[error("the body of the request is too large")]
    RequestTooLarge,
}

/// The largest body that passes through, either way, in bytes.
pub const PASSING_BODY_LIMIT: u64 = 100 * 1024 * 1024;

/// A body that passes through. Nobody here reads it.
pub struct PassingBody<B> {
    /// The platform's own body.
    pub stream: B,
    /// Its length in bytes, if it is known.
    pub length: Option<u64>,
}

/// An app's answer that passes through: its body is not read.
pub struct PassingResponse<B> {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case. One name may come several times.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<PassingBody<B>>,
}

impl<B> fmt::Debug for PassingResponse<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passing({})", self.status)
    }
}

/// The way to apps.
pub trait Http {
    /// A body that passes through from a caller to an app, or back.
    type Body;

    /// Sends one request, without following redirects.
    async fn send(&self, request: PermittedRequest) -> Result<AppResponse, HttpError>;

    /// Sends one request with a caller's body, without following redirects. The answer has begun when this returns; its body
    /// is still to come. Bodies over [`PASSING_BODY_LIMIT`] break off, whatever length they name.
    async fn pass(
        &self,
        request: PermittedRequest,
        body: Option<&PassingBody<Self::Body>>,
    ) -> Result<PassingResponse<Self::Body>, HttpError>;

    /// Reads a body completely, so that it can be sent twice.
    async fn keep(&self, body: PassingBody<Self::Body>) -> Result<PassingBody<Self::Body>, HttpError>;

    /// Ends a body that nobody wants.
    fn discard(&self, body: PassingBody<Self::Body>);
}

/// The time.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Waits so many milliseconds.
    async fn sleep(&self, milliseconds: u32);
}

/// Why nothing was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The key is damaged, or not made for this algorithm: another try won't help.
    #[error("the key can't sign with this algorithm")]
    Key,
    /// The platform failed. The text is for the log.
    #[error("the platform could not sign: {0}")]
    Failed(&'static str),
}

/// Signatures with private keys. The platform makes them: RSA in Wasm would take CPU time that is billed.
pub trait Signer {
    /// Signs the data as JWS wants it (RFC 7518 3.3 to 3.5).
    async fn sign(&self, algorithm: SigningAlgorithm, key: &SigningKey, data: &[u8]) -> Result<Vec<u8>, SigningError>;
}

/// Checks of signatures with public keys.
pub trait Verifier {
    /// Whether the key's owner signed the data.
    async fn verify(
        &self,
        algorithm: SigningAlgorithm,
        key: &VerifyingKey,
        data: &[u8],
        signature: &[u8],
    ) -> Result<bool, SigningError>;
}

/// One line of the log: an event name and fields. Values are ids, codes and counts, never secrets.
#[derive(Debug, Clone, Serialize)]
pub struct LogLine {
    /// `info`, `warn` or `error`.
    pub level: &'static str,
    /// What happened, in snake case.
    pub event: &'static str,
    /// Fields.
    #[serde(flatten)]
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// The log.
pub trait Log {
    /// Writes one line.
    fn write(&self, line: LogLine);
}

/// Why somebody wants a connection refreshed or checked. Durable Objects and Workers of two versions exchange its JSON, so
/// the texts in it are frozen; a variant whose name has changed since keeps its text by a `rename`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum RefreshReason {
    /// A caller needs a token that lives until then.
    Need {
        /// Unix seconds the token must outlive.
        until: i64,
    },
    /// The token nears its end; nobody waits.
    Early,
    /// A caller insists on a new token (rate limited).
    Force,
    /// The clock: refresh if it is time, else probe.
    #[serde(rename = "check")]
    ScheduledCheck,
    /// A person or program asks for the truth now, also of a connection that is believed dead.
    #[serde(rename = "check_now")]
    OnDemandCheck,
}

impl RefreshReason {
    /// Whether what came of an attempt for another reason is the answer here, too: not if that one was for less (a token
    /// that was good enough for another caller, a probe).
    pub fn is_answered_by(self, other: Self, outcome: &RefreshOutcome) -> bool {
        let tells_little =
            matches!(outcome, RefreshOutcome::StillValid | RefreshOutcome::Healthy | RefreshOutcome::Unknown);
        self == other || !(tells_little || self == Self::OnDemandCheck)
    }
}

/// What came of a refresh or a check. Tokens are not in it.
// Its JSON is part of the API, and Durable Objects and Workers of two versions exchange it: the texts in it are frozen. A
// variant whose name has changed since keeps its text by a `rename`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CheckOutcome"))]
pub enum RefreshOutcome {
    /// A new token is stored.
    Refreshed,
    /// The stored token is good enough.
    #[serde(rename = "satisfied")]
    StillValid,
    /// A probe answered that the credential works.
    Healthy,
    /// The connection must be reconnected; its `reason` says why.
    #[serde(rename = "dead")]
    NeedsReconnect,
    /// The app refuses the workspace's OAuth client.
    ClientMisconfigured,
    /// The app refuses this connection's configuration (scope, grant type).
    #[serde(rename = "unusable")]
    ConfigurationRefused,
    /// Nothing can be refreshed and nothing can be probed.
    Unknown,
    /// The app could not be asked, or failed; try again after so many seconds.
    Unavailable {
        /// Seconds.
        retry_after: i64,
    },
    /// Another attempt holds the connection; try again after so many seconds.
    InProgress {
        /// Seconds.
        retry_after: i64,
    },
    /// The database did not answer.
    #[cfg_attr(test, schemars(skip))]
    #[serde(rename = "database_down")]
    DatabaseUnavailable,
    /// There is no such connection any more.
    #[serde(rename = "gone")]
    NotFound,
    /// The stored credential does not open with this key ring.
    Unreadable,
}

/// How a connection is doing, as a refresh or a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(description = "How a connection is doing."))]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It works.
    Healthy,
    /// Only a person can repair it.
    #[serde(rename = "dead")]
    NeedsReconnect,
    /// The workspace's OAuth client cannot be used.
    ClientMisconfigured,
    /// The app refuses this connection's configuration.
    #[serde(rename = "misconfigured")]
    ConfigurationRefused,
    /// The app could not be reached, or failed.
    AppUnavailable,
    /// Nothing can be learned.
    Unknown,
}

impl RefreshOutcome {
    /// Its text in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::StillValid => "satisfied",
            Self::Healthy => "healthy",
            Self::NeedsReconnect => "dead",
            Self::ClientMisconfigured => "client_misconfigured",
            Self::ConfigurationRefused => "unusable",
            Self::Unknown => "unknown",
            Self::Unavailable { .. } => "unavailable",
            Self::InProgress { .. } => "in_progress",
            Self::DatabaseUnavailable => "database_down",
            Self::NotFound => "gone",
            Self::Unreadable => "unreadable",
        }
    }

    /// What it says of the connection's health.
    pub fn health(&self) -> Health {
        match self {
            Self::Refreshed | Self::StillValid | Self::Healthy => Health::Healthy,
            Self::NeedsReconnect | Self::Unreadable => Health::NeedsReconnect,
            Self::ClientMisconfigured => Health::ClientMisconfigured,
            Self::ConfigurationRefused => Health::ConfigurationRefused,
            Self::Unavailable { .. } | Self::InProgress { .. } => Health::AppUnavailable,
            Self::Unknown | Self::NotFound | Self::DatabaseUnavailable => Health::Unknown,
        }
    }

    /// Whether the credential was found to work.
    pub fn works(&self) -> bool {
        self.health() == Health::Healthy
    }
}

/// The way to the one owner of a connection's refreshes. Correctness does not depend on it
/// (the database's intent does that); it saves requests by coalescing callers.
pub trait RefreshRunner {
    /// Subrequests that one errand costs whoever sends it: one where the owner has a budget of its own.
    fn subrequest_cost(&self) -> i64;
    /// Runs the errand, or joins the one under way, and waits at most 10 s for its end.
    async fn run(&self, connection: &ConnectionId, reason: RefreshReason) -> RefreshOutcome;
}

/// Keeps one sealed answer that the database would not take, until it does. Only a Durable Object
/// has one; elsewhere [`PendingWrites::keep`] answers `false`.
pub trait PendingWrites {
    /// Stores the sealed answer and arranges that it is delivered later.
    async fn keep(&self, connection: &ConnectionId, sealed: &str) -> bool;
}

/// A message: one more scheduled run of a database, in an invocation of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedRun {
    /// The number of the database.
    pub database: u16,
    /// What selects that which is due, Unix seconds.
    pub scheduled_at: i64,
}

/// Why a queue took nothing. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueueError(pub String);

/// A queue whose messages start runs. Nothing relies on it: a message may be lost, or come late, twice, or after a later one.
pub trait RunQueue {
    /// Whether there is one.
    fn is_bound(&self) -> bool;
    /// Sends messages, in one request.
    async fn send(&self, runs: &[QueuedRun]) -> Result<(), QueueError>;
}

/// What a data point is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricEvent {
    /// A credential was handed out, or refused.
    Resolve,
    /// An app was asked for a token.
    Refresh,
    /// An app was asked whether a credential works.
    Check,
    /// An app refused or failed.
    Failure,
    /// An app has sent an event.
    AppEvent,
    /// A request passed through to an app, or was refused.
    Proxy,
}

impl MetricEvent {
    /// Its name in the data set.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Refresh => "refresh",
            Self::Check => "check",
            Self::Failure => "failure",
            Self::AppEvent => "app_event",
            Self::Proxy => "proxy",
        }
    }
}

/// A data point. It names a workspace and an app, and no connection and no account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsPoint {
    /// What it is about.
    pub event: MetricEvent,
    /// The workspace: the index, by which points are sampled.
    pub workspace: WorkspaceId,
    /// The app's id.
    pub app: String,
    /// How it ended.
    pub outcome: String,
    /// The code of a refusal or failure.
    pub code: String,
    /// How long it took; 0 if that is not measured.
    pub milliseconds: i64,
}

/// Where data points are written. Nothing waits for it, and nothing fails with it.
pub trait Metrics {
    /// Whether there is one.
    fn is_bound(&self) -> bool;
    /// The time, in milliseconds. On Workers it moves only while a request waits for something.
    fn milliseconds(&self) -> i64;
    /// Writes a point.
    fn write(&self, point: &MetricsPoint);
}

/// An e-mail to one address. Its text names people, accounts and workflows, and its links end what somebody gets: it is not
/// printed.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Email {
    /// The sender's address.
    pub from: String,
    /// The address.
    pub to: String,
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// Further headers. The service takes some, and refuses an e-mail with others.
    pub headers: BTreeMap<&'static str, String>,
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// Why an e-mail was not sent, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailError {
    /// The service has refused it, with this code: it was not sent.
    Refused(String),
    /// No answer came, or one that nobody knows: it may have been sent.
    Unknown,
}

/// What sends e-mail. Optional.
pub trait Mailer {
    /// Whether there is one.
    fn is_bound(&self) -> bool;
    /// Hands an e-mail over to the service. Whether it arrives, nobody can say.
    async fn send(&self, email: &Email) -> Result<(), MailError>;
}

/// A limit on how often something may happen in a minute. wrangler.toml has the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RateLimit {
    /// Wrong credentials, by the caller's address.
    FailedAuthentication,
    /// Calls, by key.
    Calls,
    /// Calls that create something or send requests to an app, by key or user.
    CostlyCalls,
    /// Requests that pass through to an app, by connection.
    ProxiedRequests,
    /// Events that apps send, by the sender's address.
    AppEvents,
}

impl RateLimit {
    /// All limits.
    pub const ALL: [Self; 5] =
        [Self::FailedAuthentication, Self::Calls, Self::CostlyCalls, Self::ProxiedRequests, Self::AppEvents];
    /// Seconds that one instance of the program refuses a key that makes too many calls.
    pub const KEY_PAUSE: i64 = 10;

    /// Its name in `RateLimit-Policy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailedAuthentication => "failed-authentication",
            Self::Calls => "calls",
            Self::CostlyCalls => "costly-calls",
            Self::ProxiedRequests => "proxied-requests",
            Self::AppEvents => "app-events",
        }
    }

    /// The name of its binding.
    pub fn binding(self) -> &'static str {
        match self {
            Self::FailedAuthentication => "FAILED_AUTHENTICATION_LIMIT",
            Self::Calls => "CALL_LIMIT",
            Self::CostlyCalls => "COSTLY_CALL_LIMIT",
            Self::ProxiedRequests => "PROXIED_REQUEST_LIMIT",
            Self::AppEvents => "APP_EVENT_LIMIT",
        }
    }

    /// How often it may happen in [`RateLimit::seconds`].
    pub fn quota(self) -> i64 {
        match self {
            Self::FailedAuthentication => 100,
            Self::Calls => 12_000,
            Self::CostlyCalls => 600,
            Self::ProxiedRequests => 6_000,
            Self::AppEvents => 3_000,
        }
    }

    /// One in so many is counted, and stands for them all: to ask the binding at each call would cost a hot resolve a fifth
    /// of its time.
    pub fn sampling(self) -> i64 {
        match self {
            Self::FailedAuthentication | Self::CostlyCalls | Self::ProxiedRequests | Self::AppEvents => 1,
            Self::Calls => 100,
        }
    }

    /// The limit that the binding is configured with.
    pub fn binding_limit(self) -> i64 {
        self.quota() / self.sampling()
    }

    /// The seconds that the quota is for.
    pub fn seconds(self) -> i64 {
        60
    }
}

/// Counts how often something happens. It says yes or no and knows no counts. Where the platform has none, or where it
/// fails, it says yes.
pub trait RateLimiter {
    /// Counts one more under a key, and answers whether that is within the limit.
    async fn allows(&self, limit: RateLimit, key: &str) -> bool;
}

#[cfg(test)]
mod tests {
    use super::{RefreshOutcome, RefreshReason, Row, SqlValue};
    use serde_json::json;

    #[test]
    fn a_value_of_a_row_is_null_a_whole_number_or_a_text_and_nothing_else() {
        let values = [
            SqlValue::Null,
            SqlValue::Integer(9_007_199_254_740_991),
            SqlValue::Integer(-9_007_199_254_740_991),
            SqlValue::Text("a\u{0}b\u{2028}\"\\☃".into()),
            SqlValue::Text(String::new()),
        ];
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(serde_json::from_str::<Vec<SqlValue>>(&text).unwrap(), values);
        for other in ["1.5", "1e21", "18446744073709551615", "true", "[1]", "{}", r#""\ud800""#] {
            assert!(serde_json::from_str::<SqlValue>(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_row_finds_its_columns_in_any_order_and_no_other() {
        let columns: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let row = Row::new(columns.into(), vec![SqlValue::Integer(1), SqlValue::Null]);
        for _ in 0..2 {
            assert_eq!(row.get("b"), Some(&SqlValue::Null));
            assert_eq!(row.get("a"), Some(&SqlValue::Integer(1)));
            assert_eq!(row.get("A"), None);
            assert_eq!(row.get("c"), None, "the row is shorter than its columns");
        }
    }

    #[test]
    fn the_texts_of_refresh_reasons_are_frozen() {
        let texts = [
            (RefreshReason::Need { until: 7 }, json!({ "reason": "need", "until": 7 })),
            (RefreshReason::Early, json!({ "reason": "early" })),
            (RefreshReason::Force, json!({ "reason": "force" })),
            (RefreshReason::ScheduledCheck, json!({ "reason": "check" })),
            (RefreshReason::OnDemandCheck, json!({ "reason": "check_now" })),
        ];
        for (reason, text) in texts {
            assert_eq!(serde_json::to_value(reason).unwrap(), text);
            assert_eq!(serde_json::from_value::<RefreshReason>(text).unwrap(), reason);
        }
    }

    #[test]
    fn the_texts_of_refresh_outcomes_are_frozen() {
        let texts = [
            (RefreshOutcome::Refreshed, json!({ "outcome": "refreshed" })),
            (RefreshOutcome::StillValid, json!({ "outcome": "satisfied" })),
            (RefreshOutcome::Healthy, json!({ "outcome": "healthy" })),
            (RefreshOutcome::NeedsReconnect, json!({ "outcome": "dead" })),
            (RefreshOutcome::ClientMisconfigured, json!({ "outcome": "client_misconfigured" })),
            (RefreshOutcome::ConfigurationRefused, json!({ "outcome": "unusable" })),
            (RefreshOutcome::Unknown, json!({ "outcome": "unknown" })),
            (RefreshOutcome::Unavailable { retry_after: 7 }, json!({ "outcome": "unavailable", "retry_after": 7 })),
            (RefreshOutcome::InProgress { retry_after: 7 }, json!({ "outcome": "in_progress", "retry_after": 7 })),
            (RefreshOutcome::DatabaseUnavailable, json!({ "outcome": "database_down" })),
            (RefreshOutcome::NotFound, json!({ "outcome": "gone" })),
            (RefreshOutcome::Unreadable, json!({ "outcome": "unreadable" })),
        ];
        for (outcome, text) in texts {
            assert_eq!(serde_json::to_value(&outcome).unwrap(), text);
            assert_eq!(text["outcome"], outcome.as_str());
            assert_eq!(serde_json::from_value::<RefreshOutcome>(text).unwrap(), outcome);
        }
    }
}
