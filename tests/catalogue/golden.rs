//! What would be sent to each app, with made-up clients, codes and tokens: `golden/<app>.txt`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use connections::app::{App, Definition, Grant, Kind, Origin, Probe, Resolved};
use connections::connect::start::{Asks, authorize_url};
use connections::destinations::Destinations;
use connections::ports::Outbound;
use connections::resolve::Issued;
use connections::secret::Secret;
use connections::token::{
    ClientKeys, GrantClaims, LONGEST_GRANT, Parties, Proof, TokenHint, exchange_request, mint_request, probe_request,
    refresh_request, revoke_request,
};

use crate::{apps, kept, made_up, none_of, strangers, written};

#[test]
fn requests_are_those_that_were_read_by_a_person() {
    let told = apps().filter_map(|app| kept(&format!("tests/catalogue/golden/{}.txt", app.id), &requests(&app)));
    none_of(&told.chain(strangers("tests/catalogue/golden", "txt")).collect::<Vec<_>>());
}

fn requests(app: &Definition) -> String {
    let mut text = format!("{}\n", app.name);
    for way in app.ways() {
        let name = way.way_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        write!(text, "\n== {}: {}{name}\n", way.way, way.kind.as_str()).unwrap();
        for (what, request) in of_way(way) {
            write!(text, "\n-- {what}\n{request}").unwrap();
        }
    }
    text
}

/// Titles and requests of a way, in the order of a connection's life.
pub(crate) fn of_way(app: &App) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let known = made_up::variables_before(app);
    let at = app.resolve_fixed(&made_up::values(app, &known));
    let at = at.map(|at| at.unwrap_or_else(|problem| panic!("{} {}: {problem}", app.id, app.way)));
    if let Some(at) = &at {
        all.extend(authorize(app, at));
        all.extend(token_requests(app, at));
    }
    let probes = at.as_ref().map_or_else(|| app.identity.clone(), |at| at.identity.clone());
    let (identity, named_by) = probes.map_or((None, None), |identity| (identity.probe, identity.named_by));
    let probes = [
        ("identity", identity),
        ("what the account is called", named_by.map(|named| named.probe)),
        ("check", app.check.clone()),
        ("is nothing shared", app.nothing_shared.as_ref().map(|shared| shared.probe.clone())),
    ];
    let mut variables = made_up::variables(app);
    // What only the identity's answer tells is not known when it is asked.
    variables.retain(|name, _| {
        !matches!(app.variables.get(name).map(|one| &one.from), Some(connections::app::Origin::Identity(_)))
    });
    for (what, probe) in &probes {
        let Some(probe) = probe else { continue };
        all.push(((*what).to_owned(), probed(app, probe, &variables)));
    }
    all.extend(checked_by_identity(app, &all));
    all.push(("a step's request".to_owned(), step(app)));
    if let Some(at) = &at {
        all.extend(revocations(app, at));
    }
    all
}

fn probed(app: &App, probe: &Probe, variables: &BTreeMap<String, String>) -> String {
    let destinations = destinations(app, None, variables);
    let request = probe_request(probe, app, &made_up::values(app, variables), &destinations);
    sent(app, request.unwrap_or_else(|problem| panic!("{} {}: {problem}", app.id, app.way)))
}

/// A request as it is sent: no secret in it goes where it must not.
fn sent(app: &App, request: Outbound) -> String {
    match request.permitted() {
        Ok(permitted) => written::request(&permitted),
        Err(kind) => panic!("{} {}: {kind:?} must not go there", app.id, app.way),
    }
}

/// The request for the identity as a check sends it, where what the app has told by then makes it another.
fn checked_by_identity(app: &App, known: &[(String, String)]) -> Option<(String, String)> {
    let probe = app.identity.as_ref()?.probe.as_ref().filter(|_| app.check.is_none())?;
    let text = probed(app, probe, &made_up::variables(app));
    known.iter().all(|(_, other)| *other != text).then(|| ("check".to_owned(), text))
}

fn authorize(app: &App, at: &Resolved) -> Vec<(String, String)> {
    let Some(address) = &at.authorize_url else { return vec![] };
    let (state, verifier) = (Secret::new(made_up::STATE), Secret::new(made_up::VERIFIER));
    let (usual, variables) = (app.default_scopes(), made_up::variables_before(app));
    let asks = Asks {
        client_id: made_up::CLIENT_ID,
        redirect_uri: made_up::REDIRECT_URI,
        state: &state,
        verifier: app.server().is_some_and(|server| server.pkce).then_some(&verifier),
        scopes: &usual,
        granted: None,
        account: None,
        variables: &variables,
    };
    let written = |asks: &Asks<'_>| format!("GET {}", written::address(&authorize_url(app, address, asks).unwrap()));
    let mut all = vec![("authorize".to_owned(), written(&asks))];
    for more in more_scopes(app, &usual) {
        let with_more: Vec<_> = usual.iter().chain([more]).cloned().collect();
        let again = Asks { scopes: &with_more, granted: Some(&usual), account: Some(made_up::ACCOUNT_LABEL), ..asks };
        all.push((format!("authorize again, with {more}"), written(&again)));
    }
    all
}

