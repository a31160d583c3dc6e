package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
)

// transactional is a producer with a transactional id of its case.
func (t *env) transactional(id string, timeout time.Duration) sarama.SyncProducer {
	return t.producer(t.transactionalConfig(id, timeout))
}

func (t *env) transactionalConfig(id string, timeout time.Duration) *sarama.Config {
	config := t.config()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Producer.Transaction.ID = t.Topic(id)
	config.Producer.Transaction.Timeout = timeout
	config.Producer.Transaction.Retry.Backoff = 20 * time.Millisecond
	return config
}

// sendIn sends v-first up to v-(end-1) in the transaction that is open.
func (t *env) sendIn(producer sarama.SyncProducer, topic string, partition int32, first, end int) {
	var messages []*sarama.ProducerMessage
	for _, value := range sequence(first, end) {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)})
	}
	t.Check(producer.SendMessages(messages), "produce")
}

// transaction is a whole one with these records in a partition.
func (t *env) transaction(producer sarama.SyncProducer, topic string, first, end int, finish func() error) {
	t.Check(producer.BeginTxn(), "begin")
	t.sendIn(producer, topic, 0, first, end)
	t.Check(finish(), "end")
}

// readsCommitted finds exactly these, and then a record that is sent to end the reading.
func (t *env) readsCommitted(topic string, partition int32, want []string) {
	last := &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder("last")}
	t.produce([]*sarama.ProducerMessage{last}, sarama.CompressionNone)
	config := t.config()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, config)
	t.Check(err, "new consumer")
	stream, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
	t.Check(err, "consume partition")
	got := t.take(stream, len(want)+1)
	t.Check(stream.Close(), "close stream")
	t.Check(consumer.Close(), "close consumer")
	t.Equal(values(got), append(append([]string{}, want...), "last"), fmt.Sprintf("committed in %d", partition))
}

func txnCommitAndAbort(t *env) {
	topic := t.newTopic("a", 2, nil)
	producer := t.transactional("id", time.Minute)
	for round := range 4 {
		t.Check(producer.BeginTxn(), "begin")
		for partition := range int32(2) {
			t.sendIn(producer, topic, partition, 3*round, 3*round+3)
		}
		plain := sarama.StringEncoder(fmt.Sprintf("plain-%d", round))
		t.produce([]*sarama.ProducerMessage{{Topic: topic, Value: plain}}, sarama.CompressionNone)
		if round%2 == 0 {
			t.Check(producer.AbortTxn(), "abort")
		} else {
			t.Check(producer.CommitTxn(), "commit")
		}
	}
	t.readsCommitted(topic, 0, []string{"plain-0", "v-3", "v-4", "v-5", "plain-1", "plain-2",
		"v-9", "v-10", "v-11", "plain-3"})
	t.readsCommitted(topic, 1, []string{"v-3", "v-4", "v-5", "v-9", "v-10", "v-11"})
	t.Equal(values(t.read(topic, 1, 0, 12)), sequence(0, 12), "uncommitted")
}

func txnEmpty(t *env) {
	topic := t.newTopic("a", 1, nil)
	producer := t.transactional("id", time.Minute)
	for range 10 {
		t.Check(producer.BeginTxn(), "begin")
		t.Check(producer.CommitTxn(), "commit")
		t.Check(producer.BeginTxn(), "begin")
		t.Check(producer.AbortTxn(), "abort")
	}
	t.transaction(producer, topic, 0, 1, producer.CommitTxn)
	t.Equal(t.read(topic, 0, 0, 1)[0].Offset, int64(0), "first offset")
	t.readsCommitted(topic, 0, []string{"v-0"})
}

// committed is what an offset manager finds of the case's group.
func (t *env) committed(topic string) int64 {
	manager, err := sarama.NewOffsetManagerFromClient(t.Topic("group"), t.client())
	t.Check(err, "new offset manager")
	partition, err := manager.ManagePartition(topic, 0)
	t.Check(err, "manage partition")
	offset, _ := partition.NextOffset()
	partition.AsyncClose() // Ended by the manager's close.
	t.Check(manager.Close(), "close manager")
	return offset
}

