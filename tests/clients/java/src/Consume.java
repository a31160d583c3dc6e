import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.Metric;
import org.apache.kafka.common.TopicPartition;

/** Cases of the consumer. */
final class Consume {
    static void list(Map<String, Suite.Body> cases) {
        for (Class<?> assignor : List.of(RangeAssignor.class, StickyAssignor.class, CooperativeStickyAssignor.class)) {
            cases.put("group_of_two_" + assignor.getSimpleName(), test -> groupOfTwo(test, assignor.getName()));
        }
        cases.put("static_member", Consume::staticMember);
        cases.put("commit_and_resume", Consume::commitAndResume);
        cases.put("auto_commit", Consume::autoCommit);
        cases.put("seek_by_offset", Consume::seekByOffset);
        cases.put("seek_by_time", Consume::seekByTime);
        cases.put("long_poll_wakes_up", Consume::longPoll);
        cases.put("pattern_subscription", Consume::pattern);
        cases.put("read_committed", Consume::readCommitted);
        cases.put("many_partitions", Consume::manyPartitions);
    }

    private static KafkaConsumer<String, String> join(Case test, String topic, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("group.id", test.name("group")));
        all.addAll(List.of(settings));
        KafkaConsumer<String, String> consumer = test.consumer(all.toArray());
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** One member owns all, two share, and the one that stays owns all again at once. */
    private static void groupOfTwo(Case test, String assignor) throws Exception {
        String topic = test.newTopic("a", 4);
        Object[] settings = {"partition.assignment.strategy", assignor};
        KafkaConsumer<String, String> first = join(test, topic, settings);
        Case.until("one member with all", () -> {
            first.poll(Duration.ofMillis(20));
            return first.assignment().size() == 4;
        });
        KafkaConsumer<String, String> second = join(test, topic, settings);
        Case.until("two members with two each", () -> {
            first.poll(Duration.ofMillis(20));
            second.poll(Duration.ofMillis(20));
            return first.assignment().size() == 2 && second.assignment().size() == 2;
        });
        for (int partition = 0; partition < 4; partition++) {
            test.send(topic, partition, 0, 5);
        }
        Set<String> seen = new HashSet<>();
        for (KafkaConsumer<String, String> member : List.of(first, second)) {
            for (ConsumerRecord<String, String> record : test.poll(member, 10)) {
                seen.add(record.partition() + " " + record.value());
            }
        }
        Case.equal(seen.size(), 20, "different records over both members");
        second.commitSync();
        second.close();
        long left = System.nanoTime();
        Case.until("all with the one that stays", () -> {
            first.poll(Duration.ofMillis(20));
            return first.assignment().size() == 4;
        });
        long seconds = (System.nanoTime() - left) / 1_000_000_000;
        Case.holds(seconds < 10, "rebalance " + seconds + " s after a leave");
    }

    /** KIP-345: a static member that comes back keeps its place and needs no new generation. */
    private static void staticMember(Case test) throws Exception {
        String topic = test.newTopic("a", 2);
        test.send(topic, 0, 0, 4);
        KafkaConsumer<String, String> first = join(test, topic, "group.instance.id", "one");
        test.poll(first, 4);
        int generation = first.groupMetadata().generationId();
        first.commitSync();
        first.close();
        KafkaConsumer<String, String> again = join(test, topic, "group.instance.id", "one");
        test.send(topic, 0, 4, 6);
        Case.equal(Case.values(test.poll(again, 2)), Case.sequence(4, 6), "values after the return");
        Case.equal(again.groupMetadata().generationId(), generation, "generation");
    }

    private static void commitAndResume(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        test.send(topic, 0, 0, 10);
        KafkaConsumer<String, String> first = join(test, topic);
        test.poll(first, 10);
        first.commitSync(Map.of(partition, new OffsetAndMetadata(6, "a note")));
        first.close();
        KafkaConsumer<String, String> second = join(test, topic);
        Case.equal(Case.values(test.poll(second, 4)), Case.sequence(6, 10), "values after the commit");
        OffsetAndMetadata committed = second.committed(Set.of(partition)).get(partition);
        Case.equal(committed.offset(), 6L, "committed offset");
        Case.equal(committed.metadata(), "a note", "commit metadata");

        KafkaConsumer<String, String> strict =
                test.consumer("group.id", test.name("other"), "auto.offset.reset", "none");
        strict.assign(List.of(partition));
        Case.equal(strict.committed(Set.of(partition)).get(partition), null, "commit of an unknown group");
        Case.fails(NoOffsetForPartitionException.class, "no offset", () -> strict.poll(Duration.ofSeconds(10)));
    }

    private static void autoCommit(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        test.send(topic, 0, 0, 5);
        KafkaConsumer<String, String> first = join(test, topic, "enable.auto.commit", true);
        test.poll(first, 5);
        first.close();
        KafkaConsumer<String, String> second = join(test, topic);
        test.send(topic, 0, 5, 6);
        Case.equal(Case.values(test.poll(second, 1)), List.of("v-5"), "values after the commit on close");
    }

    private static void seekByOffset(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        test.send(topic, 0, 0, 20);
        KafkaConsumer<String, String> consumer = test.reader(topic, 0);
        consumer.seek(partition, 15);
        Case.equal(Case.values(test.poll(consumer, 5)), Case.sequence(15, 20), "from offset 15");
        consumer.seek(partition, 3);
        Case.equal(Case.values(test.poll(consumer, 17)), Case.sequence(3, 20), "from offset 3");
        consumer.seekToEnd(List.of(partition));
        Case.equal(consumer.position(partition), 20L, "end");
        consumer.seekToBeginning(List.of(partition));
        Case.equal(consumer.position(partition), 0L, "beginning");
        Case.equal(consumer.endOffsets(List.of(partition)).get(partition), 20L, "end offset");
        consumer.seek(partition, 1000);
        Case.equal(Case.values(test.poll(consumer, 20)), Case.sequence(0, 20), "out of range, reset");

        KafkaConsumer<String, String> strict = test.consumer("auto.offset.reset", "none");
        strict.assign(List.of(partition));
        strict.seek(partition, 1000);
        Case.fails(OffsetOutOfRangeException.class, "out of range", () -> strict.poll(Duration.ofSeconds(10)));
    }

