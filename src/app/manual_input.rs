//! Removes what copying adds to a pasted value.
//!
//! Owns the list of additions: invisible characters, quotes, the name of a variable or a header, the scheme that the
//! app's requests add anyway, a whole address instead of a part. Removes only what is unambiguous. Anything else is
//! reported with its kind and position; no value is ever repeated.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use super::{AuthMethod, CredentialKind, EndpointSource, IdentityLookup, Probe, Template, UrlTemplate};
use crate::egress::parse_url;

/// How often something is removed: a command's option, quotes, a header's name, a scheme, quotes again.
const MAX_LAYERS: usize = 6;
/// Longest name before a value, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// Pairs of quotes around a value.
const QUOTES: [(char, char); 9] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201d}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{ab}', '\u{bb}'),
    ('<', '>'),
];
/// Schemes that are often copied with a token. An unknown one is removed if the app adds its own.
const TOKEN_SCHEMES: [&str; 2] = ["bearer", "token"];
/// Endings of the names of variables that contain a secret, or a client's id.
const SECRET_NAME_SUFFIXES: [&str; 9] =
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PAT", "CREDENTIAL", "CLIENT_ID", "CLIENTID"];

/// Removes invisible characters: white space at the ends, and zero-width characters anywhere. A joiner between letters
/// outside ASCII stays, because it changes how they look.
pub fn strip_invisible(text: &str) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || is_zero_width(c));
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let joins = matches!(c, '\u{200c}' | '\u{200d}')
            && clean.chars().next_back().is_some_and(|before| !before.is_ascii())
            && rest.peek().is_some_and(|after| !after.is_ascii());
        if joins || !is_zero_width(c) {
            clean.push(c);
        }
    }
    clean
}

/// Invisible characters: soft hyphen, zero-width space and joiners, marks of direction, byte order mark.
fn is_zero_width(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

/// Names the first invalid character and its position.
pub(super) fn describe_first_invalid(value: &str, is_wrong: impl Fn(char) -> bool) -> Option<String> {
    let (at, c) = value.chars().enumerate().find(|(_, c)| is_wrong(*c))?;
    let what = describe_character(c);
    Some(if at == 0 { format!("begins with {what}.") } else { format!("has {what} after character {at}.") })
}

fn describe_character(c: char) -> &'static str {
    match c {
        ' ' => "a space",
        '\t' => "a tab",
        '\u{200b}' => "a zero-width space",
        '\u{a0}' | '\u{2007}' | '\u{202f}' => "a non-breaking space",
        '\u{2028}' | '\u{2029}' | '\u{85}' => "a line separator",
        _ if c.is_control() => "a control character",
        _ if c.is_whitespace() => "an unusual space character",
        _ if is_zero_width(c) || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}') => {
            "an invisible character"
        }
        '\u{2018}'..='\u{201f}' | '\u{2039}' | '\u{203a}' | '\u{ab}' | '\u{bb}' => "a curly quotation mark",
        '\u{2010}'..='\u{2015}' | '\u{2212}' => "a dash that is not a hyphen",
        '\u{2026}' => "an ellipsis, so the value may be cut off,",
        '\u{2022}' | '\u{25cf}' => "a bullet, so it may have been copied while it was hidden,",
        '\u{ff01}'..='\u{ff5e}' => "a full-width character, which is not ASCII,",
        _ => "a character that is not ASCII",
    }
}

/// Unusual white space, which nobody types.
pub(super) fn is_unusual_space(c: char) -> bool {
    c.is_whitespace() && !matches!(c, ' ' | '\t' | '\n' | '\r') && !c.is_control()
}

/// Where the app's requests contain a value.
#[derive(Debug, Clone, Default)]
pub struct FieldPlacement {
    /// The header that contains it unencoded. None if it is encoded, so that any character is possible.
    pub(super) header: Option<String>,
    /// Headers that contain only this value: their names, and the scheme before it.
    header_schemes: Vec<(String, String)>,
    /// Whether it is a password or similar, which may contain any character.
    allows_any_character: bool,
}

