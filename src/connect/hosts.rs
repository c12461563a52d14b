//! The hosts that get what a person is about to give, as a page names them before anything is entered or allowed.
//!
//! Owns which hosts are new since a connection was made, and the mark by which a form proves that the hosts it named are
//! still those of the app. Refuses to send anything there.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::{App, Origin, Variable};
use crate::caller::hash;
use crate::connection::Connection;
use crate::core::Core;
use crate::destinations::Destinations;
use crate::error::{Code, Error, Result};
use crate::ports::Ports;
use crate::registry;

use super::start::Offer;

/// Hosts as people see them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All that get a secret. A part that is still to be told stands there by its label: `[Shop].shop.example`.
    pub all: BTreeSet<String>,
    /// Those that the secrets of the connection never went to, where a workspace's own app has
    /// changed, or the server that a client is set up for. An address that is
    /// new at a host that is not, stands there with its path.
    pub added: BTreeSet<String>,
    /// What the workspace chose for hosts of an app of the catalogue, instead of what is usual: the catalogue does not know
    /// these.
    pub chosen: BTreeSet<String>,
    /// What a form sends back: another text as soon as the app's addresses are others.
    pub mark: String,
}

/// The hosts of what is offered.
pub async fn of_offer<P: Ports>(core: &Core<P>, offer: &Offer) -> Result<Hosts> {
    let app = &*offer.app;
    let known = known_variables(offer);
    let mut destinations = Destinations::of_client(app, &known);
    // One that depends on what the person says is discovered when they have said it.
    if destinations.is_undiscovered() && !destinations.has_open_issuer() {
        let at = registry::endpoints(core, app, &known).await?;
        destinations = destinations.with_discovered(&at).and_api_of(&Destinations::of_grant(app, Some(&at), &known));
    }
    let added = match &offer.connection {
        Some(connection) if app.custom || is_elsewhere(app, connection, &known) => {
            added(core, connection, &known, &destinations).await?
        }
        _ => BTreeSet::new(),
    };
    let shown = |host: &String| labelled(app, host);
    Ok(Hosts {
        added: added.iter().map(shown).collect(),
        all: destinations.hosts().iter().map(shown).collect(),
        chosen: chosen(app, &known),
        mark: hash(&format!("{} {}", app.way, destinations.fingerprint())),
    })
}

/// Whether a client of an app of the catalogue was set up for another server than a connection has.
fn is_elsewhere(app: &App, connection: &Connection, known: &BTreeMap<String, String>) -> bool {
    let value = |variables: &BTreeMap<String, String>, name: &str| variables.get(name).map(|one| one.to_lowercase());
    app.host_variables_of_client().into_iter().any(|name| value(&connection.variables, name) != value(known, name))
}

/// The values of a catalogue app's hosts that are not the usual ones.
fn chosen(app: &App, known: &BTreeMap<String, String>) -> BTreeSet<String> {
    let names = app.host_variables_of_client();
    let is_usual =
        |name: &str, value: &String| app.variables.get(name).is_some_and(|one| one.default.as_ref() == Some(value));
    let values = names.into_iter().filter_map(|name| Some((name, known.get(name)?)));
    values.filter(|(name, value)| !app.custom && !is_usual(name, value)).map(|(_, value)| value.clone()).collect()
}

/// What is new since a connection was made. Where nobody can tell any more where its secrets went, everything is.
async fn added<P: Ports>(
    core: &Core<P>,
    connection: &Connection,
    known: &BTreeMap<String, String>,
    now: &Destinations,
) -> Result<BTreeSet<String>> {
    let before = registry::destinations_of(core, connection).await?.unwrap_or_default();
    let added = before.added_by(now);
    if !added.iter().any(|host| host.contains('{')) {
        return Ok(added);
    }
    let app = registry::of_connection(core, connection).await.ok();
    let open_before = app.map(|app| Destinations::of_client(&app, known)).unwrap_or_default();
    // What the app tells only later stands there as it stood when the connection was made.
    Ok(added.into_iter().filter(|host| !now.has_open_host_of(&open_before, host)).collect())
}

/// The hosts of a way to connect before anybody chose it: what is told later stands there by its label.
pub fn of_app(app: &App) -> BTreeSet<String> {
    Destinations::of_client(app, &BTreeMap::new()).hosts().iter().map(|host| labelled(app, host)).collect()
}

/// Refuses where a program gives a new credential for a connection whose app has hosts by now that it does not name.
pub async fn require_accepted<P: Ports>(core: &Core<P>, offer: &Offer, accepted: &BTreeSet<String>) -> Result<()> {
    let added = of_offer(core, offer).await?.added;
    let unnamed: Vec<_> = added.difference(accepted).map(String::as_str).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Code::AddressesChanged,
        format!(
            "{} now also uses hosts that this connection's credential never went to: {}. Nothing was sent. If they are the \
             app's, name them in accept_hosts and call again.",
            offer.app.name,
            unnamed.join(", ")
        ),
    ))
}

/// Refuses when a form named other hosts than the app has now. A program that posts without having read the form sends no
/// mark.
pub async fn require_seen<P: Ports>(core: &Core<P>, offer: &Offer, mark: Option<&str>) -> Result<()> {
    let Some(mark) = mark else { return Ok(()) };
    if of_offer(core, offer).await?.mark == mark {
        return Ok(());
    }
    Err(Error::new(
        Code::InvalidRequest,
        format!(
            "The addresses of {} have changed since this page was shown. Nothing was sent. Look at the hosts that are \
             named now before you go on.",
            offer.app.name
        ),
    ))
}

/// What the addresses depend on, as far as it is known before the person says anything: what the client was set up with,
/// and what the person said before. What the app told before it may tell otherwise now.
fn known_variables(offer: &Offer) -> BTreeMap<String, String> {
    let mut known = offer.client.as_ref().map(|client| client.variables.clone()).unwrap_or_default();
    let had = offer.connection.iter().flat_map(|connection| &connection.variables);
    let asked = |name: &String| offer.app.variables.get(name).is_some_and(|one| one.from == Origin::Person);
    known.extend(had.filter(|(name, _)| asked(name)).map(|(name, value)| (name.clone(), value.clone())));
    known
}

/// A host with what its placeholders stand for, in brackets. A label is whatever somebody wrote: what could pass for a part
/// of a host is left out of it.
fn labelled(app: &App, host: &str) -> String {
    let word = |one: &Variable| match one.from {
        Origin::Person => one.label.chars().filter(|c| c.is_alphanumeric() || " -".contains(*c)).collect(),
        Origin::Client => "set up with the client".to_owned(),
        Origin::Token(_) | Origin::Identity(_) | Origin::Callback(_) => "told by the app later".to_owned(),
    };
    app.variables
        .iter()
        .fold(host.to_owned(), |text, (name, one)| text.replace(&format!("{{{name}}}"), &format!("[{}]", word(one))))
}
