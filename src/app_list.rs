//! The apps of a workspace as lists show them: its custom apps, and the catalogue.
//!
//! Owns these lists. Does not parse a catalogue file for its name: what a list shows of it is known since the build,
//! and only the apps of one page are parsed.

use std::rc::Rc;

use crate::app::{App, AppId, CredentialKind};
use crate::authorize;
use crate::caller::ApiKey;
use crate::catalogue;
use crate::connect::client_setup::is_auth_method_ready;
use crate::context::Context;
use crate::error::Result;
use crate::ids::WorkspaceId;
use crate::ports::{Database, DatabaseError, Ports, Rows, Statement};
use crate::registry;
use crate::store::clients::{self, WorkspaceClients};
use crate::store::{Page, apps, cut_page, read_count, webhooks};

/// An app of a list.
#[derive(Debug, Clone)]
pub enum ListedApp {
    /// A custom app of the workspace.
    Custom(Rc<App>),
    /// A catalogue app.
    Catalogue(&'static catalogue::CatalogueEntry),
}

/// The apps that a workspace knows, and its clients: together they say what can be connected.
#[derive(Debug)]
pub struct AppList {
    /// All apps, by id.
    pub apps: Vec<ListedApp>,
    /// All clients.
    pub clients: WorkspaceClients,
}

/// All apps that a workspace knows.
pub async fn load_app_list<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<AppList> {
    read_app_list(context, &context.db().batch(app_list_statements(workspace).into()).await?)
}

/// The same, and how many webhooks were switched off because they failed: what admins see first.
pub async fn load_overview<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<(AppList, i64)> {
    let statements = app_list_statements(workspace).into_iter().chain([webhooks::count_switched_off(workspace)]);
    let answers = context.db().batch(statements.collect()).await?;
    let switched_off = answers.last().map_or(Ok(0), read_count)?;
    Ok((read_app_list(context, &answers)?, switched_off))
}

/// How many statements a list of apps takes.
pub const APP_LIST_STATEMENTS: usize = 2;

/// The statements whose answers are read by [`read_app_list`], for one that asks for more in the same round trip.
pub fn app_list_statements(workspace: &WorkspaceId) -> [Statement; APP_LIST_STATEMENTS] {
    [clients::list_statement(workspace), apps::list_statement(workspace)]
}

/// All apps that a workspace knows, from the first answers of a batch.
pub fn read_app_list<P: Ports>(context: &Context<P>, answers: &[Rows]) -> Result<AppList> {
    let [clients, custom, ..] = answers else {
        return Err(DatabaseError::Unavailable("a batch answered too little".into()).into());
    };
    let clients = clients::read_list(clients)?;
    let mut all = Vec::new();
    for row in apps::read_list(custom)? {
        // A definition that this version cannot read is left out.
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
    Ok(AppList { apps: all, clients })
}

/// What an app needs before it can be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppReadiness {
    /// Nothing: its recommended auth method can be used.
    Ready,
    /// Its recommended auth method needs an OAuth client. Another one can be used.
    OtherMethodReady,
    /// An OAuth client: none of its auth methods can be used.
    NeedsSetup,
}

/// What a list of apps shows.
#[derive(Debug, Clone, Default)]
pub struct AppFilter {
    /// Only names and ids with this text.
    pub text: Option<String>,
    /// Only this category.
    pub category: Option<String>,
    /// After this app.
    pub after: Option<AppId>,
    /// Apps at most.
    pub limit: i64,
}

impl AppFilter {
    fn shows(&self, app: &ListedApp) -> bool {
        let text = self.text.as_ref().map(|text| text.to_lowercase());
        text.is_none_or(|text| app.name().to_lowercase().contains(&text) || app.id().contains(&text))
            && self.category.as_ref().is_none_or(|category| app.categories().contains(category))
            && self.after.as_ref().is_none_or(|after| app.id() > after.as_str())
    }
}

/// One page of the apps that a key may see, by id, and the clients of its workspace. The cursor is the last app's id.
pub async fn list_apps<P: Ports>(
    context: &Context<P>,
    caller: &ApiKey,
    filter: &AppFilter,
) -> Result<(Page<ListedApp>, WorkspaceClients)> {
    let AppList { mut apps, clients } = load_app_list(context, &caller.workspace).await?;
    apps.retain(|one| AppId::parse(one.id()).is_some_and(|id| authorize::sees_app(caller, &id)) && filter.shows(one));
    Ok((cut_page(apps, filter.limit, |last| last.id().to_owned()), clients))
}

impl AppList {
    /// The name of an app; none where the workspace does not know it any more.
    pub fn name_of(&self, id: &str) -> Option<&str> {
        self.apps.iter().find(|one| one.id() == id).map(ListedApp::name)
    }

