//! Resolve: a credential is returned, or a refusal that says what to do.

use connections::app::AppId;
use connections::caller::KeyScope;
use connections::error::{Error, ErrorCode};
use connections::ids::{ConnectionId, Shard};
use connections::ports::{Database as _, HttpError, RefreshOutcome, RefreshReason};
use connections::resolve::{
    Consistency, Expectations, Freshness, ResolveRequest, ResolveResult, Source, deferred, resolve,
};
use connections::store;
use connections::vault::SealContext;
use serde_json::json;

use crate::support::fixture::{access_token_of, need_reason};
use crate::support::{Fault, FaultRule, Fixture, Reply, plain_tokens};

fn default_request() -> ResolveRequest {
    ResolveRequest::default()
}

fn request_for_step(workflow: &str, step: &str) -> ResolveRequest {
    ResolveRequest { workflow: Some(workflow.into()), step: Some(step.into()), ..default_request() }
}

fn request_with_consistency(consistency: Consistency) -> ResolveRequest {
    ResolveRequest { consistency, ..default_request() }
}

fn patch_connection(fixture: &Fixture, id: &ConnectionId, patch: &store::connections::ConnectionPatch) {
    fixture.world.run(async {
        let statement = store::connections::patch(&fixture.workspace, id, patch);
        fixture.world.context().db().batch(vec![statement]).await.unwrap();
    });
}

fn error_code(answer: Result<ResolveResult, Error>) -> ErrorCode {
    answer.map(|answered| answered.resolved.freshness).unwrap_err().code
}

fn workflow_patch(workflow: &str) -> store::connections::ConnectionPatch {
    store::connections::ConnectionPatch { allowed_workflows: Some(Some(vec![workflow.into()])), ..Default::default() }
}

// ---- the answer ----

#[test]
fn a_resolve_returns_the_credential_and_how_to_send_it() {
    let fixture = Fixture::with_definition(&json!({ "request": { "base_url": "https://api.acme.example/v1/" } }));
    let id = fixture.connect("ann");
    let resolved = fixture.resolve(&id, default_request()).unwrap().resolved;
    let (stored, _) = plain_tokens(&fixture.open_credential(&id));
    assert_eq!(access_token_of(&resolved), stored);
    assert_eq!(resolved.issued.request.headers["Authorization"], format!("Bearer {stored}"));
    assert_eq!(resolved.issued.request.base_url.as_deref(), Some("https://api.acme.example/v1/"));
    assert_eq!((resolved.freshness, resolved.source), (Freshness::Fresh, Source::Database));
    assert_eq!(resolved.account.unwrap().label, "ann@acme.example");
    assert_eq!(resolved.issued.credential.token.unwrap().scopes, ["read", "write"]);
    assert_eq!(resolved.name, "Acme (ann@acme.example)");
    assert!(fixture.world.acme.accepts_access_token(&stored));
}

#[test]
fn a_hot_resolve_is_one_round_trip_without_a_write_before_the_answer() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let asked = fixture.world.acme.count_all_requests();
    fixture.world.db.reset_counts();
    let answered = fixture.resolve(&id, request_for_step("w", "s")).unwrap();
    assert_eq!(fixture.world.db.round_trips.get(), 1);
    assert_eq!(fixture.world.db.statements.get(), 1);
    assert_eq!(fixture.world.db.writes.get(), 0);
    assert_eq!((fixture.world.cache.gets.get(), fixture.world.cache.puts.get()), (0, 0));
    assert_eq!(fixture.world.acme.count_all_requests(), asked);
    assert_eq!(answered.deferred.len(), 1, "the use is noted behind the answer");
}

#[test]
fn an_isolate_reads_a_definition_once_for_each_revision() {
    let fixture = fixture_in_one_isolate();
    let id = fixture.connect("ann");
    let version = || {
        let answered = fixture.resolve(&id, request_for_step("w", "s")).unwrap();
        answered.resolved.issued.request.headers.get("x-version").cloned()
    };
    assert_eq!(version(), None);
    fixture.put_app_revision(&json!({ "request": { "headers": { "x-version": "2" } } }));
    fixture.world.db.tamper("UPDATE apps SET definition = 'is not read' WHERE revision = 1");
    assert_eq!(version(), None);
    fixture.world.db.tamper("UPDATE connections SET app_revision = 2");
    assert_eq!(version().as_deref(), Some("2"));
    fixture.world.db.tamper("UPDATE apps SET definition = 'is not read' WHERE revision = 2");
    assert_eq!(version().as_deref(), Some("2"));
}

