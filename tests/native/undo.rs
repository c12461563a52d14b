//! A disconnect on the page: gone at once, revoked after five minutes, and brought back as it was until then, whatever fails or
//! happens in between.

use connections::disconnect::{self, DisconnectResult, UNDO_SECONDS};
use connections::error::{ErrorCode, Result};
use connections::http::{Method, Response};
use connections::ids::ConnectionId;
use connections::ports::RefreshOutcome;
use connections::refresh::write_pending_renewal;
use connections::resolve::{Consistency, ResolveRequest};
use connections::revocation::RevocationOutcome;
use connections::undo::{self, Undone};
use serde_json::{Value, json};

use crate::http::{TestBrowser, call, first_key};
use crate::support::database::{Fault, FaultRule};
use crate::support::fixture::{need_reason, test_actor};
use crate::support::world::ENCRYPTION_KEYS;
use crate::support::{Fixture, Reply, plain_tokens};

const ALL_BACK: Undone = Undone { lost_defaults: 0, lost_replacement: false };
/// The time for an undo, and the time in which no run takes what another one has.
const OVER: i64 = UNDO_SECONDS + 121;
const COUNT: &str = "SELECT count(*) FROM connections";

fn disconnect_for_now(fixture: &Fixture, id: &ConnectionId) -> Result<()> {
    let context = fixture.world.context();
    fixture
        .world
        .run(async { disconnect::disconnect_for_now(&context, &fixture.workspace, id, &test_actor()).await.map(drop) })
}

fn undo(fixture: &Fixture, id: &ConnectionId) -> Result<Undone> {
    let context = fixture.world.context();
    fixture.world.run(undo::undo_disconnect(&context, &fixture.workspace, id, &test_actor()))
}

fn revoke_now(fixture: &Fixture, id: &ConnectionId) -> Result<DisconnectResult> {
    let context = fixture.world.context();
    fixture.world.run(disconnect::revoke_now(&context, &fixture.workspace, id, &test_actor()))
}

fn get(fixture: &Fixture, path: &str) -> (u16, Value) {
    call(fixture, &first_key(fixture), Method::Get, path, &Value::Null)
}

fn use_it(fixture: &Fixture, id: &ConnectionId) -> Result<String> {
    let request = ResolveRequest { workflow: Some("w".into()), consistency: Consistency::Edge, ..Default::default() };
    let done = fixture.resolve_and_finish(id, request)?;
    Ok(crate::support::fixture::access_token_of(&done.resolved).to_owned())
}

/// Nothing of it is served, whichever way it is asked for.
fn assert_gone(fixture: &Fixture, id: &ConnectionId) {
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let answer = fixture.resolve(id, ResolveRequest { consistency, ..ResolveRequest::default() });
        assert_eq!(answer.map(drop).unwrap_err().code, ErrorCode::ConnectionNotFound);
    }
    let path = format!("/v1/connections/{id}");
    for (method, path) in [
        (Method::Get, path.clone()),
        (Method::Delete, path.clone()),
        (Method::Post, format!("{path}/check")),
        (Method::Get, format!("{path}/uses")),
    ] {
        assert_eq!(call(fixture, &first_key(fixture), method, &path, &Value::Null).0, 404, "{path}");
    }
    assert!(!get(fixture, "/v1/connections").1.to_string().contains(id.as_str()));
    assert!(fixture.find_connection(id).is_none());
}

