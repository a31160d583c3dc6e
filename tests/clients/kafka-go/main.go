// The cases of segmentio's kafka-go: the oldest request versions of all, no ApiVersions on most
// connections, and a face (Client, Writer) that negotiates beside one (Conn, Reader) that does not.
package main

import (
	"fmt"
	"time"

	suite "ottla.test/gosuite"

	"github.com/segmentio/kafka-go"
)

func main() {
	suite.Main([]suite.Case{
		{Name: "produce_none", Run: codec(0)},
		{Name: "produce_gzip", Run: codec(kafka.Gzip)},
		{Name: "produce_snappy", Run: codec(kafka.Snappy)},
		{Name: "produce_lz4", Run: codec(kafka.Lz4)},
		{Name: "produce_zstd", Run: codec(kafka.Zstd)},
		{Name: "acks_0", Run: acks(kafka.RequireNone)},
		{Name: "acks_1", Run: acks(kafka.RequireOne)},
		{Name: "acks_all", Run: acks(kafka.RequireAll)},
		{Name: "too_large_message", Run: tooLarge},
		{Name: "auto_creation", Run: autoCreation},
		{Name: "conn", Run: conn},
		{Name: "group_of_two", Run: groupOfTwo},
		{Name: "commit_and_resume", Run: commitAndResume},
		{Name: "seek_by_offset", Run: seekByOffset},
		{Name: "seek_by_time", Run: seekByTime},
		{Name: "long_poll_wakes_up", Run: longPoll},
		{Name: "admin_topics", Run: adminTopics},
		{Name: "admin_configs", Run: adminConfigs},
		{Name: "admin_groups", Run: adminGroups},
		{Name: "admin_cluster", Run: adminCluster},
	}, []suite.Case{
		{Name: "restart", Run: beforeRestart},
	}, []suite.Case{
		{Name: "restart", Run: afterRestart},
	})
}

func client(t *suite.T) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(t.Bootstrap), Transport: transport(t)}
}

func transport(t *suite.T) *kafka.Transport {
	transport := &kafka.Transport{MetadataTTL: 2 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// newTopic makes a topic and waits until it is listed, which takes Apache Kafka a moment.
func newTopic(t *suite.T, suffix string, partitions int, configs ...kafka.ConfigEntry) string {
	name, client := t.Topic(suffix), client(t)
	wanted := kafka.TopicConfig{Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
	created, err := client.CreateTopics(t, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{wanted}})
	t.Check(err, "create topic")
	t.Check(created.Errors[name], "create topic")
	t.Until("the new topic", func() bool { return len(partitionsOf(t, client, name)) == partitions })
	return name
}

func partitionsOf(t *suite.T, client *kafka.Client, topic string) []kafka.Partition {
	metadata, err := client.Metadata(t, &kafka.MetadataRequest{Topics: []string{topic}})
	t.Check(err, "metadata")
	if metadata.Topics[0].Error != nil {
		return nil
	}
	return metadata.Topics[0].Partitions
}

// numbered makes records k-0 v-0, k-1 v-1, and so on, one second apart, for one partition.
func numbered(partition, count int, first time.Time) []kafka.Message {
	var messages []kafka.Message
	for i := range count {
		messages = append(messages, kafka.Message{
			Partition: partition, // Read by the balancer below, not by kafka-go.
			Key:       fmt.Appendf(nil, "k-%d", i),
			Value:     fmt.Appendf(nil, "v-%d", i),
			Time:      first.Add(time.Duration(i) * time.Second),
		})
	}
	return messages
}

func writer(t *suite.T, topic string) *kafka.Writer {
	writer := &kafka.Writer{
		Addr:            kafka.TCP(t.Bootstrap),
		Topic:           topic,
		Balancer:        kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return m.Partition }),
		BatchTimeout:    time.Millisecond,
		WriteBackoffMin: 20 * time.Millisecond,
		WriteBackoffMax: 50 * time.Millisecond,
		MaxAttempts:     100,
		RequiredAcks:    kafka.RequireAll,
		Transport:       transport(t),
	}
	t.Cleanup(func() { t.Check(writer.Close(), "close writer") })
	return writer
}

func produce(t *suite.T, topic string, messages []kafka.Message) {
	t.Check(writer(t, topic).WriteMessages(t, messages...), "produce")
}

func reader(t *suite.T, topic string, partition int) *kafka.Reader {
	return closing(t, kafka.NewReader(kafka.ReaderConfig{
		Brokers:        []string{t.Bootstrap},
		Topic:          topic,
		Partition:      partition,
		MaxWait:        200 * time.Millisecond,
		ReadBackoffMin: 10 * time.Millisecond,
		ReadBackoffMax: 50 * time.Millisecond,
	}))
}

func closing(t *suite.T, reader *kafka.Reader) *kafka.Reader {
	t.Cleanup(func() { t.Check(reader.Close(), "close reader") })
	return reader
}

func read(t *suite.T, reader *kafka.Reader, count int) []kafka.Message {
	var got []kafka.Message
	for len(got) < count {
		message, err := reader.FetchMessage(t)
		t.Check(err, fmt.Sprintf("read, after %d of %d records", len(got), count))
		got = append(got, message)
	}
	return got
}

func values(messages []kafka.Message) []string {
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
