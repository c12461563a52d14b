//! How often a caller may call: answers 429 with `Retry-After` and `RateLimit-Policy`, and no counts.
//!
//! Four limits, each for a minute:
//!
//! - **Failed authentication, by address.** Only credentials that turned out wrong count. An address that is over the
//!   limit is refused before its credential is compared, so that a right guess among many wrong ones is not confirmed.
//!   A key's public id is never counted, so nobody can lock a key's owner out.
//! - **Calls, by key.** One in a hundred is counted, and stands for a hundred. Counted after the answer was sent: a resolve waits for
//!   nothing but the database. A key that is over the limit is refused from memory, before the database is read.
//! - **Costly calls, by key or signed-in user.** Counted before the handler runs: these create rows or send requests to
//!   apps.
//! - **Events of apps, by address.** Counted before the database is read: who sends them is known only afterwards.

use std::net::{IpAddr, Ipv6Addr};

use super::routes::{Handler, RequiredAuth, RouteEntry, RouteMatch};
use super::{Call, Request, Response, browser_session};
use crate::caller::{PresentedKey, hash_secret};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::{Ports, RateLimit, RateLimiter};
use crate::resolve::DeferredTask;
use crate::store::sessions::Session;

/// Seconds an address is refused after too many failed authentications.
const ADDRESS_BLOCK_SECONDS: i64 = 60;
/// One in this many repetitions of the same wrong credential counts, because a program with a revoked key does not
/// guess.
const REPEATS_PER_COUNT: u32 = 10;
/// The address of a caller if the platform does not provide it.
const UNKNOWN_ADDRESS: &str = "unknown";

/// The refusal.
fn rate_limited_error(limit: RateLimit, seconds: i64) -> Error {
    let detail = match limit {
        RateLimit::FailedAuthentication => {
            "Too many wrong credentials came from this address. Wait as long as Retry-After says, then send the right one."
        }
        RateLimit::Calls => "This key makes too many calls. Wait for Retry-After, then call less often.",
        RateLimit::ProxiedRequests => {
            "Too many requests go through this connection. Wait for Retry-After, then send fewer."
        }
        RateLimit::AppEvents => "Too many events come from this address. Send this one again after Retry-After.",
        RateLimit::CostlyCalls => {
            "Too many calls that create something or send a request to an app. Wait for Retry-After, then call less often."
        }
    };
    Error::new(ErrorCode::RateLimited, detail).with_hints(|h| {
        h.retry_after = Some(seconds.max(1));
        h.rate_limit = Some(limit);
        h.for_people = Some("Too many requests. Wait a minute, then try again.".into());
    })
}

/// The credential that a call presents on this route.
fn presented_credential<'a>(route: &RouteEntry, call: &Call<'a>) -> Option<&'a str> {
    match route.auth {
        RequiredAuth::Operator => call.request.bearer_token(),
        RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_) => {
            call.request.bearer_token().filter(|_| call.presented_key.is_some())
        }
        RequiredAuth::Browser | RequiredAuth::Holder if route.path.ends_with("/{token}") => {
            call.request.path.rsplit('/').next()
        }
        RequiredAuth::Public
        | RequiredAuth::Browser
        | RequiredAuth::Holder
        | RequiredAuth::User(_)
        | RequiredAuth::App => None,
    }
}

/// The caller's address, if the platform provides it. An IPv6 network of 64 bits is one caller, because it has too many
/// addresses to count.
pub(super) fn caller_address(request: &Request) -> Option<String> {
    match request.header("cf-connecting-ip")?.trim().parse() {
        Ok(IpAddr::V6(ip)) => Some(match ip.to_ipv4_mapped() {
            Some(ip) => ip.to_string(),
            None => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).to_string(),
        }),
        Ok(IpAddr::V4(ip)) => Some(ip.to_string()),
        Err(_) => None,
    }
}

fn address_counter(request: &Request) -> String {
    format!("address {}", caller_address(request).unwrap_or_else(|| UNKNOWN_ADDRESS.to_owned()))
}

/// Refuses a caller that is over a limit, before its credential is compared.
pub(super) fn refuse_blocked<P: Ports>(context: &Context<P>, route: &RouteEntry, call: &Call<'_>) -> Result<()> {
    if presented_credential(route, call).is_none() {
        return Ok(());
    }
    let blocked = |name: &str| context.ports.isolate_cache().blocked_seconds(name, context.now());
    if let Some(seconds) = blocked(&address_counter(call.request)) {
        return Err(rate_limited_error(RateLimit::FailedAuthentication, seconds));
    }
    // A link's token is in the path, and is not a key.
    let key =
        call.presented_key.as_ref().filter(|_| !matches!(route.auth, RequiredAuth::Browser | RequiredAuth::Holder));
    match key.and_then(|key| blocked(&key.rate_limit_key())) {
        Some(seconds) => Err(rate_limited_error(RateLimit::Calls, seconds)),
        None => Ok(()),
    }
}

