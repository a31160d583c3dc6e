"""Administration: topics, configs, records, groups, cluster."""

from confluent_kafka import (
    OFFSET_END,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from client import (
    TIMEOUT_S,
    Member,
    admin,
    code_of,
    committed,
    create_topic,
    numbered,
    producer,
    read_all,
    send,
)
from harness import ON_KAFKA, case, equal, raises


def result(futures):
    [future] = futures.values()
    return future.result(TIMEOUT_S)


def refused(code, call):
    equal(code_of(raises(KafkaException, call)), code)


def describe(control, topic):
    return result(control.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]))


def alter(control, topic, *entries):
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=list(entries))
    return result(control.incremental_alter_configs([resource]))


@case
def admin_cluster(t):
    control = admin()
    cluster = control.describe_cluster().result(TIMEOUT_S)
    assert cluster.cluster_id
    assert cluster.controller.id in [node.id for node in cluster.nodes]
    metadata = control.list_topics(timeout=TIMEOUT_S)
    equal(metadata.cluster_id, cluster.cluster_id)
    assert metadata.controller_id in metadata.brokers
    t.note(f"cluster {cluster.cluster_id}, nodes {[f'{n.id}@{n.host}:{n.port}' for n in cluster.nodes]}")


@case
def admin_topics(t):
    topic = t.topic()
    control = create_topic(t, topic, 2, {"retention.ms": "3600000", "cleanup.policy": "compact"})
    described = result(control.describe_topics(TopicCollection([topic])))
    equal([p.id for p in described.partitions], [0, 1])
    equal(
        [[n.id for n in p.isr] for p in described.partitions], [[p.leader.id] for p in described.partitions]
    )
    assert not described.is_internal
    again = lambda: result(control.create_topics([NewTopic(topic, 2)]))
    refused(KafkaError.TOPIC_ALREADY_EXISTS, again)
    configs = describe(control, topic)
    equal(configs["retention.ms"].value, "3600000")
    equal(configs["cleanup.policy"].value, "compact")
    equal(configs["max.message.bytes"].value, "1048588")
    assert configs["max.message.bytes"].is_default and not configs["retention.ms"].is_default
    result(control.delete_topics([topic]))
    t.holds("the topic is gone", lambda: topic not in control.list_topics(timeout=TIMEOUT_S).topics)


@case
def admin_bad_topics(t):
    control = admin()
    make = lambda name, count=1, **more: result(control.create_topics([NewTopic(name, count, **more)]))
    refused(KafkaError.TOPIC_EXCEPTION, lambda: make("two words"))
    refused(KafkaError.INVALID_PARTITIONS, lambda: make(t.topic(), 0))
    refused(KafkaError.INVALID_CONFIG, lambda: make(t.topic(), config={"no.such.config": "1"}))
    refused(KafkaError.INVALID_CONFIG, lambda: make(t.topic(), config={"retention.ms": "soon"}))
    refused(KafkaError.UNKNOWN_TOPIC_OR_PART, lambda: result(control.delete_topics([t.topic("never-made")])))
    futures = control.create_topics([NewTopic(t.topic(), 1)], validate_only=True)
    result(futures)
    assert t.topic() not in control.list_topics(timeout=TIMEOUT_S).topics, "validated only"


@case
def admin_topic_made_again(t):
    topic = t.topic()
    control = create_topic(t, topic)
    send(producer(), numbered(topic, 3))
    first_id = result(control.describe_topics(TopicCollection([topic]))).topic_id
    result(control.delete_topics([topic]))
    t.holds("the topic is gone", lambda: topic not in control.list_topics(timeout=TIMEOUT_S).topics)
    create_topic(t, topic)
    second_id = result(control.describe_topics(TopicCollection([topic]))).topic_id
    assert str(first_id) != str(second_id), "a topic made again is another topic"
    [delivered] = send(producer(), [{"topic": topic, "value": "anew"}])
    equal(delivered.offset(), 0)


@case
def admin_partitions(t):
    topic = t.topic()
    control = create_topic(t, topic, 2)
    grow = lambda count: result(control.create_partitions([NewPartitions(topic, count)]))
    grow(4)
    count = lambda: len(control.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions)
    t.holds("four partitions", lambda: count() == 4)
    refused(KafkaError.INVALID_PARTITIONS, lambda: grow(3))
    send(producer(), [{"topic": topic, "partition": 3, "value": "in the new one"}])
    equal(read_all(t, topic, 1, partitions=4)[0].partition(), 3)


@case
def admin_configs(t):
    topic = t.topic()
    control = create_topic(t, topic)
    set_to = lambda name, value: ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    of = lambda name: describe(control, topic)[name].value
    alter(control, topic, set_to("retention.ms", "86400000"), set_to("max.message.bytes", "2000"))
    t.holds("both are set", lambda: (of("retention.ms"), of("max.message.bytes")) == ("86400000", "2000"))
    error = raises(KafkaException, lambda: send(producer(), [{"topic": topic, "value": b"b" * 3000}]))
    equal(code_of(error), KafkaError.MSG_SIZE_TOO_LARGE)
    alter(control, topic, ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE))
    t.holds("it is back at its default", lambda: describe(control, topic)["retention.ms"].is_default)
    equal(of("max.message.bytes"), "2000", "the other one stays")
    appended = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND)
    alter(control, topic, appended)
    t.holds("the policy is appended", lambda: of("cleanup.policy") == "delete,compact")
    taken = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SUBTRACT)
    alter(control, topic, taken)
    t.holds("the policy is taken off", lambda: of("cleanup.policy") == "compact")
    refused(KafkaError.INVALID_CONFIG, lambda: alter(control, topic, set_to("no.such.config", "1")))
    refused(KafkaError.INVALID_CONFIG, lambda: alter(control, topic, set_to("retention.ms", "soon")))


