//! Every page, with hostile words in every field, and the rules all pages keep.

use maud::Markup;

use super::*;
use crate::connect::callback::Refusal;

/// Each tries to leave another place: an element, an attribute, the reading direction.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</title></textarea><h1>",
    "\u{202e}moc.live\u{202c}\u{2067}\u{200f}",
    "&lt;b&gt; & {{7*7}}",
];
const SHELL: Shell<'static> = Shell { signed_in_as: Some("Ada"), csrf: Some("forgery-guard") };

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn noon() -> Timestamp {
    at("2026-11-22T12:00:00Z")
}

fn card(words: &str, tone: Tone) -> Card {
    Card {
        id: words.to_owned(),
        name: words.to_owned(),
        app_name: words.to_owned(),
        account: Some(words.to_owned()),
        status: StatusWords { words: words.to_owned(), tone },
        attention: vec![words.to_owned()],
        last_used: Some(noon()),
        owner: Some(words.to_owned()),
        repair: Some(("Reconnect", format!("/connections/{words}/reconnect"))),
    }
}

fn list_view(words: &str) -> ListView {
    ListView {
        connections: vec![card(words, Tone::Good), card(words, Tone::Bad)],
        apps: [true, false].map(|ready| app_choice(words, ready)).to_vec(),
        apps_search: None,
        search: Some(words.to_owned()),
        next: Some(format!("/?cursor={words}")),
        notice: Some(words.to_owned()),
    }
}

fn app_choice(words: &str, ready: bool) -> AppChoice {
    let text = words.to_owned();
    let (id, name, ways) = (text.clone(), text.clone(), vec![text.clone()]);
    AppChoice { id, name, ways, categories: vec![text.clone()], ready, lacks: Some(text) }
}

fn connection_view(words: &str) -> ConnectionView {
    ConnectionView {
        card: card(words, Tone::Waiting),
        notice: Some(words.to_owned()),
        reason: Some(words.to_owned()),
        granted: vec![words.to_owned()],
        missing: vec![(words.to_owned(), Some(words.to_owned())), (words.to_owned(), None)],
        removed: false,
        changes: Changes::Allowed,
        renaming: None,
        ask_again: Some(format!("/connections/{words}/reconnect")),
        kind: words.to_owned(),
        lasts: Lasts::Consented,
        replace_href: Some(format!("/connections/{words}/key")),
        warnings: vec![words.to_owned(), words.to_owned()],
        expires: Some(noon()),
        renewable: true,
        predicted_end: Some((noon(), PutOff::Use)),
        checked: Some((noon(), words.to_owned())),
        next_check: Some(noon()),
        created: noon(),
        connected: noon(),
        uses: vec![(words.to_owned(), words.to_owned(), noon())],
        events: vec![(noon(), words.to_owned())],
        confirming_disconnect: false,
    }
}

fn hosts_view(words: &str) -> HostsView {
    let text = words.to_owned();
    HostsView {
        app_name: text.clone(),
        all: vec![text.clone()],
        chosen: vec![],
        added: vec![text.clone()],
        defined_by: Some(text.clone()),
        mark: text,
    }
}

fn connect_view(words: &str) -> ConnectView {
    ConnectView {
        hosts: hosts_view(words),
        problem: None,
        workspace: words.to_owned(),
        app_name: words.to_owned(),
        scopes: vec![scope(words), ScopeChoice { required: true, ..scope(words) }],
        scopes_fixed: false,
        inputs: inputs(words),
        connect_help: vec![words.to_owned()],
        warnings: vec![words.to_owned()],
        ways: ways(words),
        reconnecting: None,
        for_user: Some(words.to_owned()),
        invited: true,
        action: format!("/connect/{words}"),
        host: Some(words.to_owned()),
        cancel: Some(format!("/{words}")),
    }
}

fn scope(words: &str) -> ScopeChoice {
    let text = words.to_owned();
    ScopeChoice {
        id: text.clone(),
        description: Some(text.clone()),
        sensitive: Some(text),
        granted: true,
        ..ScopeChoice::default()
    }
}

fn many_scopes(words: &str) -> Vec<ScopeChoice> {
    (0..12).map(|n| ScopeChoice { checked: n % 3 == 0, ..scope(words) }).collect()
}

/// A field of each sort: open, secret, of several lines.
fn inputs(words: &str) -> Vec<Input> {
    let text = words.to_owned();
    let all = Input {
        id: text.clone(),
        label: text.clone(),
        help: Some(text.clone()),
        url: Some(text.clone()),
        placeholder: Some(text.clone()),
        value: Some(text.clone()),
        error: Some(text),
        ..Input::default()
    };
    vec![
        all.clone(),
        Input { optional: true, help: None, url: None, placeholder: None, error: None, ..all.clone() },
        Input { secret: true, ..all.clone() },
        Input { multiline: true, ..all.clone() },
        Input { multiline: true, secret: true, ..all },
    ]
}

