package main

import (
	"fmt"
	"time"

	suite "ottla.test/gosuite"

	"github.com/twmb/franz-go/pkg/kgo"
)

// beforeRestart leaves a topic with a config, records of each codec, and a group with a commit.
func beforeRestart(t *suite.T) {
	topic := newTopic(t, "a", 2, map[string]*string{"retention.ms": text("123456789")})
	codecs := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(),
		kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}
	records := numbered(topic, 0, 20, time.Now())
	for i, codec := range codecs {
		produce(t, records[4*i:4*i+4], kgo.ProducerBatchCompression(codec))
	}
	id := topicID(t, admin(t), topic)
	produce(t, []*kgo.Record{{Topic: topic, Partition: 1, Value: []byte(id.String())}})

	member := join(t, t.Topic("group"), topic, kgo.DisableAutoCommit())
	for _, record := range consume(t, member.Client, 21) {
		if record.Partition == 0 && record.Offset == 7 {
			t.Check(member.CommitRecords(t, record), "commit")
		}
	}
	t.Check(member.LeaveGroupContext(t), "leave")
}

// afterRestart finds all of it again and goes on.
func afterRestart(t *suite.T) {
	topic := t.Topic("a")
	got := consume(t, connect(t, from(topic, 0, kgo.NewOffset().AtStart())), 20)
	t.Equal(values(got), sequence(0, 20), "records")
	t.Equal(string(got[19].Key), "k-19", "key")
	id := consume(t, connect(t, from(topic, 1, kgo.NewOffset().AtStart())), 1)
	t.Equal(string(id[0].Value), fmt.Sprint(topicID(t, admin(t), topic)), "topic id")
	t.Equal(config(t, admin(t), topic, "retention.ms"), "123456789", "config")

	member := join(t, t.Topic("group"), topic, kgo.DisableAutoCommit())
	resumed := consume(t, member.Client, 13) // Nothing was committed on partition 1.
	var zero []*kgo.Record
	for _, record := range resumed {
		if record.Partition == 0 {
			zero = append(zero, record)
		}
	}
	t.Equal(values(zero), sequence(8, 20), "from the committed offset")

	record := &kgo.Record{Topic: topic, Partition: 0, Value: []byte("v-20")}
	produce(t, []*kgo.Record{record})
	t.Equal(record.Offset, int64(20), "next offset")
}
