//! The check of every address that a person can influence: app definitions, discovery documents.
//!
//! Owns the rule where this Worker may send requests. Refuses everything that is not `https` to a public DNS name:
//! address literals in any notation, `localhost`, names of private networks, user info. What a public name resolves to
//! is checked by the platform (`global_fetch_strictly_public`).

use std::fmt;

use url::{Host, Position, Url};

/// The longest address, in characters.
const MAX_URL_LENGTH: usize = 2048;

/// The longest DNS name, in characters (RFC 1035 2.3.4).
const MAX_HOST_LENGTH: usize = 253;

/// The longest label of a DNS name (RFC 1035 2.3.4).
const MAX_LABEL_LENGTH: usize = 63;

/// Names, with everything under them, of private networks or of the machine itself: special use (RFC 6761, 6762, 8375),
/// ICANN's `internal`, common private names, metadata services, and public names that are known to resolve to a private
/// address. `.test` and `.example` are permitted, because they resolve to nothing.
const PRIVATE_NAMES: &[&str] = &[
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "lan",
    "home",
    "corp",
    "mail",
    "svc",
    "consul",
    "onion",
    "invalid",
    "arpa",
    "metadata.goog",
    "metadata.azure.com",
    "metadata.tencentyun.com",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "nip.io",
    "sslip.io",
    "xip.io",
    "localtest.me",
    "lvh.me",
    "vcap.me",
    "lacolhost.com",
];

/// Which addresses are permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EgressPolicy {
    /// `https` to public DNS names.
    Public,
    /// Also `http` and `https` to this machine: `localhost`, `127.0.0.0/8`, `[::1]`. For development.
    DevLoopback,
}

/// An address that passed the check.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EgressUrl(Url);

/// Why an address was refused. `Display` says what to do instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EgressUrlError {
    /// Over 2048 characters.
    #[error("is too long; use at most 2048 characters")]
    TooLong,
    /// Spaces, control characters, backslashes or anything beyond ASCII.
    #[error(
        "has a space, a control character, a backslash or a character beyond ASCII; percent-encode it, and write an \
         international host name in its xn-- form"
    )]
    Characters,
    /// Not a valid address.
    #[error("is not an address; write it like https://login.example.com/token")]
    Malformed,
    /// Another scheme than `https`.
    #[error("must begin with https://")]
    NotHttps,
    /// A name or password before the host.
    #[error("must not have a user name or password; remove the part before the @")]
    UserInfo,
    /// A `#…` part.
    #[error("must not have a fragment; remove the # and what follows it")]
    Fragment,
    /// A numeric address in any notation.
    #[error("must not be a numeric address; use the host's public DNS name")]
    IpLiteral,
    /// A host without a dot, or one that is not a DNS name.
    #[error("needs a full public DNS name as its host, such as login.example.com")]
    NotADnsName,
    /// A name of a private network, of this machine, or of a metadata service.
    #[error("is in a private network; use the host's public DNS name")]
    PrivateName,
}

impl EgressUrl {
    /// Reads an address and checks it.
    ///
    /// # Errors
    /// The first violated rule.
    pub fn parse(text: &str, egress: EgressPolicy) -> Result<Self, EgressUrlError> {
        check_text(text)?;
        let mut url = parse_url(text).ok_or(EgressUrlError::Malformed)?;
        check_parts(&url)?;
        if egress == EgressPolicy::DevLoopback && is_loopback(&url) {
            return Ok(Self(url));
        }
        if url.scheme() != "https" {
            return Err(EgressUrlError::NotHttps);
        }
        let name = check_public_host(&url)?;
        url.set_host(Some(&name)).map_err(|_| EgressUrlError::Malformed)?;
        Ok(Self(url))
    }

    /// The parsed address.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The address as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host in lower case, without the port.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Scheme, host and a port if it is not the default: `https://login.example.com`.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The host, with `:port` if it is not the default: the receiver of a request.
    pub fn authority(&self) -> String {
        self.0.port().map_or_else(|| self.host().to_owned(), |port| format!("{}:{port}", self.host()))
    }

