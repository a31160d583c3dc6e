import java.nio.file.Files;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams with exactly_once_v2: words are counted, and every step of every count comes out, so
 * that the output of a word is 1, 2, 3 and on, whatever happened on the way.
 */
final class WordCount {
    private static final List<String> WORDS = List.of("salt", "otter", "river", "stone", "moss", "rain", "fish");
    /** Through all crashes; the test ends the input when it has killed often enough. */
    private static final int LINES_MAX = 1_000_000;

    private static String line(int number) {
        return WORDS.get(number % 7) + " " + WORDS.get(number % 5) + " " + WORDS.get(number % 3);
    }

    private static KafkaStreams start(Case test) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(test.name("in"), Consumed.with(Serdes.String(), Serdes.String()))
                .flatMapValues(line -> Arrays.asList(line.toLowerCase(Locale.ROOT).split(" ")))
                .groupBy((key, word) -> word, Grouped.with(Serdes.String(), Serdes.String()))
                .count(Materialized.as(Stores.inMemoryKeyValueStore("counts")))
                .toStream()
                .mapValues(count -> count.toString())
                .to(test.name("out"), Produced.with(Serdes.String(), Serdes.String()));
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, test.name("app"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, Case.BOOTSTRAP);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 50);
        settings.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 100);
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6000);
        settings.put("reconnect.backoff.ms", 10);
        settings.put("reconnect.backoff.max.ms", 100);
        settings.put("enable.metrics.push", false);
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.setUncaughtExceptionHandler(error -> StreamThreadExceptionResponse.REPLACE_THREAD);
        streams.start();
        return streams;
    }

    private static void topics(Case test) throws Exception {
        test.newTopic("in", 2);
        test.newTopic("out", 2);
    }

    /** Sends these lines; returns when each is stored once. */
    private static void send(Case test, int first, int end) throws Exception {
        KafkaProducer<String, String> producer = test.producer();
        List<Future<?>> answers = new ArrayList<>();
        for (int i = first; i < end; i++) {
            answers.add(producer.send(new ProducerRecord<>(test.name("in"), i % 2, null, line(i))));
        }
        for (Future<?> answer : answers) {
            Case.get(answer);
        }
        producer.close();
    }

    private static void count(String line, Map<String, Integer> counts) {
        for (String word : line.split(" ")) {
            counts.merge(word, 1, Integer::sum);
        }
    }

    /** Reads the output to its end: each word's counts must come in order, without a gap. */
    private static void expect(Case test, int lines, int seconds) throws Exception {
        Map<String, Integer> wanted = new HashMap<>();
        for (int i = 0; i < lines; i++) {
            count(line(i), wanted);
        }
        KafkaConsumer<String, String> reader = test.consumer("isolation.level", "read_committed");
        List<TopicPartition> partitions =
                List.of(new TopicPartition(test.name("out"), 0), new TopicPartition(test.name("out"), 1));
        reader.assign(partitions);
        reader.seekToBeginning(partitions);
        Map<String, Integer> seen = new HashMap<>();
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (!seen.equals(wanted)) {
            Case.holds(System.nanoTime() < end, "counted " + seen + " of " + wanted);
            for (ConsumerRecord<String, String> record : reader.poll(Duration.ofMillis(100))) {
                int before = seen.getOrDefault(record.key(), 0);
                Case.equal(Integer.parseInt(record.value()), before + 1, record.key() + " at " + record.offset());
                seen.put(record.key(), before + 1);
            }
        }
        Case.equal(reader.poll(Duration.ofMillis(200)).count(), 0, "records beyond");
    }

    static void once(Case test) throws Exception {
        topics(test);
        try (KafkaStreams streams = start(test)) {
            send(test, 0, 300);
            expect(test, 300, 25);
        }
    }

    static void before(Case test) throws Exception {
        topics(test);
        try (KafkaStreams streams = start(test)) {
            send(test, 0, 100);
            expect(test, 100, 25);
        }
    }

    /** The counts are restored from the topic that Streams keeps them in. */
    static void after(Case test) throws Exception {
        expect(test, 100, 25);
        try (KafkaStreams streams = start(test)) {
            send(test, 100, 200);
            expect(test, 200, 25);
        }
    }

    /** Sends lines until the input of this process ends, while the broker dies over and over. */
    static void throughCrashes(Case test) throws Exception {
        topics(test);
        CompletableFuture<Void> over = new CompletableFuture<>();
        Thread waiting = new Thread(() -> {
            try {
                System.in.transferTo(java.io.OutputStream.nullOutputStream());
            } catch (java.io.IOException gone) {
                // The same as its end.
            }
            over.complete(null);
        });
        waiting.setDaemon(true);
        waiting.start();
        try (KafkaStreams streams = start(test)) {
            KafkaProducer<String, String> producer =
                    test.producer("delivery.timeout.ms", 600_000, "linger.ms", 0);
            int sent = 0;
            while (sent < LINES_MAX && !over.isDone()) {
                // One at a time: the rate is that of the broker, and each is known to be stored.
                producer.send(new ProducerRecord<>(test.name("in"), sent % 2, null, line(sent))).get();
                sent++;
                if (sent == 10) {
                    expect(test, sent, 60);
                    Console.REAL.println("# counting");
                }
            }
            Console.REAL.println("# " + sent + " lines");
            expect(test, sent, 60);
        }
    }

    private WordCount() {}
}
