//! What a seed draws: the app's behaviour, the Workers, the actions with their time, and the faults.
//!
//! Owns the ranges. A plan is data: the same seed draws the same plan, independent of the program under test.

use serde_json::{Value, json};

use crate::attack::AttackStep;
use crate::long::InvocationGuard;
use crate::rogue_server::{API_KEY_EDITIONS, AttackSetup, ClientEntry, EndpointStyle, RogueDocument, VisitOptions};
use crate::support::runtime::RandomSequence;
use crate::support::{RefreshMode, RotationPolicy};

/// One action of a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScenarioStep {
    /// A workflow asks for a credential.
    Resolve { worker: usize, connection: usize, min_ttl: i64, force: bool },
    /// A person presses "Check now".
    CheckNow { worker: usize, connection: usize },
    /// A scheduled run starts.
    ScheduledRun { worker: usize },
    /// A person reconnects, with the same account.
    Reconnect { worker: usize, connection: usize },
    /// A person renames it.
    Rename { worker: usize, connection: usize, to: usize },
    /// A person disconnects it.
    Disconnect { worker: usize, connection: usize },
    /// The person revokes the access at the app.
    WithdrawGrant { connection: usize },
    /// The app loses the refresh token that it issued last.
    ForgetRefreshToken { connection: usize },
    /// A Worker's process is killed and starts again.
    KillWorker { worker: usize },
    /// The platform moves a Worker's objects while they are running.
    ReplaceObjects { worker: usize },
    /// All clocks jump forward by this many seconds.
    JumpClock { seconds: i64 },
    /// The database is down for this many seconds.
    DatabaseDown { seconds: i64 },
    /// Another key becomes the first one. Scheduled runs seal everything again.
    PromoteKey,
    /// A hostile editor acts, or somebody whom they mislead.
    Attack { worker: usize, deed: AttackStep },
}

/// The theme of a plan. Most plans have no theme; some combine faults that rarely happen together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// No theme.
    Anything,
    /// The database is down for longer than a lease while a response waits, and another Worker is first.
    Takeover,
    /// A response or a refusal is on its way while the person reconnects.
    LateAnswer,
    /// Keys are rotated while all callers ask.
    Resealing,
    /// The database is slow while all callers ask.
    SlowDatabase,
    /// Somebody edits the app's definition to get secrets of others.
    Editor,
    /// Few callers, for one or two weeks: stored and reported data becomes old.
    LongLife,
}

impl Theme {
    /// The theme of a seed: about every second seed has one.
    pub(crate) fn from_seed(seed: u64) -> Self {
        match seed % 8 {
            1 if seed % 32 == 9 => Self::LongLife,
            3 => Self::Editor,
            4 => Self::Takeover,
            5 => Self::LateAnswer,
            6 => Self::Resealing,
            7 => Self::SlowDatabase,
            _ => Self::Anything,
        }
    }
}

/// The set-up of a Worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerPlan {
    pub(crate) refresh_mode: RefreshMode,
    /// Whether its objects can store pending writes.
    pub(crate) keeps_writes: bool,
}

/// Probabilities in a thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FaultRates {
    /// A batch at the database meets a fault.
    pub(crate) database: usize,
    /// A request at the app meets a fault.
    pub(crate) app: usize,
    /// A request at the app takes long.
    pub(crate) slow: usize,
}

/// Everything a seed draws.
#[derive(Debug, Clone)]
pub(crate) struct ScenarioPlan {
    pub(crate) rotation: RotationPolicy,
    /// What the definition says about rotation: the truth, or the safe default.
    pub(crate) declared_rotation: RotationPolicy,
    pub(crate) expires_in: i64,
    pub(crate) gives_refresh_token: bool,
    /// Only the first consent brings a refresh token.
    pub(crate) gives_refresh_token_once: bool,
    pub(crate) workers: Vec<WorkerPlan>,
    pub(crate) connections: usize,
    pub(crate) fault_rates: FaultRates,
    /// With a hostile editor: the app's set-up.
    pub(crate) attack_setup: Option<AttackSetup>,
    /// In a long scenario: what happens on each day.
    pub(crate) life: Option<InvocationGuard>,
    /// Actions with their time, in milliseconds from the beginning.
    pub(crate) steps: Vec<(i64, ScenarioStep)>,
}

