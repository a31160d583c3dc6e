//! Reading the topics out of a consumer's subscription, the metadata of a member of protocol type
//! `consumer` (Kafka's ConsumerProtocolSubscription: i16 version, then the topics in all versions).
//!
//! Only two rules want it: the refusal to delete offsets in use, and the expiry of offsets that
//! nobody reads. Clients may send anything, so what cannot be read is "unknown", never an error.
//! Unlike Kafka, whose coordinator fails on it and cannot load the group again after a restart.

use std::collections::BTreeSet;

/// The topics of one subscription; `None` if the bytes are not one.
pub(super) fn topics(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (_version, rest) = metadata.split_first_chunk::<2>().filter(|(v, _)| v[0] < 0x80)?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = u32::from_be_bytes(*count);
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        // Each turn takes at least two bytes or ends, so the count cannot make this long.
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let (name, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        topics.insert(std::str::from_utf8(name).ok()?.to_owned());
        rest = tail;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_any_version_are_read() {
        let two = b"\x00\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff";
        assert_eq!(topics(two), Some(BTreeSet::from(["a".to_owned(), "bc".to_owned()])));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(BTreeSet::new()));
    }

    #[test]
    fn malformed_subscriptions_are_unknown() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\xff\xff\0\0\0\0",
            b"\0\0\x7f\xff\xff\xff\0\x01a",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\0\0\0\x01\0\x05ab",
            b"\0\0\0\0\0\x01\0\x01\xff",
        ] {
            assert_eq!(topics(bytes), None, "{bytes:?}");
        }
    }
}
