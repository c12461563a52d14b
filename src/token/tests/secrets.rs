//! No Debug output shows a secret.

use super::*;
use crate::client::ClientSecret;
use crate::connect::paste::{Entered, Imported, Paste};
use crate::credential::{Credential, Previous, Token};
use crate::resolve::Issued;

fn secret() -> Secret {
    Secret::new(CANARY)
}

fn fields() -> BTreeMap<String, Secret> {
    BTreeMap::from([("api_key".to_owned(), secret())])
}

fn token() -> Token {
    Token {
        owner: None,
        access_token: secret(),
        token_type: "Bearer".into(),
        refresh_token: Some(secret()),
        previous: Some(Previous { refresh_token: secret(), until: now() }),
        expires_at: None,
        lifetime: None,
    }
}

#[test]
fn no_request_and_no_answer_shows_a_secret() {
    let app = app_with(
        r#","tokens":{"user":{"access_token":"/u/access_token","refresh_token":"/u/refresh_token","scope_param":"s"}}"#,
        r#","check":{"url":"https://acme.example/{access_token}/me"},"request":{"query":{"k":"{access_token}"}}"#,
    );
    let values = bearer(CANARY);
    for proof in [Proof::Secret(secret()), Proof::Assertion(secret())] {
        let client = ClientKeys::new("id", proof, &Rc::default());
        let at = at(&app);
        let of = Parties {
            server: app.oauth2().unwrap(),
            at: &at,
            client: &client,
            values: &values,
            destinations: &Rc::default(),
        };
        let text = format!(
            "{client:?} {:?} {:?} {:?} {:?} {:?}",
            exchange_request(&of, &secret(), "https://x.example", Some(&secret())),
            refresh_request(&of, &secret(), &[], "https://x.example"),
            mint_request(&of, Some(&secret()), &[]),
            revoke_request(&of, &secret(), TokenHint::AccessToken),
            probe_request(app.check.as_ref().unwrap(), &app, &values, &Rc::default()),
        );
        assert!(!text.contains(CANARY), "{text}");
    }
    for body in [
        format!(
            r#"{{"access_token":"{CANARY}","refresh_token":"{CANARY}","u":{{"access_token":"{CANARY}","refresh_token":"{CANARY}"}}}}"#
        ),
        format!(r#"{{"refresh_token":"{CANARY}"}}"#),
    ] {
        let text = format!("{:?}", answer_of(&app, 200, &body));
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn nothing_that_holds_a_credential_shows_it() {
    let app = app_with(
        "",
        r#","request":{"base_url":"https://acme.example/{access_token}/","headers":{"X":"{access_token}"}}"#,
    );
    let dressed = app.request.dress(&bearer(CANARY)).unwrap();
    let issued = serde_json::json!({
        "credential": { "type": "api_key", "access_token": CANARY, "token_type": "Bearer", "expires_at": null, "scopes": [], "api_key": CANARY },
        "request": { "headers": { "X": CANARY } },
    });
    let issued: Issued = serde_json::from_value(issued).unwrap();
    let others = BTreeMap::from([("user".to_owned(), token())]);
    let imported = Imported { token: token(), others: others.clone(), scopes: None };
    let entered = Entered::Fields(fields());
    let key = ClientSecret::Key { pem: secret(), key_id: None, certificate: None };
    let paste = Paste {
        entered: Entered::Tokens(Box::new(imported.clone())),
        name: None,
        metadata: BTreeMap::new(),
        check: true,
        actor: None,
    };
    let json = SecretJson(serde_json::json!({ "access_token": CANARY }));
    let credential = Credential { token: Some(token()), others, fields: fields() };
    for text in [
        format!("{:?} {:?}", bearer(CANARY), credential.values(Some("api_key"))),
        format!("{dressed:?} {issued:?} {json:?}"),
        format!("{credential:?} {imported:?} {entered:?} {paste:?}"),
        format!("{:?} {key:?}", ClientSecret::Text(secret())),
    ] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn what_can_not_be_filled_is_told_without_its_value() {
    let app = parsed(
        r#"{"id":"acme","name":"Acme","variables":{"site":{"label":"Site"}},"auth":{"type":"api_key","check":{"url":"https://{site}.acme.example/"}}}"#,
    );
    for host in [format!("{CANARY}/"), format!("-{CANARY}"), format!("{CANARY}@evil.example")] {
        let values = Values::new().with("site", &host).with("api_key", CANARY);
        let problem = probe_request(app.check.as_ref().unwrap(), &app, &values, &Rc::default()).unwrap_err();
        assert!(!format!("{problem:?} {problem}").contains(CANARY), "{problem}");
    }
}
