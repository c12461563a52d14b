//! Formats requests for reading: one line for each parameter, without percent encoding, with user name and password of
//! HTTP Basic decoded.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use connections::app::PreparedRequest;
use connections::ports::OutboundRequest;
use url::{Url, form_urlencoded};

/// A request to be sent.
pub(crate) fn format_request(request: &OutboundRequest) -> String {
    let method = request.method.as_str();
    let mut text = format!("{method} {}", format_url(request.url.as_str()));
    let headers = request.headers.iter().filter(|(name, _)| name != "user-agent");
    text += &format_pairs(headers.map(|(name, value)| (name.as_str(), value.as_str())), format_header);
    let is_form = request.headers.iter().any(|(_, value)| value == "application/x-www-form-urlencoded");
    match &request.body {
        None => {}
        Some(body) if is_form => {
            for (name, value) in form_urlencoded::parse(body.as_bytes()) {
                writeln!(text, "  {name} = {value}").unwrap();
            }
        }
        Some(body) => {
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            let pretty = serde_json::to_string_pretty(&json).unwrap();
            pretty.lines().for_each(|line| writeln!(text, "  {line}").unwrap());
        }
    }
    text
}

/// An address, and below it its parameters.
pub(crate) fn format_url(text: &str) -> String {
    let mut url = Url::parse(text).unwrap();
    let query: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    url.set_query(None);
    let params = query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    format!("{url}\n{}", format_pairs(params, |name, value| format!("? {name} = {value}")))
}

/// What a resolve says about sending a request.
pub(crate) fn format_prepared_request(dressed: &PreparedRequest) -> String {
    let base = dressed.base_url.as_deref().unwrap_or("(no base address)");
    let pairs = |map: &std::collections::BTreeMap<String, String>, line: fn(&str, &str) -> String| {
        format_pairs(map.iter().map(|(name, value)| (name.as_str(), value.as_str())), line)
    };
    let headers = pairs(&dressed.headers, format_header);
    format!("{base}\n{}{headers}", pairs(&dressed.query, |name, value| format!("? {name} = {value}")))
}

fn format_header(name: &str, value: &str) -> String {
    let pair = value.strip_prefix("Basic ").map(|pair| String::from_utf8(STANDARD.decode(pair).unwrap()).unwrap());
    match pair {
        Some(pair) => format!("{name}: Basic base64({pair})"),
        None => format!("{name}: {value}"),
    }
}

fn format_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, line: impl Fn(&str, &str) -> String) -> String {
    pairs.fold(String::new(), |text, (name, value)| text + "  " + &line(name, value) + "\n")
}
