//! Bytes in and bytes out, as Kafka writes them: a bounds-checked reader, a growing writer, and the
//! `message!` macro that makes both directions of a message from one field list.
//!
//! Everything here faces bytes that a stranger sent or a disk returned: no read panics, a count is
//! never trusted as a size, and the memory that one message takes is bounded by its length.
//!
//! # Writing a message
//!
//! ```text
//! message! {
//!     /// What the message is for.
//!     pub struct HeartbeatRequest: versions 0-4, flexible 4+ {
//!         group_id: String,                   0+;
//!         generation_id: i32,                 0+;
//!         member_id: String,                  0+;
//!         group_instance_id: Option<String>,  3+, null 3+;
//!         topics: Vec<Topic>,                 1-3 ignorable, default Vec::new();
//!     }
//!     /// A nested struct stands in the same call and has no versions of its own.
//!     pub struct Topic {
//!         name: String,                       1+;
//!         epoch: i32,                         4+, tag 0, default -1;
//!     }
//! }
//! ```
//!
//! One field a line: name, type, the versions that carry it (`3+`, `0-12`; a single one is `0-0`),
//! then in this order and only where they apply:
//!
//! - `ignorable`: a value set in a version that lacks the field is dropped; without the word that is
//!   an [`EncodeError`].
//! - `null V`: in these versions the value may be null; its type is `Option<_>`. Elsewhere a null is
//!   an error in both directions.
//! - `tag N`: a tagged field, left out while it has its default.
//! - `default X`: what the field is in `Default`, and after decoding a version without it. Not given,
//!   it is the type's own (`None` for an `Option`, where Kafka's own tables often mean empty).
//!
//! `flexible none` for what has no compact form. Types: `bool i8 i16 i32 i64 u16 f64 Uuid String
//! Bytes`, `Vec<_>`, nested structs, `Option<_>` of String, Bytes, Vec and structs, and whatever else
//! implements [`Field`]. `Bytes` fields are slices of the frame, never copies.
//!
//! The macro makes the structs (`Debug, Clone, PartialEq`, [`Default`]) and, for the one with
//! versions, [`Message`]: `NAME`, `VERSIONS`, `FLEXIBLE`, `decode(&mut Reader, version)` and
//! `encode(&self, &mut Writer, version)`. Bytes after a message are left in the reader. Under test it
//! also makes a generator of random values (`codec::testing::Sample`).

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod crc32c;
mod error;
mod field;
mod message;
mod reader;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use error::{DecodeError, DecodeProblem, EncodeError, EncodeProblem};
pub use field::{Column, Field, Layout, Nullable, TaggedFields, Versions};
pub use message::Message;
pub(crate) use message::message;
pub use reader::Reader;
pub use writer::{Piece, Writer};
