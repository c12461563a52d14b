//! A connection's own page: whose account it is, whether it works, who uses it, and what can be done.
//!
//! Owns the forms that rename, check and disconnect. Disconnecting takes two steps, and the second
//! says what will stop working.

use maud::{Markup, html};

use super::form::{Mistake, described_by, mistake, summary};
use super::frame::{account, class, code, csrf, link, page, quoted, said, status, time, time_or_never, warnings};
use super::{Card, Shell, Tone};
use crate::connect::settle::LONGEST_NAME;
use crate::time::Timestamp;

/// A connection in full.
#[derive(Debug, Clone)]
pub struct ConnectionView {
    /// The connection in short.
    pub card: Card,
    /// What has just happened.
    pub notice: Option<String>,
    /// Why it needs a person, in a sentence.
    pub reason: Option<String>,
    /// Scopes the app granted.
    pub granted: Vec<String>,
    /// Scopes that were asked for and not granted, with what each allows.
    pub missing: Vec<(String, Option<String>)>,
    /// Whether the workspace has no such app any more: it can be used on, and not connected again.
    pub removed: bool,
    /// Who may rename, reconnect and disconnect it.
    pub changes: Changes,
    /// The name that was entered and not accepted, and why.
    pub renaming: Option<(String, String)>,
    /// Where they are asked for again; `None` where that can't help.
    pub ask_again: Option<String>,
    /// What kind of credential it is, as people call it ("API key"). Empty for an ordinary consent.
    pub kind: String,
    /// What it lives by.
    pub lasts: Lasts,
    /// Where another key is entered, for a credential that was pasted.
    pub replace_href: Option<String>,
    /// What a person should know, such as the app's limits: a sentence each.
    pub warnings: Vec<String>,
    /// When the access ends.
    pub expires: Option<Timestamp>,
    /// Whether the access can be renewed without a person.
    pub renewable: bool,
    /// When the whole grant is expected to end, and what puts that off.
    pub predicted_end: Option<(Timestamp, PutOff)>,
    /// When it was last looked at, and what was found.
    pub checked: Option<(Timestamp, String)>,
    /// When it is looked at next.
    pub next_check: Option<Timestamp>,
    /// When it was first made.
    pub created: Timestamp,
    /// When it was last connected.
    pub connected: Timestamp,
    /// Workflow, step and when it last used this connection.
    pub uses: Vec<(String, String, Timestamp)>,
    /// What happened, and when.
    pub events: Vec<(Timestamp, String)>,
    /// Whether the person asked to disconnect and has yet to confirm.
    pub confirming_disconnect: bool,
}

/// Who may change a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// The person who looks.
    Allowed,
    /// Admins, and the person is none.
    AdminsOnly,
}

/// What a connection's access lives by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// A person's consent, from which access is renewed if the app offers that.
    Consented,
    /// A pasted secret that is itself the access, until it is revoked.
    Pasted,
    /// A pasted secret that is exchanged for access again and again.
    Exchanged,
}

/// What puts a predicted end off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOff {
    /// Any use.
    Use,
    /// A renewal, which happens by itself.
    Renewal,
    /// Only a person who connects again.
    Person,
}

/// A connection's own page.
pub fn connection(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    let card = &view.card;
    let body = html! {
        (summary(None, &mistakes(view)))
        nav { a href="/" { "All connections" } }
        h1 { (said(&card.name)) }
        (told(view))
        @if view.confirming_disconnect { (confirm(shell, view)) }
        (state(shell, view))
        (warnings(&view.warnings))
        (details(view))
        (permissions(&view.granted))
        (uses(&view.uses))
        @if may_change(view) { (rename(shell, view)) } @else { (for_admins()) }
        @if may_change(view) && !view.confirming_disconnect { (disconnect(view)) }
        (history(view))
    };
    let title = match (view.confirming_disconnect, &view.renaming) {
        (true, _) => format!("Disconnect {}?", card.name),
        // A screen reader says the title first: it tells that the form is back.
        (false, Some(_)) => format!("Not accepted: {}", card.name),
        (false, None) => card.name.clone(),
    };
    page(shell, &title, &body)
}

fn mistakes(view: &ConnectionView) -> Vec<Mistake<'_>> {
    view.renaming.iter().map(|(_, why)| ("name".to_owned(), NAME, why.as_str())).collect()
}

/// What has just happened. What is missing is part of the news: whoever comes back from the app can ask again at once.
fn told(view: &ConnectionView) -> Markup {
    html! {
        @if let Some(text) = &view.notice {
            div.notice.waiting[!view.missing.is_empty()] role="status" {
                p { (said(text)) }
                @if !view.missing.is_empty() { (missing(view)) }
            }
        }
    }
}

