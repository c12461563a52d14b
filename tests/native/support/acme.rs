//! A simulated app: an OAuth server with an API and its own log. The tests trust this log.
//!
//! Owns the facts about grants: how often a token was redeemed, what a second use ended, what was revoked. Its
//! behaviour (rotation, lifetimes) is a setting. Single responses can be set per path. It acts after half of its
//! latency, also if the caller has stopped waiting.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connections::ports::{
    AppResponse, Http, HttpError, OutboundRequest, PassingBody, PassingResponse, PermittedRequest,
};
use connections::secret::Secret;
use futures_util::future::{Either, select};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::passing::{self, PassedRequests, TestBody};
use super::recorder::{InvocationRecorder, Recorder};
use super::runtime::Runtime;
use super::small_ports::SubrequestBudget;

/// Part of every secret that the app issues or receives.
pub(crate) const CANARY: &str = "canary7f3a";
/// A second address of the app: its own authorization server, if a definition names it.
pub(crate) const REALM: &str = "/main";
/// The client that is registered at the app.
pub(crate) const CLIENT_ID: &str = "acme-client";

/// What happens to a refresh token that was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RotationPolicy {
    /// A new one is issued. Using the old one revokes the whole grant.
    Strict,
    /// A new one is issued. The old one is refused.
    Reject,
    /// A new one is issued. The old one returns the same response again for this many seconds.
    Grace(i64),
    /// A new one is issued. The old one keeps working.
    Reissue,
    /// It stays valid and is not sent again.
    Never,
}

/// The body of a scripted response.
#[derive(Clone)]
enum ReplyContent {
    Status(u16, String, Vec<(String, String)>),
    Raw(AppResponse),
    Error(HttpError),
    Edited(Rc<dyn Fn(&mut Value)>),
}

/// A scripted response.
#[derive(Clone)]
pub(crate) struct Reply {
    app_acts: bool,
    content: ReplyContent,
}

impl Reply {
    /// The app does nothing and responds with this.
    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self { app_acts: false, content: ReplyContent::Status(status, body.to_owned(), vec![]) }
    }

    /// The app does nothing and responds with exactly this text.
    pub(crate) fn raw(answer: AppResponse) -> Self {
        Self { app_acts: false, content: ReplyContent::Raw(answer) }
    }

    /// The app does nothing, and no response arrives.
    pub(crate) fn error(error: HttpError) -> Self {
        Self { app_acts: false, content: ReplyContent::Error(error) }
    }

    /// The app acts, and its response is changed on the way.
    pub(crate) fn edited(edit: impl Fn(&mut Value) + 'static) -> Self {
        Self { app_acts: true, content: ReplyContent::Edited(Rc::new(edit)) }
    }

    /// The app acts before this arrives.
    pub(crate) fn after_acting(mut self) -> Self {
        self.app_acts = true;
        self
    }

    /// With a header.
    pub(crate) fn with_header(mut self, name: &str, value: &str) -> Self {
        if let ReplyContent::Status(_, _, headers) = &mut self.content {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

/// How a use of a refresh token ended at the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedeemOutcome {
    /// New tokens.
    Granted,
    /// The same response once more.
    Replayed,
    /// Refused.
    Refused,
    /// Refused, and the grant was revoked because of it.
    GrantRevoked,
}

/// One line of the app's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedRefresh {
    pub(crate) token: String,
    pub(crate) received_at: i64,
    pub(crate) outcome: RedeemOutcome,
    /// The number of the refresh request that this entry belongs to.
    pub(crate) sent_index: usize,
}

/// Called with an account.
pub(crate) type OnRevoked = Box<dyn Fn(&str)>;

/// Decides about a request: another response, and how many milliseconds it takes.
pub(crate) type AppFaultPlan = Box<dyn FnMut(&str) -> (Option<Reply>, i64)>;

/// The host of the app.
const HOST: &str = "acme.example";

/// A request to another host than the app's.
#[derive(Debug, Clone)]
pub(crate) struct ForeignRequest {
    pub(crate) url: String,
    /// Address, headers and body. Encoded parts are also included in plain text.
    pub(crate) text: String,
}

