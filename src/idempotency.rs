//! A request that creates something can be repeated with the same `Idempotency-Key`, and creates it once.
//!
//! Owns what a repeated request is answered: the same answer for a day, or that it was done, or that it is being done. An
//! attempt without an answer may have created something all the same: its event says so, because it was written in the same
//! transaction. Refuses to keep an answer that shows a secret.

use crate::caller::hash_secret;
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::frozen;
use crate::ids::{WorkspaceId, random_text};
use crate::ports::Ports;
use crate::retention::IDEMPOTENT_REQUEST_AGE;
use crate::secret::Secret;
use crate::store::idempotency::{self, Attempt, StoredRequest};
use crate::vault::SealContext;

/// Seconds that an attempt may take. Longer than any request that creates something.
const LEASE: i64 = 120;
/// Seconds after which a request may be repeated that is being handled.
const RETRY_AFTER: i64 = 1;
/// Most characters of an `Idempotency-Key`.
const MAX_KEY_LENGTH: usize = 255;

/// A request that may be repeated.
#[derive(Debug)]
pub struct RepeatableRequest<'a> {
    /// Who calls: the id of a key, or the operator.
    pub caller: &'a str,
    /// The caller's workspace; none for the operator.
    pub workspace: Option<&'a WorkspaceId>,
    /// The path, with what it names: the same body means another thing at another one.
    pub path: &'a str,
    /// The header.
    pub key: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// The request, as in `X-Request-Id`.
    pub request: &'a str,
}

/// What is to be done with a request.
#[derive(Debug)]
pub enum Begun {
    /// It is handled, and what came of it is told to [`finish`].
    First(Attempt),
    /// It was handled before, with this answer.
    Repeated {
        /// The status.
        status: u16,
        /// The body.
        body: Secret,
    },
}

/// What came of an attempt.
#[derive(Debug)]
pub enum AttemptOutcome<'a> {
    /// Something was created.
    Created {
        /// The status of the answer.
        status: u16,
        /// The id of what was created.
        id: Option<&'a str>,
        /// The answer, if it may be kept.
        answer: Option<&'a Secret>,
    },
    /// It was refused: nothing was created.
    Refused,
    /// It failed. Nobody knows if something was created.
    Failed,
}

/// Begins to handle a request, or says what came of it before.
///
/// # Errors
/// The key is none, was used for another body, or its request is being handled; or the answer is not kept.
pub async fn begin<P: Ports>(context: &Context<P>, asked: &RepeatableRequest<'_>) -> Result<Begun> {
    require_printable(asked.key)?;
    let now = context.now();
    let new = Attempt {
        id: hash_secret(&format!("{}\n{}\n{}", asked.caller, asked.path, asked.key)),
        workspace: asked.workspace.cloned(),
        body_hash: hash_bytes(asked.body),
        attempt: random_text::<12>(context.ports.random())?,
        request: asked.request.to_owned(),
        started_at: now,
        lease_expires_at: now.plus(LEASE),
        expires_at: now.plus(IDEMPOTENT_REQUEST_AGE),
    };
    let found = idempotency::begin(context.db(), &new).await?;
    let found = found.ok_or_else(|| Error::internal("a repeatable request was not stored"))?;
    if found.attempt.attempt == new.attempt {
        return Ok(Begun::First(new));
    }
    if found.attempt.body_hash != new.body_hash {
        return Err(Error::new(
            ErrorCode::IdempotencyConflict,
            "This Idempotency-Key was used for another body within the last day. Use another key for another request.",
        ));
    }
    match found.status {
        Some(status) => read_answer(context, &found, status),
        None if now < found.attempt.lease_expires_at => Err(in_progress_error()),
        None => begin_again(context, &found.attempt, new).await,
    }
}

/// An earlier attempt has no answer: it failed, or its instance of the program ended. What it created is not created again.
async fn begin_again<P: Ports>(context: &Context<P>, old: &Attempt, new: Attempt) -> Result<Begun> {
    if let Some(id) = idempotency::find_created(context.db(), old).await? {
        idempotency::complete(context.db(), old, 201, Some(&id), None).await?;
        return Err(already_done_error(Some(&id)));
    }
    if idempotency::take_over(context.db(), old, &new).await? {
        Ok(Begun::First(new))
    } else {
        Err(in_progress_error())
    }
}

fn read_answer<P: Ports>(context: &Context<P>, found: &StoredRequest, status: i64) -> Result<Begun> {
    let opened = found
        .sealed_answer
        .as_ref()
        .and_then(|sealed| context.config.key_ring.open(&seal_context(&found.attempt), sealed).ok());
    match (opened, u16::try_from(status)) {
        (Some(body), Ok(status)) => Ok(Begun::Repeated { status, body }),
        _ => Err(already_done_error(found.created_id.as_deref())),
    }
}

fn seal_context(of: &Attempt) -> SealContext<'_> {
    let workspace = of.workspace.as_ref().map_or("", WorkspaceId::as_str);
    SealContext::of(frozen::IDEMPOTENT_ANSWER, workspace, &of.id, 0)
}

/// Stores what came of an attempt. A failure is logged: the caller gets its answer, and who repeats the request finds what
/// was created by its event.
pub async fn finish<P: Ports>(context: &Context<P>, attempt: &Attempt, outcome: AttemptOutcome<'_>) {
    if let Err(error) = store_outcome(context, attempt, outcome).await {
        context.log_cause(&error);
        context.log("warn", "idempotent_answer_not_stored", &serde_json::json!({ "code": error.code.as_str() }));
    }
}

async fn store_outcome<P: Ports>(context: &Context<P>, attempt: &Attempt, outcome: AttemptOutcome<'_>) -> Result<()> {
    let db = context.db();
    match outcome {
        AttemptOutcome::Created { status, id, answer } => {
            let seal = |text| context.config.key_ring.seal(context.ports.random(), &seal_context(attempt), text);
            let sealed = answer.map(seal).transpose()?;
            idempotency::complete(db, attempt, i64::from(status), id, sealed.as_deref()).await?;
        }
        AttemptOutcome::Refused => idempotency::forget(db, attempt).await?,
        AttemptOutcome::Failed => idempotency::end_lease(db, attempt, context.now()).await?,
    }
    Ok(())
}

fn require_printable(key: &str) -> Result<()> {
    let is_printable = key.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    if is_printable && (1..=MAX_KEY_LENGTH).contains(&key.len()) {
        return Ok(());
    }
    Err(Error::invalid_field("Idempotency-Key", "must have 1 to 255 printable ASCII characters, such as a UUID."))
}

fn hash_bytes(bytes: &[u8]) -> String {
    hash_secret(&String::from_utf8_lossy(bytes))
}

fn in_progress_error() -> Error {
    Error::new(
        ErrorCode::IdempotencyInProgress,
        "A request with this Idempotency-Key is being handled. Wait as long as Retry-After says, then repeat it.",
    )
    .with_hints(|h| h.retry_after = Some(RETRY_AFTER))
}

fn already_done_error(id: Option<&str>) -> Error {
    Error::new(
        ErrorCode::AlreadyDone,
        "This request was done before, and its answer is not shown again: it showed a secret, or it was not kept. `id` is what it created. If you need the secret, delete that and send the request with another Idempotency-Key.",
    )
    .with_hints(|h| h.id = id.map(str::to_owned))
}
