//! Signing in at the identity provider of a workspace: authorization code flow with PKCE (`OpenID` Connect Core 3.1, RFC 9700).
//!
//! Owns the set-up of a provider, and every check between the button and the session. What is pending is kept by the
//! browser alone, sealed: a stranger who begins a sign-in writes nothing here. A sign-in works once, in the browser that
//! began it, and never takes the place of a session that was not there when it began. Refuses to link people by their
//! e-mail address: a person is the issuer and the issuer's id of them.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::app::{self, ClientAuth, OutboundMethod};
use crate::audit::{Actor, EventType};
use crate::caller::{constant_time_eq, hash_secret};
use crate::config::is_domain;
use crate::context::Context;
use crate::destinations::{Destinations, RequestSecret, SecretKind};
use crate::egress::EgressUrl;
use crate::email_address::EmailAddress;
use crate::error::{Error, FieldError, Result};
use crate::frozen;
use crate::id_token::{Expected, SignedToken, VerifiedIdentity};
use crate::identity_provider::{IdentityProvider, ProviderClientAuth};
use crate::ids::{ClientId, WorkspaceId, random_state, random_text};
use crate::json::tolerant;
use crate::ports::{AppResponse, Database, DatabaseError, OutboundRequest, Ports};
use crate::public_keys;
use crate::secret::Secret;
use crate::sessions::{self, OpenedSession, ProviderSignIn};
use crate::store::events::EventSubject;
use crate::store::{identities, people, workspaces};
use crate::time::Timestamp;
use crate::vault::SealContext;
use crate::workspace::{OIDC_ID_PREFIX, Role, User, Workspace, vouched_id};

/// Seconds for which a person may be at the provider.
pub const SIGN_IN_TTL: i64 = 600;
/// Characters of a page's path that is kept: a cookie has room for about 4,000.
const MAX_RETURN_TO_LENGTH: usize = 1024;
/// Characters of `state`.
const STATE_LENGTH: usize = 43;
/// How long the provider is waited for, in milliseconds.
const TIMEOUT_MS: u32 = 15_000;
/// Bytes of a code, at most.
const MAX_CODE_LENGTH: usize = 8192;
/// Entries of a list in the set-up.
const MAX_ENTRIES: usize = 50;
/// Characters of a client id or secret.
const MAX_CLIENT_LENGTH: usize = 4096;
/// Characters of an issuer: it is a part of each person's id.
const MAX_ISSUER_LENGTH: usize = 200;
/// Characters of a group's name.
const MAX_GROUP_LENGTH: usize = 256;

// ---- set-up ----

/// A provider to set up.
#[derive(Debug)]
pub struct NewProvider {
    /// The issuer.
    pub issuer: String,
    /// The client that is registered there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// The domains of verified e-mail addresses that are let in. Empty: any.
    pub allowed_domains: Vec<String>,
    /// The groups whose members are admins. Empty: the issuer says nothing about roles.
    pub admin_groups: Vec<String>,
}

fn provider_not_found() -> Error {
    Error::not_found("identity provider of this workspace")
}

/// The provider of a workspace.
///
/// # Errors
/// `not_found` where there is none.
pub async fn get_provider<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> Result<IdentityProvider> {
    identities::get(context.db(), workspace).await?.ok_or_else(provider_not_found)
}

