import java.util.LinkedHashMap;
import java.util.Map;

/** The cases of the phase that the environment names. */
final class Main {
    public static void main(String[] arguments) throws Exception {
        Console.install();
        Map<String, Suite.Body> cases = new LinkedHashMap<>();
        switch (System.getenv().getOrDefault("PHASE", "all")) {
            case "all" -> {
                cases.put("word_count", WordCount::once);
                cases.put("connect_files", Connectors::files);
                cases.put("connect_exactly_once", Connectors::exactlyOnce);
            }
            case "before" -> cases.put("word_count", WordCount::before);
            case "after" -> cases.put("word_count", WordCount::after);
            case "crash" -> cases.put("word_count", WordCount::throughCrashes);
            default -> throw new IllegalArgumentException("no such phase");
        }
        Suite.run(cases, new LinkedHashMap<>());
    }

    private Main() {}
}
