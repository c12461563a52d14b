//! A simulated app: an OAuth server with an API, and its own log, which is the oracle of the tests.
//!
//! Owns the truth about grants: what was redeemed how often, what was killed by reuse, what was revoked. Its
//! manners (rotation, lives) are settings; single answers can be scripted per path. It acts when half of its
//! latency is over, whether or not the caller still listens.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connections::ports::{Http, HttpError, Inbound, Outbound, Permitted};
use connections::secret::Secret;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::outside::Meter;
use super::runtime::Runtime;
use super::witness::{Strand, Witness};

/// Stands in every secret that the app hands out or is given.
pub(crate) const CANARY: &str = "canary7f3a";
/// Where the app is, too: an authorization server of its own, should a definition name it so.
pub(crate) const REALM: &str = "/main";
/// The client that is registered at the app.
pub(crate) const CLIENT_ID: &str = "acme-client";

/// What becomes of a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotates {
    /// A new one; presenting the old one kills the whole grant.
    Strict,
    /// A new one; the old one is refused.
    Reject,
    /// A new one; the old one gives the same answer again for so many seconds.
    Grace(i64),
    /// A new one; the old one goes on working.
    Reissue,
    /// It stays, and is not sent again.
    No,
}

/// What a scripted answer looks like.
#[derive(Clone)]
enum Arrives {
    Status(u16, String, Vec<(String, String)>),
    Raw(Inbound),
    Error(HttpError),
    Edited(Rc<dyn Fn(&mut Value)>),
}

/// A scripted answer.
#[derive(Clone)]
pub(crate) struct Reply {
    acts: bool,
    arrives: Arrives,
}

impl Reply {
    /// The app does nothing and answers this.
    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self { acts: false, arrives: Arrives::Status(status, body.to_owned(), vec![]) }
    }

    /// The app does nothing and answers exactly this.
    pub(crate) fn raw(answer: Inbound) -> Self {
        Self { acts: false, arrives: Arrives::Raw(answer) }
    }

    /// The app does nothing, and no answer arrives.
    pub(crate) fn error(error: HttpError) -> Self {
        Self { acts: false, arrives: Arrives::Error(error) }
    }

    /// The app acts, and its answer is changed on the way.
    pub(crate) fn edited(edit: impl Fn(&mut Value) + 'static) -> Self {
        Self { acts: true, arrives: Arrives::Edited(Rc::new(edit)) }
    }

    /// The app acts before this arrives.
    pub(crate) fn acting(mut self) -> Self {
        self.acts = true;
        self
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        if let Arrives::Status(_, _, headers) = &mut self.arrives {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// How a redemption of a refresh token ended, as the app sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// New tokens.
    Granted,
    /// The same answer once more.
    Replayed,
    /// Refused.
    Refused,
    /// Refused, and the grant was killed for it.
    Killed,
}

/// One line of the app's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redemption {
    pub(crate) token: String,
    pub(crate) at: i64,
    pub(crate) end: End,
    /// Which of the redemptions that were sent it was.
    pub(crate) sent: usize,
}

/// Called with an account.
pub(crate) type OnRevoked = Box<dyn Fn(&str)>;

/// Draws how a request fares: what is answered in the app's place, and how many milliseconds it takes.
pub(crate) type Weather = Box<dyn FnMut(&str) -> (Option<Reply>, i64)>;

/// The host of the app.
const HOST: &str = "acme.example";

/// A request to another host than the app's.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    pub(crate) url: String,
    /// Address, headers and body, with what is encoded in them also in plain text.
    pub(crate) text: String,
}

impl Elsewhere {
    fn of(request: &Outbound) -> Self {
        let decoded = request.headers.iter().filter_map(|(_, value)| {
            let bytes = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
            String::from_utf8(bytes).ok()
        });
        let decoded: Vec<_> = decoded.collect();
        let body = request.body.clone().unwrap_or_default();
        let text = format!("{:?} {} {:?} {decoded:?} {body}", request.method, request.url.as_str(), request.headers);
        Self { url: request.url.as_str().to_owned(), text }
    }

