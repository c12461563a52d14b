//! The judge of long scenarios: every problem is reported with the correct name, and nothing is reported without a
//! problem.
//!
//! Owns what must be reported in which situation. The facts are in the app's own log and in the actions of the
//! scenario. Reports are read as a page, the API and a caller of resolve get them.

use std::collections::BTreeMap;

use connections::attention::{self, AttentionCode as Told};
use connections::client::ClientProblem;
use connections::connection::{ConnectionStatus, ReconnectReason};
use connections::error::{Error, ErrorCode};
use connections::resolve::{Freshness, ResolveRequest, ResolvedCredential};
use connections::store::connections::{ConnectionFilter, ListedConnection, list};

use crate::living::{CONFIGURATION_CODE, UNKNOWN_CODE, name_of};
use crate::long::{Mode, Trouble};
use crate::outages::{Kind, Outages};
use crate::scenario::{Scenario, ScenarioConnection, resolve_from_worker};

/// Names that must have been reported in a run of many seeds.
pub(crate) const NAMES: [&str; 8] = [
    "app_unreachable",
    "app_refuses",
    "client_misconfigured",
    "definition_changed",
    "unreadable",
    "needs_reconnect",
    "nothing",
    "copy in an outage",
];
/// A sentence of a problem that must be true.
const NO_REPAIR: &str = "nothing has to be repaired";
/// Seconds until a caller is told about a problem: before that, the first failures look alike.
const TELLING: i64 = 3 * 3600;
/// Seconds by which a use may be recorded late: the interval of the database, and that of an isolate.
const USE_IS_LATE: i64 = 660;
/// Seconds for which a used cache entry is available when the database goes down.
const COPY_IS_THERE: i64 = 14 * 60;
/// Seconds within which the scheduled run deletes what could not be deleted.
const DELETED_WITHIN: i64 = 900;
/// Checks of a connection with an unusable client, in a phase: half an hour apart at first, a day at the end.
const MOST_CHECKS: usize = 12;
/// Requests to revoke one grant: eight in the first hours, then one in two hours, for a day.
const MOST_REVOCATIONS: usize = 40;

/// The state at the end of a phase.
#[derive(Debug)]
pub(crate) struct Situation {
    pub(crate) trouble: Trouble,
    /// Whether tokens would go to another address with the current definition.
    pub(crate) leads_elsewhere: bool,
    /// The current definition's revision.
    pub(crate) revision: i64,
}

/// The last resolve that wrote a cache entry.
struct Copied {
    at: i64,
    expires_at: Option<i64>,
    /// The values in the database.
    state: String,
}

/// The observations so far, and the correct reports.
pub(crate) struct Reports {
    outages: Outages,
    trouble: Trouble,
    /// What the app has said and nothing has replaced since.
    heard: Vec<Told>,
    since: i64,
    /// Log lines before the phase.
    lines: usize,
    /// Calls and checks of a connection in the phase.
    asked: BTreeMap<usize, usize>,
    marks_failed: bool,
    used: BTreeMap<(usize, usize), i64>,
    copied: BTreeMap<usize, Copied>,
    pub(crate) told: BTreeMap<&'static str, u64>,
}