impl ForeignRequest {
    fn from_request(request: &OutboundRequest) -> Self {
        let decoded = request.headers.iter().filter_map(|(_, value)| {
            let bytes = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
            String::from_utf8(bytes).ok()
        });
        let decoded: Vec<_> = decoded.collect();
        let body = request.body.clone().unwrap_or_default();
        let text = format!("{:?} {} {:?} {decoded:?} {body}", request.method, request.url.as_str(), request.headers);
        Self { url: request.url.as_str().to_owned(), text }
    }

    /// Whether it contains a secret that was given for the app, or an assertion.
    pub(crate) fn has_secret(&self) -> bool {
        [CANARY, "assertion="].iter().any(|one| self.text.contains(one))
    }
}

/// Sees every request before the app, and answers those to other hosts.
pub(crate) type Interceptor = Box<dyn Fn(&OutboundRequest) -> Option<AppResponse>>;
/// Changes the bytes of a response.
type BodyEdit = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// Answers every request in place of the app.
pub(crate) type Responder = Box<dyn Fn(&OutboundRequest) -> AppResponse>;

struct AcmeGrant {
    account: String,
    /// The code that it came from, if any.
    code: Option<String>,
    live: bool,
    /// Whether a refresh token of the grant was ever returned.
    gave_refresh_token: bool,
}

#[derive(Clone)]
struct AcmeRefreshToken {
    grant: usize,
    used_at: Option<i64>,
    answer: Value,
}

struct AcmeAccessToken {
    grant: usize,
    expires_at: Option<i64>,
    live: bool,
}

struct AcmeCode {
    account: String,
    client_id: String,
    redirect_uri: String,
    challenge: Option<String>,
    scope: String,
}

#[derive(Default)]
struct AcmeState {
    grants: Vec<AcmeGrant>,
    refresh_tokens: BTreeMap<String, AcmeRefreshToken>,
    access_tokens: BTreeMap<String, AcmeAccessToken>,
    codes: BTreeMap<String, AcmeCode>,
    received_refreshes: Vec<ReceivedRefresh>,
    revoked_tokens: Vec<String>,
    requests: Vec<String>,
    urls: Vec<String>,
    scripted_once: BTreeMap<String, VecDeque<Reply>>,
    scripted_always: BTreeMap<String, Reply>,
    secrets_made: u64,
}

/// The simulated app.
pub(crate) struct Acme {
    pub(crate) rotation: Cell<RotationPolicy>,
    /// Lifetime of an access token. `None` returns no lifetime.
    pub(crate) expires_in: Cell<Option<i64>>,
    /// Whether the first response has a refresh token.
    pub(crate) gives_refresh_token: Cell<bool>,
    /// Whether only the first consent of an account brings a refresh token, while its grant is valid.
    pub(crate) gives_refresh_token_once: Cell<bool>,
    pub(crate) latency_ms: Cell<i64>,
    /// A public client has none: an empty text.
    pub(crate) client_secret: RefCell<String>,
    /// Granted scopes, whatever is requested. `None` grants the requested ones.
    pub(crate) granted_scopes: RefCell<Option<String>>,
    /// Whether an exchange also returns a user's token.
    pub(crate) gives_user_token: Cell<bool>,
    /// API keys, and their accounts.
    pub(crate) api_keys: RefCell<BTreeMap<String, String>>,
    /// Clients with client credentials, and their secrets.
    pub(crate) client_credentials: RefCell<BTreeMap<String, String>>,
    /// Bodies of the token requests, in order.
    pub(crate) token_request_bodies: RefCell<Vec<BTreeMap<String, String>>>,
    pub(crate) fault_plan: RefCell<Option<AppFaultPlan>>,
    /// Answers instead of this app, if a test needs another app.
    pub(crate) responder: RefCell<Option<Responder>>,
    /// Answers at all other hosts. `None`: this app answers there too.
    pub(crate) foreign_responder: RefCell<Option<Responder>>,
    /// Every request to another host, completely.
    pub(crate) foreign_requests: RefCell<Vec<ForeignRequest>>,
    /// Other observers of outgoing requests.
    pub(crate) interceptor: RefCell<Option<Interceptor>>,
    /// Requests that passed through.
    pub(crate) passed: PassedRequests,
    /// Changes to the bytes of its responses, by path.
    body_edits: RefCell<BTreeMap<String, BodyEdit>>,
    /// Called with an account when we revoke its grants.
    pub(crate) on_revoked: RefCell<Option<OnRevoked>>,
    state: RefCell<AcmeState>,
    runtime: Runtime,
    recorder: Rc<Recorder>,
}

