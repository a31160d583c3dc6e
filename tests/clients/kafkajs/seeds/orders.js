'use strict'
// Order system: the key is the order id; payment, notification, analytics and audit are groups
// of their own, payment has two instances; failed events go to a dead letter topic.

const { CompressionTypes } = require('kafkajs')
const { assert, test } = require('../../common/harness')
const { connect } = require('../client')
const { KafkaService, declare, eventOf, name, ready } = require('./services')

const Topics = {
  ORDER_CREATED: 'order-created',
  PAYMENT_PROCESSED: 'payment-processed',
  NOTIFICATION_REQUESTED: 'notification-requested',
  DEAD_LETTERS: 'order-created.dlq',
}
const OUTBOX = ['outbox-orders', 'outbox-payments']
const PARTITIONS = 6

/** The consumer service: retries, then the dead letter topic; skips events it has seen. */
function handlerOf(service, { maxRetries, sendToDlqOnFailure }, work, seen = new Set()) {
  return async (event, metadata) => {
    if (seen.has(event.eventId)) return
    for (let attempt = 0; ; attempt += 1) {
      try {
        await work(event, { ...metadata, attempt })
        seen.add(event.eventId)
        return
      } catch (error) {
        if (attempt < maxRetries) continue
        if (!sendToDlqOnFailure) throw error
        await service.publishEvent(Topics.DEAD_LETTERS, { ...event, error: error.message }, metadata.key)
        return
      }
    }
  }
}

test('seed-orders', async t => {
  const control = await declare(t, {
    [Topics.ORDER_CREATED]: PARTITIONS,
    [Topics.PAYMENT_PROCESSED]: PARTITIONS,
    [Topics.DEAD_LETTERS]: 1,
  })
  const options = { maxRetries: 3, sendToDlqOnFailure: true }
  const run = { fromBeginning: false, autoCommit: true }
  const got = { payment: [], notification: [], analytics: [], audit: [], dead: [] }
  const services = []
  const start = (clientId, topics, group, work) => {
    const service = new KafkaService(clientId)
    services.push(service)
    t.defer(() => service.disconnect())
    return service.subscribe(
      topics,
      group,
      handlerOf(service, options, (event, meta) => work(event, meta, service)),
      run
    )
  }
  const pay = async (event, { key, attempt }, service) => {
    if (event.payload.total < 0) throw new Error(`bad total, attempt ${attempt}`)
    await service.publishEvent(
      Topics.PAYMENT_PROCESSED,
      eventOf('PaymentProcessed', 'payment', { orderId: event.payload.orderId }),
      key
    )
    got.payment.push(event.payload)
  }
  const payments = [
    await start('payment-1', Topics.ORDER_CREATED, 'payment-service', pay),
    await start('payment-2', Topics.ORDER_CREATED, 'payment-service', pay),
  ]
  await t.until('payment instances to own three each', () =>
    payments.every(
      ({ assignment }) => assignment && (assignment[name(Topics.ORDER_CREATED)] || []).length === 3
    )
  )
  await ready(t, payments, PARTITIONS)
  const others = [
    await start('notification', Topics.ORDER_CREATED, 'notification-service', async event =>
      got.notification.push(event)
    ),
    await start(
      'analytics',
      [Topics.ORDER_CREATED, Topics.PAYMENT_PROCESSED],
      'analytics-service',
      async event => got.analytics.push(event)
    ),
    await start('audit', Topics.ORDER_CREATED, 'audit-service', async event => got.audit.push(event)),
    await start('dead-letters', Topics.DEAD_LETTERS, 'dead-letter-service', async event =>
      got.dead.push(event)
    ),
  ]
  await ready(t, others, PARTITIONS + 2 * PARTITIONS + PARTITIONS + 1)

  const shop = new KafkaService('order-service')
  t.defer(() => shop.disconnect())
  const orders = 30
  for (let n = 0; n < orders; n += 1) {
    const orderId = `order-${n % 10}`
    const total = n === 17 ? -1 : n
    await shop.publishEvent(
      Topics.ORDER_CREATED,
      eventOf('OrderCreated', 'orders', { orderId, userId: 'u', items: [], total }),
      orderId
    )
  }
  await t.until('all payments', () => got.payment.length === orders - 1)
  await t.until(
    'all notifications and audits',
    () => got.notification.length === orders && got.audit.length === orders
  )
  await t.until('orders and payments in analytics', () => got.analytics.length === 2 * orders - 1)
  await t.until('the dead letter', () => got.dead.length === 1)
  assert.equal(got.dead[0].error, 'bad total, attempt 3')
  for (let n = 0; n < 10; n += 1) {
    const totals = got.payment.filter(({ orderId }) => orderId === `order-${n}`).map(({ total }) => total)
    assert.deepEqual(
      totals,
      [...totals].sort((a, b) => a - b),
      'one order keeps its order'
    )
  }
  const { groups } = await control.describeGroups([name('payment-service')])
  assert.deepEqual([groups[0].state, groups[0].members.length], ['Stable', 2])
  const crashes = [...payments, ...others].flatMap(state => state.crashes)
  assert.deepEqual(crashes, [])
  const errors = services.flatMap(service => service.errors)
  assert.deepEqual(
    errors.filter(error => !/rebalanc/i.test(error)),
    []
  )
})

test('seed-outbox-batches', async t => {
  // Saves first, publishes later in batches: one send with several topics, gzip.
  await declare(t, Object.fromEntries(OUTBOX.map(topic => [topic, 3])))
  const kafka = connect()
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  t.defer(() => producer.disconnect())
  const pending = Array.from({ length: 40 }, (_, n) => ({
    topic: OUTBOX[n % 2],
    event: { n },
    key: `order-${n}`,
  }))
  const messagesOf = wanted =>
    pending
      .filter(({ topic }) => topic === wanted)
      .map(({ event, key }) => ({ key, value: JSON.stringify(event) }))
  await producer.sendBatch({
    acks: -1,
    compression: CompressionTypes.GZIP,
    topicMessages: OUTBOX.map(topic => ({ topic: name(topic), messages: messagesOf(topic) })),
  })
  const service = new KafkaService('outbox-check')
  t.defer(() => service.disconnect())
  const got = []
  await service.subscribe(OUTBOX, 'outbox-check', async event => got.push(event.n), { fromBeginning: true })
  await t.until('all of the outbox', () => got.length === pending.length)
  assert.deepEqual(
    got.sort((a, b) => a - b),
    pending.map(({ event }) => event.n)
  )
})
