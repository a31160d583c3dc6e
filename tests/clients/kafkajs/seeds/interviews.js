'use strict'
// Interview platform: KafkaService with publishEvent(topic, event) and subscribe(topic, group,
// handler); four event types on one topic, read by two services.

const { assert, test } = require('../../common/harness')
const { KafkaService, declare, eventOf, ready } = require('./services')

test('seed-interview-platform', async t => {
  const topics = { 'user-events': 3, 'interview-events': 3, 'system-events': 3 }
  await declare(t, topics)
  const readers = {
    'user-service-group': ['user-events', 'interview-events'],
    'interview-service-group': ['user-events'],
    'reporting-service-group': ['interview-events'],
    'monitoring-service-group': ['system-events'],
    'audit-service-group': ['system-events'],
  }
  const got = {}
  for (const [group, subscribed] of Object.entries(readers)) {
    const service = new KafkaService(group.replace('-group', ''))
    t.defer(() => service.disconnect())
    got[group] = []
    const states = [
      await service.subscribe(subscribed, group, async event => got[group].push(event.eventType)),
    ]
    await ready(t, states, 3 * subscribed.length)
  }
  const gateway = new KafkaService('api-gateway')
  t.defer(() => gateway.disconnect())
  const types = ['user.authenticated', 'user.registered', 'user.logged_out', 'user.profile_updated']
  for (const type of types) {
    await gateway.publishEvent(
      'user-events',
      eventOf(type, 'api-gateway', { userId: 'u1', sessionId: 's1' }),
      'u1'
    )
  }
  await gateway.publishEvent(
    'interview-events',
    eventOf('interview.started', 'interview-service', { interviewId: 'i1' })
  )
  await gateway.publishEvent('system-events', eventOf('service.health', 'user-service', { ok: true }))
  const expected = {
    'user-service-group': [...types, 'interview.started'],
    'interview-service-group': types,
    'reporting-service-group': ['interview.started'],
    'monitoring-service-group': ['service.health'],
    'audit-service-group': ['service.health'],
  }
  for (const [group, events] of Object.entries(expected)) {
    await t.until(`${events.length} events in ${group}`, () => got[group].length >= events.length)
    assert.deepEqual([...got[group]].sort(), [...events].sort())
  }
  const users = got['interview-service-group']
  assert.deepEqual(users, types, 'one key keeps its order')
})
