//! CRC-32C, the checksum of record batches and of our own files.

use crc_fast::{CrcAlgorithm, Digest, checksum};

/// The checksum of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    narrow(checksum(CrcAlgorithm::Crc32Iscsi, bytes))
}

/// The checksum of `parts` as if they were one piece.
pub fn crc32c_of<const N: usize>(parts: [&[u8]; N]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    parts.iter().for_each(|part| digest.update(part));
    narrow(digest.finalize())
}

/// The library speaks of all checksums in 64 bits.
fn narrow(checksum: u64) -> u32 {
    u32::try_from(checksum & u64::from(u32::MAX)).expect("masked to 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer_and_another_library_agree() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        let bytes: Vec<u8> =
            (0..4096_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        for length in [0, 1, 7, 16, 61, 128, 255, 1000, 4096] {
            let (whole, cut) = (&bytes[..length], length / 3);
            assert_eq!(crc32c(whole), ::crc32c::crc32c(whole), "{length} bytes");
            assert_eq!(crc32c_of([&whole[..cut], &whole[cut..]]), crc32c(whole), "{length} bytes");
        }
    }
}
