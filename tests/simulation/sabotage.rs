//! The simulation can fail: each safeguard of a refresh is taken away in turn, and the judge has to notice.
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
    /// Words that stand in the findings it leads to.
    shows_as: &'static [&'static str],
}

const CLAIM: &str = "attempt_token_hash = ?7";
const PERSIST: &str = "last_attempt_id = ?5";
const APPLIED: &str = "SELECT last_attempt_id, generation, version FROM";
const DEAD: &str = "ELSE 'needs_reconnect' END, reason = ?6";
const FAIL: &str = "ambiguous_token_hash = coalesce(?11, ambiguous_token_hash)";
const RECONNECT: &str = "UPDATE connections SET app_revision = ?4";
const RESEAL: &str = "UPDATE connections SET sealed_credential = n.sealed";
const MARK_DELETED: &str = "generation = generation + 1, next_check_at = NULL\n    WHERE workspace_id = ?1 AND id = ?2";

const SABOTAGES: &[Sabotage] = &[
    Sabotage {
        what: "no intent: the promise ends as it begins",
        theme: Theme::Anything,
        edits: &[Edit { of: CLAIM, find: "attempt_until = ?6", put: "attempt_until = ?6 - 100000" }],
        shows_as: &["under way at once", "presented again"],
    },
    Sabotage {
        what: "a lease that is stolen: a promise in force is taken over",
        theme: Theme::SlowRecord,
        edits: &[Edit { of: CLAIM, find: "AND (attempt_id IS NULL OR attempt_until + 5 < ?8)", put: "AND ?8 > 0" }],
        shows_as: &["under way at once", "presented again"],
    },
    Sabotage {
        what: "no compare-and-set before the request: the claim does not look at the version",
        theme: Theme::SlowRecord,
        edits: &[Edit { of: CLAIM, find: "AND version = ?4", put: "AND ?4 > 0" }],
        shows_as: &["presented again", "under way at once"],
    },
    Sabotage {
        what: "no compare-and-set after it: an answer is stored whatever came between",
        theme: Theme::Late,
        edits: &[Edit {
            of: PERSIST,
            find: "AND generation = ?3 AND deleted_at IS NULL AND (attempt_id = ?5 OR version = ?4)",
            put: "AND ?3 > 0 AND ?4 > 0",
        }],
        shows_as: &["does not open", "older generation", "presented again", "false death", "somebody else"],
    },
    Sabotage {
        what: "a new token is dropped when somebody else has taken the promise over",
        theme: Theme::Takeover,
        edits: &[Edit { of: PERSIST, find: "(attempt_id = ?5 OR version = ?4)", put: "(attempt_id = ?5 AND ?4 > 0)" }],
        shows_as: &["had been in the program's hands"],
    },
    Sabotage {
        what: "dead at once: a refusal kills whatever is stored by now",
        theme: Theme::Late,
        edits: &[Edit {
            of: DEAD,
            find: "AND generation = ?3 AND version = ?4 AND attempt_id = ?5 AND deleted_at IS NULL",
            put: "AND ?3 > 0 AND ?4 > 0 AND ?5 <> '' AND deleted_at IS NULL",
        }],
        shows_as: &["false death"],
    },
    Sabotage {
        what: "dead at once: any failure kills",
        theme: Theme::Anything,
        edits: &[Edit {
            of: FAIL,
            find: "failures = failures + 1",
            put: "failures = failures + 1, status = 'needs_reconnect', reason = 'revoked'",
        }],
        shows_as: &["alive at the app"],
    },
    Sabotage {
        what: "what may have been redeemed is given back at once",
        theme: Theme::Anything,
        edits: &[
            Edit { of: FAIL, find: "CASE WHEN ?6 THEN", put: "CASE WHEN ?6 OR 1 THEN" },
            Edit { of: FAIL, find: "next_attempt_at = ?5", put: "next_attempt_at = ?5 - 60" },
        ],
        shows_as: &["still owned it", "without a pause"],
    },
    Sabotage {
        what: "no back-off after a failure",
        theme: Theme::Anything,
        edits: &[Edit { of: FAIL, find: "next_attempt_at = ?5", put: "next_attempt_at = ?5 * 0" }],
        shows_as: &["without a pause"],
    },
    Sabotage {
        what: "what may have been redeemed is forgotten",
        theme: Theme::Anything,
        edits: &[
            Edit { of: FAIL, find: "coalesce(?11, ambiguous_token_hash)", put: "coalesce(NULL, substr(?11, 1, 0))" },
            Edit { of: FAIL, find: "ELSE attempt_token_hash END", put: "ELSE '' END" },
        ],
        shows_as: &["named revoked"],
    },
    Sabotage {
        what: "a reconnect does not begin a new generation",
        theme: Theme::Anything,
        edits: &[Edit { of: RECONNECT, find: "generation = generation + 1", put: "generation = generation" }],
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
        shows_as: &["in the record", "named lost", "has ended"],
    },
    Sabotage {
        what: "an answer is taken for stored that is not",
        theme: Theme::Anything,
        edits: &[
            Edit { of: PERSIST, find: "(attempt_id = ?5 OR version = ?4)", put: "?4 < 0 AND ?5 = ''" },
            Edit { of: APPLIED, find: "version FROM", put: "version + 1 AS version FROM" },
        ],
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
        shows_as: &["after an acknowledged disconnect"],
    },
];

/// The first seed in which it shows, and as what.
fn caught(sabotage: &Sabotage) -> Option<(u64, Vec<String>)> {
    let prepare = |world: &World| world.db.edits.borrow_mut().extend(sabotage.edits);
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