impl Acme {
    pub(crate) fn new(runtime: Runtime, recorder: Rc<Recorder>) -> Self {
        Self {
            rotation: Cell::new(RotationPolicy::Strict),
            expires_in: Cell::new(Some(3600)),
            gives_refresh_token: Cell::new(true),
            gives_refresh_token_once: Cell::new(false),
            latency_ms: Cell::new(100),
            client_secret: RefCell::new(format!("{CANARY}-client-secret")),
            granted_scopes: RefCell::default(),
            gives_user_token: Cell::new(false),
            api_keys: RefCell::default(),
            client_credentials: RefCell::default(),
            token_request_bodies: RefCell::default(),
            fault_plan: RefCell::default(),
            responder: RefCell::default(),
            foreign_responder: RefCell::default(),
            foreign_requests: RefCell::default(),
            interceptor: RefCell::default(),
            passed: PassedRequests::default(),
            body_edits: RefCell::default(),
            on_revoked: RefCell::default(),
            state: RefCell::default(),
            runtime,
            recorder,
        }
    }

    /// Sets the next response of a path.
    pub(crate) fn script_next(&self, path: &str, reply: Reply) {
        self.state.borrow_mut().scripted_once.entry(path.to_owned()).or_default().push_back(reply);
    }

    /// Sets every further response of a path. `None` restores the app's own.
    pub(crate) fn script_always(&self, path: &str, reply: Option<Reply>) {
        let always = &mut self.state.borrow_mut().scripted_always;
        match reply {
            Some(reply) => always.insert(path.to_owned(), reply),
            None => always.remove(path),
        };
    }

    /// Changes the bytes of the responses of a path.
    pub(crate) fn edit_body(&self, path: &str, spoil: impl Fn(&[u8]) -> Vec<u8> + 'static) {
        self.body_edits.borrow_mut().insert(path.to_owned(), Box::new(spoil));
    }

    /// Removes all scripted responses.
    pub(crate) fn clear_scripts(&self) {
        let mut truth = self.state.borrow_mut();
        truth.scripted_once.clear();
        truth.scripted_always.clear();
    }

    /// How many requests reached a path.
    pub(crate) fn count_requests(&self, path: &str) -> usize {
        self.state.borrow().requests.iter().filter(|request| *request == path).count()
    }

    /// How many requests reached it at all.
    pub(crate) fn count_all_requests(&self) -> usize {
        self.state.borrow().requests.len()
    }

    /// Whole addresses of the requests, in order.
    pub(crate) fn requested_urls(&self) -> Vec<String> {
        self.state.borrow().urls.clone()
    }

    /// Every use of a refresh token that the app saw.
    pub(crate) fn received_refreshes(&self) -> Vec<ReceivedRefresh> {
        self.state.borrow().received_refreshes.clone()
    }

    /// Uses of refresh tokens with this outcome.
    pub(crate) fn count_refreshes(&self, end: RedeemOutcome) -> usize {
        self.state.borrow().received_refreshes.iter().filter(|redemption| redemption.outcome == end).count()
    }

    /// Tokens that it was asked to revoke, in order.
    pub(crate) fn revoked_tokens(&self) -> Vec<String> {
        self.state.borrow().revoked_tokens.clone()
    }

    /// Whether an account's newest grant is valid.
    pub(crate) fn has_live_grant(&self, account: &str) -> bool {
        self.state.borrow().grants.iter().rev().find(|grant| grant.account == account).is_some_and(|grant| grant.live)
    }

    /// The person revokes the access at the app.
    pub(crate) fn withdraw_grants(&self, account: &str) {
        for grant in self.state.borrow_mut().grants.iter_mut().filter(|grant| grant.account == account) {
            grant.live = false;
        }
    }

    /// The grant is valid again, as after an outage of the app's own database.
    pub(crate) fn restore_grants(&self, account: &str) {
        for grant in self.state.borrow_mut().grants.iter_mut().filter(|grant| grant.account == account) {
            grant.live = true;
        }
    }

    /// The app loses a refresh token, like a database that lost its last write.
    pub(crate) fn forget_refresh_token(&self, refresh_token: &str) {
        self.state.borrow_mut().refresh_tokens.remove(refresh_token);
    }

