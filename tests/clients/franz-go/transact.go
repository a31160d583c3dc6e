package main

import (
	"errors"
	"fmt"
	"time"

	suite "ottla.test/gosuite"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transactional is a producer with a transactional id of its case.
func transactional(t *suite.T, id string, options ...kgo.Opt) *kgo.Client {
	return connect(t, append([]kgo.Opt{
		kgo.TransactionalID(t.Topic(id)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, options...)...)
}

// sendIn sends v-first up to v-(end-1) in the transaction that is open, and waits for the answers.
func sendIn(t *suite.T, producer *kgo.Client, topic string, partition int32, first, end int) {
	var records []*kgo.Record
	for _, value := range sequence(first, end) {
		records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)})
	}
	t.Check(producer.ProduceSync(t, records...).FirstErr(), "produce")
}

// transaction is a whole one with these records in a partition.
func transaction(t *suite.T, producer *kgo.Client, topic string, first, end int, how kgo.TransactionEndTry) {
	t.Check(producer.BeginTransaction(), "begin")
	sendIn(t, producer, topic, 0, first, end)
	t.Check(producer.EndTransaction(t, how), "end")
}

// ends are the last stable offset and the high watermark.
func ends(t *suite.T, topic string, partition int32) [2]int64 {
	control := admin(t)
	stable, err := control.ListCommittedOffsets(t, topic)
	t.Check(err, "list committed offsets")
	all, err := control.ListEndOffsets(t, topic)
	t.Check(err, "list end offsets")
	return [2]int64{stable[topic][partition].Offset, all[topic][partition].Offset}
}

// readsCommitted finds exactly these, and then a record that is sent to end the reading.
func readsCommitted(t *suite.T, topic string, partition int32, want []string) {
	last := &kgo.Record{Topic: topic, Partition: partition, Value: []byte("last")}
	produce(t, []*kgo.Record{last})
	got := consume(t, connect(t, kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		from(topic, partition, kgo.NewOffset().AtStart())), len(want)+1)
	t.Equal(values(got), append(append([]string{}, want...), "last"), fmt.Sprintf("committed in %d", partition))
}

func txnCommit(t *suite.T) {
	topic, other := newTopic(t, "a", 3, nil), newTopic(t, "b", 1, nil)
	producer := transactional(t, "id")
	t.Check(producer.BeginTransaction(), "begin")
	for partition := range int32(3) {
		sendIn(t, producer, topic, partition, 0, 5)
	}
	sendIn(t, producer, other, 0, 7, 8)
	for partition := range int32(3) {
		got := consume(t, connect(t, from(topic, partition, kgo.NewOffset().AtStart())), 5)
		t.Equal(values(got), sequence(0, 5), "uncommitted")
		t.Equal(ends(t, topic, partition), [2]int64{0, 5}, "ends while it is open")
	}
	t.Check(producer.EndTransaction(t, kgo.TryCommit), "commit")
	for partition := range int32(3) {
		t.Until("its end", func() bool { return ends(t, topic, partition) == [2]int64{6, 6} })
		readsCommitted(t, topic, partition, sequence(0, 5))
	}
	readsCommitted(t, other, 0, []string{"v-7"})
}

func txnAbort(t *suite.T) {
	topic := newTopic(t, "a", 2, nil)
	producer := transactional(t, "id")
	for round := range 4 {
		t.Check(producer.BeginTransaction(), "begin")
		for partition := range int32(2) {
			sendIn(t, producer, topic, partition, 3*round, 3*round+3)
		}
		plain := fmt.Appendf(nil, "plain-%d", round)
		produce(t, []*kgo.Record{{Topic: topic, Partition: 0, Value: plain}})
		t.Check(producer.EndTransaction(t, kgo.TransactionEndTry(round%2 == 1)), "end")
	}
	readsCommitted(t, topic, 0, []string{"plain-0", "v-3", "v-4", "v-5", "plain-1", "plain-2",
		"v-9", "v-10", "v-11", "plain-3"})
	readsCommitted(t, topic, 1, []string{"v-3", "v-4", "v-5", "v-9", "v-10", "v-11"})
	got := consume(t, connect(t, from(topic, 1, kgo.NewOffset().AtStart())), 12)
	t.Equal(values(got[:12]), sequence(0, 12), "uncommitted")
}

