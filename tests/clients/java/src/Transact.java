import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.AbortTransactionSpec;
import org.apache.kafka.clients.admin.ListTransactionsOptions;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.TransactionDescription;
import org.apache.kafka.clients.admin.TransactionListing;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.InvalidTxnStateException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TransactionalIdNotFoundException;

/** Cases of the transactional producer and the consumer that reads what is committed. */
final class Transact {
    /** From 4.0 on the client speaks transaction.version 2: a new epoch for each transaction. */
    private static final boolean NEW_EPOCHS = !Suite.VERSION.startsWith("3.");

    static void list(Map<String, Suite.Body> cases) {
        cases.put("txn_commit", Transact::commit);
        cases.put("txn_abort", Transact::abort);
        cases.put("txn_empty", Transact::empty);
        cases.put("txn_epochs", Transact::epochs);
        cases.put("txn_send_offsets", Transact::sendOffsets);
        cases.put("txn_old_generation", Transact::oldGeneration);
        cases.put("txn_zombie", Transact::zombie);
        cases.put("txn_timeout", Transact::timeout);
        cases.put("txn_goes_on_after_a_refused_record", Transact::goesOn);
        cases.put("admin_transactions", Transact::administrate);
        cases.put("admin_abort_transaction", Transact::abortByAdmin);
    }

    /** A producer that may begin; its transactional id is the case's own. */
    static KafkaProducer<String, String> producer(Case test, String id, Object... settings) {
        List<Object> all = new ArrayList<>(List.of("transactional.id", test.name(id)));
        all.addAll(List.of(settings));
        KafkaProducer<String, String> producer = test.producer(all.toArray());
        producer.initTransactions();
        return producer;
    }

    /** Sends v-first up to v-(end-1) to a partition, and waits until they are stored. */
    static void send(KafkaProducer<String, String> producer, String topic, int partition, int first, int end)
            throws Exception {
        List<java.util.concurrent.Future<?>> sent = new ArrayList<>();
        for (int i = first; i < end; i++) {
            sent.add(producer.send(new ProducerRecord<>(topic, partition, "k-" + i, "v-" + i)));
        }
        producer.flush();
        for (java.util.concurrent.Future<?> answer : sent) {
            Case.get(answer);
        }
    }

    /** A whole transaction of these records. */
    private static void committed(KafkaProducer<String, String> producer, String topic, int first, int end)
            throws Exception {
        producer.beginTransaction();
        send(producer, topic, 0, first, end);
        producer.commitTransaction();
    }

    /** A reader of a partition from its start that sees what is committed. */
    static KafkaConsumer<String, String> reader(Case test, String topic, int partition) {
        KafkaConsumer<String, String> consumer = test.consumer("isolation.level", "read_committed");
        consumer.assign(List.of(new TopicPartition(topic, partition)));
        consumer.seekToBeginning(consumer.assignment());
        return consumer;
    }

    /** The end of a partition with each isolation: last stable offset, high watermark. */
    static List<Long> ends(Case test, String topic, int partition) {
        TopicPartition where = new TopicPartition(topic, partition);
        List<Long> ends = new ArrayList<>();
        for (String level : List.of("read_committed", "read_uncommitted")) {
            KafkaConsumer<String, String> consumer = test.consumer("isolation.level", level);
            ends.add(consumer.endOffsets(List.of(where)).get(where));
            consumer.close();
        }
        return ends;
    }

    /** A reader of what is committed gets exactly these. */
    static void reads(Case test, String topic, int partition, List<String> values) throws Exception {
        KafkaConsumer<String, String> reader = reader(test, topic, partition);
        Case.equal(Case.values(test.poll(reader, values.size())), values, "committed in " + partition);
        Case.until("no open transaction in " + partition, () -> {
            List<Long> ends = ends(test, topic, partition);
            return ends.get(0).equals(ends.get(1));
        });
        TopicPartition where = new TopicPartition(topic, partition);
        long end = ends(test, topic, partition).get(0);
        Case.until("the reader at the end", () -> {
            Case.equal(reader.poll(Duration.ofMillis(50)).count(), 0, "records behind those");
            return reader.position(where) == end;
        });
        reader.close();
    }

