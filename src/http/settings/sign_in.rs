//! The identity provider of the workspace, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{self, FormErrors, Notice, NoticeCode, ProviderForm, ProviderView, Texts};
use super::super::{Call, Response, input};
use super::{FieldWords, correctable, explain_address, field, is_restored, shell};
use crate::context::Context;
use crate::error::{ErrorCode, Result};
use crate::identity::{self, NewProvider};
use crate::ports::Ports;
use crate::secret::Secret;

/// What a provider answers is said as it was found.
fn field_words(text: &Texts) -> [FieldWords<'static>; 5] {
    let words = &text.provider;
    [
        ("issuer", ""),
        ("client_id", words.wrong_client_id),
        ("client_secret", words.wrong_client_secret),
        ("allowed_domains", words.wrong_domains),
        ("admin_groups", words.wrong_groups),
    ]
}

/// What is set up, with what was entered in the place of it.
async fn build_view<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
    entered: Option<ProviderForm>,
) -> Result<ProviderView> {
    let workspace = &call.session()?.workspace;
    let provider = match identity::get_provider(context, workspace).await {
        Ok(provider) => Some(provider),
        Err(error) if error.code == ErrorCode::NotFound => None,
        Err(error) => return Err(error),
    };
    let stored = provider.as_ref().map(|provider| ProviderForm {
        issuer: provider.issuer.clone(),
        client_id: provider.client_id.clone(),
        allowed_domains: provider.allowed_domains.join(" "),
        admin_groups: provider.admin_groups.join("\n"),
    });
    let form = entered.or(stored).unwrap_or_default();
    let uri = |issuer: &str| identity::redirect_uri(context, &identity::provider_id(workspace, issuer));
    Ok(ProviderView {
        since: provider.as_ref().map(|provider| provider.updated_at),
        sign_in_url: provider.as_ref().map(|_| identity::sign_in_url(context, workspace)),
        redirect_uri: Some(form.issuer.as_str()).filter(|issuer| !issuer.is_empty()).map(uri),
        form,
        errors: FormErrors::default(),
    })
}

pub(in crate::http) async fn show_settings_sign_in_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let mut view = build_view(context, call, is_restored(call).then(|| read_form(call))).await?;
    if let Some(issuer) = input::query_param(call.request, "issuer")
        && issuer != view.form.issuer
        && !is_restored(call)
    {
        let form = ProviderForm { issuer: issuer.trim().to_owned(), ..ProviderForm::default() };
        view = build_view(context, call, Some(form)).await?;
    }
    Ok(Response::html(200, page::settings_sign_in(&shell(context, call), &view)))
}

fn read_form(call: &Call<'_>) -> ProviderForm {
    ProviderForm {
        issuer: field(call, "issuer"),
        client_id: field(call, "client_id"),
        allowed_domains: field(call, "allowed_domains"),
        admin_groups: field(call, "admin_groups"),
    }
}

pub(in crate::http) async fn put_provider<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let form = read_form(call);
    let new = NewProvider {
        issuer: form.issuer.clone(),
        client_id: form.client_id.clone(),
        client_secret: Secret::new(field(call, "client_secret")),
        allowed_domains: form
            .allowed_domains
            .split([' ', ',', '\n'])
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect(),
        admin_groups: form
            .admin_groups
            .lines()
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    match identity::put_provider(context, &call.session()?.workspace, new, &call.user_actor()?).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            Ok(redirect_with_notice(context, call.request, "/settings/sign-in", &notice))
        }
        Err(error) => {
            let shell = shell(context, call);
            let (status, mut errors) = correctable(shell.text, error, &field_words(shell.text))?;
            explain_address(shell.text, context.config.egress, &mut errors, "issuer", &form.issuer);
            let view = ProviderView { errors, ..build_view(context, call, Some(form)).await? };
            Ok(Response::html(status, page::settings_sign_in(&shell, &view)))
        }
    }
}

pub(in crate::http) async fn remove_provider<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    identity::delete_provider(context, &call.session()?.workspace, &call.user_actor()?).await?;
    let notice = Notice { code: NoticeCode::ProviderRemoved, about: String::new() };
    Ok(redirect_with_notice(context, call.request, "/settings/sign-in", &notice))
}
