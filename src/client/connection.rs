//! One connection to one broker: requests go out in order, answers come back in the same order.
//!
//! Invariant: whoever stops waiting for an answer leaves the connection in the middle of a frame.
//! Such a connection says so ([`Connection::is_usable`]) and is never used again.

use std::future::Future;
use std::io;
use std::marker::PhantomData;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::address::Address;
use super::error::{ClientError, shown};
use crate::clock::Clock;
use crate::codec::{Message, Reader, Versions};
use crate::protocol::header::{decode_response_header, request_frame};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use crate::protocol::{ApiKey, ErrorCode, Request, RequestHeader};

/// The largest answer taken. Above what a fetch asks for, below what the first four bytes of a TLS
/// alert or an HTTP answer say when they are read as a length.
const FRAME_BYTES_MAX: u32 = 128 * 1024 * 1024;

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name that brokers see in every request.
    pub client_id: String,
    /// How long a connection may take to be made, in ms.
    pub connect_timeout_ms: u64,
    /// How long an answer may take, in ms; requests that wait by their nature get more.
    pub request_timeout_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            connect_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
        }
    }
}

/// A connection whose versions are agreed on.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    clock: Clock,
    options: Options,
    versions: Vec<ApiVersion>,
    next_correlation_id: i32,
    /// Something was begun and not finished.
    is_broken: bool,
    /// Answers that are still to be received.
    outstanding: u32,
}

/// A request that was sent, whose answer is to be received.
#[derive(Debug)]
#[must_use = "answers come in order, so each must be received"]
pub struct Sent<R> {
    version: i16,
    correlation_id: i32,
    request: PhantomData<R>,
}

