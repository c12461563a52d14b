//! What a query costs does not grow with the number of connections in its workspace.
//!
//! The cost is the number of operations of `SQLite`'s virtual machine. Rows of a full scan are not enough: a search in an
//! index that reads a whole workspace is no full scan.

use connections::app::AppId;
use connections::connection::{ChosenBy, ConnectionStatus};
use connections::http::Method;
use connections::ids::ConnectionId;
use connections::ports::Database as _;
use connections::store::connections::{ConnectionFilter, Issue, MOST_EXAMINED, Order, OverviewFilter, WINDOW};
use connections::store::{self, Page};
use connections::time::Timestamp;

use crate::http::{TestBrowser, call, first_key};
use crate::support::Fixture;

/// The id of a copied connection: the same number, the same id.
pub(crate) fn numbered_id(number: i64) -> ConnectionId {
    ConnectionId::parse(&format!("con_00{number:022}")).unwrap()
}

/// How the copies differ from the connection that they are copies of.
const DIFFERENCES: [(&str, &str); 7] = [
    ("id", "'con_00' || printf('%022d', n.number)"),
    ("name", "'Acme ' || n.number"),
    ("user_id", "'user' || n.number"),
    ("account_id", "'account' || n.number"),
    ("account_label", "'account' || n.number || '@acme.example'"),
    ("created_at", "c.created_at - n.number"),
    ("metadata", "c.metadata"),
];

/// A workspace with so many connections, each of another person and account. `differences` come after [`DIFFERENCES`].
pub(crate) fn workspace_with(connections: i64, differences: &[(&str, &str)]) -> Fixture {
    let fixture = Fixture::new();
    let first = fixture.connect("first");
    fixture.world.advance_clock(1_000_000);
    copy_connection(&fixture, &first, connections, differences);
    fixture
}

