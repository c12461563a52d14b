//! The Connections page: what people see of their connections.
//!
//! Owns its address: which parameters filter, sort and lead on. [`crate::authorize`] decides which connections a person sees
//! and changes.

use std::collections::BTreeMap;

use super::choices::tell_apart;
use super::connection_summary::summarize;
use super::page::{
    self, ConnectionListView, ConnectionSummary, FilterChoice, ListFilters, PagesOfList, SortLink, StatusTab, Texts,
    Tone,
};
use super::page_frame::page_context;
use super::recently_disconnected::view_of;
use super::settings::with_query;
use super::{Call, Response, input};
use crate::app::AppId;
use crate::authorize::{Caller, RequiredRole};
use crate::catalogue;
use crate::connection::ConnectionStatus;
use crate::connections::{self, ConnectionsPage};
use crate::context::Context;
use crate::environment::Environment;
use crate::error::Result;
use crate::ids::ConnectionId;
use crate::ports::Ports;
use crate::store::connections::{Counted, Issue, Order, Overview, OverviewFilter, WINDOW, WindowStart};
use crate::store::sessions::Session;
use crate::workspace::Role;

/// Connections per page.
const PER_PAGE: i64 = 50;
/// The value of the filter for connections without an owner.
const NOBODY: &str = "none";

/// Which connections a person sees, for pages that list them.
pub(super) fn seen_by(session: &Session) -> OverviewFilter {
    OverviewFilter {
        visible_to: Caller::User(session, RequiredRole::Member).connection_filter().visible_to,
        viewer: session.user().map(|user| user.id.clone()),
        ..OverviewFilter::default()
    }
}

/// Reads where a window begins, as an address has it.
pub(super) fn window_param(call: &Call<'_>) -> Result<Option<WindowStart>> {
    let parse = |text: &str| input::parse_time_cursor(text, |id| ConnectionId::parse(id).map(String::from));
    let text = input::query_param(call.request, "cursor");
    text.map(|text| parse(&text).ok_or_else(input::invalid_cursor)).transpose()
}

/// The same, for an address.
pub(super) fn window_text((at, id): &WindowStart) -> String {
    format!("{}.{id}", at.unix())
}

pub(super) async fn show_connections_page<P: Ports>(context: &Context<P>, call: &Call<'_>) -> Result<Response> {
    let session = call.session()?;
    let shell = page_context(context, call.request, Some(session));
    let query = ListQuery::read(call, session)?;
    let filter = query.filter(shell.text, session);
    let found = connections::load_connections_page(context, &session.workspace, &filter, session.role).await?;
    let ConnectionsPage { overview, counts, used_apps, people, apps, disconnected } = found;
    let app_name = |id: &str| apps.name_or_id(id).to_owned();
    let statuses = [
        (shell.text.list.all, "", counts.all),
        (shell.text.status.needs_reconnect, ConnectionStatus::NeedsReconnect.as_str(), counts.needs_reconnect),
        (
            shell.text.status.awaiting_confirmation,
            ConnectionStatus::AwaitingConfirmation.as_str(),
            counts.awaiting_confirmation,
        ),
    ];
    let named =
        |of: Vec<(String, String)>| tell_apart(of).into_iter().map(|(value, label)| FilterChoice { value, label });
    let owners = named(people.into_iter().map(|one| (one.id.clone(), one.display_name().to_owned())).collect());
    let used_apps = named(used_apps.into_iter().map(|id| (id.clone(), app_name(&id))).collect());
    let pages = query.pages(call, &overview);
    let view = ConnectionListView {
        tabs: query.tabs(statuses),
        filters: ListFilters {
            apps: used_apps.collect(),
            statuses: status_choices(shell.text),
            owners: if session.role == Role::Admin { choose_nobody(shell.text, owners) } else { vec![] },
            ..query.shown.clone()
        },
        sorts: query.sort_links(),
        pages,
        recently_disconnected: disconnected
            .into_iter()
            .map(|one| {
                let app_name = app_name(one.app.as_str());
                view_of(one, app_name)
            })
            .collect(),
        connections: {
            let rows = overview.rows.into_iter();
            let mut rows: Vec<_> = rows.map(|row| summarize(context, shell.text, session, &apps, row)).collect();
            if filter.order == Order::Usual {
                put_broken_first(&mut rows);
            }
            rows
        },
    };
    Ok(Response::html(200, page::connection_list(&shell, &view)))
}

