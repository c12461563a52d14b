//! Events are passed on to people: at once what is urgent, and the rest into each person's digest of the day.
//!
//! Owns who gets what. The owner of a connection is notified of it, and admins of everything; what is urgent goes at once to the
//! owner, or to admins where there is none. A person gets one e-mail for all that has become urgent since the last run. In one
//! transaction the events of a workspace become e-mails and count as passed on, so neither a crash nor a second run passes an
//! event on twice.

use std::collections::BTreeMap;

use crate::context::Context;
use crate::email::{EmailKind, EmailSubscription, is_urgent};
use crate::error::Result;
use crate::ids::random_text;
use crate::ports::{Database, Ports};
use crate::store::emails::{self, NewEmail, TakenEvents};
use crate::store::outbox::DeliveryLease;
use crate::store::webhooks;
use crate::time::Timestamp;
use crate::webhook::OutboxEvent;

/// Seconds for which a run holds the events that it took.
const LEASE: i64 = 120;
/// Events of a workspace that a run passes on, at most.
const MOST_EVENTS: i64 = 500;
/// Admins who are notified, at most.
const MOST_ADMINS: i64 = 20;
/// Round trips that a workspace takes.
pub(crate) const PLAN_COST: i64 = 2;
/// The digests of a day are sent at 7:00 UTC. The trigger `unknown_emails_are_told_again` has the same time.
const DIGEST_SECONDS: i64 = 7 * 3_600;
const DAY: i64 = 86_400;

/// When the next digest is sent.
fn next_digest(now: Timestamp) -> Timestamp {
    let since_digest = (now.unix() - DIGEST_SECONDS).rem_euclid(DAY);
    now.plus(DAY - since_digest)
}

/// Passes the events of a workspace on to people.
///
/// # Errors
/// Nothing was passed on, or all was: where nobody knows which, a second attempt finds nothing left.
pub(crate) async fn pass_on<P: Ports>(context: &Context<P>, of: &EmailSubscription) -> Result<()> {
    let (now, random) = (context.now(), context.ports.random());
    let lease = DeliveryLease { id: random_text::<12>(random)?, from: now, until: now.plus(LEASE) };
    let taken = emails::take_events(context.db(), of, &lease, (MOST_EVENTS, MOST_ADMINS)).await?;
    let mut statements = Vec::new();
    for ((user, kind), events) in share(&taken) {
        let (kind, due_at) = match kind {
            Moment::Now => (EmailKind::Urgent, now),
            Moment::Digest => (EmailKind::Digest, next_digest(now)),
        };
        let id = format!("eml_{}", random_text::<16>(random)?);
        statements.push(emails::queue(of, &lease, &NewEmail { id, user, kind, events, due_at }, now));
    }
    statements.push(emails::end_lease(of, &lease));
    statements.push(webhooks::reschedule(&of.id));
    context.db().batch(statements).await?;
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Now,
    Digest,
}

/// Of what each person is notified, and when.
fn share(taken: &TakenEvents) -> BTreeMap<(&str, Moment), Vec<&str>> {
    let mut shares: BTreeMap<(&str, Moment), Vec<&str>> = BTreeMap::new();
    for delivery in &taken.events {
        let event = &delivery.event;
        for (user, moment) in recipients(event, taken) {
            shares.entry((user, moment)).or_default().push(event.id.as_str());
        }
    }
    shares
}

fn recipients<'a>(event: &'a OutboxEvent, taken: &'a TakenEvents) -> Vec<(&'a str, Moment)> {
    let urgent = if is_urgent(event) { Moment::Now } else { Moment::Digest };
    let owner = event.user.as_deref();
    let reachable = owner.filter(|owner| taken.owners.contains(*owner));
    // What has an owner is the owner's business, and admins read of it.
    let for_admins = if owner.is_some() { Moment::Digest } else { urgent };
    let admins = taken.admins.iter().map(String::as_str).filter(|admin| Some(*admin) != owner);
    reachable.map(|owner| (owner, urgent)).into_iter().chain(admins.map(|admin| (admin, for_admins))).collect()
}

#[cfg(test)]
mod tests {
    use super::{DAY, next_digest};
    use crate::time::Timestamp;

    #[test]
    fn a_digest_is_sent_at_the_next_seven_o_clock() {
        for (now, then) in [
            ("2026-11-22T06:59:59Z", "2026-11-22T07:00:00Z"),
            ("2026-11-22T07:00:00Z", "2026-11-23T07:00:00Z"),
            ("2026-11-22T23:00:00Z", "2026-11-23T07:00:00Z"),
        ] {
            let now = Timestamp::parse(now).unwrap();
            assert_eq!(next_digest(now).rfc3339(), then);
            // As the trigger computes it.
            assert_eq!(next_digest(now).unix(), (now.unix() - 25_200 + DAY) / DAY * DAY + 25_200);
        }
    }
}
