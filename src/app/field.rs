//! What a person enters: the fields of a pasted credential, and the variables of an app's addresses.
//!
//! Owns their checks. A value that passed has its field's form; a complaint names the field and says what to
//! do, and never repeats a value.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use regex_lite::{Regex, RegexBuilder};
use serde::Serialize;

use super::entered::{Usage, clean, is_odd_space, name_first, unwrapped};
use super::{App, FieldError, Pointer};
use crate::secret::Secret;

/// Bytes of a value in one line, at most.
const LONGEST_LINE: usize = 4096;
/// Bytes of a value in several lines, at most.
const LONGEST_TEXT: usize = 16 * 1024;

/// Bytes of a variable's value, at most.
const LONGEST_VARIABLE: usize = 255;
/// Bytes of a pattern, at most.
const LONGEST_PATTERN: usize = 256;
/// Bytes that a compiled pattern may take.
const LARGEST_PROGRAM: usize = 64 * 1024;
/// The smallest size that compiled patterns are told apart by, in bytes.
const SMALLEST_PROGRAM: usize = 512;
/// What a comparison may cost: bytes of the compiled pattern times bytes of the value. Each product takes 0.75 ns at
/// most on a machine of 2024, so that the dearest comparison takes about 3 ms there.
const DEAREST: usize = 4 * 1024 * 1024;

/// A regular expression that a whole value must fit. A comparison takes time by the product of the compiled pattern's
/// size and the value's length, so that the length is limited by the size. Compiled when it is used first.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    compiled: OnceCell<Option<Compiled>>,
}

#[derive(Clone)]
struct Compiled {
    regex: Regex,
    size: usize,
}

fn build(text: &str, size: usize) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(size).build().ok()
}

fn compile(text: &str) -> Option<Compiled> {
    // By itself, too: else a stray bracket would end the group and with it the anchors.
    build(text, LARGEST_PROGRAM)?;
    let anchored = format!("^(?:{text})$");
    let sizes = std::iter::successors(Some(SMALLEST_PROGRAM), |size| Some(size + size / 4));
    let mut sizes = sizes.take_while(|size| *size < LARGEST_PROGRAM).chain([LARGEST_PROGRAM]);
    sizes.find_map(|size| Some(Compiled { regex: build(&anchored, size)?, size }))
}

impl Pattern {
    /// Reads one; `None` when it is no regular expression or too long.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST_PATTERN {
            return None;
        }
        let compiled = compile(text)?;
        Some(Self { text: text.to_owned(), compiled: OnceCell::from(Some(compiled)) })
    }

    /// One that was read before it was stored. A text that is no pattern fits nothing.
    pub fn stored(text: &str) -> Self {
        Self { text: text.to_owned(), compiled: OnceCell::new() }
    }

    /// The same, with capitals and small letters taken for the same, as in a host.
    #[must_use]
    pub fn without_case(&self) -> Self {
        Self::stored(&format!("(?i){}", self.text))
    }

    fn compiled(&self) -> Option<&Compiled> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref()
    }

    /// The bytes it takes when compiled, rounded up.
    pub fn size(&self) -> Option<usize> {
        self.compiled().map(|compiled| compiled.size)
    }

    /// Bytes of a value that it is compared with, at most.
    pub fn longest(&self) -> usize {
        self.size().map_or(0, |size| (DEAREST / size).max(LONGEST_VARIABLE))
    }

    /// Whether the whole value fits. One that is longer than [`Pattern::longest`] is not looked at.
    pub fn fits(&self, value: &str) -> bool {
        value.len() <= self.longest() && self.compiled().is_some_and(|compiled| compiled.regex.is_match(value))
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

/// A field of a credential that a person enters.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "CredentialField"))]
pub struct Field {
    /// Its name in `credential`.
    pub id: String,
    /// What the form calls it.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// The app's page where it is found.
    #[cfg_attr(test, schemars(url))]
    pub url: Option<String>,
    /// Whether a form hides it.
    pub secret: bool,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it has several lines.
    pub multiline: bool,
    /// How it looks.
    pub placeholder: Option<String>,
    /// What it must fit.
    #[serde(skip)]
    pub pattern: Option<Pattern>,
    /// What to say when it does not.
    #[serde(skip)]
    pub pattern_help: Option<String>,
    /// What its beginning tells.
    #[serde(skip)]
    pub marks: Vec<Mark>,
}

/// What the beginning of a value tells about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The beginning.
    pub prefix: String,
    /// Put behind the account's label: `test mode`.
    pub label: Option<String>,
    /// Put behind the account's id: one id names two accounts, one of them for tests.
    pub account: Option<String>,
    /// Why such a value is not taken, and what to do instead.
    pub refuse: Option<String>,
    /// What a person should know about it.
    pub warn: Option<String>,
}

