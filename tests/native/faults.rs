//! Faults of the database, the cache and the configuration: what is lost, what is reported, and how often it is
//! retried.

use connections::cache::CacheRemoval;
use connections::client::ClientProblem;
use connections::connect::FlowFailure;
use connections::connect::callback::{CallbackParams, CallbackResult};
use connections::connection::ReconnectReason;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, DatabaseError, HttpError, RefreshOutcome, RefreshReason};
use connections::resolve::{Consistency, ResolveRequest, Source};
use connections::store;
use connections::store::authorizations::FlowOutcome;
use connections::store::connections::ConnectionPatch;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::database::{Fault, FaultRule};
use crate::support::fixture::BROWSER_SESSION;
use crate::support::world::{RefreshMode, World};
use crate::support::{Fixture, Reply};

fn request_with_consistency(consistency: Consistency) -> ResolveRequest {
    ResolveRequest { consistency, ..ResolveRequest::default() }
}

fn fixture_in_one_isolate(patch: &Value) -> Fixture {
    Fixture::in_world(&World::new(RefreshMode::Direct, None).in_one_isolate(), patch)
}

/// A connection whose credential never expires.
fn connect_without_expiry() -> (Fixture, ConnectionId) {
    let fixture = fixture_in_one_isolate(&json!({}));
    fixture.world.acme.gives_refresh_token.set(false);
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE connections SET expires_at = NULL");
    (fixture, id)
}

fn add_fault(fixture: &Fixture, sql: &'static str, times: u32, fault: Fault) {
    fixture.world.db.fault_rules.borrow_mut().push(FaultRule { statement_part: sql, times, fault });
}

fn resolve_source(fixture: &Fixture, id: &ConnectionId, consistency: Consistency) -> Source {
    fixture.resolve_and_finish(id, request_with_consistency(consistency)).unwrap().resolved.source
}

// ---- C1: cache entries ----

#[test]
fn a_cache_entry_of_a_long_lived_credential_is_extended_while_it_is_used() {
    let (fixture, id) = connect_without_expiry();
    assert_eq!(resolve_source(&fixture, &id, Consistency::Edge), Source::Database);
    let mut from_database = 0;
    for _ in 0..60 {
        fixture.world.advance_clock(600);
        from_database += u32::from(resolve_source(&fixture, &id, Consistency::Edge) == Source::Database);
    }
    // Ten hours: one read of the database each time a cache entry is 45 minutes old.
    assert!((5..=14).contains(&from_database), "{from_database}");
}

#[test]
fn an_expired_cache_entry_is_written_again_by_the_same_isolate() {
    let (fixture, id) = connect_without_expiry();
    resolve_source(&fixture, &id, Consistency::Edge);
    fixture.world.advance_clock(4000);
    assert_eq!(resolve_source(&fixture, &id, Consistency::Edge), Source::Database);
    assert_eq!(resolve_source(&fixture, &id, Consistency::Edge), Source::Cache);
}

#[test]
fn an_outage_is_served_from_cache_entries_of_the_last_fifteen_minutes() {
    for consistency in [Consistency::Edge, Consistency::Available] {
        let (fixture, id) = connect_without_expiry();
        for minute in 0..150 {
            fixture.world.advance_clock(60);
            resolve_source(&fixture, &id, consistency);
            if minute % 10 == 0 {
                fixture.world.db.down.set(true);
                fixture.world.advance_clock(840);
                assert_eq!(
                    resolve_source(&fixture, &id, consistency),
                    Source::Cache,
                    "{consistency:?}, minute {minute}"
                );
                fixture.world.db.down.set(false);
            }
        }
    }
}

#[test]
fn an_expiring_cache_entry_answers_while_the_database_is_down() {
    let (fixture, id) = connect_without_expiry();
    resolve_source(&fixture, &id, Consistency::Edge);
    fixture.world.advance_clock(3000);
    fixture.world.db.down.set(true);
    for _ in 0..5 {
        assert_eq!(resolve_source(&fixture, &id, Consistency::Edge), Source::Cache);
    }
}

