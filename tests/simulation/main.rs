//! Deterministic simulation: the real use cases with thousands of callers, faults, crashes and interleavings.
//!
//! A seed draws a plan (plan.rs) and the order in which everything happens. The scenario (scenario.rs) runs the
//! production code over the production SQL with faults (`fault_plan.rs`). The judge (invariants.rs) compares the result
//! with the app's own log. In some scenarios somebody may edit the app's definition (`rogue_server.rs`), and every
//! request is searched for secrets that its address must not get (`secret_tracker.rs`). The same seed is always the same
//! scenario: `npm run simulate -- --seed 42` prints it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "progress and figures are what a run is for")]

mod attack;
mod fault_plan;
mod invariants;
mod living;
mod long;
mod outages;
mod plan;
mod removed_safeguards;
mod reported;
mod rogue_server;
mod scenario;
mod secret_tracker;
mod seed_runner;
#[expect(dead_code, unused_imports, reason = "shared with the other tests, which use the rest")]
#[path = "../native/support/mod.rs"]
mod support;

#[test]
fn no_seed_violates_an_invariant() {
    seed_runner::run_seeds(&seed_runner::RunOptions::from_environment());
}
