//! The routes, as a table that reads as documentation. `/openapi.json` and docs/api.md are made of it and of its types.

use futures_util::future::LocalBoxFuture;

use super::body::{DeletedResponse, Json, ListResponse, Unread};
#[cfg(test)]
use super::openapi;
use super::responses::{
    AcknowledgedResponse, ApiKeyResponse, AppDetailsResponse, ChangedDefaultResponse, CheckedConnectionResponse,
    ConnectionResponse, CreatedLinkResponse, CreatedSignInLinkResponse, CreatedWorkspaceResponse, DefaultResponse,
    DeletedKeyResponse, DeletedPersonResponse, DeletedWorkspaceResponse, DeliveryResponse, DisconnectedResponse,
    EmailSettingsResponse, HealthResponse, IdentityProviderResponse, JobResponse, LinkResponse, NewApiKeyResponse,
    NewWebhookResponse, OAuthClientResponse, OpenedHandshakeResponse, PersonResponse, PlacedWorkspace,
    PreflightResponse, ReceivedHandshakeResponse, ReplacementResponse, ResolvedCredentialResponse, SessionResponse,
    SignInLinkResponse, StatusResponse, UpdatedAppResponse, UpdatedConnectionResponse, VerifiedEventResponse,
    WebhookResponse, WorkflowResponse, WorkflowUseResponse, WorkspaceStateResponse,
};
use super::{
    Call, Method, Response, apps, brand, bulk, catalogue_page, connection_forms, connection_page, connections,
    connections_page, credentials, defaults, disconnecting, emails, events, flows, hooks, identity, jobs, keys, links,
    oauth, oauth_clients, operator, people, provider_sign_in, proxy, replacements, resolving, review_page, sessions,
    settings, setup, sign_in, try_resolve, webhooks, workflow_pages, workflows,
};
use crate::app::AppId;
use crate::authorize::{Action, RequiredRole, Resource};
use crate::caller::KeyScope;
use crate::connect::recent_client_test::RecentTest;
use crate::context::Context;
use crate::error::Result;
use crate::ids::{ClientId, SessionId, SignInLinkId, WebhookId};
use crate::ports::Ports;
use crate::resolve::ResolveRequest;
use crate::store::events::{AuditEvent, Event};
use crate::store::uses::Use;
use crate::workspace::Workspace;

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequiredAuth {
    /// Anybody.
    Public,
    /// The operator.
    Operator,
    /// A key with this scope (`None`: any key).
    Key(Option<KeyScope>),
    /// A key with this scope, which the use case checks itself, in its own round trip.
    KeyInHandler(KeyScope),
    /// Any browser. A form must be our own.
    Browser,
    /// A signed-in person with one of these roles. A form must be of their session.
    User(RequiredRole),
    /// An app, by the signature of what it sends. The use case verifies it.
    App,
    /// Whoever has the text in the path, which was sealed for one purpose. The use case opens it.
    Holder,
}

/// One route.
#[derive(Debug)]
pub struct RouteEntry {
    /// The method.
    pub method: Method,
    /// The path. `{…}` is one segment, but for `{path}` at its end.
    pub path: &'static str,
    /// Who may call.
    pub auth: RequiredAuth,
    /// What it does to its resource.
    pub action: Action,
    /// Its resource. The first `{…}` of the path names it, if there is one.
    pub resource: Resource,
    /// Its handler.
    pub handler: Handler,
}

impl RouteEntry {
    /// Whether a browser is expected, so that errors are pages.
    pub fn is_page(&self) -> bool {
        matches!(self.auth, RequiredAuth::Browser | RequiredAuth::User(_) | RequiredAuth::Holder)
    }

    /// Whether it shows a page to a signed-in person.
    pub fn is_page_of_person(&self) -> bool {
        matches!(self.auth, RequiredAuth::User(_)) && self.method == Method::Get
    }
}

/// A route with a type returns it as JSON. One without a type returns a page, or another text.
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
        /// The handler of a route.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Handler {
            $(#[doc = $path] $handler,)*
        }

        /// All routes.
        pub const ROUTES: &[RouteEntry] = &[
            $(RouteEntry {
                method: Method::$method,
                path: $path,
                auth: $auth,
                action: Action::$action,
                resource: Resource::$resource,
                handler: Handler::$handler,
            },)*
        ];

        /// What answers a call. In memory of its own, and behind a pointer: otherwise all handlers are one function, which
        /// every request would have to set up and the platform to compile before it answers its first.
        pub(super) fn dispatch<'a, P: Ports>(
            context: &'a Context<P>,
            handler: Handler,
            call: &'a Call<'a>,
        ) -> LocalBoxFuture<'a, Result<Response>> {
            match handler {
                $(Handler::$handler => Box::pin(async move {
                    let answer: answer!($($response)?) =
                        $function(context, call $(, Unread::<$request>::of(call.request))?).await?;
                    respond!(answer $($response)?)
                }),)*
            }
        }

        /// The types that a route reads and returns, for the description of the API.
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

use RequiredAuth::{App, Browser, Holder, Operator, Public, User};
use RequiredRole::{Admin, Member, OwnerOrAdmin};

/// Checked by the handler.
const RESOLVER: RequiredAuth = RequiredAuth::KeyInHandler(KeyScope::Resolve);
/// Checked by the handler.
const PROXY: RequiredAuth = RequiredAuth::KeyInHandler(KeyScope::Proxy);

const fn key_with_scope(scope: KeyScope) -> RequiredAuth {
    RequiredAuth::Key(Some(scope))
}

