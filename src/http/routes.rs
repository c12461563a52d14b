//! The routes, as a table that reads as documentation. `/openapi.json` says the same at length, and a
//! test holds the two together.

use super::{
    Call, Method, Response, apps, connections, entered, flows, keys, links, oauth, operator, people, setup, sign_in,
};
use crate::caller::Scope;
use crate::core::Core;
use crate::error::Result;
use crate::ports::Ports;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anybody.
    Nobody,
    /// The operator.
    Operator,
    /// A key with this scope (`None`: any key).
    Key(Option<Scope>),
    /// A key, which the use case checks itself, in its own round trip.
    Itself,
    /// Any browser; a form must be our own.
    Browser,
    /// A signed-in person; a form must be of their session.
    Person,
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
    /// What answers.
    pub handler: Handler,
}

impl Line {
    /// Whether a browser is expected, so that errors are pages.
    pub fn is_page(&self) -> bool {
        matches!(self.auth, Auth::Browser | Auth::Person)
    }
}

macro_rules! routes {
    ($($method:ident $path:literal $auth:expr => $handler:ident = $function:path;)*) => {
        /// What answers a route.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Handler {
            $(#[doc = $path] $handler,)*
        }

        /// All routes.
        pub const ROUTES: &[Line] = &[
            $(Line { method: Method::$method, path: $path, auth: $auth, handler: Handler::$handler },)*
        ];

        pub(super) async fn dispatch<P: Ports>(core: &Core<P>, handler: Handler, call: &Call<'_>) -> Result<Response> {
            match handler {
                $(Handler::$handler => $function(core, call).await,)*
            }
        }
    };
}

use Auth::{Browser, Itself, Nobody, Operator, Person};

const fn key(scope: Scope) -> Auth {
    Auth::Key(Some(scope))
}

routes! {
    // Operator
    Post   "/v1/workspaces"                       Operator => CreateWorkspace = operator::create_workspace;
    Get    "/v1/workspaces"                       Operator => ListWorkspaces = operator::list_workspaces;
    Delete "/v1/workspaces/{workspace}"           Operator => DeleteWorkspace = operator::delete_workspace;
    Get    "/v1/status"                           Operator => Status = operator::status;
    Get    "/healthz"                             Nobody => Health = operator::health;
    Get    "/openapi.json"                        Nobody => OpenApi = operator::show_openapi;

    // Workspace and keys
    Get    "/v1/workspace"                        key(Scope::Keys) => GetWorkspace = keys::get_workspace;
    Patch  "/v1/workspace"                        key(Scope::Keys) => PatchWorkspace = keys::patch_workspace;
    Post   "/v1/keys"                             key(Scope::Keys) => CreateKey = keys::create;
    Get    "/v1/keys"                             key(Scope::Keys) => ListKeys = keys::list;
    Delete "/v1/keys/{key}"                       key(Scope::Keys) => DeleteKey = keys::delete;

    // Apps and clients
    Get    "/v1/apps"                             key(Scope::ConnectionsRead) => ListApps = apps::list;
    Post   "/v1/apps"                             key(Scope::Apps) => CreateApp = apps::create;
    Get    "/v1/apps/{app}"                       key(Scope::ConnectionsRead) => GetApp = apps::get;
    Put    "/v1/apps/{app}"                       key(Scope::Apps) => PutApp = apps::put;
    Delete "/v1/apps/{app}"                       key(Scope::Apps) => DeleteApp = apps::delete;
    Get    "/v1/apps/{app}/client"                key(Scope::ConnectionsRead) => GetClient = apps::get_client;
    Put    "/v1/apps/{app}/client"                key(Scope::Apps) => PutClient = apps::put_client;
    Delete "/v1/apps/{app}/client"                key(Scope::Apps) => DeleteClient = apps::delete_client;

    Post   "/v1/apps/{app}/client/test"           key(Scope::Apps) => TestClient = apps::test_client;

    // Connections
    Get    "/v1/connections"                      key(Scope::ConnectionsRead) => ListConnections = connections::list;
    Post   "/v1/connections"                      key(Scope::ConnectionsWrite) => CreateConnection = entered::create;
    Put    "/v1/connections/{connection}/credential" key(Scope::ConnectionsWrite) => PutCredential = entered::replace;
    Get    "/v1/connections/{connection}"         key(Scope::ConnectionsRead) => GetConnection = connections::get;
    Patch  "/v1/connections/{connection}"         key(Scope::ConnectionsWrite) => PatchConnection = connections::patch;
    Delete "/v1/connections/{connection}"         key(Scope::ConnectionsWrite) => DeleteConnection = connections::delete;
    Post   "/v1/connections/{connection}/check"   key(Scope::ConnectionsWrite) => CheckConnection = connections::check;
    Post   "/v1/connections/{connection}/resolve" Itself => Resolve = connections::resolve;
    Get    "/v1/connections/{connection}/uses"    key(Scope::ConnectionsRead) => ListUses = connections::uses;
    Get    "/v1/connections/{connection}/events"  key(Scope::Events) => ListEvents = connections::events;

    // Links
    Post   "/v1/links"                            key(Scope::Links) => CreateLink = links::create;
    Get    "/v1/links/{link}"                     key(Scope::Links) => GetLink = links::get;
    Post   "/v1/links/{link}/confirm"             key(Scope::Links) => ConfirmLink = links::confirm;
    Post   "/v1/sign-in-links"                    key(Scope::Links) => CreateSignInLink = links::create_sign_in;

    // Connecting in a browser
    Get    "/connect/{token}"                     Browser => ShowLink = oauth::show_link;
    Post   "/connect/{token}"                     Browser => UseLink = oauth::use_link;
    Get    "/oauth/start/{app}"                   Person => ShowStart = oauth::show_start;
    Post   "/oauth/start/{app}"                   Person => Start = oauth::start;
    Get    "/oauth/callback/{client}"             Browser => Callback = oauth::callback;
    Get    "/oauth/ended/{reason}"                Browser => ShowEnded = oauth::show_ended;
    Get    "/flows/{authorization}"               Browser => ShowFlow = flows::show_flow;
    Post   "/flows/{authorization}"               Browser => Choose = flows::choose;
    Get    "/flows/{authorization}/again"         Browser => ShowAgain = oauth::show_again;
    Post   "/flows/{authorization}/again"         Browser => UseAgain = oauth::use_again;

    // The page
    Get    "/"                                    Person => ShowConnections = people::list;
    Get    "/connections/{connection}"            Person => ShowConnection = people::show;
    Post   "/connections/{connection}/rename"     Person => Rename = people::rename;
    Post   "/connections/{connection}/check"      Person => CheckNow = people::check;
    Get    "/connections/{connection}/reconnect"  Person => ShowReconnect = oauth::show_reconnect;
    Post   "/connections/{connection}/reconnect"  Person => Reconnect = oauth::reconnect;
    Post   "/connections/{connection}/disconnect" Person => Disconnect = people::disconnect;
    Get    "/apps/{app}/setup"                    Person => ShowSetup = setup::show;
    Get    "/sign-in/{token}"                     Browser => ShowSignIn = sign_in::show;
    Post   "/sign-in/{token}"                     Browser => SignIn = sign_in::sign_in;
    Post   "/sign-out"                            Person => SignOut = sign_in::sign_out;
    Get    "/style.css"                           Nobody => Style = people::style;
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
    fn every_route_that_changes_something_wants_somebody_or_our_own_form() {
        for line in ROUTES.iter().filter(|line| line.method != Method::Get) {
            assert_ne!(line.auth, Auth::Nobody, "{}", line.path);
        }
    }
}
