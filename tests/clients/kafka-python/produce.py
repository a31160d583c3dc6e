"""Producing, in both versions: codecs, acks, partitions, sizes."""

import time

from client import admin, create_topic, numbered, partition_count, producer, read_all, send
from harness import PARTITION_COUNT, PARTITION_OF_KEY, case, equal, raises
from kafka.errors import MessageSizeTooLargeError

ALL_SHAPES = [
    {"key": b"plain", "value": b"value", "headers": [("trace", b"abc"), ("n", b"1")]},
    {"key": b"tombstone", "value": None},
    {"key": b"empty value", "value": b""},
    {"key": None, "value": b"no key"},
    {"key": b"", "value": b"empty key"},
    {"key": b"headers", "value": b"v", "headers": [("same", b"1"), ("other", b"x"), ("same", b"2")]},
    {"key": b"empty header", "value": b"v", "headers": [("empty", b"")]},
    {"key": "ключ".encode(), "value": "値\0".encode(), "headers": [("x-ü", "ö".encode())]},
    {"key": b"long", "value": b"compress me " * 4000},
]


def produce_with(codec):
    def run(t):
        topic = t.topic()
        create_topic(t, topic)
        base = int(time.time() * 1000) - 60_000
        shapes = [{"topic": topic, "timestamp_ms": base + n, **shape} for n, shape in enumerate(ALL_SHAPES)]
        results = send(producer(t, compression_type=codec), shapes)
        equal([result.offset for result in results], list(range(len(shapes))))
        for n, got in enumerate(read_all(t, topic, len(shapes))):
            want = ALL_SHAPES[n]
            equal((got.partition, got.offset, got.timestamp), (0, n, base + n))
            equal((got.key, got.value), (want["key"], want["value"]))
            equal(list(got.headers), want.get("headers", []))

    case(run, name=f"produce-{codec or 'none'}")


for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    produce_with(codec)


def acks_of(acks):
    def run(t):
        topic = t.topic()
        create_topic(t, topic)
        send(producer(t, acks=acks), numbered(topic, 20))
        got = read_all(t, topic, 20)
        equal([record.value for record in got], [f"value-{n}".encode() for n in range(20)])

    case(run, name=f"acks-{acks}")


for acks in [0, 1, "all"]:
    acks_of(acks)


@case
def same_key_same_partition(t):
    topic = t.topic()
    create_topic(t, topic, PARTITION_COUNT)
    keys = [key.encode() for key in PARTITION_OF_KEY]
    send(producer(t), [{"topic": topic, "key": key, "value": key} for key in keys])
    got = {record.key.decode(): record.partition for record in read_all(t, topic, len(keys), PARTITION_COUNT)}
    t.note(" ".join(f"{key}={got[key]}" for key in PARTITION_OF_KEY))
    equal(got, PARTITION_OF_KEY)


@case
def explicit_partition(t):
    topic = t.topic()
    create_topic(t, topic, 12)
    tenants = [f"tenant-{n:02x}" for n in range(256)]
    places = [{"topic": topic, "value": b"v", "partition": int(name[-2:], 16) % 12} for name in tenants]
    send(producer(t), places)
    counts = [0] * 12
    for record in read_all(t, topic, 256, partitions=12):
        counts[record.partition] += 1
    equal(counts, [22] * 4 + [21] * 8)


@case
def big_message(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer(t, max_request_size=3_000_000)
    big = b"b" * 1_000_000
    send(sender, [{"topic": topic, "value": big}])
    raises(MessageSizeTooLargeError, lambda: send(sender, [{"topic": topic, "value": b"b" * 1_100_000}]))
    # An idempotent producer of kafka-python ends with its first refused record.
    send(producer(t), [{"topic": topic, "value": b"another producer"}])
    got = read_all(t, topic, 2)
    assert got[0].value == big
    equal([record.offset for record in got], [0, 1])


@case
def auto_create_on_produce(t):
    topic = t.topic()
    began = time.monotonic()
    send(producer(t), [{"topic": topic, "key": b"first", "value": b"made by produce"}])
    t.note(f"first send after {(time.monotonic() - began) * 1000:.0f} ms")
    got = read_all(t, topic, 1, partitions=partition_count(admin(t), topic))
    equal(got[0].value, b"made by produce")
