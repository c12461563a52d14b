//! A simulated catalogue app: it accepts the reviewed requests, and responds with the sample responses.
//!
//! Owns the simulation. Every request is looked up in `tests/catalogue/golden`, after the values of this lifecycle are
//! replaced by the made-up words of that file. A request that is not in the file word for word is recorded as unknown.
//! So a test that counts titles has compared whole requests.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

use connections::app::{App, AuthMethod, PreparedRequest, Variable, VariableSource};
use connections::ids::ConnectionId;
use connections::ports::{AppResponse, OutboundRequest};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::sample_responses::{self, ResponseKind, SampleResponse};
use super::{made_up, request_text};
use crate::support::Fixture;

/// An auth method of an app, in a world without other apps.
pub(super) struct LifecycleFixture {
    pub(super) fixture: Fixture,
    pub(super) app: Rc<AuthMethod>,
    /// The sample responses of the app.
    pub(super) responses: Vec<SampleResponse>,
    /// A response of the app, with any auth method, that it cannot process the request now. An outage affects the app,
    /// not an auth method.
    pub(super) outage: SampleResponse,
    scripted_app: Rc<ScriptedApp>,
    output: RefCell<String>,
}

/// The requests that the app accepts, and its responses.
struct ScriptedApp {
    /// Titles and texts of the reviewed requests.
    golden_requests: Vec<(String, String)>,
    /// Values of this lifecycle and the made-up words for them, the longest first.
    replacements: Vec<(String, String)>,
    scripted_responses: RefCell<BTreeMap<&'static str, VecDeque<AppResponse>>>,
    request_titles: RefCell<Vec<String>>,
    /// The parameters of the last request.
    last_parameters: RefCell<BTreeMap<String, String>>,
}

impl LifecycleFixture {
    pub(super) fn new(app: &App, auth_method: &Rc<AuthMethod>) -> Self {
        let answers = sample_responses::load_for_auth_method(app, auth_method);
        let part = Rc::new(ScriptedApp::new_for(auth_method, &answers));
        let keys = (made_up::CLIENT_ID, made_up::CLIENT_SECRET);
        let fixture = Fixture::for_auth_method(
            auth_method,
            keys,
            made_up_variables_where(auth_method, |one| one.source == VariableSource::Client),
        );
        let plays = Rc::clone(&part);
        *fixture.world.acme.responder.borrow_mut() = Some(Box::new(move |request| plays.respond(request)));
        let outage = sample_responses::load_all(app).into_iter().find(|entry| entry.has_verdict("unavailable"));
        let outage =
            outage.unwrap_or_else(|| panic!("{}: no answer of an app that can't answer now", auth_method.app_id));
        Self {
            fixture,
            app: Rc::clone(auth_method),
            responses: answers,
            outage,
            scripted_app: part,
            output: RefCell::default(),
        }
    }

    /// What the person provides in addition to the consent or the key.
    pub(super) fn person_variables(&self) -> BTreeMap<String, String> {
        made_up_variables_where(&self.app, |one| one.source == VariableSource::Person)
    }

    /// The parameters of the redirect in addition to the code.
    pub(super) fn callback_parameters(&self) -> BTreeMap<String, String> {
        let known = made_up::variables(&self.app);
        let of = |(name, one): (&String, &Variable)| match &one.source {
            VariableSource::Callback(parameter) => Some((parameter.clone(), known[name].clone())),
            _ => None,
        };
        self.app.variables.iter().filter_map(of).collect()
    }

    /// The first matching response, if the app has one.
    pub(super) fn find_response(
        &self,
        kinds: &[ResponseKind],
        fits: impl Fn(&SampleResponse) -> bool,
    ) -> Option<&SampleResponse> {
        self.responses.iter().find(|entry| kinds.contains(&entry.kind) && fits(entry))
    }

    /// The first matching response. It must exist.
    pub(super) fn require_response(
        &self,
        what: &str,
        kinds: &[ResponseKind],
        fits: impl Fn(&SampleResponse) -> bool,
    ) -> &SampleResponse {
        self.find_response(kinds, fits).unwrap_or_else(|| panic!("{self}: no answer with {what} among {kinds:?}"))
    }

