//! The environment of a connection: whether its account is for real work or for tests.
//!
//! Owns the words. Knows nothing of how an app tells: its definition says so.

use serde::{Deserialize, Serialize};

use crate::codes::codes;

codes! {
    /// What an account at an app is for.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    pub enum Environment {
        /// Real work.
        Production = "production",
        /// Tests.
        Test = "test",
    }
}
