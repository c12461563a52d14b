//! The judge: the invariants of every scenario, checked against the app's own log and against what people were told.
//!
//! Owns the rules. Each one is from refresh.md, and its finding says which rule was violated. The recorder
//! distinguishes what an injected fault lost from what the program dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::connection::ReconnectReason;
use connections::credential::{Credential, StoredToken};
use connections::error::{Error, ErrorCode};
use connections::ids::{ConnectionId, WorkspaceId};
use connections::resolve::{ResolvedCredential, Source};

use crate::attack;
use crate::fault_plan::FaultCounts;
use crate::plan::{ScenarioPlan, ScenarioStep};
use crate::rogue_server::is_rogue_token;
use crate::scenario::{Scenario, ScenarioConnection, allows_token_reuse};
use crate::support::acme::{CANARY, RedeemOutcome};
use crate::support::recorder::{SentRefresh, StoreOutcome};
use crate::support::{RotationPolicy, World};

/// How often a write of new tokens is tried, or for how many milliseconds, before the program may give up.
const MIN_WRITE_TRIES: u32 = 6;
const MIN_WRITE_MS: i64 = 4_000;
/// Seconds that a request may take.
const MAX_REQUEST_SECONDS: i64 = 15;
/// Milliseconds between a failed use of a token and the next one, at least: two seconds by a clock of whole seconds.
const MIN_BACKOFF_MS: i64 = 1_000;

/// Where sealed values are stored.
const SEALED_COLUMNS: [(&str, &str); 5] = [
    ("connections", "sealed_credential"),
    ("oauth_clients", "sealed_secret"),
    ("revocations", "sealed_tokens"),
    ("flows", "sealed_verifier"),
    ("flows", "sealed_grant"),
];

/// The result of a scenario.
#[derive(Debug, Default)]
pub(crate) struct ScenarioResult {
    /// Violated rules, in words.
    pub(crate) findings: Vec<String>,
    /// The log of the scenario, if it is kept.
    pub(crate) lines: Vec<String>,
    pub(crate) faults: FaultCounts,
    /// Refresh requests that were sent.
    pub(crate) refreshes_sent: u64,
    /// Responses with tokens that never reached the database because of injected faults.
    pub(crate) responses_lost: u64,
    /// Connections that were marked `needs_reconnect`, by reason.
    pub(crate) needs_reconnect: BTreeMap<&'static str, u64>,
    /// Returned credentials.
    pub(crate) credentials_resolved: u64,
    /// Confirmed disconnects.
    pub(crate) disconnects: u64,
    /// Requests that reached a hostile editor's server.
    pub(crate) rogue_requests: u64,
    /// Connections that got a grant of that server.
    pub(crate) rogue_grants: u64,
    /// Days of long scenarios.
    pub(crate) days: u64,
    /// What was correctly reported at the end of a phase of a long scenario, by name.
    pub(crate) told: BTreeMap<&'static str, u64>,
}

/// The findings so far.
pub(crate) struct InvariantChecker {
    findings: Rc<RefCell<Vec<String>>>,
    needs_reconnect: RefCell<BTreeMap<&'static str, u64>>,
    credentials_resolved: std::cell::Cell<u64>,
    world: World,
}

