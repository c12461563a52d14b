//! How often a caller may call: answers 429 with `Retry-After` and `RateLimit-Policy`, and no counts.
//!
//! Three limits, each for a minute:
//!
//! - **Failed authentication, by address.** Only credentials that turned out wrong count. An address that is over the
//!   limit is refused before its credential is compared, so that a right guess among many wrong ones is not confirmed.
//!   A key's public id is never counted, so nobody can lock a key's owner out.
//! - **Calls, by key.** Counted after the answer was sent: a resolve waits for nothing but the database. A key that is
//!   over the limit is refused from memory, before the database is read.
//! - **Costly calls, by key or signed-in user.** Counted before the handler runs: these create rows or send requests to
//!   apps.

use std::net::{IpAddr, Ipv6Addr};

use super::routes::{Auth, Found, Handler, Line};
use super::{Call, Request, Response, session};
use crate::caller::{PresentedKey, hash};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ports::{Ports, RateLimit, RateLimiter};
use crate::resolve::After;
use crate::store::sessions::Session;

/// Seconds an address is refused after too many failed authentications.
const ADDRESS_PAUSE: i64 = 60;
/// One in so many repetitions of the same wrong credential counts: a program with a revoked key does not guess.
const REPEATS: u32 = 10;
/// The address of a caller that the platform does not name.
const NO_ADDRESS: &str = "unknown";

/// The refusal.
fn too_many(limit: RateLimit, seconds: i64) -> Error {
    let detail = match limit {
        RateLimit::FailedAuthentication => {
            "Too many wrong credentials came from this address. Wait as long as Retry-After says, then send the right one."
        }
        RateLimit::Calls => "This key makes too many calls. Wait as long as Retry-After says, then go on more slowly.",
        RateLimit::CostlyCalls => {
            "Too many calls that create things or ask apps. Wait as long as Retry-After says, then go on more slowly."
        }
    };
    Error::new(Code::RateLimited, detail).hint(|h| {
        h.retry_after = Some(seconds.max(1));
        h.rate_limit = Some(limit);
        h.for_people = Some("That was too often in a short time. Wait a minute, then try again.".into());
    })
}

/// The credential that a call presents on this route.
fn presented<'a>(route: &Line, call: &Call<'a>) -> Option<&'a str> {
    match route.auth {
        Auth::Operator => call.request.bearer(),
        Auth::Key(_) | Auth::Itself => call.request.bearer().filter(|_| call.presented.is_some()),
        Auth::Browser if route.path.ends_with("/{token}") => call.request.path.rsplit('/').next(),
        Auth::Nobody | Auth::Browser | Auth::Person(_) => None,
    }
}

/// The caller's address. An IPv6 network of 64 bits is one caller: it has more addresses than can be counted.
fn address(request: &Request) -> String {
    match request.header("cf-connecting-ip").map(|text| text.trim().parse()) {
        Some(Ok(IpAddr::V6(ip))) => match ip.to_ipv4_mapped() {
            Some(ip) => ip.to_string(),
            None => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).to_string(),
        },
        Some(Ok(ip)) => ip.to_string(),
        Some(Err(_)) | None => NO_ADDRESS.to_owned(),
    }
}

fn of_address(request: &Request) -> String {
    format!("address {}", address(request))
}

/// Refuses a caller that is known to be over a limit, before its credential is compared.
pub(super) fn refuse_blocked<P: Ports>(core: &Core<P>, route: &Line, call: &Call<'_>) -> Result<()> {
    if presented(route, call).is_none() {
        return Ok(());
    }
    let blocked = |name: &str| core.ports.memo().blocked_for(name, core.now());
    if let Some(seconds) = blocked(&of_address(call.request)) {
        return Err(too_many(RateLimit::FailedAuthentication, seconds));
    }
    // A link's token stands in the path, and is no key.
    let key = call.presented.as_ref().filter(|_| route.auth != Auth::Browser);
    match key.and_then(|key| blocked(&key.caller())) {
        Some(seconds) => Err(too_many(RateLimit::Calls, seconds)),
        None => Ok(()),
    }
}

