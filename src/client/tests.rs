//! The connection against peers that are no broker, too old, or hostile: each is a thread that
//! answers one connection with given bytes.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use bytes::Bytes;

use super::*;
use crate::clock::Clock;
use crate::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::protocol::messages::metadata::MetadataRequest;
use crate::protocol::{ApiKey, ErrorCode, response_frame};

/// Connects to a peer that gives `answers`, one for each request, and then hangs up.
fn open(answers: Vec<Bytes>) -> Result<Connection, ClientError> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let peer = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        for answer in answers {
            let mut length = [0; 4];
            socket.read_exact(&mut length).expect("a request");
            let length = usize::try_from(u32::from_be_bytes(length)).expect("a short request");
            socket.read_exact(&mut vec![0; length]).expect("a whole request");
            socket.write_all(&answer).expect("a client that listens");
        }
    });
    let opened = run(port, Options::default());
    peer.join().expect("the peer does not fail");
    opened
}

fn run(port: u16, options: Options) -> Result<Connection, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let address = Address { host: "127.0.0.1".to_owned(), port };
    runtime.expect("a runtime").block_on(Connection::open(&address, &Clock::system(), &options))
}

fn api_versions(version: i16, correlation_id: i32, answer: &ApiVersionsResponse) -> Bytes {
    response_frame(ApiKey::ApiVersions, version, correlation_id, answer).expect("a small answer")
}

fn metadata_up_to(max_version: i16) -> ApiVersionsResponse {
    let api_key = ApiKey::Metadata.code();
    let api_keys = vec![ApiVersion { api_key, min_version: 0, max_version }];
    ApiVersionsResponse { api_keys, ..ApiVersionsResponse::default() }
}

#[test]
fn the_highest_common_version_is_agreed_on() {
    let connection = open(vec![api_versions(3, 0, &metadata_up_to(7))]).expect("a broker");
    assert_eq!(connection.version::<MetadataRequest>(i16::MAX).ok(), Some(7));
    assert_eq!(connection.version::<MetadataRequest>(4).ok(), Some(4));
}

#[test]
fn a_broker_that_knows_only_old_versions_is_asked_again() {
    let refusal = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion,
        ..ApiVersionsResponse::default()
    };
    let answers = vec![api_versions(0, 0, &refusal), api_versions(0, 1, &metadata_up_to(5))];
    let connection = open(answers).expect("a broker");
    assert_eq!(connection.version::<MetadataRequest>(i16::MAX).ok(), Some(5));
}

#[test]
fn an_api_without_common_version_is_named() {
    let answer = metadata_up_to(7);
    let connection = open(vec![api_versions(3, 0, &answer)]).expect("a broker");
    let error = connection.version::<crate::protocol::messages::fetch::FetchRequest>(12);
    let text = error.expect_err("not served").to_string();
    assert!(text.contains("no usable version of Fetch: it has none, this client 4-12"), "{text}");
}

#[test]
fn other_protocols_are_recognized() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x15\x03\x03\x00\x02\x02\x28", // A TLS alert.
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x00",
    ] {
        let error = open(vec![Bytes::from_static(answer)]).expect_err("no broker");
        assert!(matches!(error, ClientError::NotKafka { .. }), "{error}");
    }
}

#[test]
fn a_frame_cut_short_is_an_end_of_the_connection() {
    let error = open(vec![Bytes::from_static(b"\x00\x00\x10\x00abc")]).expect_err("cut");
    assert!(matches!(error, ClientError::Closed { what: "ApiVersions", .. }), "{error}");
    let error = open(vec![]).expect_err("closed at once");
    assert!(matches!(error, ClientError::Closed { .. } | ClientError::Io { .. }), "{error}");
}

#[test]
fn a_hostile_count_is_an_error() {
    let bytes = b"\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00";
    let error = open(vec![Bytes::from_static(bytes)]).expect_err("hostile");
    assert!(matches!(error, ClientError::Decode { .. }), "{error}");
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let error = open(vec![api_versions(3, 7, &metadata_up_to(7))]).expect_err("not ours");
    assert!(matches!(error, ClientError::NotKafka { .. }), "{error}");
}

#[test]
fn nobody_there_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let error = run(port, Options::default()).expect_err("nobody listens");
    assert_eq!(error.to_string(), format!("nothing listens at 127.0.0.1:{port}"));
}

#[test]
fn silence_ends_at_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let options = Options { connect_timeout_ms: 30, ..Options::default() };
    let error = run(port, options).expect_err("silent");
    assert!(matches!(error, ClientError::Timeout { timeout_ms: 30, .. }), "{error}");
}
