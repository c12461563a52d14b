//! Every page, with hostile words in every field, and the rules all pages keep.

use maud::Markup;

use super::*;
use crate::app::CredentialKind;
use crate::app_list::AppReadiness;
use crate::connect::callback::CallbackRefusal;
use crate::email::EmailPreference;
use crate::http::kept_forms::EndedForm;
use crate::secret::Secret;

/// Each tries to leave another place: an element, an attribute, the reading direction.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></textarea><h1>",
    "\u{202e}moc.live\u{202c}\u{2067}\u{200f}",
    "&lt;b&gt; & {{7*7}}",
];
fn page_context() -> PageContext {
    PageContext {
        person: Some(SignedInPerson { name: "Ada".into(), is_admin: true }),
        csrf: Some("forgery-guard".into()),
        ..PageContext::signed_out(noon())
    }
}

fn parse_time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn noon() -> Timestamp {
    parse_time("2026-11-22T12:00:00Z")
}

fn connection_summary(words: &str, tone: Tone) -> ConnectionSummary {
    ConnectionSummary {
        id: words.to_owned(),
        app: words.to_owned(),
        name: words.to_owned(),
        app_name: words.to_owned(),
        account_label: Some(words.to_owned()),
        status: StatusLabel { text: words.to_owned(), tone },
        attention: vec![words.to_owned()],
        last_used_at: Some(noon()),
        workflows: 3,
        owner: words.to_owned(),
        environment: "test".to_owned(),
        is_default: true,
        may_change: true,
        action: if tone == Tone::Bad { RowAction::Reconnect } else { RowAction::Check },
    }
}

fn filter_choice(words: &str) -> FilterChoice {
    FilterChoice { value: words.to_owned(), label: words.to_owned() }
}

fn list_filters(words: &str) -> ListFilters {
    ListFilters {
        search: words.to_owned(),
        app: words.to_owned(),
        status: words.to_owned(),
        environment: words.to_owned(),
        owner: words.to_owned(),
        workflow: words.to_owned(),
        sort: words.to_owned(),
        apps: vec![filter_choice(words), filter_choice("other")],
        statuses: vec![filter_choice(words)],
        owners: vec![filter_choice(words)],
    }
}

fn connection_list_view(words: &str) -> ConnectionListView {
    let tab = |is_current| StatusTab {
        label: "All",
        number: 200,
        or_more: is_current,
        href: format!("/?status={words}"),
        is_current,
    };
    let sort = |sorted| SortLink { href: format!("/?sort={words}"), sorted };
    let href = |name: &str| Some(format!("/?{name}={words}"));
    ConnectionListView {
        connections: vec![connection_summary(words, Tone::Good), connection_summary(words, Tone::Bad)],
        tabs: vec![tab(true), tab(false)],
        filters: list_filters(words),
        sorts: vec![sort(Some("ascending")), sort(Some("descending")), sort(None)],
        pages: PagesOfList {
            from: 51,
            matches: 120,
            window: Some(400),
            is_later_window: true,
            previous_href: href("page"),
            next_href: href("page"),
            newest_href: href("q"),
            older_href: href("cursor"),
            here: format!("/?q={words}"),
        },
        recently_disconnected: vec![RecentlyDisconnected {
            id: words.to_owned(),
            app: words.to_owned(),
            app_name: words.to_owned(),
            name: words.to_owned(),
            account_label: Some(words.to_owned()),
            undo_until: noon(),
        }],
    }
}

fn review_view(words: &str) -> ReviewView {
    use crate::review::{NameProblem, ReviewGroup};
    let row = |group: ReviewGroup| ReviewRow {
        connection: ConnectionSummary { attention: vec![], ..connection_summary(words, Tone::Bad) },
        twin: (group == ReviewGroup::Duplicate).then(|| (words.to_owned(), words.to_owned())),
        suggestion: (group == ReviewGroup::UnclearName)
            .then(|| NameSuggestion { name: words.to_owned(), problem: NameProblem::Same }),
    };
    let group = |group| {
        let all_href = format!("/?cursor={words}");
        ReviewGroupView { group, number: 7, or_more: true, all_href, rows: vec![row(group)] }
    };
    ReviewView {
        groups: ReviewGroup::ALL.into_iter().map(group).collect(),
        window: Some(400),
        older_href: Some(format!("/review?cursor={words}")),
        here: format!("/review?cursor={words}"),
    }
}

fn bulk_fields(words: &str, offer: BulkOffer) -> BulkFields {
    BulkFields {
        offer,
        left: vec![words.to_owned()],
        done: 3,
        all: 12,
        problems: vec![(words.to_owned(), crate::bulk::BulkOutcome::Broken)],
        ended: vec![words.to_owned()],
        back: format!("/?q={words}"),
        owner: words.to_owned(),
        sharing: words.to_owned(),
    }
}

fn bulk_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    let text = words.to_owned();
    let impact = BulkImpactRow {
        name: text.clone(),
        app: text.clone(),
        app_name: text.clone(),
        workflows: vec![text.clone(), text.clone()],
    };
    let confirm = BulkConfirmView {
        fields: bulk_fields(words, BulkOffer::Disconnect),
        rows: vec![impact.clone(), BulkImpactRow { workflows: vec![], ..impact }],
        skipped: vec![text.clone()],
        workflows: vec![text.clone()],
    };
    let people = |people: Vec<(String, String)>| OwnerChoice { owner: format!("id:{words}"), people };
    let share = BulkShareView {
        fields: bulk_fields(words, BulkOffer::Share),
        people: people(vec![(text.clone(), text.clone())]),
        is_incomplete: true,
    };
    let problems = crate::bulk::BulkOutcome::ALL.iter().map(|outcome| BulkProblem {
        id: text.clone(),
        name: Some(text.clone()).filter(|_| *outcome != crate::bulk::BulkOutcome::Gone),
        outcome: *outcome,
        may_reconnect: true,
    });
    let result = BulkResultView { fields: bulk_fields(words, BulkOffer::Disconnect), problems: problems.collect() };
    let checked = BulkResultView {
        fields: BulkFields { ended: vec![], ..bulk_fields(words, BulkOffer::Check) },
        problems: vec![],
    };
    vec![
        nothing_selected(shell, &format!("/?q={words}"), None),
        nothing_selected(shell, &format!("/?q={words}"), Some(80)),
        bulk_confirm(shell, &BulkConfirmView { rows: vec![], ..confirm.clone() }),
        bulk_confirm(shell, &confirm),
        bulk_share(shell, &BulkShareView { people: people(vec![]), ..share.clone() }),
        bulk_share(shell, &share),
        bulk_progress(shell, &BulkProgressView { fields: bulk_fields(words, BulkOffer::Share) }),
        bulk_result(shell, &result),
        bulk_result(shell, &checked),
    ]
}

fn app_tile(words: &str, readiness: AppReadiness) -> AppTile {
    AppTile {
        id: words.to_owned(),
        name: words.to_owned(),
        auth_methods: vec![words.to_owned()],
        categories: vec![words.to_owned()],
        readiness,
        href: format!("/oauth/start/{words}"),
        is_custom: false,
        popularity: None,
    }
}

fn catalogue_view(words: &str) -> CatalogueView {
    let states = [AppReadiness::Ready, AppReadiness::OtherMethodReady, AppReadiness::NeedsSetup];
    let mut apps = states.map(|one| app_tile(words, one)).to_vec();
    apps.push(AppTile { is_custom: true, ..app_tile(words, AppReadiness::Ready) });
    apps.push(AppTile { popularity: Some(0), ..app_tile(words, AppReadiness::Ready) });
    CatalogueView { apps, search: None, category: None }
}

fn identity(words: &str) -> ConnectionIdentity {
    ConnectionIdentity {
        id: words.to_owned(),
        name: words.to_owned(),
        app: words.to_owned(),
        app_name: words.to_owned(),
        account_label: Some(words.to_owned()),
    }
}

fn scope_view(id: &str, description: Option<&str>) -> ScopeView {
    ScopeView { id: id.to_owned(), description: description.map(str::to_owned) }
}

fn use_view(workflow: &str, step: &str) -> UseView {
    let href = format!("/workflows/{workflow}");
    UseView { workflow: workflow.to_owned(), href, step: step.to_owned(), last_used_at: noon(), days: 2 }
}

fn history_entries(words: &str) -> Vec<HistoryEntry> {
    let event = |kind: &str, by| HistoryEntry {
        at: noon(),
        by,
        what: HistoryWhat::Event(kind.to_owned(), Some(words.to_owned())),
    };
    let mut found = vec![
        event("edited", HistoryActor::Person(words.to_owned())),
        event("needs_reconnect", HistoryActor::Key(Some(words.to_owned()))),
        event("default_changed", HistoryActor::You),
        event("account_switched", HistoryActor::Key(None)),
        event("of_a_later_version", HistoryActor::Schedule),
    ];
    let what = HistoryWhat::Event("edited".into(), Some(format!("owner: {words}, name: {words}")));
    found.push(HistoryEntry { at: noon(), by: HistoryActor::Operator, what });
    found.push(HistoryEntry { at: noon(), by: HistoryActor::Somebody, what: HistoryWhat::Check(CheckResult::Works) });
    found
}

fn connection_view(words: &str) -> ConnectionView {
    ConnectionView {
        identity: identity(words),
        status: StatusLabel { text: words.to_owned(), tone: Tone::Waiting },
        evidence: (Evidence::RenewalFailed(words.to_owned()), Some(noon())),
        attention: vec![words.to_owned()],
        next_action: NextAction::None,
        granted_scopes: vec![scope_view(words, None), scope_view(words, Some(words))],
        missing_scopes: vec![scope_view(words, Some(words)), scope_view(words, None)],
        missing_scopes_href: Some(format!("/connections/{words}/reconnect")),
        app_removed: false,
        change_permission: ChangePermission::Allowed,
        access_source: AccessSource::Consent,
        expires_at: Some(noon()),
        refreshable: true,
        predicted_end: Some((noon(), ExtendedBy::Use)),
        warnings: vec![words.to_owned(), words.to_owned()],
        uses: vec![use_view(words, words)],
        use_counts: (3, 5),
        steps_by_day: [vec![0; 28], vec![1, 3]].concat(),
        last_used_at: Some(noon()),
        settings: settings_view(words),
        owner: OwnerView::Person(words.to_owned()),
        defaults: vec![(None, String::new()), (Some(words.to_owned()), words.to_owned())],
        history: history_entries(words),
        machinery: Machinery {
            auth_method: words.to_owned(),
            account_id: Some(words.to_owned()),
            client: Some(words.to_owned()),
            revision: Some(2),
            generation: 3,
            version: 4,
            next_check_at: Some(noon()),
            created_at: noon(),
            connected_at: noon(),
        },
        resolve_url: format!("{words}/v1/connections/{words}/resolve"),
    }
}

