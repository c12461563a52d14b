//! Layers: the order of the modules in `src/lib.rs` holds, siblings form no circle, and HTTP leaves the database alone.

mod source_tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use source_tree::{ModulePath, NamedPath, SourceModule, SourceTree};

/// Reads a file of `src/`.
fn read_source(name: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name)).ok()
}

/// The groups of `lib.rs`, from the bottom to the top: a heading (`// Name: what it is.`) and the modules below it.
fn read_groups(lib: &str) -> Vec<(String, Vec<String>)> {
    let mut groups: Vec<(String, Vec<String>)> = vec![];
    for line in lib.lines() {
        if let Some((name, _)) = line.strip_prefix("// ").and_then(|line| line.split_once(':')) {
            groups.push((name.to_owned(), vec![]));
        }
        let module = line.split_once("mod ").and_then(|(before, name)| {
            name.strip_suffix(';').filter(|_| before.is_empty() || before == "pub ").map(ToOwned::to_owned)
        });
        if let Some(module) = module {
            groups.last_mut().unwrap_or_else(|| panic!("{module} stands below no heading")).1.push(module);
        }
    }
    groups
}

/// Where modules name what stands behind them in the order.
fn upward_names(tree: &SourceTree, order: &[String]) -> Vec<String> {
    let place = |module: &String| order.iter().position(|one| one == module);
    let mut found = vec![];
    for (path, module) in tree.modules.iter().filter(|(path, _)| !path.is_empty()) {
        for named in tree.named_by(path) {
            let (own, other) = (&path[0], &named.module[0]);
            if own != other && place(other) >= place(own) {
                found.push(format!(
                    "src/{}:{}: {own} must not name {other} ({}): in src/lib.rs {other} stands above it in the layers",
                    module.file,
                    named.line,
                    whole_name(&named),
                ));
            }
        }
    }
    found
}

fn whole_name(named: &NamedPath) -> String {
    [named.module.as_slice(), &named.item].concat().join("::")
}

/// Who names whom among the modules of one parent, each with the first place where it does.
fn sibling_names(tree: &SourceTree, parent: &ModulePath) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut edges: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let below = |path: &ModulePath| path.strip_prefix(parent.as_slice()).and_then(<[String]>::first).cloned();
    for (path, module) in &tree.modules {
        let Some(own) = below(path) else { continue };
        for named in tree.named_by(path) {
            let Some(other) = below(&named.module).filter(|other| *other != own) else { continue };
            let place = format!("src/{}:{} names {}", module.file, named.line, whole_name(&named));
            edges.entry(own.clone()).or_default().entry(other).or_insert(place);
        }
    }
    edges
}

/// A circle, as the places that make it.
fn find_circle(edges: &BTreeMap<String, BTreeMap<String, String>>) -> Option<Vec<String>> {
    // The shortest way from a module back to itself.
    let way_back = |start: &String| {
        let mut ways = vec![vec![start.clone()]];
        let mut seen = BTreeSet::new();
        while !ways.is_empty() {
            let mut longer = vec![];
            for way in ways {
                for next in edges.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
                    if next == start {
                        return Some(way);
                    }
                    if seen.insert(next.clone()) {
                        longer.push([way.as_slice(), std::slice::from_ref(next)].concat());
                    }
                }
            }
            ways = longer;
        }
        None
    };
    let circle = edges.keys().filter_map(way_back).min_by_key(Vec::len)?;
    let nexts = circle.iter().cycle().skip(1);
    Some(circle.iter().zip(nexts).map(|(one, next)| edges[one][next].clone()).collect())
}

fn sibling_circles(tree: &SourceTree) -> Vec<String> {
    let parents = tree.modules.keys().filter(|parent| !parent.is_empty());
    let circles = parents.filter_map(|parent| {
        let circle = find_circle(&sibling_names(tree, parent))?;
        Some(format!("the modules of {} name each other in a circle:\n  {}", parent.join("::"), circle.join("\n  ")))
    });
    circles.collect()
}

/// Where a module calls the database: by `.db()` or by a function of the store.
fn database_calls(tree: &SourceTree, path: &ModulePath, module: &SourceModule) -> Vec<String> {
    let begins_lower = |name: &String| name.starts_with(char::is_lowercase);
    let is_function =
        |named: &NamedPath| named.module[0] == "store" && !named.item.is_empty() && named.item.iter().all(begins_lower);
    let functions = tree.named_by(path).into_iter().filter(is_function);
    let functions = functions.map(|named| format!("src/{}:{}: {}", module.file, named.line, whole_name(&named)));
    let calls = module.database_calls.iter().map(|line| format!("src/{}:{line}: .db()", module.file));
    calls.chain(functions).collect()
}

/// Files of a module that call the database, each with the places.
fn files_with_database_calls(tree: &SourceTree, top: &str) -> BTreeMap<String, Vec<String>> {
    let modules = tree.modules.iter().filter(|(path, _)| path.first().is_some_and(|first| first == top));
    let calls = modules.map(|(path, module)| (format!("src/{}", module.file), database_calls(tree, path, module)));
    calls.filter(|(_, calls)| !calls.is_empty()).collect()
}

/// The picture of the layers, as ARCHITECTURE.md has it: the top first.
fn draw_layers(groups: &[(String, Vec<String>)]) -> String {
    let width = groups.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut picture = String::new();
    for (name, modules) in groups.iter().rev() {
        let modules: Vec<_> = modules.iter().rev().map(String::as_str).collect();
        writeln!(picture, "{name:width$}  {}", modules.join(" ")).unwrap();
    }
    picture
}

