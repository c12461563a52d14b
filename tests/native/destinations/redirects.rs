//! A7: the redirect URI belongs to workspace, registration and authorization server, not to a client id.

use connections::http::Method;
use serde_json::{Value, json};

use super::{HOME, Person, Sent, done, edited, put_app, redirect_uri};
use crate::http::{call, first_key};
use crate::support::Scene;
use crate::support::acme::CLIENT_ID;

fn put(scene: &Scene, client_id: &str) -> Value {
    let body = json!({ "client_id": client_id, "client_secret": scene.world.acme.client_secret.borrow().clone() });
    done(scene, &first_key(scene), Method::Put, "/v1/apps/acme/client", &body)
}

/// An app that has no client yet.
fn fresh() -> Scene {
    let scene = Scene::new();
    done(&scene, &first_key(&scene), Method::Delete, "/v1/apps/acme/client", &Value::Null);
    scene
}

/// The redirect URI that is told before there is a client.
fn told_before(scene: &Scene) -> String {
    let app = done(scene, &first_key(scene), Method::Get, "/v1/apps/acme", &Value::Null);
    let text = app.to_string();
    let (_, rest) = text.split_once(HOME).unwrap_or_else(|| panic!("{text}"));
    format!("{HOME}{}", rest.split('"').next().unwrap())
}

#[test]
fn a_client_id_that_is_corrected_keeps_the_redirect_uri_that_was_told_and_registered() {
    let scene = fresh();
    let told = told_before(&scene);
    let mistyped = put(&scene, "acme-cleint");
    let corrected = put(&scene, CLIENT_ID);
    assert_eq!(
        (mistyped["redirect_uri"].as_str(), corrected["redirect_uri"].as_str()),
        (Some(told.as_str()), Some(told.as_str()))
    );
    assert_ne!(mistyped["id"], corrected["id"], "connections stay with the client they were made with");
    let mut ann = Person::signed_in(&scene);
    let id = ann.connect("ann");
    assert_eq!(scene.row(&id).client.unwrap().to_string(), corrected["id"].as_str().unwrap());
    put(&scene, "a-third");
    scene.expire(&id);
    assert!(scene.resolve(&id, connections::resolve::Ask::default()).is_ok(), "the older client goes on");
}

#[test]
fn another_authorization_server_has_another_redirect_uri_and_the_first_gets_its_own_back() {
    let scene = fresh();
    let first = put(&scene, CLIENT_ID)["redirect_uri"].clone();
    let key = first_key(&scene);
    for url in ["https://evil.example/token", "https://acme.example/other/token", "https://acme.example:8443/token"] {
        put_app(&scene, &key, &json!({ "auth": { "token_url": url } }));
        assert_ne!(told_before(&scene), first.as_str().unwrap(), "{url}");
        let told = told_before(&scene);
        let other = put(&scene, CLIENT_ID);
        assert_eq!(other["redirect_uri"], told, "{url}");
        assert_ne!(other["redirect_uri"], first, "{url}");
        put_app(&scene, &key, &json!({}));
        assert_eq!(put(&scene, CLIENT_ID)["redirect_uri"], first, "{url}");
    }
}

#[test]
fn a_client_that_is_deleted_and_made_again_has_the_redirect_uri_of_its_server() {
    let scene = fresh();
    let first = put(&scene, CLIENT_ID)["redirect_uri"].clone();
    let key = first_key(&scene);
    let delete = || done(&scene, &key, Method::Delete, "/v1/apps/acme/client", &Value::Null);
    delete();
    assert_eq!(put(&scene, "another")["redirect_uri"], first);
    delete();
    put_app(&scene, &key, &json!({ "auth": { "authorize_url": "https://evil.example/authorize" } }));
    assert_ne!(
        put(&scene, CLIENT_ID)["redirect_uri"],
        first,
        "what is registered at one server is of no use to another"
    );
}

