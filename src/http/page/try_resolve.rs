//! A resolve that a person tries: the request, and the answer with its secrets masked.

use maud::{Markup, html};

use super::frame::{app_logo, back_link, copyable_block, csrf_field, head, icon, tone_class, tone_icon, user_text};
use super::layout::section_page;
use super::text::fill;
use super::{PageContext, Section, Tone};

/// What came of a resolve.
#[derive(Debug, Clone)]
pub struct TryAnswer {
    /// The status that a program gets.
    pub status: u16,
    /// The body, with its secrets masked.
    pub body: String,
    /// What it means.
    pub words: String,
    /// How good the news is.
    pub tone: Tone,
}

/// A resolve to try.
#[derive(Debug, Clone)]
pub struct TryView {
    /// The connection's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The app's id and name.
    pub app: (String, String),
    /// The request, as a command.
    pub request: String,
    /// The answer, after the button was pressed.
    pub answer: Option<TryAnswer>,
    /// Whether the person may make the key that the command needs.
    pub may_make_key: bool,
}

/// A resolve to try.
pub fn try_resolve(shell: &PageContext, view: &TryView) -> Markup {
    let text = &shell.text.try_it;
    let (app, app_name) = &view.app;
    let title = html! { (app_logo(app, app_name, "large")) " " (text.title) };
    let body = html! {
        (back_link(&view.name, &format!("/connections/{}", view.id)))
        (head(&title, &html! {}))
        p { (fill(text.about, &[("name", user_text(&view.name))])) }
        section.card aria-labelledby="request" {
            h2 #request { (text.request) }
            p { (text.request_about) }
            (copyable_block(shell, "request", &view.request))
            @if view.may_make_key { p.quiet { (text.key) " " a href="/settings/keys" { (text.make_key) } } }
            form method="post" action={ "/connections/" (view.id) "/try" } {
                (csrf_field(shell))
                div.actions {
                    button.primary type="submit" { @if view.answer.is_some() { (text.again) } @else { (text.run) } }
                }
            }
            p.quiet.small { (text.not_counted) }
        }
        @if let Some(answer) = &view.answer {
            section.card aria-labelledby="answer" {
                h2 #answer { (text.answer) " " span.badge { (answer.status) } }
                div.notice.(tone_class(answer.tone)) role="status" tabindex="-1" autofocus {
                    (icon(tone_icon(answer.tone)))
                    div { p { (user_text(&answer.words)) } }
                }
                (copyable_block(shell, "answer", &answer.body))
                p.quiet.small { (text.masked) }
            }
        }
    };
    section_page(shell, Section::Connections, text.title, &body)
}
