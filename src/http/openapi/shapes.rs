//! Schemas of types without a derived serde reader.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::app::{AppId, AuthMethodId, CredentialKind};
use crate::http::apps::CustomAppRequest;
use crate::http::credentials::CredentialInput;
use crate::ids::{
    ApiKeyId, ClientId, ConnectionId, EventId, FlowId, JobId, LinkId, SessionId, SignInLinkId, WebhookId, WorkspaceId,
};
use crate::resolve::{IssuedCredential, IssuedToken};
use crate::secret::Secret;
use crate::time::Timestamp;

macro_rules! named {
    ($($type:ty, $name:literal => |$schemas:ident| $schema:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema($schemas: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

fn id(prefix: &str, description: &str) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": format!("^{prefix}_[A-Za-z0-9_-]+$"),
        "description": description,
        "examples": [format!("{prefix}_0123456789abcdefABCDEF")],
    })
}

fn word(description: &str, example: &str) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$",
        "description": description,
        "examples": [example],
    })
}

named! {
    WorkspaceId, "WorkspaceId" => |_schemas| id("ws", "A workspace's id.");
    ApiKeyId, "KeyId" => |_schemas| id("key", "A key's id.");
    ClientId, "ClientId" => |_schemas| id("cli", "Our id of an OAuth client.");
    ConnectionId, "ConnectionId" => |_schemas| id("con", "A connection's id.");
    JobId, "JobId" => |_schemas| id("job", "A job's id.");
    LinkId, "LinkId" => |_schemas| id("lnk", "A link's id.");
    FlowId, "FlowId" => |_schemas| id("aut", "A flow's id.");
    SessionId, "SessionId" => |_schemas| id("ses", "A session's id. It opens nothing.");
    SignInLinkId, "SignInLinkId" => |_schemas| id("sil", "A sign-in link's id. It cannot be used to sign in.");
    WebhookId, "WebhookId" => |_schemas| id("whk", "A webhook's id.");
    EventId, "EventId" => |_schemas| id("evt", "An event's id.");
    AppId, "AppId" => |_schemas| word("An app's id.", "acme");
    AuthMethodId, "WayId" => |_schemas| {
        word("The id of an auth method of an app: its type, unless the definition has another.", "oauth2")
    };

    Metadata, "Metadata" => |_schemas| json_schema!({
        "type": "object",
        "description": "The embedder's own map: at most 50 entries, keys of at most 64 bytes.",
        "maxProperties": 50,
        "propertyNames": { "maxLength": 64 },
        "additionalProperties": { "type": "string", "maxLength": 500 },
    });

    IssuedCredential, "IssuedCredential" => |schemas| json_schema!({
        "description": "A credential as a step gets it.",
        "oneOf": [
            {
                "type": "object",
                "description": "A token that an OAuth server issued.",
                "allOf": [schemas.subschema_for::<IssuedToken>()],
                "required": ["type"],
                "properties": {
                    "type": kinds(CredentialKind::uses_oauth_server),
                    "tokens": {
                        "type": "object",
                        "additionalProperties": schemas.subschema_for::<IssuedToken>(),
                        "description": "Further tokens by name. Absent if there are none.",
                    },
                },
            },
            {
                "type": "object",
                "description": "What a person entered: one text for each field of the auth method, by its id. Unless the definition names others they are `api_key`; `token`; `username` and `password`.",
                "required": ["type"],
                "properties": {
                    "type": kinds(|kind| !kind.uses_oauth_server()),
                    "api_key": { "type": "string" },
                    "token": { "type": "string" },
                    "username": { "type": "string" },
                    "password": { "type": "string" },
                },
                "additionalProperties": { "type": "string" },
            },
        ],
    });

    CredentialInput, "CredentialRequest" => |schemas| json_schema!({
        "description": "A credential to be stored: as a resolve shows it, and what only its owner knows.",
        "oneOf": [
            {
                "type": "object",
                "description": "Tokens that the app gave elsewhere, to the same client.",
                "allOf": [schemas.subschema_for::<TokenRequest>()],
                "required": ["type"],
                "properties": {
                    "type": { "type": "string", "const": CredentialKind::OAuth2.as_str() },
                    "tokens": {
                        "type": ["object", "null"],
                        "additionalProperties": schemas.subschema_for::<TokenRequest>(),
                        "description": "Further tokens by name, of those the app is known to have.",
                    },
                },
            },
            {
                "type": "object",
                "description": "One member for each field of the auth method, by its id. Unless the definition names others they are `client_id` and `client_secret`; `key` (a JSON key file, as a text or as the object it is) and `subject`; `api_key`; `token`; `username` and `password`. Each has at most 16 KB.",
                "required": ["type"],
                "properties": { "type": kinds(|kind| kind != CredentialKind::OAuth2) },
                "additionalProperties": { "type": ["string", "object"], "maxLength": 16384 },
            },
        ],
        "examples": [{ "type": "api_key", "api_key": "…" }],
    });

    TokenRequest, "TokenRequest" => |_schemas| json_schema!({
        "type": "object",
        "description": "A token that the app gave elsewhere.",
        "required": ["access_token"],
        "properties": {
            "access_token": {
                "type": "string",
                "writeOnly": true,
                "maxLength": 65536,
                "description": "Visible ASCII without spaces: it is sent in a header as it is. What copying adds to a token is taken off (docs/credentials.md).",
            },
            "refresh_token": {
                "type": ["string", "null"],
                "maxLength": 65536,
                "writeOnly": true,
                "description": "Bound to the client it was issued to: the app's client here must be that one.",
            },
            "token_type": { "type": ["string", "null"], "description": "Left out: `Bearer`." },
            "expires_at": {
                "type": ["string", "number", "null"],
                "description": "When it ends: RFC 3339, an ISO 8601 date with or without a time (UTC without a zone), or a Unix time in seconds or milliseconds, as a number or a text. Required beside a further token's refresh token.",
            },
            "scopes": {
                "type": ["array", "null"],
                "items": { "type": "string" },
                "maxItems": 200,
                "description": "What was granted to it. Left out for the first token: all that is asked for.",
            },
        },
    });

    CustomAppRequest, "CustomAppRequest" => |schemas| json_schema!({
        "type": "object",
        "description": "An app's definition, at most 64 KB: the same format as a file of the catalogue. docs/catalogue.md in the repository describes all fields; unknown ones are refused.",
        "required": ["id", "name", "auth"],
        "properties": {
            "id": schemas.subschema_for::<AppId>(),
            "name": { "type": "string", "minLength": 1, "maxLength": 100 },
            "auth": {
                "description": "One way to connect, or a list of them, the recommended one first. `oauth2` needs `issuer`, or `authorize_url` and `token_url`.",
                "oneOf": [
                    method(schemas),
                    { "type": "array", "minItems": 1, "maxItems": 10, "items": method(schemas) },
                ],
            },
            "scopes": {
                "type": "array",
                "items": {
                    "anyOf": [
                        { "type": "string" },
                        {
                            "type": "object",
                            "required": ["id"],
                            "properties": { "id": { "type": "string" } },
                            "additionalProperties": true,
                        },
                    ],
                },
            },
        },
        "additionalProperties": true,
        "examples": [
            {
                "id": "acme",
                "name": "Acme",
                "auth": { "type": "oauth2", "issuer": "https://login.acme.example" },
                "scopes": ["openid", "offline_access"],
            },
            {
                "id": "acme-mail",
                "name": "Acme Mail",
                "auth": { "type": "api_key", "header": "X-Api-Key" },
                "identity": { "url": "https://api.acme.example/me", "id": "/id", "label": "/email" },
            },
        ],
    });
}

/// The metadata of the embedding product, as it is read.
pub(in crate::http) struct Metadata;

/// An imported token.
struct TokenRequest;

fn kinds(are: impl Fn(CredentialKind) -> bool) -> Schema {
    let words: Vec<_> = CredentialKind::ALL.into_iter().filter(|kind| are(*kind)).map(CredentialKind::as_str).collect();
    json_schema!({ "type": "string", "enum": words })
}

fn method(schemas: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": schemas.subschema_for::<CredentialKind>() },
        "additionalProperties": true,
    })
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}
