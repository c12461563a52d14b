//! Faults of the database, the cache and the configuration: what is lost, what is said, and how often it is tried.

use connections::client::ClientProblem;
use connections::connect::Failure;
use connections::connect::callback::{Landing, Returned};
use connections::connection::Reason;
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, DatabaseError, Errand, ErrandOutcome, HttpError};
use connections::resolve::removal::Removal;
use connections::resolve::{Ask, Consistency, Source};
use connections::store;
use connections::store::authorizations::Outcome;
use connections::store::connections::Patch;
use serde_json::{Value, json};

use crate::http::{call, first_key};
use crate::support::database::{Fault, Wound};
use crate::support::scene::BROWSER;
use crate::support::world::{Way, World};
use crate::support::{Reply, Scene};

fn mode(consistency: Consistency) -> Ask {
    Ask { consistency, ..Ask::default() }
}

fn in_one_instance(patch: &Value) -> Scene {
    Scene::in_world(&World::new(Way::Direct, None).in_one_instance(), patch)
}

/// A connection whose credential never ends.
fn long_lived() -> (Scene, ConnectionId) {
    let scene = in_one_instance(&json!({}));
    scene.world.acme.gives_refresh_token.set(false);
    let id = scene.connect("ann");
    scene.world.db.tamper("UPDATE connections SET expires_at = NULL");
    (scene, id)
}

fn fail(scene: &Scene, sql: &'static str, times: u32, wound: Wound) {
    scene.world.db.faults.borrow_mut().push(Fault { sql, times, wound });
}

fn source(scene: &Scene, id: &ConnectionId, consistency: Consistency) -> Source {
    scene.resolve_fully(id, mode(consistency)).unwrap().resolved.source
}

// ---- C1: copies ----

#[test]
fn the_copy_of_a_long_lived_credential_outlives_its_hour_while_it_is_used() {
    let (scene, id) = long_lived();
    assert_eq!(source(&scene, &id, Consistency::Edge), Source::Database);
    let mut from_database = 0;
    for _ in 0..60 {
        scene.world.pass(600);
        from_database += u32::from(source(&scene, &id, Consistency::Edge) == Source::Database);
    }
    // Ten hours: one read of the record each time that a copy is three quarters of an hour old.
    assert!((5..=14).contains(&from_database), "{from_database}");
}

#[test]
fn a_copy_that_lapsed_unused_is_written_again_by_the_same_instance() {
    let (scene, id) = long_lived();
    source(&scene, &id, Consistency::Edge);
    scene.world.pass(4000);
    assert_eq!(source(&scene, &id, Consistency::Edge), Source::Database);
    assert_eq!(source(&scene, &id, Consistency::Edge), Source::Cache);
}

#[test]
fn an_outage_finds_a_copy_of_whatever_was_resolved_in_the_last_quarter_of_an_hour() {
    for consistency in [Consistency::Edge, Consistency::Available] {
        let (scene, id) = long_lived();
        for minute in 0..150 {
            scene.world.pass(60);
            source(&scene, &id, consistency);
            if minute % 10 == 0 {
                scene.world.db.down.set(true);
                scene.world.pass(840);
                assert_eq!(source(&scene, &id, consistency), Source::Cache, "{consistency:?}, minute {minute}");
                scene.world.db.down.set(false);
            }
        }
    }
}

#[test]
fn a_copy_near_its_end_still_answers_where_the_record_is_out_of_reach() {
    let (scene, id) = long_lived();
    source(&scene, &id, Consistency::Edge);
    scene.world.pass(3000);
    scene.world.db.down.set(true);
    for _ in 0..5 {
        assert_eq!(source(&scene, &id, Consistency::Edge), Source::Cache);
    }
}

#[test]
fn a_credential_in_steady_use_is_written_to_the_cache_twice_in_three_quarters_of_an_hour_at_most() {
    let (scene, id) = long_lived();
    for _ in 0..270 {
        scene.world.pass(10);
        source(&scene, &id, Consistency::Available);
    }
    assert_eq!(scene.world.kv.puts.get(), 2, "the connection's copy and the key's");
}

