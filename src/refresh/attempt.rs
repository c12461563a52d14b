//! One attempt to send one refresh token, from its lease in the database to the app's response.
//!
//! Owns the length of a lease, and the rule that no request outlives it; what a second use of a token may return; and
//! the previous token. Stores nothing.

use super::{RefreshContext, require_endpoints};
use crate::app::RefreshTokenRotation;
use crate::caller::hash_secret;
use crate::client_auth;
use crate::connection::Connection;
use crate::context::Context;
use crate::credential::{Credential, StoredToken, TokenName};
use crate::error::Result;
use crate::ports::{OutboundRequest, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::store::refreshes::{AttemptRef, LoadedConnection};
use crate::time::Timestamp;
use crate::token::{self, AppRefusal, ClientIdentity, RefusalClass, TokenRequestContext, TokenResponse, TokenSet};

/// Longest lease in seconds: more than the request (15 s) and storing (10 s) may take.
pub(super) const LONGEST_LEASE: i64 = 60;
/// Shortest lease in seconds.
const SHORTEST_LEASE: i64 = 10;
/// Seconds of a lease that are reserved for storing.
const PERSIST_MARGIN: i64 = 3;
/// With fewer seconds left no request is sent.
const SHORTEST_REQUEST_TIME: i64 = 5;

/// A lifetime that is computed from the database counts only from here on, in seconds.
const SHORTEST_RECORDED_LIFE: i64 = 60;

/// An attempt with a lease in the database, and its time.
pub(super) struct RefreshAttempt<'a> {
    pub(super) loaded: &'a LoadedConnection,
    pub(super) refresh_context: RefreshContext,
    pub(super) attempt: AttemptRef,
    /// The token that the lease is for.
    pub(super) selected: SelectedToken,
    /// The client's credentials. None if the token needs none.
    pub(super) client_identity: Option<ClientIdentity>,
    /// When the lease ends.
    pub(super) lease_until: Timestamp,
    /// When the first request was sent: grace periods count from there.
    pub(super) asked_at: Timestamp,
    /// Seconds by which the tokens of a response may already be old.
    pub(super) response_age: i64,
}

/// What an attempt sends: a refresh token of one of the connection's tokens, or a manual credential.
pub(super) struct SelectedToken {
    /// The token that it refreshes.
    pub(super) token_name: TokenName,
    /// The secret that is sent.
    pub(super) secret: Secret,
    /// Whether it is a manual credential and not a refresh token.
    pub(super) issues_tokens: bool,
}

/// Selects what to send next. A token whose use has an unknown result comes first, so that it is not forgotten; then
/// the one that expires first.
pub(super) fn select_token(refresh_context: &RefreshContext, connection: &Connection) -> Option<SelectedToken> {
    if refresh_context.auth_method.issues_tokens() {
        let name = refresh_context.auth_method.first_secret_field()?;
        let secret = refresh_context.credential.fields.get(name)?.clone();
        return Some(SelectedToken { token_name: None, secret, issues_tokens: true });
    }
    let unsettled =
        [connection.ambiguous_token_hash.as_deref(), connection.lease.as_ref().map(|i| i.token_hash.as_str())];
    let order = |(_, token): &(TokenName, &StoredToken)| {
        let hash = token.refresh_token.as_ref().map(|secret| hash_secret(secret.expose()));
        let settled = !unsettled.iter().flatten().any(|known| hash.as_deref() == Some(*known));
        (settled, token.expires_at.is_none(), token.expires_at)
    };
    let (which, token) =
        refresh_context.credential.tokens().filter(|(_, token)| token.refresh_token.is_some()).min_by_key(order)?;
    Some(SelectedToken { token_name: which, secret: token.refresh_token.clone()?, issues_tokens: false })
}

/// The credentials of the workspace's client. None if a token is issued for a manual credential.
pub(super) async fn load_client_identity<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    refresh_context: &RefreshContext,
) -> Result<Option<ClientIdentity>> {
    let Some(client) = &loaded.client else { return Ok(None) };
    let endpoints = require_endpoints(refresh_context.endpoints.as_ref())?;
    client_auth::prepare_client_identity(
        context,
        client,
        &refresh_context.auth_method,
        endpoints,
        &endpoints.refresh_url,
    )
    .await
    .map(Some)
}

/// Whether another token of the grant expires clearly before the refreshed one: all are refreshed together, one after
/// the other.
pub(super) fn has_lagging_token(credential: &Credential) -> bool {
    let latest = credential.tokens().filter_map(|(_, token)| token.expires_at).max();
    let behind =
        |token: &StoredToken| token.expires_at.zip(latest).is_some_and(|(end, latest)| latest.since(end) > LARGEST_LAG);
    credential.tokens().any(|(_, token)| token.refresh_token.is_some() && behind(token))
}

/// Most seconds between the expiry of two tokens that were refreshed together.
const LARGEST_LAG: i64 = 120;

