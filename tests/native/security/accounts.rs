//! A credential that turns out to be another account's is handed out no more, and the connection never changes its account by
//! itself (T35, T48).

use connections::connection::{Reason, Status};
use connections::error::Code;
use connections::ids::ConnectionId;
use connections::ports::{Errand, ErrandOutcome, HttpError};
use connections::resolve::{Ask, Consistency};
use serde_json::{Value, json};

use crate::support::{Reply, Scene, tokens};

/// The identity answer for somebody.
fn me(account: &str) -> Reply {
    Reply::status(
        200,
        &json!({ "sub": format!("id-{account}"), "email": format!("{account}@acme.example") }).to_string(),
    )
}

fn resolve(
    scene: &Scene,
    id: &ConnectionId,
    consistency: Consistency,
) -> std::result::Result<(), (Code, Option<String>)> {
    let answered = scene.resolve_fully(id, Ask { consistency, ..Ask::default() });
    answered.map(|_| ()).map_err(|error| (error.code, error.hints.reason))
}

/// A connection that is another account's, and nothing of it is handed out in any mode.
fn is_refused(scene: &Scene, id: &ConnectionId) {
    let row = scene.row(id);
    assert_eq!((row.status, row.reason), (Status::NeedsReconnect, Some(Reason::OtherAccount)));
    assert_eq!(row.account.unwrap().id, "id-ann", "the account stays the one that was chosen");
    for mode in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let refused = Err((Code::NeedsReconnect, Some("other_account".to_owned())));
        assert_eq!(resolve(scene, id, mode), refused, "{mode:?}");
    }
}

#[test]
fn a_check_that_is_answered_for_another_account_ends_the_connection_and_says_so() {
    for errand in [Errand::Check, Errand::CheckNow] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        resolve(&scene, &id, Consistency::Edge).unwrap();
        scene.world.acme.always("/me", Some(me("bob")));
        let asked = scene.world.acme.count("/me");
        assert_eq!(scene.errand(&id, errand), ErrandOutcome::Dead);
        assert_eq!(scene.world.acme.count("/me") - asked, 2, "it is asked once more before it is believed");
        is_refused(&scene, &id);
        assert_eq!(scene.row(&id).check_evidence.as_deref(), Some("probe: another account"));
        assert_eq!(scene.world.log.count("account_changed"), 1);
        let told = "SELECT detail FROM events WHERE type = 'needs_reconnect'";
        assert_eq!(scene.world.db.value(told), json!("other_account"));
        assert!(!scene.world.db.dump().contains("id-bob"), "nothing of the other account is stored");
    }
}

#[test]
fn one_wrong_answer_of_an_apps_cache_ends_nothing() {
    for (second, outcome) in [
        (me("ann"), ErrandOutcome::Healthy),
        (Reply::error(HttpError::Timeout), ErrandOutcome::Unknown),
        (Reply::status(200, "{}"), ErrandOutcome::Unknown),
        (Reply::status(500, "{}"), ErrandOutcome::Unknown),
    ] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.world.acme.next("/me", me("bob"));
        scene.world.acme.next("/me", second);
        assert_eq!(scene.errand(&id, Errand::Check), outcome);
        assert_eq!(resolve(&scene, &id, Consistency::Strong), Ok(()));
    }
}

#[test]
fn another_label_or_another_form_of_the_id_is_the_same_account() {
    for answer in [
        json!({ "sub": "id-ann", "email": "ann.married@acme.example" }),
        json!({ "sub": "urn:acme:id-ann", "email": "ann@acme.example" }),
        json!({ "sub": 7, "email": "ann@acme.example" }),
        json!({ "email": "bob@acme.example" }),
        json!({ "sub": "", "email": "bob@acme.example" }),
        json!([]),
    ] {
        let scene = Scene::new();
        let id = scene.connect("ann");
        scene.world.acme.always("/me", Some(Reply::status(200, &answer.to_string())));
        assert_eq!(scene.errand(&id, Errand::Check), ErrandOutcome::Healthy, "{answer}");
        assert_eq!(scene.row(&id).account.unwrap().id, "id-ann", "{answer}");
    }
}