    /// The app loses the newest unused refresh token of an account.
    pub(crate) fn forget_newest_refresh_token(&self, account: &str) {
        let truth = self.state.borrow();
        let unused = truth.refresh_tokens.iter().filter(|(_, known)| {
            known.used_at.is_none() && truth.grants[known.grant].live && truth.grants[known.grant].account == account
        });
        let newest = unused.max_by_key(|(token, _)| token.rsplit('-').next().unwrap().parse::<u64>().unwrap());
        let newest = newest.map(|(token, _)| token.clone());
        drop(truth);
        if let Some(token) = newest {
            self.forget_refresh_token(&token);
        }
    }

    /// Whether the app accepts an access token now.
    pub(crate) fn accepts_access_token(&self, access_token: &str) -> bool {
        self.accepts_access_token_in(0, access_token)
    }

    /// A person allows access as an account. Returns the code and state of the redirect.
    pub(crate) fn consent(&self, authorize_url: &str, account: &str) -> (Secret, String) {
        let url = Url::parse(authorize_url).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        let mut truth = self.state.borrow_mut();
        let code = truth.make_secret("code");
        truth.codes.insert(
            code.clone(),
            AcmeCode {
                account: account.to_owned(),
                client_id: query["client_id"].clone(),
                redirect_uri: query["redirect_uri"].clone(),
                challenge: query.get("code_challenge").cloned(),
                scope: query.get("scope").cloned().unwrap_or_default(),
            },
        );
        (Secret::new(code), query["state"].clone())
    }

    /// Adds a grant from earlier: an account's access token and refresh token.
    pub(crate) fn adopt(&self, account: &str, access_token: &str, refresh_token: Option<&str>) {
        let mut truth = self.state.borrow_mut();
        let grant = truth.grants.len();
        let renewable = refresh_token.is_some();
        truth.grants.push(AcmeGrant {
            account: account.to_owned(),
            code: None,
            live: true,
            gave_refresh_token: renewable,
        });
        truth.access_tokens.insert(access_token.to_owned(), AcmeAccessToken { grant, expires_at: None, live: true });
        if let Some(token) = refresh_token {
            let token_is_new = AcmeRefreshToken { grant, used_at: None, answer: Value::Null };
            truth.refresh_tokens.insert(token.to_owned(), token_is_new);
        }
        // Its own tokens have numbers, so none of them is equal to these.
        truth.secrets_made += 1_000;
    }

    /// Whether the app accepts a refresh token now.
    pub(crate) fn accepts_refresh_token(&self, token: &str) -> bool {
        let truth = self.state.borrow();
        truth.refresh_tokens.get(token).is_some_and(|known| {
            truth.grants[known.grant].live
                && match (self.rotation.get(), known.used_at) {
                    (_, None) | (RotationPolicy::Never | RotationPolicy::Reissue, _) => true,
                    (RotationPolicy::Grace(seconds), Some(at)) => self.runtime.now() <= at + seconds,
                    (RotationPolicy::Strict | RotationPolicy::Reject, Some(_)) => false,
                }
        })
    }

    /// Whether a refresh token was used before.
    pub(crate) fn is_refresh_token_used(&self, token: &str) -> bool {
        self.state.borrow().refresh_tokens.get(token).is_some_and(|known| known.used_at.is_some())
    }

    /// The account of an access token, valid or not.
    pub(crate) fn account_of(&self, access_token: &str) -> Option<String> {
        let truth = self.state.borrow();
        truth.access_tokens.get(access_token).map(|token| truth.grants[token.grant].account.clone())
    }

    /// Whether the grant of an access token is valid.
    pub(crate) fn has_live_grant_of_token(&self, access_token: &str) -> bool {
        let truth = self.state.borrow();
        truth.access_tokens.get(access_token).is_some_and(|token| truth.grants[token.grant].live)
    }

    /// Whether the app would still accept an access token after this many seconds.
    pub(crate) fn accepts_access_token_in(&self, seconds: i64, access_token: &str) -> bool {
        self.state.borrow().account_of_live_token(access_token, self.runtime.now() + seconds).is_some()
    }

    /// How many grants were ever created.
    pub(crate) fn count_grants(&self) -> usize {
        self.state.borrow().grants.len()
    }