impl InvariantChecker {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            findings: Rc::default(),
            needs_reconnect: RefCell::default(),
            credentials_resolved: std::cell::Cell::new(0),
            world: world.clone(),
        }
    }

    pub(crate) fn add_finding(&self, finding: String) {
        self.world.recorder.add_line(self.world.runtime.now_ms(), || format!("FOUND: {finding}"));
        self.findings.borrow_mut().push(finding);
    }

    /// Checks every connection that is marked `needs_reconnect`, and every revocation, when it happens.
    pub(crate) fn install(stage: &Rc<Scenario>) {
        let on_death = Rc::downgrade(stage);
        *stage.fixture.world.recorder.on_needs_reconnect.borrow_mut() = Some(Rc::new(move |id| {
            if let Some(stage) = on_death.upgrade() {
                stage.invariants.check_needs_reconnect(&stage, id);
            }
        }));
        let on_revoked = Rc::downgrade(stage);
        *stage.fixture.world.acme.on_revoked.borrow_mut() = Some(Box::new(move |account| {
            if let Some(stage) = on_revoked.upgrade() {
                stage.invariants.check_revocation(&stage, account);
            }
        }));
    }

    /// No working connection is marked `needs_reconnect`, and the reason is correct.
    fn check_needs_reconnect(&self, stage: &Scenario, id: &str) {
        let Some(role) = stage.connections.iter().find(|role| role.id.as_str() == id) else { return };
        let reason =
            self.query_text(&format!("SELECT reconnect_reason FROM connections WHERE id = '{id}'")).unwrap_or_default();
        stage.add_line(|| format!("dead: {id}, {reason}"));
        let reason = ReconnectReason::parse(&reason).map_or("unknown", ReconnectReason::as_str);
        *self.needs_reconnect.borrow_mut().entry(reason).or_default() += 1;
        let Some(stored) = self.load_token(id).filter(|stored| !is_from_rogue_server(stored)) else { return };
        let app = &self.world.acme;
        let Some(token) = stored.refresh_token.as_ref().map(|token| token.expose().to_owned()) else {
            // Lifetimes count from before the request, so they end early by the duration of the request.
            if app.accepts_access_token_in(MAX_REQUEST_SECONDS, stored.access_token.expose()) {
                self.add_finding(format!("false death: {} has a working access token", role.account));
            }
            return;
        };
        let before = stored.previous.as_ref().filter(|previous| self.world.now() < previous.until);
        let grace = matches!(stage.plan.declared_rotation, RotationPolicy::Grace(_));
        if grace && before.is_some_and(|previous| app.accepts_refresh_token(previous.refresh_token.expose())) {
            return self
                .add_finding(format!("false death: the app would still take the token before {}'s", role.account));
        }
        if app.accepts_refresh_token(&token) {
            return self.add_finding(format!("false death: the app would still redeem what {} holds", role.account));
        }
        let was_redeemed = app.is_refresh_token_used(&token) && !allows_token_reuse(stage.plan.rotation);
        let calm = stage.plan.is_fault_free();
        match reason {
            "revoked" if was_redeemed && !role.grant_withdrawn.get() => {
                self.add_finding("a lost rotation was named revoked".into());
            }
            "lost_rotation" if !was_redeemed && calm => self.add_finding("a revocation was named lost_rotation".into()),
            "lost_rotation" if was_redeemed && !self.may_have_lost_response(&token) => {
                self.add_finding("a rotation was named lost whose tokens were in the program's hands".into());
            }
            "revoked" | "lost_rotation" => {}
            other => self.add_finding(format!("a death by refusal was named {other}")),
        }
    }

    /// The response to one use of the token is lost, or is still waiting for a database that is down.
    fn may_have_lost_response(&self, token: &str) -> bool {
        let sent = self.world.recorder.sent_refreshes.borrow();
        sent.iter().any(|sent| {
            sent.token == token
                && (!sent.brought_tokens
                    || sent.store_outcome == StoreOutcome::LostInCrash
                    || sent.kept_for_later
                    || sent.failed_writes > 0)
        })
    }

    /// Our own revocation ends no connection in use.
    fn check_revocation(&self, stage: &Scenario, account: &str) {
        for role in stage.connections.iter().filter(|role| role.account == account) {
            let live = format!(
                "SELECT count(*) FROM connections WHERE id = '{}' AND deleted_at IS NULL AND status = 'connected'",
                role.id.as_str()
            );
            let elsewhere = self.load_token(role.id.as_str()).is_some_and(|stored| is_from_rogue_server(&stored));
            if self.world.db.query_number(&live) > 0 && !elsewhere {
                self.add_finding(format!("a revocation killed the live grant of {account}"));
            }
        }
    }

    /// Somebody got a credential.
    pub(crate) fn check_resolved(
        &self,
        stage: &Scenario,
        role: &ScenarioConnection,
        begun_ms: i64,
        resolved: &ResolvedCredential,
    ) {
        self.credentials_resolved.set(self.credentials_resolved.get() + 1);
        let app = &self.world.acme;
        let Some(issued) = &resolved.issued.credential.token else {
            return self.add_finding(format!("{} was answered without a token", role.account));
        };
        let token = issued.access_token.as_str();
        let may_be_a_copy = resolved.source == Source::Cache && begun_ms < role.copies_until.get();
        if role.disconnected_at_ms.get().is_some_and(|at| at <= begun_ms) && !may_be_a_copy {
            self.add_finding(format!("{} was answered after an acknowledged disconnect", role.account));
        }
        if let Some(hostile) = &stage.attack {
            attack::check_resolved_token(stage, hostile, token, resolved);
        }
        if is_rogue_token(token) && role.sent_to_rogue_server.get() {
            return;
        }
        if app.account_of(token).as_deref() != Some(role.account.as_str()) {
            self.add_finding(format!("{} was answered with somebody else's token", role.account));
        }
        // A repeated response of an undeclared grace period says that the old token has its full lifetime. Nobody can
        // know better.
        let overstates = matches!(stage.plan.rotation, RotationPolicy::Grace(_))
            && stage.plan.declared_rotation == RotationPolicy::Strict;
        if app.has_live_grant_of_token(token)
            && !app.accepts_access_token(token)
            && issued.expires_at.is_some()
            && !overstates
        {
            self.add_finding(format!("{} was answered with a token that has ended", role.account));
        }
    }

    /// Long after another key became the first one, no value is sealed under the old one.
    pub(crate) fn check_resealed(&self) {
        for (table, column) in SEALED_COLUMNS {
            if self.world.db.query_number(&format!("SELECT count(*) FROM {table} WHERE {column} LIKE 'cx1.k1.%'")) > 0 {
                self.add_finding(format!("something in {table}.{column} is still sealed under the old key"));
            }
        }
    }

    /// When all faults have ended, the last resolve matches the state of the app.
    pub(crate) fn check_final_resolve(
        &self,
        role: &ScenarioConnection,
        last: Option<connections::error::Result<ResolvedCredential>>,
    ) {
        let id = role.id.as_str();
        let exists = self
            .world
            .db
            .query_number(&format!("SELECT count(*) FROM connections WHERE id = '{id}' AND deleted_at IS NULL"));
        if exists == 0 {
            if !role.disconnect_tried.get() {
                self.add_finding(format!("{} vanished", role.account));
            }
            return;
        }
        self.check_name(role);
        let Some(stored) = self.load_token(id) else {
            return self.add_finding(format!("what is stored for {} does not open", role.account));
        };
        if is_from_rogue_server(&stored) && role.sent_to_rogue_server.get() {
            return;
        }
        let renewable =
            stored.refresh_token.as_ref().is_some_and(|token| self.world.acme.accepts_refresh_token(token.expose()));
        let works = self.world.acme.accepts_access_token(stored.access_token.expose());
        match last {
            Some(Ok(resolved)) => self.check_newest_grant(role, &resolved),
            Some(Err(Error { code: ErrorCode::NeedsReconnect, .. })) if !renewable => {}
            other if renewable || works => {
                self.add_finding(format!("{} is alive at the app, but the last resolve says {other:?}", role.account));
            }
            other => {
                self.add_finding(format!("{} is dead at the app, but the last resolve says {other:?}", role.account));
            }
        }
    }

    /// After a reconnect that returned a refresh token, nobody has a token of the previous grant.
    fn check_newest_grant(&self, role: &ScenarioConnection, resolved: &ResolvedCredential) {
        let token = resolved.issued.credential.token.as_ref();
        let grant = token.and_then(|token| self.world.acme.grant_index_of(&token.access_token));
        if grant.is_none_or(|grant| grant < role.outdated_grants.get()) && !role.reconnects_overlapped.get() {
            self.add_finding(format!("{} is back at an older generation", role.account));
        }
    }

    /// A rename is kept, whatever happens to the tokens.
    fn check_name(&self, role: &ScenarioConnection) {
        let name = self.query_text(&format!("SELECT name FROM connections WHERE id = '{}'", role.id.as_str()));
        let names = role.requested_names.borrow();
        let Some(wanted) = &names.acknowledged else { return };
        let fits = name.as_ref() == Some(wanted) || name.is_some_and(|name| names.unacknowledged.contains(&name));
        if !fits {
            self.add_finding(format!("the name {wanted} of {} is lost", role.account));
        }
    }

    /// Checks the app's own log at the end.
    pub(crate) fn finish(&self, stage: &Scenario) -> ScenarioResult {
        self.check_token_reuse(stage);
        self.check_no_tokens_dropped(stage);
        self.check_single_flight();
        self.check_backoff(stage);
        self.check_log();
        let witness = &self.world.recorder;
        let sent = witness.sent_refreshes.borrow();
        let mut findings = self.findings.borrow().clone();
        let hostile = stage.attack.as_ref();
        findings.extend(hostile.iter().flat_map(|hostile| hostile.secrets.findings.borrow().clone()));
        ScenarioResult {
            findings,
            rogue_requests: hostile.map_or(0, |hostile| hostile.rogue.requests.borrow().len() as u64),
            rogue_grants: hostile.map_or(0, |hostile| hostile.rogue_grants.get()),
            lines: witness.lines.take(),
            faults: stage.fault_plan.counts(),
            refreshes_sent: sent.len() as u64,
            responses_lost: sent.iter().filter(|sent| self.is_response_lost(stage, sent)).count() as u64,
            needs_reconnect: self.needs_reconnect.borrow().clone(),
            credentials_resolved: self.credentials_resolved.get(),
            disconnects: stage.connections.iter().filter(|role| role.disconnected_at_ms.get().is_some()).count() as u64,
            ..ScenarioResult::default()
        }
    }

    /// A used refresh token is sent again only if the response to its use was really lost, and only after the first
    /// attempt's lease has ended.
    fn check_token_reuse(&self, stage: &Scenario) {
        if allows_token_reuse(stage.plan.rotation) {
            return;
        }
        let redemptions = self.world.acme.received_refreshes();
        let all_sent = self.world.recorder.sent_refreshes.borrow();
        let mut first_use: BTreeMap<&str, usize> = BTreeMap::new();
        for redemption in &redemptions {
            match first_use.get(redemption.token.as_str()) {
                None if redemption.outcome == RedeemOutcome::Granted => {
                    first_use.insert(&redemption.token, redemption.sent_index);
                }
                None => {}
                Some(first) => {
                    let (Some(first), Some(again)) = (all_sent.get(*first), all_sent.get(redemption.sent_index)) else {
                        continue;
                    };
                    if let Some(why) = self.find_reuse_violation(stage, first, again) {
                        self.add_finding(format!(
                            "a used refresh token was presented again, {why} ({:?})",
                            redemption.outcome
                        ));
                    }
                }
            }
        }
    }

    fn find_reuse_violation(&self, stage: &Scenario, first: &SentRefresh, again: &SentRefresh) -> Option<&'static str> {
        // The app may be so slow that the second request reaches it first.
        let (first, again) = if first.at_ms <= again.at_ms { (first, again) } else { (again, first) };
        let owned_until = first.at_ms + stage.plan.lease_seconds() * 1000;
        let is_over = again.at_ms >= owned_until;
        if self.is_grace_retry(stage, first, again) {
            return None;
        }
        // A write after the lease came too late to stop the request.
        let in_record = matches!(first.store_outcome, StoreOutcome::Stored(at) if at < again.leased_ms);
        if in_record {
            return Some("though its successor was in the record");
        }
        if first.store_outcome == StoreOutcome::Declined {
            return Some("though its successor had been in the program's hands");
        }
        // At an app with a grace period, or one that does not revoke, a retry may follow as soon as the first attempt
        // has failed.
        let gave_back = stage.plan.declared_rotation != RotationPolicy::Strict && self.is_response_lost(stage, first);
        if !is_over && !gave_back {
            return Some("while the first attempt still owned it");
        }
        None
    }

    /// Within its grace period the previous token is sent in the same attempt, after the stored one was refused.
    fn is_grace_retry(&self, stage: &Scenario, first: &SentRefresh, again: &SentRefresh) -> bool {
        let RotationPolicy::Grace(seconds) = stage.plan.declared_rotation else { return false };
        let all = self.world.recorder.sent_refreshes.borrow();
        again.at_ms <= first.at_ms + seconds * 1000
            && all
                .iter()
                .any(|one| one.attempt == again.attempt && one.token != again.token && one.at_ms <= again.at_ms)
    }

    /// Tokens that arrived are in the database, or the database did not need them, or it was down for long enough.
    fn check_no_tokens_dropped(&self, stage: &Scenario) {
        for sent in self.world.recorder.sent_refreshes.borrow().iter() {
            if sent.brought_tokens && sent.store_outcome == StoreOutcome::Pending && !may_give_up(&stage.plan, sent) {
                self.add_finding("tokens arrived and were let go".into());
            }
        }
    }

    /// The tokens were issued and never reached the database because of an injected fault.
    fn is_response_lost(&self, stage: &Scenario, sent: &SentRefresh) -> bool {
        let granted = self.world.acme.is_refresh_token_used(&sent.token);
        granted
            && sent.ended_ms.is_some()
            && !matches!(sent.store_outcome, StoreOutcome::Stored(_) | StoreOutcome::Declined)
            && (!sent.brought_tokens
                || sent.store_outcome == StoreOutcome::LostInCrash
                || may_give_up(&stage.plan, sent))
    }

    /// A grant never has two running refresh requests.
    fn check_single_flight(&self) {
        let sent = self.world.recorder.sent_refreshes.borrow();
        let mut by_grant: BTreeMap<usize, Vec<&SentRefresh>> = BTreeMap::new();
        for one in sent.iter() {
            // The account of a token that the app has lost is unknown.
            if let Some(grant) = self.world.acme.grant_index_of(&one.token) {
                by_grant.entry(grant).or_default().push(one);
            }
        }
        for of_one in by_grant.values() {
            for pair in of_one.windows(2) {
                let [earlier, later] = pair else { continue };
                if earlier.ended_ms.is_none_or(|end| later.at_ms < end) {
                    self.add_finding("two redemptions of one grant were under way at once".into());
                }
            }
        }
    }

    /// A failure is followed by a pause for all callers. An attempt that took as long as a lease has had its pause.
    fn check_backoff(&self, stage: &Scenario) {
        let sent = self.world.recorder.sent_refreshes.borrow();
        let mut last: BTreeMap<&str, &SentRefresh> = BTreeMap::new();
        let succeeded = |attempt: &str| {
            sent.iter().any(|one| one.attempt == attempt && matches!(one.store_outcome, StoreOutcome::Stored(_)))
        };
        for one in sent.iter() {
            let sent_ms = one.at_ms;
            if let Some(before) = last.insert(&one.token, one)
                && !matches!(before.store_outcome, StoreOutcome::Stored(_))
                && before.ended_ms.is_some_and(|end| one.at_ms - end < MIN_BACKOFF_MS)
                && one.at_ms < before.at_ms + stage.plan.lease_seconds() * 1000
                && !succeeded(&before.attempt)
                && !stage.attack.as_ref().is_some_and(|one| one.was_client_entered_between(before.at_ms, sent_ms))
            {
                self.add_finding("a failed redemption was tried again without a pause".into());
            }
        }
    }

    /// No secret in the log.
    fn check_log(&self) {
        if self.world.log.dump_lines().contains(CANARY) {
            self.add_finding("a secret stands in the log".into());
        }
    }

    pub(crate) fn query_text(&self, sql: &str) -> Option<String> {
        self.world.db.query_value(sql).as_str().map(ToOwned::to_owned)
    }

    /// The stored token.
    pub(crate) fn load_token(&self, id: &str) -> Option<StoredToken> {
        let sealed = self.query_text(&format!("SELECT sealed_credential FROM connections WHERE id = '{id}'"))?;
        let workspace = self.query_text(&format!("SELECT workspace_id FROM connections WHERE id = '{id}'"))?;
        let generation = self.world.db.query_number(&format!("SELECT generation FROM connections WHERE id = '{id}'"));
        let (workspace, id) = (WorkspaceId::try_from(workspace).ok()?, ConnectionId::try_from(id.to_owned()).ok()?);
        let seal_context = Credential::seal_context(&workspace, &id, generation);
        Credential::open(&self.world.config().key_ring, &seal_context, &sealed).ok()?.token
    }
}

/// Whether a hostile editor's server issued a token.
fn is_from_rogue_server(token: &StoredToken) -> bool {
    is_rogue_token(token.access_token.expose())
        || token.refresh_token.as_ref().is_some_and(|one| is_rogue_token(one.expose()))
}

/// The program tried for as long as required and could not store pending writes. If a clock jumps, that time ends
/// early.
fn may_give_up(plan: &ScenarioPlan, sent: &SentRefresh) -> bool {
    let tried_for = sent.ended_ms.map_or(0, |end| sent.last_failed_write_ms - end);
    let jumps = plan.steps.iter().any(|(_, act)| matches!(act, ScenarioStep::JumpClock { .. }));
    !sent.kept_for_later
        && (sent.failed_writes >= MIN_WRITE_TRIES || tried_for >= MIN_WRITE_MS || jumps && sent.failed_writes > 0)
}
