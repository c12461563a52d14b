//! The texts of each route in addition to its types: a summary, the query, the statuses and what they mean.

use serde_json::{Value, json};

use super::document::{Operation, operation};
use super::schemas::Schemas;
use crate::app::{AppId, AuthMethodId};
use crate::attention;
use crate::connection::ConnectionStatus;
use crate::http::responses::SessionType;
use crate::http::routes::Handler;
use crate::ids::{ApiKeyId, ConnectionId};
use crate::store::links::LinkState;

/// The text for all routes.
pub(super) const ABOUT: &str = "JSON in UTF-8; times RFC 3339 in UTC; ids are opaque. Every answer has `X-Request-Id` and, but for the stylesheet, `Cache-Control: no-store`. Errors of the API are `application/problem+json`, those of the pages are pages. Every address answers 405 `method_not_allowed` with `Allow` to a method it does not know; HEAD is answered as GET, without a body. A body over 256 KB gets 413. Calls are limited: 429 `rate_limited` comes with `Retry-After` and `RateLimit-Policy`. Where as many things exist as may, creating one more gets 409 `limit_reached`. Another workspace's thing is 404, never 403. `x-scope` is the scope a key needs; a key with `*` has every scope. Where a key has allow-lists (`connections`, `apps`), what is outside them does not exist for it: 404 on every route. Such a limited key makes nothing new but links that repair its own connections, changes neither apps nor the workspace, and has no access to sign-in links and sessions: 403 `insufficient_key_scope`.";

const OPERATOR: &str = "Operator";
const WORKSPACE: &str = "Workspace and keys";
const APPS: &str = "Apps and clients";
const CONNECTIONS: &str = "Connections";
const LINKS: &str = "Links";
const PEOPLE: &str = "People";
const BROWSER: &str = "Connecting in a browser";
const PAGE: &str = "Page";

pub(super) fn tags() -> Vec<Value> {
    vec![
        json!({ "name": OPERATOR, "description": "Of the whole installation." }),
        json!({ "name": WORKSPACE }),
        json!({ "name": APPS }),
        json!({ "name": CONNECTIONS }),
        json!({ "name": LINKS, "description": "Asking somebody to connect." }),
        json!({ "name": PEOPLE, "description": "Signing people in, and seeing who is signed in." }),
        json!({ "name": BROWSER, "description": "Pages and forms on the way to an app and back." }),
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
            "description": "A signed-in person's session, twelve hours long, or until the key expires that made the sign-in link (`cx_session` on a PUBLIC_URL without TLS). Forms must come from the same origin (`Sec-Fetch-Site`, else `Origin`). A link's browser has `cx_link` in the same way, which opens nothing but its flow.",
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
    ("NotFound", "`not_found`: no such thing, or not this workspace's or key's."),
    ("ConnectionNotFound", "`connection_not_found`: no such connection, or not this key's."),
    ("MethodNotAllowed", "`method_not_allowed`: the address does not know the method."),
    ("Conflict", "`conflict`: not possible in the present state."),
    ("LinkEnded", "`link_ended`: used, expired, or never existed."),
    ("BodyTooLarge", "`body_too_large`: the body is over 256 KB."),
    (
        "RateLimited",
        "`rate_limited`: too many calls, or too many wrong credentials from this address. Wait as long as `Retry-After` says.",
    ),
    ("Invalid", "`invalid_request`: the request can't be understood; `errors` names the fields."),
    ("Internal", "`internal`: a fault of ours; the log tells more under `X-Request-Id`."),
    (
        "Unavailable",
        "`database_unavailable`: try again shortly, with `Retry-After`. `maintenance`: the operator changes the database; with `Retry-After`, and on every route. `misconfigured`: the key ring or a variable is missing, weak, or does not fit the data, or the database lacks the migrations of this version.",
    ),
    ("PageUnauthorized", "A page. `unauthorized`: nobody is signed in; it says how to get a link."),
    ("PageFormRejected", "A page. `form_rejected`: the form came from another site or an old page."),
    ("PageAdminRequired", "A page. `admin_required`: the connection is shared, and the person is no admin."),
    ("PageNotFound", "A page. `not_found` or `connection_not_found`: no such thing, or not this person's."),
    ("PageConflict", "A page. `conflict`: not possible in the present state."),
    ("PageLinkEnded", "A page. `link_ended`: used, expired, or never existed."),
    ("PageBodyTooLarge", "A page. `body_too_large`: the body is over 256 KB."),
    ("PageRateLimited", "A page. `rate_limited`: too often in a short time. Wait as long as `Retry-After` says."),
    ("PageInvalid", "A page. `invalid_request`."),
    ("PageInternal", "A page. `internal`: a fault of ours."),
    ("PageUnavailable", "A page. `database_unavailable`, `maintenance` or `misconfigured`."),
];

fn text() -> Value {
    json!({ "type": "string" })
}

fn user_text() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 128 })
}

