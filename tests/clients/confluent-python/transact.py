"""Transactions: commit, abort, offsets of a group, fencing, timeouts, and what a restart leaves."""

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from client import TIMEOUT_S, Member, code_of, committed, create_topic, numbered, producer, read_all, send
from harness import RUN_ID, case, equal, raises

TOPIC = f"{RUN_ID}-transactions"


def transactional(t, label="", **more):
    return begun(t.topic("txn" + label), **more)


def begun(transactional_id, **more):
    sender = producer(transactional_id=transactional_id, **more)
    sender.init_transactions(TIMEOUT_S)
    return sender


def values(records):
    return [record.value().decode() for record in records]


def spelled(first, end):
    return [f"value-{n}" for n in range(first, end)]


def transact(sender, topic, first, end, partition=0):
    """Sends in the transaction that is open."""
    send(sender, numbered(topic, end, partition=partition)[first:])


def whole(sender, topic, first, end):
    """A transaction with these records."""
    sender.begin_transaction()
    transact(sender, topic, first, end)
    sender.commit_transaction(TIMEOUT_S)


def reads_committed(t, topic, want, partitions=1):
    """A reader finds exactly these, and then a record that is sent to end the reading."""
    send(producer(), [{"topic": topic, "value": "last", "partition": p} for p in range(partitions)])
    got = read_all(t, topic, len(want) + partitions, partitions, isolation_level="read_committed")
    equal(sorted(values(got)), sorted(want + ["last"] * partitions))
    return got


def uncommitted(t, topic, count, partitions=1):
    return values(read_all(t, topic, count, partitions, isolation_level="read_uncommitted"))


@case
def txn_commit(t):
    topic = t.topic()
    create_topic(t, topic, 3)
    sender = transactional(t)
    sender.begin_transaction()
    for partition in range(3):
        transact(sender, topic, 5 * partition, 5 * partition + 5, partition)
    equal(sorted(uncommitted(t, topic, 15, 3)), sorted(spelled(0, 15)))
    sender.commit_transaction(TIMEOUT_S)
    reads_committed(t, topic, spelled(0, 15), 3)


@case
def txn_abort(t):
    topic = t.topic()
    create_topic(t, topic)
    sender, other = transactional(t), producer()
    for n in range(4):
        sender.begin_transaction()
        transact(sender, topic, 3 * n, 3 * n + 3)
        send(other, [{"topic": topic, "value": f"plain-{n}"}])
        if n % 2:
            sender.commit_transaction(TIMEOUT_S)
        else:
            sender.abort_transaction(TIMEOUT_S)
    plain = [f"plain-{n}" for n in range(4)]
    reads_committed(t, topic, spelled(3, 6) + spelled(9, 12) + plain)
    everything = uncommitted(t, topic, 17)
    equal([value for value in everything if value.startswith("value")], spelled(0, 12))


