//! A play: the real use cases, done by many at once, in the weather that a seed draws.
//!
//! Owns the actors and what each of them is promised. Every act of a Worker is a task of that Worker's own, so
//! that it dies with it; whoever waits for it waits a minute at most, as people do.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use connections::connect::callback::{Landing, Returned, callback};
use connections::connect::start::start;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, Errand, Ports as _, Refresher as _};
use connections::resolve::{self, Ask};
use connections::store::authorizations::Outcome;
use connections::store::connections::Patch;
use connections::{check, disconnect, store};
use futures_util::future::{Either, select};

use crate::draw::{Act, Plan};
use crate::editor::{self, Led};
use crate::hostile::{self, Hostile};
use crate::living::{self, Lived};
use crate::support::scene::BROWSER;
use crate::support::world::deliver_kept;
use crate::support::{Rotates, Scene, Way, World};
use crate::verdict::{Ended, Verdict};
use crate::weather::Sky;

/// Milliseconds that anybody waits for a Worker.
const PATIENCE: i64 = 60_000;
/// Milliseconds between two tries of an object to deliver what it keeps.
const ALARM: i64 = 5_000;
/// Seconds after the play in which everything has to come right: more than the longest back-off.
const AFTERMATH: i64 = 4_000;
/// The key that is promoted in some plays.
const NEW_KEY: &str = "k2:8PHy8/T19vf4+fr7/P3+/wABAgMEBQYHCAkKCwwNDg8=";

/// A connection of the play, and what people were promised about it.
pub(crate) struct Role {
    pub(crate) id: ConnectionId,
    pub(crate) account: String,
    /// When a disconnect was acknowledged, in milliseconds.
    pub(crate) gone_at: Cell<Option<i64>>,
    /// Until when a copy of it may still answer, in milliseconds: the cache did not confirm that it is gone.
    pub(crate) copies_until: Cell<i64>,
    /// Whether a disconnect was tried.
    pub(crate) may_be_gone: Cell<bool>,
    /// Whether the person took the grant back at the app.
    pub(crate) withdrawn: Cell<bool>,
    /// Reconnects under way, and reconnects ever begun.
    reconnecting: Cell<u32>,
    begun: Cell<u32>,
    /// Whether two of them met: which of their grants is the newer one is anybody's guess.
    pub(crate) muddled: Cell<bool>,
    /// Whether its person was sent to a server that is not the app's.
    pub(crate) lured: Cell<bool>,
    /// The app's grants up to here are older than the last acknowledged reconnect that brought a refresh token.
    pub(crate) outdated: Cell<usize>,
    pub(crate) names: RefCell<Names>,
}

/// Names that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The last one that was acknowledged.
    pub(crate) acknowledged: Option<String>,
    /// Those that may have been applied since.
    pub(crate) tried: Vec<String>,
}

/// Everything of a play.
pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) scene: Scene,
    pub(crate) workers: Vec<World>,
    pub(crate) roles: Vec<Role>,
    pub(crate) sky: Sky,
    pub(crate) verdict: Verdict,
    pub(crate) hostile: Option<Hostile>,
    over: Cell<bool>,
    promoted: Cell<bool>,
}

/// Plays a plan to its end and judges it.
pub(crate) fn play(seed: u64, plan: Plan, prepare: impl FnOnce(&World), tells: bool) -> Ended {
    let world = World::new(Way::Direct, Some(seed));
    world.witness.tells.set(tells);
    let app = &world.acme;
    app.rotates.set(plan.rotates);
    app.expires_in.set(Some(plan.expires_in));
    if plan.life.as_ref().is_some_and(|life| !life.tells_life) {
        app.expires_in.set(None);
    }
    app.gives_refresh_token.set(plan.gives_refresh_token);
    app.gives_it_once.set(plan.gives_it_once);
    let ground = plan.ground.map(|ground| (ground, hostile::prepare(&world, &plan, ground)));
    let definition = ground.as_ref().map_or_else(json_object, |(ground, _)| ground.honest());
    let scene = Scene::in_world(&world, &editor::merged(definition, &plan.definition()));
    let workers = (1..).zip(&plan.workers).map(|(owner, worker)| {
        let own = world.sibling(worker.way).owned_by(owner);
        own.kept.able.set(worker.keeps);
        // In a long life what an instance remembers grows old.
        if plan.life.is_some() { own.in_one_instance() } else { own }
    });
    let workers: Vec<World> = workers.collect();
    let roles = (0..plan.connections).map(|number| role(&scene, &plan, number)).collect();
    let hostile = ground.map(|(ground, outside)| Hostile::new(&scene, ground, outside));
    prepare(&world);
    let stage = Rc::new(Stage {
        sky: Sky::over(&world, &plan, seed),
        verdict: Verdict::new(&world),
        hostile,
        over: Cell::new(false),
        promoted: Cell::new(false),
        plan,
        scene,
        workers,
        roles,
    });
    Verdict::watch(&stage);
    let mut lived = Lived::default();
    if stage.plan.life.is_some() {
        lived = living::live(&stage, seed);
    } else {
        world.run(act_out(Rc::clone(&stage)));
        world.run(aftermath(&stage));
    }
    let ended = lived.added_to(stage.verdict.conclude(&stage));
    world.runtime.end();
    ended
}

