//! The owner of a connection's refreshes: a Durable Object per connection that makes many callers wait
//! for one attempt, and the way to it.
//!
//! Efficiency lives here, correctness in the record. Refuses to keep state: the one thing the object may
//! store is a sealed answer that the database would not take, until it does.

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

/// How long a caller waits for an attempt, in milliseconds; the attempt goes on without them.
const LONGEST_WAIT_MS: u64 = 10_000;
/// Seconds between two tries to deliver what the database would not take.
const RETRY_SECONDS: u64 = 5;
/// Subrequests of an errand that runs in the request itself: read, claim, discovery, request, write.
const SUBREQUESTS_IN_REQUEST: i64 = 6;

/// Where the variable can't be read nothing is done, as during maintenance.
fn is_under_maintenance(env: &Env) -> bool {
    super::maintenance(env).unwrap_or(true)
}

/// What is asked of the object.
#[derive(Serialize, Deserialize)]
struct RefreshCall {
    connection: ConnectionId,
    errand: RefreshReason,
}

/// The way to the owner.
pub(crate) enum RefresherBinding {
    /// Through the object named by the connection.
    Object(ObjectNamespace),
    /// Without the binding: in this request, going on behind its answer.
    InRequest(Env, Option<Rc<Context>>),
    /// Inside the object itself, which asks nobody.
    InsideObject,
}

impl RefresherBinding {
    pub(super) fn bind(env: &Env, context: &Rc<Context>) -> Self {
        env.durable_object("REFRESHER")
            .map_or_else(|_| Self::InRequest(env.clone(), Some(context.clone())), Self::Object)
    }

    pub(super) fn bind_without_context(env: &Env) -> Self {
        env.durable_object("REFRESHER").map_or_else(|_| Self::InRequest(env.clone(), None), Self::Object)
    }
}

impl RefreshRunner for RefresherBinding {
    fn subrequest_cost(&self) -> i64 {
        match self {
            Self::Object(_) | Self::InsideObject => 1,
            Self::InRequest(..) => SUBREQUESTS_IN_REQUEST,
        }
    }

    async fn run(&self, connection: &ConnectionId, errand: RefreshReason) -> RefreshOutcome {
        let asked = match self {
            Self::Object(namespace) => ask(namespace, connection, errand).boxed_local(),
            Self::InRequest(env, context) => here(env.clone(), context.as_deref(), connection.clone(), errand),
            Self::InsideObject => async { RefreshOutcome::InProgress { retry_after: 5 } }.boxed_local(),
        };
        if matches!(self, Self::InRequest(_, None)) {
            // Nothing else would hold the attempt: to stop waiting would be to lose an app's answer.
            return asked.await;
        }
        let patience = Delay::from(Duration::from_millis(LONGEST_WAIT_MS));
        match select(asked, Box::pin(patience)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => RefreshOutcome::InProgress { retry_after: 5 },
        }
    }
}

/// An object that can't be reached says nothing about the connection.
async fn ask(namespace: &ObjectNamespace, connection: &ConnectionId, errand: RefreshReason) -> RefreshOutcome {
    let answer = async {
        let body = serde_json::to_string(&RefreshCall { connection: connection.clone(), errand })?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(body.into()));
        let request = Request::new_with_init("https://refresher/", &init)?;
        let mut response = namespace.get_by_name(connection.as_str())?.fetch_with_request(request).await?;
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
        Ok(context) => refresh::run(&context, &connection, errand).await,
        Err(error) => {
            super::system::log_config_error(&error);
            RefreshOutcome::Unavailable { retry_after: 60 }
        }
    }
}

/// Where an answer waits that the database would not take.
pub(crate) enum PendingWritesBinding {
    /// The object's storage.
    Storage(Rc<Storage>),
    /// A plain request has none.
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
    /// Joins the attempt under way. One that was for something less than is asked now (a token that was
    /// good enough for another, a probe) is waited for, and then the errand runs itself.
    async fn join_or_start(&self, ask: RefreshCall) -> RefreshOutcome {
        loop {
            let running = self.running.borrow().clone().filter(|(_, attempt)| attempt.peek().is_none());
            let Some((errand, attempt)) = running else { break };
            let outcome = attempt.await;
            let tells_little =
                matches!(outcome, RefreshOutcome::StillValid | RefreshOutcome::Healthy | RefreshOutcome::Unknown);
            if errand == ask.errand || !(tells_little || ask.errand == RefreshReason::OnDemandCheck) {
                return outcome;
            }
        }
        self.begin(ask).await
    }

    /// Held by the object, not by the caller: it goes on when callers leave.
    fn begin(&self, ask: RefreshCall) -> SharedAttempt {
        let errand = ask.errand;
        let attempt = attempt(self.env.clone(), self.state.storage(), ask).boxed_local().shared();
        *self.running.borrow_mut() = Some((errand, attempt.clone()));
        self.state.wait_until(attempt.clone().map(|_| ()));
        attempt
    }
}

/// What is kept goes to the record first: it may be the very token that would be redeemed.
async fn attempt(env: Env, storage: Storage, ask: RefreshCall) -> RefreshOutcome {
    if !deliver(&env, &storage).await {
        return RefreshOutcome::DatabaseUnavailable;
    }
    run(env, PendingWritesBinding::Storage(Rc::new(storage)), ask.connection, ask.errand).await
}

/// Delivers what is kept; answers whether nothing is left.
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
    // The alarm and an attempt may deliver the same; neither may take away what came after it.
    let unchanged =
        storage.get::<String>(OBJECT_PENDING_WRITE).await.is_ok_and(|now| now.as_deref() == Some(kept.as_str()));
    !unchanged || storage.delete(OBJECT_PENDING_WRITE).await.is_ok()
}
