//! What all pages share: the frame, and small parts.
//!
//! Owns how untrusted text is shown: escaped, isolated from the text around it, and without characters that change the
//! reading direction. Independent of any single page.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::{PageContext, StatusLabel, Tone};
use crate::http::assets::asset;
use crate::time::Timestamp;

/// A whole page. `body` contains its only `h1`.
pub(super) fn page(shell: &PageContext<'_>, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (reveal_control_characters(title)) " – Connections" }
                link rel="stylesheet" href=(asset!("style.css"));
                link rel="icon" href=(asset!("favicon.svg")) type="image/svg+xml";
            }
            body {
                header {
                    @if let Some(user) = shell.signed_in_as {
                        a.home href="/" { "Connections" }
                        form.session method="post" action="/sign-out" {
                            (csrf_field(shell))
                            span { "Signed in as " (user_text(user)) }
                            button type="submit" { "Sign out" }
                        }
                    } @else {
                        span.home { "Connections" }
                    }
                }
                main { (body) }
            }
        }
    }
}

/// The hidden field of every form that changes something.
pub(super) fn csrf_field(shell: &PageContext<'_>) -> Markup {
    html! {
        @if let Some(value) = shell.csrf {
            input type="hidden" name="csrf" value=(value);
        }
    }
}

/// Untrusted text within a sentence.
pub(super) fn user_text(words: &str) -> Markup {
    html! { bdi { (reveal_control_characters(words)) } }
}

/// The same, in quotation marks.
pub(super) fn quoted_text(words: &str) -> Markup {
    html! { "“" (user_text(words)) "”" }
}

/// A scope, a workflow, a path: text for machines.
pub(super) fn code_text(words: &str) -> Markup {
    html! { code { (user_text(words)) } }
}

/// The account, or that it is unknown.
pub(super) fn account_label(label: Option<&str>) -> Markup {
    html! {
        @match label {
            Some(label) => (user_text(label)),
            None => span.quiet { "account unknown" },
        }
    }
}

/// A point in time.
pub(super) fn time_element(at: Timestamp) -> Markup {
    html! { time datetime=(at.rfc3339()) { (format_time(at)) } }
}

/// A point in time, or that there is none.
pub(super) fn time_or_never(at: Option<Timestamp>) -> Markup {
    html! {
        @match at {
            Some(at) => (time_element(at)),
            None => "never",
        }
    }
}

fn format_time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp(at.unix(), 0).unwrap_or_default().format("%-d %b %Y, %H:%M UTC").to_string()
}

/// A status as text with a colour.
pub(super) fn status_badge(status: &StatusLabel) -> Markup {
    html! { span.status.(tone_class(status.tone)) { (reveal_control_characters(&status.text)) } }
}

/// The notice about what just happened, at the top.
pub(super) fn notice_banner(text: Option<&str>) -> Markup {
    html! {
        @if let Some(text) = text {
            p.notice role="status" { (user_text(text)) }
        }
    }
}

/// A link, if the address is on this site or https. Otherwise only its text.
pub(super) fn link(label: &str, href: &str, class: &str) -> Markup {
    let here = href.starts_with('/') && !href.starts_with("//") && !href.starts_with("/\\");
    html! {
        @if here || href.starts_with("https://") || href.starts_with("http://") {
            a class=(class) href=(href) { (reveal_control_characters(label)) }
        } @else {
            span { (reveal_control_characters(label)) }
        }
    }
}

/// A link to another site, which opens in a new tab, so that the input here is kept. Otherwise only its text.
pub(super) fn external_link(label: &Markup, href: &str) -> Markup {
    html! {
        @if href.starts_with("https://") || href.starts_with("http://") {
            a.outside href=(href) target="_blank" rel="noreferrer noopener" {
                (label) span.quiet { " (opens in a new tab)" }
            }
        } @else {
            span { (label) }
        }
    }
}

/// Notes for a person.
pub(super) fn warnings_section(sentences: &[String]) -> Markup {
    html! {
        @if !sentences.is_empty() {
            section.panel.waiting aria-labelledby="warnings" {
                h2 #warnings { "Good to know" }
                @if let [only] = sentences {
                    p { (user_text(only)) }
                } @else {
                    ul { @for sentence in sentences { li { (user_text(sentence)) } } }
                }
            }
        }
    }
}

/// A tone's class in the stylesheet.
pub(super) fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Waiting => "waiting",
        Tone::Bad => "bad",
    }
}

/// Text with its invisible characters made visible, if they could disguise it: those that override or embed a reading
/// direction, and controls.
pub(super) fn reveal_control_characters(text: &str) -> Cow<'_, str> {
    if text.contains(is_control_character) {
        Cow::Owned(text.replace(is_control_character, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn is_control_character(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || (character.is_control() && !character.is_ascii_whitespace())
}
