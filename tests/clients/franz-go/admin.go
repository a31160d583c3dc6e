package main

import (
	"time"

	suite "ottla.test/gosuite"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func autoCreation(t *suite.T) {
	topic := t.Topic("a")
	record := &kgo.Record{Topic: topic, Value: []byte("v-0")}
	t.Check(connect(t, kgo.AllowAutoTopicCreation()).ProduceSync(t, record).FirstErr(), "produce")
	details, err := admin(t).ListTopics(t, topic)
	t.Check(err, "list topics")
	t.Check(details[topic].Err, "the created topic")

	unknown := t.Topic("unknown")
	details, err = admin(t).ListTopics(t, unknown)
	t.Check(err, "list topics")
	t.IsError(details[unknown].Err, kerr.UnknownTopicOrPartition, "a topic that nobody made")
}

func recreate(t *suite.T) {
	topic := newTopic(t, "a", 1, nil)
	produce(t, numbered(topic, 0, 5, time.Now()))
	client := admin(t)
	id := topicID(t, client, topic)
	t.Equal(id == kadm.TopicID{}, false, "zero topic id")
	t.Equal(topicID(t, client, topic), id, "topic id, asked again")

	deleted, err := client.DeleteTopic(t, topic)
	t.Check(err, "delete")
	t.Check(deleted.Err, "delete")
	newTopic(t, "a", 1, nil)
	t.Equal(topicID(t, admin(t), topic) == id, false, "the same topic id after delete and create")

	produce(t, numbered(topic, 0, 3, time.Now()))
	got := consume(t, connect(t, from(topic, 0, kgo.NewOffset().AtStart())), 3)
	t.Equal(values(got), sequence(0, 3), "records of the new topic")
	t.Equal(got[0].Offset, int64(0), "its first offset")
}

func topicID(t *suite.T, client *kadm.Client, topic string) kadm.TopicID {
	details, err := client.ListTopics(t, topic)
	t.Check(err, "list topics")
	t.Check(details[topic].Err, "list topics")
	return details[topic].ID
}

func adminTopics(t *suite.T) {
	topic, client := newTopic(t, "a", 2, nil), admin(t)
	again, err := client.CreateTopic(t, 2, 1, nil, topic)
	t.IsError(err, kerr.TopicAlreadyExists, "create again")
	t.IsError(again.Err, kerr.TopicAlreadyExists, "create again")
	_, err = client.CreateTopic(t, 1, 1, map[string]*string{"no.such.key": text("1")}, t.Topic("b"))
	t.IsError(err, kerr.InvalidConfig, "create with an unknown config")
	_, err = client.CreateTopic(t, 1, 1, nil, "no good name")
	t.IsError(err, kerr.InvalidTopicException, "create with a bad name")
	dry, err := client.ValidateCreateTopics(t, 3, 1, nil, t.Topic("dry"))
	t.Check(err, "validate only")
	t.Check(dry[t.Topic("dry")].Err, "validate only")

	details, err := client.ListTopics(t)
	t.Check(err, "list all topics")
	t.Equal(details.Has(topic), true, "listed")
	t.Equal(details.Has(t.Topic("dry")), false, "listed though only validated")
	t.Equal(len(details[topic].Partitions), 2, "partitions")
	t.Equal(details[topic].Partitions[1].Replicas, details[topic].Partitions[1].ISR, "ISR")

	more, err := client.UpdatePartitions(t, 5, topic)
	t.Check(err, "more partitions")
	t.Check(more[topic].Err, "more partitions")
	fewer, err := client.UpdatePartitions(t, 1, topic)
	t.Check(err, "fewer partitions")
	t.IsError(fewer[topic].Err, kerr.InvalidPartitions, "fewer partitions")
	t.Until("5 partitions", func() bool {
		details, err := client.ListTopics(t, topic)
		return err == nil && len(details[topic].Partitions) == 5
	})
	produce(t, numbered(topic, 4, 2, time.Now()))

	deleted, err := client.DeleteTopics(t, topic, t.Topic("unknown"))
	t.Check(err, "delete")
	t.Check(deleted[topic].Err, "delete")
	t.IsError(deleted[t.Topic("unknown")].Err, kerr.UnknownTopicOrPartition, "delete an unknown one")
	t.Until("the topic is gone", func() bool {
		details, err := client.ListTopics(t, topic)
		return err == nil && details[topic].Err != nil
	})
}

func adminConfigs(t *suite.T) {
	topic := newTopic(t, "a", 1, map[string]*string{"retention.ms": text("1000000")})
	client := admin(t)
	t.Equal(config(t, client, topic, "retention.ms"), "1000000", "as created")
	t.Equal(config(t, client, topic, "cleanup.policy"), "delete", "default")

	alter := func(op kadm.IncrementalOp, name, value string) error {
		change := kadm.AlterConfig{Op: op, Name: name, Value: text(value)}
		if op == kadm.DeleteConfig {
			change.Value = nil
		}
		altered, err := client.AlterTopicConfigs(t, []kadm.AlterConfig{change}, topic)
		t.Check(err, "alter configs")
		return altered[0].Err
	}
	t.Check(alter(kadm.AppendConfig, "cleanup.policy", "compact"), "append")
	await(t, client, topic, "cleanup.policy", "delete,compact")
	t.Check(alter(kadm.SubtractConfig, "cleanup.policy", "delete"), "subtract")
	await(t, client, topic, "cleanup.policy", "compact")
	t.Check(alter(kadm.DeleteConfig, "cleanup.policy", ""), "delete")
	await(t, client, topic, "cleanup.policy", "delete")
	t.IsError(alter(kadm.SetConfig, "no.such.key", "1"), kerr.InvalidConfig, "an unknown config")
	t.IsError(alter(kadm.SetConfig, "retention.ms", "soon"), kerr.InvalidConfig, "a bad value")

	brokers, err := client.ListBrokers(t)
	t.Check(err, "list brokers")
	described, err := client.DescribeBrokerConfigs(t, brokers[0].NodeID)
	t.Check(err, "describe broker configs")
	t.Equal(len(described[0].Configs) > 10, true, "broker configs")
}

func await(t *suite.T, client *kadm.Client, topic, name, value string) {
	t.Until(name+" = "+value, func() bool {
		return config(t, client, topic, name) == value
	})
}

func config(t *suite.T, client *kadm.Client, topic, name string) string {
	described, err := client.DescribeTopicConfigs(t, topic)
	t.Check(err, "describe configs")
	t.Check(described[0].Err, "describe configs")
	for _, found := range described[0].Configs {
		if found.Key == name {
			return found.MaybeValue()
		}
	}
	t.Failf("config %s is not described", name)
	return ""
}

func adminDeleteRecords(t *suite.T) {
	topic, client := newTopic(t, "a", 1, nil), admin(t)
	produce(t, numbered(topic, 0, 10, time.Now()))
	deleteUpTo := func(offset int64) (int64, error) {
		var offsets kadm.Offsets
		offsets.AddOffset(topic, 0, offset, -1)
		deleted, err := client.DeleteRecords(t, offsets)
		t.Check(err, "delete records")
		result, _ := deleted.Lookup(topic, 0)
		return result.LowWatermark, result.Err
	}
	low, err := deleteUpTo(4)
	t.Check(err, "delete records below 4")
	t.Equal(low, int64(4), "low watermark")
	reset := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	got := consume(t, connect(t, from(topic, 0, kgo.NewOffset().At(0)), reset), 6)
	t.Equal(values(got), sequence(4, 10), "what is left")
	_, err = deleteUpTo(1000)
	t.IsError(err, kerr.OffsetOutOfRange, "delete beyond the end")
	low, err = deleteUpTo(-1)
	t.Check(err, "delete all")
	t.Equal(low, int64(10), "low watermark")
}

func adminGroups(t *suite.T) {
	topic, group, client := newTopic(t, "a", 1, nil), t.Topic("group"), admin(t)
	produce(t, numbered(topic, 0, 10, time.Now()))
	member := join(t, group, topic, kgo.DisableAutoCommit(), kgo.ClientID("the-member"))
	t.Check(member.CommitRecords(t, consume(t, member.Client, 10)[:4]...), "commit")

	groups, err := client.ListGroups(t)
	t.Check(err, "list groups")
	t.Equal(groups[group].State, "Stable", "state in the list")
	described, err := client.DescribeGroups(t, group)
	t.Check(err, "describe group")
	found := described[group]
	t.Equal(found.State, "Stable", "state")
	t.Equal(found.Protocol, "cooperative-sticky", "protocol")
	t.Equal(found.Members[0].ClientID, "the-member", "client id")
	assigned := found.AssignedPartitions()
	t.Equal(assigned.Lookup(topic, 0), true, "assignment of the member")
	lags, err := client.Lag(t, group)
	t.Check(err, "lag")
	t.Equal(lags[group].Lag.Total(), int64(6), "lag")
	refused, err := client.DeleteGroup(t, group)
	t.IsError(err, kerr.NonEmptyGroup, "delete a group with a member")
	t.IsError(refused.Err, kerr.NonEmptyGroup, "delete a group with a member")

	t.Check(member.LeaveGroupContext(t), "leave")
	t.Until("an empty group", func() bool {
		described, err := client.DescribeGroups(t, group)
		return err == nil && described[group].State == "Empty"
	})
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, 2, -1)
	t.Check(client.CommitAllOffsets(t, group, offsets), "commit from outside")
	fetched, err := client.FetchOffsets(t, group)
	t.Check(err, "fetch offsets")
	committed, _ := fetched.Lookup(topic, 0)
	t.Equal(committed.At, int64(2), "committed offset")
	removed, err := client.DeleteOffsets(t, group, kadm.TopicsSet{topic: {0: {}}})
	t.Check(err, "delete offsets")
	t.Check(removed.Error(), "delete offsets")
	_, err = client.DeleteGroup(t, group)
	t.Check(err, "delete group")
	_, err = client.DeleteGroup(t, t.Topic("unknown"))
	t.IsError(err, kerr.GroupIDNotFound, "delete an unknown group")
}

