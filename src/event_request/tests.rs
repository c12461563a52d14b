//! Requests of apps: the vendors' published examples, and what is not accepted.

use serde_json::json;

use super::*;
use crate::app::{AccountMatch, App};
use crate::catalogue;

fn events_of(app: &str) -> AppEvents {
    catalogue::find(app).unwrap().events.clone().unwrap()
}

fn request_with(headers: &[(&str, &str)], body: &str) -> EventRequest {
    let headers = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
    EventRequest::new("POST", "https://connections.example/hooks/cli_1".into(), headers, body.as_bytes().to_vec())
}

fn verify(app: &str, request: &EventRequest, secret: &str, now: i64) -> Result<ReplayMark, EventRefusal> {
    let secrets: Vec<_> = secret.lines().map(Secret::new).collect();
    request.verify(&events_of(app).signature, &secrets, Timestamp::from_unix(now))
}

/// One that the app signs in the documented way, as [`EventRequest::verify`] reads it.
fn sign(app: &str, headers: &[(&str, &str)], body: &str, secret: &str) -> EventRequest {
    let events = events_of(app);
    let (hmac, is_sha1) = match &events.signature {
        WebhookSignature::HmacSha256(hmac) => (hmac, false),
        WebhookSignature::HmacSha1(hmac) => (hmac, true),
        _ => panic!("{app} has no HMAC"),
    };
    let unsigned = request_with(headers, body);
    let key = hmac_key(hmac, &Secret::new(secret)).unwrap();
    let in_parts = hmac.parts.as_ref().and_then(|parts| parts.timestamp.clone());
    let time = in_parts.as_ref().map(|_| NOW.to_string());
    let time = time.or_else(|| unsigned.header(hmac.timestamp_header.as_ref()?).map(str::to_owned));
    let signed = hmac.signed.fill_bytes(|name| unsigned.signed_value(hmac, name, time.as_deref())).unwrap();
    let signature = if is_sha1 { HmacSha1::sign(&key, &signed) } else { HmacSha256::sign(&key, &signed) };
    let text = match hmac.encoding {
        SignatureEncoding::Hex => encode_hex(&signature),
        SignatureEncoding::Base64 => STANDARD.encode(&signature),
    };
    let value = match (&hmac.parts, &hmac.prefix) {
        (Some(parts), _) => {
            let time = in_parts.map(|name| format!("{name}{}{NOW}{}", parts.assign, parts.separator));
            format!("{}{}{}{text}", time.unwrap_or_default(), parts.signature, parts.assign)
        }
        (None, prefix) => format!("{}{text}", prefix.clone().unwrap_or_default()),
    };
    let mut headers = headers.to_vec();
    headers.push((&hmac.header, &value));
    request_with(&headers, body)
}

const NOW: i64 = 1_795_348_800;

