//! Every statement prepares against the real schema, and the hot ones find their rows by an index.

use connections::app::AppId;
use connections::caller::{Maker, Scope};
use connections::connection::Status;
use connections::ids::ConnectionId;
use connections::ports::{Database as _, Ports as _};
use connections::resolve::{Ask, Consistency};
use connections::store::{self, connections::Filter};
use connections::time::Timestamp;
use connections::workspace::{Role, User};
use serde_json::json;

use crate::support::{Scene, plans};

/// The attention codes a list can be filtered by.
const ATTENTION: [&str; 10] = [
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
];

fn listed(scene: &Scene, filter: Filter) -> Vec<ConnectionId> {
    let filter = Filter { limit: 50, ..filter };
    scene.world.run(async {
        let core = scene.world.core();
        let page = store::connections::list(core.db(), &scene.workspace, &filter, core.now()).await.unwrap();
        page.data.into_iter().map(|one| one.connection.id).collect()
    })
}

/// Steps through all rows of a table or an index, and why nothing better is needed. All other statements that any test
/// runs find their rows by an index: `plans.txt` states which one.
const SCANS: [(&str, &str); 5] = [
    ("SELECT substr(sealed, 5", "the operator's status counts what each key sealed; nobody else asks"),
    ("SELECT key_id, sealed_constant FROM encryption_key_checks", "a row for each key that was ever on the ring"),
    ("SELECT count(*) AS n FROM cache_deletes", "rows of the last hour; the operator's status counts them"),
    ("DELETE FROM reseal_progress WHERE key_id <> ?1", "one row at most"),
    ("UPDATE flows SET expires_at = ?1 [", "a test's own way to let time pass"),
];

/// A step through a table, and not through a list that was bound or one row of constants.
fn is_scan(step: &str) -> bool {
    let what = step.strip_prefix("SCAN ");
    what.is_some_and(|what| !["VIRTUAL TABLE", "CONSTANT ROW", "(subquery"].iter().any(|text| what.contains(text)))
}

#[test]
fn every_statement_finds_its_rows_by_an_index_or_says_why_not() {
    let plans = plans::read();
    assert!(plans.len() >= 200, "{}", plans.len());
    for (statement, steps) in &plans {
        let reason = SCANS.iter().find(|(begins, _)| statement.starts_with(begins));
        let scan = steps.iter().find(|step| is_scan(step));
        assert!(scan.is_none() || reason.is_some(), "{statement}: {scan:?}");
    }
    for (begins, reason) in SCANS {
        assert!(plans.keys().any(|statement| statement.starts_with(begins)), "{begins}: {reason}");
    }
}

#[test]
fn lists_are_read_in_order_from_the_place_where_a_page_begins() {
    for (has, index) in [
        ("LIST", "SEARCH c USING INDEX connections_by_workspace (workspace_id=? AND (created_at,id)<(?,?))"),
        (
            "OF_USER",
            "SEARCH c USING INDEX connections_by_user (workspace_id=? AND user_id=? AND (created_at,id)<(?,?))",
        ),
        ("SEEN_BY", "MERGE (UNION ALL)"),
    ] {
        let scene = Scene::new();
        scene.connect("ann");
        scene.world.db.reset_counts();
        let filter = match has {
            "OF_USER" => Filter { user: Some("ann".into()), ..Filter::default() },
            "SEEN_BY" => Filter { seen_by: Some("ann".into()), ..Filter::default() },
            _ => Filter::default(),
        };
        assert_eq!(listed(&scene, filter).len(), 1, "{has}");
        let seen = scene.world.db.seen.borrow().clone();
        let plan = scene.world.db.plan(seen.first().unwrap());
        assert!(plan.iter().any(|step| step == index), "{has}: {plan:#?}");
        assert!(!plan.iter().any(|step| step.contains("USE TEMP B-TREE")), "{has}: {plan:#?}");
    }
}

/// A step through a table, without a reason.
fn scans(scene: &Scene, sql: &str) -> Option<String> {
    let has_reason = SCANS.iter().any(|(begins, _)| sql.starts_with(begins));
    scene.world.db.plan(sql).into_iter().find(|step| is_scan(step) && !has_reason)
}

