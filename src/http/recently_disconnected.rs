//! What the first page of the list offers to bring back.

use super::page::RecentlyDisconnected;
use crate::store::disconnected::ListedDisconnected;

/// What the page shows of one. `app_name` is the name of its app.
pub(super) fn view_of(one: ListedDisconnected, app_name: String) -> RecentlyDisconnected {
    RecentlyDisconnected {
        id: one.id.to_string(),
        app: one.app.to_string(),
        app_name,
        name: one.name,
        account_label: one.account_label,
        undo_until: one.undo_until,
    }
}
