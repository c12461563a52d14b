//! People, for admins.

use super::super::links::{create_link_of_person, parse_user_texts};
use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, Choice, FormErrors, InviteForm, NewInviteView, Notice, NoticeCode, OwnedConnection, PeopleView, PersonRow,
    PersonView, person_href,
};
use super::super::{Call, Response, input};
use super::{ROWS_PER_PAGE, admin, correctable, field, given, is_restored, shell, with_query};
use crate::authorize::LoadedResource;
use crate::connections;
use crate::context::Context;
use crate::email_address::EmailAddress;
use crate::error::{Error, ErrorCode, Result};
use crate::people::{self, Removal};
use crate::ports::Ports;
use crate::store::connections::ConnectionFilter;
use crate::store::people::{PeopleFilter, Person};
use crate::workspace::Role;

/// People who are offered as new owners.
const MOST_HEIRS: i64 = 200;
/// Connections that are listed of a person.
const CONNECTIONS_SHOWN: i64 = 50;
/// Characters of a search.
const MAX_SEARCH_LENGTH: usize = 100;

fn path_person<'a>(call: &'a Call<'_>) -> Result<&'a Person> {
    match &call.subject {
        LoadedResource::Person(person) => Ok(person),
        _ => Err(super::super::undeclared_resource_error()),
    }
}

fn person_row(call: &Call<'_>, person: &Person) -> PersonRow {
    let me = call.session.as_ref().and_then(|session| session.user());
    PersonRow {
        id: person.user.id.clone(),
        name: person.user.name.clone(),
        is_admin: person.role == Role::Admin,
        is_me: me.is_some_and(|me| me.id == person.user.id),
        created_at: person.created_at,
        last_signed_in_at: person.last_signed_in_at,
    }
}

async fn build_view<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<PeopleView> {
    let search = input::query_param(call.request, "q").filter(|text| text.chars().count() <= MAX_SEARCH_LENGTH);
    let after = input::query_param(call.request, "cursor")
        .map(|text| people::parse_cursor(&text).ok_or_else(input::invalid_cursor))
        .transpose()?;
    let filter =
        PeopleFilter { role: None, text: search.clone(), after: after.unwrap_or_default(), limit: ROWS_PER_PAGE };
    let page = people::list_people(context, &call.session()?.workspace, &filter).await?;
    let next = |cursor: String| with_query("/settings/people", &[("cursor", Some(&cursor)), ("q", search.as_deref())]);
    Ok(PeopleView {
        people: page.data.iter().map(|person| person_row(call, person)).collect(),
        next_page_href: page.next.map(next),
        search: search.clone(),
        form: InviteForm { role: Role::Member.as_str().to_owned(), ..InviteForm::default() },
        errors: FormErrors::default(),
    })
}

fn read_form(call: &Call<'_>) -> InviteForm {
    InviteForm { id: field(call, "user_id"), name: field(call, "user_name"), role: field(call, "role") }
}

pub(in crate::http) async fn show_settings_people_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let mut view = build_view(context, call).await?;
    if is_restored(call) {
        view.form = read_form(call);
    }
    Ok(Response::html(200, page::settings_people(&shell(context, call), &view)))
}

/// Makes a sign-in link. It is in this answer alone.
pub(in crate::http) async fn invite_person<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let shell = shell(context, call);
    let form = read_form(call);
    let made = match parse_user_texts(&form.id, Some(&form.name)) {
        Ok(user) if user.is_of_identity_provider() => {
            Err(Error::invalid_field("user.id", shell.text.people.provider_person))
        }
        Ok(user) => {
            // The field asks for an address or an id, so the admin vouches for an address.
            let address = EmailAddress::parse(&user.id);
            create_link_of_person(context, &admin(call)?, user, Role::parse(&form.role), (None, address)).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok((link, url)) => {
            let view = NewInviteView {
                name: link.user.display_name().to_owned(),
                is_admin: link.role == Role::Admin,
                url,
                expires_at: link.expires_at,
            };
            Ok(Response::html(201, page::new_invite(&shell, &view)))
        }
        Err(error) => {
            let text = &shell.text.settings;
            let fields =
                [("user_id", text.wrong_person_id), ("user_name", text.wrong_person), ("role", text.wrong_choice)];
            let (status, errors) = correctable(shell.text, error, &fields)?;
            let view = PeopleView { form, errors, ..build_view(context, call).await? };
            Ok(Response::html(status, page::settings_people(&shell, &view)))
        }
    }
}

