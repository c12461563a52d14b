//! The world of a Worker: the in-memory counterparts, combined as ports, one set per invocation.
//!
//! Owns the subrequest limit of an invocation and the two ways to refresh: directly (without a Durable Object, every
//! caller for itself) and through one object per connection that combines callers, as the Durable Object does.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use connections::config::{Config, EnvVariables};
use connections::context::Context;
use connections::ids::{ConnectionId, Shard};
use connections::isolate_cache::IsolateCache;
use connections::ports::{Ports, RefreshOutcome, RefreshReason, RefreshRunner};
use connections::refresh;
use connections::time::Timestamp;
use futures_util::FutureExt as _;
use futures_util::future::{Either, Shared, select};

use super::acme::{Acme, HttpPort};
use super::cache::{CachePort, TestCache};
use super::database::{DatabasePort, TestDatabase};
use super::limiter::{RateCounts, RateLimiterPort};
use super::recorder::{InvocationGuard, InvocationRecorder, Recorder};
use super::runtime::{NO_OWNER, Runtime, Task, TaskOwner};
use super::signer::SignerPort;
use super::small_ports::{
    KeptWrites, LogLines, LogPort, MailPort, MetricsPort, PendingWritesPort, QueuePort, SeededRandom, SubrequestBudget,
    TestMail, TestMetrics, TestQueue,
};
use super::timeout::Timeout;

/// 2026-11-22T12:00:00Z
pub(crate) const START: i64 = 1_795_348_800;
/// Milliseconds that a caller waits for an object.
const OBJECT_TIMEOUT_MS: i64 = 10_000;
/// The default key ring.
pub(crate) const ENCRYPTION_KEYS: &str = "k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Who refreshes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefreshMode {
    /// Every caller for itself, within its own invocation.
    Direct,
    /// One object per connection.
    Object,
}

type SharedRefresh = Shared<Pin<Box<dyn Future<Output = RefreshOutcome>>>>;

/// The Durable Objects of one Worker, by connection.
#[derive(Default)]
pub(crate) struct RefresherObjects(RefCell<BTreeMap<ConnectionId, SharedRefresh>>);

/// The refresher port.
pub(crate) struct RefresherPort {
    mode: RefreshMode,
    world: World,
    objects: Rc<RefresherObjects>,
    budget: Rc<SubrequestBudget>,
}

impl RefreshRunner for RefresherPort {
    fn subrequest_cost(&self) -> i64 {
        match self.mode {
            RefreshMode::Direct => 6,
            RefreshMode::Object => 1,
        }
    }

    async fn run(&self, connection: &ConnectionId, reason: RefreshReason) -> RefreshOutcome {
        match self.mode {
            RefreshMode::Direct => {
                let context = self.world.context_with(self.mode, &self.objects, &self.budget);
                refresh::run_in_its_shard(&context, connection, reason).await
            }
            RefreshMode::Object if !self.budget.spend() => RefreshOutcome::InProgress { retry_after: 1 },
            RefreshMode::Object => self.refresh_by_object(connection, reason).await,
        }
    }
}

impl RefresherPort {
    async fn refresh_by_object(&self, connection: &ConnectionId, reason: RefreshReason) -> RefreshOutcome {
        self.world.runtime.yield_now().await;
        let attempt = self.join_refresh(connection, reason);
        match select(attempt, std::pin::pin!(self.world.runtime.sleep(OBJECT_TIMEOUT_MS))).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(((), _)) => RefreshOutcome::InProgress { retry_after: 5 },
        }
    }

    /// The running attempt, or a new one. It has its own subrequest limit and continues when callers leave.
    fn join_refresh(&self, connection: &ConnectionId, reason: RefreshReason) -> SharedRefresh {
        if let Some(attempt) = self.objects.0.borrow().get(connection).filter(|attempt| attempt.peek().is_none()) {
            return attempt.clone();
        }
        let context = self.world.context_with(self.mode, &self.objects, &Rc::default());
        let (id, kept) = (connection.clone(), Rc::clone(&self.world.kept_writes));
        let task = self.world.runtime.spawn_owned(self.world.owner, async move {
            // Pending writes are stored first: they may contain the token that would be sent.
            if !deliver_kept_writes(&context, &kept, Some(&id)).await {
                return RefreshOutcome::DatabaseUnavailable;
            }
            refresh::run_in_its_shard(&context, &id, reason).await
        });
        let attempt: SharedRefresh = (Box::pin(task) as Pin<Box<dyn Future<Output = RefreshOutcome>>>).shared();
        self.objects.0.borrow_mut().insert(connection.clone(), attempt.clone());
        // Owned by the object, which completes it also if every caller has left.
        drop(self.world.runtime.spawn_owned(self.world.owner, attempt.clone()));
        attempt
    }
}

