"""Consuming and groups, in both versions: positions, seeks, commits, rebalances, wake-up."""

import time

from client import (
    IS_OLD,
    ThreadedMember,
    committed,
    create_topic,
    join,
    numbered,
    position,
    producer,
    read_all,
    send,
)
from harness import case, equal
from kafka import TopicPartition

PARTITIONS = 6


def offsets(records):
    return [record.offset for record in records]


@case
def earliest_and_latest(t):
    topic = t.topic()
    create_topic(t, topic, 2)
    sender = producer(t)
    send(sender, [{"topic": topic, "partition": p, "value": b"before"} for p in range(2)])
    earliest = join(t, [topic], t.group("earliest"))
    latest = join(t, [topic], t.group("latest"), auto_offset_reset="latest")
    latest.owns(t, 2)
    equal([latest.consumer.position(TopicPartition(topic, p)) for p in range(2)], [1, 1])
    send(sender, [{"topic": topic, "partition": p, "value": b"after"} for p in range(2)])
    earliest.count(t, 4)
    equal([record.value for record in latest.count(t, 2)], [b"after", b"after"])


@case
def commit_and_resume(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic)
    send(producer(t), numbered(topic, 20))
    first = join(t, [topic], group, enable_auto_commit=False)
    first.count(t, 20)
    place = TopicPartition(topic, 0)
    first.consumer.commit({place: position(10, "half way")})
    equal(first.consumer.committed(place), 10)
    equal(first.consumer.committed(place, metadata=True).metadata, "half way")
    first.close()
    second = join(t, [topic], group)
    equal(offsets(second.count(t, 10)), list(range(10, 20)))


@case
def manual_commits(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, 2)
    send(producer(t), [{"topic": topic, "partition": n % 2, "value": b"v"} for n in range(10)])
    member = join(t, [topic], group, enable_auto_commit=False)
    member.count(t, 10)
    equal(committed(control, group), 0)
    member.consumer.commit()
    equal(committed(control, group), 10)
    done = []
    places = {TopicPartition(topic, 0): position(2), TopicPartition(topic, 1): position(3)}
    member.consumer.commit_async(places, callback=lambda *answer: done.append(answer))
    t.until("the asynchronous commit", lambda: member.poll() and done)
    equal(committed(control, group), 5)


@case
def automatic_commit(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, 3)
    send(producer(t), numbered(topic, 30))
    member = join(t, [topic], group, auto_commit_interval_ms=100)
    member.count(t, 30)
    t.until("the automatic commit", lambda: member.poll() and committed(control, group) == 30)


@case
def automatic_commit_at_close(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic)
    send(producer(t), numbered(topic, 10))
    member = join(t, [topic], group)
    member.count(t, 10)
    member.close()
    equal(committed(control, group), 10)


@case
def seek_to_offset(t):
    topic = t.topic()
    create_topic(t, topic)
    send(producer(t), numbered(topic, 20))
    member = join(t, [topic], t.group())
    member.count(t, 20)
    place = TopicPartition(topic, 0)
    member.consumer.seek(place, 15)
    member.count(t, 25)
    equal(offsets(member.records[20:]), [15, 16, 17, 18, 19])
    member.consumer.seek_to_beginning(place)
    member.count(t, 45)
    member.consumer.seek_to_end(place)
    equal(member.consumer.position(place), 20)


@case
def seek_to_time(t):
    topic = t.topic()
    create_topic(t, topic)
    base = int(time.time() * 1000) - 3_600_000
    stamped = [{"topic": topic, "value": b"v", "timestamp_ms": base + n * 1000} for n in range(9)]
    send(producer(t), stamped)
    member = join(t, [topic], t.group())
    member.count(t, 9)
    place = TopicPartition(topic, 0)

    def at(when):
        found = member.consumer.offsets_for_times({place: when})[place]
        return found and (found.offset, found.timestamp - base)

    equal([at(base - 1), at(base + 4000), at(base + 4001)], [(0, 0), (4, 4000), (5, 5000)])
    equal(at(base + 8001), None, "after the last record")
    member.consumer.seek(place, at(base + 6000)[0])
    member.count(t, 12)
    equal(offsets(member.records[9:]), [6, 7, 8])


@case
def beginning_and_end_offsets(t):
    topic = t.topic()
    create_topic(t, topic, 2)
    send(producer(t), [{"topic": topic, "partition": 0, "value": b"v"}] * 7)
    member = join(t, [topic], t.group())
    places = [TopicPartition(topic, partition) for partition in range(2)]
    equal(member.consumer.beginning_offsets(places), dict.fromkeys(places, 0))
    equal(member.consumer.end_offsets(places), {places[0]: 7, places[1]: 0})