    /// Whether an account has a newer grant whose refresh token was returned. Without a refresh token the program keeps
    /// the one it has.
    pub(crate) fn gave_refresh_token_since(&self, grants: usize, account: &str) -> bool {
        let truth = self.state.borrow();
        truth.grants.iter().skip(grants).any(|grant| grant.account == account && grant.gave_refresh_token)
    }

    /// The number of the grant that a token belongs to, from 0.
    pub(crate) fn grant_index_of(&self, token: &str) -> Option<usize> {
        let truth = self.state.borrow();
        let access = truth.access_tokens.get(token).map(|token| token.grant);
        access.or_else(|| truth.refresh_tokens.get(token).map(|token| token.grant))
    }

    /// The code that a token came from, if any.
    pub(crate) fn code_of(&self, token: &str) -> Option<String> {
        let grant = self.grant_index_of(token)?;
        self.state.borrow().grants[grant].code.clone()
    }

    async fn serve(self: Rc<Self>, request: PermittedRequest, sent: usize) -> Result<AppResponse, HttpError> {
        if request.url.authority() != HOST || request.url.url().path().starts_with("/evil") {
            self.foreign_requests.borrow_mut().push(ForeignRequest::from_request(&request));
            if let Some(stranger) = self.foreign_responder.borrow().as_ref() {
                return Ok(stranger(&request));
            }
        }
        if let Some(understudy) = self.responder.borrow().as_ref() {
            return Ok(understudy(&request));
        }
        let answered = self.interceptor.borrow().as_ref().and_then(|interceptor| interceptor(&request));
        if let Some(answer) = answered {
            self.runtime.sleep(self.latency_ms.get()).await;
            return Ok(answer);
        }
        let path = path_without_realm(&request).to_owned();
        let drawn = self.fault_plan.borrow_mut().as_mut().map(|weather| weather(&path));
        let (drawn, latency) = drawn.unwrap_or_else(|| (None, self.latency_ms.get()));
        self.runtime.sleep(latency / 2).await;
        self.state.borrow_mut().urls.push(request.url.as_str().to_owned());
        let reply = self.state.borrow_mut().take_reply(&path).or(drawn);
        let acts = reply.as_ref().is_none_or(|reply| reply.app_acts);
        let answer = if acts { Some(self.handle_request(&path, &request, sent)) } else { None };
        self.runtime.sleep(latency - latency / 2).await;
        match (reply.map(|reply| reply.content), answer) {
            (None, Some((status, body))) => Ok(self.build_answer(&path, status, &body)),
            (Some(ReplyContent::Edited(edit)), Some((status, mut body))) => {
                edit(&mut body);
                Ok(self.build_answer(&path, status, &body))
            }
            (Some(ReplyContent::Status(status, body, headers)), _) => Ok(text_response(status, &body, headers)),
            (Some(ReplyContent::Raw(answer)), _) => Ok(answer),
            (Some(ReplyContent::Error(error)), _) => Err(error),
            (None | Some(ReplyContent::Edited(_)), None) => Err(HttpError::Network),
        }
    }

    fn build_answer(&self, path: &str, status: u16, body: &Value) -> AppResponse {
        let mut truth = self.state.borrow_mut();
        let token = body["refresh_token"].as_str().and_then(|token| truth.refresh_tokens.get(token));
        if let Some(grant) = token.map(|token| token.grant) {
            truth.grants[grant].gave_refresh_token = true;
        }
        let mut answer = text_response(status, &body.to_string(), vec![]);
        if let Some(spoil) = self.body_edits.borrow().get(path) {
            answer.body = spoil(&answer.body);
        }
        answer
    }

    fn handle_request(&self, path: &str, request: &OutboundRequest, sent: usize) -> (u16, Value) {
        let body = request.body.as_deref().unwrap_or_default();
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        if path == "/token" {
            self.token_request_bodies.borrow_mut().push(form.clone());
        }
        match path {
            "/token" if form.get("grant_type").is_some_and(|grant| grant == "client_credentials") => {
                self.issue_for_client_credentials(request)
            }
            "/token" if form.contains_key("assertion") => self.issue_for_assertion(),
            "/revoke" if bearer_token(request).is_some() => {
                self.revoke_by_bearer(bearer_token(request).unwrap_or_default())
            }
            "/token" | "/revoke" if !self.authenticates_client(request, &form) => {
                (401, json!({ "error": "invalid_client" }))
            }
            "/token" if form.contains_key("code") => self.exchange_code(&form),
            "/token" => self.handle_refresh(&form, sent),
            "/revoke" => self.revoke_by_token(&form),
            "/me" => self.answer_identity(request),
            "/.well-known/openid-configuration" => (200, discovery_document()),
            _ => (404, json!({ "error": "not_found" })),
        }
    }