    private static void commit(Case test) throws Exception {
        String topic = test.newTopic("a", 3);
        String other = test.newTopic("b", 1);
        KafkaProducer<String, String> producer = producer(test, "id");
        producer.beginTransaction();
        for (int partition = 0; partition < 3; partition++) {
            send(producer, topic, partition, 0, 5);
        }
        send(producer, other, 0, 7, 8);
        for (int partition = 0; partition < 3; partition++) {
            KafkaConsumer<String, String> early = test.reader(topic, partition);
            Case.equal(Case.values(test.poll(early, 5)), Case.sequence(0, 5), "uncommitted");
            Case.equal(ends(test, topic, partition), List.of(0L, 5L), "ends while it is open");
        }
        producer.commitTransaction();
        for (int partition = 0; partition < 3; partition++) {
            reads(test, topic, partition, Case.sequence(0, 5));
            Case.equal(ends(test, topic, partition), List.of(6L, 6L), "ends behind the marker");
        }
        reads(test, other, 0, List.of("v-7"));
    }

    private static void abort(Case test) throws Exception {
        String topic = test.newTopic("a", 2);
        KafkaProducer<String, String> producer = producer(test, "id");
        for (int round = 0; round < 4; round++) {
            producer.beginTransaction();
            send(producer, topic, 0, 3 * round, 3 * round + 3);
            send(producer, topic, 1, 3 * round, 3 * round + 3);
            test.send(topic, 0, 100 + round, 101 + round);
            if (round % 2 == 0) {
                producer.abortTransaction();
            } else {
                producer.commitTransaction();
            }
        }
        reads(test, topic, 0, List.of("v-100", "v-3", "v-4", "v-5", "v-101", "v-102",
                "v-9", "v-10", "v-11", "v-103"));
        reads(test, topic, 1, List.of("v-3", "v-4", "v-5", "v-9", "v-10", "v-11"));
        Case.equal(Case.values(test.poll(test.reader(topic, 1), 12)), Case.sequence(0, 12), "uncommitted");
    }

    private static void empty(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        KafkaProducer<String, String> producer = producer(test, "id");
        for (int round = 0; round < 20; round++) {
            producer.beginTransaction();
            if (round % 2 == 0) {
                producer.commitTransaction();
            } else {
                producer.abortTransaction();
            }
        }
        Case.equal(ends(test, topic, 0), List.of(0L, 0L), "ends");
        committed(producer, topic, 0, 1);
        reads(test, topic, 0, List.of("v-0"));
    }

    /** Each transaction has its own epoch from 4.0 on (KIP-890), and all have one before. */
    private static void epochs(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        KafkaProducer<String, String> producer = producer(test, "id");
        for (int i = 0; i < 5; i++) {
            committed(producer, topic, i, i + 1);
        }
        reads(test, topic, 0, Case.sequence(0, 5));
        Case.equal(describe(test, "id").producerEpoch(), NEW_EPOCHS ? 5 : 0, "epoch");
        Case.equal((int) Case.get(test.admin().describeFeatures().featureMetadata())
                .finalizedFeatures().get("transaction.version").maxVersionLevel(), 2, "transaction.version");
    }