    /// Whether it carries a secret that was given for the app, or an assertion.
    pub(crate) fn has_secret(&self) -> bool {
        [CANARY, "assertion="].iter().any(|one| self.text.contains(one))
    }
}

/// Sees every request before the app does, and answers those that are for others.
pub(crate) type Interceptor = Box<dyn Fn(&Outbound) -> Option<Inbound>>;
/// Changes the bytes of an answer.
type Spoil = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Answers every request in the app's place.
pub(crate) type Understudy = Box<dyn Fn(&Outbound) -> Inbound>;

struct Grant {
    account: String,
    /// The code that it came of, if it came of one.
    code: Option<String>,
    live: bool,
    /// Whether a refresh token of it was ever told.
    renewable: bool,
}

#[derive(Clone)]
struct RefreshToken {
    grant: usize,
    used_at: Option<i64>,
    answer: Value,
}

struct AccessToken {
    grant: usize,
    end: Option<i64>,
    live: bool,
}

struct Code {
    account: String,
    client_id: String,
    redirect_uri: String,
    challenge: Option<String>,
    scope: String,
}

#[derive(Default)]
struct Truth {
    grants: Vec<Grant>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    access_tokens: BTreeMap<String, AccessToken>,
    codes: BTreeMap<String, Code>,
    redemptions: Vec<Redemption>,
    revoked: Vec<String>,
    requests: Vec<String>,
    addresses: Vec<String>,
    script: BTreeMap<String, VecDeque<Reply>>,
    always: BTreeMap<String, Reply>,
    made: u64,
}

/// The app.
pub(crate) struct Acme {
    pub(crate) rotates: Cell<Rotates>,
    /// Life of an access token; `None` does not say.
    pub(crate) expires_in: Cell<Option<i64>>,
    /// Whether the first answer has a refresh token.
    pub(crate) gives_refresh_token: Cell<bool>,
    /// Whether only an account's first consent brings one, for as long as that lives.
    pub(crate) gives_it_once: Cell<bool>,
    pub(crate) latency_ms: Cell<i64>,
    /// None is given to a public client: an empty text.
    pub(crate) client_secret: RefCell<String>,
    /// Scopes that are granted whatever is asked; `None` grants what is asked.
    pub(crate) grants_scopes: RefCell<Option<String>>,
    /// Whether an exchange brings a user's token beside the first.
    pub(crate) gives_user_token: Cell<bool>,
    /// Keys that work without OAuth, and whose they are.
    pub(crate) keys: RefCell<BTreeMap<String, String>>,
    /// Clients of people's own that may speak for themselves, and their secrets.
    pub(crate) machines: RefCell<BTreeMap<String, String>>,
    /// Bodies of the token requests, in order.
    pub(crate) asked: RefCell<Vec<BTreeMap<String, String>>>,
    pub(crate) weather: RefCell<Option<Weather>>,
    /// Who answers instead, where it is another app that is needed.
    pub(crate) understudy: RefCell<Option<Understudy>>,
    /// Who answers at all other hosts than its own; none: it answers there, too.
    pub(crate) strangers: RefCell<Option<Understudy>>,
    /// Every request to another host than its own, whole.
    pub(crate) elsewhere: RefCell<Vec<Elsewhere>>,
    /// Who else is on the way out of the program.
    pub(crate) interceptor: RefCell<Option<Interceptor>>,
    /// What becomes of the bytes of its own answers, by path.
    spoils: RefCell<BTreeMap<String, Spoil>>,
    /// Called with an account when its grants are revoked at our own wish.
    pub(crate) on_revoked: RefCell<Option<OnRevoked>>,
    truth: RefCell<Truth>,
    runtime: Runtime,
    witness: Rc<Witness>,
}

