//! Ways that a person consents to at the app, from the authorize page to the revocation.

use connections::app::Kind;
use connections::connect::callback::{Landing, Returned};
use connections::connect::start::Wish;
use connections::connection::Status;
use connections::error::Code;
use connections::ids::ConnectionId;
use connections::ports::Errand;
use connections::resolve::Freshness;
use connections::secret::Secret;
use connections::store::authorizations::Outcome;
use connections::time::Timestamp;
use serde_json::json;
use url::Url;

use super::stage::Stage;
use super::told::{Entry, Reader};
use super::{made_up, ways};
use crate::support::scene::{BROWSER, access};

/// What an app answers in one way, whatever it was asked too often.
const TOO_MANY_REQUESTS: u16 = 429;

/// What was walked.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walked {
    ways: usize,
    /// Lives whose tokens were renewed, and those whose token can't be.
    renewable: usize,
    endless: usize,
    /// Lives that ended with a revocation at the app.
    revoked: usize,
}

#[test]
fn every_consent_of_the_catalogue_lives_until_it_is_disconnected() {
    let mut walked = Walked::default();
    for (definition, app) in ways().filter(|(_, app)| app.kind == Kind::OAuth2) {
        walked.ways += 1;
        // An app may give refresh tokens to some of its clients only: both lives are lived.
        let lives = [true, false].map(|renewable| {
            let stage = Stage::new(&definition, &app);
            stage.first_tokens(renewable).is_some().then(|| stage.live(renewable, &mut walked))
        });
        assert!(lives.iter().any(Option::is_some), "{} {} was not walked", app.id, app.way);
    }
    let expected = Walked { ways: 46, renewable: 42, endless: 12, revoked: 37 };
    assert_eq!(walked, expected, "the catalogue has other ways than before: see that each is walked, then count anew");
}

/// monday.com has ended the flow that its definition had before: another token endpoint, tokens without end. What was connected
/// by it goes on for as long as monday.com lets it. A client of that flow is asked for anew before anybody is sent there.
#[test]
fn what_was_connected_by_the_flow_before_goes_on_and_its_client_is_asked_for_anew() {
    let (definition, app) = ways().find(|(_, app)| app.id.as_str() == "monday" && app.kind == Kind::OAuth2).unwrap();
    let mut stage = Stage::new(&definition, &app);
    let id = stage.consent(stage.first_tokens(true).unwrap(), None).unwrap();
    let db = &stage.scene.world.db;
    db.tamper("UPDATE connections SET expires_at = NULL, grant_expires_at = NULL, refreshable = 0");
    let before = "https://auth.monday.com/oauth2/authorize https://auth.monday.com/oauth2/token";
    db.tamper(&format!("UPDATE oauth_clients SET authorization_server = '{before}'"));

    stage.scene.world.pass(200 * 86_400);
    stage.hand_out(&id);
    let wish = |connection| Wish { way: Some(app.way.clone()), connection, ..stage.scene.wish() };
    let start = |wish: &Wish| {
        let core = stage.scene.world.core();
        stage.scene.world.run(async { connections::connect::start::start(&core, wish, BROWSER).await })
    };
    for wish in [wish(None), wish(Some(id.clone()))] {
        let error = start(&wish).unwrap_err();
        assert_eq!(error.code, Code::ClientMissing, "{error:?}");
    }
    stage.expect("a client of the flow before", &[]);
    assert_eq!(stage.scene.row(&id).status, Status::Connected);

    // The same client, entered again, is another one: with another redirect URI, for the server that it is for now.
    let again = stage.scene.put_client_again(&app, (made_up::CLIENT_ID, made_up::CLIENT_SECRET));
    assert_ne!(again, stage.scene.client);
    stage.scene.client = again.clone();
    assert_eq!(stage.consent(stage.first_tokens(true).unwrap(), Some(&id)).as_ref(), Some(&id));
    assert_eq!(stage.scene.row(&id).client, Some(again));
}

impl Stage {
    /// The answer to a code: of a client with refresh tokens, or without. One that grants what is asked goes first.
    fn first_tokens(&self, renewable: bool) -> Option<&Entry> {
        let fits = |entry: &Entry| entry.has_tokens() && entry.refresh_token().is_some() == renewable;
        let whole = |entry: &Entry| fits(entry) && entry.read["missing"].is_null();
        self.find(&[Reader::Token], whole).or_else(|| self.find(&[Reader::Token], fits))
    }

    fn live(&self, renewable: bool, walked: &mut Walked) {
        let tokens = self.first_tokens(renewable).unwrap();
        let id = self.consent(tokens, None).unwrap_or_else(|| panic!("{self}: not connected"));
        self.is_connected_as(&id, tokens);
        self.sits_out_an_outage(&id);
        if renewable {
            walked.renewable += 1;
            self.sits_out_an_outage_at_a_refresh(&id);
            let newest = self.is_renewed(&id, tokens);
            self.is_refused_at_a_refresh(&id, newest);
        } else {
            walked.endless += 1;
            self.is_refused_at_a_check(&id);
        }
        let again = self.consent(tokens, Some(&id));
        self.is_repaired(&id, again.as_ref());
        walked.revoked += usize::from(self.can_revoke());
        self.disconnect(&id);
    }

