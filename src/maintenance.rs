//! Maintenance: the operator changes the database, and the program leaves it alone.
//!
//! Owns the variable `MAINTENANCE` and what is said meanwhile. `npm run deploy` sets it while it applies a migration that
//! no version can work beside. docs/upgrade.md tells the steps.

use crate::config::parse_switch;
use crate::error::{Error, ErrorCode, Result};

/// Seconds after which a caller is told to come again.
pub const RETRY_AFTER: i64 = 60;

/// Reads the variable.
///
/// # Errors
/// It is neither `1` nor `0` nor absent. Whoever wrote it meant something by it: nothing is done until it can be read.
pub fn is_on(variable: Option<&str>) -> Result<bool> {
    parse_switch(variable).ok_or_else(|| Error::misconfigured("MAINTENANCE may be 1, 0 or absent."))
}

/// What every route answers.
pub fn error() -> Error {
    Error::new(ErrorCode::Maintenance, "This installation is being updated. Nothing is lost. Try again in a minute.")
        .with_hints(|h| h.retry_after = Some(RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_one_or_zero_or_absent() {
        for (text, on) in [(None, false), (Some(""), false), (Some("0"), false), (Some("1"), true)] {
            assert_eq!(is_on(text).unwrap(), on, "{text:?}");
        }
        for text in ["true", "yes", " 1"] {
            assert_eq!(is_on(Some(text)).unwrap_err().code, ErrorCode::Misconfigured, "{text}");
        }
    }
}