@case
def admin_old_alter_configs(t):
    topic = t.topic()
    control = create_topic(t, topic, 1, {"retention.ms": "86400000"})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"max.message.bytes": "2000"})
    result(control.alter_configs([resource]))
    t.holds("the new one is set", lambda: describe(control, topic)["max.message.bytes"].value == "2000")
    assert describe(control, topic)["retention.ms"].is_default, "AlterConfigs replaces the whole set"


@case
def admin_broker_configs(t):
    control = admin()
    [node] = [str(n.id) for n in control.describe_cluster().result(TIMEOUT_S).nodes][:1]
    configs = result(control.describe_configs([ConfigResource(ConfigResource.Type.BROKER, node)]))
    for name in ["num.partitions", "log.retention.ms", "message.max.bytes", "auto.create.topics.enable"]:
        assert name in configs, f"{name} is described"
    if not ON_KAFKA:
        equal(configs["num.partitions"].value, "3")


@case
def admin_delete_records(t):
    topic = t.topic()
    control = create_topic(t, topic)
    send(producer(), numbered(topic, 10))
    equal(result(control.delete_records([TopicPartition(topic, 0, 4)])).low_watermark, 4)
    equal([m.offset() for m in read_all(t, topic, 6)], [4, 5, 6, 7, 8, 9])
    equal(result(control.delete_records([TopicPartition(topic, 0, OFFSET_END)])).low_watermark, 10)
    beyond = lambda: result(control.delete_records([TopicPartition(topic, 0, 11)]))
    refused(KafkaError.OFFSET_OUT_OF_RANGE, beyond)


@case
def admin_list_offsets(t):
    topic = t.topic()
    control = create_topic(t, topic)
    base = 1_700_000_000_000
    stamps = [base, base + 5000, base + 1000]
    send(producer(), [{"topic": topic, "value": "v", "timestamp": stamp} for stamp in stamps])

    def at(spec, level=IsolationLevel.READ_UNCOMMITTED):
        found = result(control.list_offsets({TopicPartition(topic, 0): spec}, isolation_level=level))
        return found.offset, found.timestamp

    equal(at(OffsetSpec.earliest())[0], 0)
    equal(at(OffsetSpec.latest())[0], 3)
    equal(at(OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)[0], 3)
    equal(at(OffsetSpec.max_timestamp()), (1, base + 5000))
    equal(at(OffsetSpec.for_timestamp(base + 1)), (1, base + 5000))
    equal(at(OffsetSpec.for_timestamp(base + 6000))[0], -1)


@case
def admin_groups(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, 2)
    send(producer(), [{"topic": topic, "partition": n % 2, "value": "v"} for n in range(10)])
    member = Member(t, [topic], group, auto_commit_interval_ms=100)
    member.count(t, 10)
    t.until("the commit", lambda: member.poll() and committed(t, group, topic, 2) == 10)
    groups = {g.group_id: g for g in control.list_consumer_groups().result(TIMEOUT_S).valid}
    equal((groups[group].state, groups[group].is_simple_consumer_group), (ConsumerGroupState.STABLE, False))
    described = result(control.describe_consumer_groups([group]))
    equal(described.state, ConsumerGroupState.STABLE)
    [one] = described.members
    equal(one.client_id, "ottla-confluent")
    equal(sorted(p.partition for p in one.assignment.topic_partitions), [0, 1])
    refused(KafkaError.NON_EMPTY_GROUP, lambda: result(control.delete_consumer_groups([group])))
    member.close()
    equal(result(control.describe_consumer_groups([group])).state, ConsumerGroupState.EMPTY)
    result(control.delete_consumer_groups([group]))
    listed = [g.group_id for g in control.list_consumer_groups().result(TIMEOUT_S).valid]
    assert group not in listed
    refused(KafkaError.GROUP_ID_NOT_FOUND, lambda: result(control.delete_consumer_groups([group])))


@case
def admin_reset_offsets(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, 2)
    send(producer(), [{"topic": topic, "partition": n % 2, "value": "v"} for n in range(10)])
    places = [TopicPartition(topic, 0, 3), TopicPartition(topic, 1, 4)]
    moved = result(control.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)]))
    equal([p.error for p in moved.topic_partitions], [None, None])
    every = result(control.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
    equal(sorted((p.partition, p.offset) for p in every.topic_partitions), [(0, 3), (1, 4)])
    member = Member(t, [topic], group)
    member.count(t, 3)
    equal(sorted(m.offset() for m in member.records), [3, 4, 4])
    back = [ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 0)])]
    refused_parts = result(control.alter_consumer_group_offsets(back)).topic_partitions
    equal([p.error.code() for p in refused_parts], [KafkaError.UNKNOWN_MEMBER_ID], "a group with members")


@case
def admin_offsets_of_an_unknown_group(t):
    topic = t.topic()
    create_topic(t, topic)
    equal(committed(t, t.group(), topic, 1), 0)
