//! The types of config values: how each is read from text and printed as Kafka prints it.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

/// Kafka's types of config values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// 64-bit floating point number.
    Double,
    /// Texts with commas between.
    List,
    /// Text that is never shown.
    Password,
}

impl fmt::Display for ConfigType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Password => "PASSWORD",
        })
    }
}

/// Which values of its type a key takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Valid {
    /// All of them.
    Any,
    /// This number or more.
    AtLeast(i64),
    /// From the first to the second, both taken.
    Between(i64, i64),
    /// From the first to the second, or the third.
    BetweenOr(i64, i64, i64),
    /// One of these words; of a list, each item.
    OneOf(&'static [&'static str]),
    /// One of these words, or a text that begins as the pattern does up to its colon.
    Pattern(&'static [&'static str], &'static str),
    /// Only `false`: the feature behind it does not exist here.
    OnlyFalse,
    /// `*`, or pairs of partition and broker.
    ThrottledReplicas,
    /// What the type itself accepts, in words.
    Form(&'static str),
}

impl Valid {
    /// What is valid, for an error text or a table: "a LONG in [-1,...]".
    pub fn describe(&self, kind: ConfigType) -> String {
        match self {
            Self::Form(words) => (*words).to_owned(),
            Self::OneOf(words) if kind == ConfigType::List => {
                format!("a list of distinct words out of [{}]", words.join(", "))
            }
            Self::OneOf(words) => format!("one of [{}]", words.join(", ")),
            Self::Pattern(..) => format!("one of {self}"),
            Self::OnlyFalse => "false (ottla has no tiered storage)".to_owned(),
            _ => {
                let article = if kind == ConfigType::Int { "an" } else { "a" };
                let range = self.to_string();
                let space = if range.is_empty() { "" } else { " in " };
                format!("{article} {kind}{space}{range}")
            }
        }
    }

    fn has_number(&self, number: i64) -> bool {
        match *self {
            Self::AtLeast(low) => low <= number,
            Self::Between(low, high) => low <= number && number <= high,
            Self::BetweenOr(low, high, or) => (low <= number && number <= high) || number == or,
            _ => true,
        }
    }

    fn has_item(&self, item: &str) -> bool {
        match self {
            Self::OneOf(words) => words.contains(&item),
            Self::Pattern(words, pattern) => {
                let begin = pattern.split_inclusive(':').next().unwrap_or(pattern);
                words.contains(&item) || item.strip_prefix(begin).is_some_and(|it| !it.is_empty())
            }
            Self::ThrottledReplicas => item == "*" || is_pair(item),
            _ => true,
        }
    }
}

/// `partition:broker`, both integers.
fn is_pair(item: &str) -> bool {
    item.split_once(':').is_some_and(|(partition, broker)| {
        partition.trim().parse::<i32>().is_ok() && broker.trim().parse::<i32>().is_ok()
    })
}

impl fmt::Display for Valid {
    /// As Kafka writes ranges; empty where everything is valid.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(low) => write!(f, "[{low},...]"),
            Self::Between(low, high) => write!(f, "[{low},...,{high}]"),
            Self::BetweenOr(low, high, or) => write!(f, "[{low},...,{high}] or {or}"),
            Self::OneOf(words) => write!(f, "[{}]", words.join(", ")),
            Self::Pattern(words, pattern) => write!(f, "[{}, {pattern}]", words.join(", ")),
            Self::OnlyFalse => f.write_str("false"),
            Self::ThrottledReplicas => {
                f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],...")
            }
            Self::Form(words) => f.write_str(words),
        }
    }
}

/// A type that a config value can have.
pub trait ConfigValue: Sized {
    /// Its name among Kafka's types.
    const KIND: ConfigType;

    /// Reads trimmed text; `None` if it is not of this type.
    fn parse(text: &str) -> Option<Self>;

    /// The text that Kafka shows for it; `None` is null.
    fn print(&self) -> Option<String>;

    /// Whether a key that is limited to `valid` takes it.
    fn satisfies(&self, valid: &Valid) -> bool;
}

