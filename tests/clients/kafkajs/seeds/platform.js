'use strict'
// Workflow platform: auth and workflow producers, AI consumer with a dead letter queue,
// notification consumer of four topics.

const { assert, test } = require('../../common/harness')
const { connect, pairs } = require('../client')
const { bare, declare, name, ready, watch } = require('./services')

const WORKFLOW_PARTITIONS = 12

class AuthEventProducer {
  constructor(kafka) {
    this.producer = kafka.producer()
  }

  // The document connects and disconnects for each event.
  async publish(topic, event, headers) {
    await this.producer.connect()
    await this.producer.send({
      topic: name(topic),
      messages: [
        { key: event.userId, value: JSON.stringify(event), headers: { 'event-type': topic, ...headers } },
      ],
    })
    await this.producer.disconnect()
  }

  async publishUserAuthenticated(event) {
    await this.publish('user.authenticated', event, {
      'tenant-id': event.tenantId,
      timestamp: event.timestamp.toString(),
    })
  }

  async publishUserCreated(event) {
    await this.publish('user.created', event, { 'tenant-id': event.tenantId })
  }
}

class WorkflowEventProducer {
  constructor(kafka) {
    this.producer = kafka.producer()
  }

  async publishWorkflowRequested(event) {
    return this.producer.send({
      topic: name('workflow.requested'),
      messages: [
        { key: event.workflowId, value: JSON.stringify(event), partition: partitionOfTenant(event.tenantId) },
      ],
    })
  }

  async publishWorkflowExecuted(event) {
    return this.producer.send({
      topic: name('workflow.executed'),
      messages: [{ key: event.executionId, value: JSON.stringify(event) }],
    })
  }
}

const partitionOfTenant = tenantId => parseInt(tenantId.slice(-2), 16) % WORKFLOW_PARTITIONS

class AIEventConsumer {
  constructor(kafka, generateWorkflow) {
    this.consumer = kafka.consumer({ groupId: name('ai-service-group') })
    this.producer = kafka.producer()
    this.generateWorkflow = generateWorkflow
    this.state = watch(this.consumer)
  }

  async start() {
    await this.producer.connect()
    await this.consumer.connect()
    await this.consumer.subscribe({ topic: name('workflow.requested'), fromBeginning: false })
    await this.consumer.subscribe({ topic: name('ai.requested'), fromBeginning: false })
    await this.consumer.run({ eachMessage: this.handleMessage.bind(this) })
  }

  async handleMessage({ topic, message }) {
    try {
      const event = JSON.parse(message.value.toString())
      const workflow = this.generateWorkflow(event)
      const to = bare(topic) === 'workflow.requested' ? 'workflow.generated' : 'ai.processed'
      const generated = {
        eventId: `workflow_generated_${Date.now()}`,
        workflowId: event.workflowId,
        generatedWorkflow: workflow,
      }
      await this.producer.send({
        topic: name(to),
        messages: [{ key: event.workflowId, value: JSON.stringify(generated) }],
      })
    } catch (error) {
      await this.sendToDeadLetters(topic, message, error)
    }
  }

  async sendToDeadLetters(topic, message, error) {
    const headers = {
      ...message.headers,
      'dlq-topic': topic,
      'dlq-offset': message.offset,
      'dlq-error': error.message,
    }
    const { key, value } = message
    await this.producer.send({ topic: name(`${bare(topic)}.dlq`), messages: [{ key, value, headers }] })
  }

  async stop() {
    await Promise.all([this.consumer.disconnect(), this.producer.disconnect()])
  }
}

async function collect(t, kafka, groupId, topics, fromBeginning = true) {
  const consumer = kafka.consumer({ groupId: name(groupId) })
  const got = []
  t.defer(() => consumer.disconnect())
  await consumer.connect()
  await consumer.subscribe({ topics: topics.map(name), fromBeginning })
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      const key = message.key && message.key.toString()
      got.push({
        topic: bare(topic),
        partition,
        key,
        value: message.value.toString(),
        headers: Object.fromEntries(pairs(message.headers)),
      })
    },
  })
  return got
}

test('seed-auth-producer', async t => {
  await declare(t, { 'user.authenticated': 6, 'user.created': 6 })
  const kafka = connect()
  const auth = new AuthEventProducer(kafka)
  const tenantId = 'tenant-7f'
  for (let n = 0; n < 5; n += 1) {
    const user = {
      userId: `user-${n}`,
      tenantId,
      email: `${n}@example.org`,
      timestamp: 1_700_000_000_000 + n,
    }
    await auth.publishUserAuthenticated({ eventId: `a${n}`, ...user, permissions: ['workflow.create'] })
    await auth.publishUserCreated({ eventId: `c${n}`, ...user })
  }
  const got = await collect(t, kafka, 'auth-check', ['user.authenticated', 'user.created'])
  // kafkajs takes the end of an old socket for that of the new one when a producer reconnects at
  // once, and sends again what had arrived: some events come twice, on every broker.
  const distinct = () => new Set(got.map(({ topic, key }) => topic + key)).size
  await t.until('ten events', () => distinct() === 10)
  t.note(`${got.length - 10} of ten events came twice`)
  for (const { topic, key, value, headers } of got) {
    const event = JSON.parse(value)
    assert.equal(key, event.userId)
    const expected = { 'event-type': topic, 'tenant-id': tenantId }
    if (topic === 'user.authenticated') expected.timestamp = String(event.timestamp)
    assert.deepEqual(headers, expected)
  }
  const places = topic =>
    new Set(got.filter(one => one.topic === topic).map(one => `${one.key}:${one.partition}`))
  assert.deepEqual(places('user.authenticated'), places('user.created'), 'one key, one partition')
})

