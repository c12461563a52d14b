//! The document: routes with their types and texts.

use serde_json::{Map, Value, json};

use super::operations;
use super::schemas::Schemas;
use crate::authorize::Resource;
use crate::caller::KeyScope;
use crate::http::Method;
use crate::http::etags::{has_etag, takes_if_match};
use crate::http::idempotency::{is_repeatable, shows_secret};
use crate::http::problem::ProblemResponse;
use crate::http::routes::{ROUTES, RequiredAuth, RouteEntry, body_types};
use crate::ids::{
    ApiKeyId, ClientId, ConnectionId, FlowId, JobId, LinkId, SessionId, SignInLinkId, WebhookId, WorkspaceId,
};
use crate::webhook::message::WebhookMessage;

/// What a route has in addition to its line in the table and its types: texts, a query, a form, and its refusals.
pub(super) struct Operation {
    tag: &'static str,
    summary: &'static str,
    description: Option<&'static str>,
    query: Vec<Value>,
    form: Option<Value>,
    /// Whether its body passes through to an app.
    passes_body: bool,
    answers: Vec<Answer>,
    /// The texts of statuses, in addition to those of every such route; or statuses that not every such route has.
    refusals: Vec<(u16, &'static str)>,
}

/// What an `ETag` is.
const ETAG: &str = "For `If-None-Match` and `If-Match`. Before the hyphen: what a change could overwrite. After it: all that is shown.";

struct Answer {
    status: u16,
    text: &'static str,
    content_type: Option<&'static str>,
    headers: Map<String, Value>,
}

pub(super) fn operation(tag: &'static str, summary: &'static str) -> Operation {
    Operation {
        tag,
        summary,
        description: None,
        query: vec![],
        form: None,
        passes_body: false,
        answers: vec![],
        refusals: vec![],
    }
}

impl Operation {
    pub(super) fn about(self, text: &'static str) -> Self {
        Self { description: Some(text), ..self }
    }

    pub(super) fn query(mut self, name: &str, text: &str, schema: Value) -> Self {
        self.query.push(parameter("query", name, text, schema));
        self
    }

    /// A parameter that several routes have.
    pub(super) fn shared_query(mut self, name: &str) -> Self {
        self.query.push(reference("parameters", name));
        self
    }

    /// The parameters of every list.
    pub(super) fn paged(self) -> Self {
        self.shared_query("limit").shared_query("cursor")
    }

    pub(super) fn form(self, schema: Value) -> Self {
        Self { form: Some(schema), ..self }
    }

    /// Its body may be of any type, and is the app's business.
    pub(super) fn passes_body(self, passes_body: bool) -> Self {
        Self { passes_body, ..self }
    }

    pub(super) fn answers(mut self, status: u16, text: &'static str) -> Self {
        let mut headers = Map::new();
        if status == 303 {
            headers.insert(
                "Location".into(),
                header("Where to go next.", &json!({ "type": "string", "format": "uri-reference" })),
            );
        }
        self.answers.push(Answer { status, text, content_type: None, headers });
        self
    }

    /// The last answer also has this header.
    pub(super) fn with_header(self, name: &str, text: &str) -> Self {
        self.with_typed_header(name, text, &json!({ "type": "string" }))
    }

    /// The same with a schema.
    pub(super) fn with_typed_header(mut self, name: &str, text: &str, schema: &Value) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.insert(name.into(), header(text, schema));
        }
        self
    }

    pub(super) fn with_cookie(self) -> Self {
        self.with_header("Set-Cookie", "The session's cookie: HttpOnly, SameSite=Lax.")
    }

    /// The last answer is neither a page nor of a type.
    pub(super) fn content_type(mut self, content_type: &'static str) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.content_type = Some(content_type);
        }
        self
    }

    pub(super) fn refuses(mut self, status: u16, text: &'static str) -> Self {
        self.refusals.push((status, text));
        self
    }
}

