//! What issuers say about themselves.

use connections::app::read_discovery;
use connections::connect::callback::Returned;
use connections::connect::start::start;
use connections::egress::{Address, Egress};
use connections::error::Code;
use connections::ports::{BODY_CAP, HttpError, Inbound};
use connections::secret::Secret;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Members, Sent, check, member, object, perhaps, planted, scrap, sent, word};
use crate::support::scene::BROWSER;
use crate::support::{Reply, Scene};

const ISSUER: &str = "https://acme.example";
const PLACES: [&str; 2] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

const GOOD: &[&str] =
    &["https://acme.example/token", "https://login.acme.example/authorize?a=b", "https://other.example:8443/x"];
const BAD: &[&str] = &[
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

fn endpoint() -> BoxedStrategy<String> {
    prop_oneof![5 => word(GOOD), 1 => word(BAD)].boxed()
}

fn document() -> impl Strategy<Value = Members> {
    let issuers = prop_oneof![
        8 => Just(format!("\"{ISSUER}\"")),
        1 => Just(format!("\"{ISSUER}/\"")),
        2 => word(&["https://evil.example", "https://ACME.example", "https://acme.example.evil.example", "https://acme.example/x", "https://acme.example?"]),
        1 => planted().prop_map(|text| Value::from(text).to_string()),
    ];
    let methods = prop_oneof![
        2 => Just(r#"["client_secret_basic"]"#.to_owned()),
        1 => Just(r#"["private_key_jwt"]"#.to_owned()),
        1 => scrap(),
    ];
    object(vec![
        member("issuer", issuers.boxed()),
        member("authorization_endpoint", endpoint()),
        member("token_endpoint", endpoint()),
        perhaps("revocation_endpoint", endpoint()),
        perhaps("userinfo_endpoint", endpoint()),
        perhaps("authorization_response_iss_parameter_supported", word(&["true"])),
        perhaps("token_endpoint_auth_methods_supported", methods.boxed()),
        perhaps("x_planted", planted().prop_map(|text| Value::from(text).to_string()).boxed()),
    ])
}

fn read(sent: &Sent) -> Result<connections::app::Discovered, connections::app::DiscoveryError> {
    read_discovery(&Address::parse(ISSUER, Egress::Public).unwrap(), &sent.inbound().body, Egress::Public)
}

/// The endpoint a document names, if it is one that may be used.
fn good(members: &Members, name: &str) -> Option<String> {
    members.string(name).filter(|said| GOOD.contains(&said.as_str()))
}

#[test]
fn a_document_is_used_only_for_its_own_issuer_and_only_with_endpoints_that_may_be_reached() {
    check(800, &sent(document()), |sent| {
        match read(&sent) {
            Ok(found) => {
                prop_assert!([ISSUER.to_owned(), format!("{ISSUER}/")].contains(&found.issuer), "{}", found.issuer);
                let required = [&found.authorize_url, &found.token_url].into_iter();
                for address in required.chain(&found.revoke_url).chain(&found.userinfo_url) {
                    prop_assert!(
                        !BAD.contains(&address.as_str()) && Address::parse(address.as_str(), Egress::Public).is_ok()
                    );
                }
                if sent.is_whole() {
                    for (name, address) in
                        [("token_endpoint", &found.token_url), ("authorization_endpoint", &found.authorize_url)]
                    {
                        let said = good(&sent.members, name);
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
fn a_document_without_fault_is_used_whatever_else_it_holds() {
    let extra = (planted(), scrap().prop_filter("JSON", |text| serde_json::from_str::<Value>(text).is_ok()));
    check(300, &extra, |(text, scrap)| {
        let mut document = json!({ "issuer": ISSUER, "authorization_endpoint": GOOD[1], "token_endpoint": GOOD[0] });
        document["extra"] = text.into();
        document["more"] = serde_json::from_str(&scrap).unwrap();
        let found = read_discovery(
            &Address::parse(ISSUER, Egress::Public).unwrap(),
            document.to_string().as_bytes(),
            Egress::Public,
        );
        prop_assert!(found.is_ok(), "{:?}", found);
        Ok(())
    });
}

// ---- with a world around it ----

/// An app that says where it is, and nothing else.
fn discovering() -> Scene {
    Scene::with(&json!({
        "auth": { "issuer": ISSUER, "authorize_url": null, "token_url": null, "revoke_url": null },
        "identity": null,
    }))
}

fn hosts_asked(scene: &Scene) -> Vec<String> {
    let host = |address: &String| url::Url::parse(address).unwrap().host_str().unwrap().to_owned();
    scene.world.acme.addresses().iter().map(host).collect()
}

#[test]
fn whatever_an_issuer_answers_nobody_is_sent_and_nothing_is_asked_elsewhere() {
    check(96, &sent(document()), |sent| {
        let scene = discovering();
        for place in PLACES {
            scene.world.acme.next(place, Reply::raw(sent.inbound()));
        }
        let started = scene.world.run(async { start(&scene.world.core(), &scene.wish(), BROWSER).await });
        let usable = sent.status == 200 && read(&sent).is_ok();
        prop_assert_eq!(started.is_ok(), usable);
        prop_assert!(hosts_asked(&scene).iter().all(|host| host == "acme.example"), "no redirect is followed");
        match started {
            Ok(url) => {
                let state = url::Url::parse(&url)
                    .unwrap()
                    .query_pairs()
                    .find(|(name, _)| name == "state")
                    .unwrap()
                    .1
                    .into_owned();
                let returned = Returned {
                    state: Some(state),
                    code: Some(Secret::new("c")),
                    iss: Some(ISSUER.into()),
                    ..Returned::default()
                };
                scene.come_back(returned, BROWSER);
                let allowed = ["acme.example", "login.acme.example", "other.example"];
                // A byte that was changed may be one of a host's name.
                let is_allowed = |host: &String| allowed.contains(&host.as_str()) || !sent.is_whole();
                prop_assert!(hosts_asked(&scene).iter().all(is_allowed));
            }
            Err(error) => {
                prop_assert_eq!(error.code, Code::AppUnavailable);
                let shown = format!("{error:?} {}", scene.world.log.dump());
                prop_assert!(!shown.contains("planted"), "{}", shown);
                prop_assert!(scene.world.acme.requests() == PLACES.len() && scene.world.kv.names().is_empty());
            }
        }
        Ok(())
    });
}

#[test]
fn a_document_that_is_endless_or_leads_elsewhere_is_none() {
    let leads = |status| Reply::status(status, "").header("location", "https://acme.example/moved");
    let huge = Inbound { status: 200, headers: vec![], body: vec![b' '; BODY_CAP + 1] };
    for reply in [
        leads(301),
        leads(302),
        leads(307),
        leads(308),
        Reply::raw(huge),
        Reply::error(HttpError::TooLarge),
        Reply::error(HttpError::Timeout),
    ] {
        let scene = discovering();
        for place in PLACES {
            scene.world.acme.next(place, reply.clone());
        }
        let error = scene.world.run(async { start(&scene.world.core(), &scene.wish(), BROWSER).await }).unwrap_err();
        assert_eq!((error.code, scene.world.acme.requests()), (Code::AppUnavailable, PLACES.len()));
        scene.start(&scene.wish(), BROWSER);
    }
}

#[test]
fn a_copy_of_a_document_is_judged_again_before_it_is_used() {
    let scene = discovering();
    scene.start(&scene.wish(), BROWSER);
    let name = scene.world.kv.names().into_iter().find(|name| name.starts_with("discovery/")).unwrap();
    let asked = scene.world.acme.requests();
    scene.start(&scene.wish(), BROWSER);
    assert_eq!(scene.world.acme.requests(), asked, "the copy serves");
    for wrong in [
        json!({ "issuer": "https://evil.example", "authorization_endpoint": "https://evil.example/a", "token_endpoint": "https://evil.example/t" }),
        json!({ "issuer": ISSUER, "authorization_endpoint": "https://acme.example/a", "token_endpoint": "https://10.0.0.1/t" }),
        json!("x"),
    ] {
        let until = i64::MAX;
        scene.world.kv.held.borrow_mut().insert(name.clone(), (wrong.to_string(), until));
        let asked = scene.world.acme.requests();
        let url = scene.start(&scene.wish(), BROWSER);
        assert!(url.starts_with("https://acme.example/authorize?"), "{url}");
        assert_eq!(scene.world.acme.requests(), asked + 1, "the issuer is asked again");
    }
}
