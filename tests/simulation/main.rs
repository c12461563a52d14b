//! Deterministic simulation: the real use cases under thousands of callers, faults, crashes and interleavings.
//!
//! A seed draws a plan (draw.rs) and the order in which everything happens; the play (play.rs) runs the
//! production code over the production SQL in bad weather (weather.rs); the judge (verdict.rs) holds the outcome
//! against the app's own log. In some plays somebody may edit the app's definition (hostile.rs), and every request is
//! searched for secrets that its address must not get (secrets.rs). A seed is the same play every time: `npm run simulate -- --seed 42` shows it.
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
