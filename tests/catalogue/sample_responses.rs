//! Sample responses of apps: `answers/<app>.json`, a list of responses per app.
//!
//! Owns the format. An entry is one response: `what` it is, the `auth_method` (default: the first one), `kind` (the
//! reader it goes to), `status`, `headers`, `body` (JSON, or a text that is sent unchanged) and what must be `read`.
//! `unverified` marks a response whose form is known only from reports or from other apps: no page of the app's
//! documentation is known to show it. No response was recorded from a live app.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use connections::app::{App, AuthMethod, AuthMethodId};
use connections::ports::AppResponse;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleResponse {
    pub(crate) what: String,
    auth_method: Option<AuthMethodId>,
    pub(crate) kind: ResponseKind,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Value,
    pub(crate) read: Value,
    #[serde(default)]
    pub(crate) unverified: bool,
}

#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ResponseKind {
    /// Response to a token request: an exchange, an issued token, or a refusal of either.
    Token,
    /// Response to a refresh.
    Refresh,
    /// Response to the identity request.
    Identity,
    /// Response to the check.
    Check,
    /// Response to a revocation.
    Revocation,
}

impl SampleResponse {
    /// The auth method it belongs to.
    pub(crate) fn auth_method(&self, app: &App) -> Rc<AuthMethod> {
        app.auth_method(self.auth_method.as_ref())
            .unwrap_or_else(|| panic!("{}: {} has no such way", app.id, self.what))
    }

    /// The body as received.
    pub(crate) fn to_inbound(&self) -> AppResponse {
        let body = match &self.body {
            Value::Null => Vec::new(),
            Value::String(text) => text.clone().into_bytes(),
            json => json.to_string().into_bytes(),
        };
        let headers = self.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone())).collect();
        AppResponse { status: self.status, headers, body }
    }

    /// The class of refusal that must be read.
    pub(crate) fn is_refusal_of_class(&self, class: &str) -> bool {
        self.read.get("refused").is_some_and(|known| known == class)
    }

    /// The result for the credential that must be read.
    pub(crate) fn has_verdict(&self, verdict: &str) -> bool {
        self.read.get("verdict").is_some_and(|known| known == verdict)
    }

    /// The account that must be read.
    pub(crate) fn account(&self) -> Option<&Value> {
        self.read.get("account")
    }

    /// The refresh token that must be read.
    pub(crate) fn refresh_token(&self) -> Option<&str> {
        self.read.pointer("/tokens/refresh_token").and_then(Value::as_str)
    }

    /// Whether it must be read as a completed revocation.
    pub(crate) fn confirms_revocation(&self) -> bool {
        self.kind == ResponseKind::Revocation && self.read == "done"
    }

    /// Whether it has tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        self.read.get("tokens").is_some()
    }
}

/// All sample responses of an app.
pub(crate) fn load_all(app: &App) -> Vec<SampleResponse> {
    let path = format!("tests/catalogue/answers/{}.json", app.id);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(&path);
    let text = std::fs::read_to_string(file).unwrap_or_else(|problem| panic!("{}", missing_file_help(&path, &problem)));
    serde_json::from_str(&text).unwrap_or_else(|problem| panic!("{path}: {problem}"))
}

/// The responses of one auth method.
pub(crate) fn load_for_auth_method(app: &App, auth_method: &AuthMethod) -> Vec<SampleResponse> {
    load_all(app).into_iter().filter(|entry| entry.auth_method(app).method_id == auth_method.method_id).collect()
}

fn missing_file_help(path: &str, problem: &std::io::Error) -> String {
    format!(
        "{path}: {problem}.\nEvery app of the catalogue has its answers there. Write a list with what the app's documentation \
         shows, with made-up secrets, such as\n\n  [{{ \"what\": \"a token that is dead\", \"kind\": \"identity\", \"status\": 401, \
         \"body\": {{ \"error\": \"invalid_token\" }}, \"read\": {{ \"verdict\": \"refused\" }} }}]\n\nThe format is told at the top \
         of tests/catalogue/sample_responses.rs; an app with the same kinds of ways is the best example. What is still missing then is \
         named by the test every_auth_method_has_the_required_sample_responses."
    )
}
