//! What a person enters: fields of a pasted credential and variables; and which members fit which type of way.

use std::collections::BTreeMap;

use super::super::template::is_name;
use super::super::{ClientAuth, Field, Kind, Mark, Origin, Pattern, Variable};
use super::rules::{LONGEST_TEXT, RESERVED};
use super::shape::{RawAuth, RawField, RawMark, RawOrigin, RawVariable};
use super::{Problems, Rules};

/// Fields of one credential, at most.
const MOST_FIELDS: usize = 10;
/// Marks of one field in a workspace's definition, at most.
const MOST_MARKS: usize = 50;
/// Variables of a workspace's definition, at most.
const MOST_VARIABLES: usize = 30;
/// Bytes that one pattern of a workspace's definition may take when compiled.
const LARGEST_PATTERN: usize = 16 * 1024;
/// Bytes that all patterns of a workspace's definition may take when compiled.
const ALL_PATTERNS: usize = 64 * 1024;

impl Problems {
    /// Members that mean nothing for a type are no options of it, and left-over ones hide a mistake.
    pub(super) fn only_fitting(&mut self, path: &str, raw: &RawAuth) {
        let kind = raw.r#type;
        let consents = kind == Kind::OAuth2;
        let tokens = kind.has_tokens();
        let pasted = kind.is_pasted();
        let fits = [
            ("issuer", raw.issuer.is_some(), consents),
            ("authorize_url", raw.authorize_url.is_some(), consents),
            ("token_url", raw.token_url.is_some(), tokens),
            ("refresh_url", raw.refresh_url.is_some(), consents),
            ("revoke_url", raw.revoke_url.is_some(), tokens && kind != Kind::ServiceAccount),
            ("revoke", raw.revoke.is_some(), tokens && kind != Kind::ServiceAccount),
            ("client_auth", raw.client_auth.is_some(), tokens && kind != Kind::ServiceAccount),
            ("assertion_alg", raw.assertion_alg.is_some(), consents),
            ("refresh_client_auth", raw.refresh_client_auth.is_some(), consents),
            ("body", raw.body.is_some(), tokens && kind != Kind::ServiceAccount),
            ("scope_separator", raw.scope_separator.is_some(), tokens),
            ("grant_type", raw.grant_type.is_some(), kind == Kind::ClientCredentials),
            ("authorize_params", !raw.authorize_params.is_empty(), consents),
            ("more_scopes_params", !raw.more_scopes_params.is_empty(), consents),
            ("token_params", !raw.token_params.is_empty(), tokens),
            ("refresh_params", !raw.refresh_params.is_empty(), consents),
            ("token_headers", !raw.token_headers.is_empty(), tokens),
            ("code_param", raw.code_param.is_some(), consents),
            ("exchange_code_param", raw.exchange_code_param.is_some(), consents),
            ("callback_scope", raw.callback_scope.is_some(), consents),
            ("redirect_uri", raw.redirect_uri.is_some(), consents),
            ("exchange_redirect_uri", raw.exchange_redirect_uri.is_some(), consents),
            ("refresh_redirect_uri", raw.refresh_redirect_uri.is_some(), consents),
            ("login_hint", raw.login_hint.is_some(), consents),
            ("pkce", raw.pkce.is_some(), consents),
            ("send_scope_on_refresh", raw.send_scope_on_refresh.is_some(), consents),
            ("rotation", raw.rotation.is_some(), consents),
            ("state_length", raw.state_length.is_some(), consents),
            ("access_token_lifetime", raw.access_token_lifetime.is_some(), tokens),
            ("refresh_token_lifetime", raw.refresh_token_lifetime.is_some(), consents),
            ("refresh_token_idle", raw.refresh_token_idle.is_some(), consents),
            ("grant_lifetime", raw.grant_lifetime.is_some(), consents),
            ("response", raw.response.is_some(), tokens),
            ("tokens", !raw.tokens.is_empty(), consents),
            ("client_help", raw.client_help.is_some(), consents),
            ("connect_help", !raw.connect_help.is_empty(), consents),
            ("approval", raw.approval.is_some(), consents),
            ("key_file", raw.key_file.is_some(), kind == Kind::ServiceAccount),
            ("fields", raw.fields.is_some(), pasted),
            ("header", raw.header.is_some(), pasted && !tokens),
            ("query", raw.query.is_some(), pasted && !tokens),
        ];
        for (member, present, fits) in fits {
            if present && !fits {
                self.add(&format!("{path}.{member}"), format!("is no option of \"{}\"; remove it", kind.as_str()));
            }
        }
        if raw.header.is_some() && raw.query.is_some() {
            self.add(
                &format!("{path}.query"),
                "can't stand beside \"header\": a key is sent in one place; remove one of them",
            );
        }
        if kind == Kind::ClientCredentials && raw.client_auth == Some(ClientAuth::PrivateKeyJwt) {
            let problem = "can't be \"private_key_jwt\" here: what a person enters has no key; use service_account";
            self.add(&format!("{path}.client_auth"), problem);
        }
        if let Some(name) = &raw.header {
            self.header_name(&format!("{path}.header"), name);
        }
    }

