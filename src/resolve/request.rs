//! The request of a resolve, parsed into types that cannot be invalid.

use serde::Deserialize;

use crate::app::AppId;
use crate::environment::Environment;
use crate::error::{Error, FieldError, Result};
use crate::ids::ConnectionId;
use crate::json::objects;
use crate::names::MAX_WORKFLOW_LENGTH;

/// The largest `min_ttl`, in seconds: a day.
const MAX_MIN_TTL: i64 = 86_400;

/// Where a resolve reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum Consistency {
    /// The database only: a revocation takes effect at once.
    #[default]
    Strong,
    /// The database, and the cache if it fails.
    Available,
    /// The cache first. A revocation may take effect later.
    Edge,
}

/// What a step expects of its connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ExpectRequest"))]
pub struct Expectations {
    /// The app.
    pub app: Option<AppId>,
    /// The account's id.
    pub account: Option<String>,
    /// The connection.
    pub connection: Option<ConnectionId>,
    /// The environment.
    pub environment: Option<Environment>,
}

objects!(Expectations);

/// The request of a resolve. All members are optional.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "ResolveRequest", extend("examples" = [{ "workflow": "invoices", "step": "send" }])))]
pub struct ResolveRequest {
    /// Seconds for which the token must be valid.
    #[cfg_attr(test, schemars(range(min = 0, max = 86400)))]
    pub min_ttl: i64,
    /// Scopes that must be granted.
    #[cfg_attr(test, schemars(length(max = 100)))]
    pub scopes: Vec<String>,
    /// What the step expects.
    pub expect: Expectations,
    /// The caller's workflow. No control characters.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    pub workflow: Option<String>,
    /// Its step. Only with `workflow`. No control characters.
    #[cfg_attr(test, schemars(length(min = 1, max = 128)))]
    pub step: Option<String>,
    /// Force a new token. Rate limited.
    pub force_refresh: bool,
    /// Where to read.
    #[cfg_attr(test, schemars(extend("default" = "strong")))]
    pub consistency: Consistency,
}

impl Default for ResolveRequest {
    fn default() -> Self {
        Self {
            min_ttl: 60,
            scopes: vec![],
            expect: Expectations::default(),
            workflow: None,
            step: None,
            force_refresh: false,
            consistency: Consistency::default(),
        }
    }
}

impl ResolveRequest {
    /// Validates what the types do not.
    pub fn validated(self) -> Result<Self> {
        let mut errors = Vec::new();
        let mut wrong =
            |field: &str, problem: &str| errors.push(FieldError { field: field.into(), problem: problem.into() });
        if !(0..=MAX_MIN_TTL).contains(&self.min_ttl) {
            wrong("min_ttl", "must be a number of seconds from 0 to 86400.");
        }
        for (field, name) in [("workflow", &self.workflow), ("step", &self.step)] {
            if name.as_ref().is_some_and(|name| {
                name.is_empty() || name.chars().count() > MAX_WORKFLOW_LENGTH || name.chars().any(char::is_control)
            }) {
                wrong(field, "must have 1 to 128 characters, none of them a control character.");
            }
        }
        if self.step.is_some() && self.workflow.is_none() {
            wrong("workflow", "must be given where a step is.");
        }
        if self.scopes.len() > 100 {
            wrong("scopes", "must be at most 100.");
        }
        if errors.is_empty() { Ok(self) } else { Err(Error::invalid_fields(errors)) }
    }

    /// Workflow and step. Empty if the caller named none.
    pub fn workflow_and_step(&self) -> (&str, &str) {
        (self.workflow.as_deref().unwrap_or_default(), self.step.as_deref().unwrap_or_default())
    }
}
