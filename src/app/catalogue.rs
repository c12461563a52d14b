//! The catalogue: the apps that come with this program, one file each under `catalog/`.
//!
//! Owns the look-up by id. Refuses to parse anything before it is asked for: start-up costs nothing,
//! however many files there are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Definition, read};
use crate::egress::Egress;

// `APPS: &[(&str, &str)]`, id and file text, sorted by id, and `FAMILIES: &[&str]`, sorted: made by build.rs.
include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

thread_local! {
    static PARSED: RefCell<BTreeMap<&'static str, Rc<Definition>>> = const { RefCell::new(BTreeMap::new()) };
}

/// An app of the catalogue, parsed once per isolate.
pub fn find(id: &str) -> Option<Rc<Definition>> {
    let (id, text) = entry(id)?;
    if let Some(app) = PARSED.with_borrow(|parsed| parsed.get(id).cloned()) {
        return Some(app);
    }
    // A file that does not parse fails the tests below, so it can't be here.
    let app = Rc::new(read(text, Egress::Public).ok()?);
    PARSED.with_borrow_mut(|parsed| parsed.insert(id, Rc::clone(&app)));
    Some(app)
}

/// A file of the catalogue, as it was written.
pub fn source(id: &str) -> Option<&'static str> {
    entry(id).map(|(_, text)| text)
}

/// The ids of all apps of the catalogue, sorted.
pub fn ids() -> impl Iterator<Item = &'static str> {
    APPS.iter().map(|(id, _)| *id)
}

/// Whether an OAuth client of the catalogue is, or may be, registered under this name.
pub(super) fn reserves(name: &str) -> bool {
    entry(name).is_some() || FAMILIES.binary_search(&name).is_ok()
}

fn entry(id: &str) -> Option<(&'static str, &'static str)> {
    let at = APPS.binary_search_by_key(&id, |(id, _)| id).ok()?;
    APPS.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Endpoints;

    #[test]
    fn every_file_can_be_read_and_found_by_its_id() {
        assert!(!APPS.is_empty());
        for (id, text) in APPS {
            let app = read(text, Egress::Public).unwrap_or_else(|problems| panic!("{id}: {problems:?}"));
            assert_eq!(app.id.as_str(), *id);
            assert!(!app.sources.is_empty(), "{id} names no source");
            assert!(Rc::ptr_eq(&find(id).unwrap(), &find(id).unwrap()));
        }
    }

    #[test]
    fn apps_of_one_family_send_its_secret_to_the_same_place() {
        let mut token_hosts: BTreeMap<String, String> = BTreeMap::new();
        for app in ids().filter_map(find) {
            let Some(way) = app.oauth2() else { continue };
            let Endpoints::Fixed(at) = &way.oauth2().unwrap().endpoints else { continue };
            let host = at.token_url.authority(&BTreeMap::new());
            let known = token_hosts.entry(app.registration().to_owned()).or_insert_with(|| host.clone());
            assert_eq!(*known, host, "{}", app.id);
        }
    }

    #[test]
    fn ids_are_sorted_and_others_are_not_found() {
        assert!(ids().is_sorted());
        for id in ["", "DROPBOX", "no-such-app", "../dropbox", "dropbox.json"] {
            assert!(find(id).is_none(), "{id}");
            assert!(source(id).is_none(), "{id}");
        }
    }
}
