//! Names that people and programs give to workspaces, keys, connections and users.
//!
//! Owns what a name may look like, and how app and account become one. Refuses to know what is named: how long the name may be
//! is an argument.

use crate::app::strip_invisible;
use crate::error::{Error, Result};

/// Characters of the name of a workspace, an API key or a connection, at most.
pub const MAX_NAME_LENGTH: usize = 100;
/// Characters of the id or the name of a person, at most.
pub const MAX_PERSON_LENGTH: usize = 128;
/// Characters of a caller's name for a workflow or a step, at most.
pub const MAX_WORKFLOW_LENGTH: usize = 128;

/// A name: 1 to `longest` characters, no control characters, no spaces around it. At least one of them can be seen, because a
/// page has links and buttons that are named by it.
///
/// # Errors
/// The text is no name. The error names `field`.
pub fn parse_name(field: &str, text: &str, longest: usize) -> Result<String> {
    let text = text.trim();
    if strip_invisible(text).is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
        return Err(Error::invalid_field(
            field,
            format!("must have 1 to {longest} characters, none of them a control character."),
        ));
    }
    Ok(text.to_owned())
}

/// Whether a text can't be a segment of a path: browsers and servers take it away, also where it is percent-encoded.
pub fn is_dot_segment(text: &str) -> bool {
    matches!(text, "." | "..")
}

/// The id of a person. It is a segment of the address of their page, which would otherwise be another page.
///
/// # Errors
/// The text is no id. The error names `field`.
pub fn parse_person_id(field: &str, text: &str) -> Result<String> {
    let id = parse_name(field, text, MAX_PERSON_LENGTH)?;
    if is_dot_segment(&id) {
        return Err(Error::invalid_field(field, "can't be . or .., which no address can have."));
    }
    Ok(id)
}

/// Characters that are left for a number, where a name is taken.
const ROOM_FOR_NUMBER: usize = 4;

/// The name of a connection that nobody has named: the app's, with what the account is called there.
pub fn name_of_account(app_name: &str, account_label: Option<&str>) -> String {
    let name = account_label.map_or_else(|| app_name.to_owned(), |label| format!("{app_name} ({label})"));
    name.chars().take(MAX_NAME_LENGTH - ROOM_FOR_NUMBER).collect()
}

/// The name with a number, if it is taken.
pub fn numbered_name(name: String, taken: &[String]) -> String {
    if !taken.contains(&name) {
        return name;
    }
    let numbered = (2..1000).map(|number| format!("{name} {number}")).find(|candidate| !taken.contains(candidate));
    numbered.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_person_is_a_segment_of_an_address() {
        for (text, id) in [("ann", "ann"), (" a/b ", "a/b"), ("...", "..."), (".a", ".a"), ("%2e%2e", "%2e%2e")] {
            assert_eq!(parse_person_id("id", text).ok().as_deref(), Some(id));
        }
        for text in [".", "..", " .. ", "\u{200b}", ""] {
            assert!(parse_person_id("id", text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_name_can_be_seen() {
        for (text, name) in
            [("a", Some("a")), (" a b ", Some("a b")), ("\u{200b}a", Some("\u{200b}a")), ("क्‍ष", Some("क्‍ष"))]
        {
            assert_eq!(parse_name("name", text, 100).ok().as_deref(), name, "{text:?}");
        }
        for text in ["", " ", "\u{200b}", "\u{ad}\u{2060}\u{feff}", "\u{202e}", "a\u{0}", &"x".repeat(101)] {
            assert!(parse_name("name", text, 100).is_err(), "{text:?}");
        }
    }
}