#[test]
fn refresh_resolve_check_and_disconnect_step_through_no_table() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let other = scene.connect("bob");
    scene.world.db.reset_counts();
    let ask = |consistency| Ask { workflow: Some("w".into()), consistency, ..Ask::default() };
    scene.resolve_fully(&id, ask(Consistency::Available)).unwrap();
    scene.expire(&id);
    scene.resolve_fully(&id, ask(Consistency::Strong)).unwrap();
    scene.world.acme.withdraw("bob");
    scene.need(&other);
    scene.flow(&scene.repair_of(&other), "bob");
    scene.disconnect(&id).unwrap();
    scene.world.pass(86_400 * 2);
    scene.tick();
    let seen = scene.world.db.seen.borrow().clone();
    assert!(seen.len() >= 40, "{}", seen.len());
    for sql in seen {
        assert_eq!(scans(&scene, sql), None, "{sql}");
    }
}

#[test]
fn what_is_due_is_found_by_its_index() {
    let scene = Scene::new();
    scene.tick();
    let seen = scene.world.db.seen.borrow().clone();
    let due = seen.iter().find(|sql| sql.contains("next_check_at <= ?1") && sql.contains("RETURNING id")).unwrap();
    let plan = scene.world.db.plan(due).join("\n");
    assert!(plan.contains("connections_due"), "{plan}");
    assert!(!plan.contains("USE TEMP B-TREE"), "{plan}");
}

#[test]
fn what_a_key_made_is_listed_and_ended_by_its_indexes() {
    use crate::http::{Browser, call, first_key, further_key};
    use connections::http::Method;
    let scene = Scene::new();
    Browser::new(&scene).sign_in();
    let (first, key) = (first_key(&scene), further_key(&scene, |_| {}));
    let null = serde_json::Value::Null;
    let body = json!({ "app": "acme", "user": { "id": "ann" } });
    let (_, link) = call(&scene, &key, Method::Post, "/v1/links", &body);
    let (_, sign_in) = call(&scene, &key, Method::Post, "/v1/sign-in-links", &json!({ "user": { "id": "ann" } }));
    let (_, sessions) = call(&scene, &first, Method::Get, "/v1/sessions", &null);
    let id = |one: &serde_json::Value| one["id"].as_str().unwrap().to_owned();
    let key_id = format!("key_{}", key.split('_').nth(1).unwrap());
    scene.world.db.reset_counts();
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
        assert_eq!(call(&scene, &first, method, &path, &null).0, 200, "{path}");
    }
    scene.tick();
    let seen = scene.world.db.seen.borrow().clone();
    assert!(seen.len() >= 40, "{}", seen.len());
    for sql in &seen {
        assert_eq!(scans(&scene, sql), None, "{sql}");
    }
    let plan_of = |beginning: &str, has: &str| {
        let sql = seen.iter().find(|sql| sql.starts_with(beginning) && sql.contains(has));
        scene.world.db.plan(sql.unwrap_or_else(|| panic!("{beginning} … {has}"))).join("\n")
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
        ("UPDATE connect_links", "created_by_key", "connect_links_by_creator (created_by_key=?)"),
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
    let scene = Scene::new();
    scene.connect("ann");
    let stranger = scene.neighbour();
    for at in 0..20 {
        stranger.connect(&format!("p{at}"));
    }
    scene.world.db.reset_counts();
    assert_eq!(listed(&scene, Filter::default()).len(), 1);
    for sql in scene.world.db.seen.borrow().iter() {
        assert_eq!(scans(&scene, sql), None, "{sql}");
        let plan = scene.world.db.plan(sql).join("\n");
        assert!(plan.contains("connections_by_workspace (workspace_id=?"), "{plan}");
    }
}

