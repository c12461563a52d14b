//! Texts that are stored and can never change.
//!
//! A sealed value opens only under the very associated data that it was sealed with, and what another version wrote must be
//! found and read again. So these texts keep their form for ever, whatever a table, a column, a type or a field is called
//! today. A new name would make every credential that is stored unreadable. Something new gets a new text beside the old
//! ones. `tests/native/upgrade.rs` opens what an earlier version stored.

/// The envelope's format: its first part, part of the associated data, and the salt of the subkeys.
pub const ENVELOPE_FORMAT: &str = "cx1";
/// What a row's subkey is derived for.
pub const SUBKEY_PURPOSE: &str = "connections subkey";
/// The text in the check value of a key of the ring.
pub const KEY_CHECK_TEXT: &str = "connections check value";

/// The table and the field that a sealed value belongs to, as its associated data names them. Most of them were names of
/// tables and columns when they were chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedField {
    /// The table, or another group of values.
    pub table: &'static str,
    /// The column or purpose.
    pub field: &'static str,
}

const fn sealed(table: &'static str, field: &'static str) -> SealedField {
    SealedField { table, field }
}

/// `connections.sealed_credential`
pub const CREDENTIAL: SealedField = sealed("connections", "sealed_credential");
/// `oauth_clients.sealed_secret`
pub const CLIENT_SECRET: SealedField = sealed("clients", "sealed_secret");
/// `oauth_clients.sealed_event_secret`
pub const EVENT_SECRET: SealedField = sealed("oauth_clients", "sealed_event_secret");
/// `revocations.sealed_tokens`
pub const REVOKED_TOKENS: SealedField = sealed("revocations", "sealed_tokens");
/// `flows.sealed_verifier`
pub const PKCE_VERIFIER: SealedField = sealed("authorizations", "sealed_verifier");
/// `flows.sealed_grant`
pub const PENDING_GRANT: SealedField = sealed("authorizations", "sealed_grant");
/// `idempotent_requests.sealed_answer`
pub const IDEMPOTENT_ANSWER: SealedField = sealed("idempotent_requests", "sealed_answer");
/// `identity_providers.sealed_secret`
pub const PROVIDER_SECRET: SealedField = sealed("identity_providers", "sealed_secret");
/// `subscriptions.sealed_secret`
pub const WEBHOOK_SECRET: SealedField = sealed("subscriptions", "sealed_secret");
/// `subscriptions.sealed_previous_secret`
pub const WEBHOOK_PREVIOUS_SECRET: SealedField = sealed("subscriptions", "sealed_previous_secret");
/// `outbox.sealed_payload`
pub const OUTBOX_PAYLOAD: SealedField = sealed("outbox", "sealed_payload");
/// What a browser keeps of a sign-in that is not completed.
pub const PENDING_SIGN_IN: SealedField = sealed("cookie", "sign_in");
/// What an address says that an app sends a secret to.
pub const EVENT_HANDSHAKE: SealedField = sealed("address", "event_handshake");
/// What a browser keeps of a form that was sent after its session had ended.
pub const KEPT_FORM: SealedField = sealed("cookie", "form");
/// Whose e-mail the address ends that stands in each e-mail.
pub const EMAIL_RECIPIENT: SealedField = sealed("address", "email_recipient");
/// `encryption_key_checks.sealed_constant`
pub const KEY_CHECK: SealedField = sealed("key_checks", "sealed");
/// The cache's entry of a connection.
pub const CACHED_CONNECTION: SealedField = sealed("cache", "connection");
/// The cache's entry of an API key.
pub const CACHED_KEY: SealedField = sealed("cache", "key");
/// The cache's entry of an issuer's public document.
pub const CACHED_DISCOVERY: SealedField = sealed("cache", "discovery");

/// How the names of the cache's entries begin; an id, or the hash of an issuer, follows.
pub const CACHE_CONNECTION: &str = "connection/";
/// See [`CACHE_CONNECTION`]. A statement of `store/cache_deletes.rs` has the same text.
pub const CACHE_KEY: &str = "key/";
/// See [`CACHE_CONNECTION`].
pub const CACHE_WORKSPACE: &str = "workspace/";
/// See [`CACHE_CONNECTION`].
pub const CACHE_DISCOVERY: &str = "discovery/";

