//! The page before a consent, or with the form for a manual credential.
//!
//! Owns how connect options become a page: scopes to tick, values to enter, help, warnings, the other auth methods.
//! Never sends a secret back: to correct something, a person enters it again.

use super::form_words::words_of_problem;
use super::page::{self, FormError, FormField, HeldScope, PageContext, ScopeChoice};
use super::page_frame::page_context;
use super::{Call, LEADS_TO_APP_MARKER, Response, brand, input, problem};
use crate::app::{AuthMethod, CredentialField, Variable, VariableSource, field_path, variable_path};
use crate::connect::start::{ConnectOptions, ConnectRequest, setup_page_path};
use crate::connections::GrantUsage;
use crate::consent::{self, AuthMethodOption, ConsentSummary, MethodChoices};
use crate::context::Context;
use crate::error::{Error, ErrorCode, Result};
use crate::ports::Ports;
use crate::workspace::Role;

/// The page for connect options, with errors if the person has just tried.
pub(super) async fn render_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    request: &ConnectRequest,
    options: &ConnectOptions,
    refused: Option<&Error>,
) -> Result<Response> {
    let summary = consent::load_consent_summary(context, request, options).await?;
    // A person with a link is anonymous here, whoever else is signed in.
    let brand = request.link.as_ref().and_then(|_| brand::of_workspace(context, &summary.workspace));
    let shell = page_context(context, call.request, call.session.as_ref().filter(|_| request.link.is_none()));
    let shell = PageContext { brand, ..shell };
    let asking = ConsentPage {
        call,
        request,
        options,
        error: refused,
        warnings: list_warnings(shell.text, request, options, summary.grant_usage),
        summary,
        text: shell.text,
    };
    let markup = if options.auth_method.kind.is_manual() {
        page::manual_credential(&shell, &asking.manual_credential_view())
    } else {
        page::connect(&shell, &asking.connect_view())
    };
    let status = refused.map_or(200, |error| problem::status_and_title(error.code).0);
    let response = Response::html(status, markup).with_header(LEADS_TO_APP_MARKER, String::new());
    Ok(brand::allow_logo(response, &shell))
}

/// The page that asks for an auth method, because the recommended one, or the one that was asked for, can't be used.
pub(super) async fn render_auth_method_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    request: &ConnectRequest,
    refused: Option<&Error>,
) -> Result<Response> {
    let MethodChoices { workspace, app, connection, auth_methods } =
        consent::load_method_choices(context, request).await?;
    let brand = request.link.as_ref().and_then(|_| brand::of_workspace(context, &workspace));
    let shell = page_context(context, call.request, call.session.as_ref().filter(|_| request.link.is_none()));
    let shell = PageContext { brand, ..shell };
    let card = |option: &AuthMethodOption| page::MethodCard {
        name: option.auth_method.display_name(),
        kind: option.auth_method.kind,
        is_recommended: option.recommended && app.auth_methods().len() > 1,
        addresses_changed: option.addresses_changed,
        next: method_step(context, &shell, call, request, &workspace.name, option),
    };
    let view = page::AuthMethodsView {
        consent: page::ConsentDetails {
            workspace: workspace.name.clone(),
            app: app.id.to_string(),
            app_name: app.name.clone(),
            existing_connection: connection.map(|one| (one.name, one.account.map(|account| account.label))),
            for_user: intended_user(request),
            by_link: request.link.is_some(),
        },
        methods: auth_methods.iter().map(card).collect(),
        cancel_href: cancel_href(request),
    };
    let status = refused.map_or(200, |error| problem::status_and_title(error.code).0);
    Ok(brand::allow_logo(Response::html(status, page::auth_methods(&shell, &view)), &shell))
}

/// How one auth method goes on for this person.
fn method_step<P: Ports>(
    context: &Context<P>,
    shell: &PageContext,
    call: &Call<'_>,
    request: &ConnectRequest,
    workspace: &str,
    option: &AuthMethodOption,
) -> page::MethodStep {
    let AuthMethodOption { auth_method, ready, .. } = option;
    if *ready {
        return page::MethodStep::Use(format!("{}?auth_method={}", call.request.path, auth_method.method_id));
    }
    if request.link.is_some() {
        return page::MethodStep::AskSender;
    }
    let here = admin_setup_path(auth_method);
    if shell.is_admin() {
        return page::MethodStep::SetUp(here);
    }
    let name = auth_method.display_name();
    let url = context.config.public_url.at(&here);
    let values = [("app", auth_method.app_name.as_str()), ("method", &name), ("workspace", workspace), ("url", &url)];
    let text = &shell.text.methods;
    let request = if option.addresses_changed { text.request_again } else { text.request };
    let request = page::fill_plain(request, &values);
    page::MethodStep::AskAdmin { request, href: setup_page_path(auth_method) }
}

/// The page on which an admin enters the client of an auth method.
fn admin_setup_path(auth_method: &AuthMethod) -> String {
    format!("/settings/apps/{}?auth_method={}", auth_method.app_id, auth_method.method_id)
}

