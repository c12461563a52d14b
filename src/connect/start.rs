//! The way to the app: what a person is asked to allow, and the authorize URL.
//!
//! Owns which way to connect is walked and what must be known for it, state, PKCE (RFC 7636, S256 always unless an app is known to break on it) and the redirect
//! URI per client. The person presses a button; nothing here happens by a GET.

use std::collections::BTreeMap;
use std::rc::Rc;

use oauth2::{PkceCodeChallenge, PkceCodeVerifier};

use crate::app::{
    App, AppId, Definition, Kind, Origin, Resolved, Values, WayId, fill_all, read_variables, variable_at,
};
use crate::authorize;
use crate::caller::hash;
use crate::client::Client;
use crate::connection::{Connection, Status};
use crate::core::Core;
use crate::destinations::Destinations;
use crate::egress::Address;
use crate::error::{Code, Error, FieldError, Result};
use crate::frozen;
use crate::ids::{AuthorizationId, ClientId, ConnectionId, WorkspaceId, random_state, random_text};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{Authorization, Outcome};
use crate::store::{self, links::Link};
use crate::workspace::{Role, User};

use super::{client_setup, place};

/// Seconds a person has at the app.
pub const FLOW_TIME: i64 = 600;
/// Scopes a request may name.
const MOST_SCOPES: usize = 200;

/// What is to be connected, and for whom.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The app.
    pub app: AppId,
    /// Which of its ways to connect; none takes that of the connection to repair, or the recommended one.
    pub way: Option<WayId>,
    /// What the app's addresses depend on, as far as the person gives it.
    pub variables: BTreeMap<String, String>,
    /// The connection to repair; none makes a new one.
    pub connection: Option<ConnectionId>,
    /// Scopes to ask for instead of the usual ones; for a repair, beside those it had.
    pub scopes: Option<Vec<String>>,
    /// Whether a repair asks for these scopes and no others: a person has ticked them.
    pub exactly: bool,
    /// Whose a new connection will be; what a signed-in person may repair.
    pub user: Option<User>,
    /// The role of that person. A program that a key let through has all connections, as an admin.
    pub role: Role,
    /// The link it comes from.
    pub link: Option<Link>,
    /// Where the browser goes at the end.
    pub return_to: Option<String>,
}

/// What the page before the app shows, and the button then does.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The app, by the way that was chosen.
    pub app: Rc<App>,
    /// All of it.
    pub definition: Rc<Definition>,
    /// The revision of its definition.
    pub revision: i64,
    /// The client that will ask; none where the person enters the credential.
    pub client: Option<Client>,
    /// The connection to repair.
    pub connection: Option<Connection>,
    /// What will be asked for.
    pub scopes: Vec<String>,
}

impl Wish {
    /// What a link asks for.
    pub fn of_link(link: &Link) -> Self {
        Self {
            workspace: link.workspace.clone(),
            app: link.app.clone(),
            way: link.way.clone(),
            variables: BTreeMap::new(),
            connection: link.connection.clone(),
            scopes: link.scopes.clone(),
            exactly: false,
            user: link.user.clone(),
            role: Role::Member,
            link: Some(link.clone()),
            return_to: link.return_to.clone(),
        }
    }
}

/// Looks everything up and refuses what can't work, before anybody is sent anywhere.
pub async fn offer<P: Ports>(core: &Core<P>, wish: &Wish) -> Result<Offer> {
    let registered =
        registry::current(core, &wish.workspace, &wish.app).await?.ok_or_else(|| Error::not_found("app"))?;
    let definition = registered.definition;
    let connection = match &wish.connection {
        None => None,
        Some(id) => Some(repairable(core, wish, id).await?),
    };
    let (app, client) = way(core, wish, &definition, connection.as_ref()).await?;
    // What a person enters has the permissions that it has: nothing can be asked for.
    let scopes = if app.kind.has_tokens() {
        scopes(&app, client.as_ref(), connection.as_ref().filter(|_| !wish.exactly), wish.scopes.as_deref())?
    } else {
        vec![]
    };
    Ok(Offer { app, definition, revision: registered.revision, client, connection, scopes })
}