// ---- C2: fresh grants ----

#[test]
fn bookkeeping_that_fails_after_an_exchange_costs_no_grant() {
    for wound in [Wound::Before, Wound::After] {
        let scene = Scene::new();
        scene.world.db.tamper("UPDATE oauth_clients SET failures = 1");
        fail(&scene, "UPDATE oauth_clients SET misconfigured_at = NULL", 9, wound);
        let id = scene.connect("ann");
        assert!(scene.world.acme.is_alive("ann"));
        assert!(scene.resolve(&id, Ask::default()).is_ok());
    }
}

#[test]
fn bookkeeping_that_fails_after_a_refresh_costs_no_token() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.db.tamper("UPDATE oauth_clients SET failures = 1");
    fail(&scene, "UPDATE oauth_clients SET misconfigured_at = NULL", 99, Wound::Before);
    for _ in 0..3 {
        scene.expire(&id);
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
        assert!(scene.world.acme.accepts(&crate::support::tokens(&scene.credential(&id)).0));
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
fn a_grant_is_stored_though_its_first_writes_fail() {
    for sql in AFTER_THE_EXCHANGE {
        for wound in [Wound::Before, Wound::After, Wound::Slow(7000), Wound::Silent] {
            for times in 1..=2 {
                let scene = Scene::new();
                fail(&scene, sql, times, wound);
                let flow = scene.flow(&scene.wish(), "ann");
                assert_eq!(flow.outcome, Outcome::Done, "{sql} {wound:?}: {:?}", flow.error);
                assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 1, "{sql} {wound:?}");
                assert!(scene.world.acme.is_alive("ann"), "{sql} {wound:?}");
                let id = flow.connection.unwrap();
                assert!(scene.resolve(&id, Ask::default()).is_ok(), "{sql} {wound:?}");
            }
        }
    }
}

#[test]
fn a_grant_that_can_not_be_stored_is_given_back_and_the_person_is_told() {
    for sql in AFTER_THE_EXCHANGE {
        let scene = Scene::new();
        fail(&scene, sql, 99, Wound::Before);
        let flow = scene.flow(&scene.wish(), "ann");
        assert_eq!((flow.outcome, flow.error.as_deref()), (Outcome::Failed, Some("not_stored")), "{sql}");
        assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 0, "{sql}");
        assert!(!scene.world.acme.is_alive("ann"), "{sql}: the grant is revoked");
    }
    assert!(Failure::NotStored.explained().contains("could not be stored"));
}

#[test]
fn a_repair_that_can_not_be_stored_keeps_the_grant_that_the_connection_lives_on() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    fail(&scene, "UPDATE connections SET app_revision", 99, Wound::Before);
    let flow = scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(flow.error.as_deref(), Some("not_stored"));
    assert!(scene.world.acme.is_alive("ann"));
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn a_question_that_was_stored_though_nobody_heard_of_it_is_asked() {
    let scene = Scene::new();
    scene.connect("ann");
    fail(&scene, "sealed_grant = ?3", 1, Wound::After);
    let flow = scene.flow(&scene.wish(), "ann");
    assert_eq!(flow.outcome, Outcome::Undecided);
    assert!(flow.sealed_grant.is_some() && scene.world.acme.is_alive("ann"));
}

#[test]
fn a_grant_of_an_account_that_the_app_does_not_tell_is_given_back() {
    for reply in [Reply::status(500, "{}"), Reply::status(200, "{}"), Reply::status(403, "{}")] {
        let scene = Scene::new();
        scene.world.acme.always("/me", Some(reply));
        let flow = scene.flow(&scene.wish(), "ann");
        assert_eq!(flow.error.as_deref(), Some("account_unknown"));
        assert!(!scene.world.acme.is_alive("ann"), "the grant is revoked");
    }
}

