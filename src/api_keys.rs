//! API keys of a workspace: a program authenticates by one; keys are created, listed, rotated and revoked.
//!
//! Owns that a key creates only keys that may do no more than itself, and that a copy of a key in the cache goes when the
//! key is rotated or revoked. Refuses to answer a secret twice: it is known when it is made, and only its hash is stored.

use crate::app::AppId;
use crate::audit::EventType;
use crate::authorize::{Caller, unauthorized};
use crate::cache::{CacheRemoval, CacheRemovalStatus};
use crate::caller::{ApiKey, KeyScope, PresentedKey, PreviousSecret, new_key, new_secret};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{ApiKeyId, ConnectionId};
use crate::names::{MAX_NAME_LENGTH, parse_name};
use crate::ports::{Database, Ports, Statement};
use crate::quotas::{self, Quota};
use crate::secret::Secret;
use crate::store::Page;
use crate::store::events::{AuditedDatabase, ChangedBy, EventSubject};
use crate::store::keys::{self, EndedWithKey, RevokedKey};
use crate::time::Timestamp;

/// Entries of an allow-list.
const MAX_ALLOW_LIST_ENTRIES: usize = 1000;
/// Seconds that the secret before a rotation is accepted, unless told otherwise: a day.
const DEFAULT_OVERLAP: i64 = 86_400;
/// Most seconds for which it may be accepted: a week.
const MAX_OVERLAP: i64 = 7 * 86_400;

/// The key that a program sends, if it is in force.
///
/// # Errors
/// `unauthorized` where there is no such key, or its secret is another one.
pub async fn authenticate_key<P: Ports>(context: &Context<P>, presented: &PresentedKey) -> Result<ApiKey> {
    let key = keys::get(context.db(), &presented.id).await?;
    key.filter(|key| presented.matches(key, context.now())).ok_or_else(unauthorized)
}

/// A key that is to be created.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<KeyScope>,
    /// The only connections it may see; none: all.
    pub connections: Option<Vec<ConnectionId>>,
    /// The only apps it may see; none: all.
    pub apps: Option<Vec<AppId>>,
    /// The only environment whose connections it may see; none: all.
    pub environment: Option<Environment>,
    /// When it ends; none: never.
    pub expires_at: Option<Timestamp>,
}

/// Creates a key with the authority of another one, or of an admin; answers it and its text.
///
/// # Errors
/// What was asked for is no key, or more than its creator may do; the workspace has as many keys as it may have; the
/// creator was revoked at the same moment.
pub async fn create_key<P: Ports>(
    context: &Context<P>,
    creator: &Caller<'_>,
    new: NewApiKey,
) -> Result<(ApiKey, Secret)> {
    let now = context.now();
    validate_new_key(&new, creator, now)?;
    let (id, text, hash) = new_key(context.ports.random(), creator.workspace().shard())?;
    let key = ApiKey {
        id,
        workspace: creator.workspace().clone(),
        name: parse_name("name", &new.name, MAX_NAME_LENGTH)?,
        hash,
        scopes: new.scopes,
        connections: new.connections,
        apps: new.apps,
        environment: new.environment,
        expires_at: new.expires_at,
        created_at: Some(now),
        made_by: creator.creator_key().map(|maker| maker.key),
        previous: None,
    };
    let (workspace, quota) = (&key.workspace, [Quota::Keys]);
    let event = key_event(context, &key, EventType::KeyCreated, creator, Some(&describe_key(&key)))?;
    let db = AuditedDatabase::new(quotas::guard_database(context, workspace, &quota), event, ChangedBy::First);
    let added = keys::add(&db, &key).await;
    if !quotas::map_insert_error(context, workspace, &quota, added).await? {
        return Err(unauthorized());
    }
    Ok((key, text))
}

/// The event of a key that somebody makes, rotates or revokes.
fn key_event<P: Ports>(
    context: &Context<P>,
    key: &ApiKey,
    event: EventType,
    by: &Caller<'_>,
    detail: Option<&str>,
) -> Result<Statement> {
    let subject = EventSubject { target: Some(key.id.as_str()), ..EventSubject::default() };
    context.event_statement_about(&key.workspace, event, &by.actor(), subject, detail)
}

