//! The page that asks a person: to go on to an app, or to enter what the app gave them.
//!
//! Owns how an offer becomes a page: scopes to tick, values to enter, help, warnings, the other ways to connect. Refuses
//! to send a secret back: whoever has to correct something enters it again.

use std::rc::Rc;

use super::known::is_ready;
use super::page::{self, Input, Problem, ScopeChoice};
use super::session::shell;
use super::{Call, LEADS_OUT, Response, input, problem, session};
use crate::app::{App, Field, Origin, Variable, field_at, variable_at};
use crate::connect::hosts::{self, Hosts};
use crate::connect::start::{Offer, Wish, setup_page};
use crate::core::Core;
use crate::error::{Code, Error, Result};
use crate::ids::{ClientId, WorkspaceId};
use crate::ports::Ports;
use crate::registry;
use crate::store::{clients, connections, workspaces};

/// From so many parts of ten of an app's limit on, people are warned of it.
const NEARLY: i64 = 9;

/// The page for an offer; with what is wrong, where the person has just tried.
pub(super) async fn page<P: Ports>(
    core: &Core<P>,
    call: &Call<'_>,
    (wish, offer): (&Wish, &Offer),
    refused: Option<&Error>,
) -> Result<Response> {
    let workspace = workspaces::get(core.db(), &wish.workspace).await?.ok_or_else(|| Error::not_found("workspace"))?;
    let csrf = session::form_token(core, call.request);
    // Who came by a link is nobody here, whoever else is signed in.
    let shell = shell(call.session.as_ref().filter(|_| wish.link.is_none()), csrf.as_deref());
    let asking = Asking {
        call,
        wish,
        offer,
        refused,
        workspace: workspace.name,
        warnings: warnings(core, wish, offer).await?,
        ways: ways(core, call, wish, offer).await?,
        hosts: hosts::of_offer(core, offer).await?,
    };
    let markup = if offer.app.kind.is_pasted() {
        page::paste(&shell, &asking.paste())
    } else {
        page::connect(&shell, &asking.connect(host(core, offer).await?))
    };
    let status = refused.map_or(200, |error| problem::status(error.code).0);
    Ok(Response::html(status, markup).with(LEADS_OUT, String::new()))
}

/// Where the person is sent, where that does not depend on what they enter.
async fn host<P: Ports>(core: &Core<P>, offer: &Offer) -> Result<Option<String>> {
    if offer.app.variables.values().any(|one| one.from == Origin::Person) {
        return Ok(None);
    }
    let variables = offer.client.as_ref().map(|client| client.variables.clone()).unwrap_or_default();
    let at = registry::endpoints(core, &offer.app, &variables).await?;
    Ok(at.authorize_url.map(|url| url.host().to_owned()))
}

async fn warnings<P: Ports>(core: &Core<P>, wish: &Wish, offer: &Offer) -> Result<Vec<String>> {
    let app = &offer.app;
    let mut warnings: Vec<String> = app.deprecated.iter().chain(&app.limits.notes).cloned().collect();
    // What a key may do is chosen at the app, when it is made there.
    if let Some(scopes) = wish.scopes.as_ref().filter(|scopes| !app.kind.has_tokens() && !scopes.is_empty()) {
        warnings.push(format!("What you enter must allow this, as a step needs it: {}.", scopes.join(", ")));
    }
    let account = offer.connection.as_ref().and_then(|one| one.account.as_ref());
    if let (Some(client), Some(account)) = (&offer.client, account) {
        warnings.extend(of_limit(core, &wish.workspace, app, (&client.id, &account.id)).await?);
    }
    Ok(warnings)
}

/// That an account's grants near the app's limit for one client, as far as this workspace knows.
pub(super) async fn of_limit<P: Ports>(
    core: &Core<P>,
    workspace: &WorkspaceId,
    app: &App,
    (client, account): (&ClientId, &str),
) -> Result<Option<String>> {
    let Some(most) = app.limits.grants_per_account else { return Ok(None) };
    let live = connections::grants(core.db(), workspace, client, account).await?;
    Ok((live * 10 >= most * NEARLY).then(|| {
        format!(
            "{} keeps at most {most} grants of one account for one client, and this workspace has {live}. Beyond that the oldest ends without a word: reuse a connection instead.",
            app.name
        )
    }))
}

