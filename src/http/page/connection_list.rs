//! The Connections page: does everything work?
//!
//! Owns the filters, the table and the ways to the other pages of the list. Changes nothing by itself: a row leads to the
//! connection's own pages, and what is done with several connections is asked for by [`super::bulk`].

use maud::{Markup, html};

use super::bulk::{BulkOffer, bulk_bar, bulk_checkbox};
use super::frame::{
    account_label, app_logo, csrf_field, environment_words, head, icon, picture, relative_time,
    reveal_control_characters, status_badge, user_text,
};
use super::layout::section_page;
use super::recently_disconnected::{RecentlyDisconnected, recently_disconnected_section};
use super::text::{count, fill, fill_plain};
use super::{ConnectionSummary, PageContext, RowAction, Section};

/// The Connections page.
#[derive(Debug, Clone, Default)]
pub struct ConnectionListView {
    /// One page of connections, in their order.
    pub connections: Vec<ConnectionSummary>,
    /// The statuses, with numbers.
    pub tabs: Vec<StatusTab>,
    /// What is filtered by.
    pub filters: ListFilters,
    /// The columns that can be sorted by: name, app, last use.
    pub sorts: Vec<SortLink>,
    /// The other pages.
    pub pages: PagesOfList,
    /// What can be brought back.
    pub recently_disconnected: Vec<RecentlyDisconnected>,
}

/// A status with the number of connections that have it.
#[derive(Debug, Clone)]
pub struct StatusTab {
    /// Its name.
    pub label: &'static str,
    /// How many.
    pub number: i64,
    /// Whether there may be more.
    pub or_more: bool,
    /// Where they are listed.
    pub href: String,
    /// Whether they are what is listed.
    pub is_current: bool,
}

/// A value that can be chosen in a filter.
#[derive(Debug, Clone)]
pub struct FilterChoice {
    /// As the address has it.
    pub value: String,
    /// For a person.
    pub label: String,
}

/// The filters: what is set, and what can be chosen.
#[derive(Debug, Clone, Default)]
pub struct ListFilters {
    /// The search.
    pub search: String,
    /// The app's id.
    pub app: String,
    /// The status, or what deserves a look.
    pub status: String,
    /// The environment.
    pub environment: String,
    /// The owner's id, or `none`.
    pub owner: String,
    /// The workflow.
    pub workflow: String,
    /// The order.
    pub sort: String,
    /// Apps to choose from.
    pub apps: Vec<FilterChoice>,
    /// Statuses to choose from.
    pub statuses: Vec<FilterChoice>,
    /// Owners to choose from. Empty: nobody is offered.
    pub owners: Vec<FilterChoice>,
}

impl ListFilters {
    /// Filters beside the search.
    fn number_set(&self) -> i64 {
        let set = [&self.app, &self.status, &self.environment, &self.owner, &self.workflow];
        i64::try_from(set.iter().filter(|value| !value.is_empty()).count()).unwrap_or(0)
    }

    fn is_narrowed(&self) -> bool {
        self.number_set() > 0 || !self.search.is_empty()
    }
}

/// A column that the list can be sorted by.
#[derive(Debug, Clone, Default)]
pub struct SortLink {
    /// Where it is sorted by it, or backwards.
    pub href: String,
    /// How it is sorted by it now: `ascending` or `descending`.
    pub sorted: Option<&'static str>,
}

/// Where the list goes on.
#[derive(Debug, Clone, Default)]
pub struct PagesOfList {
    /// The place of the first row, from 1.
    pub from: i64,
    /// Hits among the connections that this page has looked at.
    pub matches: i64,
    /// Connections that a page looks at, if it has not looked at all.
    pub window: Option<i64>,
    /// Whether newer connections come before these.
    pub is_later_window: bool,
    /// The page before.
    pub previous_href: Option<String>,
    /// The page after.
    pub next_href: Option<String>,
    /// The first page, where this is one of older connections.
    pub newest_href: Option<String>,
    /// Older connections.
    pub older_href: Option<String>,
    /// Where this page is: what is done with its rows leads back there.
    pub here: String,
}

