//! A scenario: many actors run the real use cases at once, with the faults that a seed draws.
//!
//! Owns the actors and what each of them can rely on. Every action of a Worker is a task of that Worker, and ends when
//! the Worker is killed. A person or caller waits for it for a minute at most.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use connections::connect::callback::{CallbackParams, CallbackResult, handle};
use connections::connect::start::begin_flow;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, Ports as _, RefreshReason, RefreshRunner as _};
use connections::resolve::{self, ResolveRequest};
use connections::store::authorizations::FlowOutcome;
use connections::store::connections::ConnectionPatch;
use connections::{check, disconnect, store};
use futures_util::future::{Either, select};

use crate::attack::{self, Attack};
use crate::fault_plan::FaultPlan;
use crate::invariants::{InvariantChecker, ScenarioResult};
use crate::living::{self, Lived};
use crate::plan::{ScenarioPlan, ScenarioStep};
use crate::rogue_server::{self, VisitOptions};
use crate::support::fixture::BROWSER_SESSION;
use crate::support::world::deliver_kept_writes;
use crate::support::{Fixture, RefreshMode, RotationPolicy, World};

/// Milliseconds that an actor waits for a Worker.
const CALLER_TIMEOUT_MS: i64 = 60_000;
/// Milliseconds between two attempts of an object to store its pending writes.
const DELIVERY_INTERVAL_MS: i64 = 5_000;
/// Seconds after the scenario until all invariants must hold: more than the longest back-off.
const RECOVERY_SECONDS: i64 = 4_000;
/// The key that becomes the first one in some scenarios.
const NEW_KEY: &str = "k2:8PHy8/T19vf4+fr7/P3+/wABAgMEBQYHCAkKCwwNDg8=";

/// A connection of the scenario, and what people were told about it.
pub(crate) struct ScenarioConnection {
    pub(crate) id: ConnectionId,
    pub(crate) account: String,
    /// When a disconnect was confirmed, in milliseconds.
    pub(crate) disconnected_at_ms: Cell<Option<i64>>,
    /// Until when a cache entry of it may still answer, in milliseconds: the cache did not confirm the deletion.
    pub(crate) copies_until: Cell<i64>,
    /// Whether a disconnect was tried.
    pub(crate) disconnect_tried: Cell<bool>,
    /// Whether the person revoked the access at the app.
    pub(crate) grant_withdrawn: Cell<bool>,
    /// Running reconnects, and all reconnects ever started.
    reconnects_under_way: Cell<u32>,
    reconnects_begun: Cell<u32>,
    /// Whether two of them overlapped. Then it is not known which grant is newer.
    pub(crate) reconnects_overlapped: Cell<bool>,
    /// Whether its person was redirected to a server that is not the app's.
    pub(crate) sent_to_rogue_server: Cell<bool>,
    /// The app's grants up to this number are older than the last confirmed reconnect that returned a refresh token.
    pub(crate) outdated_grants: Cell<usize>,
    pub(crate) requested_names: RefCell<RequestedNames>,
}

/// Requested names.
#[derive(Debug, Default)]
pub(crate) struct RequestedNames {
    /// The last confirmed one.
    pub(crate) acknowledged: Option<String>,
    /// Later ones that may have been stored.
    pub(crate) unacknowledged: Vec<String>,
}

/// The state of a scenario.
pub(crate) struct Scenario {
    pub(crate) plan: ScenarioPlan,
    pub(crate) fixture: Fixture,
    pub(crate) workers: Vec<World>,
    pub(crate) connections: Vec<ScenarioConnection>,
    pub(crate) fault_plan: FaultPlan,
    pub(crate) invariants: InvariantChecker,
    pub(crate) attack: Option<Attack>,
    finished: Cell<bool>,
    key_promoted: Cell<bool>,
}

