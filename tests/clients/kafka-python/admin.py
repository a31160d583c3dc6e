"""What only the newest version has: idempotence and most of the administration."""

from client import (
    admin,
    committed,
    committed_of,
    create_topic,
    join,
    numbered,
    partition_count,
    position,
    producer,
    read_all,
    send,
)
from harness import case, equal, raises
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic, OffsetSpec
from kafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidTopicError,
    MessageSizeTooLargeError,
    NoError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)


def configs_of(control, topic):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    found = control.describe_configs([resource], config_filter="all")["topic"][topic]
    return {name: entry["value"] for name, entry in found.items()}


def alter(control, topic, configs):
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)
    return control.alter_configs([resource], raise_on_unknown=False)["topic"][topic]


@case
def idempotent(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer(t, enable_idempotence=True, batch_size=2048)
    results = send(sender, [{"topic": topic, "key": b"one", "value": b"%d" % n} for n in range(3000)])
    equal([result.offset for result in results], list(range(3000)))
    equal([int(record.value) for record in read_all(t, topic, 3000)], list(range(3000)))


@case
def raised_message_limit(t):
    topic = t.topic()
    create_topic(t, topic, 1, {"max.message.bytes": "3000000"})
    send(producer(t, max_request_size=4_000_000), [{"topic": topic, "value": b"b" * 2_500_000}])
    [got] = read_all(t, topic, 1)
    equal(len(got.value), 2_500_000)


@case
def admin_cluster(t):
    cluster = admin(t).describe_cluster()
    assert cluster["cluster_id"]
    assert cluster["controller_id"] in [broker["broker_id"] for broker in cluster["brokers"]]
    t.note(f"cluster {cluster['cluster_id']}, brokers {cluster['brokers']}")


@case
def admin_topics(t):
    topic = t.topic()
    control = create_topic(t, topic, 2, {"retention.ms": "3600000", "cleanup.policy": "compact"})
    assert topic in control.list_topics()
    [found] = control.describe_topics([topic])
    equal(sorted(p["partition_index"] for p in found["partitions"]), [0, 1])
    raises(TopicAlreadyExistsError, lambda: control.create_topics([NewTopic(topic, 1, 1)]))
    configs = configs_of(control, topic)
    equal((configs["retention.ms"], configs["cleanup.policy"]), ("3600000", "compact"))
    equal(configs["max.message.bytes"], "1048588")
    control.delete_topics([topic])
    t.holds("the topic is gone", lambda: topic not in control.list_topics())


@case
def admin_bad_topics(t):
    control = admin(t)
    make = lambda name, count=1, **more: control.create_topics([NewTopic(name, count, 1, **more)])
    raises(InvalidTopicError, lambda: make("two words"))
    raises(InvalidPartitionsError, lambda: make(t.topic(), 0))
    for configs in [{"no.such.config": "1"}, {"retention.ms": "soon"}]:
        raises(InvalidConfigurationError, lambda configs=configs: make(t.topic(), topic_configs=configs))
    raises(UnknownTopicOrPartitionError, lambda: control.delete_topics([t.topic("never-made")]))
    control.create_topics([NewTopic(t.topic(), 1, 1)], validate_only=True)
    assert t.topic() not in control.list_topics(), "validated only"


@case
def admin_topic_made_again(t):
    topic = t.topic()
    control = create_topic(t, topic)
    [first] = control.describe_topics([topic])
    send(producer(t), numbered(topic, 3))
    control.delete_topics([topic])
    t.holds("the topic is gone", lambda: topic not in control.list_topics())
    create_topic(t, topic)
    [second] = control.describe_topics([topic])
    assert first["topic_id"] != second["topic_id"], "a topic made again is another topic"
    [result] = send(producer(t), [{"topic": topic, "value": b"anew"}])
    equal(result.offset, 0)


@case
def admin_partitions(t):
    topic = t.topic()
    control = create_topic(t, topic, 2)
    control.create_partitions({topic: NewPartitions(4)})
    t.holds("four partitions", lambda: partition_count(control, topic) == 4)
    raises(InvalidPartitionsError, lambda: control.create_partitions({topic: NewPartitions(3)}))
    send(producer(t), [{"topic": topic, "partition": 3, "value": b"in the new one"}])
    equal(read_all(t, topic, 1, partitions=4)[0].partition, 3)


@case
def admin_configs(t):
    topic = t.topic()
    control = create_topic(t, topic, 1, {"retention.ms": "86400000"})
    equal(alter(control, topic, {"max.message.bytes": "2000"}), "OK")
    t.holds("it is set", lambda: configs_of(control, topic)["max.message.bytes"] == "2000")
    equal(configs_of(control, topic)["retention.ms"], "86400000", "the other one stays")
    too_big = [{"topic": topic, "value": b"b" * 3000}]
    raises(MessageSizeTooLargeError, lambda: send(producer(t), too_big))
    reset = ConfigResource(ConfigResourceType.TOPIC, topic, configs=["retention.ms"])
    control.reset_configs([reset])
    t.holds("it is reset", lambda: configs_of(control, topic)["retention.ms"] == "604800000")
    assert alter(control, topic, {"no.such.config": "1"}) != "OK"


@case
def admin_delete_records(t):
    topic = t.topic()
    control = create_topic(t, topic)
    send(producer(t), numbered(topic, 10))
    place = TopicPartition(topic, 0)
    equal(control.delete_records({place: 4})[place]["low_watermark"], 4)
    equal([record.offset for record in read_all(t, topic, 6)], [4, 5, 6, 7, 8, 9])
    equal(control.delete_records({place: -1})[place]["low_watermark"], 10)
    raises(OffsetOutOfRangeError, lambda: control.delete_records({place: 11}))


@case
def admin_list_offsets(t):
    topic = t.topic()
    control = create_topic(t, topic)
    base = 1_700_000_000_000
    stamps = [base, base + 5000, base + 1000]
    for stamp in stamps:
        send(producer(t), [{"topic": topic, "value": b"v", "timestamp_ms": stamp}])
    place = TopicPartition(topic, 0)
    at = lambda spec: control.list_partition_offsets({place: spec})[place]
    equal([at(OffsetSpec.EARLIEST).offset, at(OffsetSpec.LATEST).offset], [0, 3])
    newest = at(OffsetSpec.MAX_TIMESTAMP)
    equal((newest.offset, newest.timestamp), (1, base + 5000))


@case
def admin_groups(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, 2)
    send(producer(t), [{"topic": topic, "partition": n % 2, "value": b"v"} for n in range(10)])
    member = join(t, [topic], group, enable_auto_commit=False)
    member.count(t, 10)
    member.consumer.commit()
    [listed] = [one for one in control.list_groups() if one["group_id"] == group]
    equal((listed["group_state"], listed["group_type"]), ("Stable", "classic"))
    described = control.describe_groups([group])[group]
    equal((described["group_state"], len(described["members"])), ("Stable", 1))
    equal({place.partition: p.offset for place, p in committed_of(control, group).items()}, {0: 5, 1: 5})
    assert control.delete_groups([group])[group] != "OK", "a group with members stays"
    member.close()
    equal(control.describe_groups([group])[group]["group_state"], "Empty")
    equal(control.delete_groups([group]), {group: "OK"})
    assert group not in [one["group_id"] for one in control.list_groups()]


@case
def admin_reset_offsets(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, 2)
    send(producer(t), [{"topic": topic, "partition": n % 2, "value": b"v"} for n in range(10)])
    places = [TopicPartition(topic, partition) for partition in range(2)]
    moved = control.alter_group_offsets(group, {places[0]: position(3), places[1]: position(4)})
    equal(moved, dict.fromkeys(places, NoError))
    equal(committed(control, group), 7)
    member = join(t, [topic], group, enable_auto_commit=False)
    member.count(t, 3)
    equal(sorted(record.offset for record in member.records), [3, 4, 4])
    member.close()
    control.reset_group_offsets(group, dict.fromkeys(places, OffsetSpec.LATEST))
    equal(committed(control, group), 10)
    control.reset_group_offsets(group, dict.fromkeys(places, OffsetSpec.EARLIEST))
    equal(committed(control, group), 0)
    control.delete_group_offsets(group, [places[0]])
    equal(list(committed_of(control, group)), [places[1]])


@case
def admin_log_dirs(t):
    topic = t.topic()
    control = create_topic(t, topic)
    send(producer(t), numbered(topic, 10))
    found = control.describe_log_dirs({topic: [0]})
    assert found, "a log folder is described"
