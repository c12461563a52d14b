//! The world as a Worker sees it: the twins, bundled as ports, one bundle per invocation.
//!
//! Owns the budget of an invocation and the two ways to refresh: directly (no object: every caller for
//! itself) and through one object per connection that coalesces callers, as the Durable Object does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use connections::config::{Config, Variables};
use connections::core::Core;
use connections::ids::ConnectionId;
use connections::memo::Memo;
use connections::patience::Patient;
use connections::ports::{Errand, ErrandOutcome, Ports, Refresher};
use connections::refresh;
use connections::time::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::{Either, Shared, select};

use super::acme::{Acme, Wire};
use super::cache::{Copies, Entries};
use super::database::{Engine, Records};
use super::limiter::{Counter, Counts};
use super::outside::{Boat, Kept, Lines, Meter, Pen, Seeded};
use super::runtime::{NOBODY, Owner, Runtime, Task};
use super::signer::Notary;
use super::witness::{Life, Strand, Witness};

/// 2026-11-22T12:00:00Z
pub(crate) const START: i64 = 1_795_348_800;
/// Milliseconds a caller waits for an object.
const PATIENCE: i64 = 10_000;
/// The key ring unless a test says otherwise.
pub(crate) const KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Who refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Every caller for itself, within its own invocation.
    Direct,
    /// One object per connection.
    Object,
}

type Attempt = Shared<Pin<Box<dyn Future<Output = ErrandOutcome>>>>;

/// The objects of one Worker, by connection.
#[derive(Default)]
pub(crate) struct Objects(RefCell<BTreeMap<ConnectionId, Attempt>>);

/// The way to who refreshes.
pub(crate) struct Messenger {
    way: Way,
    world: World,
    objects: Rc<Objects>,
    meter: Rc<Meter>,
}

impl Refresher for Messenger {
    fn cost(&self) -> i64 {
        match self.way {
            Way::Direct => 6,
            Way::Object => 1,
        }
    }

    async fn run(&self, connection: &ConnectionId, errand: Errand) -> ErrandOutcome {
        match self.way {
            Way::Direct => {
                let core = self.world.core_with(self.way, &self.objects, &self.meter);
                refresh::run(&core, connection, errand).await
            }
            Way::Object if !self.meter.spend() => ErrandOutcome::InProgress { retry_after: 1 },
            Way::Object => self.ask_object(connection, errand).await,
        }
    }
}

impl Messenger {
    async fn ask_object(&self, connection: &ConnectionId, errand: Errand) -> ErrandOutcome {
        self.world.runtime.pause().await;
        let attempt = self.attempt(connection, errand);
        match select(attempt, std::pin::pin!(self.world.runtime.sleep(PATIENCE))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), _)) => ErrandOutcome::InProgress { retry_after: 5 },
        }
    }

    /// The attempt under way, or a new one. It has a budget of its own and goes on when callers leave.
    fn attempt(&self, connection: &ConnectionId, errand: Errand) -> Attempt {
        if let Some(attempt) = self.objects.0.borrow().get(connection).filter(|attempt| attempt.peek().is_none()) {
            return attempt.clone();
        }
        let core = self.world.core_with(self.way, &self.objects, &Rc::default());
        let (id, kept) = (connection.clone(), Rc::clone(&self.world.kept));
        let task = self.world.runtime.spawn_for(self.world.owner, async move {
            // What was laid aside goes to the record first: it may be the very token that would be redeemed.
            if !deliver_kept(&core, &kept, Some(&id)).await {
                return ErrandOutcome::DatabaseDown;
            }
            refresh::run(&core, &id, errand).await
        });
        let attempt: Attempt = (Box::pin(task) as Pin<Box<dyn Future<Output = ErrandOutcome>>>).shared();
        self.objects.0.borrow_mut().insert(connection.clone(), attempt.clone());
        // Held by the object: it is driven to its end when every caller has left.
        drop(self.world.runtime.spawn_for(self.world.owner, attempt.clone()));
        attempt
    }
}

/// Delivers what was laid aside, for one connection or for all; answers whether nothing of it is left.
pub(crate) async fn deliver_kept(core: &Core<Outside>, kept: &Kept, of: Option<&ConnectionId>) -> bool {
    let waiting = kept.answers.borrow().clone();
    for (connection, answer) in waiting.into_iter().filter(|(id, _)| of.is_none_or(|of| of == id)) {
        if !refresh::deliver(core, &answer).await {
            return false;
        }
        kept.answers.borrow_mut().retain(|(id, other)| *id != connection || *other != answer);
    }
    true
}