/// The database has these first. It does not know of those whose credential can't be opened.
fn put_broken_first(rows: &mut [ConnectionSummary]) {
    rows.sort_by_key(|row| row.status.tone != Tone::Bad);
}

fn choose_nobody(text: &Texts, people: impl Iterator<Item = FilterChoice>) -> Vec<FilterChoice> {
    let nobody = FilterChoice { value: NOBODY.to_owned(), label: text.list.nobody.to_owned() };
    [nobody].into_iter().chain(people).collect()
}

fn status_choices(text: &Texts) -> Vec<FilterChoice> {
    let statuses =
        [ConnectionStatus::NeedsReconnect, ConnectionStatus::AwaitingConfirmation, ConnectionStatus::Connected];
    let statuses = statuses.into_iter().map(|one| {
        let label = match one {
            ConnectionStatus::NeedsReconnect => text.status.needs_reconnect,
            ConnectionStatus::AwaitingConfirmation => text.status.awaiting_confirmation,
            ConnectionStatus::Connected => text.status.connected,
        };
        (one.as_str(), label)
    });
    let issues = Issue::ALL.iter().map(|one| (one.as_str(), issue_label(text, *one)));
    let choice = |(value, label): (&str, &str)| FilterChoice { value: value.to_owned(), label: label.to_owned() };
    statuses.chain(issues).map(choice).collect()
}

fn issue_label(text: &Texts, issue: Issue) -> &'static str {
    let text = &text.list;
    match issue {
        Issue::ExpiresSoon => text.expires_soon,
        Issue::MissingScopes => text.missing_scopes,
        Issue::AppUnreachable => text.app_unreachable,
        Issue::AppRefuses => text.app_refuses,
        Issue::ClientMisconfigured => text.client_misconfigured,
        Issue::NothingShared => text.nothing_shared,
        Issue::DefinitionChanged => text.definition_changed,
        Issue::StepChangedConnection => text.step_changed_connection,
        Issue::NotChecked => text.not_checked,
        Issue::Forgotten => text.forgotten,
        Issue::Duplicate => text.duplicate,
        Issue::UnclearName => text.unclear_name,
    }
}

/// The status that a word of a search stands for.
fn status_of_word(text: &Texts, word: &str) -> Option<ConnectionStatus> {
    let text = &text.status;
    let known = [
        (ConnectionStatus::NeedsReconnect, text.search_needs_reconnect),
        (ConnectionStatus::AwaitingConfirmation, text.search_awaiting_confirmation),
        (ConnectionStatus::Connected, text.search_connected),
    ];
    known.into_iter().find(|(_, words)| words.split(' ').any(|one| one == word)).map(|(status, _)| status)
}

/// What a search says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Search {
    /// A whole id of a connection, wherever it stands.
    id: Option<ConnectionId>,
    /// What deserves a look, by its words on the page.
    issue: Option<Issue>,
    /// The other words, in small letters.
    words: Vec<String>,
}

impl Search {
    /// Words of an issue stay words where the status is one: both can't hold.
    fn read(text: &Texts, search: &str, looks_for_issue: bool) -> Self {
        let mut found = Self::default();
        for word in search.split_whitespace() {
            match ConnectionId::parse(word).filter(|_| found.id.is_none()) {
                Some(id) => found.id = Some(id),
                None => found.words.push(word.to_ascii_lowercase()),
            }
        }
        for issue in Issue::ALL.into_iter().filter(|_| looks_for_issue) {
            let label = issue_label(text, issue).to_lowercase();
            let label: Vec<_> = label.split(' ').collect();
            // A single word is more likely a part of a name.
            let place = found.words.windows(label.len()).position(|words| label.len() > 1 && words == label);
            if let Some(at) = place {
                found.words.drain(at..at + label.len());
                found.issue = Some(issue);
                break;
            }
        }
        found
    }
}

