"""Consuming and groups: positions, seeks, commits, rebalances, wake-up."""

import time

from confluent_kafka import Consumer, KafkaError, TopicPartition

from client import Member, committed, create_topic, numbered, producer, read_all, send, settings
from harness import case, equal

PARTITIONS = 6


def offsets(records):
    return [message.offset() for message in records]


@case
def earliest_and_latest(t):
    topic = t.topic()
    create_topic(t, topic, 2)
    sender = producer()
    in_both = lambda value: [{"topic": topic, "partition": p, "value": value} for p in range(2)]
    send(sender, in_both("before"))
    earliest = Member(t, [topic], t.group("earliest"))
    latest = Member(t, [topic], t.group("latest"), auto_offset_reset="latest", fetch_wait_max_ms=100)
    latest.positioned(t, 2)
    send(sender, in_both("after"))
    earliest.count(t, 4)
    equal([m.value() for m in latest.count(t, 2)], [b"after", b"after"])


@case
def no_reset_is_an_error(t):
    topic = t.topic()
    create_topic(t, topic)
    member = Member(t, [topic], t.group(), auto_offset_reset="error")
    t.until("the error", lambda: member.poll() or member.errors)
    equal(member.errors[0].code(), KafkaError._AUTO_OFFSET_RESET)


@case
def commit_and_resume(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic)
    send(producer(), numbered(topic, 20))
    first = Member(t, [topic], group, enable_auto_commit=False)
    first.count(t, 20)
    first.consumer.commit(offsets=[TopicPartition(topic, 0, 10, metadata="half way")], asynchronous=False)
    [position] = first.consumer.committed([TopicPartition(topic, 0)], timeout=10)
    equal((position.offset, position.metadata), (10, "half way"))
    first.close()
    second = Member(t, [topic], group)
    equal(offsets(second.count(t, 10)), list(range(10, 20)))


@case
def commit_of_a_message(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic)
    send(producer(), numbered(topic, 6))
    member = Member(t, [topic], group, enable_auto_commit=False)
    member.count(t, 6)
    member.consumer.commit(message=member.records[2], asynchronous=False)
    equal(committed(t, group, topic, 1), 3)
    member.consumer.commit(message=member.records[4])  # Asynchronous.
    t.until("the asynchronous commit", lambda: member.poll() and committed(t, group, topic, 1) == 5)


@case
def stored_offsets(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic)
    send(producer(), numbered(topic, 10))
    member = Member(t, [topic], group, enable_auto_offset_store=False, auto_commit_interval_ms=100)
    member.count(t, 10)
    member.consumer.store_offsets(message=member.records[6])
    t.until("the automatic commit", lambda: member.poll() and committed(t, group, topic, 1) == 7)


@case
def automatic_commit_at_close(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic, 3)
    send(producer(), numbered(topic, 30))
    member = Member(t, [topic], group)
    member.count(t, 30)
    member.close()
    equal(committed(t, group, topic, 3), 30)


@case
def seek_to_offset(t):
    topic = t.topic()
    create_topic(t, topic)
    send(producer(), numbered(topic, 20))
    member = Member(t, [topic], t.group())
    member.count(t, 20)
    member.consumer.seek(TopicPartition(topic, 0, 15))
    member.records.clear()
    equal(offsets(member.count(t, 5)), [15, 16, 17, 18, 19])


@case
def seek_to_time(t):
    topic = t.topic()
    create_topic(t, topic)
    base = int(time.time() * 1000) - 3_600_000
    send(producer(), [{"topic": topic, "value": "v", "timestamp": base + n * 1000} for n in range(9)])
    member = Member(t, [topic], t.group())
    member.count(t, 9)

    def offset_at(when):
        [found] = member.consumer.offsets_for_times([TopicPartition(topic, 0, when)], timeout=10)
        return found.offset

    equal([offset_at(base - 1), offset_at(base + 4000), offset_at(base + 4001)], [0, 4, 5])
    equal(offset_at(base + 8001), -1, "after the last record")
    member.records.clear()
    member.consumer.seek(TopicPartition(topic, 0, offset_at(base + 6000)))
    equal(offsets(member.count(t, 3)), [6, 7, 8])


@case
def watermarks(t):
    topic = t.topic()
    create_topic(t, topic)
    send(producer(), numbered(topic, 7))
    consumer = Consumer(settings(group_id=t.group()))
    t.defer(consumer.close)
    equal(consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=10), (0, 7))


@case
def out_of_range_goes_to_the_start(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic)
    send(producer(), numbered(topic, 4))
    consumer = Consumer(settings(group_id=group))
    t.defer(consumer.close)
    consumer.commit(offsets=[TopicPartition(topic, 0, 1000)], asynchronous=False)
    member = Member(t, [topic], group)
    equal(offsets(member.count(t, 4)), [0, 1, 2, 3])


@case
def pause_and_resume(t):
    topic = t.topic()
    create_topic(t, topic, 2)
    member = Member(t, [topic], t.group())
    t.until("both partitions", lambda: member.poll() or len(member.owned) == 2)
    member.consumer.pause([TopicPartition(topic, 0)])
    send(producer(), [{"topic": topic, "partition": p, "value": str(p)} for p in range(2)])
    equal([m.partition() for m in member.count(t, 1)], [1])
    member.consumer.resume([TopicPartition(topic, 0)])
    member.count(t, 2)


