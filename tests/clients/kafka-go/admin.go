package main

import (
	"fmt"
	"time"

	suite "ottla.test/gosuite"

	"github.com/segmentio/kafka-go"
)

func adminTopics(t *suite.T) {
	topic, client := newTopic(t, "a", 2), client(t)
	create := func(config kafka.TopicConfig) error {
		answer, err := client.CreateTopics(t, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
		t.Check(err, "create topics")
		return answer.Errors[config.Topic]
	}
	t.IsError(create(kafka.TopicConfig{Topic: topic, NumPartitions: 1, ReplicationFactor: 1}),
		kafka.TopicAlreadyExists, "create again")
	t.IsError(create(kafka.TopicConfig{Topic: "no good name", NumPartitions: 1, ReplicationFactor: 1}),
		kafka.InvalidTopic, "a bad name")
	t.Check(create(kafka.TopicConfig{Topic: t.Topic("defaults"), NumPartitions: -1, ReplicationFactor: -1}),
		"the broker's defaults")

	grow := func(count int32) error {
		answer, err := client.CreatePartitions(t, &kafka.CreatePartitionsRequest{
			Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: count}}})
		t.Check(err, "create partitions")
		return answer.Errors[topic]
	}
	t.Check(grow(5), "more partitions")
	t.IsError(grow(1), kafka.InvalidPartitionNumber, "fewer partitions")
	t.Until("5 partitions", func() bool { return len(partitionsOf(t, client, topic)) == 5 })
	produce(t, topic, numbered(4, 2, time.Now()))

	remove := func(topic string) error {
		answer, err := client.DeleteTopics(t, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
		t.Check(err, "delete topics")
		return answer.Errors[topic]
	}
	t.Check(remove(topic), "delete")
	t.IsError(remove(t.Topic("unknown")), kafka.UnknownTopicOrPartition, "delete an unknown one")
	t.Until("the topic is gone", func() bool { return partitionsOf(t, client, topic) == nil })
}

func alter(t *suite.T, topic string, operation kafka.ConfigOperation, name, value string) error {
	answer, err := client(t).IncrementalAlterConfigs(t, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic,
			ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{{
				Name: name, Value: value, ConfigOperation: operation}},
		}}})
	t.Check(err, "alter configs")
	return answer.Resources[0].Error
}

func adminConfigs(t *suite.T) {
	topic := newTopic(t, "a", 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "1000000"})
	describe := func(name string) string {
		described, err := client(t).DescribeConfigs(t, &kafka.DescribeConfigsRequest{
			Resources: []kafka.DescribeConfigRequestResource{{
				ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name}}}})
		t.Check(err, "describe configs")
		t.Check(described.Resources[0].Error, "describe configs")
		t.Equal(len(described.Resources[0].ConfigEntries), 1, "entries of "+name)
		return described.Resources[0].ConfigEntries[0].ConfigValue
	}
	await := func(name, value string) {
		t.Until(name+" = "+value, func() bool { return describe(name) == value })
	}
	t.Equal(describe("retention.ms"), "1000000", "as created")
	t.Check(alter(t, topic, kafka.ConfigOperationAppend, "cleanup.policy", "compact"), "append")
	await("cleanup.policy", "delete,compact")
	t.Check(alter(t, topic, kafka.ConfigOperationDelete, "cleanup.policy", ""), "delete")
	await("cleanup.policy", "delete")
	t.IsError(alter(t, topic, kafka.ConfigOperationSet, "no.such.key", "1"),
		kafka.InvalidConfiguration, "an unknown config")
}

func adminGroups(t *suite.T) {
	topic, group, client := newTopic(t, "a", 1), t.Topic("group"), client(t)
	produce(t, topic, numbered(0, 10, time.Now()))
	reader := groupReader(t, group, topic)
	t.Check(reader.CommitMessages(t, read(t, reader, 10)[:4]...), "commit")

	listed, err := client.ListGroups(t, &kafka.ListGroupsRequest{})
	t.Check(err, "list groups")
	found := ""
	for _, candidate := range listed.Groups {
		if candidate.GroupID == group {
			found = candidate.ProtocolType
		}
	}
	t.Equal(found, "consumer", "protocol type in the list")
	described, err := client.DescribeGroups(t, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	t.Check(err, "describe group")
	t.Equal(described.Groups[0].GroupState, "Stable", "state")
	t.Equal(described.Groups[0].Members[0].MemberAssignments.Topics[0].Partitions, []int{0}, "assignment")
	offsets := func() kafka.OffsetFetchPartition {
		fetched, err := client.OffsetFetch(t, &kafka.OffsetFetchRequest{
			GroupID: group, Topics: map[string][]int{topic: {0}}})
		t.Check(err, "fetch offsets")
		return fetched.Topics[topic][0]
	}
	t.Equal(offsets().CommittedOffset, int64(4), "committed offset")
	remove := func() error {
		answer, err := client.DeleteGroups(t, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
		t.Check(err, "delete groups")
		return answer.Errors[group]
	}
	t.IsError(remove(), kafka.NonEmptyGroup, "delete a group with a member")

	t.Check(reader.Close(), "close reader")
	_, err = client.OffsetCommit(t, &kafka.OffsetCommitRequest{GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: 0, Offset: 2, Metadata: "a note"}}}})
	t.Check(err, "commit from outside")
	t.Equal(fmt.Sprint(offsets().CommittedOffset, offsets().Metadata), "2a note", "committed from outside")
	_, err = client.OffsetDelete(t, &kafka.OffsetDeleteRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	t.Check(err, "delete offset")
	t.Equal(offsets().CommittedOffset, int64(-1), "offset after its deletion")
	t.Check(offsets().Error, "a missing offset is no error")
	t.Check(remove(), "delete group")
	t.IsError(remove(), kafka.GroupIdNotFound, "delete an unknown group")
}

func adminCluster(t *suite.T) {
	topic, client := newTopic(t, "a", 1), client(t)
	produce(t, topic, numbered(0, 10, time.Now()))
	metadata, err := client.Metadata(t, &kafka.MetadataRequest{})
	t.Check(err, "metadata")
	t.Equal(metadata.ClusterID != "", true, "cluster id")
	t.Equal(len(metadata.Brokers), 1, "brokers")
	t.Equal(fmt.Sprintf("%s:%d", metadata.Controller.Host, metadata.Controller.Port), t.Bootstrap, "controller")
	offsets, err := client.ListOffsets(t, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		topic: {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})
	t.Check(err, "list offsets")
	found := offsets.Topics[topic][0]
	t.Equal([]int64{found.FirstOffset, found.LastOffset}, []int64{0, 10}, "offsets")
	versions, err := client.ApiVersions(t, &kafka.ApiVersionsRequest{})
	t.Check(err, "api versions")
	t.Equal(len(versions.ApiKeys) > 20, true, "api keys")
}
