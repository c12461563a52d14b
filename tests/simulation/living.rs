//! Runs a long scenario: the actions that a seed drew for it, with scheduled runs in between.
//!
//! Owns the order of events in a long scenario, and when scheduled runs happen: every five minutes while something is
//! due, otherwise every six hours, because a run with nothing due does nothing. reported.rs checks what people are told
//! at the end of a phase.

use std::collections::BTreeMap;
use std::rc::Rc;

use connections::cache::{self, CacheRemoval, CacheRemovalStatus};
use connections::ports::{Database as _, Ports as _, RefreshReason, RefreshRunner as _};
use connections::resolve::{Consistency, ResolveRequest};
use connections::store::apps::AppRow;
use connections::store::connections::ConnectionPatch;
use connections::{check, definition_moves, disconnect, store};
use serde_json::{Value, json};

use crate::invariants::ScenarioResult;
use crate::long::{Change, Deed, Mode, Phase, Trouble};
use crate::outages::{Kind, Outages, Token};
use crate::reported::{Reports, Situation};
use crate::scenario::{Scenario, reconnect_connection, resolve_from_worker};
use crate::support::acme::CANARY;
use crate::support::fixture::{acme_definition, merge_patch};
use crate::support::world::ENCRYPTION_KEYS;

/// Milliseconds between two scheduled runs.
const CADENCE: i64 = 300_000;
/// The most between two runs while nothing is due.
const IDLE: i64 = 6 * 3_600_000;
/// Milliseconds until the deferred work of a call has ended.
const BEHIND: i64 = 3_000;
/// An unknown error code of an app, and the code for a client that may not refresh.
pub(crate) const UNKNOWN_CODE: &str = "nobody_knows_this";
pub(crate) const CONFIGURATION_CODE: &str = "unauthorized_client";
/// The key that replaces the usual one.
const OTHER_KEY: &str = "k3:8PHy8/T19vf4+fr7/P3+/wABAgMEBQYHCAkKCwwNDg8=";
/// When something is due for the scheduled run, in Unix seconds.
const DUE: &str = "SELECT min(at) FROM (SELECT min(next_check_at) AS at FROM connections WHERE deleted_at IS NULL
    UNION ALL SELECT min(deleted_at) + 120 FROM connections WHERE deleted_at IS NOT NULL
    UNION ALL SELECT min(next_attempt_at) FROM cache_deletes UNION ALL SELECT min(next_attempt_at) FROM revocations
    UNION ALL SELECT min(rollout_due_at) FROM apps)";

/// What a long scenario adds to the counts.
#[derive(Debug, Default)]
pub(crate) struct Lived {
    days: u64,
    told: BTreeMap<&'static str, u64>,
    met: (u64, u64),
}

impl Lived {
    pub(crate) fn added_to(self, mut ended: ScenarioResult) -> ScenarioResult {
        ended.days += self.days;
        ended.told.extend(self.told);
        ended.faults.database += self.met.0;
        ended.faults.app += self.met.1;
        ended
    }
}

/// The state of a long scenario.
struct Living<'a> {
    stage: &'a Rc<Scenario>,
    outages: Outages,
    reports: Reports,
    /// Harmless changes of the definition so far, and whether tokens would now go to another address.
    changes: Vec<Value>,
    leads_elsewhere: bool,
    /// The unreadable text in place of the client's secret.
    spoiled: Option<String>,
    /// Scheduled runs so far.
    runs: usize,
    last_run: i64,
    /// Names given so far.
    names: usize,
}

/// Runs the long scenario of a plan.
pub(crate) fn live(stage: &Rc<Scenario>, seed: u64) -> Lived {
    let Some(life) = stage.plan.life.clone() else { return Lived::default() };
    let begin = stage.fixture.world.runtime.now_ms();
    let outages = Outages::over(&stage.fixture.world, seed);
    let mut living = Living {
        stage,
        reports: Reports::new(outages.clone()),
        outages,
        changes: Vec::new(),
        leads_elsewhere: false,
        spoiled: None,
        runs: 0,
        last_run: begin,
        names: 0,
    };
    let mut before = Trouble::None;
    for phase in &life.phases {
        living.phase(phase, before);
        before = phase.trouble;
    }
    let days = u64::try_from((stage.fixture.world.runtime.now_ms() - begin) / 86_400_000).unwrap();
    Lived { days, met: living.outages.met(), told: living.reports.told }
}