#[test]
fn a_credential_in_use_is_cached_at_most_twice_in_45_minutes() {
    let (fixture, id) = connect_without_expiry();
    for _ in 0..270 {
        fixture.world.advance_clock(10);
        resolve_source(&fixture, &id, Consistency::Available);
    }
    assert_eq!(fixture.world.cache.puts.get(), 2, "the connection's copy and the key's");
}

// ---- C2: new grants ----

#[test]
fn a_failed_write_after_an_exchange_loses_no_grant() {
    for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
        let fixture = Fixture::new();
        fixture.world.db.tamper("UPDATE oauth_clients SET failures = 1");
        add_fault(&fixture, "UPDATE oauth_clients SET misconfigured_at = NULL", 9, fault);
        let id = fixture.connect("ann");
        assert!(fixture.world.acme.has_live_grant("ann"));
        assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());
    }
}

#[test]
fn a_failed_write_after_a_refresh_loses_no_token() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE oauth_clients SET failures = 1");
    add_fault(&fixture, "UPDATE oauth_clients SET misconfigured_at = NULL", 99, Fault::BeforeCommit);
    for _ in 0..3 {
        fixture.expire_access_token(&id);
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
        assert!(
            fixture.world.acme.accepts_access_token(&crate::support::plain_tokens(&fixture.open_credential(&id)).0)
        );
    }
}

/// The writes and reads between an exchange and the end of its flow.
const AFTER_THE_EXCHANGE: [&str; 4] = [
    "INSERT INTO connections",
    "SELECT * FROM connections WHERE workspace_id = ?1 AND app = ?2 AND account_id",
    "INSERT INTO events",
    "UPDATE flows SET status = ?2 WHERE id",
];

#[test]
fn a_grant_is_stored_after_failed_writes() {
    for sql in AFTER_THE_EXCHANGE {
        for fault in [Fault::BeforeCommit, Fault::AfterCommit, Fault::Slow(7000), Fault::NoAnswer] {
            for times in 1..=2 {
                let fixture = Fixture::new();
                add_fault(&fixture, sql, times, fault);
                let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
                assert_eq!(flow.outcome, FlowOutcome::Done, "{sql} {fault:?}: {:?}", flow.error);
                assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1, "{sql} {fault:?}");
                assert!(fixture.world.acme.has_live_grant("ann"), "{sql} {fault:?}");
                let id = flow.connection.unwrap();
                assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok(), "{sql} {fault:?}");
            }
        }
    }
}

#[test]
fn a_grant_that_cannot_be_stored_is_revoked_and_reported() {
    for sql in AFTER_THE_EXCHANGE {
        let fixture = Fixture::new();
        add_fault(&fixture, sql, 99, Fault::BeforeCommit);
        let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
        assert_eq!((flow.outcome, flow.error.as_deref()), (FlowOutcome::Failed, Some("not_stored")), "{sql}");
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 0, "{sql}");
        assert!(!fixture.world.acme.has_live_grant("ann"), "{sql}: the grant is revoked");
    }
    assert!(FlowFailure::NotStored.explanation().contains("could not be stored"));
}

#[test]
fn a_reconnect_that_cannot_be_stored_does_not_revoke_the_grant_in_use() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    add_fault(&fixture, "UPDATE connections SET app_revision", 99, Fault::BeforeCommit);
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(flow.error.as_deref(), Some("not_stored"));
    assert!(fixture.world.acme.has_live_grant("ann"));
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn a_question_whose_write_was_reported_as_failed_is_asked() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    add_fault(&fixture, "sealed_grant = ?3", 1, Fault::AfterCommit);
    let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
    assert_eq!(flow.outcome, FlowOutcome::Undecided);
    assert!(flow.sealed_grant.is_some() && fixture.world.acme.has_live_grant("ann"));
}

#[test]
fn a_grant_of_an_unknown_account_is_revoked() {
    for reply in [Reply::status(500, "{}"), Reply::status(200, "{}"), Reply::status(403, "{}")] {
        let fixture = Fixture::new();
        fixture.world.acme.script_always("/me", Some(reply));
        let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
        assert_eq!(flow.error.as_deref(), Some("account_unknown"));
        assert!(!fixture.world.acme.has_live_grant("ann"), "the grant is revoked");
    }
}

