//! Kafka's wire protocol: which APIs there are and in which versions, their messages, the headers
//! before them and the error codes in them. No sockets, and no rule of what a broker does.
//!
//! A frame is four bytes of length, a header and a body. A request's way in:
//!
//! ```text
//! let mut reader = Reader::new(frame);                       // without the length
//! let prefix = RequestPrefix::decode(&mut reader)?;          // key, version, correlation id
//! let key = ApiKey::from_code(prefix.api_key)?;              // unknown: close the connection
//! key.served().contains(prefix.api_version)?;                // else close; ApiVersions answers 35
//! let header = RequestHeader::decode(key, prefix, &mut reader)?;
//! let request = HeartbeatRequest::decode(&mut reader, prefix.api_version)?;
//! ```
//!
//! and a response's way out: [`header::response_frame`], or [`messages::fetch::FetchResponse::pieces`]
//! where the records are sent from files. Bytes after a request's body are ignored: librdkafka
//! sends some.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod api;
pub mod error_code;
pub mod header;
pub mod messages;
#[cfg(test)]
mod tests;

pub use api::{ApiKey, Request};
pub use error_code::ErrorCode;
pub use header::{RequestHeader, RequestPrefix, response_frame};
