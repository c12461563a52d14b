//! Connect: a connection is created or repaired through OAuth.
//!
//! Owns the flow from the submitted page to a stored credential: `start` redirects a person to the app, `callback`
//! handles the redirect back, `complete` decides what happens to the grant, and `link` lets another person do it.
//! Starts nothing by itself: every flow is bound to the browser session that started it
//! (draft-ietf-oauth-security-topics-update, session fixation), and its state is used once.

mod account;
pub mod callback;
pub mod client_setup;
pub mod client_test;
pub mod complete;
pub mod hosts;
pub mod link;
pub mod manual;
pub mod recent_client_test;
pub mod start;

use serde::{Deserialize, Serialize};

use crate::audit::Actor;
use crate::codes::codes;
use crate::frozen::SealedField;
use crate::ids::{FlowId, WorkspaceId};
use crate::store::authorizations::Flow;
use crate::vault::SealContext;

/// The places of a flow's sealed secrets: verifier and pending grant, in separate fields.
fn flow_seal_context<'a>(workspace: &'a WorkspaceId, id: &'a FlowId, field: SealedField) -> SealContext<'a> {
    SealContext::of(field, workspace.as_str(), id.as_str(), 0)
}

/// Who acts in a flow, for the audit log.
fn flow_actor(flow: &Flow) -> Actor {
    match (&flow.link, &flow.user) {
        (Some(link), _) => Actor::Link(link.clone()),
        (None, Some(user)) => Actor::User(user.id.clone()),
        (None, None) => Actor::UnknownUser,
    }
}

/// Seconds for which a flow without a redirect is kept.
const MANUAL_FLOW_TTL: i64 = 600;

codes! {
    /// Why a flow failed, as its page explains it. Stored as a code, because an app's own text is never shown.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    #[error("{}", self.explanation())]
    pub enum FlowFailure {
        /// The app answered the authorize request with an error.
        RefusedByApp = "refused_by_app",
        /// It requires an administrator's approval first.
        ApprovalRequired = "approval_required",
        /// The callback names another issuer than the one of the flow, or none although one was promised.
        WrongIssuer = "wrong_issuer",
        /// The callback names an issuer, and the workspace's definition of the app has none.
        IssuerUnknown = "issuer_unknown",
        /// The app's addresses are no longer those that the person saw, or that the client was set up for.
        AddressesChanged = "addresses_changed",
        /// The callback has neither code nor error.
        NoCode = "no_code",
        /// The app refused the code.
        CodeRefused = "code_refused",
        /// The app refused our client.
        ClientRefused = "client_refused",
        /// The app returned no usable response.
        AppUnavailable = "app_unavailable",
        /// The connection to repair does not exist any more.
        ConnectionGone = "connection_gone",
        /// It was changed in the meantime.
        Conflict = "conflict",
        /// The link was used in the meantime, for example in another tab.
        LinkUsed = "link_used",
        /// The link was started again in another browser.
        LinkBegunAnew = "link_begun_anew",
        /// The session that began it has ended: somebody removed the person, or ended the link, the session or its key.
        SessionEnded = "session_ended",
        /// The app did not name the account.
        AccountUnknown = "account_unknown",
        /// It is another account than the connection's, and no switch was requested.
        OtherAccount = "other_account",
        /// The grant could not be stored here.
        NotStored = "not_stored",
    }
}

/// Whether a flow ended because its link was opened again in another browser. Its session has ended with it, so the
/// browser with its state gets this message and not the flow's page.
pub fn was_link_reopened(flow: &Flow) -> bool {
    flow.error.as_deref() == Some(FlowFailure::LinkBegunAnew.as_str())
}

impl FlowFailure {
    /// What happened and what to do, for a person.
    pub fn explanation(self) -> &'static str {
        match self {
            Self::RefusedByApp => {
                "The app refused the request. Its administrator may have to allow it, or the client at the app is not set up for these permissions."
            }
            Self::ApprovalRequired => {
                "You could not allow this yourself: an administrator of your organisation has to approve it at the app first. Nothing was stored."
            }
            Self::WrongIssuer => {
                "The answer did not come from the app that was asked. Nothing was stored. If it happens again, tell whoever runs this installation."
            }
            Self::IssuerUnknown => {
                "The app names its issuer in its answer, but this workspace’s definition of the app names none, so the answer can’t be trusted. Nothing was stored. Whoever defined the app here must add the issuer (auth.issuer)."
            }
            Self::AddressesChanged => {
                "The addresses of this app changed while you were connecting it. Nothing was sent there and nothing was stored. Start again, and look at the hosts that are named."
            }
            Self::NoCode => "The app sent you back without an answer. Please try again.",
            Self::CodeRefused => "The app took back its permission before it could be used. Please try again.",
            Self::ClientRefused => {
                "The app does not accept this workspace's client id and secret. Whoever set up the app here must check them."
            }
            Self::AppUnavailable => {
                "The app has a problem at the moment, so nothing was connected. Try again in a minute."
            }
            Self::ConnectionGone => "The connection you wanted to repair was disconnected meanwhile.",
            Self::Conflict => "The connection was changed elsewhere meanwhile. Please try again.",
            Self::LinkUsed => {
                "This link was used already, perhaps in another tab, so nothing more was stored. Ask whoever sent it for a new one if you need it."
            }
            Self::LinkBegunAnew => {
                "The link was opened again in another browser and goes on there. Nothing was stored here. Finish there, or open the link again in this browser."
            }
            Self::SessionEnded => {
                "This browser was signed out, or the link was ended, while the app was asked. Nothing was stored. Sign in again, or ask for a new link."
            }
            Self::AccountUnknown => {
                "The app did not say which account was connected, so nothing was stored. Allow it to tell who you are, and try again in a moment."
            }
            Self::OtherAccount => {
                "This credential is for another account than the connection has, or the app does not tell. Nothing was stored. Send \"switch_account\": true to switch knowingly, or make a new connection."
            }
            Self::NotStored => {
                "The app gave its permission, but it could not be stored here, so it was given back to the app as far as possible. Nothing is connected. Please try again in a moment."
            }
        }
    }
}
