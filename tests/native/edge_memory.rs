//! `edge` answers for 30 seconds from what an instance of the program has read: without a call to anything, and within
//! the 60 seconds in which a change reaches every reader of the cache.

use connections::app::AppId;
use connections::connection::ConnectionStatus;
use connections::error::ErrorCode;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::Ports;
use connections::resolve::{Consistency, ResolveRequest, ResolveResult, Source};
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::fixture::access_token_of;
use crate::support::{Fixture, plain_tokens};

const ADMIN_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
/// Seconds that an instance answers from its memory.
const MEMORY: i64 = 30;

/// Changes something about a connection, or who may use it.
type Change = fn(&Fixture, &ConnectionId);

fn edge_request() -> ResolveRequest {
    ResolveRequest { consistency: Consistency::Edge, workflow: Some("w".into()), ..ResolveRequest::default() }
}

/// A connection whose entries are in the cache, and an instance that has read them: `(elsewhere, here, connection)`.
/// Each call `elsewhere` is in an instance of its own.
fn fixture_with_memory() -> (Fixture, Fixture, ConnectionId) {
    let elsewhere = Fixture::new();
    let id = elsewhere.connect("ann");
    elsewhere.resolve_and_finish(&id, edge_request()).unwrap();
    let here = elsewhere.in_one_isolate();
    assert_eq!(source(&here, &id), Source::Cache);
    (elsewhere, here, id)
}

fn resolve(fixture: &Fixture, id: &ConnectionId) -> connections::error::Result<ResolveResult> {
    fixture.resolve_and_finish(id, edge_request())
}

fn source(fixture: &Fixture, id: &ConnectionId) -> Source {
    resolve(fixture, id).unwrap().resolved.source
}

fn count_reads(fixture: &Fixture) -> (u32, u64) {
    (fixture.world.cache.gets.get(), fixture.world.db.round_trips.get())
}

#[test]
fn a_second_resolve_asks_nobody_and_after_thirty_seconds_the_cache_once() {
    let (_, here, id) = fixture_with_memory();
    let before = count_reads(&here);
    for _ in 0..MEMORY {
        assert_eq!(source(&here, &id), Source::Cache);
        here.world.advance_clock(1);
    }
    assert_eq!(count_reads(&here), before);
    assert_eq!(source(&here, &id), Source::Cache);
    assert_eq!(count_reads(&here), (before.0 + 1, before.1), "key, connection and tombstone in one call");
}

#[test]
fn a_change_made_here_is_seen_at_once_and_one_made_elsewhere_after_thirty_seconds() {
    let changes: [(&str, Change, ErrorCode); 4] = [
        (
            "disconnect",
            |at, id| {
                at.disconnect(id).unwrap();
            },
            ErrorCode::ConnectionNotFound,
        ),
        (
            "policy",
            |at, id| {
                let path = format!("/v1/connections/{id}");
                let answer = call(at, &first_key(at), Method::Patch, &path, &json!({ "allowed_workflows": ["other"] }));
                assert_eq!(answer.0, 200);
            },
            ErrorCode::WorkflowNotAllowed,
        ),
        (
            "key",
            |at, _| {
                let path = format!("/v1/keys/{}", at.key.id.as_str());
                assert_eq!(call(at, &first_key(at), Method::Delete, &path, &Value::Null).0, 200);
            },
            ErrorCode::Unauthorized,
        ),
        (
            "workspace",
            |at, _| {
                let path = format!("/v1/workspaces/{}", at.workspace);
                assert_eq!(call(at, ADMIN_KEY, Method::Delete, &path, &Value::Null).0, 200);
            },
            ErrorCode::Unauthorized,
        ),
    ];
    for (what, change, refusal) in changes {
        let (_, here, id) = fixture_with_memory();
        change(&here, &id);
        assert_eq!(resolve(&here, &id).unwrap_err().code, refusal, "{what}, here");

        let (elsewhere, here, id) = fixture_with_memory();
        change(&elsewhere, &id);
        assert_eq!(source(&here, &id), Source::Cache, "{what}, elsewhere");
        here.world.advance_clock(MEMORY);
        assert_eq!(resolve(&here, &id).unwrap_err().code, refusal, "{what}, elsewhere, after thirty seconds");
    }
}

#[test]
fn a_read_that_a_change_overtakes_is_not_remembered() {
    let (_, here, id) = fixture_with_memory();
    here.world.advance_clock(MEMORY);
    let (world, name) = (here.world.clone(), format!("connection/{id}"));
    *here.world.cache.weather.borrow_mut() = Some(Box::new(move |_| {
        world.context().ports.isolate_cache().entries().forget(&name);
        false
    }));
    assert_eq!(source(&here, &id), Source::Cache);
    *here.world.cache.weather.borrow_mut() = None;
    let before = count_reads(&here);
    for _ in 0..2 {
        assert_eq!(source(&here, &id), Source::Cache);
    }
    assert_eq!(count_reads(&here).0, before.0 + 1, "read once more, then remembered");
}

