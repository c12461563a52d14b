//! Rules that hold for every text, header, parameter and address of a definition.

use std::collections::BTreeMap;

use super::super::{AddressTemplate, Field, Kind, Params, Pointer, Template, Variable};
use super::{Problems, Rules};
use crate::egress::Address;

/// The longest span of time in a definition: ten years, in seconds.
const LONGEST_LIFE: i64 = 10 * 365 * 86_400;

/// Entries of a list or map, at most.
const MOST_ENTRIES: usize = 300;

/// Parameters or headers of one request in a workspace's definition, at most.
const MOST_PARAMETERS: usize = 50;

/// Characters of a text, at most.
pub(super) const LONGEST_TEXT: usize = 1000;

/// Parameters that the flow itself sets; a definition that set them could weaken or redirect it.
const FLOW_PARAMETERS: &[&str] = &[
    "assertion",
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

/// Whether the flow sets this parameter itself, in any spelling that a server may take for it: other case, and what PHP
/// makes of names (`grant_type[]`, `grant.type`).
pub(super) fn is_the_flows(name: &str) -> bool {
    FLOW_PARAMETERS.contains(&as_servers_read(name).as_str())
}

/// Whether a parameter makes a token request of whatever has it.
pub(super) fn is_grant_type(name: &str) -> bool {
    as_servers_read(name) == "grant_type"
}

/// A parameter's name as the most forgiving server reads it.
pub(super) fn as_servers_read(name: &str) -> String {
    let name = name.split_once('[').filter(|(name, _)| !name.is_empty()).map_or(name, |(name, _)| name);
    name.trim().to_ascii_lowercase().replace(['.', ' ', '-', '['], "_")
}

/// What every spelling of the grant that takes a person's password has in its name: RFC 6749 4.3, and the extensions of
/// it, such as `http://auth0.com/oauth/grant-type/password-realm`.
pub(super) fn is_a_password_grant(grant_type: &str) -> bool {
    let letters: String = grant_type.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    ["password", "ropc", "passwd"].iter().any(|word| letters.contains(word))
}

/// Headers that the way to the app owns: whatever a definition gave would be lost or break the request.
const OWN_HEADERS: &[&str] = &[
    "cdn-loop",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-connecting-o2o",
    "cf-ew-via",
    "cf-ipcountry",
    "cf-pseudo-ipv4",
    "cf-ray",
    "cf-visitor",
    "cf-worker",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Names that mean something in every template, so that no field and no variable may have them.
pub(super) const RESERVED: &[&str] = &["access_token", "account_id", "refresh_token", "token", "redirect_uri"];

/// What the places of a way's templates may be.
pub(super) struct Known<'a> {
    pub(super) variables: &'a BTreeMap<String, Variable>,
    pub(super) fields: &'a [Field],
    pub(super) kind: Kind,
}

impl Known<'_> {
    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    pub(super) fn is_field(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.id == name)
    }
}

