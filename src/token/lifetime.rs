//! How long a token lives, as an answer tells it or as the token says itself.
//!
//! Owns the forms in which a life is told: a number or a text, in a unit, a duration, or the end as a point in time. Refuses an end that
//! does not lie ahead, and to believe more than ten years.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::app::LifetimeUnit;
use crate::json::tolerant;
use crate::time::Timestamp;

/// The longest life believed: ten years, in seconds.
pub(super) const LONGEST: i64 = 10 * 365 * 86_400;

/// The life of a token that can be made anew at any time, where nobody says how long it lives: a quarter of an hour, in seconds.
pub(super) const ASSUMED: i64 = 900;

/// From here on a number is a Unix time in seconds (2001), and from there one in milliseconds: as a life in seconds it would be
/// over 31 years.
const UNIX_SECONDS: i64 = 1_000_000_000;
const UNIX_MILLISECONDS: i64 = 1_000_000_000_000;

/// A positive number of whole seconds, from a number or a text that holds one.
pub(super) fn seconds(value: &Value) -> Option<i64> {
    whole(number(value)?)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    }
}

/// Printed and read again: Rust has no checked conversion from a float. At most thirteen digits.
fn whole(number: f64) -> Option<i64> {
    let whole = number.clamp(0.0, 9_999_999_999_999.0).trunc();
    format!("{whole:.0}").parse().ok().filter(|seconds| *seconds > 0 && number.is_finite())
}

/// The end of a life that is told in this unit. A number that can't be a life is a Unix time, and a date is a date.
pub(super) fn end(value: &Value, unit: LifetimeUnit, asked_at: Timestamp) -> Option<Timestamp> {
    let Some(number) = number(value) else {
        let after = |seconds: i64| asked_at.plus(seconds.min(LONGEST));
        return duration(value).map(after).or_else(|| point(value, asked_at));
    };
    let told = whole(number)?;
    // A life in milliseconds may have as many digits as a time in seconds.
    let first_time = if unit == LifetimeUnit::Milliseconds { UNIX_MILLISECONDS } else { UNIX_SECONDS };
    if told >= first_time {
        return point(&Value::from(told), asked_at);
    }
    let seconds = match unit {
        LifetimeUnit::Milliseconds => whole(number / 1000.0)?,
        LifetimeUnit::Seconds => told,
        LifetimeUnit::Minutes => whole(number * 60.0)?,
    };
    Some(asked_at.plus(seconds.min(LONGEST)))
}

/// A life that names its own units: `3600s` or `2 hours`; `PT2H` (ISO 8601), without months and years, whose lengths differ;
/// `02:00:00` or `1.02:00:00`, as .NET writes days and hours.
fn duration(value: &Value) -> Option<i64> {
    let text = value.as_str()?.trim();
    let seconds = in_words(text).or_else(|| iso_duration(text)).or_else(|| clock(text))?;
    whole(seconds)
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

/// An end that lies ahead: in Unix seconds, in milliseconds, or as a date. One that names no zone is UTC.
pub(super) fn point(value: &Value, asked_at: Timestamp) -> Option<Timestamp> {
    const MILLISECONDS: i64 = 100_000_000_000;
    let written = || value.as_str().filter(|text| text.trim().parse::<f64>().is_err()).and_then(Timestamp::read);
    let counted = || match seconds(value)? {
        number if number >= MILLISECONDS => Some(Timestamp::from_unix(number / 1000)),
        number => Some(Timestamp::from_unix(number)),
    };
    let end = written().or_else(counted)?;
    (end > asked_at).then(|| end.min(asked_at.plus(LONGEST)))
}

/// When a token ends at the latest, where it is a JWT that says so (RFC 7519 4.1.4). It may be ended before.
pub(super) fn of_jwt(token: &str, asked_at: Timestamp) -> Option<Timestamp> {
    let mut parts = token.split('.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let decoded = |part: &str| tolerant::parse(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?);
    decoded(header)?.get("alg")?;
    decoded(claims)?.get("exp").filter(|exp| exp.is_number()).and_then(|exp| point(exp, asked_at))
}
