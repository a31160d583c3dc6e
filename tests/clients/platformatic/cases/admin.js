'use strict'
// Administration: topics, configs, records, groups.

const { ConfigResourceTypes, IncrementalAlterConfigOperationTypes } = require('@platformatic/kafka')
const { assert, test } = require('../../common/harness')
const client = require('../client')
const {
  admin,
  committed,
  createTopic,
  holds,
  numbered,
  offsetsOf,
  producer,
  readAll,
  record,
  refused,
  subscribe,
} = client

const { SET, DELETE, APPEND } = IncrementalAlterConfigOperationTypes

async function configsOf(control, topic) {
  const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }]
  const [{ configs }] = await control.describeConfigs({ resources })
  return Object.fromEntries(configs.map(({ name, value }) => [name, value]))
}

function alter(control, topic, configOperation, name, value = null) {
  const configs = [{ name, configOperation, value }]
  const resources = [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: topic, configs }]
  return control.incrementalAlterConfigs({ resources, validateOnly: false })
}

test('admin-cluster', async t => {
  const metadata = await admin(t).metadata({ topics: [] })
  assert.ok(metadata.id)
  assert.ok(metadata.brokers.has(metadata.controllerId))
  t.note(`cluster ${metadata.id}, brokers ${JSON.stringify([...metadata.brokers])}`)
})

test('admin-topics', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2, { 'retention.ms': '3600000', 'cleanup.policy': 'compact' })
  assert.ok((await control.listTopics()).includes(topic))
  const found = (await control.metadata({ topics: [topic] })).topics.get(topic)
  assert.equal(found.partitionsCount, 2)
  assert.match(found.id, /^[0-9a-f-]{36}$/)
  await refused('TOPIC_ALREADY_EXISTS', control.createTopics({ topics: [topic], partitions: 1, replicas: 1 }))
  const configs = await configsOf(control, topic)
  assert.deepEqual([configs['retention.ms'], configs['cleanup.policy']], ['3600000', 'compact'])
  assert.equal(configs['max.message.bytes'], '1048588')
  await control.deleteTopics({ topics: [topic] })
  await holds(t, 'the topic is gone', async () => !(await control.listTopics()).includes(topic))
})

test('admin-bad-topics', async t => {
  const control = admin(t)
  const make = more => control.createTopics({ topics: [t.topic()], partitions: 1, replicas: 1, ...more })
  await refused('INVALID_TOPIC_EXCEPTION', make({ topics: ['a'.repeat(250)] }))
  await refused('INVALID_CONFIG', make({ configs: [{ name: 'no.such.config', value: '1' }] }))
  await refused('INVALID_CONFIG', make({ configs: [{ name: 'retention.ms', value: 'soon' }] }))
  await refused('UNKNOWN_TOPIC_OR_PARTITION', control.deleteTopics({ topics: [t.topic('never-made')] }))
})

test('admin-topic-made-again', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  await producer(t).send({ messages: numbered(topic, 3), acks: -1 })
  const idOf = async () =>
    (await admin(t).metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).id
  const first = await idOf()
  await control.deleteTopics({ topics: [topic] })
  await holds(t, 'the topic is gone', async () => !(await control.listTopics()).includes(topic))
  await createTopic(t, topic, 1)
  assert.notEqual(await idOf(), first, 'a topic made again is another topic')
  const { offsets } = await producer(t).send({ messages: [record({ topic, value: 'anew' })], acks: -1 })
  assert.equal(offsets[0].offset, 0n)
  assert.equal((await readAll(t, topic, 1))[0].value, 'anew')
})

test('admin-partitions', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2)
  await control.createPartitions({ topics: [{ name: topic, count: 4 }] })
  const count = async () =>
    (await control.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount
  await holds(t, 'four partitions', async () => (await count()) === 4)
  await refused('INVALID_PARTITIONS', control.createPartitions({ topics: [{ name: topic, count: 3 }] }))
  const place = record({ topic, partition: 3, value: 'in the new one' })
  await t.until('the new partition to lead', () =>
    producer(t)
      .send({ messages: [place], acks: -1 })
      .then(
        () => true,
        error => {
          if (process.env.ORACLE !== 'kafka') throw error
          return false
        }
      )
  )
  assert.equal((await readAll(t, topic, 1))[0].partition, 3)
})

