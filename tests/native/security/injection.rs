//! Nothing that a caller sends becomes SQL, or a pattern (T31): filters, cursors, limits, ids, names.

use connections::http::Method;
use connections::ports::{SqlText, SqlValue, Statement};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use super::{ADMIN_KEY, CookieBrowser, call, first_key};
use crate::support::Fixture;

/// Text that breaks a statement which is concatenated.
const CORPUS: [&str; 24] = [
    "'",
    "''",
    "\"",
    "`",
    "\\",
    ";",
    "--",
    "/*",
    "' OR '1'='1",
    "' OR 1=1 --",
    "\" OR \"\"=\"",
    "') OR ('1'='1",
    "1 OR 1=1",
    "x' UNION SELECT key_hash, 1, 2 FROM api_keys --",
    "x'; DROP TABLE connections; --",
    "x'; UPDATE api_keys SET scopes = '[\"*\"]'; --",
    "' || (SELECT sealed_credential FROM connections) || '",
    "(SELECT token_hash FROM sessions)",
    "1; ATTACH DATABASE 'x' AS y",
    "?1",
    ":name",
    "%",
    "_",
    "char(0x27)\u{0}'\u{2019}\u{ff07}",
];

/// A value in a query.
fn encode_query_value(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// Every list with its filters, from the description of the routes. A new filter is tested as soon as it is described.
fn list_filters() -> Vec<(String, Vec<String>)> {
    let document: Value = serde_json::from_str(include_str!("../../../src/http/openapi.json")).unwrap();
    let shared = |one: &Value| {
        let pointer = one["$ref"].as_str().map(|text| text.trim_start_matches('#').to_owned());
        pointer.map_or_else(|| one.clone(), |at| document.pointer(&at).unwrap().clone())
    };
    let mut found = Vec::new();
    for (path, line) in document["paths"].as_object().unwrap() {
        let parameters = [&line["parameters"], &line["get"]["parameters"]];
        let parameters = parameters.into_iter().filter_map(Value::as_array).flatten().map(shared);
        let names: Vec<_> =
            parameters.filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap().to_owned()).collect();
        if line.get("get").is_some() && !names.is_empty() && path.starts_with("/v1/") {
            found.push((path.clone(), names));
        }
    }
    found
}

/// Does not compile if a text of a statement can be made of what a caller sends: two implementations would fit.
trait IsMadeOfConstants<Marker> {
    fn is() -> bool {
        true
    }
}
impl<Any> IsMadeOfConstants<()> for Any {}
impl<Text: From<String>> IsMadeOfConstants<String> for Text {}
impl<Text: FromIterator<String>> IsMadeOfConstants<Vec<String>> for Text {}

#[test]
fn every_statement_is_made_of_constants_with_bound_values() {
    assert!(<SqlText as IsMadeOfConstants<_>>::is());
    let fixture = Fixture::new();
    let statement = connections::store::keys::insert(&fixture.key);
    assert!(statement.sql.as_constant().is_some_and(|text| text.starts_with("INSERT INTO api_keys")));
    assert!(!statement.params.is_empty());
    let some = Statement::put_together(["SELECT ?1", ", ?12 + ?3"], vec![SqlValue::Null; 20]);
    assert_eq!((&*some.sql, some.params.len()), ("SELECT ?1, ?12 + ?3", 12));
}

#[test]
fn no_list_parameter_becomes_sql() {
    let fixture = Fixture::new();
    let stranger = fixture.other_workspace();
    let id = fixture.connect("ann");
    stranger.connect("bob");
    let key = first_key(&fixture);
    let body = json!({ "url": "https://hooks.example/", "types": ["app.event"] });
    let webhook = call(&fixture.world, &key, Method::Post, "/v1/webhooks", &body).1["id"].as_str().unwrap().to_owned();
    let lists = list_filters();
    let names: Vec<_> = lists.iter().flat_map(|(_, names)| names).collect();
    for name in ["q", "user", "workflow", "app", "status", "attention", "cursor", "limit", "category"] {
        assert!(names.iter().any(|known| *known == name), "{name} is described: {names:?}");
    }
    fixture.world.run(async { fixture.world.context().check_key_ring().await }).unwrap();
    let before = fixture.world.db.dump_tables();
    for (path, names) in &lists {
        let path = path
            .replace("{connection}", &id.to_string())
            .replace("{app}", "acme")
            .replace("{key}", "key_0")
            .replace("{webhook}", &webhook);
        let caller = if path == "/v1/workspaces" { ADMIN_KEY } else { &key };
        let whole = call(&fixture.world, caller, Method::Get, &path, &Value::Null);
        for name in names {
            for text in CORPUS {
                let (status, body) = call(
                    &fixture.world,
                    caller,
                    Method::Get,
                    &format!("{path}?{name}={}", encode_query_value(text)),
                    &Value::Null,
                );
                assert!([200, 404, 422].contains(&status), "{path} {name}={text}: {status} {body}");
                let told = body.to_string();
                assert!(
                    !told.contains("cx1.") && !told.contains("bob") && !told.to_lowercase().contains("sqlite"),
                    "{told}"
                );
                if status == 200 && path != "/v1/workspaces" {
                    let rows = body["data"].as_array().map_or(0, Vec::len);
                    assert!(
                        rows == 0 || body["data"] == whole.1["data"] && name == "auth_method",
                        "{path} {name}={text}: {body}"
                    );
                }
                if ["cursor", "limit"].contains(&name.as_str()) {
                    assert_eq!(status, 422, "{path} {name}={text}");
                }
            }
        }
        for text in ["id", "id;--", "1", "name,(SELECT 1)"] {
            let unknown = call(
                &fixture.world,
                caller,
                Method::Get,
                &format!("{path}?sort={}&order={}", encode_query_value(text), encode_query_value(text)),
                &Value::Null,
            );
            assert!(unknown.0 == 422 || unknown == whole, "{path}: {}", unknown.1);
        }
    }
    assert_eq!(fixture.world.db.dump_tables(), before, "looking changed nothing");
}

