//! From JSON to an [`App`]: the validation of a definition.
//!
//! Owns the format's defaults and its errors, each with the field's path and a remedy. Refuses unknown fields,
//! parameters that the flow sets, unsafe headers, addresses that fail the egress check, and secrets in a host. Errors
//! of the JSON structure are returned one at a time, all others together.

mod events;
mod manual;
mod requests;
mod rules;
mod server;
mod shape;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{
    App, AppId, AppScope, AuthMethod, AuthMethodId, CredentialKind, FieldProblem, Limits, Variable, VariableSource,
};
use crate::egress::EgressPolicy;
use crate::gather::Gather as _;

use rules::MAX_TEXT_LENGTH;
use shape::{
    OneOrMany, RawApp, RawAuthMethod, RawErrors, RawIdentity, RawLimits, RawNothingShared, RawProbe, RawRequest,
    RawScope, RawScopeEntry,
};

/// The largest definition, in bytes.
const MAX_DEFINITION_BYTES: usize = 64 * 1024;

/// Most errors about one definition.
const MAX_PROBLEMS: usize = 100;

/// Most auth methods of one app.
const MAX_AUTH_METHODS: usize = 10;

/// The form of an id, for people.
pub(super) const ID_RULE: &str =
    "must be 1 to 63 lower-case letters, digits, - and _, beginning with a letter or digit";

/// The rules under which a definition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadMode {
    /// The rules of the format.
    Catalogue,
    /// Also those that limit the cost of a workspace's definition.
    New,
    /// It was validated before it was stored. Expensive checks that cannot have another result are skipped.
    Stored,
}

/// Reads a definition of the catalogue.
///
/// # Errors
/// Every invalid field.
pub fn read_definition(json: &str, egress: EgressPolicy) -> Result<App, Vec<FieldProblem>> {
    read_definition_in_mode(json, egress, ReadMode::Catalogue)
}

/// Reads a definition before it is stored for a workspace. Reading and using it must be cheap.
///
/// # Errors
/// Every invalid field.
pub fn read_new_definition(json: &str, egress: EgressPolicy) -> Result<App, Vec<FieldProblem>> {
    read_definition_in_mode(json, egress, ReadMode::New)
}

/// Reads a stored definition. Its patterns are compiled at first use. The limits of new definitions do not apply,
/// because it may be older than they are.
///
/// # Errors
/// Every invalid field.
pub fn read_stored_definition(json: &str, egress: EgressPolicy) -> Result<App, Vec<FieldProblem>> {
    read_definition_in_mode(json, egress, ReadMode::Stored)
}

fn read_definition_in_mode(json: &str, egress: EgressPolicy, rules: ReadMode) -> Result<App, Vec<FieldProblem>> {
    let raw = shape::parse(json).map_err(|problem| vec![problem])?;
    let mut problems = DefinitionReader { egress, mode: rules, pattern_bytes: 0, problems: Vec::new() };
    let app = problems.read_app(raw);
    match app {
        Some(app) if problems.problems.is_empty() => Ok(app),
        _ => Err(problems.problems),
    }
}

/// Collects the errors. A method returns `None` if it added one.
struct DefinitionReader {
    egress: EgressPolicy,
    mode: ReadMode,
    /// Compiled size of all patterns.
    pattern_bytes: usize,
    problems: Vec<FieldProblem>,
}

/// The members that all auth methods of an app share.
struct SharedMembers {
    id: AppId,
    name: String,
    deprecated: Option<String>,
    client_family: Option<String>,
    variables: BTreeMap<String, Variable>,
    scopes: Vec<RawScopeEntry>,
    identity: Option<RawIdentity>,
    check: Option<RawProbe>,
    nothing_shared: Option<RawNothingShared>,
    request: Option<RawRequest>,
    errors: Option<RawErrors>,
    limits: Option<RawLimits>,
}

impl DefinitionReader {
    /// One error per field and problem, because shared members are read for each auth method.
    fn add_problem(&mut self, field: &str, problem: impl Into<String>) {
        let error = FieldProblem { field: field.to_owned(), problem: problem.into() };
        if self.problems.len() < MAX_PROBLEMS && !self.problems.contains(&error) {
            self.problems.push(error);
        }
    }