/// Sets a provider up, in place of the one before. Its addresses are read from it now.
///
/// # Errors
/// `invalid_request` where it can't be used as a provider.
pub async fn put_provider<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    new: NewProvider,
    actor: &Actor,
) -> Result<IdentityProvider> {
    let new = validate_provider(new)?;
    let issuer = EgressUrl::parse(&new.issuer, context.config.egress)
        .map_err(|problem| Error::invalid_field("issuer", format!("{problem}.")))?;
    if issuer.url().query().is_some() {
        return Err(Error::invalid_field("issuer", "must not have a query."));
    }
    let found = discover(context, &issuer).await?;
    let id = provider_id(workspace, &found.issuer);
    let place = SealContext::of(frozen::PROVIDER_SECRET, workspace.as_str(), id.as_str(), 0);
    let sealed_secret = context.config.key_ring.seal(context.ports.random(), &place, &new.client_secret)?;
    let now = context.now();
    let provider = IdentityProvider {
        id: id.clone(),
        workspace: workspace.clone(),
        issuer: found.issuer,
        client_id: new.client_id,
        sealed_secret,
        client_auth: found.client_auth,
        authorize_url: found.authorize_url.as_str().to_owned(),
        token_url: found.token_url.as_str().to_owned(),
        keys_url: found.keys_url.as_str().to_owned(),
        sends_issuer: found.sends_issuer,
        allowed_domains: new.allowed_domains,
        admin_groups: new.admin_groups,
        revision: random_text::<12>(context.ports.random())?,
        created_at: now,
        updated_at: now,
    };
    let event = provider_event(context, workspace, &provider.issuer, actor)?;
    context.db().batch(identities::put(&provider).into_iter().chain([event]).collect()).await?;
    get_provider(context, workspace).await
}

/// Removes the provider. Sessions that were opened through it go on.
///
/// # Errors
/// `not_found` where there is none.
pub async fn delete_provider<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    actor: &Actor,
) -> Result<ClientId> {
    let provider = get_provider(context, workspace).await?;
    let event = provider_event(context, workspace, "none", actor)?;
    context.db().batch(vec![identities::delete(workspace), event]).await?;
    Ok(provider.id)
}

fn provider_event<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    issuer: &str,
    actor: &Actor,
) -> Result<crate::ports::Statement> {
    let detail = format!("identity provider: {issuer}");
    context.event_statement_about(workspace, EventType::WorkspaceChanged, actor, EventSubject::default(), Some(&detail))
}

fn validate_provider(new: NewProvider) -> Result<NewProvider> {
    let mut errors = Vec::new();
    let mut require = |is_right: bool, field: &str, problem: &str| {
        if !is_right {
            errors.push(FieldError { field: field.into(), problem: problem.into() });
        }
    };
    let is_client_text = |text: &str| {
        (1..=MAX_CLIENT_LENGTH).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text
    };
    require(new.issuer.len() <= MAX_ISSUER_LENGTH, "issuer", "may have at most 200 characters.");
    require(is_client_text(&new.client_id), "client_id", "must have 1 to 4096 characters, without spaces around it.");
    require(
        is_client_text(new.client_secret.expose()),
        "client_secret",
        "must have 1 to 4096 characters, without spaces around it.",
    );
    let allowed_domains: Vec<_> = new.allowed_domains.iter().map(|domain| domain.trim().to_ascii_lowercase()).collect();
    require(
        allowed_domains.len() <= MAX_ENTRIES && allowed_domains.iter().all(|domain| is_domain(domain)),
        "allowed_domains",
        "may have at most 50 domains, such as example.com.",
    );
    let is_group = |group: &String| (1..=MAX_GROUP_LENGTH).contains(&group.chars().count());
    require(
        new.admin_groups.len() <= MAX_ENTRIES && new.admin_groups.iter().all(is_group),
        "admin_groups",
        "may have at most 50 names of 1 to 256 characters.",
    );
    if errors.is_empty() { Ok(NewProvider { allowed_domains, ..new }) } else { Err(Error::invalid_fields(errors)) }
}

/// What an issuer says of itself.
struct Discovered {
    issuer: String,
    authorize_url: EgressUrl,
    token_url: EgressUrl,
    keys_url: EgressUrl,
    client_auth: ProviderClientAuth,
    sends_issuer: bool,
}