impl AuthMethod {
    /// Where requests contain the value of a field, or of a token by its name in templates.
    pub fn field_placement(&self, name: &str) -> FieldPlacement {
        let stands_for_token = self.oauth_server().is_none() && self.first_secret_field() == Some(name);
        let is_it = |place: &str| place == name || stands_for_token && place == "access_token";
        let headers = || self.request.headers.iter().chain(self.probes().flat_map(|probe| &probe.headers));
        let holds = |template: &Template| template.placeholders().any(is_it);
        let added = headers().filter_map(|(header, template)| {
            let (before, place, after) = template.only_placeholder()?;
            (is_it(place) && after.is_empty()).then(|| (header.clone(), before.trim().to_owned()))
        });
        FieldPlacement {
            header: headers().find(|(_, template)| holds(template)).map(|(header, _)| header.clone()),
            header_schemes: added.collect(),
            allows_any_character: self.kind == CredentialKind::Basic,
        }
    }

    /// All its requests that contain the credential.
    pub(crate) fn probes(&self) -> impl Iterator<Item = &Probe> {
        let shared = self.nothing_shared.iter().map(|shared| &shared.probe);
        self.identity.iter().flat_map(IdentityLookup::probes).chain(&self.check).chain(shared)
    }

    /// All addresses in the definition.
    pub(super) fn url_templates(&self) -> impl Iterator<Item = &UrlTemplate> {
        let probes = self.probes().map(|probe| &probe.url);
        let (fixed, issuer) = match self.oauth_server().map(|server| &server.endpoints) {
            None => (None, None),
            Some(EndpointSource::Issuer(issuer)) => (None, Some(issuer)),
            Some(EndpointSource::Fixed(fixed)) => (Some(fixed), None),
        };
        let fixed = fixed.into_iter().flat_map(|fixed| {
            let others = [&fixed.authorize_url, &fixed.refresh_url, &fixed.revoke_url].into_iter().flatten();
            [&fixed.token_url].into_iter().chain(others)
        });
        self.request.base_url.iter().chain(probes).chain(fixed).chain(issuer)
    }
}

/// Parses a value as an address, with or without its scheme. Addresses with a user name or a port are ignored, because
/// no part of them is unambiguous.
pub(super) fn parse_pasted_url(value: &str) -> Option<Url> {
    let has_scheme = value.contains("://");
    let mut url = if has_scheme { parse_url(value) } else { parse_url(&format!("https://{value}")) }?;
    // The dot of the root domain.
    if let Some(host) = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
        url.set_host(Some(&host)).ok()?;
    }
    let named = matches!(url.host(), Some(Host::Domain(domain)) if domain.contains('.'));
    let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    (named && plain && matches!(url.scheme(), "https" | "http")).then_some(url)
}

/// Removes text around a value, if that is unambiguous.
///
/// # Errors
/// The value is something else: a whole header, or a pair of user name and password.
pub fn unwrap_pasted_value<'a>(
    value: &'a str,
    usage: &FieldPlacement,
    fits: Option<&dyn Fn(&str) -> bool>,
) -> Result<&'a str, String> {
    // A password may have any form, unless the app's pattern says otherwise.
    if usage.allows_any_character && fits.is_none_or(|fits| fits(value)) {
        return if is_basic_pair(value, true) { Err(BASIC_HEADER_PROBLEM.to_owned()) } else { Ok(value) };
    }
    let mut inner = value;
    for _ in 0..MAX_LAYERS {
        if !usage.is_whole_authorization_header() && is_basic_pair(inner, false) {
            return Err(BASIC_HEADER_PROBLEM.to_owned());
        }
        let Some(taken) = usage.strip_layer(inner) else { break };
        inner = taken;
    }
    if let Some(fits) = fits
        && fits(value)
        && !fits(inner)
    {
        return Ok(value);
    }
    if strip_header_name(inner, "authorization").is_some() {
        return Err("is a whole header. Enter only the value after the header's name and its scheme.".to_owned());
    }
    if is_json_object(inner) && fits.is_none_or(|fits| !fits(inner)) {
        return Err("is a JSON object with several values. Enter only the one that is asked for.".to_owned());
    }
    Ok(inner)
}