/// Stores pending writes, of one connection or of all. Returns whether none is left.
pub(crate) async fn deliver_kept_writes(
    context: &Context<TestPorts>,
    kept: &KeptWrites,
    of: Option<&ConnectionId>,
) -> bool {
    let waiting = kept.writes.borrow().clone();
    for (connection, answer) in waiting.into_iter().filter(|(id, _)| of.is_none_or(|of| of == id)) {
        if !refresh::write_pending_renewal(context, &answer).await {
            return false;
        }
        kept.writes.borrow_mut().retain(|(id, other)| *id != connection || *other != answer);
    }
    true
}

/// The ports of an invocation.
pub(crate) struct TestPorts {
    /// Detects the end of the invocation.
    #[expect(dead_code, reason = "it acts when it is dropped")]
    guard: InvocationGuard,
    databases: Vec<Rc<Timeout<DatabasePort, Runtime>>>,
    cache: Timeout<CachePort, Runtime>,
    http: HttpPort,
    clock: Runtime,
    random: Rc<SeededRandom>,
    signer: SignerPort,
    log: LogPort,
    refresher: RefresherPort,
    pending_writes: PendingWritesPort,
    limiter: RateLimiterPort,
    queue: QueuePort,
    metrics: MetricsPort,
    mailer: MailPort,
    isolate_cache: Rc<IsolateCache>,
    pub(crate) budget: Rc<SubrequestBudget>,
}

impl Ports for TestPorts {
    type Database = Timeout<DatabasePort, Runtime>;
    type Cache = Timeout<CachePort, Runtime>;
    type Http = HttpPort;
    type Clock = Runtime;
    type Random = SeededRandom;
    type Signer = SignerPort;
    type Log = LogPort;
    type Refresher = RefresherPort;
    type PendingWrites = PendingWritesPort;
    type RateLimiter = RateLimiterPort;
    type RunQueue = QueuePort;
    type Metrics = MetricsPort;
    type Mailer = MailPort;

    fn database(&self, shard: Shard) -> Option<Rc<Self::Database>> {
        self.databases.get(usize::from(shard.number())).cloned()
    }
    fn cache(&self) -> &Self::Cache {
        &self.cache
    }
    fn http(&self) -> &HttpPort {
        &self.http
    }
    fn clock(&self) -> &Runtime {
        &self.clock
    }
    fn random(&self) -> &SeededRandom {
        &self.random
    }
    fn signer(&self) -> &SignerPort {
        &self.signer
    }
    fn log(&self) -> &LogPort {
        &self.log
    }
    fn refresher(&self) -> &RefresherPort {
        &self.refresher
    }
    fn pending_writes(&self) -> &PendingWritesPort {
        &self.pending_writes
    }
    fn rate_limiter(&self) -> &RateLimiterPort {
        &self.limiter
    }
    fn run_queue(&self) -> &QueuePort {
        &self.queue
    }
    fn metrics(&self) -> &MetricsPort {
        &self.metrics
    }
    fn mailer(&self) -> &MailPort {
        &self.mailer
    }
    fn isolate_cache(&self) -> &IsolateCache {
        &self.isolate_cache
    }
}

