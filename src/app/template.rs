//! Texts with placeholders: `https://{subdomain}.example.com/api`, `Bearer {access_token}`.
//!
//! Owns how a value is put into an address or a header, and its limits: it changes the host only if its placeholder is
//! in the host, it stays within its part of a path, and every filled address passes the egress check again. Refuses
//! unknown placeholders when a definition is read, and missing values when a template is filled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::egress::{EgressPolicy, EgressUrl, EgressUrlError};
use crate::secret::Secret;

/// Why a request cannot be built. It names placeholders, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A placeholder has no value.
    #[error("needs a value for {0}")]
    MissingValue(String),
    /// The value is not permitted there.
    #[error("has a value for {0} that is not allowed in an address")]
    InvalidValue(String),
    /// The filled address fails the egress check.
    #[error(transparent)]
    InvalidUrl(EgressUrlError),
    /// The credential may not be sent to this address.
    #[error("is not an address that the credential may be sent to")]
    DestinationNotAllowed,
}

/// The sample value of an unknown variable when a definition is read.
const SAMPLE: &str = "sample";
/// The sample of an unknown host when a definition is read.
const SAMPLE_HOST: &str = "sample.example.com";
/// Follows a sample that is a whole host.
const STAND_IN_DOMAIN: &str = ".example.com";
/// The sample of an unknown origin when a definition is read.
const SAMPLE_ORIGIN: &str = "https://sample.example.com";

/// The values of placeholders. Values may be secret, so all are treated as secret.
#[derive(Debug, Clone, Default)]
pub struct TemplateValues(BTreeMap<String, Secret>);

impl TemplateValues {
    /// Without any value.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), Secret::new(value));
        self
    }

    /// Adds several values.
    #[must_use]
    pub fn with_all<'a>(self, pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        pairs.into_iter().fold(self, |values, (name, value)| values.with(name, value))
    }

    /// A word that is in no value and not in the text, so that it can be found again.
    fn unused_word(&self, index: usize, text: &str) -> String {
        let values = || self.0.values().map(Secret::expose).chain([text]);
        let is_used = |word: &str| values().any(|value| value.to_ascii_lowercase().contains(word));
        // The values and the parts of the text can contain only few of these words.
        (0..10_000).map(|salt| format!("zz{index}z{salt}zz")).find(|word| !is_used(word)).unwrap_or_default()
    }

    /// A known value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePiece {
    Text(String),
    Placeholder(String),
}

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<TemplatePiece>);

impl Template {
    /// Reads a template. `None` if a brace is not closed or a name is invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}')?;
            if before.contains('}') || !is_identifier(name) {
                return None;
            }
            if !before.is_empty() {
                pieces.push(TemplatePiece::Text(before.to_owned()));
            }
            pieces.push(TemplatePiece::Placeholder(name.to_owned()));
            rest = tail;
        }
        if rest.contains('}') {
            return None;
        }
        if !rest.is_empty() {
            pieces.push(TemplatePiece::Text(rest.to_owned()));
        }
        Some(Self(pieces))
    }

    /// Reads a text in which braces may be literal, such as JSON: only `{name}` is a placeholder.
    pub fn parse_leniently(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            literal.push_str(before);
            rest = after;
            if let Some((name, tail)) = after.split_once('}').filter(|(name, _)| is_identifier(name)) {
                if !literal.is_empty() {
                    pieces.push(TemplatePiece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(TemplatePiece::Placeholder(name.to_owned()));
                rest = tail;
            } else {
                literal.push('{');
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(TemplatePiece::Text(literal));
        }
        Self(pieces)
    }

    /// The names of its placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            TemplatePiece::Placeholder(name) => Some(name.as_str()),
            TemplatePiece::Text(_) => None,
        })
    }

    /// The text before its only placeholder, the name, and the text after it.
    pub(super) fn only_placeholder(&self) -> Option<(&str, &str, &str)> {
        match self.0.as_slice() {
            [TemplatePiece::Placeholder(name)] => Some(("", name, "")),
            [TemplatePiece::Text(before), TemplatePiece::Placeholder(name)] => Some((before, name, "")),
            [TemplatePiece::Placeholder(name), TemplatePiece::Text(after)] => Some(("", name, after)),
            [TemplatePiece::Text(before), TemplatePiece::Placeholder(name), TemplatePiece::Text(after)] => {
                Some((before, name, after))
            }
            _ => None,
        }
    }

    /// The first placeholder whose value has this property.
    pub(super) fn find_placeholder(&self, values: &TemplateValues, is_so: impl Fn(&str) -> bool) -> Option<&str> {
        self.placeholders().find(|name| values.get(name).is_some_and(&is_so))
    }

    /// The bytes with all values, unchanged. `None` if one is missing.
    pub fn fill_bytes<'a>(&self, value: impl Fn(&str) -> Option<Cow<'a, [u8]>>) -> Option<Vec<u8>> {
        let mut filled = Vec::new();
        for piece in &self.0 {
            match piece {
                TemplatePiece::Text(text) => filled.extend_from_slice(text.as_bytes()),
                TemplatePiece::Placeholder(name) => filled.extend_from_slice(&value(name)?),
            }
        }
        Some(filled)
    }

    /// The text with all values, unchanged.
    ///
    /// # Errors
    /// The name of a missing value.
    pub fn fill(&self, values: &TemplateValues) -> Result<String, RequestError> {
        self.0
            .iter()
            .map(|piece| match piece {
                TemplatePiece::Text(text) => Ok(text.as_str()),
                TemplatePiece::Placeholder(name) => {
                    values.get(name).ok_or_else(|| RequestError::MissingValue(name.clone()))
                }
            })
            .collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            TemplatePiece::Text(text) => f.write_str(text),
            TemplatePiece::Placeholder(name) => write!(f, "{{{name}}}"),
        })
    }
}

