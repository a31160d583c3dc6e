//! The codec's own rules, on a message made up for it; real messages are tested in `protocol`.

use bytes::Bytes;
use uuid::Uuid;

use super::testing::{Random, Sample};
use super::*;

message! {
    /// Has a field of every kind.
    struct Everything: versions 0-4, flexible 2+ {
        flag: bool,                       0+;
        small: i8,                        0+, default -7;
        port: u16,                        0+;
        rate: f64,                        1+ ignorable;
        id: Uuid,                         1-3;
        name: String,                     0+;
        note: Option<String>,             0+, null 1+;
        payload: Bytes,                   0+;
        inner: Inner,                     0+;
        maybe: Option<Inner>,             3+, null 3+;
        late: Option<Vec<i64>>,           2+, null 2+, tag 3;
        early: i32,                       2+, tag 0, default 5;
        list: Vec<Inner>,                 0+;
    }

    /// Nested.
    struct Inner {
        numbers: Vec<i32>,                0+;
        text: Option<String>,             0+, null 0+;
    }
}

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}

fn decode(bytes: &[u8], version: i16) -> Result<Everything, DecodeError> {
    Everything::decode(&mut Reader::new(Bytes::copy_from_slice(bytes)), version)
}

fn reader(bytes: &[u8]) -> Reader {
    Reader::new(Bytes::copy_from_slice(bytes))
}

#[test]
fn random_values_come_back_and_every_cut_is_an_error() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        for version in Everything::VERSIONS.iter() {
            let layout = Everything::layout(version).unwrap();
            let value = Everything::sample(&mut random, layout, false);
            let bytes = encode(&value, version).unwrap();
            let mut reader = Reader::new(bytes.clone());
            assert_eq!(Everything::decode(&mut reader, version), Ok(value), "seed {seed}");
            assert_eq!(reader.remaining(), 0, "seed {seed}");
            let cut = random.below(bytes.len());
            assert!(decode(&bytes[..cut], version).is_err(), "seed {seed}, cut at {cut}");
        }
    }
}

#[test]
fn old_and_compact_forms_stand_as_kafka_writes_them() {
    let value = Everything {
        name: "ab".into(),
        note: Some(String::new()),
        late: Some(vec![1]),
        early: 6,
        list: vec![Inner { numbers: vec![2], text: None }],
        ..Everything::default()
    };
    let old = [
        &[0, 0xf9, 0, 0][..],
        &[0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0xff, 0xff],
        &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff],
    ];
    let late = Everything { late: None, early: 5, ..value.clone() };
    assert_eq!(encode(&late, 0).unwrap(), old.concat());
    let compact = [
        &[0, 0xf9, 0, 0][..],
        &[0; 8],
        &[3, b'a', b'b', 1, 1, 1, 0, 0, 0xff],
        &[2, 2, 0, 0, 0, 2, 0, 0],
        // Two tagged fields in the order of their tags: 6, and [1].
        &[2, 0, 4, 0, 0, 0, 6, 3, 9, 2, 0, 0, 0, 0, 0, 0, 0, 1],
    ];
    assert_eq!(encode(&value, 4).unwrap(), compact.concat());
    assert_eq!(decode(&compact.concat(), 4), Ok(value));
}

#[test]
fn unknown_tagged_fields_are_passed_over() {
    let mut bytes = encode(&Everything::default(), 3).unwrap().to_vec();
    assert_eq!(bytes.pop(), Some(0));
    bytes.extend([2, 1, 3, 9, 9, 9, 77, 0]);
    assert_eq!(decode(&bytes, 3), Ok(Everything::default()));
}

#[test]
fn tagged_field_with_bytes_too_many_is_refused() {
    let mut bytes = encode(&Everything::default(), 3).unwrap().to_vec();
    bytes.pop();
    bytes.extend([1, 0, 5, 0, 0, 0, 1, 0]);
    let error = decode(&bytes, 3).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::TagSize { tag: 0, left: 1 });
}

#[test]
fn value_that_a_version_lacks_is_an_error_unless_ignorable() {
    let set = |id, rate| Everything { id, rate, note: Some(String::new()), ..Default::default() };
    let error = encode(&set(Uuid::from_u128(1), 0.0), 0).unwrap_err();
    assert_eq!(error.to_string(), "Everything.id: set, but version 0 does not carry it");
    assert!(encode(&set(Uuid::nil(), 1.5), 0).is_ok());
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    let value = Everything::default();
    let error = encode(&value, 0).unwrap_err();
    assert_eq!(error.to_string(), "Everything.note: null is not allowed in version 0");
    let mut bytes = encode(&Everything { note: Some("x".into()), ..value }, 0).unwrap().to_vec();
    let at = bytes.iter().position(|&byte| byte == b'x').unwrap();
    bytes.splice(at - 2..=at, [0xff, 0xff]);
    let error = decode(&bytes, 0).unwrap_err();
    assert_eq!(error.to_string(), "Everything.note: null is not allowed in this version");
}

