'use strict'
// Administration: topics, configs, records, groups, cluster.

const { ConfigResourceTypes } = require('kafkajs')
const { assert, test } = require('../../common/harness')
const {
  admin,
  committed,
  connect,
  createTopic,
  holds,
  numbered,
  producer,
  readAll,
  subscribe,
} = require('../client')

const type = error => error.type || error.cause?.type || error.errors?.[0]?.type
const refused = kind => error => assert.equal(type(error), kind) || true

async function configOf(control, topic, ...configNames) {
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic, configNames }
  const { resources } = await control.describeConfigs({ includeSynonyms: false, resources: [resource] })
  return Object.fromEntries(resources[0].configEntries.map(entry => [entry.configName, entry]))
}

test('admin-cluster', async t => {
  const control = await admin(t)
  const { brokers, controller, clusterId } = await control.describeCluster()
  assert.ok(clusterId)
  assert.ok(brokers.some(({ nodeId }) => nodeId === controller))
  assert.ok(brokers.every(({ host, port }) => host && port > 0))
  t.note(`cluster ${clusterId}, brokers ${brokers.map(b => `${b.nodeId}@${b.host}:${b.port}`).join(' ')}`)
})

test('admin-topics', async t => {
  const topic = t.topic()
  const configEntries = [
    { name: 'retention.ms', value: '3600000' },
    { name: 'cleanup.policy', value: 'compact' },
  ]
  const control = await createTopic(t, topic, 2, configEntries)
  assert.ok((await control.listTopics()).includes(topic))
  const { topics } = await control.fetchTopicMetadata({ topics: [topic] })
  assert.deepEqual(topics[0].partitions.map(({ partitionId }) => partitionId).sort(), [0, 1])
  const [{ leader, replicas, isr }] = topics[0].partitions
  assert.deepEqual([replicas, isr], [[leader], [leader]])
  assert.equal(await control.createTopics({ topics: [{ topic }] }), false, 'it exists already')

  const before = await configOf(control, topic, 'retention.ms', 'cleanup.policy', 'max.message.bytes')
  assert.equal(before['retention.ms'].configValue, '3600000')
  assert.equal(before['cleanup.policy'].configValue, 'compact')
  assert.equal(before['max.message.bytes'].configValue, '1048588')
  await control.deleteTopics({ topics: [topic] })
  await holds(t, 'the topic is gone', async () => !(await control.listTopics()).includes(topic))
})

test('admin-bad-topics', async t => {
  const control = connect([], { retry: { retries: 1, initialRetryTime: 50 } }).admin()
  t.defer(() => control.disconnect())
  await control.connect()
  const make = (topic, more) => control.createTopics({ topics: [{ topic, numPartitions: 1, ...more }] })
  await assert.rejects(make('two words'), refused('INVALID_TOPIC_EXCEPTION'))
  await assert.rejects(make(t.topic(), { numPartitions: 0 }), refused('INVALID_PARTITIONS'))
  const configEntries = [{ name: 'no.such.config', value: '1' }]
  await assert.rejects(make(t.topic(), { configEntries }), refused('INVALID_CONFIG'))
  const badValue = [{ name: 'retention.ms', value: 'soon' }]
  await assert.rejects(make(t.topic(), { configEntries: badValue }), refused('INVALID_CONFIG'))
  await assert.rejects(
    control.deleteTopics({ topics: [t.topic('never-made')] }),
    refused('UNKNOWN_TOPIC_OR_PARTITION')
  )
  const validated = await control.createTopics({
    validateOnly: true,
    waitForLeaders: false,
    topics: [{ topic: t.topic(), numPartitions: 1 }],
  })
  assert.equal(validated, true)
  assert.ok(!(await control.listTopics()).includes(t.topic()), 'validated only')
})

test('admin-topic-made-again', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(3) })
  await control.deleteTopics({ topics: [topic] })
  await holds(t, 'the topic is gone', async () => !(await control.listTopics()).includes(topic))
  await createTopic(t, topic, 1)
  const fresh = await producer(t, {}, connect())
  const [{ baseOffset }] = await fresh.send({ topic, messages: [{ value: 'anew' }] })
  assert.equal(baseOffset, '0')
  assert.equal((await readAll(t, topic, 1))[0].value, 'anew')
})

test('admin-partitions', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2)
  const raise = count => control.createPartitions({ topicPartitions: [{ topic, count }] })
  await raise(4)
  await holds(
    t,
    'four partitions',
    async () => (await control.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 4
  )
  await assert.rejects(raise(3), refused('INVALID_PARTITIONS'))
  const sender = await producer(t)
  await sender.send({ topic, messages: [{ partition: 3, value: 'in the new one' }] })
  assert.equal((await readAll(t, topic, 1))[0].partition, 3)
})

