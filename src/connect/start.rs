//! The way to the app: what a person is asked to allow, and the authorize URL.
//!
//! Owns which way to connect is walked and what must be known for it, state, and PKCE (RFC 7636, S256 always unless an app
//! is known to break on it). The person presses a button; nothing here happens by a GET.

use std::collections::BTreeMap;
use std::rc::Rc;

use oauth2::{PkceCodeChallenge, PkceCodeVerifier};

use crate::app::{
    App, AppId, AuthMethod, AuthMethodId, CredentialKind, ResolvedEndpoints, TemplateValues, VariableSource,
    fill_templates, read_variables, variable_path,
};
use crate::authorize;
use crate::caller::hash_secret;
use crate::client::Client;
use crate::connection::{Connection, ConnectionSettings, ConnectionStatus};
use crate::context::Context;
use crate::destinations::Destinations;
use crate::egress::EgressUrl;
use crate::error::{Error, ErrorCode, Result};
use crate::frozen;
use crate::gather::Gather as _;
use crate::ids::{ConnectionId, FlowId, WorkspaceId, random_state, random_text};
use crate::ports::Ports;
use crate::registry;
use crate::secret::Secret;
use crate::store::authorizations::{Flow, FlowOutcome};
use crate::store::{self, links::Link};
use crate::workspace::{Role, User};

use super::{client_setup, flow_seal_context};

/// Seconds a person has at the app.
pub const FLOW_TTL: i64 = 600;
/// Scopes a request may name.
const MAX_SCOPES: usize = 200;

/// What is to be connected, and for whom.
#[derive(Debug, Clone)]
pub struct ConnectRequest {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The app.
    pub app: AppId,
    /// Which of its ways to connect; none takes that of the connection to repair, or the recommended one.
    pub auth_method: Option<AuthMethodId>,
    /// What the app's addresses depend on, as far as the person gives it.
    pub variables: BTreeMap<String, String>,
    /// The connection to repair; none makes a new one.
    pub connection: Option<ConnectionId>,
    /// Scopes to ask for instead of the usual ones; for a repair, beside those it had.
    pub scopes: Option<Vec<String>>,
    /// Whether a repair asks for these scopes and no others: a person has ticked them.
    pub exact_scopes: bool,
    /// Whose a new connection will be; what a signed-in person may repair.
    pub user: Option<User>,
    /// What a new connection is given beside its grant.
    pub settings: ConnectionSettings,
    /// The role of that person. A program that a key let through has all connections, as an admin.
    pub role: Role,
    /// The link it comes from.
    pub link: Option<Link>,
    /// The last page of the browser.
    pub return_to: Option<String>,
}

/// What the page before the app shows, and the button then does.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The app, by the way that was chosen.
    pub auth_method: Rc<AuthMethod>,
    /// All of it.
    pub app: Rc<App>,
    /// The revision of its definition.
    pub revision: i64,
    /// The client that will ask; none where the person enters the credential.
    pub client: Option<Client>,
    /// The connection to repair.
    pub connection: Option<Connection>,
    /// What will be asked for.
    pub scopes: Vec<String>,
    /// The recommended auth method, where nobody chose one and it can't be used. The person is told so, and chooses.
    pub unusable: Option<Rc<AuthMethod>>,
}

impl ConnectRequest {
    /// What a link asks for.
    pub fn of_link(link: &Link) -> Self {
        Self {
            workspace: link.workspace.clone(),
            app: link.app.clone(),
            auth_method: link.auth_method.clone(),
            variables: BTreeMap::new(),
            connection: link.connection.clone(),
            scopes: link.scopes.clone(),
            exact_scopes: false,
            user: link.user.clone(),
            settings: link.settings,
            role: Role::Member,
            link: Some(link.clone()),
            return_to: link.return_to.clone(),
        }
    }
}