@case
def out_of_range_goes_to_the_start(t):
    topic, group = t.topic(), t.group()
    create_topic(t, topic)
    send(producer(t), numbered(topic, 4))
    first = join(t, [topic], group, enable_auto_commit=False)
    first.count(t, 4)
    first.consumer.commit({TopicPartition(topic, 0): position(1000)})
    first.close()
    second = join(t, [topic], group)
    equal(offsets(second.count(t, 4)), [0, 1, 2, 3])


@case
def pause_and_resume(t):
    topic = t.topic()
    create_topic(t, topic, 2)
    member = join(t, [topic], t.group())
    member.owns(t, 2)
    member.consumer.pause(TopicPartition(topic, 0))
    sender = producer(t)
    send(sender, [{"topic": topic, "partition": p, "value": b"%d" % p} for p in range(2)])
    equal([record.partition for record in member.count(t, 1)], [1])
    member.consumer.resume(TopicPartition(topic, 0))
    member.count(t, 2)


@case
def wake_up_of_a_waiting_fetch(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = producer(t)
    member = join(t, [topic], t.group(), fetch_max_wait_ms=5000)
    send(sender, [{"topic": topic, "value": b"first"}])
    member.count(t, 1)
    latencies = []
    for n in range(2, 7):
        member.poll(0)  # Sends the next fetch, which waits up to 5 s.
        began = time.monotonic()
        send(sender, [{"topic": topic, "value": b"%d" % n}])
        member.count(t, n)
        latencies.append((time.monotonic() - began) * 1000)
    t.note(f"slowest of five {max(latencies):.1f} ms with the send, fetches wait 5000 ms")
    assert max(latencies) < 1500, f"a fetch was woken after {max(latencies):.0f} ms"


@case
def one_group_two_topics(t):
    topics = [t.topic("a"), t.topic("b")]
    for topic in topics:
        create_topic(t, topic, 2)
    member = join(t, topics, t.group())
    sender = producer(t)
    for topic in topics:
        send(sender, numbered(topic, 10))
    member.count(t, 20)
    for topic in topics:
        equal(len([record for record in member.records if record.topic == topic]), 10)


@case
def auto_create_on_subscribe(t):
    topic = t.topic()
    member = join(t, [topic], t.group(), metadata_max_age_ms=300)
    t.until("the topic to be owned", lambda: member.poll() or member.owned)
    send(producer(t), [{"topic": topic, "value": b"late"}])
    member.count(t, 1)


@case
def every_group_gets_everything(t):
    topic = t.topic()
    create_topic(t, topic, 3)
    names = ["payment", "notify", "analytics", "audit"]
    members = [join(t, [topic], t.group(name)) for name in names]
    send(producer(t), numbered(topic, 30))
    for member in members:
        member.count(t, 30)


@case
def rebalance_of_two(t):
    topic, group = t.topic(), t.group()
    control = create_topic(t, topic, PARTITIONS)
    sender = producer(t)
    more = {"auto_commit_interval_ms": 100}
    members = [ThreadedMember(t, [topic], group, **more)]
    sent = 0

    def one_round():
        nonlocal sent
        send(sender, [{"topic": topic, "partition": n % PARTITIONS, "value": b"v"} for n in range(60)])
        sent += 60
        seen = lambda: [(r.partition, r.offset) for m in members for r in m.records]
        t.until(f"{sent} records to be seen", lambda: len(seen()) >= sent)
        t.until(f"{sent} to be committed", lambda: committed(control, group) == sent)
        equal((len(set(seen())), len(seen())), (sent, sent), "every record is seen once")

    owned = lambda: [len(member.owned) for member in members if not member.closed]
    t.until("the first to own all", lambda: owned() == [6])
    one_round()
    members.append(ThreadedMember(t, [topic], group, **more))
    t.until("both to own half", lambda: owned() == [3, 3])
    assert not members[0].owned & members[1].owned, "a partition has one owner"
    one_round()
    members[1].close()
    t.until("the first to own all again", lambda: owned() == [6])
    one_round()


@case
def read_committed_and_uncommitted(t):
    topic = t.topic()
    create_topic(t, topic)
    send(producer(t), numbered(topic, 5))
    levels = (
        [{}] if IS_OLD else [{"isolation_level": "read_committed"}, {"isolation_level": "read_uncommitted"}]
    )
    for level in levels:
        equal(offsets(read_all(t, topic, 5, **level)), [0, 1, 2, 3, 4])