/// An app that was deleted and made again has the numbers of revisions that no connection needs any more.
#[test]
fn a_revision_whose_number_is_given_again_is_read_again() {
    let fixture = fixture_in_one_isolate();
    let (old, new) = (fixture.connect("ann"), fixture.connect("bob"));
    let version = || {
        let answered = fixture.resolve(&old, request_for_step("w", "s")).unwrap();
        answered.resolved.issued.request.headers.get("x-version").cloned()
    };
    fixture.put_app_revision(&json!({ "request": { "headers": { "x-version": "2" } } }));
    fixture.world.db.tamper(&format!("UPDATE connections SET app_revision = 2 WHERE id = '{new}'"));
    let workspace = &fixture.workspace;
    fixture.world.db.tamper(&format!(
        "INSERT INTO replacements (connection_id, workspace_id, replaced_by, across_environments, created_at)
        VALUES ('{old}', '{workspace}', '{new}', 0, 1)"
    ));
    assert_eq!(version().as_deref(), Some("2"));
    assert_eq!(version().as_deref(), Some("2"));
    // The one that answered is erased, and with it what kept the revision.
    fixture.world.db.tamper("DELETE FROM replacements");
    fixture.world.db.tamper(&format!("UPDATE connections SET deleted_at = 1 WHERE id = '{new}'"));
    fixture.world.db.tamper("DELETE FROM apps WHERE revision = 2");
    fixture.put_app_revision(&json!({ "request": { "headers": { "x-version": "another" } } }));
    fixture.world.db.tamper("UPDATE connections SET app_revision = 2");
    assert_eq!(version().as_deref(), Some("another"));
}

#[test]
fn every_statement_of_a_hot_resolve_uses_a_primary_key() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for other in 0..20 {
        fixture.connect(&format!("other{other}"));
    }
    fixture.world.db.reset_counts();
    fixture.resolve(&id, request_for_step("w", "s")).unwrap();
    assert_eq!(fixture.world.db.rows_scanned.get(), 0, "no row is stepped over, however many connections there are");
    for sql in fixture.world.db.statements_run.borrow().iter() {
        for line in fixture.world.db.explain_query_plan(sql).iter().filter(|line| !line.contains(" SUBQUERY ")) {
            let is_key = line.contains("USING PRIMARY KEY") || line.contains("USING INDEX sqlite_autoindex_");
            assert!(line.starts_with("SEARCH") && is_key, "{sql}: {line}");
        }
    }
}

#[test]
fn min_ttl_decides_whether_a_resolve_waits() {
    for (passed, min_ttl, freshness, redemptions) in [
        (0, 60, Freshness::Fresh, 0),
        (0, 86_400, Freshness::Fresh, 0),
        (3000, 60, Freshness::Fresh, 0),
        (1900, 86_400, Freshness::Refreshed, 1),
        (3300, 60, Freshness::Stale, 0),
        (3300, 600, Freshness::Refreshed, 1),
        (3545, 60, Freshness::Refreshed, 1),
        (3599, 0, Freshness::Stale, 0),
        (3600, 0, Freshness::Refreshed, 1),
        (9999, 60, Freshness::Refreshed, 1),
    ] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        let since = fixture.load_connection(&id).connected_at;
        fixture.world.advance_clock(passed - fixture.world.now().since(since));
        let answered = fixture.resolve(&id, ResolveRequest { min_ttl, ..default_request() }).unwrap();
        assert_eq!(answered.resolved.freshness, freshness, "{passed} {min_ttl}");
        assert_eq!(fixture.world.acme.received_refreshes().len(), redemptions, "{passed} {min_ttl}");
        assert!(fixture.world.acme.accepts_access_token(access_token_of(&answered.resolved)));
    }
}

#[test]
fn an_expiring_token_is_refreshed_after_the_answer() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.advance_clock(3300);
    let answered = fixture.resolve_and_finish(&id, default_request()).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Stale);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
    assert_eq!(fixture.resolve(&id, default_request()).unwrap().resolved.freshness, Freshness::Fresh);
}

#[test]
fn a_failed_early_refresh_still_returns_the_valid_token() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.advance_clock(3300);
    fixture.world.acme.script_always("/token", Some(Reply::status(503, "")));
    for _ in 0..20 {
        let answered = fixture.resolve_and_finish(&id, default_request()).unwrap();
        assert_eq!(answered.resolved.freshness, Freshness::Stale);
    }
    assert_eq!(
        fixture.world.acme.count_requests("/token"),
        2,
        "the exchange and one refresh: the others wait for their time"
    );
}

#[test]
fn after_a_failed_refresh_a_token_is_returned_while_it_is_valid_for_ten_seconds() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.latency_ms.set(0);
    fixture.world.acme.script_always("/token", Some(Reply::status(400, "{\"error\":\"slow_down\"}")));
    let end = fixture.load_connection(&id).expires_at.unwrap();
    fixture.world.advance_clock(end.since(fixture.world.now()) - 55);
    assert_eq!(fixture.resolve(&id, default_request()).unwrap().resolved.freshness, Freshness::Stale);
    fixture.world.advance_clock(50);
    let error = fixture.resolve(&id, default_request()).unwrap_err();
    assert_eq!(error.code, ErrorCode::AppUnavailable);
    assert!(error.hints.retry_after.unwrap() >= 1);
}

#[test]
fn the_token_of_an_awaited_refresh_is_read_from_the_database() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let before = plain_tokens(&fixture.open_credential(&id)).0;
    let answered = fixture.resolve(&id, ResolveRequest { force_refresh: true, ..default_request() }).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Refreshed);
    assert_ne!(access_token_of(&answered.resolved), before);
    assert_eq!(access_token_of(&answered.resolved), plain_tokens(&fixture.open_credential(&id)).0);
}