async fn discover<P: Ports>(context: &Context<P>, issuer: &EgressUrl) -> Result<Discovered> {
    let wrong = |problem: String| Error::invalid_field("issuer", problem);
    let [url, _] = app::discovery_urls(issuer);
    let request = OutboundRequest::new(OutboundMethod::Get, url, vec![], TIMEOUT_MS)
        .with_headers_and_body(vec![("accept".into(), "application/json".into())], None);
    let Ok(AppResponse { status: 200, body, .. }) = context.send(request).await else {
        return Err(wrong(
            "does not answer with its OpenID Connect document (/.well-known/openid-configuration).".into(),
        ));
    };
    let found = app::read_discovery_document(issuer, &body, context.config.egress)
        .map_err(|problem| wrong(format!("can't be used: {problem}.")))?;
    let document = tolerant::parse(&body).unwrap_or_default();
    let keys = document.get("jwks_uri").and_then(Value::as_str).unwrap_or_default();
    let keys_url = EgressUrl::parse(keys, context.config.egress)
        .map_err(|problem| wrong(format!("can't be used: the discovery document's jwks_uri {problem}.")))?;
    let client_auth = match found.client_auth {
        Some(ClientAuth::Basic) => ProviderClientAuth::Basic,
        Some(ClientAuth::Body) => ProviderClientAuth::Body,
        _ => {
            return Err(wrong(
                "can't be used: it offers neither client_secret_basic nor client_secret_post for the client.".into(),
            ));
        }
    };
    Ok(Discovered {
        issuer: found.issuer,
        authorize_url: found.authorize_url,
        token_url: found.token_url,
        keys_url,
        client_auth,
        sends_issuer: found.iss_parameter_supported,
    })
}

/// The id of a provider, which its redirect URI has.
pub fn provider_id(workspace: &WorkspaceId, issuer: &str) -> ClientId {
    ClientId::derive_for_server(workspace, "identity provider", issuer)
}

/// Where the provider sends people back.
pub fn redirect_uri<P: Ports>(context: &Context<P>, id: &ClientId) -> String {
    context.config.public_url.at(&format!("/sign-in/callback/{id}"))
}

/// Where people of a workspace sign in.
pub fn sign_in_url<P: Ports>(context: &Context<P>, workspace: &WorkspaceId) -> String {
    context.config.public_url.at(&format!("/sign-in/{workspace}"))
}

// ---- sign-in ----

/// Why nobody was signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignInFailure {
    /// It was not begun in this browser, took too long, was used, or the provider was changed since.
    NotPending,
    /// Somebody has signed in to this browser since it began.
    OtherSession,
    /// The answer is of another issuer (RFC 9207).
    WrongIssuer,
    /// The provider said no: the person did not consent, or may not.
    Denied,
    /// The provider did not answer as it should.
    ProviderFailed,
    /// What the provider says of the person is not proven.
    NotVerified,
    /// The person's address is of no allowed domain, or not verified.
    DomainNotAllowed,
}

impl SignInFailure {
    /// The code for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotPending => "not_pending",
            Self::OtherSession => "other_session",
            Self::WrongIssuer => "wrong_issuer",
            Self::Denied => "denied",
            Self::ProviderFailed => "provider_failed",
            Self::NotVerified => "not_verified",
            Self::DomainNotAllowed => "domain_not_allowed",
        }
    }
}

/// A sign-in that was not completed, or an error on the way.
#[derive(Debug)]
pub enum SignInError {
    /// Nobody was signed in.
    Refused(SignInFailure),
    /// The step itself failed.
    Internal(Error),
}

impl From<Error> for SignInError {
    fn from(error: Error) -> Self {
        Self::Internal(error)
    }
}

impl From<DatabaseError> for SignInError {
    fn from(error: DatabaseError) -> Self {
        Self::Internal(error.into())
    }
}

fn refused<T>(failure: SignInFailure) -> std::result::Result<T, SignInError> {
    Err(SignInError::Refused(failure))
}

