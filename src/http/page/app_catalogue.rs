//! The page *Connect an app*: the apps, by how many look for them and by name.
//!
//! Owns the search and the groups. Changes nothing: a tile leads to the app's own page.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::frame::{app_logo, head, picture, status_badge, user_text};
use super::layout::section_page;
use super::text::fill;
use super::{PageContext, Section, StatusLabel, Tone};
use crate::app_list::AppReadiness;

/// Tiles on one page. What is beyond them is found by a search.
const MAX_TILES: usize = 300;

/// An app of the page.
#[derive(Debug, Clone)]
pub struct AppTile {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The names of its auth methods, the recommended one first.
    pub auth_methods: Vec<String>,
    /// Its categories.
    pub categories: Vec<String>,
    /// What it needs before it can be connected.
    pub readiness: AppReadiness,
    /// Where it leads.
    pub href: String,
    /// Whether the workspace has defined it.
    pub is_custom: bool,
    /// Its place among the popular ones.
    pub popularity: Option<usize>,
}

/// The page.
#[derive(Debug, Clone, Default)]
pub struct CatalogueView {
    /// All apps, in any order: the page searches and sorts them.
    pub apps: Vec<AppTile>,
    /// The search.
    pub search: Option<String>,
    /// Only this category.
    pub category: Option<String>,
}

/// The page.
pub fn app_catalogue(shell: &PageContext, view: &CatalogueView) -> Markup {
    let text = &shell.text.connect;
    let found = find(view);
    let has_more = found.len() > MAX_TILES;
    let shown: Vec<_> = found.into_iter().take(MAX_TILES).collect();
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p.quiet { (text.about) }
        (filters(shell, view))
        div #apps {
            @for (title, id, apps) in groups(shell, view, &shown) {
                @if !apps.is_empty() {
                    section.group data-group aria-labelledby=(id) {
                        h2 id=(id) { (title) }
                        ul.grid { @for app in apps { (tile(shell, app)) } }
                    }
                }
            }
        }
        div #apps-none.empty hidden[!shown.is_empty()] {
            (picture("apps"))
            p {
                @if let Some(search) = view.search.as_deref().filter(|_| shown.is_empty()) {
                    (fill(text.none_found_for, &[("search", user_text(search))]))
                } @else {
                    (text.none_found)
                }
            }
            p { a.button href="/connect" { (text.show_all) } }
        }
        @if has_more { p.quiet { (text.more_apps) } }
    };
    section_page(shell, Section::Connect, text.title, &body)
}

fn filters(shell: &PageContext, view: &CatalogueView) -> Markup {
    let text = &shell.text.connect;
    let categories: BTreeSet<&str> = view.apps.iter().flat_map(|app| &app.categories).map(String::as_str).collect();
    let is_chosen = |category: &str| view.category.as_deref() == Some(category);
    html! {
        form.toolbar method="get" action="/connect" role="search" aria-label=(text.search) {
            div.wide {
                label for="q" { (text.search) }
                input #q type="search" name="q" value=(view.search.as_deref().unwrap_or_default()) autocomplete="off"
                    dir="auto" placeholder=(text.search_example) data-filter="apps" data-found=(text.found);
            }
            div {
                label for="category" { (text.category) }
                select #category name="category" data-submit {
                    option value="" { (text.all_categories) }
                    @for category in categories {
                        option value=(category) selected[is_chosen(category)] { (capitalized(category)) }
                    }
                }
            }
            button type="submit" { (text.search_button) }
            @if view.search.is_some() || view.category.is_some() { a.button href="/connect" { (text.show_all) } }
        }
    }
}

fn capitalized(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    super::frame::reveal_control_characters(&(first + letters.as_str())).into_owned()
}

/// The apps that match every word, by name.
fn find(view: &CatalogueView) -> Vec<&AppTile> {
    let search = view.search.as_deref().unwrap_or_default().to_lowercase();
    let mut found: Vec<_> = view
        .apps
        .iter()
        .filter(|app| view.category.as_ref().is_none_or(|category| app.categories.contains(category)))
        .filter(|app| {
            let words = search_words(app);
            search.split_whitespace().all(|word| words.contains(word))
        })
        .collect();
    found.sort_by_key(|app| app.name.to_lowercase());
    found
}

fn search_words(app: &AppTile) -> String {
    format!("{} {} {} {}", app.name, app.id, app.categories.join(" "), app.auth_methods.join(" ")).to_lowercase()
}

type Group<'a> = (&'static str, &'static str, Vec<&'a AppTile>);

/// What the workspace defined itself, what is popular, and the others. A search or a category is one group.
fn groups<'a>(shell: &PageContext, view: &CatalogueView, found: &[&'a AppTile]) -> Vec<Group<'a>> {
    let text = &shell.text.connect;
    if view.search.is_some() || view.category.is_some() {
        return vec![(text.group_found, "found", found.to_vec())];
    }
    let (custom, catalogue): (Vec<_>, Vec<_>) = found.iter().copied().partition(|app| app.is_custom);
    let (mut popular, others): (Vec<_>, Vec<_>) = catalogue.into_iter().partition(|app| app.popularity.is_some());
    popular.sort_by_key(|app| app.popularity);
    vec![
        (text.group_custom, "custom", custom),
        (text.group_popular, "popular", popular),
        (text.group_others, "others", others),
    ]
}

fn tile(shell: &PageContext, app: &AppTile) -> Markup {
    let text = &shell.text.connect;
    let (words, tone) = match app.readiness {
        AppReadiness::Ready => (text.ready, Tone::Good),
        AppReadiness::OtherMethodReady => (text.sign_in_needs_setup, Tone::Info),
        AppReadiness::NeedsSetup if shell.is_admin() => (text.set_up, Tone::Waiting),
        AppReadiness::NeedsSetup => (text.needs_setup, Tone::Waiting),
    };
    html! {
        li data-words=(search_words(app)) {
            a.tile href=(app.href) {
                (app_logo(&app.id, &app.name, ""))
                span {
                    strong { (user_text(&app.name)) }
                    @if app.is_custom { span.badge { (text.custom) } " " }
                    (status_badge(&StatusLabel { text: words.to_owned(), tone }))
                }
            }
        }
    }
}
