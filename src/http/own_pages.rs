//! Which addresses are pages of ours: where a sign-in may lead.

use super::is_page_for_users;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::ports::Ports;

/// Longest address of the page after a sign-in, in characters.
const MAX_RETURN_TO_LENGTH: usize = 2048;

/// One of our pages that a sign-in may lead to: a path as browsers write it, possibly with a query, of a page for
/// signed-in people. Anything else would be an open redirector (RFC 9700, 4.11.1).
pub(super) fn parse_own_page_path<P: Ports>(context: &Context<P>, text: &str) -> Result<String> {
    let wrong = || {
        Error::invalid_field(
            "return_to",
            "must be the path of one of our pages for people, such as / or /connections/con_….",
        )
    };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let visible =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>'));
    // A path that a browser or a proxy reads in another way (`//host`, `/\host`, `/../`, `%2e%2e`, `%2f`) is refused: here, or
    // below because it differs.
    let has_slash =
        path.to_ascii_lowercase().split('%').skip(1).any(|rest| rest.starts_with("2f") || rest.starts_with("5c"));
    if !visible || path.contains("//") || has_slash {
        return Err(wrong());
    }
    let at = context.config.public_url.at("");
    let url = url::Url::parse(&at).and_then(|base| base.join(text)).map_err(|_| wrong())?;
    let same = url.origin().ascii_serialization() == context.config.public_url.origin() && url.path() == path;
    let same_query = url.query().unwrap_or_default() == query;
    if same && is_page_for_users(path) && same_query && text.len() <= MAX_RETURN_TO_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}
