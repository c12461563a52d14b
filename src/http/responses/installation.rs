//! Workspaces for the operator, and the status of the installation.

use serde::Serialize;

use super::emails::EmailFailureResponse;
use crate::cache::{self, CacheRemovalStatus};
use crate::caller::KeyScope;
use crate::context::Context;
use crate::http::body::Flat;
use crate::ids::{ApiKeyId, WorkspaceId};
use crate::installation::{DatabaseState, DatabaseStatus, InstallationStatus};
use crate::ports::{Mailer, Ports};
use crate::store::emails::EmailBacklog;
use crate::store::erasing::{ErasureProgress, STATUS_ROWS_COUNTED};
use crate::store::maintenance::{InstallationState, LastRun};
use crate::store::reseals::ResealProgress;
use crate::time::Timestamp;
use crate::workload::{CheckProgress, Forecast};
use crate::workspace::Workspace;
use crate::workspaces::{CreatedWorkspace, WorkspaceState};

/// A workspace, and the database that it is in.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "OperatorWorkspace"))]
pub(crate) struct PlacedWorkspace {
    #[serde(flatten)]
    workspace: Flat<Workspace>,
    /// The number of its database.
    #[cfg_attr(test, schemars(range(max = 999)))]
    database: u16,
}

impl From<Workspace> for PlacedWorkspace {
    fn from(workspace: Workspace) -> Self {
        Self { database: workspace.id.shard().number(), workspace: Flat(workspace) }
    }
}

/// A new workspace.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CreatedWorkspaceResponse {
    id: WorkspaceId,
    name: String,
    /// The number of the database that it is in.
    #[cfg_attr(test, schemars(range(max = 999)))]
    database: u16,
    created_at: Timestamp,
    key: FirstKey,
}

/// A workspace's first key, with its text.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FirstKey {
    id: ApiKeyId,
    name: String,
    /// The key's text: `cx_…`. Shown once.
    key: String,
    scopes: Vec<KeyScope>,
}

impl From<CreatedWorkspace> for CreatedWorkspaceResponse {
    fn from(CreatedWorkspace { workspace, key, key_text }: CreatedWorkspace) -> Self {
        Self {
            database: workspace.id.shard().number(),
            id: workspace.id,
            name: workspace.name,
            created_at: workspace.created_at,
            key: FirstKey { id: key.id, name: key.name, key: key_text.expose().to_owned(), scopes: key.scopes },
        }
    }
}

/// A workspace, or the rest of a deleted one.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct WorkspaceStateResponse {
    #[serde(flatten)]
    workspace: Flat<PlacedWorkspace>,
    deleted_at: Option<Timestamp>,
    /// Null unless it was deleted.
    cache_entries: Option<CacheRemovalStatus>,
    /// Null unless it was deleted.
    erasing: Option<ErasureProgressResponse>,
}

impl From<WorkspaceState> for WorkspaceStateResponse {
    fn from(state: WorkspaceState) -> Self {
        match state {
            WorkspaceState::Active(workspace) => {
                Self { workspace: Flat(workspace.into()), deleted_at: None, cache_entries: None, erasing: None }
            }
            WorkspaceState::Deleted(progress) => Self {
                deleted_at: Some(progress.deleted_at),
                cache_entries: Some(copies(&progress)),
                erasing: Some(ErasureProgressResponse::of(&progress)),
                workspace: Flat(PlacedWorkspace::from(Workspace {
                    id: progress.workspace,
                    branding: crate::branding::Branding::default(),
                    name: progress.name,
                    allowed_origins: vec![],
                    created_at: progress.created_at,
                })),
            },
        }
    }
}

/// The rest of a deleted workspace.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ErasureProgressResponse {
    /// Connections that are still to be revoked or erased.
    connections_left: i64,
    /// Revocations that an app has not confirmed and that are tried again, for a day.
    revocations_left: i64,
}

impl ErasureProgressResponse {
    fn of(progress: &ErasureProgress) -> Self {
        Self { connections_left: progress.connections_left, revocations_left: progress.revocations_left }
    }
}

/// Without a tombstone every cache entry is valid until its own expiry.
fn copies(progress: &ErasureProgress) -> CacheRemovalStatus {
    match progress.tombstoned_at {
        Some(_) => CacheRemovalStatus::Removed,
        None => CacheRemovalStatus::Retrying { until: cache::latest_entry_expiry(progress.deleted_at) },
    }
}

