//! DescribeTopicPartitions (API 75), which tells partitions page by page, and DescribeLogDirs (35),
//! which tells their sizes.

use ottla::protocol::ErrorCode;
use ottla::protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResult,
};
use ottla::protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};

use super::batch::Batch;
use super::client::Client;
use super::kit::{self, unique};

fn page(
    client: &mut Client,
    names: &[&str],
    limit: i32,
    cursor: Option<Cursor>,
) -> DescribeTopicPartitionsResponse {
    let topics = names.iter().map(|name| TopicRequest { name: (*name).to_owned() }).collect();
    let request =
        DescribeTopicPartitionsRequest { topics, response_partition_limit: limit, cursor };
    client.call(0, &request)
}

#[test]
fn partitions_are_told_in_pages_by_topic_name() {
    let mut client = Client::connect();
    let mut names = Vec::new();
    for (prefix, partition_count) in [("b", 3), ("a", 2), ("c", 1)] {
        let name = unique(prefix);
        kit::create_topic(&mut client, &name, partition_count, &[]);
        names.push(name);
    }
    let asked = names.clone();
    let asked: Vec<_> = asked.iter().map(String::as_str).collect();
    names.sort();
    let mut expected: Vec<(&str, i32)> = Vec::new();
    for (name, partition_count) in names.iter().zip([2, 3, 1]) {
        expected.extend((0..partition_count).map(|index| (name.as_str(), index)));
    }
    for limit in [1, 2, 4, 6, 2_000] {
        let (mut got, mut cursor) = (Vec::new(), None);
        loop {
            let response = page(&mut client, &asked, limit, cursor);
            let mut count = 0;
            for topic in response.topics {
                assert_eq!(topic.error_code, ErrorCode::None);
                for partition in topic.partitions {
                    got.push((topic.name.clone().unwrap(), partition.partition_index));
                    count += 1;
                }
            }
            assert!(count <= limit, "{count} of at most {limit}");
            cursor = response.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        let got: Vec<_> = got.iter().map(|(name, index)| (name.as_str(), *index)).collect();
        assert_eq!(got, expected, "limit {limit}");
    }
}

#[test]
fn a_described_topic_is_whole() {
    let mut client = Client::connect();
    let name = kit::topic(&mut client, 1);
    let response = page(&mut client, &[&name], 100, None);
    assert_eq!((response.throttle_time_ms, response.next_cursor), (0, None));
    let topic = &response.topics[0];
    assert_eq!(topic.topic_id, kit::topic_id(&mut client, &name));
    assert!(!topic.is_internal);
    let node = client.call(4, &kit::metadata_request(&[])).brokers[0].node_id;
    let partition = &topic.partitions[0];
    assert_eq!((partition.error_code, partition.leader_id), (ErrorCode::None, node));
    assert_eq!(
        (&partition.replica_nodes[..], &partition.isr_nodes[..]),
        (&[node][..], &[node][..])
    );
    assert!(partition.eligible_leader_replicas.as_ref().is_none_or(Vec::is_empty));
    assert!(partition.offline_replicas.is_empty());
}

#[test]
fn no_names_ask_for_all_topics() {
    let mut client = Client::connect();
    let name = kit::topic(&mut client, 1);
    let (mut found, mut cursor) = (false, None);
    loop {
        let response = page(&mut client, &[], 2_000, cursor);
        found |= response.topics.iter().any(|topic| topic.name.as_ref() == Some(&name));
        cursor = response.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert!(found);
}

#[test]
fn unknown_topics_are_told_and_bad_cursors_refused() {
    let mut client = Client::connect();
    let (name, absent) = (kit::topic(&mut client, 1), unique("absent"));
    let response = page(&mut client, &[&absent, &name], 100, None);
    let code = |name: &str| {
        let mut topics = response.topics.iter();
        topics.find(|topic| topic.name.as_deref() == Some(name)).unwrap().error_code
    };
    assert_eq!(code(&absent), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(code(&name), ErrorCode::None);
    let cursor = Cursor { topic_name: name.clone(), partition_index: -1 };
    let response = page(&mut client, &[&name], 100, Some(cursor));
    assert!(response.topics.iter().all(|topic| topic.error_code == ErrorCode::InvalidRequest));
    assert_eq!(response.topics.len(), 1);
}

fn log_dirs(
    client: &mut Client,
    version: i16,
    topics: Option<&[(&str, &[i32])]>,
) -> DescribeLogDirsResult {
    let topics = topics.map(|topics| {
        let topics = topics.iter().map(|(topic, partitions)| DescribableLogDirTopic {
            topic: (*topic).to_owned(),
            partitions: partitions.to_vec(),
        });
        topics.collect()
    });
    let response = client.call(version, &DescribeLogDirsRequest { topics });
    assert_eq!(response.error_code, ErrorCode::None);
    assert_eq!(response.results.len(), 1);
    assert_eq!(response.results[0].error_code, ErrorCode::None);
    response.results[0].clone()
}

#[test]
fn the_size_of_a_partition_is_that_of_its_batches() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let batch = Batch::of(&["some", "records"]).bytes();
    for _ in 0..3 {
        kit::produced(&mut client, &topic, 1, batch.clone());
    }
    let expected = i64::try_from(3 * batch.len()).unwrap();
    for version in 1..=4 {
        for asked in [None, Some(&[(&*topic, &[0, 1][..])][..])] {
            let dir = log_dirs(&mut client, version, asked);
            let row = dir.topics.iter().find(|row| row.name == topic).unwrap();
            for partition in &row.partitions {
                let size = if partition.partition_index == 1 { expected } else { 0 };
                assert_eq!(partition.partition_size, size, "version {version}");
                assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
            }
            assert_eq!(row.partitions.len(), 2);
            if version >= 4 {
                assert!(dir.total_bytes == -1 || dir.total_bytes >= dir.usable_bytes);
            }
        }
    }
}

#[test]
fn only_what_is_asked_for_and_exists_is_measured() {
    let mut client = Client::connect();
    let topic = kit::topic(&mut client, 2);
    let absent = unique("absent");
    let asked: &[(&str, &[i32])] = &[(&topic, &[1, 9]), (&absent, &[0])];
    let dir = log_dirs(&mut client, 4, Some(asked));
    let rows: Vec<_> = dir
        .topics
        .iter()
        .flat_map(|row| row.partitions.iter().map(|p| (row.name.as_str(), p.partition_index)))
        .collect();
    assert_eq!(rows, [(topic.as_str(), 1)]);
}
