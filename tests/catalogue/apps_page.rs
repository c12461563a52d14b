//! Compares docs/apps.md with the catalogue.

use std::fmt::Write as _;

use connections::app::{
    App, AppEvents, AuthMethod, CredentialKind, RefreshTokenRotation, RequestSignature, RevocationEffect, RevokeStyle,
    SignatureEncoding, TimestampFormat, WebhookSignature,
};
use url::Url;

use crate::{assert_no_errors, compare_or_update, responses, whole_apps};

const INTRODUCTION: &str = "\
# The apps of the catalogue

**No app was reached while this was made.** Definitions follow each app's documentation (the pages named under \"sources\"), and
what no page confirms stands here under \"unverified\". Requests, answers and what is made of them are held by tests with made-up
clients and tokens: `tests/catalogue/golden/` has what would be sent, `tests/catalogue/answers/` what apps are documented to answer.

One command proves a definition against the live app, with an OAuth client or a key of your own:

```sh
CONNECTIONS_URL=https://connections.acme.example CONNECTIONS_KEY=cx_… npm run verify-app -- gmail
```

It tries the client, prints a link and waits until you have connected, then shows the connection, resolves it, checks it,
refreshes it twice, checks it again, asks for one more scope, has you revoke the access at the app and connect again, and asks
before it disconnects and revokes: a few minutes, for it waits between requests until the app is really asked. Each step is a line with ✓ or ✗, the exit code tells the same, and no token is printed. For a key it asks for the fields without showing them. `--help` has the options.

This file is made from `catalog/*.json` by `UPDATE_GOLDEN=1 cargo test --test catalogue`; a test holds the two together.
";

#[test]
fn the_apps_page_matches_the_catalogue() {
    assert_no_errors(compare_or_update("docs/apps.md", &render_page()).as_slice());
}

#[test]
fn event_signatures_have_a_source() {
    let unsaid = whole_apps().filter(|app| {
        let docs = app.events.as_ref().map(|events| events.docs.as_ref());
        docs.is_some_and(|docs| docs.is_none_or(|docs| !app.sources.contains(docs)))
    });
    assert_no_errors(&unsaid.map(|app| format!("{}: events.docs is not among sources", app.id)).collect::<Vec<_>>());
}

fn render_page() -> String {
    let mut text = INTRODUCTION.to_owned();
    text += "\nWhere lives are \"none fixed\", the end that a token answer tells counts, if it tells one; limits of the way may say more.\n";
    text += "\n| app | auth methods | refresh token rotation | lifetime: access token, refresh token, unused refresh token, grant | revocation ends | account is read from | sources |\n";
    text += "|---|---|---|---|---|---|---|\n";
    whole_apps().for_each(|app| text += &render_row(&app));
    whole_apps().for_each(|app| text += &render_app(&app));
    text
}

fn render_row(app: &App) -> String {
    let ways: Vec<_> = app.auth_methods().iter().map(|auth_method| auth_method.kind.as_str()).collect();
    let of = |tell: fn(&AuthMethod) -> String| {
        let mut told: Vec<_> = app
            .auth_methods()
            .iter()
            .filter(|auth_method| auth_method.kind.uses_oauth_server())
            .map(|auth_method| tell(auth_method))
            .collect();
        told.dedup();
        if told.is_empty() { "–".to_owned() } else { told.join(" · ") }
    };
    let sources = app.sources.iter().enumerate().map(|(index, url)| format!("[{}]({url})", index + 1));
    format!(
        "| [{}](#{}) | {} | {} | {} | {} | {} | {} |\n",
        app.name,
        heading_anchor(&app.name),
        ways.join(", "),
        of(rotation_text),
        of(lifetimes_text),
        of(|auth_method| revocation_text(auth_method).to_owned()),
        account_text(app),
        sources.collect::<Vec<_>>().join(" ")
    )
}

/// The anchor of a heading, as Markdown renderers make it.
fn heading_anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-');
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

fn rotation_text(auth_method: &AuthMethod) -> String {
    if auth_method.kind != CredentialKind::OAuth2 {
        return "minted anew".to_owned();
    }
    match auth_method.rotation() {
        RefreshTokenRotation::None => "stays".to_owned(),
        RefreshTokenRotation::Reissue => "renewed, the old one works on".to_owned(),
        RefreshTokenRotation::Grace(seconds) => format!("renewed, the old one works {} longer", duration_text(seconds)),
        RefreshTokenRotation::Strict => "single use (assumed)".to_owned(),
    }
}

/// What the definition fixes. If it fixes nothing, a response may still say it: Slack's tokens expire only if the
/// client rotates them.
fn lifetimes_text(auth_method: &AuthMethod) -> String {
    let Some(server) = auth_method.oauth_server() else { return String::new() };
    let all =
        [server.access_token_lifetime, server.refresh_token_lifetime, server.refresh_token_idle, server.grant_lifetime];
    if all.iter().all(Option::is_none) {
        return "none fixed".to_owned();
    }
    all.map(|seconds| seconds.map_or_else(|| "–".to_owned(), duration_text)).join(", ")
}

