'use strict'
// Consuming without a rebalance: positions, seeks, commits, wake-up.

const { assert, test } = require('../../common/harness')
const { committed, createTopic, numbered, plain, producer, subscribe } = require('../client')

test('earliest-and-latest', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 2)
  const sender = await producer(t)
  const inBoth = value => [0, 1].map(partition => ({ partition, value }))
  await sender.send({ topic, messages: inBoth('before') })
  const earliest = await subscribe(t, { topics: [topic], groupId: t.group('earliest') })
  const latest = await subscribe(t, { topics: [topic], groupId: t.group('latest'), fromBeginning: false })
  await latest.positioned()
  await sender.send({ topic, messages: inBoth('after') })
  await earliest.count(4)
  await latest.count(2)
  assert.deepEqual(
    latest.records.map(({ value }) => value),
    ['after', 'after']
  )
})

test('commit-and-resume', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(20) })
  const groupId = t.group()
  const first = await subscribe(t, { topics: [topic], groupId, run: { autoCommit: false } })
  await first.count(20)
  await first.consumer.commitOffsets([{ topic, partition: 0, offset: '10', metadata: 'half way' }])
  await first.consumer.disconnect()
  const [{ partitions }] = await control.fetchOffsets({ groupId, topics: [topic] })
  assert.deepEqual(
    partitions.map(({ offset, metadata }) => [offset, metadata]),
    [['10', 'half way']]
  )
  const second = await subscribe(t, { topics: [topic], groupId })
  await second.count(10)
  assert.deepEqual(
    second.records.map(({ offset }) => offset),
    [...Array(10).keys()].map(n => n + 10)
  )
})

test('automatic-commit', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 3)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(30) })
  const groupId = t.group()
  const member = await subscribe(t, { topics: [topic], groupId, run: { autoCommitThreshold: 5 } })
  await member.count(30)
  await t.until('everything to be committed', async () => (await committed(control, groupId, topic)) === 30)
})

test('manual-commit-in-batches', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(12) })
  const groupId = t.group()
  const got = []
  const eachBatch = async ({
    batch,
    resolveOffset,
    heartbeat,
    commitOffsetsIfNecessary,
    uncommittedOffsets,
  }) => {
    for (const message of batch.messages) {
      got.push(plain(batch.topic, batch.partition, message))
      resolveOffset(message.offset)
      if (got.length % 4 === 0) await commitOffsetsIfNecessary(uncommittedOffsets())
    }
    await heartbeat()
  }
  await subscribe(t, {
    topics: [topic],
    groupId,
    run: { autoCommit: false, eachBatchAutoResolve: false, eachBatch },
  })
  await t.until('12 records', () => got.length === 12)
  await t.until('the last commit', async () => (await committed(control, groupId, topic)) === 12)
})

test('failed-handler-sees-the-record-again', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(3) })
  const seen = []
  const eachMessage = async ({ message }) => {
    seen.push(Number(message.offset))
    if (seen.length === 2) throw new Error('handler failed once')
  }
  const retry = { initialRetryTime: 20, retries: 3 }
  await subscribe(t, { topics: [topic], groupId: t.group(), retry, run: { eachMessage } })
  await t.until('all three, the second twice', () => seen.length === 4)
  assert.deepEqual(seen, [0, 1, 1, 2])
})

test('seek-to-offset', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(20) })
  const member = await subscribe(t, { topics: [topic], groupId: t.group() })
  await member.count(20)
  member.consumer.seek({ topic, partition: 0, offset: '15' })
  await member.count(25)
  assert.deepEqual(
    member.records.slice(20).map(({ offset }) => offset),
    [15, 16, 17, 18, 19]
  )
})

test('seek-to-time', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = await producer(t)
  const base = Date.now() - 3_600_000
  // One batch a record: the answer is the record's offset, not that of its batch.
  for (const n of [0, 1, 2]) {
    const messages = [0, 1, 2].map(i => ({ value: 'v', timestamp: String(base + (3 * n + i) * 1000) }))
    await sender.send({ topic, messages })
  }
  const offsetAt = async time => (await control.fetchTopicOffsetsByTimestamp(topic, time))[0].offset
  assert.equal(await offsetAt(base - 1), '0')
  assert.equal(await offsetAt(base + 4000), '4')
  assert.equal(await offsetAt(base + 4001), '5')
  assert.equal(await offsetAt(base + 8001), '9', 'after the last record: the end')
  const member = await subscribe(t, { topics: [topic], groupId: t.group() })
  await member.count(9)
  member.consumer.seek({ topic, partition: 0, offset: await offsetAt(base + 6000) })
  await member.count(12)
  assert.deepEqual(
    member.records.slice(9).map(({ offset }) => offset),
    [6, 7, 8]
  )
})

test('offset-out-of-range-goes-to-the-start', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(4) })
  const groupId = t.group()
  await control.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '1000' }] })
  const member = await subscribe(t, { topics: [topic], groupId })
  await member.count(4)
})

test('wake-up-of-a-waiting-fetch', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await producer(t)
  const maxWaitTimeInMs = 5000
  const latencies = []
  const eachMessage = async ({ message }) => latencies.push(performance.now() - Number(message.value))
  const member = await subscribe(t, {
    topics: [topic],
    groupId: t.group(),
    maxWaitTimeInMs,
    run: { eachMessage },
  })
  const starts = []
  member.consumer.on(member.consumer.events.FETCH_START, () => starts.push(performance.now()))
  await t.until('the group to be joined', () => member.assignment)
  const send = () => sender.send({ topic, messages: [{ value: String(performance.now()) }] })
  await send()
  for (let n = 1; n <= 5; n += 1) {
    await t.until(`record ${n}`, () => latencies.length === n)
    await t.until('the next fetch', () => starts.length && starts.at(-1) > performance.now() - 4000)
    await send()
  }
  await t.until('the last record', () => latencies.length === 6)
  const stopped = member.consumer.disconnect()
  await send() // kafkajs waits for its last fetch to end.
  await stopped
  const slowest = Math.max(...latencies.slice(1, 6))
  t.note(`slowest of five ${slowest.toFixed(1)} ms, fetches wait ${maxWaitTimeInMs} ms`)
  assert.ok(slowest < 1500, `a fetch was woken after ${slowest} ms`)
})

test('pause-and-resume', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 2)
  const sender = await producer(t)
  const member = await subscribe(t, { topics: [topic], groupId: t.group() })
  await member.positioned()
  member.consumer.pause([{ topic, partitions: [0] }])
  await sender.send({ topic, messages: [0, 1].map(partition => ({ partition, value: String(partition) })) })
  await member.count(1)
  assert.deepEqual(
    member.records.map(({ partition }) => partition),
    [1]
  )
  member.consumer.resume([{ topic, partitions: [0] }])
  await member.count(2)
})