/// Letters, digits and `_`.
pub(super) fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.len() <= 63 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// The position of a placeholder in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceholderPosition {
    Origin,
    Host,
    PathOrQuery,
}

impl PlaceholderPosition {
    /// A sample value made of a word.
    fn stand_in_value(self, word: &str, domain: &str) -> String {
        match self {
            Self::Origin => format!("https://{word}{STAND_IN_DOMAIN}"),
            Self::Host => format!("{word}{domain}"),
            Self::PathOrQuery => word.to_owned(),
        }
    }
}

/// An address with placeholders, validated as far as possible before they are filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    template: Template,
    egress: EgressPolicy,
    /// The address, if it has no placeholders.
    fixed_url: Option<EgressUrl>,
}

impl UrlTemplate {
    /// Reads a template and checks a sample of it.
    ///
    /// # Errors
    /// The first violated rule, or `None` if the text is not a template.
    pub fn parse(text: &str, egress: EgressPolicy) -> Result<Self, Option<EgressUrlError>> {
        let template = Template::parse(text).ok_or(None)?;
        let mut read = Self { template, egress, fixed_url: None };
        let names =
            read.placeholders_with_positions().map(|(name, position)| (name.to_owned(), position)).collect::<Vec<_>>();
        let filled = |host: &str| {
            let sample = names.iter().fold(TemplateValues::new(), |values, (name, position)| {
                let value = match position {
                    PlaceholderPosition::Origin => SAMPLE_ORIGIN,
                    PlaceholderPosition::Host => host,
                    PlaceholderPosition::PathOrQuery => SAMPLE,
                };
                values.with(name, value)
            });
            read.fill(&sample)
        };
        // A placeholder may be a part of the host's name, or all of it.
        let address = filled(SAMPLE).or_else(|_| filled(SAMPLE_HOST)).map_err(|error| match error {
            RequestError::InvalidUrl(problem) => Some(problem),
            RequestError::MissingValue(_) | RequestError::InvalidValue(_) | RequestError::DestinationNotAllowed => None,
        })?;
        read.fixed_url = names.is_empty().then_some(address);
        Ok(read)
    }

    /// An address without placeholders.
    pub fn from_url(address: EgressUrl) -> Self {
        // It was checked before. The policy matters only if there are placeholders.
        Self {
            template: Template(vec![TemplatePiece::Text(address.as_str().to_owned())]),
            egress: EgressPolicy::Public,
            fixed_url: Some(address),
        }
    }

    /// The address, if it has no placeholders.
    #[cfg(test)]
    pub(crate) fn fixed_url(&self) -> Option<&EgressUrl> {
        self.fixed_url.as_ref()
    }

