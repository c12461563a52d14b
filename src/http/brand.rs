//! Branding on the pages of connect links.
//!
//! Owns which answers have it, and that a page with a logo allows images of that logo's origin and no others.

use super::page::{self, Brand, PageContext};
use super::{Call, LOGO_ORIGIN_MARKER, Response};
use crate::branding::Accent;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ports::Ports;
use crate::workspace::Workspace;

/// What the pages of a workspace's links show of it.
pub(super) fn of_workspace<P: Ports>(context: &Context<P>, workspace: &Workspace) -> Option<Brand> {
    let config = &context.config;
    Brand::new(&workspace.branding, &workspace.name, config.public_url.host(), config.egress)
}

/// A page with this branding.
pub(super) fn allow_logo(response: Response, shell: &PageContext) -> Response {
    match shell.brand.as_ref().and_then(Brand::logo_origin) {
        Some(origin) => response.with_header(LOGO_ORIGIN_MARKER, origin),
        None => response,
    }
}

/// The style sheet of a colour. It is the same for everybody who has that colour.
pub(super) async fn get_accent_stylesheet<P: Ports>(_: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let digits = call.path_param(0).strip_suffix(".css");
    let accent = digits.and_then(|digits| Accent::parse(&format!("#{digits}")));
    let accent = accent.ok_or_else(|| Error::not_found("address here"))?;
    Ok(Response::new(200, "text/css; charset=utf-8", page::accent_stylesheet(accent))
        .with_header("cache-control", "public, max-age=31536000, immutable".into()))
}
