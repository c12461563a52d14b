//! A workspace with an API key, an app and its client, and short functions to act in it.
//!
//! Owns the set-up with the real store functions and the real flow. Every action is its own invocation with its own
//! subrequest limit.

use std::collections::BTreeMap;

use connections::app::{self, AppId, AuthMethod};
use connections::audit::Actor;
use connections::branding::Branding;
use connections::caller::{self, ApiKey, KeyScope, PresentedKey};
use connections::client::Client;
use connections::connect::callback::{CallbackParams, CallbackResult, handle};
use connections::connect::client_setup::{self, NewClient, NewSecret};
use connections::connect::start::{ConnectRequest, begin_flow};
use connections::connection::{Connection, ConnectionSettings};
use connections::context::Context;
use connections::credential::Credential;
use connections::disconnect::{self, DisconnectResult};
use connections::error::Result;
use connections::ids::{ClientId, ConnectionId, WorkspaceId};
use connections::ports::{Database as _, Ports as _, RefreshOutcome, RefreshReason, RefreshRunner as _};
use connections::resolve::{self, ResolveRequest, ResolveResult, ResolvedCredential};
use connections::secret::Secret;
use connections::store;
use connections::store::apps::AppRow;
use connections::store::authorizations::Flow;
use connections::workspace::{Role, User, Workspace};
use serde_json::{Value, json};

use super::acme::CLIENT_ID;
use super::runtime::Task;
use super::small_ports::SeededRandom;
use super::world::{RefreshMode, World};

/// The browser of most flows.
pub(crate) const BROWSER_SESSION: &str = "session-of-ann";

/// A workspace and what is in it.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) world: World,
    pub(crate) workspace: WorkspaceId,
    pub(crate) key: ApiKey,
    pub(crate) key_text: Secret,
    pub(crate) app: AppId,
    pub(crate) client: ClientId,
}

/// The app's default definition.
pub(crate) fn acme_definition() -> Value {
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

/// RFC 7396: how a test changes a definition.
pub(crate) fn merge_patch(into: &mut Value, patch: &Value) {
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
            merge_patch(&mut into[name], value);
        }
    }
}

/// Who acts, in a test for which that does not matter.
pub(crate) fn test_actor() -> Actor {
    Actor::User("test".into())
}

impl Fixture {
    /// The default: no Durable Object, which is the worst case.
    pub(crate) fn new() -> Self {
        Self::with_definition(&json!({}))
    }

    /// With another definition of the app.
    pub(crate) fn with_definition(patch: &Value) -> Self {
        Self::in_world(&World::new(RefreshMode::Direct, None), patch)
    }

    pub(crate) fn in_world(world: &World, patch: &Value) -> Self {
        let mut fixture = world.run(create_workspace(world));
        fixture.client = fixture.put_app_and_client(patch);
        fixture
    }

    /// The same, seen from one instance of the program that remembers from call to call.
    pub(crate) fn in_one_isolate(&self) -> Self {
        Self { world: self.world.in_one_isolate(), ..self.clone() }
    }

    /// A fixture for an auth method of a catalogue app, with a client if the auth method needs one.
    pub(crate) fn for_auth_method(
        auth_method: &AuthMethod,
        keys: (&str, &str),
        variables: BTreeMap<String, String>,
    ) -> Self {
        let mut fixture = Self { app: auth_method.app_id.clone(), ..Self::new() };
        fixture.client = fixture.world.run(async {
            let context = fixture.world.context();
            put_client(&context, &fixture.workspace, auth_method, keys, variables).await
        });
        fixture
    }

    /// Enters a client of a catalogue app again.
    pub(crate) fn put_client_again(&self, auth_method: &AuthMethod, keys: (&str, &str)) -> ClientId {
        self.world
            .run(async { put_client(&self.world.context(), &self.workspace, auth_method, keys, BTreeMap::new()).await })
    }

    /// Another workspace in the same world, with the same app.
    pub(crate) fn other_workspace(&self) -> Self {
        Self::in_world(&self.world, &json!({}))
    }