    /// The template's text.
    pub fn template_text(&self) -> String {
        self.template.to_string()
    }

    /// The names of its placeholders.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.template.placeholders()
    }

    /// The names of the placeholders that decide the host.
    pub fn host_placeholders(&self) -> impl Iterator<Item = &str> {
        self.placeholders_with_positions()
            .filter(|(_, position)| *position != PlaceholderPosition::PathOrQuery)
            .map(|(name, _)| name)
    }

    /// The origin with a placeholder in it, as a text. `None` if the placeholder is not in the origin.
    pub(super) fn origin_of_placeholder(&self, name: &str) -> Option<String> {
        self.host_placeholders().any(|place| place == name).then(|| {
            let text = self.template_text();
            let scheme = text.split_once("://").filter(|(scheme, _)| !scheme.contains('{'));
            format!("{}{}", scheme.map_or("", |_| "https://"), authority_of(&text))
        })
    }

    /// The value of a placeholder for the host of an address, and how many characters of the host are fixed. `None` if
    /// the placeholder does not decide the host alone, or the host does not match.
    pub(super) fn extract_placeholder_value(&self, name: &str, address: &Url) -> Option<(usize, String)> {
        let (_, position) = self.placeholders_with_positions().find(|(place, _)| *place == name)?;
        let text = self.template_text();
        let authority = authority_of(&text).to_ascii_lowercase();
        let (before, after) = authority.split_once(&format!("{{{}}}", name.to_ascii_lowercase()))?;
        if before.contains('{') || after.contains('{') {
            return None;
        }
        let host = address.host_str()?;
        match position {
            PlaceholderPosition::Origin => {
                let alone = before.is_empty() && after.is_empty() && address.scheme() == "https";
                alone.then(|| (0, format!("https://{host}")))
            }
            PlaceholderPosition::Host => {
                let part = host.strip_prefix(before)?.strip_suffix(after)?;
                (!part.is_empty()).then(|| (before.len() + after.len(), part.to_owned()))
            }
            PlaceholderPosition::PathOrQuery => None,
        }
    }

    /// Whether the host ends in a fixed domain, like `{shop}.example.com`.
    pub fn has_fixed_domain(&self) -> bool {
        let text = self.template_text();
        match authority_of(&text).rsplit_once('}') {
            None => true,
            Some((_, tail)) => tail.starts_with('.') && tail.trim_end_matches('.').matches('.').count() >= 2,
        }
    }

    /// The address with the known values, and `{name}` for the others. Written like a filled address: host in lower
    /// case, no default port.
    ///
    /// # Errors
    /// A value is not permitted there, or the egress check refuses the address.
    pub fn fill_partially(&self, values: &TemplateValues) -> Result<String, RequestError> {
        if let Some(address) = &self.fixed_url {
            return Ok(address.as_str().to_owned());
        }
        let open: Vec<_> = self.placeholders_with_positions().filter(|(name, _)| values.get(name).is_none()).collect();
        let literal = self.template_text();
        let stand_in = |index: usize| values.unused_word(index, &literal);
        // A placeholder may be a part of the host's name, or all of it.
        let hosts = |domain: &str| {
            open.iter().enumerate().fold(values.clone(), |values, (index, (name, position))| {
                values.with(name, &position.stand_in_value(&stand_in(index), domain))
            })
        };
        let (address, domain) = match self.fill(&hosts("")) {
            Ok(address) => (address, ""),
            Err(_) => (self.fill(&hosts(STAND_IN_DOMAIN))?, STAND_IN_DOMAIN),
        };
        let restored = open.iter().enumerate().fold(address.as_str().to_owned(), |text, (index, (name, position))| {
            text.replace(&position.stand_in_value(&stand_in(index), domain), &format!("{{{name}}}"))
        });
        Ok(restored)
    }

    /// The address with all values.
    ///
    /// # Errors
    /// A value is missing or not permitted, or the egress check refuses the address.
    pub fn fill(&self, values: &TemplateValues) -> Result<EgressUrl, RequestError> {
        if let Some(address) = &self.fixed_url {
            return Ok(address.clone());
        }
        let mut text = String::new();
        for (piece, position) in self.pieces_with_positions() {
            match piece {
                TemplatePiece::Text(literal) => text.push_str(literal),
                TemplatePiece::Placeholder(name) => {
                    let value = values.get(name).ok_or_else(|| RequestError::MissingValue(name.clone()))?;
                    let fit = encode_for_position(value, position, self.egress)
                        .ok_or_else(|| RequestError::InvalidValue(name.clone()))?;
                    text.push_str(&fit);
                }
            }
        }
        EgressUrl::parse(&text, self.egress).map_err(RequestError::InvalidUrl)
    }

    fn pieces_with_positions(&self) -> impl Iterator<Item = (&TemplatePiece, PlaceholderPosition)> {
        let mut before = String::new();
        self.template.0.iter().map(move |piece| {
            let position = position_after(&before);
            match piece {
                TemplatePiece::Text(text) => before.push_str(text),
                TemplatePiece::Placeholder(_) if position == PlaceholderPosition::Origin => {
                    before.push_str(SAMPLE_ORIGIN);
                }
                TemplatePiece::Placeholder(_) => before.push_str(SAMPLE),
            }
            (piece, position)
        })
    }

    fn placeholders_with_positions(&self) -> impl Iterator<Item = (&str, PlaceholderPosition)> {
        self.pieces_with_positions().filter_map(|(piece, position)| match piece {
            TemplatePiece::Placeholder(name) => Some((name.as_str(), position)),
            TemplatePiece::Text(_) => None,
        })
    }
}