fn copy_connection(fixture: &Fixture, of: &ConnectionId, number: i64, differences: &[(&str, &str)]) {
    let db = &fixture.world.db;
    let columns = db.query_value("SELECT group_concat(name, ' ') FROM pragma_table_info('connections')");
    let columns: Vec<_> = columns.as_str().unwrap().split(' ').map(str::to_owned).collect();
    let value = |column: &String| {
        let found = differences.iter().chain(&DIFFERENCES).find(|(name, _)| name == column);
        found.map_or_else(|| format!("c.{column}"), |(_, value)| (*value).to_owned())
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    let copied = db.tamper(&format!(
        "WITH RECURSIVE n(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n WHERE number < {number})
        INSERT INTO connections ({}) SELECT {} FROM n, connections c WHERE c.id = '{of}'",
        columns.join(", "),
        values.join(", ")
    ));
    assert_eq!(i64::try_from(copied).unwrap(), number);
}

fn list(fixture: &Fixture, filter: &ConnectionFilter) -> Page<store::connections::ListedConnection> {
    fixture.world.run(async {
        let context = fixture.world.context();
        store::connections::list(context.db(), &fixture.workspace, filter, context.now()).await.unwrap()
    })
}

/// Operations of one statement of a list, at most: 250 connections with the most expensive filter.
const MOST_OPERATIONS: i64 = 32_000;

/// What a list costs, and what it answers.
fn cost_of_list(fixture: &Fixture, filter: &ConnectionFilter) -> (i64, usize) {
    fixture.world.db.reset_counts();
    let page = list(fixture, filter);
    (fixture.world.db.vm_steps.get(), page.data.len())
}

/// The connections of a list, page by page.
fn list_all(fixture: &Fixture, filter: &ConnectionFilter) -> (Vec<ConnectionId>, u32) {
    let (mut found, mut pages) = (Vec::new(), 0);
    let mut filter = filter.clone();
    loop {
        let page = list(fixture, &filter);
        pages += 1;
        found.extend(page.data.into_iter().map(|one| one.connection.id));
        let Some(next) = page.next else { return (found, pages) };
        let (at, id) = next.split_once('.').unwrap();
        filter.after = Some((Timestamp::from_unix(at.parse().unwrap()), ConnectionId::parse(id).unwrap()));
    }
}

/// A workspace and one of twice its size. Both are larger than what one request may look at.
const SIZES: [i64; 2] = [MOST_EXAMINED * 3 / 2, MOST_EXAMINED * 3];

/// Fails if the larger workspace costs more than a twentieth more.
fn assert_flat(what: &str, costs: [i64; 2]) {
    let [small, large] = costs;
    assert!(large <= small + small / 20, "{what}: {small} operations, and {large} for twice the connections");
}

/// The cursor behind which so many connections are left.
fn cursor_before_the_last(fixture: &Fixture, left: i64) -> (Timestamp, ConnectionId) {
    let row = format!("FROM connections ORDER BY created_at, id LIMIT 1 OFFSET {left}");
    let at = fixture.world.db.query_number(&format!("SELECT created_at {row}"));
    let id = fixture.world.db.query_value(&format!("SELECT id {row}"));
    (Timestamp::from_unix(at), ConnectionId::parse(id.as_str().unwrap()).unwrap())
}

fn filters(fixture: &Fixture) -> Vec<(&'static str, ConnectionFilter)> {
    let all = ConnectionFilter { limit: 50, ..ConnectionFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let attention = |code: &str| ConnectionFilter { attention: text(code), ..all.clone() };
    let other_app = AppId::parse("slack").unwrap();
    vec![
        ("first page", all.clone()),
        ("last page", ConnectionFilter { after: Some(cursor_before_the_last(fixture, 10)), ..all.clone() }),
        ("user", ConnectionFilter { user: text("user7"), ..all.clone() }),
        ("user without hits", ConnectionFilter { user: text("nobody"), ..all.clone() }),
        ("a person's page", ConnectionFilter { visible_to: text("user7"), ..all.clone() }),
        ("a person's search", ConnectionFilter { visible_to: text("user7"), text: text("none"), ..all.clone() }),
        ("search", ConnectionFilter { text: text("acme.example"), ..all.clone() }),
        ("search without hits", ConnectionFilter { text: text("none"), ..all.clone() }),
        ("workflow", ConnectionFilter { workflow: text("billing"), ..all.clone() }),
        ("workflow without hits", ConnectionFilter { workflow: text("none"), ..all.clone() }),
        ("connected", ConnectionFilter { status: Some(ConnectionStatus::Connected), ..all.clone() }),
        ("needs reconnect", ConnectionFilter { status: Some(ConnectionStatus::NeedsReconnect), ..all.clone() }),
        ("unconfirmed", ConnectionFilter { status: Some(ConnectionStatus::AwaitingConfirmation), ..all.clone() }),
        (
            "search of those that need a reconnect",
            ConnectionFilter { status: Some(ConnectionStatus::NeedsReconnect), text: text("none"), ..all.clone() },
        ),
        ("app", ConnectionFilter { app: Some(fixture.app.clone()), ..all.clone() }),
        ("app without hits", ConnectionFilter { app: Some(other_app.clone()), ..all.clone() }),
        ("one connection", ConnectionFilter { connections: Some(vec![numbered_id(900)]), ..all.clone() }),
        ("other apps", ConnectionFilter { apps: Some(vec![other_app]), ..all.clone() }),
        (
            "several statuses",
            ConnectionFilter {
                statuses: Some(vec![ConnectionStatus::NeedsReconnect, ConnectionStatus::AwaitingConfirmation]),
                ..all.clone()
            },
        ),
        ("metadata", ConnectionFilter { metadata: Some([("no".into(), "no".into())].into()), ..all.clone() }),
        ("updated since", ConnectionFilter { updated_since: Some(Timestamp::from_unix(9_000_000_000)), ..all.clone() }),
        ("without a user", ConnectionFilter { without_user: true, text: text("none"), ..all.clone() }),
        ("missing_scopes", attention("missing_scopes")),
        ("duplicate", attention("duplicate")),
        ("client_misconfigured", attention("client_misconfigured")),
        ("client_secret_expires", attention("client_secret_expires")),
        ("app_unreachable", attention("app_unreachable")),
        ("app_refuses", attention("app_refuses")),
        ("expires_soon", attention("expires_soon")),
        ("nothing_shared", attention("nothing_shared")),
        ("definition_changed", attention("definition_changed")),
        ("unused", attention("unused")),
    ]
}

/// One workflow uses one connection.
fn record_one_use(fixture: &Fixture) {
    record_one_use_of(fixture, &numbered_id(7));
}

fn record_one_use_of(fixture: &Fixture, id: &ConnectionId) {
    fixture.world.db.tamper(&format!(
        "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
        VALUES ('{id}', 'billing', '', '{}', 1, 1, 1)",
        fixture.workspace
    ));
}

/// Lists both workspaces with every filter.
fn assert_lists_are_flat(small: &Fixture, large: &Fixture) {
    for ((what, of_small), (_, of_large)) in filters(small).into_iter().zip(filters(large)) {
        let (small_cost, small_rows) = cost_of_list(small, &of_small);
        let (large_cost, large_rows) = cost_of_list(large, &of_large);
        let most = large.world.db.most_vm_steps.get();
        assert!(most < MOST_OPERATIONS, "{what}: a statement of {most} operations holds the database");
        assert_eq!(small_rows, large_rows, "{what}");
        assert_flat(what, [small_cost, large_cost]);
    }
}

#[test]
fn no_list_costs_more_in_a_larger_workspace() {
    let [small, large] = SIZES.map(|size| workspace_with(size, &[]));
    record_one_use(&small);
    record_one_use(&large);
    assert_lists_are_flat(&small, &large);
}

#[test]
fn no_list_costs_more_if_all_connections_are_of_one_account() {
    let same = [("account_id", "'one'"), ("user_id", "NULL"), ("name", "'Acme'")];
    let [small, large] = SIZES.map(|size| workspace_with(size, &same));
    assert_lists_are_flat(&small, &large);
}

#[test]
fn no_list_costs_more_if_the_app_grants_other_scopes_than_requested() {
    let more = [("scopes_granted", r#"'["more", ' || substr(c.scopes_requested, 2)"#), ("status", "'needs_reconnect'")];
    let [small, large] = SIZES.map(|size| workspace_with(size, &more));
    let filter =
        ConnectionFilter { attention: Some("missing_scopes".into()), limit: 50, ..ConnectionFilter::default() };
    assert_eq!(list(&small, &filter).data, [], "none is missing");
    assert_lists_are_flat(&small, &large);
}

#[test]
fn no_list_costs_more_if_most_connections_are_disconnected() {
    let ended = [("deleted_at", "CASE WHEN n.number % 100 THEN 1 END")];
    let [small, large] = SIZES.map(|size| workspace_with(size, &ended));
    let all = ConnectionFilter { limit: 5, ..ConnectionFilter::default() };
    let [cost_of_small, cost_of_large] = [&small, &large].map(|fixture| cost_of_list(fixture, &all));
    assert_eq!((cost_of_small.1, cost_of_large.1), (5, 5));
    assert_flat("first page", [cost_of_small.0, cost_of_large.0]);
    assert!(large.world.db.most_vm_steps.get() < MOST_OPERATIONS);
    let (found, pages) = list_all(&large, &ConnectionFilter { limit: 50, ..ConnectionFilter::default() });
    let live = large.world.db.query_number("SELECT count(*) FROM connections WHERE deleted_at IS NULL");
    assert_eq!(i64::try_from(found.len()).unwrap(), live);
    assert!(pages <= 4, "{pages} pages");
}

#[test]
fn no_list_costs_more_while_most_connections_are_denied() {
    let of_two_apps = [("app", "CASE WHEN n.number % 100 THEN 'denied' ELSE 'acme' END")];
    let [small, large] = SIZES.map(|size| workspace_with(size, &of_two_apps));
    for fixture in [&small, &large] {
        let workspace = &fixture.workspace;
        fixture.world.db.tamper(&format!(
            "INSERT INTO denied_apps (workspace_id, app, oauth_client, made_until) VALUES ('{workspace}', 'denied', '', 9000000000)"
        ));
    }
    let all = ConnectionFilter { limit: 5, ..ConnectionFilter::default() };
    let [cost_of_small, cost_of_large] = [&small, &large].map(|fixture| cost_of_list(fixture, &all));
    assert_eq!((cost_of_small.1, cost_of_large.1), (5, 5));
    assert_flat("first page", [cost_of_small.0, cost_of_large.0]);
    let all = ConnectionFilter { limit: 50, ..ConnectionFilter::default() };
    assert_flat("a page", [&small, &large].map(|fixture| cost_of_list(fixture, &all).0));
    assert!(large.world.db.most_vm_steps.get() < MOST_OPERATIONS);
    let (found, pages) = list_all(&large, &all);
    let live = large.world.db.query_number("SELECT count(*) FROM connections WHERE app = 'acme'");
    assert_eq!(i64::try_from(found.len()).unwrap(), live);
    assert!(pages <= 4, "{pages} pages");
}

#[test]
fn no_filtered_list_costs_more_while_most_connections_are_denied() {
    let denied = [
        ("app", "CASE WHEN n.number % 100 THEN 'denied' ELSE 'acme' END"),
        ("user_id", "'ann'"),
        ("status", "'needs_reconnect'"),
    ];
    let [small, large] = SIZES.map(|size| workspace_with(size, &denied));
    for fixture in [&small, &large] {
        fixture.world.db.tamper(&format!(
            "INSERT INTO denied_apps (workspace_id, app, oauth_client, made_until) VALUES ('{}', 'denied', '', 9000000000)",
            fixture.workspace
        ));
    }
    let live = large.world.db.query_number("SELECT count(*) FROM connections WHERE app = 'acme' AND user_id = 'ann'");
    let all = ConnectionFilter { limit: 50, ..ConnectionFilter::default() };
    let ann = || Some("ann".to_owned());
    for (what, filter, expected) in [
        ("app", ConnectionFilter { app: AppId::parse("denied"), ..all.clone() }, 0),
        ("user", ConnectionFilter { user: ann(), ..all.clone() }, live),
        ("a person's page", ConnectionFilter { visible_to: ann(), ..all.clone() }, live),
        ("status", ConnectionFilter { status: Some(ConnectionStatus::NeedsReconnect), ..all.clone() }, live - 1),
    ] {
        assert_flat(what, [&small, &large].map(|fixture| cost_of_list(fixture, &filter).0));
        let most = large.world.db.most_vm_steps.get();
        assert!(most < MOST_OPERATIONS, "{what}: a statement of {most} operations holds the database");
        let (found, pages) = list_all(&large, &filter);
        assert_eq!(i64::try_from(found.len()).unwrap(), expected, "{what}");
        assert!(pages <= 4, "{what}: {pages} pages");
    }
}

#[test]
fn pages_take_one_round_trip_and_lists_one_beside_the_authentication() {
    let fixture = workspace_with(200, &[]).in_one_isolate();
    let mut ann = TestBrowser::new(&fixture);
    ann.sign_in_as(&serde_json::json!({ "user": { "id": "user7" }, "role": "admin" }));
    let mut member = TestBrowser::new(&fixture);
    member.sign_in_as(&serde_json::json!({ "user": { "id": "user8" } }));
    let key = first_key(&fixture);
    let db = &fixture.world.db;
    let page = |browser: &mut TestBrowser<'_>, path: &str| {
        browser.get(path);
        db.reset_counts();
        assert_eq!(browser.get(path).status, 200);
        (db.round_trips.get(), db.statements.get())
    };
    for (browser, statements) in [(&mut ann, 9), (&mut member, 8)] {
        assert_eq!(
            page(browser, "/"),
            (1, statements),
            "session; clients, apps, the page, its end, numbers, used apps, disconnected, for an admin people"
        );
    }
    for query in ["", "user=user7", "app=acme", "status=needs_reconnect", "ids=con_000000000000000000000009"] {
        let path = format!("/v1/connections?{query}");
        call(&fixture, &key, Method::Get, &path, &serde_json::Value::Null);
        db.reset_counts();
        assert_eq!(call(&fixture, &key, Method::Get, &path, &serde_json::Value::Null).0, 200);
        assert_eq!((db.round_trips.get(), db.statements.get()), (2, 2), "{query}: key; list");
    }
    db.tamper(&format!(
        "INSERT INTO app_defaults (workspace_id, app, user_id, environment, connection_id, set_at)
        SELECT workspace_id, app, '', '', id, 1 FROM connections WHERE id = '{}'",
        numbered_id(190)
    ));
    db.tamper(&format!(
        "UPDATE connections SET status = 'needs_reconnect', is_shared = 1 WHERE id = '{}'",
        numbered_id(190)
    ));
    for (browser, statements) in [(&mut ann, 9), (&mut member, 8)] {
        assert_eq!(page(browser, "/"), (1, statements), "the broken default is found by the same statement");
        let body = browser.get("/").body;
        assert!(body.contains(numbered_id(190).as_str()));
        for address in ["/?q=nothing", "/?sort=name", "/?app=acme&status=duplicate", "/?workflow=w", "/?page=2"] {
            assert_eq!(page(browser, address), (1, statements - 1), "{address}: nothing is offered to be brought back");
        }
    }
}

/// The pages of people, by what they are filtered and sorted by.
fn overviews() -> Vec<(String, OverviewFilter)> {
    let all = OverviewFilter { limit: 50, viewer: Some("user7".into()), ..OverviewFilter::default() };
    let words = |words: &[&str]| words.iter().map(|word| ((*word).to_owned(), None)).collect();
    let seen = OverviewFilter { visible_to: Some("user7".into()), ..all.clone() };
    let mut found = vec![];
    for (who, base) in [("admin", all), ("member", seen)] {
        let mut add = |what: &str, filter: OverviewFilter| found.push((format!("{who}: {what}"), filter));
        for order in [Order::Usual, Order::Name, Order::AppBackwards, Order::RecentlyUsed, Order::Account] {
            add(&format!("order {:?}", order.as_str()), OverviewFilter { order, ..base.clone() });
        }
        for issue in Issue::ALL {
            add(issue.as_str(), OverviewFilter { issue: Some(issue), ..base.clone() });
        }
        for status in
            [ConnectionStatus::Connected, ConnectionStatus::NeedsReconnect, ConnectionStatus::AwaitingConfirmation]
        {
            add(status.as_str(), OverviewFilter { status: Some(status), ..base.clone() });
        }
        add("search", OverviewFilter { words: words(&["acme", "example"]), ..base.clone() });
        add("search without hits", OverviewFilter { words: words(&["none", "at", "all"]), ..base.clone() });
        add("app", OverviewFilter { app: AppId::parse("acme"), ..base.clone() });
        add("app without hits", OverviewFilter { app: AppId::parse("slack"), ..base.clone() });
        add("owner", OverviewFilter { owner: Some("user7".into()), ..base.clone() });
        add("nobody's", OverviewFilter { without_owner: true, ..base.clone() });
        add("workflow", OverviewFilter { workflow: Some("billing".into()), ..base.clone() });
        add("id", OverviewFilter { id: Some(numbered_id(7)), ..base.clone() });
        add("last page", OverviewFilter { offset: WINDOW - 50, ..base.clone() });
        let after = Some((Timestamp::from_unix(9_000_000_000), String::new()));
        add("a later window", OverviewFilter { after, ..base.clone() });
    }
    found
}

/// Operations of one statement of a page, at most. The most expensive one is a search in what a person owns and in what others
/// share, with those that come first: three lists in one.
const MOST_OPERATIONS_OF_PAGE: i64 = 3 * MOST_OPERATIONS;

fn cost_of_overview(fixture: &Fixture, filter: &OverviewFilter) -> i64 {
    fixture.world.db.reset_counts();
    fixture.world.run(async {
        let context = fixture.world.context();
        let seen_by = filter.visible_to.as_deref();
        let mut statements: Vec<_> = filter.statements(&fixture.workspace, context.now()).into();
        statements.push(store::connections::counts_statement(&fixture.workspace, seen_by));
        statements.push(store::connections::used_apps_statement(&fixture.workspace, seen_by));
        context.db().batch(statements).await.unwrap();
    });
    fixture.world.db.vm_steps.get()
}

fn assert_overviews_are_flat(small: &Fixture, large: &Fixture) {
    for (what, filter) in overviews() {
        let costs = [small, large].map(|fixture| cost_of_overview(fixture, &filter));
        let most = large.world.db.most_vm_steps.get();
        assert!(most < MOST_OPERATIONS_OF_PAGE, "{what}: a statement of {most} operations holds the database");
        assert_flat(&what, costs);
    }
}

#[test]
fn no_page_costs_more_in_a_larger_workspace() {
    let same = [("account_id", "'one'"), ("user_id", "NULL"), ("name", "'Acme'")];
    let mine = [("user_id", "'user7'"), ("is_shared", "1"), ("status", "'needs_reconnect'"), ("name", "'test'")];
    let more = [("scopes_granted", r#"'["more", ' || substr(c.scopes_requested, 2)"#), ("user_id", "'user7'")];
    let ended = [("deleted_at", "CASE WHEN n.number % 4 THEN 1 END"), ("user_id", "'user7'")];
    let denied = [("app", "CASE WHEN n.number % 4 THEN 'denied' ELSE 'acme' END"), ("user_id", "'user7'")];
    for differences in [&[][..], &same, &mine, &more, &ended, &denied] {
        let [small, large] = SIZES.map(|size| {
            let fixture = workspace_with(size, differences);
            fixture.world.db.tamper(&format!(
                "INSERT INTO denied_apps (workspace_id, app, oauth_client, made_until) VALUES ('{}', 'denied', '', 9000000000)",
                fixture.workspace
            ));
            fixture.world.db.tamper(
                "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
                SELECT id, 'billing', '', workspace_id, 1, 1, 1 FROM connections",
            );
            fixture
        });
        assert_overviews_are_flat(&small, &large);
    }
}

#[test]
fn every_way_into_the_connections_of_a_page_has_its_index() {
    let fixture = workspace_with(20, &[]);
    let all = || OverviewFilter { limit: 50, ..OverviewFilter::default() };
    let ann = || Some("ann".to_owned());
    let by_user = "connections_by_user (workspace_id=? AND user_id=? AND (created_at,id)<(?,?))";
    for (filter, indexes) in [
        (all(), &["connections_by_workspace (workspace_id=? AND (created_at,id)<(?,?))"][..]),
        (
            OverviewFilter { visible_to: ann(), ..all() },
            &[by_user, "connections_shared (workspace_id=? AND (created_at,id)<(?,?))"],
        ),
        (OverviewFilter { owner: ann(), ..all() }, &[by_user]),
        (OverviewFilter { without_owner: true, ..all() }, &[by_user]),
        (
            OverviewFilter { app: Some(AppId::parse("acme").unwrap()), ..all() },
            &["connections_by_app (workspace_id=? AND app=? AND (created_at,id)<(?,?))"],
        ),
        (
            OverviewFilter { status: Some(ConnectionStatus::NeedsReconnect), ..all() },
            &["connections_by_status (workspace_id=? AND status=? AND (created_at,id)<(?,?))"],
        ),
        (
            OverviewFilter { workflow: Some("billing".into()), ..all() },
            &["uses_by_workflow (workspace_id=? AND workflow=? AND connection_id<?)"],
        ),
    ] {
        for statement in filter.statements(&fixture.workspace, fixture.world.now()) {
            let plan = fixture.world.db.explain_query_plan(&statement.sql);
            for index in indexes {
                assert!(plan.iter().any(|step| step.ends_with(&format!(" INDEX {index}"))), "{index}: {plan:#?}");
            }
        }
    }
}

#[test]
fn a_list_of_many_named_connections_is_in_order_and_holds_no_neighbour_up() {
    let fixture = workspace_with(1_000, &[]);
    let ids: Vec<_> = (1..=1_000).rev().map(numbered_id).collect();
    for limit in [1, 50, 100, 200] {
        let all = ConnectionFilter { connections: Some(ids.clone()), limit, ..ConnectionFilter::default() };
        fixture.world.db.reset_counts();
        let first = list(&fixture, &all);
        let most = fixture.world.db.most_vm_steps.get();
        assert!(most < MOST_OPERATIONS, "{limit}: a statement of {most} operations holds the database");
        assert_eq!(i64::try_from(first.data.len()).unwrap(), limit);
        if limit > 1 {
            let (found, pages) = list_all(&fixture, &all);
            assert_eq!(found, ids.iter().rev().cloned().collect::<Vec<_>>());
            assert_eq!(i64::from(pages), 1_000 / limit);
        }
        let none = ConnectionFilter { text: Some("none".into()), ..all };
        let (found, pages) = list_all(&fixture, &none);
        assert_eq!((found, pages), (vec![], 1));
    }
}

#[test]
fn a_search_finds_every_connection_although_no_request_looks_at_all() {
    let mine = [
        ("user_id", "CASE WHEN n.number % 2 THEN 'ann' END"),
        ("is_shared", "n.number % 2 = 0"),
        ("metadata", r#"'{"a":"b"}'"#),
    ];
    let fixture = workspace_with(MOST_EXAMINED * 5 / 2, &mine);
    // One at each end of what a request looks at, one in the middle, and the last.
    let hits = [1, MOST_EXAMINED - 1, MOST_EXAMINED, MOST_EXAMINED + 1, MOST_EXAMINED * 3 / 2, MOST_EXAMINED * 5 / 2];
    for hit in hits {
        let hit = numbered_id(hit);
        fixture.world.db.tamper(&format!(
            "UPDATE connections SET name = 'The Needle', failures = 3, status = 'connected' WHERE id = '{hit}'"
        ));
        fixture.world.db.tamper(&format!(
            "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
            VALUES ('{hit}', 'billing', '', '{}', 1, 1, 1)",
            fixture.workspace
        ));
    }
    let expected = hits.map(numbered_id).to_vec();
    let text = |text: &str| Some(text.to_owned());
    for limit in [1, 2, 50, 200] {
        let all = ConnectionFilter { limit, ..ConnectionFilter::default() };
        for (filter, most_pages) in [
            (ConnectionFilter { text: text("needle"), ..all.clone() }, 3),
            (ConnectionFilter { text: text("needle"), app: Some(fixture.app.clone()), ..all.clone() }, 3),
            (ConnectionFilter { text: text("needle"), visible_to: text("ann"), ..all.clone() }, 3),
            (ConnectionFilter { attention: text("app_unreachable"), ..all.clone() }, 3),
            (ConnectionFilter { workflow: text("billing"), ..all.clone() }, 1),
            (ConnectionFilter { connections: Some(expected.clone()), ..all.clone() }, 1),
        ] {
            let (found, pages) = list_all(&fixture, &filter);
            assert_eq!(found, expected, "{filter:?}");
            assert!(limit < 50 || pages <= most_pages, "{filter:?}: {pages} pages");
        }
        let (found, _) = list_all(&fixture, &ConnectionFilter { text: text("needle"), user: text("ann"), ..all });
        let anns: Vec<_> = hits.into_iter().filter(|hit| hit % 2 == 1).map(numbered_id).collect();
        assert_eq!(found, anns, "{limit}");
    }
}

#[test]
fn a_workflow_with_many_connections_is_listed_in_order() {
    let fixture = workspace_with(MOST_EXAMINED * 3 / 2, &[]);
    fixture.world.db.tamper(
        "INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
        SELECT id, 'billing', '', workspace_id, 1, 1, 1 FROM connections",
    );
    let filter = ConnectionFilter { workflow: Some("billing".into()), limit: 200, ..ConnectionFilter::default() };
    let (found, pages) = list_all(&fixture, &filter);
    let (all, _) = list_all(&fixture, &ConnectionFilter { limit: 200, ..ConnectionFilter::default() });
    assert_eq!(found, all);
    assert_eq!(pages, 8);
}

fn record_uses(fixture: &Fixture, id: &ConnectionId, steps: std::ops::Range<usize>) {
    for step in steps {
        let (workflow, step) = (format!("workflow {}", step / 10), format!("step {step}"));
        let used = store::uses::NewUse {
            workspace: fixture.workspace.clone(),
            connection: id.clone(),
            step: Some((workflow, step)),
            chosen_by: ChosenBy::Id,
            answered_by: None,
        };
        fixture.world.run(async {
            let context = fixture.world.context();
            store::uses::record(context.db(), &[used], context.now()).await.unwrap();
        });
    }
}

#[test]
fn no_list_costs_more_if_connections_are_used_by_many_steps() {
    let costs = [1, 100].map(|steps| {
        let fixture = workspace_with(20, &[]);
        for number in 1..=20 {
            record_uses(&fixture, &numbered_id(number), 0..steps);
        }
        let filter = ConnectionFilter { limit: 50, ..ConnectionFilter::default() };
        let listed = list(&fixture, &filter).data;
        let numbers = listed.iter().map(|one| (one.workflows, one.steps));
        let steps = i64::try_from(steps).unwrap();
        assert_eq!(numbers.filter(|numbers| *numbers == ((steps + 9) / 10, steps)).count(), 20);
        cost_of_list(&fixture, &filter).0
    });
    assert_flat("steps", costs);
}

#[test]
fn the_numbers_of_workflows_and_steps_are_those_of_the_rows() {
    let fixture = workspace_with(1, &[]);
    let id = numbered_id(1);
    let check = |what: &str| {
        let filter = ConnectionFilter { connections: Some(vec![id.clone()]), limit: 1, ..ConnectionFilter::default() };
        let listed = list(&fixture, &filter).data;
        let rows =
            |of| fixture.world.db.query_number(&format!("SELECT count({of}) FROM uses WHERE connection_id = '{id}'"));
        assert_eq!((listed[0].workflows, listed[0].steps), (rows("DISTINCT workflow"), rows("*")), "{what}");
        listed[0].steps
    };
    assert_eq!(check("unused"), 0);
    record_one_use_of(&fixture, &id);
    assert_eq!(check("recorded by a version that counts nothing"), 1);
    record_uses(&fixture, &id, 0..15);
    assert_eq!(check("used"), 16);
    fixture.world.advance_clock(1_000);
    record_uses(&fixture, &id, 0..15);
    assert_eq!(check("used again"), 16);
    let most = usize::try_from(connections::retention::USES_PER_CONNECTION).unwrap();
    fixture.world.advance_clock(1_000);
    record_uses(&fixture, &id, 15..most + 20);
    assert_eq!(check("the oldest were replaced"), connections::retention::USES_PER_CONNECTION);
}

/// What a connect and a disconnect ask about other connections, by what it costs.
fn costs_of_lookups(fixture: &Fixture) -> Vec<(&'static str, i64)> {
    let db = &fixture.world.db;
    let cost = |what, of: &dyn Fn()| {
        db.reset_counts();
        of();
        (what, db.vm_steps.get())
    };
    let in_use = |account: Option<&str>| {
        fixture.world.run(async {
            let context = fixture.world.context();
            let (workspace, client) = (&fixture.workspace, &fixture.client);
            store::connections::is_grant_in_use(context.db(), workspace, client, account).await.unwrap();
        });
    };
    let names = |prefix: &str| {
        fixture.world.run(async {
            let context = fixture.world.context();
            let (workspace, app) = (&fixture.workspace, &fixture.app);
            store::connections::list_names_with_prefix(context.db(), workspace, app, prefix).await.unwrap();
        });
    };
    let same_account = |account: &str| {
        fixture.world.run(async {
            let context = fixture.world.context();
            let (workspace, app) = (&fixture.workspace, &fixture.app);
            store::connections::list_same_account(context.db(), workspace, app, account, None).await.unwrap();
        });
    };
    let count_grants = |account: &str| {
        fixture.world.run(async {
            let context = fixture.world.context();
            let (workspace, client) = (&fixture.workspace, &fixture.client);
            store::connections::count_grants(context.db(), workspace, client, account).await.unwrap();
        });
    };
    vec![
        cost("grant of an account", &|| in_use(Some("account7"))),
        cost("grant of the same account", &|| in_use(Some("one"))),
        cost("grant of another account", &|| in_use(Some("nobody"))),
        cost("grant of an unknown account", &|| in_use(None)),
        cost("names", &|| names("Acme")),
        cost("names of an account", &|| names("Acme 7")),
        cost("other names", &|| names("None")),
        cost("same account", &|| same_account("one")),
        cost("other account", &|| same_account("account7")),
        cost("grants of the same account", &|| count_grants("one")),
        cost("grants of an account", &|| count_grants("account7")),
    ]
}

#[test]
fn no_connect_and_no_disconnect_costs_more_in_a_larger_workspace() {
    let one_account = [("account_id", "'one'"), ("user_id", "NULL"), ("name", "'Acme'")];
    let no_account = [("account_id", "NULL"), ("account_label", "NULL")];
    let broken = [("status", "'needs_reconnect'"), ("account_id", "'one'")];
    let broken_of_nobody = [("status", "'needs_reconnect'"), ("account_id", "NULL"), ("account_label", "NULL")];
    let ended = [("deleted_at", "1"), ("account_id", "NULL")];
    for differences in [&[][..], &one_account, &no_account, &broken, &broken_of_nobody, &ended] {
        let [small, large] = SIZES.map(|size| {
            let fixture = workspace_with(size, differences);
            // The first connection is never the answer.
            fixture.world.db.tamper("UPDATE connections SET status = 'needs_reconnect' WHERE name LIKE '%first%'");
            fixture
        });
        for is_edited in [false, true] {
            if is_edited {
                // Every connection was made after the edit: none of them is the answer, and all have to be excluded.
                for fixture in [&small, &large] {
                    fixture.world.advance_clock(-5_000_000);
                    fixture.put_app_revision(&serde_json::json!({ "name": "Acme 2" }));
                    fixture.world.advance_clock(5_000_000);
                }
            }
            for ((what, small), (_, large)) in costs_of_lookups(&small).into_iter().zip(costs_of_lookups(&large)) {
                assert_flat(&format!("{what}, edited: {is_edited}, {differences:?}"), [small, large]);
            }
        }
    }
}

#[test]
fn the_status_costs_no_more_in_a_larger_installation() {
    let most = store::erasing::STATUS_ROWS_COUNTED;
    let costs = [most + 100, most * 2].map(|size| {
        let fixture = workspace_with(size, &[("next_check_at", "1")]);
        let workspace = &fixture.workspace;
        let state = fixture.world.run(async {
            let context = fixture.world.context();
            fixture.world.db.tamper(&format!("UPDATE workspaces SET deleted_at = 1 WHERE id = '{workspace}'"));
            fixture.world.db.reset_counts();
            let state = store::maintenance::load_state(context.db(), context.now()).await.unwrap();
            let erasing = store::erasing::list_progress(context.db(), None, 100).await.unwrap();
            assert_eq!(erasing[0].connections_left, most);
            state
        });
        assert_eq!(state.due_checks, most);
        let [(key, rows)] = state.sealed_under.as_slice() else { panic!("{:?}", state.sealed_under) };
        assert_eq!((key.as_str(), state.is_sealed_under_complete), ("k1", false));
        // Those of the connections, and the client's secret.
        assert_eq!(*rows, store::maintenance::SEALED_ROWS_COUNTED + 1);
        fixture.world.db.vm_steps.get()
    });
    assert_flat("status", costs);
}

#[test]
fn the_status_counts_the_rows_that_are_sealed_again_last() {
    let most = store::maintenance::SEALED_ROWS_COUNTED;
    let count = |old: i64| {
        let fixture = workspace_with(most + 100, &[]);
        fixture.world.db.tamper("UPDATE oauth_clients SET sealed_secret = NULL");
        // Copied after the others, and after them in the order of ids.
        let ids: Vec<_> = (0..2).map(|at| numbered_id(if at == 0 { old } else { old - 1 })).collect();
        for id in ids {
            let replaced = "replace(sealed_credential, 'k1', 'k0')";
            fixture
                .world
                .db
                .tamper(&format!("UPDATE connections SET sealed_credential = {replaced} WHERE id = '{id}'"));
        }
        fixture.world.run(async {
            let context = fixture.world.context();
            store::maintenance::load_state(context.db(), context.now()).await.unwrap().sealed_under
        })
    };
    let named = |rows: &[(&str, i64)]| rows.iter().map(|(key, rows)| ((*key).to_owned(), *rows)).collect::<Vec<_>>();
    assert_eq!(count(most + 100), named(&[("k0", 2), ("k1", most - 2)]));
    assert_eq!(count(2), named(&[("k1", most)]));
}

#[test]
fn every_filter_has_its_index() {
    let fixture = workspace_with(WINDOW * 2 + 50, &[]);
    for (what, index) in [
        ("first page", "connections_by_workspace (workspace_id=? AND"),
        ("user", "connections_by_user (workspace_id=? AND user_id=? AND"),
        ("search", "connections_by_workspace (workspace_id=? AND"),
        ("needs reconnect", "connections_by_status (workspace_id=? AND status=? AND"),
        ("app", "connections_by_app (workspace_id=? AND app=? AND"),
        ("one connection", "sqlite_autoindex_connections_1 (id=?)"),
        ("missing_scopes", "connections_with_other_scopes (workspace_id=? AND"),
    ] {
        let filter = filters(&fixture).into_iter().find(|(name, _)| *name == what).unwrap().1;
        fixture.world.db.reset_counts();
        list(&fixture, &filter);
        let run = fixture.world.db.statements_run.borrow().clone();
        let lists: Vec<_> = run.iter().filter(|sql| sql.starts_with("SELECT c.id AS id, c.workspace_id")).collect();
        assert!(!lists.is_empty(), "{what}");
        for sql in lists {
            let plan = fixture.world.db.explain_query_plan(sql);
            // A piece has two ends.
            let bounds = [" (created_at,id)<(?,?))", " (created_at,id)>(?,?) AND (created_at,id)<(?,?))", ""];
            let bounds = bounds.iter().map(|bounds| format!("SEARCH c USING INDEX {index}{bounds}"));
            assert!(bounds.into_iter().any(|step| plan[0] == step), "{what}: {plan:#?}");
            let sorts = plan.iter().any(|step| step.contains("USE TEMP B-TREE"));
            assert_eq!(sorts, what == "one connection", "{what}: only an allow-list is sorted");
        }
    }
}