@case
def txn_empty(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = transactional(t)
    for _ in range(10):
        sender.begin_transaction()
        sender.commit_transaction(TIMEOUT_S)
        sender.begin_transaction()
        sender.abort_transaction(TIMEOUT_S)
    whole(sender, topic, 0, 1)
    equal(reads_committed(t, topic, spelled(0, 1))[0].offset(), 0)


@case
def txn_offsets(t):
    """Consume, transform, produce: offsets are there with the commit and not before."""
    source, out, group = t.topic("in"), t.topic("out"), t.group()
    create_topic(t, source)
    create_topic(t, out)
    send(producer(), numbered(source, 10))
    member = Member(t, [source], group, enable_auto_commit=False)
    member.count(t, 10)
    sender, metadata = transactional(t), member.consumer.consumer_group_metadata()

    def attempt(first, end):
        sender.begin_transaction()
        transact(sender, out, first, end)
        sender.send_offsets_to_transaction([TopicPartition(source, 0, end)], metadata, TIMEOUT_S)
        equal(committed(t, group, source, 1), 0)

    attempt(5, 10)
    sender.abort_transaction(TIMEOUT_S)
    equal(committed(t, group, source, 1), 0)
    attempt(0, 5)
    sender.commit_transaction(TIMEOUT_S)
    t.until("the committed offset", lambda: committed(t, group, source, 1) == 5)
    reads_committed(t, out, spelled(0, 5))
    member.close()
    again = Member(t, [source], group, enable_auto_commit=False)
    equal(values(again.count(t, 5)), spelled(5, 10))

    # The group has gone on since: what the first member says is refused, and only that.
    sender.begin_transaction()
    places = [TopicPartition(source, 0, 9)]
    refused = raises(
        KafkaException, lambda: sender.send_offsets_to_transaction(places, metadata, TIMEOUT_S)
    )
    assert refused.args[0].txn_requires_abort(), refused
    sender.abort_transaction(TIMEOUT_S)
    equal(committed(t, group, source, 1), 5)
    whole(sender, out, 5, 6)


def fenced(call):
    error = raises(KafkaException, call).args[0]
    assert error.fatal() and error.code() == KafkaError._FENCED, error


@case
def txn_zombie(t):
    topic = t.topic()
    create_topic(t, topic)
    first = transactional(t)
    first.begin_transaction()
    transact(first, topic, 0, 2)
    second = transactional(t)
    fenced(lambda: first.commit_transaction(TIMEOUT_S))
    second.begin_transaction()
    transact(second, topic, 2, 4)
    third = transactional(t)
    second.produce(topic, value="late")
    fenced(lambda: second.commit_transaction(TIMEOUT_S))
    whole(third, topic, 4, 6)
    reads_committed(t, topic, spelled(4, 6))


@case
def txn_timeout(t):
    topic = t.topic()
    create_topic(t, topic)
    sender = transactional(t, transaction_timeout_ms=1000, message_timeout_ms=1000)
    sender.begin_transaction()
    transact(sender, topic, 0, 2)
    send(producer(), [{"topic": topic, "value": "plain"}])
    # Held back by what is open before it, until the broker ends that.
    equal(values(read_all(t, topic, 1, isolation_level="read_committed")), ["plain"])
    fenced(lambda: sender.commit_transaction(TIMEOUT_S))
    whole(transactional(t), topic, 2, 4)
    reads_committed(t, topic, ["plain"] + spelled(2, 4))


@case
def txn_goes_on_after_a_refused_record(t):
    topic = t.topic()
    create_topic(t, topic, 1, {"max.message.bytes": "2000"})
    sender = transactional(t)
    for n in range(3):
        sender.begin_transaction()
        transact(sender, topic, 8, 10)
        sender.produce(topic, value="x" * 4000)
        error = raises(KafkaException, lambda: sender.commit_transaction(TIMEOUT_S)).args[0]
        assert error.txn_requires_abort(), error
        sender.abort_transaction(TIMEOUT_S)
        t.until("a commit", lambda: tried(sender, topic, n))
    reads_committed(t, topic, spelled(0, 3))


def tried(sender, topic, n):
    """After such an abort librdkafka at times throws away what is sent at once, too."""
    try:
        whole(sender, topic, n, n + 1)
    except KafkaException as error:
        equal(code_of(error), KafkaError._PURGE_QUEUE)
        sender.abort_transaction(TIMEOUT_S)
        return False
    return True


@case(phase="before")
def transactions_before(t):
    create_topic(t, TOPIC)
    sender = begun(TOPIC, transaction_timeout_ms=600_000)
    whole(sender, TOPIC, 0, 5)
    sender.begin_transaction()
    transact(sender, TOPIC, 5, 10)
    sender.abort_transaction(TIMEOUT_S)
    sender.begin_transaction()
    transact(sender, TOPIC, 10, 15)  # Left open: the process ends.
    equal(uncommitted(t, TOPIC, 15), spelled(0, 15))


@case(phase="after")
def transactions_after(t):
    equal(uncommitted(t, TOPIC, 15), spelled(0, 15))
    whole(begun(TOPIC), TOPIC, 15, 17)
    reads_committed(t, TOPIC, spelled(0, 5) + spelled(15, 17))