/// The way that was asked for; else that of the connection to repair; else the recommended one, or the first that
/// can be walked here: one that needs a client which nobody has set up can't.
async fn way<P: Ports>(
    core: &Core<P>,
    wish: &Wish,
    definition: &Definition,
    connection: Option<&Connection>,
) -> Result<(Rc<App>, Option<Client>)> {
    let wished = wish.way.as_ref();
    let before = connection.map(|connection| &connection.way).filter(|way| definition.way(Some(way)).is_some());
    if let Some(id) = wished.or(before) {
        let app = definition.way(Some(id)).ok_or_else(|| Error::not_found("way to connect this app"))?;
        let client = client_of(core, &wish.workspace, &app).await?;
        return Ok((app, client));
    }
    let mut refused = None;
    for app in definition.ways() {
        match client_of(core, &wish.workspace, app).await {
            Ok(client) => return Ok((Rc::clone(app), client)),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    Err(refused.unwrap_or_else(|| Error::not_found("way to connect this app")))
}

/// The client that a way needs, if it needs one.
async fn client_of<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, app: &App) -> Result<Option<Client>> {
    if app.kind.is_pasted() {
        return Ok(None);
    }
    usable_client(core, workspace, app).await.map(Some)
}

/// All that a way's addresses depend on before the app has been asked: what the client was set up with, what the
/// connection had, and what the person gives.
pub fn variables(offer: &Offer, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut known = offer.client.as_ref().map(|client| client.variables.clone()).unwrap_or_default();
    let had = offer.connection.as_ref().map(|connection| &connection.variables);
    let asked = |name: &String| offer.app.variables.get(name).is_some_and(|one| one.from == Origin::Person);
    let had = had.into_iter().flatten().filter(|(name, _)| asked(name));
    let persons = had.chain(given).map(|(name, value)| (name.clone(), value.clone())).collect();
    known.extend(read_variables(&offer.app, &Origin::Person, &persons).map_err(invalid_fields)?);
    Ok(known)
}

/// The same for tokens from elsewhere: whoever has them also has what came with them, and gives that, too.
pub(super) fn imported_variables(offer: &Offer, given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let told = |name: &String| {
        let variable = offer.app.variables.get(name)?;
        (!matches!(variable.from, Origin::Person | Origin::Client)).then_some(variable)
    };
    let mut came = BTreeMap::new();
    let mut persons = BTreeMap::new();
    for (name, value) in given {
        match told(name).map(|variable| offer.app.read_variable(name, variable, value)) {
            None => drop(persons.insert(name.clone(), value.clone())),
            Some(Ok(value)) => drop(came.insert(name.clone(), value)),
            Some(Err(problem)) => return Err(Error::invalid(&variable_at(name), problem)),
        }
    }
    came.extend(variables(offer, &persons)?);
    Ok(came)
}

/// What a reader of entered values found, as a refusal.
pub fn invalid_fields(problems: Vec<crate::app::FieldError>) -> Error {
    let one = |problem: crate::app::FieldError| FieldError { field: problem.field, problem: problem.problem };
    Error::invalid_fields(problems.into_iter().map(one).collect())
}

/// The client that new flows of an app use, if its secret may go where the app is now.
pub async fn usable_client<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, app: &App) -> Result<Client> {
    let client = store::clients::current(core.db(), workspace, app.registration()).await?;
    let client = client.ok_or_else(|| {
        Error::new(
            Code::ClientMissing,
            format!("{} has no OAuth client in this workspace yet. Set it up first: {}.", app.name, client_route(app)),
        )
        .hint(|h| {
            let way = app.way_name.as_ref().map(|way| format!(" ({way})")).unwrap_or_default();
            h.for_people = Some(format!("{}{way} can't be connected yet: it must be set up first.", app.name));
            h.setup = Some(setup_page(app));
        })
    })?;
    require_serving(core, app, &client).await?;
    Ok(client)
}

/// Refuses a client that was set up for other addresses than the app has now.
pub(super) async fn require_serving<P: Ports>(core: &Core<P>, app: &App, client: &Client) -> Result<()> {
    if client_setup::surely_serves(core, client, app).await? {
        return Ok(());
    }
    Err(Error::new(
        Code::ClientMissing,
        format!(
            "The addresses of {} have changed since its client secret was entered. Enter it again: {}.",
            app.name,
            client_route(app)
        ),
    )
    .hint(|h| {
        let what = format!("{} can't be connected: its addresses have changed since it was set up.", app.name);
        h.for_people = Some(format!("{what} Its client secret must be entered again."));
        h.setup = Some(setup_page(app));
    }))
}

/// The page that tells a person how the client of a way is set up.
pub fn setup_page(app: &App) -> String {
    format!("/apps/{}/setup?way={}", app.id, app.way)
}

/// Where a program sets up the client of a way.
pub fn client_route(app: &App) -> String {
    format!("PUT {}", client_path(app, ""))
}

/// The path of an app's client, and below it of what is done with it: `/test`.
pub fn client_path(app: &App, what: &str) -> String {
    let further = app.registration().contains(':');
    let way = if further { format!("?way={}", app.way) } else { String::new() };
    format!("/v1/apps/{}/client{what}{way}", app.id)
}

