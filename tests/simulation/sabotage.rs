//! The simulation can fail: each safeguard is taken away in turn, and the judge has to notice.
//!
//! Owns the list. The safeguards stand in the statements of the record, so that is where they are taken out:
//! the program under test is the same, the record obeys another text.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::draw::Theme;
use crate::run::one;
use crate::support::World;
use crate::support::database::Edit;

/// Seeds in which a missing safeguard must show.
const SEEDS: u64 = 20_000;

/// A safeguard that is taken away.
struct Sabotage {
    what: &'static str,
    /// The theme of the plays it is looked for in.
    theme: Theme,
    edits: &'static [Edit],
    /// What is taken away that does not stand in a statement.
    seam: fn(&World),
    /// Words that stand in the findings it leads to.
    shows_as: &'static [&'static str],
}

const CLAIM: &str = "lease_token_hash = ?7";
const PERSIST: &str = "last_attempt_id = ?5";
const APPLIED: &str = "SELECT last_attempt_id, generation, version FROM";
const DEAD: &str = "ELSE 'needs_reconnect' END, reconnect_reason = ?6";
const FAIL: &str = "ambiguous_token_hash = coalesce(?11, ambiguous_token_hash)";
const RECONNECT: &str = "UPDATE connections SET app_revision = ?4";
const RESEAL: &str = "UPDATE connections SET sealed_credential = n.sealed";
const MARK_DELETED: &str = "generation = generation + 1, next_check_at = NULL\n    WHERE workspace_id = ?1 AND id = ?2";

// ---- what a hostile editor is up against ----

const FLOW: &str = "SELECT * FROM flows WHERE state_hash = ?1";
const CONNECTION: &str = "SELECT * FROM connections WHERE workspace_id = ?1 AND id = ?2 AND deleted_at IS NULL";
const TO_REFRESH: &str = "SELECT * FROM connections WHERE id = ?1 AND deleted_at IS NULL";
const TO_RESOLVE: &str = "SELECT * FROM connections WHERE id = ?1 AND deleted_at IS NULL AND workspace_id = (";
const DEFINITION_TO_REFRESH: &str = "AND a.revision = c.app_revision WHERE c.id = ?1";
const DEFINITION_TO_RESOLVE: &str = "WHERE c.id = ?1 AND c.app_revision > 0";
const CLIENT: &str = "SELECT * FROM oauth_clients WHERE workspace_id = ?1 AND id = ?2";
const CURRENT_CLIENT: &str = "FROM oauth_clients WHERE workspace_id = ?1 AND registration = ?2 AND is_current = 1";
const CLIENTS: &str = "registration = ?2 ORDER BY is_current DESC, updated_at DESC";
const CLIENT_TO_REFRESH: &str =
    "SELECT * FROM oauth_clients WHERE id = (SELECT oauth_client FROM connections WHERE id = ?1)";

/// The destinations of a row, and all that any edition names.
const ANYWHERE: &str = r#"SELECT *, json_set(destinations,
    '$.token', json('["https://acme.example/token","https://acme.example/main/token","https://acme.example/rogue/token","https://rogue.example/token"]'),
    '$.revoke', json('["https://acme.example/revoke","https://acme.example/main/revoke","https://acme.example/rogue/revoke","https://rogue.example/revoke"]'),
    '$.api', json('["https://acme.example","https://rogue.example"]')) AS destinations "#;
/// The same, of a row that is read as if it had been made with the client that is current now.
const ANYWHERE_BY_THE_CURRENT_CLIENT: &str = r#"SELECT *, json_set(destinations,
    '$.token', json('["https://acme.example/token","https://acme.example/main/token","https://acme.example/rogue/token","https://rogue.example/token"]'),
    '$.revoke', json('["https://acme.example/revoke","https://acme.example/main/revoke","https://acme.example/rogue/revoke","https://rogue.example/revoke"]'),
    '$.api', json('["https://acme.example","https://rogue.example"]')) AS destinations,
    (SELECT c.id FROM oauth_clients c WHERE c.workspace_id = ?1 AND c.registration = connections.app AND c.is_current = 1) AS oauth_client "#;
/// The destinations of a client, and all revocation and API addresses that any edition names.
const WIDENED: &str = r#"SELECT *, json_set(destinations,
    '$.revoke', json('["https://acme.example/revoke","https://acme.example/{realm}/revoke","https://acme.example/rogue/revoke","https://rogue.example/revoke"]'),
    '$.api', json('["https://acme.example","https://rogue.example"]')) AS destinations "#;