#[test]
fn a_grant_of_an_unknown_account_is_kept_where_a_connection_may_live_on_it() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/me", Some(Reply::status(500, "{}")));
    assert_eq!(scene.flow(&scene.wish(), "ann").error.as_deref(), Some("account_unknown"));
    scene.world.acme.calm();
    scene.expire(&id);
    assert_eq!(scene.need(&id), ErrandOutcome::Refreshed);
}

#[test]
fn a_callback_whose_client_secret_does_not_open_says_so() {
    let scene = Scene::new();
    let url = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&url, "ann");
    scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
    let Landing::Flow(id) = scene.come_back(returned, BROWSER) else { panic!("no flow") };
    assert_eq!(scene.read_flow(&id).error.as_deref(), Some("client_refused"));
}

// ---- C3: clients that can't be used ----

fn shown(scene: &Scene, id: &ConnectionId) -> Value {
    call(scene, &first_key(scene), Method::Get, &format!("/v1/connections/{id}"), &Value::Null).1
}

fn attention(scene: &Scene, id: &ConnectionId, code: &str) -> Option<Value> {
    shown(scene, id)["attention"].as_array().unwrap().iter().find(|one| one["code"] == code).cloned()
}

/// Runs of the schedule, half an hour apart. Answers how often a connection was taken up.
fn runs(scene: &Scene, number: u32) -> u64 {
    let mut checked = 0;
    for _ in 0..number {
        scene.world.pass(1800);
        checked += scene.tick().checked;
    }
    checked
}

fn is_told_everywhere(scene: &Scene, id: &ConnectionId, problem: ClientProblem) {
    let key = first_key(scene);
    let told = attention(scene, id, "client_misconfigured").unwrap();
    assert_eq!(told["detail"], problem.explained());
    assert_eq!(attention(scene, id, "app_unreachable"), None, "the app was not asked");
    let list = "/v1/connections?attention=client_misconfigured";
    assert_eq!(call(scene, &key, Method::Get, list, &Value::Null).1["data"][0]["id"], id.as_str());
    let path = format!("/v1/connections/{id}/resolve");
    let (status, refusal) = call(scene, &key, Method::Post, &path, &json!({}));
    assert_eq!((status, &refusal["code"]), (409, &json!("client_misconfigured")));
    assert!(refusal["detail"].as_str().unwrap().contains(problem.explained()), "{refusal}");
    let (_, client) = call(scene, &key, Method::Get, "/v1/apps/acme/client", &Value::Null);
    assert_eq!(client["misconfigured"]["error"], problem.as_str(), "{client}");
    assert_eq!(client["misconfigured"]["detail"], problem.explained());
}

#[test]
fn a_client_whose_secret_does_not_open_is_told_and_its_connections_are_checked_ever_more_seldom() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    scene.world.pass(86_400 * 2);
    let requests = scene.world.acme.requests();
    let checked = runs(&scene, 96);
    assert!((4..=24).contains(&checked), "{checked} in two days");
    assert_eq!(scene.world.acme.requests(), requests);
    is_told_everywhere(&scene, &id, ClientProblem::SecretUnreadable);
    assert!(attention(&scene, &other, "client_misconfigured").is_some());
    let secret = scene.world.acme.client_secret.borrow().clone();
    scene.enter_secret(&secret);
    assert!(attention(&scene, &id, "client_misconfigured").is_none());
    assert!(runs(&scene, 1) >= 1, "the next run looks");
    assert!(scene.resolve(&id, Ask::default()).is_ok());
}

#[test]
fn a_secret_that_opens_again_is_told_of_no_more_whatever_the_app_says() {
    for near_end in [true, false] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        let sealed = scene.client().sealed_secret.unwrap();
        scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
        assert_eq!(scene.errand(&id, Errand::Force), ErrandOutcome::ClientMisconfigured);
        assert!(attention(&scene, &id, "client_misconfigured").is_some());
        scene.world.db.tamper(&format!("UPDATE oauth_clients SET sealed_secret = '{sealed}'"));
        scene.world.acme.always("/token", Some(Reply::status(503, "")));
        scene.world.pass(if near_end { 4000 } else { 600 });
        let errand = if near_end { Errand::Force } else { Errand::Check };
        scene.errand(&id, errand);
        assert!(attention(&scene, &id, "client_misconfigured").is_none(), "near its end: {near_end}");
    }
}

