'use strict'
// Groups: rebalance, several topics, several groups.

const { assert, test } = require('../../common/harness')
const { committed, createTopic, numbered, producer, record, subscribe } = require('../client')

const PARTITIONS = 6

test('rebalance-of-two', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, PARTITIONS)
  const sender = producer(t)
  const groupId = t.group()
  const options = { topics: [topic], groupId, options: { autocommit: 50 } }
  const members = [await subscribe(t, options)]
  let sent = 0
  const round = async () => {
    const messages = Array.from({ length: 60 }, (_, n) =>
      record({ topic, partition: n % PARTITIONS, value: 'v' })
    )
    await sender.send({ messages, acks: -1 })
    sent += messages.length
    const all = () => members.flatMap(({ records }) => records)
    await t.until(`${sent} records to be seen`, () => all().length >= sent)
    await t.until(`${sent} to be committed`, async () => (await committed(control, groupId, topic)) === sent)
    const places = new Set(all().map(({ partition, offset }) => `${partition}:${offset}`))
    assert.deepEqual([places.size, all().length], [sent, sent], 'every record is seen once')
  }
  const counts = () => members.filter(({ closed }) => !closed).map(member => member.owned(topic).length)
  const settled = async (...wanted) => {
    await t.until(`${wanted} partitions`, () => JSON.stringify(counts()) === JSON.stringify(wanted))
    // A fetch that was out at the rebalance hands on its records, and the next one fetches them again.
    const live = members.filter(({ closed }) => !closed)
    const after = live.map(({ fetches }) => fetches + 2)
    await t.until('the fetches from before to end', () => live.every(({ fetches }, n) => fetches >= after[n]))
  }
  await settled(6)
  await round()
  members.push(await subscribe(t, options))
  await settled(3, 3)
  const split = members.flatMap(member => member.owned(topic)).sort()
  assert.deepEqual(split, [0, 1, 2, 3, 4, 5], 'a partition has one owner')
  const group = (await control.describeGroups({ groups: [groupId] })).get(groupId)
  assert.deepEqual([group.state, group.members.size], ['STABLE', 2])
  await round()
  await members[1].close()
  await settled(6)
  await round()
})

test('one-group-two-topics', async t => {
  const topics = [t.topic('a'), t.topic('b')]
  for (const topic of topics) await createTopic(t, topic, 2)
  const member = await subscribe(t, { topics, groupId: t.group() })
  await producer(t).send({ messages: topics.flatMap(topic => numbered(topic, 10)), acks: -1 })
  await member.count(20)
  for (const topic of topics) {
    assert.equal(member.records.filter(one => one.topic === topic).length, 10)
    assert.equal(member.owned(topic).length, 2)
  }
})

test('every-group-gets-everything', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 3)
  const members = []
  for (const name of ['payment', 'notify', 'analytics', 'audit']) {
    members.push(await subscribe(t, { topics: [topic], groupId: t.group(name) }))
  }
  await producer(t).send({ messages: numbered(topic, 30), acks: -1 })
  for (const member of members) await member.count(30)
})

test('static-member', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, 2)
  const groupId = t.group()
  const member = await subscribe(t, { topics: [topic], groupId, options: { groupInstanceId: 'one' } })
  await t.until('both partitions', () => member.owned(topic).length === 2)
  const group = (await control.describeGroups({ groups: [groupId] })).get(groupId)
  assert.deepEqual(
    [...group.members.values()].map(one => one.groupInstanceId),
    ['one']
  )
})