    private static KafkaConsumer<String, String> join(Case test, String topic) {
        KafkaConsumer<String, String> consumer =
                test.consumer("group.id", test.name("group"), "isolation.level", "read_committed");
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** The group's offset as an administrator sees it; -1 for none. */
    static long groupOffset(Case test, String topic) throws Exception {
        OffsetAndMetadata found = Case.get(test.admin().listConsumerGroupOffsets(test.name("group"))
                .partitionsToOffsetAndMetadata()).get(new TopicPartition(topic, 0));
        return found == null ? -1 : found.offset();
    }

    /** Consume, transform, produce; offsets are there with the commit and not before. */
    private static void sendOffsets(Case test) throws Exception {
        String in = test.newTopic("in", 1);
        String out = test.newTopic("out", 1);
        TopicPartition where = new TopicPartition(in, 0);
        test.send(in, 0, 0, 10);
        KafkaConsumer<String, String> member = join(test, in);
        test.poll(member, 10);
        KafkaProducer<String, String> producer = producer(test, "id");
        producer.beginTransaction();
        send(producer, out, 0, 100, 105);
        producer.sendOffsetsToTransaction(Map.of(where, new OffsetAndMetadata(10)), member.groupMetadata());
        producer.abortTransaction();
        Case.equal(groupOffset(test, in), -1L, "offset after the abort");

        producer.beginTransaction();
        send(producer, out, 0, 0, 5);
        producer.sendOffsetsToTransaction(
                Map.of(where, new OffsetAndMetadata(5, "a note")), member.groupMetadata());
        Case.equal(groupOffset(test, in), -1L, "offset while it is open");
        Case.fails(org.apache.kafka.common.errors.TimeoutException.class, "stable offset while it is open",
                () -> member.committed(Set.of(where), Duration.ofMillis(300)));
        producer.commitTransaction();
        OffsetAndMetadata found = member.committed(Set.of(where)).get(where);
        Case.equal(found.offset(), 5L, "offset after the commit");
        Case.equal(found.metadata(), "a note", "its metadata");
        reads(test, out, 0, Case.sequence(0, 5));
        member.close();
        Case.equal(Case.values(test.poll(join(test, in), 5)), Case.sequence(5, 10), "the next member");
    }

    /** KIP-447: offsets of a member that the group no longer has are refused; the producer goes on. */
    private static void oldGeneration(Case test) throws Exception {
        String in = test.newTopic("in", 1);
        Map<TopicPartition, OffsetAndMetadata> offsets =
                Map.of(new TopicPartition(in, 0), new OffsetAndMetadata(1));
        test.send(in, 0, 0, 2);
        KafkaConsumer<String, String> old = join(test, in);
        test.poll(old, 2);
        ConsumerGroupMetadata before = old.groupMetadata();
        old.close();
        KafkaConsumer<String, String> member = join(test, in);
        test.poll(member, 2);
        KafkaProducer<String, String> producer = producer(test, "id");
        producer.beginTransaction();
        Case.fails(CommitFailedException.class, "an old generation", () -> {
            producer.sendOffsetsToTransaction(offsets, before);
            return null;
        });
        producer.abortTransaction();
        producer.beginTransaction();
        producer.sendOffsetsToTransaction(offsets, member.groupMetadata());
        producer.commitTransaction();
        Case.until("the offset", () -> groupOffset(test, in) == 1);
    }

    /** Who begins with a transactional id ends what another one with it has open, and shuts it out. */
    private static void zombie(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        KafkaProducer<String, String> first = producer(test, "id");
        first.beginTransaction();
        send(first, topic, 0, 0, 2);
        KafkaProducer<String, String> second = producer(test, "id");
        Case.fails(ProducerFencedException.class, "commit of a zombie", () -> {
            first.commitTransaction();
            return null;
        });
        second.beginTransaction();
        send(second, topic, 0, 2, 4);
        KafkaProducer<String, String> third = producer(test, "id");
        Case.fails(InvalidProducerEpochException.class, "send of a zombie",
                () -> Case.get(second.send(new ProducerRecord<>(topic, 0, "k", "late"))));
        Case.fails(ProducerFencedException.class, "end of a zombie", () -> {
            second.abortTransaction();
            second.beginTransaction();
            return null;
        });
        committed(third, topic, 4, 6);
        reads(test, topic, 0, Case.sequence(4, 6));
    }

    /** The broker ends what is open for too long; the client learns of it. */
    private static void timeout(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        KafkaProducer<String, String> producer = producer(test, "id", "transaction.timeout.ms", 1000);
        producer.beginTransaction();
        send(producer, topic, 0, 0, 2);
        Case.until("the end of the transaction", () -> ends(test, topic, 0).get(0) == 3);
        Class<? extends Exception> error =
                NEW_EPOCHS ? InvalidTxnStateException.class : ProducerFencedException.class;
        Case.fails(error, "commit of what timed out", () -> {
            producer.commitTransaction();
            return null;
        });
        committed(producer(test, "id"), topic, 2, 4);
        reads(test, topic, 0, Case.sequence(2, 4));
    }

    /** A record that the broker refuses: the transaction cannot commit, the next one can. */
    private static void goesOn(Case test) throws Exception {
        String topic = test.newTopic("a", 1, "max.message.bytes", "2000");
        KafkaProducer<String, String> producer = producer(test, "id");
        for (int round = 0; round < 3; round++) {
            producer.beginTransaction();
            send(producer, topic, 0, 50, 52);
            Case.fails(RecordTooLargeException.class, "4000 bytes",
                    () -> Case.get(producer.send(new ProducerRecord<>(topic, "x".repeat(4000)))));
            Case.fails(KafkaException.class, "commit", () -> {
                producer.commitTransaction();
                return null;
            });
            producer.abortTransaction();
            committed(producer, topic, 2 * round, 2 * round + 2);
        }
        reads(test, topic, 0, Case.sequence(0, 6));
    }

    private static TransactionDescription describe(Case test, String id) throws Exception {
        return Case.get(test.admin().describeTransactions(List.of(test.name(id))).description(test.name(id)));
    }

    private static ProducerState onlyProducer(Case test, TopicPartition where) throws Exception {
        List<ProducerState> all = Case.get(test.admin().describeProducers(List.of(where)).all())
                .get(where).activeProducers();
        Case.equal(all.size(), 1, "producers");
        return all.get(0);
    }

    private static void administrate(Case test) throws Exception {
        String topic = test.newTopic("a", 2);
        KafkaProducer<String, String> producer = producer(test, "id", "transaction.timeout.ms", 54_321);
        Case.equal(describe(test, "id").state(), TransactionState.EMPTY, "state before the first one");
        producer.beginTransaction();
        send(producer, topic, 1, 0, 3);
        TransactionDescription open = describe(test, "id");
        Case.equal(open.state(), TransactionState.ONGOING, "state");
        Case.equal(open.topicPartitions(), Set.of(new TopicPartition(topic, 1)), "partitions");
        Case.equal(open.transactionTimeoutMs(), 54_321L, "timeout");
        long age = System.currentTimeMillis() - open.transactionStartTimeMs().getAsLong();
        Case.holds(age >= 0 && age < 20_000, "begun " + age + " ms ago");
        ProducerState state = onlyProducer(test, new TopicPartition(topic, 1));
        Case.equal(state.producerId(), open.producerId(), "producer id");
        Case.equal(state.producerEpoch(), open.producerEpoch(), "producer epoch");
        Case.equal(state.lastSequence(), 2, "last sequence");
        Case.equal(state.currentTransactionStartOffset().getAsLong(), 0L, "start offset");
        TransactionListing listed = listed(test, TransactionState.ONGOING).orElseThrow();
        Case.equal(listed.producerId(), open.producerId(), "producer id listed");
        Case.holds(listed(test, TransactionState.EMPTY).isEmpty(), "listed among the empty ones");
        producer.commitTransaction();
        Case.until("the commit complete", () -> describe(test, "id").state() == TransactionState.COMPLETE_COMMIT);
        Case.holds(onlyProducer(test, new TopicPartition(topic, 1)).currentTransactionStartOffset().isEmpty(),
                "a start offset after the end");
        Case.fails(TransactionalIdNotFoundException.class, "an id that nobody has", () -> describe(test, "nobody"));

        Case.get(test.admin().fenceProducers(List.of(test.name("id"))).all());
        producer.beginTransaction();
        Case.fails(KafkaException.class, "a fenced producer", () -> {
            send(producer, topic, 1, 3, 4);
            producer.commitTransaction();
            return null;
        });
    }

    private static Optional<TransactionListing> listed(Case test, TransactionState state) throws Exception {
        ListTransactionsOptions options = new ListTransactionsOptions().filterStates(List.of(state));
        return Case.get(test.admin().listTransactions(options).all()).stream()
                .filter(listing -> listing.transactionalId().equals(test.name("id"))).findFirst();
    }

    /** As for a hanging transaction: the marker goes to one partition, past the coordinator. */
    private static void abortByAdmin(Case test) throws Exception {
        String topic = test.newTopic("a", 1);
        TopicPartition where = new TopicPartition(topic, 0);
        KafkaProducer<String, String> producer = producer(test, "id");
        producer.beginTransaction();
        send(producer, topic, 0, 0, 2);
        ProducerState state = onlyProducer(test, where);
        int coordinator = state.coordinatorEpoch().orElse(0);
        Case.get(test.admin().abortTransaction(new AbortTransactionSpec(
                where, state.producerId(), (short) state.producerEpoch(), coordinator)).all());
        Case.until("its end", () -> ends(test, topic, 0).get(0) == 3);
        reads(test, topic, 0, List.of());
    }

    /** Leaves a committed, an aborted and an open transaction behind. */
    static void before(Case test) throws Exception {
        String topic = test.newTopic("a", 2);
        KafkaConsumer<String, String> member = test.consumer("group.id", test.name("group"));
        TopicPartition where = new TopicPartition(topic, 0);
        ConsumerGroupMetadata group = member.groupMetadata();
        // Not closed: a close would end the open one.
        KafkaProducer<String, String> producer =
                test.leftOpen("transactional.id", test.name("id"), "transaction.timeout.ms", 600_000);
        producer.initTransactions();
        producer.beginTransaction();
        send(producer, topic, 0, 0, 5);
        producer.sendOffsetsToTransaction(Map.of(where, new OffsetAndMetadata(5)), group);
        producer.commitTransaction();
        producer.beginTransaction();
        send(producer, topic, 0, 5, 10);
        send(producer, topic, 1, 5, 10);
        producer.abortTransaction();
        producer.beginTransaction();
        send(producer, topic, 0, 10, 15);
        producer.sendOffsetsToTransaction(Map.of(where, new OffsetAndMetadata(15)), group);
        Case.equal(ends(test, topic, 0), List.of(12L, 17L), "ends");
    }

    static void after(Case test) throws Exception {
        String topic = test.name("a");
        Case.equal(ends(test, topic, 0), List.of(12L, 17L), "ends");
        Case.equal(describe(test, "id").state(), TransactionState.ONGOING, "state");
        Case.equal(Case.values(test.poll(reader(test, topic, 0), 5)), Case.sequence(0, 5), "committed");
        Case.equal(Case.values(test.poll(test.reader(topic, 0), 15)), Case.sequence(0, 15), "uncommitted");
        Case.equal(groupOffset(test, topic), 5L, "group's offset");
        committed(producer(test, "id"), topic, 15, 17);
        reads(test, topic, 0, List.of("v-0", "v-1", "v-2", "v-3", "v-4", "v-15", "v-16"));
        reads(test, topic, 1, List.of());
        KafkaConsumer<String, String> member =
                test.consumer("group.id", test.name("group"), "isolation.level", "read_committed");
        TopicPartition where = new TopicPartition(topic, 0);
        Case.equal(member.committed(Set.of(where)).get(where).offset(), 5L, "group's offset, stable");
    }

    private Transact() {}
}
