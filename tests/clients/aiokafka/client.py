"""aiokafka as the cases use it: its defaults but for short heartbeats, so that a rebalance is
seen soon."""

import asyncio
import logging

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code
from harness import BOOTSTRAP, ON_KAFKA, RUN_ID, VERBOSE

logging.basicConfig(level=logging.INFO if VERBOSE else logging.CRITICAL)


async def admin(t):
    control = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await control.start()
    t.defer(control.close)
    return control


async def producer(t, acks="all", **more):
    """With acks=all what is acknowledged is below the high watermark; aiokafka's default is 1."""
    sender = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, client_id="ottla-aiokafka", acks=acks, **more)
    await sender.start()
    t.defer(sender.stop)
    return sender


def checked(response):
    """The admin client hands on raw answers; raises the first error in one."""
    for entry in getattr(response, "topic_errors", None) or getattr(response, "topic_error_codes", []):
        if entry[1]:
            raise for_code(entry[1])(str(entry))
    for entry in getattr(response, "resources", []):
        if entry[0]:
            raise for_code(entry[0])(str(entry[1]))
    return response


async def create_topic(t, topic, partitions=1, config=None):
    control = await admin(t)
    checked(await control.create_topics([NewTopic(topic, partitions, 1, topic_configs=config or {})]))
    if ON_KAFKA:
        await t.until_async(f"leaders of {topic}", lambda: has_leaders(control, topic, partitions))
    return control


async def has_leaders(control, topic, partitions):
    [found] = await control.describe_topics([topic])
    return len(found["partitions"]) == partitions and all(p["leader"] >= 0 for p in found["partitions"])


async def send(sender, records):
    """Sends all and waits for all acknowledgements."""
    futures = [await sender.send(record.pop("topic"), **record) for record in map(dict, records)]
    return await asyncio.gather(*futures)


def numbered(topic, count, **more):
    return [
        {"topic": topic, "key": f"key-{n}".encode(), "value": f"value-{n}".encode(), **more}
        for n in range(count)
    ]


class Member(ConsumerRebalanceListener):
    """A consumer in a group, polled by a task of its own: what it got and what it owns."""

    def __init__(self, topics, group, **more):
        options = {"auto_offset_reset": "earliest", "heartbeat_interval_ms": 200, "session_timeout_ms": 6000}
        options.update(more)
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=BOOTSTRAP, client_id="ottla-aiokafka", group_id=group, **options
        )
        self.topics = topics
        self.records = []
        self.owned = set()
        self.task = None
        self.closed = False

    async def start(self, t):
        t.defer(self.stop)
        self.consumer.subscribe(self.topics, listener=self)
        await self.consumer.start()
        self.task = asyncio.create_task(self._poll())
        return self

    async def _poll(self):
        async for record in self.consumer:
            self.records.append(record)

    async def on_partitions_assigned(self, assigned):
        self.owned = set(assigned)

    async def on_partitions_revoked(self, revoked):
        self.owned -= set(revoked)

    async def count(self, t, n):
        await t.until_async(f"{n} records", lambda: self._failed() or len(self.records) >= n)
        return self.records

    def _failed(self):
        """Raises what ended the polling, if something did."""
        if self.task.done() and not self.closed:
            self.task.result()
        return False

    async def pause_polling(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def resume_polling(self):
        self.task = asyncio.create_task(self._poll())

    async def stop(self):
        if not self.closed:
            self.closed = True
            if self.task:
                self.task.cancel()
            await self.consumer.stop()


async def join(t, topics, group, **more):
    return await Member(topics, group, **more).start(t)


async def read_all(t, topic, count, partitions=1, **more):
    """Reads `count` records of a topic from its beginning, without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=BOOTSTRAP, enable_auto_commit=False, auto_offset_reset="earliest", **more
    )
    await consumer.start()
    t.defer(consumer.stop)
    consumer.assign([TopicPartition(topic, partition) for partition in range(partitions)])
    records = []

    async def enough():
        for batch in (await consumer.getmany(timeout_ms=100)).values():
            records.extend(batch)
        return len(records) >= count

    await t.until_async(f"{count} records of {topic}", enough)
    return records


async def committed(control, group, topic, partitions):
    """Sum of a group's committed offsets of a topic; -1 (none) counts as 0."""
    asked = [TopicPartition(topic, partition) for partition in range(partitions)]
    found = await control.list_consumer_group_offsets(group, partitions=asked)
    return sum(max(0, position.offset) for position in found.values())


async def refused(kind, awaitable):
    """Awaits; the error must be of `kind`."""
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def remove_all():
    """Removes the run's topics; aiokafka has no call that removes groups."""

    async def remove():
        control = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await control.start()
        topics = [name for name in await control.list_topics() if name.startswith(RUN_ID)]
        if topics:
            await control.delete_topics(topics)
        await control.close()

    asyncio.run(remove())
