//! The catalogue: the apps that come with this program, one file each under `catalog/`.
//!
//! Owns the look-up by id, and what a list shows without reading the files. Refuses to parse anything before it is
//! asked for: start-up costs nothing, however many files there are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{Definition, FieldError, read_new, read_stored};
use crate::egress::Egress;

/// What a list shows of an app, known without reading its file.
#[derive(Debug)]
pub struct Entry {
    /// The app's id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Words to filter by.
    pub categories: &'static [&'static str],
    /// The family whose client it shares.
    pub family: Option<&'static str>,
    /// Its ways to connect, the recommended one first.
    pub ways: &'static [EntryWay],
    text: &'static str,
}

/// What a list shows of a way to connect.
#[derive(Debug)]
pub struct EntryWay {
    /// Its id.
    pub id: &'static str,
    /// Its name, if it has one.
    pub name: Option<&'static str>,
    /// The kind of its credential, as [`crate::app::Kind`] writes it.
    pub kind: &'static str,
}

// `APPS: &[Entry]`, sorted by id, and `FAMILIES: &[&str]`, sorted: made by build.rs, which has read every file with this same reader.
include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

thread_local! {
    static PARSED: RefCell<BTreeMap<&'static str, Rc<Definition>>> = const { RefCell::new(BTreeMap::new()) };
}

/// An app of the catalogue, parsed once per isolate.
pub fn find(id: &str) -> Option<Rc<Definition>> {
    let Entry { id, text, .. } = *entry(id)?;
    if let Some(app) = PARSED.with_borrow(|parsed| parsed.get(id).cloned()) {
        return Some(app);
    }
    // A file that does not parse fails the tests below, so it can't be here.
    let app = Rc::new(read_stored(text, Egress::Public).ok()?);
    PARSED.with_borrow_mut(|parsed| parsed.insert(id, Rc::clone(&app)));
    Some(app)
}

/// A file of the catalogue, as it was written.
pub fn source(id: &str) -> Option<&'static str> {
    entry(id).map(|entry| entry.text)
}

/// All apps of the catalogue, sorted by id.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    APPS.iter()
}

/// The ids of all apps of the catalogue, sorted.
pub fn ids() -> impl Iterator<Item = &'static str> {
    entries().map(|entry| entry.id)
}

/// Reads a custom app's definition. On top of [`read_new`] it must not use a name under which an OAuth client of
/// the catalogue is registered: that client's secret would go wherever the definition says.
///
/// # Errors
/// Every field that is wrong.
pub fn read_custom(json: &str, egress: Egress) -> Result<Definition, Vec<FieldError>> {
    let definition = read_new(json, egress)?;
    let problem = |field: &str, problem: &str| vec![FieldError { field: field.into(), problem: problem.into() }];
    if definition.registration() != definition.id.as_str() {
        return Err(problem("client_family", "only apps of the catalogue share a client; remove it"));
    }
    if reserves(definition.id.as_str()) {
        return Err(problem("id", "is taken by the catalogue; choose another"));
    }
    Ok(definition)
}

/// Whether an OAuth client of the catalogue is, or may be, registered under this name.
fn reserves(name: &str) -> bool {
    entry(name).is_some() || FAMILIES.binary_search(&name).is_ok()
}

fn entry(id: &str) -> Option<&'static Entry> {
    let at = APPS.binary_search_by_key(&id, |entry| entry.id).ok()?;
    APPS.get(at)
}

#[cfg(test)]
mod sound;
#[cfg(test)]
mod tests;