/// The form that checks the connection of the row whose button it is.
const ROW_FORM: &str = "row";

/// The Connections page.
pub fn connection_list(shell: &PageContext, view: &ConnectionListView) -> Markup {
    let is_empty = view.connections.is_empty();
    let is_new = is_empty && !view.filters.is_narrowed() && !view.pages.is_later_window;
    let body = html! {
        (head(&html! { (shell.text.list.title) }, &html! { a.button.primary href="/connect" { (icon("plus")) (shell.text.connect.title) } }))
        (recently_disconnected_section(shell, &view.recently_disconnected))
        @if is_new {
            (no_connections(shell))
        } @else {
            (status_tabs(shell, &view.tabs))
            (filter_form(shell, &view.filters))
            @if is_empty {
                (no_hits(shell, view))
                (page_links(shell, view))
            } @else {
                (connection_table(shell, view))
                (page_links(shell, view))
                (bulk_bar(shell, "bulk", &view.pages.here, &bulk_offers(shell)))
                form id=(ROW_FORM) method="post" { (csrf_field(shell)) }
            }
        }
    };
    section_page(shell, Section::Connections, shell.text.list.page_title, &body)
}

fn bulk_offers(shell: &PageContext) -> Vec<BulkOffer> {
    let offers = [BulkOffer::Check, BulkOffer::Disconnect, BulkOffer::Share];
    offers.into_iter().filter(|offer| *offer != BulkOffer::Share || shell.is_admin()).collect()
}

fn no_connections(shell: &PageContext) -> Markup {
    let text = &shell.text.list;
    html! {
        section.card.empty aria-labelledby="empty" {
            (picture("link"))
            h2 #empty { (text.none_title) }
            p { (text.none_about) }
            p { a.button.main href="/connect" { (text.none_button) } }
        }
    }
}

/// A page looks at a limited number of connections, so that one without a hit is not always the last.
fn no_hits(shell: &PageContext, view: &ConnectionListView) -> Markup {
    let text = &shell.text.list;
    let (title, words, words_for) = match (&view.pages.older_href, view.pages.is_later_window) {
        (Some(_), _) => (text.nothing_yet_title, text.nothing_yet, text.nothing_yet_for),
        (None, true) => (text.nothing_more_title, text.nothing_more, text.nothing_more_for),
        (None, false) => (text.nothing_title, text.nothing, text.nothing_for),
    };
    let search = &view.filters.search;
    html! {
        section.card.empty aria-labelledby="empty" {
            (picture("search"))
            h2 #empty { (title) }
            p { @if search.is_empty() { (words) } @else { (fill(words_for, &[("search", user_text(search))])) } }
            p { a.button href="/" { (text.show_all) } }
        }
    }
}

fn status_tabs(shell: &PageContext, tabs: &[StatusTab]) -> Markup {
    let text = &shell.text.list;
    html! {
        nav aria-label=(text.by_status) {
            ul.tabs.counts {
                @for tab in tabs {
                    @let number = tab.number.to_string();
                    li { a href=(tab.href) aria-current=[tab.is_current.then_some("true")] {
                        (tab.label) " "
                        span.count { @if tab.or_more { (fill_plain(text.or_more, &[("count", &number)])) } @else { (number) } }
                    } }
                }
            }
        }
    }
}

fn select(id: &str, label: &str, any: &str, chosen: &str, choices: &[FilterChoice]) -> Markup {
    html! {
        div {
            label for=(id) { (label) }
            select id=(id) name=(id) {
                option value="" { (any) }
                @for choice in choices {
                    option value=(choice.value) selected[choice.value == chosen] { (reveal_control_characters(&choice.label)) }
                }
            }
        }
    }
}

fn choices(of: &[(&str, &str)]) -> Vec<FilterChoice> {
    of.iter().map(|(value, label)| FilterChoice { value: (*value).to_owned(), label: (*label).to_owned() }).collect()
}

