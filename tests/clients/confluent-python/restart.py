"""Two phases around a restart of the broker on the same data: `before` writes and commits,
`after` finds all of it. Everything follows from RUN_ID, so nothing else is kept between them."""

from confluent_kafka import TopicPartition
from confluent_kafka.admin import ConfigResource

from client import TIMEOUT_S, Member, admin, committed, create_topic, producer, read_all, send
from harness import RUN_ID, case, equal

TOPIC = f"{RUN_ID}-restart"
GROUP = f"{TOPIC}-group"
PARTITIONS = 3
PER_PARTITION = 100
COMMITTED = 40
RETENTION_MS = "86400000"
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def record(partition, n):
    value = None if n % 10 == 9 else f"{partition}:{n}"
    return {"topic": TOPIC, "partition": partition, "key": str(n), "value": value, "headers": [("n", str(n))]}


@case(phase="before")
def restart_before(t):
    create_topic(t, TOPIC, PARTITIONS, {"retention.ms": RETENTION_MS})
    share = PER_PARTITION // len(CODECS)
    for at, codec in enumerate(CODECS):
        sender = producer(enable_idempotence=True, compression_type=codec)
        span = range(at * share, (at + 1) * share)
        send(sender, [record(partition, n) for n in span for partition in range(PARTITIONS)])
    member = Member(t, [TOPIC], GROUP, enable_auto_commit=False)
    member.count(t, PARTITIONS * PER_PARTITION)
    places = [TopicPartition(TOPIC, partition, COMMITTED) for partition in range(PARTITIONS)]
    member.consumer.commit(offsets=places, asynchronous=False)
    member.close()
    equal(committed(t, GROUP, TOPIC, PARTITIONS), PARTITIONS * COMMITTED)


@case(phase="after")
def restart_records(t):
    got = read_all(t, TOPIC, PARTITIONS * PER_PARTITION, PARTITIONS)
    for partition in range(PARTITIONS):
        mine = [m for m in got if m.partition() == partition]
        equal([m.offset() for m in mine], list(range(PER_PARTITION)))
        for n, message in enumerate(mine):
            want = record(partition, n)
            value = want["value"] and want["value"].encode()
            equal((message.key(), message.value()), (want["key"].encode(), value))
            equal(message.headers(), [("n", str(n).encode())])


@case(phase="after")
def restart_topic_config(t):
    control = admin()
    [future] = control.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, TOPIC)]).values()
    equal(future.result(TIMEOUT_S)["retention.ms"].value, RETENTION_MS)


@case(phase="after")
def restart_group_resumes(t):
    equal(committed(t, GROUP, TOPIC, PARTITIONS), PARTITIONS * COMMITTED)
    member = Member(t, [TOPIC], GROUP)
    left = PARTITIONS * (PER_PARTITION - COMMITTED)
    member.count(t, left)
    for partition in range(PARTITIONS):
        first = next(m for m in member.records if m.partition() == partition)
        equal(first.offset(), COMMITTED)
    sender = producer(enable_idempotence=True)
    new = [{"topic": TOPIC, "partition": partition, "value": "after"} for partition in range(PARTITIONS)]
    equal([m.offset() for m in send(sender, new)], [PER_PARTITION] * PARTITIONS)
    member.count(t, left + PARTITIONS)
