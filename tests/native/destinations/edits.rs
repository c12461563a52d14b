//! A1: an app is edited, a client entered anew, and a connection repaired or used.

use connections::connection::{Connection, Status};
use connections::http::Method;
use connections::resolve::Ask;
use serde_json::{Value, json};

use super::{
    Person, Sent, attackers_key, done, edited, nothing_leaked, put_app, put_client, redirect_uri, rogue, use_up,
};
use crate::http::{call, first_key};
use crate::support::{Scene, tokens};

/// What an attacker changes: addresses of every kind, to another host, path, port or issuer.
fn edits() -> Vec<(&'static str, Value)> {
    let auth = |member: &str, url: &str| json!({ "auth": { member: url } });
    vec![
        ("token_url", auth("token_url", "https://evil.example/token")),
        ("token_url, another path", auth("token_url", "https://acme.example/evil/token")),
        ("token_url, another port", auth("token_url", "https://acme.example:8443/token")),
        ("token_url, a look-alike", auth("token_url", "https://acme.example.evil.example/token")),
        ("token_url, a query", auth("token_url", "https://acme.example/evil/../evil?x=/token")),
        ("authorize_url", auth("authorize_url", "https://evil.example/authorize")),
        ("refresh_url", auth("refresh_url", "https://evil.example/refresh-token")),
        ("refresh_url, another path", auth("refresh_url", "https://acme.example/evil/token")),
        ("revoke_url", auth("revoke_url", "https://evil.example/revoke")),
        ("revoke_url, another path", auth("revoke_url", "https://acme.example/evil/revoke/{token}")),
        (
            "issuer",
            json!({ "auth": { "issuer": "https://evil.example", "authorize_url": null, "token_url": null, "revoke_url": null } }),
        ),
        (
            "all but authorize",
            json!({ "auth": { "token_url": "https://evil.example/token", "revoke_url": "https://evil.example/revoke" },
            "identity": { "url": "https://evil.example/me" } }),
        ),
        ("identity", json!({ "identity": { "url": "https://evil.example/me?token={access_token}" } })),
        (
            "named_by",
            json!({ "identity": { "url": null, "from": "token", "id": "/user", "label": "/user", "named_by": { "url": "https://evil.example/me", "label": "/email" } } }),
        ),
        ("check", json!({ "check": { "url": "https://evil.example/check" } })),
        (
            "nothing_shared",
            json!({ "nothing_shared": { "url": "https://evil.example/list", "at": "/results", "say": "Share." } }),
        ),
        ("base_url", json!({ "request": { "base_url": "https://evil.example/" } })),
        ("none authenticates", json!({ "auth": { "token_url": "https://evil.example/token", "client_auth": "none" } })),
        (
            "secret as user",
            json!({ "auth": { "token_url": "https://evil.example/token", "client_auth": "basic_secret" } }),
        ),
    ]
}

/// How the client id is put again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reentered {
    Not,
    WithoutSecret,
    WithAnySecret,
}

const CLIENTS: [Reentered; 3] = [Reentered::Not, Reentered::WithoutSecret, Reentered::WithAnySecret];

/// How the browser comes back: with a code that the rogue server made, or with the honest app's, to which it sent the
/// browser on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Returns {
    EvilCode,
    HonestCode,
}

/// Walks a repair as far as it goes.
fn walk(person: &mut Person<'_>, address: &str, registered: &str, returns: Returns) {
    let pressed = person.press(address, &[]);
    if pressed.status != 303 {
        return;
    }
    let sent = Sent::of(&pressed);
    match returns {
        Returns::EvilCode => {
            person.come_back(&sent.redirect_uri, &[("state", &sent.state), ("code", "evil-code")]);
        }
        Returns::HonestCode => {
            let code = sent.bounced(person.scene, registered, "ann");
            person.come_back(registered, &[("state", &sent.state), ("code", code.expose())]);
        }
    }
}

