package main

import (
	"time"

	suite "ottla.test/gosuite"

	"github.com/segmentio/kafka-go"
)

// beforeRestart leaves records of each codec and a group with a commit.
func beforeRestart(t *suite.T) {
	topic := newTopic(t, "a", 1)
	messages := numbered(0, 20, time.Now())
	for i, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		writer := writer(t, topic)
		writer.Compression = codec
		t.Check(writer.WriteMessages(t, messages[4*i:4*i+4]...), "produce")
	}
	reader := closing(t, groupReader(t, t.Topic("group"), topic))
	t.Check(reader.CommitMessages(t, read(t, reader, 20)[:8]...), "commit")
}

// afterRestart finds all of it again and goes on.
func afterRestart(t *suite.T) {
	topic := t.Topic("a")
	t.Equal(values(read(t, reader(t, topic, 0), 20)), sequence(0, 20), "records")
	resumed := closing(t, groupReader(t, t.Topic("group"), topic))
	t.Equal(values(read(t, resumed, 12)), sequence(8, 20), "from the committed offset")
	produce(t, topic, []kafka.Message{{Value: []byte("v-20")}})
	t.Equal(read(t, resumed, 1)[0].Offset, int64(20), "next offset")
}