#[test]
fn an_attempt_that_never_came_back_keeps_no_later_finding_from_being_written() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.expire(&id);
    scene.world.acme.always("/token", Some(Reply::error(HttpError::Timeout)));
    for _ in 0..3 {
        scene.need(&id);
        scene.world.pass(4000);
    }
    assert!(scene.row(&id).intent.is_some(), "it stays until the next attempt");
    scene.world.db.tamper("UPDATE oauth_clients SET sealed_secret = 'cx1.k1.AAAA'");
    let checked = runs(&scene, 96);
    assert!(checked <= 24, "{checked} in two days");
    is_told_everywhere(&scene, &id, ClientProblem::SecretUnreadable);
}

#[test]
fn another_account_is_refused_though_an_attempt_never_came_back() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.next("/token", Reply::error(HttpError::Timeout));
    scene.errand(&id, Errand::Force);
    scene.world.pass(600);
    assert!(scene.row(&id).intent.is_some(), "it stays until the next attempt");
    let other = r#"{"sub":"id-bob","email":"bob@acme.example"}"#;
    scene.world.acme.always("/me", Some(Reply::status(200, other)));
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead);
    assert_eq!(scene.row(&id).reason, Some(Reason::OtherAccount));
    scene.world.pass(8 * 86_400);
    scene.tick();
    assert_eq!(scene.row(&id).sealed_credential, None, "forgotten after a week like any other");
}

#[test]
fn a_client_that_was_entered_for_other_addresses_is_told_of_the_connections_that_have_them() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let elsewhere = json!({ "token": ["https://acme.example/other"], "authorize": [], "revoke": [], "api": [] });
    scene.world.db.tamper(&format!("UPDATE oauth_clients SET destinations = '{elsewhere}'"));
    scene.world.pass(86_400 * 2);
    let checked = runs(&scene, 96);
    assert!((2..=12).contains(&checked), "{checked} in two days");
    is_told_everywhere(&scene, &id, ClientProblem::AddressesChanged);
    let (_, refusal) =
        call(&scene, &first_key(&scene), Method::Post, &format!("/v1/connections/{id}/resolve"), &json!({}));
    assert!(refusal["reconnect_url"].as_str().unwrap().contains(id.as_str()));
    assert_eq!(scene.client().backoff_until.unix(), 0, "other connections of the client are not held off");
}

// ---- C6: what an instance remembers ----

fn uses(scene: &Scene) -> i64 {
    scene.world.db.number("SELECT count(*) FROM uses")
}

#[test]
fn a_copy_that_another_instance_deleted_is_written_again_by_the_next_call() {
    let scene = in_one_instance(&json!({}));
    let id = scene.connect("ann");
    scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    // Another instance renames it and deletes the copy; this one is told nothing of it.
    let other = scene.world.in_one_instance();
    other.run(async {
        let core = other.core();
        let change = Patch { name: Some("Mine".into()), ..Patch::default() };
        core.db().batch(vec![store::connections::patch(&scene.workspace, &id, &change)]).await.unwrap();
        Removal::of_connection(&core, &id).unwrap().perform(&core).await
    });
    scene.world.pass(61);
    scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    assert_eq!(source(&scene, &id, Consistency::Edge), Source::Cache);
}

#[test]
fn a_copy_is_looked_for_once_a_minute() {
    let (scene, id) = long_lived();
    scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    let before = scene.world.kv.gets.get();
    for _ in 0..30 {
        scene.world.pass(10);
        scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
    }
    let of_keys = 30;
    assert!(scene.world.kv.gets.get() - before <= of_keys + 5, "{}", scene.world.kv.gets.get() - before);
}

