"""What Apache Kafka wrote, as the broker serves it: each record as Kafka's own dump tells it
(`NAME.log.txt` beside each segment), and a group that goes on where Kafka's coordinator left it."""

import os
import re
from pathlib import Path

from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition

from client import TIMEOUT_S, Member, committed, producer, read_all, send, settings
from harness import case, equal

VECTORS = Path(os.environ.get("VECTORS") or Path(__file__).parents[2] / "vectors")
# A key or payload that is null, or that of a control record, is not in the line.
RECORD = re.compile(
    r"\| offset: (?P<offset>\d+) (?P<clock>\w+): (?P<time>\d+) keySize: (?P<key_size>-?\d+)"
    r" valueSize: (?P<value_size>-?\d+) .*headerKeys: \[(?P<headers>[^]]*)\]"
    r"(?: key: (?P<key>\S+))?(?: payload: (?P<value>.*))?$"
)
HEADERS = {"": None, "h,h,x": [("h", b"1"), ("h", None), ("x", "é".encode())]}
CLOCKS = {"CreateTime": TIMESTAMP_CREATE_TIME, "LogAppendTime": TIMESTAMP_LOG_APPEND_TIME}
TOPICS = {"codecs": 110, "transactions": 16, "compacted": 31, "appendtime": 1}


def told(topic):
    """What a consumer must get of a topic."""
    for dump in sorted((VECTORS / f"{topic}-0").glob("*.log.txt")):
        for line in dump.read_text("utf-8").splitlines():
            if not line.startswith("| offset") or "endTxnMarker" in line:
                continue
            row = RECORD.match(line)
            yield {
                "offset": int(row["offset"]),
                "timestamp": (CLOCKS[row["clock"]], int(row["time"])),
                "key": None if row["key_size"] == "-1" else row["key"].encode(),
                "value": None if row["value_size"] == "-1" else row["value"].encode(),
                "headers": HEADERS[row["headers"]],
            }


def seen(message):
    return {
        "offset": message.offset(),
        "timestamp": message.timestamp(),
        "key": message.key(),
        "value": message.value(),
        "headers": message.headers(),
    }


def check_topic(topic, count):
    def run(t):
        want = list(told(topic))
        equal(len(want), count)
        # Aborted transactions as well: what the log holds is what is asked for.
        got = read_all(t, topic, count, isolation_level="read_uncommitted")
        for message, expected in zip(got, want, strict=True):
            equal(seen(message), expected)

    case(run, name=f"vectors-{topic}", phase="vectors")


for name, record_count in TOPICS.items():
    check_topic(name, record_count)


@case(phase="vectors")
def vectors_offset_by_time(t):
    consumer = Consumer(settings(group_id="vectors-times"))
    t.defer(consumer.close)
    [found] = consumer.offsets_for_times([TopicPartition("codecs", 0, 1700000007000)], timeout=TIMEOUT_S)
    equal(found.offset, 7)


@case(phase="vectors")
def vectors_group_goes_on(t):
    equal(committed(t, "g-classic", "codecs", 1), 50)
    # The static member that Kafka's coordinator knew comes back.
    member = Member(t, ["codecs"], "g-classic", group_instance_id="inst-1")
    member.count(t, 60)
    equal([message.offset() for message in member.records], list(range(50, 110)))
    [written] = send(producer(enable_idempotence=True), [{"topic": "codecs", "value": "ottla's own"}])
    equal(written.offset(), 110)
    member.count(t, 61)
