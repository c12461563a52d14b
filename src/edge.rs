//! The edge: the only code that names `worker::`. Compiled for wasm32 only.
//!
//! Owns the translation between the platform and the context: bindings to ports, requests to plain structs and back,
//! and the entry points. Makes no decisions.

mod convert;
mod d1;
mod email;
mod fetch;
mod glue;
mod kv;
mod limiter;
mod metrics;
mod promises;
mod queue;
mod refresher;
mod signer;
mod system;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use worker::web_sys::{Request, Response};
use worker::{Context as WorkerContext, Env, MessageBatch, ScheduleContext, ScheduledEvent, event};

use crate::config::{Config, EnvVariables, count_databases};
use crate::context::Context;
use crate::error::Result;
use crate::http;
use crate::ids::Shard;
use crate::isolate_cache::IsolateCache;
use crate::maintenance;
use crate::ports::Ports;
use crate::queued_runs;
use crate::resolve::deferred;
use crate::time::Timestamp;

use d1::D1;
use email::EmailBinding;
use fetch::FetchClient;
use kv::Kv;
use limiter::RateLimiterBindings;
use metrics::AnalyticsEngine;
use queue::QueueBinding;
use refresher::{PendingWritesBinding, RefresherBinding};
use signer::WebCrypto;
use system::{ConsoleLog, SystemClock, SystemRandom};

/// What an isolate is configured with and bound to. A changed variable or binding is a new deployment, and that starts
/// new isolates: so this is read once.
struct WorkerBindings {
    config: Rc<Config>,
    /// By the number of their shard.
    databases: Vec<Rc<D1>>,
    cache: Kv,
    limiter: RateLimiterBindings,
    queue: QueueBinding,
    metrics: AnalyticsEngine,
    email: EmailBinding,
}

/// The ports over Workers.
pub(crate) struct WorkerPorts {
    environment: Rc<WorkerBindings>,
    http: FetchClient,
    clock: SystemClock,
    random: SystemRandom,
    signer: WebCrypto,
    log: ConsoleLog,
    refresher: RefresherBinding,
    pending_writes: PendingWritesBinding,
    isolate_cache: Rc<IsolateCache>,
}

impl Ports for WorkerPorts {
    type Database = D1;
    type Cache = Kv;
    type Http = FetchClient;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Signer = WebCrypto;
    type Log = ConsoleLog;
    type Refresher = RefresherBinding;
    type PendingWrites = PendingWritesBinding;
    type RateLimiter = RateLimiterBindings;
    type RunQueue = QueueBinding;
    type Metrics = AnalyticsEngine;
    type Mailer = EmailBinding;

    fn database(&self, shard: Shard) -> Option<Rc<Self::Database>> {
        self.environment.databases.get(usize::from(shard.number())).cloned()
    }
    fn cache(&self) -> &Self::Cache {
        &self.environment.cache
    }
    fn http(&self) -> &FetchClient {
        &self.http
    }
    fn clock(&self) -> &SystemClock {
        &self.clock
    }
    fn random(&self) -> &SystemRandom {
        &self.random
    }
    fn signer(&self) -> &WebCrypto {
        &self.signer
    }
    fn log(&self) -> &ConsoleLog {
        &self.log
    }
    fn refresher(&self) -> &RefresherBinding {
        &self.refresher
    }
    fn pending_writes(&self) -> &PendingWritesBinding {
        &self.pending_writes
    }
    fn rate_limiter(&self) -> &RateLimiterBindings {
        &self.environment.limiter
    }
    fn run_queue(&self) -> &QueueBinding {
        &self.environment.queue
    }
    fn metrics(&self) -> &AnalyticsEngine {
        &self.environment.metrics
    }
    fn mailer(&self) -> &EmailBinding {
        &self.environment.email
    }
    fn isolate_cache(&self) -> &IsolateCache {
        &self.isolate_cache
    }
}

thread_local! {
    /// Plain data: it may outlive a request. I/O objects may not.
    static ISOLATE_CACHE: Rc<IsolateCache> = Rc::new(IsolateCache::default());
    static ENVIRONMENT: RefCell<Option<Rc<WorkerBindings>>> = const { RefCell::new(None) };
    static MAINTENANCE: Cell<Option<bool>> = const { Cell::new(None) };
}

/// What can't be used is read again at each request: that costs nothing that anybody waits for.
fn load_environment(env: &Env) -> Result<Rc<WorkerBindings>> {
    if let Some(known) = ENVIRONMENT.with_borrow(Clone::clone) {
        return Ok(known);
    }
    let config = Rc::new(Config::parse(&read_variables(env))?);
    let databases = bind_databases(env, &config)?;
    let (cache, limiter, queue) = (Kv::bind(env), RateLimiterBindings::bind(env), QueueBinding::bind(env));
    let (metrics, email) = (AnalyticsEngine::bind(env), EmailBinding::bind(env));
    let environment = Rc::new(WorkerBindings { config, databases, cache, limiter, queue, metrics, email });
    ENVIRONMENT.set(Some(environment.clone()));
    Ok(environment)
}

/// The databases, in the order of their numbers.
fn bind_databases(env: &Env, config: &Config) -> Result<Vec<Rc<D1>>> {
    let names = D1::names(env);
    let count = count_databases(&names, &config.closed_databases)?;
    let bound = (0..count).filter_map(|number| D1::bind(env, Shard::new(number)?));
    Ok(bound.map(Rc::new).collect())
}

