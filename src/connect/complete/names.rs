//! The name of a new connection, if nobody has named it.
//!
//! Owns what the name says of a connection whose account is unknown. A duplicate name gets a number, if possible.

use crate::account::Account;
use crate::app::AuthMethod;
use crate::context::Context;
use crate::error::Result;
use crate::names::{name_of_account, numbered_name};
use crate::ports::Ports;
use crate::store::connections;

use super::Completion;

/// A name with app and account, or, if the account is unknown, with what the credential says about it; with a number if
/// it is a duplicate.
pub(super) async fn generate_name<P: Ports>(context: &Context<P>, completion: &Completion<'_>) -> Result<String> {
    let Completion { flow, auth_method, grant, .. } = completion;
    let mut marks = auth_method.field_marks(&grant.credential.fields);
    let name = match (&grant.account, marks.find_map(|mark| mark.label.as_deref())) {
        (None, Some(mark)) => format!("{} ({mark})", auth_method.app_name),
        (account, _) => base_name(auth_method, account.as_ref()),
    };
    let taken = connections::list_names_with_prefix(context.db(), &flow.workspace, &flow.app, &name).await?;
    Ok(numbered_name(name, &taken))
}

fn base_name(auth_method: &AuthMethod, account: Option<&Account>) -> String {
    name_of_account(&auth_method.app_name, account.map(|account| account.label.as_str()))
}

/// Whether nobody chose a connection's name: it is the generated one of app and account.
pub(super) fn is_generated_name(name: &str, auth_method: &AuthMethod, account: Option<&Account>) -> bool {
    name.strip_prefix(&base_name(auth_method, account)).is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix(' ').is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
    })
}