const BASIC_HEADER_PROBLEM: &str = "is the value of an HTTP Basic header, which holds a user name and a password in one. Enter what it was made \
                    of, each in its field.";

impl FieldPlacement {
    /// In a header, after a scheme.
    #[cfg(test)]
    pub(super) fn in_header(name: &str, scheme: &str) -> Self {
        Self {
            header: Some(name.into()),
            header_schemes: vec![(name.into(), scheme.into())],
            allows_any_character: false,
        }
    }

    /// Whether it is the whole value of the authorization header, with its scheme.
    fn is_whole_authorization_header(&self) -> bool {
        self.header_schemes.iter().any(|(name, scheme)| scheme.is_empty() && name.eq_ignore_ascii_case("authorization"))
    }

    fn strip_layer<'a>(&self, value: &'a str) -> Option<&'a str> {
        let value = value.strip_prefix("-H ").or(value.strip_prefix("--header ")).map_or(value, str::trim_start);
        let quoted = QUOTES.iter().find_map(|pair| strip_quotes(value, *pair));
        let taken = quoted
            .or_else(|| self.strip_own_header(value))
            .or_else(|| self.strip_scheme(value))
            .or_else(|| strip_assignment(value))
            .or_else(|| only_member(value))?;
        let taken = taken.trim();
        (!taken.is_empty()).then_some(taken)
    }

    /// The text after the name of a header that contains the value, unless another scheme follows than requests add.
    fn strip_own_header<'a>(&self, value: &'a str) -> Option<&'a str> {
        self.header_schemes.iter().find_map(|(name, scheme)| {
            let rest = strip_header_name(value, name)?.trim();
            let is_clear =
                scheme.is_empty() || !rest.contains(char::is_whitespace) || self.strip_scheme(rest).is_some();
            is_clear.then_some(rest)
        })
    }

    /// The text after the scheme that requests add. After another scheme, only if it is one word.
    fn strip_scheme<'a>(&self, value: &'a str) -> Option<&'a str> {
        let (scheme, rest) = value.split_once(char::is_whitespace)?;
        let is = |known: &str| scheme.trim_end_matches(':').eq_ignore_ascii_case(known);
        let own = self.header_schemes.iter().any(|(_, added)| is_scheme_word(added) && is(added));
        let adds = self.header_schemes.iter().any(|(_, added)| is_scheme_word(added));
        let others = adds && TOKEN_SCHEMES.iter().any(|known| is(known)) && !rest.trim().contains(char::is_whitespace);
        (own || others).then_some(rest)
    }
}

fn is_scheme_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// A value without one pair of quotes around it.
pub(super) fn strip_any_quotes(value: &str) -> &str {
    QUOTES.iter().find_map(|pair| strip_quotes(value, *pair)).unwrap_or(value)
}

/// The text between two quotes without further quotes inside.
fn strip_quotes(value: &str, (open, close): (char, char)) -> Option<&str> {
    let inner = value.strip_prefix(open)?.strip_suffix(close)?;
    (!inner.is_empty() && !inner.contains([open, close])).then_some(inner)
}

/// The text after a header's name and a colon.
fn strip_header_name<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (before, rest) = value.split_once(':')?;
    before.trim().eq_ignore_ascii_case(name).then_some(rest)
}

