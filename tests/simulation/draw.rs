//! What a seed draws: the app's manners, the Workers, who does what when, and how bad the weather is.
//!
//! Owns the ranges. A plan is data: the same seed draws the same plan, whatever the program under test does.

use serde_json::{Value, json};

use crate::editor::{Document, Endpoints, Entry, Ground, KEYED_EDITIONS, Led};
use crate::hostile::Deed;
use crate::long::Life;
use crate::support::runtime::Draws;
use crate::support::{Rotates, Way};

/// One act of a play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// A workflow asks for a credential.
    Resolve { worker: usize, connection: usize, min_ttl: i64, force: bool },
    /// A person presses "Check now".
    CheckNow { worker: usize, connection: usize },
    /// The clock strikes.
    Tick { worker: usize },
    /// A person reconnects, with the same account.
    Reconnect { worker: usize, connection: usize },
    /// A person renames it.
    Rename { worker: usize, connection: usize, to: usize },
    /// A person disconnects it.
    Disconnect { worker: usize, connection: usize },
    /// The person takes back at the app what they granted.
    Withdraw { connection: usize },
    /// The app forgets the refresh token it gave last.
    Forget { connection: usize },
    /// A Worker's process dies and starts anew.
    Kill { worker: usize },
    /// The platform moves a Worker's objects while they are at work.
    ReplaceObjects { worker: usize },
    /// Every clock moves on by so many seconds while nobody runs.
    Jump { seconds: i64 },
    /// The record is away for so many seconds.
    RecordDown { seconds: i64 },
    /// Another key seals from now on; the clock re-seals behind.
    PromoteKey,
    /// A hostile editor acts, or somebody whom they lead astray.
    Hostile { worker: usize, deed: Deed },
}

/// What a plan is about. Most are about anything; some gather what goes wrong only together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Theme {
    /// Anything.
    Anything,
    /// The record is away with an answer on board for longer than a promise lasts, and another Worker is first.
    Takeover,
    /// An answer or a refusal is on its way while the person reconnects.
    Late,
    /// Keys are rotated while everybody asks.
    Resealing,
    /// The record takes its time while everybody asks.
    SlowRecord,
    /// Somebody edits the app's definition to get at what was given to others.
    Editor,
    /// Few do little at a time, for a week or two: what is kept and what is told has the time to grow old.
    LongLife,
}

impl Theme {
    /// The theme of a seed: every second has one of its own, more or less.
    pub(crate) fn of(seed: u64) -> Self {
        match seed % 8 {
            1 if seed % 32 == 9 => Self::LongLife,
            3 => Self::Editor,
            4 => Self::Takeover,
            5 => Self::Late,
            6 => Self::Resealing,
            7 => Self::SlowRecord,
            _ => Self::Anything,
        }
    }
}

/// How a Worker of the play is set up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Worker {
    pub(crate) way: Way,
    /// Whether its objects can keep an answer that the record would not take.
    pub(crate) keeps: bool,
}

/// Chances in a thousand, and what they are chances of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// A batch at the record meets a fault.
    pub(crate) record: usize,
    /// A request at the app fares ill.
    pub(crate) app: usize,
    /// A request at the app takes long.
    pub(crate) slow: usize,
}

