//! What the operator sets, parsed once per request into types that can't be wrong.
//!
//! Owns the variables' names and rules. What is missing or weak becomes `misconfigured`, naming the
//! variable and never its value.

use std::collections::BTreeMap;
use std::rc::Rc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::audit::AuditReads;
use crate::egress::{EgressPolicy, EgressUrl, parse_url};
use crate::email_address::EmailAddress;
use crate::error::{Error, Result};
use crate::gather::Gather as _;
use crate::ids::{ClientId, Shard, WorkspaceId};
use crate::retention;
use crate::vault::KeyRing;

/// The shortest `ADMIN_KEY`, in characters.
const SHORTEST_ADMIN_KEY: usize = 32;
/// Subrequests of an invocation on the free plan.
const FREE_SUBREQUESTS: i64 = 50;
/// Subrequests that a paid plan allows at most, unless it was raised further: more than a run has time for.
const MOST_SUBREQUESTS: i64 = 10_000;
/// With more subrequests than this, the plan is a paid one: it has other limits of CPU time and of rows written too.
const PAID_FROM: i64 = 500;
/// Sealed places a run of the clock looks at: opening and sealing share the free plan's 10 ms with the checks of
/// the run, and a run that exceeds them gets nowhere.
const FREE_RESEAL_BATCH: i64 = 40;
/// The most checks of a run: six at a time, no run has time for more.
const MOST_CHECKS: i64 = 1_600;
/// The most sealed places of a run.
const MOST_RESEALED: i64 = 500;
/// Rows that a run of the clock writes to erase what was deleted, new entries of indexes among them: at 288 runs a day
/// 69,120, of the free plan's 100,000.
const FREE_ERASE_BATCH: i64 = 240;
/// Of 100,000 rows a day and 288 runs, 347 are a run's: what erasing leaves over, at four for a check.
const FREE_CHECKS_BESIDE_ERASING: i64 = 26;
/// The same on a paid plan: 10,000 connections in two hours, and no statement that holds up others.
const PAID_ERASE_BATCH: i64 = 6_000;
/// The most of these: what the database takes in a few statements without holding up others.
const LARGEST_ERASE_BATCH: i64 = 20_000;

/// The variables as the platform gives them.
#[derive(Default, Clone)]
pub struct EnvVariables {
    /// `PUBLIC_URL`
    pub public_url: Option<String>,
    /// `ENCRYPTION_KEYS`
    pub encryption_keys: Option<String>,
    /// `ADMIN_KEY`
    pub admin_key: Option<String>,
    /// `DEV_LOOPBACK`
    pub dev_loopback: Option<String>,
    /// `SUBREQUESTS`
    pub subrequests: Option<String>,
    /// `CHECK_BATCH`
    pub check_batch: Option<String>,
    /// `RESEAL_BATCH`
    pub reseal_batch: Option<String>,
    /// `ERASE_BATCH`
    pub erase_batch: Option<String>,
    /// `AUDIT_READS`
    pub audit_reads: Option<String>,
    /// `AUDIT_DAYS`
    pub audit_days: Option<String>,
    /// `ACCESS_TEAM_DOMAIN`
    pub access_team_domain: Option<String>,
    /// `ACCESS_AUDIENCE`
    pub access_audience: Option<String>,
    /// `ACCESS_WORKSPACE`
    pub access_workspace: Option<String>,
    /// `ACCESS_DOMAINS`
    pub access_domains: Option<String>,
    /// `ACCESS_ADMIN_GROUPS`
    pub access_admin_groups: Option<String>,
    /// `CLOSED_DATABASES`
    pub closed_databases: Option<String>,
    /// `EMAIL_FROM`
    pub email_from: Option<String>,
}

