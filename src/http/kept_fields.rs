//! Which fields of which forms are kept when a form is sent after its session had ended.
//!
//! Owns that nothing else is: no secret, no value that an app's definition asks for, which may be one, and no confirmation,
//! which a person gives again. [`super::kept_forms`] keeps them. Owns, too, which page shows a form that has none at its
//! address.

use super::routes::Handler;

/// The fields of a form that are kept. Empty: none.
pub(super) fn of_form(handler: Handler) -> &'static [&'static str] {
    match handler {
        Handler::SubmitRename => &["name"],
        Handler::SubmitEnvironment => &["environment"],
        Handler::SubmitSharing => &["shared", "owner", "state"],
        Handler::SubmitReplacement => &["with", "across"],
        Handler::SubmitConnect | Handler::SubmitReconnect => &["name", "chosen", "scope"],
        Handler::SubmitClient => &["client_id", "scopes", "secret_expires_at", "key_id", "certificate", "state"],
        Handler::SubmitDisconnectAll => &["reason"],
        Handler::SubmitApp => &[
            "name",
            "id",
            "method",
            "issuer",
            "authorize_url",
            "token_url",
            "revoke_url",
            "scopes",
            "header",
            "identity_url",
            "identity_id",
            "identity_label",
            "definition",
        ],
        Handler::SubmitAppChange => &["definition", "state"],
        Handler::SubmitProvider => &["issuer", "client_id", "allowed_domains", "admin_groups"],
        Handler::SubmitWorkspace => {
            &["name", "allowed_origins", "branding_name", "branding_logo_url", "branding_accent", "state"]
        }
        Handler::SubmitDefault => &["connection"],
        Handler::SubmitWebhook => &["url", "type"],
        Handler::SubmitWebhookChange => &["url", "type", "state"],
        Handler::SubmitKey => &["name", "scope", "app", "apps", "connection", "connections", "environment", "days"],
        Handler::SubmitLink => &["app", "user_id", "user_name", "shared", "environment", "expires_in"],
        Handler::SubmitInvitation => &["user_id", "user_name", "role"],
        _ => &[],
    }
}

/// The page of a form whose address has no page at it or above it that would show the form.
pub(super) fn page_elsewhere(handler: Handler) -> Option<&'static str> {
    match handler {
        // A disconnected connection has no page.
        Handler::SubmitUndoDisconnect | Handler::SubmitRevokeNow => Some("/"),
        Handler::SubmitSignInLinkDeletion => Some("/settings/sessions"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Method;
    use super::super::routes::{ROUTES, RequiredAuth};
    use super::of_form;

    /// What is entered in a field that nobody sees, what opens something, and what a person has to say again.
    const NEVER_KEPT: [&str; 8] =
        ["csrf", "client_secret", "private_key", "event_secret", "confirm", "hosts", "password", "token"];

    #[test]
    fn no_form_keeps_a_secret_or_a_confirmation() {
        for route in ROUTES {
            for field in of_form(route.handler) {
                assert!(!NEVER_KEPT.contains(field) && !field.starts_with("input."), "{}: {field}", route.path);
                assert!(!field.contains("secret") || *field == "secret_expires_at", "{}: {field}", route.path);
            }
        }
    }

    #[test]
    fn only_forms_of_people_are_kept() {
        for route in ROUTES.iter().filter(|route| !of_form(route.handler).is_empty()) {
            assert_eq!(route.method, Method::Post, "{}", route.path);
            assert!(matches!(route.auth, RequiredAuth::User(_)), "{}", route.path);
        }
    }
}
