//! People sign in at the identity provider of their workspace, or come through Cloudflare Access: also where the provider
//! is hostile. Each attack counts what left this program, and that nobody was signed in.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connections::app::{OutboundMethod, SigningAlgorithm};
use connections::caller::KeyScope;
use connections::http::{Body, Method, Response};
use connections::ports::{AppResponse, OutboundRequest, Signer as _};
use connections::signing_key::SigningKey;
use ring::rsa;
use ring::signature::RsaPublicKeyComponents;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use crate::http::{TestBrowser, call, first_key, make_key, request};
use crate::support::Fixture;
use crate::support::acme::text_response;
use crate::support::signer::{P256_KEY, RSA_KEY, SignerPort};

const ISSUER: &str = "https://id.example";
const TEAM: &str = "https://team.cloudflareaccess.com";
const SECRET: &str = "canary7f3a-provider-secret";

/// A simulated issuer. A test changes what it says.
struct Provider {
    document: RefCell<Value>,
    keys: RefCell<Value>,
    /// The answer of the token endpoint.
    answer: RefCell<Value>,
    status: Cell<u16>,
    /// Method, address, headers and body of each request.
    requests: RefCell<Vec<(String, BTreeMap<String, String>)>>,
    authorization: RefCell<String>,
}

fn document(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
    })
}

pub(crate) fn rsa_jwk(kid: &str) -> Value {
    let key = SigningKey::from_pem(RSA_KEY).unwrap();
    let pair = rsa::KeyPair::from_pkcs8(key.expose_der()).unwrap();
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let (n, e) = (URL_SAFE_NO_PAD.encode(public.n), URL_SAFE_NO_PAD.encode(public.e));
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": n, "e": e })
}

impl Provider {
    fn start(fixture: &Fixture) -> Rc<Self> {
        let provider = Rc::new(Self {
            document: RefCell::new(document(ISSUER)),
            keys: RefCell::new(json!({ "keys": [rsa_jwk("a")] })),
            answer: RefCell::new(Value::Null),
            status: Cell::new(200),
            requests: RefCell::default(),
            authorization: RefCell::default(),
        });
        let shared = Rc::clone(&provider);
        *fixture.world.acme.foreign_responder.borrow_mut() = Some(Box::new(move |request| shared.respond(request)));
        provider
    }

    fn respond(&self, request: &OutboundRequest) -> AppResponse {
        let form = url::form_urlencoded::parse(request.body.as_deref().unwrap_or_default().as_bytes());
        let form: BTreeMap<_, _> = form.into_owned().collect();
        self.requests.borrow_mut().push((request.url.as_str().to_owned(), form));
        let body = match (request.method, request.url.url().path()) {
            (OutboundMethod::Get, "/.well-known/openid-configuration") => self.document.borrow().clone(),
            (OutboundMethod::Get, "/keys" | "/cdn-cgi/access/certs") => self.keys.borrow().clone(),
            (OutboundMethod::Post, "/token") => {
                let header = request.headers.iter().find(|(name, _)| name == "authorization");
                *self.authorization.borrow_mut() = header.map(|(_, value)| value.clone()).unwrap_or_default();
                self.answer.borrow().clone()
            }
            _ => return text_response(404, "{}", vec![]),
        };
        text_response(self.status.get(), &body.to_string(), vec![("location".into(), "https://10.0.0.1/".into())])
    }

    fn count(&self, path: &str) -> usize {
        self.requests.borrow().iter().filter(|(url, _)| url.ends_with(path)).count()
    }
}

fn ask(fixture: &Fixture, method: Method, path: &str, body: &Value) -> (u16, Value) {
    call(fixture, &first_key(fixture), method, path, body)
}

fn put_provider(fixture: &Fixture, patch: &Value) -> (u16, Value) {
    let mut body = json!({ "issuer": ISSUER, "client_id": "us", "client_secret": SECRET });
    crate::support::fixture::merge_patch(&mut body, patch);
    ask(fixture, Method::Put, "/v1/workspace/identity", &body)
}