/// Everything a seed draws.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) rotates: Rotates,
    /// What the definition says of it: the truth, or the cautious default.
    pub(crate) declared: Rotates,
    pub(crate) expires_in: i64,
    pub(crate) gives_refresh_token: bool,
    /// Only the first consent brings a refresh token.
    pub(crate) gives_it_once: bool,
    pub(crate) workers: Vec<Worker>,
    pub(crate) connections: usize,
    pub(crate) weather: Weather,
    /// Where there is a hostile editor: what they have to do with.
    pub(crate) ground: Option<Ground>,
    /// Where days are played instead of acts: what happens in them.
    pub(crate) life: Option<Life>,
    /// Acts with their time, in milliseconds from the beginning.
    pub(crate) acts: Vec<(i64, Act)>,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut draws = Draws::new(seed ^ 0x005e_ed0f_1a57);
        let rotates = one_of(
            &mut draws,
            &[
                Rotates::Strict,
                Rotates::Strict,
                Rotates::Reject,
                Rotates::Grace(30),
                Rotates::Grace(600),
                Rotates::Reissue,
                Rotates::No,
            ],
        );
        let declared = match rotates {
            Rotates::Reject => Rotates::Strict,
            _ if draws.below(4) == 0 => Rotates::Strict,
            honest => honest,
        };
        let calm = draws.below(5) == 0;
        let rate = |draws: &mut Draws, most: usize| if calm { 0 } else { draws.below(most) };
        let weather =
            Weather { record: rate(&mut draws, 120), app: rate(&mut draws, 500), slow: rate(&mut draws, 300) };
        let mut plan = Self {
            rotates,
            declared,
            expires_in: one_of(&mut draws, &[60, 300, 3600]),
            gives_refresh_token: draws.below(30) != 0,
            gives_it_once: false,
            workers: (0..=draws.below(2)).map(|_| worker(&mut draws)).collect(),
            connections: 1 + draws.below(2),
            weather,
            ground: None,
            life: None,
            acts: Vec::new(),
        };
        match Theme::of(seed) {
            Theme::Anything => plan.draw_acts(&mut draws, calm),
            Theme::Editor => plan.draw_editor(&mut draws),
            Theme::LongLife => plan.draw_life(&mut draws),
            theme => plan.draw_theme(&mut draws, theme),
        }
        plan.acts.sort_by_key(|(at, _)| *at);
        plan.gives_it_once = draws.below(if plan.ground.is_some() { 2 } else { 5 }) == 0;
        plan
    }

    fn draw_theme(&mut self, draws: &mut Draws, theme: Theme) {
        let end = self.expires_in * 1000;
        let direct = Worker { way: Way::Direct, keeps: false };
        let within = |draws: &mut Draws, most: usize| i64::try_from(draws.below(most)).unwrap();
        let resolve = |worker| Act::Resolve { worker, connection: 0, min_ttl: 60, force: false };
        self.gives_refresh_token = true;
        (self.rotates, self.declared) = (one_of(draws, &[Rotates::Strict, Rotates::Reject]), Rotates::Strict);
        self.workers = vec![direct, direct];
        match theme {
            Theme::Anything | Theme::Editor | Theme::LongLife => {}
            Theme::Takeover => {
                self.workers[0] = Worker { way: Way::Object, keeps: true };
                self.weather = Weather { record: 0, app: 0, slow: 600 };
                self.acts.push((end, resolve(0)));
                let seconds = 66 + within(draws, 20);
                let down = end + 100 + within(draws, 3_000);
                self.acts.push((down, Act::RecordDown { seconds }));
                for _ in 0..4 {
                    let worker = draws.below(2);
                    self.acts.push((down + seconds * 1000 + within(draws, 8_000), resolve(worker)));
                }
            }
            Theme::Late => {
                self.weather = Weather { record: draws.below(100), app: 0, slow: 700 };
                if draws.below(2) == 0 {
                    self.acts.push((end - 100, Act::Withdraw { connection: 0 }));
                }
                self.acts.push((end + within(draws, 200), resolve(0)));
                self.acts.push((end + within(draws, 15_000), Act::Reconnect { worker: 1, connection: 0 }));
                self.acts.push((end + within(draws, 40_000), resolve(1)));
            }
            Theme::Resealing => {
                self.weather = Weather { record: draws.below(300), app: draws.below(100), slow: draws.below(200) };
                self.acts.push((end - within(draws, 20_000), Act::PromoteKey));
                for _ in 0..3 {
                    let worker = draws.below(2);
                    self.acts.push((end + within(draws, 400), resolve(worker)));
                    self.acts.push((end + within(draws, 400), Act::Tick { worker: 1 - worker }));
                }
            }
            Theme::SlowRecord => {
                self.weather =
                    Weather { record: 300 + draws.below(300), app: draws.below(100), slow: draws.below(200) };
                for _ in 0..8 {
                    let worker = draws.below(2);
                    self.acts.push((end + within(draws, 12_000), resolve(worker)));
                }
                self.acts.push((end + within(draws, 12_000), Act::CheckNow { worker: 0, connection: 0 }));
            }
        }
    }

    fn draw_life(&mut self, draws: &mut Draws) {
        const DAY: i64 = 86_400;
        self.weather = Weather { record: 0, app: 0, slow: 0 };
        self.expires_in = one_of(draws, &[3600, 3600, 8 * 3600, 30 * DAY]);
        self.connections = 3;
        self.workers = vec![worker(draws), worker(draws)];
        self.life = Some(Life::draw(draws, (self.workers.len(), self.connections)));
    }

    /// Seconds that the play lasts.
    pub(crate) fn horizon(&self) -> i64 {
        self.expires_in * 9 / 4 + 60
    }

    /// Whether a token may live through a whole phase of a long life, so that nothing has to be renewed in it.
    pub(crate) fn outlives_a_phase(&self) -> bool {
        self.expires_in > 86_400 || self.life.as_ref().is_some_and(|life| !life.tells_life)
    }

    /// Whether nothing can go wrong on the way to the app and the record.
    pub(crate) fn is_calm(&self) -> bool {
        let Weather { record, app, slow } = self.weather;
        let is_mishap = |act: &Act| matches!(act, Act::Kill { .. } | Act::RecordDown { .. } | Act::Jump { .. });
        record + app + slow == 0 && self.life.is_none() && !self.acts.iter().any(|(_, act)| is_mishap(act))
    }

    /// What a test changes about the usual definition.
    pub(crate) fn definition(&self) -> Value {
        let rotation = match self.declared {
            Rotates::Strict | Rotates::Reject => json!("strict"),
            Rotates::Grace(seconds) => json!({ "grace": seconds }),
            Rotates::Reissue => json!("reissue"),
            Rotates::No => json!("none"),
        };
        json!({ "auth": { "rotation": rotation } })
    }

    /// Seconds an attempt owns a token, at the least.
    pub(crate) fn ownership(&self) -> i64 {
        match self.declared {
            Rotates::Strict | Rotates::Reject => 60,
            Rotates::Grace(seconds) => (seconds / 2).clamp(10, 60),
            Rotates::Reissue | Rotates::No => 30,
        }
    }

    fn draw_acts(&mut self, draws: &mut Draws, calm: bool) {
        for _ in 0..2 + draws.below(3) {
            self.draw_burst(draws);
        }
        for _ in 0..=draws.below(4) {
            let at = self.sometime(draws);
            let worker = self.some_worker(draws);
            self.acts.push((at, Act::Tick { worker }));
        }
        for _ in 0..draws.below(5) {
            let at = self.sometime(draws);
            let act = self.of_a_person(draws);
            self.acts.push((at, act));
        }
        if !calm {
            let mut jumped = false;
            for _ in 0..draws.below(4) {
                let at = self.at_a_bad_moment(draws);
                let act = self.mishap(draws, jumped);
                jumped |= matches!(act, Act::Jump { .. });
                self.acts.push((at, act));
            }
        }
    }

    /// Episodes: something is edited, people are led astray, and mostly it is put back. Meanwhile workflows go on.
    fn draw_editor(&mut self, draws: &mut Draws) {
        let ground = Ground {
            endpoints: one_of(draws, &[Endpoints::Written, Endpoints::Placeholder, Endpoints::Discovered]),
            public: draws.below(2) == 0,
            rogue_renews: draws.below(2) == 0,
        };
        self.ground = Some(ground);
        self.connections = 2;
        self.gives_refresh_token = true;
        self.expires_in = one_of(draws, &[60, 60, 300]);
        self.weather = Weather { record: draws.below(40), app: draws.below(100), slow: draws.below(100) };
        let editions = ground.editions().len();
        for _ in 0..1 + draws.below(3) {
            let at = if draws.below(2) == 0 { self.sometime(draws) } else { self.at_a_bad_moment(draws) };
            let mut deeds = vec![(0, Deed::Edit { edition: draws.below(editions), entry: entry(draws) })];
            for _ in 0..1 + draws.below(5) {
                deeds.push((i64::try_from(draws.below(20_000)).unwrap() - 4_000, deed(draws, editions)));
            }
            if draws.below(4) != 0 {
                deeds.push((1_000 + i64::try_from(draws.below(60_000)).unwrap(), Deed::PutBack));
            }
            if draws.below(3) == 0 {
                // A definition changes under a credential that is being entered.
                let edit = i64::try_from(draws.below(400)).unwrap();
                deeds.push((0, Deed::EnterKey));
                deeds.push((edit, Deed::EditKeyed { edition: draws.below(KEYED_EDITIONS) }));
            }
            for (after, deed) in deeds {
                let worker = self.some_worker(draws);
                self.acts.push(((at + after).max(0), Act::Hostile { worker, deed }));
            }
        }
        for _ in 0..1 + draws.below(2) {
            self.draw_burst(draws);
        }
        for _ in 0..draws.below(4) {
            let (at, worker) = (self.sometime(draws), self.some_worker(draws));
            let connection = draws.below(2);
            let act = match draws.below(8) {
                0..=2 => Act::Reconnect { worker, connection },
                3 | 4 => Act::Tick { worker },
                5 => Act::CheckNow { worker, connection },
                _ => Act::Disconnect { worker, connection: usize::from(draws.below(4) != 0) },
            };
            self.acts.push((at, act));
        }
        if draws.below(4) == 0 {
            self.draw_return_to_another_secret(draws);
        }
    }

    /// Somebody is at the app while the definition and the secret, with which their flow began, are put back.
    fn draw_return_to_another_secret(&mut self, draws: &mut Draws) {
        let at = self.sometime(draws);
        let (worker, edition) = (self.some_worker(draws), draws.below(3));
        let led = Led { reads: 0, bounced: false, to_rogue_realm: false, lingers: 5_000 };
        let deeds = [
            (0, Deed::Edit { edition, entry: Entry::WrongSecret }),
            (500, Deed::Walk { connection: 1, repair: true, led }),
            (2_000, Deed::PutBack),
        ];
        self.acts.extend(deeds.map(|(after, deed)| (at + after, Act::Hostile { worker, deed })));
    }

    /// Callers that ask within a few seconds, mostly about when a token ends.
    fn draw_burst(&mut self, draws: &mut Draws) {
        let connection = draws.below(self.connections);
        let from = self.at_a_bad_moment(draws);
        let spread = one_of(draws, &[1, 50, 2_000, 20_000]);
        for _ in 0..=draws.below(6) {
            let at = from + i64::try_from(draws.below(spread)).unwrap();
            let worker = self.some_worker(draws);
            let force = draws.below(12) == 0;
            let min_ttl = one_of(draws, &[0, 60, 60, 60, 600]);
            self.acts.push((at, Act::Resolve { worker, connection, min_ttl, force }));
        }
    }

    fn of_a_person(&self, draws: &mut Draws) -> Act {
        let connection = draws.below(self.connections);
        let worker = self.some_worker(draws);
        match draws.below(10) {
            0 | 1 => Act::Reconnect { worker, connection },
            2 | 3 => Act::Rename { worker, connection, to: draws.below(1000) },
            4 => Act::Disconnect { worker, connection },
            5 if matches!(self.rotates, Rotates::Grace(_)) => Act::Forget { connection },
            5 => Act::Withdraw { connection },
            6 => Act::PromoteKey,
            _ => Act::CheckNow { worker, connection },
        }
    }

    fn mishap(&self, draws: &mut Draws, jumped: bool) -> Act {
        let worker = self.some_worker(draws);
        match draws.below(6) {
            0..=2 => Act::Kill { worker },
            3 => Act::ReplaceObjects { worker },
            4 if !jumped => Act::Jump { seconds: 1 + i64::try_from(draws.below(25)).unwrap() },
            _ => Act::RecordDown { seconds: 1 + i64::try_from(draws.below(60)).unwrap() },
        }
    }

    fn some_worker(&self, draws: &mut Draws) -> usize {
        draws.below(self.workers.len())
    }

    /// Milliseconds from the beginning.
    fn sometime(&self, draws: &mut Draws) -> i64 {
        i64::try_from(draws.below(usize::try_from(self.horizon() * 1000).unwrap())).unwrap()
    }

    /// About when the first or second token ends: when refreshes happen.
    fn at_a_bad_moment(&self, draws: &mut Draws) -> i64 {
        if draws.below(3) == 0 {
            return self.sometime(draws);
        }
        let end = self.expires_in * (1 + i64::try_from(draws.below(2)).unwrap());
        let about = usize::try_from((self.expires_in / 4).min(90) * 1000).unwrap();
        (end * 1000 - i64::try_from(draws.below(about)).unwrap()).max(0)
    }
}

