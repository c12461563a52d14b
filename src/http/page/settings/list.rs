//! A list of the administration: its table, what is said where it is empty, and where it goes on.

use maud::{Markup, html};

use super::super::frame::{Column, column_heads, empty_list};
use crate::http::page::PageContext;

/// A list.
pub(super) struct List<'a> {
    /// What it is a list of, for who does not see the page.
    pub(super) title: &'a str,
    /// The columns.
    pub(super) columns: &'a [Column<'a>],
    /// What the buttons of the last column do. It has no heading that is seen.
    pub(super) action: Option<&'a str>,
    /// What is said where it is empty.
    pub(super) none: &'a str,
    /// Where the next page is.
    pub(super) next_page_href: Option<&'a str>,
}

/// The list with these rows, each a `tr`, or the picture of an empty one.
pub(super) fn list(shell: &PageContext, picture: &str, list: &List<'_>, rows: &[Markup]) -> Markup {
    html! {
        @if rows.is_empty() {
            (empty_list(picture, list.none, None))
        } @else {
            div.card.flush { (table(list, rows)) }
        }
        (next_page(shell, list.next_page_href))
    }
}

/// Only the table.
pub(super) fn table(list: &List<'_>, rows: &[Markup]) -> Markup {
    html! {
        table {
            caption.unseen { (list.title) }
            thead {
                tr {
                    (column_heads(list.columns))
                    @if let Some(action) = list.action { th.tight.action scope="col" { span.unseen { (action) } } }
                }
            }
            tbody { @for row in rows { (row) } }
        }
    }
}

/// Where the list goes on.
pub(super) fn next_page(shell: &PageContext, href: Option<&str>) -> Markup {
    html! { @if let Some(href) = href { p { a.button href=(href) { (shell.text.frame.next_page) } } } }
}

/// The rows of a list.
pub(super) fn rows<T>(of: &[T], row: impl Fn(&T) -> Markup) -> Vec<Markup> {
    of.iter().map(row).collect()
}