/// A workspace with its provider.
fn set_up(patch: &Value) -> (Fixture, Rc<Provider>) {
    let fixture = Fixture::new();
    let provider = Provider::start(&fixture);
    let (status, made) = put_provider(&fixture, patch);
    assert_eq!(status, 200, "{made}");
    (fixture, provider)
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

pub(crate) fn sign(fixture: &Fixture, header: &Value, claims: &str) -> String {
    let signed = format!("{}.{}", encode(header), URL_SAFE_NO_PAD.encode(claims));
    let (algorithm, pem) = match header["alg"].as_str() {
        Some("ES256") => (SigningAlgorithm::Es256, P256_KEY),
        Some("PS256") => (SigningAlgorithm::Ps256, RSA_KEY),
        _ => (SigningAlgorithm::Rs256, RSA_KEY),
    };
    let key = SigningKey::from_pem(pem).unwrap();
    let signature = fixture.world.run(SignerPort.sign(algorithm, &key, signed.as_bytes())).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(fixture: &Fixture, nonce: &str, patch: &Value) -> Value {
    let now = fixture.world.now().unix();
    let mut claims = json!({
        "iss": ISSUER, "aud": "us", "sub": "ada", "iat": now, "exp": now + 300, "nonce": nonce,
        "name": "Ada L", "email": "ada@example.com", "email_verified": true,
    });
    crate::support::fixture::merge_patch(&mut claims, patch);
    claims
}

pub(crate) fn header() -> Value {
    json!({ "alg": "RS256", "kid": "a", "typ": "JWT" })
}

fn post(browser: &mut TestBrowser<'_>, path: &str, fields: &str) -> Response {
    browser.send(request(Method::Post, path, fields.as_bytes().to_vec()))
}

fn sign_in_path(fixture: &Fixture) -> String {
    format!("/sign-in/{}", fixture.workspace)
}

/// A sign-in at the provider: what the browser was sent there with.
struct Begun {
    query: BTreeMap<String, String>,
    callback: String,
}

impl Begun {
    fn back(&self, parameters: &str) -> String {
        format!("{}?state={}&{parameters}", self.callback, self.query["state"])
    }
}

fn begin(fixture: &Fixture, browser: &mut TestBrowser<'_>, fields: &str) -> Begun {
    let pressed = post(browser, &sign_in_path(fixture), fields);
    assert_eq!(pressed.status, 303, "{}", pressed.body);
    let at = Url::parse(pressed.header("location").unwrap()).unwrap();
    let query: BTreeMap<_, _> = at.query_pairs().into_owned().collect();
    let callback = query["redirect_uri"].strip_prefix("https://c.example.com").unwrap().to_owned();
    Begun { query, callback }
}

/// The whole way, with these claims. Returns the last answer.
fn sign_in_with(fixture: &Fixture, provider: &Provider, browser: &mut TestBrowser<'_>, patch: &Value) -> Response {
    let begun = begin(fixture, browser, "");
    let token = sign(fixture, &header(), &claims(fixture, &begun.query["nonce"], patch).to_string());
    *provider.answer.borrow_mut() = json!({ "id_token": token });
    browser.get(&begun.back("code=c1"))
}

fn count_sessions(fixture: &Fixture) -> i64 {
    fixture.world.db.query_number("SELECT count(*) FROM sessions")
}

#[test]
fn a_person_signs_in_at_the_provider_and_lands_where_they_wanted() {
    let (fixture, provider) = set_up(&json!({}));
    let (_, shown) = ask(&fixture, Method::Get, "/v1/workspace/identity", &Value::Null);
    assert!(!shown.to_string().contains(SECRET));
    assert_eq!(shown["sign_in_url"], format!("https://c.example.com/sign-in/{}", fixture.workspace));
    let mut ada = TestBrowser::new(&fixture);
    let page = ada.get(&format!("{}?return_to=/connections/con_1", sign_in_path(&fixture)));
    assert!(
        page.status == 200 && page.body.contains(ISSUER) && page.body.contains("/connections/con_1"),
        "{}",
        page.body
    );
    assert_eq!(provider.requests.borrow().len(), 1, "only the set-up asked");
    let begun = begin(&fixture, &mut ada, "return_to=/connections/con_1");
    assert_eq!(begun.query["redirect_uri"], shown["redirect_uri"]);
    let known: Vec<_> =
        ["response_type", "client_id", "code_challenge_method"].map(|name| begun.query[name].as_str()).into();
    assert_eq!(known, ["code", "us", "S256"]);
    assert!(fixture.world.db.query_number("SELECT count(*) FROM sign_in_links") == 0, "nothing is stored before");
    let token = sign(&fixture, &header(), &claims(&fixture, &begun.query["nonce"], &json!({})).to_string());
    *provider.answer.borrow_mut() = json!({ "id_token": token });

    // A prefetch uses nothing.
    let mut prefetch = request(Method::Get, &begun.back("code=c1"), vec![]);
    prefetch.headers.push(("sec-purpose".into(), "prefetch".into()));
    assert_eq!((ada.send(prefetch).status, provider.count("/token")), (204, 0));

    let copy = ada.cookies.clone();
    let back = ada.get(&begun.back("code=c1"));
    assert_eq!((back.status, back.header("location")), (303, Some("/connections/con_1")), "{}", back.body);
    let cookies = back.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value.as_str());
    assert!(cookies.clone().all(|line| line.starts_with("__Host-") && line.contains("HttpOnly; SameSite=Lax")));
    assert!(cookies.clone().any(|line| line.starts_with("__Host-cx_sign_in=;")), "what was kept is taken away");
    assert_eq!(ada.get("/").status, 200);

    let (url, form) = provider.requests.borrow().iter().find(|(url, _)| url.ends_with("/token")).unwrap().clone();
    assert_eq!((url.as_str(), form["code"].as_str()), ("https://id.example/token", "c1"));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
    assert_eq!(challenge, begun.query["code_challenge"]);
    assert_eq!(*provider.authorization.borrow(), format!("Basic {}", STANDARD.encode(format!("us:{SECRET}"))));
    let with_secret = fixture.world.acme.foreign_requests.borrow().iter().filter(|one| one.has_secret()).count();
    assert_eq!(with_secret, 1, "the secret goes to the token endpoint alone");

    let (_, people) = ask(&fixture, Method::Get, "/v1/people", &Value::Null);
    let person = &people["data"][0];
    let expected = (&json!("oidc:https://id.example:ada"), &json!("Ada L"), &json!("member"));
    assert_eq!((&person["id"], &person["name"], &person["role"]), expected);
    let (_, events) = ask(&fixture, Method::Get, "/v1/events?type=signed_in,workspace_changed", &Value::Null);
    let told: Vec<_> = events["data"].as_array().unwrap().iter().map(|one| one["detail"].as_str().unwrap()).collect();
    assert_eq!(told, ["user:oidc:https://id.example:ada as member", "identity provider: https://id.example"]);

    // The same answer of the provider signs nobody in a second time, also in a copy of the browser.
    let mut thief = TestBrowser::new(&fixture);
    thief.cookies = copy;
    assert_eq!((thief.get(&begun.back("code=c1")).status, count_sessions(&fixture)), (403, 1));
    assert!(!fixture.world.log.dump_lines().contains(SECRET) && !fixture.world.db.dump_tables().contains(SECRET));
}

/// One by one what a hostile or broken issuer can answer.
#[test]
fn a_token_that_is_not_exactly_right_signs_nobody_in() {
    let (fixture, provider) = set_up(&json!({}));
    let now = fixture.world.now().unix();
    let of_claims = [
        json!({ "iss": "https://evil.example" }),
        json!({ "iss": "https://id.example/" }),
        json!({ "iss": null }),
        json!({ "aud": "them" }),
        json!({ "aud": null }),
        json!({ "aud": ["them"] }),
        json!({ "aud": ["us", "them"] }),
        json!({ "azp": "them" }),
        json!({ "aud": ["us", "them"], "azp": "them" }),
        json!({ "aud": ["us", 7] }),
        json!({ "nonce": "another" }),
        json!({ "nonce": null }),
        json!({ "exp": now - 61 }),
        json!({ "exp": null }),
        json!({ "exp": "soon" }),
        json!({ "iat": now + 61 }),
        json!({ "iat": null }),
        json!({ "nbf": now + 61 }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": 7 }),
        json!({ "sub": "a\nb" }),
        json!({ "sub": "a".repeat(256) }),
    ];
    let with = |patch: &Value| {
        let mut header = header();
        crate::support::fixture::merge_patch(&mut header, patch);
        header
    };
    let of_header = [
        json!({ "alg": "none" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS512" }),
        json!({ "alg": null }),
        json!({ "alg": "PS256" }),
        json!({ "alg": "ES256" }),
        json!({ "kid": "b" }),
        json!({ "kid": 7 }),
        json!({ "crit": ["exp"] }),
    ];
    let mut tried = 0;
    let mut refuse = |what: &str, make: &dyn Fn(&str) -> Value| {
        let mut browser = TestBrowser::new(&fixture);
        let begun = begin(&fixture, &mut browser, "");
        *provider.answer.borrow_mut() = make(&begun.query["nonce"]);
        let back = browser.get(&begun.back("code=c1"));
        let is_failure = matches!(back.status, 403 | 503) && back.header("location").is_none();
        assert!(is_failure && count_sessions(&fixture) == 0, "{what}: {}", back.status);
        tried += 1;
    };
    for patch in &of_claims {
        refuse(
            &patch.to_string(),
            &|nonce| json!({ "id_token": sign(&fixture, &header(), &claims(&fixture, nonce, patch).to_string()) }),
        );
    }
    for patch in &of_header {
        refuse(
            &patch.to_string(),
            &|nonce| json!({ "id_token": sign(&fixture, &with(patch), &claims(&fixture, nonce, &json!({})).to_string()) }),
        );
    }
    let good = |nonce: &str| sign(&fixture, &header(), &claims(&fixture, nonce, &json!({})).to_string());
    refuse("no signature", &|nonce| json!({ "id_token": good(nonce).rsplit_once('.').unwrap().0 }));
    refuse(
        "an empty signature",
        &|nonce| json!({ "id_token": format!("{}.", good(nonce).rsplit_once('.').unwrap().0) }),
    );
    refuse("changed claims", &|nonce| {
        let (token, other) = (good(nonce), encode(&claims(&fixture, nonce, &json!({ "sub": "bob" }))));
        let parts: Vec<_> = token.split('.').collect();
        json!({ "id_token": format!("{}.{other}.{}", parts[0], parts[2]) })
    });
    refuse("two issuers", &|nonce| {
        let text =
            claims(&fixture, nonce, &json!({})).to_string().replacen('{', r#"{"iss":"https://evil.example","#, 1);
        json!({ "id_token": sign(&fixture, &header(), &text) })
    });
    refuse("four parts", &|nonce| json!({ "id_token": format!("{}.x", good(nonce)) }));
    refuse("padding", &|nonce| json!({ "id_token": format!("{}=", good(nonce)) }));
    refuse("a huge token", &|nonce| json!({ "id_token": format!("{}{}", "a".repeat(70_000), good(nonce)) }));
    refuse("no token", &|_| json!({ "access_token": "x" }));
    refuse("another type", &|_| json!({ "id_token": 7 }));
    refuse("a list", &|_| json!([]));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM people"), 0);
    assert_eq!(provider.count("/token"), tried);
    // The same way with nothing wrong works: the test would notice if it refused everything.
    let mut ada = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut ada, &json!({ "aud": ["us"], "azp": "us" })).status, 303);
}

#[test]
fn the_answers_of_an_issuer_in_trouble_sign_nobody_in() {
    let (fixture, provider) = set_up(&json!({}));
    for (status, keys) in [(500, json!({})), (302, json!({})), (200, json!({})), (200, json!({ "keys": [] }))] {
        *provider.keys.borrow_mut() = keys;
        provider.status.set(status);
        let mut browser = TestBrowser::new(&fixture);
        let back = sign_in_with(&fixture, &provider, &mut browser, &json!({}));
        assert!(matches!(back.status, 403 | 503) && count_sessions(&fixture) == 0, "{status}");
    }
    let inside = provider.requests.borrow().iter().filter(|(url, _)| !url.starts_with(ISSUER)).count();
    assert_eq!(inside, 0, "no redirect is followed");
}

/// Whoever runs the issuer names its addresses when it is set up, and never again.
#[test]
fn an_issuer_that_names_other_addresses_later_gets_nothing_there() {
    let (fixture, provider) = set_up(&json!({}));
    *provider.document.borrow_mut() = document("https://evil.example");
    let mut ada = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut ada, &json!({})).status, 303);
    let elsewhere = provider.requests.borrow().iter().filter(|(url, _)| !url.starts_with(ISSUER)).count();
    assert_eq!(elsewhere, 0);
}

#[test]
fn an_issuer_that_cannot_be_trusted_is_not_set_up() {
    let fixture = Fixture::new();
    let provider = Provider::start(&fixture);
    let with = |name: &str, value: Value| {
        let mut changed = document(ISSUER);
        changed[name] = value;
        changed
    };
    let huge = with("x", json!("a".repeat(300_000)));
    let documents = [
        document("https://evil.example"),
        document("https://id.example/tenant"),
        with("token_endpoint", json!("https://169.254.169.254/token")),
        with("token_endpoint", json!("http://id.example/token")),
        with("authorization_endpoint", json!("https://localhost/authorize")),
        with("jwks_uri", json!("https://[::1]/keys")),
        with("jwks_uri", json!("https://id.example@10.0.0.1/keys")),
        with("jwks_uri", json!("https://us:pw@id.example/keys")),
        with("jwks_uri", json!("javascript:alert(1)")),
        with("jwks_uri", Value::Null),
        with("token_endpoint_auth_methods_supported", json!(["none", "private_key_jwt"])),
        huge,
        json!([]),
        json!("<html>"),
    ];
    for (index, document) in documents.into_iter().enumerate() {
        *provider.document.borrow_mut() = document;
        let (status, refused) = put_provider(&fixture, &json!({}));
        assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!("issuer")), "{index}: {refused}");
    }
    *provider.document.borrow_mut() = document(ISSUER);
    for status in [302, 404, 500] {
        provider.status.set(status);
        assert_eq!(put_provider(&fixture, &json!({})).0, 422, "{status}");
    }
    let asked = provider.requests.borrow().len();
    for (field, value) in [
        ("issuer", json!("https://127.0.0.1")),
        ("issuer", json!("http://id.example")),
        ("issuer", json!("https://id.example@evil.example")),
        ("issuer", json!("https://id.example/?a=b")),
        ("issuer", json!(format!("https://id.example/{}", "a".repeat(200)))),
        ("client_id", json!("")),
        ("client_secret", json!(" x")),
        ("allowed_domains", json!(["@example.com"])),
        ("allowed_domains", json!(["example"])),
        ("admin_groups", json!([""])),
    ] {
        let (status, refused) = put_provider(&fixture, &json!({ field: value }));
        assert_eq!((status, &refused["errors"][0]["field"]), (422, &json!(field)), "{value}: {refused}");
    }
    assert_eq!(provider.requests.borrow().len(), asked, "nothing left");
    assert!(provider.requests.borrow().iter().all(|(url, _)| url.starts_with("https://id.example/.well-known/")));
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM identity_providers"), 0);
    assert_eq!(ask(&fixture, Method::Get, "/v1/workspace/identity", &Value::Null).0, 404);
}