@case
def wake_up_of_a_waiting_fetch(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer(linger_ms=0)
    member = Member(t, [topic], t.group(), fetch_wait_max_ms=5000, heartbeat_interval_ms=3000)
    send(sender, [{"topic": topic, "value": "first"}])
    member.count(t, 1)
    latencies = []
    for n in range(2, 7):
        # The next fetch leaves when the last answer was handed on; it waits up to 5 s from there.
        began = time.monotonic()
        send(sender, [{"topic": topic, "value": str(n)}])
        t.until(f"record {n}", lambda: len(member.poll(0.5)) == n)
        latencies.append((time.monotonic() - began) * 1000)
    t.note(f"slowest of five {max(latencies):.1f} ms with the send, fetches wait 5000 ms")
    assert max(latencies) < 1500, f"a fetch was woken after {max(latencies):.0f} ms"


@case
def one_group_two_topics(t):
    topics = [t.topic("a"), t.topic("b")]
    for topic in topics:
        create_topic(t, topic, 2)
    member = Member(t, topics, t.group())
    for topic in topics:
        send(producer(), numbered(topic, 10))
    member.count(t, 20)
    for topic in topics:
        equal(len([m for m in member.records if m.topic() == topic]), 10)


@case
def subscribe_by_pattern(t):
    topics = [t.topic("a"), t.topic("b")]
    for topic in topics:
        create_topic(t, topic)
    member = Member(t, [f"^{t.topic()}-.*"], t.group())
    t.until("both topics", lambda: member.poll() or len(member.owned) == 2)
    for topic in topics:
        send(producer(), numbered(topic, 3))
    member.count(t, 6)


@case
def subscribe_before_the_topic_is_there(t):
    # librdkafka 2.16 does not ask for auto-creation here, whatever allow.auto.create.topics says:
    # it tells the error, looks again, and finds the topic that the producer made.
    topic = t.topic()
    member = Member(t, [topic], t.group(), topic_metadata_refresh_interval_ms=200)
    t.until("the error", lambda: member.poll() or member.errors)
    equal(member.errors[0].code(), KafkaError.UNKNOWN_TOPIC_OR_PART)
    send(producer(), [{"topic": topic, "value": "late"}])
    member.count(t, 1)


@case
def every_group_gets_everything(t):
    topic = t.topic()
    create_topic(t, topic, 3)
    names = ["payment", "notify", "analytics", "audit"]
    members = [Member(t, [topic], t.group(name)) for name in names]
    send(producer(), numbered(topic, 30))
    for member in members:
        member.count(t, 30)


@case
def different_subscriptions_in_one_group(t):
    topics = [t.topic("a"), t.topic("b"), t.topic("c")]
    for topic in topics:
        create_topic(t, topic, 3)
    members = [Member(t, [topic], t.group()) for topic in topics]

    def settled():
        for member in members:
            member.poll()
        return all(member.owned == {(topic, p) for p in range(3)} for member, topic in zip(members, topics))

    t.until("each to own its own topic", settled)
    for topic in topics:
        send(producer(), [{"topic": topic, "partition": p, "value": topic} for p in range(3)])
    for member, topic in zip(members, topics):
        equal({m.topic() for m in member.count(t, 3)}, {topic})


def rebalance(t, **more):
    topic, group = t.topic(), t.group()
    create_topic(t, topic, PARTITIONS)
    sender = producer()
    more = {"auto_commit_interval_ms": 100, **more}
    members = [Member(t, [topic], group, **more)]
    sent = 0

    def owns(*counts):
        for member in members:
            member.poll()
        return [len(member.owned) for member in members if not member.closed] == list(counts)

    def one_round():
        nonlocal sent
        send(sender, [{"topic": topic, "partition": n % PARTITIONS, "value": str(n)} for n in range(60)])
        sent += 60

        def all_seen():
            for member in members:
                if not member.closed:
                    member.poll()
            return sum(len(member.records) for member in members) >= sent

        t.until(f"{sent} records to be seen", all_seen)
        everything = lambda: all_seen() and committed(t, group, topic, PARTITIONS) == sent
        t.until(f"{sent} to be committed", everything)
        seen = [(m.partition(), m.offset()) for member in members for m in member.records]
        equal((len(set(seen)), len(seen)), (sent, sent), "every record is seen once")

    t.until("the first to own all", lambda: owns(6))
    one_round()
    members.append(Member(t, [topic], group, **more))
    t.until("both to own half", lambda: owns(3, 3))
    assert not members[0].owned & members[1].owned, "a partition has one owner"
    one_round()
    members[1].close()
    t.until("the first to own all again", lambda: members[0].poll() and len(members[0].owned) == 6)
    one_round()
    equal([m.errors for m in members], [[], []])


@case
def rebalance_of_two(t):
    rebalance(t)


@case
def rebalance_of_two_cooperative(t):
    rebalance(t, partition_assignment_strategy="cooperative-sticky")


@case
def static_member_keeps_its_partitions(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic, 4)
    options = {"session_timeout_ms": 20_000}
    one = Member(t, [topic], group, group_instance_id="one", **options)
    two = Member(t, [topic], group, group_instance_id="two", **options)

    def split():
        one.poll(), two.poll()
        return len(one.owned) == 2 and len(two.owned) == 2

    t.until("a split", split)
    before = set(two.owned)
    two.close()  # A static member leaves without a word; its partitions wait for it.
    again = Member(t, [topic], group, group_instance_id="two", **options)
    t.until("its partitions again", lambda: one.poll() or again.poll() or len(again.owned) == 2)
    equal(again.owned, before)
    equal(len(one.owned), 2, "the other one was left alone")


@case
def read_committed_and_uncommitted(t):
    topic = t.topic()
    create_topic(t, topic)
    send(producer(), numbered(topic, 5))
    for level in ["read_committed", "read_uncommitted"]:
        equal(offsets(read_all(t, topic, 5, isolation_level=level)), [0, 1, 2, 3, 4])
