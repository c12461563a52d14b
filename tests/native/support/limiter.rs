//! The in-memory counterpart of the platform's rate limiter: windows of a minute, by the clock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::ports::{RateLimit, RateLimiter};

use super::runtime::Runtime;

/// The counts. All clones share them.
#[derive(Default)]
pub(crate) struct RateCounts {
    /// Whether the limiter is on. Without it everything is allowed, as without the bindings.
    pub(crate) enabled: Cell<bool>,
    counted: RefCell<BTreeMap<(RateLimit, String, i64), i64>>,
}

impl RateCounts {
    /// How often something was counted, with any key and in any minute.
    pub(crate) fn count_calls(&self, limit: RateLimit) -> i64 {
        self.counted.borrow().iter().filter(|((counted, _, _), _)| *counted == limit).map(|(_, times)| times).sum()
    }
}

/// A handle on the counts.
pub(crate) struct RateLimiterPort {
    pub(crate) counts: Rc<RateCounts>,
    pub(crate) runtime: Runtime,
}

impl RateLimiter for RateLimiterPort {
    async fn allows(&self, limit: RateLimit, key: &str) -> bool {
        if !self.counts.enabled.get() {
            return true;
        }
        self.runtime.yield_now().await;
        let window = self.runtime.now() / limit.seconds();
        let mut counted = self.counts.counted.borrow_mut();
        let times = counted.entry((limit, key.to_owned(), window)).or_insert(0);
        *times += 1;
        *times <= limit.binding_limit()
    }
}
