//! E-mail of a workspace.

use serde::Serialize;

use crate::context::Context;
use crate::email::EmailSubscription;
use crate::emails;
use crate::ports::Ports;
use crate::time::Timestamp;

/// Whether the people of the workspace are notified by e-mail, and how that goes.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EmailSettingsResponse {
    /// Whether e-mail is on.
    enabled: bool,
    /// Whether this installation can send e-mail: its operator has bound `EMAIL` and set `EMAIL_FROM`.
    available: bool,
    /// The sender. Null: the operator has set none.
    from: Option<String>,
    /// When the service last took an e-mail. Null: it has taken none since it was turned on.
    last_sent_at: Option<Timestamp>,
    /// The last e-mail that was not taken. Null: there was none since it was turned on.
    last_failure: Option<EmailFailureResponse>,
}

/// Why an e-mail was not sent.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct EmailFailureResponse {
    at: Timestamp,
    /// The code of Cloudflare Email Service, such as `E_SENDER_NOT_VERIFIED`. `no_answer`: it did not answer.
    code: String,
}

impl From<(Timestamp, String)> for EmailFailureResponse {
    fn from((at, code): (Timestamp, String)) -> Self {
        Self { at, code }
    }
}

impl EmailSettingsResponse {
    /// As it is now.
    pub(crate) fn of<P: Ports>(context: &Context<P>, settings: Option<&EmailSubscription>) -> Self {
        let (last_sent_at, failure) = settings.map_or((None, None), |one| (one.last_sent_at, one.last_failure.clone()));
        Self {
            enabled: settings.is_some(),
            available: emails::is_available(context),
            from: context.config.email_from.as_ref().map(|from| from.as_str().to_owned()),
            last_sent_at,
            last_failure: failure.map(EmailFailureResponse::from),
        }
    }
}
