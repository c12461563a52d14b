//! From JSON to a [`Definition`]: the border where a definition is checked.
//!
//! Owns the format's defaults and its complaints, each with the field's path and a remedy. Refuses unknown fields,
//! parameters that belong to the flow, headers that could smuggle, addresses that the egress guard refuses, secrets
//! in a host. Shape errors come one at a time; all others together.

mod events;
mod pasted;
mod requests;
mod rules;
mod server;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::Serialize;

use super::{App, AppId, Definition, Kind, Limits, Origin, Scope, Variable, WayId};
use crate::egress::Egress;

use rules::LONGEST_TEXT;
use shape::{
    OneOrMany, RawApp, RawAuth, RawCheck, RawErrors, RawIdentity, RawLimits, RawNothingShared, RawRequest, RawScope,
    ScopeEntry,
};

/// The largest definition, in bytes.
const LARGEST: usize = 64 * 1024;

/// Complaints about one definition, at most: whoever reads a hundred has enough to do.
const MOST_COMPLAINTS: usize = 100;

/// Ways to connect one app, at most.
const MOST_WAYS: usize = 10;

/// What an id looks like, for people.
pub(super) const ID_RULE: &str =
    "must be 1 to 63 lower-case letters, digits, - and _, beginning with a letter or digit";

/// What is wrong with one field of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's path, such as `auth.token_url`; `.` is the whole.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Which rules a definition is read under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// The format's.
    Format,
    /// Also those that keep a workspace's definition cheap.
    New,
    /// It was read before it was stored: what costs time and can't have changed is not checked again.
    Stored,
}

/// Reads a definition of the catalogue.
///
/// # Errors
/// Every field that is wrong.
pub fn read(json: &str, egress: Egress) -> Result<Definition, Vec<FieldError>> {
    read_under(json, egress, Rules::Format)
}

/// Reads a definition that a workspace is about to store. It must be cheap to read and to use, too.
///
/// # Errors
/// Every field that is wrong.
pub fn read_new(json: &str, egress: Egress) -> Result<Definition, Vec<FieldError>> {
    read_under(json, egress, Rules::New)
}

/// Reads a definition that was read before it was stored. Its patterns are compiled when they are used first. The limits
/// of new definitions do not count: it may be older than they are.
///
/// # Errors
/// Every field that is wrong.
pub fn read_stored(json: &str, egress: Egress) -> Result<Definition, Vec<FieldError>> {
    read_under(json, egress, Rules::Stored)
}

fn read_under(json: &str, egress: Egress, rules: Rules) -> Result<Definition, Vec<FieldError>> {
    let raw = shape::parse(json).map_err(|problem| vec![problem])?;
    let mut problems = Problems { egress, rules, pattern_bytes: 0, found: Vec::new() };
    let definition = problems.definition(raw);
    match definition {
        Some(definition) if problems.found.is_empty() => Ok(definition),
        _ => Err(problems.found),
    }
}

/// Collects what is wrong on the way. Each method answers `None` where it complained.
struct Problems {
    egress: Egress,
    rules: Rules,
    /// What all patterns take when compiled.
    pattern_bytes: usize,
    found: Vec<FieldError>,
}

/// What all ways of an app have in common.
struct Common {
    id: AppId,
    name: String,
    deprecated: Option<String>,
    client_family: Option<String>,
    variables: BTreeMap<String, Variable>,
    scopes: Vec<ScopeEntry>,
    identity: Option<RawIdentity>,
    check: Option<RawCheck>,
    nothing_shared: Option<RawNothingShared>,
    request: Option<RawRequest>,
    errors: Option<RawErrors>,
    limits: Option<RawLimits>,
}

impl Problems {
    /// One complaint per field and problem: what several ways share is read for each of them.
    fn add(&mut self, field: &str, problem: impl Into<String>) {
        let error = FieldError { field: field.to_owned(), problem: problem.into() };
        if self.found.len() < MOST_COMPLAINTS && !self.found.contains(&error) {
            self.found.push(error);
        }
    }

