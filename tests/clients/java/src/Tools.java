import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.KafkaProducer;

/** Apache's command line tools, run as a person would, with what they print looked at. */
final class Tools {
    private static final String TOPICS = "org.apache.kafka.tools.TopicCommand";
    private static final String CONFIGS = "kafka.admin.ConfigCommand";
    private static final String GROUPS = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    private static final String PRODUCER = "org.apache.kafka.tools.ConsoleProducer|kafka.tools.ConsoleProducer";
    private static final String CONSUMER = "org.apache.kafka.tools.consumer.ConsoleConsumer";
    private static final String OFFSETS = "org.apache.kafka.tools.GetOffsetShell";
    private static final String TRANSACTIONS = "org.apache.kafka.tools.TransactionsCommand";
    private static final String SERVER = "--bootstrap-server " + Case.BOOTSTRAP + " ";

    static void list(Map<String, Suite.Body> cases) {
        cases.put("tool_topics", Tools::topics);
        cases.put("tool_console", Tools::console);
        cases.put("tool_consumer_groups", Tools::groups);
        cases.put("tool_configs", Tools::configs);
        cases.put("tool_delete_records", Tools::deleteRecords);
        cases.put("tool_cluster", Tools::cluster);
        cases.put("tool_verifiable", Tools::verifiable);
        cases.put("tool_performance", Tools::performance);
    }

    private static String run(String tool, String line) throws Exception {
        return Console.run(tool, "", SERVER + line);
    }

    private static void prints(String output, String... expected) {
        for (String part : expected) {
            Case.holds(output.contains(part), "no '" + part + "' in: " + output);
        }
    }

