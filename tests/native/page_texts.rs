//! The words of the pages stand in one file for each language, and in no page.

use std::fs;
use std::path::{Path, PathBuf};

/// What is no text for a person: classes, relations of links, what a program reads or a developer copies.
const NO_TEXTS: [&str; 4] = ["button main", "noreferrer noopener", "the first shared", "const answer"];

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// The texts in quotation marks, without comments. A quotation mark as a character is passed over.
fn literals(source: &str) -> Vec<String> {
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let code = code.replace("'\"'", "");
    let mut found = vec![];
    let mut rest = code.as_str();
    while let Some((_, after)) = rest.split_once('"') {
        let mut end = None;
        let mut is_escaped = false;
        for (at, letter) in after.char_indices() {
            match letter {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else { break };
        let (text, behind) = after.split_at(end);
        found.push(text.to_owned());
        rest = behind.strip_prefix('"').unwrap_or_default();
    }
    found
}

/// Whether a text has a word that is followed by another one in small letters.
fn is_sentence(text: &str) -> bool {
    let words: Vec<_> = text.split(' ').collect();
    let is_word = |word: &str| {
        let letters = word.trim_end_matches([',', '.', ':', ';', '?']);
        letters.chars().count() > 1 && letters.chars().all(|letter| letter.is_alphabetic() || letter == '’')
    };
    words.windows(2).any(|pair| is_word(pair[0]) && is_word(pair[1]) && pair[1].starts_with(char::is_lowercase))
}

#[test]
fn no_page_has_words_of_its_own() {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/page");
    let mut all = vec![];
    files(&pages, &mut all);
    let is_page = |path: &PathBuf| {
        let inside = path.strip_prefix(&pages).unwrap();
        !inside.starts_with("text") && !inside.ends_with("text.rs") && !inside.ends_with("tests.rs")
    };
    let mut wrong = vec![];
    let mut read = 0;
    for path in all.iter().filter(|path| is_page(path)) {
        read += 1;
        let source = fs::read_to_string(path).unwrap();
        for text in literals(&source) {
            if is_sentence(&text) && !NO_TEXTS.iter().any(|known| text.starts_with(known)) {
                wrong.push(format!("{}: {text}", path.strip_prefix(&pages).unwrap().display()));
            }
        }
    }
    assert!(read > 30, "{read}");
    assert!(wrong.is_empty(), "move these into src/http/page/text/en.rs:\n{}", wrong.join("\n"));
}

#[test]
fn sentences_are_found_and_other_texts_are_not() {
    for sentence in ["Nothing is connected", " instead. Nothing of this", "Not you? Close this page"] {
        assert!(is_sentence(sentence), "{sentence}");
    }
    for other in ["h1", "/settings/keys", "Connected", "GET /v1/x", "{a} {b}", "scope", "input-1 input-2"] {
        assert!(!is_sentence(other), "{other}");
    }
}
