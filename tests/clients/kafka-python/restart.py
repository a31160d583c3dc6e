"""Two phases around a restart of the broker on the same data, in both versions: `before` writes
and commits, `after` finds all of it. Everything follows from RUN_ID."""

from client import IS_OLD, admin, committed, create_topic, join, position, producer, read_all, send
from harness import RUN_ID, case, equal
from kafka import TopicPartition

TOPIC = f"{RUN_ID}-restart"
GROUP = f"{TOPIC}-group"
PARTITIONS = 3
PER_PARTITION = 100
COMMITTED = 40
CODECS = [None, "gzip", "snappy", "lz4"] if IS_OLD else [None, "gzip", "snappy", "lz4", "zstd"]


def record(partition, n):
    value = None if n % 10 == 9 else f"{partition}:{n}".encode()
    headers = [("n", b"%d" % n)]
    return {"topic": TOPIC, "partition": partition, "key": b"%d" % n, "value": value, "headers": headers}


@case(phase="before")
def restart_before(t):
    control = create_topic(t, TOPIC, PARTITIONS)
    share = PER_PARTITION // len(CODECS)
    for at, codec in enumerate(CODECS):
        span = range(at * share, (at + 1) * share)
        records = [record(partition, n) for n in span for partition in range(PARTITIONS)]
        send(producer(t, compression_type=codec), records)
    member = join(t, [TOPIC], GROUP, enable_auto_commit=False)
    member.count(t, PARTITIONS * PER_PARTITION)
    member.consumer.commit({TopicPartition(TOPIC, p): position(COMMITTED) for p in range(PARTITIONS)})
    member.close()
    equal(committed(control, GROUP), PARTITIONS * COMMITTED)


@case(phase="after")
def restart_records(t):
    got = read_all(t, TOPIC, PARTITIONS * PER_PARTITION, PARTITIONS)
    for partition in range(PARTITIONS):
        mine = [one for one in got if one.partition == partition]
        equal([one.offset for one in mine], list(range(PER_PARTITION)))
        for n, one in enumerate(mine):
            want = record(partition, n)
            equal((one.key, one.value, list(one.headers)), (want["key"], want["value"], want["headers"]))


@case(phase="after")
def restart_group_resumes(t):
    equal(committed(admin(t), GROUP), PARTITIONS * COMMITTED)
    member = join(t, [TOPIC], GROUP)
    left = PARTITIONS * (PER_PARTITION - COMMITTED)
    member.count(t, left)
    for partition in range(PARTITIONS):
        first = next(one for one in member.records if one.partition == partition)
        equal(first.offset, COMMITTED)
    new = [{"topic": TOPIC, "partition": partition, "value": b"after"} for partition in range(PARTITIONS)]
    equal([result.offset for result in send(producer(t), new)], [PER_PARTITION] * PARTITIONS)
    member.count(t, left + PARTITIONS)
