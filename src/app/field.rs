//! What a person enters: the fields of a manual credential, and the variables of an app's addresses.
//!
//! Owns their validation. A valid value has its field's form. An error names the field and the remedy, and never
//! repeats a value.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use serde::Serialize;

use super::manual_input::{
    FieldPlacement, describe_first_invalid, is_unusual_space, parse_pasted_url, strip_any_quotes, strip_invisible,
    unwrap_pasted_value,
};
use super::{AuthMethod, JsonPointer};
use crate::environment::Environment;
use crate::gather::Gather as _;
use crate::secret::Secret;

/// Longest value in one line, in bytes.
const MAX_LINE_BYTES: usize = 4096;
/// Longest value in several lines, in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Longest value of a variable, in bytes.
const MAX_VARIABLE_BYTES: usize = 255;
/// Longest pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256;
/// Largest compiled pattern, in bytes.
const MAX_COMPILED_BYTES: usize = 64 * 1024;
/// The resolution with which the size of a compiled pattern is measured, in bytes.
const MIN_COMPILED_BYTES: usize = 512;
/// The highest cost of a match: bytes of the compiled pattern times bytes of the value. Each unit takes at most 0.75 ns
/// on a machine of 2024, so the most expensive match takes about 3 ms there.
const MAX_MATCH_COST: usize = 4 * 1024 * 1024;

/// The problem of one field of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field's path, such as `auth.token_url`. `.` is the whole definition.
    pub field: String,
    /// The problem and the remedy.
    pub problem: String,
}

/// A regular expression that must match a whole value. The time of a match is proportional to the size of the compiled
/// pattern times the length of the value, so the size limits the length. Compiled at first use.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    compiled: OnceCell<Option<CompiledPattern>>,
}

#[derive(Clone)]
struct CompiledPattern {
    regex: Regex,
    size: usize,
}

fn build_regex(text: &str, size: usize) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(size).build().ok()
}

fn compile_pattern(text: &str) -> Option<CompiledPattern> {
    // Also compiled by itself: otherwise an unbalanced bracket would end the group and so remove the anchors.
    build_regex(text, MAX_COMPILED_BYTES)?;
    let anchored = format!("^(?:{text})$");
    let sizes = std::iter::successors(Some(MIN_COMPILED_BYTES), |size| Some(size + size / 4));
    let mut sizes = sizes.take_while(|size| *size < MAX_COMPILED_BYTES).chain([MAX_COMPILED_BYTES]);
    sizes.find_map(|size| Some(CompiledPattern { regex: build_regex(&anchored, size)?, size }))
}

impl Pattern {
    /// Reads a pattern. `None` if it is not a regular expression or too long.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_PATTERN_BYTES {
            return None;
        }
        let compiled = compile_pattern(text)?;
        Some(Self { text: text.to_owned(), compiled: OnceCell::from(Some(compiled)) })
    }

    /// A stored pattern, which was validated before. An invalid text matches nothing.
    pub fn from_stored(text: &str) -> Self {
        Self { text: text.to_owned(), compiled: OnceCell::new() }
    }

    /// The same, ignoring case, as in a host.
    #[must_use]
    pub fn ignoring_case(&self) -> Self {
        Self::from_stored(&format!("(?i){}", self.text))
    }

    fn compiled(&self) -> Option<&CompiledPattern> {
        self.compiled.get_or_init(|| compile_pattern(&self.text)).as_ref()
    }

    /// Its compiled size in bytes, rounded up.
    pub fn compiled_size(&self) -> Option<usize> {
        self.compiled().map(|compiled| compiled.size)
    }

    /// The longest value that it is matched with, in bytes.
    pub fn max_value_bytes(&self) -> usize {
        self.compiled_size().map_or(0, |size| (MAX_MATCH_COST / size).max(MAX_VARIABLE_BYTES))
    }

    /// Whether the whole value matches. A value longer than [`Pattern::max_value_bytes`] does not match.
    pub fn is_match(&self, value: &str) -> bool {
        value.len() <= self.max_value_bytes() && self.compiled().is_some_and(|compiled| compiled.regex.is_match(value))
    }

    /// What its first group matches in a value that matches as a whole; the value, where it has no group.
    pub fn first_group<'a>(&self, value: &'a str) -> Option<&'a str> {
        if value.len() > self.max_value_bytes() {
            return None;
        }
        let found = self.compiled()?.regex.captures(value)?;
        if found.len() < 2 { Some(value) } else { found.get(1).map(|group| group.as_str()) }
    }

    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// A field of a manual credential.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CredentialField"))]
