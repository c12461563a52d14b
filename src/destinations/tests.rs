use super::*;
use crate::app::read;
use crate::egress::Egress;

fn app(json: &str) -> Rc<App> {
    let definition = read(json, Egress::Public).unwrap_or_else(|problems| panic!("{problems:?}")).of_workspace();
    definition.way(None).unwrap()
}

fn url(text: &str) -> Address {
    Address::parse(text, Egress::Public).unwrap()
}

fn known(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn grant(app: &App, variables: &BTreeMap<String, String>) -> Destinations {
    let at = app.resolve_fixed(&Values::new().with_all(variables)).map(Result::unwrap);
    Destinations::of_grant(app, at.as_ref(), variables)
}

const ACME: &str = r#"{"id":"acme","name":"Acme","auth":{"type":"oauth2","authorize_url":"https://login.acme.example/realms/a/auth",
  "token_url":"https://login.acme.example/realms/a/token","revoke_url":"https://login.acme.example/realms/a/revoke/{client_id}"},
  "scopes":["read"],"identity":{"url":"https://api.acme.example/me","id":"/id","label":"/name"},
  "request":{"base_url":"https://api.acme.example/v1/"}}"#;

#[test]
fn each_kind_of_secret_has_its_own_addresses() {
    use SecretKind::{AccessToken, AuthorizationCode, ClientProof, Entered, RefreshToken};
    let found = grant(&app(ACME), &BTreeMap::new());
    for (address, kinds) in [
        ("https://login.acme.example/realms/a/token", &[AuthorizationCode, ClientProof, RefreshToken, Entered][..]),
        ("https://login.acme.example/realms/a/revoke/c", &[ClientProof, RefreshToken, AccessToken, Entered]),
        ("https://api.acme.example/anything?x=1", &[AccessToken, Entered]),
        ("https://login.acme.example/realms/a/auth", &[]),
        // Another realm on the same host is another authorization server.
        ("https://login.acme.example/realms/b/token", &[]),
        ("https://login.acme.example/realms/a/token?x", &[]),
        ("https://login.acme.example/realms/a/revoke/c/d", &[]),
        ("https://login.acme.example:8443/realms/a/token", &[]),
        ("https://api.acme.example:8443/me", &[]),
        ("https://api.acme.example.evil.example/me", &[]),
        ("https://evil.example/", &[]),
    ] {
        for kind in [AuthorizationCode, ClientProof, RefreshToken, AccessToken, Entered] {
            assert_eq!(found.allow(kind, &url(address)), kinds.contains(&kind), "{address} {kind:?}");
        }
    }
}

#[test]
fn a_request_is_permitted_only_where_all_its_secrets_may_go() {
    use crate::ports::{Outbound, OutboundMethod};
    let (honest, other) = (Rc::new(grant(&app(ACME), &BTreeMap::new())), Rc::new(Destinations::default()));
    let token = || url("https://login.acme.example/realms/a/token");
    let request = |carried| Outbound::new(OutboundMethod::Post, token(), carried, 1000).permitted();
    let code = |to| Carried::new(SecretKind::AuthorizationCode, to);
    let proof = |to| Carried::new(SecretKind::ClientProof, to);
    assert!(request(vec![code(&honest), proof(&honest)]).is_ok());
    assert_eq!(request(vec![code(&honest), proof(&other)]).unwrap_err(), SecretKind::ClientProof);
    assert_eq!(request(vec![code(&other), proof(&honest)]).unwrap_err(), SecretKind::AuthorizationCode);
}

const SHOP: &str = r#"{"id":"shop","name":"Shop","variables":{"Shop":{"label":"Shop","pattern":"[a-z]+"},
  "host":{"label":"Host","from":"token","at":"/host"}},
  "auth":{"type":"oauth2","authorize_url":"https://{Shop}.shop.example/auth","token_url":"https://{Shop}.shop.example/token"},
  "request":{"base_url":"https://{host}/"}}"#;

#[test]
fn a_placeholder_keeps_its_rule_whatever_its_case() {
    let client = Destinations::of_client(&app(SHOP), &BTreeMap::new());
    let may = |text| client.allow(SecretKind::ClientProof, &url(text));
    assert!(may("https://acme.shop.example/token"));
    for no in [
        "https://acme1.shop.example/token",
        "https://a.b.shop.example/token",
        "https://acme.shop.example/x/token",
        "https://acme.shop.example/token/x",
        "https://acme.shop.example.evil.example/token",
        "https://evil.example/shop.example/token",
    ] {
        assert!(!may(no), "{no}");
    }
    for changed in [
        SHOP.replace("\"[a-z]+\"", "\".*\""),
        SHOP.replace("{\"label\":\"Shop\",\"pattern\":\"[a-z]+\"}", "{\"label\":\"Shop\"}"),
        SHOP.replace("\"at\":\"/host\"", "\"at\":\"/other\""),
        SHOP.replace("\"from\":\"token\"", "\"default\":\"evil.example\",\"from\":\"token\""),
        SHOP.replace("https://{host}/", "https://evil.example/"),
        SHOP.replace("/token\"}", "/token2\"}"),
    ] {
        assert_ne!(changed, SHOP);
        assert!(!client.cover(&Destinations::of_client(&app(&changed), &BTreeMap::new())), "{changed}");
    }
    assert!(
        client.cover(&Destinations::of_client(&app(&SHOP.replace("\"Shop\",\"v", "\"Other\",\"v")), &BTreeMap::new()))
    );
}

