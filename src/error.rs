//! One vocabulary of errors.
//!
//! Every refusal has a stable [`ErrorCode`], a public `detail` that says what to do, and, apart from
//! them, an internal `cause` for the log. Use cases make errors here and know no HTTP status;
//! `http::problem` turns a code into a status. An app's own text never becomes a `detail`.

use serde::Serialize;

use crate::app::FieldProblem;
use crate::client::ClientProblem;
use crate::codes::codes;
use crate::environment::Environment;
use crate::ids::ConnectionId;
use crate::ports::{DatabaseError, RateLimit};
use crate::random::NoRandomness;
use crate::time::Timestamp;
use crate::vault::SealError;

codes! {
    /// What went wrong, as callers may rely on it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ErrorCode", rename_all = "snake_case"))]
    pub enum ErrorCode {
        /// No valid key or session.
        Unauthorized = "unauthorized",
        /// The key lacks a scope.
        InsufficientKeyScope = "insufficient_key_scope",
        /// Only an admin of the workspace may do this.
        AdminRequired = "admin_required",
        /// A page's form came from another site or an old page.
        FormRejected = "form_rejected",
        /// No such thing, or not this caller's.
        NotFound = "not_found",
        /// No such connection, or not this key's.
        ConnectionNotFound = "connection_not_found",
        /// The path exists, the method does not.
        MethodNotAllowed = "method_not_allowed",
        /// The body is over the limit.
        BodyTooLarge = "body_too_large",
        /// Too many calls in a short time.
        RateLimited = "rate_limited",
        /// As many of these exist as may.
        LimitReached = "limit_reached",
        /// The request can't be understood.
        InvalidRequest = "invalid_request",
        /// The app did not accept what was entered.
        CredentialRejected = "credential_rejected",
        /// The name or id is taken.
        AlreadyExists = "already_exists",
        /// A client is still used by connections.
        ClientInUse = "client_in_use",
        /// The app has no OAuth client yet, or its secret must be entered again.
        ClientMissing = "client_missing",
        /// The workflow is not on the connection's list.
        WorkflowNotAllowed = "workflow_not_allowed",
        /// `expect` does not hold.
        UnexpectedConnection = "unexpected_connection",
        /// An app was named, and no connection of it could be meant.
        NoDefaultConnection = "no_default_connection",
        /// An app was named, and several connections of it could be meant.
        AmbiguousConnection = "ambiguous_connection",
        /// Only a person can repair this connection.
        NeedsReconnect = "needs_reconnect",
        /// Made through a link whose embedder has not confirmed the person yet.
        AwaitingConfirmation = "awaiting_confirmation",
        /// Asked-for scopes were not granted.
        MissingScopes = "missing_scopes",
        /// The app refuses our client.
        ClientMisconfigured = "client_misconfigured",
        /// The app failed and nothing usable is left.
        AppUnavailable = "app_unavailable",
        /// The answer of the app does not pass through the proxy.
        AppResponseRefused = "app_response_refused",
        /// Another attempt is under way and nothing usable is left.
        RefreshInProgress = "refresh_in_progress",
        /// The link was used, expired or never existed.
        LinkEnded = "link_ended",
        /// The connection answers for another one, and would no longer.
        ReplacementInUse = "replacement_in_use",
        /// The two connections are for different environments.
        EnvironmentsDiffer = "environments_differ",
        /// The thing is in a state that does not allow this.
        Conflict = "conflict",
        /// The app has hosts by now that a credential was not given for.
        AddressesChanged = "addresses_changed",
        /// The same `Idempotency-Key` was used for another request.
        IdempotencyConflict = "idempotency_conflict",
        /// A request with the same `Idempotency-Key` is being handled.
        IdempotencyInProgress = "idempotency_in_progress",
        /// The request was done before, and its answer is not shown again.
        AlreadyDone = "already_done",
        /// The thing is not in the state that `If-Match` names.
        PreconditionFailed = "precondition_failed",
        /// The key ring or a variable is missing, weak, or does not fit the data.
        Misconfigured = "misconfigured",
        /// The database did not answer.
        DatabaseUnavailable = "database_unavailable",
        /// The operator changes the database: nothing is done for a while.
        Maintenance = "maintenance",
        /// A fault of ours.
        Internal = "internal",
    }
}

