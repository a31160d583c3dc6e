import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Transactions a second of one producer: {@code Transactions BOOTSTRAP TOPIC COUNT RECORDS BYTES}. */
public class Transactions {
    public static void main(String[] arguments) {
        for (int attempt = 1; ; attempt++) {
            try {
                measure(arguments);
                return;
            } catch (KafkaException failed) {
                // Now and then Kafka answers INVALID_TXN_STATE to a commit, which ends the producer.
                if (attempt == 5) {
                    throw failed;
                }
            }
        }
    }

    private static void measure(String[] arguments) {
        int count = Integer.parseInt(arguments[2]);
        int records = Integer.parseInt(arguments[3]);
        byte[] value = new byte[Integer.parseInt(arguments[4])];
        Map<String, Object> settings = Map.of(
            "bootstrap.servers", arguments[0], "transactional.id", UUID.randomUUID().toString(), "acks", "all");
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            run(producer, arguments[1], count / 4 + 1, records, value);
            long begin = System.nanoTime();
            run(producer, arguments[1], count, records, value);
            System.out.printf("%.1f transactions/sec%n", count / ((System.nanoTime() - begin) / 1e9));
        }
    }

    private static void run(
        KafkaProducer<byte[], byte[]> producer, String topic, int count, int records, byte[] value) {
        for (int transaction = 0; transaction < count; transaction++) {
            producer.beginTransaction();
            for (int record = 0; record < records; record++) {
                producer.send(new ProducerRecord<>(topic, value));
            }
            producer.commitTransaction();
        }
    }
}