#[test]
fn a_key_that_the_issuer_rotated_is_found_with_one_more_request() {
    let (fixture, provider) = set_up(&json!({}));
    let fixture = fixture.in_one_isolate();
    let attempt = |kid: &str| {
        let mut browser = TestBrowser::new(&fixture);
        let begun = begin(&fixture, &mut browser, "");
        let header = json!({ "alg": "RS256", "kid": kid });
        let token = sign(&fixture, &header, &claims(&fixture, &begun.query["nonce"], &json!({})).to_string());
        *provider.answer.borrow_mut() = json!({ "id_token": token });
        browser.get(&begun.back("code=c1")).status
    };
    assert_eq!([attempt("a"), attempt("a")], [303, 303]);
    assert_eq!(provider.count("/keys"), 1, "remembered");
    *provider.keys.borrow_mut() = json!({ "keys": [rsa_jwk("b")] });
    fixture.world.advance_clock(61);
    assert_eq!((attempt("b"), provider.count("/keys")), (303, 2));
    // Made-up keys have it asked once a minute at most.
    assert_eq!([attempt("c"), attempt("d"), attempt("e"), attempt("a")], [403; 4]);
    assert_eq!(provider.count("/keys"), 2);
}

#[test]
fn an_elliptic_curve_key_verifies_too() {
    let (fixture, provider) = set_up(&json!({}));
    // RFC 7515 A.3.
    *provider.keys.borrow_mut() = json!({ "keys": [rsa_jwk("a"), {
        "kty": "EC", "crv": "P-256", "kid": "e",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }] });
    for (header, status) in [(json!({ "alg": "ES256", "kid": "e" }), 303), (json!({ "alg": "RS256", "kid": "e" }), 403)]
    {
        let mut browser = TestBrowser::new(&fixture);
        let begun = begin(&fixture, &mut browser, "");
        let token = sign(&fixture, &header, &claims(&fixture, &begun.query["nonce"], &json!({})).to_string());
        *provider.answer.borrow_mut() = json!({ "id_token": token });
        assert_eq!(browser.get(&begun.back("code=c1")).status, status, "{header}");
    }
}

