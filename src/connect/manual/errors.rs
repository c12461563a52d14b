//! Why a credential was not stored, in the words of whoever entered it.
//!
//! Owns those sentences. They tell the app's own code, and refuse to repeat anything of the credential.

use crate::app::AuthMethod;
use crate::connect::FlowFailure;
use crate::error::{Error, ErrorCode, Result};
use crate::token::{AppRefusal, ProbeOutcome, RefusalClass, TokenResponse, TokenSet};

pub(super) fn require_tokens(auth_method: &AuthMethod, answer: TokenResponse) -> Result<TokenSet> {
    match answer {
        TokenResponse::Tokens(tokens) => Ok(tokens),
        TokenResponse::Ambiguous(odd) => Err(unavailable_error(auth_method, odd.retry_after)),
        TokenResponse::Refused(AppRefusal { class: RefusalClass::Transient { retry_after }, .. }) => {
            Err(unavailable_error(auth_method, retry_after))
        }
        TokenResponse::Refused(refusal) => Err(rejected_error(auth_method, Some(&refusal.code))),
    }
}

pub(super) fn probe_error(auth_method: &AuthMethod, verdict: ProbeOutcome) -> Error {
    match verdict {
        ProbeOutcome::Unavailable { retry_after } => unavailable_error(auth_method, retry_after),
        ProbeOutcome::Inconclusive | ProbeOutcome::NotSent => Error::new(
            ErrorCode::CredentialRejected,
            format!(
                "{} did not say that this credential works: its answer tells nothing. Check what was entered.",
                auth_method.app_name
            ),
        ),
        ProbeOutcome::Refused | ProbeOutcome::Forbidden | ProbeOutcome::Works => rejected_error(auth_method, None),
    }
}

/// The app's own code tells more than a sentence of ours could.
pub(super) fn rejected_error(auth_method: &AuthMethod, code: Option<&str>) -> Error {
    let told = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Error::new(
        ErrorCode::CredentialRejected,
        format!(
            "{} did not accept this credential{told}, so nothing was stored. Copy it again from the app.",
            auth_method.app_name
        ),
    )
}

fn unavailable_error(auth_method: &AuthMethod, retry_after: Option<i64>) -> Error {
    Error::new(
        ErrorCode::AppUnavailable,
        format!("We couldn’t reach {}, so nothing was saved. Try again in a minute.", auth_method.app_name),
    )
    .with_hints(|hints| hints.retry_after = Some(retry_after.unwrap_or(30)))
}

/// Nobody knows whether the app has renewed the imported token.
pub(super) fn not_renewed(auth_method: &AuthMethod, retry_after: Option<i64>) -> Error {
    Error::new(
        ErrorCode::AppUnavailable,
        format!(
            "{} was asked to renew the imported token and did not answer usefully, so nothing was stored. Try again. If it \
             then refuses the refresh token, the first try has used it up: get new tokens from the app.",
            auth_method.app_name
        ),
    )
    .with_hints(|hints| hints.retry_after = Some(retry_after.unwrap_or(30)))
}

/// Nothing was stored, and the imported refresh token was exchanged for another before that.
pub(super) fn spent(mut error: Error) -> Error {
    error.detail.push_str(
        " The imported refresh token had been exchanged for a new one, which was not stored. The imported tokens may have \
         ended: get new ones from the app.",
    );
    error
}

/// What a failed settling means to a program.
pub fn flow_failure_error(failure: FlowFailure) -> Error {
    Error::new(ErrorCode::Conflict, failure.explanation())
}
