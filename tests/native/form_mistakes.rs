//! What a form says where something is refused: sentences for people, at the field that is wrong.

use connections::http::{Method, Response};
use serde_json::json;

use crate::http::{call, first_key};
use crate::settings::admin;
use crate::support::Fixture;

const OWN_ADDRESS: &str = "https://c.example.com/x";
const NO_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
/// What stands in no sentence for people.
const JARGON: [&str; 8] = ["/v1/", "PATCH", "PUT ", "null", "control character", "ASCII", "scope", "`"];

/// A page, what is entered, and what is said.
type Mistake = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const MISTAKES: &[Mistake] = &[
    ("/settings/workspace", &[("name", " ")], &["Enter a name of up to 100 characters."]),
    (
        "/settings/workspace",
        &[("name", "x"), ("branding_logo_url", "https://cdn.example/a logo.png")],
        &["An address has no spaces, and no letters such as é."],
    ),
    ("/settings/workspace", &[("name", "x"), ("branding_logo_url", "logo")], &["Enter a whole address, such"]),
    (
        "/settings/workspace",
        &[("name", "x"), ("branding_logo_url", "http://cdn.example/logo.png")],
        &["Enter an address that begins with https://."],
    ),
    (
        "/settings/workspace",
        &[("name", "x"), ("branding_logo_url", OWN_ADDRESS)],
        &["The logo can’t be at an address of this"],
    ),
    ("/settings/workspace", &[("name", "x"), ("branding_accent", "red")], &["Enter a colour as # and six digits"]),
    (
        "/settings/workspace",
        &[("name", "x"), ("branding_name", "much longer than sixty characters, which nobody reads beside a logo")],
        &["Enter a name of up to 60 characters."],
    ),
    (
        "/settings/workspace",
        &[("name", "x"), ("allowed_origins", "https://a.example\nnowhere")],
        &["“nowhere” can’t be used. Enter each site as browsers write it"],
    ),
    ("/settings/people", &[("user_id", " "), ("role", "member")], &["Enter an e-mail address or an id of up to 128"]),
    ("/settings/links", &[("app", ""), ("shared", "yes")], &["Choose an app."]),
    ("/settings/links", &[("app", "none-such"), ("shared", "yes")], &["Choose an app."]),
    ("/settings/keys", &[("name", ""), ("scope", "resolve")], &["Enter a name of up to 100 characters."]),
    (
        "/settings/webhooks",
        &[("url", "https://10.0.0.1/x"), ("type", "connection.deleted")],
        &["instead of its number"],
    ),
    (
        "/settings/webhooks",
        &[("url", "https://hooks.internal/x"), ("type", "connection.deleted")],
        &["is in a private network"],
    ),
    (
        "/settings/webhooks",
        &[("url", OWN_ADDRESS), ("type", "connection.deleted")],
        &["leads back to this installation"],
    ),
    ("/settings/webhooks", &[("url", "https://hooks.example/x")], &["Choose at least one."]),
    ("{webhook}", &[("url", "hooks"), ("type", "connection.deleted")], &["Enter a whole address, such"]),
    (
        "/settings/sign-in",
        &[("issuer", "login example"), ("client_id", ""), ("client_secret", ""), ("allowed_domains", "x")],
        &["Enter the client id as your provider shows it.", "Enter the client secret as", "Enter domains such as"],
    ),
    (
        "/settings/sign-in",
        &[("issuer", "http://login.example"), ("client_id", "a"), ("client_secret", "b")],
        &["Enter an address that begins with https://."],
    ),
    (
        "/settings/new-app",
        &[("name", ""), ("id", "Not An Id"), ("method", "issuer"), ("issuer", "nowhere")],
        &["Enter a name of up to 100", "Enter up to 63 small letters", "Enter a whole address, such"],
    ),
    (
        "/settings/new-app",
        &[("name", "x"), ("id", "mine"), ("method", "addresses"), ("token_url", "ftp://x.example/t")],
        &["Enter an address that begins with https://."],
    ),
    (
        "/settings/new-app",
        &[("name", "x"), ("id", "mine"), ("method", "api_key"), ("header", "X Key")],
        &["Enter the name of a header"],
    ),
    ("/settings/apps/acme", &[("client_id", "")], &["Enter the client id as the app shows it"]),
    ("/settings/apps/acme", &[("client_id", "a"), ("client_secret", "hün")], &["Enter the client secret as the app"]),
    ("/settings/apps/acme", &[("client_id", "a"), ("private_key", "hunter2")], &["This is no private key. Enter all"]),
    ("/settings/apps/acme", &[("client_id", "a"), ("private_key", NO_KEY)], &["The private key is damaged"]),
    (
        "/settings/apps/acme",
        &[("client_id", "a"), ("client_secret", "b"), ("key_id", "k")],
        &["together with the private"],
    ),
    (
        "/settings/apps/acme",
        &[("client_id", "a"), ("client_secret", "b"), ("secret_expires_at", "2001-01-01")],
        &["Enter a day in the future, and only for a secret."],
    ),
    ("/settings/default", &[("app", "acme"), ("connection", "x")], &["This connection does not exist"]),
    (
        "/connections/{connection}/sharing",
        &[("owner", "")],
        &["Choose an owner, or let everybody in the workspace use it."],
    ),
    ("/connections/{connection}/environment", &[("environment", "staging")], &["Choose one of the list."]),
    (
        "/connections/{connection}/replace",
        &[("with", "x")],
        &["This connection can’t answer for it. Choose one of the same app"],
    ),
];

