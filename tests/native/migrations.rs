//! A migration that rebuilds a table keeps every row, column and index.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::support::database::{empty, migrate};

/// What one version of the program has written, with foreign keys as in production.
fn database_before(last: &str) -> Connection {
    let sqlite = empty();
    migrate(&sqlite, |name| name <= last);
    sqlite
}

fn apply_migration(sqlite: &Connection, name: &str) {
    migrate(sqlite, |one| one == name);
}

/// All rows of a table: column and value, as text.
fn read_rows(sqlite: &Connection, table: &str) -> Vec<BTreeMap<String, String>> {
    let mut statement = sqlite.prepare(&format!("SELECT * FROM {table} ORDER BY id")).unwrap();
    let names: Vec<_> = statement.column_names().into_iter().map(str::to_owned).collect();
    let read = |row: &rusqlite::Row<'_>| {
        let value = |at: usize| row.get_ref(at).map(|value| format!("{value:?}"));
        names.iter().enumerate().map(|(at, name)| Ok((name.clone(), value(at)?))).collect()
    };
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

fn index_names(sqlite: &Connection) -> Vec<String> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name IN ('connections', 'revocations') AND sql IS NOT NULL ORDER BY 1";
    let mut statement = sqlite.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_migration_to_auth_methods_keeps_connections_and_revocations() {
    let sqlite = database_before("0003_ambiguous_since.sql");
    sqlite
        .execute_batch(
            "INSERT INTO workspaces (id, name, created_at) VALUES ('ws_1', 'W', 1);
             INSERT INTO clients (id, workspace_id, registration, client_id, hosts, current, created_at, updated_at)
               VALUES ('cli_1', 'ws_1', 'acme', 'c', '[]', 1, 1, 1);",
        )
        .unwrap();
    // Every column has its own value, so that swapped columns are found.
    for table in ["connections", "revocations"] {
        let mut statement = sqlite.prepare(&format!("SELECT name, type FROM pragma_table_info('{table}')")).unwrap();
        let columns: Vec<(String, String)> =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        let value = |at: usize, (name, kind): &(String, String)| match (name.as_str(), kind.as_str()) {
            ("workspace_id", _) => "'ws_1'".to_owned(),
            ("client", _) => "'cli_1'".to_owned(),
            ("status", _) => "'connected'".to_owned(),
            (_, "INTEGER") => (1000 + at).to_string(),
            (name, _) => format!("'{name} {at}'"),
        };
        let values: Vec<_> = columns.iter().enumerate().map(|(at, column)| value(at, column)).collect();
        let names: Vec<_> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let sql = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), values.join(", "));
        sqlite.execute_batch(&sql).unwrap();
    }
    let (old, old_indexes) =
        (["connections", "revocations"].map(|table| read_rows(&sqlite, table)), index_names(&sqlite));
    apply_migration(&sqlite, "0004_ways.sql");
    assert_eq!(index_names(&sqlite), old_indexes);
    for (table, old) in ["connections", "revocations"].into_iter().zip(old) {
        let new = read_rows(&sqlite, table);
        assert_eq!(new.len(), 1);
        for (name, value) in &old[0] {
            assert_eq!(new[0].get(name), Some(value), "{table}.{name}");
        }
        assert!(new[0]["way"].contains(&format!("{:?}", "oauth2".as_bytes())), "{:?}", new[0]["way"]);
    }
    let orphans: i64 = sqlite.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(orphans, 0);
}

#[test]
fn the_migration_that_numbers_events_keeps_their_order() {
    let sqlite = database_before("0004_ways.sql");
    for (at, id) in [(2, "evt_b"), (1, "evt_z"), (2, "evt_a"), (3, "evt_c")] {
        let sql = format!("INSERT INTO events VALUES ('ws_1', 'con_1', {at}, '{id}', 'edited', 'key:k', 'd')");
        sqlite.execute_batch(&sql).unwrap();
    }
    let old = read_rows(&sqlite, "events");
    apply_migration(&sqlite, "0006_events_in_order.sql");
    let new = read_rows(&sqlite, "events");
    for (old, new) in old.iter().zip(&new) {
        assert!(old.iter().all(|(name, value)| new.get(name) == Some(value)), "{old:?} {new:?}");
    }
    let mut statement = sqlite.prepare("SELECT id FROM events ORDER BY seq").unwrap();
    let ids: Vec<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!((new.len(), ids.as_slice()), (4, ["evt_z", "evt_a", "evt_b", "evt_c"].map(String::from).as_slice()));
}

