"""kafka-python as the cases use it, in both versions: its defaults but for short heartbeats, so
that a rebalance is seen soon."""

import logging
import threading

import kafka
from harness import BOOTSTRAP, ON_KAFKA, RUN_ID, VERBOSE
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

IS_OLD = kafka.__version__.startswith("2.0")
TIMEOUT_S = 20

logging.basicConfig(level=logging.INFO if VERBOSE else logging.CRITICAL)


def admin(t):
    control = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    t.defer(control.close)
    return control


def producer(t, acks="all", **more):
    """With acks=all what is acknowledged is below the high watermark; the default of 2.0.2 is 1."""
    sender = KafkaProducer(bootstrap_servers=BOOTSTRAP, client_id="ottla-kafka-python", acks=acks, **more)
    t.defer(lambda: sender.close(timeout=5))
    return sender


def create_topic(t, topic, partitions=1, config=None):
    control = admin(t)
    control.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})])
    if ON_KAFKA:
        t.until(f"{topic} is listed", lambda: partition_count(control, topic) == partitions)
        consumer = KafkaConsumer(bootstrap_servers=BOOTSTRAP)
        consumer.end_offsets([TopicPartition(topic, partition) for partition in range(partitions)])
        consumer.close()
    return control


def partition_count(control, topic):
    [found] = control.describe_topics([topic])
    return 0 if found["error_code"] else len(found["partitions"])


def send(sender, records):
    """Sends all and waits for all acknowledgements."""
    futures = [sender.send(record.pop("topic"), **record) for record in map(dict, records)]
    sender.flush(TIMEOUT_S)
    return [future.get(TIMEOUT_S) for future in futures]


def numbered(topic, count, **more):
    return [
        {"topic": topic, "key": f"key-{n}".encode(), "value": f"value-{n}".encode(), **more}
        for n in range(count)
    ]


def position(offset, metadata=""):
    return OffsetAndMetadata(offset, metadata) if IS_OLD else OffsetAndMetadata(offset, metadata, -1)


class Member(ConsumerRebalanceListener):
    """A consumer in a group: what it got and what it owns. Nothing moves unless it is polled."""

    def __init__(self, topics, group, **more):
        options = {"auto_offset_reset": "earliest", "heartbeat_interval_ms": 200, "session_timeout_ms": 6000}
        options.update(more)
        self.consumer = KafkaConsumer(
            bootstrap_servers=BOOTSTRAP, client_id="ottla-kafka-python", group_id=group, **options
        )
        self.records = []
        self.owned = set()
        self.closed = False
        self.consumer.subscribe(topics, listener=self)

    def on_partitions_assigned(self, assigned):
        self.owned = set(assigned)

    def on_partitions_revoked(self, revoked):
        self.owned -= set(revoked)

    def poll(self, timeout_ms=None):
        # A poll that ends in the midst of a join can leave version 3.0.12 waiting for ever.
        if timeout_ms is None:
            timeout_ms = 100 if self.owned else 1000
        for batch in self.consumer.poll(timeout_ms).values():
            self.records.extend(batch)
        return self.records

    def count(self, t, n):
        t.until(f"{n} records", lambda: len(self.poll()) >= n)
        return self.records

    def owns(self, t, n):
        t.until(f"{n} partitions", lambda: self.poll() or len(self.owned) == n)

    def close(self):
        if not self.closed:
            self.closed = True
            self.consumer.close()


def join(t, topics, group, **more):
    member = Member(topics, group, **more)
    t.defer(member.close)
    return member


class ThreadedMember:
    """A member in a thread of its own: a rebalance blocks the poll of each member until all are in,
    and a consumer stays in the thread that made it."""

    def __init__(self, t, topics, group, **more):
        self.member = None
        self.closed = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(topics, group, more), daemon=True)
        self._thread.start()
        t.defer(self.close)

    @property
    def records(self):
        return self.member.records if self.member else []

    @property
    def owned(self):
        return self.member.owned if self.member else set()

    def _run(self, topics, group, more):
        self.member = Member(topics, group, **more)
        while not self._stopping.is_set():
            self.member.poll(500)
        self.member.close()

    def close(self):
        self.closed = True
        self._stopping.set()
        self._thread.join(TIMEOUT_S)


def read_all(t, topic, count, partitions=1, **more):
    """Reads `count` records of a topic from its beginning, without a group."""
    consumer = KafkaConsumer(
        bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, auto_offset_reset="earliest", **more
    )
    t.defer(consumer.close)
    consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    records = []

    def enough():
        for batch in consumer.poll(100).values():
            records.extend(batch)
        return len(records) >= count

    t.until(f"{count} records of {topic}", enough)
    return records


def committed_of(control, group):
    """Committed offsets of a group by partition of its topics."""
    if IS_OLD:
        return control.list_consumer_group_offsets(group)
    return control.list_group_offsets({group: None})[group]


def committed(control, group):
    """Sum of a group's committed offsets."""
    return sum(place.offset for place in committed_of(control, group).values())


def remove_all():
    """Removes what the run made, so that a broker of somebody's own is left as it was."""
    control = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    topics = [name for name in control.list_topics() if name.startswith(RUN_ID)]
    if topics:
        control.delete_topics(topics)
    if IS_OLD:
        groups = [name for name, _ in control.list_consumer_groups() if name.startswith(RUN_ID)]
        delete = control.delete_consumer_groups
    else:
        listed = [group["group_id"] for group in control.list_groups()]
        groups = [name for name in listed if name.startswith(RUN_ID)]
        delete = control.delete_groups
    if groups:
        delete(groups)
    control.close()