const FORM_OR_ADMIN: &str = "A page. `form_rejected`: the form came from another site or an old page. `admin_required`: the connection is shared, and the person is no admin.";

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
            .query("auth_method", "Which of the app's ways to connect, where the link names none.", auth_method)
            .query("scopes", "Scopes to ask for, separated by spaces, where the link names none.", text())
            .refuses(404, "")
            .refuses(409, "`client_missing`: the way to connect has no OAuth client, or its secret must be entered again. `conflict`: somebody else is signed in than the link is for."),
        ConsentBy::Session => op
            .query("scopes", "Scopes to ask for, separated by spaces.", text())
            .query("auth_method", "Which of the app's ways to connect. Left out: that of the connection to repair, or the recommended one, or the first that can be walked here.", auth_method)
            .refuses(409, "`client_missing`: the way to connect has no OAuth client, or its secret must be entered again."),
    }
}

fn consent_page(op: Operation, by: ConsentBy, schemas: &mut Schemas) -> Operation {
    let op = consent(op, by, schemas).refuses(422, "`invalid_request`: `scopes`.").refuses(
        503,
        "`app_unavailable`: the app's endpoints can't be discovered. `misconfigured`, `database_unavailable`.",
    );
    match by {
        ConsentBy::Link => op
            .answers(
                200,
                "Workspace, app, permissions and a button; or, where the credential is entered here, the form for it.",
            )
            .refuses(410, ""),
        ConsentBy::Session => {
            op.answers(200, "App, permissions and a button; or, where the credential is entered here, the form for it.")
        }
    }
}

fn consent_form(op: Operation, by: ConsentBy, schemas: &mut Schemas) -> Operation {
    let op = consent(op, by, schemas)
        .form(form::connect(by == ConsentBy::Session))
        .answers(303, "To the app, with state and PKCE; or, where the credential is entered here, to what became of it.")
        .refuses(422, "`invalid_request`: `scopes`, or a value that was entered. `credential_rejected`: the app did not accept it. What was entered wrong is said on the form, which comes again without secrets.")
        .refuses(429, "")
        .refuses(503, "`app_unavailable`: the app's endpoints can't be discovered, or it could not be asked about what was entered. `misconfigured`, `database_unavailable`.");
    match by {
        ConsentBy::Link => op.with_cookie().refuses(
            410,
            "`link_ended`: used, expired or unknown, or a question about it waits for an answer in another browser.",
        ),
        ConsentBy::Session => op,
    }
}

