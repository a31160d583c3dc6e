"""Consuming and groups: positions, seeks, commits, rebalances, wake-up."""

import time

from aiokafka import TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.structs import OffsetAndMetadata
from client import committed, create_topic, join, numbered, producer, read_all, send
from harness import case, equal

PARTITIONS = 6


def offsets(records):
    return [record.offset for record in records]


@case
async def earliest_and_latest(t):
    topic = t.topic()
    await create_topic(t, topic, 2)
    sender = await producer(t)
    await send(sender, [{"topic": topic, "partition": p, "value": b"before"} for p in range(2)])
    earliest = await join(t, [topic], t.group("earliest"))
    latest = await join(t, [topic], t.group("latest"), auto_offset_reset="latest")
    for partition in range(2):
        equal(await latest.consumer.position(TopicPartition(topic, partition)), 1)
    await send(sender, [{"topic": topic, "partition": p, "value": b"after"} for p in range(2)])
    await earliest.count(t, 4)
    equal([record.value for record in await latest.count(t, 2)], [b"after", b"after"])


@case
async def commit_and_resume(t):
    topic, group = t.topic(), t.group()
    await create_topic(t, topic)
    await send(await producer(t), numbered(topic, 20))
    first = await join(t, [topic], group, enable_auto_commit=False)
    await first.count(t, 20)
    place = TopicPartition(topic, 0)
    await first.consumer.commit({place: OffsetAndMetadata(10, "half way")})
    equal(await first.consumer.committed(place), 10)
    await first.stop()
    second = await join(t, [topic], group)
    equal(offsets(await second.count(t, 10)), list(range(10, 20)))


@case
async def manual_commits(t):
    topic, group = t.topic(), t.group()
    control = await create_topic(t, topic, 2)
    await send(await producer(t), [{"topic": topic, "partition": n % 2, "value": b"v"} for n in range(10)])
    member = await join(t, [topic], group, enable_auto_commit=False)
    await member.count(t, 10)
    equal(await committed(control, group, topic, 2), 0)
    await member.consumer.commit()
    equal(await committed(control, group, topic, 2), 10)
    await member.consumer.commit({TopicPartition(topic, 0): 2, TopicPartition(topic, 1): 3})
    equal(await committed(control, group, topic, 2), 5)


@case
async def automatic_commit(t):
    topic, group = t.topic(), t.group()
    control = await create_topic(t, topic, 3)
    await send(await producer(t), numbered(topic, 30))
    member = await join(t, [topic], group, auto_commit_interval_ms=100)
    await member.count(t, 30)

    async def all_of_it():
        return await committed(control, group, topic, 3) == 30

    await t.until_async("the automatic commit", all_of_it)


@case
async def automatic_commit_at_stop(t):
    topic, group = t.topic(), t.group()
    control = await create_topic(t, topic)
    await send(await producer(t), numbered(topic, 10))
    member = await join(t, [topic], group)
    await member.count(t, 10)
    await member.stop()
    equal(await committed(control, group, topic, 1), 10)


@case
async def seek_to_offset(t):
    topic = t.topic()
    await create_topic(t, topic)
    await send(await producer(t), numbered(topic, 20))
    member = await join(t, [topic], t.group())
    await member.count(t, 20)
    place = TopicPartition(topic, 0)
    member.consumer.seek(place, 15)
    await member.count(t, 25)
    equal(offsets(member.records[20:]), [15, 16, 17, 18, 19])
    await member.consumer.seek_to_beginning(place)
    await member.count(t, 45)
    await member.consumer.seek_to_end(place)
    equal(await member.consumer.position(place), 20)


@case
async def seek_to_time(t):
    topic = t.topic()
    await create_topic(t, topic)
    base = int(time.time() * 1000) - 3_600_000
    stamped = [{"topic": topic, "value": b"v", "timestamp_ms": base + n * 1000} for n in range(9)]
    await send(await producer(t), stamped)
    member = await join(t, [topic], t.group())
    await member.count(t, 9)
    place = TopicPartition(topic, 0)

    async def at(when):
        found = (await member.consumer.offsets_for_times({place: when}))[place]
        return found and (found.offset, found.timestamp - base)

    equal([await at(base - 1), await at(base + 4000), await at(base + 4001)], [(0, 0), (4, 4000), (5, 5000)])
    equal(await at(base + 8001), None, "after the last record")
    member.consumer.seek(place, (await at(base + 6000))[0])
    await member.count(t, 12)
    equal(offsets(member.records[9:]), [6, 7, 8])


@case
async def beginning_and_end_offsets(t):
    topic = t.topic()
    await create_topic(t, topic, 2)
    await send(await producer(t), [{"topic": topic, "partition": 0, "value": b"v"}] * 7)
    member = await join(t, [topic], t.group())
    places = [TopicPartition(topic, partition) for partition in range(2)]
    equal(await member.consumer.beginning_offsets(places), dict.fromkeys(places, 0))
    equal(await member.consumer.end_offsets(places), {places[0]: 7, places[1]: 0})


@case
async def out_of_range_goes_to_the_start(t):
    topic, group = t.topic(), t.group()
    await create_topic(t, topic)
    await send(await producer(t), numbered(topic, 4))
    first = await join(t, [topic], group, enable_auto_commit=False)
    await first.count(t, 4)
    await first.consumer.commit({TopicPartition(topic, 0): 1000})
    await first.stop()
    second = await join(t, [topic], group)
    equal(offsets(await second.count(t, 4)), [0, 1, 2, 3])


