//! The pages of the administration: their frame, with the navigation at the side.
//!
//! Owns which pages there are. Each is for admins alone: the routes say so.

mod activity;
mod apps;
mod custom_apps;
mod defaults;
mod emails;
mod emergency;
mod fields;
mod keys;
mod links;
mod list;
mod people;
mod sessions;
mod sign_in;
mod webhooks;
mod workspace;

pub use activity::{ActivityFilters, ActivityId, ActivityRow, ActivityView, DetailPart, activity};
pub use apps::{
    AppRow, AppState, AppsView, ClientDeletionView, ClientForm, ClientPageView, ClientSummary, EventsOnlyView,
    EventsView, HandshakeView, OpenedHandshakeView, TestResult, client_deletion, client_page, events_only_page,
    opened_handshake, settings_apps,
};
pub use custom_apps::{
    CustomAppDeletionView, CustomAppForm, CustomAppView, CustomAppsView, NewAppView, custom_app_deletion, new_app,
    settings_custom_app, settings_custom_apps,
};
pub use defaults::{DefaultRow, DefaultView, DefaultsView, settings_default, settings_defaults};
pub use emails::{EmailSettingsView, EmailTest, settings_email};
pub use emergency::{DisconnectAllView, JobView, disconnect_all, disconnect_job};
pub(super) use fields::state_field;
pub use fields::{Choice, FormErrors, STATE_FIELD};
pub use keys::{
    KeyForm, KeyRow, KeyView, KeysView, LimitChoice, NewKeyView, ScopeOption, new_key, settings_key, settings_keys,
};
pub use links::{LinkForm, LinkRow, LinksView, NewLinkView, new_link, settings_links};
pub use people::{
    InviteForm, NewInviteView, OwnedConnection, PeopleView, PersonRow, PersonView, new_invite, person_href,
    settings_people, settings_person,
};
pub use sessions::{PendingSignIn, SessionRow, SessionsView, settings_sessions};

pub use sign_in::{ProviderForm, ProviderView, settings_sign_in};
pub use webhooks::{
    DeliveryRow, EventOption, NewWebhookView, WebhookForm, WebhookRow, WebhookView, WebhooksView, new_webhook,
    settings_webhook, settings_webhooks,
};
pub use workspace::{WorkspaceView, settings_workspace};

use maud::{Markup, html};

use super::frame::icon;
use super::layout::section_page;
use super::{PageContext, Section};

/// A page of the administration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettingsPage {
    /// Apps and their OAuth clients.
    Apps,
    /// Custom apps.
    CustomApps,
    /// API keys.
    Keys,
    /// Connect links.
    Links,
    /// People.
    People,
    /// Sessions and sign-in links.
    Sessions,
    /// The identity provider.
    SignIn,
    /// The workspace.
    Workspace,
    /// Default connections.
    Defaults,
    /// Webhooks.
    Webhooks,
    /// E-mail.
    Email,
}

/// A page of the administration. `body` contains its only `h1`.
pub(super) fn settings_page(shell: &PageContext, current: SettingsPage, title: &str, body: &Markup) -> Markup {
    let framed = html! {
        div.columns.settings {
            (side_navigation(shell, current))
            div { (body) }
        }
    };
    section_page(shell, Section::Settings, title, &framed)
}

fn side_navigation(shell: &PageContext, current: SettingsPage) -> Markup {
    let text = &shell.text.settings;
    let pages = [
        (SettingsPage::Apps, "/settings/apps", "apps", text.nav_apps),
        (SettingsPage::CustomApps, "/settings/custom-apps", "plus", text.nav_custom_apps),
        (SettingsPage::Keys, "/settings/keys", "key", text.nav_keys),
        (SettingsPage::Links, "/settings/links", "link", text.nav_links),
        (SettingsPage::People, "/settings/people", "people", text.nav_people),
        (SettingsPage::Sessions, "/settings/sessions", "shield", text.nav_sessions),
        (SettingsPage::SignIn, "/settings/sign-in", "person", text.nav_sign_in),
        (SettingsPage::Workspace, "/settings/workspace", "gear", text.nav_workspace),
        (SettingsPage::Defaults, "/settings/defaults", "list", text.nav_defaults),
        (SettingsPage::Webhooks, "/settings/webhooks", "bell", text.nav_webhooks),
        (SettingsPage::Email, "/settings/email", "inbox", text.nav_email),
    ];
    html! {
        nav aria-label=(text.navigation) {
            ul.side {
                @for (page, href, picture, name) in pages {
                    li { a href=(href) aria-current=[(page == current).then_some("page")] { (icon(picture)) (name) } }
                }
            }
        }
    }
}
