use super::*;
use crate::app::read_definition;
use crate::egress::EgressPolicy;

fn custom_method(json: &str) -> Rc<AuthMethod> {
    let app =
        read_definition(json, EgressPolicy::Public).unwrap_or_else(|problems| panic!("{problems:?}")).into_custom();
    app.auth_method(None).unwrap()
}

fn parse_url(text: &str) -> EgressUrl {
    EgressUrl::parse(text, EgressPolicy::Public).unwrap()
}

fn variable_map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn grant_destinations(auth_method: &AuthMethod, variables: &BTreeMap<String, String>) -> Destinations {
    let endpoints = auth_method.resolve_fixed_endpoints(&TemplateValues::new().with_all(variables)).map(Result::unwrap);
    Destinations::for_grant(auth_method, endpoints.as_ref(), variables)
}

const ACME: &str = r#"{"id":"acme","name":"Acme","auth":{"type":"oauth2","authorize_url":"https://login.acme.example/realms/a/auth",
  "token_url":"https://login.acme.example/realms/a/token","revoke_url":"https://login.acme.example/realms/a/revoke/{client_id}"},
  "scopes":["read"],"identity":{"url":"https://api.acme.example/me","id":"/id","label":"/name"},
  "request":{"base_url":"https://api.acme.example/v1/"}}"#;

#[test]
fn each_kind_of_secret_has_its_own_destinations() {
    use SecretKind::{AccessToken, AuthorizationCode, ClientProof, ManualCredential, RefreshToken};
    let found = grant_destinations(&custom_method(ACME), &BTreeMap::new());
    for (address, kinds) in [
        (
            "https://login.acme.example/realms/a/token",
            &[AuthorizationCode, ClientProof, RefreshToken, ManualCredential][..],
        ),
        ("https://login.acme.example/realms/a/revoke/c", &[ClientProof, RefreshToken, AccessToken, ManualCredential]),
        ("https://api.acme.example/anything?x=1", &[AccessToken, ManualCredential]),
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
        for kind in [AuthorizationCode, ClientProof, RefreshToken, AccessToken, ManualCredential] {
            assert_eq!(found.allows(kind, &parse_url(address)), kinds.contains(&kind), "{address} {kind:?}");
        }
    }
}

#[test]
fn a_request_is_permitted_only_if_all_its_secrets_may_be_sent_there() {
    use crate::app::OutboundMethod;
    use crate::ports::OutboundRequest;
    let (honest, other) =
        (Rc::new(grant_destinations(&custom_method(ACME), &BTreeMap::new())), Rc::new(Destinations::default()));
    let token = || parse_url("https://login.acme.example/realms/a/token");
    let request = |carried| OutboundRequest::new(OutboundMethod::Post, token(), carried, 1000).into_permitted();
    let code = |to| RequestSecret::new(SecretKind::AuthorizationCode, to);
    let proof = |to| RequestSecret::new(SecretKind::ClientProof, to);
    assert!(request(vec![code(&honest), proof(&honest)]).is_ok());
    assert_eq!(request(vec![code(&honest), proof(&other)]).unwrap_err(), SecretKind::ClientProof);
    assert_eq!(request(vec![code(&other), proof(&honest)]).unwrap_err(), SecretKind::AuthorizationCode);
}

const SHOP: &str = r#"{"id":"shop","name":"Shop","variables":{"Shop":{"label":"Shop","pattern":"[a-z]+"},
  "host":{"label":"Host","from":"token","at":"/host"}},
  "auth":{"type":"oauth2","authorize_url":"https://{Shop}.shop.example/auth","token_url":"https://{Shop}.shop.example/token"},
  "request":{"base_url":"https://{host}/"}}"#;

#[test]
fn a_placeholder_keeps_its_rule_in_any_case() {
    let client = Destinations::for_client(&custom_method(SHOP), &BTreeMap::new());
    let may = |text| client.allows(SecretKind::ClientProof, &parse_url(text));
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
        assert!(!client.covers(&Destinations::for_client(&custom_method(&changed), &BTreeMap::new())), "{changed}");
    }
    assert!(client.covers(&Destinations::for_client(
        &custom_method(&SHOP.replace("\"Shop\",\"v", "\"Other\",\"v")),
        &BTreeMap::new()
    )));
}

