//! What happened to a connection, in words: who did what.

use maud::{Markup, html};

use super::PageContext;
use super::frame::{environment_words, relative_time, user_text};
use super::text::{Texts, fill};
use crate::audit::EventType;
use crate::time::Timestamp;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: HistoryActor,
    /// What.
    pub what: HistoryWhat,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum HistoryWhat {
    /// An event: its stored type and detail.
    Event(String, Option<String>),
    /// The last check, and how it ended.
    Check(CheckResult),
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    /// It works.
    Works,
    /// The app did not answer.
    NoAnswer,
    /// The answer does not tell.
    Unclear,
    /// It does not work.
    Fails,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryActor {
    /// Whoever looks.
    You,
    /// A person, by their name.
    Person(String),
    /// A program, by the name of its key. None: the key is revoked.
    Key(Option<String>),
    /// Whoever had a link.
    Link,
    /// The scheduled run.
    Schedule,
    /// A check.
    Check,
    /// A refresh.
    Refresh,
    /// The product that made a link.
    Embedder,
    /// The operator.
    Operator,
    /// Nobody knows.
    Somebody,
}

/// The list of what happened.
pub(super) fn history_section(shell: &PageContext, entries: &[HistoryEntry]) -> Markup {
    let text = &shell.text.connection;
    html! {
        section.card aria-labelledby="history" {
            h2 #history { (text.history_title) }
            @if entries.is_empty() {
                p.quiet { (text.history_none) }
            } @else {
                ol.events {
                    @for one in entries { li { (relative_time(shell, one.at)) span { (describe(shell.text, one)) } } }
                }
            }
        }
    }
}

fn actor(all: &Texts, by: &HistoryActor) -> Markup {
    let text = &all.history;
    match by {
        HistoryActor::You => html! { (text.you) },
        HistoryActor::Person(name) => user_text(name),
        HistoryActor::Key(Some(name)) => fill(text.key, &[("name", user_text(name))]),
        HistoryActor::Key(None) => html! { (text.revoked_key) },
        HistoryActor::Link => html! { (text.link) },
        HistoryActor::Schedule => html! { (text.schedule) },
        HistoryActor::Check => html! { (text.check) },
        HistoryActor::Refresh => html! { (text.refresh) },
        HistoryActor::Embedder => html! { (text.embedder) },
        HistoryActor::Operator => html! { (text.operator) },
        HistoryActor::Somebody => html! { (text.somebody) },
    }
}

fn describe(all: &Texts, one: &HistoryEntry) -> Markup {
    let text = &all.history;
    match &one.what {
        HistoryWhat::Check(CheckResult::Works) => html! { (text.check_works) },
        HistoryWhat::Check(CheckResult::NoAnswer) => html! { (text.check_no_answer) },
        HistoryWhat::Check(CheckResult::Unclear) => html! { (text.check_unclear) },
        HistoryWhat::Check(CheckResult::Fails) => html! { (text.check_fails) },
        HistoryWhat::Event(kind, detail) => describe_event(all, &one.by, kind, detail.as_deref().unwrap_or_default()),
    }
}

/// Ids in a detail tell a reader nothing, so that they are left out where the sentence says what they are.
fn describe_event(all: &Texts, by: &HistoryActor, kind: &str, detail: &str) -> Markup {
    let text = &all.history;
    let say =
        |sentence: &str, detail: &str| fill(sentence, &[("actor", actor(all, by)), ("detail", user_text(detail))]);
    let Some(event) = EventType::parse(kind) else { return say(text.other, &kind.replace('_', " ")) };
    match event {
        EventType::Connected => say(text.connected, ""),
        EventType::Reconnected => say(text.reconnected, ""),
        EventType::AccountSwitched => say(text.account_switched, detail),
        EventType::Reused => say(text.reused, ""),
        EventType::Confirmed => say(text.confirmed, ""),
        EventType::Edited => describe_edit(all, by, detail),
        EventType::NeedsReconnect => say(text.needs_reconnect, &detail.replace('_', " ")),
        EventType::TokenLost => say(text.token_lost, detail),
        EventType::DefinitionUpdated => say(text.definition_updated, ""),
        EventType::DefinitionChanged => say(text.definition_changed, ""),
        EventType::DefaultChanged => describe_default(all, by, detail),
        EventType::Replaced if detail.starts_with("by ") => say(text.replaced_by, ""),
        EventType::Replaced => say(text.answers_for, ""),
        EventType::ReplacementEnded => say(text.replacement_ended, ""),
        EventType::ChangesAcknowledged => say(text.acknowledged, ""),
        EventType::Disconnected => say(text.disconnected, ""),
        EventType::DisconnectUndone => say(text.undone, ""),
        EventType::CredentialReturned => say(text.credential_returned, ""),
        _ => say(text.other, &kind.replace('_', " ")),
    }
}

/// One sentence for each thing that was changed. The name comes last, because it may contain anything.
fn describe_edit(all: &Texts, by: &HistoryActor, detail: &str) -> Markup {
    let text = &all.history;
    let say =
        |sentence: &str, detail: &str| fill(sentence, &[("actor", actor(all, by)), ("detail", user_text(detail))]);
    let (members, name) = match detail.strip_prefix("name: ") {
        Some(name) => ("", Some(name)),
        None => detail.split_once(", name: ").map_or((detail, None), |(members, name)| (members, Some(name))),
    };
    let mut found: Vec<Markup> = members
        .split(", ")
        .filter_map(|member| match member.split_once(": ") {
            Some(("owner", id)) => Some(say(text.edited_owner, id)),
            Some(("shared", "true")) => Some(say(text.edited_shared, "")),
            Some(("shared", _)) => Some(say(text.edited_unshared, "")),
            Some(("environment", name)) => {
                let words = environment_words(all, name).unwrap_or(all.connection.environment_unknown);
                Some(say(text.edited_environment, words))
            }
            None if member == "metadata" => Some(say(text.edited_metadata, "")),
            None if member == "allowed_workflows" => Some(say(text.edited_workflows, "")),
            _ => None,
        })
        .collect();
    found.extend(name.map(|name| say(text.renamed, name)));
    if found.is_empty() {
        found.push(say(text.edited, ""));
    }
    html! { @for (at, one) in found.iter().enumerate() { @if at > 0 { br; } (one) } }
}

fn describe_default(all: &Texts, by: &HistoryActor, detail: &str) -> Markup {
    let text = &all.history;
    let say =
        |sentence: &str, detail: &str| fill(sentence, &[("actor", actor(all, by)), ("detail", user_text(detail))]);
    match detail.split_once(": ") {
        Some((slot, "ended")) => say(text.default_ended, slot),
        Some((_, what)) if what.starts_with("the first shared") => say(text.default_first, ""),
        Some((slot, _)) => say(text.default_set, slot),
        None => say(text.default_set, detail),
    }
}