/// Runs a plan to its end and judges it.
pub(crate) fn run_scenario(seed: u64, plan: ScenarioPlan, prepare: impl FnOnce(&World), tells: bool) -> ScenarioResult {
    let world = World::new(RefreshMode::Direct, Some(seed));
    world.recorder.keeps_lines.set(tells);
    let app = &world.acme;
    app.rotation.set(plan.rotation);
    app.expires_in.set(Some(plan.expires_in));
    if plan.life.as_ref().is_some_and(|life| !life.tells_life) {
        app.expires_in.set(None);
    }
    app.gives_refresh_token.set(plan.gives_refresh_token);
    app.gives_refresh_token_once.set(plan.gives_refresh_token_once);
    let ground = plan.attack_setup.map(|ground| (ground, attack::install_rogue_server(&world, &plan, ground)));
    let definition = ground.as_ref().map_or_else(empty_object, |(ground, _)| ground.unedited_patch());
    let scene = Fixture::in_world(&world, &rogue_server::merge_keeping_nulls(definition, &plan.definition_patch()));
    let workers = (1..).zip(&plan.workers).map(|(owner, worker)| {
        let own = world.second_deployment(worker.refresh_mode).with_owner(owner);
        own.kept_writes.enabled.set(worker.keeps_writes);
        // In a long scenario the memory of an isolate becomes old.
        if plan.life.is_some() { own.in_one_isolate() } else { own }
    });
    let workers: Vec<World> = workers.collect();
    let roles = (0..plan.connections).map(|number| create_connection(&scene, &plan, number)).collect();
    let hostile = ground.map(|(ground, outside)| Attack::new(&scene, ground, outside));
    prepare(&world);
    let stage = Rc::new(Scenario {
        fault_plan: FaultPlan::install(&world, &plan, seed),
        invariants: InvariantChecker::new(&world),
        attack: hostile,
        finished: Cell::new(false),
        key_promoted: Cell::new(false),
        plan,
        fixture: scene,
        workers,
        connections: roles,
    });
    InvariantChecker::install(&stage);
    let mut lived = Lived::default();
    if stage.plan.life.is_some() {
        lived = living::live(&stage, seed);
    } else {
        world.run(run_steps(Rc::clone(&stage)));
        world.run(recover_and_check(&stage));
    }
    let ended = lived.added_to(stage.invariants.finish(&stage));
    world.runtime.drop_all_tasks();
    ended
}

fn empty_object() -> serde_json::Value {
    serde_json::json!({})
}

fn create_connection(scene: &Fixture, plan: &ScenarioPlan, number: usize) -> ScenarioConnection {
    let account = format!("person-{number}");
    ScenarioConnection {
        id: match plan.attack_setup {
            None => scene.connect(&account),
            Some(ground) => attack::connect(scene, ground, &account),
        },
        account,
        disconnected_at_ms: Cell::new(None),
        copies_until: Cell::new(0),
        disconnect_tried: Cell::new(false),
        grant_withdrawn: Cell::new(false),
        reconnects_under_way: Cell::new(0),
        reconnects_begun: Cell::new(0),
        reconnects_overlapped: Cell::new(false),
        sent_to_rogue_server: Cell::new(false),
        outdated_grants: Cell::new(0),
        requested_names: RefCell::default(),
    }
}

async fn run_steps(stage: Rc<Scenario>) {
    let runtime = stage.fixture.world.runtime.clone();
    let begin = runtime.now_ms();
    for (worker, _) in stage.plan.workers.iter().enumerate().filter(|(_, worker)| worker.keeps_writes) {
        drop(runtime.spawn(retry_deliveries(Rc::clone(&stage), worker)));
    }
    let mut acts = Vec::new();
    for (at, act) in stage.plan.steps.clone() {
        let (stage, runtime) = (Rc::clone(&stage), runtime.clone());
        acts.push(runtime.clone().spawn(async move {
            runtime.sleep(begin + at - runtime.now_ms()).await;
            stage.add_line(|| format!("{act:?}"));
            Box::pin(run_step(&stage, act)).await;
        }));
    }
    runtime.sleep(stage.plan.duration_seconds() * 1000).await;
    for act in acts {
        act.await;
    }
}

