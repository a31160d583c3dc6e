// The cases of franz-go: the newest request versions, topic ids on the wire, and the whole admin.
package main

import (
	"fmt"
	"time"

	suite "ottla.test/gosuite"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	suite.Main([]suite.Case{
		{Name: "produce_none", Run: codec(kgo.NoCompression())},
		{Name: "produce_gzip", Run: codec(kgo.GzipCompression())},
		{Name: "produce_snappy", Run: codec(kgo.SnappyCompression())},
		{Name: "produce_lz4", Run: codec(kgo.Lz4Compression())},
		{Name: "produce_zstd", Run: codec(kgo.ZstdCompression())},
		{Name: "acks_0", Run: acks(kgo.NoAck())},
		{Name: "acks_1", Run: acks(kgo.LeaderAck())},
		{Name: "acks_all", Run: acks(kgo.AllISRAcks())},
		{Name: "idempotent_producer", Run: idempotent},
		{Name: "too_large_message", Run: tooLarge},
		{Name: "group_of_two", Run: groupOfTwo},
		{Name: "commit_and_resume", Run: commitAndResume},
		{Name: "seek_by_offset", Run: seekByOffset},
		{Name: "seek_by_time", Run: seekByTime},
		{Name: "long_poll_wakes_up", Run: longPoll},
		{Name: "auto_creation", Run: autoCreation},
		{Name: "topic_recreated_has_a_new_id", Run: recreate},
		{Name: "admin_topics", Run: adminTopics},
		{Name: "admin_configs", Run: adminConfigs},
		{Name: "admin_delete_records", Run: adminDeleteRecords},
		{Name: "admin_groups", Run: adminGroups},
		{Name: "admin_offsets", Run: adminOffsets},
		{Name: "admin_cluster", Run: adminCluster},
		{Name: "txn_commit", Run: txnCommit},
		{Name: "txn_abort", Run: txnAbort},
		{Name: "txn_empty", Run: txnEmpty},
		{Name: "txn_back_to_back", Run: txnBackToBack},
		{Name: "txn_session", Run: txnSession},
		{Name: "txn_zombie", Run: txnZombie},
		{Name: "txn_timeout", Run: txnTimeout},
		{Name: "txn_admin", Run: txnAdmin},
	}, []suite.Case{
		{Name: "restart", Run: beforeRestart},
		{Name: "transactions", Run: beforeTransactions},
	}, []suite.Case{
		{Name: "restart", Run: afterRestart},
		{Name: "transactions", Run: afterTransactions},
	})
}

// connect is a client that is closed with the case.
func connect(t *suite.T, options ...kgo.Opt) *kgo.Client {
	options = append([]kgo.Opt{
		kgo.SeedBrokers(t.Bootstrap),
		kgo.MetadataMinAge(50 * time.Millisecond),
		// Apache Kafka knows a new topic some time before its leader answers.
		kgo.UnknownTopicRetries(100),
		kgo.FetchMaxWait(500 * time.Millisecond),
	}, options...)
	client, err := kgo.NewClient(options...)
	t.Check(err, "new client")
	t.Cleanup(client.Close)
	return client
}

func admin(t *suite.T) *kadm.Client { return kadm.NewClient(connect(t)) }

// newTopic makes a topic and waits until it is listed, which takes Apache Kafka a moment.
func newTopic(t *suite.T, suffix string, partitions int32, configs map[string]*string) string {
	name, client := t.Topic(suffix), admin(t)
	created, err := client.CreateTopic(t, partitions, 1, configs, name)
	t.Check(err, "create topic")
	t.Check(created.Err, "create topic")
	t.Until("the new topic", func() bool {
		details, err := client.ListTopics(t, name)
		return err == nil && details[name].Err == nil
	})
	return name
}

func text(value string) *string { return &value }

// numbered makes records k-0 v-0, k-1 v-1, and so on, one second apart, for one partition.
func numbered(topic string, partition int32, count int, first time.Time) []*kgo.Record {
	var records []*kgo.Record
	for i := range count {
		records = append(records, &kgo.Record{
			Topic:     topic,
			Partition: partition,
			Key:       fmt.Appendf(nil, "k-%d", i),
			Value:     fmt.Appendf(nil, "v-%d", i),
			Timestamp: first.Add(time.Duration(i) * time.Second),
		})
	}
	return records
}

// produce sends to the partition that each record names.
func produce(t *suite.T, records []*kgo.Record, options ...kgo.Opt) {
	options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	t.Check(connect(t, options...).ProduceSync(t, records...).FirstErr(), "produce")
}

// consume polls until there are count records.
func consume(t *suite.T, client *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(t)
		t.Check(fetches.Err(), fmt.Sprintf("poll, after %d of %d records", len(records), count))
		records = append(records, fetches.Records()...)
	}
	return records
}

// from reads one partition from a place, without a group.
func from(topic string, partition int32, offset kgo.Offset) kgo.Opt {
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: offset}})
}

func values(records []*kgo.Record) []string {
	var values []string
	for _, record := range records {
		values = append(values, string(record.Value))
	}
	return values
}

// sequence is v-first up to v-(end-1).
func sequence(first, end int) []string {
	var values []string
	for i := first; i < end; i++ {
		values = append(values, fmt.Sprintf("v-%d", i))
	}
	return values
}
