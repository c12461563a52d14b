//! What deserves a look about a connection, in the words of the pages. Programs get a code, and details in English.
//!
//! Owns which words belong to which code. Nothing here says how to call the API.

use super::page::{Texts, fill_plain};
use crate::attention::{self, Attention, AttentionCode, FailureKind};
use crate::client::ClientProblem;
use crate::connection::{Connection, DefinitionChange, MoveObstacle, ReconnectReason};
use crate::store::connections::ListedConnection;
use crate::store::uses::{StepChange, StepChangeCause};

/// What deserves a look, as one or several sentences. Without what a code is about, which is stored with it, none.
pub(super) fn explain(text: &Texts, listed: &ListedConnection, one: &Attention) -> String {
    let (words, connection) = (&text.attention, &listed.connection);
    let plain = match one.code {
        AttentionCode::AppRefuses => return explain_refusal(text, connection),
        AttentionCode::AppUnreachable => return explain_failure(text, connection),
        AttentionCode::DefinitionChanged => match &connection.definition_changed {
            Some(change) => return explain_definition_change(text, change),
            None => "",
        },
        AttentionCode::StepChangedConnection => match listed.step_changes.as_slice() {
            [only] => return explain_step_change(text, only),
            [first, ..] => return format!("{} {}", explain_step_change(text, first), words.step_others),
            [] => "",
        },
        // What that means at the app, its definition says.
        AttentionCode::NothingShared => return one.detail.clone().unwrap_or_default(),
        AttentionCode::ClientMisconfigured => explain_client(text, listed),
        // Said with its day, where it is said.
        AttentionCode::ExpiresSoon => "",
        AttentionCode::MissingScopes => words.missing_scopes,
        AttentionCode::ClientSecretExpires => words.client_secret_expires,
        AttentionCode::DefaultUnusable => words.default_unusable,
        AttentionCode::Unused => words.unused,
        AttentionCode::Duplicate => words.duplicate,
    };
    plain.to_owned()
}

fn explain_refusal(text: &Texts, connection: &Connection) -> String {
    let words = &text.attention;
    match connection.refusal.as_ref().and_then(|refused| refused.code.as_deref()) {
        Some(code) => fill_plain(words.app_refuses, &[("code", code)]),
        None => words.app_refuses_without_code.to_owned(),
    }
}

fn explain_failure(text: &Texts, connection: &Connection) -> String {
    let words = &text.attention;
    let Some((kind, code)) = attention::last_failure(connection) else { return words.app_unreachable.to_owned() };
    let words = match kind {
        FailureKind::AsksToWait => words.app_asks_to_wait,
        FailureKind::InternalError => words.app_has_error,
        FailureKind::NoAccess => words.app_gives_nothing,
    };
    fill_plain(words, &[("code", code)])
}

fn explain_client(text: &Texts, listed: &ListedConnection) -> &'static str {
    let words = &text.attention;
    match listed.client_problem() {
        _ if listed.client_replaced => words.client_replaced,
        Some(ClientProblem::SecretUnreadable) => words.client_unreadable,
        Some(ClientProblem::PrivateKeyUnusable) => words.client_key_unusable,
        Some(ClientProblem::AddressesChanged) => words.client_addresses_changed,
        None => words.client_misconfigured,
    }
}

fn explain_definition_change(text: &Texts, change: &DefinitionChange) -> String {
    let words = &text.attention;
    let why = match change.obstacle {
        MoveObstacle::Addresses => words.new_addresses,
        MoveObstacle::Client => words.new_client,
        MoveObstacle::Method => words.new_method,
        MoveObstacle::Fields => words.new_fields,
        MoveObstacle::Variables => words.new_variables,
        MoveObstacle::Identity => words.new_identity,
    };
    let hosts: Vec<_> = change.hosts.iter().map(String::as_str).collect();
    let hosts = if hosts.is_empty() { String::new() } else { format!(" ({})", hosts.join(", ")) };
    fill_plain(words.definition_stays, &[("why", &format!("{why}{hosts}"))])
}

/// Which step used what before.
pub(super) fn explain_step_change(text: &Texts, change: &StepChange) -> String {
    let words = &text.attention;
    let before = change.from.as_ref().map_or(words.another_connection, |from| from.name.as_str());
    let sentence = match change.by {
        StepChangeCause::Id => words.step_names_it,
        StepChangeCause::Default | StepChangeCause::Only => words.step_gets_it_by_default,
        StepChangeCause::Replacement => words.step_was_replaced,
    };
    fill_plain(sentence, &[("step", &change.step), ("workflow", &change.workflow), ("before", before)])
}

/// Why only a person can repair a connection.
pub(super) fn explain_reason(text: &Texts, reason: ReconnectReason) -> &'static str {
    let words = &text.attention;
    match reason {
        ReconnectReason::Revoked => words.revoked,
        ReconnectReason::Expired => words.expired,
        ReconnectReason::LostRotation => words.lost_rotation,
        ReconnectReason::RefreshTokenMissing => words.refresh_token_missing,
        ReconnectReason::CredentialRejected => words.credential_rejected,
        ReconnectReason::OtherAccount => words.other_account,
        ReconnectReason::Unreadable => words.unreadable,
    }
}