fn event_types(fixture: &Fixture, id: &ConnectionId) -> String {
    let list = "SELECT type, detail, actor FROM events WHERE connection_id = '{id}' ORDER BY seq";
    let text = format!(
        "SELECT group_concat(type || coalesce(':' || detail, ''), ' ') FROM ({}) WHERE type LIKE 'disconnect%'",
        list.replace("{id}", id.as_str())
    );
    fixture.world.db.query_value(&text).as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_disconnected_connection_comes_back_as_it_was() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let token = use_it(&fixture, &id).unwrap();
    let (before, tokens) = (fixture.load_connection(&id), plain_tokens(&fixture.open_credential(&id)));
    let uses = get(&fixture, &format!("/v1/connections/{id}/uses")).1;
    disconnect_for_now(&fixture, &id).unwrap();
    assert_gone(&fixture, &id);
    assert!(!fixture.world.cache.entry_names().contains(&format!("connection/{id}")));
    fixture.world.advance_clock(UNDO_SECONDS - 1);
    fixture.run_scheduled();
    assert_gone(&fixture, &id);
    assert_eq!(fixture.world.acme.revoked_tokens(), [""; 0], "nothing is revoked before its time");
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    let after = fixture.load_connection(&id);
    assert_eq!((before.generation, after.generation, after.version), (1, 3, before.version));
    assert_eq!((after.name, after.next_check_at), (before.name, before.next_check_at));
    assert_eq!(plain_tokens(&fixture.open_credential(&id)), tokens);
    assert_eq!(use_it(&fixture, &id).unwrap(), token);
    assert_eq!(get(&fixture, &format!("/v1/connections/{id}/uses")).1["data"][0]["workflow"], "w");
    assert_eq!(
        uses["data"][0]["first_used_at"],
        get(&fixture, &format!("/v1/connections/{id}/uses")).1["data"][0]["first_used_at"]
    );
    assert_eq!(event_types(&fixture, &id), "disconnected:pending disconnect_undone");
    fixture.world.advance_clock(OVER);
    fixture.run_scheduled();
    assert!(fixture.find_connection(&id).is_some(), "nothing of the disconnect is left");
    assert!(fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn after_its_time_a_run_revokes_and_erases_it() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    use_it(&fixture, &id).unwrap();
    disconnect_for_now(&fixture, &id).unwrap();
    fixture.world.advance_clock(UNDO_SECONDS);
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
    assert_gone(&fixture, &id);
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    assert_eq!(fixture.world.acme.revoked_tokens().len(), 2);
    assert!(!fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.world.db.query_number(COUNT), 0);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM uses"), 0);
    assert_eq!(event_types(&fixture, &id), "disconnected:pending disconnected:confirmed");
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
}

#[test]
fn the_end_of_the_wait_revokes_at_once() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    disconnect_for_now(&fixture, &id).unwrap();
    let done = revoke_now(&fixture, &id).unwrap();
    assert_eq!(done, DisconnectResult { revoked: RevocationOutcome::Confirmed, retrying: false });
    assert_eq!((fixture.world.db.query_number(COUNT), fixture.world.acme.revoked_tokens().len()), (0, 2));
    assert_eq!(event_types(&fixture, &id), "disconnected:pending disconnected:confirmed");
    assert_eq!(revoke_now(&fixture, &id).unwrap_err().code, ErrorCode::ConnectionNotFound);
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
}

#[test]
fn what_the_api_disconnects_is_final() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let (status, told) =
        call(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    assert_eq!((status, &told["undo_until"], &told["revoked"]), (200, &Value::Null, &json!("confirmed")));
    assert!(told.as_object().unwrap().contains_key("undo_until"));
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
}

#[test]
fn a_stranger_brings_nothing_back() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    disconnect_for_now(&fixture, &id).unwrap();
    let stranger = fixture.other_workspace();
    assert_eq!(undo(&stranger, &id).unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(revoke_now(&stranger, &id).unwrap_err().code, ErrorCode::ConnectionNotFound);
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
}

// ---- faults ----

/// Each batch of each step fails in turn, in each way. The person presses again, as somebody does; in the end the connection is as
/// it was, or gone and revoked, and never between.
#[test]
fn every_batch_may_fail_and_nothing_is_lost() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        for failing in 0..4 {
            for ends in [true, false] {
                let fixture = Fixture::new();
                let id = fixture.connect("ann");
                let tokens = plain_tokens(&fixture.open_credential(&id));
                let fail = || fixture.world.db.outage.set(Some((failing, fault)));
                let heal = || fixture.world.db.outage.set(None);
                fail();
                let _ = disconnect_for_now(&fixture, &id);
                heal();
                if fixture.find_connection(&id).is_some() {
                    disconnect_for_now(&fixture, &id).unwrap();
                }
                assert_gone(&fixture, &id);
                if ends {
                    fail();
                    let _ = revoke_now(&fixture, &id);
                    heal();
                    let _ = revoke_now(&fixture, &id);
                    fixture.world.advance_clock(OVER);
                    fixture.run_scheduled();
                    fixture.world.advance_clock(OVER);
                    fixture.run_scheduled();
                    assert_eq!(fixture.world.db.query_number(COUNT), 0, "{fault:?} {failing}");
                    assert!(!fixture.world.acme.has_live_grant("ann"), "{fault:?} {failing}");
                } else {
                    fail();
                    let _ = undo(&fixture, &id);
                    heal();
                    if fixture.find_connection(&id).is_none() {
                        assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK, "{fault:?} {failing}");
                    }
                    assert_eq!(plain_tokens(&fixture.open_credential(&id)), tokens, "{fault:?} {failing}");
                    fixture.world.advance_clock(OVER);
                    fixture.run_scheduled();
                    assert!(fixture.world.acme.has_live_grant("ann"), "{fault:?} {failing}");
                    fixture.resolve(&id, ResolveRequest::default()).unwrap();
                }
            }
        }
    }
}