/// What a value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One word of visible ASCII characters.
    Token,
    /// One line of visible ASCII characters, and spaces.
    Ascii,
    /// One line.
    Line,
    /// Several lines.
    Text,
}

impl Form {
    /// What is wrong with a value, as a sentence that goes on from its name.
    pub fn misfit(self, value: &str) -> Option<String> {
        self.misfit_within(value, if self == Self::Text { LONGEST_TEXT } else { LONGEST_LINE })
    }

    /// The same for a value of at most so many bytes.
    pub fn misfit_within(self, value: &str, longest: usize) -> Option<String> {
        let lines = value.contains(['\n', '\r']);
        if value.len() > longest {
            return Some(format!("is over {longest} bytes."));
        }
        if lines && self != Self::Text {
            return Some("has several lines and must be one.".to_owned());
        }
        name_first(value, |c| match self {
            Self::Token => !c.is_ascii_graphic(),
            Self::Ascii => !c.is_ascii() || c.is_control(),
            Self::Line => c.is_control() || is_odd_space(c),
            Self::Text => c.is_control() && !matches!(c, '\n' | '\r' | '\t'),
        })
    }
}

impl Field {
    /// A field as it is when a definition names none.
    pub(super) fn usual(id: &str, label: &str, secret: bool) -> Self {
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

    /// The mark of a value: the one with the longest prefix that fits.
    pub fn mark(&self, value: &str) -> Option<&Mark> {
        self.marks.iter().filter(|mark| value.starts_with(&mark.prefix)).max_by_key(|mark| mark.prefix.len())
    }

    /// The value as it is kept: without what copying brings along. `usage` tells where requests have it.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    pub fn read(&self, value: &str, usage: &Usage) -> Result<Secret, String> {
        let value = clean(value);
        let fits = |value: &str| self.pattern.as_ref().is_some_and(|pattern| pattern.fits(value));
        let fits: Option<&dyn Fn(&str) -> bool> = if self.pattern.is_some() { Some(&fits) } else { None };
        let value = if self.multiline { &value } else { unwrapped(&value, usage, fits)? };
        if value.is_empty() {
            return Err("is missing.".to_owned());
        }
        let form = match &usage.header {
            _ if self.multiline => Form::Text,
            Some(_) => Form::Ascii,
            None => Form::Line,
        };
        if let Some(problem) = form.misfit(value) {
            let reason = match &usage.header {
                Some(header) if form == Form::Ascii && !value.is_ascii() => {
                    format!(" It is sent in the header {header} as it is, so it must be ASCII.")
                }
                _ => String::new(),
            };
            return Err(format!("{problem}{reason} Copy it again from the app."));
        }
        if let Some(refuse) = self.mark(value).and_then(|mark| mark.refuse.as_ref()) {
            return Err(refuse.clone());
        }
        if let Some(pattern) = &self.pattern {
            if value.len() > pattern.longest() {
                return Err(format!("is over {} bytes, which is too long for this app's pattern.", pattern.longest()));
            }
            if !pattern.fits(value) {
                return Err(self.misfit());
            }
        }
        Ok(Secret::new(value))
    }

    fn misfit(&self) -> String {
        match (&self.pattern_help, &self.placeholder) {
            (Some(help), _) => help.clone(),
            (None, Some(looks)) => format!("does not look like {looks}. Copy it again from the app."),
            (None, None) => format!("does not look like this app’s {}. Copy it again from the app.", self.label),
        }
    }
}

