//! Deterministic simulation: the real use cases under thousands of callers, faults, crashes and interleavings.
//!
//! A seed draws a plan (draw.rs) and the order in which everything happens; the play (play.rs) runs the
//! production code over the production SQL in bad weather (weather.rs); the judge (verdict.rs) holds the outcome
//! against the app's own log. In some plays somebody may edit the app's definition (hostile.rs), and every request is
//! searched for secrets that its address must not get (secrets.rs). A seed is the same play every time: `npm run simulate -- --seed 42` shows it.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "progress and figures are what a run is for")]

mod draw;
mod editor;
mod hostile;
mod living;
mod long;
mod outages;
mod play;
mod reported;
mod run;
mod sabotage;
mod secrets;
#[expect(dead_code, unused_imports, reason = "shared with the other tests, which use the rest")]
#[path = "../native/support/mod.rs"]
mod support;
mod verdict;
mod weather;

#[test]
fn no_seed_loses_a_connection() {
    run::many(&run::Wish::from_environment());
}