#[test]
fn a_grant_of_an_unknown_account_is_kept_if_a_connection_may_use_it() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/me", Some(Reply::status(500, "{}")));
    assert_eq!(fixture.complete_flow(&fixture.connect_request(), "ann").error.as_deref(), Some("account_unknown"));
    fixture.world.acme.clear_scripts();
    fixture.expire_access_token(&id);
    assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed);
}

#[test]
fn a_callback_with_an_unreadable_client_secret_says_so() {
    let fixture = Fixture::new();
    let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let (code, state) = fixture.world.acme.consent(&url, "ann");
    fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
    let CallbackResult::Flow(id) = fixture.return_from_app(returned, BROWSER_SESSION) else { panic!("no flow") };
    assert_eq!(fixture.load_flow(&id).error.as_deref(), Some("client_refused"));
}

// ---- C3: unusable clients ----

fn get_connection(fixture: &Fixture, id: &ConnectionId) -> Value {
    call(fixture, &first_key(fixture), Method::Get, &format!("/v1/connections/{id}"), &Value::Null).1
}

fn find_attention(fixture: &Fixture, id: &ConnectionId, code: &str) -> Option<Value> {
    get_connection(fixture, id)["attention"].as_array().unwrap().iter().find(|one| one["code"] == code).cloned()
}

/// Scheduled runs, half an hour apart. Returns how often a connection was checked.
fn count_checked_in_runs(fixture: &Fixture, number: u32) -> u64 {
    let mut checked = 0;
    for _ in 0..number {
        fixture.world.advance_clock(1800);
        checked += fixture.run_scheduled().checked;
    }
    checked
}

fn assert_reported_everywhere(fixture: &Fixture, id: &ConnectionId, problem: ClientProblem) {
    let key = first_key(fixture);
    let told = find_attention(fixture, id, "client_misconfigured").unwrap();
    assert_eq!(told["detail"], problem.explanation());
    assert_eq!(find_attention(fixture, id, "app_unreachable"), None, "the app was not asked");
    let list = "/v1/connections?attention=client_misconfigured";
    let listed = call(fixture, &key, Method::Get, list, &Value::Null).1;
    assert!(listed["data"].as_array().unwrap().iter().any(|one| one["id"] == id.as_str()), "{listed}");
    let path = format!("/v1/connections/{id}/resolve");
    let (status, refusal) = call(fixture, &key, Method::Post, &path, &json!({}));
    assert_eq!((status, &refusal["code"]), (409, &json!("client_misconfigured")));
    assert!(refusal["detail"].as_str().unwrap().contains(problem.explanation()), "{refusal}");
    let (_, client) = call(fixture, &key, Method::Get, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(client["misconfigured"]["error"], problem.as_str(), "{client}");
    assert_eq!(client["misconfigured"]["detail"], problem.explanation());
    // A person is told what to do on a page, not how to call the API.
    let mut root = crate::settings::admin(fixture);
    for page in ["/".to_owned(), format!("/connections/{id}")] {
        let shown = root.get(&page).body;
        assert!(shown.contains("An admin has to enter it again."), "{page}: {shown}");
        assert!(!shown.contains("PUT /v1") && !shown.contains("ENCRYPTION_KEYS"), "{page}: {shown}");
    }
}

#[test]
fn an_unreadable_client_secret_is_reported_and_checks_become_less_frequent() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    fixture.world.advance_clock(86_400 * 2);
    let requests = fixture.world.acme.count_all_requests();
    let checked = count_checked_in_runs(&fixture, 96);
    assert!((4..=24).contains(&checked), "{checked} in two days");
    assert_eq!(fixture.world.acme.count_all_requests(), requests);
    assert_reported_everywhere(&fixture, &id, ClientProblem::SecretUnreadable);
    assert!(find_attention(&fixture, &other, "client_misconfigured").is_some());
    let secret = fixture.world.acme.client_secret.borrow().clone();
    fixture.put_client_secret(&secret);
    assert!(find_attention(&fixture, &id, "client_misconfigured").is_none());
    assert!(count_checked_in_runs(&fixture, 1) >= 1, "the next run looks");
    assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok());
}