/// The names of apps of the catalogue that have one of these words, which their ids do not have.
fn names_with_words(words: &[String]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in catalogue::entries() {
        let name = entry.name.to_ascii_lowercase();
        if words.iter().any(|word| name.contains(word.as_str()) && !entry.id.contains(word.as_str())) {
            found.insert(entry.id.to_owned(), name);
        }
    }
    found
}

/// What the address of the page says. A value that means nothing filters nothing.
struct ListQuery {
    /// As the form shows it.
    shown: ListFilters,
    order: Order,
    after: Option<WindowStart>,
    /// From 0.
    page: i64,
}

impl ListQuery {
    fn read(call: &Call<'_>, session: &Session) -> Result<Self> {
        let read =
            |name: &str| input::query_param(call.request, name).map(|text| text.trim().to_owned()).unwrap_or_default();
        let kept = |text: String, is_known: bool| Some(text).filter(|_| is_known).unwrap_or_default();
        let (app, status, environment, owner) = (read("app"), read("status"), read("environment"), read("owner"));
        let (is_app, is_environment) = (AppId::parse(&app).is_some(), Environment::parse(&environment).is_some());
        let is_status = ConnectionStatus::parse(&status).is_some() || Issue::parse(&status).is_some();
        let sorts = [
            Order::Name,
            Order::NameBackwards,
            Order::App,
            Order::AppBackwards,
            Order::RecentlyUsed,
            Order::LeastRecentlyUsed,
        ];
        let sort = read("sort");
        let order = sorts.into_iter().find(|one| one.as_str() == sort).unwrap_or_default();
        let page = read("page").parse::<i64>().ok().filter(|page| (1..=WINDOW).contains(page)).unwrap_or(1);
        Ok(Self {
            shown: ListFilters {
                search: read("q"),
                app: kept(app, is_app),
                status: kept(status, is_status),
                environment: kept(environment, is_environment),
                owner: kept(owner, session.role == Role::Admin),
                workflow: read("workflow"),
                sort: order.as_str().to_owned(),
                ..ListFilters::default()
            },
            order,
            after: window_param(call)?,
            page: page - 1,
        })
    }

    fn filter(&self, text: &Texts, session: &Session) -> OverviewFilter {
        let ListFilters { search, app, status, environment, owner, workflow, .. } = &self.shown;
        let chosen = Issue::parse(status);
        let Search { id, issue: searched, words } = Search::read(text, search, chosen.is_none());
        let issue = chosen.or(searched);
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        OverviewFilter {
            app_names: names_with_words(&words),
            words: words.into_iter().map(|word| (word.clone(), status_of_word(text, &word))).collect(),
            id,
            app: AppId::parse(app),
            status: ConnectionStatus::parse(status),
            issue,
            owner: given(owner).filter(|owner| owner != NOBODY),
            without_owner: owner == NOBODY,
            environment: Environment::parse(environment),
            workflow: given(workflow),
            order: match (issue, self.order) {
                (Some(Issue::Duplicate), Order::Usual) => Order::Account,
                (_, order) => order,
            },
            after: self.after.clone(),
            offset: self.page * PER_PAGE,
            limit: PER_PAGE,
            ..seen_by(session)
        }
    }

    /// The address with these parameters in place of the present ones.
    fn href(&self, changes: &[(&str, Option<&str>)]) -> String {
        let ListFilters { search, app, status, environment, owner, workflow, sort, .. } = &self.shown;
        let present = [
            ("q", search),
            ("app", app),
            ("status", status),
            ("environment", environment),
            ("owner", owner),
            ("workflow", workflow),
            ("sort", sort),
        ];
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let kept = present.into_iter().filter(|(name, _)| !is_changed(name));
        let all: Vec<_> =
            kept.map(|(name, value)| (name, Some(value.as_str()))).chain(changes.iter().copied()).collect();
        with_query("/", &all)
    }

