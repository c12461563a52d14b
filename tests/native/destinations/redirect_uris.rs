//! A7: the redirect URI belongs to workspace, registration and authorization server, not to a client id.

use connections::http::Method;
use serde_json::{Value, json};

use super::{AuthorizeRedirect, FormBrowser, PUBLIC_URL, call_successfully, edited_definition, put_app, redirect_uri};
use crate::http::{call, first_key};
use crate::support::Fixture;
use crate::support::acme::CLIENT_ID;

fn put_client_id(fixture: &Fixture, client_id: &str) -> Value {
    let body = json!({ "client_id": client_id, "client_secret": fixture.world.acme.client_secret.borrow().clone() });
    call_successfully(fixture, &first_key(fixture), Method::Put, "/v1/apps/acme/client", &body)
}

/// An app without a client.
fn fixture_without_client() -> Fixture {
    let fixture = Fixture::new();
    call_successfully(&fixture, &first_key(&fixture), Method::Delete, "/v1/apps/acme/client", &Value::Null);
    fixture
}

/// The redirect URI before there is a client.
fn announced_redirect_uri(fixture: &Fixture) -> String {
    let app = call_successfully(fixture, &first_key(fixture), Method::Get, "/v1/apps/acme", &Value::Null);
    let text = app.to_string();
    let (_, rest) = text.split_once(PUBLIC_URL).unwrap_or_else(|| panic!("{text}"));
    format!("{PUBLIC_URL}{}", rest.split('"').next().unwrap())
}

#[test]
fn a_corrected_client_id_keeps_the_redirect_uri() {
    let fixture = fixture_without_client();
    let told = announced_redirect_uri(&fixture);
    let mistyped = put_client_id(&fixture, "acme-cleint");
    let corrected = put_client_id(&fixture, CLIENT_ID);
    assert_eq!(
        (mistyped["redirect_uri"].as_str(), corrected["redirect_uri"].as_str()),
        (Some(told.as_str()), Some(told.as_str()))
    );
    assert_ne!(mistyped["id"], corrected["id"], "connections stay with the client they were made with");
    let mut ann = FormBrowser::signed_in(&fixture);
    let id = ann.connect("ann");
    assert_eq!(fixture.load_connection(&id).client.unwrap().to_string(), corrected["id"].as_str().unwrap());
    put_client_id(&fixture, "a-third");
    fixture.expire_access_token(&id);
    assert!(fixture.resolve(&id, connections::resolve::ResolveRequest::default()).is_ok(), "the older client goes on");
}

#[test]
fn each_authorization_server_has_its_own_redirect_uri() {
    let fixture = fixture_without_client();
    let first = put_client_id(&fixture, CLIENT_ID)["redirect_uri"].clone();
    let key = first_key(&fixture);
    for url in ["https://evil.example/token", "https://acme.example/other/token", "https://acme.example:8443/token"] {
        put_app(&fixture, &key, &json!({ "auth": { "token_url": url } }));
        assert_ne!(announced_redirect_uri(&fixture), first.as_str().unwrap(), "{url}");
        let told = announced_redirect_uri(&fixture);
        let other = put_client_id(&fixture, CLIENT_ID);
        assert_eq!(other["redirect_uri"], told, "{url}");
        assert_ne!(other["redirect_uri"], first, "{url}");
        put_app(&fixture, &key, &json!({}));
        assert_eq!(put_client_id(&fixture, CLIENT_ID)["redirect_uri"], first, "{url}");
    }
}

#[test]
fn a_recreated_client_has_the_redirect_uri_of_its_server() {
    let fixture = fixture_without_client();
    let first = put_client_id(&fixture, CLIENT_ID)["redirect_uri"].clone();
    let key = first_key(&fixture);
    let delete = || call_successfully(&fixture, &key, Method::Delete, "/v1/apps/acme/client", &Value::Null);
    delete();
    assert_eq!(put_client_id(&fixture, "another")["redirect_uri"], first);
    delete();
    put_app(&fixture, &key, &json!({ "auth": { "authorize_url": "https://evil.example/authorize" } }));
    assert_ne!(
        put_client_id(&fixture, CLIENT_ID)["redirect_uri"],
        first,
        "what is registered at one server is of no use to another"
    );
}