/// Reads trimmed text for a key that is limited to `valid`.
pub fn read<Value: ConfigValue>(text: &str, valid: &Valid) -> Option<Value> {
    Value::parse(text).filter(|value| value.satisfies(valid))
}

impl ConfigValue for i16 {
    const KIND: ConfigType = ConfigType::Short;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        valid.has_number(i64::from(*self))
    }
}

impl ConfigValue for i32 {
    const KIND: ConfigType = ConfigType::Int;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        valid.has_number(i64::from(*self))
    }
}

impl ConfigValue for i64 {
    const KIND: ConfigType = ConfigType::Long;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        valid.has_number(*self)
    }
}

impl ConfigValue for f64 {
    const KIND: ConfigType = ConfigType::Double;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &Self| number.is_finite())
    }

    fn print(&self) -> Option<String> {
        Some(format!("{self:?}").replace('e', "E")) // "1.0" and "1.0E10", as Java writes it.
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        match valid {
            // Every range of a DOUBLE in Kafka is 0 to 1.
            Valid::Between(0, 1) => (0.0..=1.0).contains(self),
            _ => true,
        }
    }
}

impl ConfigValue for bool {
    const KIND: ConfigType = ConfigType::Boolean;

    fn parse(text: &str) -> Option<Self> {
        match () {
            () if text.eq_ignore_ascii_case("true") => Some(true),
            () if text.eq_ignore_ascii_case("false") => Some(false),
            () => None,
        }
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        !(*self && *valid == Valid::OnlyFalse)
    }
}

impl ConfigValue for String {
    const KIND: ConfigType = ConfigType::String;

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }

    fn print(&self) -> Option<String> {
        Some(self.clone())
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        valid.has_item(self)
    }
}

impl ConfigValue for Vec<String> {
    const KIND: ConfigType = ConfigType::List;

    fn parse(text: &str) -> Option<Self> {
        Some(items(text).map(str::to_owned).collect())
    }

    fn print(&self) -> Option<String> {
        Some(self.join(","))
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        self.iter().all(|item| valid.has_item(item))
    }
}

/// The items of a LIST value: between commas, trimmed; none in an empty text.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    let some = !text.trim().is_empty();
    text.split(',').map(str::trim).filter(move |_| some)
}

/// The items without those that stood before.
pub fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = HashSet::new();
    items.filter(|item| seen.insert(*item)).collect()
}

/// A value that may be null; an empty text is null.
impl<Value: ConfigValue> ConfigValue for Option<Value> {
    const KIND: ConfigType = Value::KIND;

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { Value::parse(text).map(Some) }
    }

    fn print(&self) -> Option<String> {
        self.as_ref().and_then(ConfigValue::print)
    }

    fn satisfies(&self, valid: &Valid) -> bool {
        self.as_ref().is_none_or(|value| value.satisfies(valid))
    }
}

/// A number for each of some addresses, as `ADDRESS:COUNT` with commas between; the last colon parts
/// the two, so that IPv6 addresses need no brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountsByIp(Vec<(IpAddr, u32)>);

impl CountsByIp {
    /// The number for an address; of several the last.
    pub fn of(&self, ip: IpAddr) -> Option<u32> {
        self.0.iter().rev().find(|(known, _)| *known == ip).map(|(_, count)| *count)
    }
}

impl ConfigValue for CountsByIp {
    const KIND: ConfigType = ConfigType::String;

    fn parse(text: &str) -> Option<Self> {
        let pair = |item: &str| {
            let (ip, count) = item.rsplit_once(':')?;
            Some((ip.trim().parse::<IpAddr>().ok()?.to_canonical(), count.trim().parse().ok()?))
        };
        items(text).map(pair).collect::<Option<_>>().map(Self)
    }

    fn print(&self) -> Option<String> {
        let pairs = self.0.iter().map(|(ip, count)| format!("{ip}:{count}"));
        Some(pairs.collect::<Vec<_>>().join(","))
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}

/// A type with a fixed set of words.
trait Words: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
    const KIND: ConfigType = ConfigType::String;
}

