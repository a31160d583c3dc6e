'use strict'
// Producing: codecs, acks, idempotence, partitions, sizes, connections.

const { CompressionTypes } = require('kafkajs')
const { assert, env, test } = require('../../common/harness')
const { connect, createTopic, numbered, pairs, producer, readAll } = require('../client')
const { partitionCount, partitionOfKey } = require('../../common/partitions.json')

const CODECS = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}

// kafkajs cannot send a null header value; an empty one it can.
const ALL_SHAPES = [
  { key: 'plain', value: 'value', headers: { trace: 'abc', n: '1' } },
  { key: 'tombstone', value: null },
  { key: 'empty value', value: '' },
  { key: null, value: 'no key' },
  { key: '', value: 'empty key' },
  { key: 'headers', value: 'twice', headers: { same: ['first', 'second'], empty: '' } },
  { key: 'ключ', value: '値\u0000', headers: { 'x-ü': 'ö' } },
  { key: 'long', value: 'compress me '.repeat(4000) },
]

for (const [name, compression] of Object.entries(CODECS)) {
  test(`produce-${name}`, async t => {
    const topic = t.topic()
    await createTopic(t, topic, 1)
    const sender = await producer(t)
    const base = Date.now() - 60_000
    const messages = ALL_SHAPES.map((shape, n) => ({ ...shape, timestamp: String(base + n) }))
    const [result] = await sender.send({ topic, messages, compression })
    assert.equal(result.errorCode, 0)
    assert.equal(result.baseOffset, '0')
    const records = await readAll(t, topic, messages.length)
    messages.forEach((sent, n) => {
      assert.deepEqual(records[n], {
        topic,
        partition: 0,
        offset: n,
        timestamp: base + n,
        key: sent.key,
        value: sent.value,
        headers: pairs(sent.headers),
      })
    })
  })
}

for (const [name, acks] of Object.entries({ 0: 0, 1: 1, all: -1 })) {
  test(`acks-${name}`, async t => {
    const topic = t.topic()
    await createTopic(t, topic, 1)
    const sender = await producer(t)
    for (const message of numbered(5)) await sender.send({ topic, acks, messages: [message] })
    const records = await readAll(t, topic, 5)
    assert.deepEqual(
      records.map(({ value }) => value),
      numbered(5).map(({ value }) => value)
    )
  })
}

test('idempotent', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await producer(t, { idempotent: true })
  const sends = 20
  const batch = 100
  for (let n = 0; n < sends; n += 1) {
    const messages = Array.from({ length: batch }, (_, i) => ({ key: 'one', value: String(n * batch + i) }))
    await sender.send({ topic, messages })
  }
  const records = await readAll(t, topic, sends * batch)
  records.forEach(({ offset, value }, n) => {
    assert.equal(offset, n)
    assert.equal(value, String(n))
  })
})

test('idempotent-two-producers', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 2)
  const senders = [await producer(t, { idempotent: true }), await producer(t, { idempotent: true })]
  await Promise.all(
    senders.map(async (sender, who) => {
      for (let n = 0; n < 10; n += 1) {
        const messages = [0, 1].map(partition => ({ partition, key: String(who), value: String(n) }))
        await sender.send({ topic, messages })
      }
    })
  )
  const records = await readAll(t, topic, 40)
  for (const who of ['0', '1']) {
    for (const partition of [0, 1]) {
      const mine = records.filter(record => record.key === who && record.partition === partition)
      assert.deepEqual(
        mine.map(({ value }) => Number(value)),
        [...Array(10).keys()]
      )
    }
  }
})

test('same-key-same-partition', async t => {
  const topic = t.topic()
  await createTopic(t, topic, partitionCount)
  const sender = await producer(t)
  const keys = Object.keys(partitionOfKey)
  await sender.send({ topic, messages: keys.map(key => ({ key, value: key })) })
  const records = await readAll(t, topic, keys.length)
  const got = Object.fromEntries(records.map(({ key, partition }) => [key, partition]))
  t.note(keys.map(key => `${key}=${got[key]}`).join(' '))
  assert.deepEqual(got, partitionOfKey)
})

test('keyless-round-robin', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 6)
  const sender = await producer(t)
  await sender.send({ topic, messages: Array.from({ length: 600 }, (_, n) => ({ value: String(n) })) })
  const offsets = await control.fetchTopicOffsets(topic)
  assert.deepEqual(
    offsets.map(({ high }) => high),
    Array(6).fill('100')
  )
})

test('send-batch-of-topics', async t => {
  const topics = [t.topic('a'), t.topic('b')]
  for (const topic of topics) await createTopic(t, topic, 3)
  const sender = await producer(t)
  const topicMessages = topics.map(topic => ({ topic, messages: numbered(30) }))
  const results = await sender.sendBatch({ topicMessages })
  assert.ok(results.every(({ errorCode }) => errorCode === 0))
  assert.deepEqual([...new Set(results.map(({ topicName }) => topicName))].sort(), topics)
  for (const topic of topics) await readAll(t, topic, 30)
})

test('big-message', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await producer(t, { retry: { retries: 0 } })
  const value = 'b'.repeat(1_000_000)
  await sender.send({ topic, messages: [{ key: 'big', value }] })
  await assert.rejects(
    sender.send({ topic, messages: [{ key: 'too big', value: 'b'.repeat(1_100_000) }] }),
    error => (error.type || error.cause?.type) === 'MESSAGE_TOO_LARGE'
  )
  await sender.send({ topic, messages: [{ key: 'after', value: 'same connection' }] })
  const records = await readAll(t, topic, 2)
  assert.equal(records[0].value, value)
  assert.deepEqual(
    records.map(({ offset }) => offset),
    [0, 1]
  )
})

test('raised-message-limit', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1, [{ name: 'max.message.bytes', value: '3000000' }])
  const sender = await producer(t, { retry: { retries: 0 } })
  const value = 'b'.repeat(2_500_000)
  await sender.send({ topic, messages: [{ value }] })
  const [record] = await readAll(t, topic, 1)
  assert.equal(record.value.length, value.length)
})

test('connect-send-disconnect', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const kafka = connect()
  const times = []
  for (let n = 0; n < 50; n += 1) {
    const began = performance.now()
    const sender = kafka.producer()
    await sender.connect()
    await sender.send({ topic, messages: [{ value: String(n) }] })
    await sender.disconnect()
    times.push(performance.now() - began)
  }
  times.sort((a, b) => a - b)
  t.note(`50 rounds, median ${times[25].toFixed(1)} ms, slowest ${times[49].toFixed(1)} ms`)
  const records = await readAll(t, topic, 50)
  assert.deepEqual(
    records.map(({ value }) => Number(value)),
    [...Array(50).keys()]
  )
})

test('default-partition-count', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, -1)
  const { topics } = await control.fetchTopicMetadata({ topics: [topic] })
  assert.equal(topics[0].partitions.length, env.oracle === 'kafka' ? 1 : 3)
})