/// Where the id is one of several, or the first of a list, another id need not be another account.
#[test]
fn an_id_that_is_chosen_from_several_tells_of_no_other_account() {
    for shape in [json!(["/sub", "/email"]), json!("/list/0"), json!("{/list/0}:{/sub}")] {
        let scene = Scene::with(&json!({ "identity": { "id": shape } }));
        let answer = |name: &str| json!({ "sub": name, "email": name, "list": [name] }).to_string();
        scene.world.acme.always("/me", Some(Reply::status(200, &answer("ann"))));
        let id = scene.connect("ann");
        scene.world.acme.always("/me", Some(Reply::status(200, &answer("bob"))));
        assert_eq!(scene.errand(&id, Errand::Check), ErrandOutcome::Healthy, "{shape}");
    }
}

#[test]
fn only_the_identity_request_takes_it_back_and_no_refresh_revives_it() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    scene.world.acme.always("/me", Some(me("bob")));
    scene.errand(&id, Errand::Check);
    let redeemed = scene.world.acme.redemptions().len();
    for errand in
        [Errand::Early, Errand::Force, Errand::Check, crate::support::scene::need(&scene.world), Errand::CheckNow]
    {
        scene.world.pass(60);
        assert_eq!(scene.errand(&id, errand), ErrandOutcome::Dead, "{errand:?}");
        is_refused(&scene, &id);
    }
    for odd in [Reply::status(500, "{}"), Reply::status(200, "{}"), Reply::status(401, "{}"), Reply::status(403, "{}")]
    {
        scene.world.pass(60);
        scene.world.acme.always("/me", Some(odd));
        assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead);
        is_refused(&scene, &id);
    }
    scene.world.acme.calm();
    scene.world.pass(60);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Healthy, "the app says that it is ann's after all");
    assert_eq!(resolve(&scene, &id, Consistency::Strong), Ok(()));

    scene.world.pass(60);
    scene.world.acme.always("/me", Some(me("bob")));
    scene.errand(&id, Errand::CheckNow);
    scene.world.acme.calm();
    scene.expire(&id);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead, "the token has ended: nothing can be asked");
    assert_eq!(scene.world.acme.redemptions().len(), redeemed, "and none is renewed for it");
    let flow = scene.flow(&scene.repair_of(&id), "ann");
    assert_eq!(flow.connection, Some(id.clone()));
    assert_eq!(resolve(&scene, &id, Consistency::Strong), Ok(()), "a person repairs it");
}

// ---- where token answers tell whose they are ----

fn told_by_tokens() -> Scene {
    Scene::with(&json!({ "identity": { "url": null, "from": "token", "id": "/account", "label": "/account" } }))
}

fn as_account(name: Value) -> Reply {
    Reply::edited(move |answer| answer["account"] = name.clone())
}

#[test]
fn a_refresh_that_is_answered_for_another_account_ends_the_connection_and_keeps_its_tokens() {
    let scene = told_by_tokens();
    scene.world.acme.next("/token", as_account(json!("id-ann")));
    let id = scene.connect("ann");
    resolve(&scene, &id, Consistency::Edge).unwrap();
    for name in [json!("id-ann"), Value::Null, json!({ "id": "bob" })] {
        scene.expire(&id);
        scene.world.acme.next("/token", as_account(name.clone()));
        assert_eq!(scene.need(&id), ErrandOutcome::Refreshed, "{name}");
    }
    scene.expire(&id);
    scene.world.acme.next("/token", as_account(json!("id-bob")));
    assert_eq!(resolve(&scene, &id, Consistency::Strong), Err((Code::NeedsReconnect, Some("other_account".into()))));
    is_refused(&scene, &id);
    assert_eq!(scene.row(&id).check_evidence.as_deref(), Some("refresh: another account"));
    let (_, refresh_token) = tokens(&scene.credential(&id));
    assert!(scene.world.acme.would_redeem(&refresh_token.unwrap()), "what a rotation gave is never dropped");
    scene.world.pass(60);
    assert_eq!(scene.errand(&id, Errand::CheckNow), ErrandOutcome::Dead);
    is_refused(&scene, &id);
}
