//! The OAuth server of an auth method: endpoints, client authentication, lifetimes, rotation, revocation.

use std::collections::BTreeMap;

use super::super::{
    AdditionalToken, AdminApproval, ClientHelp, CredentialKind, EndpointSource, FixedEndpoints, GrantType, JsonPointer,
    KeyFileLayout, OAuthServer, OutboundMethod, RefreshTokenRotation, RevocationConfig, RevokeStyle, Template,
    TokenResponseLayout, UrlTemplate, VariableSource,
};
use super::DefinitionReader;
use super::rules::{
    TemplateContext, is_flow_parameter, is_grant_type_parameter, is_password_grant, normalize_parameter_name,
};
use super::shape::{
    RawAdditionalToken, RawApproval, RawAuthMethod, RawClientHelp, RawKeyFile, RawRevocation, RawRevokeMethod,
    RawRotation, RawTokenResponse,
};
use crate::egress::EgressUrl;

/// The app's own names for parameters of the flow, and for the redirect URI.
struct CustomNames {
    code_param: String,
    exchange_code_param: String,
    scope_param: Option<String>,
    redirect_uri: Option<Template>,
}

impl DefinitionReader {
    pub(super) fn read_oauth_server(
        &mut self,
        path: &str,
        raw: &mut RawAuthMethod,
        context: &TemplateContext<'_>,
    ) -> Option<OAuthServer> {
        let at = |member: &str| format!("{path}.{member}");
        let endpoints = self.read_endpoints(path, raw, context);
        // Before the consent, values from responses are unknown.
        let before = |name: &str| {
            context
                .variables
                .get(name)
                .is_some_and(|one| matches!(one.source, VariableSource::Person | VariableSource::Client))
        };
        let variable = |name: &str| context.is_variable(name);
        let variable_or_field = |name: &str| context.is_variable(name) || context.is_field(name);
        for (member, url) in
            [("authorize_url", &raw.authorize_url), ("token_url", &raw.token_url), ("refresh_url", &raw.refresh_url)]
        {
            if let Some(url) = url {
                self.check_endpoint_query(&at(member), url);
            }
        }
        self.check_flow_params(path, raw);
        let authorize_params = self.read_params(&at("authorize_params"), &raw.authorize_params, before);
        let more_scopes_params = self.read_params(&at("more_scopes_params"), &raw.more_scopes_params, before);
        let token_params = self.read_params(&at("token_params"), &raw.token_params, variable_or_field);
        let refresh_params = self.read_params(&at("refresh_params"), &raw.refresh_params, variable);
        self.check_headers(&at("token_headers"), &raw.token_headers, &["authorization", "content-type"]);
        for (member, seconds) in [
            ("access_token_lifetime", raw.access_token_lifetime),
            ("refresh_token_lifetime", raw.refresh_token_lifetime),
            ("refresh_token_idle", raw.refresh_token_idle),
            ("grant_lifetime", raw.grant_lifetime),
        ] {
            self.check_seconds(&at(member), seconds);
        }
        let scope_separator = raw.scope_separator.take().unwrap_or_else(|| " ".to_owned());
        self.check_separator(&at("scope_separator"), &scope_separator);
        let revoke = self.read_revocation_config(
            &at("revoke"),
            raw.revoke.take().unwrap_or_default(),
            raw.revoke_url.as_ref(),
            context,
        );
        let response = self.read_token_response_layout(&at("response"), raw.response.take().unwrap_or_default());
        let tokens = self.read_additional_tokens(
            &at("tokens"),
            std::mem::take(&mut raw.tokens),
            &scope_separator,
            response.as_ref(),
        );
        let named = self.read_custom_names(path, raw, context);
        let client_help = raw.client_help.take().map(|help| self.read_client_help(&at("client_help"), help));
        self.check_sentences(&at("connect_help"), &raw.connect_help);
        let approval = raw.approval.take().map(|approval| self.read_approval(&at("approval"), approval));
        Some(OAuthServer {
            grant_type: self.read_grant_type(path, raw)?,
            endpoints: endpoints?,
            client_auth: raw.client_auth,
            assertion_alg: raw.assertion_alg,
            refresh_client_auth: raw.refresh_client_auth,
            body_encoding: raw.body.unwrap_or_default(),
            scope_separator,
            authorize_params,
            more_scopes_params,
            token_params,
            refresh_params,
            token_headers: std::mem::take(&mut raw.token_headers),
            code_param: named.code_param,
            exchange_code_param: named.exchange_code_param,
            callback_scope: named.scope_param,
            redirect_name: named.redirect_uri,
            exchange_redirect_uri: raw.exchange_redirect_uri.unwrap_or(true),
            refresh_redirect_uri: raw.refresh_redirect_uri.unwrap_or(false),
            login_hint: raw.login_hint.unwrap_or(false),
            state_length: self.read_state_length(&at("state_length"), raw.state_length),
            pkce: raw.pkce.unwrap_or(true),
            send_scope_on_refresh: raw.send_scope_on_refresh.unwrap_or(false),
            rotation: if raw.r#type == CredentialKind::OAuth2 {
                self.read_rotation(&at("rotation"), raw.rotation)
            } else {
                RefreshTokenRotation::None
            },
            revoke: revoke?,
            access_token_lifetime: raw.access_token_lifetime,
            refresh_token_lifetime: raw.refresh_token_lifetime,
            refresh_token_idle: raw.refresh_token_idle,
            grant_lifetime: raw.grant_lifetime,
            response: response?,
            tokens: tokens?,
            client_help,
            connect_help: std::mem::take(&mut raw.connect_help),
            approval,
        })
    }

    /// A definition may not set parameters that the flow sets.
    fn check_flow_params(&mut self, path: &str, raw: &RawAuthMethod) {
        // Parameters that the flow sets only for some definitions: the account's name, and the scopes of further
        // tokens.
        let hint = (raw.login_hint == Some(true)).then_some("login_hint");
        let own: Vec<String> = raw
            .tokens
            .values()
            .map(|token| token.scope_param.as_str())
            .chain(hint)
            .map(normalize_parameter_name)
            .collect();
        for (member, params) in
            [("authorize_params", &raw.authorize_params), ("more_scopes_params", &raw.more_scopes_params)]
        {
            for name in params.keys().filter(|name| own.contains(&normalize_parameter_name(name))) {
                self.add_problem(&format!("{path}.{member}.{name}"), "is set by the flow itself; remove it");
            }
        }
    }

    /// The names that differ from RFC 6749.
    fn read_custom_names(&mut self, path: &str, raw: &mut RawAuthMethod, context: &TemplateContext<'_>) -> CustomNames {
        let at = |member: &str| format!("{path}.{member}");
        let exchange_code = self.read_code_param(&at("exchange_code_param"), raw.exchange_code_param.take());
        if raw.token_params.contains_key(&exchange_code) {
            self.add_problem(&format!("{path}.token_params.{exchange_code}"), "is set by the flow itself; remove it");
        }
        let taken = ["state", "iss", "error", "code"];
        let code_param = self.read_redirect_param(&at("code_param"), raw.code_param.take(), &["state", "iss", "error"]);
        let scope = self.read_redirect_param(&at("callback_scope"), raw.callback_scope.take(), &taken);
        let redirect = raw.redirect_uri.take();
        let redirect = redirect.and_then(|text| self.read_redirect_name(&at("redirect_uri"), &text, context));
        CustomNames {
            code_param: code_param.unwrap_or_else(default_code_param),
            exchange_code_param: exchange_code,
            scope_param: scope,
            redirect_uri: redirect,
        }
    }

    /// A parameter of the redirect, unless it has another meaning there.
    fn read_redirect_param(&mut self, at: &str, name: Option<String>, taken: &[&str]) -> Option<String> {
        let name = name?;
        self.check_param_name(at, &name);
        if taken.contains(&normalize_parameter_name(&name).as_str()) {
            self.add_problem(
                at,
                format!("must not be {name}, which means something else in a redirect (RFC 6749 4.1.2)"),
            );
        }
        Some(name)
    }

    /// A parameter of the exchange, unless the flow sets it.
    fn read_code_param(&mut self, at: &str, name: Option<String>) -> String {
        let Some(name) = name else { return default_code_param() };
        self.check_param_name(at, &name);
        if normalize_parameter_name(&name) != "code" && is_flow_parameter(&name) {
            self.add_problem(at, format!("must not be {name}, which the exchange sends with another meaning"));
        }
        name
    }

    fn check_param_name(&mut self, at: &str, name: &str) {
        let ok =
            (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !ok {
            self.add_problem(at, "must be the name of a parameter: 1 to 64 letters, digits, _, - and .");
        }
    }

    /// The app's own name for the redirect URI. Each client has its own, so it is set together with the client.
    fn read_redirect_name(&mut self, at: &str, text: &str, context: &TemplateContext<'_>) -> Option<Template> {
        let of_client =
            |name: &str| context.variables.get(name).is_some_and(|variable| variable.source == VariableSource::Client);
        let template = self.read_template(at, text, |name| context.is_variable(name))?;
        let has_one = template.placeholders().next().is_some() && template.placeholders().all(of_client);
        if !has_one {
            self.add_problem(
                at,
                "must have a place for a variable that comes from \"client\", such as {redirect_name}: the app gives each \
                 client a name of its own",
            );
        }
        if text.contains([':', '/']) {
            self.add_problem(at, "must be a name, not an address: the address of this installation is sent by itself");
        }
        has_one.then_some(template)
    }

    /// 22 characters of base64url are 132 bits: enough against guessing (RFC 6749, 10.10). The default state has 32
    /// random bytes after the shard's name.
    fn read_state_length(&mut self, at: &str, length: Option<usize>) -> usize {
        const USUAL: usize = 45;
        if length.is_some_and(|length| !(22..=43).contains(&length)) {
            self.add_problem(at, "must be a number of characters, from 22 to 43");
        }
        length.unwrap_or(USUAL)
    }

    fn read_grant_type(&mut self, path: &str, raw: &mut RawAuthMethod) -> Option<GrantType> {
        match raw.r#type {
            CredentialKind::ClientCredentials => {
                let grant_type = raw.grant_type.take().unwrap_or_else(|| "client_credentials".to_owned());
                let field = format!("{path}.grant_type");
                self.check_text(&field, &grant_type, 100);
                if !grant_type.bytes().all(|b| b.is_ascii_graphic()) {
                    self.add_problem(&field, "must be visible ASCII characters without spaces (RFC 6749 A.10)");
                }
                if is_password_grant(&grant_type) {
                    self.add_problem(
                        &field,
                        "must not be a grant that takes a person's password (RFC 9700 2.4); use a grant with consent, or a client of the app's own",
                    );
                }
                Some(GrantType::ClientCredentials { grant_type })
            }
            CredentialKind::ServiceAccount => {
                self.read_key_file_layout(&format!("{path}.key_file"), raw.key_file.take()).map(GrantType::JwtBearer)
            }
            CredentialKind::OAuth2 | CredentialKind::ApiKey | CredentialKind::BotToken | CredentialKind::Basic => {
                Some(GrantType::AuthorizationCode)
            }
        }
    }

    fn read_key_file_layout(&mut self, at: &str, raw: Option<RawKeyFile>) -> Option<KeyFileLayout> {
        let raw = raw.unwrap_or_else(|| RawKeyFile {
            issuer: "/client_email".to_owned(),
            private_key: "/private_key".to_owned(),
            key_id: None,
        });
        let issuer = self.read_pointer(&format!("{at}.issuer"), &raw.issuer);
        let private_key = self.read_pointer(&format!("{at}.private_key"), &raw.private_key);
        let key_id = self.read_pointer(&format!("{at}.key_id"), raw.key_id.as_deref().unwrap_or("/private_key_id"));
        Some(KeyFileLayout { issuer: issuer?, private_key: private_key?, key_id: key_id? })
    }

    fn read_endpoints(
        &mut self,
        path: &str,
        raw: &RawAuthMethod,
        context: &TemplateContext<'_>,
    ) -> Option<EndpointSource> {
        let written = [&raw.authorize_url, &raw.token_url, &raw.refresh_url, &raw.revoke_url];
        if let Some(issuer) = raw.issuer.as_ref().filter(|_| written.iter().all(|url| url.is_none())) {
            return self.read_issuer(path, issuer, context);
        }
        let at = |member: &str| format!("{path}.{member}");
        let consents = raw.r#type == CredentialKind::OAuth2;
        let authorize_url =
            self.read_required_endpoint(&at("authorize_url"), raw.authorize_url.as_deref(), consents, context);
        let token_url = self.read_required_endpoint(&at("token_url"), raw.token_url.as_deref(), true, context);
        let refresh_url =
            raw.refresh_url.as_deref().map(|url| self.read_endpoint(&at("refresh_url"), url, context, &[]));
        let beyond = ["client_id", "token"];
        let revoke_url =
            raw.revoke_url.as_deref().map(|url| self.read_endpoint(&at("revoke_url"), url, context, &beyond));
        if consents && authorize_url.is_none() {
            return None;
        }
        Some(EndpointSource::Fixed(Box::new(FixedEndpoints {
            authorize_url,
            token_url: token_url?,
            refresh_url: refresh_url.flatten(),
            revoke_url: revoke_url.flatten(),
            issuer: self.read_endpoints_issuer(path, raw),
        })))
    }

    /// The issuer of fixed endpoints. It gets no request, but its name is compared with `iss`.
    fn read_endpoints_issuer(&mut self, path: &str, raw: &RawAuthMethod) -> Option<String> {
        let issuer = raw.issuer.as_ref()?;
        if raw.r#type != CredentialKind::OAuth2 {
            self.add_problem(
                &format!("{path}.issuer"),
                "beside written addresses is only for people who come back from the app",
            );
        }
        if let Err(problem) = EgressUrl::parse(issuer, self.egress) {
            self.add_problem(&format!("{path}.issuer"), problem.to_string());
        }
        Some(issuer.clone())
    }

    fn read_issuer(&mut self, path: &str, issuer: &str, context: &TemplateContext<'_>) -> Option<EndpointSource> {
        let field = format!("{path}.issuer");
        if issuer.contains('?') {
            self.add_problem(&field, "must not have a query (RFC 8414 2)");
        }
        self.read_endpoint(&field, issuer, context, &[]).map(EndpointSource::Issuer)
    }

    fn read_required_endpoint(
        &mut self,
        field: &str,
        text: Option<&str>,
        required: bool,
        context: &TemplateContext<'_>,
    ) -> Option<UrlTemplate> {
        if text.is_none() && required {
            self.add_problem(field, "is required where there is no auth.issuer");
        }
        text.and_then(|text| self.read_endpoint(field, text, context, &[]))
    }

    /// An address that gets the workspace's client secret. The person who connects must not decide where it is.
    fn read_endpoint(
        &mut self,
        field: &str,
        text: &str,
        context: &TemplateContext<'_>,
        also: &[&str],
    ) -> Option<UrlTemplate> {
        let address = self.read_url_template(field, text, context, also)?;
        let variable = |name: &str| context.variables.get(name);
        for name in address.placeholders() {
            if variable(name).is_some_and(|v| !matches!(v.source, VariableSource::Person | VariableSource::Client)) {
                self.add_problem(
                    field,
                    format!("needs {name} before the app has been asked; it must come from person or client"),
                );
            }
        }
        let persons =
            address.host_placeholders().any(|name| variable(name).is_some_and(|v| v.source == VariableSource::Person));
        if context.kind == CredentialKind::OAuth2 && persons && !address.has_fixed_domain() {
            self.add_problem(
                field,
                "gets the client's secret, so a person's variable in its host must be followed by a fixed domain \
                 (https://{shop}.example.com); or let the variable come from \"client\"",
            );
        }
        Some(address)
    }

    fn read_rotation(&mut self, at: &str, raw: Option<RawRotation>) -> RefreshTokenRotation {
        match raw {
            None | Some(RawRotation::Strict) => RefreshTokenRotation::Strict,
            Some(RawRotation::None) => RefreshTokenRotation::None,
            Some(RawRotation::Reissue) => RefreshTokenRotation::Reissue,
            Some(RawRotation::Grace(seconds)) => {
                self.check_seconds(&format!("{at}.grace"), Some(seconds));
                RefreshTokenRotation::Grace(seconds)
            }
        }
    }

    fn read_revocation_config(
        &mut self,
        at: &str,
        raw: RawRevocation,
        url: Option<&String>,
        context: &TemplateContext<'_>,
    ) -> Option<RevocationConfig> {
        if raw.style == RevokeStyle::Bearer && url.is_none() {
            self.add_problem(&format!("{at}.style"), "\"bearer\" needs auth.revoke_url");
        }
        self.check_headers(&format!("{at}.headers"), &raw.headers, &["authorization", "content-type"]);
        let allowed = |name: &str| {
            matches!(name, "token" | "access_token" | "client_id" | "account_id") || context.is_variable(name)
        };
        let params = match raw.params {
            None => None,
            Some(params) => Some(self.read_revoke_params(&format!("{at}.params"), &params, allowed)?),
        };
        Some(RevocationConfig {
            effect: raw.kills,
            style: raw.style,
            authenticate: raw.authenticate.unwrap_or(true),
            client_auth: raw.client_auth,
            method: if raw.method == Some(RawRevokeMethod::Delete) {
                OutboundMethod::Delete
            } else {
                OutboundMethod::Post
            },
            body_encoding: raw.body,
            params,
            headers: raw.headers,
        })
    }

    /// Here `client_id` is an ordinary parameter: it names the client whose grant ends.
    fn read_revoke_params(
        &mut self,
        at: &str,
        params: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<super::super::ParamTemplates> {
        self.check_entry_count(at, params.len());
        // A revocation address may be the token endpoint, and a request with a grant type is a token request.
        for name in params.keys().filter(|name| is_grant_type_parameter(name)) {
            self.add_problem(&format!("{at}.{name}"), "makes a token request of the revocation; remove it");
        }
        let read: Vec<_> = params
            .iter()
            .map(|(name, value)| Some((name.clone(), self.read_template(&format!("{at}.{name}"), value, allowed)?)))
            .collect();
        read.into_iter().collect()
    }

    fn read_token_response_layout(&mut self, at: &str, raw: RawTokenResponse) -> Option<TokenResponseLayout> {
        let shape = TokenResponseLayout::default();
        if let Some(separator) = &raw.scope_separator {
            self.check_separator(&format!("{at}.scope_separator"), separator);
        }
        let mut pointer = |member: &str, text: Option<String>, default: JsonPointer| {
            self.read_pointer_or(&format!("{at}.{member}"), text.as_deref(), default)
        };
        let access_token = pointer("access_token", raw.access_token, shape.access_token);
        let refresh_token = pointer("refresh_token", raw.refresh_token, shape.refresh_token);
        let expires_in = pointer("expires_in", raw.expires_in, shape.expires_in);
        let scope = pointer("scope", raw.scope, shape.scope);
        let token_type = pointer("token_type", raw.token_type, shape.token_type);
        let expires_at = raw.expires_at.map(|text| self.read_pointer(&format!("{at}.expires_at"), &text));
        let refresh_expires_in =
            raw.refresh_expires_in.map(|text| self.read_pointer(&format!("{at}.refresh_expires_in"), &text));
        Some(TokenResponseLayout {
            access_token: access_token?,
            refresh_token: refresh_token?,
            expires_in: expires_in?,
            expires_in_unit: raw.expires_in_unit.unwrap_or_default(),
            expires_at: expires_at.flatten(),
            refresh_expires_in: refresh_expires_in.flatten(),
            refresh_expires_in_unit: raw.refresh_expires_in_unit.unwrap_or_default(),
            scope: scope?,
            token_type: token_type?,
            scope_separator: raw.scope_separator,
        })
    }

    fn read_additional_tokens(
        &mut self,
        at: &str,
        raw: BTreeMap<String, RawAdditionalToken>,
        separator: &str,
        first: Option<&TokenResponseLayout>,
    ) -> Option<BTreeMap<String, AdditionalToken>> {
        let mut read = Some(BTreeMap::new());
        for (name, raw) in raw {
            let field = format!("{at}.{name}");
            if !super::super::template::is_identifier(&name) || separator.contains(':') {
                self.add_problem(
                    &field,
                    "must have a name of letters, digits and _, at an app whose separator has no colon",
                );
            }
            self.check_text(&format!("{field}.scope_param"), &raw.scope_param, 100);
            if is_flow_parameter(&raw.scope_param) {
                self.add_problem(
                    &format!("{field}.scope_param"),
                    "is set by the flow itself; it must be a parameter of its own",
                );
            }
            let response = RawTokenResponse {
                access_token: Some(raw.access_token),
                // No value of the first token may be used for this one.
                refresh_token: raw.refresh_token.or_else(|| Some(format!("/{name}/refresh_token"))),
                expires_in: raw.expires_in.or_else(|| Some(format!("/{name}/expires_in"))),
                scope: raw.scope.or_else(|| Some(format!("/{name}/scope"))),
                token_type: raw.token_type.or_else(|| Some(format!("/{name}/token_type"))),
                // The lifetimes of one response have the same unit.
                expires_in_unit: first.map(|first| first.expires_in_unit),
                refresh_expires_in_unit: first.map(|first| first.refresh_expires_in_unit),
                ..RawTokenResponse::default()
            };
            let account = raw.account.and_then(|at| self.read_pointer(&format!("{field}.account"), &at));
            let scope_param = raw.scope_param;
            let token = self.read_token_response_layout(&field, response).map(|response| AdditionalToken {
                response,
                scope_param,
                account,
            });
            read = read.zip(token).map(|(mut read, token)| {
                read.insert(name, token);
                read
            });
        }
        read
    }

    fn read_client_help(&mut self, at: &str, raw: RawClientHelp) -> ClientHelp {
        self.check_link(&format!("{at}.url"), &raw.url);
        self.check_sentences(&format!("{at}.steps"), &raw.steps);
        ClientHelp { url: raw.url, steps: raw.steps }
    }

    fn read_approval(&mut self, at: &str, raw: RawApproval) -> AdminApproval {
        let codes = format!("{at}.codes");
        if raw.codes.is_empty() {
            self.add_problem(&codes, "needs at least one code");
        }
        self.check_texts(&codes, &raw.codes);
        self.check_optional_link(&format!("{at}.url"), raw.url.as_deref());
        self.check_sentences(&format!("{at}.steps"), &raw.steps);
        AdminApproval { codes: raw.codes, url: raw.url, steps: raw.steps }
    }
}

/// The parameter of an authorization code in RFC 6749.
fn default_code_param() -> String {
    "code".to_owned()
}