#[test]
fn workspaces_and_apps_share_no_redirect_uri() {
    let scene = fresh();
    let neighbour = scene.neighbour();
    put(&scene, CLIENT_ID);
    let (here, there) = (redirect_uri(&scene), redirect_uri(&neighbour));
    assert_ne!(here, there);
    let mut second = edited(&json!({}));
    second["id"] = "second".into();
    let key = first_key(&scene);
    done(&scene, &key, Method::Post, "/v1/apps", &second);
    let client = json!({ "client_id": CLIENT_ID, "client_secret": "s" });
    let second = done(&scene, &key, Method::Put, "/v1/apps/second/client", &client);
    assert_ne!(second["redirect_uri"], here);
    // An answer at another workspace's address is refused.
    let mut ann = Person::signed_in(&scene);
    let sent = Sent::of(&ann.press("/oauth/start/acme", &[]));
    let (code, state) = scene.world.acme.consent(&sent.url, "ann");
    let page = ann.come_back(&there, &[("state", &state), ("code", code.expose())]);
    assert!(page.contains("did not come from the app"), "{page}");
    assert_eq!(scene.world.acme.requests(), 0);
}

#[test]
fn a_tenant_in_a_path_may_be_corrected_and_older_connections_go_on() {
    let way = connections::catalogue::find("outlook").unwrap().oauth2().unwrap();
    let scene =
        Scene::of_catalogue(&way, ("c", "canary7f3a-secret"), [("tenant".to_owned(), "common".to_owned())].into());
    super::stranger(&scene, |request| {
        let token = json!({ "access_token": "t", "refresh_token": "r", "token_type": "bearer", "expires_in": 60 });
        let me = json!({ "id": "ann", "userPrincipalName": "ann", "displayName": "Ann", "mail": "ann" });
        Some(if request.url.url().path().ends_with("/token") { token } else { me })
    });
    let key = first_key(&scene);
    let before = done(&scene, &key, Method::Get, "/v1/apps/outlook/client", &Value::Null);
    let mut ann = Person::signed_in(&scene);
    let sent = Sent::of(&ann.press("/oauth/start/outlook", &[]));
    ann.come_back(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
    let id = scene.world.db.value("SELECT coalesce(max(id), '') FROM connections");
    let id = connections::ids::ConnectionId::parse(id.as_str().unwrap()).unwrap();
    let body =
        json!({ "client_id": "c", "client_secret": "canary7f3a-secret", "variables": { "tenant": "contoso.example" } });
    let (status, after) = call(&scene, &key, Method::Put, "/v1/apps/outlook/client", &body);
    assert_eq!(status, 200, "{after}");
    assert_eq!(after["redirect_uri"], before["redirect_uri"]);
    scene.world.pass(61);
    scene.resolve(&id, connections::resolve::Ask::default()).unwrap();
    let seen = scene.world.acme.elsewhere.borrow();
    assert!(
        seen.last().unwrap().url.starts_with("https://login.microsoftonline.com/common/"),
        "{}",
        seen.last().unwrap().url
    );
}

#[test]
fn the_set_up_page_says_when_the_redirect_uri_depends_on_the_server_that_is_chosen() {
    let scene = Scene::new();
    let mut ann = Person::signed_in(&scene);
    let says = "This is the redirect URI for the usual value of";
    let page = ann.get("/apps/gitlab/setup").body;
    assert!(page.contains(says), "{page}");
    assert!(!ann.get("/apps/notion/setup").body.contains(says));
    let key = first_key(&scene);
    let app = done(&scene, &key, Method::Get, "/v1/apps/gitlab", &Value::Null).to_string();
    let put = |host: &str| {
        let body = json!({ "client_id": "c", "client_secret": "s", "variables": { "host": host } });
        done(&scene, &key, Method::Put, "/v1/apps/gitlab/client", &body)["redirect_uri"].as_str().unwrap().to_owned()
    };
    let (own, usual) = (put("gitlab.acme.example"), put("gitlab.com"));
    assert!(app.contains(&usual) && !app.contains(&own), "{app}");
    assert_eq!([put("GITLAB.acme.example"), put("gitlab.com")], [own, usual]);
    assert!(!ann.get("/apps/gitlab/setup").body.contains(says), "it is settled");
}