fn parameter(place: &str, name: &str, text: &str, schema: Value) -> Value {
    let mut parameter = json!({ "name": name, "in": place, "description": text });
    if place == "path" {
        parameter["required"] = json!(true);
    }
    parameter["schema"] = schema;
    parameter
}

fn header(text: &str, schema: &Value) -> Value {
    json!({ "description": text, "schema": schema })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for line in ROUTES {
        let described = described(line, &mut schemas);
        let path = paths.entry(line.path).or_insert_with(|| json!({}));
        if let Value::Object(path) = path {
            path.insert(line.method.as_str().to_lowercase(), described);
        }
    }
    let webhooks = webhooks(&mut schemas);
    let components = json!({
        "parameters": parameters(&mut schemas),
        "responses": responses(&mut schemas),
        "securitySchemes": operations::security_schemes(),
        "schemas": schemas.named(),
    });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Connections",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Saved authentication for workflows.",
            "description": operations::ABOUT,
        },
        "servers": [{ "url": "/" }],
        "tags": operations::tags(),
        "paths": paths,
        "webhooks": webhooks,
        "components": components,
    })
}

/// What is sent to the addresses that a workspace has named.
fn webhooks(schemas: &mut Schemas) -> Value {
    let schema = schemas.response::<WebhookMessage>();
    let sent = |name: &str, text: &str| json!({ "name": name, "in": "header", "required": true, "description": text, "schema": { "type": "string" } });
    json!({ "event": { "post": {
        "operationId": "webhookEvent",
        "tags": [operations::WEBHOOKS],
        "summary": "An event is sent to a webhook",
        "description": "As Standard Webhooks describes it. Verify the signature before you read the body, and handle each `webhook-id` once.",
        "security": [],
        "parameters": [
            sent("webhook-id", "The event. Each attempt, and each webhook, has the same."),
            sent("webhook-timestamp", "When this attempt began, in Unix seconds."),
            sent("webhook-signature", "`v1,` and the HMAC-SHA256 of `{webhook-id}.{webhook-timestamp}.{body}` in base64. After a rotation two of them, with a space between."),
        ],
        "requestBody": { "required": true, "content": { "application/json": { "schema": schema } } },
        "responses": {
            "2XX": { "description": "Delivered. The body of the answer is not read." },
            "410": { "description": "The receiver wants no more: the webhook is switched off." },
            "default": { "description": "Not delivered: it is tried again for three days. `Retry-After` is respected, up to a day. Redirects are not followed." },
        },
    }}})
}

/// The handler's name as an operation id: `CreateKey` is `createKey`.
pub(super) fn operation_id(line: &RouteEntry) -> String {
    let handler = format!("{:?}", line.handler);
    let (first, rest) = handler.split_at(1);
    first.to_lowercase() + rest
}