    fn tabs(&self, statuses: [(&'static str, &'static str, Counted); 3]) -> Vec<StatusTab> {
        let awaiting = ConnectionStatus::AwaitingConfirmation.as_str();
        let is_shown = |status: &str, number: Counted| {
            status != awaiting || number.number > 0 || number.or_more || self.shown.status == status
        };
        let tab = |(label, status, number): (&'static str, &str, Counted)| StatusTab {
            label,
            number: number.number,
            or_more: number.or_more,
            href: with_query("/", &[("status", Some(status)), ("sort", Some(&self.shown.sort))]),
            is_current: self.shown.status == status,
        };
        statuses.into_iter().filter(|(_, status, number)| is_shown(status, *number)).map(tab).collect()
    }

    fn sort_links(&self) -> Vec<SortLink> {
        let columns = [
            (Order::Name, Order::NameBackwards),
            (Order::App, Order::AppBackwards),
            (Order::RecentlyUsed, Order::LeastRecentlyUsed),
        ];
        let link = |(first, backwards): (Order, Order)| {
            let next = if self.order == first { backwards } else { first };
            // What was used last comes first: the times go down.
            let (when_first, when_backwards) = match first {
                Order::RecentlyUsed => ("descending", "ascending"),
                _ => ("ascending", "descending"),
            };
            let sorted = match self.order {
                order if order == first => Some(when_first),
                order if order == backwards => Some(when_backwards),
                _ => None,
            };
            SortLink { href: self.href(&[("sort", Some(next.as_str()))]), sorted }
        };
        columns.into_iter().map(link).collect()
    }

    fn pages(&self, call: &Call<'_>, overview: &Overview) -> PagesOfList {
        let cursor = self.after.as_ref().map(window_text);
        let at = |page: i64| {
            let page = Some(page + 1).filter(|page| *page > 1).map(|page| page.to_string());
            self.href(&[("cursor", cursor.as_deref()), ("page", page.as_deref())])
        };
        let older = overview.next_window.as_ref().filter(|_| !overview.has_more).map(window_text);
        PagesOfList {
            from: self.page * PER_PAGE + 1,
            matches: overview.matches,
            window: (overview.next_window.is_some() || self.after.is_some()).then_some(WINDOW),
            is_later_window: self.after.is_some(),
            previous_href: (self.page > 0).then(|| at(self.page - 1)),
            next_href: overview.has_more.then(|| at(self.page + 1)),
            newest_href: self.after.as_ref().map(|_| self.href(&[])),
            older_href: older.map(|older| self.href(&[("cursor", Some(&older))])),
            here: match call.request.query.as_str() {
                "" => "/".to_owned(),
                query => format!("/?{query}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_has_words_an_id_and_what_the_page_says_of_a_connection() {
        let id = "con_000000000000000000000000";
        let parsed = ConnectionId::parse(id);
        assert!(parsed.is_some());
        let read = |search: &str| Search::read(&page::ENGLISH, search, true);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(read(" Slack  Ops "), Search { words: words(&["slack", "ops"]), ..Search::default() });
        assert_eq!(read(&format!("slack {id}")), Search { id: parsed, words: words(&["slack"]), issue: None });
        for (search, issue, rest) in [
            ("not checked yet", Issue::NotChecked, &[] as &[&str]),
            ("slack Not Checked Yet ada", Issue::NotChecked, &["slack", "ada"]),
            ("Expires soon", Issue::ExpiresSoon, &[]),
            ("missing permissions", Issue::MissingScopes, &[]),
        ] {
            assert_eq!(read(search), Search { issue: Some(issue), words: words(rest), id: None }, "{search}");
        }
        assert_eq!(read("checked yet").issue, None);
        // A status that was chosen goes first: then these are words as all others.
        let found = Search::read(&page::ENGLISH, "not checked yet", false);
        assert_eq!((found.issue, found.words.len()), (None, 3));
    }

    #[test]
    fn every_status_is_found_by_the_words_that_the_page_says() {
        let text = &page::ENGLISH;
        for (words, status) in [
            (text.status.needs_reconnect, ConnectionStatus::NeedsReconnect),
            (text.status.awaiting_confirmation, ConnectionStatus::AwaitingConfirmation),
            (text.status.connected, ConnectionStatus::Connected),
        ] {
            for word in words.to_lowercase().split(' ') {
                assert_eq!(status_of_word(text, word), Some(status), "{word}");
            }
        }
    }
}
