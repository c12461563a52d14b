//! One attempt to redeem one refresh token, from its promise in the record to the app's answer.
//!
//! Owns how long an attempt owns the token, and that no request outlives that; what a second presentation of a token
//! may bring, and the token before the stored one. Refuses to store anything.

use super::{Talk, server_at};
use crate::app::Rotation;
use crate::caller::hash;
use crate::connect::start;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::{Credential, Token, Which};
use crate::error::Result;
use crate::ports::{Outbound, Ports};
use crate::registry;
use crate::secret::Secret;
use crate::server;
use crate::store::refreshes::{Attempt, Case};
use crate::time::Timestamp;
use crate::token::{self, Answer, Class, ClientKeys, Parties, Refusal, TokenSet};

/// Seconds an intent is in force: well over what the request (15 s) and its persisting (10 s) may take.
pub(super) const INTENT: i64 = 60;
/// The shortest intent, in seconds.
const SHORTEST_INTENT: i64 = 10;
/// Seconds of an intent that are not the request's.
const PERSIST_MARGIN: i64 = 3;
/// Seconds that are worth asking an app in.
const LEAST_TIME_TO_ASK: i64 = 5;

/// A life that is read from the record only counts from here on, in seconds.
const SHORTEST_RECORDED_LIFE: i64 = 60;

/// An attempt that has been promised in the record, and the time it has.
pub(super) struct Redemption<'a> {
    pub(super) case: &'a Case,
    pub(super) talk: Talk,
    pub(super) attempt: Attempt,
    /// What was promised to be presented.
    pub(super) pick: Pick,
    /// What it is presented with; none where it speaks for itself.
    pub(super) keys: Option<ClientKeys>,
    /// When the promise ends.
    pub(super) until: Timestamp,
    /// When the app was first asked: graces count from there.
    pub(super) asked_at: Timestamp,
    /// Seconds that the tokens of an answer may have lived already.
    pub(super) age: i64,
}

/// What an attempt presents: a refresh token of one of the connection's tokens, or what a person entered.
pub(super) struct Pick {
    /// Which token it renews.
    pub(super) which: Which,
    /// What is presented.
    pub(super) secret: Secret,
    /// Whether it is no refresh token, but what a person entered.
    pub(super) mints: bool,
}

/// What to present next. A token whose redemption is unsettled comes first, so that its trace is not lost; then the
/// one that ends first.
pub(super) fn pick(talk: &Talk, connection: &Connection) -> Option<Pick> {
    if talk.app.mints() {
        let name = talk.app.first_secret()?;
        let secret = talk.credential.fields.get(name)?.clone();
        return Some(Pick { which: None, secret, mints: true });
    }
    let unsettled =
        [connection.ambiguous_token_hash.as_deref(), connection.intent.as_ref().map(|i| i.token_hash.as_str())];
    let order = |(_, token): &(Which, &Token)| {
        let hash = token.refresh_token.as_ref().map(|secret| hash(secret.expose()));
        let settled = !unsettled.iter().flatten().any(|known| hash.as_deref() == Some(*known));
        (settled, token.expires_at.is_none(), token.expires_at)
    };
    let (which, token) =
        talk.credential.tokens().filter(|(_, token)| token.refresh_token.is_some()).min_by_key(order)?;
    Some(Pick { which, secret: token.refresh_token.clone()?, mints: false })
}

/// What the workspace's client authenticates with; none where a token is made of what a person entered.
pub(super) async fn keys<P: Ports>(core: &Core<P>, case: &Case, talk: &Talk) -> Result<Option<ClientKeys>> {
    let Some(client) = &case.client else { return Ok(None) };
    let at = server_at(talk.at.as_ref())?;
    server::client_keys(core, client, (&talk.app, at), &at.refresh_url).await.map(Some)
}

/// Whether another token of the grant ends clearly before the one that has just been renewed: all are renewed together,
/// one after the other.
pub(super) fn lags(credential: &Credential) -> bool {
    let latest = credential.tokens().filter_map(|(_, token)| token.expires_at).max();
    let behind = |token: &Token| token.expires_at.zip(latest).is_some_and(|(end, latest)| latest.since(end) > LAG);
    credential.tokens().any(|(_, token)| token.refresh_token.is_some() && behind(token))
}

/// Seconds between the ends of two tokens that were renewed together, at most.
const LAG: i64 = 120;

