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
use crate::ports::{Errand, ErrandOutcome, Lifeboat, Refresher as RefresherPort};
use crate::refresh;

/// How long a caller waits for an attempt, in milliseconds; the attempt goes on without them.
const PATIENCE: u64 = 10_000;
/// Seconds between two tries to deliver what the database would not take.
const DELIVER_AGAIN: u64 = 5;
/// Subrequests of an errand that runs in the request itself: read, claim, discovery, request, write.
const ERRAND_HERE: i64 = 6;

/// The same while the operator changes the database.
const DELIVER_AFTER_MAINTENANCE: u64 = 60;

/// Where the variable can't be read nothing is done, as during maintenance.
fn is_under_maintenance(env: &Env) -> bool {
    super::maintenance(env).unwrap_or(true)
}

/// What is asked of the object.
#[derive(Serialize, Deserialize)]
struct Ask {
    connection: ConnectionId,
    errand: Errand,
}

/// The way to the owner.
pub(crate) enum Route {
    /// Through the object named by the connection.
    Object(ObjectNamespace),
    /// Without the binding: in this request, going on behind its answer.
    Here(Env, Option<Rc<Context>>),
    /// Inside the object itself, which asks nobody.
    Nowhere,
}

impl Route {
    pub(super) fn bind(env: &Env, context: &Rc<Context>) -> Self {
        env.durable_object("REFRESHER").map_or_else(|_| Self::Here(env.clone(), Some(context.clone())), Self::Object)
    }

    pub(super) fn bind_without_context(env: &Env) -> Self {
        env.durable_object("REFRESHER").map_or_else(|_| Self::Here(env.clone(), None), Self::Object)
    }
}

impl RefresherPort for Route {
    fn cost(&self) -> i64 {
        match self {
            Self::Object(_) | Self::Nowhere => 1,
            Self::Here(..) => ERRAND_HERE,
        }
    }

    async fn run(&self, connection: &ConnectionId, errand: Errand) -> ErrandOutcome {
        let asked = match self {
            Self::Object(namespace) => ask(namespace, connection, errand).boxed_local(),
            Self::Here(env, context) => here(env.clone(), context.as_deref(), connection.clone(), errand),
            Self::Nowhere => async { ErrandOutcome::InProgress { retry_after: 5 } }.boxed_local(),
        };
        if matches!(self, Self::Here(_, None)) {
            // Nothing else would hold the attempt: to stop waiting would be to lose an app's answer.
            return asked.await;
        }
        let patience = Delay::from(Duration::from_millis(PATIENCE));
        match select(asked, Box::pin(patience)).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => ErrandOutcome::InProgress { retry_after: 5 },
        }
    }
}

/// An object that can't be reached says nothing about the connection.
async fn ask(namespace: &ObjectNamespace, connection: &ConnectionId, errand: Errand) -> ErrandOutcome {
    let answer = async {
        let body = serde_json::to_string(&Ask { connection: connection.clone(), errand })?;
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(body.into()));
        let request = Request::new_with_init("https://refresher/", &init)?;
        let mut response = namespace.get_by_name(connection.as_str())?.fetch_with_request(request).await?;
        Ok::<ErrandOutcome, worker::Error>(serde_json::from_slice(&response.bytes().await?)?)
    };
    answer.await.unwrap_or(ErrandOutcome::Unavailable { retry_after: 5 })
}

fn here(
    env: Env,
    context: Option<&Context>,
    connection: ConnectionId,
    errand: Errand,
) -> LocalBoxFuture<'static, ErrandOutcome> {
    let attempt = run(env, Boat::None, connection, errand).boxed_local().shared();
    if let Some(context) = context {
        context.wait_until(attempt.clone().map(|_| ()));
    }
    attempt.boxed_local()
}

async fn run(env: Env, boat: Boat, connection: ConnectionId, errand: Errand) -> ErrandOutcome {
    match super::core(&env, Route::Nowhere, boat) {
        Ok(core) => refresh::run(&core, &connection, errand).await,
        Err(error) => {
            super::system::complain(&error);
            ErrandOutcome::Unavailable { retry_after: 60 }
        }
    }
}