/// The one key in the storage of a connection's Durable Object: tokens that the database did not take yet.
pub const OBJECT_PENDING_WRITE: &str = "renewal";

/// Lines that stand before a client's private key in its envelope: how the app names the key, and its certificate's hash.
pub const CLIENT_KEY_ID: &str = "key-id";
/// See [`CLIENT_KEY_ID`].
pub const CLIENT_CERTIFICATE: &str = "certificate";

/// Members of stored JSON, in alphabetical order. They follow from the names of fields in Rust, so a renamed field needs a
/// `#[serde(rename)]`: tests beside the types compare with these lists.
pub mod members {
    /// A sealed credential. The first token's members stand at the top; each of `others` has the same.
    pub const CREDENTIAL: [&str; 9] = [
        "access_token",
        "expires_at",
        "fields",
        "lifetime",
        "others",
        "owner",
        "previous",
        "refresh_token",
        "token_type",
    ];
    /// `previous` in a sealed credential.
    pub const PREVIOUS_TOKEN: [&str; 2] = ["refresh_token", "until"];
    /// An entry of the cache.
    pub const CACHE_ENTRY: [&str; 6] = ["generation", "revision", "sealed", "until", "version", "workspace"];
    /// What is sealed in the entry of a connection.
    pub const CACHED_CONNECTION: [&str; 9] =
        ["account", "allowed_workflows", "app", "environment", "issued", "name", "scopes", "since", "until"];
    /// What is sealed in the entry of an API key.
    pub const CACHED_KEY: [&str; 12] = [
        "apps",
        "connections",
        "created_at",
        "environment",
        "expires_at",
        "hash",
        "id",
        "made_by",
        "name",
        "previous",
        "scopes",
        "workspace",
    ];
    /// Tokens that a Durable Object keeps until the database takes them.
    pub const PENDING_WRITE: [&str; 16] = [
        "at",
        "attempt",
        "destinations",
        "error",
        "evidence",
        "expires_at",
        "failures",
        "next_attempt_at",
        "next_check_at",
        "refresh_expires_at",
        "refresh_idle_until",
        "refreshable",
        "refreshed_at",
        "scopes",
        "sealed",
        "variables",
    ];
    /// `attempt` in it.
    pub const ATTEMPT: [&str; 6] = ["client", "connection", "generation", "id", "version", "workspace"];
    /// The part of a waiting grant that is not secret.
    pub const PENDING_GRANT: [&str; 14] = [
        "account",
        "destinations",
        "expires_at",
        "grant_expires_at",
        "granted",
        "metadata",
        "name",
        "obtained_at",
        "question",
        "refresh_expires_at",
        "refresh_idle_until",
        "refreshable",
        "requested",
        "variables",
    ];
}