/// How long an attempt owns the token it redeems. Whoever comes after a crash waits that long: where the token
/// may be presented again there is no need for the whole time, and in a grace window no use in it either,
/// because what was lost can be had once more only until the grace is over.
pub(super) fn intent_of(rotation: Rotation) -> i64 {
    match rotation {
        Rotation::Strict => INTENT,
        Rotation::None | Rotation::Reissue => INTENT / 2,
        Rotation::Grace(seconds) => (seconds / 2).clamp(SHORTEST_INTENT, INTENT),
    }
}

/// Seconds that an answer's tokens may have lived already, at the most: within its grace an app gives a token that is
/// presented again what it gave before, and some say of it that its whole life is ahead.
pub(super) fn age_of_answer(connection: &Connection, rotation: Rotation, token_hash: &str, now: Timestamp) -> i64 {
    let Rotation::Grace(seconds) = rotation else { return 0 };
    let noted = connection.ambiguous_since.filter(|_| connection.ambiguous_token_hash.as_deref() == Some(token_hash));
    let left_over = connection.intent.as_ref().filter(|intent| intent.token_hash == token_hash);
    let first = noted.or(left_over.map(|intent| intent.until.plus(-intent_of(rotation))));
    let age = first.map_or(0, |first| now.since(first));
    // An app may have taken a while to act; what it did before that is out of its grace.
    if age <= seconds + INTENT { age.clamp(0, seconds) } else { 0 }
}

impl Redemption<'_> {
    /// The promise took so long to write that it would end while the app is asked.
    pub(super) fn is_too_late(&self) -> bool {
        self.until.since(self.asked_at) < PERSIST_MARGIN + LEAST_TIME_TO_ASK
    }

    /// Milliseconds that a request may take and still end well inside the promise.
    fn time_to_ask(&self, now: Timestamp) -> u32 {
        let seconds = (self.until.since(now) - PERSIST_MARGIN).max(1);
        u32::try_from(seconds.saturating_mul(1000)).unwrap_or(u32::MAX)
    }

    /// The token before the stored one, while the app still takes it, and the seconds since it was first used.
    fn previous(&self, now: Timestamp) -> Option<(Secret, i64)> {
        let Rotation::Grace(seconds) = self.talk.app.rotation() else { return None };
        let previous = self.current()?.previous.as_ref().filter(|previous| now < previous.until)?;
        Some((previous.refresh_token.clone(), (seconds - previous.until.since(now)).clamp(0, seconds)))
    }

    /// What is stored for an answer: the old token stays beside the new one where the app gives a grace, which
    /// counts from its first use.
    pub(super) fn successor(&self, newer: Token) -> Credential {
        let grace_until = match self.talk.app.rotation() {
            Rotation::Grace(seconds) => Some(self.asked_at.plus(seconds - self.age)),
            _ => None,
        };
        let newer = match self.current() {
            Some(old) => newer.replacing(old, grace_until),
            None => newer,
        };
        let mut credential = self.talk.credential.clone();
        credential.put(&self.pick.which, newer);
        credential
    }

    /// What is stored for an answer. Its tokens may have lived already.
    pub(super) fn renewed(&self, tokens: &TokenSet) -> Credential {
        let mut newer = match self.current() {
            Some(old) => {
                let is_untold = tokens.expires_at.is_none();
                let lifetime = old.lifetime.or_else(|| self.lifetime_by_record().filter(|_| is_untold));
                Token { lifetime, ..old.clone() }.merged_with(tokens, self.asked_at)
            }
            None => Token::from_set(tokens),
        };
        newer.expires_at = newer.expires_at.map(|end| end.plus(-self.age));
        self.successor(newer)
    }

    /// How long the first token was to live, for one that was sealed before that was kept beside it. A part of a life, of a
    /// token that was imported near its end, is none.
    fn lifetime_by_record(&self) -> Option<i64> {
        let life = self.case.connection.life();
        let until = life.until.filter(|_| self.pick.which.is_none())?;
        Some(until.since(life.since)).filter(|seconds| *seconds >= SHORTEST_RECORDED_LIFE)
    }

    /// What was granted, as an answer for one of the tokens changes it; `None` where it says nothing of it.
    pub(super) fn granted(&self, tokens: &TokenSet) -> Option<Vec<String>> {
        let said = tokens.scopes.as_ref()?;
        let server = self.talk.app.server()?;
        if server.tokens.is_empty() {
            return Some(said.clone());
        }
        let before = &self.case.connection.scopes_granted;
        let of_others = server.tokens.keys().map(Some).chain([None]).filter(|name| name.cloned() != self.pick.which);
        let named = |name: Option<&String>, scopes: Vec<String>| -> Vec<String> {
            match name {
                None => scopes,
                Some(name) => scopes.into_iter().map(|scope| format!("{name}:{scope}")).collect(),
            }
        };
        let kept = of_others.flat_map(|name| named(name, server.scopes_of(name.map(String::as_str), before)));
        let newer = named(self.pick.which.as_ref(), said.clone());
        let mut granted: Vec<String> = newer;
        granted.extend(kept);
        Some(granted)
    }

    /// The token that is renewed.
    pub(super) fn current(&self) -> Option<&Token> {
        self.talk.credential.get(&self.pick.which)
    }
}

