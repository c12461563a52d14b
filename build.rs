//! Makes the catalogue's table from `catalog/*.json`: what a list of apps shows, and each file's text, sorted by id.
//!
//! Fails the build, with file and reason, where a file is not JSON or lacks what a list shows. Whether a definition is
//! sound in full is a test's to say: it uses the same reader as the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What a list of apps shows of a file.
struct Entry {
    name: String,
    categories: Vec<String>,
    family: Option<String>,
    /// Id, name and type of each way to connect.
    ways: Vec<(String, Option<String>, String)>,
    path: PathBuf,
}

fn main() -> Outcome<()> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("catalog");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut apps = BTreeMap::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        let (id, entry) = look_at(&path).map_err(|reason| format!("{}: {reason}", path.display()))?;
        apps.insert(id, entry);
    }
    let table = Path::new(&env::var("OUT_DIR")?).join("catalogue.rs");
    fs::write(table, source(&apps)?)?;
    Ok(())
}

fn look_at(path: &Path) -> Outcome<(String, Entry)> {
    let json: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let text = |value: &Value, member: &str| value.get(member).and_then(Value::as_str).map(str::to_owned);
    let id = text(&json, "id").ok_or("has no \"id\"")?;
    let stem = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if id != stem {
        return Err(format!("its id is \"{id}\"; it must be the file's name, \"{stem}\"").into());
    }
    let auth = json.get("auth").ok_or("has no \"auth\"")?;
    let ways = auth.as_array().map_or_else(|| vec![auth], |list| list.iter().collect());
    let way = |way: &Value| {
        let kind = text(way, "type").ok_or("has a way to connect without a \"type\"")?;
        Ok((text(way, "id").unwrap_or_else(|| kind.clone()), text(way, "name"), kind))
    };
    let categories = json.get("categories").and_then(Value::as_array).into_iter().flatten();
    let entry = Entry {
        name: text(&json, "name").ok_or("has no \"name\"")?,
        categories: categories.filter_map(Value::as_str).map(str::to_owned).collect(),
        family: text(&json, "client_family"),
        ways: ways.into_iter().map(way).collect::<Result<_, &str>>()?,
        path: path.to_owned(),
    };
    Ok((id, entry))
}

fn source(apps: &BTreeMap<String, Entry>) -> Result<String, std::fmt::Error> {
    let mut text = String::from("static APPS: &[Entry] = &[\n");
    for (id, Entry { name, categories, family, ways, path }) in apps {
        writeln!(
            text,
            "    Entry {{ id: {id:?}, name: {name:?}, categories: &{categories:?}, family: {family:?}, ways: &["
        )?;
        for (id, name, kind) in ways {
            writeln!(text, "        EntryWay {{ id: {id:?}, name: {name:?}, kind: {kind:?} }},")?;
        }
        writeln!(text, "    ], text: include_str!({:?}) }},", path.display().to_string())?;
    }
    let families: BTreeSet<_> = apps.values().filter_map(|app| app.family.as_ref()).collect();
    writeln!(text, "];\nstatic FAMILIES: &[&str] = &{:?};", families.iter().collect::<Vec<_>>())?;
    Ok(text)
}