@case
async def pause_and_resume(t):
    topic = t.topic()
    await create_topic(t, topic, 2)
    member = await join(t, [topic], t.group())
    await t.until_async("both partitions", lambda: len(member.owned) == 2)
    member.consumer.pause(TopicPartition(topic, 0))
    sender = await producer(t)
    await send(sender, [{"topic": topic, "partition": p, "value": b"%d" % p} for p in range(2)])
    equal([record.partition for record in await member.count(t, 1)], [1])
    member.consumer.resume(TopicPartition(topic, 0))
    await member.count(t, 2)


@case
async def wake_up_of_a_waiting_fetch(t):
    topic = t.topic()
    await create_topic(t, topic)
    sender = await producer(t)
    member = await join(t, [topic], t.group(), fetch_max_wait_ms=5000)
    await sender.send_and_wait(topic, b"first")
    await member.count(t, 1)
    latencies = []
    for n in range(2, 7):
        began = time.monotonic()
        await sender.send_and_wait(topic, b"%d" % n)
        await member.count(t, n)
        latencies.append((time.monotonic() - began) * 1000)
    t.note(f"slowest of five {max(latencies):.1f} ms with the send, fetches wait 5000 ms")
    assert max(latencies) < 1500, f"a fetch was woken after {max(latencies):.0f} ms"


@case
async def one_group_two_topics(t):
    topics = [t.topic("a"), t.topic("b")]
    for topic in topics:
        await create_topic(t, topic, 2)
    member = await join(t, topics, t.group())
    sender = await producer(t)
    for topic in topics:
        await send(sender, numbered(topic, 10))
    await member.count(t, 20)
    for topic in topics:
        equal(len([record for record in member.records if record.topic == topic]), 10)


@case
async def auto_create_on_subscribe(t):
    topic = t.topic()
    member = await join(t, [topic], t.group(), metadata_max_age_ms=300)
    await t.until_async("the topic to be owned", lambda: member.owned)
    await (await producer(t)).send_and_wait(topic, b"late")
    await member.count(t, 1)


@case
async def every_group_gets_everything(t):
    topic = t.topic()
    await create_topic(t, topic, 3)
    names = ["payment", "notify", "analytics", "audit"]
    members = [await join(t, [topic], t.group(name)) for name in names]
    await send(await producer(t), numbered(topic, 30))
    for member in members:
        await member.count(t, 30)


@case
async def different_subscriptions_in_one_group(t):
    topics = [t.topic("a"), t.topic("b"), t.topic("c")]
    for topic in topics:
        await create_topic(t, topic, 3)
    members = [await join(t, [topic], t.group()) for topic in topics]
    wanted = [{TopicPartition(topic, p) for p in range(3)} for topic in topics]
    await t.until_async("each to own its own topic", lambda: [m.owned for m in members] == wanted)
    sender = await producer(t)
    for topic in topics:
        await send(sender, [{"topic": topic, "partition": p, "value": b"v"} for p in range(3)])
    for member, topic in zip(members, topics, strict=True):
        equal({record.topic for record in await member.count(t, 3)}, {topic})


async def rebalance(t, **more):
    topic, group = t.topic(), t.group()
    control = await create_topic(t, topic, PARTITIONS)
    sender = await producer(t)
    more = {"auto_commit_interval_ms": 100, **more}
    members = [await join(t, [topic], group, **more)]
    sent = 0

    async def one_round():
        nonlocal sent
        places = [{"topic": topic, "partition": n % PARTITIONS, "value": b"v"} for n in range(60)]
        await send(sender, places)
        sent += len(places)
        seen = lambda: [(r.partition, r.offset) for member in members for r in member.records]
        await t.until_async(f"{sent} records to be seen", lambda: len(seen()) >= sent)

        async def settled():
            return await committed(control, group, topic, PARTITIONS) == sent

        await t.until_async(f"{sent} to be committed", settled)
        equal((len(set(seen())), len(seen())), (sent, sent), "every record is seen once")

    owned = lambda: [len(member.owned) for member in members if not member.closed]
    await t.until_async("the first to own all", lambda: owned() == [6])
    await one_round()
    members.append(await join(t, [topic], group, **more))
    await t.until_async("both to own half", lambda: owned() == [3, 3])
    assert not members[0].owned & members[1].owned, "a partition has one owner"
    await one_round()
    await members[1].stop()
    await t.until_async("the first to own all again", lambda: owned() == [6])
    await one_round()


@case
async def rebalance_of_two(t):
    await rebalance(t)


@case
async def rebalance_of_two_range(t):
    await rebalance(t, partition_assignment_strategy=[RangePartitionAssignor])


@case
async def rebalance_of_two_sticky(t):
    await rebalance(t, partition_assignment_strategy=[StickyPartitionAssignor])


@case
async def read_committed_and_uncommitted(t):
    topic = t.topic()
    await create_topic(t, topic)
    await send(await producer(t), numbered(topic, 5))
    for level in ["read_committed", "read_uncommitted"]:
        equal(offsets(await read_all(t, topic, 5, isolation_level=level)), [0, 1, 2, 3, 4])