test('admin-configs', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const alter = (name, value) =>
    control.alterConfigs({
      validateOnly: false,
      resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name, value }] }],
    })
  await alter('retention.ms', '86400000')
  const settled = async (name, value) => (await configOf(control, topic, name))[name].configValue === value
  await holds(t, 'retention.ms is set', () => settled('retention.ms', '86400000'))
  // AlterConfigs replaces the whole set: what is not named is back at its default.
  await alter('max.message.bytes', '2000')
  await holds(t, 'max.message.bytes is set', () => settled('max.message.bytes', '2000'))
  const entries = await configOf(control, topic, 'retention.ms', 'max.message.bytes')
  assert.equal(entries['retention.ms'].configValue, '604800000')
  assert.equal(entries['retention.ms'].isDefault, true)
  assert.equal(entries['max.message.bytes'].isDefault, false)
  const sender = await producer(t, { retry: { retries: 0 } })
  await assert.rejects(
    sender.send({ topic, messages: [{ value: 'b'.repeat(3000) }] }),
    refused('MESSAGE_TOO_LARGE')
  )
  await assert.rejects(alter('no.such.config', '1'), refused('INVALID_CONFIG'))
  const all = await configOf(control, topic)
  for (const name of [
    'cleanup.policy',
    'segment.bytes',
    'retention.bytes',
    'min.insync.replicas',
    'compression.type',
  ]) {
    assert.ok(name in all, `${name} is described`)
  }
  const { brokers } = await control.describeCluster()
  const broker = { type: ConfigResourceTypes.BROKER, name: String(brokers[0].nodeId) }
  const { resources } = await control.describeConfigs({ includeSynonyms: true, resources: [broker] })
  assert.equal(resources[0].errorCode, 0)
  assert.ok(resources[0].configEntries.length > 10)
})

test('admin-delete-records', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: numbered(10) })
  await control.fetchTopicOffsets(topic) // kafkajs deletes only in topics whose metadata it holds.
  await control.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
  const [{ low, high }] = await control.fetchTopicOffsets(topic)
  assert.deepEqual([low, high], ['4', '10'])
  const records = await readAll(t, topic, 6)
  assert.deepEqual(
    records.map(({ offset }) => offset),
    [4, 5, 6, 7, 8, 9]
  )
  await control.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '-1' }] })
  const [after] = await control.fetchTopicOffsets(topic)
  assert.deepEqual([after.low, after.high], ['10', '10'])
})

test('admin-groups', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2)
  const sender = await producer(t)
  await sender.send({ topic, messages: [0, 1].flatMap(partition => numbered(5, { partition })) })
  const groupId = t.group()
  const member = await subscribe(t, { topics: [topic], groupId })
  await member.count(10)
  await t.until('everything to be committed', async () => (await committed(control, groupId, topic)) === 10)
  const { groups } = await control.listGroups()
  assert.deepEqual(
    groups.find(group => group.groupId === groupId),
    { groupId, protocolType: 'consumer' }
  )
  const stateOf = async () => (await control.describeGroups([groupId])).groups[0].state
  assert.equal(await stateOf(), 'Stable')
  await assert.rejects(
    control.deleteGroups([groupId]),
    error => error.groups[0].error.type === 'NON_EMPTY_GROUP'
  )
  await member.consumer.disconnect()
  assert.equal(await stateOf(), 'Empty')
  await control.deleteGroups([groupId])
  assert.ok(!(await control.listGroups()).groups.some(group => group.groupId === groupId))
  assert.equal(await stateOf(), 'Dead')
})

// kafkajs sets offsets as a member that fetches nothing, which takes it 5 s each time.
test('admin-reset-offsets', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2)
  const sender = await producer(t)
  await sender.send({ topic, messages: [0, 1].flatMap(partition => numbered(5, { partition })) })
  const groupId = t.group()
  const offsets = async () => {
    const [{ partitions }] = await control.fetchOffsets({ groupId, topics: [topic] })
    return partitions.sort((a, b) => a.partition - b.partition).map(({ offset }) => offset)
  }
  await control.resetOffsets({ groupId, topic, earliest: true })
  assert.deepEqual(await offsets(), ['-2', '-2'], 'kafkajs stores the mark of the earliest offset')
  const places = [3, 4].map((offset, partition) => ({ partition, offset: String(offset) }))
  await control.setOffsets({ groupId, topic, partitions: places })
  assert.deepEqual(await offsets(), ['3', '4'])
  const member = await subscribe(t, { topics: [topic], groupId })
  await member.count(3)
  assert.deepEqual(member.records.map(({ offset }) => offset).sort(), [3, 4, 4])
})

test('admin-offsets-of-an-unknown-group', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const [{ partitions }] = await control.fetchOffsets({ groupId: t.group(), topics: [topic] })
  assert.deepEqual(
    partitions.map(({ offset }) => offset),
    ['-1']
  )
})