fn attack(what: &str, edit: &Value, client: Reentered, by_link: bool, returns: Returns) {
    let scene = Scene::new();
    let mut ann = Person::signed_in(&scene);
    let id = ann.connect("ann");
    let registered = redirect_uri(&scene);
    rogue(&scene);
    let evil = attackers_key(&scene);
    put_app(&scene, &evil, edit);
    match client {
        Reentered::Not => {}
        Reentered::WithoutSecret => drop(put_client(&scene, &evil, None)),
        Reentered::WithAnySecret => drop(put_client(&scene, &evil, Some("whatever"))),
    }
    // An app that gives a refresh token with the first consent only is the one that is worth attacking.
    scene.world.acme.gives_refresh_token.set(false);
    if by_link {
        let (status, link) = call(&scene, &evil, Method::Post, "/v1/links", &json!({ "connection": id }));
        if status == 201 {
            let address = link["url"].as_str().unwrap().trim_start_matches(super::HOME).to_owned();
            walk(&mut Person::new(&scene), &address, &registered, returns);
        }
    } else {
        walk(&mut ann, &format!("/connections/{id}/reconnect"), &registered, returns);
    }
    let label = format!("{what}, client {client:?}, by link {by_link}, {returns:?}");
    use_up(&scene, &id);
    nothing_leaked(&scene, &label);
    done(&scene, &first_key(&scene), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    scene.world.pass(120);
    scene.tick();
    nothing_leaked(&scene, &label);
}

#[test]
fn no_edit_of_an_app_moves_a_secret_by_a_repair_through_a_link() {
    for (what, edit) in edits() {
        for client in CLIENTS {
            attack(what, &edit, client, true, Returns::EvilCode);
        }
        attack(what, &edit, Reentered::WithAnySecret, true, Returns::HonestCode);
    }
}

#[test]
fn no_edit_of_an_app_moves_a_secret_when_the_owner_reconnects() {
    for (what, edit) in edits() {
        for client in CLIENTS {
            attack(what, &edit, client, false, Returns::EvilCode);
        }
        attack(what, &edit, Reentered::WithAnySecret, false, Returns::HonestCode);
    }
}

/// Without what is said of the edit: the connection stays with the earlier definition.
fn as_told_before(mut row: Connection) -> Connection {
    assert!(row.definition_changed.take().is_some());
    row
}

#[test]
fn an_edit_alone_harms_no_connection() {
    for (what, edit) in edits() {
        let scene = Scene::new();
        let id = Person::signed_in(&scene).connect("ann");
        rogue(&scene);
        let evil = attackers_key(&scene);
        put_app(&scene, &evil, &edit);
        scene.expire(&id);
        scene.resolve(&id, Ask::default()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(scene.row(&id).status, Status::Connected, "{what}");
        assert_eq!(scene.world.acme.count("/token"), 2, "{what}: renewed where it was made");
        let ended = done(&scene, &first_key(&scene), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
        assert_eq!(ended["revoked"], "confirmed", "{what}: {ended}");
        assert!(scene.world.acme.elsewhere.borrow().is_empty(), "{what}");
    }
}

#[test]
fn addresses_without_tls_are_refused() {
    let scene = Scene::new();
    let evil = attackers_key(&scene);
    let http = edited(&json!({ "auth": { "token_url": "http://acme.example/token" } }));
    assert_eq!(call(&scene, &evil, Method::Put, "/v1/apps/acme", &http).0, 422);
}

#[test]
fn another_spelling_of_the_same_addresses_changes_nothing() {
    let scene = Scene::new();
    let mut ann = Person::signed_in(&scene);
    let id = ann.connect("ann");
    let before = scene.credential(&id);
    put_app(
        &scene,
        &attackers_key(&scene),
        &json!({ "auth": { "token_url": "https://ACME.example.:443/x/../token" } }),
    );
    scene.world.acme.gives_refresh_token.set(false);
    let pressed = ann.press(&format!("/connections/{id}/reconnect"), &[]);
    ann.consent(&pressed, "ann");
    assert_eq!(scene.row(&id).generation, 2);
    assert_eq!(tokens(&scene.credential(&id)).1, tokens(&before).1, "the refresh token goes on");
}

#[test]
fn a_refresh_token_is_carried_over_only_where_the_new_grant_adds_no_address() {
    for (edit, is_carried) in [
        (json!({ "name": "Acme Two" }), true),
        (json!({ "auth": { "issuer": "https://acme.example" } }), true),
        (json!({ "request": { "base_url": "https://acme.example/v2/" } }), true),
        (json!({ "request": { "base_url": "https://evil.example/" } }), false),
        (json!({ "check": { "url": "https://acme.example:8443/check" } }), false),
        (json!({ "auth": { "revoke_url": "https://acme.example/evil/revoke" } }), false),
    ] {
        let scene = Scene::new();
        let mut ann = Person::signed_in(&scene);
        let id = ann.connect("ann");
        let before = tokens(&scene.credential(&id)).1;
        put_app(&scene, &first_key(&scene), &edit);
        // The owner of the client enters its secret for the addresses of now.
        let secret = scene.world.acme.client_secret.borrow().clone();
        assert_eq!(put_client(&scene, &first_key(&scene), Some(&secret)).0, 200);
        scene.world.acme.gives_refresh_token.set(false);
        let pressed = ann.press(&format!("/connections/{id}/reconnect"), &[]);
        ann.consent(&pressed, "ann");
        assert_eq!(scene.row(&id).generation, 2, "{edit}");
        assert_eq!(tokens(&scene.credential(&id)).1 == before, is_carried, "{edit}");
    }
}

#[test]
fn a_repair_that_waits_to_be_confirmed_carries_no_token_to_new_addresses() {
    for (edit, is_carried) in
        [(json!({}), true), (json!({ "auth": { "revoke_url": "https://acme.example/evil/revoke" } }), false)]
    {
        let scene = Scene::new();
        let id = Person::signed_in(&scene).connect("ann");
        let before = tokens(&scene.credential(&id)).1;
        put_app(&scene, &first_key(&scene), &edit);
        let secret = scene.world.acme.client_secret.borrow().clone();
        assert_eq!(put_client(&scene, &first_key(&scene), Some(&secret)).0, 200);
        scene.world.acme.gives_refresh_token.set(false);
        let key = first_key(&scene);
        let body = json!({ "connection": id, "confirm": true });
        let link = done(&scene, &key, Method::Post, "/v1/links", &body);
        let address = link["url"].as_str().unwrap().trim_start_matches(super::HOME).to_owned();
        let mut guest = Person::new(&scene);
        let pressed = guest.press(&address, &[]);
        guest.consent(&pressed, "ann");
        assert_eq!(scene.row(&id).generation, 1, "it waits");
        let confirm = format!("/v1/links/{}/confirm", link["id"].as_str().unwrap());
        done(&scene, &key, Method::Post, &confirm, &json!({ "user": { "id": "ann" } }));
        assert_eq!(scene.row(&id).generation, 2);
        assert_eq!(tokens(&scene.credential(&id)).1 == before, is_carried, "{edit}");
    }
}

#[test]
fn a_connection_is_reused_only_where_the_new_grant_adds_no_address() {
    for on_duplicate in ["reuse", "ask"] {
        let scene = Scene::new();
        let id = Person::signed_in(&scene).connect("ann");
        let before = scene.row(&id);
        let evil = attackers_key(&scene);
        put_app(&scene, &evil, &json!({ "request": { "base_url": "https://evil.example/" } }));
        let secret = scene.world.acme.client_secret.borrow().clone();
        put_client(&scene, &first_key(&scene), Some(&secret));
        let body = json!({ "app": "acme", "on_duplicate": on_duplicate, "user": { "id": "ann" } });
        let link = done(&scene, &evil, Method::Post, "/v1/links", &body);
        let address = link["url"].as_str().unwrap().trim_start_matches(super::HOME).to_owned();
        let mut guest = Person::new(&scene);
        let pressed = guest.press(&address, &[]);
        guest.consent(&pressed, "ann");
        assert_eq!(as_told_before(scene.row(&id)), before, "{on_duplicate}: it stays as it was");
        assert_eq!(scene.world.db.number("SELECT count(*) FROM connections"), 2, "{on_duplicate}");
        nothing_leaked(&scene, on_duplicate);
    }
}

#[test]
fn a_question_that_waits_for_an_answer_is_judged_by_the_addresses_of_its_grant() {
    let scene = Scene::new();
    let mut ann = Person::signed_in(&scene);
    let id = ann.connect("ann");
    let pressed = ann.press("/oauth/start/acme", &[]);
    let page = ann.consent(&pressed, "ann");
    let action = page.split(r#"action="/flows/"#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    // Meanwhile the connection is repaired at other addresses.
    scene.world.db.tamper(
        r#"UPDATE connections SET destinations = '{"token":["https://other.example/token"],"api":["https://other.example"]}'"#,
    );
    let before = scene.row(&id);
    ann.send(Method::Post, &format!("/flows/{action}"), &[("choice", "reuse")]);
    assert_eq!(scene.row(&id), before);
}

#[test]
fn imported_tokens_and_a_program_that_reuses_widen_nothing() {
    let scene = Scene::new();
    let id = Person::signed_in(&scene).connect("ann");
    let before = scene.row(&id);
    rogue(&scene);
    put_app(&scene, &attackers_key(&scene), &json!({ "identity": { "url": "https://evil.example/me" } }));
    put_client(&scene, &attackers_key(&scene), Some("whatever"));
    let body = json!({ "app": "acme", "on_duplicate": "reuse", "user": { "id": "ann" },
        "credential": { "type": "oauth2", "access_token": "another", "expires_at": "2027-01-01T00:00:00Z" } });
    let (status, made) = call(&scene, &first_key(&scene), Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    assert_eq!(as_told_before(scene.row(&id)), before, "the account is the rogue server's word");
    nothing_leaked(&scene, "import");
}

#[test]
fn a_revocation_that_is_tried_again_goes_where_the_token_was_given_for() {
    let scene = Scene::new();
    let id = Person::signed_in(&scene).connect("ann");
    scene.world.acme.always("/revoke", Some(crate::support::Reply::status(500, "")));
    let ended = done(&scene, &first_key(&scene), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    assert_eq!(ended["retrying"], true);
    rogue(&scene);
    let evil = attackers_key(&scene);
    put_app(&scene, &evil, &json!({ "auth": { "revoke_url": "https://evil.example/revoke" } }));
    done(&scene, &evil, Method::Delete, "/v1/apps/acme", &Value::Null);
    let again = edited(&json!({ "auth": { "revoke_url": "https://evil.example/revoke?t={token}" } }));
    done(&scene, &evil, Method::Post, "/v1/apps", &again);
    scene.world.acme.calm();
    scene.world.pass(120);
    scene.tick();
    assert!(!scene.world.acme.revoked().is_empty(), "at the app");
    assert!(scene.world.acme.elsewhere.borrow().is_empty());
}

#[test]
fn an_app_that_is_deleted_and_made_again_gets_nothing_of_the_first() {
    let scene = Scene::new();
    let mut ann = Person::signed_in(&scene);
    let id = ann.connect("ann");
    rogue(&scene);
    let evil = attackers_key(&scene);
    done(&scene, &evil, Method::Delete, "/v1/apps/acme", &Value::Null);
    let again = edited(
        &json!({ "auth": { "token_url": "https://evil.example/token" }, "identity": { "url": "https://evil.example/me" } }),
    );
    done(&scene, &evil, Method::Post, "/v1/apps", &again);
    assert_eq!(put_client(&scene, &evil, None).0, 200);
    walk(&mut ann, &format!("/connections/{id}/reconnect"), "https://c.example.com/x", Returns::EvilCode);
    use_up(&scene, &id);
    nothing_leaked(&scene, "made again");
}

#[test]
fn a_signed_assertion_goes_only_to_the_server_that_its_key_was_entered_for() {
    let scene = Scene::with(&json!({ "auth": { "client_auth": "private_key_jwt" } }));
    assert_eq!(put_client(&scene, &first_key(&scene), Some(crate::support::signer::RSA_KEY)).0, 200);
    rogue(&scene);
    let evil = attackers_key(&scene);
    put_app(
        &scene,
        &evil,
        &json!({ "auth": { "client_auth": "private_key_jwt", "token_url": "https://evil.example/token" } }),
    );
    let (status, problem) = call(&scene, &evil, Method::Post, "/v1/apps/acme/client/test", &json!({}));
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    put_client(&scene, &evil, None);
    call(&scene, &evil, Method::Post, "/v1/apps/acme/client/test", &json!({}));
    nothing_leaked(&scene, "assertion");
}
