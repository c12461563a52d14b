//! Discovery: what an issuer says about itself (RFC 8414, `OpenID` Connect Discovery 1.0).
//!
//! Owns where the document lies and how it is judged. Refuses a document of another issuer, one without
//! endpoints, and endpoints that the egress guard refuses. Fetching and caching are the caller's.

use std::fmt;

use serde::Deserialize;

use super::ClientAuth;
use crate::egress::{Address, AddressError, Egress};

/// The largest document, in bytes.
const LARGEST: usize = 256 * 1024;

const OIDC: &str = "/.well-known/openid-configuration";
const RFC_8414: &str = "/.well-known/oauth-authorization-server";

/// What an issuer says about itself, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The issuer, exactly as it calls itself.
    pub issuer: String,
    /// `authorization_endpoint`.
    pub authorize_url: Address,
    /// `token_endpoint`.
    pub token_url: Address,
    /// `revocation_endpoint`.
    pub revoke_url: Option<Address>,
    /// `userinfo_endpoint`.
    pub userinfo_url: Option<Address>,
    /// `authorization_response_iss_parameter_supported` (RFC 9207 3).
    pub iss_promised: bool,
    /// The best method of `token_endpoint_auth_methods_supported`: Basic, then body, then none, then a signed assertion.
    /// None where all of them are unknown here; a definition may still know better.
    pub client_auth: Option<ClientAuth>,
    /// `scopes_supported`.
    pub scopes_supported: Vec<String>,
}

/// Why a discovery document can't be used. `Display` tells what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscoveryError {
    /// Over the body cap.
    TooLarge,
    /// Not JSON, too deep, or without a member that must be there.
    Unreadable,
    /// It speaks for another issuer (RFC 8414 3.3).
    OtherIssuer,
    /// One of its endpoints does not pass the egress guard.
    Endpoint(&'static str, AddressError),
    /// It offers no way of client authentication that exists here, and the definition names none.
    ClientAuth,
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("the discovery document is over 256 KB"),
            Self::Unreadable => f.write_str(
                "the discovery document can't be read; check the issuer, or give authorize_url and token_url instead",
            ),
            Self::OtherIssuer => {
                f.write_str("the discovery document names another issuer; write the issuer exactly as it calls itself")
            }
            Self::Endpoint(name, problem) => write!(f, "the discovery document's {name} {problem}"),
            Self::ClientAuth => f.write_str(
                "the issuer offers none of client_secret_basic, client_secret_post, none and private_key_jwt for client \
                 authentication; if it takes one of them all the same, say so with client_auth",
            ),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// Where an issuer's document may lie, in the order to try: the path appended (`OpenID` Connect Discovery 4),
/// then inserted before the issuer's path (RFC 8414 3.1).
pub fn well_known(issuer: &Address) -> [Address; 2] {
    let path = issuer.url().path().trim_end_matches('/');
    [issuer.with_path(&format!("{path}{OIDC}")), issuer.with_path(&format!("{RFC_8414}{path}"))]
}

/// The members read; all others are ignored.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: Option<bool>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    scopes_supported: Option<Vec<String>>,
}

/// Reads a discovery document fetched from one of [`well_known`]'s addresses.
///
/// # Errors
/// Anything that makes it unfit: see [`DiscoveryError`].
pub fn read_discovery(issuer: &Address, body: &[u8], egress: Egress) -> Result<Discovered, DiscoveryError> {
    if body.len() > LARGEST {
        return Err(DiscoveryError::TooLarge);
    }
    let document: Document = serde_json::from_slice(body).map_err(|_| DiscoveryError::Unreadable)?;
    if !same_issuer(issuer, &document.issuer) {
        return Err(DiscoveryError::OtherIssuer);
    }
    let endpoint = |name: &'static str, text: &str| {
        Address::parse(text, egress).map_err(|problem| DiscoveryError::Endpoint(name, problem))
    };
    let optional = |name: &'static str, text: Option<&str>| text.map(|text| endpoint(name, text)).transpose();
    Ok(Discovered {
        authorize_url: endpoint("authorization_endpoint", &document.authorization_endpoint)?,
        token_url: endpoint("token_endpoint", &document.token_endpoint)?,
        revoke_url: optional("revocation_endpoint", document.revocation_endpoint.as_deref())?,
        userinfo_url: optional("userinfo_endpoint", document.userinfo_endpoint.as_deref())?,
        iss_promised: document.authorization_response_iss_parameter_supported.unwrap_or(false),
        client_auth: pick_client_auth(document.token_endpoint_auth_methods_supported.as_deref()),
        scopes_supported: document.scopes_supported.unwrap_or_default(),
        issuer: document.issuer,
    })
}

/// String equality, but for the slash that an address without a path gains when it is parsed.
fn same_issuer(expected: &Address, said: &str) -> bool {
    let bare = expected.as_str().strip_suffix('/').filter(|_| expected.url().path() == "/");
    said == expected.as_str() || Some(said) == bare
}

