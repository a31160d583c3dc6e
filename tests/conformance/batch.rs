//! Record batches by hand: a second writing of the format, apart from the broker's own, that can
//! also write wrong ones.

use std::io::Write;

use bytes::Bytes;
use ottla::codec::{Reader, Writer};

/// Bytes before the records.
pub const HEADER_SIZE: usize = 61;
/// A codec's number in the attributes.
pub const CODECS: [i16; 5] = [0, 1, 2, 3, 4];
/// What the broker writes itself: base offset, and partition leader epoch.
const BROKERS_OWN: [std::ops::Range<usize>; 2] = [0..8, 12..16];

/// A batch to write. The public fields are written as they are; what is `None` is written right.
#[derive(Debug, Clone)]
pub struct Batch {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: Option<u32>,
    pub attributes: i16,
    pub last_offset_delta: Option<i32>,
    pub max_timestamp: Option<i64>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: Option<i32>,
    pub records: Vec<Record>,
    /// In place of `records`, as they are.
    pub payload: Option<Vec<u8>>,
}

/// One record of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub timestamp: i64,
    /// `None`: its place in the batch.
    pub offset_delta: Option<i32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record with a value, made at `timestamp`.
    pub fn at(timestamp: i64, value: &str) -> Self {
        let value = Some(value.as_bytes().to_vec());
        Self { timestamp, offset_delta: None, key: None, value, headers: Vec::new() }
    }

    /// The same with a key.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.as_bytes().to_vec());
        self
    }

    fn write(&self, base_timestamp: i64, index: usize, writer: &mut Writer) {
        let mut body = Writer::new();
        body.i8(0);
        body.varlong(self.timestamp - base_timestamp);
        body.varint(self.offset_delta.unwrap_or(i32::try_from(index).unwrap()));
        write_sized(&mut body, self.key.as_deref());
        write_sized(&mut body, self.value.as_deref());
        body.varint(i32::try_from(self.headers.len()).unwrap());
        for (key, value) in &self.headers {
            write_sized(&mut body, Some(key.as_bytes()));
            write_sized(&mut body, value.as_deref());
        }
        writer.varint(i32::try_from(body.len()).unwrap());
        writer.raw(body.as_slice());
    }
}

fn write_sized(writer: &mut Writer, bytes: Option<&[u8]>) {
    writer.varint(bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap()));
    writer.raw(bytes.unwrap_or_default());
}

impl Batch {
    /// An uncompressed batch that is not idempotent, of records made now.
    pub fn of(values: &[&str]) -> Self {
        Self::records(values.iter().map(|value| Record::at(super::kit::now_ms(), value)).collect())
    }

    /// A batch of these records.
    pub fn records(records: Vec<Record>) -> Self {
        Self {
            base_offset: 0,
            leader_epoch: -1,
            magic: 2,
            crc: None,
            attributes: 0,
            last_offset_delta: None,
            max_timestamp: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            record_count: None,
            records,
            payload: None,
        }
    }

    /// The same from an idempotent producer.
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// The same with its records compressed.
    pub fn codec(mut self, codec: i16) -> Self {
        self.attributes = self.attributes & !7 | codec;
        self
    }

    /// The records before they are compressed.
    pub fn plain_payload(&self) -> Vec<u8> {
        let base_timestamp = self.records.first().map_or(-1, |record| record.timestamp);
        let mut writer = Writer::new();
        for (index, record) in self.records.iter().enumerate() {
            record.write(base_timestamp, index, &mut writer);
        }
        writer.as_slice().to_vec()
    }

    /// The bytes of the batch.
    pub fn bytes(&self) -> Bytes {
        let payload = self
            .payload
            .clone()
            .unwrap_or_else(|| compress(self.attributes & 7, &self.plain_payload()));
        let count = i32::try_from(self.records.len()).unwrap();
        let largest = self.records.iter().map(|record| record.timestamp).max().unwrap_or(-1);
        let mut covered = Writer::new();
        covered.i16(self.attributes);
        covered.i32(self.last_offset_delta.unwrap_or(count - 1));
        covered.i64(self.records.first().map_or(-1, |record| record.timestamp));
        covered.i64(self.max_timestamp.unwrap_or(largest));
        covered.i64(self.producer_id);
        covered.i16(self.producer_epoch);
        covered.i32(self.base_sequence);
        covered.i32(self.record_count.unwrap_or(count));
        covered.raw(&payload);
        let mut writer = Writer::new();
        writer.i64(self.base_offset);
        writer.i32(i32::try_from(covered.len() + 9).unwrap());
        writer.i32(self.leader_epoch);
        writer.i8(self.magic);
        writer.u32(self.crc.unwrap_or_else(|| crc32c::crc32c(covered.as_slice())));
        writer.raw(covered.as_slice());
        writer.into_bytes()
    }
}

impl From<Batch> for Bytes {
    fn from(batch: Batch) -> Self {
        batch.bytes()
    }
}

/// The records area as each codec writes it; snappy in the frames of snappy-java.
fn compress(codec: i16, plain: &[u8]) -> Vec<u8> {
    match codec {
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        2 => snappy_java(plain),
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        4 => zstd::encode_all(plain, 3).unwrap(),
        _ => plain.to_vec(),
    }
}

fn snappy_java(plain: &[u8]) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for block in plain.chunks(32 << 10) {
        let packed = snap::raw::Encoder::new().compress_vec(block).unwrap();
        framed.extend(i32::try_from(packed.len()).unwrap().to_be_bytes());
        framed.extend(packed);
    }
    framed
}

/// What a reader finds in the header of a stored batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
    pub bytes: Bytes,
}

impl Stored {
    /// The whole batches in fetched records, each with its CRC checked; a cut last one is left out.
    pub fn all(records: &Bytes) -> Vec<Self> {
        let mut reader = Reader::new(records.clone());
        let mut batches = Vec::new();
        while let Some(batch) = Self::next(&mut reader) {
            batches.push(batch);
        }
        batches
    }

    fn next(reader: &mut Reader) -> Option<Self> {
        let mut peek = reader.clone();
        let length = peek.i64().and_then(|_| peek.i32()).ok()?;
        let bytes = reader.slice(usize::try_from(length).unwrap() + 12).ok()?;
        let mut header = Reader::new(bytes.clone());
        let (base_offset, _) = (header.i64().unwrap(), header.i32().unwrap());
        let (leader_epoch, magic) = (header.i32().unwrap(), header.i8().unwrap());
        assert_eq!(magic, 2);
        assert_eq!(header.u32().unwrap(), crc32c::crc32c(&bytes[21..]), "the CRC is right");
        Some(Self {
            base_offset,
            leader_epoch,
            attributes: header.i16().unwrap(),
            last_offset_delta: header.i32().unwrap(),
            base_timestamp: header.i64().unwrap(),
            max_timestamp: header.i64().unwrap(),
            producer_id: header.i64().unwrap(),
            producer_epoch: header.i16().unwrap(),
            base_sequence: header.i32().unwrap(),
            record_count: header.i32().unwrap(),
            bytes,
        })
    }

    /// The bytes without those that a broker writes itself.
    pub fn as_sent(&self) -> Vec<u8> {
        without_brokers_own(&self.bytes)
    }
}

/// The bytes of a batch without those that a broker writes itself.
pub fn without_brokers_own(batch: &[u8]) -> Vec<u8> {
    let mut bytes = batch.to_vec();
    for range in BROKERS_OWN {
        bytes[range].fill(0);
    }
    bytes
}
