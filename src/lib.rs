//! Connections: the saved authentication that lets a workflow act in an external app.
//!
//! The crate has two halves. The **core** (everything but `edge`) knows nothing of Workers, and is
//! compiled and tested on the host. The **edge** is compiled for wasm32 only and is the one place
//! that names `worker::`. Direction: `edge → http → use cases → nouns`; use cases import `ports` and
//! `store`, which speaks SQL over the database port. ARCHITECTURE.md is the map.
#![expect(
    async_fn_in_trait,
    reason = "ports are plain async traits: everything runs on one thread, Send is never asked for"
)]

// Nouns.
pub mod app;
pub mod attention;
pub mod caller;
pub mod catalogue;
pub mod client;
pub mod connection;
pub mod credential;
pub mod destinations;
pub mod ids;
pub mod secret;
pub mod time;
pub mod token;
pub mod vault;
pub mod workspace;

// Use cases.
pub mod authorize;
pub mod check;
pub mod connect;
pub mod definition_moves;
pub mod disconnect;
mod ending;
pub mod quotas;
pub mod refresh;
pub mod registry;
pub mod reseal;
pub mod resolve;
pub mod server;
pub mod shared;

// What they stand on.
pub mod config;
pub mod core;
pub mod egress;
pub mod error;
pub mod frozen;
pub mod http;
mod json;
pub mod maintenance;
pub mod memo;
pub mod patience;
pub mod ports;
pub mod store;

#[cfg(all(target_arch = "wasm32", feature = "edge"))]
mod edge;
