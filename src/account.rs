//! Whose a credential is at an app.
//!
//! Owns how two accounts with one label are told apart. Ids are compared as the app writes them.

use serde::{Deserialize, Serialize};

/// Who it is at the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Account {
    /// The app's stable id.
    pub id: String,
    /// What a person recognises.
    pub label: String,
}

impl Account {
    /// The same with a mark added to the label, and one added to the id.
    #[must_use]
    pub fn with_marks(self, label: Option<&str>, id: Option<&str>) -> Self {
        let behind = |text: String, mark: Option<String>| mark.map_or(text.clone(), |mark| text + &mark);
        Self {
            id: behind(self.id, id.map(|mark| format!(":{mark}"))),
            label: behind(self.label, label.map(|mark| format!(" ({mark})"))),
        }
    }
}
