//! A request whose route is found, and how its parts are read.

use bytes::Bytes;
use serde_json::Value;

use super::refusal::Refusal;

/// The longest that an answer may wait, in ms: below what a connection lives.
const WAIT_MS_MAX: u64 = 30_000;
/// Bytes of a key, or an id, that a client chooses.
const KEY_BYTES_MAX: usize = 255;

/// A request.
pub(super) struct Ask<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a [(String, String)],
    pub(super) body: Bytes,
    /// What stands in the path for the parts of the route that have names, in their order.
    pub(super) parameters: Vec<String>,
}

impl Ask<'_> {
    pub(super) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A parameter of the query; of several with this name the last.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').rev();
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let (_, value) = pairs.find(|(key, _)| decoded(key).as_deref() == Some(name))?;
        decoded(&value.replace('+', " "))
    }

    /// The body, which must be said to be JSON.
    pub(super) fn json(&self) -> Result<Value, Refusal> {
        let kind = self.header("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if kind != "application/json"
            && !(kind.starts_with("application/") && kind.ends_with("+json"))
        {
            let message = "the body must be JSON, with the header content-type: application/json";
            return Err(Refusal::new(415, "unsupported-media-type", message));
        }
        serde_json::from_slice(&self.body).map_err(|error| Refusal::of_json(&error))
    }

    /// How long the answer may wait for an end, in ms: `?wait=2s`.
    pub(super) fn wait_ms(&self) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.query("wait") else { return Ok(None) };
        let ms = span_ms(&text).filter(|ms| *ms <= WAIT_MS_MAX);
        let message = format!("{text:?}: 500ms, 2s, at most {}s", WAIT_MS_MAX / 1_000);
        ms.map(Some).ok_or_else(|| Refusal::of_field("wait", message))
    }

    /// The key that makes a repeated request the same.
    pub(super) fn idempotency_key(&self) -> Result<Option<&str>, Refusal> {
        self.word("idempotency-key")
    }

    /// A header that is a word of the client's.
    pub(super) fn word(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let Some(word) = self.header(name) else { return Ok(None) };
        let is_word = !word.is_empty()
            && word.len() <= KEY_BYTES_MAX
            && word.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if is_word {
            return Ok(Some(word));
        }
        let message = format!("header {name}: 1 to {KEY_BYTES_MAX} printable ASCII characters");
        Err(Refusal::new(400, "bad-header", message))
    }
}

/// A number of `ms` or `s`.
fn span_ms(text: &str) -> Option<u64> {
    match text.strip_suffix("ms") {
        Some(number) => number.parse().ok(),
        None => text.strip_suffix('s')?.parse::<u64>().ok()?.checked_mul(1_000),
    }
}

/// Without percent signs; `None` where they stand for no text.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}
