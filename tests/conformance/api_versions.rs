//! ApiVersions (API 18), the first thing most clients say: in every version, in one that no broker
//! has, and what old clients read out of the ranges.

use bytes::Bytes;
use ottla::codec::{Message, Reader};
use ottla::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use ottla::protocol::{ApiKey, ErrorCode};

use super::broker;
use super::client::{Client, header};
use super::kit;

fn request() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "conformance".to_owned(),
        client_software_version: "1.0".to_owned(),
    }
}

fn row(response: &ApiVersionsResponse, key: i16) -> Option<(i16, i16)> {
    let row = response.api_keys.iter().find(|row| row.api_key == key);
    row.map(|row| (row.min_version, row.max_version))
}

#[test]
fn every_version_is_answered_behind_a_plain_header_with_the_same_ranges() {
    let mut client = Client::connect();
    let newest = client.call(4, &request());
    assert_eq!(newest.error_code, ErrorCode::None);
    for version in 0..=4 {
        let sent = client.send(version, &request());
        let body = client.receive_body(sent); // Decoded with header version 0 at any version.
        let mut reader = Reader::new(body);
        let response = ApiVersionsResponse::decode(&mut reader, version).unwrap();
        assert_eq!(reader.remaining(), 0, "version {version}");
        assert_eq!(response.api_keys, newest.api_keys, "version {version}");
        assert_eq!(response.throttle_time_ms, 0);
    }
}

#[test]
fn the_ranges_are_those_of_the_table() {
    let response = Client::connect().call(3, &request());
    if broker::shared().is_kafka() {
        // Differs from Kafka: ottla announces what it serves, and no key that is not wholly done.
        assert!(row(&response, ApiKey::Produce.code()).is_some());
        return;
    }
    let announced = |key: &ApiKey| ApiVersion {
        api_key: key.code(),
        min_version: key.advertised().min,
        max_version: key.advertised().max,
    };
    let expected: Vec<_> = ApiKey::ALL.iter().map(announced).collect();
    let mut got = response.api_keys;
    got.sort_by_key(|row| row.api_key);
    assert_eq!(got, expected);
}

#[test]
fn a_version_too_new_gets_error_35_in_the_oldest_form_and_may_try_again() {
    let mut client = Client::connect();
    for body in [&b"\xff\xff garbage \x7f"[..], b"", &[0; 300]] {
        client.send_frame(&[&header(18, 99, 7, true)[..], body].concat());
        let mut reader = Reader::new(client.receive_frame());
        assert_eq!(reader.i32().unwrap(), 7);
        let response = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
        assert_eq!(reader.remaining(), 0);
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion);
        assert_eq!(row(&response, 18), Some((0, 4)));
        assert_eq!(response.api_keys.len(), 1, "Kafka tells of ApiVersions alone");
    }
    assert_eq!(client.call(4, &request()).error_code, ErrorCode::None);
}

#[test]
fn odd_software_names_are_refused_with_42_and_the_connection_stays_open() {
    let mut client = Client::connect();
    for (name, version, expected) in [
        ("", "1.0", ErrorCode::InvalidRequest),
        ("a b", "1.0", ErrorCode::InvalidRequest),
        ("-a", "1.0", ErrorCode::InvalidRequest),
        ("a", "", ErrorCode::InvalidRequest),
        ("a", "1.", ErrorCode::InvalidRequest),
        ("a.b-c", "1", ErrorCode::None),
        ("7", "1.0-SNAPSHOT", ErrorCode::None),
    ] {
        let request = ApiVersionsRequest {
            client_software_name: name.to_owned(),
            client_software_version: version.to_owned(),
        };
        let response = client.call(3, &request);
        assert_eq!(response.error_code, expected, "{name:?} {version:?}");
        assert_eq!(response.api_keys.is_empty(), expected.is_error(), "{name:?} {version:?}");
    }
}

#[test]
fn old_librdkafka_finds_the_versions_it_looks_for() {
    let response = Client::connect().call(3, &request());
    for (key, versions) in [
        (ApiKey::Produce, &[0, 3, 7][..]), // KAFKA-18659: without 0 it stops compressing.
        (ApiKey::Fetch, &[4, 10]),
        (ApiKey::FindCoordinator, &[0]),
        (ApiKey::OffsetCommit, &[2]),
        (ApiKey::OffsetFetch, &[1]),
        (ApiKey::JoinGroup, &[0]),
        (ApiKey::SyncGroup, &[0]),
        (ApiKey::Heartbeat, &[0]),
        (ApiKey::LeaveGroup, &[0]),
        (ApiKey::ListOffsets, &[1]),
        (ApiKey::InitProducerId, &[0]),
    ] {
        let (min, max) = row(&response, key.code()).unwrap();
        for version in versions {
            assert!(min <= *version && *version <= max, "{key:?} {version}: {min}-{max}");
        }
    }
}

#[test]
fn features_stand_in_tags_and_none_that_old_java_cannot_read() {
    let mut client = Client::connect();
    for version in 3..=4 {
        let response = client.call(version, &request());
        assert!(response.finalized_features_epoch >= 0 || response.finalized_features.is_empty());
        assert!(!response.zk_migration_ready);
        for feature in &response.finalized_features {
            assert!(feature.max_version_level > 0, "{feature:?}");
            assert_eq!(feature.min_version_level, feature.max_version_level, "{feature:?}");
        }
        for feature in &response.supported_features {
            assert!(version == 4 || feature.min_version > 0, "{feature:?}"); // KAFKA-17492
        }
    }
}

#[test]
fn it_may_come_at_any_time_and_need_not_come_at_all() {
    let mut client = Client::connect();
    let response = client.call(4, &kit::metadata_request(&[]));
    assert_eq!(response.brokers.len(), 1);
    assert_eq!(client.call(2, &request()).error_code, ErrorCode::None);
    let request = kit::fetch_request("no-such-topic", 0, 0);
    let response = Client::connect().call(11, &request);
    let data = kit::only_partition(&response);
    assert_eq!(data.error_code, ErrorCode::UnknownTopicOrPartition);
    // An empty body of version 0, byte for byte.
    client.send_frame(&header(18, 0, 9, false));
    let frame: Bytes = client.receive_frame();
    assert_eq!(&frame[..6], [0, 0, 0, 9, 0, 0]);
}
