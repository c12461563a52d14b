//! Tests the simulation itself: each safeguard is removed in turn, and the judge must report it.
//!
//! Owns the list. The safeguards are parts of SQL statements, so they are removed there: the program is the same, and
//! the database runs a changed text.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Theme;
use crate::seed_runner::run_seed;
use crate::support::World;
use crate::support::database::StatementEdit;

/// Within this many seeds a missing safeguard must be reported.
const MAX_SEEDS: u64 = 20_000;

/// A removed safeguard.
struct RemovedSafeguard {
    description: &'static str,
    /// The theme of the scenarios in which it is searched for.
    theme: Theme,
    statement_edits: &'static [StatementEdit],
    /// A safeguard that is not part of a statement.
    prepare: fn(&World),
    /// Words in the expected findings.
    expected_findings: &'static [&'static str],
}

const TAKE_LEASE: &str = "lease_token_hash = ?7";
const PERSIST_SQL: &str = "last_attempt_id = ?5";
const APPLIED: &str =
    "SELECT last_attempt_id, lease_attempt_id, generation - (deleted_at IS NOT NULL) AS generation, version FROM";
const NEEDS_RECONNECT: &str = "ELSE 'needs_reconnect' END, reconnect_reason = ?6";
const FAIL: &str = "ambiguous_token_hash = coalesce(?11, ambiguous_token_hash)";
const RECONNECT: &str = "UPDATE connections SET app_revision = ?4";
const RESEAL: &str = "UPDATE connections SET sealed_credential = n.sealed";
const MARK_DELETED: &str = "generation = generation + 1, next_check_at = NULL\n    WHERE workspace_id = ?1 AND id = ?2";

// ---- safeguards against a hostile editor ----

const FLOW: &str = "FROM flows WHERE state_hash = ?1";
const CONNECTION: &str = "SELECT * FROM connections WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const TO_REFRESH: &str = "SELECT * FROM connections WHERE id = ?1 AND deleted_at IS NULL";
const TO_RESOLVE: &str = "AS step_used_at";
const DEFINITION_TO_REFRESH: &str = "AND a.revision = c.app_revision WHERE c.id = ?1";
const CLIENT: &str = "SELECT * FROM oauth_clients WHERE workspace_id = ?1 AND id = ?2";
const CURRENT_CLIENT: &str = "FROM oauth_clients WHERE workspace_id = ?1 AND registration = ?2 AND is_current = 1";
const CLIENTS: &str = "registration = ?2 ORDER BY is_current DESC, updated_at DESC";
const CLIENT_TO_REFRESH: &str =
    "SELECT * FROM oauth_clients WHERE id = (SELECT oauth_client FROM connections WHERE id = ?1)";

/// The destinations of a row, extended to all addresses of any definition.
const ANYWHERE: &str = r#"SELECT *, json_set(destinations,
    '$.token', json('["https://acme.example/token","https://acme.example/main/token","https://acme.example/rogue/token","https://rogue.example/token"]'),
    '$.revoke', json('["https://acme.example/revoke","https://acme.example/main/revoke","https://acme.example/rogue/revoke","https://rogue.example/revoke"]'),
    '$.api', json('["https://acme.example","https://rogue.example"]')) AS destinations "#;
/// The same, for a row that is read as if it had been created with the current client.
const ANYWHERE_BY_THE_CURRENT_CLIENT: &str = r#"SELECT *, json_set(destinations,
    '$.token', json('["https://acme.example/token","https://acme.example/main/token","https://acme.example/rogue/token","https://rogue.example/token"]'),
    '$.revoke', json('["https://acme.example/revoke","https://acme.example/main/revoke","https://acme.example/rogue/revoke","https://rogue.example/revoke"]'),
    '$.api', json('["https://acme.example","https://rogue.example"]')) AS destinations,
    (SELECT c.id FROM oauth_clients c WHERE c.workspace_id = ?1 AND c.registration = connections.app AND c.is_current = 1) AS oauth_client "#;
/// The destinations of a client, extended to all revocation and API addresses of any definition.
const WIDENED: &str = r#"SELECT *, json_set(destinations,
    '$.revoke', json('["https://acme.example/revoke","https://acme.example/{realm}/revoke","https://acme.example/rogue/revoke","https://rogue.example/revoke"]'),
    '$.api', json('["https://acme.example","https://rogue.example"]')) AS destinations "#;