impl Problems {
    /// The query of an endpoint's address is a further place for parameters.
    pub(super) fn endpoint_query(&mut self, field: &str, text: &str) {
        let Some((_, query)) = text.split_once('?') else { return };
        for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
            if is_the_flows(&name) {
                self.add(field, format!("has the parameter {name}, which is set by the flow itself; remove it"));
            }
            if name.contains(['{', '}']) {
                self.add(field, "has a place in the name of a parameter; only values may have places");
            }
        }
    }

    /// An address with places for variables, and for the names in `also` beyond its host.
    pub(super) fn address(
        &mut self,
        field: &str,
        text: &str,
        known: &Known<'_>,
        also: &[&str],
    ) -> Option<AddressTemplate> {
        let address = match AddressTemplate::parse(text, self.egress) {
            Ok(address) => address,
            Err(problem) => {
                let problem = problem.map_or_else(
                    || "has a brace without its partner, or a place whose name is not letters, digits and _".to_owned(),
                    |problem| problem.to_string(),
                );
                self.add(field, problem);
                return None;
            }
        };
        for name in address.places() {
            if !known.is_variable(name) && !also.contains(&name) {
                self.add(field, format!("has a place for {name}, which is not known here; add it to variables"));
            }
        }
        for name in address.host_places() {
            if !known.is_variable(name) {
                self.add(field, format!("must not have {name} in its host: only a variable may decide where it goes"));
            }
        }
        Some(address)
    }

    /// A page for people: it may have a fragment.
    pub(super) fn link(&mut self, field: &str, text: &str) {
        let (page, fragment) = text.split_once('#').unwrap_or((text, ""));
        if let Err(problem) = Address::parse(page, self.egress) {
            self.add(field, problem.to_string());
        }
        if !fragment.bytes().all(|b| b.is_ascii_graphic()) {
            self.add(field, "has a fragment with other than visible ASCII characters");
        }
    }

    pub(super) fn pointer(&mut self, field: &str, text: &str) -> Option<Pointer> {
        let pointer = Pointer::parse(text);
        if pointer.is_none() {
            self.add(field, "must be a JSON pointer such as /user/id (RFC 6901)");
        }
        pointer
    }

    pub(super) fn pointer_or(&mut self, field: &str, text: Option<&str>, default: Pointer) -> Option<Pointer> {
        text.map_or(Some(default), |text| self.pointer(field, text))
    }

    /// A text whose places are all among those named.
    pub(super) fn template(&mut self, field: &str, text: &str, allowed: impl Fn(&str) -> bool) -> Option<Template> {
        let Some(template) = Template::parse(text) else {
            self.add(field, "has a brace without its partner, or a place whose name is not letters, digits and _");
            return None;
        };
        self.known_places(field, &template, allowed);
        Some(template)
    }

    fn known_places(&mut self, field: &str, template: &Template, allowed: impl Fn(&str) -> bool) {
        if let Some(name) = template.places().find(|name| !allowed(name)) {
            self.add(field, format!("has a place for {name}, which is not known here; add it to variables"));
        }
    }

    pub(super) fn params(
        &mut self,
        field: &str,
        params: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Params {
        self.entries(field, params.len());
        self.new_entries(field, params.len(), MOST_PARAMETERS);
        let mut read = Params::new();
        for (name, value) in params {
            let field = format!("{field}.{name}");
            if is_the_flows(name) {
                self.add(&field, "is set by the flow itself; remove it");
            }
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                self.add(&field, "must have a name of visible ASCII characters");
            }
            self.text(&field, value, LONGEST_TEXT);
            // A value may be JSON: only what looks like a place is one.
            let template = Template::parse_leniently(value);
            self.known_places(&field, &template, allowed);
            read.insert(name.clone(), template);
        }
        read
    }

    pub(super) fn headers(&mut self, field: &str, headers: &BTreeMap<String, String>, also_owned: &[&str]) {
        self.entries(field, headers.len());
        self.new_entries(field, headers.len(), MOST_PARAMETERS);
        for (name, value) in headers {
            let field = format!("{field}.{name}");
            if also_owned.contains(&name.to_ascii_lowercase().as_str()) {
                self.add(&field, "is set elsewhere; remove it");
            }
            self.header_name(&field, name);
            if value.len() > LONGEST_TEXT || !is_header_value(value) {
                self.add(&field, "must be visible ASCII characters, with spaces inside only");
            }
        }
    }

    /// A header that a definition may give a value.
    pub(super) fn header_name(&mut self, field: &str, name: &str) {
        let lower = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&lower.as_str()) {
            self.add(field, format!("has {name}, which is set elsewhere and never sent as given; remove it"));
        }
        if !is_header_name(name) {
            self.add(field, "is not a header name (RFC 9110 5.1)");
        }
    }

    pub(super) fn header_templates(
        &mut self,
        field: &str,
        headers: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<BTreeMap<String, Template>> {
        self.headers(field, headers, &[]);
        let read: Vec<_> = headers
            .iter()
            .map(|(name, value)| Some((name.clone(), self.template(&format!("{field}.{name}"), value, allowed)?)))
            .collect();
        read.into_iter().collect()
    }

    pub(super) fn text(&mut self, field: &str, text: &str, longest: usize) {
        if text.trim().is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
            self.add(field, format!("must be 1 to {longest} characters without control characters"));
        }
    }

    pub(super) fn texts(&mut self, field: &str, texts: &[String]) {
        self.entries(field, texts.len());
        for (at, text) in texts.iter().enumerate() {
            self.text(&format!("{field}[{at}]"), text, 100);
        }
    }

    pub(super) fn entries(&mut self, field: &str, count: usize) {
        if count > MOST_ENTRIES {
            self.add(field, format!("has over {MOST_ENTRIES} entries"));
        }
    }

    /// The same for what a workspace's own definition has few of.
    pub(super) fn new_entries(&mut self, field: &str, count: usize, most: usize) {
        if self.rules == Rules::New && count > most {
            self.add(field, format!("has over {most} entries, which is as many as a workspace's own app may have"));
        }
    }

    pub(super) fn seconds(&mut self, field: &str, seconds: Option<i64>) {
        if seconds.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
            self.add(field, "must be a number of seconds, from 1 to ten years");
        }
    }

    pub(super) fn separator(&mut self, field: &str, separator: &str) {
        let ok = (1..=3).contains(&separator.len()) && separator.bytes().all(|b| b.is_ascii_punctuation() || b == b' ');
        if !ok {
            self.add(field, "must be a space or 1 to 3 characters of punctuation");
        }
    }
}

/// A token of RFC 9110 5.6.2.
pub(super) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 100
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// RFC 9110 5.5, without tabs and obsolete text.
fn is_header_value(value: &str) -> bool {
    !value.is_empty() && value.trim() == value && value.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}
