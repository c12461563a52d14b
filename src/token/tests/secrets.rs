//! No Debug output shows a secret.

use super::*;
use crate::client::ClientSecret;
use crate::connect::manual::{ImportedTokens, ManualConnectRequest, ManualCredential};
use crate::credential::{Credential, PreviousRefreshToken, StoredToken};
use crate::resolve::CredentialPayload;

fn secret() -> Secret {
    Secret::new(CANARY)
}

fn fields() -> BTreeMap<String, Secret> {
    BTreeMap::from([("api_key".to_owned(), secret())])
}

fn token() -> StoredToken {
    StoredToken {
        owner: None,
        access_token: secret(),
        token_type: "Bearer".into(),
        refresh_token: Some(secret()),
        previous: Some(PreviousRefreshToken { refresh_token: secret(), until: now() }),
        expires_at: None,
        lifetime: None,
    }
}

#[test]
fn requests_and_responses_show_no_secret_in_debug_output() {
    let auth_method = oauth_method_with(
        r#","tokens":{"user":{"access_token":"/u/access_token","refresh_token":"/u/refresh_token","scope_param":"s"}}"#,
        r#","check":{"url":"https://acme.example/{access_token}/me"},"request":{"query":{"k":"{access_token}"}}"#,
    );
    let values = access_token_values(CANARY);
    for proof in [ClientProof::Secret(secret()), ClientProof::Assertion(secret())] {
        let client = ClientIdentity::new("id", proof, &Rc::default());
        let endpoints = endpoints(&auth_method);
        let of = TokenRequestContext {
            server: auth_method.require_oauth_server().unwrap(),
            endpoints: &endpoints,
            client: &client,
            values: &values,
            destinations: &Rc::default(),
        };
        let text = format!(
            "{client:?} {:?} {:?} {:?} {:?} {:?}",
            build_exchange_request(&of, &secret(), "https://x.example", Some(&secret())),
            build_refresh_request(&of, &secret(), &[], "https://x.example"),
            build_issue_request(&of, Some(&secret()), &[]),
            build_revocation_request(&of, &secret(), TokenTypeHint::AccessToken),
            build_probe_request(auth_method.check.as_ref().unwrap(), &auth_method, &values, &Rc::default()),
        );
        assert!(!text.contains(CANARY), "{text}");
    }
    for body in [
        format!(
            r#"{{"access_token":"{CANARY}","refresh_token":"{CANARY}","u":{{"access_token":"{CANARY}","refresh_token":"{CANARY}"}}}}"#
        ),
        format!(r#"{{"refresh_token":"{CANARY}"}}"#),
    ] {
        let text = format!("{:?}", read_response(&auth_method, 200, &body));
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn types_with_a_credential_show_no_secret_in_debug_output() {
    let auth_method = oauth_method_with(
        "",
        r#","request":{"base_url":"https://acme.example/{access_token}/","headers":{"X":"{access_token}"}}"#,
    );
    let dressed = auth_method.request.prepare(&access_token_values(CANARY)).unwrap();
    let issued = serde_json::json!({
        "credential": { "type": "api_key", "access_token": CANARY, "token_type": "Bearer", "expires_at": null, "scopes": [], "api_key": CANARY },
        "request": { "headers": { "X": CANARY } },
    });
    let issued: CredentialPayload = serde_json::from_value(issued).unwrap();
    let others = BTreeMap::from([("user".to_owned(), token())]);
    let imported = ImportedTokens { token: token(), others: others.clone(), scopes: None };
    let entered = ManualCredential::Fields(fields());
    let key = ClientSecret::PrivateKey { pem: secret(), key_id: None, certificate: None };
    let paste = ManualConnectRequest {
        credential: ManualCredential::Tokens(Box::new(imported.clone())),
        name: None,
        metadata: BTreeMap::new(),
        check: true,
        actor: None,
        condition: crate::preconditions::Condition::default(),
    };
    let json = SecretJson(serde_json::json!({ "access_token": CANARY }));
    let credential = Credential { token: Some(token()), other_tokens: others, fields: fields() };
    for text in [
        format!("{:?} {:?}", access_token_values(CANARY), credential.template_values(Some("api_key"))),
        format!("{dressed:?} {issued:?} {json:?}"),
        format!("{credential:?} {imported:?} {entered:?} {paste:?}"),
        format!("{:?} {key:?}", ClientSecret::SharedSecret(secret())),
    ] {
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn a_placeholder_that_cannot_be_filled_is_reported_without_its_value() {
    let auth_method = parse_method(
        r#"{"id":"acme","name":"Acme","variables":{"site":{"label":"Site"}},"auth":{"type":"api_key","check":{"url":"https://{site}.acme.example/"}}}"#,
    );
    for host in [format!("{CANARY}/"), format!("-{CANARY}"), format!("{CANARY}@evil.example")] {
        let values = TemplateValues::new().with("site", &host).with("api_key", CANARY);
        let problem = build_probe_request(auth_method.check.as_ref().unwrap(), &auth_method, &values, &Rc::default())
            .unwrap_err();
        assert!(!format!("{problem:?} {problem}").contains(CANARY), "{problem}");
    }
}