test('seed-workflow-partitions', async t => {
  // The topic name of the other seed case with a mark: its AI consumer must not see these.
  const topic = name('workflow.requested.by-tenant')
  const control = await declare(t, { 'workflow.requested.by-tenant': WORKFLOW_PARTITIONS })
  const producer = connect().producer()
  await producer.connect()
  t.defer(() => producer.disconnect())
  for (let n = 0; n < 256; n += 1) {
    const tenantId = `tenant-${n.toString(16).padStart(2, '0')}`
    const partition = partitionOfTenant(tenantId)
    const [result] = await producer.send({
      topic,
      messages: [{ key: `wf-${n}`, value: tenantId, partition }],
    })
    assert.equal(result.partition, partition)
  }
  const offsets = await control.fetchTopicOffsets(topic)
  const counts = offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high))
  assert.deepEqual(counts, [22, 22, 22, 22, 21, 21, 21, 21, 21, 21, 21, 21])
})

test('seed-workflow-and-ai', async t => {
  await declare(t, {
    'workflow.requested': WORKFLOW_PARTITIONS,
    'workflow.generated': 12,
    'workflow.executed': 12,
    'ai.requested': 8,
    'ai.processed': 8,
    'workflow.requested.dlq': 1,
  })
  const kafka = connect()
  const ai = new AIEventConsumer(kafka, event => {
    if (event.description === 'impossible') throw new Error('no such workflow')
    return { steps: [event.description] }
  })
  t.defer(() => ai.stop())
  await ai.start()
  await ready(t, [ai.state], WORKFLOW_PARTITIONS + 8)
  const workflows = new WorkflowEventProducer(kafka)
  await workflows.producer.connect()
  t.defer(() => workflows.producer.disconnect())
  const request = (n, description) => ({
    eventId: `e${n}`,
    workflowId: `wf-${n}`,
    tenantId: `tenant-${n}a`,
    userId: 'u',
    description,
    businessContext: null,
  })
  for (let n = 0; n < 3; n += 1) await workflows.publishWorkflowRequested(request(n, 'possible'))
  await workflows.publishWorkflowRequested(request(3, 'impossible'))
  await workflows.publishWorkflowExecuted({ executionId: 'exec-1' })
  await workflows.producer.send({
    topic: name('ai.requested'),
    messages: [{ key: 'wf-9', value: JSON.stringify(request(9, 'direct')) }],
  })
  const topics = ['workflow.generated', 'ai.processed', 'workflow.requested.dlq', 'workflow.executed']
  const got = await collect(t, kafka, 'workflow-check', topics)
  await t.until('six outcomes', () => got.length === 6)
  const keys = topic =>
    got
      .filter(one => one.topic === topic)
      .map(({ key }) => key)
      .sort()
  assert.deepEqual(keys('workflow.generated'), ['wf-0', 'wf-1', 'wf-2'])
  assert.deepEqual(keys('ai.processed'), ['wf-9'])
  assert.deepEqual(keys('workflow.executed'), ['exec-1'])
  const [dead] = got.filter(one => one.topic === 'workflow.requested.dlq')
  assert.deepEqual(
    [dead.key, dead.headers['dlq-error'], dead.headers['dlq-topic']],
    ['wf-3', 'no such workflow', name('workflow.requested')]
  )
})

test('seed-notification-consumer', async t => {
  // Names with a mark, so that the other cases' events do not count here.
  const topics = ['user.created', 'workflow.generated', 'workflow.executed', 'system.alerts'].map(
    topic => `notify.${topic}`
  )
  await declare(t, Object.fromEntries(topics.map(topic => [topic, 3])))
  const kafka = connect()
  const got = await collect(t, kafka, 'notification-events', topics)
  const producer = kafka.producer()
  await producer.connect()
  t.defer(() => producer.disconnect())
  for (const topic of topics) {
    await producer.send({
      topic: name(topic),
      messages: [{ key: 'k', value: JSON.stringify({ kind: topic }) }],
    })
  }
  await t.until('a notification for each', () => got.length === topics.length)
  assert.deepEqual(got.map(({ topic }) => topic).sort(), [...topics].sort())
})
