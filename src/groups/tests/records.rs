//! The journal records as Apache Kafka 4.3.1 wrote them, key and value in hexadecimal: read, and
//! written again byte for byte.

use bytes::Bytes;

use crate::groups::{
    Coordinator, GroupConfig, GroupMetadata, GroupRecord, MemberMetadata, RecordError,
};
use crate::machine::{Effects, Machine};
use crate::types::{
    LeaderEpoch, Monotonic, Now, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp,
};

const NEW_GROUP: [&str; 2] =
    ["00020009672d636c6173736963", "0003000000000000ffffffff000001a2011e3c7600000000"];

/// Of a static member, with librdkafka's subscription and assignment.
const STABLE_GROUP: [&str; 2] = [
    "00020009672d636c6173736963",
    "00030008636f6e73756d657200000001000572616e6765002b696e73742d312d39633531303261342d65666334\
     2d343438302d383236372d393937343866323537346232000001a2011e3c8300000001002b696e73742d312d39\
     633531303261342d656663342d343438302d383236372d3939373438663235373462320006696e73742d310007\
     72646b61666b61000a2f3132372e302e302e31000493e00000afc80000001c0003000000010006636f64656373\
     0000000000000000ffffffff00000000001a0000000000010006636f6465637300000001000000000000\
     0000",
];

const EMPTY_GROUP: [&str; 2] =
    ["000200026c76", "00030008636f6e73756d657200000002ffffffff000001a20c288ba800000000"];

const OFFSET: [&str; 2] = [
    "00010009672d636c61737369630006636f6465637300000000",
    "000400000000000000320000000001000001a2011e3d2b01001029e74a250b1f4c9fac889099ee771cfd",
];

const OFFSET_WITHOUT_TOPIC_ID: [&str; 2] = [
    "00010009672d636c61737369630006636f6465637300000000",
    "000400000000000000320000000001000001a2011e3f4d00",
];

/// OffsetCommit v2 with a retention of 60 s.
const EXPIRING_OFFSET: [&str; 2] = [
    "000100037265740002747400000000",
    "0001000000000000000700046e6f7465000001a20c288b9c000001a20c2975fc",
];

fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> =
        hex.bytes().map(|it| u8::try_from(char::from(it).to_digit(16).unwrap()).unwrap()).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect()
}

fn read([key, value]: [&str; 2]) -> GroupRecord {
    GroupRecord::decode(bytes(key), Some(bytes(value))).unwrap()
}

#[test]
fn kafkas_records_are_written_again_byte_for_byte() {
    for record in
        [NEW_GROUP, STABLE_GROUP, EMPTY_GROUP, OFFSET, OFFSET_WITHOUT_TOPIC_ID, EXPIRING_OFFSET]
    {
        let expected = (bytes(record[0]), Some(bytes(record[1])));
        assert_eq!(read(record).encode(), Ok(Some(expected)), "{record:?}");
        let tombstone = GroupRecord::decode(bytes(record[0]), None).unwrap();
        assert_eq!(tombstone.encode(), Ok(Some((bytes(record[0]), None))), "{record:?}");
    }
}

#[test]
fn a_stable_group_is_read() {
    let GroupRecord::Group { group_id, metadata: Some(group) } = read(STABLE_GROUP) else {
        panic!("a group")
    };
    assert_eq!(group_id, "g-classic");
    assert_eq!((group.protocol_type.as_str(), group.generation), ("consumer", 1));
    assert_eq!(group.protocol.as_deref(), Some("range"));
    assert_eq!(group.leader.as_deref(), Some("inst-1-9c5102a4-efc4-4480-8267-99748f2574b2"));
    assert_eq!(group.current_state_timestamp, 1_795_315_088_515);
    let [member] = group.members.as_slice() else { panic!("one member") };
    assert_eq!(Some(&member.member_id), group.leader.as_ref());
    assert_eq!(member.group_instance_id.as_deref(), Some("inst-1"));
    assert_eq!((member.rebalance_timeout, member.session_timeout), (300_000, 45_000));
}