    /// The next responses to a request. The last one is repeated.
    pub(super) fn script_responses<'a>(
        &self,
        request: &'static str,
        answers: impl IntoIterator<Item = &'a SampleResponse>,
    ) {
        let answers = answers.into_iter().map(SampleResponse::to_inbound).collect();
        self.scripted_app.scripted_responses.borrow_mut().insert(request_kind(request), answers);
    }

    /// Whether the app can revoke.
    pub(super) fn can_revoke(&self) -> bool {
        self.scripted_app.golden_requests.iter().any(|(title, _)| title.starts_with("revoke "))
    }

    /// The request that checks a credential, if there is one, by its first title.
    pub(super) fn probe_title(&self) -> Option<&'static str> {
        let asked = self.scripted_app.golden_request("check").or(self.scripted_app.golden_request("identity"))?;
        ["identity", "what the account is called", "check"]
            .into_iter()
            .find(|title| self.scripted_app.golden_request(title) == Some(asked))
    }

    /// Titles of the requests since the last call.
    pub(super) fn take_request_titles(&self) -> Vec<String> {
        self.scripted_app.request_titles.take()
    }

    /// Fails unless exactly these requests were sent.
    pub(super) fn expect_requests(&self, what: &str, titles: &[&str]) {
        assert_eq!(self.take_request_titles(), titles, "{self}: {what}");
    }

    /// Fails unless the last request contained this refresh token.
    pub(super) fn expect_refresh_token(&self, refresh_token: Option<&str>) {
        let asked = self.scripted_app.last_parameters.borrow();
        assert_eq!(asked.get("refresh_token").map(String::as_str), refresh_token, "{self}");
    }

    /// Fails unless the redirect matches the reviewed one.
    pub(super) fn expect_authorize(&self, url: &str) {
        let query = Url::parse(url).unwrap().query_pairs().into_owned().collect();
        let text = replace_random_values(format!("GET {}", request_text::format_url(url)), &query);
        assert_eq!(Some(text.as_str()), self.scripted_app.golden_request("authorize"), "{self}");
    }

    /// Fails unless a resolve describes requests as reviewed.
    pub(super) fn expect_step_request(&self, request: &PreparedRequest) {
        let text = self.scripted_app.replace_with_made_up(request_text::format_prepared_request(request));
        assert_eq!(Some(text.as_str()), self.scripted_app.golden_request("a step's request"), "{self}");
    }

    /// Records text that was shown to somebody who may not see a secret.
    pub(super) fn add_output(&self, told: impl std::fmt::Debug) {
        write!(self.output.borrow_mut(), "{told:?}").unwrap();
    }

    /// Fails if a secret of this lifecycle is exposed.
    pub(super) fn expect_no_leaked_secret(&self) {
        let world = &self.fixture.world;
        let places = [
            ("errors", self.output.borrow().clone()),
            ("log", world.log.dump_lines()),
            ("database", world.db.dump_tables()),
        ];
        for secret in self.secrets() {
            let place = places.iter().find(|(_, text)| text.contains(&secret));
            assert!(place.is_none(), "{self}: {secret} stands in the {}", place.unwrap().0);
        }
    }

    /// The secrets of the app's responses, the client and the person.
    fn secrets(&self) -> Vec<String> {
        let tokens =
            self.responses.iter().flat_map(|entry| token_replacements(&entry.read["tokens"])).map(|(token, _)| token);
        let fields = made_up::manual_fields(&self.app);
        let hidden = self.app.fields.iter().filter(|field| field.secret).filter_map(|field| fields.get(&field.id));
        let known = [made_up::CLIENT_SECRET, made_up::CODE].map(str::to_owned);
        tokens.chain(hidden.map(|secret| secret.expose().to_owned())).chain(known).collect()
    }

    /// The row of the connection is deleted.
    pub(super) fn expect_erased(&self, id: &ConnectionId) {
        assert!(self.fixture.find_connection(id).is_none(), "{self}");
    }
}

impl std::fmt::Display for LifecycleFixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.app.app_id, self.app.method_id)
    }
}

impl ScriptedApp {
    fn new_for(auth_method: &AuthMethod, answers: &[SampleResponse]) -> Self {
        let lines = read_golden_requests(auth_method);
        let has = |word: &String| lines.iter().any(|(_, text)| text.contains(word));
        let mut words: Vec<_> =
            answers.iter().flat_map(|entry| response_replacements(auth_method, &entry.read)).collect();
        words.retain(|(_, read)| has(read));
        words.sort_by_key(|(said, _)| std::cmp::Reverse(said.len()));
        words.dedup();
        Self {
            golden_requests: lines,
            replacements: words,
            scripted_responses: RefCell::default(),
            request_titles: RefCell::default(),
            last_parameters: RefCell::default(),
        }
    }

