//! What an e-mail says: first what stops, then what happened, and one link to the page where it is repaired.
//!
//! Owns the subject, the text and the HTML. There is nothing in it that is loaded from elsewhere, nothing that shows who has
//! opened it, and no secret: names, accounts, workflows and addresses of our own pages. What somebody else has named stays in
//! one line, and is no link (`given`).

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::given::{Phrase, without_addresses};
use super::words::Words;
use super::{ClaimedEmail, EmailKind, EmailPreference, ToldEvent, WEBHOOK_DISABLED, needs_person, rank};
use crate::catalogue;
use crate::connection::ReconnectReason;
use crate::fill::fill_plain;
use crate::webhook::{OutboxEvent, WebhookEventType};
use crate::workspace::Role;

/// Workflows that are named.
const WORKFLOWS_NAMED: usize = 5;
/// Characters of a name that somebody else has given, at most.
const LONGEST_NAME: usize = 120;
/// Characters of a list of scopes, at most.
const LONGEST_LIST: usize = 400;

/// An e-mail without its addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    /// One line.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// Where the links lead.
pub struct Pages<'a> {
    /// The address of one of our pages, by its path.
    pub at: &'a dyn Fn(&str) -> String,
    /// The address that ends all e-mail of this person.
    pub stop: &'a str,
}

/// One thing that it is about.
struct Item {
    /// Which workflows are concerned, what happened, and why.
    sentences: Vec<Phrase>,
    link: &'static str,
    url: String,
    needs_person: bool,
}

/// Writes an e-mail. None: there is nothing left to say.
pub fn write(email: &ClaimedEmail, words: &Words, pages: &Pages<'_>) -> Option<Written> {
    let mut told = email.told();
    told.sort_by_key(|one| (rank(&one.event.event_type), one.event.occurred_at, one.event.id.clone()));
    let items: Vec<_> = told.iter().filter_map(|one| item(one, words, pages)).collect();
    if items.is_empty() {
        return None;
    }
    let workspace = one_line(email.workspace_name.as_deref().unwrap_or_default(), LONGEST_NAME);
    // Whoever does not see all of them does not learn how many there are.
    let sees_all = email.role == Some(Role::Admin) && email.person.preference == EmailPreference::All;
    let listed = i64::try_from(email.events.len()).unwrap_or(i64::MAX);
    let left = if sees_all { email.event_count.saturating_sub(listed).max(0) } else { 0 };
    let subject = subject(email.kind, &told, left, &workspace, words);
    let as_whom = if email.role == Some(Role::Admin) { words.frame.as_admin } else { words.frame.as_owner };
    let letter = Letter {
        words,
        items: &items,
        more: (left > 0).then(|| fill_plain(words.frame.more, &[("count", &left.to_string())])),
        why: Phrase::fill(as_whom, &[("workspace", &Phrase::given(&workspace))]),
        list_url: (pages.at)("/"),
        choose_url: (pages.at)("/email"),
        stop_url: pages.stop,
    };
    Some(Written { text: letter.text(), html: letter.html(&subject).into_string(), subject })
}

/// Writes a test.
pub fn write_test(words: &Words, pages: &Pages<'_>) -> Written {
    let (subject, text) = (words.subject.test.to_owned(), words.frame.test.to_owned());
    let list = (pages.at)("/");
    let shown = document(words, &subject, &html! { p { (text) } p { (link(words.frame.show_all, &list)) } });
    Written { subject, text: format!("{text}\n\n{}: {list}\n", words.frame.show_all), html: shown.into_string() }
}

fn subject(kind: EmailKind, told: &[&ToldEvent], left: i64, workspace: &str, words: &Words) -> String {
    let subjects = &words.subject;
    let all_reconnect = told.iter().all(|one| kind_of(one) == Some(WebhookEventType::ConnectionNeedsReconnect));
    let total = i64::try_from(told.len()).unwrap_or(i64::MAX).saturating_add(left).to_string();
    let in_workspace = [("count", total.as_str()), ("workspace", workspace)];
    match (kind, told) {
        (EmailKind::Urgent, [only]) => subject_of_one(only, workspace, words),
        (EmailKind::Urgent, _) if all_reconnect => fill_plain(subjects.reconnect_many, &in_workspace),
        (EmailKind::Urgent, _) => fill_plain(subjects.many, &in_workspace),
        (EmailKind::Digest, _) if told.iter().any(|one| needs_person(&one.event.event_type)) => {
            fill_plain(subjects.digest_urgent, &in_workspace)
        }
        (EmailKind::Digest, _) => fill_plain(subjects.digest, &in_workspace),
    }
}