/// Counts a credential that turned out wrong. Answers the error to send.
pub(super) async fn count_failure<P: Ports>(core: &Core<P>, route: &Line, call: &Call<'_>, error: Error) -> Error {
    let Some(credential) = presented(route, call) else { return error };
    if !matches!(error.code, Code::Unauthorized | Code::LinkEnded) {
        return error;
    }
    let (address, now, memo) = (of_address(call.request), core.now(), core.ports.memo());
    if memo.times_refused(&address, &hash(credential), now) % REPEATS != 1
        || core.ports.rate_limiter().allows(RateLimit::FailedAuthentication, &address).await
    {
        return error;
    }
    memo.block(&address, now.plus(ADDRESS_PAUSE), now);
    too_many(RateLimit::FailedAuthentication, ADDRESS_PAUSE)
}

/// Counts a costly call, by whoever makes it.
pub(super) async fn count_costly<P: Ports>(core: &Core<P>, route: &Line, call: &Call<'_>) -> Result<()> {
    if !is_costly(route.handler) {
        return Ok(());
    }
    let who = match (&call.key, call.session.as_ref()) {
        (Some(key), _) => format!("key {}", key.id.as_str()),
        (None, Some(session)) => of_session(session),
        (None, None) => of_address(call.request),
    };
    let limit = RateLimit::CostlyCalls;
    if core.ports.rate_limiter().allows(limit, &who).await { Ok(()) } else { Err(too_many(limit, limit.seconds())) }
}

/// A person is one caller in all of their browsers.
fn of_session(session: &Session) -> String {
    session::user_of(session).map_or_else(
        |_| format!("session {}", session.hash),
        |user| format!("user {} {}", session.workspace, hash(&user.id)),
    )
}

/// Whether a call creates something or sends requests to an app.
fn is_costly(handler: Handler) -> bool {
    matches!(
        handler,
        Handler::CreateKey
            | Handler::CreateApp
            | Handler::PutApp
            | Handler::PutClient
            | Handler::TestClient
            | Handler::CreateConnection
            | Handler::PutCredential
            | Handler::CheckConnection
            | Handler::CreateLink
            | Handler::CreateSignInLink
            | Handler::UseLink
            | Handler::UseAgain
            | Handler::Start
            | Handler::Reconnect
            | Handler::CheckNow
            | Handler::SignIn
    )
}

/// Has a call of a valid key counted, after its answer.
pub(super) fn count_call(found: &Found, presented: Option<PresentedKey>, response: &mut Response) {
    let Found::Route { line, .. } = found else { return };
    if !matches!(line.auth, Auth::Key(_) | Auth::Itself) || matches!(response.status, 401 | 429 | 500..) {
        return;
    }
    if let Some(key) = presented {
        response.after.push(After::CountCall(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Body, Method};

    fn from(address: Option<&str>) -> String {
        let headers = address.map(|address| ("cf-connecting-ip".to_owned(), address.to_owned()));
        let request = Request {
            method: Method::Get,
            path: "/".into(),
            query: String::new(),
            headers: headers.into_iter().collect(),
            body: Body::Bytes(vec![]),
            id: "r".into(),
        };
        super::address(&request)
    }

    #[test]
    fn a_callers_address_is_its_ipv4_address_or_its_ipv6_network() {
        assert_eq!(from(Some("192.0.2.7")), "192.0.2.7");
        assert_eq!(from(Some("::ffff:192.0.2.7")), "192.0.2.7");
        assert_eq!(from(Some("2001:db8:1:2:3:4:5:6")), from(Some("2001:db8:1:2:ffff::1")));
        assert_ne!(from(Some("2001:db8:1:2::1")), from(Some("2001:db8:1:3::1")));
        assert_eq!(from(None), from(Some("rubbish")));
    }
}
