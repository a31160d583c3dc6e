//! Bytes that nobody should send: each ends its own connection at once, and costs no memory. In a
//! process of its own, with one test at a time, since it watches what the whole process holds.

#![allow(clippy::unwrap_used, reason = "a test that fails may panic")]
#![allow(clippy::disallowed_methods, reason = "a test reads /proc")]
#![allow(dead_code, unreachable_pub, reason = "the modules serve other tests, too")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use ottla::codec::Writer;

#[path = "conformance/batch.rs"]
mod batch;
#[path = "conformance/broker.rs"]
mod broker;
#[path = "conformance/client.rs"]
mod client;
#[path = "conformance/kit.rs"]
mod kit;

use batch::Batch;
use broker::Broker;
use client::{Client, header};

/// What twenty hostile frames may cost together; one that is believed costs a hundred times that.
const GROWTH_MAX_KIB: u64 = 8 << 10;

/// A broker that nothing else is done with meanwhile.
struct Alone {
    broker: Broker,
    _turn: MutexGuard<'static, ()>,
}

impl Alone {
    fn start() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = Self { broker: Broker::start(), _turn };
        alone.check_alive();
        alone
    }

    fn check_alive(&self) {
        let response = self.broker.connect().call(4, &kit::metadata_request(&[]));
        assert_eq!(response.brokers.len(), 1);
    }

    /// Does something, and sees that the broker lives and never held much more memory than before.
    fn check_flat(&self, what: &str, growth_max_kib: u64, attack: impl FnOnce()) {
        eprintln!("attack: {what}");
        // From here on the peak is counted anew; the limit is loose enough if it cannot be.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = peak_kib();
        attack();
        self.check_alive();
        if !self.broker.is_given() {
            let grown = peak_kib().saturating_sub(before);
            assert!(grown < growth_max_kib, "{what}: grew by {grown} KiB");
        }
    }

    /// Sends bytes on connections of their own, and sees each closed without an answer.
    fn check_closed(&self, attacks: &[(&str, Vec<u8>)]) {
        for (what, bytes) in attacks {
            self.check_flat(what, GROWTH_MAX_KIB, || {
                for _ in 0..20 {
                    let mut client = self.broker.connect();
                    client.try_send_raw(bytes);
                    client.expect_closed();
                }
            });
        }
    }
}

/// The most memory this process has held.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A request frame: header, and a body of any content.
fn frame(api_key: i16, version: i16, is_flexible: bool, body: &[u8]) -> Vec<u8> {
    let content = [&header(api_key, version, 1, is_flexible)[..], body].concat();
    let length = i32::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], &content].concat()
}

#[test]
fn lengths_that_no_frame_has_end_the_connection() {
    let attacks: Vec<_> = [
        ("length -1", (-1_i32).to_be_bytes().to_vec()),
        ("length 0", 0_i32.to_be_bytes().to_vec()),
        ("length 3", [&3_i32.to_be_bytes()[..], &[0; 3]].concat()),
        ("length 7", [&7_i32.to_be_bytes()[..], &[0, 3, 0, 1, 0, 0, 0]].concat()),
        ("length 2^31-1", i32::MAX.to_be_bytes().to_vec()),
        ("length over socket.request.max.bytes", 104_857_601_i32.to_be_bytes().to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
    ]
    .into();
    Alone::start().check_closed(&attacks);
}

#[test]
fn a_length_that_is_never_filled_costs_nothing() {
    let alone = Alone::start();
    if alone.broker.is_kafka() {
        return; // Differs from Kafka: it takes the memory at once, and can die of it.
    }
    alone.check_flat("20 empty frames of 100 MiB", GROWTH_MAX_KIB, || {
        let mut waiting: Vec<Client> = Vec::new();
        for _ in 0..20 {
            let mut client = alone.broker.connect();
            client.send_raw(&104_857_600_i32.to_be_bytes());
            client.send_raw(&[0, 3, 0, 1]);
            waiting.push(client);
        }
        alone.check_alive();
    });
}

/// 1 GiB of zeros in 32 KiB: a Zstandard frame of blocks that say "this byte, 2^17 times".
fn zstd_bomb() -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3]; // Magic, no sizes, a window of 2^17.
    for left in (0..1_u32 << 13).rev() {
        let header = (1 << 17) << 3 | 1 << 1 | u32::from(left == 0); // Size, kind, last.
        frame.extend(header.to_be_bytes()[1..].iter().rev());
        frame.push(0);
    }
    frame
}