fn intended_user(request: &ConnectRequest) -> Option<String> {
    request.link.as_ref().and(request.user.as_ref()).map(|user| user.display_name().to_owned())
}

fn cancel_href(request: &ConnectRequest) -> Option<String> {
    request.link.is_none().then(|| match &request.connection {
        Some(id) => format!("/connections/{id}"),
        None => "/connect".to_owned(),
    })
}

fn list_warnings(
    text: &page::Texts,
    request: &ConnectRequest,
    options: &ConnectOptions,
    grants: Option<GrantUsage>,
) -> Vec<String> {
    let auth_method = &options.auth_method;
    let mut warnings: Vec<String> = auth_method.deprecated.iter().chain(&auth_method.limits.notes).cloned().collect();
    // The permissions of a key are chosen at the app, when it is created.
    if let Some(scopes) =
        request.scopes.as_ref().filter(|scopes| !auth_method.kind.uses_oauth_server() && !scopes.is_empty())
    {
        warnings.push(page::fill_plain(text.consent.must_allow, &[("scopes", &scopes.join(", "))]));
    }
    warnings.extend(grants.map(|grants| grant_limit_warning(text, auth_method, grants)));
    warnings
}

/// The warning that an account's grants are near the app's limit for one client, as far as this workspace knows.
pub(super) fn grant_limit_warning(
    text: &page::Texts,
    auth_method: &AuthMethod,
    GrantUsage { live, limit }: GrantUsage,
) -> String {
    let values = [("app", auth_method.app_name.as_str()), ("limit", &limit.to_string()), ("live", &live.to_string())];
    page::fill_plain(text.consent.grants_end, &values)
}

/// The data of the page.
struct ConsentPage<'a> {
    call: &'a Call<'a>,
    request: &'a ConnectRequest,
    options: &'a ConnectOptions,
    error: Option<&'a Error>,
    summary: ConsentSummary,
    warnings: Vec<String>,
    text: &'static page::Texts,
}