/// Asks the app once, and once more with the token before where that is known to help.
pub(super) async fn ask<P: Ports>(core: &Core<P>, of: &mut Redemption<'_>) -> Answer {
    let told = ask_with(core, of, &of.pick.secret).await;
    ask_with_previous(core, of, told).await
}

async fn ask_with<P: Ports>(core: &Core<P>, of: &Redemption<'_>, token: &Secret) -> Answer {
    let mut request = match request(core, of, token).await {
        Ok(request) => request,
        Err(error) => {
            core.log_cause(&error);
            let class = Class::Transient { retry_after: None };
            return Answer::Refused(Refusal { class, code: "not_asked".to_owned(), unauthorized: false });
        }
    };
    let asked_at = core.now();
    request.timeout_ms = request.timeout_ms.min(of.time_to_ask(asked_at));
    let answer = core.send(request).await;
    token::read_answer(&of.talk.app, &answer, asked_at)
}

async fn request<P: Ports>(core: &Core<P>, of: &Redemption<'_>, token: &Secret) -> Result<Outbound> {
    let Talk { app, at, credential, destinations } = &of.talk;
    let connection = &of.case.connection;
    if of.pick.mints {
        let scopes = &connection.scopes_requested;
        let (at, known) = (server_at(at.as_ref())?, (scopes.as_slice(), &connection.variables));
        return server::mint(core, app, at, credential, known, destinations).await;
    }
    let (oauth2, values) = (app.oauth2()?, server::values(app, credential, &connection.variables));
    let nobody = ClientKeys::nobody();
    let client = of.keys.as_ref().unwrap_or(&nobody);
    // Only what was asked for by name: what that includes is not repeated.
    let asked: Vec<_> =
        connection.scopes_requested.iter().filter(|one| connection.scopes_granted.contains(one)).cloned().collect();
    let scopes = oauth2.scopes_of(of.pick.which.as_deref(), &asked);
    let redirect_id = of.case.client.as_ref().map(|client| &client.redirect_id);
    let redirect_uri = redirect_id.map(|id| start::redirect_uri(core, id)).unwrap_or_default();
    let parties = Parties { server: oauth2, at: server_at(at.as_ref())?, client, values: &values, destinations };
    let request = token::refresh_request(&parties, token, &scopes, &redirect_uri);
    request.map_err(|problem| registry::unfilled(app, &problem))
}

/// The app refuses the token that is stored, but is known to take the one before it for a while: that one is
/// tried before the connection is given up. Never where the app promises no grace.
async fn ask_with_previous<P: Ports>(core: &Core<P>, of: &mut Redemption<'_>, told: Answer) -> Answer {
    let Answer::Refused(Refusal { class: Class::Permanent, code, .. }) = &told else { return told };
    let now = core.now();
    let Some((previous, age)) = of.previous(now) else { return told };
    if of.until.since(now) <= PERSIST_MARGIN {
        // Too late to ask in this attempt; the next one does.
        let class = Class::Transient { retry_after: None };
        return Answer::Refused(Refusal { class, code: code.clone(), unauthorized: false });
    }
    // An assertion is good for one request.
    if let Ok(fresh) = keys(core, of.case, &of.talk).await {
        of.keys = fresh;
    }
    match ask_with(core, of, &previous).await {
        Answer::Tokens(tokens) => {
            // An answer without a refresh token keeps the one that was taken, not the one that was refused.
            if let Some(mut token) = of.current().cloned() {
                token.refresh_token = Some(previous);
                of.talk.credential.put(&of.pick.which, token);
            }
            of.age = age;
            Answer::Tokens(tokens)
        }
        Answer::Refused(Refusal { class: Class::Permanent, .. }) => told,
        unclear => unclear,
    }
}
