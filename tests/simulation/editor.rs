//! A hostile editor: somebody who may change the definitions of a workspace's own apps, and a server of theirs.
//!
//! Owns what they write into a definition (editions), what their server answers, and the addresses that each edition
//! names. The server takes every code and every token, and answers as the app would; it can send people on to the
//! app's own page with the client id and the redirect URI that the app knows. What may reach it is judged in
//! secrets.rs.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use connections::ports::{Inbound, Outbound};
use serde_json::{Value, json};
use url::Url;

use crate::support::acme::{REALM, bearer, inbound};
use crate::support::scene::merge;

/// The app's own origin, which is its issuer, too.
pub(crate) const HONEST: &str = "https://acme.example";
/// The editor's own origin.
const ROGUE: &str = "https://rogue.example";
/// What the paths of the editor's tenant begin with, at the app's host.
const TENANT: &str = "/rogue";
/// What all that the editor's server gives begins with.
const MADE_BY_ROGUE: &str = "rogue-";
/// The other app of the workspace: people enter a key for it.
pub(crate) const KEYED_APP: &str = "keyed";

/// How the app's own definition tells its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// They are written down.
    Written,
    /// They have a placeholder, which the person fills: one host has many authorization servers.
    Placeholder,
    /// They are discovered at an issuer.
    Discovered,
}

/// What a plan with a hostile editor is played on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ground {
    pub(crate) endpoints: Endpoints,
    /// The client has no secret.
    pub(crate) public: bool,
    /// The editor's server gives refresh tokens.
    pub(crate) rogue_renews: bool,
}

/// What the editor enters as the client beside a new definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Nothing.
    Nothing,
    /// The same client id without a secret.
    SameId,
    /// The same client id with a secret of the editor's.
    WrongSecret,
    /// A client id of the editor's.
    OtherId,
}

/// How a person is led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Led {
    /// The editor's server sends them on to the app's own page.
    pub(crate) bounced: bool,
    /// They fill the placeholder with the editor's realm.
    pub(crate) to_rogue_realm: bool,
    /// Milliseconds that they take to read our own page.
    pub(crate) reads: u32,
    /// Milliseconds that they take at the app.
    pub(crate) lingers: i64,
}

/// What the editor puts in the place of a discovery document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// The app's issuer, with the editor's token endpoint.
    RogueToken,
    /// The app's issuer, with the editor's endpoints.
    RogueAll,
    /// What the program itself stored for another issuer.
    OfOtherIssuer,
}

impl Document {
    pub(crate) fn text(self) -> String {
        let authorize = if self == Self::RogueAll { ROGUE } else { HONEST };
        json!({
            "issuer": HONEST,
            "authorization_endpoint": format!("{authorize}/authorize"),
            "token_endpoint": format!("{ROGUE}/token"),
            "revocation_endpoint": format!("{ROGUE}/revoke"),
            "userinfo_endpoint": format!("{authorize}/me"),
        })
        .to_string()
    }
}

impl Ground {
    /// What the addresses of the app's own authorization server begin with.
    pub(crate) fn server(self) -> String {
        let realm = if self.endpoints == Endpoints::Placeholder { REALM } else { "" };
        format!("{HONEST}{realm}")
    }

    /// What is changed about the usual definition to have the app's own.
    pub(crate) fn honest(self) -> Value {
        let usual = json!({
            "request": { "base_url": "https://acme.example/api/" },
            "check": { "url": "https://acme.example/me" },
        });
        let own = match self.endpoints {
            Endpoints::Written => json!({}),
            Endpoints::Placeholder => json!({
                "variables": { "realm": { "label": "Realm", "pattern": "main", "default": "main" } },
                "auth": {
                    "authorize_url": "https://acme.example/{realm}/authorize",
                    "token_url": "https://acme.example/{realm}/token",
                    "revoke_url": "https://acme.example/{realm}/revoke",
                },
            }),
            Endpoints::Discovered => json!({
                "auth": { "issuer": HONEST, "authorize_url": null, "token_url": null, "revoke_url": null },
            }),
        };
        merged(usual, &own)
    }

