"""The order saga of the reference documents: commands and domain events with metadata, gzip and
acks=all, one consumer service for each of order, inventory, payment and shipping, compensation
when the payment fails."""

import asyncio
import json
import os
import time
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from client import create_topic
from harness import BOOTSTRAP, RUN_ID, case, equal

PREFIX = os.environ.get("SEED_PREFIX", f"{RUN_ID}.")
SERVICES = ["order", "inventory", "payment", "shipping"]


class KafkaClient:
    """The documents' settings: batches of 16 KiB, 10 ms linger, gzip, acks=all, 30 s sessions."""

    def __init__(self, service, prefix):
        self.service = service
        self.prefix = prefix
        self.event_store = []
        self.producer = AIOKafkaProducer(
            bootstrap_servers=BOOTSTRAP,
            client_id=service,
            acks="all",
            compression_type="gzip",
            enable_idempotence=True,
            max_batch_size=16384,
            linger_ms=10,
            value_serializer=lambda value: json.dumps(value).encode(),
            key_serializer=str.encode,
        )
        self.consumers = []
        self.tasks = []

    async def start(self, t):
        t.defer(self.stop)
        await self.producer.start()
        return self

    async def send_command(self, to, command, payload, saga_id):
        message = {
            "command": command,
            "payload": payload,
            "saga_id": saga_id,
            "correlation_id": str(uuid.uuid4()),
            "source_service": self.service,
            "timestamp": time.time(),
        }
        headers = [("saga-id", saga_id.encode()), ("correlation-id", message["correlation_id"].encode())]
        await self.producer.send_and_wait(
            f"{self.prefix}{to}_commands", message, key=saga_id, headers=headers
        )

    async def publish_event(self, event_type, aggregate_id, event_data):
        event = {
            "event_type": event_type,
            "aggregate_id": aggregate_id,
            "aggregate_type": self.service,
            "event_data": event_data,
            "event_version": 1,
            "occurred_at": time.time(),
        }
        self.event_store.append(event)
        await self.producer.send_and_wait(
            f"{self.prefix}{self.service}_domain_events", event, key=aggregate_id
        )

    async def consume(self, topics, group, handle):
        consumer = AIOKafkaConsumer(
            *[self.prefix + topic for topic in topics],
            bootstrap_servers=BOOTSTRAP,
            group_id=self.prefix + group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=30_000,
            max_poll_records=500,
            value_deserializer=json.loads,
        )
        self.consumers.append(consumer)
        await consumer.start()

        async def run():
            async for record in consumer:
                await handle(record)
                await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})

        self.tasks.append(asyncio.create_task(run()))

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*(consumer.stop() for consumer in self.consumers), self.producer.stop())


class Service:
    """Base consumer: does a command once, by its correlation id, and tells what happened."""

    DONE = {
        "create_order": "order_created",
        "cancel_order": "order_cancelled",
        "reserve_inventory": "inventory_reserved",
        "release_inventory": "inventory_released",
        "process_payment": "payment_completed",
        "create_shipping": "shipping_created",
    }

    def __init__(self, name, prefix):
        self.kafka = KafkaClient(name, prefix)
        self.name = name
        self.seen = set()

    async def start(self, t):
        await self.kafka.start(t)
        await self.kafka.consume([f"{self.name}_commands"], f"{self.name}-service", self.handle)

    async def handle(self, record):
        message = record.value
        if message["correlation_id"] in self.seen:
            return
        self.seen.add(message["correlation_id"])
        assert dict(record.headers)["saga-id"] == message["saga_id"].encode()
        event = self.DONE[message["command"]]
        if event == "payment_completed" and message["payload"]["total_amount"] > 1000:
            event = "payment_failed"
        await self.kafka.publish_event(event, message["saga_id"], message["payload"])