func txnEmpty(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	producer := transactional(t, "id")
	for round := range 20 {
		t.Check(producer.BeginTransaction(), "begin")
		t.Check(producer.EndTransaction(t, kgo.TransactionEndTry(round%2 == 0)), "end")
	}
	t.Equal(ends(t, topic, 0), [2]int64{0, 0}, "ends")
	transaction(t, producer, topic, 0, 1, kgo.TryCommit)
	readsCommitted(t, topic, 0, []string{"v-0"})
}

// txnBackToBack has one after the other without a pause.
func txnBackToBack(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	producer := transactional(t, "id")
	for i := range 100 {
		transaction(t, producer, topic, i, i+1, kgo.TryCommit)
	}
	readsCommitted(t, topic, 0, sequence(0, 100))
}

// txnSession consumes, transforms and produces: what is aborted is read again, the rest once.
func txnSession(t *suite.T) {
	in, out := newTopic(t, "in", 2, nil), newTopic(t, "out", 1, nil)
	for partition := range int32(2) {
		produce(t, numbered(in, partition, 10, time.Now()))
	}
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(t.Bootstrap),
		kgo.TransactionalID(t.Topic("id")),
		kgo.ConsumerGroup(t.Topic("group")),
		kgo.ConsumeTopics(in),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.RequireStableFetchOffsets(),
	)
	t.Check(err, "new session")
	t.Cleanup(session.Close)
	done := 0
	for round := 0; done < 20; round++ {
		fetches := session.PollRecords(t, 6)
		t.Check(fetches.Err(), "poll")
		t.Check(session.Begin(), "begin")
		for _, record := range fetches.Records() {
			value := fmt.Appendf(nil, "%d-%s", record.Partition, record.Value)
			t.Check(session.ProduceSync(t, &kgo.Record{Topic: out, Value: value}).FirstErr(), "produce")
		}
		committed, err := session.End(t, kgo.TransactionEndTry(round%3 != 1))
		t.Check(err, "end")
		if committed {
			done += fetches.NumRecords()
		}
	}
	got := consume(t, connect(t, kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		from(out, 0, kgo.NewOffset().AtStart())), 20)
	var seen [2][]string
	for _, record := range got {
		var partition, number int
		_, err := fmt.Sscanf(string(record.Value), "%d-v-%d", &partition, &number)
		t.Check(err, "value")
		seen[partition] = append(seen[partition], fmt.Sprintf("v-%d", number))
	}
	t.Equal(seen, [2][]string{sequence(0, 10), sequence(0, 10)}, "transformed")
	offsets, err := admin(t).FetchOffsetsForTopics(t, t.Topic("group"), in)
	t.Check(err, "fetch offsets")
	for partition := range int32(2) {
		at, _ := offsets.Lookup(in, partition)
		t.Equal(at.At, int64(10), "committed offset")
	}
}

// txnZombie: who begins with a transactional id ends what another one has open, and shuts it out.
func txnZombie(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	first := transactional(t, "id")
	t.Check(first.BeginTransaction(), "begin")
	sendIn(t, first, topic, 0, 0, 2)
	second := transactional(t, "id")
	transaction(t, second, topic, 2, 4, kgo.TryCommit)
	t.IsError(first.EndTransaction(t, kgo.TryCommit), kerr.ProducerFenced, "commit of a zombie")

	t.Check(second.BeginTransaction(), "begin")
	sendIn(t, second, topic, 0, 4, 6)
	transaction(t, transactional(t, "id"), topic, 6, 8, kgo.TryCommit)
	late := second.ProduceSync(t, &kgo.Record{Topic: topic, Value: []byte("late")}).FirstErr()
	if !errors.Is(late, kerr.InvalidProducerEpoch) && !errors.Is(late, kerr.ProducerFenced) {
		t.Failf("send of a zombie: %v", late)
	}
	readsCommitted(t, topic, 0, []string{"v-2", "v-3", "v-6", "v-7"})
}

