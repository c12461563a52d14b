//! The routes, as a table that reads as documentation. `/openapi.json` and docs/api.md are made of it and of the types that
//! it names.

use super::body::{DeletedResponse, Json, ListResponse, Unread};
#[cfg(test)]
use super::openapi;
use super::view::{
    ApiKeyResponse, AppDetailsResponse, CheckedConnectionResponse, ConnectionResponse, CreatedLinkResponse,
    CreatedSignInLinkResponse, CreatedWorkspaceResponse, DeletedKeyResponse, DeletedWorkspaceResponse,
    DisconnectedResponse, HealthResponse, LinkResponse, NewApiKeyResponse, OAuthClientResponse,
    ResolvedCredentialResponse, SessionResponse, SignInLinkResponse, StatusResponse, UpdatedAppResponse,
    UpdatedConnectionResponse, WorkspaceStateResponse,
};
use super::{
    Call, Method, Response, apps, connections, entered, flows, keys, links, oauth, operator, people, sessions, setup,
    sign_in,
};
use crate::app::AppId;
use crate::authorize::{Action, Needs, Resource};
use crate::caller::Scope;
use crate::connect::recent_test::RecentTest;
use crate::core::Core;
use crate::error::Result;
use crate::ids::{ClientId, SessionId, SignInLinkId};
use crate::ports::Ports;
use crate::resolve::Ask;
use crate::store::events::Event;
use crate::store::uses::Use;
use crate::workspace::Workspace;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anybody.
    Nobody,
    /// The operator.
    Operator,
    /// A key with this scope (`None`: any key).
    Key(Option<Scope>),
    /// A key with the scope `resolve`, which the use case checks itself, in its own round trip.
    Itself,
    /// Any browser; a form must be our own.
    Browser,
    /// A signed-in person of these; a form must be of their session.
    Person(Needs),
}

/// One route.
#[derive(Debug)]
pub struct Line {
    /// The method.
    pub method: Method,
    /// The path; `{…}` stands for one segment.
    pub path: &'static str,
    /// Who may call.
    pub auth: Auth,
    /// What it does to its resource.
    pub action: Action,
    /// What it is about. The first `{…}` of the path names it, if there is one.
    pub resource: Resource,
    /// What answers.
    pub handler: Handler,
}

impl Line {
    /// Whether a browser is expected, so that errors are pages.
    pub fn is_page(&self) -> bool {
        matches!(self.auth, Auth::Browser | Auth::Person(_))
    }
}

/// A route that names a type answers it as JSON; one that names none answers a page, or a text of its own.
macro_rules! answer {
    () => { Response };
    ($response:ty) => { Json<$response> };
}

macro_rules! respond {
    ($answer:ident) => {
        Ok($answer)
    };
    ($answer:ident $response:ty) => {
        $answer.into_response()
    };
}

#[cfg(test)]
fn first<const N: usize>(schemas: [serde_json::Value; N]) -> Option<serde_json::Value> {
    schemas.into_iter().next()
}

macro_rules! routes {
    ($(
        $method:ident $path:literal $auth:expr, $action:ident $resource:ident
        => $handler:ident $(($request:ty))? $(-> $response:ty)? = $function:path;
    )*) => {
        /// What answers a route.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Handler {
            $(#[doc = $path] $handler,)*
        }

        /// All routes.
        pub const ROUTES: &[Line] = &[
            $(Line {
                method: Method::$method,
                path: $path,
                auth: $auth,
                action: Action::$action,
                resource: Resource::$resource,
                handler: Handler::$handler,
            },)*
        ];

        pub(super) async fn dispatch<P: Ports>(core: &Core<P>, handler: Handler, call: &Call<'_>) -> Result<Response> {
            match handler {
                $(Handler::$handler => {
                    let answer: answer!($($response)?) =
                        $function(core, call $(, Unread::<$request>::of(call.request))?).await?;
                    respond!(answer $($response)?)
                })*
            }
        }

        /// The types that a route reads and answers, as the description of the API has them.
        #[cfg(test)]
        pub(super) fn body_types(handler: Handler, schemas: &mut openapi::Schemas) -> openapi::BodyTypes {
            match handler {
                $(Handler::$handler => openapi::BodyTypes {
                    request: first([$(schemas.request::<$request>())?]),
                    response: first([$(schemas.response::<$response>())?]),
                },)*
            }
        }
    };
}

use Auth::{Browser, Itself, Nobody, Operator, Person};
use Needs::{Member, OwnerOrAdmin};

const fn key(scope: Scope) -> Auth {
    Auth::Key(Some(scope))
}

