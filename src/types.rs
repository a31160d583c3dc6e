//! The small types that every room shares: ids, offsets, epochs and times, so that two bare integers
//! never stand side by side in a signature.

use std::fmt;

/// Makes a newtype over an integer that prints as the bare number.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A record's place in its partition, counted from 0; also the ends that are one past a record.
    Offset(i64)
}
number! {
    /// Counts the leaderships of a partition; stamped into each batch by the leader that stored it.
    LeaderEpoch(i32)
}
number! {
    /// Names one idempotent or transactional writer; never reused.
    ProducerId(i64)
}
number! {
    /// Fencing number of a producer id: the higher one wins.
    ProducerEpoch(i16)
}
number! {
    /// Wall clock, ms since 1970-01-01 UTC. Jumps when an administrator sets the clock.
    #[derive(serde::Serialize, serde::Deserialize)]
    Timestamp(i64)
}
number! {
    /// Monotonic clock, ms since this process started. What timers are made of.
    Monotonic(u64)
}
number! {
    /// A broker node, as clients see it in Metadata.
    NodeId(i32)
}
number! {
    /// A partition's number within its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// Counts the completed rebalances of a classic group; -1 where there is none.
    Generation(i32)
}

impl Offset {
    /// The offset `count` records further on.
    pub fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl Timestamp {
    /// This time plus `ms`, at most the end of time.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl Monotonic {
    /// This moment plus `ms`, at most the end of time.
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// By which rules a transaction goes: Kafka's feature `transaction.version`, as the version of a
/// client's request tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransactionVersion {
    /// The client adds partitions itself, and its epoch stays the same when a transaction ends, which
    /// is what the markers carry (KIP-98): Produce below 12, EndTxn below 5. Level 1 of the feature,
    /// which is about the coordinator's records alone, is this too.
    #[default]
    V0,
    /// The broker adds partitions, and every end raises the epoch: the markers carry the new one
    /// (KIP-890).
    V2,
}

impl TransactionVersion {
    /// The feature's level, as records and requests have it.
    pub fn level(self) -> i16 {
        match self {
            Self::V0 => 0,
            Self::V2 => 2,
        }
    }

    /// The rules at a level of the feature.
    pub fn from_level(level: i16) -> Self {
        if level >= 2 { Self::V2 } else { Self::V0 }
    }
}

/// Both clocks read together: what a machine is told about time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For what is stored and shown.
    pub wall: Timestamp,
    /// For timeouts.
    pub monotonic: Monotonic,
}

/// A topic's identity: new each time a topic of that name is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub uuid::Uuid);

impl TopicId {
    /// The id that means "none" on the wire.
    pub const ZERO: Self = Self(uuid::Uuid::nil());

    /// The id that was printed so; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(uuid::Uuid::from_bytes(bytes.try_into().ok()?)))
    }
}

impl fmt::Display for TopicId {
    /// As Kafka's tools print it: base64url without padding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine;
        f.write_str(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0.as_bytes()))
    }
}

/// One partition of one topic, by the topic's id: what state is keyed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: PartitionIndex,
}
