//! What a person enters: fields of a manual credential and variables. Also which members belong to which type of auth
//! method.

use std::collections::BTreeMap;

use super::super::template::is_identifier;
use super::super::{ClientAuth, CredentialField, CredentialKind, Pattern, PrefixMark, Variable, VariableSource};
use super::rules::{MAX_TEXT_LENGTH, RESERVED_NAMES};
use super::shape::{RawAuthMethod, RawField, RawPrefixMark, RawVariable, RawVariableSource};
use super::{DefinitionReader, ReadMode};

/// Most fields of one credential.
const MAX_FIELDS: usize = 10;
/// Most marks of one field in a workspace's definition.
const MAX_MARKS: usize = 50;
/// Most variables of a workspace's definition.
const MAX_VARIABLES: usize = 30;
/// Largest compiled pattern of a workspace's definition, in bytes.
const MAX_PATTERN_SIZE: usize = 16 * 1024;
/// Largest sum of all compiled patterns of a workspace's definition, in bytes.
const MAX_TOTAL_PATTERN_SIZE: usize = 64 * 1024;

impl DefinitionReader {
    /// A member that has no meaning for a type is refused, because it hides a mistake.
    pub(super) fn check_members_fit_type(&mut self, path: &str, raw: &RawAuthMethod) {
        let kind = raw.r#type;
        let consents = kind == CredentialKind::OAuth2;
        let tokens = kind.uses_oauth_server();
        let pasted = kind.is_manual();
        let fits = [
            ("issuer", raw.issuer.is_some(), consents),
            ("authorize_url", raw.authorize_url.is_some(), consents),
            ("token_url", raw.token_url.is_some(), tokens),
            ("refresh_url", raw.refresh_url.is_some(), consents),
            ("revoke_url", raw.revoke_url.is_some(), tokens && kind != CredentialKind::ServiceAccount),
            ("revoke", raw.revoke.is_some(), tokens && kind != CredentialKind::ServiceAccount),
            ("client_auth", raw.client_auth.is_some(), tokens && kind != CredentialKind::ServiceAccount),
            ("assertion_alg", raw.assertion_alg.is_some(), consents),
            ("refresh_client_auth", raw.refresh_client_auth.is_some(), consents),
            ("body", raw.body.is_some(), tokens && kind != CredentialKind::ServiceAccount),
            ("scope_separator", raw.scope_separator.is_some(), tokens),
            ("grant_type", raw.grant_type.is_some(), kind == CredentialKind::ClientCredentials),
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
            ("key_file", raw.key_file.is_some(), kind == CredentialKind::ServiceAccount),
            ("fields", raw.fields.is_some(), pasted),
            ("header", raw.header.is_some(), pasted && !tokens),
            ("query", raw.query.is_some(), pasted && !tokens),
        ];
        for (member, present, fits) in fits {
            if present && !fits {
                self.add_problem(
                    &format!("{path}.{member}"),
                    format!("is no option of \"{}\"; remove it", kind.as_str()),
                );
            }
        }
        if raw.header.is_some() && raw.query.is_some() {
            self.add_problem(
                &format!("{path}.query"),
                "can't stand beside \"header\": a key is sent in one place; remove one of them",
            );
        }
        if kind == CredentialKind::ClientCredentials && raw.client_auth == Some(ClientAuth::PrivateKeyJwt) {
            let problem = "can't be \"private_key_jwt\" here: what a person enters has no key; use service_account";
            self.add_problem(&format!("{path}.client_auth"), problem);
        }
        if let Some(name) = &raw.header {
            self.check_header_name(&format!("{path}.header"), name);
        }
    }

