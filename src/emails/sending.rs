//! E-mails that are due are sent, a few at a time.
//!
//! Owns that no e-mail is sent twice. It is claimed in the database, then sent, and then what came of it is written. Whoever is
//! cut off between the first and the last leaves an e-mail of which nobody knows whether it arrived: it is not sent again, and
//! what it says comes in the person's next digest. So an e-mail may be lost, and its news never is. The service has no key by
//! which it would know a second attempt, so the other choice would be the same e-mail twice. One that the service refuses was
//! not sent, and is tried again for three days.

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;

use super::{hand_over, stopping};
use crate::context::Context;
use crate::email::message::{self, Pages};
use crate::email::words::ENGLISH;
use crate::email::{ClaimedEmail, EmailStatus, EmailSubscription, NO_ANSWER};
use crate::error::Result;
use crate::ids::random_text;
use crate::ports::{Database, MailError, Ports, Statement};
use crate::random::Random;
use crate::store::emails::{self, EmailRecord};
use crate::store::outbox::DeliveryLease;
use crate::time::Timestamp;
use crate::webhook::retry;

/// Seconds for which a claim is held: longer than the service is waited for.
const CLAIM: i64 = 120;
/// E-mails that are sent at once: the platform opens six connections per request.
const MAX_CONCURRENT: i64 = 6;
/// Round trips to the database that a few e-mails take: to claim them, and to write what came of them.
const ROUND_COST: i64 = 2;
/// What passing on one workspace's events and sending one e-mail takes.
pub(crate) const LEAST_BUDGET: i64 = super::planning::PLAN_COST + ROUND_COST + 1;

/// What came of an e-mail.
enum Outcome {
    Sent,
    /// There is nothing left to say, or nobody to send it to.
    Dropped,
    Refused(String),
    Unknown,
}

/// Passes on the events of the workspaces that a run has taken, and sends what is due, as long as there are subrequests and
/// time. Answers how many e-mails the service has taken.
pub(crate) async fn run_due<P: Ports>(
    context: &Context<P>,
    taken: &[EmailSubscription],
    budget: i64,
    until: Timestamp,
) -> u64 {
    let mut left = budget.max(LEAST_BUDGET);
    for of in taken {
        // The first of them, so that no workspace waits for ever. The others are due again when their lease has ended.
        if left < LEAST_BUDGET || context.now() >= until {
            break;
        }
        left -= super::planning::PLAN_COST;
        if let Err(error) = super::planning::pass_on(context, of).await {
            context.log_cause(&error);
        }
    }
    let mut sent = 0;
    while left > ROUND_COST && context.now() < until {
        let most = (left - ROUND_COST).min(MAX_CONCURRENT);
        match send_round(context, most).await {
            Ok(round) => {
                sent += round.sent;
                left -= ROUND_COST + round.claimed;
                if round.claimed < most || round.is_refused_for_all {
                    break;
                }
            }
            Err(error) => {
                context.log_cause(&error);
                break;
            }
        }
    }
    sent
}

struct Round {
    claimed: i64,
    sent: u64,
    /// The next ones would be refused too.
    is_refused_for_all: bool,
}

async fn send_round<P: Ports>(context: &Context<P>, most: i64) -> Result<Round> {
    let from = context.now();
    let claim = DeliveryLease { id: random_text::<12>(context.ports.random())?, from, until: from.plus(CLAIM) };
    let claimed = emails::claim(context.db(), &claim, most).await?;
    let concurrent = usize::try_from(MAX_CONCURRENT).unwrap_or(1);
    let outcomes: Vec<_> = stream::iter(&claimed)
        .map(|email| async move { (email, send(context, email).await) })
        .buffer_unordered(concurrent)
        .collect()
        .await;
    let mut statements = Vec::new();
    for (email, outcome) in &outcomes {
        statements.extend(outcome_statements(context, email, &claim, outcome)?);
    }
    if !statements.is_empty() {
        context.db().batch(statements).await?;
    }
    let is_sent = |(_, outcome): &&(&ClaimedEmail, Outcome)| matches!(outcome, Outcome::Sent);
    Ok(Round {
        claimed: i64::try_from(claimed.len()).unwrap_or(most),
        sent: u64::try_from(outcomes.iter().filter(is_sent).count()).unwrap_or(0),
        is_refused_for_all: outcomes
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Refused(code) if is_worth_another_try(code))),
    })
}

