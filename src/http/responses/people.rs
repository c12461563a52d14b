//! People of a workspace.

use serde::Serialize;

use crate::store::people::Person;
use crate::time::Timestamp;
use crate::workspace::Role;

/// A person of the workspace: who has signed in, or owns a connection.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PersonResponse {
    /// The person's id. In a path it is percent-encoded.
    #[cfg_attr(test, schemars(length(min = 1)))]
    id: String,
    name: Option<String>,
    /// What the person may change from the next sign-in on.
    role: Role,
    /// When the person was first seen.
    created_at: Timestamp,
    /// Null for a person who has connections and never signed in.
    last_signed_in_at: Option<Timestamp>,
}

impl From<Person> for PersonResponse {
    fn from(person: Person) -> Self {
        Self {
            id: person.user.id,
            name: person.user.name,
            role: person.role,
            created_at: person.created_at,
            last_signed_in_at: person.last_signed_in_at,
        }
    }
}

/// A person who was removed.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DeletedPersonResponse {
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub(crate) id: String,
    #[cfg_attr(test, schemars(extend("const" = true)))]
    pub(crate) deleted: bool,
    /// Connections that belong to `transfer_to` now.
    pub(crate) connections_transferred: usize,
    /// Connections that belong to nobody now: there was no `transfer_to`.
    pub(crate) connections_without_owner: usize,
}
