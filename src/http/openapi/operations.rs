//! The texts of each route in addition to its types: a summary, the query, the statuses and what they mean.

use serde_json::{Value, json};

use super::document::{Operation, operation};
use super::schemas::Schemas;
use crate::app::{AppId, AuthMethodId};
use crate::attention;
use crate::environment::Environment;
use crate::error::ErrorCode;
use crate::http::responses::SessionType;
use crate::http::routes::Handler;
use crate::ids::{ApiKeyId, ConnectionId};
use crate::proxy::ProxyOutcome;
use crate::store::links::LinkState;
use crate::webhook::DeliveryStatus;

/// The text for all routes.
pub(super) const ABOUT: &str = "JSON in UTF-8; times RFC 3339 in UTC; ids are opaque. Static files (`/openapi.json`, `/assets/…`) come from the platform, with an `ETag`; every other answer has `X-Request-Id` and `Cache-Control: no-store`. Errors of the API are `application/problem+json`, those of the pages are pages. Every other address answers 405 `method_not_allowed` with `Allow` to a method it does not know; HEAD is answered as GET, without a body. A body over 256 KB gets 413. Calls are limited: 429 `rate_limited` comes with `Retry-After` and `RateLimit-Policy`. Where as many things exist as may, creating one more gets 409 `limit_reached`. Another workspace's thing is 404, never 403. `x-scope` is the scope a key needs; a key with `*` has every scope. Where a key has allow-lists (`connections`, `apps`), what is outside them does not exist for it: 404 on every route. Such a limited key makes nothing new but links that repair its own connections, changes neither apps nor the workspace, and has no access to people, sign-in links and sessions: 403 `insufficient_key_scope`.";

const OPERATOR: &str = "Operator";
const WORKSPACE: &str = "Workspace and keys";
const APPS: &str = "Apps and clients";
const CONNECTIONS: &str = "Connections";
const LINKS: &str = "Links";
const PEOPLE: &str = "People";
const BROWSER: &str = "Connecting in a browser";
const PAGE: &str = "Page";
const AUDIT: &str = "Audit log";
const EVENTS: &str = "Events of apps";
pub(super) const WEBHOOKS: &str = "Webhooks";

pub(super) fn tags() -> Vec<Value> {
    vec![
        json!({ "name": OPERATOR, "description": "Of the whole installation." }),
        json!({ "name": WORKSPACE }),
        json!({ "name": APPS }),
        json!({ "name": CONNECTIONS }),
        json!({ "name": LINKS, "description": "Links with which a person connects an app." }),
        json!({ "name": EVENTS, "description": "What apps send about the accounts that are connected." }),
        json!({ "name": AUDIT, "description": "Who did what in the workspace." }),
        json!({ "name": WEBHOOKS, "description": "Events are sent to addresses that the workspace names." }),
        json!({ "name": PEOPLE, "description": "People, sign-in links and sessions." }),
        json!({ "name": BROWSER, "description": "Pages and forms of a flow to an app and back." }),
        json!({ "name": PAGE, "description": "The Connections page for people." }),
    ]
}

pub(super) fn security_schemes() -> Value {
    json!({
        "operatorKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "The secret ADMIN_KEY.",
        },
        "workspaceKey": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "cx_<id>_<secret and checksum>",
            "description": "A workspace's API key, with the scope in `x-scope`.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "__Host-cx_session",
            "description": "A signed-in person's session. It lasts twelve hours, or until the key that created the sign-in link expires (`cx_session` on a PUBLIC_URL without TLS). Forms must come from the same origin (`Sec-Fetch-Site`, otherwise `Origin`). The browser of a connect link has `cx_link` in the same way. It opens only its flow.",
        },
    })
}

/// The refusals that several routes have. Those whose names begin with `Page` are pages.
pub(super) const REFUSALS: &[(&str, &str)] = &[
    ("Unauthorized", "`unauthorized`: the key is missing, wrong, revoked or expired."),
    (
        "Forbidden",
        "`insufficient_key_scope`: the key lacks the scope, or has allow-lists and the route is not for such a key.",
    ),
    (
        "NotFound",
        "`not_found`: it does not exist, or belongs to another workspace, or is outside the key's allow-lists.",
    ),
    (
        "ConnectionNotFound",
        "`connection_not_found`: the connection does not exist, or is outside the key's allow-lists.",
    ),
    ("MethodNotAllowed", "`method_not_allowed`: the address does not support the method."),
    ("Conflict", "`conflict`: not possible in the current state."),
    ("LinkEnded", "`link_ended`: the link was used, has expired, or never existed."),
    (
        "PreconditionFailed",
        "`precondition_failed`: it was changed since you read it; `If-Match` names another state. Nothing was changed. Read it again.",
    ),
    ("BodyTooLarge", "`body_too_large`: the body is over 256 KB."),
    (
        "AppResponseRefused",
        "`app_response_refused`: the app answered, and its answer does not pass: it is over 100 MB, or its status is none of HTTP's. The app has acted on the request.",
    ),
    (
        "RateLimited",
        "`rate_limited`: too many calls, or too many wrong credentials from this address. Wait for `Retry-After` seconds.",
    ),
    ("Invalid", "`invalid_request`: the request is invalid. `errors` names the fields."),
    ("Internal", "`internal`: an internal error. Search the log for the value of `X-Request-Id`."),
    (
        "Unavailable",
        "`database_unavailable`: try again after `Retry-After`. `maintenance`: the operator is changing the database; with `Retry-After`, on every route. `misconfigured`: the key ring or a variable is missing, weak, or does not fit the data, or the database lacks the migrations of this version.",
    ),
    ("PageUnauthorized", "A page. `unauthorized`: nobody is signed in. It says how to get a sign-in link."),
    ("PageFormRejected", "A page. `form_rejected`: the form came from another site or an old page."),
    ("PageAdminRequired", "A page. `admin_required`: the connection is shared, and the person is not an admin."),
    ("PageNotFound", "A page. `not_found` or `connection_not_found`: it does not exist, or belongs to another person."),
    ("PageConflict", "A page. `conflict`: not possible in the current state."),
    ("PageLinkEnded", "A page. `link_ended`: the link was used, has expired, or never existed."),
    ("PageBodyTooLarge", "A page. `body_too_large`: the body is over 256 KB."),
    ("PageRateLimited", "A page. `rate_limited`: too many calls in a short time. Wait for `Retry-After` seconds."),
    ("PageInvalid", "A page. `invalid_request`."),
    ("PageInternal", "A page. `internal`: an internal error."),
    ("PageUnavailable", "A page. `database_unavailable`, `maintenance` or `misconfigured`."),
];

fn text() -> Value {
    json!({ "type": "string" })
}

/// The headers of a request to the proxy, by what follows `X-Connections-`.
pub(super) fn proxy_headers(schemas: &mut Schemas) -> Vec<(&'static str, &'static str, Value)> {
    vec![
        ("Workflow", "The caller's workflow. Texts in these headers are percent-encoded UTF-8.", text()),
        ("Step", "Its step.", text()),
        ("Scopes", "Scopes that must be granted, with spaces between them.", text()),
        (
            "Min-Ttl",
            "Seconds for which the token must be valid. Default: 60.",
            json!({ "type": "integer", "minimum": 0, "maximum": 86400 }),
        ),
        (
            "Retries",
            "0: the request is not repeated after a 401. Default: 1.",
            json!({ "type": "integer", "enum": [0, 1] }),
        ),
        ("Expect-App", "The app that the connection must be of.", schemas.request::<AppId>()),
        ("Expect-Account", "The id of the account that it must be of.", text()),
        ("Expect-Connection", "The connection that must answer.", schemas.request::<ConnectionId>()),
        ("Expect-Environment", "The environment that it must be of.", schemas.request::<Environment>()),
    ]
}

const PROXY: &str = "The request goes to the app's `base_url` and this path, with the query, the body and the headers of the caller, and with the credential as the app wants it. The caller does not get the credential. Bodies pass as streams, up to 100 MB each way; an exchange takes five minutes at most. If the app answers 401, the token is refreshed once, however many requests were refused, and the request is repeated once, if its body has a length of 256 KB at most. Redirects are not followed. Parameters or headers that would stand in the place of the credential are refused, and so are unknown `X-Connections-*` headers. The app's status and body come back as they are, with those of its headers that are about its answer. See docs/proxy.md in the repository.";

/// A route of the proxy.
fn proxied(summary: &'static str, passes_body: bool, schemas: &mut Schemas) -> Operation {
    let outcome = json!({ "anyOf": [
        { "type": "string", "enum": ProxyOutcome::ALL.map(ProxyOutcome::as_str) },
        schemas.response::<ErrorCode>(),
    ] });
    let headers = proxy_headers(schemas).into_iter().map(|(name, ..)| name.to_lowercase().replace('-', "_"));
    let operation = headers.fold(operation(CONNECTIONS, summary), |operation, name| operation.shared_query(&name));
    operation
        .about(PROXY)
        .passes_body(passes_body)
        .answers(200, "The app's answer, whatever its status is.")
        .content_type("*/*")
        .with_typed_header("X-Connections-Outcome", "`passed`: the app's answer. `refreshed`: the app refused the token, and this is its answer to the repeated request. `refused`: the app's 401; there is no newer credential. `refused_not_repeated`: the app's 401; the token is refreshed, and the request was not repeated: send it again. Any other value is the `code` of a problem of ours.", &outcome)
        .refuses(403, "`insufficient_key_scope`: the key lacks `proxy`. `workflow_not_allowed`: the connection has a list of workflows, and this one is not on it.")
        .refuses(409, "As for resolveConnection. `conflict`: the app's definition has no `base_url`, or it is the address of this installation. `addresses_changed`: the app has hosts by now that the credential was not given for.")
        .refuses(413, "`body_too_large`: the body is over 100 MB.")
        .refuses(429, "`rate_limited`: the key makes too many calls, or too many requests go through the connection, in a minute or at once (docs/limits.md in the repository). Nothing was sent to the app.")
        .refuses(502, "")
        .refuses(503, "As for resolveConnection. `app_unavailable` also if no answer came from the app: it may have acted.")
}

fn user_text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

