//! The administration, for the admins of a workspace: pages over the use cases that programs call by the API.
//!
//! Owns what of a refusal is said at which field of a form. A form that was refused comes back with what was entered, but
//! for secrets. Refuses to decide: a page does what the use case allows.

mod activity;
mod apps;
mod custom_apps;
mod defaults;
mod emails;
mod emergency;
mod event_words;
mod keys;
mod links;
mod people;
mod sessions;
mod sign_in;
mod webhooks;
mod workspace;

pub(super) use activity::{export_activity, show_activity_page};
pub(super) use apps::{
    delete_client, open_handshake, put_client, put_event_secret, show_client_deletion_page, show_client_page,
    show_settings_apps_page, test_client,
};
pub(super) use custom_apps::{
    change_app, create_app, delete_app, show_app_deletion_page, show_custom_app_page, show_custom_apps_page,
    show_new_app_page,
};
pub(super) use defaults::{change_default, show_default_page, show_defaults_page};
pub(super) use emails::{show_settings_email_page, switch_email, test_email};
pub(super) use emergency::{disconnect_all_of_app, show_disconnect_all_page, show_job_page};
pub(super) use keys::{create_key, revoke_key, rotate_key, show_settings_key_page, show_settings_keys_page};
pub(super) use links::{create_link, end_link, show_settings_links_page};
pub(super) use people::{
    change_role, invite_person, remove_person, show_settings_people_page, show_settings_person_page,
};
pub(super) use sessions::{delete_sign_in_link, end_session, show_settings_sessions_page};

pub(super) use sign_in::{put_provider, remove_provider, show_settings_sign_in_page};
pub(super) use webhooks::{
    change_webhook, create_webhook, delete_webhook, redeliver, rotate_webhook, show_settings_webhook_page,
    show_settings_webhooks_page, switch_webhook, test_webhook,
};
pub(super) use workspace::{change_workspace, show_settings_workspace_page};

use url::form_urlencoded;

use super::page::{self, FormErrors, PageContext, STATE_FIELD, Texts};
use super::page_frame::page_context;
use super::{Call, Response, input, kept_forms, problem};
use crate::authorize::{Caller, RequiredRole};
use crate::context::Context;
use crate::egress::{EgressPolicy, EgressUrl, EgressUrlError};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::random_text;
use crate::ports::Ports;
use crate::preconditions::{IfMatch, ReadState};

/// Rows of a page.
const ROWS_PER_PAGE: i64 = 50;

/// The first page of the administration.
pub(super) async fn show_settings_page<P: Ports>(_context: &Context<P>, _call: &Call<'_>) -> Result<Response> {
    Ok(Response::see_other("/settings/apps"))
}

/// The admin who calls.
fn admin<'a>(call: &'a Call<'_>) -> Result<Caller<'a>> {
    Ok(Caller::User(call.session()?, RequiredRole::Admin))
}

fn shell<P: Ports>(context: &Context<P>, call: &Call<'_>) -> PageContext {
    PageContext {
        form_id: random_text::<12>(context.ports.random()).ok(),
        ..page_context(context, call.request, call.session.as_ref())
    }
}

/// Whether the page shows a form again that was sent after its session had ended.
fn is_restored(call: &Call<'_>) -> bool {
    kept_forms::is_restored(call.request)
}

/// A field of the form, without the spaces around it.
fn field(call: &Call<'_>, name: &str) -> String {
    input::form_field(call.request, name).unwrap_or_default().trim().to_owned()
}

/// The same, if it is not empty.
fn given(call: &Call<'_>, name: &str) -> Option<String> {
    Some(field(call, name)).filter(|text| !text.is_empty())
}

/// The state of the thing that a form was filled from. A form without it changes whatever is there.
fn seen_state(call: &Call<'_>) -> IfMatch {
    given(call, STATE_FIELD).map_or(IfMatch::Anything, |tag| IfMatch::Tags(vec![tag]))
}

