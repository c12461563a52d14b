//! What a person should look at before a workflow trips over it, in groups.
//!
//! Owns which groups there are, and what is wrong with a name and what would be a better one. A group is a page of connections
//! that a list can show whole. Changes nothing.

use crate::app_list::{self, AppList};
use crate::connection::ConnectionStatus;
use crate::context::Context;
use crate::error::Result;
use crate::ids::WorkspaceId;
use crate::names::name_of_account;
use crate::ports::{Database, DatabaseError, Ports};
use crate::store::connections::{
    self, GENERIC_NAMES, Issue, Order, Overview, OverviewFilter, SHORTEST_CLEAR_NAME, WindowStart,
};

/// Connections of a group that are shown at once.
pub const SHOWN: i64 = 5;

/// A group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewGroup {
    /// Only a person can repair them.
    NeedsReconnect,
    /// They end soon.
    ExpiresSoon,
    /// Nobody knows whether they work.
    NotChecked,
    /// Nobody has used them for 60 days.
    Forgotten,
    /// There are several of one account.
    Duplicate,
    /// Their names say too little.
    UnclearName,
}

impl ReviewGroup {
    /// All of them, the most urgent one first.
    pub const ALL: [Self; 6] = [
        Self::NeedsReconnect,
        Self::ExpiresSoon,
        Self::NotChecked,
        Self::Duplicate,
        Self::Forgotten,
        Self::UnclearName,
    ];

    /// What a list is filtered by to show the group whole.
    pub fn as_str(self) -> &'static str {
        self.issue().map_or(ConnectionStatus::NeedsReconnect.as_str(), Issue::as_str)
    }

    fn issue(self) -> Option<Issue> {
        match self {
            Self::NeedsReconnect => None,
            Self::ExpiresSoon => Some(Issue::ExpiresSoon),
            Self::NotChecked => Some(Issue::NotChecked),
            Self::Forgotten => Some(Issue::Forgotten),
            Self::Duplicate => Some(Issue::Duplicate),
            Self::UnclearName => Some(Issue::UnclearName),
        }
    }

    fn filter(self, seen: &OverviewFilter) -> OverviewFilter {
        OverviewFilter {
            status: self.issue().is_none().then_some(ConnectionStatus::NeedsReconnect),
            issue: self.issue(),
            order: match self {
                Self::Duplicate => Order::Account,
                Self::Forgotten => Order::LeastRecentlyUsed,
                _ => Order::Usual,
            },
            limit: SHOWN,
            ..seen.clone()
        }
    }
}

/// What is to be looked at.
#[derive(Debug)]
pub struct Review {
    /// The groups that have connections: the first of each, and how many there are.
    pub groups: Vec<(ReviewGroup, Overview)>,
    /// Where the next connections begin, if these were not all.
    pub next_window: Option<WindowStart>,
    /// All apps.
    pub apps: AppList,
}

/// Reads it for what a person sees, in one round trip. `seen` says what that is, and where to begin.
pub async fn load_review<P: Ports>(
    context: &Context<P>,
    workspace: &WorkspaceId,
    seen: &OverviewFilter,
) -> Result<Review> {
    // Those that need a reconnect have an index of their own: all of them are on the first page.
    let groups: Vec<_> = ReviewGroup::ALL
        .into_iter()
        .filter(|group| seen.after.is_none() || *group != ReviewGroup::NeedsReconnect)
        .map(|group| (group, group.filter(seen)))
        .collect();
    let mut statements: Vec<_> = app_list::app_list_statements(workspace).into();
    // The end of a window is the same for all groups, but for the first.
    for (group, filter) in &groups {
        let [page, last] = filter.statements(workspace, context.now());
        statements.push(page);
        statements.extend([last].into_iter().filter(|_| has_own_window(*group)));
    }
    let answers = context.db().batch(statements).await?;
    let apps = app_list::read_app_list(context, &answers)?;
    let mut answers = answers.into_iter().skip(app_list::APP_LIST_STATEMENTS);
    let mut next = || answers.next().ok_or_else(|| DatabaseError::Unavailable("a batch answered too little".into()));
    let (mut found, mut next_window) = (Vec::new(), None);
    for (group, filter) in groups {
        let page = next()?;
        let last = if has_own_window(group) { next()? } else { crate::ports::Rows::default() };
        let overview = connections::read_overview(&filter, &page, &last)?;
        if group == ReviewGroup::ExpiresSoon {
            next_window.clone_from(&overview.next_window);
        }
        found.push((group, overview));
    }
    found.retain(|(_, overview)| overview.matches > 0);
    Ok(Review { groups: found, next_window, apps })
}

fn has_own_window(group: ReviewGroup) -> bool {
    matches!(group, ReviewGroup::NeedsReconnect | ReviewGroup::ExpiresSoon)
}

/// What is wrong with the name of a connection whose name says too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameProblem {
    /// It is very short.
    Short,
    /// It fits every connection.
    Generic,
    /// It is only the app's name.
    OnlyApp,
    /// Another connection of the app has it.
    Same,
}

impl NameProblem {
    /// Of a name that is known to say too little: the last reason is the one that nothing in the name shows.
    pub fn of(name: &str, app: &str) -> Self {
        let lower = name.to_ascii_lowercase();
        if i64::try_from(name.chars().count()).is_ok_and(|length| length < SHORTEST_CLEAR_NAME) {
            Self::Short
        } else if GENERIC_NAMES.contains(&lower.as_str()) {
            Self::Generic
        } else if lower == app || lower == app.replace('-', " ") {
            Self::OnlyApp
        } else {
            Self::Same
        }
    }
}

/// A better name: the one that a connection gets if nobody names it. None where its account has no name.
pub fn suggest_name(app_name: &str, account_label: Option<&str>) -> Option<String> {
    account_label.map(|label| name_of_account(app_name, Some(label)))
}