#[test]
fn a_repair_made_here_is_answered_at_once() {
    let (_, here, id) = fixture_with_memory();
    here.complete_flow(&here.repair_request(&id), "ann");
    let answered = resolve(&here, &id).unwrap().resolved;
    assert_eq!(access_token_of(&answered), plain_tokens(&here.open_credential(&id)).0);
    assert_eq!(here.load_connection(&id).status, ConnectionStatus::Connected);
}

#[test]
fn each_answer_from_memory_checks_the_key_the_policy_and_the_token_again() {
    let (elsewhere, here, id) = fixture_with_memory();
    let before = count_reads(&here);
    let other = elsewhere.make_key(|key| key.connections = Some(vec![]));
    assert_eq!(here.resolve_as(&other, &id, edge_request()).unwrap_err().code, ErrorCode::ConnectionNotFound);
    assert!(count_reads(&here) > before, "an unknown key is looked up");
    let expect = connections::resolve::Expectations { app: AppId::parse("another"), ..Default::default() };
    let unexpected = ResolveRequest { expect, ..edge_request() };
    assert_eq!(here.resolve(&id, unexpected).unwrap_err().code, ErrorCode::UnexpectedConnection);
    let forced = ResolveRequest { force_refresh: true, ..edge_request() };
    assert_eq!(here.resolve(&id, forced).unwrap().resolved.source, Source::Database);
}

#[test]
fn what_is_remembered_is_sealed() {
    let (_, here, id) = fixture_with_memory();
    let (access_token, refresh_token) = plain_tokens(&here.open_credential(&id));
    let remembered = format!("{:?}", here.world.context().ports.isolate_cache());
    assert!(remembered.contains(id.as_str()), "the entry is there");
    for secret in [&access_token, refresh_token.as_ref().unwrap(), &first_key(&here)] {
        assert!(!remembered.contains(secret.as_str()));
    }
}

/// The text of an entry, and what is put in its place.
fn replace_entry(fixture: &Fixture, name: &str, text: &str) {
    let end = fixture.world.now().unix() + 3600;
    fixture.world.cache.entries.borrow_mut().insert(name.to_owned(), (text.to_owned(), end));
}

fn entry_text(fixture: &Fixture, name: &str) -> String {
    fixture.world.cache.entries.borrow()[name].0.clone()
}

#[test]
fn an_entry_of_another_workspace_under_the_name_of_a_connection_answers_nobody() {
    for is_remembered in [false, true] {
        let (elsewhere, here, id) = fixture_with_memory();
        let stranger = elsewhere.other_workspace();
        let others = stranger.connect("eve");
        stranger.resolve_and_finish(&others, edge_request()).unwrap();
        let (name, others_name) = (format!("connection/{id}"), format!("connection/{others}"));
        let mine = entry_text(&elsewhere, &name);
        let mut renamed: Value = serde_json::from_str(&mine).unwrap();
        renamed["workspace"] = json!(stranger.workspace.as_str());
        for forged in [entry_text(&elsewhere, &others_name), renamed.to_string(), "{}".into(), String::new()] {
            replace_entry(&here, &name, &forged);
            here.world.advance_clock(MEMORY);
            let here = if is_remembered { &here } else { &elsewhere };
            let answered = resolve(here, &id).unwrap().resolved;
            assert_eq!((answered.source, &answered.id), (Source::Database, &id), "{forged}");
            assert_eq!(access_token_of(&answered), plain_tokens(&here.open_credential(&id)).0, "{forged}");
        }
        // The other way round: their key finds nothing of ours, whatever is remembered here.
        assert_eq!(
            here.resolve_as(&stranger.presented_key(), &id, edge_request()).unwrap_err().code,
            ErrorCode::ConnectionNotFound
        );
    }
}

#[test]
fn of_a_key_rotated_elsewhere_the_new_secret_works_at_once_and_the_old_one_ends_after_thirty_seconds() {
    let (elsewhere, here, id) = fixture_with_memory();
    let old = here.presented_key();
    let path = format!("/v1/keys/{}/rotate", here.key.id.as_str());
    let body = json!({ "overlap_seconds": 0 });
    let (status, rotated) = call(&elsewhere, &first_key(&elsewhere), Method::Post, &path, &body);
    assert_eq!(status, 200, "{rotated}");
    let new = connections::caller::PresentedKey::parse(rotated["key"].as_str().unwrap()).unwrap();
    assert_eq!(here.resolve_as(&new, &id, edge_request()).unwrap().resolved.source, Source::Database);
    assert_eq!(here.resolve_as(&old, &id, edge_request()).unwrap().resolved.source, Source::Cache);
    here.world.advance_clock(MEMORY);
    assert_eq!(here.resolve_as(&old, &id, edge_request()).unwrap_err().code, ErrorCode::Unauthorized);
    assert!(here.resolve_as(&new, &id, edge_request()).is_ok());
}
