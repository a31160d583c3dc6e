//! How `ottla consume` prints a record: by a template, or as JSON.

use serde_json::{Map, Value, json};

use crate::client::NamedPartition;
use crate::records::OwnedRecord;
use base64::Engine;

/// A template, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeySize,
    Value,
    ValueSize,
    Headers,
}

/// What stands for the absence of a key or value.
const NULL: &str = "NULL";

impl Format {
    /// Reads a template: `%t` topic, `%p` partition, `%o` offset, `%T` timestamp in ms, `%k` key,
    /// `%s` or `%v` value, `%h` headers, `%K` and `%S` sizes of key and value (-1: null), `%%` a
    /// percent sign; `\n`, `\r`, `\t`, `\0`, `\\`.
    ///
    /// # Errors
    /// A sentence for the user.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            match (c, chars.clone().next()) {
                ('%', Some('%')) => plain.push('%'),
                ('%', token) => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(piece(token)?);
                }
                ('\\', Some(escaped)) => plain.push(unescaped(escaped)?),
                _ => {
                    plain.push(c);
                    continue;
                }
            }
            chars.next();
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }

    /// The value and a line feed.
    pub(crate) fn value_lines() -> Self {
        Self(vec![Piece::Value, Piece::Text("\n".to_owned())])
    }

    /// Appends a record.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        partition: &NamedPartition,
        record: &OwnedRecord,
    ) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Topic => out.extend_from_slice(partition.topic.as_bytes()),
                Piece::Partition => put(out, &partition.partition),
                Piece::Offset => put(out, &record.offset),
                Piece::Timestamp => put(out, &record.timestamp),
                Piece::Key => put_bytes(out, record.key.as_deref()),
                Piece::KeySize => put_size(out, record.key.as_deref()),
                Piece::Value => put_bytes(out, record.value.as_deref()),
                Piece::ValueSize => put_size(out, record.value.as_deref()),
                Piece::Headers => put_headers(out, record),
            }
        }
    }
}

fn piece(token: Option<char>) -> Result<Piece, String> {
    Ok(match token {
        Some('t') => Piece::Topic,
        Some('p') => Piece::Partition,
        Some('o') => Piece::Offset,
        Some('T') => Piece::Timestamp,
        Some('k') => Piece::Key,
        Some('K') => Piece::KeySize,
        Some('s' | 'v') => Piece::Value,
        Some('S' | 'V') => Piece::ValueSize,
        Some('h') => Piece::Headers,
        Some(other) => {
            return Err(format!("%{other} means nothing: there are %t %p %o %T %k %K %s %S %h %%"));
        }
        None => return Err("a % stands at the end: write %% for a percent sign".to_owned()),
    })
}

fn unescaped(escaped: char) -> Result<char, String> {
    Ok(match escaped {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '0' => '\0',
        '\\' => '\\',
        other => return Err(format!("\\{other} means nothing: there are \\n \\r \\t \\0 \\\\")),
    })
}

fn put(out: &mut Vec<u8>, value: &impl std::fmt::Display) {
    out.extend_from_slice(value.to_string().as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend_from_slice(bytes.unwrap_or(NULL.as_bytes()));
}

fn put_size(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => put(out, &bytes.len()),
        None => out.extend_from_slice(b"-1"),
    }
}

/// `name=value,name=value`, as kcat prints them.
fn put_headers(out: &mut Vec<u8>, record: &OwnedRecord) {
    for (place, (name, value)) in record.headers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        put_bytes(out, value.as_deref());
    }
}

/// A record as JSON. Text stands as it is; bytes that are no UTF-8 stand in base64 under a name
/// that says so.
pub(crate) fn as_json(partition: &NamedPartition, record: &OwnedRecord) -> Value {
    let mut object = Map::new();
    object.insert("topic".to_owned(), json!(partition.topic));
    object.insert("partition".to_owned(), json!(partition.partition.0));
    object.insert("offset".to_owned(), json!(record.offset.0));
    object.insert("timestamp".to_owned(), json!(record.timestamp.0));
    put_json(&mut object, "key", record.key.as_deref());
    put_json(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        put_json(&mut header, "name", Some(name));
        put_json(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}

pub(super) fn put_json(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(std::str::from_utf8) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), json!(text)),
        Some(Err(_)) => {
            let text = base64::engine::general_purpose::STANDARD.encode(bytes.unwrap_or_default());
            object.insert(format!("{name}_base64"), json!(text))
        }
    };
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::types::{Offset, Timestamp};

    fn record() -> OwnedRecord {
        OwnedRecord {
            offset: Offset(7),
            timestamp: Timestamp(1_700_000_000_000),
            key: None,
            value: Some(Bytes::from_static(b"caf\xc3\xa9")),
            headers: vec![
                (Bytes::from_static(b"a"), Some(Bytes::from_static(b"1"))),
                (Bytes::from_static(b"a"), Some(Bytes::from_static(b"\xff"))),
                (Bytes::from_static(b"b"), None),
            ],
        }
    }

    fn check(template: &str, expected: &[u8]) {
        let mut out = Vec::new();
        let format = Format::parse(template).expect(template);
        format.write(&mut out, &NamedPartition::new("t", 3), &record());
        assert_eq!(out, expected, "{template}");
    }

    #[test]
    fn templates_are_filled_in() {
        check("%t[%p]@%o\\t%T", b"t[3]@7\t1700000000000");
        check("%k:%s\\n", "NULL:café\n".as_bytes());
        check("%K %S %V 100%%", b"-1 5 5 100%");
        check("%h", b"a=1,a=\xff,b=NULL");
        check("plain", b"plain");
        check("", b"");
    }

    #[test]
    fn what_means_nothing_is_named() {
        assert!(Format::parse("%x").is_err_and(|error| error.starts_with("%x means nothing")));
        assert!(Format::parse("50%").is_err_and(|error| error.starts_with("a % stands")));
        assert!(Format::parse("\\q").is_err());
    }

    #[test]
    fn json_says_what_is_no_text() {
        let expected = json!({
            "topic": "t", "partition": 3, "offset": 7, "timestamp": 1_700_000_000_000_i64,
            "key": null, "value": "café",
            "headers": [
                {"name": "a", "value": "1"},
                {"name": "a", "value_base64": "/w=="},
                {"name": "b", "value": null},
            ],
        });
        assert_eq!(as_json(&NamedPartition::new("t", 3), &record()), expected);
    }
}
