//! What deserves a look before it breaks: derived when reading, never stored.
//!
//! The list's filter in `store::connections` says the same in SQL; a test holds the two together.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::client::SECRET_EXPIRY_WARNING;
use crate::codes::codes;
use crate::connection::{
    Connection, ConnectionStatus, EXPIRES_SOON_WITHIN, FAILURE_THRESHOLD, RefreshRefusal, UNUSED_AFTER,
};
use crate::store::connections::ListedConnection;
use crate::store::uses::{StepChange, StepChangeCause};
use crate::time::Timestamp;

/// One thing that deserves a look before it breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attention {
    /// What it is about.
    pub code: AttentionCode,
    /// When it comes true; for `app_refuses` since when it is so. Absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What more is known about it and what to do, for a person. With `nothing_shared`: what that means at this app; it was
    /// last looked at when connecting and at a check that was asked for, not by the scheduled run. With
    /// `client_misconfigured`: why the client can't be used, where that is known without the app. With
    /// `definition_changed`: what stands against the new definition. With `step_changed_connection`: which step, and what it
    /// used before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// With `definition_changed`: where a signed-in person reconnects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(url))]
    pub reconnect_url: Option<String>,
    /// With `definition_changed`: the hosts that the credential would go to in addition; at a host that it goes to already,
    /// the address. Absent where the hosts are not what stands against it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<String>,
}

impl Attention {
    fn new(code: AttentionCode) -> Self {
        Self { code, at: None, detail: None, reconnect_url: None, hosts: BTreeSet::new() }
    }
}

codes! {
    /// The kinds of attention.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AttentionCode"))]
    pub enum AttentionCode {
        /// It is the default of its app and needs a person.
        DefaultUnusable = "default_unusable",
        /// The access ends and can't be renewed.
        ExpiresSoon = "expires_soon",
        /// Not all that was asked for was granted.
        MissingScopes = "missing_scopes",
        /// The app has not answered for a while.
        AppUnreachable = "app_unreachable",
        /// The app refuses to renew the access, by a code that does not end it.
        AppRefuses = "app_refuses",
        /// The app refuses the client.
        ClientMisconfigured = "client_misconfigured",
        /// The client's secret ends.
        ClientSecretExpires = "client_secret_expires",
        /// Nobody has used it for 90 days.
        Unused = "unused",
        /// Its owner has another to the same account.
        Duplicate = "duplicate",
        /// It works, but was last seen to see nothing.
        NothingShared = "nothing_shared",
        /// It stays with an earlier definition of its app.
        DefinitionChanged = "definition_changed",
        /// A step used another connection before. Reported for a week, or until somebody acknowledges it.
        StepChangedConnection = "step_changed_connection",
    }
}

/// What an app that refuses says, for a person.
fn refusal_detail(refused: &RefreshRefusal) -> String {
    let code = refused.reported_code_sentence();
    format!("The app refuses to renew this access. {code} Reconnect it if that does not end by itself.")
}

/// What an app answers that brings no access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// It is asked too often.
    AsksToWait,
    /// It has an error of its own.
    InternalError,
    /// Something else.
    NoAccess,
}

/// Why nothing comes of asking the app, where it does answer, with the code of it.
pub fn last_failure(connection: &Connection) -> Option<(FailureKind, &str)> {
    let code = connection.last_error.as_deref()?;
    let kind = match code {
        "timeout" | "network_error" | "app_unavailable" | "database_slow" | "not_asked" => return None,
        "too_many_requests" | "slow_down" | "temporarily_unavailable" => FailureKind::AsksToWait,
        "server_error" => FailureKind::InternalError,
        _ => FailureKind::NoAccess,
    };
    Some((kind, code))
}

fn failure_detail(connection: &Connection) -> Option<String> {
    let (kind, code) = last_failure(connection)?;
    let says = match kind {
        FailureKind::AsksToWait => "The app asks to wait",
        FailureKind::InternalError => "The app has an internal error",
        FailureKind::NoAccess => "The app answered, but gave no new access",
    };
    Some(format!("{says} ({code}); it is tried again."))
}

/// The client that a connection lives with is refused, and only a new consent gets it another.
const CLIENT_REPLACED: &str =
    "The app refuses the OAuth client that this was connected with, and another one has taken its place. Reconnect it.";