pub struct CredentialField {
    /// Its name in `credential`.
    pub id: String,
    /// Its label in the form.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// The app's page with the value.
    #[cfg_attr(test, schemars(url))]
    pub url: Option<String>,
    /// Whether the form hides it.
    pub secret: bool,
    /// Whether it may be empty.
    pub optional: bool,
    /// Whether it may have several lines.
    pub multiline: bool,
    /// An example.
    pub placeholder: Option<String>,
    /// The pattern of its value.
    #[serde(skip)]
    pub pattern: Option<Pattern>,
    /// The error text for another value.
    #[serde(skip)]
    pub pattern_help: Option<String>,
    /// What the prefix of a value means.
    #[serde(skip)]
    pub marks: Vec<PrefixMark>,
}

/// What the prefix of a value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixMark {
    /// The prefix.
    pub prefix: String,
    /// Added to the account's label: `test mode`.
    pub label: Option<String>,
    /// Added to the account's id: one id names two accounts, one of them for tests.
    pub account: Option<String>,
    /// The environment of such a value.
    pub environment: Option<Environment>,
    /// Why such a value is refused, and what to do instead.
    pub refuse: Option<String>,
    /// A note for the person about such a value.
    pub warn: Option<String>,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueFormat {
    /// One word of visible ASCII characters.
    Token,
    /// One line of visible ASCII characters, and spaces.
    Ascii,
    /// One line.
    Line,
    /// Several lines.
    Text,
}

impl ValueFormat {
    /// The problem of a value, as a sentence that follows its name.
    pub fn find_problem(self, value: &str) -> Option<String> {
        self.find_problem_within(value, if self == Self::Text { MAX_TEXT_BYTES } else { MAX_LINE_BYTES })
    }

    /// The same, with a maximum length in bytes.
    pub fn find_problem_within(self, value: &str, longest: usize) -> Option<String> {
        let lines = value.contains(['\n', '\r']);
        if value.len() > longest {
            return Some(format!("is over {longest} bytes."));
        }
        if lines && self != Self::Text {
            return Some("must be one line.".to_owned());
        }
        describe_first_invalid(value, |c| match self {
            Self::Token => !c.is_ascii_graphic(),
            Self::Ascii => !c.is_ascii() || c.is_control(),
            Self::Line => c.is_control() || is_unusual_space(c),
            Self::Text => c.is_control() && !matches!(c, '\n' | '\r' | '\t'),
        })
    }
}

impl CredentialField {
    /// A field with default options.
    pub(super) fn with_defaults(id: &str, label: &str, secret: bool) -> Self {
        Self {
            id: id.to_owned(),
            label: label.to_owned(),
            help: None,
            url: None,
            secret,
            optional: false,
            multiline: false,
            placeholder: None,
            pattern: None,
            pattern_help: None,
            marks: vec![],
        }
    }

    /// The mark with the longest matching prefix.
    pub fn matching_mark(&self, value: &str) -> Option<&PrefixMark> {
        self.marks.iter().filter(|mark| value.starts_with(&mark.prefix)).max_by_key(|mark| mark.prefix.len())
    }

