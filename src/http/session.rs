//! A browser's sessions: cookies, and the proof that a form is our own.
//!
//! Owns the cookies: a signed-in person's, and one per link for whoever uses it, which opens nothing else.
//! A state-changing request must come from our own origin (`Sec-Fetch-Site`, else `Origin`) and, with
//! a session, carry the token its page was given.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::page::Shell;
use super::{Request, input};
use crate::caller::{Maker, hash, same};
use crate::connect::settle::CHOICE_TIME;
use crate::connect::start::FLOW_TIME;
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{LinkId, WorkspaceId, random_token};
use crate::ports::Ports;
use crate::secret::Secret;
use crate::store::links::Link;
use crate::store::sessions::{self, Kind, Session, SignIn};
use crate::workspace::{Role, User};

/// Seconds a signed-in person stays signed in: twelve hours.
const PERSON_LIFE: i64 = 12 * 3600;
/// Seconds a link's session outlives its link: long enough for a flow that begins at its very end, and its choice.
const AFTER_LINK: i64 = FLOW_TIME + CHOICE_TIME;
/// Links of one browser whose flows are found.
const MOST_LINKS: usize = 10;

const PERSON_COOKIE: &str = "cx_session";
/// What the name of each link's cookie begins with: links that are open side by side keep theirs.
const LINK_COOKIE: &str = "cx_link_";

/// Nobody is signed in.
pub(super) fn needed() -> Error {
    Error::new(Code::Unauthorized, "You are not signed in. Ask whoever runs this workspace for a sign-in link.")
}

/// `__Host-` binds a cookie to this very host over TLS; without TLS (development) browsers refuse it.
fn cookie_name<P: Ports>(core: &Core<P>, base: &str) -> String {
    if core.config.public_url.is_secure() { format!("__Host-{base}") } else { base.to_owned() }
}

fn link_cookie(id: &LinkId) -> String {
    hash(id.as_str()).chars().take(12).fold(LINK_COOKIE.to_owned(), |mut name, letter| {
        name.push(letter);
        name
    })
}

/// The cookies a browser sent: names and values.
fn cookies(request: &Request) -> impl DoubleEndedIterator<Item = (&str, &str)> {
    request.header("cookie").unwrap_or_default().split(';').filter_map(|pair| pair.trim().split_once('='))
}

fn cookie<P: Ports>(core: &Core<P>, request: &Request, base: &str) -> Option<Secret> {
    let name = cookie_name(core, base);
    cookies(request).find(|(known, _)| *known == name).map(|(_, value)| Secret::new(value))
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

/// The session of whoever uses this link.
pub(super) async fn link<P: Ports>(core: &Core<P>, request: &Request, id: &LinkId) -> Result<Option<Session>> {
    let session = of_cookie(core, request, &link_cookie(id)).await?;
    Ok(session.filter(|session| session.kind == Kind::Link(id.clone())))
}

async fn of_cookie<P: Ports>(core: &Core<P>, request: &Request, base: &str) -> Result<Option<Session>> {
    match cookie(core, request, base) {
        None => Ok(None),
        Some(value) => Ok(sessions::get(core.db(), &hash(value.expose()), core.now()).await?),
    }
}

/// The person of a session.
pub(super) fn user_of(session: &Session) -> Result<&User> {
    session.user().ok_or_else(needed)
}

/// Signs a person in by a link that can be used once; answers the cookie, or none where the link was used or has ended.
/// The session that the browser had before ends.
pub(super) async fn open_person<P: Ports>(
    core: &Core<P>,
    request: &Request,
    sign_in: SignIn,
) -> Result<Option<String>> {
    let new = New {
        workspace: &sign_in.workspace,
        kind: Kind::Person(sign_in.user),
        role: sign_in.role,
        made_by: sign_in.made_by.as_ref(),
    };
    let (session, cookie) = new.session(core, PERSON_COOKIE, PERSON_LIFE)?;
    let before = self::cookie(core, request, PERSON_COOKIE).map(|value| hash(value.expose()));
    let opened = sessions::sign_in(core.db(), &sign_in.hash, &session, before.as_deref(), core.now()).await?;
    Ok(opened.then_some(cookie))
}

/// Opens a session for a link; answers it and the cookie.
pub(super) async fn open_link<P: Ports>(core: &Core<P>, link: &Link) -> Result<(Session, String)> {
    let life = link.expires_at.since(core.now()) + AFTER_LINK;
    let new = New {
        workspace: &link.workspace,
        kind: Kind::Link(link.id.clone()),
        role: Role::Member,
        made_by: link.made_by.as_ref(),
    };
    let (session, cookie) = new.session(core, &link_cookie(&link.id), life)?;
    sessions::insert(core.db(), &session).await?;
    Ok((session, cookie))
}

/// A session that is to be opened.
struct New<'a> {
    workspace: &'a WorkspaceId,
    kind: Kind,
    role: Role,
    made_by: Option<&'a Maker>,
}

impl New<'_> {
    /// The session and its cookie. It ends with the key that made its link, at the latest.
    fn session<P: Ports>(self, core: &Core<P>, base: &str, life: i64) -> Result<(Session, String)> {
        let value = Secret::new(random_token(core.ports.random(), self.workspace.shard())?);
        let now = core.now();
        let expires_at = self.made_by.map_or(now.plus(life), |maker| maker.limit(now.plus(life)));
        let session = Session {
            hash: hash(value.expose()),
            workspace: self.workspace.clone(),
            kind: self.kind,
            role: self.role,
            made_by: self.made_by.map(|maker| maker.key.clone()),
            created_at: now,
            expires_at,
        };
        Ok((session, set_cookie(core, base, value.expose(), expires_at.since(now))))
    }
}

/// Signs out; answers the cookie that takes the old one away.
pub(super) async fn close<P: Ports>(core: &Core<P>, session: &Session) -> Result<String> {
    sessions::delete(core.db(), &session.hash).await?;
    Ok(set_cookie(core, PERSON_COOKIE, "", 0))
}

/// The hashes of this browser's sessions that have not ended, for flows bound to them: the signed-in
/// person's, and those of the links it opened last (browsers send the older cookies first).
pub(super) async fn hashes<P: Ports>(core: &Core<P>, request: &Request) -> Result<Vec<String>> {
    let links = cookie_name(core, LINK_COOKIE);
    let of_links = cookies(request).rev().filter(|(name, _)| name.starts_with(&links)).take(MOST_LINKS);
    let mut sent: Vec<String> = of_links.map(|(_, value)| hash(value)).collect();
    sent.extend(cookie(core, request, PERSON_COOKIE).map(|value| hash(value.expose())));
    if sent.is_empty() {
        return Ok(sent);
    }
    Ok(sessions::living(core.db(), &sent, core.now()).await?)
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
    if request.method.is_safe() {
        return Ok(());
    }
    match (form_token(core, request), input::form(request, "csrf")) {
        (Some(expected), Some(sent)) if same(&expected, &sent) => Ok(()),
        _ => Err(rejected("The page this form was on is too old. Go back, reload it, and try again.")),
    }
}

/// A state-changing request must come from our own pages.
pub(super) fn require_same_origin<P: Ports>(core: &Core<P>, request: &Request) -> Result<()> {
    if request.method.is_safe() {
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

/// What stands around a signed-in person's page.
pub(super) fn shell<'a>(session: Option<&'a Session>, csrf: Option<&'a str>) -> Shell<'a> {
    let signed_in_as = session.and_then(|session| user_of(session).ok()).map(User::shown);
    Shell { signed_in_as, csrf: csrf.filter(|_| signed_in_as.is_some()) }
}