#[test]
fn a_workflow_with_a_space_in_its_name_is_not_taken_for_another() {
    let scene = in_one_instance(&json!({}));
    let id = scene.connect("ann");
    let ask = |workflow: &str, step: &str| Ask {
        workflow: Some(workflow.into()),
        step: Some(step.into()),
        ..mode(Consistency::Edge)
    };
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    for (workflow, step) in [("a b", "c"), ("a", "b c"), ("a b c", ""), ("", "a b c")] {
        if workflow.is_empty() || step.is_empty() {
            continue;
        }
        let resolved = scene.resolve_fully(&id, ask(workflow, step)).unwrap().resolved;
        assert_eq!(resolved.source, Source::Cache);
    }
    assert_eq!(uses(&scene), 2);
}

#[test]
fn a_use_that_could_not_be_noted_is_noted_by_the_next_call() {
    let scene = in_one_instance(&json!({}));
    let id = scene.connect("ann");
    let ask = || Ask { workflow: Some("w".into()), ..mode(Consistency::Edge) };
    scene.resolve_fully(&id, mode(Consistency::Edge)).unwrap();
    fail(&scene, "INSERT INTO uses", 1, Wound::Before);
    scene.resolve_fully(&id, ask()).unwrap();
    assert_eq!(uses(&scene), 0);
    scene.resolve_fully(&id, ask()).unwrap();
    assert_eq!(uses(&scene), 1);
}

#[test]
fn a_key_whose_copy_could_not_be_written_is_copied_by_the_next_call() {
    let scene = in_one_instance(&json!({}));
    let id = scene.connect("ann");
    source(&scene, &id, Consistency::Available);
    scene.world.kv.held.borrow_mut().retain(|name, _| !name.starts_with("key/"));
    scene.world.pass(61);
    scene.world.kv.refused_puts.set(1);
    source(&scene, &id, Consistency::Available);
    source(&scene, &id, Consistency::Available);
    assert!(scene.world.kv.names().iter().any(|name| name.starts_with("key/")));
}

// ---- C11: what is said of the configuration and of requests ----

#[test]
fn a_database_that_was_not_migrated_is_misconfigured_and_says_what_to_run() {
    for change in
        ["ALTER TABLE connections RENAME COLUMN metadata TO metadata_of_before", "DROP TABLE encryption_key_checks"]
    {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.resolve_fully(&id, mode(Consistency::Available)).unwrap();
        scene.world.db.tamper(change);
        if change.starts_with("ALTER") {
            assert_eq!(source(&scene, &id, Consistency::Available), Source::Cache);
        }
        let path = format!("/v1/connections/{id}");
        for (method, path) in [(Method::Patch, path.as_str()), (Method::Get, "/v1/connections")] {
            let patch = if method == Method::Patch { json!({ "metadata": {} }) } else { Value::Null };
            let (status, problem) = call(&scene, &first_key(&scene), method, path, &patch);
            assert_eq!((status, &problem["code"]), (503, &json!("misconfigured")), "{change} {path}: {problem}");
            assert!(problem["detail"].as_str().unwrap().contains("migrations"), "{problem}");
            assert_eq!(problem.get("retry_after"), None, "to wait does not help");
        }
        // Another schema than the spare database of other tests must have.
        std::mem::forget(scene);
    }
}

#[test]
fn the_messages_of_a_missing_table_or_column_are_told_from_others() {
    for message in [
        "D1_ERROR: no such table: encryption_key_checks: SQLITE_ERROR",
        "D1_ERROR: no such column: c.definition_changed at offset 7: SQLITE_ERROR",
        "D1_ERROR: table apps has no column named rollout_due_at: SQLITE_ERROR",
    ] {
        assert!(matches!(DatabaseError::of_message(message), DatabaseError::NotMigrated(_)), "{message}");
    }
    let unique = DatabaseError::of_message("D1_ERROR: UNIQUE constraint failed: keys.id: SQLITE_CONSTRAINT");
    assert_eq!(unique, DatabaseError::Constraint);
    let other = DatabaseError::of_message("D1_ERROR: Network connection lost.");
    assert!(matches!(other, DatabaseError::Unavailable(_)));
}