/// The alarms of a Worker's objects: pending writes are stored as soon as the database accepts them.
async fn retry_deliveries(stage: Rc<Scenario>, worker: usize) {
    let world = &stage.workers[worker];
    while !stage.finished.get() {
        if !world.kept_writes.writes.borrow().is_empty() {
            let (core, kept) = (world.context(), Rc::clone(&world.kept_writes));
            stage.with_timeout(world, async move { deliver_kept_writes(&core, &kept, None).await }).await;
        }
        world.runtime.sleep(DELIVERY_INTERVAL_MS).await;
    }
}

/// Stops all faults, continues with scheduled runs, and lets all callers ask once more.
async fn recover_and_check(stage: &Rc<Scenario>) {
    stage.fault_plan.stop();
    stage.add_line(|| "the weather clears".into());
    let runtime = &stage.fixture.world.runtime;
    if let Some(hostile) = &stage.attack {
        // Callers who still wait for the database come first.
        runtime.sleep(CALLER_TIMEOUT_MS).await;
        attack::restore_apps(stage, hostile, 0).await;
    }
    // Two scheduled runs find what is due. Sealing again takes two passes.
    let strikes = if stage.key_promoted.get() { 4 } else { 2 };
    for _ in 0..strikes {
        runtime.sleep((RECOVERY_SECONDS + stage.plan.expires_in) * 1000 / strikes).await;
        Box::pin(run_step(stage, ScenarioStep::ScheduledRun { worker: 0 })).await;
    }
    stage.finished.set(true);
    if stage.key_promoted.get() {
        stage.invariants.check_resealed();
        NEW_KEY.clone_into(&mut stage.fixture.world.encryption_keys.borrow_mut());
        stage.add_line(|| "the old key is taken away".into());
    }
    for (connection, role) in stage.connections.iter().enumerate() {
        if role.disconnected_at_ms.get().is_none() {
            let last = resolve_from_worker(stage, 0, connection, ResolveRequest::default()).await;
            stage.invariants.check_final_resolve(role, last);
        }
    }
    if let Some(hostile) = &stage.attack {
        attack::check_final_api_key(stage, hostile).await;
    }
}

impl Scenario {
    pub(crate) fn add_line(&self, line: impl FnOnce() -> String) {
        let world = &self.fixture.world;
        world.recorder.add_line(world.runtime.now_ms(), line);
    }

    /// Waits for a Worker with a time limit, because the Worker may be killed.
    pub(crate) async fn with_timeout<T: 'static>(
        &self,
        world: &World,
        work: impl Future<Output = T> + 'static,
    ) -> Option<T> {
        let task = world.spawn(work);
        match select(task, std::pin::pin!(world.runtime.sleep(CALLER_TIMEOUT_MS))).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(_) => None,
        }
    }
}

