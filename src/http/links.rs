//! Links: an embedding product asks somebody to connect, or signs somebody in.

use serde::Deserialize;

use super::body::{Json, ListResponse, Unread};
use super::input::QueryParams;
use super::own_pages::parse_own_page_path;
use super::responses::{CreatedLinkResponse, CreatedSignInLinkResponse, LinkResponse};
use super::{Call, input, sessions};
use crate::app::{AppId, AuthMethodId};
use crate::authorize::{self, Caller};
use crate::caller::CreatorKey;
use crate::connect::link::{self, DEFAULT_TTL, MAX_TTL, NewLink};
use crate::connection::{Connection, ConnectionSettings};
use crate::context::Context;
use crate::email_address::EmailAddress;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::ids::{ConnectionId, LinkId};
use crate::json::objects;
use crate::names::{MAX_PERSON_LENGTH, parse_name, parse_person_id};
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::sign_in_links::{self, NewSignInLink};
use crate::store::links::{Link, LinkFilter, LinkState, OnDuplicate};
use crate::store::sessions::SignInLink;
use crate::workspace::{Role, User};

/// A link for somebody to connect an app, or to repair a connection.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateLinkRequest", extend("minProperties" = 1)))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateLinkInput {
    /// The app to connect. Default: that of `connection`. One of the two is required.
    app: Option<AppId>,
    /// The auth method. Omitted: the person chooses.
    auth_method: Option<AuthMethodId>,
    /// The connection to repair.
    connection: Option<ConnectionId>,
    /// Requested instead of the default scopes. A repair requests them in addition.
    scopes: Option<Vec<String>>,
    /// The owner of the connection. Absent or null: the whole workspace. A repaired connection keeps its user, who must
    /// be this one if both are known.
    user: Option<UserInput>,
    /// What the account is for. What the person enters must not be of the other environment, where the app tells. Only
    /// for a new connection.
    environment: Option<Environment>,
    /// Whether everybody of the workspace sees and uses the connection. Absent or null: if it has no `user`. Only for a
    /// new connection.
    shared: Option<bool>,
    /// Where the browser goes at the end, with `connection` and `status` (`connected`, `awaiting_confirmation`) in the
    /// query: an address at one of the workspace's `allowed_origins`. If nothing was connected, the flow's page has a
    /// link there with the `status` `denied`, or `failed` and the reason in `error`: `approval_required` if an
    /// administrator must approve at the app first, `refused_by_app`, `code_refused`, `client_refused`,
    /// `app_unavailable`, `account_unknown`, `not_stored`, `wrong_issuer`, `no_code`, `link_used`, `link_begun_anew`
    /// (the link was opened again in another browser and continues there), `connection_gone`, `conflict`.
    #[cfg_attr(test, schemars(url, length(max = 2048)))]
    return_to: Option<String>,
    /// For a link that your page opens in a popup window: the window posts its outcome to your page. Not together with `return_to`.
    popup: Option<PopupInput>,
    /// Seconds for which it is valid.
    #[cfg_attr(test, schemars(range(min = 60, max = 604_800), extend("default" = 3600)))]
    expires_in: Option<i64>,
    #[cfg_attr(test, schemars(extend("default" = "ask")))]
    on_duplicate: Option<OnDuplicate>,
    /// Whether the connection is usable only after confirmLink. Then `user` is required, unless `connection` has one.
    #[serde(default)]
    confirm: bool,
}

pub(super) async fn create_link<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CreateLinkInput>,
) -> Result<Json<CreatedLinkResponse>> {
    let input = body.read()?;
    let key = call.caller_key()?;
    let expires_in = input.expires_in.unwrap_or(DEFAULT_TTL);
    if !(60..=MAX_TTL).contains(&expires_in) {
        return Err(Error::invalid_field("expires_in", "must be a number of seconds from 60 to 604800 (a week)."));
    }
    authorize::check_new_link(key, input.connection.as_ref())?;
    let user = input.user.map(parse_user).transpose()?;
    let settings = parse_settings(input.environment, input.shared, user.as_ref())?;
    let new = NewLink {
        app: input.app,
        auth_method: input.auth_method,
        connection: input.connection,
        scopes: input.scopes,
        user,
        settings,
        return_to: input.return_to,
        popup_origin: input.popup.map(|popup| popup.origin),
        expires_in,
        on_duplicate: input.on_duplicate.unwrap_or(OnDuplicate::Ask),
        confirm: input.confirm,
        made_by: Some(CreatorKey::from(key)),
    };
    let sees = |connection: &Connection| authorize::sees_connection(key, connection);
    let (link, url) = link::create(context, &key.workspace, new, sees).await?;
    Ok(Json::created(CreatedLinkResponse { id: link.id, url, expires_at: link.expires_at }))
}

/// The window that a link is opened in.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "PopupRequest"))]
#[serde(remote = "Self", deny_unknown_fields)]
struct PopupInput {
    /// The origin of the page that opens the window: one of the workspace's `allowed_origins`. The window's last page sends
    /// the message `{"type": "connections:link", "link", "status", "connection"}` to it, and to no other. `status` is as in
    /// `last_attempt` of the link.
    #[cfg_attr(test, schemars(url, length(max = 2048), extend("examples" = ["https://app.example.com"])))]
    origin: String,
}

/// A person as the embedding product knows them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "UserRequest"))]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct UserInput {
    /// No control characters; surrounding spaces are removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    id: String,
    /// A name to show.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    name: Option<String>,
}

objects!(PopupInput, UserInput, SignInUserInput);

