'use strict'
// Producing: codecs, acks, idempotence, partitions, sizes.

const zlib = require('node:zlib')
const { compatibilityPartitioner } = require('@platformatic/kafka')
const { assert, test } = require('../../common/harness')
const { partitionCount, partitionOfKey } = require('../../common/partitions.json')
const { createTopic, numbered, offsetsOf, producer, readAll, record, refused } = require('../client')

const ALL_SHAPES = [
  {
    key: 'plain',
    value: 'value',
    headers: [
      ['trace', 'abc'],
      ['n', '1'],
    ],
  },
  { key: 'tombstone', value: null },
  { key: 'empty value', value: '' },
  { key: null, value: 'no key' },
  { key: '', value: 'empty key' },
  {
    key: 'headers',
    value: 'v',
    headers: [
      ['same', '1'],
      ['other', 'x'],
      ['same', '2'],
    ],
  },
  {
    key: 'empty header',
    value: 'v',
    headers: [
      ['null', null],
      ['empty', ''],
    ],
  },
  { key: 'ключ', value: '値\u0000', headers: [['x-ü', 'ö']] },
  { key: 'long', value: 'compress me '.repeat(4000) },
]

for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
  test(`produce-${compression}`, async t => {
    if (compression === 'zstd' && !zlib.zstdCompressSync) t.skip('the zstd of this client needs Node 22.15')
    const topic = t.topic()
    await createTopic(t, topic, 1)
    const first = Date.now() - 60_000
    const shapes = ALL_SHAPES.map((shape, n) => ({
      topic,
      partition: 0,
      timestamp: BigInt(first + n),
      ...shape,
    }))
    const { offsets } = await producer(t).send({ messages: shapes.map(record), compression, acks: -1 })
    assert.deepEqual(
      offsets.map(({ partition, offset }) => [partition, offset]),
      [[0, 0n]]
    )
    const records = await readAll(t, topic, shapes.length)
    shapes.forEach(({ key, value, headers = [] }, n) => {
      assert.deepEqual(records[n], {
        topic,
        partition: 0,
        offset: n,
        timestamp: first + n,
        key,
        value,
        headers,
      })
    })
  })
}

for (const acks of [0, 1, -1]) {
  test(`acks-${acks === -1 ? 'all' : acks}`, async t => {
    const topic = t.topic()
    await createTopic(t, topic, 1)
    const sender = producer(t)
    for (const message of numbered(topic, 5)) await sender.send({ messages: [message], acks })
    const records = await readAll(t, topic, 5)
    assert.deepEqual(
      records.map(({ value }) => value),
      [0, 1, 2, 3, 4].map(n => `value-${n}`)
    )
  })
}

test('idempotent', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = producer(t, { idempotent: true })
  for (let n = 0; n < 20; n += 1) {
    const messages = Array.from({ length: 100 }, (_, i) =>
      record({ topic, key: 'one', value: String(n * 100 + i) })
    )
    await sender.send({ messages, acks: -1 })
  }
  const records = await readAll(t, topic, 2000)
  assert.deepEqual(
    records.map(({ value }) => Number(value)),
    [...Array(2000).keys()]
  )
  assert.deepEqual(
    records.map(({ offset }) => offset),
    [...Array(2000).keys()]
  )
})

test('same-key-same-partition', async t => {
  const topic = t.topic()
  await createTopic(t, topic, partitionCount)
  const keys = Object.keys(partitionOfKey)
  const sender = producer(t, { partitioner: compatibilityPartitioner })
  await sender.send({ messages: keys.map(key => record({ topic, key, value: key })), acks: -1 })
  const records = await readAll(t, topic, keys.length)
  const got = Object.fromEntries(records.map(({ key, partition }) => [key, partition]))
  t.note(keys.map(key => `${key}=${got[key]}`).join(' '))
  assert.deepEqual(got, partitionOfKey)
})

test('keyless-round-robin', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 6)
  const messages = Array.from({ length: 600 }, (_, n) => record({ topic, value: String(n) }))
  await producer(t).send({ messages, acks: -1 })
  assert.deepEqual(await offsetsOf(control, topic, 6), Array(6).fill(100))
})

test('send-to-two-topics', async t => {
  const topics = [t.topic('a'), t.topic('b')]
  for (const topic of topics) await createTopic(t, topic, 3)
  await producer(t).send({ messages: topics.flatMap(topic => numbered(topic, 30)), acks: -1 })
  for (const topic of topics) await readAll(t, topic, 30)
})

test('big-message', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = producer(t)
  const value = 'b'.repeat(1_000_000)
  await sender.send({ messages: [record({ topic, value })], acks: -1 })
  const tooBig = record({ topic, value: 'b'.repeat(1_100_000) })
  await refused('MESSAGE_TOO_LARGE', sender.send({ messages: [tooBig], acks: -1 }))
  await sender.send({ messages: [record({ topic, value: 'same connection' })], acks: -1 })
  const records = await readAll(t, topic, 2)
  assert.equal(records[0].value, value)
  assert.deepEqual(
    records.map(({ offset }) => offset),
    [0, 1]
  )
})

test('raised-message-limit', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1, { 'max.message.bytes': '3000000' })
  await producer(t).send({ messages: [record({ topic, value: 'b'.repeat(2_500_000) })], acks: -1 })
  const [got] = await readAll(t, topic, 1)
  assert.equal(got.value.length, 2_500_000)
})

test('auto-create-on-produce', async t => {
  const topic = t.topic()
  const began = performance.now()
  const sender = producer(t, { autocreateTopics: true })
  await sender.send({ messages: [record({ topic, key: 'first', value: 'made by produce' })], acks: -1 })
  t.note(`first send after ${(performance.now() - began).toFixed(0)} ms`)
  assert.equal((await readAll(t, topic, 1))[0].value, 'made by produce')
})

test('no-auto-create-by-default', async t => {
  const topic = t.topic()
  await assert.rejects(
    producer(t, { retries: 0 }).send({ messages: [record({ topic, value: 'x' })], acks: -1 })
  )
})
