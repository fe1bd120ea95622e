//! Times as people read them. No library is used: the calendar is a page of arithmetic, and a library's tables of time zones
//! would be larger than the whole application.

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long ago a time was, in words. None from a week on: then a date says more.
pub fn age(millis: u64, now_ms: u64) -> Option<String> {
    // A clock that is a little ahead is no reason to speak of the future.
    let millis = now_ms.saturating_sub(millis);
    match millis / 1000 {
        0..MINUTE => Some("just now".to_owned()),
        MINUTE..604_800 => Some(format!("{} ago", duration(millis))),
        _ => None,
    }
}

/// A length of time in whole days, hours or minutes: the largest unit of which it has at least one. Below a minute, 0 min.
pub fn duration(millis: u64) -> String {
    match millis / 1000 {
        seconds @ ..HOUR => format!("{} min", seconds / MINUTE),
        seconds @ HOUR..DAY => format!("{} h", seconds / HOUR),
        seconds => format!("{} d", seconds / DAY),
    }
}

/// Date and time in UTC for machines: `2026-11-22T21:20:05Z` (RFC 3339).
pub fn iso_time(millis: u64) -> String {
    let ((year, month, day), seconds) = split(millis);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Date and time in UTC for people: `2026-11-22 21:20`.
pub fn readable_time(millis: u64) -> String {
    let ((year, month, day), seconds) = split(millis);
    let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// The date, and the seconds of the day.
fn split(millis: u64) -> ((u64, u64, u64), u64) {
    let seconds = millis / 1000;
    (date(seconds / 86_400), seconds % 86_400)
}

/// The date of a day counted from 1970-01-01: Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `civil_from_days`,
/// for days from 1970 on.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |millis, expected| assert_eq!(iso_time(millis), expected);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_399_999, "2000-02-28T23:59:59Z");
        check(951_782_400_000, "2000-02-29T00:00:00Z");
        check(1_709_251_199_000, "2024-02-29T23:59:59Z");
        check(4_107_542_400_000, "2100-03-01T00:00:00Z");
        assert_eq!(readable_time(1_764_000_000_000), "2025-11-24 16:00");
    }

    #[test]
    fn ages() {
        let check = |seconds: u64, expected: Option<&str>| {
            assert_eq!(age(1_000_000, 1_000_000 + seconds * 1000).as_deref(), expected);
        };
        check(0, Some("just now"));
        check(59, Some("just now"));
        check(60, Some("1 min ago"));
        check(3 * 3600 + 5, Some("3 h ago"));
        check(86_400, Some("1 d ago"));
        check(7 * 86_400, None);
        assert_eq!(age(5000, 0).as_deref(), Some("just now"));
    }
}
