//! A credential that belongs to another account is no longer returned, and the connection never changes its account by
//! itself (T35, T48).

use connections::connection::{ConnectionStatus, ReconnectReason};
use connections::error::ErrorCode;
use connections::ids::ConnectionId;
use connections::ports::{HttpError, RefreshOutcome, RefreshReason};
use connections::resolve::{Consistency, ResolveRequest};
use serde_json::{Value, json};

use crate::support::{Fixture, Reply, plain_tokens};

/// The identity response for an account.
fn identity_reply(account: &str) -> Reply {
    Reply::status(
        200,
        &json!({ "sub": format!("id-{account}"), "email": format!("{account}@acme.example") }).to_string(),
    )
}

fn try_resolve(
    fixture: &Fixture,
    id: &ConnectionId,
    consistency: Consistency,
) -> std::result::Result<(), (ErrorCode, Option<String>)> {
    let answered = fixture.resolve_and_finish(id, ResolveRequest { consistency, ..ResolveRequest::default() });
    answered.map(|_| ()).map_err(|error| (error.code, error.hints.reason))
}

/// A connection with another account's credential. Nothing of it is returned in any mode.
fn assert_refused(fixture: &Fixture, id: &ConnectionId) {
    let row = fixture.load_connection(id);
    assert_eq!((row.status, row.reason), (ConnectionStatus::NeedsReconnect, Some(ReconnectReason::OtherAccount)));
    assert_eq!(row.account.unwrap().id, "id-ann", "the account stays the one that was chosen");
    for mode in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let refused = Err((ErrorCode::NeedsReconnect, Some("other_account".to_owned())));
        assert_eq!(try_resolve(fixture, id, mode), refused, "{mode:?}");
    }
}

#[test]
fn a_check_that_finds_another_account_ends_the_connection() {
    for reason in [RefreshReason::ScheduledCheck, RefreshReason::OnDemandCheck] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        try_resolve(&fixture, &id, Consistency::Edge).unwrap();
        fixture.world.acme.script_always("/me", Some(identity_reply("bob")));
        let asked = fixture.world.acme.count_requests("/me");
        assert_eq!(fixture.refresh(&id, reason), RefreshOutcome::NeedsReconnect);
        assert_eq!(fixture.world.acme.count_requests("/me") - asked, 2, "it is asked once more before it is believed");
        assert_refused(&fixture, &id);
        assert_eq!(fixture.load_connection(&id).check_evidence.as_deref(), Some("probe: another account"));
        assert_eq!(fixture.world.log.count_events("account_changed"), 1);
        let told = "SELECT detail FROM events WHERE type = 'needs_reconnect'";
        assert_eq!(fixture.world.db.query_value(told), json!("other_account"));
        assert!(!fixture.world.db.dump_tables().contains("id-bob"), "nothing of the other account is stored");
    }
}

#[test]
fn one_wrong_account_response_ends_nothing() {
    for (second, outcome) in [
        (identity_reply("ann"), RefreshOutcome::Healthy),
        (Reply::error(HttpError::Timeout), RefreshOutcome::Unknown),
        (Reply::status(200, "{}"), RefreshOutcome::Unknown),
        (Reply::status(500, "{}"), RefreshOutcome::Unknown),
    ] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.world.acme.script_next("/me", identity_reply("bob"));
        fixture.world.acme.script_next("/me", second);
        assert_eq!(fixture.refresh(&id, RefreshReason::ScheduledCheck), outcome);
        assert_eq!(try_resolve(&fixture, &id, Consistency::Strong), Ok(()));
    }
}

#[test]
fn another_label_or_format_of_the_id_is_the_same_account() {
    for answer in [
        json!({ "sub": "id-ann", "email": "ann.married@acme.example" }),
        json!({ "sub": "urn:acme:id-ann", "email": "ann@acme.example" }),
        json!({ "sub": 7, "email": "ann@acme.example" }),
        json!({ "email": "bob@acme.example" }),
        json!({ "sub": "", "email": "bob@acme.example" }),
        json!([]),
    ] {
        let fixture = Fixture::new();
        let id = fixture.connect("ann");
        fixture.world.acme.script_always("/me", Some(Reply::status(200, &answer.to_string())));
        assert_eq!(fixture.refresh(&id, RefreshReason::ScheduledCheck), RefreshOutcome::Healthy, "{answer}");
        assert_eq!(fixture.load_connection(&id).account.unwrap().id, "id-ann", "{answer}");
    }
}