async fn repairable<P: Ports>(core: &Core<P>, wish: &Wish, id: &ConnectionId) -> Result<Connection> {
    let may = |connection: &Connection| {
        let person = wish.user.as_ref();
        wish.link.is_some()
            || wish.role == Role::Admin
            || person.is_some_and(|user| authorize::changes(user, wish.role, connection))
    };
    let connection = store::connections::get(core.db(), &wish.workspace, id).await?;
    connection.filter(|one| one.app == wish.app && may(one)).ok_or_else(Error::connection_not_found)
}

/// A reconnect asks for all that was asked before, and for what is missing now: not for what the person left out then.
fn scopes(
    app: &App,
    client: Option<&Client>,
    connection: Option<&Connection>,
    asked: Option<&[String]>,
) -> Result<Vec<String>> {
    let before = connection.map(|connection| connection.scopes_requested.as_slice()).unwrap_or_default();
    let mut scopes = match (asked, client.and_then(|client| client.scopes.as_ref())) {
        _ if !before.is_empty() => app.scopes_with(before),
        (Some(asked), _) if connection.is_none() => app.scopes_with(asked),
        (_, Some(own)) => app.scopes_with(own),
        (_, None) => app.default_scopes(),
    };
    for scope in asked.unwrap_or_default() {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    fit(&scopes)?;
    Ok(scopes)
}

/// Scopes as they may stand in a request (RFC 6749, 3.3), and not too many.
pub fn fit(scopes: &[String]) -> Result<()> {
    let fit = |scope: &String| !scope.is_empty() && scope.len() <= 300 && scope.bytes().all(|b| b.is_ascii_graphic());
    if scopes.len() > MOST_SCOPES || !scopes.iter().all(fit) {
        return Err(Error::invalid("scopes", "must be at most 200 texts of visible ASCII without spaces."));
    }
    Ok(())
}

/// Where the app sends people back: an address of its own for each authorization server, so that no other server's answer
/// can be taken for this one's (RFC 9700, 4.4.2).
pub fn redirect_uri<P: Ports>(core: &Core<P>, redirect_id: &ClientId) -> String {
    core.config.public_url.at(&format!("/oauth/callback/{redirect_id}"))
}

/// Begins a flow for a browser's session and answers the address at the app.
pub async fn start<P: Ports>(core: &Core<P>, wish: &Wish, session_hash: &str) -> Result<String> {
    start_offered(core, (wish, &offer(core, wish).await?), session_hash).await
}

/// The same with what was offered: whoever has looked at its hosts must get that, and no later edition of it.
pub async fn start_offered<P: Ports>(
    core: &Core<P>,
    (wish, offer): (&Wish, &Offer),
    session_hash: &str,
) -> Result<String> {
    if offer.app.kind != Kind::OAuth2 {
        return Err(Error::invalid("way", "is entered here, not at the app: use the form."));
    }
    let variables = variables(offer, &wish.variables)?;
    let at = registry::endpoints(core, &offer.app, &variables).await?;
    let now = core.now();
    let id = AuthorizationId::random(core.ports.random(), wish.workspace.shard())?;
    let state = state(core, &wish.workspace, &offer.app)?;
    let scopes = with_openid(&offer.app, &at, &offer.scopes);
    let verifier =
        if offer.app.oauth2()?.pkce { Some(Secret::new(random_text::<32>(core.ports.random())?)) } else { None };
    let sealed_verifier = match &verifier {
        None => None,
        Some(verifier) => Some(core.config.ring.seal(
            core.ports.random(),
            &place(&wish.workspace, &id, frozen::PKCE_VERIFIER),
            verifier,
        )?),
    };
    let client = offer.client.as_ref().ok_or_else(|| Error::internal("a consent without a client"))?;
    let authorize = at.authorize_url.as_ref().ok_or_else(|| Error::internal("a consent without an address"))?;
    let url = {
        let live = offer.connection.as_ref().filter(|connection| connection.status == Status::Connected);
        let granted = live.map(|connection| connection.scopes_granted.as_slice());
        let account = offer.connection.as_ref().and_then(|connection| connection.account.as_ref());
        let asks = Asks {
            client_id: &client.client_id,
            redirect_uri: &redirect_uri(core, &client.redirect_id),
            state: &state,
            verifier: verifier.as_ref(),
            scopes: &scopes,
            granted,
            account: account.map(|account| account.label.as_str()),
            variables: &variables,
        };
        authorize_url(&offer.app, authorize, &asks)?
    };
    let flow = Authorization {
        id,
        session_hash: session_hash.to_owned(),
        workspace: wish.workspace.clone(),
        app: offer.app.id.clone(),
        app_revision: offer.revision,
        way: offer.app.way.clone(),
        destinations: offer.app.keeps_destinations().then(|| Destinations::of_grant(&offer.app, Some(&at), &variables)),
        variables,
        client: Some(client.id.clone()),
        generation: offer.connection.as_ref().map(|connection| connection.generation),
        connection: wish.connection.clone(),
        link: wish.link.as_ref().map(|link| link.id.clone()),
        user: wish.user.clone(),
        scopes,
        issuer: at.issuer,
        iss_promised: at.iss_promised,
        sealed_verifier,
        return_to: wish.return_to.clone(),
        outcome: Outcome::Pending,
        error: None,
        sealed_grant: None,
        pending: None,
        used_at: None,
        created_at: now,
        expires_at: now.plus(FLOW_TIME),
    };
    store::authorizations::insert(core.db(), &flow, &hash(state.expose())).await?;
    Ok(url)
}

fn state<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, app: &App) -> Result<Secret> {
    Ok(Secret::new(random_state(core.ports.random(), workspace.shard(), app.oauth2()?.state_length)?))
}

