//! Connections: the saved authentication that lets a workflow act in an external app.
//!
//! The crate has two halves. The **core** (everything but `edge`) knows nothing of Workers, and is
//! compiled and tested on the host. The **edge** is compiled for wasm32 only and is the one place
//! that names `worker::`.
//!
//! **The order of the modules below is the layering, from the bottom to the top.** A module names only modules that stand
//! above it in this list, so there are no circles. `tests/native/layers.rs` reads the list and holds every file to it.
//! ARCHITECTURE.md has the same list as a picture, and the map.
#![expect(
    async_fn_in_trait,
    reason = "ports are plain async traits: everything runs on one thread, Send is never asked for"
)]

// Foundations: they know nothing of what this program is about.
pub mod secret;
pub mod time;
pub mod gather;
mod json;
mod codes;
pub mod frozen;
pub mod random;
pub mod egress;
pub mod ids;
pub mod environment;
mod fill;
pub mod email_address;

// Definitions: what an app is, and where its secrets may go.
pub mod app;
pub mod catalogue;
pub mod destinations;
pub mod signing_key;
pub mod verifying_key;

// Ports: what the core needs from outside.
pub mod isolate_cache;
pub mod ports;
pub mod timeout;

// Nouns: with the rules that need no I/O.
pub mod vault;
pub mod branding;
pub mod workspace;
pub mod caller;
pub mod account;
pub mod token;
pub mod id_token;
pub mod event_request;
pub mod credential;
pub mod client;
pub mod connection;
mod schedule;
pub mod audit;
pub mod identity_provider;
pub mod webhook;
pub mod email;
pub mod retention;

// Store: SQL, next to the row types.
pub mod store;

// Context: errors, the configuration, and what every use case is given.
pub mod error;
pub mod names;
pub mod config;
pub mod maintenance;
pub mod context;

// Shared steps: what several use cases take.
pub mod metrics;
pub mod attention;
pub mod quotas;
pub mod preconditions;
pub mod authorize;
pub mod cache;
pub mod registry;
pub mod client_auth;
pub mod revocation;
mod public_keys;

// Use cases: what people, programs and the scheduled run ask for.
pub mod webhooks;
pub mod emails;
pub mod defaults;
mod on_demand_check;
pub mod resolve;
pub mod event_handshakes;
pub mod app_events;
pub mod refresh;
pub mod proxy;
pub mod connect;
pub mod replacements;
pub mod disconnect;
pub mod undo;
pub mod disconnect_all;
pub mod definition_moves;
pub mod reseal;
mod cleanup;
pub mod check;
pub mod scheduled_runs;
pub mod queued_runs;
pub mod workload;
pub mod databases;
pub mod installation;
pub mod workspaces;
pub mod api_keys;
pub mod sign_in_links;
pub mod sessions;
pub mod identity;
pub mod access;
pub mod people;
pub mod custom_apps;
pub mod oauth_clients;
pub mod app_list;
pub mod connections;
pub mod review;
pub mod bulk;
pub mod workflows;
pub mod audit_log;
pub mod idempotency;
pub mod consent;
pub mod flows;

// HTTP: from a request to a use case, and from its result to an answer.
pub mod http;

// Edge: the ports over the platform, and the entry points.
#[cfg(all(target_arch = "wasm32", feature = "edge"))]
mod edge;