/// The length of a lease. After a crash others wait that long. If the token may be sent again the whole time is not
/// needed, and within a grace period it would be useless, because a lost response can be repeated only until the period
/// ends.
pub(super) fn lease_seconds(rotation: RefreshTokenRotation) -> i64 {
    match rotation {
        RefreshTokenRotation::Strict => LONGEST_LEASE,
        RefreshTokenRotation::None | RefreshTokenRotation::Reissue => LONGEST_LEASE / 2,
        RefreshTokenRotation::Grace(seconds) => (seconds / 2).clamp(SHORTEST_LEASE, LONGEST_LEASE),
    }
}

/// Seconds by which a response's tokens may already be old, at most: within its grace period an app returns the earlier
/// tokens again, and some say that they have their full lifetime.
pub(super) fn response_age(
    connection: &Connection,
    rotation: RefreshTokenRotation,
    token_hash: &str,
    now: Timestamp,
) -> i64 {
    let RefreshTokenRotation::Grace(seconds) = rotation else { return 0 };
    let noted = connection.ambiguous_since.filter(|_| connection.ambiguous_token_hash.as_deref() == Some(token_hash));
    let left_over = connection.lease.as_ref().filter(|lease| lease.token_hash == token_hash);
    let first = noted.or(left_over.map(|lease| lease.until.plus(-lease_seconds(rotation))));
    let age = first.map_or(0, |first| now.since(first));
    // The app may have taken a while to act. Earlier uses are outside its grace period.
    if age <= seconds + LONGEST_LEASE { age.clamp(0, seconds) } else { 0 }
}

impl RefreshAttempt<'_> {
    /// Writing the lease took so long that it would end during the request.
    pub(super) fn is_too_late(&self) -> bool {
        self.lease_until.since(self.asked_at) < PERSIST_MARGIN + SHORTEST_REQUEST_TIME
    }

    /// Milliseconds that a request may take and still end well within the lease.
    fn request_timeout_ms(&self, now: Timestamp) -> u32 {
        let seconds = (self.lease_until.since(now) - PERSIST_MARGIN).max(1);
        u32::try_from(seconds.saturating_mul(1000)).unwrap_or(u32::MAX)
    }

    /// The previous token, while the app accepts it, and the seconds since its first use.
    fn previous_token(&self, now: Timestamp) -> Option<(Secret, i64)> {
        let RefreshTokenRotation::Grace(seconds) = self.refresh_context.auth_method.rotation() else { return None };
        let previous = self.current_token()?.previous.as_ref().filter(|previous| now < previous.until)?;
        Some((previous.refresh_token.clone(), (seconds - previous.until.since(now)).clamp(0, seconds)))
    }

    /// The credential to store for a response. With a grace period, which counts from its first use, the old token is
    /// kept next to the new one.
    pub(super) fn credential_with(&self, newer: StoredToken) -> Credential {
        let grace_until = match self.refresh_context.auth_method.rotation() {
            RefreshTokenRotation::Grace(seconds) => Some(self.asked_at.plus(seconds - self.response_age)),
            _ => None,
        };
        let newer = match self.current_token() {
            Some(old) => newer.with_previous(old, grace_until),
            None => newer,
        };
        let mut credential = self.refresh_context.credential.clone();
        credential.put(&self.selected.token_name, newer);
        credential
    }

    /// The credential to store for a response. Its tokens may already be old.
    pub(super) fn renewed_credential(&self, tokens: &TokenSet) -> Credential {
        let mut newer = match self.current_token() {
            Some(old) => {
                let is_untold = tokens.expires_at.is_none();
                let lifetime = old.lifetime.or_else(|| self.lifetime_from_connection().filter(|_| is_untold));
                StoredToken { lifetime, ..old.clone() }.merged_with(tokens, self.asked_at)
            }
            None => StoredToken::from_token_set(tokens),
        };
        newer.expires_at = newer.expires_at.map(|end| end.plus(-self.response_age));
        self.credential_with(newer)
    }

    /// The lifetime of the first token, for a credential that was sealed without it. The remaining lifetime of an
    /// imported token does not count.
    fn lifetime_from_connection(&self) -> Option<i64> {
        let life = self.loaded.connection.life();
        let until = life.expires_at.filter(|_| self.selected.token_name.is_none())?;
        Some(until.since(life.issued_at)).filter(|seconds| *seconds >= SHORTEST_RECORDED_LIFE)
    }

    /// The granted scopes after a response for one of the tokens. `None` if it has none.
    pub(super) fn granted_scopes(&self, tokens: &TokenSet) -> Option<Vec<String>> {
        let said = tokens.scopes.as_ref()?;
        let server = self.refresh_context.auth_method.oauth_server()?;
        if server.tokens.is_empty() {
            return Some(said.clone());
        }
        let before = &self.loaded.connection.scopes_granted;
        let of_others =
            server.tokens.keys().map(Some).chain([None]).filter(|name| name.cloned() != self.selected.token_name);
        let named = |name: Option<&String>, scopes: Vec<String>| -> Vec<String> {
            match name {
                None => scopes,
                Some(name) => scopes.into_iter().map(|scope| format!("{name}:{scope}")).collect(),
            }
        };
        let kept = of_others.flat_map(|name| named(name, server.scopes_for_token(name.map(String::as_str), before)));
        let newer = named(self.selected.token_name.as_ref(), said.clone());
        let mut granted: Vec<String> = newer;
        granted.extend(kept);
        Some(granted)
    }

    /// The token that is refreshed.
    pub(super) fn current_token(&self) -> Option<&StoredToken> {
        self.refresh_context.credential.get(&self.selected.token_name)
    }
}

