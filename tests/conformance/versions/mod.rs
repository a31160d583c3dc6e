//! Every API in every version: a small real request that must succeed, and an answer that two codecs
//! read to its last byte, ours and an independent one (the crate `kafka-protocol`). Then the versions
//! next to those that are announced, which must not be answered.
//!
//! An API that is added to the table has to have a row here.

use bytes::Bytes;
use kafka_protocol::protocol::{Decodable, Message as Theirs};
use ottla::codec::{Message, Reader};
use ottla::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use ottla::protocol::{ApiKey, ErrorCode, Request};

use super::client::{Client, header};

mod groups;
mod records;
mod topics;
mod transactions;

/// The APIs that were asked so far, and of whom.
struct Table {
    client: Client,
    announced: Vec<ApiVersion>,
    asked: Vec<ApiKey>,
}

impl Table {
    fn start() -> Self {
        let mut client = Client::connect();
        let announced = client.call(2, &ApiVersionsRequest::default()).api_keys;
        Self { client, announced, asked: Vec::new() }
    }

    /// Asks in each version that both sides have. `make` makes what the request needs and the request;
    /// `judge` looks at the answer and says which error code it carries: none is expected.
    #[track_caller]
    fn row<R: Request, Other: Theirs + Decodable>(
        &mut self,
        mut make: impl FnMut(&mut Client, i16) -> R,
        judge: impl Fn(i16, &R::Response) -> ErrorCode,
    ) {
        let name = R::KEY.name();
        let code = R::KEY.code();
        let row = self.announced.iter().find(|row| row.api_key == code).unwrap();
        let announced = row.min_version..=row.max_version;
        // Differs from Kafka: it lacks the oldest versions of some APIs.
        for version in R::KEY.served().iter().filter(|version| announced.contains(version)) {
            let request = make(&mut self.client, version);
            let sent = self.client.send(version, &request);
            let body = self.client.receive_body(sent);
            check_other::<Other>(body.clone(), version, name);
            let mut reader = Reader::new(body);
            let response = R::Response::decode(&mut reader, version).unwrap();
            assert_eq!(reader.remaining(), 0, "{name} {version}: bytes behind the answer");
            let error_code = judge(version, &response);
            assert_eq!(error_code, ErrorCode::None, "{name} {version}");
        }
        self.asked.push(R::KEY);
    }
}

fn check_other<Other: Theirs + Decodable>(mut body: Bytes, version: i16, name: &str) {
    if Other::VERSIONS.min <= version && version <= Other::VERSIONS.max {
        let read = Other::decode(&mut body, version);
        assert!(read.is_ok(), "{name} {version}: {:?}", read.err());
        assert!(body.is_empty(), "{name} {version}: {} bytes behind the answer", body.len());
    }
}

#[test]
fn every_version_of_every_api_does_its_work() {
    let mut table = Table::start();
    table.row::<ApiVersionsRequest, kafka_protocol::messages::ApiVersionsResponse>(
        |_, _| ApiVersionsRequest {
            client_software_name: "conformance".to_owned(),
            client_software_version: "1".to_owned(),
        },
        |_, response| response.error_code,
    );
    records::ask(&mut table);
    topics::ask(&mut table);
    groups::ask(&mut table);
    transactions::ask(&mut table);
    let left_out: Vec<_> = ApiKey::ALL.iter().filter(|key| !table.asked.contains(key)).collect();
    assert_eq!(left_out, [] as [&ApiKey; 0], "APIs without a row here");
}

#[test]
fn versions_next_to_those_that_are_announced_end_the_connection() {
    let announced = Client::connect().call(2, &ApiVersionsRequest::default()).api_keys;
    for row in announced.iter().filter(|row| row.api_key != ApiKey::ApiVersions.code()) {
        for version in [row.min_version - 1, row.max_version + 1] {
            let mut client = Client::connect();
            let is_flexible = version > 0;
            let header = header(row.api_key, version, 1, is_flexible);
            client.send_frame(&[&header[..], &[0; 64]].concat());
            client.expect_closed();
        }
    }
}

#[test]
fn versions_next_to_those_of_api_versions_are_told_which_there_are() {
    for version in [-1, 5] {
        let mut client = Client::connect();
        client.send_frame(&header(ApiKey::ApiVersions.code(), version, 7, version > 0));
        let mut reader = Reader::new(client.receive_frame());
        assert_eq!(reader.i32().unwrap(), 7);
        let response = ApiVersionsResponse::decode(&mut reader, 0).unwrap();
        assert_eq!(reader.remaining(), 0, "version {version}: in the form of version 0");
        assert_eq!(response.error_code, ErrorCode::UnsupportedVersion, "version {version}");
        assert_eq!((response.api_keys[0].min_version, response.api_keys[0].max_version), (0, 4));
    }
}