async fn run_step(stage: &Rc<Scenario>, act: ScenarioStep) {
    match act {
        ScenarioStep::Resolve { worker, connection, min_ttl, force } => {
            let request = ResolveRequest { min_ttl, force_refresh: force, ..ResolveRequest::default() };
            resolve_from_worker(stage, worker, connection, request).await;
        }
        ScenarioStep::CheckNow { worker, connection } => {
            let world = &stage.workers[worker];
            let (core, id) = (world.context(), stage.connections[connection].id.clone());
            let outcome = stage
                .with_timeout(world, async move { core.ports.refresher().run(&id, RefreshReason::OnDemandCheck).await })
                .await;
            stage.add_line(|| format!("check now: {outcome:?}"));
        }
        ScenarioStep::ScheduledRun { worker } => {
            let world = &stage.workers[worker];
            let (context, now) = (world.context(), world.now());
            let summary = stage.with_timeout(world, async move { check::run_scheduled(&context, now).await }).await;
            stage.add_line(|| format!("tick: {summary:?}"));
        }
        ScenarioStep::Reconnect { worker, connection } if stage.attack.is_some() => {
            let led = VisitOptions { page_ms: 0, redirected_to_app: true, to_rogue_realm: false, app_ms: 0 };
            attack::run_flow(stage, worker, connection, (true, led)).await;
        }
        ScenarioStep::Reconnect { worker, connection } => reconnect_connection(stage, worker, connection).await,
        ScenarioStep::Attack { worker, deed } => attack::run_attack_step(stage, worker, deed).await,
        ScenarioStep::Rename { worker, connection, to } => rename_connection(stage, worker, connection, to).await,
        ScenarioStep::Disconnect { worker, connection } => disconnect_connection(stage, worker, connection).await,
        ScenarioStep::WithdrawGrant { connection } => {
            let role = &stage.connections[connection];
            role.grant_withdrawn.set(true);
            stage.fixture.world.acme.withdraw_grants(&role.account);
        }
        ScenarioStep::ForgetRefreshToken { connection } => {
            stage.fixture.world.acme.forget_newest_refresh_token(&stage.connections[connection].account);
        }
        ScenarioStep::KillWorker { worker } => {
            let died = stage.workers[worker].kill_process();
            stage.add_line(|| format!("{died} tasks died"));
        }
        ScenarioStep::ReplaceObjects { worker } => stage.workers[worker].replace_objects(),
        ScenarioStep::JumpClock { seconds } => stage.fixture.world.runtime.advance_clock(seconds),
        ScenarioStep::DatabaseDown { seconds } => stage.fault_plan.take_database_down(seconds),
        ScenarioStep::PromoteKey => {
            stage.key_promoted.set(true);
            let keys = format!("{NEW_KEY},{}", crate::support::world::ENCRYPTION_KEYS);
            *stage.fixture.world.encryption_keys.borrow_mut() = keys;
        }
    }
}

pub(crate) type WorkerResolveResult = Option<connections::error::Result<resolve::ResolvedCredential>>;

pub(crate) async fn resolve_from_worker(
    stage: &Rc<Scenario>,
    worker: usize,
    connection: usize,
    request: ResolveRequest,
) -> WorkerResolveResult {
    let (world, role) = (&stage.workers[worker], &stage.connections[connection]);
    let begun = world.runtime.now_ms();
    let (context, key, id) = (world.context(), stage.fixture.presented_key(), role.id.clone());
    let (behind, process) = (Rc::clone(&context), world.clone());
    let answered = stage
        .with_timeout(world, async move {
            let answered = Box::pin(resolve::resolve(&context, &key, &id, request.validated())).await?;
            // The deferred work runs after the answer.
            let after = answered.deferred;
            drop(process.spawn(async move {
                for one in after {
                    resolve::deferred::run(&behind, one).await;
                }
            }));
            Ok(answered.resolved)
        })
        .await;
    stage.add_line(|| format!("resolve from worker {worker}: {answered:?}"));
    if let Some(Ok(resolved)) = &answered {
        stage.invariants.check_resolved(stage, role, begun, resolved);
    }
    answered
}

pub(crate) async fn reconnect_connection(stage: &Rc<Scenario>, worker: usize, connection: usize) {
    let role = &stage.connections[connection];
    role.begin_reconnect();
    reconnect_once(stage, worker, role).await;
    role.end_reconnect();
}

/// The number of running and of all reconnects when a reconnect began.
pub(crate) type ReconnectOrder = (u32, u32);

impl ScenarioConnection {
    /// A reconnect begins.
    pub(crate) fn begin_reconnect(&self) {
        self.reconnects_under_way.set(self.reconnects_under_way.get() + 1);
        self.reconnects_begun.set(self.reconnects_begun.get() + 1);
        self.reconnects_overlapped.set(self.reconnects_under_way.get() > 1 || self.reconnects_overlapped.get());
    }

    pub(crate) fn reconnect_order(&self) -> ReconnectOrder {
        (self.reconnects_under_way.get() - 1, self.reconnects_begun.get())
    }

