//! A world for tests: everything that `ports.rs` requires, in memory, with faults, counters and virtual time.
//!
//! Contains no assertions. [`runtime`] interleaves tasks and moves time. [`database`], [`cache`], [`limiter`] and
//! [`acme`] are the counterparts of D1, KV, the rate limiter and an app. [`world`] combines them as ports of a Worker's
//! invocation. [`fixture`] creates workspaces, clients and connections in it. The simulation uses the same parts.

pub(crate) mod acme;
pub(crate) mod cache;
pub(crate) mod database;
pub(crate) mod fixture;
pub(crate) mod growth;
pub(crate) mod limiter;
pub(crate) mod passing;
pub(crate) mod plans;
pub(crate) mod recorder;
pub(crate) mod runtime;
pub(crate) mod signer;
pub(crate) mod small_ports;
pub(crate) mod timeout;
pub(crate) mod world;

pub(crate) use acme::{Reply, RotationPolicy};
pub(crate) use database::{Fault, FaultRule};
pub(crate) use fixture::{Fixture, plain_tokens};
pub(crate) use world::{RefreshMode, World};