impl Acme {
    pub(crate) fn new(runtime: Runtime, witness: Rc<Witness>) -> Self {
        Self {
            rotates: Cell::new(Rotates::Strict),
            expires_in: Cell::new(Some(3600)),
            gives_refresh_token: Cell::new(true),
            gives_it_once: Cell::new(false),
            latency_ms: Cell::new(100),
            client_secret: RefCell::new(format!("{CANARY}-client-secret")),
            grants_scopes: RefCell::default(),
            gives_user_token: Cell::new(false),
            keys: RefCell::default(),
            machines: RefCell::default(),
            asked: RefCell::default(),
            weather: RefCell::default(),
            understudy: RefCell::default(),
            strangers: RefCell::default(),
            elsewhere: RefCell::default(),
            interceptor: RefCell::default(),
            spoils: RefCell::default(),
            on_revoked: RefCell::default(),
            truth: RefCell::default(),
            runtime,
            witness,
        }
    }

    /// The next answer of a path.
    pub(crate) fn next(&self, path: &str, reply: Reply) {
        self.truth.borrow_mut().script.entry(path.to_owned()).or_default().push_back(reply);
    }

    /// Every further answer of a path; `None` is itself again.
    pub(crate) fn always(&self, path: &str, reply: Option<Reply>) {
        let always = &mut self.truth.borrow_mut().always;
        match reply {
            Some(reply) => always.insert(path.to_owned(), reply),
            None => always.remove(path),
        };
    }

    /// What becomes of the bytes of its own answers of a path.
    pub(crate) fn spoil(&self, path: &str, spoil: impl Fn(&[u8]) -> Vec<u8> + 'static) {
        self.spoils.borrow_mut().insert(path.to_owned(), Box::new(spoil));
    }

    /// Nothing is scripted any more.
    pub(crate) fn calm(&self) {
        let mut truth = self.truth.borrow_mut();
        truth.script.clear();
        truth.always.clear();
    }