/// The text after the name of a variable: `KEY=value`, `export KEY="value"`, `"api_key": "value",`.
fn strip_assignment(value: &str) -> Option<&str> {
    let exported = ["export ", "set ", "$env:"].iter().find_map(|word| value.strip_prefix(word));
    let line = exported.unwrap_or(value).trim_start();
    let at = line.find(['=', ':'])?;
    let (name, rest) = line.split_at_checked(at)?;
    let is_equal = rest.starts_with('=');
    let rest = rest.get(1..)?;
    // `name:value` may be a value. `name: value` is not.
    if !is_equal && !rest.starts_with(char::is_whitespace) {
        return None;
    }
    let name = name.trim().trim_matches(['"', '\'']);
    let is_name = name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let upper = name.to_ascii_uppercase();
    let is_variable = name == upper && name.contains('_') && is_equal;
    let holds_secret = SECRET_NAME_SUFFIXES.iter().any(|end| upper.ends_with(end));
    let rest = rest.trim();
    let rest = ["\",", "',", "\";", "';"]
        .iter()
        .find(|end| rest.ends_with(**end))
        .map_or(rest, |_| rest.strip_suffix([',', ';']).unwrap_or(rest));
    // The end of base64 looks like an assignment, and a query or a connection string contains several values.
    let is_one = !rest.is_empty() && !rest.starts_with('=') && !rest.contains(['&', ';']) && {
        let plain = rest.trim_matches(['"', '\'', '`']);
        !plain.contains(char::is_whitespace)
            || TOKEN_SCHEMES.iter().any(|known| {
                plain.split_once(' ').is_some_and(|(scheme, token)| {
                    scheme.eq_ignore_ascii_case(known) && !token.contains(char::is_whitespace)
                })
            })
    };
    (is_name && (exported.is_some() || is_variable || holds_secret) && is_one).then_some(rest)
}

/// The text in a JSON object with a single member.
fn only_member(value: &str) -> Option<&str> {
    let members: BTreeMap<&str, &str> = serde_json::from_str(value).ok()?;
    members.values().next().copied().filter(|_| members.len() == 1)
}

fn is_json_object(value: &str) -> bool {
    value.starts_with('{') && serde_json::from_str::<serde_json::Value>(value).is_ok_and(|value| value.is_object())
}

