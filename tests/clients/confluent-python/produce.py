"""Producing: codecs, acks, idempotence, partitions, sizes."""

import json
import time

from confluent_kafka import KafkaError, KafkaException

from client import code_of, create_topic, numbered, plain, producer, read_all, send, sent_bytes
from harness import PARTITION_COUNT, PARTITION_OF_KEY, case, equal, raises

ALL_SHAPES = [
    {"key": b"plain", "value": b"value", "headers": [("trace", b"abc"), ("n", b"1")]},
    {"key": b"tombstone", "value": None},
    {"key": b"empty value", "value": b""},
    {"key": None, "value": b"no key"},
    {"key": b"", "value": b"empty key"},
    {
        "key": b"headers",
        "value": b"twice",
        "headers": [("same", b"first"), ("other", b"x"), ("same", b"second")],
    },
    {"key": b"null header", "value": b"v", "headers": [("null", None), ("empty", b"")]},
    {"key": "ключ".encode(), "value": "値\0".encode(), "headers": [("x-ü", "ö".encode())]},
    {"key": b"long", "value": b"compress me " * 4000},
]


def produce_with(codec):
    def run(t):
        topic = t.topic()
        create_topic(t, topic)
        statistics = []
        sender = producer(
            compression_type=codec, linger_ms=50, statistics_interval_ms=50, stats_cb=statistics.append
        )
        base = int(time.time() * 1000) - 60_000
        records = [{"topic": topic, "timestamp": base + n, **shape} for n, shape in enumerate(ALL_SHAPES)]
        send(sender, records)
        got = [plain(message) for message in read_all(t, topic, len(records))]
        for n, (record, shape) in enumerate(zip(got, ALL_SHAPES)):
            headers = shape.get("headers")
            equal(
                record,
                {
                    "partition": 0,
                    "offset": n,
                    "timestamp": base + n,
                    "key": shape["key"],
                    "value": shape["value"],
                    "headers": headers,
                },
            )
        # librdkafka leaves compression out silently if the broker's versions look too old to it.
        if codec != "none":
            enough = lambda: sender.poll(0.05) is not None and statistics and sent_bytes(statistics[-1]) > 0
            t.until("statistics", enough)
            assert sent_bytes(statistics[-1]) < 20_000, (
                f"{sent_bytes(statistics[-1])} bytes sent: not compressed"
            )

    case(run, name=f"produce-{codec}")


for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
    produce_with(codec)


def acks_of(acks):
    def run(t):
        topic = t.topic()
        create_topic(t, topic)
        send(producer(acks=acks), numbered(topic, 20))
        equal([m.value() for m in read_all(t, topic, 20)], [f"value-{n}".encode() for n in range(20)])

    case(run, name=f"acks-{acks}")


for acks in ["0", "1", "all"]:
    acks_of(acks)


@case
def idempotent(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer(enable_idempotence=True, linger_ms=1, batch_num_messages=100)
    delivered = send(sender, [{"topic": topic, "key": "one", "value": str(n)} for n in range(5000)])
    equal([m.offset() for m in delivered], list(range(5000)))
    got = read_all(t, topic, 5000)
    equal([int(m.value()) for m in got], list(range(5000)))


@case
def idempotent_two_producers(t):
    topic = t.topic()
    create_topic(t, topic, 2)
    senders = [producer(enable_idempotence=True), producer(enable_idempotence=True)]
    for n in range(20):
        for who, sender in enumerate(senders):
            for partition in range(2):
                sender.produce(topic, key=str(who), value=str(n), partition=partition)
            sender.poll(0)
    for sender in senders:
        equal(sender.flush(20), 0)
    got = read_all(t, topic, 80, partitions=2)
    for who in [b"0", b"1"]:
        for partition in range(2):
            mine = [int(m.value()) for m in got if m.key() == who and m.partition() == partition]
            equal(mine, list(range(20)))


@case
def same_key_same_partition(t):
    topic = t.topic()
    create_topic(t, topic, PARTITION_COUNT)
    sender = producer(partitioner="murmur2_random")
    send(sender, [{"topic": topic, "key": key, "value": key} for key in PARTITION_OF_KEY])
    got = {
        m.key().decode(): m.partition() for m in read_all(t, topic, len(PARTITION_OF_KEY), PARTITION_COUNT)
    }
    t.note(" ".join(f"{key}={got[key]}" for key in PARTITION_OF_KEY))
    equal(got, PARTITION_OF_KEY)


@case
def explicit_partition(t):
    topic = t.topic()
    create_topic(t, topic, 12)
    tenants = [f"tenant-{n:02x}" for n in range(256)]
    send(
        producer(),
        [{"topic": topic, "value": name, "partition": int(name[-2:], 16) % 12} for name in tenants],
    )
    counts = [0] * 12
    for message in read_all(t, topic, 256, partitions=12):
        counts[message.partition()] += 1
    equal(counts, [22] * 4 + [21] * 8)


@case
def unknown_partition_is_refused(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer()
    error = raises(KafkaException, lambda: send(sender, [{"topic": topic, "value": "x", "partition": 7}]))
    equal(code_of(error), KafkaError._UNKNOWN_PARTITION)
    send(sender, [{"topic": topic, "value": "still fine", "partition": 0}])


@case
def big_message(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer(message_max_bytes=3_000_000)
    big = b"b" * 1_000_000
    send(sender, [{"topic": topic, "value": big}])
    too_big = [{"topic": topic, "value": b"b" * 1_100_000}]
    error = raises(KafkaException, lambda: send(sender, too_big))
    equal(code_of(error), KafkaError.MSG_SIZE_TOO_LARGE)
    send(sender, [{"topic": topic, "value": b"same connection"}])
    got = read_all(t, topic, 2)
    assert got[0].value() == big
    equal([m.offset() for m in got], [0, 1])


@case
def raised_message_limit(t):
    topic = t.topic()
    create_topic(t, topic, 1, {"max.message.bytes": "3000000"})
    big = b"b" * 2_500_000
    send(producer(message_max_bytes=4_000_000), [{"topic": topic, "value": big}])
    assert read_all(t, topic, 1)[0].value() == big


@case
def many_batches(t):
    topic = t.topic()
    create_topic(t, topic, 3)
    sender = producer(linger_ms=5, compression_type="lz4")
    payload = json.dumps({"event": "x" * 100})
    records = [{"topic": topic, "key": str(n % 50), "value": payload} for n in range(20_000)]
    began = time.monotonic()
    send(sender, records)
    middle = time.monotonic()
    read_all(t, topic, len(records), partitions=3)
    t.note(f"20000 records sent in {middle - began:.2f} s, read in {time.monotonic() - middle:.2f} s")


@case
def auto_create_on_produce(t):
    topic = t.topic()
    errors = []
    sender = producer(error_cb=errors.append)
    began = time.monotonic()
    send(sender, [{"topic": topic, "key": "first", "value": "made by produce"}])
    t.note(f"first send after {(time.monotonic() - began) * 1000:.0f} ms")
    partitions = len(sender.list_topics(topic, timeout=10).topics[topic].partitions)
    equal(read_all(t, topic, 1, partitions)[0].value(), b"made by produce")
    equal(errors, [])