    /// Stores a new revision of the app, and its client.
    pub(crate) fn put_app_and_client(&self, patch: &Value) -> ClientId {
        let mut json = acme_definition();
        merge_patch(&mut json, patch);
        let auth_method = app::read_definition(&json.to_string(), self.world.config().egress)
            .unwrap()
            .into_custom()
            .auth_method(None)
            .unwrap();
        let secret = self.world.acme.client_secret.borrow().clone();
        self.world.run(async {
            let context = self.world.context();
            let latest =
                store::apps::latest_revision(context.db(), &self.workspace, &auth_method.app_id).await.unwrap();
            let row = AppRow { id: auth_method.app_id.clone(), revision: latest + 1, definition: json.to_string() };
            store::apps::put(context.db(), &self.workspace, &row, context.now()).await.unwrap();
            put_client(&context, &self.workspace, &auth_method, (CLIENT_ID, &secret), BTreeMap::new()).await
        })
    }

    /// Stores a new revision of the app, and keeps the client.
    pub(crate) fn put_app_revision(&self, patch: &Value) {
        let mut json = acme_definition();
        merge_patch(&mut json, patch);
        self.world.run(async {
            let context = self.world.context();
            let latest = store::apps::latest_revision(context.db(), &self.workspace, &self.app).await.unwrap();
            let row = AppRow { id: self.app.clone(), revision: latest + 1, definition: json.to_string() };
            store::apps::put(context.db(), &self.workspace, &row, context.now()).await.unwrap();
        });
    }

    /// Enters the client's secret again.
    pub(crate) fn put_client_secret(&self, secret: &str) {
        self.world.run(async {
            let context = self.world.context();
            let row = store::apps::get_current(context.db(), &self.workspace, &self.app).await.unwrap().unwrap();
            let auth_method = app::read_definition(&row.definition, context.config.egress)
                .unwrap()
                .into_custom()
                .auth_method(None)
                .unwrap();
            put_client(&context, &self.workspace, &auth_method, (CLIENT_ID, secret), BTreeMap::new()).await;
        });
    }

    pub(crate) fn load_client(&self) -> Client {
        self.world.run(async {
            store::clients::get(self.world.context().db(), &self.workspace, &self.client).await.unwrap().unwrap()
        })
    }

    // ---- keys ----

    pub(crate) fn presented_key(&self) -> PresentedKey {
        PresentedKey::parse(self.key_text.expose()).unwrap()
    }

    /// A further key of the workspace.
    pub(crate) fn make_key(&self, change: impl FnOnce(&mut ApiKey)) -> PresentedKey {
        PresentedKey::parse(self.make_key_secret(change).expose()).unwrap()
    }

    /// The text of a further key.
    pub(crate) fn make_key_secret(&self, change: impl FnOnce(&mut ApiKey)) -> Secret {
        let (mut key, text) = generate_key(&self.world.context(), &self.workspace);
        change(&mut key);
        self.world.run(async {
            self.world.context().db().batch(vec![store::keys::insert(&key)]).await.unwrap();
        });
        text
    }

    // ---- connecting ----

    /// The request of a signed-in person to connect.
    pub(crate) fn connect_request(&self) -> ConnectRequest {
        ConnectRequest {
            workspace: self.workspace.clone(),
            app: self.app.clone(),
            auth_method: None,
            variables: BTreeMap::new(),
            connection: None,
            scopes: None,
            exact_scopes: false,
            user: Some(User { id: "ann".into(), name: Some("Ann".into()) }),
            settings: ConnectionSettings::default(),
            role: Role::Member,
            link: None,
            return_to: None,
        }
    }

    pub(crate) fn repair_request(&self, id: &ConnectionId) -> ConnectRequest {
        ConnectRequest { connection: Some(id.clone()), ..self.connect_request() }
    }

    /// Submits the consent page. Returns the address at the app.
    pub(crate) fn start_flow(&self, request: &ConnectRequest, browser: &str) -> String {
        self.world.run(async { begin_flow(&self.world.context(), request, browser).await.unwrap() })
    }