fn connection_form_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    let candidates = vec![other_connection(words)];
    let replacement = ReplacementView {
        candidates: candidates.clone(),
        chosen: words.to_owned(),
        across: true,
        answers_for_others: false,
        workflows: vec![words.to_owned()],
    };
    let choice = |people| OwnerChoice { owner: words.to_owned(), people };
    let sharing = |owner| ConnectionForm::Sharing(SharingView { state: words.to_owned(), shared: true, owner });
    let end = |workflows| DisconnectView { workflows, last_used_at: Some(noon()), is_default: true };
    let forms = [
        ConnectionForm::Name(words.to_owned()),
        ConnectionForm::Environment("test".into()),
        sharing(None),
        sharing(Some(choice(vec![]))),
        sharing(Some(choice(vec![("ann".into(), words.to_owned())]))),
        ConnectionForm::Replacement(replacement.clone()),
        ConnectionForm::Replacement(ReplacementView { answers_for_others: true, ..replacement.clone() }),
        ConnectionForm::Replacement(ReplacementView { candidates: vec![], ..replacement }),
        ConnectionForm::Disconnect(end(vec![words.to_owned()])),
        ConnectionForm::Disconnect(end(vec![])),
    ];
    let page = |form: &ConnectionForm, rejected| {
        connection_form(shell, &ConnectionFormView { identity: identity(words), form: form.clone(), rejected })
    };
    let at = |field: &str| Some(RejectedForm::Field(field.to_owned(), words.to_owned()));
    let rejected = || [None, at(""), at("owner"), Some(RejectedForm::Whole(words.to_owned()))];
    forms.iter().flat_map(|form| rejected().map(|why| page(form, why))).collect()
}

fn other_connection(words: &str) -> OtherConnection {
    OtherConnection { id: words.to_owned(), name: Some(words.to_owned()), environment: words.to_owned() }
}

fn settings_view(words: &str) -> SettingsView {
    SettingsView {
        environment: "test".into(),
        shared: true,
        replaced_by: Some(other_connection(words)),
        replaces: vec![],
        step_changes: vec![words.to_owned()],
    }
}

fn workflow_view(words: &str) -> WorkflowView {
    let text = || words.to_owned();
    let step = StepView {
        step: text(),
        connection: text(),
        name: text(),
        app: (text(), text()),
        by_default: true,
        notes: vec![text()],
        last_used_at: noon(),
    };
    let connection = WorkflowConnectionView {
        id: text(),
        name: text(),
        app: (text(), text()),
        account_label: Some(text()),
        environment: "test".to_owned(),
        is_replaced: true,
        steps: vec![text(); 7],
        problem: Some(text()),
        repair: Some(("Reconnect", format!("/connections/{words}/reconnect"))),
    };
    WorkflowView {
        workflow: text(),
        href: "/workflows/w".to_owned(),
        environment: text(),
        is_complete: false,
        connections: vec![connection],
        steps: vec![step],
        has_more: true,
    }
}

fn workflows_view(words: &str) -> WorkflowsView {
    let row = WorkflowRow {
        workflow: words.to_owned(),
        href: "/workflows/w".to_owned(),
        apps: vec![(words.to_owned(), words.to_owned())],
        more_apps: 2,
        connections: 3,
        steps: 1,
        is_complete: false,
        status: StatusLabel { text: words.to_owned(), tone: Tone::Bad },
        used_default: true,
        changed_steps: 2,
        last_used_at: noon(),
    };
    WorkflowsView {
        workflows: vec![row],
        search: Some(words.to_owned()),
        next_page_href: Some("/workflows?cursor=1".to_owned()),
        is_later_page: true,
    }
}

fn hosts_view(words: &str) -> HostsView {
    let text = words.to_owned();
    HostsView {
        app_name: text.clone(),
        all_hosts: vec![text.clone()],
        non_default_hosts: vec![],
        added_hosts: vec![text.clone()],
        defining_workspace: Some(text.clone()),
        fingerprint: text,
    }
}

fn consent_details(words: &str) -> ConsentDetails {
    ConsentDetails {
        workspace: words.to_owned(),
        app: words.to_owned(),
        app_name: words.to_owned(),
        existing_connection: None,
        for_user: Some(words.to_owned()),
        by_link: true,
    }
}

fn repairing_consent(words: &str) -> ConsentDetails {
    ConsentDetails {
        existing_connection: Some((words.to_owned(), Some(words.to_owned()))),
        by_link: false,
        for_user: None,
        ..consent_details(words)
    }
}

fn connect_view(words: &str) -> ConnectView {
    ConnectView {
        hosts: hosts_view(words),
        form_error: None,
        consent: consent_details(words),
        scopes: vec![scope_choice(words), ScopeChoice { required: true, ..scope_choice(words) }],
        scopes_are_fixed: false,
        fields: form_fields(words),
        connect_help: vec![words.to_owned()],
        warnings: vec![words.to_owned()],
        auth_methods: auth_method_choices(words),
        form_action: format!("/connect/{words}"),
        authorize_host: Some(words.to_owned()),
        cancel_href: Some(format!("/{words}")),
    }
}

fn scope_choice(words: &str) -> ScopeChoice {
    let text = words.to_owned();
    ScopeChoice {
        id: text.clone(),
        description: Some(text.clone()),
        sensitive: Some(text),
        held: super::HeldScope::Granted,
        ..ScopeChoice::default()
    }
}

fn many_scopes(words: &str) -> Vec<ScopeChoice> {
    (0..12).map(|n| ScopeChoice { checked: n % 3 == 0, ..scope_choice(words) }).collect()
}

/// A field of each sort: open, secret, of several lines.
fn form_fields(words: &str) -> Vec<FormField> {
    let text = words.to_owned();
    let all = FormField {
        id: text.clone(),
        label: text.clone(),
        help: Some(text.clone()),
        url: Some(text.clone()),
        placeholder: Some(text.clone()),
        value: Some(text.clone()),
        error: Some(text),
        ..FormField::default()
    };
    vec![
        all.clone(),
        FormField { optional: true, help: None, url: None, placeholder: None, error: None, ..all.clone() },
        FormField { secret: true, ..all.clone() },
        FormField { multiline: true, ..all.clone() },
        FormField { multiline: true, secret: true, ..all },
    ]
}

fn auth_method_choices(words: &str) -> Vec<AuthMethodChoice> {
    let way = |current, recommended, ready| AuthMethodChoice {
        name: words.to_owned(),
        href: format!("/oauth/start/{words}"),
        ready,
        recommended,
        current,
    };
    vec![way(false, true, true), way(true, false, true), way(false, false, false)]
}

fn manual_credential_view(words: &str) -> ManualCredentialView {
    let text = words.to_owned();
    ManualCredentialView {
        hosts: hosts_view(words),
        consent: consent_details(words),
        credential_kind: text.clone(),
        fields: form_fields(words),
        scopes: many_scopes(words),
        scopes_are_fixed: false,
        connection_name: text.clone(),
        name_error: Some(text.clone()),
        form_error: Some(FormError { title: text.clone(), text: text.clone(), is_unreachable: false }),
        warnings: vec![text.clone()],
        auth_methods: auth_method_choices(words),
        form_action: format!("/connect/{words}"),
        cancel_href: Some(format!("/{words}")),
    }
}

fn setup_view(words: &str) -> SetupView {
    let text = words.to_owned();
    SetupView {
        app: text.clone(),
        query: "?auth_method=oauth2".into(),
        app_name: text.clone(),
        auth_method: Some(text.clone()),
        other_auth_methods: vec![(text.clone(), true, format!("/{words}")), (text.clone(), false, format!("/{words}"))],
        workspace: text.clone(),
        is_set_up: false,
        console_url: Some(text.clone()),
        steps: vec![text.clone()],
        redirect_uri: Some(text.clone()),
        redirect_uri_depends_on: vec![text.clone()],
        default_scopes: vec![(text.clone(), Some(text.clone())), (text.clone(), None)],
        connect_help: vec![text.clone()],
        optional_scopes: vec![(text.clone(), Some(text.clone()))],
        put_client_call: SetupCall { method: "PUT", url: text.clone(), body: text.clone() },
        test_client_call: SetupCall { method: "POST", url: text.clone(), body: text.clone() },
        apps_sharing_client: vec![text.clone(), text.clone()],
        docs_url: Some(text),
    }
}

fn choose_view(words: &str, question: ChoiceQuestion) -> ChooseView {
    ChooseView {
        app_name: words.to_owned(),
        action: format!("/flows/{words}"),
        question,
        entered_manually: false,
        note: Some(words.to_owned()),
        workflows: vec![words.to_owned(), words.to_owned()],
        has_more_workflows: true,
    }
}

fn auth_methods_view(words: &str) -> AuthMethodsView {
    let steps = [
        MethodStep::AskAdmin { request: words.to_owned(), href: format!("/apps/{words}/setup") },
        MethodStep::SetUp(format!("/settings/apps/{words}")),
        MethodStep::AskSender,
        MethodStep::Use(format!("/oauth/start/{words}")),
    ];
    let kinds = [CredentialKind::OAuth2, CredentialKind::ServiceAccount, CredentialKind::Basic, CredentialKind::ApiKey];
    let card = |(step, kind): (MethodStep, CredentialKind)| MethodCard {
        name: words.to_owned(),
        kind,
        is_recommended: kind == CredentialKind::OAuth2,
        addresses_changed: false,
        next: step,
    };
    AuthMethodsView {
        consent: consent_details(words),
        methods: steps.into_iter().zip(kinds).map(card).collect(),
        cancel_href: Some(format!("/{words}")),
    }
}

fn other_person_view(words: &str) -> OtherPersonView {
    OtherPersonView { intended: Some(words.to_owned()), text: words.to_owned(), return_to: format!("/connect/{words}") }
}

fn other_account_question(before: Option<&str>, now: Option<&str>, name: &str) -> ChoiceQuestion {
    ChoiceQuestion::OtherAccount {
        account_before: before.map(str::to_owned),
        account_now: now.map(str::to_owned),
        connection_name: name.to_owned(),
    }
}

/// The pages of whoever is about to sign in.
fn sign_in_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    let text = words.to_owned();
    let required =
        |choice, ended| sign_in_required(&PageContext::signed_out(noon()), &SignInRequiredView { choice, ended });
    vec![
        sign_in(
            shell,
            &SignInView {
                workspace: text.clone(),
                user: text.clone(),
                action: format!("/in/{words}"),
                replaces: Some(text.clone()),
            },
        ),
        provider_sign_in(
            shell,
            &ProviderSignInView {
                workspace: text.clone(),
                provider: text.clone(),
                action: format!("/in/{words}"),
                return_to: Some(text.clone()),
                replaces: Some((text.clone(), text.clone())),
            },
        ),
        required(SignInChoice::LinkOnly, None),
        required(SignInChoice::LinkOnly, Some(EndedForm::NothingTyped)),
        required(
            SignInChoice::AskForWorkspace { return_to: Some("/connections/<b>".into()), refused: None },
            Some(EndedForm::Kept),
        ),
        required(SignInChoice::OnlyWorkspace { href: "/sign-in/ws_1".into() }, Some(EndedForm::TooLong)),
    ]
}

fn refused(words: &str, fields: &[&str]) -> FormErrors {
    let fields = fields.iter().map(|name| ((*name).to_owned(), words.to_owned())).collect();
    FormErrors { summary: Some(words.to_owned()), fields }
}

