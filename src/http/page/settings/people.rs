//! People: who is in the workspace, how somebody is invited, and what happens when somebody leaves.

use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::frame::{
    back_link, code_text, copyable_block, csrf_field, head, relative_time, relative_time_or_never, user_text,
};
use super::super::layout::initials;
use super::super::text::{count, fill};
use super::fields::{
    Choice, FormErrors, TextField, form_errors, guard_fields, select_field, shown_once, text_field, tick,
};
use super::list::{List, list, rows};
use super::{SettingsPage, settings_page};
use crate::http::page::PageContext;
use crate::time::Timestamp;

/// A person of the list.
#[derive(Debug, Clone)]
pub struct PersonRow {
    /// Their id.
    pub id: String,
    /// Their name.
    pub name: Option<String>,
    /// Whether they administer the workspace.
    pub is_admin: bool,
    /// Whether it is the person who looks.
    pub is_me: bool,
    /// When they were first seen.
    pub created_at: Timestamp,
    /// When they last signed in.
    pub last_signed_in_at: Option<Timestamp>,
}

impl PersonRow {
    fn display_name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}

/// What was entered for an invitation.
#[derive(Debug, Clone, Default)]
pub struct InviteForm {
    /// The id.
    pub id: String,
    /// The name.
    pub name: String,
    /// The role.
    pub role: String,
}

/// The people, and the form for an invitation.
#[derive(Debug, Clone, Default)]
pub struct PeopleView {
    /// One page of people.
    pub people: Vec<PersonRow>,
    /// What is searched for.
    pub search: Option<String>,
    /// Where the next page is.
    pub next_page_href: Option<String>,
    /// The form.
    pub form: InviteForm,
    /// What was refused of it.
    pub errors: FormErrors,
}