#[test]
fn the_destinations_of_a_grant_contain_no_variables() {
    let one = grant_destinations(&custom_method(SHOP), &variable_map(&[("Shop", "acme")]));
    assert_eq!(one.hosts().into_iter().collect::<Vec<_>>(), ["acme.shop.example"], "nobody knows the API's host yet");
    let told =
        grant_destinations(&custom_method(SHOP), &variable_map(&[("Shop", "acme"), ("host", "na1.shop.example")]));
    assert!(told.allows(SecretKind::AccessToken, &parse_url("https://na1.shop.example/x")));
    assert!(!told.allows(SecretKind::AccessToken, &parse_url("https://na2.shop.example/x")));
    assert!(told.covers(&one) && !one.covers(&told), "what an answer tells adds a host");
    assert!(!told.covers(&grant_destinations(
        &custom_method(SHOP),
        &variable_map(&[("Shop", "beta"), ("host", "na1.shop.example")])
    )));
}

#[test]
fn a_value_is_never_treated_as_a_placeholder() {
    let odd = grant_destinations(&custom_method(SHOP), &variable_map(&[("Shop", "zzz"), ("host", "zz0z0zz.example")]));
    assert!(odd.allows(SecretKind::AccessToken, &parse_url("https://zz0z0zz.example/")));
    assert!(!odd.allows(SecretKind::AccessToken, &parse_url("https://evil.example/")));
}

#[test]
fn destinations_of_an_issuer_are_known_before_its_endpoints() {
    let json = r#"{"id":"a","name":"A","auth":{"type":"oauth2","issuer":"https://id.acme.example/realms/a"},"scopes":["openid"]}"#;
    let client = Destinations::for_client(&custom_method(json), &BTreeMap::new());
    assert!(client.is_undiscovered());
    assert!(!client.allows(SecretKind::ClientProof, &parse_url("https://id.acme.example/realms/a/token")));
    assert_eq!(client.authorization_server_key(), "https://id.acme.example/realms/a");
    let other = Destinations::for_client(&custom_method(&json.replace("realms/a", "realms/b")), &BTreeMap::new());
    assert!(!client.covers(&other));
}

#[test]
fn stored_destinations_are_read_unchanged() {
    let client = Destinations::for_client(&custom_method(SHOP), &BTreeMap::new());
    let text = serde_json::to_string(&client).unwrap();
    assert_eq!(serde_json::from_str::<Destinations>(&text).unwrap(), client);
    assert_eq!(serde_json::from_str::<Destinations>("{}").unwrap(), Destinations::default());
}

#[test]
fn matching_adjacent_placeholders_is_cheap() {
    let many = "{a}{b}{c}{d}{e}{f}{g}{h}";
    let rules = "abcdefgh".chars().map(|name| {
        (
            name.to_string(),
            PlaceholderRule { pattern: Some(PlaceholderPattern::new("x")), ..PlaceholderRule::default() },
        )
    });
    let stored = Destinations {
        token: [format!("https://id.acme.example/{many}")].into(),
        rules: rules.collect(),
        ..Destinations::default()
    };
    let long = format!("https://id.acme.example/{}y", "x".repeat(250));
    assert!(!stored.allows(SecretKind::RefreshToken, &parse_url(&long)), "refused after a limited number of tries");
    assert!(stored.allows(SecretKind::RefreshToken, &parse_url("https://id.acme.example/xxxxxxxx")));
}

#[test]
fn an_address_that_is_one_placeholder_is_limited_to_its_path() {
    assert_eq!(origin_of("{a}/x?u=https://evil.example/"), "{a}");
    assert_eq!(origin_of("https://{a}.example.com?u=https://evil.example/"), "https://{a}.example.com");
}

#[test]
fn additions_are_listed_by_host_and_for_known_hosts_by_address() {
    let before = grant_destinations(&custom_method(ACME), &BTreeMap::new());
    let added = |from: &str, to: &str| -> Vec<_> {
        before
            .list_additions(&grant_destinations(&custom_method(&ACME.replace(from, to)), &BTreeMap::new()))
            .into_iter()
            .collect()
    };
    assert!(added("v1", "v2").is_empty());
    assert_eq!(added("https://api.acme.example/me", "https://evil.example/me"), ["evil.example"]);
    assert_eq!(added("realms/a/token", "realms/b/token"), ["login.acme.example/realms/b/token"]);
    assert_eq!(added("https://api.acme.example/v1/", "https://api.acme.example:8443/"), ["api.acme.example:8443"]);
}
