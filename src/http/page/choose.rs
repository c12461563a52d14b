//! The page that asks what becomes of a grant: another account came back, or one that is there already.
//!
//! Owns the two answers to each question and what each one does. Neither is chosen for the person.

use maud::{Markup, html};

use super::Shell;
use super::frame::{csrf, page, quoted, said};

/// The page that asks what becomes of a grant.
#[derive(Debug, Clone)]
pub struct ChooseView {
    /// The app's name.
    pub app_name: String,
    /// Where the forms post; the field `choice` holds the answer.
    pub action: String,
    /// The question.
    pub question: Choosing,
    /// Whether the grant is a credential that was pasted, rather than a consent at the app.
    pub pasted: bool,
    /// What to know before answering, such as why two connections to one account disturb each other.
    pub note: Option<String>,
}

/// What a person is asked.
#[derive(Debug, Clone)]
pub enum Choosing {
    /// Another account came back than the connection had: `keep` or `switch`.
    OtherAccount {
        /// The account before, if known.
        before: Option<String>,
        /// The account now, if known.
        now: Option<String>,
        /// The connection's name.
        name: String,
    },
    /// The account is already connected: `reuse` or `both`.
    Duplicate {
        /// The account.
        account: String,
        /// The name of the connection that is there already.
        existing_name: String,
    },
}

/// The page that asks what becomes of a grant.
pub fn choose(shell: &Shell<'_>, view: &ChooseView) -> Markup {
    match &view.question {
        Choosing::OtherAccount { before, now, name } => {
            other_account(shell, view, before.as_deref(), now.as_deref(), name)
        }
        Choosing::Duplicate { account, existing_name } => duplicate(shell, view, account, existing_name),
    }
}

fn other_account(shell: &Shell<'_>, view: &ChooseView, before: Option<&str>, now: Option<&str>, name: &str) -> Markup {
    let known = before.is_some() && now.is_some();
    // Two accounts may well have one label: then the buttons say which is which in other words.
    let told_apart = before != now;
    let title = if known { "This is another account" } else { "Is this the same account?" };
    let body = html! {
        h1 { (title) }
        p {
            @if known {
                @if view.pasted {
                    "What you entered is of another account at " (said(&view.app_name)) " than the connection "
                    (quoted(name)) " had before."
                } @else {
                    "You signed in to " (said(&view.app_name)) " with another account than the connection "
                    (quoted(name)) " had before."
                }
                @if !told_apart { " Both have the same name there." }
            } @else {
                (said(&view.app_name)) " does not tell enough to compare " (new_account(view)) " to the one that the "
                "connection " (quoted(name)) " had before."
            }
        }
        dl {
            div { dt { "Account before" } dd { (or_unknown(before)) } }
            div { dt { "Account now" } dd { (or_unknown(now)) } }
        }
        (note(view))
        div.choices {
            (answer(shell, view, "keep",
                &html! { @if known && told_apart { "Keep " (or_unknown(before)) } @else { "Keep it as it was" } },
                &html! {
                    @match before {
                        Some(before) => { (said(before)) " stays connected; " },
                        None => { (quoted(name)) " stays as it was; " },
                    }
                    (new_grant(view)) " is discarded."
                },
            ))
            (answer(shell, view, "switch",
                &html! {
                    @match now {
                        Some(now) if told_apart => { "Switch to " (said(now)) },
                        _ => "Switch to the new account",
                    }
                 },
                &html! {
                    "Every workflow that uses " (quoted(name)) " will act as "
                    @match now {
                        Some(now) if told_apart => (said(now)),
                        _ => (new_account(view)),
                    }
                    " from now on."
                },
            ))
        }
        (until_then(view))
    };
    page(shell, title, &body)
}

fn duplicate(shell: &Shell<'_>, view: &ChooseView, account: &str, existing: &str) -> Markup {
    let body = html! {
        h1 { "This account is already connected" }
        p {
            @if view.pasted {
                "What you entered is of the account " strong { (said(account)) } " at " (said(&view.app_name)) ". "
            } @else {
                "You signed in to " (said(&view.app_name)) " as " strong { (said(account)) } ". "
            }
            "The connection " (quoted(existing)) " has that account already."
        }
        (note(view))
        div.choices {
            (answer(shell, view, "reuse",
                &html! { "Reuse " (quoted(existing)) },
                &html! {
                    "The existing connection gets " (new_grant(view))
                    @if !view.pasted { ", or stays as it is if it has more permissions already" }
                    ". No second one is made."
                },
            ))
            (answer(shell, view, "both",
                &html! { "Keep both" },
                &html! {
                    "A second connection to " (said(account)) " is made. Workflows that use " (quoted(existing))
                    " go on as before."
                },
            ))
        }
        (until_then(view))
    };
    page(shell, "This account is already connected", &body)
}

fn note(view: &ChooseView) -> Markup {
    html! {
        @if let Some(note) = &view.note { p.panel.waiting { (said(note)) } }
    }
}

fn or_unknown(account: Option<&str>) -> Markup {
    html! { @match account { Some(account) => (said(account)), None => "not told by the app" } }
}

fn answer(shell: &Shell<'_>, view: &ChooseView, value: &str, label: &Markup, effect: &Markup) -> Markup {
    html! {
        form.panel method="post" action=(view.action) {
            (csrf(shell))
            p id={ "effect-" (value) } { (effect) }
            button.main type="submit" name="choice" value=(value) aria-describedby={ "effect-" (value) } { (label) }
        }
    }
}

/// What a person has just given, in words.
fn new_grant(view: &ChooseView) -> &'static str {
    if view.pasted { "the new key" } else { "the new permission" }
}

fn new_account(view: &ChooseView) -> &'static str {
    if view.pasted { "the account of what you just entered" } else { "the account you just signed in with" }
}

fn until_then(view: &ChooseView) -> Markup {
    html! {
        p.quiet {
            "Nothing changes until you choose. Ten minutes after "
            @if view.pasted { "you entered it, " } @else { "you came back from the app, " }
            (new_grant(view)) " is discarded."
        }
    }
}
