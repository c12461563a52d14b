//! The SQL of lists of connections: the columns of a listed connection, and one condition for each filter.
//!
//! Owns the parts that lists and pages are put together from. A statement has only the parts that its filters ask for: the
//! database compiles a statement before it runs, and a clause takes longer to compile than to run. Numbers of values
//! are those of [`super::listed`]. All conditions are of the connection `c`. Without the casts of limits `SQLite` compiles a
//! statement again at each call, because a plan might depend on the limit.

/// The columns of a listed connection. Of its credential only the beginning, which names the key that sealed it: the rest
/// would be most of what a page of a list reads and sends.
pub(super) const COLUMNS: &str = "c.id AS id, c.workspace_id, c.app, c.app_revision, c.auth_method, c.credential_type, c.oauth_client, c.name,
      c.user_id, c.user_name, c.account_id, c.account_label, c.created_at AS created_at, c.connected_at, c.last_used_at, c.deleted_at, c.generation,
      c.version, c.status, c.reconnect_reason, c.expires_at, c.refreshable, c.refreshed_at, c.refresh_expires_at, c.refresh_idle_until,
      c.grant_expires_at, c.lease_attempt_id, c.lease_expires_at, c.lease_token_hash, c.ambiguous_token_hash, c.ambiguous_since, c.next_attempt_at,
      c.failures, c.last_error, c.refresh_refused_since, c.refresh_refused_code, c.checked_at, c.check_evidence, c.next_check_at,
      c.no_resources_message, c.definition_update_blocked, c.metadata, c.allowed_workflows, c.scopes_requested, c.scopes_granted,
      c.variables, c.destinations, c.environment, c.is_shared, substr(c.sealed_credential, 1, 40) AS sealed_credential";

/// A step of the connection `c` used another one before, and that is shown.
macro_rules! uses_that_changed {
    () => {
        concat!(
            "uses u ",
            join_use_before!("u"),
            " WHERE u.connection_id = c.id AND ",
            step_has_changed!("u", "?28", "?29")
        )
    };
}
/// Another connection of the same owner to the same account.
macro_rules! twin {
    () => {
        "FROM connections d WHERE d.workspace_id = c.workspace_id AND d.app = c.app AND d.account_id = c.account_id
        AND d.user_id IS c.user_id AND d.id <> c.id AND d.deleted_at IS NULL"
    };
}
/// Steps get the connection by default: its own, or one that it answers for.
macro_rules! serves_default {
    () => {
        "(EXISTS (SELECT 1 FROM app_defaults a WHERE a.connection_id = c.id) AND NOT EXISTS (SELECT 1 FROM replacements r WHERE r.connection_id = c.id)
        OR EXISTS (SELECT 1 FROM replacements r CROSS JOIN app_defaults a ON a.connection_id = r.connection_id WHERE r.replaced_by = c.id))"
    };
}
/// The client of the connection `c`.
macro_rules! client {
    () => {
        " LEFT JOIN oauth_clients k ON k.id = c.oauth_client AND k.workspace_id = c.workspace_id"
    };
}
/// The app was asked: no problem of ours prevented it.
macro_rules! was_asked {
    () => {
        "coalesce(c.last_error, '') NOT IN ('client_secret_unreadable', 'client_key_unusable', 'client_addresses_changed')"
    };
}