fn key_row(words: &str) -> KeyRow {
    KeyRow {
        id: words.to_owned(),
        name: words.to_owned(),
        scopes: vec!["resolve", "*"],
        apps: Some(1),
        connections: Some(2),
        environment: Some("test"),
        created_at: Some(noon()),
        expires_at: Some(noon()),
        previous_until: Some(noon()),
        made_by: Some(words.to_owned()),
    }
}

fn limit_choice(words: &str, is_checked: bool) -> LimitChoice {
    LimitChoice { id: words.to_owned(), name: words.to_owned(), about: Some(words.to_owned()), is_checked }
}

fn person_row(words: &str, is_admin: bool) -> PersonRow {
    PersonRow {
        id: words.to_owned(),
        name: Some(words.to_owned()),
        is_admin,
        is_me: is_admin,
        created_at: noon(),
        last_signed_in_at: None,
    }
}

fn events_view(words: &str) -> EventsView {
    EventsView {
        address: Some(words.to_owned()),
        has_secret: true,
        uses_client_secret: false,
        is_signed: true,
        handshake: Some(words.to_owned()),
        docs_url: Some(words.to_owned()),
        secret_handshake: Some(HandshakeView {
            app_name: words.to_owned(),
            action: format!("/settings/apps/{words}/handshake"),
            received: Some((noon(), Some(Secret::new(words)))),
        }),
    }
}

fn opened_handshake_view(words: &str, must_be_entered: bool) -> OpenedHandshakeView {
    OpenedHandshakeView {
        app_name: words.to_owned(),
        page: format!("/settings/apps/{words}"),
        address: Secret::new(words),
        expires_at: noon(),
        must_be_entered,
    }
}

fn client_page_view(words: &str) -> ClientPageView {
    let text = words.to_owned();
    ClientPageView {
        app: text.clone(),
        setup: setup_view(words),
        events: Some(events_view(words)),
        query: "?auth_method=oauth2".into(),
        state: text.clone(),
        client: Some(ClientSummary {
            has_secret: true,
            secret_expires_at: Some(noon()),
            problem: Some(text.clone()),
            updated_at: noon(),
        }),
        form: ClientForm {
            client_id: text.clone(),
            scopes: text.clone(),
            expires_on: text.clone(),
            key_id: text.clone(),
            certificate: text.clone(),
        },
        variables: form_fields(words),
        test_variables: form_fields(words).into_iter().take(1).collect(),
        errors: refused(words, &["client_id", "scopes", "secret_expires_at"]),
        test: Some(TestResult { tone: Tone::Bad, title: text.clone(), detail: text.clone(), code: Some(text) }),
    }
}

/// The pages of the administration.
#[expect(clippy::too_many_lines, reason = "one entry for each page")]
fn settings_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    let text = words.to_owned();
    let states = [
        AppState::Ready,
        AppState::Broken,
        AppState::EndsSoon(noon()),
        AppState::Missing,
        AppState::MissingForOneWay,
        AppState::NotNeeded,
    ];
    let app =
        |state| AppRow { id: text.clone(), name: text.clone(), methods: vec![text.clone()], state, is_custom: true };
    let deletion = |connections: Vec<(String, String)>| ClientDeletionView {
        app: (text.clone(), text.clone()),
        client_id: text.clone(),
        query: String::new(),
        connections,
        has_more: true,
        apps_sharing_client: vec![text.clone()],
        errors: refused(words, &[]),
    };
    let key_form = KeyForm {
        name: text.clone(),
        scopes: vec![ScopeOption { id: "resolve", is_checked: true }, ScopeOption { id: "new", is_checked: false }],
        app_choices: vec![limit_choice(words, true)],
        apps: text.clone(),
        connection_choices: vec![limit_choice(words, false)],
        has_more_connections: true,
        connections: text.clone(),
        environment: text.clone(),
        days: text.clone(),
    };
    let keys = KeysView {
        keys: vec![key_row(words)],
        next_page_href: Some(format!("/settings/keys?cursor={words}")),
        form: key_form,
        errors: refused(words, &["name", "scopes", "apps", "connections"]),
    };
    let new_key_view = NewKeyView {
        id: text.clone(),
        name: text.clone(),
        key: text.clone(),
        command: text.clone(),
        previous_until: Some(noon()),
        is_rotation: true,
    };
    let key = KeyView {
        key: key_row(words),
        apps: vec![text.clone()],
        connections: vec![text.clone()],
        links: 1,
        sign_in_links: 2,
        sessions: 3,
        errors: refused(words, &["overlap"]),
    };
    let choice = || Choice { value: text.clone(), label: text.clone() };
    let link = |status| LinkRow {
        id: text.clone(),
        app: (text.clone(), text.clone()),
        person: Some(text.clone()),
        status: StatusLabel { text: text.clone(), tone: status },
        connection: Some(text.clone()),
        created_at: noon(),
        expires_at: noon(),
        can_end: true,
    };
    let links = LinksView {
        links: vec![link(Tone::Good)],
        next_page_href: Some(format!("/settings/links?cursor={words}")),
        apps: vec![choice()],
        form: LinkForm { user_id: text.clone(), user_name: text.clone(), ..LinkForm::default() },
        errors: refused(words, &["app", "user_id", "user_name"]),
    };
    let people = PeopleView {
        people: vec![person_row(words, true), person_row(words, false)],
        search: Some(text.clone()),
        next_page_href: Some(format!("/settings/people?cursor={words}")),
        form: InviteForm { id: text.clone(), name: text.clone(), role: text.clone() },
        errors: refused(words, &["user_id", "user_name", "role"]),
    };
    let person = PersonView {
        person: person_row(words, false),
        connections: vec![OwnedConnection { id: text.clone(), name: text.clone(), is_shared: true, workflows: 3 }],
        has_more: true,
        heirs: vec![choice()],
        heir: text.clone(),
        errors: refused(words, &["role", "transfer_to"]),
        is_last_admin: true,
    };
    let sessions = SessionsView {
        sessions: vec![
            SessionRow {
                id: text.clone(),
                person: Some((text.clone(), text.clone())),
                is_admin: true,
                is_this: true,
                created_at: noon(),
                expires_at: noon(),
            },
            SessionRow {
                id: text.clone(),
                person: None,
                is_admin: false,
                is_this: false,
                created_at: noon(),
                expires_at: noon(),
            },
        ],
        next_page_href: Some(format!("/settings/sessions?cursor={words}")),
        pending: vec![PendingSignIn { id: text.clone(), name: text.clone(), is_admin: true, expires_at: noon() }],
    };
    let mut pages = more_settings_pages(shell, words);
    pages.extend([
        settings_apps(
            shell,
            &AppsView { apps: states.map(app).into(), search: Some(text.clone()), switched_off_webhooks: 2 },
        ),
        settings_apps(shell, &AppsView::default()),
        client_page(shell, &client_page_view(words)),
        events_only_page(
            shell,
            &EventsOnlyView {
                app: (text.clone(), text.clone()),
                connect_href: "/oauth/start/a".into(),
                events: events_view(words),
                errors: refused(words, &["event_secret"]),
            },
        ),
        opened_handshake(shell, &opened_handshake_view(words, true)),
        opened_handshake(shell, &opened_handshake_view(words, false)),
        client_page(
            shell,
            &ClientPageView { client: None, errors: FormErrors::default(), test: None, ..client_page_view(words) },
        ),
        client_deletion(shell, &deletion(vec![])),
        client_deletion(shell, &deletion(vec![(text.clone(), text.clone())])),
        settings_keys(shell, &keys),
        settings_keys(shell, &KeysView { keys: vec![], errors: FormErrors::default(), ..keys.clone() }),
        new_key(shell, &new_key_view),
        settings_key(shell, &key),
        settings_links(shell, &links),
        settings_links(shell, &LinksView::default()),
        new_link(shell, &NewLinkView { app_name: text.clone(), url: text.clone(), expires_at: noon() }),
        settings_people(shell, &people),
        settings_people(shell, &PeopleView::default()),
        new_invite(shell, &NewInviteView { name: text.clone(), is_admin: true, url: text.clone(), expires_at: noon() }),
        settings_person(shell, &person),
        settings_sessions(shell, &sessions),
        settings_sessions(shell, &SessionsView::default()),
        activity(shell, &activity_view(words)),
        activity(shell, &ActivityView::default()),
    ]);
    pages
}

#[expect(clippy::too_many_lines, reason = "one entry for each page")]
fn more_settings_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    let text = words.to_owned();
    let pair = || (text.clone(), text.clone());
    let problems = || vec![pair(), (String::new(), text.clone())];
    let app_form = CustomAppForm {
        name: text.clone(),
        id: text.clone(),
        method: text.clone(),
        issuer: text.clone(),
        identity_url: text.clone(),
        header: text.clone(),
        ..CustomAppForm::default()
    };
    let new = NewAppView {
        form: app_form,
        definition: String::new(),
        errors: refused(words, &["name", "id", "issuer", "method"]),
        problems: vec![],
    };
    let deletion =
        CustomAppDeletionView { app: pair(), connections: vec![(text.clone(), text.clone(), 2)], has_more: true };
    let row = DefaultRow {
        app: pair(),
        person: Some(text.clone()),
        environment: Some("test"),
        connection: pair(),
        broken: Some(StatusLabel { text: text.clone(), tone: Tone::Bad }),
        href: format!("/settings/default?app={words}"),
    };
    let choice = || Choice { value: text.clone(), label: text.clone() };
    let default = DefaultView {
        app: pair(),
        user: text.clone(),
        environment: text.clone(),
        connection: Some(pair()),
        workflows: vec![text.clone()],
        candidates: vec![choice()],
        href: "/settings/default".to_owned(),
        chosen: text.clone(),
        errors: refused(words, &["connection"]),
    };
    let job = JobView {
        id: text.clone(),
        app: pair(),
        reason: text.clone(),
        connections: 10,
        workflows: 2,
        ended: 5,
        erased: 3,
        outcomes: vec![("Confirmed", 3)],
        created_at: noon(),
        finished_at: None,
    };
    let provider = ProviderView {
        since: Some(noon()),
        sign_in_url: Some(text.clone()),
        redirect_uri: Some(text.clone()),
        form: ProviderForm {
            issuer: text.clone(),
            client_id: text.clone(),
            allowed_domains: text.clone(),
            admin_groups: text.clone(),
        },
        errors: refused(words, &["client_id", "allowed_domains"]),
    };
    let workspace = WorkspaceView {
        state: text.clone(),
        id: text.clone(),
        name: text.clone(),
        origins: text.clone(),
        brand_name: text.clone(),
        logo_url: text.clone(),
        accent: text.clone(),
        example_origin: text.clone(),
        errors: refused(words, &["name", "allowed_origins"]),
    };
    let tried = TryView {
        id: text.clone(),
        name: text.clone(),
        app: pair(),
        request: text.clone(),
        answer: Some(TryAnswer { status: 200, body: text.clone(), words: text.clone(), tone: Tone::Good }),
        may_make_key: true,
    };
    let all = DisconnectAllView {
        app: pair(),
        connections: 3,
        workflows: 1,
        confirm: text.clone(),
        reason: text.clone(),
        errors: refused(words, &["confirm", "reason"]),
        ..DisconnectAllView::default()
    };
    vec![
        settings_custom_apps(shell, &CustomAppsView { apps: vec![pair()] }),
        settings_custom_apps(shell, &CustomAppsView::default()),
        new_app(shell, &new),
        new_app(shell, &NewAppView { definition: text.clone(), problems: problems(), ..NewAppView::default() }),
        settings_custom_app(
            shell,
            &CustomAppView {
                app: pair(),
                definition: text.clone(),
                state: text.clone(),
                problems: problems(),
                errors: refused(words, &[]),
            },
        ),
        custom_app_deletion(shell, &deletion),
        custom_app_deletion(shell, &CustomAppDeletionView { connections: vec![], ..deletion.clone() }),
        settings_defaults(
            shell,
            &DefaultsView { defaults: vec![row], next_page_href: Some(format!("/{words}")), apps: vec![choice()] },
        ),
        settings_defaults(shell, &DefaultsView { apps: vec![choice()], ..DefaultsView::default() }),
        settings_default(shell, &default),
        settings_default(shell, &DefaultView { app: pair(), ..DefaultView::default() }),
        disconnect_all(shell, &all),
        disconnect_job(shell, &job),
        disconnect_job(shell, &JobView { finished_at: Some(noon()), ..job.clone() }),
        settings_sign_in(shell, &provider),
        settings_sign_in(shell, &ProviderView::default()),
        settings_workspace(shell, &workspace),
        try_resolve(shell, &tried),
        try_resolve(shell, &TryView { answer: None, ..tried.clone() }),
        settings_webhooks(shell, &webhooks_view(words)),
        settings_webhooks(shell, &WebhooksView::default()),
        new_webhook(
            shell,
            &NewWebhookView { id: text.clone(), url: text.clone(), secret: text.clone(), previous_until: Some(noon()) },
        ),
        settings_webhook(shell, &webhook_view(words)),
        settings_webhook(
            shell,
            &WebhookView { is_enabled: false, sent: None, deliveries: vec![], ..webhook_view(words) },
        ),
        settings_email(shell, &email_settings_view(words)),
        settings_email(
            shell,
            &EmailSettingsView { test: Some(EmailTest::Refused(text.clone())), ..email_settings_view(words) },
        ),
        settings_email(
            shell,
            &EmailSettingsView { own_address: None, test: Some(EmailTest::NoAnswer), ..email_settings_view(words) },
        ),
        settings_email(shell, &EmailSettingsView::default()),
    ]
}