#[test]
fn an_old_token_is_never_returned_as_refreshed() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let read = FaultRule {
        statement_part: "SELECT * FROM connections WHERE workspace_id = ?1 AND id",
        times: 1,
        fault: Fault::BeforeCommit,
    };
    fixture.world.db.fault_rules.borrow_mut().push(read);
    let answer = fixture.resolve(&id, ResolveRequest { force_refresh: true, ..default_request() });
    assert_eq!(error_code(answer), ErrorCode::DatabaseUnavailable, "the new token is stored, but could not be read");
}

#[test]
fn a_token_without_expiry_is_fresh() {
    let fixture = Fixture::new();
    fixture.world.acme.expires_in.set(None);
    let id = fixture.connect("ann");
    fixture.world.advance_clock(86_400 * 90);
    let resolved = fixture.resolve(&id, ResolveRequest { min_ttl: 86_400, ..default_request() }).unwrap().resolved;
    assert_eq!((resolved.freshness, resolved.issued.credential.token.unwrap().expires_at), (Freshness::Fresh, None));
}

// ---- refusals ----

#[test]
fn invalid_keys_are_unauthorized() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let soon = fixture.world.now().plus(10);
    let ending = fixture.make_key(|key| key.expires_at = Some(soon));
    let revoked = fixture.make_key(|_| {});
    let unknown =
        connections::caller::new_key(&crate::support::small_ports::SeededRandom::new(77), Shard::FIRST).unwrap().1;
    let unknown = connections::caller::PresentedKey::parse(unknown.expose()).unwrap();
    fixture.world.run(async {
        let context = fixture.world.context();
        assert!(
            store::keys::revoke(context.db(), &fixture.workspace, &revoked.id, true, None, context.now())
                .await
                .unwrap()
                .is_some()
        );
    });
    fixture.resolve_as(&ending, &id, default_request()).unwrap();
    fixture.world.advance_clock(10);
    for key in [&ending, &revoked, &unknown] {
        let answer = fixture.resolve_as(key, &id, default_request());
        assert_eq!(error_code(answer), ErrorCode::Unauthorized);
    }
}

#[test]
fn a_connection_outside_the_allow_list_does_not_exist() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    let narrow = fixture.make_key(|key| key.connections = Some(vec![other.clone()]));
    let elsewhere = fixture.make_key(|key| key.apps = Some(vec![AppId::parse("slack").unwrap()]));
    let here = fixture.make_key(|key| key.apps = Some(vec![AppId::parse("acme").unwrap()]));
    assert_eq!(error_code(fixture.resolve_as(&narrow, &id, default_request())), ErrorCode::ConnectionNotFound);
    assert_eq!(error_code(fixture.resolve_as(&elsewhere, &id, default_request())), ErrorCode::ConnectionNotFound);
    fixture.resolve_as(&narrow, &other, default_request()).unwrap();
    fixture.resolve_as(&here, &id, default_request()).unwrap();
}

#[test]
fn another_workspaces_connection_does_not_exist_in_any_mode() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let answer = fixture.resolve_as(&stranger.presented_key(), &id, request_with_consistency(consistency));
        assert_eq!(error_code(answer), ErrorCode::ConnectionNotFound);
    }
}

#[test]
fn refusals_have_the_documented_order() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let missing = ConnectionId::parse("con_0123456789abcdefABCD-_").unwrap();
    let bad = || ResolveRequest { min_ttl: -1, ..request_for_step("other", "s") };
    let weak = fixture.make_key(|key| key.scopes = vec![KeyScope::ConnectionsRead]);
    let stranger =
        connections::caller::new_key(&crate::support::small_ports::SeededRandom::new(5), Shard::FIRST).unwrap().1;
    let stranger = connections::caller::PresentedKey::parse(stranger.expose()).unwrap();
    patch_connection(&fixture, &id, &workflow_patch("w"));
    assert_eq!(error_code(fixture.resolve_as(&stranger, &missing, bad())), ErrorCode::Unauthorized);
    assert_eq!(error_code(fixture.resolve_as(&weak, &missing, bad())), ErrorCode::InsufficientKeyScope);
    assert_eq!(error_code(fixture.resolve(&missing, bad())), ErrorCode::ConnectionNotFound);
    assert_eq!(error_code(fixture.resolve(&id, bad())), ErrorCode::InvalidRequest);
    let elsewhere = Expectations { account: Some("somebody".into()), ..Expectations::default() };
    let asked = |workflow: &str, expect: &Expectations| ResolveRequest {
        expect: expect.clone(),
        scopes: vec!["admin".into()],
        ..request_for_step(workflow, "s")
    };
    assert_eq!(error_code(fixture.resolve(&id, asked("other", &elsewhere))), ErrorCode::WorkflowNotAllowed);
    assert_eq!(error_code(fixture.resolve(&id, asked("w", &elsewhere))), ErrorCode::UnexpectedConnection);
    fixture.world.db.tamper("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked'");
    assert_eq!(error_code(fixture.resolve(&id, asked("w", &Expectations::default()))), ErrorCode::NeedsReconnect);
    fixture.world.db.tamper("UPDATE connections SET status = 'connected', reconnect_reason = NULL");
    assert_eq!(error_code(fixture.resolve(&id, asked("w", &Expectations::default()))), ErrorCode::MissingScopes);
}