    /// The browser follows the redirect back.
    pub(crate) fn return_from_app(&self, returned: CallbackParams, browser: &str) -> CallbackResult {
        let client = self.client.clone();
        self.world.run(async { handle(&self.world.context(), &client, returned, &[browser.to_owned()]).await.unwrap() })
    }

    /// A whole flow: submit, consent as an account, come back. Returns the ended flow.
    pub(crate) fn complete_flow(&self, request: &ConnectRequest, account: &str) -> Flow {
        let url = self.start_flow(request, BROWSER_SESSION);
        let (code, state) = self.world.acme.consent(&url, account);
        let returned = CallbackParams { state: Some(state), code: Some(code), ..CallbackParams::default() };
        match self.return_from_app(returned, BROWSER_SESSION) {
            CallbackResult::Flow(id) => self.load_flow(&id),
            CallbackResult::Refused(refusal) => panic!("{refusal:?}"),
        }
    }

    pub(crate) fn load_flow(&self, id: &connections::ids::FlowId) -> Flow {
        self.world.run(async {
            store::authorizations::get(self.world.context().db(), id, &[BROWSER_SESSION.to_owned()])
                .await
                .unwrap()
                .unwrap()
        })
    }

    /// A connection to an account.
    pub(crate) fn connect(&self, account: &str) -> ConnectionId {
        let flow = self.complete_flow(&self.connect_request(), account);
        flow.connection.unwrap_or_else(|| panic!("{:?} {:?}", flow.outcome, flow.error))
    }

    // ---- acting ----

    /// The connection's row.
    pub(crate) fn load_connection(&self, id: &ConnectionId) -> Connection {
        self.find_connection(id).unwrap()
    }

    pub(crate) fn find_connection(&self, id: &ConnectionId) -> Option<Connection> {
        self.world.run(async { store::connections::get(self.world.context().db(), &self.workspace, id).await.unwrap() })
    }

    /// The credential as it is stored.
    pub(crate) fn open_credential(&self, id: &ConnectionId) -> Credential {
        unseal_credential(&self.world, &self.load_connection(id))
    }

    /// Runs a refresh.
    pub(crate) fn refresh(&self, id: &ConnectionId, reason: RefreshReason) -> RefreshOutcome {
        let context = self.world.context();
        self.world.run(async { context.ports.refresher().run(id, reason).await })
    }

    /// A caller needs a token that is valid for a minute.
    pub(crate) fn refresh_if_needed(&self, id: &ConnectionId) -> RefreshOutcome {
        self.refresh(id, need_reason(&self.world))
    }

    /// Resolves with the workspace's first key.
    pub(crate) fn resolve(&self, id: &ConnectionId, request: ResolveRequest) -> Result<ResolveResult> {
        self.resolve_as(&self.presented_key(), id, request)
    }

    pub(crate) fn resolve_as(
        &self,
        key: &PresentedKey,
        id: &ConnectionId,
        request: ResolveRequest,
    ) -> Result<ResolveResult> {
        let context = self.world.context();
        self.world.run(async { resolve::resolve(&context, key, id, request.validated()).await })
    }

    /// Resolves, and does the deferred work.
    pub(crate) fn resolve_and_finish(&self, id: &ConnectionId, request: ResolveRequest) -> Result<ResolveResult> {
        let context = self.world.context();
        self.world.run(async {
            let mut answered = resolve::resolve(&context, &self.presented_key(), id, request.validated()).await?;
            for after in std::mem::take(&mut answered.deferred) {
                resolve::deferred::run(&context, after).await;
            }
            Ok(answered)
        })
    }

    pub(crate) fn disconnect(&self, id: &ConnectionId) -> Result<DisconnectResult> {
        let context = self.world.context();
        let ended = self.world.run(disconnect::disconnect(&context, &self.workspace, id, &test_actor()));
        ended.map(|(disconnected, ..)| disconnected)
    }