    /// The value to store: without text that copying adds. `usage` says where requests contain it.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub fn parse_value(&self, value: &str, usage: &FieldPlacement) -> Result<Secret, String> {
        let value = strip_invisible(value);
        let fits = |value: &str| self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(value));
        let fits: Option<&dyn Fn(&str) -> bool> = if self.pattern.is_some() { Some(&fits) } else { None };
        let value = if self.multiline { &value } else { unwrap_pasted_value(&value, usage, fits)? };
        if value.is_empty() {
            return Err("is missing.".to_owned());
        }
        let form = match &usage.header {
            _ if self.multiline => ValueFormat::Text,
            Some(_) => ValueFormat::Ascii,
            None => ValueFormat::Line,
        };
        if let Some(problem) = form.find_problem(value) {
            let reason = match &usage.header {
                Some(header) if form == ValueFormat::Ascii && !value.is_ascii() => {
                    format!(" It is sent in the header {header} as it is, so it must be ASCII.")
                }
                _ => String::new(),
            };
            return Err(format!("{problem}{reason} Copy it again from the app."));
        }
        if let Some(refuse) = self.matching_mark(value).and_then(|mark| mark.refuse.as_ref()) {
            return Err(refuse.clone());
        }
        if let Some(pattern) = &self.pattern {
            if value.len() > pattern.max_value_bytes() {
                return Err(format!(
                    "is over {} bytes, which is too long for this app's pattern.",
                    pattern.max_value_bytes()
                ));
            }
            if !pattern.is_match(value) {
                return Err(self.mismatch_message());
            }
        }
        Ok(Secret::new(value))
    }

    fn mismatch_message(&self) -> String {
        match (&self.pattern_help, &self.placeholder) {
            (Some(help), _) => help.clone(),
            (None, Some(looks)) => format!("does not look like {looks}. Copy it again from the app."),
            (None, None) => format!("does not look like this app’s {}. Copy it again from the app.", self.label),
        }
    }
}

impl AuthMethod {
    /// The value of a variable as entered. If a whole address was pasted, its part is extracted.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub fn read_variable(&self, name: &str, variable: &Variable, value: &str) -> Result<String, String> {
        let value = strip_invisible(value);
        let value = strip_any_quotes(&value);
        if !value.contains(['.', '/', ':']) {
            return variable.parse_value(value);
        }
        let parts = self
            .url_templates()
            .filter_map(|address| address.extract_placeholder_value(name, &parse_pasted_url(value)?));
        let parts = parts.filter_map(|(literal, part)| Some((literal, variable.parse_value(&part).ok()?)));
        // The address with the longest fixed host is used.
        match parts.max_by_key(|(literal, _)| *literal) {
            Some((_, part)) => Ok(part),
            None => variable.parse_value(value).map_err(|problem| {
                let within = self.url_templates().find_map(|address| address.origin_of_placeholder(name));
                match within {
                    Some(within) => format!(
                        "is not what stands in the place of {{{name}}} in {within}. It {problem} An address of the app \
                         may be pasted as a whole."
                    ),
                    None => problem,
                }
            }),
        }
    }

    /// The marks that entered values carry.
    pub fn field_marks<'a>(&'a self, fields: &'a BTreeMap<String, Secret>) -> impl Iterator<Item = &'a PrefixMark> {
        self.fields.iter().filter_map(|field| field.matching_mark(fields.get(&field.id)?.expose().trim()))
    }

    /// The environment that entered values belong to, and the field that shows it.
    pub fn environment_of_fields(&self, fields: &BTreeMap<String, Secret>) -> Option<(&str, Environment)> {
        self.fields.iter().find_map(|field| {
            let mark = field.matching_mark(fields.get(&field.id)?.expose().trim())?;
            Some((field.id.as_str(), mark.environment?))
        })
    }
}

/// The path of a credential's field in requests, errors and forms.
pub fn field_path(id: &str) -> String {
    format!("credential.{id}")
}

/// The path of a variable in requests and errors.
pub fn variable_path(name: &str) -> String {
    format!("variables.{name}")
}

/// Reads the entered fields of an app. Unknown fields are refused.
///
/// # Errors
/// Every invalid field.
pub fn read_fields(
    auth_method: &AuthMethod,
    entered: &BTreeMap<String, Secret>,
) -> Result<BTreeMap<String, Secret>, Vec<FieldProblem>> {
    read_field_values(&auth_method.fields, entered, |id| auth_method.field_placement(id))
}

