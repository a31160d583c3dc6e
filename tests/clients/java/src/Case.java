import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What a case gets: clients that are closed with it, names of its own, and ways to fail. */
final class Case implements AutoCloseable {
    static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final long SECONDS = 25;

    private final String prefix;
    private final Deque<AutoCloseable> open = new ArrayDeque<>();
    private Admin admin;

    Case(String name) {
        prefix = System.getenv("RUN_ID") + "-" + Suite.VERSION + "-" + name + "-";
    }

    /** A topic or group name that no other case and no other run has. */
    String name(String suffix) {
        return prefix + suffix;
    }

    static Map<String, Object> settings(Object... pairs) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", BOOTSTRAP);
        settings.put("reconnect.backoff.ms", "20");
        settings.put("retry.backoff.ms", "20");
        settings.put("enable.metrics.push", "false");
        for (int i = 0; i < pairs.length; i += 2) {
            settings.put((String) pairs[i], String.valueOf(pairs[i + 1]));
        }
        return settings;
    }

    Admin admin() {
        if (admin == null) {
            admin = Admin.create(settings());
            open.push(admin);
        }
        return admin;
    }

    KafkaProducer<String, String> producer(Object... settings) {
        KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings(settings), new StringSerializer(), new StringSerializer());
        open.push(() -> producer.close(Duration.ofSeconds(5)));
        return producer;
    }

    /** A producer that is not closed, as if its process had died. */
    KafkaProducer<String, String> leftOpen(Object... settings) {
        return new KafkaProducer<>(settings(settings), new StringSerializer(), new StringSerializer());
    }

    /** The classic protocol, from the start of the topic, nothing committed by itself. */
    KafkaConsumer<String, String> consumer(Object... settings) {
        Map<String, Object> all = settings(
                "group.protocol", "classic", "auto.offset.reset", "earliest", "enable.auto.commit", "false",
                "heartbeat.interval.ms", "100", "fetch.max.wait.ms", "300", "metadata.max.age.ms", "1000");
        all.putAll(settings(settings));
        KafkaConsumer<String, String> consumer =
                new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
        open.push(consumer);
        return consumer;
    }

    /** A consumer of one partition from its start, without a group. */
    KafkaConsumer<String, String> reader(String topic, int partition) {
        KafkaConsumer<String, String> consumer = consumer();
        consumer.assign(List.of(new TopicPartition(topic, partition)));
        consumer.seekToBeginning(consumer.assignment());
        return consumer;
    }

    String newTopic(String suffix, int partitions, String... configs) throws Exception {
        Map<String, String> all = new HashMap<>();
        for (int i = 0; i < configs.length; i += 2) {
            all.put(configs[i], configs[i + 1]);
        }
        NewTopic topic = new NewTopic(name(suffix), Optional.of(partitions), Optional.empty()).configs(all);
        get(admin().createTopics(List.of(topic)).all());
        listed(topic.name());
        return topic.name();
    }

    /** Waits until a new topic is listed, which takes Apache Kafka a moment. */
    void listed(String topic) throws Exception {
        until("the topic " + topic, () -> {
            try {
                return get(admin().describeTopics(List.of(topic)).allTopicNames()).size() == 1;
            } catch (org.apache.kafka.common.errors.UnknownTopicOrPartitionException early) {
                return false;
            }
        });
    }

    /** Sends v-first up to v-(end-1) with keys k-first and so on. */
    List<RecordMetadata> send(String topic, int partition, int first, int end, Object... settings) throws Exception {
        return sendAt(topic, partition, first, end, System.currentTimeMillis(), settings);
    }

    /** The same with timestamps a second apart. */
    List<RecordMetadata> sendAt(String topic, int partition, int first, int end, long at, Object... settings)
            throws Exception {
        List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer =
                new KafkaProducer<>(settings(settings), new StringSerializer(), new StringSerializer())) {
            for (int i = first; i < end; i++) {
                long timestamp = at + 1000L * (i - first);
                sent.add(producer.send(new ProducerRecord<>(topic, partition, timestamp, "k-" + i, "v-" + i)));
            }
        }
        List<RecordMetadata> stored = new ArrayList<>();
        for (java.util.concurrent.Future<RecordMetadata> future : sent) {
            stored.add(get(future));
        }
        return stored;
    }

    /** Polls until there are count records. */
    List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count) throws Exception {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        until(count + " records", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            return records.size() >= count;
        });
        return records;
    }

    static List<String> values(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    static List<String> sequence(int first, int end) {
        return java.util.stream.IntStream.range(first, end).mapToObj(i -> "v-" + i).toList();
    }

    /** What the future brings, or the error that the broker answered. */
    static <T> T get(java.util.concurrent.Future<T> future) throws Exception {
        try {
            return future.get(SECONDS, TimeUnit.SECONDS);
        } catch (ExecutionException answered) {
            throw answered.getCause() instanceof Exception cause ? cause : answered;
        }
    }

    static <T> T get(org.apache.kafka.common.KafkaFuture<T> future) throws Exception {
        return get((java.util.concurrent.Future<T>) future.toCompletionStage().toCompletableFuture());
    }

    static void fails(Class<? extends Exception> expected, String what, Callable<?> action) {
        try {
            action.call();
        } catch (Exception error) {
            Throwable cause = error;
            while (cause != null && !expected.isInstance(cause)) {
                cause = cause.getCause();
            }
            if (cause != null) {
                return;
            }
            throw new AssertionError(what + ": got " + error + ", expected " + expected.getSimpleName());
        }
        throw new AssertionError(what + ": no error, expected " + expected.getSimpleName());
    }

    static void equal(Object got, Object want, String what) {
        boolean same = got instanceof byte[] left && want instanceof byte[] right
                ? Arrays.equals(left, right)
                : Objects.equals(got, want);
        if (!same) {
            throw new AssertionError(what + ": got " + got + ", expected " + want);
        }
    }

    static void holds(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    /** Asks again and again until the answer is yes. */
    static void until(String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("never saw: " + what);
            }
            Thread.sleep(10);
        }
    }

    @Override
    public void close() throws Exception {
        while (!open.isEmpty()) {
            open.pop().close();
        }
    }
}
