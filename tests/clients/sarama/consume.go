package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// member is one consumer of a group, with what it owns at the moment.
type member struct {
	t        *env
	group    sarama.ConsumerGroup
	messages chan *sarama.ConsumerMessage
	lock     sync.Mutex
	claims   int
	session  sarama.ConsumerGroupSession
	leave    func()
}

func (t *env) join(group, topic string, strategy sarama.BalanceStrategy) *member {
	config := t.config()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	config.ClientID = "the-member"
	joined, err := sarama.NewConsumerGroup([]string{t.Bootstrap}, group, config)
	t.Check(err, "new consumer group")
	ctx, stop := context.WithCancel(t)
	m := &member{t: t, group: joined, messages: make(chan *sarama.ConsumerMessage, 1000)}
	var ended sync.WaitGroup
	ended.Go(func() {
		for ctx.Err() == nil && joined.Consume(ctx, []string{topic}, m) != sarama.ErrClosedConsumerGroup {
		}
	})
	ended.Go(func() {
		for range joined.Errors() { // Told by what is missing in the end.
		}
	})
	m.leave = sync.OnceFunc(func() {
		stop()
		t.Check(joined.Close(), "leave")
		ended.Wait()
	})
	t.Cleanup(m.leave)
	return m
}

// Setup is called when the member has got its share of a generation.
func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session, m.claims = session, 0
	for _, partitions := range session.Claims() {
		m.claims += len(partitions)
	}
	return nil
}

// Cleanup is called when the generation ends.
func (m *member) Cleanup(sarama.ConsumerGroupSession) error {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.claims = 0
	return nil
}

// ConsumeClaim hands over what one partition brings.
func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.messages <- message
		case <-session.Context().Done():
			return nil
		}
	}
}

func (m *member) owns() int {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.claims
}

func (m *member) take(count int) []*sarama.ConsumerMessage {
	var got []*sarama.ConsumerMessage
	for len(got) < count {
		select {
		case message := <-m.messages:
			got = append(got, message)
		case <-m.t.Done():
			m.t.Failf("%d of %d records", len(got), count)
		}
	}
	return got
}

func (m *member) commit(topic string, partition int32, offset int64) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.session.MarkOffset(topic, partition, offset, "a note")
	m.session.Commit()
}

// groupOfTwo: one member owns all, two share, and the one that stays owns all again at once.
func groupOfTwo(t *env) {
	for i, strategy := range []sarama.BalanceStrategy{
		sarama.NewBalanceStrategyRange(), sarama.NewBalanceStrategySticky(), sarama.NewBalanceStrategyRoundRobin(),
	} {
		topic, group := t.newTopic(fmt.Sprint("a", i), 4, nil), t.Topic(fmt.Sprint("group", i))
		first := t.join(group, topic, strategy)
		t.Until("one member with all", func() bool { return first.owns() == 4 })
		second := t.join(group, topic, strategy)
		t.Until("two members with two each", func() bool { return first.owns() == 2 && second.owns() == 2 })
		for partition := range int32(4) {
			t.produce(numbered(topic, partition, 5, time.Now()), sarama.CompressionNone)
		}
		seen := map[string]int{}
		for _, message := range append(first.take(10), second.take(10)...) {
			seen[fmt.Sprintf("%d %s", message.Partition, message.Value)]++
		}
		t.Equal(len(seen), 20, "different records over both members")
		second.leave()
		left := time.Now()
		t.Until("all with the one that stays", func() bool { return first.owns() == 4 })
		if took := time.Since(left); took > 8*time.Second {
			t.Failf("rebalance %v after a leave: only the session timeout ended it", took)
		}
	}
}

// commitAndResume: a second member of the same group goes on where the first committed.
func commitAndResume(t *env) {
	topic, group := t.newTopic("a", 1, nil), t.Topic("group")
	t.produce(numbered(topic, 0, 10, time.Now()), sarama.CompressionNone)
	first := t.join(group, topic, sarama.NewBalanceStrategyRange())
	first.take(10)
	first.commit(topic, 0, 6)
	first.leave()
	second := t.join(group, topic, sarama.NewBalanceStrategyRange())
	t.Equal(values(second.take(4)), sequence(6, 10), "values after the commit")
}

// offsetManager commits without a group's membership.
func offsetManager(t *env) {
	topic := t.newTopic("a", 1, nil)
	for _, expected := range []int64{sarama.OffsetOldest, 5, 6} {
		manager, err := sarama.NewOffsetManagerFromClient(t.Topic("group"), t.client())
		t.Check(err, "new offset manager")
		partition, err := manager.ManagePartition(topic, 0)
		t.Check(err, "manage partition")
		offset, _ := partition.NextOffset()
		t.Equal(offset, expected, "committed offset")
		partition.MarkOffset(max(offset, 4)+1, "a note")
		manager.Commit()
		partition.AsyncClose() // Ended by the manager's close.
		t.Check(manager.Close(), "close manager")
	}
}

func seekByOffset(t *env) {
	topic := t.newTopic("a", 1, nil)
	t.produce(numbered(topic, 0, 20, time.Now()), sarama.CompressionNone)
	t.Equal(values(t.read(topic, 0, 15, 5)), sequence(15, 20), "from offset 15")
	t.Equal(values(t.read(topic, 0, 3, 17)), sequence(3, 20), "from offset 3")
	consumer, err := sarama.NewConsumerFromClient(t.client())
	t.Check(err, "new consumer")
	_, err = consumer.ConsumePartition(topic, 0, 1000)
	t.IsError(err, sarama.ErrOffsetOutOfRange, "offset 1000")
}

func seekByTime(t *env) {
	topic, client := t.newTopic("a", 1, nil), t.client()
	first := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	t.produce(numbered(topic, 0, 20, first), sarama.CompressionNone)
	for after, expected := range map[time.Duration]int64{
		7 * time.Second: 7, 7500 * time.Millisecond: 8, -time.Minute: 0, 19 * time.Second: 19, 20 * time.Second: -1,
	} {
		offset, err := client.GetOffset(topic, 0, first.Add(after).UnixMilli())
		t.Check(err, "offset by time")
		t.Equal(offset, expected, fmt.Sprintf("offset %v after the first", after))
	}
	for place, expected := range map[int64]int64{sarama.OffsetOldest: 0, sarama.OffsetNewest: 20} {
		offset, err := client.GetOffset(topic, 0, place)
		t.Check(err, "end offset")
		t.Equal(offset, expected, "end offset")
	}
}

// longPoll: a fetch that waits for up to 15 s is answered as soon as a record is there.
func longPoll(t *env) {
	topic := t.newTopic("a", 1, nil)
	t.produce(numbered(topic, 0, 1, time.Now()), sarama.CompressionNone)
	config := t.config()
	config.Consumer.MaxWaitTime = 15 * time.Second
	consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, config)
	t.Check(err, "new consumer")
	stream, err := consumer.ConsumePartition(topic, 0, 0)
	t.Check(err, "consume partition")
	t.take(stream, 1) // The next fetch is sent at once, and parks.
	began := time.Now()
	t.produce(numbered(topic, 0, 1, time.Now()), sarama.CompressionNone)
	t.take(stream, 1)
	if took := time.Since(began); took > 5*time.Second {
		t.Failf("the parked fetch was answered after %v", took)
	}
	t.produce(numbered(topic, 0, 1, time.Now()), sarama.CompressionNone) // So that the close need not wait.
	t.Check(stream.Close(), "close stream")
	t.Check(consumer.Close(), "close consumer")
}
