'use strict'
// Transactions: commit, abort, offsets of a group, fencing, timeouts.

const { assert, test } = require('../../common/harness')
const { committed, createTopic, numbered, producer, subscribe } = require('../client')

const transactional = (t, options = {}) =>
  producer(t, { transactionalId: t.topic('txn'), idempotent: true, maxInFlightRequests: 1, ...options })

const values = records => records.map(({ value }) => value)
const spelled = (first, end) => values(numbered(end).slice(first))

async function transact(transaction, topic, first, end, partition = 0) {
  const messages = numbered(end, { partition }).slice(first)
  await transaction.send({ topic, acks: -1, messages })
}

/** A whole transaction with these records. */
async function whole(sender, topic, first, end) {
  const transaction = await sender.transaction()
  await transact(transaction, topic, first, end)
  await transaction.commit()
}

const plain = async (t, topic, value, partition = 0) =>
  (await producer(t)).send({ topic, messages: [{ value, partition }] })

/** A reader finds exactly these, and then a record that is sent to end the reading. */
async function readsCommitted(t, topic, want, partitions = 1) {
  for (let partition = 0; partition < partitions; partition += 1) await plain(t, topic, 'last', partition)
  const member = await subscribe(t, { topics: [topic], groupId: `${topic}-committed` })
  const records = await member.count(want.length + partitions)
  assert.deepEqual(values(records).sort(), [...want, ...Array(partitions).fill('last')].sort())
  return records
}

async function uncommitted(t, topic, count) {
  const groupId = `${topic}-uncommitted`
  const member = await subscribe(t, { topics: [topic], groupId, readUncommitted: true })
  return values(await member.count(count))
}

const refused = (type, promise) =>
  assert.rejects(promise, error => {
    assert.equal(error.type || error.cause?.type, type, error.message)
    return true
  })

test('txn-commit', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 3)
  const transaction = await (await transactional(t)).transaction()
  for (let partition = 0; partition < 3; partition += 1) {
    await transact(transaction, topic, 5 * partition, 5 * partition + 5, partition)
  }
  assert.deepEqual((await uncommitted(t, topic, 15)).sort(), spelled(0, 15).sort())
  await transaction.commit()
  await readsCommitted(t, topic, spelled(0, 15), 3)
})

test('txn-abort', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await transactional(t)
  for (let n = 0; n < 4; n += 1) {
    const transaction = await sender.transaction()
    await transact(transaction, topic, 3 * n, 3 * n + 3)
    await plain(t, topic, `plain-${n}`)
    await (n % 2 ? transaction.commit() : transaction.abort())
  }
  const others = Array.from({ length: 4 }, (_, n) => `plain-${n}`)
  await readsCommitted(t, topic, [...spelled(3, 6), ...spelled(9, 12), ...others])
  const everything = await uncommitted(t, topic, 17)
  assert.deepEqual(everything.filter(value => value.startsWith('value')), spelled(0, 12))
})

test('txn-empty', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await transactional(t)
  for (let n = 0; n < 20; n += 1) {
    const transaction = await sender.transaction()
    await (n % 2 ? transaction.commit() : transaction.abort()) // kafkajs asks nobody for these.
  }
  await whole(sender, topic, 0, 1)
  const [first] = await readsCommitted(t, topic, spelled(0, 1))
  assert.equal(first.offset, 0)
})

test('txn-offsets', async t => {
  const [source, out, groupId] = [t.topic('in'), t.topic('out'), t.group()]
  const control = await createTopic(t, source, 1)
  await createTopic(t, out, 1)
  await (await producer(t)).send({ topic: source, messages: numbered(10) })
  const run = { autoCommit: false }
  const member = await subscribe(t, { topics: [source], groupId, run })
  await member.count(10)
  const sender = await transactional(t)
  const attempt = async (first, end) => {
    const transaction = await sender.transaction()
    await transact(transaction, out, first, end)
    const partitions = [{ partition: 0, offset: String(end) }]
    await transaction.sendOffsets({ consumerGroupId: groupId, topics: [{ topic: source, partitions }] })
    assert.equal(await committed(control, groupId, source), 0)
    return transaction
  }
  await (await attempt(5, 10)).abort()
  assert.equal(await committed(control, groupId, source), 0)
  await (await attempt(0, 5)).commit()
  await t.until('the committed offset', async () => (await committed(control, groupId, source)) === 5)
  await readsCommitted(t, out, spelled(0, 5))
  await member.consumer.disconnect()
  const again = await subscribe(t, { topics: [source], groupId, run })
  assert.deepEqual(values(await again.count(5)), spelled(5, 10))
})

test('txn-zombie', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const first = await (await transactional(t)).transaction()
  await transact(first, topic, 0, 2)
  const second = await (await transactional(t)).transaction()
  await refused('INVALID_PRODUCER_EPOCH', first.commit())
  await transact(second, topic, 2, 4)
  const third = await transactional(t)
  await whole(third, topic, 4, 6)
  await refused('INVALID_PRODUCER_EPOCH', transact(second, topic, 6, 7))
  await readsCommitted(t, topic, spelled(4, 6))
})

test('txn-timeout', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const late = await (await transactional(t, { transactionTimeout: 1000 })).transaction()
  await transact(late, topic, 0, 2)
  await plain(t, topic, 'plain')
  // Held back by what is open before it, until the broker ends that.
  const member = await subscribe(t, { topics: [topic], groupId: t.group() })
  assert.deepEqual(values(await member.count(1)), ['plain'])
  await refused('INVALID_PRODUCER_EPOCH', late.commit())
  await whole(await transactional(t), topic, 2, 4)
  await readsCommitted(t, topic, ['plain', ...spelled(2, 4)])
})
