//! A hostile editor: somebody who may change the definitions of a workspace's custom apps, and has a server.
//!
//! Owns the changes to a definition (editions), the responses of the server, and the addresses in each edition. The
//! server accepts every code and every token, and responds as the app would. It can redirect people to the app's own
//! page with the client id and the redirect URI that the app knows. `secret_tracker.rs` judges what may reach it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use connections::ports::{AppResponse, OutboundRequest};
use serde_json::{Value, json};
use url::Url;

use crate::support::acme::{REALM, bearer_token, text_response};
use crate::support::fixture::merge_patch;

/// The app's own origin, which is also its issuer.
pub(crate) const APP_ORIGIN: &str = "https://acme.example";
/// The editor's own origin.
const ROGUE_ORIGIN: &str = "https://rogue.example";
/// The beginning of the paths of the editor's tenant, on the app's host.
const ROGUE_PATH: &str = "/rogue";
/// The beginning of everything that the editor's server issues.
const ROGUE_SECRET_PREFIX: &str = "rogue-";
/// The other app of the workspace, with a manual key.
pub(crate) const API_KEY_APP: &str = "keyed";

/// How the app's own definition gives its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointStyle {
    /// They are listed.
    Written,
    /// They have a placeholder that the person fills: one host has many authorization servers.
    Placeholder,
    /// They are discovered from an issuer.
    Discovered,
}

/// The set-up of a plan with a hostile editor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttackSetup {
    pub(crate) endpoint_style: EndpointStyle,
    /// The client has no secret.
    pub(crate) public_client: bool,
    /// The editor's server issues refresh tokens.
    pub(crate) rogue_gives_refresh_token: bool,
}

/// The client that the editor enters with a new definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientEntry {
    /// Nothing.
    Nothing,
    /// The same client id, without a secret.
    SameId,
    /// The same client id, with a secret of the editor.
    WrongSecret,
    /// A client id of the editor.
    OtherId,
}

/// How a person is misled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VisitOptions {
    /// The editor's server redirects them to the app's own page.
    pub(crate) redirected_to_app: bool,
    /// They fill the placeholder with the editor's realm.
    pub(crate) to_rogue_realm: bool,
    /// Milliseconds that they spend on our own page.
    pub(crate) page_ms: u32,
    /// Milliseconds that they spend at the app.
    pub(crate) app_ms: i64,
}

/// The discovery document that the editor writes into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RogueDocument {
    /// The app's issuer, with the editor's token endpoint.
    RogueToken,
    /// The app's issuer, with the editor's endpoints.
    RogueAll,
    /// The document that the program stored for another issuer.
    OfOtherIssuer,
}

impl RogueDocument {
    pub(crate) fn to_json_text(self) -> String {
        let authorize = if self == Self::RogueAll { ROGUE_ORIGIN } else { APP_ORIGIN };
        json!({
            "issuer": APP_ORIGIN,
            "authorization_endpoint": format!("{authorize}/authorize"),
            "token_endpoint": format!("{ROGUE_ORIGIN}/token"),
            "revocation_endpoint": format!("{ROGUE_ORIGIN}/revoke"),
            "userinfo_endpoint": format!("{authorize}/me"),
        })
        .to_string()
    }
}

impl AttackSetup {
    /// The beginning of the addresses of the app's own authorization server.
    pub(crate) fn server_url(self) -> String {
        let realm = if self.endpoint_style == EndpointStyle::Placeholder { REALM } else { "" };
        format!("{APP_ORIGIN}{realm}")
    }

    /// The changes to the default definition for the app's own one.
    pub(crate) fn unedited_patch(self) -> Value {
        let usual = json!({
            "request": { "base_url": "https://acme.example/api/" },
            "check": { "url": "https://acme.example/me" },
        });
        let own = match self.endpoint_style {
            EndpointStyle::Written => json!({}),
            EndpointStyle::Placeholder => json!({
                "variables": { "realm": { "label": "Realm", "pattern": "main", "default": "main" } },
                "auth": {
                    "authorize_url": "https://acme.example/{realm}/authorize",
                    "token_url": "https://acme.example/{realm}/token",
                    "revoke_url": "https://acme.example/{realm}/revoke",
                },
            }),
            EndpointStyle::Discovered => json!({
                "auth": { "issuer": APP_ORIGIN, "authorize_url": null, "token_url": null, "revoke_url": null },
            }),
        };
        merge_keeping_nulls(usual, &own)
    }