/// The first scope that is not asked for when nobody chooses, and the first such of each further token.
fn more_scopes<'a>(app: &'a App, usual: &[String]) -> Vec<&'a String> {
    let others = || app.scopes.iter().map(|scope| &scope.id).filter(|id| !usual.contains(id) && !app.covers(usual, id));
    let further = app.server().into_iter().flat_map(|server| server.tokens.keys());
    let of_further = further.filter_map(|name| others().find(|id| id.starts_with(&format!("{name}:"))));
    others().next().into_iter().chain(of_further).collect()
}

/// Where what is sent may go: every request of the catalogue fits it.
fn destinations(app: &App, at: Option<&Resolved>, variables: &BTreeMap<String, String>) -> Rc<Destinations> {
    Rc::new(Destinations::of_grant(app, at, variables))
}

fn keys(app: &App) -> ClientKeys {
    let entered = made_up::fields(app);
    let known = made_up::variables(app);
    let of_client =
        known.iter().filter(|(name, _)| app.variables.get(*name).is_some_and(|one| one.from == Origin::Client));
    let of_client = of_client.map(|(name, value)| (name.clone(), value.clone())).collect();
    match (app.kind, entered.get("client_id")) {
        (Kind::OAuth2, _) => {
            let secret = Proof::Secret(Secret::new(made_up::CLIENT_SECRET));
            ClientKeys::new(made_up::CLIENT_ID, secret, &Rc::new(Destinations::of_client(app, &of_client)))
        }
        (_, Some(id)) => {
            let at = app.resolve_fixed(&made_up::values(app, &known)).map(Result::unwrap);
            let destinations = destinations(app, at.as_ref(), &known);
            ClientKeys::entered(id.expose(), entered.get("client_secret").cloned(), &destinations)
        }
        (_, None) => ClientKeys::nobody(),
    }
}

fn token_requests(app: &App, at: &Resolved) -> Vec<(String, String)> {
    let server = app.oauth2().unwrap();
    let values = made_up::values(app, &made_up::variables_before(app));
    let keys = keys(app);
    let destinations = destinations(app, Some(at), &made_up::variables_before(app));
    let of = Parties { server, at, client: &keys, values: &values, destinations: &destinations };
    let scopes = app.default_scopes();
    let named = |what: &str, request| (what.to_owned(), sent(app, request));
    match &server.grant {
        Grant::AuthorizationCode => {
            let verifier = server.pkce.then(|| Secret::new(made_up::VERIFIER));
            let code = Secret::new(made_up::CODE);
            let exchange = exchange_request(&of, &code, made_up::REDIRECT_URI, verifier.as_ref()).unwrap();
            let refresh_token = Secret::new(made_up::REFRESH_TOKEN);
            let refresh = refresh_request(&of, &refresh_token, &scopes, made_up::REDIRECT_URI).unwrap();
            vec![named("exchange", exchange), named("refresh", refresh)]
        }
        Grant::ClientCredentials { .. } => vec![named("mint", mint_request(&of, None, &scopes).unwrap())],
        Grant::ServiceAccount(_) => {
            let scope = scopes.join(&server.scope_separator);
            let claims = connections::token::Claims::grant(
                GrantClaims {
                    issuer: "made-up-service-account@acme.example",
                    subject: Some(made_up::ACCOUNT_LABEL),
                    audience: at.token_url.as_str(),
                    scope: Some(scope.as_str()).filter(|scope| !scope.is_empty()),
                    lifetime: LONGEST_GRANT,
                },
                made_up::now(),
            );
            let claims = serde_json::to_string_pretty(&claims).unwrap();
            let claims = claims.lines().fold(String::new(), |text, line| text + "  " + line + "\n");
            let mint = mint_request(&of, Some(&Secret::new(made_up::ASSERTION)), &scopes).unwrap();
            vec![("claims of the assertion".to_owned(), claims), named("mint", mint)]
        }
    }
}

fn revocations(app: &App, at: &Resolved) -> Vec<(String, String)> {
    let keys = keys(app);
    let values = made_up::values(app, &made_up::variables(app)).with("account_id", made_up::ACCOUNT_ID);
    let destinations = destinations(app, Some(at), &made_up::variables(app));
    let of = Parties { server: app.oauth2().unwrap(), at, client: &keys, values: &values, destinations: &destinations };
    let hints = [
        ("refresh token", TokenHint::RefreshToken, made_up::REFRESH_TOKEN),
        ("access token", TokenHint::AccessToken, made_up::ACCESS_TOKEN),
    ];
    let has = |hint: TokenHint| app.kind == Kind::OAuth2 || hint == TokenHint::AccessToken;
    let requests = hints.into_iter().filter(|(_, hint, _)| has(*hint)).filter_map(|(name, hint, token)| {
        let request = revoke_request(&of, &Secret::new(token), hint).unwrap()?;
        Some((format!("revoke the {name}"), sent(app, request)))
    });
    let mut requests: Vec<_> = requests.collect();
    // The same request for both is sent once.
    requests.dedup_by(|(_, access), (_, refresh)| access == refresh);
    requests
}

fn step(app: &App) -> String {
    let issued = Issued::of(app, &made_up::connection(app), &made_up::credential(app));
    let issued = issued.unwrap_or_else(|problem| panic!("{} {}: {problem}", app.id, app.way));
    written::dressed(&issued.request)
}