    private static void fill(String topic, int count) throws Exception {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < count; i++) {
            lines.append("k-").append(i).append(":v-").append(i).append('\n');
        }
        Console.run(PRODUCER, lines.toString(),
                SERVER + "--topic " + topic + " --property parse.key=true --property key.separator=:");
    }

    private static void topics(Case test) throws Exception {
        String topic = test.name("a");
        prints(run(TOPICS, "--create --topic " + topic + " --partitions 2 --replication-factor 1"
                + " --config retention.ms=1000000"), "Created topic " + topic);
        test.listed(topic);
        prints(run(TOPICS, "--create --topic " + topic), "already exists");
        run(TOPICS, "--create --if-not-exists --topic " + topic);
        prints(run(TOPICS, "--list"), topic);
        prints(run(TOPICS, "--describe --topic " + topic), "PartitionCount: 2", "ReplicationFactor: 1",
                "retention.ms=1000000", "TopicId: ", "Partition: 1\tLeader: 1\tReplicas: 1\tIsr: 1");
        run(TOPICS, "--alter --topic " + topic + " --partitions 4");
        Case.until("4 partitions", () -> run(TOPICS, "--describe --topic " + topic).contains("PartitionCount: 4"));
        for (String fault : List.of("--under-replicated-partitions", "--unavailable-partitions")) {
            Case.holds(!run(TOPICS, "--describe " + fault).contains(topic), topic + " among " + fault);
        }
        run(TOPICS, "--delete --topic " + topic);
        Case.until("the topic is gone", () -> !run(TOPICS, "--list").contains(topic));
        prints(run(TOPICS, "--describe --topic " + topic), "does not exist");
    }

    private static void console(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        fill(topic, 5);
        String all = run(CONSUMER, "--topic " + topic + " --from-beginning --max-messages 5 --timeout-ms 10000"
                + " --property print.key=true --property print.offset=true --property print.timestamp=true");
        prints(all, "CreateTime:", "Offset:0\tk-0\tv-0", "Offset:4\tk-4\tv-4", "Processed a total of 5 messages");
        String part = run(CONSUMER, "--topic " + topic
                + " --partition 0 --offset 3 --max-messages 2 --timeout-ms 10000");
        prints(part, "v-3\nv-4");
        Case.holds(!part.contains("v-2"), "a record before the offset: " + part);
        String group = run(CONSUMER, "--topic " + topic + " --from-beginning --max-messages 5 --timeout-ms 10000"
                + " --group " + test.name("group") + " --isolation-level read_committed");
        prints(group, "v-0\nv-1\nv-2\nv-3\nv-4");
    }

    private static void groups(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        String group = test.name("group");
        fill(topic, 10);
        run(CONSUMER, "--topic " + topic + " --from-beginning --max-messages 10 --timeout-ms 10000 --group " + group);
        prints(run(GROUPS, "--list"), group);
        prints(run(GROUPS, "--list --state"), group, "Empty");
        String mine = "--group " + group + " ";
        prints(run(GROUPS, "--describe " + mine), "has no active members", topic, " 10 ");
        prints(run(GROUPS, "--describe --state " + mine), "Empty");
        prints(run(GROUPS, "--describe --members " + mine), "has no active members");
        String reset = "--reset-offsets --execute --topic " + topic + " " + mine;
        prints(run(GROUPS, reset + "--to-earliest"), topic + " ", " 0 ");
        Case.equal(committed(test, group, topic), 0L, "to the earliest");
        run(GROUPS, reset + "--shift-by 4");
        Case.equal(committed(test, group, topic), 4L, "by 4");
        run(GROUPS, reset + "--to-offset 7");
        Case.equal(committed(test, group, topic), 7L, "to 7");
        run(GROUPS, reset + "--to-datetime 2020-01-01T00:00:00.000");
        Case.equal(committed(test, group, topic), 0L, "to a time before all");
        run(GROUPS, reset + "--to-latest");
        Case.equal(committed(test, group, topic), 10L, "to the latest");
        prints(run(GROUPS, "--delete-offsets --topic " + topic + " " + mine), "Successful");
        prints(run(GROUPS, "--delete " + mine), "successful");
        String gone = run(GROUPS, "--describe " + mine);
        Case.holds(gone.contains("does not exist") || gone.contains("not found"), "no error in: " + gone);
    }

    private static long committed(Case test, String group, String topic) throws Exception {
        return Administrate.committed(test.admin(), group)
                .get(new org.apache.kafka.common.TopicPartition(topic, 0)).offset();
    }

    private static void configs(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        String entity = "--entity-type topics --entity-name " + topic;
        prints(run(CONFIGS, "--alter " + entity + " --add-config retention.ms=60000,cleanup.policy=[delete,compact]"),
                "Completed updating config for topic " + topic);
        Case.until("the new config", () -> run(CONFIGS, "--describe " + entity).contains("retention.ms=60000"));
        prints(run(CONFIGS, "--describe " + entity), "cleanup.policy=delete,compact",
                "DYNAMIC_TOPIC_CONFIG:retention.ms=60000");
        prints(run(CONFIGS, "--describe --all " + entity), "segment.bytes=1073741824");
        run(CONFIGS, "--alter " + entity + " --delete-config retention.ms");
        Case.until("no config", () -> !run(CONFIGS, "--describe " + entity).contains("retention.ms=60000"));
        prints(run(CONFIGS, "--describe --all --entity-type brokers --entity-name 1"), "num.partitions=");
        prints(run(CONFIGS, "--alter " + entity + " --add-config no.such.key=1"), "no.such.key");
    }

    private static void deleteRecords(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        fill(topic, 10);
        Path json = Files.createTempFile("delete-records", ".json");
        Files.writeString(json, "{\"version\":1,\"partitions\":[{\"topic\":\"" + topic
                + "\",\"partition\":0,\"offset\":4}]}");
        prints(run("org.apache.kafka.tools.DeleteRecordsCommand", "--offset-json-file " + json), "low_watermark: 4");
        Files.delete(json);
        prints(run(OFFSETS, "--topic " + topic + " --time earliest"), topic + ":0:4");
        prints(run(OFFSETS, "--topic " + topic + " --time latest"), topic + ":0:10");
        prints(run(OFFSETS, "--topic " + topic + " --time max-timestamp"), topic + ":0:");
    }

    private static void cluster(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        fill(topic, 10);
        prints(run("org.apache.kafka.tools.LogDirsCommand", "--describe --topic-list " + topic),
                "\"partition\":\"" + topic + "-0\"", "\"isFuture\":false");
        prints(run("org.apache.kafka.tools.BrokerApiVersionsCommand|kafka.admin.BrokerApiVersionsCommand", ""),
                Case.BOOTSTRAP + " (id: 1 rack: null", "Produce(0): 0 to", "Fetch(1): ");
        prints(Console.run("org.apache.kafka.tools.ClusterTool", "",
                "cluster-id --bootstrap-server " + Case.BOOTSTRAP), "Cluster ID: ");
        if (!Suite.VERSION.startsWith("3.")) {
            prints(run("org.apache.kafka.tools.GroupsCommand", "--list"), "PROTOCOL");
        }
    }

    private static void verifiable(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        // Its summary comes in a hook of the process; the answers come before.
        run("org.apache.kafka.tools.VerifiableProducer", "--topic " + topic + " --max-messages 50");
        Case.until("the 50th answer", () -> Console.kept().contains("\"value\":\"49\",\"offset\":49"));
        prints(run("org.apache.kafka.tools.VerifiableConsumer", "--topic " + topic + " --max-messages 50"
                + " --reset-policy earliest --group-protocol classic --group-id " + test.name("group")),
                "partitions_assigned", "\"count\":50", "offsets_committed");
    }

    private static void performance(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        prints(Console.run("org.apache.kafka.tools.ProducerPerformance", "", "--topic " + topic
                + " --num-records 2000 --record-size 100 --throughput -1"
                + " --producer-props acks=all bootstrap.servers=" + Case.BOOTSTRAP), "2000 records sent");
        prints(run("org.apache.kafka.tools.ConsumerPerformance", "--topic " + topic
                + " --messages 2000 --timeout 10000 --group " + test.name("group")), "data.consumed.in.MB", ", 2000, ");
    }

    /** Lists, looks into and ends transactions as one does with a hanging one. */
    static void transactions(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        String where = "--topic " + topic + " --partition 0";
        String id = test.name("id");
        KafkaProducer<String, String> producer = Transact.producer(test, "id");
        producer.beginTransaction();
        Transact.send(producer, topic, 0, 0, 3);
        String row = run(TRANSACTIONS, "list").lines().filter(line -> line.startsWith(id)).findFirst().orElse("none");
        Case.holds(row.matches("\\S+\\s+1\\s+\\d+\\s+Ongoing\\s*"), "listed: " + row);
        String producerId = row.split("\\s+")[2];
        prints(run(TRANSACTIONS, "describe --transactional-id " + id), "TransactionTimeoutMs", producerId, "Ongoing",
                "60000", topic + "-0");
        String producers = run(TRANSACTIONS, "describe-producers " + where);
        String state = producers.lines().filter(line -> line.startsWith(producerId)).findFirst().orElse(producers);
        Case.holds(state.matches("\\d+\\s+\\d+\\s+-?\\d+\\s+2\\s+\\d+\\s+0\\s*"), "of the producer: " + state);
        String hanging = run(TRANSACTIONS, "find-hanging --max-transaction-timeout 0 " + where);
        prints(hanging, "Topic", "ProducerId");
        Case.holds(!hanging.contains(topic), "hangs, though the coordinator knows it: " + hanging);
        prints(run(TRANSACTIONS, "abort " + where + " --start-offset 1"), "Could not find any open transactions");
        run(TRANSACTIONS, "abort " + where + " --start-offset 0");
        Case.until("its end", () -> Transact.ends(test, topic, 0).equals(List.of(4L, 4L)));
        Transact.reads(test, topic, 0, List.of());
        prints(run(TRANSACTIONS, "describe-producers " + where), "None");
        if (!Suite.VERSION.startsWith("3.")) {
            prints(run(TRANSACTIONS, "list --duration-filter 0 --transactional-id-pattern .*" + id), id);
            String others = run(TRANSACTIONS, "list --transactional-id-pattern no." + id);
            Case.holds(!others.contains(id), "not asked for: " + others);
            run(TRANSACTIONS, "forceTerminateTransaction --transactionalId " + id);
            Case.until("its end", () -> run(TRANSACTIONS, "list").lines()
                    .anyMatch(line -> line.matches(Pattern.quote(id) + "\\s.*Empty\\s*")));
        }
    }

    private Tools() {}
}
