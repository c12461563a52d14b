//! What is known of whether a connection works, in words.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{relative_time, user_text};
use super::text::fill;
use crate::time::Timestamp;

/// What is known of whether a connection works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Somebody has signed in.
    SignedIn,
    /// The app has renewed the access.
    Renewed,
    /// The app has accepted it.
    Accepted,
    /// The app's answer does not tell.
    Unclear,
    /// The app was not asked, because its addresses are others now.
    AddressesChanged,
    /// The app can't be asked.
    NothingToAsk,
    /// The app did not answer.
    NoAnswer,
    /// Renewing failed, with this code.
    RenewalFailed(String),
    /// The app was not asked, because it fails for others.
    HeldBack,
    /// Nobody has tried it.
    Never,
    /// Nobody has confirmed who has connected it.
    Unconfirmed,
    /// The app says that it was revoked.
    Revoked,
    /// The time that the app had set is over.
    Expired,
    /// The answer to a renewal was lost.
    LostRotation,
    /// It ended, and nothing can renew it.
    RefreshTokenMissing,
    /// The app rejects the key.
    RejectedKey,
    /// The app rejects the sign-in.
    RejectedSignIn,
    /// It belongs to somebody else.
    OtherAccount,
    /// It can't be decrypted.
    Unreadable,
    /// Something that this version does not know.
    Unknown,
}

/// The sentence. `at` is when it was seen.
pub(super) fn evidence_sentence(
    shell: &PageContext,
    evidence: &Evidence,
    at: Option<Timestamp>,
    app_name: &str,
) -> Markup {
    let text = &shell.text.evidence;
    let sentence = match evidence {
        Evidence::SignedIn => text.signed_in,
        Evidence::Renewed => text.renewed,
        Evidence::Accepted => text.accepted,
        Evidence::Unclear => text.unclear,
        Evidence::AddressesChanged => text.addresses_changed,
        Evidence::NothingToAsk => text.nothing_to_ask,
        Evidence::NoAnswer => text.no_answer,
        Evidence::RenewalFailed(_) => text.renewal_failed,
        Evidence::HeldBack => text.held_back,
        Evidence::Never => text.never,
        Evidence::Unconfirmed => text.unconfirmed,
        Evidence::Revoked => text.revoked,
        Evidence::Expired => text.expired,
        Evidence::LostRotation => text.lost_rotation,
        Evidence::RefreshTokenMissing => text.refresh_token_missing,
        Evidence::RejectedKey => text.rejected_key,
        Evidence::RejectedSignIn => text.rejected_sign_in,
        Evidence::OtherAccount => text.other_account,
        Evidence::Unreadable => text.unreadable,
        Evidence::Unknown => text.unknown,
    };
    let time = at.map_or_else(|| html! {}, |at| html! { "(" (relative_time(shell, at)) ")" });
    let code = html! { @if let Evidence::RenewalFailed(code) = evidence { (user_text(code)) } };
    fill(sentence, &[("app", user_text(app_name)), ("time", time), ("code", code)])
}
