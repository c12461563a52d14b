//! What was found out about a connection, and what that means for its health. Pure.
//!
//! Owns the one table from a finding to its error code, evidence, count of failures, kept refusal, reconnect reason, and
//! what whoever asked is answered. Refuses to write any of it, and to say how long to wait.

use crate::connection::ReconnectReason;
use crate::ports::RefreshOutcome;
use crate::store::refreshes::RefusalUpdate;
use crate::token::{DESTINATION_CHANGED, NO_ERROR_CODE};

/// An attempt that brought no token and leaves the connection as it is. It counts as one more failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptFinding<'a> {
    /// The answer can't be read, by this code: the app may have redeemed the token.
    AmbiguousResponse(&'a str),
    /// The app asks to wait, or has an error of its own.
    TemporaryRefusal(&'a str),
    /// The app refuses, by a code that nobody knows.
    UnknownRefusal(&'a str),
    /// The app refuses the workspace's OAuth client.
    ClientRefused(&'a str),
    /// The app refuses the connection's configuration, or what is to be sent must not go where the app is now.
    ConfigurationRefused(&'a str),
    /// Nothing was asked, because the database took so long to write the lease.
    DatabaseSlow,
}

impl<'a> AttemptFinding<'a> {
    /// The code that is recorded.
    pub(super) fn error(self) -> &'a str {
        match self {
            Self::AmbiguousResponse(code)
            | Self::TemporaryRefusal(code)
            | Self::UnknownRefusal(code)
            | Self::ClientRefused(code)
            | Self::ConfigurationRefused(code) => code,
            Self::DatabaseSlow => "database_slow",
        }
    }

    /// What happens to the stored refusal of the app.
    pub(super) fn refusal_update(self) -> RefusalUpdate<'a> {
        match self {
            Self::AmbiguousResponse(NO_ERROR_CODE) => RefusalUpdate::Set(None),
            // A request that was not sent was not refused by the app.
            Self::ConfigurationRefused(DESTINATION_CHANGED)
            | Self::AmbiguousResponse(_)
            | Self::TemporaryRefusal(_)
            | Self::DatabaseSlow => RefusalUpdate::Keep,
            Self::UnknownRefusal(code) | Self::ConfigurationRefused(code) => RefusalUpdate::Set(Some(code)),
            Self::ClientRefused(_) => RefusalUpdate::Clear,
        }
    }

    /// What whoever asked is answered, where the next attempt may begin after so many seconds.
    pub(super) fn outcome(self, retry_after: i64) -> RefreshOutcome {
        match self {
            Self::AmbiguousResponse(_) | Self::TemporaryRefusal(_) | Self::UnknownRefusal(_) => {
                RefreshOutcome::Unavailable { retry_after }
            }
            Self::ClientRefused(_) => RefreshOutcome::ClientMisconfigured,
            Self::ConfigurationRefused(_) => RefreshOutcome::ConfigurationRefused,
            Self::DatabaseSlow => RefreshOutcome::DatabaseUnavailable,
        }
    }
}

/// What a probe found that does not end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeFinding {
    /// The app takes the credential.
    Accepted,
    /// The app takes the credential, which may not ask this.
    Forbidden,
    /// The answer does not tell whether it works.
    Inconclusive,
    /// Nothing was sent: the credential was not given for where the app is now.
    NotSent,
    /// There is nothing to ask.
    NothingToProbe,
    /// A connection that was found to be another account's: it is not known to be the right one again.
    AccountNotConfirmed,
    /// The app did not answer, or failed.
    Unanswered,
}

impl ProbeFinding {
    /// How it was known. It is stored, and [`outcome_of_evidence`] reads it.
    pub(super) fn evidence(self) -> &'static str {
        match self {
            Self::Accepted => "probe: accepted",
            Self::Forbidden => "probe: accepted, but not allowed to ask",
            Self::Inconclusive => "probe: an answer that tells nothing",
            Self::NotSent => "probe: not sent, because the app's addresses have changed since the credential was given",
            Self::NothingToProbe => "nothing to probe",
            Self::AccountNotConfirmed => "probe: not known to be the same account",
            Self::Unanswered => "probe: the app did not answer",
        }
    }

    /// The code that is recorded, where it counts as a failure.
    pub(super) fn error(self) -> Option<&'static str> {
        (self == Self::Unanswered).then_some("app_unavailable")
    }

    /// Failures in a row, after so many before it.
    pub(super) fn failures(self, before: i64) -> i64 {
        if self.error().is_some() { before + 1 } else { 0 }
    }

    /// Whether the credential works, so that a connection that needed a reconnect needs none.
    pub(super) fn works(self) -> bool {
        matches!(self, Self::Accepted | Self::Forbidden)
    }

    /// What whoever asked is answered, where the app may be asked again after so many seconds.
    pub(super) fn outcome(self, retry_after: i64) -> RefreshOutcome {
        match self {
            Self::Accepted | Self::Forbidden => RefreshOutcome::Healthy,
            Self::Inconclusive | Self::NotSent | Self::NothingToProbe => RefreshOutcome::Unknown,
            Self::AccountNotConfirmed => RefreshOutcome::NeedsReconnect,
            Self::Unanswered => RefreshOutcome::Unavailable { retry_after },
        }
    }
}

