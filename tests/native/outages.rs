//! Outages of our own parts: what a resolve answers while D1 or KV fail, that nothing is harmed, and that
//! everything works again when they do.
//!
//! Owns the whole table, through HTTP, because a status and `Retry-After` are what a caller acts on.

use connections::connection::{Connection, Status};
use connections::http::{self, Body, Method, Request};
use connections::ids::ConnectionId;
use connections::ports::ErrandOutcome;
use connections::refresh;
use connections::resolve::afterwards;
use serde_json::{Value, json};

use crate::support::{Scene, Way, World, Wound, tokens};

/// Half a minute: longer than anybody waits.
const SLOW: i64 = 30_000;
const MODES: [&str; 3] = ["strong", "available", "edge"];
/// What can be wrong with the record.
const WOUNDS: [Wound; 4] = [Wound::Before, Wound::After, Wound::Slow(SLOW), Wound::Silent];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copies {
    Up,
    Down,
    Blind,
    Slow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Fresh,
    NearEnd,
    Expired,
}

/// What a caller saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// 200, with `source` and `freshness`.
    Credential(String, String),
    /// Another status, with `code`.
    Refused(u16, String),
}

fn credential(source: &str, freshness: &str) -> Seen {
    Seen::Credential(source.to_owned(), freshness.to_owned())
}

fn database_unavailable() -> Seen {
    Seen::Refused(503, "database_unavailable".to_owned())
}

struct Call {
    seen: Seen,
    body: Value,
    retry_after: Option<i64>,
    /// Milliseconds until the answer.
    took: i64,
}

/// A resolve as a caller makes it; what is left to do is done behind its answer.
fn call(scene: &Scene, id: &ConnectionId, mode: &str) -> Call {
    let request = Request {
        method: Method::Post,
        path: format!("/v1/connections/{id}/resolve"),
        query: String::new(),
        headers: vec![("authorization".into(), format!("Bearer {}", scene.key_text.expose()))],
        body: Body::Bytes(json!({ "consistency": mode }).to_string().into_bytes()),
        id: "r".into(),
    };
    let core = scene.world.core();
    let began = scene.world.runtime.now_ms();
    let mut response = scene.world.run(http::handle(&core, &request));
    let took = scene.world.runtime.now_ms() - began;
    let after = std::mem::take(&mut response.after);
    scene.world.run(async {
        for one in after {
            afterwards::run(&core, one).await;
        }
    });
    let body: Value = serde_json::from_str(&response.body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let seen = match response.status {
        200 => Seen::Credential(text("source"), text("freshness")),
        status => Seen::Refused(status, text("code")),
    };
    Call { seen, retry_after: response.header("retry-after").map(|text| text.parse().unwrap()), took, body }
}

/// A connection with a copy near the caller, its token as old as asked.
fn connected(world: &World, token: Token) -> (Scene, ConnectionId) {
    let scene = Scene::in_world(world, &json!({}));
    let id = scene.connect("ann");
    assert_eq!(call(&scene, &id, "edge").seen, credential("database", "fresh"));
    assert_eq!(call(&scene, &id, "edge").seen, credential("cache", "fresh"));
    match token {
        Token::Fresh => {}
        Token::NearEnd => world.pass(scene.row(&id).expires_at.unwrap().since(world.now()) - 100),
        Token::Expired => scene.expire(&id),
    }
    (scene, id)
}

fn break_copies(scene: &Scene, copies: Copies) {
    scene.world.kv.down.set(copies == Copies::Down);
    scene.world.kv.blind.set(copies == Copies::Blind);
    scene.world.kv.slow.set(if copies == Copies::Slow { SLOW } else { 0 });
}

/// What of a connection an outage could harm.
fn substance(row: &Connection) -> (Option<String>, i64, i64, Status) {
    (row.sealed_credential.clone(), row.generation, row.version, row.status)
}

/// Refresh requests that reached the app, beside the exchange.
fn refreshes(scene: &Scene) -> usize {
    scene.world.acme.count("/token") - 1
}

fn works_again(scene: &Scene, id: &ConnectionId, case: &str) {
    let again = call(scene, id, "strong");
    assert!(matches!(again.seen, Seen::Credential(..)), "{case}: then {:?}", again.seen);
    let access_token = again.body["credential"]["access_token"].as_str().unwrap();
    assert!(scene.world.acme.accepts(access_token), "{case}");
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(id)).0), "{case}");
    assert!(refreshes(scene) <= 1, "{case}: {} refreshes", refreshes(scene));
    assert!(scene.world.acme.is_alive("ann"), "{case}");
}

/// The table, in the words of the contract.
fn expected(record_answers: bool, copies: Copies, mode: &str, token: Token) -> Seen {
    let freshness = match token {
        Token::Fresh => "fresh",
        Token::NearEnd => "stale",
        Token::Expired => "refreshed",
    };
    let copy_serves = copies == Copies::Up && token != Token::Expired;
    match (record_answers, mode) {
        (_, "edge") | (false, "available") if copy_serves => credential("cache", freshness),
        (true, _) => credential("database", freshness),
        (false, _) => database_unavailable(),
    }
}