#[test]
fn a_readable_client_secret_is_no_longer_reported() {
    for near_end in [true, false] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let sealed = fixture.load_client().sealed_secret.unwrap();
        fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
        assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::ClientMisconfigured);
        assert!(find_attention(&fixture, &id, "client_misconfigured").is_some());
        fixture.world.db.tamper(&format!("UPDATE oauth_clients SET sealed_secret = '{sealed}'"));
        fixture.world.acme.script_always("/token", Some(Reply::status(503, "")));
        fixture.world.advance_clock(if near_end { 4000 } else { 600 });
        let reason = if near_end { RefreshReason::Force } else { RefreshReason::ScheduledCheck };
        fixture.refresh(&id, reason);
        assert!(find_attention(&fixture, &id, "client_misconfigured").is_none(), "near its end: {near_end}");
    }
}

#[test]
fn an_abandoned_attempt_does_not_block_later_results() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    fixture.world.acme.script_always("/token", Some(Reply::error(HttpError::Timeout)));
    for _ in 0..3 {
        fixture.refresh_if_needed(&id);
        fixture.world.advance_clock(4000);
    }
    assert!(fixture.load_connection(&id).lease.is_some(), "it stays until the next attempt");
    fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    let checked = count_checked_in_runs(&fixture, 96);
    assert!(checked <= 24, "{checked} in two days");
    assert_reported_everywhere(&fixture, &id, ClientProblem::SecretUnreadable);
}

#[test]
fn another_account_is_refused_after_an_abandoned_attempt() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_next("/token", Reply::error(HttpError::Timeout));
    fixture.refresh(&id, RefreshReason::Force);
    fixture.world.advance_clock(600);
    assert!(fixture.load_connection(&id).lease.is_some(), "it stays until the next attempt");
    let other = r#"{"sub":"id-bob","email":"bob@acme.example"}"#;
    fixture.world.acme.script_always("/me", Some(Reply::status(200, other)));
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect);
    assert_eq!(fixture.load_connection(&id).reason, Some(ReconnectReason::OtherAccount));
    fixture.world.advance_clock(8 * 86_400);
    fixture.run_scheduled();
    assert_eq!(fixture.load_connection(&id).sealed_credential, None, "forgotten after a week like any other");
}

#[test]
fn a_client_for_other_addresses_is_reported_on_the_affected_connections() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let elsewhere = json!({ "token": ["https://acme.example/other"], "authorize": [], "revoke": [], "api": [] });
    fixture.world.db.tamper(&format!("UPDATE oauth_clients SET destinations = '{elsewhere}'"));
    fixture.world.advance_clock(86_400 * 2);
    let checked = count_checked_in_runs(&fixture, 96);
    assert!((2..=12).contains(&checked), "{checked} in two days");
    assert_reported_everywhere(&fixture, &id, ClientProblem::AddressesChanged);
    let (_, refusal) =
        call(&fixture, &first_key(&fixture), Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({}));
    assert!(refusal["reconnect_url"].as_str().unwrap().contains(id.as_str()));
    assert_eq!(fixture.load_client().backoff_until.unix(), 0, "other connections of the client are not held off");
}

// ---- C6: the memory of an isolate ----

fn count_uses(fixture: &Fixture) -> i64 {
    fixture.world.db.query_number("SELECT count(*) FROM uses")
}

#[test]
fn a_cache_entry_that_another_isolate_deleted_is_written_by_the_next_call() {
    let fixture = fixture_in_one_isolate(&json!({}));
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    // Another isolate renames it and deletes the cache entry. This one does not know.
    let other = fixture.world.in_one_isolate();
    other.run(async {
        let context = other.context();
        let change = ConnectionPatch { name: Some("Mine".into()), ..ConnectionPatch::default() };
        context.db().batch(vec![store::connections::patch(&fixture.workspace, &id, &change)]).await.unwrap();
        CacheRemoval::of_connection(&context, &id).unwrap().perform(&context).await
    });
    fixture.world.advance_clock(61);
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    assert_eq!(resolve_source(&fixture, &id, Consistency::Edge), Source::Cache);
}