/// Types of events. Those that were written stay in the audit log, and programs look for them.
pub mod event {
    /// A connection was made.
    pub const CONNECTED: &str = "connected";
    /// A connection got a new grant.
    pub const RECONNECTED: &str = "reconnected";
    /// A connection got a grant of another account, because a person or a program said so.
    pub const ACCOUNT_SWITCHED: &str = "account_switched";
    /// A grant for an account that was connected already went into that connection.
    pub const REUSED: &str = "reused";
    /// The embedding product confirmed the person.
    pub const CONFIRMED: &str = "confirmed";
    /// Name, metadata or policy were changed.
    pub const EDITED: &str = "edited";
    /// The credential can't be used any more.
    pub const NEEDS_RECONNECT: &str = "needs_reconnect";
    /// One of several tokens can't be renewed any more.
    pub const TOKEN_LOST: &str = "token_lost";
    /// A connection was moved to the current definition of its app.
    pub const DEFINITION_UPDATED: &str = "definition_updated";
    /// A connection stays with an earlier definition of its app.
    pub const DEFINITION_CHANGED: &str = "definition_changed";
    /// A connection became the default of its app, or is no longer.
    pub const DEFAULT_CHANGED: &str = "default_changed";
    /// Another connection answers for a connection from now on.
    pub const REPLACED: &str = "replaced";
    /// A connection answers for itself again.
    pub const REPLACEMENT_ENDED: &str = "replacement_ended";
    /// Somebody has seen that steps used another connection before.
    pub const CHANGES_ACKNOWLEDGED: &str = "changes_acknowledged";
    /// A connection was disconnected, and its grant revoked or not.
    pub const DISCONNECTED: &str = "disconnected";
    /// A connection that was disconnected is back.
    pub const DISCONNECT_UNDONE: &str = "disconnect_undone";
    /// An API key was made.
    pub const KEY_CREATED: &str = "key_created";
    /// A key got a new secret.
    pub const KEY_ROTATED: &str = "key_rotated";
    /// A key was revoked.
    pub const KEY_REVOKED: &str = "key_revoked";
    /// The workspace was made.
    pub const WORKSPACE_CREATED: &str = "workspace_created";
    /// Settings of the workspace were changed.
    pub const WORKSPACE_CHANGED: &str = "workspace_changed";
    /// A custom app was made.
    pub const APP_CREATED: &str = "app_created";
    /// The definition of a custom app was replaced.
    pub const APP_CHANGED: &str = "app_changed";
    /// A custom app was removed.
    pub const APP_DELETED: &str = "app_deleted";
    /// All connections of an app were disconnected at once.
    pub const APP_DISCONNECTED: &str = "app_disconnected";
    /// An OAuth client was put, or got a new secret.
    pub const CLIENT_CHANGED: &str = "client_changed";
    /// What an app's events are verified with was set or removed.
    pub const EVENT_SECRET_CHANGED: &str = "event_secret_changed";
    /// An OAuth client was deleted.
    pub const CLIENT_DELETED: &str = "client_deleted";
    /// A connect link was made.
    pub const LINK_CREATED: &str = "link_created";
    /// A connect link was ended.
    pub const LINK_ENDED: &str = "link_ended";
    /// A sign-in link was made.
    pub const SIGN_IN_LINK_CREATED: &str = "sign_in_link_created";
    /// A sign-in link was deleted.
    pub const SIGN_IN_LINK_DELETED: &str = "sign_in_link_deleted";
    /// A person signed in.
    pub const SIGNED_IN: &str = "signed_in";
    /// A person signed out.
    pub const SIGNED_OUT: &str = "signed_out";
    /// A session was ended by somebody else.
    pub const SESSION_ENDED: &str = "session_ended";
    /// A person got another role.
    pub const ROLE_CHANGED: &str = "role_changed";
    /// A person was removed.
    pub const PERSON_REMOVED: &str = "person_removed";
    /// A credential was handed out.
    pub const CREDENTIAL_RETURNED: &str = "credential_returned";
    /// A request was sent to an app with a credential that the caller did not get.
    pub const REQUEST_PROXIED: &str = "request_proxied";
    /// A key of the workspace was sent with a wrong secret, or after its end.
    pub const AUTHENTICATION_REFUSED: &str = "authentication_refused";
    /// A webhook was made.
    pub const WEBHOOK_CREATED: &str = "webhook_created";
    /// A webhook was changed.
    pub const WEBHOOK_CHANGED: &str = "webhook_changed";
    /// A webhook got a new secret.
    pub const WEBHOOK_ROTATED: &str = "webhook_rotated";
    /// A webhook was deleted.
    pub const WEBHOOK_DELETED: &str = "webhook_deleted";
    /// A webhook was switched off, because it failed.
    pub const WEBHOOK_DISABLED: &str = "webhook_disabled";
    /// A person gets other e-mails, or none.
    pub const EMAIL_PREFERENCE_CHANGED: &str = "email_preference_changed";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_frozen_text_has_changed() {
        assert_eq!((ENVELOPE_FORMAT, SUBKEY_PURPOSE), ("cx1", "connections subkey"));
        assert_eq!((CLIENT_KEY_ID, CLIENT_CERTIFICATE), ("key-id", "certificate"));
        assert_eq!((KEY_CHECK_TEXT, OBJECT_PENDING_WRITE), ("connections check value", "renewal"));
        let sealed = [
            (CREDENTIAL, "connections", "sealed_credential"),
            (CLIENT_SECRET, "clients", "sealed_secret"),
            (EVENT_SECRET, "oauth_clients", "sealed_event_secret"),
            (EVENT_HANDSHAKE, "address", "event_handshake"),
            (REVOKED_TOKENS, "revocations", "sealed_tokens"),
            (PKCE_VERIFIER, "authorizations", "sealed_verifier"),
            (PENDING_GRANT, "authorizations", "sealed_grant"),
            (IDEMPOTENT_ANSWER, "idempotent_requests", "sealed_answer"),
            (WEBHOOK_SECRET, "subscriptions", "sealed_secret"),
            (WEBHOOK_PREVIOUS_SECRET, "subscriptions", "sealed_previous_secret"),
            (OUTBOX_PAYLOAD, "outbox", "sealed_payload"),
            (KEY_CHECK, "key_checks", "sealed"),
            (CACHED_CONNECTION, "cache", "connection"),
            (CACHED_KEY, "cache", "key"),
            (CACHED_DISCOVERY, "cache", "discovery"),
        ];
        for (field, table, name) in sealed {
            assert_eq!((field.table, field.field), (table, name));
        }
        let cache = [CACHE_CONNECTION, CACHE_KEY, CACHE_WORKSPACE, CACHE_DISCOVERY];
        assert_eq!(cache, ["connection/", "key/", "workspace/", "discovery/"]);
    }