/// The parsed configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Base of redirect URIs and links; never taken from a request.
    pub public_url: PublicUrl,
    /// The key ring.
    pub key_ring: Rc<KeyRing>,
    admin_key: [u8; 32],
    /// Which addresses may be reached.
    pub egress: EgressPolicy,
    /// Connections a run of the clock takes.
    pub check_batch: i64,
    /// Sealed places a run of the clock looks at, to seal them under the first key.
    pub reseal_batch: i64,
    /// Rows that a run of the clock writes to erase what was deleted.
    pub erase_batch: i64,
    /// Which credentials that are handed out are written to the audit log.
    pub audit_reads: AuditReads,
    /// Days that a line of the audit log is kept.
    pub audit_days: i64,
    /// Checks that a run of the clock makes at most while something is erased, so that both together write no more rows than
    /// the plan allows in a day. None: the plan has no such limit.
    pub checks_beside_erasing: Option<i64>,
    /// Cloudflare Access in front of the pages, if it is set up.
    pub access: Option<AccessSettings>,
    /// The databases that take no new workspaces.
    pub closed_databases: Vec<Shard>,
    /// The sender of e-mail, if it is set.
    pub email_from: Option<EmailAddress>,
}

/// Cloudflare Access in front of the pages: who vouches for people, and of which workspace they are.
#[derive(Debug, Clone)]
pub struct AccessSettings {
    /// The team's address, which issues the tokens.
    pub issuer: String,
    /// Where its public keys are.
    pub keys_url: EgressUrl,
    /// The tag of the application (AUD).
    pub audience: String,
    /// The workspace of people whose address is of no listed domain. None: they are let in nowhere.
    workspace: Option<WorkspaceId>,
    /// The workspaces of domains, in lower case.
    domains: BTreeMap<String, WorkspaceId>,
    /// The groups whose members are admins. Empty: Access says nothing about roles.
    pub admin_groups: Vec<String>,
}

impl AccessSettings {
    /// The workspace of a person with this e-mail address. A listed domain goes before `ACCESS_WORKSPACE`.
    pub fn workspace_of(&self, email: Option<&str>) -> Option<&WorkspaceId> {
        let domain = email.and_then(|email| email.rsplit_once('@')).map(|(_, domain)| domain.to_ascii_lowercase());
        domain.and_then(|domain| self.domains.get(&domain)).or(self.workspace.as_ref())
    }
}

/// The domains that a variable gives to workspaces: `example.com=ws_…`, with commas between them.
fn parse_access_domains(text: &str) -> Result<BTreeMap<String, WorkspaceId>> {
    let wrong = |what: &str| Error::misconfigured(format!("ACCESS_DOMAINS {what}"));
    let mut domains = BTreeMap::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parsed = entry.split_once('=').and_then(|(domain, workspace)| {
            let domain = domain.trim().to_ascii_lowercase();
            is_domain(&domain).then_some(domain).zip(WorkspaceId::parse(workspace.trim()))
        });
        let (domain, workspace) = parsed
            .ok_or_else(|| wrong("must give domains to workspaces, such as example.com=ws_…,example.org=ws_…."))?;
        if domains.insert(domain, workspace).is_some() {
            return Err(wrong("names a domain twice. Each belongs to one workspace."));
        }
    }
    Ok(domains)
}

/// Whether a text is a domain as addresses have it, without the `@`.
pub fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label)
}

/// The address people and apps reach this installation at, without a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    text: String,
    secure: bool,
    loopback: bool,
}