#[test]
fn a_run_that_stops_after_its_lease_leaves_it_for_the_next() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    disconnect_for_now(&fixture, &id).unwrap();
    fixture.world.advance_clock(OVER);
    fixture.world.acme.script_next("/revoke", Reply::status(500, ""));
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM revocations"), 1, "kept for a day");
    assert_eq!(fixture.world.db.query_number(COUNT), 0);
    fixture.world.advance_clock(61);
    fixture.run_scheduled();
    assert!(!fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn a_disconnect_without_its_line_gets_it_with_the_next_write() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let fault = FaultRule { statement_part: "INSERT INTO events", times: 1, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    disconnect_for_now(&fixture, &id).unwrap();
    assert_gone(&fixture, &id);
    assert_eq!(event_types(&fixture, &id), "disconnected:pending");
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
}

#[test]
fn a_run_takes_many_in_bounded_steps() {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..30).map(|at| fixture.connect(&format!("p{at}"))).collect();
    for id in &ids {
        disconnect_for_now(&fixture, id).unwrap();
    }
    fixture.world.advance_clock(OVER);
    let mut most = 0;
    for _ in 0..20 {
        fixture.world.db.reset_counts();
        fixture.run_scheduled();
        most = most.max(fixture.world.db.round_trips.get());
        fixture.world.advance_clock(300);
    }
    assert_eq!(fixture.world.db.query_number(COUNT), 0);
    assert!(most < 50, "{most} round trips in one run");
}

// ---- a refresh in flight ----

fn expired(fixture: &Fixture) -> ConnectionId {
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    id
}

/// The app has answered a refresh with new tokens, and the answer is on its way. The old ones are worth nothing any more.
macro_rules! with_answer_on_its_way {
    ($fixture:ident, $id:ident, $late:ident) => {
        let $fixture = Fixture::new();
        let $id = expired(&$fixture);
        $fixture.world.acme.latency_ms.set(8000);
        let $late = $fixture.world.runtime.spawn($fixture.world.run_refresher(&$id, need_reason(&$fixture.world)));
        $fixture.world.run($fixture.world.runtime.sleep(5000));
        $fixture.world.acme.latency_ms.set(10);
    };
}

fn assert_works_with_newest_token(fixture: &Fixture, id: &ConnectionId) {
    let (access, refresh) = plain_tokens(&fixture.open_credential(id));
    assert!(fixture.world.acme.accepts_access_token(&access));
    assert!(fixture.world.acme.accepts_refresh_token(&refresh.unwrap()));
    fixture.expire_access_token(id);
    assert_eq!(fixture.refresh_if_needed(id), RefreshOutcome::Refreshed);
    fixture.resolve(id, ResolveRequest::default()).unwrap();
}

#[test]
fn an_answer_that_comes_while_it_is_disconnected_is_kept() {
    with_answer_on_its_way!(fixture, id, late);
    disconnect_for_now(&fixture, &id).unwrap();
    fixture.world.run(late);
    assert_gone(&fixture, &id);
    let due = "SELECT count(*) FROM connections WHERE next_check_at IS NOT NULL";
    assert_eq!(fixture.world.db.query_number(due), 0, "no run checks what is disconnected");
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    assert_works_with_newest_token(&fixture, &id);
    assert_eq!(fixture.world.db.query_number(due), 1);
}

#[test]
fn an_answer_that_comes_after_the_undo_is_kept() {
    for rounds in 1..=3 {
        with_answer_on_its_way!(fixture, id, late);
        for _ in 0..rounds {
            disconnect_for_now(&fixture, &id).unwrap();
            assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
        }
        assert_eq!(fixture.world.run(late), RefreshOutcome::Refreshed);
        assert!(fixture.world.acme.revoked_tokens().is_empty());
        assert_works_with_newest_token(&fixture, &id);
    }
}

