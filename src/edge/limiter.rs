//! The rate limiter port over the platform's rate limiting bindings. Without a binding, or if it fails, everything is
//! allowed.

use worker::{Env, RateLimiter as Binding};

use crate::ports::{RateLimit, RateLimiter};
use crate::timeout::with_timeout;

use super::system::SystemClock;

/// How long to wait for a binding, in milliseconds.
const LONGEST_WAIT: u32 = 500;

pub(crate) struct RateLimiterBindings {
    failed_authentication: Option<Binding>,
    calls: Option<Binding>,
    costly_calls: Option<Binding>,
    proxied_requests: Option<Binding>,
    app_events: Option<Binding>,
}

impl RateLimiterBindings {
    pub(super) fn bind(env: &Env) -> Self {
        let binding = |limit: RateLimit| env.rate_limiter(limit.binding()).ok();
        Self {
            failed_authentication: binding(RateLimit::FailedAuthentication),
            calls: binding(RateLimit::Calls),
            costly_calls: binding(RateLimit::CostlyCalls),
            proxied_requests: binding(RateLimit::ProxiedRequests),
            app_events: binding(RateLimit::AppEvents),
        }
    }
}

impl RateLimiter for RateLimiterBindings {
    async fn allows(&self, limit: RateLimit, key: &str) -> bool {
        let binding = match limit {
            RateLimit::FailedAuthentication => &self.failed_authentication,
            RateLimit::Calls => &self.calls,
            RateLimit::CostlyCalls => &self.costly_calls,
            RateLimit::ProxiedRequests => &self.proxied_requests,
            RateLimit::AppEvents => &self.app_events,
        };
        let Some(binding) = binding else { return true };
        let answer = with_timeout(&SystemClock, LONGEST_WAIT, binding.limit(key.to_owned())).await;
        !matches!(answer, Some(Ok(outcome)) if !outcome.success)
    }
}
