//! Discovery: the document that an issuer publishes (RFC 8414, `OpenID` Connect Discovery 1.0).
//!
//! Owns the addresses of the document and its validation. Refuses a document of another issuer, one without endpoints,
//! and endpoints that fail the egress check. The caller fetches and caches it.

use serde_json::Value;

use super::ClientAuth;
use crate::egress::{EgressPolicy, EgressUrl, EgressUrlError, parse_url};
use crate::json::tolerant;

/// The largest document, in bytes.
const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

const OIDC_PATH: &str = "/.well-known/openid-configuration";
const RFC_8414_PATH: &str = "/.well-known/oauth-authorization-server";

/// The members of an issuer's document that are used here.
#[derive(Debug, Clone)]
pub struct DiscoveryDocument {
    /// The issuer, exactly as in the document.
    pub issuer: String,
    /// `authorization_endpoint`.
    pub authorize_url: EgressUrl,
    /// `token_endpoint`.
    pub token_url: EgressUrl,
    /// `revocation_endpoint`.
    pub revoke_url: Option<EgressUrl>,
    /// `userinfo_endpoint`.
    pub userinfo_url: Option<EgressUrl>,
    /// `authorization_response_iss_parameter_supported` (RFC 9207 3).
    pub iss_parameter_supported: bool,
    /// The preferred method of `token_endpoint_auth_methods_supported`: Basic, then body, then none, then a signed
    /// assertion. None if all are unsupported; the definition may still name one.
    pub client_auth: Option<ClientAuth>,
}

/// Why a discovery document cannot be used. `Display` says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// Too large.
    #[error("the discovery document is over 256 KB")]
    TooLarge,
    /// Not JSON, too deep, or a required member is missing.
    #[error("the discovery document can't be read; check the issuer, or give authorize_url and token_url instead")]
    Unreadable,
    /// It belongs to another issuer (RFC 8414 3.3): this one, if it can be shown.
    #[error("{}", describe_mismatch(.0.as_deref()))]
    IssuerMismatch(Option<String>),
    /// One of its endpoints fails the egress check.
    #[error("the discovery document's {0} {1}")]
    InvalidEndpoint(&'static str, EgressUrlError),
    /// It offers no supported client authentication, and the definition names none.
    #[error(
        "the issuer offers none of client_secret_basic, client_secret_post, none and private_key_jwt for client \
         authentication; if it takes one of them all the same, say so with client_auth"
    )]
    UnsupportedClientAuth,
}

fn describe_mismatch(said: Option<&str>) -> String {
    let (name, slash) =
        said.map_or((String::new(), ""), |said| (format!(", \"{said}\""), ", with or without a slash at its end"));
    format!("the discovery document names another issuer{name}; write the issuer exactly as it calls itself{slash}")
}

/// The possible addresses of an issuer's document, in order: the path appended (`OpenID` Connect Discovery 4), then
/// inserted before the issuer's path (RFC 8414 3.1).
pub fn discovery_urls(issuer: &EgressUrl) -> [EgressUrl; 2] {
    let path = issuer.url().path().trim_end_matches('/');
    [issuer.with_path(&format!("{path}{OIDC_PATH}")), issuer.with_path(&format!("{RFC_8414_PATH}{path}"))]
}

/// Reads a discovery document from one of [`discovery_urls`]'s addresses. An optional member that is invalid counts as
/// absent.
///
/// # Errors
/// The document cannot be used: see [`DiscoveryError`].
pub fn read_discovery_document(
    issuer: &EgressUrl,
    body: &[u8],
    egress: EgressPolicy,
) -> Result<DiscoveryDocument, DiscoveryError> {
    if body.len() > MAX_DOCUMENT_BYTES {
        return Err(DiscoveryError::TooLarge);
    }
    let document = tolerant::parse(body).ok_or(DiscoveryError::Unreadable)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let texts = |name: &str| {
        let list = document.get(name)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>())
    };
    let required = |name: &str| text(name).ok_or(DiscoveryError::Unreadable);
    let (said, authorize, token) =
        (required("issuer")?, required("authorization_endpoint")?, required("token_endpoint")?);
    if !is_same_issuer(issuer, said) {
        return Err(DiscoveryError::IssuerMismatch(displayable_issuer(issuer, said)));
    }
    let endpoint = |name: &'static str, text: &str| {
        EgressUrl::parse(text, egress).map_err(|problem| DiscoveryError::InvalidEndpoint(name, problem))
    };
    let optional = |name: &'static str| text(name).map(|text| endpoint(name, text)).transpose();
    let promised = document.get("authorization_response_iss_parameter_supported").and_then(Value::as_bool);
    Ok(DiscoveryDocument {
        authorize_url: endpoint("authorization_endpoint", authorize)?,
        token_url: endpoint("token_endpoint", token)?,
        revoke_url: optional("revocation_endpoint")?,
        userinfo_url: optional("userinfo_endpoint")?,
        iss_parameter_supported: promised.unwrap_or(false),
        client_auth: pick_client_auth(texts("token_endpoint_auth_methods_supported").as_deref()),
        issuer: said.to_owned(),
    })
}

/// The issuer in a document, if it is an address on the requested host. Nothing else of the document is repeated.
fn displayable_issuer(issuer: &EgressUrl, said: &str) -> Option<String> {
    let is_plain = said.len() <= 200 && said.bytes().all(|b| b.is_ascii_alphanumeric() || b":/._~-".contains(&b));
    let url = parse_url(said).filter(|url| is_plain && url.scheme() == issuer.url().scheme())?;
    (url.host_str() == issuer.url().host_str()).then(|| said.to_owned())
}

