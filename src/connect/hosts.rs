//! The hosts that get what a person is about to give, as a page names them before anything is entered or allowed.
//!
//! Owns which hosts are new since a connection was made, and the mark by which a form proves that the hosts it named are
//! still those of the app. Refuses to send anything there.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::{AuthMethod, Variable, VariableSource};
use crate::caller::hash_secret;
use crate::connection::Connection;
use crate::context::Context;
use crate::destinations::Destinations;
use crate::error::{Error, ErrorCode, Result};
use crate::gather::Gather as _;
use crate::ports::Ports;
use crate::registry;

use super::start::ConnectOptions;

/// Hosts as people see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretHosts {
    /// All that get a secret. A part that is still to be told stands there by its label: `[Shop].shop.example`.
    pub all: BTreeSet<String>,
    /// Those that the secrets of the connection never went to, where a workspace's own app has
    /// changed, or the server that a client is set up for. An address that is
    /// new at a host that is not, stands there with its path.
    pub added: BTreeSet<String>,
    /// What the workspace chose for hosts of an app of the catalogue, instead of what is usual: the catalogue does not know
    /// these.
    pub non_default: BTreeSet<String>,
    /// What a form sends back: another text as soon as the app's addresses are others.
    pub fingerprint: String,
}

/// The hosts of what is offered.
pub async fn for_options<P: Ports>(context: &Context<P>, options: &ConnectOptions) -> Result<SecretHosts> {
    let auth_method = &*options.auth_method;
    let known = known_variables(options);
    let mut destinations = Destinations::for_client(auth_method, &known);
    // One that depends on what the person says is discovered when they have said it.
    if destinations.is_undiscovered() && !destinations.issuer_has_placeholder() {
        let endpoints = registry::load_endpoints(context, auth_method, &known).await?;
        destinations = destinations.with_discovered(&endpoints).with_api_of(&Destinations::for_grant(
            auth_method,
            Some(&endpoints),
            &known,
        ));
    }
    let added = match &options.connection {
        Some(connection) if auth_method.is_custom || is_other_server(auth_method, connection, &known) => {
            added_hosts(context, connection, &known, &destinations).await?
        }
        _ => BTreeSet::new(),
    };
    let shown = |host: &String| label_placeholders(auth_method, host);
    Ok(SecretHosts {
        added: added.iter().map(shown).gather(),
        all: destinations.hosts().iter().map(shown).gather(),
        non_default: non_default_hosts(auth_method, &known),
        fingerprint: hash_secret(&format!("{} {}", auth_method.method_id, destinations.fingerprint())),
    })
}

/// Whether a client of an app of the catalogue was set up for another server than a connection has.
fn is_other_server(auth_method: &AuthMethod, connection: &Connection, known: &BTreeMap<String, String>) -> bool {
    let value = |variables: &BTreeMap<String, String>, name: &str| variables.get(name).map(|one| one.to_lowercase());
    auth_method.client_host_variables().into_iter().any(|name| value(&connection.variables, name) != value(known, name))
}

/// The values of a catalogue app's hosts that are not the usual ones.
fn non_default_hosts(auth_method: &AuthMethod, known: &BTreeMap<String, String>) -> BTreeSet<String> {
    let names = auth_method.client_host_variables();
    let is_usual = |name: &str, value: &String| {
        auth_method.variables.get(name).is_some_and(|one| one.default.as_ref() == Some(value))
    };
    let values = names.into_iter().filter_map(|name| Some((name, known.get(name)?)));
    values
        .filter(|(name, value)| !auth_method.is_custom && !is_usual(name, value))
        .map(|(_, value)| value.clone())
        .gather()
}

/// What is new since a connection was made. Where nobody can tell any more where its secrets went, everything is.
async fn added_hosts<P: Ports>(
    context: &Context<P>,
    connection: &Connection,
    known: &BTreeMap<String, String>,
    now: &Destinations,
) -> Result<BTreeSet<String>> {
    let before = registry::load_destinations(context, connection).await?.unwrap_or_default();
    let added = before.list_additions(now);
    if !added.iter().any(|host| host.contains('{')) {
        return Ok(added);
    }
    let auth_method = registry::load_auth_method(context, connection).await.ok();
    let open_before = auth_method.map(|auth_method| Destinations::for_client(&auth_method, known)).unwrap_or_default();
    // What the app tells only later stands there as it stood when the connection was made.
    Ok(added.into_iter().filter(|host| !now.shares_placeholder_host(&open_before, host)).gather())
}

/// The hosts of a way to connect before anybody chose it: what is told later stands there by its label.
pub fn for_auth_method(auth_method: &AuthMethod) -> BTreeSet<String> {
    Destinations::for_client(auth_method, &BTreeMap::new())
        .hosts()
        .iter()
        .map(|host| label_placeholders(auth_method, host))
        .gather()
}

/// Refuses where a program gives a new credential for a connection whose app has hosts by now that it does not name.
pub async fn require_accepted<P: Ports>(
    context: &Context<P>,
    options: &ConnectOptions,
    accepted: &BTreeSet<String>,
) -> Result<()> {
    let added = for_options(context, options).await?.added;
    let unnamed: Vec<_> = added.difference(accepted).map(String::as_str).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::AddressesChanged,
        format!(
            "{} now also uses hosts that this connection's credential was never sent to: {}. Nothing was sent. If these hosts belong to the \
             app's, name them in accept_hosts and call again.",
            options.auth_method.app_name,
            unnamed.join(", ")
        ),
    ))
}

/// Refuses when a form named other hosts than the app has now. A program that posts without having read the form sends no
/// mark.
pub async fn require_unchanged<P: Ports>(
    context: &Context<P>,
    options: &ConnectOptions,
    mark: Option<&str>,
) -> Result<()> {
    let Some(mark) = mark else { return Ok(()) };
    if for_options(context, options).await?.fingerprint == mark {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "The addresses of {} have changed since this page was shown. Nothing was sent. Look at the hosts that are \
             named now before you go on.",
            options.auth_method.app_name
        ),
    ))
}

/// What the addresses depend on, as far as it is known before the person says anything: what the client was set up with,
/// and what the person said before. What the app told before it may tell otherwise now.
fn known_variables(options: &ConnectOptions) -> BTreeMap<String, String> {
    let mut known = options.client.as_ref().map(|client| client.variables.clone()).unwrap_or_default();
    let had = options.connection.iter().flat_map(|connection| &connection.variables);
    let asked =
        |name: &String| options.auth_method.variables.get(name).is_some_and(|one| one.source == VariableSource::Person);
    known.extend(had.filter(|(name, _)| asked(name)).map(|(name, value)| (name.clone(), value.clone())));
    known
}

/// A host with what its placeholders stand for, in brackets. A label is whatever somebody wrote: what could pass for a part
/// of a host is left out of it.
fn label_placeholders(auth_method: &AuthMethod, host: &str) -> String {
    let word = |one: &Variable| match one.source {
        VariableSource::Person => one.label.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).collect(),
        VariableSource::Client => "set up with the client".to_owned(),
        VariableSource::Token(_) | VariableSource::Identity(_) | VariableSource::Callback(_) => {
            "known later from the app".to_owned()
        }
    };
    auth_method
        .variables
        .iter()
        .fold(host.to_owned(), |text, (name, one)| text.replace(&format!("{{{name}}}"), &format!("[{}]", word(one))))
}