/// What an invocation is given.
pub(crate) struct Outside {
    /// Notices when the invocation dies.
    #[expect(dead_code, reason = "it acts when it is dropped")]
    life: Life,
    database: Patient<Records, Runtime>,
    cache: Patient<Copies, Runtime>,
    http: Wire,
    clock: Runtime,
    random: Rc<Seeded>,
    signer: Notary,
    log: Pen,
    refresher: Messenger,
    lifeboat: Boat,
    limiter: Counter,
    memo: Rc<Memo>,
    pub(crate) meter: Rc<Meter>,
}

impl Ports for Outside {
    type Database = Patient<Records, Runtime>;
    type Cache = Patient<Copies, Runtime>;
    type Http = Wire;
    type Clock = Runtime;
    type Random = Seeded;
    type Signer = Notary;
    type Log = Pen;
    type Refresher = Messenger;
    type Lifeboat = Boat;
    type RateLimiter = Counter;

    fn database(&self) -> &Self::Database {
        &self.database
    }
    fn cache(&self) -> &Self::Cache {
        &self.cache
    }
    fn http(&self) -> &Wire {
        &self.http
    }
    fn clock(&self) -> &Runtime {
        &self.clock
    }
    fn random(&self) -> &Seeded {
        &self.random
    }
    fn signer(&self) -> &Notary {
        &self.signer
    }
    fn log(&self) -> &Pen {
        &self.log
    }
    fn refresher(&self) -> &Messenger {
        &self.refresher
    }
    fn lifeboat(&self) -> &Boat {
        &self.lifeboat
    }
    fn rate_limiter(&self) -> &Counter {
        &self.limiter
    }
    fn memo(&self) -> &Memo {
        &self.memo
    }
}

/// An invocation of the Worker.
pub(crate) type Invocation = Rc<Core<Outside>>;

/// Everything there is. Clones share it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) db: Rc<Engine>,
    pub(crate) kv: Rc<Entries>,
    pub(crate) acme: Rc<Acme>,
    pub(crate) log: Rc<Lines>,
    pub(crate) kept: Rc<Kept>,
    pub(crate) keys: Rc<RefCell<String>>,
    /// `CHECK_BATCH`, if the operator set it.
    pub(crate) check_batch: Rc<Cell<Option<i64>>>,
    /// `RESEAL_BATCH`, if the operator set it.
    pub(crate) reseal_batch: Rc<Cell<Option<i64>>>,
    pub(crate) random: Rc<Seeded>,
    /// `ERASE_BATCH`, if the operator set it.
    pub(crate) erase_batch: Rc<Cell<Option<i64>>>,
    /// Subrequests that an invocation may send; none: the free plan's.
    pub(crate) subrequests: Rc<Cell<Option<u32>>>,
    /// How often what happened; counted where a test switches it on.
    pub(crate) counts: Rc<Counts>,
    objects: Rc<Objects>,
    pub(crate) witness: Rc<Witness>,
    /// Who dies when this Worker is killed.
    owner: Owner,
    /// What the one instance remembers; none where every invocation finds an instance of its own.
    memo: Option<Rc<RefCell<Rc<Memo>>>>,
    way: Way,
}

impl World {
    /// A new world; with a seed, tasks take drawn turns.
    pub(crate) fn new(way: Way, seed: Option<u64>) -> Self {
        let runtime = Runtime::new(START, seed);
        let witness: Rc<Witness> = Rc::default();
        Self {
            db: Rc::new(Engine::new()),
            kv: Rc::default(),
            acme: Rc::new(Acme::new(runtime.clone(), Rc::clone(&witness))),
            log: Rc::default(),
            kept: Rc::default(),
            keys: Rc::new(RefCell::new(KEYS.to_owned())),
            check_batch: Rc::default(),
            reseal_batch: Rc::default(),
            erase_batch: Rc::default(),
            subrequests: Rc::default(),
            counts: Rc::default(),
            random: Rc::new(Seeded::new(seed.unwrap_or(1))),
            objects: Rc::default(),
            witness,
            owner: NOBODY,
            memo: None,
            way,
            runtime,
        }
    }

    /// The same over another database.
    pub(crate) fn over(self, db: Engine) -> Self {
        Self { db: Rc::new(db), ..self }
    }

    /// A second deployment over the same record: its own objects with what they keep, its own way to refresh.
    pub(crate) fn sibling(&self, way: Way) -> Self {
        Self { objects: Rc::default(), kept: Rc::default(), way, ..self.clone() }
    }

    /// This Worker as a process of its own, which can be killed.
    pub(crate) fn owned_by(&self, owner: Owner) -> Self {
        Self { owner, ..self.clone() }
    }

