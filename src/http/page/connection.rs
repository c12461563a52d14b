//! A connection's own page: whose account it is, whether it works, who uses it, and what can be done.
//!
//! Owns the forms that rename, check and disconnect. Disconnecting takes two steps, and the second
//! says what will stop working.

use maud::{Markup, html};

use super::frame::{account, class, code, csrf, notice, page, quoted, said, status, time, time_or_never};
use super::{ConnectionView, Shell, Tone};
use crate::connect::settle::LONGEST_NAME;

/// A connection's own page.
pub fn connection(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    let card = &view.card;
    let body = html! {
        nav { a href="/" { "All connections" } }
        h1 { (said(&card.name)) }
        (notice(view.notice.as_deref()))
        @if view.confirming_disconnect { (confirm(shell, view)) }
        (state(shell, view))
        (details(view))
        (permissions(&view.granted))
        (uses(&view.uses))
        (rename(shell, view))
        @if !view.confirming_disconnect { (disconnect(view)) }
        (history(view))
    };
    if view.confirming_disconnect {
        page(shell, &format!("Disconnect {}?", card.name), &body)
    } else {
        page(shell, &card.name, &body)
    }
}

fn state(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    let card = &view.card;
    let reconnect = format!("/connections/{}/reconnect", card.id);
    // Missing permissions are no reason to look healthy.
    let tone = match card.status.tone {
        Tone::Good if !view.missing.is_empty() => Tone::Waiting,
        tone => tone,
    };
    let urgent = card.status.tone == Tone::Bad && view.missing.is_empty();
    html! {
        section.panel.(class(tone)) aria-labelledby="state" {
            h2 #state { (status(&card.status)) }
            p { (said(&card.app_name)) ", account: " strong { (account(card.account.as_deref())) } }
            @if let Some(reason) = &view.reason { p { (said(reason)) } }
            @if !card.attention.is_empty() {
                ul { @for sentence in &card.attention { li { (said(sentence)) } } }
            }
            @if !view.missing.is_empty() { (missing(view, &reconnect)) }
            div.actions {
                form method="post" action={ "/connections/" (card.id) "/check" } {
                    (csrf(shell))
                    button type="submit" { "Check now" }
                }
                a.button.main[urgent] href=(reconnect) { "Reconnect" }
            }
        }
    }
}

fn missing(view: &ConnectionView, reconnect: &str) -> Markup {
    html! {
        div.missing {
            h3 { "Permissions that were not granted" }
            p { "Steps that need them will fail until you allow them at " (said(&view.card.app_name)) ":" }
            ul { @for scope in &view.missing { li { (code(scope)) } } }
            p { a.button.main href=(reconnect) { "Allow them" } }
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
    html! {
        @match (view.expires, view.renewable) {
            _ if view.card.status.tone == Tone::Bad => "ended: reconnect to renew it",
            (Some(at), true) => { (time(at)) ", renewed by itself when needed" },
            (Some(at), false) => { (time(at)) ", can’t be renewed: reconnect before then" },
            (None, true) => "no end known, renewed by itself when needed",
            (None, false) => "no end known",
        }
    }
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

fn uses(uses: &[(String, String, crate::time::Timestamp)]) -> Markup {
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

fn rename(shell: &Shell<'_>, view: &ConnectionView) -> Markup {
    html! {
        section aria-labelledby="rename" {
            h2 #rename { "Rename" }
            form.line method="post" action={ "/connections/" (view.card.id) "/rename" } {
                (csrf(shell))
                label for="name" { "Name of this connection" }
                input #name type="text" name="name" value=(view.card.name) required maxlength=(LONGEST_NAME)
                    autocomplete="off" dir="auto";
                button type="submit" { "Save name" }
            }
            p.quiet { "Workflows find the connection by its id, so a new name breaks nothing." }
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
