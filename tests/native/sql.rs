//! Every statement is valid for the real schema, and frequent ones find their rows by an index.

use connections::app::AppId;
use connections::caller::{CreatorKey, KeyScope};
use connections::connection::ConnectionStatus;
use connections::ids::ConnectionId;
use connections::ports::Database as _;
use connections::resolve::{Consistency, ResolveRequest};
use connections::store::{self, connections::ConnectionFilter};
use connections::time::Timestamp;
use connections::workspace::{Role, User};
use serde_json::json;

use crate::support::{Fixture, growth, plans};

/// The attention codes that a list can be filtered by.
const ATTENTION_CODES: [&str; 11] = [
    "missing_scopes",
    "client_misconfigured",
    "client_secret_expires",
    "app_unreachable",
    "app_refuses",
    "expires_soon",
    "unused",
    "duplicate",
    "nothing_shared",
    "definition_changed",
    "step_changed_connection",
];

fn list_ids(fixture: &Fixture, filter: ConnectionFilter) -> Vec<ConnectionId> {
    let filter = ConnectionFilter { limit: 50, ..filter };
    fixture.world.run(async {
        let context = fixture.world.context();
        let page = store::connections::list(context.db(), &fixture.workspace, &filter, context.now()).await.unwrap();
        page.data.into_iter().map(|one| one.connection.id).collect()
    })
}

/// Statements that scan a whole table or index, and why that is acceptable. All other statements that any test runs
/// find their rows by an index: `plans.txt` says which one.
const SCANS: [(&str, &str); 8] = [
    ("SELECT part, substr(sealed, 5", "the operator's status counts what each key sealed, in 5,000 rows of a table"),
    ("SELECT key_id, sealed_constant FROM encryption_key_checks", "a row for each key that was ever on the ring"),
    ("SELECT count(*) AS n FROM (SELECT 1 FROM cache_deletes", "the operator's status counts 10,000 rows at most"),
    ("SELECT count(*) AS n FROM (SELECT 1 FROM revocations", "the operator's status counts 10,000 rows at most"),
    (
        "SELECT * FROM identity_providers WHERE EXISTS",
        "two rows at most, and those of workspaces that are being erased",
    ),
    ("SELECT count(*) AS workspaces", "the operator counts 10,000 workspaces of a database at most"),
    ("DELETE FROM reseal_progress WHERE key_id <> ?1", "one row at most"),
    ("UPDATE flows SET expires_at = ?1 [", "a test's own way to let time pass"),
];

#[test]
fn every_statement_uses_an_index_or_is_a_listed_exception() {
    let plans = plans::read();
    assert!(plans.len() >= 200, "{}", plans.len());
    for (statement, steps) in &plans {
        let reason = SCANS.iter().find(|(begins, _)| statement.starts_with(begins));
        let scan = steps.iter().find(|step| plans::is_scan(step));
        assert!(scan.is_none() || reason.is_some(), "{statement}: {scan:?}");
    }
    for (begins, reason) in SCANS {
        assert!(plans.keys().any(|statement| statement.starts_with(begins)), "{begins}: {reason}");
    }
}

#[test]
fn every_statement_that_may_grow_exists() {
    let plans = plans::read();
    for (begins, reason) in growth::GROWING {
        // The file shows only the beginning of a statement.
        let is_it = |statement: &&String| {
            statement.split(" [").any(|shown| shown.starts_with(begins) || begins.starts_with(shown))
        };
        assert!(plans.keys().any(|statement| is_it(&statement)), "{begins}: {reason}");
    }
}

/// Statements that search the connections of a workspace by nothing else, and why they do not read them all, or may.
const OF_A_WHOLE_WORKSPACE: [(&str, &str); 5] = [
    ("DELETE FROM apps WHERE (workspace_id, id, revision) IN", "asks if there is one"),
    ("DELETE FROM oauth_clients WHERE id IN", "asks if there is one"),
    ("DELETE FROM workspaces WHERE id = ?1", "asks if there is one"),
    ("SELECT w.id, w.name", "counts up to a limit"),
    (
        "UPDATE connections SET deleted_at = ?2, generation = generation + 1, next_check_at = NULL WHERE id IN",
        "has a limit",
    ),
];