/// An invocation of the Worker.
pub(crate) type Invocation = Rc<Context<TestPorts>>;

/// Everything that exists. Clones share it.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) db: Rc<TestDatabase>,
    /// The databases of the shards after the first.
    pub(crate) more_databases: Vec<Rc<TestDatabase>>,
    /// The shard that invocations begin in.
    pub(crate) shard: Shard,
    /// `CLOSED_DATABASES`, if the operator has set it.
    pub(crate) closed_databases: Rc<RefCell<Option<String>>>,
    pub(crate) cache: Rc<TestCache>,
    pub(crate) acme: Rc<Acme>,
    pub(crate) log: Rc<LogLines>,
    pub(crate) kept_writes: Rc<KeptWrites>,
    pub(crate) encryption_keys: Rc<RefCell<String>>,
    /// `SUBREQUESTS`, if the operator has set it.
    pub(crate) subrequests: Rc<Cell<Option<i64>>>,
    /// `CHECK_BATCH`, if the operator has set it.
    pub(crate) check_batch: Rc<Cell<Option<i64>>>,
    /// `RESEAL_BATCH`, if the operator has set it.
    pub(crate) reseal_batch: Rc<Cell<Option<i64>>>,
    pub(crate) random: Rc<SeededRandom>,
    /// `ERASE_BATCH`, if the operator has set it.
    pub(crate) erase_batch: Rc<Cell<Option<i64>>>,
    /// `AUDIT_READS` and `AUDIT_DAYS`, if the operator has set them.
    pub(crate) audit: Rc<Cell<(Option<&'static str>, Option<i64>)>>,
    /// `ACCESS_TEAM_DOMAIN`, `ACCESS_AUDIENCE`, `ACCESS_WORKSPACE` and `ACCESS_ADMIN_GROUPS`, if the operator has set them.
    pub(crate) access: Rc<RefCell<Option<[String; 4]>>>,
    /// `ACCESS_DOMAINS`, if the operator has set it.
    pub(crate) access_domains: Rc<RefCell<Option<String>>>,
    /// The subrequest limit. `None`: that of the free plan.
    pub(crate) subrequest_limit: Rc<Cell<Option<u32>>>,
    /// How often each thing happened. A test switches it on.
    pub(crate) rate_counts: Rc<RateCounts>,
    /// The queue of scheduled runs. A test binds it.
    pub(crate) queue: Rc<TestQueue>,
    /// The data points of metrics. A test binds the data set.
    pub(crate) metrics: Rc<TestMetrics>,
    /// The service that sends e-mail. A test binds it.
    pub(crate) mail: Rc<TestMail>,
    objects: Rc<RefresherObjects>,
    pub(crate) recorder: Rc<Recorder>,
    /// The owner of this Worker's tasks.
    owner: TaskOwner,
    /// The memory of one isolate. `None`: every invocation has a new isolate.
    isolate_cache: Option<Rc<RefCell<Rc<IsolateCache>>>>,
    refresh_mode: RefreshMode,
}

impl World {
    /// A new world. With a seed, tasks run in a drawn order.
    pub(crate) fn new(way: RefreshMode, seed: Option<u64>) -> Self {
        let runtime = Runtime::new(START, seed);
        let recorder: Rc<Recorder> = Rc::default();
        Self {
            db: Rc::new(TestDatabase::new()),
            more_databases: vec![],
            shard: Shard::FIRST,
            closed_databases: Rc::default(),
            cache: Rc::default(),
            acme: Rc::new(Acme::new(runtime.clone(), Rc::clone(&recorder))),
            log: Rc::default(),
            kept_writes: Rc::default(),
            encryption_keys: Rc::new(RefCell::new(ENCRYPTION_KEYS.to_owned())),
            subrequests: Rc::default(),
            check_batch: Rc::default(),
            reseal_batch: Rc::default(),
            erase_batch: Rc::default(),
            audit: Rc::default(),
            access: Rc::default(),
            access_domains: Rc::default(),
            subrequest_limit: Rc::default(),
            rate_counts: Rc::default(),
            queue: Rc::default(),
            metrics: Rc::default(),
            mail: Rc::default(),
            random: Rc::new(SeededRandom::new(seed.unwrap_or(1))),
            objects: Rc::default(),
            recorder,
            owner: NO_OWNER,
            isolate_cache: None,
            refresh_mode: way,
            runtime,
        }
    }

