//! Where a secret may be sent.
//!
//! Owns the addresses that each kind of secret is for, and the check that a request with a secret goes to one of them.
//! Refuses to compare hosts where an authorization server is meant: several of them share a host (the realms of
//! Keycloak, the tenants of Okta and Entra), so its addresses are compared as a whole. An app's API is compared by
//! scheme, host and port.
//!
//! For an app of the catalogue the destinations follow from the running release. For a workspace's own app, and for what
//! discovery found, they are stored beside the secret when it is obtained, and later editions of the definition change
//! nothing about them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::app::{
    AuthMethod, EndpointSource, IdentityLookup, Pattern, ResolvedEndpoints, TemplateValues, UrlTemplate, Variable,
};
use crate::egress::EgressUrl;

/// A kind of secret. Each has its own destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A client's secret, or an assertion that its private key has signed.
    ClientProof,
    /// An authorization code with its PKCE verifier.
    AuthorizationCode,
    /// A refresh token.
    RefreshToken,
    /// An access token.
    AccessToken,
    /// What a person entered: a key, a password, a client of their own.
    ManualCredential,
}

/// Addresses that secrets of one origin may be sent to. An address may have placeholders (`{shop}`), which stand for one
/// part of a host, of a path or of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destinations {
    /// The issuer of the authorization server, where its addresses are discovered (RFC 8414).
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// Where people are sent to consent. No secret goes there; it is a part of what an authorization server is.
    authorize: BTreeSet<String>,
    /// Where tokens are issued and refreshed.
    token: BTreeSet<String>,
    /// Where tokens are revoked.
    revoke: BTreeSet<String>,
    /// The origins (scheme, host and port) of the app's API.
    api: BTreeSet<String>,
    /// What decides the values of placeholders, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<String, PlaceholderRule>,
}