fn state(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    let card = &view.card;
    // Missing permissions are no reason to look healthy.
    let tone = match card.status.tone {
        Tone::Good if !view.missing.is_empty() => Tone::Waiting,
        tone => tone,
    };
    html! {
        section.panel.(class(tone)) aria-labelledby="state" {
            h2 #state { (status(&card.status)) }
            p { (said(&card.app_name)) ", account: " strong { (account(card.account.as_deref())) } }
            @if let Some(reason) = &view.reason { p { (said(reason)) } }
            @if view.removed { (removed(view)) }
            @if !card.attention.is_empty() {
                ul { @for sentence in &card.attention { li { (said(sentence)) } } }
            }
            @if let Some((at, put_off)) = view.predicted_end { (predicted_end(view, at, put_off)) }
            @if !view.missing.is_empty() && view.notice.is_none() { (missing(view)) }
            div.actions {
                form method="post" action={ "/connections/" (card.id) "/check" } {
                    (csrf(shell))
                    button type="submit" { "Check now" }
                }
                @if !view.removed && may_change(view) { (renew(view)) }
            }
        }
    }
}

fn removed(view: &ConnectionView) -> Markup {
    html! {
        p {
            "The app was removed from this workspace, so this can’t be connected again. "
            @if broken(view) {
                "Disconnect it when no workflow needs it any more."
            } @else {
                "Workflows can still use the connection as long as the access lasts."
            }
        }
    }
}

/// The way to repair it: at the app, or with another key.
fn renew(view: &ConnectionView) -> Markup {
    let urgent = broken(view) && (view.missing.is_empty() || view.ask_again.is_none());
    let class = if urgent { "button main" } else { "button" };
    match &view.replace_href {
        Some(href) => link("Enter a new key", href, class),
        None => link("Reconnect", &format!("/connections/{}/reconnect", view.card.id), class),
    }
}

fn missing(view: &ConnectionView) -> Markup {
    html! {
        div.missing {
            h2 { "Permissions that were not granted" }
            p { "Steps that need them will fail until you allow them at " (said(&view.card.app_name)) ":" }
            ul.asked {
                @for (scope, description) in &view.missing {
                    li {
                        @if let Some(description) = description { span { (said(description)) } }
                        (code(scope))
                    }
                }
            }
            @if let Some(href) = &view.ask_again { p { (link("Ask for them again", href, "button main")) } }
        }
    }
}

fn predicted_end(view: &ConnectionView, at: Timestamp, put_off: PutOff) -> Markup {
    html! {
        @if !broken(view) {
            p {
                "This access ends on " (time(at))
                @match put_off {
                    PutOff::Use => " unless it is used before, which the regular check does, too.",
                    PutOff::Renewal => " unless it is renewed before, which happens by itself.",
                    PutOff::Person if view.removed => ", however often it is used.",
                    PutOff::Person => {
                        ", however often it is used. "
                        @if view.replace_href.is_some() { "Enter a new key before then." } @else { "Reconnect before then." }
                    },
                }
            }
        }
    }
}

fn details(view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="details" {
            h2 #details { "Details" }
            dl {
                div { dt { "App" } dd { (said(&view.card.app_name)) } }
                div { dt { "Account" } dd { (account(view.card.account.as_deref())) } }
                @if !view.kind.is_empty() { div { dt { "Kind of access" } dd { (said(&view.kind)) } } }
                @if let Some(owner) = &view.card.owner { div { dt { "Owner" } dd { (said(owner)) } } }
                div { dt { "Last used" } dd { (time_or_never(view.card.last_used)) } }
                div { dt { "Access until" } dd { (access(view)) } }
                div {
                    dt { "Last checked" }
                    dd {
                        @match &view.checked {
                            Some((at, found)) => { (time(*at)) @if !found.is_empty() { ": " (said(found)) } },
                            None => "never",
                        }
                    }
                }
                div {
                    dt { "Next check" }
                    dd {
                        @match view.next_check {
                            Some(at) => (time(at)),
                            None => "not planned",
                        }
                    }
                }
                div { dt { "Last connected" } dd { (time(view.connected)) } }
                div { dt { "First connected" } dd { (time(view.created)) } }
            }
        }
    }
}

fn access(view: &ConnectionView) -> Markup {
    let app = said(&view.card.app_name);
    html! {
        @match (view.lasts, view.expires, view.renewable) {
            _ if broken(view) && view.removed => "ended",
            (Lasts::Consented, _, _) if broken(view) => "ended: reconnect to renew it",
            _ if broken(view) => "ended: enter a new key",
            (Lasts::Pasted, Some(at), _) | (Lasts::Consented, Some(at), false) if view.removed => {
                (time(at)) ", can’t be renewed"
            },
            (Lasts::Pasted, Some(at), _) => { (time(at)) ", can’t be renewed: enter a new key before then" },
            (Lasts::Pasted, None, _) => {
                "a key does not end by itself; it works until it is revoked at " (app)
            },
            (Lasts::Exchanged, Some(at), _) => {
                (time(at)) ", renewed by itself when needed, until the key is revoked at " (app)
            },
            (Lasts::Exchanged, None, _) => {
                "renewed by itself when needed, until the key is revoked at " (app)
            },
            (Lasts::Consented, Some(at), true) => { (time(at)) ", renewed by itself when needed" },
            (Lasts::Consented, Some(at), false) => { (time(at)) ", can’t be renewed: reconnect before then" },
            (Lasts::Consented, None, true) => "no end known, renewed by itself when needed",
            (Lasts::Consented, None, false) => "no end known",
        }
    }
}