    /// The changes that the editor makes to it.
    pub(crate) fn edited_patches(self) -> Vec<Value> {
        let at = |base: &str| {
            json!({
                "auth": {
                    "authorize_url": format!("{base}/authorize"),
                    "token_url": format!("{base}/token"),
                    "revoke_url": format!("{base}/revoke"),
                },
                "identity": { "url": format!("{base}/me") },
            })
        };
        let written = |auth: Value| json!({ "auth": auth });
        let tenant = format!("{APP_ORIGIN}{ROGUE_PATH}");
        let mut all = vec![
            json!({ "identity": { "url": format!("{ROGUE_ORIGIN}/me") } }),
            json!({ "check": { "url": format!("{ROGUE_ORIGIN}/me") } }),
            json!({ "request": { "base_url": format!("{ROGUE_ORIGIN}/api/") } }),
        ];
        if self.endpoint_style == EndpointStyle::Discovered {
            all.extend([
                written(json!({ "issuer": ROGUE_ORIGIN })),
                written(json!({ "issuer": tenant })),
                merge_keeping_nulls(json!({ "auth": { "issuer": null } }), &at(ROGUE_ORIGIN)),
                merge_keeping_nulls(json!({ "auth": { "issuer": null } }), &at(&tenant)),
                json!({ "auth": {
                    "issuer": null,
                    "authorize_url": format!("{APP_ORIGIN}/authorize"),
                    "token_url": format!("{ROGUE_ORIGIN}/token"),
                }}),
            ]);
            return all;
        }
        all.extend([
            at(ROGUE_ORIGIN),
            at(&tenant),
            json!({ "auth": at(ROGUE_ORIGIN)["auth"] }),
            written(json!({ "token_url": format!("{ROGUE_ORIGIN}/token") })),
            written(json!({ "token_url": format!("{tenant}/token") })),
            written(json!({ "authorize_url": format!("{ROGUE_ORIGIN}/authorize") })),
            written(json!({ "refresh_url": format!("{ROGUE_ORIGIN}/token") })),
            written(json!({ "revoke_url": format!("{ROGUE_ORIGIN}/revoke") })),
            written(json!({ "revoke_url": format!("{tenant}/revoke") })),
        ]);
        if self.endpoint_style == EndpointStyle::Placeholder {
            all.extend([
                json!({ "variables": { "realm": { "pattern": null } } }),
                json!({ "variables": { "realm": { "pattern": null, "default": "rogue" } } }),
                json!({ "variables": { "realm": { "pattern": "[a-z]+" } } }),
            ]);
        }
        all
    }
}

/// The first with the changes of the second. Members to remove are still null.
pub(crate) fn merge_keeping_nulls(mut base: Value, patch: &Value) -> Value {
    // A member to remove must still be marked for it.
    fn put(into: &mut Value, patch: &Value) {
        match (into, patch) {
            (Value::Object(into), Value::Object(patch)) => {
                for (name, value) in patch {
                    put(into.entry(name).or_insert(Value::Null), value);
                }
            }
            (into, patch) => into.clone_from(patch),
        }
    }
    put(&mut base, patch);
    base
}

/// A definition of the default app with these changes, in order.
pub(crate) fn definition_with_patches(changes: &[&Value]) -> Value {
    let mut definition = crate::support::fixture::acme_definition();
    for change in changes {
        merge_patch(&mut definition, change);
    }
    definition
}

/// The definition of the app with a manual key, its own and as the editor changes it.
pub(crate) fn api_key_definition(edition: usize) -> Value {
    let mut definition = json!({
        "id": API_KEY_APP,
        "name": "Keyed",
        "auth": { "type": "api_key" },
        "identity": { "url": format!("{APP_ORIGIN}/me"), "id": "/sub", "label": "/email" },
        "check": { "url": format!("{APP_ORIGIN}/me") },
        "request": { "base_url": format!("{APP_ORIGIN}/api/") },
    });
    let edited = match edition {
        0 => json!({}),
        1 => json!({ "identity": { "url": format!("{ROGUE_ORIGIN}/me") } }),
        2 => json!({ "check": { "url": format!("{ROGUE_ORIGIN}/me") } }),
        3 => json!({ "request": { "base_url": format!("{ROGUE_ORIGIN}/api/") } }),
        _ => json!({ "identity": { "url": format!("{ROGUE_ORIGIN}/me") }, "check": null }),
    };
    merge_patch(&mut definition, &edited);
    definition
}

/// Editions of [`keyed`], including the app's own.
pub(crate) const API_KEY_EDITIONS: usize = 5;

/// Addresses that a secret was given for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AllowedDestinations {
    pub(crate) token: BTreeSet<String>,
    pub(crate) revoke: BTreeSet<String>,
    /// Origins.
    pub(crate) api: BTreeSet<String>,
}

impl AllowedDestinations {
    /// The app's own.
    pub(crate) fn of_app(ground: AttackSetup) -> Self {
        let one = |text: &str| BTreeSet::from([format!("{}{text}", ground.server_url())]);
        Self { token: one("/token"), revoke: one("/revoke"), api: BTreeSet::from([APP_ORIGIN.to_owned()]) }
    }