const LIMITED_KEY_AND_DEFAULT: &str =
    "`insufficient_key_scope`: the key lacks the scope, or is limited: a default concerns everybody.";

const NO_SUCH_WORKFLOW: &str =
    "`not_found`: no connection of the workspace remembers a use by such a workflow, or none that exists for the key.";

const FORM_OR_ADMIN: &str = "A page. `form_rejected`: the form came from another site or an old page. `admin_required`: the connection is shared, and the person is not an admin.";

/// Who consents: the person of a link, or a signed-in person.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ConsentBy {
    Link,
    Session,
}

/// What the consent page and its form have in common.
fn consent(op: Operation, by: ConsentBy, schemas: &mut Schemas) -> Operation {
    let auth_method = schemas.request::<AuthMethodId>();
    match by {
        ConsentBy::Link => op
            .query("auth_method", "The auth method, if the link does not fix one.", auth_method)
            .query("scopes", "Scopes to request, separated by spaces, if the link does not fix them.", text())
            .refuses(404, "")
            .refuses(409, "`client_missing`: the auth method has no OAuth client, or its secret must be entered again. `conflict`: the link is for another person than the one who is signed in."),
        ConsentBy::Session => op
            .query("scopes", "Scopes to request, separated by spaces.", text())
            .query("auth_method", "The auth method. Default: that of the connection to repair, or the recommended one, or the first that is ready.", auth_method)
            .refuses(409, "`client_missing`: the auth method has no OAuth client, or its secret must be entered again."),
    }
}

const REPLACEMENT_IN_USE: &str = "A page. `replacement_in_use`: it is part of a replacement that would no longer fit.";

/// A page with a form about a connection.
fn form_page(title: &'static str) -> Operation {
    operation(PAGE, title)
        .answers(200, "The form. It posts to the same address.")
        .refuses(403, "A page. `admin_required`: only the owner or an admin may do this.")
        .refuses(404, "`connection_not_found`.")
}

/// A form on a connection's page.
fn settings_form(title: &'static str, names: &[&str]) -> Operation {
    operation(PAGE, title)
        .form(form::settings(names))
        .answers(303, "To the connection's page.")
        .refuses(403, FORM_OR_ADMIN)
        .refuses(404, "`connection_not_found`.")
}

const ADMIN_ONLY: &str = "A page. `admin_required`: only an admin may do this.";

/// A page of the administration.
fn admin_page(title: &'static str, answer: &'static str) -> Operation {
    operation(PAGE, title).answers(200, answer).refuses(403, ADMIN_ONLY)
}

/// A form of the administration. Its answer says what became of it.
fn admin_form(title: &'static str, names: &[&str]) -> Operation {
    operation(PAGE, title)
        .form(form::fields(names))
        .refuses(403, "A page. `form_rejected`: the form came from another site or an old page. `admin_required`: only an admin may do this.")
}

/// A form about a webhook.
fn webhook_form(title: &'static str, names: &[&str]) -> Operation {
    admin_form(title, names)
        .refuses(404, "`not_found`.")
        .refuses(409, "The page again. `conflict`: it is switched off, or was changed at the same moment.")
        .refuses(422, "The page again, with what is wrong.")
}

/// A form about the OAuth client of an app.
fn client_form(title: &'static str, names: &[&str]) -> Operation {
    admin_form(title, names)
        .about("Values of the app's addresses are fields `input.NAME`.")
        .shared_query("auth_method")
        .refuses(404, "`not_found`.")
        .refuses(409, "The page again, with what is wrong.")
        .refuses(422, "The page again, with what is wrong.")
        .refuses(429, "")
        .refuses(503, "The page again. `app_unavailable`: the app's endpoints cannot be discovered.")
}

fn consent_page(op: Operation, by: ConsentBy, schemas: &mut Schemas) -> Operation {
    let op = consent(op, by, schemas).refuses(422, "`invalid_request`: `scopes`.").refuses(
        503,
        "`app_unavailable`: the app's endpoints cannot be discovered. `misconfigured`, `database_unavailable`.",
    );
    match by {
        ConsentBy::Link => op
            .answers(200, "Workspace, app, permissions and a button, or the form for a manual credential.")
            .refuses(410, ""),
        ConsentBy::Session => op.answers(200, "App, permissions and a button, or the form for a manual credential."),
    }
}

fn consent_form(op: Operation, by: ConsentBy, schemas: &mut Schemas) -> Operation {
    let op = consent(op, by, schemas)
        .form(form::connect(by == ConsentBy::Session))
        .answers(303, "To the app, with state and PKCE, or for a manual credential to the result.")
        .refuses(422, "`invalid_request`: `scopes`, or an entered value. `credential_rejected`: the app did not accept it. The form is shown again with the errors, without secrets.")
        .refuses(429, "")
        .refuses(503, "`app_unavailable`: the app's endpoints cannot be discovered, or it could not be asked about the credential. `misconfigured`, `database_unavailable`.");
    match by {
        ConsentBy::Link => op.with_cookie().refuses(
            410,
            "`link_ended`: the link was used, has expired or is unknown, or has an open question in another browser.",
        ),
        ConsentBy::Session => op,
    }
}