#[test]
fn a_cache_entry_is_checked_once_a_minute() {
    let (fixture, id) = connect_without_expiry();
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    let before = fixture.world.cache.gets.get();
    for _ in 0..30 {
        fixture.world.advance_clock(10);
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    }
    let of_keys = 30;
    assert!(fixture.world.cache.gets.get() - before <= of_keys + 5, "{}", fixture.world.cache.gets.get() - before);
}

#[test]
fn workflows_with_spaces_in_their_names_are_distinct() {
    let fixture = fixture_in_one_isolate(&json!({}));
    let id = fixture.connect("ann");
    let request = |workflow: &str, step: &str| ResolveRequest {
        workflow: Some(workflow.into()),
        step: Some(step.into()),
        ..request_with_consistency(Consistency::Edge)
    };
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    for (workflow, step) in [("a b", "c"), ("a", "b c"), ("a b c", ""), ("", "a b c")] {
        if workflow.is_empty() || step.is_empty() {
            continue;
        }
        let resolved = fixture.resolve_and_finish(&id, request(workflow, step)).unwrap().resolved;
        assert_eq!(resolved.source, Source::Cache);
    }
    assert_eq!(count_uses(&fixture), 2);
}

#[test]
fn a_use_that_could_not_be_recorded_is_recorded_by_the_next_call() {
    let fixture = fixture_in_one_isolate(&json!({}));
    let id = fixture.connect("ann");
    let request = || ResolveRequest { workflow: Some("w".into()), ..request_with_consistency(Consistency::Edge) };
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    add_fault(&fixture, "INSERT INTO uses", 1, Fault::BeforeCommit);
    fixture.resolve_and_finish(&id, request()).unwrap();
    assert_eq!(count_uses(&fixture), 0);
    fixture.resolve_and_finish(&id, request()).unwrap();
    assert_eq!(count_uses(&fixture), 1);
}

#[test]
fn a_key_that_could_not_be_cached_is_cached_by_the_next_call() {
    let fixture = fixture_in_one_isolate(&json!({}));
    let id = fixture.connect("ann");
    resolve_source(&fixture, &id, Consistency::Available);
    fixture.world.cache.entries.borrow_mut().retain(|name, _| !name.starts_with("key/"));
    fixture.world.advance_clock(61);
    fixture.world.cache.refused_puts.set(1);
    resolve_source(&fixture, &id, Consistency::Available);
    resolve_source(&fixture, &id, Consistency::Available);
    assert!(fixture.world.cache.entry_names().iter().any(|name| name.starts_with("key/")));
}

// ---- C11: errors of the configuration and of requests ----

#[test]
fn an_unmigrated_database_is_misconfigured_with_a_remedy() {
    for change in
        ["ALTER TABLE connections RENAME COLUMN metadata TO metadata_of_before", "DROP TABLE encryption_key_checks"]
    {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
        fixture.world.db.tamper(change);
        if change.starts_with("ALTER") {
            assert_eq!(resolve_source(&fixture, &id, Consistency::Available), Source::Cache);
        }
        let path = format!("/v1/connections/{id}");
        for (method, path) in [(Method::Patch, path.as_str()), (Method::Get, "/v1/connections")] {
            let patch = if method == Method::Patch { json!({ "metadata": {} }) } else { Value::Null };
            let (status, problem) = call(&fixture, &first_key(&fixture), method, path, &patch);
            assert_eq!((status, &problem["code"]), (503, &json!("misconfigured")), "{change} {path}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains("migrations"), "{problem}");
            assert_eq!(problem.get("retry_after"), None, "to wait does not help");
        }
        // A changed schema. The spare database of other tests must not have it.
        std::mem::forget(fixture);
    }
}

#[test]
fn messages_of_missing_tables_and_columns_are_recognised() {
    for message in [
        "D1_ERROR: no such table: encryption_key_checks: SQLITE_ERROR",
        "D1_ERROR: no such column: c.definition_changed at offset 7: SQLITE_ERROR",
        "D1_ERROR: table apps has no column named rollout_due_at: SQLITE_ERROR",
    ] {
        assert!(matches!(DatabaseError::from_message(message), DatabaseError::NotMigrated(_)), "{message}");
    }
    let unique = DatabaseError::from_message("D1_ERROR: UNIQUE constraint failed: keys.id: SQLITE_CONSTRAINT");
    assert_eq!(unique, DatabaseError::Constraint);
    let other = DatabaseError::from_message("D1_ERROR: Network connection lost.");
    assert!(matches!(other, DatabaseError::Unavailable(_)));
}

#[test]
fn an_empty_auth_method_is_refused_everywhere() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let body = json!({ "client_id": "acme-client" });
    for (method, path, body) in [
        (Method::Get, "/v1/apps/acme/client", &Value::Null),
        (Method::Put, "/v1/apps/acme/client", &body),
        (Method::Delete, "/v1/apps/acme/client", &Value::Null),
        (Method::Post, "/v1/apps/acme/client/test", &Value::Null),
    ] {
        let (status, problem) = call(&fixture, &key, method, &format!("{path}?auth_method="), body);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("auth_method")), "{path}");
        let (status, problem) = call(&fixture, &key, method, &format!("{path}?ways=oauth2"), body);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("ways")), "{path}");
    }
    assert_eq!(call(&fixture, &key, Method::Get, "/v1/apps/acme/client?auth_method=oauth2", &Value::Null).0, 200);
    let mut ann = crate::http::TestBrowser::new(&fixture);
    ann.sign_in();
    for page in ["/oauth/start/acme?auth_method=", "/apps/acme/setup?auth_method="] {
        assert_eq!(ann.get(page).status, 422, "{page}");
    }
}