#[test]
fn every_outage_of_record_and_copy_has_its_answer_in_every_mode_and_harms_nothing() {
    let wounds = [None].into_iter().chain(WOUNDS.map(Some));
    let copies = [Copies::Up, Copies::Down, Copies::Blind, Copies::Slow];
    let tokens = [Token::Fresh, Token::NearEnd, Token::Expired];
    for (wound, copies, mode, token) in wounds.flat_map(|wound| {
        copies.into_iter().flat_map(move |copy| {
            MODES.into_iter().flat_map(move |mode| tokens.map(move |token| (wound, copy, mode, token)))
        })
    }) {
        let case = format!("record {wound:?}, copies {copies:?}, {mode}, {token:?}");
        let (scene, id) = connected(&World::new(Way::Direct, None), token);
        let before = substance(&scene.row(&id));
        scene.world.db.outage.set(wound.map(|wound| (0, wound)));
        break_copies(&scene, copies);
        let answer = call(&scene, &id, mode);
        assert_eq!(answer.seen, expected(wound.is_none(), copies, mode, token), "{case}");
        assert_eq!(answer.retry_after.is_some(), matches!(answer.seen, Seen::Refused(..)), "{case}");
        assert!(answer.took <= 15_000, "{case}: {} ms", answer.took);
        if wound.is_some() {
            assert_eq!(refreshes(&scene), 0, "{case}: what can't be stored is not asked for");
        }
        scene.world.db.outage.set(None);
        break_copies(&scene, Copies::Up);
        if wound.is_some() {
            assert_eq!(substance(&scene.row(&id)), before, "{case}");
        }
        works_again(&scene, &id, &case);
    }
}

#[test]
fn an_outage_that_begins_at_any_step_of_a_refresh_loses_nothing_and_costs_no_second_request() {
    for (steps, wound, mode) in
        (0..9).flat_map(|steps| WOUNDS.into_iter().flat_map(move |wound| MODES.map(|mode| (steps, wound, mode))))
    {
        let case = format!("{wound:?} after {steps} round trips, {mode}");
        let (scene, id) = connected(&World::new(Way::Object, None), Token::Expired);
        scene.world.kept.able.set(true);
        scene.world.db.outage.set(Some((steps, wound)));
        let answer = call(&scene, &id, mode);
        match &answer.seen {
            Seen::Credential(_, freshness) => {
                assert_eq!(freshness, "refreshed", "{case}");
                let access_token = answer.body["credential"]["access_token"].as_str().unwrap();
                let outage = scene.world.db.outage.take();
                assert_eq!(tokens(&scene.credential(&id)).0, access_token, "{case}: what is answered is stored");
                scene.world.db.outage.set(outage);
            }
            Seen::Refused(status, code) => {
                let is_told = ["database_unavailable", "refresh_in_progress"].contains(&code.as_str());
                assert!(*status == 503 && is_told && answer.retry_after.is_some(), "{case}: {:?}", answer.seen);
            }
        }
        assert!(answer.took <= 25_000, "{case}: {} ms", answer.took);
        scene.world.run(scene.world.runtime.sleep(20_000));
        scene.world.db.outage.set(None);
        // What was slow arrives late, and what an attempt left behind runs out.
        scene.world.run(scene.world.runtime.sleep(90_000));
        for (_, kept) in scene.world.kept.answers.take() {
            assert!(scene.world.run(refresh::deliver(&*scene.world.core(), &kept)), "{case}");
        }
        assert_eq!(scene.row(&id).status, Status::Connected, "{case}");
        works_again(&scene, &id, &case);
    }
}

#[test]
fn a_record_that_falls_silent_while_an_answer_is_stored_is_given_ten_seconds() {
    for wound in [Wound::Slow(SLOW), Wound::Silent] {
        let (scene, id) = connected(&World::new(Way::Direct, None), Token::Expired);
        scene.world.kept.able.set(true);
        // Read and claimed; then, with the app's answer at hand, nothing.
        scene.world.db.outage.set(Some((2, wound)));
        let began = scene.world.runtime.now_ms();
        assert_eq!(scene.need(&id), ErrandOutcome::DatabaseDown);
        let took = scene.world.runtime.now_ms() - began - scene.world.acme.latency_ms.get();
        assert!((9_000..=10_000).contains(&took), "{took} ms: well inside the intent");
        assert_eq!((refreshes(&scene), scene.world.kept.answers.borrow().len()), (1, 1));
    }
}

#[test]
fn a_record_that_falls_silent_for_good_holds_no_caller_for_ever() {
    for wound in [Wound::Slow(SLOW), Wound::Silent] {
        let (scene, id) = connected(&World::new(Way::Object, None), Token::Expired);
        scene.world.db.outage.set(Some((0, wound)));
        for _ in 0..5 {
            let answer = call(&scene, &id, "strong");
            assert_eq!((answer.seen, answer.retry_after), (database_unavailable(), Some(2)));
            assert!(answer.took <= 10_000, "{} ms", answer.took);
        }
        assert_eq!(refreshes(&scene), 0);
    }
}