/// A key's name and scopes. Lists may be long, so only their lengths are told.
fn describe_key(key: &ApiKey) -> String {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let name = format!("{} ({})", key.name, scopes.join(" "));
    let connections = key.connections.as_ref().map(|list| format!("{} connections", list.len()));
    let apps = key.apps.as_ref().map(|list| format!("{} apps", list.len()));
    [Some(name), connections, apps].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn validate_new_key(new: &NewApiKey, creator: &Caller<'_>, now: Timestamp) -> Result<()> {
    if new.scopes.is_empty() {
        return Err(Error::invalid_field("scopes", "must name at least one scope, or [\"*\"]."));
    }
    let too_long = new.connections.as_ref().is_some_and(|list| list.len() > MAX_ALLOW_LIST_ENTRIES)
        || new.apps.as_ref().is_some_and(|list| list.len() > MAX_ALLOW_LIST_ENTRIES);
    if too_long {
        return Err(Error::invalid_field("connections", "and apps may have at most 1000 entries each."));
    }
    if new.expires_at.is_some_and(|end| end <= now) {
        return Err(Error::invalid_field("expires_at", "must be in the future."));
    }
    if let Caller::Key(creator) = creator
        && (!creator.covers(&new.scopes, new.connections.as_deref(), new.apps.as_deref(), new.expires_at)
            || !creator.covers_environment(new.environment))
    {
        return Err(Error::new(
            ErrorCode::InsufficientKeyScope,
            "A key can't make another that may do more or lives longer than itself: narrow scopes, connections, apps, environment and expires_at to its own.",
        ));
    }
    Ok(())
}

/// The keys that a caller may know, by id; of one creator, if one is named.
pub async fn list_keys<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    created_by: Option<&ApiKeyId>,
    after: Option<&ApiKeyId>,
    limit: i64,
) -> Result<Page<ApiKey>> {
    let after = after.map(ApiKeyId::as_str).unwrap_or_default();
    let mut page = keys::list(context.db(), caller.workspace(), created_by, after, limit).await?;
    page.data.retain(|key| caller.covers_key(key));
    Ok(page)
}

/// What would end with a key, if it were revoked now with all that it made.
pub async fn count_made_items<P: Ports>(context: &Context<P>, key: &ApiKey) -> Result<EndedWithKey> {
    Ok(keys::count_made_items(context.db(), &key.workspace, &key.id, context.now()).await?)
}

/// Revokes a key, and ends what it made if `end_created_items` says so. Answers what ended, and what became of the key's copy
/// in the cache.
///
/// # Errors
/// `not_found` where it was revoked before.
pub async fn revoke_key<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    key: &ApiKey,
    end_created_items: bool,
) -> Result<(RevokedKey, CacheRemovalStatus)> {
    let id = &key.id;
    let event = key_event(context, key, EventType::KeyRevoked, caller, Some(&key.name))?;
    let removal = CacheRemoval::of_key(context, id)?;
    let note = removal.insert_if_changed_statement();
    let revoked = keys::revoke(
        &context.audited_db(event, ChangedBy::First),
        &key.workspace,
        id,
        end_created_items,
        note,
        context.now(),
    )
    .await?;
    let revoked = revoked.ok_or_else(|| Error::not_found("key"))?;
    let cache_entries = removal.attempt(context).await;
    let erase = [keys::erase(id)].into_iter().chain(removal.delete_statement(cache_entries));
    context.db().batch(erase.collect()).await?;
    Ok((revoked, cache_entries))
}

/// Whoever found an old secret must not lock out who has the new one: a key that rotates itself sends its newest secret.
///
/// # Errors
/// `conflict` where it sends the secret before.
pub fn require_newest_secret(caller: &ApiKey, presented: &PresentedKey, key: &ApiKey) -> Result<()> {
    if caller.id == key.id && !presented.matches_newest_secret(key) {
        let problem = "This secret was replaced by a rotation. Rotate the key with its newest secret.";
        return Err(Error::new(ErrorCode::Conflict, problem));
    }
    Ok(())
}

/// A key with its new secret.
#[derive(Debug)]
pub struct RotatedKey {
    /// The key as it is now.
    pub key: ApiKey,
    /// Its text.
    pub text: Secret,
    /// What became of its copy in the cache.
    pub cache_entries: CacheRemovalStatus,
}

/// Gives a key a new secret. The one before is accepted for `overlap` more seconds. Nothing that the key made ends.
///
/// # Errors
/// The overlap is too long, or the key was changed at the same moment.
pub async fn rotate_key<P: Ports>(
    context: &Context<P>,
    caller: &Caller<'_>,
    key: &ApiKey,
    overlap: Option<i64>,
) -> Result<RotatedKey> {
    let overlap = overlap.unwrap_or(DEFAULT_OVERLAP);
    if !(0..=MAX_OVERLAP).contains(&overlap) {
        let problem = "must be a number of seconds from 0 (the old secret ends at once) to 604800 (a week).";
        return Err(Error::invalid_field("overlap_seconds", problem));
    }
    let now = context.now();
    let (text, hash) = new_secret(context.ports.random(), &key.id)?;
    // Until the cache entry is deleted, a resolve that reads it knows only the old secret.
    let removal = CacheRemoval::of_key(context, &key.id)?;
    let note = removal.insert_if_changed_statement();
    let event = key_event(context, key, EventType::KeyRotated, caller, Some(&key.name))?;
    if !keys::rotate(&context.audited_db(event, ChangedBy::First), key, &hash, now.plus(overlap), note, now).await? {
        return Err(Error::new(
            ErrorCode::Conflict,
            "This key was rotated or revoked at the same moment. List the keys, and try again.",
        ));
    }
    let cache_entries = removal.perform(context).await;
    let previous = PreviousSecret { hash: key.hash.clone(), until: now.plus(overlap) };
    Ok(RotatedKey { key: ApiKey { hash, previous: Some(previous), ..key.clone() }, text, cache_entries })
}
