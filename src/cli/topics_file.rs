//! Topics declared in a YAML file:
//!
//! ```text
//! topics:
//!   - name: user.created
//!     partitions: 6
//!     replication-factor: 3
//!     retention: 30d
//!     config:
//!       cleanup.policy: delete
//! ```
//!
//! Only the name is needed. Every complaint names line and column.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::duration;
use crate::catalog::check_name;
use crate::config::ConfigTable;
use crate::config::topic::TopicConfig;

/// A file of topics is short; a long one is another file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One topic of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Its name, which is a legal one.
    pub name: String,
    /// `None`: the broker's default.
    pub partitions: Option<i32>,
    /// `None`: the broker's default.
    pub replication_factor: Option<i16>,
    /// Configs by Kafka's names, known and valid; `retention` is among them as `retention.ms`.
    pub configs: BTreeMap<String, String>,
    /// Where its partitions stand, or its name: `topics.yaml, line 3, column 17`.
    pub place: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    topics: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    name: Spanned<String>,
    partitions: Option<Spanned<i64>>,
    #[serde(alias = "replication_factor", alias = "replicationFactor")]
    replication_factor: Option<Spanned<i64>>,
    retention: Option<Spanned<String>>,
    #[serde(default, alias = "configs")]
    config: BTreeMap<String, Spanned<String>>,
}

/// Reads and checks the file.
///
/// # Errors
/// Sentences for the user: that the file cannot be read, or everything that is wrong with it.
pub(crate) fn read(path: &Path) -> Result<Vec<Declared>, Vec<String>> {
    let unreadable = |error: std::io::Error| vec![format!("{}: {error}", path.display())];
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        let path = path.display();
        return Err(vec![format!("{path}: {size} bytes are over {FILE_BYTES_MAX}")]);
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&path.display().to_string(), &text)
}

/// Checks the text of a file of that name.
///
/// # Errors
/// Everything that is wrong with it, a sentence each.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Declared>, Vec<String>> {
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed: File = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().unwrap_or(Location::UNKNOWN);
        vec![complaint(file, at, &syntax_problem(text, at, &error))]
    })?;
    let mut checking = Checking { file, seen: BTreeMap::new(), complaints: Vec::new() };
    let declared = parsed.topics.into_iter().map(|entry| checking.topic(entry)).collect();
    if checking.complaints.is_empty() { Ok(declared) } else { Err(checking.complaints) }
}

/// What the parser says in one sentence, with a hint where the usual slip shows.
fn syntax_problem(text: &str, at: Location, error: &serde_saphyr::Error) -> String {
    let shown = error.without_snippet().to_string();
    let mut problem = shown.lines().next().unwrap_or_default().trim();
    // The position stands before the text already.
    if let Some((before, _)) = problem.rsplit_once(" at line ") {
        problem = before;
    }
    let hint = missing_space(text, at).map_or_else(String::new, |(line, key)| {
        format!(" (line {line}: is a space missing after `{key}:`?)")
    });
    let problem = problem.replace("invalid i64", "not a whole number");
    format!("{problem}{hint}")
}

/// The line at or just before the error that has a known key with its value stuck to it.
fn missing_space(text: &str, at: Location) -> Option<(usize, &str)> {
    const KEYS: [&str; 4] = ["name", "partitions", "replication-factor", "retention"];
    let here = usize::try_from(at.line()).ok()?;
    let lines = text.lines().enumerate().skip(here.saturating_sub(2)).take(2);
    lines.into_iter().find_map(|(index, line)| {
        let (key, value) = line.trim_start_matches([' ', '-']).split_once(':')?;
        let is_stuck = KEYS.contains(&key) && value.starts_with(|c: char| !c.is_whitespace());
        is_stuck.then_some((index + 1, key))
    })
}

fn complaint(file: &str, at: Location, problem: &str) -> String {
    format!("{}: {problem}", place(file, at))
}

fn place(file: &str, at: Location) -> String {
    format!("{file}, line {}, column {}", at.line(), at.column())
}

struct Checking<'a> {
    file: &'a str,
    /// Names so far, with their lines.
    seen: BTreeMap<String, u64>,
    complaints: Vec<String>,
}

