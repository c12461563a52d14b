//! The OAuth server of a way to connect: endpoints, client authentication, lives, rotation, revocation.

use std::collections::BTreeMap;

use super::super::{
    AddressTemplate, Approval, ClientHelp, Endpoints, FixedEndpoints, FurtherToken, Grant, KeyFileShape, Kind, OAuth2,
    Origin, OutboundMethod, Pointer, ResponseShape, Revocation, RevokeStyle, Rotation, Template,
};
use super::Problems;
use super::rules::{Known, as_servers_read, is_a_password_grant, is_grant_type, is_the_flows};
use super::shape::{
    RawApproval, RawAuth, RawHelp, RawKeyFile, RawResponse, RawRevocation, RawRotation, RawToken, RevokeMethod,
};
use crate::egress::Address;

/// The names that the app has for parameters of the flow, and for the address that people come back to.
struct Named {
    code: String,
    exchange_code: String,
    scope: Option<String>,
    redirect: Option<Template>,
}

impl Problems {
    pub(super) fn server(&mut self, path: &str, raw: &mut RawAuth, known: &Known<'_>) -> Option<OAuth2> {
        let at = |member: &str| format!("{path}.{member}");
        let endpoints = self.endpoints(path, raw, known);
        // Before the consent nothing is known of what only an answer tells.
        let before = |name: &str| {
            known.variables.get(name).is_some_and(|one| matches!(one.from, Origin::Person | Origin::Client))
        };
        let variable = |name: &str| known.is_variable(name);
        let variable_or_field = |name: &str| known.is_variable(name) || known.is_field(name);
        for (member, url) in
            [("authorize_url", &raw.authorize_url), ("token_url", &raw.token_url), ("refresh_url", &raw.refresh_url)]
        {
            if let Some(url) = url {
                self.endpoint_query(&at(member), url);
            }
        }
        // What is set only by some definitions: the account's name, and the scopes of further tokens.
        let hint = (raw.login_hint == Some(true)).then_some("login_hint");
        let own: Vec<String> =
            raw.tokens.values().map(|token| token.scope_param.as_str()).chain(hint).map(as_servers_read).collect();
        for (member, params) in
            [("authorize_params", &raw.authorize_params), ("more_scopes_params", &raw.more_scopes_params)]
        {
            for name in params.keys().filter(|name| own.contains(&as_servers_read(name))) {
                self.add(&format!("{path}.{member}.{name}"), "is set by the flow itself; remove it");
            }
        }
        let authorize_params = self.params(&at("authorize_params"), &raw.authorize_params, before);
        let more_scopes_params = self.params(&at("more_scopes_params"), &raw.more_scopes_params, before);
        let token_params = self.params(&at("token_params"), &raw.token_params, variable_or_field);
        let refresh_params = self.params(&at("refresh_params"), &raw.refresh_params, variable);
        self.headers(&at("token_headers"), &raw.token_headers, &["authorization", "content-type"]);
        for (member, seconds) in [
            ("access_token_lifetime", raw.access_token_lifetime),
            ("refresh_token_lifetime", raw.refresh_token_lifetime),
            ("refresh_token_idle", raw.refresh_token_idle),
            ("grant_lifetime", raw.grant_lifetime),
        ] {
            self.seconds(&at(member), seconds);
        }
        let scope_separator = raw.scope_separator.take().unwrap_or_else(|| " ".to_owned());
        self.separator(&at("scope_separator"), &scope_separator);
        let revoke =
            self.revocation(&at("revoke"), raw.revoke.take().unwrap_or_default(), raw.revoke_url.as_ref(), known);
        let response = self.response(&at("response"), raw.response.take().unwrap_or_default());
        let tokens =
            self.further(&at("tokens"), std::mem::take(&mut raw.tokens), (&scope_separator, response.as_ref()));
        let named = self.named(path, raw, known);
        let client_help = raw.client_help.take().map(|help| self.client_help(&at("client_help"), help));
        self.sentences(&at("connect_help"), &raw.connect_help);
        let approval = raw.approval.take().map(|approval| self.approval(&at("approval"), approval));
        Some(OAuth2 {
            grant: self.grant(path, raw)?,
            endpoints: endpoints?,
            client_auth: raw.client_auth,
            assertion_alg: raw.assertion_alg,
            refresh_client_auth: raw.refresh_client_auth,
            body: raw.body.unwrap_or_default(),
            scope_separator,
            authorize_params,
            more_scopes_params,
            token_params,
            refresh_params,
            token_headers: std::mem::take(&mut raw.token_headers),
            code_param: named.code,
            exchange_code_param: named.exchange_code,
            callback_scope: named.scope,
            redirect_name: named.redirect,
            exchange_redirect_uri: raw.exchange_redirect_uri.unwrap_or(true),
            refresh_redirect_uri: raw.refresh_redirect_uri.unwrap_or(false),
            login_hint: raw.login_hint.unwrap_or(false),
            state_length: self.state_length(&at("state_length"), raw.state_length),
            pkce: raw.pkce.unwrap_or(true),
            send_scope_on_refresh: raw.send_scope_on_refresh.unwrap_or(false),
            rotation: if raw.r#type == Kind::OAuth2 {
                self.rotation(&at("rotation"), raw.rotation)
            } else {
                Rotation::None
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

    /// What the app calls otherwise than RFC 6749 does.
    fn named(&mut self, path: &str, raw: &mut RawAuth, known: &Known<'_>) -> Named {
        let at = |member: &str| format!("{path}.{member}");
        let exchange_code = self.code_param(&at("exchange_code_param"), raw.exchange_code_param.take());
        if raw.token_params.contains_key(&exchange_code) {
            self.add(&format!("{path}.token_params.{exchange_code}"), "is set by the flow itself; remove it");
        }
        let taken = ["state", "iss", "error", "code"];
        let code_param = self.redirect_param(&at("code_param"), raw.code_param.take(), &["state", "iss", "error"]);
        let scope = self.redirect_param(&at("callback_scope"), raw.callback_scope.take(), &taken);
        let redirect = raw.redirect_uri.take();
        let redirect = redirect.and_then(|text| self.redirect_name(&at("redirect_uri"), &text, known));
        Named { code: code_param.unwrap_or_else(code), exchange_code, scope, redirect }
    }

    /// A parameter of the redirect, unless it is one of those that have another meaning there.
    fn redirect_param(&mut self, at: &str, name: Option<String>, taken: &[&str]) -> Option<String> {
        let name = name?;
        self.param_name(at, &name);
        if taken.contains(&as_servers_read(&name).as_str()) {
            self.add(at, format!("must not be {name}, which means something else in a redirect (RFC 6749 4.1.2)"));
        }
        Some(name)
    }

    /// A parameter of the exchange, unless the flow sets it itself.
    fn code_param(&mut self, at: &str, name: Option<String>) -> String {
        let Some(name) = name else { return code() };
        self.param_name(at, &name);
        if as_servers_read(&name) != "code" && is_the_flows(&name) {
            self.add(at, format!("must not be {name}, which the exchange sends with another meaning"));
        }
        name
    }

    fn param_name(&mut self, at: &str, name: &str) {
        let ok =
            (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        if !ok {
            self.add(at, "must be the name of a parameter: 1 to 64 letters, digits, _, - and .");
        }
    }

    /// A name that the app gave to the address. It is each client's own, so whoever sets up the client gives it.
    fn redirect_name(&mut self, at: &str, text: &str, known: &Known<'_>) -> Option<Template> {
        let of_client = |name: &str| known.variables.get(name).is_some_and(|variable| variable.from == Origin::Client);
        let template = self.template(at, text, |name| known.is_variable(name))?;
        let has_one = template.places().next().is_some() && template.places().all(of_client);
        if !has_one {
            self.add(
                at,
                "must have a place for a variable that comes from \"client\", such as {redirect_name}: the app gives each \
                 client a name of its own",
            );
        }
        if text.contains([':', '/']) {
            self.add(at, "must be a name, not an address: the address of this installation is sent by itself");
        }
        has_one.then_some(template)
    }

    /// 22 characters of base64url are 132 bits: nobody guesses a shorter one only by luck (RFC 6749, 10.10). The usual state
    /// has 32 random bytes behind the name of a shard.
    fn state_length(&mut self, at: &str, length: Option<usize>) -> usize {
        const USUAL: usize = 45;
        if length.is_some_and(|length| !(22..=43).contains(&length)) {
            self.add(at, "must be a number of characters, from 22 to 43");
        }
        length.unwrap_or(USUAL)
    }

    fn grant(&mut self, path: &str, raw: &mut RawAuth) -> Option<Grant> {
        match raw.r#type {
            Kind::ClientCredentials => {
                let grant_type = raw.grant_type.take().unwrap_or_else(|| "client_credentials".to_owned());
                let field = format!("{path}.grant_type");
                self.text(&field, &grant_type, 100);
                if !grant_type.bytes().all(|b| b.is_ascii_graphic()) {
                    self.add(&field, "must be visible ASCII characters without spaces (RFC 6749 A.10)");
                }
                if is_a_password_grant(&grant_type) {
                    self.add(
                        &field,
                        "must not be a grant that takes a person's password (RFC 9700 2.4); use a grant with consent, or a client of the app's own",
                    );
                }
                Some(Grant::ClientCredentials { grant_type })
            }
            Kind::ServiceAccount => {
                self.key_file(&format!("{path}.key_file"), raw.key_file.take()).map(Grant::ServiceAccount)
            }
            Kind::OAuth2 | Kind::ApiKey | Kind::BotToken | Kind::Basic => Some(Grant::AuthorizationCode),
        }
    }

    fn key_file(&mut self, at: &str, raw: Option<RawKeyFile>) -> Option<KeyFileShape> {
        let raw = raw.unwrap_or_else(|| RawKeyFile {
            issuer: "/client_email".to_owned(),
            private_key: "/private_key".to_owned(),
            key_id: None,
        });
        let issuer = self.pointer(&format!("{at}.issuer"), &raw.issuer);
        let private_key = self.pointer(&format!("{at}.private_key"), &raw.private_key);
        let key_id = self.pointer(&format!("{at}.key_id"), raw.key_id.as_deref().unwrap_or("/private_key_id"));
        Some(KeyFileShape { issuer: issuer?, private_key: private_key?, key_id: key_id? })
    }

    fn endpoints(&mut self, path: &str, raw: &RawAuth, known: &Known<'_>) -> Option<Endpoints> {
        let written = [&raw.authorize_url, &raw.token_url, &raw.refresh_url, &raw.revoke_url];
        if let Some(issuer) = raw.issuer.as_ref().filter(|_| written.iter().all(|url| url.is_none())) {
            return self.issuer(path, issuer, known);
        }
        let at = |member: &str| format!("{path}.{member}");
        let consents = raw.r#type == Kind::OAuth2;
        let authorize_url = self.required_address(&at("authorize_url"), raw.authorize_url.as_deref(), consents, known);
        let token_url = self.required_address(&at("token_url"), raw.token_url.as_deref(), true, known);
        let refresh_url = raw.refresh_url.as_deref().map(|url| self.endpoint(&at("refresh_url"), url, known, &[]));
        let beyond = ["client_id", "token"];
        let revoke_url = raw.revoke_url.as_deref().map(|url| self.endpoint(&at("revoke_url"), url, known, &beyond));
        if consents && authorize_url.is_none() {
            return None;
        }
        Some(Endpoints::Fixed(Box::new(FixedEndpoints {
            authorize_url,
            token_url: token_url?,
            refresh_url: refresh_url.flatten(),
            revoke_url: revoke_url.flatten(),
            issuer: self.issuer_of_endpoints(path, raw),
        })))
    }

    /// The issuer that written endpoints belong to: nothing is asked of it, but what it calls itself is compared.
    fn issuer_of_endpoints(&mut self, path: &str, raw: &RawAuth) -> Option<String> {
        let issuer = raw.issuer.as_ref()?;
        if raw.r#type != Kind::OAuth2 {
            self.add(
                &format!("{path}.issuer"),
                "beside written addresses is only for people who come back from the app",
            );
        }
        if let Err(problem) = Address::parse(issuer, self.egress) {
            self.add(&format!("{path}.issuer"), problem.to_string());
        }
        Some(issuer.clone())
    }

    fn issuer(&mut self, path: &str, issuer: &str, known: &Known<'_>) -> Option<Endpoints> {
        let field = format!("{path}.issuer");
        if issuer.contains('?') {
            self.add(&field, "must not have a query (RFC 8414 2)");
        }
        self.endpoint(&field, issuer, known, &[]).map(Endpoints::Issuer)
    }

    fn required_address(
        &mut self,
        field: &str,
        text: Option<&str>,
        required: bool,
        known: &Known<'_>,
    ) -> Option<AddressTemplate> {
        if text.is_none() && required {
            self.add(field, "is required where there is no auth.issuer");
        }
        text.and_then(|text| self.endpoint(field, text, known, &[]))
    }

    /// An address that gets the workspace's client secret. Whoever connects must not decide where that goes.
    fn endpoint(&mut self, field: &str, text: &str, known: &Known<'_>, also: &[&str]) -> Option<AddressTemplate> {
        let address = self.address(field, text, known, also)?;
        let variable = |name: &str| known.variables.get(name);
        for name in address.places() {
            if variable(name).is_some_and(|v| !matches!(v.from, Origin::Person | Origin::Client)) {
                self.add(
                    field,
                    format!("needs {name} before the app has been asked; it must come from person or client"),
                );
            }
        }
        let persons = address.host_places().any(|name| variable(name).is_some_and(|v| v.from == Origin::Person));
        if known.kind == Kind::OAuth2 && persons && !address.has_fixed_domain() {
            self.add(
                field,
                "gets the client's secret, so a person's variable in its host must be followed by a fixed domain \
                 (https://{shop}.example.com); or let the variable come from \"client\"",
            );
        }
        Some(address)
    }

    fn rotation(&mut self, at: &str, raw: Option<RawRotation>) -> Rotation {
        match raw {
            None | Some(RawRotation::Strict) => Rotation::Strict,
            Some(RawRotation::None) => Rotation::None,
            Some(RawRotation::Reissue) => Rotation::Reissue,
            Some(RawRotation::Grace(seconds)) => {
                self.seconds(&format!("{at}.grace"), Some(seconds));
                Rotation::Grace(seconds)
            }
        }
    }

    fn revocation(
        &mut self,
        at: &str,
        raw: RawRevocation,
        url: Option<&String>,
        known: &Known<'_>,
    ) -> Option<Revocation> {
        if raw.style == RevokeStyle::Bearer && url.is_none() {
            self.add(&format!("{at}.style"), "\"bearer\" needs auth.revoke_url");
        }
        self.headers(&format!("{at}.headers"), &raw.headers, &["authorization", "content-type"]);
        let allowed = |name: &str| {
            matches!(name, "token" | "access_token" | "client_id" | "account_id") || known.is_variable(name)
        };
        let params = match raw.params {
            None => None,
            Some(params) => Some(self.revoke_params(&format!("{at}.params"), &params, allowed)?),
        };
        Some(Revocation {
            kills: raw.kills,
            style: raw.style,
            authenticate: raw.authenticate.unwrap_or(true),
            client_auth: raw.client_auth,
            method: if raw.method == Some(RevokeMethod::Delete) {
                OutboundMethod::Delete
            } else {
                OutboundMethod::Post
            },
            body: raw.body,
            params,
            headers: raw.headers,
        })
    }

    /// Here `client_id` is an ordinary parameter: it names whose grant ends.
    fn revoke_params(
        &mut self,
        at: &str,
        params: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<super::super::Params> {
        self.entries(at, params.len());
        // A revocation address may be the token endpoint, and what has a grant type is a token request.
        for name in params.keys().filter(|name| is_grant_type(name)) {
            self.add(&format!("{at}.{name}"), "makes a token request of the revocation; remove it");
        }
        let read: Vec<_> = params
            .iter()
            .map(|(name, value)| Some((name.clone(), self.template(&format!("{at}.{name}"), value, allowed)?)))
            .collect();
        read.into_iter().collect()
    }

    fn response(&mut self, at: &str, raw: RawResponse) -> Option<ResponseShape> {
        let shape = ResponseShape::default();
        if let Some(separator) = &raw.scope_separator {
            self.separator(&format!("{at}.scope_separator"), separator);
        }
        let mut pointer = |member: &str, text: Option<String>, default: Pointer| {
            self.pointer_or(&format!("{at}.{member}"), text.as_deref(), default)
        };
        let access_token = pointer("access_token", raw.access_token, shape.access_token);
        let refresh_token = pointer("refresh_token", raw.refresh_token, shape.refresh_token);
        let expires_in = pointer("expires_in", raw.expires_in, shape.expires_in);
        let scope = pointer("scope", raw.scope, shape.scope);
        let token_type = pointer("token_type", raw.token_type, shape.token_type);
        let expires_at = raw.expires_at.map(|text| self.pointer(&format!("{at}.expires_at"), &text));
        let refresh_expires_in =
            raw.refresh_expires_in.map(|text| self.pointer(&format!("{at}.refresh_expires_in"), &text));
        Some(ResponseShape {
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

    fn further(
        &mut self,
        at: &str,
        raw: BTreeMap<String, RawToken>,
        (separator, first): (&str, Option<&ResponseShape>),
    ) -> Option<BTreeMap<String, FurtherToken>> {
        let mut read = Some(BTreeMap::new());
        for (name, raw) in raw {
            let field = format!("{at}.{name}");
            if !super::super::template::is_name(&name) || separator.contains(':') {
                self.add(&field, "must have a name of letters, digits and _, at an app whose separator has no colon");
            }
            self.text(&format!("{field}.scope_param"), &raw.scope_param, 100);
            if is_the_flows(&raw.scope_param) {
                self.add(
                    &format!("{field}.scope_param"),
                    "is set by the flow itself; it must be a parameter of its own",
                );
            }
            let response = RawResponse {
                access_token: Some(raw.access_token),
                // Nothing of the first token must be taken for this one's.
                refresh_token: raw.refresh_token.or_else(|| Some(format!("/{name}/refresh_token"))),
                expires_in: raw.expires_in.or_else(|| Some(format!("/{name}/expires_in"))),
                scope: raw.scope.or_else(|| Some(format!("/{name}/scope"))),
                token_type: raw.token_type.or_else(|| Some(format!("/{name}/token_type"))),
                // The lives of one answer are told alike.
                expires_in_unit: first.map(|first| first.expires_in_unit),
                refresh_expires_in_unit: first.map(|first| first.refresh_expires_in_unit),
                ..RawResponse::default()
            };
            let account = raw.account.and_then(|at| self.pointer(&format!("{field}.account"), &at));
            let scope_param = raw.scope_param;
            let token = self.response(&field, response).map(|response| FurtherToken { response, scope_param, account });
            read = read.zip(token).map(|(mut read, token)| {
                read.insert(name, token);
                read
            });
        }
        read
    }

    fn client_help(&mut self, at: &str, raw: RawHelp) -> ClientHelp {
        self.link(&format!("{at}.url"), &raw.url);
        self.sentences(&format!("{at}.steps"), &raw.steps);
        ClientHelp { url: raw.url, steps: raw.steps }
    }

    fn approval(&mut self, at: &str, raw: RawApproval) -> Approval {
        let codes = format!("{at}.codes");
        if raw.codes.is_empty() {
            self.add(&codes, "needs at least one code");
        }
        self.texts(&codes, &raw.codes);
        self.optional_link(&format!("{at}.url"), raw.url.as_deref());
        self.sentences(&format!("{at}.steps"), &raw.steps);
        Approval { codes: raw.codes, url: raw.url, steps: raw.steps }
    }
}

/// What RFC 6749 calls an authorization code's parameter.
fn code() -> String {
    "code".to_owned()
}
