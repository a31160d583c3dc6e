//! A frame of a stranger never costs much more memory than its length: a process that decodes bombs
//! of every kind stays small. Alone in its file, since it watches the peak of its own process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads /proc")]

use bytes::Bytes;
use ottla::codec::{Message, Reader};
use ottla::protocol::messages::fetch::FetchRequest;
use ottla::protocol::messages::join_group::JoinGroupRequest;
use ottla::protocol::messages::metadata::MetadataRequest;
use ottla::protocol::messages::produce::ProduceRequest;

const FRAME_SIZE: usize = 4 << 20;

#[test]
fn bombs_leave_the_process_small() {
    let before = peak_kib();
    // Frames that claim as much as they can, at every nesting depth that the bytes allow.
    for pattern in [&[0x7f, 0xff, 0xff, 0xff][..], &[0xff], &[0], &[1], &[2], &[0, 1], &[0x80]] {
        let frame = Bytes::from(pattern.repeat(FRAME_SIZE / pattern.len()));
        for version in 0..=18 {
            decode::<MetadataRequest>(&frame, version);
            decode::<ProduceRequest>(&frame, version);
            decode::<FetchRequest>(&frame, version);
            decode::<JoinGroupRequest>(&frame, version);
        }
    }
    // A true count of the smallest elements: a name of no letters costs 2 bytes, and 24 in memory.
    let count = u32::try_from(FRAME_SIZE / 2 - 8).unwrap().to_be_bytes();
    decode::<MetadataRequest>(&Bytes::from([&count[..], &vec![0; FRAME_SIZE]].concat()), 1);
    let grown = peak_kib() - before;
    // The frame, its values at 8 bytes for each of its bytes, and what the allocator keeps. Without
    // the limit the last bomb alone takes 20.
    let most = FRAME_SIZE * 16 / 1024;
    assert!(grown < u64::try_from(most).unwrap(), "grew by {grown} KiB");
}

fn decode<M: Message>(frame: &Bytes, version: i16) {
    let _ = M::decode(&mut Reader::new(frame.clone()), version);
}

/// The most memory this process has ever held.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
