//! What Apache Kafka wrote, served: the topics of its data folder with their ids, configs and batches
//! byte for byte, the offsets and members of its groups, before and after a restart. The broker is
//! one of the test's own.

use std::path::Path;

use bytes::Bytes;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla::protocol::messages::describe_groups::DescribeGroupsRequest;
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ottla::types::TopicId;

use super::batch::{Batch, Stored};
use super::broker::Broker;
use super::client::Client;
use super::kafka_folder;
use super::kit;

const TOPICS: [(&str, &str, i64); 4] = [
    ("codecs", "KedKJQsfTJ-siJCZ7ncc_Q", 110),
    ("transactions", "ZBvsp3toSme4qcriVKEEEA", 20),
    ("compacted", "5pJisFBaT4eET32pVdq6Dw", 31),
    ("appendtime", "U_caMTm5Td2et2wSbGCyOw", 1),
];

fn start(folder: &Path) -> Broker {
    Broker::start_with(|_| {
        ottla::Ottla::builder().data_dir(folder).with_config(|config| {
            config.log_retention_hours = -1; // The records are of 2023.
        })
    })
}

/// All batches that a consumer gets, one behind the other.
fn consumed(client: &mut Client, topic: &str, end: i64) -> Vec<u8> {
    let (mut all, mut offset) = (Vec::new(), 0);
    while offset < end {
        let data = kit::fetch(client, topic, 0, offset);
        assert_eq!((data.error_code, data.high_watermark), (ErrorCode::None, end), "{topic}");
        let bytes: Bytes = kit::record_bytes(&data);
        let last = Stored::all(&bytes).pop().unwrap();
        offset = last.base_offset + i64::from(last.last_offset_delta) + 1;
        all.extend(&bytes);
    }
    all
}

fn config(client: &mut Client, topic: &str, key: &str) -> Option<String> {
    let resource = DescribeConfigsResource {
        resource_type: 2,
        resource_name: topic.to_owned(),
        configuration_keys: Some(vec![key.to_owned()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    client.call(4, &request).results[0].configs[0].value.clone()
}

#[track_caller]
fn check_group(client: &mut Client) {
    let topics = vec![OffsetFetchRequestTopics {
        name: "codecs".to_owned(),
        partition_indexes: vec![0],
        ..Default::default()
    }];
    let group = OffsetFetchRequestGroup {
        group_id: "g-classic".to_owned(),
        topics: Some(topics),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let row = client.call(8, &request).groups[0].topics[0].partitions[0].clone();
    assert_eq!((row.committed_offset, row.committed_leader_epoch), (50, 0));
    let request =
        DescribeGroupsRequest { groups: vec!["g-classic".to_owned()], ..Default::default() };
    let group = client.call(5, &request).groups[0].clone();
    assert_eq!((&*group.group_state, &*group.protocol_data), ("Stable", "range"));
    let member = &group.members[0];
    assert_eq!(member.group_instance_id.as_deref(), Some("inst-1"));
    assert_eq!((&*member.client_id, &*member.client_host), ("rdkafka", "/127.0.0.1"));
}

#[test]
fn a_folder_that_kafka_wrote_is_served_batch_by_batch_with_its_groups() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("data");
    kafka_folder::lay_out(&folder);
    for _ in 0..2 {
        let broker = start(&folder);
        let mut client = broker.connect();
        for (topic, id, end) in TOPICS {
            assert_eq!(TopicId(kit::topic_id(&mut client, topic)).to_string(), id, "{topic}");
            let stored = kafka_folder::log_bytes(&format!("{topic}-0"));
            assert!(consumed(&mut client, topic, end) == stored, "{topic}: other bytes");
        }
        assert_eq!(config(&mut client, "compacted", "cleanup.policy").unwrap(), "compact");
        let key = "message.timestamp.type";
        assert_eq!(config(&mut client, "appendtime", key).unwrap(), "LogAppendTime");
        // The first of five batches with the same times.
        assert_eq!(kit::list_offsets(&mut client, "codecs", 0, 1_700_000_007_000).offset, 7);
        check_group(&mut client);
        broker.stop();
    }
    let broker = start(&folder);
    let written = kit::produced(&mut broker.connect(), "codecs", 0, Batch::of(&["ottla's own"]));
    assert_eq!(written, 110);
    broker.stop();
    let broker = start(&folder);
    let batches = kit::stored(&mut broker.connect(), "codecs", 0, 110);
    assert_eq!(batches.iter().map(|batch| batch.base_offset).collect::<Vec<_>>(), [110]);
}