fn email_settings_view(words: &str) -> EmailSettingsView {
    EmailSettingsView {
        is_available: true,
        is_on: true,
        from: Some(words.to_owned()),
        own_address: Some(words.to_owned()),
        last_sent_at: Some(noon()),
        last_failure: Some((noon(), words.to_owned())),
        errors: refused(words, &[]),
        test: Some(EmailTest::Sent(words.to_owned())),
    }
}

fn email_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    let view = PersonalEmailView { is_on: true, address: Some(words.to_owned()), preference: EmailPreference::Urgent };
    vec![
        personal_email(shell, &view),
        personal_email(shell, &PersonalEmailView { is_on: false, address: None, ..view.clone() }),
        stop_email(shell, &StopEmailView { workspace: words.to_owned(), action: "/email/stop/x".to_owned() }),
    ]
}

fn webhook_form(words: &str) -> WebhookForm {
    WebhookForm { url: words.to_owned(), types: vec![EventOption { id: "connection.created", is_checked: true }] }
}

fn webhooks_view(words: &str) -> WebhooksView {
    let status = StatusLabel { text: words.to_owned(), tone: Tone::Good };
    let row = WebhookRow { id: words.to_owned(), url: words.to_owned(), types: 2, status };
    WebhooksView {
        webhooks: vec![row],
        next_page_href: Some(format!("/settings/webhooks?cursor={words}")),
        form: webhook_form(words),
        errors: refused(words, &["url", "types"]),
    }
}

fn webhook_view(words: &str) -> WebhookView {
    let text = words.to_owned();
    let status = || StatusLabel { text: text.clone(), tone: Tone::Bad };
    let delivery = || DeliveryRow {
        id: text.clone(),
        kind: text.clone(),
        status: status(),
        created_at: noon(),
        attempts: 3,
        last: Some(text.clone()),
        next_attempt_at: None,
    };
    WebhookView {
        state: words.to_owned(),
        id: text.clone(),
        status: status(),
        problem: Some(text.clone()),
        is_enabled: true,
        form: webhook_form(words),
        errors: refused(words, &["url", "types", "overlap"]),
        sent: Some(delivery()),
        deliveries: vec![delivery()],
        next_page_href: Some(format!("/settings/webhooks/{words}")),
    }
}

fn activity_view(words: &str) -> ActivityView {
    let text = words.to_owned();
    let row = ActivityRow {
        at: noon(),
        what: text.clone(),
        actor: (text.clone(), Some(format!("/settings/people/{words}"))),
        subject: Some((text.clone(), Some(format!("/connections/{words}")))),
        app: Some(text.clone()),
        workflow: Some(text.clone()),
        detail: vec![
            DetailPart::Text(text.clone()),
            DetailPart::Named(text.clone(), Some("/connections/con_x".to_owned())),
            DetailPart::Named(text.clone(), None),
            DetailPart::Id(text.clone()),
        ],
        ids: vec![ActivityId { label: "Key id", id: text.clone() }, ActivityId { label: "Id", id: text.clone() }],
        address: Some(text.clone()),
        user_agent: Some(text.clone()),
        request_id: Some(text.clone()),
    };
    ActivityView {
        filters: ActivityFilters {
            kind: text.clone(),
            actor: text.clone(),
            connection: text.clone(),
            app: text.clone(),
            workflow: text.clone(),
            from: text.clone(),
            to: text.clone(),
        },
        kinds: vec![Choice { value: text.clone(), label: text.clone() }],
        errors: refused(words, &["type", "actor", "from"]),
        rows: vec![row.clone(), ActivityRow { subject: None, app: None, actor: (text, None), ..row }],
        is_later_page: true,
        first_page_href: format!("/activity?actor={words}"),
        next_page_href: Some(format!("/activity?cursor={words}")),
        csv_href: format!("/activity/export?actor={words}"),
        json_href: format!("/activity/export?actor={words}"),
    }
}

/// The list of connections and the review, full and empty.
fn list_pages(shell: &PageContext, words: &str) -> Vec<Markup> {
    vec![
        connection_list(shell, &connection_list_view(words)),
        connection_list(shell, &ConnectionListView { connections: Vec::new(), ..connection_list_view(words) }),
        review(shell, &review_view(words)),
        review(shell, &ReviewView::default()),
        connection_list(shell, &ConnectionListView::default()),
        connection_list(
            &PageContext { notice: Some(Notice::disconnected_for_now("con_1", words)), ..shell.clone() },
            &ConnectionListView::default(),
        ),
    ]
}

/// Every page in every shape, with these words in every field.
fn render_all_pages(words: &str, csrf: &str) -> Vec<String> {
    let shell = PageContext {
        person: Some(SignedInPerson { name: words.to_owned(), is_admin: true }),
        csrf: Some(csrf.to_owned()),
        notice: Some(Notice { code: NoticeCode::Connected, about: words.to_owned() }),
        ..PageContext::signed_out(noon())
    };
    let text = words.to_owned();
    let answering = ConnectionView {
        settings: SettingsView { replaced_by: None, replaces: vec![other_connection(words)], ..settings_view(words) },
        owner: OwnerView::Nobody,
        ..connection_view(words)
    };
    let repairing = repairing_consent(words);
    let reconnecting = ConnectView { consent: repairing.clone(), cancel_href: None, ..connect_view(words) };
    let long = ConnectView { scopes: many_scopes(words), authorize_host: None, ..connect_view(words) };
    let fixed = ConnectView { scopes_are_fixed: true, fields: Vec::new(), ..connect_view(words) };
    let replacing = ManualCredentialView {
        consent: repairing,
        scopes_are_fixed: true,
        form_error: None,
        cancel_href: None,
        ..manual_credential_view(words)
    };
    let told_later = SetupView {
        auth_method: None,
        other_auth_methods: Vec::new(),
        redirect_uri: None,
        steps: Vec::new(),
        ..setup_view(words)
    };
    let searched = CatalogueView { search: Some(text.clone()), category: Some(text.clone()), ..catalogue_view(words) };
    let old_news = ConnectionView {
        access_source: AccessSource::ManualCredential,
        next_action: NextAction::NewKey,
        ..connection_view(words)
    };
    let removed = ConnectionView { app_removed: true, owner: OwnerView::You, ..connection_view(words) };
    let exchanged =
        ConnectionView { access_source: AccessSource::TokenExchange, expires_at: None, ..connection_view(words) };
    let duplicate = ChoiceQuestion::Duplicate { account: text.clone(), existing_connection_name: text.clone() };
    let links = vec![(text.clone(), format!("/{words}")), (text.clone(), text.clone())];
    let said = Message { title: text.clone(), text: format!("{words}\n\n{words}"), tone: Tone::Good, links };
    let mut pages = sign_in_pages(&shell, words);
    pages.extend(connection_form_pages(&shell, words));
    pages.extend(settings_pages(&shell, words));
    pages.extend(email_pages(&PageContext { has_email: true, ..shell.clone() }, words));
    pages.extend(bulk_pages(&shell, words));
    pages.extend(list_pages(&shell, words));
    pages.extend([
        app_catalogue(&shell, &catalogue_view(words)),
        app_catalogue(&shell, &searched),
        app_catalogue(&shell, &CatalogueView { apps: vec![], ..searched }),
        connection(&shell, &connection_view(words)),
        connection(&shell, &old_news),
        connection(&shell, &exchanged),
        connection(&shell, &removed),
        connection(
            &shell,
            &ConnectionView {
                change_permission: ChangePermission::AdminsOnly,
                missing_scopes_href: None,
                ..connection_view(words)
            },
        ),
        connection(&shell, &answering),
        workflow(&shell, &workflow_view(words)),
        workflow_list(&shell, &workflows_view(words)),
        workflow_list(&shell, &WorkflowsView { workflows: vec![], ..workflows_view(words) }),
        workflow_list(&shell, &WorkflowsView::default()),
        connect(&shell, &connect_view(words)),
        connect(&shell, &reconnecting),
        connect(&shell, &long),
        connect(&shell, &fixed),
        manual_credential(&shell, &manual_credential_view(words)),
        manual_credential(&shell, &replacing),
        setup(&shell, &setup_view(words)),
        setup(&shell, &told_later),
        choose(&shell, &choose_view(words, other_account_question(Some(words), Some(words), words))),
        choose(&shell, &choose_view(words, other_account_question(None, Some(words), words))),
        choose(&shell, &choose_view(words, other_account_question(Some(words), None, words))),
        choose(&shell, &ChooseView { entered_manually: true, ..choose_view(words, duplicate.clone()) }),
        choose(&shell, &choose_view(words, duplicate)),
        auth_methods(&shell, &auth_methods_view(words)),
        auth_methods(
            &shell,
            &AuthMethodsView { consent: repairing_consent(words), cancel_href: None, ..auth_methods_view(words) },
        ),
        other_person(&shell, &other_person_view(words)),
        other_person(&shell, &OtherPersonView { intended: None, ..other_person_view(words) }),
        message(&shell, &said),
        message(&shell, &refusal_message(&ENGLISH, CallbackRefusal::UnknownState)),
    ]);
    pages.into_iter().map(Markup::into_string).collect()
}