/// The context over this environment's bindings.
fn build_context(
    env: &Env,
    refresher: RefresherBinding,
    pending_writes: PendingWritesBinding,
) -> Result<Context<WorkerPorts>> {
    let environment = load_environment(env)?;
    let config = environment.config.clone();
    let ports = WorkerPorts {
        environment,
        http: FetchClient,
        clock: SystemClock,
        random: SystemRandom,
        signer: WebCrypto,
        log: ConsoleLog,
        refresher,
        pending_writes,
        isolate_cache: ISOLATE_CACHE.with(Rc::clone),
    };
    Context::new(ports, config)
}

fn read_variable(env: &Env, name: &str) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string())
}

fn read_variables(env: &Env) -> EnvVariables {
    let text = |name| read_variable(env, name);
    EnvVariables {
        public_url: text("PUBLIC_URL"),
        encryption_keys: text("ENCRYPTION_KEYS"),
        admin_key: text("ADMIN_KEY"),
        dev_loopback: text("DEV_LOOPBACK"),
        subrequests: text("SUBREQUESTS"),
        check_batch: text("CHECK_BATCH"),
        reseal_batch: text("RESEAL_BATCH"),
        erase_batch: text("ERASE_BATCH"),
        audit_reads: text("AUDIT_READS"),
        audit_days: text("AUDIT_DAYS"),
        access_team_domain: text("ACCESS_TEAM_DOMAIN"),
        access_audience: text("ACCESS_AUDIENCE"),
        access_workspace: text("ACCESS_WORKSPACE"),
        access_domains: text("ACCESS_DOMAINS"),
        access_admin_groups: text("ACCESS_ADMIN_GROUPS"),
        closed_databases: text("CLOSED_DATABASES"),
        email_from: text("EMAIL_FROM"),
    }
}

/// Whether the operator is changing the database. An error if the variable is invalid.
fn maintenance(env: &Env) -> Result<bool> {
    if let Some(known) = MAINTENANCE.get() {
        return Ok(known);
    }
    let is_on = maintenance::is_on(read_variable(env, "MAINTENANCE").as_deref())?;
    MAINTENANCE.set(Some(is_on));
    Ok(is_on)
}

/// A request arrives. Deferred work runs after the answer.
#[event(fetch)]
async fn fetch_event(request: Request, env: Env, worker_context: WorkerContext) -> worker::Result<Response> {
    let worker_context = Rc::new(worker_context);
    let platform_request = request;
    let request = convert::request(&platform_request).await?;
    match maintenance(&env) {
        Ok(false) => {}
        Ok(true) => return convert::response(&http::respond_under_maintenance(&request)),
        Err(error) => return convert::response(&http::respond_misconfigured(&request, &error)),
    }
    let context =
        match build_context(&env, RefresherBinding::bind(&env, &worker_context), PendingWritesBinding::Unavailable) {
            Ok(context) => context,
            Err(error) => return convert::response(&http::respond_misconfigured(&request, &error)),
        };
    let context = Rc::new(context);
    let mut response = http::handle(&context, &request).await;
    run_deferred(&worker_context, &context, &mut response);
    let Some(plan) = response.passes.take() else { return convert::response(&response) };
    let body = convert::passing_body(&request, &platform_request);
    // In memory of its own: most requests do not pass through.
    let mut passed = Box::pin(http::proxy::pass(&context, &request, *plan, body)).await;
    run_deferred(&worker_context, &context, &mut passed.response);
    convert::passed(&passed)
}

/// Does what follows an answer, after it was sent.
fn run_deferred(worker_context: &WorkerContext, context: &Rc<Context<WorkerPorts>>, response: &mut http::Response) {
    let after = std::mem::take(&mut response.deferred);
    if !after.is_empty() {
        let context = Rc::clone(context);
        worker_context.wait_until(async move {
            for one in after {
                deferred::run(&context, one).await;
            }
        });
    }
}

/// A cron trigger fires.
#[event(scheduled)]
async fn scheduled_event(event: ScheduledEvent, env: Env, _: ScheduleContext) {
    match maintenance(&env) {
        Ok(false) => {}
        Ok(true) => return,
        Err(error) => return system::log_config_error(&error),
    }
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this era fit i64")]
    let scheduled_at = Timestamp::from_unix((event.schedule() / 1000.0) as i64);
    match build_context(&env, RefresherBinding::bind_without_context(&env), PendingWritesBinding::Unavailable) {
        Ok(context) => drop(queued_runs::run_event(&context, scheduled_at).await),
        Err(error) => system::log_config_error(&error),
    }
}

/// The queue delivers a message. It counts as delivered also if its run fails: the next event does what is left.
#[event(queue)]
async fn queue_event(batch: MessageBatch<()>, env: Env, _: WorkerContext) -> worker::Result<()> {
    match maintenance(&env) {
        Ok(false) => {}
        Ok(true) => return Ok(()),
        Err(error) => {
            system::log_config_error(&error);
            return Ok(());
        }
    }
    let Some(message) = queue::first_message(&batch) else { return Ok(()) };
    match build_context(&env, RefresherBinding::bind_without_context(&env), PendingWritesBinding::Unavailable) {
        Ok(context) => drop(queued_runs::run_message(&context, message).await),
        Err(error) => system::log_config_error(&error),
    }
    Ok(())
}