    private static void seekByTime(Case test) throws Exception {
        String topic = test.newTopic("a", 2);
        TopicPartition partition = new TopicPartition(topic, 0);
        long first = System.currentTimeMillis() - 3_600_000;
        test.sendAt(topic, 0, 0, 20, first);
        KafkaConsumer<String, String> consumer = test.reader(topic, 0);
        long[][] expected = {{7000, 7}, {7001, 8}, {-60_000, 0}, {19_000, 19}};
        for (long[] row : expected) {
            OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, first + row[0])).get(partition);
            Case.equal(found.offset(), row[1], "offset for " + row[0]);
            Case.equal(found.timestamp(), first + 1000 * row[1], "timestamp for " + row[0]);
            consumer.seek(partition, found.offset());
            int count = 20 - (int) row[1];
            Case.equal(Case.values(test.poll(consumer, count)), Case.sequence(20 - count, 20), "from " + row[0]);
        }
        TopicPartition empty = new TopicPartition(topic, 1);
        Map<TopicPartition, OffsetAndTimestamp> none =
                consumer.offsetsForTimes(Map.of(partition, first + 19_001, empty, 0L));
        Case.equal(none.get(partition), null, "after the last record");
        Case.equal(none.get(empty), null, "in an empty partition");
    }

    /** A fetch that waits for up to 15 s is answered as soon as a record is there. */
    private static void longPoll(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        test.send(topic, 0, 0, 1);
        KafkaConsumer<String, String> consumer = test.consumer("fetch.max.wait.ms", 15_000);
        consumer.assign(List.of(partition));
        consumer.seekToEnd(List.of(partition));
        consumer.position(partition);
        double before = requests(consumer);
        CompletableFuture<Integer> polled =
                CompletableFuture.supplyAsync(() -> consumer.poll(Duration.ofSeconds(20)).count());
        Case.until("the fetch on its way", () -> requests(consumer) > before);
        long began = System.nanoTime();
        test.send(topic, 0, 1, 2);
        Case.equal(Case.get(polled), 1, "records");
        long ms = (System.nanoTime() - began) / 1_000_000;
        Case.holds(ms < 5000, "the parked fetch was answered after " + ms + " ms");
        test.send(topic, 0, 2, 3); // Ends the fetch that the consumer sent ahead: its close waits for that.
    }

    private static double requests(KafkaConsumer<String, String> consumer) {
        double total = 0;
        for (Metric metric : consumer.metrics().values()) {
            boolean wanted = metric.metricName().name().equals("request-total")
                    && metric.metricName().group().equals("consumer-metrics");
            total += wanted ? (double) metric.metricValue() : 0;
        }
        return total;
    }

    /** A pattern takes in a topic that is made later. */
    private static void pattern(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        test.send(topic, 0, 0, 1);
        KafkaConsumer<String, String> consumer =
                test.consumer("group.id", test.name("group"), "metadata.max.age.ms", 100);
        consumer.subscribe(Pattern.compile(Pattern.quote(test.name("")) + ".*"));
        test.poll(consumer, 1);
        consumer.commitSync();
        String later = test.newTopic("b", 1);
        test.send(later, 0, 1, 2);
        Case.equal(Case.values(test.poll(consumer, 1)), List.of("v-1"), "from the later topic");
        Case.equal(consumer.partitionsFor(later).size(), 1, "partitions");
        Case.holds(consumer.listTopics().containsKey(topic), "topic in the list");
    }

    private static void readCommitted(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        test.send(topic, 0, 0, 10);
        KafkaConsumer<String, String> consumer = test.consumer("isolation.level", "read_committed");
        TopicPartition partition = new TopicPartition(topic, 0);
        consumer.assign(List.of(partition));
        consumer.seekToBeginning(List.of(partition));
        Case.equal(Case.values(test.poll(consumer, 10)), Case.sequence(0, 10), "values");
        Case.equal(consumer.endOffsets(List.of(partition)).get(partition), 10L, "last stable offset");
    }

    /** Small fetches over many partitions: the fetch session and its rotation lose nothing. */
    private static void manyPartitions(Case test) throws Exception {
        String topic = test.newTopic("a", 20);
        for (int partition = 0; partition < 20; partition++) {
            test.send(topic, partition, 0, 10, "compression.type", "none");
        }
        KafkaConsumer<String, String> consumer = test.consumer(
                "fetch.max.bytes", 500, "max.partition.fetch.bytes", 100, "max.poll.records", 7);
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < 20; partition++) {
            all.add(new TopicPartition(topic, partition));
        }
        consumer.assign(all);
        consumer.pause(all.subList(0, 5));
        Map<Integer, List<String>> got = new HashMap<>();
        for (ConsumerRecord<String, String> record : test.poll(consumer, 150)) {
            got.computeIfAbsent(record.partition(), key -> new ArrayList<>()).add(record.value());
        }
        consumer.resume(all.subList(0, 5));
        for (ConsumerRecord<String, String> record : test.poll(consumer, 50)) {
            got.computeIfAbsent(record.partition(), key -> new ArrayList<>()).add(record.value());
        }
        for (int partition = 0; partition < 20; partition++) {
            Case.equal(got.get(partition), Case.sequence(0, 10), "partition " + partition);
        }
    }

    private Consume() {}
}
