//! Requests to an app's API in a definition: identity, check, how a credential is sent, errors.

use std::collections::BTreeMap;

use super::super::{
    AccountShape, AnswerMark, AnswerTemplate, ErrorTable, Field, Identity, Kind, NamedBy, NothingShared, Origin,
    OutboundMethod, Probe, RequestShape, ScopesHeader, StatusMeaning, Template,
};
use super::Problems;
use super::rules::{Known, LONGEST_TEXT, is_header_name};
use super::shape::{
    Method, OneOrMany, RawAnswerMark, RawBasic, RawCheck, RawErrors, RawIdentity, RawNamedBy, RawNothingShared,
    RawRequest,
};

impl Problems {
    pub(super) fn identity(&mut self, at: &str, raw: RawIdentity, known: &Known<'_>) -> Option<Identity> {
        let RawIdentity { from, method, url, headers, body, id, label, statuses, scopes, marks, named_by } = raw;
        for (member, present) in [
            ("method", method.is_some()),
            ("headers", !headers.is_empty()),
            ("body", body.is_some()),
            ("statuses", !statuses.is_empty()),
            ("scopes", scopes.is_some()),
        ] {
            if present && from.is_some() {
                self.add(&format!("{at}.{member}"), "belongs to a request, and \"from\" needs none; remove it");
            }
        }
        let scopes = scopes.map(|raw| {
            self.separator(&format!("{at}.scopes.separator"), &raw.separator);
            if !is_header_name(&raw.header) {
                self.add(&format!("{at}.scopes.header"), "is not a header name (RFC 9110 5.1)");
            }
            ScopesHeader { header: raw.header.to_ascii_lowercase(), separator: raw.separator }
        });
        let account = AccountShape {
            id: self.answer_templates(&format!("{at}.id"), &id, known)?,
            label: self.answer_templates(&format!("{at}.label"), &label, known)?,
            marks: self.answer_marks(&format!("{at}.marks"), marks)?,
        };
        if named_by.is_some() && from.is_none() {
            self.add(&format!("{at}.named_by"), "is for \"from\": the request of url tells the label; remove it");
        }
        match (from, url) {
            (Some(_), None) if known.kind.has_tokens() => {
                let named_by = match named_by {
                    None => None,
                    Some(raw) => Some(self.named_by(&format!("{at}.named_by"), raw, known)?),
                };
                Some(Identity { probe: None, account, scopes: None, named_by })
            }
            (Some(_), None) => {
                self.add(&format!("{at}.from"), "needs a token answer, and this way to connect has none; give a url");
                None
            }
            (Some(_), Some(_)) => {
                self.add(&format!("{at}.url"), "can't stand beside \"from\"; remove one of them");
                None
            }
            (None, None) => {
                self.add(&format!("{at}.url"), "is required");
                None
            }
            (None, Some(url)) => {
                let probe = self.probe(at, RawCheck { method, url, headers, body, statuses }, known)?;
                self.one_account(at, &probe, &account, known);
                Some(Identity { probe: Some(probe), account, scopes, named_by: None })
            }
        }
    }

    fn named_by(&mut self, at: &str, raw: RawNamedBy, known: &Known<'_>) -> Option<NamedBy> {
        let RawNamedBy { method, url, headers, body, label } = raw;
        let label = self.answer_templates(&format!("{at}.label"), &label, known);
        let probe = self.probe(at, RawCheck { method, url, headers, body, statuses: BTreeMap::new() }, known)?;
        Some(NamedBy { probe, label: label? })
    }

    fn answer_marks(&mut self, at: &str, raw: Vec<RawAnswerMark>) -> Option<Vec<AnswerMark>> {
        let one = |(index, raw): (usize, RawAnswerMark)| {
            let at = format!("{at}[{index}]");
            self.optional_text(&format!("{at}.label"), raw.label.as_deref());
            self.optional_text(&format!("{at}.account"), raw.account.as_deref());
            if !(raw.is.is_boolean() || raw.is.is_number() || raw.is.is_string()) {
                self.add(&format!("{at}.is"), "must be true, false, a number or a text");
            }
            let place = self.pointer(&format!("{at}.at"), &raw.at)?;
            Some(AnswerMark { at: place, is: raw.is, label: raw.label, account: raw.account })
        };
        raw.into_iter().enumerate().map(one).collect()
    }