/// What a browser keeps while its person is at the provider. It is sealed.
#[derive(Serialize, Deserialize)]
struct PendingSignIn {
    state: String,
    nonce: String,
    verifier: String,
    return_to: Option<String>,
    /// The hash of the session that the browser had.
    before: Option<String>,
    until: i64,
    /// When the provider was last changed. An earlier version of the program gives it no new revision.
    provider_updated_at: i64,
    #[serde(default)]
    provider_revision: String,
}

/// A sign-in that begins.
#[derive(Debug)]
pub struct BegunSignIn {
    /// Where the browser goes.
    pub authorize_url: EgressUrl,
    /// What it keeps.
    pub pending: Secret,
}

/// The workspace that signs in here, with its provider.
///
/// # Errors
/// `not_found` where it has none, and also where there is no such workspace.
pub async fn load_sign_in<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
) -> Result<(Workspace, IdentityProvider)> {
    let provider = get_provider(context, workspace).await?;
    let workspace = workspaces::get(context.db(), workspace).await?.ok_or_else(provider_not_found)?;
    Ok((workspace, provider))
}

/// The only workspace whose people sign in at a provider; and whether there is any.
pub async fn find_only_sign_in<P: Ports>(context: &Context<P>) -> Result<(Option<WorkspaceId>, bool)> {
    let (only, has_any) = identities::get_only(context.db()).await?;
    Ok((only.map(|one| one.workspace), has_any))
}

/// Begins a sign-in. `before` is the hash of the browser's session, if it has one.
pub fn begin<P: Ports>(
    context: &Context<P>,
    provider: &IdentityProvider,
    return_to: Option<String>,
    before: Option<String>,
) -> Result<BegunSignIn> {
    let random = context.ports.random();
    let pending = PendingSignIn {
        state: random_state(random, provider.workspace.shard(), STATE_LENGTH)?,
        nonce: random_text::<32>(random)?,
        verifier: random_text::<32>(random)?,
        return_to: return_to.filter(|path| path.len() <= MAX_RETURN_TO_LENGTH),
        before,
        until: context.now().plus(SIGN_IN_TTL).unix(),
        provider_updated_at: provider.updated_at.unix(),
        provider_revision: provider.revision.clone(),
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(pending.verifier.as_bytes()));
    let authorize_url = parse_stored(context, &provider.authorize_url)?.with_query(&[
        ("response_type", "code"),
        ("client_id", &provider.client_id),
        ("redirect_uri", &redirect_uri(context, &provider.id)),
        ("scope", "openid profile email"),
        ("state", &pending.state),
        ("nonce", &pending.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ]);
    let text = serde_json::to_string(&pending).map_err(|_| Error::internal("a pending sign-in is no JSON"))?;
    let sealed = context.config.key_ring.seal(random, &pending_place(provider), &Secret::new(text))?;
    Ok(BegunSignIn { authorize_url, pending: Secret::new(sealed) })
}

fn pending_place(provider: &IdentityProvider) -> SealContext<'_> {
    SealContext::of(frozen::PENDING_SIGN_IN, provider.workspace.as_str(), provider.id.as_str(), 0)
}

/// It was accepted when it was stored; the operator may have changed what is permitted.
fn parse_stored<P: Ports>(context: &Context<P>, url: &str) -> Result<EgressUrl> {
    EgressUrl::parse(url, context.config.egress).map_err(|_| Error::internal("a stored address is not permitted"))
}

/// What the provider sent back.
#[derive(Default)]
pub struct SignInResponse {
    /// `state`
    pub state: Option<String>,
    /// `code`
    pub code: Option<Secret>,
    /// `error`
    pub error: Option<String>,
    /// `iss` (RFC 9207)
    pub iss: Option<String>,
}

/// Someone who was signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// Their session.
    pub opened: OpenedSession,
    /// The page that they asked for.
    pub return_to: Option<String>,
}

