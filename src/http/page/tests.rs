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
    }
}

fn list_view(words: &str) -> ListView {
    ListView {
        connections: vec![card(words, Tone::Good), card(words, Tone::Bad)],
        apps: [true, false].map(|ready| AppChoice { id: words.to_owned(), name: words.to_owned(), ready }).to_vec(),
        search: Some(words.to_owned()),
        next: Some(format!("/?cursor={words}")),
        notice: Some(words.to_owned()),
    }
}

fn connection_view(words: &str) -> ConnectionView {
    ConnectionView {
        card: card(words, Tone::Waiting),
        notice: Some(words.to_owned()),
        reason: Some(words.to_owned()),
        granted: vec![words.to_owned()],
        missing: vec![words.to_owned()],
        expires: Some(noon()),
        renewable: true,
        checked: Some((noon(), words.to_owned())),
        next_check: Some(noon()),
        created: noon(),
        connected: noon(),
        uses: vec![(words.to_owned(), words.to_owned(), noon())],
        events: vec![(noon(), words.to_owned())],
        confirming_disconnect: false,
    }
}

fn connect_view(words: &str) -> ConnectView {
    ConnectView {
        workspace: words.to_owned(),
        app_name: words.to_owned(),
        scopes: vec![(words.to_owned(), Some(words.to_owned())), (words.to_owned(), None)],
        reconnecting: None,
        for_user: Some(words.to_owned()),
        invited: true,
        action: format!("/connect/{words}"),
        host: words.to_owned(),
        cancel: Some(format!("/{words}")),
    }
}

fn choose_view(words: &str, question: Choosing) -> ChooseView {
    ChooseView { app_name: words.to_owned(), action: format!("/flows/{words}"), question }
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
    let duplicate = Choosing::Duplicate { account: text.clone(), existing_name: text.clone() };
    let links = vec![(text.clone(), format!("/{words}")), (text.clone(), text.clone())];
    let said = Message { title: text.clone(), text: format!("{words}\n\n{words}"), tone: Tone::Good, links };
    let pages: Vec<Markup> = vec![
        list(&shell, &list_view(words)),
        list(&shell, &ListView { connections: Vec::new(), ..list_view(words) }),
        list(&shell, &ListView::default()),
        connection(&shell, &connection_view(words)),
        connection(&shell, &confirming),
        connect(&shell, &connect_view(words)),
        connect(&shell, &reconnecting),
        choose(&shell, &choose_view(words, other_account(Some(words), Some(words), words))),
        choose(&shell, &choose_view(words, other_account(None, Some(words), words))),
        choose(&shell, &choose_view(words, other_account(Some(words), None, words))),
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
        let text: String = html.split('"').step_by(2).collect();
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
            assert_eq!(*tag, "form class=\"line\" method=\"get\" action=\"/\" role=\"search\"");
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
            for id in html.split(pointer).skip(1).map(|rest| rest.split('"').next().unwrap()) {
                assert!(ids.contains(&id), "nothing is {id} in {html}");
            }
        }
        let shown = tags.iter().filter(|tag| tag.starts_with("input") && !tag.contains("type=\"hidden\"")).count();
        assert_eq!(shown, tags.iter().filter(|tag| tag.starts_with("label")).count());
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
fn only_apps_with_a_client_can_be_started() {
    let html = list(&SHELL, &list_view("words")).into_string();
    assert_eq!(html.matches("href=\"/oauth/start/words\"").count(), 1);
    assert_eq!(html.matches("needs an OAuth client (set up by whoever runs this)").count(), 1);
}

#[test]
fn a_connection_that_was_just_made_has_words_for_all_that_is_not_there() {
    let bare = ConnectionView {
        card: Card { account: None, last_used: None, attention: Vec::new(), ..card("words", Tone::Good) },
        notice: None,
        reason: None,
        granted: Vec::new(),
        missing: Vec::new(),
        expires: None,
        renewable: false,
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
    assert!(!html.contains("Allow them"));
}

#[test]
fn missing_permissions_are_named_with_a_way_to_allow_them() {
    let view = ConnectionView { missing: vec!["chat:write".to_owned()], ..connection_view("words") };
    let html = connection(&SHELL, &view).into_string();
    assert!(html.contains("<code><bdi>chat:write</bdi></code>"));
    assert!(html.contains("href=\"/connections/words/reconnect\">Allow them</a>"));
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
