//! The workspace: its name, and the sites that links may lead back to.

use maud::{Markup, html};

use super::super::frame::{code_text, csrf_field, head};
use super::super::text::fill_plain;
use super::fields::{FormErrors, TextField, TextKind, form_errors, state_field, text_field};
use super::{SettingsPage, settings_page};
use crate::http::page::PageContext;

/// The workspace.
#[derive(Debug, Clone, Default)]
pub struct WorkspaceView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Origins, one a line.
    pub origins: String,
    /// An origin, as an example.
    pub example_origin: String,
    /// The name of the branding.
    pub brand_name: String,
    /// The address of the logo.
    pub logo_url: String,
    /// The colour.
    pub accent: String,
    /// The state that the form was filled from.
    pub state: String,
    /// What was refused.
    pub errors: FormErrors,
}

/// The workspace.
pub fn settings_workspace(shell: &PageContext, view: &WorkspaceView) -> Markup {
    let text = &shell.text.workspace;
    let errors = &view.errors;
    let origins_hint = fill_plain(text.origins_hint, &[("origin", &view.example_origin)]);
    let labels = [
        ("name", text.name),
        ("allowed_origins", text.origins),
        ("branding_name", text.brand_name),
        ("branding_logo_url", text.logo_url),
        ("branding_accent", text.accent),
    ];
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        (form_errors(shell, errors, &labels))
        section.card aria-labelledby="workspace" {
            h2 #workspace { (text.about) }
            form method="post" action="/settings/workspace" {
                (csrf_field(shell))
                (state_field(&view.state))
                (text_field(shell, errors, &TextField::new("name", text.name, &view.name).hint(text.name_hint)))
                (text_field(shell, errors, &TextField::new("allowed_origins", text.origins, &view.origins)
                    .hint(&origins_hint).optional().kind(TextKind::Lines(4))))
                h3 { (text.branding) }
                p.quiet { (text.branding_about) }
                (text_field(shell, errors, &TextField::new("branding_name", text.brand_name, &view.brand_name).optional()))
                (text_field(shell, errors, &TextField::new("branding_logo_url", text.logo_url, &view.logo_url)
                    .hint(text.logo_hint).optional()))
                (text_field(shell, errors, &TextField::new("branding_accent", text.accent, &view.accent).hint(text.accent_hint).optional()))
                div.actions { button.primary type="submit" { (shell.text.settings.save) } }
            }
            p.quiet.small { (text.id) " " (code_text(&view.id)) }
        }
    };
    settings_page(shell, SettingsPage::Workspace, text.title, &body)
}
