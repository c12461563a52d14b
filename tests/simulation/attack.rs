//! What a hostile editor does in a simulated scenario, and what the people do whom they mislead.
//!
//! Owns the actions. Each uses the same use cases as a request over HTTP. People are careless: they follow every
//! redirect. Only the first connection's person checks the address of the page at the app.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use connections::app::AppId;
use connections::audit::Actor;
use connections::caller::hash_secret;
use connections::catalogue;
use connections::connect::callback::{CallbackParams, CallbackResult, handle};
use connections::connect::client_setup::{self, NewClient, NewSecret};
use connections::connect::complete::Decider;
use connections::connect::hosts;
use connections::connect::manual::{
    ManualConnectRequest, ManualCredential, connect_manually, connect_manually_with_options,
};
use connections::connect::start::{self, ConnectRequest};
use connections::context::Context;
use connections::error::{Error, Result};
use connections::ids::{ClientId, ConnectionId, Shard};
use connections::ports::{Clock as _, Ports, RefreshReason, RefreshRunner as _};
use connections::resolve::{self, ResolveRequest, ResolvedCredential};
use connections::secret::Secret;
use connections::store::apps::AppRow;
use connections::store::authorizations::FlowOutcome;
use connections::vault::SealContext;
use connections::workspace::User;
use connections::{registry, store};
use serde_json::Value;
use url::Url;

use crate::plan::ScenarioPlan;
use crate::rogue_server::{
    API_KEY_APP, APP_ORIGIN, AllowedDestinations, AttackSetup, ClientEntry, EndpointStyle, RogueDocument, RogueServer,
    VisitOptions, api_key_definition, definition_with_patches, is_rogue_token, origin_of,
};
use crate::scenario::{ReconnectOrder, Scenario, ScenarioConnection};
use crate::secret_tracker::{SecretTracker, SharedSecretTracker};
use crate::support::acme::{CANARY, CLIENT_ID};
use crate::support::fixture::BROWSER_SESSION;
use crate::support::{Fixture, World};

/// One action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttackStep {
    /// The editor stores a new revision of the app's definition, and a client.
    EditApp { edition: usize, entry: ClientEntry },
    /// Somebody repairs a connection, or creates a second one to the same account.
    RunFlow { connection: usize, repair: bool, led: VisitOptions },
    /// The discovery documents in the cache are replaced.
    ReplaceDiscovery(RogueDocument),
    /// The app's own definition and its client are stored again.
    RestoreApps,
    /// The editor stores a new revision of the app with a manual credential.
    EditApiKeyApp { edition: usize },
    /// A program enters a new key for the connection to that app.
    EnterApiKey,
    /// That connection is checked, and resolved.
    CheckApiKey,
}

/// What a scenario with an editor needs in addition.
pub(crate) struct Attack {
    pub(crate) setup: AttackSetup,
    pub(crate) rogue: Rc<RogueServer>,
    pub(crate) secrets: SharedSecretTracker,
    /// The redirect URI that is registered at the app.
    registered_redirect_uri: String,
    /// The connection to the app with a manual credential.
    api_key_connection: ConnectionId,
    api_keys_made: Cell<u64>,
    /// When clients were entered, in milliseconds. Callers who waited for that ask again at once.
    client_entry_times_ms: RefCell<Vec<(i64, i64)>>,
    /// Flows that ended with a grant of the editor's server.
    pub(crate) rogue_grants: Cell<u64>,
}

/// Adds the app of the plan, with another server on the same host.
pub(crate) fn install_rogue_server(
    world: &World,
    plan: &ScenarioPlan,
    ground: AttackSetup,
) -> (Rc<RogueServer>, SharedSecretTracker) {
    let (rogue, secrets): (Rc<RogueServer>, SharedSecretTracker) =
        (Rc::default(), Rc::new(SecretTracker::new(AllowedDestinations::of_app(ground))));
    rogue.gives_refresh_token.set(ground.rogue_gives_refresh_token);
    rogue.expires_in.set(plan.expires_in);
    if ground.public_client {
        world.acme.client_secret.borrow_mut().clear();
    }
    let (acme, server, judge) = (Rc::downgrade(&world.acme), Rc::clone(&rogue), Rc::clone(&secrets));
    *world.acme.interceptor.borrow_mut() = Some(Box::new(move |request| {
        if let Some(acme) = acme.upgrade() {
            judge.check_request(&acme, request);
        }
        server.respond(request)
    }));
    (rogue, secrets)
}

