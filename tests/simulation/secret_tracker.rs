//! The judge of secrets: none may be sent where it was not given for.
//!
//! Owns what is known about every secret of a scenario: the client's secret, codes, verifiers, access and refresh
//! tokens, manual keys. Each request that leaves the program is searched for all of them, wherever they are in it. The
//! permitted destinations of a secret follow from the definition that its flow started with, read here and not by the
//! program.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use connections::ports::OutboundRequest;
use sha2::{Digest, Sha256};

use crate::rogue_server::{AllowedDestinations, origin_of};
use crate::support::acme::{Acme, CANARY};

/// The known secrets.
pub(crate) struct SecretTracker {
    /// The app's own destinations.
    app_destinations: AllowedDestinations,
    /// The destinations of the grants of a code, for flows whose person saw another definition than the app's own.
    destinations_by_code: RefCell<BTreeMap<String, AllowedDestinations>>,
    /// The destinations of the verifier of a challenge.
    destinations_by_challenge: RefCell<BTreeMap<String, AllowedDestinations>>,
    pub(crate) findings: RefCell<Vec<String>>,
}

impl SecretTracker {
    pub(crate) fn new(honest: AllowedDestinations) -> Self {
        Self {
            app_destinations: honest,
            destinations_by_code: RefCell::default(),
            destinations_by_challenge: RefCell::default(),
            findings: RefCell::default(),
        }
    }

    /// The destinations of the app's own secrets.
    pub(crate) fn app_destinations(&self) -> &AllowedDestinations {
        &self.app_destinations
    }

    /// A flow started: its verifier is for the server that it started at.
    pub(crate) fn note_challenge(&self, challenge: &str, places: &AllowedDestinations) {
        self.destinations_by_challenge.borrow_mut().insert(challenge.to_owned(), places.clone());
    }

    /// The app issued a code: its grant is for these destinations. The code itself is for the app's own token endpoint.
    pub(crate) fn note_code(&self, code: &str, places: &AllowedDestinations) {
        self.destinations_by_code.borrow_mut().insert(code.to_owned(), places.clone());
    }

    /// The destinations of a token of the app.
    pub(crate) fn destinations_of(&self, acme: &Acme, token: &str) -> AllowedDestinations {
        let flow = acme.code_of(token).and_then(|code| self.destinations_by_code.borrow().get(&code).cloned());
        flow.unwrap_or_else(|| self.app_destinations.clone())
    }

    /// A request leaves the program. Reports a secret that its address must not get.
    pub(crate) fn check_request(&self, acme: &Acme, request: &OutboundRequest) {
        let text = request_as_text(request);
        let url = request.url.as_str();
        let bare = url.split(['?', '#']).next().unwrap_or(url);
        for secret in find_secrets(&text) {
            let kind = secret.trim_start_matches(CANARY).trim_start_matches('-');
            let kind = kind.trim_end_matches(|one: char| one.is_ascii_digit() || one == '-');
            let is_api = |places: &AllowedDestinations| places.api.contains(&origin_of(url));
            let honest = &self.app_destinations;
            let allowed = match kind {
                "code" => honest.token.contains(bare),
                "rt" => {
                    let places = self.destinations_of(acme, secret);
                    places.token.contains(bare) || places.revoke.contains(bare)
                }
                "at" => {
                    let places = self.destinations_of(acme, secret);
                    places.revoke.contains(bare) || is_api(&places)
                }
                "client-secret" => honest.token.contains(bare) || honest.revoke.contains(bare),
                "key" => is_api(honest),
                _ => false,
            };
            if !allowed {
                self.add_finding(format!("a secret went where it was not given for: {secret} to {bare}"));
            }
        }
        for word in text.split(|one: char| !(one.is_ascii_alphanumeric() || one == '-' || one == '_')) {
            if word.len() != 43 {
                continue;
            }
            let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(word));
            if self
                .destinations_by_challenge
                .borrow()
                .get(&challenge)
                .is_some_and(|places| !places.token.contains(bare))
            {
                self.add_finding(format!("a secret went where it was not given for: a verifier to {bare}"));
            }
        }
    }

    pub(crate) fn add_finding(&self, finding: String) {
        let mut findings = self.findings.borrow_mut();
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// All texts of a request in one, with Base64 decoded.
pub(crate) fn request_as_text(request: &OutboundRequest) -> String {
    let mut text = format!("{:?} {}", request.method, request.url.as_str());
    for (name, value) in &request.headers {
        let _ = write!(text, "\n{name}: {value}");
        let decoded = value.split(' ').filter_map(|word| STANDARD.decode(word).ok());
        for bytes in decoded {
            let _ = write!(text, " {}", String::from_utf8_lossy(&bytes));
        }
    }
    if let Some(body) = &request.body {
        text.push('\n');
        text.push_str(body);
    }
    text
}

/// Every secret of the app's in a text.
fn find_secrets(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices(CANARY).map(|(at, _)| {
        let (_, rest) = text.split_at(at);
        let end = rest.find(|one: char| !(one.is_ascii_alphanumeric() || one == '-'));
        rest.split_at(end.unwrap_or(rest.len())).0
    })
}

/// The judge and the border share it.
pub(crate) type SharedSecretTracker = Rc<SecretTracker>;