#[test]
fn an_answer_that_the_database_takes_only_after_the_undo_is_kept() {
    with_answer_on_its_way!(fixture, id, late);
    fixture.world.kept_writes.enabled.set(true);
    let fault = FaultRule { statement_part: "last_attempt_id = ?5", times: 6, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    assert_eq!(fixture.world.run(late), RefreshOutcome::DatabaseUnavailable);
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    let kept = fixture.world.kept_writes.writes.borrow()[0].1.clone();
    for _ in 0..2 {
        assert!(fixture.world.run(write_pending_renewal(&*fixture.world.context(), &kept)));
    }
    assert_works_with_newest_token(&fixture, &id);
}

#[test]
fn an_answer_that_was_stored_and_reported_as_failed_is_not_discarded_after_an_undo() {
    with_answer_on_its_way!(fixture, id, late);
    let fault = FaultRule { statement_part: "last_attempt_id = ?5", times: 1, fault: Fault::AfterCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    let wait = fixture.world.runtime.sleep(3050);
    fixture.world.run(wait);
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    fixture.world.run(late);
    assert!(fixture.world.acme.revoked_tokens().is_empty());
    assert_works_with_newest_token(&fixture, &id);
}

#[test]
fn an_answer_that_comes_after_the_end_of_the_wait_is_revoked() {
    with_answer_on_its_way!(fixture, id, late);
    disconnect_for_now(&fixture, &id).unwrap();
    revoke_now(&fixture, &id).unwrap();
    fixture.world.run(late);
    assert_gone(&fixture, &id);
    assert!(!fixture.world.acme.has_live_grant("ann"));
    assert_eq!(fixture.world.db.query_number(COUNT), 0);
}

#[test]
fn a_new_consent_after_an_undo_is_not_overwritten_by_an_old_answer() {
    with_answer_on_its_way!(fixture, id, late);
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    let fresh = plain_tokens(&fixture.open_credential(&id));
    assert_eq!(fixture.world.run(late), RefreshOutcome::NotFound);
    assert_eq!(plain_tokens(&fixture.open_credential(&id)), fresh);
    assert!(fixture.world.acme.has_live_grant("ann"));
}

// ---- what is stronger ----

#[test]
fn the_panic_button_is_stronger_than_an_undo() {
    for finished in [false, true] {
        let fixture = Fixture::new();
        let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
        disconnect_for_now(&fixture, &id).unwrap();
        let body = json!({ "confirm": "acme", "reason": "Stolen tokens" });
        let path = "/v1/apps/acme/disconnect-all";
        assert_eq!(call(&fixture, &first_key(&fixture), Method::Post, path, &body).0, 201);
        if finished {
            for _ in 0..2 {
                fixture.world.advance_clock(130);
                fixture.run_scheduled();
            }
            assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM denied_apps"), 0, "the job is done");
        }
        assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict, "{finished}");
        assert_gone(&fixture, &id);
        fixture.world.advance_clock(130);
        fixture.run_scheduled();
        fixture.world.advance_clock(130);
        fixture.run_scheduled();
        assert_eq!(fixture.world.db.query_number(COUNT), 0);
        assert!(!fixture.world.acme.has_live_grant("ann") && !fixture.world.acme.has_live_grant("bob"));
        assert!(fixture.find_connection(&other).is_none());
    }
}

/// The button was pressed at the same moment as the undo: its row is there, and the time of the undo was not ended.
#[test]
fn one_row_of_the_panic_button_is_enough() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    disconnect_for_now(&fixture, &id).unwrap();
    let body = json!({ "confirm": "acme", "reason": "Stolen tokens" });
    call(&fixture, &first_key(&fixture), Method::Post, "/v1/apps/acme/disconnect-all", &body);
    let later = fixture.world.now().plus(UNDO_SECONDS).unix();
    fixture.world.db.tamper(&format!("UPDATE connections SET undo_until = {later}, deleted_at = {later}"));
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
    fixture.world.db.tamper("DELETE FROM denied_apps");
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict, "the job tells, too");
}