impl Attack {
    pub(crate) fn new(
        scene: &Fixture,
        ground: AttackSetup,
        (rogue, secrets): (Rc<RogueServer>, SharedSecretTracker),
    ) -> Self {
        let registered = format!("https://c.example.com/oauth/callback/{}", scene.load_client().redirect_id);
        let hostile = Self {
            setup: ground,
            rogue,
            secrets,
            registered_redirect_uri: registered,
            api_key_connection: ConnectionId::random(scene.world.context().ports.random(), Shard::FIRST).unwrap(),
            api_keys_made: Cell::new(0),
            client_entry_times_ms: RefCell::default(),
            rogue_grants: Cell::new(0),
        };
        let (context, request, new) =
            (scene.world.context(), api_key_request(scene, None), hostile.make_api_key(&scene.world));
        let row = AppRow {
            id: AppId::parse(API_KEY_APP).unwrap(),
            revision: 1,
            definition: api_key_definition(0).to_string(),
        };
        let flow = scene.world.run(async {
            store::apps::put(context.db(), &scene.workspace, &row, context.now()).await.unwrap();
            connect_manually(&context, &request, new, BROWSER_SESSION, decided_by_program()).await.unwrap()
        });
        // The cache entry that the editor replaces must be the one that the program reads.
        let is_there = scene.world.cache.entries.borrow().contains_key(&discovery_cache_key());
        assert_eq!(is_there, ground.endpoint_style == EndpointStyle::Discovered);
        Self { api_key_connection: flow.connection.unwrap(), ..hostile }
    }

    fn make_api_key(&self, world: &World) -> ManualConnectRequest {
        self.api_keys_made.set(self.api_keys_made.get() + 1);
        let key = format!("{CANARY}-key-{}", self.api_keys_made.get());
        world.acme.api_keys.borrow_mut().insert(key.clone(), "keeper".into());
        ManualConnectRequest {
            credential: ManualCredential::Fields(BTreeMap::from([("api_key".to_owned(), Secret::new(key))])),
            name: None,
            metadata: BTreeMap::new(),
            check: true,
            actor: Some(connections::audit::Actor::User("t".into())),
            condition: connections::preconditions::Condition::default(),
        }
    }

    /// Whether a client was entered between two times.
    pub(crate) fn was_client_entered_between(&self, from_ms: i64, to_ms: i64) -> bool {
        self.client_entry_times_ms.borrow().iter().any(|(begun, ended)| *begun <= to_ms && from_ms <= *ended)
    }
}

fn decided_by_program() -> Decider {
    Decider::Program { reuse: false, switch: false }
}

fn api_key_request(scene: &Fixture, connection: Option<&ConnectionId>) -> ConnectRequest {
    ConnectRequest {
        app: AppId::parse(API_KEY_APP).unwrap(),
        connection: connection.cloned(),
        ..scene.connect_request()
    }
}

