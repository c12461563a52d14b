//! Where a secret may be sent.
//!
//! Owns the addresses for each kind of secret, and the check that a request with a secret is sent to one of them.
//! Addresses of an authorization server are compared completely and not by host, because several servers share a host
//! (the realms of Keycloak, the tenants of Okta and Entra). An app's API is compared by scheme, host and port.
//!
//! For a catalogue app the destinations follow from the running version. For a custom app, and for discovered
//! endpoints, they are stored with the secret when it is obtained. Later changes of the definition do not change them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::app::{
    AuthMethod, EndpointSource, IdentityLookup, Pattern, ResolvedEndpoints, TemplateValues, UrlTemplate, Variable,
};
use crate::egress::EgressUrl;
use crate::gather::Gather as _;

/// A kind of secret. Each has its own destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A client's secret, or an assertion signed with its private key.
    ClientProof,
    /// An authorization code with its PKCE verifier.
    AuthorizationCode,
    /// A refresh token.
    RefreshToken,
    /// An access token.
    AccessToken,
    /// A manual credential: a key, a password, client credentials.
    ManualCredential,
}

/// The destinations of secrets with one origin. An address may have placeholders (`{shop}`), each for one part of a
/// host, a path or a query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destinations {
    /// The issuer of the authorization server, if its addresses are discovered (RFC 8414).
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// Where people are redirected to consent. No secret is sent there, but it identifies the authorization server.
    authorize: BTreeSet<String>,
    /// Where tokens are issued and refreshed.
    token: BTreeSet<String>,
    /// Where tokens are revoked.
    revoke: BTreeSet<String>,
    /// The origins (scheme, host and port) of the app's API.
    api: BTreeSet<String>,
    /// The sources of placeholder values, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<String, PlaceholderRule>,
}

/// The source of a placeholder's value. Whoever changes it changes where a secret is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct PlaceholderRule {
    /// Who provides it.
    from: String,
    /// The pattern that it must match. Without one any value matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<PlaceholderPattern>,
    /// The default value.
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
}

impl PlaceholderRule {
    fn from_variable(variable: &Variable) -> Self {
        Self {
            from: variable.source.to_string(),
            pattern: variable.pattern.as_ref().map(|pattern| PlaceholderPattern::new(pattern.as_str())),
            default: variable.default.clone(),
        }
    }

    fn allows_value(&self, value: &str, in_host: bool) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value, in_host))
    }
}

/// The pattern of a placeholder, as its text is stored. Each form is compiled at its first comparison and kept: a request
/// compares very many values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct PlaceholderPattern {
    exact: Pattern,
    without_case: Pattern,
}

impl PlaceholderPattern {
    fn new(text: &str) -> Self {
        let exact = Pattern::from_stored(text);
        Self { without_case: exact.ignoring_case(), exact }
    }

    /// Whether a value is permitted. In a host, case is ignored, because an address has the host in lower case.
    fn is_match(&self, value: &str, in_host: bool) -> bool {
        // A pattern that becomes too large when it ignores case keeps its case.
        let ignores_case = in_host && self.without_case.compiled_size().is_some();
        if ignores_case { self.without_case.is_match(value) } else { self.exact.is_match(value) }
    }
}

impl PartialEq for PlaceholderPattern {
    fn eq(&self, other: &Self) -> bool {
        self.exact.as_str() == other.exact.as_str()
    }
}

impl Eq for PlaceholderPattern {}

impl From<String> for PlaceholderPattern {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<PlaceholderPattern> for String {
    fn from(pattern: PlaceholderPattern) -> Self {
        pattern.exact.as_str().to_owned()
    }
}

impl Destinations {
    /// The destinations of a grant or a manual credential: the addresses of an app with the known values. `at` has the
    /// endpoints of its OAuth server, fixed or discovered. An address with an unknown variable is left out.
    pub fn for_grant(
        auth_method: &AuthMethod,
        endpoints: Option<&ResolvedEndpoints>,
        variables: &BTreeMap<String, String>,
    ) -> Self {
        let values = TemplateValues::new().with_all(variables);
        let mut found = Self::default();
        if let Some(endpoints) = endpoints {
            found.issuer.clone_from(&endpoints.issuer);
            found.authorize.extend(endpoints.authorize_url.iter().map(url_text));
            found.token.extend([&endpoints.token_url, &endpoints.refresh_url].map(url_text));
            found.revoke.extend(endpoints.revoke_url.iter().filter_map(|url| complete_url(auth_method, url, &values)));
        }
        let identity = auth_method.identity_for_endpoints(endpoints);
        found.api = api_url_templates(auth_method, identity)
            .filter_map(|url| complete_url(auth_method, url, &values))
            .map(|url| origin_of(&url).to_owned())
            .gather();
        found
    }