    fn definition(&mut self, raw: RawApp) -> Option<Definition> {
        let id = AppId::parse(&raw.id);
        if id.is_none() {
            self.add("id", ID_RULE);
        }
        if raw.client_family.as_deref().is_some_and(|family| AppId::parse(family).is_none()) {
            self.add("client_family", ID_RULE);
        }
        self.text("name", &raw.name, 100);
        self.texts("categories", &raw.categories);
        self.optional_link("docs", raw.docs.as_deref());
        self.entries("sources", raw.sources.len());
        for (at, source) in raw.sources.iter().enumerate() {
            self.link(&format!("sources[{at}]"), source);
        }
        self.sentences("unverified", &raw.unverified);
        self.optional_text("deprecated", raw.deprecated.as_deref());
        let events = raw.events.and_then(|events| self.events(events));
        let variables = self.variables(raw.variables);
        let shared = Common {
            // A definition whose id is wrong is read on, so that all complaints come at once.
            id: id.clone().or_else(|| AppId::parse("unknown"))?,
            name: raw.name.clone(),
            deprecated: raw.deprecated,
            client_family: raw.client_family,
            variables,
            scopes: raw.scopes,
            identity: raw.identity,
            check: raw.check,
            nothing_shared: raw.nothing_shared,
            request: raw.request,
            errors: raw.errors,
            limits: raw.limits,
        };
        let ways = self.ways(&shared, raw.auth.ways, raw.auth.listed)?;
        Some(Definition {
            id: id?,
            name: raw.name,
            categories: raw.categories,
            docs: raw.docs,
            sources: raw.sources,
            unverified: raw.unverified,
            events,
            ways,
        })
    }