#[test]
fn long_strings_are_refused_both_ways() {
    let long = "x".repeat(32_768);
    for version in [0, 4] {
        let value = Everything { name: long.clone(), ..Everything::default() };
        let problem = encode(&value, version).unwrap_err().problem;
        assert_eq!(problem, EncodeProblem::LongString(32_768));
    }
    let mut writer = Writer::new();
    writer.uvarint(32_769);
    writer.raw(long.as_bytes());
    let error = Reader::new(writer.into_bytes()).nullable_string(true).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::LongString(32_768));
}

#[test]
fn count_beyond_the_bytes_left_is_refused_before_anything_is_reserved() {
    let error = reader(&[0x7f, 0xff, 0xff, 0xff, 0, 0]).count(false, 4).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::Count { count: 0x7fff_ffff, left: 2 });
    assert!(reader(&[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]).count(false, 4).is_err());
    assert_eq!(reader(&[0, 0, 0, 1, 0, 0, 0, 0]).count(false, 4), Ok(Some(1)));
    assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1]).count(true, 1).is_err());
    assert!(reader(&[0xff, 0xff, 0xff, 0xfe]).count(false, 1).is_err());
}

#[test]
fn tag_bombs_are_refused() {
    let never = |_: u32, _: &mut Reader| -> Result<bool, DecodeError> { Ok(false) };
    assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).tagged_fields(never).is_err());
    assert!(reader(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]).tagged_fields(never).is_err());
    assert!(reader(&[3, 0, 0, 1, 0]).tagged_fields(never).is_err());
}

#[test]
fn memory_of_tiny_elements_is_bounded_by_the_length() {
    // Each element is two bytes on the wire and 48 in memory.
    let elements = 200_000_usize;
    let mut writer = Writer::new();
    writer.length(Some(elements), true).unwrap();
    for _ in 0..elements {
        writer.raw(&[1, 0, 0]);
    }
    let layout = Layout { version: 2, flexible: true };
    let frame = writer.into_bytes();
    let size = frame.len();
    let error = Vec::<Inner>::read(&mut Reader::new(frame), layout, false).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::Memory(size));
}

#[test]
fn varints_keep_to_their_width() {
    for value in [0, 1, -1, 63, -64, 64, i32::MAX, i32::MIN] {
        let mut writer = Writer::new();
        writer.varint(value);
        writer.varlong(i64::from(value) << 20);
        writer.uvarint(value.cast_unsigned());
        let mut reader = Reader::new(writer.into_bytes());
        assert_eq!(reader.varint(), Ok(value));
        assert_eq!(reader.varlong(), Ok(i64::from(value) << 20));
        assert_eq!(reader.uvarint(), Ok(value.cast_unsigned()));
    }
    let mut writer = Writer::new();
    writer.uvarlong(u64::MAX);
    writer.varlong(i64::MIN);
    let mut all = Reader::new(writer.into_bytes());
    assert_eq!((all.uvarlong(), all.varlong()), (Ok(u64::MAX), Ok(i64::MIN)));
    // 33 and 65 bits, an unfinished and an endless one; a long way to write 0 is no error.
    assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint().is_err());
    assert!(reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).uvarlong().is_err());
    assert!(reader(&[0x80]).uvarint().is_err());
    assert!(reader(&[0x80; 11]).uvarlong().is_err());
    assert_eq!(reader(&[0x80, 0x80, 0x80, 0x80, 0]).uvarint(), Ok(0));
}

#[test]
fn bytes_are_slices_of_the_frame() {
    let value = Everything {
        note: Some(String::new()),
        payload: Bytes::from(vec![7; 1_000]),
        ..Everything::default()
    };
    let frame = encode(&value, 1).unwrap();
    let decoded = Everything::decode(&mut Reader::new(frame.clone()), 1).unwrap();
    assert!(frame.as_ptr_range().contains(&decoded.payload.as_ptr()));
}

#[test]
fn pieces_come_back_in_order_with_their_sizes() {
    let mut writer = Writer::in_pieces();
    writer.external(3, false).unwrap();
    writer.external(0, true).unwrap();
    writer.u8(9);
    assert_eq!(writer.size(), 4 + 3 + 1 + 1);
    let external = |index, size| Piece::External { index, size };
    let bytes = |bytes: &'static [u8]| Piece::Bytes(Bytes::from_static(bytes));
    let expected =
        vec![bytes(&[0, 0, 0, 3]), external(0, 3), bytes(&[1]), external(1, 0), bytes(&[9])];
    assert_eq!(writer.into_pieces(), expected);
    let problem = Writer::new().external(3, false).unwrap_err().problem;
    assert_eq!(problem, EncodeProblem::External);
}