fn filter_form(shell: &PageContext, filters: &ListFilters) -> Markup {
    let (text, names) = (&shell.text.list, &shell.text.connection);
    let set = filters.number_set();
    let environments = choices(&[("production", names.production), ("test", names.test)]);
    let orders = choices(&[
        ("name", text.by_name),
        ("-name", text.by_name_backwards),
        ("app", text.by_app),
        ("-app", text.by_app_backwards),
        ("-used", text.recently_used),
        ("used", text.least_recently_used),
    ]);
    html! {
        form method="get" action="/" role="search" aria-label=(text.search_form) {
            div.toolbar {
                div.wide {
                    label for="q" { (text.search) }
                    input #q type="search" name="q" value=(filters.search) autocomplete="off" autocapitalize="none" spellcheck="false"
                        dir="auto" placeholder=(text.search_example);
                }
                button type="submit" { (icon("search")) (text.search_button) }
                @if filters.is_narrowed() { a.button href="/" { (text.clear) } }
            }
            details.fold open[set > 0] {
                summary { @if set == 0 { (text.filters) } @else { (count(set, text.filters_set, text.filters_set)) } }
                div.toolbar {
                    (select("app", text.app, text.any_app, &filters.app, &filters.apps))
                    (select("status", text.status, text.any_status, &filters.status, &filters.statuses))
                    (select("environment", text.environment, text.any_environment, &filters.environment, &environments))
                    @if !filters.owners.is_empty() { (select("owner", text.owner, text.any_owner, &filters.owner, &filters.owners)) }
                    div {
                        label for="workflow" { (text.workflow) }
                        input #workflow type="text" name="workflow" value=(filters.workflow) autocomplete="off" autocapitalize="none"
                            spellcheck="false" dir="auto";
                    }
                    (select("sort", text.sort, text.usual_order, &filters.sort, &orders))
                    button type="submit" { (text.apply) }
                }
            }
        }
    }
}

fn sort_head(label: &str, class: &str, sort: Option<&SortLink>) -> Markup {
    html! {
        th.(class) scope="col" aria-sort=[sort.and_then(|sort| sort.sorted)] {
            @match sort {
                Some(sort) => a href=(sort.href) {
                    (label)
                    @match sort.sorted {
                        Some("ascending") => (icon("up")),
                        Some(_) => (icon("down")),
                        None => {},
                    }
                },
                None => (label),
            }
        }
    }
}

fn connection_table(shell: &PageContext, view: &ConnectionListView) -> Markup {
    let text = &shell.text.list;
    html! {
        div.card.flush { table.rows {
            caption.unseen { (text.page_title) }
            thead {
                tr {
                    td.tight { label.box hidden { input type="checkbox" data-all="bulk"; span.unseen { (text.select_all) } } }
                    (sort_head(text.connection, "name", view.sorts.first()))
                    (sort_head(text.app, "app", view.sorts.get(1)))
                    th.owner scope="col" { (text.owner) }
                    th.state scope="col" { (text.status) }
                    (sort_head(text.last_used, "used", view.sorts.get(2)))
                    th.tight.action scope="col" { span.unseen { (text.action) } }
                }
            }
            tbody { @for card in &view.connections { (connection_row(shell, card)) } }
        } }
        @if view.pages.window.is_some() && view.sorts.iter().any(|sort| sort.sorted.is_some()) {
            p.quiet.small { (fill_window(text.sorted_in_parts, &view.pages)) }
        }
    }
}

fn fill_window(text: &str, pages: &PagesOfList) -> String {
    fill_plain(text, &[("window", &pages.window.unwrap_or_default().to_string())])
}

