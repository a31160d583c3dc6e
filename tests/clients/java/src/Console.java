import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/** Runs command line tools inside this JVM: their exits caught, their output kept. */
final class Console {
    static final PrintStream REAL = System.out;
    private static final ByteArrayOutputStream KEPT = new ByteArrayOutputStream();
    private static final List<Runnable> HOOKS = new ArrayList<>();

    private static final class Exited extends RuntimeException {
        Exited(int code, String message) {
            super("exit " + code + (message == null ? "" : " " + message));
        }
    }

    /** Must come first: Scala's console takes System.out once, when it is loaded. */
    static void install() {
        PrintStream kept = new PrintStream(new OutputStream() {
            @Override
            public void write(int b) {
                KEPT.write(b);
            }

            @Override
            public void write(byte[] bytes, int from, int count) {
                KEPT.write(bytes, from, count);
            }
        }, true, StandardCharsets.UTF_8);
        System.setOut(kept);
        System.setErr(kept);
        Exit.setExitProcedure((code, message) -> {
            throw new Exited(code, message);
        });
        Exit.setHaltProcedure((code, message) -> {
            throw new Exited(code, message);
        });
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
    }

    /** Runs the first of the classes that this release has, with words split at spaces. */
    static String run(String classes, String input, String line) throws Exception {
        System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
        KEPT.reset();
        String[] words = line.trim().split("\\s+");
        Class<?> tool = null;
        for (String name : classes.split("\\|")) {
            try {
                tool = Class.forName(name);
                break;
            } catch (ClassNotFoundException other) {
                // The next name is that of another release.
            }
        }
        Case.holds(tool != null, "no class " + classes);
        try {
            tool.getMethod("main", String[].class).invoke(null, (Object) words);
        } catch (java.lang.reflect.InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof Exited)) {
                KEPT.writeBytes((thrown.getCause() + "\n").getBytes(StandardCharsets.UTF_8));
            } else if (!thrown.getCause().getMessage().startsWith("exit 0")) {
                KEPT.writeBytes((thrown.getCause().getMessage() + "\n").getBytes(StandardCharsets.UTF_8));
            }
        }
        // As at the end of a process: some tools flush and report only here.
        HOOKS.forEach(Runnable::run);
        HOOKS.clear();
        return kept();
    }

    /** What was printed since the last tool began. */
    static String kept() {
        return KEPT.toString(StandardCharsets.UTF_8);
    }

    private Console() {}
}