/// The destinations of a client with the rule of the placeholder as an edition loosens it.
const LOOSENED: &str = r#"SELECT *, json_set(destinations, '$.rules', json('{"realm":{"from":"person","default":"main"}}')) AS destinations "#;
const REDIRECT_OF_THE_FIRST: &str = "SELECT *, (SELECT c.redirect_id FROM oauth_clients c WHERE c.workspace_id = ?1
    ORDER BY c.created_at, c.id = c.redirect_id DESC LIMIT 1) AS redirect_id ";
const BY_THE_CURRENT_REVISION: &str = "SELECT *, NULL AS destinations, (SELECT a.revision FROM apps a
    WHERE a.workspace_id = flows.workspace_id AND a.id = flows.app AND a.is_current = 1) AS app_revision ";
const ENDED_BY_THE_CURRENT_REVISION: &str = "RETURNING *, NULL AS destinations, (SELECT a.revision FROM apps a
    WHERE a.workspace_id = connections.workspace_id AND a.id = connections.app AND a.is_current = 1) AS app_revision";
const LEAKS: &[&str] = &["where it was not given for"];

fn nothing(_: &World) {}

// ---- what a long life is up against ----

const MISCONFIGURED: &str = "UPDATE oauth_clients SET misconfigured_at = coalesce(misconfigured_at, ?3)";
const DELAY: &str = "failures = failures + ?5";
const CACHE_DELETES: &str = "UPDATE cache_deletes SET next_attempt_at";
const MOVES: &str = "UPDATE apps SET rollout_due_at = ?2";
const WORKS: &str = "misconfigured_at IS NOT NULL OR failures > 0";
const STAYS: &str = "SET definition_update_blocked = ?5";
const REVOKED_LATER: &str = "UPDATE revocations SET failures = failures + 1";
const ERASED: &str = "DELETE FROM connections WHERE";

/// Entries say that they last for a month, so that nobody writes them again.
fn copies_are_not_renewed(world: &World) {
    world.kv.overstates.set(30 * 86_400);
}

fn documents_can_be_forged(world: &World) {
    world.kv.forgeable.set(true);
}

/// Each row that a statement reads is read with something else in it.
const fn read_as(of: &'static str, put: &'static str) -> Edit {
    Edit { of, find: "SELECT * ", put }
}