    pub(super) fn read_fields(&mut self, path: &str, raw: &mut RawAuthMethod) -> Vec<CredentialField> {
        let kind = raw.r#type;
        let Some(given) = raw.fields.take() else { return default_fields(kind) };
        let at = format!("{path}.fields");
        if given.is_empty() || given.len() > MAX_FIELDS {
            self.add_problem(&at, format!("needs 1 to {MAX_FIELDS} fields"));
        }
        let mut fields: Vec<CredentialField> = Vec::new();
        for (index, one) in given.into_iter().enumerate() {
            let field = self.read_field(&format!("{at}[{index}]"), one);
            if fields.iter().any(|known| known.id == field.id) {
                self.add_problem(&format!("{at}[{index}].id"), "is duplicated; remove one");
            }
            fields.push(field);
        }
        if fields.iter().all(|field| !field.secret) {
            self.add_problem(&at, "must have a secret field: requests are authenticated with it");
        }
        for id in required_fields(kind) {
            if fields.iter().all(|field| field.id != *id) {
                self.add_problem(&at, format!("needs a field {id}"));
            }
        }
        fields
    }

    fn read_field(&mut self, at: &str, raw: RawField) -> CredentialField {
        let members = ["type", "tokens", "token_type", "expires_at", "scopes"];
        let taken =
            RESERVED_NAMES.contains(&raw.id.as_str()) && raw.id != "token" || members.contains(&raw.id.as_str());
        if !is_identifier(&raw.id) || taken {
            self.add_problem(
                &format!("{at}.id"),
                "must be letters, digits and _, and none of the names that templates or a credential have anyway",
            );
        }
        self.check_text(&format!("{at}.label"), &raw.label, 100);
        self.check_optional_text(&format!("{at}.help"), raw.help.as_deref());
        self.check_optional_link(&format!("{at}.url"), raw.url.as_deref());
        self.check_optional_text(&format!("{at}.placeholder"), raw.placeholder.as_deref());
        self.check_optional_text(&format!("{at}.pattern_help"), raw.pattern_help.as_deref());
        let pattern = self.read_pattern(&format!("{at}.pattern"), raw.pattern.as_deref());
        self.check_new_entry_count(&format!("{at}.marks"), raw.marks.len(), MAX_MARKS);
        let marks = raw
            .marks
            .into_iter()
            .enumerate()
            .map(|(index, mark)| self.read_mark(&format!("{at}.marks[{index}]"), mark));
        CredentialField {
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

    fn read_mark(&mut self, at: &str, raw: RawPrefixMark) -> PrefixMark {
        self.check_text(&format!("{at}.prefix"), &raw.prefix, 100);
        for (member, text) in
            [("label", &raw.label), ("refuse", &raw.refuse), ("warn", &raw.warn), ("account", &raw.account)]
        {
            self.check_optional_text(&format!("{at}.{member}"), text.as_deref());
        }
        let RawPrefixMark { prefix, label, account, environment, refuse, warn } = raw;
        PrefixMark { prefix, label, account, environment, refuse, warn }
    }

    pub(super) fn read_pattern(&mut self, at: &str, text: Option<&str>) -> Option<Pattern> {
        let text = text?;
        if self.mode == ReadMode::Stored {
            return Some(Pattern::from_stored(text));
        }
        let pattern = Pattern::parse(text);
        let Some(size) = pattern.as_ref().and_then(Pattern::compiled_size) else {
            self.add_problem(at, "is no regular expression of at most 256 characters, or is over 64 KB when compiled");
            return None;
        };
        self.pattern_bytes += size;
        if self.mode == ReadMode::New && size > MAX_PATTERN_SIZE {
            let problem = "takes too long to compare: it is over 16 KB when compiled. Repeat less, or without an upper \
                           bound: {10,} instead of {10,2000}";
            self.add_problem(at, problem);
        } else if self.mode == ReadMode::New && self.pattern_bytes > MAX_TOTAL_PATTERN_SIZE {
            self.add_problem(
                at,
                "is too long: all patterns together have more than 64 KB when compiled. Use simpler ones",
            );
        }
        pattern
    }

    pub(super) fn read_variables(&mut self, raw: BTreeMap<String, RawVariable>) -> BTreeMap<String, Variable> {
        self.check_entry_count("variables", raw.len());
        self.check_new_entry_count("variables", raw.len(), MAX_VARIABLES);
        let mut variables = BTreeMap::new();
        for (name, raw) in raw {
            let at = format!("variables.{name}");
            if !is_identifier(&name) || RESERVED_NAMES.contains(&name.as_str()) {
                self.add_problem(&at, "must have a name of letters, digits and _, none of those templates know anyway");
            }
            if let Some(variable) = self.read_variable(&at, &name, raw) {
                variables.insert(name, variable);
            }
        }
        variables
    }

    fn read_variable(&mut self, at: &str, name: &str, raw: RawVariable) -> Option<Variable> {
        let asked = matches!(raw.from, RawVariableSource::Person | RawVariableSource::Client);
        if asked && raw.label.is_none() {
            self.add_problem(&format!("{at}.label"), "is required: it is asked for in a form");
        }
        if asked && raw.at.is_some() {
            self.add_problem(&format!("{at}.at"), "means nothing for a variable that is asked for; remove it");
        }
        for (member, text) in [("label", &raw.label), ("help", &raw.help), ("example", &raw.example)] {
            if let Some(text) = text {
                self.check_text(&format!("{at}.{member}"), text, MAX_TEXT_LENGTH);
            }
        }
        let variable = Variable {
            label: raw.label.unwrap_or_else(|| name.to_owned()),
            help: raw.help,
            example: raw.example,
            pattern: self.read_pattern(&format!("{at}.pattern"), raw.pattern.as_deref()),
            default: raw.default,
            source: self.read_variable_source(&format!("{at}.at"), raw.from, raw.at)?,
        };
        for (member, text) in [("example", &variable.example), ("default", &variable.default)] {
            let is_wrong = |text: &String| self.mode != ReadMode::Stored && variable.parse_value(text).is_err();
            if text.as_ref().is_some_and(is_wrong) {
                self.add_problem(&format!("{at}.{member}"), "does not fit the variable's own pattern");
            }
        }
        Some(variable)
    }

    fn read_variable_source(
        &mut self,
        at: &str,
        from: RawVariableSource,
        place: Option<String>,
    ) -> Option<VariableSource> {
        let place = match (from, place) {
            (RawVariableSource::Person, _) => return Some(VariableSource::Person),
            (RawVariableSource::Client, _) => return Some(VariableSource::Client),
            (_, Some(place)) => place,
            (_, None) => {
                self.add_problem(at, "is required: where does the value stand?");
                return None;
            }
        };
        match from {
            RawVariableSource::Callback => {
                self.check_text(at, &place, 100);
                Some(VariableSource::Callback(place))
            }
            RawVariableSource::Token => self.read_pointer(at, &place).map(VariableSource::Token),
            _ => self.read_pointer(at, &place).map(VariableSource::Identity),
        }
    }
}

/// The default fields of a type.
fn default_fields(kind: CredentialKind) -> Vec<CredentialField> {
    match kind {
        CredentialKind::OAuth2 => vec![],
        CredentialKind::ClientCredentials => {
            vec![
                CredentialField::with_defaults("client_id", "Client id", false),
                CredentialField::with_defaults("client_secret", "Client secret", true),
            ]
        }
        CredentialKind::ServiceAccount => vec![
            CredentialField { multiline: true, ..CredentialField::with_defaults("key", "Key file (JSON)", true) },
            CredentialField { optional: true, ..CredentialField::with_defaults("subject", "Act for this user", false) },
        ],
        CredentialKind::ApiKey => vec![CredentialField::with_defaults("api_key", "API key", true)],
        CredentialKind::BotToken => vec![CredentialField::with_defaults("token", "Bot token", true)],
        CredentialKind::Basic => vec![
            CredentialField::with_defaults("username", "User name", false),
            CredentialField::with_defaults("password", "Password", true),
        ],
    }
}

/// The required fields of a type.
fn required_fields(kind: CredentialKind) -> &'static [&'static str] {
    match kind {
        CredentialKind::ClientCredentials => &["client_id", "client_secret"],
        CredentialKind::ServiceAccount => &["key"],
        CredentialKind::OAuth2 | CredentialKind::ApiKey | CredentialKind::BotToken | CredentialKind::Basic => &[],
    }
}