impl Reports {
    pub(crate) fn new(outages: Outages) -> Self {
        Self {
            outages,
            trouble: Trouble::None,
            heard: Vec::new(),
            since: 0,
            lines: 0,
            asked: BTreeMap::new(),
            marks_failed: false,
            used: BTreeMap::new(),
            copied: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    pub(crate) fn begin_phase(&mut self, stage: &Scenario, trouble: Trouble) {
        let world = &stage.fixture.world;
        (self.trouble, self.since, self.lines) = (trouble, world.runtime.now(), world.log.0.borrow().len());
        match trouble {
            // A refusal of the client replaces what the app said about the connection.
            Trouble::ClientRefused => self.heard.retain(|one| *one != Told::AppRefuses),
            Trouble::None if !stage.plan.outlives_a_phase() => self.heard.clear(),
            Trouble::None => self.heard.retain(|one| *one == Told::ClientMisconfigured),
            _ => {}
        }
        self.asked.clear();
        self.copied.clear();
        self.marks_failed = false;
    }

    fn tells(&mut self, name: &'static str) {
        *self.told.entry(name).or_default() += 1;
    }

    pub(crate) fn fails(&mut self, kind: Kind) {
        self.marks_failed |= kind == Kind::Marks;
    }

    /// Somebody asked for a check.
    pub(crate) fn checked(&mut self, connection: usize) {
        *self.asked.entry(connection).or_default() += 1;
    }

    /// A workflow called.
    pub(crate) fn called(
        &mut self,
        stage: &Scenario,
        (connection, workflow): (usize, usize),
        mode: Mode,
        answered: Option<&connections::error::Result<ResolvedCredential>>,
    ) {
        let now = stage.fixture.world.runtime.now();
        *self.asked.entry(connection).or_default() += 1;
        match answered {
            Some(Ok(resolved)) => {
                if self.outages.works_for(Kind::Uses) >= 0 {
                    self.used.insert((connection, workflow), now);
                }
                let is_kept = mode != Mode::Strong && resolved.freshness != Freshness::Stale;
                let token = resolved.issued.credential.token.as_ref();
                if is_kept && self.cache_works_for() >= 0 {
                    let expires_at = token.and_then(|token| token.expires_at.as_ref()).map(|end| end.unix());
                    self.copied.insert(connection, Copied { at: now, expires_at, state: state(stage, connection) });
                }
            }
            Some(Err(error)) => self.refused(stage, connection, error),
            None => {}
        }
    }

    fn cache_works_for(&self) -> i64 {
        self.outages.works_for(Kind::Puts).min(self.outages.works_for(Kind::Gets))
    }

    /// What a caller is told must be true, and include the remedy if there is one.
    fn refused(&self, stage: &Scenario, connection: usize, error: &Error) {
        let role = &stage.connections[connection];
        let is_known = stage.fixture.world.runtime.now() - self.since > TELLING;
        let passes = matches!(self.trouble, Trouble::None | Trouble::Silence(_));
        if is_known && !passes && error.detail.contains(NO_REPAIR) {
            stage
                .invariants
                .add_finding(format!("{} is said to need no repair, in {:?}: {error:?}", role.account, self.trouble));
        }
        if error.code == ErrorCode::NeedsReconnect && error.hints.reconnect_url.is_none() {
            stage.invariants.add_finding(format!("a person has to reconnect {} and is not told where", role.account));
        }
    }

    /// While the database is down, a cache entry answers that was used shortly before.
    pub(crate) fn called_in_an_outage(
        &mut self,
        stage: &Scenario,
        connection: usize,
        answered: Option<&connections::error::Result<ResolvedCredential>>,
    ) {
        let now = stage.fixture.world.runtime.now();
        let role = &stage.connections[connection];
        let Some(copied) = self.copied.get(&connection).filter(|_| role.disconnected_at_ms.get().is_none()) else {
            return;
        };
        let is_due = now - copied.at < COPY_IS_THERE
            && self.cache_works_for() > now - copied.at
            && copied.expires_at.is_none_or(|end| end > now + 120)
            && copied.state == state(stage, connection);
        if !is_due {
            return;
        }
        if matches!(answered, Some(Ok(_))) {
            self.tells("copy in an outage");
        } else {
            let ago = now - copied.at;
            stage
                .invariants
                .add_finding(format!("the copy of {} is gone, {ago} s after it was used: {answered:?}", role.account));
        }
    }

    /// A disconnected connection is removed from every cache as soon as deletes work again.
    pub(crate) fn look_at_copies(&self, stage: &Scenario) {
        let (now, kv) = (stage.fixture.world.runtime.now(), &stage.fixture.world.cache);
        for role in &stage.connections {
            let Some(gone_at) = role.disconnected_at_ms.get() else { continue };
            let was_time = (now - gone_at / 1000).min(self.outages.works_for(Kind::Deletes)) > DELETED_WITHIN;
            if was_time && kv.has(&format!("connection/{}", role.id), now) {
                stage
                    .invariants
                    .add_finding(format!("a copy of {} is left, though the cache deletes again", role.account));
            }
        }
    }

    /// Checks everything that must have been reported and done by the end of a phase.
    pub(crate) fn judge(&mut self, stage: &std::rc::Rc<Scenario>, now: &Situation) {
        self.judge_all(stage, now);
        self.heard.extend(match now.trouble {
            Trouble::UnknownCode | Trouble::Configuration => Some(Told::AppRefuses),
            Trouble::ClientRefused => Some(Told::ClientMisconfigured),
            _ => None,
        });
    }

    fn judge_all(&mut self, stage: &std::rc::Rc<Scenario>, now: &Situation) {
        Self::nothing_is_left(stage);
        self.asked_ever_more_seldom(stage);
        for (connection, role) in stage.connections.iter().enumerate() {
            if role.disconnected_at_ms.get().is_some() {
                continue;
            }
            let Some(listed) = listed(stage, role) else {
                stage.invariants.add_finding(format!("{} is not listed", role.account));
                continue;
            };
            self.uses_are_noted(stage, connection, &listed);
            self.definition_is_followed_or_told(stage, role, &listed, now);
            let last = stage.fixture.world.run(resolve_from_worker(stage, 0, connection, ResolveRequest::default()));
            let wrong = match &last {
                Some(last) => self.status_is_told(stage, role, &listed, (now, last)),
                None => Some("no resolve comes to an end".to_owned()),
            };
            if let Some(wrong) = wrong {
                let told = told_of(stage, &listed);
                let (status, failures) = (listed.connection.status, listed.connection.failures);
                stage.invariants.add_finding(format!(
                    "{}, at the end of {:?}: {wrong}; status {status:?}, failures {failures}, told {told:?}, resolve {last:?}",
                    role.account, now.trouble
                ));
            }
            // A week after it was marked needs_reconnect, the credential is deleted.
            if now.trouble == Trouble::None && listed.connection.sealed_credential.is_some() {
                stage.invariants.check_final_resolve(role, last);
            }
        }
    }

    /// The error in the reports, if there is one.
    fn status_is_told(
        &mut self,
        stage: &Scenario,
        role: &ScenarioConnection,
        listed: &ListedConnection,
        (now, last): (&Situation, &connections::error::Result<ResolvedCredential>),
    ) -> Option<String> {
        let key_ring = stage.fixture.world.config().key_ring;
        let (status, reason) = listed.connection.shown_status(&key_ring);
        let is_dead = status == ConnectionStatus::NeedsReconnect;
        let says_reconnect = matches!(last, Err(error) if error.code == ErrorCode::NeedsReconnect && error.hints.reconnect_url.is_some());
        if is_dead || now.trouble == Trouble::KeyGone {
            let is_purged = listed.connection.sealed_credential.is_none();
            if now.trouble == Trouble::KeyGone && reason != Some(ReconnectReason::Unreadable) && !is_purged {
                return Some("its credential can't be opened, and its status does not say so".into());
            }
            if now.trouble != Trouble::KeyGone && reason == Some(ReconnectReason::Unreadable) {
                return Some("its credential is said not to open, and it does".into());
            }
            self.tells(if now.trouble == Trouble::KeyGone { "unreadable" } else { "needs_reconnect" });
            return (!says_reconnect).then(|| "a person has to reconnect it, and resolve does not say so".into());
        }
        let stored = stage.invariants.load_token(role.id.as_str())?;
        let app = &stage.fixture.world.acme;
        let works = app.accepts_access_token(stored.access_token.expose());
        let can_be_renewed =
            stored.refresh_token.as_ref().is_some_and(|token| app.accepts_refresh_token(token.expose()));
        let told = told_of(stage, listed);
        let wanted = match now.trouble {
            _ if !works && stored.refresh_token.is_none() => {
                return Some("it has ended, and its status does not say so".into());
            }
            Trouble::None | Trouble::KeyGone if !works && !can_be_renewed => {
                return Some("the app has ended it, and its status does not say so".into());
            }
            Trouble::None | Trouble::KeyGone => None,
            Trouble::Silence(_) => Some(Told::AppUnreachable),
            Trouble::UnknownCode | Trouble::Configuration => Some(Told::AppRefuses),
            Trouble::ClientRefused | Trouble::SecretSpoiled => Some(Told::ClientMisconfigured),
        };
        let is_so =
            |code: &Told| Some(*code) == wanted || *code == Told::DefinitionChanged || self.heard.contains(code);
        if let Some(other) = told.iter().find(|code| !is_so(code)) {
            return Some(format!("it is told that {}, which is not so", other.as_str()));
        }
        let Some(wanted) = wanted.filter(|_| !works) else {
            self.tells("nothing");
            return last.is_err().then(|| "it works at the app, and resolve refuses".into());
        };
        // An app that is silent now may be reported with its last response.
        let is_silent = matches!(now.trouble, Trouble::Silence(_));
        if !(told.contains(&wanted) || is_silent && told.iter().any(|code| self.heard.contains(code))) {
            return Some(format!("{} is not told", wanted.as_str()));
        }
        self.tells(wanted.as_str());
        match last {
            // A grant that the app ended early looks valid until the app can be asked.
            Ok(_) if !app.has_live_grant_of_token(stored.access_token.expose()) => None,
            Ok(_) => Some("an ended credential is answered".into()),
            Err(error)
                if self.heard.contains(&Told::ClientMisconfigured) && error.code == ErrorCode::ClientMisconfigured =>
            {
                None
            }
            Err(error) if is_silent && self.heard.contains(&Told::AppRefuses) && error.hints.app_error.is_some() => {
                None
            }
            Err(error) => wrong_problem(now.trouble, error),
        }
    }

    fn definition_is_followed_or_told(
        &mut self,
        stage: &Scenario,
        role: &ScenarioConnection,
        listed: &ListedConnection,
        now: &Situation,
    ) {
        let connection = &listed.connection;
        let is_behind = connection.app_revision != now.revision;
        let says_so = told_of(stage, listed).contains(&Told::DefinitionChanged);
        let wrong = match (now.leads_elsewhere, is_behind, says_so) {
            (true, true, true) => {
                self.tells("definition_changed");
                return;
            }
            (false | true, false, false) => return,
            (_, true, false) => "stays behind its app's definition, and nobody is told",
            (_, false, true) => "is said to stay behind its app's definition, and does not",
            (false, true, true) => "stays behind a definition that sends nothing elsewhere",
        };
        stage.invariants.add_finding(format!("{} {wrong}", role.account));
    }

    fn uses_are_noted(&self, stage: &Scenario, connection: usize, listed: &ListedConnection) {
        let role = &stage.connections[connection];
        for ((_, workflow), at) in self.used.iter().filter(|((of, _), _)| *of == connection) {
            let sql = format!(
                "SELECT last_used_at FROM uses WHERE connection_id = '{}' AND workflow = '{}'",
                role.id,
                name_of(*workflow)
            );
            let noted = stage.fixture.world.db.query_value(&sql).as_f64();
            #[expect(clippy::cast_precision_loss, reason = "a time in seconds")]
            let is_late = noted.is_none_or(|noted| noted < (at - USE_IS_LATE) as f64);
            let touched = listed.connection.last_used_at.map_or(0, connections::time::Timestamp::unix);
            if is_late || touched < at - USE_IS_LATE {
                stage
                    .invariants
                    .add_finding(format!("a use of {} by workflow {workflow} was never noted", role.account));
            }
        }
    }

    /// Nothing that was disconnected waits for its erasure, and it took few requests and few log lines.
    fn nothing_is_left(stage: &Scenario) {
        let db = &stage.fixture.world.db;
        for (what, sql) in [
            ("a disconnected connection", "SELECT count(*) FROM connections WHERE deleted_at IS NOT NULL"),
            ("a revocation", "SELECT count(*) FROM revocations"),
            ("a note of a copy to delete", "SELECT count(*) FROM cache_deletes"),
        ] {
            if db.query_number(sql) > 0 {
                stage.invariants.add_finding(format!("{what} is left over"));
            }
        }
        for role in stage.connections.iter().filter(|role| role.disconnected_at_ms.get().is_some()) {
            let events =
                format!("SELECT count(*) FROM events WHERE connection_id = '{}' AND type = 'disconnected'", role.id);
            if db.query_number(&events) > 2 {
                stage.invariants.add_finding(format!(
                    "the trail tells {} times that {} was disconnected",
                    db.query_number(&events),
                    role.account
                ));
            }
        }
        let requests = stage.fixture.world.acme.count_requests("/revoke");
        if requests > MOST_REVOCATIONS {
            stage.invariants.add_finding(format!("the app was asked {requests} times to revoke a grant"));
        }
    }

    /// A client that only a person can repair is checked less and less often.
    fn asked_ever_more_seldom(&self, stage: &Scenario) {
        if self.trouble != Trouble::SecretSpoiled || self.marks_failed {
            return;
        }
        for (connection, role) in stage.connections.iter().enumerate() {
            let lines = stage.fixture.world.log.0.borrow();
            let code = ClientProblem::SecretUnreadable.as_str();
            let of_it = lines.iter().skip(self.lines).filter(|line| {
                line.event == "refresh_failed"
                    && line.fields["connection"] == role.id.as_str()
                    && line.fields["error"] == code
            });
            let (times, asked) = (of_it.count(), self.asked.get(&connection).copied().unwrap_or_default());
            if times > asked + MOST_CHECKS {
                stage.invariants.add_finding(format!(
                    "{} was checked {times} times with a client that can't be used",
                    role.account
                ));
            }
        }
    }
}

/// The error in a problem for a caller, if there is one.
fn wrong_problem(trouble: Trouble, error: &Error) -> Option<String> {
    let hints = &error.hints;
    let code = match trouble {
        Trouble::ClientRefused | Trouble::SecretSpoiled => ErrorCode::ClientMisconfigured,
        _ => ErrorCode::AppUnavailable,
    };
    let app_error = match trouble {
        Trouble::UnknownCode => Some(UNKNOWN_CODE),
        Trouble::Configuration => Some(CONFIGURATION_CODE),
        Trouble::ClientRefused => Some("invalid_client"),
        _ => None,
    };
    if error.code != code {
        return Some(format!("the problem's code is not {}", code.as_str()));
    }
    if error.detail.contains(NO_REPAIR) {
        return Some("it is said to need no repair".into());
    }
    if hints.app_error.as_deref() != app_error {
        return Some("the app's own code is not told".into());
    }
    if code == ErrorCode::AppUnavailable && hints.reconnect_url.is_none() {
        return Some("nobody is told where to reconnect it".into());
    }
    None
}

/// The values of a connection in the database that its cache entry contains.
fn state(stage: &Scenario, connection: usize) -> String {
    let sql = format!(
        "SELECT generation || '/' || version || '/' || app_revision || '/' || status || '/' || name FROM connections WHERE id = '{}'",
        stage.connections[connection].id
    );
    stage.invariants.query_text(&sql).unwrap_or_default()
}

fn listed(stage: &Scenario, role: &ScenarioConnection) -> Option<ListedConnection> {
    let world = &stage.fixture.world;
    let core = world.context();
    let filter = ConnectionFilter { id: Some(role.id.clone()), limit: 1, ..ConnectionFilter::default() };
    let page = world.run(async { list(core.db(), &stage.fixture.workspace, &filter, core.now()).await.unwrap() });
    page.data.into_iter().next()
}

fn told_of(stage: &Scenario, listed: &ListedConnection) -> Vec<Told> {
    attention::for_connection(listed, stage.fixture.world.now()).into_iter().map(|one| one.code).collect()
}
