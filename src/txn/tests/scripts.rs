//! Runs the coordinator's scripts. What they say was asked of Apache Kafka 4.3.1, where a client can
//! get there.

use super::script;
use crate::machine::testing::{Script, check_scripts};
use crate::txn::{Command, Coordinator, TxnConfig};
use crate::types::ProducerId;

#[test]
fn rules_hold_as_the_scripts_tell() {
    check_scripts("src/txn/testdata", || {
        let mut runner = Runner { script: Script::new(TxnConfig::default()), producer_ids: 0 };
        move |line, place| runner.line(line, place)
    });
}

struct Runner {
    script: Script<Coordinator>,
    producer_ids: i64,
}

impl Runner {
    /// Runs one command and shows its effects.
    fn line(&mut self, line: &str, place: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = |text: &str| vec![text.to_owned()];
        let yes_or_no = |is_so| said(if is_so { "yes" } else { "no" });
        let harness = &mut self.script.harness;
        let effects = match words.as_slice() {
            ["config", pairs @ ..] => {
                self.script.configure(pairs, set);
                return said("ok");
            }
            ["restart"] => {
                harness.restart();
                return said("ok");
            }
            ["find", words @ ..] => {
                harness.find(&script::parse_record(words));
                return said("ok");
            }
            ["part-of", words @ ..] => {
                let (producer, topic, partition) = script::parse_part(words);
                return yes_or_no(harness.machine.is_part_of(&producer, &topic, partition));
            }
            ["wants"] => return yes_or_no(harness.machine.wants_producer_id()),
            ["advance", ms] => self.script.advance(ms),
            [verb, label, rest @ ..] => {
                let wants = harness.machine.wants_producer_id();
                let takes = matches!(*verb, "init" | "commit" | "abort");
                if wants && takes && !script::goes_without(rest) {
                    self.producer_ids += 1;
                    let supply = Command::SupplyProducerIds(vec![ProducerId(self.producer_ids)]);
                    self.script.ask("supply", supply); // Which nothing is told of.
                }
                self.script.ask(label, script::parse(verb, rest))
            }
            [_] | [] => panic!("{place}: incomplete"),
        };
        self.script.show(&effects, script::show_record, script::show_reply)
    }
}

fn set(config: &mut TxnConfig, key: &str, value: u32) {
    match key {
        "id_expiration_ms" => config.id_expiration_ms = value.into(),
        "expiration_check_interval_ms" => config.expiration_check_interval_ms = value.into(),
        "id_count_max" => config.id_count_max = usize::try_from(value).unwrap(),
        "id_bytes_max" => config.id_bytes_max = usize::try_from(value).unwrap(),
        "partition_count_max" => config.partition_count_max = usize::try_from(value).unwrap(),
        "coordinator_epoch" => config.coordinator_epoch = i32::try_from(value).unwrap(),
        other => panic!("no such config: {other}"),
    }
}
