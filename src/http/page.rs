//! The pages, as pure functions from plain views to HTML.
//!
//! Owns every text and element that a person sees. Contains no I/O, inline scripts, inline styles or secrets: a view never contains a token, and maud escapes all text. Every change of state is a form's POST with the
//! session's anti-forgery token; links only navigate. A page's view is next to its HTML; this file has what several
//! pages show.

mod app_catalogue;
mod auth_methods;
mod brand;
mod bulk;
mod choose;
mod connect;
mod connection;
mod connection_forms;
mod connection_list;
mod connection_settings;
mod consent;
mod emails;
mod evidence;
mod form;
mod frame;
mod history;
mod hosts;
mod layout;
mod manual;
mod message;
mod notice;
mod popup;
mod settings;
mod recently_disconnected;
mod review;
mod setup;
mod sign_in;
mod text;
mod try_resolve;
#[cfg(test)]
mod tests;
mod workflow;

pub use app_catalogue::{AppTile, CatalogueView, app_catalogue};
pub use auth_methods::{AuthMethodsView, MethodCard, MethodStep, auth_methods};
pub use brand::{Brand, accent_stylesheet};
pub use bulk::{
    BulkConfirmView, BulkFields, BulkImpactRow, BulkOffer, BulkProblem, BulkProgressView, BulkResultView,
    BulkShareView, bulk_confirm, bulk_progress, bulk_result, bulk_share, nothing_selected,
};
pub use choose::{ChoiceQuestion, ChooseView, choose};
pub use connect::{ConnectView, connect};
pub use connection::{
    AccessSource, ChangePermission, ConnectionView, ExtendedBy, Machinery, NextAction, OwnerView, ScopeView, UseView,
    connection,
};
pub use connection_forms::{
    ConnectionForm, ConnectionFormView, ConnectionIdentity, DisconnectView, OtherConnection, OwnerChoice, RejectedForm,
    ReplacementView, SharingView, connection_form,
};
pub use connection_list::{
    ConnectionListView, FilterChoice, ListFilters, PagesOfList, SortLink, StatusTab, connection_list,
};
pub use connection_settings::SettingsView;
pub use consent::{AuthMethodChoice, ConsentDetails};
pub use emails::{PersonalEmailView, StopEmailView, personal_email, stop_email};
pub use evidence::Evidence;
pub use form::{FormError, FormField, HeldScope, INPUT_PREFIX, ScopeChoice, field_name};
pub use frame::format_date;
pub use history::{CheckResult, HistoryActor, HistoryEntry, HistoryWhat};
pub use hosts::{HOSTS_FINGERPRINT_FIELD, HostsView};
pub use manual::{ManualCredentialView, manual_credential};
pub use message::{Message, OtherPersonView, message, other_person, refusal_message};
pub use notice::{Notice, NoticeCode};
pub use popup::{PopupOutcome, popup_outcome};
pub use recently_disconnected::RecentlyDisconnected;
pub use review::{NameSuggestion, ReviewGroupView, ReviewRow, ReviewView, review};
pub use settings::{
    ActivityFilters, ActivityId, ActivityRow, ActivityView, AppRow, AppState, AppsView, Choice, ClientDeletionView,
    ClientForm, ClientPageView, ClientSummary, CustomAppDeletionView, CustomAppForm, CustomAppView, CustomAppsView,
    DefaultRow, DefaultView, DefaultsView, DeliveryRow, DetailPart, DisconnectAllView, EmailSettingsView, EmailTest,
    EventOption, EventsOnlyView, EventsView, FormErrors, HandshakeView, InviteForm, JobView, KeyForm, KeyRow, KeyView,
    KeysView, LimitChoice, LinkForm, LinkRow, LinksView, NewAppView, NewInviteView, NewKeyView, NewLinkView,
    NewWebhookView, OpenedHandshakeView, OwnedConnection, PendingSignIn, PeopleView, PersonRow, PersonView,
    ProviderForm, ProviderView, STATE_FIELD, ScopeOption, SessionRow, SessionsView, TestResult, WebhookForm,
    WebhookRow, WebhookView, WebhooksView, WorkspaceView, activity, client_deletion, client_page, custom_app_deletion,
    disconnect_all, disconnect_job, events_only_page, new_app, new_invite, new_key, new_link, new_webhook,
    opened_handshake, person_href, settings_apps, settings_custom_app, settings_custom_apps, settings_default,
    settings_defaults, settings_email, settings_key, settings_keys, settings_links, settings_people, settings_person,
    settings_sessions, settings_sign_in, settings_webhook, settings_webhooks, settings_workspace,
};
pub use setup::{SetupCall, SetupView, setup};
pub use sign_in::{
    ProviderSignInView, SignInChoice, SignInRequiredView, SignInView, provider_sign_in, sign_in, sign_in_required,
};
pub use text::{ENGLISH, Texts, count, fill_plain};
pub use try_resolve::{TryAnswer, TryView, try_resolve};
pub use workflow::{
    StepView, WorkflowConnectionView, WorkflowRow, WorkflowView, WorkflowsView, workflow, workflow_list,
};

