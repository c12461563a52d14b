//! Native tests: whole use cases over in-memory ports, one theme a file.
//!
//! What is asserted is counted (requests at the app, round trips, statements), never timed; time is virtual.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the simulation, which uses the rest")]
mod support;

mod answers;
mod assertion;
mod authorize;
mod catalogue_lives;
mod check;
mod connect;
mod contract;
mod definition_moves;
mod destinations;
mod disconnect;
mod editor;
mod erasing;
mod faults;
mod hostile;
mod http;
mod limits;
mod migrations;
mod on_demand;
mod outages;
mod people_flows;
mod people_input;
mod quotas;
mod refresh;
mod requests;
mod reseal;
mod resolve;
mod security;
mod shards;
mod sql;
mod upgrade;
mod vault;
mod ways;
