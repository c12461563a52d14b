//! Which headers pass: from a caller to an app, and back.
//!
//! A caller's headers pass unless they are about the connection between caller and proxy, about who the caller is, or in the
//! credential's place. An app's headers pass only if they are known to be about its answer: they come from our own address,
//! where a browser would obey them.

use super::secrets::SecretTexts;
use crate::app::{PreparedRequest, RequestTemplate};
use crate::error::{Error, Result};

type Headers = Vec<(String, String)>;

/// What never passes to an app: hop by hop (RFC 9110 7.6.1), the caller's own authentication and origin, and headers by which
/// a server behind the app's own proxies would take the request for another one.
const NOT_TO_APP: &[&str] = &[
    "alt-used",
    "authorization",
    "cdn-loop",
    "client-ip",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "early-data",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "origin",
    "priority",
    "purpose",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "upgrade-insecure-requests",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-moz",
    "x-original-host",
    "x-original-url",
    "x-purpose",
    "x-real-ip",
    "x-rewrite-url",
];

/// The same by how they begin.
const NOT_TO_APP_PREFIXES: &[&str] =
    &["access-control-", "cf-", "proxy-", "sec-", "service-worker", "x-connections-", "x-forwarded"];

/// What passes to the caller, of the headers that HTTP knows. `content-length` is for answers to HEAD: of others the platform
/// tells it.
const TO_CALLER: &[&str] = &[
    "accept-patch",
    "accept-post",
    "accept-ranges",
    "age",
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "deprecation",
    "digest",
    "etag",
    "expires",
    "idempotency-replayed",
    "idempotent-replayed",
    "last-modified",
    "location",
    "preference-applied",
    "repr-digest",
    "retry-after",
    "sunset",
    "vary",
    "warning",
];

/// What passes of all others, by how it begins, how it ends, or what is in it: an app's own headers. A browser knows none of
/// these names but those below.
const TO_CALLER_PREFIXES: &[&str] = &["x-", "ratelimit", "odata-"];
const TO_CALLER_SUFFIXES: &[&str] = &["request-id", "requestid", "trace-id", "-version", "-cost", "-count"];
const TO_CALLER_PARTS: &[&str] = &["-api-", "rate-limit", "ratelimit"];

/// Headers with such names that a browser or a server before us would obey, or that are ours.
const NOT_TO_CALLER: &[&str] = &[
    "x-content-security-policy",
    "x-content-type-options",
    "x-dns-prefetch-control",
    "x-download-options",
    "x-frame-options",
    "x-permitted-cross-domain-policies",
    "x-request-id",
    "x-robots-tag",
    "x-sendfile",
    "x-sourcemap",
    "x-ua-compatible",
    "x-webkit-csp",
    "x-xss-protection",
];
const NOT_TO_CALLER_PREFIXES: &[&str] = &["x-accel-", "x-connections-", "x-forwarded", "x-lighttpd-"];

/// The header that has the app's own `X-Request-Id`.
const APP_REQUEST_ID: &str = "x-connections-app-request-id";

/// What a `Link` may be about: another page, or something about this one. A browser loads none of these by itself.
const LINK_RELATIONS: &[&str] = &[
    "alternate",
    "collection",
    "deprecation",
    "describedby",
    "edit",
    "first",
    "help",
    "item",
    "last",
    "latest-version",
    "next",
    "prev",
    "previous",
    "related",
    "self",
    "service-doc",
    "sunset",
    "up",
];

/// The user agent of a request whose caller names none. Some apps refuse requests without one.
const USER_AGENT: &str = "connections";