/// Completes a sign-in. `pending` is what the browser has kept, `before` the hash of the session that it has now.
///
/// # Errors
/// Nobody was signed in.
pub async fn finish<P: Ports>(
    context: &Context<P>,
    id: &ClientId,
    response: SignInResponse,
    pending: Option<&Secret>,
    before: Option<&str>,
) -> std::result::Result<SignedIn, SignInError> {
    let Some(provider) = identities::get_by_id(context.db(), id).await? else {
        return refused(SignInFailure::NotPending);
    };
    let result = finish_at(context, &provider, response, pending, before).await;
    if let Err(SignInError::Refused(failure)) = &result {
        let fields = json!({ "workspace": provider.workspace.as_str(), "reason": failure.as_str() });
        context.log("warn", "sign_in_refused", &fields);
    }
    result
}

async fn finish_at<P: Ports>(
    context: &Context<P>,
    provider: &IdentityProvider,
    response: SignInResponse,
    kept: Option<&Secret>,
    before: Option<&str>,
) -> std::result::Result<SignedIn, SignInError> {
    let now = context.now();
    let state = response.state.as_deref().unwrap_or_default();
    let pending = kept.and_then(|sealed| open_pending(context, provider, sealed));
    let Some(pending) = pending.filter(|pending| {
        now.unix() < pending.until
            && constant_time_eq(&pending.state, state)
            && pending.provider_updated_at == provider.updated_at.unix()
            && pending.provider_revision == provider.revision
    }) else {
        return refused(SignInFailure::NotPending);
    };
    match response.iss.as_deref() {
        Some(issuer) if issuer != provider.issuer => return refused(SignInFailure::WrongIssuer),
        None if provider.sends_issuer => return refused(SignInFailure::WrongIssuer),
        _ => {}
    }
    if pending.before.as_deref() != before {
        return refused(SignInFailure::OtherSession);
    }
    if response.error.is_some() {
        return refused(SignInFailure::Denied);
    }
    let Some(code) = response.code.filter(|code| (1..=MAX_CODE_LENGTH).contains(&code.expose().len())) else {
        return refused(SignInFailure::ProviderFailed);
    };
    let token = redeem(context, provider, &code, &pending.verifier).await?;
    let identity = verify(context, provider, token.expose(), &pending.nonce).await?;
    if !is_domain_allowed(&provider.allowed_domains, &identity) {
        return refused(SignInFailure::DomainNotAllowed);
    }
    // One that the provider has not verified may be anybody's.
    let address = identity.email.as_deref().filter(|_| identity.is_email_verified).and_then(EmailAddress::parse);
    let user = User { id: vouched_id(OIDC_ID_PREFIX, &provider.issuer, &identity.subject), name: identity.name };
    let role = decide_role(context, &provider.workspace, &user, &provider.admin_groups, &identity.groups).await?;
    let sign_in = ProviderSignIn {
        workspace: &provider.workspace,
        user,
        role,
        decides_role: !provider.admin_groups.is_empty(),
        once: Some((hash_secret(&pending.state), Timestamp::from_unix(pending.until))),
        before,
        address,
    };
    match sessions::sign_in_by_provider(context, sign_in).await? {
        Some(opened) => Ok(SignedIn { opened, return_to: pending.return_to }),
        None => refused(SignInFailure::NotPending),
    }
}

fn open_pending<P: Ports>(context: &Context<P>, provider: &IdentityProvider, sealed: &Secret) -> Option<PendingSignIn> {
    let text = context.config.key_ring.open(&pending_place(provider), sealed.expose()).ok()?;
    serde_json::from_str(text.expose()).ok()
}

/// The role of somebody whom a provider vouches for: by their groups, if the provider decides; else the one they have.
pub(crate) async fn decide_role<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    user: &User,
    admin_groups: &[String],
    groups: &[String],
) -> Result<Role> {
    if !admin_groups.is_empty() {
        let is_admin = groups.iter().any(|group| admin_groups.contains(group));
        return Ok(if is_admin { Role::Admin } else { Role::Member });
    }
    Ok(people::get(context.db(), workspace, &user.id).await?.map_or(Role::Member, |person| person.role))
}