    /// How many requests reached a path.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.truth.borrow().requests.iter().filter(|request| *request == path).count()
    }

    /// How many requests reached it at all.
    pub(crate) fn requests(&self) -> usize {
        self.truth.borrow().requests.len()
    }

    /// Whole addresses of the requests, in order.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.truth.borrow().addresses.clone()
    }

    /// Every redemption of a refresh token that it saw.
    pub(crate) fn redemptions(&self) -> Vec<Redemption> {
        self.truth.borrow().redemptions.clone()
    }

    /// Redemptions that ended in a way.
    pub(crate) fn ended(&self, end: End) -> usize {
        self.truth.borrow().redemptions.iter().filter(|redemption| redemption.end == end).count()
    }

    /// Tokens that it was asked to revoke, in order.
    pub(crate) fn revoked(&self) -> Vec<String> {
        self.truth.borrow().revoked.clone()
    }

    /// Whether an account's newest grant is alive.
    pub(crate) fn is_alive(&self, account: &str) -> bool {
        self.truth.borrow().grants.iter().rev().find(|grant| grant.account == account).is_some_and(|grant| grant.live)
    }

    /// The person takes back what they granted.
    pub(crate) fn withdraw(&self, account: &str) {
        for grant in self.truth.borrow_mut().grants.iter_mut().filter(|grant| grant.account == account) {
            grant.live = false;
        }
    }

    /// The grant is back, as after an outage of the app's own store.
    pub(crate) fn restore(&self, account: &str) {
        for grant in self.truth.borrow_mut().grants.iter_mut().filter(|grant| grant.account == account) {
            grant.live = true;
        }
    }

    /// It forgets a refresh token, as a store that lost its last write does.
    pub(crate) fn forget(&self, refresh_token: &str) {
        self.truth.borrow_mut().refresh_tokens.remove(refresh_token);
    }

    /// It forgets the newest refresh token of an account that nobody has used yet.
    pub(crate) fn forget_newest(&self, account: &str) {
        let truth = self.truth.borrow();
        let unused = truth.refresh_tokens.iter().filter(|(_, known)| {
            known.used_at.is_none() && truth.grants[known.grant].live && truth.grants[known.grant].account == account
        });
        let newest = unused.max_by_key(|(token, _)| token.rsplit('-').next().unwrap().parse::<u64>().unwrap());
        let newest = newest.map(|(token, _)| token.clone());
        drop(truth);
        if let Some(token) = newest {
            self.forget(&token);
        }
    }

    /// Whether it would take an access token now.
    pub(crate) fn accepts(&self, access_token: &str) -> bool {
        self.accepts_in(0, access_token)
    }

    /// A person at the authorize page says yes as an account: the code and state that the browser brings back.
    pub(crate) fn consent(&self, authorize_url: &str, account: &str) -> (Secret, String) {
        let url = Url::parse(authorize_url).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let mut truth = self.truth.borrow_mut();
        let code = truth.name("code");
        truth.codes.insert(
            code.clone(),
            Code {
                account: account.to_owned(),
                client_id: query["client_id"].clone(),
                redirect_uri: query["redirect_uri"].clone(),
                challenge: query.get("code_challenge").cloned(),
                scope: query.get("scope").cloned().unwrap_or_default(),
            },
        );
        (Secret::new(code), query["state"].clone())
    }

    /// It knows a grant of an earlier time: an account's access token and refresh token.
    pub(crate) fn adopt(&self, account: &str, access_token: &str, refresh_token: Option<&str>) {
        let mut truth = self.truth.borrow_mut();
        let grant = truth.grants.len();
        let renewable = refresh_token.is_some();
        truth.grants.push(Grant { account: account.to_owned(), code: None, live: true, renewable });
        truth.access_tokens.insert(access_token.to_owned(), AccessToken { grant, end: None, live: true });
        if let Some(token) = refresh_token {
            let token_is_new = RefreshToken { grant, used_at: None, answer: Value::Null };
            truth.refresh_tokens.insert(token.to_owned(), token_is_new);
        }
        // Its own tokens are counted: none that it makes is one of these.
        truth.made += 1_000;
    }

    /// Whether it would give tokens for a refresh token now.
    pub(crate) fn would_redeem(&self, token: &str) -> bool {
        let truth = self.truth.borrow();
        truth.refresh_tokens.get(token).is_some_and(|known| {
            truth.grants[known.grant].live
                && match (self.rotates.get(), known.used_at) {
                    (_, None) | (Rotates::No | Rotates::Reissue, _) => true,
                    (Rotates::Grace(seconds), Some(at)) => self.runtime.now() <= at + seconds,
                    (Rotates::Strict | Rotates::Reject, Some(_)) => false,
                }
        })
    }

    /// Whether a refresh token was redeemed before.
    pub(crate) fn was_redeemed(&self, token: &str) -> bool {
        self.truth.borrow().refresh_tokens.get(token).is_some_and(|known| known.used_at.is_some())
    }

    /// Whose an access token is, alive or not.
    pub(crate) fn owner(&self, access_token: &str) -> Option<String> {
        let truth = self.truth.borrow();
        truth.access_tokens.get(access_token).map(|token| truth.grants[token.grant].account.clone())
    }

    /// Whether the grant of an access token is alive.
    pub(crate) fn holds(&self, access_token: &str) -> bool {
        let truth = self.truth.borrow();
        truth.access_tokens.get(access_token).is_some_and(|token| truth.grants[token.grant].live)
    }

    /// Whether it would still take an access token so many seconds from now.
    pub(crate) fn accepts_in(&self, seconds: i64, access_token: &str) -> bool {
        self.truth.borrow().whose(access_token, self.runtime.now() + seconds).is_some()
    }

    /// How many grants were ever made.
    pub(crate) fn grants(&self) -> usize {
        self.truth.borrow().grants.len()
    }

    /// Whether an account gave a grant since, with a refresh token that was told: without one the program goes on with
    /// the one it has.
    pub(crate) fn renews_since(&self, grants: usize, account: &str) -> bool {
        let truth = self.truth.borrow();
        truth.grants.iter().skip(grants).any(|grant| grant.account == account && grant.renewable)
    }

    /// Which grant a token belongs to, counted from 0.
    pub(crate) fn grant_of(&self, token: &str) -> Option<usize> {
        let truth = self.truth.borrow();
        let access = truth.access_tokens.get(token).map(|token| token.grant);
        access.or_else(|| truth.refresh_tokens.get(token).map(|token| token.grant))
    }

    /// The code that a token came of, if it came of one.
    pub(crate) fn code_of(&self, token: &str) -> Option<String> {
        let grant = self.grant_of(token)?;
        self.truth.borrow().grants[grant].code.clone()
    }

    async fn serve(self: Rc<Self>, request: Permitted, sent: usize) -> Result<Inbound, HttpError> {
        if request.url.authority() != HOST || request.url.url().path().starts_with("/evil") {
            self.elsewhere.borrow_mut().push(Elsewhere::of(&request));
            if let Some(stranger) = self.strangers.borrow().as_ref() {
                return Ok(stranger(&request));
            }
        }
        if let Some(understudy) = self.understudy.borrow().as_ref() {
            return Ok(understudy(&request));
        }
        let answered = self.interceptor.borrow().as_ref().and_then(|interceptor| interceptor(&request));
        if let Some(answer) = answered {
            self.runtime.sleep(self.latency_ms.get()).await;
            return Ok(answer);
        }
        let path = own_path(&request).to_owned();
        let drawn = self.weather.borrow_mut().as_mut().map(|weather| weather(&path));
        let (drawn, latency) = drawn.unwrap_or_else(|| (None, self.latency_ms.get()));
        self.runtime.sleep(latency / 2).await;
        self.truth.borrow_mut().addresses.push(request.url.as_str().to_owned());
        let reply = self.truth.borrow_mut().reply(&path).or(drawn);
        let acts = reply.as_ref().is_none_or(|reply| reply.acts);
        let answer = if acts { Some(self.act(&path, &request, sent)) } else { None };
        self.runtime.sleep(latency - latency / 2).await;
        match (reply.map(|reply| reply.arrives), answer) {
            (None, Some((status, body))) => Ok(self.told(&path, status, &body)),
            (Some(Arrives::Edited(edit)), Some((status, mut body))) => {
                edit(&mut body);
                Ok(self.told(&path, status, &body))
            }
            (Some(Arrives::Status(status, body, headers)), _) => Ok(inbound(status, &body, headers)),
            (Some(Arrives::Raw(answer)), _) => Ok(answer),
            (Some(Arrives::Error(error)), _) => Err(error),
            (None | Some(Arrives::Edited(_)), None) => Err(HttpError::Network),
        }
    }

    fn told(&self, path: &str, status: u16, body: &Value) -> Inbound {
        let mut truth = self.truth.borrow_mut();
        let token = body["refresh_token"].as_str().and_then(|token| truth.refresh_tokens.get(token));
        if let Some(grant) = token.map(|token| token.grant) {
            truth.grants[grant].renewable = true;
        }
        let mut answer = inbound(status, &body.to_string(), vec![]);
        if let Some(spoil) = self.spoils.borrow().get(path) {
            answer.body = spoil(&answer.body);
        }
        answer
    }

    fn act(&self, path: &str, request: &Outbound, sent: usize) -> (u16, Value) {
        let body = request.body.as_deref().unwrap_or_default();
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        if path == "/token" {
            self.asked.borrow_mut().push(form.clone());
        }
        match path {
            "/token" if form.get("grant_type").is_some_and(|grant| grant == "client_credentials") => {
                self.machine(request)
            }
            "/token" if form.contains_key("assertion") => self.assertion(),
            "/revoke" if bearer(request).is_some() => self.revoke_by(bearer(request).unwrap_or_default()),
            "/token" | "/revoke" if !self.knows_client(request, &form) => (401, json!({ "error": "invalid_client" })),
            "/token" if form.contains_key("code") => self.exchange(&form),
            "/token" => self.refresh(&form, sent),
            "/revoke" => self.revoke(&form),
            "/me" => self.me(request),
            "/.well-known/openid-configuration" => (200, discovery()),
            _ => (404, json!({ "error": "not_found" })),
        }
    }

    fn knows_client(&self, request: &Outbound, form: &BTreeMap<String, String>) -> bool {
        if self.client_secret.borrow().is_empty() {
            return form.get("client_id").is_some_and(|id| id == CLIENT_ID);
        }
        let header = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
        let decoded = header
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let expected = format!("{CLIENT_ID}:{}", self.client_secret.borrow());
        decoded.is_some_and(|pair| pair == expected)
            || form.get("client_secret").is_some_and(|secret| *secret == *self.client_secret.borrow())
    }

    fn exchange(&self, form: &BTreeMap<String, String>) -> (u16, Value) {
        let mut truth = self.truth.borrow_mut();
        let Some(code) = truth.codes.remove(&form["code"]) else { return (400, json!({ "error": "invalid_grant" })) };
        let verifier = form.get("code_verifier").map(|text| URL_SAFE_NO_PAD.encode(Sha256::digest(text)));
        let redirect_fits = form.get("redirect_uri") == Some(&code.redirect_uri);
        if verifier != code.challenge || !redirect_fits || code.client_id != CLIENT_ID {
            return (400, json!({ "error": "invalid_grant" }));
        }
        let consented = truth.grants.iter().any(|grant| grant.live && grant.account == code.account);
        let gives = self.gives_refresh_token.get() && !(self.gives_it_once.get() && consented);
        truth.grants.push(Grant {
            account: code.account,
            code: Some(form["code"].clone()),
            live: true,
            renewable: false,
        });
        let grant = truth.grants.len() - 1;
        let scope = self.grants_scopes.borrow().clone().unwrap_or(code.scope);
        let mut answer = self.issue(&mut truth, grant, gives, Some(&scope));
        if self.gives_user_token.get() {
            let user = self.issue(&mut truth, grant, gives, Some("search"));
            answer["authed_user"] = user;
        }
        (200, answer)
    }

    /// A client of somebody's own, by Basic.
    fn machine(&self, request: &Outbound) -> (u16, Value) {
        let machines = self.machines.borrow();
        let known = machines.iter().find(|(id, secret)| {
            let expected = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
            request.headers.iter().any(|(name, value)| name == "authorization" && *value == expected)
        });
        let Some((id, _)) = known else { return (401, json!({ "error": "invalid_client" })) };
        let mut truth = self.truth.borrow_mut();
        truth.grants.push(Grant { account: id.clone(), code: None, live: true, renewable: false });
        let grant = truth.grants.len() - 1;
        (200, self.issue(&mut truth, grant, false, None))
    }

    /// Any assertion is taken: what is in it is judged by the test.
    fn assertion(&self) -> (u16, Value) {
        let mut truth = self.truth.borrow_mut();
        truth.grants.push(Grant { account: "robot".into(), code: None, live: true, renewable: false });
        let grant = truth.grants.len() - 1;
        (200, self.issue(&mut truth, grant, false, None))
    }

    fn issue(&self, truth: &mut Truth, grant: usize, with_refresh_token: bool, scope: Option<&str>) -> Value {
        let now = self.runtime.now();
        let access_token = truth.name("at");
        let end = self.expires_in.get().map(|seconds| now + seconds);
        truth.access_tokens.insert(access_token.clone(), AccessToken { grant, end, live: true });
        let mut answer = json!({ "access_token": access_token, "token_type": "bearer" });
        if let Some(seconds) = self.expires_in.get() {
            answer["expires_in"] = seconds.into();
        }
        if let Some(scope) = scope {
            answer["scope"] = scope.into();
        }
        if with_refresh_token {
            let token = truth.name("rt");
            truth.refresh_tokens.insert(token.clone(), RefreshToken { grant, used_at: None, answer: Value::Null });
            answer["refresh_token"] = token.into();
        }
        answer
    }

    fn refresh(&self, form: &BTreeMap<String, String>, sent: usize) -> (u16, Value) {
        let mut truth = self.truth.borrow_mut();
        let now = self.runtime.now();
        let token = form.get("refresh_token").cloned().unwrap_or_default();
        let known = truth.refresh_tokens.get(&token).cloned();
        let live = known.as_ref().is_some_and(|known| truth.grants[known.grant].live);
        let (end, answer) = match known {
            Some(known) if live => self.redeem(&mut truth, &token, &known, now),
            _ => (End::Refused, None),
        };
        truth.redemptions.push(Redemption { token: token.clone(), at: now, end, sent });
        self.witness.tell(self.runtime.now_ms(), || format!("the app sees redemption {sent}, of {token}: {end:?}"));
        answer.map_or_else(|| (400, json!({ "error": "invalid_grant" })), |answer| (200, answer))
    }

    fn redeem(&self, truth: &mut Truth, token: &str, known: &RefreshToken, now: i64) -> (End, Option<Value>) {
        match (self.rotates.get(), known.used_at) {
            (Rotates::No, _) => (End::Granted, Some(self.issue(truth, known.grant, false, None))),
            (Rotates::Grace(seconds), Some(at)) if now <= at + seconds => (End::Replayed, Some(known.answer.clone())),
            (Rotates::Strict, Some(_)) => {
                truth.grants[known.grant].live = false;
                (End::Killed, None)
            }
            (Rotates::Reject | Rotates::Grace(_), Some(_)) => (End::Refused, None),
            (Rotates::Reissue, _) | (_, None) => {
                let answer = self.issue(truth, known.grant, true, None);
                let used = RefreshToken { grant: known.grant, used_at: Some(now), answer: answer.clone() };
                truth.refresh_tokens.insert(token.to_owned(), used);
                (End::Granted, Some(answer))
            }
        }
    }

    fn revoke(&self, form: &BTreeMap<String, String>) -> (u16, Value) {
        let mut truth = self.truth.borrow_mut();
        let token = form.get("token").cloned().unwrap_or_default();
        truth.revoked.push(token.clone());
        let grant = truth.refresh_tokens.get(&token).map(|token| token.grant);
        let grant = grant.or_else(|| truth.access_tokens.get(&token).map(|token| token.grant));
        if let Some(grant) = grant {
            // Consent belongs to an account and a client: all of its grants go.
            let account = truth.grants[grant].account.clone();
            let was_live = truth.grants.iter().any(|grant| grant.account == account && grant.live);
            for grant in truth.grants.iter_mut().filter(|grant| grant.account == account) {
                grant.live = false;
            }
            drop(truth);
            if let Some(on_revoked) = self.on_revoked.borrow().as_ref().filter(|_| was_live) {
                on_revoked(&account);
            }
        }
        (200, json!({}))
    }

    /// The grant of the access token that asks ends; one that has expired can't ask.
    fn revoke_by(&self, access_token: &str) -> (u16, Value) {
        let mut truth = self.truth.borrow_mut();
        if truth.whose(access_token, self.runtime.now()).is_none() {
            return (401, json!({ "error": "expired_access_token" }));
        }
        truth.revoked.push(access_token.to_owned());
        let grant = truth.access_tokens[access_token].grant;
        truth.grants[grant].live = false;
        (200, Value::Null)
    }

    fn me(&self, request: &Outbound) -> (u16, Value) {
        let token = bearer(request).unwrap_or_default();
        let truth = self.truth.borrow();
        let keys = self.keys.borrow();
        keys.get(token).map(String::as_str).or(truth.whose(token, self.runtime.now())).map_or_else(
            || (401, json!({ "error": "invalid_token" })),
            |account| (200, json!({ "sub": format!("id-{account}"), "email": format!("{account}@acme.example") })),
        )
    }
}

