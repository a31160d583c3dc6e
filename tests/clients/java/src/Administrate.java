import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.CreateTopicsResult;
import org.apache.kafka.clients.admin.DescribeClusterResult;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Cases of the Admin client. */
final class Administrate {
    static void list(Map<String, Suite.Body> cases) {
        cases.put("admin_topics", Administrate::topics);
        cases.put("admin_partitions", Administrate::partitions);
        cases.put("admin_configs", Administrate::configs);
        cases.put("admin_delete_records", Administrate::deleteRecords);
        cases.put("admin_groups", Administrate::groups);
        cases.put("admin_remove_members", Administrate::removeMembers);
        cases.put("admin_offsets", Administrate::offsets);
        cases.put("admin_cluster", Administrate::cluster);
        cases.put("topic_recreated_has_a_new_id", Administrate::recreate);
    }

    private static NewTopic topic(String name, int partitions) {
        return new NewTopic(name, partitions, (short) 1);
    }

    private static void topics(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.name("a");
        NewTopic wanted = topic(name, 2).configs(Map.of("retention.ms", "1000000"));
        CreateTopicsResult created = admin.createTopics(List.of(wanted));
        Case.equal(Case.get(created.numPartitions(name)), 2, "partitions answered");
        Case.equal(Case.get(created.replicationFactor(name)), 1, "replication factor answered");
        Case.equal(Case.get(created.config(name)).get("retention.ms").value(), "1000000", "config answered");
        Uuid id = Case.get(created.topicId(name));
        test.listed(name);
        Case.fails(TopicExistsException.class, "create again",
                () -> Case.get(admin.createTopics(List.of(wanted)).all()));
        Case.fails(InvalidTopicException.class, "a bad name",
                () -> Case.get(admin.createTopics(List.of(topic("no good name", 1))).all()));
        Case.fails(InvalidPartitionsException.class, "no partitions",
                () -> Case.get(admin.createTopics(List.of(topic(test.name("none"), 0))).all()));
        NewTopic odd = topic(test.name("odd"), 1).configs(Map.of("no.such.key", "1"));
        Case.fails(InvalidConfigurationException.class, "an unknown config",
                () -> Case.get(admin.createTopics(List.of(odd)).all()));
        CreateTopicsOptions dry = new CreateTopicsOptions().validateOnly(true);
        Case.get(admin.createTopics(List.of(topic(test.name("dry"), 1)), dry).all());

        Set<String> names = Case.get(admin.listTopics().names());
        Case.holds(names.contains(name), "the topic in the list");
        Case.holds(!names.contains(test.name("dry")), "a validated topic in the list");
        TopicDescription described = describe(admin, name);
        Case.equal(described.topicId(), id, "topic id");
        Case.equal(described.partitions().size(), 2, "partitions");
        Case.equal(described.partitions().get(1).isr(), described.partitions().get(1).replicas(), "in sync");
        TopicCollection.TopicIdCollection byId = TopicCollection.ofTopicIds(List.of(id));
        Case.equal(Case.get(admin.describeTopics(byId).allTopicIds()).get(id).name(), name, "found by id");
        TopicCollection.TopicIdCollection nobody = TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()));
        Case.fails(UnknownTopicIdException.class, "an unknown id",
                () -> Case.get(admin.describeTopics(nobody).allTopicIds()));

        Case.get(admin.deleteTopics(byId).all());
        Case.until("the topic is gone", () -> !Case.get(admin.listTopics().names()).contains(name));
        Case.fails(UnknownTopicOrPartitionException.class, "delete again",
                () -> Case.get(admin.deleteTopics(List.of(name)).all()));
    }

    private static TopicDescription describe(Admin admin, String name) throws Exception {
        return Case.get(admin.describeTopics(List.of(name)).allTopicNames()).get(name);
    }

    private static void partitions(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 2);
        Case.get(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(5))).all());
        Case.until("5 partitions", () -> describe(admin, name).partitions().size() == 5);
        test.send(name, 4, 0, 3);
        Case.equal(Case.values(test.poll(test.reader(name, 4), 3)), Case.sequence(0, 3), "in a new partition");
        Case.fails(InvalidPartitionsException.class, "fewer",
                () -> Case.get(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(1))).all()));
    }

    private static void configs(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1, "retention.ms", "1000000");
        ConfigEntry created = config(admin, name).get("retention.ms");
        Case.equal(created.value(), "1000000", "as created");
        Case.equal(created.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "source");
        ConfigEntry left = config(admin, name).get("cleanup.policy");
        Case.equal(left.value(), "delete", "default");
        Case.equal(left.source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG, "source of a default");
        Case.equal(left.type(), ConfigEntry.ConfigType.LIST, "type");

        alter(admin, name, AlterConfigOp.OpType.APPEND, "cleanup.policy", "compact");
        await(admin, name, "cleanup.policy", "delete,compact");
        alter(admin, name, AlterConfigOp.OpType.SUBTRACT, "cleanup.policy", "delete");
        await(admin, name, "cleanup.policy", "compact");
        alter(admin, name, AlterConfigOp.OpType.DELETE, "cleanup.policy", null);
        await(admin, name, "cleanup.policy", "delete");
        Case.fails(InvalidConfigurationException.class, "an unknown config", () -> {
            alter(admin, name, AlterConfigOp.OpType.SET, "no.such.key", "1");
            return null;
        });
        Case.fails(InvalidConfigurationException.class, "a bad value", () -> {
            alter(admin, name, AlterConfigOp.OpType.SET, "retention.ms", "soon");
            return null;
        });
        String node = Case.get(admin.describeCluster().nodes()).iterator().next().idString();
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node);
        Config described = Case.get(admin.describeConfigs(List.of(broker)).all()).get(broker);
        Case.holds(described.get("num.partitions") != null, "num.partitions among the broker's configs");
    }

    private static void alter(Admin admin, String topic, AlterConfigOp.OpType type, String key, String value)
            throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry(key, value), type);
        Case.get(admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all());
    }

    private static void await(Admin admin, String topic, String key, String value) throws Exception {
        Case.until(key + " = " + value, () -> config(admin, topic).get(key).value().equals(value));
    }

    static Config config(Admin admin, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        return Case.get(admin.describeConfigs(List.of(resource)).all()).get(resource);
    }

    private static void deleteRecords(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1);
        TopicPartition partition = new TopicPartition(name, 0);
        test.send(name, 0, 0, 10);
        Map<TopicPartition, RecordsToDelete> four = Map.of(partition, RecordsToDelete.beforeOffset(4));
        long low = Case.get(admin.deleteRecords(four).lowWatermarks().get(partition)).lowWatermark();
        Case.equal(low, 4L, "low watermark");
        Case.equal(Case.values(test.poll(test.reader(name, 0), 6)), Case.sequence(4, 10), "what is left");
        Map<TopicPartition, RecordsToDelete> beyond = Map.of(partition, RecordsToDelete.beforeOffset(1000));
        Case.fails(OffsetOutOfRangeException.class, "beyond the end",
                () -> Case.get(admin.deleteRecords(beyond).all()));
        Case.get(admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(-1))).all());
        Case.equal(offset(admin, partition, OffsetSpec.earliest()).offset(), 10L, "earliest after all are gone");
    }

    private static ListOffsetsResultInfo offset(Admin admin, TopicPartition partition, OffsetSpec spec)
            throws Exception {
        return Case.get(admin.listOffsets(Map.of(partition, spec)).partitionResult(partition));
    }

    private static void groups(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1);
        String group = test.name("group");
        TopicPartition partition = new TopicPartition(name, 0);
        test.send(name, 0, 0, 10);
        KafkaConsumer<String, String> member = test.consumer("group.id", group, "client.id", "the-member");
        member.subscribe(List.of(name));
        test.poll(member, 10);
        member.commitSync(Map.of(partition, new OffsetAndMetadata(4)));

        Collection<ConsumerGroupListing> listed = Case.get(admin.listConsumerGroups().all());
        Case.holds(listed.stream().anyMatch(found -> found.groupId().equals(group)), "the group in the list");
        ConsumerGroupDescription described =
                Case.get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
        Case.equal(described.state().toString(), "Stable", "state");
        Case.equal(described.partitionAssignor(), "range", "assignor");
        Case.equal(described.members().size(), 1, "members");
        Case.equal(described.members().iterator().next().clientId(), "the-member", "client id");
        Case.equal(described.members().iterator().next().assignment().topicPartitions(), Set.of(partition),
                "assignment");
        Case.equal(committed(admin, group).get(partition).offset(), 4L, "committed offset");
        Case.fails(GroupNotEmptyException.class, "delete a group with a member",
                () -> Case.get(admin.deleteConsumerGroups(List.of(group)).all()));

        member.close();
        Map<TopicPartition, OffsetAndMetadata> two = Map.of(partition, new OffsetAndMetadata(2));
        Case.get(admin.alterConsumerGroupOffsets(group, two).all());
        Case.equal(committed(admin, group).get(partition).offset(), 2L, "offset set from outside");
        Case.get(admin.deleteConsumerGroupOffsets(group, Set.of(partition)).all());
        Case.equal(committed(admin, group).get(partition), null, "offset after its deletion");
        Case.get(admin.deleteConsumerGroups(List.of(group)).all());
        Case.fails(GroupIdNotFoundException.class, "delete an unknown group",
                () -> Case.get(admin.deleteConsumerGroups(List.of(group)).all()));
    }

    static Map<TopicPartition, OffsetAndMetadata> committed(Admin admin, String group) throws Exception {
        return Case.get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
    }

    private static void removeMembers(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1);
        String group = test.name("group");
        KafkaConsumer<String, String> member = test.consumer("group.id", group, "group.instance.id", "one");
        member.subscribe(List.of(name));
        test.send(name, 0, 0, 1);
        test.poll(member, 1);
        member.close();
        Case.get(admin.removeMembersFromConsumerGroup(group,
                new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("one")))).all());
        Case.until("an empty group", () -> Case.get(admin.describeConsumerGroups(List.of(group)).all())
                .get(group).members().isEmpty());
    }

    private static void offsets(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1);
        TopicPartition partition = new TopicPartition(name, 0);
        Case.equal(offset(admin, partition, OffsetSpec.latest()).offset(), 0L, "latest of an empty partition");
        Case.equal(offset(admin, partition, OffsetSpec.maxTimestamp()).offset(), -1L, "newest of an empty one");
        long first = System.currentTimeMillis() - 3_600_000;
        test.sendAt(name, 0, 0, 10, first);
        Case.equal(offset(admin, partition, OffsetSpec.earliest()).offset(), 0L, "earliest");
        Case.equal(offset(admin, partition, OffsetSpec.latest()).offset(), 10L, "latest");
        ListOffsetsResultInfo newest = offset(admin, partition, OffsetSpec.maxTimestamp());
        Case.equal(newest.offset(), 9L, "offset of the greatest timestamp");
        Case.equal(newest.timestamp(), first + 9000, "the greatest timestamp");
        Case.equal(offset(admin, partition, OffsetSpec.forTimestamp(first + 2500)).offset(), 3L, "by time");
        Case.equal(offset(admin, partition, OffsetSpec.forTimestamp(first + 9001)).offset(), -1L, "after all");
    }

    private static void cluster(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1);
        test.send(name, 0, 0, 10);
        DescribeClusterResult cluster = admin.describeCluster();
        Case.holds(!Case.get(cluster.clusterId()).isEmpty(), "cluster id");
        Collection<Node> nodes = Case.get(cluster.nodes());
        Case.equal(nodes.size(), 1, "nodes");
        Node node = nodes.iterator().next();
        Case.equal(node.host() + ":" + node.port(), Case.BOOTSTRAP, "address of the node");
        Case.equal(Case.get(cluster.controller()).id(), node.id(), "controller");
        long size = Case.get(admin.describeLogDirs(List.of(node.id())).allDescriptions()).get(node.id())
                .values().stream()
                .flatMap(folder -> folder.replicaInfos().entrySet().stream())
                .filter(entry -> entry.getKey().topic().equals(name))
                .mapToLong(entry -> entry.getValue().size()).sum();
        Case.holds(size > 0, "size of the log");
    }

    private static void recreate(Case test) throws Exception {
        Admin admin = test.admin();
        String name = test.newTopic("a", 1);
        Uuid id = describe(admin, name).topicId();
        test.send(name, 0, 0, 5);
        KafkaConsumer<String, String> reader = test.reader(name, 0);
        test.poll(reader, 5);
        Case.get(admin.deleteTopics(List.of(name)).all());
        Case.until("the topic can be made again", () -> {
            try {
                return Case.get(admin.createTopics(List.of(topic(name, 1))).topicId(name)) != null;
            } catch (TopicExistsException reborn) { // The reader made it again.
                return true;
            }
        });
        Case.until("a new topic id", () -> {
            try {
                return !describe(admin, name).topicId().equals(id);
            } catch (UnknownTopicOrPartitionException early) {
                return false;
            }
        });
        test.send(name, 0, 0, 3);
        Case.equal(Case.values(test.poll(test.reader(name, 0), 3)), Case.sequence(0, 3), "records");
        Case.equal(offset(admin, new TopicPartition(name, 0), OffsetSpec.latest()).offset(), 3L, "end");
    }

    private Administrate() {}
}