    /// What a page calls an app: its name, or else its id.
    pub fn name_or_id<'a>(&'a self, id: &'a str) -> &'a str {
        self.name_of(id).unwrap_or(id)
    }
}

impl ListedApp {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Self::Custom(app) => app.id.as_str(),
            Self::Catalogue(entry) => entry.id,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Custom(app) => &app.name,
            Self::Catalogue(entry) => entry.name,
        }
    }

    /// Words to filter by.
    pub fn categories(&self) -> Vec<String> {
        match self {
            Self::Custom(app) => app.categories.clone(),
            Self::Catalogue(entry) => entry.categories.iter().map(|one| (*one).to_owned()).collect(),
        }
    }

    /// The names of its auth methods.
    pub fn auth_method_names(&self) -> Vec<String> {
        match self {
            Self::Custom(app) => app.auth_methods().iter().map(|auth_method| auth_method.display_name()).collect(),
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
    pub fn client_registration(&self) -> &str {
        match self {
            Self::Custom(app) => app.registration(),
            Self::Catalogue(entry) => entry.family.unwrap_or(entry.id),
        }
    }

    /// The whole app. An unreadable catalogue file fails a test, so this cannot happen.
    pub fn load_app(&self) -> Option<Rc<App>> {
        match self {
            Self::Custom(app) => Some(Rc::clone(app)),
            Self::Catalogue(entry) => catalogue::find(entry.id),
        }
    }

    /// What it needs before it can be connected in this workspace. Does not parse a catalogue file for an app without a
    /// client.
    pub fn readiness(&self, clients: &WorkspaceClients) -> AppReadiness {
        if let Self::Catalogue(entry) = self {
            let mut manual = entry
                .auth_methods
                .iter()
                .map(|one| CredentialKind::parse(one.kind).is_some_and(CredentialKind::is_manual));
            let has_client =
                clients.registration_names().any(|name| name.split(':').next() == Some(self.client_registration()));
            match manual.next() {
                Some(true) => return AppReadiness::Ready,
                _ if has_client => {}
                _ if manual.any(|is_manual| is_manual) => return AppReadiness::OtherMethodReady,
                _ => return AppReadiness::NeedsSetup,
            }
        }
        let app = self.load_app();
        let methods = app.as_ref().map(|app| app.auth_methods()).unwrap_or_default();
        let mut ready = methods.iter().map(|auth_method| is_auth_method_ready(clients, auth_method));
        match ready.next() {
            Some(true) => AppReadiness::Ready,
            _ if ready.any(|is_ready| is_ready) => AppReadiness::OtherMethodReady,
            _ => AppReadiness::NeedsSetup,
        }
    }

    /// Whether it can be connected in this workspace, with any of its auth methods.
    pub fn is_connectable(&self, clients: &WorkspaceClients) -> bool {
        if let Self::Catalogue(entry) = self {
            let pasted = |kind| CredentialKind::parse(kind).is_some_and(CredentialKind::is_manual);
            if entry.auth_methods.iter().any(|auth_method| pasted(auth_method.kind)) {
                return true;
            }
            if !clients.registration_names().any(|name| name.split(':').next() == Some(self.client_registration())) {
                return false;
            }
        }
        self.load_app()
            .is_some_and(|app| app.auth_methods().iter().any(|auth_method| is_auth_method_ready(clients, auth_method)))
    }
}