#[test]
fn the_published_example_of_slack_is_verified() {
    // https://docs.slack.dev/authentication/verifying-requests-from-slack
    let body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let signature = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    let headers = [
        ("X-Slack-Request-Timestamp", "1531420618"),
        ("X-Slack-Signature", signature),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let (request, secret) = (request_with(&headers, body), "8f742231b10e8888abcd99yyyzzz85a5");
    assert_eq!(verify("slack", &request, secret, 1_531_420_618), Ok(None));
    assert_eq!(verify("slack", &request, secret, 1_531_420_918), Ok(None));
    for now in [1_531_420_919, 1_531_420_317] {
        assert_eq!(verify("slack", &request, secret, now), Err(EventRefusal::WrongTime));
    }
    let facts = request.read_facts(&events_of("slack"), &BTreeMap::new());
    assert_eq!(facts.accounts, [NamedAccount { text: "T1DC2JH3J".into(), r#match: AccountMatch::Prefix }]);
}

#[test]
fn the_published_example_of_github_is_verified() {
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let request = request_with(&[("X-Hub-Signature-256", signature)], "Hello, World!");
    let mark = verify("github", &request, "It's a Secret to Everybody", NOW).unwrap();
    assert_eq!(mark.unwrap().len(), 64, "a replay is known by what was signed");
}

#[test]
fn the_published_example_of_box_is_verified() {
    // https://github.com/box/box-node-sdk and https://developer.box.com/guides/webhooks/v2/signatures-v2/
    let body = r#"{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}"#;
    let time = Timestamp::parse("2020-01-01T07:00:00Z").unwrap().unix();
    let headers = [
        ("BOX-DELIVERY-TIMESTAMP", "2020-01-01T00:00:00-07:00"),
        ("BOX-SIGNATURE-PRIMARY", "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI="),
        ("BOX-SIGNATURE-SECONDARY", "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo="),
    ];
    let request = request_with(&headers, body);
    for secret in ["SamplePrimaryKey", "SampleSecondaryKey", "another\nSampleSecondaryKey"] {
        assert_eq!(verify("box", &request, secret, time + 600), Ok(None), "{secret}");
    }
    assert_eq!(verify("box", &request, "IncorrectKey", time), Err(EventRefusal::WrongSignature));
    assert_eq!(verify("box", &request, "SamplePrimaryKey", time + 601), Err(EventRefusal::WrongTime));
    let facts = request.read_facts(&events_of("box"), &BTreeMap::new());
    assert_eq!(facts.kind.as_deref(), Some("FILE.UPLOADED"));
}

#[test]
fn the_published_example_of_twilio_is_verified() {
    // https://www.twilio.com/docs/usage/webhooks/webhooks-security, as the tests of Twilio's libraries have it.
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [
        ("To", "+18005551212"),
        ("From", "+14158675309"),
        ("Digits", "1234"),
        ("Caller", "+14158675309"),
        ("CallSid", "CA1234567890ABCDE"),
    ] {
        form.append_pair(name, value);
    }
    let headers = [
        ("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("content-type", "application/x-www-form-urlencoded; charset=UTF-8"),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let url = "https://mycompany.com/myapp.php?foo=1&bar=2";
    let request = EventRequest::new("post", url.into(), headers.clone(), form.finish().into_bytes());
    assert!(verify("twilio", &request, "12345", NOW).unwrap().is_some());
    let elsewhere = EventRequest::new("POST", format!("{url}&baz=3"), headers, request.body.clone());
    assert_eq!(verify("twilio", &elsewhere, "12345", NOW), Err(EventRefusal::WrongSignature));
}

#[test]
fn the_published_example_of_standard_webhooks_is_verified() {
    // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    let headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        (
            "webhook-signature",
            "v1,bm9ldHUjKzFob2VudXRob2VodWUzMjRvdWVvdW9ldQo= v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ];
    let request = request_with(&headers, r#"{"test": 2432232314}"#);
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(verify("openai", &request, secret, 1_614_265_330), Ok(None));
    assert_eq!(verify("openai", &request, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1_614_265_330), Ok(None));
    assert_eq!(verify("openai", &request, "not base64", 1_614_265_330), Err(EventRefusal::NoSecret));
    let without_id = request_with(&headers[1..], r#"{"test": 2432232314}"#);
    assert_eq!(verify("openai", &without_id, secret, 1_614_265_330), Err(EventRefusal::Unsigned));
}

/// App, headers, body, type, accounts.
type DocumentedEvent = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    Option<&'static str>,
    &'static [&'static str],
);

/// An event of each app with an HMAC, as its documentation shows it: headers beside the signature, body, secret, and what it says.
const DOCUMENTED: &[DocumentedEvent] = &[
    (
        "stripe",
        &[],
        r#"{"type":"account.application.deauthorized","account":"acct_1"}"#,
        Some("account.application.deauthorized"),
        &["acct_1"],
    ),
    (
        "notion",
        &[],
        r#"{"id":"367cba44","type":"page.created","accessible_by":[{"id":"bot-1","type":"bot"},{"id":"u","type":"person"}]}"#,
        Some("page.created"),
        &["bot-1", "u"],
    ),
    (
        "dropbox",
        &[],
        r#"{"list_folder":{"accounts":["dbid:AAH4f99T0taONIb","dbid:BBB"]},"delta":{"users":[12345678]}}"#,
        None,
        &["dbid:AAH4f99T0taONIb", "dbid:BBB"],
    ),
    (
        "github",
        &[("X-GitHub-Event", "github_app_authorization")],
        r#"{"action":"revoked","sender":{"id":583231}}"#,
        Some("github_app_authorization.revoked"),
        &["583231"],
    ),
    (
        "github",
        &[("X-GitHub-Event", "push")],
        r#"{"repository":{"owner":{"id":21031067}},"sender":{"id":2}}"#,
        Some("push"),
        &["21031067"],
    ),
    (
        "hubspot",
        &[("X-HubSpot-Request-Timestamp", "1795348800123")],
        r#"[{"portalId":62515,"subscriptionType":"contact.creation"}]"#,
        Some("contact.creation"),
        &["62515"],
    ),
    (
        "linear",
        &[],
        r#"{"action":"revoked","type":"OAuthApp","organizationId":"org-1","webhookTimestamp":1795348800000}"#,
        Some("OAuthApp.revoked"),
        &["org-1"],
    ),
    (
        "shopify",
        &[("X-Shopify-Topic", "app/uninstalled"), ("X-Shopify-Shop-Domain", "acme.myshopify.com")],
        r#"{"id":1}"#,
        Some("app/uninstalled"),
        &["acme"],
    ),
    (
        "zendesk",
        &[("X-Zendesk-Webhook-Signature-Timestamp", "2026-11-22T12:00:00Z")],
        r#"{"type":"zen:event-type:ticket.created"}"#,
        Some("zen:event-type:ticket.created"),
        &[],
    ),
    ("asana", &[], r#"{"events":[{"action":"changed"}]}"#, Some("changed"), &[]),
    (
        "airtable",
        &[],
        r#"{"base":{"id":"app1"},"webhook":{"id":"ach1"},"timestamp":"2026-11-22T12:00:00.000Z"}"#,
        None,
        &[],
    ),
    (
        "calendly",
        &[],
        r#"{"event":"invitee.created","created_by":"https://api.calendly.com/users/A"}"#,
        Some("invitee.created"),
        &["https://api.calendly.com/users/A"],
    ),
    ("clickup", &[], r#"{"event":"taskCreated","webhook_id":"1"}"#, Some("taskCreated"), &[]),
    (
        "intercom",
        &[],
        r#"{"id":"notif_1","topic":"conversation.user.created","app_id":"abc"}"#,
        Some("conversation.user.created"),
        &["api.eu.intercom.io:abc"],
    ),
    (
        "quickbooks",
        &[],
        r#"{"eventNotifications":[{"realmId":"1185883450","dataChangeEvent":{"entities":[{"operation":"Create"}]}}]}"#,
        Some("Create"),
        &[],
    ),
    ("todoist", &[], r#"{"event_name":"item:added","user_id":"2671355"}"#, Some("item:added"), &["2671355"]),
    ("trello", &[], r#"{"action":{"type":"updateCard"}}"#, Some("updateCard"), &[]),
    ("typeform", &[], r#"{"event_id":"LtWXD3crgy","event_type":"form_response"}"#, Some("form_response"), &[]),
    (
        "webflow",
        &[("x-webflow-timestamp", "1795348800000")],
        r#"{"triggerType":"form_submission","payload":{}}"#,
        Some("form_submission"),
        &[],
    ),
    (
        "xero",
        &[],
        r#"{"events":[{"tenantId":"c2cc9b6e","eventType":"UPDATE"}],"firstEventSequence":1,"entropy":"S0m3"}"#,
        Some("UPDATE"),
        &["c2cc9b6e"],
    ),
    (
        "zoom",
        &[("x-zm-request-timestamp", "1795348800")],
        r#"{"event":"app_deauthorized","payload":{"account_id":"a","user_id":"z8yCxjTTTSiw02QgCAp8uQ"}}"#,
        Some("app_deauthorized"),
        &["z8yCxjTTTSiw02QgCAp8uQ"],
    ),
];

#[test]
fn an_event_as_each_app_documents_it_is_verified_and_understood() {
    let variables = BTreeMap::from([("api_host".to_owned(), "api.eu.intercom.io".to_owned())]);
    for (app, headers, body, kind, accounts) in DOCUMENTED {
        let secret = if *app == "airtable" { "c2VjcmV0IG9mIGFpcnRhYmxl" } else { "the secret" };
        let request = sign(app, headers, body, secret);
        let verified = verify(app, &request, secret, NOW);
        assert!(verified.is_ok(), "{app}: {verified:?}");
        assert_eq!(verify(app, &request, "b3RoZXI=", NOW), Err(EventRefusal::WrongSignature), "{app}");
        let changed =
            EventRequest::new("POST", request.url.clone(), request.headers.clone(), format!("{body} ").into_bytes());
        assert_eq!(verify(app, &changed, secret, NOW), Err(EventRefusal::WrongSignature), "{app}: every byte counts");
        let truncated = body.as_bytes().split_last().unwrap().1.to_vec();
        let truncated = EventRequest::new("POST", request.url.clone(), request.headers.clone(), truncated);
        assert_eq!(verify(app, &truncated, secret, NOW), Err(EventRefusal::WrongSignature), "{app}");
        let unsigned = request_with(headers, body);
        assert_eq!(verify(app, &unsigned, secret, NOW), Err(EventRefusal::Unsigned), "{app}");
        if verified == Ok(None) && *app != "dropbox" {
            assert_eq!(verify(app, &request, secret, NOW + 3600), Err(EventRefusal::WrongTime), "{app}");
        }
        let facts = request.read_facts(&events_of(app), &variables);
        assert_eq!(facts.kind.as_deref(), *kind, "{app}");
        if *app != "quickbooks" {
            let found: Vec<_> = facts.accounts.iter().map(|one| one.text.as_str()).collect();
            assert_eq!(found, *accounts, "{app}");
        }
        let ends = events_of(app).access_ended.iter().any(|end| Some(end.as_str()) == *kind);
        assert_eq!(facts.has_ended_access, ends, "{app}");
    }
}

#[test]
fn a_revocation_at_slack_names_the_people_whose_tokens_ended() {
    // https://docs.slack.dev/reference/events/tokens_revoked and app_uninstalled
    let read = |body: serde_json::Value| {
        request_with(&[], &body.to_string()).read_facts(&events_of("slack"), &BTreeMap::new())
    };
    let tokens = read(json!({
        "team_id": "T1", "event": { "type": "tokens_revoked", "tokens": { "oauth": ["U1"], "bot": ["U2"] } },
        "type": "event_callback",
    }));
    let texts: Vec<_> = tokens.accounts.iter().map(|one| one.text.as_str()).collect();
    assert_eq!((tokens.has_ended_access, texts), (true, vec!["T1:U2", "T1:U1"]));
    let uninstalled =
        read(json!({ "team_id": "T1", "event": { "type": "app_uninstalled" }, "type": "event_callback" }));
    assert_eq!(uninstalled.accounts, [NamedAccount { text: "T1".into(), r#match: AccountMatch::Prefix }]);
    let message = read(json!({
        "team_id": "T1", "event": { "type": "message" }, "authorizations": [{ "team_id": "T1", "user_id": "U2" }],
    }));
    assert_eq!((message.has_ended_access, message.accounts[0].text.as_str()), (false, "T1:U2"));
}

#[test]
fn a_shared_secret_is_compared_in_each_entry() {
    // https://learn.microsoft.com/graph/change-notifications-delivery-webhooks
    let entry = |state: &str| json!({ "clientState": state, "changeType": "created", "resource": "Users/ddfcd489-628b-40d7-b48b-57002df800e5/Messages/AAMk" });
    let request = |entries: serde_json::Value| request_with(&[], &json!({ "value": entries }).to_string());
    let good = request(json!([entry("one"), entry("two")]));
    assert_eq!(verify("outlook", &good, "one\ntwo", NOW), Ok(None));
    assert_eq!(verify("outlook", &good, "one", NOW), Err(EventRefusal::WrongSignature));
    let facts = good.read_facts(&events_of("outlook"), &BTreeMap::new());
    assert_eq!((facts.kind.as_deref(), facts.accounts.len()), (Some("created"), 1));
    assert_eq!(facts.accounts[0].text, "ddfcd489-628b-40d7-b48b-57002df800e5");
    for bad in [json!([]), json!({}), json!("one"), json!([{ "changeType": "created" }]), json!([entry("one"), {}])] {
        assert_eq!(verify("outlook", &request(bad.clone()), "one", NOW), Err(EventRefusal::Unsigned), "{bad}");
    }
    assert_eq!(
        verify("outlook", &request(json!([{ "clientState": ["one"] }])), "one", NOW),
        Err(EventRefusal::Malformed)
    );
    let telegram = request_with(&[("X-Telegram-Bot-Api-Secret-Token", "token_1")], "{}");
    assert_eq!(verify("telegram", &telegram, "token_1", NOW), Ok(None));
    assert_eq!(verify("telegram", &telegram, "token_", NOW), Err(EventRefusal::WrongSignature));
    assert_eq!(
        verify("telegram", &request_with(&[("X-Telegram-Bot-Api-Secret-Token", "")], "{}"), "", NOW),
        Err(EventRefusal::NoSecret)
    );
    let pipedrive = request_with(&[("Authorization", "Basic dXNlcjpwYXNz")], "{}");
    assert_eq!(verify("pipedrive", &pipedrive, "dXNlcjpwYXNz", NOW), Ok(None));
    let figma = request_with(&[], r#"{"passcode":"p","event_type":"PING"}"#);
    assert_eq!(
        (verify("figma", &figma, "p", NOW), verify("figma", &figma, "q", NOW)),
        (Ok(None), Err(EventRefusal::WrongSignature))
    );
}

#[test]
fn a_signature_of_another_form_is_no_signature() {
    let body = r#"{"type":"x"}"#;
    let good = sign("stripe", &[], body, "s");
    let header = good.header("stripe-signature").unwrap().to_owned();
    let (time, signature) = header.split_once(",v1=").unwrap();
    for (text, expected) in [
        (format!("{time},v1={signature},v1={}", "0".repeat(64)), Ok(None)),
        (format!("{time},v0={signature}"), Err(EventRefusal::Malformed)),
        (format!("v1={signature}"), Err(EventRefusal::Unsigned)),
        (format!("{time},{time},v1={signature}"), Err(EventRefusal::Malformed)),
        (format!("t=0{NOW},v1={signature}"), Err(EventRefusal::WrongSignature)),
        (format!("t={},v1={signature}", NOW + 1), Err(EventRefusal::WrongSignature)),
        (format!("{time},v1={}", signature.get(..62).unwrap()), Err(EventRefusal::WrongSignature)),
        (format!("{time},v1="), Err(EventRefusal::WrongSignature)),
        (format!("{time},v1=zz"), Err(EventRefusal::Malformed)),
        (String::new(), Err(EventRefusal::Malformed)),
        (",".repeat(5000), Err(EventRefusal::Malformed)),
    ] {
        let request = request_with(&[("Stripe-Signature", &text)], body);
        assert_eq!(verify("stripe", &request, "s", NOW), expected, "{text}");
    }
    // A time that was signed and is none: the right signature does not help.
    let far = i64::MAX.to_string();
    for time in ["", "soon", "-1", far.as_str(), "1e9", "99999999999999999999"] {
        let signed = encode_hex(&HmacSha256::sign(b"s", format!("{time}.{body}").as_bytes()));
        let request = request_with(&[("Stripe-Signature", &format!("t={time},v1={signed}"))], body);
        assert!(
            matches!(verify("stripe", &request, "s", NOW), Err(EventRefusal::WrongTime | EventRefusal::Malformed)),
            "{time}"
        );
    }
}

#[test]
fn a_replay_is_known_by_the_id_of_the_event_or_by_what_was_signed() {
    let mark = |app: &str, body: &str| verify(app, &sign(app, &[], body, "s"), "s", NOW).unwrap();
    let (first, again) = (r#"{"id":"e1","type":"page.created"}"#, r#"{"type":"page.created","id":"e1"}"#);
    assert_eq!(mark("notion", first), mark("notion", again), "a second attempt may be written in another way");
    assert_ne!(mark("notion", first), mark("notion", r#"{"id":"e2","type":"page.created"}"#));
    assert_ne!(mark("xero", first), mark("xero", again));
    assert_eq!(mark("dropbox", first), None, "the same notification may come for each change");
}

#[test]
fn a_challenge_is_answered_as_the_app_expects() {
    let challenge = |app: &str| events_of(app).challenge.unwrap();
    let answer = |app: &str, request: &EventRequest| {
        let challenge = challenge(app);
        let value = request.find_challenge(&challenge)?;
        challenge_answer(&challenge, value.as_deref(), &[Secret::new("secret")])
    };
    let text = "text/plain; charset=utf-8";
    let get = |query: &str| EventRequest::new("GET", format!("https://c.example/hooks/cli_1?{query}"), vec![], vec![]);
    assert_eq!(answer("dropbox", &get("challenge=%3Cscript%3E")), Some((text, "<script>".to_owned())));
    for none in ["challenge=", "other=1", "", "challenge=a%0Ab", &format!("challenge={}", "a".repeat(1025))] {
        assert_eq!(answer("dropbox", &get(none)), None, "{none}");
    }
    assert_eq!(answer("dropbox", &request_with(&[], "")), None, "a POST is none");
    let graph = EventRequest::new(
        "POST",
        "https://c.example/hooks/cli_1?validationToken=Validation%3a+Testing".into(),
        vec![],
        vec![],
    );
    assert_eq!(answer("outlook", &graph), Some((text, "Validation: Testing".to_owned())));
    let slack = request_with(&[], r#"{"token":"t","challenge":"3eZbrw1a","type":"url_verification"}"#);
    assert_eq!(answer("slack", &slack), Some((text, "3eZbrw1a".to_owned())));
    assert!(challenge("slack").signed);
    let head = EventRequest::new("HEAD", "https://c.example/hooks/cli_1".into(), vec![], vec![]);
    assert_eq!(answer("trello", &head), Some((text, String::new())));
    // https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint
    let zoom = |token: &str| {
        request_with(
            &[],
            &json!({ "event": "endpoint.url_validation", "payload": { "plainToken": token } }).to_string(),
        )
    };
    let (kind, body) = answer("zoom", &zoom("qgg8vlvZRS6UYooatFL8Aw")).unwrap();
    let signed = encode_hex(&HmacSha256::sign(b"secret", b"qgg8vlvZRS6UYooatFL8Aw"));
    assert_eq!(kind, "application/json; charset=utf-8");
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({ "plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": signed })
    );
    for event in ["v0:1795348800:{}", "a:b", "a b", &"a".repeat(65)] {
        assert_eq!(answer("zoom", &zoom(event)), None, "nobody gets an event signed: {event}");
    }
}

#[test]
fn apps_with_one_address_are_told_apart_by_what_an_event_says() {
    let claims = |app: &str, request: &EventRequest| request.is_claimed_by(&events_of(app));
    let channel = |uri: &str| request_with(&[("X-Goog-Resource-URI", uri)], "");
    let drive = channel("https://www.googleapis.com/drive/v3/files/1?alt=json");
    let calendar = channel("https://www.googleapis.com/calendar/v3/calendars/primary/events?alt=json");
    assert_eq!(["google-drive", "google-calendar", "gmail"].map(|app| claims(app, &drive)), [true, false, true]);
    assert_eq!(["google-drive", "google-calendar", "gmail"].map(|app| claims(app, &calendar)), [false, true, true]);
    let graph = |resource: &str| request_with(&[], &json!({ "value": [{ "resource": resource }] }).to_string());
    for (resource, app) in [
        ("teams('19:abc')/channels('1')/messages('2')", "microsoft-teams"),
        ("chats('19:abc')/messages('2')", "microsoft-teams"),
        ("me/drive/root", "onedrive"),
        ("/drives/b!1/root", "onedrive"),
        ("Users/ddfcd489/Messages/AAMk", "outlook"),
    ] {
        let request = graph(resource);
        let claimed = ["microsoft-teams", "onedrive"].into_iter().find(|app| claims(app, &request));
        assert_eq!(claimed.unwrap_or("outlook"), app, "{resource}");
    }
}

#[test]
fn gmail_names_the_account_by_its_address_in_an_encoded_body() {
    // https://developers.google.com/workspace/gmail/api/guides/push
    let data = STANDARD.encode(r#"{"emailAddress":"user@example.com","historyId":"9876543210"}"#);
    let request =
        request_with(&[], &json!({ "message": { "data": data, "messageId": "1" }, "subscription": "s" }).to_string());
    let facts = request.read_facts(&events_of("gmail"), &BTreeMap::new());
    assert_eq!(facts.accounts, [NamedAccount { text: "user@example.com".into(), r#match: AccountMatch::Label }]);
    let rubbish = request_with(&[], r#"{"message":{"data":"%%"}}"#);
    assert!(rubbish.read_facts(&events_of("gmail"), &BTreeMap::new()).accounts.is_empty());
}

#[test]
fn debug_output_of_a_request_shows_nothing_of_it() {
    let request = request_with(&[("Authorization", "hunter2")], "hunter2");
    assert_eq!(format!("{request:?}"), "EventRequest(POST, 7 bytes)");
}

#[test]
fn every_app_with_events_can_be_verified() {
    let with_events = |id: &str| catalogue::find(id).filter(|app: &std::rc::Rc<App>| app.events.is_some());
    assert_eq!(catalogue::ids().filter_map(with_events).count(), 34);
}