func adminOffsets(t *suite.T) {
	topic, client := newTopic(t, "a", 1, nil), admin(t)
	first := time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())
	produce(t, numbered(topic, 0, 10, first))
	check := func(listed kadm.ListedOffsets, err error, offset, timestamp int64, what string) {
		t.Check(err, what)
		found, _ := listed.Lookup(topic, 0)
		t.Check(found.Err, what)
		t.Equal(found.Offset, offset, what+" offset")
		t.Equal(found.Timestamp, timestamp, what+" timestamp")
	}
	start, err := client.ListStartOffsets(t, topic)
	check(start, err, 0, -1, "start")
	end, err := client.ListEndOffsets(t, topic)
	check(end, err, 10, -1, "end")
	committed, err := client.ListCommittedOffsets(t, topic)
	check(committed, err, 10, -1, "last stable")
	last := first.Add(9 * time.Second).UnixMilli()
	newest, err := client.ListMaxTimestampOffsets(t, topic)
	check(newest, err, 9, last, "greatest timestamp")
	at := first.Add(3 * time.Second).UnixMilli()
	found, err := client.ListOffsetsAfterMilli(t, at-1, topic)
	check(found, err, 3, at, "by time")

	dirs, err := client.DescribeAllLogDirs(t, kadm.TopicsSet{topic: {0: {}}})
	t.Check(err, "describe log dirs")
	size := int64(0)
	dirs.Each(func(dir kadm.DescribedLogDir) {
		t.Check(dir.Err, "log dir")
		dir.Topics.Each(func(partition kadm.DescribedLogDirPartition) { size += partition.Size })
	})
	t.Equal(size > 0, true, "size of the log")
}

func adminCluster(t *suite.T) {
	client := admin(t)
	metadata, err := client.BrokerMetadata(t)
	t.Check(err, "metadata")
	t.Equal(metadata.Cluster != "", true, "cluster id")
	t.Equal(len(metadata.Brokers), 1, "brokers")
	t.Equal(metadata.Controller, metadata.Brokers[0].NodeID, "controller")
	t.Equal(len(metadata.Topics), 0, "topics in an answer about brokers")
	versions, err := client.ApiVersions(t)
	t.Check(err, "api versions")
	versions.Each(func(broker kadm.BrokerApiVersions) {
		t.Check(broker.Err, "api versions")
		maximum, known := broker.KeyMaxVersion(1)
		t.Equal(known && maximum >= 13, true, "fetch by topic id")
	})
}
