//! docs/security.md and docs/reliability.md name a test for each row of their tables, and these tests exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The required rows. A row that is removed from the page is missed here.
const ROWS: &str = "UPD-1 UPD-2 UPD-3 UPD-4 UPD-5 UPD-6 UPD-7
    9700-2.1a 9700-2.1b 9700-2.1c 9700-2.1.1 9700-2.1.2 9700-2.3 9700-2.5 9700-2.6 9700-4.2.4 9700-4.3.2 9700-4.12 9700-4.13 9700-4.14 9700-4.17
    6749-3.1.2.5 6749-4.1.2.1 6749-5.1 6749-5.2 6749-6 6749-10.3 6749-10.12 6750-2 6750-3.1 7636-4.1 8252-8 2.1-1.5 rt-exp
    9207-2.4 8414-3.3 9728-3.3 7009-2.2 9126-2 9449-5 8705 FAPI2-SP OIDC-3.1.3.7
    10.1.1 10.1.2 10.2.1 10.3.1 10.5.1 11.1.1 11.2.1 11.2.4 11.3.2 11.4.1 11.5.1 13.1.1 13.2.4 13.3.1 13.4 14.2.1 14.2.2 14.2.6 16.2.5 16.3.1 3.3.1 3.4.1 3.5.1
    3.7.2 4.1.1 1.2.1 2.3.1 2.4.1 7.2.3 7.4.2 8.2.1 9.1 12.1.1
    API1:2023 API4:2023 API7:2023 API8:2023 800-38D 800-57 9457 StdWebhooks
    T1 T2 T3 T4 T5 T6 T7 T8 T9 T10 T11 T12 T13 T14 T15 T16 T17 T18 T19 T20 T21 T22 T23 T24 T25 T26 T27 T28 T29 T30 T31 T32 T33 T34 T35 T36 T37 T38 T39
    T40 T41 T42 T43 T44 T45 T46 T47 T48";

/// The beginnings of the reason in a row without a test.
const REASONS: [&str; 3] = ["Does not apply:", "Not built:", "By review:"];

fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a path with an ending.
pub(super) fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .flat_map(|path| {
            let wanted = path.extension().is_some_and(|known| known == ending);
            if path.is_dir() {
                files(&path, ending)
            } else if wanted {
                vec![path]
            } else {
                vec![]
            }
        })
        .collect();
    found.sort();
    found
}

/// The names of all tests: functions with `#[test]`, and the titles of the tests in JavaScript.
fn test_names() -> BTreeSet<String> {
    let function = regex_lite::Regex::new(r"#\[test\](?:\s*#\[[^\]]*\])*\s*(?:async )?fn (\w+)").unwrap();
    let title = regex_lite::Regex::new(r#"(?m)^\s*(?:await )?(?:t\.)?test\(\s*["`]((?:[^"`\\]|\\.)*)["`]"#).unwrap();
    let mut names = BTreeSet::new();
    for (folder, ending, pattern) in [("src", "rs", &function), ("tests", "rs", &function), ("tests", "mjs", &title)] {
        for file in files(&repository_root().join(folder), ending) {
            let text = std::fs::read_to_string(file).unwrap();
            names.extend(pattern.captures_iter(&text).map(|found| found[1].replace("\\\"", "\"")));
        }
    }
    names
}

/// Rows of a page's tables whose last column is called `test`: first and last cell.
fn table_rows(page: &str) -> Vec<(String, String)> {
    let page = std::fs::read_to_string(repository_root().join(page)).unwrap();
    let (mut rows, mut inside) = (Vec::new(), false);
    for line in page.lines() {
        let cells: Vec<_> = line.trim().trim_matches('|').split(" | ").map(str::trim).collect();
        match (line.starts_with('|'), cells.last()) {
            (true, Some(&"test")) => inside = true,
            (true, Some(last)) if inside && !last.starts_with("---") => {
                rows.push((cells[0].to_owned(), (*last).to_owned()));
            }
            (true, _) => {}
            (false, _) => inside = false,
        }
    }
    rows
}

fn quoted_names(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_test_named_in_the_security_page_exists() {
    names_tests_that_exist("docs/security.md", 100);
}

#[test]
fn every_test_named_in_the_reliability_page_exists() {
    names_tests_that_exist("docs/reliability.md", 64);
}

fn names_tests_that_exist(page: &str, at_least: usize) {
    let (tests, rows) = (test_names(), table_rows(page));
    assert!(tests.len() > 600 && rows.len() >= at_least, "{} tests and {} rows were read", tests.len(), rows.len());
    let mut wrong = Vec::new();
    for (id, cell) in &rows {
        let names = quoted_names(cell);
        if names.is_empty() && !REASONS.iter().any(|reason| cell.starts_with(reason)) {
            wrong.push(format!("{id}: names no test, and no reason ({})", REASONS.join(" ")));
        }
        let missing = names.into_iter().filter(|name| !tests.contains(*name));
        wrong.extend(missing.map(|name| format!("{id}: there is no test \"{name}\"")));
    }
    assert!(wrong.is_empty(), "\n{page}\n{}", wrong.join("\n"));
}

#[test]
fn every_requirement_and_threat_is_on_the_page_once() {
    let ids: Vec<String> = table_rows("docs/security.md").into_iter().map(|(id, _)| id).collect();
    for row in ROWS.split_whitespace() {
        assert_eq!(ids.iter().filter(|id| *id == row).count(), 1, "docs/security.md: {row}");
    }
}