/// Whose account it is, is asked at the issuer's userinfo, which knows nobody without `openid` (`OpenID` Connect Core 1.0, 5.3).
fn with_openid(app: &App, at: &Resolved, scopes: &[String]) -> Vec<String> {
    const OPENID: &str = "openid";
    let needs = app.identity.is_none() && at.identity.is_some() && !scopes.iter().any(|scope| scope == OPENID);
    needs.then(|| OPENID.to_owned()).into_iter().chain(scopes.iter().cloned()).collect()
}

/// What an authorize URL is made of, beside the app and its address.
#[derive(Debug, Clone, Copy)]
pub struct Asks<'a> {
    /// The app's id of the client.
    pub client_id: &'a str,
    /// Where the app sends the person back.
    pub redirect_uri: &'a str,
    /// What the answer must bring back.
    pub state: &'a Secret,
    /// PKCE's secret, of which the hash is sent.
    pub verifier: Option<&'a Secret>,
    /// What is asked for.
    pub scopes: &'a [String],
    /// What the connection to repair has been granted and still has; none for a new one, and for one whose grant is gone.
    pub granted: Option<&'a [String]>,
    /// The label of the account to repair, as far as it is known.
    pub account: Option<&'a str>,
    /// What parameters depend on.
    pub variables: &'a BTreeMap<String, String>,
}

/// RFC 6749, 4.1.1, and RFC 7636, 4.3.
pub fn authorize_url(app: &App, at: &Address, asks: &Asks<'_>) -> Result<String> {
    let oauth = app.oauth2()?;
    let values = Values::new().with_all(asks.variables);
    let redirect_uri = oauth.redirect_uri(asks.redirect_uri, &values);
    let redirect_uri = redirect_uri.map_err(|problem| registry::misfit(app, &problem))?;
    let client = oauth2::basic::BasicClient::new(oauth2::ClientId::new(asks.client_id.to_owned()))
        .set_auth_uri(oauth2::AuthUrl::from_url(at.url().clone()));
    let mut request = client
        .authorize_url(|| oauth2::CsrfToken::new(asks.state.expose().to_owned()))
        .add_extra_param("redirect_uri", redirect_uri);
    let covered = |scope: &String| asks.granted.is_some_and(|granted| app.covers(granted, scope));
    let more = asks.granted.is_some() && !asks.scopes.iter().all(covered);
    let adds = more && !oauth.more_scopes_params.is_empty();
    let required = |id: &String| app.scopes.iter().any(|scope| scope.id == *id && scope.required);
    // An app that adds to what it granted before is asked for the rest only: that is what the person sees there.
    let asked: Vec<_> = asks.scopes.iter().filter(|id| !adds || required(id) || !covered(id)).cloned().collect();
    let further = oauth.tokens.iter().map(|(name, token)| (Some(name.as_str()), token.scope_param.clone()));
    for (token, parameter) in [(None, "scope".to_owned())].into_iter().chain(further) {
        let scopes = oauth.scopes_of(token, &asked);
        if !scopes.is_empty() {
            request = request.add_extra_param(parameter, scopes.join(&oauth.scope_separator));
        }
    }
    if let Some(verifier) = asks.verifier {
        let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
        request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    }
    if let Some(label) = asks.account.filter(|_| oauth.login_hint) {
        request = request.add_extra_param("login_hint", label.to_owned());
    }
    let extra = [Some(&oauth.authorize_params), Some(&oauth.more_scopes_params).filter(|_| more)];
    for params in extra.into_iter().flatten() {
        let filled = fill_all(params, &values).map_err(|problem| registry::misfit(app, &problem))?;
        for (name, value) in filled {
            request = request.add_extra_param(name, value);
        }
    }
    Ok(request.url().0.to_string())
}
