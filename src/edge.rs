//! The edge: the only code that names `worker::`. Compiled for wasm32 only.
//!
//! Owns the translation between the platform and the core: bindings to ports, requests to plain
//! structs and back, and the entry points. Refuses decisions.

mod convert;
mod d1;
mod fetch;
mod kv;
mod limiter;
mod refresher;
mod signer;
mod system;

use std::rc::Rc;

use worker::{Context, Env, Request, Response, ScheduleContext, ScheduledEvent, event};

use crate::check;
use crate::config::{Config, Variables};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::http;
use crate::maintenance;
use crate::memo::Memo;
use crate::patience::Patient;
use crate::ports::Ports;
use crate::resolve::afterwards;
use crate::time::Timestamp;

use d1::D1;
use fetch::Fetch;
use kv::Kv;
use limiter::Limiter;
use refresher::{Boat, Route};
use signer::WebCrypto;
use system::{Console, SystemClock, SystemRandom};

/// The ports over Workers.
pub(crate) struct Edge {
    database: Patient<D1, SystemClock>,
    cache: Patient<Kv, SystemClock>,
    http: Fetch,
    clock: SystemClock,
    random: SystemRandom,
    signer: WebCrypto,
    log: Console,
    refresher: Route,
    lifeboat: Boat,
    limiter: Limiter,
    memo: Rc<Memo>,
}

impl Ports for Edge {
    type Database = Patient<D1, SystemClock>;
    type Cache = Patient<Kv, SystemClock>;
    type Http = Fetch;
    type Clock = SystemClock;
    type Random = SystemRandom;
    type Signer = WebCrypto;
    type Log = Console;
    type Refresher = Route;
    type Lifeboat = Boat;
    type RateLimiter = Limiter;

    fn database(&self) -> &Self::Database {
        &self.database
    }
    fn cache(&self) -> &Self::Cache {
        &self.cache
    }
    fn http(&self) -> &Fetch {
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
    fn log(&self) -> &Console {
        &self.log
    }
    fn refresher(&self) -> &Route {
        &self.refresher
    }
    fn lifeboat(&self) -> &Boat {
        &self.lifeboat
    }
    fn rate_limiter(&self) -> &Limiter {
        &self.limiter
    }
    fn memo(&self) -> &Memo {
        &self.memo
    }
}

thread_local! {
    /// Plain data: may outlive a request, where I/O objects may not.
    static MEMO: Rc<Memo> = Rc::new(Memo::default());
}

/// The core over this environment's bindings.
fn core(env: &Env, refresher: Route, lifeboat: Boat) -> Result<Core<Edge>> {
    let config = Config::parse(&variables(env))?;
    let database =
        D1::bind(env).map_err(|_| Error::misconfigured("The D1 binding DB is missing from wrangler.toml."))?;
    let ports = Edge {
        database: Patient::new(database, SystemClock),
        cache: Patient::new(Kv::bind(env), SystemClock),
        http: Fetch,
        clock: SystemClock,
        random: SystemRandom,
        signer: WebCrypto,
        log: Console,
        refresher,
        lifeboat,
        limiter: Limiter::bind(env),
        memo: MEMO.with(Rc::clone),
    };
    Ok(Core { ports, config })
}

fn variables(env: &Env) -> Variables {
    let text = |name: &str| env.var(name).ok().map(|value| value.to_string());
    Variables {
        public_url: text("PUBLIC_URL"),
        encryption_keys: text("ENCRYPTION_KEYS"),
        admin_key: text("ADMIN_KEY"),
        dev_loopback: text("DEV_LOOPBACK"),
        check_batch: text("CHECK_BATCH"),
        reseal_batch: text("RESEAL_BATCH"),
        erase_batch: text("ERASE_BATCH"),
    }
}

/// Whether the operator changes the database, or an error where that can't be read.
fn maintenance(env: &Env) -> Result<bool> {
    maintenance::is_on(env.var("MAINTENANCE").ok().map(|value| value.to_string()).as_deref())
}

/// A request comes in. What is to be done after the answer runs behind it.
#[event(fetch)]
async fn fetch_event(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let context = Rc::new(context);
    let request = convert::request(request).await?;
    match maintenance(&env) {
        Ok(false) => {}
        Ok(true) => return convert::response(http::under_maintenance(&request)),
        Err(error) => return convert::response(http::misconfigured(&request, &error)),
    }
    let core = match core(&env, Route::bind(&env, &context), Boat::None) {
        Ok(core) => core,
        Err(error) => return convert::response(http::misconfigured(&request, &error)),
    };
    let mut response = http::handle(&core, &request).await;
    let after = std::mem::take(&mut response.after);
    if !after.is_empty() {
        context.wait_until(async move {
            for one in after {
                afterwards::run(&core, one).await;
            }
        });
    }
    convert::response(response)
}

/// The clock strikes.
#[event(scheduled)]
async fn scheduled_event(event: ScheduledEvent, env: Env, _: ScheduleContext) {
    match maintenance(&env) {
        Ok(false) => {}
        Ok(true) => return,
        Err(error) => return system::complain(&error),
    }
    #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this era fit i64")]
    let scheduled_at = Timestamp::from_unix((event.schedule() / 1000.0) as i64);
    match core(&env, Route::bind_without_context(&env), Boat::None) {
        Ok(core) => {
            if let Err(error) = check::tick(&core, scheduled_at).await {
                core.log_cause(&error);
                core.log("error", "tick_failed", &serde_json::json!({ "code": error.code.as_str() }));
            }
        }
        Err(error) => system::complain(&error),
    }
}
