//! Rules for every text, header, parameter and address of a definition.

use std::collections::BTreeMap;

use super::super::{CredentialField, CredentialKind, JsonPointer, ParamTemplates, Template, UrlTemplate, Variable};
use super::{DefinitionReader, ReadMode};
use crate::egress::EgressUrl;
use crate::gather::Gather as _;

/// The longest span of time in a definition: ten years, in seconds.
const MAX_LIFETIME: i64 = 10 * 365 * 86_400;

/// Most entries of a list or map.
const MAX_ENTRIES: usize = 300;

/// Most parameters or headers of one request in a workspace's definition.
const MAX_PARAMETERS: usize = 50;

/// Longest text, in characters.
pub(super) const MAX_TEXT_LENGTH: usize = 1000;

/// Parameters that the flow itself sets. A definition that sets them could weaken or redirect the flow.
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

/// Whether the flow sets this parameter itself, in any spelling that a server may accept: another case, or the forms
/// that PHP normalises (`grant_type[]`, `grant.type`).
pub(super) fn is_flow_parameter(name: &str) -> bool {
    FLOW_PARAMETERS.contains(&normalize_parameter_name(name).as_str())
}

/// Whether a parameter turns a request into a token request.
pub(super) fn is_grant_type_parameter(name: &str) -> bool {
    normalize_parameter_name(name) == "grant_type"
}

/// A parameter's name as the most tolerant server reads it.
pub(super) fn normalize_parameter_name(name: &str) -> String {
    let name = name.split_once('[').filter(|(name, _)| !name.is_empty()).map_or(name, |(name, _)| name);
    name.trim().to_ascii_lowercase().replace(['.', ' ', '-', '['], "_")
}

/// Whether a grant type is a form of the password grant: RFC 6749 4.3, and its extensions, such as
/// `http://auth0.com/oauth/grant-type/password-realm`.
pub(super) fn is_password_grant(grant_type: &str) -> bool {
    let letters: String = grant_type.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();
    ["password", "ropc", "passwd"].iter().any(|word| letters.contains(word))
}

/// Headers that the platform sets. A value from a definition would be lost or break the request.
const PLATFORM_HEADERS: &[&str] = &[
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

/// Names with a meaning in every template. Fields and variables may not have them.
pub(super) const RESERVED_NAMES: &[&str] = &["access_token", "account_id", "refresh_token", "token", "redirect_uri"];

/// The permitted placeholders of an auth method's templates.
pub(super) struct TemplateContext<'a> {
    pub(super) variables: &'a BTreeMap<String, Variable>,
    pub(super) fields: &'a [CredentialField],
    pub(super) kind: CredentialKind,
}

impl TemplateContext<'_> {
    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.variables.contains_key(name)
    }

    pub(super) fn is_field(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.id == name)
    }
}

impl DefinitionReader {
    /// The query of an endpoint's address can also contain parameters.
    pub(super) fn check_endpoint_query(&mut self, field: &str, text: &str) {
        let Some((_, query)) = text.split_once('?') else { return };
        for (name, _) in url::form_urlencoded::parse(query.as_bytes()) {
            if is_flow_parameter(&name) {
                self.add_problem(
                    field,
                    format!("has the parameter {name}, which is set by the flow itself; remove it"),
                );
            }
            if name.contains(['{', '}']) {
                self.add_problem(field, "has a place in the name of a parameter; only values may have places");
            }
        }
    }

    /// An address with placeholders for variables, and, after its host, for the names in `also`.
    pub(super) fn read_url_template(
        &mut self,
        field: &str,
        text: &str,
        context: &TemplateContext<'_>,
        also: &[&str],
    ) -> Option<UrlTemplate> {
        let address = match UrlTemplate::parse(text, self.egress) {
            Ok(address) => address,
            Err(problem) => {
                let problem = problem.map_or_else(
                    || "has a brace without its partner, or a place whose name is not letters, digits and _".to_owned(),
                    |problem| problem.to_string(),
                );
                self.add_problem(field, problem);
                return None;
            }
        };
        for name in address.placeholders() {
            if !context.is_variable(name) && !also.contains(&name) {
                self.add_problem(
                    field,
                    format!("has a place for {name}, which is not known here; add it to variables"),
                );
            }
        }
        for name in address.host_placeholders() {
            if !context.is_variable(name) {
                self.add_problem(field, format!("must not have {name} in its host. Only variables are allowed there"));
            }
        }
        Some(address)
    }

    /// A page for people. It may have a fragment.
    pub(super) fn check_link(&mut self, field: &str, text: &str) {
        let (page, fragment) = text.split_once('#').unwrap_or((text, ""));
        if let Err(problem) = EgressUrl::parse(page, self.egress) {
            self.add_problem(field, problem.to_string());
        }
        if !fragment.bytes().all(|b| b.is_ascii_graphic()) {
            self.add_problem(field, "has a fragment with other than visible ASCII characters");
        }
    }

    pub(super) fn read_pointer(&mut self, field: &str, text: &str) -> Option<JsonPointer> {
        let pointer = JsonPointer::parse(text);
        if pointer.is_none() {
            self.add_problem(field, "must be a JSON pointer such as /user/id (RFC 6901)");
        }
        pointer
    }