/// What ends a connection until a person reconnects it, without a refusal of its refresh token. It counts as one more
/// failure, and is answered as [`RefreshOutcome::NeedsReconnect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndFinding {
    /// A probe was refused, and nothing can renew the credential.
    ProbeRefused,
    /// A probe says that the credential is another account's.
    OtherAccountProbed,
    /// The answer to a refresh says so.
    OtherAccountRefreshed,
    /// The access token ended, and nothing can renew it.
    AccessTokenEnded,
}

impl EndFinding {
    /// What a person is told.
    pub(super) fn reason(self) -> ReconnectReason {
        match self {
            Self::ProbeRefused => ReconnectReason::CredentialRejected,
            Self::OtherAccountProbed | Self::OtherAccountRefreshed => ReconnectReason::OtherAccount,
            Self::AccessTokenEnded => ReconnectReason::RefreshTokenMissing,
        }
    }

    /// How it was known. It is the recorded error, too.
    pub(super) fn evidence(self) -> &'static str {
        match self {
            Self::ProbeRefused => "probe: refused",
            Self::OtherAccountProbed => "probe: another account",
            Self::OtherAccountRefreshed => "refresh: another account",
            Self::AccessTokenEnded => "the access token ended",
        }
    }
}

/// The evidence of a refresh that brought tokens.
pub(super) const REFRESHED_EVIDENCE: &str = "refreshed";