/// Whether a text is a user name and a password as in HTTP Basic. `surely` says that it is known to be a pair.
fn is_basic_pair(value: &str, surely: bool) -> bool {
    let value = strip_header_name(value, "authorization").map_or(value, str::trim);
    let Some((scheme, pair)) = value.split_once(char::is_whitespace) else { return false };
    let pair = pair.trim();
    let is_word = !pair.is_empty() && !pair.contains(char::is_whitespace);
    let holds_pair = || STANDARD.decode(pair).is_ok_and(|pair| pair.contains(&b':'));
    scheme.eq_ignore_ascii_case("basic") && is_word && (!surely || holds_pair())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_removed_and_visible_ones_kept() {
        for (pasted, value) in [
            ("\u{feff}k1\r\n", "k1"),
            (" \u{a0}\u{200b}k1\u{2060}\t", "k1"),
            ("k\u{200b}\u{ad}1\u{200d}2", "k12"),
            ("k 1", "k 1"),
            ("k\u{a0}1", "k\u{a0}1"),
            ("a\u{200d}b", "ab"),
            ("\u{1f469}\u{200d}\u{1f4bb}", "\u{1f469}\u{200d}\u{1f4bb}"),
            ("\u{200b}\u{ad}", ""),
        ] {
            assert_eq!(strip_invisible(pasted), value, "{pasted:?}");
        }
    }

    #[test]
    fn forbidden_characters_are_named_with_their_position() {
        for (value, said) in [
            ("k\u{a0}1", "has a non-breaking space after character 1."),
            ("\u{201c}k", "begins with a curly quotation mark."),
            ("ab\u{2013}c", "has a dash that is not a hyphen after character 2."),
            ("abc\u{2026}", "has an ellipsis, so the value may be cut off, after character 3."),
            ("k\u{43a}", "has a character that is not ASCII after character 1."),
            ("k\u{1}", "has a control character after character 1."),
        ] {
            assert_eq!(describe_first_invalid(value, |c| !c.is_ascii() || c.is_control()).unwrap(), said);
        }
    }

    #[test]
    fn surrounding_text_is_removed_if_it_is_unambiguous() {
        let bearer = FieldPlacement::in_header("Authorization", "Bearer");
        let plain = FieldPlacement::in_header("X-Api-Key", "");
        let whole = FieldPlacement::in_header("Authorization", "");
        let cases = [
            (&bearer, "Bearer k1", "k1"),
            (&bearer, "bearer  k1", "k1"),
            (&bearer, "Authorization: Bearer k1", "k1"),
            (&bearer, "-H \"Authorization: Bearer k1\"", "k1"),
            (&bearer, "token k1", "k1"),
            (&bearer, "API_KEY=k1", "k1"),
            (&bearer, "KEY=value", "value"),
            (&bearer, "export TOKEN='k1'", "k1"),
            (&bearer, "\"api_key\": \"k1\",", "k1"),
            (&bearer, "API_KEY=\"Bearer k1\"", "k1"),
            (&bearer, "\u{201c}k1\u{201d}", "k1"),
            (&bearer, "<k1>", "k1"),
            (&plain, "X-Api-Key: k1", "k1"),
            (&plain, "'k1'", "k1"),
            (&plain, "Bearer k1", "Bearer k1"),
            (&whole, "Authorization: Bearer k1", "Bearer k1"),
            (&whole, "Basic YTpi", "Basic YTpi"),
            (&bearer, "TUFTVEVSX0tFWQ==", "TUFTVEVSX0tFWQ=="),
            (&bearer, "MASTER_KEY==", "MASTER_KEY=="),
            (&bearer, "AccountName=a;AccountKey=b", "AccountName=a;AccountKey=b"),
            (&bearer, "user_key:secret", "user_key:secret"),
            (&bearer, "{\"api_key\":\"k1\"}", "k1"),
            (&bearer, "{\"token\": \"Bearer k1\"}", "k1"),
            (&plain, "client_id=c1", "c1"),
            (&plain, "client_id: c1", "c1"),
            (&bearer, "{k1}", "{k1}"),
            (&bearer, "\"k", "\"k"),
            (&bearer, "\"\"", "\"\""),
        ];
        for (usage, pasted, value) in cases {
            assert_eq!(unwrap_pasted_value(pasted, usage, None).unwrap(), value, "{pasted}");
        }
        for (pasted, said) in [
            ("Basic YTpi", "HTTP Basic header"),
            ("Authorization: Basic YTpi", "HTTP Basic header"),
            ("Authorization: Digest k1", "a whole header"),
            (r#"{"key":"k1","id":"k2"}"#, "a JSON object"),
            (r#"{"key":"k\u00311"}"#, "a JSON object"),
            (r#"{"key":{"value":"k1"}}"#, "a JSON object"),
        ] {
            assert!(unwrap_pasted_value(pasted, &bearer, None).unwrap_err().contains(said), "{pasted}");
        }
    }

    #[test]
    fn a_password_is_unchanged_unless_the_apps_pattern_requires_otherwise() {
        let free = FieldPlacement { allows_any_character: true, ..FieldPlacement::default() };
        for password in ["\"p\"", "KEY=value", "Bearer k", "basic instinct", "Basic YTpiX"] {
            assert_eq!(unwrap_pasted_value(password, &free, None).unwrap(), password);
        }
        assert!(unwrap_pasted_value("Basic YTpi", &free, None).is_err(), "surely a pair");
        let fits = |value: &str| value.starts_with("SK");
        assert_eq!(unwrap_pasted_value("\"SK1\"", &free, Some(&fits)).unwrap(), "SK1");
        // A pattern also keeps what it permits.
        let any = |value: &str| value.contains('=');
        assert_eq!(
            unwrap_pasted_value("API_KEY=k1", &FieldPlacement::in_header("X", ""), Some(&any)).unwrap(),
            "API_KEY=k1"
        );
    }
}
