//! From JSON to an [`App`]: the border where a definition is checked.
//!
//! Owns the format's shape, its defaults and its complaints, each with the field's path and a remedy. Refuses
//! unknown fields, parameters that belong to the flow, headers that could smuggle, addresses that the egress
//! guard refuses. Shape errors come one at a time; all others together.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    ACCESS_TOKEN, AccountPointers, App, AppId, Auth, BodyEncoding, ClientAuth, Endpoints, ErrorTable, FixedEndpoints,
    Kills, OAuth2, Pointer, Probe, RequestShape, ResponseShape, Revocation, RevokeStyle, Rotation, Scope, catalogue,
};
use crate::egress::{Address, Egress};
use crate::ports::OutboundMethod;

/// The largest definition, in bytes.
const LARGEST: usize = 64 * 1024;

/// The longest span of time in a definition: ten years, in seconds.
const LONGEST_LIFE: i64 = 10 * 365 * 86_400;

/// Entries of a list or map, at most.
const MOST_ENTRIES: usize = 300;

/// Characters of a text, at most.
const LONGEST_TEXT: usize = 1000;

/// What an id looks like, for people.
pub(super) const ID_RULE: &str =
    "must be 1 to 63 lower-case letters, digits, - and _, beginning with a letter or digit";

/// Parameters that the flow itself sets; a definition that set them could weaken or redirect it.
const FLOW_PARAMETERS: &[&str] = &[
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "grant_type",
    "nonce",
    "redirect_uri",
    "refresh_token",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

/// Headers that the connection or the client's authentication own.
const OWN_HEADERS: &[&str] =
    &["connection", "content-length", "cookie", "host", "te", "trailer", "transfer-encoding", "upgrade"];

/// What is wrong with one field of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's path, such as `auth.token_url`; `.` is the whole.
    pub field: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Reads a definition, of the catalogue or of a custom app.
///
/// # Errors
/// Every field that is wrong.
pub fn read(json: &str, egress: Egress) -> Result<App, Vec<FieldError>> {
    let raw = parse(json).map_err(|problem| vec![problem])?;
    let mut problems = Problems { egress, found: Vec::new() };
    let app = problems.app(raw);
    match app {
        Some(app) if problems.found.is_empty() => Ok(app),
        _ => Err(problems.found),
    }
}

/// Reads a custom app's definition. On top of [`read`] it must not use a name under which an OAuth client of
/// the catalogue is registered: that client's secret would go wherever the definition says.
///
/// # Errors
/// Every field that is wrong.
pub fn read_custom(json: &str, egress: Egress) -> Result<App, Vec<FieldError>> {
    let app = read(json, egress)?;
    let problem = |field: &str, problem: &str| vec![FieldError { field: field.into(), problem: problem.into() }];
    if app.client_family.is_some() {
        return Err(problem("client_family", "only apps of the catalogue share a client; remove it"));
    }
    if catalogue::reserves(app.id.as_str()) {
        return Err(problem("id", "is taken by the catalogue; choose another"));
    }
    Ok(app)
}

// ---- shape ----

#[derive(Deserialize)]
struct Peek {
    auth: Option<PeekAuth>,
}

#[derive(Deserialize)]
struct PeekAuth {
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApp {
    id: String,
    name: String,
    #[serde(default)]
    categories: Vec<String>,
    docs: Option<String>,
    #[serde(default)]
    sources: Vec<String>,
    auth: RawAuth,
    #[serde(default)]
    scopes: Vec<ScopeEntry>,
    identity: Option<RawIdentity>,
    check: Option<RawCheck>,
    request: Option<RawRequest>,
    #[serde(default)]
    errors: RawErrors,
    client_family: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    #[serde(rename = "type")]
    _type: String,
    issuer: Option<String>,
    authorize_url: Option<String>,
    token_url: Option<String>,
    refresh_url: Option<String>,
    revoke_url: Option<String>,
    client_auth: Option<ClientAuth>,
    refresh_client_auth: Option<ClientAuth>,
    #[serde(default)]
    body: BodyEncoding,
    scope_separator: Option<String>,
    #[serde(default)]
    authorize_params: BTreeMap<String, String>,
    #[serde(default)]
    token_params: BTreeMap<String, String>,
    #[serde(default)]
    refresh_params: BTreeMap<String, String>,
    #[serde(default)]
    token_headers: BTreeMap<String, String>,
    #[serde(default)]
    login_hint: bool,
    #[serde(default = "yes")]
    pkce: bool,
    #[serde(default)]
    send_scope_on_refresh: bool,
    rotation: Option<RawRotation>,
    #[serde(default)]
    revoke: RawRevocation,
    access_token_lifetime: Option<i64>,
    refresh_token_lifetime: Option<i64>,
    refresh_token_idle: Option<i64>,
    #[serde(default)]
    response: RawResponse,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum RawRotation {
    None,
    Reissue,
    Strict,
    Grace(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevocation {
    #[serde(default)]
    kills: Kills,
    #[serde(default)]
    style: RevokeStyle,
    #[serde(default = "yes")]
    authenticate: bool,
}

impl Default for RawRevocation {
    fn default() -> Self {
        let Revocation { kills, style, authenticate } = Revocation::default();
        Self { kills, style, authenticate }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawResponse {
    access_token: Option<String>,
    refresh_token: Option<String>,
    expires_in: Option<String>,
    scope: Option<String>,
    token_type: Option<String>,
    scope_separator: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawIdentity {
    method: Option<Method>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    id: String,
    label: OneOrMany,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    method: Option<Method>,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "UPPERCASE")]
enum Method {
    Get,
    Post,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequest {
    base_url: Option<String>,
    headers: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawErrors {
    #[serde(default)]
    permanent: Vec<String>,
    #[serde(default)]
    client: Vec<String>,
    #[serde(default)]
    configuration: Vec<String>,
    #[serde(default)]
    transient: Vec<String>,
    error: Option<String>,
    codes: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScope {
    id: String,
    description: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(default = "yes")]
    default: bool,
}

fn yes() -> bool {
    true
}

/// A scope is its id alone, or an object. An untagged enum would hide which field of the object is wrong.
struct ScopeEntry(RawScope);

impl<'de> Deserialize<'de> for ScopeEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ScopeEntry;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a scope as text, or an object with \"id\"")
            }
            fn visit_str<E>(self, id: &str) -> Result<ScopeEntry, E> {
                Ok(ScopeEntry(RawScope { id: id.to_owned(), description: None, required: false, default: true }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ScopeEntry, A::Error> {
                RawScope::deserialize(MapAccessDeserializer::new(map)).map(ScopeEntry)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A pointer, or a list of pointers.
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON pointer such as \"/email\", or a list of them")
            }
            fn visit_str<E>(self, one: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![one.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = list.next_element()? {
                    many.push(one);
                }
                Ok(OneOrMany(many))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn parse(json: &str) -> Result<RawApp, FieldError> {
    if json.len() > LARGEST {
        return Err(FieldError { field: ".".into(), problem: "is over 64 KB".into() });
    }
    // Else an array would do: serde reads a struct from its members in order, too.
    if !json.trim_start().starts_with('{') {
        return Err(FieldError { field: ".".into(), problem: "must be a JSON object".into() });
    }
    let Peek { auth } = shape(json)?;
    match auth.and_then(|auth| auth.r#type).as_deref() {
        Some("oauth2") => shape(json),
        Some("api_key" | "basic" | "bot_token" | "client_credentials") => {
            Err(FieldError { field: "auth.type".into(), problem: "is not available yet; use \"oauth2\"".into() })
        }
        _ => Err(FieldError { field: "auth.type".into(), problem: "is required; use \"oauth2\"".into() }),
    }
}

fn shape<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, FieldError> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| shape_error(&error.path().to_string(), error.inner()))?;
    deserializer.end().map_err(|error| shape_error(".", &error))?;
    Ok(value)
}

/// What serde says, put at the field it is about.
fn shape_error(path: &str, error: &serde_json::Error) -> FieldError {
    let text = error.to_string();
    if !error.is_data() {
        return FieldError { field: ".".into(), problem: format!("is not JSON: {text}") };
    }
    // The line and column of a definition mean nothing once it has been stored or sent on.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    // The path is the object's when a member is missing or stands twice: its name is put behind it.
    let about = |kind: &str| text.strip_prefix(kind).and_then(|rest| rest.strip_suffix('`'));
    let member = |name: &str| if path == "." { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(name) = about("missing field `") {
        return FieldError { field: member(name), problem: "is required".into() };
    }
    if let Some(name) = about("duplicate field `") {
        return FieldError { field: member(name), problem: "stands here twice; remove one".into() };
    }
    FieldError { field: path.to_owned(), problem: text.to_owned() }
}

// ---- meaning ----

/// Collects what is wrong on the way. Each method answers `None` where it complained.
struct Problems {
    egress: Egress,
    found: Vec<FieldError>,
}

impl Problems {
    fn add(&mut self, field: &str, problem: impl Into<String>) {
        self.found.push(FieldError { field: field.to_owned(), problem: problem.into() });
    }

    fn app(&mut self, raw: RawApp) -> Option<App> {
        let id = AppId::parse(&raw.id);
        if id.is_none() {
            self.add("id", ID_RULE);
        }
        let family_ok = raw.client_family.as_deref().is_none_or(|family| AppId::parse(family).is_some());
        if !family_ok {
            self.add("client_family", ID_RULE);
        }
        self.text("name", &raw.name, 100);
        self.texts("categories", &raw.categories);
        if let Some(docs) = &raw.docs {
            self.link("docs", docs);
        }
        self.entries("sources", raw.sources.len());
        for (at, source) in raw.sources.iter().enumerate() {
            self.link(&format!("sources[{at}]"), source);
        }
        let oauth2 = self.oauth2(raw.auth);
        let separator = oauth2.as_ref().map_or(" ", |oauth2| &oauth2.scope_separator).to_owned();
        let scopes = self.scopes(raw.scopes, &separator);
        let identity = raw.identity.map(|identity| self.identity(identity));
        let check = raw.check.map(|check| self.check(check));
        let request = raw.request.map_or(Some(RequestShape::default()), |request| self.request(request));
        let errors = self.errors(raw.errors);
        Some(App {
            id: id?,
            name: raw.name,
            categories: raw.categories,
            docs: raw.docs,
            sources: raw.sources,
            auth: Auth::OAuth2(oauth2?),
            scopes,
            identity: identity.flatten(),
            check: check.flatten(),
            request: request?,
            errors: errors?,
            client_family: raw.client_family,
        })
    }

    fn oauth2(&mut self, raw: RawAuth) -> Option<OAuth2> {
        let endpoints = self.endpoints(&raw);
        self.params("auth.authorize_params", &raw.authorize_params);
        self.params("auth.token_params", &raw.token_params);
        self.params("auth.refresh_params", &raw.refresh_params);
        self.headers("auth.token_headers", &raw.token_headers, &["authorization", "content-type"]);
        for (field, seconds) in [
            ("auth.access_token_lifetime", raw.access_token_lifetime),
            ("auth.refresh_token_lifetime", raw.refresh_token_lifetime),
            ("auth.refresh_token_idle", raw.refresh_token_idle),
        ] {
            self.seconds(field, seconds);
        }
        let scope_separator = raw.scope_separator.unwrap_or_else(|| " ".to_owned());
        self.separator("auth.scope_separator", &scope_separator);
        if raw.revoke.style == RevokeStyle::Bearer && raw.revoke_url.is_none() {
            self.add("auth.revoke.style", "\"bearer\" needs auth.revoke_url");
        }
        Some(OAuth2 {
            endpoints: endpoints?,
            client_auth: raw.client_auth,
            refresh_client_auth: raw.refresh_client_auth,
            body: raw.body,
            scope_separator,
            authorize_params: raw.authorize_params,
            token_params: raw.token_params,
            refresh_params: raw.refresh_params,
            token_headers: raw.token_headers,
            login_hint: raw.login_hint,
            pkce: raw.pkce,
            send_scope_on_refresh: raw.send_scope_on_refresh,
            rotation: self.rotation(raw.rotation),
            revoke: Revocation {
                kills: raw.revoke.kills,
                style: raw.revoke.style,
                authenticate: raw.revoke.authenticate,
            },
            access_token_lifetime: raw.access_token_lifetime,
            refresh_token_lifetime: raw.refresh_token_lifetime,
            refresh_token_idle: raw.refresh_token_idle,
            response: self.response(raw.response)?,
        })
    }

    fn endpoints(&mut self, raw: &RawAuth) -> Option<Endpoints> {
        if let Some(issuer) = &raw.issuer {
            return self.issuer(raw, issuer);
        }
        let authorize_url = self.required_address("auth.authorize_url", raw.authorize_url.as_deref());
        let token_url = self.required_address("auth.token_url", raw.token_url.as_deref());
        let refresh_url = raw.refresh_url.as_deref().map(|url| self.address("auth.refresh_url", url));
        let revoke_url = raw.revoke_url.as_deref().map(|url| self.address("auth.revoke_url", url));
        Some(Endpoints::Fixed(Box::new(FixedEndpoints {
            authorize_url: authorize_url?,
            token_url: token_url?,
            refresh_url: refresh_url.flatten(),
            revoke_url: revoke_url.flatten(),
        })))
    }

    fn issuer(&mut self, raw: &RawAuth, issuer: &str) -> Option<Endpoints> {
        for (field, given) in [
            ("auth.authorize_url", &raw.authorize_url),
            ("auth.token_url", &raw.token_url),
            ("auth.refresh_url", &raw.refresh_url),
            ("auth.revoke_url", &raw.revoke_url),
        ] {
            if given.is_some() {
                self.add(field, "can't stand beside auth.issuer; give the issuer, or the addresses, not both");
            }
        }
        let issuer = self.address("auth.issuer", issuer)?;
        if issuer.url().query().is_some() {
            self.add("auth.issuer", "must not have a query (RFC 8414 2)");
        }
        Some(Endpoints::Issuer(issuer))
    }

    fn required_address(&mut self, field: &str, text: Option<&str>) -> Option<Address> {
        if text.is_none() {
            self.add(field, "is required where there is no auth.issuer");
        }
        text.and_then(|text| self.address(field, text))
    }

    fn address(&mut self, field: &str, text: &str) -> Option<Address> {
        Address::parse(text, self.egress).map_err(|problem| self.add(field, problem.to_string())).ok()
    }

    /// A page for people: it may have a fragment.
    fn link(&mut self, field: &str, text: &str) {
        let (page, fragment) = text.split_once('#').unwrap_or((text, ""));
        self.address(field, page);
        if !fragment.bytes().all(|b| b.is_ascii_graphic()) {
            self.add(field, "has a fragment with other than visible ASCII characters");
        }
    }

    fn rotation(&mut self, raw: Option<RawRotation>) -> Rotation {
        match raw {
            None | Some(RawRotation::Strict) => Rotation::Strict,
            Some(RawRotation::None) => Rotation::None,
            Some(RawRotation::Reissue) => Rotation::Reissue,
            Some(RawRotation::Grace(seconds)) => {
                self.seconds("auth.rotation.grace", Some(seconds));
                Rotation::Grace(seconds)
            }
        }
    }

    fn response(&mut self, raw: RawResponse) -> Option<ResponseShape> {
        if let Some(separator) = &raw.scope_separator {
            self.separator("auth.response.scope_separator", separator);
        }
        let shape = ResponseShape::default();
        let access_token = self.pointer_or("auth.response.access_token", raw.access_token, shape.access_token);
        let refresh_token = self.pointer_or("auth.response.refresh_token", raw.refresh_token, shape.refresh_token);
        let expires_in = self.pointer_or("auth.response.expires_in", raw.expires_in, shape.expires_in);
        let scope = self.pointer_or("auth.response.scope", raw.scope, shape.scope);
        let token_type = self.pointer_or("auth.response.token_type", raw.token_type, shape.token_type);
        Some(ResponseShape {
            access_token: access_token?,
            refresh_token: refresh_token?,
            expires_in: expires_in?,
            scope: scope?,
            token_type: token_type?,
            scope_separator: raw.scope_separator,
        })
    }

    fn pointer(&mut self, field: &str, text: &str) -> Option<Pointer> {
        let pointer = Pointer::parse(text);
        if pointer.is_none() {
            self.add(field, "must be a JSON pointer such as /user/id (RFC 6901)");
        }
        pointer
    }

    fn pointer_or(&mut self, field: &str, text: Option<String>, default: Pointer) -> Option<Pointer> {
        text.map_or(Some(default), |text| self.pointer(field, &text))
    }

    fn scopes(&mut self, raw: Vec<ScopeEntry>, separator: &str) -> Vec<Scope> {
        if raw.len() > MOST_ENTRIES {
            self.add("scopes", format!("has over {MOST_ENTRIES} entries"));
        }
        let mut scopes: Vec<Scope> = Vec::new();
        for (at, ScopeEntry(RawScope { id, description, required, default })) in raw.into_iter().enumerate() {
            let field = format!("scopes[{at}]");
            if id.is_empty() || id.len() > 256 || id.contains(separator) || !id.bytes().all(|b| b.is_ascii_graphic()) {
                self.add(&field, "must be 1 to 256 visible ASCII characters without the scope separator");
            }
            if scopes.iter().any(|scope| scope.id == id) {
                self.add(&field, "stands here twice; remove one");
            }
            if let Some(description) = &description {
                self.text(&format!("{field}.description"), description, LONGEST_TEXT);
            }
            scopes.push(Scope { id, description, required, default });
        }
        scopes
    }

    fn identity(&mut self, raw: RawIdentity) -> Option<Probe> {
        let RawIdentity { method, url, headers, body, id, label } = raw;
        let probe = self.probe("identity", RawCheck { method, url, headers, body });
        let id = self.pointer("identity.id", &id);
        if label.0.is_empty() {
            self.add("identity.label", "needs at least one JSON pointer");
        }
        let label: Vec<_> = label.0.iter().map(|text| self.pointer("identity.label", text)).collect();
        let label = label.into_iter().collect::<Option<Vec<_>>>();
        Some(Probe { account: Some(AccountPointers { id: id?, label: label? }), ..probe? })
    }

    fn check(&mut self, raw: RawCheck) -> Option<Probe> {
        self.probe("check", raw)
    }

    fn probe(&mut self, at: &str, raw: RawCheck) -> Option<Probe> {
        self.headers(&format!("{at}.headers"), &raw.headers, &[]);
        let post = raw.method == Some(Method::Post);
        if raw.body.is_some() && !post {
            self.add(&format!("{at}.body"), "needs \"method\": \"POST\"");
        }
        if raw.body.as_ref().is_some_and(|body| body.len() > LONGEST_TEXT) {
            self.add(&format!("{at}.body"), format!("is over {LONGEST_TEXT} bytes"));
        }
        let url = self.address(&format!("{at}.url"), &raw.url)?;
        let method = if post { OutboundMethod::Post } else { OutboundMethod::Get };
        Some(Probe { method, url, headers: raw.headers, body: raw.body, account: None })
    }

    fn request(&mut self, raw: RawRequest) -> Option<RequestShape> {
        let base_url = raw.base_url.map(|url| self.address("request.base_url", &url));
        let headers = raw.headers.unwrap_or_else(|| RequestShape::default().headers);
        self.headers("request.headers", &headers, &[]);
        for (name, template) in &headers {
            if template.replace(ACCESS_TOKEN, "").contains(['{', '}']) {
                self.add(&format!("request.headers.{name}"), "knows no placeholder but {access_token}");
            }
        }
        let base_url = match base_url {
            Some(base_url) => Some(base_url?),
            None => None,
        };
        Some(RequestShape { base_url, headers })
    }

    fn errors(&mut self, raw: RawErrors) -> Option<ErrorTable> {
        for (field, codes) in [
            ("errors.permanent", &raw.permanent),
            ("errors.client", &raw.client),
            ("errors.configuration", &raw.configuration),
            ("errors.transient", &raw.transient),
        ] {
            self.texts(field, codes);
        }
        let error = self.pointer_or("errors.error", raw.error, ErrorTable::default().error);
        let codes = raw.codes.map(|codes| self.pointer("errors.codes", &codes));
        Some(ErrorTable {
            permanent: raw.permanent,
            client: raw.client,
            configuration: raw.configuration,
            transient: raw.transient,
            error: error?,
            codes: codes.flatten(),
        })
    }

    fn params(&mut self, field: &str, params: &BTreeMap<String, String>) {
        self.entries(field, params.len());
        for (name, value) in params {
            let field = format!("{field}.{name}");
            if FLOW_PARAMETERS.contains(&name.as_str()) {
                self.add(&field, "is set by the flow itself; remove it");
            }
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                self.add(&field, "must have a name of visible ASCII characters");
            }
            self.text(&field, value, LONGEST_TEXT);
        }
    }

    fn headers(&mut self, field: &str, headers: &BTreeMap<String, String>, also_owned: &[&str]) {
        self.entries(field, headers.len());
        for (name, value) in headers {
            let field = format!("{field}.{name}");
            let lower = name.to_ascii_lowercase();
            if OWN_HEADERS.contains(&lower.as_str()) || also_owned.contains(&lower.as_str()) {
                self.add(&field, "is set elsewhere; remove it");
            }
            if !is_header_name(name) {
                self.add(&field, "is not a header name (RFC 9110 5.1)");
            }
            if value.len() > LONGEST_TEXT || !is_header_value(value) {
                self.add(&field, "must be visible ASCII characters, with spaces inside only");
            }
        }
    }

    fn text(&mut self, field: &str, text: &str, longest: usize) {
        if text.trim().is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
            self.add(field, format!("must be 1 to {longest} characters without control characters"));
        }
    }

    fn texts(&mut self, field: &str, texts: &[String]) {
        self.entries(field, texts.len());
        for (at, text) in texts.iter().enumerate() {
            self.text(&format!("{field}[{at}]"), text, 100);
        }
    }

    fn entries(&mut self, field: &str, count: usize) {
        if count > MOST_ENTRIES {
            self.add(field, format!("has over {MOST_ENTRIES} entries"));
        }
    }

    fn seconds(&mut self, field: &str, seconds: Option<i64>) {
        if seconds.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
            self.add(field, "must be a number of seconds, from 1 to ten years");
        }
    }

    fn separator(&mut self, field: &str, separator: &str) {
        let ok = (1..=3).contains(&separator.len()) && separator.bytes().all(|b| b.is_ascii_punctuation() || b == b' ');
        if !ok {
            self.add(field, "must be a space or 1 to 3 characters of punctuation");
        }
    }
}

/// A token of RFC 9110 5.6.2.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// RFC 9110 5.5, without tabs and obsolete text.
fn is_header_value(value: &str) -> bool {
    !value.is_empty() && value.trim() == value && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}
