//! The app is asked whether a credential works, where nothing is to be refreshed.
//!
//! Owns what each verdict leaves in the record. Refuses to believe one against a connection that can be refreshed:
//! that is tried first.

use crate::connection::ReconnectReason;
use crate::context::Context;
use crate::error::Result;
use crate::ports::{Database, Ports, RefreshOutcome, RefreshReason};
use crate::registry;
use crate::schedule::next_check_after;
use crate::store::refreshes::{self, LoadedConnection};
use crate::token::{self, ProbeOutcome};

use super::account_match::{self, AccountMatch};
use super::backoff::backoff_seconds;
use super::needs_reconnect::mark_needs_reconnect;
use super::outcome::secret_opens_again;
use super::{plan, prepare_refresh, refresh_all_tokens};

/// Asks the app whether the credential works, where nothing is to be refreshed.
pub(super) async fn probe_credential<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    reason: RefreshReason,
) -> Result<RefreshOutcome> {
    let refresh_context = match prepare_refresh(context, loaded).await? {
        Ok(refresh_context) => refresh_context,
        Err(outcome) => return Ok(outcome),
    };
    let identity = refresh_context.auth_method.identity_for_endpoints(refresh_context.endpoints.as_ref());
    let Some(asked) =
        refresh_context.auth_method.check.as_ref().or(identity.and_then(|identity| identity.probe.as_ref()))
    else {
        return match loaded.connection.reason {
            Some(ReconnectReason::OtherAccount) => Ok(RefreshOutcome::Dead),
            _ => record_probe(context, loaded, "nothing to probe", RefreshOutcome::Unknown).await,
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
    // Where the request is the identity's, its answer tells whose the credential is, too.
    let identity = identity.filter(|_| refresh_context.auth_method.check.is_none());
    let mut owner = identity.map_or(AccountMatch::Unknown, |identity| {
        account_match::match_probed_account(context, loaded, &refresh_context, identity, asked, &values, &answer)
    });
    if owner == AccountMatch::Other
        && let Some(identity) = identity
    {
        owner = account_match::probe_account_again(context, loaded, &refresh_context, identity, asked, &values).await?;
        if owner == AccountMatch::Unknown {
            return record_probe(context, loaded, "probe: an answer that tells nothing", RefreshOutcome::Unknown).await;
        }
    }
    let was_another = loaded.connection.reason == Some(ReconnectReason::OtherAccount);
    match verdict {
        _ if owner == AccountMatch::Other && !was_another => {
            account_match::mark_other_account(context, loaded, "probe: another account").await
        }
        _ if owner != AccountMatch::Same && was_another => {
            record_probe(context, loaded, "probe: not known to be the same account", RefreshOutcome::Dead).await
        }
        ProbeOutcome::Works => record_probe(context, loaded, "probe: accepted", RefreshOutcome::Healthy).await,
        ProbeOutcome::Forbidden => {
            record_probe(context, loaded, "probe: accepted, but not allowed to ask", RefreshOutcome::Healthy).await
        }
        ProbeOutcome::Inconclusive => {
            record_probe(context, loaded, "probe: an answer that tells nothing", RefreshOutcome::Unknown).await
        }
        ProbeOutcome::NotSent => {
            let evidence = "probe: not sent, because the app's addresses have changed since the credential was given";
            record_probe(context, loaded, evidence, RefreshOutcome::Unknown).await
        }
        ProbeOutcome::Unavailable { retry_after } => record_probe_failure(context, loaded, retry_after).await,
        ProbeOutcome::Refused
            if plan::may_refresh(&loaded.connection, loaded.client.as_ref(), reason, context.now()) =>
        {
            Ok(refresh_all_tokens(context, loaded).await?.unwrap_or(RefreshOutcome::InProgress { retry_after: 5 }))
        }
        ProbeOutcome::Refused => record_probe_refusal(context, loaded).await,
    }
}

/// Records that a probe ended and what it saw.
async fn record_probe<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    evidence: &str,
    outcome: RefreshOutcome,
) -> Result<RefreshOutcome> {
    let now = context.now();
    let next = next_check_after(now, &loaded.connection);
    let works = outcome == RefreshOutcome::Healthy;
    let statement = refreshes::record_probe(&loaded.connection, now, evidence, next, 0, None, works);
    context.db().batch([statement].into_iter().chain(secret_opens_again(context, loaded)).collect()).await?;
    Ok(outcome)
}

/// Records that the app could not be asked.
async fn record_probe_failure<P: Ports>(
    context: &Context<P>,
    loaded: &LoadedConnection,
    retry_after: Option<i64>,
) -> Result<RefreshOutcome> {
    let now = context.now();
    let failures = loaded.connection.failures + 1;
    let wait = backoff_seconds(context, failures, retry_after.or(Some(60)));
    let statement = refreshes::record_probe(
        &loaded.connection,
        now,
        "probe: the app did not answer",
        now.plus(wait),
        failures,
        Some("app_unavailable"),
        false,
    );
    context.db().batch([statement].into_iter().chain(secret_opens_again(context, loaded)).collect()).await?;
    Ok(RefreshOutcome::Unavailable { retry_after: wait })
}

/// Records that the app refused a credential that nothing can renew.
async fn record_probe_refusal<P: Ports>(context: &Context<P>, loaded: &LoadedConnection) -> Result<RefreshOutcome> {
    if loaded.connection.refreshable {
        // Its refresh is held back: whether the grant is gone will be known when it is tried.
        let retry_after = loaded.connection.next_attempt_at.since(context.now()).max(1);
        return Ok(RefreshOutcome::Unavailable { retry_after });
    }
    mark_needs_reconnect(context, loaded, ReconnectReason::CredentialRejected, "probe: refused").await
}
