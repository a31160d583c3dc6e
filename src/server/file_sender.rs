//! Sends ranges of segments to a socket: by the kernel alone while they lie in the page cache, by
//! reads off the runtime's threads where they must come from the disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::net::TcpStream;

use super::patience::Patience;
use crate::log::fs::File;

/// One read of a cold range, in bytes.
const COLD_READ_BYTES: u64 = 512 * 1024;
/// Handed to one sendfile call at most, in bytes; the hot/cold question is asked anew for each.
const HOT_SEND_BYTES: u64 = 4 * 1024 * 1024;

/// Sends file ranges for one connection.
#[derive(Debug)]
pub(crate) struct FileSender {
    patience: Patience,
    /// For cold reads.
    buffers: Vec<Vec<u8>>,
}

impl FileSender {
    /// Ranges below this are copied into the answer instead, in bytes.
    pub(crate) const SMALL_BYTES: u64 = 16 * 1024;

    pub(crate) fn new(patience: Patience) -> Self {
        Self { patience, buffers: Vec::new() }
    }

    /// Appends a small range to `output`.
    pub(crate) fn copy(
        &self,
        file: &dyn File,
        position: u64,
        length: u64,
        output: &mut Vec<u8>,
    ) -> io::Result<()> {
        let start = output.len();
        output.resize(start + small(length), 0);
        let target = output.get_mut(start..).unwrap_or_default();
        file.read_exact_at(target, position).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ended(position),
            _ => error,
        })
    }

    /// Writes a range to the socket, whole.
    pub(crate) async fn send(
        &mut self,
        stream: &mut TcpStream,
        file: Arc<dyn File>,
        mut position: u64,
        length: u64,
    ) -> io::Result<()> {
        let end = position.saturating_add(length);
        while position < end {
            let hot = (end - position).min(HOT_SEND_BYTES);
            if is_cached(&*file, position, hot) {
                let sent = send_hot(stream, &*file, position, hot);
                position += self.patience.one(sent).await?;
            } else {
                position += self.send_cold(stream, &file, position, end - position).await?;
            }
        }
        Ok(())
    }

    /// Reads piece by piece past the page cache, on threads that may block; the next piece is read
    /// while one is written. Ends early where the rest turns out to be cached.
    async fn send_cold(
        &mut self,
        stream: &mut TcpStream,
        file: &Arc<dyn File>,
        position: u64,
        left: u64,
    ) -> io::Result<u64> {
        let mut sent = 0;
        let mut reading = Some(self.begin_cold_read(file, position, left.min(COLD_READ_BYTES)));
        while let Some(read) = reading.take() {
            let (buffer, range) = read.await.map_err(io::Error::other)??;
            sent += u64::try_from(range.len()).unwrap_or(0);
            let next = (left - sent).min(COLD_READ_BYTES);
            if next > 0 && !is_cached(&**file, position + sent, next) {
                reading = Some(self.begin_cold_read(file, position + sent, next));
            }
            let piece = buffer.get(range).unwrap_or_default();
            self.patience.write_all(stream, piece).await?;
            self.buffers.push(buffer);
        }
        self.buffers.truncate(1);
        Ok(sent)
    }

    fn begin_cold_read(&mut self, file: &Arc<dyn File>, position: u64, length: u64) -> ColdRead {
        let mut buffer = self.buffers.pop().unwrap_or_default();
        let file = Arc::clone(file);
        tokio::task::spawn_blocking(move || {
            let range = file.read_uncached(&mut buffer, position, small(length))?;
            Ok((buffer, range))
        })
    }
}

/// A buffer, and where in it the bytes asked for stand.
type ColdRead = tokio::task::JoinHandle<io::Result<(Vec<u8>, Range<usize>)>>;

/// Whether both ends of a range lie in the page cache: asked by reads that may not wait for the disk.
fn is_cached(file: &dyn File, position: u64, length: u64) -> bool {
    let Some(fd) = file.as_fd() else { return false };
    let last = position.saturating_add(length).saturating_sub(1);
    [position, last].into_iter().all(|at| {
        let mut byte = [0_u8];
        let flags = rustix::io::ReadWriteFlags::NOWAIT;
        let read = rustix::io::preadv2(fd, &mut [io::IoSliceMut::new(&mut byte)], at, flags);
        // Where the file system cannot tell, the range counts as cached: memory files are.
        !matches!(read, Err(rustix::io::Errno::AGAIN))
    })
}

/// Lets the kernel send a piece; returns how many bytes went.
async fn send_hot(
    stream: &TcpStream,
    file: &dyn File,
    position: u64,
    length: u64,
) -> io::Result<u64> {
    let send = || {
        let source = file.as_fd().ok_or(io::ErrorKind::Unsupported)?;
        let mut offset = position;
        let sent = rustix::fs::sendfile(stream, source, Some(&mut offset), small(length))?;
        if sent == 0 {
            return Err(ended(position));
        }
        Ok(offset - position)
    };
    stream.async_io(Interest::WRITABLE, send).await
}

fn ended(position: u64) -> io::Error {
    let text = format!("the segment ends at {position}, inside a range that was announced");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

/// A length that was bounded before, as a size in memory.
fn small(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}
