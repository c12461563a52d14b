//! The apps that a workspace knows, as lists show them: its own, and the catalogue's.
//!
//! Owns lists. Refuses to read a file of the catalogue for its name: what a list shows of it is known since the build,
//! and only a page's own apps are read.

use std::rc::Rc;

use crate::app::{App, CredentialKind};
use crate::catalogue;
use crate::connect::client_setup;
use crate::context::Context;
use crate::error::Result;
use crate::ids::WorkspaceId;
use crate::ports::Ports;
use crate::registry;
use crate::store;
use crate::store::clients::WorkspaceClients;

use super::consent_page;

/// An app of a list.
pub(super) enum ListedApp {
    /// The workspace's own.
    Custom(Rc<App>),
    /// One of the catalogue.
    Catalogue(&'static catalogue::CatalogueEntry),
}

/// All of them, by id.
pub(super) async fn load_all<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<Vec<ListedApp>> {
    let mut all = Vec::new();
    for row in store::apps::list(context.db(), workspace).await? {
        // A definition that this version can't read any more degrades alone.
        match registry::parse_app_revision(context, &row.id, row.revision, Some(&row.definition)) {
            Ok(app) => all.push(ListedApp::Custom(app)),
            Err(error) => context.log_cause(&error),
        }
    }
    for entry in catalogue::entries() {
        if all.iter().all(|one| one.id() != entry.id) {
            all.push(ListedApp::Catalogue(entry));
        }
    }
    all.sort_by(|left, right| left.id().cmp(right.id()));
    Ok(all)
}

impl ListedApp {
    /// Its id.
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Custom(app) => app.id.as_str(),
            Self::Catalogue(entry) => entry.id,
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Custom(app) => &app.name,
            Self::Catalogue(entry) => entry.name,
        }
    }

    /// Words to filter by.
    pub(super) fn categories(&self) -> Vec<String> {
        match self {
            Self::Custom(app) => app.categories.clone(),
            Self::Catalogue(entry) => entry.categories.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    /// What people call its ways to connect.
    pub(super) fn auth_method_names(&self) -> Vec<String> {
        match self {
            Self::Custom(app) => {
                app.auth_methods().iter().map(|auth_method| consent_page::auth_method_name(auth_method)).collect()
            }
            Self::Catalogue(entry) => {
                let words = |kind| CredentialKind::parse(kind).map_or(kind, CredentialKind::label).to_owned();
                entry
                    .auth_methods
                    .iter()
                    .map(|auth_method| auth_method.name.map_or_else(|| words(auth_method.kind), str::to_owned))
                    .collect()
            }
        }
    }

    /// What its first OAuth client is registered under.
    pub(super) fn client_registration(&self) -> &str {
        match self {
            Self::Custom(app) => app.registration(),
            Self::Catalogue(entry) => entry.family.unwrap_or(entry.id),
        }
    }

    /// All of it. A file of the catalogue that can't be read fails a test, so it can't be here.
    pub(super) fn load_app(&self) -> Option<Rc<App>> {
        match self {
            Self::Custom(app) => Some(Rc::clone(app)),
            Self::Catalogue(entry) => catalogue::find(entry.id),
        }
    }

    /// Whether it can be connected in this workspace, by any of its ways.
    pub(super) fn is_connectable(&self, clients: &WorkspaceClients) -> bool {
        if let Self::Catalogue(entry) = self {
            let pasted = |kind| CredentialKind::parse(kind).is_some_and(CredentialKind::is_manual);
            if entry.auth_methods.iter().any(|auth_method| pasted(auth_method.kind)) {
                return true;
            }
            if !clients.registration_names().any(|name| name.split(':').next() == Some(self.client_registration())) {
                return false;
            }
        }
        self.load_app().is_some_and(|app| {
            app.auth_methods().iter().any(|auth_method| client_setup::is_auth_method_ready(clients, auth_method))
        })
    }
}
