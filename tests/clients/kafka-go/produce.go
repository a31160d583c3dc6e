package main

import (
	"fmt"
	"strings"
	"time"

	suite "ottla.test/gosuite"

	"github.com/segmentio/kafka-go"
)

// codec produces every shape of record with one codec and reads it back equal.
func codec(codec kafka.Compression) func(*suite.T) {
	return func(t *suite.T) {
		topic := newTopic(t, "a", 1)
		at := time.UnixMilli(time.Now().UnixMilli())
		sent := []kafka.Message{
			{Key: []byte("key"), Value: []byte("value"), Headers: []kafka.Header{
				{Key: "twice", Value: []byte("1")},
				{Key: "twice", Value: []byte("2")},
				{Key: "empty", Value: []byte{}},
				{Key: "bytes", Value: []byte{0, 0xff, 0x80}},
			}},
			{Key: []byte("tombstone"), Value: nil},
			{Key: nil, Value: []byte("no key")},
			{Key: []byte("long"), Value: []byte(strings.Repeat("abcdefgh", 20_000))},
		}
		for i := range sent {
			sent[i].Time = at
		}
		writer := writer(t, topic)
		writer.Compression = codec
		t.Check(writer.WriteMessages(t, sent...), "produce")
		for i, got := range read(t, reader(t, topic, 0), len(sent)) {
			equal(t, got, sent[i], int64(i))
		}
	}
}

func equal(t *suite.T, got, sent kafka.Message, offset int64) {
	what := fmt.Sprintf("record %d", offset)
	t.Equal(got.Offset, offset, what+" offset")
	t.Equal(got.Key == nil, sent.Key == nil, what+" null key")
	t.Equal(got.Value == nil, sent.Value == nil, what+" null value")
	t.Equal(string(got.Key), string(sent.Key), what+" key")
	t.Equal(string(got.Value) == string(sent.Value), true, what+" value")
	t.Equal(got.Time.UnixMilli(), sent.Time.UnixMilli(), what+" timestamp")
	t.Equal(len(got.Headers), len(sent.Headers), what+" headers")
	for i, header := range sent.Headers {
		t.Equal(got.Headers[i].Key, header.Key, what+" header key")
		t.Equal(string(got.Headers[i].Value), string(header.Value), what+" header value")
	}
}

// acks produces with one level; with 0 nothing is answered, and the connection must stay usable.
func acks(level kafka.RequiredAcks) func(*suite.T) {
	return func(t *suite.T) {
		topic := newTopic(t, "a", 1)
		produce(t, topic, []kafka.Message{{Value: []byte("first")}}) // The leader answers by now.
		writer := writer(t, topic)
		writer.RequiredAcks = level
		for _, message := range numbered(0, 10, time.Now()) {
			t.Check(writer.WriteMessages(t, message), "produce")
		}
		t.Equal(values(read(t, reader(t, topic, 0), 11))[1:], sequence(0, 10), "values")
	}
}

// tooLarge is refused with 10, and accepted once the topic's limit is raised.
func tooLarge(t *suite.T) {
	topic := newTopic(t, "a", 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "2000"})
	writer := writer(t, topic)
	large := kafka.Message{Value: make([]byte, 4000)}
	t.IsError(unwrap(writer.WriteMessages(t, large)), kafka.MessageSizeTooLarge, "4000 bytes")
	t.Check(writer.WriteMessages(t, kafka.Message{Value: []byte("small")}), "a small one")
	t.Check(alter(t, topic, kafka.ConfigOperationSet, "max.message.bytes", "9000"), "alter configs")
	t.Until("a raised max.message.bytes in force", func() bool { return writer.WriteMessages(t, large) == nil })
}

// unwrap takes the one error out of a list of them.
func unwrap(err error) error {
	if errors, many := err.(kafka.WriteErrors); many && len(errors) == 1 {
		return errors[0]
	}
	return err
}

func autoCreation(t *suite.T) {
	topic := t.Topic("a")
	writer := writer(t, topic)
	writer.AllowAutoTopicCreation = true
	// Apache Kafka answers 3 to the request that makes a topic, and kafka-go gives up on that.
	t.Until("the created topic", func() bool {
		return writer.WriteMessages(t, kafka.Message{Value: []byte("v-0")}) == nil
	})
	t.Equal(len(partitionsOf(t, client(t), topic)) > 0, true, "the created topic")
}

// conn is the oldest face: requests without ApiVersions first, in fixed versions.
func conn(t *suite.T) {
	topic := t.Topic("a")
	control, err := kafka.DialContext(t, "tcp", t.Bootstrap)
	t.Check(err, "dial")
	defer control.Close()
	t.Check(control.CreateTopics(kafka.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}), "create")
	t.Until("the new topic", func() bool {
		partitions, err := control.ReadPartitions(topic)
		return err == nil && len(partitions) == 2
	})
	controller, err := control.Controller()
	t.Check(err, "controller")
	t.Equal(fmt.Sprintf("%s:%d", controller.Host, controller.Port), t.Bootstrap, "controller")

	first := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	produce(t, topic, numbered(1, 4, first))
	leader, err := kafka.DialLeader(t, "tcp", t.Bootstrap, topic, 1)
	t.Check(err, "dial leader")
	defer leader.Close()
	deadline, _ := t.Deadline()
	t.Check(leader.SetDeadline(deadline), "deadline")
	_, err = leader.WriteMessages(kafka.Message{Value: []byte("v-4"), Time: first.Add(4 * time.Second)})
	t.Check(err, "write")
	_, partition, offset, _, err := leader.WriteCompressedMessagesAt(
		kafka.Snappy.Codec(), numbered(0, 5, first.Add(time.Minute))...)
	t.Check(err, "write compressed")
	t.Equal([]int64{int64(partition), offset}, []int64{1, 5}, "place answered")
	low, high, err := leader.ReadOffsets()
	t.Check(err, "read offsets")
	t.Equal([]int64{low, high}, []int64{0, 10}, "offsets")
	at, err := leader.ReadOffset(first.Add(30 * time.Second))
	t.Check(err, "read offset by time")
	t.Equal(at, int64(5), "offset by time")
	_, err = leader.Seek(3, kafka.SeekAbsolute)
	t.Check(err, "seek")
	for _, expected := range []string{"v-3", "v-4", "v-0"} {
		message, err := leader.ReadMessage(100_000)
		t.Check(err, "read message")
		t.Equal(string(message.Value), expected, "value")
	}
	t.Check(control.DeleteTopics(topic), "delete")
}