fn entry(draws: &mut Draws) -> Entry {
    one_of(
        draws,
        &[Entry::Nothing, Entry::SameId, Entry::SameId, Entry::WrongSecret, Entry::WrongSecret, Entry::OtherId],
    )
}

fn deed(draws: &mut Draws, editions: usize) -> Deed {
    match draws.below(16) {
        0..=7 => Deed::Walk {
            connection: usize::from(draws.below(6) != 0),
            repair: draws.below(6) != 0,
            led: Led {
                reads: one_of(draws, &[0, 200, 3_000]),
                bounced: draws.below(2) == 0,
                to_rogue_realm: draws.below(2) == 0,
                lingers: one_of(draws, &[0, 1, 500, 5_000]),
            },
        },
        8 | 9 => Deed::Edit { edition: draws.below(editions), entry: entry(draws) },
        10 | 11 => Deed::Replace(one_of(draws, &[Document::RogueToken, Document::RogueAll, Document::OfOtherIssuer])),
        12 => Deed::EditKeyed { edition: draws.below(KEYED_EDITIONS) },
        13 | 14 => Deed::EnterKey,
        _ => Deed::CheckKey,
    }
}

fn worker(draws: &mut Draws) -> Worker {
    match draws.below(3) {
        0 => Worker { way: Way::Direct, keeps: false },
        _ => Worker { way: Way::Object, keeps: draws.below(4) != 0 },
    }
}

pub(crate) fn one_of<T: Copy>(draws: &mut Draws, list: &[T]) -> T {
    list[draws.below(list.len())]
}
