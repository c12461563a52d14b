//! The description of the API for programs (`OpenAPI` 3.1).
//!
//! It is made of the table of routes, of the types that the table names, and of `operations.rs`, which has the words that
//! no type has. Only tests make it: the program holds the finished text, `openapi.json`, and a test fails when that is not
//! what the types say. docs/api.md is made of the same document.

/// The document, without white space.
pub(super) const DOCUMENT: &str = include_str!(concat!(env!("OUT_DIR"), "/openapi.json"));

#[cfg(test)]
mod document;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use schemas::{BodyTypes, Schemas};
#[cfg(test)]
pub(super) use shapes::Metadata;
