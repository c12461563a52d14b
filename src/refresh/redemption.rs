//! One attempt to redeem one refresh token, from its promise in the record to the app's answer.
//!
//! Owns how long an attempt owns the token, and that no request outlives that; what a second presentation of a token
//! may bring, and the token before the stored one. Refuses to store anything.

use super::Talk;
use crate::app::Rotation;
use crate::connection::Connection;
use crate::core::Core;
use crate::credential::Credential;
use crate::ports::{Http, Ports};
use crate::secret::Secret;
use crate::store::refreshes::{Attempt, Case};
use crate::time::Timestamp;
use crate::token::{self, Answer, Class, ClientKeys, Refusal};

/// Seconds an intent is in force: well over what the request (15 s) and its persisting (10 s) may take.
pub(super) const INTENT: i64 = 60;
/// The shortest intent, in seconds.
const SHORTEST_INTENT: i64 = 10;
/// Seconds of an intent that are not the request's.
const PERSIST_MARGIN: i64 = 3;
/// Seconds that are worth asking an app in.
const LEAST_TIME_TO_ASK: i64 = 5;

/// An attempt that has been promised in the record, and the time it has.
pub(super) struct Redemption<'a> {
    pub(super) case: &'a Case,
    pub(super) talk: Talk,
    pub(super) keys: ClientKeys,
    pub(super) attempt: Attempt,
    /// The refresh token that was promised.
    pub(super) token: Secret,
    /// When the promise ends.
    pub(super) until: Timestamp,
    /// When the app was first asked: graces count from there.
    pub(super) asked_at: Timestamp,
    /// Seconds that the tokens of an answer may have lived already.
    pub(super) age: i64,
}

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
        let Rotation::Grace(seconds) = self.talk.app.oauth2().rotation else { return None };
        let previous = self.talk.credential.previous.as_ref().filter(|previous| now < previous.until)?;
        Some((previous.refresh_token.clone(), (seconds - previous.until.since(now)).clamp(0, seconds)))
    }

    /// What is stored for an answer: the old token stays beside the new one where the app gives a grace, which
    /// counts from its first use.
    pub(super) fn successor(&self, newer: Credential) -> Credential {
        let grace_until = match self.talk.app.oauth2().rotation {
            Rotation::Grace(seconds) => Some(self.asked_at.plus(seconds - self.age)),
            _ => None,
        };
        newer.replacing(&self.talk.credential, grace_until)
    }
}

/// Asks the app once, and once more with the token before where that is known to help.
pub(super) async fn ask<P: Ports>(core: &Core<P>, of: &mut Redemption<'_>) -> Answer {
    let told = ask_with(core, of, &of.token).await;
    ask_with_previous(core, of, told).await
}

async fn ask_with<P: Ports>(core: &Core<P>, of: &Redemption<'_>, token: &Secret) -> Answer {
    let asked_at = core.now();
    let scopes = &of.case.connection.scopes_granted;
    let mut request = token::refresh_request(&of.talk.app, &of.talk.at, &of.keys, token, scopes);
    request.timeout_ms = request.timeout_ms.min(of.time_to_ask(asked_at));
    let answer = core.ports.http().send(request).await;
    token::read_answer(&of.talk.app, &answer, asked_at)
}

/// The app refuses the token that is stored, but is known to take the one before it for a while: that one is
/// tried before the connection is given up. Never where the app promises no grace.
async fn ask_with_previous<P: Ports>(core: &Core<P>, of: &mut Redemption<'_>, told: Answer) -> Answer {
    let Answer::Refused(Refusal { class: Class::Permanent, code }) = &told else { return told };
    let now = core.now();
    let Some((previous, age)) = of.previous(now) else { return told };
    if of.until.since(now) <= PERSIST_MARGIN {
        // Too late to ask in this attempt; the next one does.
        return Answer::Refused(Refusal { class: Class::Transient { retry_after: None }, code: code.clone() });
    }
    match ask_with(core, of, &previous).await {
        Answer::Tokens(tokens) => {
            // An answer without a refresh token keeps the one that was taken, not the one that was refused.
            of.talk.credential.refresh_token = Some(previous);
            of.age = age;
            Answer::Tokens(tokens)
        }
        Answer::Refused(Refusal { class: Class::Permanent, .. }) => told,
        unclear => unclear,
    }
}