#[test]
fn an_empty_way_is_refused_wherever_one_may_be_named() {
    let scene = Scene::new();
    let key = first_key(&scene);
    let body = json!({ "client_id": "acme-client" });
    for (method, path, body) in [
        (Method::Get, "/v1/apps/acme/client", &Value::Null),
        (Method::Put, "/v1/apps/acme/client", &body),
        (Method::Delete, "/v1/apps/acme/client", &Value::Null),
        (Method::Post, "/v1/apps/acme/client/test", &Value::Null),
    ] {
        let (status, problem) = call(&scene, &key, method, &format!("{path}?way="), body);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("way")), "{path}");
        let (status, problem) = call(&scene, &key, method, &format!("{path}?ways=oauth2"), body);
        assert_eq!((status, &problem["errors"][0]["field"]), (422, &json!("ways")), "{path}");
    }
    assert_eq!(call(&scene, &key, Method::Get, "/v1/apps/acme/client?way=oauth2", &Value::Null).0, 200);
    let mut ann = crate::http::Browser::new(&scene);
    ann.sign_in();
    for page in ["/oauth/start/acme?way=", "/apps/acme/setup?way="] {
        assert_eq!(ann.get(page).status, 422, "{page}");
    }
}

// ---- plans ----

#[test]
fn the_look_for_duplicates_goes_by_account_and_reads_no_workspace() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    for at in 0..30 {
        scene.connect(&format!("p{at}"));
    }
    scene.world.db.reset_counts();
    let key = first_key(&scene);
    for path in ["/v1/connections".to_owned(), format!("/v1/connections/{id}")] {
        assert_eq!(call(&scene, &key, Method::Get, &path, &Value::Null).0, 200);
    }
    for code in ["duplicate", "client_misconfigured", "definition_changed"] {
        call(&scene, &key, Method::Get, &format!("/v1/connections?attention={code}"), &Value::Null);
    }
    let seen = scene.world.db.seen.borrow().clone();
    let lists: Vec<_> = seen.iter().filter(|sql| sql.contains("AS duplicate")).collect();
    assert_eq!(lists.len(), 2);
    for sql in lists {
        let plan = scene.world.db.plan(sql);
        let of_duplicates: Vec<_> = plan.iter().filter(|line| line.contains(" d ")).collect();
        assert_eq!(of_duplicates.len(), 2, "{plan:?}");
        for line in of_duplicates {
            let index = "connections_by_account (workspace_id=? AND app=? AND account_id=? AND user_id=?)";
            assert!(line.contains(index), "{line}");
        }
        assert!(
            plan.iter().any(|line| line.contains("SEARCH k USING INDEX sqlite_autoindex_oauth_clients_1 (id=?)")),
            "{plan:?}"
        );
    }
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Healthy);
    assert!(scene.world.run(async { scene.world.core().db().batch(vec![]).await }).is_ok());
}

#[test]
fn an_entered_credential_is_stored_though_the_first_writes_fail() {
    for sql in ["INSERT INTO flows", "INSERT INTO connections"] {
        for wound in [Wound::Before, Wound::After] {
            let scene = Scene::new();
            let key = first_key(&scene);
            let app = json!({
                "id": "keyed", "name": "Keyed", "auth": { "type": "api_key" },
                "request": { "headers": { "x-key": "{api_key}" }, "base_url": "https://acme.example/" },
            });
            assert_eq!(call(&scene, &key, Method::Post, "/v1/apps", &app).0, 201);
            fail(&scene, sql, 2, wound);
            let entered =
                json!({ "app": "keyed", "credential": { "type": "api_key", "api_key": "live_1" }, "check": false });
            let (status, made) = call(&scene, &key, Method::Post, "/v1/connections", &entered);
            assert_eq!(status, 201, "{sql} {wound:?}: {made}");
            assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 1, "{sql} {wound:?}");
        }
    }
}
