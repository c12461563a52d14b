//! What the lines of the audit log mention: by ids, which people can't read.
//!
//! Owns where a line has an id, what the id is of, and how it is shown: by its name, with a link to its page.

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::page::{ActivityId, DetailPart, Texts, fill_plain, person_href};
use crate::app::AppId;
use crate::audit::{Actor, EventType};
use crate::catalogue;
use crate::ids::{ApiKeyId, ClientId, ConnectionId, JobId, LinkId, SessionId, SignInLinkId, WebhookId};
use crate::store::events::{AuditEvent, NamedAuditEvent};

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdKind {
    Connection,
    Key,
    Client,
    Link,
    Webhook,
    Person,
}

/// The names of connections.
pub(super) type ConnectionNames = BTreeMap<ConnectionId, String>;

/// What the id is of, if it is one that says so. A person's id is any text.
fn kind_of(id: &str) -> Option<IdKind> {
    let kinds = [
        (ConnectionId::parse(id).is_some(), IdKind::Connection),
        (ApiKeyId::parse(id).is_some(), IdKind::Key),
        (ClientId::parse(id).is_some(), IdKind::Client),
        (LinkId::parse(id).is_some(), IdKind::Link),
        (WebhookId::parse(id).is_some(), IdKind::Webhook),
    ];
    kinds.into_iter().find(|(is_it, _)| *is_it).map(|(_, kind)| kind)
}

/// A piece of a detail: a text, or an id.
type Piece<'a> = (&'a str, Option<IdKind>);

/// Details in pieces. The people in it are found by the type of the line.
fn split_detail<'a>(kind: &str, detail: &'a str) -> Vec<Piece<'a>> {
    let Some((at, id)) = EventType::parse(kind).and_then(|kind| person_in_detail(kind, detail)) else {
        return split_ids(detail);
    };
    let part = |from: usize, to: usize| split_ids(detail.get(from..to).unwrap_or_default());
    let end = at + id.len();
    part(0, at).into_iter().chain([(id, Some(IdKind::Person))]).chain(part(end, detail.len())).collect()
}

/// The id of the person in a detail, and where it begins. A person's id is any text, so it ends where the words begin that
/// follow it.
fn person_in_detail(kind: EventType, detail: &str) -> Option<(usize, &str)> {
    let behind = |words: &str| detail.strip_prefix(words).map(|rest| (words.len(), rest));
    let up_to = |(at, rest): (usize, &'_ str), ends: &[&str]| {
        let end = ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len());
        (at, end)
    };
    let (at, length) = match kind {
        EventType::LinkCreated | EventType::LinkEnded => behind("for ").map(|found| up_to(found, &[]))?,
        EventType::PersonRemoved => behind("connections to ").map(|found| up_to(found, &[]))?,
        EventType::DefaultChanged => behind("user ").map(|found| up_to(found, &[", production", ", test", ": "]))?,
        EventType::SignInLinkCreated | EventType::SignInLinkDeleted => (0, detail.rfind(" as ")?),
        EventType::SignedIn | EventType::SignedOut | EventType::SessionEnded => {
            let (at, rest) = behind("user:")?;
            (at, rest.rfind(" as ")?)
        }
        EventType::Edited => {
            let members = detail.split(", name: ").next().filter(|members| !members.starts_with("name: "))?;
            let at = match members.strip_prefix("owner: ") {
                Some(_) => "owner: ".len(),
                None => members.find(", owner: ")? + ", owner: ".len(),
            };
            up_to((at, members.get(at..)?), &[", shared: ", ", environment: "])
        }
        _ => return None,
    };
    let id = detail.get(at..at + length)?;
    (kind != EventType::Edited || id != "nobody").then_some((at, id))
}

/// What stands before and behind ids that say what they are of, and the ids.
fn split_ids(detail: &str) -> Vec<Piece<'_>> {
    let is_of_id = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let (mut pieces, mut begin, mut at) = (vec![], 0, 0);
    for word in detail.split_inclusive(|letter| !is_of_id(letter)) {
        let id = word.trim_end_matches(|letter| !is_of_id(letter));
        if let Some(kind) = kind_of(id) {
            pieces.extend([(detail.get(begin..at).unwrap_or_default(), None), (id, Some(kind))]);
            begin = at + id.len();
        }
        at += word.len();
    }
    pieces.push((detail.get(begin..).unwrap_or_default(), None));
    pieces
}

/// What the target of a line is. The people are found by the type of the line.
fn kind_of_target(kind: &str, target: &str) -> Option<IdKind> {
    match EventType::parse(kind) {
        Some(EventType::RoleChanged | EventType::PersonRemoved | EventType::EmailPreferenceChanged) => {
            Some(IdKind::Person)
        }
        _ => kind_of(target),
    }
}

