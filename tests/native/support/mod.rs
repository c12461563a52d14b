//! A world to test in: everything `ports.rs` asks for, in memory, with faults, counters and virtual time.
//!
//! Owns no assertions. [`runtime`] interleaves tasks and moves time, [`database`], [`cache`], [`limiter`] and
//! [`acme`] are the twins of D1, KV, the rate limiter and an app, [`world`] bundles them as ports of a Worker's invocation, [`scene`]
//! makes workspaces, clients and connections in it. The deterministic simulation builds on the same parts.

pub(crate) mod acme;
pub(crate) mod cache;
pub(crate) mod database;
pub(crate) mod limiter;
pub(crate) mod outside;
pub(crate) mod plans;
pub(crate) mod runtime;
pub(crate) mod scene;
pub(crate) mod signer;
pub(crate) mod witness;
pub(crate) mod world;

pub(crate) use acme::{Reply, Rotates};
pub(crate) use database::{Fault, Wound};
pub(crate) use scene::{Scene, tokens};
pub(crate) use world::{Way, World};
