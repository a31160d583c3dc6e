'use strict'
// Topics that come into being when they are first used.

const { assert, env, test } = require('../../common/harness')
const { connect, producer, readAll, subscribe } = require('../client')

test('auto-create-on-produce', async t => {
  const topic = t.topic()
  const errors = []
  const sender = await producer(t, {}, connect(errors))
  const began = performance.now()
  await sender.send({ topic, messages: [{ key: 'first', value: 'made by produce' }] })
  t.note(`first send after ${(performance.now() - began).toFixed(0)} ms, errors logged ${errors.length}`)
  assert.equal((await readAll(t, topic, 1))[0].value, 'made by produce')
  if (env.oracle !== 'kafka') assert.deepEqual(errors, [])
})

test('auto-create-on-subscribe', async t => {
  const topic = t.topic()
  const errors = []
  let member
  try {
    member = await subscribe(t, { topics: [topic], groupId: t.group(), kafka: connect(errors) })
  } catch (error) {
    if (env.oracle !== 'kafka' || error.type !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
    t.skip('Apache Kafka answers UNKNOWN_TOPIC_OR_PARTITION to the request that creates')
  }
  await member.positioned()
  const sender = await producer(t)
  await sender.send({ topic, messages: [{ value: 'late' }] })
  await member.count(1)
  assert.deepEqual([member.crashes, errors], [[], []])
})

test('no-auto-create-when-not-wanted', async t => {
  const topic = t.topic()
  const options = { allowAutoTopicCreation: false, retry: { retries: 1, initialRetryTime: 50 } }
  const sender = await producer(t, options)
  await assert.rejects(sender.send({ topic, messages: [{ value: 'x' }] }))
  const control = connect().admin()
  t.defer(() => control.disconnect())
  await control.connect()
  assert.ok(!(await control.listTopics()).includes(topic))
})