impl Truth {
    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{CANARY}-{kind}-{}", self.made)
    }

    fn reply(&mut self, path: &str) -> Option<Reply> {
        self.requests.push(path.to_owned());
        self.script.get_mut(path).and_then(VecDeque::pop_front).or_else(|| self.always.get(path).cloned())
    }

    fn whose(&self, access_token: &str, now: i64) -> Option<&str> {
        let token = self.access_tokens.get(access_token).filter(|token| token.live)?;
        let grant = self.grants.get(token.grant).filter(|grant| grant.live)?;
        token.end.is_none_or(|end| now < end).then_some(grant.account.as_str())
    }
}

pub(crate) fn bearer(request: &Outbound) -> Option<&str> {
    let header = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
    header.and_then(|value| value.strip_prefix("Bearer "))
}

pub(crate) fn inbound(status: u16, body: &str, mut headers: Vec<(String, String)>) -> Inbound {
    if !headers.iter().any(|(name, _)| name == "content-type") {
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        headers.push(("content-type".into(), kind.into()));
    }
    Inbound { status, headers, body: body.as_bytes().to_vec() }
}

fn discovery() -> Value {
    json!({
        "issuer": "https://acme.example",
        "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token",
        "revocation_endpoint": "https://acme.example/revoke",
        "userinfo_endpoint": "https://acme.example/me",
        "authorization_response_iss_parameter_supported": true,
    })
}