/// Counts a wrong credential. Returns the error to send.
pub(super) async fn count_failed_authentication<P: Ports>(
    context: &Context<P>,
    route: &RouteEntry,
    call: &Call<'_>,
    error: Error,
) -> Error {
    let Some(credential) = presented_credential(route, call) else { return error };
    if !matches!(error.code, ErrorCode::Unauthorized | ErrorCode::LinkEnded) {
        return error;
    }
    let (address, now, isolate_cache) = (address_counter(call.request), context.now(), context.ports.isolate_cache());
    if isolate_cache.count_refusal(&address, &hash_secret(credential), now) % REPEATS_PER_COUNT != 1
        || context.ports.rate_limiter().allows(RateLimit::FailedAuthentication, &address).await
    {
        return error;
    }
    isolate_cache.block_caller(&address, now.plus(ADDRESS_BLOCK_SECONDS), now);
    rate_limited_error(RateLimit::FailedAuthentication, ADDRESS_BLOCK_SECONDS)
}

/// Counts an event of an app, before anything is read for it.
pub(super) async fn count_app_event<P: Ports>(context: &Context<P>, request: &Request) -> Result<()> {
    let limit = RateLimit::AppEvents;
    if context.ports.rate_limiter().allows(limit, &address_counter(request)).await {
        Ok(())
    } else {
        Err(rate_limited_error(limit, limit.seconds()))
    }
}

/// Counts an expensive call for its caller.
pub(super) async fn count_costly_call<P: Ports>(
    context: &Context<P>,
    route: &RouteEntry,
    call: &Call<'_>,
) -> Result<()> {
    if !is_costly(route.handler) {
        return Ok(());
    }
    let who = match (&call.caller_key, call.session.as_ref()) {
        (Some(key), _) => format!("key {}", key.id.as_str()),
        (None, Some(session)) => session_counter(session),
        (None, None) => address_counter(call.request),
    };
    let limit = RateLimit::CostlyCalls;
    if context.ports.rate_limiter().allows(limit, &who).await {
        Ok(())
    } else {
        Err(rate_limited_error(limit, limit.seconds()))
    }
}

/// A person is one caller in all of their browsers.
fn session_counter(session: &Session) -> String {
    browser_session::require_user(session).map_or_else(
        |_| format!("session {}", session.hash),
        |user| format!("user {} {}", session.workspace, hash_secret(&user.id)),
    )
}

/// Whether a call creates something or sends requests to an app.
fn is_costly(handler: Handler) -> bool {
    matches!(
        handler,
        Handler::CreateKey
            | Handler::CreateApp
            | Handler::UpdateApp
            | Handler::PutClient
            | Handler::TestClient
            | Handler::CreateConnection
            | Handler::ReplaceCredential
            | Handler::CheckConnection
            | Handler::ReportRefusedToken
            | Handler::CreateLink
            | Handler::DisconnectAll
            | Handler::CreateSignInLink
            | Handler::SubmitConnectLink
            | Handler::SubmitRetry
            | Handler::SubmitConnect
            | Handler::SubmitReconnect
            | Handler::SubmitCheck
            | Handler::SubmitBulk
            | Handler::SignIn
            | Handler::HandleSignInCallback
            | Handler::PutIdentityProvider
            | Handler::SubmitClient
            | Handler::SubmitTry
            | Handler::SubmitWebhook
            | Handler::SubmitWebhookTest
            | Handler::SubmitRedelivery
            | Handler::SubmitEmailTest
            | Handler::SubmitApp
            | Handler::SubmitAppChange
            | Handler::SubmitProvider
            | Handler::SubmitDisconnectAll
            | Handler::SubmitClientTest
            | Handler::SubmitKey
            | Handler::SubmitLink
            | Handler::SubmitInvitation
            | Handler::CreateWebhook
            | Handler::TestWebhook
            | Handler::RedeliverEvent
    )
}

/// Has a call of a valid key counted, after its answer: one in a few, which stands for them all.
pub(super) fn count_call<P: Ports>(
    context: &Context<P>,
    found: &RouteMatch,
    presented: Option<PresentedKey>,
    response: &mut Response,
) {
    let RouteMatch::Matched { route: line, .. } = found else { return };
    if !matches!(line.auth, RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_))
        || response.passes.is_none() && matches!(response.status, 401 | 429 | 500..)
    {
        return;
    }
    let isolate_cache = context.ports.isolate_cache();
    if let Some(key) = presented
        && isolate_cache.is_counted_call(&key.id, RateLimit::Calls.sampling())
    {
        response.deferred.push(DeferredTask::CountCall(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Body, Method};

    fn address_from_header(address: Option<&str>) -> Option<String> {
        let headers = address.map(|address| ("cf-connecting-ip".to_owned(), address.to_owned()));
        let request = Request {
            method: Method::Get,
            path: "/".into(),
            query: String::new(),
            headers: headers.into_iter().collect(),
            body: Body::Bytes(vec![]),
            id: "r".into(),
        };
        super::caller_address(&request)
    }

    #[test]
    fn a_callers_address_is_its_ipv4_address_or_its_ipv6_network() {
        assert_eq!(address_from_header(Some("192.0.2.7")).as_deref(), Some("192.0.2.7"));
        assert_eq!(address_from_header(Some("::ffff:192.0.2.7")).as_deref(), Some("192.0.2.7"));
        assert_eq!(
            address_from_header(Some("2001:db8:1:2:3:4:5:6")),
            address_from_header(Some("2001:db8:1:2:ffff::1"))
        );
        assert_ne!(address_from_header(Some("2001:db8:1:2::1")), address_from_header(Some("2001:db8:1:3::1")));
        assert_eq!(address_from_header(None), address_from_header(Some("rubbish")));
    }
}
