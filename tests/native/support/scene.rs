//! A workspace with a key, an app and its client, and the short ways to act in it.
//!
//! Owns the set-up through the real store functions and the real flow. Every act is an invocation of its own,
//! with the budget of one.

use std::collections::BTreeMap;

use connections::app::{self, App, AppId};
use connections::caller::{self, Key, PresentedKey, Scope};
use connections::client::Client;
use connections::connect::callback::{Landing, Returned, callback};
use connections::connect::client_setup::{self, NewClient, NewSecret};
use connections::connect::start::{Wish, start};
use connections::connection::Connection;
use connections::core::Core;
use connections::credential::Credential;
use connections::disconnect::{self, Disconnected};
use connections::error::Result;
use connections::ids::{ClientId, ConnectionId, Shard, WorkspaceId};
use connections::ports::{Database as _, Errand, ErrandOutcome, Ports as _, Refresher as _};
use connections::resolve::{self, Answered, Ask, Resolved};
use connections::secret::Secret;
use connections::store;
use connections::store::apps::AppRow;
use connections::store::authorizations::Authorization;
use connections::workspace::{Role, User, Workspace};
use serde_json::{Value, json};

use super::acme::CLIENT_ID;
use super::outside::Seeded;
use super::world::{Way, World};

/// The browser that most flows happen in.
pub(crate) const BROWSER: &str = "session-of-ann";

/// A workspace and what is in it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) workspace: WorkspaceId,
    pub(crate) key: Key,
    pub(crate) key_text: Secret,
    pub(crate) app: AppId,
    pub(crate) client: ClientId,
}

/// The app's definition unless a test changes it.
pub(crate) fn definition() -> Value {
    json!({
        "id": "acme",
        "name": "Acme",
        "auth": {
            "type": "oauth2",
            "authorize_url": "https://acme.example/authorize",
            "token_url": "https://acme.example/token",
            "revoke_url": "https://acme.example/revoke",
            "rotation": "strict",
        },
        "scopes": ["read", "write"],
        "identity": { "url": "https://acme.example/me", "id": "/sub", "label": "/email" },
    })
}

/// RFC 7396: what a test changes about a definition.
pub(crate) fn merge(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        into.clone_from(patch);
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}

impl Scene {
    /// The usual scene: no object, the worst case.
    pub(crate) fn new() -> Self {
        Self::with(&json!({}))
    }

    /// With another definition of the app.
    pub(crate) fn with(patch: &Value) -> Self {
        Self::in_world(&World::new(Way::Direct, None), patch)
    }

    pub(crate) fn in_world(world: &World, patch: &Value) -> Self {
        let mut scene = world.run(workspace(world));
        scene.client = scene.define(patch);
        scene
    }

    /// A scene for a way of an app of the catalogue, with a client, should the way need one.
    pub(crate) fn of_catalogue(app: &App, keys: (&str, &str), variables: BTreeMap<String, String>) -> Self {
        let mut scene = Self { app: app.id.clone(), ..Self::new() };
        scene.client = scene.world.run(async {
            let core = scene.world.core();
            put_client(&core, &scene.workspace, app, keys, variables).await
        });
        scene
    }

    /// Enters a client of an app of the catalogue once more.
    pub(crate) fn put_client_again(&self, app: &App, keys: (&str, &str)) -> ClientId {
        self.world.run(async { put_client(&self.world.core(), &self.workspace, app, keys, BTreeMap::new()).await })
    }

    /// Another workspace in the same world, with the same app.
    pub(crate) fn neighbour(&self) -> Self {
        Self::in_world(&self.world, &json!({}))
    }

    /// Puts a new revision of the app, and its client.
    pub(crate) fn define(&self, patch: &Value) -> ClientId {
        let mut json = definition();
        merge(&mut json, patch);
        let app = app::read(&json.to_string(), self.world.config().egress).unwrap().of_workspace().way(None).unwrap();
        let secret = self.world.acme.client_secret.borrow().clone();
        self.world.run(async {
            let core = self.world.core();
            let latest = store::apps::latest_revision(core.db(), &self.workspace, &app.id).await.unwrap();
            let row = AppRow { id: app.id.clone(), revision: latest + 1, definition: json.to_string() };
            store::apps::put(core.db(), &self.workspace, &row, core.now()).await.unwrap();
            put_client(&core, &self.workspace, &app, (CLIENT_ID, &secret), BTreeMap::new()).await
        })
    }

