//! Runs the coordinator's scripts.

use super::script;
use crate::groups::{Coordinator, GroupConfig};
use crate::machine::testing::{Script, check_scripts};

#[test]
fn rules_hold_as_the_scripts_tell() {
    check_scripts("src/groups/testdata", || {
        let mut runner = Runner { script: Script::new(GroupConfig::default()), joins: 0 };
        move |line, place| runner.line(line, place)
    });
}

struct Runner {
    script: Script<Coordinator>,
    joins: u32,
}

impl Runner {
    /// Runs one command and shows its effects.
    fn line(&mut self, line: &str, place: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let effects = match words.as_slice() {
            ["config", pairs @ ..] => {
                self.script.configure(pairs, set);
                return vec!["ok".to_owned()];
            }
            ["restart"] => {
                self.script.harness.restart();
                return vec!["ok".to_owned()];
            }
            ["advance", ms] => self.script.advance(ms),
            [verb, label, rest @ ..] => {
                self.joins += u32::from(*verb == "join");
                self.script.ask(label, script::parse(verb, rest, self.joins))
            }
            [_] | [] => panic!("{place}: incomplete"),
        };
        self.script.show(&effects, script::show_record, script::show_reply)
    }
}

fn set(config: &mut GroupConfig, key: &str, value: u32) {
    match key {
        "initial_rebalance_delay_ms" => config.initial_rebalance_delay_ms = value.into(),
        "offsets_retention_ms" => config.offsets_retention_ms = value.into(),
        "group_size_max" => config.group_size_max = usize::try_from(value).unwrap(),
        "group_count_max" => config.group_count_max = usize::try_from(value).unwrap(),
        "offset_metadata_max_bytes" => {
            config.offset_metadata_max_bytes = usize::try_from(value).unwrap();
        }
        other => panic!("no such config: {other}"),
    }
}