fn revocation_text(auth_method: &AuthMethod) -> &'static str {
    let Some(server) = auth_method.oauth_server() else { return "" };
    let can = match &server.endpoints {
        connections::app::EndpointSource::Fixed(at) => at.revoke_url.is_some(),
        connections::app::EndpointSource::Issuer(_) => true,
    };
    match (can, server.revoke.style, server.revoke.effect) {
        (false, ..) => "not supported",
        (true, _, RevocationEffect::Grant) => "whole grant",
        (true, RevokeStyle::Bearer, RevocationEffect::Token) => "this token (authenticated with it)",
        (true, _, RevocationEffect::Token) => "this token",
    }
}

fn account_text(app: &App) -> String {
    let mut told: Vec<_> = app.auth_methods().iter().map(|auth_method| auth_method_account_text(auth_method)).collect();
    told.dedup();
    told.join(" · ")
}

fn auth_method_account_text(auth_method: &AuthMethod) -> String {
    let host = |url: String| {
        let host = url.strip_prefix("https://").unwrap_or(&url).split(['?', '#']).next().unwrap_or_default().to_owned();
        format!("`{host}`")
    };
    match (&auth_method.identity, &auth_method.check) {
        (Some(identity), _) => match &identity.probe {
            Some(probe) => host(probe.url.template_text()),
            None => "token answer".to_owned(),
        },
        (None, Some(check)) => format!("unknown; checked at {}", host(check.url.template_text())),
        (None, None) => "unknown".to_owned(),
    }
}