/// A workspace that was just deleted.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DeletedWorkspaceResponse {
    id: WorkspaceId,
    #[cfg_attr(test, schemars(extend("const" = true)))]
    deleted: bool,
    deleted_at: Timestamp,
    cache_entries: CacheRemovalStatus,
    erasing: ErasureProgressResponse,
}

impl From<ErasureProgress> for DeletedWorkspaceResponse {
    fn from(progress: ErasureProgress) -> Self {
        Self {
            deleted: true,
            deleted_at: progress.deleted_at,
            cache_entries: copies(&progress),
            erasing: ErasureProgressResponse::of(&progress),
            id: progress.workspace,
        }
    }
}

/// The status of the installation.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StatusResponse {
    /// This program's version.
    version: &'static str,
    /// Names of the migrations that were applied to every database.
    migrations: Vec<String>,
    /// The key ring, and keys that rows need but the ring does not have.
    keys: Vec<EncryptionKeyStatus>,
    /// Whether the keys of all rows were counted. If not, `rows` and `remaining` are of 5,000 rows of each table, those that
    /// are sealed again last. A key that few rows need may be missing in `keys`.
    keys_complete: bool,
    /// The progress of sealing rows again that another key than the first sealed.
    reseal: ResealStatus,
    /// Connections whose check is due. At most 10,000 are counted.
    due_checks: i64,
    /// Whether the scheduled checks are done in time, and what else the scheduled run has to do.
    scheduled_work: ScheduledWork,
    /// Whether e-mail can be sent, and how that goes in all workspaces.
    email: EmailStatusResponse,
    /// Cache entries that are still to be deleted, 10,000 at most. Each is dropped when it has expired, after an hour.
    cache_entries_left: i64,
    /// Deleted workspaces that are not erased yet, at most 100, the earliest deleted first.
    erasing: Vec<ErasingWorkspace>,
    /// With several databases: of the last run in each of them, the one that began longest ago.
    last_cron_run: Option<CronRun>,
    /// The databases, in the order of their numbers. Everything above is of those that are `reachable`, together.
    databases: Vec<DatabaseStatusResponse>,
}

/// A database.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "DatabaseStatus"))]
struct DatabaseStatusResponse {
    /// Its number, as in `database` of a workspace.
    #[cfg_attr(test, schemars(range(max = 999)))]
    database: u16,
    /// The name of its binding: `DB`, `DB_1`, ….
    binding: String,
    /// Whether it takes new workspaces. Not if it is in `CLOSED_DATABASES`.
    open: bool,
    /// Whether it answers and can be used.
    reachable: bool,
    /// What is wrong, if it can't be used. The members below are null then.
    problem: Option<String>,
    /// Names of the applied migrations.
    migrations: Option<Vec<String>>,
    /// Workspaces that were not deleted. At most 10,000 are counted.
    workspaces: Option<i64>,
    /// The connections of these workspaces.
    connections: Option<i64>,
    /// Connections whose check is due. At most 10,000 are counted.
    due_checks: Option<i64>,
    last_cron_run: Option<CronRun>,
}

impl From<DatabaseStatus> for DatabaseStatusResponse {
    fn from(DatabaseStatus { shard, is_open, state }: DatabaseStatus) -> Self {
        let (state, problem) = match state {
            Ok(state) => (Some(state), None),
            Err(error) => (None, Some(error.detail)),
        };
        let usage = state.as_ref().map(|state| state.usage);
        let state = state.map(|state| state.state);
        Self {
            database: shard.number(),
            binding: shard.binding(),
            open: is_open,
            reachable: state.is_some(),
            problem,
            workspaces: usage.map(|usage| usage.workspaces),
            connections: usage.map(|usage| usage.connections),
            due_checks: state.as_ref().map(|state| state.due_checks),
            last_cron_run: state.as_ref().and_then(|state| state.last_run.clone()).map(CronRun::of),
            migrations: state.map(|state| state.migrations),
        }
    }
}