fn subject_of_one(one: &ToldEvent, workspace: &str, words: &Words) -> String {
    let (event, subjects) = (&one.event, &words.subject);
    let (name, app) = (name_of(event, words), app_of(event, words));
    let text = match (kind_of(one), event.workflow_count) {
        (None, _) => subjects.webhook,
        (Some(WebhookEventType::ClientMisconfigured), _) => subjects.client,
        (_, 0) => subjects.reconnect,
        (_, 1) => subjects.reconnect_one,
        _ => subjects.reconnect_some,
    };
    let count = event.workflow_count.to_string();
    fill_plain(text, &[("name", &name), ("host", &name), ("app", &app), ("count", &count), ("workspace", workspace)])
}

fn kind_of(one: &ToldEvent) -> Option<WebhookEventType> {
    WebhookEventType::parse(&one.event.event_type)
}

fn item(one: &ToldEvent, words: &Words, pages: &Pages<'_>) -> Option<Item> {
    let event = &one.event;
    let kind = kind_of(one);
    if kind.is_none() && event.event_type != WEBHOOK_DISABLED {
        // Of a later version.
        return None;
    }
    let (name, app) = (name_of(event, words), app_of(event, words));
    // The day is enough, and in no time zone.
    let date: String = event.ends_at.map(|end| end.rfc3339().chars().take(10).collect()).unwrap_or_default();
    let name = Phrase::given(&name);
    let values = [
        ("name", &name),
        ("host", &name),
        ("app", &Phrase::given(&app)),
        ("date", &Phrase::own(&date)),
        ("scopes", &Phrase::given(&scopes_of(event))),
    ];
    let reason = match kind {
        Some(WebhookEventType::ConnectionNeedsReconnect) => event.detail.as_deref().and_then(ReconnectReason::parse),
        _ => None,
    };
    let sentences = [
        impact(event, kind, words),
        Some(Phrase::fill(sentence(event, kind, words), &values)),
        reason.map(|reason| Phrase::own(words.reasons.of(reason))),
    ];
    let (link, path) = target(one, kind, words);
    Some(Item {
        sentences: sentences.into_iter().flatten().collect(),
        link,
        url: (pages.at)(&path),
        needs_person: needs_person(&event.event_type),
    })
}

fn sentence(event: &OutboxEvent, kind: Option<WebhookEventType>, words: &Words) -> &'static str {
    let happened = &words.happened;
    let Some(kind) = kind else {
        return match event.detail.as_deref() {
            Some("gone") => happened.webhook_gone,
            Some("unreadable") => happened.webhook_unreadable,
            _ => happened.webhook_failing,
        };
    };
    match kind {
        WebhookEventType::ConnectionCreated => happened.created,
        WebhookEventType::ConnectionNeedsReconnect => happened.needs_reconnect,
        WebhookEventType::ConnectionRecovered => happened.recovered,
        WebhookEventType::ConnectionExpiresSoon => happened.expires_soon,
        WebhookEventType::ConnectionMissingScopes => happened.missing_scopes,
        WebhookEventType::ConnectionAccountChanged => happened.account_changed,
        WebhookEventType::ConnectionDefaultChanged => happened.default_changed,
        WebhookEventType::ConnectionDeleted => happened.deleted,
        WebhookEventType::ClientMisconfigured => happened.client_misconfigured,
        WebhookEventType::ClientSecretExpires | WebhookEventType::AppEvent => happened.secret_expires,
    }
}

/// Which workflows are concerned. None: no workflow is, or it does not matter.
fn impact(event: &OutboxEvent, kind: Option<WebhookEventType>, words: &Words) -> Option<Phrase> {
    let impact = &words.impact;
    let (one, some) = match kind? {
        WebhookEventType::ConnectionNeedsReconnect => (impact.stopped_one, impact.stopped_some),
        WebhookEventType::ConnectionDeleted => (impact.was_used_one, impact.was_used_some),
        WebhookEventType::ConnectionCreated => return None,
        _ => (impact.used_one, impact.used_some),
    };
    let text = match event.workflow_count {
        ..=0 => return None,
        1 => one,
        _ => some,
    };
    let named = event.workflows.iter().take(WORKFLOWS_NAMED);
    let mut names: Vec<_> = named.map(|name| Phrase::given(&one_line(name, LONGEST_NAME))).collect();
    let left = event.workflow_count - i64::try_from(names.len()).unwrap_or(0);
    if left > 0 {
        names.push(Phrase::fill(impact.and_more, &[("count", &number(left))]));
    }
    Some(Phrase::fill(text, &[("count", &number(event.workflow_count)), ("list", &Phrase::list(&names))]))
}

fn number(count: i64) -> Phrase {
    Phrase::own(&count.to_string())
}