    fn ways(&mut self, shared: &Common, raw: Vec<RawAuth>, listed: bool) -> Option<Vec<Rc<App>>> {
        if raw.is_empty() || raw.len() > MOST_WAYS {
            self.add("auth", format!("needs 1 to {MOST_WAYS} ways to connect"));
            return None;
        }
        let mut ways: Vec<Option<Rc<App>>> = Vec::new();
        let mut ids: Vec<WayId> = Vec::new();
        let mut consented = false;
        for (at, one) in raw.into_iter().enumerate() {
            let path = if listed { format!("auth[{at}]") } else { "auth".to_owned() };
            let id = WayId::parse(one.id.as_deref().unwrap_or(one.r#type.as_str()));
            match &id {
                None => self.add(&format!("{path}.id"), ID_RULE),
                Some(id) if ids.contains(id) => {
                    self.add(&format!("{path}.id"), "is another way's id already; give each its own");
                }
                Some(id) => ids.push(id.clone()),
            }
            let further = consented && one.r#type == Kind::OAuth2;
            consented |= one.r#type == Kind::OAuth2;
            let way = self.way(shared, &path, id, one).map(|mut way| {
                if further {
                    way.registration = format!("{}:{}", shared.id, way.way);
                }
                Rc::new(way)
            });
            ways.push(way);
        }
        ways.into_iter().collect()
    }

    fn way(&mut self, shared: &Common, path: &str, id: Option<WayId>, mut raw: RawAuth) -> Option<App> {
        let kind = raw.r#type;
        self.optional_text(&format!("{path}.name"), raw.name.as_deref());
        self.optional_text(&format!("{path}.deprecated"), raw.deprecated.as_deref());
        self.only_fitting(path, &raw);
        let own = |present: bool, member: &str| if present { format!("{path}.{member}") } else { member.to_owned() };
        let scopes_at = own(raw.scopes.is_some(), "scopes");
        let scopes = raw.scopes.take().unwrap_or_else(|| shared.scopes.clone());
        let identity_at = own(raw.identity.is_some(), "identity");
        let identity = raw.identity.take().or_else(|| shared.identity.clone());
        let check_at = own(raw.check.is_some(), "check");
        let check = raw.check.take().or_else(|| shared.check.clone());
        let shared_at = own(raw.nothing_shared.is_some(), "nothing_shared");
        let nothing_shared = raw.nothing_shared.take().or_else(|| shared.nothing_shared.clone());
        let request_at = own(raw.request.is_some(), "request");
        let request = raw.request.take().or_else(|| shared.request.clone());
        let errors_at = own(raw.errors.is_some(), "errors");
        let errors = raw.errors.take().or_else(|| shared.errors.clone()).unwrap_or_default();
        let limits_at = own(raw.limits.is_some(), "limits");
        let limits = raw.limits.take().or_else(|| shared.limits.clone()).unwrap_or_default();

        let fields = self.fields(path, &mut raw);
        for field in fields.iter().filter(|field| shared.variables.contains_key(&field.id)) {
            self.add(&format!("{path}.fields"), format!("has a field {}, which is a variable's name, too", field.id));
        }
        let known = rules::Known { variables: &shared.variables, fields: &fields, kind };
        let oauth2 = if kind.has_tokens() { Some(self.server(path, &mut raw, &known)) } else { None };
        let separator = oauth2.as_ref().and_then(Option::as_ref).map_or(" ", |oauth2| &oauth2.scope_separator);
        let scopes = self.scopes(&scopes_at, scopes, separator);
        let identity = identity.map(|identity| self.identity(&identity_at, identity, &known));
        let check = check.map(|check| self.probe(&check_at, check, &known));
        let nothing_shared = nothing_shared.map(|raw| self.nothing_shared(&shared_at, raw, &known));
        let request = self.request(&request_at, request, (&raw.header, &raw.query), &known);
        let errors = self.errors(&errors_at, errors);
        let limits = self.limits(&limits_at, limits);
        let mut app = App {
            id: shared.id.clone(),
            name: shared.name.clone(),
            way: id?,
            way_name: raw.name,
            kind,
            deprecated: raw.deprecated.or_else(|| shared.deprecated.clone()),
            variables: Rc::default(),
            oauth2: match oauth2 {
                None => None,
                Some(server) => Some(server?),
            },
            fields,
            scopes,
            identity: match identity {
                None => None,
                Some(identity) => Some(identity?),
            },
            check: match check {
                None => None,
                Some(check) => Some(check?),
            },
            nothing_shared: match nothing_shared {
                None => None,
                Some(nothing_shared) => Some(nothing_shared?),
            },
            request: request?,
            errors: errors?,
            limits,
            client_family: shared.client_family.clone(),
            custom: false,
            registration: shared.client_family.clone().unwrap_or_else(|| shared.id.to_string()),
        };
        app.variables = Rc::new(used(&app, &shared.variables));
        self.untold(path, &app);
        Some(app)
    }

    /// A variable that this way's app has no occasion to tell would be missing at every use.
    fn untold(&mut self, path: &str, app: &App) {
        let probed = app.identity.as_ref().map_or(app.issuer().is_some(), |identity| identity.probe.is_some());
        for (name, variable) in app.variables.iter() {
            let told = match variable.from {
                Origin::Person | Origin::Client => true,
                Origin::Token(_) => app.kind.has_tokens(),
                Origin::Callback(_) => app.kind == Kind::OAuth2,
                Origin::Identity(_) => probed,
            };
            if !told {
                let problem = format!("needs {name}, which the app never tells on this way; let it come from person");
                self.add(path, problem);
            }
        }
        let asking = app.identity.iter().flat_map(super::Identity::probes).flat_map(|probe| probe.url.places());
        for name in asking {
            let told = app.variables.get(name).is_some_and(|variable| matches!(variable.from, Origin::Identity(_)));
            if told || name == "account_id" {
                self.add("identity.url", format!("has a place for {name}, which only its answer tells; remove it"));
            }
        }
    }

    fn scopes(&mut self, at: &str, raw: Vec<ScopeEntry>, separator: &str) -> Vec<Scope> {
        self.entries(at, raw.len());
        let mut scopes: Vec<Scope> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, ScopeEntry(raw)) in raw.into_iter().enumerate() {
            let field = format!("{at}[{index}]");
            let RawScope { id, description, required, default, includes, sensitive, answered } = raw;
            if id.is_empty() || id.len() > 256 || id.contains(separator) || !id.bytes().all(|b| b.is_ascii_graphic()) {
                self.add(&field, "must be 1 to 256 visible ASCII characters without the scope separator");
            }
            if !seen.insert(id.clone()) {
                self.add(&field, "stands here twice; remove one");
            }
            self.optional_text(&format!("{field}.description"), description.as_deref());
            self.optional_text(&format!("{field}.sensitive"), sensitive.as_deref());
            scopes.push(Scope { id, description, required, default, includes, sensitive, answered });
        }
        scopes
    }

    fn limits(&mut self, at: &str, raw: RawLimits) -> Limits {
        if raw.grants_per_account.is_some_and(|most| !(1..=1_000_000).contains(&most)) {
            self.add(&format!("{at}.grants_per_account"), "must be a number from 1 to a million");
        }
        self.optional_text(&format!("{at}.one_per_account"), raw.one_per_account.as_deref());
        self.sentences(&format!("{at}.notes"), &raw.notes);
        Limits { grants_per_account: raw.grants_per_account, one_per_account: raw.one_per_account, notes: raw.notes }
    }

    fn pointers(&mut self, field: &str, texts: &OneOrMany) -> Option<Vec<super::Pointer>> {
        if texts.0.is_empty() {
            self.add(field, "needs at least one JSON pointer");
        }
        let pointers: Vec<_> = texts.0.iter().map(|text| self.pointer(field, text)).collect();
        pointers.into_iter().collect()
    }
}

/// The variables that one way's addresses, headers and parameters have places for.
fn used(app: &App, variables: &BTreeMap<String, Variable>) -> BTreeMap<String, Variable> {
    let mut places: Vec<&str> = app.request.places().collect();
    if let Some(oauth2) = &app.oauth2 {
        places.extend(oauth2.endpoints.addresses().into_iter().flat_map(super::AddressTemplate::places));
        let revoke = oauth2.revoke.params.iter().flat_map(BTreeMap::values);
        let params =
            [&oauth2.authorize_params, &oauth2.more_scopes_params, &oauth2.token_params, &oauth2.refresh_params];
        let templates = params.into_iter().flat_map(BTreeMap::values).chain(revoke);
        places.extend(templates.chain(&oauth2.redirect_name).flat_map(super::Template::places));
    }
    for probe in app.probes() {
        places.extend(probe.url.places());
        places.extend(probe.headers.values().flat_map(super::Template::places));
    }
    if let Some(identity) = &app.identity {
        places
            .extend(identity.account.id.iter().chain(&identity.account.label).flat_map(super::AnswerTemplate::places));
        places.extend(identity.named_by.iter().flat_map(|named| &named.label).flat_map(super::AnswerTemplate::places));
    }
    variables
        .iter()
        .filter(|(name, _)| places.contains(&name.as_str()))
        .map(|(name, variable)| (name.clone(), asked_of(app.kind, variable)))
        .collect()
}

/// Where there is no client to set a variable together with, the person who connects gives it.
fn asked_of(kind: Kind, variable: &Variable) -> Variable {
    let from = if kind.is_pasted() && variable.from == Origin::Client { Origin::Person } else { variable.from.clone() };
    Variable { from, ..variable.clone() }
}

impl Problems {
    fn optional_text(&mut self, field: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(field, text, LONGEST_TEXT);
        }
    }

    fn optional_link(&mut self, field: &str, link: Option<&str>) {
        if let Some(link) = link {
            self.link(field, link);
        }
    }

    fn sentences(&mut self, field: &str, sentences: &[String]) {
        self.entries(field, sentences.len());
        for (at, sentence) in sentences.iter().enumerate() {
            self.text(&format!("{field}[{at}]"), sentence, LONGEST_TEXT);
        }
    }
}
