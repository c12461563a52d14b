//! When a delivery that has failed is tried again, and when a webhook that fails is left alone.
//!
//! Pure: the time and the randomness are arguments.

use crate::time::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The pauses after the first, second, … failed attempt, in seconds. Together three days.
pub const PAUSES: [i64; 9] = [MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 14 * HOUR, DAY, DAY];
/// A pause is longer by up to one part in this many.
const JITTER: i64 = 10;
/// Seconds that every attempt of a webhook has to fail before it is switched off: five days.
pub const FAILING_FOR: i64 = 5 * DAY;
/// The longest pause of a webhook whose receiver does not work, in seconds.
const LONGEST_WEBHOOK_PAUSE: i64 = HOUR;
/// Most seconds that a receiver may ask to wait.
pub const LONGEST_RETRY_AFTER: i64 = DAY;

/// When a delivery is tried again after so many failed attempts; `random` is any number. None: not any more.
pub fn next_attempt_at(tries: i64, now: Timestamp, retry_after: Option<i64>, random: u64) -> Option<Timestamp> {
    let pause = *PAUSES.get(usize::try_from(tries - 1).ok()?)?;
    let jitter = i64::try_from(random % u64::try_from(pause / JITTER + 1).unwrap_or(1)).unwrap_or(0);
    let asked = retry_after.unwrap_or(0).clamp(0, LONGEST_RETRY_AFTER);
    Some(now.plus((pause + jitter).max(asked)))
}

/// Until when nothing is sent to a webhook after so many failures in a row: one receiver that hangs takes no more than one
/// request in a while.
pub fn paused_until(failures: i64, now: Timestamp, retry_after: Option<i64>) -> Timestamp {
    let pause = MINUTE.saturating_mul(failures.clamp(0, 100)).min(LONGEST_WEBHOOK_PAUSE);
    now.plus(pause.max(retry_after.unwrap_or(0).clamp(0, LONGEST_RETRY_AFTER)))
}

/// Whether a webhook that has failed since then is switched off.
pub fn has_failed_too_long(failing_since: Timestamp, now: Timestamp) -> bool {
    now.since(failing_since) >= FAILING_FOR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_after_three_days() {
        let start = Timestamp::from_unix(1_000_000);
        for random in [0, 7, u64::MAX] {
            let (mut now, mut tries, mut last) = (start, 0, 0);
            while let Some(next) = next_attempt_at(tries + 1, now, None, random) {
                let pause = next.since(now);
                let longest = PAUSES[usize::try_from(tries).unwrap()];
                assert!((longest..=longest + longest / JITTER).contains(&pause), "{tries}: {pause}");
                assert!(pause >= last, "{tries}");
                (now, tries, last) = (next, tries + 1, longest);
            }
            assert_eq!(tries, 9);
            assert!((3 * DAY..=4 * DAY).contains(&now.since(start)), "{}", now.since(start));
        }
        assert_eq!(next_attempt_at(10, start, None, 0), None);
        assert_eq!(next_attempt_at(0, start, None, 0), None);
    }

    #[test]
    fn a_receiver_is_given_the_time_that_it_asks_for_up_to_a_day() {
        let now = Timestamp::from_unix(0);
        assert_eq!(next_attempt_at(1, now, Some(1_000), 0), Some(now.plus(1_000)));
        assert_eq!(next_attempt_at(1, now, Some(10 * DAY), 0), Some(now.plus(DAY)));
        assert_eq!(next_attempt_at(1, now, Some(-5), 0), Some(now.plus(MINUTE)));
        assert_eq!(paused_until(3, now, None), now.plus(3 * MINUTE));
        assert_eq!(paused_until(1_000_000, now, None), now.plus(HOUR));
    }
}