/// The connections in the details of lines.
pub(super) fn find_connections(lines: &[NamedAuditEvent]) -> Vec<ConnectionId> {
    let pieces = lines.iter().flat_map(|line| split_ids(line.event.detail.as_deref().unwrap_or_default()));
    let ids: BTreeSet<_> = pieces.filter_map(|(text, _)| ConnectionId::parse(text)).collect();
    ids.into_iter().collect()
}

/// Details, with names and links where they have ids.
pub(super) fn detail_parts(text: &Texts, line: &NamedAuditEvent, connections: &ConnectionNames) -> Vec<DetailPart> {
    let event = &line.event;
    let part = |(piece, kind): Piece<'_>| {
        let name = match kind {
            None => return DetailPart::Text(piece.to_owned()),
            Some(IdKind::Connection) => ConnectionId::parse(piece).and_then(|id| connections.get(&id).cloned()),
            Some(IdKind::Person) => Some(person_name(line).unwrap_or(piece).to_owned()),
            Some(IdKind::Client) => Some(text.activity.a_client.to_owned()),
            Some(IdKind::Key | IdKind::Link | IdKind::Webhook) => None,
        };
        match (name, kind) {
            (Some(name), Some(kind)) => DetailPart::Named(name, href_of(kind, piece, event.app.as_deref())),
            _ => DetailPart::Id(piece.to_owned()),
        }
    };
    let pieces = split_detail(&event.r#type, event.detail.as_deref().unwrap_or_default());
    pieces.into_iter().filter(|(piece, _)| !piece.is_empty()).map(part).collect()
}

