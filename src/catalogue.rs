//! The catalogue: the apps that are part of this program, one file each under `catalog/`.
//!
//! Owns the look-up by id, and what a list shows without parsing the files. Parses a file at its first use, so that
//! start-up costs nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::app::{App, FieldProblem, read_new_definition, read_stored_definition};
use crate::egress::EgressPolicy;

/// What a list shows of an app, known without parsing its file.
#[derive(Debug)]
pub struct CatalogueEntry {
    /// The app's id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Words to filter by.
    pub categories: &'static [&'static str],
    /// The client family whose client it shares.
    pub family: Option<&'static str>,
    /// Its auth methods, the recommended one first.
    pub auth_methods: &'static [CatalogueAuthMethod],
    text: &'static str,
}

/// What a list shows of an auth method.
#[derive(Debug)]
pub struct CatalogueAuthMethod {
    /// Its name, if it has one.
    pub name: Option<&'static str>,
    /// The type of its credential, as [`crate::app::CredentialKind`] writes it.
    pub kind: &'static str,
}

// `APPS: &[Entry]`, sorted by id, and `FAMILIES: &[&str]`, sorted: made by build.rs, which has read every file with the
// same reader.
include!(concat!(env!("OUT_DIR"), "/catalogue.rs"));

thread_local! {
    static PARSED: RefCell<BTreeMap<&'static str, Rc<App>>> = const { RefCell::new(BTreeMap::new()) };
}

/// An app of the catalogue, parsed once per isolate.
pub fn find(id: &str) -> Option<Rc<App>> {
    let CatalogueEntry { id, text, .. } = *find_entry(id)?;
    if let Some(app) = PARSED.with_borrow(|parsed| parsed.get(id).cloned()) {
        return Some(app);
    }
    // A file that does not parse fails the tests below, so this cannot happen.
    let app = Rc::new(read_stored_definition(text, EgressPolicy::Public).ok()?);
    PARSED.with_borrow_mut(|parsed| parsed.insert(id, Rc::clone(&app)));
    Some(app)
}

/// A file of the catalogue, as the program contains it.
#[cfg(test)]
pub(crate) fn definition_json(id: &str) -> Option<&'static str> {
    find_entry(id).map(|entry| entry.text)
}

/// All apps of the catalogue, sorted by id.
pub fn entries() -> impl Iterator<Item = &'static CatalogueEntry> {
    APPS.iter()
}

/// The ids of all apps of the catalogue, sorted.
pub fn ids() -> impl Iterator<Item = &'static str> {
    entries().map(|entry| entry.id)
}

/// The apps that share this app's OAuth client: those of its client family, or the app alone.
pub fn apps_sharing_client(id: &str) -> impl Iterator<Item = &str> {
    let family = find_entry(id).and_then(|entry| entry.family);
    let others = entries().filter(move |entry| family.is_some() && entry.family == family && entry.id != id);
    std::iter::once(id).chain(others.map(|entry| entry.id))
}

/// The apps whose OAuth client is registered under a name: those of a client family, or the one app.
pub fn apps_of_registration(registration: &str) -> impl Iterator<Item = &'static str> {
    let is_of = move |entry: &&CatalogueEntry| entry.family.unwrap_or(entry.id) == registration;
    entries().filter(is_of).map(|entry| entry.id)
}

/// Reads a custom app's definition. In addition to the rules of [`read_new_definition`], it must not use a name under
/// which an OAuth client of the catalogue is registered: that client's secret would be sent to the addresses of the
/// definition.
///
/// # Errors
/// Every invalid field.
pub fn read_custom_definition(json: &str, egress: EgressPolicy) -> Result<App, Vec<FieldProblem>> {
    let app = read_new_definition(json, egress)?;
    let problem = |field: &str, problem: &str| vec![FieldProblem { field: field.into(), problem: problem.into() }];
    if app.registration() != app.id.as_str() {
        return Err(problem("client_family", "only apps of the catalogue share a client; remove it"));
    }
    if is_reserved_name(app.id.as_str()) {
        return Err(problem("id", "is taken by the catalogue; choose another"));
    }
    if resembles_catalogue_name(&app.name) {
        let words = "is the name of an app of the catalogue; choose another, so that people can tell them apart";
        return Err(problem("name", words));
    }
    Ok(app.into_custom())
}