// ---- plans ----

#[test]
fn the_search_for_duplicates_uses_the_account_index() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for at in 0..30 {
        fixture.connect(&format!("p{at}"));
    }
    fixture.world.db.reset_counts();
    let key = first_key(&fixture);
    for path in ["/v1/connections".to_owned(), format!("/v1/connections/{id}")] {
        assert_eq!(call(&fixture, &key, Method::Get, &path, &Value::Null).0, 200);
    }
    for code in ["duplicate", "client_misconfigured", "definition_changed"] {
        call(&fixture, &key, Method::Get, &format!("/v1/connections?attention={code}"), &Value::Null);
    }
    let seen = fixture.world.db.statements_run.borrow().clone();
    let lists: Vec<_> = seen.iter().filter(|sql| sql.contains("AS duplicate")).collect();
    // One text for each filter, one for the list, one for a connection alone.
    assert_eq!(lists.len(), 5);
    for sql in lists {
        let plan = fixture.world.db.explain_query_plan(sql);
        let of_duplicates: Vec<_> = plan.iter().filter(|line| line.contains(" d ")).collect();
        assert!(!of_duplicates.is_empty(), "{plan:?}");
        for line in of_duplicates {
            let index = "connections_by_account (workspace_id=? AND app=? AND account_id=? AND user_id=?)";
            assert!(line.contains(index), "{line}");
        }
        assert!(
            plan.iter().any(|line| line.contains("SEARCH k USING INDEX sqlite_autoindex_oauth_clients_1 (id=?)")),
            "{plan:?}"
        );
    }
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::Healthy);
    assert!(fixture.world.run(async { fixture.world.context().db().batch(vec![]).await }).is_ok());
}

#[test]
fn a_manual_credential_is_stored_after_failed_writes() {
    for sql in ["INSERT INTO flows", "INSERT INTO connections"] {
        for fault in [Fault::BeforeCommit, Fault::AfterCommit] {
            let fixture = Fixture::new();
            let key = first_key(&fixture);
            let app = json!({
                "id": "keyed", "name": "Keyed", "auth": { "type": "api_key" },
                "request": { "headers": { "x-key": "{api_key}" }, "base_url": "https://acme.example/" },
            });
            assert_eq!(call(&fixture, &key, Method::Post, "/v1/apps", &app).0, 201);
            add_fault(&fixture, sql, 2, fault);
            let entered =
                json!({ "app": "keyed", "credential": { "type": "api_key", "api_key": "live_1" }, "check": false });
            let (status, made) = call(&fixture, &key, Method::Post, "/v1/connections", &entered);
            assert_eq!(status, 201, "{sql} {fault:?}: {made}");
            assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1, "{sql} {fault:?}");
        }
    }
}
