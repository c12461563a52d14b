//! The head of the pages that people with a connect link see, if the workspace has branding.
//!
//! Owns that it never stands alone: it has the workspace and the installation, which the frame names beside it, so that the
//! page passes for nobody else's. Refuses a logo that is not permitted any more.

use crate::branding::{Accent, Branding};
use crate::egress::{EgressPolicy, EgressUrl};

/// What the head shows.
#[derive(Debug, Clone)]
pub struct Brand {
    pub(super) name: Option<String>,
    pub(super) logo: Option<EgressUrl>,
    pub(super) accent: Option<Accent>,
    pub(super) workspace: String,
    pub(super) installation: String,
}

impl Brand {
    /// The head of a workspace's pages at this host of the installation. None: nothing was set.
    pub fn new(of: &Branding, workspace: &str, installation: &str, egress: EgressPolicy) -> Option<Self> {
        // It was accepted when it was stored; the operator may have changed what is permitted.
        let logo = of.logo_url.as_ref().and_then(|url| EgressUrl::parse(url, egress).ok());
        (!of.is_empty()).then(|| Self {
            name: of.name.clone(),
            logo,
            accent: of.accent,
            workspace: workspace.to_owned(),
            installation: installation.to_owned(),
        })
    }

    /// Where the logo comes from: the only images of the page.
    pub fn logo_origin(&self) -> Option<String> {
        self.logo.as_ref().map(EgressUrl::origin)
    }
}

/// The style sheet of a colour: that of the main button, and of nothing that stands on the page's own colours. The text on it
/// has the colour that can be read.
pub fn accent_stylesheet(accent: Accent) -> String {
    let text = accent.text_colour();
    format!(
        ":root {{ --brand: {accent}; --on-brand: {text}; }}\n\
         .main, .main:hover {{ border-color: var(--edge); background: var(--brand); color: var(--on-brand); }}\n"
    )
}
