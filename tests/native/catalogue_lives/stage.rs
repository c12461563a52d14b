//! An app of the catalogue on the stage: it understands what a person has read, and answers from its own answers.
//!
//! Owns the part that is played. Every request is looked up in `tests/catalogue/golden`, with what differs from one life to
//! the next put into the made-up words that stand there: one that is not there word for word is no request of this app,
//! and is noted as what it was. So a walk that counts titles has compared whole requests.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

use connections::app::{App, Definition, Dressed, Origin, Variable};
use connections::ids::ConnectionId;
use connections::ports::{Inbound, Outbound};
use oauth2::{PkceCodeChallenge, PkceCodeVerifier};
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::told::{self, Entry, Reader};
use super::{made_up, written};
use crate::support::Scene;

/// A way of an app, in a world that has nothing else.
pub(super) struct Stage {
    pub(super) scene: Scene,
    pub(super) app: Rc<App>,
    /// What the app is known to answer.
    pub(super) answers: Vec<Entry>,
    /// An answer of the app, by whatever way, that it can't tell now. An outage is the app's, not a way's.
    pub(super) outage: Entry,
    part: Rc<Part>,
    said: RefCell<String>,
}

/// What the app understands and answers.
struct Part {
    /// Titles and texts of the requests that a person has read.
    lines: Vec<(String, String)>,
    /// What is said in this life, and in what words it was read; the longest first.
    words: Vec<(String, String)>,
    cues: RefCell<BTreeMap<&'static str, VecDeque<Inbound>>>,
    heard: RefCell<Vec<String>>,
    /// The parameters of the last request, as they came.
    asked: RefCell<BTreeMap<String, String>>,
}

impl Stage {
    pub(super) fn new(definition: &Definition, app: &Rc<App>) -> Self {
        let answers = told::of_way(definition, app);
        let part = Rc::new(Part::of(app, &answers));
        let keys = (made_up::CLIENT_ID, made_up::CLIENT_SECRET);
        let scene = Scene::of_catalogue(app, keys, variables(app, |one| one.from == Origin::Client));
        let plays = Rc::clone(&part);
        *scene.world.acme.understudy.borrow_mut() = Some(Box::new(move |request| plays.answer(request)));
        let outage = told::entries(definition).into_iter().find(|entry| entry.finds("unavailable"));
        let outage = outage.unwrap_or_else(|| panic!("{}: no answer of an app that can't answer now", app.id));
        Self { scene, app: Rc::clone(app), answers, outage, part, said: RefCell::default() }
    }

    /// What the person gives beside their consent or their key.
    pub(super) fn variables_of_the_person(&self) -> BTreeMap<String, String> {
        variables(&self.app, |one| one.from == Origin::Person)
    }

    /// What comes back with the browser beside the code.
    pub(super) fn parameters_of_the_callback(&self) -> BTreeMap<String, String> {
        let known = made_up::variables(&self.app);
        let of = |(name, one): (&String, &Variable)| match &one.from {
            Origin::Callback(parameter) => Some((parameter.clone(), known[name].clone())),
            _ => None,
        };
        self.app.variables.iter().filter_map(of).collect()
    }

    /// The first answer that fits, if the app is known to give one.
    pub(super) fn find(&self, kinds: &[Reader], fits: impl Fn(&Entry) -> bool) -> Option<&Entry> {
        self.answers.iter().find(|entry| kinds.contains(&entry.kind) && fits(entry))
    }

    /// The first answer that fits, which must be there.
    pub(super) fn answer(&self, what: &str, kinds: &[Reader], fits: impl Fn(&Entry) -> bool) -> &Entry {
        self.find(kinds, fits).unwrap_or_else(|| panic!("{self}: no answer with {what} among {kinds:?}"))
    }

