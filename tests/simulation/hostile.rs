//! What a hostile editor does in a play, and what the people do whom they lead astray.
//!
//! Owns the deeds. Each takes the way that a request over HTTP takes through the use cases. People are careless: they
//! follow wherever they are sent. Only the first connection's person looks at the address of the page at the app.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use connections::app::AppId;
use connections::caller::hash;
use connections::catalogue;
use connections::connect::callback::{Landing, Returned, callback};
use connections::connect::client_setup::{self, NewClient, NewSecret};
use connections::connect::hosts;
use connections::connect::paste::{Entered, Paste, paste, paste_offered};
use connections::connect::settle::Deciding;
use connections::connect::start::{self, Wish};
use connections::core::Core;
use connections::error::{Error, Result};
use connections::ids::{ClientId, ConnectionId, Shard};
use connections::ports::{Clock as _, Errand, Ports, Refresher as _};
use connections::resolve::{self, Ask, Resolved};
use connections::secret::Secret;
use connections::store::apps::AppRow;
use connections::store::authorizations::Outcome;
use connections::vault::Place;
use connections::workspace::User;
use connections::{registry, store};
use serde_json::Value;
use url::Url;

use crate::draw::Plan;
use crate::editor::{
    Document, Endpoints, Entry, Ground, HONEST, KEYED_APP, Led, Places, Rogue, definition_with, is_rogue, keyed, origin,
};
use crate::play::{Role, Stage, Turn};
use crate::secrets::{Secrets, Shared};
use crate::support::acme::{CANARY, CLIENT_ID};
use crate::support::scene::BROWSER;
use crate::support::{Scene, World};

/// One deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// The editor puts a new revision of the app's definition, and a client.
    Edit { edition: usize, entry: Entry },
    /// Somebody repairs a connection, or makes a new one to the same account.
    Walk { connection: usize, repair: bool, led: Led },
    /// The discovery documents in the cache are replaced.
    Replace(Document),
    /// The app's own definition and its client are put again.
    PutBack,
    /// The editor puts a new revision of the app that people enter keys for.
    EditKeyed { edition: usize },
    /// A program enters a new key for the connection to that app.
    EnterKey,
    /// That connection is checked, and resolved.
    CheckKey,
}

/// What a play with an editor needs beside the rest.
pub(crate) struct Hostile {
    pub(crate) ground: Ground,
    pub(crate) rogue: Rc<Rogue>,
    pub(crate) secrets: Shared,
    /// The redirect URI that is registered at the app.
    registered: String,
    /// The connection to the app that people enter keys for.
    keyed: ConnectionId,
    keys: Cell<u64>,
    /// When clients were entered, in milliseconds: whoever waited for that asks again at once.
    entered: RefCell<Vec<(i64, i64)>>,
    /// Flows that ended with a grant of the editor's server.
    pub(crate) taken_in: Cell<u64>,
}

/// Puts the app on the plan's ground, with a server beside it that is not its own.
pub(crate) fn prepare(world: &World, plan: &Plan, ground: Ground) -> (Rc<Rogue>, Shared) {
    let (rogue, secrets): (Rc<Rogue>, Shared) = (Rc::default(), Rc::new(Secrets::new(Places::honest(ground))));
    rogue.renews.set(ground.rogue_renews);
    rogue.expires_in.set(plan.expires_in);
    if ground.public {
        world.acme.client_secret.borrow_mut().clear();
    }
    let (acme, server, judge) = (Rc::downgrade(&world.acme), Rc::clone(&rogue), Rc::clone(&secrets));
    *world.acme.interceptor.borrow_mut() = Some(Box::new(move |request| {
        if let Some(acme) = acme.upgrade() {
            judge.look(&acme, request);
        }
        server.answer(request)
    }));
    (rogue, secrets)
}