/// The texts of a route.
#[expect(clippy::too_many_lines, reason = "a table: one entry a route")]
pub(super) fn of(handler: Handler, schemas: &mut Schemas) -> Operation {
    match handler {
        // Operator
        Handler::CreateWorkspace => operation(OPERATOR, "Make a workspace and its first key")
            .answers(201, "The workspace. Its first key is shown here and never again."),
        Handler::ListWorkspaces => operation(OPERATOR, "List workspaces")
            .paged()
            .answers(200, "Workspaces, by id."),
        Handler::GetWorkspace => operation(OPERATOR, "Show a workspace")
            .about("Also one that was deleted and is not erased yet.")
            .answers(200, "The workspace."),
        Handler::DeleteWorkspace => operation(OPERATOR, "Delete a workspace and all that is in it")
            .about("Everybody is locked out by the answer: keys, sessions, links, sign-in links and flows end, nothing new can be made, and one entry in the cache denies all copies. Scheduled runs then revoke the grants at the apps and erase the rows. `GET` of the workspace tells how far that is, until all is erased.")
            .answers(200, "Every key, session, link and connection of it has ended."),
        Handler::GetStatus => operation(OPERATOR, "See the state of the installation")
            .answers(200, "Version, migrations, key ring, re-sealing, due checks, the clock's last run."),
        Handler::GetHealth => operation(OPERATOR, "Ask whether database and key ring work")
            .answers(200, "They work.")
            .answers(503, "They do not (`unavailable`, no details), or the operator changes the database (`maintenance`)."),
        Handler::GetOpenapi => operation(OPERATOR, "Get this document")
            .answers(200, "This document.")
            .content_type("application/json")
            .refuses(503, "`misconfigured`."),
        // Workspace and keys
        Handler::GetOwnWorkspace => operation(WORKSPACE, "Show the key's workspace")
            .answers(200, "The workspace.")
            .refuses(404, ""),
        Handler::UpdateOwnWorkspace => operation(WORKSPACE, "Change the workspace's name or allowed origins")
            .answers(200, "The workspace as it is now.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key does not change the workspace.")
            .refuses(404, ""),
        Handler::CreateKey => operation(WORKSPACE, "Make a key")
            .about("A key can make another only within its own scopes, and none that outlives it. A key with allow-lists makes none.")
            .answers(201, "The key. Its text is shown here and never again.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `keys`, has allow-lists, or the new key would be wider than it.")
            .refuses(409, "`limit_reached`: the workspace has 1,000 keys. Delete one that is not needed."),
        Handler::ListKeys => operation(WORKSPACE, "List keys")
            .about("Only keys that may do nothing beyond the calling one are shown.")
            .query("made_by", "Only keys that this key made. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Keys in force or expired, by id, without their text."),
        Handler::DeleteKey => operation(WORKSPACE, "Revoke a key")
            .about("In force at once for every call that reads the database; a resolve with `consistency: edge` may follow a copy for up to 60 seconds, or until `cache_entries.until`. Unless told otherwise, what the key made ends in the same transaction: its links and sign-in links, the sessions that were opened through them, and what waits in their flows. Keys that it made stay in force; `made_keys` names them.")
            .query("made", "What becomes of what the key made: it ends, or it is kept.", json!({"type": "string", "enum": ["end", "keep"], "default": "end"}))
            .answers(200, "The key is revoked.")
            .refuses(422, "`invalid_request`: `made`."),
        Handler::RotateKey => operation(WORKSPACE, "Give a key a new secret")
            .about("The id stays, and nothing that the key made ends. The secret before is accepted until the overlap is over. Another rotation during the overlap ends the oldest secret at once. A key may rotate itself, with its newest secret.")
            .answers(200, "The key with its new text, which is shown here and never again.")
            .refuses(409, "`conflict`: the key was rotated or revoked at the same moment, or it would rotate itself with the secret before."),

        // Apps and clients
        Handler::ListApps => operation(APPS, "List the apps of the catalogue and the workspace's own")
            .query("q", "Part of the id or name, in any case.", text())
            .query("category", "One of an app's categories, exactly.", text())
            .paged()
            .answers(200, "Apps, by id."),
        Handler::CreateApp => operation(APPS, "Add a custom app")
            .about("An id of the catalogue can't be used (422).")
            .answers(201, "The app.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key makes nothing new.")
            .refuses(409, "`already_exists`: the workspace has an app with this id. `limit_reached`: it has 200 custom apps, or 100 revisions of this app are in use. `conflict`: the app was changed at the same moment."),
        Handler::GetApp => operation(APPS, "Show an app")
            .answers(200, "The app.")
            .refuses(409, "`conflict`: the definition was stored by an earlier version and this one refuses it; put a corrected one."),
        Handler::UpdateApp => operation(APPS, "Change a custom app")
            .about("Stores a new revision. Connections of earlier revisions follow it where that adds no address to which their secrets go, their client serves it, the way to connect, its fields and variables are the same, and their account's id means the same. The others stay with theirs and show `definition_changed`; a person reconnects them. The first 200 are looked at before the answer, the others by the scheduled run. A definition with the same JSON as the current one stores nothing and looks at the connections again. Revisions that nothing uses are deleted later. `id` must be the one in the path.")
            .answers(200, "The app. `client_is_set_up` is false when the definition names hosts that the client's secret was not entered for.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key changes no app.")
            .refuses(404, "`not_found`: no app has this id.")
            .refuses(409, "`conflict`: the app belongs to the catalogue, or it was changed at the same moment. `limit_reached`: connections use 100 revisions of the app. Reconnect or disconnect some of them first."),
        Handler::DeleteApp => operation(APPS, "Remove a custom app")
            .about("Connections that were made with it go on working.")
            .answers(200, "The app is removed.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key changes no app.")
            .refuses(404, "`not_found`: no app has this id.")
            .refuses(409, "`conflict`: the app belongs to the catalogue."),
        Handler::GetClient => operation(APPS, "Show an app's OAuth client")
            .shared_query("auth_method")
            .answers(200, "The client, without its secret.")
            .refuses(404, "`not_found`: no such app, or it has no client yet.")
            .refuses(409, "`conflict`: the app has no way to connect that needs an OAuth client, or `auth_method` names none."),
        Handler::PutClient => operation(APPS, "Set up an app's OAuth client, or rotate its secret")
            .about("With another `client_id` a new client is made beside the old one; connections stay with theirs. Apps of one family share a client; further ways of one app that people consent to at the app have clients of their own (`auth_method`).")
            .shared_query("auth_method")
            .answers(200, "The client. A known `client_id` keeps `id` and `redirect_uri`. A new `client_id` at the same authorization server has an `id` of its own and the same `redirect_uri`; at another authorization server it has another `redirect_uri`: register that at the app.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(409, "`conflict`: the client was set up elsewhere at the same moment; or the app has no way to connect that needs an OAuth client, or `auth_method` names none."),
        Handler::DeleteClient => operation(APPS, "Remove an app's OAuth client")
            .shared_query("auth_method")
            .answers(200, "The client is removed.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(404, "`not_found`: no such app, or it has no client.")
            .refuses(409, "`client_in_use`: connections, or revocations still to be confirmed, use it. `conflict`: the app has no way to connect that needs an OAuth client, or `auth_method` names none."),
        Handler::TestClient => operation(APPS, "Try an app's OAuth client before anybody connects")
            .about("Redeems an authorization code that the app never issued. An app looks at the client first (RFC 6749, 5.2), so what it complains of tells what it makes of the client. Nothing is granted. Whether the redirect URI is registered can't be told. `accepted` clears `misconfigured` of the client, `refused` sets it. Where the token address depends on what a person gives, the body gives it. The app is asked at most once in 30 seconds for the same client and variables, or in 5 seconds after a test that did not end with `accepted`: within that time the answer is the earlier one. A change of the client is tested at once.")
            .shared_query("auth_method")
            .answers(200, "What the app made of it, whatever that is.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has a list of `connections`, or a list of `apps` without all the apps that share the client.")
            .refuses(404, "`not_found`: no such app, or it has no client yet.")
            .refuses(409, "`conflict`: the app has no way to connect that needs an OAuth client, or `auth_method` names none. `client_missing`: the stored secret can't be read, or the private key can't sign.")
            .refuses(503, "`database_unavailable`: with `Retry-After`. `misconfigured`."),

        // Connections
        Handler::ListConnections => operation(CONNECTIONS, "List connections")
            .query("app", "Of this app.", schemas.request::<AppId>())
            .query("status", "With this stored status.", schemas.request::<ConnectionStatus>())
            .query("user", "Of this user's id.", text())
            .query("workflow", "Used by this workflow.", text())
            .query("attention", "With this attention code.", schemas.request::<attention::AttentionCode>())
            .query("q", "Part of the name, account label or app id.", text())
            .paged()
            .answers(200, "Connections, newest first."),
        Handler::CreateConnection => operation(CONNECTIONS, "Make a connection from a credential")
            .about("A pasted credential (API key, bot token, basic, client credentials, service account) or imported OAuth tokens. It is checked with the app first. docs/credentials.md in the repository tells more.")
            .answers(200, "The connection that was there and has the credential now (`on_duplicate: reuse`).")
            .answers(201, "The new connection.")
            .refuses(403, "`insufficient_key_scope`: the key lacks the scope, or has allow-lists: such a key makes nothing new.")
            .refuses(409, "`client_missing`: imported tokens need the app's OAuth client, and there is none, or its secret must be entered again. `conflict`: with `reuse`, the connection was changed or disconnected meanwhile. `limit_reached`: the workspace has about 100,000 connections. Disconnect those that are not needed. `conflict` also where the app's definition was stored by an earlier version and this one refuses it.")
            .refuses(422, "`invalid_request`: the request can't be understood, or a field does not have its form; `errors` names the fields. `credential_rejected`: the app did not accept it; nothing was stored.")
            .refuses(503, "`app_unavailable`: the app could not be asked; nothing was stored; with `Retry-After`. `database_unavailable`: with `Retry-After`. `misconfigured`."),
        Handler::ReplaceCredential => operation(CONNECTIONS, "Give a connection a new credential")
            .about("Id, name, user, metadata, uses and policy stay; `generation` is raised. The credential is checked like a new one; what it must be for is the account the connection has. docs/credentials.md in the repository tells more.")
            .answers(200, "The connection as it is now.")
            .refuses(404, "`connection_not_found`: no such connection, or not this key's. `not_found`: its app is gone.")
            .refuses(409, "`conflict`: it is for another account, or nobody knows, and `switch_account` is not set; or the connection was changed or disconnected meanwhile. `addresses_changed`: the app has hosts or addresses by now that `accept_hosts` does not name. `client_missing`: imported tokens need the app's OAuth client, and there is none, or its secret must be entered again.")
            .refuses(422, "`invalid_request`: the request can't be understood, or a field does not have its form; `errors` names the fields. `credential_rejected`: the app did not accept it; nothing was stored.")
            .refuses(503, "`app_unavailable`: the app could not be asked; nothing was stored; with `Retry-After`. `database_unavailable`: with `Retry-After`. `misconfigured`."),
        Handler::GetConnection => operation(CONNECTIONS, "Show a connection")
            .answers(200, "The connection."),
        Handler::UpdateConnection => operation(CONNECTIONS, "Change a connection's name, metadata or allowed workflows")
            .answers(200, "The connection as it is now."),
        Handler::DeleteConnection => operation(CONNECTIONS, "Disconnect")
            .about("Gone here from the answer on, whatever the app says.")
            .answers(200, "What became of the grant at the app."),
        Handler::CheckConnection => operation(CONNECTIONS, "Check a connection with its app now")
            .about("Also checks a connection that needs reconnecting. Needs no body. The app is asked at most once in 30 seconds, in 5 seconds after a check that failed, in 30 seconds where a refresh token would have to be redeemed again: within that time the answer is what was found before, at `checked_at`.")
            .answers(200, "Its health, whatever it is: a dead connection is no error here."),
        Handler::ResolveConnection => operation(CONNECTIONS, "Get a credential that works")
            .about("Waits for a refresh only where the token does not live `min_ttl` seconds longer. A token whose whole life is short counts as long enough from half of it, and one just refreshed always.")
            .answers(200, "The credential, and how the app wants it sent.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `resolve`. `workflow_not_allowed`: the connection has a list of workflows, and this one is not on it.")
            .refuses(409, "`unexpected_connection`: `expect` does not hold, with `actual`. `needs_reconnect`: only a person can repair it, with `reason` and `reconnect_url`. `awaiting_confirmation`: the embedder has not confirmed the person yet. `missing_scopes`: with `missing_scopes` and `reconnect_url`. `client_misconfigured`: no valid token is left and the workspace's client can't be used; `detail` says why, with `app_error` where the app refuses it and `reconnect_url` where a reconnect helps; `needs_reconnect` with the reason `client_replaced` where another client has taken its place. `conflict` also where the app's definition was stored by an earlier version and this one refuses it.")
            .refuses(503, "`app_unavailable`: the app did not renew the token and nothing usable is left; with `Retry-After`. Where it refuses, or has failed three times: with `reconnect_url`, and where it refuses also with `app_error` (its own code, if it gave one) and `app_refuses_since`. `refresh_in_progress`: transient; with `Retry-After`. `database_unavailable`: with `Retry-After`. `misconfigured`."),
        Handler::ListConnectionUses => operation(CONNECTIONS, "List which workflow steps use a connection")
            .paged()
            .answers(200, "Uses, by workflow and step."),
        Handler::ListConnectionEvents => operation(CONNECTIONS, "Read a connection's audit trail")
            .paged()
            .answers(200, "Events, newest first; kept for 90 days."),

        // Links
        Handler::CreateLink => operation(LINKS, "Make a link for somebody to connect an app or repair a connection")
            .about("Used up by success; after a denial the same browser may try again. It ends when the key that makes it expires, and when that key is revoked.")
            .answers(201, "The link. Its URL is shown here and never again.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `links`, or has allow-lists and no `connection` is given: such a key makes links for its own connections alone.")
            .refuses(404, "`connection_not_found`: no such connection, or not this key's.")
            .refuses(409, "`client_missing`: the way that is asked for (or the app, where every way needs one) has no OAuth client, or its secret must be entered again. `limit_reached`: 10,000 links of the workspace are open. Wait until some are used or expire, or give new ones a shorter `expires_in`. `conflict` also where the app's definition was stored by an earlier version and this one refuses it."),
        Handler::ListLinks => operation(LINKS, "List links")
            .query("app", "Only links for this app.", schemas.request::<AppId>())
            .query("connection", "Only links that repair this connection, or made it.", schemas.request::<ConnectionId>())
            .query("status", "Only links with this status.", schemas.request::<LinkState>())
            .query("key", "Only links that this key made. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Links, newest first, without their URLs. A link is kept for a week after its end."),
        Handler::GetLink => operation(LINKS, "Show a link")
            .answers(200, "The link, without its URL."),
        Handler::DeleteLink => operation(LINKS, "End a link")
            .about("Nobody can use or confirm it any more. What waits in it is discarded. One that ended or expired before stays as it is, and the answer is the same.")
            .answers(200, "The link as it is now: `ended` or `expired`.")
            .refuses(409, "`conflict`: the link was used. Disconnect what it made (deleteConnection)."),
        Handler::ConfirmLink => operation(LINKS, "Confirm that the same user came back")
            .answers(200, "The link. What it made or repaired may be used from now on.")
            .refuses(409, "`conflict`: nothing to confirm (not used yet, made without `confirm`, confirmed already, ended), or the connection was changed or disconnected meanwhile.")
            .refuses(410, "`link_ended`: the time to confirm a repair (an hour) is over.")
            .refuses(422, "`invalid_request`: also when `user.id` is not the user the link was made for."),

        // People
        Handler::CreateSignInLink => operation(PEOPLE, "Make a link that signs a person in to the page")
            .about("The session that it opens ends when the key that makes the link expires, and when that key is revoked.")
            .answers(201, "The link. Good for one sign-in, within ten minutes.")
            .refuses(403, "`insufficient_key_scope`: the key lacks `links`, or `people` for an admin, or has allow-lists: a person who signs in has all their connections.")
            .refuses(409, "`limit_reached`: 1,000 unused sign-in links for this user are valid. Use one of them, or wait until they expire."),
        Handler::ListSignInLinks => operation(PEOPLE, "List sign-in links")
            .query("user", "Only this person's.", user_text())
            .query("key", "Only links that this key made. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Sign-in links that have not expired, newest first, without their URLs."),
        Handler::DeleteSignInLink => operation(PEOPLE, "End a sign-in link")
            .about("A session that was opened by it goes on.")
            .answers(200, "The link signs nobody in any more."),
        Handler::ListSessions => operation(PEOPLE, "List the sessions of browsers")
            .query("type", "`person`: somebody signed in. `link`: somebody uses a connect link.", schemas.request::<SessionType>())
            .query("user", "Only this person's.", user_text())
            .query("key", "Only sessions that were opened through a link that this key made. It may be revoked.", schemas.request::<ApiKeyId>())
            .paged()
            .answers(200, "Sessions that have not ended, newest first."),
        Handler::DeleteSession => operation(PEOPLE, "End a session")
            .about("In force at once. What waits in its flows is discarded.")
            .answers(200, "The browser is signed out."),

        // Connecting in a browser
        Handler::ShowConnectLinkPage => {
            consent_page(operation(BROWSER, "Page: what a link asks for"), ConsentBy::Link, schemas).refuses(429, "")
        }
        Handler::SubmitConnectLink => {
            let form = operation(BROWSER, "Form: go to the app, or store what was entered")
                .about("Binds the link to this browser. Its session opens nothing else.");
            consent_form(form, ConsentBy::Link, schemas)
        }
        Handler::ShowConnectPage => {
            let page = operation(BROWSER, "Page: what connecting an app asks for");
            consent_page(page, ConsentBy::Session, schemas).refuses(422, "`invalid_request`: `scopes`, `auth_method`.")
        }
        Handler::SubmitConnect => {
            let form = operation(BROWSER, "Form: go to the app, or store what was entered");
            consent_form(form, ConsentBy::Session, schemas)
                .refuses(422, "`invalid_request`: `scopes`, `auth_method`, or a value that was entered. `credential_rejected`: the app did not accept it. What was entered wrong is said on the form, which comes again without secrets.")
        }
        Handler::HandleCallback => operation(BROWSER, "Come back from the app")
            .about("A parameter that stands twice is refused. Only the browser that began the flow gets on. A HEAD, or a browser that loads the page ahead of need (`Sec-Purpose: prefetch`), uses nothing up.")
            .query("state", "As it was sent.", json!({"type": "string", "maxLength": 256}))
            .query("code", "The authorization code.", text())
            .query("error", "Why there is none.", text())
            .query("error_description", "Looked through for the codes that mean that an administrator must approve first; never shown or stored.", text())
            .query("iss", "The issuer (RFC 9207).", text())
            .answers(204, "The answer to a request that only looks ahead: nothing was used up.")
            .answers(303, "To `return_to`, the connection's page, the flow's page, or a page that tells why not. A second visit with the same state, in the same browser, leads to the same place; nothing else of it is looked at.")
            .refuses(409, "`client_missing`: the client's secret must be entered again."),
        Handler::ShowRefusalPage => operation(BROWSER, "Page: why a way back led nowhere")
            .answers(400, "What happened and what to do."),
        Handler::ShowFlowPage => operation(BROWSER, "Page: how a flow ended, or the choice it needs")
            .answers(200, "The outcome, or two buttons. While the app's answer is being taken, a page that loads itself again.")
            .with_header("Refresh", "Seconds after which the page loads itself again.")
            .answers(303, "To `return_to` or the connection's page, where a connection came of the flow.")
            .refuses(404, "`not_found`: no flow of this browser."),
        Handler::SubmitChoice => operation(BROWSER, "Form: choose what becomes of a grant")
            .form(form::choice())
            .answers(303, "To `return_to`, the connection's page, or the flow's page.")
            .refuses(404, "")
            .refuses(409, "`conflict`: nothing to choose, or not one of the choices.")
            .refuses(410, "`link_ended`: the time to choose is over.")
            .refuses(422, ""),
        Handler::ShowRetryPage => {
            let page = operation(BROWSER, "Page: what the link of a flow asks for, once more");
            consent_page(page, ConsentBy::Link, schemas)
        }
        Handler::SubmitRetry => {
            let form = operation(BROWSER, "Form: go to the app once more, or store what was entered")
                .about("For the browser that used the link: its session stands for the link's secret.");
            consent_form(form, ConsentBy::Link, schemas)
        }

        // Page
        Handler::ShowConnectionsPage => operation(PAGE, "Page: the person's connections")
            .query("q", "Part of the name, account label or app id.", text())
            .query("cursor", "From the link to the next page.", text())
            .query("done", "What has just happened, for a notice.", text())
            .answers(200, "Their own and the shared connections, 50 to a page; for an admin, all of the workspace.")
            .refuses(422, "`invalid_request`: `cursor`."),
        Handler::ShowConnectionPage => operation(PAGE, "Page: one connection")
            .query("connected", "Shows that it was just connected.", text())
            .query("done", "What has just happened, for a notice.", text())
            .query("disconnect", "Asks for the confirmation to disconnect.", text())
            .answers(200, "Status, permissions, uses, history.")
            .refuses(404, "`connection_not_found`."),
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
        Handler::ShowReconnectPage => {
            let page = operation(PAGE, "Page: what a reconnect asks for")
                .about("This is `reconnect_url`. It grants nothing by itself.");
            consent_page(page, ConsentBy::Session, schemas).refuses(403, "")
        }
        Handler::SubmitReconnect => {
            let form = operation(PAGE, "Form: go to the app to repair a connection, or store what was entered");
            consent_form(form, ConsentBy::Session, schemas).refuses(403, FORM_OR_ADMIN)
        }
        Handler::SubmitDisconnect => operation(PAGE, "Form: disconnect")
            .form(form::csrf())
            .answers(303, "To the list, with what became of the grant.")
            .refuses(403, FORM_OR_ADMIN)
            .refuses(404, "`connection_not_found`."),
        Handler::ShowSetupPage => operation(PAGE, "Page: how an app's OAuth client is set up")
            .about("For whoever runs the workspace: the steps at the app, the redirect URI, the call that enters the client. It takes no secret.")
            .shared_query("auth_method")
            .answers(200, "The steps.")
            .refuses(404, "`not_found`: no such app, or none of its ways to connect needs an OAuth client.")
            .refuses(422, "`invalid_request`: `auth_method` is empty."),
        Handler::ShowSignInPage => operation(PAGE, "Page: whom a link signs in")
            .answers(200, "A button. Uses nothing up.")
            .refuses(410, "")
            .refuses(429, ""),
        Handler::SignIn => operation(PAGE, "Form: sign in")
            .answers(303, "To the page that the link names, or the list. Uses the link up. A session that the browser had before ends.")
            .with_cookie()
            .refuses(410, "")
            .refuses(429, ""),
        Handler::SignOut => operation(PAGE, "Form: sign out")
            .form(form::csrf())
            .answers(200, "Signed out.")
            .with_cookie(),
        Handler::GetStylesheet => operation(PAGE, "The pages' stylesheet")
            .answers(200, "May be cached for an hour.")
            .content_type("text/css")
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