#[test]
fn a_sign_in_belongs_to_the_browser_that_began_it() {
    let (fixture, provider) = set_up(&json!({}));
    let mut ada = TestBrowser::new(&fixture);
    let begun = begin(&fixture, &mut ada, "");
    let stranger = fixture.clone();
    let mut other = TestBrowser::new(&stranger);
    begin(&stranger, &mut other, "");
    let (state, kept) = (&begun.query["state"], ada.cookies.clone());
    let open = |path: &str| {
        // Each attempt begins with what the browser has kept.
        let mut browser = TestBrowser::new(&fixture);
        browser.cookies.clone_from(&kept);
        browser.get(path).status
    };
    let refused = [
        (other.get(&begun.back("code=c1")).status, "another browser that began one"),
        (TestBrowser::new(&fixture).get(&begun.back("code=c1")).status, "another browser"),
        (open(&format!("{}?code=c1", begun.callback)), "no state"),
        (open(&format!("{}?state=x&code=c1", begun.callback)), "another state"),
        (open(&format!("{}?state={state}&state=x&code=c1", begun.callback)), "two states"),
        (open(&begun.back("code=c1&code=c2")), "two codes"),
        (open(&begun.back("code=c1&iss=https://evil.example")), "another issuer (RFC 9207)"),
        (open(&begun.back("error=access_denied")), "denied"),
        (open(&format!("/sign-in/callback/cli_0123456789abcdefghijkl?state={state}&code=c1")), "another address"),
        (open(&format!("/sign-in/callback/x?state={state}&code=c1")), "no address"),
    ];
    for (status, what) in refused {
        assert_eq!(status, 403, "{what}");
    }
    assert_eq!(open(&begun.back("iss=https://id.example")), 503, "no code");
    fixture.world.advance_clock(601);
    assert_eq!(open(&begun.back("code=c1")), 403, "too late");
    assert_eq!((provider.count("/token"), count_sessions(&fixture)), (0, 0), "nothing left, nobody is signed in");

    // One that was begun before the provider was changed ends.
    let begun = begin(&fixture, &mut ada, "");
    fixture.world.advance_clock(1);
    assert_eq!(put_provider(&fixture, &json!({ "client_id": "new" })).0, 200);
    assert_eq!((ada.get(&begun.back("code=c1")).status, provider.count("/token")), (403, 0));
    // An issuer that promises to name itself must.
    *provider.document.borrow_mut() = {
        let mut changed = document(ISSUER);
        changed["authorization_response_iss_parameter_supported"] = json!(true);
        changed
    };
    assert_eq!(put_provider(&fixture, &json!({})).0, 200);
    let begun = begin(&fixture, &mut ada, "");
    assert_eq!((ada.get(&begun.back("code=c1")).status, provider.count("/token")), (403, 0));
}