/// The elements' opening tags, as a browser would see them: text has no bare `<` when it is escaped.
fn opening_tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).filter(|tag| !tag.starts_with('/')).collect()
}

/// A tag with its attributes' values blanked.
fn tag_without_values(tag: &str) -> String {
    tag.split('"').step_by(2).collect()
}

#[test]
fn untrusted_text_changes_no_element_and_no_attribute() {
    let plain: Vec<Vec<String>> = render_all_pages("words", "words")
        .iter()
        .map(|html| opening_tags(html).into_iter().map(tag_without_values).collect())
        .collect();
    for words in HOSTILE {
        for (html, plain) in render_all_pages(words, words).iter().zip(&plain) {
            let shapes: Vec<String> = opening_tags(html).into_iter().map(tag_without_values).collect();
            assert_eq!(&shapes, plain, "{words:?} changed {html}");
            assert!(
                html.matches("<script").count() <= 2
                    && !html.contains("\"><img")
                    && !html.contains("onerror=alert(1)>")
            );
        }
    }
}

#[test]
fn a_brand_changes_no_element_and_stands_beside_the_workspace() {
    let branded = |words: &str| {
        let branding = crate::branding::Branding {
            name: Some(words.to_owned()),
            logo_url: Some("https://cdn.example/logo.png".to_owned()),
            accent: crate::branding::Accent::parse("#123456"),
        };
        let brand = Brand::new(&branding, words, words, crate::egress::EgressPolicy::Public);
        let shell = PageContext { brand, ..PageContext::signed_out(noon()) };
        let said = Message { title: words.to_owned(), text: words.to_owned(), tone: Tone::Good, links: vec![] };
        [
            connect(&shell, &connect_view(words)),
            manual_credential(&shell, &manual_credential_view(words)),
            choose(&shell, &choose_view(words, other_account_question(Some(words), Some(words), words))),
            message(&shell, &said),
        ]
        .map(Markup::into_string)
    };
    let shapes = |html: &str| -> Vec<String> { opening_tags(html).into_iter().map(tag_without_values).collect() };
    let plain = branded("words").map(|html| shapes(&html));
    for words in HOSTILE {
        for (html, plain) in branded(words).iter().zip(&plain) {
            assert_eq!(&shapes(html), plain, "{words:?} changed {html}");
            assert!(html.matches("<script").count() == 1 && html.matches("<img ").count() == 1, "{html}");
            assert!(html.contains("For the workspace <bdi>") && html.contains(" at <bdi>"), "{html}");
        }
    }
}

#[test]
fn bidirectional_control_characters_are_made_visible() {
    for html in render_all_pages("a\u{202e}b\u{2066}\u{7}", "guard") {
        // What was entered comes back as it was: in an attribute, or in a field of several lines.
        let text: String = html.split("<textarea").map(|part| part.split("</textarea>").last().unwrap()).collect();
        let text: String = text.split('"').step_by(2).collect();
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{7}']), "{text}");
    }
    let html = message(&page_context(), &refusal_with_title("a\u{202e}b")).into_string();
    assert!(html.contains("<bdi>a\u{fffd}b</bdi>") && html.contains("<title>a\u{fffd}b"));
}

fn refusal_with_title(title: &str) -> Message {
    Message { title: title.to_owned(), ..refusal_message(&ENGLISH, CallbackRefusal::UnknownState) }
}

#[test]
fn every_page_follows_the_html_rules() {
    for html in render_all_pages("words", "forgery-guard") {
        let tags = opening_tags(&html);
        let count = |name: &str| tags.iter().filter(|tag| tag.split(' ').next() == Some(name)).count();
        let posts = tags.iter().filter(|tag| tag.starts_with("form") && tag.contains("method=\"post\"")).count();
        let guards = html.matches("name=\"csrf\" value=\"forgery-guard\"").count();
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        assert_eq!(
            (count("h1"), count("title"), count("main"), count("script"), count("img")),
            (1, 1, 1, 1, 0),
            "{html}"
        );
        assert!(!html.contains("<title> –"), "{html}");
        assert!(html.contains("<meta name=\"viewport\""));
        assert_eq!(posts, guards, "a form that changes something has no guard: {html}");
        assert!(!html.contains(" style=") && !html.contains("http://") && !html.contains("https://"), "{html}");
        let sources = html.split(" src=\"").skip(1);
        assert!(sources.into_iter().all(|source| source.starts_with("/assets/")), "{html}");
        for tag in tags.iter().filter(|tag| tag.starts_with("form") && !tag.contains("method=\"post\"")) {
            let leads_to_sign_in = "form method=\"get\" action=\"/sign-in\"";
            let of_settings = tag.contains("method=\"get\" action=\"/settings/")
                || tag.contains("method=\"get\" action=\"/activity\"");
            assert!(
                *tag == "form method=\"get\" action=\"/\" role=\"search\" aria-label=\"Search and filter your connections\""
                    || *tag
                        == "form class=\"toolbar\" method=\"get\" action=\"/connect\" role=\"search\" aria-label=\"Search apps\""
                    || *tag == leads_to_sign_in
                    || (of_settings || tag.contains("method=\"get\" action=\"/workflows"))
                        && tag.contains("role=\"search\" aria-label="),
                "{tag}"
            );
        }
    }
}

#[test]
fn every_input_has_a_label_and_every_id_is_unique() {
    for html in render_all_pages("words", "guard") {
        let tags = opening_tags(&html);
        let ids: Vec<&str> = html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{id} twice in {html}");
        }
        for pointer in [" for=\"", " aria-labelledby=\"", " aria-describedby=\""] {
            let lists = html.split(pointer).skip(1).map(|rest| rest.split('"').next().unwrap());
            for id in lists.flat_map(|list| list.split(' ')) {
                assert!(ids.contains(&id), "nothing is {id} in {html}");
            }
        }
        let asks = |tag: &str| ["input", "textarea", "select"].iter().any(|name| tag.starts_with(name));
        let shown = tags.iter().filter(|tag| asks(tag) && !tag.contains("type=\"hidden\"")).count();
        assert_eq!(shown, tags.iter().filter(|tag| tag.starts_with("label")).count());
        // A box stands in its label; any other field is the one that a label is for.
        for tag in
            tags.iter().filter(|tag| asks(tag) && !tag.contains("type=\"hidden\"") && !tag.contains("\"checkbox\""))
        {
            let id = tag.split("id=\"").nth(1).unwrap().split('"').next().unwrap();
            assert_eq!(html.matches(&format!(" for=\"{id}\"")).count(), 1, "{tag}");
        }
    }
}

#[test]
fn without_a_session_there_is_no_sign_out_and_no_home_link() {
    let html = connect(&PageContext::default(), &connect_view("words")).into_string();
    assert!(!html.contains("/sign-out") && !html.contains("href=\"/\"") && !html.contains("csrf"));
    let html = connection_list(&page_context(), &ConnectionListView::default()).into_string();
    assert!(html.contains("action=\"/sign-out\"") && html.contains("<bdi>Ada</bdi>"));
}

#[test]
fn an_empty_list_explains_connections_and_an_empty_search_does_not() {
    let first = connection_list(&page_context(), &ConnectionListView::default()).into_string();
    assert!(first.contains("Nothing is connected yet") && first.contains("A connection lets workflows act"));
    assert!(first.contains("with an account of yours: you sign in there or enter a key once"));
    assert!(first.contains("href=\"/connect\">Choose an app</a>"));
    assert!(!first.contains("role=\"search\""));
    let searched = connection_list(&page_context(), &search_for("zzz", PagesOfList::default())).into_string();
    assert!(searched.contains("No connection has “<bdi>zzz</bdi>”") && searched.contains("Show all connections"));
    assert!(!searched.contains("Nothing is connected yet"));
}

fn search_for(words: &str, pages: PagesOfList) -> ConnectionListView {
    let filters = ListFilters { search: words.to_owned(), ..ListFilters::default() };
    ConnectionListView { filters, pages, ..ConnectionListView::default() }
}

#[test]
fn a_search_that_is_not_complete_leads_to_the_older_connections() {
    let page = |older_href: Option<&str>, is_later_window| {
        let older_href = older_href.map(str::to_owned);
        let pages = PagesOfList { is_later_window, older_href, ..PagesOfList::default() };
        connection_list(&page_context(), &search_for("zzz", pages)).into_string()
    };
    let incomplete = page(Some("/?cursor=1.a&amp;q=zzz"), false);
    assert!(incomplete.contains("No connection found yet") && incomplete.contains(">Search older connections<"));
    assert!(!incomplete.contains("No connection has "), "that is not known");
    let last = page(None, true);
    assert!(last.contains("No older connection has “<bdi>zzz</bdi>”") && !last.contains("Search older connections"));
}

#[test]
fn a_row_has_one_action_and_a_menu_and_a_box_to_select_it() {
    let broken = connection_summary("broken", Tone::Bad);
    let healthy = ConnectionSummary { may_change: false, ..connection_summary("healthy", Tone::Good) };
    let connections = vec![broken, healthy];
    let html = connection_list(&page_context(), &ConnectionListView { connections, ..ConnectionListView::default() })
        .into_string();
    assert!(html.contains("href=\"/connections/broken/reconnect\">Reconnect<span class=\"unseen\">: "), "{html}");
    assert!(!html.contains("/connections/healthy/reconnect"));
    assert!(html.contains("formaction=\"/connections/healthy/check\"") && html.contains("/connections/broken/rename"));
    assert!(!html.contains("/connections/healthy/rename") && !html.contains("/connections/healthy/disconnect"));
    for name in ["broken", "healthy"] {
        assert!(html.contains(&format!("Select <bdi>{name}</bdi>")), "{html}");
    }
    let member = PageContext { person: Some(SignedInPerson { name: "Ada".into(), is_admin: false }), ..page_context() };
    let of_member = connection_list(&member, &connection_list_view("words")).into_string();
    assert!(html.contains("Change owner…") && !of_member.contains("Change owner…"));
}

#[test]
fn each_app_says_what_it_needs_and_leads_on() {
    let admin = app_catalogue(&page_context(), &catalogue_view("words")).into_string();
    let member = PageContext {
        person: Some(SignedInPerson { name: "Ada".into(), is_admin: false }),
        ..PageContext::signed_out(noon())
    };
    let member = app_catalogue(&member, &catalogue_view("words")).into_string();
    assert_eq!(member.matches("href=\"/oauth/start/words\"").count(), 5);
    for (html, words, times) in [
        (&member, "<span>Ready</span>", 3),
        (&member, "<span>Sign-in needs setup</span>", 1),
        (&member, "<span>Needs setup by an admin</span>", 1),
        (&member, ">Custom</span>", 1),
        (&admin, "<span>Set it up</span>", 1),
        (&admin, "by an admin", 0),
    ] {
        assert_eq!(html.matches(words).count(), times, "{words}: {html}");
    }
}

