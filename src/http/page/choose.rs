//! The page with the question about a grant: another account than before, or one that is connected already.
//!
//! Owns the two answers to each question and their effects. Neither is preselected.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{csrf_field, quoted_text, user_text};
use super::layout::page;

/// The page with the question about a grant.
#[derive(Debug, Clone)]
pub struct ChooseView {
    /// The app's name.
    pub app_name: String,
    /// Where the forms post. The field `choice` has the answer.
    pub action: String,
    /// The question.
    pub question: ChoiceQuestion,
    /// Whether the grant is a manual credential and not a consent at the app.
    pub entered_manually: bool,
    /// A note before the answer, such as why two connections to one account interfere with each other.
    pub note: Option<String>,
}

/// The question.
#[derive(Debug, Clone)]
pub enum ChoiceQuestion {
    /// Another account than the connection's: `keep` or `switch`.
    OtherAccount {
        /// The previous account, if it is known.
        account_before: Option<String>,
        /// The new account, if it is known.
        account_now: Option<String>,
        /// The connection's name.
        connection_name: String,
    },
    /// The account is already connected: `reuse` or `both`.
    Duplicate {
        /// The account.
        account: String,
        /// The name of the existing connection.
        existing_connection_name: String,
    },
}

/// The page with the question about a grant.
pub fn choose(shell: &PageContext, view: &ChooseView) -> Markup {
    match &view.question {
        ChoiceQuestion::OtherAccount { account_before: before, account_now: now, connection_name: name } => {
            other_account_page(shell, view, before.as_deref(), now.as_deref(), name)
        }
        ChoiceQuestion::Duplicate { account, existing_connection_name: existing_name } => {
            duplicate_account_page(shell, view, account, existing_name)
        }
    }
}

fn other_account_page(
    shell: &PageContext,
    view: &ChooseView,
    before: Option<&str>,
    now: Option<&str>,
    name: &str,
) -> Markup {
    let known = before.is_some() && now.is_some();
    // Two accounts may have the same label. Then the buttons distinguish them with other words.
    let told_apart = before != now;
    let title = if known { "This is another account" } else { "Is this the same account?" };
    let body = html! {
        h1 { (title) }
        p {
            @if known {
                @if view.entered_manually {
                    "What you entered is of another account at " (user_text(&view.app_name)) " than the connection "
                    (quoted_text(name)) " had before."
                } @else {
                    "You signed in to " (user_text(&view.app_name)) " with another account than the connection "
                    (quoted_text(name)) " had before."
                }
                @if !told_apart { " Both have the same name there." }
            } @else {
                (user_text(&view.app_name)) " does not return enough information to compare " (new_account_text(view)) " to the one that the "
                "connection " (quoted_text(name)) " had before."
            }
        }
        dl {
            div { dt { "Account before" } dd { (account_or_unknown(before)) } }
            div { dt { "Account now" } dd { (account_or_unknown(now)) } }
        }
        (note_panel(view))
        div.choices {
            (choice_form(shell, view, "keep",
                &html! { @if known && told_apart { "Keep " (account_or_unknown(before)) } @else { "Keep it as it was" } },
                &html! {
                    @match before {
                        Some(before) => { (user_text(before)) " stays connected; " },
                        None => { (quoted_text(name)) " stays as it was; " },
                    }
                    (new_grant_text(view)) " is discarded."
                },
            ))
            (choice_form(shell, view, "switch",
                &html! {
                    @match now {
                        Some(now) if told_apart => { "Switch to " (user_text(now)) },
                        _ => "Switch to the new account",
                    }
                 },
                &html! {
                    "Every workflow that uses " (quoted_text(name)) " will act as "
                    @match now {
                        Some(now) if told_apart => (user_text(now)),
                        _ => (new_account_text(view)),
                    }
                    " from now on."
                },
            ))
        }
        (time_limit_note(view))
    };
    page(shell, title, &body)
}

fn duplicate_account_page(shell: &PageContext, view: &ChooseView, account: &str, existing: &str) -> Markup {
    let body = html! {
        h1 { "This account is already connected" }
        p {
            @if view.entered_manually {
                "What you entered is of the account " strong { (user_text(account)) } " at " (user_text(&view.app_name)) ". "
            } @else {
                "You signed in to " (user_text(&view.app_name)) " as " strong { (user_text(account)) } ". "
            }
            "The connection " (quoted_text(existing)) " has that account already."
        }
        (note_panel(view))
        div.choices {
            (choice_form(shell, view, "reuse",
                &html! { "Reuse " (quoted_text(existing)) },
                &html! {
                    "The existing connection gets " (new_grant_text(view))
                    @if !view.entered_manually { ", or stays as it is if it has more permissions already" }
                    ". No second one is made."
                },
            ))
            (choice_form(shell, view, "both",
                &html! { "Keep both" },
                &html! {
                    "A second connection to " (user_text(account)) " is made. Workflows that use " (quoted_text(existing))
                    " go on as before."
                },
            ))
        }
        (time_limit_note(view))
    };
    page(shell, "This account is already connected", &body)
}

fn note_panel(view: &ChooseView) -> Markup {
    html! {
        @if let Some(note) = &view.note { p.panel.waiting { (user_text(note)) } }
    }
}

fn account_or_unknown(account: Option<&str>) -> Markup {
    html! { @match account { Some(account) => (user_text(account)), None => "account unknown" } }
}

fn choice_form(shell: &PageContext, view: &ChooseView, value: &str, label: &Markup, effect: &Markup) -> Markup {
    html! {
        form.panel method="post" action=(view.action) {
            (csrf_field(shell))
            p id={ "effect-" (value) } { (effect) }
            button.main type="submit" name="choice" value=(value) aria-describedby={ "effect-" (value) } { (label) }
        }
    }
}

/// What a person has just granted or entered, as text.
fn new_grant_text(view: &ChooseView) -> &'static str {
    if view.entered_manually { "the new key" } else { "the new permission" }
}

fn new_account_text(view: &ChooseView) -> &'static str {
    if view.entered_manually { "the account of what you just entered" } else { "the account you just signed in with" }
}

fn time_limit_note(view: &ChooseView) -> Markup {
    html! {
        p.quiet {
            "Nothing changes until you choose. Ten minutes after "
            @if view.entered_manually { "you entered it, " } @else { "you came back from the app, " }
            (new_grant_text(view)) " is discarded."
        }
    }
}