#[test]
fn no_statement_reads_all_connections_of_a_workspace() {
    let mut seen = std::collections::BTreeSet::new();
    for (statement, steps) in &plans::read() {
        let Some(step) = steps.iter().find(|step| plans::is_of_whole_workspace(step)) else { continue };
        let reason = OF_A_WHOLE_WORKSPACE.iter().find(|(begins, _)| statement.starts_with(begins));
        assert!(reason.is_some(), "{statement}: {step}");
        seen.extend(reason.map(|(begins, _)| *begins));
    }
    assert_eq!(seen.len(), OF_A_WHOLE_WORKSPACE.len(), "{seen:?}");
}

#[test]
fn lists_are_read_in_index_order_from_the_cursor() {
    for (has, index) in [
        ("LIST", "SEARCH c USING INDEX connections_by_workspace (workspace_id=? AND (created_at,id)<(?,?))"),
        (
            "OF_USER",
            "SEARCH c USING INDEX connections_by_user (workspace_id=? AND user_id=? AND (created_at,id)<(?,?))",
        ),
        ("SEEN_BY", "MERGE (UNION ALL)"),
    ] {
        let fixture = Fixture::new();
        fixture.connect("ann");
        fixture.world.db.reset_counts();
        let filter = match has {
            "OF_USER" => ConnectionFilter { user: Some("ann".into()), ..ConnectionFilter::default() },
            "SEEN_BY" => ConnectionFilter { visible_to: Some("ann".into()), ..ConnectionFilter::default() },
            _ => ConnectionFilter::default(),
        };
        assert_eq!(list_ids(&fixture, filter).len(), 1, "{has}");
        let seen = fixture.world.db.statements_run.borrow().clone();
        let plan = fixture.world.db.explain_query_plan(seen.first().unwrap());
        assert!(plan.iter().any(|step| step == index), "{has}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("USE TEMP B-TREE")), "{has}: {plan:#?}");
    }
}

/// A scan of a table without a reason.
fn find_full_scan(fixture: &Fixture, sql: &str) -> Option<String> {
    let has_reason = SCANS.iter().any(|(begins, _)| sql.starts_with(begins));
    fixture.world.db.explain_query_plan(sql).into_iter().find(|step| plans::is_scan(step) && !has_reason)
}

#[test]
fn refresh_resolve_check_and_disconnect_scan_no_table() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let other = fixture.connect("bob");
    fixture.world.db.reset_counts();
    let request = |consistency| ResolveRequest { workflow: Some("w".into()), consistency, ..ResolveRequest::default() };
    fixture.resolve_and_finish(&id, request(Consistency::Available)).unwrap();
    fixture.expire_access_token(&id);
    fixture.resolve_and_finish(&id, request(Consistency::Strong)).unwrap();
    fixture.world.acme.withdraw_grants("bob");
    fixture.refresh_if_needed(&other);
    fixture.complete_flow(&fixture.repair_request(&other), "bob");
    fixture.disconnect(&id).unwrap();
    fixture.world.advance_clock(86_400 * 2);
    fixture.run_scheduled();
    let seen = fixture.world.db.statements_run.borrow().clone();
    assert!(seen.len() >= 40, "{}", seen.len());
    for sql in &seen {
        assert_eq!(find_full_scan(&fixture, sql), None, "{sql}");
    }
}

#[test]
fn due_rows_are_found_by_an_index() {
    let fixture = Fixture::new();
    fixture.run_scheduled();
    let seen = fixture.world.db.statements_run.borrow().clone();
    let due = seen.iter().find(|sql| sql.contains("next_check_at <= ?1") && sql.contains("RETURNING id")).unwrap();
    let plan = fixture.world.db.explain_query_plan(due).join("\n");
    assert!(plan.contains("connections_due"), "{plan}");
    assert!(!plan.contains("USE TEMP B-TREE"), "{plan}");
}

#[test]
fn resources_that_a_key_created_are_found_by_an_index() {
    use crate::http::{TestBrowser, call, first_key, make_key};
    use connections::http::Method;
    let fixture = Fixture::new();
    TestBrowser::new(&fixture).sign_in();
    let (first, key) = (first_key(&fixture), make_key(&fixture, |_| {}));
    let null = serde_json::Value::Null;
    let body = json!({ "app": "acme", "user": { "id": "ann" } });
    let (_, link) = call(&fixture, &key, Method::Post, "/v1/links", &body);
    let (_, sign_in) = call(&fixture, &key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    let (_, sessions) = call(&fixture, &first, Method::Get, "/v1/sessions", &null);
    let id = |one: &serde_json::Value| one["id"].as_str().unwrap().to_owned();
    let key_id = format!("key_{}", key.split('_').nth(1).unwrap());
    fixture.world.db.reset_counts();
    for (method, path) in [
        (Method::Get, "/v1/links?limit=1".to_owned()),
        (Method::Get, "/v1/sign-in-links?limit=1".to_owned()),
        (Method::Get, "/v1/sessions?limit=1".to_owned()),
        (Method::Delete, format!("/v1/links/{}", id(&link))),
        (Method::Delete, format!("/v1/sign-in-links/{}", id(&sign_in))),
        (Method::Delete, format!("/v1/sessions/{}", id(&sessions["data"][0]))),
        (Method::Post, format!("/v1/keys/{key_id}/rotate")),
        (Method::Delete, format!("/v1/keys/{key_id}")),
    ] {
        assert_eq!(call(&fixture, &first, method, &path, &null).0, 200, "{path}");
    }
    fixture.run_scheduled();
    let seen = fixture.world.db.statements_run.borrow().clone();
    assert!(seen.len() >= 40, "{}", seen.len());
    for sql in &seen {
        assert_eq!(find_full_scan(&fixture, sql), None, "{sql}");
    }
    let plan_of = |beginning: &str, has: &str| {
        let sql = seen.iter().find(|sql| sql.starts_with(beginning) && sql.contains(has));
        fixture.world.db.explain_query_plan(sql.unwrap_or_else(|| panic!("{beginning} … {has}"))).join("\n")
    };
    for (beginning, has, index) in [
        (
            "SELECT *, (SELECT max(expires_at)",
            "ORDER BY",
            "connect_links_by_workspace (workspace_id=? AND (created_at,id)<(?,?))",
        ),
        (
            "SELECT * FROM sessions",
            "ORDER BY",
            "sessions_by_workspace (workspace_id=? AND (created_at,token_hash)<(?,?))",
        ),
        (
            "SELECT * FROM sign_in_links",
            "ORDER BY",
            "sign_in_links_by_workspace (workspace_id=? AND (created_at,token_hash)<(?,?))",
        ),
        ("SELECT * FROM sessions", "'~'", "PRIMARY KEY (token_hash>? AND token_hash<?)"),
        ("SELECT * FROM sign_in_links", "'~'", "PRIMARY KEY (token_hash>? AND token_hash<?)"),
        ("UPDATE connect_links", "created_by_key", "connect_links_unfinished (created_by_key=?)"),
        ("DELETE FROM sign_in_links", "created_by_key", "sign_in_links_by_creator (created_by_key=?)"),
        ("DELETE FROM sessions", "created_by_key", "sessions_by_creator (created_by_key=?)"),
        ("UPDATE flows", "FROM sessions", "flows_by_session (session_hash=?)"),
        ("SELECT id FROM api_keys", "created_by_key", "api_keys_by_creator (created_by_key=?)"),
    ] {
        let plan = plan_of(beginning, has);
        assert!(plan.contains(index), "{beginning} … {has}: {plan}");
        assert!(has != "ORDER BY" || !plan.contains("USE TEMP B-TREE"), "{plan}");
    }
}

#[test]
fn a_list_reads_its_own_workspace_only() {
    let fixture = Fixture::new();
    fixture.connect("ann");
    let stranger = fixture.other_workspace();
    for at in 0..20 {
        stranger.connect(&format!("p{at}"));
    }
    fixture.world.db.reset_counts();
    assert_eq!(list_ids(&fixture, ConnectionFilter::default()).len(), 1);
    for sql in fixture.world.db.statements_run.borrow().iter() {
        assert_eq!(find_full_scan(&fixture, sql), None, "{sql}");
        let plan = fixture.world.db.explain_query_plan(sql).join("\n");
        assert!(plan.contains("connections_by_workspace (workspace_id=?"), "{plan}");
    }
}

#[test]
fn every_list_filter_selects_the_right_rows() {
    let fixture = Fixture::new();
    let (ann, bob) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture
        .resolve_and_finish(&ann, ResolveRequest { workflow: Some("w".into()), ..ResolveRequest::default() })
        .unwrap();
    fixture
        .world
        .db
        .tamper(&format!("UPDATE connections SET user_id = NULL, is_shared = 1, name = '50%_off' WHERE id = '{bob}'"));
    let acme = AppId::parse("acme").unwrap();
    let slack = AppId::parse("slack").unwrap();
    for (filter, expected) in [
        (ConnectionFilter { id: Some(ann.clone()), ..ConnectionFilter::default() }, vec![&ann]),
        (ConnectionFilter { app: Some(slack.clone()), ..ConnectionFilter::default() }, vec![]),
        (ConnectionFilter { status: Some(ConnectionStatus::NeedsReconnect), ..ConnectionFilter::default() }, vec![]),
        (ConnectionFilter { user: Some("ann".into()), ..ConnectionFilter::default() }, vec![&ann]),
        (ConnectionFilter { workflow: Some("w".into()), ..ConnectionFilter::default() }, vec![&ann]),
        (ConnectionFilter { text: Some("ANN@".into()), ..ConnectionFilter::default() }, vec![&ann]),
        (ConnectionFilter { text: Some("0%_o".into()), ..ConnectionFilter::default() }, vec![&bob]),
        (ConnectionFilter { text: Some("_".into()), ..ConnectionFilter::default() }, vec![&bob]),
        (ConnectionFilter { visible_to: Some("eve".into()), ..ConnectionFilter::default() }, vec![&bob]),
        (ConnectionFilter { connections: Some(vec![bob.clone()]), ..ConnectionFilter::default() }, vec![&bob]),
        (ConnectionFilter { connections: Some(vec![]), ..ConnectionFilter::default() }, vec![]),
        (ConnectionFilter { apps: Some(vec![slack]), ..ConnectionFilter::default() }, vec![]),
    ] {
        let found = list_ids(&fixture, filter.clone());
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let all = ConnectionFilter { app: Some(acme), ..ConnectionFilter::default() };
    assert_eq!(list_ids(&fixture, all).len(), 2);
}

#[test]
fn every_attention_code_selects_the_right_rows() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let flagged = || -> Vec<&str> {
        let has = |code: &&str| {
            !list_ids(&fixture, ConnectionFilter { attention: Some((*code).into()), ..ConnectionFilter::default() })
                .is_empty()
        };
        ATTENTION_CODES.into_iter().filter(has).collect()
    };
    assert_eq!(flagged(), Vec::<&str>::new());
    let now = fixture.world.now().unix();
    for (code, table, change, back) in [
        ("missing_scopes", "connections", "scopes_granted = '[]'".to_owned(), "scopes_granted = scopes_requested"),
        ("client_misconfigured", "oauth_clients", "misconfigured_at = 1".to_owned(), "misconfigured_at = NULL"),
        (
            "client_secret_expires",
            "oauth_clients",
            format!("secret_expires_at = {now} + 86400"),
            "secret_expires_at = NULL",
        ),
        ("app_unreachable", "connections", "failures = 3".to_owned(), "failures = 0"),
        (
            "app_refuses",
            "connections",
            "refresh_refused_since = 1, failures = 3".to_owned(),
            "refresh_refused_since = NULL, failures = 0",
        ),
        (
            "app_refuses",
            "connections",
            "refresh_refused_since = 1, expires_at = 1".to_owned(),
            "refresh_refused_since = NULL, expires_at = NULL",
        ),
        ("expires_soon", "connections", format!("refresh_expires_at = {now} + 86400"), "refresh_expires_at = NULL"),
        ("unused", "connections", "connected_at = 1".to_owned(), "connected_at = created_at"),
        ("nothing_shared", "connections", "no_resources_message = 'Share.'".to_owned(), "no_resources_message = NULL"),
    ] {
        fixture.world.db.tamper(&format!("UPDATE {table} SET {change}"));
        assert_eq!(flagged(), [code]);
        fixture.world.db.tamper(&format!("UPDATE {table} SET {back}"));
    }
    let flow = fixture.complete_flow(&fixture.connect_request(), "ann");
    let choice = connections::connect::complete::Choice::KeepBoth;
    fixture.world.run(async {
        connections::connect::complete::apply_choice(&fixture.world.context(), &flow, choice).await.unwrap();
    });
    assert_eq!(flagged(), ["duplicate"]);
    assert!(fixture.find_connection(&id).is_some());
}

#[test]
fn pages_have_no_gap_and_no_overlap() {
    let fixture = Fixture::with_definition(&json!({ "identity": null }));
    for _ in 0..7 {
        fixture.connect("ann");
    }
    let mut found = Vec::new();
    let mut after: Option<(Timestamp, ConnectionId)> = None;
    fixture.world.run(async {
        let context = fixture.world.context();
        loop {
            let filter = ConnectionFilter { limit: 3, after: after.clone(), ..ConnectionFilter::default() };
            let page =
                store::connections::list(context.db(), &fixture.workspace, &filter, context.now()).await.unwrap();
            found.extend(page.data.iter().map(|one| one.connection.id.clone()));
            let Some(last) = page.data.last().filter(|_| page.next.is_some()) else { break };
            after = Some((last.connection.created_at, last.connection.id.clone()));
        }
    });
    let distinct: std::collections::BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (7, 7));
}

#[test]
fn statements_without_a_test_of_their_own_are_valid() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = fixture.make_key(|key| key.scopes = vec![KeyScope::Links]);
    let user = User { id: "ann".into(), name: None };
    fixture.world.run(async {
        let context = fixture.world.context();
        let (db, now, workspace) = (context.db(), context.now(), &fixture.workspace);
        let list = store::keys::list(db, workspace, None, "", 1).await.unwrap();
        assert_eq!((list.data.len(), list.next.is_some()), (1, true));
        assert!(store::keys::get(db, &key.id).await.unwrap().is_some());
        assert!(store::keys::revoke(db, workspace, &key.id, true, None, now).await.unwrap().is_some());
        assert!(store::keys::revoke(db, workspace, &key.id, true, None, now).await.unwrap().is_none());
        let erase = store::maintenance::erase_revoked_keys(now, 10, now, true);
        assert_eq!(db.batch(erase).await.unwrap()[1].changes, 1);
        assert_eq!(db.batch(vec![store::keys::erase(&key.id)]).await.unwrap()[0].changes, 0, "gone already");
        assert_eq!(store::workspaces::list(db, "", 10).await.unwrap().len(), 1);
        let origins = ["https://a.example".to_owned()];
        let changed = store::workspaces::update(db, workspace, Some("N"), Some(&origins), None).await.unwrap().unwrap();
        assert_eq!((changed.name.as_str(), changed.allowed_origins.len()), ("N", 1));
        assert_eq!(store::workspaces::get(db, workspace).await.unwrap().unwrap().name, "N");
        assert_eq!(store::apps::list(db, workspace).await.unwrap().len(), 1);
        assert!(store::clients::list(db, workspace).await.unwrap().current("acme").is_some());
        assert!(!store::clients::delete(db, workspace, &fixture.client, now).await.unwrap(), "a connection uses it");
        let events = store::events::list(db, workspace, &id, (now.plus(1), 0), 10).await.unwrap();
        assert_eq!(events.data[0].r#type, "connected");
        assert!(store::uses::list(db, workspace, &id, ("", ""), 10).await.unwrap().data.is_empty());
    });
    fixture.world.run(async {
        let context = fixture.world.context();
        let (db, now, workspace) = (context.db(), context.now(), &fixture.workspace);
        let session = store::sessions::Session {
            hash: "h".into(),
            workspace: workspace.clone(),
            kind: store::sessions::SessionKind::User(user.clone()),
            role: Role::Admin,
            made_by: Some(fixture.key.id.clone()),
            created_at: now,
            expires_at: now.plus(60),
        };
        store::sessions::insert(db, &session).await.unwrap();
        assert_eq!(store::sessions::get(db, "h", now).await.unwrap(), Some(session.clone()));
        assert_eq!(store::sessions::get(db, "h", now.plus(60)).await.unwrap(), None);
        store::sessions::delete(db, "h").await.unwrap();
        let sign_in = store::sessions::SignInLink {
            hash: "t".into(),
            workspace: workspace.clone(),
            user,
            role: Role::Admin,
            return_to: Some("/".into()),
            made_by: Some(CreatorKey::from(&fixture.key)),
            created_at: now,
            expires_at: now.plus(60),
            used_at: None,
        };
        assert!(store::sessions::insert_sign_in_link(db, &sign_in, false, None).await.unwrap());
        assert_eq!(store::sessions::get_sign_in_link(db, "t", now).await.unwrap(), Some(sign_in));
        assert!(store::sessions::sign_in(db, "t", &session, Some("before"), vec![], now).await.unwrap());
        assert_eq!(store::sessions::get_sign_in_link(db, "t", now).await.unwrap(), None);
        let again = store::sessions::Session { hash: "other".into(), ..session };
        assert!(!store::sessions::sign_in(db, "t", &again, None, vec![], now).await.unwrap(), "once");
        assert_eq!(store::sessions::get(db, "other", now).await.unwrap(), None);
        let state = store::maintenance::load_state(db, now).await.unwrap();
        assert_eq!(state.sealed_under, [("k1".to_owned(), 2)]);
        assert!(store::apps::remove(db, workspace, &fixture.app, now).await.unwrap());
        assert!(store::apps::get_current(db, workspace, &fixture.app).await.unwrap().is_none());
        let again = store::apps::AppRow { id: fixture.app.clone(), revision: 1, definition: "{}".into() };
        let taken = store::apps::put(db, workspace, &again, now).await.unwrap_err();
        assert_eq!(taken, connections::ports::DatabaseError::Constraint);
    });
    assert!(fixture.resolve(&id, ResolveRequest::default()).is_ok(), "connections of a removed app go on");
    fixture.disconnect(&id).unwrap();
    fixture.world.run(async {
        let context = fixture.world.context();
        assert!(
            store::clients::delete(context.db(), &fixture.workspace, &fixture.client, context.now()).await.unwrap()
        );
        let context = fixture.world.context();
        assert!(context.db().batch(vec![]).await.unwrap().is_empty());
    });
}

/// Longer than D1 permits for a `LIKE` pattern, with all characters that are special in `LIKE`.
fn long_name() -> String {
    format!("Acme {} (ann@acme.example)", "50%_off\\".repeat(9))
}

fn rename_connection(fixture: &Fixture, id: &ConnectionId, name: &str) {
    let patch = store::connections::ConnectionPatch { name: Some(name.into()), ..Default::default() };
    fixture.world.run(async {
        let statement = store::connections::patch(&fixture.workspace, id, &patch);
        fixture.world.context().db().batch(vec![statement]).await.unwrap();
    });
}

#[test]
fn long_names_are_found_by_their_beginning() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    let name = long_name();
    rename_connection(&fixture, &id, &format!("{name} 2"));
    rename_connection(&fixture, &other, &name.replace('%', "x").replace('_', "y"));
    let names = |begin: &str| {
        fixture.world.run(async {
            let context = fixture.world.context();
            store::connections::list_names_with_prefix(context.db(), &fixture.workspace, &fixture.app, begin)
                .await
                .unwrap()
        })
    };
    assert_eq!(names(&name), [format!("{name} 2")]);
    assert_eq!(names("Acme 50%_"), [format!("{name} 2")], "% and _ mean themselves");
    assert_eq!(names("%"), Vec::<String>::new());
    assert_eq!(names("").len(), 2);
}