    /// From now on the app answers this to a request, the last of them for ever.
    pub(super) fn cue<'a>(&self, request: &'static str, answers: impl IntoIterator<Item = &'a Entry>) {
        let answers = answers.into_iter().map(Entry::inbound).collect();
        self.part.cues.borrow_mut().insert(first_word(request), answers);
    }

    /// Whether the app has a way to revoke.
    pub(super) fn can_revoke(&self) -> bool {
        self.part.lines.iter().any(|(title, _)| title.starts_with("revoke "))
    }

    /// The request that tells whether a credential works, if there is one, by its first title.
    pub(super) fn probe(&self) -> Option<&'static str> {
        let asked = self.part.line("check").or(self.part.line("identity"))?;
        ["identity", "what the account is called", "check"]
            .into_iter()
            .find(|title| self.part.line(title) == Some(asked))
    }

    /// Titles of the requests since this was asked last.
    pub(super) fn heard(&self) -> Vec<String> {
        self.part.heard.take()
    }

    /// Fails unless these requests were sent, and no others.
    pub(super) fn expect(&self, what: &str, titles: &[&str]) {
        assert_eq!(self.heard(), titles, "{self}: {what}");
    }

    /// Fails unless the last request presented this refresh token.
    pub(super) fn expect_presented(&self, refresh_token: Option<&str>) {
        let asked = self.part.asked.borrow();
        assert_eq!(asked.get("refresh_token").map(String::as_str), refresh_token, "{self}");
    }

    /// Fails unless the person was sent where somebody has read that they are.
    pub(super) fn expect_authorize(&self, url: &str) {
        let query = Url::parse(url).unwrap().query_pairs().into_owned().collect();
        let text = with_made_up_draws(format!("GET {}", written::address(url)), &query);
        assert_eq!(Some(text.as_str()), self.part.line("authorize"), "{self}");
    }

    /// Fails unless a step is told to send its requests as somebody has read that it is.
    pub(super) fn expect_step(&self, request: &Dressed) {
        let text = self.part.in_made_up_words(written::dressed(request));
        assert_eq!(Some(text.as_str()), self.part.line("a step's request"), "{self}");
    }

    /// Notes what was told to somebody who may see no secret.
    pub(super) fn note(&self, told: impl std::fmt::Debug) {
        write!(self.said.borrow_mut(), "{told:?}").unwrap();
    }

    /// Fails where a secret of this life stands in the open.
    pub(super) fn expect_no_secret_in_the_open(&self) {
        let world = &self.scene.world;
        let places = [("errors", self.said.borrow().clone()), ("log", world.log.dump()), ("database", world.db.dump())];
        for secret in self.secrets() {
            let place = places.iter().find(|(_, text)| text.contains(&secret));
            assert!(place.is_none(), "{self}: {secret} stands in the {}", place.unwrap().0);
        }
    }

    /// What the app answered, what the client has and what a person entered.
    fn secrets(&self) -> Vec<String> {
        let tokens = self.answers.iter().flat_map(|entry| tokens_of(&entry.read["tokens"])).map(|(token, _)| token);
        let fields = made_up::fields(&self.app);
        let hidden = self.app.fields.iter().filter(|field| field.secret).filter_map(|field| fields.get(&field.id));
        let known = [made_up::CLIENT_SECRET, made_up::CODE].map(str::to_owned);
        tokens.chain(hidden.map(|secret| secret.expose().to_owned())).chain(known).collect()
    }

    /// A connection's row is no more.
    pub(super) fn expect_gone(&self, id: &ConnectionId) {
        assert!(self.scene.find(id).is_none(), "{self}");
    }
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.app.id, self.app.way)
    }
}

impl Part {
    fn of(app: &App, answers: &[Entry]) -> Self {
        let lines = lines(app);
        let has = |word: &String| lines.iter().any(|(_, text)| text.contains(word));
        let mut words: Vec<_> = answers.iter().flat_map(|entry| words_of(app, &entry.read)).collect();
        words.retain(|(_, read)| has(read));
        words.sort_by_key(|(said, _)| std::cmp::Reverse(said.len()));
        words.dedup();
        Self { lines, words, cues: RefCell::default(), heard: RefCell::default(), asked: RefCell::default() }
    }