/// Whether people could mistake a name for that of a catalogue app. Only letters and digits are compared, and letters
/// of other alphabets count as the Latin letters that they look like.
fn resembles_catalogue_name(name: &str) -> bool {
    let shape = name_shape(name);
    !shape.is_empty() && APPS.iter().any(|app| name_shape(app.name) == shape || name_shape(app.id) == shape)
}

/// What a name looks like: names that people could mistake for each other have the same. Only its letters and digits count.
pub fn name_shape(name: &str) -> String {
    name.to_lowercase().chars().map(latin_lookalike).filter(|letter| letter.is_alphanumeric()).collect()
}

/// The Latin letter that a lower-case letter looks like.
fn latin_lookalike(letter: char) -> char {
    match letter {
        '0' | 'о' | 'ο' | 'օ' | 'ö' | 'ó' | 'ò' | 'ô' | 'õ' | 'ø' => 'o',
        '1' | '|' | 'і' | 'ı' | 'ι' | 'l' | 'ӏ' | 'í' | 'ì' | 'î' | 'ï' | 'i' => 'i',
        'а' | 'α' | 'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
        'е' | 'ё' | 'ε' | 'é' | 'è' | 'ê' | 'ë' => 'e',
        'с' | 'ϲ' | 'ç' => 'c',
        'р' | 'ρ' => 'p',
        'ѕ' | 'š' | 'ś' | '5' | '$' => 's',
        'х' | 'χ' => 'x',
        'у' | 'γ' | 'ý' | 'ÿ' => 'y',
        'т' | 'τ' => 't',
        'ո' | 'ñ' | 'ń' => 'n',
        'һ' => 'h',
        'ԁ' => 'd',
        'к' | 'κ' => 'k',
        'м' => 'm',
        'в' => 'b',
        'ԛ' => 'q',
        'ѡ' | 'ԝ' => 'w',
        'ј' => 'j',
        'ɡ' => 'g',
        'ν' | 'ѵ' => 'v',
        'ú' | 'ù' | 'û' | 'ü' | 'υ' => 'u',
        // The full-width forms of Latin letters and digits.
        'ａ'..='ｚ' | '０'..='９' => char::from_u32(u32::from(letter) - 0xfee0).map_or(letter, latin_lookalike),
        other => plain_letter(other),
    }
}

/// The plain letter of a styled one: mathematical, in a circle or square, a small capital.
fn plain_letter(letter: char) -> char {
    const SMALL_CAPITALS: &str = "ᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢz";
    if letter.is_ascii() {
        return letter;
    }
    let at = |first: char| u32::from(letter) - u32::from(first);
    let plain = match letter {
        '\u{1d400}'..='\u{1d6a3}' => char::from_u32(u32::from('a') + at('\u{1d400}') % 26),
        '\u{1d7ce}'..='\u{1d7ff}' => char::from_u32(u32::from('0') + at('\u{1d7ce}') % 10),
        '\u{24d0}'..='\u{24e9}' => char::from_u32(u32::from('a') + at('\u{24d0}')),
        '\u{249c}'..='\u{24b5}' => char::from_u32(u32::from('a') + at('\u{249c}')),
        '\u{1f130}'..='\u{1f149}' => char::from_u32(u32::from('a') + at('\u{1f130}')),
        '\u{1f150}'..='\u{1f169}' => char::from_u32(u32::from('a') + at('\u{1f150}')),
        '\u{1f170}'..='\u{1f189}' => char::from_u32(u32::from('a') + at('\u{1f170}')),
        _ => {
            let mut letters = SMALL_CAPITALS.chars();
            letters.find(|known| *known == letter).and_then(|_| letters.next())
        }
    };
    match plain {
        Some(plain) => latin_lookalike(plain),
        None => letter,
    }
}

/// Whether an OAuth client of the catalogue is, or may be, registered under this name.
fn is_reserved_name(name: &str) -> bool {
    find_entry(name).is_some() || FAMILIES.binary_search(&name).is_ok()
}

/// What a list shows of an app of the catalogue. Parses nothing.
pub fn find_entry(id: &str) -> Option<&'static CatalogueEntry> {
    let at = APPS.binary_search_by_key(&id, |entry| entry.id).ok()?;
    APPS.get(at)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod validate;