impl ScenarioPlan {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut draws = RandomSequence::new(seed ^ 0x005e_ed0f_1a57);
        let rotates = pick_one(
            &mut draws,
            &[
                RotationPolicy::Strict,
                RotationPolicy::Strict,
                RotationPolicy::Reject,
                RotationPolicy::Grace(30),
                RotationPolicy::Grace(600),
                RotationPolicy::Reissue,
                RotationPolicy::Never,
            ],
        );
        let declared = match rotates {
            RotationPolicy::Reject => RotationPolicy::Strict,
            _ if draws.next_below(4) == 0 => RotationPolicy::Strict,
            honest => honest,
        };
        let calm = draws.next_below(5) == 0;
        let rate = |draws: &mut RandomSequence, most: usize| if calm { 0 } else { draws.next_below(most) };
        let weather =
            FaultRates { database: rate(&mut draws, 120), app: rate(&mut draws, 500), slow: rate(&mut draws, 300) };
        let mut plan = Self {
            rotation: rotates,
            declared_rotation: declared,
            expires_in: pick_one(&mut draws, &[60, 300, 3600]),
            gives_refresh_token: draws.next_below(30) != 0,
            gives_refresh_token_once: false,
            workers: (0..=draws.next_below(2)).map(|_| draw_worker_plan(&mut draws)).collect(),
            connections: 1 + draws.next_below(2),
            fault_rates: weather,
            attack_setup: None,
            life: None,
            steps: Vec::new(),
        };
        match Theme::from_seed(seed) {
            Theme::Anything => plan.draw_steps(&mut draws, calm),
            Theme::Editor => plan.draw_attack(&mut draws),
            Theme::LongLife => plan.draw_life(&mut draws),
            theme => plan.draw_theme_steps(&mut draws, theme),
        }
        plan.steps.sort_by_key(|(at, _)| *at);
        plan.gives_refresh_token_once = draws.next_below(if plan.attack_setup.is_some() { 2 } else { 5 }) == 0;
        plan
    }

    fn draw_theme_steps(&mut self, draws: &mut RandomSequence, theme: Theme) {
        let end = self.expires_in * 1000;
        let direct = WorkerPlan { refresh_mode: RefreshMode::Direct, keeps_writes: false };
        let within = |draws: &mut RandomSequence, most: usize| i64::try_from(draws.next_below(most)).unwrap();
        let resolve = |worker| ScenarioStep::Resolve { worker, connection: 0, min_ttl: 60, force: false };
        self.gives_refresh_token = true;
        (self.rotation, self.declared_rotation) =
            (pick_one(draws, &[RotationPolicy::Strict, RotationPolicy::Reject]), RotationPolicy::Strict);
        self.workers = vec![direct, direct];
        match theme {
            Theme::Anything | Theme::Editor | Theme::LongLife => {}
            Theme::Takeover => {
                self.workers[0] = WorkerPlan { refresh_mode: RefreshMode::Object, keeps_writes: true };
                self.fault_rates = FaultRates { database: 0, app: 0, slow: 600 };
                self.steps.push((end, resolve(0)));
                let seconds = 66 + within(draws, 20);
                let down = end + 100 + within(draws, 3_000);
                self.steps.push((down, ScenarioStep::DatabaseDown { seconds }));
                for _ in 0..4 {
                    let worker = draws.next_below(2);
                    self.steps.push((down + seconds * 1000 + within(draws, 8_000), resolve(worker)));
                }
            }
            Theme::LateAnswer => {
                self.fault_rates = FaultRates { database: draws.next_below(100), app: 0, slow: 700 };
                if draws.next_below(2) == 0 {
                    self.steps.push((end - 100, ScenarioStep::WithdrawGrant { connection: 0 }));
                }
                self.steps.push((end + within(draws, 200), resolve(0)));
                self.steps.push((end + within(draws, 15_000), ScenarioStep::Reconnect { worker: 1, connection: 0 }));
                self.steps.push((end + within(draws, 40_000), resolve(1)));
            }
            Theme::Resealing => {
                self.fault_rates = FaultRates {
                    database: draws.next_below(300),
                    app: draws.next_below(100),
                    slow: draws.next_below(200),
                };
                self.steps.push((end - within(draws, 20_000), ScenarioStep::PromoteKey));
                for _ in 0..3 {
                    let worker = draws.next_below(2);
                    self.steps.push((end + within(draws, 400), resolve(worker)));
                    self.steps.push((end + within(draws, 400), ScenarioStep::ScheduledRun { worker: 1 - worker }));
                }
            }
            Theme::SlowDatabase => {
                self.fault_rates = FaultRates {
                    database: 300 + draws.next_below(300),
                    app: draws.next_below(100),
                    slow: draws.next_below(200),
                };
                for _ in 0..8 {
                    let worker = draws.next_below(2);
                    self.steps.push((end + within(draws, 12_000), resolve(worker)));
                }
                self.steps.push((end + within(draws, 12_000), ScenarioStep::CheckNow { worker: 0, connection: 0 }));
            }
        }
    }

    fn draw_life(&mut self, draws: &mut RandomSequence) {
        const DAY: i64 = 86_400;
        self.fault_rates = FaultRates { database: 0, app: 0, slow: 0 };
        self.expires_in = pick_one(draws, &[3600, 3600, 8 * 3600, 30 * DAY]);
        self.connections = 3;
        self.workers = vec![draw_worker_plan(draws), draw_worker_plan(draws)];
        self.life = Some(InvocationGuard::draw(draws, (self.workers.len(), self.connections)));
    }

    /// Length of the scenario in seconds.
    pub(crate) fn duration_seconds(&self) -> i64 {
        self.expires_in * 9 / 4 + 60
    }

    /// Whether a token may be valid through a whole phase of a long scenario, so that nothing is refreshed in it.
    pub(crate) fn outlives_a_phase(&self) -> bool {
        self.expires_in > 86_400 || self.life.as_ref().is_some_and(|life| !life.tells_life)
    }

    /// Whether there are no faults at the app and the database.
    pub(crate) fn is_fault_free(&self) -> bool {
        let FaultRates { database: record, app, slow } = self.fault_rates;
        let is_mishap = |act: &ScenarioStep| {
            matches!(
                act,
                ScenarioStep::KillWorker { .. } | ScenarioStep::DatabaseDown { .. } | ScenarioStep::JumpClock { .. }
            )
        };
        record + app + slow == 0 && self.life.is_none() && !self.steps.iter().any(|(_, act)| is_mishap(act))
    }

    /// The changes to the default definition.
    pub(crate) fn definition_patch(&self) -> Value {
        let rotation = match self.declared_rotation {
            RotationPolicy::Strict | RotationPolicy::Reject => json!("strict"),
            RotationPolicy::Grace(seconds) => json!({ "grace": seconds }),
            RotationPolicy::Reissue => json!("reissue"),
            RotationPolicy::Never => json!("none"),
        };
        json!({ "auth": { "rotation": rotation } })
    }

    /// Minimum length of a lease in seconds.
    pub(crate) fn lease_seconds(&self) -> i64 {
        match self.declared_rotation {
            RotationPolicy::Strict | RotationPolicy::Reject => 60,
            RotationPolicy::Grace(seconds) => (seconds / 2).clamp(10, 60),
            RotationPolicy::Reissue | RotationPolicy::Never => 30,
        }
    }

    fn draw_steps(&mut self, draws: &mut RandomSequence, calm: bool) {
        for _ in 0..2 + draws.next_below(3) {
            self.draw_burst(draws);
        }
        for _ in 0..=draws.next_below(4) {
            let at = self.draw_time(draws);
            let worker = self.draw_worker(draws);
            self.steps.push((at, ScenarioStep::ScheduledRun { worker }));
        }
        for _ in 0..draws.next_below(5) {
            let at = self.draw_time(draws);
            let act = self.draw_person_step(draws);
            self.steps.push((at, act));
        }
        if !calm {
            let mut jumped = false;
            for _ in 0..draws.next_below(4) {
                let at = self.draw_time_near_expiry(draws);
                let act = self.draw_failure_step(draws, jumped);
                jumped |= matches!(act, ScenarioStep::JumpClock { .. });
                self.steps.push((at, act));
            }
        }
    }

    /// Episodes: something is edited, people are misled, and mostly it is restored. Workflows continue meanwhile.
    fn draw_attack(&mut self, draws: &mut RandomSequence) {
        let ground = AttackSetup {
            endpoint_style: pick_one(
                draws,
                &[EndpointStyle::Written, EndpointStyle::Placeholder, EndpointStyle::Discovered],
            ),
            public_client: draws.next_below(2) == 0,
            rogue_gives_refresh_token: draws.next_below(2) == 0,
        };
        self.attack_setup = Some(ground);
        self.connections = 2;
        self.gives_refresh_token = true;
        self.expires_in = pick_one(draws, &[60, 60, 300]);
        self.fault_rates =
            FaultRates { database: draws.next_below(40), app: draws.next_below(100), slow: draws.next_below(100) };
        let editions = ground.edited_patches().len();
        for _ in 0..=draws.next_below(3) {
            let at = if draws.next_below(2) == 0 { self.draw_time(draws) } else { self.draw_time_near_expiry(draws) };
            let mut deeds =
                vec![(0, AttackStep::EditApp { edition: draws.next_below(editions), entry: draw_client_entry(draws) })];
            for _ in 0..=draws.next_below(5) {
                deeds.push((
                    i64::try_from(draws.next_below(20_000)).unwrap() - 4_000,
                    draw_attack_step(draws, editions),
                ));
            }
            if draws.next_below(4) != 0 {
                deeds.push((1_000 + i64::try_from(draws.next_below(60_000)).unwrap(), AttackStep::RestoreApps));
            }
            if draws.next_below(3) == 0 {
                // A definition changes while a credential is entered.
                let edit = i64::try_from(draws.next_below(400)).unwrap();
                deeds.push((0, AttackStep::EnterApiKey));
                deeds.push((edit, AttackStep::EditApiKeyApp { edition: draws.next_below(API_KEY_EDITIONS) }));
            }
            for (after, deed) in deeds {
                let worker = self.draw_worker(draws);
                self.steps.push(((at + after).max(0), ScenarioStep::Attack { worker, deed }));
            }
        }
        for _ in 0..=draws.next_below(2) {
            self.draw_burst(draws);
        }
        for _ in 0..draws.next_below(4) {
            let (at, worker) = (self.draw_time(draws), self.draw_worker(draws));
            let connection = draws.next_below(2);
            let act = match draws.next_below(8) {
                0..=2 => ScenarioStep::Reconnect { worker, connection },
                3 | 4 => ScenarioStep::ScheduledRun { worker },
                5 => ScenarioStep::CheckNow { worker, connection },
                _ => ScenarioStep::Disconnect { worker, connection: usize::from(draws.next_below(4) != 0) },
            };
            self.steps.push((at, act));
        }
        if draws.next_below(4) == 0 {
            self.draw_return_to_another_secret(draws);
        }
    }

    /// A person is at the app while the definition and the secret of their flow are restored.
    fn draw_return_to_another_secret(&mut self, draws: &mut RandomSequence) {
        let at = self.draw_time(draws);
        let (worker, edition) = (self.draw_worker(draws), draws.next_below(3));
        let led = VisitOptions { page_ms: 0, redirected_to_app: false, to_rogue_realm: false, app_ms: 5_000 };
        let deeds = [
            (0, AttackStep::EditApp { edition, entry: ClientEntry::WrongSecret }),
            (500, AttackStep::RunFlow { connection: 1, repair: true, led }),
            (2_000, AttackStep::RestoreApps),
        ];
        self.steps.extend(deeds.map(|(after, deed)| (at + after, ScenarioStep::Attack { worker, deed })));
    }

    /// Callers that ask within a few seconds, mostly around the expiry of a token.
    fn draw_burst(&mut self, draws: &mut RandomSequence) {
        let connection = draws.next_below(self.connections);
        let from = self.draw_time_near_expiry(draws);
        let spread = pick_one(draws, &[1, 50, 2_000, 20_000]);
        for _ in 0..=draws.next_below(6) {
            let at = from + i64::try_from(draws.next_below(spread)).unwrap();
            let worker = self.draw_worker(draws);
            let force = draws.next_below(12) == 0;
            let min_ttl = pick_one(draws, &[0, 60, 60, 60, 600]);
            self.steps.push((at, ScenarioStep::Resolve { worker, connection, min_ttl, force }));
        }
    }

    fn draw_person_step(&self, draws: &mut RandomSequence) -> ScenarioStep {
        let connection = draws.next_below(self.connections);
        let worker = self.draw_worker(draws);
        match draws.next_below(10) {
            0 | 1 => ScenarioStep::Reconnect { worker, connection },
            2 | 3 => ScenarioStep::Rename { worker, connection, to: draws.next_below(1000) },
            4 => ScenarioStep::Disconnect { worker, connection },
            5 if matches!(self.rotation, RotationPolicy::Grace(_)) => ScenarioStep::ForgetRefreshToken { connection },
            5 => ScenarioStep::WithdrawGrant { connection },
            6 => ScenarioStep::PromoteKey,
            _ => ScenarioStep::CheckNow { worker, connection },
        }
    }

    fn draw_failure_step(&self, draws: &mut RandomSequence, jumped: bool) -> ScenarioStep {
        let worker = self.draw_worker(draws);
        match draws.next_below(6) {
            0..=2 => ScenarioStep::KillWorker { worker },
            3 => ScenarioStep::ReplaceObjects { worker },
            4 if !jumped => ScenarioStep::JumpClock { seconds: 1 + i64::try_from(draws.next_below(25)).unwrap() },
            _ => ScenarioStep::DatabaseDown { seconds: 1 + i64::try_from(draws.next_below(60)).unwrap() },
        }
    }

    fn draw_worker(&self, draws: &mut RandomSequence) -> usize {
        draws.next_below(self.workers.len())
    }

    /// Milliseconds from the beginning.
    fn draw_time(&self, draws: &mut RandomSequence) -> i64 {
        i64::try_from(draws.next_below(usize::try_from(self.duration_seconds() * 1000).unwrap())).unwrap()
    }

    /// Around the expiry of the first or second token, when refreshes happen.
    fn draw_time_near_expiry(&self, draws: &mut RandomSequence) -> i64 {
        if draws.next_below(3) == 0 {
            return self.draw_time(draws);
        }
        let end = self.expires_in * (1 + i64::try_from(draws.next_below(2)).unwrap());
        let about = usize::try_from((self.expires_in / 4).min(90) * 1000).unwrap();
        (end * 1000 - i64::try_from(draws.next_below(about)).unwrap()).max(0)
    }
}

