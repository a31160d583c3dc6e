//! Wall clock times as people write them, in UTC: `2026-11-21T08:30:00.250Z`, or a span ago.

use super::duration;
use crate::types::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Reads what `--since` takes: a span before `now`, or a date with perhaps a time of day in UTC.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ms) = duration::parse_ms(text) {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        return Ok(Timestamp(now.0.saturating_sub(ms).max(0)));
    }
    read(text.trim()).ok_or_else(|| {
        format!("{text:?} is no time: give a span such as 10m, or a UTC time such as 2026-11-21T08:30:00Z")
    })
}

/// `2026-11-21`, then perhaps `T` or a blank and `08:30`, `:00`, `.250`, then perhaps `Z`.
fn read(text: &str) -> Option<Timestamp> {
    let (date, time) = match text.split_once(['T', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-')?;
    let is_date = (1970..=9999).contains(&year) && (1..=12).contains(&month);
    if !is_date || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    let mut ms = days_before(year, month, day) * DAY_MS;
    if let Some(time) = time {
        let time = time.strip_suffix('Z').unwrap_or(time);
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        let [hour, minute, second] =
            numbers(time, ':').or_else(|| numbers(&format!("{time}:00"), ':'))?;
        if hour > 23 || minute > 59 || second > 59 || !(1..=9).contains(&fraction.len()) {
            return None;
        }
        let thousandths: String = format!("{fraction}00").chars().take(3).collect();
        let thousandths = numbers::<1>(&thousandths, '.')?[0];
        ms += ((hour * 60 + minute) * 60 + second) * 1_000 + thousandths;
    }
    Some(Timestamp(ms))
}

/// As people write it: `2026-11-21T08:30:00.250Z`.
pub(crate) fn show(time: Timestamp) -> String {
    let (days, ms) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
    let (year, month, day) = date_of(days);
    let (seconds, thousandths) = (ms / 1_000, ms % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{thousandths:03}Z")
}

/// The date so many days after 1970-01-01, see [`days_before`].
fn date_of(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(366);
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days_before(year, month + 1, 1) <= days {
        month += 1;
    }
    (year, month, days - days_before(year, month, 1) + 1)
}

/// Exactly `N` numbers, digits only.
fn numbers<const N: usize>(text: &str, between: char) -> Option<[i64; N]> {
    let number = |part: &str| {
        let is_number = !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        is_number.then(|| part.parse().ok()).flatten()
    };
    let numbers: Vec<i64> = text.split(between).map(number).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days_before(next_year, next_month, 1) - days_before(year, month, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_utc() {
        for (text, ms) in [
            ("1970-01-01", 0),
            ("2000-02-29T00:00Z", 951_782_400_000),
            ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
            ("2099-12-31T23:59:59.999", 4_102_444_799_999),
        ] {
            assert_eq!(read(text), Some(Timestamp(ms)), "{text}");
        }
    }

    #[test]
    fn every_day_of_two_centuries_comes_after_the_one_before() {
        let mut days = 0;
        for year in 1970..2170 {
            for month in 1..=12 {
                for day in 1..=days_in(year, month) {
                    assert_eq!(days_before(year, month, day), days, "{year}-{month}-{day}");
                    days += 1;
                }
            }
        }
    }

    #[test]
    fn since_takes_spans_and_times() {
        let now = Timestamp(1_700_000_000_000);
        assert_eq!(parse_since("10m", now), Ok(Timestamp(1_699_999_400_000)));
        assert_eq!(parse_since("2023-11-14", now), Ok(Timestamp(1_699_920_000_000)));
        assert_eq!(parse_since("2023-11-14T22:13:20.1Z", now), Ok(Timestamp(1_700_000_000_100)));
        assert_eq!(parse_since("2023-11-14 22:13", now), Ok(Timestamp(1_699_999_980_000)));
        for text in ["yesterday", "2023-02-29", "2023-13-01", "2023-11-14T24:00", "10", "1-2-3-4"] {
            assert!(parse_since(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for ms in [0, 1, 951_782_400_000, 1_709_251_199_999, 1_700_000_000_000, 4_102_444_799_999] {
            let text = show(Timestamp(ms));
            assert_eq!(read(&text), Some(Timestamp(ms)), "{text}");
        }
        assert_eq!(show(Timestamp(1_709_164_800_000)), "2024-02-29T00:00:00.000Z");
    }
}
