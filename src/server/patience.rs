//! Patience with a client that takes its answer: a slow one is served, one that takes no byte for
//! too long is cut off.

use std::future::Future;
use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::clock::Clock;

/// A client that takes no byte of its answer for so long is cut off, in ms.
const WRITE_STALL_MS: u64 = 30_000;

/// Waits for the writes of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    clock: Clock,
}

impl Patience {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// Waits for one write, which returns as soon as the client has taken some bytes.
    ///
    /// # Errors
    /// `TimedOut` if it takes none for too long, else those of the write.
    pub(crate) async fn one<T>(&self, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            written = write => written,
            () = self.clock.sleep_ms(WRITE_STALL_MS) => {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes no bytes"))
            }
        }
    }

    /// Writes all of `bytes`, however long that takes, as long as it goes on.
    ///
    /// # Errors
    /// As [`Patience::one`].
    pub(crate) async fn write_all(
        &self,
        to: &mut (impl AsyncWrite + Unpin),
        mut bytes: &[u8],
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.one(to.write(bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};

    use super::*;
    use crate::types::Timestamp;

    /// More than the pipe between the two sides holds.
    const ANSWER: [u8; 1_000] = [7; 1_000];

    /// Writes an answer to a client that takes `piece` bytes each `ms`, until it has all or is cut off.
    async fn write_to_client(piece: usize, ms: u64) -> io::Result<()> {
        let clock = Clock::manual(Timestamp(0));
        let (mut server, client) = duplex(100);
        let patience = Patience::new(clock.clone());
        tokio::select! {
            biased; // So that the writer waits before the clock is moved.
            written = patience.write_all(&mut server, &ANSWER) => written,
            () = take(client, piece, ms, &clock) => unreachable!("the client stays"),
        }
    }

    async fn take(mut client: DuplexStream, piece: usize, ms: u64, clock: &Clock) {
        let mut taken = vec![0; piece];
        loop {
            tokio::task::yield_now().await;
            clock.advance(ms);
            tokio::task::yield_now().await;
            if piece > 0 {
                client.read_exact(&mut taken).await.expect("the server stays");
            }
        }
    }

    #[tokio::test]
    async fn a_slow_client_gets_all_of_its_answer() {
        write_to_client(100, WRITE_STALL_MS - 1).await.expect("written");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_cut_off() {
        let error = write_to_client(0, 1_000).await.expect_err("cut off");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