/// What stored evidence of the last check means now; `None` where it is not that of an answer of the app. A failure since
/// then may be tried again after so many seconds.
pub(super) fn outcome_of_evidence(evidence: &str, failures: i64, retry_after: i64) -> Option<RefreshOutcome> {
    match evidence {
        REFRESHED_EVIDENCE => Some(RefreshOutcome::StillValid),
        _ if !evidence.starts_with("probe: ") => None,
        _ if failures > 0 => Some(RefreshOutcome::Unavailable { retry_after }),
        _ if [ProbeFinding::Accepted, ProbeFinding::Forbidden].iter().any(|one| one.evidence() == evidence) => {
            Some(RefreshOutcome::Healthy)
        }
        _ => Some(RefreshOutcome::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failed_attempt_has_its_code_its_refusal_and_its_outcome() {
        let unavailable = RefreshOutcome::Unavailable { retry_after: 7 };
        let (keep, set) = (RefusalUpdate::Keep, |code| RefusalUpdate::Set(Some(code)));
        let table = [
            (AttemptFinding::AmbiguousResponse("timeout"), "timeout", keep, unavailable.clone()),
            (
                AttemptFinding::AmbiguousResponse(NO_ERROR_CODE),
                NO_ERROR_CODE,
                RefusalUpdate::Set(None),
                unavailable.clone(),
            ),
            (AttemptFinding::TemporaryRefusal("slow_down"), "slow_down", keep, unavailable.clone()),
            (AttemptFinding::UnknownRefusal("odd"), "odd", set("odd"), unavailable),
            (
                AttemptFinding::ClientRefused("invalid_client"),
                "invalid_client",
                RefusalUpdate::Clear,
                RefreshOutcome::ClientMisconfigured,
            ),
            (
                AttemptFinding::ConfigurationRefused("invalid_scope"),
                "invalid_scope",
                set("invalid_scope"),
                RefreshOutcome::ConfigurationRefused,
            ),
            (
                AttemptFinding::ConfigurationRefused(DESTINATION_CHANGED),
                DESTINATION_CHANGED,
                keep,
                RefreshOutcome::ConfigurationRefused,
            ),
            (AttemptFinding::DatabaseSlow, "database_slow", keep, RefreshOutcome::DatabaseUnavailable),
        ];
        for (finding, error, update, outcome) in table {
            assert_eq!((finding.error(), finding.refusal_update()), (error, update), "{finding:?}");
            assert_eq!(finding.outcome(7), outcome, "{finding:?}");
        }
    }

    #[test]
    fn a_probe_without_an_answer_is_a_failure_and_any_other_finding_ends_the_count() {
        let findings = [
            (ProbeFinding::Accepted, true, RefreshOutcome::Healthy),
            (ProbeFinding::Forbidden, true, RefreshOutcome::Healthy),
            (ProbeFinding::Inconclusive, false, RefreshOutcome::Unknown),
            (ProbeFinding::NotSent, false, RefreshOutcome::Unknown),
            (ProbeFinding::NothingToProbe, false, RefreshOutcome::Unknown),
            (ProbeFinding::AccountNotConfirmed, false, RefreshOutcome::NeedsReconnect),
        ];
        for (finding, works, outcome) in findings {
            assert_eq!((finding.works(), finding.error(), finding.failures(2)), (works, None, 0), "{finding:?}");
            assert_eq!(finding.outcome(7), outcome, "{finding:?}");
        }
        let unanswered = ProbeFinding::Unanswered;
        assert_eq!((unanswered.works(), unanswered.error()), (false, Some("app_unavailable")));
        assert_eq!(unanswered.failures(2), 3);
        assert_eq!(unanswered.outcome(7), RefreshOutcome::Unavailable { retry_after: 7 });
    }

    #[test]
    fn stored_evidence_is_read_as_it_was_meant() {
        let read = |evidence: &str, failures| outcome_of_evidence(evidence, failures, 7);
        assert_eq!(read(REFRESHED_EVIDENCE, 0), Some(RefreshOutcome::StillValid));
        assert_eq!(read(ProbeFinding::Accepted.evidence(), 0), Some(RefreshOutcome::Healthy));
        assert_eq!(read(ProbeFinding::Forbidden.evidence(), 0), Some(RefreshOutcome::Healthy));
        assert_eq!(read(ProbeFinding::Inconclusive.evidence(), 0), Some(RefreshOutcome::Unknown));
        assert_eq!(read(ProbeFinding::Unanswered.evidence(), 1), Some(RefreshOutcome::Unavailable { retry_after: 7 }));
        assert_eq!(read("connected", 0), None);
        assert_eq!(read(EndFinding::AccessTokenEnded.evidence(), 0), None);
    }

    #[test]
    fn each_end_has_the_reason_that_a_person_is_told() {
        let table = [
            (EndFinding::ProbeRefused, ReconnectReason::CredentialRejected),
            (EndFinding::OtherAccountProbed, ReconnectReason::OtherAccount),
            (EndFinding::OtherAccountRefreshed, ReconnectReason::OtherAccount),
            (EndFinding::AccessTokenEnded, ReconnectReason::RefreshTokenMissing),
        ];
        for (finding, reason) in table {
            assert_eq!(finding.reason(), reason);
        }
    }
}
