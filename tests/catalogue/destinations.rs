//! Compares the destinations of each app's credentials with `destinations.txt`, which a person edits.
//!
//! The catalogue is as trusted as the program: the addresses in it receive codes, client secrets and tokens. So a
//! changed address must not pass as one line among many of a generated text. No switch writes the file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use connections::app::{AuthMethod, EndpointSource, UrlTemplate, VariableSource};
use serde_json::Value;

use crate::{apps, repository_path};

const LIST_PATH: &str = "tests/catalogue/destinations.txt";

const LIST_HEADER: &str =
    "This file is not written by UPDATE_GOLDEN. Each line is a place that gets somebody's credentials.
Compare each one with the app's own documentation, then edit the file by hand.";

#[test]
fn every_address_that_receives_a_credential_was_reviewed() {
    let (told, listed) = (all_destinations(), read_list());
    let add: Vec<_> = told.difference(&listed).map(|line| format!("+ {line}")).collect();
    let remove: Vec<_> = listed.difference(&told).map(|line| format!("- {line}")).collect();
    assert!(
        add.is_empty() && remove.is_empty(),
        "\n{LIST_PATH}\n{}\n\n{LIST_HEADER}",
        [remove, add].concat().join("\n")
    );
}

#[test]
fn the_list_of_destinations_is_sorted_and_unique() {
    let text = std::fs::read_to_string(repository_path(LIST_PATH)).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let wrong = lines.windows(2).find(|pair| pair.first() >= pair.last());
    assert!(wrong.is_none(), "{LIST_PATH}: not in alphabetical order, or twice: {wrong:?}");
}

/// Every address in a file must be in the list, unless its member is known to be for people only. So a new member that
/// names an address cannot escape the list.
#[test]
fn every_address_of_a_file_is_in_the_list() {
    let listed = read_list();
    for app in apps() {
        let file = std::fs::read_to_string(repository_path(&format!("catalog/{}.json", app.id))).unwrap();
        let mut addresses = BTreeSet::new();
        collect_urls(&serde_json::from_str(&file).unwrap(), "", &mut addresses);
        let own: Vec<_> = listed.iter().filter(|line| line.starts_with(&format!("{} ", app.id))).collect();
        for (member, address) in addresses {
            let known = own.iter().any(|line| line.split_whitespace().nth(3) == Some(address.as_str()));
            assert!(known, "{}: {member} names {address}, which {LIST_PATH} does not have.\n{LIST_HEADER}", app.id);
        }
    }
}

/// Members whose addresses are for people. No request is sent to them.
const MEMBERS_FOR_PEOPLE: [&str; 10] =
    ["docs", "sources", "client_help", "fields", "approval", "scopes", "unverified", "limits", "variables", "body"];

fn collect_urls(value: &Value, member: &str, found: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(members) => {
            let read = members.iter().filter(|(name, _)| !MEMBERS_FOR_PEOPLE.contains(&name.as_str()));
            read.for_each(|(name, value)| collect_urls(value, &format!("{member}/{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_urls(item, member, found)),
        Value::String(text) if text.contains("://") || member.ends_with("url") => {
            found.insert((member.to_owned(), text.clone()));
        }
        _ => {}
    }
}

fn read_list() -> BTreeSet<String> {
    let text = std::fs::read_to_string(repository_path(LIST_PATH)).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A line for each app, auth method, purpose and address.
fn all_destinations() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for app in apps() {
        for auth_method in app.auth_methods() {
            for (purpose, url) in auth_method_urls(auth_method) {
                let rules = describe_placeholders(auth_method, url);
                lines.insert(format!("{} {} {purpose} {}{rules}", app.id, auth_method.method_id, url.template_text()));
            }
            // No request is sent to the issuer, but it decides which server's codes are accepted.
            if let Some(EndpointSource::Fixed(fixed)) = auth_method.oauth_server().map(|server| &server.endpoints)
                && let Some(issuer) = &fixed.issuer
            {
                lines.insert(format!("{} {} iss {issuer}", app.id, auth_method.method_id));
            }
        }
        let file = std::fs::read_to_string(repository_path(&format!("catalog/{}.json", app.id))).unwrap();
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

fn auth_method_urls(auth_method: &AuthMethod) -> Vec<(&'static str, &UrlTemplate)> {
    let mut all = Vec::new();
    match auth_method.oauth_server().map(|server| &server.endpoints) {
        Some(EndpointSource::Issuer(issuer)) => all.push(("issuer", issuer)),
        Some(EndpointSource::Fixed(fixed)) => {
            all.extend(fixed.authorize_url.iter().map(|url| ("authorize", url)));
            all.push(("token", &fixed.token_url));
            all.extend(fixed.refresh_url.iter().map(|url| ("refresh", url)));
            all.extend(fixed.revoke_url.iter().map(|url| ("revoke", url)));
        }
        None => {}
    }
    all.extend(auth_method.request.base_url.iter().map(|url| ("api", url)));
    let identity = auth_method.identity.as_ref();
    all.extend(identity.and_then(|identity| identity.probe.as_ref()).map(|probe| ("identity", &probe.url)));
    let named = identity.and_then(|identity| identity.named_by.as_ref());
    all.extend(named.map(|named| ("account-name", &named.probe.url)));
    all.extend(auth_method.check.as_ref().map(|probe| ("check", &probe.url)));
    all.extend(auth_method.nothing_shared.as_ref().map(|shared| ("shared", &shared.probe.url)));
    all
}

/// Where the placeholders of an address are filled from, and with which pattern. A wider pattern is another
/// destination.
fn describe_placeholders(auth_method: &AuthMethod, url: &UrlTemplate) -> String {
    let names: BTreeMap<&str, _> =
        url.placeholders().filter_map(|name| Some((name, auth_method.variables.get(name)?))).collect();
    let mut text = String::new();
    for (name, variable) in names {
        let from = match &variable.source {
            VariableSource::Person => "person".to_owned(),
            VariableSource::Client => "client".to_owned(),
            VariableSource::Token(at) => format!("token:{}", at.as_str()),
            VariableSource::Identity(at) => format!("identity:{}", at.as_str()),
            VariableSource::Callback(parameter) => format!("callback:{parameter}"),
        };
        let pattern = variable.pattern.as_ref().map_or("any", |pattern| pattern.as_str());
        let default = variable.default.as_ref().map(|value| format!(" default={value}")).unwrap_or_default();
        write!(text, " {{{name}}}={from} {pattern}{default}").unwrap();
    }
    text
}
