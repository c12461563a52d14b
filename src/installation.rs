//! The state of the installation, for its operator.
//!
//! Owns what is read for it. Refuses to change anything.

use crate::context::Context;
use crate::error::Result;
use crate::ports::{Ports, RefreshRunner};
use crate::store::erasing::{self, ErasureProgress};
use crate::store::maintenance::{self, InstallationState};
use crate::store::reseals::{self, ResealProgress};
use crate::workload::{self, Forecast};

/// Deleted workspaces that are listed.
const MAX_DELETED_LISTED: i64 = 100;

/// What the operator wants to know of the installation.
#[derive(Debug)]
pub struct InstallationStatus {
    /// What the database says of itself.
    pub state: InstallationState,
    /// Deleted workspaces that are not erased yet, those that were deleted first before the others.
    pub deleted_workspaces: Vec<ErasureProgress>,
    /// How far the rows have come that another key than the first sealed; none where nothing has begun.
    pub reseal: Option<ResealProgress>,
    /// What is to be expected of the scheduled checks.
    pub forecast: Forecast,
}

/// Reads the state of the installation.
pub async fn load_status<P: Ports>(context: &Context<P>) -> Result<InstallationStatus> {
    let state = maintenance::load_state(context.db(), context.now()).await?;
    let allowed = context.config.check_batch / context.ports.refresher().subrequest_cost().max(1);
    let forecast = workload::forecast(&state, allowed.max(1), context.now());
    let deleted_workspaces = erasing::list_progress(context.db(), None, MAX_DELETED_LISTED).await?;
    let reseal = reseals::progress(context.db(), context.config.key_ring.sealing_key_id()).await?;
    Ok(InstallationStatus { state, deleted_workspaces, reseal, forecast })
}
