//! The description of the API for programs (OpenAPI 3.1): a file of its own, held to the table of routes by a test.

/// The document.
pub(super) const DOCUMENT: &str = include_str!("openapi.json");