    /// A reconnect is over, however it ended.
    pub(crate) fn end_reconnect(&self) {
        self.reconnects_under_way.set(self.reconnects_under_way.get() - 1);
    }

    /// A reconnect was confirmed. If it returned a refresh token, the app's earlier grants are outdated.
    pub(crate) fn acknowledge_reconnect(&self, (others, begun): ReconnectOrder, older: usize, renews: bool) {
        if renews {
            self.outdated_grants.set(self.outdated_grants.get().max(older));
        }
        // If no other reconnect overlapped, its grant is the newest.
        let alone = others == 0 && self.reconnects_begun.get() == begun;
        self.reconnects_overlapped.set(self.reconnects_overlapped.get() && !alone);
    }
}

async fn reconnect_once(stage: &Rc<Scenario>, worker: usize, role: &ScenarioConnection) {
    let world = &stage.workers[worker];
    let turn = role.reconnect_order();
    let (context, request) = (world.context(), stage.fixture.repair_request(&role.id));
    let Some(Ok(url)) =
        stage.with_timeout(world, async move { begin_flow(&context, &request, BROWSER_SESSION).await }).await
    else {
        return;
    };
    let older = stage.fixture.world.acme.count_grants();
    let (code, state) = stage.fixture.world.acme.consent(&url, &role.account);
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let (context, client) = (world.context(), stage.fixture.client.clone());
    let landed = stage
        .with_timeout(world, async move { handle(&context, &client, returned, &[BROWSER_SESSION.to_owned()]).await })
        .await;
    stage.add_line(|| format!("reconnect: {landed:?}"));
    let Some(Ok(CallbackResult::Flow(flow))) = landed else { return };
    let core = stage.fixture.world.context();
    let read = store::authorizations::get(core.db(), &flow, &[BROWSER_SESSION.to_owned()]).await;
    if read.is_ok_and(|flow| flow.is_some_and(|flow| flow.outcome == FlowOutcome::Done)) {
        role.acknowledge_reconnect(
            turn,
            older,
            stage.fixture.world.acme.gave_refresh_token_since(older, &role.account),
        );
    }
}

async fn rename_connection(stage: &Rc<Scenario>, worker: usize, connection: usize, to: usize) {
    let (world, role) = (&stage.workers[worker], &stage.connections[connection]);
    let name = format!("name {to}");
    role.requested_names.borrow_mut().unacknowledged.push(name.clone());
    let (core, workspace, id) = (world.context(), stage.fixture.workspace.clone(), role.id.clone());
    let wanted = name.clone();
    let change = ConnectionPatch { name: Some(wanted), ..ConnectionPatch::default() };
    let done = stage
        .with_timeout(
            world,
            async move { core.db().batch(vec![store::connections::patch(&workspace, &id, &change)]).await },
        )
        .await;
    if matches!(done, Some(Ok(_))) {
        let mut names = role.requested_names.borrow_mut();
        names.unacknowledged.retain(|tried| *tried != name);
        names.acknowledged = Some(name);
    }
}

async fn disconnect_connection(stage: &Rc<Scenario>, worker: usize, connection: usize) {
    let (world, role) = (&stage.workers[worker], &stage.connections[connection]);
    role.disconnect_tried.set(true);
    let (context, workspace, id) = (world.context(), stage.fixture.workspace.clone(), role.id.clone());
    let done = stage
        .with_timeout(world, async move {
            disconnect::disconnect(&context, &workspace, &id, &connections::audit::Actor::User("ann".into())).await
        })
        .await;
    stage.add_line(|| format!("disconnect: {done:?}"));
    if matches!(done, Some(Ok(_))) {
        role.disconnected_at_ms.set(Some(world.runtime.now_ms()));
    }
}

/// Whether an app accepts a used refresh token again at some time.
pub(crate) fn allows_token_reuse(rotates: RotationPolicy) -> bool {
    matches!(rotates, RotationPolicy::Never | RotationPolicy::Reissue)
}
