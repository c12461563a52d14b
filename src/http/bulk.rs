//! The forms that do something with several connections: the question before it, a few of them in each request, and the result.
//!
//! Owns how what is left travels: as fields of the form. They are not sealed, because they name nothing but what the person could
//! send anyway: each connection is looked at anew when its turn comes, and what was done is shown to nobody else.

use std::collections::BTreeSet;

use super::choices::tell_apart;
use super::notices::redirect_with_notice;
use super::own_pages::parse_own_page_path;
use super::page::{
    self, BulkConfirmView, BulkFields, BulkImpactRow, BulkOffer, BulkProblem, BulkProgressView, BulkResultView,
    BulkShareView, Notice, NoticeCode, OwnerChoice,
};
use super::page_frame::page_context;
use super::{Call, Response, input};
use crate::app_list;
use crate::authorize::{self, Caller, RequiredRole};
use crate::bulk::{self, BulkAction, BulkOutcome};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::names::parse_person_id;
use crate::people;
use crate::ports::Ports;
use crate::store::connections::PEOPLE_OFFERED;
use crate::store::people::PeopleFilter;
use crate::workspace::Role;

/// Where a form without a place to go back to leads.
const LIST: &str = "/";

/// The address of a form's page was loaded again, or kept.
pub(super) async fn show_bulk_page<P: Ports>(_context: &Context<P>, _call: &Call<'_>) -> Result<Response> {
    Ok(Response::see_other(LIST))
}

pub(super) async fn submit_bulk<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let fields = read_fields(context, call)?;
    let shell = page_context(context, call.request, call.session.as_ref());
    if fields.left.is_empty() && fields.all == 0 {
        return Ok(Response::html(422, page::nothing_selected(&shell, &fields.back, None)));
    }
    if usize::try_from(fields.all).map_or(true, |all| all > bulk::MOST_SELECTED) {
        let most = Some(bulk::MOST_SELECTED);
        return Ok(Response::html(422, page::nothing_selected(&shell, &fields.back, most)));
    }
    let is_confirmed = input::form_field(call.request, "confirmed").is_some();
    let action = match fields.offer {
        BulkOffer::Check => BulkAction::Check,
        BulkOffer::Undo => BulkAction::Undo,
        BulkOffer::Rename => BulkAction::Rename,
        BulkOffer::Disconnect if is_confirmed => BulkAction::Disconnect,
        BulkOffer::Disconnect => return confirm_disconnect(context, call, fields).await,
        BulkOffer::Share if call.session()?.role != Role::Admin => return Err(authorize::admin_required()),
        BulkOffer::Share => match share_action(&fields).filter(|_| is_confirmed) {
            Some(action) => action,
            None => return ask_share(context, call, fields, is_confirmed).await,
        },
    };
    go_on(context, call, action, fields).await
}

/// Does it with the next few connections.
async fn go_on<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    action: BulkAction,
    mut fields: BulkFields,
) -> Result<Response> {
    let session = call.session()?;
    let later = fields.left.split_off(bulk::connections_at_once(context, &action).min(fields.left.len()));
    let now: Vec<_> = fields.left.iter().filter_map(|id| ConnectionId::parse(id)).collect();
    for (id, outcome) in bulk::run(context, session, &call.user_actor()?, &action, &now).await? {
        if outcome == BulkOutcome::Done {
            fields.done += 1;
            fields.ended.extend(Some(id.to_string()).filter(|_| action == BulkAction::Disconnect));
        } else {
            fields.problems.push((id.to_string(), outcome));
        }
    }
    fields.left = later;
    let shell = page_context(context, call.request, Some(session));
    if !fields.left.is_empty() {
        return Ok(Response::html(200, page::bulk_progress(&shell, &BulkProgressView { fields })));
    }
    // One new name is no result to be looked at.
    if fields.offer == BulkOffer::Rename && fields.all == 1 && fields.problems.is_empty() {
        let notice = Notice { code: NoticeCode::Renamed, about: String::new() };
        return Ok(redirect_with_notice(context, call.request, &fields.back, &notice));
    }
    let problems = name_problems(context, call, &fields.problems).await?;
    Ok(Response::html(200, page::bulk_result(&shell, &BulkResultView { fields, problems })))
}

