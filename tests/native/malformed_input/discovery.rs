//! Malformed discovery documents of issuers.

use connections::app::read_discovery_document;
use connections::connect::callback::CallbackParams;
use connections::connect::start::begin_flow;
use connections::egress::{EgressPolicy, EgressUrl};
use connections::error::ErrorCode;
use connections::ports::{AppResponse, HttpError, RESPONSE_BODY_LIMIT};
use connections::secret::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    GeneratedResponse, JsonMembers, any_json, check_property, distorted_member, generated_response, json_object,
    optional_member, quoted_word, text_with_plant,
};
use crate::support::fixture::BROWSER_SESSION;
use crate::support::{Fixture, Reply};

const ISSUER: &str = "https://acme.example";
const DISCOVERY_PATHS: [&str; 2] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

const USABLE_URLS: &[&str] =
    &["https://acme.example/token", "https://login.acme.example/authorize?a=b", "https://other.example:8443/x"];
const UNUSABLE_URLS: &[&str] = &[
    "http://acme.example/token",
    "https://localhost/token",
    "https://127.0.0.1/token",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://[::1]/token",
    "https://169.254.169.254/latest",
    "https://metadata.google.internal/",
    "https://10.0.0.1.nip.io/",
    "https://user@acme.example/",
    "https://acme.example/#x",
    "https://acme.example\\\\@evil.example/",
    "https://acme.example\\t/",
    "https://acme.example/\\r\\nX: y",
    "javascript:alert(1)",
    "data:,x",
    "//acme.example/token",
    "/token",
    "",
    "acme.example",
    "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1/",
    "https://printer.local/",
    "https://acme/",
    "file:///etc/passwd",
];

fn endpoint_url() -> BoxedStrategy<String> {
    prop_oneof![5 => quoted_word(USABLE_URLS), 1 => quoted_word(UNUSABLE_URLS)].boxed()
}