    pub(super) fn read_pointer_or(
        &mut self,
        field: &str,
        text: Option<&str>,
        default: JsonPointer,
    ) -> Option<JsonPointer> {
        text.map_or(Some(default), |text| self.read_pointer(field, text))
    }

    /// A text whose placeholders are all among the given names.
    pub(super) fn read_template(
        &mut self,
        field: &str,
        text: &str,
        allowed: impl Fn(&str) -> bool,
    ) -> Option<Template> {
        let Some(template) = Template::parse(text) else {
            self.add_problem(
                field,
                "has a brace without its partner, or a place whose name is not letters, digits and _",
            );
            return None;
        };
        self.check_placeholders(field, &template, allowed);
        Some(template)
    }

    fn check_placeholders(&mut self, field: &str, template: &Template, allowed: impl Fn(&str) -> bool) {
        if let Some(name) = template.placeholders().find(|name| !allowed(name)) {
            self.add_problem(field, format!("has a place for {name}, which is not known here; add it to variables"));
        }
    }

    pub(super) fn read_params(
        &mut self,
        field: &str,
        params: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> ParamTemplates {
        self.check_entry_count(field, params.len());
        self.check_new_entry_count(field, params.len(), MAX_PARAMETERS);
        let mut read = ParamTemplates::new();
        for (name, value) in params {
            let field = format!("{field}.{name}");
            if is_flow_parameter(name) {
                self.add_problem(&field, "is set by the flow itself; remove it");
            }
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
                self.add_problem(&field, "must have a name of visible ASCII characters");
            }
            self.check_text(&field, value, MAX_TEXT_LENGTH);
            // A value may be JSON, so only text that looks like a placeholder is one.
            let template = Template::parse_leniently(value);
            self.check_placeholders(&field, &template, allowed);
            read.insert(name.clone(), template);
        }
        read
    }

    pub(super) fn check_headers(&mut self, field: &str, headers: &BTreeMap<String, String>, also_owned: &[&str]) {
        self.check_entry_count(field, headers.len());
        self.check_new_entry_count(field, headers.len(), MAX_PARAMETERS);
        for (name, value) in headers {
            let field = format!("{field}.{name}");
            if also_owned.contains(&name.to_ascii_lowercase().as_str()) {
                self.add_problem(&field, "is set elsewhere; remove it");
            }
            self.check_header_name(&field, name);
            if value.len() > MAX_TEXT_LENGTH || !is_header_value(value) {
                self.add_problem(&field, "must be visible ASCII characters, with spaces inside only");
            }
        }
    }

    /// A header that a definition may set.
    pub(super) fn check_header_name(&mut self, field: &str, name: &str) {
        let lower = name.to_ascii_lowercase();
        if PLATFORM_HEADERS.contains(&lower.as_str()) {
            self.add_problem(field, format!("has {name}, which is set elsewhere and never sent as given; remove it"));
        }
        if !is_header_name(name) {
            self.add_problem(field, "is not a header name (RFC 9110 5.1)");
        }
    }

    pub(super) fn read_header_templates(
        &mut self,
        field: &str,
        headers: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<BTreeMap<String, Template>> {
        self.check_headers(field, headers, &[]);
        let read: Vec<_> = headers
            .iter()
            .map(|(name, value)| Some((name.clone(), self.read_template(&format!("{field}.{name}"), value, allowed)?)))
            .collect();
        read.into_iter().gather_some()
    }

    pub(super) fn check_text(&mut self, field: &str, text: &str, longest: usize) {
        if text.trim().is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
            self.add_problem(field, format!("must be 1 to {longest} characters without control characters"));
        }
    }

    pub(super) fn check_texts(&mut self, field: &str, texts: &[String]) {
        self.check_entry_count(field, texts.len());
        for (at, text) in texts.iter().enumerate() {
            self.check_text(&format!("{field}[{at}]"), text, 100);
        }
    }

    pub(super) fn check_entry_count(&mut self, field: &str, count: usize) {
        if count > MAX_ENTRIES {
            self.add_problem(field, format!("has over {MAX_ENTRIES} entries"));
        }
    }

    /// The same, with the lower limit for a workspace's definition.
    pub(super) fn check_new_entry_count(&mut self, field: &str, count: usize, most: usize) {
        if self.mode == ReadMode::New && count > most {
            self.add_problem(
                field,
                format!("has over {most} entries, which is as many as a workspace's own app may have"),
            );
        }
    }

    pub(super) fn check_seconds(&mut self, field: &str, seconds: Option<i64>) {
        if seconds.is_some_and(|seconds| !(1..=MAX_LIFETIME).contains(&seconds)) {
            self.add_problem(field, "must be a number of seconds, from 1 to ten years");
        }
    }

    pub(super) fn check_separator(&mut self, field: &str, separator: &str) {
        let ok = (1..=3).contains(&separator.len()) && separator.bytes().all(|b| b.is_ascii_punctuation() || b == b' ');
        if !ok {
            self.add_problem(field, "must be a space or 1 to 3 characters of punctuation");
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