/// Looks everything up and refuses what can't work, before anybody is sent anywhere.
pub async fn prepare_options<P: Ports>(context: &Context<P>, request: &ConnectRequest) -> Result<ConnectOptions> {
    let load_connection = async {
        match &request.connection {
            None => Ok(None),
            Some(id) => load_reconnectable(context, request, id).await.map(Some),
        }
    };
    let load_app = registry::require_current_app(context, &request.workspace, &request.app);
    let (registered, connection) = context.at_once(load_app, load_connection).await;
    let (registered, connection) = (registered?, connection?);
    let app = registered.app;
    let ChosenAuthMethod { auth_method, client, unusable } =
        choose_auth_method(context, request, &app, connection.as_ref()).await?;
    // What a person enters has the permissions that it has: nothing can be asked for.
    let scopes = if auth_method.kind.uses_oauth_server() {
        scopes_to_request(
            &auth_method,
            client.as_ref(),
            connection.as_ref().filter(|_| !request.exact_scopes),
            request.scopes.as_deref(),
        )?
    } else {
        vec![]
    };
    Ok(ConnectOptions { auth_method, app, revision: registered.revision, client, connection, scopes, unusable })
}

/// The auth method of a request.
struct ChosenAuthMethod {
    auth_method: Rc<AuthMethod>,
    client: Option<Client>,
    unusable: Option<Rc<AuthMethod>>,
}

/// The way that was asked for; else that of the connection to repair; else the recommended one. Where that needs a client
/// which nobody has set up, the first other one that can be used, with a word about it.
async fn choose_auth_method<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    app: &App,
    connection: Option<&Connection>,
) -> Result<ChosenAuthMethod> {
    let wished = request.auth_method.as_ref();
    let before = connection
        .map(|connection| &connection.auth_method)
        .filter(|auth_method| app.auth_method(Some(auth_method)).is_some());
    if let Some(id) = wished.or(before) {
        let auth_method = app.auth_method(Some(id)).ok_or_else(|| Error::not_found("way to connect this app"))?;
        let client = required_client(context, &request.workspace, &auth_method).await?;
        return Ok(ChosenAuthMethod { auth_method, client, unusable: None });
    }
    let mut refused: Option<(Rc<AuthMethod>, Error)> = None;
    for auth_method in app.auth_methods() {
        match required_client(context, &request.workspace, auth_method).await {
            Ok(client) => {
                let unusable = refused.map(|(recommended, _)| recommended);
                return Ok(ChosenAuthMethod { auth_method: Rc::clone(auth_method), client, unusable });
            }
            Err(error) if error.code == ErrorCode::ClientMissing => {
                refused = refused.or(Some((Rc::clone(auth_method), error)));
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused.map_or_else(|| Error::not_found("way to connect this app"), |(_, error)| error))
}

/// The client that a way needs, if it needs one.
async fn required_client<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
) -> Result<Option<Client>> {
    if auth_method.kind.is_manual() {
        return Ok(None);
    }
    load_usable_client(context, workspace, auth_method).await.map(Some)
}

/// All that a way's addresses depend on before the app has been asked: what the client was set up with, what the
/// connection had, and what the person gives.
pub fn collect_variables(
    options: &ConnectOptions,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let mut known = options.client.as_ref().map(|client| client.variables.clone()).unwrap_or_default();
    let had = options.connection.as_ref().map(|connection| &connection.variables);
    let asked =
        |name: &String| options.auth_method.variables.get(name).is_some_and(|one| one.source == VariableSource::Person);
    let had = had.into_iter().flatten().filter(|(name, _)| asked(name));
    let persons = had.chain(given).map(|(name, value)| (name.clone(), value.clone())).gather();
    known.extend(
        read_variables(&options.auth_method, &VariableSource::Person, &persons).map_err(Error::from_field_problems)?,
    );
    Ok(known)
}

/// The same for tokens from elsewhere: whoever has them also has what came with them, and gives that, too.
pub(super) fn collect_imported_variables(
    options: &ConnectOptions,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>> {
    let told = |name: &String| {
        let variable = options.auth_method.variables.get(name)?;
        (!matches!(variable.source, VariableSource::Person | VariableSource::Client)).then_some(variable)
    };
    let mut came = BTreeMap::new();
    let mut persons = BTreeMap::new();
    for (name, value) in given {
        match told(name).map(|variable| options.auth_method.read_variable(name, variable, value)) {
            None => drop(persons.insert(name.clone(), value.clone())),
            Some(Ok(value)) => drop(came.insert(name.clone(), value)),
            Some(Err(problem)) => return Err(Error::invalid_field(&variable_path(name), problem)),
        }
    }
    came.extend(collect_variables(options, &persons)?);
    Ok(came)
}

/// The client that new flows of an app use, if its secret may go where the app is now.
pub async fn load_usable_client<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    auth_method: &AuthMethod,
) -> Result<Client> {
    let client = store::clients::get_current(context.db(), workspace, auth_method.registration()).await?;
    let client = client.ok_or_else(|| {
        Error::new(
            ErrorCode::ClientMissing,
            format!(
                "{} has no OAuth client in this workspace yet. Set it up first: {}.",
                auth_method.app_name,
                client_setup_route(auth_method)
            ),
        )
        .with_hints(|h| {
            let way = auth_method.method_name.as_ref().map(|way| format!(" ({way})")).unwrap_or_default();
            h.for_people =
                Some(format!("{}{way} can't be connected yet: it must be set up first.", auth_method.app_name));
            h.setup = Some(setup_page_path(auth_method));
            h.setup_url = Some(context.config.public_url.at(&setup_page_path(auth_method)));
        })
    })?;
    require_set_up_client(context, auth_method, &client).await?;
    Ok(client)
}

/// Refuses a client that was set up for other addresses than the app has now.
pub(super) async fn require_set_up_client<P: Ports>(
    context: &Context<P>,
    auth_method: &AuthMethod,
    client: &Client,
) -> Result<()> {
    if client_setup::verify_set_up_for(context, client, auth_method).await? {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::ClientMissing,
        format!(
            "The addresses of {} have changed since its client secret was entered. Enter it again: {}.",
            auth_method.app_name,
            client_setup_route(auth_method)
        ),
    )
    .with_hints(|h| {
        let what =
            format!("{} can't be connected: its addresses have changed since it was set up.", auth_method.app_name);
        h.for_people = Some(format!("{what} Its client secret must be entered again."));
        h.setup = Some(setup_page_path(auth_method));
        h.setup_url = Some(context.config.public_url.at(&setup_page_path(auth_method)));
    }))
}

