package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	suite "ottla.test/gosuite"

	"github.com/segmentio/kafka-go"
)

// member is one member of a group that only looks at what it is given.
type member struct {
	lock  sync.Mutex
	owned int
	leave func()
}

func join(t *suite.T, group, topic string, balancer kafka.GroupBalancer) *member {
	joined, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID:                group,
		Brokers:           []string{t.Bootstrap},
		Topics:            []string{topic},
		GroupBalancers:    []kafka.GroupBalancer{balancer},
		HeartbeatInterval: 100 * time.Millisecond,
		JoinGroupBackoff:  50 * time.Millisecond,
		StartOffset:       kafka.FirstOffset,
	})
	t.Check(err, "new consumer group")
	m, ended := &member{}, make(chan struct{})
	set := func(owned int) {
		m.lock.Lock()
		defer m.lock.Unlock()
		m.owned = owned
	}
	go func() {
		defer close(ended)
		for {
			generation, err := joined.Next(t)
			if errors.Is(err, kafka.ErrGroupClosed) || t.Err() != nil {
				return
			}
			if err != nil {
				continue // As kafka-go's reader does: the next round joins again.
			}
			set(len(generation.Assignments[topic]))
			generation.Start(func(ctx context.Context) {
				<-ctx.Done()
				set(0)
			})
		}
	}()
	m.leave = sync.OnceFunc(func() {
		t.Check(joined.Close(), "leave")
		<-ended
	})
	t.Cleanup(m.leave)
	return m
}

func (m *member) owns() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.owned
}

// groupOfTwo: one member owns all, two share, and the one that stays owns all again at once.
func groupOfTwo(t *suite.T) {
	for _, balancer := range []kafka.GroupBalancer{kafka.RangeGroupBalancer{}, kafka.RoundRobinGroupBalancer{}} {
		topic, group := newTopic(t, balancer.ProtocolName(), 4), t.Topic("group-"+balancer.ProtocolName())
		first := join(t, group, topic, balancer)
		t.Until("one member with all", func() bool { return first.owns() == 4 })
		second := join(t, group, topic, balancer)
		t.Until("two members with two each", func() bool { return first.owns() == 2 && second.owns() == 2 })
		second.leave()
		left := time.Now()
		t.Until("all with the one that stays", func() bool { return first.owns() == 4 })
		if took := time.Since(left); took > 8*time.Second {
			t.Failf("rebalance %v after a leave: only the session timeout ended it", took)
		}
	}
}

func groupReader(t *suite.T, group string, topic string) *kafka.Reader {
	return kafka.NewReader(kafka.ReaderConfig{
		Brokers:           []string{t.Bootstrap},
		GroupID:           group,
		GroupTopics:       []string{topic},
		HeartbeatInterval: 100 * time.Millisecond,
		JoinGroupBackoff:  50 * time.Millisecond,
		MaxWait:           200 * time.Millisecond,
		ReadBackoffMin:    10 * time.Millisecond,
		ReadBackoffMax:    50 * time.Millisecond,
		StartOffset:       kafka.FirstOffset,
	})
}

// commitAndResume: a second reader of the same group goes on where the first committed, and two
// readers of a group see each record once.
func commitAndResume(t *suite.T) {
	topic, group := newTopic(t, "a", 1), t.Topic("group")
	produce(t, topic, numbered(0, 10, time.Now()))
	first := groupReader(t, group, topic)
	got := read(t, first, 10)
	t.Check(first.CommitMessages(t, got[:6]...), "commit")
	t.Check(first.Close(), "close")
	second := closing(t, groupReader(t, group, topic))
	t.Equal(values(read(t, second, 4)), sequence(6, 10), "values after the commit")
}

func seekByOffset(t *suite.T) {
	topic := newTopic(t, "a", 1)
	produce(t, topic, numbered(0, 20, time.Now()))
	reader := reader(t, topic, 0)
	for _, offset := range []int{15, 3} {
		t.Check(reader.SetOffset(int64(offset)), "set offset")
		t.Equal(values(read(t, reader, 20-offset)), sequence(offset, 20), "values")
	}
	t.Check(reader.SetOffset(kafka.FirstOffset), "set offset")
	t.Equal(values(read(t, reader, 20)), sequence(0, 20), "from the first")
}

func seekByTime(t *suite.T) {
	topic := newTopic(t, "a", 1)
	first := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	produce(t, topic, numbered(0, 20, first))
	reader := reader(t, topic, 0)
	for after, offset := range map[time.Duration]int{
		7 * time.Second: 7, 7500 * time.Millisecond: 8, -time.Minute: 0, 19 * time.Second: 19,
	} {
		t.Check(reader.SetOffsetAt(t, first.Add(after)), "set offset by time")
		t.Equal(values(read(t, reader, 20-offset)), sequence(offset, 20), fmt.Sprint(after, " after the first"))
	}
}

// longPoll: a fetch that waits for up to 10 s is answered as soon as a record is there.
func longPoll(t *suite.T) {
	topic := newTopic(t, "a", 1)
	produce(t, topic, numbered(0, 1, time.Now()))
	reader := closing(t, kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.Bootstrap}, Topic: topic, MaxWait: 10 * time.Second, MinBytes: 1, MaxBytes: 1e6,
	}))
	read(t, reader, 1)
	answered := make(chan error, 1)
	go func() {
		_, err := reader.FetchMessage(t)
		answered <- err
	}()
	// A fetch that is answered empty is counted, one that is parked is not: both are fine here.
	t.Until("the next fetch on its way", func() bool { return reader.Stats().Fetches >= 1 })
	began := time.Now()
	produce(t, topic, numbered(0, 1, time.Now()))
	t.Check(<-answered, "read")
	if took := time.Since(began); took > 5*time.Second {
		t.Failf("the parked fetch was answered after %v", took)
	}
	closed := make(chan error, 1)
	go func() { closed <- reader.Close() }()
	produce(t, topic, numbered(0, 1, time.Now())) // The close waits for the fetch sent ahead.
	t.Check(<-closed, "close")
}
