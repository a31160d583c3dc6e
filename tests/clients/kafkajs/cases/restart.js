'use strict'
// Two phases around a restart of the broker on the same data: `before` writes and commits,
// `after` finds all of it. Everything follows from RUN_ID, so nothing else is kept between them.

const { CompressionTypes } = require('kafkajs')
const { assert, env, phased } = require('../../common/harness')
const { admin, committed, createTopic, producer, readAll, subscribe } = require('../client')
const { ConfigResourceTypes } = require('kafkajs')

const topic = `${env.runId}-restart`
const groupId = `${topic}-group`
const PARTITIONS = 3
const PER_PARTITION = 100
const COMMITTED = 40
const RETENTION_MS = '86400000'
const CODECS = [CompressionTypes.None, CompressionTypes.GZIP, CompressionTypes.LZ4, CompressionTypes.ZSTD]

const record = (partition, n) => ({
  partition,
  key: `key-${n}`,
  value: n % 10 === 9 ? null : JSON.stringify({ partition, n }),
  headers: { n: String(n) },
})

phased('before', 'restart-before', async t => {
  const control = await createTopic(t, topic, PARTITIONS, [{ name: 'retention.ms', value: RETENTION_MS }])
  const sender = await producer(t, { idempotent: true })
  for (let n = 0; n < PER_PARTITION; n += 10) {
    const messages = [0, 1, 2].flatMap(partition =>
      Array.from({ length: 10 }, (_, i) => record(partition, n + i))
    )
    await sender.send({ topic, messages, compression: CODECS[(n / 10) % CODECS.length] })
  }
  const member = await subscribe(t, { topics: [topic], groupId, run: { autoCommit: false } })
  await member.count(PARTITIONS * PER_PARTITION)
  const offset = String(COMMITTED)
  await member.consumer.commitOffsets([0, 1, 2].map(partition => ({ topic, partition, offset })))
  await member.consumer.disconnect()
  assert.equal(await committed(control, groupId, topic), PARTITIONS * COMMITTED)
})

phased('after', 'restart-records', async t => {
  const records = await readAll(t, topic, PARTITIONS * PER_PARTITION)
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const mine = records.filter(one => one.partition === partition)
    mine.forEach((one, n) => {
      const { key, value, headers } = record(partition, n)
      assert.deepEqual([one.offset, one.key, one.value, one.headers], [n, key, value, [['n', headers.n]]])
    })
  }
})

phased('after', 'restart-topic-config', async t => {
  const control = await admin(t)
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }
  const { resources } = await control.describeConfigs({ includeSynonyms: false, resources: [resource] })
  assert.equal(resources[0].configEntries[0].configValue, RETENTION_MS)
})

phased('after', 'restart-group-resumes', async t => {
  const control = await admin(t)
  assert.equal(await committed(control, groupId, topic), PARTITIONS * COMMITTED)
  const member = await subscribe(t, { topics: [topic], groupId })
  const left = PARTITIONS * (PER_PARTITION - COMMITTED)
  await member.count(left)
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const first = member.records.find(one => one.partition === partition)
    assert.equal(first.offset, COMMITTED)
  }
  const sender = await producer(t, { idempotent: true })
  const results = await sender.send({
    topic,
    messages: [0, 1, 2].map(partition => ({ partition, value: 'after' })),
  })
  assert.deepEqual(
    results.map(({ baseOffset }) => Number(baseOffset)),
    Array(PARTITIONS).fill(PER_PARTITION)
  )
  await member.count(left + PARTITIONS)
})
