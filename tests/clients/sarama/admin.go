package main

import (
	"time"

	"github.com/IBM/sarama"
)

func adminTopics(t *env) {
	topic, admin := t.newTopic("a", 2, map[string]*string{"retention.ms": text("1000000")}), t.admin()
	detail := &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}
	t.IsError(admin.CreateTopic(topic, detail, false), sarama.ErrTopicAlreadyExists, "create again")
	t.IsError(admin.CreateTopic("no good name", detail, false), sarama.ErrInvalidTopic, "a bad name")
	odd := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: map[string]*string{"no.such.key": text("1")}}
	t.IsError(admin.CreateTopic(t.Topic("odd"), odd, false), sarama.ErrInvalidConfig, "an unknown config")
	t.Check(admin.CreateTopic(t.Topic("dry"), detail, true), "validate only")

	listed, err := admin.ListTopics()
	t.Check(err, "list topics")
	t.Equal(listed[topic].NumPartitions, int32(2), "partitions in the list")
	t.Equal(*listed[topic].ConfigEntries["retention.ms"], "1000000", "config in the list")
	_, dry := listed[t.Topic("dry")]
	t.Equal(dry, false, "a validated topic in the list")

	t.Check(admin.CreatePartitions(topic, 5, nil, false), "more partitions")
	t.IsError(admin.CreatePartitions(topic, 1, nil, false), sarama.ErrInvalidPartitions, "fewer partitions")
	t.Until("5 partitions", func() bool {
		topics, err := admin.DescribeTopics([]string{topic})
		return err == nil && len(topics[0].Partitions) == 5
	})
	t.produce(numbered(topic, 4, 2, time.Now()), sarama.CompressionNone)

	t.Check(admin.DeleteTopic(topic), "delete")
	t.IsError(admin.DeleteTopic(t.Topic("unknown")), sarama.ErrUnknownTopicOrPartition, "delete an unknown one")
	t.Until("the topic is gone", func() bool {
		topics, err := admin.DescribeTopics([]string{topic})
		return err == nil && topics[0].Err == sarama.ErrUnknownTopicOrPartition
	})
}

func adminConfigs(t *env) {
	topic, admin := t.newTopic("a", 1, map[string]*string{"retention.ms": text("1000000")}), t.admin()
	describe := func(name string) string {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: topic})
		t.Check(err, "describe config")
		for _, entry := range entries {
			if entry.Name == name {
				return entry.Value
			}
		}
		t.Failf("config %s is not described", name)
		return ""
	}
	await := func(name, value string) {
		t.Until(name+" = "+value, func() bool { return describe(name) == value })
	}
	alter := func(operation sarama.IncrementalAlterConfigsOperation, name string, value *string) error {
		change := map[string]sarama.IncrementalAlterConfigsEntry{name: {Operation: operation, Value: value}}
		return admin.IncrementalAlterConfig(sarama.TopicResource, topic, change, false)
	}
	t.Equal(describe("retention.ms"), "1000000", "as created")
	t.Check(alter(sarama.IncrementalAlterConfigsOperationAppend, "cleanup.policy", text("compact")), "append")
	await("cleanup.policy", "delete,compact")
	t.Check(alter(sarama.IncrementalAlterConfigsOperationDelete, "cleanup.policy", nil), "delete")
	await("cleanup.policy", "delete")
	set := sarama.IncrementalAlterConfigsOperationSet
	t.IsError(alter(set, "no.such.key", text("1")), sarama.ErrInvalidConfig, "an unknown config")
	t.IsError(alter(set, "retention.ms", text("soon")), sarama.ErrInvalidConfig, "a bad value")

	// The older request sets all that it names and takes back all that it does not.
	replace := map[string]*string{"retention.bytes": text("77777")}
	t.Check(admin.AlterConfig(sarama.TopicResource, topic, replace, false), "replace the configs")
	await("retention.bytes", "77777")
	await("retention.ms", "604800000")
}

func adminDeleteRecords(t *env) {
	topic, admin := t.newTopic("a", 1, nil), t.admin()
	t.produce(numbered(topic, 0, 10, time.Now()), sarama.CompressionNone)
	t.Check(admin.DeleteRecords(topic, map[int32]int64{0: 4}), "delete records below 4")
	oldest, err := t.client().GetOffset(topic, 0, sarama.OffsetOldest)
	t.Check(err, "oldest offset")
	t.Equal(oldest, int64(4), "oldest offset")
	t.Equal(values(t.read(topic, 0, sarama.OffsetOldest, 6)), sequence(4, 10), "what is left")
	if err := admin.DeleteRecords(topic, map[int32]int64{0: 1000}); err == nil {
		t.Failf("records deleted beyond the end")
	}
	t.Check(admin.DeleteRecords(topic, map[int32]int64{0: -1}), "delete all")
}

func adminGroups(t *env) {
	topic, group, admin := t.newTopic("a", 1, nil), t.Topic("group"), t.admin()
	t.produce(numbered(topic, 0, 10, time.Now()), sarama.CompressionNone)
	member := t.join(group, topic, sarama.NewBalanceStrategyRange())
	member.take(10)
	member.commit(topic, 0, 4)

	listed, err := admin.ListConsumerGroups()
	t.Check(err, "list groups")
	t.Equal(listed[group], "consumer", "protocol type in the list")
	described, err := admin.DescribeConsumerGroups([]string{group})
	t.Check(err, "describe group")
	t.Equal(described[0].State, "Stable", "state")
	t.Equal(described[0].Protocol, "range", "protocol")
	for _, found := range described[0].Members {
		t.Equal(found.ClientId, "the-member", "client id")
		assignment, err := found.GetMemberAssignment()
		t.Check(err, "assignment")
		t.Equal(assignment.Topics[topic], []int32{0}, "assignment")
	}
	committed := func(topics map[string][]int32) int64 {
		offsets, err := admin.ListConsumerGroupOffsets(group, topics)
		t.Check(err, "committed offsets")
		block := offsets.GetBlock(topic, 0)
		if block == nil {
			return -1
		}
		return block.Offset
	}
	t.Equal(committed(map[string][]int32{topic: {0}}), int64(4), "committed offset")
	t.Equal(committed(nil), int64(4), "committed offset among all")
	t.IsError(admin.DeleteConsumerGroup(group), sarama.ErrNonEmptyGroup, "delete a group with a member")

	member.leave()
	t.Check(admin.DeleteConsumerGroupOffset(group, topic, 0), "delete offset")
	t.Equal(committed(map[string][]int32{topic: {0}}), int64(-1), "offset after its deletion")
	t.Check(admin.DeleteConsumerGroup(group), "delete group")
	t.IsError(admin.DeleteConsumerGroup(group), sarama.ErrGroupIDNotFound, "delete an unknown group")
}

func adminCluster(t *env) {
	topic, admin := t.newTopic("a", 1, nil), t.admin()
	t.produce(numbered(topic, 0, 10, time.Now()), sarama.CompressionNone)
	brokers, controller, err := admin.DescribeCluster()
	t.Check(err, "describe cluster")
	t.Equal(len(brokers), 1, "brokers")
	t.Equal(brokers[0].ID(), controller, "controller")
	t.Equal(brokers[0].Addr(), t.Bootstrap, "address")
	folders, err := admin.DescribeLogDirs([]int32{controller})
	t.Check(err, "describe log dirs")
	size := int64(0)
	for _, folder := range folders[controller] {
		for _, found := range folder.Topics {
			if found.Topic == topic {
				size += found.Partitions[0].Size
			}
		}
	}
	t.Equal(size > 0, true, "size of the log")
}
