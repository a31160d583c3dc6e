//! The records inside a batch: read where they lie, without a copy for each.
//!
//! A record is: varint length, attributes, varlong timestamp delta, varint offset delta, key and
//! value (varint length, -1 for null), varint header count, and per header a key (never null) and
//! a value. All varints are zigzag.

use bytes::Bytes;

use super::cursor::{Cursor, put_varint, varint_len};
use super::header::BatchHeader;
use crate::types::{Offset, Timestamp};

/// The smallest header on the wire: an empty key and a null value.
const HEADER_LEN_MIN: usize = 2;

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its own time, or the append time of its batch.
    pub timestamp: Timestamp,
    /// Offset counted from the batch's base, as stored.
    pub offset_delta: i32,
    /// Timestamp counted from the batch's base, as stored.
    pub timestamp_delta: i64,
    /// No bit of it means anything yet.
    pub attributes: i8,
    /// Null and empty are different keys.
    pub key: Option<&'a [u8]>,
    /// Null is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// In the order they came, duplicates included.
    pub headers: Headers<'a>,
}

/// The headers of one record, already checked to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Key and value of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut cursor = Cursor::new(self.bytes);
        (0..self.count).map_while(move |_| header(&mut cursor))
    }
}

/// A record that shares the buffer of its batch instead of borrowing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedRecord {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its own time, or the append time of its batch.
    pub timestamp: Timestamp,
    /// Null and empty are different keys.
    pub key: Option<Bytes>,
    /// Null is a tombstone in a compacted topic.
    pub value: Option<Bytes>,
    /// In the order they came, duplicates included.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// What a record is made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// -1 for none.
    pub timestamp: Timestamp,
    /// Null and empty are different keys.
    pub key: Option<&'a [u8]>,
    /// Null is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// In order, duplicates allowed.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// Why a record area cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The record's bytes do not add up.
    #[error("record {index} cannot be parsed")]
    Unparsable {
        /// Counted from 0 within the batch.
        index: i32,
    },
    /// There are bytes behind the last record that the header announces.
    #[error("{bytes} bytes behind the last of {count} records")]
    Trailing {
        /// What the header says.
        count: i32,
        /// What is left.
        bytes: usize,
    },
}

/// The unpacked records of one batch.
#[derive(Clone, Debug)]
pub struct Records {
    area: Bytes,
    header: BatchHeader,
}

impl Records {
    pub(crate) fn new(area: Bytes, header: BatchHeader) -> Self {
        Self { area, header }
    }

    /// The record area without compression.
    pub fn area(&self) -> &Bytes {
        &self.area
    }

    /// The records in order. Ends after the first error, and finds bytes behind the last record.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            cursor: Cursor::new(&self.area),
            header: self.header,
            index: 0,
            finished: false,
        }
    }

    /// `record`, which came from [`Records::iter`] of these records, sharing their buffer.
    pub fn own(&self, record: &Record<'_>) -> OwnedRecord {
        let share = |bytes: &[u8]| self.area.slice_ref(bytes);
        OwnedRecord {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(share),
            value: record.value.map(share),
            headers: record
                .headers
                .iter()
                .map(|(key, value)| (share(key), value.map(share)))
                .collect(),
        }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// See [`Records::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    cursor: Cursor<'a>,
    header: BatchHeader,
    index: i32,
    finished: bool,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let count = self.header.record_count;
        if self.index >= count {
            self.finished = true;
            let bytes = self.cursor.rest().len();
            return (bytes > 0).then_some(Err(RecordError::Trailing { count, bytes }));
        }
        let index = self.index;
        self.index = index.saturating_add(1);
        let record = read(&mut self.cursor, &self.header);
        self.finished = record.is_none();
        Some(record.ok_or(RecordError::Unparsable { index }))
    }
}

fn read<'a>(cursor: &mut Cursor<'a>, batch: &BatchHeader) -> Option<Record<'a>> {
    let length = usize::try_from(cursor.varint()?).ok()?;
    let mut body = Cursor::new(cursor.take(length)?);
    let attributes = body.u8()?.cast_signed();
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = body.nullable()?;
    let value = body.nullable()?;
    let headers = headers(&mut body)?;
    let timestamp = if batch.attributes.is_append_time() {
        batch.max_timestamp
    } else {
        Timestamp(batch.base_timestamp.0.wrapping_add(timestamp_delta))
    };
    let offset = batch.base_offset.plus(i64::from(offset_delta));
    Some(Record {
        offset,
        timestamp,
        offset_delta,
        timestamp_delta,
        attributes,
        key,
        value,
        headers,
    })
}

/// Checks that the rest of `body` is exactly its headers.
fn headers<'a>(body: &mut Cursor<'a>) -> Option<Headers<'a>> {
    let count = usize::try_from(body.varint()?).ok()?;
    let bytes = body.rest();
    if count > bytes.len() / HEADER_LEN_MIN {
        return None;
    }
    for _ in 0..count {
        header(body)?;
    }
    body.rest().is_empty().then_some(Headers { count, bytes })
}

fn header<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    Some((cursor.nullable()??, cursor.nullable()?))
}

/// Appends a record in its stored form.
pub fn put_record(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    record: &NewRecord<'_>,
) {
    put_varint(out, signed(body_len(timestamp_delta, offset_delta, record)));
    out.push(0);
    put_varint(out, timestamp_delta);
    put_varint(out, i64::from(offset_delta));
    put_nullable(out, record.key);
    put_nullable(out, record.value);
    put_varint(out, signed(record.headers.len()));
    for (key, value) in record.headers {
        put_nullable(out, Some(key));
        put_nullable(out, *value);
    }
}

fn body_len(timestamp_delta: i64, offset_delta: i32, record: &NewRecord<'_>) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(key, value)| nullable_len(Some(key)) + nullable_len(*value))
        .sum();
    1 + varint_len(timestamp_delta)
        + varint_len(i64::from(offset_delta))
        + nullable_len(record.key)
        + nullable_len(record.value)
        + varint_len(signed(record.headers.len()))
        + headers
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, signed(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint_len(signed(bytes.len())) + bytes.len())
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}
