//! Random values written by our codec must be read, and written again byte for byte, by an
//! independent one (the crate `kafka-protocol`), and come back to us as they were.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, Message as Theirs};

use super::super::api::for_each_api;
use super::super::messages::*;
use super::encode;
use crate::codec::testing::{Random, Sample};
use crate::codec::{Message, Reader};

const SEEDS: u64 = 60;

#[test]
fn an_independent_codec_reads_and_writes_the_same_bytes() {
    let mut lacking = Vec::new();
    macro_rules! check {
        ($($module:ident::{$request:ident => $response:ident};)*) => {$(
            compare::<$module::$request, kafka_protocol::messages::$request>(&mut lacking);
            compare::<$module::$response, kafka_protocol::messages::$response>(&mut lacking);
        )*};
    }
    for_each_api!(check);
    // What it does not know is written out by hand in `golden`.
    assert_eq!(lacking, super::golden::VERSIONS);
}

/// Adds the versions that the other codec does not have to `lacking`.
fn compare<Ours, Other>(lacking: &mut Vec<(&'static str, i16)>)
where
    Ours: Message + Sample + std::fmt::Debug,
    Other: Theirs + Decodable + Encodable,
{
    for version in Ours::VERSIONS.iter() {
        if version < Other::VERSIONS.min || Other::VERSIONS.max < version {
            lacking.push((Ours::NAME, version));
            continue;
        }
        for seed in 0..SEEDS {
            let case = format!("{} version {version}, seed {seed}", Ours::NAME);
            let layout = Ours::layout(version).unwrap();
            let value = Ours::sample(&mut Random::new(seed), layout, false);
            let ours = encode(&value, version);
            let theirs = written_by_other::<Other>(ours.clone(), version, &case);
            assert_eq!(theirs, ours, "{case}");
            let back = Ours::decode(&mut Reader::new(theirs), version);
            assert_eq!(back, Ok(value), "{case}");
        }
    }
}

fn written_by_other<Other: Decodable + Encodable>(
    mut bytes: Bytes,
    version: i16,
    case: &str,
) -> Bytes {
    let value = Other::decode(&mut bytes, version).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(bytes.is_empty(), "{case}: {} bytes left", bytes.len());
    let mut written = BytesMut::new();
    value.encode(&mut written, version).unwrap_or_else(|e| panic!("{case}: {e}"));
    written.freeze()
}
