//! Compares the requests to each app, with made-up clients, codes and tokens, with `golden/<app>.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use connections::app::{App, AuthMethod, CredentialKind, GrantType, Probe, ResolvedEndpoints, VariableSource};
use connections::connect::start::{AuthorizeParams, authorize_url};
use connections::destinations::Destinations;
use connections::ports::OutboundRequest;
use connections::resolve::CredentialPayload;
use connections::secret::Secret;
use connections::token::{
    ClientIdentity, ClientProof, GrantClaims, MAX_GRANT_ASSERTION_LIFETIME, TokenRequestContext, TokenTypeHint,
    build_exchange_request, build_issue_request, build_probe_request, build_refresh_request, build_revocation_request,
};

use crate::{apps, assert_no_errors, compare_or_update, find_orphan_files, made_up, request_text};

#[test]
fn requests_match_the_reviewed_golden_files() {
    let told = apps().filter_map(|app| {
        compare_or_update(&format!("tests/catalogue/golden/{}.txt", app.id), &app_requests_text(&app))
    });
    assert_no_errors(&told.chain(find_orphan_files("tests/catalogue/golden", "txt")).collect::<Vec<_>>());
}

fn app_requests_text(app: &App) -> String {
    let mut text = format!("{}\n", app.name);
    for auth_method in app.auth_methods() {
        let name = auth_method.method_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        write!(text, "\n== {}: {}{name}\n", auth_method.method_id, auth_method.kind.as_str()).unwrap();
        for (what, request) in auth_method_requests(auth_method) {
            write!(text, "\n-- {what}\n{request}").unwrap();
        }
    }
    text
}

/// Titles and requests of an auth method, in the order of a connection's lifecycle.
pub(crate) fn auth_method_requests(auth_method: &AuthMethod) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let known = made_up::variables_before_response(auth_method);
    let endpoints = auth_method.resolve_fixed_endpoints(&made_up::template_values(auth_method, &known));
    let endpoints = endpoints.map(|endpoints| {
        endpoints.unwrap_or_else(|problem| panic!("{} {}: {problem}", auth_method.app_id, auth_method.method_id))
    });
    if let Some(endpoints) = &endpoints {
        all.extend(authorize_requests(auth_method, endpoints));
        all.extend(token_requests(auth_method, endpoints));
    }
    let probes =
        endpoints.as_ref().map_or_else(|| auth_method.identity.clone(), |endpoints| endpoints.identity.clone());
    let (identity, named_by) = probes.map_or((None, None), |identity| (identity.probe, identity.named_by));
    let probes = [
        ("identity", identity),
        ("what the account is called", named_by.map(|named| named.probe)),
        ("check", auth_method.check.clone()),
        ("is nothing shared", auth_method.nothing_shared.as_ref().map(|shared| shared.probe.clone())),
    ];
    let mut variables = made_up::variables(auth_method);
    // Values that only the identity response contains are not known when the identity request is sent.
    variables.retain(|name, _| {
        !matches!(
            auth_method.variables.get(name).map(|one| &one.source),
            Some(connections::app::VariableSource::Identity(_))
        )
    });
    for (what, probe) in &probes {
        let Some(probe) = probe else { continue };
        all.push(((*what).to_owned(), probe_text(auth_method, probe, &variables)));
    }
    all.extend(identity_check_request(auth_method, &all));
    all.push(("a step's request".to_owned(), step_request(auth_method)));
    if let Some(endpoints) = &endpoints {
        all.extend(revoke_requests(auth_method, endpoints));
    }
    all
}

fn probe_text(auth_method: &AuthMethod, probe: &Probe, variables: &BTreeMap<String, String>) -> String {
    let destinations = grant_destinations(auth_method, None, variables);
    let request =
        build_probe_request(probe, auth_method, &made_up::template_values(auth_method, variables), &destinations);
    permitted_text(
        auth_method,
        request.unwrap_or_else(|problem| panic!("{} {}: {problem}", auth_method.app_id, auth_method.method_id)),
    )
}