    /// Where somebody gives the host, an id is one account's only together with that: two hosts may use one id twice.
    fn one_account(&mut self, at: &str, probe: &Probe, account: &AccountShape, known: &Known<'_>) {
        let given = |name: &&str| {
            let from = known.variables.get(*name).map(|variable| &variable.from);
            matches!(from, Some(Origin::Person | Origin::Client))
        };
        for name in probe.url.host_places().filter(given) {
            if !account.id.iter().all(|id| id.places().any(|place| place == name)) {
                let problem =
                    format!("must have {{{name}}} in it, as the host that is asked depends on it: {{{name}}}:{{/id}}");
                self.add(&format!("{at}.id"), problem);
            }
        }
    }

    fn answer_templates(&mut self, at: &str, texts: &OneOrMany, known: &Known<'_>) -> Option<Vec<AnswerTemplate>> {
        if texts.0.is_empty() {
            self.add(at, "needs at least one JSON pointer");
        }
        let read: Vec<_> = texts.0.iter().map(|text| AnswerTemplate::parse(text)).collect();
        if read.iter().any(Option::is_none) {
            self.add(
                at,
                "must be a JSON pointer such as /user/id, or a text with pointers such as {/team/id}:{/user_id}",
            );
        }
        let shown =
            |name: &str| known.is_variable(name) || known.fields.iter().any(|one| one.id == name && !one.secret);
        if let Some(name) = read.iter().flatten().flat_map(AnswerTemplate::places).find(|name| !shown(name)) {
            self.add(at, format!("has a place for {name}, which is no variable and no field that may be shown"));
        }
        read.into_iter().collect()
    }

    pub(super) fn probe(&mut self, at: &str, raw: RawCheck, known: &Known<'_>) -> Option<Probe> {
        let post = raw.method == Some(Method::Post);
        if raw.body.is_some() && !post {
            self.add(&format!("{at}.body"), "needs \"method\": \"POST\"");
        }
        if raw.body.as_ref().is_some_and(|body| body.len() > LONGEST_TEXT) {
            self.add(&format!("{at}.body"), format!("is over {LONGEST_TEXT} bytes"));
        }
        let headers = self.header_templates(&format!("{at}.headers"), &raw.headers, |name| carries(known, name));
        let statuses = self.statuses(&format!("{at}.statuses"), &raw.statuses);
        let url = self.request_address(&format!("{at}.url"), &raw.url, known)?;
        let method = if post { OutboundMethod::Post } else { OutboundMethod::Get };
        Some(Probe { method, url, headers: headers?, body: raw.body, statuses: statuses? })
    }

    pub(super) fn nothing_shared(
        &mut self,
        at: &str,
        raw: RawNothingShared,
        known: &Known<'_>,
    ) -> Option<NothingShared> {
        let RawNothingShared { method, url, headers, body, at: pointer, say } = raw;
        let pointer = self.pointer(&format!("{at}.at"), &pointer);
        self.text(&format!("{at}.say"), &say, LONGEST_TEXT);
        let probe = self.probe(at, RawCheck { method, url, headers, body, statuses: BTreeMap::new() }, known)?;
        Some(NothingShared { probe, at: pointer?, say })
    }

    fn statuses(&mut self, at: &str, raw: &BTreeMap<String, StatusMeaning>) -> Option<BTreeMap<u16, StatusMeaning>> {
        let read: Vec<_> = raw
            .iter()
            .map(|(status, meaning)| {
                let status = status.parse().ok().filter(|status| (200..=499).contains(status));
                if status.is_none() {
                    self.add(at, "must have statuses from 200 to 499 as names");
                }
                Some((status?, *meaning))
            })
            .collect();
        read.into_iter().collect()
    }

    /// An address that a credential may stand in, beyond its host.
    fn request_address(&mut self, field: &str, text: &str, known: &Known<'_>) -> Option<super::super::AddressTemplate> {
        let mut also = vec!["access_token", "account_id"];
        also.extend(known.fields.iter().map(|field| field.id.as_str()).filter(|name| carries(known, name)));
        self.address(field, text, known, &also)
    }

