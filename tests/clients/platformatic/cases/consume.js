'use strict'
// Consuming without a rebalance: positions, commits, wake-up.

const { assert, test } = require('../../common/harness')
const { committed, createTopic, numbered, offsetsOf, producer, record, subscribe } = require('../client')

test('earliest-and-latest', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 2)
  const sender = producer(t)
  const inBoth = value => ({
    messages: [0, 1].map(partition => record({ topic, partition, value })),
    acks: -1,
  })
  await sender.send(inBoth('before'))
  const earliest = await subscribe(t, { topics: [topic], groupId: t.group('earliest'), mode: 'earliest' })
  const latest = await subscribe(t, { topics: [topic], groupId: t.group('latest'), mode: 'latest' })
  await t.until('a fetch at the end', () => latest.fetches > 0)
  await sender.send(inBoth('after'))
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
  await producer(t).send({ messages: numbered(topic, 20), acks: -1 })
  const groupId = t.group()
  const options = { autocommit: false }
  const first = await subscribe(t, { topics: [topic], groupId, options })
  await first.count(20)
  await first.consumer.commit({ offsets: [{ topic, partition: 0, offset: 10n, leaderEpoch: -1 }] })
  assert.equal(await committed(control, groupId, topic), 10)
  await first.close()
  const second = await subscribe(t, { topics: [topic], groupId, options })
  await second.count(10)
  assert.deepEqual(
    second.records.map(({ offset }) => offset),
    [...Array(10).keys()].map(n => n + 10)
  )
})

test('manual-commit-of-a-message', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  await producer(t).send({ messages: numbered(topic, 12), acks: -1 })
  const groupId = t.group()
  const member = await subscribe(t, { topics: [topic], groupId, options: { autocommit: false } })
  await member.count(12)
  await member.last.commit()
  assert.equal(await committed(control, groupId, topic), 12)
})

test('automatic-commit', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 3)
  await producer(t).send({ messages: numbered(topic, 30), acks: -1 })
  const groupId = t.group()
  const member = await subscribe(t, { topics: [topic], groupId, options: { autocommit: 100 } })
  await member.count(30)
  await t.until('everything to be committed', async () => (await committed(control, groupId, topic)) === 30)
})

test('start-at-an-offset', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  await producer(t).send({ messages: numbered(topic, 20), acks: -1 })
  const offsets = [{ topic, partition: 0, offset: 15n }]
  const member = await subscribe(t, { topics: [topic], groupId: t.group(), mode: 'manual', offsets })
  await member.count(5)
  assert.deepEqual(
    member.records.map(({ offset }) => offset),
    [15, 16, 17, 18, 19]
  )
})

test('start-at-a-time', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const base = Date.now() - 3_600_000
  const sender = producer(t)
  for (const n of [0, 1, 2]) {
    const stamps = [0, 1, 2].map(i => BigInt(base + (3 * n + i) * 1000))
    await sender.send({
      messages: stamps.map(timestamp => record({ topic, partition: 0, value: 'v', timestamp })),
      acks: -1,
    })
  }
  const at = async time => (await offsetsOf(control, topic, 1, BigInt(time)))[0]
  assert.deepEqual([await at(base - 1), await at(base + 4000), await at(base + 4001)], [0, 4, 5])
  assert.equal(await at(base + 8001), -1, 'after the last record')
  const offsets = [{ topic, partition: 0, offset: BigInt(await at(base + 6000)) }]
  const member = await subscribe(t, { topics: [topic], groupId: t.group(), mode: 'manual', offsets })
  await member.count(3)
  assert.deepEqual(
    member.records.map(({ offset }) => offset),
    [6, 7, 8]
  )
  const found = await member.consumer.listOffsetsWithTimestamps({
    topics: [topic],
    timestamp: BigInt(base + 4001),
  })
  const { offset, timestamp } = found.get(topic).get(0)
  assert.deepEqual([Number(offset), Number(timestamp)], [5, base + 5000])
})

test('lag', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 2)
  await producer(t).send({
    messages: [0, 1, 1].map(partition => record({ topic, partition, value: 'v' })),
    acks: -1,
  })
  const member = await subscribe(t, { topics: [topic], groupId: t.group(), options: { autocommit: 50 } })
  await member.count(3)
  await t.until('no lag', async () => {
    const lag = await member.consumer.getLag({ topics: [topic] })
    return lag.get(topic).every(one => one === 0n)
  })
})

test('wake-up-of-a-waiting-fetch', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = producer(t)
  const maxWaitTime = 5000
  const member = await subscribe(t, { topics: [topic], groupId: t.group(), options: { maxWaitTime } })
  const send = () => sender.send({ messages: [record({ topic, value: 'v' })], acks: -1 })
  await send()
  await member.count(1)
  const latencies = []
  for (let n = 2; n <= 6; n += 1) {
    const began = performance.now()
    await send()
    await member.count(n)
    latencies.push(performance.now() - began)
  }
  const slowest = Math.max(...latencies)
  t.note(`slowest of five ${slowest.toFixed(1)} ms with the send, fetches wait ${maxWaitTime} ms`)
  assert.ok(slowest < 1500, `a fetch was woken after ${slowest} ms`)
})

test('auto-create-on-subscribe', async t => {
  const topic = t.topic()
  const member = await subscribe(t, {
    topics: [topic],
    groupId: t.group(),
    options: { autocreateTopics: true },
  })
  await t.until('the topic to be owned', () => member.owned(topic).length > 0)
  await producer(t).send({ messages: [record({ topic, value: 'late' })], acks: -1 })
  await member.count(1)
})
