//! Cases of the admin client.

use futures_executor::block_on;
use rdkafka::admin::{
    AlterConfig, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use rust_suite::{Outcome, Test, equal, holds, sequence, until};

use crate::consume::{commit, committed};
use crate::{
    CALL_MAX, admin_client, an_hour_ago, consumer, new_topic, options, poll, reader, send, values,
};

type Verdict = Result<(), RDKafkaErrorCode>;

pub fn topics(test: &Test) -> Outcome {
    let (name, admin) = (new_topic(test, "a", 2, &[])?, admin_client(test)?);
    let create = |name: &str, configs: &[(&str, &str)], validate: bool| -> Outcome<Verdict> {
        let mut topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        let options = options().validate_only(validate);
        let results = block_on(admin.create_topics([&topic], &options))?;
        Ok(results[0].clone().map(drop).map_err(|(_, code)| code))
    };
    equal(create(&name, &[], false)?, Err(RDKafkaErrorCode::TopicAlreadyExists), "create again")?;
    equal(create("no good name", &[], false)?, Err(RDKafkaErrorCode::InvalidTopic), "a bad name")?;
    let odd = create(&test.name("odd"), &[("no.such.key", "1")], false)?;
    equal(odd, Err(RDKafkaErrorCode::InvalidConfig), "an unknown config")?;
    equal(create(&test.name("dry"), &[], true)?, Ok(()), "validate only")?;

    let grow = |count: usize| -> Outcome<Verdict> {
        let more = NewPartitions::new(&name, count);
        let results = block_on(admin.create_partitions([&more], &options()))?;
        Ok(results[0].clone().map(drop).map_err(|(_, code)| code))
    };
    equal(grow(5)?, Ok(()), "more partitions")?;
    equal(grow(1)?, Err(RDKafkaErrorCode::InvalidPartitions), "fewer partitions")?;
    until("5 partitions in the list of all topics", || {
        let metadata = admin.inner().fetch_metadata(None, CALL_MAX)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        Ok(found.filter(|topic| topic.partitions().len() == 5).map(drop))
    })?;
    equal(send(test, (&name, 4), (0, 2), an_hour_ago()?, &[])?, vec![0, 1], "a new partition")?;

    let delete = |name: &str| -> Outcome<Verdict> {
        let results = block_on(admin.delete_topics(&[name], &options()))?;
        Ok(results[0].clone().map(drop).map_err(|(_, code)| code))
    };
    equal(delete(&name)?, Ok(()), "delete")?;
    let unknown = delete(&test.name("unknown"))?;
    equal(unknown, Err(RDKafkaErrorCode::UnknownTopicOrPartition), "delete an unknown one")?;
    until("the topic is gone", || {
        let metadata = admin.inner().fetch_metadata(None, CALL_MAX)?;
        Ok((!metadata.topics().iter().any(|topic| topic.name() == name)).then_some(()))
    })
}

pub fn configs(test: &Test) -> Outcome {
    let name = new_topic(test, "a", 1, &[("retention.ms", "1000000")])?;
    let admin = admin_client(test)?;
    let describe = |key: &str| -> Outcome<String> {
        let resource = ResourceSpecifier::Topic(&name);
        let described = block_on(admin.describe_configs([&resource], &options()))?;
        let described: &ConfigResource = described[0].as_ref().map_err(|code| code.to_string())?;
        let entry = described.get(key).ok_or(format!("{key} is not described"))?;
        Ok(entry.value.clone().unwrap_or_default())
    };
    equal(describe("retention.ms")?, "1000000".to_owned(), "as created")?;
    equal(describe("cleanup.policy")?, "delete".to_owned(), "default")?;
    let alter = |key: &str, value: &str| -> Outcome<Verdict> {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&name)).set(key, value);
        let results = block_on(admin.alter_configs([&change], &options()))?;
        Ok(results[0].as_ref().map(drop).map_err(|(_, code)| *code))
    };
    // The older request: it sets all that it names and takes back all that it does not.
    equal(alter("cleanup.policy", "compact")?, Ok(()), "alter")?;
    until("the new configs", || {
        let is_new = describe("cleanup.policy")? == "compact";
        Ok((is_new && describe("retention.ms")? == "604800000").then_some(()))
    })?;
    // An unknown config is refused, but this binding drops the error of a resource: what is left
    // to see is that the topic is as before.
    equal(alter("no.such.key", "1")?, Ok(()), "alter an unknown config")?;
    equal(describe("cleanup.policy")?, "compact".to_owned(), "after a refused change")
}

pub fn delete_records(test: &Test) -> Outcome {
    let (name, admin) = (new_topic(test, "a", 1, &[])?, admin_client(test)?);
    send(test, (&name, 0), (0, 10), an_hour_ago()?, &[])?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(&name, 0, Offset::Offset(4))?;
    let left = block_on(admin.delete_records(&place, &options()))?;
    left.elements()[0].error()?;
    equal(left.elements()[0].offset(), Offset::Offset(4), "low watermark")?;
    let got = poll(&reader(test, &name, 0, Offset::Offset(0))?, 6)?;
    equal(values(&got), sequence(4, 10), "what is left")
}

pub fn groups(test: &Test) -> Outcome {
    let (name, group) = (new_topic(test, "a", 1, &[])?, test.name("group"));
    let admin = admin_client(test)?;
    send(test, (&name, 0), (0, 10), an_hour_ago()?, &[])?;
    let member = consumer(test, &group, &[("client.id", "the-member")])?;
    member.subscribe(&[&name])?;
    poll(&member, 10)?;
    commit(&member, &name, 4)?;

    let all = admin.inner().fetch_group_list(None, CALL_MAX)?;
    holds(all.groups().iter().any(|found| found.name() == group), "the group is not listed")?;
    let one = admin.inner().fetch_group_list(Some(&group), CALL_MAX)?;
    equal(one.groups()[0].state(), "Stable", "state")?;
    equal(one.groups()[0].protocol(), "range", "protocol")?;
    equal(one.groups()[0].members()[0].client_id(), "the-member", "client id")?;
    let delete = || -> Outcome<Verdict> {
        let results = block_on(admin.delete_groups(&[&group], &options()))?;
        Ok(results[0].clone().map(drop).map_err(|(_, code)| code))
    };
    equal(delete()?, Err(RDKafkaErrorCode::NonEmptyGroup), "delete a group with a member")?;
    drop(member);
    equal(delete()?, Ok(()), "delete")?;
    equal(delete()?, Err(RDKafkaErrorCode::GroupIdNotFound), "delete an unknown group")?;
    let again = consumer(test, &group, &[])?;
    equal(committed(&again, &name)?, Offset::Invalid, "offset after the group's deletion")
}

pub fn cluster(test: &Test) -> Outcome {
    let admin = admin_client(test)?;
    holds(admin.inner().fetch_cluster_id(CALL_MAX).is_some(), "no cluster id")?;
    let metadata = admin.inner().fetch_metadata(Some(&new_topic(test, "a", 2, &[])?), CALL_MAX)?;
    equal(metadata.brokers().len(), 1, "brokers")?;
    let broker = &metadata.brokers()[0];
    equal(format!("{}:{}", broker.host(), broker.port()), test.bootstrap.clone(), "address")?;
    for partition in metadata.topics()[0].partitions() {
        equal(partition.leader(), broker.id(), "leader")?;
        equal(partition.isr(), &[broker.id()], "in sync")?;
    }
    Ok(())
}
