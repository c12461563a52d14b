//! Small parts that pages share: icons, times, untrusted text, texts to copy.
//!
//! Owns how untrusted text is shown: escaped, isolated from the text around it, and without characters that change the
//! reading direction.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use maud::{Markup, html};

use super::text::count;
use super::{PageContext, StatusLabel, Texts, Tone};
use crate::http::assets::{asset, has_logo};
use crate::time::Timestamp;

/// A drawing that repeats what a text next to it says.
pub(super) fn icon(name: &str) -> Markup {
    html! { svg.icon aria-hidden="true" focusable="false" { use href={ (asset!("icons.svg")) "#" (name) } {} } }
}

/// The logo of an app of the catalogue, or the first letter of its name.
pub(super) fn app_logo(id: &str, name: &str, class: &str) -> Markup {
    html! {
        span.logo.(class) aria-hidden="true" {
            @if has_logo(id) {
                svg focusable="false" { use href={ (asset!("logos.svg")) "#" (id) } {} }
            } @else {
                (name.chars().find(|letter| letter.is_alphanumeric()).map_or('?', |letter| letter.to_ascii_uppercase()))
            }
        }
    }
}

/// A column of a table: its heading, and a class of the stylesheet with its width. One column of a table has no width (`""`)
/// and takes what is left. No column is as wide as the rows make it: those that arrive later would move the others.
pub(super) type Column<'a> = (&'a str, &'static str);

/// The headings of columns.
pub(super) fn column_heads(columns: &[Column<'_>]) -> Markup {
    html! { @for (title, width) in columns { th.(width) scope="col" { (title) } } }
}

/// A page's heading with what can be done on it.
pub(super) fn head(title: &Markup, actions: &Markup) -> Markup {
    html! {
        div.head {
            div { h1 { (title) } }
            @if !actions.0.is_empty() { div { (actions) } }
        }
    }
}

/// An environment in words. One of a later version has none.
pub(super) fn environment_words(text: &Texts, environment: &str) -> Option<&'static str> {
    match environment {
        "production" => Some(text.connection.production),
        "test" => Some(text.connection.test),
        _ => None,
    }
}

/// A large drawing beside a text that says the same.
pub(super) fn picture(name: &str) -> Markup {
    html! { svg.icon.picture aria-hidden="true" focusable="false" { use href={ (asset!("icons.svg")) "#" (name) } {} } }
}

/// What is shown in the place of a list that is empty: a picture, a sentence, and what to do.
pub(super) fn empty_list(drawing: &str, sentence: &str, button: Option<(&str, &str)>) -> Markup {
    html! {
        div.empty {
            (picture(drawing))
            p { (sentence) }
            @if let Some((label, href)) = button { p { a.button href=(href) { (label) } } }
        }
    }
}

/// A link to the page above.
pub(super) fn back_link(label: &str, href: &str) -> Markup {
    html! { a.back href=(href) { (icon("left")) (reveal_control_characters(label)) } }
}

/// A text that can be copied: an id, an address. The button appears where scripts run.
pub(super) fn copyable(shell: &PageContext, id: &str, value: &str) -> Markup {
    html! {
        span.copied {
            code id=(id) { (reveal_control_characters(value)) }
            (copy_button(shell, id, id))
        }
    }
}

/// Several lines that can be copied: a command, a part of a program. One click selects all of it. It can be reached by
/// keyboard, because it may have to be scrolled. It is no landmark: the section around it often has the same name.
pub(super) fn copyable_block(shell: &PageContext, labelled_by: &str, value: &str) -> Markup {
    let id = format!("{labelled_by}-text");
    html! {
        pre.copy tabindex="0" role="group" aria-labelledby=(labelled_by) { code id=(id) { (user_text(value)) } }
        (copy_button(shell, &id, labelled_by))
    }
}

/// Among several of them, screen readers tell what is copied.
fn copy_button(shell: &PageContext, of: &str, described_by: &str) -> Markup {
    let text = &shell.text.frame;
    html! {
        button.plain type="button" hidden data-copy=(of) data-done=(text.copied) aria-describedby=(described_by) {
            (icon("copy")) span { (text.copy) }
        }
    }
}

