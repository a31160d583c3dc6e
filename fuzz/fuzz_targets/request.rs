//! The body of any request: the first byte chooses the API, the second the version.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla::codec::Reader;
use ottla::protocol::ApiKey;

fuzz_target!(|input: &[u8]| {
    let [key, version, body @ ..] = input else { return };
    let key = ApiKey::ALL[usize::from(*key) % ApiKey::ALL.len()];
    let mut reader = Reader::new(Bytes::copy_from_slice(body));
    let _ = key.check_request(i16::from(*version % 32), &mut reader);
});