fn may_change(view: &ConnectionView) -> bool {
    view.changes == Changes::Allowed
}

fn broken(view: &ConnectionView) -> bool {
    view.card.status.tone == Tone::Bad
}

fn permissions(granted: &[String]) -> Markup {
    html! {
        section aria-labelledby="granted" {
            h2 #granted { "Permissions" }
            @if granted.is_empty() {
                p { "The app has not named any permissions for this connection." }
            } @else {
                ul.scopes { @for scope in granted { li { (code(scope)) } } }
            }
        }
    }
}

fn uses(uses: &[(String, String, Timestamp)]) -> Markup {
    html! {
        section aria-labelledby="uses" {
            h2 #uses { "Used by" }
            @if uses.is_empty() {
                p { "No workflow has used this connection yet." }
            } @else {
                table {
                    caption.unseen { "Workflow steps that use this connection" }
                    thead {
                        tr { th scope="col" { "Workflow" } th scope="col" { "Step" } th scope="col" { "Last used" } }
                    }
                    tbody {
                        @for (workflow, step, last) in uses {
                            tr {
                                th scope="row" { @if workflow.is_empty() { "not named" } @else { (said(workflow)) } }
                                td data-label="Step" { @if step.is_empty() { "not named" } @else { (said(step)) } }
                                td data-label="Last used" { (time(*last)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

const NAME: &str = "Name of this connection";

fn rename(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    let entered = view.renaming.as_ref().map_or(view.card.name.as_str(), |(entered, _)| entered);
    let wrong = view.renaming.as_ref().map(|(_, why)| why.as_str());
    let described = described_by("name", false, wrong.is_some());
    html! {
        section aria-labelledby="rename" {
            h2 #rename { "Rename" }
            (mistake("name", wrong))
            form.line method="post" action={ "/connections/" (view.card.id) "/rename" } {
                (csrf(shell))
                label for="name" { (NAME) }
                input #name type="text" name="name" value=(entered) required maxlength=(LONGEST_NAME)
                    autocomplete="off" dir="auto" aria-invalid=[wrong.map(|_| "true")]
                    aria-describedby=[described.as_deref()];
                button type="submit" { "Save name" }
            }
            p.quiet { "Workflows find the connection by its id, so a new name breaks nothing." }
        }
    }
}

/// For a member who looks at a shared connection.
fn for_admins() -> Markup {
    html! {
        section aria-labelledby="admins" {
            h2 #admins { "Changes" }
            p {
                "This connection is shared with everybody in the workspace. Only an admin can rename, reconnect or "
                "disconnect it. Ask an admin if it has to change."
            }
        }
    }
}

fn disconnect(view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="disconnect" {
            h2 #disconnect { "Disconnect" }
            p { "Ends the access and erases what is stored. You are asked once more first." }
            p { a.button.danger href={ "/connections/" (view.card.id) "?disconnect=1" } { "Disconnect…" } }
        }
    }
}

fn confirm(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    let card = &view.card;
    let workflows = workflows(view);
    html! {
        section.panel.bad aria-labelledby="confirm" {
            h2 #confirm { "Disconnect " (quoted(&card.name)) "?" }
            @if !workflows.is_empty() {
                p { "These workflows use it and will stop working until their steps use another connection:" }
                ul { @for workflow in &workflows { li { (said(workflow)) } } }
            } @else if let Some(last) = card.last_used {
                p { "No workflow is known by name, but something used it last on " (time(last)) "." }
            } @else {
                p { "No workflow has used it." }
            }
            p {
                "The access is revoked at " (said(&card.app_name)) ", if the app offers that and no other connection "
                "shares it. The stored credential is erased. This can’t be undone; you can connect the account again."
            }
            div.actions {
                form method="post" action={ "/connections/" (card.id) "/disconnect" } {
                    (csrf(shell))
                    button.danger type="submit" { "Disconnect now" }
                }
                a.button href={ "/connections/" (card.id) } { "Cancel" }
            }
        }
    }
}

/// Each workflow once, in the order of the uses.
fn workflows(view: &ConnectionView) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (workflow, _, _) in &view.uses {
        if !workflow.is_empty() && !names.contains(&workflow.as_str()) {
            names.push(workflow);
        }
    }
    names
}

fn history(view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="history" {
            h2 #history { "History" }
            @if view.events.is_empty() {
                p { "Nothing is recorded yet." }
            } @else {
                ol.events {
                    @for (at, what) in &view.events { li { (time(*at)) span { (said(what)) } } }
                }
            }
        }
    }
}
