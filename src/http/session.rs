//! A browser's sessions: cookies, and the proof that a form is our own.
//!
//! Owns two cookies: a signed-in person's, and one for whoever uses a link, which opens nothing else.
//! A state-changing request must come from our own origin (`Sec-Fetch-Site`, else `Origin`) and, with
//! a session, carry the token its page was given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Method, Request, input};
use crate::caller::{hash, same};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{LinkId, WorkspaceId, random_text};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::sessions::{self, Kind, Session};
use crate::workspace::User;

/// Seconds a signed-in person stays signed in: twelve hours.
const PERSON_LIFE: i64 = 12 * 3600;
/// Seconds a link's session lives: long enough for a flow and its choice.
const LINK_LIFE: i64 = 3600;

const PERSON_COOKIE: &str = "cx_session";
const LINK_COOKIE: &str = "cx_link";

/// Nobody is signed in.
pub(super) fn needed() -> Error {
    Error::new(Code::Unauthorized, "You are not signed in. Ask whoever runs this workspace for a sign-in link.")
}

/// `__Host-` binds a cookie to this very host over TLS; without TLS (development) browsers refuse it.
fn cookie_name<P: Ports>(core: &Core<P>, base: &str) -> String {
    if core.config.public_url.is_secure() { format!("__Host-{base}") } else { base.to_owned() }
}

fn cookie<P: Ports>(core: &Core<P>, request: &Request, base: &str) -> Option<Secret> {
    let name = cookie_name(core, base);
    let pairs = request.header("cookie")?.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| Secret::new(value))
}

/// SameSite=Lax: the way back from an app is a top-level GET from another site and must carry it.
fn set_cookie<P: Ports>(core: &Core<P>, base: &str, value: &str, seconds: i64) -> String {
    let secure = if core.config.public_url.is_secure() { "; Secure" } else { "" };
    format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", cookie_name(core, base))
}

/// The signed-in person's session.
pub(super) async fn person<P: Ports>(core: &Core<P>, request: &Request) -> Result<Option<Session>> {
    let session = of_cookie(core, request, PERSON_COOKIE).await?;
    Ok(session.filter(|session| matches!(session.kind, Kind::Person(_))))
}

/// The session of whoever uses a link.
pub(super) async fn link<P: Ports>(core: &Core<P>, request: &Request) -> Result<Option<Session>> {
    let session = of_cookie(core, request, LINK_COOKIE).await?;
    Ok(session.filter(|session| matches!(session.kind, Kind::Link(_))))
}

async fn of_cookie<P: Ports>(core: &Core<P>, request: &Request, base: &str) -> Result<Option<Session>> {
    match cookie(core, request, base) {
        None => Ok(None),
        Some(value) => Ok(sessions::get(core.db(), &hash(value.expose()), core.now()).await?),
    }
}

/// The person of a session.
pub(super) fn user_of(session: &Session) -> Result<&User> {
    match &session.kind {
        Kind::Person(user) => Ok(user),
        Kind::Link(_) => Err(needed()),
    }
}

/// Signs a person in; answers the cookie.
pub(super) async fn open_person<P: Ports>(core: &Core<P>, workspace: &WorkspaceId, user: User) -> Result<String> {
    open(core, workspace, Kind::Person(user), PERSON_COOKIE, PERSON_LIFE).await.map(|(_, cookie)| cookie)
}

/// Opens a session for a link; answers it and the cookie.
pub(super) async fn open_link<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    id: &LinkId,
) -> Result<(Session, String)> {
    open(core, workspace, Kind::Link(id.clone()), LINK_COOKIE, LINK_LIFE).await
}

async fn open<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    kind: Kind,
    base: &str,
    life: i64,
) -> Result<(Session, String)> {
    let value = Secret::new(random_text::<32>(core.ports.random())?);
    let now = core.now();
    let session = Session {
        hash: hash(value.expose()),
        workspace: workspace.clone(),
        kind,
        created_at: now,
        expires_at: now.plus(life),
    };
    sessions::insert(core.db(), &session).await?;
    Ok((session, set_cookie(core, base, value.expose(), life)))
}

/// Signs out; answers the cookie that takes the old one away.
pub(super) async fn close<P: Ports>(core: &Core<P>, session: &Session) -> Result<String> {
    sessions::delete(core.db(), &session.hash).await?;
    Ok(set_cookie(core, PERSON_COOKIE, "", 0))
}

/// The hashes of this browser's cookies, for flows bound to them. Whether the sessions still live is
/// asked apart: a flow's own row ends it.
pub(super) async fn hashes<P: Ports>(core: &Core<P>, request: &Request) -> Result<Vec<String>> {
    let found = [person(core, request).await?, link(core, request).await?];
    Ok(found.into_iter().flatten().map(|session| session.hash).collect())
}

/// The token that a session's own forms carry: made of the cookie, so that nobody else can make it.
pub(super) fn form_token<P: Ports>(core: &Core<P>, request: &Request) -> Option<String> {
    let value = cookie(core, request, PERSON_COOKIE)?;
    let mut hash = Sha256::new();
    hash.update(b"connections form token");
    hash.update(value.expose().as_bytes());
    Some(URL_SAFE_NO_PAD.encode(hash.finalize()))
}

/// A state-changing request with a session must come from a form of that session.
pub(super) fn require_own_form<P: Ports>(core: &Core<P>, request: &Request) -> Result<()> {
    require_same_origin(core, request)?;
    if request.method == Method::Get {
        return Ok(());
    }
    match (form_token(core, request), input::form(request, "csrf")) {
        (Some(expected), Some(sent)) if same(&expected, &sent) => Ok(()),
        _ => Err(rejected("The page this form was on is too old. Go back, reload it, and try again.")),
    }
}

/// A state-changing request must come from our own pages.
pub(super) fn require_same_origin<P: Ports>(core: &Core<P>, request: &Request) -> Result<()> {
    if request.method == Method::Get {
        return Ok(());
    }
    let ours = match (request.header("sec-fetch-site"), request.header("origin")) {
        (Some(site), _) => site == "same-origin",
        (None, Some(origin)) => origin == core.config.public_url.origin(),
        (None, None) => false,
    };
    if ours { Ok(()) } else { Err(rejected("This form was sent from another site, so nothing was done.")) }
}

fn rejected(detail: &str) -> Error {
    Error::new(Code::FormRejected, detail)
}
