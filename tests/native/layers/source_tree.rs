//! What each module of `src/` names, read from its text.
//!
//! Owns as much of Rust as that takes: comments, texts and test code are left out; `use` trees, paths, `super` and names that
//! a parent hands on are followed. Refuses to understand types: a path that begins with neither a module nor an import is
//! another crate's.

use std::collections::{BTreeMap, BTreeSet};

/// A module by its path from the crate's root; the root has none.
pub(super) type ModulePath = Vec<String>;

/// A token of Rust, and the line where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Sign(char),
}

/// A path as it stands in a file.
#[derive(Debug, Clone)]
struct WrittenPath {
    line: usize,
    segments: Vec<String>,
    /// Modules without a file of their own that it stands in.
    inside: Vec<String>,
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPath {
    pub(super) line: usize,
    /// The module that has it.
    pub(super) module: ModulePath,
    /// What of that module is named, if not the module itself.
    pub(super) item: Vec<String>,
}

/// One module with its file.
#[derive(Debug)]
pub(super) struct SourceModule {
    pub(super) file: String,
    pub(super) children: Vec<String>,
    paths: Vec<WrittenPath>,
    imports: BTreeMap<String, WrittenPath>,
    exported_macros: BTreeSet<String>,
    /// Lines where `.db()` stands.
    pub(super) database_calls: Vec<usize>,
}

/// All modules of a crate.
#[derive(Debug)]
pub(super) struct SourceTree {
    pub(super) modules: BTreeMap<ModulePath, SourceModule>,
}

impl SourceTree {
    /// Reads `lib.rs` and every module that it leads to. `read` has the text of a file, if there is one.
    pub(super) fn read(read: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut modules = BTreeMap::new();
        let mut open: Vec<(ModulePath, String)> = vec![(vec![], "lib.rs".to_owned())];
        while let Some((path, file)) = open.pop() {
            let module = SourceModule::parse(&file, &read(&file).unwrap_or_else(|| panic!("no {file}")));
            for child in &module.children {
                let path = [path.as_slice(), std::slice::from_ref(child)].concat();
                let names = [format!("{}.rs", path.join("/")), format!("{}/mod.rs", path.join("/"))];
                let file = names.into_iter().find(|name| read(name).is_some());
                open.push((path.clone(), file.unwrap_or_else(|| panic!("no file for the module {}", path.join("::")))));
            }
            modules.insert(path, module);
        }
        Self { modules }
    }

    /// What a module names of this crate. Of what a module merely hands on, both that module and the owner are named.
    pub(super) fn named_by(&self, path: &ModulePath) -> Vec<NamedPath> {
        let module = &self.modules[path];
        let mut named = vec![];
        for written in &module.paths {
            self.follow(path, written, 0, &mut named);
        }
        named.retain(|one| one.module != *path);
        named
    }

    fn follow(&self, from: &ModulePath, path: &WrittenPath, depth: usize, named: &mut Vec<NamedPath>) {
        let Some(absolute) = self.to_absolute(from, path, depth) else { return };
        let mut module: ModulePath = vec![];
        let mut rest = absolute.as_slice();
        while let Some((first, behind)) = rest.split_first() {
            let here = &self.modules[&module];
            if here.children.contains(first) {
                module.push(first.clone());
                rest = behind;
            } else if let Some(handed_on) = here.imports.get(first).filter(|_| depth < 8) {
                let further = WrittenPath { segments: [&handed_on.segments, behind].concat(), ..handed_on.clone() };
                let further = WrittenPath { line: path.line, ..further };
                self.follow(&module, &further, depth + 1, named);
                break;
            } else {
                break;
            }
        }
        if module.is_empty() {
            let Some(first) = rest.first() else { return };
            let has_macro = |(_, module): &(&ModulePath, &SourceModule)| module.exported_macros.contains(first);
            let Some((owner, _)) = self.modules.iter().find(has_macro) else { return };
            module.clone_from(owner);
        }
        named.push(NamedPath { line: path.line, module, item: rest.to_vec() });
    }

