//! What can be wrong with bytes that are read, and with values that are to be written.

use thiserror::Error;

/// Bytes that are not the message they should be. The sender is at fault; nothing can be answered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct DecodeError {
    /// The innermost field that could not be read, as `Struct.field`; `message` outside of any.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: DecodeProblem,
}

/// What is wrong with the bytes of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeProblem {
    /// The message ends inside the field.
    #[error("wanted {wanted} bytes, {left} left")]
    Truncated {
        /// Bytes the field needs.
        wanted: u64,
        /// Bytes there are.
        left: usize,
    },
    /// More elements than the bytes left could hold.
    #[error("{count} elements cannot stand in {left} bytes")]
    Count {
        /// Elements announced.
        count: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A length below that of null.
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// A null where this version has none.
    #[error("null is not allowed in this version")]
    Null,
    /// A string longer than Kafka allows in any version.
    #[error("string of {0} bytes is over 32767")]
    LongString(u32),
    /// A string that is not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A varint with more bits than its type.
    #[error("varint is too long")]
    LongVarint,
    /// A tagged field whose value is shorter than its size says.
    #[error("tag {tag} has {left} bytes too many")]
    TagSize {
        /// The tag.
        tag: u32,
        /// Bytes after its value.
        left: usize,
    },
    /// Many tiny elements that would take a multiple of the message's length in memory.
    #[error("too many elements for a message of {0} bytes")]
    Memory(usize),
    /// A version that this message does not have.
    #[error("version {0} is not known")]
    Version(i16),
}

impl From<DecodeProblem> for DecodeError {
    fn from(problem: DecodeProblem) -> Self {
        Self { field: UNNAMED, problem }
    }
}

impl DecodeError {
    /// Names the field, unless one inside it has been named already.
    pub fn in_field(mut self, field: &'static str) -> Self {
        if self.field == UNNAMED {
            self.field = field;
        }
        self
    }
}

/// A value that the wire format cannot carry: a mistake of ours.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct EncodeError {
    /// The innermost field that could not be written, as `Struct.field`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: EncodeProblem,
}

/// What is wrong with the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeProblem {
    /// A value other than the default, in a version that lacks the field.
    #[error("set, but version {0} does not carry it")]
    NotInVersion(i16),
    /// A null where this version has none.
    #[error("null is not allowed in version {0}")]
    Null(i16),
    /// A string longer than Kafka allows.
    #[error("string of {0} bytes is over 32767")]
    LongString(usize),
    /// More bytes or elements than a length can say.
    #[error("length {0} is over 2147483647")]
    Length(usize),
    /// Records that lie elsewhere, in a message that is not written in pieces.
    #[error("external records in a message that is written whole")]
    External,
    /// A version that this message does not have.
    #[error("version {0} is not known")]
    Version(i16),
}

impl From<EncodeProblem> for EncodeError {
    fn from(problem: EncodeProblem) -> Self {
        Self { field: UNNAMED, problem }
    }
}

impl EncodeError {
    /// Names the field, unless one inside it has been named already.
    pub fn in_field(mut self, field: &'static str) -> Self {
        if self.field == UNNAMED {
            self.field = field;
        }
        self
    }
}

const UNNAMED: &str = "message";