/// What deserves a look about a connection.
pub fn for_connection(listed: &ListedConnection, now: Timestamp) -> Vec<Attention> {
    let connection = &listed.connection;
    let connected = connection.status == ConnectionStatus::Connected;
    let soon = |end: Option<Timestamp>, within: i64| end.filter(|end| *end < now.plus(within));
    let access_ends = if connection.refreshable { None } else { connection.expires_at };
    let ends = access_ends.into_iter().chain(connection.reconnect_due_at()).min();
    let ends = soon(ends, EXPIRES_SOON_WITHIN).filter(|_| connected);
    let secret_ends = soon(listed.client_secret_expires_at, SECRET_EXPIRY_WARNING);
    // An app that was not asked is not out of reach.
    let was_not_asked = connection.client_problem().is_some();
    let problem = listed.client_problem();
    let is_misconfigured = listed.client_misconfigured || problem.is_some();
    let last_sign = connection.last_used_at.unwrap_or(connection.connected_at);
    let refused = connection.lasting_refusal(now).filter(|_| !was_not_asked);
    // One that refuses the client has answered.
    let refuses_client = listed.client_error.is_some() && listed.client_error == connection.last_error;
    let is_silent = connection.refusal.is_none() && !was_not_asked && !refuses_client;
    let unreachable = connected && connection.failures >= FAILURE_THRESHOLD && is_silent;
    let broken = connection.status == ConnectionStatus::NeedsReconnect;
    let found = [
        // First: it concerns the most steps.
        (listed.serves_default && broken, AttentionCode::DefaultUnusable, None),
        (ends.is_some(), AttentionCode::ExpiresSoon, ends),
        (!connection.missing_scopes().is_empty(), AttentionCode::MissingScopes, None),
        (unreachable, AttentionCode::AppUnreachable, None),
        (refused.is_some(), AttentionCode::AppRefuses, refused.map(|refused| refused.since)),
        (secret_ends.is_some(), AttentionCode::ClientSecretExpires, secret_ends),
        (now.since(last_sign) > UNUSED_AFTER, AttentionCode::Unused, None),
        (listed.duplicate, AttentionCode::Duplicate, None),
    ];
    let nothing = connection.nothing_shared.clone().filter(|_| connected);
    let nothing = nothing.map(|say| Attention { detail: Some(say), ..Attention::new(AttentionCode::NothingShared) });
    let changed = connection.definition_changed.as_ref().map(|change| Attention {
        detail: Some(change.explanation()),
        hosts: change.hosts.clone(),
        ..Attention::new(AttentionCode::DefinitionChanged)
    });
    let client = is_misconfigured.then(|| Attention {
        detail: match problem {
            _ if listed.client_replaced => Some(CLIENT_REPLACED.to_owned()),
            problem => problem.map(|problem| problem.explanation().to_owned()),
        },
        ..Attention::new(AttentionCode::ClientMisconfigured)
    });
    let found = found.into_iter().filter(|(holds, _, _)| *holds);
    let detail = |code: AttentionCode| match code {
        AttentionCode::AppRefuses => refused.map(refusal_detail),
        AttentionCode::AppUnreachable => failure_detail(connection),
        _ => None,
    };
    let found = found.map(|(_, code, at)| Attention { at, detail: detail(code), ..Attention::new(code) });
    let more = if listed.step_changes.len() > 1 { " So did others." } else { "" };
    let moved = listed.step_changes.first().map(|change| Attention {
        at: Some(change.at),
        detail: Some(format!("{}{more}", describe_step_change(change))),
        ..Attention::new(AttentionCode::StepChangedConnection)
    });
    found.chain(client).chain(nothing).chain(changed).chain(moved).collect()
}

/// Which step used what before.
fn describe_step_change(change: &StepChange) -> String {
    let before = change.from.as_ref().map_or_else(|| "another connection".to_owned(), |from| from.name.clone());
    let cause = match change.by {
        StepChangeCause::Id => "the step names this one now",
        StepChangeCause::Default | StepChangeCause::Only => "the step names the app, and gets this one by default now",
        StepChangeCause::Replacement => "a replacement was made or undone",
    };
    format!("The step {} of the workflow {} used {before} before: {cause}.", change.step, change.workflow)
}
