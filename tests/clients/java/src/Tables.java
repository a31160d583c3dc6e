import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** Compacted topics, read as tables: by a consumer, by a group that stood in a gap, over a restart. */
final class Tables {
    /** Half an hour ago; records a second apart close the segment before. */
    private static final long BEGIN_MS = System.currentTimeMillis() - 1_800_000;
    private static final long STEP_MS = 1_000;
    private static final String[] EAGER = {
        "cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01"};

    static void list(Map<String, Suite.Body> cases) {
        cases.put("table", Tables::table);
        cases.put("table_group", Tables::group);
    }

    /** Lets the cleaner of every broker look for work often. */
    private static void hurry(Case test) throws Exception {
        ConfigEntry often = new ConfigEntry("log.cleaner.backoff.ms", "100");
        Map<ConfigResource, Collection<AlterConfigOp>> changes = new HashMap<>();
        for (Node node : Case.get(test.admin().describeCluster().nodes())) {
            changes.put(new ConfigResource(ConfigResource.Type.BROKER, node.idString()),
                    List.of(new AlterConfigOp(often, AlterConfigOp.OpType.SET)));
        }
        Case.get(test.admin().incrementalAlterConfigs(changes).all());
    }

    /** Each row `key=value`, or `key` for a tombstone, in a segment of its own, from a time on. */
    private static void put(Case test, String topic, long step, String... rows) throws Exception {
        KafkaProducer<String, String> producer = test.producer("compression.type", "lz4");
        for (String row : rows) {
            String[] parts = row.split("=");
            String value = parts.length > 1 ? parts[1] : null;
            Case.get(producer.send(new ProducerRecord<>(topic, 0, BEGIN_MS + STEP_MS * step++, parts[0], value)));
        }
    }

    /** `offset:key=value` of every record from an offset on. */
    private static List<String> rows(Case test, String topic, long from) throws Exception {
        TopicPartition partition = new TopicPartition(topic, 0);
        List<String> rows = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = test.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, from);
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            Case.until("the end", () -> {
                for (ConsumerRecord<String, String> it : consumer.poll(Duration.ofMillis(100))) {
                    rows.add(it.offset() + ":" + it.key() + (it.value() == null ? "" : "=" + it.value()));
                }
                return consumer.position(partition) >= end;
            });
        }
        return rows;
    }

    private static void becomes(Case test, String topic, String... rows) throws Exception {
        Case.until("only " + List.of(rows), () -> rows(test, topic, 0).equals(List.of(rows)));
    }

    private static void table(Case test) throws Exception {
        String topic = test.newTopic("a", 1, EAGER);
        hurry(test);
        put(test, topic, 0, "a=1", "b=1", "a=2", "c=1", "c", "a=3", "roll=1");
        becomes(test, topic, "1:b=1", "4:c", "5:a=3", "6:roll=1");
        Case.equal(rows(test, topic, 2), List.of("4:c", "5:a=3", "6:roll=1"), "from a gap");
        TopicPartition partition = new TopicPartition(topic, 0);
        Map<OffsetSpec, Long> expected = Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 7L,
                OffsetSpec.forTimestamp(BEGIN_MS), 1L, OffsetSpec.forTimestamp(BEGIN_MS + 2 * STEP_MS), 4L,
                OffsetSpec.maxTimestamp(), 6L);
        for (Map.Entry<OffsetSpec, Long> spec : expected.entrySet()) {
            long offset = Case.get(test.admin().listOffsets(Map.of(partition, spec.getKey())).all())
                    .get(partition).offset();
            Case.equal(offset, spec.getValue(), spec.getKey().toString());
        }
    }

    private static void group(Case test) throws Exception {
        String topic = test.newTopic("a", 1, EAGER);
        String group = test.name("group");
        hurry(test);
        put(test, topic, 0, "a=1", "a=2", "a=3");
        TopicPartition partition = new TopicPartition(topic, 0);
        Case.get(test.admin().alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(1))).all());
        put(test, topic, 3, "roll=1");
        becomes(test, topic, "2:a=3", "3:roll=1");
        KafkaConsumer<String, String> consumer = test.consumer("group.id", group);
        consumer.subscribe(List.of(topic));
        Case.equal(Case.values(test.poll(consumer, 2)), List.of("3", "1"), "behind the committed offset");
    }

    static void before(Case test) throws Exception {
        String topic = test.newTopic("kept", 1, EAGER);
        hurry(test);
        put(test, topic, 0, "a=1", "b=1", "b", "a=2", "roll=1");
        becomes(test, topic, "2:b", "3:a=2", "4:roll=1");
    }

    static void after(Case test) throws Exception {
        String topic = test.name("kept");
        Case.equal(rows(test, topic, 0), List.of("2:b", "3:a=2", "4:roll=1"), "the table");
        hurry(test);
        put(test, topic, 600, "b=2", "a", "roll=2");
        becomes(test, topic, "4:roll=1", "5:b=2", "6:a", "7:roll=2");
    }

    private Tables() {}
}