/// The destinations of a client with the wider placeholder rule of another definition.
const LOOSENED: &str = r#"SELECT *, json_set(destinations, '$.rules', json('{"realm":{"from":"person","default":"main"}}')) AS destinations "#;
const REDIRECT_OF_THE_FIRST: &str = "SELECT *, (SELECT c.redirect_id FROM oauth_clients c WHERE c.workspace_id = ?1
    ORDER BY c.created_at, c.id = c.redirect_id DESC LIMIT 1) AS redirect_id ";
const BY_THE_CURRENT_REVISION: &str = "SELECT *, NULL AS destinations, (SELECT a.revision FROM apps a
    WHERE a.workspace_id = flows.workspace_id AND a.id = flows.app AND a.is_current = 1) AS app_revision,";
const ENDED_BY_THE_CURRENT_REVISION: &str = "RETURNING *, NULL AS destinations, (SELECT a.revision FROM apps a
    WHERE a.workspace_id = connections.workspace_id AND a.id = connections.app AND a.is_current = 1) AS app_revision";
const LEAK_FINDINGS: &[&str] = &["where it was not given for"];

fn prepare_nothing(_: &World) {}

// ---- safeguards of long scenarios ----

const MISCONFIGURED: &str = "UPDATE oauth_clients SET misconfigured_at = coalesce(misconfigured_at, ?3)";
const DELAY: &str = "failures = failures + ?5";
const CACHE_DELETES: &str = "UPDATE cache_deletes SET next_attempt_at";
const MOVES: &str = "UPDATE apps SET rollout_due_at = ?2";
const WORKS: &str = "misconfigured_at IS NOT NULL OR failures > 0";
const STAYS: &str = "SET definition_update_blocked = ?5";
const REVOKED_LATER: &str = "UPDATE revocations SET failures = failures + 1";
const ERASED: &str = "DELETE FROM connections WHERE";

/// Entries claim to be valid for a month, so that nobody writes them again.
fn copies_are_not_renewed(world: &World) {
    world.cache.overstates.set(30 * 86_400);
}

fn let_attacker_seal(world: &World) {
    world.cache.attacker_can_seal.set(true);
}

/// Each row that a statement reads is changed.
const fn replace_columns_read(statement_part: &'static str, replacement: &'static str) -> StatementEdit {
    StatementEdit { statement_part, find: "SELECT * ", replacement }
}