/// Whether e-mail can be sent, and how that goes in all workspaces.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "EmailStatus"))]
struct EmailStatusResponse {
    /// Whether the binding `EMAIL` is there.
    bound: bool,
    /// The sender, from `EMAIL_FROM`. Null: none is set, so no e-mail is sent.
    from: Option<String>,
    /// E-mails that wait, including digests that are sent at 7:00 UTC. At most 10,000 are counted.
    waiting: i64,
    /// Since when the first e-mail is due. Null: none is late.
    oldest_due_at: Option<Timestamp>,
    /// The last e-mail that was not sent. Null: there was none in the last 7 days.
    last_failure: Option<EmailFailureResponse>,
}

impl EmailStatusResponse {
    fn of<P: Ports>(context: &Context<P>, backlog: EmailBacklog) -> Self {
        Self {
            bound: context.ports.mailer().is_bound(),
            from: context.config.email_from.as_ref().map(|from| from.as_str().to_owned()),
            waiting: backlog.waiting,
            oldest_due_at: backlog.oldest_due_at,
            last_failure: backlog.last_failure.map(EmailFailureResponse::from),
        }
    }
}

/// Whether the scheduled checks are done in time, and what else the scheduled run has to do.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ScheduledWork {
    state: ScheduledWorkState,
    /// Whether `due_checks` counts all that is due.
    due_checks_complete: bool,
    /// Since when the first check is due.
    oldest_due_at: Option<Timestamp>,
    /// Checks that become due within an hour. At most 10,000 are counted.
    due_within_an_hour: i64,
    /// Checks that runs make in an hour, if so many are due. 0 while no run begins.
    checks_per_hour: i64,
    /// Seconds until nothing is late. It takes longer if `due_checks_complete` is false. Null: never, at this rate.
    caught_up_in: Option<i64>,
    /// Connections that have ended and are not erased yet, at most 10,000. Those of deleted workspaces end in steps:
    /// `erasing` counts all of them.
    erasures_left: i64,
    /// Revocations that an app has not confirmed and that are tried again, at most 10,000.
    revocations_left: i64,
}

/// Whether the scheduled checks are done in time.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum ScheduledWorkState {
    /// The last run left nothing that was due.
    CaughtUp,
    /// Checks are late, and will be done.
    CatchingUp,
    /// Checks are late, and more become due than are done. Or no run begins.
    FallingBehind,
}

impl ScheduledWork {
    fn of(state: &InstallationState, forecast: Forecast, due_checks_complete: bool) -> Self {
        Self {
            state: match forecast.progress {
                CheckProgress::CaughtUp => ScheduledWorkState::CaughtUp,
                CheckProgress::CatchingUp => ScheduledWorkState::CatchingUp,
                CheckProgress::FallingBehind => ScheduledWorkState::FallingBehind,
            },
            due_checks_complete,
            oldest_due_at: state.oldest_due_at,
            due_within_an_hour: state.due_within_an_hour,
            checks_per_hour: forecast.checks_per_hour,
            caught_up_in: forecast.caught_up_in,
            erasures_left: state.erasures,
            revocations_left: state.revocations,
        }
    }
}

/// A key that rows are sealed with.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct EncryptionKeyStatus {
    id: String,
    /// Whether `ENCRYPTION_KEYS` has it.
    on_ring: bool,
    /// Whether new secrets are sealed with it.
    seals: bool,
    /// Rows sealed with it, of those that were counted.
    rows: i64,
}

/// The progress of sealing rows again that another key than the first sealed.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ResealStatus {
    /// The first key, which seals.
    key: String,
    state: ResealState,
    /// Rows sealed with other keys, counted now, including unreadable ones. With `keys_complete: false` there may be
    /// more, also with 0.
    remaining: i64,
    /// Values sealed again since this key is the first.
    resealed: i64,
    /// Values of the current pass that no key on the ring can decrypt. They are not changed.
    unreadable: i64,
    /// Number of passes that have begun. One that changed or skipped anything is followed by another.
    pass: i64,
    started_at: Option<Timestamp>,
    /// When the next pass begins. Null during a pass.
    next_pass_at: Option<Timestamp>,
    /// Since when nothing is left to do.
    finished_at: Option<Timestamp>,
}

/// Whether rows are being sealed again.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
enum ResealState {
    /// No scheduled run has begun since this key is the first.
    Idle,
    /// In progress, or waiting for the next pass.
    Running,
    /// The last pass found nothing to do.
    Finished,
}

/// A deleted workspace that is not erased yet.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ErasingWorkspace {
    workspace: WorkspaceId,
    deleted_at: Timestamp,
    #[serde(flatten)]
    left: Flat<ErasureProgressResponse>,
    cache_entries: CacheRemovalStatus,
}

