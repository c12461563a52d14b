//! Custom apps: a form for the usual ones, and an editor for the whole definition with what its reader refuses.

use maud::{Markup, html};

use super::super::frame::{app_logo, back_link, code_text, csrf_field, empty_list, head, icon, user_text};
use super::super::text::{count, fill};
use super::fields::{Choice, FormErrors, TextField, TextKind, form_errors, select_field, state_field, text_field};
use super::{SettingsPage, settings_page};
use crate::http::page::PageContext;

/// What is entered of a usual app.
#[derive(Debug, Clone, Default)]
pub struct CustomAppForm {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// `issuer`, `addresses` or `api_key`.
    pub method: String,
    /// The issuer.
    pub issuer: String,
    /// Where people consent.
    pub authorize_url: String,
    /// Where tokens come from.
    pub token_url: String,
    /// Where tokens are revoked.
    pub revoke_url: String,
    /// Scopes, with spaces.
    pub scopes: String,
    /// The header with the key.
    pub header: String,
    /// The request that tells the account.
    pub identity_url: String,
    /// The pointer to the account's id.
    pub identity_id: String,
    /// The pointer to the account's label.
    pub identity_label: String,
}

/// A new custom app.
#[derive(Debug, Clone, Default)]
pub struct NewAppView {
    /// The form.
    pub form: CustomAppForm,
    /// The definition, if it was entered as a whole.
    pub definition: String,
    /// What was refused of the form.
    pub errors: FormErrors,
    /// What was refused of the definition: places and problems.
    pub problems: Vec<(String, String)>,
}

/// The custom apps.
#[derive(Debug, Clone, Default)]
pub struct CustomAppsView {
    /// Ids and names.
    pub apps: Vec<(String, String)>,
}

/// A custom app.
#[derive(Debug, Clone, Default)]
pub struct CustomAppView {
    /// Its id and name.
    pub app: (String, String),
    /// Its definition.
    pub definition: String,
    /// The state that the form was filled from.
    pub state: String,
    /// What was refused of it.
    pub problems: Vec<(String, String)>,
    /// Why nothing was saved.
    pub errors: FormErrors,
}

/// What a deletion of a custom app leaves.
#[derive(Debug, Clone, Default)]
pub struct CustomAppDeletionView {
    /// Its id and name.
    pub app: (String, String),
    /// Connections of it, as far as they are shown: ids, names, and how many workflows use each.
    pub connections: Vec<(String, String, i64)>,
    /// Whether there are more.
    pub has_more: bool,
}

/// The custom apps.
pub fn settings_custom_apps(shell: &PageContext, view: &CustomAppsView) -> Markup {
    let text = &shell.text.custom_apps;
    let new = html! { a.button.primary href="/settings/new-app" { (icon("plus")) (text.create) } };
    let body = html! {
        (head(&html! { (text.title) }, &new))
        p { (text.about) }
        @if view.apps.is_empty() {
            (empty_list("apps", text.none, Some((text.create, "/settings/new-app"))))
        } @else {
            ul.grid {
                @for (id, name) in &view.apps {
                    li {
                        a.tile href={ "/settings/custom-apps/" (id) } {
                            (app_logo(id, name, ""))
                            span { strong { (user_text(name)) } small { (user_text(id)) } }
                        }
                    }
                }
            }
        }
    };
    settings_page(shell, SettingsPage::CustomApps, text.title, &body)
}

/// What the reader of a definition refuses, each with its place.
fn problem_list(shell: &PageContext, problems: &[(String, String)]) -> Markup {
    html! {
        @if !problems.is_empty() {
            section.panel.bad role="alert" tabindex="-1" autofocus aria-labelledby="problems" {
                h2 #problems { (shell.text.custom_apps.problems) }
                ul {
                    @for (place, problem) in problems {
                        li { @if !place.is_empty() { a href="#definition" { (code_text(place)) } " " } (user_text(problem)) }
                    }
                }
            }
        }
    }
}

fn editor(shell: &PageContext, problems: &[(String, String)], definition: &str, rows: u8) -> Markup {
    let text = &shell.text.custom_apps;
    let mut errors = FormErrors::default();
    if !problems.is_empty() {
        errors.fields.insert("definition".to_owned(), text.see_problems.to_owned());
    }
    text_field(
        shell,
        &errors,
        &TextField::new("definition", text.definition, definition)
            .hint(text.definition_hint)
            .kind(TextKind::Lines(rows)),
    )
}