/// An invocation's way to the app.
#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) acme: Rc<Acme>,
    pub(crate) meter: Rc<Meter>,
    pub(crate) strand: Rc<Strand>,
    pub(crate) runtime: Runtime,
}

impl Http for Wire {
    async fn send(&self, request: Permitted) -> Result<Inbound, HttpError> {
        if !self.meter.spend() {
            return Err(HttpError::Network);
        }
        let timeout = i64::from(request.timeout_ms);
        let waiting = presented(&request).map(|token| self.strand.sends(&token));
        let sent = waiting.as_ref().map_or(usize::MAX, super::witness::Waiting::place);
        // The app goes on by itself, also when nobody waits any more.
        let served = self.runtime.spawn(Rc::clone(&self.acme).serve(request, sent));
        let ended = std::pin::pin!(self.runtime.sleep(timeout));
        let answer = match select(served, ended).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(HttpError::Timeout),
        };
        if let Some(waiting) = waiting {
            let told = answer.as_ref().map_or_else(|error| format!("{error:?}"), |answer| answer.status.to_string());
            self.strand.tell(|| format!("redemption {sent} is answered: {told}"));
            waiting.arrived(answer.as_ref().is_ok_and(brings_tokens));
        }
        answer
    }
}

/// The path of a request, without the name of the one realm that the app has.
fn own_path(request: &Outbound) -> &str {
    let path = request.url.url().path();
    path.strip_prefix(REALM).filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// The refresh token that a request presents, if it does.
fn presented(request: &Outbound) -> Option<String> {
    let body = request.body.as_deref().filter(|_| own_path(request) == "/token")?;
    url::form_urlencoded::parse(body.as_bytes())
        .find(|(name, _)| name == "refresh_token")
        .map(|(_, value)| value.into())
}

fn brings_tokens(answer: &Inbound) -> bool {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let usable = body["access_token"].as_str().is_some_and(|token| !token.contains(' '));
    answer.status == 200 && (usable || body["refresh_token"].is_string())
}
