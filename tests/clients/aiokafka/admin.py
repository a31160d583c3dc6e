"""Administration: topics, configs, records, groups, cluster."""

from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidPartitionsError,
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from client import (
    admin,
    checked,
    committed,
    create_topic,
    has_leaders,
    join,
    numbered,
    producer,
    read_all,
    refused,
    send,
)
from harness import ON_KAFKA, case, equal


async def configs_of(control, topic):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    [response] = await control.describe_configs([resource])
    [(_, _, _, _, entries)] = checked(response).resources
    return {entry[0]: entry[1] for entry in entries}


async def holds(t, what, check):
    """True at once; on Apache Kafka, which answers before all of it is seen, in the end."""
    if ON_KAFKA:
        await t.until_async(what, check)
    else:
        assert await check(), what


@case
async def admin_cluster(t):
    control = await admin(t)
    cluster = await control.describe_cluster()
    assert cluster["cluster_id"]
    assert cluster["controller_id"] in [broker["node_id"] for broker in cluster["brokers"]]
    t.note(f"cluster {cluster['cluster_id']}, brokers {cluster['brokers']}")


@case
async def admin_topics(t):
    topic = t.topic()
    control = await create_topic(t, topic, 2, {"retention.ms": "3600000", "cleanup.policy": "compact"})
    assert topic in await control.list_topics()
    [found] = await control.describe_topics([topic])
    equal(sorted(p["partition"] for p in found["partitions"]), [0, 1])
    again = await control.create_topics([NewTopic(topic, 1, 1)])
    equal(again.topic_errors[0][1], TopicAlreadyExistsError.errno)
    configs = await configs_of(control, topic)
    equal((configs["retention.ms"], configs["cleanup.policy"]), ("3600000", "compact"))
    equal(configs["max.message.bytes"], "1048588")
    checked(await control.delete_topics([topic]))

    async def gone():
        return topic not in await control.list_topics()

    await holds(t, "the topic is gone", gone)


@case
async def admin_bad_topics(t):
    control = await admin(t)

    async def make(name, count=1, **more):
        checked(await control.create_topics([NewTopic(name, count, 1, **more)]))

    await refused(InvalidTopicError, make("two words"))
    await refused(InvalidPartitionsError, make(t.topic(), 0))
    for configs in [{"no.such.config": "1"}, {"retention.ms": "soon"}]:
        error = await refused(KafkaError, make(t.topic(), topic_configs=configs))
        equal(error.errno, 40)

    async def delete():
        checked(await control.delete_topics([t.topic("never-made")]))

    await refused(UnknownTopicOrPartitionError, delete())
    checked(await control.create_topics([NewTopic(t.topic(), 1, 1)], validate_only=True))
    assert t.topic() not in await control.list_topics(), "validated only"


@case
async def admin_partitions(t):
    topic = t.topic()
    control = await create_topic(t, topic, 2)
    await control.create_partitions({topic: NewPartitions(4)})
    await holds(t, "four partitions", lambda: has_leaders(control, topic, 4))
    await refused(InvalidPartitionsError, control.create_partitions({topic: NewPartitions(3)}))
    await send(await producer(t), [{"topic": topic, "partition": 3, "value": b"in the new one"}])
    [got] = await read_all(t, topic, 1, partitions=4)
    equal(got.partition, 3)


@case
async def admin_configs(t):
    topic = t.topic()
    control = await create_topic(t, topic, 1, {"retention.ms": "86400000"})
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": "2000"})
    for response in await control.alter_configs([resource]):
        checked(response)

    async def altered():
        return (await configs_of(control, topic))["max.message.bytes"] == "2000"

    await holds(t, "the config is set", altered)
    configs = await configs_of(control, topic)
    equal(configs["retention.ms"], "604800000", "AlterConfigs replaces the whole set")
    sender = await producer(t)
    await refused(MessageSizeTooLargeError, sender.send_and_wait(topic, b"b" * 3000))


@case
async def admin_delete_records(t):
    topic = t.topic()
    control = await create_topic(t, topic)
    await send(await producer(t), numbered(topic, 10))
    place = TopicPartition(topic, 0)
    equal(await control.delete_records({place: RecordsToDelete(4)}), {place: 4})
    equal([record.offset for record in await read_all(t, topic, 6)], [4, 5, 6, 7, 8, 9])
    equal(await control.delete_records({place: RecordsToDelete(-1)}), {place: 10})


@case
async def admin_groups(t):
    topic, group = t.topic(), t.group()
    control = await create_topic(t, topic, 2)
    await send(await producer(t), [{"topic": topic, "partition": n % 2, "value": b"v"} for n in range(10)])
    member = await join(t, [topic], group, enable_auto_commit=False)
    await member.count(t, 10)
    await member.consumer.commit()
    assert (group, "consumer") in await control.list_consumer_groups()

    async def described():
        [response] = await control.describe_consumer_groups([group])
        [(code, name, state, kind, _, members, *_)] = response.groups
        return code, name, state, kind, len(members)

    equal(await described(), (0, group, "Stable", "consumer", 1))
    every = await control.list_consumer_group_offsets(group)
    equal({place.partition: position.offset for place, position in every.items()}, {0: 5, 1: 5})
    await member.stop()
    equal(await described(), (0, group, "Empty", "consumer", 0))


@case
async def admin_reset_offsets(t):
    """aiokafka resets by a commit of a member that reads nothing."""
    topic, group = t.topic(), t.group()
    control = await create_topic(t, topic, 2)
    await send(await producer(t), [{"topic": topic, "partition": n % 2, "value": b"v"} for n in range(10)])
    first = await join(t, [topic], group, enable_auto_commit=False)
    await t.until_async("both partitions", lambda: len(first.owned) == 2)
    await first.consumer.commit({TopicPartition(topic, 0): 3, TopicPartition(topic, 1): 4})
    await first.stop()
    equal(await committed(control, group, topic, 2), 7)
    second = await join(t, [topic], group)
    await second.count(t, 3)
    equal(sorted(record.offset for record in second.records), [3, 4, 4])


@case
async def admin_offsets_of_an_unknown_group(t):
    topic = t.topic()
    control = await create_topic(t, topic)
    place = TopicPartition(topic, 0)
    found = await control.list_consumer_group_offsets(t.group(), partitions=[place])
    equal(found[place].offset, -1)
