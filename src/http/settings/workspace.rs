//! The workspace, for admins.

use super::super::notices::redirect_with_notice;
use super::super::page::{self, FormErrors, Notice, NoticeCode, WorkspaceView};
use super::super::{Call, Response};
use super::{correctable, field, given, is_restored, shell};
use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;
use crate::preconditions::IfMatch;
use crate::workspaces::{self, BrandingPatch, WorkspacePatch};

const FIELDS: [&str; 5] = ["name", "allowed_origins", "branding_name", "branding_logo_url", "branding_accent"];

pub(in crate::http) async fn show_settings_workspace_page<P: Ports>(
    context: &Context<P>,
    call: &Call<'_>,
) -> Result<Response> {
    let workspace = workspaces::load_workspace(context, &call.session()?.workspace).await?;
    let view = WorkspaceView {
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
    match workspaces::update_workspace(context, id, patch, &call.user_actor()?, &IfMatch::Anything).await {
        Ok(_) => {
            let notice = Notice { code: NoticeCode::Saved, about: String::new() };
            Ok(redirect_with_notice(context, call.request, "/settings/workspace", &notice))
        }
        Err(error) => {
            let shell = shell(context, call);
            let (status, errors) = correctable(shell.text, error, &FIELDS)?;
            let view = WorkspaceView {
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
