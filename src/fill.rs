//! Texts with placeholders: `{name}` stands for a value.
//!
//! Owns the one reader of placeholders, for pages and e-mails alike. Values are not read again.

/// Writes each piece of a text, and between them the values that it names.
pub(crate) fn fill_with<'a>(
    text: &str,
    piece: impl Fn(&str) -> String,
    value: impl Fn(&str) -> Option<&'a str>,
) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        filled.push_str(&piece(before));
        filled.push_str(value(name).unwrap_or_default());
        rest = after;
    }
    filled.push_str(&piece(rest));
    filled
}

/// A plain text with its values in place. A value that the text does not name is left out.
pub fn fill_plain(text: &str, values: &[(&str, &str)]) -> String {
    fill_with(text, str::to_owned, |name| values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
}