/// What is said at the fields of a form, and above it.
fn mistakes(page: &Response) -> Vec<String> {
    let text = |piece: &str| {
        let plain: String = piece
            .split('<')
            .map(|part| part.split_once('>').map_or(part, |(_, text)| text))
            .collect::<Vec<_>>()
            .concat();
        plain.replace("&amp;", "&").replace("&quot;", "\"").replace("&#39;", "'").trim().to_owned()
    };
    let at_fields = page.body.split("<p class=\"mistake\"").skip(1).filter_map(|rest| {
        let rest = rest.split_once('>')?.1.split("</p>").next()?;
        Some(text(rest).trim_start_matches("Not accepted: ").to_owned())
    });
    let above = page.body.split("role=\"alert\"").skip(1).filter_map(|rest| {
        let rest = rest.split("</section>").next()?.split_once("<p>")?.1.split("</p>").next()?;
        Some(text(rest))
    });
    at_fields.chain(above).collect()
}

fn encoded(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[test]
fn what_is_wrong_in_a_form_is_said_in_sentences_for_people() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    fixture.world.db.tamper("UPDATE connections SET user_id = NULL, user_name = NULL, is_shared = 1");
    let mut root = admin(&fixture);
    let hook = json!({ "url": "https://hooks.example/x", "types": ["connection.deleted"] });
    let (_, webhook) = call(&fixture, &first_key(&fixture), Method::Post, "/v1/webhooks", &hook);
    let webhook = format!("/settings/webhooks/{}", webhook["id"].as_str().unwrap());
    let mut wrong = vec![];
    for (page, fields, expected) in MISTAKES {
        let page = page.replace("{webhook}", &webhook).replace("{connection}", id.as_str());
        let (form, action) = match page.as_str() {
            "/settings/default" => ("/settings/default?app=acme", "/settings/default"),
            "/settings/apps/acme" => ("/settings/apps/acme", "/settings/apps/acme/client"),
            page => (page, page),
        };
        let refused = root.post(form, action, &encoded(fields));
        let said = mistakes(&refused);
        let mut add = |why: &str| wrong.push(format!("{page} {fields:?}: {why}: {} {said:?}", refused.status));
        if !(400..500).contains(&refused.status) || refused.body.contains("hunter2") {
            add("the answer");
        }
        for words in expected.iter().filter(|words| !said.iter().any(|one| one.contains(**words))) {
            add(words);
        }
        for one in &said {
            if !one.starts_with(|letter: char| letter.is_uppercase() || letter == '“') {
                add("no sentence");
            }
            for jargon in JARGON {
                if one.contains(jargon) {
                    add(jargon);
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
