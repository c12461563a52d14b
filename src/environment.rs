//! The environment of a connection: whether its account is for real work or for tests.
//!
//! Owns the words. Knows nothing of how an app tells: its definition says so.

use serde::{Deserialize, Serialize};

/// What an account at an app is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Environment {
    /// Real work.
    Production,
    /// Tests.
    Test,
}

impl Environment {
    /// The word in the database and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Test => "test",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Production, Self::Test].into_iter().find(|one| one.as_str() == text)
    }
}