fn is_domain_allowed(allowed: &[String], identity: &VerifiedIdentity) -> bool {
    let domain = identity.email.as_deref().and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain);
    let is_listed = |domain: &str| allowed.iter().any(|one| one.eq_ignore_ascii_case(domain));
    allowed.is_empty() || identity.is_email_verified && domain.is_some_and(is_listed)
}

/// Redeems the code for an ID token.
async fn redeem<P: Ports>(
    context: &Context<P>,
    provider: &IdentityProvider,
    code: &Secret,
    verifier: &str,
) -> std::result::Result<Secret, SignInError> {
    let place = SealContext::of(frozen::PROVIDER_SECRET, provider.workspace.as_str(), provider.id.as_str(), 0);
    let secret = context.config.key_ring.open(&place, &provider.sealed_secret).map_err(|_| {
        Error::misconfigured("The secret of the identity provider can't be read with the present keys.")
    })?;
    let url = parse_stored(context, &provider.token_url)?;
    let destinations = Rc::new(Destinations::for_token_endpoint(&provider.issuer, &url));
    let carried = [SecretKind::ClientProof, SecretKind::AuthorizationCode];
    let carried = carried.map(|kind| RequestSecret::new(kind, &destinations)).into();
    let redirect = redirect_uri(context, &provider.id);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs([
        ("grant_type", "authorization_code"),
        ("code", code.expose()),
        ("redirect_uri", &redirect),
        ("code_verifier", verifier),
    ]);
    let mut headers = vec![
        ("accept".to_owned(), "application/json".to_owned()),
        ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
    ];
    match provider.client_auth {
        ProviderClientAuth::Basic => {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = Secret::new(format!("{}:{}", encode(&provider.client_id), encode(secret.expose())));
            headers.push(("authorization".to_owned(), format!("Basic {}", STANDARD.encode(pair.expose()))));
        }
        ProviderClientAuth::Body => {
            form.extend_pairs([("client_id", provider.client_id.as_str()), ("client_secret", secret.expose())]);
        }
    }
    let request = OutboundRequest::new(OutboundMethod::Post, url, carried, TIMEOUT_MS)
        .with_headers_and_body(headers, Some(form.finish()));
    let Ok(AppResponse { status: 200, body, .. }) = context.send(request).await else {
        return refused(SignInFailure::ProviderFailed);
    };
    let answer = tolerant::parse(&body).unwrap_or_default();
    match answer.get("id_token").and_then(Value::as_str) {
        Some(token) => Ok(Secret::new(token)),
        None => refused(SignInFailure::ProviderFailed),
    }
}

async fn verify<P: Ports>(
    context: &Context<P>,
    provider: &IdentityProvider,
    token: &str,
    nonce: &str,
) -> std::result::Result<VerifiedIdentity, SignInError> {
    let (issuer, audience) = (provider.issuer.as_str(), provider.client_id.as_str());
    let expected = Expected { issuer, audience, nonce: Some(nonce), any_party: false, now: context.now() };
    let verified = async {
        let token = SignedToken::parse(token)?;
        token.check_claims(&expected)?;
        let url = parse_stored(context, &provider.keys_url).map_err(|_| crate::id_token::IdTokenError::UnknownKey)?;
        let keys = public_keys::load(context, &url, |keys| token.find_key(keys).is_some()).await;
        let keys = keys.ok_or(crate::id_token::IdTokenError::UnknownKey)?;
        token.verify(context.ports.signer(), &keys, &expected).await
    };
    match verified.await {
        Ok(identity) => Ok(identity),
        Err(problem) => {
            let fields = json!({ "workspace": provider.workspace.as_str(), "problem": problem.to_string() });
            context.log("warn", "id_token_refused", &fields);
            refused(SignInFailure::NotVerified)
        }
    }
}