/// Who may call, and the scope that a key needs.
fn security(auth: RequiredAuth) -> (Value, Option<KeyScope>) {
    match auth {
        RequiredAuth::Public | RequiredAuth::App | RequiredAuth::Holder => (json!([]), None),
        RequiredAuth::Operator => (json!([{ "operatorKey": [] }]), None),
        RequiredAuth::Key(scope) => (json!([{ "workspaceKey": [] }]), scope),
        RequiredAuth::KeyInHandler(scope) => (json!([{ "workspaceKey": [] }]), Some(scope)),
        RequiredAuth::Browser => (json!([{}, { "session": [] }]), None),
        RequiredAuth::User(_) => (json!([{ "session": [] }]), None),
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn described(line: &RouteEntry, schemas: &mut Schemas) -> Value {
    let Operation { tag, summary, description, query, form, passes_body, answers, refusals } =
        operations::of(line.handler, schemas);
    let types = body_types(line.handler, schemas);
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
    put("operationId", json!(operation_id(line)));
    put("tags", json!([tag]));
    put("summary", json!(summary));
    if let Some(description) = description {
        put("description", json!(description));
    }
    let (security, scope) = security(line.auth);
    put("security", security);
    if let Some(scope) = scope {
        put("x-scope", json!(scope.as_str()));
    }
    let has_query = !query.is_empty();
    let repeatable = is_repeatable(line);
    let repeats = repeatable.then(|| reference("parameters", "idempotency_key"));
    let if_match = takes_if_match(line.handler).then(|| reference("parameters", "if_match"));
    let if_none_match = has_etag(line).then(|| reference("parameters", "if_none_match"));
    let headers = repeats.into_iter().chain(if_match).chain(if_none_match);
    let named = segments(line.path).map(|name| reference("parameters", name));
    let parameters: Vec<_> = named.chain(query).chain(headers).collect();
    if !parameters.is_empty() {
        put("parameters", json!(parameters));
    }
    let has_body = types.request.is_some();
    let body = match (types.request, form) {
        (Some(schema), _) => Some(("application/json", schema)),
        (None, form) => form.map(|schema| ("application/x-www-form-urlencoded", schema)),
    };
    if let Some((content_type, schema)) = body {
        put("requestBody", request_body(content_type, &schema, schemas));
    }
    if passes_body {
        put("requestBody", json!({ "description": "For the app, as it is.", "content": { "*/*": { "schema": {} } } }));
    }
    let mut all = Map::new();
    for answer in answers {
        all.insert(answer.status.to_string(), answered(line, &answer, types.response.as_ref()));
    }
    if has_etag(line) {
        all["200"]["headers"] = json!({ "ETag": header(ETAG, &json!({ "type": "string" })) });
        all.insert("304".into(), json!({ "description": "`If-None-Match` has its `ETag`: nothing changed." }));
    }
    let usual = usual_refusals(line, has_body, has_query);
    let statuses = usual.into_iter().map(|status| (status, ""));
    let mut refusals: Vec<_> = statuses.chain(refusals).map(|(status, text)| (status, text.to_owned())).collect();
    if takes_if_match(line.handler) {
        refusals.push((412, String::new()));
    }
    if repeatable {
        describe_repeated(line, &mut refusals);
    }
    for (status, text) in refusals {
        let mut refusal = reference("responses", &refusal_name(line, status));
        if !text.is_empty() {
            refusal["description"] = json!(text);
        }
        if !text.is_empty() || !all.contains_key(&status.to_string()) {
            all.insert(status.to_string(), refusal);
        }
    }
    put("responses", Value::Object(all));
    Value::Object(members)
}

/// What a request with an `Idempotency-Key` is refused with.
fn describe_repeated(line: &RouteEntry, refusals: &mut Vec<(u16, String)>) {
    let shown = if shows_secret(line.handler) { "its answer showed a secret" } else { "its answer was not kept" };
    let text = format!(
        "With `Idempotency-Key`: `idempotency_conflict`: the key was used for another body. `idempotency_in_progress`: a request with the key is being handled; with `Retry-After`. `already_done`: it was done, and {shown}; `id` is what it created."
    );
    match refusals.iter_mut().rev().find(|(status, _)| *status == 409) {
        Some((_, before)) => *before = format!("{before} {text}"),
        None => refusals.push((409, text)),
    }
}

/// A body may be omitted if all its members are optional.
fn request_body(content_type: &str, schema: &Value, schemas: &Schemas) -> Value {
    let required = schemas.requires_something(schema);
    let mut body = json!({ "required": required, "content": { content_type: { "schema": schema } } });
    if !required && content_type == "application/json" {
        body["description"] = json!("May be left out: everything in it is optional.");
    }
    body
}

fn answered(line: &RouteEntry, answer: &Answer, response: Option<&Value>) -> Value {
    let mut members = json!({ "description": answer.text });
    let text = || json!({ "type": "string" });
    let content = match (answer.content_type, response) {
        (Some("application/json"), _) => Some(("application/json", json!({ "type": "object" }))),
        (Some("*/*"), _) => Some(("*/*", json!({}))),
        (Some(other), _) => Some((other, text())),
        (None, Some(schema)) => Some(("application/json", schema.clone())),
        (None, None) if line.is_page() && !matches!(answer.status, 204 | 303) => Some(("text/html", text())),
        (None, None) => None,
    };
    if let Some((content_type, schema)) = content {
        members["content"] = json!({ content_type: { "schema": schema } });
    }
    if !answer.headers.is_empty() {
        members["headers"] = Value::Object(answer.headers.clone());
    }
    members
}

/// The statuses that follow from the caller, the resource and the body.
fn usual_refusals(line: &RouteEntry, has_body: bool, has_query: bool) -> Vec<u16> {
    let changes = line.method != Method::Get;
    let names = segments(line.path).next().is_some();
    let mut all = match line.auth {
        RequiredAuth::Public => vec![],
        RequiredAuth::App => vec![429, 500],
        RequiredAuth::Operator => vec![401, 429, 500],
        RequiredAuth::Key(_) | RequiredAuth::KeyInHandler(_) => vec![401, 403, 429, 500],
        RequiredAuth::Browser | RequiredAuth::Holder => vec![500],
        RequiredAuth::User(_) => vec![401, 500],
    };
    if line.is_page() {
        all.extend(changes.then_some([403, 413]).into_iter().flatten());
        all.extend((matches!(line.auth, RequiredAuth::User(_)) && names).then_some(404));
    } else if line.auth != RequiredAuth::Public {
        all.extend(names.then_some(404));
        all.extend(has_body.then_some([413, 422]).into_iter().flatten());
        // A change refuses an `If-Match` that it would not look at.
        all.extend((has_query || changes).then_some(422));
    }
    all.push(503);
    all
}

fn refusal_name(line: &RouteEntry, status: u16) -> String {
    let is_page = line.is_page();
    let name = match status {
        401 => "Unauthorized",
        403 if is_page && line.method == Method::Get => "AdminRequired",
        403 if is_page => "FormRejected",
        403 => "Forbidden",
        404 if !is_page && line.resource == Resource::Connection => "ConnectionNotFound",
        404 => "NotFound",
        409 => "Conflict",
        410 => "LinkEnded",
        412 => "PreconditionFailed",
        413 => "BodyTooLarge",
        422 => "Invalid",
        429 => "RateLimited",
        500 => "Internal",
        502 => "AppResponseRefused",
        503 => "Unavailable",
        other => panic!("{}: no component describes {other}", line.path),
    };
    if is_page { format!("Page{name}") } else { name.to_owned() }
}

fn parameters(schemas: &mut Schemas) -> Value {
    let mut all = Map::new();
    let mut path = |name: &str, text: &str, schema: Value| {
        all.insert(name.to_owned(), parameter("path", name, text, schema));
    };
    path("workspace", "The workspace's id.", schemas.request::<WorkspaceId>());
    path("key", "The key's id.", schemas.request::<ApiKeyId>());
    path("app", "The app's id.", schemas.request::<crate::app::AppId>());
    path("connection", "The connection's id.", schemas.request::<ConnectionId>());
    path("link", "The link's id.", schemas.request::<LinkId>());
    path("job", "The job's id.", schemas.request::<JobId>());
    path("webhook", "The webhook's id.", schemas.request::<WebhookId>());
    path("event", "The id of the event, as in the header `webhook-id`.", json!({ "type": "string" }));
    path("sign_in_link", "The sign-in link's id.", schemas.request::<SignInLinkId>());
    path("session", "The session's id.", schemas.request::<SessionId>());
    path(
        "workflow",
        "The workflow's name, as the resolves named it, with percent-encoding.",
        json!({ "type": "string", "minLength": 1, "maxLength": 128 }),
    );
    path(
        "path",
        "The path at the app, relative to its `base_url`, with all of its slashes. No dot segments, backslashes or hosts.",
        json!({ "type": "string" }),
    );
    path("person", "The person's id, percent-encoded.", json!({ "type": "string", "minLength": 1 }));
    path("client", "The client's id.", schemas.request::<ClientId>());
    path("authorization", "The flow's id.", schemas.request::<FlowId>());
    path(
        "token",
        "The link's secret. At `/sign-in/`: or the id of a workspace, whose people sign in at its identity provider. At `/email/stop/`: what stands in the e-mail.",
        json!({ "type": "string" }),
    );
    path(
        "reason",
        "Any other word counts as `unknown`.",
        json!({ "type": "string", "enum": ["unknown", "expired", "begun-anew", "other-browser"] }),
    );
    path(
        "stylesheet",
        "Six hexadecimal digits and `.css`.",
        json!({ "type": "string", "pattern": "^[0-9a-fA-F]{6}\\.css$" }),
    );
    all.insert(
        "idempotency_key".into(),
        parameter(
            "header",
            "Idempotency-Key",
            "A text of your choice for this request, such as a UUID. A request that is repeated with it within a day, with the same key and body, creates nothing more: it gets the same answer again, with `Idempotency-Replayed: true`. A refused request (4xx) is not kept.",
            json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        ),
    );
    all.insert(
        "if_match".into(),
        parameter("header", "If-Match", "An `ETag` of the thing: the change is made only if nobody else has changed it since. Only the part before the hyphen is compared, so uses and checks do not matter. `*`: it exists.", json!({ "type": "string" })),
    );
    all.insert(
        "if_none_match".into(),
        parameter(
            "header",
            "If-None-Match",
            "The `ETag` of what you have: 304 if it is the same.",
            json!({ "type": "string" }),
        ),
    );
    for (name, text, schema) in operations::proxy_headers(schemas) {
        let shown = format!("X-Connections-{name}");
        all.insert(name.to_lowercase().replace('-', "_"), parameter("header", &shown, text, schema));
    }
    let mut query = |name: &str, text: &str, schema: Value| {
        all.insert(name.to_owned(), parameter("query", name, text, schema));
    };
    query("limit", "Rows of a page.", json!({ "type": "integer", "minimum": 1, "maximum": 200, "default": 50 }));
    query("cursor", "`next_cursor` of the page before. Opaque.", json!({ "type": "string" }));
    query(
        "auth_method",
        "The id of an auth method with the type `oauth2`. Default: the first one. An empty value is refused.",
        schemas.request::<crate::app::AuthMethodId>(),
    );
    Value::Object(all)
}

/// Every refusal: its name, what it says, and its headers.
fn responses(schemas: &mut Schemas) -> Value {
    let problem = schemas.response::<ProblemResponse<'_>>();
    let refusal = |(name, text): &(&str, &str)| {
        let mut response = json!({ "description": text });
        response["content"] = if name.starts_with("Page") {
            json!({ "text/html": { "schema": { "type": "string" } } })
        } else {
            json!({ "application/problem+json": { "schema": problem } })
        };
        if let Some(headers) = refusal_headers(name.trim_start_matches("Page")) {
            response["headers"] = headers;
        }
        ((*name).to_owned(), response)
    };
    Value::Object(operations::REFUSALS.iter().map(refusal).collect())
}

fn refusal_headers(name: &str) -> Option<Value> {
    let retry_after = |text| header(text, &json!({ "type": "integer" }));
    Some(match name {
        "Unauthorized" => json!({ "WWW-Authenticate": header("`Bearer`.", &json!({ "type": "string" })) }),
        "MethodNotAllowed" => json!({ "Allow": header("The methods it knows.", &json!({ "type": "string" })) }),
        "RateLimited" => json!({
            "Retry-After": retry_after("Seconds after which another try makes sense."),
            "RateLimit-Policy": header(
                "The quota that was used up, and its window in seconds: `\"costly-calls\";q=600;w=60` (draft-ietf-httpapi-ratelimit-headers).",
                &json!({ "type": "string" }),
            ),
        }),
        "Unavailable" => {
            json!({ "Retry-After": retry_after("Seconds after which another try makes sense; where known.") })
        }
        _ => return None,
    })
}