impl Hostile {
    pub(crate) fn new(scene: &Scene, ground: Ground, (rogue, secrets): (Rc<Rogue>, Shared)) -> Self {
        let registered = format!("https://c.example.com/oauth/callback/{}", scene.client().redirect_id);
        let hostile = Self {
            ground,
            rogue,
            secrets,
            registered,
            keyed: ConnectionId::random(scene.world.core().ports.random(), Shard::FIRST).unwrap(),
            keys: Cell::new(0),
            entered: RefCell::default(),
            taken_in: Cell::new(0),
        };
        let (core, wish, new) = (scene.world.core(), keyed_wish(scene, None), hostile.new_key(&scene.world));
        let row = AppRow { id: AppId::parse(KEYED_APP).unwrap(), revision: 1, definition: keyed(0).to_string() };
        let flow = scene.world.run(async {
            store::apps::put(core.db(), &scene.workspace, &row, core.now()).await.unwrap();
            paste(&core, &wish, new, BROWSER, by_program()).await.unwrap()
        });
        // What the editor replaces in the cache must be what the program reads there.
        let is_there = scene.world.kv.held.borrow().contains_key(&document_name());
        assert_eq!(is_there, ground.endpoints == Endpoints::Discovered);
        Self { keyed: flow.connection.unwrap(), ..hostile }
    }

    fn new_key(&self, world: &World) -> Paste {
        self.keys.set(self.keys.get() + 1);
        let key = format!("{CANARY}-key-{}", self.keys.get());
        world.acme.keys.borrow_mut().insert(key.clone(), "keeper".into());
        Paste {
            entered: Entered::Fields(BTreeMap::from([("api_key".to_owned(), Secret::new(key))])),
            name: None,
            metadata: BTreeMap::new(),
            check: true,
            actor: Some("key:t".into()),
        }
    }

    /// Whether a client was entered at some time between two.
    pub(crate) fn was_entered_between(&self, from_ms: i64, to_ms: i64) -> bool {
        self.entered.borrow().iter().any(|(begun, ended)| *begun <= to_ms && from_ms <= *ended)
    }
}

fn by_program() -> Deciding {
    Deciding::Program { reuse: false, switch: false }
}

fn keyed_wish(scene: &Scene, connection: Option<&ConnectionId>) -> Wish {
    Wish { app: AppId::parse(KEYED_APP).unwrap(), connection: connection.cloned(), ..scene.wish() }
}