    /// Puts a new revision of the app; the client stays as it was entered.
    pub(crate) fn revise(&self, patch: &Value) {
        let mut json = definition();
        merge(&mut json, patch);
        self.world.run(async {
            let core = self.world.core();
            let latest = store::apps::latest_revision(core.db(), &self.workspace, &self.app).await.unwrap();
            let row = AppRow { id: self.app.clone(), revision: latest + 1, definition: json.to_string() };
            store::apps::put(core.db(), &self.workspace, &row, core.now()).await.unwrap();
        });
    }

    /// Enters the client's secret again.
    pub(crate) fn enter_secret(&self, secret: &str) {
        self.world.run(async {
            let core = self.world.core();
            let row = store::apps::current(core.db(), &self.workspace, &self.app).await.unwrap().unwrap();
            let app = app::read(&row.definition, core.config.egress).unwrap().of_workspace().way(None).unwrap();
            put_client(&core, &self.workspace, &app, (CLIENT_ID, secret), BTreeMap::new()).await;
        });
    }

    pub(crate) fn client(&self) -> Client {
        self.world.run(async {
            store::clients::get(self.world.core().db(), &self.workspace, &self.client).await.unwrap().unwrap()
        })
    }

    // ---- keys ----

    pub(crate) fn presented(&self) -> PresentedKey {
        PresentedKey::parse(self.key_text.expose()).unwrap()
    }

    /// A further key of the workspace.
    pub(crate) fn make_key(&self, change: impl FnOnce(&mut Key)) -> PresentedKey {
        PresentedKey::parse(self.make_key_text(change).expose()).unwrap()
    }

    /// The text of a further key.
    pub(crate) fn make_key_text(&self, change: impl FnOnce(&mut Key)) -> Secret {
        let (mut key, text) = new_key(&self.world.core(), &self.workspace);
        change(&mut key);
        self.world.run(async {
            self.world.core().db().batch(vec![store::keys::insert(&key)]).await.unwrap();
        });
        text
    }

    // ---- connecting ----

    /// What a signed-in person wishes.
    pub(crate) fn wish(&self) -> Wish {
        Wish {
            workspace: self.workspace.clone(),
            app: self.app.clone(),
            way: None,
            variables: BTreeMap::new(),
            connection: None,
            scopes: None,
            exactly: false,
            user: Some(User { id: "ann".into(), name: Some("Ann".into()) }),
            role: Role::Member,
            link: None,
            return_to: None,
        }
    }

    pub(crate) fn repair_of(&self, id: &ConnectionId) -> Wish {
        Wish { connection: Some(id.clone()), ..self.wish() }
    }

    /// Presses the button: the address at the app.
    pub(crate) fn start(&self, wish: &Wish, browser: &str) -> String {
        self.world.run(async { start(&self.world.core(), wish, browser).await.unwrap() })
    }

    /// The browser comes back.
    pub(crate) fn come_back(&self, returned: Returned, browser: &str) -> Landing {
        let client = self.client.clone();
        self.world.run(async { callback(&self.world.core(), &client, returned, &[browser.to_owned()]).await.unwrap() })
    }

