// The cases of sarama, each with its default protocol version and with the newest one it has.
package main

import (
	"fmt"
	"time"

	suite "ottla.test/gosuite"

	"github.com/IBM/sarama"
)

// env is a case with the protocol version that its clients are told to speak.
type env struct {
	*suite.T
	version sarama.KafkaVersion
}

func main() {
	all := []struct {
		name string
		run  func(*env)
	}{
		{"produce_none", codec(sarama.CompressionNone)},
		{"produce_gzip", codec(sarama.CompressionGZIP)},
		{"produce_snappy", codec(sarama.CompressionSnappy)},
		{"produce_lz4", codec(sarama.CompressionLZ4)},
		{"produce_zstd", codec(sarama.CompressionZSTD)},
		{"acks_0", acks(sarama.NoResponse)},
		{"acks_1", acks(sarama.WaitForLocal)},
		{"acks_all", acks(sarama.WaitForAll)},
		{"idempotent_producer", idempotent},
		{"too_large_message", tooLarge},
		{"group_of_two", groupOfTwo},
		{"commit_and_resume", commitAndResume},
		{"offset_manager", offsetManager},
		{"seek_by_offset", seekByOffset},
		{"seek_by_time", seekByTime},
		{"long_poll_wakes_up", longPoll},
		{"auto_creation", autoCreation},
		{"admin_topics", adminTopics},
		{"admin_configs", adminConfigs},
		{"admin_delete_records", adminDeleteRecords},
		{"admin_groups", adminGroups},
		{"admin_cluster", adminCluster},
		{"txn_commit_and_abort", txnCommitAndAbort},
		{"txn_empty", txnEmpty},
		{"txn_offsets", txnOffsets},
		{"txn_zombie", txnZombie},
		{"txn_timeout", txnTimeout},
	}
	var cases []suite.Case
	for prefix, version := range map[string]sarama.KafkaVersion{
		"default_": sarama.DefaultVersion, "newest_": sarama.MaxVersion,
	} {
		for _, c := range all {
			run := func(t *suite.T) { c.run(&env{t, version}) }
			cases = append(cases, suite.Case{Name: prefix + c.name, Run: run})
		}
	}
	both := func(run func(*env)) func(*suite.T) {
		return func(t *suite.T) { run(&env{t, sarama.DefaultVersion}) }
	}
	suite.Main(cases,
		[]suite.Case{
			{Name: "restart", Run: both(beforeRestart)},
			{Name: "transactions", Run: both(beforeTransactions)},
		},
		[]suite.Case{
			{Name: "restart", Run: both(afterRestart)},
			{Name: "transactions", Run: both(afterTransactions)},
		})
}

// config is sarama's own but for what makes a test quick.
func (t *env) config() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = t.version
	config.Metadata.Retry.Max = 100
	config.Metadata.Retry.Backoff = 50 * time.Millisecond
	config.Producer.Retry.Max = 100
	config.Producer.Retry.Backoff = 50 * time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Return.Errors = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = 100 * time.Millisecond
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	return config
}

func (t *env) closing(name string, close func() error) {
	t.Cleanup(func() { t.Check(close(), "close "+name) })
}

func (t *env) client() sarama.Client {
	client, err := sarama.NewClient([]string{t.Bootstrap}, t.config())
	t.Check(err, "new client")
	t.closing("client", client.Close)
	return client
}

func (t *env) admin() sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin([]string{t.Bootstrap}, t.config())
	t.Check(err, "new admin")
	t.closing("admin", admin.Close)
	return admin
}

func (t *env) producer(config *sarama.Config) sarama.SyncProducer {
	producer, err := sarama.NewSyncProducer([]string{t.Bootstrap}, config)
	t.Check(err, "new producer")
	t.closing("producer", producer.Close)
	return producer
}

// newTopic makes a topic and waits until it is listed, which takes Apache Kafka a moment.
func (t *env) newTopic(suffix string, partitions int32, configs map[string]*string) string {
	name, admin := t.Topic(suffix), t.admin()
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
	t.Check(admin.CreateTopic(name, detail, false), "create topic")
	t.Until("the new topic", func() bool {
		topics, err := admin.DescribeTopics([]string{name})
		return err == nil && topics[0].Err == sarama.ErrNoError
	})
	return name
}

func text(value string) *string { return &value }

// numbered makes records k-0 v-0, k-1 v-1, and so on, one second apart, for one partition.
func numbered(topic string, partition int32, count int, first time.Time) []*sarama.ProducerMessage {
	var messages []*sarama.ProducerMessage
	for i := range count {
		messages = append(messages, &sarama.ProducerMessage{
			Topic:     topic,
			Partition: partition,
			Key:       sarama.StringEncoder(fmt.Sprintf("k-%d", i)),
			Value:     sarama.StringEncoder(fmt.Sprintf("v-%d", i)),
			Timestamp: first.Add(time.Duration(i) * time.Second),
		})
	}
	return messages
}

func (t *env) produce(messages []*sarama.ProducerMessage, codec sarama.CompressionCodec) {
	config := t.config()
	config.Producer.Compression = codec
	producer, err := sarama.NewSyncProducer([]string{t.Bootstrap}, config)
	t.Check(err, "new producer")
	t.Check(producer.SendMessages(messages), "produce")
	t.Check(producer.Close(), "close producer")
}

// read takes count records of a partition, from an offset.
func (t *env) read(topic string, partition int32, offset int64, count int) []*sarama.ConsumerMessage {
	consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, t.config())
	t.Check(err, "new consumer")
	t.closing("consumer", consumer.Close)
	stream, err := consumer.ConsumePartition(topic, partition, offset)
	t.Check(err, "consume partition")
	got := t.take(stream, count)
	t.Check(stream.Close(), "close stream")
	return got
}

func (t *env) take(stream sarama.PartitionConsumer, count int) []*sarama.ConsumerMessage {
	var got []*sarama.ConsumerMessage
	for len(got) < count {
		select {
		case message := <-stream.Messages():
			got = append(got, message)
		case err := <-stream.Errors():
			t.Check(err, "consume")
		case <-t.Done():
			t.Failf("%d of %d records", len(got), count)
		}
	}
	return got
}

func values(messages []*sarama.ConsumerMessage) []string {
	var values []string
	for _, message := range messages {
		values = append(values, string(message.Value))
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