fn json_object() -> serde_json::Value {
    serde_json::json!({})
}

fn role(scene: &Scene, plan: &Plan, number: usize) -> Role {
    let account = format!("person-{number}");
    Role {
        id: match plan.ground {
            None => scene.connect(&account),
            Some(ground) => hostile::connect(scene, ground, &account),
        },
        account,
        gone_at: Cell::new(None),
        copies_until: Cell::new(0),
        may_be_gone: Cell::new(false),
        withdrawn: Cell::new(false),
        reconnecting: Cell::new(0),
        begun: Cell::new(0),
        muddled: Cell::new(false),
        lured: Cell::new(false),
        outdated: Cell::new(0),
        names: RefCell::default(),
    }
}

async fn act_out(stage: Rc<Stage>) {
    let runtime = stage.scene.world.runtime.clone();
    let begin = runtime.now_ms();
    for (worker, _) in stage.plan.workers.iter().enumerate().filter(|(_, worker)| worker.keeps) {
        drop(runtime.spawn(alarms(Rc::clone(&stage), worker)));
    }
    let mut acts = Vec::new();
    for (at, act) in stage.plan.acts.clone() {
        let (stage, runtime) = (Rc::clone(&stage), runtime.clone());
        acts.push(runtime.clone().spawn(async move {
            runtime.sleep(begin + at - runtime.now_ms()).await;
            stage.tell(|| format!("{act:?}"));
            perform(&stage, act).await;
        }));
    }
    runtime.sleep(stage.plan.horizon() * 1000).await;
    for act in acts {
        act.await;
    }
}

/// The alarms of a Worker's objects: what they keep is delivered as soon as the record takes it.
async fn alarms(stage: Rc<Stage>, worker: usize) {
    let world = &stage.workers[worker];
    while !stage.over.get() {
        if !world.kept.answers.borrow().is_empty() {
            let (core, kept) = (world.core(), Rc::clone(&world.kept));
            stage.patiently(world, async move { deliver_kept(&core, &kept, None).await }).await;
        }
        world.runtime.sleep(ALARM).await;
    }
}

/// The weather clears, the clock goes on striking, and in the end everybody asks once more.
async fn aftermath(stage: &Rc<Stage>) {
    stage.sky.clear();
    stage.tell(|| "the weather clears".into());
    let runtime = &stage.scene.world.runtime;
    if let Some(hostile) = &stage.hostile {
        // What somebody still waits for in the record comes first.
        runtime.sleep(PATIENCE).await;
        hostile::put_back(stage, hostile, 0).await;
    }
    // Two looks of the clock find what is due; re-sealing takes two passes.
    let strikes = if stage.promoted.get() { 4 } else { 2 };
    for _ in 0..strikes {
        runtime.sleep((AFTERMATH + stage.plan.expires_in) * 1000 / strikes).await;
        perform(stage, Act::Tick { worker: 0 }).await;
    }
    stage.over.set(true);
    if stage.promoted.get() {
        stage.verdict.resealed();
        NEW_KEY.clone_into(&mut stage.scene.world.keys.borrow_mut());
        stage.tell(|| "the old key is taken away".into());
    }
    for (connection, role) in stage.roles.iter().enumerate() {
        if role.gone_at.get().is_none() {
            let last = resolve_as(stage, 0, connection, Ask::default()).await;
            stage.verdict.last_word(role, last);
        }
    }
    if let Some(hostile) = &stage.hostile {
        hostile::last_key(stage, hostile).await;
    }
}

