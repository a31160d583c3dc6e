package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// codec produces every shape of record with one codec and reads it back equal.
func codec(codec sarama.CompressionCodec) func(*env) {
	return func(t *env) {
		topic := t.newTopic("a", 1, nil)
		at := time.UnixMilli(time.Now().UnixMilli())
		header := func(key string, value []byte) sarama.RecordHeader {
			return sarama.RecordHeader{Key: []byte(key), Value: value}
		}
		sent := []*sarama.ProducerMessage{
			{Key: sarama.StringEncoder("key"), Value: sarama.StringEncoder("value"),
				Headers: []sarama.RecordHeader{header("twice", []byte("1")), header("twice", []byte("2")),
					header("empty", []byte{}), header("bytes", []byte{0, 0xff, 0x80})}},
			{Key: sarama.StringEncoder("tombstone")},
			{Value: sarama.StringEncoder("no key")},
			{Key: sarama.StringEncoder("long"), Value: sarama.StringEncoder(strings.Repeat("abcdefgh", 20_000))},
		}
		for _, message := range sent {
			message.Topic, message.Timestamp = topic, at
		}
		t.produce(sent, codec)
		for i, got := range t.read(topic, 0, 0, len(sent)) {
			t.equal(got, sent[i], int64(i))
		}
	}
}

func (t *env) equal(got *sarama.ConsumerMessage, sent *sarama.ProducerMessage, offset int64) {
	what := fmt.Sprintf("record %d", offset)
	same := func(got []byte, sent sarama.Encoder, what string) {
		t.Equal(got == nil, sent == nil, what+" is null")
		if sent != nil {
			bytes, _ := sent.Encode()
			t.Equal(string(got), string(bytes), what)
		}
	}
	t.Equal(got.Offset, offset, what+" offset")
	t.Equal(sent.Offset, offset, what+" offset answered")
	same(got.Key, sent.Key, what+" key")
	same(got.Value, sent.Value, what+" value")
	t.Equal(got.Timestamp.UnixMilli(), sent.Timestamp.UnixMilli(), what+" timestamp")
	t.Equal(len(got.Headers), len(sent.Headers), what+" headers")
	for i, header := range sent.Headers {
		t.Equal(string(got.Headers[i].Key), string(header.Key), what+" header key")
		t.Equal(string(got.Headers[i].Value), string(header.Value), what+" header value")
	}
}

// acks produces with one level; with 0 nothing is answered, and the connection must stay usable.
func acks(level sarama.RequiredAcks) func(*env) {
	return func(t *env) {
		topic := t.newTopic("a", 1, nil)
		config := t.config()
		config.Producer.RequiredAcks = level
		producer := t.producer(config)
		for _, message := range numbered(topic, 0, 10, time.Now()) {
			_, offset, err := producer.SendMessage(message)
			t.Check(err, "produce")
			if level != sarama.NoResponse {
				t.Equal(string(message.Value.(sarama.StringEncoder)), fmt.Sprintf("v-%d", offset), "offset answered")
			}
		}
		t.Equal(values(t.read(topic, 0, sarama.OffsetOldest, 10)), sequence(0, 10), "values")
	}
}

// idempotent sends many small batches to three partitions: all there, once, in order.
func idempotent(t *env) {
	topic := t.newTopic("a", 3, nil)
	config := t.config()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Producer.Flush.MaxMessages = 10
	producer := t.producer(config)
	var messages []*sarama.ProducerMessage
	for partition := range int32(3) {
		messages = append(messages, numbered(topic, partition, 300, time.Now())...)
	}
	t.Check(producer.SendMessages(messages), "produce")
	for partition := range int32(3) {
		t.Equal(values(t.read(topic, partition, 0, 300)), sequence(0, 300), "values")
	}
}

// tooLarge is refused with 10, and accepted once the topic's limit is raised.
func tooLarge(t *env) {
	topic := t.newTopic("a", 1, map[string]*string{"max.message.bytes": text("2000")})
	producer := t.producer(t.config())
	send := func(size int) error {
		value := sarama.ByteEncoder(make([]byte, size))
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: value})
		return err
	}
	t.IsError(send(4000), sarama.ErrMessageSizeTooLarge, "4000 bytes")
	t.Check(send(10), "a small one on the same connection")
	raise := map[string]sarama.IncrementalAlterConfigsEntry{"max.message.bytes": {
		Operation: sarama.IncrementalAlterConfigsOperationSet, Value: text("9000")}}
	t.Check(t.admin().IncrementalAlterConfig(sarama.TopicResource, topic, raise, false), "alter configs")
	t.Until("a raised max.message.bytes in force", func() bool { return send(4000) == nil })
}

func autoCreation(t *env) {
	topic := t.Topic("a")
	t.produce([]*sarama.ProducerMessage{{Topic: topic, Value: sarama.StringEncoder("v-0")}}, sarama.CompressionNone)
	topics, err := t.admin().ListTopics()
	t.Check(err, "list topics")
	_, found := topics[topic]
	t.Equal(found, true, "the created topic in the list")
}
