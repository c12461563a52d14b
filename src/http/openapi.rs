//! The description of the API for programs (`OpenAPI` 3.1).
//!
//! It is made of the table of routes, of its types, and of `operations.rs`, which has the texts that no type has. Only
//! tests make it: the finished text is `openapi.json`, a static file of the platform and not a part of the program, and a
//! test fails if it does not match the types. docs/api.md is made of the same document.

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