routes! {
    // Method, path, who may call, what is done to what, the handler with what it reads and answers, and its function.

    // Operator
    Post   "/v1/workspaces"                               Operator,                    Create Workspace    => CreateWorkspace(operator::NewWorkspace) -> CreatedWorkspaceResponse = operator::create_workspace;
    Get    "/v1/workspaces"                               Operator,                    List   Workspace    => ListWorkspaces -> ListResponse<Workspace> = operator::list_workspaces;
    Get    "/v1/workspaces/{workspace}"                   Operator,                    Read   Workspace    => ShowWorkspace -> WorkspaceStateResponse = operator::get_workspace;
    Delete "/v1/workspaces/{workspace}"                   Operator,                    Change Workspace    => DeleteWorkspace -> DeletedWorkspaceResponse = operator::delete_workspace;
    Get    "/v1/status"                                   Operator,                    Read   Installation => Status -> StatusResponse = operator::status;
    Get    "/healthz"                                     Nobody,                      Read   Installation => Health -> HealthResponse = operator::health;
    Get    "/openapi.json"                                Nobody,                      Read   Installation => OpenApi = operator::show_openapi;

    // Workspace and keys
    Get    "/v1/workspace"                                key(Scope::Keys),            Read   Workspace    => GetWorkspace -> Workspace = keys::get_workspace;
    Patch  "/v1/workspace"                                key(Scope::Keys),            Change Workspace    => PatchWorkspace(keys::WorkspacePatch) -> Workspace = keys::patch_workspace;
    Post   "/v1/keys"                                     key(Scope::Keys),            Create Key          => CreateKey(keys::NewKey) -> NewApiKeyResponse = keys::create;
    Get    "/v1/keys"                                     key(Scope::Keys),            List   Key          => ListKeys -> ListResponse<ApiKeyResponse> = keys::list;
    Delete "/v1/keys/{key}"                               key(Scope::Keys),            Change Key          => DeleteKey -> DeletedKeyResponse = keys::delete;
    Post   "/v1/keys/{key}/rotate"                        key(Scope::Keys),            Change Key          => RotateKey(keys::Rotation) -> NewApiKeyResponse = keys::rotate;

    // Apps and clients
    Get    "/v1/apps"                                     key(Scope::ConnectionsRead), List   App          => ListApps -> ListResponse<AppDetailsResponse> = apps::list;
    Post   "/v1/apps"                                     key(Scope::Apps),            Create App          => CreateApp(apps::CustomAppRequest) -> AppDetailsResponse = apps::create;
    Get    "/v1/apps/{app}"                               key(Scope::ConnectionsRead), Read   App          => GetApp -> AppDetailsResponse = apps::get;
    Put    "/v1/apps/{app}"                               key(Scope::Apps),            Change App          => PutApp(apps::CustomAppRequest) -> UpdatedAppResponse = apps::put;
    Delete "/v1/apps/{app}"                               key(Scope::Apps),            Change App          => DeleteApp -> DeletedResponse<AppId> = apps::delete;
    Get    "/v1/apps/{app}/client"                        key(Scope::ConnectionsRead), Read   Client       => GetClient -> OAuthClientResponse = apps::get_client;
    Put    "/v1/apps/{app}/client"                        key(Scope::Apps),            Change Client       => PutClient(apps::ClientInput) -> OAuthClientResponse = apps::put_client;
    Delete "/v1/apps/{app}/client"                        key(Scope::Apps),            Change Client       => DeleteClient -> DeletedResponse<ClientId> = apps::delete_client;
    Post   "/v1/apps/{app}/client/test"                   key(Scope::Apps),            Change Client       => TestClient(apps::TrialInput) -> RecentTest = apps::test_client;

    // Connections
    Get    "/v1/connections"                              key(Scope::ConnectionsRead), List   Connection   => ListConnections -> ListResponse<ConnectionResponse> = connections::list;
    Post   "/v1/connections"                              key(Scope::ConnectionsWrite),Create Connection   => CreateConnection(entered::NewInput) -> ConnectionResponse = entered::create;
    Put    "/v1/connections/{connection}/credential"      key(Scope::ConnectionsWrite),Change Connection   => PutCredential(entered::ReplaceInput) -> ConnectionResponse = entered::replace;
    Get    "/v1/connections/{connection}"                 key(Scope::ConnectionsRead), Read   Connection   => GetConnection -> ConnectionResponse = connections::get;
    Patch  "/v1/connections/{connection}"                 key(Scope::ConnectionsWrite),Change Connection   => PatchConnection(connections::PatchInput) -> UpdatedConnectionResponse = connections::patch;
    Delete "/v1/connections/{connection}"                 key(Scope::ConnectionsWrite),Change Connection   => DeleteConnection -> DisconnectedResponse = connections::delete;
    Post   "/v1/connections/{connection}/check"           key(Scope::ConnectionsWrite),Use    Connection   => CheckConnection -> CheckedConnectionResponse = connections::check;
    Post   "/v1/connections/{connection}/resolve"         Itself,                      Use    Connection   => Resolve(Ask) -> ResolvedCredentialResponse = connections::resolve;
    Get    "/v1/connections/{connection}/uses"            key(Scope::ConnectionsRead), Read   Connection   => ListUses -> ListResponse<Use> = connections::uses;
    Get    "/v1/connections/{connection}/events"          key(Scope::Events),          Read   Connection   => ListEvents -> ListResponse<Event> = connections::events;

    // Links
    Post   "/v1/links"                                    key(Scope::Links),           Create Link         => CreateLink(links::LinkInput) -> CreatedLinkResponse = links::create;
    Get    "/v1/links"                                    key(Scope::Links),           List   Link         => ListLinks -> ListResponse<LinkResponse> = links::list;
    Get    "/v1/links/{link}"                             key(Scope::Links),           Read   Link         => GetLink -> LinkResponse = links::get;
    Delete "/v1/links/{link}"                             key(Scope::Links),           Change Link         => DeleteLink -> LinkResponse = links::delete;
    Post   "/v1/links/{link}/confirm"                     key(Scope::Links),           Change Link         => ConfirmLink(links::Confirmation) -> LinkResponse = links::confirm;
    Post   "/v1/sign-in-links"                            key(Scope::Links),           Create SignInLink   => CreateSignInLink(links::SignInInput) -> CreatedSignInLinkResponse = links::create_sign_in;
    Get    "/v1/sign-in-links"                            key(Scope::People),          List   SignInLink   => ListSignInLinks -> ListResponse<SignInLinkResponse> = sessions::list_sign_in;
    Delete "/v1/sign-in-links/{sign_in_link}"             key(Scope::People),          Change SignInLink   => DeleteSignInLink -> DeletedResponse<SignInLinkId> = sessions::delete_sign_in;
    Get    "/v1/sessions"                                 key(Scope::People),          List   Session      => ListSessions -> ListResponse<SessionResponse> = sessions::list;
    Delete "/v1/sessions/{session}"                       key(Scope::People),          Change Session      => DeleteSession -> DeletedResponse<SessionId> = sessions::delete;

    // Connecting in a browser
    Get    "/connect/{token}"                             Browser,                     Read   Link         => ShowLink = oauth::show_link;
    Post   "/connect/{token}"                             Browser,                     Use    Link         => UseLink = oauth::use_link;
    Get    "/oauth/start/{app}"                           Person(Member),              Create Connection   => ShowStart = oauth::show_start;
    Post   "/oauth/start/{app}"                           Person(Member),              Create Connection   => Start = oauth::start;
    Get    "/oauth/callback/{client}"                     Browser,                     Use    Flow         => Callback = oauth::callback;
    Get    "/oauth/ended/{reason}"                        Browser,                     Read   Installation => ShowEnded = oauth::show_ended;
    Get    "/flows/{authorization}"                       Browser,                     Read   Flow         => ShowFlow = flows::show_flow;
    Post   "/flows/{authorization}"                       Browser,                     Use    Flow         => Choose = flows::choose;
    Get    "/flows/{authorization}/again"                 Browser,                     Read   Flow         => ShowAgain = oauth::show_again;
    Post   "/flows/{authorization}/again"                 Browser,                     Use    Flow         => UseAgain = oauth::use_again;

    // The page
    Get    "/"                                            Person(Member),              List   Connection   => ShowConnections = people::list;
    Get    "/connections/{connection}"                    Person(Member),              Read   Connection   => ShowConnection = people::show;
    Post   "/connections/{connection}/rename"             Person(OwnerOrAdmin),        Change Connection   => Rename = people::rename;
    Post   "/connections/{connection}/check"              Person(Member),              Use    Connection   => CheckNow = people::check;
    Get    "/connections/{connection}/reconnect"          Person(OwnerOrAdmin),        Change Connection   => ShowReconnect = oauth::show_reconnect;
    Post   "/connections/{connection}/reconnect"          Person(OwnerOrAdmin),        Change Connection   => Reconnect = oauth::reconnect;
    Post   "/connections/{connection}/disconnect"         Person(OwnerOrAdmin),        Change Connection   => Disconnect = people::disconnect;
    Get    "/apps/{app}/setup"                            Person(Member),              Read   App          => ShowSetup = setup::show;
    Get    "/sign-in/{token}"                             Browser,                     Read   SignInLink   => ShowSignIn = sign_in::show;
    Post   "/sign-in/{token}"                             Browser,                     Use    SignInLink   => SignIn = sign_in::sign_in;
    Post   "/sign-out"                                    Person(Member),              Change Session      => SignOut = sign_in::sign_out;
    Get    "/style.css"                                   Nobody,                      Read   Installation => Style = people::style;
}