/// Text comparison, except for the slash that an address without a path gets when it is parsed.
fn is_same_issuer(expected: &EgressUrl, said: &str) -> bool {
    let bare = expected.as_str().strip_suffix('/').filter(|_| expected.url().path() == "/");
    said == expected.as_str() || Some(said) == bare
}

/// The default is Basic (RFC 8414 2). An assertion comes last: a client with a key signs in any case, and one with a
/// secret cannot sign.
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

    fn egress_url(text: &str) -> EgressUrl {
        EgressUrl::parse(text, EgressPolicy::Public).unwrap()
    }

    fn document_json(issuer: &str, extra: &str) -> String {
        format!(
            r#"{{"issuer":"{issuer}","authorization_endpoint":"https://a.example/authorize",
            "token_endpoint":"https://a.example/token"{extra}}}"#
        )
    }

    fn discover(issuer: &str, body: &str) -> Result<DiscoveryDocument, DiscoveryError> {
        read_discovery_document(&egress_url(issuer), body.as_bytes(), EgressPolicy::Public)
    }

    #[test]
    fn the_document_is_looked_for_at_two_addresses() {
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
            assert_eq!(
                discovery_urls(&egress_url(issuer)).map(|a| a.as_str().to_owned()),
                [oidc.to_owned(), rfc.to_owned()]
            );
        }
    }

    #[test]
    fn the_smallest_document_is_accepted() {
        let found = discover("https://a.example", &document_json("https://a.example", "")).unwrap();
        assert_eq!(found.client_auth, Some(ClientAuth::Basic));
        assert_eq!(found.issuer, "https://a.example");
        assert!(!found.iss_parameter_supported && found.revoke_url.is_none());
    }

    #[test]
    fn another_issuer_is_refused() {
        for said in ["https://b.example", "https://a.example/x", "https://A.example", "https://a.example//", ""] {
            let answer = discover("https://a.example", &document_json(said, ""));
            assert!(matches!(answer, Err(DiscoveryError::IssuerMismatch(_))), "{said}: {answer:?}");
        }
        assert!(discover("https://a.example/t", &document_json("https://a.example/t/", "")).is_err());
        assert!(discover("https://a.example/", &document_json("https://a.example/", "")).is_ok());
    }

    #[test]
    fn the_refusal_of_another_issuer_names_the_documents_issuer() {
        for (issuer, said, told) in [
            ("https://a.example/t", "https://a.example/t/", true),
            ("https://a.example/t/", "https://a.example/t", true),
            ("https://a.example/t", "https://a.example/T", true),
            ("https://a.example", "https://b.example", false),
            ("https://a.example", "https://a.example/<script>", false),
            ("https://a.example", "http://a.example", false),
        ] {
            let error = discover(issuer, &document_json(said, "")).unwrap_err();
            assert_eq!(error.to_string().contains(&format!("\"{said}\"")), told, "{error}");
        }
    }

    #[test]
    fn an_invalid_unneeded_member_does_not_affect_the_others() {
        for extra in [
            r#","scopes_supported":"read""#,
            r#","scopes_supported":[1,null]"#,
            r#","userinfo_endpoint":null"#,
            r#","revocation_endpoint":[]"#,
            r#","token_endpoint_auth_methods_supported":{}"#,
            r#","authorization_response_iss_parameter_supported":"yes""#,
            r#","service_documentation":"\ud83d""#,
            r#","issuer":"https://a.example""#,
        ] {
            let body = document_json("https://a.example", extra);
            assert!(discover("https://a.example", &body).is_ok(), "{extra}");
        }
        let mut latin = document_json("https://a.example", r#","op_policy_uri":"Jos?""#).into_bytes();
        latin.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xe9);
        assert!(read_discovery_document(&egress_url("https://a.example"), &latin, EgressPolicy::Public).is_ok());
    }

    #[test]
    fn a_document_with_a_forbidden_endpoint_is_refused() {
        let inside = r#","revocation_endpoint":"https://169.254.169.254/x""#;
        assert_eq!(
            discover("https://a.example", &document_json("https://a.example", inside)).err(),
            Some(DiscoveryError::InvalidEndpoint("revocation_endpoint", EgressUrlError::IpLiteral))
        );
    }

    #[test]
    fn the_best_supported_client_authentication_is_chosen() {
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
            let found = discover("https://a.example", &document_json("https://a.example", &extra)).unwrap();
            assert_eq!(found.client_auth, expected, "{methods}");
        }
    }

    #[test]
    fn json_bombs_and_garbage_are_refused() {
        for (member, harmless) in [("token_endpoint", false), ("scopes_supported", true), ("ignored", true)] {
            let deep = format!(r#","{member}":{}{}"#, "[".repeat(100_000), "]".repeat(100_000));
            assert_eq!(discover("https://a.example", &document_json("https://a.example", &deep)).is_ok(), harmless);
        }
        let twice = r#","issuer":"https://b.example""#;
        assert!(discover("https://a.example", &document_json("https://a.example", twice)).is_err());
        assert_eq!(
            discover("https://a.example", &" ".repeat(MAX_DOCUMENT_BYTES + 1)).err(),
            Some(DiscoveryError::TooLarge)
        );
        for body in ["", "null", "[]", "<html>", "{}", r#"{"issuer":1}"#] {
            assert_eq!(discover("https://a.example", body).err(), Some(DiscoveryError::Unreadable), "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_cause_no_panic(body: Vec<u8>) {
            let _ = read_discovery_document(&egress_url("https://a.example"), &body, EgressPolicy::Public);
        }
    }
}