impl Stage {
    pub(crate) fn tell(&self, line: impl FnOnce() -> String) {
        let world = &self.scene.world;
        world.witness.tell(world.runtime.now_ms(), line);
    }

    /// Waits for something a Worker does, but not for ever: the Worker may be killed.
    pub(crate) async fn patiently<T: 'static>(
        &self,
        world: &World,
        work: impl Future<Output = T> + 'static,
    ) -> Option<T> {
        let task = world.spawn(work);
        match select(task, std::pin::pin!(world.runtime.sleep(PATIENCE))).await {
            Either::Left((answer, _)) => Some(answer),
            Either::Right(_) => None,
        }
    }
}

async fn perform(stage: &Rc<Stage>, act: Act) {
    match act {
        Act::Resolve { worker, connection, min_ttl, force } => {
            let ask = Ask { min_ttl, force_refresh: force, ..Ask::default() };
            resolve_as(stage, worker, connection, ask).await;
        }
        Act::CheckNow { worker, connection } => {
            let world = &stage.workers[worker];
            let (core, id) = (world.core(), stage.roles[connection].id.clone());
            let outcome =
                stage.patiently(world, async move { core.ports.refresher().run(&id, Errand::CheckNow).await }).await;
            stage.tell(|| format!("check now: {outcome:?}"));
        }
        Act::Tick { worker } => {
            let world = &stage.workers[worker];
            let (core, now) = (world.core(), world.now());
            let summary = stage.patiently(world, async move { check::tick(&core, now).await }).await;
            stage.tell(|| format!("tick: {summary:?}"));
        }
        Act::Reconnect { worker, connection } if stage.hostile.is_some() => {
            let led = Led { reads: 0, bounced: true, to_rogue_realm: false, lingers: 0 };
            hostile::walk(stage, worker, connection, (true, led)).await;
        }
        Act::Reconnect { worker, connection } => reconnect(stage, worker, connection).await,
        Act::Hostile { worker, deed } => hostile::perform(stage, worker, deed).await,
        Act::Rename { worker, connection, to } => rename(stage, worker, connection, to).await,
        Act::Disconnect { worker, connection } => disconnect_as(stage, worker, connection).await,
        Act::Withdraw { connection } => {
            let role = &stage.roles[connection];
            role.withdrawn.set(true);
            stage.scene.world.acme.withdraw(&role.account);
        }
        Act::Forget { connection } => stage.scene.world.acme.forget_newest(&stage.roles[connection].account),
        Act::Kill { worker } => {
            let died = stage.workers[worker].kill();
            stage.tell(|| format!("{died} tasks died"));
        }
        Act::ReplaceObjects { worker } => stage.workers[worker].replace_objects(),
        Act::Jump { seconds } => stage.scene.world.runtime.jump(seconds),
        Act::RecordDown { seconds } => stage.sky.record_down(seconds),
        Act::PromoteKey => {
            stage.promoted.set(true);
            let keys = format!("{NEW_KEY},{}", crate::support::world::KEYS);
            *stage.scene.world.keys.borrow_mut() = keys;
        }
    }
}

pub(crate) type Resolved = Option<connections::error::Result<resolve::Resolved>>;

pub(crate) async fn resolve_as(stage: &Rc<Stage>, worker: usize, connection: usize, ask: Ask) -> Resolved {
    let (world, role) = (&stage.workers[worker], &stage.roles[connection]);
    let begun = world.runtime.now_ms();
    let (core, key, id) = (world.core(), stage.scene.presented(), role.id.clone());
    let (behind, process) = (Rc::clone(&core), world.clone());
    let answered = stage
        .patiently(world, async move {
            let answered = resolve::resolve(&core, &key, &id, ask.checked()).await?;
            // What is left to do is done behind the answer.
            let after = answered.after;
            drop(process.spawn(async move {
                for one in after {
                    resolve::afterwards::run(&behind, one).await;
                }
            }));
            Ok(answered.resolved)
        })
        .await;
    stage.tell(|| format!("resolve from worker {worker}: {answered:?}"));
    if let Some(Ok(resolved)) = &answered {
        stage.verdict.answered(stage, role, begun, resolved);
    }
    answered
}