    /// The path from the crate's root, or none of another crate's.
    fn to_absolute(&self, from: &ModulePath, path: &WrittenPath, depth: usize) -> Option<Vec<String>> {
        let (first, behind) = path.segments.split_first()?;
        let mut base = [from.as_slice(), &path.inside].concat();
        match first.as_str() {
            "crate" => Some(behind.to_vec()),
            "self" => Some([base.as_slice(), behind].concat()),
            "super" => {
                let ups = path.segments.iter().take_while(|one| *one == "super").count();
                base.truncate(base.len().checked_sub(ups)?);
                Some([base.as_slice(), path.segments.get(ups..)?].concat())
            }
            _ => {
                let here = &self.modules[from];
                if here.children.contains(first) {
                    return Some([from.as_slice(), &path.segments].concat());
                }
                let import = here.imports.get(first).filter(|import| import.segments[0] != *first && depth < 8)?;
                let further = WrittenPath { segments: [&import.segments, behind].concat(), ..import.clone() };
                self.to_absolute(from, &further, depth + 1)
            }
        }
    }
}

impl SourceModule {
    fn parse(file: &str, text: &str) -> Self {
        let tokens = without_tests(&tokenize(text));
        let mut module = Self {
            file: file.to_owned(),
            children: vec![],
            paths: vec![],
            imports: BTreeMap::new(),
            exported_macros: BTreeSet::new(),
            database_calls: vec![],
        };
        let mut inline: Vec<(String, usize)> = vec![];
        let (mut at, mut depth, mut is_exported) = (0, 0, false);
        let sign = |at: usize, wanted: char| matches!(tokens.get(at), Some((Token::Sign(sign), _)) if *sign == wanted);
        let word = |at: usize| match tokens.get(at) {
            Some((Token::Word(word), _)) => Some(word.as_str()),
            _ => None,
        };
        let is_separator = |at: usize| matches!(tokens.get(at), Some((Token::PathSeparator, _)));
        while let Some((token, line)) = tokens.get(at) {
            let inside = || inline.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            match token {
                Token::Sign('{') => depth += 1,
                Token::Sign('}') => {
                    depth -= 1;
                    inline.retain(|(_, outer)| *outer < depth);
                }
                Token::Sign('.') if word(at + 1) == Some("db") && sign(at + 2, '(') => {
                    module.database_calls.push(*line);
                }
                Token::Word(keyword) if keyword == "mod" && word(at + 1).is_some() => {
                    let name = word(at + 1).unwrap_or_default().to_owned();
                    if sign(at + 2, ';') {
                        module.children.push(name);
                    } else {
                        inline.push((name, depth));
                    }
                    at += 1;
                }
                Token::Word(name) if name == "macro_export" => is_exported = true,
                Token::Word(name) if name == "macro_rules" && std::mem::take(&mut is_exported) => {
                    module.exported_macros.extend(word(at + 2).map(ToOwned::to_owned));
                }
                Token::Word(keyword) if keyword == "use" => {
                    let mut leaves = vec![];
                    at = read_use_tree(&tokens, at + 1, &[], &mut leaves);
                    for (line, segments, name) in leaves {
                        let path = WrittenPath { line, segments, inside: inside() };
                        if inline.is_empty() {
                            module.imports.insert(name, path.clone());
                        }
                        module.paths.push(path);
                    }
                }
                Token::Word(first) if is_separator(at + 1) && (at == 0 || !is_separator(at - 1)) => {
                    let mut segments = vec![first.clone()];
                    while let Some(next) = word(at + 2).filter(|_| is_separator(at + 1)) {
                        segments.push(next.to_owned());
                        at += 2;
                    }
                    module.paths.push(WrittenPath { line: *line, segments, inside: inside() });
                }
                _ => {}
            }
            at += 1;
        }
        module
    }
}

/// Reads a `use` tree up to what ends it, and answers where that stands. A leaf is a path and the name that it has here.
fn read_use_tree(
    tokens: &[(Token, usize)],
    mut at: usize,
    before: &[String],
    leaves: &mut Vec<(usize, Vec<String>, String)>,
) -> usize {
    let mut segments = before.to_vec();
    let (mut name, mut line) = (None, 0);
    while let Some((token, here)) = tokens.get(at) {
        match token {
            Token::Word(word) if word == "as" => {
                if let Some((Token::Word(alias), _)) = tokens.get(at + 1) {
                    name = Some(alias.clone());
                }
                at += 1;
            }
            Token::Word(word) => {
                line = *here;
                // `{self, …}` names what stands before it.
                if word != "self" || segments.is_empty() {
                    segments.push(word.clone());
                }
            }
            Token::PathSeparator => {}
            Token::Sign('*') => {
                leaves.push((*here, segments.clone(), "*".to_owned()));
                line = 0;
            }
            Token::Sign('{') => {
                loop {
                    at = read_use_tree(tokens, at + 1, &segments, leaves);
                    if tokens.get(at).is_none_or(|(token, _)| *token != Token::Sign(',')) {
                        break;
                    }
                }
                line = 0;
            }
            Token::Sign(_) => break,
        }
        at += 1;
    }
    if line > 0 {
        let name = name.or_else(|| segments.last().cloned()).unwrap_or_default();
        leaves.push((line, segments, name));
    }
    at
}

/// The tokens of a text: comments, texts and lifetimes are none.
fn tokenize(text: &str) -> Vec<(Token, usize)> {
    let letters: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (vec![], 0, 1);
    let is = |at: usize, wanted: char| letters.get(at) == Some(&wanted);
    let is_word = |at: usize| letters.get(at).is_some_and(|letter| letter.is_alphanumeric() || *letter == '_');
    while let Some(letter) = letters.get(at) {
        let start = at;
        match letter {
            '/' if is(at + 1, '/') => {
                while at < letters.len() && !is(at, '\n') {
                    at += 1;
                }
            }
            '/' if is(at + 1, '*') => {
                let mut depth = 0;
                while at < letters.len() {
                    match (letters[at], is(at + 1, '*'), is(at + 1, '/')) {
                        ('/', true, _) => depth += 1,
                        ('*', _, true) => depth -= 1,
                        _ => {
                            at += 1;
                            continue;
                        }
                    }
                    at += 2;
                    if depth == 0 {
                        break;
                    }
                }
            }
            '"' => at = text_end(&letters, at + 1),
            // A letter is `'x'` or `'\…'`; what else begins so is a lifetime.
            '\'' if is(at + 1, '\\') => {
                at += 3;
                while at < letters.len() && !is(at, '\'') {
                    at += 1;
                }
                at += 1;
            }
            '\'' if is(at + 2, '\'') => at += 3,
            '\'' => {
                at += 1;
                while is_word(at) {
                    at += 1;
                }
            }
            _ if is_word(at) => {
                while is_word(at) {
                    at += 1;
                }
                let word: String = letters[start..at].iter().collect();
                let hashes = letters[at..].iter().take_while(|letter| **letter == '#').count();
                match word.as_str() {
                    "r" | "br" if is(at + hashes, '"') => {
                        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                        at += hashes + 1;
                        while at < letters.len() && !letters[at..].starts_with(&end) {
                            at += 1;
                        }
                        at += end.len();
                    }
                    "b" if is(at, '"') => at = text_end(&letters, at + 1),
                    _ => tokens.push((Token::Word(word), line)),
                }
            }
            ':' if is(at + 1, ':') => {
                tokens.push((Token::PathSeparator, line));
                at += 2;
            }
            _ => {
                if !letter.is_whitespace() {
                    tokens.push((Token::Sign(*letter), line));
                }
                at += 1;
            }
        }
        line += letters[start..at.min(letters.len())].iter().filter(|letter| **letter == '\n').count();
    }
    tokens
}

/// Where a text ends that begins there.
fn text_end(letters: &[char], mut at: usize) -> usize {
    while at < letters.len() && letters[at] != '"' {
        at += if letters[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// The same tokens without what stands under `#[cfg(test)]`, and without attributes that only tests have.
fn without_tests(tokens: &[(Token, usize)]) -> Vec<(Token, usize)> {
    let (mut kept, mut at) = (vec![], 0);
    while at < tokens.len() {
        let end = attribute_end(tokens, at);
        let words: Vec<_> = tokens[at..end].iter().map(|(token, _)| token).collect();
        let begins = |name: &str| {
            let test = [Token::Sign('('), Token::Word("test".to_owned())];
            words.get(2) == Some(&&Token::Word(name.to_owned())) && words.get(3..5) == Some(&[&test[0], &test[1]])
        };
        if begins("cfg_attr") {
            at = end;
        } else if begins("cfg") {
            at = item_end(tokens, end);
        } else {
            let end = end.max(at + 1);
            kept.extend_from_slice(&tokens[at..end]);
            at = end;
        }
    }
    kept
}

/// Behind an attribute that begins there; there, if none does.
fn attribute_end(tokens: &[(Token, usize)], at: usize) -> usize {
    let sign = |at: usize, wanted: char| matches!(tokens.get(at), Some((Token::Sign(sign), _)) if *sign == wanted);
    if !sign(at, '#') || !sign(at + 1, '[') {
        return at;
    }
    let (mut end, mut depth) = (at + 1, 0);
    while end < tokens.len() {
        depth += i32::from(sign(end, '[')) - i32::from(sign(end, ']'));
        end += 1;
        if depth == 0 {
            break;
        }
    }
    end
}

/// What an item begins with; nothing else under an attribute does.
const ITEMS: [&str; 13] =
    ["pub", "use", "mod", "fn", "impl", "struct", "enum", "const", "static", "type", "trait", "async", "macro_rules"];

/// Behind the item, member or arm that begins there.
fn item_end(tokens: &[(Token, usize)], mut at: usize) -> usize {
    while attribute_end(tokens, at) > at {
        at = attribute_end(tokens, at);
    }
    let is_word = |at: usize, words: &[&str]| matches!(tokens.get(at), Some((Token::Word(word), _)) if words.contains(&word.as_str()));
    let is_item = is_word(at, &ITEMS);
    // Their braces do not end them.
    let ends_with_semicolon = (at..at + 6).any(|near| is_word(near, &["use"]))
        || is_word(at, &["const", "static"]) && !is_word(at + 1, &["fn"]);
    let mut depth = 0;
    while let Some((token, _)) = tokens.get(at) {
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign('}' | ')' | ']') if depth == 0 => return at,
            Token::Sign(end @ ('}' | ')' | ']')) => {
                depth -= 1;
                if depth == 0 && *end == '}' && !ends_with_semicolon {
                    let comma = matches!(tokens.get(at + 1), Some((Token::Sign(','), _)));
                    return at + if comma && !is_item { 2 } else { 1 };
                }
            }
            Token::Sign(';') if depth == 0 => return at + 1,
            Token::Sign(',') if depth == 0 && !is_item => return at + 1,
            _ => {}
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &'static [(&'static str, &'static str)]) -> SourceTree {
        SourceTree::read(&|wanted| files.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned()))
    }

    /// What the module `a` names, as `line module item`.
    fn named(a: &'static str) -> Vec<String> {
        let text: &'static str = Box::leak(format!("mod child; mod other;{a}").into_boxed_str());
        let files: &'static [_] = Box::leak(Box::new([
            ("lib.rs", "mod a; mod b; mod ports;"),
            ("a.rs", text),
            ("a/child.rs", "pub struct Child; pub fn f() {}"),
            ("a/other.rs", ""),
            ("b.rs", "mod inner; pub use inner::Handed; pub use std::fmt;"),
            ("b/inner.rs", ""),
            ("ports.rs", "#[macro_export]\nmacro_rules! sql { () => { $crate::b::X } }"),
        ]));
        let named = tree(files).named_by(&vec!["a".to_owned()]);
        named.iter().map(|one| format!("{} {} {}", one.line, one.module.join("::"), one.item.join("::"))).collect()
    }

