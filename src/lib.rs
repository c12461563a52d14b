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
pub mod account;
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
pub mod cache;
pub mod check;
mod cleanup;
pub mod client_auth;
pub mod connect;
pub mod definition_moves;
pub mod disconnect;
pub mod on_demand_check;
pub mod quotas;
pub mod refresh;
pub mod registry;
pub mod reseal;
pub mod resolve;
pub mod revocation;
mod schedule;

// What they stand on.
pub mod config;
pub mod context;
pub mod egress;
pub mod error;
pub mod frozen;
pub mod http;
pub mod isolate_cache;
mod json;
pub mod maintenance;
pub mod ports;
pub mod random;
pub mod signing_key;
pub mod store;
pub mod timeout;

#[cfg(all(target_arch = "wasm32", feature = "edge"))]
mod edge;