fn ways(words: &str) -> Vec<Way> {
    let way = |current, recommended, ready| Way {
        id: words.to_owned(),
        name: words.to_owned(),
        href: format!("/oauth/start/{words}"),
        ready,
        recommended,
        current,
    };
    vec![way(false, true, true), way(true, false, true), way(false, false, false)]
}

fn paste_view(words: &str) -> PasteView {
    let text = words.to_owned();
    PasteView {
        hosts: hosts_view(words),
        workspace: text.clone(),
        app_name: text.clone(),
        kind: text.clone(),
        inputs: inputs(words),
        scopes: many_scopes(words),
        scopes_fixed: false,
        replacing: None,
        name: text.clone(),
        name_error: Some(text.clone()),
        problem: Some(Problem { title: text.clone(), text: text.clone() }),
        warnings: vec![text.clone()],
        ways: ways(words),
        for_user: Some(text),
        invited: true,
        action: format!("/connect/{words}"),
        cancel: Some(format!("/{words}")),
    }
}

fn setup_view(words: &str) -> SetupView {
    let text = words.to_owned();
    SetupView {
        app_name: text.clone(),
        way: Some(text.clone()),
        others: vec![(text.clone(), true, format!("/{words}")), (text.clone(), false, format!("/{words}"))],
        workspace: text.clone(),
        is_set_up: false,
        console: Some(text.clone()),
        steps: vec![text.clone()],
        redirect_uri: Some(text.clone()),
        depends_on: vec![text.clone()],
        scopes: vec![(text.clone(), Some(text.clone())), (text.clone(), None)],
        connect_help: vec![text.clone()],
        further: vec![(text.clone(), Some(text.clone()))],
        enters: SetupCall { method: "PUT", url: text.clone(), body: text.clone() },
        tries: SetupCall { method: "POST", url: text.clone(), body: text.clone() },
        family: vec![text.clone(), text.clone()],
        docs: Some(text),
    }
}

fn choose_view(words: &str, question: Choosing) -> ChooseView {
    ChooseView {
        app_name: words.to_owned(),
        action: format!("/flows/{words}"),
        question,
        pasted: false,
        note: Some(words.to_owned()),
    }
}

fn other_account(before: Option<&str>, now: Option<&str>, name: &str) -> Choosing {
    Choosing::OtherAccount { before: before.map(str::to_owned), now: now.map(str::to_owned), name: name.to_owned() }
}

/// Every page in every shape, with these words in every field.
fn pages(words: &str, csrf: &str) -> Vec<String> {
    let shell = Shell { signed_in_as: Some(words), csrf: Some(csrf) };
    let text = words.to_owned();
    let confirming = ConnectionView { confirming_disconnect: true, ..connection_view(words) };
    let reconnecting = ConnectView {
        reconnecting: Some((text.clone(), Some(text.clone()))),
        invited: false,
        for_user: None,
        cancel: None,
        ..connect_view(words)
    };
    let long = ConnectView { scopes: many_scopes(words), host: None, ..connect_view(words) };
    let fixed = ConnectView { scopes_fixed: true, inputs: Vec::new(), ..connect_view(words) };
    let replacing = PasteView {
        replacing: Some((text.clone(), Some(text.clone()))),
        scopes_fixed: true,
        problem: None,
        invited: false,
        for_user: None,
        cancel: None,
        ..paste_view(words)
    };
    let told_later =
        SetupView { way: None, others: Vec::new(), redirect_uri: None, steps: Vec::new(), ..setup_view(words) };
    let searched = ListView { apps_search: Some(text.clone()), ..list_view(words) };
    let old_news = ConnectionView { notice: None, replace_href: None, lasts: Lasts::Pasted, ..connection_view(words) };
    let renaming = Some((text.clone(), text.clone()));
    let renamed = ConnectionView { renaming, removed: true, notice: None, ..connection_view(words) };
    let exchanged = ConnectionView { lasts: Lasts::Exchanged, expires: None, ..connection_view(words) };
    let duplicate = Choosing::Duplicate { account: text.clone(), existing_name: text.clone() };
    let links = vec![(text.clone(), format!("/{words}")), (text.clone(), text.clone())];
    let said = Message { title: text.clone(), text: format!("{words}\n\n{words}"), tone: Tone::Good, links };
    let pages: Vec<Markup> = vec![
        list(&shell, &list_view(words)),
        list(&shell, &ListView { connections: Vec::new(), ..list_view(words) }),
        list(&shell, &ListView::default()),
        list(&shell, &searched),
        connection(&shell, &connection_view(words)),
        connection(&shell, &old_news),
        connection(&shell, &exchanged),
        connection(&shell, &renamed),
        connection(&shell, &confirming),
        connection(&shell, &ConnectionView { changes: Changes::AdminsOnly, ask_again: None, ..connection_view(words) }),
        connect(&shell, &connect_view(words)),
        connect(&shell, &reconnecting),
        connect(&shell, &long),
        connect(&shell, &fixed),
        paste(&shell, &paste_view(words)),
        paste(&shell, &replacing),
        setup(&shell, &setup_view(words)),
        setup(&shell, &told_later),
        choose(&shell, &choose_view(words, other_account(Some(words), Some(words), words))),
        choose(&shell, &choose_view(words, other_account(None, Some(words), words))),
        choose(&shell, &choose_view(words, other_account(Some(words), None, words))),
        choose(&shell, &ChooseView { pasted: true, ..choose_view(words, duplicate.clone()) }),
        choose(&shell, &choose_view(words, duplicate)),
        sign_in(&shell, &SignInView { workspace: text.clone(), user: text.clone(), action: format!("/in/{words}") }),
        sign_in_needed(),
        message(&shell, &said),
        message(&shell, &refused(Refusal::Unknown)),
    ];
    pages.into_iter().map(Markup::into_string).collect()
}