#[test]
fn a_search_treats_like_wildcards_as_text() {
    let fixture = Fixture::new();
    let key = first_key(&fixture);
    let names = ["100%_sure", "100 percent", "a\\b", "plain"];
    for (account, name) in ["ann", "bob", "carl", "dora"].into_iter().zip(names) {
        let id = fixture.connect(account);
        let renamed =
            call(&fixture.world, &key, Method::Patch, &format!("/v1/connections/{id}"), &json!({ "name": name }));
        assert_eq!(renamed.0, 200, "{}", renamed.1);
    }
    let found = |text: &str| -> Vec<String> {
        let (_, body) = call(
            &fixture.world,
            &key,
            Method::Get,
            &format!("/v1/connections?q={}", encode_query_value(text)),
            &Value::Null,
        );
        body["data"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    for text in ["%", "_", "%_", "0%"] {
        assert_eq!(found(text), ["100%_sure"], "{text}");
    }
    assert_eq!(found("\\"), ["a\\b"]);
    assert_eq!((found("1%sure").len(), found("[a-z]").len(), found("*").len(), found("?").len()), (0, 0, 0, 0));
    let mut ann = CookieBrowser::signed_in_as(&fixture, "ann");
    let page = ann.get(&format!("/?q={}", encode_query_value("' OR 1=1 --")));
    assert_eq!(page.status, 200);
    assert!(names.iter().all(|name| !page.body.contains(name)), "{}", page.body);
}

#[test]
fn stored_text_is_returned_unchanged() {
    let fixture = Fixture::new();
    let id = fixture.connect("ann");
    let key = first_key(&fixture);
    let path = format!("/v1/connections/{id}");
    let tables = fixture.world.db.query_number("SELECT count(*) FROM sqlite_schema");
    for text in CORPUS.iter().filter(|text| !text.contains('\u{0}')) {
        let body = json!({ "name": format!("n{text}"), "metadata": { "m": text }, "allowed_workflows": [text, "w"] });
        let (status, told) = call(&fixture.world, &key, Method::Patch, &path, &body);
        assert_eq!(status, 200, "{text}: {told}");
        assert_eq!(
            (&told["name"], &told["metadata"], &told["allowed_workflows"]),
            (&body["name"], &body["metadata"], &body["allowed_workflows"])
        );
        let ask = json!({ "workflow": text, "step": text });
        assert_eq!(call(&fixture.world, &key, Method::Post, &format!("{path}/resolve"), &ask).0, 200, "{text}");
        let made = json!({ "name": format!("k{text}"), "scopes": ["resolve"] });
        assert_eq!(call(&fixture.world, &key, Method::Post, "/v1/keys", &made).1["name"], made["name"]);
        let user = json!({ "user": { "id": format!("u{text}") } });
        assert_eq!(call(&fixture.world, &key, Method::Post, "/v1/sign-in-links", &user).0, 201, "{text}");
        for hostile in [
            format!("/v1/connections/{}", encode_query_value(text)),
            format!("/v1/links/{}", encode_query_value(text)),
            format!("/v1/apps/{}", encode_query_value(text)),
        ] {
            assert_eq!(call(&fixture.world, &key, Method::Get, &hostile, &Value::Null).0, 404, "{hostile}");
        }
    }
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM sqlite_schema"), tables);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM connections"), 1);
    assert_eq!(fixture.world.db.query_number("SELECT count(*) FROM api_keys WHERE scopes = '[\"*\"]'"), 1);
}
