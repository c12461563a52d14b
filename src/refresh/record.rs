//! What an attempt found is written, in the database and in the log.
//!
//! Owns how often that is tried.

use serde_json::json;

use crate::context::Context;
use crate::error::Result;
use crate::metrics;
use crate::ports::{Clock, Database, Ports, Rows, Statement};
use crate::store::refreshes::LoadedConnection;

/// Pauses before the app's response is written again, in milliseconds.
const WRITE_WAITS_MS: [u32; 2] = [100, 500];

/// The app's response is written with retries: until it is in the database, the attempt looks like an abandoned one,
/// and a later refusal like a lost response.
pub(super) async fn write_with_retries<P: Ports>(
    context: &Context<P>,
    statements: Vec<Statement>,
) -> Result<Vec<Rows>> {
    for milliseconds in WRITE_WAITS_MS {
        if let Ok(written) = context.db().batch(statements.clone()).await {
            return Ok(written);
        }
        context.ports.clock().sleep(milliseconds).await;
    }
    Ok(context.db().batch(statements).await?)
}

pub(super) fn log_failure<P: Ports>(context: &Context<P>, loaded: &LoadedConnection, error: &str) {
    context.log(
        "warn",
        "refresh_failed",
        &json!({ "connection": loaded.connection.id.as_str(), "app": loaded.connection.app.as_str(), "error": error }),
    );
    metrics::count_failure(context, &loaded.connection.workspace, &loaded.connection.app, error);
}