    /// The destinations of a client: the addresses of an app's authorization server for its secret, and of the API for
    /// the tokens that it gets. They have the values that the client was set up with; later variables stay
    /// placeholders, with their rules. For a discovered server only the issuer is known at first.
    pub fn for_client(auth_method: &AuthMethod, variables: &BTreeMap<String, String>) -> Self {
        let values = TemplateValues::new().with_all(variables);
        let mut found = Self::default();
        match auth_method.oauth_server().map(|server| &server.endpoints) {
            None => {}
            Some(EndpointSource::Issuer(issuer)) => found.issuer = issuer.fill_partially(&values).ok(),
            Some(EndpointSource::Fixed(fixed)) => {
                let patterns = |urls: &[Option<&UrlTemplate>]| -> BTreeSet<String> {
                    urls.iter().flatten().filter_map(|url| url.fill_partially(&values).ok()).gather()
                };
                found.authorize = patterns(&[fixed.authorize_url.as_ref()]);
                found.token = patterns(&[Some(&fixed.token_url), fixed.refresh_url.as_ref()]);
                found.revoke = patterns(&[fixed.revoke_url.as_ref()]);
            }
        }
        found.api = api_url_templates(auth_method, auth_method.identity.as_ref())
            .filter_map(|url| Some(origin_of(&url.fill_partially(&values).ok()?).to_owned()))
            .gather();
        found.rules = found.placeholder_rules(auth_method);
        found
    }

    /// The destinations of a client that only redeems codes: the issuer's token endpoint.
    pub fn for_token_endpoint(issuer: &str, url: &EgressUrl) -> Self {
        Self { issuer: Some(issuer.to_owned()), token: [url_text(url)].into(), ..Self::default() }
    }

    fn placeholder_rules(&self, auth_method: &AuthMethod) -> BTreeMap<String, PlaceholderRule> {
        let all = self.authorize.iter().chain(&self.token).chain(&self.revoke).chain(&self.api).chain(&self.issuer);
        let names = all.flat_map(|url| placeholder_names(url));
        names
            .filter_map(|name| {
                Some((name.to_owned(), PlaceholderRule::from_variable(auth_method.variables.get(name)?)))
            })
            .gather()
    }

    /// The same with the addresses that were discovered at the issuer. If a person chooses the issuer, only those at
    /// the issuer's own origin are added: a document must not redirect the secret of all people.
    #[must_use]
    pub fn with_discovered(&self, endpoints: &ResolvedEndpoints) -> Self {
        let is_open = self.issuer_has_placeholder();
        let own = |url: &String| {
            let at_issuer = |issuer: &str| self.matches_issuer(issuer) && origin_of(issuer) == origin_of(url);
            !is_open || endpoints.issuer.as_deref().is_some_and(at_issuer)
        };
        Self {
            authorize: endpoints.authorize_url.iter().map(url_text).gather(),
            token: [&endpoints.token_url, &endpoints.refresh_url].into_iter().map(url_text).filter(own).gather(),
            revoke: endpoints
                .revoke_url
                .iter()
                .filter_map(|url| url.fill_partially(&TemplateValues::new()).ok())
                .filter(own)
                .gather(),
            ..self.clone()
        }
    }

    /// Whether the issuer depends on the person. Then each person's issuer has its own addresses.
    pub fn issuer_has_placeholder(&self) -> bool {
        self.issuer.as_ref().is_some_and(|issuer| placeholder_names(issuer).next().is_some())
    }

    /// Whether a name is that of the issuer. One without a path may have a slash at the end.
    fn matches_issuer(&self, name: &str) -> bool {
        let name = if origin_of(name) == name { format!("{name}/") } else { name.to_owned() };
        self.issuer.as_ref().is_some_and(|pattern| self.url_matches(pattern, &name))
    }

    /// The same, with another's addresses of the API: those with variables from responses become known only then.
    #[must_use]
    pub fn with_api_of(&self, other: &Self) -> Self {
        Self { api: self.api.union(&other.api).cloned().gather(), ..self.clone() }
    }

    /// The same, with the addresses of another definition of the same authorization server, if both have the same
    /// rules: for one secret that was entered for each of them.
    #[must_use]
    pub fn with_addresses_of(&self, other: &Self) -> Self {
        let disagree = |(name, rule): (&String, &PlaceholderRule)| self.rules.get(name).is_some_and(|own| own != rule);
        if self.authorization_server_key() != other.authorization_server_key() || other.rules.iter().any(disagree) {
            return self.clone();
        }
        Self {
            revoke: self.revoke.union(&other.revoke).cloned().gather(),
            api: self.api.union(&other.api).cloned().gather(),
            rules: other.rules.clone().into_iter().chain(self.rules.clone()).gather(),
            ..self.clone()
        }
    }

