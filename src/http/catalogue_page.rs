//! The page *Connect an app*: all apps that a workspace knows, and what each needs before it can be connected.
//!
//! Owns which apps come first. Connects nothing: each app leads to its own page.

use super::page::{self, AppTile, CatalogueView};
use super::page_frame::page_context;
use super::{Call, Response, input};
use crate::app_list::{self, AppList, AppReadiness, ListedApp};
use crate::context::Context;
use crate::error::Result;
use crate::ports::Ports;

/// Apps of the catalogue that most teams look for, the most wanted one first.
const POPULAR: [&str; 9] =
    ["slack", "gmail", "google-sheets", "notion", "google-drive", "hubspot", "outlook", "github", "google-calendar"];

pub(super) async fn show_catalogue_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let shell = page_context(context, call.request, Some(session));
    let AppList { apps, clients } = app_list::load_app_list(context, &session.workspace).await?;
    let tile = |one: &ListedApp| {
        let readiness = one.readiness(&clients);
        AppTile {
            id: one.id().to_owned(),
            name: one.name().to_owned(),
            auth_methods: one.auth_method_names(),
            categories: one.categories(),
            readiness,
            href: match readiness {
                AppReadiness::NeedsSetup if shell.is_admin() => format!("/settings/apps/{}", one.id()),
                _ => format!("/oauth/start/{}", one.id()),
            },
            is_custom: matches!(one, ListedApp::Custom(_)),
            popularity: POPULAR.iter().position(|id| *id == one.id()),
        }
    };
    let view = CatalogueView {
        apps: apps.iter().map(tile).collect(),
        search: given(call, "q"),
        category: given(call, "category"),
    };
    Ok(Response::html(200, page::app_catalogue(&shell, &view)))
}

fn given(call: &Call<'_>, name: &str) -> Option<String> {
    input::query_param(call.request, name).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_popular_app_is_in_the_catalogue() {
        for id in POPULAR {
            assert!(crate::catalogue::ids().any(|known| known == id), "{id}");
        }
    }
}