#[test]
fn a_grant_has_no_placeholder_of_a_variable() {
    let one = grant(&app(SHOP), &known(&[("Shop", "acme")]));
    assert_eq!(one.hosts().into_iter().collect::<Vec<_>>(), ["acme.shop.example"], "nobody knows the API's host yet");
    let told = grant(&app(SHOP), &known(&[("Shop", "acme"), ("host", "na1.shop.example")]));
    assert!(told.allow(SecretKind::AccessToken, &url("https://na1.shop.example/x")));
    assert!(!told.allow(SecretKind::AccessToken, &url("https://na2.shop.example/x")));
    assert!(told.cover(&one) && !one.cover(&told), "what an answer tells adds a host");
    assert!(!told.cover(&grant(&app(SHOP), &known(&[("Shop", "beta"), ("host", "na1.shop.example")]))));
}

#[test]
fn a_value_can_never_pass_for_a_placeholder() {
    let odd = grant(&app(SHOP), &known(&[("Shop", "zzz"), ("host", "zz0z0zz.example")]));
    assert!(odd.allow(SecretKind::AccessToken, &url("https://zz0z0zz.example/")));
    assert!(!odd.allow(SecretKind::AccessToken, &url("https://evil.example/")));
}

#[test]
fn an_issuer_is_known_before_its_addresses_are() {
    let json = r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://id.acme.example/realms/a"},"scopes":["openid"]}"#;
    let client = Destinations::of_client(&app(json), &BTreeMap::new());
    assert!(client.is_undiscovered());
    assert!(!client.allow(SecretKind::ClientProof, &url("https://id.acme.example/realms/a/token")));
    assert_eq!(client.authorization_server(), "https://id.acme.example/realms/a");
    let other = Destinations::of_client(&app(&json.replace("realms/a", "realms/b")), &BTreeMap::new());
    assert!(!client.cover(&other));
}

#[test]
fn stored_destinations_are_read_as_they_were_written() {
    let client = Destinations::of_client(&app(SHOP), &BTreeMap::new());
    let text = serde_json::to_string(&client).unwrap();
    assert_eq!(serde_json::from_str::<Destinations>(&text).unwrap(), client);
    assert_eq!(serde_json::from_str::<Destinations>("{}").unwrap(), Destinations::default());
}

#[test]
fn placeholders_side_by_side_cost_little() {
    let many = "{a}{b}{c}{d}{e}{f}{g}{h}";
    let rules =
        "abcdefgh".chars().map(|name| (name.to_string(), Rule { pattern: Some("x".into()), ..Rule::default() }));
    let stored = Destinations {
        token: [format!("https://id.acme.example/{many}")].into(),
        rules: rules.collect(),
        ..Destinations::default()
    };
    let long = format!("https://id.acme.example/{}y", "x".repeat(250));
    assert!(!stored.allow(SecretKind::RefreshToken, &url(&long)), "refused after a limited number of tries");
    assert!(stored.allow(SecretKind::RefreshToken, &url("https://id.acme.example/xxxxxxxx")));
}

#[test]
fn an_address_that_is_a_placeholder_as_a_whole_ends_at_its_path() {
    assert_eq!(origin("{a}/x?u=https://evil.example/"), "{a}");
    assert_eq!(origin("https://{a}.example.com?u=https://evil.example/"), "https://{a}.example.com");
}

#[test]
fn what_is_added_is_told_by_host_and_at_a_known_host_by_address() {
    let before = grant(&app(ACME), &BTreeMap::new());
    let added = |from: &str, to: &str| -> Vec<_> {
        before.added_by(&grant(&app(&ACME.replace(from, to)), &BTreeMap::new())).into_iter().collect()
    };
    assert!(added("v1", "v2").is_empty());
    assert_eq!(added("https://api.acme.example/me", "https://evil.example/me"), ["evil.example"]);
    assert_eq!(added("realms/a/token", "realms/b/token"), ["login.acme.example/realms/b/token"]);
    assert_eq!(added("https://api.acme.example/v1/", "https://api.acme.example:8443/"), ["api.acme.example:8443"]);
}
