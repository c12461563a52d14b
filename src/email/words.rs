//! The words of e-mails: one file for each language.
//!
//! `{name}` stands for a value. A language is a file beside `en` with all the words; one that lacks a word does not compile.

mod en;

pub use en::ENGLISH;

use crate::connection::ReconnectReason;

/// The words in one language.
#[derive(Debug)]
pub struct Words {
    /// The language (BCP 47).
    pub language: &'static str,
    /// Subjects.
    pub subject: Subjects,
    /// What happened.
    pub happened: Happened,
    /// Which workflows are concerned: one, or another number of them.
    pub impact: Impacts,
    /// Why a connection needs a reconnect.
    pub reasons: Reasons,
    /// What stands around.
    pub frame: Frame,
}

/// Subjects.
#[derive(Debug)]
pub struct Subjects {
    /// A connection that no workflow has used.
    pub reconnect: &'static str,
    /// One that one workflow uses.
    pub reconnect_one: &'static str,
    /// One that several workflows use.
    pub reconnect_some: &'static str,
    /// Several connections.
    pub reconnect_many: &'static str,
    /// An OAuth client that its app refuses.
    pub client: &'static str,
    /// A webhook that was switched off.
    pub webhook: &'static str,
    /// Several things of several kinds.
    pub many: &'static str,
    /// A digest in which something needs a person.
    pub digest_urgent: &'static str,
    /// Any other digest.
    pub digest: &'static str,
    /// A test.
    pub test: &'static str,
}

/// What happened, one sentence each.
#[derive(Debug)]
pub struct Happened {
    /// `connection.created`
    pub created: &'static str,
    /// `connection.needs_reconnect`
    pub needs_reconnect: &'static str,
    /// `connection.recovered`
    pub recovered: &'static str,
    /// `connection.expires_soon`
    pub expires_soon: &'static str,
    /// `connection.missing_scopes`
    pub missing_scopes: &'static str,
    /// `connection.account_changed`
    pub account_changed: &'static str,
    /// `connection.default_changed`
    pub default_changed: &'static str,
    /// `connection.deleted`
    pub deleted: &'static str,
    /// `client.misconfigured`
    pub client_misconfigured: &'static str,
    /// `client.secret_expires`
    pub secret_expires: &'static str,
    /// `webhook.disabled`, after five days.
    pub webhook_failing: &'static str,
    /// The same, because the receiver wants no more.
    pub webhook_gone: &'static str,
    /// The same, because its secret can't be read.
    pub webhook_unreadable: &'static str,
    /// A connection without a name.
    pub unnamed: &'static str,
    /// An app that is not known.
    pub unknown_app: &'static str,
}

/// Which workflows are concerned.
#[derive(Debug)]
pub struct Impacts {
    /// One can't run.
    pub stopped_one: &'static str,
    /// Several can't run.
    pub stopped_some: &'static str,
    /// One uses it.
    pub used_one: &'static str,
    /// Several use it.
    pub used_some: &'static str,
    /// One used it.
    pub was_used_one: &'static str,
    /// Several used it.
    pub was_used_some: &'static str,
    /// What is left out of a list of workflows.
    pub and_more: &'static str,
}

/// Why a connection needs a reconnect.
#[derive(Debug)]
pub struct Reasons {
    /// The app says that the grant has ended.
    pub revoked: &'static str,
    /// It has expired.
    pub expired: &'static str,
    /// An answer was lost.
    pub lost_rotation: &'static str,
    /// There is nothing to renew it with.
    pub refresh_token_missing: &'static str,
    /// The app refuses the credential.
    pub credential_rejected: &'static str,
    /// It belongs to another account.
    pub other_account: &'static str,
    /// It can't be decrypted.
    pub unreadable: &'static str,
}

impl Reasons {
    /// The sentence of a reason.
    pub fn of(&self, reason: ReconnectReason) -> &'static str {
        match reason {
            ReconnectReason::Revoked => self.revoked,
            ReconnectReason::Expired => self.expired,
            ReconnectReason::LostRotation => self.lost_rotation,
            ReconnectReason::RefreshTokenMissing => self.refresh_token_missing,
            ReconnectReason::CredentialRejected => self.credential_rejected,
            ReconnectReason::OtherAccount => self.other_account,
            ReconnectReason::Unreadable => self.unreadable,
        }
    }
}

/// What stands around.
#[derive(Debug)]
pub struct Frame {
    /// Above what needs a person.
    pub needs_you: &'static str,
    /// Above the rest.
    pub also: &'static str,
    /// Links: to the page where a connection is repaired.
    pub reconnect: &'static str,
    /// To a connection.
    pub open: &'static str,
    /// To the setup of an app.
    pub set_up: &'static str,
    /// To a webhook.
    pub open_webhook: &'static str,
    /// To all connections.
    pub show_all: &'static str,
    /// What a digest does not list.
    pub more: &'static str,
    /// Why an admin gets it.
    pub as_admin: &'static str,
    /// Why an owner gets it.
    pub as_owner: &'static str,
    /// To the page where a person chooses what they get.
    pub choose: &'static str,
    /// To the page that ends it.
    pub stop: &'static str,
    /// What a test says.
    pub test: &'static str,
}
