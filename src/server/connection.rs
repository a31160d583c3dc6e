//! One client connection: read all, append all, answer all.
//!
//! Invariants: a request's effects begin only after those of the request before it are decided;
//! answers leave in the order of the requests; a parked request (a fetch that waits, a join) holds
//! back what follows, a produce that only waits for the disk does not. A frame's length is checked,
//! and the process's byte budget taken, before its buffer is.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::context::Context;
use super::dispatch;
use super::file_sender::FileSender;
use super::frame::{Frame, Part};
use super::patience::Patience;

/// The size field before each frame, in bytes.
const SIZE_BYTES: usize = 4;
/// API key, version and correlation id: no request is shorter, in bytes.
const FRAME_MIN_BYTES: usize = 8;
/// Produce requests whose answers may wait for the disk while later ones are appended.
const ANSWERS_WAITING_MAX: usize = 32;
/// Frames above this take their size from the budget before their body is read, in bytes.
const BUDGETED_FRAME_BYTES: usize = 256 * 1024;
/// Free space asked for before a read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Read at most this much before the frames read are handled, in bytes.
const READ_BATCH_BYTES: usize = 2 * 1024 * 1024;
/// Answers are gathered up to this size before they are written, in bytes.
const WRITE_BATCH_BYTES: usize = 256 * 1024;

/// What handling one request came to.
pub(crate) enum Answer {
    /// Send this.
    Now(Frame),
    /// Do what this gives; the request's effects are done already, so later ones may go on.
    AfterSync(Later),
    /// Do what this gives; later requests wait for it.
    Parked(Later),
    /// Nothing is sent (Produce with acks=0).
    Silent,
    /// The connection ends: the reason is logged, the peer gets no guess at an error body.
    Close(String),
}

/// What comes of a request in the end.
pub(crate) type Later = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// What a request that took its time came to; see [`Answer`].
pub(crate) enum Outcome {
    /// Send this.
    Send(Frame),
    /// Nothing is sent.
    Silent,
    /// The connection ends.
    Close(String),
}

enum Slot {
    Ready(Frame),
    Waiting(Later),
}

/// What a connection waited for.
enum Event {
    Answer(Outcome),
    Readable(io::Result<()>),
    /// The peer has reset the connection: nobody will read an answer.
    Broken(io::Result<()>),
    Stop,
    Idle,
}

/// Why a connection ended.
enum End {
    /// The peer closed, or we stopped.
    Quiet,
    /// Something worth a line in the log.
    Because(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Quiet,
            _ => Self::Because(error.to_string()),
        }
    }
}