    #[test]
    fn paths_are_found_in_use_trees_and_in_code() {
        assert_eq!(named("use crate::b::X;"), ["1 b X"]);
        assert_eq!(named("use crate::{b::{self, X as Y},\n ports};"), ["1 b ", "1 b X", "2 ports "]);
        assert_eq!(named("\nfn f(x: crate::b::X<crate::ports::Y>) {}"), ["2 b X", "2 ports Y"]);
        assert_eq!(named("use crate::b;\nfn f() { b::g(); b::inner::h() }"), ["1 b ", "2 b g", "2 b::inner h"]);
        assert_eq!(named("fn f() { child::f(); Vec::new(); std::fmt::f() }"), ["1 a::child f"]);
        assert_eq!(named("mod m { use super::super::b; use super::child; }"), ["1 b ", "1 a::child "]);
        assert_eq!(named("use crate::sql;"), ["1 ports sql"]);
        assert_eq!(named("use crate::b::*;"), ["1 b "]);
        assert_eq!(named("const X: &str = r#\"\"crate::b\"#;\nuse crate::b::X;"), ["2 b X"]);
    }

    #[test]
    fn who_hands_on_and_who_owns_are_both_named() {
        assert_eq!(named("use crate::b::Handed;"), ["1 b::inner Handed", "1 b Handed"]);
        assert_eq!(named("use crate::b::fmt;"), ["1 b fmt"]);
    }

