//! What a client has sent: bytes become frames, within the bounds of size, memory and time.
//!
//! A frame's length is checked before a buffer is taken for it, its bytes are charged to the
//! process's budget before they are read, and they stay charged until the request is answered.

use std::io;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::net::TcpStream;

use super::budget::{ALLOWANCE_BYTES, Budget, Share};
use super::connection::End;
use super::context::Context;
use crate::types::Monotonic;

/// The size field before each frame, in bytes.
const SIZE_BYTES: usize = 4;
/// API key, version and correlation id: no request is shorter, in bytes.
const FRAME_MIN_BYTES: usize = 8;
/// A frame that is begun must be whole after so long, in ms.
const FRAME_MAX_MS: u64 = 30_000;
/// Free space asked for before a read, in bytes: as much as a connection may hold without asking.
const READ_BYTES: usize = ALLOWANCE_BYTES;
/// Behind a whole frame less free space than this is left alone, in bytes.
const SPARE_BYTES: usize = READ_BYTES / 4;
/// Room made for a frame before its bytes are there, at most, in bytes.
const RESERVE_BYTES: usize = 1024 * 1024;
/// Read at most this much before the frames read are handled, in bytes.
const READ_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The sending side of one connection.
#[derive(Debug)]
pub(super) struct Intake {
    input: BytesMut,
    share: Share,
    /// The budget is used up: nothing is read until there is room.
    is_starved: bool,
    /// The peer sends nothing more.
    is_closed: bool,
    /// When the frame that is being read must be whole.
    deadline: Option<Monotonic>,
}

impl Intake {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            input: BytesMut::new(),
            share: Share::new(budget),
            is_starved: false,
            is_closed: false,
            deadline: None,
        }
    }

    /// Whether the peer has said that it sends nothing more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether a whole frame is there.
    pub(super) fn has_frame(&self, context: &Context) -> Result<bool, End> {
        Ok(self.rest(context)? == Some(0))
    }

    /// The next frame, if it is whole: its bytes without the size field, and how many are to be
    /// given back by [`Intake::answered`].
    pub(super) fn next_frame(&mut self, context: &Context) -> Result<Option<(Bytes, usize)>, End> {
        let Some(size) = self.frame_size(context)? else { return Ok(None) };
        if self.input.len() < SIZE_BYTES + size {
            return Ok(None);
        }
        self.deadline = None;
        self.input.advance(SIZE_BYTES);
        Ok(Some((self.input.split_to(size).freeze(), SIZE_BYTES + size)))
    }

    /// Gives back the bytes of requests that are answered.
    pub(super) fn answered(&mut self, bytes: usize) {
        self.share.answered(bytes);
        if self.input.is_empty() && self.input.capacity() > READ_BATCH_BYTES {
            self.input = BytesMut::new();
        }
    }

    /// When to give up on a frame that is not whole, if one is begun and `is_read` further.
    pub(super) fn deadline(&mut self, is_read: bool, now: Monotonic) -> Option<Monotonic> {
        if is_read && !self.input.is_empty() {
            self.deadline.get_or_insert_with(|| now.plus_ms(FRAME_MAX_MS));
        } else {
            self.deadline = None;
        }
        self.deadline
    }

    /// Says what a frame that did not become whole in time looks like.
    pub(super) fn too_late(&self) -> End {
        let count = self.input.len();
        End::Because(format!("a request of which {count} bytes came within {FRAME_MAX_MS} ms"))
    }

    /// Waits until something can be read and there is room for it. Cancel-safe.
    pub(super) async fn ready(&mut self, stream: &TcpStream, context: &Context) -> Result<(), End> {
        // First the bytes, then the room: a client that has nothing to say holds none of it.
        stream.readable().await?;
        if self.is_starved {
            let rest = self.rest(context)?;
            self.share.more(rest).await;
            self.is_starved = false;
        }
        Ok(())
    }

    /// Takes what the socket has, up to a batch.
    pub(super) fn read(&mut self, stream: &TcpStream, context: &Context) -> Result<(), End> {
        loop {
            let rest = self.rest(context)?;
            let Some(wanted) = self.make_room(rest) else { return Ok(()) };
            let room = self.share.room(wanted);
            self.is_starved = room == 0;
            if self.is_starved {
                return Ok(());
            }
            match stream.try_read_buf(&mut (&mut self.input).limit(room)) {
                Ok(0) => {
                    self.share.took(0);
                    self.is_closed = true;
                    return Ok(());
                }
                Ok(count) => {
                    self.share.took(count);
                    context.metrics.received(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.share.took(0);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How many bytes to read next, with room made for them, where the first frame lacks `rest`;
    /// `None` where what is there is to be handled first. What has arrived is moved to a larger buffer
    /// only while it is a small part of its frame: a large frame gets its own, and is read up to its
    /// end and not beyond.
    fn make_room(&mut self, rest: Option<usize>) -> Option<usize> {
        let spare = self.input.capacity() - self.input.len();
        match rest {
            Some(0) if self.input.len() >= READ_BATCH_BYTES || spare < SPARE_BYTES => None,
            Some(0) => Some(spare),
            Some(rest) if rest >= READ_BYTES => {
                self.input.reserve(rest.min(RESERVE_BYTES));
                Some(rest.min(self.input.capacity() - self.input.len()))
            }
            Some(_) | None => {
                self.input.reserve(READ_BYTES);
                Some(self.input.capacity() - self.input.len())
            }
        }
    }

    /// The size of the frame that begins the input, once known and legal.
    fn frame_size(&self, context: &Context) -> Result<Option<usize>, End> {
        let Some(size) = self.input.first_chunk::<SIZE_BYTES>() else { return Ok(None) };
        let signed = i32::from_be_bytes(*size);
        match usize::try_from(signed) {
            Ok(bytes) if (FRAME_MIN_BYTES..=context.limits.frame_max_bytes).contains(&bytes) => {
                Ok(Some(bytes))
            }
            Ok(_) | Err(_) => Err(End::Because(refusal(*size, signed, context))),
        }
    }

    /// How many bytes the first frame lacks, once its size is known.
    fn rest(&self, context: &Context) -> Result<Option<usize>, End> {
        let size = self.frame_size(context)?;
        Ok(size.map(|size| (SIZE_BYTES + size).saturating_sub(self.input.len())))
    }
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
