//! Keys of Apache Kafka that ottla knows and does not act on: most are taken with a warning, so that
//! a configuration written for Kafka starts; the few that would leave something unguarded are
//! refused.

use super::keys::ConfigError;

/// Taken, and without effect. A name that ends in `.` stands for all keys that begin so.
pub const ACCEPTED: &[&str] = &[
    "add.partitions.to.txn.retry.backoff.max.ms",
    "add.partitions.to.txn.retry.backoff.ms",
    "alter.log.dirs.",
    "auto.leader.rebalance.enable",
    "background.threads",
    "broker.heartbeat.interval.ms",
    "broker.id.generation.enable",
    "broker.session.timeout.ms",
    "client.quota.callback.class",
    "config.providers",
    "confluent.",
    "connection.failed.authentication.delay.ms",
    "connections.max.reauth.ms",
    "control.plane.listener.name",
    "controlled.shutdown.",
    "controller.",
    "cordoned.log.dirs",
    "delegation.token.",
    "delete.records.purgatory.purge.interval.requests",
    "early.start.listeners",
    "eligible.leader.replicas.enable",
    "fetch.purgatory.purge.interval.requests",
    "follower.fetch.last.tiered.offset.enable",
    "follower.replication.throttled.rate",
    "group.consumer.",
    "group.coordinator.",
    "group.share.",
    "group.streams.",
    "initial.broker.registration.timeout.ms",
    "inter.broker.listener.name",
    "inter.broker.protocol.version",
    "kafka.metrics.",
    "leader.imbalance.",
    "leader.replication.throttled.rate",
    "listener.name.",
    "log.cleaner.io.buffer.",
    "log.cleaner.threads",
    "log.dir.failure.timeout.ms",
    "log.flush.offset.checkpoint.interval.ms",
    "log.flush.start.offset.checkpoint.interval.ms",
    "log.message.downconversion.enable",
    "log.message.format.version",
    "log.message.timestamp.difference.max.ms",
    "metadata.",
    "metric.reporters",
    "metrics.",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.alter.log.dirs.threads",
    "num.replica.fetchers",
    "offsets.commit.",
    "offsets.load.buffer.size",
    "offsets.topic.compression.codec",
    "password.encoder.",
    "principal.builder.class",
    "process.roles",
    "producer.id.expiration.check.interval.ms",
    "producer.purgatory.purge.interval.requests",
    "queued.max.requests",
    "quota.",
    "remote.",
    "replica.",
    "replication.quota.",
    "request.timeout.ms",
    "reserved.broker.max.id",
    "sasl.",
    "security.inter.broker.protocol",
    "security.providers",
    "server.max.startup.time.ms",
    "share.",
    "socket.connection.setup.",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "ssl.",
    "telemetry.",
    "transaction.",
    "unstable.",
    "zookeeper.",
];

/// Refused unless empty: who sets one of these relies on a check that ottla would not make.
pub const REFUSED: &[&str] = &[
    "alter.config.policy.class.name",
    "authorizer.class.name",
    "create.topic.policy.class.name",
    "super.users",
];

/// What to do with a key that no table has.
///
/// # Errors
/// [`ConfigError::Conflict`] if ottla would leave something unguarded, [`ConfigError::Unknown`] if
/// Kafka does not know the key either; `known` are the names it may be a misspelling of.
pub fn accept(
    name: &str,
    value: &str,
    known: impl Iterator<Item = &'static str>,
) -> Result<(), ConfigError> {
    if REFUSED.contains(&name) {
        if value.trim().is_empty() {
            return Ok(());
        }
        return Err(ConfigError::Conflict(format!(
            "{name} = {value:?} asks for a check that this version of ottla does not make"
        )));
    }
    let is_like = |entry: &str| {
        if entry.ends_with('.') { name.starts_with(entry) } else { entry == name }
    };
    if ACCEPTED.iter().copied().any(is_like) {
        return Ok(());
    }
    Err(ConfigError::unknown(name, known))
}