#[test]
fn modules_name_only_what_stands_before_them() {
    let groups = read_groups(&read_source("lib.rs").unwrap());
    let order: Vec<_> = groups.into_iter().flat_map(|(_, modules)| modules).collect();
    let tree = SourceTree::read(&read_source);
    assert_eq!(order, tree.modules[&vec![]].children, "every module of src/lib.rs stands in a group");
    let found = upward_names(&tree, &order);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn siblings_form_no_circle() {
    let found = sibling_circles(&SourceTree::read(&read_source));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn http_does_not_call_the_database() {
    let found = files_with_database_calls(&SourceTree::read(&read_source), "http");
    let calls: Vec<_> = found.into_values().flatten().collect();
    assert!(calls.is_empty(), "src/http calls the database, which is for a use case to do:\n{}", calls.join("\n"));
}

/// The document with another picture in the place of the one that it has.
fn with_picture(document: &str, picture: &str) -> Option<String> {
    let (before, rest) = document.split_once("```\nEdge")?;
    let (_, behind) = rest.split_once("```")?;
    Some(format!("{before}```\n{picture}```{behind}"))
}

#[test]
fn the_picture_in_the_documentation_is_what_is_checked() {
    let picture = draw_layers(&read_groups(&read_source("lib.rs").unwrap()));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let document = std::fs::read_to_string(&file).unwrap();
    let wanted = with_picture(&document, &picture).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let is_same = document == wanted || std::env::var_os("UPDATE_GOLDEN").is_some();
    assert!(is_same, "ARCHITECTURE.md has another picture of the layers than src/lib.rs. Look, then UPDATE_GOLDEN=1.");
}

/// A crate of a few small files.
fn small_crate(files: &'static [(&'static str, &'static str)]) -> SourceTree {
    SourceTree::read(&|wanted| files.iter().find(|(name, _)| *name == wanted).map(|(_, text)| (*text).to_owned()))
}

const SMALL_LIB: &str = "// Low: below.\npub mod store;\nmod b;\n\n// High: above.\n#[cfg(x)]\npub mod http;\n";

#[test]
fn groups_are_read_in_their_order() {
    let groups = read_groups(SMALL_LIB);
    let expected = [("Low", vec!["store", "b"]), ("High", vec!["http"])];
    let expected =
        expected.map(|(name, modules)| (name.to_owned(), modules.into_iter().map(ToOwned::to_owned).collect()));
    assert_eq!(groups, expected);
    assert_eq!(draw_layers(&groups), "High  http\nLow   b store\n");
    assert_eq!(with_picture("x\n```\nEdge  a\n```\ny", "Edge  b\n").unwrap(), "x\n```\nEdge  b\n```\ny");
}

#[test]
fn an_upward_name_is_found_with_its_file_and_line() {
    let tree = small_crate(&[
        ("lib.rs", SMALL_LIB),
        ("store.rs", "mod keys;"),
        ("store/keys.rs", "\n\nfn f() -> crate::b::X {}"),
        ("b.rs", "use crate::{store::X, b::Y};\n#[cfg(test)]\nmod tests { use crate::http; }"),
        ("http.rs", "use crate::b; use super::store;"),
    ]);
    let order = ["store", "b", "http"].map(ToOwned::to_owned);
    let found = upward_names(&tree, &order);
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert!(found.starts_with("src/store/keys.rs:3: store must not name b (b::X)"), "{found}");
}

#[test]
fn circles_of_siblings_are_found_and_parents_and_children_make_none() {
    let tree = small_crate(&[
        ("lib.rs", "mod p;"),
        ("p.rs", "mod a; mod b; mod c; pub use c::Handed; fn f() { a::f() }"),
        ("p/a.rs", "use super::b::X; use super::f;"),
        ("p/b.rs", "mod d;"),
        ("p/b/d.rs", "use crate::p::Handed;\nuse super::super::f; use super::Y;"),
        ("p/c.rs", "\nfn f(x: super::a::Y) {}"),
    ]);
    let circles = sibling_circles(&tree);
    let expected = "the modules of p name each other in a circle:\n  src/p/a.rs:1 names p::b::X\n  \
         src/p/b/d.rs:1 names p::c::Handed\n  src/p/c.rs:2 names p::a::Y";
    assert_eq!(circles, [expected]);
    let tree = small_crate(&[
        ("lib.rs", "mod p;"),
        ("p.rs", "mod a; mod b; use a::X; use b::Y;"),
        ("p/a.rs", "use super::b::Y; use super::Z;"),
        ("p/b.rs", "use super::Z; #[cfg(test)] mod tests { use super::super::a::X; }"),
    ]);
    assert_eq!(sibling_circles(&tree), Vec::<String>::new());
}

#[test]
fn calls_of_the_database_are_told_from_types_of_the_store() {
    let tree = small_crate(&[
        ("lib.rs", SMALL_LIB),
        ("store.rs", "pub mod keys;"),
        ("store/keys.rs", ""),
        ("b.rs", "fn f() { context.db() }"),
        ("http.rs", "mod types; mod method; mod function; mod imported;"),
        ("http/types.rs", "use crate::store::keys::{self, Row}; fn f(x: keys::Key) { Row::of(x); keys::Page::new() }"),
        ("http/method.rs", "fn f() { batch(context.db()) }"),
        ("http/function.rs", "use crate::store::keys;\nfn f() { keys::get(x) }"),
        ("http/imported.rs", "use crate::store::keys::get;"),
    ]);
    let found = files_with_database_calls(&tree, "http");
    let files: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(files, ["src/http/function.rs", "src/http/imported.rs", "src/http/method.rs"]);
    assert_eq!(found["src/http/function.rs"], ["src/http/function.rs:2: store::keys::get"]);
}