#[test]
fn a_long_search_text_finds_the_right_rows() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    let name = long_name();
    rename_connection(&fixture, &id, &name);
    rename_connection(&fixture, &other, &name.replace('%', "x").replace('_', "y"));
    let found =
        |text: &str| list_ids(&fixture, ConnectionFilter { text: Some(text.into()), ..ConnectionFilter::default() });
    assert_eq!(found(&name), std::slice::from_ref(&id));
    assert_eq!(found(&name.to_uppercase()), std::slice::from_ref(&id));
    assert_eq!(found("OFF\\50%_"), std::slice::from_ref(&id));
    assert_eq!(found(&"?".repeat(200)), Vec::<ConnectionId>::new());
}

#[test]
fn one_connection_is_found_by_its_primary_key() {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..20).map(|at| fixture.connect(&format!("p{at}"))).collect();
    fixture.world.db.reset_counts();
    let filter =
        ConnectionFilter { id: Some(ids[7].clone()), visible_to: Some("ann".into()), ..ConnectionFilter::default() };
    assert_eq!(list_ids(&fixture, filter), std::slice::from_ref(&ids[7]));
    assert_eq!(fixture.world.db.rows_scanned.get(), 0);
    for sql in fixture.world.db.statements_run.borrow().iter() {
        let plan = fixture.world.db.explain_query_plan(sql);
        assert!(
            plan.iter().any(|line| line.starts_with("SEARCH c USING INDEX sqlite_autoindex_connections_1 (id=?)")),
            "{plan:?}"
        );
        assert!(!plan.iter().any(|line| line.starts_with("SCAN c")), "{plan:?}");
    }
}

