//! The rows of what concerns topics, their settings, and the cluster.

use kafka_protocol::messages as theirs;
use ottla::protocol::messages::alter_configs::{self, AlterConfigsRequest};
use ottla::protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use ottla::protocol::messages::describe_cluster::DescribeClusterRequest;
use ottla::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use ottla::protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use ottla::protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, TopicRequest,
};
use ottla::protocol::messages::incremental_alter_configs::{self, IncrementalAlterConfigsRequest};
use ottla::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use super::super::kit::{self, unique};
use super::Table;

const TOPIC: i8 = 2;
const KEY: &str = "retention.ms";

pub(super) fn ask(table: &mut Table) {
    ask_to_make_and_remove(table);
    ask_to_show(table);
    ask_to_set(table);
}

fn ask_to_make_and_remove(table: &mut Table) {
    table.row::<CreateTopicsRequest, theirs::CreateTopicsResponse>(
        |_, _| {
            let topic = CreatableTopic {
                name: unique("topic"),
                num_partitions: 2,
                replication_factor: 1,
                ..Default::default()
            };
            CreateTopicsRequest { topics: vec![topic], ..Default::default() }
        },
        |version, response| {
            let row = &response.topics[0];
            assert_eq!(row.num_partitions, if version < 5 { -1 } else { 2 });
            assert_eq!(row.topic_id.is_nil(), version < 7);
            row.error_code
        },
    );
    table.row::<DeleteTopicsRequest, theirs::DeleteTopicsResponse>(
        |client, version| {
            let name = kit::topic(client, 1);
            let mut request = DeleteTopicsRequest { timeout_ms: 30_000, ..Default::default() };
            if version < 6 {
                request.topic_names = vec![name];
            } else {
                let topic_id = kit::topic_id(client, &name);
                request.topics = vec![DeleteTopicState { name: None, topic_id }];
            }
            request
        },
        |_, response| {
            assert!(response.responses[0].name.is_some());
            response.responses[0].error_code
        },
    );
    table.row::<CreatePartitionsRequest, theirs::CreatePartitionsResponse>(
        |client, _| {
            let name = kit::topic(client, 1);
            let topic = CreatePartitionsTopic { name, count: 3, assignments: None };
            let topics = vec![topic];
            CreatePartitionsRequest { topics, timeout_ms: 30_000, validate_only: false }
        },
        |_, response| response.results[0].error_code,
    );
}

fn ask_to_show(table: &mut Table) {
    let name = kit::topic(&mut table.client, 2);
    table.row::<MetadataRequest, theirs::MetadataResponse>(
        |_, version| {
            let topic = MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
            MetadataRequest {
                topics: Some(vec![topic]),
                allow_auto_topic_creation: version < 4,
                ..Default::default()
            }
        },
        |version, response| {
            assert_eq!((response.brokers.len(), response.topics.len()), (1, 1));
            let topic = &response.topics[0];
            assert_eq!((topic.name.as_ref(), topic.partitions.len()), (Some(&name), 2));
            assert_eq!(topic.topic_id.is_nil(), version < 10);
            topic.error_code
        },
    );
    table.row::<DescribeTopicPartitionsRequest, theirs::DescribeTopicPartitionsResponse>(
        |_, _| DescribeTopicPartitionsRequest {
            topics: vec![TopicRequest { name: name.clone() }],
            ..Default::default()
        },
        |_, response| {
            assert_eq!(response.topics[0].partitions.len(), 2);
            response.topics[0].error_code
        },
    );
    table.row::<DescribeLogDirsRequest, theirs::DescribeLogDirsResponse>(
        |_, _| {
            let topic = DescribableLogDirTopic { topic: name.clone(), partitions: vec![0, 1] };
            DescribeLogDirsRequest { topics: Some(vec![topic]) }
        },
        |_, response| {
            assert_eq!(response.results[0].topics[0].partitions.len(), 2);
            response.results[0].error_code
        },
    );
    table.row::<DescribeClusterRequest, theirs::DescribeClusterResponse>(
        |_, _| DescribeClusterRequest::default(),
        |_, response| {
            assert_eq!(response.brokers.len(), 1);
            response.error_code
        },
    );
}

fn ask_to_set(table: &mut Table) {
    let name = kit::topic(&mut table.client, 1);
    table.row::<AlterConfigsRequest, theirs::AlterConfigsResponse>(
        |_, _| {
            let value = Some("5000".to_owned());
            let config = alter_configs::AlterableConfig { name: KEY.to_owned(), value };
            let resource = alter_configs::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configs: vec![config],
            };
            AlterConfigsRequest { resources: vec![resource], validate_only: false }
        },
        |_, response| response.responses[0].error_code,
    );
    table.row::<IncrementalAlterConfigsRequest, theirs::IncrementalAlterConfigsResponse>(
        |_, _| {
            let config = incremental_alter_configs::AlterableConfig {
                name: KEY.to_owned(),
                config_operation: 0,
                value: Some("6000".to_owned()),
            };
            let resource = incremental_alter_configs::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configs: vec![config],
            };
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false }
        },
        |_, response| response.responses[0].error_code,
    );
    table.row::<DescribeConfigsRequest, theirs::DescribeConfigsResponse>(
        |_, version| {
            let resource = DescribeConfigsResource {
                resource_type: TOPIC,
                resource_name: name.clone(),
                configuration_keys: Some(vec![KEY.to_owned()]),
            };
            DescribeConfigsRequest {
                resources: vec![resource],
                include_synonyms: true,
                include_documentation: version >= 3,
            }
        },
        |version, response| {
            let result = &response.results[0];
            let row = &result.configs[0];
            assert_eq!(row.name, KEY);
            assert_eq!(row.documentation.is_some(), version >= 3);
            result.error_code
        },
    );
}