/// The default where nothing is said is Basic (RFC 8414 2). An assertion comes last: a client that has a key signs
/// whatever stands here, and one with a secret could not.
fn pick_client_auth(methods: Option<&[String]>) -> Option<ClientAuth> {
    let Some(methods) = methods else { return Some(ClientAuth::Basic) };
    [
        ("client_secret_basic", ClientAuth::Basic),
        ("client_secret_post", ClientAuth::Body),
        ("none", ClientAuth::None),
        ("private_key_jwt", ClientAuth::PrivateKeyJwt),
    ]
    .into_iter()
    .find(|(name, _)| methods.iter().any(|method| method == name))
    .map(|(_, auth)| auth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, Egress::Public).unwrap()
    }

    fn document(issuer: &str, extra: &str) -> String {
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"https://a.example/authorize",
            "token_endpoint":"https://a.example/token"{extra}}}"#
        )
    }

    fn discover(issuer: &str, body: &str) -> Result<Discovered, DiscoveryError> {
        read_discovery(&address(issuer), body.as_bytes(), Egress::Public)
    }

    #[test]
    fn the_document_lies_in_two_places() {
        for (issuer, oidc, rfc) in [
            (
                "https://a.example",
                "https://a.example/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://a.example/t/1",
                "https://a.example/t/1/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/t/1",
            ),
            (
                "https://a.example/t/",
                "https://a.example/t/.well-known/openid-configuration",
                "https://a.example/.well-known/oauth-authorization-server/t",
            ),
        ] {
            assert_eq!(well_known(&address(issuer)).map(|a| a.as_str().to_owned()), [oidc.to_owned(), rfc.to_owned()]);
        }
    }

    #[test]
    fn the_smallest_document_will_do() {
        let found = discover("https://a.example", &document("https://a.example", "")).unwrap();
        assert_eq!(found.client_auth, Some(ClientAuth::Basic));
        assert_eq!(found.issuer, "https://a.example");
        assert!(!found.iss_promised && found.revoke_url.is_none());
    }

    #[test]
    fn another_issuer_is_refused() {
        for said in ["https://b.example", "https://a.example/x", "https://A.example", "https://a.example//", ""] {
            let answer = discover("https://a.example", &document(said, ""));
            assert_eq!(answer.err(), Some(DiscoveryError::OtherIssuer), "{said}");
        }
        assert!(discover("https://a.example/t", &document("https://a.example/t/", "")).is_err());
        assert!(discover("https://a.example/", &document("https://a.example/", "")).is_ok());
    }

    #[test]
    fn endpoints_pass_the_guard_or_the_document_is_refused() {
        let inside = r#","revocation_endpoint":"https://169.254.169.254/x""#;
        assert_eq!(
            discover("https://a.example", &document("https://a.example", inside)).err(),
            Some(DiscoveryError::Endpoint("revocation_endpoint", AddressError::IpLiteral))
        );
    }

    #[test]
    fn client_authentication_is_the_best_there_is() {
        for (methods, expected) in [
            (r#"["client_secret_post","client_secret_basic"]"#, Some(ClientAuth::Basic)),
            (r#"["none","client_secret_post"]"#, Some(ClientAuth::Body)),
            (r#"["private_key_jwt","client_secret_post"]"#, Some(ClientAuth::Body)),
            (r#"["private_key_jwt","none"]"#, Some(ClientAuth::None)),
            (r#"["none"]"#, Some(ClientAuth::None)),
            (r#"["tls_client_auth","private_key_jwt"]"#, Some(ClientAuth::PrivateKeyJwt)),
            (r#"["tls_client_auth","client_secret_jwt"]"#, None),
            ("[]", None),
        ] {
            let extra = format!(r#","token_endpoint_auth_methods_supported":{methods}"#);
            let found = discover("https://a.example", &document("https://a.example", &extra)).unwrap();
            assert_eq!(found.client_auth, expected, "{methods}");
        }
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        for (member, harmless) in [("scopes_supported", false), ("ignored", true)] {
            let deep = format!(r#","{member}":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
            assert_eq!(discover("https://a.example", &document("https://a.example", &deep)).is_ok(), harmless);
        }
        let twice = r#","issuer":"https://a.example""#;
        assert!(discover("https://a.example", &document("https://a.example", twice)).is_err());
        assert_eq!(discover("https://a.example", &" ".repeat(LARGEST + 1)).err(), Some(DiscoveryError::TooLarge));
        for body in ["", "null", "[]", "<html>", "{}", r#"{"issuer":1}"#] {
            assert_eq!(discover("https://a.example", body).err(), Some(DiscoveryError::Unreadable), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(body: Vec<u8>) {
            let _ = read_discovery(&address("https://a.example"), &body, Egress::Public);
        }
    }
}