impl Config {
    /// Reads the variables.
    pub fn parse(variables: &EnvVariables) -> Result<Self> {
        let public_url = PublicUrl::parse(variables.public_url.as_deref().unwrap_or_default())?;
        let ring = variables.encryption_keys.as_deref().filter(|text| !text.trim().is_empty()).ok_or_else(|| {
            Error::misconfigured("The secret ENCRYPTION_KEYS is not set: put id:base64 of 32 random bytes.")
        })?;
        let key_ring = KeyRing::parse(ring).map_err(|error| Error::misconfigured(error.0))?;
        let subrequests = parse_number(
            "SUBREQUESTS",
            variables.subrequests.as_deref(),
            FREE_SUBREQUESTS,
            FREE_SUBREQUESTS,
            MOST_SUBREQUESTS,
        )?;
        let is_paid = subrequests >= PAID_FROM;
        let egress = parse_egress(variables.dev_loopback.as_deref(), &public_url)?;
        Ok(Self {
            egress,
            access: parse_access(variables, egress)?,
            admin_key: hash_admin_key(variables.admin_key.as_deref().unwrap_or_default())?,
            check_batch: parse_batch_size(
                "CHECK_BATCH",
                variables.check_batch.as_deref(),
                // The others are for what a run does beside.
                (subrequests * 4 / 5).min(MOST_CHECKS),
                MOST_CHECKS,
            )?,
            reseal_batch: parse_batch_size(
                "RESEAL_BATCH",
                variables.reseal_batch.as_deref(),
                if is_paid { MOST_RESEALED } else { FREE_RESEAL_BATCH },
                MOST_RESEALED,
            )?,
            erase_batch: parse_batch_size(
                "ERASE_BATCH",
                variables.erase_batch.as_deref(),
                if is_paid { PAID_ERASE_BATCH } else { FREE_ERASE_BATCH },
                LARGEST_ERASE_BATCH,
            )?,
            audit_reads: parse_audit_reads(variables.audit_reads.as_deref())?,
            audit_days: parse_batch_size(
                "AUDIT_DAYS",
                variables.audit_days.as_deref(),
                retention::EVENT_DAYS,
                retention::MAX_EVENT_DAYS,
            )?,
            checks_beside_erasing: (!is_paid).then_some(FREE_CHECKS_BESIDE_ERASING),
            closed_databases: parse_bindings(variables.closed_databases.as_deref().unwrap_or_default())?,
            email_from: parse_sender(variables.email_from.as_deref().unwrap_or_default())?,
            public_url,
            key_ring: Rc::new(key_ring),
        })
    }

    /// The same with a part of what a scheduled run may do: so much of `CHECK_BATCH`, and one of so many parts of the others,
    /// of each at least one.
    pub(crate) fn with_share_of_batches(&self, check_batch: i64, parts: usize) -> Self {
        let parts = i64::try_from(parts).unwrap_or(i64::MAX).max(1);
        Self {
            check_batch,
            reseal_batch: (self.reseal_batch / parts).max(1),
            erase_batch: (self.erase_batch / parts).max(1),
            checks_beside_erasing: self.checks_beside_erasing.map(|checks| (checks / parts).max(1)),
            ..self.clone()
        }
    }

    /// Whether a text is the operator's key, in a time that does not tell how much of it is right.
    pub fn is_admin_key(&self, presented: &str) -> bool {
        let presented: [u8; 32] = Sha256::digest(presented.as_bytes()).into();
        presented.ct_eq(&self.admin_key).into()
    }
}

/// How many databases are bound, by the names of all bindings. They are numbered without a gap: what is in a database that
/// is not bound can't be reached, and would look as if it never existed.
///
/// # Errors
/// A binding is missing, or has a number that no database can have; or `CLOSED_DATABASES` names one that is not bound.
pub fn count_databases(names: &[impl AsRef<str>], closed: &[Shard]) -> Result<u16> {
    let names = || names.iter().map(AsRef::as_ref);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_numbered = |name: &&str| name.strip_prefix("DB_").is_some_and(is_number);
    if let Some(unknown) = names().filter(is_numbered).find(|name| Shard::of_binding(name).is_none()) {
        return Err(Error::misconfigured(format!(
            "The binding {unknown} in wrangler.toml is the name of no database: they are DB, DB_1, DB_2, … up to DB_{}.",
            Shard::MOST - 1
        )));
    }
    let is_bound = |shard: &Shard| names().any(|name| Shard::of_binding(name) == Some(*shard));
    let all = || (0..Shard::MOST).filter_map(Shard::new);
    let count = all().take_while(is_bound).count();
    let missing = Shard::new(u16::try_from(count).unwrap_or(Shard::MOST)).map(Shard::binding).unwrap_or_default();
    if let Some(bound) = all().skip(count).find(is_bound) {
        return Err(Error::misconfigured(format!(
            "The D1 binding {missing} is missing from wrangler.toml, although {} is there. Bind the database again that it named, and deploy: until then nobody reaches what is in it.",
            bound.binding()
        )));
    }
    match closed.iter().find(|shard| !is_bound(shard)) {
        _ if count == 0 => Err(Error::misconfigured("The D1 binding DB is missing from wrangler.toml.")),
        Some(unbound) => Err(Error::misconfigured(format!(
            "CLOSED_DATABASES names {}, but no database is bound under this name.",
            unbound.binding()
        ))),
        None => Ok(u16::try_from(count).unwrap_or(Shard::MOST)),
    }
}