/// One field of a request that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FieldError {
    /// Its path, such as `auth.token_url`; empty for the whole body.
    pub field: String,
    /// The problem and the remedy.
    pub problem: String,
}

/// The connection that is there instead of the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ActualConnection {
    /// Its id.
    pub connection: ConnectionId,
    /// Its app's id.
    #[cfg_attr(test, schemars(with = "crate::app::AppId"))]
    pub app: String,
    /// Its account's label.
    pub account: Option<String>,
    /// Its environment, if it is known.
    pub environment: Option<Environment>,
}

/// A connection that could be meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CandidateConnection {
    /// Its id.
    pub connection: ConnectionId,
    /// Its name.
    pub name: String,
    /// Its account's label.
    pub account: Option<String>,
    /// Its environment, if it is known.
    pub environment: Option<Environment>,
}

/// The optional members of an error that help a caller act on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hints {
    /// Where a signed-in person repairs the connection. Grants nothing by itself.
    #[cfg_attr(test, schemars(url))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconnect_url: Option<String>,
    /// Why it must be reconnected.
    #[cfg_attr(test, schemars(with = "ReconnectReasonName"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The app's own error code, where it refuses to renew the connection or refuses its client.
    #[cfg_attr(test, schemars(regex(pattern = "^[a-z0-9_.-]{1,64}$")))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_error: Option<String>,
    /// Since when the app has refused to renew the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_refuses_since: Option<Timestamp>,
    /// Scopes that were asked for and not granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_scopes: Vec<String>,
    /// Seconds after which another try makes sense, as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<i64>,
    /// Which fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What is there instead of what was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actual: Option<ActualConnection>,
    /// Where a signed-in person connects the app. Grants nothing by itself.
    #[cfg_attr(test, schemars(url))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect_url: Option<String>,
    /// The page that tells a signed-in person how the app's OAuth client is set up.
    #[cfg_attr(test, schemars(url))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_url: Option<String>,
    /// The connections that could be meant, as far as the key sees them; the oldest ten.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<CandidateConnection>,
    /// The id of what the same request created before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What a page says instead of the detail, where that speaks to programs.
    #[serde(skip)]
    pub for_people: Option<String>,
    /// The page that tells how the client that is missing is set up.
    #[serde(skip)]
    pub setup: Option<String>,
    /// Why a client can't be used.
    #[serde(skip)]
    pub client: Option<ClientProblem>,
    /// Methods the path allows.
    #[serde(skip)]
    pub allow: Vec<&'static str>,
    /// The limit that was reached.
    #[serde(skip)]
    pub rate_limit: Option<RateLimit>,
    /// How many requests may be under way at once, where that was reached.
    #[serde(skip)]
    pub most_at_once: Option<u32>,
}

/// Why a connection must be reconnected, as an error tells it.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes a member that has the text")]
enum ReconnectReasonName {
    /// The connection's own reason.
    Own(crate::connection::ReconnectReason),
    /// What a resolve found.
    Found(FoundReason),
}

/// Why a connection that has a credential must be reconnected all the same.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes a member that has the text")]
enum FoundReason {
    /// The app's addresses have changed since it was made.
    DestinationChanged,
    /// The app refuses the OAuth client that it was made with, and another client has taken its place.
    ClientReplaced,
}

/// A refusal or failure, on its way to a caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {detail}", .code.as_str())]
pub struct Error {
    /// What went wrong.
    pub code: ErrorCode,
    /// For people: what happened and what to do. Never a secret, never an app's text.
    pub detail: String,
    /// For the log only.
    pub cause: Option<String>,
    /// What helps to act on it. Boxed: errors travel by value, hints are rare.
    pub hints: Box<Hints>,
}