/// The page that tells a person how the client of a way is set up.
pub fn setup_page_path(auth_method: &AuthMethod) -> String {
    format!("/apps/{}/setup?auth_method={}", auth_method.app_id, auth_method.method_id)
}

/// Where a program sets up the client of a way.
pub fn client_setup_route(auth_method: &AuthMethod) -> String {
    format!("PUT {}", client_path(auth_method, ""))
}

/// The path of an app's client, and below it of what is done with it: `/test`.
pub fn client_path(auth_method: &AuthMethod, what: &str) -> String {
    let further = auth_method.registration().contains(':');
    let way = if further { format!("?auth_method={}", auth_method.method_id) } else { String::new() };
    format!("/v1/apps/{}/client{what}{way}", auth_method.app_id)
}

async fn load_reconnectable<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    id: &ConnectionId,
) -> Result<Connection> {
    let may = |connection: &Connection| {
        let person = request.user.as_ref();
        request.link.is_some()
            || request.role == Role::Admin
            || person.is_some_and(|user| authorize::user_may_change(user, request.role, connection))
    };
    let connection = store::connections::get(context.db(), &request.workspace, id).await?;
    connection.filter(|one| one.app == request.app && may(one)).ok_or_else(Error::connection_not_found)
}

/// A reconnect asks for all that was asked before, and for what is missing now: not for what the person left out then.
fn scopes_to_request(
    auth_method: &AuthMethod,
    client: Option<&Client>,
    connection: Option<&Connection>,
    asked: Option<&[String]>,
) -> Result<Vec<String>> {
    let before = connection.map(|connection| connection.scopes_requested.as_slice()).unwrap_or_default();
    let mut scopes = match (asked, client.and_then(|client| client.scopes.as_ref())) {
        _ if !before.is_empty() => auth_method.scopes_to_request(before),
        (Some(asked), _) if connection.is_none() => auth_method.scopes_to_request(asked),
        (_, Some(own)) => auth_method.scopes_to_request(own),
        (_, None) => auth_method.default_scopes(),
    };
    for scope in asked.unwrap_or_default() {
        if !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    validate_scopes(&scopes)?;
    Ok(scopes)
}

/// Scopes as they may stand in a request (RFC 6749, 3.3), and not too many.
pub fn validate_scopes(scopes: &[String]) -> Result<()> {
    let fit = |scope: &String| !scope.is_empty() && scope.len() <= 300 && scope.bytes().all(|b| b.is_ascii_graphic());
    if scopes.len() > MAX_SCOPES || !scopes.iter().all(fit) {
        return Err(Error::invalid_field("scopes", "must be at most 200 texts of visible ASCII without spaces."));
    }
    Ok(())
}

/// Begins a flow for a browser's session and answers the address at the app.
pub async fn begin_flow<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    session_hash: &str,
) -> Result<String> {
    begin_flow_with_options(context, request, &prepare_options(context, request).await?, session_hash).await
}