/// A request as it is sent. No secret in it may go to a wrong destination.
fn permitted_text(auth_method: &AuthMethod, request: OutboundRequest) -> String {
    match request.into_permitted() {
        Ok(permitted) => request_text::format_request(&permitted),
        Err(kind) => panic!("{} {}: {kind:?} must not go there", auth_method.app_id, auth_method.method_id),
    }
}

/// The identity request as a check sends it, if values from earlier responses change it.
fn identity_check_request(auth_method: &AuthMethod, known: &[(String, String)]) -> Option<(String, String)> {
    let probe = auth_method.identity.as_ref()?.probe.as_ref().filter(|_| auth_method.check.is_none())?;
    let text = probe_text(auth_method, probe, &made_up::variables(auth_method));
    known.iter().all(|(_, other)| *other != text).then(|| ("check".to_owned(), text))
}

fn authorize_requests(auth_method: &AuthMethod, endpoints: &ResolvedEndpoints) -> Vec<(String, String)> {
    let Some(address) = &endpoints.authorize_url else { return vec![] };
    let (state, verifier) = (Secret::new(made_up::STATE), Secret::new(made_up::VERIFIER));
    let (usual, variables) = (auth_method.default_scopes(), made_up::variables_before_response(auth_method));
    let params = AuthorizeParams {
        client_id: made_up::CLIENT_ID,
        redirect_uri: made_up::REDIRECT_URI,
        state: &state,
        verifier: auth_method.oauth_server().is_some_and(|server| server.pkce).then_some(&verifier),
        scopes: &usual,
        granted: None,
        account: None,
        variables: &variables,
    };
    let written = |params: &AuthorizeParams<'_>| {
        format!("GET {}", request_text::format_url(&authorize_url(auth_method, address, params).unwrap()))
    };
    let mut all = vec![("authorize".to_owned(), written(&params))];
    for more in optional_scopes(auth_method, &usual) {
        let with_more: Vec<_> = usual.iter().chain([more]).cloned().collect();
        let again = AuthorizeParams {
            scopes: &with_more,
            granted: Some(&usual),
            account: Some(made_up::ACCOUNT_LABEL),
            ..params
        };
        all.push((format!("authorize again, with {more}"), written(&again)));
    }
    all
}

/// The first scope that is not requested by default, and the first such scope of each further token.
fn optional_scopes<'a>(auth_method: &'a AuthMethod, usual: &[String]) -> Vec<&'a String> {
    let others = || {
        auth_method
            .scopes
            .iter()
            .map(|scope| &scope.id)
            .filter(|id| !usual.contains(id) && !auth_method.is_scope_granted(usual, id))
    };
    let further = auth_method.oauth_server().into_iter().flat_map(|server| server.tokens.keys());
    let of_further = further.filter_map(|name| others().find(|id| id.starts_with(&format!("{name}:"))));
    others().next().into_iter().chain(of_further).collect()
}

/// The destinations. Every request of the catalogue must match them.
fn grant_destinations(
    auth_method: &AuthMethod,
    endpoints: Option<&ResolvedEndpoints>,
    variables: &BTreeMap<String, String>,
) -> Rc<Destinations> {
    Rc::new(Destinations::for_grant(auth_method, endpoints, variables))
}

fn client_keys(auth_method: &AuthMethod) -> ClientIdentity {
    let entered = made_up::manual_fields(auth_method);
    let known = made_up::variables(auth_method);
    let of_client = known
        .iter()
        .filter(|(name, _)| auth_method.variables.get(*name).is_some_and(|one| one.source == VariableSource::Client));
    let of_client = of_client.map(|(name, value)| (name.clone(), value.clone())).collect();
    match (auth_method.kind, entered.get("client_id")) {
        (CredentialKind::OAuth2, _) => {
            let secret = ClientProof::Secret(Secret::new(made_up::CLIENT_SECRET));
            ClientIdentity::new(made_up::CLIENT_ID, secret, &Rc::new(Destinations::for_client(auth_method, &of_client)))
        }
        (_, Some(id)) => {
            let endpoints =
                auth_method.resolve_fixed_endpoints(&made_up::template_values(auth_method, &known)).map(Result::unwrap);
            let destinations = grant_destinations(auth_method, endpoints.as_ref(), &known);
            ClientIdentity::from_manual(id.expose(), entered.get("client_secret").cloned(), &destinations)
        }
        (_, None) => ClientIdentity::anonymous(),
    }
}

