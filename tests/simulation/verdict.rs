//! The judge: what must hold in every play, held against the app's own log and what was promised to people.
//!
//! Owns the rules. Each is one of refresh.md's, and says in its finding which one was broken. What was lost by
//! an injected fault is told apart from what the program let go, by what the witness saw.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use connections::connection::Reason;
use connections::credential::{Credential, Token};
use connections::error::{Code, Error};
use connections::ids::{ConnectionId, WorkspaceId};
use connections::resolve::{Resolved, Source};

use crate::draw::{Act, Plan};
use crate::editor::is_rogue;
use crate::hostile;
use crate::play::{Role, Stage, reuse_is_harmless};
use crate::support::acme::{CANARY, End};
use crate::support::witness::{Fate, Sent};
use crate::support::{Rotates, World};
use crate::weather::Counts;

/// How often a write of new tokens is tried, or for how many milliseconds, before the program may give up.
const TRIES: u32 = 6;
const TRIED_FOR: i64 = 4_000;
/// Seconds that a request may take.
const LONGEST_REQUEST: i64 = 15;
/// Milliseconds between a failed redemption and the next one of the same token, at the least: two seconds by a
/// clock of whole seconds.
const SHORTEST_BACKOFF: i64 = 1_000;

/// Where envelopes are.
const SEALED: [(&str, &str); 5] = [
    ("connections", "sealed_credential"),
    ("oauth_clients", "sealed_secret"),
    ("revocations", "sealed_tokens"),
    ("flows", "sealed_verifier"),
    ("flows", "sealed_grant"),
];

/// How a play ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Rules that were broken, in words.
    pub(crate) findings: Vec<String>,
    /// What was said on the way, if anybody wanted to know.
    pub(crate) lines: Vec<String>,
    pub(crate) faults: Counts,
    /// Redemptions that were sent.
    pub(crate) redemptions: u64,
    /// Answers with tokens that never reached the record, by injected faults.
    pub(crate) lost: u64,
    /// Connections declared dead, by reason.
    pub(crate) deaths: BTreeMap<&'static str, u64>,
    /// Credentials handed out.
    pub(crate) answered: u64,
    /// Disconnects that were acknowledged.
    pub(crate) disconnects: u64,
    /// Requests that reached a hostile editor's server.
    pub(crate) astray: u64,
    /// Connections that got a grant of that server.
    pub(crate) taken_in: u64,
    /// Days of long lives.
    pub(crate) days: u64,
    /// What was rightly told of connections at the end of a phase of a long life, by its name.
    pub(crate) told: BTreeMap<&'static str, u64>,
}

/// What was found so far.
pub(crate) struct Verdict {
    findings: Rc<RefCell<Vec<String>>>,
    deaths: RefCell<BTreeMap<&'static str, u64>>,
    answered: std::cell::Cell<u64>,
    world: World,
}

