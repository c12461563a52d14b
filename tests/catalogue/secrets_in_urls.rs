//! No secret is in an address, unless the app requires it (RFC 9700, 4.3.2). Every request is checked, and the
//! exceptions are listed here with the reason.

use std::collections::BTreeSet;

use connections::app::AuthMethod;

use crate::{apps, golden_requests, made_up};

/// App, auth method, request and place where the app accepts the secret only in the address. Telegram has no header for
/// the token: its address is `https://api.telegram.org/bot<token>/<method>`.
const SECRETS_DEMANDED_IN_URLS: &str = "
    telegram bot_token: a step's request: token in the path
    telegram bot_token: identity: token in the path
";

/// The secrets of a request with this auth method.
fn made_up_secrets(auth_method: &AuthMethod) -> Vec<(String, String)> {
    let known = [
        ("the client's secret", made_up::CLIENT_SECRET),
        ("the code", made_up::CODE),
        ("the verifier", made_up::VERIFIER),
        ("the access token", made_up::ACCESS_TOKEN),
        ("the refresh token", made_up::REFRESH_TOKEN),
        ("the assertion", made_up::ASSERTION),
    ];
    let fields = made_up::manual_fields(auth_method);
    let entered = auth_method.fields.iter().filter(|field| field.secret).filter_map(|field| {
        let value = fields.get(&field.id)?.expose().to_owned();
        Some((field.id.clone(), value))
    });
    known.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().chain(entered).collect()
}

/// The secrets in the address of a request: in its first line and in the lines of its query.
fn find_secrets_in_url(auth_method: &AuthMethod, title: &str, request: &str) -> Vec<String> {
    let mut lines = request.lines();
    let first = format!("={}", lines.next().unwrap_or_default());
    let address: String = url::form_urlencoded::parse(first.as_bytes()).map(|(_, value)| value).collect();
    let query: Vec<_> = lines.filter(|line| line.trim_start().starts_with("? ")).collect();
    let mut found = Vec::new();
    for (name, value) in made_up_secrets(auth_method) {
        let place =
            |place: &str| format!("{} {}: {title}: {name} in the {place}", auth_method.app_id, auth_method.method_id);
        if address.contains(&value) {
            found.push(place("path"));
        }
        if query.iter().any(|line| line.contains(&value)) {
            found.push(place("query"));
        }
    }
    found
}

#[test]
fn a_secret_is_in_an_address_only_if_the_app_accepts_nothing_else() {
    let (mut all, mut looked_at) = (BTreeSet::new(), 0);
    for app in apps() {
        for auth_method in app.auth_methods() {
            for (title, request) in golden_requests::auth_method_requests(auth_method) {
                looked_at += 1;
                all.extend(find_secrets_in_url(auth_method, &title, &request));
            }
        }
    }
    let listed: BTreeSet<_> =
        SECRETS_DEMANDED_IN_URLS.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let new: Vec<_> = all.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&all).collect();
    assert!(new.is_empty() && gone.is_empty(), "not listed: {new:#?}\nlisted, but not there: {gone:#?}");
    assert!(looked_at > 300, "{looked_at} requests were looked at");
}

#[test]
fn the_check_finds_secrets_in_path_and_query() {
    let app = apps().find(|app| app.id.as_str() == "telegram").unwrap();
    let auth_method = app.auth_method(None).unwrap();
    let request = format!(
        "GET https://api.acme.example/bot{}/x\n  accept: y\n  ? key = {}\n",
        made_up::ACCESS_TOKEN,
        made_up::CODE
    );
    let told = find_secrets_in_url(&auth_method, "t", &request);
    assert!(told.iter().any(|one| one.ends_with("the access token in the path")), "{told:?}");
    assert!(told.iter().any(|one| one.ends_with("the code in the query")), "{told:?}");
}
