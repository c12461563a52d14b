//! What deserves a look before it breaks: derived when reading, never stored.
//!
//! The list's filter in `store::connections` says the same in SQL; a test holds the two together.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::connection::{Connection, FAILURES, Refused, SOON, Status};
use crate::store::connections::Listed;
use crate::time::Timestamp;

/// Thirty days: a client secret that ends sooner should be replaced.
const SECRET_SOON: i64 = 30 * 86_400;
/// Ninety days without a use.
const UNUSED: i64 = 90 * 86_400;

/// One thing that deserves a look before it breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Attention {
    /// What it is about.
    pub code: Code,
    /// When it comes true; for `app_refuses` since when it is so. Absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What more is known about it and what to do, for a person. With `nothing_shared`: what that means at this app; it was
    /// last looked at when connecting and at a check that was asked for, not by the scheduled run. With
    /// `client_misconfigured`: why the client can't be used, where that is known without the app. With
    /// `definition_changed`: what stands against the new definition.
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
    fn new(code: Code) -> Self {
        Self { code, at: None, detail: None, reconnect_url: None, hosts: BTreeSet::new() }
    }

    /// A sentence for a person.
    pub fn explained(&self) -> &str {
        self.detail.as_deref().unwrap_or_else(|| self.code.explained())
    }
}

/// The kinds of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "AttentionCode"))]
pub enum Code {
    /// The access ends and can't be renewed.
    ExpiresSoon,
    /// Not all that was asked for was granted.
    MissingScopes,
    /// The app has not answered for a while.
    AppUnreachable,
    /// The app refuses to renew the access, by a code that does not end it.
    AppRefuses,
    /// The app refuses the client.
    ClientMisconfigured,
    /// The client's secret ends.
    ClientSecretExpires,
    /// Nobody has used it for 90 days.
    Unused,
    /// Its owner has another to the same account.
    Duplicate,
    /// It works, but was last seen to see nothing.
    NothingShared,
    /// It stays with an earlier definition of its app.
    DefinitionChanged,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 10] = [
        Self::ExpiresSoon,
        Self::MissingScopes,
        Self::AppUnreachable,
        Self::AppRefuses,
        Self::ClientMisconfigured,
        Self::ClientSecretExpires,
        Self::Unused,
        Self::Duplicate,
        Self::NothingShared,
        Self::DefinitionChanged,
    ];

    /// The code's text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExpiresSoon => "expires_soon",
            Self::MissingScopes => "missing_scopes",
            Self::AppUnreachable => "app_unreachable",
            Self::AppRefuses => "app_refuses",
            Self::ClientMisconfigured => "client_misconfigured",
            Self::ClientSecretExpires => "client_secret_expires",
            Self::Unused => "unused",
            Self::Duplicate => "duplicate",
            Self::NothingShared => "nothing_shared",
            Self::DefinitionChanged => "definition_changed",
        }
    }

    /// A sentence for a person.
    pub fn explained(self) -> &'static str {
        match self {
            Self::ExpiresSoon => "This access ends soon unless it is renewed before.",
            Self::MissingScopes => "Not all permissions were granted.",
            Self::AppUnreachable => "The app has not answered for a while; it is tried again.",
            Self::AppRefuses => "The app refuses to renew this access. Reconnect it if that does not end by itself.",
            Self::ClientMisconfigured => "The app refuses this workspace's client id and secret.",
            Self::ClientSecretExpires => "The client secret ends soon and must be replaced.",
            Self::Unused => "Nothing has used this for 90 days.",
            Self::Duplicate => "You have another connection to the same account.",
            Self::NothingShared => "It works, but nothing has been shared with it.",
            Self::DefinitionChanged => "The app's definition was changed; this connection stays with the earlier one.",
        }
    }
}

/// What an app that refuses says, for a person.
fn refusal(refused: &Refused) -> String {
    let code = refused.told_code();
    format!("The app refuses to renew this access. {code} Reconnect it if that does not end by itself.")
}

/// Why nothing comes of asking the app, where it does answer.
fn of_answers(connection: &Connection) -> Option<String> {
    let code = connection.last_error.as_deref()?;
    let says = match code {
        "timeout" | "network_error" | "app_unavailable" | "database_slow" | "not_asked" => return None,
        "too_many_requests" | "slow_down" | "temporarily_unavailable" => "The app asks to wait",
        "server_error" => "The app answers with an error of its own",
        _ => "The app's answers bring no new access",
    };
    Some(format!("{says} ({code}); it is tried again."))
}

/// The client that a connection lives with is refused, and only a new consent gets it another.
const CLIENT_REPLACED: &str =
    "The app refuses the OAuth client that this was connected with, and another one has taken its place. Reconnect it.";

/// What deserves a look about a connection.
pub fn of(listed: &Listed, now: Timestamp) -> Vec<Attention> {
    let connection = &listed.connection;
    let connected = connection.status == Status::Connected;
    let soon = |end: Option<Timestamp>, within: i64| end.filter(|end| *end < now.plus(within));
    let access_ends = if connection.refreshable { None } else { connection.expires_at };
    let ends = access_ends.into_iter().chain(connection.ends_for_good_at()).min();
    let ends = soon(ends, SOON).filter(|_| connected);
    let secret_ends = soon(listed.client_secret_expires_at, SECRET_SOON);
    // An app that was not asked is not out of reach.
    let was_not_asked = connection.client_problem().is_some();
    let problem = listed.client_problem();
    let is_misconfigured = listed.client_misconfigured || problem.is_some();
    let last_sign = connection.last_used_at.unwrap_or(connection.connected_at);
    let refused = connection.kept_refusing(now).filter(|_| !was_not_asked);
    // One that refuses the client has answered.
    let refuses_client = listed.client_error.is_some() && listed.client_error == connection.last_error;
    let is_silent = connection.refused.is_none() && !was_not_asked && !refuses_client;
    let unreachable = connected && connection.failures >= FAILURES && is_silent;
    let found = [
        (ends.is_some(), Code::ExpiresSoon, ends),
        (!connection.missing_scopes().is_empty(), Code::MissingScopes, None),
        (unreachable, Code::AppUnreachable, None),
        (refused.is_some(), Code::AppRefuses, refused.map(|refused| refused.since)),
        (secret_ends.is_some(), Code::ClientSecretExpires, secret_ends),
        (now.since(last_sign) > UNUSED, Code::Unused, None),
        (listed.duplicate, Code::Duplicate, None),
    ];
    let nothing = connection.nothing_shared.clone().filter(|_| connected);
    let nothing = nothing.map(|say| Attention { detail: Some(say), ..Attention::new(Code::NothingShared) });
    let changed = connection.definition_changed.as_ref().map(|change| Attention {
        detail: Some(change.explained()),
        hosts: change.hosts.clone(),
        ..Attention::new(Code::DefinitionChanged)
    });
    let client = is_misconfigured.then(|| Attention {
        detail: match problem {
            _ if listed.client_replaced => Some(CLIENT_REPLACED.to_owned()),
            problem => problem.map(|problem| problem.explained().to_owned()),
        },
        ..Attention::new(Code::ClientMisconfigured)
    });
    let found = found.into_iter().filter(|(holds, _, _)| *holds);
    let detail = |code: Code| match code {
        Code::AppRefuses => refused.map(refusal),
        Code::AppUnreachable => of_answers(connection),
        _ => None,
    };
    let found = found.map(|(_, code, at)| Attention { at, detail: detail(code), ..Attention::new(code) });
    found.chain(client).chain(nothing).chain(changed).collect()
}