const SABOTAGES: &[Sabotage] = &[
    Sabotage {
        what: "no intent: the promise ends as it begins",
        theme: Theme::Anything,
        edits: &[Edit { of: CLAIM, find: "lease_expires_at = ?6", put: "lease_expires_at = ?6 - 100000" }],
        seam: nothing,
        shows_as: &["under way at once", "presented again"],
    },
    Sabotage {
        what: "a lease that is stolen: a promise in force is taken over",
        theme: Theme::SlowRecord,
        edits: &[Edit {
            of: CLAIM,
            find: "AND (lease_attempt_id IS NULL OR lease_expires_at + 5 < ?8)",
            put: "AND ?8 > 0",
        }],
        seam: nothing,
        shows_as: &["under way at once", "presented again"],
    },
    Sabotage {
        what: "no compare-and-set before the request: the claim does not look at the version",
        theme: Theme::SlowRecord,
        edits: &[Edit { of: CLAIM, find: "AND version = ?4", put: "AND ?4 > 0" }],
        seam: nothing,
        shows_as: &["presented again", "under way at once"],
    },
    Sabotage {
        what: "no compare-and-set after it: an answer is stored whatever came between",
        theme: Theme::Late,
        edits: &[Edit {
            of: PERSIST,
            find: "AND generation = ?3 AND deleted_at IS NULL AND (lease_attempt_id = ?5 OR version = ?4)",
            put: "AND ?3 > 0 AND ?4 > 0",
        }],
        seam: nothing,
        shows_as: &["does not open", "older generation", "presented again", "false death", "somebody else"],
    },
    Sabotage {
        what: "a new token is dropped when somebody else has taken the promise over",
        theme: Theme::Takeover,
        edits: &[Edit {
            of: PERSIST,
            find: "(lease_attempt_id = ?5 OR version = ?4)",
            put: "(lease_attempt_id = ?5 AND ?4 > 0)",
        }],
        seam: nothing,
        shows_as: &["had been in the program's hands"],
    },
    Sabotage {
        what: "dead at once: a refusal kills whatever is stored by now",
        theme: Theme::Late,
        edits: &[Edit {
            of: DEAD,
            find: "AND generation = ?3 AND version = ?4 AND lease_attempt_id = ?5 AND deleted_at IS NULL",
            put: "AND ?3 > 0 AND ?4 > 0 AND ?5 <> '' AND deleted_at IS NULL",
        }],
        seam: nothing,
        shows_as: &["false death"],
    },
    Sabotage {
        what: "dead at once: any failure kills",
        theme: Theme::Anything,
        edits: &[Edit {
            of: FAIL,
            find: "failures = failures + 1",
            put: "failures = failures + 1, status = 'needs_reconnect', reconnect_reason = 'revoked'",
        }],
        seam: nothing,
        shows_as: &["alive at the app"],
    },
    Sabotage {
        what: "what may have been redeemed is given back at once",
        theme: Theme::Anything,
        edits: &[
            Edit { of: FAIL, find: "CASE WHEN ?6 THEN", put: "CASE WHEN ?6 OR 1 THEN" },
            Edit { of: FAIL, find: "next_attempt_at = ?5", put: "next_attempt_at = ?5 - 60" },
        ],
        seam: nothing,
        shows_as: &["still owned it", "without a pause"],
    },
    Sabotage {
        what: "no back-off after a failure",
        theme: Theme::Anything,
        edits: &[Edit { of: FAIL, find: "next_attempt_at = ?5", put: "next_attempt_at = ?5 * 0" }],
        seam: nothing,
        shows_as: &["without a pause"],
    },
    Sabotage {
        what: "what may have been redeemed is forgotten",
        theme: Theme::Anything,
        edits: &[
            Edit { of: FAIL, find: "coalesce(?11, ambiguous_token_hash)", put: "coalesce(NULL, substr(?11, 1, 0))" },
            Edit { of: FAIL, find: "ELSE lease_token_hash END", put: "ELSE '' END" },
        ],
        seam: nothing,
        shows_as: &["named revoked"],
    },
    Sabotage {
        what: "a reconnect does not begin a new generation",
        theme: Theme::Anything,
        edits: &[Edit { of: RECONNECT, find: "generation = generation + 1", put: "generation = generation" }],
        seam: nothing,
        shows_as: &["does not open", "older generation"],
    },
    Sabotage {
        what: "the tokens of an answer are not stored",
        theme: Theme::Anything,
        edits: &[Edit {
            of: PERSIST,
            find: "SET sealed_credential = ?6, version = version + 1",
            put: "SET sealed_credential = sealed_credential || substr(?6, 1, 0), version = version + 1",
        }],
        seam: nothing,
        shows_as: &["in the record", "named lost", "has ended"],
    },
    Sabotage {
        what: "an answer is taken for stored that is not",
        theme: Theme::Anything,
        edits: &[
            Edit { of: PERSIST, find: "(lease_attempt_id = ?5 OR version = ?4)", put: "?4 < 0 AND ?5 = ''" },
            Edit { of: APPLIED, find: "version FROM", put: "version + 1 AS version FROM" },
        ],
        seam: nothing,
        shows_as: &["had been in the program's hands", "named lost", "alive at the app"],
    },
    Sabotage {
        what: "re-sealing writes over what came after it was read",
        theme: Theme::Resealing,
        edits: &[Edit {
            of: RESEAL,
            find: "connections.sealed_credential = n.was AND connections.version = n.version",
            put: "n.was <> '' AND n.version > 0",
        }],
        seam: nothing,
        shows_as: &["presented again", "alive at the app", "does not open", "older generation"],
    },
    Sabotage {
        what: "a disconnect does not end the connection for everybody",
        theme: Theme::Anything,
        edits: &[Edit {
            of: MARK_DELETED,
            find: "SET deleted_at = ?3, generation = generation + 1",
            put: "SET deleted_at = nullif(?3, ?3)",
        }],
        seam: nothing,
        shows_as: &["after an acknowledged disconnect"],
    },
    Sabotage {
        what: "all authorization servers share a redirect URI",
        theme: Theme::Editor,
        edits: &[read_as(CLIENT, REDIRECT_OF_THE_FIRST), read_as(CURRENT_CLIENT, REDIRECT_OF_THE_FIRST)],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a refresh token is carried over whatever its addresses",
        theme: Theme::Editor,
        edits: &[read_as(CONNECTION, ANYWHERE)],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a refresh token is carried over whatever its addresses and its client",
        theme: Theme::Editor,
        edits: &[read_as(CONNECTION, ANYWHERE_BY_THE_CURRENT_CLIENT)],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a client's secret is kept for other addresses",
        theme: Theme::Editor,
        edits: &[
            read_as(CLIENT, WIDENED),
            read_as(CURRENT_CLIENT, WIDENED),
            read_as(CLIENTS, WIDENED),
            read_as(CLIENT_TO_REFRESH, WIDENED),
        ],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a flow goes on with a secret that was entered for other addresses since it began",
        theme: Theme::Editor,
        edits: &[read_as(CLIENT, WIDENED)],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a loosened rule of a placeholder is taken for the one before",
        theme: Theme::Editor,
        edits: &[read_as(CLIENT, LOOSENED), read_as(CURRENT_CLIENT, LOOSENED), read_as(CLIENT_TO_REFRESH, LOOSENED)],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a connection has no destinations and goes by the current definition",
        theme: Theme::Editor,
        edits: &[
            read_as(TO_REFRESH, "SELECT *, NULL AS destinations "),
            Edit { of: DEFINITION_TO_REFRESH, find: "a.revision = c.app_revision", put: "a.is_current = 1" },
        ],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a connection's destinations are anywhere and it goes by the current definition",
        theme: Theme::Editor,
        edits: &[
            read_as(TO_REFRESH, ANYWHERE),
            Edit { of: DEFINITION_TO_REFRESH, find: "a.revision = c.app_revision", put: "a.is_current = 1" },
        ],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a resolve goes by the current definition and looks at no destinations",
        theme: Theme::Editor,
        edits: &[
            read_as(TO_RESOLVE, "SELECT *, NULL AS destinations "),
            Edit { of: DEFINITION_TO_RESOLVE, find: "a.revision = c.app_revision", put: "a.is_current = 1" },
        ],
        seam: nothing,
        shows_as: &["a caller is told to send it to"],
    },
    Sabotage {
        what: "a flow goes by the definition as it is when the browser comes back",
        theme: Theme::Editor,
        edits: &[read_as(FLOW, BY_THE_CURRENT_REVISION)],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a grant is revoked where the current definition says",
        theme: Theme::Editor,
        edits: &[Edit { of: MARK_DELETED, find: "RETURNING *", put: ENDED_BY_THE_CURRENT_REVISION }],
        seam: nothing,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "a discovery document is not sealed",
        theme: Theme::Editor,
        edits: &[],
        seam: documents_can_be_forged,
        shows_as: LEAKS,
    },
    Sabotage {
        what: "copies are not written again before they lapse",
        theme: Theme::LongLife,
        edits: &[],
        seam: copies_are_not_renewed,
        shows_as: &["the copy of"],
    },
    Sabotage {
        what: "a client that can't be used is looked at all the time",
        theme: Theme::LongLife,
        edits: &[Edit { of: DELAY, find: "ELSE ?7 END", put: "ELSE min(?7, ?4 + 1) END" }],
        seam: nothing,
        shows_as: &["with a client that can't be used"],
    },
    Sabotage {
        what: "a refusal of the app is not kept",
        theme: Theme::LongLife,
        edits: &[Edit {
            of: FAIL,
            find: "'set' THEN coalesce(refresh_refused_since, ?8)",
            put: "'set' THEN nullif(?8, ?8)",
        }],
        seam: nothing,
        shows_as: &["app_refuses is not told", "app_unreachable, which is not so"],
    },
    Sabotage {
        what: "a refusal of the app is not forgotten when it renews",
        theme: Theme::LongLife,
        edits: &[Edit {
            of: PERSIST,
            find: "refresh_refused_since = CASE WHEN ?11 = 0 THEN NULL",
            put: "refresh_refused_since = CASE WHEN ?11 < 0 THEN NULL",
        }],
        seam: nothing,
        shows_as: &["app_refuses, which is not so"],
    },
    Sabotage {
        what: "failures are not counted",
        theme: Theme::LongLife,
        edits: &[Edit { of: FAIL, find: "SET failures = failures + 1", put: "SET failures = failures" }],
        seam: nothing,
        shows_as: &["app_unreachable is not told", "need no repair"],
    },
    Sabotage {
        what: "a client that is refused is not marked",
        theme: Theme::LongLife,
        edits: &[Edit { of: MISCONFIGURED, find: "coalesce(misconfigured_at, ?3)", put: "nullif(?3, ?3)" }],
        seam: nothing,
        shows_as: &[
            "client_misconfigured is not told",
            "the problem's code is not",
            "app_unreachable, which is not so",
        ],
    },
    Sabotage {
        what: "a client that works again stays marked",
        theme: Theme::LongLife,
        edits: &[Edit {
            of: WORKS,
            find: "SET misconfigured_at = NULL, misconfigured_error = NULL",
            put: "SET failures = 0",
        }],
        seam: nothing,
        shows_as: &["client_misconfigured, which is not so"],
    },
    Sabotage {
        what: "what the cache did not delete is not deleted later",
        theme: Theme::LongLife,
        edits: &[Edit { of: CACHE_DELETES, find: "next_attempt_at <= ?1", put: "next_attempt_at <= ?1 - 3700" }],
        seam: nothing,
        shows_as: &["a copy of"],
    },
    Sabotage {
        what: "a changed definition is not taken up again by the scheduled run",
        theme: Theme::LongLife,
        edits: &[Edit { of: MOVES, find: "move_due <= ?1", put: "move_due <= ?1 * 0" }],
        seam: nothing,
        shows_as: &["stays behind its app's definition"],
    },
    Sabotage {
        what: "a connection that stays behind does not say so",
        theme: Theme::LongLife,
        edits: &[Edit {
            of: STAYS,
            find: "definition_update_blocked = ?5",
            put: "definition_update_blocked = nullif(?5, ?5)",
        }],
        seam: nothing,
        shows_as: &["stays behind its app's definition"],
    },
    Sabotage {
        what: "an app that does not revoke is asked in every run",
        theme: Theme::LongLife,
        edits: &[Edit { of: REVOKED_LATER, find: "next_attempt_at = ?2", put: "next_attempt_at = ?2 * 0" }],
        seam: nothing,
        shows_as: &["times to revoke a grant"],
    },
    Sabotage {
        what: "what was disconnected is not erased",
        theme: Theme::LongLife,
        edits: &[Edit { of: ERASED, find: "deleted_at IS NOT NULL", put: "deleted_at = -1" }],
        seam: nothing,
        shows_as: &["is left over", "the trail tells"],
    },
];