#[test]
fn every_filter_of_a_list_selects_what_it_says() {
    let scene = Scene::new();
    let (ann, bob) = (scene.connect("ann"), scene.connect("bob"));
    scene.resolve_fully(&ann, Ask { workflow: Some("w".into()), ..Ask::default() }).unwrap();
    scene.world.db.tamper(&format!("UPDATE connections SET user_id = NULL, name = '50%_off' WHERE id = '{bob}'"));
    let acme = AppId::parse("acme").unwrap();
    let slack = AppId::parse("slack").unwrap();
    for (filter, expected) in [
        (Filter { id: Some(ann.clone()), ..Filter::default() }, vec![&ann]),
        (Filter { app: Some(slack.clone()), ..Filter::default() }, vec![]),
        (Filter { status: Some(Status::NeedsReconnect), ..Filter::default() }, vec![]),
        (Filter { user: Some("ann".into()), ..Filter::default() }, vec![&ann]),
        (Filter { workflow: Some("w".into()), ..Filter::default() }, vec![&ann]),
        (Filter { text: Some("ANN@".into()), ..Filter::default() }, vec![&ann]),
        (Filter { text: Some("0%_o".into()), ..Filter::default() }, vec![&bob]),
        (Filter { text: Some("_".into()), ..Filter::default() }, vec![&bob]),
        (Filter { seen_by: Some("eve".into()), ..Filter::default() }, vec![&bob]),
        (Filter { connections: Some(vec![bob.clone()]), ..Filter::default() }, vec![&bob]),
        (Filter { connections: Some(vec![]), ..Filter::default() }, vec![]),
        (Filter { apps: Some(vec![slack]), ..Filter::default() }, vec![]),
    ] {
        let found = listed(&scene, filter.clone());
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let all = Filter { app: Some(acme), ..Filter::default() };
    assert_eq!(listed(&scene, all).len(), 2);
}

#[test]
fn every_attention_code_selects_what_it_says() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let flagged = || -> Vec<&str> {
        let has =
            |code: &&str| !listed(&scene, Filter { attention: Some((*code).into()), ..Filter::default() }).is_empty();
        ATTENTION.into_iter().filter(has).collect()
    };
    assert_eq!(flagged(), Vec::<&str>::new());
    let now = scene.world.now().unix();
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
        scene.world.db.tamper(&format!("UPDATE {table} SET {change}"));
        assert_eq!(flagged(), [code]);
        scene.world.db.tamper(&format!("UPDATE {table} SET {back}"));
    }
    let flow = scene.flow(&scene.wish(), "ann");
    let choice = connections::connect::settle::Choice::Both;
    scene.world.run(async { connections::connect::settle::choose(&scene.world.core(), &flow, choice).await.unwrap() });
    assert_eq!(flagged(), ["duplicate"]);
    assert!(scene.find(&id).is_some());
}

#[test]
fn pages_follow_each_other_without_gap_or_overlap() {
    let scene = Scene::with(&json!({ "identity": null }));
    for _ in 0..7 {
        scene.connect("ann");
    }
    let mut found = Vec::new();
    let mut after: Option<(Timestamp, ConnectionId)> = None;
    scene.world.run(async {
        let core = scene.world.core();
        loop {
            let filter = Filter { limit: 3, after: after.clone(), ..Filter::default() };
            let page = store::connections::list(core.db(), &scene.workspace, &filter, core.now()).await.unwrap();
            found.extend(page.data.iter().map(|one| one.connection.id.clone()));
            let Some(last) = page.data.last().filter(|_| page.next.is_some()) else { break };
            after = Some((last.connection.created_at, last.connection.id.clone()));
        }
    });
    let distinct: std::collections::BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (7, 7));
}