const REMOVED_SAFEGUARDS: &[RemovedSafeguard] = &[
    RemovedSafeguard {
        description: "no intent: the promise ends as it begins",
        theme: Theme::Anything,
        statement_edits: &[StatementEdit {
            statement_part: TAKE_LEASE,
            find: "lease_expires_at = ?6",
            replacement: "lease_expires_at = ?6 - 100000",
        }],
        prepare: prepare_nothing,
        expected_findings: &["under way at once", "presented again"],
    },
    RemovedSafeguard {
        description: "a lease that is stolen: a promise in force is taken over",
        theme: Theme::SlowDatabase,
        statement_edits: &[StatementEdit {
            statement_part: TAKE_LEASE,
            find: "AND (lease_attempt_id IS NULL OR lease_expires_at + 5 < ?8)",
            replacement: "AND ?8 > 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["under way at once", "presented again"],
    },
    RemovedSafeguard {
        description: "no compare-and-set before the request: the claim does not look at the version",
        theme: Theme::SlowDatabase,
        statement_edits: &[StatementEdit {
            statement_part: TAKE_LEASE,
            find: "AND version = ?4",
            replacement: "AND ?4 > 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["presented again", "under way at once"],
    },
    RemovedSafeguard {
        description: "no compare-and-set after it: an answer is stored whatever came between",
        theme: Theme::LateAnswer,
        statement_edits: &[StatementEdit {
            statement_part: PERSIST_SQL,
            find: "AND generation - (deleted_at IS NOT NULL) = ?3 AND (deleted_at IS NULL OR undo_until IS NOT NULL) AND (lease_attempt_id = ?5 OR version = ?4)",
            replacement: "AND ?3 > 0 AND ?4 > 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["does not open", "older generation", "presented again", "false death", "somebody else"],
    },
    RemovedSafeguard {
        description: "a new token is dropped when somebody else has taken the promise over",
        theme: Theme::Takeover,
        statement_edits: &[StatementEdit {
            statement_part: PERSIST_SQL,
            find: "(lease_attempt_id = ?5 OR version = ?4)",
            replacement: "(lease_attempt_id = ?5 AND ?4 > 0)",
        }],
        prepare: prepare_nothing,
        expected_findings: &["had been in the program's hands"],
    },
    RemovedSafeguard {
        description: "dead at once: a refusal kills whatever is stored by now",
        theme: Theme::LateAnswer,
        statement_edits: &[StatementEdit {
            statement_part: NEEDS_RECONNECT,
            find: "AND generation = ?3 AND version = ?4 AND lease_attempt_id = ?5 AND deleted_at IS NULL",
            replacement: "AND ?3 > 0 AND ?4 > 0 AND ?5 <> '' AND deleted_at IS NULL",
        }],
        prepare: prepare_nothing,
        expected_findings: &["false death"],
    },
    RemovedSafeguard {
        description: "dead at once: any failure kills",
        theme: Theme::Anything,
        statement_edits: &[StatementEdit {
            statement_part: FAIL,
            find: "failures = failures + 1",
            replacement: "failures = failures + 1, status = 'needs_reconnect', reconnect_reason = 'revoked'",
        }],
        prepare: prepare_nothing,
        expected_findings: &["alive at the app"],
    },
    RemovedSafeguard {
        description: "what may have been redeemed is given back at once",
        theme: Theme::Anything,
        statement_edits: &[
            StatementEdit { statement_part: FAIL, find: "CASE WHEN ?6 THEN", replacement: "CASE WHEN ?6 OR 1 THEN" },
            StatementEdit {
                statement_part: FAIL,
                find: "next_attempt_at = ?5",
                replacement: "next_attempt_at = ?5 - 60",
            },
        ],
        prepare: prepare_nothing,
        expected_findings: &["still owned it", "without a pause"],
    },
    RemovedSafeguard {
        description: "no back-off after a failure",
        theme: Theme::Anything,
        statement_edits: &[StatementEdit {
            statement_part: FAIL,
            find: "next_attempt_at = ?5",
            replacement: "next_attempt_at = ?5 * 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["without a pause"],
    },
    RemovedSafeguard {
        description: "what may have been redeemed is forgotten",
        theme: Theme::Anything,
        statement_edits: &[
            StatementEdit {
                statement_part: FAIL,
                find: "coalesce(?11, ambiguous_token_hash)",
                replacement: "coalesce(NULL, substr(?11, 1, 0))",
            },
            StatementEdit { statement_part: FAIL, find: "ELSE lease_token_hash END", replacement: "ELSE '' END" },
        ],
        prepare: prepare_nothing,
        expected_findings: &["named revoked"],
    },
    RemovedSafeguard {
        description: "a reconnect does not begin a new generation",
        theme: Theme::Anything,
        statement_edits: &[StatementEdit {
            statement_part: RECONNECT,
            find: "generation = generation + 1",
            replacement: "generation = generation",
        }],
        prepare: prepare_nothing,
        expected_findings: &["does not open", "older generation"],
    },
    RemovedSafeguard {
        description: "the tokens of an answer are not stored",
        theme: Theme::Anything,
        statement_edits: &[StatementEdit {
            statement_part: PERSIST_SQL,
            find: "SET sealed_credential = ?6, version = version + 1",
            replacement: "SET sealed_credential = sealed_credential || substr(?6, 1, 0), version = version + 1",
        }],
        prepare: prepare_nothing,
        expected_findings: &["in the record", "named lost", "has ended"],
    },
    RemovedSafeguard {
        description: "an answer is taken for stored that is not",
        theme: Theme::Anything,
        statement_edits: &[
            StatementEdit {
                statement_part: PERSIST_SQL,
                find: "(lease_attempt_id = ?5 OR version = ?4)",
                replacement: "?4 < 0 AND ?5 = ''",
            },
            StatementEdit { statement_part: APPLIED, find: "version FROM", replacement: "version + 1 AS version FROM" },
        ],
        prepare: prepare_nothing,
        expected_findings: &["had been in the program's hands", "named lost", "alive at the app"],
    },
    RemovedSafeguard {
        description: "re-sealing writes over what came after it was read",
        theme: Theme::Resealing,
        statement_edits: &[StatementEdit {
            statement_part: RESEAL,
            find: "connections.sealed_credential = n.was AND connections.version = n.version",
            replacement: "n.was <> '' AND n.version > 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["presented again", "alive at the app", "does not open", "older generation"],
    },
    RemovedSafeguard {
        description: "a disconnect does not end the connection for everybody",
        theme: Theme::Anything,
        statement_edits: &[StatementEdit {
            statement_part: MARK_DELETED,
            find: "SET deleted_at = ?3, generation = generation + 1",
            replacement: "SET deleted_at = nullif(?3, ?3)",
        }],
        prepare: prepare_nothing,
        expected_findings: &["after an acknowledged disconnect"],
    },
    RemovedSafeguard {
        description: "all authorization servers share a redirect URI",
        theme: Theme::Editor,
        statement_edits: &[
            replace_columns_read(CLIENT, REDIRECT_OF_THE_FIRST),
            replace_columns_read(CURRENT_CLIENT, REDIRECT_OF_THE_FIRST),
        ],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a refresh token is carried over whatever its addresses",
        theme: Theme::Editor,
        statement_edits: &[replace_columns_read(CONNECTION, ANYWHERE)],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a refresh token is carried over whatever its addresses and its client",
        theme: Theme::Editor,
        statement_edits: &[replace_columns_read(CONNECTION, ANYWHERE_BY_THE_CURRENT_CLIENT)],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a client's secret is kept for other addresses",
        theme: Theme::Editor,
        statement_edits: &[
            replace_columns_read(CLIENT, WIDENED),
            replace_columns_read(CURRENT_CLIENT, WIDENED),
            replace_columns_read(CLIENTS, WIDENED),
            replace_columns_read(CLIENT_TO_REFRESH, WIDENED),
        ],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a flow goes on with a secret that was entered for other addresses since it began",
        theme: Theme::Editor,
        statement_edits: &[replace_columns_read(CLIENT, WIDENED)],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a loosened rule of a placeholder is taken for the one before",
        theme: Theme::Editor,
        statement_edits: &[
            replace_columns_read(CLIENT, LOOSENED),
            replace_columns_read(CURRENT_CLIENT, LOOSENED),
            replace_columns_read(CLIENT_TO_REFRESH, LOOSENED),
        ],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a connection has no destinations and goes by the current definition",
        theme: Theme::Editor,
        statement_edits: &[
            replace_columns_read(TO_REFRESH, "SELECT *, NULL AS destinations "),
            StatementEdit {
                statement_part: DEFINITION_TO_REFRESH,
                find: "a.revision = c.app_revision",
                replacement: "a.is_current = 1",
            },
        ],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a connection's destinations are anywhere and it goes by the current definition",
        theme: Theme::Editor,
        statement_edits: &[
            replace_columns_read(TO_REFRESH, ANYWHERE),
            StatementEdit {
                statement_part: DEFINITION_TO_REFRESH,
                find: "a.revision = c.app_revision",
                replacement: "a.is_current = 1",
            },
        ],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a resolve goes by the current definition and looks at no destinations",
        theme: Theme::Editor,
        statement_edits: &[
            StatementEdit { statement_part: TO_RESOLVE, find: ", c.*,", replacement: ", c.*, NULL AS destinations," },
            StatementEdit {
                statement_part: TO_RESOLVE,
                find: "a.revision = c.app_revision",
                replacement: "a.is_current = 1",
            },
        ],
        prepare: prepare_nothing,
        expected_findings: &["a caller is told to send it to"],
    },
    RemovedSafeguard {
        description: "a flow goes by the definition as it is when the browser comes back",
        theme: Theme::Editor,
        statement_edits: &[StatementEdit {
            statement_part: FLOW,
            find: "SELECT *,",
            replacement: BY_THE_CURRENT_REVISION,
        }],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a grant is revoked where the current definition says",
        theme: Theme::Editor,
        statement_edits: &[StatementEdit {
            statement_part: MARK_DELETED,
            find: "RETURNING *",
            replacement: ENDED_BY_THE_CURRENT_REVISION,
        }],
        prepare: prepare_nothing,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "a discovery document is not sealed",
        theme: Theme::Editor,
        statement_edits: &[],
        prepare: let_attacker_seal,
        expected_findings: LEAK_FINDINGS,
    },
    RemovedSafeguard {
        description: "copies are not written again before they lapse",
        theme: Theme::LongLife,
        statement_edits: &[],
        prepare: copies_are_not_renewed,
        expected_findings: &["the copy of"],
    },
    RemovedSafeguard {
        description: "a client that can't be used is looked at all the time",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: DELAY,
            find: "ELSE ?7 END",
            replacement: "ELSE min(?7, ?4 + 1) END",
        }],
        prepare: prepare_nothing,
        expected_findings: &["with a client that can't be used"],
    },
    RemovedSafeguard {
        description: "a refusal of the app is not kept",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: FAIL,
            find: "'set' THEN coalesce(refresh_refused_since, ?8)",
            replacement: "'set' THEN nullif(?8, ?8)",
        }],
        prepare: prepare_nothing,
        expected_findings: &["app_refuses is not told", "app_unreachable, which is not so"],
    },
    RemovedSafeguard {
        description: "a refusal of the app is not forgotten when it renews",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: PERSIST_SQL,
            find: "refresh_refused_since = CASE WHEN ?11 = 0 THEN NULL",
            replacement: "refresh_refused_since = CASE WHEN ?11 < 0 THEN NULL",
        }],
        prepare: prepare_nothing,
        expected_findings: &["app_refuses, which is not so"],
    },
    RemovedSafeguard {
        description: "failures are not counted",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: FAIL,
            find: "SET failures = failures + 1",
            replacement: "SET failures = failures",
        }],
        prepare: prepare_nothing,
        expected_findings: &["app_unreachable is not told", "need no repair"],
    },
    RemovedSafeguard {
        description: "a client that is refused is not marked",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: MISCONFIGURED,
            find: "coalesce(misconfigured_at, ?3)",
            replacement: "nullif(?3, ?3)",
        }],
        prepare: prepare_nothing,
        expected_findings: &[
            "client_misconfigured is not told",
            "the problem's code is not",
            "app_unreachable, which is not so",
        ],
    },
    RemovedSafeguard {
        description: "a client that works again stays marked",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: WORKS,
            find: "SET misconfigured_at = NULL, misconfigured_error = NULL",
            replacement: "SET failures = 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["client_misconfigured, which is not so"],
    },
    RemovedSafeguard {
        description: "what the cache did not delete is not deleted later",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: CACHE_DELETES,
            find: "next_attempt_at <= ?1",
            replacement: "next_attempt_at <= ?1 - 3700",
        }],
        prepare: prepare_nothing,
        expected_findings: &["a copy of"],
    },
    RemovedSafeguard {
        description: "a changed definition is not taken up again by the scheduled run",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: MOVES,
            find: "rollout_due_at <= ?1",
            replacement: "rollout_due_at <= ?1 * 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["stays behind its app's definition"],
    },
    RemovedSafeguard {
        description: "a connection that stays behind does not say so",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: STAYS,
            find: "definition_update_blocked = ?5",
            replacement: "definition_update_blocked = nullif(?5, ?5)",
        }],
        prepare: prepare_nothing,
        expected_findings: &["stays behind its app's definition"],
    },
    RemovedSafeguard {
        description: "an app that does not revoke is asked in every run",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: REVOKED_LATER,
            find: "next_attempt_at = ?2",
            replacement: "next_attempt_at = ?2 * 0",
        }],
        prepare: prepare_nothing,
        expected_findings: &["times to revoke a grant"],
    },
    RemovedSafeguard {
        description: "what was disconnected is not erased",
        theme: Theme::LongLife,
        statement_edits: &[StatementEdit {
            statement_part: ERASED,
            find: "deleted_at IS NOT NULL",
            replacement: "deleted_at = -1",
        }],
        prepare: prepare_nothing,
        expected_findings: &["is left over", "the trail tells"],
    },
];