async fn render_person<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    status: u16,
    errors: FormErrors,
    is_last_admin: bool,
) -> Result<Response> {
    let (person, workspace) = (path_person(call)?, &call.session()?.workspace);
    let owned = ConnectionFilter {
        user: Some(person.user.id.clone()),
        limit: CONNECTIONS_SHOWN,
        ..ConnectionFilter::default()
    };
    let everybody = PeopleFilter { limit: MOST_HEIRS, ..PeopleFilter::default() };
    let (owned, others) = context
        .at_once(
            connections::list_connections(context, workspace, &owned),
            people::list_people(context, workspace, &everybody),
        )
        .await;
    let (owned, others) = (owned?, others?);
    let heir = |one: &Person| (one.user.id.clone(), one.user.display_name().to_owned());
    let view = PersonView {
        person: person_row(call, person),
        connections: owned
            .data
            .iter()
            .map(|one| OwnedConnection {
                id: one.connection.id.to_string(),
                name: one.connection.name.clone(),
                is_shared: one.connection.shared,
                workflows: one.workflows,
            })
            .collect(),
        has_more: owned.next.is_some(),
        heirs: Choice::told_apart(others.data.iter().filter(|one| one.user.id != person.user.id).map(heir)),
        heir: field(call, "transfer_to"),
        errors,
        is_last_admin,
    };
    Ok(Response::html(status, page::settings_person(&shell(context, call), &view)))
}

pub(in crate::http) async fn show_settings_person_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    render_person(context, call, 200, FormErrors::default(), false).await
}

/// Whether a refusal says that nobody would be an admin: the other one names the next step for many connections.
fn is_about_last_admin(error: &Error) -> bool {
    error.code == ErrorCode::Conflict && error.detail.contains("only admin")
}

async fn refuse<P: Ports>(context: &Context<P>, call: &Call<'_>, error: Error) -> Result<Response> {
    let is_last_admin = is_about_last_admin(&error);
    let text = shell(context, call).text;
    let fields = [("role", text.settings.wrong_choice), ("transfer_to", text.people.wrong_heir)];
    let (status, errors) = correctable(text, error, &fields)?;
    render_person(context, call, status, errors, is_last_admin).await
}

pub(in crate::http) async fn change_role<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (person, workspace) = (path_person(call)?, &call.session()?.workspace);
    let Some(role) = Role::parse(&field(call, "role")) else {
        return refuse(context, call, Error::invalid_field("role", "must be member or admin.")).await;
    };
    match people::set_role(context, workspace, person, role, false, &call.user_actor()?).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::RoleSaved, about: String::new() };
            // Whoever makes a member of themselves has no more of these pages.
            let is_me = person_row(call, person).is_me && role == Role::Member;
            let to = if is_me { "/".to_owned() } else { person_href(&person.user.id) };
            Ok(redirect_with_notice(context, call.request, &to, &notice))
        }
        Err(error) => refuse(context, call, error).await,
    }
}

pub(in crate::http) async fn remove_person<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let (person, workspace) = (path_person(call)?, &call.session()?.workspace);
    let removal =
        Removal { transfer_to: given(call, "transfer_to"), without_admin: given(call, "without_admin").is_some() };
    match people::remove(context, workspace, person, &removal, &call.user_actor()?).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::PersonRemoved, about: person.user.display_name().to_owned() };
            Ok(redirect_with_notice(context, call.request, "/settings/people", &notice))
        }
        Err(error) => refuse(context, call, error).await,
    }
}
