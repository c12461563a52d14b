//! How `SQLite` finds the rows of each statement, compared with `plans.txt`.
//!
//! A statement without a plan in the file fails the test that runs it. So an unused index or a new table scan is found
//! at once. `UPDATE_GOLDEN=1` adds to the file (empty it first to remove statements that no test runs). Changes of the
//! file are reviewed, and `sql.rs` requires a reason for every full table scan.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex};

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/native/plans.txt");
/// How many characters of a statement name it in the file.
const SHOWN: usize = 110;

/// Plans by statement.
pub(crate) type Plans = BTreeMap<String, Vec<String>>;

static STATED: LazyLock<Mutex<Plans>> = LazyLock::new(|| Mutex::new(read()));
static CHECKED: LazyLock<Mutex<BTreeSet<&'static str>>> = LazyLock::new(Mutex::default);

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

/// Fails unless a statement finds its rows as the file says.
pub(crate) fn require(sqlite: &Connection, sql: &'static str) {
    if CHECKED.lock().unwrap().contains(sql) {
        return;
    }
    // A test may have changed the schema.
    let Ok(plan) = plan(sqlite, sql) else { return };
    CHECKED.lock().unwrap().insert(sql);
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
