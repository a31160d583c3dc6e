package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	suite "ottla.test/gosuite"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// codec produces every shape of record with one codec and reads it back equal.
func codec(codec kgo.CompressionCodec) func(*suite.T) {
	return func(t *suite.T) {
		topic := newTopic(t, "a", 1, nil)
		at := time.UnixMilli(time.Now().UnixMilli())
		sent := []*kgo.Record{
			{Key: []byte("key"), Value: []byte("value"), Headers: []kgo.RecordHeader{
				{Key: "twice", Value: []byte("1")},
				{Key: "twice", Value: []byte("2")},
				{Key: "null", Value: nil},
				{Key: "empty", Value: []byte{}},
				{Key: "bytes", Value: []byte{0, 0xff, 0x80}},
			}},
			{Key: []byte("tombstone"), Value: nil},
			{Key: nil, Value: []byte("no key")},
			{Key: []byte{}, Value: []byte{}},
			{Key: []byte("long"), Value: []byte(strings.Repeat("abcdefgh", 20_000))},
		}
		for _, record := range sent {
			record.Topic, record.Timestamp = topic, at
		}
		produce(t, sent, kgo.ProducerBatchCompression(codec))
		got := consume(t, connect(t, from(topic, 0, kgo.NewOffset().AtStart())), len(sent))
		t.Equal(len(got), len(sent), "count")
		for i := range sent {
			equal(t, got[i], sent[i], int64(i))
		}
	}
}

func equal(t *suite.T, got, sent *kgo.Record, offset int64) {
	what := fmt.Sprintf("record %d", offset)
	t.Equal(got.Offset, offset, what+" offset")
	t.Equal(got.Key == nil, sent.Key == nil, what+" null key")
	t.Equal(got.Value == nil, sent.Value == nil, what+" null value")
	t.Equal(string(got.Key), string(sent.Key), what+" key")
	t.Equal(bytes.Equal(got.Value, sent.Value), true, what+" value")
	t.Equal(got.Timestamp.UnixMilli(), sent.Timestamp.UnixMilli(), what+" timestamp")
	t.Equal(len(got.Headers), len(sent.Headers), what+" headers")
	for i, header := range sent.Headers {
		t.Equal(got.Headers[i].Key, header.Key, what+" header key")
		t.Equal(got.Headers[i].Value == nil, header.Value == nil, what+" null header")
		t.Equal(string(got.Headers[i].Value), string(header.Value), what+" header value")
	}
}

// acks produces with one level; with 0 nothing is answered, and the connection must stay usable.
func acks(level kgo.Acks) func(*suite.T) {
	return func(t *suite.T) {
		topic := newTopic(t, "a", 1, nil)
		producer := connect(t, kgo.RequiredAcks(level), kgo.DisableIdempotentWrite())
		for i := range 10 {
			record := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "v-%d", i)}
			t.Check(producer.ProduceSync(t, record).FirstErr(), "produce")
		}
		got := consume(t, connect(t, from(topic, 0, kgo.NewOffset().AtStart())), 10)
		t.Equal(values(got), sequence(0, 10), "values")
	}
}

// idempotent sends many small batches to three partitions, several in flight: all there, once, in order.
func idempotent(t *suite.T) {
	topic := newTopic(t, "a", 3, nil)
	producer := connect(t, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(1024))
	var failure error
	for i := range 300 {
		for partition := range int32(3) {
			record := &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Appendf(nil, "v-%d", i)}
			producer.Produce(t, record, func(_ *kgo.Record, err error) { failure = errors.Join(failure, err) })
		}
	}
	t.Check(producer.Flush(t), "flush")
	t.Check(failure, "produce")
	for partition := range int32(3) {
		got := consume(t, connect(t, from(topic, partition, kgo.NewOffset().AtStart())), 300)
		t.Equal(values(got), sequence(0, 300), "values")
		if got[0].ProducerID < 0 {
			t.Failf("producer id %d in a batch of an idempotent producer", got[0].ProducerID)
		}
	}
}

// tooLarge is refused with 10, and accepted once the topic's limit is raised.
func tooLarge(t *suite.T) {
	topic := newTopic(t, "a", 1, map[string]*string{"max.message.bytes": text("2000")})
	producer := connect(t, kgo.ProducerBatchCompression(kgo.NoCompression()))
	record := func() *kgo.Record { return &kgo.Record{Topic: topic, Value: make([]byte, 4000)} }
	t.IsError(producer.ProduceSync(t, record()).FirstErr(), kerr.MessageTooLarge, "4000 bytes")
	small := &kgo.Record{Topic: topic, Value: []byte("small")}
	t.Check(producer.ProduceSync(t, small).FirstErr(), "a small one on the same connection")

	raise := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: text("9000")}}
	altered, err := admin(t).AlterTopicConfigs(t, raise, topic)
	t.Check(err, "alter configs")
	t.Check(altered[0].Err, "alter configs")
	t.Until("a raised max.message.bytes in force", func() bool {
		return producer.ProduceSync(t, record()).FirstErr() == nil
	})
}
