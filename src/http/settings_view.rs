//! What a connection's page shows of its settings.
//!
//! Owns what of other connections a person sees there. The forms are handled in [`super::connection_settings`].

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::page::{OtherConnection, SettingsView};
use crate::attention;
use crate::authorize::{Caller, RequiredRole};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Result;
use crate::ports::Ports;
use crate::replacements;
use crate::store::connections::ListedConnection;
use crate::store::replacements::RelatedConnection;
use crate::store::sessions::Session;
use crate::workspace::Role;

/// Connections that are offered to answer for another one.
const MOST_CANDIDATES: i64 = 100;

fn environment_text(environment: Option<Environment>) -> String {
    environment.map(Environment::as_str).unwrap_or_default().to_owned()
}

/// A connection that is shown together with another one. What the person does not see has no name.
fn other(caller: &Caller<'_>, of: &ListedConnection, one: &RelatedConnection) -> OtherConnection {
    let is_seen = caller.sees_related(one, &of.connection.app);
    OtherConnection {
        id: one.id.to_string(),
        name: is_seen.then(|| one.name.clone()),
        environment: environment_text(one.environment),
    }
}

/// What the page shows of a connection's settings.
pub(super) async fn build_settings<P: Ports>(
    context: &Context<P>,
    session: &Session,
    listed: &ListedConnection,
) -> Result<SettingsView> {
    let (connection, caller) = (&listed.connection, Caller::User(session, RequiredRole::OwnerOrAdmin));
    let candidates = if caller.may_change(connection) {
        replacements::list_candidates(context, &caller, connection, MOST_CANDIDATES).await?
    } else {
        vec![]
    };
    Ok(SettingsView {
        environment: environment_text(connection.environment),
        shared: connection.shared,
        owner: (session.role == Role::Admin)
            .then(|| connection.user.as_ref().map(|user| user.id.clone()).unwrap_or_default()),
        replaced_by: listed.replaced_by.as_ref().map(|one| other(&caller, listed, one)),
        replaces: listed.replaces.iter().map(|one| other(&caller, listed, one)).collect(),
        candidates: candidates
            .into_iter()
            .map(|one| OtherConnection {
                id: one.connection.id.to_string(),
                environment: environment_text(one.connection.environment),
                name: Some(one.connection.name),
            })
            .collect(),
        step_changes: listed.step_changes.iter().map(attention::describe_step_change).collect(),
        rejected: None,
    })
}

/// Where the page of a workflow is.
pub(super) fn workflow_href(workflow: &str) -> String {
    format!("/workflows/{}", utf8_percent_encode(workflow, NON_ALPHANUMERIC))
}
