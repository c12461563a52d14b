//! What forms are built of: fields for what a person enters, boxes for permissions, and what was wrong.
//!
//! Owns labels, hints and their ties to fields, and how a browser is kept from storing a secret. Refuses
//! to send a secret back: one that was not accepted is entered again.

use std::fmt;

use maud::{Markup, html};

use super::frame::{code_text, external_link, user_text};

/// Permissions that are shown at once; of more, those that are not ticked fold away.
const SCOPES_SHOWN_AT_ONCE: usize = 8;

/// What the names of inputs begin with: apart from the form's own fields, whatever an app calls its.
pub const INPUT_PREFIX: &str = "input.";

/// A permission that can be asked for.
#[derive(Debug, Clone, Default)]
pub struct ScopeChoice {
    /// As the app writes it: the value of the field `scope`.
    pub id: String,
    /// What it allows.
    pub description: Option<String>,
    /// What the app demands before it grants this, in a sentence.
    pub sensitive: Option<String>,
    /// Whether it is always asked for. The form does not send it: whoever reads the form adds it.
    pub required: bool,
    /// Whether it is ticked.
    pub checked: bool,
    /// Whether the connection has it already.
    pub granted: bool,
}

/// Something a person enters: a variable of the app, or a part of a credential.
#[derive(Clone, Default)]
pub struct FormField {
    /// Its id in the app's definition. The form's field is called [`field_name`] of it.
    pub id: String,
    /// What it is called.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// The page of the app where it is found.
    pub url: Option<String>,
    /// Whether nobody may read it over a shoulder.
    pub secret: bool,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may have several lines.
    pub multiline: bool,
    /// How it looks. Shown beside the field, where it stays while somebody types.
    pub placeholder: Option<String>,
    /// What was entered before. A secret's is never shown, whatever stands here.
    pub value: Option<String>,
    /// Why it was not accepted.
    pub error: Option<String>,
}

/// What was entered is left out: it may be a secret.
impl fmt::Debug for FormField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("id", &self.id).field("error", &self.error).finish_non_exhaustive()
    }
}

/// Why a form was not accepted.
#[derive(Debug, Clone)]
pub struct FormError {
    /// In a few words: "Acme did not accept this key".
    pub title: String,
    /// What to do about it; empty where the fields say it all.
    pub text: String,
}

/// What the form's field of an input is called.
pub fn field_name(id: &str) -> String {
    format!("{INPUT_PREFIX}{id}")
}

/// Where the page has an input: its place in the list, as an app's id may be anything.
fn element_id(index: usize) -> String {
    format!("input-{index}")
}

/// The fields, in their order.
pub(super) fn fields(inputs: &[FormField]) -> Markup {
    html! { @for (index, input) in inputs.iter().enumerate() { (field(&element_id(index), input)) } }
}

fn field(anchor: &str, input: &FormField) -> Markup {
    let hinted = input.help.is_some() || input.url.is_some() || input.placeholder.is_some();
    let described = described_by(anchor, hinted, input.error.is_some());
    html! {
        div.field.wrong[input.error.is_some()] {
            label for=(anchor) { (user_text(&input.label)) @if input.optional { " (optional)" } }
            @if hinted { (hint(anchor, input)) }
            (field_error(anchor, input.error.as_deref()))
            (input_element(anchor, input, described.as_deref()))
        }
    }
}

/// A browser offers to keep what is typed into a password field unless password managers are told that it is none: by the
/// attribute of the standard, which some browsers heed for filling only, and by those the managers have agreed on.
/// Spelling is not checked: some browsers send the text away for it. A field of several lines loses the line break it begins with.
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

fn hint(anchor: &str, input: &FormField) -> Markup {
    html! {
        p.hint id={ (anchor) "-hint" } {
            @if let Some(help) = &input.help { (user_text(help)) " " }
            @if let Some(url) = &input.url { (external_link(&html! { "Find it at the app" }, url)) " " }
            @if let Some(example) = &input.placeholder { "Looks like " (code_text(example)) }
        }
    }
}

