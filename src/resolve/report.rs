//! A caller reports that the app refused its token.
//!
//! Owns what follows: a refresh, or a check where nothing can be refreshed, at most once in 30 seconds for a connection,
//! over all instances of the program, and only for the credential that is stored now. Refuses to take the report's word:
//! the app decides.

use super::{ResolvePolicy, ResolveRequest, check_policy, credential_version, version_for_requested};
use crate::connection::Connection;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::on_demand_check;
use crate::ports::{Ports, RefreshReason, RefreshRunner};
use crate::store::connections::{self, ListedConnection};

/// Seconds in which further reports about a connection cause nothing.
pub const REPORT_INTERVAL: i64 = 30;

/// How the app refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportedStatus {
    /// 401: the token is not accepted.
    Unauthorized,
    /// 403: it is, and is not allowed to do what was asked.
    Forbidden,
}

async fn take_report<P: Ports>(context: &Context<P>, connection: &Connection) -> Result<bool> {
    Ok(connections::take_report(context.db(), connection, REPORT_INTERVAL, context.now()).await?)
}

/// Checks a connection whose credential the app has just refused and that nothing can refresh, under the same limit.
pub(super) async fn check_refused<P: Ports>(context: &Context<P>, connection: &Connection) {
    match take_report(context, connection).await {
        Ok(false) => {}
        Ok(true) => {
            on_demand_check::run(context, &connection.workspace, &connection.id).await;
        }
        Err(error) => context.log_cause(&error),
    }
}

/// Does what a report asks for, and waits for its end. A report about another version of the credential causes nothing:
/// the caller gets the current one. Where another connection answers for the one that is named, the report is about that.
pub async fn act_on_report<P: Ports>(
    context: &Context<P>,
    listed: &ListedConnection,
    status: ReportedStatus,
    version: &str,
    request: &ResolveRequest,
) -> Result<()> {
    let named = &listed.connection;
    let answering = match &listed.replaced_by {
        None => None,
        Some(by) => {
            let found = connections::get(context.db(), &named.workspace, &by.id).await?;
            Some(found.ok_or_else(Error::connection_not_found)?)
        }
    };
    let connection = answering.as_ref().unwrap_or(named);
    check_policy(context, &ResolvePolicy::of(connection), request)?;
    let is_current = version == version_for_requested(connection)
        || answering.is_none() && version == credential_version(connection.generation, connection.version);
    if !is_current || !take_report(context, connection).await? {
        return Ok(());
    }
    match status {
        ReportedStatus::Unauthorized if connection.refreshable => {
            context.ports.refresher().run(&connection.id, RefreshReason::Force).await;
        }
        ReportedStatus::Unauthorized | ReportedStatus::Forbidden => {
            on_demand_check::run(context, &connection.workspace, &connection.id).await;
        }
    }
    Ok(())
}