/// What is left, as the form brings it. What is no connection's id, and what is named twice, is left out.
fn read_fields<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<BulkFields> {
    let field = |name: &str| input::form_field(call.request, name).unwrap_or_default();
    let offer = BulkOffer::parse(&field("action"))
        .ok_or_else(|| Error::invalid_field("action", "must be check, disconnect, undo, rename or share."))?;
    let mut seen = BTreeSet::new();
    let mut ids = |name: &str| -> Vec<String> {
        let sent = input::form_field_values(call.request, name).into_iter().filter_map(|id| ConnectionId::parse(&id));
        sent.filter(|id| seen.insert(id.clone())).map(|id| id.to_string()).collect()
    };
    let (left, ended) = (ids("id"), ids("ended"));
    let problems: Vec<_> = input::form_field_values(call.request, "problem")
        .iter()
        .filter_map(|text| {
            let (code, id) = text.split_once(':')?;
            Some((ConnectionId::parse(id)?.to_string(), BulkOutcome::parse(code)?))
        })
        .collect();
    let number = |name: &str| field(name).parse::<u8>().map_or(0, i64::from);
    let done = number("done");
    let counted = i64::try_from(left.len() + problems.len()).unwrap_or(i64::MAX).saturating_add(done);
    Ok(BulkFields {
        offer,
        done,
        all: counted,
        problems,
        ended,
        left,
        back: parse_own_page_path(context, &field("back")).unwrap_or_else(|_| LIST.to_owned()),
        owner: field("owner").trim().to_owned(),
        sharing: field("sharing"),
    })
}

/// What was chosen for all of them; none where nothing is to be changed.
fn share_action(fields: &BulkFields) -> Option<BulkAction> {
    let owner = match fields.owner.as_str() {
        "" => None,
        "none" => Some(None),
        other => {
            // As it is stored, which is not always as it was sent.
            Some(Some(parse_person_id("owner", other.strip_prefix("id:").unwrap_or(other)).ok()?))
        }
    };
    let shared = match fields.sharing.as_str() {
        "shared" => Some(true),
        "private" => Some(false),
        _ => None,
    };
    (owner.is_some() || shared.is_some()).then_some(BulkAction::Share { owner, shared })
}

async fn ask_share<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    fields: BulkFields,
    is_confirmed: bool,
) -> Result<Response> {
    let session = call.session()?;
    let filter = PeopleFilter { role: None, text: None, after: String::new(), limit: PEOPLE_OFFERED };
    let found = people::list_people(context, &session.workspace, &filter).await?;
    let named = found.data.into_iter().map(|one| (one.user.id.clone(), one.user.display_name().to_owned()));
    let people = if found.next.is_some() { vec![] } else { tell_apart(named) };
    let people = OwnerChoice { owner: fields.owner.clone(), people };
    let view = BulkShareView { fields, people, is_incomplete: is_confirmed };
    let status = if is_confirmed { 422 } else { 200 };
    Ok(Response::html(status, page::bulk_share(&page_context(context, call.request, Some(session)), &view)))
}

/// What stops, before anything does.
async fn confirm_disconnect<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    mut fields: BulkFields,
) -> Result<Response> {
    let session = call.session()?;
    let ids: Vec<_> = fields.left.iter().filter_map(|id| ConnectionId::parse(id)).collect();
    let apps = app_list::load_app_list(context, &session.workspace).await?;
    let found = bulk::load_impact(context, session, &ids).await?;
    let (changed, kept): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.may_change);
    let workflows: BTreeSet<_> = changed.iter().flat_map(|one| one.workflows.clone()).collect();
    fields.left = changed.iter().map(|one| one.listed.connection.id.to_string()).collect();
    fields.all = i64::try_from(fields.left.len()).unwrap_or(i64::MAX);
    let row = |one: bulk::BulkImpact| {
        let connection = one.listed.connection;
        let app = connection.app.to_string();
        BulkImpactRow {
            name: connection.name,
            app_name: apps.name_or_id(&app).to_owned(),
            app,
            workflows: one.workflows,
        }
    };
    let view = BulkConfirmView {
        fields,
        rows: changed.into_iter().map(row).collect(),
        skipped: kept.into_iter().map(|one| one.listed.connection.name).collect(),
        workflows: workflows.into_iter().collect(),
    };
    Ok(Response::html(200, page::bulk_confirm(&page_context(context, call.request, Some(session)), &view)))
}

/// Those with which it was not done, with their names as far as the person sees them.
async fn name_problems<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    problems: &[(String, BulkOutcome)],
) -> Result<Vec<BulkProblem>> {
    let caller = Caller::User(call.session()?, RequiredRole::Member);
    let ids: Vec<_> = problems.iter().filter_map(|(id, _)| ConnectionId::parse(id)).collect();
    let found = bulk::load_named(context, &caller, &ids).await?;
    let one = |(id, outcome): &(String, BulkOutcome)| {
        let listed = ConnectionId::parse(id).and_then(|id| found.get(&id));
        BulkProblem {
            id: id.clone(),
            name: listed.map(|listed| listed.connection.name.clone()),
            outcome: *outcome,
            may_reconnect: listed.is_some_and(|listed| caller.may_change(&listed.connection)),
        }
    };
    Ok(problems.iter().map(one).collect())
}