    /// A person goes to the app, allows what is asked, and comes back.
    fn consent(&self, tokens: &Entry, connection: Option<&ConnectionId>) -> Option<ConnectionId> {
        self.cue("exchange", [tokens]);
        self.app_tells_the_account();
        let wish = Wish {
            way: Some(self.app.way.clone()),
            variables: self.variables_of_the_person(),
            connection: connection.cloned(),
            ..self.scene.wish()
        };
        let url = self.scene.start(&wish, BROWSER);
        self.expect("the way to the app", &[]);
        if connection.is_none() {
            self.expect_authorize(&url);
        }
        let state = Url::parse(&url).unwrap().query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let code = Some(Secret::new(made_up::CODE));
        let others = self.parameters_of_the_callback();
        let returned = Returned { state: Some(state), code, others, ..Returned::default() };
        let Landing::Flow(flow) = self.scene.come_back(returned, BROWSER) else { return None };
        let flow = self.scene.read_flow(&flow);
        self.note(&flow);
        let asked = [Some("exchange"), self.asks_the_account(), self.asks_the_name(), self.asks_what_is_shared()];
        self.expect("a consent", &asked.into_iter().flatten().collect::<Vec<_>>());
        assert_eq!((flow.outcome, flow.error.as_deref()), (Outcome::Done, None), "{self}");
        flow.connection
    }

    fn is_connected_as(&self, id: &ConnectionId, tokens: &Entry) {
        let row = self.scene.row(id);
        let account = self.answer("an account", &[Reader::Token, Reader::Identity], |one| one.account().is_some());
        let told = if tokens.account().is_some() { tokens } else { account };
        let whose = row.account.map(|account| json!({ "id": account.id, "label": account.label }));
        assert_eq!((row.status, whose.as_ref()), (Status::Connected, told.account()), "{self}");
        let lives = |end: Option<Timestamp>| end.map(|end| end.since(row.connected_at));
        assert_eq!(lives(row.expires_at), tokens.read["tokens"]["lives"].as_i64(), "{self}: the access token");
        assert_eq!(lives(row.grant_expires_at), self.app.server().unwrap().grant_lifetime, "{self}: the grant");
        let resolved = self.hand_out(id);
        assert_eq!(resolved.freshness, Freshness::Fresh, "{self}");
        assert_eq!(Some(access(&resolved)), access_in(tokens), "{self}");
    }

    /// The access token has ended; where it never does, somebody insists on another.
    fn is_in_need(&self, id: &ConnectionId) {
        self.scene.world.pass(60);
        match self.scene.row(id).expires_at {
            Some(_) => self.scene.expire(id),
            None => self.note(self.scene.errand(id, Errand::Force)),
        }
    }

    /// An app that refuses a refresh for now is asked once, left alone, and takes nothing away. One that is asked too often
    /// says so in one way, whatever it is asked.
    fn sits_out_an_outage_at_a_refresh(&self, id: &ConnectionId) {
        let known = self.find(&[Reader::Token], |entry| entry.refuses("transient"));
        let general = Some(&self.outage).filter(|entry| entry.inbound().status == TOO_MANY_REQUESTS);
        let outage = known.or(general).unwrap_or_else(|| panic!("{self}: no transient refusal of a refresh"));
        self.cue("refresh", [outage]);
        self.is_in_need(id);
        let ends = self.scene.row(id).expires_at.is_some();
        let told = self.resolve(id).map_err(|error| (error.code, error.hints.retry_after.is_some()));
        assert_eq!(told.err(), ends.then_some((Code::AppUnavailable, true)), "{self}");
        self.expect("a refresh in an outage", &["refresh"]);
        self.expect_presented(self.first_tokens(true).unwrap().refresh_token());
        let row = self.scene.row(id);
        assert_eq!(row.status, Status::Connected, "{self}");
        self.scene.world.pass(row.next_attempt_at.since(self.scene.world.now()).max(0));
    }

    /// Each token of the grant is renewed, by one request for each. Answers the refresh token that counts from then on.
    fn is_renewed<'a>(&'a self, id: &ConnectionId, tokens: &'a Entry) -> Option<&'a str> {
        let renewed: Vec<_> =
            self.answers.iter().filter(|one| one.kind == Reader::Refresh && one.has_tokens()).collect();
        let first = renewed.first().unwrap_or_else(|| panic!("{self}: no answer to a refresh"));
        let number = 1 + tokens.read["tokens"]["others"].as_object().map_or(0, serde_json::Map::len);
        self.cue("refresh", renewed.iter().take(number).copied());
        self.is_in_need(id);
        let resolved = self.resolve(id).unwrap_or_else(|error| panic!("{self}: {error:?}"));
        self.expect("a refresh", &vec!["refresh"; number]);
        assert_eq!(Some(access(&resolved)), access_in(first), "{self}");
        assert_ne!(access_in(first), access_in(tokens), "{self}: {}: another token looks otherwise", first.what);
        self.hand_out(id);
        first.refresh_token().or(tokens.refresh_token())
    }

    /// The app says for good that the grant is gone.
    fn is_refused_at_a_refresh(&self, id: &ConnectionId, newest: Option<&str>) {
        self.cue("refresh", [self.answer("a permanent refusal", &[Reader::Token], |entry| entry.refuses("permanent"))]);
        self.is_in_need(id);
        let error = self.resolve(id).unwrap_err();
        assert_eq!(error.code, Code::NeedsReconnect, "{self}");
        self.expect("a refresh of what is revoked", &["refresh"]);
        self.expect_presented(newest);
        self.needs_reconnect(id, "revoked");
    }
}

fn access_in(entry: &Entry) -> Option<&str> {
    entry.read["tokens"]["access_token"].as_str()
}