async fn send<P: Ports>(context: &Context<P>, email: &ClaimedEmail) -> Outcome {
    let Some(address) = &email.person.address else { return Outcome::Dropped };
    let Ok(stop) = stopping::stop_url(context, &email.workspace, &email.user) else {
        return Outcome::Refused("not_sealed".into());
    };
    let public_url = &context.config.public_url;
    let pages = Pages { at: &|path| public_url.at(path), stop: stop.expose() };
    let Some(written) = message::write(email, &ENGLISH, &pages) else { return Outcome::Dropped };
    let Err(error) = hand_over(context, address, written, &stop).await else { return Outcome::Sent };
    let fields = json!({ "workspace": email.workspace.as_str(), "email": email.id, "code": error_code(&error) });
    context.log("warn", "email_not_sent", &fields);
    match error {
        MailError::Refused(code) => Outcome::Refused(code),
        MailError::Unknown => Outcome::Unknown,
    }
}

/// The code of a failure.
pub(super) fn error_code(error: &MailError) -> &str {
    match error {
        MailError::Refused(code) => code,
        MailError::Unknown => NO_ANSWER,
    }
}

/// Whether a refusal is about the moment or the installation, and not about this e-mail. (Codes of Cloudflare Email Service:
/// <https://developers.cloudflare.com/email-service/api/send-emails/workers-api/#error-codes>.)
fn is_worth_another_try(code: &str) -> bool {
    matches!(
        code,
        "E_RATE_LIMIT_EXCEEDED"
            | "E_DAILY_LIMIT_EXCEEDED"
            | "E_SENDER_NOT_VERIFIED"
            | "E_SENDER_DOMAIN_NOT_AVAILABLE"
            | "not_sealed"
    )
}

fn outcome_statements<P: Ports>(
    context: &Context<P>,
    email: &ClaimedEmail,
    claim: &DeliveryLease,
    outcome: &Outcome,
) -> Result<Vec<Statement>> {
    let now = context.now();
    let over = |status, error| EmailRecord { status, due_at: None, error };
    let came = match outcome {
        Outcome::Sent => over(EmailStatus::Sent, None),
        Outcome::Dropped => over(EmailStatus::Dropped, None),
        Outcome::Unknown => over(EmailStatus::Unknown, Some(NO_ANSWER)),
        Outcome::Refused(code) => match next_attempt(context, email, code)? {
            None => over(EmailStatus::Failed, Some(code.as_str())),
            due_at => EmailRecord { status: EmailStatus::Waiting, due_at, error: Some(code) },
        },
    };
    let of_workspace = match outcome {
        Outcome::Sent => Some(emails::mark_working(&email.workspace, now)),
        Outcome::Dropped => None,
        Outcome::Refused(code) => Some(emails::mark_failing(&email.workspace, now, code)),
        Outcome::Unknown => Some(emails::mark_failing(&email.workspace, now, NO_ANSWER)),
    };
    Ok([emails::record(email, claim, &came)].into_iter().chain(of_workspace).collect())
}

fn next_attempt<P: Ports>(context: &Context<P>, email: &ClaimedEmail, code: &str) -> Result<Option<Timestamp>> {
    if !is_worth_another_try(code) {
        return Ok(None);
    }
    let mut random = [0_u8; 8];
    context.ports.random().fill(&mut random)?;
    Ok(retry::next_attempt_at(email.attempts, context.now(), None, u64::from_le_bytes(random)))
}
