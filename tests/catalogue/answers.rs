//! How what apps answer is read, and that what matters is answered at all. The answers are [`told`]'s.
//!
//! Refuses an app without the answers that every app has.

use std::collections::BTreeMap;

use connections::app::{App, Definition, Kind, Origin, Pointer, Probe, Values};
use connections::connection::Account;
use connections::ports::Inbound;
use connections::token::{
    Answer, Class, ProbeVerdict, TokenSet, Told, read_account, read_account_of_tokens, read_answer, read_probe,
    read_revocation, read_values, scopes_in_header,
};
use serde_json::{Map, Value, json};

use crate::told::{self, Entry, Reader, entries};
use crate::{apps, made_up, none_of, strangers};

#[test]
fn answers_are_read_as_they_are_meant() {
    let mut complaints = strangers("tests/catalogue/answers", "json");
    for app in apps() {
        for entry in entries(&app) {
            let read = read(&entry.way(&app), &entry);
            if read != entry.read {
                let (is, should) = (read.to_string(), entry.read.to_string());
                complaints.push(format!("{}: {}:\n  is        {is}\n  should be {should}", app.id, entry.what));
            }
        }
    }
    none_of(&complaints);
}

#[test]
fn every_way_has_the_answers_that_matter() {
    let mut complaints = Vec::new();
    for app in apps() {
        for one in app.ways() {
            let missing = wanted(one, &told::of_way(&app, one)).into_iter().filter(|(_, there)| !there);
            complaints.extend(missing.map(|(what, _)| format!("{} {}: no answer with {what}", app.id, one.way)));
        }
        // It tells of the app, not of a way.
        if !entries(&app).iter().any(|entry| entry.finds("unavailable")) {
            complaints.push(format!("{}: no answer of an app that can't answer now, such as a 429", app.id));
        }
    }
    none_of(&complaints);
}

/// What must be among the answers of a way, and whether it is.
fn wanted(app: &App, answers: &[Entry]) -> Vec<(&'static str, bool)> {
    let any = |fits: &dyn Fn(&Entry) -> bool| answers.iter().any(fits);
    let refused = |class: &'static str| any(&|entry| entry.kind == Reader::Token && entry.refuses(class));
    let tokens = |kind: Reader| any(&|entry| entry.kind == kind && entry.has_tokens());
    let account = any(&|entry| entry.account().is_some());
    let mut wanted = if app.kind == Kind::OAuth2 {
        let renews = renews(app, answers);
        vec![
            ("tokens", tokens(Reader::Token)),
            ("tokens for a refresh token", !renews || tokens(Reader::Refresh)),
            ("a permanent refusal", !renews || refused("permanent")),
            ("a refused client", refused("client")),
            ("a refused access token", !may_not_renew(answers) || any(&|entry| entry.finds("refused"))),
            ("an account", account),
        ]
    } else if app.kind.has_tokens() {
        let dead = refused("permanent") || refused("client");
        vec![("tokens", tokens(Reader::Token)), ("a refusal for good", dead)]
    } else {
        let works = account || any(&|entry| entry.finds("works"));
        vec![("a success", works), ("a refusal", any(&|entry| entry.finds("refused")))]
    };
    wanted.push(("a revocation that is done", !revokes(app) || any(&Entry::revokes)));
    wanted
}

/// Whether the app gives refresh tokens: its file says that something ends, or an answer has one.
fn renews(app: &App, answers: &[Entry]) -> bool {
    let ends = app.server().is_some_and(|server| {
        server.refresh_token_lifetime.or(server.refresh_token_idle).or(server.access_token_lifetime).is_some()
    });
    ends || answers.iter().any(|entry| entry.refresh_token().is_some())
}

/// Whether an answer has a token that nothing renews: only a check tells that it is dead.
fn may_not_renew(answers: &[Entry]) -> bool {
    answers.iter().any(|entry| entry.kind == Reader::Token && entry.has_tokens() && entry.refresh_token().is_none())
}

/// Whether its file says where tokens are revoked.
fn revokes(app: &App) -> bool {
    let at = app.resolve_fixed(&made_up::values(app, &made_up::variables_before(app)));
    at.is_some_and(|at| at.is_ok_and(|at| at.revoke_url.is_some()))
}

#[test]
fn answers_hold_nothing_but_made_up_secrets() {
    for app in apps() {
        for entry in entries(&app) {
            let set = entry.read.get("tokens");
            let tokens = ["access_token", "refresh_token"].into_iter().filter_map(|name| set?.get(name)?.as_str());
            for token in tokens {
                assert!(token.contains("made-up"), "{}: {}: name the tokens made-up-…", app.id, entry.what);
            }
        }
    }
}

/// How many answers no page confirms, by app.
pub(crate) fn unverified(app: &Definition) -> (usize, usize) {
    let all = entries(app);
    (all.iter().filter(|entry| entry.unverified).count(), all.len())
}

fn read(app: &App, entry: &Entry) -> Value {
    let inbound = entry.inbound();
    match entry.kind {
        Reader::Token => token(app, inbound, missing),
        Reader::Refresh => token(app, inbound, |_, _| None),
        Reader::Identity => identity(app, &inbound),
        Reader::Check => {
            let probe = app.check.clone().or_else(|| app.identity.as_ref().and_then(|identity| identity.probe.clone()));
            verdict(read_probe(app, &probe.unwrap(), &Ok(inbound), made_up::now()))
        }
        Reader::Revocation => Value::from(match read_revocation(app, &Ok(inbound)) {
            Told::Done => "done",
            Told::Dead => "dead",
            Told::OtherKind => "other_kind",
            Told::Refused => "refused",
            Told::Nothing => "nothing",
        }),
    }
}