#[test]
fn a_step_that_expects_another_connection_gets_the_actual_one_named() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    let expects = [
        Expectations { app: AppId::parse("slack"), ..Expectations::default() },
        Expectations { account: Some("id-bob".into()), ..Expectations::default() },
        Expectations { connection: Some(other), ..Expectations::default() },
    ];
    for expect in expects {
        let error = fixture.resolve(&id, ResolveRequest { expect, ..default_request() }).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnexpectedConnection);
        let actual = error.hints.actual.unwrap();
        assert_eq!((actual.app.as_str(), actual.account.as_deref()), ("acme", Some("ann@acme.example")));
    }
    let right = Expectations {
        app: AppId::parse("acme"),
        account: Some("id-ann".into()),
        connection: Some(id.clone()),
        environment: None,
    };
    fixture.resolve(&id, ResolveRequest { expect: right, ..default_request() }).unwrap();
}

#[test]
fn only_allowed_workflows_can_resolve() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    patch_connection(&fixture, &id, &workflow_patch("w"));
    fixture.resolve(&id, request_for_step("w", "s")).unwrap();
    assert_eq!(error_code(fixture.resolve(&id, request_for_step("v", "s"))), ErrorCode::WorkflowNotAllowed);
    assert_eq!(
        error_code(fixture.resolve(&id, default_request())),
        ErrorCode::WorkflowNotAllowed,
        "who names none is not on the list"
    );
}

#[test]
fn missing_scopes_are_named_with_a_reconnect_link() {
    let fixture = Fixture::new();
    *fixture.world.acme.granted_scopes.borrow_mut() = Some("read".into());
    let id = fixture.connect("ann");
    assert_eq!(fixture.load_connection(&id).missing_scopes(), ["write"]);
    fixture.resolve(&id, ResolveRequest { scopes: vec!["read".into()], ..default_request() }).unwrap();
    let error = fixture
        .resolve(&id, ResolveRequest { scopes: vec!["read".into(), "write".into()], ..default_request() })
        .unwrap_err();
    assert_eq!(error.code, ErrorCode::MissingScopes);
    assert_eq!(error.hints.missing_scopes, ["write"]);
    let url = format!("https://c.example.com/connections/{id}/reconnect?scopes=write");
    assert_eq!(error.hints.reconnect_url, Some(url));
}

#[test]
fn a_connection_that_needs_reconnect_names_the_reason_and_a_link() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.withdraw_grants("ann");
    fixture.expire_access_token(&id);
    for _ in 0..3 {
        let error = fixture.resolve(&id, default_request()).unwrap_err();
        assert_eq!((error.code, error.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some("revoked")));
        let url = format!("https://c.example.com/connections/{id}/reconnect");
        assert_eq!(error.hints.reconnect_url, Some(url));
    }
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
}

#[test]
fn an_expired_token_without_a_refresh_token_needs_a_reconnect() {
    let fixture = Fixture::new();
    fixture.world.acme.gives_refresh_token.set(false);
    let id = fixture.connect("ann");
    fixture.resolve(&id, ResolveRequest { min_ttl: 86_400, ..default_request() }).unwrap();
    fixture.expire_access_token(&id);
    let error = fixture.resolve(&id, default_request()).unwrap_err();
    assert_eq!((error.code, error.hints.reason.as_deref()), (ErrorCode::NeedsReconnect, Some("refresh_token_missing")));
}

#[test]
fn an_unconfirmed_connection_is_not_resolved() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE connections SET status = 'awaiting_confirmation'");
    assert_eq!(error_code(fixture.resolve(&id, default_request())), ErrorCode::AwaitingConfirmation);
}

#[test]
fn a_misconfigured_client_is_reported_only_without_a_valid_token() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/token", Some(Reply::status(401, "{\"error\":\"invalid_client\"}")));
    let answered = fixture.resolve(&id, ResolveRequest { force_refresh: true, ..default_request() }).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Stale);
    fixture.expire_access_token(&id);
    for _ in 0..2 {
        assert_eq!(error_code(fixture.resolve(&id, default_request())), ErrorCode::ClientMisconfigured);
    }
}

#[test]
fn a_slow_refresh_of_another_caller_is_refresh_in_progress() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.expire_access_token(&id);
    fixture.world.acme.latency_ms.set(14_000);
    let first = fixture.world.runtime.spawn(fixture.world.run_refresher(&id, need_reason(&fixture.world)));
    fixture.world.run(fixture.world.runtime.sleep(100));
    let error = fixture.resolve(&id, default_request()).unwrap_err();
    assert_eq!((error.code, error.hints.retry_after), (ErrorCode::RefreshInProgress, Some(5)));
    fixture.world.run(first);
    fixture.resolve(&id, default_request()).unwrap();
}

