//! The page with the question about a grant: another account than before, or one that is connected already.
//!
//! Owns the two answers to each question and their effects. The main answer is the one that changes no workflow. Neither is
//! chosen for the person.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{csrf_field, quoted_text, user_text};
use super::layout::page;
use super::text::{count, fill};

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
    /// Workflows that would act as another account, as far as this person may know them.
    pub workflows: Vec<String>,
    /// Whether there are more.
    pub has_more_workflows: bool,
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
    let text = &shell.text.choose;
    let known = before.is_some() && now.is_some();
    // Two accounts may have the same label. Then the buttons distinguish them with other words.
    let told_apart = before != now;
    let title = if known { text.other_account } else { text.same_account };
    let app = || user_text(&view.app_name);
    let happened = match (known, view.entered_manually) {
        (true, true) => text.other_entered,
        (true, false) => text.other_signed_in,
        (false, true) => text.unknown_entered,
        (false, false) => text.unknown_signed_in,
    };
    let keep = match before {
        Some(before) if known && told_apart => fill(text.keep, &[("account", user_text(before))]),
        _ => html! { (text.keep_as_it_was) },
    };
    let switch = match now {
        Some(now) if told_apart => fill(text.switch, &[("account", user_text(now))]),
        _ => html! { (text.switch_to_new) },
    };
    let now_text = match now {
        Some(now) if told_apart => user_text(now),
        _ => html! { (new_account_text(shell, view)) },
    };
    let kept = match before {
        Some(before) => fill(text.stays_connected, &[("account", user_text(before))]),
        None => fill(text.stays_as_it_was, &[("name", quoted_text(name))]),
    };
    let body = html! {
        h1 { (title) }
        p {
            (fill(happened, &[("app", app()), ("name", quoted_text(name))]))
            @if known && !told_apart { " " (text.same_name) }
        }
        dl.card {
            div { dt { (text.account_before) } dd { (account_or_unknown(shell, before)) } }
            div { dt { (text.account_now) } dd { (account_or_unknown(shell, now)) } }
        }
        (note_panel(view))
        div.choices {
            (choice_form(shell, view, "keep", true, &keep, &html! { p #effect-keep { (kept) " " (discarded(shell, view)) } }))
            (choice_form(shell, view, "switch", false, &switch, &html! {
                div #effect-switch {
                    p { (fill(text.will_act_as, &[("name", quoted_text(name)), ("account", now_text)])) }
                    (affected_workflows(shell, view))
                }
            }))
        }
        (time_limit_note(shell, view))
    };
    page(shell, title, &body)
}

fn affected_workflows(shell: &PageContext, view: &ChooseView) -> Markup {
    let text = &shell.text.choose;
    html! {
        @if let Ok(shown) = i64::try_from(view.workflows.len()) && shown > 0 {
            p { (count(shown, text.affects_one, if view.has_more_workflows { text.affects_more } else { text.affects_some })) }
            ul { @for workflow in &view.workflows { li { (user_text(workflow)) } } }
        }
    }
}

fn duplicate_account_page(shell: &PageContext, view: &ChooseView, account: &str, existing: &str) -> Markup {
    let text = &shell.text.choose;
    let strong = || html! { strong { (user_text(account)) } };
    let happened = if view.entered_manually { text.duplicate_entered } else { text.duplicate_signed_in };
    let reused = if view.entered_manually { text.reuse_entered } else { text.reuse_signed_in };
    let body = html! {
        h1 { (text.duplicate) }
        p {
            (fill(happened, &[("account", strong()), ("app", user_text(&view.app_name))])) " "
            (fill(text.has_it_already, &[("name", quoted_text(existing))]))
        }
        (note_panel(view))
        div.choices {
            (choice_form(shell, view, "reuse", true,
                &fill(text.reuse, &[("name", quoted_text(existing))]), &html! { p #effect-reuse { (reused) } }))
            (choice_form(shell, view, "both", false, &html! { (text.keep_both) }, &html! {
                p #effect-both {
                    (fill(text.both, &[("account", user_text(account)), ("name", quoted_text(existing))]))
                }
            }))
        }
        (time_limit_note(shell, view))
    };
    page(shell, text.duplicate, &body)
}

fn note_panel(view: &ChooseView) -> Markup {
    html! {
        @if let Some(note) = &view.note { p.panel.waiting { (user_text(note)) } }
    }
}

fn account_or_unknown(shell: &PageContext, account: Option<&str>) -> Markup {
    html! { @match account { Some(account) => (user_text(account)), None => (shell.text.choose.account_unknown) } }
}

fn choice_form(
    shell: &PageContext,
    view: &ChooseView,
    value: &str,
    is_main: bool,
    label: &Markup,
    effect: &Markup,
) -> Markup {
    html! {
        form.panel method="post" action=(view.action) {
            (csrf_field(shell))
            (effect)
            button.main[is_main] type="submit" name="choice" value=(value) aria-describedby={ "effect-" (value) } { span { (label) } }
        }
    }
}

fn discarded(shell: &PageContext, view: &ChooseView) -> &'static str {
    if view.entered_manually { shell.text.choose.key_discarded } else { shell.text.choose.permission_discarded }
}

fn new_account_text(shell: &PageContext, view: &ChooseView) -> &'static str {
    if view.entered_manually { shell.text.choose.account_entered } else { shell.text.choose.account_signed_in }
}

fn time_limit_note(shell: &PageContext, view: &ChooseView) -> Markup {
    let text = &shell.text.choose;
    html! { p.quiet { (if view.entered_manually { text.time_entered } else { text.time_signed_in }) } }
}
