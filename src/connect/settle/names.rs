//! What a new connection is called while nobody has named it.
//!
//! Owns how app and account make a name, and how long any name may be. Refuses a name that is taken, as long as a
//! number helps.

use crate::app::App;
use crate::connection::Account;
use crate::core::Core;
use crate::error::Result;
use crate::ports::Ports;
use crate::store::authorizations::Authorization;
use crate::store::connections;

/// Characters of a name, at most.
pub const LONGEST_NAME: usize = 100;

/// A name that tells app and account, or, where nobody knows it, what the credential tells of it; with a number where it is
/// taken.
pub(super) async fn free_name<P: Ports>(
    core: &Core<P>,
    flow: &Authorization,
    app: &App,
    (account, mark): (Option<&Account>, Option<&str>),
) -> Result<String> {
    let name = match (account, mark) {
        (None, Some(mark)) => format!("{} ({mark})", app.name),
        _ => unnumbered(app, account),
    };
    let taken = connections::names_like(core.db(), &flow.workspace, &flow.app, &name).await?;
    if !taken.contains(&name) {
        return Ok(name);
    }
    let numbered = (2..1000).map(|number| format!("{name} {number}")).find(|candidate| !taken.contains(candidate));
    Ok(numbered.unwrap_or(name))
}

fn unnumbered(app: &App, account: Option<&Account>) -> String {
    let name = account.map_or_else(|| app.name.clone(), |account| format!("{} ({})", app.name, account.label));
    name.chars().take(LONGEST_NAME - 4).collect()
}

/// Whether nobody chose a connection's name: it is as it was made of app and account.
pub(super) fn is_generated(name: &str, app: &App, account: Option<&Account>) -> bool {
    name.strip_prefix(&unnumbered(app, account)).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix(' ').is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    })
}