#[test]
fn a_failing_app_without_a_valid_token_is_app_unavailable() {
    for reply in [Reply::status(500, ""), Reply::error(HttpError::Network), Reply::status(429, "")] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.expire_access_token(&id);
        fixture.world.acme.script_next("/token", reply);
        let error = fixture.resolve(&id, default_request()).unwrap_err();
        assert_eq!(error.code, ErrorCode::AppUnavailable);
        assert!(error.hints.retry_after.unwrap() > 0);
    }
}

#[test]
fn a_database_outage_is_a_503_in_strong_mode() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    fixture.world.db.down.set(true);
    assert_eq!(error_code(fixture.resolve(&id, default_request())), ErrorCode::DatabaseUnavailable);
}

#[test]
fn a_disconnected_connection_is_not_found() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        fixture.resolve_and_finish(&id, request_with_consistency(consistency)).unwrap();
    }
    fixture.disconnect(&id).unwrap();
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        assert_eq!(
            error_code(fixture.resolve(&id, request_with_consistency(consistency))),
            ErrorCode::ConnectionNotFound
        );
    }
}

// ---- the cache ----

#[test]
fn available_mode_reads_the_database_and_falls_back_to_the_cache() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let first = fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap().resolved;
    assert_eq!(first.source, Source::Database);
    fixture.world.db.down.set(true);
    let second = fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap().resolved;
    assert_eq!((second.source, second.freshness), (Source::Cache, Freshness::Fresh));
    assert_eq!(access_token_of(&second), access_token_of(&first));
    assert_eq!((second.name, second.account, second.issued.request), (first.name, first.account, first.issued.request));
    fixture.world.cache.down.set(true);
    assert_eq!(
        error_code(fixture.resolve(&id, request_with_consistency(Consistency::Available))),
        ErrorCode::DatabaseUnavailable
    );
}

#[test]
fn edge_mode_reads_the_cache_and_falls_back_to_the_database() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    assert_eq!(
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap().resolved.source,
        Source::Database
    );
    fixture.world.db.reset_counts();
    assert_eq!(
        fixture.resolve(&id, request_with_consistency(Consistency::Edge)).unwrap().resolved.source,
        Source::Cache
    );
    assert_eq!(fixture.world.db.round_trips.get(), 0);
}

#[test]
fn a_cache_outage_changes_no_answer() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.cache.down.set(true);
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        assert_eq!(
            fixture.resolve_and_finish(&id, request_with_consistency(consistency)).unwrap().resolved.source,
            Source::Database
        );
    }
    fixture.world.cache.down.set(false);
    fixture.world.cache.refused_puts.set(2);
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    assert_eq!(
        fixture.resolve(&id, request_with_consistency(Consistency::Edge)).unwrap().resolved.source,
        Source::Cache
    );
}

#[test]
fn a_cache_entry_follows_the_policy_of_the_database() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    patch_connection(&fixture, &id, &workflow_patch("w"));
    let asked = |workflow: &str| ResolveRequest { consistency: Consistency::Edge, ..request_for_step(workflow, "s") };
    fixture.resolve_and_finish(&id, asked("w")).unwrap();
    assert_eq!(fixture.resolve(&id, asked("w")).unwrap().resolved.source, Source::Cache);
    assert_eq!(error_code(fixture.resolve(&id, asked("v"))), ErrorCode::WorkflowNotAllowed);
    let narrow = fixture.make_key(|key| key.connections = Some(vec![]));
    assert_eq!(error_code(fixture.resolve_as(&narrow, &id, asked("w"))), ErrorCode::ConnectionNotFound);
    let expect = Expectations { account: Some("id-bob".into()), ..Expectations::default() };
    assert_eq!(
        error_code(fixture.resolve(&id, ResolveRequest { expect, ..asked("w") })),
        ErrorCode::UnexpectedConnection
    );
    assert_eq!(
        error_code(fixture.resolve(&id, ResolveRequest { scopes: vec!["x".into()], ..asked("w") })),
        ErrorCode::MissingScopes
    );
}

#[test]
fn an_unreadable_cache_entry_is_a_miss() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    fixture.resolve_and_finish(&other, request_with_consistency(Consistency::Edge)).unwrap();
    {
        let mut entries = fixture.world.cache.entries.borrow_mut();
        let stolen = entries[&format!("connection/{other}")].clone();
        entries.insert(format!("connection/{id}"), stolen);
    }
    let resolved = fixture.resolve(&id, request_with_consistency(Consistency::Edge)).unwrap().resolved;
    assert_eq!((resolved.source, resolved.account.unwrap().id), (Source::Database, "id-ann".to_owned()));
}