/// The first seed that reports it, and the finding.
fn find_failing_seed(sabotage: &RemovedSafeguard) -> Option<(u64, Vec<String>)> {
    let prepare = |world: &World| {
        world.db.statement_edits.borrow_mut().extend(sabotage.statement_edits);
        (sabotage.prepare)(world);
    };
    (0..MAX_SEEDS).filter(|seed| Theme::from_seed(*seed) == sabotage.theme).find_map(|seed| {
        let findings = run_seed(seed, prepare, false).findings;
        (!findings.is_empty()).then_some((seed, findings))
    })
}

#[test]
fn every_removed_safeguard_is_detected() {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..2).map(|_| scope.spawn(|| check_safeguards(&next))).collect();
        let told: Vec<String> = hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect();
        assert!(told.is_empty(), "{told:#?}");
    });
    println!("{} safeguards taken away, {} caught", REMOVED_SAFEGUARDS.len(), REMOVED_SAFEGUARDS.len());
}

/// Removes one safeguard after the other, and reports those that no finding mentions.
fn check_safeguards(next: &AtomicU64) -> Vec<String> {
    let mut unnoticed = Vec::new();
    while let Some(sabotage) = REMOVED_SAFEGUARDS.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
        match find_failing_seed(sabotage) {
            Some((seed, findings)) => {
                println!("caught: {} (seed {seed}: {})", sabotage.description, findings[0]);
                let expected = findings
                    .iter()
                    .any(|finding| sabotage.expected_findings.iter().any(|words| finding.contains(words)));
                if !expected {
                    unnoticed.push(format!("{}: caught, but as {findings:?}", sabotage.description));
                }
            }
            None => unnoticed.push(format!("{}: {MAX_SEEDS} seeds and nobody missed it", sabotage.description)),
        }
    }
    unnoticed
}