#[test]
fn apps_are_grouped_and_match_every_word_of_a_search() {
    let named = |name: &str| AppTile { name: name.to_owned(), ..app_tile(&name.to_lowercase(), AppReadiness::Ready) };
    let mut apps = ["Zulu", "alpha", "Mike"].map(named).to_vec();
    apps.push(AppTile { popularity: Some(1), ..named("Anton") });
    apps.push(AppTile { popularity: Some(0), ..named("Berta") });
    apps.push(AppTile { is_custom: true, ..named("Own") });
    apps.push(AppTile {
        categories: vec!["email".to_owned()],
        auth_methods: vec!["API key".to_owned()],
        ..named("Post")
    });
    let view = CatalogueView { apps, ..CatalogueView::default() };
    let html = app_catalogue(&page_context(), &view).into_string();
    let places = ["Own", "Berta", "Anton", "alpha", "Mike", "Post", "Zulu"]
        .map(|name| html.find(&format!("<bdi>{name}</bdi>")).unwrap());
    assert!(places.is_sorted(), "{html}");
    assert!(html.contains("<option value=\"email\">Email</option>") && html.contains("id=\"apps-none\" hidden"));

    let search = |words: &str| {
        app_catalogue(&page_context(), &CatalogueView { search: Some(words.to_owned()), ..view.clone() }).into_string()
    };
    let html = search("email KEY");
    assert_eq!(html.matches("href=\"/oauth/start/").count(), 1, "{html}");
    assert!(html.contains("href=\"/oauth/start/post\"") && html.contains("value=\"email KEY\""));
    let html = search("email nothing");
    assert!(html.contains("No app matches “<bdi>email nothing</bdi>”.") && html.contains(">Show all apps</a>"));
    let of_category = CatalogueView { category: Some("email".to_owned()), ..view.clone() };
    let html = app_catalogue(&page_context(), &of_category).into_string();
    assert_eq!(html.matches("href=\"/oauth/start/").count(), 1, "{html}");
    assert!(html.contains("<option value=\"email\" selected>"), "{html}");
}

#[test]
fn a_long_catalogue_ends_with_a_word_about_the_search() {
    let apps = (0..10_000).map(|n| app_tile(&format!("app-{n}"), AppReadiness::Ready)).collect();
    let html = app_catalogue(&page_context(), &CatalogueView { apps, ..CatalogueView::default() }).into_string();
    assert_eq!(html.matches("href=\"/oauth/start/").count(), 300);
    assert!(html.contains("There are more apps."));
}

#[test]
fn a_new_connection_has_a_text_for_every_missing_value() {
    let bare = ConnectionView {
        identity: ConnectionIdentity { account_label: None, ..identity("words") },
        status: StatusLabel { text: "words".into(), tone: Tone::Info },
        evidence: (Evidence::Never, None),
        attention: vec![],
        next_action: NextAction::Check,
        granted_scopes: vec![],
        missing_scopes: vec![],
        missing_scopes_href: None,
        warnings: vec![],
        expires_at: None,
        refreshable: false,
        predicted_end: None,
        uses: vec![],
        use_counts: (0, 0),
        last_used_at: None,
        owner: OwnerView::Nobody,
        defaults: vec![],
        history: vec![],
        machinery: Machinery {
            next_check_at: None,
            account_id: None,
            client: None,
            ..connection_view("words").machinery
        },
        ..connection_view("words")
    };
    let html = connection(&page_context(), &bare).into_string();
    for words in [
        "Account unknown",
        "Never",
        "say when it ends",
        "Nobody has tried this credential",
        "No workflow has used it yet.",
        "Nothing is recorded yet.",
        "has not named any permissions",
        "<dd>Nobody <a class=\"way\" href=\"/connections/words/sharing\" aria-label=\"Change the owner\">Change</a></dd>",
        "<dd>No</dd>",
    ] {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
    for words in ["Missing permissions", "Good to know", "Enter a new key", "This access ends", "Account id"] {
        assert!(!html.contains(words), "{words} is in {html}");
    }
    assert_eq!(html.matches("Check now").count(), 1, "as the next action, and not once more");
}

#[test]
fn the_history_says_who_did_what() {
    let say = |kind: &str, by, detail: &str| {
        let what = HistoryWhat::Event(kind.to_owned(), Some(detail.to_owned()).filter(|text| !text.is_empty()));
        let view = ConnectionView { history: vec![HistoryEntry { at: noon(), by, what }], ..connection_view("words") };
        let html = connection(&page_context(), &view).into_string();
        html.split("class=\"events\"").nth(1).unwrap().split("</ol>").next().unwrap().to_owned()
    };
    let ada = || HistoryActor::Person("Ada".into());
    for (kind, by, detail, told) in [
        ("edited", ada(), "name: a, name: b", "<bdi>Ada</bdi> renamed it to “<bdi>a, name: b</bdi>”"),
        (
            "edited",
            HistoryActor::You,
            "owner: bob, shared: true, name: X",
            "You gave it to <bdi>bob</bdi><br>You shared it",
        ),
        ("edited", HistoryActor::Key(Some("CI".into())), "metadata", "The key “<bdi>CI</bdi>” changed its metadata"),
        ("edited", HistoryActor::Key(None), "environment: test", "A key that is revoked set the environment to"),
        ("default_changed", ada(), "the workspace: ended", "It is no longer a default (<bdi>the workspace</bdi>)"),
        ("replaced", ada(), "by con_1", "<bdi>Ada</bdi> let another connection answer for it"),
        ("disconnect_undone", HistoryActor::You, "", "You undid the disconnect"),
        ("of_later", HistoryActor::Schedule, "", "The regular check: <bdi>of later</bdi>"),
    ] {
        let html = say(kind, by, detail);
        assert!(html.contains(told), "{told}: {html}");
        assert!(!html.contains("clock"), "{html}");
    }
}

#[test]
fn missing_permissions_are_shown_once_by_what_they_permit_and_asked_for() {
    let missing = vec![scope_view("chat:write", Some("Write messages"))];
    let view =
        ConnectionView { missing_scopes: missing, next_action: NextAction::AskMissing, ..connection_view("words") };
    let html = connection(&page_context(), &view).into_string();
    assert!(html.contains("<span title=\"chat:write\"><bdi>Write messages</bdi></span>"));
    let ask = "href=\"/connections/words/reconnect\">Ask for the missing permissions</a>";
    assert_eq!((html.matches(ask).count(), html.matches("Missing permissions").count()), (1, 1));
    let html = connection(&page_context(), &ConnectionView { next_action: NextAction::Reconnect, ..view.clone() })
        .into_string();
    assert_eq!(html.matches(ask).count(), 1, "beside the list, if something else is more urgent");
    let view = ConnectionView { missing_scopes_href: None, next_action: NextAction::None, ..view };
    let html = connection(&page_context(), &view).into_string();
    assert!(html.contains("chat:write") && !html.contains("Ask for the missing"));
}

#[test]
fn a_connection_of_a_removed_app_says_so_and_offers_no_repair() {
    for (tone, words) in [(Tone::Good, "Workflows can still use the connection"), (Tone::Bad, "Disconnect it when")] {
        for access_source in [AccessSource::Consent, AccessSource::ManualCredential] {
            let view = ConnectionView {
                status: StatusLabel { text: "words".into(), tone },
                missing_scopes: vec![],
                missing_scopes_href: None,
                app_removed: true,
                predicted_end: Some((noon(), ExtendedBy::Reconnect)),
                refreshable: false,
                access_source,
                ..connection_view("words")
            };
            let html = connection(&page_context(), &view).into_string();
            assert!(html.contains("This app was removed from the workspace") && html.contains(words), "{html}");
            for words in ["/reconnect", "Reconnect", "nter a new key"] {
                assert!(!html.contains(words), "{words} is in {html}");
            }
        }
    }
}

#[test]
fn the_expiry_of_each_credential_type_has_its_own_text() {
    let told = |access_source, expires_at, refreshable, tone| {
        let status = StatusLabel { text: "words".into(), tone };
        let view = ConnectionView {
            status,
            access_source,
            expires_at,
            refreshable,
            predicted_end: None,
            ..connection_view("words")
        };
        connection(&page_context(), &view).into_string()
    };
    let (good, bad, soon) = (Tone::Good, Tone::Bad, Some(noon()));
    let html = told(AccessSource::ManualCredential, None, false, good);
    assert!(html.contains("expire. It works until it is revoked at <bdi>words</bdi>"), "{html}");
    assert!(
        html.contains("href=\"/connections/words/reconnect\">Enter a new key</a>") && !html.contains(">Reconnect<")
    );
    assert!(told(AccessSource::ManualCredential, soon, false, good).contains("Enter a new key before then"));
    assert!(
        told(AccessSource::TokenExchange, None, true, good).contains("Renews automatically, until the key is revoked")
    );
    assert!(told(AccessSource::Consent, soon, true, good).contains("Renews automatically."));
    assert!(told(AccessSource::Consent, soon, false, good).contains("Reconnect before then"));
    let ended = told(AccessSource::Consent, soon, true, bad);
    assert!(ended.contains("Ended.") && !ended.contains("Renews automatically"), "{ended}");
    for (put_off, words) in [
        (ExtendedBy::Use, "if nothing uses it until then"),
        (ExtendedBy::Refresh, "is renewed automatically. It would end"),
        (ExtendedBy::Reconnect, "renewed. Reconnect before then."),
    ] {
        let view = ConnectionView { predicted_end: Some((noon(), put_off)), ..connection_view("words") };
        let html = connection(&page_context(), &view).into_string();
        assert!(html.contains(words) && html.contains("22 Nov 2026"), "{html}");
    }
}

#[test]
fn required_permissions_cannot_be_unticked_and_all_others_can() {
    let scopes = vec![
        ScopeChoice { id: "must".to_owned(), required: true, ..ScopeChoice::default() },
        ScopeChoice { id: "may".to_owned(), checked: true, held: super::HeldScope::Granted, ..ScopeChoice::default() },
        ScopeChoice { id: "rather_not".to_owned(), sensitive: Some("Reviewed.".to_owned()), ..ScopeChoice::default() },
    ];
    let view = ConnectView { scopes, ..connect_view("words") };
    let html = connect(&page_context(), &view).into_string();
    assert!(html.contains("name=\"scope\" value=\"must\" checked disabled>"), "{html}");
    assert!(html.contains("name=\"scope\" value=\"may\" checked>"));
    assert!(html.contains("name=\"scope\" value=\"rather_not\" aria-describedby=\"scope-2-hint\">"));
    assert_eq!((html.matches("always needed").count(), html.matches("already allowed").count()), (1, 1));
    assert!(
        html.contains("<input type=\"hidden\" name=\"chosen\" value=\"scopes\">") && !html.contains("More permissions")
    );

    let html = connect(&page_context(), &ConnectView { scopes_are_fixed: true, ..view }).into_string();
    assert!(html.contains("<code><bdi>rather_not</bdi></code>"));
    assert!(!html.contains("checkbox") && !html.contains("name=\"chosen\""));
}

#[test]
fn many_unticked_permissions_are_collapsed() {
    let html =
        connect(&page_context(), &ConnectView { scopes: many_scopes("words"), ..connect_view("words") }).into_string();
    let (open, folded) = html.split_once("<details>").unwrap();
    assert_eq!((open.matches("checkbox").count(), folded.matches("checkbox").count()), (4, 8));
    assert!(folded.contains("More permissions (8)"));
    let none = many_scopes("words").into_iter().map(|one| ScopeChoice { checked: false, ..one }).collect();
    assert!(
        connect(&page_context(), &ConnectView { scopes: none, ..connect_view("words") })
            .into_string()
            .contains("<details open>")
    );
}

#[test]
fn no_secret_is_sent_back_and_password_managers_are_disabled() {
    let secret = |multiline| FormField {
        id: "api_key".to_owned(),
        label: "API key".to_owned(),
        secret: true,
        multiline,
        value: Some("sk_hunter2".to_owned()),
        ..FormField::default()
    };
    let open = FormField {
        id: "email".to_owned(),
        label: "Email".to_owned(),
        value: Some("me@acme.example".to_owned()),
        ..FormField::default()
    };
    for multiline in [false, true] {
        let view =
            ManualCredentialView { fields: vec![secret(multiline), open.clone()], ..manual_credential_view("words") };
        let html = manual_credential(&page_context(), &view).into_string();
        assert!(!html.contains("hunter2") && !format!("{view:?}").contains("hunter2"), "{html}");
        assert!(html.contains("name=\"input.email\" value=\"me@acme.example\""), "what is no secret is kept: {html}");
        assert!(html.contains("For your safety nothing secret was kept"));
        let tag = *opening_tags(&html).iter().find(|tag| tag.contains("name=\"input.api_key\"")).unwrap();
        assert!(tag.starts_with(if multiline { "textarea" } else { "input" }));
        assert_eq!(tag.contains("type=\"password\""), !multiline);
        for promise in
            ["autocomplete=\"off\"", "spellcheck=\"false\"", "data-1p-ignore", "data-lpignore", "data-bwignore"]
        {
            assert!(tag.contains(promise), "{promise} is missing in {tag}");
        }
    }
}

#[test]
fn refused_input_is_reported_first_with_a_link_to_each_field() {
    let html = manual_credential(&page_context(), &manual_credential_view("words")).into_string();
    let alert = html.split("role=\"alert\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(html.find("role=\"alert\"").unwrap() < html.find("<h1").unwrap());
    assert!(alert.starts_with(" tabindex=\"-1\" autofocus "), "the keyboard begins there: {alert}");
    for anchor in ["input-0", "input-2", "input-3", "input-4", "name"] {
        assert!(alert.contains(&format!("href=\"#{anchor}\"")), "{alert}");
        assert!(html.contains(&format!("id=\"{anchor}\"")));
        let tag = *opening_tags(&html).iter().find(|tag| tag.contains(&format!("id=\"{anchor}\""))).unwrap();
        let told = format!("aria-describedby=\"{anchor}-error {anchor}-hint\"");
        assert!(tag.contains("aria-invalid=\"true\"") && tag.contains(&told), "{tag}");
    }
    assert!(!alert.contains("#input-1") && html.contains("<title>Not accepted: Connect words"));

    let fine = |one: FormField| FormField { error: None, ..one };
    let inputs = manual_credential_view("words").fields.into_iter().map(fine).collect();
    let fresh =
        ManualCredentialView { form_error: None, name_error: None, fields: inputs, ..manual_credential_view("words") };
    let html = manual_credential(&page_context(), &fresh).into_string();
    assert!(!html.contains("role=\"alert\"") && !html.contains("Not accepted") && !html.contains("aria-invalid"));
    let html = connect(&page_context(), &connect_view("words")).into_string();
    assert!(html.contains("Something has to be corrected") && html.contains("href=\"#input-0\""));
}

