//! Requests to an app's API in a definition: identity, check, how a credential is sent, errors.

use std::collections::BTreeMap;

use super::super::{
    AccountLayout, CredentialField, CredentialKind, ErrorTable, IdentityLookup, LabelLookup, NothingSharedCheck,
    OutboundMethod, Probe, RequestTemplate, ResponseMark, ResponseTextTemplate, ScopesHeader, StatusMeaning, Template,
    VariableSource,
};
use super::DefinitionReader;
use super::rules::{MAX_TEXT_LENGTH, TemplateContext, is_header_name};
use super::shape::{
    OneOrMany, RawBasic, RawErrors, RawIdentity, RawMethod, RawNamedBy, RawNothingShared, RawProbe, RawRequest,
    RawResponseMark,
};
use crate::gather::Gather as _;

impl DefinitionReader {
    pub(super) fn read_identity(
        &mut self,
        at: &str,
        raw: RawIdentity,
        context: &TemplateContext<'_>,
    ) -> Option<IdentityLookup> {
        let RawIdentity { from, method, url, headers, body, id, label, statuses, scopes, marks, named_by } = raw;
        for (member, present) in [
            ("method", method.is_some()),
            ("headers", !headers.is_empty()),
            ("body", body.is_some()),
            ("statuses", !statuses.is_empty()),
            ("scopes", scopes.is_some()),
        ] {
            if present && from.is_some() {
                self.add_problem(&format!("{at}.{member}"), "belongs to a request, and \"from\" needs none; remove it");
            }
        }
        let scopes = scopes.map(|raw| {
            self.check_separator(&format!("{at}.scopes.separator"), &raw.separator);
            if !is_header_name(&raw.header) {
                self.add_problem(&format!("{at}.scopes.header"), "is not a header name (RFC 9110 5.1)");
            }
            ScopesHeader { header: raw.header.to_ascii_lowercase(), separator: raw.separator }
        });
        let account = AccountLayout {
            id: self.read_response_templates(&format!("{at}.id"), &id, context)?,
            label: self.read_response_templates(&format!("{at}.label"), &label, context)?,
            marks: self.read_response_marks(&format!("{at}.marks"), marks)?,
        };
        if named_by.is_some() && from.is_none() {
            self.add_problem(
                &format!("{at}.named_by"),
                "is for \"from\": the request of url tells the label; remove it",
            );
        }
        match (from, url) {
            (Some(_), None) if context.kind.uses_oauth_server() => {
                let named_by = match named_by {
                    None => None,
                    Some(raw) => Some(self.read_label_lookup(&format!("{at}.named_by"), raw, context)?),
                };
                Some(IdentityLookup { probe: None, account, scopes: None, named_by })
            }
            (Some(_), None) => {
                self.add_problem(
                    &format!("{at}.from"),
                    "needs a token answer, and this way to connect has none; give a url",
                );
                None
            }
            (Some(_), Some(_)) => {
                self.add_problem(&format!("{at}.url"), "can't stand beside \"from\"; remove one of them");
                None
            }
            (None, None) => {
                self.add_problem(&format!("{at}.url"), "is required");
                None
            }
            (None, Some(url)) => {
                let probe = self.read_probe(at, RawProbe { method, url, headers, body, statuses }, context)?;
                self.check_id_includes_host(at, &probe, &account, context);
                Some(IdentityLookup { probe: Some(probe), account, scopes, named_by: None })
            }
        }
    }

    fn read_label_lookup(&mut self, at: &str, raw: RawNamedBy, context: &TemplateContext<'_>) -> Option<LabelLookup> {
        let RawNamedBy { method, url, headers, body, label } = raw;
        let label = self.read_response_templates(&format!("{at}.label"), &label, context);
        let probe = self.read_probe(at, RawProbe { method, url, headers, body, statuses: BTreeMap::new() }, context)?;
        Some(LabelLookup { probe, label: label? })
    }

    fn read_response_marks(&mut self, at: &str, raw: Vec<RawResponseMark>) -> Option<Vec<ResponseMark>> {
        let one = |(index, raw): (usize, RawResponseMark)| {
            let at = format!("{at}[{index}]");
            self.check_optional_text(&format!("{at}.label"), raw.label.as_deref());
            self.check_optional_text(&format!("{at}.account"), raw.account.as_deref());
            if !(raw.is.is_boolean() || raw.is.is_number() || raw.is.is_string()) {
                self.add_problem(&format!("{at}.is"), "must be true, false, a number or a text");
            }
            let place = self.read_pointer(&format!("{at}.at"), &raw.at)?;
            Some(ResponseMark { pointer: place, value: raw.is, label: raw.label, account: raw.account })
        };
        raw.into_iter().enumerate().map(one).collect()
    }

