//! Fields of the administration's forms: a label, a hint, what was refused, and what was entered.
//!
//! Owns that a form which was refused comes back with what was entered, and says at the field what is wrong. Never sends a
//! secret back.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::super::form::{FormError, described_by, error_summary, field_error};
use super::super::frame::{csrf_field, icon, reveal_control_characters, user_text};
use crate::http::choices::tell_apart;
use crate::http::page::PageContext;

/// What was refused of a form.
#[derive(Debug, Clone, Default)]
pub struct FormErrors {
    /// What is wrong with the whole of it.
    pub summary: Option<String>,
    /// What is wrong with a field, by its name.
    pub fields: BTreeMap<String, String>,
}

impl FormErrors {
    /// Why a field was refused.
    pub fn of(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Whether nothing was refused.
    pub fn is_empty(&self) -> bool {
        self.summary.is_none() && self.fields.is_empty()
    }
}

/// An option of a list: its value and its name.
#[derive(Debug, Clone)]
pub struct Choice {
    /// What the form sends.
    pub value: String,
    /// What a person reads.
    pub label: String,
}

impl Choice {
    pub(in crate::http) fn new(value: &str, label: &str) -> Self {
        Self { value: value.to_owned(), label: label.to_owned() }
    }

    /// Options by their values and names. Names that look alike have their values beside them.
    pub(in crate::http) fn told_apart(options: impl IntoIterator<Item = (String, String)>) -> Vec<Self> {
        tell_apart(options).into_iter().map(|(value, label)| Self { value, label }).collect()
    }
}

/// What kind of text a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    /// One line.
    Line,
    /// One line that nobody sees, and that is never sent back.
    Secret,
    /// So many lines.
    Lines(u8),
    /// A day.
    Day,
}

/// A field for a text. Its name is its id.
pub(super) struct TextField<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) hint: Option<Markup>,
    pub(super) value: &'a str,
    pub(super) optional: bool,
    pub(super) kind: TextKind,
}

impl<'a> TextField<'a> {
    pub(super) fn new(name: &'a str, label: &'a str, value: &'a str) -> Self {
        Self { name, label, hint: None, value, optional: false, kind: TextKind::Line }
    }

    pub(super) fn hint(self, hint: &str) -> Self {
        Self { hint: Some(html! { (reveal_control_characters(hint)) }), ..self }
    }

    pub(super) fn optional(self) -> Self {
        Self { optional: true, ..self }
    }

    pub(super) fn kind(self, kind: TextKind) -> Self {
        Self { kind, ..self }
    }
}

/// The field with what was refused.
pub(super) fn text_field(shell: &PageContext, errors: &FormErrors, field: &TextField<'_>) -> Markup {
    let error = errors.of(field.name);
    let described = described_by(field.name, field.hint.is_some(), error.is_some());
    let (id, invalid, required) = (field.name, error.map(|_| "true"), !field.optional);
    html! {
        div.field.wrong[error.is_some()] {
            label for=(id) {
                (user_text(field.label))
                @if field.optional { " " span.quiet { (shell.text.settings.optional) } }
            }
            @if let Some(hint) = &field.hint { p.hint id={ (id) "-hint" } { (hint) } }
            (field_error(shell, id, error))
            @match field.kind {
                TextKind::Line => {
                    input id=(id) type="text" name=(id) value=(field.value) required[required] autocomplete="off"
                        autocapitalize="none" spellcheck="false" dir="auto" aria-invalid=[invalid]
                        aria-describedby=[described.as_deref()];
                }
                TextKind::Day => {
                    input id=(id) type="date" name=(id) value=(field.value) required[required] aria-invalid=[invalid]
                        aria-describedby=[described.as_deref()];
                }
                TextKind::Secret => {
                    input id=(id) type="password" name=(id) required[required] autocomplete="off" autocapitalize="none"
                        spellcheck="false" data-1p-ignore="true" data-lpignore="true" data-bwignore="true"
                        aria-invalid=[invalid] aria-describedby=[described.as_deref()];
                }
                TextKind::Lines(rows) => {
                    textarea id=(id) name=(id) rows=(rows) required[required] autocomplete="off" autocapitalize="none"
                        spellcheck="false" aria-invalid=[invalid] aria-describedby=[described.as_deref()] { "\n" (field.value) }
                }
            }
        }
    }
}

/// A field for one of several values.
pub(super) fn select_field(
    shell: &PageContext,
    errors: &FormErrors,
    name: &str,
    label: &str,
    hint: Option<&str>,
    options: &[Choice],
    selected: &str,
) -> Markup {
    let error = errors.of(name);
    let described = described_by(name, hint.is_some(), error.is_some());
    html! {
        div.field.wrong[error.is_some()] {
            label for=(name) { (label) }
            @if let Some(hint) = hint { p.hint id={ (name) "-hint" } { (hint) } }
            (field_error(shell, name, error))
            select id=(name) name=(name) aria-invalid=[error.map(|_| "true")] aria-describedby=[described.as_deref()] {
                @for option in options {
                    option value=(option.value) selected[option.value == selected] {
                        (reveal_control_characters(&option.label))
                    }
                }
            }
        }
    }
}

/// A box to tick.
pub(super) fn tick(name: &str, value: &str, label: &Markup, is_checked: bool) -> Markup {
    html! {
        label.tick {
            input type="checkbox" name=(name) value=(value) checked[is_checked];
            span { (label) }
        }
    }
}

/// What was refused, at the top of the form, with links to the fields. `labels` are the fields' names and labels.
pub(super) fn form_errors(shell: &PageContext, errors: &FormErrors, labels: &[(&str, &str)]) -> Markup {
    if errors.is_empty() {
        return html! {};
    }
    let problem = errors.summary.as_ref().map(|text| FormError {
        title: shell.text.settings.not_saved.to_owned(),
        text: text.clone(),
        is_unreachable: false,
    });
    let wrong: Vec<_> =
        labels.iter().filter_map(|(name, label)| Some(((*name).to_owned(), *label, errors.of(name)?))).collect();
    error_summary(shell, problem.as_ref(), &wrong)
}

/// The fields of a form that shows a secret once: sent again by a reload, it is not handled again.
pub(super) fn guard_fields(shell: &PageContext) -> Markup {
    html! {
        (csrf_field(shell))
        @if let Some(id) = &shell.form_id { input type="hidden" name="once" value=(id); }
    }
}

/// The field with the state of the thing that a form was filled from: what somebody else has changed since is not overwritten.
pub const STATE_FIELD: &str = "state";

pub(in crate::http::page) fn state_field(state: &str) -> Markup {
    html! { input type="hidden" name=(STATE_FIELD) value=(state); }
}

/// What is said above a secret that no other page shows.
pub(super) fn shown_once(body: &Markup) -> Markup {
    html! { div.notice.good role="status" tabindex="-1" autofocus { (icon("check")) div { (body) } } }
}