/// An invitation that was just made.
#[derive(Debug, Clone)]
pub struct NewInviteView {
    /// For whom.
    pub name: String,
    /// Whether it signs in an admin.
    pub is_admin: bool,
    /// The link, which is shown this once.
    pub url: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A connection that somebody owns.
#[derive(Debug, Clone)]
pub struct OwnedConnection {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether everybody uses it.
    pub is_shared: bool,
    /// Workflows that use it.
    pub workflows: i64,
}

/// A person, and what leaves with them.
#[derive(Debug, Clone)]
pub struct PersonView {
    /// The person.
    pub person: PersonRow,
    /// Their connections, as far as they are shown.
    pub connections: Vec<OwnedConnection>,
    /// Whether there are more.
    pub has_more: bool,
    /// Who could get them.
    pub heirs: Vec<Choice>,
    /// Who is chosen to get them.
    pub heir: String,
    /// What was refused.
    pub errors: FormErrors,
    /// Whether the workspace would have no admin, and the person must say that they want it.
    pub is_last_admin: bool,
}

/// Where a person's page is.
pub fn person_href(id: &str) -> String {
    format!("/settings/people/{}", utf8_percent_encode(id, NON_ALPHANUMERIC))
}

fn role_badge(shell: &PageContext, is_admin: bool) -> Markup {
    html! { span.badge { @if is_admin { (shell.text.people.admin) } @else { (shell.text.people.member) } } }
}

/// The people.
pub fn settings_people(shell: &PageContext, view: &PeopleView) -> Markup {
    let text = &shell.text.people;
    let body = html! {
        (head(&html! { (text.title) }, &html! {}))
        p { (text.about) }
        (invite_form(shell, view))
        form.line method="get" action="/settings/people" role="search" aria-label=(text.search) {
            label for="q" { (text.search) }
            input #q type="search" name="q" value=(view.search.as_deref().unwrap_or_default()) autocomplete="off" dir="auto";
            button type="submit" { (shell.text.settings.search) }
            @if view.search.is_some() { a.button href="/settings/people" { (shell.text.settings.show_all) } }
        }
        (list(shell, "people", &List {
            title: text.title,
            columns: &[(text.person, ""), (text.role, "w20"), (text.last_sign_in, "w20")],
            action: None,
            none: if view.search.is_some() { text.none_found } else { text.none },
            next_page_href: view.next_page_href.as_deref(),
        }, &rows(&view.people, |person| person_row(shell, person))))
    };
    settings_page(shell, SettingsPage::People, text.title, &body)
}

fn person_row(shell: &PageContext, person: &PersonRow) -> Markup {
    let text = &shell.text.people;
    html! {
        tr {
            th scope="row" {
                div.with-logo {
                    span.avatar aria-hidden="true" { (initials(person.display_name())) }
                    div {
                        a.name href=(person_href(&person.id)) { (user_text(person.display_name())) }
                        @if person.is_me { " " span.badge { (text.you) } }
                        @if person.name.is_some() { p.quiet.small { (user_text(&person.id)) } }
                    }
                }
            }
            td data-label=(text.role) { div { (role_badge(shell, person.is_admin)) } }
            td data-label=(text.last_sign_in) { (relative_time_or_never(shell, person.last_signed_in_at)) }
        }
    }
}

fn roles(shell: &PageContext) -> [Choice; 2] {
    let text = &shell.text.people;
    [Choice::new("member", text.member_can), Choice::new("admin", text.admin_can)]
}

fn invite_form(shell: &PageContext, view: &PeopleView) -> Markup {
    let (text, form, errors) = (&shell.text.people, &view.form, &view.errors);
    html! {
        (form_errors(shell, errors, &[("user_id", text.id), ("user_name", text.name), ("role", text.role)]))
        details.fold open[!errors.is_empty() || shell.shows_form_again()] {
            summary { (text.invite) }
            form method="post" action="/settings/people" autocomplete="off" data-once {
                (guard_fields(shell))
                p.quiet { (text.invite_about) }
                (text_field(shell, errors, &TextField::new("user_id", text.id, &form.id).hint(text.id_hint)))
                (text_field(shell, errors, &TextField::new("user_name", text.name, &form.name).optional()))
                (select_field(shell, errors, "role", text.role, None, &roles(shell), &form.role))
                div.actions { button.primary type="submit" { (text.make_link) } }
            }
        }
    }
}

/// An invitation that was just made. The link is on this page alone.
pub fn new_invite(shell: &PageContext, view: &NewInviteView) -> Markup {
    let text = &shell.text.people;
    let body = html! {
        (back_link(text.title, "/settings/people"))
        (head(&html! { (fill(text.invited_title, &[("name", user_text(&view.name))])) }, &html! {}))
        (shown_once(&html! { p { strong { (text.once) } " " (text.once_about) } }))
        section.card aria-labelledby="link" {
            h2 #link { (text.link) }
            (copyable_block(shell, "link", &view.url))
            p { (fill(text.link_ends, &[("time", relative_time(shell, view.expires_at))])) }
            p { (fill(text.signs_in_as, &[("role", role_badge(shell, view.is_admin))])) }
        }
        div.actions { a.button href="/settings/people" { (text.title) } }
    };
    settings_page(shell, SettingsPage::People, text.invite, &body)
}

/// One person.
pub fn settings_person(shell: &PageContext, view: &PersonView) -> Markup {
    let text = &shell.text.people;
    let person = &view.person;
    let body = html! {
        (back_link(text.title, "/settings/people"))
        (head(&html! { (user_text(person.display_name())) @if person.is_me { " " span.badge { (text.you) } } }, &html! {}))
        (form_errors(shell, &view.errors, &[("role", text.role), ("transfer_to", text.heir)]))
        section.card aria-labelledby="about" {
            h2 #about { (text.about_person) }
            dl {
                div { dt { (text.id) } dd { (code_text(&person.id)) } }
                div { dt { (text.role) } dd { (role_badge(shell, person.is_admin)) } }
                div { dt { (text.first_seen) } dd { (relative_time(shell, person.created_at)) } }
                div { dt { (text.last_sign_in) } dd { (relative_time_or_never(shell, person.last_signed_in_at)) } }
            }
        }
        section.card aria-labelledby="role-title" {
            h2 #role-title { (text.change_role) }
            form method="post" action={ (person_href(&person.id)) "/role" } {
                (csrf_field(shell))
                (select_field(shell, &view.errors, "role", text.role, None, &roles(shell), if person.is_admin { "admin" } else { "member" }))
                p.quiet { (text.role_about) }
                button type="submit" { (text.save_role) }
            }
        }
        (connections_section(shell, view))
        (removal_section(shell, view))
    };
    settings_page(shell, SettingsPage::People, person.display_name(), &body)
}

fn connections_section(shell: &PageContext, view: &PersonView) -> Markup {
    let text = &shell.text.people;
    html! {
        section.card aria-labelledby="owned" {
            h2 #owned { (text.connections) }
            @if view.connections.is_empty() { p.quiet { (text.owns_nothing) } }
            @else {
                ul.list {
                    @for one in &view.connections {
                        li {
                            a.name href={ "/connections/" (one.id) } { (user_text(&one.name)) } " "
                            span.badge { @if one.is_shared { (text.shared) } @else { (text.private) } } " "
                            span.quiet.small { (count(one.workflows, text.one_workflow, text.some_workflows)) }
                        }
                    }
                }
                @if view.has_more { p.quiet { (text.more_connections) } }
            }
        }
    }
}

fn removal_section(shell: &PageContext, view: &PersonView) -> Markup {
    let text = &shell.text.people;
    let mut heirs = vec![Choice::new("", text.nobody)];
    heirs.extend(view.heirs.iter().cloned());
    html! {
        section.card aria-labelledby="remove" {
            h2 #remove { (text.remove) }
            p { (text.remove_about) }
            ul {
                li { (text.remove_sessions) }
                @if !view.connections.is_empty() { li { (text.remove_connections) } }
                li { (text.remove_keys) }
            }
            form method="post" action={ (person_href(&view.person.id)) "/remove" } {
                (csrf_field(shell))
                @if !view.connections.is_empty() {
                    (select_field(shell, &view.errors, "transfer_to", text.heir, Some(text.heir_hint), &heirs, &view.heir))
                }
                @if view.is_last_admin { (tick("without_admin", "yes", &html! { (text.without_admin) }, false)) }
                button.danger type="submit" { (text.remove) }
            }
        }
    }
}
