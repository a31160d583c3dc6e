//! Bytes that no client sends: every decoder returns, and takes no more memory than its input allows
//! (`tests/hostile_frames.rs` watches the memory of a whole process).

use bytes::Bytes;

use super::super::api::for_each_api;
use super::super::messages::*;
use super::super::{ApiKey, RequestHeader, RequestPrefix};
use super::encode;
use crate::codec::testing::{Random, Sample};
use crate::codec::{DecodeProblem, Message, Reader, Writer};

const SEEDS: u64 = 80;

#[test]
fn random_and_mutated_bytes_never_panic_a_decoder() {
    macro_rules! attack {
        ($($module:ident::{$request:ident => $response:ident};)*) => {$(
            attacked::<$module::$request>();
            attacked::<$module::$response>();
        )*};
    }
    for_each_api!(attack);
}

fn attacked<M: Message + Sample>() {
    for version in M::VERSIONS.iter() {
        for seed in 0..SEEDS {
            let mut random = Random::new(seed);
            let noise = (0..random.below(64)).map(|_| byte(&mut random)).collect();
            decodes_or_refuses::<M>(noise, version);
            let value = M::sample(&mut random, M::layout(version).unwrap(), false);
            let valid = encode(&value, version);
            for _ in 0..4 {
                decodes_or_refuses::<M>(mutated(&valid, &mut random), version);
            }
        }
    }
}

/// A random byte, oftener one that means much in a length.
fn byte(random: &mut Random) -> u8 {
    let byte = random.bits().to_be_bytes()[0];
    [byte, byte, 0, 1, 0x7f, 0x80, 0xff][random.below(7)]
}

fn mutated(valid: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..=random.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(4) {
            0 => bytes[at] = byte(random),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, byte(random)),
            _ => {
                let end = (at + 4).min(bytes.len());
                bytes.splice(at..end, [0x7f, 0xff, 0xff, 0xff]);
            }
        }
    }
    bytes
}

/// What decodes must also encode, or say why not, and come back the same.
fn decodes_or_refuses<M: Message>(bytes: Vec<u8>, version: i16) {
    let Ok(value) = M::decode(&mut Reader::new(Bytes::from(bytes)), version) else { return };
    let mut writer = Writer::new();
    if value.encode(&mut writer, version).is_ok() {
        let again = M::decode(&mut Reader::new(writer.into_bytes()), version).unwrap();
        // Not where a number is no number; no request has doubles.
        assert!(again == value, "{} version {version}", M::NAME);
    }
}

#[test]
fn random_frames_never_panic() {
    for seed in 0..20_000 {
        let mut random = Random::new(seed);
        let frame: Vec<u8> = (0..random.below(40)).map(|_| byte(&mut random)).collect();
        let mut reader = Reader::new(Bytes::from(frame));
        let Ok(prefix) = RequestPrefix::decode(&mut reader) else { continue };
        let key = ApiKey::ALL[random.below(ApiKey::ALL.len())];
        if RequestHeader::decode(key, prefix, &mut reader).is_ok() {
            let version = key.served().min;
            let _ = key.check_request(version, &mut reader);
        }
    }
}

#[test]
fn array_bombs_are_refused_by_their_count() {
    fn refuse<M: Message>(version: i16, body: &[u8]) {
        let mut reader = Reader::new(Bytes::copy_from_slice(body));
        let error = M::decode(&mut reader, version).err().unwrap();
        assert!(matches!(error.problem, DecodeProblem::Count { .. }), "{error}");
    }
    refuse::<metadata::MetadataRequest>(1, &[0x7f, 0xff, 0xff, 0xff]);
    refuse::<metadata::MetadataRequest>(9, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    let produce = [0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    refuse::<produce::ProduceRequest>(3, &produce);
    let hundred_million = [0x05, 0xf5, 0xe1, 0x00];
    refuse::<metadata::MetadataRequest>(4, &[&hundred_million[..], &[0; 16]].concat());
    // A count of tags, and a tag longer than the frame.
    refuse::<api_versions::ApiVersionsRequest>(3, &[1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let mut reader = Reader::new(Bytes::from_static(&[1, 1, 1, 9, 0xff, 0xff, 0x0f, 0]));
    let error = api_versions::ApiVersionsRequest::decode(&mut reader, 3).unwrap_err();
    assert_eq!(error.problem, DecodeProblem::Truncated { wanted: 0x3_ffff, left: 1 });
}

#[test]
fn trailing_bytes_are_left_in_the_reader() {
    // librdkafka's request for all topics: its placeholder of a count becomes three bytes too many.
    let mut reader = Reader::new(Bytes::from_static(&[0, 0, 0, 0, 1, 0, 0]));
    let request = metadata::MetadataRequest::decode(&mut reader, 13).unwrap();
    assert_eq!(request.topics, None);
    assert_eq!(reader.remaining(), 3);
}
