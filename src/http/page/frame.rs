//! What all pages share: the frame, and the small pieces they are built of.
//!
//! Owns how people's own words are shown: escaped, isolated from the text around them, and without
//! characters that turn the reading direction. Refuses to know any one page.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use maud::{DOCTYPE, Markup, html};

use super::{Shell, StatusWords, Tone};
use crate::time::Timestamp;

/// A whole page. `body` holds its only `h1`.
pub(super) fn page(shell: &Shell<'_>, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (visible(title)) " – Connections" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header {
                    @if let Some(user) = shell.signed_in_as {
                        a.home href="/" { "Connections" }
                        form.session method="post" action="/sign-out" {
                            (csrf(shell))
                            span { "Signed in as " (said(user)) }
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
pub(super) fn csrf(shell: &Shell<'_>) -> Markup {
    html! {
        @if let Some(value) = shell.csrf {
            input type="hidden" name="csrf" value=(value);
        }
    }
}

/// Somebody's own words within a sentence.
pub(super) fn said(words: &str) -> Markup {
    html! { bdi { (visible(words)) } }
}

/// The same, in quotation marks.
pub(super) fn quoted(words: &str) -> Markup {
    html! { "“" (said(words)) "”" }
}

/// A scope, a workflow, a path: words for machines.
pub(super) fn code(words: &str) -> Markup {
    html! { code { (said(words)) } }
}

/// The account, or that the app does not tell it.
pub(super) fn account(label: Option<&str>) -> Markup {
    html! {
        @match label {
            Some(label) => (said(label)),
            None => span.quiet { "not told by the app" },
        }
    }
}

/// A point in time.
pub(super) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at.rfc3339()) { (readable(at)) } }
}

/// A point in time that may never have come.
pub(super) fn time_or_never(at: Option<Timestamp>) -> Markup {
    html! {
        @match at {
            Some(at) => (time(at)),
            None => "never",
        }
    }
}

fn readable(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp(at.unix(), 0).unwrap_or_default().format("%-d %b %Y, %H:%M UTC").to_string()
}

/// A status in words and colour.
pub(super) fn status(status: &StatusWords) -> Markup {
    html! { span.status.(class(status.tone)) { (visible(&status.words)) } }
}

/// What has just happened, told at the top.
pub(super) fn notice(text: Option<&str>) -> Markup {
    html! {
        @if let Some(text) = text {
            p.notice role="status" { (said(text)) }
        }
    }
}

/// A link, if the address is one a page may lead to: here, or the web. Otherwise only its words.
pub(super) fn link(label: &str, href: &str, class: &str) -> Markup {
    let here = href.starts_with('/') && !href.starts_with("//") && !href.starts_with("/\\");
    html! {
        @if here || href.starts_with("https://") || href.starts_with("http://") {
            a class=(class) href=(href) { (visible(label)) }
        } @else {
            span { (visible(label)) }
        }
    }
}

/// A link to a page of somebody else's, which opens beside this one: what was entered here stays. Otherwise only its words.
pub(super) fn outside(label: &Markup, href: &str) -> Markup {
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

/// What a person should know, before or after.
pub(super) fn warnings(sentences: &[String]) -> Markup {
    html! {
        @if !sentences.is_empty() {
            section.panel.waiting aria-labelledby="warnings" {
                h2 #warnings { "Good to know" }
                @if let [only] = sentences {
                    p { (said(only)) }
                } @else {
                    ul { @for sentence in sentences { li { (said(sentence)) } } }
                }
            }
        }
    }
}

/// A tone's class in the stylesheet.
pub(super) fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Waiting => "waiting",
        Tone::Bad => "bad",
    }
}

/// Text with the invisible characters that could disguise it made visible: those that override or
/// embed a reading direction, and controls.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(disguises) { Cow::Owned(text.replace(disguises, "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn disguises(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
        || (character.is_control() && !character.is_ascii_whitespace())
}