fn token_requests(auth_method: &AuthMethod, endpoints: &ResolvedEndpoints) -> Vec<(String, String)> {
    let server = auth_method.require_oauth_server().unwrap();
    let values = made_up::template_values(auth_method, &made_up::variables_before_response(auth_method));
    let keys = client_keys(auth_method);
    let destinations =
        grant_destinations(auth_method, Some(endpoints), &made_up::variables_before_response(auth_method));
    let of = TokenRequestContext { server, endpoints, client: &keys, values: &values, destinations: &destinations };
    let scopes = auth_method.default_scopes();
    let named = |what: &str, request| (what.to_owned(), permitted_text(auth_method, request));
    match &server.grant_type {
        GrantType::AuthorizationCode => {
            let verifier = server.pkce.then(|| Secret::new(made_up::VERIFIER));
            let code = Secret::new(made_up::CODE);
            let exchange = build_exchange_request(&of, &code, made_up::REDIRECT_URI, verifier.as_ref()).unwrap();
            let refresh_token = Secret::new(made_up::REFRESH_TOKEN);
            let refresh = build_refresh_request(&of, &refresh_token, &scopes, made_up::REDIRECT_URI).unwrap();
            vec![named("exchange", exchange), named("refresh", refresh)]
        }
        GrantType::ClientCredentials { .. } => vec![named("mint", build_issue_request(&of, None, &scopes).unwrap())],
        GrantType::JwtBearer(_) => {
            let scope = scopes.join(&server.scope_separator);
            let claims = connections::token::AssertionClaims::for_grant(
                GrantClaims {
                    issuer: "made-up-service-account@acme.example",
                    subject: Some(made_up::ACCOUNT_LABEL),
                    audience: endpoints.token_url.as_str(),
                    scope: Some(scope.as_str()).filter(|scope| !scope.is_empty()),
                    lifetime: MAX_GRANT_ASSERTION_LIFETIME,
                },
                made_up::now(),
            );
            let claims = serde_json::to_string_pretty(&claims).unwrap();
            let claims = claims.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
            let mint = build_issue_request(&of, Some(&Secret::new(made_up::ASSERTION)), &scopes).unwrap();
            vec![("claims of the assertion".to_owned(), claims), named("mint", mint)]
        }
    }
}

fn revoke_requests(auth_method: &AuthMethod, endpoints: &ResolvedEndpoints) -> Vec<(String, String)> {
    let keys = client_keys(auth_method);
    let values =
        made_up::template_values(auth_method, &made_up::variables(auth_method)).with("account_id", made_up::ACCOUNT_ID);
    let destinations = grant_destinations(auth_method, Some(endpoints), &made_up::variables(auth_method));
    let of = TokenRequestContext {
        server: auth_method.require_oauth_server().unwrap(),
        endpoints,
        client: &keys,
        values: &values,
        destinations: &destinations,
    };
    let hints = [
        ("refresh token", TokenTypeHint::RefreshToken, made_up::REFRESH_TOKEN),
        ("access token", TokenTypeHint::AccessToken, made_up::ACCESS_TOKEN),
    ];
    let has = |hint: TokenTypeHint| auth_method.kind == CredentialKind::OAuth2 || hint == TokenTypeHint::AccessToken;
    let requests = hints.into_iter().filter(|(_, hint, _)| has(*hint)).filter_map(|(name, hint, token)| {
        let request = build_revocation_request(&of, &Secret::new(token), hint).unwrap()?;
        Some((format!("revoke the {name}"), permitted_text(auth_method, request)))
    });
    let mut requests: Vec<_> = requests.collect();
    // The same request for both is listed once.
    requests.dedup_by(|(_, access), (_, refresh)| access == refresh);
    requests
}

fn step_request(auth_method: &AuthMethod) -> String {
    let issued = CredentialPayload::of_connection(
        auth_method,
        &made_up::connection(auth_method),
        &made_up::credential(auth_method),
    );
    let issued = issued.unwrap_or_else(|problem| panic!("{} {}: {problem}", auth_method.app_id, auth_method.method_id));
    request_text::format_prepared_request(&issued.request)
}
