//! The Durable Object per connection that lets many callers wait for one refresh attempt, and the port to it.
//!
//! The object is for efficiency; the database ensures correctness. It stores nothing, except a sealed response that the
//! database did not accept yet.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, LocalBoxFuture, Shared, select};
use serde::{Deserialize, Serialize};
use worker::{
    Context, Delay, DurableObject, Env, Method, ObjectNamespace, Request, RequestInit, Response, State, Storage,
    durable_object,
};

use crate::frozen::OBJECT_PENDING_WRITE;
use crate::ids::ConnectionId;
use crate::maintenance;
use crate::ports::{PendingWrites, RefreshOutcome, RefreshReason, RefreshRunner};
use crate::refresh;

/// How long a caller waits for an attempt, in milliseconds. The attempt continues without them.
const LONGEST_WAIT_MS: u64 = 10_000;
/// Seconds between two attempts to store pending writes.
const RETRY_SECONDS: u64 = 5;
/// Subrequests of a refresh in the request itself: read, lease, discovery, request, write.
const SUBREQUESTS_IN_REQUEST: i64 = 6;

/// If the variable is invalid nothing is done, as during maintenance.
fn is_under_maintenance(env: &Env) -> bool {
    super::maintenance(env).unwrap_or(true)
}

/// A call to the object.
#[derive(Serialize, Deserialize)]
struct RefreshCall {
    connection: ConnectionId,
    errand: RefreshReason,
}

/// The port to the refresher. What a request is bound to is looked up where it is needed: few requests refresh.
pub(crate) enum RefresherBinding {
    /// Through the object that is named by the connection. Where none is bound in this request, continuing after its
    /// answer.
    OfRequest(Env, Option<Rc<Context>>),
    /// Inside the object itself, which calls no other.
    InsideObject,
}

impl RefresherBinding {
    pub(super) fn bind(env: &Env, context: &Rc<Context>) -> Self {
        Self::OfRequest(env.clone(), Some(context.clone()))
    }

    pub(super) fn bind_without_context(env: &Env) -> Self {
        Self::OfRequest(env.clone(), None)
    }
}

fn object_namespace(env: &Env) -> Option<ObjectNamespace> {
    env.durable_object("REFRESHER").ok()
}

impl RefreshRunner for RefresherBinding {
    fn subrequest_cost(&self) -> i64 {
        match self {
            Self::OfRequest(env, _) if object_namespace(env).is_none() => SUBREQUESTS_IN_REQUEST,
            Self::OfRequest(..) | Self::InsideObject => 1,
        }
    }

    async fn run(&self, connection: &ConnectionId, errand: RefreshReason) -> RefreshOutcome {
        let Self::OfRequest(env, context) = self else { return RefreshOutcome::InProgress { retry_after: 5 } };
        let asked = match object_namespace(env) {
            Some(namespace) => ask(namespace, connection.clone(), errand).boxed_local(),
            None if context.is_none() => {
                // Nothing else would keep the attempt running: returning early would lose an app's response.
                return here(env.clone(), None, connection.clone(), errand).await;
            }
            None => here(env.clone(), context.as_deref(), connection.clone(), errand),
        };
        let patience = Delay::from(Duration::from_millis(LONGEST_WAIT_MS));
        match select(asked, Box::pin(patience)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => RefreshOutcome::InProgress { retry_after: 5 },
        }
    }
}

/// An object that cannot be reached says nothing about the connection.
async fn ask(namespace: ObjectNamespace, connection: ConnectionId, errand: RefreshReason) -> RefreshOutcome {
    let answer = async {
        let name = connection.as_str().to_owned();
        let body = serde_json::to_string(&RefreshCall { connection, errand })?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(body.into()));
        let request = Request::new_with_init("https://refresher/", &init)?;
        let mut response = namespace.get_by_name(&name)?.fetch_with_request(request).await?;
        Ok::<RefreshOutcome, worker::Error>(serde_json::from_slice(&response.bytes().await?)?)
    };
    answer.await.unwrap_or(RefreshOutcome::Unavailable { retry_after: 5 })
}

fn here(
    env: Env,
    context: Option<&Context>,
    connection: ConnectionId,
    errand: RefreshReason,
) -> LocalBoxFuture<'static, RefreshOutcome> {
    let attempt = run(env, PendingWritesBinding::Unavailable, connection, errand).boxed_local().shared();
    if let Some(context) = context {
        context.wait_until(attempt.clone().map(|_| ()));
    }
    attempt.boxed_local()
}