    fn authenticates_client(&self, request: &OutboundRequest, form: &BTreeMap<String, String>) -> bool {
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

    fn exchange_code(&self, form: &BTreeMap<String, String>) -> (u16, Value) {
        let mut truth = self.state.borrow_mut();
        let Some(code) = truth.codes.remove(&form["code"]) else { return (400, json!({ "error": "invalid_grant" })) };
        let verifier = form.get("code_verifier").map(|text| URL_SAFE_NO_PAD.encode(Sha256::digest(text)));
        let redirect_fits = form.get("redirect_uri") == Some(&code.redirect_uri);
        if verifier != code.challenge || !redirect_fits || code.client_id != CLIENT_ID {
            return (400, json!({ "error": "invalid_grant" }));
        }
        let consented = truth.grants.iter().any(|grant| grant.live && grant.account == code.account);
        let gives = self.gives_refresh_token.get() && !(self.gives_refresh_token_once.get() && consented);
        truth.grants.push(AcmeGrant {
            account: code.account,
            code: Some(form["code"].clone()),
            live: true,
            gave_refresh_token: false,
        });
        let grant = truth.grants.len() - 1;
        let scope = self.granted_scopes.borrow().clone().unwrap_or(code.scope);
        let mut answer = self.issue_tokens(&mut truth, grant, gives, Some(&scope));
        if self.gives_user_token.get() {
            let user = self.issue_tokens(&mut truth, grant, gives, Some("search"));
            answer["authed_user"] = user;
        }
        (200, answer)
    }

    /// Client credentials with Basic.
    fn issue_for_client_credentials(&self, request: &OutboundRequest) -> (u16, Value) {
        let machines = self.client_credentials.borrow();
        let known = machines.iter().find(|(id, secret)| {
            let expected = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
            request.headers.iter().any(|(name, value)| name == "authorization" && *value == expected)
        });
        let Some((id, _)) = known else { return (401, json!({ "error": "invalid_client" })) };
        let mut truth = self.state.borrow_mut();
        truth.grants.push(AcmeGrant { account: id.clone(), code: None, live: true, gave_refresh_token: false });
        let grant = truth.grants.len() - 1;
        (200, self.issue_tokens(&mut truth, grant, false, None))
    }

    /// Every assertion is accepted. The test checks its content.
    fn issue_for_assertion(&self) -> (u16, Value) {
        let mut truth = self.state.borrow_mut();
        truth.grants.push(AcmeGrant { account: "robot".into(), code: None, live: true, gave_refresh_token: false });
        let grant = truth.grants.len() - 1;
        (200, self.issue_tokens(&mut truth, grant, false, None))
    }

    fn issue_tokens(
        &self,
        truth: &mut AcmeState,
        grant: usize,
        with_refresh_token: bool,
        scope: Option<&str>,
    ) -> Value {
        let now = self.runtime.now();
        let access_token = truth.make_secret("at");
        let end = self.expires_in.get().map(|seconds| now + seconds);
        truth.access_tokens.insert(access_token.clone(), AcmeAccessToken { grant, expires_at: end, live: true });
        let mut answer = json!({ "access_token": access_token, "token_type": "bearer" });
        if let Some(seconds) = self.expires_in.get() {
            answer["expires_in"] = seconds.into();
        }
        if let Some(scope) = scope {
            answer["scope"] = scope.into();
        }
        if with_refresh_token {
            let token = truth.make_secret("rt");
            truth.refresh_tokens.insert(token.clone(), AcmeRefreshToken { grant, used_at: None, answer: Value::Null });
            answer["refresh_token"] = token.into();
        }
        answer
    }

    fn handle_refresh(&self, form: &BTreeMap<String, String>, sent: usize) -> (u16, Value) {
        let mut truth = self.state.borrow_mut();
        let now = self.runtime.now();
        let token = form.get("refresh_token").cloned().unwrap_or_default();
        let known = truth.refresh_tokens.get(&token).cloned();
        let live = known.as_ref().is_some_and(|known| truth.grants[known.grant].live);
        let (end, answer) = match known {
            Some(known) if live => self.redeem_refresh_token(&mut truth, &token, &known, now),
            _ => (RedeemOutcome::Refused, None),
        };
        truth.received_refreshes.push(ReceivedRefresh {
            token: token.clone(),
            received_at: now,
            outcome: end,
            sent_index: sent,
        });
        self.recorder
            .add_line(self.runtime.now_ms(), || format!("the app sees redemption {sent}, of {token}: {end:?}"));
        answer.map_or_else(|| (400, json!({ "error": "invalid_grant" })), |answer| (200, answer))
    }

    fn redeem_refresh_token(
        &self,
        truth: &mut AcmeState,
        token: &str,
        known: &AcmeRefreshToken,
        now: i64,
    ) -> (RedeemOutcome, Option<Value>) {
        match (self.rotation.get(), known.used_at) {
            (RotationPolicy::Never, _) => {
                (RedeemOutcome::Granted, Some(self.issue_tokens(truth, known.grant, false, None)))
            }
            (RotationPolicy::Grace(seconds), Some(at)) if now <= at + seconds => {
                (RedeemOutcome::Replayed, Some(known.answer.clone()))
            }
            (RotationPolicy::Strict, Some(_)) => {
                truth.grants[known.grant].live = false;
                (RedeemOutcome::GrantRevoked, None)
            }
            (RotationPolicy::Reject | RotationPolicy::Grace(_), Some(_)) => (RedeemOutcome::Refused, None),
            (RotationPolicy::Reissue, _) | (_, None) => {
                let answer = self.issue_tokens(truth, known.grant, true, None);
                let used = AcmeRefreshToken { grant: known.grant, used_at: Some(now), answer: answer.clone() };
                truth.refresh_tokens.insert(token.to_owned(), used);
                (RedeemOutcome::Granted, Some(answer))
            }
        }
    }

    fn revoke_by_token(&self, form: &BTreeMap<String, String>) -> (u16, Value) {
        let mut truth = self.state.borrow_mut();
        let token = form.get("token").cloned().unwrap_or_default();
        truth.revoked_tokens.push(token.clone());
        let grant = truth.refresh_tokens.get(&token).map(|token| token.grant);
        let grant = grant.or_else(|| truth.access_tokens.get(&token).map(|token| token.grant));
        if let Some(grant) = grant {
            // A consent belongs to an account and a client, so all grants of both end.
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

    /// Ends the grant of the access token in the request. An expired token cannot do this.
    fn revoke_by_bearer(&self, access_token: &str) -> (u16, Value) {
        let mut truth = self.state.borrow_mut();
        if truth.account_of_live_token(access_token, self.runtime.now()).is_none() {
            return (401, json!({ "error": "expired_access_token" }));
        }
        truth.revoked_tokens.push(access_token.to_owned());
        let grant = truth.access_tokens[access_token].grant;
        truth.grants[grant].live = false;
        (200, Value::Null)
    }

    fn answer_identity(&self, request: &OutboundRequest) -> (u16, Value) {
        let token = bearer_token(request).unwrap_or_default();
        let truth = self.state.borrow();
        let keys = self.api_keys.borrow();
        keys.get(token).map(String::as_str).or(truth.account_of_live_token(token, self.runtime.now())).map_or_else(
            || (401, json!({ "error": "invalid_token" })),
            |account| (200, json!({ "sub": format!("id-{account}"), "email": format!("{account}@acme.example") })),
        )
    }
}

impl AcmeState {
    fn make_secret(&mut self, kind: &str) -> String {
        self.secrets_made += 1;
        format!("{CANARY}-{kind}-{}", self.secrets_made)
    }

    fn take_reply(&mut self, path: &str) -> Option<Reply> {
        self.requests.push(path.to_owned());
        self.scripted_once
            .get_mut(path)
            .and_then(VecDeque::pop_front)
            .or_else(|| self.scripted_always.get(path).cloned())
    }

    fn account_of_live_token(&self, access_token: &str, now: i64) -> Option<&str> {
        let token = self.access_tokens.get(access_token).filter(|token| token.live)?;
        let grant = self.grants.get(token.grant).filter(|grant| grant.live)?;
        token.expires_at.is_none_or(|end| now < end).then_some(grant.account.as_str())
    }
}

pub(crate) fn bearer_token(request: &OutboundRequest) -> Option<&str> {
    let header = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.as_str());
    header.and_then(|value| value.strip_prefix("Bearer "))
}

pub(crate) fn text_response(status: u16, body: &str, mut headers: Vec<(String, String)>) -> AppResponse {
    if !headers.iter().any(|(name, _)| name == "content-type") {
        let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
        headers.push(("content-type".into(), kind.into()));
    }
    AppResponse { status, headers, body: body.as_bytes().to_vec() }
}

fn discovery_document() -> Value {
    json!({
        "issuer": "https://acme.example",
        "authorization_endpoint": "https://acme.example/authorize",
        "token_endpoint": "https://acme.example/token",
        "revocation_endpoint": "https://acme.example/revoke",
        "userinfo_endpoint": "https://acme.example/me",
        "authorization_response_iss_parameter_supported": true,
    })
}

/// The app as an outbound HTTP port of an invocation.
#[derive(Clone)]
pub(crate) struct HttpPort {
    pub(crate) acme: Rc<Acme>,
    pub(crate) budget: Rc<SubrequestBudget>,
    pub(crate) recorder: Rc<InvocationRecorder>,
    pub(crate) runtime: Runtime,
}

impl Http for HttpPort {
    type Body = TestBody;

    async fn pass(
        &self,
        request: PermittedRequest,
        body: Option<&PassingBody<TestBody>>,
    ) -> Result<PassingResponse<TestBody>, HttpError> {
        if !self.budget.spend() {
            return Err(HttpError::Network);
        }
        let passed = self.acme.passed.record(&request, body)?;
        self.runtime.sleep(self.acme.latency_ms.get()).await;
        if let Some(responder) = self.acme.passed.responder.borrow().as_ref() {
            return responder(&passed);
        }
        let is_accepted = bearer_token(&request).is_some_and(|token| self.acme.accepts_access_token(token));
        let (status, text) = if is_accepted { (200, r#"{"ok":true}"#) } else { (401, r#"{"error":"invalid_token"}"#) };
        Ok(passing::answer(status, &[("content-type", "application/json")], text.as_bytes()))
    }

    async fn keep(&self, body: PassingBody<TestBody>) -> Result<PassingBody<TestBody>, HttpError> {
        self.runtime.yield_now().await;
        Ok(passing::keep(body))
    }

    fn discard(&self, _: PassingBody<TestBody>) {
        self.acme.passed.discarded.set(self.acme.passed.discarded.get() + 1);
    }

    async fn send(&self, request: PermittedRequest) -> Result<AppResponse, HttpError> {
        if !self.budget.spend() {
            return Err(HttpError::Network);
        }
        let timeout = i64::from(request.timeout_ms);
        let waiting = presented_refresh_token(&request).map(|token| self.recorder.note_sent(&token));
        let sent = waiting.as_ref().map_or(usize::MAX, super::recorder::AwaitedResponse::index);
        // The app continues on its own, also if nobody waits any more.
        let served = self.runtime.spawn(Rc::clone(&self.acme).serve(request, sent));
        let ended = std::pin::pin!(self.runtime.sleep(timeout));
        let answer = match select(served, ended).await {
            Either::Left((answer, _)) => answer,
            Either::Right(((), _)) => Err(HttpError::Timeout),
        };
        if let Some(waiting) = waiting {
            let told = answer.as_ref().map_or_else(|error| format!("{error:?}"), |answer| answer.status.to_string());
            self.recorder.add_line(|| format!("redemption {sent} is answered: {told}"));
            waiting.note_response(answer.as_ref().is_ok_and(brings_tokens));
        }
        answer
    }
}

/// The path of a request, without the name of the app's one realm.
fn path_without_realm(request: &OutboundRequest) -> &str {
    let path = request.url.url().path();
    path.strip_prefix(REALM).filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// The refresh token in a request, if any.
fn presented_refresh_token(request: &OutboundRequest) -> Option<String> {
    let body = request.body.as_deref().filter(|_| path_without_realm(request) == "/token")?;
    url::form_urlencoded::parse(body.as_bytes())
        .find(|(name, _)| name == "refresh_token")
        .map(|(_, value)| value.into())
}

fn brings_tokens(answer: &AppResponse) -> bool {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let usable = body["access_token"].as_str().is_some_and(|token| !token.contains(' '));
    answer.status == 200 && (usable || body["refresh_token"].is_string())
}