#[test]
fn workspaces_and_apps_share_no_redirect_uri() {
    let fixture = fixture_without_client();
    let neighbour = fixture.other_workspace();
    put_client_id(&fixture, CLIENT_ID);
    let (here, there) = (redirect_uri(&fixture), redirect_uri(&neighbour));
    assert_ne!(here, there);
    let mut second = edited_definition(&json!({}));
    second["id"] = "second".into();
    let key = first_key(&fixture);
    call_successfully(&fixture, &key, Method::Post, "/v1/apps", &second);
    let client = json!({ "client_id": CLIENT_ID, "client_secret": "s" });
    let second = call_successfully(&fixture, &key, Method::Put, "/v1/apps/second/client", &client);
    assert_ne!(second["redirect_uri"], here);
    // A callback at another workspace's address is refused.
    let mut ann = FormBrowser::signed_in(&fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = fixture.world.acme.consent(&sent.url, "ann");
    let page = ann.return_from_app(&there, &[("state", &state), ("code", code.expose())]);
    assert!(page.contains("did not come from the app"), "{page}");
    assert_eq!(fixture.world.acme.count_all_requests(), 0);
}

#[test]
fn a_tenant_in_a_path_can_be_corrected_and_older_connections_work() {
    let auth_method = connections::catalogue::find("outlook").unwrap().oauth2_method().unwrap();
    let fixture = Fixture::for_auth_method(
        &auth_method,
        ("c", "canary7f3a-secret"),
        [("tenant".to_owned(), "common".to_owned())].into(),
    );
    super::install_foreign_responder(&fixture, |request| {
        let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
        let me = json!({ "id": "ann", "userPrincipalName": "ann", "displayName": "Ann", "mail": "ann" });
        Some(if request.url.url().path().ends_with("/token") { token } else { me })
    });
    let key = first_key(&fixture);
    let before = call_successfully(&fixture, &key, Method::Get, "/v1/apps/outlook/client", &Value::Null);
    let mut ann = FormBrowser::signed_in(&fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press("/oauth/start/outlook", &[]));
    ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
    let id = fixture.world.db.query_value("SELECT coalesce(max(id), '') FROM connections");
    let id = connections::ids::ConnectionId::parse(id.as_str().unwrap()).unwrap();
    let body =
        json!({ "client_id": "c", "client_secret": "canary7f3a-secret", "variables": { "tenant": "contoso.example" } });
    let (status, after) = call(&fixture, &key, Method::Put, "/v1/apps/outlook/client", &body);
    assert_eq!(status, 200, "{after}");
    assert_eq!(after["redirect_uri"], before["redirect_uri"]);
    fixture.world.advance_clock(61);
    fixture.resolve(&id, connections::resolve::ResolveRequest::default()).unwrap();
    let seen = fixture.world.acme.foreign_requests.borrow();
    assert!(
        seen.last().unwrap().url.starts_with("https://login.microsoftonline.com/common/"),
        "{}",
        seen.last().unwrap().url
    );
}

#[test]
fn the_setup_page_says_if_the_redirect_uri_depends_on_the_server() {
    let fixture = Fixture::new();
    let mut ann = FormBrowser::signed_in(&fixture);
    let says = "This is the redirect URI for the usual value of";
    let page = ann.get("/apps/gitlab/setup").body;
    assert!(page.contains(says), "{page}");
    assert!(!ann.get("/apps/notion/setup").body.contains(says));
    let key = first_key(&fixture);
    let app = call_successfully(&fixture, &key, Method::Get, "/v1/apps/gitlab", &Value::Null).to_string();
    let put = |host: &str| {
        let body = json!({ "client_id": "c", "client_secret": "s", "variables": { "host": host } });
        call_successfully(&fixture, &key, Method::Put, "/v1/apps/gitlab/client", &body)["redirect_uri"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (own, usual) = (put("gitlab.acme.example"), put("gitlab.com"));
    assert!(app.contains(&usual) && !app.contains(&own), "{app}");
    assert_eq!([put("GITLAB.acme.example"), put("gitlab.com")], [own, usual]);
    assert!(!ann.get("/apps/gitlab/setup").body.contains(says), "it is settled");
}
