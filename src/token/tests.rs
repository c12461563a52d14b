//! Requests to apps and the judgement of their answers.

mod answers;
mod odd;
mod probes;
mod requests;
mod secrets;
mod sets;

use std::rc::Rc;

use super::*;
use crate::app::{App, Identity, Probe, Resolved, Values, read};
use crate::connection::Account;
use crate::egress::Egress;
use crate::ports::{HttpError, Inbound, Outbound, OutboundMethod};

const CANARY: &str = "canary-7f3a";

fn app_with(auth: &str, beside: &str) -> Rc<App> {
    let json = format!(
        r#"{{"id":"acme","name":"Acme","auth":{{"type":"oauth2","authorize_url":"https://acme.example/a",
        "token_url":"https://acme.example/t","revoke_url":"https://acme.example/r"{auth}}},"scopes":["read"],
        "identity":{{"url":"https://api.acme.example/me","id":"/id","label":["/email","/name"]}}{beside}}}"#
    );
    parsed(&json)
}

/// The recommended way of a definition.
fn parsed(json: &str) -> Rc<App> {
    read(json, Egress::Public).unwrap_or_else(|problems| panic!("{json}: {problems:?}")).way(None).unwrap()
}

fn app() -> Rc<App> {
    app_with("", "")
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_795_348_800)
}

fn inbound(status: u16, body: &str) -> Inbound {
    Inbound { status, headers: vec![], body: body.as_bytes().to_vec() }
}

fn answer_of(app: &App, status: u16, body: &str) -> Answer {
    read_answer(app, &Ok(inbound(status, body)), now())
}

fn tokens(app: &App, body: &str) -> TokenSet {
    match answer_of(app, 200, body) {
        Answer::Tokens(tokens) => tokens,
        other => panic!("{body}: {other:?}"),
    }
}

fn client() -> ClientKeys {
    ClientKeys::new("my id", Proof::Secret(Secret::new("s:é&c")), &Rc::default())
}

fn header<'a>(request: &'a Outbound, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

fn at(app: &App) -> Resolved {
    at_with(app, &Values::new())
}

fn at_with(app: &App, values: &Values) -> Resolved {
    app.resolve_fixed(values).unwrap().unwrap()
}

fn bearer(token: &str) -> Values {
    Values::new().with("access_token", token)
}

fn identity(app: &App) -> (&Identity, &Probe) {
    let identity = app.identity.as_ref().unwrap();
    (identity, identity.probe.as_ref().unwrap())
}

fn body(request: &Outbound) -> &str {
    request.body.as_deref().unwrap()
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic(status: u16, body: Vec<u8>, retry_after: String) {
        let headers = vec![("retry-after".to_owned(), retry_after)];
        let answer = Ok(Inbound { status, headers, body });
        let app = app();
        let _ = read_answer(&app, &answer, now());
        let _ = read_probe(&app, identity(&app).1, &answer, now());
        let _ = read_account(&app, identity(&app), answer.as_ref().unwrap(), &Values::new(), now());
    }

    #[test]
    fn what_is_taken_for_a_token_fits_a_header(token: String, error: String) {
        let body = serde_json::json!({"access_token": token, "error": error}).to_string();
        match answer_of(&app(), 200, &body) {
            Answer::Tokens(set) => proptest::prop_assert!(is_header_safe(set.access_token.expose())),
            Answer::Refused(refusal) => proptest::prop_assert!(
                refusal.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
            ),
            Answer::Ambiguous(_) => {}
        }
    }

    #[test]
    fn a_token_is_never_in_debug_output(token in "[a-zA-Z0-9]{12,40}", odd: bool) {
        let member = if odd { "refresh_token" } else { "access_token" };
        let shown = format!("{:?}", answer_of(&app(), 200, &serde_json::json!({ member: token }).to_string()));
        proptest::prop_assert!(!shown.contains(&token));
    }
}