/// What a use case answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error with a public sentence.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), cause: None, hints: Box::default() }
    }

    /// Adds hints.
    #[must_use]
    pub fn with_hints(mut self, add: impl FnOnce(&mut Hints)) -> Self {
        add(&mut self.hints);
        self
    }

    /// No such thing, or not this caller's: both look alike.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("There is no such {what}."))
    }

    /// No such connection, or not this caller's.
    pub fn connection_not_found() -> Self {
        Self::new(ErrorCode::ConnectionNotFound, "This connection does not exist, or this key cannot see it.")
            .with_hints(|h| {
                h.for_people = Some("This connection does not exist, or it belongs to somebody else.".into());
            })
    }

    /// One field is wrong.
    pub fn invalid_field(field: &str, problem: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError { field: field.to_owned(), problem: problem.into() }])
    }

    /// Several fields are wrong.
    pub fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let detail = errors
            .iter()
            .map(|e| if e.field.is_empty() { e.problem.clone() } else { format!("{}: {}", e.field, e.problem) })
            .collect::<Vec<_>>()
            .join(" ");
        Self::new(ErrorCode::InvalidRequest, detail).with_hints(|h| h.errors = errors)
    }

    /// What a reader of entered values found.
    pub fn from_field_problems(problems: Vec<FieldProblem>) -> Self {
        let one = |found: FieldProblem| FieldError { field: found.field, problem: found.problem };
        Self::invalid_fields(problems.into_iter().map(one).collect())
    }

    /// The configuration is at fault; `detail` names the variable, never its value.
    pub fn misconfigured(detail: impl Into<String>) -> Self {
        Self::new(ErrorCode::Misconfigured, detail)
    }

    /// A fault of ours; the cause goes to the log.
    pub fn internal(cause: impl Into<String>) -> Self {
        let mut error = Self::new(
            ErrorCode::Internal,
            "Something went wrong on our side. Try again; if it stays, look into the log for this request id.",
        );
        error.cause = Some(cause.into());
        error
    }
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Constraint | DatabaseError::SessionEnded => Self::internal(error.to_string()),
            DatabaseError::Malformed(cause) => Self::internal(cause),
            DatabaseError::NotMigrated(cause) => {
                let mut error = Self::misconfigured(
                    "A migration is missing: the database has no table or column that this version needs. Apply the migrations: `npm run deploy`, or `npx wrangler d1 migrations apply DB --remote` for each database (DB, DB_1, …).",
                );
                error.cause = Some(cause);
                error
            }
            DatabaseError::Unavailable(cause) => {
                let mut error =
                    Self::new(ErrorCode::DatabaseUnavailable, "The database did not answer. Try again shortly.")
                        .with_hints(|h| h.retry_after = Some(2));
                error.cause = Some(cause);
                error
            }
        }
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<NoRandomness> for Error {
    fn from(error: NoRandomness) -> Self {
        Self::internal(error.to_string())
    }
}

/// Whether a problem follows the name of its field, as the API says it. What begins like a sentence is one.
pub fn is_fragment(problem: &str) -> bool {
    problem.starts_with(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::{DatabaseError, Error, ErrorCode, NoRandomness, SealError};

    #[test]
    fn each_sealing_failure_names_its_cause() {
        let causes = [SealError::NoRandomness(NoRandomness), SealError::Cipher, SealError::Json]
            .map(|error| Error::from(error).cause.unwrap_or_default());
        let words = ["randomness", "cipher", "JSON"];
        for (cause, word) in causes.iter().zip(words) {
            assert!(cause.contains(word), "{cause}");
            assert_eq!(words.iter().filter(|other| cause.contains(**other)).count(), 1, "{cause}");
        }
    }

    #[test]
    fn missing_migrations_have_no_retry_after() {
        let error = Error::from(DatabaseError::NotMigrated("no such table: x".into()));
        assert_eq!((error.code, error.hints.retry_after), (ErrorCode::Misconfigured, None));
        assert!(error.detail.contains("wrangler d1 migrations apply") && !error.detail.contains("no such table"));
    }
}