    /// A disconnect that goes on beside the test.
    pub(crate) fn spawn_disconnect(&self, id: &ConnectionId) -> Task<Result<DisconnectResult>> {
        let (context, workspace, id) = (self.world.context(), self.workspace.clone(), id.clone());
        self.world.runtime.spawn(async move {
            let ended = disconnect::disconnect(&context, &workspace, &id, &test_actor()).await;
            ended.map(|(disconnected, ..)| disconnected)
        })
    }

    /// A scheduled run, now.
    pub(crate) fn run_scheduled(&self) -> connections::check::RunSummary {
        let now = self.world.now();
        self.world.run(async { connections::check::run_scheduled(&self.world.context(), now).await.unwrap() })
    }

    /// Lets the access token expire.
    pub(crate) fn expire_access_token(&self, id: &ConnectionId) {
        let end = self.load_connection(id).expires_at.unwrap();
        self.world.advance_clock(end.since(self.world.now()).max(0) + 1);
    }
}

/// A caller needs a token that is valid for a minute.
pub(crate) fn need_reason(world: &World) -> RefreshReason {
    RefreshReason::Need { until: world.now().plus(60).unix() }
}

/// Decrypts a stored credential.
pub(crate) fn unseal_credential(world: &World, row: &Connection) -> Credential {
    let seal_context = Credential::seal_context(&row.workspace, &row.id, row.generation);
    Credential::open(&world.config().key_ring, &seal_context, row.sealed_credential.as_deref().unwrap()).unwrap()
}

/// Access and refresh token of a stored credential.
pub(crate) fn plain_tokens(credential: &Credential) -> (String, Option<String>) {
    let token = credential.token.as_ref().unwrap();
    let refresh_token = token.refresh_token.as_ref().map(|token| token.expose().to_owned());
    (token.access_token.expose().to_owned(), refresh_token)
}

/// The access token that a caller got.
pub(crate) fn access_token_of(resolved: &ResolvedCredential) -> &str {
    &resolved.issued.credential.token.as_ref().unwrap().access_token
}

async fn create_workspace(world: &World) -> Fixture {
    let context = world.context();
    let workspace = WorkspaceId::random(context.ports.random(), context.shard()).unwrap();
    let (key, key_text) = generate_key(&context, &workspace);
    let row = Workspace {
        id: workspace.clone(),
        name: "W".into(),
        allowed_origins: vec![],
        branding: Branding::default(),
        created_at: context.now(),
    };
    context.db().batch(vec![store::workspaces::insert(&row), store::keys::insert(&key)]).await.unwrap();
    Fixture {
        world: world.clone(),
        workspace,
        key,
        key_text,
        app: AppId::parse("acme").unwrap(),
        client: ClientId::random(context.ports.random(), context.shard()).unwrap(),
    }
}

fn generate_key(context: &Context<super::world::TestPorts>, workspace: &WorkspaceId) -> (ApiKey, Secret) {
    let random: &SeededRandom = context.ports.random();
    let (id, text, hash) = caller::new_key(random, workspace.shard()).unwrap();
    let key = ApiKey {
        id,
        workspace: workspace.clone(),
        name: "first".into(),
        hash,
        scopes: vec![KeyScope::All],
        connections: None,
        apps: None,
        environment: None,
        expires_at: None,
        created_at: Some(context.now()),
        made_by: None,
        previous: None,
    };
    (key, text)
}

pub(crate) async fn put_client(
    context: &Context<super::world::TestPorts>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
    (client_id, secret): (&str, &str),
    variables: BTreeMap<String, String>,
) -> ClientId {
    let new = NewClient {
        event_secret: NewSecret::Kept,
        client_id: client_id.to_owned(),
        secret: if secret.is_empty() { NewSecret::Kept } else { NewSecret::Is(Secret::new(secret)) },
        variables,
        scopes: None,
        secret_expires_at: None,
    };
    client_setup::put(context, workspace, auth_method, new, &Actor::Embedder).await.unwrap().id
}
