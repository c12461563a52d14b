//! Makes the catalogue's table from `catalog/*.json`: what a list of apps shows, and each file's members, sorted by id.
//! Makes the table of static files from `assets/*`: each one's address, with a hash of its content.
//!
//! Reads every file with the program's own reader, and fails the build with file, field and remedy if one is invalid.
//! It is in this folder so that the reader's modules are found as in the program.
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the build needs the reader only, and what the program exports is private here"
)]

mod app;
mod codes;
mod egress;
mod environment;
mod gather;
mod json;
mod secret;
#[path = "catalogue/validate.rs"]
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use sha2::{Digest as _, Sha256};

type BuildResult<T> = Result<T, Box<dyn std::error::Error>>;

/// The part of a file that a list of apps shows.
struct CatalogueFile {
    name: String,
    categories: Vec<String>,
    family: Option<String>,
    /// Id, name and type of each auth method.
    auth_methods: Vec<(Option<String>, String)>,
    path: PathBuf,
}

fn main() -> BuildResult<()> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("catalog");
    for reader in [
        "src/build.rs",
        "src/app.rs",
        "src/app",
        "src/codes.rs",
        "src/egress.rs",
        "src/environment.rs",
        "src/gather.rs",
        "src/json.rs",
        "src/json",
        "src/secret.rs",
        "src/catalogue/validate.rs",
    ] {
        println!("cargo:rerun-if-changed={reader}");
    }
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut apps = BTreeMap::new();
    let mut definitions = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        println!("cargo:rerun-if-changed={}", path.display());
        match read_catalogue_file(&path) {
            Ok((definition, entry)) => {
                apps.insert(definition.id.as_str().to_owned(), entry);
                definitions.push(definition);
            }
            Err(problems) => problems.iter().for_each(|problem| report_problem(&path, problem)),
        }
    }
    definitions.sort_by(|one, other| one.id.cmp(&other.id));
    for (id, problem) in validate::validate_families(definitions.iter()) {
        report_problem(&folder.join(format!("{id}.json")), &problem);
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("catalogue.rs"), render_table(&apps)?)?;
    let logos = read_logos(Path::new("assets/logos.svg"))?;
    fs::write(out.join("assets.rs"), render_assets(&read_assets(Path::new("assets"))?, &logos)?)?;
    Ok(())
}

/// The static files, each with its address: `style.css`, `/assets/style.0123456789ab.css`.
fn read_assets(folder: &Path) -> BuildResult<BTreeMap<String, String>> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut addresses = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        println!("cargo:rerun-if-changed={}", path.display());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.split_once('.').filter(|(stem, extension)| is_plain(stem) && is_plain(extension)) {
            Some((stem, extension)) => {
                let hash = hash_content(&fs::read(&path)?)?;
                addresses.insert(name.to_owned(), format!("/assets/{stem}.{hash}.{extension}"));
            }
            None => println!(
                "cargo::error={}: a static file's name has small letters, digits and -, and one extension",
                path.display()
            ),
        }
    }
    Ok(addresses)
}

/// The apps with a logo: the ids of the symbols in the file, which `tools/logos.mjs` makes.
fn read_logos(file: &Path) -> BuildResult<Vec<String>> {
    let text = fs::read_to_string(file)?;
    let ids = text.split("<symbol id=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    Ok(ids.map(|(id, _)| id.to_owned()).collect())
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The first twelve digits of SHA-256, as in `tools/assets.mjs`.
fn hash_content(content: &[u8]) -> Result<String, std::fmt::Error> {
    let mut hash = String::new();
    for byte in Sha256::digest(content).iter().take(6) {
        write!(hash, "{byte:02x}")?;
    }
    Ok(hash)
}

fn render_assets(addresses: &BTreeMap<String, String>, logos: &[String]) -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "/// The static files by name, each with its address.\npub const ADDRESSES: &[(&str, &str)] = &[\n",
    );
    for (name, address) in addresses {
        writeln!(text, "    ({name:?}, {address:?}),")?;
    }
    text.push_str("];\n\n/// The address of a file of `assets/`. Another name is an error of the compiler.\nmacro_rules! asset {\n");
    for (name, address) in addresses {
        writeln!(text, "    ({name:?}) => {{ {address:?} }};")?;
    }
    text.push_str("    ($name:literal) => { compile_error!(concat!(\"assets/ has no file \", $name)) };\n}\n");
    writeln!(text, "\nstatic LOGOS: &[&str] = &{logos:?};")?;
    Ok(text)
}

/// Fails the build with the file, the field and the remedy.
fn report_problem(path: &Path, app::FieldProblem { field, problem }: &app::FieldProblem) {
    let field = if field == "." { String::new() } else { format!("{field}: ") };
    println!("cargo::error={}: {field}{problem}", path.display());
}

/// A file's definition and its part of the list, or all errors.
fn read_catalogue_file(path: &Path) -> Result<(app::App, CatalogueFile), Vec<app::FieldProblem>> {
    let unread = |error: std::io::Error| app::FieldProblem { field: ".".to_owned(), problem: error.to_string() };
    let source = fs::read_to_string(path).map_err(|error| vec![unread(error)])?;
    let definition = app::read_new_definition(&source, egress::EgressPolicy::Public)?;
    let problems =
        validate::validate_definition(&definition, path.file_stem().and_then(|name| name.to_str()).unwrap_or_default());
    if !problems.is_empty() {
        return Err(problems);
    }
    let way = |way: &std::rc::Rc<app::AuthMethod>| (way.method_name.clone(), way.kind.as_str().to_owned());
    let entry = CatalogueFile {
        name: definition.name.clone(),
        categories: definition.categories.clone(),
        family: definition.auth_methods().first().and_then(|way| way.client_family.clone()),
        auth_methods: definition.auth_methods().iter().map(way).collect(),
        path: path.to_owned(),
    };
    Ok((definition, entry))
}

/// A file as the program contains it: without white space, and without what only whoever works on the file reads.
fn served_definition(path: &Path) -> BuildResult<String> {
    let mut definition: serde_json::Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    if let Some(members) = definition.as_object_mut() {
        members.retain(|name, _| name != "sources" && name != "unverified");
    }
    Ok(definition.to_string())
}

fn render_table(apps: &BTreeMap<String, CatalogueFile>) -> BuildResult<String> {
    let mut text = String::from("static APPS: &[CatalogueEntry] = &[\n");
    for (id, CatalogueFile { name, categories, family, auth_methods: ways, path }) in apps {
        writeln!(
            text,
            "    CatalogueEntry {{ id: {id:?}, name: {name:?}, categories: &{categories:?}, family: {family:?}, auth_methods: &["
        )?;
        for (name, kind) in ways {
            writeln!(text, "        CatalogueAuthMethod {{ name: {name:?}, kind: {kind:?} }},")?;
        }
        writeln!(text, "    ], text: {:?} }},", served_definition(path)?)?;
    }
    let families: BTreeSet<_> = apps.values().filter_map(|app| app.family.as_ref()).collect();
    writeln!(text, "];\nstatic FAMILIES: &[&str] = &{:?};", families.iter().collect::<Vec<_>>())?;
    Ok(text)
}