#[test]
fn a_deleted_workspace_gets_nothing_back() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    disconnect_for_now(&fixture, &id).unwrap();
    let context = fixture.world.context();
    let now = fixture.world.now();
    fixture.world.run(async {
        connections::store::workspaces::mark_deleted(context.db(), &fixture.workspace, now).await.unwrap()
    });
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
    let later = now.plus(UNDO_SECONDS).unix();
    fixture.world.db.tamper(&format!("UPDATE connections SET undo_until = {later}, deleted_at = {later}"));
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict, "also one that it did not end");
    for _ in 0..4 {
        fixture.world.advance_clock(OVER);
        fixture.run_scheduled();
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM workspaces"), 0);
    assert!(!fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn what_a_removed_person_has_disconnected_does_not_come_back() {
    let fixture = Fixture::new();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in_as(&json!({ "user": { "id": "ann" }, "role": "member" }));
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE connections SET user_id = 'ann', is_shared = 0");
    disconnect_for_now(&fixture, &id).unwrap();
    let (status, told) =
        call(&fixture, &first_key(&fixture), Method::Delete, "/v1/people/ann?transfer_to=", &Value::Null);
    let status = if status == 422 {
        call(&fixture, &first_key(&fixture), Method::Delete, "/v1/people/ann", &Value::Null).0
    } else {
        status
    };
    assert_eq!(status, 200, "{told}");
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Conflict);
    fixture.world.advance_clock(121);
    fixture.run_scheduled();
    assert_eq!(fixture.world.db.query_number(COUNT), 0);
}

// ---- what comes back with it ----

fn put_default(fixture: &Fixture, id: &ConnectionId, user: Option<&str>) {
    let mut body = json!({ "connection": id });
    if let Some(user) = user {
        body["user"] = user.into();
    }
    let (status, told) = call(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme/default", &body);
    assert_eq!(status, 200, "{told}");
}

fn default_of(fixture: &Fixture, user: &str) -> String {
    let text = format!("SELECT coalesce((SELECT connection_id FROM app_defaults WHERE user_id = '{user}'), '')");
    fixture.world.db.query_value(&text).as_str().unwrap().to_owned()
}

fn share(fixture: &Fixture) {
    fixture.world.db.tamper("UPDATE connections SET is_shared = 1, user_id = NULL");
}

#[test]
fn defaults_come_back_where_their_places_are_free() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    share(&fixture);
    for user in [None, Some("u1"), Some("u2")] {
        put_default(&fixture, &id, user);
    }
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(default_of(&fixture, ""), "");
    put_default(&fixture, &other, Some("u1"));
    assert_eq!(undo(&fixture, &id).unwrap(), Undone { lost_defaults: 1, lost_replacement: false });
    assert_eq!((default_of(&fixture, ""), default_of(&fixture, "u2")), (id.to_string(), id.to_string()));
    assert_eq!(default_of(&fixture, "u1"), other.to_string());
    let (status, answer) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/resolve", &json!({ "app": "acme" }));
    assert_eq!((status, &answer["connection"]["id"]), (200, &json!(id)), "{answer}");
}

#[test]
fn a_default_whose_connection_is_gone_gives_its_place_back() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    share(&fixture);
    put_default(&fixture, &id, None);
    disconnect_for_now(&fixture, &id).unwrap();
    put_default(&fixture, &other, None);
    disconnect_for_now(&fixture, &other).unwrap();
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    assert_eq!(default_of(&fixture, ""), id.to_string());
    assert_eq!(undo(&fixture, &other).unwrap(), Undone { lost_defaults: 1, lost_replacement: false });
}

fn replace(fixture: &Fixture, id: &ConnectionId, with: &ConnectionId) -> u16 {
    let path = format!("/v1/connections/{id}/replace");
    call(fixture, &first_key(fixture), Method::Post, &path, &json!({ "with": with })).0
}

#[test]
fn what_answered_for_it_answers_again_if_the_two_still_fit() {
    for gone in [false, true] {
        let fixture = Fixture::new();
        let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
        assert_eq!(replace(&fixture, &id, &other), 200);
        assert_eq!(
            disconnect_for_now(&fixture, &other).unwrap_err().code,
            ErrorCode::ReplacementInUse,
            "one that answers is not ended, for now or for ever"
        );
        disconnect_for_now(&fixture, &id).unwrap();
        if gone {
            fixture.disconnect(&other).unwrap();
        }
        assert_eq!(undo(&fixture, &id).unwrap(), Undone { lost_defaults: 0, lost_replacement: gone });
        let answered = get(&fixture, &format!("/v1/connections/{id}")).1;
        assert_eq!(answered["replaced_by"].is_null(), gone, "{answered}");
    }
}