/// The name of the person in a detail. Whom a link is for may never have signed in, but the link has the name.
fn person_name(line: &NamedAuditEvent) -> Option<&str> {
    let is_of_link = [EventType::LinkCreated, EventType::LinkEnded].iter().any(|one| one.as_str() == line.event.r#type);
    let of_link = line.target_name.as_deref().filter(|_| is_of_link);
    line.person_name.as_deref().or(of_link)
}

/// The page of what an id is of.
fn href_of(kind: IdKind, id: &str, app: Option<&str>) -> Option<String> {
    match kind {
        IdKind::Connection => Some(format!("/connections/{id}")),
        IdKind::Key => Some(format!("/settings/keys/{id}")),
        IdKind::Client => app.and_then(AppId::parse).map(|app| format!("/settings/apps/{app}")),
        IdKind::Link => Some("/settings/links".to_owned()),
        IdKind::Webhook => Some(format!("/settings/webhooks/{id}")),
        IdKind::Person => Some(person_href(id)),
    }
}

/// A text, and where what it names is shown.
pub(super) type Linked = (String, Option<String>);

/// The name of what a line is about. None where only its app says something.
pub(super) fn subject(text: &Texts, line: &NamedAuditEvent) -> Option<Linked> {
    let (words, event) = (&text.activity, &line.event);
    if let Some(id) = &event.connection {
        let name = event.connection_name.as_ref().or(line.connection_name.as_ref());
        let name = name.cloned().unwrap_or_else(|| words.a_connection.to_owned());
        return Some((name, href_of(IdKind::Connection, id.as_str(), None)));
    }
    let target = event.target.as_deref()?;
    let Some(kind) = kind_of_target(&event.r#type, target) else { return unnamed_subject(text, target) };
    let shown = match (kind, line.target_name.as_deref()) {
        (IdKind::Client, Some(name)) => fill_plain(words.client_named, &[("name", name)]),
        (IdKind::Link, Some(name)) => fill_plain(words.link_for, &[("person", name)]),
        (_, Some(name)) => name.to_owned(),
        (IdKind::Connection, None) => words.a_connection.to_owned(),
        (IdKind::Key, None) => words.a_key.to_owned(),
        (IdKind::Client, None) => words.a_client.to_owned(),
        (IdKind::Link, None) => words.by_link.to_owned(),
        (IdKind::Webhook, None) => words.a_webhook.to_owned(),
        (IdKind::Person, None) => target.to_owned(),
    };
    let is_gone = matches!(kind, IdKind::Key | IdKind::Webhook) && line.target_name.is_none();
    let has_page = !is_gone && !ends_its_target(&event.r#type);
    Some((shown, has_page.then(|| href_of(kind, target, event.app.as_deref())).flatten()))
}

/// What has no name. A job is of an app, which is shown anyway.
fn unnamed_subject(text: &Texts, target: &str) -> Option<Linked> {
    let words = &text.activity;
    let shown = if SessionId::parse(target).is_some() {
        words.a_session
    } else if SignInLinkId::parse(target).is_some() {
        words.a_sign_in_link
    } else if JobId::parse(target).is_some() {
        return None;
    } else {
        target
    };
    Some((shown.to_owned(), None))
}

/// Whether the target has no page any more.
fn ends_its_target(kind: &str) -> bool {
    let kind = EventType::parse(kind);
    matches!(kind, Some(EventType::KeyRevoked | EventType::WebhookDeleted | EventType::PersonRemoved))
}

/// Who did it.
pub(super) fn actor(text: &Texts, line: &NamedAuditEvent) -> Linked {
    let (words, event) = (&text.activity, &line.event);
    let name = event.actor_name.as_ref().or(line.actor_name.as_ref());
    let linked = |name: String, kind: IdKind, id: &str| (name, href_of(kind, id, None));
    let plain = |words: &str| (words.to_owned(), None);
    match Actor::parse(&event.actor) {
        Some(Actor::User(id)) => linked(name.unwrap_or(&id).clone(), IdKind::Person, &id),
        Some(Actor::Key(id)) => {
            linked(name.cloned().unwrap_or_else(|| words.a_key.to_owned()), IdKind::Key, id.as_str())
        }
        Some(Actor::Link(id)) => {
            let name = name.map(|name| fill_plain(words.link_for, &[("person", name)]));
            linked(name.unwrap_or_else(|| words.by_link.to_owned()), IdKind::Link, id.as_str())
        }
        Some(Actor::UnknownUser) => plain(words.by_person_unknown),
        Some(Actor::Embedder) => plain(words.by_embedder),
        Some(Actor::Refresh) => plain(words.by_refresh),
        Some(Actor::Check) => plain(words.by_check),
        Some(Actor::ScheduledRun) => plain(words.by_schedule),
        Some(Actor::Operator) => plain(words.by_operator),
        Some(Actor::Unauthenticated) => plain(words.by_stranger),
        // A search has another name for the scheduled run than the one that is stored.
        None if event.actor == "schedule" => plain(words.by_schedule),
        None => plain(&event.actor),
    }
}

/// The name of the app of a line. One that is gone has its id.
pub(super) fn app_name(line: &NamedAuditEvent) -> Option<String> {
    let id = line.event.app.as_deref()?;
    let of_catalogue = || catalogue::find_entry(id).map(|entry| entry.name);
    Some(line.app_name.as_deref().or_else(of_catalogue).unwrap_or(id).to_owned())
}

/// The ids that a line mentions, with what each is of: they are copied into filters, commands and questions to the support.
pub(super) fn ids(text: &Texts, event: &AuditEvent) -> Vec<ActivityId> {
    let words = &text.activity;
    let label = |kind: IdKind| match kind {
        IdKind::Connection => words.connection,
        IdKind::Key => words.key_id,
        IdKind::Client => words.client_id,
        IdKind::Link => words.link_id,
        IdKind::Webhook => words.webhook_id,
        IdKind::Person => words.person_id,
    };
    let mut found: Vec<ActivityId> = vec![];
    let mut add = |label: &'static str, id: &str| {
        let one = ActivityId { label, id: id.to_owned() };
        if !found.contains(&one) {
            found.push(one);
        }
    };
    if let Some(id) = &event.connection {
        add(words.connection, id.as_str());
    }
    if let Some(target) = event.target.as_deref() {
        add(kind_of_target(&event.r#type, target).map_or(words.id, label), target);
    }
    for (id, kind) in split_detail(&event.r#type, event.detail.as_deref().unwrap_or_default()) {
        if let Some(kind) = kind {
            add(label(kind), id);
        }
    }
    match Actor::parse(&event.actor) {
        Some(Actor::User(id)) => add(words.person_id, &id),
        Some(Actor::Key(id)) => add(words.key_id, id.as_str()),
        Some(Actor::Link(id)) => add(words.link_id, id.as_str()),
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_found_in_the_detail_of_each_type() {
        for (kind, detail, id) in [
            (EventType::LinkCreated, "for ann, of sales", Some("ann, of sales")),
            (EventType::LinkEnded, "for ann", Some("ann")),
            (EventType::PersonRemoved, "connections to bob", Some("bob")),
            (EventType::SignedIn, "user:ann as admin", Some("ann")),
            (EventType::SignedIn, "user:user:ann as x as member", Some("user:ann as x")),
            (EventType::SignedIn, "link:lnk_0 as member", None),
            (EventType::SignInLinkCreated, "user:ann as member", Some("user:ann")),
            (EventType::DefaultChanged, "user ann, production: instead of con_x", Some("ann")),
            (EventType::DefaultChanged, "user ann", Some("ann")),
            (EventType::DefaultChanged, "the workspace: instead of con_x", None),
            (EventType::Edited, "owner: bob, shared: true", Some("bob")),
            (EventType::Edited, "metadata, owner: bob, environment: test, name: x, owner: eve", Some("bob")),
            (EventType::Edited, "owner: nobody, shared: true", None),
            (EventType::Edited, "name: a, owner: eve", None),
            (EventType::Edited, "metadata, name: a, owner: eve", None),
            (EventType::Edited, "shared: true", None),
            (EventType::Connected, "for ann", None),
        ] {
            let found = person_in_detail(kind, detail);
            assert_eq!(found.map(|(_, id)| id), id, "{kind:?} {detail}");
            if let Some((at, id)) = found {
                assert!(detail.get(at..).unwrap().starts_with(id), "{detail}");
            }
        }
    }
}