/// The same with what was offered: whoever has looked at its hosts must get that, and no later edition of it.
pub async fn begin_flow_with_options<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
    session_hash: &str,
) -> Result<String> {
    if options.auth_method.kind != CredentialKind::OAuth2 {
        return Err(Error::invalid_field("auth_method", "has no consent at the app: use the form."));
    }
    let variables = collect_variables(options, &request.variables)?;
    let endpoints = registry::load_endpoints(context, &options.auth_method, &variables).await?;
    let now = context.now();
    let id = FlowId::random(context.ports.random(), request.workspace.shard())?;
    let state = draw_state(context, &request.workspace, &options.auth_method)?;
    let scopes = with_openid(&options.auth_method, &endpoints, &options.scopes);
    let verifier = if options.auth_method.require_oauth_server()?.pkce {
        Some(Secret::new(random_text::<32>(context.ports.random())?))
    } else {
        None
    };
    let sealed_verifier = match &verifier {
        None => None,
        Some(verifier) => Some(context.config.key_ring.seal(
            context.ports.random(),
            &flow_seal_context(&request.workspace, &id, frozen::PKCE_VERIFIER),
            verifier,
        )?),
    };
    let client = options.client.as_ref().ok_or_else(|| Error::internal("a consent without a client"))?;
    let authorize = endpoints.authorize_url.as_ref().ok_or_else(|| Error::internal("a consent without an address"))?;
    let url = {
        let live = options.connection.as_ref().filter(|connection| connection.status == ConnectionStatus::Connected);
        let granted = live.map(|connection| connection.scopes_granted.as_slice());
        let account = options.connection.as_ref().and_then(|connection| connection.account.as_ref());
        let params = AuthorizeParams {
            client_id: &client.client_id,
            redirect_uri: &context.config.public_url.redirect_uri(&client.redirect_id),
            state: &state,
            verifier: verifier.as_ref(),
            scopes: &scopes,
            granted,
            account: account.map(|account| account.label.as_str()),
            variables: &variables,
        };
        authorize_url(&options.auth_method, authorize, &params)?
    };
    let flow = Flow {
        id,
        session_hash: session_hash.to_owned(),
        workspace: request.workspace.clone(),
        app: options.auth_method.app_id.clone(),
        app_revision: options.revision,
        auth_method: options.auth_method.method_id.clone(),
        destinations: options
            .auth_method
            .stores_destinations()
            .then(|| Destinations::for_grant(&options.auth_method, Some(&endpoints), &variables)),
        variables,
        client: Some(client.id.clone()),
        generation: options.connection.as_ref().map(|connection| connection.generation),
        connection: request.connection.clone(),
        link: request.link.as_ref().map(|link| link.id.clone()),
        user: request.user.clone(),
        settings: request.settings,
        scopes,
        issuer: endpoints.issuer,
        iss_promised: endpoints.iss_parameter_supported,
        sealed_verifier,
        return_to: request.return_to.clone(),
        popup_origin: request.link.as_ref().and_then(|link| link.popup_origin.clone()),
        outcome: FlowOutcome::Pending,
        error: None,
        sealed_grant: None,
        pending: None,
        used_at: None,
        created_at: now,
        expires_at: now.plus(FLOW_TTL),
    };
    store::authorizations::insert(context.db(), &flow, &hash_secret(state.expose())).await?;
    Ok(url)
}