/// The headers of the request to the app.
///
/// # Errors
/// A header of the caller would stand in the credential's place.
pub(super) fn to_app(given: &Headers, template: &RequestTemplate, prepared: &PreparedRequest) -> Result<Headers> {
    // What the caller's own connection names is not for the app either (RFC 9110 7.6.1).
    let connection = given.iter().filter(|(name, _)| name == "connection").map(|(_, value)| value.to_ascii_lowercase());
    let hop_by_hop: Vec<String> = connection.flat_map(|value| split_list(&value)).collect();
    let passes = |name: &str| {
        !NOT_TO_APP.contains(&name)
            && !NOT_TO_APP_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && hop_by_hop.iter().all(|one| one != name)
    };
    let mut headers: Headers = given.iter().filter(|(name, _)| passes(name)).cloned().collect();
    if let Some((name, _)) = headers.iter().find(|(name, _)| template.fills_header(name)) {
        return Err(Error::invalid_field(name, "is a header that carries the credential. Leave it out."));
    }
    let of_definition = prepared.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    // Without this the platform would ask for encodings that the caller may not know.
    let defaults = [("user-agent", USER_AGENT), ("accept-encoding", "identity")];
    for (name, value) in of_definition.chain(defaults.map(|(name, value)| (name.to_owned(), value.to_owned()))) {
        if headers.iter().all(|(given, _)| *given != name) {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

/// What passes of the headers of the app's answer, without the credential.
pub(super) fn to_caller(given: Headers, secrets: &SecretTexts) -> Headers {
    let connection = given.iter().filter(|(name, _)| name == "connection").map(|(_, value)| value.to_ascii_lowercase());
    let hop_by_hop: Vec<String> = connection.flat_map(|value| split_list(&value)).collect();
    given
        .into_iter()
        .filter(|(name, _)| hop_by_hop.iter().all(|one| one != name))
        .filter_map(|(name, value)| pass_to_caller(name, value))
        .map(|(name, value)| {
            let value = secrets.remove_from(&value).into_owned();
            (name, value)
        })
        .collect()
}

fn pass_to_caller(name: String, value: String) -> Option<(String, String)> {
    match name.as_str() {
        "x-request-id" => Some((APP_REQUEST_ID.to_owned(), value)),
        "link" => passing_links(&value).map(|value| (name, value)),
        // Any other scheme would make a browser ask for a password.
        "www-authenticate" => {
            let is_bearer = value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
            is_bearer.then_some((name, value))
        }
        known if passes_to_caller(known) => Some((name, value)),
        _ => None,
    }
}

fn passes_to_caller(name: &str) -> bool {
    let begins = |all: &[&str]| all.iter().any(|prefix| name.starts_with(prefix));
    TO_CALLER.contains(&name)
        || (begins(TO_CALLER_PREFIXES)
            || TO_CALLER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            || TO_CALLER_PARTS.iter().any(|part| name.contains(part)))
            && !NOT_TO_CALLER.contains(&name)
            && !begins(NOT_TO_CALLER_PREFIXES)
            && !name.starts_with("sec-")
            && !name.starts_with("access-control-")
}

/// The links of a `Link` header whose every relation may pass (RFC 8288).
fn passing_links(value: &str) -> Option<String> {
    let links: Vec<&str> = split_links(value).into_iter().filter(|link| is_passing_link(link)).collect();
    (!links.is_empty()).then(|| links.join(", "))
}

fn is_passing_link(link: &str) -> bool {
    let Some((_, parameters)) = link.split_once('>') else { return false };
    let mut relations = parameters.split(';').filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("rel").then(|| value.trim().trim_matches('"').to_ascii_lowercase())
    });
    let Some(relation) = relations.next() else { return false };
    relations.next().is_none()
        && !relation.trim().is_empty()
        && relation.split_ascii_whitespace().all(|one| LINK_RELATIONS.contains(&one))
}

/// The links of a header: separated by commas that stand neither in an address nor in quotation marks.
fn split_links(value: &str) -> Vec<&str> {
    let (mut in_address, mut in_quotes, mut begin, mut links) = (false, false, 0, Vec::new());
    for (at, c) in value.char_indices() {
        match c {
            '<' if !in_quotes => in_address = true,
            '>' if !in_quotes => in_address = false,
            '"' if !in_address => in_quotes = !in_quotes,
            ',' if !in_address && !in_quotes => {
                links.extend(value.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    links.extend(value.get(begin..));
    links.into_iter().map(str::trim).filter(|link| !link.is_empty()).collect()
}

fn split_list(value: &str) -> Vec<String> {
    value.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{pass_to_caller, passing_links};

    #[test]
    fn headers_that_a_browser_obeys_do_not_pass() {
        for name in [
            "set-cookie",
            "set-cookie2",
            "clear-site-data",
            "service-worker-allowed",
            "strict-transport-security",
            "refresh",
            "content-security-policy",
            "content-security-policy-report-only",
            "access-control-allow-origin",
            "access-control-allow-api-version",
            "cross-origin-opener-policy",
            "permissions-policy",
            "origin-agent-cluster",
            "alt-svc",
            "nel",
            "report-to",
            "reporting-endpoints",
            "sourcemap",
            "x-sourcemap",
            "x-frame-options",
            "x-dns-prefetch-control",
            "x-xss-protection",
            "x-accel-redirect",
            "x-connections-outcome",
            "speculation-rules",
            "accept-ch",
            "critical-ch",
            "proxy-authenticate",
            "connection",
            "transfer-encoding",
            "keep-alive",
            "trailer",
            "upgrade",
            "server",
            "via",
            "public-key-pins",
            "cache-control",
            "pragma",
            "timing-allow-origin",
            "sec-websocket-version",
            "use-as-dictionary",
        ] {
            assert_eq!(pass_to_caller(name.into(), "v".into()), None, "{name}");
        }
    }

    #[test]
    fn headers_about_an_answer_pass() {
        for name in [
            "content-type",
            "etag",
            "retry-after",
            "location",
            "x-ratelimit-remaining",
            "ratelimit-reset",
            "vendor-ratelimit-tokens-remaining",
            "x-total-count",
            "request-id",
            "vendor-request-id",
            "vendor-api-result",
            "vendor-version",
            "x-oauth-scopes",
        ] {
            assert_eq!(pass_to_caller(name.into(), "v".into()), Some((name.into(), "v".into())));
        }
        let renamed = pass_to_caller("x-request-id".into(), "r1".into()).unwrap();
        assert_eq!(renamed, ("x-connections-app-request-id".into(), "r1".into()), "ours has that name");
    }

    #[test]
    fn a_challenge_passes_only_for_bearer_tokens() {
        let passes = |value: &str| pass_to_caller("www-authenticate".into(), value.into()).is_some();
        assert!(passes("Bearer error=\"invalid_token\"") && passes("bearer"));
        assert!(!passes("Basic realm=\"x\"") && !passes("Negotiate") && !passes(""));
    }

    #[test]
    fn links_to_other_pages_pass_and_those_that_a_browser_loads_do_not() {
        let next = "<https://a.example/x?page=2,3>; rel=\"next\"";
        assert_eq!(passing_links(next).as_deref(), Some(next));
        let mixed = format!("</s.css>; rel=preload; as=style, {next}, <//b.example>; rel=\"next preconnect\"");
        assert_eq!(passing_links(&mixed).as_deref(), Some(next));
        for link in [
            "</x>; rel=stylesheet",
            "</x>",
            "x; rel=next; rel=preload",
            "</x>; title=\"rel=next\"",
            "",
            "</x>; rel=\"\"",
        ] {
            assert_eq!(passing_links(link), None, "{link}");
        }
    }
}