    /// A whole flow: press, consent as an account, come back. The flow as it ended.
    pub(crate) fn flow(&self, wish: &Wish, account: &str) -> Authorization {
        let url = self.start(wish, BROWSER);
        let (code, state) = self.world.acme.consent(&url, account);
        let returned = Returned { state: Some(state), code: Some(code), ..Returned::default() };
        match self.come_back(returned, BROWSER) {
            Landing::Flow(id) => self.read_flow(&id),
            Landing::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) fn read_flow(&self, id: &connections::ids::AuthorizationId) -> Authorization {
        self.world.run(async {
            store::authorizations::get(self.world.core().db(), id, &[BROWSER.to_owned()]).await.unwrap().unwrap()
        })
    }

    /// A connection to an account.
    pub(crate) fn connect(&self, account: &str) -> ConnectionId {
        let flow = self.flow(&self.wish(), account);
        flow.connection.unwrap_or_else(|| panic!("{:?} {:?}", flow.outcome, flow.error))
    }

    // ---- acting ----

    /// The connection's row.
    pub(crate) fn row(&self, id: &ConnectionId) -> Connection {
        self.find(id).unwrap()
    }

    pub(crate) fn find(&self, id: &ConnectionId) -> Option<Connection> {
        self.world.run(async { store::connections::get(self.world.core().db(), &self.workspace, id).await.unwrap() })
    }

    /// The credential as it is stored.
    pub(crate) fn credential(&self, id: &ConnectionId) -> Credential {
        open(&self.world, &self.row(id))
    }

    /// Runs an errand at the refresher.
    pub(crate) fn errand(&self, id: &ConnectionId, errand: Errand) -> ErrandOutcome {
        let core = self.world.core();
        self.world.run(async { core.ports.refresher().run(id, errand).await })
    }

    /// A caller needs a token that outlives a minute.
    pub(crate) fn need(&self, id: &ConnectionId) -> ErrandOutcome {
        self.errand(id, need(&self.world))
    }

    /// Resolves with the workspace's first key.
    pub(crate) fn resolve(&self, id: &ConnectionId, ask: Ask) -> Result<Answered> {
        self.resolve_as(&self.presented(), id, ask)
    }

    pub(crate) fn resolve_as(&self, key: &PresentedKey, id: &ConnectionId, ask: Ask) -> Result<Answered> {
        let core = self.world.core();
        self.world.run(async { resolve::resolve(&core, key, id, ask.checked()).await })
    }

    /// Resolves, and does what is left to do behind the answer.
    pub(crate) fn resolve_fully(&self, id: &ConnectionId, ask: Ask) -> Result<Answered> {
        let core = self.world.core();
        self.world.run(async {
            let mut answered = resolve::resolve(&core, &self.presented(), id, ask.checked()).await?;
            for after in std::mem::take(&mut answered.after) {
                resolve::afterwards::run(&core, after).await;
            }
            Ok(answered)
        })
    }

    pub(crate) fn disconnect(&self, id: &ConnectionId) -> Result<Disconnected> {
        let ended =
            self.world.run(async { disconnect::disconnect(&self.world.core(), &self.workspace, id, "key:test").await });
        ended.map(|(disconnected, _)| disconnected)
    }

    /// The clock's run, now.
    pub(crate) fn tick(&self) -> connections::check::Summary {
        let now = self.world.now();
        self.world.run(async { connections::check::tick(&self.world.core(), now).await.unwrap() })
    }

    /// Lets the access token end.
    pub(crate) fn expire(&self, id: &ConnectionId) {
        let end = self.row(id).expires_at.unwrap();
        self.world.pass(end.since(self.world.now()).max(0) + 1);
    }
}

/// A caller needs a token that outlives a minute.
pub(crate) fn need(world: &World) -> Errand {
    Errand::Need { until: world.now().plus(60).unix() }
}

/// Opens a stored credential.
pub(crate) fn open(world: &World, row: &Connection) -> Credential {
    let place = Credential::place(&row.workspace, &row.id, row.generation);
    Credential::open(&world.config().ring, &place, row.sealed_credential.as_deref().unwrap()).unwrap()
}

/// Access and refresh token of a stored credential, as plain text.
pub(crate) fn tokens(credential: &Credential) -> (String, Option<String>) {
    let token = credential.token.as_ref().unwrap();
    let refresh_token = token.refresh_token.as_ref().map(|token| token.expose().to_owned());
    (token.access_token.expose().to_owned(), refresh_token)
}

/// The access token that a caller got.
pub(crate) fn access(resolved: &Resolved) -> &str {
    &resolved.issued.credential.token.as_ref().unwrap().access_token
}

async fn workspace(world: &World) -> Scene {
    let core = world.core();
    let workspace = WorkspaceId::random(core.ports.random(), Shard::FIRST).unwrap();
    let (key, key_text) = new_key(&core, &workspace);
    let row = Workspace { id: workspace.clone(), name: "W".into(), allowed_origins: vec![], created_at: core.now() };
    core.db().batch(vec![store::workspaces::insert(&row), store::keys::insert(&key)]).await.unwrap();
    Scene {
        world: world.clone(),
        workspace,
        key,
        key_text,
        app: AppId::parse("acme").unwrap(),
        client: ClientId::random(core.ports.random(), Shard::FIRST).unwrap(),
    }
}

fn new_key(core: &Core<super::world::Outside>, workspace: &WorkspaceId) -> (Key, Secret) {
    let random: &Seeded = core.ports.random();
    let (id, text, hash) = caller::new_key(random, workspace.shard()).unwrap();
    let key = Key {
        id,
        workspace: workspace.clone(),
        name: "first".into(),
        hash,
        scopes: vec![Scope::All],
        connections: None,
        apps: None,
        expires_at: None,
        created_at: Some(core.now()),
        made_by: None,
        previous: None,
    };
    (key, text)
}

pub(crate) async fn put_client(
    core: &Core<super::world::Outside>,
    workspace: &WorkspaceId,
    app: &App,
    (client_id, secret): (&str, &str),
    variables: BTreeMap<String, String>,
) -> ClientId {
    let new = NewClient {
        client_id: client_id.to_owned(),
        secret: if secret.is_empty() { NewSecret::Kept } else { NewSecret::Is(Secret::new(secret)) },
        variables,
        scopes: None,
        secret_expires_at: None,
    };
    client_setup::put(core, workspace, app, new).await.unwrap().id
}