use crate::time::Timestamp;

/// The data of every page's frame.
#[derive(Debug, Clone)]
pub struct PageContext {
    /// The words.
    pub text: &'static Texts,
    /// When the page is made.
    pub now: Timestamp,
    /// Who is signed in. None in a link's session.
    pub person: Option<SignedInPerson>,
    /// The session's anti-forgery token, in every form that changes something.
    pub csrf: Option<String>,
    /// Whose the forms of the page are: what is kept of one after its session ended is shown to nobody else.
    pub whose: Option<String>,
    /// What has just happened.
    pub notice: Option<Notice>,
    /// Another text each time a page is made: a form with it is handled once.
    pub form_id: Option<String>,
    /// What the page of a link shows of the product that sent its person here.
    pub brand: Option<Brand>,
    /// Whether this installation can send e-mail.
    pub has_email: bool,
    /// Whether the page may load a script.
    pub has_scripts: bool,
}

/// The frame while the configuration can't be used. Such a page shows no time, and no script may run on it: scripts are
/// permitted by the address of this installation, which is not known.
impl Default for PageContext {
    fn default() -> Self {
        Self { has_scripts: false, ..Self::signed_out(Timestamp::from_unix(0)) }
    }
}

impl PageContext {
    /// The frame for somebody who is not signed in.
    pub fn signed_out(now: Timestamp) -> Self {
        Self {
            text: &ENGLISH,
            now,
            person: None,
            csrf: None,
            whose: None,
            notice: None,
            form_id: None,
            brand: None,
            has_email: false,
            has_scripts: true,
        }
    }

    /// Whether a form is shown again that was sent after its session had ended.
    pub fn shows_form_again(&self) -> bool {
        self.notice.as_ref().is_some_and(|notice| notice.code == NoticeCode::FormRestored)
    }

    /// Whether an admin is signed in.
    pub fn is_admin(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.is_admin)
    }
}

/// Who is signed in.
#[derive(Debug, Clone)]
pub struct SignedInPerson {
    /// Their name.
    pub name: String,
    /// Whether they may administer the workspace.
    pub is_admin: bool,
}

/// The part of the site that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// The list of connections, and each connection.
    Connections,
    /// The apps that can be connected.
    Connect,
    /// What needs attention.
    Review,
    /// Workflows and what they use.
    Workflows,
    /// The audit log, for admins.
    Activity,
    /// The administration, for admins.
    Settings,
}

/// How good the news is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// It works.
    Good,
    /// Waiting for somebody or something.
    Waiting,
    /// A person must do something.
    Bad,
    /// Neither.
    Info,
}

/// A status for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusLabel {
    /// Such as "Connected".
    pub text: String,
    /// Its colour, which is never the only sign.
    pub tone: Tone,
}

/// The one thing that a row of a list offers first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAction {
    /// Consent again.
    Reconnect,
    /// Enter a new key.
    NewKey,
    /// Ask the app whether it works.
    Check,
}

/// A connection as lists show it.
#[derive(Debug, Clone)]
pub struct ConnectionSummary {
    /// Id, as in `/connections/{id}`.
    pub id: String,
    /// Name.
    pub name: String,
    /// The app's id.
    pub app: String,
    /// The app's name.
    pub app_name: String,
    /// The account's label. `None` if it is unknown.
    pub account_label: Option<String>,
    /// Status.
    pub status: StatusLabel,
    /// Why it has that status, and what else needs attention, in sentences.
    pub attention: Vec<String>,
    /// When a credential was last returned.
    pub last_used_at: Option<Timestamp>,
    /// Workflows that used it.
    pub workflows: i64,
    /// Whose it is.
    pub owner: String,
    /// Its environment, or empty.
    pub environment: String,
    /// Whether it is a default.
    pub is_default: bool,
    /// Whether the person may change it.
    pub may_change: bool,
    /// What is offered first.
    pub action: RowAction,
}