    /// Whether the addresses of its authorization server were not discovered yet.
    pub fn is_undiscovered(&self) -> bool {
        self.issuer.is_some() && self.token.is_empty()
    }

    /// Whether a secret may be sent to an address.
    pub fn allows(&self, kind: SecretKind, url: &EgressUrl) -> bool {
        let any = |set: &BTreeSet<String>, text: &str| set.iter().any(|pattern| self.url_matches(pattern, text));
        let token = || any(&self.token, url.as_str());
        let revoke = || any(&self.revoke, url.as_str());
        let api = || any(&self.api, &url.origin());
        match kind {
            SecretKind::AuthorizationCode => token(),
            SecretKind::ClientProof | SecretKind::RefreshToken => token() || revoke(),
            SecretKind::AccessToken => revoke() || api(),
            SecretKind::ManualCredential => token() || revoke() || api(),
        }
    }

    /// Whether others add no destination. An issuer counts only as long as its addresses are unknown.
    pub fn covers(&self, others: &Self) -> bool {
        let same_issuer = !others.is_undiscovered() || others.issuer == self.issuer;
        let sets = [(&self.token, &others.token), (&self.revoke, &others.revoke), (&self.api, &others.api)];
        let same_rule =
            |url: &String| placeholder_names(url).all(|name| self.rules.get(name) == others.rules.get(name));
        same_issuer && sets.iter().all(|(own, theirs)| theirs.iter().all(|url| own.contains(url) && same_rule(url)))
    }

    /// The identity of an authorization server: its issuer, otherwise all addresses for consent and tokens, with the
    /// rules of their placeholders. A wider rule permits other servers.
    pub fn authorization_server_key(&self) -> String {
        let mut text = self.issuer.clone().unwrap_or_else(|| {
            let all: Vec<_> = self.authorize.iter().chain(&self.token).map(String::as_str).collect();
            all.join(" ")
        });
        let rules: BTreeMap<_, _> =
            placeholder_names(&text).filter_map(|name| Some((name, self.rules.get(name)?))).gather();
        if !rules.is_empty() {
            // Maps are sorted, and texts can always be serialised.
            let rules = serde_json::to_string(&rules).unwrap_or_default();
            text.push(' ');
            text.push_str(&rules);
        }
        text
    }

    /// Whether an address of an API, such as `https://api.example.com/v1/`, has a permitted origin.
    pub fn allows_api(&self, url: &str) -> bool {
        let origin = origin_of(url);
        self.api.iter().any(|pattern| self.url_matches(pattern, origin))
    }

    /// A text that changes with every address and rule.
    pub fn fingerprint(&self) -> String {
        // Sets and maps are sorted, and texts can always be serialised.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The hosts that get a secret, for people: with their ports, if they are not the default.
    pub fn hosts(&self) -> BTreeSet<String> {
        let issuer = self.issuer.iter().filter(|_| self.token.is_empty());
        issuer.chain(&self.token).chain(&self.revoke).chain(&self.api).map(|url| host_of(url)).gather()
    }

    /// The destinations that others add, for people: hosts, and for known hosts the new addresses, because several
    /// authorization servers may share a host.
    pub fn list_additions(&self, others: &Self) -> BTreeSet<String> {
        let (known, endpoints) = (self.hosts(), self.token.union(&self.revoke).gather::<BTreeSet<_>>());
        let new_hosts = others.hosts().into_iter().filter(|host| !known.contains(host));
        let new_address = |url: &&String| known.contains(&host_of(url)) && !endpoints.contains(url);
        let new_addresses = others.token.union(&others.revoke).filter(new_address);
        let bare = |url: &String| url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).to_owned();
        new_hosts.chain(new_addresses.map(bare)).gather()
    }

    /// Whether a host with placeholders is also one of the others', with the same rules. Then a response of the app can
    /// change the value only as before.
    pub fn shares_placeholder_host(&self, others: &Self, host: &str) -> bool {
        let same_rule = |name: &str| self.rules.get(name) == others.rules.get(name);
        host.contains('{') && others.hosts().contains(host) && placeholder_names(host).all(same_rule)
    }