/// The hidden field of every form that changes something.
pub(super) fn csrf_field(shell: &PageContext) -> Markup {
    html! {
        @if let Some(value) = &shell.csrf {
            input type="hidden" name="csrf" value=(value);
        }
        @if let Some(value) = &shell.whose { input type="hidden" name="whose" value=(value); }
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
pub(super) fn account_label(shell: &PageContext, label: Option<&str>) -> Markup {
    html! {
        @match label {
            Some(label) => (user_text(label)),
            None => span.quiet { (shell.text.frame.account_unknown) },
        }
    }
}

/// A point in time, exactly.
pub(super) fn time_element(at: Timestamp) -> Markup {
    html! { time datetime=(at.rfc3339()) { (format_time(at)) } }
}

/// A point in time, as its distance from now. The exact time is in the title.
pub(super) fn relative_time(shell: &PageContext, at: Timestamp) -> Markup {
    html! { time datetime=(at.rfc3339()) title=(format_time(at)) data-relative { (describe_distance(shell, at)) } }
}

/// The same, or that it never was.
pub(super) fn relative_time_or_never(shell: &PageContext, at: Option<Timestamp>) -> Markup {
    html! {
        @match at {
            Some(at) => (relative_time(shell, at)),
            None => span.quiet { (shell.text.frame.never) },
        }
    }
}

/// From a week on the date says more.
const RELATIVE_DAYS: i64 = 7;

fn describe_distance(shell: &PageContext, at: Timestamp) -> String {
    let text = &shell.text.frame;
    let past = shell.now.since(at);
    let (minutes, hours, days) = (past.abs() / 60, past.abs() / 3600, past.abs() / 86400);
    match (past >= 0, minutes, hours, days) {
        (_, 0, ..) => text.just_now.to_owned(),
        (true, 1..60, ..) => count(minutes, text.minute_ago, text.minutes_ago),
        (false, 1..60, ..) => count(minutes, text.in_minute, text.in_minutes),
        (true, _, 1..24, _) => count(hours, text.hour_ago, text.hours_ago),
        (false, _, 1..24, _) => count(hours, text.in_hour, text.in_hours),
        (true, _, _, 1..RELATIVE_DAYS) => count(days, text.day_ago, text.days_ago),
        (false, _, _, 1..RELATIVE_DAYS) => count(days, text.in_day, text.in_days),
        _ => format_date(at),
    }
}

/// A day, in words.
pub fn format_date(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp(at.unix(), 0).unwrap_or_default().format("%-d %b %Y").to_string()
}

fn format_time(at: Timestamp) -> String {
    DateTime::<Utc>::from_timestamp(at.unix(), 0).unwrap_or_default().format("%-d %b %Y, %H:%M UTC").to_string()
}

/// A status as an icon and a word.
pub(super) fn status_badge(status: &StatusLabel) -> Markup {
    html! {
        span.status.(tone_class(status.tone)) {
            (icon(tone_icon(status.tone))) span { (reveal_control_characters(&status.text)) }
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
pub(super) fn external_link(shell: &PageContext, label: &Markup, href: &str) -> Markup {
    html! {
        @if href.starts_with("https://") || href.starts_with("http://") {
            a.outside href=(href) target="_blank" rel="noreferrer noopener" {
                (label) span.quiet { " " (shell.text.frame.opens_in_new_tab) }
            }
        } @else {
            span { (label) }
        }
    }
}

/// The same on a line of its own, where it is a target of its own, too.
pub(super) fn external_link_line(shell: &PageContext, label: &Markup, href: &str) -> Markup {
    html! { p.alone { (external_link(shell, label, href)) } }
}

/// Notes for a person.
pub(super) fn warnings_section(shell: &PageContext, sentences: &[String]) -> Markup {
    html! {
        @if !sentences.is_empty() {
            section.panel.waiting aria-labelledby="warnings" {
                h2 #warnings { (shell.text.frame.good_to_know) }
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
        Tone::Info => "info",
    }
}

/// The icon of a tone.
pub(super) fn tone_icon(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "check",
        Tone::Waiting => "clock",
        Tone::Bad => "alert",
        Tone::Info => "info",
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