#[test]
fn nobody_is_signed_in_as_somebody_else_without_being_asked() {
    let (fixture, provider) = set_up(&json!({}));
    let mut browser = TestBrowser::new(&fixture);
    let mut foreign = request(Method::Post, &sign_in_path(&fixture), vec![]);
    foreign.headers = vec![("sec-fetch-site".into(), "cross-site".into())];
    assert_eq!(browser.send(foreign).status, 403, "a form of another site");
    let begun = begin(&fixture, &mut browser, "");
    browser.sign_in_as(&json!({ "user": { "id": "bob", "name": "Bob" } }));
    // Somebody signed in while the provider was asked.
    assert_eq!((browser.get(&begun.back("code=c1")).status, provider.count("/token")), (403, 0));
    let asked = post(&mut browser, &sign_in_path(&fixture), "");
    assert!(asked.status == 200 && asked.body.contains("You are signed in as"), "{}", asked.body);
    let replace = asked.body.split("name=\"replace\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(post(&mut browser, &sign_in_path(&fixture), "replace=ses_0123456789abcdefghijkl").status, 200);
    let bob = browser.cookies.clone();
    let begun = begin(&fixture, &mut browser, &format!("replace={replace}"));
    let token = sign(&fixture, &header(), &claims(&fixture, &begun.query["nonce"], &json!({})).to_string());
    *provider.answer.borrow_mut() = json!({ "id_token": token });
    assert_eq!(browser.get(&begun.back("code=c1")).status, 303);
    assert!(browser.get("/").body.contains("Ada L"));
    let mut old = TestBrowser::new(&fixture);
    old.cookies = bob;
    assert_eq!(old.get("/").status, 401, "the session before has ended");
}

#[test]
fn only_verified_addresses_of_the_allowed_domains_are_let_in() {
    let (fixture, provider) = set_up(&json!({ "allowed_domains": ["Example.com"] }));
    for (patch, status) in [
        (json!({ "email_verified": false }), 403),
        (json!({ "email_verified": null }), 403),
        (json!({ "email_verified": "true" }), 403),
        (json!({ "email": null }), 403),
        (json!({ "email": "ada@evil.example" }), 403),
        (json!({ "email": "ada@sub.example.com" }), 403),
        (json!({ "email": "ada@example.com@evil.example" }), 403),
        // The beginning of an address, or what is left of it without some characters, is another address.
        (json!({ "email": format!("{}@example.com.evil.example", "a".repeat(128 - "@example.com".len())) }), 403),
        (json!({ "email": "ada@exam\u{7f}ple.com" }), 403),
        (json!({ "email": "ada@EXAMPLE.com" }), 303),
    ] {
        let mut browser = TestBrowser::new(&fixture);
        assert_eq!(sign_in_with(&fixture, &provider, &mut browser, &patch).status, status, "{patch}");
    }
    assert_eq!(count_sessions(&fixture), 1);
}

#[test]
fn groups_of_the_issuer_decide_over_the_role_at_each_sign_in() {
    let (fixture, provider) = set_up(&json!({ "admin_groups": ["ops"] }));
    let role = |id: &str| {
        let (_, people) = ask(&fixture, Method::Get, "/v1/people", &Value::Null);
        people["data"].as_array().unwrap().iter().find(|one| one["id"] == id).unwrap()["role"].clone()
    };
    let id = "oidc:https://id.example:ada";
    let (mut first, mut second) = (TestBrowser::new(&fixture), TestBrowser::new(&fixture));
    assert_eq!(sign_in_with(&fixture, &provider, &mut first, &json!({ "groups": ["all", "ops"] })).status, 303);
    assert_eq!(role(id), json!("admin"));
    assert_eq!(sign_in_with(&fixture, &provider, &mut second, &json!({ "groups": ["ops2"] })).status, 303);
    assert_eq!(role(id), json!("member"));
    assert_eq!(
        fixture.world.db.query_number("SELECT count(*) FROM sessions WHERE role = 'admin'"),
        0,
        "in all sessions"
    );
    let (_, events) = ask(&fixture, Method::Get, "/v1/events?type=role_changed", &Value::Null);
    let told: Vec<_> = events["data"].as_array().unwrap().iter().map(|one| (&one["target"], &one["detail"])).collect();
    assert_eq!(
        told,
        [(&json!(id), &json!("member")), (&json!(id), &json!("admin"))],
        "made a member, and before an admin"
    );
    // Somebody else's address is no link to them, and another issuer's person is another person.
    let (_, bob) = ask(
        &fixture,
        Method::Post,
        "/v1/sign-in-links",
        &json!({ "user": { "id": "ada@example.com" }, "role": "admin" }),
    );
    assert_eq!(TestBrowser::new(&fixture).press(&crate::http::link_path(&bob)).status, 303);
    let mut third = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut third, &json!({})).status, 303);
    assert_eq!((role("ada@example.com"), role(id)), (json!("admin"), json!("member")));
    // Without groups, the role is the one that the workspace gives.
    fixture.world.advance_clock(1);
    assert_eq!(put_provider(&fixture, &json!({})).0, 200);
    let path = "/v1/people/oidc%3Ahttps%3A%2F%2Fid.example%3Aada";
    assert_eq!(ask(&fixture, Method::Patch, path, &json!({ "role": "admin" })).0, 200);
    let mut fourth = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut fourth, &json!({ "groups": [] })).status, 303);
    assert_eq!(
        fixture.world.db.query_number("SELECT count(*) FROM sessions WHERE role = 'admin' AND user_id LIKE 'oidc:%'"),
        1
    );
}

/// A sign-in reads the role before it opens the session.
#[test]
fn whoever_is_made_a_member_during_the_sign_in_is_no_admin_again() {
    let (fixture, provider) = set_up(&json!({}));
    let mut ada = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut ada, &json!({})).status, 303);
    let path = "/v1/people/oidc%3Ahttps%3A%2F%2Fid.example%3Aada";
    assert_eq!(ask(&fixture, Method::Patch, path, &json!({ "role": "admin" })).0, 200);
    let db = fixture.world.db.clone();
    *fixture.world.db.fault_plan.borrow_mut() = Some(Box::new(move |statements| {
        if statements.iter().any(|one| one.sql.contains("INTO sign_in_links")) {
            db.tamper("UPDATE people SET role = 'member'");
        }
        None
    }));
    let mut again = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut again, &json!({})).status, 403);
    let link = json!({ "user": { "id": "bob" } });
    fixture.world.db.tamper(
        "INSERT INTO people (workspace_id, user_id, role, created_at) SELECT id, 'bob', 'admin', 0 FROM workspaces",
    );
    let (status, made) = ask(&fixture, Method::Post, "/v1/sign-in-links", &link);
    assert_eq!(status, 201, "{made}");
    *fixture.world.db.fault_plan.borrow_mut() = None;
    assert_eq!(TestBrowser::new(&fixture).press(&crate::http::link_path(&made)).status, 303);
    for table in ["people", "sessions"] {
        let admins = format!("SELECT count(*) FROM {table} WHERE role = 'admin'");
        assert_eq!(fixture.world.db.query_number(&admins), 0, "{table}");
    }
    // Whoever is an admin still signs in as one.
    assert_eq!(ask(&fixture, Method::Patch, path, &json!({ "role": "admin" })).0, 200);
    assert_eq!(sign_in_with(&fixture, &provider, &mut again, &json!({})).status, 303);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM sessions WHERE role = 'admin'"), 1);
}

#[test]
fn only_a_key_for_everything_sets_a_provider_up_and_it_ends_with_its_workspace() {
    let (fixture, _provider) = set_up(&json!({}));
    let keys = make_key(&fixture, |key| key.scopes = vec![KeyScope::Keys, KeyScope::People, KeyScope::Links]);
    for (method, body) in [(Method::Get, Value::Null), (Method::Put, json!({})), (Method::Delete, Value::Null)] {
        assert_eq!(call(&fixture, &keys, method, "/v1/workspace/identity", &body).0, 403);
    }
    // Another issuer has another redirect URI.
    let (_, before) = ask(&fixture, Method::Get, "/v1/workspace/identity", &Value::Null);
    assert_eq!(put_provider(&fixture, &json!({})).1["redirect_uri"], before["redirect_uri"]);
    let provider = Provider::start(&fixture);
    *provider.document.borrow_mut() = document("https://id2.example");
    let (_, after) = put_provider(&fixture, &json!({ "issuer": "https://id2.example" }));
    assert_ne!(after["redirect_uri"], before["redirect_uri"]);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM identity_providers"), 1);
    assert_eq!(ask(&fixture, Method::Delete, "/v1/workspace/identity", &Value::Null).0, 200);
    assert_eq!(ask(&fixture, Method::Delete, "/v1/workspace/identity", &Value::Null).0, 404);
    let mut browser = TestBrowser::new(&fixture);
    assert_eq!(browser.get(&sign_in_path(&fixture)).status, 404);
    assert_eq!(browser.get("/sign-in/ws_0123456789abcdefghijkl").status, 404, "the same as an unknown workspace");
}

