//! What a line of the audit log is about, in words.
//!
//! Owns that each type has words of its own. What a line mentions is in `activity`.

use crate::audit::EventType;
use crate::http::page::Texts;

/// The words for a type of lines.
pub(super) fn event_words(text: &Texts, event: EventType) -> &'static str {
    let words = &text.event;
    match event {
        EventType::Connected => words.connected,
        EventType::Reconnected => words.reconnected,
        EventType::AccountSwitched => words.account_switched,
        EventType::Reused => words.reused,
        EventType::Confirmed => words.confirmed,
        EventType::Edited => words.edited,
        EventType::NeedsReconnect => words.needs_reconnect,
        EventType::TokenLost => words.token_lost,
        EventType::DefinitionUpdated => words.definition_updated,
        EventType::DefinitionChanged => words.definition_changed,
        EventType::DefaultChanged => words.default_changed,
        EventType::Replaced => words.replaced,
        EventType::ReplacementEnded => words.replacement_ended,
        EventType::ChangesAcknowledged => words.changes_acknowledged,
        EventType::Disconnected => words.disconnected,
        EventType::DisconnectUndone => words.disconnect_undone,
        EventType::KeyCreated => words.key_created,
        EventType::KeyRotated => words.key_rotated,
        EventType::KeyRevoked => words.key_revoked,
        EventType::WorkspaceCreated => words.workspace_created,
        EventType::WorkspaceChanged => words.workspace_changed,
        EventType::AppCreated => words.app_created,
        EventType::AppChanged => words.app_changed,
        EventType::AppDeleted => words.app_deleted,
        EventType::AppDisconnected => words.app_disconnected,
        EventType::ClientChanged => words.client_changed,
        EventType::EventSecretChanged => words.event_secret_changed,
        EventType::ClientDeleted => words.client_deleted,
        EventType::LinkCreated => words.link_created,
        EventType::LinkEnded => words.link_ended,
        EventType::SignInLinkCreated => words.sign_in_link_created,
        EventType::SignInLinkDeleted => words.sign_in_link_deleted,
        EventType::SignedIn => words.signed_in,
        EventType::SignedOut => words.signed_out,
        EventType::SessionEnded => words.session_ended,
        EventType::RoleChanged => words.role_changed,
        EventType::PersonRemoved => words.person_removed,
        EventType::CredentialReturned => words.credential_returned,
        EventType::RequestProxied => words.request_proxied,
        EventType::AuthenticationRefused => words.authentication_refused,
        EventType::WebhookCreated => words.webhook_created,
        EventType::WebhookChanged => words.webhook_changed,
        EventType::WebhookRotated => words.webhook_rotated,
        EventType::WebhookDeleted => words.webhook_deleted,
        EventType::WebhookDisabled => words.webhook_disabled,
        EventType::EmailPreferenceChanged => words.email_preference_changed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_type_has_words_of_its_own() {
        let all: BTreeSet<_> =
            EventType::ALL.into_iter().map(|one| event_words(&crate::http::page::ENGLISH, one)).collect();
        assert_eq!(all.len(), EventType::ALL.len());
        assert!(all.iter().all(|words| !words.contains('_') && words.starts_with(char::is_uppercase)), "{all:?}");
    }
}