class Coordinator:
    """Follows the domain events and sends the next command of each saga, or its compensation."""

    NEXT = {
        "order_created": ("inventory", "reserve_inventory"),
        "inventory_reserved": ("payment", "process_payment"),
        "payment_completed": ("shipping", "create_shipping"),
        "payment_failed": ("inventory", "release_inventory"),
        "inventory_released": ("order", "cancel_order"),
    }
    END = {"shipping_created": "saga_completed", "order_cancelled": "saga_compensated"}

    def __init__(self, prefix):
        self.kafka = KafkaClient("saga", prefix)
        self.flow = {}

    async def start(self, t):
        await self.kafka.start(t)
        topics = [f"{name}_domain_events" for name in SERVICES]
        await self.kafka.consume(topics, "saga-coordinator", self.handle)

    async def order(self, saga_id, amount):
        payload = {"customer_id": "customer-123", "items": [{"product_id": "prod-1", "quantity": 2}]}
        await self.kafka.send_command("order", "create_order", {**payload, "total_amount": amount}, saga_id)

    async def handle(self, record):
        event, saga_id = record.value["event_type"], record.value["aggregate_id"]
        equal(record.key, saga_id.encode())
        self.flow.setdefault(saga_id, []).append(event)
        if event in self.NEXT:
            to, command = self.NEXT[event]
            await self.kafka.send_command(to, command, record.value["event_data"], saga_id)
        else:
            self.flow[saga_id].append(self.END[event])
            await self.kafka.publish_event(self.END[event], saga_id, record.value["event_data"])


@case
async def seed_order_saga(t):
    for name in [*SERVICES, "saga"]:
        await create_topic(t, f"{PREFIX}{name}_domain_events", 3)
        if name != "saga":
            await create_topic(t, f"{PREFIX}{name}_commands", 3)
    for name in SERVICES:
        await Service(name, PREFIX).start(t)
    coordinator = Coordinator(PREFIX)
    await coordinator.start(t)
    amounts = {f"saga-{n}": 2000 if n % 4 == 3 else 100 for n in range(8)}
    began = time.monotonic()
    for saga_id, amount in amounts.items():
        await coordinator.order(saga_id, amount)
    finished = lambda: [flow for flow in coordinator.flow.values() if flow[-1].startswith("saga_")]
    await t.until_async("eight sagas to end", lambda: len(finished()) == len(amounts))
    t.note(f"eight sagas in {time.monotonic() - began:.2f} s")
    happy = ["order_created", "inventory_reserved", "payment_completed", "shipping_created", "saga_completed"]
    sad = ["order_created", "inventory_reserved", "payment_failed", "inventory_released"]
    sad += ["order_cancelled", "saga_compensated"]
    for saga_id, amount in amounts.items():
        equal(coordinator.flow[saga_id], sad if amount > 1000 else happy)


@case
async def seed_event_replay(t):
    """Domain events are read again from a point in time, as the documents' replay does."""
    topic = f"{PREFIX}replay.order_domain_events"
    await create_topic(t, topic)
    kafka = await KafkaClient("replay.order", PREFIX).start(t)
    for n in range(5):
        await kafka.publish_event("order_created", f"order-{n}", {"n": n})
    consumer = AIOKafkaConsumer(bootstrap_servers=BOOTSTRAP, value_deserializer=json.loads)
    await consumer.start()
    t.defer(consumer.stop)
    place = TopicPartition(topic, 0)
    consumer.assign([place])
    consumer.seek(place, 0)
    stamps = [(await consumer.getone()).timestamp for _ in range(5)]
    found = (await consumer.offsets_for_times({place: stamps[3]}))[place]
    equal(found.offset, stamps.index(stamps[3]))
    consumer.seek(place, found.offset)
    replayed = [(await consumer.getone()).value for _ in range(5 - found.offset)]
    equal([event["event_data"]["n"] for event in replayed], list(range(found.offset, 5)))
    equal([event["event_data"] for event in kafka.event_store], [{"n": n} for n in range(5)])