/// Why a field was not accepted, beside it.
pub(super) fn field_error(anchor: &str, error: Option<&str>) -> Markup {
    html! {
        @if let Some(error) = error {
            p.mistake id={ (anchor) "-error" } { span.unseen { "Not accepted: " } (user_text(error)) }
        }
    }
}

/// The texts that belong to a field, as `aria-describedby` lists them.
pub(super) fn described_by(anchor: &str, hinted: bool, wrong: bool) -> Option<String> {
    match (hinted, wrong) {
        (false, false) => None,
        (true, false) => Some(format!("{anchor}-hint")),
        (false, true) => Some(format!("{anchor}-error")),
        (true, true) => Some(format!("{anchor}-error {anchor}-hint")),
    }
}

/// A field that was not accepted: where it is, what it is called, why.
pub(super) type InvalidField<'a> = (String, &'a str, &'a str);

/// The inputs that were not accepted.
pub(super) fn invalid_fields(inputs: &[FormField]) -> Vec<InvalidField<'_>> {
    let numbered = inputs.iter().enumerate();
    numbered
        .filter_map(|(index, input)| Some((element_id(index), input.label.as_str(), input.error.as_deref()?)))
        .collect()
}

/// What was wrong, at the top, where a screen reader says it at once, with ways to the fields.
pub(super) fn error_summary(problem: Option<&FormError>, mistakes: &[InvalidField<'_>]) -> Markup {
    html! {
        @if problem.is_some() || !mistakes.is_empty() {
            section.panel.bad role="alert" aria-labelledby="problem" {
                h2 #problem {
                    @match problem {
                        Some(problem) => (user_text(&problem.title)),
                        None => "Something has to be corrected",
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

/// The permissions: a choice, or a list where they are fixed.
pub(super) fn scope_fields(scopes: &[ScopeChoice], fixed: bool) -> Markup {
    if fixed { scope_list(scopes) } else { scope_checkboxes(scopes) }
}

fn scope_list(scopes: &[ScopeChoice]) -> Markup {
    html! {
        ul.asked {
            @for scope in scopes {
                li {
                    (scope_label(scope))
                    @if let Some(sensitive) = &scope.sensitive { p.hint { (user_text(sensitive)) } }
                }
            }
        }
    }
}

/// The hidden field tells a choice of nothing from no choice: boxes that are not ticked are not sent.
fn scope_checkboxes(scopes: &[ScopeChoice]) -> Markup {
    let numbered = || scopes.iter().enumerate();
    let shown = |scope: &ScopeChoice| scopes.len() <= SCOPES_SHOWN_AT_ONCE || scope.required || scope.checked;
    let folded = numbered().filter(|(_, scope)| !shown(scope)).count();
    html! {
        fieldset {
            legend { "Choose what to allow" }
            input type="hidden" name="chosen" value="scopes";
            ul.asked { @for (index, scope) in numbered().filter(|(_, scope)| shown(scope)) { (scope_checkbox(index, scope)) } }
            @if folded > 0 {
                details open[folded == scopes.len()] {
                    summary { "More permissions (" (folded) ")" }
                    ul.asked { @for (index, scope) in numbered().filter(|(_, scope)| !shown(scope)) { (scope_checkbox(index, scope)) } }
                }
            }
        }
    }
}

fn scope_checkbox(index: usize, scope: &ScopeChoice) -> Markup {
    let hinted = scope.sensitive.is_some();
    let described = hinted.then(|| format!("scope-{index}-hint"));
    html! {
        li {
            label.tick {
                input type="checkbox" name="scope" value=(scope.id) checked[scope.checked || scope.required]
                    disabled[scope.required] aria-describedby=[described.as_deref()];
                span {
                    (scope_label(scope))
                    @if scope.required { small { "always needed" } }
                    @if scope.granted { small { "already allowed" } }
                }
            }
            @if let Some(sensitive) = &scope.sensitive {
                p.hint id={ "scope-" (index) "-hint" } { (user_text(sensitive)) }
            }
        }
    }
}

fn scope_label(scope: &ScopeChoice) -> Markup {
    html! {
        @if let Some(description) = &scope.description { span { (user_text(description)) } }
        (code_text(&scope.id))
    }
}