async fn run(env: Env, boat: PendingWritesBinding, connection: ConnectionId, errand: RefreshReason) -> RefreshOutcome {
    match super::build_context(&env, RefresherBinding::InsideObject, boat) {
        Ok(context) => refresh::run_in_its_shard(&context, &connection, errand).await,
        Err(error) => {
            super::system::log_config_error(&error);
            RefreshOutcome::Unavailable { retry_after: 60 }
        }
    }
}

/// Where a response is stored that the database did not accept.
pub(crate) enum PendingWritesBinding {
    /// The object's storage.
    Storage(Rc<Storage>),
    /// A plain request has no storage.
    Unavailable,
}

impl PendingWrites for PendingWritesBinding {
    async fn keep(&self, _: &ConnectionId, sealed: &str) -> bool {
        let Self::Storage(storage) = self else { return false };
        storage.put(OBJECT_PENDING_WRITE, sealed).await.is_ok()
            && storage.set_alarm(Duration::from_secs(RETRY_SECONDS)).await.is_ok()
    }
}

type SharedAttempt = Shared<LocalBoxFuture<'static, RefreshOutcome>>;

/// The object: one per connection.
#[durable_object]
pub struct Refresher {
    state: State,
    env: Env,
    running: RefCell<Option<(RefreshReason, SharedAttempt)>>,
}

impl DurableObject for Refresher {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, running: RefCell::new(None) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let ask: RefreshCall = serde_json::from_slice(&request.bytes().await?)?;
        if is_under_maintenance(&self.env) {
            return Response::from_json(&RefreshOutcome::Unavailable { retry_after: maintenance::RETRY_AFTER });
        }
        let outcome = self.join_or_start(ask).await;
        Response::from_json(&outcome)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let storage = self.state.storage();
        if is_under_maintenance(&self.env) {
            storage.set_alarm(Duration::from_secs(maintenance::RETRY_AFTER.unsigned_abs())).await?;
            return Response::ok("");
        }
        if !deliver(&self.env, &storage).await {
            storage.set_alarm(Duration::from_secs(RETRY_SECONDS)).await?;
        }
        Response::ok("")
    }
}

impl Refresher {
    /// Joins the running attempt. If that was for less than what is requested now (a token that was good enough for
    /// another caller, a probe), waits for it and then starts its own.
    async fn join_or_start(&self, ask: RefreshCall) -> RefreshOutcome {
        loop {
            let running = self.running.borrow().clone().filter(|(_, attempt)| attempt.peek().is_none());
            let Some((errand, attempt)) = running else { break };
            let outcome = attempt.await;
            if ask.errand.is_answered_by(errand, &outcome) {
                return outcome;
            }
        }
        self.begin(ask).await
    }

    /// Held by the object and not by the caller: it continues when callers leave.
    fn begin(&self, ask: RefreshCall) -> SharedAttempt {
        let errand = ask.errand;
        let attempt = attempt(self.env.clone(), self.state.storage(), ask).boxed_local().shared();
        *self.running.borrow_mut() = Some((errand, attempt.clone()));
        self.state.wait_until(attempt.clone().map(|_| ()));
        attempt
    }
}

/// Pending writes are stored in the database first: they may contain the token that would be sent.
async fn attempt(env: Env, storage: Storage, ask: RefreshCall) -> RefreshOutcome {
    if !deliver(&env, &storage).await {
        return RefreshOutcome::DatabaseUnavailable;
    }
    run(env, PendingWritesBinding::Storage(Rc::new(storage)), ask.connection, ask.errand).await
}

/// Stores the pending writes in the database. Returns whether none is left.
async fn deliver(env: &Env, storage: &Storage) -> bool {
    let Ok(kept) = storage.get::<String>(OBJECT_PENDING_WRITE).await else { return false };
    let Some(kept) = kept else { return true };
    let Ok(context) = super::build_context(env, RefresherBinding::InsideObject, PendingWritesBinding::Unavailable)
    else {
        return false;
    };
    if !refresh::write_pending_renewal(&context, &kept).await {
        return false;
    }
    // The alarm and an attempt may store the same write. Neither may delete a later one.
    let unchanged =
        storage.get::<String>(OBJECT_PENDING_WRITE).await.is_ok_and(|now| now.as_deref() == Some(kept.as_str()));
    !unchanged || storage.delete(OBJECT_PENDING_WRITE).await.is_ok()
}