#[test]
fn a_grant_is_kept_while_one_of_its_connections_may_come_back() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let user = Some(connections::workspace::User { id: "bob".into(), name: None });
    let request = connections::connect::start::ConnectRequest { user, ..fixture.connect_request() };
    let second = fixture.complete_flow(&request, "ann").connection.unwrap();
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(fixture.disconnect(&second).unwrap().revoked, RevocationOutcome::KeptShared);
    assert!(fixture.world.acme.has_live_grant("ann"));
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
    disconnect_for_now(&fixture, &id).unwrap();
    fixture.world.advance_clock(OVER);
    fixture.run_scheduled();
    assert!(!fixture.world.acme.has_live_grant("ann"), "the last one takes the grant with it");
}

#[test]
fn one_that_needs_a_reconnect_comes_back_as_one() {
    let fixture = Fixture::new();
    let id = expired(&fixture);
    fixture.world.acme.withdraw_grants("ann");
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::NeedsReconnect);
    let before = fixture.load_connection(&id);
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    let after = fixture.load_connection(&id);
    assert_eq!((after.status, after.reason, after.next_check_at), (before.status, before.reason, None));
    fixture.complete_flow(&fixture.repair_request(&id), "ann");
    fixture.resolve(&id, ResolveRequest::default()).unwrap();
}

#[test]
fn its_credential_is_sealed_again_meanwhile() {
    const K2: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let tokens = plain_tokens(&fixture.open_credential(&id));
    disconnect_for_now(&fixture, &id).unwrap();
    *fixture.world.encryption_keys.borrow_mut() = format!("{K2},{ENCRYPTION_KEYS}");
    fixture.run_scheduled();
    let sealed = "SELECT substr(sealed_credential, 5, 2) FROM connections";
    assert_eq!(fixture.world.db.query_value(sealed), "k2");
    K2.clone_into(&mut fixture.world.encryption_keys.borrow_mut());
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    assert_eq!(plain_tokens(&fixture.open_credential(&id)), tokens);
}

#[test]
fn without_its_key_nothing_is_changed() {
    const K2: &str = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    disconnect_for_now(&fixture, &id).unwrap();
    let keys = fixture.world.encryption_keys.borrow().clone();
    K2.clone_into(&mut fixture.world.encryption_keys.borrow_mut());
    assert_eq!(undo(&fixture, &id).unwrap_err().code, ErrorCode::Misconfigured);
    *fixture.world.encryption_keys.borrow_mut() = keys;
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
}

// ---- the page ----

fn path(id: &ConnectionId, form: &str) -> String {
    format!("/connections/{id}/{form}")
}

fn press(browser: &mut TestBrowser<'_>, id: &ConnectionId, form: &str) -> Response {
    browser.post("/", &path(id, form), "")
}

fn signed_in<'a>(fixture: &'a Fixture, user: &str, role: &str) -> TestBrowser<'a> {
    let mut browser = TestBrowser::new(fixture);
    browser.sign_in_as(&json!({ "user": { "id": user }, "role": role }));
    browser.get("/");
    browser
}

fn own(fixture: &Fixture, user: &str) -> ConnectionId {
    let id = fixture.connect(user);
    let name = "Ledger of the company";
    fixture.world.db.tamper(&format!(
        "UPDATE connections SET name = '{name}', user_id = '{user}', is_shared = 0 WHERE id = '{id}'"
    ));
    id
}

