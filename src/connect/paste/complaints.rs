//! Why a credential was not stored, in the words of whoever entered it.
//!
//! Owns those sentences. They tell the app's own code, and refuse to repeat anything of the credential.

use crate::app::App;
use crate::connect::Failure;
use crate::error::{Code, Error, Result};
use crate::token::{Answer, Class, ProbeVerdict, Refusal, TokenSet};

pub(super) fn issued(app: &App, answer: Answer) -> Result<TokenSet> {
    match answer {
        Answer::Tokens(tokens) => Ok(tokens),
        Answer::Ambiguous(odd) => Err(unavailable(app, odd.retry_after)),
        Answer::Refused(Refusal { class: Class::Transient { retry_after }, .. }) => Err(unavailable(app, retry_after)),
        Answer::Refused(refusal) => Err(rejected(app, Some(&refusal.code))),
    }
}

pub(super) fn refused(app: &App, verdict: ProbeVerdict) -> Error {
    match verdict {
        ProbeVerdict::Unavailable { retry_after } => unavailable(app, retry_after),
        ProbeVerdict::Odd | ProbeVerdict::NotSent => Error::new(
            Code::CredentialRejected,
            format!(
                "{} did not say that this credential works: its answer tells nothing. Check what was entered.",
                app.name
            ),
        ),
        ProbeVerdict::Refused | ProbeVerdict::Forbidden | ProbeVerdict::Works => rejected(app, None),
    }
}

/// The app's own code tells more than a sentence of ours could.
pub(super) fn rejected(app: &App, code: Option<&str>) -> Error {
    let told = code.map(|code| format!(" ({code})")).unwrap_or_default();
    Error::new(
        Code::CredentialRejected,
        format!(
            "{} did not accept this credential{told}, so nothing was stored. Copy it again from the app.",
            app.name
        ),
    )
}

fn unavailable(app: &App, retry_after: Option<i64>) -> Error {
    Error::new(
        Code::AppUnavailable,
        format!("{} could not be asked whether this credential works, so nothing was stored. Try again.", app.name),
    )
    .hint(|hints| hints.retry_after = Some(retry_after.unwrap_or(30)))
}

/// Nobody knows whether the app has renewed the imported token.
pub(super) fn not_renewed(app: &App, retry_after: Option<i64>) -> Error {
    Error::new(
        Code::AppUnavailable,
        format!(
            "{} was asked to renew the imported token and did not answer usefully, so nothing was stored. Try again. If it \
             then refuses the refresh token, the first try has used it up: get new tokens from the app.",
            app.name
        ),
    )
    .hint(|hints| hints.retry_after = Some(retry_after.unwrap_or(30)))
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
pub fn failed(failure: Failure) -> Error {
    Error::new(Code::Conflict, failure.explained())
}
