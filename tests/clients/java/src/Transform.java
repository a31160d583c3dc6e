import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.LongSerializer;

/**
 * Not a case: consumes, transforms and produces in transactions until its input ends, however often the
 * broker dies, and prints what it did, for the checker of the crash tests. It may itself be killed at any
 * time; the next instance goes on with the same transactional id. What it takes from the environment and
 * the lines that it prints are those of the suite rdkafka, whose `transform.rs` tells them.
 */
final class Transform {
    /** No call takes as long as this while the broker is killed over and over. */
    private static final int CALL_MAX_MS = 60_000;
    private static final int RECORDS_MAX = 100;
    private static final OutputStream OUT = new FileOutputStream(FileDescriptor.out);

    private final String source = System.getenv("TOPIC");
    private final String out = System.getenv("OUT");
    private final int outPartitions = Integer.parseInt(System.getenv("OUT_PARTITIONS"));
    private final KafkaProducer<Long, Long> producer;
    private final KafkaConsumer<Long, Long> consumer;
    /** Number of the next transaction; no other instance has the same ones. */
    private long next = Long.parseLong(System.getenv("INSTANCE")) << 16;

    /** Runs until the input ends, or for as long as nobody else has the transactional id. */
    static void run() {
        AtomicBoolean over = new AtomicBoolean();
        Thread waiting = new Thread(() -> {
            try {
                System.in.transferTo(OutputStream.nullOutputStream());
            } catch (IOException gone) {
                // The same as its end.
            }
            over.set(true);
        });
        waiting.setDaemon(true);
        waiting.start();
        try {
            Transform transform = new Transform();
            while (!over.get()) {
                transform.turn();
            }
            transform.producer.close();
            transform.consumer.close();
        } catch (RuntimeException givenUp) {
            givenUp.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
        Runtime.getRuntime().halt(0);
    }

    private Transform() {
        String id = "transform-" + source;
        producer = new KafkaProducer<>(
                Case.settings("transactional.id", id, "transaction.timeout.ms", 60_000, "linger.ms", 1,
                        "reconnect.backoff.max.ms", 50, "max.block.ms", CALL_MAX_MS),
                new LongSerializer(), new LongSerializer());
        producer.initTransactions();
        consumer = new KafkaConsumer<>(
                Case.settings("group.id", id, "group.instance.id", "transform", "group.protocol", "classic",
                        "enable.auto.commit", "false", "auto.offset.reset", "earliest",
                        "isolation.level", "read_committed", "fetch.max.wait.ms", 20,
                        "max.poll.records", RECORDS_MAX, "reconnect.backoff.max.ms", 50,
                        // The member of an instance that was killed is soon given up.
                        "heartbeat.interval.ms", 100, "session.timeout.ms", 6_000),
                new LongDeserializer(), new LongDeserializer());
        consumer.subscribe(List.of(source), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> gone) {}

            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> dealt) {
                say("\"reassigned\":0");
            }
        });
    }

    /** Takes what is there, in one transaction. */
    private void turn() {
        ConsumerRecords<Long, Long> records = consumer.poll(Duration.ofMillis(20));
        if (records.isEmpty()) {
            return;
        }
        long txn = next++;
        try {
            transact(txn, records);
        } catch (TimeoutException unknown) {
            // What became of it is not known, so it must not be aborted.
            throw unknown;
        } catch (KafkaException failed) {
            // Throws if the producer cannot go on.
            producer.abortTransaction();
            say("\"aborted\":" + txn);
            rewind();
        }
    }

    private void transact(long txn, ConsumerRecords<Long, Long> records) {
        say("\"begin\":" + txn);
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
        for (ConsumerRecord<Long, Long> record : records) {
            int from = record.partition();
            say("\"read\":[" + txn + "," + from + "," + record.offset() + "," + record.value() + "]");
            send(txn, from, record.value());
            places.put(new TopicPartition(source, from), new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(places, consumer.groupMetadata());
        say("\"committing\":" + txn);
        producer.commitTransaction();
        say("\"committed\":" + txn);
    }

    private void send(long txn, int takenFrom, long taken) {
        long value = (txn << 32) | (taken << 4) | takenFrom;
        int partition = takenFrom % outPartitions;
        say("\"send\":[" + txn + "," + partition + "," + value + "]");
        producer.send(new ProducerRecord<>(out, partition, null, value), (stored, failed) -> {
            if (failed == null && stored.hasOffset()) {
                say("\"stored\":[" + txn + "," + partition + "," + value + "," + stored.offset() + "]");
            }
        });
    }

    /** Goes back to what is committed, as what was taken since was given up. */
    private void rewind() {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        committed.forEach((partition, place) -> consumer.seek(partition, place == null ? 0 : place.offset()));
        say("\"reassigned\":0");
    }

    /** One line, in one write: a kill cuts the last one at most. */
    private static synchronized void say(String what) {
        Instant now = Instant.now();
        long at = now.getEpochSecond() * 1_000_000_000L + now.getNano();
        try {
            OUT.write(("{\"at\":" + at + "," + what + "}\n").getBytes(StandardCharsets.UTF_8));
        } catch (IOException gone) {
            // A reader that is gone ends the run by ending the input, too.
        }
    }
}
