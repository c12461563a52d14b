//! A6: a refresh response that contains another address of the account.

use std::collections::BTreeMap;

use connections::ids::ConnectionId;
use connections::resolve::ResolveRequest;
use serde_json::{Value, json};

use super::{AuthorizeRedirect, FormBrowser, install_foreign_responder};
use crate::support::Fixture;

/// A connection of an app whose tokens expire after a minute, and whose responses contain these hosts in turn.
fn connect_with_instances(fixture: &Fixture, app: &str, instances: &[&str]) -> ConnectionId {
    let instances: Vec<String> = instances.iter().map(|one| (*one).to_owned()).collect();
    let at = std::cell::Cell::new(0);
    install_foreign_responder(fixture, move |request| {
        if !request.url.url().path().ends_with("token") {
            return Some(
                json!({ "user_id": "ann", "organization_id": "o", "sub": "ann", "preferred_username": "ann", "email": "ann" }),
            );
        }
        let instance = &instances[at.get().min(instances.len() - 1)];
        at.set(at.get() + 1);
        Some(
            json!({ "access_token": format!("t{}", at.get()), "refresh_token": format!("r{}", at.get()), "token_type": "bearer", "expires_in": 60,
            "instance_url": instance, "id": "https://login.salesforce.com/id/o/u" }),
        )
    });
    let mut ann = FormBrowser::signed_in(fixture);
    let sent = AuthorizeRedirect::from_response(&ann.press(&format!("/oauth/start/{app}"), &[]));
    let page = ann.return_from_app(&sent.redirect_uri, &[("state", &sent.state), ("code", "c")]);
    let id = fixture.world.db.query_value("SELECT coalesce(max(id), '') FROM connections");
    ConnectionId::parse(id.as_str().unwrap()).unwrap_or_else(|| panic!("{page}"))
}

fn resolve_base_url(fixture: &Fixture, id: &ConnectionId) -> String {
    fixture.world.advance_clock(61);
    let resolved = fixture.resolve(id, ResolveRequest::default()).unwrap().resolved;
    resolved.issued.request.base_url.unwrap()
}

#[test]
fn an_account_address_may_change_only_within_the_apps_domain() {
    let auth_method = connections::catalogue::find("salesforce").unwrap().oauth2_method().unwrap();
    let fixture = Fixture::for_auth_method(&auth_method, ("c", "s"), BTreeMap::new());
    let answers = [
        "https://na1.salesforce.com",
        "https://na2.my.salesforce.com",
        "https://evil.example",
        "https://na3.salesforce.com.evil.example",
        "https://na3.salesforce.com@evil.example",
        "https://na3.salesforce.com/evil",
        "https://127.0.0.1",
        "",
        "https://na4.salesforce.com",
    ];
    let id = connect_with_instances(&fixture, "salesforce", &answers);
    assert_eq!(fixture.load_connection(&id).variables["instance_url"], "https://na1.salesforce.com");
    for expected in ["na2.my", "na2.my", "na2.my", "na2.my", "na2.my", "na2.my", "na2.my", "na4"] {
        let base = resolve_base_url(&fixture, &id);
        assert!(base.starts_with(&format!("https://{expected}.salesforce.com/")), "{expected}: {base}");
    }
    // What is sent to the app itself follows, too.
    fixture.refresh(&id, connections::ports::RefreshReason::OnDemandCheck);
    let seen = fixture.world.acme.foreign_requests.borrow();
    assert!(
        seen.iter()
            .all(|one| one.url.starts_with("https://login.salesforce.com/") || one.url.contains(".salesforce.com/"))
    );
}

fn instance_patch(pattern: &str) -> Value {
    json!({
        "variables": { "instance_url": { "from": "token", "at": "/instance_url", "pattern": pattern } },
        "auth": { "token_url": "https://login.apps.example/token", "authorize_url": "https://login.apps.example/authorize", "revoke_url": null },
        "identity": { "url": "{instance_url}/me" },
        "request": { "base_url": "{instance_url}/v1/" },
    })
}

#[test]
fn an_account_address_of_a_custom_app_may_change_only_to_a_known_destination() {
    let fixture = Fixture::with_definition(&instance_patch("https://[a-z0-9.]+"));
    let answers =
        ["https://na1.apps.example", "https://na2.apps.example", "https://evil.example", "https://na1.apps.example"];
    let id = connect_with_instances(&fixture, "acme", &answers);
    for _ in 0..4 {
        assert_eq!(resolve_base_url(&fixture, &id), "https://na1.apps.example/v1/");
    }
    let seen = fixture.world.acme.foreign_requests.borrow();
    assert!(seen.iter().all(|one| one.url.contains("login.apps.example") || one.url.contains("na1.apps.example")));
    assert!(fixture.world.log.count_events("new_address_refused") > 0);
}