#[test]
fn a_cache_entry_never_contains_a_refresh_token() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    let entry: serde_json::Value =
        serde_json::from_str(&fixture.world.cache.entries.borrow()[&format!("connection/{id}")].0).unwrap();
    let seal_context = SealContext {
        workspace: fixture.workspace.as_str(),
        table: "cache",
        row: id.as_str(),
        field: "connection",
        generation: 1,
    };
    let opened = fixture.world.config().key_ring.open(&seal_context, entry["sealed"].as_str().unwrap()).unwrap();
    let (access, refresh) = plain_tokens(&fixture.open_credential(&id));
    assert!(opened.expose().contains(&access));
    assert!(!opened.expose().contains(&refresh.unwrap()));
}

#[test]
fn a_credential_version_is_cached_once() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for _ in 0..5 {
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    }
    assert_eq!(fixture.world.cache.puts.get(), 2, "the connection and the key");
    fixture.expire_access_token(&id);
    for _ in 0..5 {
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    }
    let connection_puts = fixture.world.cache.puts.get() - 2;
    assert!((1..=2).contains(&connection_puts), "the new version, and the key's entry that had ended");
    for _ in 0..3 {
        fixture.resolve_and_finish(&id, default_request()).unwrap();
    }
    assert_eq!(fixture.world.cache.puts.get() - 2, connection_puts, "strong mode copies nothing");
}

#[test]
fn a_token_that_expires_within_a_minute_is_not_cached() {
    let fixture = Fixture::new();
    fixture.world.acme.expires_in.set(Some(50));
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
    assert_eq!(fixture.world.cache.puts.get(), 0);
}

#[test]
fn a_cache_entry_of_a_connection_that_ended_meanwhile_is_deleted() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let context = fixture.world.context();
    let answered = fixture
        .world
        .run(resolve(&context, &fixture.presented_key(), &id, request_with_consistency(Consistency::Edge).validated()))
        .unwrap();
    fixture.disconnect(&id).unwrap();
    fixture.world.run(async {
        let context = fixture.world.context();
        store::keys::revoke(context.db(), &fixture.workspace, &fixture.key.id, true, None, context.now())
            .await
            .unwrap();
    });
    fixture.world.run(async {
        for after in answered.deferred {
            deferred::run(&context, after).await;
        }
    });
    assert_eq!(fixture.world.cache.entry_names(), Vec::<String>::new());
}

#[test]
fn a_concurrent_reconnect_or_disconnect_leaves_no_old_cache_entry() {
    for seed in 0..24 {
        let world = crate::support::World::new(crate::support::RefreshMode::Object, Some(seed));
        let fixture = Fixture::in_world(&world, &json!({}));
        let id = fixture.connect("ann");
        let (context, key, again) = (world.context(), fixture.presented_key(), id.clone());
        let copying = world.runtime.spawn(async move {
            let answered =
                resolve(&context, &key, &again, request_with_consistency(Consistency::Edge).validated()).await;
            for after in answered.into_iter().flat_map(|answered| answered.deferred) {
                deferred::run(&context, after).await;
            }
        });
        let ending = fixture.spawn_disconnect(&id);
        world.run(async {
            copying.await;
            ending.await.unwrap();
        });
        let name = format!("connection/{id}");
        assert!(!world.cache.entry_names().contains(&name), "seed {seed}");
    }
}

#[test]
fn an_expiring_cached_token_is_refreshed_after_the_answer() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    fixture.world.advance_clock(3300);
    let answered = fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    assert_eq!(answered.resolved.freshness, Freshness::Stale);
    assert_eq!(fixture.world.acme.received_refreshes().len(), 1);
}

/// A fixture in one isolate, which keeps its memory between calls.
fn fixture_in_one_isolate() -> Fixture {
    let world = crate::support::World::new(crate::support::RefreshMode::Direct, None).in_one_isolate();
    Fixture::in_world(&world, &json!({}))
}

fn cache_key(id: &ConnectionId) -> String {
    format!("connection/{id}")
}

#[test]
fn a_token_that_is_being_refreshed_is_not_cached() {
    for consistency in [Consistency::Available, Consistency::Edge] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.world.advance_clock(3300);
        fixture.world.acme.script_always("/token", Some(Reply::status(503, "")));
        let answered = fixture.resolve_and_finish(&id, request_with_consistency(consistency)).unwrap();
        assert_eq!(answered.resolved.freshness, Freshness::Stale);
        assert!(!fixture.world.cache.entry_names().contains(&cache_key(&id)), "{consistency:?}");
        assert_eq!(fixture.world.cache.puts.get(), 0);
    }
}

#[test]
fn a_cache_entry_of_a_replaced_token_is_deleted() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let context = fixture.world.context();
    let answered = fixture
        .world
        .run(resolve(&context, &fixture.presented_key(), &id, request_with_consistency(Consistency::Edge).validated()))
        .unwrap();
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    fixture.world.run(async {
        for after in answered.deferred {
            deferred::run(&context, after).await;
        }
    });
    assert_eq!(fixture.world.cache.puts.get(), 2, "it was put");
    assert!(!fixture.world.cache.entry_names().contains(&cache_key(&id)), "and taken back");
    let next = fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap().resolved;
    assert_eq!(access_token_of(&next), plain_tokens(&fixture.open_credential(&id)).0);
}