fn token(app: &App, inbound: Inbound, missing: impl Fn(&App, &TokenSet) -> Option<Value>) -> Value {
    let body = inbound.body.clone();
    match read_answer(app, &Ok(inbound), made_up::now()) {
        Answer::Tokens(tokens) => {
            let values = values(app, &of_tokens(app, &body));
            let identity = app.identity.as_ref().filter(|identity| identity.probe.is_none());
            let found = identity.and_then(|identity| read_account_of_tokens(&identity.account, &tokens, &values));
            let mut read = json!({ "tokens": set(&tokens) });
            put(&mut read, "account", found.map(|found| account(&found)));
            put(&mut read, "missing", missing(app, &tokens));
            put(
                &mut read,
                "variables",
                Some(of_tokens(app, &body)).filter(|map| !map.is_empty()).map(|map| json!(map)),
            );
            read
        }
        Answer::Refused(refusal) => {
            let (class, wait) = match refusal.class {
                Class::Permanent => ("permanent", None),
                Class::Transient { retry_after } => ("transient", retry_after),
                Class::Client => ("client", None),
                Class::Configuration => ("configuration", None),
                Class::Unknown => ("unknown", None),
            };
            let mut read = json!({ "refused": class, "code": refusal.code });
            put(&mut read, "retry_after", wait.map(Value::from));
            read
        }
        Answer::Ambiguous(odd) => {
            let mut read = json!({ "ambiguous": odd.what });
            put(&mut read, "retry_after", odd.retry_after.map(Value::from));
            read
        }
    }
}

/// What a person would be told is missing, had the usual scopes been asked for.
fn missing(app: &App, tokens: &TokenSet) -> Option<Value> {
    let asked = app.default_scopes();
    let granted = app.granted(tokens.scopes.as_ref()?, &asked);
    let missing: Vec<_> = asked.into_iter().filter(|scope| !granted.contains(scope)).collect();
    (app.kind == Kind::OAuth2 && !missing.is_empty()).then(|| json!(missing))
}

fn set(tokens: &TokenSet) -> Value {
    let lives = |end: Option<connections::time::Timestamp>| end.map(|end| Value::from(end.since(made_up::now())));
    let mut read = json!({ "access_token": tokens.access_token.expose() });
    put(&mut read, "token_type", Some(tokens.token_type.as_str()).filter(|kind| *kind != "Bearer").map(Value::from));
    put(&mut read, "refresh_token", tokens.refresh_token.as_ref().map(|token| Value::from(token.expose())));
    put(&mut read, "lives", lives(tokens.expires_at));
    put(&mut read, "refresh_lives", lives(tokens.refresh_expires_at));
    put(&mut read, "scopes", tokens.scopes.as_ref().map(|scopes| json!(scopes)));
    let others: Map<_, _> = tokens.others.iter().map(|(name, one)| (name.clone(), set(one))).collect();
    put(&mut read, "others", Some(others).filter(|others| !others.is_empty()).map(Value::Object));
    read
}

fn identity(app: &App, inbound: &Inbound) -> Value {
    let identity = app.identity.as_ref().unwrap_or_else(|| panic!("{} {}: no identity", app.id, app.way));
    let probe: &Probe = identity.probe.as_ref().unwrap_or_else(|| panic!("{} {}: no request", app.id, app.way));
    let told = read_values(&app.variables, &inbound.body, |from| match from {
        Origin::Identity(at) => Some(at),
        _ => None::<&Pointer>,
    });
    match read_account(app, (identity, probe), inbound, &values(app, &told), made_up::now()) {
        Ok(found) => {
            let mut read = json!({ "account": account(&found) });
            put(&mut read, "scopes", scopes_in_header(identity, inbound).map(|scopes| json!(scopes)));
            put(&mut read, "variables", Some(told).filter(|map| !map.is_empty()).map(|map| json!(map)));
            read
        }
        Err(said) => verdict(said),
    }
}

fn verdict(said: ProbeVerdict) -> Value {
    let (word, wait) = match said {
        ProbeVerdict::Works => ("works", None),
        ProbeVerdict::Refused => ("refused", None),
        ProbeVerdict::Forbidden => ("forbidden", None),
        ProbeVerdict::Unavailable { retry_after } => ("unavailable", retry_after),
        ProbeVerdict::Odd | ProbeVerdict::NotSent => ("odd", None),
    };
    let mut read = json!({ "verdict": word });
    put(&mut read, "retry_after", wait.map(Value::from));
    read
}

fn account(found: &Account) -> Value {
    json!({ "id": found.id, "label": found.label })
}

fn of_tokens(app: &App, body: &[u8]) -> BTreeMap<String, String> {
    read_values(&app.variables, body, |from| match from {
        Origin::Token(at) => Some(at),
        _ => None::<&Pointer>,
    })
}

fn values(app: &App, told: &BTreeMap<String, String>) -> Values {
    let mut known = made_up::variables(app);
    known.extend(told.iter().map(|(name, value)| (name.clone(), value.clone())));
    made_up::values(app, &known)
}

fn put(read: &mut Value, name: &str, value: Option<Value>) {
    if let (Value::Object(members), Some(value)) = (read, value) {
        members.insert(name.to_owned(), value);
    }
}
