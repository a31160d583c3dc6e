"""Two phases around a restart of the broker on the same data: `before` writes and commits,
`after` finds all of it. Everything follows from RUN_ID, so nothing else is kept between them."""

from admin import configs_of
from aiokafka import TopicPartition
from client import admin, committed, create_topic, join, producer, read_all, send
from harness import RUN_ID, case, equal

TOPIC = f"{RUN_ID}-restart"
GROUP = f"{TOPIC}-group"
PARTITIONS = 3
PER_PARTITION = 100
COMMITTED = 40
RETENTION_MS = "86400000"
CODECS = [None, "gzip", "snappy", "lz4", "zstd"]


def record(partition, n):
    value = None if n % 10 == 9 else f"{partition}:{n}".encode()
    headers = [("n", str(n).encode())]
    return {"topic": TOPIC, "partition": partition, "key": b"%d" % n, "value": value, "headers": headers}


@case(phase="before")
async def restart_before(t):
    control = await create_topic(t, TOPIC, PARTITIONS, {"retention.ms": RETENTION_MS})
    share = PER_PARTITION // len(CODECS)
    for at, codec in enumerate(CODECS):
        sender = await producer(t, enable_idempotence=True, compression_type=codec)
        span = range(at * share, (at + 1) * share)
        await send(sender, [record(partition, n) for n in span for partition in range(PARTITIONS)])
    member = await join(t, [TOPIC], GROUP, enable_auto_commit=False)
    await member.count(t, PARTITIONS * PER_PARTITION)
    places = {TopicPartition(TOPIC, partition): COMMITTED for partition in range(PARTITIONS)}
    await member.consumer.commit(places)
    await member.stop()
    equal(await committed(control, GROUP, TOPIC, PARTITIONS), PARTITIONS * COMMITTED)


@case(phase="after")
async def restart_records(t):
    got = await read_all(t, TOPIC, PARTITIONS * PER_PARTITION, PARTITIONS)
    for partition in range(PARTITIONS):
        mine = [one for one in got if one.partition == partition]
        equal([one.offset for one in mine], list(range(PER_PARTITION)))
        for n, one in enumerate(mine):
            want = record(partition, n)
            equal((one.key, one.value, list(one.headers)), (want["key"], want["value"], want["headers"]))


@case(phase="after")
async def restart_topic_config(t):
    configs = await configs_of(await admin(t), TOPIC)
    equal(configs["retention.ms"], RETENTION_MS)


@case(phase="after")
async def restart_group_resumes(t):
    equal(await committed(await admin(t), GROUP, TOPIC, PARTITIONS), PARTITIONS * COMMITTED)
    member = await join(t, [TOPIC], GROUP)
    left = PARTITIONS * (PER_PARTITION - COMMITTED)
    await member.count(t, left)
    for partition in range(PARTITIONS):
        first = next(one for one in member.records if one.partition == partition)
        equal(first.offset, COMMITTED)
    sender = await producer(t, enable_idempotence=True)
    new = [{"topic": TOPIC, "partition": partition, "value": b"after"} for partition in range(PARTITIONS)]
    equal([result.offset for result in await send(sender, new)], [PER_PARTITION] * PARTITIONS)
    await member.count(t, left + PARTITIONS)