/// The elements' opening tags, as a browser would see them: text has no bare `<` when it is escaped.
fn tags(html: &str) -> Vec<&str> {
    html.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).filter(|tag| !tag.starts_with('/')).collect()
}

/// A tag with its attributes' values blanked.
fn shape(tag: &str) -> String {
    tag.split('"').step_by(2).collect()
}

#[test]
fn hostile_words_change_no_element_and_no_attribute() {
    let plain: Vec<Vec<String>> =
        pages("words", "words").iter().map(|html| tags(html).into_iter().map(shape).collect()).collect();
    for words in HOSTILE {
        for (html, plain) in pages(words, words).iter().zip(&plain) {
            let shapes: Vec<String> = tags(html).into_iter().map(shape).collect();
            assert_eq!(&shapes, plain, "{words:?} changed {html}");
            assert!(!html.contains("<script") && !html.contains("\"><img") && !html.contains("onerror=alert(1)>"));
        }
    }
}

#[test]
fn characters_that_turn_the_reading_direction_are_made_visible() {
    for html in pages("a\u{202e}b\u{2066}\u{7}", "guard") {
        // What was entered comes back as it was: in an attribute, or in a field of several lines.
        let text: String = html.split("<textarea").map(|part| part.split("</textarea>").last().unwrap()).collect();
        let text: String = text.split('"').step_by(2).collect();
        assert!(!text.contains(['\u{202e}', '\u{2066}', '\u{7}']), "{text}");
    }
    let html = message(&SHELL, &refused_with_title("a\u{202e}b")).into_string();
    assert!(html.contains("<bdi>a\u{fffd}b</bdi>") && html.contains("<title>a\u{fffd}b"));
}

fn refused_with_title(title: &str) -> Message {
    Message { title: title.to_owned(), ..refused(Refusal::Unknown) }
}

#[test]
fn every_page_keeps_the_rules() {
    for html in pages("words", "forgery-guard") {
        let tags = tags(&html);
        let count = |name: &str| tags.iter().filter(|tag| tag.split(' ').next() == Some(name)).count();
        let posts = tags.iter().filter(|tag| tag.starts_with("form") && tag.contains("method=\"post\"")).count();
        let guards = html.matches("name=\"csrf\" value=\"forgery-guard\"").count();
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        assert_eq!(
            (count("h1"), count("title"), count("main"), count("script"), count("img")),
            (1, 1, 1, 0, 0),
            "{html}"
        );
        assert!(!html.contains("<title> –"), "{html}");
        assert!(html.contains("<meta name=\"viewport\""));
        assert_eq!(posts, guards, "a form that changes something has no guard: {html}");
        assert!(!html.contains(" style=") && !html.contains("http://") && !html.contains("https://"), "{html}");
        assert!(!html.contains(" src="), "{html}");
        for tag in tags.iter().filter(|tag| tag.starts_with("form") && !tag.contains("method=\"post\"")) {
            let search =
                |action: &str| format!("form class=\"line\" method=\"get\" action=\"{action}\" role=\"search\"");
            assert!(*tag == search("/") || *tag == search("/#connect"), "{tag}");
        }
    }
}

