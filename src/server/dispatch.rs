//! From a frame to its answer: reads the header, checks the version, calls the handler.
//!
//! An API or version that is not served ends the connection, as Kafka does: no error body is ever
//! guessed. The exception is ApiVersions, which answers in its first version with error 35 so that
//! any client finds out what is served.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::connection::{Answer, Later, Outcome};
use super::context::Context;
use super::frame::Frame;
use super::{faults, handlers};
use crate::broker::Broker;
use crate::codec::{EncodeError, Message, Reader};
use crate::protocol::{ApiKey, RequestHeader, RequestPrefix, response_frame};

/// Why a connection ends whose request was understood.
const NOT_WRITTEN: &str = "internal error: a response could not be written";

/// One request on its way through.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) context: Arc<Context>,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    /// "" where the client gave none; without control characters.
    pub(crate) client_id: String,
    began: Duration,
}

/// What a handler is given: the call and the broker, which is ready.
#[derive(Clone)]
pub(crate) struct Cx {
    pub(crate) call: Call,
    pub(crate) broker: Arc<Broker>,
}

/// Answers one frame, its size field cut off.
pub(crate) fn dispatch(context: &Arc<Context>, frame: Bytes) -> Answer {
    let mut reader = Reader::new(frame.clone());
    let prefix = match RequestPrefix::decode(&mut reader) {
        Ok(prefix) => prefix,
        Err(error) => return Answer::Close(error.to_string()),
    };
    let (key, version) = (prefix.api_key, prefix.api_version);
    let Some(api) = ApiKey::from_code(key) else {
        let name = client_id_of(&frame);
        return Answer::Close(format!(
            "API key {key} version {version} is not served (client id {name:?})"
        ));
    };
    let mut call = Call {
        context: Arc::clone(context),
        api,
        version,
        correlation_id: prefix.correlation_id,
        client_id: String::new(),
        began: context.clock.elapsed(),
    };
    if !api.served().contains(version) {
        if api == ApiKey::ApiVersions {
            return handlers::api_versions::too_new(&call);
        }
        let (name, served) = (client_id_of(&frame), api.served());
        return Answer::Close(format!(
            "{} version {version} is not served, versions {} to {} are (client id {name:?})",
            api.name(),
            served.min,
            served.max
        ));
    }
    match RequestHeader::decode(api, prefix, &mut reader) {
        Ok(header) => call.client_id = printable(header.client_id.unwrap_or_default()),
        Err(error) => return Answer::Close(format!("{}: {error}", api.name())),
    }
    context.note_client_id(&call.client_id);
    if api == ApiKey::ApiVersions {
        return handlers::api_versions::answer(&call, reader);
    }
    match context.boot.broker() {
        Some(broker) => faults::pass(Cx { call, broker }, reader),
        None => Answer::Parked(Box::pin(once_ready(call, reader))),
    }
}

/// Holds a request that came while the broker was starting until it is ready.
async fn once_ready(call: Call, reader: Reader) -> Outcome {
    let Some(broker) = call.context.boot.ready().await else {
        return Outcome::Close("the broker does not start".to_owned());
    };
    finish(faults::pass(Cx { call, broker }, reader)).await
}

/// Waits for what an answer comes to.
pub(super) async fn finish(answer: Answer) -> Outcome {
    match answer {
        Answer::Now(frame) => Outcome::Send(frame),
        Answer::AfterSync(later) | Answer::Parked(later) => later.await,
        Answer::Silent => Outcome::Silent,
        Answer::Close(reason) => Outcome::Close(reason),
    }
}

/// Decodes the body and answers with what `handle` gives, at once.
pub(super) fn now<Request: Message, Response: Message>(
    cx: &Cx,
    mut reader: Reader,
    handle: impl FnOnce(&Cx, Request) -> Response,
) -> Answer {
    match Request::decode(&mut reader, cx.call.version) {
        Ok(request) => cx.call.answer(&handle(cx, request)),
        Err(error) => cx.call.undecodable(&error.to_string()),
    }
}

/// Decodes the body and answers when `handle` is done; later requests of the connection wait.
pub(super) fn later<Request, Response, Work>(
    cx: Cx,
    mut reader: Reader,
    handle: impl FnOnce(Cx, Request) -> Work,
) -> Answer
where
    Request: Message,
    Response: Message + Send,
    Work: Future<Output = Response> + Send + 'static,
{
    let call = cx.call.clone();
    match Request::decode(&mut reader, cx.call.version) {
        Ok(request) => {
            let work = handle(cx, request);
            let answer: Later = Box::pin(async move { call.outcome(&work.await) });
            Answer::Parked(answer)
        }
        Err(error) => call.undecodable(&error.to_string()),
    }
}

impl Call {
    /// A response as a frame; `None`, logged, where this version cannot carry it, which is a fault
    /// of ours.
    fn frame<Response: Message>(&self, response: &Response) -> Option<Frame> {
        let frame = response_frame(self.api, self.version, self.correlation_id, response);
        let bytes = self.written(frame)?;
        Some(Frame::from_bytes(bytes))
    }

    /// Notes that the answer is made, or that it could not be.
    pub(crate) fn written<T>(&self, frame: Result<T, EncodeError>) -> Option<T> {
        let context = &self.context;
        match frame {
            Ok(frame) => {
                let took = context.clock.elapsed().saturating_sub(self.began);
                context.metrics.request(self.api, took);
                Some(frame)
            }
            Err(error) => {
                let (api, version) = (self.api.name(), self.version);
                tracing::error!(api, version, %error, "response cannot be written");
                None
            }
        }
    }

    /// Answers at once.
    pub(crate) fn answer<Response: Message>(&self, response: &Response) -> Answer {
        match self.frame(response) {
            Some(frame) => Answer::Now(frame),
            None => Answer::Close(NOT_WRITTEN.to_owned()),
        }
    }

    /// What a response that took its time comes to.
    pub(crate) fn outcome<Response: Message>(&self, response: &Response) -> Outcome {
        match self.frame(response) {
            Some(frame) => Outcome::Send(frame),
            None => Outcome::Close(NOT_WRITTEN.to_owned()),
        }
    }

    /// Ends the connection over a body that makes no sense.
    pub(crate) fn undecodable(&self, error: &str) -> Answer {
        let (name, version) = (self.api.name(), self.version);
        Answer::Close(format!(
            "{name} version {version} cannot be read (client id {:?}): {error}",
            self.client_id
        ))
    }
}

/// Unlike Kafka: a client id with its control characters escaped, since it goes on into member ids
/// and descriptions, which others see on terminals, in logs and tables.
fn printable(client_id: String) -> String {
    if !client_id.contains(char::is_control) {
        return client_id;
    }
    let mut escaped = String::with_capacity(client_id.len());
    for character in client_id.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// The client id that stands at the same place in every header version; for a log line.
fn client_id_of(frame: &[u8]) -> String {
    const AT: usize = 8;
    let length = frame.get(AT..).and_then(|rest| rest.first_chunk());
    let length = length.map_or(0, |bytes| i16::from_be_bytes(*bytes));
    let length = usize::try_from(length).unwrap_or(0);
    let bytes = frame.get(AT + 2..).and_then(|rest| rest.get(..length)).unwrap_or_default();
    String::from_utf8_lossy(bytes).chars().take(256).collect()
}