    /// What the editor changes about that.
    pub(crate) fn editions(self) -> Vec<Value> {
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
        let tenant = format!("{HONEST}{TENANT}");
        let mut all = vec![
            json!({ "identity": { "url": format!("{ROGUE}/me") } }),
            json!({ "check": { "url": format!("{ROGUE}/me") } }),
            json!({ "request": { "base_url": format!("{ROGUE}/api/") } }),
        ];
        if self.endpoints == Endpoints::Discovered {
            all.extend([
                written(json!({ "issuer": ROGUE })),
                written(json!({ "issuer": tenant })),
                merged(json!({ "auth": { "issuer": null } }), &at(ROGUE)),
                merged(json!({ "auth": { "issuer": null } }), &at(&tenant)),
                json!({ "auth": {
                    "issuer": null,
                    "authorize_url": format!("{HONEST}/authorize"),
                    "token_url": format!("{ROGUE}/token"),
                }}),
            ]);
            return all;
        }
        all.extend([
            at(ROGUE),
            at(&tenant),
            json!({ "auth": at(ROGUE)["auth"] }),
            written(json!({ "token_url": format!("{ROGUE}/token") })),
            written(json!({ "token_url": format!("{tenant}/token") })),
            written(json!({ "authorize_url": format!("{ROGUE}/authorize") })),
            written(json!({ "refresh_url": format!("{ROGUE}/token") })),
            written(json!({ "revoke_url": format!("{ROGUE}/revoke") })),
            written(json!({ "revoke_url": format!("{tenant}/revoke") })),
        ]);
        if self.endpoints == Endpoints::Placeholder {
            all.extend([
                json!({ "variables": { "realm": { "pattern": null } } }),
                json!({ "variables": { "realm": { "pattern": null, "default": "rogue" } } }),
                json!({ "variables": { "realm": { "pattern": "[a-z]+" } } }),
            ]);
        }
        all
    }
}

/// The first with the changes of the second, where what is to be taken away still stands as null.
pub(crate) fn merged(mut base: Value, patch: &Value) -> Value {
    // A member that is to be taken away must still be told so.
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

/// A definition of the usual app with these changes, in their order.
pub(crate) fn definition_with(changes: &[&Value]) -> Value {
    let mut definition = crate::support::scene::definition();
    for change in changes {
        merge(&mut definition, change);
    }
    definition
}

/// The definition of the app that people enter a key for, as it is and as the editor changes it.
pub(crate) fn keyed(edition: usize) -> Value {
    let mut definition = json!({
        "id": KEYED_APP,
        "name": "Keyed",
        "auth": { "type": "api_key" },
        "identity": { "url": format!("{HONEST}/me"), "id": "/sub", "label": "/email" },
        "check": { "url": format!("{HONEST}/me") },
        "request": { "base_url": format!("{HONEST}/api/") },
    });
    let edited = match edition {
        0 => json!({}),
        1 => json!({ "identity": { "url": format!("{ROGUE}/me") } }),
        2 => json!({ "check": { "url": format!("{ROGUE}/me") } }),
        3 => json!({ "request": { "base_url": format!("{ROGUE}/api/") } }),
        _ => json!({ "identity": { "url": format!("{ROGUE}/me") }, "check": null }),
    };
    merge(&mut definition, &edited);
    definition
}

/// Editions of [`keyed`], with the honest one.
pub(crate) const KEYED_EDITIONS: usize = 5;

/// Addresses that a secret was given for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) token: BTreeSet<String>,
    pub(crate) revoke: BTreeSet<String>,
    /// Origins.
    pub(crate) api: BTreeSet<String>,
}

impl Places {
    /// The app's own.
    pub(crate) fn honest(ground: Ground) -> Self {
        let one = |text: &str| BTreeSet::from([format!("{}{text}", ground.server())]);
        Self { token: one("/token"), revoke: one("/revoke"), api: BTreeSet::from([HONEST.to_owned()]) }
    }

