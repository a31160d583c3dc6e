//! What goes back to a client: one response as bytes and ranges of files, in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::fs::File;

/// One response, size field included, ready to be written.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub(crate) parts: Vec<Part>,
}

/// A piece of a response.
#[derive(Debug)]
pub(crate) enum Part {
    /// From memory.
    Bytes(Bytes),
    /// From a log segment, never through user memory where the kernel can help it.
    File {
        /// The segment.
        file: Arc<dyn File>,
        /// Where in it, in bytes.
        position: u64,
        /// How many bytes.
        length: u64,
    },
}

impl Part {
    /// Size in bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Self::File { length, .. } => *length,
        }
    }
}

impl Frame {
    /// A response that lies whole in memory, size field included.
    pub(crate) fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self { parts: vec![Part::Bytes(bytes.into())] }
    }
}
