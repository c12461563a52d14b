//! Every app of the catalogue lives whole connections, one by each of its ways.
//!
//! Owns the walks: `consent` for what a person allows at the app, `entered` for what they enter here. What an app answers is
//! in `tests/catalogue/answers`, what it must be asked in `tests/catalogue/golden`; [`stage`] brings them together. Refuses to
//! leave a way out: what was walked is counted.

#[path = "../../catalogue/made_up.rs"]
#[expect(dead_code, reason = "shared with the tests of the catalogue, which use the rest")]
mod made_up;
#[path = "../../catalogue/told.rs"]
#[expect(dead_code, reason = "shared with the tests of the catalogue, which use the rest")]
mod told;
#[path = "../../catalogue/written.rs"]
mod written;

mod consent;
mod entered;
mod stage;

use std::rc::Rc;

use connections::app::{App, Definition};
use connections::catalogue;
use connections::connection::Status;
use connections::disconnect::{Disconnected, Revoked};
use connections::error::{Code, Error};
use connections::ids::ConnectionId;
use connections::ports::{Errand, ErrandOutcome};
use connections::resolve::{Ask, Resolved};

use stage::Stage;
use told::{Entry, Reader};

/// Every way of every app.
fn ways() -> impl Iterator<Item = (Rc<Definition>, Rc<App>)> {
    let definitions = catalogue::ids().map(|id| catalogue::find(id).unwrap());
    definitions.flat_map(|app| app.ways().to_vec().into_iter().map(move |way| (Rc::clone(&app), way)))
}

impl Stage {
    /// The credential is handed out, and nobody is asked for it.
    fn hand_out(&self, id: &ConnectionId) -> Resolved {
        let resolved = self.resolve(id).unwrap_or_else(|error| panic!("{self}: {error:?}"));
        self.expect("a resolve", &[]);
        self.expect_step(&resolved.issued.request);
        resolved
    }

    fn resolve(&self, id: &ConnectionId) -> Result<Resolved, Error> {
        let told = self.scene.resolve(id, Ask::default()).map(|answered| answered.resolved);
        self.note(&told);
        self.note(told.as_ref().err().map(|error| error.detail.clone()));
        told
    }

    /// From now on the app says whose the credential is, and that it works.
    fn app_tells_the_account(&self) {
        let account = |entry: &Entry| entry.kind == Reader::Identity && entry.account().is_some();
        if self.asks_the_account().is_some() {
            self.cue("identity", [self.answer("an account", &[Reader::Identity], account)]);
        }
        if self.app.check.is_some() {
            self.cue("check", self.find(&[Reader::Check], |entry| entry.finds("works")));
        }
    }

    fn asks_the_account(&self) -> Option<&'static str> {
        self.app.identity.as_ref().and_then(|identity| identity.probe.as_ref()).map(|_| "identity")
    }

    /// It is never told here: the account goes by its id then.
    fn asks_the_name(&self) -> Option<&'static str> {
        let named_by = self.app.identity.as_ref().and_then(|identity| identity.named_by.as_ref());
        named_by.map(|_| "what the account is called")
    }

    fn asks_what_is_shared(&self) -> Option<&'static str> {
        self.app.nothing_shared.as_ref().map(|_| "is nothing shared")
    }

    /// How the app answers a request with such a verdict; one that is known of another request will do.
    fn finding(&self, verdict: &str, request: &str) -> Option<&Entry> {
        let kinds =
            if request == "check" { [Reader::Check, Reader::Identity] } else { [Reader::Identity, Reader::Check] };
        kinds.iter().find_map(|kind| self.find(&[*kind], |entry| entry.finds(verdict)))
    }

    fn refusal_at(&self, request: &str) -> &Entry {
        self.finding("refused", request).unwrap_or_else(|| panic!("{self}: no refusal of a credential"))
    }

    /// An app that can't be asked now takes nothing away.
    fn sits_out_an_outage(&self, id: &ConnectionId) {
        let probe = self.probe().unwrap_or_else(|| panic!("{self}: nothing to ask whether a credential works"));
        self.cue(probe, [&self.outage]);
        self.scene.world.pass(60);
        let outcome = self.scene.errand(id, Errand::CheckNow);
        assert!(matches!(outcome, ErrandOutcome::Unavailable { .. }), "{self}: {outcome:?} for {}", self.outage.what);
        self.expect("a check in an outage", &[probe]);
        self.hand_out(id);
    }

    /// The app refuses the credential when it is asked about it.
    fn is_refused_at_a_check(&self, id: &ConnectionId) {
        let probe = self.probe().unwrap_or_else(|| panic!("{self}: nothing to ask whether a credential works"));
        self.cue(probe, [self.refusal_at(probe)]);
        self.scene.world.pass(3600);
        assert_eq!(self.scene.errand(id, Errand::CheckNow), ErrandOutcome::Dead, "{self}");
        self.expect("a check", &[probe]);
        self.needs_reconnect(id, "credential_rejected");
    }

    /// Whoever resolves is told that a person is needed, and why; the app is left alone.
    fn needs_reconnect(&self, id: &ConnectionId, reason: &str) {
        let error = self.resolve(id).err().unwrap_or_else(|| panic!("{self}: was handed out"));
        assert_eq!((error.code, error.hints.reason.as_deref()), (Code::NeedsReconnect, Some(reason)), "{self}");
        assert_eq!(self.scene.row(id).status, Status::NeedsReconnect, "{self}");
        self.expect("a resolve of what is dead", &[]);
    }

    /// It was repaired in place.
    fn is_repaired(&self, id: &ConnectionId, by: Option<&ConnectionId>) {
        let row = self.scene.row(id);
        assert_eq!((by, row.generation, row.status), (Some(id), 2, Status::Connected), "{self}");
        self.hand_out(id);
    }

    /// It is revoked at the app, where the app has a way to; nothing is left of it.
    fn disconnect(&self, id: &ConnectionId) {
        let can = self.can_revoke();
        if can {
            self.cue("revoke", [self.answer("a revocation", &[Reader::Revocation], Entry::revokes)]);
        }
        let revoked = if can { Revoked::Confirmed } else { Revoked::Unsupported };
        let done = self.scene.disconnect(id).unwrap();
        assert_eq!(done, Disconnected { revoked, retrying: false }, "{self}: {:?}", self.heard());
        let heard = self.heard();
        assert_eq!(!heard.is_empty(), can, "{self}: {heard:?}");
        assert!(heard.iter().all(|title| title.starts_with("revoke the ")), "{self}: {heard:?}");
        self.expect_gone(id);
        self.expect_no_secret_in_the_open();
    }
}