fn read_field_values(
    fields: &[CredentialField],
    entered: &BTreeMap<String, Secret>,
    usage: impl Fn(&str) -> FieldPlacement,
) -> Result<BTreeMap<String, Secret>, Vec<FieldProblem>> {
    let wrong = |id: &str, problem: &str| FieldProblem { field: field_path(id), problem: problem.to_owned() };
    let mut problems: Vec<_> = entered
        .keys()
        .filter(|id| fields.iter().all(|field| field.id != **id))
        .map(|id| wrong(id, "is no field of this app's credential; remove it."))
        .collect();
    let mut read = BTreeMap::new();
    for field in fields {
        let value = entered.get(&field.id).map(Secret::expose).unwrap_or_default();
        if field.optional && strip_invisible(value).is_empty() {
            continue;
        }
        match field.parse_value(value, &usage(&field.id)) {
            Ok(value) => drop(read.insert(field.id.clone(), value)),
            Err(problem) => problems.push(wrong(&field.id, &problem)),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

/// The source of a variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableSource {
    /// The person enters it when connecting.
    Person,
    /// It is set together with the OAuth client.
    Client,
    /// Read from the token response.
    Token(JsonPointer),
    /// Read from the identity response.
    Identity(JsonPointer),
    /// A parameter of the app's redirect.
    Callback(String),
}

impl VariableSource {
    /// Its pointer in a token response, if that is its source.
    pub fn token_response_pointer(&self) -> Option<&JsonPointer> {
        match self {
            Self::Token(at) => Some(at),
            Self::Person | Self::Client | Self::Identity(_) | Self::Callback(_) => None,
        }
    }

    /// Its pointer in an identity response, if that is its source.
    pub fn identity_response_pointer(&self) -> Option<&JsonPointer> {
        match self {
            Self::Identity(at) => Some(at),
            Self::Person | Self::Client | Self::Token(_) | Self::Callback(_) => None,
        }
    }
}

impl fmt::Display for VariableSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person => f.write_str("person"),
            Self::Client => f.write_str("client"),
            Self::Token(at) => write!(f, "token {}", at.as_str()),
            Self::Identity(at) => write!(f, "identity {}", at.as_str()),
            Self::Callback(parameter) => write!(f, "callback {parameter}"),
        }
    }
}

/// A variable in addresses.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its label in the form.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// An example.
    pub example: Option<String>,
    /// The pattern of its value.
    pub pattern: Option<Pattern>,
    /// The default value.
    pub default: Option<String>,
    /// Its source.
    pub source: VariableSource,
}

impl Variable {
    /// The validated value.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub fn parse_value(&self, value: &str) -> Result<String, String> {
        let value = value.trim();
        let visible = value.bytes().all(|b| b.is_ascii_graphic());
        let origin = self.pattern.is_some() && visible && value.starts_with("https://");
        let step = matches!(value, "." | "..");
        let plain = !step && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
        let fits = || self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(value));
        if !value.is_empty() && value.len() <= MAX_VARIABLE_BYTES && (plain || origin) && fits() {
            return Ok(value.to_owned());
        }
        Err(match &self.example {
            Some(example) => format!("must look like {example}."),
            None => "must be letters, digits, dots and dashes.".to_owned(),
        })
    }
}