impl<Value: Words> ConfigValue for Value {
    const KIND: ConfigType = <Self as Words>::KIND;

    fn parse(text: &str) -> Option<Self> {
        let text = match <Self as Words>::KIND {
            ConfigType::List => &distinct(items(text)).join(","),
            _ => text,
        };
        Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
    }

    fn print(&self) -> Option<String> {
        Self::WORDS.iter().find(|(_, value)| value == self).map(|(word, _)| (*word).to_owned())
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}

/// How old records leave a topic. Keeps the order in which the words were given, since Kafka
/// shows it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanupPolicy {
    /// Never.
    Keep,
    /// By age and size.
    Delete,
    /// When a newer record has the same key.
    Compact,
    /// Both ways.
    DeleteCompact,
    /// Both ways, given in the other order.
    CompactDelete,
}

impl CleanupPolicy {
    /// Whether segments go by age and size.
    pub fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::DeleteCompact | Self::CompactDelete)
    }

    /// Whether only the newest record of a key is kept.
    pub fn compacts(self) -> bool {
        matches!(self, Self::Compact | Self::DeleteCompact | Self::CompactDelete)
    }
}

impl Words for CleanupPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("", Self::Keep),
        ("delete", Self::Delete),
        ("compact", Self::Compact),
        ("delete,compact", Self::DeleteCompact),
        ("compact,delete", Self::CompactDelete),
    ];
    const KIND: ConfigType = ConfigType::List;
}

/// How the broker stores the batches of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Words for CompressionType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("producer", Self::Producer),
        ("uncompressed", Self::Uncompressed),
        ("gzip", Self::Gzip),
        ("snappy", Self::Snappy),
        ("lz4", Self::Lz4),
        ("zstd", Self::Zstd),
    ];
}

/// Whose clock stamps the records of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

impl Words for TimestampType {
    const WORDS: &'static [(&'static str, Self)] =
        &[("CreateTime", Self::CreateTime), ("LogAppendTime", Self::LogAppendTime)];
}

/// What to do with a replication factor above the number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicationPolicy {
    /// Take as many replicas as there are nodes.
    Clamp,
    /// Refuse, as Kafka does.
    Strict,
}

impl Words for ReplicationPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("clamp", Self::Clamp), ("strict", Self::Strict)];
}

/// When an append is safe from a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before consumers see it, and before acks=all is answered.
    Fsync,
    /// Within so many ms of its acknowledgement.
    IntervalMs(u32),
    /// When the kernel pleases: Kafka's own promise.
    Os,
    /// Never: files are in memory.
    Ephemeral,
}

impl ConfigValue for Durability {
    const KIND: ConfigType = ConfigType::String;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "fsync" => Some(Self::Fsync),
            "os" => Some(Self::Os),
            "ephemeral" => Some(Self::Ephemeral),
            _ => {
                let ms = text.strip_prefix("interval:")?.trim().parse().ok()?;
                (ms > 0).then_some(Self::IntervalMs(ms))
            }
        }
    }

    fn print(&self) -> Option<String> {
        Some(match self {
            Self::Fsync => "fsync".to_owned(),
            Self::IntervalMs(ms) => format!("interval:{ms}"),
            Self::Os => "os".to_owned(),
            Self::Ephemeral => "ephemeral".to_owned(),
        })
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print().unwrap_or_default())
    }
}

impl ConfigValue for IpAddr {
    const KIND: ConfigType = ConfigType::String;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn print(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}

/// The port of the HTTP face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpPort {
    /// No HTTP at all.
    Off,
    /// This port; 0 takes any free one.
    On(u16),
}

impl ConfigValue for HttpPort {
    const KIND: ConfigType = ConfigType::String;

    fn parse(text: &str) -> Option<Self> {
        if text == "off" { Some(Self::Off) } else { text.parse().ok().map(Self::On) }
    }

    fn print(&self) -> Option<String> {
        Some(match self {
            Self::Off => "off".to_owned(),
            Self::On(port) => port.to_string(),
        })
    }

    fn satisfies(&self, _: &Valid) -> bool {
        true
    }
}