impl Verdict {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            findings: Rc::default(),
            deaths: RefCell::default(),
            answered: std::cell::Cell::new(0),
            world: world.clone(),
        }
    }

    pub(crate) fn found(&self, finding: String) {
        self.world.witness.tell(self.world.runtime.now_ms(), || format!("FOUND: {finding}"));
        self.findings.borrow_mut().push(finding);
    }

    /// Looks at every death and every revocation at the moment it happens.
    pub(crate) fn watch(stage: &Rc<Stage>) {
        let on_death = Rc::downgrade(stage);
        *stage.scene.world.witness.on_death.borrow_mut() = Some(Rc::new(move |id| {
            if let Some(stage) = on_death.upgrade() {
                stage.verdict.death(&stage, id);
            }
        }));
        let on_revoked = Rc::downgrade(stage);
        *stage.scene.world.acme.on_revoked.borrow_mut() = Some(Box::new(move |account| {
            if let Some(stage) = on_revoked.upgrade() {
                stage.verdict.revocation(&stage, account);
            }
        }));
    }

    /// No live connection is marked dead, and a death has its true name.
    fn death(&self, stage: &Stage, id: &str) {
        let Some(role) = stage.roles.iter().find(|role| role.id.as_str() == id) else { return };
        let reason =
            self.text(&format!("SELECT reconnect_reason FROM connections WHERE id = '{id}'")).unwrap_or_default();
        stage.tell(|| format!("dead: {id}, {reason}"));
        let reason = Reason::parse(&reason).map_or("unknown", Reason::as_str);
        *self.deaths.borrow_mut().entry(reason).or_default() += 1;
        let Some(stored) = self.stored(id).filter(|stored| !is_of_rogue(stored)) else { return };
        let app = &self.world.acme;
        let Some(token) = stored.refresh_token.as_ref().map(|token| token.expose().to_owned()) else {
            // Lives count from before the request, so they end early by as long as that took.
            if app.accepts_in(LONGEST_REQUEST, stored.access_token.expose()) {
                self.found(format!("false death: {} has a working access token", role.account));
            }
            return;
        };
        let before = stored.previous.as_ref().filter(|previous| self.world.now() < previous.until);
        let grace = matches!(stage.plan.declared, Rotates::Grace(_));
        if grace && before.is_some_and(|previous| app.would_redeem(previous.refresh_token.expose())) {
            return self.found(format!("false death: the app would still take the token before {}'s", role.account));
        }
        if app.would_redeem(&token) {
            return self.found(format!("false death: the app would still redeem what {} holds", role.account));
        }
        let was_redeemed = app.was_redeemed(&token) && !reuse_is_harmless(stage.plan.rotates);
        let calm = stage.plan.is_calm();
        match reason {
            "revoked" if was_redeemed && !role.withdrawn.get() => {
                self.found("a lost rotation was named revoked".into());
            }
            "lost_rotation" if !was_redeemed && calm => self.found("a revocation was named lost_rotation".into()),
            "lost_rotation" if was_redeemed && !self.may_be_lost(&token) => {
                self.found("a rotation was named lost whose tokens were in the program's hands".into());
            }
            "revoked" | "lost_rotation" => {}
            other => self.found(format!("a death by refusal was named {other}")),
        }
    }

    /// The answer to some redemption of it is lost, or it is still being brought to a record that is away.
    fn may_be_lost(&self, token: &str) -> bool {
        let sent = self.world.witness.sent.borrow();
        sent.iter().any(|sent| {
            sent.token == token && (!sent.arrived || sent.fate == Fate::Died || sent.aboard || sent.hindered > 0)
        })
    }

    /// A revocation of ours kills no connection that is in use.
    fn revocation(&self, stage: &Stage, account: &str) {
        for role in stage.roles.iter().filter(|role| role.account == account) {
            let live = format!(
                "SELECT count(*) FROM connections WHERE id = '{}' AND deleted_at IS NULL AND status = 'connected'",
                role.id.as_str()
            );
            let elsewhere = self.stored(role.id.as_str()).is_some_and(|stored| is_of_rogue(&stored));
            if self.world.db.number(&live) > 0 && !elsewhere {
                self.found(format!("a revocation killed the live grant of {account}"));
            }
        }
    }

    /// Somebody got a credential.
    pub(crate) fn answered(&self, stage: &Stage, role: &Role, begun_ms: i64, resolved: &Resolved) {
        self.answered.set(self.answered.get() + 1);
        let app = &self.world.acme;
        let Some(issued) = &resolved.issued.credential.token else {
            return self.found(format!("{} was answered without a token", role.account));
        };
        let token = issued.access_token.as_str();
        let may_be_a_copy = resolved.source == Source::Cache && begun_ms < role.copies_until.get();
        if role.gone_at.get().is_some_and(|at| at <= begun_ms) && !may_be_a_copy {
            self.found(format!("{} was answered after an acknowledged disconnect", role.account));
        }
        if let Some(hostile) = &stage.hostile {
            hostile::judge_answer(stage, hostile, token, resolved);
        }
        if is_rogue(token) && role.lured.get() {
            return;
        }
        if app.owner(token).as_deref() != Some(role.account.as_str()) {
            self.found(format!("{} was answered with somebody else's token", role.account));
        }
        // A second answer of an undeclared grace says of its old token that its whole life is ahead: nobody can know.
        let overstates = matches!(stage.plan.rotates, Rotates::Grace(_)) && stage.plan.declared == Rotates::Strict;
        if app.holds(token) && !app.accepts(token) && issued.expires_at.is_some() && !overstates {
            self.found(format!("{} was answered with a token that has ended", role.account));
        }
    }

    /// Long after another key was promoted nothing is left under the old one.
    pub(crate) fn resealed(&self) {
        for (table, column) in SEALED {
            if self.world.db.number(&format!("SELECT count(*) FROM {table} WHERE {column} LIKE 'cx1.k1.%'")) > 0 {
                self.found(format!("something in {table}.{column} is still sealed under the old key"));
            }
        }
    }

    /// What the last resolve says, when all faults are over, is what the app says.
    pub(crate) fn last_word(&self, role: &Role, last: Option<connections::error::Result<Resolved>>) {
        let id = role.id.as_str();
        let exists =
            self.world.db.number(&format!("SELECT count(*) FROM connections WHERE id = '{id}' AND deleted_at IS NULL"));
        if exists == 0 {
            if !role.may_be_gone.get() {
                self.found(format!("{} vanished", role.account));
            }
            return;
        }
        self.name(role);
        let Some(stored) = self.stored(id) else {
            return self.found(format!("what is stored for {} does not open", role.account));
        };
        if is_of_rogue(&stored) && role.lured.get() {
            return;
        }
        let renewable = stored.refresh_token.as_ref().is_some_and(|token| self.world.acme.would_redeem(token.expose()));
        let works = self.world.acme.accepts(stored.access_token.expose());
        match last {
            Some(Ok(resolved)) => self.newest(role, &resolved),
            Some(Err(Error { code: Code::NeedsReconnect, .. })) if !renewable => {}
            other if renewable || works => {
                self.found(format!("{} is alive at the app, but the last resolve says {other:?}", role.account));
            }
            other => self.found(format!("{} is dead at the app, but the last resolve says {other:?}", role.account)),
        }
    }

    /// After a reconnect that brought a refresh token nobody is left with the grant before it.
    fn newest(&self, role: &Role, resolved: &Resolved) {
        let token = resolved.issued.credential.token.as_ref();
        let grant = token.and_then(|token| self.world.acme.grant_of(&token.access_token));
        if grant.is_none_or(|grant| grant < role.outdated.get()) && !role.muddled.get() {
            self.found(format!("{} is back at an older generation", role.account));
        }
    }

    /// A rename survives whatever happens to the tokens meanwhile.
    fn name(&self, role: &Role) {
        let name = self.text(&format!("SELECT name FROM connections WHERE id = '{}'", role.id.as_str()));
        let names = role.names.borrow();
        let Some(wanted) = &names.acknowledged else { return };
        let fits = name.as_ref() == Some(wanted) || name.is_some_and(|name| names.tried.contains(&name));
        if !fits {
            self.found(format!("the name {wanted} of {} is lost", role.account));
        }
    }

    /// The app's own log, at the end.
    pub(crate) fn conclude(&self, stage: &Stage) -> Ended {
        self.redeemed_once(stage);
        self.nothing_let_go(stage);
        self.one_at_a_time();
        self.calmly(stage);
        self.in_silence();
        let witness = &self.world.witness;
        let sent = witness.sent.borrow();
        let mut findings = self.findings.borrow().clone();
        let hostile = stage.hostile.as_ref();
        findings.extend(hostile.iter().flat_map(|hostile| hostile.secrets.findings.borrow().clone()));
        Ended {
            findings,
            astray: hostile.map_or(0, |hostile| hostile.rogue.log.borrow().len() as u64),
            taken_in: hostile.map_or(0, |hostile| hostile.taken_in.get()),
            lines: witness.lines.take(),
            faults: stage.sky.counts(),
            redemptions: sent.len() as u64,
            lost: sent.iter().filter(|sent| self.was_lost(stage, sent)).count() as u64,
            deaths: self.deaths.borrow().clone(),
            answered: self.answered.get(),
            disconnects: stage.roles.iter().filter(|role| role.gone_at.get().is_some()).count() as u64,
            ..Ended::default()
        }
    }

    /// A used refresh token is presented again only when the answer to its use was truly lost, and then not
    /// before the first attempt's time is over.
    fn redeemed_once(&self, stage: &Stage) {
        if reuse_is_harmless(stage.plan.rotates) {
            return;
        }
        let redemptions = self.world.acme.redemptions();
        let all_sent = self.world.witness.sent.borrow();
        let mut first_use: BTreeMap<&str, usize> = BTreeMap::new();
        for redemption in &redemptions {
            match first_use.get(redemption.token.as_str()) {
                None if redemption.end == End::Granted => {
                    first_use.insert(&redemption.token, redemption.sent);
                }
                None => {}
                Some(first) => {
                    let (Some(first), Some(again)) = (all_sent.get(*first), all_sent.get(redemption.sent)) else {
                        continue;
                    };
                    if let Some(why) = self.unexcused(stage, first, again) {
                        self.found(format!("a used refresh token was presented again, {why} ({:?})", redemption.end));
                    }
                }
            }
        }
    }

    fn unexcused(&self, stage: &Stage, first: &Sent, again: &Sent) -> Option<&'static str> {
        // An app may be so slow that the second request reaches it first.
        let (first, again) = if first.at_ms <= again.at_ms { (first, again) } else { (again, first) };
        let owned_until = first.at_ms + stage.plan.ownership() * 1000;
        let is_over = again.at_ms >= owned_until;
        if self.is_the_token_before(stage, first, again) {
            return None;
        }
        // What was stored after the promise was written came too late to stop it.
        let in_record = matches!(first.fate, Fate::Stored(at) if at < again.promised_ms);
        if in_record {
            return Some("though its successor was in the record");
        }
        if first.fate == Fate::Declined {
            return Some("though its successor had been in the program's hands");
        }
        // At a grace or harmless app a retry may come as soon as the first attempt has failed.
        let gave_back = stage.plan.declared != Rotates::Strict && self.was_lost(stage, first);
        if !is_over && !gave_back {
            return Some("while the first attempt still owned it");
        }
        None
    }

    /// In its grace the token before the stored one is tried in the same attempt, after the stored one was refused.
    fn is_the_token_before(&self, stage: &Stage, first: &Sent, again: &Sent) -> bool {
        let Rotates::Grace(seconds) = stage.plan.declared else { return false };
        let all = self.world.witness.sent.borrow();
        again.at_ms <= first.at_ms + seconds * 1000
            && all
                .iter()
                .any(|one| one.attempt == again.attempt && one.token != again.token && one.at_ms <= again.at_ms)
    }

    /// Tokens that arrived are in the record, or the record had no use for them, or it could not be reached long enough.
    fn nothing_let_go(&self, stage: &Stage) {
        for sent in self.world.witness.sent.borrow().iter() {
            if sent.arrived && sent.fate == Fate::Open && !gave_up(&stage.plan, sent) {
                self.found("tokens arrived and were let go".into());
            }
        }
    }

    /// The tokens were granted and never reached the record, by an injected fault.
    fn was_lost(&self, stage: &Stage, sent: &Sent) -> bool {
        let granted = self.world.acme.was_redeemed(&sent.token);
        granted
            && sent.ended_ms.is_some()
            && !matches!(sent.fate, Fate::Stored(_) | Fate::Declined)
            && (!sent.arrived || sent.fate == Fate::Died || gave_up(&stage.plan, sent))
    }

    /// Of one grant never two redemptions are under way.
    fn one_at_a_time(&self) {
        let sent = self.world.witness.sent.borrow();
        let mut by_grant: BTreeMap<usize, Vec<&Sent>> = BTreeMap::new();
        for one in sent.iter() {
            // Whose a token was that the app has forgotten nobody can say.
            if let Some(grant) = self.world.acme.grant_of(&one.token) {
                by_grant.entry(grant).or_default().push(one);
            }
        }
        for of_one in by_grant.values() {
            for pair in of_one.windows(2) {
                let [earlier, later] = pair else { continue };
                if earlier.ended_ms.is_none_or(|end| later.at_ms < end) {
                    self.found("two redemptions of one grant were under way at once".into());
                }
            }
        }
    }

    /// A failure is followed by a pause, however many ask. What took as long as a promise lasts has had its pause.
    fn calmly(&self, stage: &Stage) {
        let sent = self.world.witness.sent.borrow();
        let mut last: BTreeMap<&str, &Sent> = BTreeMap::new();
        let succeeded =
            |attempt: &str| sent.iter().any(|one| one.attempt == attempt && matches!(one.fate, Fate::Stored(_)));
        for one in sent.iter() {
            let sent_ms = one.at_ms;
            if let Some(before) = last.insert(&one.token, one)
                && !matches!(before.fate, Fate::Stored(_))
                && before.ended_ms.is_some_and(|end| one.at_ms - end < SHORTEST_BACKOFF)
                && one.at_ms < before.at_ms + stage.plan.ownership() * 1000
                && !succeeded(&before.attempt)
                && !stage.hostile.as_ref().is_some_and(|one| one.was_entered_between(before.at_ms, sent_ms))
            {
                self.found("a failed redemption was tried again without a pause".into());
            }
        }
    }

    /// No secret in the log.
    fn in_silence(&self) {
        if self.world.log.dump().contains(CANARY) {
            self.found("a secret stands in the log".into());
        }
    }

    pub(crate) fn text(&self, sql: &str) -> Option<String> {
        self.world.db.value(sql).as_str().map(ToOwned::to_owned)
    }

    /// The token as it is stored.
    pub(crate) fn stored(&self, id: &str) -> Option<Token> {
        let sealed = self.text(&format!("SELECT sealed_credential FROM connections WHERE id = '{id}'"))?;
        let workspace = self.text(&format!("SELECT workspace_id FROM connections WHERE id = '{id}'"))?;
        let generation = self.world.db.number(&format!("SELECT generation FROM connections WHERE id = '{id}'"));
        let (workspace, id) = (WorkspaceId::try_from(workspace).ok()?, ConnectionId::try_from(id.to_owned()).ok()?);
        let place = Credential::place(&workspace, &id, generation);
        Credential::open(&self.world.config().ring, &place, &sealed).ok()?.token
    }
}

/// Whether a hostile editor's server has given a token.
fn is_of_rogue(token: &Token) -> bool {
    is_rogue(token.access_token.expose()) || token.refresh_token.as_ref().is_some_and(|one| is_rogue(one.expose()))
}

/// The program tried for as long as it has to, and had no place to keep them. Where a clock jumps, that time is over
/// early.
fn gave_up(plan: &Plan, sent: &Sent) -> bool {
    let tried_for = sent.ended_ms.map_or(0, |end| sent.hindered_ms - end);
    let jumps = plan.acts.iter().any(|(_, act)| matches!(act, Act::Jump { .. }));
    !sent.aboard && (sent.hindered >= TRIES || tried_for >= TRIED_FOR || jumps && sent.hindered > 0)
}