/// Where a request, and a complaint about it, has a field of the credential. A form's inputs go by the same paths.
pub fn field_at(id: &str) -> String {
    format!("credential.{id}")
}

/// Where a request, and a complaint about it, has a variable.
pub fn variable_at(name: &str) -> String {
    format!("variables.{name}")
}

/// Reads what somebody entered for the fields of an app. Others are refused.
///
/// # Errors
/// Every field that is wrong.
pub fn read_fields(app: &App, entered: &BTreeMap<String, Secret>) -> Result<BTreeMap<String, Secret>, Vec<FieldError>> {
    read_each(&app.fields, entered, |id| app.usage(id))
}

fn read_each(
    fields: &[Field],
    entered: &BTreeMap<String, Secret>,
    usage: impl Fn(&str) -> Usage,
) -> Result<BTreeMap<String, Secret>, Vec<FieldError>> {
    let wrong = |id: &str, problem: &str| FieldError { field: field_at(id), problem: problem.to_owned() };
    let mut problems: Vec<_> = entered
        .keys()
        .filter(|id| fields.iter().all(|field| field.id != **id))
        .map(|id| wrong(id, "is no field of this app's credential; remove it."))
        .collect();
    let mut read = BTreeMap::new();
    for field in fields {
        let value = entered.get(&field.id).map(Secret::expose).unwrap_or_default();
        if field.optional && clean(value).is_empty() {
            continue;
        }
        match field.read(value, &usage(&field.id)) {
            Ok(value) => drop(read.insert(field.id.clone(), value)),
            Err(problem) => problems.push(wrong(&field.id, &problem)),
        }
    }
    if problems.is_empty() { Ok(read) } else { Err(problems) }
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Asked for when connecting.
    Person,
    /// Set together with the OAuth client.
    Client,
    /// Read from the token answer.
    Token(Pointer),
    /// Read from the identity answer.
    Identity(Pointer),
    /// A parameter of the app's redirect.
    Callback(String),
}

impl Origin {
    /// Where a token answer tells what comes from there.
    pub fn in_token_answer(&self) -> Option<&Pointer> {
        match self {
            Self::Token(at) => Some(at),
            Self::Person | Self::Client | Self::Identity(_) | Self::Callback(_) => None,
        }
    }

    /// The same of an identity answer.
    pub fn in_identity_answer(&self) -> Option<&Pointer> {
        match self {
            Self::Identity(at) => Some(at),
            Self::Person | Self::Client | Self::Token(_) | Self::Callback(_) => None,
        }
    }
}

impl fmt::Display for Origin {
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

/// Something that addresses depend on.
#[derive(Debug, Clone)]
pub struct Variable {
    /// What the form calls it.
    pub label: String,
    /// Where a person finds it.
    pub help: Option<String>,
    /// How it looks.
    pub example: Option<String>,
    /// What it must fit.
    pub pattern: Option<Pattern>,
    /// Taken when nothing is given.
    pub default: Option<String>,
    /// Where it comes from.
    pub from: Origin,
}

impl Variable {
    /// The value, if it is one.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    pub fn read(&self, value: &str) -> Result<String, String> {
        let value = value.trim();
        let visible = value.bytes().all(|b| b.is_ascii_graphic());
        let origin = self.pattern.is_some() && visible && value.starts_with("https://");
        let step = matches!(value, "." | "..");
        let plain = !step && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b));
        let fits = || self.pattern.as_ref().is_none_or(|pattern| pattern.fits(value));
        if !value.is_empty() && value.len() <= LONGEST_VARIABLE && (plain || origin) && fits() {
            return Ok(value.to_owned());
        }
        Err(match &self.example {
            Some(example) => format!("must look like {example}."),
            None => "must be letters, digits, dots and dashes.".to_owned(),
        })
    }
}

/// Reads the variables of an app that a person (or whoever sets up a client) gives. Others are refused; a default fills in.
///
/// # Errors
/// Every variable that is wrong.
pub fn read_variables(
    app: &App,
    from: &Origin,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
    read_all(&app.variables, from, given, |name, variable, value| app.read_variable(name, variable, value))
}

