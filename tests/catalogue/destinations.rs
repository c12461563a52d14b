//! Where each app's credentials go: `destinations.txt`, which a person edits.
//!
//! The catalogue is as trusted as the program: whatever address it names gets codes, client secrets and tokens. A changed
//! address must therefore not pass as one line among many of a generated text. No switch writes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use connections::app::{AddressTemplate, App, Endpoints, Origin};
use serde_json::Value;

use crate::{apps, at};

const LIST: &str = "tests/catalogue/destinations.txt";

const WHY: &str = "This file is not written by UPDATE_GOLDEN. Each line is a place that gets somebody's credentials.
Compare each one with the app's own documentation, then edit the file by hand.";

#[test]
fn every_address_that_gets_a_credential_was_reviewed() {
    let (told, listed) = (all(), listed());
    let add: Vec<_> = told.difference(&listed).map(|line| format!("+ {line}")).collect();
    let remove: Vec<_> = listed.difference(&told).map(|line| format!("- {line}")).collect();
    assert!(add.is_empty() && remove.is_empty(), "\n{LIST}\n{}\n\n{WHY}", [remove, add].concat().join("\n"));
}

#[test]
fn the_list_has_each_line_once_and_in_order() {
    let text = std::fs::read_to_string(at(LIST)).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let wrong = lines.windows(2).find(|pair| pair.first() >= pair.last());
    assert!(wrong.is_none(), "{LIST}: not in alphabetical order, or twice: {wrong:?}");
}

/// A new member of the format that names an address must not escape the list: whatever is an address in a file, and is not
/// known to be for people only, has to be there.
#[test]
fn no_address_in_a_file_is_left_out_of_the_list() {
    let listed = listed();
    for app in apps() {
        let file = std::fs::read_to_string(at(&format!("catalog/{}.json", app.id))).unwrap();
        let mut addresses = BTreeSet::new();
        collect(&serde_json::from_str(&file).unwrap(), "", &mut addresses);
        let own: Vec<_> = listed.iter().filter(|line| line.starts_with(&format!("{} ", app.id))).collect();
        for (member, address) in addresses {
            let known = own.iter().any(|line| line.split_whitespace().nth(3) == Some(address.as_str()));
            assert!(known, "{}: {member} names {address}, which {LIST} does not have.\n{WHY}", app.id);
        }
    }
}

/// Members whose addresses a person reads, and no request is sent to.
const FOR_PEOPLE: [&str; 10] =
    ["docs", "sources", "client_help", "fields", "approval", "scopes", "unverified", "limits", "variables", "body"];

fn collect(value: &Value, member: &str, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(members) => {
            let read = members.iter().filter(|(name, _)| !FOR_PEOPLE.contains(&name.as_str()));
            read.for_each(|(name, value)| collect(value, &format!("{member}/{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, member, found)),
        Value::String(text) if text.contains("://") || member.ends_with("url") => {
            found.insert((member.to_owned(), text.clone()));
        }
        _ => {}
    }
}

fn listed() -> BTreeSet<String> {
    let text = std::fs::read_to_string(at(LIST)).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A line for each app, way, purpose and address.
fn all() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for app in apps() {
        for way in app.ways() {
            for (purpose, url) in of_way(way) {
                let rules = rules(way, url);
                lines.insert(format!("{} {} {purpose} {}{rules}", app.id, way.way, url.text()));
            }
            // Nothing is sent there, but it decides which server's codes are taken.
            if let Some(Endpoints::Fixed(fixed)) = way.server().map(|server| &server.endpoints)
                && let Some(issuer) = &fixed.issuer
            {
                lines.insert(format!("{} {} iss {issuer}", app.id, way.way));
            }
        }
        let file = std::fs::read_to_string(at(&format!("catalog/{}.json", app.id))).unwrap();
        let file: Value = serde_json::from_str(&file).unwrap();
        for (purpose, pointer) in
            [("event-issuer", "/events/signature/issuer"), ("event-keys", "/events/signature/keys")]
        {
            if let Some(url) = file.pointer(pointer).and_then(Value::as_str) {
                lines.insert(format!("{} * {purpose} {url}", app.id));
            }
        }
    }
    lines
}

fn of_way(app: &App) -> Vec<(&'static str, &AddressTemplate)> {
    let mut all = Vec::new();
    match app.server().map(|server| &server.endpoints) {
        Some(Endpoints::Issuer(issuer)) => all.push(("issuer", issuer)),
        Some(Endpoints::Fixed(fixed)) => {
            all.extend(fixed.authorize_url.iter().map(|url| ("authorize", url)));
            all.push(("token", &fixed.token_url));
            all.extend(fixed.refresh_url.iter().map(|url| ("refresh", url)));
            all.extend(fixed.revoke_url.iter().map(|url| ("revoke", url)));
        }
        None => {}
    }
    all.extend(app.request.base_url.iter().map(|url| ("api", url)));
    let identity = app.identity.as_ref();
    all.extend(identity.and_then(|identity| identity.probe.as_ref()).map(|probe| ("identity", &probe.url)));
    let named = identity.and_then(|identity| identity.named_by.as_ref());
    all.extend(named.map(|named| ("account-name", &named.probe.url)));
    all.extend(app.check.as_ref().map(|probe| ("check", &probe.url)));
    all.extend(app.nothing_shared.as_ref().map(|shared| ("shared", &shared.probe.url)));
    all
}

/// Who fills the places of an address, and with what. A wider pattern is another destination.
fn rules(app: &App, url: &AddressTemplate) -> String {
    let names: BTreeMap<&str, _> = url.places().filter_map(|name| Some((name, app.variables.get(name)?))).collect();
    let mut text = String::new();
    for (name, variable) in names {
        let from = match &variable.from {
            Origin::Person => "person".to_owned(),
            Origin::Client => "client".to_owned(),
            Origin::Token(at) => format!("token:{}", at.as_str()),
            Origin::Identity(at) => format!("identity:{}", at.as_str()),
            Origin::Callback(parameter) => format!("callback:{parameter}"),
        };
        let pattern = variable.pattern.as_ref().map_or("any", |pattern| pattern.as_str());
        let default = variable.default.as_ref().map(|value| format!(" default={value}")).unwrap_or_default();
        write!(text, " {{{name}}}={from} {pattern}{default}").unwrap();
    }
    text
}
