//! Native tests: whole use cases over in-memory ports, one topic per file.
//!
//! Assertions are about counts (requests at the app, round trips, statements), never about real time. Time is virtual.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "shared with the simulation, which uses the rest")]
mod support;

mod app_events;
mod audit;
mod auth_methods;
mod authorize;
mod branding;
mod browser_flows;
mod bulk;
mod catalogue_lifecycle;
mod connect;
mod connection_list;
mod connection_page;
mod contract;
mod databases;
mod defaults;
mod definition_changes;
mod destinations;
mod disconnect;
mod disconnect_all;
mod edge_memory;
mod emails;
mod erasing;
mod error_pages;
mod etags;
mod faults;
mod form_mistakes;
mod hostile_editor;
mod http;
mod idempotency;
mod identity;
mod invalid_requests;
mod kept_forms;
mod layers;
mod links;
mod list_filters;
mod malformed_input;
mod manual_input;
mod migrations;
mod odd_responses;
mod on_demand_check;
mod outages;
mod page_access;
mod page_texts;
mod people;
mod popups;
mod proxy;
mod queued_runs;
mod quotas;
mod recalled_sessions;
mod refresh;
mod replacements;
mod request_limits;
mod reseal;
mod resolve;
mod review;
mod rows_read;
mod scheduled_run;
mod scheduled_runs;
mod security;
mod settings;
mod shards;
mod signed_assertions;
mod sql;
mod undo;
mod upgrade;
mod vault;
mod webhooks;
mod workflow_pages;
mod workflows;
mod workspace_deletion;
