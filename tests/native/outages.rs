//! Outages of our own parts: what a resolve answers while D1 or KV fail, that nothing is lost, and that everything
//! works again afterwards.
//!
//! Owns the whole table, through HTTP, because callers act on the status and `Retry-After`.

use connections::connection::{Connection, ConnectionStatus};
use connections::http::{self, Body, Method, Request};
use connections::ids::ConnectionId;
use connections::ports::RefreshOutcome;
use connections::refresh;
use connections::resolve::deferred;
use serde_json::{Value, json};

use crate::support::{Fault, Fixture, RefreshMode, World, plain_tokens};

/// Half a minute: longer than any caller waits.
const SLOW_MS: i64 = 30_000;
const MODES: [&str; 3] = ["strong", "available", "edge"];
/// The state of the database.
const DATABASE_FAULTS: [Fault; 4] = [Fault::BeforeCommit, Fault::AfterCommit, Fault::Slow(SLOW_MS), Fault::NoAnswer];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CacheState {
    Up,
    Down,
    FindsNothing,
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenAge {
    Fresh,
    NearEnd,
    Expired,
}

/// What a caller got.
#[derive(Debug, PartialEq, Eq)]
enum ObservedResponse {
    /// 200, with `source` and `freshness`.
    Credential(String, String),
    /// Another status, with `code`.
    Refused(u16, String),
}

fn credential_response(source: &str, freshness: &str) -> ObservedResponse {
    ObservedResponse::Credential(source.to_owned(), freshness.to_owned())
}

fn database_unavailable_response() -> ObservedResponse {
    ObservedResponse::Refused(503, "database_unavailable".to_owned())
}

struct ResolveCall {
    observed: ObservedResponse,
    body: Value,
    retry_after: Option<i64>,
    /// Milliseconds until the answer.
    elapsed_ms: i64,
}

/// A resolve of a caller, with its deferred work.
fn call_resolve(fixture: &Fixture, id: &ConnectionId, mode: &str) -> ResolveCall {
    let request = Request {
        method: Method::Post,
        path: format!("/v1/connections/{id}/resolve"),
        query: String::new(),
        headers: vec![("authorization".into(), format!("Bearer {}", fixture.key_text.expose()))],
        body: Body::Bytes(json!({ "consistency": mode }).to_string().into_bytes()),
        id: "r".into(),
    };
    let context = fixture.world.context();
    let began = fixture.world.runtime.now_ms();
    let mut response = fixture.world.run(http::handle(&context, &request));
    let took = fixture.world.runtime.now_ms() - began;
    let after = std::mem::take(&mut response.deferred);
    fixture.world.run(async {
        for one in after {
            deferred::run(&context, one).await;
        }
    });
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let seen = match response.status {
        200 => ObservedResponse::Credential(text("source"), text("freshness")),
        status => ObservedResponse::Refused(status, text("code")),
    };
    ResolveCall {
        observed: seen,
        retry_after: response.header("retry-after").map(|text| text.parse().unwrap()),
        elapsed_ms: took,
        body,
    }
}

/// A connection with a cache entry, and with a token of the given age.
fn connect_and_cache(world: &World, token: TokenAge) -> (Fixture, ConnectionId) {
    let fixture = Fixture::in_world(world, &json!({}));
    let id = fixture.connect("ann");
    assert_eq!(call_resolve(&fixture, &id, "edge").observed, credential_response("database", "fresh"));
    assert_eq!(call_resolve(&fixture, &id, "edge").observed, credential_response("cache", "fresh"));
    match token {
        TokenAge::Fresh => {}
        TokenAge::NearEnd => {
            world.advance_clock(fixture.load_connection(&id).expires_at.unwrap().since(world.now()) - 100);
        }
        TokenAge::Expired => fixture.expire_access_token(&id),
    }
    (fixture, id)
}

fn break_cache(fixture: &Fixture, copies: CacheState) {
    fixture.world.cache.down.set(copies == CacheState::Down);
    fixture.world.cache.reads_find_nothing.set(copies == CacheState::FindsNothing);
    fixture.world.cache.delay_ms.set(if copies == CacheState::Slow { SLOW_MS } else { 0 });
}

/// The parts of a connection that an outage could damage.
fn durable_state(row: &Connection) -> (Option<String>, i64, i64, ConnectionStatus) {
    (row.sealed_credential.clone(), row.generation, row.version, row.status)
}

/// Refresh requests that reached the app, without the exchange.
fn count_refreshes(fixture: &Fixture) -> usize {
    fixture.world.acme.count_requests("/token") - 1
}

fn assert_works_again(fixture: &Fixture, id: &ConnectionId, case: &str) {
    let again = call_resolve(fixture, id, "strong");
    assert!(matches!(again.observed, ObservedResponse::Credential(..)), "{case}: then {:?}", again.observed);
    let access_token = again.body["credential"]["access_token"].as_str().unwrap();
    assert!(fixture.world.acme.accepts_access_token(access_token), "{case}");
    assert!(fixture.world.acme.accepts_access_token(&plain_tokens(&fixture.open_credential(id)).0), "{case}");
    assert!(count_refreshes(fixture) <= 1, "{case}: {} refreshes", count_refreshes(fixture));
    assert!(fixture.world.acme.has_live_grant("ann"), "{case}");
}

/// The table, with the names of the contract.
fn expected_response(record_answers: bool, copies: CacheState, mode: &str, token: TokenAge) -> ObservedResponse {
    let freshness = match token {
        TokenAge::Fresh => "fresh",
        TokenAge::NearEnd => "stale",
        TokenAge::Expired => "refreshed",
    };
    let copy_serves = copies == CacheState::Up && token != TokenAge::Expired;
    match (record_answers, mode) {
        (_, "edge") | (false, "available") if copy_serves => credential_response("cache", freshness),
        (true, _) => credential_response("database", freshness),
        (false, _) => database_unavailable_response(),
    }
}

#[test]
fn every_outage_of_database_and_cache_has_a_defined_answer_in_every_mode() {
    let wounds = [None].into_iter().chain(DATABASE_FAULTS.map(Some));
    let copies = [CacheState::Up, CacheState::Down, CacheState::FindsNothing, CacheState::Slow];
    let tokens = [TokenAge::Fresh, TokenAge::NearEnd, TokenAge::Expired];
    for (fault, copies, mode, token) in wounds.flat_map(|fault| {
        copies.into_iter().flat_map(move |copy| {
            MODES.into_iter().flat_map(move |mode| tokens.map(move |token| (fault, copy, mode, token)))
        })
    }) {
        let case = format!("record {fault:?}, copies {copies:?}, {mode}, {token:?}");
        let (fixture, id) = connect_and_cache(&World::new(RefreshMode::Direct, None), token);
        let before = durable_state(&fixture.load_connection(&id));
        fixture.world.db.outage.set(fault.map(|fault| (0, fault)));
        break_cache(&fixture, copies);
        let answer = call_resolve(&fixture, &id, mode);
        assert_eq!(answer.observed, expected_response(fault.is_none(), copies, mode, token), "{case}");
        assert_eq!(answer.retry_after.is_some(), matches!(answer.observed, ObservedResponse::Refused(..)), "{case}");
        assert!(answer.elapsed_ms <= 15_000, "{case}: {} ms", answer.elapsed_ms);
        if fault.is_some() {
            assert_eq!(count_refreshes(&fixture), 0, "{case}: what can't be stored is not asked for");
        }
        fixture.world.db.outage.set(None);
        break_cache(&fixture, CacheState::Up);
        if fault.is_some() {
            assert_eq!(durable_state(&fixture.load_connection(&id)), before, "{case}");
        }
        assert_works_again(&fixture, &id, &case);
    }
}

#[test]
fn an_outage_at_any_step_of_a_refresh_loses_nothing_and_sends_no_second_request() {
    for (steps, fault, mode) in (0..9)
        .flat_map(|steps| DATABASE_FAULTS.into_iter().flat_map(move |fault| MODES.map(|mode| (steps, fault, mode))))
    {
        let case = format!("{fault:?} after {steps} round trips, {mode}");
        let (fixture, id) = connect_and_cache(&World::new(RefreshMode::Object, None), TokenAge::Expired);
        fixture.world.kept_writes.enabled.set(true);
        fixture.world.db.outage.set(Some((steps, fault)));
        let answer = call_resolve(&fixture, &id, mode);
        match &answer.observed {
            ObservedResponse::Credential(_, freshness) => {
                assert_eq!(freshness, "refreshed", "{case}");
                let access_token = answer.body["credential"]["access_token"].as_str().unwrap();
                let outage = fixture.world.db.outage.take();
                assert_eq!(
                    plain_tokens(&fixture.open_credential(&id)).0,
                    access_token,
                    "{case}: what is answered is stored"
                );
                fixture.world.db.outage.set(outage);
            }
            ObservedResponse::Refused(status, code) => {
                let is_told = ["database_unavailable", "refresh_in_progress"].contains(&code.as_str());
                assert!(*status == 503 && is_told && answer.retry_after.is_some(), "{case}: {:?}", answer.observed);
            }
        }
        assert!(answer.elapsed_ms <= 25_000, "{case}: {} ms", answer.elapsed_ms);
        fixture.world.run(fixture.world.runtime.sleep(20_000));
        fixture.world.db.outage.set(None);
        // Slow answers arrive, and the lease of an attempt ends.
        fixture.world.run(fixture.world.runtime.sleep(90_000));
        for (_, kept) in fixture.world.kept_writes.writes.take() {
            assert!(fixture.world.run(refresh::write_pending_renewal(&*fixture.world.context(), &kept)), "{case}");
        }
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected, "{case}");
        assert_works_again(&fixture, &id, &case);
    }
}

