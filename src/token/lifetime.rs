//! The lifetime of a token, from a response or from the token itself.
//!
//! Owns the formats of a lifetime: a number or a text, in a unit, a duration, or the expiry as a point in time. Ignores
//! an expiry that is not in the future, and limits all to ten years.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::app::LifetimeUnit;
use crate::json::tolerant;
use crate::time::Timestamp;

/// The longest accepted lifetime: ten years, in seconds.
pub(super) const MAX_LIFETIME: i64 = 10 * 365 * 86_400;

/// The assumed lifetime of a token that can be issued again at any time, if none is returned: 15 minutes, in seconds.
pub(super) const ASSUMED_LIFETIME: i64 = 900;

/// From here on a number is a Unix time in seconds (2001), and from the next value one in milliseconds. As a lifetime
/// in seconds it would be more than 31 years.
const FIRST_UNIX_SECONDS: i64 = 1_000_000_000;
const FIRST_UNIX_MILLISECONDS: i64 = 1_000_000_000_000;

/// A positive number of whole seconds, from a number or a text.
pub(super) fn parse_seconds(value: &Value) -> Option<i64> {
    whole_seconds(parse_number(value)?)
}

fn parse_number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    }
}

/// Formatted and parsed, because Rust has no checked conversion from a float. At most thirteen digits.
fn whole_seconds(number: f64) -> Option<i64> {
    let whole = number.clamp(0.0, 9_999_999_999_999.0).trunc();
    format!("{whole:.0}").parse().ok().filter(|seconds| *seconds > 0 && number.is_finite())
}

/// The expiry for a lifetime in this unit. A number that is too large is a Unix time, and a date is a date.
pub(super) fn parse_expiry(value: &Value, unit: LifetimeUnit, asked_at: Timestamp) -> Option<Timestamp> {
    let Some(number) = parse_number(value) else {
        let after = |seconds: i64| asked_at.plus(seconds.min(MAX_LIFETIME));
        return duration(value).map(after).or_else(|| parse_end_time(value, asked_at));
    };
    let told = whole_seconds(number)?;
    // A lifetime in milliseconds may have as many digits as a time in seconds.
    let first_time = if unit == LifetimeUnit::Milliseconds { FIRST_UNIX_MILLISECONDS } else { FIRST_UNIX_SECONDS };
    if told >= first_time {
        return parse_end_time(&Value::from(told), asked_at);
    }
    let seconds = match unit {
        LifetimeUnit::Milliseconds => whole_seconds(number / 1000.0)?,
        LifetimeUnit::Seconds => told,
        LifetimeUnit::Minutes => whole_seconds(number * 60.0)?,
    };
    Some(asked_at.plus(seconds.min(MAX_LIFETIME)))
}

/// A lifetime with units: `3600s` or `2 hours`; `PT2H` (ISO 8601), without months and years, whose lengths differ;
/// `02:00:00` or `1.02:00:00`, the .NET format with days.
fn duration(value: &Value) -> Option<i64> {
    let text = value.as_str()?.trim();
    let seconds = in_words(text).or_else(|| iso_duration(text)).or_else(|| clock(text))?;
    whole_seconds(seconds)
}

fn in_words(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| c.is_ascii_alphabetic())?)?;
    let seconds = match unit.to_ascii_lowercase().as_str() {
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Some(number.trim().parse::<f64>().ok()? * seconds)
}

fn iso_duration(text: &str) -> Option<f64> {
    let (days, time) = text.strip_prefix('P')?.split_once('T').unwrap_or((text.strip_prefix('P')?, ""));
    let sum = |text: &str, units: &[(char, f64)]| {
        let (mut sum, mut rest) = (0.0, text);
        while !rest.is_empty() {
            let (number, unit) = rest.split_at_checked(rest.find(|c: char| c.is_ascii_alphabetic())?)?;
            let (_, seconds) = units.iter().find(|(known, _)| unit.starts_with(*known))?;
            sum += number.parse::<f64>().ok()? * seconds;
            rest = unit.get(1..)?;
        }
        Some(sum)
    };
    Some(sum(days, &[('W', 604_800.0), ('D', 86_400.0)])? + sum(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?)
}

fn clock(text: &str) -> Option<f64> {
    let mut parts = text.split(':');
    let (first, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || minutes.len() != 2 {
        return None;
    }
    let (days, hours) = first.split_once('.').unwrap_or(("0", first));
    let number = |text: &str| text.parse::<u32>().ok().map(f64::from);
    let seconds = seconds.parse::<f64>().ok()?;
    Some(number(days)? * 86_400.0 + number(hours)? * 3600.0 + number(minutes)? * 60.0 + seconds)
}

/// An expiry in the future: in Unix seconds, in milliseconds, or as a date. Without a zone it is UTC.
pub(super) fn parse_end_time(value: &Value, asked_at: Timestamp) -> Option<Timestamp> {
    const MILLISECONDS: i64 = 100_000_000_000;
    let written =
        || value.as_str().filter(|text| text.trim().parse::<f64>().is_err()).and_then(Timestamp::parse_lenient);
    let counted = || match parse_seconds(value)? {
        number if number >= MILLISECONDS => Some(Timestamp::from_unix(number / 1000)),
        number => Some(Timestamp::from_unix(number)),
    };
    let end = written().or_else(counted)?;
    (end > asked_at).then(|| end.min(asked_at.plus(MAX_LIFETIME)))
}

/// The latest expiry of a token that is a JWT with `exp` (RFC 7519 4.1.4). The token may be revoked earlier.
pub(super) fn read_jwt_expiry(token: &str, asked_at: Timestamp) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let decoded = |part: &str| tolerant::parse(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?);
    decoded(header)?.get("alg")?;
    decoded(claims)?.get("exp").filter(|exp| exp.is_number()).and_then(|exp| parse_end_time(exp, asked_at))
}