#[test]
fn a_version_is_cached_once_while_reads_still_miss() {
    let fixture = fixture_in_one_isolate();
    let id = fixture.connect("ann");
    fixture.world.cache.reads_find_nothing.set(true);
    for _ in 0..20 {
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
        fixture.world.advance_clock(1);
    }
    assert_eq!(fixture.world.cache.puts.get(), 2, "the connection and the key, once each");
    assert_eq!(fixture.refresh(&id, RefreshReason::Force), RefreshOutcome::Refreshed);
    for _ in 0..20 {
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Available)).unwrap();
        fixture.world.advance_clock(1);
    }
    assert_eq!(fixture.world.cache.puts.get(), 3, "and the new version once");
}

#[test]
fn a_deleted_cache_entry_is_written_again() {
    let fixture = fixture_in_one_isolate();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    fixture.world.run(async {
        let context = fixture.world.context();
        connections::cache::CacheRemoval::of_connection(&context, &id).unwrap().perform(&context).await
    });
    assert!(!fixture.world.cache.entry_names().contains(&cache_key(&id)));
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    assert!(fixture.world.cache.entry_names().contains(&cache_key(&id)));
}

#[test]
fn cache_hits_write_the_database_once_in_five_minutes() {
    let fixture = fixture_in_one_isolate();
    let id = fixture.connect("ann");
    let asked = ResolveRequest { consistency: Consistency::Edge, ..request_for_step("w", "s") };
    fixture.resolve_and_finish(&id, asked.clone()).unwrap();
    for round in 0..3 {
        fixture.world.advance_clock(301);
        fixture.world.db.reset_counts();
        for _ in 0..20 {
            let answered = fixture.resolve_and_finish(&id, asked.clone()).unwrap();
            assert_eq!(answered.resolved.source, Source::Cache);
            fixture.world.advance_clock(1);
        }
        assert_eq!(fixture.world.db.round_trips.get(), 1, "round {round}: one batch for twenty hits");
        let noted = fixture.world.db.query_number("SELECT last_used_at FROM uses");
        assert!(fixture.world.now().unix() - noted <= 20, "and that one was written");
    }
    fixture.world.db.reset_counts();
    fixture
        .resolve_and_finish(&id, ResolveRequest { consistency: Consistency::Edge, ..request_for_step("w", "other") })
        .unwrap();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM uses"), 2, "another step is noted for itself");
}

#[test]
fn hits_of_an_expiring_cache_entry_request_a_refresh_at_intervals() {
    let fixture = fixture_in_one_isolate();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    fixture.world.advance_clock(3300);
    fixture.world.acme.script_always("/token", Some(Reply::status(400, "{\"error\":\"slow_down\"}")));
    fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
    fixture.world.db.reset_counts();
    for _ in 0..20 {
        let resolved = fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap().resolved;
        assert_eq!((resolved.source, resolved.freshness), (Source::Cache, Freshness::Stale));
    }
    assert_eq!(fixture.world.db.round_trips.get(), 0);
}

#[test]
fn the_cache_entry_of_a_connection_that_needs_reconnect_is_deleted_at_once() {
    for refreshable in [true, false] {
        let fixture = Fixture::new();
        fixture.world.acme.gives_refresh_token.set(refreshable);
        let id = fixture.connect("ann");
        fixture.resolve_and_finish(&id, request_with_consistency(Consistency::Edge)).unwrap();
        assert!(fixture.world.cache.entry_names().contains(&cache_key(&id)));
        fixture.world.acme.withdraw_grants("ann");
        assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect);
        assert!(!fixture.world.cache.entry_names().contains(&cache_key(&id)));
        assert_eq!(
            error_code(fixture.resolve(&id, request_with_consistency(Consistency::Edge))),
            ErrorCode::NeedsReconnect
        );
    }
}

// ---- changes while a call waits ----

/// A call that waits for a refresh which takes eight seconds.
fn spawn_waiting_resolve(
    fixture: &Fixture,
    id: &ConnectionId,
    request: ResolveRequest,
) -> crate::support::runtime::Task<Result<ResolveResult, Error>> {
    fixture.expire_access_token(id);
    fixture.world.acme.latency_ms.set(8000);
    let (context, key, id) = (fixture.world.context(), fixture.presented_key(), id.clone());
    let waiting = fixture.world.runtime.spawn(async move { resolve(&context, &key, &id, request.validated()).await });
    fixture.world.run(fixture.world.runtime.sleep(200));
    fixture.world.acme.latency_ms.set(10);
    waiting
}

#[test]
fn an_account_switched_during_a_resolve_is_not_returned_as_the_expected_one() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let expect = Expectations { account: Some("id-ann".into()), ..Expectations::default() };
    let waiting = spawn_waiting_resolve(&fixture, &id, ResolveRequest { expect, ..default_request() });
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "bob");
    let choice = connections::connect::complete::Choice::SwitchAccount;
    fixture.world.run(async {
        connections::connect::complete::apply_choice(&fixture.world.context(), &flow, choice).await.unwrap();
    });
    assert_eq!(error_code(fixture.world.run(waiting)), ErrorCode::UnexpectedConnection);
    let resolved = fixture.resolve(&id, default_request()).unwrap().resolved;
    assert_eq!(resolved.account.unwrap().id, "id-bob");
}

