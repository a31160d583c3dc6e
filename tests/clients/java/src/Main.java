import java.util.LinkedHashMap;
import java.util.Map;

/** The cases of the phase that the environment names. */
final class Main {
    public static void main(String[] arguments) throws Exception {
        String phase = System.getenv().getOrDefault("PHASE", "all");
        if (phase.equals("transform")) {
            Transform.run();
        }
        Console.install();
        Map<String, Suite.Body> clients = new LinkedHashMap<>();
        Map<String, Suite.Body> tools = new LinkedHashMap<>();
        switch (phase) {
            case "all" -> {
                Produce.list(clients);
                Consume.list(clients);
                Administrate.list(clients);
                Tables.list(clients);
                Transact.list(clients);
                Tools.list(tools);
                tools.put("tool_transactions", Tools::transactions);
            }
            case "before" -> {
                clients.put("restart", Restart::before);
                clients.put("table", Tables::before);
                clients.put("transactions", Transact::before);
            }
            case "after" -> {
                clients.put("restart", Restart::after);
                clients.put("table", Tables::after);
                clients.put("transactions", Transact::after);
            }
            case "dump" -> {
                Dump.list(tools);
                tools.put("dump_transactions", Dump::transactions);
            }
            default -> throw new IllegalArgumentException("phase " + phase);
        }
        Suite.run(clients, tools);
    }

    private Main() {}
}