fn connection_row(shell: &PageContext, card: &ConnectionSummary) -> Markup {
    let text = &shell.text.list;
    html! {
        tr {
            td.tight { (bulk_checkbox(shell, "bulk", &card.id, &card.name)) }
            th scope="row" {
                div.with-logo {
                    (app_logo(&card.app, &card.app_name, ""))
                    div {
                        a.name href={ "/connections/" (card.id) } { (user_text(&card.name)) }
                        p.quiet.small {
                            span.of-app { (user_text(&card.app_name)) " · " }
                            (account_label(shell, card.account_label.as_deref()))
                            @if card.is_default { " " span.badge { (text.default) } }
                            @if let Some(words) = environment_words(shell.text, &card.environment) { " " span.badge { (words) } }
                        }
                    }
                }
            }
            td.app data-label=(text.app) { (user_text(&card.app_name)) }
            td data-label=(text.owner) { (user_text(&card.owner)) }
            td data-label=(text.status) { div { (status_badge(&card.status)) (attention_list(&card.attention)) } }
            td data-label=(text.used) { div {
                @match card.last_used_at {
                    Some(at) => (relative_time(shell, at)),
                    None => span.quiet { (text.never_used) },
                }
                @if card.workflows > 0 { p.quiet.small { (count(card.workflows, text.used_by_one, text.used_by)) } }
            } }
            td.tight { div.does { (row_action(shell, card)) (row_menu(shell, card)) } }
        }
    }
}

/// What needs attention about a connection.
pub(super) fn attention_list(sentences: &[String]) -> Markup {
    html! {
        @if let [only] = sentences {
            p.attention { (user_text(only)) }
        } @else if !sentences.is_empty() {
            ul.attention { @for sentence in sentences { li { (user_text(sentence)) } } }
        }
    }
}

/// The one thing that a row offers first. Among many of them, screen readers tell the name.
pub(super) fn row_action(shell: &PageContext, card: &ConnectionSummary) -> Markup {
    let (text, names) = (&shell.text.list, &shell.text.connection);
    let of = html! { span.unseen { ": " (user_text(&card.name)) } };
    let reconnect = format!("/connections/{}/reconnect", card.id);
    html! {
        @match card.action {
            RowAction::Reconnect => a.button.main href=(reconnect) { (names.reconnect) (of) },
            RowAction::NewKey => a.button.main href=(reconnect) { (text.new_key) (of) },
            RowAction::Check => button type="submit" form=(ROW_FORM) formaction={ "/connections/" (card.id) "/check" } {
                (text.check) (of)
            },
        }
    }
}

fn row_menu(shell: &PageContext, card: &ConnectionSummary) -> Markup {
    let (text, names) = (&shell.text.list, &shell.text.connection);
    let page = format!("/connections/{}", card.id);
    let changes = [
        ("rename", names.rename),
        ("sharing", text.change_sharing),
        ("environment", text.change_environment),
        ("replace", names.replace),
    ];
    html! {
        details.menu {
            summary aria-label=(fill_plain(text.more, &[("name", &reveal_control_characters(&card.name))])) { (icon("more")) }
            div {
                a href=(page) { (text.open) }
                @if card.action != RowAction::Check {
                    button type="submit" form=(ROW_FORM) formaction={ (page) "/check" } { (names.check) }
                }
                a href={ (page) "/try" } { (text.try_it) }
                @if card.may_change {
                    @for (path, label) in changes { a href={ (page) "/" (path) } { (label) } }
                    a.danger href={ (page) "/disconnect" } { (names.disconnect) }
                }
            }
        }
    }
}

fn page_links(shell: &PageContext, view: &ConnectionListView) -> Markup {
    let (text, pages) = (&shell.text.list, &view.pages);
    let shown = i64::try_from(view.connections.len()).unwrap_or(0);
    let number = |number: i64| html! { (number) };
    let words = if pages.window.is_some() && view.filters.is_narrowed() { text.shown_of_newest } else { text.shown };
    let older = if view.connections.is_empty() { text.search_older } else { text.older };
    let links = [
        (&pages.newest_href, text.newest),
        (&pages.previous_href, text.previous),
        (&pages.next_href, text.next),
        (&pages.older_href, older),
    ];
    html! {
        div.pages {
            @if shown > 0 {
                span.quiet.small { (fill(words, &[
                    ("from", number(pages.from)), ("to", number(pages.from + shown - 1)), ("count", number(pages.matches)),
                    ("window", number(pages.window.unwrap_or_default())),
                ])) }
            } @else { span {} }
            div.does { @for (href, label) in links { @if let Some(href) = href { a.button href=(href) { (label) } } } }
        }
    }
}