#[test]
fn a_database_that_stops_answering_during_a_write_is_retried_for_ten_seconds() {
    for fault in [Fault::Slow(SLOW_MS), Fault::NoAnswer] {
        let (fixture, id) = connect_and_cache(&World::new(RefreshMode::Direct, None), TokenAge::Expired);
        fixture.world.kept_writes.enabled.set(true);
        // The database works until the lease is written. It fails when the app's response must be stored.
        fixture.world.db.outage.set(Some((2, fault)));
        let began = fixture.world.runtime.now_ms();
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::DatabaseUnavailable);
        let took = fixture.world.runtime.now_ms() - began - fixture.world.acme.latency_ms.get();
        assert!((9_000..=10_000).contains(&took), "{took} ms: well inside the intent");
        assert_eq!((count_refreshes(&fixture), fixture.world.kept_writes.writes.borrow().len()), (1, 1));
    }
}

#[test]
fn a_database_that_never_answers_does_not_block_callers() {
    for fault in [Fault::Slow(SLOW_MS), Fault::NoAnswer] {
        let (fixture, id) = connect_and_cache(&World::new(RefreshMode::Object, None), TokenAge::Expired);
        fixture.world.db.outage.set(Some((0, fault)));
        for _ in 0..5 {
            let answer = call_resolve(&fixture, &id, "strong");
            assert_eq!((answer.observed, answer.retry_after), (database_unavailable_response(), Some(2)));
            assert!(answer.elapsed_ms <= 10_000, "{} ms", answer.elapsed_ms);
        }
        assert_eq!(count_refreshes(&fixture), 0);
    }
}
