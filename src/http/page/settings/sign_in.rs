//! The identity provider of the workspace: set up in two steps, because its redirect URI follows from its issuer.

use maud::{Markup, html};

use super::super::frame::{copyable_block, csrf_field, head, relative_time, user_text};
use super::fields::{FormErrors, TextField, TextKind, form_errors, text_field};
use super::{SettingsPage, settings_page};
use crate::http::page::PageContext;
use crate::time::Timestamp;

/// What is entered of a provider. The secret never comes back.
#[derive(Debug, Clone, Default)]
pub struct ProviderForm {
    /// The issuer.
    pub issuer: String,
    /// The client id.
    pub client_id: String,
    /// Domains, with spaces.
    pub allowed_domains: String,
    /// Groups, one a line.
    pub admin_groups: String,
}

/// The identity provider.
#[derive(Debug, Clone, Default)]
pub struct ProviderView {
    /// Whether one is set up, and when that was last changed.
    pub since: Option<Timestamp>,
    /// Where people sign in, if one is set up.
    pub sign_in_url: Option<String>,
    /// What to register at the issuer. None until the issuer is known.
    pub redirect_uri: Option<String>,
    /// The form.
    pub form: ProviderForm,
    /// What was refused.
    pub errors: FormErrors,
}

/// The identity provider.
pub fn settings_sign_in(shell: &PageContext, view: &ProviderView) -> Markup {
    let text = &shell.text.provider;
    let labels = [
        ("issuer", text.issuer),
        ("client_id", shell.text.apps.client_id),
        ("client_secret", shell.text.apps.client_secret),
        ("allowed_domains", text.domains),
        ("admin_groups", text.groups),
    ];
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        (form_errors(shell, &view.errors, &labels))
        @if let Some(since) = view.since {
            section.card aria-labelledby="state" {
                h2 #state { (text.set_up) }
                dl {
                    div { dt { (text.issuer) } dd { (user_text(&view.form.issuer)) } }
                    div { dt { (shell.text.apps.changed) } dd { (relative_time(shell, since)) } }
                }
                @if let Some(url) = &view.sign_in_url {
                    h3 #sign-in-url { (text.sign_in_url) }
                    (copyable_block(shell, "sign-in-url", url))
                }
            }
        }
        section.card aria-labelledby="step-1" {
            h2 #step-1 { "1. " (text.step_issuer) }
            form.line method="get" action="/settings/sign-in" role="search" aria-label=(text.step_issuer) {
                label for="issuer-1" { (text.issuer) }
                input #issuer-1 type="text" name="issuer" value=(view.form.issuer) autocomplete="off" autocapitalize="none" spellcheck="false" dir="auto";
                button type="submit" { (text.show_redirect_uri) }
            }
            p.quiet { (text.issuer_hint) }
            @if let Some(uri) = &view.redirect_uri {
                h3 #redirect-uri { (shell.text.apps.redirect_uri) }
                (copyable_block(shell, "redirect-uri", uri))
            }
        }
        @if view.redirect_uri.is_some() { (client_section(shell, view)) }
        @if view.since.is_some() { (removal_section(shell)) }
    };
    settings_page(shell, SettingsPage::SignIn, text.title, &body)
}

fn client_section(shell: &PageContext, view: &ProviderView) -> Markup {
    let (text, form, errors) = (&shell.text.provider, &view.form, &view.errors);
    html! {
        section.card aria-labelledby="step-2" {
            h2 #step-2 { "2. " (text.step_client) }
            form method="post" action="/settings/sign-in" autocomplete="off" {
                (csrf_field(shell))
                (text_field(shell, errors, &TextField::new("issuer", text.issuer, &form.issuer)))
                (text_field(shell, errors, &TextField::new("client_id", shell.text.apps.client_id, &form.client_id)))
                (text_field(shell, errors, &TextField::new("client_secret", shell.text.apps.client_secret, "").hint(text.secret_hint)
                    .kind(TextKind::Secret)))
                (text_field(shell, errors, &TextField::new("allowed_domains", text.domains, &form.allowed_domains)
                    .hint(text.domains_hint).optional()))
                (text_field(shell, errors, &TextField::new("admin_groups", text.groups, &form.admin_groups)
                    .hint(text.groups_hint).optional().kind(TextKind::Lines(3))))
                div.actions { button.primary type="submit" { (shell.text.settings.save) } }
            }
        }
    }
}

fn removal_section(shell: &PageContext) -> Markup {
    let text = &shell.text.provider;
    html! {
        section.card aria-labelledby="remove" {
            h2 #remove { (text.remove) }
            p { (text.remove_about) }
            form method="post" action="/settings/sign-in/remove" {
                (csrf_field(shell))
                button.danger type="submit" { (text.remove) }
            }
        }
    }
}