/// What the page is made of.
struct Asking<'a> {
    call: &'a Call<'a>,
    wish: &'a Wish,
    offer: &'a Offer,
    refused: Option<&'a Error>,
    workspace: String,
    warnings: Vec<String>,
    ways: Vec<page::Way>,
    hosts: Hosts,
}

impl Asking<'_> {
    fn app(&self) -> &App {
        &self.offer.app
    }

    fn action(&self) -> String {
        let request = self.call.request;
        if request.query.is_empty() { request.path.clone() } else { format!("{}?{}", request.path, request.query) }
    }

    fn cancel(&self) -> Option<String> {
        self.wish.link.is_none().then(|| match &self.wish.connection {
            Some(id) => format!("/connections/{id}"),
            None => "/".to_owned(),
        })
    }

    fn for_user(&self) -> Option<String> {
        self.wish.link.as_ref().and(self.wish.user.as_ref()).map(|user| user.shown().to_owned())
    }

    fn repaired(&self) -> Option<(String, Option<String>)> {
        let connection = self.offer.connection.as_ref()?;
        Some((connection.name.clone(), connection.account.as_ref().map(|account| account.label.clone())))
    }

    fn scopes_are_fixed(&self) -> bool {
        self.wish.link.as_ref().is_some_and(|link| link.scopes.is_some())
    }

    fn connect(&self, host: Option<String>) -> page::ConnectView {
        page::ConnectView {
            workspace: self.workspace.clone(),
            app_name: self.app().name.clone(),
            scopes: self.scopes(),
            scopes_fixed: self.scopes_are_fixed(),
            inputs: self.variables(),
            problem: self.problem(),
            connect_help: self.app().server().map(|server| server.connect_help.clone()).unwrap_or_default(),
            warnings: self.warnings.clone(),
            ways: self.ways.clone(),
            reconnecting: self.repaired(),
            for_user: self.for_user(),
            invited: self.wish.link.is_some(),
            action: self.action(),
            host,
            hosts: self.hosts(),
            cancel: self.cancel(),
        }
    }

    fn paste(&self) -> page::PasteView {
        let mut inputs = self.variables();
        inputs.extend(self.app().fields.iter().map(|field| self.field(field)));
        let name = input::form(self.call.request, "name").unwrap_or_default();
        page::PasteView {
            workspace: self.workspace.clone(),
            app_name: self.app().name.clone(),
            kind: kind(self.app()),
            inputs,
            scopes: if self.app().mints() { self.scopes() } else { vec![] },
            scopes_fixed: self.scopes_are_fixed(),
            replacing: self.repaired(),
            name,
            name_error: self.error("name"),
            problem: self.problem(),
            warnings: self.warnings.clone(),
            ways: self.ways.clone(),
            for_user: self.for_user(),
            invited: self.wish.link.is_some(),
            action: self.action(),
            hosts: self.hosts(),
            cancel: self.cancel(),
        }
    }

    fn hosts(&self) -> page::HostsView {
        page::HostsView {
            app_name: self.app().name.clone(),
            all: self.hosts.all.iter().cloned().collect(),
            added: self.hosts.added.iter().cloned().collect(),
            chosen: self.hosts.chosen.iter().cloned().collect(),
            defined_by: self.app().custom.then(|| self.workspace.clone()),
            mark: self.hosts.mark.clone(),
        }
    }

    /// Permissions to tick: all that the app is known to have, and whatever else is asked for.
    fn scopes(&self) -> Vec<ScopeChoice> {
        let granted = self.offer.connection.as_ref().map(|one| one.scopes_granted.as_slice()).unwrap_or_default();
        let known = &self.app().scopes;
        let choices = known.iter().map(|scope| ScopeChoice {
            id: scope.id.clone(),
            description: scope.description.clone(),
            sensitive: scope.sensitive.clone(),
            required: scope.required,
            checked: self.offer.scopes.contains(&scope.id),
            granted: granted.contains(&scope.id),
        });
        let others = self.offer.scopes.iter().filter(|id| known.iter().all(|scope| scope.id != **id));
        let others = others.map(|id| ScopeChoice {
            id: id.clone(),
            checked: true,
            granted: granted.contains(id),
            ..ScopeChoice::default()
        });
        choices.chain(others).filter(|one| one.checked || !self.scopes_are_fixed()).collect()
    }

    fn variables(&self) -> Vec<Input> {
        let asked = self.app().variables.iter().filter(|(_, one)| one.from == Origin::Person);
        asked.map(|(name, variable)| self.variable(name, variable)).collect()
    }

    fn variable(&self, name: &str, variable: &Variable) -> Input {
        let had = self.offer.connection.as_ref().and_then(|one| one.variables.get(name)).or(variable.default.as_ref());
        Input {
            id: name.to_owned(),
            label: variable.label.clone(),
            help: variable.help.clone(),
            placeholder: variable.example.clone(),
            value: self.wish.variables.get(name).or(had).cloned(),
            error: self.error(&variable_at(name)),
            ..Input::default()
        }
    }

    fn field(&self, field: &Field) -> Input {
        let entered = || input::form(self.call.request, &page::input_name(&field.id));
        Input {
            id: field.id.clone(),
            label: field.label.clone(),
            help: field.help.clone(),
            url: field.url.clone(),
            secret: field.secret,
            optional: field.optional,
            multiline: field.multiline,
            placeholder: field.placeholder.clone(),
            value: if field.secret { None } else { entered() },
            error: self.error(&field_at(&field.id)),
        }
    }

    fn error(&self, field: &str) -> Option<String> {
        let found = self.refused?.hints.errors.iter().find(|one| one.field == field)?;
        Some(found.problem.clone())
    }

    /// What is wrong, in words of its own only where it is not said at the fields.
    fn problem(&self) -> Option<Problem> {
        let refused = self.refused?;
        let title = match refused.code {
            Code::CredentialRejected => format!("{} did not accept this", self.app().name),
            Code::AppUnavailable => format!("{} could not be asked", self.app().name),
            _ => "Please correct what is marked".to_owned(),
        };
        let marked = &refused.hints.errors;
        let said_at_fields = !marked.is_empty() && marked.iter().all(|one| self.is_on_the_page(&one.field));
        Some(Problem { title, text: if said_at_fields { String::new() } else { refused.detail.clone() } })
    }

    fn is_on_the_page(&self, field: &str) -> bool {
        let app = self.app();
        let entered =
            app.kind.is_pasted() && (field == "name" || app.fields.iter().any(|one| field_at(&one.id) == field));
        let asked = |(name, one): (&String, &Variable)| one.from == Origin::Person && variable_at(name) == field;
        entered || app.variables.iter().any(asked)
    }
}

/// All ways to connect the app. Who came by a link sets nothing up: for them, what is not ready is not there.
async fn ways<P: Ports>(core: &Core<P>, call: &Call<'_>, wish: &Wish, offer: &Offer) -> Result<Vec<page::Way>> {
    let ways = offer.definition.ways();
    if ways.len() < 2 || wish.link.as_ref().is_some_and(|link| link.way.is_some()) {
        return Ok(vec![]);
    }
    let clients = clients::registrations(core.db(), &wish.workspace).await?;
    let one = |(at, app): (usize, &Rc<App>)| {
        let ready = is_ready(&clients, app);
        page::Way {
            id: app.way.to_string(),
            name: kind(app),
            href: if ready { format!("{}?way={}", call.request.path, app.way) } else { setup_page(app) },
            ready,
            recommended: at == 0,
            current: app.way == offer.app.way,
        }
    };
    Ok(ways.iter().enumerate().map(one).filter(|way| way.ready || wish.link.is_none()).collect())
}

/// What people call a way to connect.
pub(super) fn kind(app: &App) -> String {
    app.way_name.clone().unwrap_or_else(|| app.kind.in_words().to_owned())
}
