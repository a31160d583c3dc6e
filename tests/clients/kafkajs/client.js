'use strict'
// kafkajs as the cases use it: with its defaults, the codecs plugged in, and its errors kept.

const { AssignerProtocol, CompressionCodecs, CompressionTypes, Kafka, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const SnappyCodec = require('kafkajs-snappy')
const zstd = require('@bokuweb/zstd-wasm')
const { assert, env } = require('../common/harness')

// Short waits let a consumer leave quickly; kafkajs ends its last fetch before it goes.
const SHORT_WAIT_MS = 200

const zstdReady = zstd.init()
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => {
    await zstdReady
    return Buffer.from(zstd.compress(encoder.buffer, 3))
  },
  decompress: async buffer => {
    await zstdReady
    return Buffer.from(zstd.decompress(buffer))
  },
})

/** A client whose log goes into `errors` (level error), and to stdout with VERBOSE. */
function connect(errors = [], options = {}) {
  return new Kafka({
    clientId: 'ottla-kafkajs',
    brokers: [env.bootstrap],
    logLevel: logLevel.WARN,
    logCreator: () => entry => {
      if (entry.level === logLevel.ERROR) errors.push(entry.log.error || entry.log.message)
      if (process.env.VERBOSE) console.log('#', entry.namespace, JSON.stringify(entry.log))
    },
    ...options,
  })
}

async function producer(t, options, kafka = connect()) {
  const made = kafka.producer(options)
  await made.connect()
  t.defer(() => made.disconnect())
  return made
}

async function admin(t, kafka = connect()) {
  const made = kafka.admin()
  await made.connect()
  t.defer(() => made.disconnect())
  return made
}

/** Creates a topic. Apache Kafka lists it before its leader answers, so there it is asked again. */
async function createTopic(t, topic, numPartitions, configEntries = []) {
  const control = await admin(t)
  try {
    await control.createTopics({ topics: [{ topic, numPartitions, configEntries }] })
  } catch (error) {
    if (env.oracle !== 'kafka') throw error
    await t.until(`leaders of ${topic}`, () =>
      control.fetchTopicOffsets(topic).then(
        offsets => offsets.length === numPartitions,
        () => false
      )
    )
  }
  return control
}

/** True at once; Apache Kafka answers before all of it is seen, so there it may take a while. */
async function holds(t, what, check) {
  if (env.oracle === 'kafka') await t.until(what, check)
  else assert.ok(await check(), what)
}

/** A running consumer: what it got, and who owns what. */
class Member {
  constructor(t, consumer) {
    this.t = t
    this.consumer = consumer
    this.records = []
    this.assignment = null
    this.joins = 0
    this.fetches = 0
    this.crashes = []
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      this.assignment = payload.memberAssignment
      this.joins += 1
    })
    consumer.on(consumer.events.FETCH, () => (this.fetches += 1))
    consumer.on(consumer.events.CRASH, ({ payload }) => this.crashes.push(payload.error.message))
  }

  owned(topic) {
    return ((this.assignment && this.assignment[topic]) || []).length
  }

  async count(n, what = 'records') {
    await this.t.until(`${n} ${what}, got ${this.records.length}`, () => this.records.length >= n)
    return this.records
  }

  /** Joined, and positioned by a first fetch: from here on no new record can be missed. */
  async positioned() {
    const before = this.fetches
    await this.t.until('the group to be joined', () => this.assignment)
    await this.t.until('the first fetch', () => this.fetches > before)
  }
}

async function subscribe(t, { topics, groupId, fromBeginning = true, run = {}, kafka, ...options }) {
  const consumer = (kafka || connect()).consumer({
    groupId,
    maxWaitTimeInMs: SHORT_WAIT_MS,
    ...options,
  })
  const member = new Member(t, consumer)
  t.defer(() => consumer.disconnect())
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning })
  const eachMessage = async ({ topic, partition, message }) => {
    member.records.push(plain(topic, partition, message))
  }
  await consumer.run(run.eachBatch ? run : { eachMessage, ...run })
  return member
}

/**
 * An assigner that gives a member only what it subscribed to. kafkajs's own one deals out the
 * topics of the leader alone, so members of one group with different topics starve with it.
 */
const bySubscription = ({ cluster }) => ({
  name: 'BySubscription',
  version: 0,
  async assign({ members }) {
    const topicsOf = ({ memberMetadata }) => AssignerProtocol.MemberMetadata.decode(memberMetadata).topics
    const wanted = [...new Set(members.flatMap(topicsOf))]
    await cluster.addMultipleTargetTopics(wanted)
    const assignments = members.map(() => ({}))
    for (const topic of wanted) {
      const takers = members
        .map((member, n) => (topicsOf(member).includes(topic) ? n : -1))
        .filter(n => n >= 0)
      cluster.findTopicPartitionMetadata(topic).forEach(({ partitionId }, n) => {
        const assignment = assignments[takers[n % takers.length]]
        assignment[topic] = [...(assignment[topic] || []), partitionId]
      })
    }
    return members.map(({ memberId }, n) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({
        version: 0,
        assignment: assignments[n],
        userData: Buffer.alloc(0),
      }),
    }))
  },
  protocol: ({ topics }) => ({
    name: 'BySubscription',
    metadata: AssignerProtocol.MemberMetadata.encode({ version: 0, topics, userData: Buffer.alloc(0) }),
  }),
})

/** Reads `n` records of a topic from its beginning with a group of its own. */
async function readAll(t, topic, n) {
  const member = await subscribe(t, { topics: [topic], groupId: `${topic}-read-${n}` })
  return member.count(n)
}

/** A record as plain values; headers as ordered pairs, since a header key may come twice. */
function plain(topic, partition, message) {
  return {
    topic,
    partition,
    offset: Number(message.offset),
    timestamp: Number(message.timestamp),
    key: text(message.key),
    value: text(message.value),
    headers: pairs(message.headers),
  }
}

function text(bytes) {
  return bytes === null || bytes === undefined ? null : bytes.toString()
}

function pairs(headers = {}) {
  return Object.entries(headers).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map(one => [key, text(one)])
  )
}

function numbered(count, more = {}) {
  return Array.from({ length: count }, (_, n) => ({ key: `key-${n}`, value: `value-${n}`, ...more }))
}

/** Sum of a group's committed offsets of a topic; -1 (none) counts as 0. */
async function committed(control, groupId, topic) {
  const [answer] = await control.fetchOffsets({ groupId, topics: [topic] })
  return answer.partitions.reduce((sum, { offset }) => sum + Math.max(0, Number(offset)), 0)
}

/** Removes what the run made, so that a broker of somebody's own is left as it was. */
async function removeTopics() {
  const control = connect([], { retry: { retries: 0 } }).admin()
  await control.connect()
  const topics = (await control.listTopics()).filter(name => name.startsWith(env.runId))
  if (topics.length) await control.deleteTopics({ topics })
  const { groups } = await control.listGroups()
  const mine = groups.map(({ groupId }) => groupId).filter(id => id.startsWith(env.runId))
  if (mine.length) await control.deleteGroups(mine).catch(() => {}) // Members of a failed case may linger.
  await control.disconnect()
}

module.exports = {
  admin,
  bySubscription,
  committed,
  connect,
  createTopic,
  holds,
  numbered,
  pairs,
  plain,
  producer,
  readAll,
  removeTopics,
  subscribe,
}