#[test]
fn what_the_flows_do_not_reach_prepares_as_well() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let key = scene.make_key(|key| key.scopes = vec![Scope::Links]);
    let user = User { id: "ann".into(), name: None };
    scene.world.run(async {
        let core = scene.world.core();
        let (db, now, workspace) = (core.db(), core.now(), &scene.workspace);
        let list = store::keys::list(db, workspace, None, "", 1).await.unwrap();
        assert_eq!((list.data.len(), list.next.is_some()), (1, true));
        assert!(store::keys::get(db, &key.id).await.unwrap().is_some());
        assert!(store::keys::revoke(db, (workspace, &key.id), true, None, now).await.unwrap().is_some());
        assert!(store::keys::revoke(db, (workspace, &key.id), true, None, now).await.unwrap().is_none());
        let erase = store::maintenance::erase_revoked_keys(now, 10, now, true);
        assert_eq!(db.batch(erase).await.unwrap()[1].changes, 1);
        assert_eq!(db.batch(vec![store::keys::erase(&key.id)]).await.unwrap()[0].changes, 0, "gone already");
        assert_eq!(store::workspaces::list(db, "", 10).await.unwrap().data.len(), 1);
        let origins = ["https://a.example".to_owned()];
        let changed = store::workspaces::update(db, workspace, Some("N"), Some(&origins)).await.unwrap().unwrap();
        assert_eq!((changed.name.as_str(), changed.allowed_origins.len()), ("N", 1));
        assert_eq!(store::workspaces::get(db, workspace).await.unwrap().unwrap().name, "N");
        assert_eq!(store::apps::list(db, workspace).await.unwrap().len(), 1);
        assert!(store::clients::registrations(db, workspace).await.unwrap().current("acme").is_some());
        assert!(!store::clients::delete(db, workspace, &scene.client).await.unwrap(), "a connection uses it");
        let events = store::events::list(db, workspace, &id, (now.plus(1), 0), 10).await.unwrap();
        assert_eq!(events.data[0].r#type, "connected");
        assert!(store::uses::list(db, workspace, &id, ("", ""), 10).await.unwrap().data.is_empty());
    });
    scene.world.run(async {
        let core = scene.world.core();
        let (db, now, workspace) = (core.db(), core.now(), &scene.workspace);
        let session = store::sessions::Session {
            hash: "h".into(),
            workspace: workspace.clone(),
            kind: store::sessions::Kind::Person(user.clone()),
            role: Role::Admin,
            made_by: Some(scene.key.id.clone()),
            created_at: now,
            expires_at: now.plus(60),
        };
        store::sessions::insert(db, &session).await.unwrap();
        assert_eq!(store::sessions::get(db, "h", now).await.unwrap(), Some(session.clone()));
        assert_eq!(store::sessions::get(db, "h", now.plus(60)).await.unwrap(), None);
        store::sessions::delete(db, "h").await.unwrap();
        let sign_in = store::sessions::SignIn {
            hash: "t".into(),
            workspace: workspace.clone(),
            user,
            role: Role::Admin,
            return_to: Some("/".into()),
            made_by: Some(Maker::from(&scene.key)),
            created_at: now,
            expires_at: now.plus(60),
            used_at: None,
        };
        assert!(store::sessions::insert_sign_in(db, &sign_in).await.unwrap());
        assert_eq!(store::sessions::peek_sign_in(db, "t", now).await.unwrap(), Some(sign_in));
        assert!(store::sessions::sign_in(db, "t", &session, Some("before"), now).await.unwrap());
        assert_eq!(store::sessions::peek_sign_in(db, "t", now).await.unwrap(), None);
        let again = store::sessions::Session { hash: "other".into(), ..session };
        assert!(!store::sessions::sign_in(db, "t", &again, None, now).await.unwrap(), "once");
        assert_eq!(store::sessions::get(db, "other", now).await.unwrap(), None);
        let state = store::maintenance::state(db, now).await.unwrap();
        assert_eq!(state.sealed_under, [("k1".to_owned(), 2)]);
        assert!(store::apps::remove(db, workspace, &scene.app, now).await.unwrap());
        assert!(store::apps::current(db, workspace, &scene.app).await.unwrap().is_none());
        let again = store::apps::AppRow { id: scene.app.clone(), revision: 1, definition: "{}".into() };
        let taken = store::apps::put(db, workspace, &again, now).await.unwrap_err();
        assert_eq!(taken, connections::ports::DatabaseError::Constraint);
    });
    assert!(scene.resolve(&id, Ask::default()).is_ok(), "connections of a removed app go on");
    scene.disconnect(&id).unwrap();
    scene.world.run(async {
        let core = scene.world.core();
        assert!(store::clients::delete(core.db(), &scene.workspace, &scene.client).await.unwrap());
        let core = scene.world.core();
        assert!(core.ports.database().batch(vec![]).await.unwrap().is_empty());
    });
}

/// Longer than D1 lets a `LIKE` pattern be, with everything in it that `LIKE` reads as something else.
fn long_name() -> String {
    format!("Acme {} (ann@acme.example)", "50%_off\\".repeat(9))
}

fn rename(scene: &Scene, id: &ConnectionId, name: &str) {
    let patch = store::connections::Patch { name: Some(name.into()), ..Default::default() };
    scene.world.run(async {
        let statement = store::connections::patch(&scene.workspace, id, &patch);
        scene.world.core().db().batch(vec![statement]).await.unwrap();
    });
}

#[test]
fn names_longer_than_a_like_pattern_are_found_by_how_they_begin() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    let name = long_name();
    rename(&scene, &id, &format!("{name} 2"));
    rename(&scene, &other, &name.replace('%', "x").replace('_', "y"));
    let names = |begin: &str| {
        scene.world.run(async {
            let core = scene.world.core();
            store::connections::names_like(core.db(), &scene.workspace, &scene.app, begin).await.unwrap()
        })
    };
    assert_eq!(names(&name), [format!("{name} 2")]);
    assert_eq!(names("Acme 50%_"), [format!("{name} 2")], "% and _ mean themselves");
    assert_eq!(names("%"), Vec::<String>::new());
    assert_eq!(names("").len(), 2);
}