    /// This address with parameters added to its query, percent-encoded. May become longer than 2048 characters.
    #[must_use]
    pub fn with_query<K: AsRef<str>, V: AsRef<str>>(&self, pairs: &[(K, V)]) -> Self {
        let mut url = self.0.clone();
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        Self(url)
    }

    /// An address below this one: its path, then a path as it was written, and a query. None if that leads elsewhere. May
    /// become longer than 2048 characters.
    #[must_use]
    pub fn below(&self, path: &str, query: &str) -> Option<Self> {
        let origin = &self.0[..Position::BeforePath];
        let directory = self.0.path().strip_suffix('/').unwrap_or(self.0.path());
        let whole = if path.is_empty() { self.0.path().to_owned() } else { format!("{directory}/{path}") };
        let query = [self.0.query().unwrap_or_default(), query].into_iter().filter(|part| !part.is_empty());
        let query = query.collect::<Vec<_>>().join("&");
        let text = if query.is_empty() { format!("{origin}{whole}") } else { format!("{origin}{whole}?{query}") };
        let url = parse_url(&text)?;
        let is_below = url.path().strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (url.origin() == self.0.origin() && check_parts(&url).is_ok() && is_below).then_some(Self(url))
    }

    /// Another path at the same origin, without query.
    #[must_use]
    pub fn with_path(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(path);
        url.set_query(None);
        Self(url)
    }
}

/// Shows only scheme and host, because a query may contain a secret.
impl fmt::Debug for EgressUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}://{})", self.0.scheme(), self.host())
    }
}

/// Parses an address. Everything here that parses one does it by this function: `url` would decode a `%41` in a host and
/// map characters beyond ASCII, and what it needs for that is not in the program (`idna_adapter` in Cargo.toml).
pub fn parse_url(text: &str) -> Option<Url> {
    if has_plain_host(text) { Url::parse(text).ok() } else { None }
}

/// Whether no part that `url` could take for the host has a `%`, or anything but visible ASCII.
fn has_plain_host(text: &str) -> bool {
    let after_scheme = text.split_once(':').map_or(text, |(_, rest)| rest);
    // Any number of slashes leads to the host, and a backslash counts as one.
    let host = after_scheme.trim_start_matches(['/', '\\']).split(['/', '\\', '?', '#']).next().unwrap_or_default();
    host.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%')
}

/// Rules for the text: `Url::parse` would silently remove tabs and line ends and change a backslash to a slash.
fn check_text(text: &str) -> Result<(), EgressUrlError> {
    if text.len() > MAX_URL_LENGTH {
        return Err(EgressUrlError::TooLong);
    }
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(EgressUrlError::Characters);
    }
    let scheme = text.split_once("://").ok_or(EgressUrlError::Malformed)?.0;
    if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") {
        Ok(())
    } else {
        Err(EgressUrlError::NotHttps)
    }
}

fn check_parts(url: &Url) -> Result<(), EgressUrlError> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressUrlError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(EgressUrlError::Fragment);
    }
    Ok(())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The host as a DNS name without its trailing dot. `url` has already read decimal, hexadecimal, octal, percent-encoded
/// and shortened IPv4 notations into `Host::Ipv4`.
fn check_public_host(url: &Url) -> Result<String, EgressUrlError> {
    let name = match url.host() {
        Some(Host::Domain(name)) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(EgressUrlError::IpLiteral),
        None => return Err(EgressUrlError::Malformed),
    };
    if is_private_name(&name) {
        return Err(EgressUrlError::PrivateName);
    }
    if name.len() > MAX_HOST_LENGTH || !name.contains('.') || !name.split('.').all(is_dns_label) {
        return Err(EgressUrlError::NotADnsName);
    }
    Ok(name)
}