/// What is shown in addition to the connection's own columns, for a statement that joins [`CLIENT`].
pub(super) const ADDED_COLUMNS: &str = concat!(
    ", k.misconfigured_at AS client_misconfigured_at, k.misconfigured_error AS client_error, k.is_current AS client_current,
      k.secret_expires_at AS client_secret_expires_at,
      coalesce(c.used_by_workflows, (SELECT count(DISTINCT u.workflow) FROM uses u WHERE u.connection_id = c.id)) AS workflows,
      coalesce(c.used_by_steps, (SELECT count(*) FROM uses u WHERE u.connection_id = c.id)) AS steps,
      EXISTS (SELECT 1 ",
    twin!(),
    ") AS duplicate,
      EXISTS (SELECT 1 FROM app_defaults a WHERE a.connection_id = c.id) AS is_default, ",
    serves_default!(),
    " AS serves_default,
      (SELECT ",
    related_connection!("b"),
    " FROM replacements r CROSS JOIN connections b ON b.id = r.replaced_by WHERE r.connection_id = c.id) AS answering,
      (SELECT json_group_array(json(one)) FROM (SELECT ",
    related_connection!("o"),
    " AS one FROM replacements r
        CROSS JOIN connections o ON o.id = r.connection_id AND o.deleted_at IS NULL WHERE r.replaced_by = c.id LIMIT CAST(?11 AS INTEGER))) AS replaced,
      CASE WHEN c.step_changed_at > ?28 THEN (SELECT json_group_array(json(one)) FROM (SELECT ",
    step_change!("u"),
    " AS one FROM ",
    uses_that_changed!(),
    " LIMIT CAST(?27 AS INTEGER))) END AS step_changes"
);
/// The client, which lists show and some conditions ask for.
pub(super) const CLIENT: &str = client!();
/// A twin of the connection that the person `?8` sees.
pub(super) const SEEN_TWIN: &str = concat!(
    "(SELECT json_object('id', d.id, 'name', d.name) ",
    twin!(),
    " AND (?8 IS NULL OR coalesce(d.is_shared, d.user_id IS NULL) OR d.user_id = ?8) LIMIT 1)"
);

pub(super) const NOT_DELETED: &str = "c.deleted_at IS NULL";
pub(super) const NOT_DENIED: &str = is_not_denied!("c");
pub(super) const IS_DENIED: &str = concat!(", NOT ", is_not_denied!("c"), " AS is_denied");

// With a plus a column leads to no index: the first condition of a list decides which one is used.
pub(super) const OF_APP: &str = "+c.app = ?3";
pub(super) const OF_STATUS: &str = "+c.status = ?4";
pub(super) const OF_USER: &str = "+c.user_id = ?5";
pub(super) const OF_NOBODY: &str = "+c.user_id IS NULL";
pub(super) const OF_WORKFLOW: &str = "EXISTS (SELECT 1 FROM uses u WHERE u.connection_id = c.id AND u.workflow = ?6)";
pub(super) const OF_ENVIRONMENT: &str = "+c.environment = ?22";
pub(super) const SEEN: &str = "(coalesce(c.is_shared, c.user_id IS NULL) OR +c.user_id = ?8)";

/// That the connection deserves the attention that a code names. `attention` says the same in Rust.
pub(super) fn attention(code: &str) -> &'static str {
    match code {
        "missing_scopes" => {
            "CASE WHEN json_valid(c.scopes_requested) AND json_valid(c.scopes_granted) THEN
          EXISTS (SELECT 1 FROM json_each(c.scopes_requested) r
          WHERE r.value NOT IN (SELECT g.value FROM json_each(c.scopes_granted) g)) END"
        }
        "client_misconfigured" => "(k.misconfigured_at IS NOT NULL OR c.last_error = 'client_addresses_changed')",
        "client_secret_expires" => "k.secret_expires_at < ?17",
        "app_unreachable" => concat!(
            "c.failures >= ?16 AND +c.status = 'connected' AND c.refresh_refused_since IS NULL
          AND (k.misconfigured_error IS NULL OR c.last_error IS NOT k.misconfigured_error) AND ",
            was_asked!()
        ),
        "app_refuses" => concat!(
            "c.refresh_refused_since IS NOT NULL AND +c.status = 'connected' AND (c.failures >= ?16 OR c.expires_at <= ?12) AND ",
            was_asked!()
        ),
        "expires_soon" => {
            "+c.status = 'connected' AND ((NOT c.refreshable AND c.expires_at < ?18) OR c.refresh_expires_at < ?18
          OR c.refresh_idle_until < ?18 OR c.grant_expires_at < ?18)"
        }
        "nothing_shared" => "+c.status = 'connected' AND c.no_resources_message IS NOT NULL",
        "definition_changed" => "c.definition_update_blocked IS NOT NULL",
        "default_unusable" => concat!("+c.status = 'needs_reconnect' AND ", serves_default!()),
        "step_changed_connection" => {
            concat!("c.step_changed_at > ?28 AND EXISTS (SELECT 1 FROM ", uses_that_changed!(), ")")
        }
        "unused" => "coalesce(c.last_used_at, c.connected_at) < ?19",
        "duplicate" => concat!("EXISTS (SELECT 1 ", twin!(), ")"),
        _ => "NULL",
    }
}

/// The conditions whose filters are set.
pub(super) fn that_are_set<const N: usize>(
    conditions: [(bool, &'static str); N],
) -> impl Iterator<Item = &'static str> {
    conditions.into_iter().filter_map(|(is_set, condition)| is_set.then_some(condition))
}

/// The clause of conditions that must all hold.
pub(super) fn where_all(conditions: impl IntoIterator<Item = &'static str>) -> Vec<&'static str> {
    let mut parts = Vec::new();
    for condition in conditions {
        parts.extend([if parts.is_empty() { " WHERE " } else { " AND " }, condition]);
    }
    parts
}