/// What decides the value of a placeholder. Whoever changes this changes where a secret goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct PlaceholderRule {
    /// Who tells it.
    from: String,
    /// The pattern that it must fit. Without one any value fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<PlaceholderPattern>,
    /// What is taken where nobody tells it.
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

    /// Whether a value fits. In a host, letters count without their case: an address has them in lower case.
    fn is_match(&self, value: &str, in_host: bool) -> bool {
        // A pattern that takes too much room without case keeps its case.
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
    /// Where a grant, or what a person entered, may go: the addresses of an app, filled with what is known. `at` has the
    /// endpoints of its OAuth server, as written down or as discovered. An address that still lacks a variable is none.
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
            .collect();
        found
    }

    /// What a client is set up for: the addresses of an app's authorization server, where its secret may go, and of the API,
    /// where the tokens go that it gets. They are filled with what the client was set up with; variables that are told later
    /// stay as placeholders, with their rules. Of a server that is discovered only the issuer is known at first.
    pub fn for_client(auth_method: &AuthMethod, variables: &BTreeMap<String, String>) -> Self {
        let values = TemplateValues::new().with_all(variables);
        let mut found = Self::default();
        match auth_method.oauth_server().map(|server| &server.endpoints) {
            None => {}
            Some(EndpointSource::Issuer(issuer)) => found.issuer = issuer.fill_partially(&values).ok(),
            Some(EndpointSource::Fixed(fixed)) => {
                let patterns = |urls: &[Option<&UrlTemplate>]| -> BTreeSet<String> {
                    urls.iter().flatten().filter_map(|url| url.fill_partially(&values).ok()).collect()
                };
                found.authorize = patterns(&[fixed.authorize_url.as_ref()]);
                found.token = patterns(&[Some(&fixed.token_url), fixed.refresh_url.as_ref()]);
                found.revoke = patterns(&[fixed.revoke_url.as_ref()]);
            }
        }
        found.api = api_url_templates(auth_method, auth_method.identity.as_ref())
            .filter_map(|url| Some(origin_of(&url.fill_partially(&values).ok()?).to_owned()))
            .collect();
        found.rules = found.placeholder_rules(auth_method);
        found
    }

    fn placeholder_rules(&self, auth_method: &AuthMethod) -> BTreeMap<String, PlaceholderRule> {
        let all = self.authorize.iter().chain(&self.token).chain(&self.revoke).chain(&self.api).chain(&self.issuer);
        let names = all.flat_map(|url| placeholder_names(url));
        names
            .filter_map(|name| {
                Some((name.to_owned(), PlaceholderRule::from_variable(auth_method.variables.get(name)?)))
            })
            .collect()
    }

    /// The same with the addresses that discovery found at the issuer. Where a person decides which issuer it is, only
    /// those at the issuer's own origin count: a document must not lead the secret of all people elsewhere.
    #[must_use]
    pub fn with_discovered(&self, endpoints: &ResolvedEndpoints) -> Self {
        let is_open = self.issuer_has_placeholder();
        let own = |url: &String| {
            let at_issuer = |issuer: &str| self.matches_issuer(issuer) && origin_of(issuer) == origin_of(url);
            !is_open || endpoints.issuer.as_deref().is_some_and(at_issuer)
        };
        Self {
            authorize: endpoints.authorize_url.iter().map(url_text).collect(),
            token: [&endpoints.token_url, &endpoints.refresh_url].into_iter().map(url_text).filter(own).collect(),
            revoke: endpoints
                .revoke_url
                .iter()
                .filter_map(|url| url.fill_partially(&TemplateValues::new()).ok())
                .filter(own)
                .collect(),
            ..self.clone()
        }
    }

    /// Whether the issuer depends on what a person says: then each person's has addresses of its own.
    pub fn issuer_has_placeholder(&self) -> bool {
        self.issuer.as_ref().is_some_and(|issuer| placeholder_names(issuer).next().is_some())
    }

    /// Whether an issuer is the one that is meant. One without a path may call itself without the last slash.
    fn matches_issuer(&self, name: &str) -> bool {
        let name = if origin_of(name) == name { format!("{name}/") } else { name.to_owned() };
        self.issuer.as_ref().is_some_and(|pattern| self.url_matches(pattern, &name))
    }

    /// The same, also with another's addresses of the API: those that depend on an app's answer are known only then.
    #[must_use]
    pub fn with_api_of(&self, other: &Self) -> Self {
        Self { api: self.api.union(&other.api).cloned().collect(), ..self.clone() }
    }

    /// The same, also with the addresses of another edition of one authorization server, where both follow the same rules:
    /// for one secret that was entered for each of them.
    #[must_use]
    pub fn with_addresses_of(&self, other: &Self) -> Self {
        let disagree = |(name, rule): (&String, &PlaceholderRule)| self.rules.get(name).is_some_and(|own| own != rule);
        if self.authorization_server_key() != other.authorization_server_key() || other.rules.iter().any(disagree) {
            return self.clone();
        }
        Self {
            revoke: self.revoke.union(&other.revoke).cloned().collect(),
            api: self.api.union(&other.api).cloned().collect(),
            rules: other.rules.clone().into_iter().chain(self.rules.clone()).collect(),
            ..self.clone()
        }
    }

    /// Whether its authorization server is one whose addresses nobody has discovered yet.
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

    /// Whether others add nothing to where a secret may go. An issuer leads somewhere only as long as its addresses are
    /// not known.
    pub fn covers(&self, others: &Self) -> bool {
        let same_issuer = !others.is_undiscovered() || others.issuer == self.issuer;
        let sets = [(&self.token, &others.token), (&self.revoke, &others.revoke), (&self.api, &others.api)];
        let same_rule =
            |url: &String| placeholder_names(url).all(|name| self.rules.get(name) == others.rules.get(name));
        same_issuer && sets.iter().all(|(own, theirs)| theirs.iter().all(|url| own.contains(url) && same_rule(url)))
    }

    /// What makes an authorization server the one it is: its issuer, else all that people and tokens are sent to, with the
    /// rules of the placeholders in them. A loosened rule lets other servers in.
    pub fn authorization_server_key(&self) -> String {
        let mut text = self.issuer.clone().unwrap_or_else(|| {
            let all: Vec<_> = self.authorize.iter().chain(&self.token).map(String::as_str).collect();
            all.join(" ")
        });
        let rules: BTreeMap<_, _> =
            placeholder_names(&text).filter_map(|name| Some((name, self.rules.get(name)?))).collect();
        if !rules.is_empty() {
            // Maps are sorted, and texts always serialise.
            let rules = serde_json::to_string(&rules).unwrap_or_default();
            text.push(' ');
            text.push_str(&rules);
        }
        text
    }

    /// Whether a text of an API's address, such as `https://api.example.com/v1/`, has an origin that is allowed.
    pub fn allows_api(&self, url: &str) -> bool {
        let origin = origin_of(url);
        self.api.iter().any(|pattern| self.url_matches(pattern, origin))
    }

    /// A text that is another as soon as any address or rule is.
    pub fn fingerprint(&self) -> String {
        // Sets and maps are sorted, and texts always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The hosts that get a secret, for people: with their ports, where those are not the scheme's own.
    pub fn hosts(&self) -> BTreeSet<String> {
        let issuer = self.issuer.iter().filter(|_| self.token.is_empty());
        issuer.chain(&self.token).chain(&self.revoke).chain(&self.api).map(|url| host_of(url)).collect()
    }

    /// What others add to where a secret may go, for people: hosts; at a host that is known already, the addresses that are
    /// new, because several authorization servers may share it.
    pub fn list_additions(&self, others: &Self) -> BTreeSet<String> {
        let (known, endpoints) = (self.hosts(), self.token.union(&self.revoke).collect::<BTreeSet<_>>());
        let new_hosts = others.hosts().into_iter().filter(|host| !known.contains(host));
        let new_address = |url: &&String| known.contains(&host_of(url)) && !endpoints.contains(url);
        let new_addresses = others.token.union(&others.revoke).filter(new_address);
        let bare = |url: &String| url.split_once("://").map_or(url.as_str(), |(_, rest)| rest).to_owned();
        new_hosts.chain(new_addresses.map(bare)).collect()
    }

    /// Whether a host has placeholders, and others have it, too, with the same rules: what an app tells then may be another
    /// value, but no other than before.
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

/// What ends a placeholder's value in an origin.
const HOST_VALUE_ENDS: &[char] = &['/', '?', '#', ':', '@'];
/// What ends a placeholder's value beyond the origin. A value has these percent-encoded.
const PATH_VALUE_ENDS: &[char] = &['/', '?', '#', '&', '='];

/// How many values are tried for the placeholders of one part of an address. Placeholders side by side have very many; no
/// address that is meant seriously needs so many.
const MAX_MATCH_STEPS: u32 = 4096;

/// The question whether a text is a pattern with values in the place of its placeholders.
struct PlaceholderMatcher<'a, F> {
    /// What ends a value.
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

    /// Counts a try. When all are used up the answer is no.
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

/// The address, unless a variable of the app is still unknown. What else stands open is filled when a token is revoked.
fn complete_url(auth_method: &AuthMethod, url: &UrlTemplate, values: &TemplateValues) -> Option<String> {
    let pattern = url.fill_partially(values).ok()?;
    let is_open = placeholder_names(&pattern).any(|name| auth_method.variables.contains_key(name));
    (!is_open).then_some(pattern)
}

fn placeholder_names(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name))
}

/// Scheme, host and port of an address: what stands before its path and query.
fn origin_of(url: &str) -> &str {
    // One that is a placeholder as a whole has none before its path.
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

/// A secret in a request, with the addresses that it may be sent to.
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
