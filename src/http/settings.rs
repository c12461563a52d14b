//! The administration, for the admins of a workspace: pages over the use cases that programs call by the API.
//!
//! A form that was refused comes back with what was entered, but for secrets; [`super::form_words`] has what is said. Refuses
//! to decide: a page does what the use case allows.

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

use super::form_words::{FieldWords, correctable, explain_address};
use super::page::{PageContext, STATE_FIELD};
use super::page_frame::page_context;
use super::{Call, Response, input, kept_forms, problem};
use crate::authorize::{Caller, RequiredRole};
use crate::context::Context;
use crate::error::{ErrorCode, Result};
use crate::ids::random_text;
use crate::ports::Ports;
use crate::preconditions::IfMatch;

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
pub(super) fn seen_state(call: &Call<'_>) -> IfMatch {
    given(call, STATE_FIELD).map_or(IfMatch::Anything, |tag| IfMatch::Tags(vec![tag]))
}

/// The state that a form is shown with again: the one that it was filled from. After a 412 the person knows of the change, so
/// the form gets the present one.
pub(super) fn state_to_show(call: &Call<'_>, status: u16, now: String) -> String {
    let is_told = status == problem::status_and_title(ErrorCode::PreconditionFailed).0;
    given(call, STATE_FIELD).filter(|_| !is_told).unwrap_or(now)
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

/// The same text with a capital letter.
fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
