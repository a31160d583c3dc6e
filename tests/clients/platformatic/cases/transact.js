'use strict'
// Transactions: commit, abort, offsets of a group, fencing.

const { assert, test } = require('../../common/harness')
const {
  committed,
  createTopic,
  numbered,
  producer,
  readAll,
  record,
  refused,
  subscribe,
} = require('../client')

const UNCOMMITTED = 0

/** Without an id of its own it says that it is producer 0, which fails from the second one on. */
const NOBODY = { producerId: -1n, producerEpoch: -1 }
const transactional = t =>
  producer(t, { transactionalId: t.topic('txn'), idempotent: true, ...NOBODY })

const values = records => records.map(({ value }) => value)
const spelled = (first, end) => Array.from({ length: end - first }, (_, n) => `value-${first + n}`)

function transact(transaction, topic, first, end, partition = 0) {
  return transaction.send({ messages: numbered(topic, end, { partition }).slice(first), acks: -1 })
}

/** A whole transaction with these records. */
async function whole(sender, topic, first, end) {
  const transaction = await sender.beginTransaction()
  await transact(transaction, topic, first, end)
  await transaction.commit()
}

const plain = (t, topic, value, partition = 0) =>
  producer(t).send({ messages: [record({ topic, value, partition })], acks: -1 })

/** A reader finds exactly these, and then a record that is sent to end the reading. */
async function readsCommitted(t, topic, want, partitions = 1) {
  for (let partition = 0; partition < partitions; partition += 1) await plain(t, topic, 'last', partition)
  const records = await readAll(t, topic, want.length + partitions)
  assert.deepEqual(values(records).sort(), [...want, ...Array(partitions).fill('last')].sort())
  return records
}

async function uncommitted(t, topic, count) {
  const groupId = `${topic}-uncommitted`
  const options = { autocommit: false, isolationLevel: UNCOMMITTED }
  const member = await subscribe(t, { topics: [topic], groupId, mode: 'earliest', options })
  return values(await member.count(count)).slice(0, count)
}

test('txn-commit', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 3)
  const transaction = await transactional(t).beginTransaction()
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
  const sender = transactional(t)
  const transaction = await sender.beginTransaction()
  await transact(transaction, topic, 0, 3)
  await plain(t, topic, 'plain')
  await transaction.abort()
  await whole(sender, topic, 3, 6)
  await readsCommitted(t, topic, ['plain', ...spelled(3, 6)])
  assert.deepEqual(await uncommitted(t, topic, 7), [...spelled(0, 3), 'plain', ...spelled(3, 6)])
})

test('txn-offsets', async t => {
  const [source, out, groupId] = [t.topic('in'), t.topic('out'), t.group()]
  const control = await createTopic(t, source, 1)
  await createTopic(t, out, 1)
  await producer(t).send({ messages: numbered(source, 10), acks: -1 })
  const options = { autocommit: false }
  const member = await subscribe(t, { topics: [source], groupId, options })
  await member.count(10)
  const sender = transactional(t)
  const attempt = async (first, end) => {
    const transaction = await sender.beginTransaction()
    await transact(transaction, out, first, end)
    await transaction.addConsumer(member.consumer)
    await transaction.addOffset(member.last)
    return transaction
  }
  await (await attempt(5, 10)).abort()
  await (await attempt(0, 5)).commit()
  await t.until('the committed offset', async () => (await committed(control, groupId, source)) === 10)
  await readsCommitted(t, out, spelled(0, 5))
})

test('txn-zombie', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const first = await transactional(t).beginTransaction()
  await transact(first, topic, 0, 2)
  const second = transactional(t)
  await whole(second, topic, 2, 4)
  await refused('PRODUCER_FENCED', first.commit())
  await readsCommitted(t, topic, spelled(2, 4))
})