impl From<ErasureProgress> for ErasingWorkspace {
    fn from(progress: ErasureProgress) -> Self {
        Self {
            deleted_at: progress.deleted_at,
            left: Flat(ErasureProgressResponse::of(&progress)),
            cache_entries: copies(&progress),
            workspace: progress.workspace,
        }
    }
}

/// A scheduled run.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CronRun {
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    /// As it was written.
    #[cfg_attr(test, schemars(with = "Option<crate::check::RunSummary>"))]
    summary: Option<serde_json::Value>,
}

impl CronRun {
    fn of(run: LastRun) -> Self {
        Self {
            started_at: run.started_at,
            finished_at: run.finished_at,
            summary: run.summary.and_then(|text| serde_json::from_str(&text).ok()),
        }
    }
}

impl StatusResponse {
    pub(crate) fn of<P: Ports>(
        context: &Context<P>,
        InstallationStatus { sum, databases }: InstallationStatus,
    ) -> Self {
        let key_ring = &context.config.key_ring;
        let DatabaseState { state, deleted_workspaces, reseal, forecast, .. } = sum;
        let due_checks_complete = databases
            .iter()
            .filter_map(|database| database.state.as_ref().ok())
            .all(|database| database.state.due_checks < STATUS_ROWS_COUNTED);
        let rows = |id: &str| state.sealed_under.iter().find(|(known, _)| known == id).map_or(0, |(_, rows)| *rows);
        let on_ring = key_ring.ids().map(|id| EncryptionKeyStatus {
            id: id.to_owned(),
            on_ring: true,
            seals: id == key_ring.sealing_key_id(),
            rows: rows(id),
        });
        let lost = state.sealed_under.iter().filter(|(id, _)| key_ring.ids().all(|known| known != id));
        let lost =
            lost.map(|(id, rows)| EncryptionKeyStatus { id: id.clone(), on_ring: false, seals: false, rows: *rows });
        Self {
            version: env!("CARGO_PKG_VERSION"),
            keys: on_ring.chain(lost).collect(),
            keys_complete: state.is_sealed_under_complete,
            reseal: ResealStatus::of(reseal.as_ref(), key_ring.sealing_key_id(), &state),
            due_checks: state.due_checks,
            scheduled_work: ScheduledWork::of(&state, forecast, due_checks_complete),
            email: EmailStatusResponse::of(context, state.emails),
            cache_entries_left: state.cache_deletes,
            erasing: deleted_workspaces.into_iter().map(ErasingWorkspace::from).collect(),
            last_cron_run: state.last_run.map(CronRun::of),
            migrations: state.migrations,
            databases: databases.into_iter().map(DatabaseStatusResponse::from).collect(),
        }
    }
}

impl ResealStatus {
    /// The remaining rows are counted now, independent of the pass: also those that came after its end.
    fn of(progress: Option<&ResealProgress>, key: &str, state: &InstallationState) -> Self {
        Self {
            key: key.to_owned(),
            state: match progress {
                None => ResealState::Idle,
                Some(ResealProgress { finished_at: None, .. }) => ResealState::Running,
                Some(_) => ResealState::Finished,
            },
            remaining: state.sealed_under.iter().filter(|(id, _)| id != key).map(|(_, rows)| rows).sum(),
            resealed: progress.map_or(0, |p| p.resealed),
            unreadable: progress.map_or(0, |p| p.unreadable),
            pass: progress.map_or(0, |p| p.pass),
            started_at: progress.map(|p| p.started_at),
            next_pass_at: progress.and_then(|p| p.next_pass_at),
            finished_at: progress.and_then(|p| p.finished_at),
        }
    }
}

/// Whether the installation works. No details, because anybody may ask.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HealthResponse {
    status: HealthStatus,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(rename_all = "snake_case")]
enum HealthStatus {
    /// Database and key ring work: 200.
    Ok,
    /// They do not: 503.
    Unavailable,
    /// The operator is changing the database: 503.
    Maintenance,
}

impl HealthResponse {
    pub(crate) const OK: Self = Self { status: HealthStatus::Ok };
    pub(crate) const UNAVAILABLE: Self = Self { status: HealthStatus::Unavailable };
    pub(crate) const MAINTENANCE: Self = Self { status: HealthStatus::Maintenance };
}