pub(crate) async fn reconnect(stage: &Rc<Stage>, worker: usize, connection: usize) {
    let role = &stage.roles[connection];
    role.begins();
    reconnect_once(stage, worker, role).await;
    role.ends();
}

/// Who else was reconnecting when a reconnect began, and how many had begun.
pub(crate) type Turn = (u32, u32);

impl Role {
    /// A reconnect begins.
    pub(crate) fn begins(&self) {
        self.reconnecting.set(self.reconnecting.get() + 1);
        self.begun.set(self.begun.get() + 1);
        self.muddled.set(self.reconnecting.get() > 1 || self.muddled.get());
    }

    pub(crate) fn turn(&self) -> Turn {
        (self.reconnecting.get() - 1, self.begun.get())
    }

    /// A reconnect is over, however it ended.
    pub(crate) fn ends(&self) {
        self.reconnecting.set(self.reconnecting.get() - 1);
    }

    /// A reconnect was acknowledged. Where it brought a refresh token, the app's grants before it are outdated.
    pub(crate) fn comes_to_its_end(&self, (others, begun): Turn, older: usize, renews: bool) {
        if renews {
            self.outdated.set(self.outdated.get().max(older));
        }
        // Alone from its begin to its end it is the newest, whatever was before.
        let alone = others == 0 && self.begun.get() == begun;
        self.muddled.set(self.muddled.get() && !alone);
    }
}

async fn reconnect_once(stage: &Rc<Stage>, worker: usize, role: &Role) {
    let world = &stage.workers[worker];
    let turn = role.turn();
    let (core, wish) = (world.core(), stage.scene.repair_of(&role.id));
    let Some(Ok(url)) = stage.patiently(world, async move { start(&core, &wish, BROWSER).await }).await else { return };
    let older = stage.scene.world.acme.grants();
    let (code, state) = stage.scene.world.acme.consent(&url, &role.account);
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    let (core, client) = (world.core(), stage.scene.client.clone());
    let landed =
        stage.patiently(world, async move { callback(&core, &client, returned, &[BROWSER.to_owned()]).await }).await;
    stage.tell(|| format!("reconnect: {landed:?}"));
    let Some(Ok(Landing::Flow(flow))) = landed else { return };
    let core = stage.scene.world.core();
    let read = store::authorizations::get(core.db(), &flow, &[BROWSER.to_owned()]).await;
    if read.is_ok_and(|flow| flow.is_some_and(|flow| flow.outcome == Outcome::Done)) {
        role.comes_to_its_end(turn, older, stage.scene.world.acme.renews_since(older, &role.account));
    }
}

async fn rename(stage: &Rc<Stage>, worker: usize, connection: usize, to: usize) {
    let (world, role) = (&stage.workers[worker], &stage.roles[connection]);
    let name = format!("name {to}");
    role.names.borrow_mut().tried.push(name.clone());
    let (core, workspace, id) = (world.core(), stage.scene.workspace.clone(), role.id.clone());
    let wanted = name.clone();
    let change = Patch { name: Some(wanted), ..Patch::default() };
    let done = stage
        .patiently(
            world,
            async move { core.db().batch(vec![store::connections::patch(&workspace, &id, &change)]).await },
        )
        .await;
    if matches!(done, Some(Ok(_))) {
        let mut names = role.names.borrow_mut();
        names.tried.retain(|tried| *tried != name);
        names.acknowledged = Some(name);
    }
}

async fn disconnect_as(stage: &Rc<Stage>, worker: usize, connection: usize) {
    let (world, role) = (&stage.workers[worker], &stage.roles[connection]);
    role.may_be_gone.set(true);
    let (core, workspace, id) = (world.core(), stage.scene.workspace.clone(), role.id.clone());
    let done =
        stage.patiently(world, async move { disconnect::disconnect(&core, &workspace, &id, "person:ann").await }).await;
    stage.tell(|| format!("disconnect: {done:?}"));
    if matches!(done, Some(Ok(_))) {
        role.gone_at.set(Some(world.runtime.now_ms()));
    }
}

/// Whether an app takes a used refresh token again at any time.
pub(crate) fn reuse_is_harmless(rotates: Rotates) -> bool {
    matches!(rotates, Rotates::No | Rotates::Reissue)
}
