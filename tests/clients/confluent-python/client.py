"""confluent-kafka as the cases use it: its defaults but for short heartbeats, so that a rebalance
is seen soon."""

import itertools
import json

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic

from harness import BOOTSTRAP, RUN_ID, VERBOSE

TIMEOUT_S = 20


def settings(**more):
    """Keyword arguments with `_` for `.`; values of `more` win."""
    base = {"bootstrap.servers": BOOTSTRAP, "client.id": "ottla-confluent", "log_level": 6 if VERBOSE else 0}
    dotted = {key if key.endswith("_cb") else key.replace("_", "."): value for key, value in more.items()}
    base.update(dotted)
    return base


def admin():
    return AdminClient(settings())


def producer(**more):
    return Producer(settings(**more))


def create_topic(t, topic, partitions=1, config=None):
    control = admin()
    new = NewTopic(topic, num_partitions=partitions, replication_factor=-1, config=config or {})
    control.create_topics([new])[topic].result(TIMEOUT_S)
    t.holds(f"{topic} is listed", lambda: topic in control.list_topics(timeout=TIMEOUT_S).topics)
    return control


def send(sender, records):
    """Sends and waits; returns the delivered messages in the order of their acknowledgement."""
    delivered, errors = [], []

    def on_delivery(error, message):
        (errors if error else delivered).append(error or message)

    for record in records:
        sender.produce(on_delivery=on_delivery, **record)
    left = sender.flush(TIMEOUT_S)
    if errors:
        raise KafkaException(errors[0])
    assert left == 0, f"{left} records not acknowledged"
    return delivered


def numbered(topic, count, **more):
    return [{"topic": topic, "key": f"key-{n}", "value": f"value-{n}", **more} for n in range(count)]


class Member:
    """A consumer in a group: what it got and what it owns. Nothing moves unless it is polled."""

    def __init__(self, t, topics, group, **more):
        options = {"auto_offset_reset": "earliest", "heartbeat_interval_ms": 200, "session_timeout_ms": 6000}
        options.update(more)
        self.consumer = Consumer(settings(group_id=group, **options))
        self.records = []
        self.errors = []
        self.owned = set()
        self.closed = False
        t.defer(self.close)
        self.consumer.subscribe(
            topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def _assigned(self, _, partitions):
        self.owned |= {(p.topic, p.partition) for p in partitions}

    def _revoked(self, _, partitions):
        self.owned -= {(p.topic, p.partition) for p in partitions}

    def poll(self, timeout=0.02):
        message = self.consumer.poll(timeout)
        while message is not None:
            if message.error():
                self.errors.append(message.error())
            else:
                self.records.append(message)
            message = self.consumer.poll(0)
        return self.records

    def close(self):
        if not self.closed:
            self.closed = True
            self.consumer.close()

    def count(self, t, n):
        t.until(f"{n} records", lambda: len(self.poll()) >= n)
        return self.records

    def positioned(self, t, partitions):
        """Waits until a position is known for every partition: from here no record is missed."""

        def known():
            self.poll()
            assigned = self.consumer.assignment()
            if len(assigned) < partitions:
                return False
            # A fetch position shows only after a record; the lookup of a latest one has ended
            # when the watermarks, which a fetch answer brings, are cached.
            cached = [self.consumer.get_watermark_offsets(p, cached=True) for p in assigned]
            return all(high >= 0 for _, high in cached)

        t.until("the positions", known)


def read_all(t, topic, count, partitions=1, **more):
    """Reads `count` records of a topic from its beginning, without joining a group."""
    consumer = Consumer(settings(group_id=f"{topic}-reader", enable_auto_commit=False, **more))
    t.defer(consumer.close)
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    records = []

    def enough():
        message = consumer.poll(0.05)
        if message is not None and not message.error():
            records.append(message)
        return len(records) >= count

    # `until` is called once a record here, so the first poll after the last record ends it.
    t.until(f"{count} records of {topic}", lambda: any(enough() for _ in itertools.repeat(None, 500)))
    return records


def plain(message):
    return {
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key": message.key(),
        "value": message.value(),
        "headers": message.headers(),
    }


def committed(t, group, topic, partitions):
    """Sum of a group's committed offsets of a topic, asked as an administrator."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, p) for p in range(partitions)])
    answer = admin_of(t).list_consumer_group_offsets([asked])[group].result(TIMEOUT_S)
    return sum(p.offset for p in answer.topic_partitions if p.offset != OFFSET_INVALID)


def admin_of(t):
    if not hasattr(t, "admin"):
        t.admin = admin()
    return t.admin


def sent_bytes(statistics):
    """Bytes sent in Produce requests, by librdkafka's own count."""
    return sum(broker["txbytes"] for broker in json.loads(statistics)["brokers"].values())


def code_of(error):
    return error.args[0].code() if isinstance(error, KafkaException) else None


def remove_all():
    """Removes what the run made, so that a broker of somebody's own is left as it was."""
    control = admin()
    topics = [name for name in control.list_topics(timeout=TIMEOUT_S).topics if name.startswith(RUN_ID)]
    if topics:
        for future in control.delete_topics(topics).values():
            future.exception(TIMEOUT_S)
    listed = control.list_consumer_groups().result(TIMEOUT_S).valid
    groups = [group.group_id for group in listed if group.group_id.startswith(RUN_ID)]
    if groups:
        for future in control.delete_consumer_groups(groups).values():
            future.exception(TIMEOUT_S)
