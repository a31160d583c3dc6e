import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Runs cases and prints a line for each; knows none. The suite streams has it, too. */
public final class Suite {
    static final String VERSION = System.getProperty("kafka.version");
    /** A case may take this long; then it has failed. Only that of the crash tests takes longer. */
    static final int CASE_MAX_S = Integer.parseInt(System.getenv().getOrDefault("CASE_MAX_S", "30"));
    /** Client cases at a time. They wait more than they work. */
    private static final int PARALLEL_MAX = 3;

    interface Body {
        void run(Case test) throws Throwable;
    }

    private static boolean failed = false;
    private static int count = 0;

    /** Runs the cases whose names the environment asks for, and ends the process. */
    static void run(Map<String, Body> clients, Map<String, Body> tools) throws Exception {
        String wanted = System.getenv().getOrDefault("CASE", "");
        clients.keySet().removeIf(name -> !name.contains(wanted));
        tools.keySet().removeIf(name -> !name.contains(wanted));
        // The tools share System.out and the exit procedure: one at a time, beside the clients.
        ExecutorService lane = Executors.newSingleThreadExecutor();
        ExecutorService pool = Executors.newFixedThreadPool(PARALLEL_MAX);
        List<Future<?>> all = new ArrayList<>();
        tools.forEach((name, body) -> all.add(lane.submit(() -> verdict(name, body))));
        clients.forEach((name, body) -> all.add(pool.submit(() -> verdict(name, body))));
        for (Future<?> future : all) {
            future.get();
        }
        // Not System.exit: a client that hangs in its close must not hold up the end.
        Runtime.getRuntime().halt(failed || count == 0 ? 1 : 0);
    }

    private static void verdict(String name, Body body) {
        String full = VERSION + "/" + name;
        CompletableFuture<Void> ended = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try (Case test = new Case(name)) {
                body.run(test);
            } catch (Throwable thrown) {
                ended.completeExceptionally(thrown);
            }
            ended.complete(null);
        });
        thread.setDaemon(true);
        thread.start();
        try {
            ended.get(CASE_MAX_S, TimeUnit.SECONDS);
            line("ok " + full);
        } catch (TimeoutException late) {
            bad(full, "no end after " + CASE_MAX_S + " s" + where(thread));
        } catch (Exception wrapped) {
            Throwable cause = wrapped.getCause() == null ? wrapped : wrapped.getCause();
            bad(full, (cause.toString() + at(cause)).replaceAll("\\s+", " "));
        }
    }

    /** The line of the suite where it went wrong. */
    private static String at(Throwable thrown) {
        for (StackTraceElement frame : thrown.getStackTrace()) {
            if (frame.getModuleName() == null && frame.getClassName().indexOf('.') < 0
                    && !frame.getClassName().startsWith("Case") && !frame.getClassName().startsWith("Suite")) {
                return " (" + frame.getFileName() + ":" + frame.getLineNumber() + ")";
            }
        }
        return "";
    }

    private static String where(Thread thread) {
        StringBuilder frames = new StringBuilder();
        for (StackTraceElement frame : thread.getStackTrace()) {
            frames.append(" < ").append(frame.getClassName()).append('.').append(frame.getMethodName())
                    .append(':').append(frame.getLineNumber());
        }
        return frames.toString();
    }

    private static synchronized void bad(String name, String reason) {
        failed = true;
        line("not ok " + name + ": " + reason);
    }

    private static synchronized void line(String line) {
        count++;
        Console.REAL.println(line);
        Console.REAL.flush();
    }

    private Suite() {}
}