fn draw_state<P: Ports>(context: &Context<P>, workspace: &WorkspaceId, auth_method: &AuthMethod) -> Result<Secret> {
    Ok(Secret::new(random_state(
        context.ports.random(),
        workspace.shard(),
        auth_method.require_oauth_server()?.state_length,
    )?))
}

/// Whose account it is, is asked at the issuer's userinfo, which knows nobody without `openid` (`OpenID` Connect Core 1.0, 5.3).
fn with_openid(auth_method: &AuthMethod, endpoints: &ResolvedEndpoints, scopes: &[String]) -> Vec<String> {
    const OPENID: &str = "openid";
    let needs =
        auth_method.identity.is_none() && endpoints.identity.is_some() && !scopes.iter().any(|scope| scope == OPENID);
    needs.then(|| OPENID.to_owned()).into_iter().chain(scopes.iter().cloned()).collect()
}

/// What an authorize URL is made of, beside the app and its address.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizeParams<'a> {
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
pub fn authorize_url(auth_method: &AuthMethod, at: &EgressUrl, params: &AuthorizeParams<'_>) -> Result<String> {
    let oauth = auth_method.require_oauth_server()?;
    let values = TemplateValues::new().with_all(params.variables);
    let redirect_uri = oauth.redirect_uri(params.redirect_uri, &values);
    let redirect_uri = redirect_uri.map_err(|problem| registry::invalid_value_error(auth_method, &problem))?;
    let client = oauth2::basic::BasicClient::new(oauth2::ClientId::new(params.client_id.to_owned()))
        .set_auth_uri(oauth2::AuthUrl::from_url(at.url().clone()));
    let mut request = client
        .authorize_url(|| oauth2::CsrfToken::new(params.state.expose().to_owned()))
        .add_extra_param("redirect_uri", redirect_uri);
    let covered = |scope: &String| params.granted.is_some_and(|granted| auth_method.is_scope_granted(granted, scope));
    let more = params.granted.is_some() && !params.scopes.iter().all(covered);
    let adds = more && !oauth.more_scopes_params.is_empty();
    let required = |id: &String| auth_method.scopes.iter().any(|scope| scope.id == *id && scope.required);
    // An app that adds to what it granted before is asked for the rest only: that is what the person sees there.
    let asked: Vec<_> = params.scopes.iter().filter(|id| !adds || required(id) || !covered(id)).cloned().collect();
    let further = oauth.tokens.iter().map(|(name, token)| (Some(name.as_str()), token.scope_param.clone()));
    for (token, parameter) in [(None, "scope".to_owned())].into_iter().chain(further) {
        let scopes = oauth.scopes_for_token(token, &asked);
        if !scopes.is_empty() {
            request = request.add_extra_param(parameter, scopes.join(&oauth.scope_separator));
        }
    }
    if let Some(verifier) = params.verifier {
        let verifier = PkceCodeVerifier::new(verifier.expose().to_owned());
        request = request.set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
    }
    if let Some(label) = params.account.filter(|_| oauth.login_hint) {
        request = request.add_extra_param("login_hint", label.to_owned());
    }
    let extra = [Some(&oauth.authorize_params), Some(&oauth.more_scopes_params).filter(|_| more)];
    for params in extra.into_iter().flatten() {
        let filled =
            fill_templates(params, &values).map_err(|problem| registry::invalid_value_error(auth_method, &problem))?;
        for (name, value) in filled {
            request = request.add_extra_param(name, value);
        }
    }
    Ok(request.url().0.to_string())
}
