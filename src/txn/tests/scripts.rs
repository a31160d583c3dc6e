//! Runs `testdata/*.txt`, one file a rule: a command, `----`, the effects that are expected, an empty
//! line.
//! With `UPDATE_SCRIPTS=1` in the environment the files are written anew, to be reviewed as a diff.
//! What they say was asked of Apache Kafka 4.3.1, where a client can get there.

use std::collections::BTreeMap;
use std::path::Path;

use super::harness::Harness;
use super::script;
use crate::machine::{Effects, Ticket};
use crate::txn::{Reply, TransactionRecord, TxnConfig};
use crate::types::ProducerId;

#[test]
#[expect(clippy::disallowed_methods, reason = "test data is read, and written when asked to")]
fn rules_hold_as_the_scripts_tell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/txn/testdata");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let expected = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let actual = run(&name, &expected);
        if actual == expected {
            continue;
        }
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, actual).unwrap();
        } else {
            wrong.push(format!("=== {name}\n{}", first_difference(&expected, &actual)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn first_difference(expected: &str, actual: &str) -> String {
    let lines = expected.lines().zip(actual.lines()).enumerate();
    let mut different = lines.filter(|(_, (expected, actual))| expected != actual);
    different.next().map_or_else(
        || format!("one is longer; it should be\n{actual}"),
        |(at, (expected, actual))| format!("line {}:\n  {expected}\nis\n  {actual}", at + 1),
    )
}

/// The script with the effects as they are.
fn run(name: &str, text: &str) -> String {
    let mut runner = Runner::new();
    let mut out: Vec<String> = Vec::new();
    let mut is_effect = false;
    for (at, line) in text.lines().enumerate() {
        if line == "----" {
            is_effect = true;
        } else if line.is_empty() || line.starts_with('#') {
            is_effect = false;
            out.push(line.to_owned());
        } else if !is_effect {
            let place = format!("{name}:{}: {line}", at + 1);
            out.push(line.to_owned());
            out.push("----".to_owned());
            out.extend(runner.line(line, &place));
        }
    }
    out.join("\n") + "\n"
}

struct Runner {
    harness: Harness,
    labels: BTreeMap<Ticket, String>,
    producer_ids: i64,
}

impl Runner {
    fn new() -> Self {
        let harness = Harness::new(TxnConfig::default());
        Self { harness, labels: BTreeMap::new(), producer_ids: 0 }
    }

    /// Runs one command and shows its effects.
    fn line(&mut self, line: &str, place: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = |text: &str| vec![text.to_owned()];
        let effects = match words.as_slice() {
            ["config", pairs @ ..] => {
                let mut config = self.harness.config.clone();
                pairs.iter().for_each(|pair| set(&mut config, pair));
                self.harness = Harness::new(config);
                return said("ok");
            }
            ["restart"] => {
                self.harness.restart();
                return said("ok");
            }
            ["find", words @ ..] => {
                self.harness.find(&script::parse_record(words));
                return said("ok");
            }
            ["part-of", words @ ..] => {
                let (producer, topic, partition) = script::parse_part(words);
                let is_part = self.harness.coordinator.is_part_of(&producer, &topic, partition);
                return said(if is_part { "yes" } else { "no" });
            }
            ["wants"] => {
                return said(if self.harness.coordinator.wants_producer_id() {
                    "yes"
                } else {
                    "no"
                });
            }
            ["advance", ms] => self.harness.advance(ms.replace('_', "").parse().expect(place)),
            [verb, label, rest @ ..] => {
                let wants = self.harness.coordinator.wants_producer_id();
                let fresh = wants.then_some(ProducerId(self.producer_ids + 1));
                let is_used = fresh.is_some() && !rest.contains(&"fresh=none");
                let takes = matches!(*verb, "init" | "commit" | "abort");
                self.producer_ids += i64::from(is_used && takes);
                let command = script::parse(verb, rest, fresh);
                let ticket = Ticket(u64::try_from(self.labels.len()).expect(place));
                self.labels.insert(ticket, (*label).to_owned());
                self.harness.run(ticket, command)
            }
            [_] | [] => panic!("{place}: incomplete"),
        };
        self.show(&effects)
    }

    fn show(&self, effects: &Effects<TransactionRecord, Reply>) -> Vec<String> {
        let mut lines: Vec<String> = effects.records.iter().map(script::show_record).collect();
        for (ticket, reply) in &effects.replies {
            lines.extend(script::show_reply(&self.labels[ticket], reply));
        }
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        lines
    }
}

fn set(config: &mut TxnConfig, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap();
    let value: u32 = value.replace('_', "").parse().unwrap();
    match key {
        "id_expiration_ms" => config.id_expiration_ms = value.into(),
        "expiration_check_interval_ms" => config.expiration_check_interval_ms = value.into(),
        "id_count_max" => config.id_count_max = usize::try_from(value).unwrap(),
        "partition_count_max" => config.partition_count_max = usize::try_from(value).unwrap(),
        "coordinator_epoch" => config.coordinator_epoch = i32::try_from(value).unwrap(),
        other => panic!("no such config: {other}"),
    }
}
