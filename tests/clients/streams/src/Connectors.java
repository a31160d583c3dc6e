import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.connect.cli.ConnectDistributed;
import org.apache.kafka.connect.cli.ConnectStandalone;
import org.apache.kafka.connect.runtime.Connect;
import org.apache.kafka.connect.runtime.Herder;

/** Kafka Connect: lines of a file to a topic, and on to another file. */
final class Connectors {
    private static final int LINES = 50;

    private static Map<String, String> worker(Case test, String... more) throws Exception {
        Map<String, String> settings = new HashMap<>(Map.of(
                "bootstrap.servers", Case.BOOTSTRAP,
                "key.converter", "org.apache.kafka.connect.storage.StringConverter",
                "value.converter", "org.apache.kafka.connect.storage.StringConverter",
                "offset.flush.interval.ms", "500",
                "listeners", "http://127.0.0.1:0",
                "plugin.discovery", "service_load"));
        settings.put("consumer.auto.offset.reset", "earliest");
        settings.put("consumer.heartbeat.interval.ms", "100");
        for (int i = 0; i < more.length; i += 2) {
            settings.put(more[i], more[i + 1]);
        }
        return settings;
    }

    private static void connect(Herder herder, String name, Map<String, String> settings) throws Exception {
        Map<String, String> all = new HashMap<>(settings);
        all.put("name", name);
        all.put("tasks.max", "1");
        Case.until("the connector " + name, () -> {
            java.util.concurrent.CompletableFuture<Throwable> answer = new java.util.concurrent.CompletableFuture<>();
            herder.putConnectorConfig(name, all, true, (error, done) -> answer.complete(error));
            // A worker that has only just joined its group says to ask again.
            return Case.get(answer) == null;
        });
    }

    private static void source(Case test, Herder herder, Path file, String... more) throws Exception {
        Map<String, String> settings = new HashMap<>(Map.of(
                "connector.class", "org.apache.kafka.connect.file.FileStreamSourceConnector",
                "file", file.toString(), "topic", test.name("a")));
        for (int i = 0; i < more.length; i += 2) {
            settings.put(more[i], more[i + 1]);
        }
        connect(herder, test.name("source"), settings);
    }

    private static List<String> lines(int first, int end) {
        List<String> lines = new ArrayList<>();
        for (int i = first; i < end; i++) {
            lines.add("v-" + i);
        }
        return lines;
    }

    private static void append(Path file, int first, int end) throws Exception {
        Files.write(file, lines(first, end), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    /** A standalone worker with a source and a sink. */
    static void files(Case test) throws Exception {
        Path folder = Files.createTempDirectory("connect");
        Path in = folder.resolve("in");
        Path out = folder.resolve("out");
        test.newTopic("a", 1);
        append(in, 0, LINES);
        Connect<?> connect = new ConnectStandalone().startConnect(
                worker(test, "offset.storage.file.filename", folder.resolve("offsets").toString()));
        source(test, connect.herder(), in);
        connect(connect.herder(), test.name("sink"), Map.of(
                "connector.class", "org.apache.kafka.connect.file.FileStreamSinkConnector",
                "file", out.toString(), "topics", test.name("a")));
        for (int count = LINES; count <= 2 * LINES; count += LINES) {
            int wanted = count;
            Case.until(count + " lines", () -> Files.exists(out) && Files.readAllLines(out).size() >= wanted);
            append(in, count, count + LINES);
        }
        Case.equal(Files.readAllLines(out).subList(0, 2 * LINES), lines(0, 2 * LINES), "lines");
        connect.stop();
    }

    /**
     * A distributed worker writes the source's records and offsets in one transaction (KIP-618); a
     * second worker goes on where the first was.
     */
    static void exactlyOnce(Case test) throws Exception {
        Path in = Files.createTempDirectory("connect").resolve("in");
        test.newTopic("a", 1);
        append(in, 0, LINES);
        Map<String, String> worker = worker(test,
                "group.id", test.name("workers"), "exactly.once.source.support", "enabled",
                "config.storage.topic", test.name("configs"), "config.storage.replication.factor", "1",
                "offset.storage.topic", test.name("offsets"), "offset.storage.replication.factor", "1",
                "offset.storage.partitions", "1",
                "status.storage.topic", test.name("status"), "status.storage.replication.factor", "1",
                "status.storage.partitions", "1",
                "heartbeat.interval.ms", "200", "session.timeout.ms", "6000");
        Connect<?> first = new ConnectDistributed().startConnect(worker);
        source(test, first.herder(), in, "transaction.boundary", "poll");
        expect(test, LINES);
        first.stop();
        append(in, LINES, 2 * LINES);
        Connect<?> second = new ConnectDistributed().startConnect(worker);
        expect(test, 2 * LINES);
        second.stop();
    }

    /** A reader of what is committed gets each line once. */
    private static void expect(Case test, int count) throws Exception {
        KafkaConsumer<String, String> reader = committed(test);
        Case.equal(Case.values(test.poll(reader, count)), lines(0, count), "records");
        reader.close();
    }

    private static KafkaConsumer<String, String> committed(Case test) {
        KafkaConsumer<String, String> reader = test.consumer("isolation.level", "read_committed");
        reader.assign(List.of(new TopicPartition(test.name("a"), 0)));
        reader.seekToBeginning(reader.assignment());
        return reader;
    }

    private Connectors() {}
}
