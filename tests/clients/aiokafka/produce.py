"""Producing: codecs, acks, idempotence, partitions, sizes."""

import time

from aiokafka.errors import MessageSizeTooLargeError
from client import admin, create_topic, numbered, producer, read_all, refused, send
from harness import PARTITION_COUNT, PARTITION_OF_KEY, case, equal

ALL_SHAPES = [
    {"key": b"plain", "value": b"value", "headers": [("trace", b"abc"), ("n", b"1")]},
    {"key": b"tombstone", "value": None},
    {"key": b"empty value", "value": b""},
    {"key": None, "value": b"no key"},
    {"key": b"", "value": b"empty key"},
    {"key": b"headers", "value": b"v", "headers": [("same", b"1"), ("other", b"x"), ("same", b"2")]},
    {"key": b"null header", "value": b"v", "headers": [("null", None), ("empty", b"")]},
    {"key": "ключ".encode(), "value": "値\0".encode(), "headers": [("x-ü", "ö".encode())]},
    {"key": b"long", "value": b"compress me " * 4000},
]


def produce_with(codec):
    async def run(t):
        topic = t.topic()
        await create_topic(t, topic)
        sender = await producer(t, compression_type=codec)
        base = int(time.time() * 1000) - 60_000
        shapes = [{"topic": topic, "timestamp_ms": base + n, **shape} for n, shape in enumerate(ALL_SHAPES)]
        results = await send(sender, shapes)
        equal([result.offset for result in results], list(range(len(shapes))))
        for n, got in enumerate(await read_all(t, topic, len(shapes))):
            want = ALL_SHAPES[n]
            equal((got.partition, got.offset, got.timestamp), (0, n, base + n))
            equal((got.key, got.value), (want["key"], want["value"]))
            equal(list(got.headers), want.get("headers", []))

    case(run, name=f"produce-{codec or 'none'}")


for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    produce_with(codec)


def acks_of(acks):
    async def run(t):
        topic = t.topic()
        await create_topic(t, topic)
        sender = await producer(t, acks=acks)
        await send(sender, numbered(topic, 20))
        got = await read_all(t, topic, 20)
        equal([record.value for record in got], [f"value-{n}".encode() for n in range(20)])

    case(run, name=f"acks-{acks}")


for acks in [0, 1, "all"]:
    acks_of(acks)


@case
async def idempotent(t):
    topic = t.topic()
    await create_topic(t, topic)
    sender = await producer(t, enable_idempotence=True, max_batch_size=2048)
    records = [{"topic": topic, "key": b"one", "value": str(n).encode()} for n in range(3000)]
    results = await send(sender, records)
    equal([result.offset for result in results], list(range(3000)))
    equal([int(record.value) for record in await read_all(t, topic, 3000)], list(range(3000)))


@case
async def idempotent_two_producers(t):
    topic = t.topic()
    await create_topic(t, topic, 2)
    senders = [await producer(t, enable_idempotence=True) for _ in range(2)]
    for n in range(20):
        for who, sender in enumerate(senders):
            for partition in range(2):
                await sender.send(topic, key=b"%d" % who, value=b"%d" % n, partition=partition)
    for sender in senders:
        await sender.flush()
    got = await read_all(t, topic, 80, partitions=2)
    for who in [b"0", b"1"]:
        for partition in range(2):
            mine = [int(r.value) for r in got if r.key == who and r.partition == partition]
            equal(mine, list(range(20)))


@case
async def same_key_same_partition(t):
    topic = t.topic()
    await create_topic(t, topic, PARTITION_COUNT)
    sender = await producer(t)
    await send(sender, [{"topic": topic, "key": k.encode(), "value": k.encode()} for k in PARTITION_OF_KEY])
    records = await read_all(t, topic, len(PARTITION_OF_KEY), PARTITION_COUNT)
    got = {record.key.decode(): record.partition for record in records}
    t.note(" ".join(f"{key}={got[key]}" for key in PARTITION_OF_KEY))
    equal(got, PARTITION_OF_KEY)


@case
async def explicit_partition(t):
    topic = t.topic()
    await create_topic(t, topic, 12)
    sender = await producer(t)
    tenants = [f"tenant-{n:02x}" for n in range(256)]
    places = [{"topic": topic, "value": b"v", "partition": int(name[-2:], 16) % 12} for name in tenants]
    await send(sender, places)
    counts = [0] * 12
    for record in await read_all(t, topic, 256, partitions=12):
        counts[record.partition] += 1
    equal(counts, [22] * 4 + [21] * 8)


@case
async def big_message(t):
    topic = t.topic()
    await create_topic(t, topic)
    sender = await producer(t, max_request_size=3_000_000)
    big = b"b" * 1_000_000
    await sender.send_and_wait(topic, big)
    await refused(MessageSizeTooLargeError, sender.send_and_wait(topic, b"b" * 1_100_000))
    await sender.send_and_wait(topic, b"same connection")
    got = await read_all(t, topic, 2)
    assert got[0].value == big
    equal([record.offset for record in got], [0, 1])


@case
async def raised_message_limit(t):
    topic = t.topic()
    await create_topic(t, topic, 1, {"max.message.bytes": "3000000"})
    sender = await producer(t, max_request_size=4_000_000)
    await sender.send_and_wait(topic, b"b" * 2_500_000)
    [got] = await read_all(t, topic, 1)
    equal(len(got.value), 2_500_000)


@case
async def auto_create_on_produce(t):
    topic = t.topic()
    sender = await producer(t)
    began = time.monotonic()
    await sender.send_and_wait(topic, b"made by produce", key=b"first")
    t.note(f"first send after {(time.monotonic() - began) * 1000:.0f} ms")
    [found] = await (await admin(t)).describe_topics([topic])
    got = await read_all(t, topic, 1, partitions=len(found["partitions"]))
    equal(got[0].value, b"made by produce")
