//! What has just happened, as one sentence at the top of the next page.
//!
//! Owns the codes and their sentences. [`crate::http::notices`] carries a notice to the next page, once.

use maud::{Markup, html};

use super::frame::{icon, tone_class, tone_icon, user_text};
use super::recently_disconnected::undo_forms;
use super::text::fill;
use super::{PageContext, Tone};

/// Makes the codes, each with the text of its sentence and how good the news is.
macro_rules! notices {
    ($($code:ident $stored:literal $tone:ident $text:ident;)*) => {
        /// What has happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum NoticeCode {
            $(#[doc = $stored] $code,)*
        }

        impl NoticeCode {
            /// As a cookie has it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $stored,)* }
            }

            /// From a cookie.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($stored => Some(Self::$code),)* _ => None }
            }

            fn tone(self) -> Tone {
                match self { $(Self::$code => Tone::$tone,)* }
            }

            fn text(self, shell: &PageContext) -> &'static str {
                match self { $(Self::$code => shell.text.notice.$text,)* }
            }
        }
    };
}

notices! {
    Connected "connected" Good connected;
    ConnectedUnknown "connected-unknown" Good connected_unknown;
    DisconnectedForNow "disconnected-for-now" Info disconnected_for_now;
    Undone "undone" Good undone;
    UndoneWithoutDefault "undone-without-default" Waiting undone_without_default;
    UndoneWithoutReplacement "undone-without-replacement" Waiting undone_without_replacement;
    UndoneWithoutBoth "undone-without-both" Waiting undone_without_both;
    UndoTooLate "undo-too-late" Bad undo_too_late;
    Disconnected "disconnected" Good disconnected;
    DisconnectedUnsupported "disconnected-unsupported" Good disconnected_unsupported;
    DisconnectedShared "disconnected-shared" Good disconnected_shared;
    DisconnectedRetrying "disconnected-retrying" Waiting disconnected_retrying;
    DisconnectedUnconfirmed "disconnected-unconfirmed" Waiting disconnected_unconfirmed;
    Renamed "renamed" Good renamed;
    Environment "environment" Good environment;
    Sharing "sharing" Good sharing;
    GivenAway "given-away" Good given_away;
    Replaced "replaced" Good replaced;
    Unreplaced "unreplaced" Good unreplaced;
    Acknowledged "acknowledged" Good acknowledged;
    CheckHealthy "check-healthy" Good check_healthy;
    CheckBroken "check-broken" Bad check_broken;
    CheckUnavailable "check-unavailable" Waiting check_unavailable;
    CheckClient "check-client" Bad check_client;
    CheckedBeforeHealthy "checked-before-healthy" Good checked_before_healthy;
    CheckedBeforeBroken "checked-before-broken" Bad checked_before_broken;
    CheckedBeforeUnavailable "checked-before-unavailable" Waiting checked_before_unavailable;
    CheckUnknown "check-unknown" Waiting check_unknown;
    SignedIn "signed-in" Good signed_in;
    FormRestored "form-restored" Info form_restored;
    ClientSaved "client-saved" Good client_saved;
    ClientDeleted "client-deleted" Good client_deleted;
    KeyRevoked "key-revoked" Good key_revoked;
    RoleSaved "role-saved" Good role_saved;
    PersonRemoved "person-removed" Good person_removed;
    SessionEnded "session-ended" Good session_ended;
    SignInLinkDeleted "sign-in-link-deleted" Good sign_in_link_deleted;
    LinkEnded "link-ended" Good link_ended;
    Saved "saved" Good saved;
    WebhookDeleted "webhook-deleted" Good webhook_deleted;
    AppCreated "app-created" Good app_created;
    AppSaved "app-saved" Good app_saved;
    AppSavedStaying "app-saved-staying" Waiting app_saved_staying;
    AppDeleted "app-deleted" Good app_deleted;
    ProviderRemoved "provider-removed" Good provider_removed;
}

/// What has just happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub code: NoticeCode,
    /// What `{account}` or `{name}` in its sentence stands for. Empty if it has none.
    pub about: String,
}

impl Notice {
    /// A disconnect that can be undone.
    pub fn disconnected_for_now(id: &str, name: &str) -> Self {
        Self { code: NoticeCode::DisconnectedForNow, about: format!("{id} {name}") }
    }

    /// The id of the connection that can be brought back, and what the sentence is about.
    fn parts(&self) -> (Option<&str>, &str) {
        match (self.code, self.about.split_once(' ')) {
            (NoticeCode::DisconnectedForNow, Some((id, name))) => (Some(id), name),
            _ => (None, self.about.as_str()),
        }
    }
}

/// The notice. A screen reader reads it, and the keyboard continues after it.
pub(super) fn notice_section(shell: &PageContext) -> Markup {
    html! {
        @if let Some(notice) = &shell.notice {
            @let tone = notice.code.tone();
            @let (undo, about) = notice.parts();
            (banner(tone, &html! {
                p { (fill(sentence(shell, notice), &[("account", user_text(about)), ("name", user_text(about))])) }
                @if let Some(id) = undo { (undo_forms(shell, id, None)) }
            }))
        }
    }
}

/// The sentence of a notice. The account is known only to the connection's own page.
fn sentence(shell: &PageContext, notice: &Notice) -> &'static str {
    match notice.code {
        NoticeCode::Connected if notice.about.is_empty() => shell.text.notice.connected_unknown,
        code => code.text(shell),
    }
}

/// A banner at the top of a page.
pub(super) fn banner(tone: Tone, body: &Markup) -> Markup {
    html! {
        div #notice.notice.(tone_class(tone)) role="status" tabindex="-1" autofocus {
            (icon(tone_icon(tone)))
            div { (body) }
        }
    }
}