    fn url_matches(&self, pattern: &str, url: &str) -> bool {
        let fits = |in_host: bool| {
            move |name: &str, value: &str| self.rules.get(name).is_none_or(|rule| rule.allows_value(value, in_host))
        };
        let (wanted, given) = (origin_of(pattern), origin_of(url));
        let (Some(path), Some(rest)) = (pattern.strip_prefix(wanted), url.strip_prefix(given)) else { return false };
        let whole = wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')).filter(|name| !name.contains('{'));
        let same_origin = match whole {
            Some(name) => fits(true)(name, given),
            None => PlaceholderMatcher::new(HOST_VALUE_ENDS, &fits(true)).is_match(wanted, given),
        };
        same_origin && PlaceholderMatcher::new(PATH_VALUE_ENDS, &fits(false)).is_match(path, rest)
    }
}

/// The characters that end a placeholder's value in an origin.
const HOST_VALUE_ENDS: &[char] = &['/', '?', '#', ':', '@'];
/// The characters that end a placeholder's value after the origin. A value contains them only percent-encoded.
const PATH_VALUE_ENDS: &[char] = &['/', '?', '#', '&', '='];

/// How many values are tried for the placeholders of one part of an address. Adjacent placeholders have very many; no
/// real address needs so many.
const MAX_MATCH_STEPS: u32 = 4096;

/// Matches a text with a pattern that has placeholders.
struct PlaceholderMatcher<'a, F> {
    /// The characters that end a value.
    value_ends: &'a [char],
    accepts: &'a F,
    steps_left: Cell<u32>,
}

impl<'a, F: Fn(&str, &str) -> bool> PlaceholderMatcher<'a, F> {
    fn new(ends: &'a [char], fits: &'a F) -> Self {
        Self { value_ends: ends, accepts: fits, steps_left: Cell::new(MAX_MATCH_STEPS) }
    }

    fn is_match(&self, pattern: &str, text: &str) -> bool {
        let Some((literal, rest)) = pattern.split_once('{') else { return pattern == text };
        let (Some(text), Some((name, pattern))) = (text.strip_prefix(literal), rest.split_once('}')) else {
            return false;
        };
        let longest = text.find(self.value_ends).unwrap_or(text.len());
        (1..=longest)
            .rev()
            .filter_map(|end| text.split_at_checked(end))
            .take_while(|_| self.consume_step())
            .any(|(value, rest)| self.is_match(pattern, rest) && (self.accepts)(name, value))
    }

    /// Counts a step. When all are used, the text does not match.
    fn consume_step(&self) -> bool {
        let left = self.steps_left.get();
        self.steps_left.set(left.saturating_sub(1));
        left > 0
    }
}

/// The addresses of an app's API, all of which get its credential.
fn api_url_templates<'a>(
    auth_method: &'a AuthMethod,
    identity: Option<&'a IdentityLookup>,
) -> impl Iterator<Item = &'a UrlTemplate> {
    let discovered = identity.into_iter().flat_map(IdentityLookup::probes);
    discovered.chain(auth_method.probes()).map(|probe| &probe.url).chain(&auth_method.request.base_url)
}

fn url_text(url: &EgressUrl) -> String {
    url.as_str().to_owned()
}

/// The address, unless a variable of the app is unknown. Other placeholders are filled when a token is revoked.
fn complete_url(auth_method: &AuthMethod, url: &UrlTemplate, values: &TemplateValues) -> Option<String> {
    let pattern = url.fill_partially(values).ok()?;
    let is_open = placeholder_names(&pattern).any(|name| auth_method.variables.contains_key(name));
    (!is_open).then_some(pattern)
}

fn placeholder_names(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Scheme, host and port of an address: the text before its path and query.
fn origin_of(url: &str) -> &str {
    // An address that is one placeholder has none before its path.
    let scheme = url.find("://").filter(|at| url.get(..*at).is_some_and(|before| !before.contains(['/', '?', '{'])));
    let start = scheme.map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| start + at);
    url.get(..end).unwrap_or(url)
}

/// Host and port of an address.
fn host_of(url: &str) -> String {
    let origin = origin_of(url);
    origin.split_once("://").map_or(origin, |(_, host)| host).to_owned()
}

/// A secret in a request, with its destinations.
#[derive(Clone)]
pub struct RequestSecret {
    kind: SecretKind,
    destinations: Rc<Destinations>,
}

impl RequestSecret {
    /// A secret of this kind.
    pub fn new(kind: SecretKind, destinations: &Rc<Destinations>) -> Self {
        Self { kind, destinations: Rc::clone(destinations) }
    }

    /// Its kind.
    pub fn kind(&self) -> SecretKind {
        self.kind
    }

    /// Whether it may be sent to an address.
    pub fn may_be_sent_to(&self, url: &EgressUrl) -> bool {
        self.destinations.allows(self.kind, url)
    }
}

impl fmt::Debug for RequestSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Carried({:?})", self.kind)
    }
}

#[cfg(test)]
mod tests;