impl Checking<'_> {
    fn topic(&mut self, entry: Entry) -> Declared {
        let at = entry.name.referenced;
        let name = entry.name.value;
        if let Err(problem) = check_name(&name) {
            self.complain(at, &problem.to_string());
        }
        if let Some(line) = self.seen.insert(name.clone(), at.line()) {
            self.complain(at, &format!("topic {name:?} stands in line {line} already"));
        }
        let place = place(self.file, entry.partitions.as_ref().map_or(at, |it| it.referenced));
        let partitions = entry.partitions.and_then(|it| self.count("partitions", it));
        let replicas = entry.replication_factor;
        let replication_factor = replicas.and_then(|it| self.count("replication-factor", it));
        let mut configs = self.configs(&name, entry.config);
        if let Some(retention) = entry.retention {
            self.retention(&retention, &mut configs);
        }
        Declared { name, partitions, replication_factor, configs, place }
    }

    fn count<Number: TryFrom<i64>>(&mut self, what: &str, given: Spanned<i64>) -> Option<Number> {
        let number = Number::try_from(given.value).ok().filter(|_| given.value >= 1);
        if number.is_none() {
            let problem = format!("{what} {} is not a count of 1 and more", given.value);
            self.complain(given.referenced, &problem);
        }
        number
    }

    fn configs(
        &mut self,
        topic: &str,
        given: BTreeMap<String, Spanned<String>>,
    ) -> BTreeMap<String, String> {
        let mut table = TopicConfig::default();
        let mut configs = BTreeMap::new();
        for (name, value) in given {
            if let Err(error) = table.set(&name, &value.value) {
                self.complain(value.referenced, &format!("topic {topic:?}: {error}"));
            }
            configs.insert(name, value.value);
        }
        configs
    }

    fn retention(&mut self, given: &Spanned<String>, configs: &mut BTreeMap<String, String>) {
        match duration::parse_retention_ms(&given.value) {
            Ok(0) => self.complain(given.referenced, "retention 0 keeps nothing"),
            Ok(ms) => {
                let before = configs.insert("retention.ms".to_owned(), ms.to_string());
                if before.is_some_and(|before| before != ms.to_string()) {
                    let problem = "retention and config retention.ms say different things";
                    self.complain(given.referenced, problem);
                }
            }
            Err(problem) => self.complain(given.referenced, &format!("retention {problem}")),
        }
    }

    fn complain(&mut self, at: Location, problem: &str) {
        self.complaints.push(complaint(self.file, at, problem));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(text: &str) -> Vec<String> {
        parse("t.yaml", text).expect_err("the file is wrong")
    }

    #[test]
    fn the_reference_documents_shape_is_read() {
        let text = "# Topics\ntopics:\n  # Events\n  - name: user.authenticated\n    partitions: 6\n    \
                    replication-factor: 3\n    retention: 7d\n\n  - name: plain\n    config:\n      \
                    cleanup.policy: compact\n      segment.bytes: 1048576\n";
        let declared = parse("t.yaml", text).expect("it is right");
        let config = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            declared,
            [
                Declared {
                    name: "user.authenticated".to_owned(),
                    partitions: Some(6),
                    replication_factor: Some(3),
                    configs: [config("retention.ms", "604800000")].into(),
                    place: "t.yaml, line 5, column 17".to_owned(),
                },
                Declared {
                    name: "plain".to_owned(),
                    configs: [
                        config("cleanup.policy", "compact"),
                        config("segment.bytes", "1048576"),
                    ]
                    .into(),
                    place: "t.yaml, line 9, column 11".to_owned(),
                    ..Declared::default()
                },
            ]
        );
    }

    #[test]
    fn a_missing_space_is_found() {
        let text = "topics:\n  - name: a\n    partitions: 1\n  - name:.workflow.requested\n    \
                    partitions: 12\n";
        let found = complaints(text);
        let text = found.first().map_or("", String::as_str);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(text.starts_with("t.yaml, line "), "{text}");
        assert!(text.contains("line 4: is a space missing after `name:`?"), "{text}");
    }

    #[test]
    fn every_wrong_value_is_named_with_its_place() {
        let text = "topics:\n  - name: a b\n    partitions: 0\n  - name: c\n    retention: 7\n  \
                    - name: c\n    config: {retention.msx: 1, segment.bytes: x}\n";
        assert_eq!(
            complaints(text),
            [
                "t.yaml, line 2, column 11: \"a b\" is no topic name: only letters, digits, '.', '_' \
                 and '-' are allowed",
                "t.yaml, line 3, column 17: partitions 0 is not a count of 1 and more",
                "t.yaml, line 5, column 16: retention \"7\" is no span of time: give a number with a \
                 unit, such as 30s, 10m, 12h or 7d, or forever",
                "t.yaml, line 6, column 11: topic \"c\" stands in line 4 already",
                "t.yaml, line 7, column 29: topic \"c\": unknown config \"retention.msx\", did you \
                 mean \"retention.ms\"?",
                "t.yaml, line 7, column 47: topic \"c\": value \"x\" of segment.bytes is not valid: \
                 it must be an INT in [1048576,...]",
            ]
        );
    }

    #[test]
    fn unknown_and_missing_fields_are_named() {
        let unknown = complaints("topics:\n  - name: a\n    partition: 3\n").remove(0);
        assert!(unknown.starts_with("t.yaml, line 3, column 5: unknown field"), "{unknown}");
        assert!(unknown.contains("partition"), "{unknown}");
        let missing = complaints("topics:\n  - partitions: 3\n").remove(0);
        assert!(missing.contains("missing field") && missing.contains("name"), "{missing}");
        let other = complaints("services: []\n").remove(0);
        assert!(other.contains("services"), "{other}");
    }

    #[test]
    fn what_is_no_number_is_named() {
        let found = complaints("topics:\n  - name: a\n    partitions: many\n").remove(0);
        assert_eq!(found, "t.yaml, line 3, column 17: not a whole number");
    }

    #[test]
    fn two_ways_to_say_the_retention_must_agree() {
        let file = |ms: &str| {
            format!("topics:\n  - name: a\n    retention: 7d\n    config: {{retention.ms: {ms}}}\n")
        };
        assert!(parse("t.yaml", &file("604800000")).is_ok());
        assert_eq!(complaints(&file("1")).len(), 1);
    }
}