#[test]
fn the_notice_offers_an_undo_and_the_list_does_for_five_minutes() {
    let fixture = Fixture::new();
    let id = own(&fixture, "ann");
    let mut ann = signed_in(&fixture, "ann", "member");
    let done = ann.post(&format!("/connections/{id}"), &path(&id, "disconnect"), "");
    assert_eq!((done.status, done.header("location")), (303, Some("/")));
    let page = ann.get("/").body;
    let notice = page.split("id=\"notice\"").nth(1).unwrap().split("<main").next().unwrap().to_owned();
    assert!(notice.contains("<bdi>Ledger of the company</bdi> is disconnected"), "{notice}");
    assert!(notice.contains(&path(&id, "undo-disconnect")) && notice.contains("name=\"csrf\""), "{notice}");
    assert!(!notice.contains(&format!("<bdi>{id}")), "{notice}");
    let again = ann.get("/").body;
    assert!(!again.contains("id=\"notice\"") && again.contains("Recently disconnected"), "{again}");
    assert_eq!(ann.get(&format!("/connections/{id}")).status, 404);
    fixture.world.advance_clock(UNDO_SECONDS - 1);
    assert!(ann.get("/").body.contains(&path(&id, "revoke-now")));
    fixture.world.advance_clock(1);
    assert!(!ann.get("/").body.contains("Recently disconnected"));
    let late = press(&mut ann, &id, "undo-disconnect");
    assert_eq!((late.status, late.header("location")), (303, Some("/")));
    assert!(ann.get("/").body.contains("It is too late"));
}

#[test]
fn undo_leads_back_to_the_connection_also_when_it_is_pressed_twice() {
    let fixture = Fixture::new();
    let id = own(&fixture, "ann");
    let mut ann = signed_in(&fixture, "ann", "member");
    disconnect_for_now(&fixture, &id).unwrap();
    for _ in 0..2 {
        let done = press(&mut ann, &id, "undo-disconnect");
        assert_eq!((done.status, done.header("location")), (303, Some(format!("/connections/{id}").as_str())));
        assert!(ann.get(&format!("/connections/{id}")).body.contains("It is connected again"));
    }
    let stays = press(&mut ann, &id, "revoke-now");
    assert_eq!(stays.status, 303);
    assert!(fixture.find_connection(&id).is_some(), "what is back is not revoked by an old button");
}

#[test]
fn revoke_now_says_what_became_of_the_grant() {
    let fixture = Fixture::new();
    let id = own(&fixture, "ann");
    let mut ann = signed_in(&fixture, "ann", "member");
    disconnect_for_now(&fixture, &id).unwrap();
    assert_eq!(press(&mut ann, &id, "revoke-now").header("location"), Some("/"));
    let page = ann.get("/").body;
    assert!(page.contains("The app confirmed that the access is revoked") && !page.contains("Recently"), "{page}");
    assert_eq!(press(&mut ann, &id, "revoke-now").status, 404);
}

/// Who sees, brings back and revokes: the owner and admins. Others see nothing of a private one, and may not change a shared one.
#[test]
fn who_may_change_a_connection_may_bring_it_back() {
    for shared in [false, true] {
        let fixture = Fixture::new();
        let id = own(&fixture, "ann");
        fixture.world.db.tamper(&format!("UPDATE connections SET is_shared = {}", i64::from(shared)));
        disconnect_for_now(&fixture, &id).unwrap();
        let mut bob = signed_in(&fixture, "bob", "member");
        assert!(!bob.get("/").body.contains("Ledger"));
        for form in ["undo-disconnect", "revoke-now"] {
            assert_eq!(press(&mut bob, &id, form).status, if shared { 403 } else { 404 }, "{form} {shared}");
        }
        let stranger = fixture.other_workspace();
        let mut eve = signed_in(&stranger, "root", "admin");
        assert_eq!(press(&mut eve, &id, "undo-disconnect").status, 404);
        assert!(!eve.get("/").body.contains("Ledger"));
        for (user, role) in [("ann", "member"), ("root", "admin")] {
            let mut browser = signed_in(&fixture, user, role);
            assert!(browser.get("/").body.contains("Ledger"), "{user}");
            assert_eq!(press(&mut browser, &id, "undo-disconnect").status, 303, "{user}");
            assert!(fixture.find_connection(&id).is_some());
            disconnect_for_now(&fixture, &id).unwrap();
        }
        let mut forged = signed_in(&fixture, "ann", "member");
        assert_eq!(forged.press(&path(&id, "undo-disconnect")).status, 403, "without the form's token");
    }
}

#[test]
fn the_app_has_nothing_to_do_with_an_undo() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let before = fixture.world.acme.count_all_requests();
    disconnect_for_now(&fixture, &id).unwrap();
    fixture.world.db.reset_counts();
    assert_eq!(undo(&fixture, &id).unwrap(), ALL_BACK);
    assert_eq!(fixture.world.db.round_trips.get(), 2, "one to read, one to write");
    assert_eq!(fixture.world.acme.count_all_requests(), before);
}
