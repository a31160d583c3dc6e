'use strict'
// Retail microservices: one KafkaService a process, topics that come into being when first used,
// the analytics service subscribes three times in one group, once for each topic.

const { assert, env, test } = require('../../common/harness')
const { KafkaService, declare, name, ready } = require('./services')

const USER_TOPICS = ['user.created', 'user.updated', 'user.login'].map(topic => `etelios.${topic}`)
const createEvent = (type, data, metadata = {}) => ({
  type,
  data,
  metadata: { eventId: `${type}-${data.userId}`, ...metadata },
})
const getConsumerGroup = service => `${service}-group`

test('seed-three-subscribes-in-one-group', async t => {
  await declare(t, Object.fromEntries(USER_TOPICS.map(topic => [topic, 3])))
  const kafka = new KafkaService('analytics-service')
  t.defer(() => kafka.disconnect())
  await kafka.initialize()
  const recorded = []
  const states = []
  for (const topic of USER_TOPICS) {
    const record = async (event, metadata) => recorded.push([metadata.topic, event.type, event.data.userId])
    states.push(await kafka.subscribe(topic, getConsumerGroup('analytics-service'), record))
  }
  await ready(t, states, 9)
  const owned = states.map(({ assignment }) => assignment)
  assert.deepEqual(
    owned,
    USER_TOPICS.map(topic => ({ [name(topic)]: [0, 1, 2] }))
  )
  for (const [n, topic] of USER_TOPICS.entries()) {
    await kafka.publishEvent(
      topic,
      createEvent(`TYPE_${n}`, { userId: `507f1f77bcf86cd79943901${n}` }),
      `507f1f77bcf86cd79943901${n}`
    )
  }
  await t.until('three recorded events', () => recorded.length === 3)
  assert.deepEqual(
    states.flatMap(({ crashes }) => crashes),
    []
  )
  assert.deepEqual(
    recorded.sort(),
    USER_TOPICS.map((topic, n) => [topic, `TYPE_${n}`, `507f1f77bcf86cd79943901${n}`]).sort()
  )
  assert.deepEqual(await kafka.healthCheck(), {
    connected: true,
    producer: true,
    consumers: 3,
    brokers: env.bootstrap,
  })
})

test('seed-topics-made-when-first-used', async t => {
  const topic = 'employee.created'
  const publisher = new KafkaService('hr-service')
  t.defer(() => publisher.disconnect())
  await publisher.initialize()
  await publisher.publishEvent(
    topic,
    createEvent('EMPLOYEE_CREATED', { userId: 'e1', department: 'sales' }),
    'e1'
  )
  const got = []
  const reader = new KafkaService('payroll-service')
  t.defer(() => reader.disconnect())
  await reader.subscribe(topic, getConsumerGroup('payroll-service'), async event => got.push(event), {
    fromBeginning: true,
  })
  await t.until('the event', () => got.length === 1)
  assert.equal(got[0].data.department, 'sales')
})

test('seed-consumer-before-topic', async t => {
  const topic = 'attendance.checkin'
  const reader = new KafkaService('notification-service')
  t.defer(() => reader.disconnect())
  const got = []
  let state
  try {
    state = await reader.subscribe(topic, getConsumerGroup('notification-service'), async event =>
      got.push(event)
    )
  } catch (error) {
    if (env.oracle !== 'kafka' || error.type !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
    t.skip('Apache Kafka answers UNKNOWN_TOPIC_OR_PARTITION to the request that creates')
  }
  await t.until('the topic to be owned', () => state.assignment && state.assignment[name(topic)])
  await ready(t, [state], state.assignment[name(topic)].length)
  const publisher = new KafkaService('attendance-service')
  t.defer(() => publisher.disconnect())
  await publisher.publishEvent(topic, createEvent('ATTENDANCE_CHECKIN', { userId: 'e1' }), 'e1')
  await t.until('the event', () => got.length === 1)
  assert.deepEqual([state.crashes, reader.errors], [[], []])
})
