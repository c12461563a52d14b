//! Requests of apps: the vendors' published examples, and what is not accepted.

use serde_json::json;

use super::signatures::{HmacSha1, hmac_key};
use super::*;
use crate::app::{AccountMatch, App, SignatureEncoding, WebhookSignature};
use crate::catalogue;
use crate::time::Timestamp;

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

#[test]
fn the_published_example_of_jira_is_verified() {
    // https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks
    let signature = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9";
    let request = request_with(&[("X-Hub-Signature", signature)], "Hello World!");
    assert!(verify("atlassian", &request, "It's a Secret to Everybody", NOW).unwrap().is_some());
    assert_eq!(verify("atlassian", &request, "another", NOW), Err(EventRefusal::WrongSignature));
}

#[test]
fn the_published_example_of_notion_is_verified() {
    // https://developers.notion.com/reference/webhooks
    let token = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl";
    let signature = "sha256=461e8cbcba8a75c3edd866f0e71280f5a85cbf21eff040ebd10fe266df38a735";
    let body = format!(r#"{{"verification_token":"{token}"}}"#);
    let request = request_with(&[("X-Notion-Signature", signature)], &body);
    assert!(verify("notion", &request, token, NOW).unwrap().is_some());
    let handshake = events_of("notion").secret_handshake.unwrap();
    assert_eq!(request.find_handshake_secret(&handshake), Some(Secret::new(token)));
}

#[test]
fn a_secret_that_an_app_sends_is_found_where_the_definition_says() {
    // https://developers.asana.com/docs/webhooks-guide
    let secret = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";
    let asana = events_of("asana").secret_handshake.unwrap();
    let find = |headers: &[(&str, &str)]| request_with(headers, "{}").find_handshake_secret(&asana);
    assert_eq!(find(&[("X-Hook-Secret", secret)]), Some(Secret::new(secret)));
    let long = "a".repeat(513);
    for none in ["", "short", "with a space in it", "with\ta tab in it", &long] {
        assert_eq!(find(&[("X-Hook-Secret", none)]), None, "{none}");
    }
    assert_eq!(find(&[("X-Hook-Secret", secret), ("x-hook-secret", "another-one-of-a-stranger")]), None);
    assert_eq!(find(&[("X-Hook-Signature", secret)]), None);
    let get = EventRequest::new("GET", String::new(), vec![("x-hook-secret".into(), secret.into())], vec![]);
    assert_eq!(get.find_handshake_secret(&asana), None);
    let notion = events_of("notion").secret_handshake.unwrap();
    for body in [r#"{"verification_token":["secret_of_a_stranger"]}"#, "[]", "not JSON"] {
        assert_eq!(request_with(&[], body).find_handshake_secret(&notion), None, "{body}");
    }
}

#[test]
fn headers_of_one_name_are_one_so_none_hides_behind_another() {
    let body = r#"{"type":"x"}"#;
    let good = sign("stripe", &[], body, "s");
    let signature = good.header("stripe-signature").unwrap().to_owned();
    let twice = request_with(&[("Stripe-Signature", &signature), ("STRIPE-SIGNATURE", &signature)], body);
    assert_eq!(verify("stripe", &twice, "s", NOW), Err(EventRefusal::Malformed), "two times");
    let github = sign("github", &[], body, "s");
    let signature = github.header("x-hub-signature-256").unwrap().to_owned();
    let other = [("X-Hub-Signature-256", signature.as_str()), ("X-Hub-Signature-256", "sha256=00")];
    assert_eq!(verify("github", &request_with(&other, body), "s", NOW), Err(EventRefusal::Malformed));
    let gitlab = [("X-Gitlab-Token", "s"), ("X-Gitlab-Token", "t")];
    assert_eq!(verify("gitlab", &request_with(&gitlab, body), "s", NOW), Err(EventRefusal::WrongSignature));
}

#[test]
fn a_secret_in_the_address_is_compared_as_a_whole() {
    // https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/
    let body = "type=subscribe&fired_at=2009-03-26+21%3A35%3A57&data%5Bid%5D=8a25ff1d98";
    let at = |query: &str| {
        let form = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        EventRequest::new("POST", format!("https://c.example/hooks/cli_1{query}"), form, body.into())
    };
    assert_eq!(verify("mailchimp", &at("?secret=s3cret"), "s3cret", NOW), Ok(None));
    assert_eq!(at("").read_facts(&events_of("mailchimp"), &BTreeMap::new()).kind.as_deref(), Some("subscribe"));
    for (query, why) in [
        ("", EventRefusal::Unsigned),
        ("?Secret=s3cret", EventRefusal::Unsigned),
        ("?secret=", EventRefusal::WrongSignature),
        ("?secret=s3cre", EventRefusal::WrongSignature),
        ("?secret=wrong&secret=s3cret", EventRefusal::WrongSignature),
    ] {
        assert_eq!(verify("mailchimp", &at(query), "s3cret", NOW), Err(why), "{query}");
    }
    assert_eq!(verify("mailchimp", &at("?secret="), "", NOW), Err(EventRefusal::NoSecret));
}

#[test]
fn a_token_that_an_app_signs_with_a_secret_is_for_this_address_and_a_short_time() {
    // https://developer.monday.com/apps/docs/authorization-header
    const HERE: &str = "https://connections.example/hooks/cli_1";
    let WebhookSignature::JwtHs256(jwt) = events_of("monday").signature else { panic!() };
    let part = |json: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
    let token = |header: Value, claims: Value, secret: &str| {
        let signed = format!("{}.{}", part(header), part(claims));
        let tag = HmacSha256::sign(secret.as_bytes(), signed.as_bytes());
        format!("{signed}.{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag))
    };
    let header = || json!({ "alg": "HS256", "typ": "JWT" });
    let claims = |change: Value| {
        let mut claims = json!({
            "accountId": 1_825_529, "userId": 4_012_689, "aud": HERE, "exp": NOW + 300, "shortLivedToken": "t", "iat": NOW,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let check = |token: &str, body: &str, secret: &str| {
        let request = request_with(&[("Authorization", token)], body);
        request.verify_secret_token(
            &jwt,
            &[Secret::new("other"), Secret::new(secret)],
            (HERE, Timestamp::from_unix(NOW)),
        )
    };
    let good = token(header(), claims(json!({})), "s");
    let mark = check(&good, "{}", "s").unwrap();
    assert!(mark.is_some());
    assert_eq!(check(&good, "{}", "s").unwrap(), mark, "a replay is known");
    assert_ne!(check(&good, "[]", "s").unwrap(), mark, "the token says nothing about the body");
    for (text, why) in [
        (token(header(), claims(json!({})), "x"), EventRefusal::WrongSignature),
        (token(json!({ "alg": "none" }), claims(json!({})), "s"), EventRefusal::Malformed),
        (token(json!({ "alg": "HS512" }), claims(json!({})), "s"), EventRefusal::Malformed),
        (token(json!({ "alg": "HS256", "crit": ["x"] }), claims(json!({})), "s"), EventRefusal::Malformed),
        (token(header(), claims(json!({ "aud": "https://elsewhere.example/" })), "s"), EventRefusal::WrongSignature),
        (token(header(), claims(json!({ "aud": null })), "s"), EventRefusal::WrongSignature),
        (token(header(), claims(json!({ "exp": NOW - 61 })), "s"), EventRefusal::WrongTime),
        (token(header(), claims(json!({ "iat": NOW + 61 })), "s"), EventRefusal::WrongTime),
        (token(header(), claims(json!({ "exp": null })), "s"), EventRefusal::Malformed),
        (format!("Bearer {good}"), EventRefusal::Malformed),
        (good.rsplit_once('.').unwrap().0.to_owned(), EventRefusal::Malformed),
        (String::new(), EventRefusal::Malformed),
    ] {
        assert_eq!(check(&text, "{}", "s"), Err(why), "{text}");
    }
    let unsigned = request_with(&[], "{}");
    let now = Timestamp::from_unix(NOW);
    assert_eq!(unsigned.verify_secret_token(&jwt, &[Secret::new("s")], (HERE, now)), Err(EventRefusal::Unsigned));
    assert_eq!(unsigned.verify_secret_token(&jwt, &[Secret::new("")], (HERE, now)), Err(EventRefusal::NoSecret));
}

#[test]
fn a_public_key_that_is_none_is_refused_when_it_is_entered() {
    let problem = |app: &str, text: &str| secret_problem(&events_of(app).signature, &Secret::new(text));
    // https://github.com/sendgrid/sendgrid-nodejs/blob/main/packages/eventwebhook/src/eventwebhook.spec.js
    let key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1FwCM/QmGUhA==";
    assert_eq!(problem("sendgrid", key), None);
    for wrong in ["", "MFkw", key.strip_suffix("hA==").unwrap(), "AAAA", &key.replacen('M', "N", 1)] {
        assert!(problem("sendgrid", wrong).is_some(), "{wrong}");
    }
    assert_eq!(problem("discord", &"0a".repeat(32)), None);
    for wrong in ["0a".repeat(31), "0a".repeat(33), "zz".repeat(32), "0a".repeat(32).split_off(1)] {
        assert!(problem("discord", &wrong).is_some(), "{wrong}");
    }
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
    ("atlassian", &[], r#"{"webhookEvent":"jira:issue_updated","issue":{"id":"1"}}"#, Some("jira:issue_updated"), &[]),
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
    let monday = request_with(&[], r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#);
    let echoed = r#"{"challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}"#;
    assert_eq!(answer("monday", &monday), Some(("application/json; charset=utf-8", echoed.to_owned())));
    // https://docs.discord.com/developers/events/webhook-events
    assert_eq!(answer("discord", &request_with(&[], r#"{"version":1,"type":0}"#)), Some((text, String::new())));
    assert!(challenge("discord").signed);
    for none in [r#"{"version":1,"type":1}"#, r#"{"version":1}"#, "", "0"] {
        assert_eq!(answer("discord", &request_with(&[], none)), None, "{none}");
    }
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
    assert_eq!(catalogue::ids().filter_map(with_events).count(), 40);
}