#[test]
fn offsets_are_read() {
    let GroupRecord::Offset { group_id, topic, partition, committed: Some(kept) } = read(OFFSET)
    else {
        panic!("an offset")
    };
    assert_eq!((group_id.as_str(), topic.as_str()), ("g-classic", "codecs"));
    assert_eq!((partition, kept.offset), (PartitionIndex(0), Offset(50)));
    assert_eq!(kept.leader_epoch, Some(LeaderEpoch(0)));
    assert_eq!(kept.topic_id.to_string(), "KedKJQsfTJ-siJCZ7ncc_Q");
    assert_eq!((kept.committed_at, kept.expires), (Timestamp(1_795_315_088_683), None));

    let GroupRecord::Offset { committed: Some(kept), .. } = read(EXPIRING_OFFSET) else {
        panic!("an offset")
    };
    assert_eq!((kept.offset, kept.metadata.as_str()), (Offset(7), "note"));
    assert_eq!(kept.leader_epoch, None);
    assert_eq!(kept.expires, Some(kept.committed_at.plus_ms(60_000)));
}

/// TxnOffsetCommit, from a transactional batch: Kafka leaves the topic id out.
#[test]
fn only_offsets_are_read_from_a_transaction() {
    let (id, epoch) = (ProducerId(7), ProducerEpoch(3));
    let decode = |key, value| GroupRecord::decode_pending(id, epoch, bytes(key), value);
    let [key, value] = OFFSET_WITHOUT_TOPIC_ID;
    let read = decode(key, Some(bytes(value))).unwrap();
    assert_eq!(read.encode(), Ok(Some((bytes(key), Some(bytes(value))))));
    let GroupRecord::PendingOffset { producer_id, producer_epoch, committed, .. } = read else {
        panic!("an offset")
    };
    assert_eq!((producer_id, producer_epoch, committed.offset), (id, epoch, Offset(50)));
    assert_eq!(decode(key, None), Err(RecordError::InTransaction));
    let [key, value] = EMPTY_GROUP;
    assert_eq!(decode(key, Some(bytes(value))), Err(RecordError::InTransaction));
}

#[test]
fn other_records_and_damage_are_told_apart() {
    let other = GroupRecord::decode(bytes("0003000167"), None);
    assert_eq!(other, Err(RecordError::KeyType(3)));
    for record in [STABLE_GROUP, OFFSET, EXPIRING_OFFSET] {
        let (key, value) = (bytes(record[0]), bytes(record[1]));
        for end in 0..key.len() {
            let cut = GroupRecord::decode(key.slice(..end), Some(value.clone()));
            assert!(matches!(cut, Err(RecordError::Malformed(_))), "{record:?} key at {end}");
        }
        for end in 0..value.len() {
            let cut = GroupRecord::decode(key.clone(), Some(value.slice(..end)));
            assert!(matches!(cut, Err(RecordError::Malformed(_))), "{record:?} value at {end}");
        }
    }
}

/// Whatever the journal holds, the coordinator makes a sound group of it and goes on.
#[test]
fn odd_groups_are_replayed_into_sound_ones() {
    let member = |id: &str, instance: Option<&str>| MemberMetadata {
        member_id: id.to_owned(),
        group_instance_id: instance.map(str::to_owned),
        session_timeout: -5,
        rebalance_timeout: -1,
        ..MemberMetadata::default()
    };
    let odd = |generation, members| GroupMetadata {
        protocol_type: "consumer".to_owned(),
        generation,
        leader: Some("nobody".to_owned()),
        members,
        ..GroupMetadata::default()
    };
    let twice = vec![member("a", None), member("a", None), member("b", Some("i"))];
    for (generation, mut members) in [(i32::MAX, twice.clone()), (-7, twice), (i32::MIN, vec![])] {
        members.push(member("c", Some("i")));
        let now = Now { wall: Timestamp(0), monotonic: Monotonic(0) };
        let mut coordinator = Coordinator::new(GroupConfig::default(), now);
        let metadata = Some(odd(generation, members));
        coordinator.replay(now, GroupRecord::Group { group_id: "g".to_owned(), metadata });
        coordinator.check();
        let mut effects = Effects::default();
        let later = Now { wall: Timestamp(1), monotonic: Monotonic(1) };
        coordinator.tick(later, &mut effects);
        coordinator.check();
        let [GroupRecord::Group { metadata: Some(empty), .. }] = effects.records.as_slice() else {
            panic!("{effects:?}")
        };
        assert!(empty.members.is_empty() && empty.generation >= 0, "{empty:?}");
    }
}