fn read_all(
    variables: &BTreeMap<String, Variable>,
    from: &Origin,
    given: &BTreeMap<String, String>,
    read_one: impl Fn(&str, &Variable, &str) -> Result<String, String>,
) -> Result<BTreeMap<String, String>, Vec<FieldError>> {
    let wrong = |name: &str, problem: &str| FieldError { field: variable_at(name), problem: problem.to_owned() };
    let wanted: BTreeMap<_, _> = variables.iter().filter(|(_, variable)| variable.from == *from).collect();
    let mut problems: Vec<_> = given
        .keys()
        .filter(|name| !wanted.contains_key(name))
        .map(|name| wrong(name, "is no variable that is given here; remove it."))
        .collect();
    let mut read = BTreeMap::new();
    for (name, variable) in wanted {
        let value = given.get(name).filter(|value| !clean(value).is_empty()).or(variable.default.as_ref());
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

    fn key() -> Field {
        let mark = |prefix: &str| Mark { prefix: prefix.into(), label: None, account: None, refuse: None, warn: None };
        Field {
            pattern: Pattern::parse("(rk|sk)_(live|test)_[a-z]+"),
            placeholder: Some("rk_live_…".into()),
            marks: vec![
                Mark { label: Some("test mode".into()), ..mark("rk_test_") },
                mark("rk_"),
                Mark { refuse: Some("is too powerful.".into()), ..mark("sk_live_") },
            ],
            ..Field::usual("api_key", "Key", true)
        }
    }

    fn in_header() -> Usage {
        Usage::in_header("X-Key", "")
    }

    fn entered(id: &str, value: &str) -> BTreeMap<String, Secret> {
        BTreeMap::from([(id.to_owned(), Secret::new(value))])
    }

    #[test]
    fn a_value_is_trimmed_checked_and_never_repeated() {
        let read = |value: &str| read_each(&[key()], &entered("api_key", value), |_| in_header());
        assert_eq!(read(" rk_live_abc\n").unwrap()["api_key"].expose(), "rk_live_abc");
        for (value, problem) in [
            ("", "is missing."),
            ("hunter2", "does not look like rk_live_…"),
            ("sk_live_hunter", "is too powerful."),
            ("rk_live_a b", "does not look like"),
            ("rk_live_\u{7f}", "has a control character after character 8. Copy it again"),
            ("ключhunter", "not ASCII"),
            ("rk_live_a\nhunter", "several lines"),
            (&"hunter".repeat(1000), "is over 4096 bytes"),
        ] {
            let problems = read(value).unwrap_err();
            assert!(problems[0].problem.contains(problem), "{problems:?}");
            assert!(!format!("{problems:?}").contains("hunter"), "{problems:?}");
        }
        assert_eq!(
            read_each(&[key()], &entered("other", "x"), |_| in_header()).unwrap_err()[0].field,
            "credential.other"
        );
    }

    #[test]
    fn the_longest_prefix_that_fits_counts() {
        assert_eq!(key().mark("rk_test_a").unwrap().label.as_deref(), Some("test mode"));
        assert_eq!(key().mark("rk_live_a").unwrap().prefix, "rk_");
        assert!(key().mark("x").is_none());
    }

    #[test]
    fn an_optional_field_may_be_left_out_and_a_text_may_have_lines() {
        let file = Field { multiline: true, optional: true, ..Field::usual("key", "Key file", true) };
        let read =
            |given: &BTreeMap<String, Secret>| read_each(std::slice::from_ref(&file), given, |_| Usage::default());
        assert!(read(&BTreeMap::new()).unwrap().is_empty());
        assert!(read(&entered("key", "{\n\t\"a\": 1\r\n}")).is_ok());
    }

    #[test]
    fn variables_are_read_from_whoever_gives_them() {
        let variable = |from, default: Option<&str>| Variable {
            label: "X".into(),
            help: None,
            example: Some("acme".into()),
            pattern: Pattern::parse("[a-z]+"),
            default: default.map(str::to_owned),
            from,
        };
        let variables = BTreeMap::from([
            ("shop".to_owned(), variable(Origin::Person, None)),
            ("tenant".to_owned(), variable(Origin::Client, Some("common"))),
        ]);
        let given = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let read = |from, given| read_all(&variables, &from, &given, |_, variable, value| variable.read(value));
        assert_eq!(read(Origin::Person, given("shop", " acme ")).unwrap()["shop"], "acme");
        assert_eq!(read(Origin::Client, BTreeMap::new()).unwrap()["tenant"], "common");
        assert_eq!(read(Origin::Person, BTreeMap::new()).unwrap_err()[0].problem, "is missing.");
        assert_eq!(read(Origin::Person, given("shop", "ev.il/")).unwrap_err()[0].problem, "must look like acme.");
        let paths: Vec<_> =
            read(Origin::Person, given("tenant", "a")).unwrap_err().into_iter().map(|one| one.field).collect();
        assert_eq!(paths, ["variables.tenant", "variables.shop"]);
    }

    /// Patterns that are dear for their length.
    const DEAR: [&str; 8] = [
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
    fn no_comparison_costs_more_than_a_product_of_sizes() {
        for text in DEAR {
            let pattern = Pattern::parse(text).unwrap();
            let (size, longest) = (pattern.size().unwrap(), pattern.longest());
            assert!(size * longest <= DEAREST.max(LARGEST_PROGRAM * LONGEST_VARIABLE), "{text}: {size} {longest}");
            assert!(size > 16 * 1024 || size * longest <= DEAREST, "one that may be stored: {text}: {size} {longest}");
            assert!(!pattern.fits(&"a".repeat(longest + 1)), "{text}");
            // The size is that of the compiled pattern, to a fifth.
            let anchored = format!("^(?:{text})$");
            assert!(build(&anchored, size).is_some(), "{text}");
            assert!(size == SMALLEST_PROGRAM || build(&anchored, size * 3 / 4).is_none(), "{text}: {size}");
        }
        assert!(Pattern::parse(DEAR[0]).unwrap().longest() < 400, "not the 4096 bytes that a field may have");
        for usual in ["[A-Za-z0-9][A-Za-z0-9-]*", r"[^@\s]+@[^@\s]+\.[^@\s]+", r"sk-ant-\S+"] {
            assert!(Pattern::parse(usual).unwrap().longest() >= LONGEST_LINE, "{usual}");
        }
    }

    #[test]
    fn a_value_that_is_too_long_for_the_pattern_is_told_so_and_is_not_compared() {
        let field = Field { pattern: Pattern::parse(DEAR[0]), ..Field::usual("api_key", "Key", true) };
        let problem = field.read(&"z".repeat(2000), &Usage::default()).unwrap_err();
        assert!(
            problem.starts_with("is over 288 bytes") && problem.contains("too long for this app's pattern"),
            "{problem}"
        );
        assert!(field.read(&"z".repeat(100), &Usage::default()).is_ok());
        let variable = Variable {
            label: "X".into(),
            help: None,
            example: None,
            pattern: Pattern::parse(DEAR[7]),
            default: None,
            from: Origin::Person,
        };
        assert!(variable.read(&"z".repeat(255)).is_ok(), "a variable is always short enough");
        assert!(variable.read(&"z".repeat(256)).is_err());
    }

    #[test]
    fn a_stored_pattern_is_compiled_when_it_is_used() {
        let pattern = Pattern::stored("[a-z]+");
        assert!(pattern.compiled.get().is_none());
        assert!(pattern.fits("abc") && !pattern.fits("1"));
        assert!(!Pattern::stored("(").fits("("));
    }

    #[test]
    fn a_pattern_fits_the_whole_value() {
        let pattern = Pattern::parse("a|b").unwrap();
        assert!(pattern.fits("a") && pattern.fits("b"));
        assert!(!pattern.fits("ab") && !pattern.fits("xa") && !pattern.fits("a\n"));
        assert!(Pattern::parse("(").is_none() && Pattern::parse(&"a".repeat(300)).is_none());
    }
}
