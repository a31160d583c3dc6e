import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;

/** Cases of the producer. */
final class Produce {
    static void list(Map<String, Suite.Body> cases) {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            cases.put("produce_" + codec, test -> codec(test, codec));
        }
        for (String acks : List.of("0", "1", "all")) {
            cases.put("acks_" + acks, test -> acks(test, acks));
        }
        cases.put("idempotent_producer", Produce::idempotent);
        cases.put("too_large_message", Produce::tooLarge);
        cases.put("auto_creation", Produce::autoCreation);
        cases.put("log_append_time", Produce::logAppendTime);
    }

    /** Every shape of record comes back equal. */
    private static void codec(Case test, String codec) throws Exception {
        String topic = test.newTopic("a", 1);
        List<ProducerRecord<String, String>> sent = List.of(
                new ProducerRecord<>(topic, 0, 1_700_000_000_000L, "key", "value"),
                new ProducerRecord<>(topic, 0, 1_700_000_000_001L, "tombstone", (String) null),
                new ProducerRecord<>(topic, 0, 1_700_000_000_002L, null, "no key"),
                new ProducerRecord<>(topic, 0, 1_700_000_000_003L, "", ""),
                new ProducerRecord<>(topic, 0, 1_700_000_000_004L, "long", "abcdefgh".repeat(20_000)));
        sent.get(0).headers()
                .add("twice", bytes("1")).add("twice", bytes("2")).add("null", null)
                .add("empty", new byte[0]).add("bytes", new byte[] {0, -1, -128});
        KafkaProducer<String, String> producer = test.producer("compression.type", codec, "linger.ms", 50);
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        for (ProducerRecord<String, String> record : sent) {
            answers.add(producer.send(record));
        }
        for (int i = 0; i < sent.size(); i++) {
            Case.equal(Case.get(answers.get(i)).offset(), (long) i, "offset answered");
        }
        List<ConsumerRecord<String, String>> got = test.poll(test.reader(topic, 0), sent.size());
        Case.equal(got.size(), sent.size(), "count");
        for (int i = 0; i < sent.size(); i++) {
            Case.equal(got.get(i).offset(), (long) i, "offset " + i);
            Case.equal(got.get(i).key(), sent.get(i).key(), "key " + i);
            Case.equal(got.get(i).value(), sent.get(i).value(), "value " + i);
            Case.equal(got.get(i).timestamp(), sent.get(i).timestamp(), "timestamp " + i);
            Header[] headers = got.get(i).headers().toArray();
            Header[] expected = sent.get(i).headers().toArray();
            Case.equal(headers.length, expected.length, "headers of " + i);
            for (int h = 0; h < headers.length; h++) {
                Case.equal(headers[h].key(), expected[h].key(), "header key");
                Case.holds(Arrays.equals(headers[h].value(), expected[h].value()), "header " + headers[h].key());
            }
        }
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static void acks(Case test, String acks) throws Exception {
        String topic = test.newTopic("a", 1);
        KafkaProducer<String, String> producer = test.producer("acks", acks, "enable.idempotence", false);
        for (int i = 0; i < 10; i++) {
            RecordMetadata stored = Case.get(producer.send(new ProducerRecord<>(topic, "v-" + i)));
            Case.equal(stored.offset(), acks.equals("0") ? -1L : i, "offset answered");
        }
        Case.equal(Case.values(test.poll(test.reader(topic, 0), 10)), Case.sequence(0, 10), "values");
    }

    /** Many small batches, five requests in flight: all there, once, in order. */
    private static void idempotent(Case test) throws Exception {
        String topic = test.newTopic("a", 3);
        KafkaProducer<String, String> producer = test.producer("enable.idempotence", true, "batch.size", 200);
        // One answer from each partition first: on a partition whose leader is not up yet, as it can be
        // on Apache Kafka, requests in flight come back out of order for longer than a case may take.
        for (int partition = 0; partition < 3; partition++) {
            Case.get(producer.send(new ProducerRecord<>(topic, partition, "k", "v-0")));
        }
        List<Future<RecordMetadata>> answers = new ArrayList<>();
        for (int i = 1; i < 300; i++) {
            for (int partition = 0; partition < 3; partition++) {
                answers.add(producer.send(new ProducerRecord<>(topic, partition, "k", "v-" + i)));
            }
        }
        for (Future<RecordMetadata> answer : answers) {
            Case.get(answer);
        }
        for (int partition = 0; partition < 3; partition++) {
            List<ConsumerRecord<String, String>> got = test.poll(test.reader(topic, partition), 300);
            Case.equal(Case.values(got), Case.sequence(0, 300), "values");
        }
    }

    private static void tooLarge(Case test) throws Exception {
        String topic = test.newTopic("a", 1, "max.message.bytes", "2000");
        KafkaProducer<String, String> producer = test.producer();
        ProducerRecord<String, String> large = new ProducerRecord<>(topic, "x".repeat(4000));
        Case.fails(RecordTooLargeException.class, "4000 bytes", () -> Case.get(producer.send(large)));
        Case.get(producer.send(new ProducerRecord<>(topic, "small")));
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp raise = new AlterConfigOp(
                new ConfigEntry("max.message.bytes", "9000"), AlterConfigOp.OpType.SET);
        Case.get(test.admin().incrementalAlterConfigs(Map.of(resource, List.of(raise))).all());
        Case.until("a raised max.message.bytes in force", () -> {
            try {
                return Case.get(producer.send(large)).offset() > 0;
            } catch (RecordTooLargeException early) {
                return false;
            }
        });
    }

    private static void autoCreation(Case test) throws Exception {
        String topic = test.name("a");
        Case.get(test.producer().send(new ProducerRecord<>(topic, "v-0")));
        Case.holds(Case.get(test.admin().listTopics().names()).contains(topic), "the created topic in the list");
    }

    /** The broker's time goes into the answer and into the batch. */
    private static void logAppendTime(Case test) throws Exception {
        String topic = test.newTopic("a", 1, "message.timestamp.type", "LogAppendTime");
        RecordMetadata stored = Case.get(test.producer().send(new ProducerRecord<>(topic, 0, 1L, "k", "v-0")));
        Case.holds(stored.timestamp() > 1_600_000_000_000L, "answered timestamp " + stored.timestamp());
        ConsumerRecord<String, String> got = test.poll(test.reader(topic, 0), 1).get(0);
        Case.equal(got.timestamp(), stored.timestamp(), "timestamp read");
        Case.equal(got.timestampType().name, "LogAppendTime", "timestamp type");
    }

    private Produce() {}
}