/// The page to go to: its link, and its path.
fn target(one: &ToldEvent, kind: Option<WebhookEventType>, words: &Words) -> (&'static str, String) {
    let (event, frame) = (&one.event, &words.frame);
    match (kind, &event.connection) {
        (None, _) => {
            (frame.open_webhook, format!("/settings/webhooks/{}", event.target.as_deref().unwrap_or_default()))
        }
        (Some(WebhookEventType::ClientMisconfigured | WebhookEventType::ClientSecretExpires), _) => {
            // A client is registered under its app, or under a name that apps share.
            let registered = event.app.as_deref().unwrap_or_default();
            let of_family = catalogue::entries().find(|entry| entry.family == Some(registered));
            (frame.set_up, format!("/settings/apps/{}", of_family.map_or(registered, |entry| entry.id)))
        }
        (Some(kind), Some(id)) if !one.is_gone && kind != WebhookEventType::ConnectionDeleted => {
            if needs_person(&event.event_type) {
                (frame.reconnect, format!("/connections/{id}/reconnect"))
            } else {
                (frame.open, format!("/connections/{id}"))
            }
        }
        _ => (frame.show_all, "/".to_owned()),
    }
}

fn name_of(event: &OutboxEvent, words: &Words) -> String {
    event.name.as_deref().map_or_else(|| words.happened.unnamed.to_owned(), |name| one_line(name, LONGEST_NAME))
}

fn app_of(event: &OutboxEvent, words: &Words) -> String {
    let Some(id) = event.app.as_deref() else { return words.happened.unknown_app.to_owned() };
    let known = catalogue::entries().find(|entry| entry.id == id);
    known.map_or_else(|| one_line(id, LONGEST_NAME), |entry| entry.name.to_owned())
}

fn scopes_of(event: &OutboxEvent) -> String {
    let scopes: Vec<String> =
        event.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    one_line(&scopes.join(", "), LONGEST_LIST)
}

/// A text of somebody else in one line, of so many characters, and in the direction of the text around it.
fn one_line(text: &str, longest: usize) -> String {
    let is_kept =
        |letter: &char| !matches!(*letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_break = |letter: char| letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
    let plain: String =
        text.chars().filter(is_kept).map(|letter| if is_break(letter) { ' ' } else { letter }).collect();
    let plain = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if plain.chars().count() <= longest {
        return plain;
    }
    plain.chars().take(longest.saturating_sub(1)).chain(['…']).collect()
}

/// The parts of an e-mail.
struct Letter<'a> {
    words: &'a Words,
    items: &'a [Item],
    more: Option<String>,
    why: Phrase,
    list_url: String,
    choose_url: String,
    stop_url: &'a str,
}

impl Letter<'_> {
    /// What needs a person, and the rest, each with its title if there are both.
    fn groups(&self) -> Vec<(Option<&'static str>, Vec<&Item>)> {
        let (urgent, rest): (Vec<_>, Vec<_>) = self.items.iter().partition(|item| item.needs_person);
        let frame = &self.words.frame;
        let titled = !urgent.is_empty() && !rest.is_empty();
        let groups = [(frame.needs_you, urgent), (frame.also, rest)];
        groups
            .into_iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(title, items)| (titled.then_some(title), items))
            .collect()
    }

    fn text(&self) -> String {
        let frame = &self.words.frame;
        let mut parts = Vec::new();
        for (title, items) in self.groups() {
            parts.extend(title.map(str::to_owned));
            for item in items {
                let sentences: Vec<_> = item.sentences.iter().map(|one| one.text.as_str()).collect();
                parts.push(format!("{}\n{}: {}", sentences.join("\n"), item.link, item.url));
            }
        }
        parts.extend(self.more.as_ref().map(|more| format!("{more}\n{}: {}", frame.show_all, self.list_url)));
        let ends = [(frame.choose, self.choose_url.as_str()), (frame.stop, self.stop_url)];
        let ends: Vec<_> = ends.iter().map(|(name, url)| format!("{name}: {url}")).collect();
        parts.push(format!("-- \n{}\n{}\n", self.why.text, ends.join("\n")));
        parts.join("\n\n")
    }

    fn html(&self, subject: &str) -> Markup {
        let frame = &self.words.frame;
        document(
            self.words,
            subject,
            &html! {
                @for (title, items) in self.groups() {
                    @if let Some(title) = title { h2 { (title) } }
                    @for item in items {
                        p {
                            @for sentence in &item.sentences { (shown(sentence)) br; }
                            (link(item.link, &item.url))
                        }
                    }
                }
                @if let Some(more) = &self.more { p { (more) " " (link(frame.show_all, &self.list_url)) } }
                hr;
                p { small { (shown(&self.why)) br; (link(frame.choose, &self.choose_url)) " · " (link(frame.stop, self.stop_url)) } }
            },
        )
    }
}

fn shown(phrase: &Phrase) -> Markup {
    PreEscaped(phrase.html.clone())
}

fn link(name: &str, url: &str) -> Markup {
    html! { a href=(url) { (name) } }
}

fn document(words: &Words, subject: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(words.language) {
            head {
                meta charset="utf-8";
                // Asks mail programs to make no links by themselves.
                meta name="format-detection" content="telephone=no, date=no, address=no, email=no, url=no";
                title { (without_addresses(subject)) }
            }
            body { (body) }
        }
    }
}
