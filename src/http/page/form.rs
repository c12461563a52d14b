//! The parts of forms: input fields, checkboxes for permissions, and errors.
//!
//! Owns labels, hints and how they are linked to fields, and how a browser is kept from storing a secret. Never sends a
//! secret back: a refused one is entered again.

use std::fmt;

use maud::{Markup, html};

use super::PageContext;
use super::frame::{code_text, external_link, user_text};
use super::text::{fill, fill_plain};

/// Permissions that are shown at once. If there are more, unticked ones are collapsed.
const SCOPES_SHOWN_AT_ONCE: usize = 8;

/// The prefix of the names of inputs, which separates them from the form's own fields.
pub const INPUT_PREFIX: &str = "input.";

/// A permission that can be requested.
#[derive(Debug, Clone, Default)]
pub struct ScopeChoice {
    /// As the app names it: the value of the field `scope`.
    pub id: String,
    /// What it permits.
    pub description: Option<String>,
    /// What the app requires before it grants this, as a sentence.
    pub sensitive: Option<String>,
    /// Whether it is always requested. The form does not send it: the handler adds it.
    pub required: bool,
    /// Whether it is ticked.
    pub checked: bool,
    /// What the connection to repair has of it.
    pub held: HeldScope,
}

/// What a connection has of a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeldScope {
    /// It was never asked for, or there is no connection.
    #[default]
    Unasked,
    /// It was granted.
    Granted,
    /// It was asked for and not granted.
    Missing,
}

/// An input: a variable of the app, or a field of a credential.
#[derive(Clone, Default)]
pub struct FormField {
    /// Its id in the app's definition. The name of the form field is [`field_name`] of it.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// The page of the app where it is found.
    pub url: Option<String>,
    /// Whether its value is hidden.
    pub secret: bool,
    /// Whether it may be empty.
    pub optional: bool,
    /// Whether it may have several lines.
    pub multiline: bool,
    /// An example. Shown next to the field, where it stays during typing.
    pub placeholder: Option<String>,
    /// The previous input. Never shown for a secret.
    pub value: Option<String>,
    /// Why it was refused.
    pub error: Option<String>,
}

/// The input is left out, because it may be a secret.
impl fmt::Debug for FormField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("id", &self.id).field("error", &self.error).finish_non_exhaustive()
    }
}

/// Why a form was refused.
#[derive(Debug, Clone)]
pub struct FormError {
    /// In a few words: "Acme did not accept this key".
    pub title: String,
    /// The remedy. Empty if the fields show it.
    pub text: String,
    /// Whether nothing is wrong with what was entered: the app could not be reached.
    pub is_unreachable: bool,
}

/// The name of the form field of an input.
pub fn field_name(id: &str) -> String {
    format!("{INPUT_PREFIX}{id}")
}

/// The id of an element: its position in the list, because an app's id may contain any character.
fn element_id(index: usize) -> String {
    format!("input-{index}")
}

/// The fields, in their order.
pub(super) fn fields(shell: &PageContext, inputs: &[FormField]) -> Markup {
    html! { @for (index, input) in inputs.iter().enumerate() { (field(shell, &element_id(index), input)) } }
}

fn field(shell: &PageContext, anchor: &str, input: &FormField) -> Markup {
    let hinted = input.help.is_some() || input.url.is_some() || input.placeholder.is_some();
    let described = described_by(anchor, hinted, input.error.is_some());
    html! {
        div.field.wrong[input.error.is_some()] {
            label for=(anchor) { (user_text(&input.label)) @if input.optional { " " (shell.text.form.optional) } }
            @if hinted { (hint(shell, anchor, input)) }
            (field_error(shell, anchor, input.error.as_deref()))
            (input_element(anchor, input, described.as_deref()))
        }
    }
}

/// A browser offers to store the text of a password field unless password managers are told not to: by the standard
/// attribute, which some browsers use only for filling, and by the managers' own attributes. Spelling is not checked,
/// because some browsers send the text away for it. A field of several lines loses the line break at its beginning.
fn input_element(anchor: &str, input: &FormField, described: Option<&str>) -> Markup {
    let name = field_name(&input.id);
    let value = input.value.as_deref().filter(|_| !input.secret).unwrap_or_default();
    let invalid = input.error.as_ref().map(|_| "true");
    let ignored = input.secret.then_some("true");
    let required = !input.optional;
    html! {
        @if input.multiline {
            textarea id=(anchor) name=(name) rows="6" required[required] aria-invalid=[invalid] aria-describedby=[described]
                autocomplete="off" autocapitalize="none" spellcheck="false"
                data-1p-ignore=[ignored] data-lpignore=[ignored] data-bwignore=[ignored] { "\n" (value) }
        } @else if input.secret {
            input id=(anchor) type="password" name=(name) required[required] aria-invalid=[invalid]
                aria-describedby=[described] autocomplete="off" autocapitalize="none" spellcheck="false"
                data-1p-ignore=[ignored] data-lpignore=[ignored] data-bwignore=[ignored];
        } @else {
            input id=(anchor) type="text" name=(name) value=(value) required[required] aria-invalid=[invalid]
                aria-describedby=[described] autocomplete="off" autocapitalize="none" spellcheck="false" dir="auto";
        }
    }
}

fn hint(shell: &PageContext, anchor: &str, input: &FormField) -> Markup {
    let text = &shell.text.form;
    html! {
        p.hint id={ (anchor) "-hint" } {
            @if let Some(help) = &input.help { (user_text(help)) " " }
            @if let Some(url) = &input.url { (external_link(shell, &html! { (text.find_it) }, url)) " " }
            @if let Some(example) = &input.placeholder { (fill(text.looks_like, &[("example", code_text(example))])) }
        }
    }
}