test('admin-configs', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1, { 'retention.ms': '86400000' })
  const is = (name, value) => async () => (await configsOf(control, topic))[name] === value
  await alter(control, topic, SET, 'max.message.bytes', '2000')
  await holds(t, 'max.message.bytes is set', is('max.message.bytes', '2000'))
  assert.ok(await is('retention.ms', '86400000')(), 'the other one stays')
  const tooBig = record({ topic, value: 'b'.repeat(3000) })
  await refused('MESSAGE_TOO_LARGE', producer(t).send({ messages: [tooBig], acks: -1 }))
  await alter(control, topic, DELETE, 'retention.ms')
  await holds(t, 'retention.ms is back at its default', is('retention.ms', '604800000'))
  await alter(control, topic, APPEND, 'cleanup.policy', 'compact')
  await holds(t, 'cleanup.policy has both', is('cleanup.policy', 'delete,compact'))
  await refused('INVALID_CONFIG', alter(control, topic, SET, 'no.such.config', '1'))
})

test('admin-delete-records', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  await producer(t).send({ messages: numbered(topic, 10), acks: -1 })
  const cut = async offset => {
    const partitions = [{ partition: 0, offset }]
    const [{ partitions: answer }] = await control.deleteRecords({ topics: [{ name: topic, partitions }] })
    return answer[0].lowWatermark
  }
  assert.equal(await cut(4n), 4n)
  assert.deepEqual(await offsetsOf(control, topic, 1, -2n), [4])
  assert.deepEqual(
    (await readAll(t, topic, 6)).map(({ offset }) => offset),
    [4, 5, 6, 7, 8, 9]
  )
  await refused('OFFSET_OUT_OF_RANGE', cut(11n))
})

test('admin-list-offsets', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  const sender = producer(t)
  for (const stamp of [1000n, 6000n, 2000n]) {
    const timestamp = 1_700_000_000_000n + stamp
    await sender.send({ messages: [record({ topic, partition: 0, value: 'v', timestamp })], acks: -1 })
  }
  assert.deepEqual(
    [await offsetsOf(control, topic, 1, -2n), await offsetsOf(control, topic, 1, -1n)],
    [[0], [3]]
  )
  assert.deepEqual(await offsetsOf(control, topic, 1, -3n), [1], 'the greatest timestamp')
})

test('admin-groups', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2)
  const messages = [0, 1].flatMap(partition => numbered(topic, 5, { partition }))
  await producer(t).send({ messages, acks: -1 })
  const groupId = t.group()
  const member = await subscribe(t, { topics: [topic], groupId, options: { autocommit: 50 } })
  await member.count(10)
  await t.until('everything to be committed', async () => (await committed(control, groupId, topic)) === 10)
  const listed = (await control.listGroups()).get(groupId)
  assert.deepEqual([listed.state, listed.groupType, listed.protocolType], ['STABLE', 'classic', 'consumer'])
  const described = async () => (await control.describeGroups({ groups: [groupId] })).get(groupId)
  assert.equal((await described()).members.size, 1)
  await refused('NON_EMPTY_GROUP', control.deleteGroups({ groups: [groupId] }))
  await member.close()
  assert.equal((await described()).state, 'EMPTY')
  const places = [3n, 4n].map((offset, partition) => ({ partition, offset }))
  await control.alterConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionOffsets: places }] })
  const again = await subscribe(t, { topics: [topic], groupId, options: { autocommit: false } })
  await again.count(3)
  assert.deepEqual(again.records.map(({ offset }) => offset).sort(), [3, 4, 4])
  await again.close()
  await control.deleteConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionIndexes: [0] }] })
  assert.equal(await committed(control, groupId, topic), 4)
  await control.deleteGroups({ groups: [groupId] })
  assert.ok(!(await control.listGroups()).has(groupId))
})

test('admin-log-dirs', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 1)
  await producer(t).send({ messages: numbered(topic, 10), acks: -1 })
  const [{ results }] = await control.describeLogDirs({ topics: [{ name: topic, partitions: [0] }] })
  const found = results[0].topics.find(({ name }) => name === topic)
  assert.ok(found.partitions[0].partitionSize > 0n)
})
