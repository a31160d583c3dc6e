//! Makes `docs/configuration.md` from the tables, so that it cannot lag behind them.

use std::fmt::Write as _;

use super::accepted::{ACCEPTED, REFUSED};
use super::broker::BrokerConfig;
use super::group::GroupConfig;
use super::keys::{Change, ConfigKey, ConfigTable};
use super::topic::TopicConfig;

const HEAD: &str = "\
# Configuration

<!-- Made from the tables in src/config by `OTTLA_WRITE_DOCS=1 cargo test --lib config::docs`. -->

Every setting of ottla, with Kafka's name where Kafka has one. Where they come from, the later one
wins:

1. the defaults below;
2. a TOML file, `--config FILE`; a table stands for dotted names, so that `[log]` with
   `retention.ms = 1` sets `log.retention.ms`;
3. the environment: `KAFKA_` or `KAFKA_CFG_`, as container images of Kafka use them, then `OTTLA_`,
   each with the key in capitals and `_` for `.` (`KAFKA_NUM_PARTITIONS`, `OTTLA_NUM_PARTITIONS`);
   keys that begin with `ottla.` drop that (`OTTLA_DURABILITY`);
4. flags, and `--set KEY=VALUE` for any key.

A name that nothing knows is an error in a file or a flag, and a warning in the environment.
Keys marked *dynamic* change at run time, by AlterConfigs or IncrementalAlterConfigs, for one
broker or for all; the others are read at start.
";

const TOPIC_HEAD: &str = "\
## Topic settings

All of Apache Kafka 4.3, with its defaults. All change at run time. The default of a topic is what
the broker key in the last column says, if that is set; of several the first that is set.

As in Kafka 4, `message.format.version`, `message.downconversion.enable` and
`message.timestamp.difference.max.ms` are gone: setting one is error 40.
";

const GROUP_HEAD: &str = "\
## Group settings

Taken, checked and shown for a group of any name. They concern the newer group protocols; classic
groups obey none of them.
";

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    page.push_str("\n## Broker settings\n\n");
    page.push_str("| key | type | default | valid | dynamic | what it does |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    let broker = BrokerConfig::default();
    for key in BrokerConfig::KEYS {
        let dynamic = if key.info.change == Change::Dynamic { "yes" } else { "" };
        row(&mut page, &broker, key, &[dynamic, &sentence(key)]);
    }
    let _ = write!(page, "\n{TOPIC_HEAD}\n| key | type | default | valid | what it does | ");
    page.push_str("broker key |\n|---|---|---|---|---|---|\n");
    let topic = TopicConfig::default();
    for key in TopicConfig::KEYS {
        let names: Vec<_> =
            key.info.synonyms.iter().map(|synonym| format!("`{}`", synonym.name)).collect();
        row(&mut page, &topic, key, &[&sentence(key), &names.join(", ")]);
    }
    let _ = write!(page, "\n{GROUP_HEAD}\n| key | type | default | valid | what it does |\n");
    page.push_str("|---|---|---|---|---|\n");
    let group = GroupConfig::default();
    for key in GroupConfig::KEYS {
        row(&mut page, &group, key, &[&sentence(key)]);
    }
    names(
        &mut page,
        "Kafka's settings without effect",
        "Taken with a warning. A name that ends in `.` stands for all that begin so.",
        ACCEPTED,
    );
    names(
        &mut page,
        "Kafka's settings that are refused",
        "Who sets one of these relies on a check that this version does not make.",
        REFUSED,
    );
    page
}

fn row<Table>(page: &mut String, table: &Table, key: &ConfigKey<Table>, more: &[&str]) {
    let info = &key.info;
    let default = match (key.get)(table) {
        None => "null".to_owned(),
        Some(text) if text.is_empty() => "empty".to_owned(),
        Some(text) => format!("`{text}`"),
    };
    let kafka = info.kafka_default.map(|value| format!(" (Kafka: `{value}`)")).unwrap_or_default();
    let valid = cell(&info.valid.to_string());
    let _ = write!(page, "| `{}` | {} | {default}{kafka} | {valid} |", info.name, info.kind);
    for column in more {
        let column = cell(column);
        let space = if column.is_empty() { "" } else { " " };
        let _ = write!(page, "{space}{column} |");
    }
    page.push('\n');
}

fn sentence<Table>(key: &ConfigKey<Table>) -> String {
    key.info.doc.trim().to_owned()
}

/// A `|` would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn names(page: &mut String, title: &str, about: &str, names: &[&str]) {
    let list: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let _ = write!(page, "\n## {title}\n\n{about}\n\n{}\n", list.join(",\n"));
}

#[cfg(test)]
mod tests {
    #[test]
    #[expect(clippy::disallowed_methods, reason = "rewrites a file of this repository on request")]
    fn page_is_the_committed_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let page = super::page();
        if std::env::var_os("OTTLA_WRITE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page,
            "docs/configuration.md is behind the tables: \
             OTTLA_WRITE_DOCS=1 cargo test --lib config::docs"
        );
    }
}
