import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** What must be there after the broker was stopped and started on the same data. */
final class Restart {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    static void before(Case test) throws Exception {
        String topic = test.newTopic("a", 2, "retention.ms", "123456789");
        for (int i = 0; i < CODECS.size(); i++) {
            test.send(topic, 0, 4 * i, 4 * i + 4, "compression.type", CODECS.get(i));
        }
        String id = Case.get(test.admin().describeTopics(List.of(topic)).allTopicNames())
                .get(topic).topicId().toString();
        Case.get(test.producer().send(new ProducerRecord<>(topic, 1, "id", id)));
        KafkaConsumer<String, String> member = test.consumer("group.id", test.name("group"));
        member.subscribe(List.of(topic));
        test.poll(member, 21);
        member.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(8),
                new TopicPartition(topic, 1), new OffsetAndMetadata(1)));
    }

    static void after(Case test) throws Exception {
        String topic = test.name("a");
        List<ConsumerRecord<String, String>> got = test.poll(test.reader(topic, 0), 20);
        Case.equal(Case.values(got), Case.sequence(0, 20), "records");
        Case.equal(got.get(19).key(), "k-19", "key");
        String id = Case.get(test.admin().describeTopics(List.of(topic)).allTopicNames())
                .get(topic).topicId().toString();
        Case.equal(test.poll(test.reader(topic, 1), 1).get(0).value(), id, "topic id");
        Case.equal(Administrate.config(test.admin(), topic).get("retention.ms").value(), "123456789", "config");
        KafkaConsumer<String, String> member = test.consumer("group.id", test.name("group"));
        member.subscribe(List.of(topic));
        Case.equal(Case.values(test.poll(member, 12)), Case.sequence(8, 20), "from the committed offset");
        Case.equal(test.send(topic, 0, 20, 21).get(0).offset(), 20L, "next offset");
    }

    private Restart() {}
}