/// Where an answer waits that the database would not take.
pub(crate) enum Boat {
    /// The object's storage.
    Object(Rc<Storage>),
    /// A plain request has none.
    None,
}

impl Lifeboat for Boat {
    async fn keep(&self, _: &ConnectionId, sealed: &str) -> bool {
        let Self::Object(storage) = self else { return false };
        storage.put(OBJECT_PENDING_WRITE, sealed).await.is_ok()
            && storage.set_alarm(Duration::from_secs(DELIVER_AGAIN)).await.is_ok()
    }
}

type Attempt = Shared<LocalBoxFuture<'static, ErrandOutcome>>;

/// The object: one per connection.
#[durable_object]
pub struct Refresher {
    state: State,
    env: Env,
    running: RefCell<Option<(Errand, Attempt)>>,
}

impl DurableObject for Refresher {
    fn new(state: State, env: Env) -> Self {
        Self { state, env, running: RefCell::new(None) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let ask: Ask = serde_json::from_slice(&request.bytes().await?)?;
        if is_under_maintenance(&self.env) {
            return Response::from_json(&ErrandOutcome::Unavailable { retry_after: maintenance::RETRY_AFTER });
        }
        let outcome = self.join_or_begin(ask).await;
        Response::from_json(&outcome)
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let storage = self.state.storage();
        if is_under_maintenance(&self.env) {
            storage.set_alarm(Duration::from_secs(DELIVER_AFTER_MAINTENANCE)).await?;
            return Response::ok("");
        }
        if !deliver(&self.env, &storage).await {
            storage.set_alarm(Duration::from_secs(DELIVER_AGAIN)).await?;
        }
        Response::ok("")
    }
}

impl Refresher {
    /// Joins the attempt under way. One that was for something less than is asked now (a token that was
    /// good enough for another, a probe) is waited for, and then the errand runs itself.
    async fn join_or_begin(&self, ask: Ask) -> ErrandOutcome {
        loop {
            let running = self.running.borrow().clone().filter(|(_, attempt)| attempt.peek().is_none());
            let Some((errand, attempt)) = running else { break };
            let outcome = attempt.await;
            let tells_little =
                matches!(outcome, ErrandOutcome::Satisfied | ErrandOutcome::Healthy | ErrandOutcome::Unknown);
            if errand == ask.errand || !(tells_little || ask.errand == Errand::CheckNow) {
                return outcome;
            }
        }
        self.begin(ask).await
    }

    /// Held by the object, not by the caller: it goes on when callers leave.
    fn begin(&self, ask: Ask) -> Attempt {
        let errand = ask.errand;
        let attempt = attempt(self.env.clone(), self.state.storage(), ask).boxed_local().shared();
        *self.running.borrow_mut() = Some((errand, attempt.clone()));
        self.state.wait_until(attempt.clone().map(|_| ()));
        attempt
    }
}

/// What is kept goes to the record first: it may be the very token that would be redeemed.
async fn attempt(env: Env, storage: Storage, ask: Ask) -> ErrandOutcome {
    if !deliver(&env, &storage).await {
        return ErrandOutcome::DatabaseDown;
    }
    run(env, Boat::Object(Rc::new(storage)), ask.connection, ask.errand).await
}

/// Delivers what is kept; answers whether nothing is left.
async fn deliver(env: &Env, storage: &Storage) -> bool {
    let Ok(kept) = storage.get::<String>(OBJECT_PENDING_WRITE).await else { return false };
    let Some(kept) = kept else { return true };
    let Ok(core) = super::core(env, Route::Nowhere, Boat::None) else { return false };
    if !refresh::deliver(&core, &kept).await {
        return false;
    }
    // The alarm and an attempt may deliver the same; neither may take away what came after it.
    let unchanged =
        storage.get::<String>(OBJECT_PENDING_WRITE).await.is_ok_and(|now| now.as_deref() == Some(kept.as_str()));
    !unchanged || storage.delete(OBJECT_PENDING_WRITE).await.is_ok()
}