#[test]
fn a_small_batch_that_inflates_is_refused() {
    let alone = Alone::start();
    let mut client = alone.broker.connect();
    let topic = kit::topic(&mut client, 1);
    let mut batch = Batch::of(&["bomb"]).codec(4);
    batch.payload = Some(zstd_bomb());
    let bomb = batch.bytes();
    alone.check_flat("1 GiB in a small batch", 256 << 10, || {
        let row = kit::produce(&mut client, &topic, 0, bomb);
        assert!(row.error_code.is_error());
    });
}

#[test]
fn counts_that_no_frame_can_hold_end_the_connection() {
    let mut produce = Writer::new();
    produce.i16(-1); // transactional id
    produce.i16(-1); // acks
    produce.i32(1_000); // timeout
    produce.i32(i32::MAX); // topics
    let mut join = Writer::new();
    join.nullable_string(Some("group"), false).unwrap();
    join.i32(10_000);
    join.nullable_string(Some(""), false).unwrap();
    join.nullable_string(Some("consumer"), false).unwrap();
    join.i32(100_000_000); // protocols
    join.raw(&[0; 20]);
    let mut nested = Writer::new();
    nested.i32(-1); // replica
    nested.i32(1); // topics
    nested.nullable_string(Some("t"), false).unwrap();
    nested.i32(100_000_000); // partitions
    let alone = Alone::start();
    alone.check_closed(&[
        ("Metadata 1", frame(3, 1, false, &[0x7f, 0xff, 0xff, 0xff])),
        ("Metadata 9", frame(3, 9, true, &[0xff, 0xff, 0xff, 0xff, 0x0f])),
        ("Produce 3", frame(0, 3, false, produce.as_slice())),
        ("JoinGroup 0", frame(11, 0, false, join.as_slice())),
        ("ListOffsets 1", frame(2, 1, false, nested.as_slice())),
        ("a string longer than the frame", frame(10, 0, false, &[0x7f, 0xff, b'a'])),
    ]);
    if !alone.broker.is_kafka() {
        // Differs from Kafka: it reads every negative length as that of null.
        alone.check_closed(&[
            ("a negative string", frame(10, 0, false, &[0xff, 0xfe])),
            ("a negative count", frame(3, 1, false, &[0xff, 0xff, 0xff, 0xfe])),
        ]);
    }
}

#[test]
fn tags_that_no_frame_can_hold_end_the_connection() {
    let alone = Alone::start();
    let tag_count = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let in_header = [&header(3, 9, 1, false)[..], &tag_count, &[0; 8]].concat();
    let length = i32::try_from(in_header.len()).unwrap().to_be_bytes();
    let mut attacks = vec![
        ("a tag larger than the frame", frame(3, 9, true, &[1, 0, 0, 0, 1, 5, 0xff, 0x7f])),
        ("a varint without end", frame(3, 9, true, &[0xff; 12])),
    ];
    if !alone.broker.is_kafka() {
        // Differs from Kafka: it reads 2^32-1 tags as -1, which to it is none.
        attacks.push(("2^32-1 tags in the body", {
            frame(3, 9, true, &[&[1, 0, 0, 0][..], &tag_count].concat())
        }));
        attacks.push(("2^32-1 tags in the header", [&length[..], &in_header].concat()));
    }
    alone.check_closed(&attacks);
}

#[test]
fn frames_of_noise_harm_nobody() {
    let alone = Alone::start();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..400_u16 {
        let mut noise = Vec::new();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.extend((state >> 8).to_be_bytes());
        }
        // Half of them begin as a request that there is.
        let key = i16::try_from(round % 76).unwrap();
        let version = i16::try_from(round % 12).unwrap();
        let bytes = if round % 2 == 0 { frame(key, version, true, &noise) } else { noise };
        alone.broker.connect().try_send_raw(&bytes);
    }
    alone.check_alive();
}
