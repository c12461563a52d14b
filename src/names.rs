//! Names that people and programs give to workspaces, keys, connections and users.
//!
//! Owns what a name may look like. Refuses to know what is named: how long the name may be is an argument.

use crate::error::{Error, Result};

/// Characters of the name of a workspace, an API key or a connection, at most.
pub const MAX_NAME_LENGTH: usize = 100;
/// Characters of a caller's name for a workflow or a step, at most.
pub const MAX_WORKFLOW_LENGTH: usize = 128;

/// A name: 1 to `longest` characters, no control characters, no spaces around it.
///
/// # Errors
/// The text is no name. The error names `field`.
pub fn parse_name(field: &str, text: &str, longest: usize) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > longest || text.chars().any(char::is_control) {
        return Err(Error::invalid_field(
            field,
            format!("must have 1 to {longest} characters, none of them a control character."),
        ));
    }
    Ok(text.to_owned())
}