    fn line(&self, title: &str) -> Option<&str> {
        self.lines.iter().find(|(known, _)| known == title).map(|(_, text)| text.as_str())
    }

    fn answer(&self, request: &Outbound) -> Inbound {
        let asked = parameters(request.body.as_deref().unwrap_or_default());
        let text = self.in_made_up_words(with_made_up_draws(written::request(request), &asked));
        let title = self.lines.iter().find(|(_, line)| *line == text).map(|(title, _)| title.clone());
        let mut cues = self.cues.borrow_mut();
        let queue = title.as_ref().and_then(|title| cues.get_mut(first_word(title)));
        let answer = queue.and_then(|queue| if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() });
        self.heard.borrow_mut().push(title.unwrap_or(text));
        *self.asked.borrow_mut() = asked;
        answer.unwrap_or(Inbound { status: 404, headers: vec![], body: vec![] })
    }

    fn in_made_up_words(&self, text: String) -> String {
        self.words.iter().fold(text, |text, (said, read)| text.replace(said, read))
    }
}

/// What requests of one kind are titled with: there is one of each token that is revoked.
fn first_word(title: &str) -> &str {
    title.split(' ').next().unwrap()
}

/// The requests of a way, as they stand in the file that a person has read.
fn lines(app: &App) -> Vec<(String, String)> {
    let path = format!("tests/catalogue/golden/{}.txt", app.id);
    let file = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path));
    let file = file.unwrap_or_else(|problem| panic!("{path}: {problem}"));
    let head = format!("\n== {}: ", app.way);
    let (_, way) = file.split_once(&head).unwrap_or_else(|| panic!("{path}: nothing of {}", app.way));
    let way = way.split("\n== ").next().unwrap();
    let one = |section: &str| section.split_once('\n').map(|(title, text)| (title.to_owned(), text.to_owned()));
    way.split("\n-- ").skip(1).filter_map(one).collect()
}

/// What an answer tells that comes back in requests, each with the word that stands for it.
fn words_of(app: &App, read: &Value) -> Vec<(String, String)> {
    let known = made_up::variables(app);
    let variables = read["variables"].as_object().into_iter().flatten();
    let variables = variables.map(|(name, value)| (value.as_str().unwrap().to_owned(), known[name].clone()));
    let account = read["account"]["id"].as_str().map(|id| (id.to_owned(), made_up::ACCOUNT_ID.to_owned()));
    tokens_of(&read["tokens"]).into_iter().chain(variables).chain(account).collect()
}

/// The tokens of an answer, further ones, too, each with the word that stands for it.
fn tokens_of(set: &Value) -> Vec<(String, String)> {
    let own = [("access_token", made_up::ACCESS_TOKEN), ("refresh_token", made_up::REFRESH_TOKEN)];
    let own = own.into_iter().filter_map(|(name, word)| Some((set[name].as_str()?.to_owned(), word.to_owned())));
    let further = set["others"].as_object().into_iter().flatten().flat_map(|(_, one)| tokens_of(one));
    own.chain(further).collect()
}

/// A text, with made-up words for what was drawn for this life and is among these parameters.
fn with_made_up_draws(text: String, parameters: &BTreeMap<String, String>) -> String {
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
fn parameters(body: &str) -> BTreeMap<String, String> {
    serde_json::from_str::<BTreeMap<String, Value>>(body).map_or_else(
        |_| form_urlencoded::parse(body.as_bytes()).into_owned().collect(),
        |members| members.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect(),
    )
}

fn variables(app: &App, which: impl Fn(&Variable) -> bool) -> BTreeMap<String, String> {
    made_up::variables(app).into_iter().filter(|(name, _)| which(&app.variables[name])).collect()
}
