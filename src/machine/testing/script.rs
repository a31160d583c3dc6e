//! Runs a machine's `testdata/*.txt`, one file a rule: a command, `----`, the effects that are
//! expected, an empty line. With `UPDATE_SCRIPTS=1` in the environment the files are written anew, to
//! be reviewed as a diff.
//!
//! Every machine knows `advance MS` and `restart`; `config KEY=VALUE...` comes before all others. What
//! other commands there are, and how effects are shown, is the machine's own.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Harness, Tested};
use crate::machine::{Effects, Ticket};

/// Fails unless every script in `folder`, below the crate's root, comes out as it stands there. Each
/// has a `begin` of its own, which makes what runs a line: the line, and its place for a failure.
#[expect(clippy::disallowed_methods, reason = "test data is read, and written when asked to")]
pub(crate) fn check_scripts<R: FnMut(&str, &str) -> Vec<String>>(
    folder: &str,
    begin: impl Fn() -> R,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let expected = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let actual = play(&name, &expected, begin());
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
fn play(name: &str, text: &str, mut run: impl FnMut(&str, &str) -> Vec<String>) -> String {
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
            out.extend(run(line, &place));
        }
    }
    out.join("\n") + "\n"
}

/// A script at work: the machine, and who waits for an answer.
pub(crate) struct Script<M: Tested> {
    pub(crate) harness: Harness<M>,
    labels: BTreeMap<Ticket, String>,
}

impl<M: Tested> Script<M> {
    pub(crate) fn new(config: M::Config) -> Self {
        Self { harness: Harness::new(config), labels: BTreeMap::new() }
    }

    /// Begins anew with other settings: each pair is a key and a whole number.
    pub(crate) fn configure(&mut self, pairs: &[&str], set: impl Fn(&mut M::Config, &str, u32)) {
        let mut config = self.harness.config.clone();
        for pair in pairs {
            let (key, value) = pair.split_once('=').unwrap();
            set(&mut config, key, value.replace('_', "").parse().unwrap());
        }
        self.harness = Harness::new(config);
    }

    pub(crate) fn advance(&mut self, ms: &str) -> Effects<M::Record, M::Reply> {
        self.harness.advance(ms.replace('_', "").parse().unwrap())
    }

    /// Lets whoever has this label ask.
    pub(crate) fn ask(&mut self, label: &str, command: M::Command) -> Effects<M::Record, M::Reply> {
        let ticket = Ticket(u64::try_from(self.labels.len()).unwrap());
        self.labels.insert(ticket, label.to_owned());
        self.harness.run(ticket, command)
    }

    /// The lines of what a step wrote, then of whom it answered; an answer is shown with its label.
    pub(crate) fn show(
        &self,
        effects: &Effects<M::Record, M::Reply>,
        record: impl Fn(&M::Record) -> String,
        reply: impl Fn(&str, &M::Reply) -> String,
    ) -> Vec<String> {
        let mut lines: Vec<String> = effects.records.iter().map(record).collect();
        for (ticket, said) in &effects.replies {
            lines.extend(reply(&self.labels[ticket], said).lines().map(str::to_owned));
        }
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        lines
    }
}

/// The words of a line: `key=value` pairs and the others.
pub(crate) struct Words<'a> {
    named: Vec<(&'a str, &'a str)>,
    pub(crate) others: Vec<&'a str>,
}

impl<'a> Words<'a> {
    /// `TOPIC:PARTITION=OFFSET` is no pair.
    pub(crate) fn new(words: &[&'a str]) -> Self {
        let mut found = Self { named: Vec::new(), others: Vec::new() };
        for word in words {
            match word.split_once('=').filter(|(name, _)| !name.contains(':')) {
                Some(pair) => found.named.push(pair),
                None => found.others.push(word),
            }
        }
        found
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(it, _)| *it == name).map(|(_, value)| *value)
    }

    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str, default: N) -> N {
        let parse = |it: &str| it.parse().unwrap_or_else(|_| panic!("{name}={it} is no number"));
        self.get(name).map_or(default, parse)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<&'a str> {
        self.get(name).unwrap_or_default().split(',').filter(|it| !it.is_empty()).collect()
    }
}
