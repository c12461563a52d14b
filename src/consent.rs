//! A person's consent: what they see before they go on to an app or enter what the app gave them, and what the button
//! does.
//!
//! Owns that a link is for its own user, and that nothing is sent to hosts that the page has not named. Refuses to start
//! anything by itself: a flow begins in [`crate::connect`].

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, AuthMethod, VariableSource};
use crate::connect::client_setup::is_auth_method_ready;
use crate::connect::complete::Decider;
use crate::connect::hosts::{self, SecretHosts};
use crate::connect::manual::{self, ManualConnectRequest, ManualCredential};
use crate::connect::start::{self, ConnectOptions, ConnectRequest};
use crate::connection::Connection;
use crate::connections::{self, GrantUsage};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather as _;
use crate::names::{MAX_NAME_LENGTH, parse_name};
use crate::oauth_clients::list_clients;
use crate::ports::Ports;
use crate::preconditions::Condition;
use crate::quotas;
use crate::registry;
use crate::secret::Secret;
use crate::store;
use crate::store::authorizations::Flow;
use crate::store::clients::WorkspaceClients;
use crate::store::links::Link;
use crate::store::sessions::Session;
use crate::workspace::Workspace;
use crate::workspaces::load_workspace;

/// A link made for one person must not be used by another who is signed in here: whoever made it
/// would get that other person's account. The same holds for a link of another workspace: to whoever is signed in, this
/// site is their own workspace, so they could take the link for one of it.
///
/// # Errors
/// Who is signed in is somebody else than the link's user, or is of another workspace.
pub fn require_intended_user(session: Option<&Session>, link: &Link) -> Result<()> {
    let Some(session) = session else { return Ok(()) };
    let Some(signed_in) = session.user() else { return Ok(()) };
    let refused = |problem: String| Err(Error::new(ErrorCode::Conflict, problem));
    if session.workspace != link.workspace {
        return refused(format!(
            "This link belongs to another workspace than the one you are signed in to as {}. If you expected it, sign \
             out first and open the link again.",
            signed_in.display_name()
        ));
    }
    match &link.user {
        Some(expected) if signed_in.id != expected.id => refused(format!(
            "This link is for {}, but you are signed in as {}. Sign out first, or ask for a link of your own.",
            expected.display_name(),
            signed_in.display_name()
        )),
        _ => Ok(()),
    }
}

/// What is offered.
///
/// # Errors
/// It can't be connected, or the app that a link or a connection is of has been removed since it was made.
pub async fn load_connect_options<P: Ports>(context: &Context<P>, request: &ConnectRequest) -> Result<ConnectOptions> {
    let offered = start::prepare_options(context, request).await;
    let made_earlier = request.link.is_some() || request.connection.is_some();
    if matches!(&offered, Err(error) if error.code == ErrorCode::NotFound)
        && made_earlier
        && registry::load_current_app(context, &request.workspace, &request.app).await?.is_none()
    {
        return Err(app_removed_error(request));
    }
    offered
}

fn app_removed_error(request: &ConnectRequest) -> Error {
    if request.link.is_some() {
        let text = "The app of this link was removed from the workspace. Ask whoever sent you the link what to do.";
        return Error::new(ErrorCode::LinkEnded, text);
    }
    Error::new(
        ErrorCode::Conflict,
        "The app of this connection was removed from this workspace, so it can't be connected again. Workflows can \
         still use the connection as long as its access lasts.",
    )
}

/// What a person sees before they consent.
#[derive(Debug)]
pub struct ConsentSummary {
    /// The workspace that asks.
    pub workspace: Workspace,
    /// The account's grants, where they come near the app's limit.
    pub grant_usage: Option<GrantUsage>,
    /// The auth methods that the person may choose from; none where there is no choice.
    pub auth_methods: Vec<AuthMethodOption>,
    /// The hosts that get what they give.
    pub hosts: SecretHosts,
    /// The host that they are sent to, where they consent at the app and that does not depend on what they enter.
    pub authorize_host: Option<String>,
}

/// An auth method that a person may choose.
#[derive(Debug)]
pub struct AuthMethodOption {
    /// The auth method.
    pub auth_method: Rc<AuthMethod>,
    /// Whether it can be used: it needs no client, or has one.
    pub ready: bool,
    /// Whether the app's definition names it first.
    pub recommended: bool,
    /// Whether it has a client that was set up for other addresses of the app than it has now.
    pub addresses_changed: bool,
}

/// Reads what a person sees.
pub async fn load_consent_summary<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
) -> Result<ConsentSummary> {
    // One after the other: both may need the app's discovery document, and the second one finds it in the isolate.
    let load_hosts = async {
        let hosts = hosts::for_options(context, options).await?;
        Ok::<_, Error>((hosts, load_authorize_host(context, options).await?))
    };
    let ((workspace, grant_usage), (auth_methods, hosts)) = context
        .at_once(
            context.at_once(load_workspace(context, &request.workspace), load_grant_usage(context, request, options)),
            context.at_once(list_auth_methods(context, request, options), load_hosts),
        )
        .await;
    let (hosts, authorize_host) = hosts?;
    Ok(ConsentSummary {
        workspace: workspace?,
        grant_usage: grant_usage?,
        auth_methods: auth_methods?,
        hosts,
        authorize_host,
    })
}

async fn load_grant_usage<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
) -> Result<Option<GrantUsage>> {
    let account = options.connection.as_ref().and_then(|connection| connection.account.as_ref());
    let (Some(client), Some(account)) = (&options.client, account) else { return Ok(None) };
    connections::load_grant_usage(context, &request.workspace, &options.auth_method, &client.id, &account.id).await
}