/// The state of one connection between two steps.
pub(crate) struct Connection {
    stream: TcpStream,
    context: Arc<Context>,
    input: BytesMut,
    output: Vec<u8>,
    slots: VecDeque<Slot>,
    /// A parked request is the last slot: nothing behind it may begin.
    parked: bool,
    peer_closed: bool,
    permit: Option<OwnedSemaphorePermit>,
    patience: Patience,
    sender: FileSender,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, context: Arc<Context>) -> Self {
        let patience = Patience::new(context.clock.clone());
        Self {
            stream,
            context,
            input: BytesMut::new(),
            output: Vec::new(),
            slots: VecDeque::new(),
            parked: false,
            peer_closed: false,
            permit: None,
            sender: FileSender::new(patience.clone()),
            patience,
        }
    }

    /// Serves the connection until the peer leaves, errs or idles, or `stop` says so; then the
    /// requests taken so far are answered first.
    pub(crate) async fn serve(mut self, mut stop: watch::Receiver<bool>) {
        if let Err(End::Because(reason)) = self.run(&mut stop).await {
            let (peer, listener) = (self.context.peer, &self.context.listener);
            tracing::warn!(%peer, %listener, client_id = %self.context.client_id(), reason,
                "connection closed");
        }
    }

    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        loop {
            self.handle_frames().await?;
            self.send_ready().await?;
            if self.slots.is_empty() && (self.peer_closed || *stop.borrow()) {
                return Ok(());
            }
            if self.may_begin() && self.has_whole_frame()? {
                continue;
            }
            self.wait(stop).await?;
        }
    }

    /// Waits for the next thing to do: bytes, an answer, the end of patience.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        let reads = self.may_begin() && !self.peer_closed && !*stop.borrow();
        let (parked, waits) = (self.parked, !self.slots.is_empty());
        let event = {
            let Self { stream, slots, context, .. } = &mut *self;
            tokio::select! {
                biased;
                outcome = front(slots), if waits => Event::Answer(outcome),
                ready = stream.readable(), if reads => Event::Readable(ready),
                broken = broken(stream), if !reads && parked => Event::Broken(broken),
                _ = stop.changed() => Event::Stop,
                () = context.clock.sleep_ms(context.limits.idle_ms), if !waits => Event::Idle,
            }
        };
        match event {
            Event::Answer(outcome) => {
                self.slots.pop_front();
                self.parked = self.parked && !self.slots.is_empty();
                match outcome {
                    Outcome::Send(frame) => self.slots.push_front(Slot::Ready(frame)),
                    Outcome::Silent => {}
                    Outcome::Close(reason) => return Err(End::Because(reason)),
                }
                Ok(())
            }
            Event::Readable(ready) => {
                ready?;
                self.read().await
            }
            Event::Broken(broken) => {
                broken?;
                Err(End::Quiet)
            }
            Event::Stop => Ok(()),
            Event::Idle => Err(End::Quiet),
        }
    }

    /// Whether a further request may begin now.
    fn may_begin(&self) -> bool {
        !self.parked && self.slots.len() < ANSWERS_WAITING_MAX
    }

    /// The size of the frame that begins the input, once known and legal.
    fn frame_size(&self) -> Result<Option<usize>, End> {
        let Some(size) = self.input.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
        let signed = i32::from_be_bytes(*size);
        match usize::try_from(signed) {
            Ok(bytes)
                if (FRAME_MIN_BYTES..=self.context.limits.frame_max_bytes).contains(&bytes) =>
            {
                Ok(Some(bytes))
            }
            Ok(_) | Err(_) => Err(End::Because(refusal(*size, signed, &self.context))),
        }
    }

    fn has_whole_frame(&self) -> Result<bool, End> {
        Ok(self.frame_size()?.is_some_and(|size| self.input.len() >= SIZE_BYTES + size))
    }

    /// Takes what the socket has, up to a batch.
    async fn read(&mut self) -> Result<(), End> {
        loop {
            let wanted = match self.frame_size()? {
                Some(size) => (SIZE_BYTES + size).saturating_sub(self.input.len()),
                None => READ_BYTES,
            };
            if wanted > BUDGETED_FRAME_BYTES && self.permit.is_none() {
                self.permit = Some(self.context.budget_for(wanted).await);
            }
            self.input.reserve(wanted.max(READ_BYTES));
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => {
                    self.peer_closed = true;
                    return Ok(());
                }
                Ok(count) => self.context.metrics.received(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            if self.input.len() >= READ_BATCH_BYTES && self.has_whole_frame()? {
                return Ok(());
            }
        }
    }

    /// Begins every whole request that may begin.
    async fn handle_frames(&mut self) -> Result<(), End> {
        while self.may_begin() {
            let Some(size) = self.frame_size()? else { return Ok(()) };
            if self.input.len() < SIZE_BYTES + size {
                return Ok(());
            }
            self.input.advance(SIZE_BYTES);
            let request = self.input.split_to(size).freeze();
            self.handle(request)?;
        }
        Ok(())
    }

    fn handle(&mut self, request: Bytes) -> Result<(), End> {
        match dispatch::dispatch(&self.context, request) {
            Answer::Now(frame) => self.slots.push_back(Slot::Ready(frame)),
            Answer::AfterSync(answer) => self.slots.push_back(Slot::Waiting(answer)),
            Answer::Parked(answer) => {
                self.slots.push_back(Slot::Waiting(answer));
                self.parked = true;
            }
            Answer::Silent => {}
            Answer::Close(reason) => return Err(End::Because(reason)),
        }
        Ok(())
    }

    /// Writes every answer that is ready and next in order.
    async fn send_ready(&mut self) -> Result<(), End> {
        while let Some(Slot::Ready(_)) = self.slots.front() {
            let Some(Slot::Ready(frame)) = self.slots.pop_front() else { break };
            self.send(frame).await?;
        }
        self.flush().await?;
        if self.slots.is_empty() {
            self.permit = None;
            if self.input.is_empty() && self.input.capacity() > READ_BATCH_BYTES {
                self.input = BytesMut::new();
            }
        }
        Ok(())
    }

    async fn send(&mut self, frame: Frame) -> Result<(), End> {
        let size: u64 = frame.parts.iter().map(Part::length).sum();
        self.context.metrics.sent(size);
        for part in frame.parts {
            match part {
                Part::Bytes(bytes) if bytes.len() < WRITE_BATCH_BYTES => {
                    self.output.extend_from_slice(&bytes);
                    if self.output.len() >= WRITE_BATCH_BYTES {
                        self.flush().await?;
                    }
                }
                Part::Bytes(bytes) => {
                    self.flush().await?;
                    self.patience.write_all(&mut self.stream, &bytes).await?;
                }
                Part::File { file, position, length } if length < FileSender::SMALL_BYTES => {
                    self.sender.copy(&*file, position, length, &mut self.output)?;
                }
                Part::File { file, position, length } => {
                    self.flush().await?;
                    self.sender.send(&mut self.stream, file, position, length).await?;
                }
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), End> {
        if !self.output.is_empty() {
            self.patience.write_all(&mut self.stream, &self.output).await?;
            self.output.clear();
            if self.output.capacity() > WRITE_BATCH_BYTES * 2 {
                self.output = Vec::new();
            }
        }
        Ok(())
    }
}

/// The answer of the first slot, which waits. Cancel-safe: the future stays in its slot.
async fn front(slots: &mut VecDeque<Slot>) -> Outcome {
    match slots.front_mut() {
        Some(Slot::Waiting(answer)) => answer.as_mut().await,
        Some(Slot::Ready(_)) | None => std::future::pending().await,
    }
}

/// Returns once the peer has reset the connection, so that no answer can reach it. One that has only
/// finished sending still waits for its answer.
async fn broken(stream: &TcpStream) -> io::Result<()> {
    stream.ready(Interest::ERROR).await.map(drop)
}

/// Says what a frame that is refused by its size looked like.
fn refusal(bytes: [u8; SIZE_BYTES], size: i32, context: &Context) -> String {
    let port = context.local.port();
    match &bytes {
        [0x16, 0x03, _, _] => format!(
            "looks like TLS on port {port}, which is a plaintext listener: set \
             security.protocol=PLAINTEXT in the client"
        ),
        b"GET " | b"POST" | b"HEAD" | b"PUT " | b"DELE" | b"OPTI" | b"PATC" | b"CONN" => format!(
            "looks like HTTP on port {port}, which speaks the Kafka protocol; HTTP is on --http-port"
        ),
        _ => format!(
            "frame of {size} bytes, allowed are {FRAME_MIN_BYTES} to {} \
             (socket.request.max.bytes)",
            context.limits.frame_max_bytes
        ),
    }
}
