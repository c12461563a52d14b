//! What stands for a client, a person and an app's answers. Secrets are named `made-up-…`, as far as patterns let them.

use std::collections::BTreeMap;

use connections::app::{App, Kind, Origin, Values, read_fields};
use connections::connection::{Account, Connection, Status};
use connections::credential::{Credential, Token};
use connections::ids::{ConnectionId, WorkspaceId};
use connections::secret::Secret;
use connections::time::Timestamp;
use serde_json::Value;

pub(crate) const CLIENT_ID: &str = "made-up-client-id";
pub(crate) const CLIENT_SECRET: &str = "made-up-client-secret";
pub(crate) const CODE: &str = "made-up-code";
pub(crate) const STATE: &str = "made-up-state";
pub(crate) const VERIFIER: &str = "made-up-verifier-made-up-verifier-made-up-verifier";
pub(crate) const ACCESS_TOKEN: &str = "made-up-access-token";
pub(crate) const REFRESH_TOKEN: &str = "made-up-refresh-token";
pub(crate) const ASSERTION: &str = "made-up-assertion";
pub(crate) const ACCOUNT_ID: &str = "made-up-account-id";
pub(crate) const ACCOUNT_LABEL: &str = "someone@acme.example";
pub(crate) const REDIRECT_URI: &str = "https://connections.acme.example/oauth/callback/cli_made_up";

/// Values that must have a form, by app, way or `variables`, and name.
const FORMS: &str = include_str!("made_up.json");

/// 2026-11-23 00:00 UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_795_392_000)
}

fn form(app: &App, group: &str, name: &str) -> Option<String> {
    let forms: Value = serde_json::from_str(FORMS).unwrap();
    forms.get(app.id.as_str())?.get(group)?.get(name)?.as_str().map(str::to_owned)
}

/// A value for each variable; each is one that the program would take.
pub(crate) fn variables(app: &App) -> BTreeMap<String, String> {
    let one = |(name, variable): (&String, &connections::app::Variable)| {
        let given = form(app, "variables", name).or_else(|| variable.example.clone());
        let value =
            given.or_else(|| variable.default.clone()).unwrap_or_else(|| format!("made-up-{}", name.replace('_', "-")));
        let plain = variable.read(&value);
        (name.clone(), plain.unwrap_or_else(|problem| panic!("{}: made_up.json: variable {name} {problem}", app.id)))
    };
    app.variables.iter().map(one).collect()
}

/// Those that are known before the app has answered anything.
pub(crate) fn variables_before(app: &App) -> BTreeMap<String, String> {
    let told =
        |name: &String| app.variables.get(name).is_some_and(|one| matches!(one.from, Origin::Person | Origin::Client));
    variables(app).into_iter().filter(|(name, _)| told(name)).collect()
}

/// What a person entered; the program took it.
pub(crate) fn fields(app: &App) -> BTreeMap<String, Secret> {
    let value =
        |id: &str| form(app, app.way.as_str(), id).unwrap_or_else(|| format!("made-up-{}", id.replace('_', "-")));
    let entered = app.fields.iter().map(|field| (field.id.clone(), Secret::new(value(&field.id)))).collect();
    read_fields(app, &entered).unwrap_or_else(|problems| panic!("{}: made_up.json: {problems:?}", app.id))
}

/// What a connection of this way holds.
pub(crate) fn credential(app: &App) -> Credential {
    let token = |access: &str, refresh: &str| Token {
        owner: None,
        access_token: Secret::new(access),
        token_type: "Bearer".to_owned(),
        refresh_token: (app.kind == Kind::OAuth2).then(|| Secret::new(refresh)),
        previous: None,
        expires_at: None,
        lifetime: None,
    };
    let further = app.server().into_iter().flat_map(|server| server.tokens.keys());
    Credential {
        token: app.kind.has_tokens().then(|| token(ACCESS_TOKEN, REFRESH_TOKEN)),
        others: further
            .map(|name| (name.clone(), token(&format!("{ACCESS_TOKEN}-{name}"), &format!("{REFRESH_TOKEN}-{name}"))))
            .collect(),
        fields: fields(app),
    }
}

/// What places are filled with once the app has answered.
pub(crate) fn values(app: &App, variables: &BTreeMap<String, String>) -> Values {
    connections::server::values(app, &credential(app), variables)
}

/// A connection of this way.
pub(crate) fn connection(app: &App) -> Connection {
    Connection {
        id: ConnectionId::parse("con_madeupmadeupmadeupmade").unwrap(),
        workspace: WorkspaceId::parse("ws_madeupmadeupmadeupmade").unwrap(),
        app: app.id.clone(),
        app_revision: 0,
        way: app.way.clone(),
        kind: app.kind,
        variables: variables(app),
        destinations: None,
        client: None,
        name: app.name.clone(),
        user: None,
        metadata: BTreeMap::new(),
        allowed_workflows: None,
        account: Some(Account { id: ACCOUNT_ID.to_owned(), label: ACCOUNT_LABEL.to_owned() }),
        scopes_requested: app.default_scopes(),
        scopes_granted: app.default_scopes(),
        created_at: now(),
        connected_at: now(),
        last_used_at: None,
        generation: 1,
        version: 1,
        status: Status::Connected,
        reason: None,
        sealed_credential: None,
        expires_at: None,
        refreshable: app.kind == Kind::OAuth2,
        refreshed_at: None,
        refresh_expires_at: None,
        refresh_idle_until: None,
        grant_expires_at: None,
        intent: None,
        ambiguous_token_hash: None,
        ambiguous_since: None,
        next_attempt_at: now(),
        failures: 0,
        last_error: None,
        refused: None,
        checked_at: None,
        check_evidence: None,
        next_check_at: None,
        nothing_shared: None,
        definition_changed: None,
    }
}