#[test]
fn an_unreadable_row_is_left_out_of_a_list() {
    for column in ["scopes_granted", "scopes_requested", "metadata", "allowed_workflows"] {
        let fixture = Fixture::new();
        let ids: Vec<_> = (0..5).map(|at| fixture.connect(&format!("p{at}"))).collect();
        fixture.world.db.tamper(&format!("UPDATE connections SET {column} = 'rubbish' WHERE id = '{}'", ids[2]));
        let good = |ids: &[ConnectionId]| ids.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let expected = good(&[&ids[..2], &ids[3..]].concat());
        assert_eq!(good(&list_ids(&fixture, ConnectionFilter::default())), expected, "{column}");
        assert_eq!(
            list_ids(&fixture, ConnectionFilter { id: Some(ids[2].clone()), ..ConnectionFilter::default() }),
            [],
            "{column}"
        );
        for code in ATTENTION_CODES {
            let flagged =
                list_ids(&fixture, ConnectionFilter { attention: Some(code.into()), ..ConnectionFilter::default() });
            assert_eq!(flagged, [], "{column} {code}");
        }
        for limit in 1..=5 {
            assert_eq!(good(&list_all_pages(&fixture, limit)), expected, "{column}, {limit} a page");
        }
    }
}

/// All connections, page by page, each from the cursor of the previous one.
fn list_all_pages(fixture: &Fixture, limit: i64) -> Vec<ConnectionId> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..10 {
        let filter = ConnectionFilter { limit, after: after.clone(), ..ConnectionFilter::default() };
        let page = fixture.world.run(async {
            let context = fixture.world.context();
            store::connections::list(context.db(), &fixture.workspace, &filter, context.now()).await.unwrap()
        });
        found.extend(page.data.into_iter().map(|one| one.connection.id));
        let Some(next) = page.next else { return found };
        let (at, id) = next.split_once('.').unwrap();
        after = Some((Timestamp::from_unix(at.parse().unwrap()), ConnectionId::parse(id).unwrap()));
    }
    panic!("pages without end: {found:?}")
}

#[test]
fn one_unreadable_row_is_reported() {
    let fixture = Fixture::new();
    let (id, other) = (fixture.connect("ann"), fixture.connect("bob"));
    fixture.world.db.tamper(&format!("UPDATE connections SET scopes_granted = 'rubbish' WHERE id = '{id}'"));
    let error = fixture.resolve(&id, ResolveRequest::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.code, connections::error::ErrorCode::Internal);
    assert!(fixture.resolve(&other, ResolveRequest::default()).is_ok());
}

/// A refresh assigns the status, and `SQLite` writes the entry of an index again whose condition names an assigned column.
/// A connection that works has no entry in those that are left.
#[test]
fn a_refresh_writes_no_index_because_of_the_status() {
    let fixture = Fixture::new();
    let indexes = fixture.world.db.query_value(
        "SELECT group_concat(name, ' ') FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'connections'
        AND sql LIKE '%status%' AND sql NOT LIKE '%status <> ''connected''%' AND sql NOT LIKE '%status = ''needs_reconnect''%'
        AND sql NOT LIKE '%status = ''awaiting_confirmation''%'",
    );
    assert_eq!(indexes.as_str(), None, "{indexes}");
}