    #[test]
    fn comments_texts_and_test_code_are_left_out() {
        for text in [
            "// crate::b::X",
            "/// [`crate::b::X`]\nstruct Y;",
            "/* crate::b /* crate::b */ crate::b */",
            r#"const X: &str = "\"crate::b::X";"#,
            r##"const X: &str = r#""crate::b::X"#;"##,
            "#[cfg(test)]\nmod tests { use crate::b; }",
            "#[cfg(test)]\nuse crate::b::{X, Y};",
            "#[cfg(test)]\n#[derive(Debug)]\nenum E { Own(crate::b::X), }",
            "#[cfg(test)]\nfn f<A, B>(x: crate::b::X) -> crate::b::Y { crate::b::g() }",
            "#[cfg_attr(test, derive(crate::b::X))]\nstruct S { #[cfg(test)] x: crate::b::X, y: u8 }",
            "#[cfg(test)] const X: [u8; 2] = crate::b::X;",
        ] {
            assert_eq!(named(text), Vec::<String>::new(), "{text}");
        }
        for text in [
            "#[cfg(test)]\nmod tests { fn f() {} }\nuse crate::b::X;",
            "#[cfg(not(test))]\n#[expect(x)]\nuse crate::b::X;",
            "fn f<'a>(x: &'a str) -> char { '\"' }\n\nuse crate::b::X;",
            "struct S { #[cfg(test)] x: u8,\n\ny: crate::b::X }",
            "const X: [char; 2] = ['\\'', '{'];\n\nuse crate::b::X;",
        ] {
            assert_eq!(named(text), ["3 b X"], "{text}");
        }
    }

    #[test]
    fn modules_of_tests_are_not_read() {
        let tree = tree(&[
            ("lib.rs", "mod a; #[cfg(test)] mod tests; #[cfg(all(target_arch = \"wasm32\"))] mod edge;"),
            ("a.rs", ""),
            ("edge.rs", ""),
        ]);
        let names: Vec<_> = tree.modules.keys().map(|path| path.join("::")).collect();
        assert_eq!(names, ["", "a", "edge"]);
    }

    #[test]
    fn calls_of_the_database_are_found() {
        let tree = tree(&[("lib.rs", "mod a;"), ("a.rs", "fn f() {\n context.db().batch(); x.db; db() }")]);
        assert_eq!(tree.modules[&vec!["a".to_owned()]].database_calls, [2]);
    }
}