    pub(super) fn fields(&mut self, path: &str, raw: &mut RawAuth) -> Vec<Field> {
        let kind = raw.r#type;
        let Some(given) = raw.fields.take() else { return usual(kind) };
        let at = format!("{path}.fields");
        if given.is_empty() || given.len() > MOST_FIELDS {
            self.add(&at, format!("needs 1 to {MOST_FIELDS} fields"));
        }
        let mut fields: Vec<Field> = Vec::new();
        for (index, one) in given.into_iter().enumerate() {
            let field = self.field(&format!("{at}[{index}]"), one);
            if fields.iter().any(|known| known.id == field.id) {
                self.add(&format!("{at}[{index}].id"), "stands here twice; remove one");
            }
            fields.push(field);
        }
        if fields.iter().all(|field| !field.secret) {
            self.add(&at, "needs a field that is secret: it is what requests carry");
        }
        for id in needed(kind) {
            if fields.iter().all(|field| field.id != *id) {
                self.add(&at, format!("needs a field {id}"));
            }
        }
        fields
    }

    fn field(&mut self, at: &str, raw: RawField) -> Field {
        let members = ["type", "tokens", "token_type", "expires_at", "scopes"];
        let taken = RESERVED.contains(&raw.id.as_str()) && raw.id != "token" || members.contains(&raw.id.as_str());
        if !is_name(&raw.id) || taken {
            self.add(
                &format!("{at}.id"),
                "must be letters, digits and _, and none of the names that templates or a credential have anyway",
            );
        }
        self.text(&format!("{at}.label"), &raw.label, 100);
        self.optional_text(&format!("{at}.help"), raw.help.as_deref());
        self.optional_link(&format!("{at}.url"), raw.url.as_deref());
        self.optional_text(&format!("{at}.placeholder"), raw.placeholder.as_deref());
        self.optional_text(&format!("{at}.pattern_help"), raw.pattern_help.as_deref());
        let pattern = self.pattern(&format!("{at}.pattern"), raw.pattern.as_deref());
        self.new_entries(&format!("{at}.marks"), raw.marks.len(), MOST_MARKS);
        let marks =
            raw.marks.into_iter().enumerate().map(|(index, mark)| self.mark(&format!("{at}.marks[{index}]"), mark));
        Field {
            id: raw.id,
            label: raw.label,
            help: raw.help,
            url: raw.url,
            secret: raw.secret,
            optional: raw.optional,
            multiline: raw.multiline,
            placeholder: raw.placeholder,
            pattern,
            pattern_help: raw.pattern_help,
            marks: marks.collect(),
        }
    }

    fn mark(&mut self, at: &str, raw: RawMark) -> Mark {
        self.text(&format!("{at}.prefix"), &raw.prefix, 100);
        for (member, text) in
            [("label", &raw.label), ("refuse", &raw.refuse), ("warn", &raw.warn), ("account", &raw.account)]
        {
            self.optional_text(&format!("{at}.{member}"), text.as_deref());
        }
        let RawMark { prefix, label, account, refuse, warn } = raw;
        Mark { prefix, label, account, refuse, warn }
    }

