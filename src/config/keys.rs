//! What a config key is, and the macro that makes a typed struct and its table from one list.

use std::fmt;

use super::value::{ConfigType, Valid};

/// Makes a struct of typed settings and its table of keys. One entry is:
///
/// ```text
/// /// What it does.
/// "kafka.name" => field: Type = default, { valid: .., synonyms: .. };
/// ```
///
/// where the braces hold fields of [`KeyInfo`] that differ from the base named in the head.
macro_rules! config_keys {
    (
        $(#[$meta:meta])*
        pub struct $table:ident from $base:path {
            $(
                $(#[doc = $doc:literal])+
                $name:literal => $field:ident: $type:ty = $default:expr
                    $(, { $($attribute:ident: $value:expr),+ $(,)? })?;
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $table {
            $( $(#[doc = $doc])+ pub $field: $type, )+
        }

        impl Default for $table {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::config::ConfigTable for $table {
            const KEYS: &'static [$crate::config::ConfigKey<Self>] = &[$(
                $crate::config::ConfigKey {
                    info: $crate::config::KeyInfo {
                        name: $name,
                        kind: <$type as $crate::config::value::ConfigValue>::KIND,
                        doc: concat!($($doc),+),
                        $( $($attribute: $value,)+ )?
                        ..$base
                    },
                    get: |table| $crate::config::value::ConfigValue::print(&table.$field),
                    set: |table, text, valid| {
                        table.$field = $crate::config::value::read(text, valid)?;
                        Some(())
                    },
                },
            )+];
        }
    };
}

/// What is known of one key, whatever its table.
#[derive(Clone, Copy, Debug)]
pub struct KeyInfo {
    /// Kafka's name, or ours under `ottla.`.
    pub name: &'static str,
    /// How its values are written.
    pub kind: ConfigType,
    /// Which values are taken.
    pub valid: Valid,
    /// How much an operator should care, in Kafka's own rating.
    pub importance: Importance,
    /// Whether a running broker takes a new value.
    pub change: Change,
    /// The broker keys that give a topic key its default, the strongest first.
    pub synonyms: &'static [Synonym],
    /// Apache Kafka's default, where ours differs.
    pub kafka_default: Option<&'static str>,
    /// What it does; sentences as in the source, so with a blank before each line.
    pub doc: &'static str,
}

impl KeyInfo {
    /// A topic or group key: all of Kafka's are of medium importance and change at run time.
    pub const TOPIC: Self = Self {
        name: "",
        kind: ConfigType::String,
        valid: Valid::Any,
        importance: Importance::Medium,
        change: Change::Dynamic,
        synonyms: &[],
        kafka_default: None,
        doc: "",
    };

    /// A broker key that is read at start only.
    pub const BROKER: Self = Self { change: Change::ReadOnly, ..Self::TOPIC };
}

/// Kafka's rating of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    /// Look at it before the first start.
    High,
    /// Worth knowing.
    Medium,
    /// Rarely touched.
    Low,
}

/// Whether a key takes a new value while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// By AlterConfigs, at once.
    Dynamic,
    /// Only at the next start.
    ReadOnly,
}

/// A broker key that stands for a topic key, and how its unit converts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// What to multiply its value by: 1, or the ms in its unit.
    pub scale: i64,
}

impl Synonym {
    /// The same unit.
    pub const fn of(name: &'static str) -> Self {
        Self { name, scale: 1 }
    }

    /// A key in minutes for one in ms.
    pub const fn minutes(name: &'static str) -> Self {
        Self { name, scale: 60_000 }
    }

    /// A key in hours for one in ms.
    pub const fn hours(name: &'static str) -> Self {
        Self { name, scale: 3_600_000 }
    }

    /// A value of the broker key as a value of the topic key. Below zero means "no limit" in
    /// every unit.
    pub fn convert(&self, value: &str) -> String {
        match value.parse::<i64>() {
            Ok(number) if self.scale != 1 && number < 0 => "-1".to_owned(),
            Ok(number) => number.saturating_mul(self.scale).to_string(),
            Err(_) => value.to_owned(),
        }
    }
}

/// One row of a table: the facts, and the way to the field.
pub struct ConfigKey<Table: 'static> {
    /// The facts.
    pub info: KeyInfo,
    #[doc(hidden)]
    pub get: fn(&Table) -> Option<String>,
    #[doc(hidden)]
    pub set: fn(&mut Table, &str, &Valid) -> Option<()>,
}

/// A struct of settings with its table of keys: what [`config_keys!`] makes.
pub trait ConfigTable: Clone + Default + fmt::Debug + 'static {
    /// The keys, in the order of their declaration.
    const KEYS: &'static [ConfigKey<Self>];

    /// The facts of the key of that name.
    fn info(name: &str) -> Option<&'static KeyInfo> {
        find::<Self>(name).map(|key| &key.info)
    }

    /// The value as Kafka prints it. The outer `None`: no such key; the inner one: null.
    fn value_of(&self, name: &str) -> Option<Option<String>> {
        find::<Self>(name).map(|key| (key.get)(self))
    }

    /// Sets one key from text; white space around the value is dropped, as Kafka does.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] and [`ConfigError::Invalid`]; the table is then as before.
    fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let Some(key) = find::<Self>(name) else {
            return Err(ConfigError::unknown(name, Self::KEYS.iter().map(|key| key.info.name)));
        };
        (key.set)(self, value.trim(), &key.info.valid).ok_or_else(|| ConfigError::Invalid {
            name: key.info.name,
            value: value.to_owned(),
            valid: key.info.valid.describe(key.info.kind),
        })
    }
}

fn find<Table: ConfigTable>(name: &str) -> Option<&'static ConfigKey<Table>> {
    Table::KEYS.iter().find(|key| key.info.name == name)
}

/// Why a setting was refused. The text goes to the user as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No key has this name.
    #[error("unknown config {name:?}{}", hint(*.nearest))]
    Unknown {
        /// As given.
        name: String,
        /// A known name that is spelt much like it.
        nearest: Option<&'static str>,
    },
    /// The value is not of the key's type, or not among those it takes.
    #[error("value {value:?} of {name} is not valid: it must be {valid}")]
    Invalid {
        /// The key.
        name: &'static str,
        /// As given.
        value: String,
        /// What is taken, in words.
        valid: String,
    },
    /// The key was given without a value.
    #[error("{name} has no value (null)")]
    Null {
        /// As given.
        name: String,
    },
    /// Two settings contradict each other.
    #[error("{0}")]
    Conflict(String),
}

impl ConfigError {
    /// The error for a name that is not among `known`.
    pub fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> Self {
        Self::Unknown { name: name.to_owned(), nearest: nearest(name, known) }
    }
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

/// The known name with the fewest edits to `name`, if a third of its letters or less differ.
pub(super) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    const LENGTH_MAX: usize = 200; // Names from the network: the distance is quadratic.
    if name.len() > LENGTH_MAX {
        return None;
    }
    known
        .map(|known| (edits(name.as_bytes(), known.as_bytes()), known))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// The number of single-byte insertions, deletions and replacements between two names.
fn edits(left: &[u8], right: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        row[0] = before;
        for (b, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            before = (diagonal + usize::from(a != b)).min(*cell + 1).min(before + 1);
            diagonal = *cell;
            *cell = before;
        }
    }
    row[right.len()]
}
