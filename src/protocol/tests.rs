//! Every message there and back, the table of APIs, headers, and the pieces of a Fetch answer.

mod differential;
mod golden;
mod hostile;

use bytes::Bytes;

use super::api::for_each_api;
use super::header::{decode_response_header, request_frame};
use super::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData, Records};
use super::messages::*;
use super::*;
use crate::codec::testing::{Random, Sample};
use crate::codec::{Message, Piece, Reader, Versions, Writer};

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).unwrap();
    writer.into_bytes()
}

fn comes_back<M: Message + Sample + std::fmt::Debug>() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        for version in M::VERSIONS.iter() {
            let value = M::sample(&mut random, M::layout(version).unwrap(), false);
            let mut reader = Reader::new(encode(&value, version));
            let decoded = M::decode(&mut reader, version);
            assert_eq!(decoded, Ok(value), "{} version {version}, seed {seed}", M::NAME);
            assert_eq!(reader.remaining(), 0, "{} version {version}, seed {seed}", M::NAME);
        }
    }
}

#[test]
fn every_message_comes_back_in_every_version() {
    macro_rules! check {
        ($($module:ident::{$request:ident => $response:ident};)*) => {$(
            comes_back::<$module::$request>();
            comes_back::<$module::$response>();
        )*};
    }
    for_each_api!(check);
}

#[test]
fn advertised_versions_are_those_that_clients_were_tried_with() {
    let told = |key: ApiKey| {
        let Versions { min, max } = key.advertised();
        format!("{} {min}-{max}", key.code())
    };
    let table: Vec<_> = ApiKey::ALL.iter().map(|&key| told(key)).collect();
    let expected = "0 0-13, 1 4-18, 2 0-10, 3 0-13, 8 2-10, 9 1-10, 10 0-6, 11 0-9, 12 0-4, 13 0-5, \
        14 0-5, 15 0-6, 16 0-5, 18 0-4, 19 0-7, 20 0-6, 21 0-2, 22 0-5, 23 2-4, 24 0-5, 25 0-4, 26 0-5, \
        27 1-2, 28 0-5, 32 1-4, 33 0-2, 35 1-4, 37 0-3, 42 0-2, 44 0-1, 47 0-0, 60 0-2, 61 0-0, \
        65 0-0, 66 0-2, 75 0-0";
    assert_eq!(table.join(", "), expected);
    assert_eq!(ApiKey::Produce.served(), Versions::between(3, 13));
    for &key in ApiKey::ALL {
        assert_eq!(ApiKey::from_code(key.code()), Some(key));
        assert!(key == ApiKey::Produce || key.served() == key.advertised(), "{key:?}");
    }
    assert_eq!(ApiKey::from_code(999), None);
}

#[test]
fn error_codes_keep_number_name_and_mark() {
    for &code in ErrorCode::ALL {
        assert_eq!(ErrorCode::from(code.code()), code);
    }
    assert_eq!(ErrorCode::from(9_999), ErrorCode::UnknownServerError);
    assert_eq!(ErrorCode::default().code(), 0);
    assert_eq!(ErrorCode::ALL.len(), 135);
    assert_eq!(ErrorCode::UnknownTopicId.name(), "UNKNOWN_TOPIC_ID");
    assert_eq!(ErrorCode::UnknownTopicId.code(), 100);
    assert!(ErrorCode::UnknownTopicId.is_retriable());
    assert!(!ErrorCode::MemberIdRequired.is_retriable());
}

fn header(api_key: ApiKey, api_version: i16, client_id: Option<&str>) -> RequestHeader {
    let client_id = client_id.map(str::to_owned);
    RequestHeader { api_key, api_version, correlation_id: 77, client_id }
}

fn decode_header(frame: &[u8]) -> Result<RequestHeader, crate::codec::DecodeError> {
    let mut reader = Reader::new(Bytes::copy_from_slice(frame));
    let prefix = RequestPrefix::decode(&mut reader)?;
    RequestHeader::decode(ApiKey::from_code(prefix.api_key).unwrap(), prefix, &mut reader)
}