/// The state that a form is shown with again. Whoever was told that it is another one by now has seen that.
fn state_to_show(call: &Call<'_>, status: u16, now: ReadState) -> String {
    let is_told = status == problem::status_and_title(ErrorCode::PreconditionFailed).0;
    given(call, STATE_FIELD).filter(|_| !is_told).unwrap_or(now.tag)
}

/// A page's address with these parameters, without empty ones.
pub(super) fn with_query(path: &str, params: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in params {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A field of a form, and what is said where it was refused. Without words: what was found.
type FieldWords<'a> = (&'a str, &'a str);

/// What a person can correct, as it is shown at the fields: the status, and what was refused. Everything else is a page of
/// its own. A field of the API such as `user.id` is `user_id` in a form.
fn correctable(text: &Texts, error: Error, fields: &[FieldWords<'_>]) -> Result<(u16, FormErrors)> {
    let is_correctable = matches!(
        error.code,
        ErrorCode::InvalidRequest
            | ErrorCode::Conflict
            | ErrorCode::AlreadyExists
            | ErrorCode::LimitReached
            | ErrorCode::ClientInUse
            | ErrorCode::ClientMissing
            | ErrorCode::PreconditionFailed
            | ErrorCode::AppUnavailable
            | ErrorCode::AddressesChanged
            | ErrorCode::ConnectionNotFound
    );
    if !is_correctable {
        return Err(error);
    }
    let status = problem::status_and_title(error.code).0;
    let mut errors = FormErrors::default();
    for one in &error.hints.errors {
        let name = one.field.split('[').next().unwrap_or_default().replace('.', "_");
        match fields.iter().find(|(field, _)| *field == name) {
            Some((_, words)) => {
                errors.fields.insert(name, words_of_problem(text, &one.problem, words));
            }
            // The form has no such field: a page that fits the form sends none that is refused here.
            None => errors.summary = Some(words_of_problem(text, &one.problem, text.settings.look_again)),
        }
    }
    if errors.is_empty() {
        let words = match error.code {
            ErrorCode::PreconditionFailed => text.settings.out_of_date.to_owned(),
            _ => error.hints.for_people.clone().unwrap_or(error.detail),
        };
        errors.summary = Some(words);
    }
    Ok((status, errors))
}

/// What is said of a refused field. A problem of the API follows the name of its field, such as "must have 1 to 100
/// characters": then the form's words are said, or a sentence is made of it. What begins like a sentence is one.
pub(super) fn words_of_problem(text: &Texts, problem: &str, words: &str) -> String {
    let is_sentence = !problem.starts_with(char::is_lowercase);
    match (is_sentence, words) {
        (true, _) => problem.to_owned(),
        (false, "") => page::fill_plain(text.form.it, &[("problem", problem)]),
        (false, words) => words.to_owned(),
    }
}

/// Says what is wrong with an address that was refused, if that can be seen from the address.
fn explain_address(text: &Texts, egress: EgressPolicy, errors: &mut FormErrors, name: &str, entered: &str) {
    let Some(said) = errors.fields.get_mut(name) else { return };
    let text = &text.settings;
    let words = match EgressUrl::parse(entered, egress) {
        Ok(_) => return,
        Err(EgressUrlError::Malformed) => text.wrong_address,
        Err(EgressUrlError::TooLong) => text.wrong_address_length,
        Err(EgressUrlError::Characters) => text.wrong_address_characters,
        Err(EgressUrlError::NotHttps) => text.wrong_address_scheme,
        Err(EgressUrlError::UserInfo) => text.wrong_address_user,
        Err(EgressUrlError::Fragment) => text.wrong_address_fragment,
        Err(EgressUrlError::IpLiteral) => text.wrong_address_number,
        Err(EgressUrlError::NotADnsName) => text.wrong_address_host,
        Err(EgressUrlError::PrivateName) => text.wrong_address_private,
    };
    words.clone_into(said);
}

/// The same text with a capital letter.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