    /// If the host is a variable, an id is unique only together with the host: two hosts may use the same id.
    fn check_id_includes_host(
        &mut self,
        at: &str,
        probe: &Probe,
        account: &AccountLayout,
        context: &TemplateContext<'_>,
    ) {
        let given = |name: &&str| {
            let from = context.variables.get(*name).map(|variable| &variable.source);
            matches!(from, Some(VariableSource::Person | VariableSource::Client))
        };
        for name in probe.url.host_placeholders().filter(given) {
            if !account.id.iter().all(|id| id.placeholders().any(|place| place == name)) {
                let problem =
                    format!("must have {{{name}}} in it, as the host that is asked depends on it: {{{name}}}:{{/id}}");
                self.add_problem(&format!("{at}.id"), problem);
            }
        }
    }

    fn read_response_templates(
        &mut self,
        at: &str,
        texts: &OneOrMany,
        context: &TemplateContext<'_>,
    ) -> Option<Vec<ResponseTextTemplate>> {
        if texts.0.is_empty() {
            self.add_problem(at, "needs at least one JSON pointer");
        }
        let read: Vec<_> = texts.0.iter().map(|text| ResponseTextTemplate::parse(text)).collect();
        if read.iter().any(Option::is_none) {
            self.add_problem(
                at,
                "must be a JSON pointer such as /user/id, or a text with pointers such as {/team/id}:{/user_id}",
            );
        }
        let shown =
            |name: &str| context.is_variable(name) || context.fields.iter().any(|one| one.id == name && !one.secret);
        if let Some(name) = read.iter().flatten().flat_map(ResponseTextTemplate::placeholders).find(|name| !shown(name))
        {
            self.add_problem(
                at,
                format!("has a place for {name}, which is no variable and no field that may be shown"),
            );
        }
        read.into_iter().collect()
    }

    pub(super) fn read_probe(&mut self, at: &str, raw: RawProbe, context: &TemplateContext<'_>) -> Option<Probe> {
        let post = raw.method == Some(RawMethod::Post);
        if raw.body.is_some() && !post {
            self.add_problem(&format!("{at}.body"), "needs \"method\": \"POST\"");
        }
        if raw.body.as_ref().is_some_and(|body| body.len() > MAX_TEXT_LENGTH) {
            self.add_problem(&format!("{at}.body"), format!("is over {MAX_TEXT_LENGTH} bytes"));
        }
        let headers =
            self.read_header_templates(&format!("{at}.headers"), &raw.headers, |name| may_carry(context, name));
        let statuses = self.read_statuses(&format!("{at}.statuses"), &raw.statuses);
        let url = self.read_request_url(&format!("{at}.url"), &raw.url, context)?;
        let method = if post { OutboundMethod::Post } else { OutboundMethod::Get };
        Some(Probe { method, url, headers: headers?, body: raw.body, statuses: statuses? })
    }

    pub(super) fn read_nothing_shared(
        &mut self,
        at: &str,
        raw: RawNothingShared,
        context: &TemplateContext<'_>,
    ) -> Option<NothingSharedCheck> {
        let RawNothingShared { method, url, headers, body, at: pointer, say } = raw;
        let pointer = self.read_pointer(&format!("{at}.at"), &pointer);
        self.check_text(&format!("{at}.say"), &say, MAX_TEXT_LENGTH);
        let probe = self.read_probe(at, RawProbe { method, url, headers, body, statuses: BTreeMap::new() }, context)?;
        Some(NothingSharedCheck { probe, list: pointer?, message: say })
    }

    fn read_statuses(
        &mut self,
        at: &str,
        raw: &BTreeMap<String, StatusMeaning>,
    ) -> Option<BTreeMap<u16, StatusMeaning>> {
        let read: Vec<_> = raw
            .iter()
            .map(|(status, meaning)| {
                let status = status.parse().ok().filter(|status| (200..=499).contains(status));
                if status.is_none() {
                    self.add_problem(at, "must have statuses from 200 to 499 as names");
                }
                Some((status?, *meaning))
            })
            .collect();
        read.into_iter().gather_some()
    }

    /// An address that may contain a credential after its host.
    fn read_request_url(
        &mut self,
        field: &str,
        text: &str,
        context: &TemplateContext<'_>,
    ) -> Option<super::super::UrlTemplate> {
        let mut also = vec!["access_token", "account_id"];
        also.extend(context.fields.iter().map(|field| field.id.as_str()).filter(|name| may_carry(context, name)));
        self.read_url_template(field, text, context, &also)
    }

