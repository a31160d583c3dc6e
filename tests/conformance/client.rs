//! A client of one connection that says exactly what a test wants said: requests in any version, in
//! any order, or bytes that are no request at all.

use std::io::{self, ErrorKind, Read, Write};
use std::marker::PhantomData;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use ottla::codec::{Message, Reader, Writer};
use ottla::protocol::header::{decode_response_header, request_frame};
use ottla::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla::protocol::messages::metadata::MetadataRequest;
use ottla::protocol::{Request, RequestHeader};

use super::broker;

/// How long an answer, or the end of a connection, may take on a busy machine.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One connection to a broker.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    next_correlation_id: i32,
    is_kafka: Option<bool>,
    /// Goes into each header.
    pub client_id: Option<String>,
}

/// A request that was sent and whose answer is to come.
#[derive(Debug)]
#[must_use = "an answer that is not read is found by the next reader"]
pub struct Sent<R> {
    version: i16,
    correlation_id: i32,
    request: PhantomData<R>,
}

impl Client {
    /// Connects to the broker that all tests share.
    pub fn connect() -> Self {
        Self::connect_to(broker::shared().address())
    }

    /// Connects to `HOST:PORT`.
    pub fn connect_to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        stream.set_write_timeout(Some(ANSWER_MAX)).unwrap();
        stream.set_nodelay(true).unwrap();
        let client_id = Some("conformance".to_owned());
        Self { stream, next_correlation_id: 1, is_kafka: None, client_id }
    }

    /// Whether the broker is an Apache Kafka: it does not know a config of ours.
    pub fn is_kafka(&mut self) -> bool {
        if let Some(is_kafka) = self.is_kafka {
            return is_kafka;
        }
        let node = self.call(4, &MetadataRequest::default()).brokers[0].node_id;
        let resource = DescribeConfigsResource {
            resource_type: 4,
            resource_name: node.to_string(),
            configuration_keys: Some(vec!["ottla.durability".to_owned()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let is_kafka = self.call(4, &request).results[0].configs.is_empty();
        self.is_kafka = Some(is_kafka);
        is_kafka
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        let sent = self.send(version, request);
        self.receive(sent)
    }

    /// Sends a request.
    #[track_caller]
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> Sent<R> {
        let (frame, sent) = self.frame(version, request);
        self.send_raw(&frame);
        sent
    }

    /// The bytes of a request, not sent yet.
    #[track_caller]
    pub fn frame<R: Request>(&mut self, version: i16, request: &R) -> (Bytes, Sent<R>) {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id,
            client_id: self.client_id.clone(),
        };
        let frame = request_frame(&header, request).unwrap();
        (frame, Sent { version, correlation_id, request: PhantomData })
    }

    /// Reads the answer to `sent`, which must come next and have no byte too many.
    #[track_caller]
    pub fn receive<R: Request>(&mut self, sent: Sent<R>) -> R::Response {
        let version = sent.version;
        let mut body = Reader::new(self.receive_body(sent));
        let response = R::Response::decode(&mut body, version).unwrap();
        assert_eq!(body.remaining(), 0, "bytes behind a {}", R::Response::NAME);
        response
    }

    /// Reads the answer to `sent`: its bytes behind the header.
    #[track_caller]
    pub fn receive_body<R: Request>(&mut self, sent: Sent<R>) -> Bytes {
        let frame = self.receive_frame();
        let mut reader = Reader::new(frame.clone());
        let correlation_id = decode_response_header(R::KEY, sent.version, &mut reader).unwrap();
        assert_eq!(correlation_id, sent.correlation_id, "answers keep the order of requests");
        frame.slice(reader.position()..)
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes as they are; the broker may have closed the connection already.
    pub fn try_send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends bytes from another thread, so that the broker may be as slow to take them as it likes.
    pub fn send_rest(&mut self, bytes: &Bytes) {
        let (mut stream, bytes) = (self.stream.try_clone().unwrap(), bytes.clone());
        std::thread::spawn(move || stream.write_all(&bytes).unwrap());
    }

    /// Sends a frame of any content with its true length.
    #[track_caller]
    pub fn send_frame(&mut self, content: &[u8]) {
        let length = i32::try_from(content.len()).unwrap();
        self.send_raw(&[&length.to_be_bytes(), content].concat());
    }

    /// Says that nothing more will be sent; answers can still be read.
    pub fn finish_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Keeps the system from taking much of an answer before it is read.
    pub fn take_little(&self) {
        socket2::SockRef::from(&self.stream).set_recv_buffer_size(64 << 10).unwrap();
    }

    /// Ends the connection as a process does that dies with answers unread: by a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads one frame: all behind its length.
    #[track_caller]
    pub fn receive_frame(&mut self) -> Bytes {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        Bytes::from(frame)
    }

    /// Waits until the broker ends the connection, which it must do without a further byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Ok(_) => panic!("an answer that begins with {byte:?} where the connection should end"),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("no end of the connection: {error}"),
        }
    }

    /// Whether the broker has ended the connection by now.
    pub fn is_closed(&self) -> bool {
        match self.peek() {
            Ok(count) => count == 0,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Whether something is there to read by now.
    pub fn is_answered(&self) -> bool {
        self.peek().is_ok_and(|count| count > 0)
    }

    fn peek(&self) -> io::Result<usize> {
        self.stream.set_nonblocking(true).unwrap();
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        seen
    }

    /// The host that this side of the connection has, without the port.
    pub fn local_host(&self) -> String {
        self.stream.local_addr().unwrap().ip().to_string()
    }
}

/// A request header by hand: key and version need not exist. The client id is `conformance`.
pub fn header(api_key: i16, api_version: i16, correlation_id: i32, is_flexible: bool) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.i16(api_key);
    writer.i16(api_version);
    writer.i32(correlation_id);
    writer.nullable_string(Some("conformance"), false).unwrap();
    if is_flexible {
        writer.uvarint(0);
    }
    writer.as_slice().to_vec()
}
