//! Credentials for programs that name an app, several at once, or report that one was refused.

use serde::{Deserialize, Serialize};

use super::body::{Json, Unread};
use super::defaults::parse_user_id;
use super::responses::ResolvedCredentialResponse;
use super::{Call, access_log, authenticate_key, problem};
use crate::app::AppId;
use crate::authorize;
use crate::caller::KeyScope;
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::ConnectionId;
use crate::json::objects;
use crate::ports::Ports;
use crate::resolve::report::{self, ReportedStatus};
use crate::resolve::{
    self, Consistency, Expectations, MAX_ITEMS, ResolveItem, ResolveRequest, ResolveResult, ResolveTarget,
};

/// A body with the options of a resolve beside its own members. They cannot be flattened into it, because unknown
/// members are refused.
macro_rules! with_options {
    ($(#[$about:meta])* $visibility:vis struct $name:ident { $($(#[$of_member:meta])* $member:ident: $type:ty,)* }) => {
        #[derive(Deserialize)]
        $(#[$about])*
        $visibility struct $name {
            $($(#[$of_member])* $member: $type,)*
            /// Seconds for which the token must be valid. Default: 60.
            #[cfg_attr(test, schemars(range(min = 0, max = 86400)))]
            #[serde(default)]
            min_ttl: Option<i64>,
            /// Scopes that must be granted.
            #[cfg_attr(test, schemars(length(max = 100)))]
            #[serde(default)]
            scopes: Option<Vec<String>>,
            /// What the step expects.
            #[serde(default)]
            expect: Option<Expectations>,
            /// The caller's workflow. No control characters.
            #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
            #[serde(default)]
            workflow: Option<String>,
            /// Its step. Only with `workflow`. No control characters.
            #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
            #[serde(default)]
            step: Option<String>,
        }

        impl $name {
            /// Takes the options out of it.
            fn take_options(&mut self) -> Options {
                Options {
                    min_ttl: self.min_ttl,
                    scopes: self.scopes.take(),
                    expect: self.expect.take(),
                    workflow: self.workflow.take(),
                    step: self.step.take(),
                }
            }
        }
    };
}

with_options! {
    /// A resolve that names an app.
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResolveByAppRequest", extend("examples" = [{ "app": "slack", "user": "u-17", "workflow": "invoices", "step": "send" }])))]
    #[serde(deny_unknown_fields)]
    pub(super) struct ResolveByAppInput {
        app: AppId,
        /// The id of the user that the step runs for. Absent or null: nobody in particular, who sees shared connections.
        #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
        #[serde(default)]
        user: Option<String>,
        /// Only connections of this environment. Absent or null: any.
        #[serde(default)]
        environment: Option<Environment>,
        /// Force a new token. Rate limited.
        #[serde(default)]
        force_refresh: bool,
        /// A default is always read in the database, so this is `strong`.
        #[cfg_attr(test, schemars(extend("default" = "strong")))]
        #[serde(default)]
        consistency: Consistency,
    }
}

with_options! {
    /// Several resolves. What stands beside `items` is common to those items that do not say it themselves.
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResolveBatchRequest", extend("examples" = [{ "items": [{ "app": "slack" }, { "connection": "con_0123456789abcdefABCDEF" }], "workflow": "invoices" }])))]
    #[serde(deny_unknown_fields)]
    pub(super) struct ResolveBatchInput {
        /// What is resolved.
        #[cfg_attr(test, schemars(length(min = 1, max = 20)))]
        items: Vec<BatchItemInput>,
        /// The id of the user that the steps run for, for items that name an app.
        #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
        #[serde(default)]
        user: Option<String>,
        /// Only connections of this environment. An item that names another one is refused with `unexpected_connection`.
        #[serde(default)]
        environment: Option<Environment>,
    }
}

with_options! {
    /// One of several resolves: of a connection, or of an app.
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResolveBatchItem"))]
    #[serde(remote = "Self", deny_unknown_fields)]
    struct BatchItemInput {
        /// The connection. Either this or `app` is required.
        #[serde(default)]
        connection: Option<ConnectionId>,
        /// The app.
        #[serde(default)]
        app: Option<AppId>,
        /// Only with `app`: the id of the user that the step runs for.
        #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
        #[serde(default)]
        user: Option<String>,
        /// Only a connection of this environment.
        #[serde(default)]
        environment: Option<Environment>,
    }
}

objects!(BatchItemInput);

with_options! {
    /// The app refused a token.
    #[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ReportRequest", extend("examples" = [{ "status": 401, "credential_version": "v1.2" }])))]
    #[serde(deny_unknown_fields)]
    pub(super) struct ReportInput {
        /// The status of the app's answer.
        #[cfg_attr(test, schemars(extend("enum" = [401, 403])))]
        status: u16,
        /// The version that the resolve returned with the refused token.
        #[cfg_attr(test, schemars(length(max = 64)))]
        credential_version: String,
    }
}

/// The options of a resolve, as far as they were given.
#[derive(Clone, Default)]
struct Options {
    min_ttl: Option<i64>,
    scopes: Option<Vec<String>>,
    expect: Option<Expectations>,
    workflow: Option<String>,
    step: Option<String>,
}

impl Options {
    /// These, and the common ones where nothing is given. A step belongs to the workflow that it is given with.
    fn or(self, common: &Self) -> Self {
        let step = if self.workflow.is_none() { self.step.or_else(|| common.step.clone()) } else { self.step };
        Self {
            min_ttl: self.min_ttl.or(common.min_ttl),
            scopes: self.scopes.or_else(|| common.scopes.clone()),
            expect: self.expect.or_else(|| common.expect.clone()),
            workflow: self.workflow.or_else(|| common.workflow.clone()),
            step,
        }
    }

    fn into_request(self) -> ResolveRequest {
        let default = ResolveRequest::default();
        ResolveRequest {
            min_ttl: self.min_ttl.unwrap_or(default.min_ttl),
            scopes: self.scopes.unwrap_or_default(),
            expect: self.expect.unwrap_or_default(),
            workflow: self.workflow,
            step: self.step,
            ..default
        }
    }
}

/// Reads a body after the key: whoever has no right to call learns nothing from it.
async fn read_authorised<P: Ports, T: serde::de::DeserializeOwned>(
    context: &Context<P>,
    call: &Call<'_>,
    body: &Unread<'_, T>,
) -> Result<T> {
    match body.read() {
        Ok(input) => Ok(input),
        Err(error) => Err(refuse_authorised(context, call, error).await),
    }
}

/// The same for what is wrong with a body that could be read.
async fn refuse_authorised<P: Ports>(context: &Context<P>, call: &Call<'_>, error: Error) -> Error {
    let refused = match authenticate_key(context, call).await {
        Ok(key) => authorize::require_scope(&key, KeyScope::Resolve),
        Err(error) => Err(error),
    };
    refused.err().unwrap_or(error)
}

pub(super) async fn resolve_by_app<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ResolveByAppInput>,
) -> Result<Json<ResolvedCredentialResponse>> {
    let presented = call.presented_key()?;
    let mut input = read_authorised(context, call, &body).await?;
    let options = input.take_options();
    let request = ResolveRequest { force_refresh: input.force_refresh, ..options.into_request() };
    let checked = require_strong(input.consistency).and_then(|()| parse_user_id(input.user));
    let user = match checked {
        Ok(user) => user,
        Err(error) => return Err(refuse_authorised(context, call, error).await),
    };
    let target = ResolveTarget::App { app: input.app, user, environment: input.environment };
    let asked = request.clone();
    let item = ResolveItem { target, request: request.validated() };
    let mut results = Box::pin(resolve::resolve_items(context, presented, vec![item])).await?;
    let answered = results.pop().ok_or_else(|| Error::internal("a resolve without a result"))??;
    let event = access_log::write_issued_credential(context, call, Some(&asked), &answered.resolved)?;
    let deferred = answered.deferred.into_iter().chain(event).collect();
    Ok(Json::ok(answered.resolved.into()).then(deferred))
}

/// The cache has no defaults: what it answered could be another connection's credential than the default's.
fn require_strong(consistency: Consistency) -> Result<()> {
    if consistency == Consistency::Strong {
        return Ok(());
    }
    let problem = "must be strong here: which connection is the default is read in the database. Resolve by the connection's id to use the cache.";
    Err(Error::invalid_field("consistency", problem))
}

/// The results of several resolves.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct ResolveBatchResponse {
    /// In the order of the items.
    results: Vec<BatchResult>,
}

/// The result of one of several resolves.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum BatchResult {
    /// The credential.
    Ok(Box<ResolvedCredentialResponse>),
    /// What a resolve of this item alone would have answered.
    Problem(#[cfg_attr(test, schemars(with = "problem::ProblemResponse<'static>"))] serde_json::Value),
}

pub(super) async fn resolve_batch<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ResolveBatchInput>,
) -> Result<Json<ResolveBatchResponse>> {
    let presented = call.presented_key()?;
    let input = read_authorised(context, call, &body).await?;
    let items = match parse_items(input) {
        Ok(items) => items,
        Err(error) => return Err(refuse_authorised(context, call, error).await),
    };
    let asked: Vec<_> = items.iter().map(|item| item.request.as_ref().ok().cloned()).collect();
    let results = Box::pin(resolve::resolve_items(context, presented, items)).await?;
    let mut after = Vec::new();
    let mut shown = Vec::with_capacity(results.len());
    for (result, asked) in results.into_iter().zip(&asked) {
        shown.push(match result {
            Ok(ResolveResult { resolved, deferred }) => {
                after.extend(access_log::write_issued_credential(context, call, asked.as_ref(), &resolved)?);
                after.extend(deferred);
                BatchResult::Ok(Box::new(resolved.into()))
            }
            Err(error) => {
                context.log_cause(&error);
                BatchResult::Problem(problem::problem_document(&error))
            }
        });
    }
    Ok(Json::ok(ResolveBatchResponse { results: shown }).then(after))
}

fn parse_items(mut input: ResolveBatchInput) -> Result<Vec<ResolveItem>> {
    if input.items.is_empty() || input.items.len() > MAX_ITEMS {
        return Err(Error::invalid_field("items", format!("must be 1 to {MAX_ITEMS}.")));
    }
    let common = input.take_options();
    let (user, environment) = (parse_user_id(input.user)?, input.environment);
    input
        .items
        .into_iter()
        .enumerate()
        .map(|(index, item)| parse_item(&format!("items[{index}]"), item, &common, user.as_ref(), environment))
        .collect()
}

fn parse_item(
    at: &str,
    mut item: BatchItemInput,
    common: &Options,
    user: Option<&String>,
    environment: Option<Environment>,
) -> Result<ResolveItem> {
    let mut request = item.take_options().or(common).into_request();
    let environment = item.environment.or(environment);
    let target = match (item.connection, item.app) {
        (Some(_), None) if item.user.is_some() => {
            return Err(Error::invalid_field(&format!("{at}.user"), "can stand only beside `app`."));
        }
        (Some(connection), None) => {
            request.expect.environment = request.expect.environment.or(environment);
            ResolveTarget::Connection(connection)
        }
        (None, Some(app)) => {
            let user = parse_user_id(item.user)?.or_else(|| user.cloned());
            ResolveTarget::App { app, user, environment }
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(Error::invalid_field(at, "must name either a connection or an app."));
        }
    };
    // What is wrong with one item is its own result.
    Ok(ResolveItem { target, request: request.validated() })
}

/// The connection is authorised by its route, and the answer is read once more by the resolve itself.
pub(super) async fn report_refused_token<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ReportInput>,
) -> Result<Json<ResolvedCredentialResponse>> {
    let listed = call.path_connection()?;
    let mut input = body.read()?;
    let request = input.take_options().into_request().validated()?;
    let status = match input.status {
        401 => ReportedStatus::Unauthorized,
        403 => ReportedStatus::Forbidden,
        _ => return Err(Error::invalid_field("status", "must be 401 or 403.")),
    };
    let version = &input.credential_version;
    // Boxed, as the others here: each of them would be a part of the future of every request.
    Box::pin(report::act_on_report(context, listed, status, version, &request)).await?;
    let asked = request.clone();
    let id = &listed.connection.id;
    let answered = Box::pin(resolve::resolve(context, call.presented_key()?, id, Ok(request))).await?;
    let event = access_log::write_issued_credential(context, call, Some(&asked), &answered.resolved)?;
    let deferred = answered.deferred.into_iter().chain(event).collect();
    Ok(Json::ok(answered.resolved.into()).then(deferred))
}
