//! The layout of every page: its head, the bar with the sections and the session, and where its content stands.
//!
//! Owns what a browser loads with a page: a stylesheet, a script, an icon. Independent of any single page.

use maud::{DOCTYPE, Markup, html};

use super::frame::{csrf_field, icon, reveal_control_characters, user_text};
use super::notice::notice_section;
use super::text::{fill, fill_plain};
use super::{Brand, PageContext, Section};
use crate::http::assets::asset;

/// A page outside the sections: one question, one message. `body` contains its only `h1`.
pub(super) fn page(shell: &PageContext, title: &str, body: &Markup) -> Markup {
    document(shell, None, title, body)
}

/// A page of a section, for somebody who is signed in. `body` contains its only `h1`.
pub(super) fn section_page(shell: &PageContext, section: Section, title: &str, body: &Markup) -> Markup {
    document(shell, Some(section), title, body)
}

fn document(shell: &PageContext, section: Option<Section>, title: &str, body: &Markup) -> Markup {
    let text = &shell.text.frame;
    let title = fill_plain(text.title, &[("title", &reveal_control_characters(title))]);
    html! {
        (DOCTYPE)
        html lang=(shell.text.language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="icon" href=(asset!("favicon.svg")) type="image/svg+xml";
                link rel="stylesheet" href=(asset!("style.css"));
                @if let Some(accent) = shell.brand.as_ref().and_then(|brand| brand.accent) {
                    link rel="stylesheet" href={ "/accent/" (accent.to_string().trim_start_matches('#')) ".css" };
                }
                @if shell.has_scripts { script src=(asset!("app.js")) defer {} }
            }
            body {
                a.skip href="#main" { (text.skip) }
                (bar(shell, section))
                main #main tabindex="-1" class=[section.is_none().then_some("narrow")] {
                    (notice_section(shell))
                    (body)
                }
                p #live.unseen role="status" {}
            }
        }
    }
}

/// The bar at the top: the sections for who is signed in, only the name for everybody else.
fn bar(shell: &PageContext, section: Option<Section>) -> Markup {
    html! {
        header.bar {
            div {
                @if shell.person.is_some() {
                    a.home href="/" { (icon("brand")) (shell.text.frame.product) }
                    (sections(shell, section))
                } @else if let Some(brand) = &shell.brand {
                    (brand_head(shell, brand))
                } @else {
                    span.home { (icon("brand")) (shell.text.frame.product) }
                }
                (session_menu(shell))
            }
        }
    }
}

/// What a link's page has instead of the name alone: the product, and whose page this is. The logo has a fixed size, and its
/// host learns nothing of the page.
fn brand_head(shell: &PageContext, brand: &Brand) -> Markup {
    let text = &shell.text.frame;
    let called = reveal_control_characters(brand.name.as_deref().unwrap_or(&brand.workspace));
    html! {
        div.brand {
            @if let Some(logo) = &brand.logo {
                span {
                    img src=(logo.as_str()) alt=(fill_plain(text.logo_of, &[("name", &called)])) width="48" height="48"
                        referrerpolicy="no-referrer";
                }
            }
            div {
                @if let Some(name) = &brand.name { strong { (user_text(name)) } }
                div.quiet {
                    (fill(text.for_workspace, &[
                        ("workspace", user_text(&brand.workspace)), ("installation", user_text(&brand.installation)),
                    ]))
                }
            }
        }
        span.quiet { (text.product) }
    }
}

fn sections(shell: &PageContext, current: Option<Section>) -> Markup {
    let text = &shell.text.frame;
    let mut shown = vec![
        (Section::Connections, "/", text.nav_connections),
        (Section::Connect, "/connect", text.nav_connect),
        (Section::Review, "/review", text.nav_review),
        (Section::Workflows, "/workflows", text.nav_workflows),
    ];
    if shell.is_admin() {
        shown.extend([
            (Section::Activity, "/activity", text.nav_activity),
            (Section::Settings, "/settings/apps", text.nav_settings),
        ]);
    }
    html! {
        nav aria-label=(text.main_navigation) {
            ul.tabs {
                @for (section, href, name) in shown {
                    li { a href=(href) aria-current=[(current == Some(section)).then_some("page")] { (name) } }
                }
            }
        }
    }
}

fn session_menu(shell: &PageContext) -> Markup {
    let text = &shell.text.frame;
    html! {
        @if let Some(person) = &shell.person {
            details.menu {
                summary {
                    span.avatar aria-hidden="true" { (initials(&person.name)) }
                    span.unseen { (fill(text.account_menu, &[("name", user_text(&person.name))])) }
                }
                div {
                    p {
                        (fill(text.signed_in_as, &[("name", user_text(&person.name))]))
                        @if person.is_admin { " " span.badge { (text.admin) } }
                    }
                    @if shell.has_email { a href="/email" { (shell.text.emails.personal_title) } }
                    form method="post" action="/sign-out" {
                        (csrf_field(shell))
                        button type="submit" { (text.sign_out) }
                    }
                }
            }
        }
    }
}

/// The first letters of a name's first and last word.
pub(super) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|letter| letter.is_alphanumeric()));
    let (first, last) = (words.next(), words.next_back());
    let letters: String = first.into_iter().chain(last).collect();
    if letters.is_empty() { "?".to_owned() } else { letters.to_uppercase() }
}
