//! A whole request frame, without its length, as the server reads it: prefix, header, body.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ottla::codec::Reader;
use ottla::protocol::{ApiKey, RequestHeader, RequestPrefix};

fuzz_target!(|frame: &[u8]| {
    let mut reader = Reader::new(Bytes::copy_from_slice(frame));
    let Ok(prefix) = RequestPrefix::decode(&mut reader) else { return };
    let Some(key) = ApiKey::from_code(prefix.api_key) else { return };
    if !key.served().contains(prefix.api_version) {
        return;
    }
    if RequestHeader::decode(key, prefix, &mut reader).is_ok() {
        let _ = key.check_request(prefix.api_version, &mut reader);
    }
});