impl Living<'_> {
    fn now_ms(&self) -> i64 {
        self.stage.fixture.world.runtime.now_ms()
    }

    fn phase(&mut self, phase: &Phase, before: Trouble) {
        let stage = self.stage;
        stage.add_line(|| format!("a phase begins: {:?}, {} hours", phase.trouble, phase.hours));
        let begin = self.now_ms();
        if self.leads_elsewhere {
            self.leads_elsewhere = false;
            self.define(None);
        }
        self.end_trouble(before, phase.enters);
        self.start_trouble(phase.trouble);
        self.reports.begin_phase(stage, phase.trouble);
        for (after, deed) in &phase.deeds {
            self.pass_until(begin + after * 1000);
            self.perform(*deed);
        }
        self.pass_until(begin + phase.hours * 3_600_000);
        // Enough time for the scheduled run.
        self.tick();
        let situation =
            Situation { trouble: phase.trouble, leads_elsewhere: self.leads_elsewhere, revision: self.revision() };
        self.reports.judge(stage, &situation);
    }

    /// Time passes, with scheduled runs.
    fn pass_until(&mut self, until: i64) {
        loop {
            let due = self.stage.fixture.world.db.query_value(DUE).as_f64();
            #[expect(clippy::cast_possible_truncation, reason = "a time in seconds")]
            let due = due.map_or(i64::MAX, |seconds| (seconds as i64).saturating_mul(1000));
            let next = due.max(self.last_run + CADENCE).min(self.last_run + IDLE);
            let next = next.div_euclid(CADENCE) * CADENCE + if next % CADENCE == 0 { 0 } else { CADENCE };
            if next > until {
                break;
            }
            self.sleep_until(next);
            self.tick();
            self.reports.look_at_copies(self.stage);
        }
        self.sleep_until(until);
    }

    fn sleep_until(&self, until: i64) {
        let runtime = self.stage.fixture.world.runtime.clone();
        let rest = until - runtime.now_ms();
        if rest > 0 {
            self.stage.fixture.world.run(runtime.sleep(rest));
        }
    }

    fn tick(&mut self) {
        let stage = self.stage;
        let world = &stage.workers[self.runs % stage.workers.len()];
        self.runs += 1;
        self.last_run = self.now_ms();
        let (context, now) = (world.context(), world.now());
        let summary = world.run(stage.with_timeout(world, async move { check::run_scheduled(&context, now).await }));
        stage.add_line(|| format!("scheduled run: {summary:?}"));
    }

    fn start_trouble(&mut self, trouble: Trouble) {
        let world = &self.stage.fixture.world;
        self.outages.set_token(match trouble {
            Trouble::Silence(how) => Token::Silent(how),
            Trouble::UnknownCode => Token::Refuses(UNKNOWN_CODE),
            Trouble::Configuration => Token::Refuses(CONFIGURATION_CODE),
            _ => Token::Works,
        });
        match trouble {
            Trouble::ClientRefused => {
                let secret = format!("{CANARY}-client-secret-{}", self.now_ms());
                *world.acme.client_secret.borrow_mut() = secret;
            }
            Trouble::SecretSpoiled => {
                self.spoiled =
                    world.db.query_value("SELECT sealed_secret FROM oauth_clients").as_str().map(ToOwned::to_owned);
                world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
            }
            Trouble::KeyGone => OTHER_KEY.clone_into(&mut world.encryption_keys.borrow_mut()),
            _ => {}
        }
    }

    /// The problem of a phase ends: the app recovers, or somebody has repaired it.
    fn end_trouble(&mut self, trouble: Trouble, enters: bool) {
        let scene = &self.stage.fixture;
        let world = &scene.world;
        match trouble {
            Trouble::KeyGone => *world.encryption_keys.borrow_mut() = format!("{ENCRYPTION_KEYS},{OTHER_KEY}"),
            Trouble::ClientRefused | Trouble::SecretSpoiled if enters => {
                let secret = world.acme.client_secret.borrow().clone();
                scene.put_client_secret(&secret);
            }
            Trouble::ClientRefused => {
                // The app accepts the stored secret again.
                let client = scene.load_client();
                let stored = client.stored_secret(&world.config().key_ring).unwrap();
                stored.expose().clone_into(&mut world.acme.client_secret.borrow_mut());
            }
            Trouble::SecretSpoiled => {
                let sealed = self.spoiled.take().unwrap();
                world.db.tamper(&format!("UPDATE oauth_clients SET sealed_secret = '{sealed}'"));
            }
            _ => {}
        }
    }

    fn perform(&mut self, deed: Deed) {
        let stage = self.stage;
        let run = &stage.fixture.world;
        match deed {
            Deed::Call { .. } | Deed::CallInAnOutage { .. } => {}
            _ => stage.add_line(|| format!("{deed:?}")),
        }
        match deed {
            Deed::Call { worker, connection, mode, workflow } => self.call((worker, connection), mode, workflow),
            Deed::CallInAnOutage { worker, connection, workflow } => {
                self.outages.begin(Kind::Record, 60);
                let last =
                    run.run(resolve_from_worker(stage, worker, connection, ask(Mode::Available, workflow, connection)));
                self.outages.end(Kind::Record);
                self.reports.called_in_an_outage(stage, connection, last.as_ref());
            }
            Deed::CheckNow { worker, connection } => {
                let world = &stage.workers[worker];
                let (core, id) = (world.context(), stage.connections[connection].id.clone());
                let check = async move { core.ports.refresher().run(&id, RefreshReason::OnDemandCheck).await };
                let outcome = run.run(stage.with_timeout(world, check));
                self.reports.checked(connection);
                stage.add_line(|| format!("check now: {outcome:?}"));
            }
            Deed::Rename { worker, connection } => self.rename(worker, connection),
            Deed::Withdraw { connection } => {
                let role = &stage.connections[connection];
                role.grant_withdrawn.set(true);
                run.acme.withdraw_grants(&role.account);
            }
            Deed::Reconnect { worker, connection }
                if stage.connections[connection].disconnected_at_ms.get().is_none() =>
            {
                run.run(reconnect_connection(stage, worker, connection));
            }
            Deed::Reconnect { .. } => {}
            Deed::Disconnect { worker } => self.disconnect(worker),
            Deed::Kill { worker } => {
                stage.workers[worker].kill_process();
                stage.workers[worker].evict();
            }
            Deed::Fails { kind, seconds } => {
                self.outages.begin(kind, seconds);
                self.reports.fails(kind);
            }
            Deed::Define(change) => self.change(change),
        }
    }

    fn call(&mut self, (worker, connection): (usize, usize), mode: Mode, workflow: usize) {
        let stage = self.stage;
        let answered =
            stage.fixture.world.run(resolve_from_worker(stage, worker, connection, ask(mode, workflow, connection)));
        self.reports.called(stage, (connection, workflow), mode, answered.as_ref());
        self.sleep_until(self.now_ms() + BEHIND);
    }

    /// Like `PATCH /v1/connections/{id}`.
    fn rename(&mut self, worker: usize, connection: usize) {
        let (stage, role) = (self.stage, &self.stage.connections[connection]);
        self.names += 1;
        let name = format!("name {}", self.names);
        let world = &stage.workers[worker];
        let (context, workspace, id, wanted) =
            (world.context(), stage.fixture.workspace.clone(), role.id.clone(), name.clone());
        let change = ConnectionPatch { name: Some(wanted), ..ConnectionPatch::default() };
        let done = world.run(stage.with_timeout(world, async move {
            let removal = CacheRemoval::of_connection(&context, &id)?;
            let statements =
                [store::connections::patch(&workspace, &id, &change)].into_iter().chain(removal.insert_statement());
            context.db().batch(statements.collect()).await?;
            connections::error::Result::Ok(removal.perform(&context).await)
        }));
        if matches!(done, Some(Ok(_))) {
            role.requested_names.borrow_mut().acknowledged = Some(name);
        }
    }

    /// The last connection is disconnected.
    fn disconnect(&mut self, worker: usize) {
        let stage = self.stage;
        let Some(role) = stage.connections.last().filter(|role| role.disconnected_at_ms.get().is_none()) else {
            return;
        };
        let world = &stage.workers[worker];
        role.disconnect_tried.set(true);
        let now = world.now();
        let (context, workspace, id) = (world.context(), stage.fixture.workspace.clone(), role.id.clone());
        let end = async move {
            disconnect::disconnect(&context, &workspace, &id, &connections::audit::Actor::User("ann".into())).await
        };
        let done = world.run(stage.with_timeout(world, end));
        stage.add_line(|| format!("disconnect: {done:?}"));
        if let Some(Ok((_, copies, _))) = done {
            role.disconnected_at_ms.set(Some(self.now_ms()));
            if matches!(copies, CacheRemovalStatus::Retrying { .. }) {
                role.copies_until.set(cache::latest_entry_expiry(now).unix() * 1000);
            }
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::Harmless(which) => {
                self.changes.push(self.harmless(which));
                self.define(None);
            }
            Change::DuringARefresh(which) => {
                self.changes.push(self.harmless(which));
                self.define(Some(0));
            }
            Change::OtherAddress => {
                self.leads_elsewhere = true;
                self.define(None);
            }
        }
    }

    fn harmless(&self, which: usize) -> Value {
        let number = self.changes.len();
        match which {
            0 => json!({ "errors": { "permanent": [format!("gone_away_{number}")] } }),
            1 => json!({ "request": { "base_url": format!("https://acme.example/v{number}/") } }),
            2 => json!({ "name": format!("Acme {number}") }),
            _ => json!({ "check": { "url": "https://acme.example/me" }, "name": format!("Acme {number}") }),
        }
    }

    /// Like `PUT /v1/apps/{app}`. `refreshing` is a connection with a running refresh.
    fn define(&mut self, refreshing: Option<usize>) {
        let (stage, scene) = (self.stage, &self.stage.fixture);
        let mut text = acme_definition();
        merge_patch(&mut text, &stage.plan.definition_patch());
        for change in &self.changes {
            merge_patch(&mut text, change);
        }
        if self.leads_elsewhere {
            merge_patch(&mut text, &json!({ "auth": { "token_url": "https://acme.example/v2/token" } }));
        }
        if let Some(connection) = refreshing {
            let (own, other) = (Rc::clone(stage), Rc::clone(stage));
            let force = ResolveRequest { force_refresh: true, ..ResolveRequest::default() };
            drop(
                scene
                    .world
                    .runtime
                    .spawn(async move { resolve_from_worker(&own, 1, connection, force).await.is_some() }),
            );
            scene.world.run(async move { other.fixture.world.runtime.sleep(50).await });
        }
        let row = AppRow { id: scene.app.clone(), revision: self.revision() + 1, definition: text.to_string() };
        let (context, workspace, id) = (stage.workers[0].context(), scene.workspace.clone(), scene.app.clone());
        let moves = scene.world.run(async move {
            store::apps::put(context.db(), &workspace, &row, context.now()).await.unwrap();
            definition_moves::begin(&context, &workspace, &id, &connections::audit::Actor::User("test".into())).await
        });
        stage.add_line(|| format!("the definition is another: {moves:?}"));
    }

    fn revision(&self) -> i64 {
        self.stage.fixture.world.db.query_number("SELECT max(revision) FROM apps WHERE is_current = 1")
    }
}

/// Each connection has its own step, so no step ever changes its connection, and none is told to have.
fn ask(mode: Mode, workflow: usize, connection: usize) -> ResolveRequest {
    let consistency = match mode {
        Mode::Strong => Consistency::Strong,
        Mode::Available => Consistency::Available,
        Mode::Edge => Consistency::Edge,
    };
    ResolveRequest {
        consistency,
        workflow: Some(name_of(workflow)),
        step: Some(connection.to_string()),
        ..ResolveRequest::default()
    }
}

pub(crate) fn name_of(workflow: usize) -> String {
    format!("workflow {workflow}")
}