/// A time in the largest unit that fits it.
fn duration_text(seconds: i64) -> String {
    let units = [(365 * 86_400, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let (size, unit) = units.into_iter().find(|(size, _)| seconds % size == 0).unwrap_or((1, "s"));
    format!("{} {unit}", seconds / size)
}

fn render_app(app: &App) -> String {
    let mut text = format!("\n## {}\n\n`{}`", app.name, app.id);
    if let Some(docs) = &app.docs {
        write!(text, " · [documentation]({docs})").unwrap();
    }
    text.push('\n');
    for auth_method in app.auth_methods() {
        text += &render_auth_method(auth_method);
    }
    if let Some(events) = &app.events {
        text += &render_events(events);
    }
    append_list(&mut text, "Unverified", app.unverified.iter().map(String::as_str));
    let (unverified, all) = responses::count_unverified(app);
    let confirmed = match unverified {
        0 => "each of a shape that a page shows".to_owned(),
        some => format!("{some} of them of a shape that no page is known to show"),
    };
    writeln!(text, "\nAnswers in the tests: {all}, {confirmed}.").unwrap();
    text
}

fn render_auth_method(auth_method: &AuthMethod) -> String {
    let name = auth_method.method_name.as_deref().unwrap_or(auth_method.kind.label());
    let mut text = format!("\n**{name}** (`{}`, {})\n", auth_method.method_id, auth_method.kind.as_str());
    if let Some(deprecated) = &auth_method.deprecated {
        write!(text, "\n{deprecated}\n").unwrap();
    }
    let server = auth_method.oauth_server();
    if let Some(help) = server.and_then(|server| server.client_help.as_ref()) {
        let host = Url::parse(&help.url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        write!(text, "\nThe client, at [{host}]({}):\n\n", help.url).unwrap();
        for (index, step) in help.steps.iter().enumerate() {
            writeln!(text, "{}. {step}", index + 1).unwrap();
        }
    }
    let fields = auth_method.fields.iter().filter(|_| auth_method.kind.is_manual()).map(|field| match &field.help {
        Some(help) => format!("{}: {help}", field.label),
        None => field.label.clone(),
    });
    append_list(&mut text, "Entered", fields);
    append_list(
        &mut text,
        "When connecting",
        server.iter().flat_map(|server| &server.connect_help).map(String::as_str),
    );
    if let Some(approval) = server.and_then(|server| server.approval.as_ref()) {
        let codes: Vec<_> = approval.codes.iter().map(|code| format!("`{code}`")).collect();
        let page = approval.url.as_ref().map(|url| format!("[How]({url})."));
        let told =
            [format!("Error codes: {}.", codes.join(", "))].into_iter().chain(approval.steps.clone()).chain(page);
        append_list(&mut text, "An administrator's approval", told);
    }
    append_list(&mut text, "If nothing is shared", auth_method.nothing_shared.iter().map(|shared| &shared.message));
    let grants =
        auth_method.limits.grants_per_account.map(|most| format!("An account may have {most} grants for one client."));
    let limits =
        grants.into_iter().chain(auth_method.limits.one_per_account.clone()).chain(auth_method.limits.notes.clone());
    append_list(&mut text, "Limits", limits);
    text
}

fn render_events(events: &AppEvents) -> String {
    let mut text = match &events.docs {
        Some(docs) => format!("\n[Events]({docs}):\n\n"),
        None => "\nEvents:\n\n".to_owned(),
    };
    let needed = match &events.signature {
        WebhookSignature::HmacSha256(hmac) | WebhookSignature::HmacSha1(hmac) => Some(format!("Key: {}", hmac.secret)),
        WebhookSignature::SharedSecret(shared) => Some(format!("Secret: {}", shared.secret)),
        WebhookSignature::Ed25519(signature) | WebhookSignature::EcdsaP256(signature) => {
            Some(format!("Key: {}", signature.secret))
        }
        WebhookSignature::JwtHs256(jwt) => Some(format!("Secret: {}", jwt.secret)),
        WebhookSignature::Jwt(jwt) => Some(format!("Claims: {}", jwt.claims)),
        WebhookSignature::None => None,
    };
    let mut lines = vec![signature_text(&events.signature)];
    lines.extend(needed);
    lines.extend(events.handshake.as_ref().map(|handshake| format!("At first: {handshake}")));
    if !events.access_ended.is_empty() {
        let names: Vec<_> = events.access_ended.iter().map(|name| format!("`{name}`")).collect();
        lines.push(format!("Access ended: {}.", names.join(", ")));
    }
    for line in lines {
        writeln!(text, "- {line}").unwrap();
    }
    text
}

fn signature_text(signature: &WebhookSignature) -> String {
    let after = |prefix: &Option<String>| prefix.as_ref().map(|text| format!(" after `{text}`")).unwrap_or_default();
    match signature {
        WebhookSignature::HmacSha256(hmac) => hmac_text("HMAC-SHA256", hmac, &after(&hmac.prefix)),
        WebhookSignature::HmacSha1(hmac) => hmac_text("HMAC-SHA1", hmac, &after(&hmac.prefix)),
        WebhookSignature::Ed25519(signature) => hmac_text("Ed25519", signature, &after(&signature.prefix)),
        WebhookSignature::EcdsaP256(signature) => {
            hmac_text("ECDSA on P-256 with SHA-256", signature, &after(&signature.prefix))
        }
        WebhookSignature::SharedSecret(shared) => {
            let header = shared.header.as_ref().map(|name| format!("`{name}`"));
            let query = shared.query.as_ref().map(|name| format!("the parameter `{name}` of the address"));
            let at = shared.at.as_ref().map(|at| format!("`{}` of the body", at.as_str()));
            format!("Shared secret in {}.", header.or(query).or(at).unwrap())
        }
        WebhookSignature::JwtHs256(jwt) => {
            format!("JWT in `{}`{}, signed with a secret (HS256), for the address.", jwt.header, after(&jwt.prefix))
        }
        WebhookSignature::Jwt(jwt) => format!(
            "JWT in `{}`{}, issued by `{}`, keys at `{}`.",
            jwt.header,
            after(&jwt.prefix),
            jwt.issuer,
            jwt.keys
        ),
        WebhookSignature::None => "Nothing tells that a request is the app's.".to_owned(),
    }
}

fn hmac_text(name: &str, hmac: &RequestSignature, after: &str) -> String {
    let encoding = match hmac.encoding {
        SignatureEncoding::Hex => "hex",
        SignatureEncoding::Base64 => "Base64",
    };
    let part = hmac.parts.as_ref().map(|parts| format!(", part `{}`", parts.signature)).unwrap_or_default();
    let mut line = format!("{name} of `{}` in `{}`{part}{after}, {encoding}.", hmac.signed, hmac.header);
    let part = hmac.parts.as_ref().and_then(|parts| parts.timestamp.as_ref()).map(|name| format!("part `{name}`"));
    let header = hmac.timestamp_header.as_ref().map(|name| format!("`{name}`"));
    let body = hmac.timestamp_at.as_ref().map(|at| format!("`{}` of the body", at.as_str()));
    if let (Some(place), Some(format)) = (part.or(header).or(body), hmac.timestamp_format) {
        let unit = match format {
            TimestampFormat::Seconds => "seconds",
            TimestampFormat::Milliseconds => "milliseconds",
            TimestampFormat::Rfc3339 => "RFC 3339",
        };
        let near = hmac.tolerance.map(|most| format!(", within {} of now", duration_text(most))).unwrap_or_default();
        write!(line, " Timestamp: {place}, {unit}{near}.").unwrap();
    }
    line
}

fn append_list(text: &mut String, title: &str, items: impl Iterator<Item = impl AsRef<str>>) {
    let items: Vec<_> = items.map(|item| format!("- {}\n", item.as_ref())).collect();
    if !items.is_empty() {
        write!(text, "\n{title}:\n\n{}", items.concat()).unwrap();
    }
}