/// What a path and method lead to.
#[derive(Debug)]
pub enum Found {
    /// A route and the segments its `{…}` stand for.
    Route {
        /// The route.
        line: &'static Line,
        /// The segments, in order.
        params: Vec<String>,
    },
    /// The path exists under other methods.
    OtherMethod {
        /// Those.
        allow: Vec<&'static str>,
        /// Whether it is a page.
        page: bool,
    },
    /// No such path.
    Nothing,
}

/// Looks a route up. Whatever answers GET answers HEAD.
pub fn find(method: Method, path: &str) -> Found {
    let wanted = if method == Method::Head { Method::Get } else { method };
    let mut allow = Vec::new();
    let mut page = false;
    for line in ROUTES {
        let Some(params) = matched(line.path, path) else { continue };
        if line.method == wanted {
            return Found::Route { line, params };
        }
        allow.push(line.method.as_str());
        if line.method == Method::Get {
            allow.push(Method::Head.as_str());
        }
        page = line.is_page();
    }
    if allow.is_empty() { Found::Nothing } else { Found::OtherMethod { allow, page } }
}

/// Segments are compared as sent: ids and tokens have no character that would be escaped.
fn matched(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(params),
            (Some(expected), Some(segment)) if expected.starts_with('{') && !segment.is_empty() => {
                params.push(segment.to_owned());
            }
            (Some(expected), Some(segment)) if expected == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_routes_other_methods_and_nothing() {
        let Found::Route { line, params } = find(Method::Post, "/v1/connections/con_1/resolve") else { panic!() };
        assert_eq!((line.handler, params), (Handler::Resolve, vec!["con_1".to_owned()]));
        let Found::OtherMethod { allow, .. } = find(Method::Put, "/v1/connections/con_1") else { panic!() };
        assert_eq!(allow, ["GET", "HEAD", "PATCH", "DELETE"]);
        let Found::Route { line, .. } = find(Method::Head, "/v1/connections/con_1") else { panic!() };
        assert_eq!(line.method, Method::Get);
        let Found::OtherMethod { allow, .. } = find(Method::Head, "/v1/connections/con_1/check") else { panic!() };
        assert_eq!(allow, ["POST"]);
        for nothing in ["", "/v1", "/v1/connections/", "/v1/connections/a/b/c", "//"] {
            assert!(matches!(find(Method::Get, nothing), Found::Nothing), "{nothing}");
        }
    }

    #[test]
    fn every_route_says_what_it_is_about_and_what_it_does() {
        for line in ROUTES {
            let shows = matches!(line.action, Action::List | Action::Read);
            // A page that is there for a change is for those who may make it.
            let prepares = line.is_page() && matches!(line.action, Action::Change | Action::Create | Action::Use);
            assert_eq!(line.method == Method::Get, shows || line.method == Method::Get && prepares, "{}", line.path);
            let named = line.path.split('/').find_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
            let about: &[Resource] = match named {
                None => {
                    let one = matches!(line.action, Action::List | Action::Create);
                    let own = matches!(line.resource, Resource::Installation | Resource::Workspace | Resource::Session);
                    assert!(one || own, "{} names nothing", line.path);
                    continue;
                }
                Some("workspace") => &[Resource::Workspace],
                Some("key") => &[Resource::Key],
                Some("app") if line.action == Action::Create => &[Resource::Connection],
                Some("app") => &[Resource::App, Resource::Client],
                Some("connection") => &[Resource::Connection],
                Some("link") => &[Resource::Link],
                Some("sign_in_link") => &[Resource::SignInLink],
                Some("session") => &[Resource::Session],
                Some("token") => &[Resource::Link, Resource::SignInLink],
                Some("client" | "authorization") => &[Resource::Flow],
                Some("reason") => &[Resource::Installation],
                Some(other) => panic!("{}: which resource is {{{other}}}?", line.path),
            };
            assert!(about.contains(&line.resource), "{} is about {:?}", line.path, line.resource);
        }
    }

    #[test]
    fn people_change_connections_as_owners_or_admins_alone() {
        let changes = |line: &&Line| (line.action, line.resource) == (Action::Change, Resource::Connection);
        for line in ROUTES.iter().filter(changes) {
            assert_ne!(line.auth, Auth::Person(Needs::Member), "{}", line.path);
        }
    }

    #[test]
    fn every_route_that_changes_something_wants_somebody_or_our_own_form() {
        for line in ROUTES.iter().filter(|line| line.method != Method::Get) {
            assert_ne!(line.auth, Auth::Nobody, "{}", line.path);
        }
    }
}
