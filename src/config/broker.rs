//! Broker configs that mean something in ottla: Kafka's names where Kafka has one, `ottla.` for
//! our own. Those that Kafka has and one node has no use for are in [`super::accepted`].

use std::net::{IpAddr, Ipv4Addr};

use super::keys::{Change, ConfigError, Importance, KeyInfo};
use super::listener::{Endpoints, Protocols};
use super::value::{
    CleanupPolicy, CompressionType, CountsByIp, Durability, HttpPort, ReplicationPolicy,
    TimestampType, Valid,
};

/// A key of high importance, read at start.
const HIGH: KeyInfo = KeyInfo { importance: Importance::High, ..KeyInfo::BROKER };
const INT_MAX: Option<&str> = Some("2147483647");

config_keys! {
    /// The settings of one broker, all of them with a value.
    pub struct BrokerConfig from KeyInfo::BROKER {
        /// The addresses that clients reach the listeners at, as `NAME://HOST:PORT` with commas
        /// between. Null advertises the address that the client came in on.
        "advertised.listeners" => advertised_listeners: Option<Endpoints> = None,
            { importance: HIGH.importance,
              valid: Valid::Form("NAME://HOST:PORT, with commas between; no two of one name") };
        /// Who makes workflows and answers in the pack `workflow`: `echo` says what it was asked, and
        /// needs no network.
        "ai.provider" => ai_provider: String = "echo".to_owned(), { valid: Valid::OneOf(&["echo"]) };
        /// Whether asking for an unknown topic makes it.
        "auto.create.topics.enable" => auto_create_topics_enable: bool = true,
            { importance: HIGH.importance };
        /// The old name of `node.id`; -1 is not set.
        "broker.id" => broker_id: i32 = -1,
            { valid: Valid::AtLeast(-1), importance: HIGH.importance };
        /// The rack or zone that clients are told.
        "broker.rack" => broker_rack: Option<String> = None;
        /// See the topic config.
        "compression.gzip.level" => compression_gzip_level: i32 = -1,
            { valid: Valid::BetweenOr(1, 9, -1), change: Change::Dynamic };
        /// See the topic config.
        "compression.lz4.level" => compression_lz4_level: i32 = 9,
            { valid: Valid::Between(1, 17), change: Change::Dynamic };
        /// See the topic config.
        "compression.type" => compression_type: CompressionType = CompressionType::Producer,
            { valid: Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
              importance: HIGH.importance, change: Change::Dynamic };
        /// See the topic config.
        "compression.zstd.level" => compression_zstd_level: i32 = 3,
            { valid: Valid::Between(-131_072, 22), change: Change::Dynamic };
        /// Close a connection on which nothing moved for so many ms and no request waits; -1
        /// never.
        "connections.max.idle.ms" => connections_max_idle_ms: i64 = 600_000,
            { valid: Valid::AtLeast(-1) };
        /// The replication factor of topics that are made on demand or with -1.
        "default.replication.factor" => default_replication_factor: i32 = 1,
            { valid: Valid::Between(1, 32_767) };
        /// Whether topics can be deleted.
        "delete.topic.enable" => delete_topic_enable: bool = true,
            { importance: HIGH.importance };
        /// The most bytes in one answer to a fetch; one batch is sent whatever its size.
        "fetch.max.bytes" => fetch_max_bytes: i32 = 57_671_680, { valid: Valid::AtLeast(1_024) };
        /// How many ms a new group waits for more members before its first assignment.
        "group.initial.rebalance.delay.ms" => group_initial_rebalance_delay_ms: i32 = 0,
            { valid: Valid::AtLeast(0), kafka_default: Some("3000") };
        /// The longest session timeout that a member may ask for, in ms.
        "group.max.session.timeout.ms" => group_max_session_timeout_ms: i32 = 1_800_000,
            { valid: Valid::AtLeast(1) };
        /// The most members of one group.
        "group.max.size" => group_max_size: i32 = 1_000,
            { valid: Valid::AtLeast(1), kafka_default: INT_MAX };
        /// The shortest session timeout that a member may ask for, in ms.
        "group.min.session.timeout.ms" => group_min_session_timeout_ms: i32 = 6_000,
            { valid: Valid::AtLeast(1) };
        /// The security protocol of each listener name, as `NAME:PROTOCOL` with commas between.
        "listener.security.protocol.map" => listener_security_protocol_map: Protocols =
            Protocols::default(),
            { importance: Importance::Low,
              valid: Valid::Form("NAME:PROTOCOL, with commas between; the protocols are \
                                  PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL") };
        /// The addresses to listen at, as `NAME://HOST:PORT` with commas between. An empty host
        /// is every interface, `localhost` both 127.0.0.1 and `::1`. Beyond loopback needs `--insecure-no-auth`.
        "listeners" => listeners: Endpoints = Endpoints::local(9092),
            { importance: HIGH.importance,
              kafka_default: Some("PLAINTEXT://:9092"),
              valid: Valid::Form("NAME://HOST:PORT, with commas between; no two of one name") };
        /// How many bytes of the newest log the page cache holds for consumers; 0 leaves it to
        /// the kernel. At most a sixteenth of the memory is taken.
        "log.cache.bytes" => log_cache_bytes: i64 = 536_870_912, { valid: Valid::AtLeast(0) };
        /// How often partitions that have to be compacted are looked for, in ms.
        "log.cleaner.backoff.ms" => log_cleaner_backoff_ms: i64 = 15_000,
            { valid: Valid::AtLeast(0), change: Change::Dynamic };
        /// Memory for the keys of the partition that is compacted, in bytes, at least a MiB; what
        /// does not fit takes a further run. ottla holds whole keys, 96 bytes and the key for each.
        "log.cleaner.dedupe.buffer.size" => log_cleaner_dedupe_buffer_size: i64 = 134_217_728,
            { change: Change::Dynamic };
        /// See `delete.retention.ms` of topics.
        "log.cleaner.delete.retention.ms" => log_cleaner_delete_retention_ms: i64 = 86_400_000,
            { valid: Valid::AtLeast(0), change: Change::Dynamic };
        /// Whether topics with `compact` in `cleanup.policy` are compacted.
        "log.cleaner.enable" => log_cleaner_enable: bool = true;
        /// What compaction may read and write, together and on average, in bytes a second.
        "log.cleaner.io.max.bytes.per.second" => log_cleaner_io_max_bytes_per_second: f64 =
            f64::MAX, { change: Change::Dynamic };
        /// See `max.compaction.lag.ms` of topics.
        "log.cleaner.max.compaction.lag.ms" => log_cleaner_max_compaction_lag_ms: i64 = i64::MAX,
            { valid: Valid::AtLeast(1), change: Change::Dynamic };
        /// See `min.cleanable.dirty.ratio` of topics.
        "log.cleaner.min.cleanable.ratio" => log_cleaner_min_cleanable_ratio: f64 = 0.5,
            { valid: Valid::Between(0, 1), change: Change::Dynamic };
        /// See `min.compaction.lag.ms` of topics.
        "log.cleaner.min.compaction.lag.ms" => log_cleaner_min_compaction_lag_ms: i64 = 0,
            { valid: Valid::AtLeast(0), change: Change::Dynamic };
        /// See `cleanup.policy` of topics.
        "log.cleanup.policy" => log_cleanup_policy: CleanupPolicy = CleanupPolicy::Delete,
            { valid: Valid::OneOf(&["compact", "delete"]), change: Change::Dynamic };
        /// The data folder, if neither `ottla.data.dir` nor `log.dirs` is set.
        "log.dir" => log_dir: Option<String> = None,
            { importance: HIGH.importance, kafka_default: Some("/tmp/kafka-logs") };
        /// The data folder, if `ottla.data.dir` is not set. One folder: there is one log on one
        /// machine.
        "log.dirs" => log_dirs: Option<String> = None, { importance: HIGH.importance };
        /// See `flush.messages` of topics.
        "log.flush.interval.messages" => log_flush_interval_messages: i64 = i64::MAX,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, change: Change::Dynamic };
        /// See `flush.ms` of topics. Null means `log.flush.scheduler.interval.ms`.
        "log.flush.interval.ms" => log_flush_interval_ms: Option<i64> = None,
            { valid: Valid::AtLeast(0), importance: HIGH.importance, change: Change::Dynamic };
        /// See `flush.ms` of topics.
        "log.flush.scheduler.interval.ms" => log_flush_scheduler_interval_ms: i64 = i64::MAX,
            { valid: Valid::AtLeast(0), importance: HIGH.importance };
        /// See `index.interval.bytes` of topics.
        "log.index.interval.bytes" => log_index_interval_bytes: i32 = 4_096,
            { valid: Valid::AtLeast(0), change: Change::Dynamic };
        /// See `segment.index.bytes` of topics.
        "log.index.size.max.bytes" => log_index_size_max_bytes: i32 = 10_485_760,
            { valid: Valid::AtLeast(4), change: Change::Dynamic };
        /// See `local.retention.bytes` of topics.
        "log.local.retention.bytes" => log_local_retention_bytes: i64 = -2,
            { valid: Valid::AtLeast(-2), change: Change::Dynamic };
        /// See `local.retention.ms` of topics.
        "log.local.retention.ms" => log_local_retention_ms: i64 = -2,
            { valid: Valid::AtLeast(-2), change: Change::Dynamic };
        /// See `message.timestamp.after.max.ms` of topics.
        "log.message.timestamp.after.max.ms" => log_message_timestamp_after_max_ms: i64 =
            3_600_000, { valid: Valid::AtLeast(0), change: Change::Dynamic };
        /// See `message.timestamp.before.max.ms` of topics.
        "log.message.timestamp.before.max.ms" => log_message_timestamp_before_max_ms: i64 =
            i64::MAX, { valid: Valid::AtLeast(0), change: Change::Dynamic };
        /// See `message.timestamp.type` of topics.
        "log.message.timestamp.type" => log_message_timestamp_type: TimestampType =
            TimestampType::CreateTime,
            { valid: Valid::OneOf(&["CreateTime", "LogAppendTime"]), change: Change::Dynamic };
        /// See `preallocate` of topics.
        "log.preallocate" => log_preallocate: bool = false, { change: Change::Dynamic };
        /// See `retention.bytes` of topics.
        "log.retention.bytes" => log_retention_bytes: i64 = -1,
            { importance: HIGH.importance, change: Change::Dynamic };
        /// How often old segments are looked for, in ms.
        "log.retention.check.interval.ms" => log_retention_check_interval_ms: i64 = 300_000,
            { valid: Valid::AtLeast(1) };
        /// See `retention.ms` of topics; in hours.
        "log.retention.hours" => log_retention_hours: i32 = 168, { importance: HIGH.importance };
        /// See `retention.ms` of topics; in minutes. Null means `log.retention.hours`.
        "log.retention.minutes" => log_retention_minutes: Option<i32> = None,
            { importance: HIGH.importance };
        /// See `retention.ms` of topics. Null means `log.retention.minutes`.
        "log.retention.ms" => log_retention_ms: Option<i64> = None,
            { valid: Valid::AtLeast(-1), importance: HIGH.importance, change: Change::Dynamic };
        /// See `segment.ms` of topics; in hours.
        "log.roll.hours" => log_roll_hours: i32 = 168,
            { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// See `segment.jitter.ms` of topics; in hours.
        "log.roll.jitter.hours" => log_roll_jitter_hours: i32 = 0,
            { valid: Valid::AtLeast(0), importance: HIGH.importance };
        /// See `segment.jitter.ms` of topics. Null means `log.roll.jitter.hours`.
        "log.roll.jitter.ms" => log_roll_jitter_ms: Option<i64> = None,
            { valid: Valid::AtLeast(0), importance: HIGH.importance, change: Change::Dynamic };
        /// See `segment.ms` of topics. Null means `log.roll.hours`.
        "log.roll.ms" => log_roll_ms: Option<i64> = None,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, change: Change::Dynamic };
        /// See `segment.bytes` of topics.
        "log.segment.bytes" => log_segment_bytes: i32 = 1_073_741_824,
            { valid: Valid::AtLeast(1_048_576), importance: HIGH.importance,
              change: Change::Dynamic };
        /// See `file.delete.delay.ms` of topics.
        "log.segment.delete.delay.ms" => log_segment_delete_delay_ms: i64 = 60_000,
            { valid: Valid::AtLeast(0), importance: HIGH.importance, change: Change::Dynamic };
        /// The most new connections taken in a second; those from loopback do not count.
        "max.connection.creation.rate" => max_connection_creation_rate: i32 = 500,
            { valid: Valid::AtLeast(0), change: Change::Dynamic, kafka_default: INT_MAX };
        /// The most open connections. A lower number than there are ends none of them.
        "max.connections" => max_connections: i32 = 10_000,
            { valid: Valid::AtLeast(0), change: Change::Dynamic, kafka_default: INT_MAX };
        /// The most open connections from one address; loopback does not count.
        "max.connections.per.ip" => max_connections_per_ip: i32 = 1_000,
            { valid: Valid::AtLeast(0), change: Change::Dynamic, kafka_default: INT_MAX };
        /// The most open connections from single addresses, where `max.connections.per.ip` is not to
        /// count, as `ADDRESS:COUNT` with commas between; here an address of loopback counts too.
        "max.connections.per.ip.overrides" => max_connections_per_ip_overrides: CountsByIp =
            CountsByIp::default(),
            { valid: Valid::Form("ADDRESS:COUNT, with commas between; addresses, no host names"),
              change: Change::Dynamic };
        /// The most fetch sessions that are remembered. Stored and shown: ottla declines sessions
        /// with session id 0.
        "max.incremental.fetch.session.cache.slots" =>
            max_incremental_fetch_session_cache_slots: i32 = 1_000, { valid: Valid::AtLeast(0) };
        /// The most partitions in one answer to DescribeTopicPartitions.
        "max.request.partition.size.limit" => max_request_partition_size_limit: i32 = 2_000,
            { valid: Valid::AtLeast(1) };
        /// See `max.message.bytes` of topics.
        "message.max.bytes" => message_max_bytes: i32 = 1_048_588,
            { valid: Valid::AtLeast(0), importance: HIGH.importance, change: Change::Dynamic };
        /// Write a snapshot of topics and settings once their journal has grown by so many bytes, and
        /// let go of what is in it.
        "metadata.log.max.record.bytes.between.snapshots" =>
            metadata_log_max_record_bytes_between_snapshots: i64 = 20_971_520,
            { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// Refuse records while the file system has fewer free bytes, so that deletes, commits
        /// and the console go on working. Null: 1 GiB, or 5 % of the file system if that is less.
        "min.free.bytes" => min_free_bytes: Option<i64> = None, { valid: Valid::AtLeast(0) };
        /// See the topic config.
        "min.insync.replicas" => min_insync_replicas: i32 = 1,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, change: Change::Dynamic };
        /// This broker's id, as clients see it.
        "node.id" => node_id: i32 = 1,
            { valid: Valid::AtLeast(0), importance: HIGH.importance,
              kafka_default: Some("(required)") };
        /// Whom the pack `notify` tells of `system.alerts`: an address, or a user's id.
        "notify.alerts.to" => notify_alerts_to: String = "operator".to_owned();
        /// How the pack `notify` sends what it sends: as lines of the log, or as files of a maildir.
        "notify.channel" => notify_channel: String = "console".to_owned(),
            { valid: Valid::OneOf(&["console", "maildir"]) };
        /// Whom the mails of the pack `notify` come from.
        "notify.from" => notify_from: String = "ottla@localhost".to_owned();
        /// The folder of the maildir, which is made where it is not there.
        "notify.maildir" => notify_maildir: Option<String> = None;
        /// The partitions of topics that are made on demand or with -1.
        "num.partitions" => num_partitions: i32 = 3,
            { valid: Valid::AtLeast(1), kafka_default: Some("1") };
        /// The longest text that may be committed with an offset, in bytes.
        "offset.metadata.max.bytes" => offset_metadata_max_bytes: i32 = 4_096,
            { valid: Valid::AtLeast(0), importance: HIGH.importance };
        /// How often expired offsets are looked for, in ms.
        "offsets.retention.check.interval.ms" => offsets_retention_check_interval_ms: i64 =
            600_000, { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// How many minutes the offsets of an empty group are kept.
        "offsets.retention.minutes" => offsets_retention_minutes: i32 = 10_080,
            { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// The partitions of `__consumer_offsets`. Stored and shown: it has one, so that one sync
        /// serves all groups.
        "offsets.topic.num.partitions" => offsets_topic_num_partitions: i32 = 1,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, kafka_default: Some("50") };
        /// The replication factor of `__consumer_offsets`; counts as the number of nodes at most.
        "offsets.topic.replication.factor" => offsets_topic_replication_factor: i16 = 1,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, kafka_default: Some("3") };
        /// The segment size of `__consumer_offsets`, in bytes.
        "offsets.topic.segment.bytes" => offsets_topic_segment_bytes: i32 = 104_857_600,
            { valid: Valid::AtLeast(1_048_576), importance: HIGH.importance };
        /// What the fake provider of the pack `orders` charges at most; it declines what is over it.
        "orders.payment.limit" => orders_payment_limit: f64 = 10_000.0;
        /// What the pack `orders` has of each product at first, as `PRODUCT=COUNT` with commas
        /// between; of a product that is not named there is no end.
        "orders.stock" => orders_stock: Option<String> = None;
        /// Where the data is. Null: `log.dirs`, else `log.dir`, else `./ottla-data`.
        "ottla.data.dir" => ottla_data_dir: Option<String> = None, { importance: HIGH.importance };
        /// When a write is safe from a power cut: `fsync` before it is visible and before
        /// acks=1 and all are answered, `interval:<ms>` so many ms later, `os` when the kernel pleases,
        /// `ephemeral` never, with all files in memory.
        "ottla.durability" => ottla_durability: Durability = Durability::Fsync,
            { importance: HIGH.importance,
              valid: Valid::Form("fsync, interval:<ms>, os or ephemeral") };
        /// The address of health, metrics and the console; `0.0.0.0` and `::` are every interface.
        /// Beyond loopback needs `--insecure-no-auth`.
        "ottla.http.host" => ottla_http_host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST),
            { importance: HIGH.importance, valid: Valid::Form("an IP address") };
        /// The port of health, metrics and the console; 0 takes any free one, `off` has none.
        "ottla.http.port" => ottla_http_port: HttpPort = HttpPort::On(8080),
            { importance: HIGH.importance, valid: Valid::Form("a port number or off") };
        /// The most consumer groups.
        "ottla.max.groups" => ottla_max_groups: i32 = 10_000, { valid: Valid::AtLeast(1) };
        /// The most partitions of all topics together.
        "ottla.max.partitions" => ottla_max_partitions: i32 = 20_000,
            { valid: Valid::AtLeast(1) };
        /// The most producers whose sequences are remembered, over all partitions together: one that
        /// writes to two counts twice. Beyond it a partition forgets its oldest ones.
        "ottla.max.producers" => ottla_max_producers: i32 = 100_000,
            { valid: Valid::AtLeast(1) };
        /// The most transactional ids. Beyond it the one is forgotten that has been idle longest.
        "ottla.max.transactional.ids" => ottla_max_transactional_ids: i32 = 100_000,
            { valid: Valid::AtLeast(1) };
        /// Services that come with ottla and run beside the broker, by name with commas between.
        "ottla.packs" => ottla_packs: Vec<String> = Vec::new(),
            { importance: HIGH.importance, valid: Valid::Form("names of packs, with commas between") };
        /// What to do with a replication factor above the number of nodes: `clamp` makes as many
        /// replicas as there are nodes, `strict` refuses it as Kafka does.
        "ottla.replication.factor.policy" => ottla_replication_factor_policy: ReplicationPolicy =
            ReplicationPolicy::Clamp, { valid: Valid::OneOf(&["clamp", "strict"]) };
        /// The port of the API of services, at the address `ottla.http.host`; 0 takes any free one, `off`
        /// has none. Nothing listens there without services.
        "ottla.services.port" => ottla_services_port: HttpPort = HttpPort::On(9000),
            { importance: HIGH.importance, valid: Valid::Form("a port number or off") };
        /// How many ms after its last write a producer's sequence is forgotten.
        "producer.id.expiration.ms" => producer_id_expiration_ms: i32 = 86_400_000,
            { valid: Valid::AtLeast(1), importance: Importance::Low, change: Change::Dynamic };
        /// The most bytes of requests in memory, besides 16 KiB a connection; more wait in their
        /// sockets. -1: a quarter of the machine's memory.
        "queued.max.request.bytes" => queued_max_request_bytes: i64 = -1,
            { valid: Valid::AtLeast(-1) };
        /// How many connections may wait to be taken.
        "socket.listen.backlog.size" => socket_listen_backlog_size: i32 = 1_024,
            { valid: Valid::AtLeast(1), kafka_default: Some("50") };
        /// The largest request, in bytes.
        "socket.request.max.bytes" => socket_request_max_bytes: i32 = 104_857_600,
            { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// How often transactions that are open for too long are looked for, in ms. Stored and shown:
        /// ottla ends each one on time.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms" =>
            transaction_abort_interval_ms: i32 = 10_000,
            { valid: Valid::AtLeast(1), importance: Importance::Low };
        /// The longest that a producer may ask to keep a transaction open, in ms.
        "transaction.max.timeout.ms" => transaction_max_timeout_ms: i32 = 900_000,
            { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// Whether the coordinator is asked if a partition is part of a transaction before a batch begins
        /// it there (KIP-890).
        "transaction.partition.verification.enable" =>
            transaction_partition_verification_enable: bool = true,
            { importance: Importance::Low, change: Change::Dynamic };
        /// How often transactional ids that nobody uses any more are looked for, in ms.
        "transaction.remove.expired.transaction.cleanup.interval.ms" =>
            transaction_expiration_interval_ms: i32 = 3_600_000,
            { valid: Valid::AtLeast(1), importance: Importance::Low };
        /// The partitions of `__transaction_state`. Stored and shown: it has one, so that one sync
        /// serves all transactions.
        "transaction.state.log.num.partitions" => transaction_state_num_partitions: i32 = 1,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, kafka_default: Some("50") };
        /// The replication factor of `__transaction_state`; counts as the number of nodes at most.
        "transaction.state.log.replication.factor" => transaction_state_replication_factor: i16 = 1,
            { valid: Valid::AtLeast(1), importance: HIGH.importance, kafka_default: Some("3") };
        /// The segment size of `__transaction_state`, in bytes.
        "transaction.state.log.segment.bytes" => transaction_state_segment_bytes: i32 = 104_857_600,
            { valid: Valid::AtLeast(1_048_576), importance: HIGH.importance };
        /// How many ms after its last change a transactional id is forgotten.
        "transactional.id.expiration.ms" => transactional_id_expiration_ms: i32 = 604_800_000,
            { valid: Valid::AtLeast(1), importance: HIGH.importance };
        /// See the topic config.
        "unclean.leader.election.enable" => unclean_leader_election_enable: bool = false,
            { importance: HIGH.importance, change: Change::Dynamic };
    }
}

impl BrokerConfig {
    /// Where the data is.
    pub fn data_dir(&self) -> &str {
        [&self.ottla_data_dir, &self.log_dirs, &self.log_dir]
            .into_iter()
            .find_map(Option::as_deref)
            .unwrap_or("./ottla-data")
    }

    /// Whether the settings agree with each other, and give topics usable defaults.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] and [`ConfigError::Invalid`].
    pub fn check(&self) -> Result<(), ConfigError> {
        let conflict = |text: String| Err(ConfigError::Conflict(text));
        let (min, max) = (self.group_min_session_timeout_ms, self.group_max_session_timeout_ms);
        if max < min {
            return conflict(format!(
                "group.min.session.timeout.ms {min} is above group.max.session.timeout.ms {max}"
            ));
        }
        if self.data_dir().contains(',') {
            return conflict(format!("{:?} is more than one data folder", self.data_dir()));
        }
        let topic = super::topic::TopicConfig::inherited(self)?;
        if topic.retention_ms == 0 {
            return conflict("log.retention of 0 keeps nothing: give -1 or 1 and more".to_owned());
        }
        topic.check()
    }
}
