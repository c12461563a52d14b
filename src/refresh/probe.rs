//! A probe: asks the app if a credential works, without a refresh.
//!
//! Owns what each result writes to the database. A refusal of a connection that can be refreshed is not final: the
//! refresh is tried first.

use crate::connection::ReconnectReason;
use crate::context::Context;
use crate::ports::{Database, Ports, RefreshOutcome, RefreshReason};
use crate::registry;
use crate::schedule::next_check_after;
use crate::store::refreshes::{self, LoadedConnection};
use crate::time::Timestamp;
use crate::token::{self, ProbeOutcome};

use super::account_match::{self, AccountMatch};
use super::backoff::backoff_seconds;
use super::health::{EndFinding, ProbeFinding};
use super::needs_reconnect::mark_needs_reconnect;
use super::outcome::secret_opens_again;
use super::{BUSY_RETRY_AFTER, RefreshError, RefreshResult, plan, prepare_refresh, refresh_all_tokens};

/// Seconds before an app that did not answer a probe is asked again, where it does not say how long.
const UNANSWERED_PROBE_WAIT: i64 = 60;

/// Asks the app if the credential works, without a refresh.
pub(super) async fn probe_credential<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    reason: RefreshReason,
) -> RefreshResult<RefreshOutcome> {
    let refresh_context = prepare_refresh(context, loaded).await?;
    let identity = refresh_context.auth_method.identity_for_endpoints(refresh_context.endpoints.as_ref());
    let Some(asked) =
        refresh_context.auth_method.check.as_ref().or(identity.and_then(|identity| identity.probe.as_ref()))
    else {
        return match loaded.connection.reason {
            Some(ReconnectReason::OtherAccount) => Ok(RefreshOutcome::NeedsReconnect),
            _ => record_probe(context, loaded, ProbeFinding::NothingToProbe).await,
        };
    };
    let values = loaded.connection.add_template_values(
        refresh_context.credential.template_values(refresh_context.auth_method.first_secret_field()),
    );
    let request =
        token::build_probe_request(asked, &refresh_context.auth_method, &values, &refresh_context.destinations)
            .map_err(|problem| registry::unfilled_request_error(&refresh_context.auth_method, &problem))?;
    let answer = context.send(request).await;
    let verdict = token::read_probe_response(&refresh_context.auth_method, asked, &answer, context.now());
    // If the request is the identity request, its response also contains the account.
    let identity = identity.filter(|_| refresh_context.auth_method.check.is_none());
    let mut owner = identity.map_or(AccountMatch::Unknown, |identity| {
        account_match::match_probed_account(context, loaded, &refresh_context, identity, asked, &values, &answer)
    });
    if owner == AccountMatch::Other
        && let Some(identity) = identity
    {
        owner = account_match::probe_account_again(context, loaded, &refresh_context, identity, asked, &values).await?;
        if owner == AccountMatch::Unknown {
            return record_probe(context, loaded, ProbeFinding::Inconclusive).await;
        }
    }
    let was_another = loaded.connection.reason == Some(ReconnectReason::OtherAccount);
    match verdict {
        _ if owner == AccountMatch::Other && !was_another => {
            Ok(account_match::mark_other_account(context, loaded, EndFinding::OtherAccountProbed).await?)
        }
        _ if owner != AccountMatch::Same && was_another => {
            record_probe(context, loaded, ProbeFinding::AccountNotConfirmed).await
        }
        ProbeOutcome::Works => record_probe(context, loaded, ProbeFinding::Accepted).await,
        ProbeOutcome::Forbidden => record_probe(context, loaded, ProbeFinding::Forbidden).await,
        ProbeOutcome::Inconclusive => record_probe(context, loaded, ProbeFinding::Inconclusive).await,
        ProbeOutcome::NotSent => record_probe(context, loaded, ProbeFinding::NotSent).await,
        ProbeOutcome::Unavailable { retry_after } => record_probe_failure(context, loaded, retry_after).await,
        ProbeOutcome::Refused
            if plan::may_refresh(&loaded.connection, loaded.client.as_ref(), reason, context.now()) =>
        {
            match refresh_all_tokens(context, loaded).await {
                Err(RefreshError::LeaseTaken) => Ok(RefreshOutcome::InProgress { retry_after: BUSY_RETRY_AFTER }),
                refreshed => refreshed,
            }
        }
        ProbeOutcome::Refused => record_probe_refusal(context, loaded).await,
    }
}

/// Records the end of a probe and its result.
async fn record_probe<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    finding: ProbeFinding,
) -> RefreshResult<RefreshOutcome> {
    let now = context.now();
    let next = next_check_after(now, &loaded.connection);
    write_probe(context, loaded, finding, (now, next)).await?;
    Ok(finding.outcome(next.since(now)))
}

/// Records that the app could not be asked.
async fn record_probe_failure<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    retry_after: Option<i64>,
) -> RefreshResult<RefreshOutcome> {
    let now = context.now();
    let finding = ProbeFinding::Unanswered;
    let failures = finding.failures(loaded.connection.failures);
    let wait = backoff_seconds(context, failures, retry_after.or(Some(UNANSWERED_PROBE_WAIT)));
    write_probe(context, loaded, finding, (now, now.plus(wait))).await?;
    Ok(finding.outcome(wait))
}

async fn write_probe<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    finding: ProbeFinding,
    (now, next_check_at): (Timestamp, Timestamp),
) -> RefreshResult<()> {
    let statement = refreshes::record_probe(
        &loaded.connection,
        now,
        finding.evidence(),
        next_check_at,
        finding.failures(loaded.connection.failures),
        finding.error(),
        finding.works(),
    );
    context.db().batch([statement].into_iter().chain(secret_opens_again(context, loaded)).collect()).await?;
    Ok(())
}

/// Records that the app refused a credential that cannot be refreshed.
async fn record_probe_refusal<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
) -> RefreshResult<RefreshOutcome> {
    if loaded.connection.refreshable {
        // Its refresh is paused: whether the grant has ended will be known when it is tried.
        let retry_after = loaded.connection.next_attempt_at.since(context.now()).max(1);
        return Ok(RefreshOutcome::Unavailable { retry_after });
    }
    Ok(mark_needs_reconnect(context, loaded, EndFinding::ProbeRefused).await?)
}
