//! Ways whose credential a person enters: keys, bot tokens, passwords, clients of their own, key files.

use std::collections::BTreeMap;

use connections::app::Grant;
use connections::connect::paste::{Entered, Paste, paste};
use connections::connect::settle::Deciding;
use connections::connect::start::Wish;
use connections::error::{Code, Error};
use connections::ids::ConnectionId;
use connections::resolve::Freshness;
use connections::secret::Secret;
use connections::store::authorizations::Authorization;
use serde_json::json;

use super::stage::Stage;
use super::told::{Entry, Reader};
use super::{made_up, ways};
use crate::support::scene::{BROWSER, access};
use crate::support::signer::RSA_KEY;

/// What was walked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walked {
    /// Where what is entered is the credential.
    kept: usize,
    /// Where tokens are made of it.
    minted: usize,
}

#[test]
fn every_entered_credential_of_the_catalogue_lives_until_it_is_disconnected() {
    let mut walked = Walked::default();
    for (definition, app) in ways().filter(|(_, app)| app.kind.is_pasted()) {
        let stage = Stage::new(&definition, &app);
        stage.is_refused_when_it_is_entered();
        let id = stage.enter(None).unwrap_or_else(|error| panic!("{stage}: {error:?}")).connection.unwrap();
        stage.hand_out_what_was_had(&id);
        stage.sits_out_an_outage(&id);
        if app.mints() {
            walked.minted += 1;
            stage.is_minted_anew(&id);
            stage.is_refused_at_a_mint(&id);
        } else {
            walked.kept += 1;
            stage.is_refused_at_a_check(&id);
        }
        let again = stage.enter(Some(&id)).unwrap_or_else(|error| panic!("{stage}: {error:?}"));
        stage.is_repaired(&id, again.connection.as_ref());
        stage.disconnect(&id);
    }
    let expected = Walked { kept: 40, minted: 14 };
    assert_eq!(walked, expected, "the catalogue has other ways than before: see that each is walked, then count anew");
}

impl Stage {
    fn enter(&self, connection: Option<&ConnectionId>) -> Result<Authorization, Error> {
        if self.app.mints() {
            self.cue("mint", [self.minted()]);
        }
        self.app_tells_the_account();
        let told = self.send(connection);
        // Where tokens tell the account, they have shown that what was entered works.
        let is_told = self.app.identity.as_ref().is_some_and(|identity| identity.probe.is_none());
        let check = self.app.check.as_ref().filter(|_| !is_told).map(|_| "check");
        let asked = [self.mints(), self.asks_the_account().or(check), self.asks_what_is_shared()];
        self.expect("what is entered", &asked.into_iter().flatten().collect::<Vec<_>>());
        told
    }

    fn send(&self, connection: Option<&ConnectionId>) -> Result<Authorization, Error> {
        let wish = Wish {
            way: Some(self.app.way.clone()),
            variables: self.variables_of_the_person(),
            connection: connection.cloned(),
            ..self.scene.wish()
        };
        let entered = Entered::Fields(self.fields());
        let new = Paste { entered, name: None, metadata: BTreeMap::new(), check: true, actor: Some("key:t".into()) };
        // Where nobody can tell whose a key is, whoever replaces it says that it is meant.
        let switch = connection.is_some() && self.asks_the_account().is_none();
        let deciding = Deciding::Program { reuse: false, switch };
        let core = self.scene.world.core();
        let told = self.scene.world.run(async { paste(&core, &wish, new, BROWSER, deciding).await });
        self.note(&told);
        told
    }

    /// What a person enters; a key file is one that can sign.
    fn fields(&self) -> BTreeMap<String, Secret> {
        let mut fields = made_up::fields(&self.app);
        if let Some(Grant::ServiceAccount(_)) = self.app.server().map(|server| &server.grant) {
            let file = json!({
                "client_email": "made-up-service-account@acme.example",
                "private_key": RSA_KEY, "private_key_id": "made-up-key-id",
            });
            fields.insert("key".into(), Secret::new(file.to_string()));
        }
        fields
    }

    fn mints(&self) -> Option<&'static str> {
        self.app.mints().then_some("mint")
    }

    fn minted(&self) -> &Entry {
        self.answer("tokens", &[Reader::Token], Entry::has_tokens)
    }

    /// What asks the app first about what is entered.
    fn first_request(&self) -> &'static str {
        let check = self.app.check.as_ref().map(|_| "check");
        self.mints().or(self.asks_the_account()).or(check).unwrap_or_else(|| panic!("{self}: nothing asks the app"))
    }

    /// How the app refuses at that request what was entered.
    fn refusal(&self) -> &Entry {
        let dead = |entry: &Entry| entry.refuses("permanent") || entry.refuses("client");
        match self.mints() {
            Some(_) => self.answer("a refusal", &[Reader::Token], dead),
            None => self.refusal_at(self.first_request()),
        }
    }

    /// What the app refuses is not stored.
    fn is_refused_when_it_is_entered(&self) {
        let request = self.first_request();
        self.cue(request, [self.refusal()]);
        let error = self.send(None).unwrap_err();
        assert_eq!(error.code, Code::CredentialRejected, "{self}");
        self.expect("what is refused", &[request]);
        assert_eq!(self.scene.world.db.number("SELECT count(*) FROM connections"), 0, "{self}");
    }

    fn hand_out_what_was_had(&self, id: &ConnectionId) {
        let resolved = self.hand_out(id);
        assert_eq!(resolved.freshness, Freshness::Fresh, "{self}");
        if self.app.kind.has_tokens() {
            assert_eq!(Some(access(&resolved)), self.minted().read["tokens"]["access_token"].as_str(), "{self}");
            assert!(resolved.issued.credential.fields.is_empty(), "{self}: what was entered is nobody else's");
        } else {
            let entered = self.fields().into_iter().map(|(name, value)| (name, value.expose().to_owned()));
            assert_eq!(resolved.issued.credential.fields, entered.collect(), "{self}");
        }
    }

    /// A token that ended is had anew by one request.
    fn is_minted_anew(&self, id: &ConnectionId) {
        self.scene.expire(id);
        let resolved = self.resolve(id).unwrap_or_else(|error| panic!("{self}: {error:?}"));
        assert_eq!(resolved.freshness, Freshness::Refreshed, "{self}");
        self.expect("a mint", &["mint"]);
    }

    /// The app takes what was entered no more.
    fn is_refused_at_a_mint(&self, id: &ConnectionId) {
        self.cue("mint", [self.refusal()]);
        self.scene.world.pass(60);
        self.scene.expire(id);
        assert_eq!(self.resolve(id).unwrap_err().code, Code::NeedsReconnect, "{self}");
        self.expect("a mint that is refused", &["mint"]);
        self.needs_reconnect(id, "credential_rejected");
    }
}
