//! Jobs that disconnect all connections of an app.

use serde::Serialize;

use crate::app::AppId;
use crate::disconnect_all::AffectedConnections;
use crate::ids::{ClientId, JobId};
use crate::store::disconnect_jobs::{AffectedCounts, DisconnectJob, RevocationCounts};
use crate::time::Timestamp;

/// How far a job is.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum JobStatus {
    /// Nothing was done: it was asked what would be.
    DryRun,
    /// All its connections are denied. They are being ended, and their grants revoked.
    Running,
    /// Nothing is left of them here.
    Finished,
}

/// A job that disconnects all connections of an app, or of one of its OAuth clients.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct JobResponse {
    /// Null: a dry run.
    id: Option<JobId>,
    status: JobStatus,
    app: AppId,
    /// Only the connections of this client. Null: all.
    client: Option<ClientId>,
    reason: Option<String>,
    /// What was counted when it began.
    affected: AffectedCounts,
    /// Connections that were ended one by one so far. All are denied from the beginning.
    ended: i64,
    /// Those of them whose grant was handled and that were erased.
    erased: i64,
    /// What became of the grants so far.
    revoked: RevocationCounts,
    /// Whether the cache answers for none of them. If not, an entry may answer for an hour at most; it is tried again.
    cache_told: bool,
    /// Connections that were made until then are denied.
    made_until: Option<Timestamp>,
    created_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
}

impl JobResponse {
    pub(crate) fn of_dry_run(affected: AffectedConnections) -> Self {
        Self {
            id: None,
            status: JobStatus::DryRun,
            app: affected.target.app,
            client: affected.target.client,
            reason: None,
            affected: affected.counts,
            ended: 0,
            erased: 0,
            revoked: RevocationCounts {
                confirmed: 0,
                unsupported: 0,
                kept_shared: 0,
                failed: 0,
                without_credential: 0,
            },
            cache_told: false,
            made_until: None,
            created_at: None,
            finished_at: None,
        }
    }
}

impl From<DisconnectJob> for JobResponse {
    fn from(job: DisconnectJob) -> Self {
        Self {
            id: Some(job.id),
            status: if job.finished_at.is_some() { JobStatus::Finished } else { JobStatus::Running },
            app: job.target.app,
            client: job.target.client,
            reason: Some(job.reason),
            affected: job.affected,
            ended: job.ended,
            erased: job.erased,
            revoked: job.revoked,
            cache_told: job.tombstoned_at.is_some(),
            made_until: Some(job.made_until),
            created_at: Some(job.created_at),
            finished_at: job.finished_at,
        }
    }
}