#[test]
fn client_id_is_not_compact_in_any_version() {
    let old = [0, 12, 0, 3, 0, 0, 0, 77, 0, 1, b'a'];
    let flexible = [0, 12, 0, 4, 0, 0, 0, 77, 0, 1, b'a', 0];
    for (version, bytes) in [(3, &old[..]), (4, &flexible[..])] {
        let expected = header(ApiKey::Heartbeat, version, Some("a"));
        assert_eq!(decode_header(bytes).unwrap(), expected);
        let mut writer = Writer::new();
        expected.encode(&mut writer).unwrap();
        assert_eq!(writer.as_slice(), bytes);
    }
}

#[test]
fn client_id_may_be_null_or_empty_and_must_be_text() {
    let with = |tail: &[u8]| decode_header(&[&[0, 12, 0, 0, 0, 0, 0, 77][..], tail].concat());
    assert_eq!(with(&[0xff, 0xff]).unwrap().client_id, None);
    assert_eq!(with(&[0, 0]).unwrap().client_id.as_deref(), Some(""));
    let error = with(&[0, 1, 0xff]).unwrap_err();
    assert_eq!(error.to_string(), "RequestHeader.client_id: not UTF-8");
    for length in 0..8 {
        assert!(decode_header(&[0; 7][..length.min(7)]).is_err());
    }
}

#[test]
fn response_header_has_tags_in_flexible_versions_except_for_api_versions() {
    for &key in ApiKey::ALL {
        for version in key.served().iter() {
            let is_flexible = key.flexible().contains(version);
            let expected = is_flexible && key != ApiKey::ApiVersions;
            assert_eq!(key.response_header_version(version), i16::from(expected), "{key:?}");
            assert_eq!(key.request_header_version(version), 1 + i16::from(is_flexible), "{key:?}");
        }
    }
}

#[test]
fn frames_tell_their_length() {
    let body = heartbeat::HeartbeatResponse { error_code: 27.into(), ..Default::default() };
    let frame = response_frame(ApiKey::Heartbeat, 4, 77, &body).unwrap();
    let expected = [0, 0, 0, 12, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 27, 0];
    assert_eq!(frame, expected[..]);
    let mut reader = Reader::new(frame.slice(4..));
    assert_eq!(decode_response_header(ApiKey::Heartbeat, 4, &mut reader), Ok(77));
    assert_eq!(heartbeat::HeartbeatResponse::decode(&mut reader, 4), Ok(body));
    let request = api_versions::ApiVersionsRequest::default();
    let frame = request_frame(&header(ApiKey::ApiVersions, 0, None), &request).unwrap();
    assert_eq!(frame, [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff][..]);
}

#[test]
fn fetch_in_pieces_is_the_same_frame_as_in_one() {
    for version in FetchResponse::VERSIONS.iter() {
        let blobs = [Bytes::from(vec![1; 200]), Bytes::new(), Bytes::from(vec![2; 3])];
        let whole = fetch_response(version, |i| Records::Bytes(blobs[i].clone()));
        let expected = response_frame(ApiKey::Fetch, version, 5, &whole).unwrap();
        let size = |i: usize| u32::try_from(blobs[i].len()).unwrap();
        let cut = fetch_response(version, |i| Records::External(size(i)));
        assert!(response_frame(ApiKey::Fetch, version, 5, &cut).is_err());
        let mut sent = Vec::new();
        for piece in cut.pieces(version, 5).unwrap() {
            match piece {
                Piece::Bytes(bytes) => sent.extend_from_slice(&bytes),
                Piece::External { index, size } => {
                    assert_eq!(usize::try_from(size).unwrap(), blobs[index].len());
                    sent.extend_from_slice(&blobs[index]);
                }
            }
        }
        assert_eq!(sent, expected, "version {version}");
    }
}

fn fetch_response(version: i16, records: impl Fn(usize) -> Records) -> FetchResponse {
    let partition = |i| PartitionData { records: records(i), ..Default::default() };
    let topic = |partitions| FetchableTopicResponse { partitions, ..Default::default() };
    FetchResponse {
        session_id: i32::from(version >= 7),
        responses: vec![topic(vec![partition(0), partition(1)]), topic(vec![partition(2)])],
        ..Default::default()
    }
}

#[test]
fn empty_records_are_zero_bytes_and_never_null() {
    let partition = PartitionData::default();
    let response = FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    assert!(encode(&response, 4).ends_with(&[0, 0, 0, 0]));
    // Compact: length 0 is 1, then the empty tags of partition, topic and response.
    assert!(encode(&response, 17).ends_with(&[1, 0, 0, 0]));
}