    fn read_app(&mut self, raw: RawApp) -> Option<App> {
        let id = AppId::parse(&raw.id);
        if id.is_none() {
            self.add_problem("id", ID_RULE);
        }
        if raw.client_family.as_deref().is_some_and(|family| AppId::parse(family).is_none()) {
            self.add_problem("client_family", ID_RULE);
        }
        self.check_text("name", &raw.name, 100);
        self.check_texts("categories", &raw.categories);
        self.check_optional_link("docs", raw.docs.as_deref());
        self.check_entry_count("sources", raw.sources.len());
        for (at, source) in raw.sources.iter().enumerate() {
            self.check_link(&format!("sources[{at}]"), source);
        }
        self.check_sentences("unverified", &raw.unverified);
        self.check_optional_text("deprecated", raw.deprecated.as_deref());
        let events = raw.events.and_then(|events| self.read_events(events));
        let variables = self.read_variables(raw.variables);
        let shared = SharedMembers {
            // A definition with an invalid id is still read, so that all errors are returned at once.
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
        let ways = self.read_auth_methods(&shared, raw.auth.methods, raw.auth.is_list)?;
        Some(App {
            id: id?,
            name: raw.name,
            categories: raw.categories,
            docs: raw.docs,
            sources: raw.sources,
            unverified: raw.unverified,
            events,
            auth_methods: ways,
        })
    }

    fn read_auth_methods(
        &mut self,
        shared: &SharedMembers,
        raw: Vec<RawAuthMethod>,
        listed: bool,
    ) -> Option<Vec<Rc<AuthMethod>>> {
        if raw.is_empty() || raw.len() > MAX_AUTH_METHODS {
            self.add_problem("auth", format!("needs 1 to {MAX_AUTH_METHODS} ways to connect"));
            return None;
        }
        let mut ways: Vec<Option<Rc<AuthMethod>>> = Vec::new();
        let mut ids: Vec<AuthMethodId> = Vec::new();
        let mut consented = false;
        for (at, one) in raw.into_iter().enumerate() {
            let path = if listed { format!("auth[{at}]") } else { "auth".to_owned() };
            let id = AuthMethodId::parse(one.id.as_deref().unwrap_or(one.r#type.as_str()));
            match &id {
                None => self.add_problem(&format!("{path}.id"), ID_RULE),
                Some(id) if ids.contains(id) => {
                    self.add_problem(&format!("{path}.id"), "is another way's id already; give each its own");
                }
                Some(id) => ids.push(id.clone()),
            }
            let further = consented && one.r#type == CredentialKind::OAuth2;
            consented |= one.r#type == CredentialKind::OAuth2;
            let auth_method = self.read_auth_method(shared, &path, id, one).map(|mut auth_method| {
                if further {
                    auth_method.registration = format!("{}:{}", shared.id, auth_method.method_id);
                }
                Rc::new(auth_method)
            });
            ways.push(auth_method);
        }
        ways.into_iter().collect()
    }

    fn read_auth_method(
        &mut self,
        shared: &SharedMembers,
        path: &str,
        id: Option<AuthMethodId>,
        mut raw: RawAuthMethod,
    ) -> Option<AuthMethod> {
        let kind = raw.r#type;
        self.check_optional_text(&format!("{path}.name"), raw.name.as_deref());
        self.check_optional_text(&format!("{path}.deprecated"), raw.deprecated.as_deref());
        self.check_members_fit_type(path, &raw);
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

        let fields = self.read_fields(path, &mut raw);
        for field in fields.iter().filter(|field| shared.variables.contains_key(&field.id)) {
            self.add_problem(
                &format!("{path}.fields"),
                format!("has a field {}, which is a variable's name, too", field.id),
            );
        }
        let context = rules::TemplateContext { variables: &shared.variables, fields: &fields, kind };
        let oauth2 =
            if kind.uses_oauth_server() { Some(self.read_oauth_server(path, &mut raw, &context)) } else { None };
        let separator = oauth2.as_ref().and_then(Option::as_ref).map_or(" ", |oauth2| &oauth2.scope_separator);
        let scopes = self.read_scopes(&scopes_at, scopes, separator);
        let identity = identity.map(|identity| self.read_identity(&identity_at, identity, &context));
        let check = check.map(|check| self.read_probe(&check_at, check, &context));
        let nothing_shared = nothing_shared.map(|raw| self.read_nothing_shared(&shared_at, raw, &context));
        let request = self.read_request(&request_at, request, raw.header.as_deref(), raw.query.as_deref(), &context);
        let errors = self.read_error_table(&errors_at, errors);
        let limits = self.read_limits(&limits_at, limits);
        let mut auth_method = AuthMethod {
            app_id: shared.id.clone(),
            app_name: shared.name.clone(),
            method_id: id?,
            method_name: raw.name,
            kind,
            deprecated: raw.deprecated.or_else(|| shared.deprecated.clone()),
            variables: Rc::default(),
            oauth_server: match oauth2 {
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
            is_custom: false,
            registration: shared.client_family.clone().unwrap_or_else(|| shared.id.to_string()),
        };
        auth_method.variables = Rc::new(used_variables(&auth_method, &shared.variables));
        self.check_variable_sources(path, &auth_method);
        Some(auth_method)
    }

    /// A variable whose source does not exist for this auth method would be missing at every use.
    fn check_variable_sources(&mut self, path: &str, auth_method: &AuthMethod) {
        let probed =
            auth_method.identity.as_ref().map_or(auth_method.issuer().is_some(), |identity| identity.probe.is_some());
        for (name, variable) in auth_method.variables.iter() {
            let told = match variable.source {
                VariableSource::Person | VariableSource::Client => true,
                VariableSource::Token(_) => auth_method.kind.uses_oauth_server(),
                VariableSource::Callback(_) => auth_method.kind == CredentialKind::OAuth2,
                VariableSource::Identity(_) => probed,
            };
            if !told {
                let problem = format!("needs {name}, which the app never tells on this way; let it come from person");
                self.add_problem(path, problem);
            }
        }
        let asking = auth_method
            .identity
            .iter()
            .flat_map(super::IdentityLookup::probes)
            .flat_map(|probe| probe.url.placeholders());
        for name in asking {
            let told = auth_method
                .variables
                .get(name)
                .is_some_and(|variable| matches!(variable.source, VariableSource::Identity(_)));
            if told || name == "account_id" {
                self.add_problem(
                    "identity.url",
                    format!("has a place for {name}, which only its answer tells; remove it"),
                );
            }
        }
    }

    fn read_scopes(&mut self, at: &str, raw: Vec<RawScopeEntry>, separator: &str) -> Vec<AppScope> {
        self.check_entry_count(at, raw.len());
        let mut scopes: Vec<AppScope> = Vec::new();
        let mut seen = BTreeSet::new();
        for (index, RawScopeEntry(raw)) in raw.into_iter().enumerate() {
            let field = format!("{at}[{index}]");
            let RawScope { id, description, required, default, includes, sensitive, answered } = raw;
            if id.is_empty() || id.len() > 256 || id.contains(separator) || !id.bytes().all(|b| b.is_ascii_graphic()) {
                self.add_problem(&field, "must be 1 to 256 visible ASCII characters without the scope separator");
            }
            if !seen.insert(id.clone()) {
                self.add_problem(&field, "is duplicated; remove one");
            }
            self.check_optional_text(&format!("{field}.description"), description.as_deref());
            self.check_optional_text(&format!("{field}.sensitive"), sensitive.as_deref());
            scopes.push(AppScope { id, description, required, default, includes, sensitive, answered });
        }
        scopes
    }

    fn read_limits(&mut self, at: &str, raw: RawLimits) -> Limits {
        if raw.grants_per_account.is_some_and(|most| !(1..=1_000_000).contains(&most)) {
            self.add_problem(&format!("{at}.grants_per_account"), "must be a number from 1 to a million");
        }
        self.check_optional_text(&format!("{at}.one_per_account"), raw.one_per_account.as_deref());
        self.check_sentences(&format!("{at}.notes"), &raw.notes);
        Limits { grants_per_account: raw.grants_per_account, one_per_account: raw.one_per_account, notes: raw.notes }
    }

    fn read_pointers(&mut self, field: &str, texts: &OneOrMany) -> Option<Vec<super::JsonPointer>> {
        if texts.0.is_empty() {
            self.add_problem(field, "needs at least one JSON pointer");
        }
        let pointers: Vec<_> = texts.0.iter().map(|text| self.read_pointer(field, text)).collect();
        pointers.into_iter().collect()
    }
}

/// The variables in the addresses, headers and parameters of an auth method.
fn used_variables(auth_method: &AuthMethod, variables: &BTreeMap<String, Variable>) -> BTreeMap<String, Variable> {
    let mut places: Vec<&str> = auth_method.request.placeholders().collect();
    if let Some(oauth2) = &auth_method.oauth_server {
        places.extend(oauth2.endpoints.url_templates().into_iter().flat_map(super::UrlTemplate::placeholders));
        let revoke = oauth2.revoke.params.iter().flat_map(BTreeMap::values);
        let params =
            [&oauth2.authorize_params, &oauth2.more_scopes_params, &oauth2.token_params, &oauth2.refresh_params];
        let templates = params.into_iter().flat_map(BTreeMap::values).chain(revoke);
        places.extend(templates.chain(&oauth2.redirect_name).flat_map(super::Template::placeholders));
    }
    for probe in auth_method.probes() {
        places.extend(probe.url.placeholders());
        places.extend(probe.headers.values().flat_map(super::Template::placeholders));
    }
    if let Some(identity) = &auth_method.identity {
        places.extend(
            identity
                .account
                .id
                .iter()
                .chain(&identity.account.label)
                .flat_map(super::ResponseTextTemplate::placeholders),
        );
        places.extend(
            identity.named_by.iter().flat_map(|named| &named.label).flat_map(super::ResponseTextTemplate::placeholders),
        );
    }
    variables
        .iter()
        .filter(|(name, _)| places.contains(&name.as_str()))
        .map(|(name, variable)| (name.clone(), variable_for_kind(auth_method.kind, variable)))
        .gather()
}

/// Without a client that a variable could be set with, the person who connects provides it.
fn variable_for_kind(kind: CredentialKind, variable: &Variable) -> Variable {
    let from = if kind.is_manual() && variable.source == VariableSource::Client {
        VariableSource::Person
    } else {
        variable.source.clone()
    };
    Variable { source: from, ..variable.clone() }
}

impl DefinitionReader {
    fn check_optional_text(&mut self, field: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.check_text(field, text, MAX_TEXT_LENGTH);
        }
    }

    fn check_optional_link(&mut self, field: &str, link: Option<&str>) {
        if let Some(link) = link {
            self.check_link(field, link);
        }
    }

    fn check_sentences(&mut self, field: &str, sentences: &[String]) {
        self.check_entry_count(field, sentences.len());
        for (at, sentence) in sentences.iter().enumerate() {
            self.check_text(&format!("{field}[{at}]"), sentence, MAX_TEXT_LENGTH);
        }
    }
}