    /// The same over another database.
    pub(crate) fn over(self, db: TestDatabase) -> Self {
        Self { db: Rc::new(db), ..self }
    }

    /// The same with so many databases.
    pub(crate) fn with_databases(self, count: usize) -> Self {
        Self { more_databases: (1..count).map(|_| Rc::new(TestDatabase::new())).collect(), ..self }
    }

    /// Its databases, in the order of their numbers.
    pub(crate) fn databases(&self) -> Vec<Rc<TestDatabase>> {
        std::iter::once(&self.db).chain(&self.more_databases).cloned().collect()
    }

    /// The same world, whose invocations begin in another shard.
    pub(crate) fn in_shard(&self, number: u16) -> Self {
        Self { shard: Shard::new(number).unwrap(), ..self.clone() }
    }

    /// A second deployment over the same database: its own objects with their pending writes, its own way to refresh.
    pub(crate) fn second_deployment(&self, way: RefreshMode) -> Self {
        Self { objects: Rc::default(), kept_writes: Rc::default(), refresh_mode: way, ..self.clone() }
    }

    /// This Worker as a separate process that can be killed.
    pub(crate) fn with_owner(&self, owner: TaskOwner) -> Self {
        Self { owner, ..self.clone() }
    }

    /// Runs a future as a part of this Worker. It ends when the Worker is killed.
    pub(crate) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        self.runtime.spawn_owned(self.owner, future)
    }

    /// Kills the process with everything it does, and starts a new one. Pending writes of its objects stay.
    pub(crate) fn kill_process(&self) -> usize {
        self.replace_objects();
        self.runtime.kill_owned_by(self.owner)
    }

    /// The objects move: new callers find new ones, while the old ones still run.
    pub(crate) fn replace_objects(&self) {
        self.objects.0.borrow_mut().clear();
    }

    /// A deployment with other keys over the same database, in parallel to this one.
    pub(crate) fn second_deployment_with_keys(&self, keys: &str) -> Self {
        Self { encryption_keys: Rc::new(RefCell::new(keys.to_owned())), ..self.second_deployment(self.refresh_mode) }
    }

    /// All invocations run in one isolate, which keeps its memory.
    pub(crate) fn in_one_isolate(&self) -> Self {
        Self { isolate_cache: Some(Rc::default()), ..self.clone() }
    }

    /// The isolate ends. The next invocation has one without memory.
    pub(crate) fn evict(&self) {
        if let Some(isolate_cache) = &self.isolate_cache {
            isolate_cache.take();
        }
    }

    /// A new invocation with the full subrequest limit.
    pub(crate) fn context(&self) -> Invocation {
        let meter = Rc::new(SubrequestBudget::with_limit(self.subrequest_limit.get()));
        self.context_with(self.refresh_mode, &self.objects, &meter)
    }

    fn context_with(
        &self,
        way: RefreshMode,
        objects: &Rc<RefresherObjects>,
        meter: &Rc<SubrequestBudget>,
    ) -> Invocation {
        let (runtime, meter) = (self.runtime.clone(), Rc::clone(meter));
        let limiter = RateLimiterPort { counts: Rc::clone(&self.rate_counts), runtime: runtime.clone() };
        let refresher =
            RefresherPort { mode: way, world: self.clone(), objects: Rc::clone(objects), budget: Rc::clone(&meter) };
        let strand = Rc::new(InvocationRecorder::new(&self.recorder, &runtime));
        let databases = std::iter::once(&self.db).chain(&self.more_databases).map(|database| {
            let port = DatabasePort {
                database: Rc::clone(database),
                budget: Rc::clone(&meter),
                recorder: Rc::clone(&strand),
                runtime: runtime.clone(),
            };
            Rc::new(Timeout::new(port, runtime.clone()))
        });
        let databases = databases.collect();
        let copies = CachePort { cache: Rc::clone(&self.cache), budget: Rc::clone(&meter), runtime: runtime.clone() };
        let ports = TestPorts {
            guard: InvocationGuard(Rc::clone(&strand)),
            databases,
            cache: Timeout::new(copies, runtime.clone()),
            http: HttpPort {
                acme: Rc::clone(&self.acme),
                budget: Rc::clone(&meter),
                recorder: strand,
                runtime: runtime.clone(),
            },
            clock: runtime,
            random: Rc::clone(&self.random),
            signer: SignerPort,
            log: LogPort(Rc::clone(&self.log)),
            refresher,
            pending_writes: PendingWritesPort {
                kept_writes: Rc::clone(&self.kept_writes),
                recorder: Rc::clone(&self.recorder),
            },
            limiter,
            queue: QueuePort { queue: Rc::clone(&self.queue), budget: Rc::clone(&meter) },
            metrics: MetricsPort { metrics: Rc::clone(&self.metrics), runtime: self.runtime.clone() },
            mailer: MailPort { mail: Rc::clone(&self.mail), runtime: self.runtime.clone(), budget: Rc::clone(&meter) },
            isolate_cache: self
                .isolate_cache
                .as_ref()
                .map(|isolate_cache| Rc::clone(&isolate_cache.borrow()))
                .unwrap_or_default(),
            budget: meter,
        };
        let context = Context::new(ports, Rc::new(self.config())).unwrap();
        Rc::new(context.in_shard(self.shard).unwrap())
    }

    pub(crate) fn config(&self) -> Config {
        Config::parse(&EnvVariables {
            public_url: Some("https://c.example.com".into()),
            encryption_keys: Some(self.encryption_keys.borrow().clone()),
            admin_key: Some("abcdefghijklmnopqrstuvwxyz0123456789".into()),
            subrequests: self.subrequests.get().map(|number| number.to_string()),
            check_batch: self.check_batch.get().map(|number| number.to_string()),
            reseal_batch: self.reseal_batch.get().map(|number| number.to_string()),
            erase_batch: self.erase_batch.get().map(|number| number.to_string()),
            audit_reads: self.audit.get().0.map(str::to_owned),
            audit_days: self.audit.get().1.map(|number| number.to_string()),
            access_team_domain: self.access.borrow().as_ref().map(|access| access[0].clone()),
            access_audience: self.access.borrow().as_ref().map(|access| access[1].clone()),
            access_workspace: self.access.borrow().as_ref().map(|access| access[2].clone()),
            access_admin_groups: self.access.borrow().as_ref().map(|access| access[3].clone()),
            access_domains: self.access_domains.borrow().clone(),
            closed_databases: self.closed_databases.borrow().clone(),
            email_from: self.mail.bound.get().then(|| "connections@example.com".to_owned()),
            ..EnvVariables::default()
        })
        .unwrap()
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_unix(self.runtime.now())
    }

    /// Lets seconds pass.
    pub(crate) fn advance_clock(&self, seconds: i64) {
        self.runtime.advance_clock(seconds);
    }

    /// Runs a future to its end.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.run(future)
    }

    /// Runs many futures at once, each in its own task, and returns their results in order.
    pub(crate) fn run_concurrently<T: 'static, F: Future<Output = T> + 'static>(
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

    /// A refresh in its own invocation.
    pub(crate) fn run_refresher(
        &self,
        id: &ConnectionId,
        reason: RefreshReason,
    ) -> impl Future<Output = RefreshOutcome> + 'static {
        let (context, id) = (self.context(), id.clone());
        async move { context.ports.refresher().run(&id, reason).await }
    }
}
