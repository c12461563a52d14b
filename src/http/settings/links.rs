//! Connect links, for admins.

use super::super::links::{parse_settings, parse_user_texts};
use super::super::notices::redirect_with_notice;
use super::super::page::{
    self, Choice, FormErrors, LinkForm, LinkRow, LinksView, NewLinkView, Notice, NoticeCode, PageContext, StatusLabel,
    Texts, Tone,
};
use super::super::{Call, Response, input};
use super::{FieldWords, ROWS_PER_PAGE, admin, correctable, field, given, is_restored, shell, with_query};
use crate::app::AppId;
use crate::app_list::{self, AppList};
use crate::connect::link::{self, DEFAULT_TTL, MAX_TTL, NewLink};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::LinkId;
use crate::ports::Ports;
use crate::preconditions::IfMatch;
use crate::store::links::{Link, LinkFilter, LinkState, OnDuplicate};

fn field_words(text: &Texts) -> [FieldWords<'static>; 3] {
    let of_all = &text.settings;
    [("app", text.links.wrong_app), ("user_id", of_all.wrong_person_id), ("user_name", of_all.wrong_person)]
}

fn state_label(shell: &PageContext, state: LinkState) -> StatusLabel {
    let text = &shell.text.links;
    let (words, tone) = match state {
        LinkState::Open => (text.open, Tone::Info),
        LinkState::WaitingForChoice => (text.waiting_for_choice, Tone::Waiting),
        LinkState::AwaitingConfirmation => (text.awaiting_confirmation, Tone::Waiting),
        LinkState::Used => (text.used, Tone::Good),
        LinkState::Ended => (text.ended, Tone::Info),
        LinkState::Expired => (text.expired, Tone::Info),
    };
    StatusLabel { text: words.to_owned(), tone }
}

fn link_row(shell: &PageContext, apps: &AppList, link: Link) -> LinkRow {
    let state = link.state(shell.now);
    let id = link.app.as_str();
    let name = apps.name_or_id(id).to_owned();
    LinkRow {
        id: link.id.to_string(),
        app: (id.to_owned(), name),
        person: link.user.as_ref().map(|user| user.display_name().to_owned()),
        status: state_label(shell, state),
        connection: link.result_connection.or(link.connection).map(|id| id.to_string()),
        created_at: link.created_at,
        expires_at: link.expires_at,
        can_end: matches!(state, LinkState::Open | LinkState::WaitingForChoice | LinkState::AwaitingConfirmation),
    }
}

async fn build_view<P: Ports>(context: &Context<P>, call: &Call<'_>, shell: &PageContext) -> Result<LinksView> {
    let workspace = &call.session()?.workspace;
    let position = |text: String| input::parse_time_cursor(&text, LinkId::parse).ok_or_else(input::invalid_cursor);
    let after = input::query_param(call.request, "cursor").map(position).transpose()?;
    let filter = LinkFilter { after, limit: ROWS_PER_PAGE, ..LinkFilter::default() };
    let (found, apps) = context
        .at_once(link::list_links(context, workspace, &filter), app_list::load_app_list(context, workspace))
        .await;
    let (found, apps) = (found?, apps?);
    let connectable = apps.apps.iter().filter(|one| one.is_connectable(&apps.clients));
    let mut choices = Choice::told_apart(connectable.map(|one| (one.id().to_owned(), one.name().to_owned())));
    choices.sort_by_key(|one| one.label.to_lowercase());
    Ok(LinksView {
        next_page_href: found.next.map(|cursor| with_query("/settings/links", &[("cursor", Some(&cursor))])),
        links: found.data.into_iter().map(|link| link_row(shell, &apps, link)).collect(),
        apps: choices,
        form: LinkForm { is_shared: true, expires_in: DEFAULT_TTL.to_string(), ..LinkForm::default() },
        errors: FormErrors::default(),
    })
}

pub(in crate::http) async fn show_settings_links_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let shell = shell(context, call);
    let mut view = build_view(context, call, &shell).await?;
    if is_restored(call) {
        view.form = read_form(call);
    }
    Ok(Response::html(200, page::settings_links(&shell, &view)))
}

fn read_form(call: &Call<'_>) -> LinkForm {
    LinkForm {
        app: field(call, "app"),
        user_id: field(call, "user_id"),
        user_name: field(call, "user_name"),
        is_shared: given(call, "shared").is_some(),
        environment: field(call, "environment"),
        expires_in: field(call, "expires_in"),
    }
}

fn parse_form(shell: &PageContext, form: &LinkForm) -> Result<NewLink> {
    let text = &shell.text.links;
    let app = AppId::parse(&form.app).ok_or_else(|| Error::invalid_field("app", text.wrong_app))?;
    let user = match form.user_id.as_str() {
        "" => None,
        id => Some(parse_user_texts(id, Some(&form.user_name))?),
    };
    if user.is_none() && !form.is_shared {
        return Err(Error::invalid_field("user_id", text.wrong_shared));
    }
    let settings = parse_settings(Environment::parse(&form.environment), Some(form.is_shared), user.as_ref())?;
    Ok(NewLink {
        app: Some(app),
        auth_method: None,
        connection: None,
        scopes: None,
        user,
        settings,
        return_to: None,
        popup_origin: None,
        expires_in: form.expires_in.parse().ok().filter(|life| (60..=MAX_TTL).contains(life)).unwrap_or(DEFAULT_TTL),
        on_duplicate: OnDuplicate::Ask,
        confirm: false,
        made_by: None,
    })
}

/// Makes a link. It is in this answer alone.
pub(in crate::http) async fn create_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let shell = shell(context, call);
    let form = read_form(call);
    let (caller, actor) = (admin(call)?, call.user_actor()?);
    let made = match parse_form(&shell, &form) {
        Ok(new) => {
            link::create_as(context, caller.workspace(), new, &actor, |connection| caller.sees_connection(connection))
                .await
        }
        Err(error) => Err(error),
    };
    let error = match made {
        Ok((link, url)) => {
            let app = crate::registry::load_current_app(context, caller.workspace(), &link.app).await?;
            let view = NewLinkView {
                app_name: app.map_or_else(|| link.app.to_string(), |found| found.app.name.clone()),
                url,
                expires_at: link.expires_at,
            };
            return Ok(Response::html(201, page::new_link(&shell, &view)));
        }
        Err(error) => error,
    };
    let (status, errors) = correctable(shell.text, error, &field_words(shell.text))?;
    let view = LinksView { form, errors, ..build_view(context, call, &shell).await? };
    Ok(Response::html(status, page::settings_links(&shell, &view)))
}

pub(in crate::http) async fn end_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    link::revoke(context, call.path_link()?, &call.user_actor()?, &IfMatch::Anything).await?;
    let notice = Notice { code: NoticeCode::LinkEnded, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/settings/links", &notice))
}
