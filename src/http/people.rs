//! The people of a workspace: list, change a role, remove.

use serde::Deserialize;

use super::Call;
use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::responses::{DeletedPersonResponse, PersonResponse};
use crate::authorize::LoadedResource;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::people::{self, Removal};
use crate::ports::Ports;
use crate::store::people::{PeopleFilter, Person};
use crate::workspace::Role;

/// Longest text that is searched for, in characters.
const MAX_SEARCH_LENGTH: usize = 100;

fn path_person<'a>(call: &'a Call<'_>) -> Result<&'a Person> {
    match &call.subject {
        LoadedResource::Person(person) => Ok(person),
        _ => Err(super::undeclared_resource_error()),
    }
}

pub(super) async fn list_people<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<PersonResponse>>> {
    let filters = QueryParams::parse_list_query(call.request, &["q", "role"])?;
    let search = |text: &str| (text.chars().count() <= MAX_SEARCH_LENGTH).then(|| text.to_owned());
    let filter = PeopleFilter {
        role: filters.get_parsed("role", Role::parse, "must be member or admin.")?,
        text: filters.get_parsed("q", search, "may have at most 100 characters.")?,
        after: filters.cursor(people::parse_cursor)?.unwrap_or_default(),
        limit: filters.limit()?,
    };
    let page = people::list_people(context, &call.caller_key()?.workspace, &filter).await?;
    Ok(Json::ok(ListResponse::of(page, PersonResponse::from)))
}

/// What changes about a person.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UpdatePersonRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct UpdatePersonInput {
    role: Role,
    /// Whether the workspace may be left without an admin.
    #[serde(default)]
    leave_without_admin: bool,
}

pub(super) async fn update_person<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, UpdatePersonInput>,
) -> Result<Json<PersonResponse>> {
    let person = path_person(call)?;
    let UpdatePersonInput { role, leave_without_admin } = body.read()?;
    let workspace = &call.caller_key()?.workspace;
    let person = people::set_role(context, workspace, person, role, leave_without_admin, &call.key_actor()?).await?;
    Ok(Json::ok(PersonResponse::from(person)))
}

pub(super) async fn delete_person<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<DeletedPersonResponse>> {
    let person = path_person(call)?;
    let params = QueryParams::parse_known(call.request, &["transfer_to", "leave_without_admin"])?;
    let without_admin = match params.get("leave_without_admin") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Error::invalid_field("leave_without_admin", "must be true or false.")),
    };
    let removal = Removal { transfer_to: params.get("transfer_to").map(str::to_owned), without_admin };
    let workspace = &call.caller_key()?.workspace;
    let moved = people::remove(context, workspace, person, &removal, &call.key_actor()?).await?;
    let (transferred, left) = if removal.transfer_to.is_some() { (moved, 0) } else { (0, moved) };
    Ok(Json::ok(DeletedPersonResponse {
        id: person.user.id.clone(),
        deleted: true,
        connections_transferred: transferred,
        connections_without_owner: left,
    }))
}