    fn golden_request(&self, title: &str) -> Option<&str> {
        self.golden_requests.iter().find(|(known, _)| known == title).map(|(_, text)| text.as_str())
    }

    fn respond(&self, request: &OutboundRequest) -> AppResponse {
        let asked = parse_parameters(request.body.as_deref().unwrap_or_default());
        let text = self.replace_with_made_up(replace_random_values(request_text::format_request(request), &asked));
        let title = self.golden_requests.iter().find(|(_, line)| *line == text).map(|(title, _)| title.clone());
        let mut cues = self.scripted_responses.borrow_mut();
        let queue = title.as_ref().and_then(|title| cues.get_mut(request_kind(title)));
        let answer = queue.and_then(|queue| if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() });
        self.request_titles.borrow_mut().push(title.unwrap_or(text));
        *self.last_parameters.borrow_mut() = asked;
        answer.unwrap_or(AppResponse { status: 404, headers: vec![], body: vec![] })
    }

    fn replace_with_made_up(&self, text: String) -> String {
        self.replacements.iter().fold(text, |text, (said, read)| text.replace(said, read))
    }
}

/// The titles of a kind of request: there is one for each token that is revoked.
fn request_kind(title: &str) -> &str {
    title.split(' ').next().unwrap()
}

/// The reviewed requests of an auth method.
fn read_golden_requests(auth_method: &AuthMethod) -> Vec<(String, String)> {
    let path = format!("tests/catalogue/golden/{}.txt", auth_method.app_id);
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path));
    let file = file.unwrap_or_else(|problem| panic!("{path}: {problem}"));
    let head = format!("\n== {}: ", auth_method.method_id);
    let (_, way) = file.split_once(&head).unwrap_or_else(|| panic!("{path}: nothing of {}", auth_method.method_id));
    let way = way.split("\n== ").next().unwrap();
    let one = |section: &str| section.split_once('\n').map(|(title, text)| (title.to_owned(), text.to_owned()));
    way.split("\n-- ").skip(1).filter_map(one).collect()
}

/// Values of a response that are part of later requests, each with its made-up word.
fn response_replacements(auth_method: &AuthMethod, read: &Value) -> Vec<(String, String)> {
    let known = made_up::variables(auth_method);
    let variables = read["variables"].as_object().into_iter().flatten();
    let variables = variables.map(|(name, value)| (value.as_str().unwrap().to_owned(), known[name].clone()));
    let account = read["account"]["id"].as_str().map(|id| (id.to_owned(), made_up::ACCOUNT_ID.to_owned()));
    token_replacements(&read["tokens"]).into_iter().chain(variables).chain(account).collect()
}

/// The tokens of a response, with further tokens, each with its made-up word.
fn token_replacements(set: &Value) -> Vec<(String, String)> {
    let own = [("access_token", made_up::ACCESS_TOKEN), ("refresh_token", made_up::REFRESH_TOKEN)];
    let own = own.into_iter().filter_map(|(name, word)| Some((set[name].as_str()?.to_owned(), word.to_owned())));
    let further = set["others"].as_object().into_iter().flatten().flat_map(|(_, one)| token_replacements(one));
    own.chain(further).collect()
}

/// A text with made-up words in place of the random values among these parameters.
fn replace_random_values(text: String, parameters: &BTreeMap<String, String>) -> String {
    let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(made_up::VERIFIER.to_owned()));
    let words = [
        ("state", made_up::STATE),
        ("code_challenge", challenge.as_str()),
        ("code_verifier", made_up::VERIFIER),
        ("redirect_uri", made_up::REDIRECT_URI),
        ("assertion", made_up::ASSERTION),
    ];
    let drawn = words.into_iter().filter_map(|(name, word)| Some((parameters.get(name)?, word)));
    drawn.fold(text, |text, (value, word)| text.replace(value, word))
}

/// The parameters of a body, which is a form or JSON.
fn parse_parameters(body: &str) -> BTreeMap<String, String> {
    serde_json::from_str::<BTreeMap<String, Value>>(body).map_or_else(
        |_| form_urlencoded::parse(body.as_bytes()).into_owned().collect(),
        |members| members.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect(),
    )
}

fn made_up_variables_where(auth_method: &AuthMethod, which: impl Fn(&Variable) -> bool) -> BTreeMap<String, String> {
    made_up::variables(auth_method).into_iter().filter(|(name, _)| which(&auth_method.variables[name])).collect()
}