/// A connection to an account at the app, created before anything happens.
pub(crate) fn connect(scene: &Fixture, ground: AttackSetup, account: &str) -> ConnectionId {
    let url = scene.start_flow(&scene.connect_request(), BROWSER_SESSION);
    let (code, state) = scene.world.acme.consent(&url, account);
    let iss = (ground.endpoint_style == EndpointStyle::Discovered).then(|| APP_ORIGIN.to_owned());
    let returned = CallbackParams { state: Some(state), code: Some(code), iss, ..CallbackParams::default() };
    match scene.return_from_app(returned, BROWSER_SESSION) {
        CallbackResult::Flow(id) => {
            let flow = scene.load_flow(&id);
            flow.connection.unwrap_or_else(|| panic!("{:?} {:?}", flow.outcome, flow.error))
        }
        CallbackResult::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// Does one action.
pub(crate) async fn run_attack_step(stage: &Rc<Scenario>, worker: usize, deed: AttackStep) {
    let Some(hostile) = &stage.attack else { return };
    match deed {
        AttackStep::EditApp { edition, entry } => edit_app(stage, hostile, worker, (edition, entry)).await,
        AttackStep::RunFlow { connection, repair, led } => run_flow(stage, worker, connection, (repair, led)).await,
        AttackStep::ReplaceDiscovery(document) => replace_discovery(stage, document),
        AttackStep::RestoreApps => restore_apps(stage, hostile, worker).await,
        AttackStep::EditApiKeyApp { edition } => {
            let done = put_definition(stage, worker, api_key_definition(edition)).await;
            stage.add_line(|| format!("edited: {done:?}"));
        }
        AttackStep::EnterApiKey => enter_api_key(stage, hostile, worker).await,
        AttackStep::CheckApiKey => check_api_key(stage, hostile, worker).await,
    }
}

// ---- the editor ----

async fn edit_app(stage: &Rc<Scenario>, hostile: &Attack, worker: usize, (edition, entry): (usize, ClientEntry)) {
    let editions = hostile.setup.edited_patches();
    let change = &editions[edition % editions.len()];
    let definition =
        definition_with_patches(&[&hostile.setup.unedited_patch(), &stage.plan.definition_patch(), change]);
    let done = put_definition(stage, worker, definition).await;
    stage.add_line(|| format!("edited: {change} {done:?}"));
    let (client_id, secret) = match entry {
        ClientEntry::Nothing => return,
        ClientEntry::SameId => (CLIENT_ID, None),
        // The secret of a public client cannot be entered.
        ClientEntry::WrongSecret if hostile.setup.public_client => (CLIENT_ID, None),
        ClientEntry::WrongSecret => (CLIENT_ID, Some("made-up")),
        ClientEntry::OtherId => ("another-client", Some("made-up")),
    };
    let done = put_client(stage, hostile, worker, (client_id, secret), None).await;
    stage.add_line(|| format!("client: {done:?}"));
}

/// Like `PUT /v1/apps/{app}`.
async fn put_definition(stage: &Rc<Scenario>, worker: usize, definition: Value) -> Option<Result<()>> {
    let world = &stage.workers[worker];
    let (core, workspace) = (world.context(), stage.fixture.workspace.clone());
    let text = definition.to_string();
    let app = catalogue::read_custom_definition(&text, core.config.egress)
        .unwrap_or_else(|problem| panic!("{problem:?} {text}"));
    stage
        .with_timeout(world, async move {
            let revision = store::apps::latest_revision(core.db(), &workspace, &app.id).await? + 1;
            let row = AppRow { id: app.id.clone(), revision, definition: text };
            Ok(store::apps::put(core.db(), &workspace, &row, core.now()).await?)
        })
        .await
}

/// Like `PUT /v1/apps/{app}/client`. With a definition, only if that is the current one.
async fn put_client(
    stage: &Rc<Scenario>,
    hostile: &Attack,
    worker: usize,
    (client_id, secret): (&'static str, Option<&str>),
    only_of: Option<String>,
) -> Option<Result<bool>> {
    let world = &stage.workers[worker];
    let (context, workspace, app) = (world.context(), stage.fixture.workspace.clone(), stage.fixture.app.clone());
    let secret = secret.map_or(NewSecret::Kept, |secret| NewSecret::Is(Secret::new(secret)));
    let begun = world.runtime.now_ms();
    let done = stage
        .with_timeout(world, async move {
            if let Some(only_of) = only_of {
                let row = store::apps::get_current(context.db(), &workspace, &app).await?;
                if row.is_none_or(|row| row.definition != only_of) {
                    return Ok(false);
                }
            }
            let registered =
                registry::load_current_app(&context, &workspace, &app).await?.ok_or_else(|| Error::not_found("app"))?;
            let auth_method = registered.app.oauth2_method().ok_or_else(|| Error::not_found("auth_method"))?;
            let new = NewClient {
                event_secret: NewSecret::Kept,
                client_id: client_id.to_owned(),
                secret,
                variables: BTreeMap::new(),
                scopes: None,
                secret_expires_at: None,
            };
            client_setup::put(&context, &workspace, &auth_method, new, &Actor::Embedder).await.map(|_| true)
        })
        .await;
    hostile.client_entry_times_ms.borrow_mut().push((begun, world.runtime.now_ms()));
    done
}

fn replace_discovery(stage: &Rc<Scenario>, document: RogueDocument) {
    let kv = &stage.fixture.world.cache;
    let here = discovery_cache_key();
    let end = stage.fixture.world.runtime.now() + 3600;
    let text = match document {
        RogueDocument::RogueToken | RogueDocument::RogueAll if kv.attacker_can_seal.get() => {
            forge_document(&stage.fixture.world, &here, document)
        }
        RogueDocument::RogueToken | RogueDocument::RogueAll => document.to_json_text(),
        RogueDocument::OfOtherIssuer => {
            let held = kv.entries.borrow();
            let other = held.iter().find(|(key, _)| key.starts_with("discovery/") && **key != here);
            let Some((_, (text, _))) = other else { return };
            text.clone()
        }
    };
    kv.entries.borrow_mut().insert(here, (text, end));
}

/// The name of the cache entry with the document of the app's issuer.
fn discovery_cache_key() -> String {
    format!("discovery/{}", hash_secret(Url::parse(APP_ORIGIN).unwrap().as_str()))
}

/// What an attacker with the key ring could write, as if documents were not sealed.
fn forge_document(world: &World, key: &str, document: RogueDocument) -> String {
    let core = world.context();
    let seal_context = SealContext { workspace: "", table: "cache", row: key, field: "discovery", generation: 0 };
    let text = format!("{} {}", core.now().unix(), document.to_json_text());
    core.config.key_ring.seal(core.ports.random(), &seal_context, &Secret::new(text)).unwrap()
}

/// Restores the app's own definitions, and its client with the secret that the app knows.
pub(crate) async fn restore_apps(stage: &Rc<Scenario>, hostile: &Attack, worker: usize) {
    let definition = definition_with_patches(&[&hostile.setup.unedited_patch(), &stage.plan.definition_patch()]);
    let text = definition.to_string();
    let done = put_definition(stage, worker, definition).await;
    let secret = stage.fixture.world.acme.client_secret.borrow().clone();
    let secret = Some(secret.as_str()).filter(|secret| !secret.is_empty());
    let client = put_client(stage, hostile, worker, (CLIENT_ID, secret), Some(text)).await;
    let other = put_definition(stage, worker, api_key_definition(0)).await;
    stage.add_line(|| format!("put back: {done:?} {client:?} {other:?}"));
}

// ---- the people ----

/// Somebody starts a flow, follows the redirects, and comes back.
pub(crate) async fn run_flow(
    stage: &Rc<Scenario>,
    worker: usize,
    connection: usize,
    (repair, led): (bool, VisitOptions),
) {
    if !repair {
        return run_flow_once(stage, worker, connection, (None, led)).await;
    }
    let role = &stage.connections[connection];
    role.begin_reconnect();
    run_flow_once(stage, worker, connection, (Some(role.reconnect_order()), led)).await;
    role.end_reconnect();
}

/// With a connection it is a repair.
async fn run_flow_once(
    stage: &Rc<Scenario>,
    worker: usize,
    connection: usize,
    (turn, led): (Option<ReconnectOrder>, VisitOptions),
) {
    let Some(hostile) = &stage.attack else { return };
    let (world, role) = (&stage.workers[worker], &stage.connections[connection]);
    let is_careful = connection == 0;
    let realm = if led.to_rogue_realm && !is_careful { "rogue" } else { "main" };
    let mut request =
        if turn.is_some() { stage.fixture.repair_request(&role.id) } else { stage.fixture.connect_request() };
    let context = world.context();
    if load_current_definition(stage).pointer("/variables/realm").is_some() {
        request.variables.insert("realm".into(), realm.to_owned());
    }
    let begun = stage
        .with_timeout(world, async move { press_connect(&context, &request, is_careful, led.page_ms).await })
        .await;
    stage.add_line(|| format!("walk: {begun:?}"));
    let Some(Ok(url)) = begun else { return };
    let older = stage.fixture.world.acme.count_grants();
    let Some((redirect, returned)) = visit_app(stage, hostile, role, &url, (is_careful, led, realm)) else { return };
    world.runtime.sleep(led.app_ms).await;
    let context = world.context();
    let landed = stage
        .with_timeout(world, async move { handle(&context, &redirect, returned, &[BROWSER_SESSION.to_owned()]).await })
        .await;
    stage.add_line(|| format!("back: {landed:?}"));
    let Some(Ok(CallbackResult::Flow(flow))) = landed else { return };
    let core = stage.fixture.world.context();
    let read = store::authorizations::get(core.db(), &flow, &[BROWSER_SESSION.to_owned()]).await;
    let read = read.ok().flatten();
    stage.add_line(|| format!("flow: {:?}", read.as_ref().map(|flow| (flow.outcome, flow.error.clone()))));
    if read.is_some_and(|flow| flow.outcome == FlowOutcome::Done) {
        if stage.fixture.world.acme.count_grants() == older {
            hostile.rogue_grants.set(hostile.rogue_grants.get() + 1);
        }
        if let Some(turn) = turn {
            role.acknowledge_reconnect(
                turn,
                older,
                stage.fixture.world.acme.gave_refresh_token_since(older, &role.account),
            );
        }
    }
}

/// A person sees the page that names the hosts, and submits it after a while. A careful person leaves if the page names
/// a host that is not the app's.
async fn press_connect<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    is_careful: bool,
    milliseconds: u32,
) -> Result<String> {
    let shown = hosts::for_options(context, &start::prepare_options(context, request).await?).await?;
    let knows = |hosts: &BTreeSet<String>| hosts.iter().all(|host| APP_ORIGIN.ends_with(host));
    if is_careful && !(knows(&shown.all) && shown.added.is_empty()) {
        return Err(Error::not_found("wish to go on"));
    }
    context.ports.clock().sleep(milliseconds).await;
    let options = start::prepare_options(context, request).await?;
    hosts::require_unchanged(context, &options, Some(&shown.fingerprint)).await?;
    start::begin_flow_with_options(context, request, &options, BROWSER_SESSION).await
}

fn load_current_definition(stage: &Scenario) -> Value {
    let text = stage.fixture.world.db.query_value("SELECT definition FROM apps WHERE id = 'acme' AND is_current = 1");
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// The person follows the address, and the browser is redirected back. Returns to which of our addresses, and with
/// which parameters.
fn visit_app(
    stage: &Scenario,
    hostile: &Attack,
    role: &ScenarioConnection,
    url: &str,
    (is_careful, led, realm): (bool, VisitOptions, &str),
) -> Option<(ClientId, CallbackParams)> {
    let mut url = Url::parse(url).unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let definition = load_flow_definition(stage, &query["state"]);
    let places = AllowedDestinations::of_definition(&definition, realm);
    if let Some(challenge) = query.get("code_challenge") {
        hostile.secrets.note_challenge(challenge, &places);
    }
    // The editor's server knows the account of the misled person, and says that every token belongs to it.
    role.account.clone_into(&mut hostile.rogue.claimed_account.borrow_mut());
    if is_careful && !places.all_at_origin(APP_ORIGIN) {
        let finding = format!("{} saw no new host on the page, and goes to another: {places:?}", role.account);
        hostile.secrets.add_finding(finding);
    }
    let discovered = hostile.setup.endpoint_style == EndpointStyle::Discovered;
    let app_names_itself = || discovered.then(|| APP_ORIGIN.to_owned());
    let page = format!("{}/authorize", hostile.setup.server_url());
    let is_honest = url.as_str().split('?').next() == Some(page.as_str());
    if !is_honest {
        if is_careful {
            return None;
        }
        role.sent_to_rogue_server.set(true);
        if !led.redirected_to_app {
            let iss = definition.pointer("/auth/issuer").and_then(Value::as_str).map(ToOwned::to_owned);
            let code = Some(Secret::new(hostile.rogue.issue_code(&role.account)));
            let returned =
                CallbackParams { state: query.get("state").cloned(), code, iss, ..CallbackParams::default() };
            return Some((parse_redirect_id(&query["redirect_uri"]), returned));
        }
        let mut bounced = Url::parse(&page).unwrap();
        bounced.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| match name.as_str() {
            "client_id" => (name.as_str(), CLIENT_ID),
            "redirect_uri" => (name.as_str(), hostile.registered_redirect_uri.as_str()),
            _ => (name.as_str(), value.as_str()),
        }));
        url = bounced;
    }
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    // The app knows one client and one redirect URI.
    if query["client_id"] != CLIENT_ID || query["redirect_uri"] != hostile.registered_redirect_uri {
        return None;
    }
    let (code, state) = stage.fixture.world.acme.consent(url.as_str(), &role.account);
    // A person who entered no secret for other addresses gave them no tokens of a client with a secret.
    if hostile.setup.public_client && is_honest {
        hostile.secrets.note_code(code.expose(), &places);
    }
    let returned =
        CallbackParams { state: Some(state), code: Some(code), iss: app_names_itself(), ..CallbackParams::default() };
    Some((parse_redirect_id(&query["redirect_uri"]), returned))
}

/// The definition of a flow, as it is stored.
fn load_flow_definition(stage: &Scenario, state: &str) -> Value {
    let sql = format!(
        "SELECT a.definition FROM flows f JOIN apps a ON a.workspace_id = f.workspace_id AND a.id = f.app
         AND a.revision = f.app_revision WHERE f.state_hash = '{}'",
        hash_secret(state)
    );
    serde_json::from_str(stage.fixture.world.db.query_value(&sql).as_str().unwrap()).unwrap()
}

fn parse_redirect_id(uri: &str) -> ClientId {
    ClientId::try_from(uri.rsplit('/').next().unwrap().to_owned()).unwrap_or_else(|_| panic!("{uri}"))
}

// ---- keys ----

/// Like `PUT /v1/connections/{id}/credential`.
async fn enter_api_key(stage: &Rc<Scenario>, hostile: &Attack, worker: usize) {
    let world = &stage.workers[worker];
    let (context, new) = (world.context(), hostile.make_api_key(world));
    let request = ConnectRequest {
        user: Some(User { id: "ann".into(), name: None }),
        ..api_key_request(&stage.fixture, Some(&hostile.api_key_connection))
    };
    let done = stage
        .with_timeout(world, async move {
            let options = start::prepare_options(&context, &request).await?;
            hosts::require_accepted(&context, &options, &BTreeSet::new()).await?;
            connect_manually_with_options(&context, &request, &options, new, BROWSER_SESSION, decided_by_program())
                .await
                .map(|flow| (flow.outcome, flow.error))
        })
        .await;
    stage.add_line(|| format!("key entered: {done:?}"));
}

async fn check_api_key(stage: &Rc<Scenario>, hostile: &Attack, worker: usize) {
    let world = &stage.workers[worker];
    let (core, id) = (world.context(), hostile.api_key_connection.clone());
    let outcome = stage
        .with_timeout(world, async move { core.ports.refresher().run(&id, RefreshReason::OnDemandCheck).await })
        .await;
    stage.add_line(|| format!("key checked: {outcome:?}"));
    if let Some(Ok(resolved)) = resolve_api_key(stage, hostile, worker).await {
        check_resolved_api_key(hostile, &resolved);
    }
}

async fn resolve_api_key(stage: &Rc<Scenario>, hostile: &Attack, worker: usize) -> Option<Result<ResolvedCredential>> {
    let world = &stage.workers[worker];
    let (context, key, id) = (world.context(), stage.fixture.presented_key(), hostile.api_key_connection.clone());
    let answered = stage
        .with_timeout(world, async move {
            resolve::resolve(&context, &key, &id, ResolveRequest::default().validated()).await
        })
        .await;
    Some(answered?.map(|answered| answered.resolved))
}

fn check_resolved_api_key(hostile: &Attack, resolved: &ResolvedCredential) {
    let key = resolved.issued.credential.fields.get("api_key");
    check_base_url(hostile, resolved, hostile.secrets.app_destinations());
    if !key.is_some_and(|key| key.starts_with(CANARY)) {
        hostile.secrets.add_finding("a key is answered that nobody entered".into());
    }
}

/// A caller sends the credential to the address in the resolve.
fn check_base_url(hostile: &Attack, resolved: &ResolvedCredential, places: &AllowedDestinations) {
    if let Some(url) = &resolved.issued.request.base_url
        && !places.api.contains(&origin_of(url))
    {
        hostile
            .secrets
            .add_finding(format!("a secret went where it was not given for: a caller is told to send it to {url}"));
    }
}

/// The same for a token.
pub(crate) fn check_resolved_token(stage: &Scenario, hostile: &Attack, token: &str, resolved: &ResolvedCredential) {
    if !is_rogue_token(token) {
        let places = hostile.secrets.destinations_of(&stage.fixture.world.acme, token);
        check_base_url(hostile, resolved, &places);
    }
}

/// At the end, when everything is restored, the key works.
pub(crate) async fn check_final_api_key(stage: &Rc<Scenario>, hostile: &Attack) {
    match resolve_api_key(stage, hostile, 0).await {
        Some(Ok(resolved)) => check_resolved_api_key(hostile, &resolved),
        other => hostile.secrets.add_finding(format!("the key works at the app, but the last resolve says {other:?}")),
    }
}
