'use strict'
// What the reference documents import and do not show: names, a KafkaService, events.

const { randomUUID } = require('node:crypto')
const { env } = require('../../common/harness')
const { bySubscription, connect, pairs } = require('../client')

// The documents' own topic and group names behind a prefix, so that a run meets no other;
// an empty SEED_PREFIX uses them as they are (on a fresh broker).
const prefix = process.env.SEED_PREFIX ?? `${env.runId}.`
const name = plain => prefix + plain
const bare = prefixed => prefixed.slice(prefix.length)

/** `publishEvent(topic, event[, key])` and `subscribe(topic, group, handler)`, one consumer each. */
class KafkaService {
  constructor(clientId) {
    this.errors = []
    this.clientId = clientId
    this.kafka = connect(this.errors, { clientId })
    this.consumers = []
  }

  async initialize() {
    if (this.producer) return
    this.producer = this.kafka.producer()
    await this.producer.connect()
  }

  async publishEvent(topic, event, key) {
    await this.initialize()
    const headers = { 'event-type': event.eventType || event.type, source: event.source || 'test' }
    return this.producer.send({
      topic: name(topic),
      messages: [{ key: key ?? event.eventId, value: JSON.stringify(event), headers }],
    })
  }

  async subscribe(topics, group, handler, { fromBeginning = false, ...more } = {}) {
    // kafkajs looks for a rebalance only between fetches; short waits keep the test short.
    const waits = { heartbeatInterval: 200, maxWaitTimeInMs: 200 }
    // Consumers of one `Kafka` share one table of positions a group, and the one that is told its
    // assignment last empties it: the others then crash for good.
    const kafka = connect(this.errors, { clientId: this.clientId })
    const consumer = kafka.consumer({
      groupId: name(group),
      partitionAssigners: [bySubscription],
      ...waits,
    })
    const state = watch(consumer)
    this.consumers.push(state)
    await consumer.connect()
    for (const topic of [topics].flat()) await consumer.subscribe({ topic: name(topic), fromBeginning })
    await consumer.run({
      ...more,
      eachMessage: async ({ topic, partition, message }) => {
        const metadata = {
          topic: bare(topic),
          partition,
          offset: message.offset,
          timestamp: message.timestamp,
        }
        metadata.key = message.key && message.key.toString()
        metadata.headers = Object.fromEntries(pairs(message.headers))
        await handler(JSON.parse(message.value.toString()), metadata)
      },
    })
    return state
  }

  async healthCheck() {
    return {
      connected: Boolean(this.producer),
      producer: Boolean(this.producer),
      consumers: this.consumers.length,
      brokers: env.bootstrap,
    }
  }

  async disconnect() {
    await Promise.all(
      [this.producer, ...this.consumers.map(({ consumer }) => consumer)].map(one => one?.disconnect())
    )
  }
}

/**
 * Follows what a consumer owns, whether it has looked up its positions since, the generation that a
 * heartbeat confirmed since, and its crashes. The trail tells all of it with the time.
 */
function watch(consumer) {
  const state = {
    consumer,
    group: null,
    assignment: null,
    positioned: false,
    generation: null,
    crashes: [],
    trail: [],
  }
  const tell = what => state.trail.push(`${new Date().toISOString().slice(17, 23)} ${what}`)
  const { CRASH, GROUP_JOIN, HEARTBEAT, REBALANCING, REQUEST } = consumer.events
  consumer.on(GROUP_JOIN, ({ payload }) => {
    Object.assign(state, { group: payload.groupId, assignment: payload.memberAssignment })
    Object.assign(state, { positioned: false, generation: null })
    tell(`${payload.memberId} joined for ${JSON.stringify(payload.memberAssignment)}`)
  })
  consumer.on(REQUEST, ({ payload }) => {
    if (payload.apiName === 'ListOffsets') tell('looked up offsets')
    if (payload.apiName === 'ListOffsets' || payload.apiName === 'Fetch') state.positioned = true
  })
  consumer.on(HEARTBEAT, ({ payload: { groupGenerationId } }) => {
    if (state.generation !== groupGenerationId) tell(`heartbeat in generation ${groupGenerationId}`)
    state.generation = groupGenerationId
  })
  consumer.on(REBALANCING, () => tell('the group rebalances'))
  consumer.on(CRASH, ({ payload }) => {
    state.crashes.push(payload.error.message)
    tell(`crash: ${payload.error.message}`)
  })
  return state
}

/** How consumers stand, and what the broker says of their groups and topics, a line each. */
async function account(states) {
  const lines = states.flatMap((state, n) => state.trail.map(line => `consumer ${n}: ${line}`))
  const control = connect().admin()
  await control.connect()
  try {
    for (const groupId of new Set(states.map(({ group }) => group).filter(Boolean))) {
      const { groups } = await control.describeGroups([groupId])
      const members = groups[0].members.map(({ memberId }) => memberId)
      lines.push(`group ${groupId}: ${groups[0].state}, members ${members.join(', ')}`)
      lines.push(`committed in ${groupId}: ${JSON.stringify(await control.fetchOffsets({ groupId }))}`)
    }
    for (const topic of new Set(states.flatMap(({ assignment }) => Object.keys(assignment || {})))) {
      lines.push(`offsets of ${topic}: ${JSON.stringify(await control.fetchTopicOffsets(topic))}`)
    }
  } catch (error) {
    lines.push(`no more: ${error.message}`)
  } finally {
    await control.disconnect()
  }
  return lines
}

function eventOf(type, source, payload) {
  return {
    eventId: randomUUID(),
    eventType: type,
    timestamp: new Date().toISOString(),
    version: '1.0',
    source,
    payload,
  }
}

/** Topics as the documents list them, made before the first produce where the count matters. */
async function declare(t, partitionsOf) {
  const control = connect().admin()
  await control.connect()
  t.defer(() => control.disconnect())
  const topics = Object.entries(partitionsOf).map(([topic, numPartitions]) => ({
    topic: name(topic),
    numPartitions,
  }))
  try {
    await control.createTopics({ topics })
  } catch (error) {
    if (env.oracle !== 'kafka') throw error
  }
  await t.until('every topic to be ready', async () => {
    const ready = topics.map(({ topic, numPartitions }) =>
      control.fetchTopicOffsets(topic).then(
        offsets => offsets.length === numPartitions,
        () => false
      )
    )
    return (await Promise.all(ready)).every(Boolean)
  })
  return control
}

/**
 * Waits until every partition has an owner that stands at its position: no new event is missed.
 * Where several consumers share a group, all must stand in one generation: what one of them is yet
 * to learn would make it look up its positions anew, behind the events of meanwhile.
 */
async function ready(t, states, partitionCount) {
  const owned = ({ assignment }) => Object.values(assignment || {}).flat().length
  const peers = ({ group }) => states.filter(state => state.group === group)
  t.explain(() => account(states))
  await t.until(
    'the groups to be complete',
    () => states.reduce((sum, state) => sum + owned(state), 0) === partitionCount
  )
  await t.until('their positions in one generation', () =>
    states.every(state => {
      const generations = new Set(peers(state).map(({ generation }) => generation))
      const isSettled = peers(state).length === 1 || (generations.size === 1 && !generations.has(null))
      return isSettled && (state.positioned || !owned(state))
    })
  )
}

module.exports = { KafkaService, bare, declare, eventOf, name, prefix, ready, watch }
