'use strict'
// Groups: rebalance, several topics, several groups, different subscriptions in one group.

const net = require('node:net')
const { AssignerProtocol } = require('kafkajs')
const { assert, test } = require('../../common/harness')
const { bySubscription, committed, connect, createTopic, producer, subscribe } = require('../client')

const PARTITIONS = 6

/** Sockets that can be cut all at once, after which none can be opened. */
function severable() {
  const sockets = []
  let severed = false
  const factory = ({ host, port, onConnect }) => {
    const socket = severed ? new net.Socket() : net.connect({ host, port }, onConnect)
    if (severed) setImmediate(() => socket.destroy(new Error('severed')))
    sockets.push(socket)
    return socket
  }
  const sever = () => {
    severed = true
    for (const socket of sockets) socket.destroy()
  }
  return { factory, sever }
}

test('rebalance-of-two', async t => {
  const topic = t.topic()
  const control = await createTopic(t, topic, PARTITIONS)
  const sender = await producer(t)
  const groupId = t.group()
  let sent = 0
  const sendRound = async () => {
    const messages = Array.from({ length: 60 }, (_, n) => ({
      partition: n % PARTITIONS,
      value: String(sent + n),
    }))
    sent += messages.length
    await sender.send({ topic, messages })
  }
  const options = { topics: [topic], groupId, heartbeatInterval: 100 }
  const members = [await subscribe(t, options)]
  const settled = async () => {
    const all = () => members.flatMap(({ records }) => records)
    await t.until(`${sent} records to be seen`, () => all().length >= sent)
    await t.until(`${sent} to be committed`, async () => (await committed(control, groupId, topic)) === sent)
    const places = new Set(all().map(({ partition, offset }) => `${partition}:${offset}`))
    assert.equal(places.size, sent, 'every record is seen')
    assert.equal(all().length, sent, 'no record is seen twice')
  }
  const [first] = members
  await t.until('the first member to own all', () => first.owned(topic) === PARTITIONS)
  await sendRound()
  await settled()

  const second = await subscribe(t, options)
  members.push(second)
  await t.until('both to own half', () => first.owned(topic) === 3 && second.owned(topic) === 3)
  const split = [...first.assignment[topic], ...second.assignment[topic]].sort()
  assert.deepEqual(split, [0, 1, 2, 3, 4, 5], 'a partition has one owner')
  const { groups } = await control.describeGroups([groupId])
  assert.equal(groups[0].state, 'Stable')
  assert.equal(groups[0].protocolType, 'consumer')
  const described = groups[0].members.map(
    ({ memberAssignment }) =>
      AssignerProtocol.MemberAssignment.decode(memberAssignment).assignment[topic].length
  )
  assert.deepEqual(described, [3, 3])
  await sendRound()
  await settled()
  const ofSecond = second.records.length
  assert.equal(ofSecond, 30)

  await second.consumer.disconnect()
  await t.until('the first to own all again', () => first.owned(topic) === PARTITIONS)
  await sendRound()
  await settled()
  assert.equal(second.records.length, ofSecond)
})

test('one-group-two-topics', async t => {
  const topics = [t.topic('a'), t.topic('b')]
  for (const topic of topics) await createTopic(t, topic, 2)
  const sender = await producer(t)
  const member = await subscribe(t, { topics, groupId: t.group() })
  for (const topic of topics) {
    await sender.send({ topic, messages: Array.from({ length: 10 }, (_, n) => ({ value: String(n) })) })
  }
  await member.count(20)
  for (const topic of topics) {
    assert.equal(member.records.filter(record => record.topic === topic).length, 10)
    assert.equal(member.owned(topic), 2)
  }
})

test('every-group-gets-everything', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 3)
  const sender = await producer(t)
  const groups = ['payment', 'notify', 'analytics', 'audit'].map(name => t.group(name))
  const members = []
  for (const groupId of groups) members.push(await subscribe(t, { topics: [topic], groupId }))
  await sender.send({
    topic,
    messages: Array.from({ length: 30 }, (_, n) => ({ key: String(n), value: String(n) })),
  })
  for (const member of members) await member.count(30)
})

test('different-subscriptions-in-one-group', async t => {
  const topics = [t.topic('a'), t.topic('b'), t.topic('c')]
  for (const topic of topics) await createTopic(t, topic, 3)
  const sender = await producer(t)
  const groupId = t.group()
  const members = []
  const options = { groupId, heartbeatInterval: 100, partitionAssigners: [bySubscription] }
  for (const topic of topics) members.push(await subscribe(t, { topics: [topic], ...options }))
  await t.until('each to own its own topic', () =>
    members.every((member, n) => member.owned(topics[n]) === 3 && Object.keys(member.assignment).length === 1)
  )
  for (const topic of topics) {
    await sender.send({ topic, messages: [0, 1, 2].map(partition => ({ partition, value: topic })) })
  }
  for (const [n, member] of members.entries()) {
    await member.count(3)
    assert.deepEqual(
      member.records.map(({ value }) => value),
      Array(3).fill(topics[n])
    )
  }
})

test('silent-member-is-replaced', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 2)
  const options = { topics: [topic], groupId: t.group(), sessionTimeout: 6000, heartbeatInterval: 200 }
  const wire = severable()
  const silent = await subscribe(t, { ...options, kafka: connect([], { socketFactory: wire.factory }) })
  await t.until('the first to own all', () => silent.owned(topic) === 2)
  wire.sever() // As at a crash: no LeaveGroup is sent, the session has to run out.
  const second = await subscribe(t, options)
  await t.until('the second to own all', () => second.owned(topic) === 2)
})

test('short-lived-members', async t => {
  const topic = t.topic()
  await createTopic(t, topic, 1)
  const sender = await producer(t)
  await sender.send({ topic, messages: [{ value: 'one' }] })
  const groupId = t.group()
  const began = performance.now()
  for (let n = 0; n < 20; n += 1) {
    const member = await subscribe(t, {
      topics: [topic],
      groupId,
      maxWaitTimeInMs: 10,
      run: { autoCommit: false },
    })
    await member.count(1)
    await member.consumer.disconnect()
  }
  t.note(`20 joins with a record each in ${(performance.now() - began).toFixed(0)} ms`)
})
