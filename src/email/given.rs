//! What stands in an e-mail, as text and as HTML, and what of it somebody else has given: names, accounts, hosts.
//!
//! Owns that no mail program makes a link of a given text. They make links of whatever looks like an address, without being
//! asked, so a connection that is named `evil.example/login` would be a link in an e-mail of ours. As text it gets a space
//! behind each dot, colon and backslash: it can be read, and is no address. As HTML it looks as it was given and is copied as it
//! was given: what separates the parts of an address stands in elements of its own. Nothing invisible is added.

use maud::html;

use crate::fill::fill_with;

/// A text in both forms of an e-mail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Phrase {
    /// Plain.
    pub(super) text: String,
    /// As HTML.
    pub(super) html: String,
}

impl Phrase {
    /// Words of ours.
    pub(super) fn own(text: &str) -> Self {
        Self { text: text.to_owned(), html: escape(text) }
    }

    /// What somebody else has given.
    pub(super) fn given(text: &str) -> Self {
        Self { text: without_addresses(text), html: with_separate_parts(text) }
    }

    /// Words of ours with values in their places. A value that the words do not name is left out.
    pub(super) fn fill(words: &str, values: &[(&str, &Self)]) -> Self {
        let find = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        Self {
            text: fill_with(words, str::to_owned, |name| find(name).map(|one| one.text.as_str())),
            html: fill_with(words, escape, |name| find(name).map(|one| one.html.as_str())),
        }
    }

    /// Several, as a list.
    pub(super) fn list(of: &[Self]) -> Self {
        let join = |form: fn(&Self) -> &str| of.iter().map(form).collect::<Vec<_>>().join(", ");
        Self { text: join(|one| &one.text), html: join(|one| &one.html) }
    }
}

fn escape(text: &str) -> String {
    html! { (text) }.into_string()
}

/// What host names are read as a dot by browsers (UTS 46).
fn is_dot(letter: char) -> bool {
    matches!(letter, '.' | '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
}

/// A text in which nothing looks like an address.
pub(super) fn without_addresses(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 8);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        written.push(letter);
        let separates = is_dot(letter) || matches!(letter, ':' | '\\');
        if separates && letters.peek().is_some_and(|next| !next.is_whitespace()) {
            written.push(' ');
        }
    }
    written
}

fn with_separate_parts(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 16);
    let mut part = String::new();
    for letter in text.chars() {
        if is_dot(letter) || matches!(letter, ':' | '\\' | '/' | '@') {
            written.push_str(&escape(&std::mem::take(&mut part)));
            written.push_str(&html! { span { (letter) } }.into_string());
        } else {
            part.push(letter);
        }
    }
    written.push_str(&escape(&part));
    written
}

#[cfg(test)]
mod tests {
    use super::Phrase;

    #[test]
    fn a_given_text_can_be_read_and_is_no_address() {
        for (given, text) in [
            ("Ops bot", "Ops bot"),
            ("Acme (ann@acme.example)", "Acme (ann@acme. example)"),
            ("https://evil.example:8443/a", "https: //evil. example: 8443/a"),
            (r"\\evil\share", r"\ \ evil\ share"),
            ("www。evil．example", "www。 evil． example"),
            ("evil.\u{200b}example", "evil. \u{200b}example"),
            ("Dr. No: 1", "Dr. No: 1"),
            ("end.", "end."),
        ] {
            assert_eq!(Phrase::given(given).text, text);
        }
    }

    #[test]
    fn html_is_escaped_and_shows_a_given_text_as_it_is() {
        let shown = Phrase::given("<b>a@b.example</b>").html;
        assert_eq!(shown, "&lt;b&gt;a<span>@</span>b<span>.</span>example&lt;<span>/</span>b&gt;");
        let filled = Phrase::fill("<{name}> of {name}.", &[("name", &Phrase::given("{x}.y"))]);
        assert_eq!(
            (filled.text.as_str(), filled.html.as_str()),
            ("<{x}. y> of {x}. y.", "&lt;{x}<span>.</span>y&gt; of {x}<span>.</span>y.")
        );
    }
}