/// What a page says to whoever is not signed in, without the addresses in it.
fn signed_out(fixture: &Fixture, path: &str) -> (u16, String) {
    let page = TestBrowser::new(fixture).get(path);
    (page.status, page.body.replace(path, "…").replace(&path.replace('/', "%2F"), "…"))
}

#[test]
fn a_signed_out_person_is_led_back_and_learns_nothing() {
    let fixture = Fixture::new();
    let connection = fixture.connect("ann");
    let (status, page) = signed_out(&fixture, "/");
    assert!(status == 401 && page.contains("sign-in link") && !page.contains("action=\"/sign-in"), "{page}");
    let provider = Provider::start(&fixture);
    assert_eq!(put_provider(&fixture, &json!({})).0, 200);
    let real = format!("/connections/{connection}/reconnect");
    let made_up = "/connections/con_0123456789abcdefghijkl/reconnect";
    let page = TestBrowser::new(&fixture).get(&real).body;
    let href = format!("href=\"{}?return_to={}\"", sign_in_path(&fixture), real.replace('/', "%2F"));
    assert!(page.contains(&href), "{page}");
    assert_eq!(signed_out(&fixture, &real), signed_out(&fixture, made_up));
    // After the sign-in the browser is there.
    let mut ada = TestBrowser::new(&fixture);
    let begun = begin(&fixture, &mut ada, &format!("return_to={real}"));
    let token = sign(&fixture, &header(), &claims(&fixture, &begun.query["nonce"], &json!({})).to_string());
    *provider.answer.borrow_mut() = json!({ "id_token": token });
    assert_eq!(ada.get(&begun.back("code=c1")).header("location"), Some(real.as_str()));

    // With several, the person says which.
    let other = fixture.other_workspace();
    assert_eq!(put_provider(&other, &json!({})).0, 200);
    let (_, page) = signed_out(&fixture, &real);
    assert!(page.contains("Workspace id") && !page.contains(fixture.workspace.as_str()), "{page}");
    assert_eq!(signed_out(&fixture, &real), signed_out(&fixture, made_up));
    let mut browser = TestBrowser::new(&fixture);
    let chosen = browser.get(&format!("/sign-in?workspace={}&return_to={real}", fixture.workspace));
    let leads_to = chosen.header("location").unwrap().to_owned();
    assert_eq!(leads_to, format!("{}?return_to={}", sign_in_path(&fixture), real.replace('/', "%2F")));
    assert!(browser.get(&leads_to).body.contains(&real));
    assert_eq!(browser.get("/sign-in").status, 200);
    for wrong in ["x", "//evil.example"] {
        let asked = browser.get(&format!("/sign-in?workspace={wrong}&return_to={real}"));
        assert_eq!(asked.status, 422, "{wrong}");
        // What was entered, the question and the page that was asked for stay.
        assert!(asked.body.contains("This is no workspace’s id."), "{}", asked.body);
        assert!(asked.body.contains(&format!("name=\"workspace\" value=\"{wrong}\"")), "{}", asked.body);
        assert!(asked.body.contains(&format!("name=\"return_to\" value=\"{real}\"")), "{}", asked.body);
    }
    for at in
        ["//evil.example", "https://evil.example", "/\\evil.example", "/v1/keys", "/oauth/callback/x", "/sign-out"]
    {
        let encoded: String = url::form_urlencoded::byte_serialize(at.as_bytes()).collect();
        assert_eq!(browser.get(&format!("{}?return_to={encoded}", sign_in_path(&fixture))).status, 422, "{at}");
        assert_eq!(post(&mut browser, &sign_in_path(&fixture), &format!("return_to={encoded}")).status, 422, "{at}");
        assert_eq!(
            browser.get(&format!("/sign-in?workspace={}&return_to={encoded}", fixture.workspace)).status,
            422,
            "{at}"
        );
    }
    // A workspace that was deleted is none of them, also before its rows are erased.
    let operator = "abcdefghijklmnopqrstuvwxyz0123456789";
    let path = format!("/v1/workspaces/{}", other.workspace);
    assert_eq!(call(&fixture, operator, Method::Delete, &path, &Value::Null).0, 200);
    assert!(TestBrowser::new(&fixture).get(&real).body.contains(&href));
    // A form without a session is refused as before.
    assert_eq!(post(&mut browser, &format!("/connections/{connection}/rename"), "name=x").status, 401);
}

// ---- Cloudflare Access ----

fn with_access(fixture: &Fixture, groups: &str) {
    let workspace = fixture.workspace.as_str();
    *fixture.world.access.borrow_mut() =
        Some(["team.cloudflareaccess.com", "tag", workspace, groups].map(str::to_owned));
}

fn access_claims(fixture: &Fixture, patch: &Value) -> String {
    let now = fixture.world.now().unix();
    let mut claims = json!({
        "iss": TEAM, "aud": ["tag"], "sub": "u-1", "iat": now, "exp": now + 60, "email": "ada@example.com", "type": "app",
    });
    crate::support::fixture::merge_patch(&mut claims, patch);
    claims.to_string()
}

fn open_with(browser: &mut TestBrowser<'_>, path: &str, token: &str) -> Response {
    let mut sent = request(Method::Get, path, vec![]);
    sent.headers.push(("cf-access-jwt-assertion".into(), token.to_owned()));
    browser.send(sent)
}

#[test]
fn whoever_access_lets_in_is_signed_in() {
    let fixture = Fixture::new();
    let provider = Provider::start(&fixture);
    let fixture = fixture.in_one_isolate();
    with_access(&fixture, "ops, boss");
    let token = sign(&fixture, &header(), &access_claims(&fixture, &json!({ "custom": { "groups": ["boss"] } })));
    let mut ada = TestBrowser::new(&fixture);
    let opened = open_with(&mut ada, "/?app=acme", &token);
    assert_eq!((opened.status, opened.header("location")), (303, Some("/?app=acme")));
    assert_eq!(ada.get("/").status, 200, "its own session, without the header");
    let (_, people) = ask(&fixture, Method::Get, "/v1/people", &Value::Null);
    let expected = (&json!("access:team.cloudflareaccess.com:u-1"), &json!("ada@example.com"), &json!("admin"));
    let person = &people["data"][0];
    assert_eq!((&person["id"], &person["name"], &person["role"]), expected);
    let mut again = TestBrowser::new(&fixture);
    let member = sign(&fixture, &header(), &access_claims(&fixture, &json!({})));
    assert_eq!(open_with(&mut again, "/", &member).status, 303);
    let (_, people) = ask(&fixture, Method::Get, "/v1/people", &Value::Null);
    assert_eq!(people["data"][0]["role"], "member");
    // A session that exists stays: the header changes nothing.
    again.sign_in_as(&json!({ "user": { "id": "bob" } }));
    assert_eq!(open_with(&mut again, "/", &token).status, 200);
    assert_eq!(provider.count("/certs"), 1);
    // Keys rotate.
    *provider.keys.borrow_mut() = json!({ "keys": [rsa_jwk("b")] });
    fixture.world.advance_clock(61);
    let rotated = sign(&fixture, &json!({ "alg": "RS256", "kid": "b" }), &access_claims(&fixture, &json!({})));
    assert_eq!((open_with(&mut TestBrowser::new(&fixture), "/", &rotated).status, provider.count("/certs")), (303, 2));
}