    pub(super) fn request(
        &mut self,
        at: &str,
        raw: Option<RawRequest>,
        (header, query): (&Option<String>, &Option<String>),
        known: &Known<'_>,
    ) -> Option<RequestShape> {
        let raw =
            raw.unwrap_or_else(|| RawRequest { base_url: None, headers: None, query: BTreeMap::new(), basic: None });
        let base_url = raw.base_url.as_ref().map(|url| self.request_address(&format!("{at}.base_url"), url, known));
        let allowed = |name: &str| carries(known, name) || name == "account_id";
        let queries = self.query_templates(&format!("{at}.query"), &raw.query, allowed);
        let basic = raw.basic.as_ref().map(|pair| self.basic(&format!("{at}.basic"), pair, allowed));
        let headers =
            raw.headers.as_ref().map(|headers| self.header_templates(&format!("{at}.headers"), headers, allowed));
        let mut shape = RequestShape {
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
        let first = known.fields.first().map(|field| format!("{{{}}}", field.id));
        if let (Some(name), Some(first)) = (header, &first) {
            shape.headers.insert(name.clone(), Template::parse(first)?);
        } else if let (Some(name), Some(first)) = (query, &first) {
            shape.query.insert(name.clone(), Template::parse(first)?);
        } else if raw.headers.is_none()
            && !shape.places().any(|name| name == "access_token" || known.is_field(name))
            && usually(&mut shape, known).is_none()
        {
            self.add(at, "must say how the credential is sent: by itself a pair of fields is, and there are no two");
            return None;
        }
        Some(shape)
    }

    fn query_templates(
        &mut self,
        at: &str,
        raw: &BTreeMap<String, String>,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<BTreeMap<String, Template>> {
        self.entries(at, raw.len());
        let read: Vec<_> = raw
            .iter()
            .map(|(name, text)| Some((name.clone(), self.template(&format!("{at}.{name}"), text, allowed)?)))
            .collect();
        read.into_iter().collect()
    }

    fn basic(
        &mut self,
        at: &str,
        raw: &RawBasic,
        allowed: impl Fn(&str) -> bool + Copy,
    ) -> Option<(Template, Template)> {
        let username = self.template(&format!("{at}.username"), &raw.username, allowed);
        let password = self.template(&format!("{at}.password"), &raw.password, allowed);
        Some((username?, password?))
    }

    pub(super) fn errors(&mut self, at: &str, raw: RawErrors) -> Option<ErrorTable> {
        for (member, codes) in [
            ("permanent", &raw.permanent),
            ("client", &raw.client),
            ("configuration", &raw.configuration),
            ("transient", &raw.transient),
            ("denied", &raw.denied),
        ] {
            self.texts(&format!("{at}.{member}"), codes);
        }
        let error = match raw.error {
            None => Some(ErrorTable::default().error),
            Some(pointers) => self.pointers(&format!("{at}.error"), &pointers),
        };
        let codes = raw.codes.map(|codes| self.pointer(&format!("{at}.codes"), &codes));
        let retry_after = raw.retry_after.map(|pointer| self.pointer(&format!("{at}.retry_after"), &pointer));
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

/// What a request may carry: the token, what a person entered, variables. A secret that tokens are made of goes to the
/// OAuth server only.
fn carries(known: &Known<'_>, name: &str) -> bool {
    let sent = |field: &Field| field.id == name && (!field.secret || !known.kind.has_tokens());
    name == "access_token" || known.fields.iter().any(sent) || known.is_variable(name)
}

/// How a credential is sent where nothing says otherwise.
fn usually(shape: &mut RequestShape, known: &Known<'_>) -> Option<()> {
    let place = |at: usize| Template::parse(&format!("{{{}}}", known.fields.get(at)?.id));
    match known.kind {
        Kind::Basic => shape.basic = Some((place(0)?, place(1)?)),
        Kind::OAuth2 | Kind::ClientCredentials | Kind::ServiceAccount | Kind::ApiKey | Kind::BotToken => {
            shape.headers.insert("Authorization".to_owned(), Template::parse("Bearer {access_token}")?);
        }
    }
    Some(())
}
