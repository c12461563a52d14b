//! What is at rest can be read only with the ring and only in its own place; nothing secret is seen anywhere.

use connections::connect::settle::{Choice, choose};
use connections::error::Code;
use connections::ids::{ConnectionId, Shard};
use connections::ports::{Errand, ErrandOutcome, HttpError, Ports as _};
use connections::resolve::{Ask, Consistency};
use serde_json::json;

use crate::support::acme::CANARY;
use crate::support::{Fault, Reply, Scene, Way, World, Wound, tokens};

/// A body that an app could send to plant a secret in a log: in its error's name, its description, its members.
fn planted() -> String {
    let name = format!("no such token: {CANARY}");
    json!({ "error": name, "error_description": CANARY, "access_token": [CANARY] }).to_string()
}

/// A look at everything that is stored or written.
fn seen(scene: &Scene) -> Vec<(&'static str, String)> {
    vec![
        ("database", scene.world.db.dump()),
        ("cache", scene.world.kv.dump()),
        ("log", scene.world.log.dump()),
        ("lifeboat", format!("{:?}", scene.world.kept.answers.borrow())),
    ]
}

#[test]
fn no_secret_is_found_anywhere_after_every_kind_of_success_and_failure() {
    let scene = Scene::new();
    scene.world.kept.able.set(true);
    let mut debugged = String::new();
    let mut note = |text: String| debugged.push_str(&text);
    let id = scene.connect("ann");
    for consistency in [Consistency::Strong, Consistency::Available, Consistency::Edge] {
        let ask = Ask { workflow: Some("w".into()), consistency, ..Ask::default() };
        let answered = scene.resolve(&id, ask.clone()).unwrap();
        note(format!("{:?}", answered.after));
        note(format!("{:?}", answered.resolved.issued));
        scene.resolve_fully(&id, ask).unwrap();
    }
    for reply in [
        Reply::status(400, &planted()),
        Reply::status(500, &planted()),
        Reply::status(200, &planted()),
        Reply::status(429, &planted()),
        Reply::status(200, CANARY),
        Reply::status(302, "").header("location", CANARY),
        Reply::error(HttpError::Timeout),
    ] {
        scene.world.pass(4000);
        scene.world.acme.next("/token", reply);
        note(format!("{:?}", scene.need(&id)));
        note(format!(
            "{:?}",
            scene.resolve(&id, Ask::default()).map(|answered| answered.resolved.issued.request.headers.len())
        ));
    }
    scene.world.pass(4000);
    let lost = Fault { sql: "last_attempt_id = ?5", times: 6, wound: Wound::Before };
    scene.world.db.faults.borrow_mut().push(lost);
    note(format!("{:?}", scene.need(&id)));
    scene.world.acme.next("/me", Reply::status(401, &planted()));
    note(format!("{:?}", scene.errand(&id, Errand::CheckNow)));
    for path in ["/token", "/me"] {
        scene.world.acme.next(path, Reply::status(400, &planted()));
        let flow = scene.flow(&scene.wish(), "carl");
        note(format!("{flow:?}"));
    }
    scene.world.acme.calm();
    let flow = scene.flow(&scene.wish(), "bob");
    note(format!("{flow:?}"));
    let waiting = scene.flow(&scene.wish(), "bob");
    note(format!("{waiting:?}"));
    scene.world.run(async { choose(&scene.world.core(), &waiting, Choice::Reuse).await.unwrap() });
    scene.flow(&scene.wish(), "bob");
    scene.start(&scene.wish(), "waiting");
    scene.world.acme.always("/revoke", Some(Reply::status(500, &planted())));
    note(format!("{:?}", scene.disconnect(flow.connection.as_ref().unwrap())));
    scene.world.pass(121);
    note(format!("{:?}", scene.tick()));
    note(format!("{:?} {:?}", scene.client(), scene.find(&id)));
    note(format!("{:?}", scene.world.core().config));
    for (place, text) in seen(&scene) {
        assert!(!text.contains(CANARY), "{place}: {}", around(&text));
        assert!(!text.contains(scene.key_text.expose()), "{place} holds an API key");
    }
    assert!(!debugged.contains(CANARY), "{}", around(&debugged));
    assert!(seen(&scene)[0].1.contains("cx1.k1."), "there was something to be found");
}

fn around(text: &str) -> String {
    let at = text.find(CANARY).unwrap_or_default();
    text.chars().skip(at.saturating_sub(120)).take(240).collect()
}

fn usable(scene: &Scene, id: &ConnectionId) -> bool {
    scene.resolve(id, Ask::default()).is_ok()
}