    /// Those of a definition, read without the program's help.
    pub(crate) fn of(definition: &Value, realm: &str) -> Self {
        let filled = |at: &str| {
            let text = definition.pointer(at).and_then(Value::as_str);
            text.map(|text| text.replace("{realm}", realm))
        };
        let api = ["/identity/url", "/check/url", "/request/base_url"].iter().filter_map(|at| filled(at));
        let mut places = Self {
            token: ["/auth/token_url", "/auth/refresh_url"].iter().filter_map(|at| filled(at)).collect(),
            revoke: filled("/auth/revoke_url").into_iter().collect(),
            api: api.map(|url| origin(&url)).collect(),
        };
        if let Some(issuer) = filled("/auth/issuer") {
            places.token.insert(format!("{issuer}/token"));
            places.revoke.insert(format!("{issuer}/revoke"));
            places.api.insert(origin(&issuer));
        }
        places
    }
}

impl Places {
    /// Whether all of them have one origin.
    pub(crate) fn is_at(&self, one: &str) -> bool {
        self.token.iter().chain(&self.revoke).chain(&self.api).all(|url| origin(url) == one)
    }
}

pub(crate) fn origin(url: &str) -> String {
    Url::parse(url).unwrap().origin().ascii_serialization()
}

/// The editor's server.
#[derive(Default)]
pub(crate) struct Rogue {
    /// Whether its answers have a refresh token.
    pub(crate) renews: Cell<bool>,
    pub(crate) expires_in: Cell<i64>,
    /// The account that it says a token is of which it did not make.
    pub(crate) claims: RefCell<String>,
    /// All requests that reached it, whole.
    pub(crate) log: RefCell<Vec<String>>,
    made: Cell<u64>,
}

/// Whether the editor's server has made a token.
pub(crate) fn is_rogue(token: &str) -> bool {
    token.starts_with(MADE_BY_ROGUE)
}

impl Rogue {
    /// A code for an account.
    pub(crate) fn code(&self, account: &str) -> String {
        self.named("code", account)
    }

    fn named(&self, kind: &str, account: &str) -> String {
        self.made.set(self.made.get() + 1);
        format!("{MADE_BY_ROGUE}{kind}_{}_{account}", self.made.get())
    }

    /// Whose something is.
    fn account(&self, token: &str) -> String {
        let own = token.strip_prefix(MADE_BY_ROGUE).and_then(|rest| rest.splitn(3, '_').nth(2));
        own.map_or_else(|| self.claims.borrow().clone(), ToOwned::to_owned)
    }

    /// Answers what comes to the editor's host, and to any address of the app's host that is not the app's.
    pub(crate) fn answer(&self, request: &Outbound) -> Option<Inbound> {
        let url = request.url.url();
        let at_home = url.origin().ascii_serialization() == HONEST;
        if at_home && !url.path().starts_with(TENANT) {
            return None;
        }
        self.log.borrow_mut().push(super::secrets::whole(request));
        let path = url.path().strip_prefix(TENANT).unwrap_or(url.path());
        let body = request.body.as_deref().unwrap_or_default();
        let form = |name: &str| {
            let mut pairs = url::form_urlencoded::parse(body.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let answer = match path {
            "/token" => self.tokens(&form("code").or(form("refresh_token")).unwrap_or_default()),
            "/me" => {
                let account = self.account(bearer(request).unwrap_or_default());
                json!({ "sub": format!("id-{account}"), "email": format!("{account}@acme.example") })
            }
            "/.well-known/openid-configuration" => {
                let base = if at_home { format!("{HONEST}{TENANT}") } else { ROGUE.to_owned() };
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
        Some(inbound(200, &answer.to_string(), vec![]))
    }

    fn tokens(&self, of: &str) -> Value {
        let account = self.account(of);
        let mut answer = json!({
            "access_token": self.named("at", &account),
            "token_type": "bearer",
            "expires_in": self.expires_in.get(),
        });
        if self.renews.get() {
            answer["refresh_token"] = self.named("rt", &account).into();
        }
        answer
    }
}
