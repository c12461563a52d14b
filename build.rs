//! Makes the catalogue's table from `catalog/*.json`: (id, text) sorted by id, and the client families.
//!
//! Fails the build, with file and reason, where a file is not JSON or its id is not its name. Whether a
//! definition is sound in full is a test's to say: it uses the same reader as the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("catalog");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut apps = BTreeMap::new();
    let mut families = BTreeSet::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        let (id, family) = look_at(&path).map_err(|reason| format!("{}: {reason}", path.display()))?;
        families.extend(family);
        apps.insert(id, path);
    }
    let table = Path::new(&env::var("OUT_DIR")?).join("catalogue.rs");
    fs::write(table, source(&apps, &families)?)?;
    Ok(())
}

/// A file's id and client family.
fn look_at(path: &Path) -> Outcome<(String, Option<String>)> {
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let id = json.get("id").and_then(|id| id.as_str()).ok_or("has no \"id\"")?;
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if id != name {
        return Err(format!("its id is \"{id}\"; it must be the file's name, \"{name}\"").into());
    }
    let family = json.get("client_family").and_then(|family| family.as_str());
    Ok((id.to_owned(), family.map(str::to_owned)))
}

fn source(apps: &BTreeMap<String, PathBuf>, families: &BTreeSet<String>) -> Result<String, std::fmt::Error> {
    let mut text = String::from("static APPS: &[(&str, &str)] = &[\n");
    for (id, path) in apps {
        writeln!(text, "    ({id:?}, include_str!({:?})),", path.display().to_string())?;
    }
    let families: Vec<_> = families.iter().collect();
    writeln!(text, "];\nstatic FAMILIES: &[&str] = &{families:?};")?;
    Ok(text)
}