/// The ways to connect an app, where the one that was asked for, or the recommended one, can't be used.
#[derive(Debug)]
pub struct MethodChoices {
    /// The workspace that asks.
    pub workspace: Workspace,
    /// The app.
    pub app: Rc<App>,
    /// The connection to repair.
    pub connection: Option<Connection>,
    /// The auth methods, the recommended one first.
    pub auth_methods: Vec<AuthMethodOption>,
}

/// Reads the ways to connect. Whoever asks was let in by [`load_connect_options`].
pub async fn load_method_choices<P: Ports>(context: &Context<P>, request: &ConnectRequest) -> Result<MethodChoices> {
    let workspace = &request.workspace;
    let load_connection = async {
        match &request.connection {
            Some(id) => store::connections::get(context.db(), workspace, id).await,
            None => Ok(None),
        }
    };
    let ((app, connection), (clients, workspace)) = context
        .at_once(
            context.at_once(registry::require_current_app(context, workspace, &request.app), load_connection),
            context.at_once(list_clients(context, workspace), load_workspace(context, workspace)),
        )
        .await;
    let (app, connection, clients) = (app?.app, connection?, clients?);
    let fixed = request.link.as_ref().and_then(|link| link.auth_method.as_ref());
    let auth_methods =
        list_options(&app, &clients).filter(|one| fixed.is_none_or(|id| one.auth_method.method_id == *id));
    let auth_methods = auth_methods.collect();
    Ok(MethodChoices { workspace: workspace?, app, connection, auth_methods })
}

fn list_options(app: &App, clients: &WorkspaceClients) -> impl Iterator<Item = AuthMethodOption> {
    app.auth_methods().iter().enumerate().map(|(index, auth_method)| {
        let ready = is_auth_method_ready(clients, auth_method);
        AuthMethodOption {
            ready,
            auth_method: Rc::clone(auth_method),
            recommended: index == 0,
            addresses_changed: !ready && clients.current(auth_method.registration()).is_some(),
        }
    })
}

/// Who came by a link sets nothing up: for them, what is not ready is not there.
async fn list_auth_methods<P: Ports>(
    context: &Context<P>,
    request: &ConnectRequest,
    options: &ConnectOptions,
) -> Result<Vec<AuthMethodOption>> {
    let all = options.app.auth_methods();
    if all.len() < 2 || request.link.as_ref().is_some_and(|link| link.auth_method.is_some()) {
        return Ok(vec![]);
    }
    let clients = list_clients(context, &request.workspace).await?;
    Ok(list_options(&options.app, &clients).filter(|one| one.ready || request.link.is_none()).collect())
}

async fn load_authorize_host<P: Ports>(context: &Context<P>, options: &ConnectOptions) -> Result<Option<String>> {
    let auth_method = &options.auth_method;
    let depends_on_person = auth_method.variables.values().any(|one| one.source == VariableSource::Person);
    if auth_method.kind.is_manual() || depends_on_person {
        return Ok(None);
    }
    let variables = options.client.as_ref().map(|client| client.variables.clone()).unwrap_or_default();
    let endpoints = registry::load_endpoints(context, auth_method, &variables).await?;
    Ok(endpoints.authorize_url.map(|url| url.host().to_owned()))
}

/// What a person gives on the page.
#[derive(Debug)]
pub struct ConsentForm {
    /// What they entered: the credential's fields, and what the app's addresses depend on.
    pub entered: BTreeMap<String, Secret>,
    /// What a new connection is to be called; empty where they leave that to us.
    pub name: Option<String>,
    /// The mark of the hosts that the page has named.
    pub hosts_fingerprint: Option<String>,
}

/// What the button led to.
#[derive(Debug)]
pub enum SubmittedConsent {
    /// To the app.
    LeadsTo(String),
    /// To the end of the flow: what was entered is checked and stored, or the person must choose.
    Ended(Box<Flow>),
}

/// The button was pressed: on to the app, or what was entered is checked and stored. The request keeps what was entered for
/// the app's addresses.
///
/// # Errors
/// The app's hosts have changed since the page named them, what was entered is wrong, or the workspace has as many
/// connections as it may have.
pub async fn submit_consent<P: Ports>(
    context: &Context<P>,
    request: &mut ConnectRequest,
    options: &ConnectOptions,
    form: ConsentForm,
    session_hash: &str,
) -> Result<SubmittedConsent> {
    if request.connection.is_none() {
        quotas::check_connection_quota(context, &request.workspace).await?;
    }
    let is_variable = |name: &String| options.auth_method.variables.contains_key(name);
    let (variables, fields): (BTreeMap<_, _>, BTreeMap<_, _>) =
        form.entered.into_iter().partition(|(name, _)| is_variable(name));
    request.variables = variables.into_iter().map(|(name, value)| (name, value.expose().to_owned())).gather();
    hosts::require_unchanged(context, options, form.hosts_fingerprint.as_deref()).await?;
    if !options.auth_method.kind.is_manual() {
        let url = start::begin_flow_with_options(context, request, options, session_hash).await?;
        return Ok(SubmittedConsent::LeadsTo(url));
    }
    let name = form.name.filter(|name| !name.trim().is_empty() && request.connection.is_none());
    let manual = ManualConnectRequest {
        credential: ManualCredential::Fields(fields),
        name: name.map(|name| parse_name("name", &name, MAX_NAME_LENGTH)).transpose()?,
        metadata: BTreeMap::new(),
        check: true,
        actor: None,
        condition: Condition::default(),
    };
    let flow =
        manual::connect_manually_with_options(context, request, options, manual, session_hash, Decider::Person).await?;
    Ok(SubmittedConsent::Ended(Box::new(flow)))
}