pub(super) fn parse_user(user: UserInput) -> Result<User> {
    let name = user.name.map(|name| parse_name("user.name", &name, MAX_PERSON_LENGTH)).transpose()?;
    Ok(User { id: parse_person_id("user.id", &user.id)?, name })
}

/// The same from a form, where an empty name is none.
pub(super) fn parse_user_texts(id: &str, name: Option<&str>) -> Result<User> {
    let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
    parse_user(UserInput { id: id.to_owned(), name })
}

/// What a new connection is given. One that is neither shared nor somebody's would be of no use.
pub(super) fn parse_settings(
    environment: Option<Environment>,
    shared: Option<bool>,
    owner: Option<&User>,
) -> Result<ConnectionSettings> {
    if shared == Some(false) && owner.is_none() {
        return Err(Error::invalid_field("shared", "can be false only where `user` names an owner."));
    }
    Ok(ConnectionSettings { environment, shared })
}

fn link_json<P: Ports>(context: &Context<P>, link: Link) -> Json<LinkResponse> {
    let state = ReadState::of_link(&link);
    Json::ok(LinkResponse::of(link, context.now())).tagged(state)
}

pub(super) async fn get_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<LinkResponse>> {
    Ok(link_json(context, call.path_link()?.clone()))
}

pub(super) async fn list_links<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Json<ListResponse<LinkResponse>>> {
    let key = call.caller_key()?;
    let filters = QueryParams::parse_list_query(call.request, &["app", "connection", "status", "key"])?;
    let statuses = "must be open, waiting_for_choice, awaiting_confirmation, used, ended or expired.";
    let filter = LinkFilter {
        app: filters.get_parsed("app", AppId::parse, "is not an app's id.")?,
        connection: filters.get_parsed("connection", ConnectionId::parse, "is not a connection's id (con_…).")?,
        status: filters.get_parsed("status", LinkState::parse, statuses)?,
        made_by: sessions::parse_key_filter(&filters, "key")?,
        after: filters.cursor(|text| input::parse_time_cursor(text, LinkId::parse))?,
        limit: filters.limit()?,
        ..authorize::link_filter(key)
    };
    let page = link::list_links(context, &key.workspace, &filter).await?;
    Ok(Json::ok(ListResponse::of(page, |link| LinkResponse::of(link, context.now()))))
}

pub(super) async fn delete_link<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Json<LinkResponse>> {
    let link = link::revoke(context, call.path_link()?, &call.key_actor()?, &call.if_match()?).await?;
    Ok(link_json(context, link))
}

/// The person who came back.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ConfirmLinkRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmLinkInput {
    user: UserInput,
}

pub(super) async fn confirm_link<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, ConfirmLinkInput>,
) -> Result<Json<LinkResponse>> {
    let found = call.path_link()?;
    let confirmation = body.read()?;
    let link = link::confirm(context, &found.workspace, &found.id, &confirmation.user.id).await?;
    Ok(link_json(context, link))
}

/// A link that signs a person in.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CreateSignInLinkRequest"))]
#[serde(deny_unknown_fields)]
pub(super) struct CreateSignInLinkInput {
    user: SignInUserInput,
    /// The role of the session. Absent or null: the person's, and `member` for a new person. `admin` makes an admin of the
    /// person. For `admin`, and for a person who is an admin, the key also needs the scope `people`.
    role: Option<Role>,
    /// The page after the sign-in: the path of one of our pages for people, such as `/connections/con_…` or
    /// `/oauth/start/acme`, with its query. Absent or null: the list of connections.
    #[cfg_attr(test, schemars(length(max = 2048)))]
    return_to: Option<String>,
}

/// A person as the embedding product knows them, with an address.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "SignInUserRequest"))]
#[serde(remote = "Self", deny_unknown_fields)]
struct SignInUserInput {
    /// No control characters; surrounding spaces are removed.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    id: String,
    /// A name to show.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    name: Option<String>,
    /// Shown if there is no name. From when the link is used, e-mail for the person goes there, if e-mail of the
    /// workspace is on.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    email: Option<String>,
}

pub(super) async fn create_sign_in_link<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    body: Unread<'_, CreateSignInLinkInput>,
) -> Result<Json<CreatedSignInLinkResponse>> {
    let caller = Caller::Key(call.caller_key()?);
    let input = body.read()?;
    let return_to = input.return_to.map(|text| parse_own_page_path(context, &text)).transpose()?;
    let address = input.user.email.as_deref().and_then(EmailAddress::parse);
    // An e-mail address identifies a person as well as a name.
    let user = parse_user(UserInput { id: input.user.id, name: input.user.name.or(input.user.email) })?;
    let (link, url) = create_link_of_person(context, &caller, user, input.role, (return_to, address)).await?;
    Ok(Json::created(CreatedSignInLinkResponse { id: link.id(), url, role: link.role, expires_at: link.expires_at }))
}

/// Makes a sign-in link for a person, with the role that was asked for, or their own: where it leads, and the address that the
/// caller vouches for.
pub(super) async fn create_link_of_person<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    user: User,
    role: Option<Role>,
    (return_to, address): (Option<String>, Option<EmailAddress>),
) -> Result<(SignInLink, String)> {
    if user.is_of_identity_provider() {
        return Err(Error::invalid_field(
            "user.id",
            "begins with `oidc:` or `access:`, so this person signs in at the identity provider and not by a link.",
        ));
    }
    let has_role_of_person = role.is_none();
    let role = authorize::decide_sign_in_role(context, caller, &user, role).await?;
    let new = NewSignInLink { user, role, has_role_of_person, return_to, address };
    sign_in_links::create_sign_in_link(context, caller, new).await
}