routes! {
    // Method, path, who may call, action and resource, the handler with its types, and its function.

    // Operator
    Post   "/v1/workspaces"                               Operator,                    Create Workspace    => CreateWorkspace(operator::CreateWorkspaceInput) -> CreatedWorkspaceResponse = operator::create_workspace;
    Get    "/v1/workspaces"                               Operator,                    List   Workspace    => ListWorkspaces -> ListResponse<PlacedWorkspace> = operator::list_workspaces;
    Get    "/v1/workspaces/{workspace}"                   Operator,                    Read   Workspace    => GetWorkspace -> WorkspaceStateResponse = operator::get_workspace;
    Delete "/v1/workspaces/{workspace}"                   Operator,                    Change Workspace    => DeleteWorkspace -> DeletedWorkspaceResponse = operator::delete_workspace;
    Get    "/v1/status"                                   Operator,                    Read   Installation => GetStatus -> StatusResponse = operator::get_status;
    Get    "/healthz"                                     Public,                      Read   Installation => GetHealth -> HealthResponse = operator::get_health;
    Get    "/openapi.json"                                Public,                      Read   Installation => GetOpenapi = operator::get_openapi;

    // Workspace and keys
    Get    "/v1/workspace"                                key_with_scope(KeyScope::Keys),            Read   Workspace    => GetOwnWorkspace -> Workspace = keys::get_own_workspace;
    Patch  "/v1/workspace"                                key_with_scope(KeyScope::Keys),            Change Workspace    => UpdateOwnWorkspace(keys::UpdateWorkspaceInput) -> Workspace = keys::update_own_workspace;
    Get    "/v1/workspace/identity"                       key_with_scope(KeyScope::All),             Read   Workspace    => GetIdentityProvider -> IdentityProviderResponse = identity::get_identity_provider;
    Put    "/v1/workspace/identity"                       key_with_scope(KeyScope::All),             Change Workspace    => PutIdentityProvider(identity::PutIdentityProviderInput) -> IdentityProviderResponse = identity::put_identity_provider;
    Delete "/v1/workspace/identity"                       key_with_scope(KeyScope::All),             Change Workspace    => DeleteIdentityProvider -> DeletedResponse<ClientId> = identity::delete_identity_provider;
    Get    "/v1/workspace/email"                          key_with_scope(KeyScope::Webhooks),        Read   Workspace    => GetEmailSettings -> EmailSettingsResponse = emails::get_email_settings;
    Put    "/v1/workspace/email"                          key_with_scope(KeyScope::Webhooks),        Change Workspace    => PutEmailSettings(emails::PutEmailSettingsInput) -> EmailSettingsResponse = emails::put_email_settings;
    Post   "/v1/keys"                                     key_with_scope(KeyScope::Keys),            Create Key          => CreateKey(keys::CreateKeyInput) -> NewApiKeyResponse = keys::create_key;
    Get    "/v1/keys"                                     key_with_scope(KeyScope::Keys),            List   Key          => ListKeys -> ListResponse<ApiKeyResponse> = keys::list_keys;
    Delete "/v1/keys/{key}"                               key_with_scope(KeyScope::Keys),            Change Key          => DeleteKey -> DeletedKeyResponse = keys::delete_key;
    Post   "/v1/keys/{key}/rotate"                        key_with_scope(KeyScope::Keys),            Change Key          => RotateKey(keys::RotateKeyInput) -> NewApiKeyResponse = keys::rotate_key;

    // Apps and clients
    Get    "/v1/apps"                                     key_with_scope(KeyScope::ConnectionsRead), List   App          => ListApps -> ListResponse<AppDetailsResponse> = apps::list_apps;
    Post   "/v1/apps"                                     key_with_scope(KeyScope::Apps),            Create App          => CreateApp(apps::CustomAppRequest) -> AppDetailsResponse = apps::create_app;
    Get    "/v1/apps/{app}"                               key_with_scope(KeyScope::ConnectionsRead), Read   App          => GetApp -> AppDetailsResponse = apps::get_app;
    Put    "/v1/apps/{app}"                               key_with_scope(KeyScope::Apps),            Change App          => UpdateApp(apps::CustomAppRequest) -> UpdatedAppResponse = apps::update_app;
    Delete "/v1/apps/{app}"                               key_with_scope(KeyScope::Apps),            Change App          => DeleteApp -> DeletedResponse<AppId> = apps::delete_app;
    Get    "/v1/apps/{app}/client"                        key_with_scope(KeyScope::ConnectionsRead), Read   Client       => GetClient -> OAuthClientResponse = oauth_clients::get_client;
    Put    "/v1/apps/{app}/client"                        key_with_scope(KeyScope::Apps),            Change Client       => PutClient(oauth_clients::PutClientInput) -> OAuthClientResponse = oauth_clients::put_client;
    Delete "/v1/apps/{app}/client"                        key_with_scope(KeyScope::Apps),            Change Client       => DeleteClient -> DeletedResponse<ClientId> = oauth_clients::delete_client;
    Post   "/v1/apps/{app}/client/handshake"              key_with_scope(KeyScope::Apps),            Change Client       => OpenHandshake -> OpenedHandshakeResponse = oauth_clients::open_handshake;
    Get    "/v1/apps/{app}/client/handshake"              key_with_scope(KeyScope::Apps),            Read   Client       => GetHandshake -> ReceivedHandshakeResponse = oauth_clients::get_handshake;
    Post   "/v1/apps/{app}/client/test"                   key_with_scope(KeyScope::Apps),            Change Client       => TestClient(oauth_clients::TestClientInput) -> RecentTest = oauth_clients::test_client;

    // Defaults, and credentials by app
    Put    "/v1/apps/{app}/default"                       key_with_scope(KeyScope::ConnectionsWrite),Change App          => PutDefault(defaults::PutDefaultInput) -> ChangedDefaultResponse = defaults::put_default;
    Delete "/v1/apps/{app}/default"                       key_with_scope(KeyScope::ConnectionsWrite),Change App          => DeleteDefault -> ChangedDefaultResponse = defaults::delete_default;
    Get    "/v1/defaults"                                 key_with_scope(KeyScope::ConnectionsRead), List   Connection   => ListDefaults -> ListResponse<DefaultResponse> = defaults::list_defaults;
    Post   "/v1/resolve"                                  RESOLVER,                          Use    Connection   => ResolveByApp(resolving::ResolveByAppInput) -> ResolvedCredentialResponse = resolving::resolve_by_app;
    Post   "/v1/resolve/batch"                            RESOLVER,                          Use    Connection   => ResolveBatch(resolving::ResolveBatchInput) -> resolving::ResolveBatchResponse = resolving::resolve_batch;

    // Connections
    Get    "/v1/connections"                              key_with_scope(KeyScope::ConnectionsRead), List   Connection   => ListConnections -> ListResponse<ConnectionResponse> = connections::list_connections;
    Post   "/v1/connections"                              key_with_scope(KeyScope::ConnectionsWrite),Create Connection   => CreateConnection(credentials::CreateConnectionInput) -> ConnectionResponse = credentials::create_connection;
    Put    "/v1/connections/{connection}/credential"      key_with_scope(KeyScope::ConnectionsWrite),Change Connection   => ReplaceCredential(credentials::ReplaceCredentialInput) -> ConnectionResponse = credentials::replace_credential;
    Get    "/v1/connections/{connection}"                 key_with_scope(KeyScope::ConnectionsRead), Read   Connection   => GetConnection -> ConnectionResponse = connections::get_connection;
    Patch  "/v1/connections/{connection}"                 key_with_scope(KeyScope::ConnectionsWrite),Change Connection   => UpdateConnection(connections::UpdateConnectionInput) -> UpdatedConnectionResponse = connections::update_connection;
    Delete "/v1/connections/{connection}"                 key_with_scope(KeyScope::ConnectionsWrite),Change Connection   => DeleteConnection -> DisconnectedResponse = connections::delete_connection;
    Post   "/v1/connections/{connection}/check"           key_with_scope(KeyScope::ConnectionsWrite),Use    Connection   => CheckConnection -> CheckedConnectionResponse = connections::check_connection;
    Post   "/v1/connections/{connection}/resolve"         RESOLVER,                          Use    Connection   => ResolveConnection(ResolveRequest) -> ResolvedCredentialResponse = connections::resolve_connection;
    Post   "/v1/connections/{connection}/report"          key_with_scope(KeyScope::Resolve),         Use    Connection   => ReportRefusedToken(resolving::ReportInput) -> ResolvedCredentialResponse = resolving::report_refused_token;
    Post   "/v1/connections/{connection}/replace"         key_with_scope(KeyScope::ConnectionsWrite),Change Connection   => ReplaceConnection(replacements::ReplaceConnectionInput) -> ReplacementResponse = replacements::replace_connection;
    Delete "/v1/connections/{connection}/replace"         key_with_scope(KeyScope::ConnectionsWrite),Change Connection   => UndoReplacement -> ReplacementResponse = replacements::undo_replacement;
    Delete "/v1/connections/{connection}/step-changes"    key_with_scope(KeyScope::ConnectionsWrite),Change Connection   => AcknowledgeStepChanges -> AcknowledgedResponse = replacements::acknowledge_step_changes;
    Get    "/v1/connections/{connection}/uses"            key_with_scope(KeyScope::ConnectionsRead), Read   Connection   => ListConnectionUses -> ListResponse<Use> = connections::list_connection_uses;
    Get    "/v1/connections/{connection}/events"          key_with_scope(KeyScope::Events),          Read   Connection   => ListConnectionEvents -> ListResponse<Event> = connections::list_connection_events;

    // The proxy. What a method does is the app's business.
    Get    "/v1/connections/{connection}/proxy/{path}"    PROXY,                             Use    Connection   => ProxyGet = proxy::prepare;
    Post   "/v1/connections/{connection}/proxy/{path}"    PROXY,                             Use    Connection   => ProxyPost = proxy::prepare;
    Put    "/v1/connections/{connection}/proxy/{path}"    PROXY,                             Use    Connection   => ProxyPut = proxy::prepare;
    Patch  "/v1/connections/{connection}/proxy/{path}"    PROXY,                             Use    Connection   => ProxyPatch = proxy::prepare;
    Delete "/v1/connections/{connection}/proxy/{path}"    PROXY,                             Use    Connection   => ProxyDelete = proxy::prepare;

    // Workflows
    Get    "/v1/workflows"                                key_with_scope(KeyScope::ConnectionsRead), List   Workflow     => ListWorkflows -> ListResponse<WorkflowResponse> = workflows::list_workflows;
    Get    "/v1/workflows/{workflow}"                     key_with_scope(KeyScope::ConnectionsRead), Read   Workflow     => GetWorkflow -> ListResponse<WorkflowUseResponse> = workflows::get_workflow;
    Get    "/v1/workflows/{workflow}/preflight"           key_with_scope(KeyScope::ConnectionsRead), Read   Workflow     => PreflightWorkflow -> PreflightResponse = workflows::preflight;

    // Emergencies
    Post   "/v1/apps/{app}/disconnect-all"                key_with_scope(KeyScope::All),             Create Job          => DisconnectAll(jobs::DisconnectAllInput) -> JobResponse = jobs::create_job;
    Get    "/v1/jobs/{job}"                               key_with_scope(KeyScope::All),             Read   Job          => GetJob -> JobResponse = jobs::get_job;

    // Events of apps
    Post   "/v1/apps/{app}/events/verify"                 key_with_scope(KeyScope::Resolve),         Use    App         => VerifyAppEvent(hooks::VerifyEventInput) -> VerifiedEventResponse = hooks::verify_event;
    Post   "/hooks/{client}"                              App,                         Use    Client       => ReceiveAppEvent = hooks::receive_event;
    Get    "/hooks/{client}"                              App,                         Use    Client       => AnswerAppChallenge = hooks::receive_event;

    // Audit log
    Get    "/v1/events"                                   key_with_scope(KeyScope::Events),          List   Event        => ListEvents -> ListResponse<AuditEvent> = events::list_events;

    // Webhooks
    Post   "/v1/webhooks"                                 key_with_scope(KeyScope::Webhooks),        Create Webhook      => CreateWebhook(webhooks::CreateWebhookInput) -> NewWebhookResponse = webhooks::create_webhook;
    Get    "/v1/webhooks"                                 key_with_scope(KeyScope::Webhooks),        List   Webhook      => ListWebhooks -> ListResponse<WebhookResponse> = webhooks::list_webhooks;
    Get    "/v1/webhooks/{webhook}"                       key_with_scope(KeyScope::Webhooks),        Read   Webhook      => GetWebhook -> WebhookResponse = webhooks::get_webhook;
    Patch  "/v1/webhooks/{webhook}"                       key_with_scope(KeyScope::Webhooks),        Change Webhook      => UpdateWebhook(webhooks::UpdateWebhookInput) -> WebhookResponse = webhooks::update_webhook;
    Delete "/v1/webhooks/{webhook}"                       key_with_scope(KeyScope::Webhooks),        Change Webhook      => DeleteWebhook -> DeletedResponse<WebhookId> = webhooks::delete_webhook;
    Post   "/v1/webhooks/{webhook}/rotate"                key_with_scope(KeyScope::Webhooks),        Change Webhook      => RotateWebhook(webhooks::RotateWebhookInput) -> NewWebhookResponse = webhooks::rotate_webhook;
    Post   "/v1/webhooks/{webhook}/test"                  key_with_scope(KeyScope::Webhooks),        Use    Webhook      => TestWebhook -> DeliveryResponse = webhooks::test_webhook;
    Get    "/v1/webhooks/{webhook}/deliveries"            key_with_scope(KeyScope::Webhooks),        Read   Webhook      => ListDeliveries -> ListResponse<DeliveryResponse> = webhooks::list_deliveries;
    Post   "/v1/webhooks/{webhook}/deliveries/{event}/redeliver" key_with_scope(KeyScope::Webhooks), Use    Webhook      => RedeliverEvent -> DeliveryResponse = webhooks::redeliver_event;

    // Links
    Post   "/v1/links"                                    key_with_scope(KeyScope::Links),           Create Link         => CreateLink(links::CreateLinkInput) -> CreatedLinkResponse = links::create_link;
    Get    "/v1/links"                                    key_with_scope(KeyScope::Links),           List   Link         => ListLinks -> ListResponse<LinkResponse> = links::list_links;
    Get    "/v1/links/{link}"                             key_with_scope(KeyScope::Links),           Read   Link         => GetLink -> LinkResponse = links::get_link;
    Delete "/v1/links/{link}"                             key_with_scope(KeyScope::Links),           Change Link         => DeleteLink -> LinkResponse = links::delete_link;
    Post   "/v1/links/{link}/confirm"                     key_with_scope(KeyScope::Links),           Change Link         => ConfirmLink(links::ConfirmLinkInput) -> LinkResponse = links::confirm_link;
    Post   "/v1/sign-in-links"                            key_with_scope(KeyScope::Links),           Create SignInLink   => CreateSignInLink(links::CreateSignInLinkInput) -> CreatedSignInLinkResponse = links::create_sign_in_link;
    Get    "/v1/sign-in-links"                            key_with_scope(KeyScope::People),          List   SignInLink   => ListSignInLinks -> ListResponse<SignInLinkResponse> = sessions::list_sign_in_links;
    Delete "/v1/sign-in-links/{sign_in_link}"             key_with_scope(KeyScope::People),          Change SignInLink   => DeleteSignInLink -> DeletedResponse<SignInLinkId> = sessions::delete_sign_in_link;
    Get    "/v1/sessions"                                 key_with_scope(KeyScope::People),          List   Session      => ListSessions -> ListResponse<SessionResponse> = sessions::list_sessions;
    Delete "/v1/sessions/{session}"                       key_with_scope(KeyScope::People),          Change Session      => DeleteSession -> DeletedResponse<SessionId> = sessions::delete_session;
    Get    "/v1/people"                                   key_with_scope(KeyScope::People),          List   Person       => ListPeople -> ListResponse<PersonResponse> = people::list_people;
    Patch  "/v1/people/{person}"                          key_with_scope(KeyScope::People),          Change Person       => UpdatePerson(people::UpdatePersonInput) -> PersonResponse = people::update_person;
    Delete "/v1/people/{person}"                          key_with_scope(KeyScope::People),          Change Person       => DeletePerson -> DeletedPersonResponse = people::delete_person;

    // Connecting in a browser
    Get    "/connect"                                     User(Member),              List   App          => ShowCataloguePage = catalogue_page::show_catalogue_page;
    Get    "/connect/{token}"                             Browser,                     Read   Link         => ShowConnectLinkPage = oauth::show_connect_link_page;
    Post   "/connect/{token}"                             Browser,                     Use    Link         => SubmitConnectLink = oauth::submit_connect_link;
    Get    "/oauth/start/{app}"                           User(Member),              Create Connection   => ShowConnectPage = oauth::show_connect_page;
    Post   "/oauth/start/{app}"                           User(Member),              Create Connection   => SubmitConnect = oauth::submit_connect;
    Get    "/oauth/callback/{client}"                     Browser,                     Use    Flow         => HandleCallback = oauth::handle_callback;
    Get    "/oauth/ended/{reason}"                        Browser,                     Read   Installation => ShowRefusalPage = oauth::show_refusal_page;
    Get    "/flows/{authorization}"                       Browser,                     Read   Flow         => ShowFlowPage = flows::show_flow_page;
    Post   "/flows/{authorization}"                       Browser,                     Use    Flow         => SubmitChoice = flows::submit_choice;
    Get    "/flows/{authorization}/again"                 Browser,                     Read   Flow         => ShowRetryPage = oauth::show_retry_page;
    Post   "/flows/{authorization}/again"                 Browser,                     Use    Flow         => SubmitRetry = oauth::submit_retry;

    // The page
    Get    "/"                                            User(Member),              List   Connection   => ShowConnectionsPage = connections_page::show_connections_page;
    Get    "/review"                                      User(Member),              List   Connection   => ShowReviewPage = review_page::show_review_page;
    Get    "/bulk"                                        User(Member),              List   Connection   => ShowBulkPage = bulk::show_bulk_page;
    Post   "/bulk"                                        User(Member),              Create Job          => SubmitBulk = bulk::submit_bulk;
    Get    "/connections/{connection}"                    User(Member),              Read   ConnectionPage => ShowConnectionPage = connection_page::show_connection_page;
    Get    "/connections/{connection}/rename"             User(OwnerOrAdmin),        Change Connection   => ShowRenamePage = connection_forms::show_rename;
    Post   "/connections/{connection}/rename"             User(OwnerOrAdmin),        Change Connection   => SubmitRename = connection_forms::submit_rename;
    Get    "/connections/{connection}/environment"        User(OwnerOrAdmin),        Change Connection   => ShowEnvironmentPage = connection_forms::show_environment;
    Get    "/connections/{connection}/sharing"            User(OwnerOrAdmin),        Change Connection   => ShowSharingPage = connection_forms::show_sharing;
    Get    "/connections/{connection}/replace"            User(OwnerOrAdmin),        Change Connection   => ShowReplacePage = connection_forms::show_replacement;
    Get    "/connections/{connection}/disconnect"         User(OwnerOrAdmin),        Change Connection   => ShowDisconnectPage = connection_forms::show_disconnect_page;
    Post   "/connections/{connection}/environment"        User(OwnerOrAdmin),        Change Connection   => SubmitEnvironment = connection_forms::submit_environment;
    Post   "/connections/{connection}/sharing"            User(OwnerOrAdmin),        Change Connection   => SubmitSharing = connection_forms::submit_sharing;
    Post   "/connections/{connection}/replace"            User(OwnerOrAdmin),        Change Connection   => SubmitReplacement = connection_forms::submit_replacement;
    Post   "/connections/{connection}/undo-replace"       User(OwnerOrAdmin),        Change Connection   => SubmitUndoReplacement = connection_forms::submit_undo_replacement;
    Post   "/connections/{connection}/acknowledge"        User(OwnerOrAdmin),        Change Connection   => SubmitAcknowledgement = connection_forms::submit_acknowledgement;
    Get    "/workflows"                                   User(Member),              List   Workflow     => ShowWorkflowsPage = workflow_pages::show_workflows_page;
    Get    "/workflows/{workflow}"                        User(Member),              Read   Workflow     => ShowWorkflowPage = workflow_pages::show_workflow_page;
    Post   "/connections/{connection}/check"              User(Member),              Use    Connection   => SubmitCheck = connection_page::submit_check;
    Get    "/connections/{connection}/try"                User(Member),              Use    Connection   => ShowTryPage = try_resolve::show_try_page;
    Post   "/connections/{connection}/try"                User(Member),              Use    Connection   => SubmitTry = try_resolve::submit_try;
    Get    "/connections/{connection}/reconnect"          User(OwnerOrAdmin),        Change Connection   => ShowReconnectPage = oauth::show_reconnect_page;
    Post   "/connections/{connection}/reconnect"          User(OwnerOrAdmin),        Change Connection   => SubmitReconnect = oauth::submit_reconnect;
    Post   "/connections/{connection}/disconnect"         User(OwnerOrAdmin),        Change Connection   => SubmitDisconnect = disconnecting::submit_disconnect;
    Post   "/connections/{connection}/undo-disconnect"    User(OwnerOrAdmin),        Change DisconnectedConnection => SubmitUndoDisconnect = disconnecting::submit_undo;
    Post   "/connections/{connection}/revoke-now"         User(OwnerOrAdmin),        Change DisconnectedConnection => SubmitRevokeNow = disconnecting::submit_revoke_now;
    Get    "/apps/{app}/setup"                            User(Member),              Read   App          => ShowSetupPage = setup::show_setup_page;

    // E-mail of a person
    Get    "/email"                                       User(Member),              Read   Session      => ShowEmailPage = emails::show_email_page;
    Post   "/email"                                       User(Member),              Change Session      => ChooseEmails = emails::choose_emails;
    Get    "/email/stop/{token}"                          Browser,                     Read   Person       => ShowStopEmailPage = emails::show_stop_page;
    Post   "/email/stop/{token}"                          Holder,                      Change Person       => StopEmails = emails::stop_emails;

    // The administration
    Get    "/activity"                                    User(Admin),               List   Event        => ShowActivityPage = settings::show_activity_page;
    Get    "/activity/export"                             User(Admin),               List   Event        => ExportActivity = settings::export_activity;
    Get    "/settings"                                    User(Admin),               Read   Workspace    => ShowSettingsPage = settings::show_settings_page;
    Get    "/settings/apps"                               User(Admin),               List   App          => ShowSettingsAppsPage = settings::show_settings_apps_page;
    Get    "/settings/apps/{app}"                         User(Admin),               Read   Client       => ShowClientPage = settings::show_client_page;
    Post   "/settings/apps/{app}/client"                  User(Admin),               Change Client       => SubmitClient = settings::put_client;
    Post   "/settings/apps/{app}/client/test"             User(Admin),               Use    Client       => SubmitClientTest = settings::test_client;
    Post   "/settings/apps/{app}/events"                  User(Admin),               Change Client       => SubmitEventSecret = settings::put_event_secret;
    Post   "/settings/apps/{app}/handshake"               User(Admin),               Change Client       => SubmitHandshake = settings::open_handshake;
    Get    "/settings/apps/{app}/client/delete"           User(Admin),               Change Client       => ShowClientDeletionPage = settings::show_client_deletion_page;
    Post   "/settings/apps/{app}/client/delete"           User(Admin),               Change Client       => SubmitClientDeletion = settings::delete_client;
    Get    "/settings/apps/{app}/disconnect-all"          User(Admin),               Create Job          => ShowDisconnectAllPage = settings::show_disconnect_all_page;
    Post   "/settings/apps/{app}/disconnect-all"          User(Admin),               Create Job          => SubmitDisconnectAll = settings::disconnect_all_of_app;
    Get    "/settings/jobs/{job}"                         User(Admin),               Read   Job          => ShowJobPage = settings::show_job_page;
    Get    "/settings/custom-apps"                        User(Admin),               List   App          => ShowCustomAppsPage = settings::show_custom_apps_page;
    Get    "/settings/new-app"                            User(Admin),               Create App          => ShowNewAppPage = settings::show_new_app_page;
    Post   "/settings/new-app"                            User(Admin),               Create App          => SubmitApp = settings::create_app;
    Get    "/settings/custom-apps/{app}"                  User(Admin),               Read   App          => ShowCustomAppPage = settings::show_custom_app_page;
    Post   "/settings/custom-apps/{app}"                  User(Admin),               Change App          => SubmitAppChange = settings::change_app;
    Get    "/settings/custom-apps/{app}/delete"           User(Admin),               Change App          => ShowAppDeletionPage = settings::show_app_deletion_page;
    Post   "/settings/custom-apps/{app}/delete"           User(Admin),               Change App          => SubmitAppDeletion = settings::delete_app;
    Get    "/settings/sign-in"                            User(Admin),               Read   Workspace    => ShowSettingsSignInPage = settings::show_settings_sign_in_page;
    Post   "/settings/sign-in"                            User(Admin),               Change Workspace    => SubmitProvider = settings::put_provider;
    Post   "/settings/sign-in/remove"                     User(Admin),               Change Workspace    => SubmitProviderRemoval = settings::remove_provider;
    Get    "/settings/workspace"                          User(Admin),               Read   Workspace    => ShowSettingsWorkspacePage = settings::show_settings_workspace_page;
    Post   "/settings/workspace"                          User(Admin),               Change Workspace    => SubmitWorkspace = settings::change_workspace;
    Get    "/settings/defaults"                           User(Admin),               List   Connection   => ShowDefaultsPage = settings::show_defaults_page;
    Get    "/settings/default"                            User(Admin),               Change Workspace    => ShowDefaultPage = settings::show_default_page;
    Post   "/settings/default"                            User(Admin),               Change Workspace    => SubmitDefault = settings::change_default;
    Get    "/settings/webhooks"                           User(Admin),               List   Webhook      => ShowSettingsWebhooksPage = settings::show_settings_webhooks_page;
    Post   "/settings/webhooks"                           User(Admin),               Create Webhook      => SubmitWebhook = settings::create_webhook;
    Get    "/settings/webhooks/{webhook}"                 User(Admin),               Read   Webhook      => ShowSettingsWebhookPage = settings::show_settings_webhook_page;
    Post   "/settings/webhooks/{webhook}"                 User(Admin),               Change Webhook      => SubmitWebhookChange = settings::change_webhook;
    Post   "/settings/webhooks/{webhook}/enabled"         User(Admin),               Change Webhook      => SubmitWebhookSwitch = settings::switch_webhook;
    Post   "/settings/webhooks/{webhook}/test"            User(Admin),               Use    Webhook      => SubmitWebhookTest = settings::test_webhook;
    Post   "/settings/webhooks/{webhook}/deliveries/{event}/redeliver" User(Admin),  Use    Webhook      => SubmitRedelivery = settings::redeliver;
    Post   "/settings/webhooks/{webhook}/rotate"          User(Admin),               Change Webhook      => SubmitWebhookRotation = settings::rotate_webhook;
    Post   "/settings/webhooks/{webhook}/delete"          User(Admin),               Change Webhook      => SubmitWebhookDeletion = settings::delete_webhook;
    Get    "/settings/email"                              User(Admin),               Read   Workspace    => ShowSettingsEmailPage = settings::show_settings_email_page;
    Post   "/settings/email"                              User(Admin),               Change Workspace    => SubmitEmailSwitch = settings::switch_email;
    Post   "/settings/email/test"                         User(Admin),               Use    Workspace    => SubmitEmailTest = settings::test_email;
    Get    "/settings/keys"                               User(Admin),               List   Key          => ShowSettingsKeysPage = settings::show_settings_keys_page;
    Post   "/settings/keys"                               User(Admin),               Create Key          => SubmitKey = settings::create_key;
    Get    "/settings/keys/{key}"                         User(Admin),               Read   Key          => ShowSettingsKeyPage = settings::show_settings_key_page;
    Post   "/settings/keys/{key}/rotate"                  User(Admin),               Change Key          => SubmitKeyRotation = settings::rotate_key;
    Post   "/settings/keys/{key}/revoke"                  User(Admin),               Change Key          => SubmitKeyRevocation = settings::revoke_key;
    Get    "/settings/links"                              User(Admin),               List   Link         => ShowSettingsLinksPage = settings::show_settings_links_page;
    Post   "/settings/links"                              User(Admin),               Create Link         => SubmitLink = settings::create_link;
    Post   "/settings/links/{link}/end"                   User(Admin),               Change Link         => SubmitLinkEnd = settings::end_link;
    Get    "/settings/people"                             User(Admin),               List   Person       => ShowSettingsPeoplePage = settings::show_settings_people_page;
    Post   "/settings/people"                             User(Admin),               Create SignInLink   => SubmitInvitation = settings::invite_person;
    Get    "/settings/people/{person}"                    User(Admin),               Read   Person       => ShowSettingsPersonPage = settings::show_settings_person_page;
    Post   "/settings/people/{person}/role"               User(Admin),               Change Person       => SubmitRole = settings::change_role;
    Post   "/settings/people/{person}/remove"             User(Admin),               Change Person       => SubmitPersonRemoval = settings::remove_person;
    Get    "/settings/sessions"                           User(Admin),               List   Session      => ShowSettingsSessionsPage = settings::show_settings_sessions_page;
    Post   "/settings/sessions/{session}/end"             User(Admin),               Change Session      => SubmitSessionEnd = settings::end_session;
    Post   "/settings/sign-in-links/{sign_in_link}/delete" User(Admin),              Change SignInLink   => SubmitSignInLinkDeletion = settings::delete_sign_in_link;

    // Sign-in
    Get    "/sign-in/{token}"                             Browser,                     Read   SignInLink   => ShowSignInPage = sign_in::show_sign_in_page;
    Post   "/sign-in/{token}"                             Browser,                     Use    SignInLink   => SignIn = sign_in::sign_in;
    Get    "/sign-in"                                     Browser,                     Read   Installation => ChooseSignInWorkspace = provider_sign_in::choose_workspace;
    Get    "/sign-in/callback/{client}"                   Browser,                     Use    Flow         => HandleSignInCallback = provider_sign_in::handle_callback;
    Post   "/sign-out"                                    User(Member),              Change Session      => SignOut = sign_in::sign_out;
    Get    "/accent/{stylesheet}"                         Public,                      Read   Installation => GetAccentStylesheet = brand::get_accent_stylesheet;
}

