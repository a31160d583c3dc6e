//! One client connection: read all, append all, answer all.
//!
//! Invariants: a request's effects begin only after those of the request before it are decided;
//! answers leave in the order of the requests; a parked request (a fetch that waits, a join) holds
//! back what follows, a produce that only waits for the disk does not.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::context::Context;
use super::dispatch;
use super::file_sender::FileSender;
use super::frame::{Frame, Part};
use super::intake::Intake;
use super::patience::Patience;

/// Produce requests whose answers may wait for the disk while later ones are appended.
const ANSWERS_WAITING_MAX: usize = 32;
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

/// A request that is not answered yet.
struct Slot {
    state: SlotState,
    /// Its size, to be given back when it is answered.
    bytes: usize,
}

enum SlotState {
    Ready(Frame),
    Waiting(Later),
}

/// What a connection waited for.
enum Event {
    Answer(Outcome),
    Readable(Result<(), End>),
    /// The peer has reset the connection: nobody will read an answer.
    Broken(io::Result<()>),
    Stop,
    FrameLate,
    Idle,
}

/// Why a connection ended.
pub(super) enum End {
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
    intake: Intake,
    output: Vec<u8>,
    slots: VecDeque<Slot>,
    /// A parked request is the last slot: nothing behind it may begin.
    parked: bool,
    patience: Patience,
    sender: FileSender,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, context: Arc<Context>) -> Self {
        let patience = Patience::new(context.clock.clone());
        Self {
            stream,
            intake: Intake::new(Arc::clone(&context.budget)),
            context,
            output: Vec::new(),
            slots: VecDeque::new(),
            parked: false,
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
            self.handle_frames()?;
            self.send_ready().await?;
            if self.slots.is_empty() && (self.intake.is_closed() || *stop.borrow()) {
                return Ok(());
            }
            if self.may_begin() && self.intake.has_frame(&self.context)? {
                continue;
            }
            self.wait(stop).await?;
        }
    }

    /// Waits for the next thing to do: bytes, an answer, the end of patience.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), End> {
        let reads = self.may_begin() && !self.intake.is_closed() && !*stop.borrow();
        let (parked, waits) = (self.parked, !self.slots.is_empty());
        let event = {
            let Self { stream, slots, context, intake, .. } = &mut *self;
            let clock = &context.clock;
            let frame_deadline = intake.deadline(reads, clock.now().monotonic);
            tokio::select! {
                biased;
                outcome = front(slots), if waits => Event::Answer(outcome),
                ready = intake.ready(stream, context), if reads => Event::Readable(ready),
                broken = broken(stream), if !reads && parked => Event::Broken(broken),
                _ = stop.changed() => Event::Stop,
                () = clock.sleep_until(frame_deadline.unwrap_or_default()),
                    if frame_deadline.is_some() => Event::FrameLate,
                () = clock.sleep_ms(context.limits.idle_ms),
                    if !waits && frame_deadline.is_none() => Event::Idle,
            }
        };
        match event {
            Event::Answer(outcome) => {
                self.settle(0, outcome)?;
                self.settle_ready().await
            }
            Event::Readable(ready) => {
                ready?;
                self.intake.read(&self.stream, &self.context)
            }
            Event::Broken(broken) => {
                broken?;
                Err(End::Quiet)
            }
            Event::Stop => Ok(()),
            Event::FrameLate => Err(self.intake.too_late()),
            Event::Idle => Err(End::Quiet),
        }
    }

    /// Takes what the slots behind the first came to, as far as that is known by now: one sync makes
    /// many answers, and they go out with one write.
    async fn settle_ready(&mut self) -> Result<(), End> {
        let mut index = 0;
        while let Some(slot) = self.slots.get_mut(index) {
            if let SlotState::Waiting(answer) = &mut slot.state {
                let outcome = tokio::select! {
                    biased;
                    outcome = answer.as_mut() => outcome,
                    () = std::future::ready(()) => return Ok(()),
                };
                self.settle(index, outcome)?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    /// Takes what a slot came to.
    fn settle(&mut self, index: usize, outcome: Outcome) -> Result<(), End> {
        let is_last = index + 1 == self.slots.len();
        let Some(slot) = self.slots.get_mut(index) else { return Ok(()) };
        match outcome {
            Outcome::Send(frame) => slot.state = SlotState::Ready(frame),
            Outcome::Silent => {
                self.intake.answered(slot.bytes);
                self.slots.remove(index);
            }
            Outcome::Close(reason) => return Err(End::Because(reason)),
        }
        // What was parked was the last slot.
        self.parked = self.parked && !is_last;
        Ok(())
    }

    /// Whether a further request may begin now.
    fn may_begin(&self) -> bool {
        !self.parked && self.slots.len() < ANSWERS_WAITING_MAX
    }

    /// Begins every whole request that may begin.
    fn handle_frames(&mut self) -> Result<(), End> {
        while self.may_begin() {
            let Some((request, bytes)) = self.intake.next_frame(&self.context)? else {
                return Ok(());
            };
            self.handle(request, bytes)?;
        }
        Ok(())
    }

    fn handle(&mut self, request: Bytes, bytes: usize) -> Result<(), End> {
        let state = match dispatch::dispatch(&self.context, request) {
            Answer::Now(frame) => SlotState::Ready(frame),
            Answer::AfterSync(answer) => SlotState::Waiting(answer),
            Answer::Parked(answer) => {
                self.parked = true;
                SlotState::Waiting(answer)
            }
            Answer::Silent => {
                self.intake.answered(bytes);
                return Ok(());
            }
            Answer::Close(reason) => return Err(End::Because(reason)),
        };
        self.slots.push_back(Slot { state, bytes });
        Ok(())
    }

    /// Writes every answer that is ready and next in order.
    async fn send_ready(&mut self) -> Result<(), End> {
        let mut answered_bytes = 0;
        while let Some(Slot { state: SlotState::Ready(_), bytes }) = self.slots.front() {
            answered_bytes += *bytes;
            let Some(Slot { state: SlotState::Ready(frame), .. }) = self.slots.pop_front() else {
                break;
            };
            self.send(frame).await?;
        }
        self.flush().await?;
        if answered_bytes > 0 {
            self.intake.answered(answered_bytes);
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
        Some(Slot { state: SlotState::Waiting(answer), .. }) => answer.as_mut().await,
        Some(Slot { state: SlotState::Ready(_), .. }) | None => std::future::pending().await,
    }
}

/// Returns once the peer has reset the connection, so that no answer can reach it. One that has only
/// finished sending still waits for its answer.
async fn broken(stream: &TcpStream) -> io::Result<()> {
    stream.ready(Interest::ERROR).await.map(drop)
}
