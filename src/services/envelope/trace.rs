//! W3C Trace Context: `00-TRACE-SPAN-FLAGS`, 32, 16 and 2 hexadecimal figures.
//! Spans are derived from what they are of, so that a second try is the same span.

use crate::services::ids;

/// The traceparent if it is valid.
pub fn valid(text: &str) -> Option<&str> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths = (version.len(), trace.len(), span.len(), flags.len());
    let hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    let is_whole = lengths == (2, 32, 16, 2) && [version, trace, span, flags].into_iter().all(hex);
    // Version 00 has four parts, later ones may have more; ff is none.
    let is_known = version != "ff" && (version != "00" || parts.next().is_none());
    (is_whole && is_known && !zero(trace) && !zero(span)).then_some(text)
}

/// The traceparent of an event that follows from another: that one's trace, or where it has none a trace that all
/// events of the correlation share.
pub fn child(parent: Option<&str>, correlation_id: &str, event_id: &str) -> String {
    let span = ids::number(&["span", event_id]).max(1);
    let (trace, flags) = match parent.and_then(valid) {
        Some(parent) => (parent[3..35].to_owned(), &parent[53..55]),
        None => (ids::derived(&["trace", correlation_id]).replace('-', ""), "01"),
    };
    format!("00-{trace}-{span:016x}-{flags}")
}
