//! Points in time, as Unix seconds in storage and RFC 3339 in JSON.
//!
//! Owns the one conversion between the two. Refuses to know what time it is: that is `ports::Clock`.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time, in whole Unix seconds. JSON shows it as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The last second RFC 3339 can write: 9999-12-31T23:59:59Z. Nothing here lives longer.
const LATEST: i64 = 253_402_300_799;

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
    fn shows_and_reads_rfc_3339() {
        let time = Timestamp::from_unix(1_795_348_800);
        assert_eq!(time.rfc3339(), "2026-11-22T12:00:00Z");
        assert_eq!(Timestamp::parse("2026-11-22T13:00:00+01:00"), Some(time));
        assert_eq!(Timestamp::parse("tomorrow"), None);
    }

    #[test]
    fn never_leaves_what_rfc_3339_can_write() {
        assert_eq!(Timestamp::from_unix(i64::MAX).rfc3339(), "9999-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_unix(1).plus(i64::MIN).unix(), 0);
    }
}