    /// Those of a definition, read independently of the program.
    pub(crate) fn of_definition(definition: &Value, realm: &str) -> Self {
        let filled = |at: &str| {
            let text = definition.pointer(at).and_then(Value::as_str);
            text.map(|text| text.replace("{realm}", realm))
        };
        let api = ["/identity/url", "/check/url", "/request/base_url"].iter().filter_map(|at| filled(at));
        let mut places = Self {
            token: ["/auth/token_url", "/auth/refresh_url"].iter().filter_map(|at| filled(at)).collect(),
            revoke: filled("/auth/revoke_url").into_iter().collect(),
            api: api.map(|url| origin_of(&url)).collect(),
        };
        if let Some(issuer) = filled("/auth/issuer") {
            places.token.insert(format!("{issuer}/token"));
            places.revoke.insert(format!("{issuer}/revoke"));
            places.api.insert(origin_of(&issuer));
        }
        places
    }
}

impl AllowedDestinations {
    /// Whether all of them have one origin.
    pub(crate) fn all_at_origin(&self, one: &str) -> bool {
        self.token.iter().chain(&self.revoke).chain(&self.api).all(|url| origin_of(url) == one)
    }
}

pub(crate) fn origin_of(url: &str) -> String {
    Url::parse(url).unwrap().origin().ascii_serialization()
}

/// The editor's server.
#[derive(Default)]
pub(crate) struct RogueServer {
    /// Whether its answers have a refresh token.
    pub(crate) gives_refresh_token: Cell<bool>,
    pub(crate) expires_in: Cell<i64>,
    /// The account that it names for tokens that it did not issue.
    pub(crate) claimed_account: RefCell<String>,
    /// All requests that reached it, completely.
    pub(crate) requests: RefCell<Vec<String>>,
    secrets_made: Cell<u64>,
}

/// Whether the editor's server issued a token.
pub(crate) fn is_rogue_token(token: &str) -> bool {
    token.starts_with(ROGUE_SECRET_PREFIX)
}

impl RogueServer {
    /// A code for an account.
    pub(crate) fn issue_code(&self, account: &str) -> String {
        self.make_secret("code", account)
    }

    fn make_secret(&self, kind: &str, account: &str) -> String {
        self.secrets_made.set(self.secrets_made.get() + 1);
        format!("{ROGUE_SECRET_PREFIX}{kind}_{}_{account}", self.secrets_made.get())
    }

    /// The account of a code or token.
    fn account_of(&self, token: &str) -> String {
        let own = token.strip_prefix(ROGUE_SECRET_PREFIX).and_then(|rest| rest.splitn(3, '_').nth(2));
        own.map_or_else(|| self.claimed_account.borrow().clone(), ToOwned::to_owned)
    }

    /// Answers requests to the editor's host, and to addresses of the app's host that are not the app's.
    pub(crate) fn respond(&self, request: &OutboundRequest) -> Option<AppResponse> {
        let url = request.url.url();
        let at_home = url.origin().ascii_serialization() == APP_ORIGIN;
        if at_home && !url.path().starts_with(ROGUE_PATH) {
            return None;
        }
        self.requests.borrow_mut().push(super::secret_tracker::request_as_text(request));
        let path = url.path().strip_prefix(ROGUE_PATH).unwrap_or(url.path());
        let body = request.body.as_deref().unwrap_or_default();
        let form = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(body.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let answer = match path {
            "/token" => self.issue_tokens(&form("code").or(form("refresh_token")).unwrap_or_default()),
            "/me" => {
                let account = self.account_of(bearer_token(request).unwrap_or_default());
                json!({ "sub": format!("id-{account}"), "email": format!("{account}@acme.example") })
            }
            "/.well-known/openid-configuration" => {
                let base = if at_home { format!("{APP_ORIGIN}{ROGUE_PATH}") } else { ROGUE_ORIGIN.to_owned() };
                json!({
                    "issuer": base,
                    "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"),
                    "revocation_endpoint": format!("{base}/revoke"),
                    "userinfo_endpoint": format!("{base}/me"),
                })
            }
            _ => json!({}),
        };
        Some(text_response(200, &answer.to_string(), vec![]))
    }

    fn issue_tokens(&self, of: &str) -> Value {
        let account = self.account_of(of);
        let mut answer = json!({
            "access_token": self.make_secret("at", &account),
            "token_type": "bearer",
            "expires_in": self.expires_in.get(),
        });
        if self.gives_refresh_token.get() {
            answer["refresh_token"] = self.make_secret("rt", &account).into();
        }
        answer
    }
}