/// The databases that a variable names, with commas between them.
fn parse_bindings(text: &str) -> Result<Vec<Shard>> {
    let wrong = || Error::misconfigured("CLOSED_DATABASES must name bindings of databases, such as DB,DB_1.");
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(|name| Shard::of_binding(name).ok_or_else(wrong)).collect()
}

fn parse_sender(text: &str) -> Result<Option<EmailAddress>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let wrong = || {
        Error::misconfigured(
            "EMAIL_FROM must be the address that e-mail is sent from, without a name, such as connections@example.com.",
        )
    };
    EmailAddress::parse(text).map(Some).ok_or_else(wrong)
}

fn hash_admin_key(text: &str) -> Result<[u8; 32]> {
    let distinct = text.chars().gather::<std::collections::BTreeSet<_>>().len();
    if text.chars().count() < SHORTEST_ADMIN_KEY || distinct < 10 {
        return Err(Error::misconfigured(
            "The secret ADMIN_KEY is not set or too weak: put at least 32 random characters.",
        ));
    }
    Ok(Sha256::digest(text.as_bytes()).into())
}

fn parse_egress(dev_loopback: Option<&str>, public_url: &PublicUrl) -> Result<EgressPolicy> {
    match parse_switch(dev_loopback) {
        Some(false) => Ok(EgressPolicy::Public),
        Some(true) if public_url.loopback => Ok(EgressPolicy::DevLoopback),
        Some(true) => Err(Error::misconfigured(
            "DEV_LOOPBACK=1 is for development and needs a loopback PUBLIC_URL. Remove DEV_LOOPBACK.",
        )),
        None => Err(Error::misconfigured("DEV_LOOPBACK may be 1 or absent.")),
    }
}

/// A variable that turns something on; `None` when it is neither `1` nor `0` nor absent.
pub(crate) fn parse_switch(text: Option<&str>) -> Option<bool> {
    match text {
        None | Some("" | "0") => Some(false),
        Some("1") => Some(true),
        Some(_) => None,
    }
}

fn parse_access(variables: &EnvVariables, egress: EgressPolicy) -> Result<Option<AccessSettings>> {
    let text = |text: &Option<String>| text.as_deref().map(str::trim).unwrap_or_default().to_owned();
    let (team, audience) = (text(&variables.access_team_domain), text(&variables.access_audience));
    let (workspace, groups) = (text(&variables.access_workspace), text(&variables.access_admin_groups));
    let domains = text(&variables.access_domains);
    if [&team, &audience, &workspace, &groups, &domains].into_iter().all(String::is_empty) {
        return Ok(None);
    }
    let wrong = |name: &str, what: &str| Error::misconfigured(format!("{name} {what}"));
    let team = if team.contains("://") { team } else { format!("https://{team}") };
    let team =
        EgressUrl::parse(&team, egress).ok().filter(|url| url.url().path() == "/" && url.url().query().is_none());
    let team = team.ok_or_else(|| {
        wrong(
            "ACCESS_TEAM_DOMAIN",
            "must be the team's domain at Cloudflare Access, such as team.cloudflareaccess.com.",
        )
    })?;
    if audience.is_empty() {
        return Err(wrong(
            "ACCESS_AUDIENCE",
            "must be the Application Audience (AUD) tag of the application at Access.",
        ));
    }
    let domains = parse_access_domains(&domains)?;
    let workspace = match WorkspaceId::parse(&workspace) {
        None if !workspace.is_empty() || domains.is_empty() => {
            return Err(wrong(
                "ACCESS_WORKSPACE",
                "must be the id of the workspace whose people come through Access (ws_…), or ACCESS_DOMAINS must give domains to workspaces.",
            ));
        }
        workspace => workspace,
    };
    let admin_groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty()).map(str::to_owned).collect();
    let keys_url = team.with_path("/cdn-cgi/access/certs");
    Ok(Some(AccessSettings { issuer: team.origin(), keys_url, audience, workspace, domains, admin_groups }))
}

fn parse_audit_reads(text: Option<&str>) -> Result<AuditReads> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(AuditReads::default()) };
    AuditReads::parse(text).ok_or_else(|| Error::misconfigured("AUDIT_READS must be sampled, all or durable."))
}