/// Sends the request once, and once more with the previous token if that may help.
pub(super) async fn request_tokens<P: Ports>(context: &Context<P>, of: &mut RefreshAttempt<'_>) -> TokenResponse {
    let told = send_token_request(context, of, &of.selected.secret).await;
    retry_with_previous_token(context, of, told).await
}

async fn send_token_request<P: Ports>(context: &Context<P>, of: &RefreshAttempt<'_>, token: &Secret) -> TokenResponse {
    let mut request = match build_token_request(context, of, token).await {
        Ok(request) => request,
        Err(error) => {
            context.log_cause(&error);
            let class = RefusalClass::Transient { retry_after: None };
            return TokenResponse::Refused(AppRefusal { class, code: "not_asked".to_owned(), unauthorized: false });
        }
    };
    let asked_at = context.now();
    request.timeout_ms = request.timeout_ms.min(of.request_timeout_ms(asked_at));
    let answer = context.send(request).await;
    token::read_token_response(&of.refresh_context.auth_method, &answer, asked_at)
}

async fn build_token_request<P: Ports>(
    context: &Context<P>,
    of: &RefreshAttempt<'_>,
    token: &Secret,
) -> Result<OutboundRequest> {
    let RefreshContext { auth_method, endpoints, credential, destinations } = &of.refresh_context;
    let connection = &of.loaded.connection;
    if of.selected.issues_tokens {
        return client_auth::prepare_issue_request(
            context,
            auth_method,
            require_endpoints(endpoints.as_ref())?,
            credential,
            &connection.scopes_requested,
            &connection.variables,
            destinations,
        )
        .await;
    }
    let (oauth2, values) = (
        auth_method.require_oauth_server()?,
        client_auth::template_values(auth_method, credential, &connection.variables),
    );
    let nobody = ClientIdentity::anonymous();
    let client = of.client_identity.as_ref().unwrap_or(&nobody);
    // Only the requested scopes by name: those that they include are not repeated.
    let asked: Vec<_> =
        connection.scopes_requested.iter().filter(|one| connection.scopes_granted.contains(one)).cloned().collect();
    let scopes = oauth2.scopes_for_token(of.selected.token_name.as_deref(), &asked);
    let redirect_id = of.loaded.client.as_ref().map(|client| &client.redirect_id);
    let redirect_uri = redirect_id.map(|id| context.config.public_url.redirect_uri(id)).unwrap_or_default();
    let parties = TokenRequestContext {
        server: oauth2,
        endpoints: require_endpoints(endpoints.as_ref())?,
        client,
        values: &values,
        destinations,
    };
    let request = token::build_refresh_request(&parties, token, &scopes, &redirect_uri);
    request.map_err(|problem| registry::unfilled_request_error(auth_method, &problem))
}

/// The app refuses the stored token, but accepts the previous one for a while. That one is tried before the connection
/// is given up, only at apps with a grace period.
async fn retry_with_previous_token<P: Ports>(
    context: &Context<P>,
    of: &mut RefreshAttempt<'_>,
    told: TokenResponse,
) -> TokenResponse {
    let TokenResponse::Refused(AppRefusal { class: RefusalClass::Permanent, code, .. }) = &told else { return told };
    let now = context.now();
    let Some((previous, age)) = of.previous_token(now) else { return told };
    if of.lease_until.since(now) <= PERSIST_MARGIN {
        // Too late for a request in this attempt. The next attempt sends it.
        let class = RefusalClass::Transient { retry_after: None };
        return TokenResponse::Refused(AppRefusal { class, code: code.clone(), unauthorized: false });
    }
    // An assertion can be used for one request.
    if let Ok(fresh) = load_client_identity(context, of.loaded, &of.refresh_context).await {
        of.client_identity = fresh;
    }
    match send_token_request(context, of, &previous).await {
        TokenResponse::Tokens(tokens) => {
            // A response without a refresh token keeps the one that was accepted, not the one that was refused.
            if let Some(mut token) = of.current_token().cloned() {
                token.refresh_token = Some(previous);
                of.refresh_context.credential.put(&of.selected.token_name, token);
            }
            of.response_age = age;
            TokenResponse::Tokens(tokens)
        }
        TokenResponse::Refused(AppRefusal { class: RefusalClass::Permanent, .. }) => told,
        unclear => unclear,
    }
}