fn is_private_name(name: &str) -> bool {
    PRIVATE_NAMES
        .iter()
        .any(|private| name.strip_suffix(private).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// A label of a host name (RFC 1123 2.1).
fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL_LENGTH
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE_HOSTS: &[&str] = &[
        // this machine
        "localhost",
        "LOCALHOST",
        "localhost.",
        "api.localhost",
        "a.b.localhost",
        "localhost.localdomain",
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0.0.0.0",
        "0",
        "127.255.255.254",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "127%2e0%2e0%2e1",
        "%31%32%37.0.0.1",
        "[::1]",
        "[::]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        // private and link-local ranges
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        // numeric, although public
        "8.8.8.8",
        "1.1",
        "[2606:4700::1111]",
        // names of private networks and metadata services
        "metadata.google.internal",
        "metadata.google.internal.",
        "metadata",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.goog",
        "METADATA.GOOG",
        "metadata.azure.com",
        "printer.local",
        "router.lan",
        "nas.home.arpa",
        "1.0.0.127.in-addr.arpa",
        "wiki.corp",
        "wiki.intranet",
        "db.internal",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "vault.service.consul",
        "169.254.169.254.nip.io",
        "127-0-0-1.sslip.io",
        "app.localtest.me",
        "lvh.me",
        "x.onion",
        "x.invalid",
        // not DNS names
        "intranet",
        "com",
        "a..example.com",
        ".example.com",
        "example.com..",
        "-a.example.com",
        "a-.example.com",
        "a_b.example.com",
        "exa%6dple",
        "foo.1",
        "1.2.3.4.5",
        "example.0x7f",
        "*.example.com",
        "a,b.example.com",
        // tricks with characters and user info
        "example.com@127.0.0.1",
        "user@example.com",
        "user:pass@example.com",
        ":p@example.com",
        "127.0.0.1\\@example.com",
        "example.com\\.evil.example",
        "exam\tple.com",
        "example.com\r\n",
        " example.com",
        "ⓔxample.com",
        "127。0。0。1",
        "１２７.0.0.1",
        "bücher.example",
        "example.com#@evil.example",
        "",
    ];

    #[test]
    fn forbidden_hosts_are_refused() {
        assert!(HOSTILE_HOSTS.len() >= 80);
        for host in HOSTILE_HOSTS {
            let address = EgressUrl::parse(&format!("https://{host}/token"), EgressPolicy::Public);
            assert!(address.is_err(), "{host} passed as {:?}", address.map(|a| a.as_str().to_owned()));
        }
    }

    #[test]
    fn in_development_only_loopback_hosts_are_allowed_in_addition() {
        for host in HOSTILE_HOSTS {
            if let Ok(address) = EgressUrl::parse(&format!("http://{host}/token"), EgressPolicy::DevLoopback) {
                assert!(is_loopback(address.url()), "{host}");
            }
        }
    }

    #[test]
    fn other_schemes_are_refused() {
        for text in [
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "data:,x",
            "ws://example.com/",
            "//example.com/",
            "example.com",
            "https:example.com",
            "https:/example.com",
            "https://",
            "",
        ] {
            assert!(EgressUrl::parse(text, EgressPolicy::Public).is_err(), "{text}");
        }
    }

    #[test]
    fn public_host_names_are_accepted_and_normalised() {
        for (text, expected) in [
            ("https://login.acme.example", "https://login.acme.example/"),
            ("https://Login.Example.com./a?b=c", "https://login.example.com/a?b=c"),
            ("HTTPS://example.com:443/", "https://example.com/"),
            ("https://example.com:8443/x", "https://example.com:8443/x"),
            ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
            ("https://notlocalhost.com/", "https://notlocalhost.com/"),
            ("https://mylocal.example/", "https://mylocal.example/"),
        ] {
            let address = EgressUrl::parse(text, EgressPolicy::Public).unwrap();
            assert_eq!(address.as_str(), expected);
            assert_eq!(EgressUrl::parse(address.as_str(), EgressPolicy::Public), Ok(address));
        }
    }

    #[test]
    fn in_development_http_reaches_only_this_machine() {
        for text in ["http://localhost:4000/x", "http://127.0.0.1:9/", "https://127.9.9.9/", "http://[::1]:4000/"] {
            assert!(EgressUrl::parse(text, EgressPolicy::DevLoopback).is_ok(), "{text}");
            assert!(EgressUrl::parse(text, EgressPolicy::Public).is_err(), "{text}");
        }
        assert_eq!(EgressUrl::parse("http://example.com/", EgressPolicy::DevLoopback), Err(EgressUrlError::NotHttps));
        assert!(EgressUrl::parse("https://example.com/", EgressPolicy::DevLoopback).is_ok());
    }

    #[test]
    fn a_too_long_address_is_refused_before_it_is_parsed() {
        let text = format!("https://example.com/{}", "a".repeat(MAX_URL_LENGTH));
        assert_eq!(EgressUrl::parse(&text, EgressPolicy::Public), Err(EgressUrlError::TooLong));
    }

    #[test]
    fn debug_output_shows_no_query() {
        let address = EgressUrl::parse("https://example.com/x", EgressPolicy::Public).unwrap();
        let address = address.with_query(&[("token", "canary & more")]);
        assert_eq!(address.as_str(), "https://example.com/x?token=canary+%26+more");
        assert_eq!(format!("{address:?}"), "Address(https://example.com)");
        assert_eq!(address.with_path("/y").as_str(), "https://example.com/y");
        assert_eq!(address.origin(), "https://example.com");
    }

    #[test]
    fn an_address_below_another_keeps_its_origin_and_its_directory() {
        let below = |base: &str, path: &str, query: &str| {
            let base = EgressUrl::parse(base, EgressPolicy::Public).unwrap();
            base.below(path, query).map(|url| url.as_str().to_owned())
        };
        for (base, path, query, expected) in [
            ("https://a.example/v1/", "me", "", "https://a.example/v1/me"),
            ("https://a.example/v1", "me", "x=1", "https://a.example/v1/me?x=1"),
            ("https://a.example", "", "", "https://a.example/"),
            ("https://a.example/v1/", "", "q", "https://a.example/v1/?q"),
            ("https://a.example/v1?k=v", "me", "x=%20", "https://a.example/v1/me?k=v&x=%20"),
            ("https://a.example/bot1:x/", "a%2Fb//c", "", "https://a.example/bot1:x/a%2Fb//c"),
        ] {
            assert_eq!(below(base, path, query).as_deref(), Some(expected));
        }
        for path in ["../x", "..", "a/../../x", "%2e%2e/x", "x#y", "..\\x", "\\\\evil.example"] {
            let found = below("https://a.example/v1/", path, "");
            assert!(found.as_deref().is_none_or(|url| url.starts_with("https://a.example/v1/")), "{path}: {found:?}");
        }
        assert_eq!(below("https://a.example/v1/", "../v1x", ""), None);
    }

    #[test]
    fn no_host_that_needs_tables_of_unicode_is_parsed() {
        for text in [
            "https://A%Aa/",
            "https:A%Aa",
            "https:///\\A%Aa?x",
            "https:\\A%Aa\\x",
            "https://user@A%Aa:443/",
            "https://b\u{fc}cher.example/",
            "https://B\u{fc}cher.example/",
            "https://a%2eb.example/",
            "ht\ttps://A%Aa/",
            "https:\t//A%Aa/",
            "https:/\t/A%Aa/",
            "https://\tA%Aa/",
            " https://A%Aa/",
        ] {
            assert!(parse_url(text).is_none(), "{text:?}");
        }
        for text in
            ["https://xn--bcher-kva.example/%41?b=\u{fc}#%41", "HTTPS://XN--A.example:8443/\u{fc}", "http://[::1]/%41"]
        {
            assert_eq!(parse_url(text), Url::parse(text).ok(), "{text:?}");
        }
    }

    proptest::proptest! {
        // With assertions, as in tests, `url` panics where a host needs the tables.
        #[test]
        fn no_text_makes_the_parser_panic(
            text in "(https?|HTTPS|ws|file|a)?:?[/\\\\\t ]{0,3}([Xx]n--)?([ -~]{0,20}|[a-zA-Z0-9%.@:\u{fc}\u{dc}\u{3002}-]{0,20})[/?#]?\\PC{0,5}"
        ) {
            drop(parse_url(&text));
        }

        #[test]
        fn every_accepted_address_is_https_to_a_name_with_a_dot(text in "(https://)?[ -~]{0,60}") {
            if let Ok(address) = EgressUrl::parse(&text, EgressPolicy::Public) {
                proptest::prop_assert_eq!(address.url().scheme(), "https");
                proptest::prop_assert!(matches!(address.url().host(), Some(Host::Domain(name)) if name.contains('.')));
            }
        }
    }
}