fn position_after(before: &str) -> PlaceholderPosition {
    match before.split_once("://") {
        None => PlaceholderPosition::Origin,
        Some((_, rest)) if rest.contains(['/', '?', '#']) => PlaceholderPosition::PathOrQuery,
        Some(_) => PlaceholderPosition::Host,
    }
}

/// The text between `://` and the next `/` or `?`, before anything is filled.
fn authority_of(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest)
}

/// The value, encoded for its position. `None` if it is not permitted there.
fn encode_for_position(value: &str, position: PlaceholderPosition, egress: EgressPolicy) -> Option<String> {
    match position {
        PlaceholderPosition::Origin => {
            let origin = EgressUrl::parse(value, egress).ok()?;
            (origin.url().path() == "/" && origin.url().query().is_none())
                .then(|| origin.as_str().trim_end_matches('/').to_owned())
        }
        PlaceholderPosition::Host => {
            let ok = !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
            ok.then(|| value.to_owned())
        }
        PlaceholderPosition::PathOrQuery => (!value.is_empty() && value != "." && value != "..")
            .then(|| utf8_percent_encode(value, ENCODED).to_string()),
    }
}

/// Percent-encodes everything except the characters that are permitted in a path and a query (RFC 3986 3.3) and have no
/// meaning there.
const ENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@').remove(b',');

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_template(text: &str) -> UrlTemplate {
        UrlTemplate::parse(text, EgressPolicy::Public).unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
    }

    fn fill_one(text: &str, name: &str, value: &str) -> Result<String, RequestError> {
        parse_template(text).fill(&TemplateValues::new().with(name, value)).map(|address| address.as_str().to_owned())
    }

    #[test]
    fn placeholders_are_filled_in_place() {
        for (text, value, becomes) in [
            ("https://{x}.example.com/a", "acme", "https://acme.example.com/a"),
            ("https://api.example.com/bot{x}/", "1:a-b_C", "https://api.example.com/bot1:a-b_C/"),
            ("https://api.example.com/v1?key={x}", "a&b=c d", "https://api.example.com/v1?key=a%26b%3Dc%20d"),
            ("{x}/services", "https://na1.example.com", "https://na1.example.com/services"),
            ("{x}/services", "https://na1.example.com/", "https://na1.example.com/services"),
        ] {
            assert_eq!(fill_one(text, "x", value).unwrap(), becomes, "{text}");
        }
    }

    #[test]
    fn a_value_cannot_change_another_part_of_the_address() {
        for (text, value) in [
            ("https://{x}.example.com/a", "evil.test/"),
            ("https://{x}.example.com/a", "evil.test#"),
            ("https://{x}.example.com/a", "evil.test?"),
            ("https://{x}.example.com/a", "a@evil.test:1"),
            ("https://{x}.example.com/a", "a\\"),
            ("https://{x}.example.com/a", "a%2f"),
            ("https://{x}.example.com/a", ""),
            ("https://{x}.example.com/a", "-"),
            ("https://{x}.example.com/a", "a..b"),
            ("https://{x}/a", "127.0.0.1"),
            ("https://{x}/a", "localhost"),
            ("https://{x}/a", "metadata.google.internal"),
            ("https://api.example.com/{x}/a", ".."),
            ("https://api.example.com/{x}/a", "."),
            ("{x}/a", "https://a.example.com/b"),
            ("{x}/a", "https://a.example.com?b"),
            ("{x}/a", "http://a.example.com"),
            ("{x}/a", "https://u:p@a.example.com"),
            ("{x}/a", "https://10.0.0.1"),
            ("{x}/a", "a.example.com"),
        ] {
            assert!(fill_one(text, "x", value).is_err(), "{text} {value}");
        }
        let path = fill_one("https://api.example.com/{x}/a", "x", "../../b?c#d").unwrap();
        assert_eq!(path, "https://api.example.com/..%2F..%2Fb%3Fc%23d/a");
    }

    #[test]
    fn the_placeholders_that_decide_the_host_are_known() {
        assert_eq!(parse_template("https://{a}.example.com/{b}").host_placeholders().collect::<Vec<_>>(), ["a"]);
        assert_eq!(parse_template("{a}/{b}").host_placeholders().collect::<Vec<_>>(), ["a"]);
        assert!(parse_template("https://{a}.example.com/").has_fixed_domain());
        assert!(parse_template("https://api.example.com/{a}").has_fixed_domain());
        assert!(!parse_template("https://{a}/").has_fixed_domain());
        assert!(!parse_template("https://login.{a}.com/").has_fixed_domain());
        assert!(!parse_template("{a}/x").has_fixed_domain());
        assert!(!parse_template("https://{a}.com./").has_fixed_domain());
    }

    #[test]
    fn unknown_placeholders_stay_in_a_pattern() {
        for (text, known, pattern) in [
            ("https://{a}.Example.com/{b}", &[("a", "Acme")][..], "https://acme.example.com/{b}"),
            ("https://{B}.example.com/", &[], "https://{B}.example.com/"),
            ("https://{a}/x?y={b}", &[], "https://{a}/x?y={b}"),
            ("https://EXAMPLE.com:443/a/../{b}", &[], "https://example.com/{b}"),
            ("{a}/services", &[], "{a}/services"),
            ("{a}/services", &[("a", "https://NA1.example.com/")], "https://na1.example.com/services"),
            ("https://zz0z0zz.example.com/{a}{b}", &[("b", "zz0z1zz")], "https://zz0z0zz.example.com/{a}zz0z1zz"),
            ("https://example.com:8443/", &[("a", "x")], "https://example.com:8443/"),
        ] {
            let values = known.iter().fold(TemplateValues::new(), |values, (name, value)| values.with(name, value));
            assert_eq!(parse_template(text).fill_partially(&values).unwrap(), pattern, "{text}");
        }
        assert!(
            parse_template("https://{a}.example.com/")
                .fill_partially(&TemplateValues::new().with("a", "evil.test/"))
                .is_err()
        );
    }

    #[test]
    fn templates_are_formatted_in_one_way() {
        for text in ["{", "}", "{}", "a{b", "a}b", "{a b}", "{a{b}}", "{/x}"] {
            assert!(Template::parse(text).is_none(), "{text}");
        }
        let json = Template::parse_leniently(r#"{"userinfo":{"a":{x}}}"#);
        assert_eq!(json.placeholders().collect::<Vec<_>>(), ["x"]);
        assert_eq!(json.fill(&TemplateValues::new().with("x", "1")).unwrap(), r#"{"userinfo":{"a":1}}"#);
        let template = Template::parse("Basic {a}:{b}").unwrap();
        assert_eq!(template.fill(&TemplateValues::new().with("a", "1").with("b", "2")).unwrap(), "Basic 1:2");
        assert_eq!(template.fill(&TemplateValues::new()), Err(RequestError::MissingValue("a".into())));
        assert_eq!(template.to_string(), "Basic {a}:{b}");
    }
}
