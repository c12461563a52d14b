//! Points in time, as Unix seconds in storage and RFC 3339 in JSON.
//!
//! Owns the one conversion between the two. Refuses to know what time it is: that is `ports::Clock`.

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in whole Unix seconds. JSON shows it as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last second RFC 3339 can write: 9999-12-31T23:59:59Z. Nothing here lives longer.
const LATEST: i64 = 253_402_300_799;

/// Unix times that are read from a number, in seconds: of ten digits. With three more they are milliseconds.
const EARLIEST_UNIX_TIME: i64 = 1_000_000_000;
const LATEST_UNIX_TIME: i64 = 10_000_000_000;

impl Timestamp {
    /// From Unix seconds, held within years 1970 to 9999.
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(0, LATEST))
    }

    /// Unix seconds.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// This time moved by so many seconds (negative: earlier).
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self::from_unix(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time; negative when this is the earlier one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Reads RFC 3339; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|time| Self::from_unix(time.timestamp()))
    }

    /// Reads a point in time as programs keep it: a Unix time in seconds or milliseconds, RFC 3339, an ISO 8601 date with or
    /// without a time, RFC 5322, or milliseconds as .NET writes them. What names no zone is UTC. A number that is no time from
    /// 2001 to 2286 is `None`.
    pub fn parse_lenient(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("/Date(").and_then(|text| text.strip_suffix(")/")).unwrap_or(text);
        let whole = text.split_once('.').map_or(Some(text), |(whole, part)| {
            (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit())).then_some(whole)
        });
        if let Some(number) = whole.and_then(|whole| whole.parse::<i64>().ok()) {
            return match number {
                EARLIEST_UNIX_TIME..LATEST_UNIX_TIME => Some(Self::from_unix(number)),
                _ if (EARLIEST_UNIX_TIME * 1000..LATEST_UNIX_TIME * 1000).contains(&number) => {
                    Some(Self::from_unix(number / 1000))
                }
                _ => None,
            };
        }
        let named = [" UTC", " GMT", "UTC", " Z"].iter().find_map(|zone| text.strip_suffix(zone));
        let iso = named.map_or_else(|| text.to_owned(), |text| format!("{text}Z")).replacen(' ', "T", 1);
        let zoned = ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%dT%H:%M%#z", "%Y%m%dT%H%M%S%#z"];
        let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y%m%dT%H%M%S"];
        let zoned = || zoned.iter().find_map(|format| DateTime::parse_from_str(&iso, format).ok());
        let plain = || plain.iter().find_map(|format| NaiveDateTime::parse_from_str(&iso, format).ok());
        let date = || NaiveDate::parse_from_str(&iso, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
        let header = || DateTime::parse_from_rfc2822(text).ok();
        Self::parse(&iso)
            .or_else(|| header().map(|time| Self::from_unix(time.timestamp())))
            .or_else(|| zoned().map(|time| Self::from_unix(time.timestamp())))
            .or_else(|| plain().or_else(date).map(|time| Self::from_unix(time.and_utc().timestamp())))
    }

    /// RFC 3339 in UTC, to the second: `2026-11-22T12:00:00Z`.
    pub fn rfc3339(self) -> String {
        DateTime::<Utc>::from_timestamp(self.0, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom("expected a time like 2026-11-22T12:00:00Z (RFC 3339)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_parses_rfc_3339() {
        let time = Timestamp::from_unix(1_795_348_800);
        assert_eq!(time.rfc3339(), "2026-11-22T12:00:00Z");
        assert_eq!(Timestamp::parse("2026-11-22T13:00:00+01:00"), Some(time));
        assert_eq!(Timestamp::parse("tomorrow"), None);
    }

    #[test]
    fn parses_times_in_the_formats_of_other_programs() {
        for text in [
            "1795348800",
            "1795348800000",
            "1795348800.25",
            "1795348800123",
            "2026-11-22T12:00:00Z",
            "2026-11-22 12:00:00+00:00",
            "2026-11-22T12:00:00.123456",
            "2026-11-22T13:00:00+0100",
            "2026-11-22T12:00",
            "20261122T120000Z",
            "2026-11-22 12:00:00 UTC",
            "2026-11-22T12:00:00 Z",
            "Sun, 22 Nov 2026 12:00:00 GMT",
            "Sun, 22 Nov 2026 13:00:00 +0100",
            "/Date(1795348800000)/",
            " 2026-11-22 12:00:00\n",
        ] {
            assert_eq!(Timestamp::parse_lenient(text), Some(Timestamp::from_unix(1_795_348_800)), "{text}");
        }
        assert_eq!(Timestamp::parse_lenient("2026-11-22").unwrap().rfc3339(), "2026-11-22T00:00:00Z");
        for text in ["", "0", "3600", "-1795348800", "20261122", "1795348800000000", "1.", "tomorrow", "22.11.2026"] {
            assert_eq!(Timestamp::parse_lenient(text), None, "{text}");
        }
    }

    #[test]
    fn stays_within_the_range_of_rfc_3339() {
        assert_eq!(Timestamp::from_unix(i64::MAX).rfc3339(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_unix(1).plus(i64::MIN).unix(), 0);
    }
}