#[test]
fn a_workflow_that_lost_access_during_a_resolve_gets_nothing() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let waiting = spawn_waiting_resolve(&fixture, &id, request_for_step("w", "s"));
    patch_connection(&fixture, &id, &workflow_patch("v"));
    assert_eq!(error_code(fixture.world.run(waiting)), ErrorCode::WorkflowNotAllowed);
    fixture.resolve(&id, request_for_step("v", "s")).unwrap();
}

#[test]
fn a_lost_compare_and_set_is_refresh_in_progress() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_next("/token", Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    let waiting = spawn_waiting_resolve(&fixture, &id, default_request());
    fixture.world.db.tamper("UPDATE connections SET version = version + 1");
    let error = fixture.world.run(waiting).map(|_| ()).unwrap_err();
    assert_eq!((error.code, error.hints.retry_after), (ErrorCode::RefreshInProgress, Some(1)));
}

#[test]
fn a_connection_disconnected_during_a_resolve_does_not_exist() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let waiting = spawn_waiting_resolve(&fixture, &id, default_request());
    fixture.disconnect(&id).unwrap();
    assert_eq!(error_code(fixture.world.run(waiting)), ErrorCode::ConnectionNotFound);
}

// ---- uses ----

#[test]
fn a_use_is_written_at_most_every_five_minutes() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.resolve_and_finish(&id, request_for_step("w", "s")).unwrap();
    fixture.world.db.reset_counts();
    for _ in 0..20 {
        fixture.resolve_and_finish(&id, request_for_step("w", "s")).unwrap();
    }
    assert_eq!(fixture.world.db.writes.get(), 0);
    assert_eq!(fixture.world.db.round_trips.get(), 20);
    fixture.world.advance_clock(301);
    fixture.resolve_and_finish(&id, request_for_step("w", "s")).unwrap();
    assert_eq!(fixture.world.db.round_trips.get(), 22);
    assert_eq!(fixture.world.db.query_number("SELECT last_used_at FROM uses"), fixture.world.now().unix());
    assert_eq!(fixture.load_connection(&id).last_used_at, Some(fixture.world.now()));
}

#[test]
fn active_days_are_counted_by_day() {
    let fixture = Fixture::new();
    fixture.world.acme.expires_in.set(None);
    let id = fixture.connect("ann");
    for _ in 0..6 {
        fixture.resolve_and_finish(&id, request_for_step("w", "s")).unwrap();
        fixture.world.advance_clock(600);
    }
    assert_eq!(fixture.world.db.query_number("SELECT active_days FROM uses"), 1, "an hour is one day");
    for day in 2..5 {
        fixture.world.advance_clock(86_400);
        fixture.resolve_and_finish(&id, request_for_step("w", "s")).unwrap();
        assert_eq!(fixture.world.db.query_number("SELECT active_days FROM uses"), day);
    }
}

#[test]
fn steps_and_workflows_are_recorded_separately() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    for (workflow, one) in [("w", "a"), ("w", "b"), ("v", "a")] {
        fixture.resolve_and_finish(&id, request_for_step(workflow, one)).unwrap();
    }
    fixture.resolve_and_finish(&id, ResolveRequest { workflow: Some("u".into()), ..default_request() }).unwrap();
    fixture.world.advance_clock(301);
    fixture.resolve_and_finish(&id, default_request()).unwrap();
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM uses"), 4);
    assert_eq!(fixture.load_connection(&id).last_used_at, Some(fixture.world.now()));
}

#[test]
fn a_use_that_cannot_be_recorded_does_not_fail_the_resolve() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let fault = FaultRule { statement_part: "INSERT INTO uses", times: 1, fault: Fault::BeforeCommit };
    fixture.world.db.fault_rules.borrow_mut().push(fault);
    fixture.resolve_and_finish(&id, request_for_step("w", "s")).unwrap();
    assert_eq!(fixture.world.log.count_events("use_not_recorded"), 1);
}

#[test]
fn the_parameters_of_a_resolve_are_bounded() {
    let long = "x".repeat(129);
    for (field, wrong) in [
        ("min_ttl", ResolveRequest { min_ttl: -1, ..default_request() }),
        ("min_ttl", ResolveRequest { min_ttl: 86_401, ..default_request() }),
        ("workflow", ResolveRequest { workflow: Some(long.clone()), ..default_request() }),
        ("workflow", ResolveRequest { workflow: Some(String::new()), ..default_request() }),
        ("workflow", ResolveRequest { step: Some("s".into()), ..default_request() }),
        ("step", request_for_step("w", &long)),
        ("step", request_for_step("w", "a\nb")),
        ("scopes", ResolveRequest { scopes: vec!["s".into(); 101], ..default_request() }),
    ] {
        let error = wrong.validated().unwrap_err();
        assert!(error.hints.errors.iter().any(|one| one.field == field), "{field}: {error:?}");
    }
}
