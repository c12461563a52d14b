//! Tests of the catalogue, file by file: the requests to each app, how its responses are read, and what its page says.
//!
//! Texts under version control are compared with what the program makes of the catalogue. `UPDATE_GOLDEN=1` writes
//! them, and a person reads the difference. Uses no network: no app is reached.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod apps_page;
mod destinations;
mod forbidden_grants;
mod golden_requests;
mod made_up;
mod request_text;
mod responses;
mod sample_responses;
mod secrets_in_urls;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use connections::app::{App, read_definition};
use connections::catalogue;
use connections::egress::EgressPolicy;

/// All apps of the catalogue.
fn apps() -> impl Iterator<Item = Rc<App>> {
    catalogue::ids().map(|id| catalogue::find(id).unwrap_or_else(|| panic!("{id} can't be read")))
}

/// The same from their files, with `sources` and `unverified`: the program does without these two.
fn whole_apps() -> impl Iterator<Item = App> {
    catalogue::ids().map(|id| {
        let file = std::fs::read_to_string(repository_path(&format!("catalog/{id}.json"))).unwrap();
        read_definition(&file, EgressPolicy::Public).unwrap_or_else(|problems| panic!("{id}: {problems:?}"))
    })
}

/// A path in the repository.
fn repository_path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a text with its file, or writes the file. Returns an error text if they differ.
fn compare_or_update(path: &str, text: &str) -> Option<String> {
    let file = repository_path(path);
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    if old == text {
        return None;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(file, text).unwrap();
        return None;
    }
    let line = old.lines().zip(text.lines()).take_while(|(old, new)| old == new).count();
    let nth = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
    let hint = "UPDATE_GOLDEN=1 cargo test --locked --test catalogue writes the file; read the difference";
    Some(format!("{path}, line {}:\n  is        {}\n  should be {}\n{hint}", line + 1, nth(&old), nth(text)))
}

/// Fails with all error texts.
fn assert_no_errors(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Reports files in a folder that belong to no app.
fn find_orphan_files(folder: &str, ending: &str) -> Vec<String> {
    let known: Vec<_> = catalogue::ids().map(|id| format!("{id}.{ending}")).collect();
    let names = std::fs::read_dir(repository_path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !known.contains(name)).map(|name| format!("{folder}/{name} belongs to no app")).collect()
}
