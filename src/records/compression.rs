//! The four codecs of record batches, and their bounded decompression: what a few hostile bytes
//! can unpack to is limited before memory is taken for it.
//!
//! Snappy is xerial's framing (`82 SNAPPY 00`, version 1, compatible 1, then blocks with a length
//! before each), as the Java clients write it; a bare Snappy block is read too. LZ4 is the standard
//! frame; gzip and zstd are plain streams.

use std::io::{self, Read, Write};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::cursor::Cursor;

/// A limit that no honest batch of the default `max.message.bytes` reaches.
pub const DECOMPRESSED_LIMIT: usize = 64 * 1024 * 1024;
/// What any batch may unpack to, however small: producers of one record over and over (zeros, test
/// loads) reach a thousand times their default batch size.
const DECOMPRESSED_FLOOR: usize = 16 * 1024 * 1024;
/// Beyond the floor, how many times its size a batch may unpack to.
const DECOMPRESSED_RATIO: usize = 100;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_BLOCK_LEN: usize = 32 * 1024;
/// A Snappy copy element has at least two bytes and yields at most 64.
const SNAPPY_RATIO_MAX: usize = 64;
/// The window of zstd's highest level (22), which the Java producer announces for levels 20 to 22
/// whatever the size of the batch; more is refused. Memory is touched only as far as output comes.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in xerial's framing.
    Snappy,
    /// LZ4 frame.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
}

impl Codec {
    /// The number in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The codec with that number.
    pub fn from_id(id: i16) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.id() == id)
    }
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compression {
    /// What to write.
    pub codec: Codec,
    /// The codec's own scale; `None` is its default. Snappy and LZ4 have one level only.
    pub level: Option<i32>,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self { codec, level: None }
    }
}

/// Why bytes could not be unpacked or packed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// More than the caller is willing to hold.
    #[error("unpacks to more than {limit} bytes")]
    Limit {
        /// The caller's limit.
        limit: usize,
    },
    /// Not a stream of that codec, or a broken one.
    #[error("not valid {codec:?} data: {source}")]
    Invalid {
        /// What it should have been.
        codec: Codec,
        /// What the decoder said.
        source: io::Error,
    },
}

/// What a client's batch whose records take `packed` bytes may unpack to.
pub fn unpacked_limit(packed: usize) -> usize {
    packed.saturating_mul(DECOMPRESSED_RATIO).clamp(DECOMPRESSED_FLOOR, DECOMPRESSED_LIMIT)
}

/// Unpacks `input` to at most `limit` bytes.
///
/// # Errors
/// `Limit` if there is more, `Invalid` if the stream is broken or cut.
pub fn decompress(codec: Codec, input: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    match codec {
        Codec::None if input.len() > limit => Err(CompressionError::Limit { limit }),
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => read_bounded(codec, MultiGzDecoder::new(input), limit),
        Codec::Snappy => unsnap(input, limit),
        Codec::Lz4 => read_bounded(codec, FrameDecoder::new(input), limit),
        Codec::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(input).map_err(invalid(codec))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(invalid(codec))?;
            read_bounded(codec, decoder, limit)
        }
    }
}

/// Packs `input`. Levels out of the codec's range count as its nearest one.
///
/// # Errors
/// `Invalid` with what the encoder said; not for any input known.
pub fn compress(compression: Compression, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let Compression { codec, level } = compression;
    match codec {
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => gzip(level, input).map_err(invalid(codec)),
        Codec::Snappy => snap(input),
        Codec::Lz4 => lz4(input).map_err(invalid(codec)),
        Codec::Zstd => zstd::bulk::compress(input, level.unwrap_or(3)).map_err(invalid(codec)),
    }
}

fn invalid(codec: Codec) -> impl Fn(io::Error) -> CompressionError {
    move |source| CompressionError::Invalid { codec, source }
}

fn read_bounded(
    codec: Codec,
    reader: impl Read,
    limit: usize,
) -> Result<Vec<u8>, CompressionError> {
    let mut out = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(one_more).read_to_end(&mut out).map_err(invalid(codec))?;
    if out.len() > limit {
        return Err(CompressionError::Limit { limit });
    }
    Ok(out)
}

fn unsnap(input: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
    let mut cursor = Cursor::new(input);
    let mut out = Vec::new();
    if cursor.array() != Some(XERIAL_MAGIC) {
        unsnap_block(input, &mut out, limit)?;
        return Ok(out);
    }
    let cut = || invalid(Codec::Snappy)(io::ErrorKind::UnexpectedEof.into());
    cursor.take(8).ok_or_else(cut)?; // The two versions; every writer says 1 and 1.
    while !cursor.rest().is_empty() {
        let length = u32::from_be_bytes(cursor.array().ok_or_else(cut)?);
        let length = usize::try_from(length).map_err(|_| cut())?;
        unsnap_block(cursor.take(length).ok_or_else(cut)?, &mut out, limit)?;
    }
    Ok(out)
}