fn draw_client_entry(draws: &mut RandomSequence) -> ClientEntry {
    pick_one(
        draws,
        &[
            ClientEntry::Nothing,
            ClientEntry::SameId,
            ClientEntry::SameId,
            ClientEntry::WrongSecret,
            ClientEntry::WrongSecret,
            ClientEntry::OtherId,
        ],
    )
}

fn draw_attack_step(draws: &mut RandomSequence, editions: usize) -> AttackStep {
    match draws.next_below(16) {
        0..=7 => AttackStep::RunFlow {
            connection: usize::from(draws.next_below(6) != 0),
            repair: draws.next_below(6) != 0,
            led: VisitOptions {
                page_ms: pick_one(draws, &[0, 200, 3_000]),
                redirected_to_app: draws.next_below(2) == 0,
                to_rogue_realm: draws.next_below(2) == 0,
                app_ms: pick_one(draws, &[0, 1, 500, 5_000]),
            },
        },
        8 | 9 => AttackStep::EditApp { edition: draws.next_below(editions), entry: draw_client_entry(draws) },
        10 | 11 => AttackStep::ReplaceDiscovery(pick_one(
            draws,
            &[RogueDocument::RogueToken, RogueDocument::RogueAll, RogueDocument::OfOtherIssuer],
        )),
        12 => AttackStep::EditApiKeyApp { edition: draws.next_below(API_KEY_EDITIONS) },
        13 | 14 => AttackStep::EnterApiKey,
        _ => AttackStep::CheckApiKey,
    }
}

fn draw_worker_plan(draws: &mut RandomSequence) -> WorkerPlan {
    match draws.next_below(3) {
        0 => WorkerPlan { refresh_mode: RefreshMode::Direct, keeps_writes: false },
        _ => WorkerPlan { refresh_mode: RefreshMode::Object, keeps_writes: draws.next_below(4) != 0 },
    }
}

pub(crate) fn pick_one<T: Copy>(draws: &mut RandomSequence, list: &[T]) -> T {
    list[draws.next_below(list.len())]
}
