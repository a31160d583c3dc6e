package main

import (
	"time"

	"github.com/IBM/sarama"
)

// beforeRestart leaves records of each codec and a group with a commit.
func beforeRestart(t *env) {
	topic := t.newTopic("a", 1, nil)
	codecs := []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP,
		sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD}
	messages := numbered(topic, 0, 20, time.Now())
	for i, codec := range codecs {
		t.produce(messages[4*i:4*i+4], codec)
	}
	member := t.join(t.Topic("group"), topic, sarama.NewBalanceStrategyRange())
	member.take(20)
	member.commit(topic, 0, 8)
}

// afterRestart finds all of it again and goes on.
func afterRestart(t *env) {
	topic := t.Topic("a")
	t.Equal(values(t.read(topic, 0, sarama.OffsetOldest, 20)), sequence(0, 20), "records")
	member := t.join(t.Topic("group"), topic, sarama.NewBalanceStrategyRange())
	t.Equal(values(member.take(12)), sequence(8, 20), "from the committed offset")
	message := numbered(topic, 0, 1, time.Now())
	t.produce(message, sarama.CompressionNone)
	t.Equal(message[0].Offset, int64(20), "next offset")
}