impl ConsentPage<'_> {
    fn auth_method(&self) -> &AuthMethod {
        &self.options.auth_method
    }

    fn form_action(&self) -> String {
        let request = self.call.request;
        if request.query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, request.query) }
    }

    fn cancel_href(&self) -> Option<String> {
        cancel_href(self.request)
    }

    fn intended_user(&self) -> Option<String> {
        intended_user(self.request)
    }

    fn existing_connection(&self) -> Option<(String, Option<String>)> {
        let connection = self.options.connection.as_ref()?;
        Some((connection.name.clone(), connection.account.as_ref().map(|account| account.label.clone())))
    }

    fn scopes_are_fixed(&self) -> bool {
        self.request.link.as_ref().is_some_and(|link| link.scopes.is_some())
    }

    fn consent_details(&self) -> page::ConsentDetails {
        page::ConsentDetails {
            workspace: self.summary.workspace.name.clone(),
            app: self.auth_method().app_id.to_string(),
            app_name: self.auth_method().app_name.clone(),
            existing_connection: self.existing_connection(),
            for_user: self.intended_user(),
            by_link: self.request.link.is_some(),
        }
    }

    fn connect_view(&self) -> page::ConnectView {
        page::ConnectView {
            consent: self.consent_details(),
            scopes: self.scope_choices(),
            scopes_are_fixed: self.scopes_are_fixed(),
            fields: self.variable_fields(),
            form_error: self.form_error(),
            connect_help: self
                .auth_method()
                .oauth_server()
                .map(|server| server.connect_help.clone())
                .unwrap_or_default(),
            warnings: self.warnings.clone(),
            auth_methods: self.auth_method_choices(),
            form_action: self.form_action(),
            authorize_host: self.summary.authorize_host.clone(),
            hosts: self.hosts_view(),
            cancel_href: self.cancel_href(),
        }
    }

    fn manual_credential_view(&self) -> page::ManualCredentialView {
        let mut inputs = self.variable_fields();
        inputs.extend(self.auth_method().fields.iter().map(|field| self.credential_field(field)));
        let name = input::form_field(self.call.request, "name").unwrap_or_default();
        page::ManualCredentialView {
            consent: self.consent_details(),
            credential_kind: self.auth_method().display_name(),
            fields: inputs,
            scopes: if self.auth_method().issues_tokens() { self.scope_choices() } else { vec![] },
            scopes_are_fixed: self.scopes_are_fixed(),
            connection_name: name,
            name_error: self.field_error("name"),
            form_error: self.form_error(),
            warnings: self.warnings.clone(),
            auth_methods: self.auth_method_choices(),
            form_action: self.form_action(),
            hosts: self.hosts_view(),
            cancel_href: self.cancel_href(),
        }
    }

    fn hosts_view(&self) -> page::HostsView {
        let hosts = &self.summary.hosts;
        page::HostsView {
            app_name: self.auth_method().app_name.clone(),
            all_hosts: hosts.all.iter().cloned().collect(),
            added_hosts: hosts.added.iter().cloned().collect(),
            non_default_hosts: hosts.non_default.iter().cloned().collect(),
            defining_workspace: self.auth_method().is_custom.then(|| self.summary.workspace.name.clone()),
            fingerprint: hosts.fingerprint.clone(),
        }
    }

    /// The ways to connect: each leads to its own page, or to where its client is set up.
    fn auth_method_choices(&self) -> Vec<page::AuthMethodChoice> {
        let choice = |option: &AuthMethodOption| {
            let AuthMethodOption { auth_method, ready, recommended, .. } = option;
            page::AuthMethodChoice {
                name: auth_method.display_name(),
                href: if *ready {
                    format!("{}?auth_method={}", self.call.request.path, auth_method.method_id)
                } else if self.request.role == Role::Admin {
                    admin_setup_path(auth_method)
                } else {
                    setup_page_path(auth_method)
                },
                ready: *ready,
                recommended: *recommended,
                current: auth_method.method_id == self.auth_method().method_id,
            }
        };
        self.summary.auth_methods.iter().map(choice).collect()
    }

    /// Permissions to tick: all known ones of the app, and other requested ones.
    fn scope_choices(&self) -> Vec<ScopeChoice> {
        let had = self.options.connection.as_ref();
        let held = |id: &String| match had {
            Some(had) if had.scopes_granted.contains(id) => HeldScope::Granted,
            Some(had) if had.scopes_requested.contains(id) => HeldScope::Missing,
            _ => HeldScope::Unasked,
        };
        let known = &self.auth_method().scopes;
        let choices = known.iter().map(|scope| ScopeChoice {
            id: scope.id.clone(),
            description: scope.description.clone(),
            sensitive: scope.sensitive.clone(),
            required: scope.required,
            checked: self.options.scopes.contains(&scope.id),
            held: held(&scope.id),
        });
        let others = self.options.scopes.iter().filter(|id| known.iter().all(|scope| scope.id != **id));
        let others =
            others.map(|id| ScopeChoice { id: id.clone(), checked: true, held: held(id), ..ScopeChoice::default() });
        choices.chain(others).filter(|one| one.checked || !self.scopes_are_fixed()).collect()
    }

    fn variable_fields(&self) -> Vec<FormField> {
        let asked = self.auth_method().variables.iter().filter(|(_, one)| one.source == VariableSource::Person);
        asked.map(|(name, variable)| self.variable_field(name, variable)).collect()
    }

    fn variable_field(&self, name: &str, variable: &Variable) -> FormField {
        let had =
            self.options.connection.as_ref().and_then(|one| one.variables.get(name)).or(variable.default.as_ref());
        FormField {
            id: name.to_owned(),
            label: variable.label.clone(),
            help: variable.help.clone(),
            placeholder: variable.example.clone(),
            value: self.request.variables.get(name).or(had).cloned(),
            error: self.field_error(&variable_path(name)),
            ..FormField::default()
        }
    }

    fn credential_field(&self, field: &CredentialField) -> FormField {
        let entered = || input::form_field(self.call.request, &page::field_name(&field.id));
        FormField {
            id: field.id.clone(),
            label: field.label.clone(),
            help: field.help.clone(),
            url: field.url.clone(),
            secret: field.secret,
            optional: field.optional,
            multiline: field.multiline,
            placeholder: field.placeholder.clone(),
            value: if field.secret { None } else { entered() },
            error: self.field_error(&field_path(&field.id)),
        }
    }

    fn field_error(&self, field: &str) -> Option<String> {
        let found = self.error?.hints.errors.iter().find(|one| one.field == field)?;
        let words = if field == "name" { self.text.manual.wrong_name } else { "" };
        Some(words_of_problem(self.text, &found.problem, words))
    }

    /// The error of the whole form, only if it is not shown at the fields.
    fn form_error(&self) -> Option<FormError> {
        let refused = self.error?;
        let title = match refused.code {
            ErrorCode::CredentialRejected => {
                page::fill_plain(self.text.form.rejected, &[("app", &self.auth_method().app_name)])
            }
            ErrorCode::AppUnavailable => self.text.form.not_saved.to_owned(),
            _ => self.text.form.correct_marked.to_owned(),
        };
        let marked = &refused.hints.errors;
        let said_at_fields = !marked.is_empty() && marked.iter().all(|one| self.has_field(&one.field));
        Some(FormError {
            title,
            text: if said_at_fields { String::new() } else { refused.detail.clone() },
            is_unreachable: refused.code == ErrorCode::AppUnavailable,
        })
    }

    fn has_field(&self, field: &str) -> bool {
        let auth_method = self.auth_method();
        let entered = auth_method.kind.is_manual()
            && (field == "name" || auth_method.fields.iter().any(|one| field_path(&one.id) == field));
        let asked =
            |(name, one): (&String, &Variable)| one.source == VariableSource::Person && variable_path(name) == field;
        entered || auth_method.variables.iter().any(asked)
    }
}
