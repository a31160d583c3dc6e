import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** Kafka's own dump tool over the folder that the broker of the phase "before" left when it stopped. */
final class Dump {
    private static final String TOOL = "org.apache.kafka.tools.DumpLogSegments|kafka.tools.DumpLogSegments";
    private static final Path DATA = Path.of(System.getenv().getOrDefault("DATA_DIR", "."));
    private static final Pattern COUNT = Pattern.compile("count: (\\d+) ");

    static void list(Map<String, Suite.Body> cases) {
        cases.put("dump_topic", Dump::topic);
        cases.put("dump_offsets", Dump::offsets);
        cases.put("dump_metadata", Dump::metadata);
    }

    /** What {@link Restart#before} sent: four records a codec, then the topic's id. */
    private static void topic(Case test) throws Exception {
        String topic = new Case("restart").name("a");
        List<String> lines = dump(topic + "-0", "--print-data-log");
        Case.equal(records(lines).size(), 20, "records");
        for (int i = 0; i < 20; i++) {
            Case.holds(records(lines).get(i).matches("\\| offset: " + i + " .* key: k-" + i + " payload: v-" + i),
                    "record " + i + ": " + records(lines).get(i));
        }
        for (String codec : Restart.CODECS) {
            Case.holds(batches(lines).stream().anyMatch(line -> line.contains("compresscodec: " + codec + " ")),
                    "no batch with " + codec + " in " + batches(lines));
        }
        Case.equal(records(dump(topic + "-1", "--print-data-log")).size(), 1, "records of the other partition");
    }

    private static void offsets(Case test) throws Exception {
        Case before = new Case("restart");
        List<String> lines = records(dump("__consumer_offsets-0", "--offsets-decoder"));
        String group = before.name("group");
        for (String what : List.of("(?s).*" + before.name("a") + ".*8.*", "(?s).*consumer.*range.*")) {
            Case.holds(lines.stream().anyMatch(line -> line.contains(group) && line.matches(what)),
                    "no record of " + group + " that matches " + what + " in " + lines);
        }
        Case.holds(lines.stream().noneMatch(line -> line.contains("Unknown")), "not understood: " + lines);
    }

    /** What {@link Transact#before} left: the markers in the topic, and each step of the coordinator. */
    static void transactions(Case test) throws Exception {
        Case before = new Case("transactions");
        List<String> markers = records(dump(before.name("a") + "-0", "--print-data-log")).stream()
                .filter(line -> line.contains("endTxnMarker: ")).map(line -> line.split("endTxnMarker: ")[1]).toList();
        Case.equal(markers.size(), 2, "markers");
        Case.holds(markers.get(0).startsWith("COMMIT coordinatorEpoch: "), markers.get(0));
        Case.holds(markers.get(1).startsWith("ABORT coordinatorEpoch: "), markers.get(1));
        List<String> states = new ArrayList<>();
        for (int partition = 0; Files.isDirectory(DATA.resolve("__transaction_state-" + partition)); partition++) {
            String folder = "__transaction_state-" + partition;
            if (!segments(folder).isEmpty()) {
                states.addAll(records(dump(folder, "--transaction-log-decoder")));
            }
        }
        states.removeIf(line -> !line.contains(before.name("id")));
        Case.holds(states.size() >= 8, "steps of the coordinator: " + states);
        Case.holds(states.get(states.size() - 1).contains(before.name("a")), "partitions: " + states);
        Case.holds(states.stream().noneMatch(line -> line.contains("Unknown")), "not understood: " + states);
    }

    private static void metadata(Case test) throws Exception {
        String topic = new Case("restart").name("a");
        List<String> lines = records(dump("__cluster_metadata-0", "--cluster-metadata-decoder"));
        long topics = lines.stream()
                .filter(line -> line.contains("\"TOPIC_RECORD\"") && line.contains("\"" + topic + "\"")).count();
        Case.equal(topics, 1L, "records of " + topic);
        Case.holds(lines.stream().filter(line -> line.contains("\"PARTITION_RECORD\"")).count() >= 2, "partitions");
        Case.holds(lines.stream().anyMatch(line -> line.contains("\"CONFIG_RECORD\"")
                && line.contains("123456789")), "no config in " + lines);
    }

    /** What the tool prints of all segments of a partition; every batch must be whole and valid. */
    private static List<String> dump(String folder, String how) throws Exception {
        List<String> files = segments(folder);
        Case.holds(!files.isEmpty(), "no segments in " + folder);
        String output = Console.run(TOOL, "", "--files " + String.join(",", files) + " --deep-iteration " + how);
        List<String> lines = output.lines().toList();
        for (String bad : List.of("isvalid: false", "mismatch", "invalid bytes", "Exception", "Could not", "exit ")) {
            Case.holds(!output.contains(bad), bad + " in " + output);
        }
        int counted = 0;
        for (String batch : batches(lines)) {
            Case.holds(batch.contains("isvalid: true"), batch);
            Matcher count = COUNT.matcher(batch);
            Case.holds(count.find(), batch);
            counted += Integer.parseInt(count.group(1));
        }
        Case.equal(records(lines).size(), counted, "records in batches of " + folder);
        return lines;
    }

    private static List<String> segments(String folder) throws Exception {
        try (Stream<Path> all = Files.list(DATA.resolve(folder))) {
            return all.map(Path::toString).filter(name -> name.endsWith(".log")).sorted().toList();
        }
    }

    private static List<String> batches(List<String> lines) {
        return lines.stream().filter(line -> line.startsWith("baseOffset: ")).toList();
    }

    private static List<String> records(List<String> lines) {
        return new ArrayList<>(lines.stream().filter(line -> line.startsWith("| offset: ")).toList());
    }

    private Dump() {}
}