/// The result of a path and method.
#[derive(Debug)]
pub enum RouteMatch {
    /// A route and the values of its `{…}`.
    Matched {
        /// The route.
        route: &'static RouteEntry,
        /// The segments, in order.
        path_params: Vec<String>,
    },
    /// The path exists with other methods.
    WrongMethod {
        /// Those.
        allowed_methods: Vec<&'static str>,
        /// Whether it is a page.
        is_page: bool,
    },
    /// No such path.
    NoMatch,
}

/// Finds a route. Every route with GET also answers HEAD.
pub fn match_route(method: Method, path: &str) -> RouteMatch {
    let wanted = if method == Method::Head { Method::Get } else { method };
    let mut allow = Vec::new();
    let mut page = false;
    for line in ROUTES {
        let Some(params) = match_path(line.path, path) else { continue };
        if line.method == wanted {
            return RouteMatch::Matched { route: line, path_params: params };
        }
        allow.push(line.method.as_str());
        if line.method == Method::Get {
            allow.push(Method::Head.as_str());
        }
        page = line.is_page();
    }
    if allow.is_empty() {
        RouteMatch::NoMatch
    } else {
        RouteMatch::WrongMethod { allowed_methods: allow, is_page: page }
    }
}

impl RouteMatch {
    /// The route as the table names it.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Matched { route, .. } => Some(format!("{} {}", route.method.as_str(), route.path)),
            Self::WrongMethod { .. } | Self::NoMatch => None,
        }
    }
}

