//! Links in a window that the embedding product has opened.
//!
//! Owns which answers leave that window its opener, and what its last page tells. The message goes to the origin that the
//! link was made for. Refuses to be relied on: an app's own pages may take the opener away, so the product also asks.

use super::page::{self, Message, PageContext, PopupOutcome};
use super::{IN_POPUP_MARKER, Response};
use crate::flows::FlowReport;
use crate::store::authorizations::{Flow, FlowOutcome};

/// An answer on the way of a link. If the link is for a window, the answer leaves it its opener.
pub(super) fn keep_opener(response: Response, popup_origin: Option<&str>) -> Response {
    match popup_origin {
        Some(_) => response.with_header(IN_POPUP_MARKER, String::new()),
        None => response,
    }
}

/// The page of a flow's outcome, which tells it if its link is for a window.
pub(super) fn outcome_page(shell: &PageContext, message: &Message, flow: &Flow, report: &FlowReport) -> Response {
    match outcome_to_tell(flow, report) {
        Some(outcome) => Response::html(200, page::popup_outcome(shell, message, &outcome)),
        None => Response::html(200, page::message(shell, message)),
    }
}

fn outcome_to_tell(flow: &Flow, report: &FlowReport) -> Option<PopupOutcome> {
    let (origin, link) = (flow.popup_origin.as_ref()?, flow.link.as_ref()?);
    let (status, is_connected) = match flow.outcome {
        FlowOutcome::Done => ("connected", true),
        FlowOutcome::AwaitingConfirmation => ("awaiting_confirmation", true),
        FlowOutcome::Denied => ("denied", false),
        FlowOutcome::Failed => ("failed", false),
        FlowOutcome::Discarded => ("discarded", false),
        FlowOutcome::Undecided => ("timed_out", false),
        // Nothing came of it yet.
        FlowOutcome::Pending => return None,
    };
    // Why it failed, and what is missing, is for the person to read.
    let is_to_be_read = matches!(flow.outcome, FlowOutcome::Failed | FlowOutcome::Undecided)
        || is_connected && !report.missing_scopes.is_empty();
    Some(PopupOutcome {
        origin: origin.clone(),
        link: link.to_string(),
        status,
        connection: flow.connection.as_ref().filter(|_| is_connected).map(ToString::to_string),
        closes: !is_to_be_read,
    })
}