impl Connection {
    /// Connects and asks which versions are served.
    ///
    /// # Errors
    /// `Refused`, `Connect`, `Timeout`, `NotKafka`, `Closed`.
    pub async fn open(
        address: &Address,
        clock: &Clock,
        options: &Options,
    ) -> Result<Self, ClientError> {
        let timeout_ms = options.connect_timeout_ms;
        let connecting = TcpStream::connect((address.host.as_str(), address.port));
        let connected = within(clock, timeout_ms, connecting).await;
        let address = address.to_string();
        let stream = connected.map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionRefused => ClientError::Refused { address: address.clone() },
            io::ErrorKind::TimedOut => {
                let what = "the connection";
                ClientError::Timeout { address: address.clone(), what, timeout_ms }
            }
            _ => ClientError::Connect { address: address.clone(), source },
        })?;
        // A request is written in one piece: waiting for more to send only costs time.
        let fast = stream.set_nodelay(true);
        fast.map_err(|source| ClientError::Io { address: address.clone(), source })?;
        let mut connection = Self {
            stream,
            address,
            clock: clock.clone(),
            options: options.clone(),
            versions: Vec::new(),
            next_correlation_id: 0,
            is_broken: false,
            outstanding: 0,
        };
        connection.negotiate().await?;
        Ok(connection)
    }

    /// `HOST:PORT` of the broker.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether another request can be sent: nothing is half done, and the broker has not hung up.
    pub fn is_usable(&self) -> bool {
        if self.is_broken || self.outstanding > 0 {
            return false;
        }
        let mut byte = [0];
        matches!(
            self.stream.try_read(&mut byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock
        )
    }

    /// What the broker said it serves.
    pub fn versions(&self) -> &[ApiVersion] {
        &self.versions
    }

    /// The highest version of an API that both sides have, `cap` at most.
    ///
    /// # Errors
    /// `Version` if there is none.
    pub fn version<R: Request>(&self, cap: i16) -> Result<i16, ClientError> {
        let served = R::KEY.served();
        let ours = Versions::between(served.min, served.max.min(cap));
        let row = self.versions.iter().find(|row| row.api_key == R::KEY.code());
        let theirs =
            row.map_or(Versions::NONE, |row| Versions::between(row.min_version, row.max_version));
        let highest = ours.max.min(theirs.max);
        if highest < ours.min || highest < theirs.min {
            return Err(ClientError::Version {
                address: self.address.clone(),
                what: R::KEY.name(),
                theirs: shown(theirs),
                ours: shown(ours),
            });
        }
        Ok(highest)
    }

    /// Sends the request made for the agreed version and waits for its answer.
    ///
    /// # Errors
    /// All but `Refusal`: error codes inside the answer are the caller's.
    pub async fn call<R: Request>(
        &mut self,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        self.call_within(self.options.request_timeout_ms, request).await
    }

    /// [`Connection::call`] for a request whose answer may take `timeout_ms`.
    ///
    /// # Errors
    /// As for [`Connection::call`].
    pub async fn call_within<R: Request>(
        &mut self,
        timeout_ms: u64,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let version = self.version::<R>(by_name_max(R::KEY))?;
        let sent = self.send(version, &request(version)).await?;
        self.receive(sent, timeout_ms).await
    }

    /// Sends a request without waiting for the answer. Receive it before anything sent later.
    ///
    /// # Errors
    /// `Encode` (then nothing was sent), `Io`, `Timeout`.
    pub async fn send<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Sent<R>, ClientError> {
        let sent = self.send_unanswered(version, request).await?;
        self.outstanding += 1;
        Ok(sent)
    }

    /// Sends a request that gets no answer, as Produce with acks=0.
    ///
    /// # Errors
    /// As for [`Connection::send`].
    pub(super) async fn send_unanswered<R: Request>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Sent<R>, ClientError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1) & i32::MAX;
        let header = RequestHeader {
            api_key: R::KEY,
            api_version: version,
            correlation_id,
            client_id: Some(self.options.client_id.clone()),
        };
        let what = R::KEY.name();
        let frame = request_frame(&header, request);
        let frame = frame.map_err(|source| ClientError::Encode { what, version, source })?;
        self.is_broken = true;
        let timeout_ms = self.options.request_timeout_ms;
        let written = within(&self.clock, timeout_ms, self.stream.write_all(&frame)).await;
        written.map_err(|source| self.failed(what, timeout_ms, source))?;
        self.is_broken = false;
        Ok(Sent { version, correlation_id, request: PhantomData })
    }

    /// Receives the answer to the oldest request that has none yet.
    ///
    /// # Errors
    /// `Timeout`, `Closed`, `Io`, `NotKafka`, `Decode`.
    pub async fn receive<R: Request>(
        &mut self,
        sent: Sent<R>,
        timeout_ms: u64,
    ) -> Result<R::Response, ClientError> {
        let Sent { version, correlation_id, .. } = sent;
        let mut body = self.frame(R::KEY, version, correlation_id, timeout_ms).await?;
        <R::Response as Message>::decode(&mut body, version).map_err(|source| ClientError::Decode {
            address: self.address.clone(),
            what: R::KEY.name(),
            source,
        })
    }

    /// The body of the next answer.
    async fn frame(
        &mut self,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        timeout_ms: u64,
    ) -> Result<Reader, ClientError> {
        let what = api.name();
        self.is_broken = true;
        let frame = within(&self.clock, timeout_ms, read_frame(&mut self.stream)).await;
        let frame = frame.map_err(|source| self.failed(what, timeout_ms, source))?;
        let mut reader = Reader::new(frame);
        let header = decode_response_header(api, version, &mut reader);
        let found = header.map_err(|source| ClientError::Decode {
            address: self.address.clone(),
            what,
            source,
        })?;
        if found != correlation_id {
            return Err(ClientError::NotKafka { address: self.address.clone() });
        }
        self.is_broken = false;
        self.outstanding = self.outstanding.saturating_sub(1);
        Ok(reader)
    }

    /// Agrees on versions. A broker that does not know our ApiVersions answers in version 0, with
    /// error 35 (KIP-511); it is asked again in version 0, which all have.
    async fn negotiate(&mut self) -> Result<(), ClientError> {
        const FIRST_VERSION: i16 = 3;
        let request = ApiVersionsRequest {
            client_software_name: "ottla".to_owned(),
            client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let timeout_ms = self.options.connect_timeout_ms;
        let mut version = FIRST_VERSION;
        loop {
            let sent = self.send(version, &request).await?;
            let key = ApiKey::ApiVersions;
            let mut body = self.frame(key, version, sent.correlation_id, timeout_ms).await?;
            let is_refused = body.clone().i16().is_ok_and(|code| {
                ErrorCode::from(code) == ErrorCode::UnsupportedVersion && version > 0
            });
            if is_refused {
                version = 0;
                continue;
            }
            let answer = ApiVersionsResponse::decode(&mut body, version);
            let answer = answer.map_err(|source| ClientError::Decode {
                address: self.address.clone(),
                what: key.name(),
                source,
            })?;
            ClientError::check(|| self.address.clone(), answer.error_code, None)?;
            self.versions = answer.api_keys;
            return Ok(());
        }
    }

    fn failed(&self, what: &'static str, timeout_ms: u64, source: io::Error) -> ClientError {
        let address = self.address.clone();
        match source.kind() {
            io::ErrorKind::TimedOut => ClientError::Timeout { address, what, timeout_ms },
            io::ErrorKind::InvalidData => ClientError::NotKafka { address },
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => ClientError::Closed { address, what },
            _ => ClientError::Io { address, source },
        }
    }
}

/// The last version of an API in which topics have names: later ones know them by id alone, which this
/// client does not keep.
fn by_name_max(api: ApiKey) -> i16 {
    let is_of_offsets = matches!(api, ApiKey::OffsetCommit | ApiKey::OffsetFetch);
    if is_of_offsets { 9 } else { i16::MAX }
}

/// Reads a length and so many bytes; memory is taken as they come.
async fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let length = stream.read_u32().await?;
    if !(4..=FRAME_BYTES_MAX).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut frame).await?;
    if u32::try_from(read) != Ok(length) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from(frame))
}

/// The outcome of `work`, or `TimedOut` after `timeout_ms`.
async fn within<T>(
    clock: &Clock,
    timeout_ms: u64,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        outcome = work => outcome,
        () = clock.sleep_ms(timeout_ms) => Err(io::ErrorKind::TimedOut.into()),
    }
}
