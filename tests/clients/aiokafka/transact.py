"""Transactions: commit, abort, offsets of a group, fencing, timeouts."""

from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced
from client import committed, create_topic, join, numbered, producer, read_all, refused, send
from harness import case, equal


async def transactional(t, label="", **more):
    return await producer(t, transactional_id=t.topic("txn" + label), **more)


def values(records):
    return [record.value.decode() for record in records]


def spelled(first, end):
    return [f"value-{n}" for n in range(first, end)]


async def transact(sender, topic, first, end, partition=0):
    """Sends in the transaction that is open."""
    await send(sender, numbered(topic, end, partition=partition)[first:])


async def reads_committed(t, topic, want, partitions=1):
    """A reader finds exactly these, and then a record that is sent to end the reading."""
    sender = await producer(t)
    for partition in range(partitions):
        await sender.send_and_wait(topic, b"last", partition=partition)
    count = len(want) + partitions
    got = await read_all(t, topic, count, partitions, isolation_level="read_committed")
    equal(sorted(values(got)), sorted(want + ["last"] * partitions))
    return got


@case
async def txn_commit(t):
    topic = t.topic()
    await create_topic(t, topic, 3)
    sender = await transactional(t)
    await sender.begin_transaction()
    for partition in range(3):
        await transact(sender, topic, 5 * partition, 5 * partition + 5, partition)
    equal(sorted(values(await read_all(t, topic, 15, 3))), sorted(spelled(0, 15)))
    await sender.commit_transaction()
    await reads_committed(t, topic, spelled(0, 15), 3)


@case
async def txn_abort(t):
    topic = t.topic()
    await create_topic(t, topic)
    sender, other = await transactional(t), await producer(t)
    for n in range(4):
        await sender.begin_transaction()
        await transact(sender, topic, 3 * n, 3 * n + 3)
        await other.send_and_wait(topic, b"plain-%d" % n)
        await (sender.commit_transaction() if n % 2 else sender.abort_transaction())
    plain = [f"plain-{n}" for n in range(4)]
    await reads_committed(t, topic, spelled(3, 6) + spelled(9, 12) + plain)
    everything = values(await read_all(t, topic, 17))
    equal([value for value in everything if value.startswith("value")], spelled(0, 12))


@case
async def txn_empty(t):
    topic = t.topic()
    await create_topic(t, topic)
    sender = await transactional(t)
    for _ in range(10):
        async with sender.transaction():
            pass
        await sender.begin_transaction()
        await sender.abort_transaction()
    async with sender.transaction():
        await transact(sender, topic, 0, 1)
    got = await reads_committed(t, topic, spelled(0, 1))
    equal(got[0].offset, 0)


@case
async def txn_offsets(t):
    """Consume, transform, produce: offsets are there with the commit and not before."""
    source, out, group = t.topic("in"), t.topic("out"), t.group()
    control = await create_topic(t, source)
    await create_topic(t, out)
    await send(await producer(t), numbered(source, 10))
    member = await join(t, [source], group, enable_auto_commit=False, isolation_level="read_committed")
    await member.count(t, 10)
    sender, place = await transactional(t), TopicPartition(source, 0)
    await sender.begin_transaction()
    await transact(sender, out, 5, 10)
    await sender.send_offsets_to_transaction({place: 10}, group)
    await sender.abort_transaction()
    equal(await committed(control, group, source, 1), 0)
    await sender.begin_transaction()
    await transact(sender, out, 0, 5)
    await sender.send_offsets_to_transaction({place: 5}, group)
    equal(await committed(control, group, source, 1), 0)
    await sender.commit_transaction()
    await t.until_async("the committed offset", lambda: is_committed(control, group, source, 5))
    await reads_committed(t, out, spelled(0, 5))
    await member.stop()
    again = await join(t, [source], group)
    equal(values(await again.count(t, 5)), spelled(5, 10))


async def is_committed(control, group, topic, offset):
    return await committed(control, group, topic, 1) == offset


@case
async def txn_zombie(t):
    topic = t.topic()
    await create_topic(t, topic)
    first = await transactional(t)
    await first.begin_transaction()
    await transact(first, topic, 0, 2)
    second = await transactional(t)
    await refused(ProducerFenced, first.commit_transaction())
    await second.begin_transaction()
    await transact(second, topic, 2, 4)
    third = await transactional(t)
    await refused(ProducerFenced, second.send_and_wait(topic, b"late"))
    async with third.transaction():
        await transact(third, topic, 4, 6)
    await reads_committed(t, topic, spelled(4, 6))


@case
async def txn_timeout(t):
    topic = t.topic()
    await create_topic(t, topic)
    sender = await transactional(t, transaction_timeout_ms=1000)
    await sender.begin_transaction()
    await transact(sender, topic, 0, 2)
    control = await producer(t)
    await control.send_and_wait(topic, b"plain")
    # Held back by what is open before it, until the broker ends that.
    got = await read_all(t, topic, 1, isolation_level="read_committed")
    equal(values(got), ["plain"])
    await refused(ProducerFenced, sender.commit_transaction())
    again = await transactional(t)
    async with again.transaction():
        await transact(again, topic, 2, 4)
    await reads_committed(t, topic, ["plain"] + spelled(2, 4))