/// A new custom app.
pub fn new_app(shell: &PageContext, view: &NewAppView) -> Markup {
    let text = &shell.text.custom_apps;
    let labels = labels(shell);
    let is_whole = !view.definition.is_empty();
    let body = html! {
        (back_link(text.title, "/settings/custom-apps"))
        (head(&html! { (text.create) }, &html! {}))
        (form_errors(shell, &view.errors, &labels))
        (problem_list(shell, &view.problems))
        @if !is_whole { section.card aria-labelledby="usual" { h2 #usual { (text.usual) } (usual_form(shell, view)) } }
        details.fold open[is_whole] {
            summary { (text.whole) }
            p.quiet { (text.whole_about) }
            form method="post" action="/settings/new-app" {
                (csrf_field(shell))
                (editor(shell, &view.problems, &view.definition, 18))
                div.actions { button type="submit" { (text.create) } }
            }
        }
    };
    settings_page(shell, SettingsPage::CustomApps, text.create, &body)
}

fn labels(shell: &PageContext) -> [(&'static str, &'static str); 12] {
    let text = &shell.text.custom_apps;
    [
        ("name", text.name),
        ("id", text.id),
        ("method", text.method),
        ("issuer", text.issuer),
        ("authorize_url", text.authorize_url),
        ("token_url", text.token_url),
        ("revoke_url", text.revoke_url),
        ("scopes", text.scopes),
        ("header", text.header),
        ("identity_url", text.identity_url),
        ("identity_id", text.identity_id),
        ("identity_label", text.identity_label),
    ]
}

fn usual_form(shell: &PageContext, view: &NewAppView) -> Markup {
    let (text, form, errors) = (&shell.text.custom_apps, &view.form, &view.errors);
    let methods = [
        Choice::new("issuer", text.by_issuer),
        Choice::new("addresses", text.by_addresses),
        Choice::new("api_key", text.by_api_key),
    ];
    let field =
        |name, label, value, hint| text_field(shell, errors, &TextField::new(name, label, value).hint(hint).optional());
    html! {
        form method="post" action="/settings/new-app" autocomplete="off" {
            (csrf_field(shell))
            (text_field(shell, errors, &TextField::new("name", text.name, &form.name)))
            (text_field(shell, errors, &TextField::new("id", text.id, &form.id).hint(text.id_hint)))
            (select_field(shell, errors, "method", text.method, Some(text.method_hint), &methods, &form.method))
            fieldset {
                legend { (text.by_issuer) }
                (field("issuer", text.issuer, &form.issuer, text.issuer_hint))
            }
            fieldset {
                legend { (text.by_addresses) }
                (field("authorize_url", text.authorize_url, &form.authorize_url, text.authorize_url_hint))
                (field("token_url", text.token_url, &form.token_url, text.token_url_hint))
                (field("revoke_url", text.revoke_url, &form.revoke_url, text.revoke_url_hint))
            }
            (field("scopes", text.scopes, &form.scopes, text.scopes_hint))
            fieldset {
                legend { (text.by_api_key) }
                (field("header", text.header, &form.header, text.header_hint))
            }
            fieldset {
                legend { (text.account) }
                (field("identity_url", text.identity_url, &form.identity_url, text.identity_url_hint))
                (field("identity_id", text.identity_id, &form.identity_id, text.identity_id_hint))
                (field("identity_label", text.identity_label, &form.identity_label, text.identity_label_hint))
            }
            div.actions { button.primary type="submit" { (text.create) } }
        }
    }
}

/// A custom app.
pub fn settings_custom_app(shell: &PageContext, view: &CustomAppView) -> Markup {
    let text = &shell.text.custom_apps;
    let (id, name) = &view.app;
    let body = html! {
        (back_link(text.title, "/settings/custom-apps"))
        (head(&html! { (app_logo(id, name, "large")) " " (user_text(name)) }, &html! {}))
        (form_errors(shell, &view.errors, &[]))
        (problem_list(shell, &view.problems))
        section.card aria-labelledby="edit" {
            h2 #edit { (text.edit) }
            p.quiet { (text.edit_about) }
            form method="post" action={ "/settings/custom-apps/" (id) } {
                (csrf_field(shell))
                (state_field(&view.state))
                (editor(shell, &view.problems, &view.definition, 24))
                div.actions {
                    button.primary type="submit" { (shell.text.settings.save) }
                    a.button href={ "/settings/apps/" (id) } { (shell.text.apps.client) }
                }
            }
        }
        section.card aria-labelledby="delete" {
            h2 #delete { (text.delete) }
            p { (text.delete_about) }
            a.button.danger href={ "/settings/custom-apps/" (id) "/delete" } { (shell.text.apps.delete_look) }
        }
    };
    settings_page(shell, SettingsPage::CustomApps, name, &body)
}

/// What a deletion of a custom app leaves, and the button.
pub fn custom_app_deletion(shell: &PageContext, view: &CustomAppDeletionView) -> Markup {
    let text = &shell.text.custom_apps;
    let (id, name) = &view.app;
    let page = format!("/settings/custom-apps/{id}");
    let number = i64::try_from(view.connections.len()).unwrap_or(i64::MAX);
    let body = html! {
        (back_link(name, &page))
        (head(&html! { (fill(text.delete_title, &[("app", user_text(name))])) }, &html! {}))
        p { (text.delete_about) }
        @if view.connections.is_empty() { p { (text.delete_unused) } }
        @else {
            div.notice.waiting {
                (icon("alert"))
                div {
                    p { (count(number, text.goes_on_one, text.goes_on_some)) }
                    ul {
                        @for (id, name, workflows) in &view.connections {
                            li {
                                a.way href={ "/connections/" (id) } { (user_text(name)) } " "
                                span.quiet { (count(*workflows, shell.text.people.one_workflow, shell.text.people.some_workflows)) }
                            }
                        }
                        @if view.has_more { li { (shell.text.apps.and_more) } }
                    }
                }
            }
        }
        form method="post" action={ (page) "/delete" } {
            (csrf_field(shell))
            div.actions {
                button.danger type="submit" { (text.delete) }
                a.button href=(page) { (shell.text.settings.cancel) }
            }
        }
    };
    settings_page(shell, SettingsPage::CustomApps, text.delete, &body)
}