    pub(super) fn read_request(
        &mut self,
        at: &str,
        raw: Option<RawRequest>,
        header: Option<&str>,
        query: Option<&str>,
        context: &TemplateContext<'_>,
    ) -> Option<RequestTemplate> {
        let raw =
            raw.unwrap_or_else(|| RawRequest { base_url: None, headers: None, query: BTreeMap::new(), basic: None });
        let base_url = raw.base_url.as_ref().map(|url| self.read_request_url(&format!("{at}.base_url"), url, context));
        let allowed = |name: &str| may_carry(context, name) || name == "account_id";
        let queries = self.read_query_templates(&format!("{at}.query"), &raw.query, allowed);
        let basic = raw.basic.as_ref().map(|pair| self.read_basic(&format!("{at}.basic"), pair, allowed));
        let headers =
            raw.headers.as_ref().map(|headers| self.read_header_templates(&format!("{at}.headers"), headers, allowed));
        let mut shape = RequestTemplate {
            base_url: match base_url {
                None => None,
                Some(url) => Some(url?),
            },
            headers: match headers {
                None => BTreeMap::new(),
                Some(headers) => headers?,
            },
            query: queries?,
            basic: match basic {
                None => None,
                Some(pair) => Some(pair?),
            },
        };
        let first = context.fields.first().map(|field| format!("{{{}}}", field.id));
        if let (Some(name), Some(first)) = (header, &first) {
            shape.headers.insert(name.to_owned(), Template::parse(first)?);
        } else if let (Some(name), Some(first)) = (query, &first) {
            shape.query.insert(name.to_owned(), Template::parse(first)?);
        } else if raw.headers.is_none()
            && !shape.placeholders().any(|name| name == "access_token" || context.is_field(name))
            && set_default_placement(&mut shape, context).is_none()
        {
            self.add_problem(
                at,
                "must say how the credential is sent: by itself a pair of fields is, and there are no two",
            );
            return None;
        }
        Some(shape)
    }

    fn read_query_templates(
        &mut self,
        at: &str,
        raw: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<BTreeMap<String, Template>> {
        self.check_entry_count(at, raw.len());
        let read: Vec<_> = raw
            .iter()
            .map(|(name, text)| Some((name.clone(), self.read_template(&format!("{at}.{name}"), text, allowed)?)))
            .collect();
        read.into_iter().gather_some()
    }

    fn read_basic(
        &mut self,
        at: &str,
        raw: &RawBasic,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<(Template, Template)> {
        let username = self.read_template(&format!("{at}.username"), &raw.username, allowed);
        let password = self.read_template(&format!("{at}.password"), &raw.password, allowed);
        Some((username?, password?))
    }

    pub(super) fn read_error_table(&mut self, at: &str, raw: RawErrors) -> Option<ErrorTable> {
        for (member, codes) in [
            ("permanent", &raw.permanent),
            ("client", &raw.client),
            ("configuration", &raw.configuration),
            ("transient", &raw.transient),
            ("denied", &raw.denied),
        ] {
            self.check_texts(&format!("{at}.{member}"), codes);
        }
        let error = match raw.error {
            None => Some(ErrorTable::default().error),
            Some(pointers) => self.read_pointers(&format!("{at}.error"), &pointers),
        };
        let codes = raw.codes.map(|codes| self.read_pointer(&format!("{at}.codes"), &codes));
        let retry_after = raw.retry_after.map(|pointer| self.read_pointer(&format!("{at}.retry_after"), &pointer));
        Some(ErrorTable {
            permanent: raw.permanent,
            client: raw.client,
            configuration: raw.configuration,
            transient: raw.transient,
            denied: raw.denied,
            error: error?,
            codes: codes.flatten(),
            retry_after: retry_after.flatten(),
        })
    }
}

/// What a request may contain: the token, manual fields, variables. A secret that tokens are issued for is sent only to
/// the OAuth server.
fn may_carry(context: &TemplateContext<'_>, name: &str) -> bool {
    let sent = |field: &CredentialField| field.id == name && (!field.secret || !context.kind.uses_oauth_server());
    name == "access_token" || context.fields.iter().any(sent) || context.is_variable(name)
}

/// The default for how a credential is sent.
fn set_default_placement(shape: &mut RequestTemplate, context: &TemplateContext<'_>) -> Option<()> {
    let place = |at: usize| Template::parse(&format!("{{{}}}", context.fields.get(at)?.id));
    match context.kind {
        CredentialKind::Basic => shape.basic = Some((place(0)?, place(1)?)),
        CredentialKind::OAuth2
        | CredentialKind::ClientCredentials
        | CredentialKind::ServiceAccount
        | CredentialKind::ApiKey
        | CredentialKind::BotToken => {
            shape.headers.insert("Authorization".to_owned(), Template::parse("Bearer {access_token}")?);
        }
    }
    Some(())
}
