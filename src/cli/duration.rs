//! Spans of time as people write them: `10m`, `7d`, `1h30m`.

/// The units, in ms.
const UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// Reads a span, in ms.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_ms(text: &str) -> Result<u64, String> {
    read(text.trim()).ok_or_else(|| {
        format!(
            "{text:?} is no span of time: give a number with a unit, such as 30s, 10m, 12h or 7d"
        )
    })
}

/// Reads a retention time, in ms: a span, or `-1` or `forever`, which are -1.
///
/// # Errors
/// A sentence for the user.
pub(crate) fn parse_retention_ms(text: &str) -> Result<i64, String> {
    if matches!(text.trim(), "-1" | "forever") {
        return Ok(-1);
    }
    let ms = parse_ms(text).map_err(|error| format!("{error}, or forever"))?;
    i64::try_from(ms).map_err(|_| format!("{text:?} is too long"))
}

/// As people write it, to the two greatest units: `2d3h`, `1m`, `250ms`.
pub(crate) fn show_ms(ms: u64) -> String {
    let (mut rest, mut shown, mut count) = (ms, String::new(), 0);
    for (name, unit_ms) in UNITS.iter().rev() {
        let number = rest / unit_ms;
        if number > 0 && count < 2 {
            shown.push_str(&format!("{number}{name}"));
            count += 1;
        } else if count > 0 {
            break;
        }
        rest %= unit_ms;
    }
    if shown.is_empty() { "0s".to_owned() } else { shown }
}

/// The same without thousandths from a second on, for what has grown since.
pub(crate) fn show_age_ms(ms: u64) -> String {
    show_ms(if ms < 1_000 { ms } else { ms - ms % 1_000 })
}

fn read(mut text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    if text.is_empty() {
        return None;
    }
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, rest) = text.split_at(digits);
        let unit_end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit_end);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*ms)?)?;
        text = rest;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, ms) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("10m", 600_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_ms(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_short() {
        for (ms, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1_000, "1s"),
            (1_250, "1s250ms"),
            (61_250, "1m1s"),
            (3_600_250, "1h"),
            (183_600_000, "2d3h"),
            (604_800_000, "1w"),
        ] {
            assert_eq!(show_ms(ms), text, "{ms}");
        }
        assert_eq!((show_age_ms(999), show_age_ms(4_144)), ("999ms".to_owned(), "4s".to_owned()));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "7", "d", "7 d", "-7d", "7days", "1.5h", "99999999999999999999d"] {
            let error = parse_ms(text).expect_err(text);
            assert!(error.starts_with(&format!("{text:?} is no span of time")), "{error}");
        }
    }

    #[test]
    fn retention_may_have_no_end() {
        assert_eq!(parse_retention_ms("forever"), Ok(-1));
        assert_eq!(parse_retention_ms("-1"), Ok(-1));
        assert_eq!(parse_retention_ms("365d"), Ok(31_536_000_000));
        assert!(parse_retention_ms("-2").is_err());
    }
}
