//! The apps that a workspace knows, as lists show them: its own, and the catalogue's.
//!
//! Owns lists. Refuses to read a file of the catalogue for its name: what a list shows of it is known since the build,
//! and only a page's own apps are read.

use std::rc::Rc;

use crate::app::{App, Definition, Kind};
use crate::catalogue;
use crate::connect::client_setup;
use crate::core::Core;
use crate::error::Result;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::registry;
use crate::store;
use crate::store::clients::Registrations;

use super::ask;

/// An app of a list.
pub(super) enum Known {
    /// The workspace's own.
    Custom(Rc<Definition>),
    /// One of the catalogue.
    Catalogue(&'static catalogue::Entry),
}

/// All of them, by id.
pub(super) async fn all<P: Ports>(core: &Core<P>, workspace: &WorkspaceId) -> Result<Vec<Known>> {
    let mut all = Vec::new();
    for row in store::apps::list(core.db(), workspace).await? {
        // A definition that this version can't read any more degrades alone.
        match registry::definition(core, &row.id, row.revision, Some(&row.definition)) {
            Ok(definition) => all.push(Known::Custom(definition)),
            Err(error) => core.log_cause(&error),
        }
    }
    for entry in catalogue::entries() {
        if all.iter().all(|one| one.id() != entry.id) {
            all.push(Known::Catalogue(entry));
        }
    }
    all.sort_by(|left, right| left.id().cmp(right.id()));
    Ok(all)
}

/// Whether a way can be walked: it needs no client, or has one that was set up for the app's addresses.
pub(super) fn is_ready(clients: &Registrations, app: &App) -> bool {
    app.kind.is_pasted() || clients.current(app.registration()).is_some_and(|client| client_setup::serves(client, app))
}

impl Known {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Custom(definition) => definition.id.as_str(),
            Self::Catalogue(entry) => entry.id,
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Custom(definition) => &definition.name,
            Self::Catalogue(entry) => entry.name,
        }
    }

    /// Words to filter by.
    pub(super) fn categories(&self) -> Vec<String> {
        match self {
            Self::Custom(definition) => definition.categories.clone(),
            Self::Catalogue(entry) => entry.categories.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    /// What people call its ways to connect.
    pub(super) fn ways(&self) -> Vec<String> {
        match self {
            Self::Custom(definition) => definition.ways().iter().map(|app| ask::kind(app)).collect(),
            Self::Catalogue(entry) => {
                let words = |kind| Kind::parse(kind).map_or(kind, Kind::in_words).to_owned();
                entry.ways.iter().map(|way| way.name.map_or_else(|| words(way.kind), str::to_owned)).collect()
            }
        }
    }

    /// What its first OAuth client is registered under.
    pub(super) fn registration(&self) -> &str {
        match self {
            Self::Custom(definition) => definition.registration(),
            Self::Catalogue(entry) => entry.family.unwrap_or(entry.id),
        }
    }

    /// All of it. A file of the catalogue that can't be read fails a test, so it can't be here.
    pub(super) fn definition(&self) -> Option<Rc<Definition>> {
        match self {
            Self::Custom(definition) => Some(Rc::clone(definition)),
            Self::Catalogue(entry) => catalogue::find(entry.id),
        }
    }

    /// Whether it can be connected in this workspace, by any of its ways.
    pub(super) fn can_be_connected(&self, clients: &Registrations) -> bool {
        if let Self::Catalogue(entry) = self {
            let pasted = |kind| Kind::parse(kind).is_some_and(Kind::is_pasted);
            if entry.ways.iter().any(|way| pasted(way.kind)) {
                return true;
            }
            if !clients.names().any(|name| name.split(':').next() == Some(self.registration())) {
                return false;
            }
        }
        self.definition().is_some_and(|definition| definition.ways().iter().any(|app| is_ready(clients, app)))
    }
}