#[test]
fn every_input_has_a_label_and_every_id_is_there_once() {
    for html in pages("words", "guard") {
        let tags = tags(&html);
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
        let asks = |tag: &str| tag.starts_with("input") || tag.starts_with("textarea");
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
fn without_a_session_there_is_neither_sign_out_nor_a_way_home() {
    let html = connect(&Shell::default(), &connect_view("words")).into_string();
    assert!(!html.contains("/sign-out") && !html.contains("href=\"/\"") && !html.contains("csrf"));
    let html = list(&SHELL, &ListView::default()).into_string();
    assert!(html.contains("action=\"/sign-out\"") && html.contains("<bdi>Ada</bdi>"));
}

#[test]
fn an_empty_page_says_what_a_connection_is_and_an_empty_search_does_not() {
    let first = list(&SHELL, &ListView::default()).into_string();
    assert!(first.contains("Nothing is connected yet") && first.contains("A connection lets workflows act"));
    assert!(first.contains("No app is ready to be connected"));
    assert!(!first.contains("role=\"search\""));
    let searched = list(&SHELL, &ListView { search: Some("zzz".to_owned()), ..ListView::default() }).into_string();
    assert!(searched.contains("No connection has “<bdi>zzz</bdi>”") && searched.contains("Show all connections"));
    assert!(!searched.contains("Nothing is connected yet"));
}

#[test]
fn what_a_person_must_repair_stands_first_with_a_button() {
    let healthy = Card { repair: None, ..card("healthy", Tone::Good) };
    let connections = vec![healthy, card("broken", Tone::Bad)];
    let html = list(&SHELL, &ListView { connections, ..ListView::default() }).into_string();
    assert!(html.find("/connections/broken").unwrap() < html.find("/connections/healthy").unwrap());
    assert!(html.contains("href=\"/connections/broken/reconnect\">Reconnect<span class=\"unseen\">: "));
    assert!(!html.contains("/connections/healthy/reconnect"));
}

#[test]
fn only_apps_with_a_client_can_be_started() {
    let html = list(&SHELL, &list_view("words")).into_string();
    assert_eq!(html.matches("href=\"/oauth/start/words\"").count(), 1);
    // The one that has another way is told together with the way that is not set up.
    assert_eq!(html.matches(" is not set up</span>").count(), 2);
    assert_eq!(
        html.matches("<bdi>words</bdi>: <bdi>words</bdi><span class=\"quiet\"> is not set up</span>").count(),
        1
    );
    assert!(html.contains("href=\"/apps/words/setup\"><span>How to set up <bdi>words</bdi></span></a>"));
}

#[test]
fn apps_are_by_name_and_found_by_every_word_that_is_searched_for() {
    let named = |name: &str, ready| AppChoice {
        id: name.to_lowercase(),
        name: name.to_owned(),
        ready,
        lacks: None,
        ..app_choice("", true)
    };
    let apps = ["Zulu", "alpha", "Mike"].map(|name| named(name, true)).to_vec();
    let html = list(&SHELL, &ListView { apps, ..ListView::default() }).into_string();
    let places = ["alpha", "Mike", "Zulu"].map(|name| html.find(&format!("<bdi>{name}</bdi>")).unwrap());
    assert!(places.is_sorted() && !html.contains("Search the apps"), "{html}");

    let mut apps: Vec<_> = (0..40).map(|n| named(&format!("App {n}"), n % 2 == 0)).collect();
    apps.push(AppChoice {
        categories: vec!["Email".to_owned()],
        ways: vec!["API key".to_owned()],
        ..named("Post", true)
    });
    let view = ListView { apps, search: Some("a&b".to_owned()), ..ListView::default() };
    let html = list(&SHELL, &view).into_string();
    assert!(html.contains("Search the apps") && html.contains("What is not set up (20)"));
    assert!(html.contains("<input type=\"hidden\" name=\"q\" value=\"a&amp;b\">"), "{html}");
    let search =
        |words: &str| list(&SHELL, &ListView { apps_search: Some(words.to_owned()), ..view.clone() }).into_string();
    let html = search("email KEY");
    assert_eq!(html.matches("href=\"/oauth/start/").count(), 1, "{html}");
    assert!(html.contains("href=\"/oauth/start/post\"") && html.contains("<small><bdi>API key</bdi></small>"));
    assert!(html.contains("href=\"/?q=a%26b#connect\">Show all apps</a>") && html.contains("value=\"email KEY\""));
    assert!(search("email nothing").contains("No app has “<bdi>email nothing</bdi>”"));
}

#[test]
fn a_connection_that_was_just_made_has_words_for_all_that_is_not_there() {
    let bare = ConnectionView {
        card: Card { account: None, last_used: None, attention: Vec::new(), ..card("words", Tone::Good) },
        notice: None,
        reason: None,
        granted: Vec::new(),
        missing: Vec::new(),
        ask_again: None,
        kind: String::new(),
        replace_href: None,
        warnings: Vec::new(),
        expires: None,
        renewable: false,
        predicted_end: None,
        checked: None,
        next_check: None,
        uses: Vec::new(),
        events: Vec::new(),
        ..connection_view("words")
    };
    let html = connection(&SHELL, &bare).into_string();
    for words in [
        "not told by the app",
        "<dd>never</dd>",
        "no end known",
        "not planned",
        "No workflow has used this connection yet.",
        "Nothing is recorded yet.",
        "has not named any permissions",
    ] {
        assert!(html.contains(words), "{words} is missing in {html}");
    }
    for words in ["Ask for them again", "Kind of access", "Good to know", "Enter a new key", "This access ends"] {
        assert!(!html.contains(words), "{words} is in {html}");
    }
}

#[test]
fn missing_permissions_are_part_of_the_news_and_told_once() {
    let missing = vec![("chat:write".to_owned(), Some("Write messages".to_owned()))];
    let view = ConnectionView { missing, ..connection_view("words") };
    for (notice, before) in
        [(Some("Connected as me."), "aria-labelledby=\"state\""), (None, "aria-labelledby=\"details\"")]
    {
        let html =
            connection(&SHELL, &ConnectionView { notice: notice.map(str::to_owned), ..view.clone() }).into_string();
        assert!(html.contains("<span><bdi>Write messages</bdi></span><code><bdi>chat:write</bdi></code>"));
        let ask = "href=\"/connections/words/reconnect\">Ask for them again</a>";
        assert_eq!(html.matches(ask).count(), 1);
        assert_eq!(html.matches("not granted").count(), 1);
        assert!(html.find(ask).unwrap() < html.find(before).unwrap(), "{html}");
    }
    let html = connection(&SHELL, &ConnectionView { ask_again: None, ..view }).into_string();
    assert!(html.contains("chat:write") && !html.contains("Ask for them again"));
}

#[test]
fn a_connection_whose_app_was_removed_says_so_and_offers_no_repair() {
    for (tone, words) in [(Tone::Good, "Workflows can still use the connection"), (Tone::Bad, "Disconnect it when")] {
        for replace_href in [None, Some("/connections/words/reconnect".to_owned())] {
            let view = ConnectionView {
                card: card("words", tone),
                missing: Vec::new(),
                ask_again: None,
                removed: true,
                predicted_end: Some((noon(), PutOff::Person)),
                renewable: false,
                replace_href,
                ..connection_view("words")
            };
            let html = connection(&SHELL, &view).into_string();
            assert!(html.contains("The app was removed from this workspace") && html.contains(words), "{html}");
            for words in ["/reconnect", "Reconnect", "econnect before", "nter a new key"] {
                assert!(!html.contains(words), "{words} is in {html}");
            }
        }
    }
}

#[test]
fn what_an_access_lives_by_is_told_in_its_own_words() {
    let told = |lasts, expires, tone| {
        let card = card("words", tone);
        connection(&SHELL, &ConnectionView { card, lasts, expires, ..connection_view("words") }).into_string()
    };
    let html = told(Lasts::Pasted, None, Tone::Good);
    assert!(html.contains("a key does not end by itself; it works until it is revoked at <bdi>words</bdi>"), "{html}");
    assert!(html.contains("href=\"/connections/words/key\">Enter a new key</a>") && !html.contains(">Reconnect<"));
    assert!(told(Lasts::Pasted, Some(noon()), Tone::Good).contains("enter a new key before then"));
    assert!(
        told(Lasts::Exchanged, None, Tone::Good).contains("renewed by itself when needed, until the key is revoked")
    );
    assert!(told(Lasts::Pasted, None, Tone::Bad).contains("ended: enter a new key"));
    for (put_off, words) in [
        (PutOff::Use, "unless it is used before, which the regular check does, too."),
        (PutOff::Renewal, "which happens by itself."),
        (PutOff::Person, "however often it is used. Reconnect before then."),
    ] {
        let view =
            ConnectionView { predicted_end: Some((noon(), put_off)), replace_href: None, ..connection_view("words") };
        let html = connection(&SHELL, &view).into_string();
        assert!(html.contains("This access ends on <time") && html.contains(words), "{html}");
    }
}

#[test]
fn required_permissions_cannot_be_unticked_and_choosing_nothing_is_a_choice() {
    let scopes = vec![
        ScopeChoice { id: "must".to_owned(), required: true, ..ScopeChoice::default() },
        ScopeChoice { id: "may".to_owned(), checked: true, granted: true, ..ScopeChoice::default() },
        ScopeChoice { id: "rather_not".to_owned(), sensitive: Some("Reviewed.".to_owned()), ..ScopeChoice::default() },
    ];
    let view = ConnectView { scopes, ..connect_view("words") };
    let html = connect(&SHELL, &view).into_string();
    assert!(html.contains("name=\"scope\" value=\"must\" checked disabled>"), "{html}");
    assert!(html.contains("name=\"scope\" value=\"may\" checked>"));
    assert!(html.contains("name=\"scope\" value=\"rather_not\" aria-describedby=\"scope-2-hint\">"));
    assert_eq!((html.matches("always needed").count(), html.matches("already allowed").count()), (1, 1));
    assert!(html.contains("<input type=\"hidden\" name=\"chosen\" value=\"scopes\">") && !html.contains("<details"));

    let html = connect(&SHELL, &ConnectView { scopes_fixed: true, ..view }).into_string();
    assert!(html.contains("<code><bdi>rather_not</bdi></code>"));
    assert!(!html.contains("checkbox") && !html.contains("name=\"chosen\""));
}

#[test]
fn of_many_permissions_those_that_are_not_ticked_fold_away() {
    let html = connect(&SHELL, &ConnectView { scopes: many_scopes("words"), ..connect_view("words") }).into_string();
    let (open, folded) = html.split_once("<details>").unwrap();
    assert_eq!((open.matches("checkbox").count(), folded.matches("checkbox").count()), (4, 8));
    assert!(folded.contains("More permissions (8)"));
    let none = many_scopes("words").into_iter().map(|one| ScopeChoice { checked: false, ..one }).collect();
    assert!(
        connect(&SHELL, &ConnectView { scopes: none, ..connect_view("words") })
            .into_string()
            .contains("<details open>")
    );
}

#[test]
fn no_secret_is_sent_back_and_nothing_is_offered_to_a_password_manager() {
    let secret = |multiline| Input {
        id: "api_key".to_owned(),
        label: "API key".to_owned(),
        secret: true,
        multiline,
        value: Some("sk_hunter2".to_owned()),
        ..Input::default()
    };
    let open = Input {
        id: "email".to_owned(),
        label: "Email".to_owned(),
        value: Some("me@acme.example".to_owned()),
        ..Input::default()
    };
    for multiline in [false, true] {
        let view = PasteView { inputs: vec![secret(multiline), open.clone()], ..paste_view("words") };
        let html = paste(&SHELL, &view).into_string();
        assert!(!html.contains("hunter2") && !format!("{view:?}").contains("hunter2"), "{html}");
        assert!(html.contains("name=\"input.email\" value=\"me@acme.example\""), "what is no secret is kept: {html}");
        assert!(html.contains("For your safety nothing secret was kept"));
        let tag = *tags(&html).iter().find(|tag| tag.contains("name=\"input.api_key\"")).unwrap();
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
fn what_was_not_accepted_is_said_first_with_a_way_to_each_field() {
    let html = paste(&SHELL, &paste_view("words")).into_string();
    let alert = html.split("role=\"alert\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(html.find("role=\"alert\"").unwrap() < html.find("<h1").unwrap());
    for anchor in ["input-0", "input-2", "input-3", "input-4", "name"] {
        assert!(alert.contains(&format!("href=\"#{anchor}\"")), "{alert}");
        assert!(html.contains(&format!("id=\"{anchor}\"")));
        let tag = *tags(&html).iter().find(|tag| tag.contains(&format!("id=\"{anchor}\""))).unwrap();
        let told = format!("aria-describedby=\"{anchor}-error {anchor}-hint\"");
        assert!(tag.contains("aria-invalid=\"true\"") && tag.contains(&told), "{tag}");
    }
    assert!(!alert.contains("#input-1") && html.contains("<title>Not accepted: Connect words"));

    let fine = |one: Input| Input { error: None, ..one };
    let inputs = paste_view("words").inputs.into_iter().map(fine).collect();
    let fresh = PasteView { problem: None, name_error: None, inputs, ..paste_view("words") };
    let html = paste(&SHELL, &fresh).into_string();
    assert!(!html.contains("role=\"alert\"") && !html.contains("Not accepted") && !html.contains("aria-invalid"));
    let html = connect(&SHELL, &connect_view("words")).into_string();
    assert!(html.contains("Something has to be corrected") && html.contains("href=\"#input-0\""));
}

#[test]
fn a_key_is_entered_with_its_promise_and_another_one_without_a_name() {
    let html = paste(&SHELL, &paste_view("Acme")).into_string();
    assert!(html.contains("before anything is saved") && html.contains("kept encrypted"));
    assert!(html.contains(">Check and save</button>") && html.contains(">Cancel</a>"));
    assert!(html.contains("Other ways to connect") && html.contains("(recommended)"));
    assert_eq!(html.matches("href=\"/oauth/start/Acme\"").count(), 2, "the current way is no other one");
    assert!(html.contains("Only continue if you trust them."));
    let view = PasteView { replacing: Some(("Ops".to_owned(), Some("me".to_owned()))), ..paste_view("Acme") };
    let html = paste(&SHELL, &view).into_string();
    assert!(html.contains("<h1>New key for “<bdi>Ops</bdi>”</h1>") && !html.contains(" name=\"name\""));
    assert!(html.contains("<strong><bdi>me</bdi></strong>. Enter a key of that one."));
    let only = PasteView { ways: vec![Way { current: true, ..Way::default() }], ..paste_view("Acme") };
    assert!(!paste(&SHELL, &only).into_string().contains("Other ways"));
}

#[test]
fn a_page_of_the_app_opens_beside_the_form_and_tells_it_nothing() {
    let with = |url: &str| {
        let input = Input { url: Some(url.to_owned()), ..Input::default() };
        paste(&SHELL, &PasteView { inputs: vec![input], ..paste_view("words") }).into_string()
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
fn a_setup_has_its_steps_and_a_call_to_copy_without_a_secret() {
    let view = SetupView {
        console: Some("https://app.example/console".to_owned()),
        steps: vec!["Create an app.".to_owned(), "Enter https://c.example/oauth/callback/x.".to_owned()],
        redirect_uri: Some("https://c.example/oauth/callback/x".to_owned()),
        depends_on: vec![],
        enters: SetupCall {
            method: "PUT",
            url: "https://c.example/v1/apps/acme/client".to_owned(),
            body: r#"{"client_id": "…", "client_secret": "…", "it": "it's"}"#.to_owned(),
        },
        ..setup_view("Acme")
    };
    let html = setup(&SHELL, &view).into_string();
    assert!(
        html.contains("<li><bdi>Create an app.</bdi></li>") && html.contains("href=\"https://app.example/console\"")
    );
    assert!(html.contains("<code><bdi>https://c.example/oauth/callback/x</bdi></code>"));
    assert!(html.contains("curl -X PUT -H &quot;Authorization: Bearer $KEY&quot;"), "{html}");
    assert!(html.contains("'https://c.example/v1/apps/acme/client'"));
    assert!(html.contains(r"it'\''s"), "a quote does not end the body: {html}");
    assert!(!html.contains("is not known before the next step"));
    let html = setup(&SHELL, &SetupView { redirect_uri: None, ..view }).into_string();
    assert!(html.contains("is not known before the next step") && html.contains("The answer has it as"));
}

#[test]
fn a_way_that_is_not_set_up_leads_to_its_setup_and_is_not_recommended() {
    let mut view = paste_view("Acme");
    view.ways[0].ready = false;
    let html = paste(&SHELL, &view).into_string();
    assert!(html.contains("How to set it up") && !html.contains("(recommended)"));
    let html = setup(&SHELL, &setup_view("Acme")).into_string();
    assert!(html.contains("nobody can connect it this way") && html.contains(": <bdi>Acme</bdi></h1>"));
    let only = SetupView { way: None, others: Vec::new(), ..setup_view("Acme") };
    let html = setup(&SHELL, &only).into_string();
    assert!(html.contains("nobody can connect it by signing in at the app") && !html.contains("Other ways"));
}

#[test]
fn the_address_to_watch_for_is_named_unless_it_is_about_to_be_entered() {
    let html = connect(&SHELL, &ConnectView { host: Some("login.acme.example".to_owned()), ..connect_view("Acme") });
    assert!(html.into_string().contains("You go to <strong><bdi>login.acme.example</bdi></strong>, which"));
    let html = connect(&SHELL, &ConnectView { host: None, ..connect_view("Acme") }).into_string();
    assert!(html.contains("<bdi>Acme</bdi> at the address that you entered above"));
    assert!(html.contains("What to do at <bdi>Acme</bdi>") && html.contains("Good to know"));
}

#[test]
fn disconnecting_takes_two_steps_and_tells_which_workflows_stop() {
    let uses = [("Invoices", "send"), ("Invoices", "file"), ("Greetings", "post")];
    let uses = uses.map(|(workflow, step)| (workflow.to_owned(), step.to_owned(), noon())).to_vec();
    let first = ConnectionView { uses, ..connection_view("con") };
    let html = connection(&SHELL, &first).into_string();
    assert!(html.contains("href=\"/connections/con?disconnect=1\"") && !html.contains("/disconnect\""));
    let second = ConnectionView { confirming_disconnect: true, ..first };
    let html = connection(&SHELL, &second).into_string();
    assert!(html.contains("These workflows use it and will stop working"));
    assert!(html.contains("<li><bdi>Invoices</bdi></li><li><bdi>Greetings</bdi></li>"));
    assert!(html.contains("method=\"post\" action=\"/connections/con/disconnect\""));
    assert!(html.contains("href=\"/connections/con\">Cancel</a>") && !html.contains("?disconnect=1"));
}

#[test]
fn somebody_who_came_by_a_link_is_told_what_it_means() {
    let html = connect(&Shell::default(), &connect_view("words")).into_string();
    assert!(html.contains("Only continue if you trust them."));
    let html = connect(&SHELL, &ConnectView { invited: false, for_user: None, ..connect_view("words") }).into_string();
    assert!(!html.contains("trust") && !html.contains("belong to"));
    let html = connect(&Shell::default(), &ConnectView { for_user: None, ..connect_view("words") }).into_string();
    assert!(html.contains("The connection will belong to the whole workspace."));
}

#[test]
fn each_question_has_its_two_answers() {
    let html = choose(&SHELL, &choose_view("Slack", other_account(Some("old"), Some("new"), "Ops"))).into_string();
    assert!(html.contains("name=\"choice\" value=\"keep\"") && html.contains("name=\"choice\" value=\"switch\""));
    assert!(html.contains("<bdi>old</bdi> stays connected; the new permission is discarded."));
    assert!(html.contains("Every workflow that uses “<bdi>Ops</bdi>” will act as <bdi>new</bdi> from now on."));
    let question = Choosing::Duplicate { account: "me".to_owned(), existing_name: "Ops".to_owned() };
    let html = choose(&SHELL, &choose_view("Slack", question)).into_string();
    assert!(html.contains("name=\"choice\" value=\"reuse\"") && html.contains("name=\"choice\" value=\"both\""));
    let note = "<p class=\"panel waiting\"><bdi>Slack</bdi></p>";
    assert!(html.find(note).unwrap() < html.find("name=\"choice\"").unwrap(), "what to know comes before the answers");
}

#[test]
fn a_question_about_a_pasted_key_speaks_of_no_sign_in() {
    let duplicate = Choosing::Duplicate { account: "me".to_owned(), existing_name: "Ops".to_owned() };
    let questions = [
        (duplicate, "What you entered is of the account <strong><bdi>me</bdi></strong> at <bdi>Acme</bdi>."),
        (other_account(Some("old"), Some("new"), "Ops"), "What you entered is of another account at <bdi>Acme</bdi>"),
        (other_account(None, None, "Ops"), "compare the account of what you just entered to the one"),
    ];
    for (question, words) in questions {
        let html = choose(&SHELL, &ChooseView { pasted: true, ..choose_view("Acme", question) }).into_string();
        assert!(html.contains(words) && html.contains("the new key is discarded."), "{html}");
        assert!(!html.contains("signed in to") && !html.contains("signed in with") && !html.contains("came back"));
    }
}

#[test]
fn a_broken_connection_promises_no_renewal() {
    let broken = ConnectionView { card: card("words", Tone::Bad), ..connection_view("words") };
    let html = connection(&SHELL, &broken).into_string();
    assert!(html.contains("ended: reconnect to renew it") && !html.contains("renewed by itself"));
}

#[test]
fn two_accounts_of_one_name_are_told_apart() {
    let html = choose(&SHELL, &choose_view("Slack", other_account(Some("me"), Some("me"), "Ops"))).into_string();
    assert!(html.contains("Both have the same name there."));
    assert!(html.contains("Keep it as it was") && html.contains("Switch to the new account"));
}

#[test]
fn every_refusal_says_that_nothing_was_stored_and_what_to_do() {
    for refusal in [Refusal::Unknown, Refusal::Expired, Refusal::AlreadyUsed, Refusal::OtherBrowser] {
        let Message { text, .. } = refused(refusal);
        assert!(text.contains("Nothing was stored") || text.contains("Nothing more was stored"), "{text}");
        assert!(text.to_lowercase().contains("start again"), "{text}");
    }
}

#[test]
fn a_message_links_only_to_the_web_and_back_home_when_it_has_no_link() {
    let hrefs = ["javascript:alert(1)", "//evil.example", "/\\evil.example", "data:text/html,x", " https://x.example"];
    let links = hrefs.map(|href| ("Go".to_owned(), href.to_owned())).to_vec();
    let html = message(&Shell::default(), &Message { links, ..refused(Refusal::Expired) }).into_string();
    assert_eq!(html.matches("href=").count(), 1, "only the stylesheet: {html}");
    let links = vec![("Go".to_owned(), "https://app.example/done?a=1&b=2".to_owned())];
    let html = message(&Shell::default(), &Message { links, ..refused(Refusal::Expired) }).into_string();
    assert!(html.contains("href=\"https://app.example/done?a=1&amp;b=2\""));
    let html = message(&SHELL, &refused(Refusal::Expired)).into_string();
    assert!(html.contains("href=\"/\">Back to your connections</a>"));
}

#[test]
fn times_are_for_people_and_for_machines() {
    let html = frame::time(at("2026-03-05T09:04:59Z")).into_string();
    assert_eq!(html, "<time datetime=\"2026-03-05T09:04:59Z\">5 Mar 2026, 09:04 UTC</time>");
    assert_eq!(frame::time_or_never(None).into_string(), "never");
}

#[test]
fn the_stylesheet_loads_nothing() {
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("http"));
}