fn discovery_document() -> impl Strategy<Value = JsonMembers> {
    let issuers = prop_oneof![
        8 => Just(format!("\"{ISSUER}\"")),
        1 => Just(format!("\"{ISSUER}/\"")),
        2 => quoted_word(&["https://evil.example", "https://ACME.example", "https://acme.example.evil.example", "https://acme.example/x", "https://acme.example?"]),
        1 => text_with_plant().prop_map(|text| Value::from(text).to_string()),
    ];
    let methods = prop_oneof![
        2 => Just(r#"["client_secret_basic"]"#.to_owned()),
        1 => Just(r#"["private_key_jwt"]"#.to_owned()),
        1 => any_json(),
    ];
    json_object(vec![
        distorted_member("issuer", issuers.boxed()),
        distorted_member("authorization_endpoint", endpoint_url()),
        distorted_member("token_endpoint", endpoint_url()),
        optional_member("revocation_endpoint", endpoint_url()),
        optional_member("userinfo_endpoint", endpoint_url()),
        optional_member("authorization_response_iss_parameter_supported", quoted_word(&["true"])),
        optional_member("token_endpoint_auth_methods_supported", methods.boxed()),
        optional_member("x_planted", text_with_plant().prop_map(|text| Value::from(text).to_string()).boxed()),
    ])
}

fn read_document(
    sent: &GeneratedResponse,
) -> Result<connections::app::DiscoveryDocument, connections::app::DiscoveryError> {
    read_discovery_document(
        &EgressUrl::parse(ISSUER, EgressPolicy::Public).unwrap(),
        &sent.to_inbound().body,
        EgressPolicy::Public,
    )
}

/// The endpoint in a document, if it may be used.
fn usable_endpoint(members: &JsonMembers, name: &str) -> Option<String> {
    members.member_text(name).filter(|said| USABLE_URLS.contains(&said.as_str()))
}

#[test]
fn a_document_is_used_only_for_its_issuer_and_with_permitted_endpoints() {
    check_property(800, &generated_response(discovery_document()), |sent| {
        match read_document(&sent) {
            Ok(found) => {
                prop_assert!([ISSUER.to_owned(), format!("{ISSUER}/")].contains(&found.issuer), "{}", found.issuer);
                let required = [&found.authorize_url, &found.token_url].into_iter();
                for address in required.chain(&found.revoke_url).chain(&found.userinfo_url) {
                    prop_assert!(
                        !UNUSABLE_URLS.contains(&address.as_str())
                            && EgressUrl::parse(address.as_str(), EgressPolicy::Public).is_ok()
                    );
                }
                if sent.is_readable() {
                    for (name, address) in
                        [("token_endpoint", &found.token_url), ("authorization_endpoint", &found.authorize_url)]
                    {
                        let said = usable_endpoint(&sent.members, name);
                        prop_assert_eq!(said.as_deref(), Some(address.as_str()));
                    }
                }
            }
            Err(error) => {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("planted"), "{}", shown);
            }
        }
        Ok(())
    });
}

#[test]
fn a_valid_document_is_used_with_unknown_members() {
    let extra = (text_with_plant(), any_json().prop_filter("JSON", |text| serde_json::from_str::<Value>(text).is_ok()));
    check_property(300, &extra, |(text, scrap)| {
        let mut document =
            json!({ "issuer": ISSUER, "authorization_endpoint": USABLE_URLS[1], "token_endpoint": USABLE_URLS[0] });
        document["extra"] = text.into();
        document["more"] = serde_json::from_str(&scrap).unwrap();
        let found = read_discovery_document(
            &EgressUrl::parse(ISSUER, EgressPolicy::Public).unwrap(),
            document.to_string().as_bytes(),
            EgressPolicy::Public,
        );
        prop_assert!(found.is_ok(), "{:?}", found);
        Ok(())
    });
}

// ---- with a whole world ----

/// An app with an issuer and nothing else.
fn fixture_with_issuer() -> Fixture {
    Fixture::with_definition(&json!({
        "auth": { "issuer": ISSUER, "authorize_url": null, "token_url": null, "revoke_url": null },
        "identity": null,
    }))
}

fn requested_hosts(fixture: &Fixture) -> Vec<String> {
    let host = |address: &String| url::Url::parse(address).unwrap().host_str().unwrap().to_owned();
    fixture.world.acme.requested_urls().iter().map(host).collect()
}

#[test]
fn no_issuer_response_redirects_a_person_or_request_elsewhere() {
    check_property(96, &generated_response(discovery_document()), |sent| {
        let fixture = fixture_with_issuer();
        for place in DISCOVERY_PATHS {
            fixture.world.acme.script_next(place, Reply::raw(sent.to_inbound()));
        }
        let started = fixture
            .world
            .run(async { begin_flow(&fixture.world.context(), &fixture.connect_request(), BROWSER_SESSION).await });
        // The definition names no client authentication, so the document must offer a supported one.
        let usable = sent.status == 200 && read_document(&sent).is_ok_and(|document| document.client_auth.is_some());
        prop_assert_eq!(started.is_ok(), usable);
        prop_assert!(requested_hosts(&fixture).iter().all(|host| host == "acme.example"), "no redirect is followed");
        match started {
            Ok(url) => {
                let state = url::Url::parse(&url)
                    .unwrap()
                    .query_pairs()
                    .find(|(name, _)| name == "state")
                    .unwrap()
                    .1
                    .into_owned();
                let returned = CallbackParams {
                    state: Some(state),
                    code: Some(Secret::new("c")),
                    iss: Some(ISSUER.into()),
                    ..CallbackParams::default()
                };
                fixture.return_from_app(returned, BROWSER_SESSION);
                let allowed = ["acme.example", "login.acme.example", "other.example"];
                // A changed byte may be part of a host's name.
                let is_allowed = |host: &String| allowed.contains(&host.as_str()) || !sent.is_readable();
                prop_assert!(requested_hosts(&fixture).iter().all(is_allowed));
            }
            Err(error) => {
                prop_assert_eq!(error.code, ErrorCode::AppUnavailable);
                let shown = format!("{error:?} {}", fixture.world.log.dump_lines());
                prop_assert!(!shown.contains("planted"), "{}", shown);
                prop_assert!(
                    fixture.world.acme.count_all_requests() == DISCOVERY_PATHS.len()
                        && fixture.world.cache.entry_names().is_empty()
                );
            }
        }
        Ok(())
    });
}

#[test]
fn too_large_and_redirected_documents_are_refused() {
    let leads = |status| Reply::status(status, "").with_header("location", "https://acme.example/moved");
    let huge = AppResponse { status: 200, headers: vec![], body: vec![b' '; RESPONSE_BODY_LIMIT + 1] };
    for reply in [
        leads(301),
        leads(302),
        leads(307),
        leads(308),
        Reply::raw(huge),
        Reply::error(HttpError::TooLarge),
        Reply::error(HttpError::Timeout),
    ] {
        let fixture = fixture_with_issuer();
        for place in DISCOVERY_PATHS {
            fixture.world.acme.script_next(place, reply.clone());
        }
        let error = fixture
            .world
            .run(async { begin_flow(&fixture.world.context(), &fixture.connect_request(), BROWSER_SESSION).await })
            .unwrap_err();
        assert_eq!(
            (error.code, fixture.world.acme.count_all_requests()),
            (ErrorCode::AppUnavailable, DISCOVERY_PATHS.len())
        );
        fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    }
}

#[test]
fn a_cached_document_is_validated_before_use() {
    let fixture = fixture_with_issuer();
    fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    let name = fixture.world.cache.entry_names().into_iter().find(|name| name.starts_with("discovery/")).unwrap();
    let asked = fixture.world.acme.count_all_requests();
    fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
    assert_eq!(fixture.world.acme.count_all_requests(), asked, "the copy serves");
    for wrong in [
        json!({ "issuer": "https://evil.example", "authorization_endpoint": "https://evil.example/a", "token_endpoint": "https://evil.example/t" }),
        json!({ "issuer": ISSUER, "authorization_endpoint": "https://acme.example/a", "token_endpoint": "https://10.0.0.1/t" }),
        json!("x"),
    ] {
        let until = i64::MAX;
        fixture.world.cache.entries.borrow_mut().insert(name.clone(), (wrong.to_string(), until));
        let asked = fixture.world.acme.count_all_requests();
        let url = fixture.start_flow(&fixture.connect_request(), BROWSER_SESSION);
        assert!(url.starts_with("https://acme.example/authorize?"), "{url}");
        assert_eq!(fixture.world.acme.count_all_requests(), asked + 1, "the issuer is asked again");
    }
}