/// Reads the variables that a person (or the caller who sets up a client) provides. Unknown ones are refused, and
/// defaults are added.
///
/// # Errors
/// Every invalid variable.
pub fn read_variables(
    auth_method: &AuthMethod,
    from: &VariableSource,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<FieldProblem>> {
    read_variable_values(&auth_method.variables, from, given, |name, variable, value| {
        auth_method.read_variable(name, variable, value)
    })
}

fn read_variable_values(
    variables: &BTreeMap<String, Variable>,
    from: &VariableSource,
    given: &BTreeMap<String, String>,
    read_one: impl Fn(&str, &Variable, &str) -> Result<String, String>,
) -> Result<BTreeMap<String, String>, Vec<FieldProblem>> {
    let wrong = |name: &str, problem: &str| FieldProblem { field: variable_path(name), problem: problem.to_owned() };
    let wanted: BTreeMap<_, _> = variables.iter().filter(|(_, variable)| variable.source == *from).gather();
    let mut problems: Vec<_> = given
        .keys()
        .filter(|name| !wanted.contains_key(name))
        .map(|name| wrong(name, "is no variable that is given here; remove it."))
        .collect();
    let mut read = BTreeMap::new();
    for (name, variable) in wanted {
        let value = given.get(name).filter(|value| !strip_invisible(value).is_empty()).or(variable.default.as_ref());
        match value.map(|value| read_one(name, variable, value)) {
            Some(Ok(value)) => drop(read.insert(name.clone(), value)),
            Some(Err(problem)) => problems.push(wrong(name, &problem)),
            None => problems.push(wrong(name, "is missing.")),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_field() -> CredentialField {
        let mark = |prefix: &str| PrefixMark {
            prefix: prefix.into(),
            label: None,
            account: None,
            environment: None,
            refuse: None,
            warn: None,
        };
        CredentialField {
            pattern: Pattern::parse("(rk|sk)_(live|test)_[a-z]+"),
            placeholder: Some("rk_live_…".into()),
            marks: vec![
                PrefixMark { label: Some("test mode".into()), ..mark("rk_test_") },
                mark("rk_"),
                PrefixMark { refuse: Some("is too powerful.".into()), ..mark("sk_live_") },
            ],
            ..CredentialField::with_defaults("api_key", "Key", true)
        }
    }

    fn header_placement() -> FieldPlacement {
        FieldPlacement::in_header("X-Key", "")
    }

    fn manual_values(id: &str, value: &str) -> BTreeMap<String, Secret> {
        BTreeMap::from([(id.to_owned(), Secret::new(value))])
    }

    #[test]
    fn a_value_is_trimmed_and_checked_and_not_repeated_in_errors() {
        let read =
            |value: &str| read_field_values(&[key_field()], &manual_values("api_key", value), |_| header_placement());
        assert_eq!(read(" rk_live_abc\n").unwrap()["api_key"].expose(), "rk_live_abc");
        for (value, problem) in [
            ("", "is missing."),
            ("hunter2", "does not look like rk_live_…"),
            ("sk_live_hunter", "is too powerful."),
            ("rk_live_a b", "does not look like"),
            ("rk_live_\u{7f}", "has a control character after character 8. Copy it again"),
            ("ключhunter", "not ASCII"),
            ("rk_live_a\nhunter", "must be one line"),
            (&"hunter".repeat(1000), "is over 4096 bytes"),
        ] {
            let problems = read(value).unwrap_err();
            assert!(problems[0].problem.contains(problem), "{problems:?}");
            assert!(!format!("{problems:?}").contains("hunter"), "{problems:?}");
        }
        assert_eq!(
            read_field_values(&[key_field()], &manual_values("other", "x"), |_| header_placement()).unwrap_err()[0]
                .field,
            "credential.other"
        );
    }

    #[test]
    fn the_longest_matching_prefix_is_used() {
        assert_eq!(key_field().matching_mark("rk_test_a").unwrap().label.as_deref(), Some("test mode"));
        assert_eq!(key_field().matching_mark("rk_live_a").unwrap().prefix, "rk_");
        assert!(key_field().matching_mark("x").is_none());
    }

    #[test]
    fn optional_fields_may_be_absent_and_multiline_fields_may_have_lines() {
        let file = CredentialField {
            multiline: true,
            optional: true,
            ..CredentialField::with_defaults("key", "Key file", true)
        };
        let read = |given: &BTreeMap<String, Secret>| {
            read_field_values(std::slice::from_ref(&file), given, |_| FieldPlacement::default())
        };
        assert!(read(&BTreeMap::new()).unwrap().is_empty());
        assert!(read(&manual_values("key", "{\n\t\"a\": 1\r\n}")).is_ok());
    }

    #[test]
    fn variables_are_read_from_the_caller_that_provides_them() {
        let variable = |from, default: Option<&str>| Variable {
            label: "X".into(),
            help: None,
            example: Some("acme".into()),
            pattern: Pattern::parse("[a-z]+"),
            default: default.map(str::to_owned),
            source: from,
        };
        let variables = BTreeMap::from([
            ("shop".to_owned(), variable(VariableSource::Person, None)),
            ("tenant".to_owned(), variable(VariableSource::Client, Some("common"))),
        ]);
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let read = |from, given| {
            read_variable_values(&variables, &from, &given, |_, variable, value| variable.parse_value(value))
        };
        assert_eq!(read(VariableSource::Person, given("shop", " acme ")).unwrap()["shop"], "acme");
        assert_eq!(read(VariableSource::Client, BTreeMap::new()).unwrap()["tenant"], "common");
        assert_eq!(read(VariableSource::Person, BTreeMap::new()).unwrap_err()[0].problem, "is missing.");
        assert_eq!(
            read(VariableSource::Person, given("shop", "ev.il/")).unwrap_err()[0].problem,
            "must look like acme."
        );
        let paths: Vec<_> =
            read(VariableSource::Person, given("tenant", "a")).unwrap_err().into_iter().map(|one| one.field).collect();
        assert_eq!(paths, ["variables.tenant", "variables.shop"]);
    }

    /// Patterns that are expensive for their length.
    const EXPENSIVE_PATTERNS: [&str; 8] = [
        "(.*){0,60}z",
        "(?:[a-y]*[a-x]*){0,30}z",
        "([a-z]*[b-z0-9]*){0,30}z",
        "(.{0,3}){0,60}z",
        "((((((a*)*)*)*)*)*)*z",
        "(?:[acegikmoqsuwy]|[bdfhjlnprtvxz]|[a-z]){0,80}1",
        "(()|()|()|()|()){0,50}z",
        "(?:.*){0,200}z",
    ];

    #[test]
    fn matching_costs_at_most_pattern_length_times_value_length() {
        for text in EXPENSIVE_PATTERNS {
            let pattern = Pattern::parse(text).unwrap();
            let (size, longest) = (pattern.compiled_size().unwrap(), pattern.max_value_bytes());
            assert!(
                size * longest <= MAX_MATCH_COST.max(MAX_COMPILED_BYTES * MAX_VARIABLE_BYTES),
                "{text}: {size} {longest}"
            );
            assert!(
                size > 16 * 1024 || size * longest <= MAX_MATCH_COST,
                "one that may be stored: {text}: {size} {longest}"
            );
            assert!(!pattern.is_match(&"a".repeat(longest + 1)), "{text}");
            // The size matches that of the compiled pattern within a fifth.
            let anchored = format!("^(?:{text})$");
            assert!(build_regex(&anchored, size).is_some(), "{text}");
            assert!(size == MIN_COMPILED_BYTES || build_regex(&anchored, size * 3 / 4).is_none(), "{text}: {size}");
        }
        assert!(
            Pattern::parse(EXPENSIVE_PATTERNS[0]).unwrap().max_value_bytes() < 400,
            "not the 4096 bytes that a field may have"
        );
        for usual in ["[A-Za-z0-9][A-Za-z0-9-]*", r"[^@\s]+@[^@\s]+\.[^@\s]+", r"sk-ant-\S+"] {
            assert!(Pattern::parse(usual).unwrap().max_value_bytes() >= MAX_LINE_BYTES, "{usual}");
        }
    }

    #[test]
    fn a_value_that_is_too_long_for_its_pattern_is_refused_without_matching() {
        let field = CredentialField {
            pattern: Pattern::parse(EXPENSIVE_PATTERNS[0]),
            ..CredentialField::with_defaults("api_key", "Key", true)
        };
        let problem = field.parse_value(&"z".repeat(2000), &FieldPlacement::default()).unwrap_err();
        assert!(
            problem.starts_with("is over 288 bytes") && problem.contains("too long for this app's pattern"),
            "{problem}"
        );
        assert!(field.parse_value(&"z".repeat(100), &FieldPlacement::default()).is_ok());
        let variable = Variable {
            label: "X".into(),
            help: None,
            example: None,
            pattern: Pattern::parse(EXPENSIVE_PATTERNS[7]),
            default: None,
            source: VariableSource::Person,
        };
        assert!(variable.parse_value(&"z".repeat(255)).is_ok(), "a variable is always short enough");
        assert!(variable.parse_value(&"z".repeat(256)).is_err());
    }

    #[test]
    fn a_stored_pattern_is_compiled_at_first_use() {
        let pattern = Pattern::from_stored("[a-z]+");
        assert!(pattern.compiled.get().is_none());
        assert!(pattern.is_match("abc") && !pattern.is_match("1"));
        assert!(!Pattern::from_stored("(").is_match("("));
    }

    #[test]
    fn a_pattern_must_match_the_whole_value() {
        let pattern = Pattern::parse("a|b").unwrap();
        assert!(pattern.is_match("a") && pattern.is_match("b"));
        assert!(!pattern.is_match("ab") && !pattern.is_match("xa") && !pattern.is_match("a\n"));
        assert!(Pattern::parse("(").is_none() && Pattern::parse(&"a".repeat(300)).is_none());
    }
}