#[test]
fn a_forged_header_of_access_signs_nobody_in() {
    let fixture = Fixture::new();
    let provider = Provider::start(&fixture);
    let fixture = fixture.in_one_isolate();
    let good = sign(&fixture, &header(), &access_claims(&fixture, &json!({})));
    let open = |token: &str| open_with(&mut TestBrowser::new(&fixture), "/", token).status;
    assert_eq!((open(&good), provider.requests.borrow().len()), (401, 0), "Access is not set up");
    with_access(&fixture, "");
    let now = fixture.world.now().unix();
    let forged = [
        json!({ "aud": ["other"] }),
        json!({ "iss": "https://evil.cloudflareaccess.com" }),
        json!({ "exp": now - 61 }),
        json!({ "nbf": now + 61 }),
        // A service token is nobody.
        json!({ "sub": "", "common_name": "robot" }),
    ];
    for patch in forged {
        assert_eq!(open(&sign(&fixture, &header(), &access_claims(&fixture, &patch))), 401, "{patch}");
    }
    for token in ["", "x", "a.b.c", "ada@example.com", &good.replace('.', "")] {
        assert_eq!(open(token), 401, "{token}");
    }
    assert_eq!(provider.requests.borrow().len(), 0, "what is wrong without a key asks for none");
    let unsigned = format!(
        "{}.{}.",
        encode(&json!({ "alg": "none" })),
        URL_SAFE_NO_PAD.encode(access_claims(&fixture, &json!({})))
    );
    let (_, signature) = good.rsplit_once('.').unwrap();
    let swapped = format!(
        "{}.{}.{signature}",
        encode(&header()),
        URL_SAFE_NO_PAD.encode(access_claims(&fixture, &json!({ "sub": "boss" })))
    );
    let curve = sign(&fixture, &json!({ "alg": "ES256", "kid": "a" }), &access_claims(&fixture, &json!({})));
    for token in [&unsigned, &swapped, &curve] {
        assert_eq!(open(token), 401);
    }
    for kid in ["b", "c", "d"] {
        let token = sign(&fixture, &json!({ "alg": "RS256", "kid": kid }), &access_claims(&fixture, &json!({})));
        assert_eq!(open(&token), 401, "{kid}");
    }
    assert_eq!((provider.count("/certs"), count_sessions(&fixture)), (1, 0), "one request for all of them");
    // Neither does another way to say who one is.
    let mut other = request(Method::Get, "/", vec![]);
    other.headers.push(("cookie".into(), format!("CF_Authorization={good}")));
    other.body = Body::Bytes(vec![]);
    assert_eq!(TestBrowser::new(&fixture).send(other).status, 401);
    assert_eq!(open(&good), 303, "the right one still works");
    // It is for the workspace that the operator named, and for no other.
    assert_eq!(fixture.world.db.query_value("SELECT workspace_id FROM sessions"), json!(fixture.workspace.as_str()));
}

#[test]
fn an_issuer_that_does_not_answer_is_asked_once_in_a_while_whatever_strangers_send() {
    let fixture = Fixture::new();
    let provider = Provider::start(&fixture);
    let fixture = fixture.in_one_isolate();
    with_access(&fixture, "");
    let open = |kid: &str| {
        let token = sign(&fixture, &json!({ "alg": "RS256", "kid": kid }), &access_claims(&fixture, &json!({})));
        open_with(&mut TestBrowser::new(&fixture), "/", &token).status
    };
    provider.status.set(503);
    for number in 0..20 {
        assert_eq!(open(&format!("made-up-{number}")), 401);
    }
    assert_eq!(provider.count("/certs"), 1, "one request for all of them");
    // Keys that are none are no answer either.
    provider.status.set(200);
    let keys = provider.keys.replace(json!({}));
    fixture.world.advance_clock(10);
    assert_eq!([open("a"), open("b")], [401, 401]);
    assert_eq!(provider.count("/certs"), 2);
    // It is back: whoever comes after a few seconds gets in.
    *provider.keys.borrow_mut() = keys;
    fixture.world.advance_clock(10);
    assert_eq!((open("a"), provider.count("/certs")), (303, 3));
    // What was remembered before the issuer failed still lets people in.
    fixture.world.advance_clock(61);
    provider.status.set(503);
    assert_eq!(([open("x"), open("y"), open("a")], provider.count("/certs")), ([401, 401, 303], 4));
}

#[test]
fn two_changes_of_a_provider_within_a_second_are_told_apart() {
    let (fixture, provider) = set_up(&json!({}));
    let mut ada = TestBrowser::new(&fixture);
    let attempt = |ada: &mut TestBrowser<'_>, change: &dyn Fn()| {
        let begun = begin(&fixture, ada, "");
        change();
        let token = sign(&fixture, &header(), &claims(&fixture, &begun.query["nonce"], &json!({})).to_string());
        *provider.answer.borrow_mut() = json!({ "id_token": token });
        ada.get(&begun.back("code=c1")).status
    };
    let put = || assert_eq!(put_provider(&fixture, &json!({ "allowed_domains": ["example.com"] })).0, 200);
    assert_eq!(attempt(&mut ada, &put), 403);
    let replaced = || {
        assert_eq!(ask(&fixture, Method::Delete, "/v1/workspace/identity", &Value::Null).0, 200);
        put();
    };
    assert_eq!(attempt(&mut ada, &replaced), 403);
    assert_eq!(provider.count("/token"), 0);
    assert_eq!(attempt(&mut ada, &|| ()), 303);
}

#[test]
fn a_sign_in_at_a_provider_is_no_sign_in_link() {
    let (fixture, provider) = set_up(&json!({}));
    let mut ada = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut ada, &json!({})).status, 303);
    let (_, links) = ask(&fixture, Method::Get, "/v1/sign-in-links", &Value::Null);
    assert_eq!(links["data"], json!([]));
    // What is left of it can't be deleted: it keeps the sign-in from being used again.
    let hash = fixture.world.db.query_value("SELECT token_hash FROM sign_in_links").as_str().unwrap().to_owned();
    let id = connections::ids::SignInLinkId::of_hash(&hash);
    assert_eq!(ask(&fixture, Method::Delete, &format!("/v1/sign-in-links/{id}"), &Value::Null).0, 404);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM sign_in_links"), 1);
}