/// Why a field was refused, next to it.
pub(super) fn field_error(shell: &PageContext, anchor: &str, error: Option<&str>) -> Markup {
    html! {
        @if let Some(error) = error {
            p.mistake id={ (anchor) "-error" } { span.unseen { (shell.text.form.not_accepted) " " } (user_text(error)) }
        }
    }
}

/// The texts of a field, as listed in `aria-describedby`.
pub(super) fn described_by(anchor: &str, hinted: bool, wrong: bool) -> Option<String> {
    match (hinted, wrong) {
        (false, false) => None,
        (true, false) => Some(format!("{anchor}-hint")),
        (false, true) => Some(format!("{anchor}-error")),
        (true, true) => Some(format!("{anchor}-error {anchor}-hint")),
    }
}

/// A refused field: its element, its label, the reason.
pub(super) type InvalidField<'a> = (String, &'a str, &'a str);

/// The refused inputs.
pub(super) fn invalid_fields(inputs: &[FormField]) -> Vec<InvalidField<'_>> {
    let numbered = inputs.iter().enumerate();
    numbered
        .filter_map(|(index, input)| Some((element_id(index), input.label.as_str(), input.error.as_deref()?)))
        .collect()
}

/// The errors at the top, with links to the fields. The keyboard begins there, also without scripts: a screen reader reads
/// them first, and the next Tab leads to the first field that was refused.
pub(super) fn error_summary(shell: &PageContext, problem: Option<&FormError>, mistakes: &[InvalidField<'_>]) -> Markup {
    html! {
        @if problem.is_some() || !mistakes.is_empty() {
            @let tone = if problem.is_some_and(|problem| problem.is_unreachable) { "waiting" } else { "bad" };
            section.panel.(tone) role="alert" tabindex="-1" autofocus aria-labelledby="problem" {
                h2 #problem {
                    @match problem {
                        Some(problem) => (user_text(&problem.title)),
                        None => (shell.text.form.correct),
                    }
                }
                @if let Some(problem) = problem.filter(|problem| !problem.text.is_empty()) { p { (user_text(&problem.text)) } }
                @if !mistakes.is_empty() {
                    ul {
                        @for (anchor, label, error) in mistakes {
                            li { a href={ "#" (anchor) } { (user_text(label)) } ": " (user_text(error)) }
                        }
                    }
                }
            }
        }
    }
}

/// The permissions: a choice, or a list if they are fixed.
pub(super) fn scope_fields(shell: &PageContext, scopes: &[ScopeChoice], fixed: bool) -> Markup {
    if fixed { scope_list(shell, scopes) } else { scope_checkboxes(shell, scopes) }
}

fn scope_list(shell: &PageContext, scopes: &[ScopeChoice]) -> Markup {
    html! {
        ul.asked {
            @for scope in scopes {
                li {
                    (scope_label(scope))
                    (held_note(shell, scope.held))
                    @if let Some(sensitive) = &scope.sensitive { p.hint { (user_text(sensitive)) } }
                }
            }
        }
    }
}

/// The hidden field distinguishes an empty choice from no choice, because unticked boxes are not sent.
fn scope_checkboxes(shell: &PageContext, scopes: &[ScopeChoice]) -> Markup {
    let numbered = || scopes.iter().enumerate();
    let shown = |scope: &ScopeChoice| scopes.len() <= SCOPES_SHOWN_AT_ONCE || scope.required || scope.checked;
    let folded = numbered().filter(|(_, scope)| !shown(scope)).count();
    html! {
        fieldset {
            legend { (shell.text.form.choose_scopes) }
            input type="hidden" name="chosen" value="scopes";
            ul.asked { @for (index, scope) in numbered().filter(|(_, scope)| shown(scope)) { (scope_checkbox(shell, index, scope)) } }
            @if folded > 0 {
                details open[folded == scopes.len()] {
                    summary { (fill_plain(shell.text.form.more_scopes, &[("count", &folded.to_string())])) }
                    ul.asked { @for (index, scope) in numbered().filter(|(_, scope)| !shown(scope)) { (scope_checkbox(shell, index, scope)) } }
                }
            }
        }
    }
}

fn scope_checkbox(shell: &PageContext, index: usize, scope: &ScopeChoice) -> Markup {
    let hinted = scope.sensitive.is_some();
    let described = hinted.then(|| format!("scope-{index}-hint"));
    html! {
        li {
            label.tick {
                input type="checkbox" name="scope" value=(scope.id) checked[scope.checked || scope.required]
                    disabled[scope.required] aria-describedby=[described.as_deref()];
                span {
                    (scope_label(scope))
                    @if scope.required { small { (shell.text.form.always_needed) } }
                    (held_note(shell, scope.held))
                }
            }
            @if let Some(sensitive) = &scope.sensitive {
                p.hint id={ "scope-" (index) "-hint" } { (user_text(sensitive)) }
            }
        }
    }
}

fn held_note(shell: &PageContext, held: HeldScope) -> Markup {
    html! {
        @match held {
            HeldScope::Unasked => {},
            HeldScope::Granted => small { (shell.text.form.already_allowed) },
            HeldScope::Missing => small { (shell.text.form.missing) },
        }
    }
}

fn scope_label(scope: &ScopeChoice) -> Markup {
    html! {
        @if let Some(description) = &scope.description { span { (user_text(description)) } }
        (code_text(&scope.id))
    }
}
