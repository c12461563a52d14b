//! The workspace, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{self, FormErrors, Notice, NoticeCode, Texts, WorkspaceView};
use super::super::{Call, Response};
use super::{FieldWords, correctable, explain_address, field, given, is_restored, seen_state, shell, state_to_show};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::preconditions::ReadState;
use crate::workspaces::{self, BrandingPatch, WorkspacePatch};

fn field_words<'a>(text: &'static Texts, origins: &'a str) -> [FieldWords<'a>; 5] {
    let words = &text.workspace;
    [
        ("name", text.settings.wrong_name),
        ("allowed_origins", origins),
        ("branding_name", words.wrong_brand_name),
        ("branding_logo_url", words.wrong_logo),
        ("branding_accent", words.wrong_accent),
    ]
}

/// What is wrong with the sites that were entered: the first one that can't be used, or that there are too many.
fn words_of_origins(text: &Texts, entered: &str, error: &Error) -> String {
    let position = |field: &str| field.strip_prefix("allowed_origins[")?.strip_suffix(']')?.parse::<usize>().ok();
    let wrong = error.hints.errors.iter().find_map(|one| position(&one.field));
    match wrong.and_then(|at| entered.split_whitespace().nth(at)) {
        Some(origin) => page::fill_plain(text.workspace.wrong_origin, &[("origin", origin)]),
        None => text.workspace.too_many_origins.to_owned(),
    }
}

pub(in crate::http) async fn show_settings_workspace_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let workspace = workspaces::load_workspace(context, &call.session()?.workspace).await?;
    let view = WorkspaceView {
        state: state_to_show(call, 200, ReadState::of_workspace(&workspace).tag),
        id: workspace.id.to_string(),
        origins: workspace.allowed_origins.join("\n"),
        name: workspace.name,
        brand_name: workspace.branding.name.unwrap_or_default(),
        logo_url: workspace.branding.logo_url.unwrap_or_default(),
        accent: workspace.branding.accent.map(|accent| accent.to_string()).unwrap_or_default(),
        example_origin: context.config.public_url.origin().to_owned(),
        errors: FormErrors::default(),
    };
    let view = if is_restored(call) {
        WorkspaceView {
            name: field(call, "name"),
            origins: field(call, "allowed_origins"),
            brand_name: field(call, "branding_name"),
            logo_url: field(call, "branding_logo_url"),
            accent: field(call, "branding_accent"),
            ..view
        }
    } else {
        view
    };
    Ok(Response::html(200, page::settings_workspace(&shell(context, call), &view)))
}

pub(in crate::http) async fn change_workspace<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let id = &call.session()?.workspace;
    let (name, origins) = (field(call, "name"), field(call, "allowed_origins"));
    let list = origins.split_whitespace().map(str::to_owned).collect();
    let branding = ["branding_name", "branding_logo_url", "branding_accent"].map(|name| given(call, name));
    let [brand_name, logo_url, accent] = branding;
    // An empty field removes what was set.
    let branding = if brand_name.is_none() && logo_url.is_none() && accent.is_none() {
        None
    } else {
        Some(BrandingPatch {
            name: Some(brand_name.clone()),
            logo_url: Some(logo_url.clone()),
            accent: Some(accent.clone()),
        })
    };
    let patch = WorkspacePatch { name: Some(name.clone()), allowed_origins: Some(list), branding: Some(branding) };
    match workspaces::update_workspace(context, id, patch, &call.user_actor()?, &seen_state(call)).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            Ok(redirect_with_notice(context, call.request, "/settings/workspace", &notice))
        }
        Err(error) => {
            let shell = shell(context, call);
            let wrong_origins = words_of_origins(shell.text, &origins, &error);
            let (status, mut errors) = correctable(shell.text, error, &field_words(shell.text, &wrong_origins))?;
            let logo = logo_url.as_deref().unwrap_or_default();
            explain_address(shell.text, context.config.egress, &mut errors, "branding_logo_url", logo);
            let now = workspaces::load_workspace(context, id).await?;
            let view = WorkspaceView {
                state: state_to_show(call, status, ReadState::of_workspace(&now).tag),
                id: id.to_string(),
                name,
                origins,
                brand_name: brand_name.unwrap_or_default(),
                logo_url: logo_url.unwrap_or_default(),
                accent: accent.unwrap_or_default(),
                example_origin: context.config.public_url.origin().to_owned(),
                errors,
            };
            Ok(Response::html(status, page::settings_workspace(&shell, &view)))
        }
    }
}