#[test]
fn the_migration_to_roles_keeps_sessions_as_members() {
    let sqlite = database_before("0006_events_in_order.sql");
    sqlite
        .execute_batch(
            "INSERT INTO workspaces (id, name, created_at) VALUES ('ws_1', 'W', 1);
             INSERT INTO keys (id, workspace_id, name, hash, scopes, created_at) VALUES ('key_1', 'ws_1', 'k', 'h', '[]', 1);
             INSERT INTO links (id, token_hash, workspace_id, app, on_duplicate, confirm, status, created_at, expires_at)
               VALUES ('lnk_1', 't', 'ws_1', 'acme', 'ask', 0, 'open', 1, 3601);
             INSERT INTO sessions (hash, workspace_id, kind, user_id, created_at, expires_at) VALUES ('s', 'ws_1', 'person', 'ann', 1, 9);
             INSERT INTO sign_in_links (token_hash, workspace_id, user_id, expires_at) VALUES ('u', 'ws_1', 'ann', 1600);",
        )
        .unwrap();
    apply_migration(&sqlite, "0008_authority.sql");
    let one = |sql: &str| sqlite.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    for table in ["keys", "links", "sessions", "sign_in_links"] {
        assert_eq!(one(&format!("SELECT count(*) || coalesce(max(made_by), '') FROM {table}")), "1", "{table}");
    }
    assert_eq!(one("SELECT role FROM sessions"), "member");
    assert_eq!(one("SELECT role || ' ' || created_at FROM sign_in_links"), "member 1000");
    assert_eq!(one("SELECT hash || coalesce(previous_hash, '') FROM keys"), "h");
}

#[test]
fn the_migration_ends_what_exists_in_deleted_workspaces() {
    let sqlite = database_before("0006_events_in_order.sql");
    sqlite
        .execute_batch(
            "INSERT INTO workspaces (id, name, created_at, deleted_at) VALUES ('ws_1', 'W', 1, 5), ('ws_2', 'W', 1, NULL);
             INSERT INTO keys (id, workspace_id, name, hash, scopes, created_at)
               VALUES ('key_1', 'ws_1', 'k', 'h', '[]', 1), ('key_2', 'ws_2', 'k', 'h', '[]', 1);
             INSERT INTO connections (id, workspace_id, app, app_revision, name, scopes_requested, scopes_granted, created_at,
                 connected_at, generation, version, status, refreshable, next_check_at)
               VALUES ('con_1', 'ws_1', 'a', 0, 'n', '[]', '[]', 1, 1, 1, 1, 'connected', 0, 7),
                      ('con_2', 'ws_2', 'a', 0, 'n', '[]', '[]', 1, 1, 1, 1, 'connected', 0, 7);",
        )
        .unwrap();
    apply_migration(&sqlite, "0009_erasing.sql");
    let number = |sql: &str| sqlite.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM keys WHERE revoked_at = 5 AND id = 'key_1'"), 1);
    assert_eq!(number("SELECT count(*) FROM keys WHERE revoked_at IS NULL AND id = 'key_2'"), 1);
    let ended = "deleted_at = 5 AND generation = 2 AND next_check_at IS NULL";
    assert_eq!(number(&format!("SELECT count(*) FROM connections WHERE id = 'con_1' AND {ended}")), 1);
    assert_eq!(
        number("SELECT count(*) FROM connections WHERE id = 'con_2' AND deleted_at IS NULL AND next_check_at = 7"),
        1
    );
    let late = |workspace: &str| {
        let sql = format!(
            "INSERT INTO keys (id, workspace_id, name, hash, scopes, created_at) VALUES ('late {workspace}', '{workspace}', 'k', 'h', '[]', 1)"
        );
        sqlite.execute_batch(&sql)
    };
    let refused = late("ws_1").unwrap_err().to_string();
    assert!(refused.contains("constraint failed"), "the program knows it by these words: {refused}");
    late("ws_2").unwrap();
}

#[test]
fn the_migration_ends_only_issued_tokens_of_unknown_lifetime() {
    let sqlite = database_before("0010_limits.sql");
    sqlite.execute_batch("INSERT INTO workspaces (id, name, created_at) VALUES ('ws_1', 'W', 1)").unwrap();
    let insert = |id: &str, kind: &str, refreshable: i64, refreshed_at: &str, expires_at: &str| {
        let sql = format!(
            "INSERT INTO connections (id, workspace_id, app, app_revision, name, scopes_requested, scopes_granted, created_at,
               connected_at, generation, version, status, kind, refreshable, refreshed_at, expires_at)
             VALUES ('{id}', 'ws_1', 'a', 0, 'n', '[]', '[]', 100, 100, 1, 1, 'connected', '{kind}', {refreshable}, {refreshed_at}, {expires_at})"
        );
        sqlite.execute_batch(&sql).unwrap();
    };
    insert("made", "client_credentials", 1, "NULL", "NULL");
    insert("renewed", "service_account", 1, "500", "NULL");
    insert("told", "client_credentials", 1, "500", "7777");
    insert("consented", "oauth2", 1, "500", "NULL");
    insert("key", "api_key", 0, "NULL", "NULL");
    apply_migration(&sqlite, "0011_refused_since.sql");
    let end = |id: &str| {
        let sql = format!("SELECT expires_at FROM connections WHERE id = '{id}' AND refused_since IS NULL");
        sqlite.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap()
    };
    let ends = ["made", "renewed", "told", "consented", "key"].map(end);
    assert_eq!(ends, [Some(1000), Some(1400), Some(7777), None, None]);
}

#[test]
fn between_the_rebuild_migrations_no_version_finds_its_tables() {
    let sqlite = database_before("0013_names.sql");
    let then = ["apps", "authorizations", "clients", "connections", "keys", "revocations"];
    let now = ["flows", "oauth_clients"];
    for table in then.into_iter().chain(now) {
        let read = sqlite.prepare(&format!("SELECT * FROM {table}"));
        assert!(read.is_err_and(|error| error.to_string().contains("no such table")), "{table}");
    }
}
