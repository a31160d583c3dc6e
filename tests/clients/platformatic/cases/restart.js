'use strict'
// Two phases around a restart of the broker on the same data: `before` writes and commits,
// `after` finds all of it. Everything follows from RUN_ID, so nothing else is kept between them.

const { assert, env, phased } = require('../../common/harness')
const { admin, committed, createTopic, producer, readAll, record, subscribe } = require('../client')

const topic = `${env.runId}-restart`
const groupId = `${topic}-group`
const PARTITIONS = 3
const PER_PARTITION = 100
const COMMITTED = 40
const CODECS = ['none', 'gzip', 'snappy', 'lz4']

const shape = (partition, n) => ({
  topic,
  partition,
  key: `key-${n}`,
  value: n % 10 === 9 ? null : JSON.stringify({ partition, n }),
  headers: [['n', String(n)]],
})

phased('before', 'restart-before', async t => {
  const control = await createTopic(t, topic, PARTITIONS)
  const sender = producer(t, { idempotent: true })
  for (let n = 0; n < PER_PARTITION; n += 10) {
    const shapes = [0, 1, 2].flatMap(partition =>
      Array.from({ length: 10 }, (_, i) => shape(partition, n + i))
    )
    await sender.send({
      messages: shapes.map(record),
      acks: -1,
      compression: CODECS[(n / 10) % CODECS.length],
    })
  }
  const member = await subscribe(t, { topics: [topic], groupId, options: { autocommit: false } })
  await member.count(PARTITIONS * PER_PARTITION)
  const place = partition => ({ topic, partition, offset: BigInt(COMMITTED), leaderEpoch: -1 })
  await member.consumer.commit({ offsets: [0, 1, 2].map(place) })
  await member.close()
  assert.equal(await committed(control, groupId, topic), PARTITIONS * COMMITTED)
})

phased('after', 'restart-records', async t => {
  const records = await readAll(t, topic, PARTITIONS * PER_PARTITION)
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    const mine = records.filter(one => one.partition === partition)
    assert.equal(mine.length, PER_PARTITION)
    mine.forEach((one, n) => {
      const { key, value, headers } = shape(partition, n)
      assert.deepEqual([one.offset, one.key, one.value, one.headers], [n, key, value, headers])
    })
  }
})

phased('after', 'restart-group-resumes', async t => {
  assert.equal(await committed(admin(t), groupId, topic), PARTITIONS * COMMITTED)
  const member = await subscribe(t, { topics: [topic], groupId })
  const left = PARTITIONS * (PER_PARTITION - COMMITTED)
  await member.count(left)
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    assert.equal(member.records.find(one => one.partition === partition).offset, COMMITTED)
  }
  const messages = [0, 1, 2].map(partition => record({ topic, partition, value: 'after' }))
  const { offsets } = await producer(t, { idempotent: true }).send({ messages, acks: -1 })
  assert.deepEqual(
    offsets.map(({ offset }) => Number(offset)),
    Array(PARTITIONS).fill(PER_PARTITION)
  )
  await member.count(left + PARTITIONS)
})
