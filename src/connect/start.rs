//! The way to the app: what a person is asked to allow, and the authorize URL.
//!
//! Owns state, PKCE (RFC 7636, S256 always unless an app is known to break on it) and the redirect
//! URI per client. The person presses a button; nothing here happens by a GET.

use std::rc::Rc;

use oauth2::{PkceCodeChallenge, PkceCodeVerifier};

use crate::app::{App, AppId};
use crate::caller::hash;
use crate::client::Client;
use crate::connection::Connection;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{AuthorizationId, ClientId, ConnectionId, WorkspaceId, random_text};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{Authorization, Outcome};
use crate::store::{self, links::Link};
use crate::workspace::User;

use super::place;

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
    /// The connection to repair; none makes a new one.
    pub connection: Option<ConnectionId>,
    /// Scopes to ask for instead of the usual ones.
    pub scopes: Option<Vec<String>>,
    /// Whose a new connection will be; what a signed-in person may repair.
    pub user: Option<User>,
    /// The link it comes from.
    pub link: Option<Link>,
    /// Where the browser goes at the end.
    pub return_to: Option<String>,
}

/// What the page before the app shows, and the button then does.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The app.
    pub app: Rc<App>,
    /// The revision of its definition.
    pub revision: i64,
    /// The client that will ask.
    pub client: Client,
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
            connection: link.connection.clone(),
            scopes: link.scopes.clone(),
            user: link.user.clone(),
            link: Some(link.clone()),
            return_to: link.return_to.clone(),
        }
    }
}

/// Looks everything up and refuses what can't work, before anybody is sent anywhere.
pub async fn offer<P: Ports>(core: &Core<P>, wish: &Wish) -> Result<Offer> {
    let registered =
        registry::current(core, &wish.workspace, &wish.app).await?.ok_or_else(|| Error::not_found("app"))?;
    let app = registered.app;
    let connection = match &wish.connection {
        None => None,
        Some(id) => Some(repairable(core, wish, id).await?),
    };
    let client = usable_client(core, &wish.workspace, &app).await?;
    let scopes = scopes(&app, &client, connection.as_ref(), wish.scopes.as_deref())?;
    Ok(Offer { app, revision: registered.revision, client, connection, scopes })
}

/// The client that new flows of an app use, if its secret may go where the app is now.
pub async fn usable_client<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, app: &App) -> Result<Client> {
    let client = store::clients::current(core.db(), workspace, app.registration()).await?;
    let client = client.ok_or_else(|| {
        Error::new(
            Code::ClientMissing,
            format!(
                "{} has no OAuth client in this workspace yet. Set it up first: PUT /v1/apps/{}/client.",
                app.name, app.id
            ),
        )
    })?;
    if !client.may_reach(&app.hosts()) {
        return Err(Error::new(
            Code::ClientMissing,
            format!(
                "The addresses of {} have changed since its client secret was entered. Enter it again: PUT /v1/apps/{}/client.",
                app.name, app.id
            ),
        ));
    }
    Ok(client)
}

async fn repairable<P: Ports>(core: &Core<P>, wish: &Wish, id: &ConnectionId) -> Result<Connection> {
    let connection = store::connections::get(core.db(), &wish.workspace, id).await?;
    connection
        .filter(|connection| connection.app == wish.app)
        .filter(|connection| wish.link.is_some() || wish.user.as_ref().is_some_and(|user| connection.belongs_to(user)))
        .ok_or_else(Error::connection_not_found)
}

/// A reconnect asks for all that was asked before, and for what is missing now.
fn scopes(
    app: &App,
    client: &Client,
    connection: Option<&Connection>,
    asked: Option<&[String]>,
) -> Result<Vec<String>> {
    let mut scopes = match (asked, &client.scopes) {
        (Some(asked), _) if connection.is_none() => app.scopes_with(asked),
        (_, Some(own)) => app.scopes_with(own),
        (_, None) => app.default_scopes(),
    };
    let before = connection.map(|connection| connection.scopes_requested.as_slice()).unwrap_or_default();
    for scope in before.iter().chain(asked.unwrap_or_default()) {
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

/// Where the app sends people back for a client: its own address per client, so that no other
/// client's answer can be taken for this one's (RFC 9700, 4.4.2).
pub fn redirect_uri<P: Ports>(core: &Core<P>, client: &ClientId) -> String {
    core.config.public_url.at(&format!("/oauth/callback/{client}"))
}

/// Begins a flow for a browser's session and answers the address at the app.
pub async fn start<P: Ports>(core: &Core<P>, wish: &Wish, session_hash: &str) -> Result<String> {
    let offer = offer(core, wish).await?;
    let at = registry::endpoints(core, &offer.app).await?;
    let now = core.now();
    let id = AuthorizationId::random(core.ports.random())?;
    let state = Secret::new(random_text::<32>(core.ports.random())?);
    let verifier =
        if offer.app.oauth2().pkce { Some(Secret::new(random_text::<32>(core.ports.random())?)) } else { None };
    let sealed_verifier = match &verifier {
        None => None,
        Some(verifier) => Some(core.config.ring.seal(
            core.ports.random(),
            &place(&wish.workspace, &id, "sealed_verifier"),
            verifier,
        )?),
    };
    let url = authorize_url(core, &offer, &at.authorize_url, &state, verifier.as_ref());
    let flow = Authorization {
        id,
        session_hash: session_hash.to_owned(),
        workspace: wish.workspace.clone(),
        app: offer.app.id.clone(),
        app_revision: offer.revision,
        client: offer.client.id,
        generation: offer.connection.as_ref().map(|connection| connection.generation),
        connection: wish.connection.clone(),
        link: wish.link.as_ref().map(|link| link.id.clone()),
        user: wish.user.clone(),
        scopes: offer.scopes,
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

/// RFC 6749, 4.1.1, and RFC 7636, 4.3.
fn authorize_url<P: Ports>(
    core: &Core<P>,
    offer: &Offer,
    at: &crate::egress::Address,
    state: &Secret,
    verifier: Option<&Secret>,
) -> String {
    let oauth = offer.app.oauth2();
    let client = oauth2::basic::BasicClient::new(oauth2::ClientId::new(offer.client.client_id.clone()))
        .set_auth_uri(oauth2::AuthUrl::from_url(at.url().clone()));
    let mut request = client
        .authorize_url(|| oauth2::CsrfToken::new(state.expose().to_owned()))
        .add_extra_param("redirect_uri", redirect_uri(core, &offer.client.id));
    if !offer.scopes.is_empty() {
        request = request.add_extra_param("scope", offer.scopes.join(&oauth.scope_separator));
    }
    if let Some(verifier) = verifier {
        let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
        request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    }
    let label = offer
        .connection
        .as_ref()
        .and_then(|connection| connection.account.as_ref())
        .map(|account| account.label.clone());
    if let Some(label) = label.filter(|_| oauth.login_hint) {
        request = request.add_extra_param("login_hint", label);
    }
    for (name, value) in &oauth.authorize_params {
        request = request.add_extra_param(name.clone(), value.clone());
    }
    request.url().0.to_string()
}
