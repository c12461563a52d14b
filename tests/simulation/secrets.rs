//! The judge of secrets: none may be sent where it was not given for.
//!
//! Owns what is known of every secret of a play: the client's secret, codes, verifiers, access and refresh tokens,
//! entered keys. Each request that leaves the program is searched for all of them, wherever they stand in it. Where one
//! was given for follows from the definition that a flow began with, read here and not by the program.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connections::ports::Outbound;
use sha2::{Digest, Sha256};

use crate::editor::{Places, origin};
use crate::support::acme::{Acme, CANARY};

/// What is known.
pub(crate) struct Secrets {
    /// The app's own places.
    honest: Places,
    /// Where the grants of a code may go, for flows whose person saw another definition than the app's own.
    flows: RefCell<BTreeMap<String, Places>>,
    /// Where the verifier of a challenge may go.
    challenges: RefCell<BTreeMap<String, Places>>,
    pub(crate) findings: RefCell<Vec<String>>,
}

impl Secrets {
    pub(crate) fn new(honest: Places) -> Self {
        Self { honest, flows: RefCell::default(), challenges: RefCell::default(), findings: RefCell::default() }
    }

    /// Where the app's own secrets may go.
    pub(crate) fn honest(&self) -> &Places {
        &self.honest
    }

    /// A flow began: its verifier is for the server that it began at.
    pub(crate) fn begins(&self, challenge: &str, places: &Places) {
        self.challenges.borrow_mut().insert(challenge.to_owned(), places.clone());
    }

    /// The app gave a code: what comes of it is for these places. The code itself is for the app's own token endpoint.
    pub(crate) fn gives(&self, code: &str, places: &Places) {
        self.flows.borrow_mut().insert(code.to_owned(), places.clone());
    }

    /// Where a token of the app's may go.
    pub(crate) fn places_of(&self, acme: &Acme, token: &str) -> Places {
        let flow = acme.code_of(token).and_then(|code| self.flows.borrow().get(&code).cloned());
        flow.unwrap_or_else(|| self.honest.clone())
    }

    /// A request leaves the program. Says so where it carries what its address must not get.
    pub(crate) fn look(&self, acme: &Acme, request: &Outbound) {
        let text = whole(request);
        let url = request.url.as_str();
        let bare = url.split(['?', '#']).next().unwrap_or(url);
        for secret in secrets_in(&text) {
            let kind = secret.trim_start_matches(CANARY).trim_start_matches('-');
            let kind = kind.trim_end_matches(|one: char| one.is_ascii_digit() || one == '-');
            let is_api = |places: &Places| places.api.contains(&origin(url));
            let honest = &self.honest;
            let allowed = match kind {
                "code" => honest.token.contains(bare),
                "rt" => {
                    let places = self.places_of(acme, secret);
                    places.token.contains(bare) || places.revoke.contains(bare)
                }
                "at" => {
                    let places = self.places_of(acme, secret);
                    places.revoke.contains(bare) || is_api(&places)
                }
                "client-secret" => honest.token.contains(bare) || honest.revoke.contains(bare),
                "key" => is_api(honest),
                _ => false,
            };
            if !allowed {
                self.found(format!("a secret went where it was not given for: {secret} to {bare}"));
            }
        }
        for word in text.split(|one: char| !(one.is_ascii_alphanumeric() || one == '-' || one == '_')) {
            if word.len() != 43 {
                continue;
            }
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(word));
            if self.challenges.borrow().get(&challenge).is_some_and(|places| !places.token.contains(bare)) {
                self.found(format!("a secret went where it was not given for: a verifier to {bare}"));
            }
        }
    }

    pub(crate) fn found(&self, finding: String) {
        let mut findings = self.findings.borrow_mut();
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// All that a request says, in one text: also what is in Base64.
pub(crate) fn whole(request: &Outbound) -> String {
    let mut text = format!("{:?} {}", request.method, request.url.as_str());
    for (name, value) in &request.headers {
        text.push_str(&format!("\n{name}: {value}"));
        let decoded = value.split(' ').filter_map(|word| STANDARD.decode(word).ok());
        for bytes in decoded {
            text.push_str(&format!(" {}", String::from_utf8_lossy(&bytes)));
        }
    }
    if let Some(body) = &request.body {
        text.push('\n');
        text.push_str(body);
    }
    text
}

/// Every secret of the app's in a text.
fn secrets_in(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(CANARY).map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|one: char| !(one.is_ascii_alphanumeric() || one == '-'));
        &rest[..end.unwrap_or(rest.len())]
    })
}

/// Shared by the judge and the border.
pub(crate) type Shared = Rc<Secrets>;