/// The texts of a route.
#[expect(clippy::too_many_lines, reason = "a table: one entry a route")]
pub(super) fn of(handler: Handler, schemas: &mut Schemas) -> Operation {
    match handler {
        // Operator
        Handler::CreateWorkspace => operation(OPERATOR, "Create a workspace and its first key")
            .about("With several databases, the workspace is in one of them, for ever: the one that the request names, or the one with the fewest workspaces.")
            .answers(201, "The workspace. Its first key is shown only here.")
            .refuses(409, "`conflict`: the database is closed to new workspaces, or each of them is (`CLOSED_DATABASES`)."),
        Handler::ListWorkspaces => operation(OPERATOR, "List workspaces")
            .paged()
            .answers(200, "Workspaces, by database and id."),
        Handler::GetWorkspace => operation(OPERATOR, "Show a workspace")
            .about("Also one that was deleted and is not erased yet.")
            .answers(200, "The workspace."),
        Handler::DeleteWorkspace => operation(OPERATOR, "Delete a workspace and everything in it")
            .about("From the answer on, all access is blocked: keys, sessions, links, sign-in links and flows have ended, nothing can be created, and one cache entry invalidates all others. Scheduled runs then revoke the grants at the apps and erase the rows. `GET` of the workspace shows the progress until everything is erased.")
            .answers(200, "All its keys, sessions, links and connections have ended."),
        Handler::GetStatus => operation(OPERATOR, "Show the status of the installation")
            .answers(200, "Version, migrations, key ring, re-sealing, due checks, the last scheduled run, of all databases together; and each database. One that does not answer is named in `databases`; if none does, the answer is 503."),
        Handler::GetHealth => operation(OPERATOR, "Check that databases and key ring work")
            .answers(200, "They work.")
            .answers(503, "One of them does not (`unavailable`, no details), or the operator is changing the database (`maintenance`)."),
        Handler::GetOpenapi => operation(OPERATOR, "Get this document")
            .about("A static file: it has an `ETag`, may be kept for as long as that matches, and has no `X-Request-Id`.")
            .answers(200, "This document.")
            .content_type("application/json")
            .refuses(404, "The installation was deployed without its static files.")
            .refuses(503, "`misconfigured`."),
        // Workspace and keys
        Handler::GetOwnWorkspace => operation(WORKSPACE, "Show the key's workspace")
            .answers(200, "The workspace.")
            .refuses(404, ""),
        Handler::UpdateOwnWorkspace => operation(WORKSPACE, "Change the workspace's name or allowed origins")
            .answers(200, "The changed workspace.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key cannot change the workspace.")
            .refuses(404, ""),
        Handler::GetIdentityProvider => operation(WORKSPACE, "Show the identity provider")
            .answers(200, "Where the people of the workspace sign in.")
            .refuses(404, ""),
        Handler::PutIdentityProvider => operation(WORKSPACE, "Set up the identity provider")
            .about("People sign in at this OpenID Connect issuer, at `sign_in_url`. Its document and keys are read from it; its addresses are those that it names now, until the next `PUT`. Register `redirect_uri` there. A person is `oidc:`, the issuer, `:` and the issuer's `sub`, and never linked to another one by an e-mail address.")
            .answers(200, "The identity provider. It takes the place of the one before.")
            .refuses(422, "`invalid_request`: a field, or the issuer does not answer, calls itself otherwise, or names an address that is not permitted."),
        Handler::DeleteIdentityProvider => operation(WORKSPACE, "Remove the identity provider")
            .about("Sessions that were opened through it go on until they expire, or somebody ends them.")
            .answers(200, "Nobody can sign in there any more.")
            .refuses(404, ""),
        Handler::GetEmailSettings => operation(WORKSPACE, "Show whether e-mail is on")
            .answers(200, "Whether it is on, and how that goes."),
        Handler::PutEmailSettings => operation(WORKSPACE, "Turn e-mail on or off")
            .about("On: owners of connections and admins get e-mail, if their address came with a sign-in. Nothing is sent of what happened before.")
            .answers(200, "Whether it is on, and how that goes.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key cannot change the workspace.")
            .refuses(409, "`conflict`: this installation cannot send e-mail."),
        Handler::CreateKey => operation(WORKSPACE, "Create a key")
            .about("A key can create another key only with its own scopes, and only one that expires no later. A key with allow-lists cannot create keys.")
            .answers(201, "The key. Its text is shown only here.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `keys`, has allow-lists, or the new key would have more permissions.")
            .refuses(409, "`limit_reached`: the workspace has 1,000 keys. Delete one that you do not need."),
        Handler::ListKeys => operation(WORKSPACE, "List keys")
            .about("Lists only keys without more permissions than the calling one.")
            .query("made_by", "Only keys that this key created. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Valid and expired keys, by id, without their text."),
        Handler::DeleteKey => operation(WORKSPACE, "Revoke a key")
            .about("Takes effect at once for every call that reads the database. A resolve with `consistency: edge` may use a cache entry for up to 60 seconds, or until `cache_entries.until`. By default what the key created ends in the same transaction: its links and sign-in links, the sessions that were opened with them, and their pending grants. Keys that it created stay valid; `made_keys` lists them.")
            .query("made", "What happens to what the key created: it ends, or it is kept.", json!({"type": "string", "enum": ["end", "keep"], "default": "end"}))
            .answers(200, "The key is revoked.")
            .refuses(422, "`invalid_request`: `made`."),
        Handler::RotateKey => operation(WORKSPACE, "Give a key a new secret")
            .about("The id stays, and nothing that the key created ends. The previous secret is accepted until the overlap ends. Another rotation during the overlap ends the oldest secret at once. A key may rotate itself, with its newest secret.")
            .answers(200, "The key with its new text, which is shown only here.")
            .refuses(409, "`conflict`: the key was rotated or revoked at the same moment, or it would rotate itself with its previous secret."),

        // Apps and clients
        Handler::ListApps => operation(APPS, "List the catalogue's and the workspace's apps")
            .query("q", "Part of the id or name, ignoring case.", text())
            .query("category", "One of an app's categories, exactly.", text())
            .paged()
            .answers(200, "Apps, by id."),
        Handler::CreateApp => operation(APPS, "Add a custom app")
            .about("Ids of the catalogue are reserved (422).")
            .answers(201, "The app.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key creates nothing.")
            .refuses(409, "`already_exists`: the workspace has an app with this id. `limit_reached`: it has 200 custom apps, or 100 revisions of this app are in use. `conflict`: the app was changed at the same moment."),
        Handler::GetApp => operation(APPS, "Show an app")
            .answers(200, "The app.")
            .refuses(409, "`conflict`: an earlier version stored the definition, and this version refuses it. Store a corrected one."),
        Handler::UpdateApp => operation(APPS, "Change a custom app")
            .about("Stores a new revision. Connections of earlier revisions follow it if that adds no destination for their secrets, their client works with it, the auth method has the same fields and variables, and their account's id means the same. The others keep theirs and show `definition_changed` until a person reconnects them. The first 200 are handled before the answer, the others by scheduled runs. A definition with the same JSON as the current one stores nothing and handles the connections again. Unused revisions are deleted later. `id` must be the one in the path.")
            .answers(200, "The app. `client_is_set_up` is false if the definition has hosts that the client's secret was not entered for.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key cannot change apps.")
            .refuses(404, "`not_found`: no app has this id.")
            .refuses(409, "`conflict`: the app belongs to the catalogue, or it was changed at the same moment. `limit_reached`: connections use 100 revisions of the app. Reconnect or disconnect some of them first."),
        Handler::DeleteApp => operation(APPS, "Remove a custom app")
            .about("Its connections keep working.")
            .answers(200, "The app is removed.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key cannot change apps.")
            .refuses(404, "`not_found`: no app has this id.")
            .refuses(409, "`conflict`: the app belongs to the catalogue."),
        Handler::GetClient => operation(APPS, "Show an app's OAuth client")
            .shared_query("auth_method")
            .answers(200, "The client, without its secret.")
            .refuses(404, "`not_found`: no such app, or it has no client yet.")
            .refuses(409, "`conflict`: the app has no auth method with an OAuth client, or `auth_method` names another one."),
        Handler::PutClient => operation(APPS, "Set up an app's OAuth client, or rotate its secret")
            .about("For an app whose connections need no OAuth client, but that sends events, `event_secret` is the only member. Another `client_id` creates a second client, and connections keep theirs. Apps of one client family share a client. Further auth methods with a consent have their own clients (`auth_method`).")
            .shared_query("auth_method")
            .answers(200, "The client. A known `client_id` keeps `id` and `redirect_uri`. A new `client_id` at the same authorization server has its own `id` and the same `redirect_uri`. At another authorization server it has another `redirect_uri`, which you must register at the app.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(409, "`conflict`: another call set up the client at the same moment, or the app has no auth method with an OAuth client, or `auth_method` names another one."),
        Handler::OpenHandshake => operation(APPS, "Open an address that the app sends the secret of its events to")
            .about("For an app that sends the secret itself when a webhook is made, such as Asana and Notion. An app proves nothing with it, so a secret is taken only at this address: once, within an hour. It becomes one more event secret, and replaces none. Each webhook needs an address of its own.")
            .shared_query("auth_method")
            .answers(200, "The address.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(404, "`not_found`: no such app, or it has no client yet.")
            .refuses(409, "`conflict`: the app does not send its secret, the client has 20 event secrets, or the app has no auth method with an OAuth client."),
        Handler::GetHandshake => operation(APPS, "Show the secret that the app has sent")
            .about("Notion wants a person to enter it there.")
            .shared_query("auth_method")
            .answers(200, "When a secret came in the last hour, and the secret if it is to be entered at the app.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(404, "`not_found`: no such app, or it has no client yet.")
            .refuses(409, "`conflict`: the app does not send its secret, or the app has no auth method with an OAuth client."),
        Handler::DeleteClient => operation(APPS, "Remove an app's OAuth client")
            .shared_query("auth_method")
            .answers(200, "The client is removed.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(404, "`not_found`: no such app, or it has no client.")
            .refuses(409, "`client_in_use`: connections use it, or revocations that are not confirmed yet. `conflict`: the app has no auth method with an OAuth client, or `auth_method` names another one."),
        Handler::TestClient => operation(APPS, "Test an app's OAuth client before anybody connects")
            .about("Redeems an authorization code that the app never issued. An app checks the client first (RFC 6749, 5.2), so its error shows whether it accepts the client. Nothing is granted. The test cannot find out whether the redirect URI is registered. `accepted` clears `misconfigured` of the client, `refused` sets it. If the token address has variables that a person enters, the body contains them. The app is asked at most once in 30 seconds for the same client and variables, or in 5 seconds after another result than `accepted`; within that time the earlier result is returned. A changed client is tested at once.")
            .shared_query("auth_method")
            .answers(200, "The result, whatever it is.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(404, "`not_found`: no such app, or it has no client yet.")
            .refuses(409, "`conflict`: the app has no auth method with an OAuth client, or `auth_method` names another one. `client_missing`: the stored secret cannot be decrypted, or the private key cannot sign.")
            .refuses(503, "`database_unavailable`: with `Retry-After`. `misconfigured`."),

        // Defaults, and credentials by app
        Handler::PutDefault => operation(CONNECTIONS, "Set the default connection of an app")
            .about("Steps that name the app get it (resolveByApp): a user's default before the workspace's. The first shared connection of an app becomes the workspace's default by itself. A default without an environment is for all steps, unless they ask for an environment that its connection is not of; one with an environment is only for steps that ask for it. The default of a user may be a connection of theirs or a shared one, that of the workspace must be shared.")
            .answers(200, "The default, what was it before, and the workflows that now get another connection.")
            .refuses(403, LIMITED_KEY_AND_DEFAULT)
            .refuses(404, "`not_found`: there is no such app. `connection_not_found`: the connection does not exist.")
            .refuses(409, "`conflict`: the connection was changed or disconnected at the same moment."),
        Handler::DeleteDefault => operation(CONNECTIONS, "End the default of an app")
            .query("user", "The user whose default ends. Default: the workspace's.", text())
            .query("environment", "The environment that the default is for. Default: the one for any.", schemas.request::<Environment>())
            .answers(200, "What was it, if there was one, and the workflows that now get another connection, or none.")
            .refuses(403, LIMITED_KEY_AND_DEFAULT)
            .refuses(404, "`not_found`: there is no such app."),
        Handler::ListDefaults => operation(CONNECTIONS, "List the default connections of apps")
            .query("app", "Of this app.", schemas.request::<AppId>())
            .paged()
            .answers(200, "Defaults: those whose connection needs a person first, then by app, user and environment."),
        Handler::ResolveByApp => operation(CONNECTIONS, "Get a credential of an app that works")
            .about("The connection is the user's default, else the workspace's, else the only one that the user sees: their own and shared ones, without `user` shared ones alone. Nobody gets a private connection of somebody else. Apart from that the rules of resolveConnection hold, for the key, too: what is outside its allow-lists or its environment does not exist. A default that needs a person is not passed over: the answer says so. Defaults are read in the database, so `consistency` is always `strong`.")
            .answers(200, "The credential, and how the app wants it sent. `chosen_by` says how the connection was found.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `resolve`. `workflow_not_allowed`: the connection has a list of workflows, and this one is not on it.")
            .refuses(404, "`no_default_connection`: no connection could be meant, with `connect_url`. `not_found`: there is no such app.")
            .refuses(409, "`ambiguous_connection`: several connections could be meant and none is the default, with `candidates`. The others as for resolveConnection.")
            .refuses(503, "As for resolveConnection."),
        Handler::ResolveBatch => operation(CONNECTIONS, "Get several credentials")
            .about("Up to 20 items, each of a connection or of an app. They are read by one statement, and refreshes run side by side. Each item has its own result: what is wrong with one changes nothing for the others. Where more connections need a refresh than one request may wait for, the others have the problem `refresh_in_progress` with `retry_after`: ask for them again.")
            .answers(200, "The results, in the order of the items.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `resolve`."),

        // Connections
        Handler::ListConnections => operation(CONNECTIONS, "List connections")
            .about("A request looks at up to 1,000 connections if it has to look at each of them, for example for `q` and most values of `attention`. A page may then have fewer rows than `limit`, or none, although more follow: read on until `next_cursor` is null.")
            .query("app", "Of this app.", schemas.request::<AppId>())
            .query("status", "With this stored status: `connected`, `awaiting_confirmation` or `needs_reconnect`, or one of several with commas.", text())
            .query("user", "Of this user's id; `none`: without an owner.", text())
            .query("environment", "Of this environment.", schemas.request::<Environment>())
            .query("workflow", "Used by this workflow.", text())
            .query("attention", "With this attention code.", schemas.request::<attention::AttentionCode>())
            .query("q", "Part of the name, account label or app id.", text())
            .query("ids", "Of these ids, with commas: 200 at most.", text())
            .query("metadata.KEY", "With this value under KEY of the metadata. Several must all match.", text())
            .query("updated_since", "With an event of this time or later: made, repaired, edited, marked, or another line of the audit log. Those that are gone are in the audit log alone.", json!({ "type": "string", "format": "date-time" }))
            .paged()
            .answers(200, "Connections, newest first."),
        Handler::CreateConnection => operation(CONNECTIONS, "Create a connection from a credential")
            .about("A manual credential (API key, bot token, basic, client credentials, service account) or imported OAuth tokens. It is checked with the app first. See docs/credentials.md in the repository.")
            .answers(200, "The existing connection, which has the credential now (`on_duplicate: reuse`).")
            .answers(201, "The new connection.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key creates nothing.")
            .refuses(409, "`client_missing`: imported tokens need the app's OAuth client, and it is not set up, or its secret must be entered again. `conflict`: with `reuse`, the connection was changed or disconnected in the meantime. `limit_reached`: the workspace has about 100,000 connections. Disconnect those that you do not need. `conflict` also if an earlier version stored the app's definition and this version refuses it.")
            .refuses(422, "`invalid_request`: the request is invalid, or a field has the wrong form. `errors` names the fields. `credential_rejected`: the app did not accept it; nothing was stored.")
            .refuses(503, "`app_unavailable`: the app could not be asked; nothing was stored; with `Retry-After`. `database_unavailable`: with `Retry-After`. `misconfigured`."),
        Handler::ReplaceCredential => operation(CONNECTIONS, "Give a connection a new credential")
            .about("Id, name, user, metadata, uses and policy stay, and `generation` increases. The credential is checked like a new one, and must belong to the connection's account. See docs/credentials.md in the repository.")
            .answers(200, "The changed connection.")
            .refuses(404, "`connection_not_found`: the connection does not exist, or is outside the key's allow-lists. `not_found`: its app is gone.")
            .refuses(409, "`conflict`: it belongs to another account, or the account is unknown, and `switch_account` is not set; or the connection was changed or disconnected in the meantime. `addresses_changed`: the app has hosts or addresses by now that `accept_hosts` does not name. `client_missing`: imported tokens need the app's OAuth client, and there is none, or its secret must be entered again.")
            .refuses(422, "`invalid_request`: the request is invalid, or a field has the wrong form. `errors` names the fields. `credential_rejected`: the app did not accept it; nothing was stored.")
            .refuses(503, "`app_unavailable`: the app could not be asked; nothing was stored; with `Retry-After`. `database_unavailable`: with `Retry-After`. `misconfigured`."),
        Handler::GetConnection => operation(CONNECTIONS, "Show a connection")
            .answers(200, "The connection."),
        Handler::UpdateConnection => operation(CONNECTIONS, "Change a connection's name, metadata, allowed workflows, owner, sharing or environment")
            .about("A default that the connection no longer fits ends: `ended_defaults` names it. A connection that is shared first of its app becomes the default.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or is limited to an environment and would change that of the connection.")
            .answers(200, "The changed connection.")
            .refuses(409, "`replacement_in_use`: it is part of a replacement that would no longer fit."),
        Handler::DeleteConnection => operation(CONNECTIONS, "Disconnect")
            .about("From the answer on the connection does not exist, whatever the app answers.")
            .answers(200, "What happened to the grant at the app.")
            .refuses(409, "`replacement_in_use`: it answers for others. End that first (undoReplacement of each)."),
        Handler::CheckConnection => operation(CONNECTIONS, "Check a connection with its app now")
            .about("Also checks a connection that needs a reconnect. Needs no body. The app is asked at most once in 30 seconds, or in 5 seconds after a failed check that does not send a refresh token again. Within that time the earlier result is returned, with its `checked_at`.")
            .answers(200, "Its health, whatever it is: a connection that needs a reconnect is not an error here."),
        Handler::ResolveConnection => operation(CONNECTIONS, "Get a credential that works")
            .about("Waits for a refresh only if the token expires within `min_ttl` seconds. For a token with a short lifetime half of its lifetime is enough, and a token that was just refreshed always is.")
            .answers(200, "The credential, and how the app wants it sent.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `resolve`. `workflow_not_allowed`: the connection has a list of workflows, and this one is not on it.")
            .refuses(409, "`unexpected_connection`: `expect` does not match, with `actual`. `needs_reconnect`: only a person can repair it, with `reason` and `reconnect_url`. `awaiting_confirmation`: the embedding product has not confirmed the person yet. `missing_scopes`: with `missing_scopes` and `reconnect_url`. `client_misconfigured`: no valid token is left and the workspace's client cannot be used. `detail` says why, with `app_error` if the app refuses it and `reconnect_url` if a reconnect helps. `needs_reconnect` with the reason `client_replaced` if another client has replaced it. `conflict` also if an earlier version stored the app's definition and this version refuses it.")
            .refuses(503, "`app_unavailable`: the app did not refresh the token and no valid one is left; with `Retry-After`. If it refuses, or has failed three times, with `reconnect_url`. If it refuses, also with `app_error` (its own code, if it returned one) and `app_refuses_since`. `refresh_in_progress`: transient; with `Retry-After`. `database_unavailable`: with `Retry-After`. `misconfigured`."),
        Handler::ProxyGet => proxied("Send a GET to the app", false, schemas),
        Handler::ProxyPost => proxied("Send a POST to the app", true, schemas),
        Handler::ProxyPut => proxied("Send a PUT to the app", true, schemas),
        Handler::ProxyPatch => proxied("Send a PATCH to the app", true, schemas),
        Handler::ProxyDelete => proxied("Send a DELETE to the app", true, schemas),
        Handler::VerifyAppEvent => operation(EVENTS, "Verify an event of an app")
            .about("For a program that receives an app's events itself. They are verified with the `event_secret` of the workspace's clients of this app, in the same way as those that come to `events_url`, with the window for replays: an event whose time of sending is not signed is valid once in a day.")
            .answers(200, "Whether the app has sent it, and whose it is. An event that is not valid is answered with 200 too, and `reason`.")
            .refuses(404, "`not_found`: no such app, or its definition describes no events."),
        Handler::ReceiveAppEvent => operation(EVENTS, "Receive an event of an app")
            .about("The app calls it: the address is `events_url` of the app's client. The body is what the app sends. An event that says that access ended has the connections of its account checked; any other is forwarded as `app.event`.")
            .answers(200, "The event was taken; or the answer to the app's challenge, as text or JSON.")
            .content_type("text/plain")
            .refuses(401, "There is no such address, or the request is not the app's, or it is too old. There is one answer for all."),
        Handler::AnswerAppChallenge => operation(EVENTS, "Answer an app that asks whether the address is ours")
            .about("The app calls it before it sends events, if the app's definition has such a challenge. Its parameters are the app's.")
            .answers(200, "The value that the app has sent, as text, or what else it expects.")
            .content_type("text/plain")
            .refuses(401, "There is no such address, or nothing to answer."),
        Handler::ReportRefusedToken => operation(CONNECTIONS, "Report that the app refused a token")
            .about("For a caller whose request to the app was answered with 401 or 403. After 401 the token is refreshed, or the connection checked if nothing can be refreshed; after 403 it is checked. That happens only for the credential that is stored now, and once in 30 seconds for a connection, whoever reports. In all cases the answer is that of resolveConnection: repeat the request to the app if `credential_version` has changed.")
            .answers(200, "The credential as it is now.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `resolve`. `workflow_not_allowed`: the connection has a list of workflows, and this one is not on it.")
            .refuses(409, "As for resolveConnection.")
            .refuses(503, "As for resolveConnection."),
        Handler::ReplaceConnection => operation(CONNECTIONS, "Let another connection answer for this one")
            .about("Whoever resolves this connection gets the other one, with `requested_id`: steps, defaults and scripts need no change. Nothing of this connection changes, so that DELETE undoes it at any time. `allowed_workflows` and `expect` are about the one that answers, the lists of a key about the one that is asked for. The other one must exist for the key, be of the same app, work, and be shared if this one is. A connection that answers for others can't be replaced, and one that is replaced can't answer for others. A call for a connection that is replaced already lets the other one answer instead.")
            .answers(200, "What answers now and did before, and the steps that move.")
            .refuses(404, "`connection_not_found`: one of the two does not exist.")
            .refuses(409, "`environments_differ`: repeat it with `across_environments`. `conflict`: the other one is replaced itself, or was changed at the same moment. `replacement_in_use`: this one answers for others. `needs_reconnect`, `awaiting_confirmation`: the other one does not work. `limit_reached`: it answers for 100 others."),
        Handler::UndoReplacement => operation(CONNECTIONS, "Let a connection answer for itself again")
            .about("Where it does already, nothing changes.")
            .answers(200, "What answered before, and the steps that move."),
        Handler::AcknowledgeStepChanges => operation(CONNECTIONS, "Acknowledge that steps use another connection than before")
            .about("Ends `step_changed_connection` of this connection, and `changed` in its workflows, before the week is over after which it ends by itself.")
            .answers(200, "Whether there was anything to acknowledge."),
        Handler::ListConnectionUses => operation(CONNECTIONS, "List which workflow steps use a connection")
            .paged()
            .answers(200, "Uses, by workflow and step."),
        Handler::ListConnectionEvents => operation(CONNECTIONS, "Read a connection's audit log")
            .paged()
            .answers(200, "Events, newest first. They are kept for 90 days, or as the operator says (`AUDIT_DAYS`)."),

        // Audit log
        Handler::ListEvents => operation(AUDIT, "Search or export the audit log")
            .about("Every change of the workspace, sign-ins, and refused authentication of its keys (once a minute for each key); also what happened to connections that are gone. Credentials that were handed out are in it if the operator set `AUDIT_READS`. With `Accept: text/csv` or `application/jsonl` it is an export, with up to 1,000 lines in an answer (`limit`, default 1,000) and the next page in `Link`. The first page of CSV alone has a line with the names, so the pages can be put one after another. A text that a table program would take for a formula begins with an apostrophe. A request looks at up to 1,000 events if it has to look at each of them: a page may have fewer than `limit`, or none, although more follow. Read on until `next_cursor` is null, or `Link` is missing. A key with allow-lists sees the events of its connections.")
            .query("type", "Of this type, or of one of several with commas.", text())
            .query("actor", "Done by this actor, as in the answer: `key:key_…`, `user:…`, `link:lnk_…`, `operator`, `schedule`.", text())
            .query("connection", "About this connection. It may be gone.", schemas.request::<ConnectionId>())
            .query("app", "About this app, or a connection of it.", schemas.request::<AppId>())
            .query("workflow", "Credentials that were handed out for this workflow.", text())
            .query("from", "Not before this time.", json!({ "type": "string", "format": "date-time" }))
            .query("to", "Before this time.", json!({ "type": "string", "format": "date-time" }))
            .paged()
            .answers(200, "Events, newest first. They are kept for 90 days, or as the operator says (`AUDIT_DAYS`).")
            .with_header("Link", "The next page (`rel=\"next\"`); absent on the last."),

        // Webhooks
        Handler::CreateWebhook => operation(WEBHOOKS, "Create a webhook")
            .about("Events of these types are sent to the address from now on, as Standard Webhooks describes it: `webhookEvent`. A webhook is notified of all connections of the workspace, so a key with allow-lists has none.")
            .answers(201, "The webhook. Its secret is shown only here.")
            .refuses(409, "`limit_reached`: the workspace has 20 webhooks. Delete one that you do not need.")
            .refuses(422, "`invalid_request`: a type that does not exist, or an address that nothing may be sent to: not `https`, not a public host, or this installation itself."),
        Handler::ListWebhooks => operation(WEBHOOKS, "List webhooks")
            .paged()
            .answers(200, "Webhooks, by id, without their secrets."),
        Handler::GetWebhook => operation(WEBHOOKS, "Show a webhook")
            .answers(200, "The webhook, without its secret."),
        Handler::UpdateWebhook => operation(WEBHOOKS, "Change a webhook")
            .about("With `enabled: true`, and with another `url`, its failures are forgotten.")
            .answers(200, "The webhook."),
        Handler::DeleteWebhook => operation(WEBHOOKS, "Delete a webhook")
            .about("Nothing more is sent to it.")
            .answers(200, "The webhook is deleted."),
        Handler::RotateWebhook => operation(WEBHOOKS, "Give a webhook a new secret")
            .about("Until the overlap ends, each delivery has two signatures, so that the receiver can change its secret at any time in between. Another rotation during the overlap ends the oldest secret at once.")
            .answers(200, "The webhook with its new secret, which is shown only here.")
            .refuses(409, "`conflict`: the webhook was rotated or deleted at the same moment."),
        Handler::TestWebhook => operation(WEBHOOKS, "Send a test")
            .about("Sends an event of the type `webhook.test` now, and waits up to ten seconds for the answer. One that fails is tried again like any other.")
            .answers(200, "The delivery, and what came of it.")
            .refuses(409, "`conflict`: the webhook is switched off."),
        Handler::ListDeliveries => operation(WEBHOOKS, "List deliveries")
            .about("With `status`, a request looks at up to 1,000 deliveries: its page may have fewer than `limit`, or none.")
            .query("status", "Only deliveries with this status.", schemas.response::<DeliveryStatus>())
            .paged()
            .answers(200, "Deliveries of the last seven days, newest first. Nothing of an answer is kept but its status."),
        Handler::RedeliverEvent => operation(WEBHOOKS, "Send an event again")
            .about("Sends it now, with the same `webhook-id`, whether it was delivered or not, and waits up to ten seconds for the answer. If that fails, it is tried again for three days, as long as the event is kept.")
            .answers(200, "The delivery, and what came of it.")
            .refuses(409, "`conflict`: the webhook is switched off, the event is being sent just now, or it is an event of an app that was delivered and is not kept."),

        // Workflows
        Handler::ListWorkflows => operation(CONNECTIONS, "List workflows")
            .about("Workflows that used a connection, as the resolves named them. A request looks at up to 1,000 uses: a page may have fewer rows than `limit`, or none, although more follow. Read on until `next_cursor` is null. Connections that do not exist for the key are not counted.")
            .query("q", "The beginning of the workflow's name, with the same case.", text())
            .paged()
            .answers(200, "Workflows, by name."),
        Handler::GetWorkflow => operation(CONNECTIONS, "List which connections the steps of a workflow use")
            .about("A page may have fewer rows than `limit`, or none, although more follow. Read on until `next_cursor` is null.")
            .paged()
            .answers(200, "Uses, by connection and step.")
            .refuses(404, NO_SUCH_WORKFLOW),
        Handler::PreflightWorkflow => operation(CONNECTIONS, "Say whether a workflow could run now")
            .about("Looks at each connection that a step used within the 24 hours before its last use, and says whether a resolve would answer with a credential. No app is asked, and nothing is refreshed: a token that a refresh would renew counts as usable, unless the last refresh failed. A connection that was revoked at the app since its last check is not known to be.")
            .query("min_ttl", "Seconds for which each token must be valid, or be renewable. Default: 60.", json!({ "type": "integer", "minimum": 0, "maximum": 86400 }))
            .query("environment", "The environment that each connection must be of. One of another environment is not ready.", schemas.request::<Environment>())
            .answers(200, "Whether all are usable, and each connection. At most 200.")
            .refuses(404, NO_SUCH_WORKFLOW),

        // Emergencies
        Handler::DisconnectAll => operation(CONNECTIONS, "Disconnect all connections of an app, or of one of its clients")
            .about("The panic button. With `dry_run` it only counts. Otherwise every connection that was made until now is denied from the answer on, also for callers that the cache would answer (docs/operate.md). They are ended in the background by scheduled runs, and their grants are revoked where the app can do that. A job of the same app and client that is not finished goes on, and includes what was made since it began. Connections that are made afterwards are not touched.")
            .answers(200, "With `dry_run`: what would be disconnected.")
            .answers(201, "The job. Ask for its progress with getJob.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `*`, or has allow-lists or an environment.")
            .refuses(404, "`not_found`: there is no such app, and no connection of it."),
        Handler::GetJob => operation(CONNECTIONS, "Show a job")
            .answers(200, "How far it is, and what became of the grants. A finished job is kept for 90 days.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `*`, or has allow-lists or an environment."),

        // Links
        Handler::CreateLink => operation(LINKS, "Create a link with which a person connects an app or repairs a connection")
            .about("It works once. After a denial the same browser may try again, and the browser that used it may come back for permissions that are missing (docs/connect-links.md). It ends when the key that creates it expires or is revoked.")
            .answers(201, "The link. Its URL is shown only here.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `links`, or has allow-lists and no `connection` is given: such a key creates links only for its own connections.")
            .refuses(404, "`connection_not_found`: the connection does not exist, or is outside the key's allow-lists.")
            .refuses(409, "`client_missing`: the requested auth method (or every auth method of the app) needs an OAuth client that is not set up, or whose secret must be entered again; an admin does that at `setup_url`. `limit_reached`: 10,000 links of the workspace are open. Wait until some are used or expire, or use a shorter `expires_in`. `conflict` also if an earlier version stored the app's definition and this version refuses it."),
        Handler::ListLinks => operation(LINKS, "List links")
            .query("app", "Only links for this app.", schemas.request::<AppId>())
            .query("connection", "Only links that repair this connection, or created it.", schemas.request::<ConnectionId>())
            .query("status", "Only links with this status.", schemas.request::<LinkState>())
            .query("key", "Only links that this key created. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Links, newest first, without their URLs. A link is kept for a week after it has ended."),
        Handler::GetLink => operation(LINKS, "Show a link")
            .answers(200, "The link, without its URL."),
        Handler::DeleteLink => operation(LINKS, "End a link")
            .about("Nobody can use or confirm it any more. Its pending grant is discarded. A link that had ended or expired before is not changed, and the answer is the same.")
            .answers(200, "The link: `ended` or `expired`.")
            .refuses(409, "`conflict`: the link was used. Disconnect the connection that it created (deleteConnection)."),
        Handler::ConfirmLink => operation(LINKS, "Confirm that the same user came back")
            .answers(200, "The link. Its connection can be used from now on.")
            .refuses(409, "`conflict`: nothing to confirm (not used yet, created without `confirm`, confirmed already, ended), or the connection was changed or disconnected in the meantime.")
            .refuses(410, "`link_ended`: the time to confirm a repair (an hour) is over.")
            .refuses(422, "`invalid_request`: also if `user.id` is not the user of the link."),

        // People
        Handler::CreateSignInLink => operation(PEOPLE, "Create a link that signs a person in to the Connections page")
            .about("Its session ends when the key that creates the link expires or is revoked.")
            .answers(201, "The link. It works once, within ten minutes.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `links`, or `people` for an admin (also if the person is one already), or has allow-lists: a signed-in person sees all their connections.")
            .refuses(409, "`limit_reached`: this user has 1,000 valid sign-in links. Use one of them, or wait until they expire."),
        Handler::ListSignInLinks => operation(PEOPLE, "List sign-in links")
            .query("user", "Only this person's.", user_text())
            .query("key", "Only links that this key created. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Sign-in links that have not expired, newest first, without their URLs."),
        Handler::DeleteSignInLink => operation(PEOPLE, "End a sign-in link")
            .about("A session that was opened with it continues.")
            .answers(200, "The link can no longer be used."),
        Handler::ListSessions => operation(PEOPLE, "List the sessions of browsers")
            .query("type", "`person`: of a signed-in person. `link`: of a connect link.", schemas.request::<SessionType>())
            .query("user", "Only this person's.", user_text())
            .query("key", "Only sessions that were opened with a link that this key created. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Sessions that have not ended, newest first."),
        Handler::DeleteSession => operation(PEOPLE, "End a session")
            .about("Takes effect at once. Its pending grants are discarded.")
            .answers(200, "The browser is signed out."),

        Handler::ListPeople => operation(PEOPLE, "List the people of the workspace")
            .about("Everybody who has signed in or owns a connection.")
            .query("q", "Only people whose id or name contains this text. A page looks at 1,000 people, so it can be short and have a next page.", json!({ "type": "string", "minLength": 1, "maxLength": 100 }))
            .query("role", "Only people with this role.", schemas.request::<crate::workspace::Role>())
            .paged()
            .answers(200, "People, in the order of their ids."),
        Handler::UpdatePerson => operation(PEOPLE, "Make a person an admin or a member")
            .about("A new member loses the rights of an admin in all sessions at once, and unused sign-in links as an admin end. A new admin has the role from the next sign-in on.")
            .answers(200, "The person.")
            .refuses(409, "`conflict`: the person is the only admin. Make somebody else an admin first, or send `leave_without_admin`."),
        Handler::DeletePerson => operation(PEOPLE, "Remove a person")
            .about("Ends the person's sessions, sign-in links and connect links at once, and discards what waits for confirmLink. The person's connections go to `transfer_to`. Without it they belong to nobody: the shared ones stay shared, and the others are seen by admins and keys alone. The person's defaults end. Whoever signs in again with the same id is a new person.")
            .query("transfer_to", "The id of the person who gets the connections. Absent: nobody.", user_text())
            .query("leave_without_admin", "Whether the workspace may be left without an admin.", json!({ "type": "boolean", "default": false }))
            .answers(200, "The person is removed.")
            .refuses(409, "`conflict`: the person is the only admin, or owns more than one request moves (5,000): send it again."),

        // Connecting in a browser
        Handler::ShowConnectLinkPage => {
            consent_page(operation(BROWSER, "Page: the request of a connect link"), ConsentBy::Link, schemas).refuses(429, "")
        }
        Handler::SubmitConnectLink => {
            let form = operation(BROWSER, "Form: go to the app, or store a manual credential")
                .about("Binds the link to this browser. Its session opens nothing else.");
            consent_form(form, ConsentBy::Link, schemas)
        }
        Handler::ShowCataloguePage => operation(PAGE, "Page: the apps that can be connected")
            .query("q", "Words of the name, a category or an auth method.", text())
            .query("category", "Only this category.", text())
            .answers(200, "Apps by groups, each with what it needs before it can be connected."),
        Handler::ShowConnectPage => {
            let page = operation(BROWSER, "Page: connect an app");
            consent_page(page, ConsentBy::Session, schemas).refuses(422, "`invalid_request`: `scopes`, `auth_method`.")
        }
        Handler::SubmitConnect => {
            let form = operation(BROWSER, "Form: go to the app, or store a manual credential");
            consent_form(form, ConsentBy::Session, schemas)
                .refuses(422, "`invalid_request`: `scopes`, `auth_method`, or an entered value. `credential_rejected`: the app did not accept it. The form is shown again with the errors, without secrets.")
        }
        Handler::HandleCallback => operation(BROWSER, "Come back from the app")
            .about("A parameter with two different values is refused. Only the browser that started the flow can continue it. A HEAD, or a browser that loads the page in advance (`Sec-Purpose: prefetch`), does not use the code.")
            .query("state", "As in the authorization request.", json!({"type": "string", "maxLength": 256}))
            .query("code", "The authorization code.", text())
            .query("error", "Why there is no code.", text())
            .query("error_description", "Searched for codes that mean that an administrator must approve first. Never shown or stored.", text())
            .query("iss", "The issuer (RFC 9207).", text())
            .answers(204, "The answer to a request in advance: the code was not used.")
            .answers(303, "To `return_to`, the connection's page, the flow's page, or a page that says why not. A second request with the same state, in the same browser, leads to the same page; its other parameters are ignored.")
            .refuses(409, "`client_missing`: the client's secret must be entered again."),
        Handler::ShowRefusalPage => operation(BROWSER, "Page: why a callback was refused")
            .answers(400, "What happened and what to do."),
        Handler::ShowFlowPage => operation(BROWSER, "Page: the result of a flow, or its question")
            .answers(200, "The result, or two buttons. While the callback is handled, a page that reloads.")
            .with_header("Refresh", "Seconds until the page reloads.")
            .answers(303, "To `return_to` or the connection's page, if the flow created or repaired a connection.")
            .refuses(404, "`not_found`: no flow of this browser."),
        Handler::SubmitChoice => operation(BROWSER, "Form: answer the question about a grant")
            .form(form::choice())
            .answers(303, "To `return_to`, the connection's page, or the flow's page.")
            .refuses(404, "")
            .refuses(409, "`conflict`: no open question, or not one of its answers.")
            .refuses(410, "`link_ended`: the time to choose is over.")
            .refuses(422, ""),
        Handler::ShowRetryPage => {
            let page = operation(BROWSER, "Page: the request of a flow's link, again");
            consent_page(page, ConsentBy::Link, schemas)
        }
        Handler::SubmitRetry => {
            let form = operation(BROWSER, "Form: go to the app again, or store a manual credential")
                .about("For the browser that used the link. Its session replaces the link's secret.");
            consent_form(form, ConsentBy::Link, schemas)
        }

        // Page
        Handler::ShowConnectionsPage => operation(PAGE, "Page: the person's connections")
            .about("A filter that means nothing filters nothing.")
            .query("q", "Words that the name, the account label or the app has, words for a status, or an id.", text())
            .query("app", "An app's id.", text())
            .query("status", "A status, or what deserves a look, such as `expires_soon`.", text())
            .query("environment", "`production` or `test`.", text())
            .query("owner", "For an admin: a user's id, or `none`.", text())
            .query("workflow", "A workflow that used them.", text())
            .query("sort", "`name`, `app` or `used`, with `-` in front: backwards.", text())
            .query("page", "From the link to another page.", text())
            .query("cursor", "From the link to older connections.", text())
            .answers(200, "Their own and the shared connections, 50 per page. For an admin, all of the workspace.")
            .refuses(422, "`invalid_request`: `cursor`."),
        Handler::ShowReviewPage => operation(PAGE, "Page: what needs attention before a workflow fails")
            .query("cursor", "From the link to older connections.", text())
            .answers(200, "Groups of connections, the first five of each.")
            .refuses(422, "`invalid_request`: `cursor`."),
        Handler::ShowBulkPage => operation(PAGE, "Page: the address of the form for several connections")
            .answers(303, "To the list."),
        Handler::SubmitBulk => operation(PAGE, "Form: do something with several connections")
            .about("`action` is `check`, `disconnect`, `undo`, `rename` or `share`. A request takes a few of them. The other fields are those of the pages that it answers with, and have what is left. Only an admin may share.")
            .form(form::fields(&["action", "id", "confirmed", "back", "owner", "sharing", "done", "problem", "ended"]))
            .answers(200, "A question, how far it is, or the result.")
            .answers(303, "Back, with one new name.")
            .refuses(403, FORM_OR_ADMIN)
            .refuses(422, "`invalid_request`: `action`. A page: nothing is selected, or too many.")
            .refuses(429, ""),
        Handler::ShowConnectionPage => operation(PAGE, "Page: one connection")
            .query("disconnect", "Asks for the confirmation to disconnect.", text())
            .answers(200, "Status, permissions, uses, history.")
            .refuses(404, "`connection_not_found`."),
        Handler::ShowRenamePage => form_page("Page: rename a connection"),
        Handler::ShowEnvironmentPage => form_page("Page: set the environment of a connection"),
        Handler::ShowSharingPage => form_page("Page: set who uses a connection"),
        Handler::ShowReplacePage => form_page("Page: let another connection answer for one"),
        Handler::ShowDisconnectPage => form_page("Page: disconnect a connection")
            .about("Names the workflows that stop working."),
        Handler::SubmitEnvironment => settings_form("Form: set the environment of a connection", &["environment"])
            .refuses(409, REPLACEMENT_IN_USE)
            .refuses(422, "`invalid_request`: `environment`."),
        Handler::SubmitSharing => settings_form("Form: set who uses a connection", &["shared", "owner"])
            .about("Without `shared` it is private. Only an admin may send `owner`.")
            .refuses(409, REPLACEMENT_IN_USE)
            .refuses(422, "`invalid_request`: `owner` or `shared`."),
        Handler::SubmitReplacement => settings_form("Form: let another connection answer for one", &["with", "across"])
            .about("For an admin, and for the owner of both connections.")
            .refuses(409, "As for replaceConnection.")
            .refuses(422, "`invalid_request`: `with`."),
        Handler::SubmitUndoReplacement => settings_form("Form: let a connection answer for itself again", &[]),
        Handler::SubmitAcknowledgement => settings_form("Form: acknowledge that steps use another connection than before", &[]),
        Handler::ShowWorkflowsPage => operation(PAGE, "Page: the workflows that used a connection")
            .query("q", "How the name begins.", text())
            .query("cursor", "The place in the list.", text())
            .answers(200, "Workflows that used a connection that the person sees.")
            .refuses(422, "`invalid_request`: `cursor`."),
        Handler::ShowWorkflowPage => operation(PAGE, "Page: what a workflow uses, and whether it could run")
            .query("environment", "`production` or `test`: whether it could run there.", text())
            .answers(200, "Steps and connections that the person sees.")
            .refuses(404, "`not_found`: the workflow used no connection that the person sees.")
            .refuses(422, "`invalid_request`: `environment`."),
        Handler::SubmitRename => operation(PAGE, "Form: rename a connection")
            .form(form::rename())
            .answers(303, "To the connection's page.")
            .refuses(403, FORM_OR_ADMIN)
            .refuses(404, "`connection_not_found`.")
            .refuses(422, "`invalid_request`: `name`."),
        Handler::SubmitCheck => operation(PAGE, "Form: check a connection now")
            .form(form::csrf())
            .answers(303, "To the connection's page.")
            .refuses(404, "`connection_not_found`.")
            .refuses(429, ""),
        Handler::ShowTryPage => operation(PAGE, "Page: try a resolve of a connection")
            .answers(200, "The request that a program sends, and a button.")
            .refuses(404, "`connection_not_found`."),
        Handler::SubmitTry => operation(PAGE, "Form: try a resolve of a connection")
            .about("Shows what a program gets, with its secrets masked. No use is recorded.")
            .form(form::csrf())
            .answers(200, "The answer, or the refusal.")
            .refuses(403, "A page. `form_rejected`.")
            .refuses(404, "`connection_not_found`.")
            .refuses(429, ""),
        Handler::ShowReconnectPage => {
            let page = operation(PAGE, "Page: reconnect")
                .about("This is `reconnect_url`. The address itself grants nothing.");
            consent_page(page, ConsentBy::Session, schemas).refuses(403, "")
        }
        Handler::SubmitReconnect => {
            let form = operation(PAGE, "Form: go to the app to repair a connection, or store a manual credential");
            consent_form(form, ConsentBy::Session, schemas).refuses(403, FORM_OR_ADMIN)
        }
        Handler::SubmitDisconnect => operation(PAGE, "Form: disconnect")
            .form(form::csrf())
            .about("The connection is gone at once. Its grant is revoked after five minutes: until then it can be brought back.")
            .answers(303, "To the list, which offers to undo it.")
            .refuses(403, FORM_OR_ADMIN)
            .refuses(404, "`connection_not_found`."),
        Handler::SubmitUndoDisconnect => operation(PAGE, "Form: bring a disconnected connection back")
            .form(form::csrf())
            .answers(303, "To the connection, or to the list if it is too late.")
            .refuses(403, FORM_OR_ADMIN)
            .refuses(404, "`connection_not_found`.")
            .refuses(503, "`misconfigured`: its credential can't be decrypted now. Nothing was changed."),
        Handler::SubmitRevokeNow => operation(PAGE, "Form: revoke the grant of a disconnected connection at once")
            .form(form::csrf())
            .answers(303, "To the list, with what happened to the grant.")
            .refuses(403, FORM_OR_ADMIN)
            .refuses(404, "`connection_not_found`."),
        Handler::ShowSetupPage => operation(PAGE, "Page: how an app's OAuth client is set up")
            .about("For admins: the steps at the app, the redirect URI, the call that enters the client. It takes no secret.")
            .shared_query("auth_method")
            .answers(200, "The steps.")
            .refuses(404, "`not_found`: no such app, or none of its auth methods needs an OAuth client.")
            .refuses(422, "`invalid_request`: `auth_method` is empty."),

        // The administration
        Handler::ShowActivityPage => admin_page("Page: the audit log", "One page of lines, newest first.")
            .query("type", "A type of event.", text())
            .query("actor", "As for listEvents.", text())
            .query("connection", "A connection's id.", text())
            .query("app", "An app's id.", text())
            .query("workflow", "A workflow.", text())
            .query("from", "The first day (UTC).", text())
            .query("to", "The last day (UTC).", text())
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: a filter."),
        Handler::ExportActivity => admin_page("The same lines as a file", "Up to 1,000 lines: CSV, or JSON with a line for each.")
            .about("Takes the filters of the page.")
            .query("format", "`csv` or `json`.", text())
            .refuses(422, "A page. `invalid_request`: `format` or a filter."),
        Handler::ShowSettingsPage => operation(PAGE, "Page: the administration")
            .answers(303, "To its first page.")
            .refuses(403, ADMIN_ONLY),
        Handler::ShowSettingsAppsPage => admin_page("Page: apps and their OAuth clients", "All apps, with the state of their clients.")
            .query("q", "Words of a name.", text()),
        Handler::ShowClientPage => admin_page("Page: the OAuth client of an app", "The steps at the app, the form, and a button that tests.")
            .shared_query("auth_method")
            .refuses(404, "`not_found`: no such app or auth method."),
        Handler::SubmitClient => client_form(
            "Form: enter the OAuth client of an app",
            &["client_id", "client_secret", "private_key", "key_id", "certificate", "scopes", "secret_expires_at", "without_secret"],
        )
        .answers(303, "To the page of the client."),
        Handler::SubmitClientTest => client_form("Form: test the OAuth client of an app", &[])
            .answers(200, "What the app answered, in words."),
        Handler::SubmitEventSecret => client_form(
            "Form: enter what the events of an app are verified with",
            &["event_secret", "without_event_secret"],
        )
        .answers(303, "To the page of the client."),
        Handler::SubmitHandshake => client_form("Form: get an address that an app sends the secret of its events to", &[])
            .answers(201, "The address, shown once. An app sends one secret to it, within an hour."),
        Handler::ShowClientDeletionPage => admin_page("Page: what uses the OAuth client of an app", "Connections that use it, or the button.")
            .shared_query("auth_method")
            .refuses(404, "`not_found`.")
            .refuses(409, "`conflict`: the auth method needs no client."),
        Handler::SubmitClientDeletion => client_form("Form: delete the OAuth client of an app", &[])
            .answers(303, "To the apps."),
        Handler::ShowDisconnectAllPage => admin_page("Page: what the panic button of an app ends", "Connections and workflows, counted.")
            .refuses(404, "`not_found`."),
        Handler::SubmitDisconnectAll => admin_form("Form: disconnect everything of an app", &["confirm", "reason"])
            .answers(303, "To the page of the job.")
            .refuses(404, "`not_found`.")
            .refuses(422, "The form again, with what is wrong.")
            .refuses(429, ""),
        Handler::ShowJobPage => admin_page("Page: a job that disconnects everything of an app", "How far it is, and what came of it.")
            .refuses(404, "`not_found`."),
        Handler::ShowCustomAppsPage => admin_page("Page: custom apps", "All of the workspace."),
        Handler::ShowNewAppPage => admin_page("Page: a new custom app", "A form, and an editor for the whole definition."),
        Handler::SubmitApp => admin_form(
            "Form: create a custom app",
            &["name", "id", "method", "issuer", "authorize_url", "token_url", "revoke_url", "scopes", "header", "identity_url", "identity_id", "identity_label", "definition"],
        )
        .about("Either `definition`, or the other fields.")
        .answers(303, "To the page of its client.")
        .refuses(409, "The form again. `already_exists` or `limit_reached`.")
        .refuses(422, "The form again, with what is wrong.")
        .refuses(429, ""),
        Handler::ShowCustomAppPage => admin_page("Page: a custom app", "Its definition.")
            .refuses(404, "`not_found`.")
            .refuses(409, "`conflict`: it is of the catalogue."),
        Handler::SubmitAppChange => admin_form("Form: change a custom app", &["definition"])
            .answers(303, "To the page of the app.")
            .refuses(404, "`not_found`.")
            .refuses(409, "The page again. `conflict` or `limit_reached`.")
            .refuses(422, "The page again, with what is wrong at which place.")
            .refuses(429, ""),
        Handler::ShowAppDeletionPage => admin_page("Page: what a deletion of a custom app leaves", "Its connections, and the button.")
            .refuses(404, "`not_found`.")
            .refuses(409, "`conflict`: it is of the catalogue."),
        Handler::SubmitAppDeletion => admin_form("Form: delete a custom app", &[])
            .answers(303, "To the custom apps.")
            .refuses(404, "`not_found`.")
            .refuses(409, "`conflict`: it is of the catalogue."),
        Handler::ShowSettingsSignInPage => admin_page("Page: the identity provider", "What is set up, the redirect URI, and the form.")
            .query("issuer", "The issuer to show the redirect URI for.", text()),
        Handler::SubmitProvider => admin_form("Form: set up the identity provider", &["issuer", "client_id", "client_secret", "allowed_domains", "admin_groups"])
            .answers(303, "To the page.")
            .refuses(422, "The form again, with what is wrong.")
            .refuses(429, ""),
        Handler::SubmitProviderRemoval => admin_form("Form: remove the identity provider", &[])
            .answers(303, "To the page.")
            .refuses(404, "`not_found`."),
        Handler::ShowSettingsWorkspacePage => admin_page("Page: the workspace", "Its name and allowed origins."),
        Handler::SubmitWorkspace => admin_form("Form: change the workspace", &["name", "allowed_origins"])
            .answers(303, "To the page.")
            .refuses(422, "The form again, with what is wrong."),
        Handler::ShowDefaultsPage => admin_page("Page: default connections", "50 defaults, those that need a person first.")
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::ShowDefaultPage => admin_page("Page: a default connection", "What it is, which workflows a change moves, and the form.")
            .query("app", "The app's id.", text())
            .query("user", "The id of the user whose default it is.", text())
            .query("environment", "The environment.", text())
            .refuses(404, "`not_found`: no such app."),
        Handler::SubmitDefault => admin_form("Form: set or end a default connection", &["app", "user", "environment", "connection", "end"])
            .answers(303, "To the defaults.")
            .refuses(404, "`not_found` or `connection_not_found`.")
            .refuses(409, "The form again. `conflict`.")
            .refuses(422, "The form again, with what is wrong."),
        Handler::ShowSettingsWebhooksPage => admin_page("Page: webhooks", "50 webhooks, and the form for a new one.")
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::SubmitWebhook => admin_form("Form: create a webhook", &["url", "type"])
            .answers(201, "Its secret, shown once.")
            .refuses(409, "The form again. `limit_reached`.")
            .refuses(422, "The form again, with what is wrong.")
            .refuses(429, ""),
        Handler::ShowSettingsWebhookPage => admin_page("Page: a webhook", "How it is, and 50 deliveries.")
            .query("cursor", "From the link to the next page.", text())
            .refuses(404, "`not_found`.")
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::SubmitWebhookChange => webhook_form("Form: change a webhook", &["url", "type"]).answers(303, "To its page."),
        Handler::SubmitWebhookSwitch => webhook_form("Form: switch a webhook on or off", &["enabled"]).answers(303, "To its page."),
        Handler::SubmitWebhookTest => webhook_form("Form: send a test to a webhook", &[])
            .answers(200, "What came of it.")
            .refuses(429, ""),
        Handler::SubmitRedelivery => webhook_form("Form: send an event to a webhook again", &[])
            .answers(200, "What came of it.")
            .refuses(429, ""),
        Handler::SubmitWebhookRotation => webhook_form("Form: give a webhook a new secret", &["overlap"])
            .answers(200, "The new secret, shown once."),
        Handler::SubmitWebhookDeletion => webhook_form("Form: delete a webhook", &[]).answers(303, "To the webhooks."),
        Handler::ShowEmailPage => operation(PAGE, "Page: what the person gets by e-mail")
            .answers(200, "The choice.")
            .refuses(404, "`not_found`: the person was removed."),
        Handler::ChooseEmails => operation(PAGE, "Form: choose what the person gets by e-mail")
            .form(form::fields(&["emails"]))
            .answers(303, "To the page.")
            .refuses(422, "`invalid_request`: `emails`."),
        Handler::ShowStopEmailPage => operation(PAGE, "Page: end the e-mail of whoever got this address")
            .answers(200, "A button. Ends nothing.")
            .refuses(410, "")
            .refuses(429, ""),
        Handler::StopEmails => operation(PAGE, "Form: end the e-mail of whoever got this address")
            .about("Mail programs send it, too, as RFC 8058 describes it. It needs no session: the address is sealed for its recipient.")
            .answers(200, "The person gets no more e-mail of the workspace.")
            .refuses(410, "")
            .refuses(429, ""),
        Handler::ShowSettingsEmailPage => admin_page("Page: e-mail", "Whether it is on, and how that goes."),
        Handler::SubmitEmailSwitch => admin_form("Form: turn e-mail on or off", &["enabled"])
            .answers(303, "To the page.")
            .refuses(409, "The page again. `conflict`: this installation cannot send e-mail."),
        Handler::SubmitEmailTest => admin_form("Form: send a test e-mail", &[])
            .answers(200, "What came of it.")
            .refuses(409, "The page again. `conflict`: this installation cannot send e-mail, or the admin's address is not known.")
            .refuses(429, ""),
        Handler::ShowSettingsKeysPage => admin_page("Page: API keys", "50 keys, and the form for a new one.")
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::SubmitKey => admin_form("Form: create an API key", &["name", "scope", "apps", "connections", "environment", "days"])
            .answers(201, "The key, shown once.")
            .refuses(409, "The form again. `limit_reached`.")
            .refuses(422, "The form again, with what is wrong.")
            .refuses(429, ""),
        Handler::ShowSettingsKeyPage => admin_page("Page: an API key", "What it may do, and what would end with it.")
            .refuses(404, "`not_found`."),
        Handler::SubmitKeyRotation => admin_form("Form: give an API key a new secret", &["overlap"])
            .answers(200, "The new secret, shown once.")
            .refuses(404, "`not_found`.")
            .refuses(409, "The page again. `conflict`: it was changed at the same moment.")
            .refuses(422, "The page again. `invalid_request`: `overlap`."),
        Handler::SubmitKeyRevocation => admin_form("Form: revoke an API key", &["end"])
            .answers(303, "To the keys.")
            .refuses(404, "`not_found`."),
        Handler::ShowSettingsLinksPage => admin_page("Page: connect links", "50 links, and the form for a new one.")
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::SubmitLink => {
            admin_form("Form: create a connect link", &["app", "user_id", "user_name", "shared", "environment", "expires_in"])
                .answers(201, "The link, shown once.")
                .refuses(409, "The form again. `limit_reached` or `client_missing`.")
                .refuses(422, "The form again, with what is wrong.")
                .refuses(429, "")
        }
        Handler::SubmitLinkEnd => admin_form("Form: end a connect link", &[])
            .answers(303, "To the links.")
            .refuses(404, "`not_found`.")
            .refuses(409, "`conflict`: it was used."),
        Handler::ShowSettingsPeoplePage => admin_page("Page: people", "50 people, and the form for an invitation.")
            .query("q", "Part of an id or a name.", text())
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::SubmitInvitation => admin_form("Form: invite a person", &["user_id", "user_name", "role"])
            .answers(201, "A sign-in link, shown once.")
            .refuses(409, "The form again. `limit_reached`.")
            .refuses(422, "The form again, with what is wrong.")
            .refuses(429, ""),
        Handler::ShowSettingsPersonPage => admin_page("Page: a person", "Their role, their connections, and what leaves with them.")
            .refuses(404, "`not_found`."),
        Handler::SubmitRole => admin_form("Form: give a person a role", &["role"])
            .answers(303, "To the page of the person.")
            .refuses(404, "`not_found`.")
            .refuses(409, "The page again. `conflict`: the only admin.")
            .refuses(422, "The page again. `invalid_request`: `role`."),
        Handler::SubmitPersonRemoval => admin_form("Form: remove a person", &["transfer_to", "without_admin"])
            .answers(303, "To the people.")
            .refuses(404, "`not_found`.")
            .refuses(409, "The page again. `conflict`: the only admin, or more connections than one request moves.")
            .refuses(422, "The page again. `invalid_request`: `transfer_to`."),
        Handler::ShowSettingsSessionsPage => admin_page("Page: sessions and sign-in links", "50 sessions, and sign-in links that were not used yet.")
            .query("cursor", "From the link to the next page.", text())
            .refuses(422, "A page. `invalid_request`: `cursor`."),
        Handler::SubmitSessionEnd => admin_form("Form: end a session", &[])
            .answers(303, "To the sessions.")
            .refuses(404, "`not_found`."),
        Handler::SubmitSignInLinkDeletion => admin_form("Form: delete a sign-in link", &[])
            .answers(303, "To the sessions.")
            .refuses(404, "`not_found`."),

        // Sign-in
        Handler::ShowSignInPage => operation(PAGE, "Page: the person of a sign-in link, or the way to the identity provider of a workspace")
            .query("return_to", "With the id of a workspace: the page after the sign-in.", text())
            .answers(200, "A button. Does not use the link.")
            .refuses(404, "`not_found`: the workspace has no identity provider, or does not exist.")
            .refuses(422, "`invalid_request`: `return_to` is none of the pages for people.")
            .refuses(410, "")
            .refuses(429, ""),
        Handler::SignIn => operation(PAGE, "Form: sign in")
            .about("With the id of a workspace: whoever is signed in already is asked before somebody else signs in.")
            .form(form::sign_in())
            .answers(303, "To the page of the link, or the list. Uses the link. The browser's previous session ends. With the id of a workspace: to its identity provider.")
            .answers(200, "The page again: somebody else is signed in, and is asked.")
            .refuses(404, "`not_found`: the workspace has no identity provider, or does not exist.")
            .refuses(422, "`invalid_request`: `return_to` is none of the pages for people.")
            .with_cookie()
            .refuses(410, "")
            .refuses(429, ""),
        Handler::ChooseSignInWorkspace => operation(PAGE, "Page: which workspace to sign in to")
            .query("workspace", "The id of a workspace.", text())
            .query("return_to", "The page after the sign-in.", text())
            .answers(200, "A field for the id of the workspace.")
            .answers(303, "To the sign-in page of the workspace.")
            .refuses(422, "`invalid_request`: `workspace` or `return_to`."),
        Handler::HandleSignInCallback => operation(PAGE, "The way back from the identity provider")
            .query("state", "As it was sent.", text())
            .query("code", "The code.", text())
            .query("error", "Why there is no code.", text())
            .query("iss", "The issuer (RFC 9207).", text())
            .with_cookie()
            .answers(303, "To the page that was asked for. The person is signed in.")
            .answers(204, "A prefetch: nothing was done.")
            .refuses(403, "A page. Nobody was signed in, and why.")
            .refuses(429, "")
            .refuses(503, "A page. The identity provider does not answer. `misconfigured`, `database_unavailable`."),
        Handler::SignOut => operation(PAGE, "Form: sign out")
            .form(form::sign_out())
            .answers(200, "Signed out.")
            .answers(303, "Signed out, and back to the connect link that `return_to` names: it is for somebody else.")
            .with_cookie(),
        Handler::GetAccentStylesheet => operation(BROWSER, "The style sheet of a link's pages with a colour")
            .about("The colour is in the address: `/accent/0a50b0.css`. It is the `accent` of the workspace's branding.")
            .answers(200, "May be cached for ever.")
            .content_type("text/css")
            .refuses(404, "That is no colour.")
            .refuses(503, "`misconfigured`."),
    }
}

/// The fields of the forms on pages.
mod form {
    use serde_json::{Value, json};

    fn token(text: &str) -> Value {
        json!({ "type": "string", "description": text })
    }

    const CSRF: &str = "The page's anti-forgery value.";

    pub(super) fn csrf() -> Value {
        json!({ "type": "object", "required": ["csrf"], "properties": { "csrf": token(CSRF) } })
    }

    pub(super) fn sign_out() -> Value {
        json!({ "type": "object", "required": ["csrf"], "properties": {
            "csrf": token(CSRF),
            "return_to": token("The path of a connect link, which is opened next. Other addresses are ignored."),
        } })
    }

    pub(super) fn sign_in() -> Value {
        json!({ "type": "object", "properties": {
            "return_to": token("With the id of a workspace: the page after the sign-in."),
            "replace": token("With the id of a workspace: the session that may end."),
        } })
    }

    pub(super) fn fields(names: &[&str]) -> Value {
        let mut properties = json!({ "csrf": token(CSRF) });
        for name in names {
            properties[name] = json!({ "type": "string" });
        }
        json!({ "type": "object", "required": ["csrf"], "properties": properties })
    }

    pub(super) fn settings(names: &[&str]) -> Value {
        let mut properties = json!({ "csrf": token(CSRF) });
        for name in names {
            properties[name] = json!({ "type": "string", "maxLength": 128 });
        }
        json!({ "type": "object", "required": ["csrf"], "properties": properties })
    }

    pub(super) fn rename() -> Value {
        let name = json!({
            "type": "string",
            "minLength": 1,
            "maxLength": 100,
            "description": "No control characters; spaces around it are cut off.",
        });
        json!({ "type": "object", "required": ["csrf", "name"], "properties": { "csrf": token(CSRF), "name": name } })
    }

    pub(super) fn choice() -> Value {
        json!({
            "type": "object",
            "required": ["choice"],
            "properties": {
                "choice": {
                    "type": "string",
                    "enum": ["keep", "switch", "reuse", "both"],
                    "description": "`keep` or `switch` for another account; `reuse`, `both` or `keep` (discards the grant) for a duplicate.",
                },
                "csrf": token("The page's anti-forgery value; not in a flow begun through a link."),
            },
        })
    }

    /// Of a page that leads to an app, or accepts a credential.
    pub(super) fn connect(of_session: bool) -> Value {
        let mut form = json!({
            "type": "object",
            "properties": {
                "chosen": {
                    "type": "string",
                    "const": "scopes",
                    "description": "That scopes were chosen: boxes that are not ticked are not sent.",
                },
                "scope": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "Each scope that was ticked, under this name.",
                },
                "name": {
                    "type": "string",
                    "maxLength": 100,
                    "description": "What a new connection is to be called; only where the credential is entered here.",
                },
            },
            "patternProperties": {
                "^input\\.": { "type": "string", "description": "A variable or a field of the credential, by its id." },
            },
        });
        if of_session {
            form["required"] = json!(["csrf"]);
            form["properties"]["csrf"] = token(CSRF);
        }
        form
    }
}