    #[test]
    fn no_type_of_an_event_has_changed() {
        let events = [
            event::CONNECTED,
            event::RECONNECTED,
            event::ACCOUNT_SWITCHED,
            event::REUSED,
            event::CONFIRMED,
            event::EDITED,
            event::NEEDS_RECONNECT,
            event::TOKEN_LOST,
            event::DEFINITION_UPDATED,
            event::DEFINITION_CHANGED,
            event::DEFAULT_CHANGED,
            event::DISCONNECTED,
            event::DISCONNECT_UNDONE,
            event::KEY_CREATED,
            event::KEY_ROTATED,
            event::KEY_REVOKED,
            event::WORKSPACE_CREATED,
            event::WORKSPACE_CHANGED,
            event::APP_CREATED,
            event::APP_CHANGED,
            event::APP_DELETED,
            event::APP_DISCONNECTED,
            event::CLIENT_CHANGED,
            event::EVENT_SECRET_CHANGED,
            event::CLIENT_DELETED,
            event::LINK_CREATED,
            event::LINK_ENDED,
            event::SIGN_IN_LINK_CREATED,
            event::SIGN_IN_LINK_DELETED,
            event::SIGNED_IN,
            event::SIGNED_OUT,
            event::SESSION_ENDED,
            event::ROLE_CHANGED,
            event::PERSON_REMOVED,
            event::CREDENTIAL_RETURNED,
            event::REQUEST_PROXIED,
            event::AUTHENTICATION_REFUSED,
            event::WEBHOOK_CREATED,
            event::WEBHOOK_CHANGED,
            event::WEBHOOK_ROTATED,
            event::WEBHOOK_DELETED,
            event::WEBHOOK_DISABLED,
            event::EMAIL_PREFERENCE_CHANGED,
        ];
        assert_eq!(
            events,
            [
                "connected",
                "reconnected",
                "account_switched",
                "reused",
                "confirmed",
                "edited",
                "needs_reconnect",
                "token_lost",
                "definition_updated",
                "definition_changed",
                "default_changed",
                "disconnected",
                "disconnect_undone",
                "key_created",
                "key_rotated",
                "key_revoked",
                "workspace_created",
                "workspace_changed",
                "app_created",
                "app_changed",
                "app_deleted",
                "app_disconnected",
                "client_changed",
                "event_secret_changed",
                "client_deleted",
                "link_created",
                "link_ended",
                "sign_in_link_created",
                "sign_in_link_deleted",
                "signed_in",
                "signed_out",
                "session_ended",
                "role_changed",
                "person_removed",
                "credential_returned",
                "request_proxied",
                "authentication_refused",
                "webhook_created",
                "webhook_changed",
                "webhook_rotated",
                "webhook_deleted",
                "webhook_disabled",
                "email_preference_changed",
            ]
        );
    }
}
