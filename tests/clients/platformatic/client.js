'use strict'
// @platformatic/kafka as the cases use it: its defaults, but for short waits and heartbeats, so
// that a consumer leaves and sees a rebalance soon.

const { Admin, Consumer, Producer } = require('@platformatic/kafka')
const { assert, env } = require('../common/harness')

const base = { clientId: 'ottla-platformatic', bootstrapBrokers: [env.bootstrap] }
const PACE = { maxWaitTime: 200, heartbeatInterval: 200, sessionTimeout: 6000, rebalanceTimeout: 10_000 }

function admin(t) {
  const made = new Admin(base)
  t.defer(() => made.close())
  return made
}

function producer(t, options = {}) {
  const made = new Producer({ ...base, ...options })
  t.defer(() => made.close())
  return made
}

async function createTopic(t, topic, partitions, configs = {}) {
  const control = admin(t)
  const list = Object.entries(configs).map(([name, value]) => ({ name, value }))
  const [created] = await control.createTopics({ topics: [topic], partitions, replicas: 1, configs: list })
  assert.equal(created.partitions, partitions)
  if (env.oracle === 'kafka') {
    await t.until(`leaders of ${topic}`, () =>
      offsetsOf(control, topic, partitions).then(Boolean, () => false)
    )
  }
  return control
}

/** Offsets of all partitions by a timestamp; -1 asks for the end, -2 for the beginning. */
async function offsetsOf(control, topic, partitions, timestamp = -1n) {
  const wanted = Array.from({ length: partitions }, (_, partitionIndex) => ({ partitionIndex, timestamp }))
  const [found] = await control.listOffsets({ topics: [{ name: topic, partitions: wanted }] })
  return found.partitions
    .sort((a, b) => a.partitionIndex - b.partitionIndex)
    .map(({ offset }) => Number(offset))
}

/** True at once; Apache Kafka answers before all of it is seen, so there it may take a while. */
async function holds(t, what, check) {
  if (env.oracle === 'kafka') await t.until(what, check)
  else assert.ok(await check(), what)
}

const bytes = text => (text === null || text === undefined ? text : Buffer.from(text))
const text = buffer => (buffer === null || buffer === undefined ? null : buffer.toString())

/** A record as plain values; headers as ordered pairs, since a header key may come twice. */
function plain(message) {
  return {
    topic: message.topic,
    partition: message.partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: text(message.key),
    value: text(message.value),
    headers: [...message.headers].map(([key, value]) => [text(key), text(value)]),
  }
}

/** The other way: strings and pairs to what the producer takes. */
function record({ key, value, headers, ...more }) {
  const made = { ...more, key: bytes(key), value: bytes(value) }
  if (headers) made.headers = new Map(headers.map(([name, content]) => [bytes(name), bytes(content)]))
  return made
}

function numbered(topic, count, more = {}) {
  return Array.from({ length: count }, (_, n) =>
    record({ topic, key: `key-${n}`, value: `value-${n}`, ...more })
  )
}

/** A consumer with one stream in a group: what it got, and what it owns. */
class Member {
  constructor(t, groupId, options) {
    this.t = t
    this.records = []
    this.joins = 0
    this.fetches = 0
    this.errors = []
    this.closed = false
    this.consumer = new Consumer({ ...base, groupId, ...PACE, ...options })
    this.consumer.on('consumer:group:join', () => (this.joins += 1))
    t.defer(() => this.close())
  }

  async start({ topics, mode = 'committed', fallbackMode = 'earliest', ...options }) {
    this.stream = await this.consumer.consume({ topics, mode, fallbackMode, ...options })
    this.stream.on('fetch', () => (this.fetches += 1))
    this.stream.on('error', error => this.errors.push(error.message))
    this.stream.on('data', message => {
      this.records.push(plain(message))
      this.last = message
    })
    return this
  }

  owned(topic) {
    const found = (this.consumer.assignments || []).find(assignment => assignment.topic === topic)
    return this.closed || !found ? [] : found.partitions
  }

  async count(n) {
    await this.t.until(`${n} records`, () => {
      if (this.errors.length) throw new Error(this.errors[0])
      return this.records.length >= n
    })
    return this.records
  }

  async close() {
    if (this.closed) return
    this.closed = true
    await this.consumer.close(true)
  }
}

async function subscribe(t, { groupId, options = {}, ...stream }) {
  return new Member(t, groupId, options).start(stream)
}

/** Reads `n` records of a topic from its beginning with a group of its own. */
async function readAll(t, topic, n) {
  const member = await subscribe(t, {
    topics: [topic],
    groupId: `${topic}-read-${n}`,
    mode: 'earliest',
    options: { autocommit: false },
  })
  return member.count(n)
}

/** Sum of a group's committed offsets of a topic. */
async function committed(control, groupId, topic) {
  const [group] = await control.listConsumerGroupOffsets({ groups: [groupId] })
  const found = group.topics.find(({ name }) => name === topic)
  return found ? found.partitions.reduce((sum, { committedOffset }) => sum + Number(committedOffset), 0) : 0
}

/** Names of the protocol errors anywhere in a nest of errors. */
function codesOf(error) {
  if (!error) return []
  const inner = [...(error.errors || []), error.cause].filter(Boolean)
  return [error.apiId, ...inner.flatMap(codesOf)].filter(Boolean)
}

async function refused(code, promise) {
  await assert.rejects(promise, error => {
    assert.ok(codesOf(error).includes(code), `${code} in ${codesOf(error)} (${error.message})`)
    return true
  })
}

/** Removes what the run made, so that a broker of somebody's own is left as it was. */
async function removeAll() {
  const control = new Admin({ ...base, retries: 0 })
  const topics = (await control.listTopics()).filter(name => name.startsWith(env.runId))
  if (topics.length) await control.deleteTopics({ topics })
  const groups = [...(await control.listGroups()).keys()].filter(id => id.startsWith(env.runId))
  if (groups.length) await control.deleteGroups({ groups }).catch(() => {}) // Members of a failed case may linger.
  await control.close()
}

module.exports = {
  admin,
  bytes,
  codesOf,
  committed,
  createTopic,
  holds,
  numbered,
  offsetsOf,
  plain,
  producer,
  readAll,
  record,
  refused,
  removeAll,
  subscribe,
}
