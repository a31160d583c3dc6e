//! Times as envelopes have them: RFC 3339 text, or numbers.

use serde_json::Value;

use crate::types::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Numbers below it are seconds: as ms they would lie before March 1973.
const SECONDS_BELOW: f64 = 1e11;

/// `2026-01-31T23:59:59.123Z`; times outside the years 0 to 9999 are their ends.
pub fn format(time: Timestamp) -> String {
    let (first, last) = (day_number(0, 1, 1) * DAY_MS, day_number(10_000, 1, 1) * DAY_MS - 1);
    let time = time.0.clamp(first, last);
    let (year, month, day) = date(time.div_euclid(DAY_MS));
    let ms = time.rem_euclid(DAY_MS);
    let (hour, minute) = (ms / 3_600_000, ms / 60_000 % 60);
    let (second, ms) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// A time as RFC 3339 has it, also with a space for the `T`; without a zone it is UTC, as Python's `isoformat`
/// leaves it. What is finer than ms is cut off.
pub fn parse(text: &str) -> Option<Timestamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let clock = rest.strip_prefix(['T', 't', ' '])?;
    let (year, month, day) = (digits(date, 0, 4)?, digits(date, 5, 2)?, digits(date, 8, 2)?);
    let (hour, minute, second) = (digits(clock, 0, 2)?, digits(clock, 3, 2)?, digits(clock, 6, 2)?);
    let marks = (date.get(4..5)?, date.get(7..8)?, clock.get(2..3)?, clock.get(5..6)?);
    let in_range = (1..=12).contains(&month) && hour <= 23 && minute <= 59 && second <= 60;
    if marks != ("-", "-", ":", ":")
        || !in_range
        || self::date(day_number(year, month, day)).2 != day
    {
        return None;
    }
    let (fraction_ms, zone) = fraction(clock.get(8..)?)?;
    let seconds = hour * 3600 + minute * 60 + second - offset_minutes(zone)? * 60;
    Some(Timestamp(day_number(year, month, day) * DAY_MS + seconds * 1000 + fraction_ms))
}

/// A time in JSON: text as [`parse`] has it, ms since 1970, or seconds where the number is that small.
pub fn from_json(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse(text).or_else(|| text.parse().ok().and_then(of_number)),
        Value::Number(number) => of_number(number.as_f64()?),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// ms since 1970, or seconds where the number is that small.
fn of_number(number: f64) -> Option<Timestamp> {
    let seconds = if number < SECONDS_BELOW { number } else { number / 1000.0 };
    let since = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    // Half a ms more, since a quotient may lie a little below what was divided.
    i64::try_from((since.as_micros() + 500) / 1000).ok().map(Timestamp)
}

fn digits(text: &str, from: usize, count: usize) -> Option<i64> {
    let part = text.get(from..from + count)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
}

/// What follows the seconds: ms, and the zone's text.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix(['.', ',']) else { return Some((0, text)) };
    let count = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (figures, zone) = rest.split_at(count);
    let ms = format!("{figures:0<3}");
    (count > 0).then(|| digits(&ms, 0, 3)).flatten().map(|ms| (ms, zone))
}

fn offset_minutes(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone.as_bytes().first() {
        None | Some(b'Z' | b'z') => return (zone.len() <= 1).then_some(0),
        Some(b'+') => (1, &zone[1..]),
        Some(b'-') => (-1, &zone[1..]),
        Some(_) => return None,
    };
    let minutes = match rest.len() {
        2 => 0,
        4 => digits(rest, 2, 2)?,
        5 if rest.get(2..3)? == ":" => digits(rest, 3, 2)?,
        _ => return None,
    };
    Some(sign * (digits(rest, 0, 2)? * 60 + minutes))
}

/// Days since 1970-01-01 in the Gregorian calendar.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March: the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    cycle * 146_097 + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + of_year - 719_468
}

/// Year, month and day of such a day.
fn date(day_number: i64) -> (i64, i64, i64) {
    let days = day_number + 719_468;
    let (cycle, of_cycle) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let leaps = of_cycle / 1460 - of_cycle / 36_524 + of_cycle / 146_096;
    let year_of_cycle = (of_cycle - leaps) / 365;
    let of_year = of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = cycle * 400 + year_of_cycle + i64::from(month <= 2);
    (year, month, day)
}