#[test]
fn what_a_form_has_done_or_refused_gets_the_focus() {
    for html in render_all_pages("words", "guard") {
        for tag in
            opening_tags(&html).iter().filter(|tag| tag.contains("role=\"alert\"") || tag.contains("notice\" role="))
        {
            assert!(tag.contains("tabindex=\"-1\" autofocus"), "{tag}");
        }
        let told_once = html.contains("This is the only time that it is shown.");
        assert!(!told_once || html.contains("notice good\" role=\"status\" tabindex=\"-1\" autofocus"), "{html}");
    }
}

#[test]
fn a_refused_field_is_marked_and_says_why() {
    let mut refused = 0;
    for html in render_all_pages("words", "guard") {
        let tags = opening_tags(&html);
        for error in html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let Some(field) = error.strip_suffix("-error") else { continue };
            let tag = *tags.iter().find(|tag| tag.contains(&format!("id=\"{field}\""))).unwrap();
            assert!(tag.contains(&format!("aria-describedby=\"{error}")), "{tag}");
            let can_be_invalid = !tag.starts_with("fieldset") && !tag.starts_with("button");
            assert!(!can_be_invalid || tag.contains("aria-invalid=\"true\""), "{tag}");
            refused += 1;
        }
    }
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_button_that_copies_says_what_and_a_text_in_any_script_begins_at_its_side() {
    let (mut buttons, mut searches) = (0, 0);
    for html in render_all_pages("words", "guard") {
        for tag in opening_tags(&html) {
            if tag.contains(" data-copy=") {
                assert!(tag.contains(" aria-describedby=\""), "{tag}");
                buttons += 1;
            }
            if tag.contains("type=\"search\"") || tag.starts_with("input") && tag.contains("type=\"text\"") {
                let is_latin = tag.contains(" id=\"workspace\"");
                assert!(is_latin || tag.contains(" dir=\"auto\""), "{tag}");
                searches += 1;
            }
        }
    }
    assert!(buttons > 10 && searches > 10, "{buttons}, {searches}");
}

#[test]
fn the_form_for_a_key_explains_its_use_and_a_replacement_asks_for_no_name() {
    let html = manual_credential(&page_context(), &manual_credential_view("Acme")).into_string();
    assert!(html.contains("before anything is saved") && html.contains("kept encrypted"));
    assert!(html.contains(">Check and save</button>") && html.contains(">Cancel</a>"));
    assert!(html.contains("Other ways to connect") && html.contains(">Recommended</span>"));
    assert_eq!(html.matches("href=\"/oauth/start/Acme\"").count(), 2, "the current way is no other one");
    assert!(html.contains("Only continue if you trust them."));
    let view = ManualCredentialView {
        consent: ConsentDetails {
            existing_connection: Some(("Ops".to_owned(), Some("me".to_owned()))),
            ..consent_details("Acme")
        },
        ..manual_credential_view("Acme")
    };
    let html = manual_credential(&page_context(), &view).into_string();
    assert!(html.contains("<h1>New key for “<bdi>Ops</bdi>”</h1>") && !html.contains(" name=\"name\""));
    assert!(html.contains("<strong><bdi>me</bdi></strong>. Enter a key of that account."));
    let only = ManualCredentialView {
        auth_methods: vec![AuthMethodChoice { current: true, ..AuthMethodChoice::default() }],
        ..manual_credential_view("Acme")
    };
    assert!(!manual_credential(&page_context(), &only).into_string().contains("Other ways"));
}

#[test]
fn a_link_to_the_app_opens_in_a_new_tab_without_referrer() {
    let with = |url: &str| {
        let input = FormField { url: Some(url.to_owned()), ..FormField::default() };
        manual_credential(
            &page_context(),
            &ManualCredentialView { fields: vec![input], ..manual_credential_view("words") },
        )
        .into_string()
    };
    let html = with("https://app.example/keys?a=\"><script>");
    assert!(html.contains(
        "<a class=\"outside\" href=\"https://app.example/keys?a=&quot;&gt;&lt;script&gt;\" target=\"_blank\" rel=\"noreferrer noopener\">"
    ));
    assert!(html.contains("(opens in a new tab)"));
    for url in ["javascript:alert(1)", "//evil.example", "data:text/html,x"] {
        assert!(!with(url).contains("target=\"_blank\""), "{url}");
    }
}

#[test]
fn the_setup_page_has_steps_and_an_api_call_without_a_secret() {
    let view = SetupView {
        console_url: Some("https://app.example/console".to_owned()),
        steps: vec!["Create an app.".to_owned(), "Enter https://c.example/oauth/callback/x.".to_owned()],
        redirect_uri: Some("https://c.example/oauth/callback/x".to_owned()),
        redirect_uri_depends_on: vec![],
        put_client_call: SetupCall {
            method: "PUT",
            url: "https://c.example/v1/apps/acme/client".to_owned(),
            body: r#"{"client_id": "…", "client_secret": "…", "it": "it's"}"#.to_owned(),
        },
        ..setup_view("Acme")
    };
    let html = setup(&page_context(), &view).into_string();
    assert!(
        html.contains("<li><bdi>Create an app.</bdi></li>") && html.contains("href=\"https://app.example/console\"")
    );
    assert!(html.contains("<bdi>https://c.example/oauth/callback/x</bdi></code>"));
    assert!(html.contains("curl -X PUT -H &quot;Authorization: Bearer $KEY&quot;"), "{html}");
    assert!(html.contains("'https://c.example/v1/apps/acme/client'"));
    assert!(html.contains(r"it'\''s"), "a quote does not end the body: {html}");
    assert!(!html.contains("is in the answer to the next step"));
    let html = setup(&page_context(), &SetupView { redirect_uri: None, ..view }).into_string();
    assert!(html.contains("is in the answer to the next step") && html.contains("The answer has it as"));
}

#[test]
fn an_auth_method_without_a_client_links_to_its_setup_and_is_not_recommended() {
    let mut view = manual_credential_view("Acme");
    view.auth_methods[0].ready = false;
    let html = manual_credential(&page_context(), &view).into_string();
    assert!(html.contains("Set it up") && !html.contains("Recommended"));
    let html = setup(&page_context(), &setup_view("Acme")).into_string();
    assert!(html.contains("nobody can connect it this way") && html.contains(": <bdi>Acme</bdi></h1>"));
    let only = SetupView { auth_method: None, other_auth_methods: Vec::new(), ..setup_view("Acme") };
    let html = setup(&page_context(), &only).into_string();
    assert!(html.contains("nobody can connect it by signing in at the app") && !html.contains("Other ways"));
}

#[test]
fn the_apps_host_is_named_unless_the_person_enters_it() {
    let html = connect(
        &page_context(),
        &ConnectView { authorize_host: Some("login.acme.example".to_owned()), ..connect_view("Acme") },
    );
    assert!(html.into_string().contains("You go to <strong><bdi>login.acme.example</bdi></strong>, which"));
    let html = connect(&page_context(), &ConnectView { authorize_host: None, ..connect_view("Acme") }).into_string();
    assert!(html.contains("<bdi>Acme</bdi> at the address that you entered above"));
    assert!(html.contains("What to do at <bdi>Acme</bdi>") && html.contains("Good to know"));
}