fn unsnap_block(block: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<(), CompressionError> {
    let bad = |error: snap::Error| invalid(Codec::Snappy)(io::Error::other(error));
    let length = snap::raw::decompress_len(block).map_err(bad)?;
    let start = out.len();
    let end = start.saturating_add(length);
    if end > limit {
        return Err(CompressionError::Limit { limit });
    }
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(invalid(Codec::Snappy)(io::Error::other("length beyond what Snappy can do")));
    }
    out.resize(end, 0);
    let target = out.get_mut(start..).unwrap_or_default();
    let written = snap::raw::Decoder::new().decompress(block, target).map_err(bad)?;
    out.truncate(start.saturating_add(written));
    Ok(())
}

fn snap(input: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let mut out = XERIAL_MAGIC.to_vec();
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_LEN) {
        let packed = encoder
            .compress_vec(block)
            .map_err(|error| invalid(Codec::Snappy)(io::Error::other(error)))?;
        let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(out)
}

fn gzip(level: Option<i32>, input: &[u8]) -> io::Result<Vec<u8>> {
    let level = match level {
        None | Some(-1) => flate2::Compression::default(),
        Some(level) => flate2::Compression::new(u32::try_from(level.clamp(1, 9)).unwrap_or(6)),
    };
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(input)?;
    encoder.finish()
}

fn lz4(input: &[u8]) -> io::Result<Vec<u8>> {
    // Independent 64 KiB blocks are what the Java client writes and all clients read.
    let info = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input)?;
    encoder.finish().map_err(io::Error::from)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
mod tests {
    use super::*;

    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| u8::try_from((i * i / 7) % 251).unwrap()).collect()
    }

    #[test]
    fn every_codec_gives_back_what_it_took() {
        for codec in CODECS {
            for len in [0, 1, 100, XERIAL_BLOCK_LEN, 300_000] {
                let input = sample(len);
                for level in [None, Some(1), Some(9), Some(100), Some(-7)] {
                    let packed = compress(Compression { codec, level }, &input).unwrap();
                    let unpacked = decompress(codec, &packed, len).unwrap();
                    assert_eq!(unpacked, input, "{codec:?} {len} {level:?}");
                }
            }
        }
    }

    #[test]
    fn more_than_the_limit_is_refused() {
        for codec in CODECS {
            let packed = compress(codec.into(), &vec![7; 1_000_000]).unwrap();
            let result = decompress(codec, &packed, 999_999);
            assert!(matches!(result, Err(CompressionError::Limit { limit: 999_999 })), "{codec:?}");
        }
    }

    #[test]
    fn small_batch_may_not_unpack_to_much() {
        const MIB: usize = 1024 * 1024;
        let limits = [100, 16 * MIB / 100, 400 * 1024, MIB, 100 * MIB].map(unpacked_limit);
        assert_eq!(limits[..2], [16 * MIB; 2]);
        assert_eq!(limits[2], 40_960_000);
        assert_eq!(limits[3..], [64 * MIB; 2]);
    }

    /// A frame with a window of 2 to this, and five bytes in one raw block.
    fn zstd_frame(window_log: u8) -> Vec<u8> {
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3, 0x29, 0, 0];
        frame.extend_from_slice(b"hello");
        frame
    }

    #[test]
    fn windows_of_all_levels_of_zstd_are_taken_and_larger_ones_are_not() {
        for window_log in [17, 23, 25, 27] {
            let unpacked = decompress(Codec::Zstd, &zstd_frame(window_log), 100).unwrap();
            assert_eq!(unpacked, b"hello", "{window_log}");
        }
        for window_log in [28, 31, 41] {
            assert!(decompress(Codec::Zstd, &zstd_frame(window_log), 100).is_err(), "{window_log}");
        }
    }

    #[test]
    fn a_cut_stream_is_an_error_and_never_a_panic() {
        let input = sample(100_000);
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let packed = compress(codec.into(), &input).unwrap();
            for cut in (0..packed.len()).step_by(997).chain(packed.len() - 9..packed.len()) {
                if let Ok(out) = decompress(codec, &packed[..cut], input.len()) {
                    // Only a mark behind the last block may be missing unnoticed.
                    assert!(out.len() < input.len() || out == input, "{codec:?} cut at {cut}");
                }
            }
        }
    }

    #[test]
    fn a_bare_snappy_block_is_read_too() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        assert_eq!(decompress(Codec::Snappy, &packed, 100).unwrap(), b"hello hello hello");
    }

    #[test]
    fn six_bytes_of_snappy_do_not_reserve_four_gigabytes() {
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert!(decompress(Codec::Snappy, &bomb, DECOMPRESSED_LIMIT).is_err());
        assert!(decompress(Codec::Snappy, &bomb, usize::MAX).is_err());
    }
}