/// If the id is one of several, or the first of a list, another id need not be another account.
#[test]
fn an_id_from_a_list_does_not_prove_another_account() {
    for shape in [json!(["/sub", "/email"]), json!("/list/0"), json!("{/list/0}:{/sub}")] {
        let fixture = Fixture::with_definition(&json!({ "identity": { "id": shape } }));
        let answer = |name: &str| json!({ "sub": name, "email": name, "list": [name] }).to_string();
        fixture.world.acme.script_always("/me", Some(Reply::status(200, &answer("ann"))));
        let id = fixture.connect("ann");
        fixture.world.acme.script_always("/me", Some(Reply::status(200, &answer("bob"))));
        assert_eq!(fixture.refresh(&id, RefreshReason::ScheduledCheck), RefreshOutcome::Healthy, "{shape}");
    }
}

#[test]
fn only_the_identity_request_restores_it_and_no_refresh_does() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.acme.script_always("/me", Some(identity_reply("bob")));
    fixture.refresh(&id, RefreshReason::ScheduledCheck);
    let redeemed = fixture.world.acme.received_refreshes().len();
    for reason in [
        RefreshReason::Early,
        RefreshReason::Force,
        RefreshReason::ScheduledCheck,
        crate::support::fixture::need_reason(&fixture.world),
        RefreshReason::OnDemandCheck,
    ] {
        fixture.world.advance_clock(60);
        assert_eq!(fixture.refresh(&id, reason), RefreshOutcome::NeedsReconnect, "{reason:?}");
        assert_refused(&fixture, &id);
    }
    for odd in [Reply::status(500, "{}"), Reply::status(200, "{}"), Reply::status(401, "{}"), Reply::status(403, "{}")]
    {
        fixture.world.advance_clock(60);
        fixture.world.acme.script_always("/me", Some(odd));
        assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect);
        assert_refused(&fixture, &id);
    }
    fixture.world.acme.clear_scripts();
    fixture.world.advance_clock(60);
    assert_eq!(
        fixture.refresh(&id, RefreshReason::OnDemandCheck),
        RefreshOutcome::Healthy,
        "the app says that it is ann's after all"
    );
    assert_eq!(try_resolve(&fixture, &id, Consistency::Strong), Ok(()));

    fixture.world.advance_clock(60);
    fixture.world.acme.script_always("/me", Some(identity_reply("bob")));
    fixture.refresh(&id, RefreshReason::OnDemandCheck);
    fixture.world.acme.clear_scripts();
    fixture.expire_access_token(&id);
    assert_eq!(
        fixture.refresh(&id, RefreshReason::OnDemandCheck),
        RefreshOutcome::NeedsReconnect,
        "the token has ended: nothing can be asked"
    );
    assert_eq!(fixture.world.acme.received_refreshes().len(), redeemed, "and none is renewed for it");
    let flow = fixture.complete_flow(&fixture.repair_request(&id), "ann");
    assert_eq!(flow.connection, Some(id.clone()));
    assert_eq!(try_resolve(&fixture, &id, Consistency::Strong), Ok(()), "a person repairs it");
}

// ---- token responses with an account ----

fn fixture_with_account_in_tokens() -> Fixture {
    Fixture::with_definition(
        &json!({ "identity": { "url": null, "from": "token", "id": "/account", "label": "/account" } }),
    )
}

fn reply_with_account(name: Value) -> Reply {
    Reply::edited(move |answer| answer["account"] = name.clone())
}

#[test]
fn a_refresh_that_returns_another_account_ends_the_connection_and_keeps_its_tokens() {
    let fixture = fixture_with_account_in_tokens();
    fixture.world.acme.script_next("/token", reply_with_account(json!("id-ann")));
    let id = fixture.connect("ann");
    try_resolve(&fixture, &id, Consistency::Edge).unwrap();
    for name in [json!("id-ann"), Value::Null, json!({ "id": "bob" })] {
        fixture.expire_access_token(&id);
        fixture.world.acme.script_next("/token", reply_with_account(name.clone()));
        assert_eq!(fixture.refresh_if_needed(&id), RefreshOutcome::Refreshed, "{name}");
    }
    fixture.expire_access_token(&id);
    fixture.world.acme.script_next("/token", reply_with_account(json!("id-bob")));
    assert_eq!(
        try_resolve(&fixture, &id, Consistency::Strong),
        Err((ErrorCode::NeedsReconnect, Some("other_account".into())))
    );
    assert_refused(&fixture, &id);
    assert_eq!(fixture.load_connection(&id).check_evidence.as_deref(), Some("refresh: another account"));
    let (_, refresh_token) = plain_tokens(&fixture.open_credential(&id));
    assert!(fixture.world.acme.accepts_refresh_token(&refresh_token.unwrap()), "what a rotation gave is never dropped");
    fixture.world.advance_clock(60);
    assert_eq!(fixture.refresh(&id, RefreshReason::OnDemandCheck), RefreshOutcome::NeedsReconnect);
    assert_refused(&fixture, &id);
}