#[test]
fn disconnecting_asks_for_confirmation_and_names_the_affected_workflows() {
    let html = connection(&page_context(), &connection_view("con")).into_string();
    assert!(
        html.contains("href=\"/connections/con/disconnect\"")
            && !html.contains("action=\"/connections/con/disconnect\"")
    );
    let view = DisconnectView {
        workflows: vec!["Invoices".into(), "Greetings".into()],
        last_used_at: Some(noon()),
        is_default: false,
    };
    let form = ConnectionForm::Disconnect(view);
    let html =
        connection_form(&page_context(), &ConnectionFormView { identity: identity("con"), form, rejected: None })
            .into_string();
    assert!(html.contains("These workflows use it and stop working"));
    assert!(html.contains("<li><bdi>Invoices</bdi></li><li><bdi>Greetings</bdi></li>"));
    assert!(
        html.contains("method=\"post\" action=\"/connections/con/disconnect\"") && html.contains("you can undo this")
    );
    assert!(html.contains("href=\"/connections/con\">Cancel</a>"));
}

#[test]
fn a_person_with_a_connect_link_gets_an_explanation() {
    let html = connect(&PageContext::default(), &connect_view("words")).into_string();
    assert!(html.contains("Only continue if you trust them."));
    let shown = |shell: &PageContext, by_link: bool| {
        let consent = ConsentDetails { by_link, for_user: None, ..consent_details("words") };
        connect(shell, &ConnectView { consent, ..connect_view("words") }).into_string()
    };
    let html = shown(&page_context(), false);
    assert!(!html.contains("trust") && !html.contains("belong to"));
    let html = shown(&PageContext::default(), true);
    assert!(html.contains("The connection will belong to the whole workspace."));
}

#[test]
fn each_question_has_two_answers() {
    let html = choose(&page_context(), &choose_view("Slack", other_account_question(Some("old"), Some("new"), "Ops")))
        .into_string();
    assert!(html.contains("name=\"choice\" value=\"keep\"") && html.contains("name=\"choice\" value=\"switch\""));
    assert!(html.contains("<bdi>old</bdi> stays connected; the new permission is discarded."));
    assert!(html.contains("Every workflow that uses “<bdi>Ops</bdi>” will act as <bdi>new</bdi> from now on."));
    // The answer that changes no workflow is the main one; the other one names those that it changes.
    assert!(html.contains("class=\"main\" type=\"submit\" name=\"choice\" value=\"keep\""), "{html}");
    assert_eq!(html.matches("class=\"main\"").count(), 1);
    let effect = html.split("id=\"effect-switch\"").nth(1).unwrap().split("</div>").next().unwrap();
    assert!(
        effect.contains("More than 2 workflows use it") && effect.contains("<li><bdi>Slack</bdi></li>"),
        "{effect}"
    );
    let question = ChoiceQuestion::Duplicate { account: "me".to_owned(), existing_connection_name: "Ops".to_owned() };
    let html = choose(&page_context(), &choose_view("Slack", question)).into_string();
    assert!(html.contains("name=\"choice\" value=\"reuse\"") && html.contains("name=\"choice\" value=\"both\""));
    assert_eq!(
        (
            html.matches("class=\"main\"").count(),
            html.contains("class=\"main\" type=\"submit\" name=\"choice\" value=\"reuse\"")
        ),
        (1, true),
        "{html}"
    );
    let note = "<p class=\"panel waiting\"><bdi>Slack</bdi></p>";
    assert!(html.find(note).unwrap() < html.find("name=\"choice\"").unwrap(), "what to know comes before the answers");
}

#[test]
fn an_app_that_could_not_be_reached_is_not_called_a_refusal() {
    let error = |is_unreachable| FormError { title: "Nothing was saved".into(), text: "Later.".into(), is_unreachable };
    let page = |is_unreachable| {
        let fields =
            vec![FormField { id: "api_key".into(), label: "Key".into(), secret: true, ..FormField::default() }];
        let view = ManualCredentialView {
            fields,
            name_error: None,
            form_error: Some(error(is_unreachable)),
            ..manual_credential_view("Acme")
        };
        manual_credential(&page_context(), &view).into_string()
    };
    let html = page(true);
    assert!(
        html.contains("<title>Not saved: Connect Acme") && html.contains("panel waiting\" role=\"alert\""),
        "{html}"
    );
    assert!(page(false).contains("<title>Not accepted: Connect Acme"));
}

#[test]
fn a_way_that_is_not_set_up_is_never_passed_over() {
    let html = auth_methods(&page_context(), &auth_methods_view("Acme")).into_string();
    assert!(html.find("Recommended").unwrap() < html.find("service account").unwrap());
    for words in [
        "An admin has to set this up once.",
        "Send this to an admin of your workspace:",
        "data-copy=\"way-0-ask-text\"",
        "href=\"/settings/apps/Acme\">Set up<",
        "Ask whoever sent you the link to set it up.",
        "href=\"/oauth/start/Acme\">Continue<",
    ] {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
    assert!(!html.contains("<form class=\"whole\"") && !html.contains("type=\"password\""));
    let mut view = auth_methods_view("Acme");
    view.methods.truncate(1);
    assert!(auth_methods(&page_context(), &view).into_string().contains("<h1><bdi>Acme</bdi> isn’t set up yet</h1>"));
}

#[test]
fn a_question_about_a_manual_credential_does_not_mention_signing_in() {
    let duplicate = ChoiceQuestion::Duplicate { account: "me".to_owned(), existing_connection_name: "Ops".to_owned() };
    let questions = [
        (duplicate, "What you entered is of the account <strong><bdi>me</bdi></strong> at <bdi>Acme</bdi>."),
        (
            other_account_question(Some("old"), Some("new"), "Ops"),
            "What you entered is of another account at <bdi>Acme</bdi>",
        ),
        (other_account_question(None, None, "Ops"), "compare the account of what you just entered to the one"),
    ];
    for (question, words) in questions {
        let html = choose(&page_context(), &ChooseView { entered_manually: true, ..choose_view("Acme", question) })
            .into_string();
        assert!(html.contains(words) && html.contains("the new key is discarded."), "{html}");
        assert!(!html.contains("signed in to") && !html.contains("signed in with") && !html.contains("came back"));
    }
}

#[test]
fn a_broken_connection_says_why_since_when_and_what_to_do() {
    let view = ConnectionView {
        status: StatusLabel { text: "Needs reconnect".into(), tone: Tone::Bad },
        evidence: (Evidence::RejectedSignIn, Some(noon().plus(-120))),
        next_action: NextAction::Reconnect,
        ..connection_view("Acme Mail")
    };
    let html = connection(&page_context(), &view).into_string();
    assert!(html.contains("<bdi>Acme Mail</bdi> rejected the saved sign-in (<time"), "{html}");
    assert!(html.contains(">2 minutes ago</time>)"), "{html}");
    assert_eq!((html.matches("button main").count(), html.matches(">Reconnect</a>").count()), (1, 1), "{html}");
    assert!(!html.contains("Renews automatically"));
}

#[test]
fn two_accounts_with_one_name_are_shown_differently() {
    let html = choose(&page_context(), &choose_view("Slack", other_account_question(Some("me"), Some("me"), "Ops")))
        .into_string();
    assert!(html.contains("Both have the same name there."));
    assert!(html.contains("Keep it as it was") && html.contains("Switch to the new account"));
}

#[test]
fn every_refusal_page_says_that_nothing_was_stored_and_what_to_do() {
    for refusal in [
        CallbackRefusal::UnknownState,
        CallbackRefusal::Expired,
        CallbackRefusal::LinkReopened,
        CallbackRefusal::WrongBrowser,
    ] {
        let Message { text, .. } = refusal_message(&ENGLISH, refusal);
        assert!(text.contains("Nothing was stored"), "{text}");
        assert!(text.to_lowercase().contains("start again"), "{text}");
    }
}

#[test]
fn a_message_links_only_to_https_or_home() {
    let hrefs = ["javascript:alert(1)", "//evil.example", "/\\evil.example", "data:text/html,x", " https://x.example"];
    let links = hrefs.map(|href| ("Go".to_owned(), href.to_owned())).to_vec();
    let html =
        message(&PageContext::default(), &Message { links, ..refusal_message(&ENGLISH, CallbackRefusal::Expired) })
            .into_string();
    assert_eq!(html.matches("<a ").count(), 1, "only the link to the content: {html}");
    let links = vec![("Go".to_owned(), "https://app.example/done?a=1&b=2".to_owned())];
    let html =
        message(&PageContext::default(), &Message { links, ..refusal_message(&ENGLISH, CallbackRefusal::Expired) })
            .into_string();
    assert!(html.contains("href=\"https://app.example/done?a=1&amp;b=2\""));
    let html = message(&page_context(), &refusal_message(&ENGLISH, CallbackRefusal::Expired)).into_string();
    assert!(html.contains("href=\"/\">Back to your connections</a>"));
}

#[test]
fn times_are_readable_for_people_and_machines() {
    let html = frame::time_element(parse_time("2026-03-05T09:04:59Z")).into_string();
    assert_eq!(html, "<time datetime=\"2026-03-05T09:04:59Z\">5 Mar 2026, 09:04 UTC</time>");
    assert!(frame::relative_time_or_never(&page_context(), None).into_string().contains("Never"));
    for (at, words) in [
        ("2026-11-22T11:59:31Z", "just now"),
        ("2026-11-22T11:59:00Z", "1 minute ago"),
        ("2026-11-22T13:30:00Z", "in 1 hour"),
        ("2026-11-21T12:00:00Z", "yesterday"),
        ("2026-11-25T12:00:00Z", "in 3 days"),
        ("2026-03-05T09:04:59Z", "5 Mar 2026"),
    ] {
        let html = frame::relative_time(&page_context(), parse_time(at)).into_string();
        assert!(html.ends_with(&format!("{words}</time>")) && html.contains(" title=\""), "{html}");
    }
}

#[test]
fn static_files_load_no_other_resource() {
    for (name, text) in [
        ("style.css", include_str!("../../../assets/style.css")),
        ("icons.svg", include_str!("../../../assets/icons.svg")),
        ("logos.svg", include_str!("../../../assets/logos.svg")),
    ] {
        let text = text.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!text.contains("url(") && !text.contains("@import") && !text.contains("http"), "{name}");
        assert!(!text.contains("<script") && (name == "style.css" || !text.contains(" on")), "{name}");
    }
}

#[test]
fn every_icon_that_a_page_shows_is_in_the_file() {
    let icons = include_str!("../../../assets/icons.svg");
    for html in render_all_pages("words", "guard") {
        for name in html.split("/assets/icons.").skip(1).filter_map(|rest| rest.split('"').next()?.split_once('#')) {
            assert!(icons.contains(&format!("<symbol id=\"{}\"", name.1)), "{}", name.1);
        }
    }
}
