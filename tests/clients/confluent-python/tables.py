"""Compacted topics as tables: the newest record of each key at its offset, tombstones, and a group that
committed where a record is gone. Two phases see the same table around a restart."""

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, OffsetSpec

from client import TIMEOUT_S, Member, admin, code_of, create_topic, producer, send, settings
from harness import RUN_ID, case, equal

KEPT = f"{RUN_ID}-kept-table"
# Half an hour ago; records a second apart close the segment before, so that it can be compacted.
BEGIN_MS = (time.time_ns() // 1_000_000) - 1_800_000
STEP_MS = 1_000
EAGER = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"}


def hurry(control):
    """Lets the cleaner of every broker look for work often."""
    brokers = control.list_topics(timeout=TIMEOUT_S).brokers
    often = ConfigEntry("log.cleaner.backoff.ms", "100", incremental_operation=AlterConfigOpType.SET)
    resources = [
        ConfigResource(ConfigResource.Type.BROKER, str(broker), incremental_configs=[often])
        for broker in brokers
    ]
    for future in control.incremental_alter_configs(resources).values():
        future.result(TIMEOUT_S)


class Table:
    """A compacted topic of one partition."""

    def __init__(self, t, topic, **config):
        self.t, self.topic, self.time = t, topic, BEGIN_MS
        self.sender = producer(enable_idempotence=True, compression_type="zstd")
        if config.pop("create", True):
            control = create_topic(t, topic, 1, {**EAGER, **config})
            hurry(control)

    def put(self, **rows):
        """One batch; `None` is a tombstone. Returns the offsets."""
        self.time += STEP_MS
        records = [
            {"topic": self.topic, "key": key, "value": value, "timestamp": self.time}
            for key, value in rows.items()
        ]
        return [message.offset() for message in send(self.sender, records)]

    def rows(self, begin=OFFSET_BEGINNING):
        """Offset, key and value of every record to the end, without that of `roll`."""
        consumer = Consumer(
            settings(group_id=f"{self.topic}-reader", enable_auto_commit=False, enable_partition_eof=True)
        )
        try:
            consumer.assign([TopicPartition(self.topic, 0, begin)])
            found = []
            while True:
                message = consumer.poll(TIMEOUT_S)
                assert message is not None, "neither a record nor the end"
                if message.error():
                    equal(message.error().code(), KafkaError._PARTITION_EOF)
                    return [row for row in found if row[1] != b"roll"]
                found.append((message.offset(), message.key(), message.value()))
        finally:
            consumer.close()

    def roll(self):
        """Closes the segment before, which makes it one that can be compacted."""
        return self.put(roll="x")

    def until(self, *rows):
        wanted = list(rows)
        self.t.until(f"{wanted}", lambda: self.rows() == wanted)


@case
def table_newest_of_each_key(t):
    table = Table(t, t.topic())
    table.put(a="1", b="1", c="1")
    table.put(a="2", c="2")
    equal(table.put(c="3"), [5])
    table.roll()
    table.until((1, b"b", b"1"), (3, b"a", b"2"), (5, b"c", b"3"))
    # An offset whose record is gone leads to the next one that is left.
    for begin, offsets in [(0, [1, 3, 5]), (2, [3, 5]), (4, [5]), (6, [])]:
        equal([row[0] for row in table.rows(begin)], offsets, f"from {begin}")
    control = admin()
    at = lambda spec: control.list_offsets({TopicPartition(table.topic, 0): spec})
    find = lambda spec: next(iter(at(spec).values())).result(TIMEOUT_S).offset
    equal(find(OffsetSpec.earliest()), 0)
    equal(find(OffsetSpec.latest()), 7)
    equal(find(OffsetSpec.for_timestamp(BEGIN_MS)), 1)
    equal(find(OffsetSpec.for_timestamp(BEGIN_MS + 2 * STEP_MS)), 3)


@case
def table_tombstones_go_in_time(t):
    table = Table(t, t.topic(), **{"delete.retention.ms": "0"})
    table.put(a="1", b="1")
    table.put(a=None)
    table.roll()
    table.until((1, b"b", b"1"), (2, b"a", None))
    table.roll()
    table.until((1, b"b", b"1"))


@case
def table_group_resumes_in_a_gap(t):
    table = Table(t, t.topic())
    for value in range(4):
        table.put(a=str(value))
    committer = Consumer(settings(group_id=t.group(), enable_auto_commit=False))
    t.defer(committer.close)

    def commit():
        try:
            return committer.commit(offsets=[TopicPartition(table.topic, 0, 1)], asynchronous=False)
        except KafkaException as error:
            # Apache Kafka's coordinator is not there at once for a new group.
            assert code_of(error) == KafkaError.NOT_COORDINATOR, error

    t.until("the commit", commit)
    table.roll()
    table.until((3, b"a", b"3"))
    member = Member(t, [table.topic], t.group())
    equal([m.offset() for m in member.count(t, 2)], [3, 4])


KEPT_ROWS = [(2, b"b", None), (4, b"a", b"3"), (5, b"c", b"1")]


@case(phase="before")
def table_before(t):
    table = Table(t, KEPT)
    table.put(a="1", b="1")
    table.put(b=None, a="2")
    table.put(a="3", c="1")
    table.roll()
    table.until(*KEPT_ROWS)


@case(phase="after")
def table_is_the_same(t):
    table = Table(t, KEPT, create=False)
    equal(table.rows(), KEPT_ROWS)
    hurry(admin())
    table.time += 10 * STEP_MS
    equal(table.put(b="2", c=None), [7, 8])
    table.roll()
    table.until((4, b"a", b"3"), (7, b"b", b"2"), (8, b"c", None))