    fn pattern(&mut self, at: &str, text: Option<&str>) -> Option<Pattern> {
        let text = text?;
        if self.rules == Rules::Stored {
            return Some(Pattern::stored(text));
        }
        let pattern = Pattern::parse(text);
        let Some(size) = pattern.as_ref().and_then(Pattern::size) else {
            self.add(at, "is no regular expression of at most 256 characters, or is over 64 KB when compiled");
            return None;
        };
        self.pattern_bytes += size;
        if self.rules == Rules::New && size > LARGEST_PATTERN {
            let problem = "takes too long to compare: it is over 16 KB when compiled. Repeat less, or without an upper \
                           bound: {10,} instead of {10,2000}";
            self.add(at, problem);
        } else if self.rules == Rules::New && self.pattern_bytes > ALL_PATTERNS {
            self.add(at, "is too much: all patterns together are over 64 KB when compiled. Use simpler ones");
        }
        pattern
    }

    pub(super) fn variables(&mut self, raw: BTreeMap<String, RawVariable>) -> BTreeMap<String, Variable> {
        self.entries("variables", raw.len());
        self.new_entries("variables", raw.len(), MOST_VARIABLES);
        let mut variables = BTreeMap::new();
        for (name, raw) in raw {
            let at = format!("variables.{name}");
            if !is_name(&name) || RESERVED.contains(&name.as_str()) {
                self.add(&at, "must have a name of letters, digits and _, none of those templates know anyway");
            }
            if let Some(variable) = self.variable(&at, &name, raw) {
                variables.insert(name, variable);
            }
        }
        variables
    }

    fn variable(&mut self, at: &str, name: &str, raw: RawVariable) -> Option<Variable> {
        let asked = matches!(raw.from, RawOrigin::Person | RawOrigin::Client);
        if asked && raw.label.is_none() {
            self.add(&format!("{at}.label"), "is required: it is asked for in a form");
        }
        if asked && raw.at.is_some() {
            self.add(&format!("{at}.at"), "means nothing for a variable that is asked for; remove it");
        }
        for (member, text) in [("label", &raw.label), ("help", &raw.help), ("example", &raw.example)] {
            if let Some(text) = text {
                self.text(&format!("{at}.{member}"), text, LONGEST_TEXT);
            }
        }
        let variable = Variable {
            label: raw.label.unwrap_or_else(|| name.to_owned()),
            help: raw.help,
            example: raw.example,
            pattern: self.pattern(&format!("{at}.pattern"), raw.pattern.as_deref()),
            default: raw.default,
            from: self.origin(&format!("{at}.at"), raw.from, raw.at)?,
        };
        for (member, text) in [("example", &variable.example), ("default", &variable.default)] {
            let is_wrong = |text: &String| self.rules != Rules::Stored && variable.read(text).is_err();
            if text.as_ref().is_some_and(is_wrong) {
                self.add(&format!("{at}.{member}"), "does not fit the variable's own pattern");
            }
        }
        Some(variable)
    }

    fn origin(&mut self, at: &str, from: RawOrigin, place: Option<String>) -> Option<Origin> {
        let place = match (from, place) {
            (RawOrigin::Person, _) => return Some(Origin::Person),
            (RawOrigin::Client, _) => return Some(Origin::Client),
            (_, Some(place)) => place,
            (_, None) => {
                self.add(at, "is required: where does the value stand?");
                return None;
            }
        };
        match from {
            RawOrigin::Callback => {
                self.text(at, &place, 100);
                Some(Origin::Callback(place))
            }
            RawOrigin::Token => self.pointer(at, &place).map(Origin::Token),
            _ => self.pointer(at, &place).map(Origin::Identity),
        }
    }
}

/// The fields of a type whose definition names none.
fn usual(kind: Kind) -> Vec<Field> {
    match kind {
        Kind::OAuth2 => vec![],
        Kind::ClientCredentials => {
            vec![Field::usual("client_id", "Client id", false), Field::usual("client_secret", "Client secret", true)]
        }
        Kind::ServiceAccount => vec![
            Field { multiline: true, ..Field::usual("key", "Key file (JSON)", true) },
            Field { optional: true, ..Field::usual("subject", "Act for this user", false) },
        ],
        Kind::ApiKey => vec![Field::usual("api_key", "API key", true)],
        Kind::BotToken => vec![Field::usual("token", "Bot token", true)],
        Kind::Basic => vec![Field::usual("username", "User name", false), Field::usual("password", "Password", true)],
    }
}

/// The fields that a type can't do without.
fn needed(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ClientCredentials => &["client_id", "client_secret"],
        Kind::ServiceAccount => &["key"],
        Kind::OAuth2 | Kind::ApiKey | Kind::BotToken | Kind::Basic => &[],
    }
}