    /// Runs a future as a part of this Worker: it ends when the Worker is killed.
    pub(crate) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.runtime.spawn_for(self.owner, future)
    }

    /// The process dies with all it is at, and starts anew. What its objects keep stays.
    pub(crate) fn kill(&self) -> usize {
        self.replace_objects();
        self.runtime.kill_all_of(self.owner)
    }

    /// The objects move: new callers find new ones, while the old ones are still at it.
    pub(crate) fn replace_objects(&self) {
        self.objects.0.borrow_mut().clear();
    }

    /// A deployment with other keys over the same record, that runs beside this one.
    pub(crate) fn with_keys(&self, keys: &str) -> Self {
        Self { keys: Rc::new(RefCell::new(keys.to_owned())), ..self.sibling(self.way) }
    }

    /// All invocations happen in one instance of the program, which remembers.
    pub(crate) fn in_one_instance(&self) -> Self {
        Self { memo: Some(Rc::default()), ..self.clone() }
    }

    /// The instance ends: the next invocation finds one that remembers nothing.
    pub(crate) fn evict(&self) {
        if let Some(memo) = &self.memo {
            memo.take();
        }
    }

    /// A new invocation with the whole budget.
    pub(crate) fn core(&self) -> Invocation {
        let meter = Rc::new(Meter::with(self.subrequests.get()));
        self.core_with(self.way, &self.objects, &meter)
    }

    fn core_with(&self, way: Way, objects: &Rc<Objects>, meter: &Rc<Meter>) -> Invocation {
        let (runtime, meter) = (self.runtime.clone(), Rc::clone(meter));
        let limiter = Counter { counts: Rc::clone(&self.counts), runtime: runtime.clone() };
        let refresher = Messenger { way, world: self.clone(), objects: Rc::clone(objects), meter: Rc::clone(&meter) };
        let strand = Rc::new(Strand::new(&self.witness, &runtime));
        let records = Records {
            engine: Rc::clone(&self.db),
            meter: Rc::clone(&meter),
            strand: Rc::clone(&strand),
            runtime: runtime.clone(),
        };
        let copies = Copies { shared: Rc::clone(&self.kv), meter: Rc::clone(&meter), runtime: runtime.clone() };
        let ports = Outside {
            life: Life(Rc::clone(&strand)),
            database: Patient::new(records, runtime.clone()),
            cache: Patient::new(copies, runtime.clone()),
            http: Wire { acme: Rc::clone(&self.acme), meter: Rc::clone(&meter), strand, runtime: runtime.clone() },
            clock: runtime,
            random: Rc::clone(&self.random),
            signer: Notary,
            log: Pen(Rc::clone(&self.log)),
            refresher,
            lifeboat: Boat { kept: Rc::clone(&self.kept), witness: Rc::clone(&self.witness) },
            limiter,
            memo: self.memo.as_ref().map(|memo| Rc::clone(&memo.borrow())).unwrap_or_default(),
            meter,
        };
        Rc::new(Core { ports, config: self.config() })
    }

    pub(crate) fn config(&self) -> Config {
        Config::parse(&Variables {
            public_url: Some("https://c.example.com".into()),
            encryption_keys: Some(self.keys.borrow().clone()),
            admin_key: Some("abcdefghijklmnopqrstuvwxyz0123456789".into()),
            check_batch: self.check_batch.get().map(|number| number.to_string()),
            reseal_batch: self.reseal_batch.get().map(|number| number.to_string()),
            erase_batch: self.erase_batch.get().map(|number| number.to_string()),
            ..Variables::default()
        })
        .unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.runtime.now())
    }

    /// Lets seconds pass with nothing happening.
    pub(crate) fn pass(&self, seconds: i64) {
        self.runtime.jump(seconds);
    }

    /// Runs a future to its end.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.run(future)
    }

    /// Runs many things at once, each in a task of its own, and answers in their order.
    pub(crate) fn at_once<T: 'static, F: Future<Output = T> + 'static>(
        &self,
        futures: impl IntoIterator<Item = F>,
    ) -> Vec<T> {
        let tasks: Vec<Task<T>> = futures.into_iter().map(|future| self.runtime.spawn(future)).collect();
        self.run(async {
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await);
            }
            answers
        })
    }

    /// An errand at the refresher, in an invocation of its own.
    pub(crate) fn errand(&self, id: &ConnectionId, errand: Errand) -> impl Future<Output = ErrandOutcome> + 'static {
        let (core, id) = (self.core(), id.clone());
        async move { core.ports.refresher().run(&id, errand).await }
    }
}