#[test]
fn a_search_longer_than_a_like_pattern_finds_what_it_says() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    let name = long_name();
    rename(&scene, &id, &name);
    rename(&scene, &other, &name.replace('%', "x").replace('_', "y"));
    let found = |text: &str| listed(&scene, Filter { text: Some(text.into()), ..Filter::default() });
    assert_eq!(found(&name), std::slice::from_ref(&id));
    assert_eq!(found(&name.to_uppercase()), std::slice::from_ref(&id));
    assert_eq!(found("OFF\\50%_"), std::slice::from_ref(&id));
    assert_eq!(found(&"?".repeat(200)), Vec::<ConnectionId>::new());
}

#[test]
fn one_connection_is_found_by_its_primary_key() {
    let scene = Scene::new();
    let ids: Vec<_> = (0..20).map(|at| scene.connect(&format!("p{at}"))).collect();
    scene.world.db.reset_counts();
    let filter = Filter { id: Some(ids[7].clone()), seen_by: Some("ann".into()), ..Filter::default() };
    assert_eq!(listed(&scene, filter), std::slice::from_ref(&ids[7]));
    assert_eq!(scene.world.db.scanned.get(), 0);
    for sql in scene.world.db.seen.borrow().iter() {
        let plan = scene.world.db.plan(sql);
        assert!(
            plan.iter().any(|line| line.starts_with("SEARCH c USING INDEX sqlite_autoindex_connections_1 (id=?)")),
            "{plan:?}"
        );
        assert!(!plan.iter().any(|line| line.starts_with("SCAN c")), "{plan:?}");
    }
}

#[test]
fn a_row_that_can_not_be_read_is_left_out_of_a_list_and_breaks_nothing() {
    for column in ["scopes_granted", "scopes_requested", "metadata", "allowed_workflows"] {
        let scene = Scene::new();
        let ids: Vec<_> = (0..5).map(|at| scene.connect(&format!("p{at}"))).collect();
        scene.world.db.tamper(&format!("UPDATE connections SET {column} = 'rubbish' WHERE id = '{}'", ids[2]));
        let good = |ids: &[ConnectionId]| ids.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let expected = good(&[&ids[..2], &ids[3..]].concat());
        assert_eq!(good(&listed(&scene, Filter::default())), expected, "{column}");
        assert_eq!(listed(&scene, Filter { id: Some(ids[2].clone()), ..Filter::default() }), [], "{column}");
        for code in ATTENTION {
            let flagged = listed(&scene, Filter { attention: Some(code.into()), ..Filter::default() });
            assert_eq!(flagged, [], "{column} {code}");
        }
        for limit in 1..=5 {
            assert_eq!(good(&paged(&scene, limit)), expected, "{column}, {limit} a page");
        }
    }
}

/// All connections, page by page, each beginning where the one before says.
fn paged(scene: &Scene, limit: i64) -> Vec<ConnectionId> {
    let mut found = Vec::new();
    let mut after = None;
    for _ in 0..10 {
        let filter = Filter { limit, after: after.clone(), ..Filter::default() };
        let page = scene.world.run(async {
            let core = scene.world.core();
            store::connections::list(core.db(), &scene.workspace, &filter, core.now()).await.unwrap()
        });
        found.extend(page.data.into_iter().map(|one| one.connection.id));
        let Some(next) = page.next else { return found };
        let (at, id) = next.split_once('.').unwrap();
        after = Some((Timestamp::from_unix(at.parse().unwrap()), ConnectionId::parse(id).unwrap()));
    }
    panic!("pages without end: {found:?}")
}

#[test]
fn one_bad_row_is_told_as_such() {
    let scene = Scene::new();
    let (id, other) = (scene.connect("ann"), scene.connect("bob"));
    scene.world.db.tamper(&format!("UPDATE connections SET scopes_granted = 'rubbish' WHERE id = '{id}'"));
    let error = scene.resolve(&id, Ask::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.code, connections::error::Code::Internal);
    assert!(scene.resolve(&other, Ask::default()).is_ok());
}