// txnTimeout: the broker ends what is open for too long.
func txnTimeout(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	producer := transactional(t, "id", kgo.TransactionTimeout(time.Second))
	t.Check(producer.BeginTransaction(), "begin")
	sendIn(t, producer, topic, 0, 0, 2)
	t.Until("the end of the transaction", func() bool { return ends(t, topic, 0) == [2]int64{3, 3} })
	t.IsError(producer.EndTransaction(t, kgo.TryCommit), kerr.InvalidTxnState, "commit of what timed out")
	transaction(t, transactional(t, "id"), topic, 2, 4, kgo.TryCommit)
	readsCommitted(t, topic, 0, sequence(2, 4))
}

// txnAdmin looks at a transaction, and ends it past the coordinator.
func txnAdmin(t *suite.T) {
	topic, id, control := newTopic(t, "a", 1, nil), t.Topic("id"), admin(t)
	producer := transactional(t, "id", kgo.TransactionTimeout(54321*time.Millisecond))
	t.Check(producer.BeginTransaction(), "begin")
	sendIn(t, producer, topic, 0, 0, 3)
	described, err := control.DescribeTransactions(t, id)
	t.Check(err, "describe")
	open := described[id]
	t.Equal(open.State, "Ongoing", "state")
	t.Equal(open.TimeoutMillis, int32(54321), "timeout")
	t.Equal(open.Topics.Lookup(topic, 0), true, "partition")
	listed, err := control.ListTransactionsByTxPattern(t, nil, []string{"Ongoing"}, ".*"+id)
	t.Check(err, "list")
	t.Equal(listed.TransactionalIDs(), []string{id}, "listed")
	producers, err := control.DescribeProducers(t, kadm.TopicsSet{topic: {0: {}}})
	t.Check(err, "describe producers")
	all := producers[topic].Partitions[0].ActiveProducers.Sorted()
	t.Equal(len(all), 1, "producers")
	t.Equal([]int64{all[0].ProducerID, all[0].CurrentTxnStartOffset}, []int64{open.ProducerID, 0}, "producer")
	t.Check(producer.EndTransaction(t, kgo.TryAbort), "abort")
	t.Until("the abort complete", func() bool {
		described, err := control.DescribeTransactions(t, id, "nobody")
		t.Check(err, "describe")
		t.IsError(described["nobody"].Err, kerr.TransactionalIDNotFound, "an id that nobody has")
		return described[id].State == "CompleteAbort"
	})
}

// beforeTransactions leaves a committed, an aborted and an open transaction behind.
func beforeTransactions(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	producer := transactional(t, "id", kgo.TransactionTimeout(10*time.Minute)) // Its close does not end the open one.
	transaction(t, producer, topic, 0, 5, kgo.TryCommit)
	transaction(t, producer, topic, 5, 10, kgo.TryAbort)
	t.Check(producer.BeginTransaction(), "begin")
	sendIn(t, producer, topic, 0, 10, 15)
	t.Equal(ends(t, topic, 0), [2]int64{12, 17}, "ends")
}

func afterTransactions(t *suite.T) {
	topic := t.Topic("a")
	t.Equal(ends(t, topic, 0), [2]int64{12, 17}, "ends")
	got := consume(t, connect(t, from(topic, 0, kgo.NewOffset().AtStart())), 15)
	t.Equal(values(got), sequence(0, 15), "uncommitted")
	transaction(t, transactional(t, "id"), topic, 15, 17, kgo.TryCommit)
	readsCommitted(t, topic, 0, append(sequence(0, 5), "v-15", "v-16"))
}