#[test]
fn sealed_values_that_are_swapped_between_rows_and_workspaces_do_not_open() {
    let scene = Scene::new();
    let stranger = scene.neighbour();
    let (ann, bob, third) = (scene.connect("ann"), scene.connect("bob"), scene.connect("carl"));
    let foreign = stranger.connect("ann");
    let sealed = |id: &ConnectionId| {
        let sql = format!("SELECT sealed_credential FROM connections WHERE id = '{id}'");
        scene.world.db.value(&sql).as_str().unwrap().to_owned()
    };
    let put = |id: &ConnectionId, sealed: &str| {
        scene.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{sealed}' WHERE id = '{id}'"));
    };
    let (of_ann, of_bob, of_foreign) = (sealed(&ann), sealed(&bob), sealed(&foreign));
    let secret = scene.world.db.value("SELECT sealed_secret FROM oauth_clients").as_str().unwrap().to_owned();
    let cut: String = of_ann.chars().take(of_ann.len() - 2).collect();
    for wrong in [&of_bob, &of_foreign, &secret, &cut] {
        put(&ann, wrong);
        let error = scene.resolve(&ann, Ask::default()).map(|_| ()).unwrap_err();
        assert_eq!((error.code, error.hints.reason.as_deref()), (Code::NeedsReconnect, Some("unreadable")));
        assert!(usable(&scene, &bob) && usable(&scene, &third), "a row degrades alone");
    }
    put(&ann, &of_ann);
    assert!(usable(&scene, &ann), "unreadable is derived, never stored");
}

#[test]
fn a_credential_of_an_older_generation_does_not_open_as_the_newer() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let old = scene.row(&id).sealed_credential.unwrap();
    scene.flow(&scene.repair_of(&id), "ann");
    scene.world.db.tamper(&format!("UPDATE connections SET sealed_credential = '{old}'"));
    assert!(!usable(&scene, &id));
}

#[test]
fn a_client_secret_from_another_client_is_never_sent() {
    let scene = Scene::new();
    let stranger = scene.neighbour();
    let id = scene.connect("ann");
    scene.expire(&id);
    let secret = format!("SELECT sealed_secret FROM oauth_clients WHERE id = '{}'", stranger.client);
    let secret = scene.world.db.value(&secret).as_str().unwrap().to_owned();
    scene
        .world
        .db
        .tamper(&format!("UPDATE oauth_clients SET sealed_secret = '{secret}' WHERE id = '{}'", scene.client));
    let asked = scene.world.acme.requests();
    assert_eq!(scene.need(&id), ErrandOutcome::ClientMisconfigured);
    assert_eq!(scene.world.acme.requests(), asked);
}

#[test]
fn a_second_key_opens_the_old_and_seals_the_new() {
    let scene = Scene::new();
    let id = scene.connect("ann");
    let both = format!("k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=,{}", crate::support::world::KEYS);
    *scene.world.keys.borrow_mut() = both;
    assert!(usable(&scene, &id));
    scene.expire(&id);
    assert!(usable(&scene, &id));
    assert!(scene.row(&id).sealed_credential.unwrap().starts_with("cx1.k2."));
    assert!(scene.world.acme.accepts(&tokens(&scene.credential(&id)).0));
}

#[test]
fn a_ring_that_lost_a_key_degrades_the_rows_sealed_under_it_and_no_others() {
    let scene = Scene::new();
    let old = scene.connect("ann");
    *scene.world.keys.borrow_mut() = "k2:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".into();
    scene.enter_secret(&scene.world.acme.client_secret.borrow().clone());
    let new = scene.connect("bob");
    assert!(!usable(&scene, &old) && usable(&scene, &new));
    let (status, reason) = scene.row(&old).shown_status(&scene.world.config().ring);
    assert_eq!(
        (status.as_str(), reason.map(connections::connection::Reason::as_str)),
        ("needs_reconnect", Some("unreadable"))
    );
    let flow = scene.flow(&scene.repair_of(&old), "ann");
    assert_eq!(flow.connection, Some(old.clone()));
    assert!(usable(&scene, &old), "a person can repair it");
}

#[test]
fn a_ring_with_other_bytes_under_a_known_id_is_refused() {
    let scene = Scene::new();
    let check = || scene.world.run(async { scene.world.core().check_ring().await });
    check().unwrap();
    check().unwrap();
    assert_eq!(scene.world.db.number("SELECT count(*) FROM encryption_key_checks"), 1);
    *scene.world.keys.borrow_mut() = "k1:ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=".into();
    let error = check().unwrap_err();
    assert_eq!(error.code, Code::Misconfigured);
    assert!(error.detail.contains("k1") && !error.detail.contains("ICEi"));
}

#[test]
fn two_workers_that_meet_a_new_ring_at_once_agree() {
    for seed in 0..8 {
        let world = World::new(Way::Direct, Some(seed));
        let checks = world.at_once((0..4).map(|_| {
            let core = world.core();
            async move { core.check_ring().await.is_ok() }
        }));
        assert!(checks.iter().all(|fine| *fine), "seed {seed}");
        assert_eq!(world.db.number("SELECT count(*) FROM encryption_key_checks"), 1);
    }
}

#[test]
fn ids_and_states_never_repeat() {
    let scene = Scene::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..1000 {
        let id = ConnectionId::random(scene.world.core().ports.random(), Shard::FIRST).unwrap();
        assert!(ids.insert(id));
    }
}