/// A colon in the subject, and another one in the issuer.
#[test]
fn people_of_two_issuers_never_have_one_id() {
    let id = |issuer: &str, subject: &str| connections::workspace::vouched_id("oidc:", issuer, subject);
    assert_eq!(id("https://id.example", "ada"), "oidc:https://id.example:ada");
    let pairs = [
        ("https://id.example", "8443:ada"),
        ("https://id.example:8443", "ada"),
        ("https://id.example:8443", "%3Aada"),
        ("https://id.example", "8443%3Aada"),
        ("https://id.example/t", "x:ada"),
        ("https://id.example/t:x", "ada"),
    ];
    let ids: std::collections::BTreeSet<_> = pairs.iter().map(|(issuer, subject)| id(issuer, subject)).collect();
    assert_eq!(ids.len(), pairs.len(), "{ids:?}");
    let (fixture, provider) = set_up(&json!({}));
    let mut ada = TestBrowser::new(&fixture);
    assert_eq!(sign_in_with(&fixture, &provider, &mut ada, &json!({ "sub": "8443:ada" })).status, 303);
    let (_, people) = ask(&fixture, Method::Get, "/v1/people", &Value::Null);
    assert_eq!(people["data"][0]["id"], json!("oidc:https://id.example:8443%3Aada"));
}

#[test]
fn a_workspace_of_access_that_is_not_here_is_logged_and_an_old_cookie_leads_to_the_sign_in() {
    let fixture = Fixture::new();
    let provider = Provider::start(&fixture);
    let token = sign(&fixture, &header(), &access_claims(&fixture, &json!({})));
    for (number, workspace) in ["ws_00AAAAAAAAAAAAAAAAAAAAAA", "ws_07AAAAAAAAAAAAAAAAAAAAAA"].iter().enumerate() {
        *fixture.world.access.borrow_mut() =
            Some(["team.cloudflareaccess.com", "tag", workspace, ""].map(str::to_owned));
        assert_eq!(open_with(&mut TestBrowser::new(&fixture), "/", &token).status, 401);
        assert_eq!(fixture.world.log.count_events("access_workspace_missing"), number + 1);
    }
    assert!(fixture.world.log.dump_lines().contains("DB_7"));
    *fixture.world.access.borrow_mut() = None;
    assert_eq!(put_provider(&fixture, &json!({})).0, 200);
    let mut old = TestBrowser::new(&fixture);
    old.cookies.insert("__Host-cx_session".into(), format!("07{}", "a".repeat(43)));
    let page = old.get("/connections/con_0123456789abcdefghijkl");
    assert!(page.status == 401 && page.body.contains("action=\"/sign-in\""), "{}", page.body);
    assert!(page.body.contains("value=\"/connections/con_0123456789abcdefghijkl\""), "{}", page.body);
    // From there the browser finds the workspace, and a sign-in takes the place of the old cookie.
    let chosen = old.get(&format!("/sign-in?workspace={}", fixture.workspace));
    assert_eq!(chosen.header("location"), Some(sign_in_path(&fixture).as_str()));
    assert_eq!(sign_in_with(&fixture, &provider, &mut old, &json!({})).status, 303);
    assert_eq!(old.get("/").status, 200);
}

/// The operator gives domains to workspaces. Nobody else has a say, and nothing but the exact domain counts.
#[test]
fn a_person_of_access_is_of_the_workspace_that_the_operator_gave_their_domain() {
    let fixture = Fixture::new();
    let hostile = fixture.other_workspace();
    let provider = Provider::start(&fixture);
    with_access(&fixture, "");
    *fixture.world.access_domains.borrow_mut() =
        Some(format!("Example.org={}, other.example={}", fixture.workspace, hostile.workspace));
    fixture.world.access.borrow_mut().as_mut().unwrap()[2] = String::new();
    // The workspace beside it tries all that it has.
    for body in
        [json!({ "access_domains": ["example.org"] }), json!({ "branding": { "access_domains": ["example.org"] } })]
    {
        let (status, refused) = ask(&hostile, Method::Patch, "/v1/workspace", &body);
        assert_eq!(status, 422, "{refused}");
        assert!(refused.to_string().contains("access_domains"), "{refused}");
    }
    assert_eq!(put_provider(&hostile, &json!({ "allowed_domains": ["example.org"] })).0, 200);
    let open = |email: Value| {
        fixture.world.db.tamper("DELETE FROM sessions");
        let claims =
            access_claims(&fixture, &json!({ "email": email, "custom": { "access_domains": ["example.org"] } }));
        let status = open_with(&mut TestBrowser::new(&fixture), "/", &sign(&fixture, &header(), &claims)).status;
        (status, fixture.world.db.query_value("SELECT workspace_id FROM sessions"))
    };
    let ours = (303, json!(fixture.workspace.as_str()));
    assert_eq!([open(json!("ada@example.org")), open(json!("ADA@EXAMPLE.ORG"))], [ours.clone(), ours.clone()]);
    assert_eq!(open(json!("eve@other.example")), (303, json!(hostile.workspace.as_str())));
    let nowhere = [
        json!("ada@example.com"),
        json!("ada@sub.example.org"),
        json!("ada@example.org.evil.example"),
        json!("ada@example.org@evil.example"),
        json!("example.org@evil.example"),
        json!("ada@example.org."),
        json!("ada@xn--exmple-cua.org"),
        json!("ada@ex\u{e4}mple.org"),
        json!("ada@example.org "),
        json!("example.org"),
        json!("@"),
        json!(""),
        json!(7),
        Value::Null,
    ];
    for (number, email) in nowhere.iter().enumerate() {
        assert_eq!(open(email.clone()), (401, Value::Null), "{email}");
        assert_eq!(fixture.world.log.count_events("access_domain_unknown"), number + 1, "{email}");
    }
    let people = "SELECT count(*) FROM people WHERE workspace_id = ";
    let count = |of: &Fixture| fixture.world.db.query_number(&format!("{people}'{}'", of.workspace));
    assert_eq!((count(&fixture), count(&hostile)), (1, 1));
    assert!(provider.requests.borrow().iter().all(|(url, _)| !url.ends_with("/token")));
    // With `ACCESS_WORKSPACE`, everybody else is of that one, and a listed domain goes first.
    fixture.world.access.borrow_mut().as_mut().unwrap()[2] = hostile.workspace.to_string();
    let theirs = (303, json!(hostile.workspace.as_str()));
    assert_eq!(
        [open(json!("ada@example.org")), open(json!("bob@example.com")), open(Value::Null)],
        [ours, theirs.clone(), theirs]
    );
}
