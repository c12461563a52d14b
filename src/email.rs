//! E-mail: of what people are notified, what each of them wants to get, and how far an e-mail is.
//!
//! Owns which events people are notified of, of which at once, and the words. Refuses to send anything: `emails` does.

mod given;
pub mod message;
pub mod words;

use serde::{Deserialize, Serialize};

use crate::codes::codes;
use crate::email_address::EmailAddress;
use crate::ids::{WebhookId, WorkspaceId};
use crate::time::Timestamp;
use crate::webhook::{OutboxEvent, WebhookEventType};
use crate::workspace::Role;

/// The type of the event that a webhook was switched off, because its receiver failed. No webhook is notified of it.
pub const WEBHOOK_DISABLED: &str = "webhook.disabled";
/// What an e-mail that nobody knows the fate of has as its error.
pub const NO_ANSWER: &str = "no_answer";

/// The types of events that people are notified of: those of webhooks without the events of apps, which are for programs, and what concerns
/// webhooks.
pub fn told_types() -> Vec<&'static str> {
    let of_webhooks = WebhookEventType::ALL.into_iter().filter(|one| *one != WebhookEventType::AppEvent);
    of_webhooks.map(WebhookEventType::as_str).chain([WEBHOOK_DISABLED]).collect()
}

/// Whether people are notified of an event at once: workflows stop, or a program hears of nothing any more. Everything else waits for the
/// digest of the day.
pub fn is_urgent(event: &OutboxEvent) -> bool {
    event.event_type == WebhookEventType::ConnectionNeedsReconnect.as_str()
        || event.event_type == WebhookEventType::ClientMisconfigured.as_str()
        || event.event_type == WEBHOOK_DISABLED
}

/// Which events come first where not all of them have room: what needs a person, and of that what stops most. The last place is
/// that of everything that needs nobody.
pub(crate) fn rank(event_type: &str) -> u8 {
    match WebhookEventType::parse(event_type) {
        Some(WebhookEventType::ClientMisconfigured) => 0,
        Some(WebhookEventType::ConnectionNeedsReconnect) => 1,
        // That a webhook was switched off, or what a later version has.
        None => 2,
        Some(WebhookEventType::ConnectionExpiresSoon) => 3,
        Some(WebhookEventType::ClientSecretExpires) => 4,
        Some(WebhookEventType::ConnectionMissingScopes) => 5,
        Some(
            WebhookEventType::ConnectionCreated
            | WebhookEventType::ConnectionRecovered
            | WebhookEventType::ConnectionAccountChanged
            | WebhookEventType::ConnectionDefaultChanged
            | WebhookEventType::ConnectionDeleted
            | WebhookEventType::AppEvent,
        ) => 6,
    }
}

/// Whether a person has to do something about an event.
pub(crate) fn needs_person(event_type: &str) -> bool {
    rank(event_type) < 6
}

/// The types of events that need nobody. The trigger `unknown_emails_are_told_again` has the same.
pub fn calm_types() -> Vec<&'static str> {
    told_types().into_iter().filter(|one| !needs_person(one)).collect()
}

codes! {
    /// What a person wants to get.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum EmailPreference {
        /// What is urgent, and a digest a day.
        #[default]
        All = "all",
        /// What is urgent.
        Urgent = "urgent",
        /// Nothing.
        None = "none",
    }
}

/// Whether an e-mail is sent at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailKind {
    /// At once.
    Urgent,
    /// Once a day: what else has happened.
    Digest,
}

impl EmailKind {
    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Digest => "digest",
        }
    }

    /// Reads the stored text. One of a later version is no digest that could be changed.
    pub fn parse(text: &str) -> Self {
        if text == Self::Digest.as_str() { Self::Digest } else { Self::Urgent }
    }
}

codes! {
    /// How far an e-mail is, where that is written.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum EmailStatus {
        /// It is sent later.
        Waiting = "waiting",
        /// The service has taken it.
        Sent = "sent",
        /// The service refuses it, and it is not tried any more.
        Failed = "failed",
        /// There was nothing left to say, or nobody to send it to.
        Dropped = "dropped",
        /// It may have been sent. It is not sent again.
        Unknown = "unknown",
    }
}

/// That the people of a workspace are notified by e-mail, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailSubscription {
    /// Its id.
    pub id: WebhookId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// When the service last took an e-mail.
    pub last_sent_at: Option<Timestamp>,
    /// When an e-mail last failed, and the code.
    pub last_failure: Option<(Timestamp, String)>,
}

/// What is known of how to reach a person.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonEmail {
    /// The address that somebody has vouched for.
    pub address: Option<EmailAddress>,
    /// What they want to get.
    pub preference: EmailPreference,
}

/// An event, and how things are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldEvent {
    /// The event.
    pub event: OutboxEvent,
    /// Whether its connection needs a reconnect now.
    pub is_broken: bool,
    /// Whether there is such a connection no more.
    pub is_gone: bool,
    /// Whether its connection was connected anew since.
    pub is_renewed: bool,
}

/// An e-mail that somebody has taken to send it.
#[derive(Debug, Clone)]
pub struct ClaimedEmail {
    /// Its id.
    pub id: String,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The name of the workspace. None: it was deleted.
    pub workspace_name: Option<String>,
    /// Whom it is for.
    pub user: String,
    /// How to reach them.
    pub person: PersonEmail,
    /// Their role. None: they were removed.
    pub role: Option<Role>,
    /// Whether the people of the workspace are notified by e-mail.
    pub is_on: bool,
    /// Whether it is a digest.
    pub kind: EmailKind,
    /// What it is about.
    pub events: Vec<ToldEvent>,
    /// How many events there are, also those that it does not list.
    pub event_count: i64,
    /// Attempts, this one included.
    pub attempts: i64,
}

impl ClaimedEmail {
    /// The events that this person may read of now. Rights, wishes and connections may have changed since it was written.
    pub fn told(&self) -> Vec<&ToldEvent> {
        let (Some(role), true) = (self.role, self.is_on) else { return vec![] };
        let repair = WebhookEventType::ConnectionNeedsReconnect.as_str();
        let is_told = |one: &&ToldEvent| {
            let event = &one.event;
            let may_know = role == Role::Admin || event.user.as_deref() == Some(self.user.as_str());
            let is_wanted = match self.person.preference {
                EmailPreference::All => true,
                EmailPreference::Urgent => is_urgent(event),
                EmailPreference::None => false,
            };
            // What is gone, or was connected anew, ends no more and lacks nothing.
            let is_over = (one.is_gone || one.is_renewed)
                && matches!(
                    WebhookEventType::parse(&event.event_type),
                    Some(WebhookEventType::ConnectionExpiresSoon | WebhookEventType::ConnectionMissingScopes)
                );
            // There is another event for what works again.
            may_know && is_wanted && !is_over && (event.event_type != repair || one.is_broken)
        };
        self.events.iter().filter(is_told).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{EmailPreference, WEBHOOK_DISABLED, told_types};
    use crate::webhook::WebhookEventType;

    #[test]
    fn events_of_apps_are_told_to_nobody() {
        let told = told_types();
        assert!(told.contains(&WEBHOOK_DISABLED) && !told.contains(&WebhookEventType::AppEvent.as_str()));
        assert_eq!(WebhookEventType::parse(WEBHOOK_DISABLED), None, "no webhook can ask for it");
    }

    #[test]
    fn preferences_have_the_same_text_in_forms_and_in_json() {
        for one in EmailPreference::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
            assert_eq!(EmailPreference::parse(one.as_str()), Some(one));
        }
    }
}
