"""Administration as version 2.0.2 can do it."""

from client import admin, committed, create_topic, join, partition_count, producer, send
from harness import case, equal, raises
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import InvalidTopicError, TopicAlreadyExistsError, UnknownTopicOrPartitionError


def configs_of(control, topic):
    [response] = control.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    [(code, _, _, _, entries)] = response.resources
    equal(code, 0)
    return {entry[0]: entry[1] for entry in entries}


@case
def admin_topics(t):
    topic = t.topic()
    control = create_topic(t, topic, 2, {"retention.ms": "3600000"})
    assert topic in control.list_topics()
    raises(TopicAlreadyExistsError, lambda: control.create_topics([NewTopic(topic, 1, 1)]))
    raises(InvalidTopicError, lambda: control.create_topics([NewTopic("two words", 1, 1)]))
    equal(configs_of(control, topic)["retention.ms"], "3600000")
    control.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "2000"})])
    t.holds("it is set", lambda: configs_of(control, topic)["max.message.bytes"] == "2000")
    control.create_partitions({topic: NewPartitions(4)})
    t.holds("four partitions", lambda: partition_count(control, topic) == 4)
    control.delete_topics([topic])
    t.holds("the topic is gone", lambda: topic not in control.list_topics())
    raises(UnknownTopicOrPartitionError, lambda: control.delete_topics([t.topic("never-made")]))


@case
def admin_cluster(t):
    cluster = admin(t).describe_cluster()
    assert cluster["cluster_id"] and cluster["brokers"]


@case
def admin_groups(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic)
    send(producer(t), [{"topic": topic, "value": b"v"}] * 5)
    member = join(t, [topic], group, enable_auto_commit=False)
    member.count(t, 5)
    member.consumer.commit()
    assert (group, "consumer") in control.list_consumer_groups()
    [described] = control.describe_consumer_groups([group])
    equal((described.state, len(described.members)), ("Stable", 1))
    equal(committed(control, group), 5)
    member.close()
    [(name, error)] = control.delete_consumer_groups([group])
    equal((name, error.errno), (group, 0))