/// A connection to an account at the app, made before anything happens.
pub(crate) fn connect(scene: &Scene, ground: Ground, account: &str) -> ConnectionId {
    let url = scene.start(&scene.wish(), BROWSER);
    let (code, state) = scene.world.acme.consent(&url, account);
    let iss = (ground.endpoints == Endpoints::Discovered).then(|| HONEST.to_owned());
    let returned = Returned { state: Some(state), code: Some(code), iss, ..Returned::default() };
    match scene.come_back(returned, BROWSER) {
        Landing::Flow(id) => {
            let flow = scene.read_flow(&id);
            flow.connection.unwrap_or_else(|| panic!("{:?} {:?}", flow.outcome, flow.error))
        }
        Landing::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// Does one deed.
pub(crate) async fn perform(stage: &Rc<Stage>, worker: usize, deed: Deed) {
    let Some(hostile) = &stage.hostile else { return };
    match deed {
        Deed::Edit { edition, entry } => edit(stage, hostile, worker, (edition, entry)).await,
        Deed::Walk { connection, repair, led } => walk(stage, worker, connection, (repair, led)).await,
        Deed::Replace(document) => replace(stage, document),
        Deed::PutBack => put_back(stage, hostile, worker).await,
        Deed::EditKeyed { edition } => {
            let done = put_definition(stage, worker, keyed(edition)).await;
            stage.tell(|| format!("edited: {done:?}"));
        }
        Deed::EnterKey => enter_key(stage, hostile, worker).await,
        Deed::CheckKey => check_key(stage, hostile, worker).await,
    }
}

// ---- the editor ----

async fn edit(stage: &Rc<Stage>, hostile: &Hostile, worker: usize, (edition, entry): (usize, Entry)) {
    let editions = hostile.ground.editions();
    let change = &editions[edition % editions.len()];
    let definition = definition_with(&[&hostile.ground.honest(), &stage.plan.definition(), change]);
    let done = put_definition(stage, worker, definition).await;
    stage.tell(|| format!("edited: {change} {done:?}"));
    let (client_id, secret) = match entry {
        Entry::Nothing => return,
        Entry::SameId => (CLIENT_ID, None),
        // A secret of a public client could not be taken back.
        Entry::WrongSecret if hostile.ground.public => (CLIENT_ID, None),
        Entry::WrongSecret => (CLIENT_ID, Some("made-up")),
        Entry::OtherId => ("another-client", Some("made-up")),
    };
    let done = put_client(stage, hostile, worker, (client_id, secret), None).await;
    stage.tell(|| format!("client: {done:?}"));
}

/// As `PUT /v1/apps/{app}` does.
async fn put_definition(stage: &Rc<Stage>, worker: usize, definition: Value) -> Option<Result<()>> {
    let world = &stage.workers[worker];
    let (core, workspace) = (world.core(), stage.scene.workspace.clone());
    let text = definition.to_string();
    let app = catalogue::read_custom(&text, core.config.egress).unwrap_or_else(|problem| panic!("{problem:?} {text}"));
    stage
        .patiently(world, async move {
            let revision = store::apps::latest_revision(core.db(), &workspace, &app.id).await? + 1;
            let row = AppRow { id: app.id.clone(), revision, definition: text };
            Ok(store::apps::put(core.db(), &workspace, &row, core.now()).await?)
        })
        .await
}

/// As `PUT /v1/apps/{app}/client` does; with a definition, only if that is the current one.
async fn put_client(
    stage: &Rc<Stage>,
    hostile: &Hostile,
    worker: usize,
    (client_id, secret): (&'static str, Option<&str>),
    only_of: Option<String>,
) -> Option<Result<bool>> {
    let world = &stage.workers[worker];
    let (core, workspace, app) = (world.core(), stage.scene.workspace.clone(), stage.scene.app.clone());
    let secret = secret.map_or(NewSecret::Kept, |secret| NewSecret::Is(Secret::new(secret)));
    let begun = world.runtime.now_ms();
    let done = stage
        .patiently(world, async move {
            if let Some(only_of) = only_of {
                let row = store::apps::current(core.db(), &workspace, &app).await?;
                if row.is_none_or(|row| row.definition != only_of) {
                    return Ok(false);
                }
            }
            let registered =
                registry::current(&core, &workspace, &app).await?.ok_or_else(|| Error::not_found("app"))?;
            let way = registered.definition.oauth2().ok_or_else(|| Error::not_found("way"))?;
            let new = NewClient {
                client_id: client_id.to_owned(),
                secret,
                variables: BTreeMap::new(),
                scopes: None,
                secret_expires_at: None,
            };
            client_setup::put(&core, &workspace, &way, new).await.map(|_| true)
        })
        .await;
    hostile.entered.borrow_mut().push((begun, world.runtime.now_ms()));
    done
}

fn replace(stage: &Rc<Stage>, document: Document) {
    let kv = &stage.scene.world.kv;
    let here = document_name();
    let end = stage.scene.world.runtime.now() + 3600;
    let text = match document {
        Document::RogueToken | Document::RogueAll if kv.forgeable.get() => forged(&stage.scene.world, &here, document),
        Document::RogueToken | Document::RogueAll => document.text(),
        Document::OfOtherIssuer => {
            let held = kv.held.borrow();
            let other = held.iter().find(|(key, _)| key.starts_with("discovery/") && **key != here);
            let Some((_, (text, _))) = other else { return };
            text.clone()
        }
    };
    kv.held.borrow_mut().insert(here, (text, end));
}

/// Under which name the program keeps the document of the app's issuer.
fn document_name() -> String {
    format!("discovery/{}", hash(Url::parse(HONEST).unwrap().as_str()))
}

/// What somebody could write who has the key ring, too: as if documents were not sealed.
fn forged(world: &World, key: &str, document: Document) -> String {
    let core = world.core();
    let place = Place { workspace: "", table: "cache", row: key, field: "discovery", generation: 0 };
    let text = format!("{} {}", core.now().unix(), document.text());
    core.config.ring.seal(core.ports.random(), &place, &Secret::new(text)).unwrap()
}

/// Everything is as it was: the app's own definitions, and its client with the secret that the app knows.
pub(crate) async fn put_back(stage: &Rc<Stage>, hostile: &Hostile, worker: usize) {
    let definition = definition_with(&[&hostile.ground.honest(), &stage.plan.definition()]);
    let text = definition.to_string();
    let done = put_definition(stage, worker, definition).await;
    let secret = stage.scene.world.acme.client_secret.borrow().clone();
    let secret = Some(secret.as_str()).filter(|secret| !secret.is_empty());
    let client = put_client(stage, hostile, worker, (CLIENT_ID, secret), Some(text)).await;
    let other = put_definition(stage, worker, keyed(0)).await;
    stage.tell(|| format!("put back: {done:?} {client:?} {other:?}"));
}

// ---- the people ----

/// Somebody begins a flow, goes where they are sent, and comes back.
pub(crate) async fn walk(stage: &Rc<Stage>, worker: usize, connection: usize, (repair, led): (bool, Led)) {
    if !repair {
        return walk_once(stage, worker, connection, (None, led)).await;
    }
    let role = &stage.roles[connection];
    role.begins();
    walk_once(stage, worker, connection, (Some(role.turn()), led)).await;
    role.ends();
}

/// With a turn it is a repair.
async fn walk_once(stage: &Rc<Stage>, worker: usize, connection: usize, (turn, led): (Option<Turn>, Led)) {
    let Some(hostile) = &stage.hostile else { return };
    let (world, role) = (&stage.workers[worker], &stage.roles[connection]);
    let is_careful = connection == 0;
    let realm = if led.to_rogue_realm && !is_careful { "rogue" } else { "main" };
    let mut wish = if turn.is_some() { stage.scene.repair_of(&role.id) } else { stage.scene.wish() };
    let core = world.core();
    if current_definition(stage).pointer("/variables/realm").is_some() {
        wish.variables.insert("realm".into(), realm.to_owned());
    }
    let begun = stage.patiently(world, async move { press(&core, &wish, is_careful, led.reads).await }).await;
    stage.tell(|| format!("walk: {begun:?}"));
    let Some(Ok(url)) = begun else { return };
    let older = stage.scene.world.acme.grants();
    let Some((redirect, returned)) = visit(stage, hostile, role, &url, (is_careful, led, realm)) else { return };
    world.runtime.sleep(led.lingers).await;
    let core = world.core();
    let landed =
        stage.patiently(world, async move { callback(&core, &redirect, returned, &[BROWSER.to_owned()]).await }).await;
    stage.tell(|| format!("back: {landed:?}"));
    let Some(Ok(Landing::Flow(flow))) = landed else { return };
    let core = stage.scene.world.core();
    let read = store::authorizations::get(core.db(), &flow, &[BROWSER.to_owned()]).await;
    let read = read.ok().flatten();
    stage.tell(|| format!("flow: {:?}", read.as_ref().map(|flow| (flow.outcome, flow.error.clone()))));
    if read.is_some_and(|flow| flow.outcome == Outcome::Done) {
        if stage.scene.world.acme.grants() == older {
            hostile.taken_in.set(hostile.taken_in.get() + 1);
        }
        if let Some(turn) = turn {
            role.comes_to_its_end(turn, older, stage.scene.world.acme.renews_since(older, &role.account));
        }
    }
}

/// A person sees the page that names the hosts, and presses the button after a while. One who is careful leaves when the page
/// names a host that is not the app's.
async fn press<P: Ports>(core: &Core<P>, wish: &Wish, is_careful: bool, milliseconds: u32) -> Result<String> {
    let shown = hosts::of_offer(core, &start::offer(core, wish).await?).await?;
    let knows = |hosts: &BTreeSet<String>| hosts.iter().all(|host| HONEST.ends_with(host));
    if is_careful && !(knows(&shown.all) && shown.added.is_empty()) {
        return Err(Error::not_found("wish to go on"));
    }
    core.ports.clock().sleep(milliseconds).await;
    let offer = start::offer(core, wish).await?;
    hosts::require_seen(core, &offer, Some(&shown.mark)).await?;
    start::start_offered(core, (wish, &offer), BROWSER).await
}

fn current_definition(stage: &Stage) -> Value {
    let text = stage.scene.world.db.value("SELECT definition FROM apps WHERE id = 'acme' AND is_current = 1");
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}

/// The person follows the address, and the browser is sent back: to which address of ours, and with what.
fn visit(
    stage: &Stage,
    hostile: &Hostile,
    role: &Role,
    url: &str,
    (is_careful, led, realm): (bool, Led, &str),
) -> Option<(ClientId, Returned)> {
    let mut url = Url::parse(url).unwrap();
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    let definition = definition_of_flow(stage, &query["state"]);
    let places = Places::of(&definition, realm);
    if let Some(challenge) = query.get("code_challenge") {
        hostile.secrets.begins(challenge, &places);
    }
    // The editor's server knows whom it leads astray, and says that every token is theirs.
    role.account.clone_into(&mut hostile.rogue.claims.borrow_mut());
    if is_careful && !places.is_at(HONEST) {
        let finding = format!("{} saw no new host on the page, and goes to another: {places:?}", role.account);
        hostile.secrets.found(finding);
    }
    let discovered = hostile.ground.endpoints == Endpoints::Discovered;
    let app_names_itself = || discovered.then(|| HONEST.to_owned());
    let page = format!("{}/authorize", hostile.ground.server());
    let is_honest = url.as_str().split('?').next() == Some(page.as_str());
    if !is_honest {
        if is_careful {
            return None;
        }
        role.lured.set(true);
        if !led.bounced {
            let iss = definition.pointer("/auth/issuer").and_then(Value::as_str).map(ToOwned::to_owned);
            let code = Some(Secret::new(hostile.rogue.code(&role.account)));
            let returned = Returned { state: query.get("state").cloned(), code, iss, ..Returned::default() };
            return Some((redirect_id(&query["redirect_uri"]), returned));
        }
        let mut bounced = Url::parse(&page).unwrap();
        bounced.query_pairs_mut().extend_pairs(query.iter().map(|(name, value)| match name.as_str() {
            "client_id" => (name.as_str(), CLIENT_ID),
            "redirect_uri" => (name.as_str(), hostile.registered.as_str()),
            _ => (name.as_str(), value.as_str()),
        }));
        url = bounced;
    }
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    // The app knows one client and one redirect URI.
    if query["client_id"] != CLIENT_ID || query["redirect_uri"] != hostile.registered {
        return None;
    }
    let (code, state) = stage.scene.world.acme.consent(url.as_str(), &role.account);
    // Whoever entered no secret for other addresses gave the tokens of a client with a secret for none of them.
    if hostile.ground.public && is_honest {
        hostile.secrets.gives(code.expose(), &places);
    }
    let returned = Returned { state: Some(state), code: Some(code), iss: app_names_itself(), ..Returned::default() };
    Some((redirect_id(&query["redirect_uri"]), returned))
}

/// The definition that a flow began with, as it is stored.
fn definition_of_flow(stage: &Stage, state: &str) -> Value {
    let sql = format!(
        "SELECT a.definition FROM flows f JOIN apps a ON a.workspace_id = f.workspace_id AND a.id = f.app
         AND a.revision = f.app_revision WHERE f.state_hash = '{}'",
        hash(state)
    );
    serde_json::from_str(stage.scene.world.db.value(&sql).as_str().unwrap()).unwrap()
}

fn redirect_id(uri: &str) -> ClientId {
    ClientId::try_from(uri.rsplit('/').next().unwrap().to_owned()).unwrap_or_else(|_| panic!("{uri}"))
}

// ---- keys ----

/// As `PUT /v1/connections/{id}/credential` does.
async fn enter_key(stage: &Rc<Stage>, hostile: &Hostile, worker: usize) {
    let world = &stage.workers[worker];
    let (core, new) = (world.core(), hostile.new_key(world));
    let wish =
        Wish { user: Some(User { id: "ann".into(), name: None }), ..keyed_wish(&stage.scene, Some(&hostile.keyed)) };
    let done = stage
        .patiently(world, async move {
            let offer = start::offer(&core, &wish).await?;
            hosts::require_accepted(&core, &offer, &BTreeSet::new()).await?;
            paste_offered(&core, (&wish, &offer), new, BROWSER, by_program())
                .await
                .map(|flow| (flow.outcome, flow.error))
        })
        .await;
    stage.tell(|| format!("key entered: {done:?}"));
}

async fn check_key(stage: &Rc<Stage>, hostile: &Hostile, worker: usize) {
    let world = &stage.workers[worker];
    let (core, id) = (world.core(), hostile.keyed.clone());
    let outcome = stage.patiently(world, async move { core.ports.refresher().run(&id, Errand::CheckNow).await }).await;
    stage.tell(|| format!("key checked: {outcome:?}"));
    if let Some(Ok(resolved)) = resolve_key(stage, hostile, worker).await {
        judge_key(hostile, &resolved);
    }
}

async fn resolve_key(stage: &Rc<Stage>, hostile: &Hostile, worker: usize) -> Option<Result<Resolved>> {
    let world = &stage.workers[worker];
    let (core, key, id) = (world.core(), stage.scene.presented(), hostile.keyed.clone());
    let answered =
        stage.patiently(world, async move { resolve::resolve(&core, &key, &id, Ask::default().checked()).await }).await;
    Some(answered?.map(|answered| answered.resolved))
}

fn judge_key(hostile: &Hostile, resolved: &Resolved) {
    let key = resolved.issued.credential.fields.get("api_key");
    judge_base_url(hostile, resolved, hostile.secrets.honest());
    if !key.is_some_and(|key| key.starts_with(CANARY)) {
        hostile.secrets.found("a key is answered that nobody entered".into());
    }
}

/// A caller sends the credential to the address that it is told.
fn judge_base_url(hostile: &Hostile, resolved: &Resolved, places: &Places) {
    if let Some(url) = &resolved.issued.request.base_url
        && !places.api.contains(&origin(url))
    {
        hostile
            .secrets
            .found(format!("a secret went where it was not given for: a caller is told to send it to {url}"));
    }
}

/// The same for a token.
pub(crate) fn judge_answer(stage: &Stage, hostile: &Hostile, token: &str, resolved: &Resolved) {
    if !is_rogue(token) {
        let places = hostile.secrets.places_of(&stage.scene.world.acme, token);
        judge_base_url(hostile, resolved, &places);
    }
}

/// In the end, when everything is put back, the key serves.
pub(crate) async fn last_key(stage: &Rc<Stage>, hostile: &Hostile) {
    match resolve_key(stage, hostile, 0).await {
        Some(Ok(resolved)) => judge_key(hostile, &resolved),
        other => hostile.secrets.found(format!("the key works at the app, but the last resolve says {other:?}")),
    }
}
