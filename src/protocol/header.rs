//! What stands before each body: the request header, read in two steps, and the response's.

use bytes::Bytes;

use crate::codec::{DecodeError, EncodeError, EncodeProblem, Message, Reader, Writer};

use super::ApiKey;

/// The first eight bytes of a request, the same in all versions of all APIs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestPrefix {
    /// The API's number, known or not.
    pub api_key: i16,
    /// The version of header and body.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
}

impl RequestPrefix {
    /// Reads the prefix from the start of a frame.
    ///
    /// # Errors
    /// A frame under eight bytes.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let named = |error: DecodeError| error.in_field("RequestHeader");
        Ok(Self {
            api_key: reader.i16().map_err(named)?,
            api_version: reader.i16().map_err(named)?,
            correlation_id: reader.i32().map_err(named)?,
        })
    }
}

/// A request's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API.
    pub api_key: ApiKey,
    /// The version of the body.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// The client's own name; some send none, some an empty one.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Reads what follows the prefix. What is left in the reader is the body.
    ///
    /// # Errors
    /// A header cut short, or a client id that is not UTF-8.
    pub fn decode(
        api_key: ApiKey,
        prefix: RequestPrefix,
        reader: &mut Reader,
    ) -> Result<Self, DecodeError> {
        let RequestPrefix { api_version, correlation_id, .. } = prefix;
        // Not compact in header version 2 either, so that it can be read in any version.
        let client_id = reader.nullable_string(false);
        let client_id = client_id.map_err(|error| error.in_field("RequestHeader.client_id"))?;
        if api_key.request_header_version(api_version) >= 2 {
            let tags = reader.tagged_fields(|_, _| Ok(false));
            tags.map_err(|error| error.in_field("RequestHeader tags"))?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Writes the whole header.
    ///
    /// # Errors
    /// A client id over 32,767 bytes.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.i16(self.api_key.code());
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        writer.nullable_string(self.client_id.as_deref(), false)?;
        if self.api_key.request_header_version(self.api_version) >= 2 {
            writer.uvarint(0);
        }
        Ok(())
    }
}

/// Writes the header of a response.
pub fn encode_response_header(
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    writer: &mut Writer,
) {
    writer.i32(correlation_id);
    if api_key.response_header_version(api_version) >= 1 {
        writer.uvarint(0);
    }
}

/// Reads the header of a response: its correlation id.
///
/// # Errors
/// A header cut short.
pub fn decode_response_header(
    api_key: ApiKey,
    api_version: i16,
    reader: &mut Reader,
) -> Result<i32, DecodeError> {
    let named = |error: DecodeError| error.in_field("ResponseHeader");
    let correlation_id = reader.i32().map_err(named)?;
    if api_key.response_header_version(api_version) >= 1 {
        reader.tagged_fields(|_, _| Ok(false)).map_err(named)?;
    }
    Ok(correlation_id)
}

/// A whole response frame: length, header, body.
///
/// # Errors
/// A body that this version cannot carry, or one over 2^31-1 bytes.
pub fn response_frame<M: Message>(
    api_key: ApiKey,
    api_version: i16,
    correlation_id: i32,
    body: &M,
) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    start_frame(&mut writer);
    encode_response_header(api_key, api_version, correlation_id, &mut writer);
    body.encode(&mut writer, api_version)?;
    end_frame(&mut writer)?;
    Ok(writer.into_bytes())
}

/// A whole request frame: length, header, body.
///
/// # Errors
/// As for [`response_frame`].
pub fn request_frame<M: Message>(header: &RequestHeader, body: &M) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    start_frame(&mut writer);
    header.encode(&mut writer)?;
    body.encode(&mut writer, header.api_version)?;
    end_frame(&mut writer)?;
    Ok(writer.into_bytes())
}

/// Room for the length, at the start of an empty writer.
pub(super) fn start_frame(writer: &mut Writer) {
    debug_assert!(writer.is_empty());
    writer.i32(0);
}

/// Fills the length in.
pub(super) fn end_frame(writer: &mut Writer) -> Result<(), EncodeError> {
    let size = writer.size().saturating_sub(FRAME_LENGTH_SIZE);
    let too_long = EncodeProblem::Length(usize::try_from(size).unwrap_or(usize::MAX));
    writer.patch_i32(0, i32::try_from(size).map_err(|_| too_long)?);
    Ok(())
}

/// Bytes of the length before a frame.
const FRAME_LENGTH_SIZE: u64 = 4;