impl Handler {
    /// Whether it passes requests through to an app, whose business their method, query and body are.
    pub fn passes_through(self) -> bool {
        matches!(self, Self::ProxyGet | Self::ProxyPost | Self::ProxyPut | Self::ProxyPatch | Self::ProxyDelete)
    }
}

/// Whether a request passes through, so that its body is not read and all of its headers are.
pub fn passes_body(method: Method, path: &str) -> bool {
    match match_route(method, path) {
        RouteMatch::Matched { route, .. } => route.handler.passes_through(),
        RouteMatch::WrongMethod { .. } | RouteMatch::NoMatch => false,
    }
}

/// Segments are compared as sent: ids and tokens have no character that would be escaped. `{path}` takes all that is left.
fn match_path(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut params = Vec::new();
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (Some("{path}"), Some(first)) => {
                let rest: Vec<_> = std::iter::once(first).chain(path).collect();
                params.push(rest.join("/"));
                return Some(params);
            }
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
    fn finds_a_route_or_the_other_methods_or_nothing() {
        let RouteMatch::Matched { route: line, path_params: params } =
            match_route(Method::Post, "/v1/connections/con_1/resolve")
        else {
            panic!()
        };
        assert_eq!((line.handler, params), (Handler::ResolveConnection, vec!["con_1".to_owned()]));
        let RouteMatch::WrongMethod { allowed_methods: allow, .. } = match_route(Method::Put, "/v1/connections/con_1")
        else {
            panic!()
        };
        assert_eq!(allow, ["GET", "HEAD", "PATCH", "DELETE"]);
        let RouteMatch::Matched { route: line, .. } = match_route(Method::Head, "/v1/connections/con_1") else {
            panic!()
        };
        assert_eq!(line.method, Method::Get);
        let RouteMatch::WrongMethod { allowed_methods: allow, .. } =
            match_route(Method::Head, "/v1/connections/con_1/check")
        else {
            panic!()
        };
        assert_eq!(allow, ["POST"]);
        for nothing in ["", "/v1", "/v1/connections/", "/v1/connections/a/b/c", "//"] {
            assert!(matches!(match_route(Method::Get, nothing), RouteMatch::NoMatch), "{nothing}");
        }
    }

    #[test]
    fn a_request_that_passes_through_keeps_all_of_its_path() {
        for (path, rest) in [("", ""), ("me", "me"), ("a/b%2Fc//", "a/b%2Fc//"), ("/x", "/x")] {
            let path = format!("/v1/connections/con_1/proxy/{path}");
            let RouteMatch::Matched { route, path_params } = match_route(Method::Head, &path) else { panic!("{path}") };
            assert_eq!((route.handler, path_params), (Handler::ProxyGet, vec!["con_1".to_owned(), rest.to_owned()]));
        }
        assert!(matches!(match_route(Method::Get, "/v1/connections/con_1/proxy"), RouteMatch::NoMatch));
    }

    #[test]
    fn every_route_declares_its_resource_and_action() {
        for line in ROUTES {
            let shows = matches!(line.action, Action::List | Action::Read);
            // A page that prepares a change is for those who may make the change.
            let prepares = line.is_page() && matches!(line.action, Action::Change | Action::Create | Action::Use);
            // An app that finds out whether an address is ours asks with either method.
            let asks = line.auth == RequiredAuth::App;
            // What a request does that passes through is the app's business.
            if !line.handler.passes_through() {
                let changes_nothing = shows || line.method == Method::Get && (prepares || asks);
                assert_eq!(line.method == Method::Get, changes_nothing, "{}", line.path);
            }
            let named = line.path.split('/').find_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
            let about: &[Resource] = match named {
                None => {
                    let one = matches!(line.action, Action::List | Action::Create);
                    let own = matches!(line.resource, Resource::Installation | Resource::Workspace | Resource::Session);
                    // Its body names it.
                    let by_body = line.auth == RESOLVER;
                    assert!(one || own || by_body, "{} names nothing", line.path);
                    continue;
                }
                Some("workspace") => &[Resource::Workspace],
                Some("key") => &[Resource::Key],
                Some("app") if line.action == Action::Create => &[Resource::Connection, Resource::Job],
                Some("app") => &[Resource::App, Resource::Client],
                Some("connection") => {
                    &[Resource::Connection, Resource::ConnectionPage, Resource::DisconnectedConnection]
                }
                Some("client") if line.auth == RequiredAuth::App => &[Resource::Client],
                Some("link") => &[Resource::Link],
                Some("sign_in_link") => &[Resource::SignInLink],
                Some("session") => &[Resource::Session],
                Some("workflow") => &[Resource::Workflow],
                Some("person") => &[Resource::Person],
                Some("job") => &[Resource::Job],
                Some("webhook") => &[Resource::Webhook],
                // The last one: what an e-mail's address holds.
                Some("token") => &[Resource::Link, Resource::SignInLink, Resource::Person],
                Some("client" | "authorization") => &[Resource::Flow],
                Some("reason" | "stylesheet") => &[Resource::Installation],
                Some(other) => panic!("{}: which resource is {{{other}}}?", line.path),
            };
            assert!(about.contains(&line.resource), "{} is about {:?}", line.path, line.resource);
        }
    }

    #[test]
    fn people_change_connections_only_as_owner_or_admin() {
        let changes = |line: &&RouteEntry| (line.action, line.resource) == (Action::Change, Resource::Connection);
        for line in ROUTES.iter().filter(changes) {
            assert_ne!(line.auth, RequiredAuth::User(RequiredRole::Member), "{}", line.path);
        }
    }

    #[test]
    fn every_changing_route_requires_a_caller_or_our_own_form() {
        for line in ROUTES.iter().filter(|line| line.method != Method::Get) {
            assert_ne!(line.auth, RequiredAuth::Public, "{}", line.path);
        }
    }
}
