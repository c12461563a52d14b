//! Webhook events: what is read, and what is refused.

use serde_json::json;

use super::*;

fn definition_with_events(events: &str) -> String {
    SMALLEST_FIXED.replacen(r#""name": "Acme","#, &format!(r#""name": "Acme", "events": {events},"#), 1)
}

fn definition_with_signature(signature: &str) -> String {
    definition_with_events(&format!(r#"{{"signature": {signature}}}"#))
}

/// Events as the API shows them.
fn events_json(events: &str) -> serde_json::Value {
    serde_json::to_value(parse_app(&definition_with_events(events)).events.unwrap()).unwrap()
}

#[test]
fn a_definition_without_events_has_none() {
    assert!(parse_app(SMALLEST_FIXED).events.is_none());
}

#[test]
fn the_default_signature_is_a_hexadecimal_hmac_of_the_body() {
    let events = r#"{"signature": {"scheme": "hmac-sha256", "header": "X-Acme", "secret": "The app's."}}"#;
    let expected = json!({
        "docs": null,
        "signature": {
            "scheme": "hmac-sha256", "header": "X-Acme", "second_header": null, "prefix": null, "parts": null,
            "encoding": "hex", "signed": "{body}", "timestamp_header": null, "timestamp_at": null,
            "timestamp_format": null, "tolerance": null, "id_header": null, "id_at": null, "may_repeat": false,
            "secret": "The app's.", "secret_encoding": "text", "secret_prefix": null, "is_client_secret": false,
        },
        "handshake": null, "challenge": null, "when": null, "payload_at": null, "event_type": [],
        "access_ended": [], "account": [], "ended_account": [], "forward_access_ended": false,
        "answer_status": 200, "secret_handshake": null,
    });
    assert_eq!(events_json(events), expected);
}

#[test]
fn the_example_of_the_documentation_can_be_read() {
    let text = include_str!("../../../docs/catalogue.md");
    let example = text.split("\"events\": ").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let events = parse_app(&definition_with_events(example)).events.unwrap();
    assert!(matches!(&events.signature, WebhookSignature::HmacSha256(hmac) if hmac.tolerance == Some(300)));
    assert_eq!(events.access_ended, ["app.uninstalled"]);
}

#[test]
fn the_signed_time_may_come_from_three_places() {
    for (place, name, value, format) in [
        (r#""timestamp_header": "X-Time""#, "/timestamp_header", "X-Time", "seconds"),
        (r#""timestamp_at": "/sent", "timestamp_format": "milliseconds""#, "/timestamp_at", "/sent", "milliseconds"),
        (r#""parts": {"signature": "v1", "timestamp": "t"}"#, "/parts/timestamp", "t", "seconds"),
    ] {
        let signed = if name == "/timestamp_at" { "{body}" } else { "{timestamp}.{body}" };
        let events = format!(
            r#"{{"signature": {{"scheme": "hmac-sha256", "header": "X", "secret": "s", "encoding": "base64",
                "tolerance": 300, "signed": "{signed}", {place}}},
                "handshake": "Answer the challenge.", "access_ended": ["gone"]}}"#
        );
        let events = events_json(&events);
        let signature = &events["signature"];
        assert_eq!(signature.pointer(name).unwrap(), value, "{signature}");
        assert_eq!(signature["timestamp_format"], format, "{signature}");
        assert_eq!((&signature["tolerance"], &signature["signed"]), (&json!(300), &json!(signed)));
        assert_eq!(signature["encoding"], "base64");
        assert_eq!(
            (&events["handshake"], &events["access_ended"]),
            (&json!("Answer the challenge."), &json!(["gone"]))
        );
    }
}

#[test]
fn the_other_signature_schemes_have_their_own_members() {
    let jwt = r#"{"scheme": "jwt", "header": "Authorization", "prefix": "Bearer ", "issuer": "https://acme.example",
        "keys": "https://acme.example/keys", "claims": "aud is yours.", "sender_claim": "sub"}"#;
    for (signature, expected) in [
        (
            r#"{"scheme": "shared-secret", "header": "X-Acme", "secret": "s"}"#,
            json!({"scheme": "shared-secret", "header": "X-Acme", "prefix": null, "query": null, "at": null, "secret": "s"}),
        ),
        (
            r#"{"scheme": "shared-secret", "query": "secret", "secret": "s"}"#,
            json!({"scheme": "shared-secret", "header": null, "prefix": null, "query": "secret", "at": null, "secret": "s"}),
        ),
        (
            r#"{"scheme": "jwt-hs256", "header": "Authorization", "prefix": "Bearer ", "secret": "s"}"#,
            json!({"scheme": "jwt-hs256", "header": "Authorization", "prefix": "Bearer ", "secret": "s"}),
        ),
        (
            r#"{"scheme": "shared-secret", "at": "/value/0/state", "secret": "s"}"#,
            json!({"scheme": "shared-secret", "header": null, "prefix": null, "query": null, "at": "/value/0/state", "secret": "s"}),
        ),
        (jwt, serde_json::from_str(jwt).unwrap()),
        (r#"{"scheme": "none"}"#, json!({"scheme": "none"})),
    ] {
        let app = parse_app(&definition_with_signature(signature));
        let read = app.events.unwrap().signature;
        assert_eq!(serde_json::to_value(read).unwrap(), expected);
    }
}

#[test]
fn errors_name_the_member_and_the_remedy() {
    const JWT: &str = r#""scheme":"jwt","header":"A","issuer":"i","claims":"c""#;
    for (signature, field, problem) in [
        (r#""scheme":"md5""#, "scheme", "must be "),
        (r#""header":"X""#, "scheme", "is required"),
        (r#""scheme":"none","colour":"red""#, "colour", "is not known here"),
        (r#""scheme":"none","header":"X""#, "header", "is no option of \"none\"; remove it"),
        (r#""scheme":"none","keys":"https://acme.example""#, "keys", "remove it"),
        (r#""scheme":"hmac-sha256","secret":"s""#, "header", "is required"),
        (r#""scheme":"ed25519","header":"X","secret":"s","is_client_secret":true"#, "is_client_secret", "remove it"),
        (
            r#""scheme":"ecdsa-p256","header":"X","secret":"s","secret_encoding":"base64""#,
            "secret_encoding",
            "remove it",
        ),
        (r#""scheme":"jwt-hs256","header":"X""#, "secret", "is required"),
        (r#""scheme":"jwt-hs256","header":"X","secret":"s","keys":"https://acme.example""#, "keys", "remove it"),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","query":"s""#, "query", "remove it"),
        (r#""scheme":"hmac-sha256","header":"X""#, "secret", "is required"),
        (r#""scheme":"hmac-sha256","header":"X Y","secret":"s""#, "header", "not a header name"),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","at":"/x""#, "at", "remove it"),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","encoding":"base32""#, "encoding", "must be "),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","signed":"{body""#, "signed", "without its partner"),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","signed":"v0:""#, "signed", "must have {body} in it"),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","signed":"{body}{nonce}""#, "signed", "only body"),
        (
            r#""scheme":"hmac-sha256","header":"X","secret":"s","signed":"{timestamp}{body}""#,
            "signed",
            "add timestamp_header or parts.timestamp",
        ),
        (
            r#""scheme":"hmac-sha256","header":"X","secret":"s","signed":"{timestamp}{body}","timestamp_at":"/t""#,
            "signed",
            "add timestamp_header or parts.timestamp",
        ),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","timestamp_at":"t""#, "timestamp_at", "JSON pointer"),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","tolerance":300"#, "tolerance", "time of sending"),
        (
            r#""scheme":"hmac-sha256","header":"X","secret":"s","timestamp_format":"seconds""#,
            "timestamp_format",
            "time of sending",
        ),
        (
            r#""scheme":"hmac-sha256","header":"X","secret":"s","timestamp_header":"T","tolerance":0"#,
            "tolerance",
            "seconds",
        ),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","prefix":"""#, "prefix", "1 to 30"),
        (
            r#""scheme":"hmac-sha256","header":"X","secret":"s","prefix":"v1=","parts":{"signature":"v1"}"#,
            "prefix",
            "remove one",
        ),
        (r#""scheme":"hmac-sha256","header":"X","secret":"s","parts":{}"#, "parts.signature", "is required"),
        (
            r#""scheme":"hmac-sha256","header":"X","secret":"s","parts":{"signature":"v1","timestamp":"é"}"#,
            "parts.timestamp",
            "visible ASCII",
        ),
        (r#""scheme":"shared-secret","header":"X""#, "secret", "is required"),
        (r#""scheme":"shared-secret","header":"X","secret":"s","signed":"{body}""#, "signed", "remove it"),
        (r#""scheme":"shared-secret","at":"x","secret":"s""#, "at", "JSON pointer"),
        (JWT, "keys", "is required"),
        (&format!(r#"{JWT},"keys":"http://acme.example""#), "keys", "https://"),
        (&format!(r#"{JWT},"keys":"https://acme.example","secret":"s""#), "secret", "remove it"),
    ] {
        let json = definition_with_signature(&format!("{{{signature}}}"));
        let said = read_definition(&json, EgressPolicy::Public).expect_err(&json).remove(0);
        assert_eq!(said.field, format!("events.signature.{field}"), "{signature}: {}", said.problem);
        assert!(said.problem.contains(problem), "{field}: {}", said.problem);
    }
}

#[test]
fn a_signature_names_each_input_once() {
    for (events, field, problem) in [
        ("{}", "events.signature", "is required"),
        (r#"{"docs":"javascript:x","signature":{"scheme":"none"}}"#, "events.docs", "https"),
        (r#"{"handshake":"","signature":{"scheme":"none"}}"#, "events.handshake", "1 to 1000"),
        (r#"{"access_ended":[""],"signature":{"scheme":"none"}}"#, "events.access_ended[0]", "1 to 100"),
        (r#"{"signature":{"scheme":"shared-secret","secret":"s"}}"#, "events.signature", "one of header, query and at"),
        (r#"{"signature":{"scheme":"none"},"answer_status":500}"#, "events.answer_status", "200, 202 or 204"),
        (r#"{"signature":{"scheme":"none"},"secret_handshake":{}}"#, "events.secret_handshake", "either header or at"),
        (
            r#"{"signature":{"scheme":"shared-secret","header":"X","at":"/x","secret":"s"}}"#,
            "events.signature",
            "one of header, query and at",
        ),
        (
            r#"{"signature":{"scheme":"hmac-sha256","header":"X","secret":"s","timestamp_header":"T","timestamp_at":"/t"}}"#,
            "events.signature",
            "in several places",
        ),
    ] {
        let json = definition_with_events(events);
        let said = read_definition(&json, EgressPolicy::Public).expect_err(&json).remove(0);
        assert_eq!(said.field, field, "{events}: {}", said.problem);
        assert!(said.problem.contains(problem), "{field}: {}", said.problem);
    }
}
