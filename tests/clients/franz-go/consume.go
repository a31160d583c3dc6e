package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	suite "ottla.test/gosuite"

	"github.com/twmb/franz-go/pkg/kgo"
)

// member is one consumer of a group, with what it owns at the moment.
type member struct {
	*kgo.Client
	lock  sync.Mutex
	owned map[int32]bool
}

func join(t *suite.T, group, topic string, options ...kgo.Opt) *member {
	m := &member{owned: map[int32]bool{}}
	changed := func(owns bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			m.lock.Lock()
			defer m.lock.Unlock()
			for _, partition := range partitions[topic] {
				if owns {
					m.owned[partition] = true
				} else {
					delete(m.owned, partition)
				}
			}
		}
	}
	m.Client = connect(t, append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(100 * time.Millisecond),
		kgo.OnPartitionsAssigned(changed(true)),
		kgo.OnPartitionsRevoked(changed(false)),
		kgo.OnPartitionsLost(changed(false)),
	}, options...)...)
	return m
}

func (m *member) owns() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return len(m.owned)
}

// groupOfTwo: one member owns all, two share, and the one that stays owns all again at once.
func groupOfTwo(t *suite.T) {
	for _, balancer := range []kgo.GroupBalancer{kgo.CooperativeStickyBalancer(), kgo.RangeBalancer()} {
		topic := newTopic(t, balancer.ProtocolName(), 4, nil)
		group := t.Topic("group-" + balancer.ProtocolName())
		first := join(t, group, topic, kgo.Balancers(balancer))
		t.Until("one member with all", func() bool { return first.owns() == 4 })
		second := join(t, group, topic, kgo.Balancers(balancer))
		t.Until("two members with two each", func() bool { return first.owns() == 2 && second.owns() == 2 })

		for partition := range int32(4) {
			produce(t, numbered(topic, partition, 5, time.Now()))
		}
		seen := map[string]int{}
		for _, record := range append(consume(t, first.Client, 10), consume(t, second.Client, 10)...) {
			seen[fmt.Sprintf("%d %s", record.Partition, record.Value)]++
		}
		t.Equal(len(seen), 20, "different records over both members")

		t.Check(second.CommitUncommittedOffsets(t), "commit")
		t.Check(second.LeaveGroupContext(t), "leave")
		left := time.Now()
		t.Until("all with the one that stays", func() bool { return first.owns() == 4 })
		if took := time.Since(left); took > 8*time.Second {
			t.Failf("rebalance %v after a leave: only the session timeout ended it", took)
		}
	}
}

// commitAndResume: a second member of the same group goes on where the first committed.
func commitAndResume(t *suite.T) {
	topic, group := newTopic(t, "a", 1, nil), t.Topic("group")
	produce(t, numbered(topic, 0, 10, time.Now()))

	first := join(t, group, topic, kgo.DisableAutoCommit())
	got := consume(t, first.Client, 10)
	t.Check(first.CommitRecords(t, got[:6]...), "commit")
	t.Check(first.LeaveGroupContext(t), "leave")

	second := join(t, group, topic, kgo.DisableAutoCommit())
	t.Equal(values(consume(t, second.Client, 4)), sequence(6, 10), "values after the commit")
	t.Equal(second.CommittedOffsets()[topic][0].Offset, int64(6), "committed offset")
}

func seekByOffset(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	produce(t, numbered(topic, 0, 20, time.Now()))
	client := connect(t, from(topic, 0, kgo.NewOffset().At(15)))
	t.Equal(values(consume(t, client, 5)), sequence(15, 20), "from offset 15")
	client.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: 3}}})
	t.Equal(values(consume(t, client, 17)), sequence(3, 20), "from offset 3")

	reset := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	beyond := connect(t, from(topic, 0, kgo.NewOffset().At(1000)), reset)
	t.Equal(values(consume(t, beyond, 20)), sequence(0, 20), "out of range, reset to the start")
}

func seekByTime(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	first := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	produce(t, numbered(topic, 0, 20, first))
	at := func(after time.Duration) kgo.Opt {
		return from(topic, 0, kgo.NewOffset().AfterMilli(first.Add(after).UnixMilli()))
	}
	t.Equal(values(consume(t, connect(t, at(7*time.Second)), 13)), sequence(7, 20), "the moment of v-7")
	t.Equal(values(consume(t, connect(t, at(7500*time.Millisecond)), 12)), sequence(8, 20), "between two")
	t.Equal(values(consume(t, connect(t, at(-time.Minute)), 20)), sequence(0, 20), "before the first")
}

// fetchSent is closed when the client has put its first Fetch on the wire.
type fetchSent struct {
	once sync.Once
	done chan struct{}
}

func (f *fetchSent) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == 1 && err == nil {
		f.once.Do(func() { close(f.done) })
	}
}

func (*fetchSent) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) {}

// longPoll: a fetch that waits for up to 15 s is answered as soon as a record is there.
func longPoll(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	produce(t, numbered(topic, 0, 1, time.Now()))
	sent := &fetchSent{done: make(chan struct{})}
	consumer := connect(t, kgo.WithHooks(sent), kgo.FetchMaxWait(15*time.Second),
		from(topic, 0, kgo.NewOffset().At(1)))
	select {
	case <-sent.done:
	case <-t.Done():
		t.Failf("no fetch was sent")
	}
	began := time.Now()
	produce(t, numbered(topic, 0, 1, time.Now()))
	consume(t, consumer, 1)
	if took := time.Since(began); took > 5*time.Second {
		t.Failf("the parked fetch was answered after %v", took)
	}
}
