//! What the first page of the list offers to bring back.

use super::page::RecentlyDisconnected;
use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;
use crate::store::connections::ConnectionFilter;
use crate::store::disconnected::ListedDisconnected;
use crate::store::sessions::Session;
use crate::undo;
use crate::workspace::Role;

/// What the person may bring back, on the first page of a list without a search. The names of the apps are not known yet.
pub(super) async fn list_recent<P: Ports>(
    context: &Context<P>,
    session: &Session,
    of: &ConnectionFilter,
) -> Result<Vec<RecentlyDisconnected>> {
    let Some(user) = session.user().filter(|_| of.after.is_none() && of.text.is_none()) else { return Ok(vec![]) };
    let owner = (session.role != Role::Admin).then_some(user.id.as_str());
    let found = undo::list_disconnected(context, &session.workspace, owner).await?;
    let view = |one: ListedDisconnected| RecentlyDisconnected {
        id: one.id.to_string(),
        app: one.app.to_string(),
        app_name: String::new(),
        name: one.name,
        account_label: one.account_label,
        undo_until: one.undo_until,
    };
    Ok(found.into_iter().map(view).collect())
}
