//! Made-up values for a client, a person and an app's responses. Secrets are named `made-up-…` if patterns permit it.

use std::collections::BTreeMap;

use connections::account::Account;
use connections::app::{AuthMethod, CredentialKind, TemplateValues, VariableSource, read_fields};
use connections::connection::{Connection, ConnectionStatus};
use connections::credential::{Credential, StoredToken};
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

/// Values that must have a certain form, by app, auth method or `variables`, and name.
const GIVEN_VALUES: &str = include_str!("made_up.json");

/// 2026-11-23 00:00 UTC.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_unix(1_795_392_000)
}

fn given_value(auth_method: &AuthMethod, group: &str, name: &str) -> Option<String> {
    let forms: Value = serde_json::from_str(GIVEN_VALUES).unwrap();
    forms.get(auth_method.app_id.as_str())?.get(group)?.get(name)?.as_str().map(str::to_owned)
}

/// A valid value for each variable.
pub(crate) fn variables(auth_method: &AuthMethod) -> BTreeMap<String, String> {
    let one = |(name, variable): (&String, &connections::app::Variable)| {
        let given = given_value(auth_method, "variables", name).or_else(|| variable.example.clone());
        let value =
            given.or_else(|| variable.default.clone()).unwrap_or_else(|| format!("made-up-{}", name.replace('_', "-")));
        let plain = variable.parse_value(&value);
        (
            name.clone(),
            plain.unwrap_or_else(|problem| panic!("{}: made_up.json: variable {name} {problem}", auth_method.app_id)),
        )
    };
    auth_method.variables.iter().map(one).collect()
}

/// The variables that are known before the app has responded.
pub(crate) fn variables_before_response(auth_method: &AuthMethod) -> BTreeMap<String, String> {
    let told = |name: &String| {
        auth_method
            .variables
            .get(name)
            .is_some_and(|one| matches!(one.source, VariableSource::Person | VariableSource::Client))
    };
    variables(auth_method).into_iter().filter(|(name, _)| told(name)).collect()
}

/// What a person entered. The program accepted it.
pub(crate) fn manual_fields(auth_method: &AuthMethod) -> BTreeMap<String, Secret> {
    let value = |id: &str| {
        given_value(auth_method, auth_method.method_id.as_str(), id)
            .unwrap_or_else(|| format!("made-up-{}", id.replace('_', "-")))
    };
    let entered = auth_method.fields.iter().map(|field| (field.id.clone(), Secret::new(value(&field.id)))).collect();
    read_fields(auth_method, &entered).unwrap_or_else(|problems| {
        panic!("{}: add values to tests/catalogue/made_up.json: {problems:?}", auth_method.app_id)
    })
}

/// The credential of a connection with this auth method.
pub(crate) fn credential(auth_method: &AuthMethod) -> Credential {
    let token = |access: &str, refresh: &str| StoredToken {
        owner: None,
        access_token: Secret::new(access),
        token_type: "Bearer".to_owned(),
        refresh_token: (auth_method.kind == CredentialKind::OAuth2).then(|| Secret::new(refresh)),
        previous: None,
        expires_at: None,
        lifetime: None,
    };
    let further = auth_method.oauth_server().into_iter().flat_map(|server| server.tokens.keys());
    Credential {
        token: auth_method.kind.uses_oauth_server().then(|| token(ACCESS_TOKEN, REFRESH_TOKEN)),
        other_tokens: further
            .map(|name| (name.clone(), token(&format!("{ACCESS_TOKEN}-{name}"), &format!("{REFRESH_TOKEN}-{name}"))))
            .collect(),
        fields: manual_fields(auth_method),
    }
}

/// The values of placeholders after the app has responded.
pub(crate) fn template_values(auth_method: &AuthMethod, variables: &BTreeMap<String, String>) -> TemplateValues {
    connections::client_auth::template_values(auth_method, &credential(auth_method), variables)
}

/// A connection with this auth method.
pub(crate) fn connection(auth_method: &AuthMethod) -> Connection {
    Connection {
        id: ConnectionId::parse("con_madeupmadeupmadeupmade").unwrap(),
        workspace: WorkspaceId::parse("ws_madeupmadeupmadeupmade").unwrap(),
        app: auth_method.app_id.clone(),
        app_revision: 0,
        auth_method: auth_method.method_id.clone(),
        kind: auth_method.kind,
        variables: variables(auth_method),
        destinations: None,
        client: None,
        name: auth_method.app_name.clone(),
        user: None,
        shared: true,
        environment: None,
        metadata: BTreeMap::new(),
        allowed_workflows: None,
        account: Some(Account { id: ACCOUNT_ID.to_owned(), label: ACCOUNT_LABEL.to_owned() }),
        scopes_requested: auth_method.default_scopes(),
        scopes_granted: auth_method.default_scopes(),
        created_at: now(),
        connected_at: now(),
        last_used_at: None,
        generation: 1,
        version: 1,
        status: ConnectionStatus::Connected,
        reason: None,
        sealed_credential: None,
        expires_at: None,
        refreshable: auth_method.kind == CredentialKind::OAuth2,
        refreshed_at: None,
        refresh_expires_at: None,
        refresh_idle_until: None,
        grant_expires_at: None,
        lease: None,
        ambiguous_token_hash: None,
        ambiguous_since: None,
        next_attempt_at: now(),
        failures: 0,
        last_error: None,
        refusal: None,
        checked_at: None,
        check_evidence: None,
        next_check_at: None,
        nothing_shared: None,
        definition_changed: None,
    }
}