fn parse_batch_size(name: &str, text: Option<&str>, usual: i64, largest: i64) -> Result<i64> {
    parse_number(name, text, usual, 1, largest)
}

fn parse_number(name: &str, text: Option<&str>, usual: i64, smallest: i64, largest: i64) -> Result<i64> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(usual) };
    text.parse()
        .ok()
        .filter(|n| (smallest..=largest).contains(n))
        .ok_or_else(|| Error::misconfigured(format!("{name} must be a number from {smallest} to {largest}.")))
}

impl PublicUrl {
    fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            Error::misconfigured(
                "The variable PUBLIC_URL must be the https address of this Worker, without a path, such as https://connections.example.com; an international host name in its xn-- form.",
            )
        };
        let url = parse_url(text.trim_end_matches('/')).ok_or_else(wrong)?;
        let host = url.host_str().unwrap_or_default();
        let loopback = host == "localhost" || host == "127.0.0.1" || host == "[::1]";
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let scheme_ok = url.scheme() == "https" || (url.scheme() == "http" && loopback);
        if !plain || !scheme_ok || host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { text: url.origin().ascii_serialization(), secure: url.scheme() == "https", loopback })
    }

    /// The origin, as browsers write it.
    pub fn origin(&self) -> &str {
        &self.text
    }

    /// The host, with a port if it is not the default.
    pub fn host(&self) -> &str {
        self.text.split_once("://").map_or(&self.text, |(_, host)| host)
    }

    /// Where an app sends people back: an address of its own for each authorization server, so that no other server's
    /// answer can be taken for this one's (RFC 9700, 4.4.2).
    pub fn redirect_uri(&self, redirect_id: &ClientId) -> String {
        self.at(&format!("/oauth/callback/{redirect_id}"))
    }

    /// The address of a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// Whether browsers reach it over TLS, so that cookies may demand it.
    pub fn is_secure(&self) -> bool {
        self.secure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid_variables() -> EnvVariables {
        EnvVariables {
            public_url: Some("https://c.example.com/".into()),
            encryption_keys: Some("k1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()),
            admin_key: Some("abcdefghijklmnopqrstuvwxyz0123456789".into()),
            ..EnvVariables::default()
        }
    }

    #[test]
    fn reads_valid_settings() {
        let config = Config::parse(&valid_variables()).unwrap();
        assert_eq!(config.public_url.at("/x"), "https://c.example.com/x");
        assert!(config.is_admin_key("abcdefghijklmnopqrstuvwxyz0123456789"));
        assert!(!config.is_admin_key("abcdefghijklmnopqrstuvwxyz012345678"));
        assert!(matches!(config.egress, EgressPolicy::Public));
    }

    #[test]
    fn names_invalid_settings_without_their_values() {
        type Change = fn(&mut EnvVariables);
        let cases: [(&str, Change); 21] = [
            ("PUBLIC_URL", |v| v.public_url = None),
            ("PUBLIC_URL", |v| v.public_url = Some("http://c.example.com".into())),
            ("PUBLIC_URL", |v| v.public_url = Some("https://c.example.com/path".into())),
            ("ENCRYPTION_KEYS", |v| v.encryption_keys = None),
            ("ENCRYPTION_KEYS", |v| v.encryption_keys = Some("hunter2hunter2".into())),
            ("ADMIN_KEY", |v| v.admin_key = Some("hunter2hunter2".into())),
            ("ADMIN_KEY", |v| v.admin_key = Some("a".repeat(40))),
            ("DEV_LOOPBACK", |v| v.dev_loopback = Some("1".into())),
            ("SUBREQUESTS", |v| v.subrequests = Some("49".into())),
            ("CHECK_BATCH", |v| v.check_batch = Some("0".into())),
            ("RESEAL_BATCH", |v| v.reseal_batch = Some("501".into())),
            ("ERASE_BATCH", |v| v.erase_batch = Some("20001".into())),
            ("AUDIT_READS", |v| v.audit_reads = Some("some".into())),
            ("AUDIT_DAYS", |v| v.audit_days = Some("0".into())),
            ("ACCESS_TEAM_DOMAIN", |v| v.access_audience = Some("aud".into())),
            ("ACCESS_TEAM_DOMAIN", |v| v.access_team_domain = Some("http://hunter2.example".into())),
            ("ACCESS_AUDIENCE", |v| v.access_team_domain = Some("team.cloudflareaccess.com".into())),
            ("ACCESS_WORKSPACE", |v| {
                v.access_team_domain = Some("team.cloudflareaccess.com".into());
                v.access_audience = Some("hunter2".into());
            }),
            ("ACCESS_DOMAINS", |v| {
                v.access_team_domain = Some("team.cloudflareaccess.com".into());
                v.access_audience = Some("tag".into());
                v.access_domains = Some("hunter2=ws_00AAAAAAAAAAAAAAAAAAAAAA".into());
            }),
            ("ACCESS_DOMAINS", |v| {
                v.access_team_domain = Some("team.cloudflareaccess.com".into());
                v.access_audience = Some("tag".into());
                v.access_domains = Some(
                    "hunter2.example=ws_00AAAAAAAAAAAAAAAAAAAAAA,Hunter2.example=ws_00BAAAAAAAAAAAAAAAAAAAAA".into(),
                );
            }),
            ("CLOSED_DATABASES", |v| v.closed_databases = Some("DB, hunter2".into())),
        ];
        for (name, change) in cases {
            let mut variables = valid_variables();
            change(&mut variables);
            let error = Config::parse(&variables).unwrap_err();
            assert_eq!(error.code, crate::error::ErrorCode::Misconfigured);
            assert!(error.detail.contains(name), "{name}: {}", error.detail);
            assert!(!error.detail.contains("hunter2"));
        }
    }

    #[test]
    fn batches_follow_the_plan_unless_they_are_set() {
        let batches = |subrequests: Option<&str>, check: Option<&str>| {
            let config = Config::parse(&EnvVariables {
                subrequests: subrequests.map(str::to_owned),
                check_batch: check.map(str::to_owned),
                ..valid_variables()
            });
            let config = config.unwrap();
            (config.check_batch, config.reseal_batch, config.erase_batch)
        };
        assert_eq!(batches(None, None), (40, 40, 240));
        assert_eq!(batches(Some("1000"), None), (800, 500, 6_000));
        assert_eq!(batches(Some("10000"), None), (1_600, 500, 6_000));
        assert_eq!(batches(Some("1000"), Some("115")), (115, 500, 6_000));
    }

    #[test]
    fn databases_are_counted_and_gaps_are_named() {
        let counted = |names: &[&str], closed: &str| {
            count_databases(names, &parse_bindings(closed).unwrap()).map_err(|error| error.detail)
        };
        assert_eq!(counted(&["CACHE", "DB", "DB_NAME", "DB_"], ""), Ok(1));
        assert_eq!(counted(&["DB_2", "DB", "DB_1"], " DB, DB_2,"), Ok(3));
        for (names, closed, named) in [
            (&["DB", "DB_2", "DB_3"][..], "", "binding DB_1 is missing from wrangler.toml, although DB_2"),
            (&["DB_1"], "", "binding DB is missing from wrangler.toml, although DB_1"),
            (&["CACHE"], "", "binding DB is missing from wrangler.toml."),
            (&["DB", "DB_0"], "", "binding DB_0"),
            (&["DB", "DB_01"], "", "binding DB_01"),
            (&["DB", "DB_1000"], "", "binding DB_1000"),
            (&["DB", "DB_1"], "DB,DB_2", "CLOSED_DATABASES names DB_2"),
        ] {
            let error = counted(names, closed).unwrap_err();
            assert!(error.contains(named), "{names:?}: {error}");
        }
    }

    #[test]
    fn loopback_needs_the_setting_and_a_loopback_public_url() {
        let mut variables = valid_variables();
        variables.public_url = Some("http://localhost:8787".into());
        assert!(matches!(Config::parse(&variables).unwrap().egress, EgressPolicy::Public));
        variables.dev_loopback = Some("1".into());
        let config = Config::parse(&variables).unwrap();
        assert!(matches!(config.egress, EgressPolicy::DevLoopback));
        assert!(!config.public_url.is_secure());
    }
}
