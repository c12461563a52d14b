//! The form for a credential that a person pastes: a key, a token, a key file.
//!
//! Owns the words about what becomes of it. Refuses to show a secret, even the one that was just entered:
//! after a mistake secrets are entered again.

use maud::{Markup, html};

use super::ask::{Ask, how_to_end, other_ways, who_asks};
use super::form::{described_by, fields, mistake, mistakes, scopes, summary};
use super::frame::{csrf, link, page, quoted, said, warnings};
use super::hosts::where_it_goes;
use super::{HostsView, Input, Problem, ScopeChoice, Shell, Way};
use crate::connect::settle::LONGEST_NAME;

/// The form for a pasted credential.
#[derive(Debug, Clone)]
pub struct PasteView {
    /// The workspace that asks.
    pub workspace: String,
    /// The app's name.
    pub app_name: String,
    /// What kind of credential it is, as people call it ("API key").
    pub kind: String,
    /// What is to be entered: the fields of the credential and variables of the app.
    pub inputs: Vec<Input>,
    /// Scopes that can be asked for; empty where the credential itself says what it allows.
    pub scopes: Vec<ScopeChoice>,
    /// Whether whoever made the link chose the scopes, so that the person can't.
    pub scopes_fixed: bool,
    /// The connection that gets another key: its name and account.
    pub replacing: Option<(String, Option<String>)>,
    /// What the new connection is to be called (the field `name`); empty when nothing was entered.
    pub name: String,
    /// Why the name was not accepted.
    pub name_error: Option<String>,
    /// Why the form was not accepted.
    pub problem: Option<Problem>,
    /// What a person should know first, such as the app's limits: a sentence each.
    pub warnings: Vec<String>,
    /// All ways to connect the app, this one included.
    pub ways: Vec<Way>,
    /// Whose the connection will be, where that is not plain: through a link, `None` means the whole workspace's.
    pub for_user: Option<String>,
    /// Whether the person came by a link somebody sent.
    pub invited: bool,
    /// Where the form posts.
    pub action: String,
    /// The hosts that get a secret.
    pub hosts: HostsView,
    /// Where a change of mind leads.
    pub cancel: Option<String>,
}

/// The form for a pasted credential.
pub fn paste(shell: &Shell<'_>, view: &PasteView) -> Markup {
    let mut wrong = mistakes(&view.inputs);
    if let Some(error) = view.name_error.as_deref().filter(|_| view.replacing.is_none()) {
        wrong.push(("name".to_owned(), NAME, error));
    }
    let refused = view.problem.is_some() || !wrong.is_empty();
    let ask = ask(view);
    let body = html! {
        (summary(view.problem.as_ref(), &wrong))
        h1 {
            @match &view.replacing {
                Some((name, _)) => { "New key for " (quoted(name)) },
                None => { "Connect " (said(&view.app_name)) },
            }
        }
        (who_asks(&ask))
        (warnings(&view.warnings))
        form.whole method="post" action=(view.action) autocomplete="off" {
            (csrf(shell))
            section aria-labelledby="credential" {
                h2 #credential { (said(&view.kind)) }
                @if refused && view.inputs.iter().any(|input| input.secret) {
                    p { "For your safety nothing secret was kept: enter it again." }
                }
                (fields(&view.inputs))
            }
            (where_it_goes(&view.hosts, "What you enter is sent to these hosts and no others:"))
            (permissions(view))
            @if view.replacing.is_none() { (name(view)) }
            (what_follows(view))
            div.actions {
                button.main type="submit" { "Check and save" }
                @if let Some(cancel) = &view.cancel { (link("Cancel", cancel, "button")) }
            }
        }
        @if view.cancel.is_none() {
            p.quiet { "Don’t want this? Close this page. Nothing is stored until you save." }
        }
        (how_to_end(&ask))
        (other_ways(&view.ways))
    };
    page(shell, &title(view, refused), &body)
}

/// A screen reader says the title first: it tells that the form is back.
fn title(view: &PasteView, refused: bool) -> String {
    let title = match &view.replacing {
        Some((name, _)) => format!("New key for {name}"),
        None => format!("Connect {}", view.app_name),
    };
    if refused { format!("Not accepted: {title}") } else { title }
}

fn ask(view: &PasteView) -> Ask<'_> {
    Ask {
        workspace: &view.workspace,
        app_name: &view.app_name,
        renewing: view.replacing.as_ref(),
        for_user: view.for_user.as_deref(),
        invited: view.invited,
        same_account: "Enter a key of that one. If it is of another, you are asked what to do before anything changes.",
    }
}

fn permissions(view: &PasteView) -> Markup {
    html! {
        @if !view.scopes.is_empty() {
            section aria-labelledby="scopes" {
                h2 #scopes { "What it asks for" }
                (scopes(&view.scopes, view.scopes_fixed))
            }
        }
    }
}

const NAME: &str = "Name of the connection";

fn name(view: &PasteView) -> Markup {
    let error = view.name_error.as_deref();
    let described = described_by("name", true, error.is_some());
    html! {
        div.field.wrong[error.is_some()] {
            label for="name" { (NAME) " (optional)" }
            p.hint #name-hint { "Left empty, it is named after the app and the account." }
            (mistake("name", error))
            input #name type="text" name="name" value=(view.name) maxlength=(LONGEST_NAME) autocomplete="off" dir="auto"
                aria-invalid=[error.map(|_| "true")] aria-describedby=[described.as_deref()];
        }
    }
}

fn what_follows(view: &PasteView) -> Markup {
    html! {
        section aria-labelledby="next" {
            h2 #next { "What happens next" }
            p {
                "It is checked with " strong { (said(&view.app_name)) } " before anything is saved. It is kept encrypted and "
                "no page shows it again. Workflow steps of the workspace " strong { (said(&view.workspace)) } " can use it."
            }
            p {
                "Such a key allows whatever it was made for: where " (said(&view.app_name)) " lets you choose, give it only "
                "what the workflows need, and make one for this purpose alone, so that you can revoke it alone."
            }
        }
    }
}
