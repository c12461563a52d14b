//! One attempt to redeem one refresh token, from its promise in the record to the app's answer.
//!
//! Owns how long an attempt owns the token, and that no request outlives that; what a second presentation of a token
//! may bring, and the token before the stored one. Refuses to store anything.

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

/// Seconds an intent is in force: well over what the request (15 s) and its persisting (10 s) may take.
pub(super) const LONGEST_LEASE: i64 = 60;
/// The shortest intent, in seconds.
const SHORTEST_LEASE: i64 = 10;
/// Seconds of an intent that are not the request's.
const PERSIST_MARGIN: i64 = 3;
/// Seconds that are worth asking an app in.
const SHORTEST_REQUEST_TIME: i64 = 5;

/// A life that is read from the record only counts from here on, in seconds.
const SHORTEST_RECORDED_LIFE: i64 = 60;

/// An attempt that has been promised in the record, and the time it has.
pub(super) struct RefreshAttempt<'a> {
    pub(super) loaded: &'a LoadedConnection,
    pub(super) refresh_context: RefreshContext,
    pub(super) attempt: AttemptRef,
    /// What was promised to be presented.
    pub(super) selected: SelectedToken,
    /// What it is presented with; none where it speaks for itself.
    pub(super) client_identity: Option<ClientIdentity>,
    /// When the promise ends.
    pub(super) lease_until: Timestamp,
    /// When the app was first asked: graces count from there.
    pub(super) asked_at: Timestamp,
    /// Seconds that the tokens of an answer may have lived already.
    pub(super) response_age: i64,
}

/// What an attempt presents: a refresh token of one of the connection's tokens, or what a person entered.
pub(super) struct SelectedToken {
    /// Which token it renews.
    pub(super) token_name: TokenName,
    /// What is presented.
    pub(super) secret: Secret,
    /// Whether it is no refresh token, but what a person entered.
    pub(super) issues_tokens: bool,
}

/// What to present next. A token whose redemption is unsettled comes first, so that its trace is not lost; then the
/// one that ends first.
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

/// What the workspace's client authenticates with; none where a token is made of what a person entered.
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

/// Whether another token of the grant ends clearly before the one that has just been renewed: all are renewed together,
/// one after the other.
pub(super) fn has_lagging_token(credential: &Credential) -> bool {
    let latest = credential.tokens().filter_map(|(_, token)| token.expires_at).max();
    let behind =
        |token: &StoredToken| token.expires_at.zip(latest).is_some_and(|(end, latest)| latest.since(end) > LARGEST_LAG);
    credential.tokens().any(|(_, token)| token.refresh_token.is_some() && behind(token))
}

/// Seconds between the ends of two tokens that were renewed together, at most.
const LARGEST_LAG: i64 = 120;

/// How long an attempt owns the token it redeems. Whoever comes after a crash waits that long: where the token
/// may be presented again there is no need for the whole time, and in a grace window no use in it either,
/// because what was lost can be had once more only until the grace is over.
pub(super) fn lease_seconds(rotation: RefreshTokenRotation) -> i64 {
    match rotation {
        RefreshTokenRotation::Strict => LONGEST_LEASE,
        RefreshTokenRotation::None | RefreshTokenRotation::Reissue => LONGEST_LEASE / 2,
        RefreshTokenRotation::Grace(seconds) => (seconds / 2).clamp(SHORTEST_LEASE, LONGEST_LEASE),
    }
}

/// Seconds that an answer's tokens may have lived already, at the most: within its grace an app gives a token that is
/// presented again what it gave before, and some say of it that its whole life is ahead.
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
    // An app may have taken a while to act; what it did before that is out of its grace.
    if age <= seconds + LONGEST_LEASE { age.clamp(0, seconds) } else { 0 }
}

impl RefreshAttempt<'_> {
    /// The promise took so long to write that it would end while the app is asked.
    pub(super) fn is_too_late(&self) -> bool {
        self.lease_until.since(self.asked_at) < PERSIST_MARGIN + SHORTEST_REQUEST_TIME
    }

    /// Milliseconds that a request may take and still end well inside the promise.
    fn request_timeout_ms(&self, now: Timestamp) -> u32 {
        let seconds = (self.lease_until.since(now) - PERSIST_MARGIN).max(1);
        u32::try_from(seconds.saturating_mul(1000)).unwrap_or(u32::MAX)
    }

    /// The token before the stored one, while the app still takes it, and the seconds since it was first used.
    fn previous_token(&self, now: Timestamp) -> Option<(Secret, i64)> {
        let RefreshTokenRotation::Grace(seconds) = self.refresh_context.auth_method.rotation() else { return None };
        let previous = self.current_token()?.previous.as_ref().filter(|previous| now < previous.until)?;
        Some((previous.refresh_token.clone(), (seconds - previous.until.since(now)).clamp(0, seconds)))
    }

    /// What is stored for an answer: the old token stays beside the new one where the app gives a grace, which
    /// counts from its first use.
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

    /// What is stored for an answer. Its tokens may have lived already.
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

    /// How long the first token was to live, for one that was sealed before that was kept beside it. A part of a life, of a
    /// token that was imported near its end, is none.
    fn lifetime_from_connection(&self) -> Option<i64> {
        let life = self.loaded.connection.life();
        let until = life.expires_at.filter(|_| self.selected.token_name.is_none())?;
        Some(until.since(life.issued_at)).filter(|seconds| *seconds >= SHORTEST_RECORDED_LIFE)
    }

    /// What was granted, as an answer for one of the tokens changes it; `None` where it says nothing of it.
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

    /// The token that is renewed.
    pub(super) fn current_token(&self) -> Option<&StoredToken> {
        self.refresh_context.credential.get(&self.selected.token_name)
    }
}

/// Asks the app once, and once more with the token before where that is known to help.
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
    // Only what was asked for by name: what that includes is not repeated.
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

/// The app refuses the token that is stored, but is known to take the one before it for a while: that one is
/// tried before the connection is given up. Never where the app promises no grace.
async fn retry_with_previous_token<P: Ports>(
    context: &Context<P>,
    of: &mut RefreshAttempt<'_>,
    told: TokenResponse,
) -> TokenResponse {
    let TokenResponse::Refused(AppRefusal { class: RefusalClass::Permanent, code, .. }) = &told else { return told };
    let now = context.now();
    let Some((previous, age)) = of.previous_token(now) else { return told };
    if of.lease_until.since(now) <= PERSIST_MARGIN {
        // Too late to ask in this attempt; the next one does.
        let class = RefusalClass::Transient { retry_after: None };
        return TokenResponse::Refused(AppRefusal { class, code: code.clone(), unauthorized: false });
    }
    // An assertion is good for one request.
    if let Ok(fresh) = load_client_identity(context, of.loaded, &of.refresh_context).await {
        of.client_identity = fresh;
    }
    match send_token_request(context, of, &previous).await {
        TokenResponse::Tokens(tokens) => {
            // An answer without a refresh token keeps the one that was taken, not the one that was refused.
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
