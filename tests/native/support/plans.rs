//! How `SQLite` finds the rows of each statement, compared with `plans.txt`.
//!
//! A statement without a plan in the file fails the test that runs it. So an unused index or a new table scan is found
//! at once. `UPDATE_GOLDEN=1` adds to the file (empty it first to remove statements that no test runs). Changes of the
//! file are reviewed, and `sql.rs` requires a reason for every full table scan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex};

use connections::ports::SqlText;
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/native/plans.txt");
/// What a statement is compiled to, at most. A database compiles a statement before it runs it, and that takes longer than to
/// find the rows of a page: some 0.6 ms for a thousand instructions.
const MOST_INSTRUCTIONS: usize = 1_600;
/// How many characters of a statement name it in the file.
const SHOWN: usize = 110;

/// Plans by statement.
pub(crate) type Plans = BTreeMap<String, Vec<String>>;

static STATED: LazyLock<Mutex<Plans>> = LazyLock::new(|| Mutex::new(read()));
static CHECKED: LazyLock<Mutex<BTreeSet<SqlText>>> = LazyLock::new(Mutex::default);

/// The plans of the file.
pub(crate) fn read() -> Plans {
    let mut plans = Plans::new();
    let mut at = String::new();
    for line in std::fs::read_to_string(FILE).unwrap_or_default().lines() {
        if let Some(step) = line.strip_prefix("  ") {
            plans.get_mut(&at).unwrap().push(step.to_owned());
        } else {
            line.clone_into(&mut at);
            plans.insert(at.clone(), vec![]);
        }
    }
    plans
}

/// A statement with one space between its words.
pub(crate) fn in_one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A statement's first characters, and a hash of the whole without white space.
fn name(sql: &str) -> String {
    let text = in_one_line(sql);
    let hash: String = Sha256::digest(&text).iter().take(4).fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    let shown: String = text.chars().take(SHOWN).collect();
    format!("{shown} [{hash}]")
}

/// How `SQLite` finds the rows of a statement, one line per step.
pub(crate) fn plan(sqlite: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut prepared = sqlite.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let nothing = vec![rusqlite::types::Null; prepared.parameter_count()];
    prepared.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>("detail"))?.collect()
}

/// How many instructions `SQLite` compiles a statement to.
fn count_instructions(sqlite: &Connection, sql: &str) -> usize {
    let mut prepared = sqlite.prepare(&format!("EXPLAIN {sql}")).unwrap();
    let nothing = vec![rusqlite::types::Null; prepared.parameter_count()];
    prepared.query_map(rusqlite::params_from_iter(nothing), |_| Ok(())).unwrap().count()
}

/// A scan of a table, and not of a bound list, one row of constants, or the few rows that a recursion makes (`used`), that
/// a caller and its items are (`caller`, `asked`), or that a limit has cut (`bounded`).
pub(crate) fn is_scan(step: &str) -> bool {
    let what = step.strip_prefix("SCAN ").filter(|what| !["used", "caller", "asked", "bounded"].contains(what));
    what.is_some_and(|what| !["VIRTUAL TABLE", "CONSTANT ROW", "(subquery"].iter().any(|text| what.contains(text)))
}

/// A search of connections by nothing but their workspace.
pub(crate) fn is_of_whole_workspace(step: &str) -> bool {
    step.contains(" INDEX connections_") && step.ends_with("(workspace_id=?)")
}

/// Statements that are put together for their filters are too many for the file. None of them may read a whole table or workspace.
fn require_index(sql: &str, plan: &[String]) {
    let bad = plan.iter().find(|step| is_scan(step) || is_of_whole_workspace(step));
    assert!(bad.is_none(), "{bad:?} in the plan of {sql}");
}

/// Fails unless a statement finds its rows as the file says.
pub(crate) fn require(sqlite: &Connection, sql: &SqlText) {
    if CHECKED.lock().unwrap().contains(sql) {
        return;
    }
    // A test may have changed the schema.
    let Ok(plan) = plan(sqlite, sql) else { return };
    CHECKED.lock().unwrap().insert(sql.clone());
    let instructions = count_instructions(sqlite, sql);
    assert!(instructions <= MOST_INSTRUCTIONS, "{instructions} instructions to compile before it runs: {sql}");
    if sql.as_constant().is_none() {
        return require_index(sql, &plan);
    }
    let name = name(sql);
    let mut stated = STATED.lock().unwrap();
    if stated.get(&name) == Some(&plan) {
        return;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        stated.insert(name, plan);
        write_all(&stated);
        return;
    }
    let before = stated.get(&name).cloned();
    drop(stated);
    panic!(
        "{name}\nis planned as {plan:#?}\nand tests/native/plans.txt states {before:#?} (UPDATE_GOLDEN=1 writes it anew)"
    );
}

fn write_all(plans: &Plans) {
    let mut text = String::new();
    for (name, steps) in plans {
        writeln!(text, "{name}").unwrap();
        for step in steps {
            writeln!(text, "  {step}").unwrap();
        }
    }
    std::fs::write(FILE, text).unwrap();
}