// txnOffsets consumes, transforms and produces: offsets are there with the commit and not before.
func txnOffsets(t *env) {
	in, out, group := t.newTopic("in", 1, nil), t.newTopic("out", 1, nil), t.Topic("group")
	t.produce(numbered(in, 0, 10, time.Now()), sarama.CompressionNone)
	member := t.join(group, in, sarama.NewBalanceStrategyRange())
	got := member.take(10)
	metadata := sarama.NewConsumerGroupMetadataFromSession(member.session, group, nil)
	producer := t.transactional("id", time.Minute)
	attempt := func(first, end int) {
		t.Check(producer.BeginTxn(), "begin")
		t.sendIn(producer, out, 0, first, end)
		t.Check(producer.AddMessageToTxnWithGroupMetadata(got[end-1], metadata, nil), "offsets")
	}
	attempt(0, 9)
	t.Check(producer.AbortTxn(), "abort")
	t.Equal(t.committed(in), sarama.OffsetOldest, "offset after the abort")
	attempt(0, 5)
	t.Check(producer.CommitTxn(), "commit")
	t.Until("the committed offset", func() bool { return t.committed(in) == 5 })
	t.readsCommitted(out, 0, sequence(0, 5))

	metadata.GenerationID--
	t.Check(producer.BeginTxn(), "begin")
	t.Check(producer.AddMessageToTxnWithGroupMetadata(got[9], metadata, nil), "offsets") // Sent by the commit.
	t.IsError(producer.CommitTxn(), sarama.ErrIllegalGeneration, "an old generation")
	t.Check(producer.AbortTxn(), "abort of what was refused")
	t.Equal(t.committed(in), int64(5), "offset after what was refused")
}

// txnZombie: who begins with a transactional id ends what another one has open, and shuts it out.
func txnZombie(t *env) {
	topic := t.newTopic("a", 1, nil)
	first := t.transactional("id", time.Minute)
	t.Check(first.BeginTxn(), "begin")
	t.sendIn(first, topic, 0, 0, 2)
	second := t.transactional("id", time.Minute)
	t.transaction(second, topic, 2, 4, second.CommitTxn)
	err := first.CommitTxn()
	if !errors.Is(err, sarama.ErrProducerFenced) && !errors.Is(err, sarama.ErrInvalidProducerEpoch) {
		t.Failf("commit of a zombie: %v", err)
	}
	t.Equal(first.TxnStatus()&sarama.ProducerTxnFlagFatalError != 0, true, "for good")
	t.readsCommitted(topic, 0, sequence(2, 4))
}

// txnTimeout: the broker ends what is open for too long.
func txnTimeout(t *env) {
	topic := t.newTopic("a", 1, nil)
	producer := t.transactional("id", time.Second)
	t.Check(producer.BeginTxn(), "begin")
	t.sendIn(producer, topic, 0, 0, 2)
	t.Until("the end of the transaction", func() bool {
		end, err := t.client().GetOffset(topic, 0, sarama.OffsetNewest)
		t.Check(err, "end offset")
		return end == 3
	})
	if err := producer.CommitTxn(); err == nil {
		t.Failf("commit of what timed out")
	}
	next := t.transactional("id", time.Minute)
	t.transaction(next, topic, 2, 4, next.CommitTxn)
	t.readsCommitted(topic, 0, sequence(2, 4))
}

// beforeTransactions leaves a committed, an aborted and an open transaction behind.
func beforeTransactions(t *env) {
	topic := t.newTopic("a", 1, nil)
	// Not closed: a close would end the open one.
	producer, err := sarama.NewSyncProducer([]string{t.Bootstrap}, t.transactionalConfig("id", 10*time.Minute))
	t.Check(err, "new producer")
	t.transaction(producer, topic, 0, 5, producer.CommitTxn)
	t.transaction(producer, topic, 5, 10, producer.AbortTxn)
	t.Check(producer.BeginTxn(), "begin")
	t.sendIn(producer, topic, 0, 10, 15)
}

func afterTransactions(t *env) {
	topic := t.Topic("a")
	t.Equal(values(t.read(topic, 0, 0, 15)), sequence(0, 15), "uncommitted")
	producer := t.transactional("id", time.Minute)
	t.transaction(producer, topic, 15, 17, producer.CommitTxn)
	t.readsCommitted(topic, 0, append(sequence(0, 5), "v-15", "v-16"))
}