/// The first seed in which it shows, and as what.
fn caught(sabotage: &Sabotage) -> Option<(u64, Vec<String>)> {
    let prepare = |world: &World| {
        world.db.edits.borrow_mut().extend(sabotage.edits);
        (sabotage.seam)(world);
    };
    (0..SEEDS).filter(|seed| Theme::of(*seed) == sabotage.theme).find_map(|seed| {
        let findings = one(seed, prepare, false).findings;
        (!findings.is_empty()).then_some((seed, findings))
    })
}

#[test]
fn every_safeguard_that_is_taken_away_is_missed() {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..2).map(|_| scope.spawn(|| take_turns(&next))).collect();
        let told: Vec<String> = hands.into_iter().flat_map(|hand| hand.join().unwrap()).collect();
        assert!(told.is_empty(), "{told:#?}");
    });
    println!("{} safeguards taken away, {} caught", SABOTAGES.len(), SABOTAGES.len());
}

/// Takes away one safeguard after the other; tells which of them nobody missed.
fn take_turns(next: &AtomicU64) -> Vec<String> {
    let mut unnoticed = Vec::new();
    while let Some(sabotage) = SABOTAGES.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
        match caught(sabotage) {
            Some((seed, findings)) => {
                println!("caught: {} (seed {seed}: {})", sabotage.what, findings[0]);
                let expected =
                    findings.iter().any(|finding| sabotage.shows_as.iter().any(|words| finding.contains(words)));
                if !expected {
                    unnoticed.push(format!("{}: caught, but as {findings:?}", sabotage.what));
                }
            }
            None => unnoticed.push(format!("{}: {SEEDS} seeds and nobody missed it", sabotage.what)),
        }
    }
    unnoticed
}
