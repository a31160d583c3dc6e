//! Scenarios as text: a line a request, and behind `=>` what is answered. The answers were asked from
//! a live Apache Kafka 4.3.1, and ottla has to give the same.
//!
//! ```text
//! == a name, for people
//! init v4 => 0 A 0
//! end v3 commit => 48
//! ```
//!
//! With `OTTLA_REWRITE=1` a run writes the answers that it gets into the file, to be looked at as a
//! diff: so a scenario is written without its answers and asked from a Kafka that
//! `OTTLA_TEST_BOOTSTRAP` names.

use std::fmt::Write as _;
use std::path::Path;

/// One line: words before `=>`.
#[derive(Debug)]
pub struct Command<'a> {
    words: Vec<&'a str>,
}

impl<'a> Command<'a> {
    /// The words of a line.
    pub fn parse(line: &'a str) -> Self {
        Self { words: line.split_whitespace().collect() }
    }

    /// What to do.
    pub fn name(&self) -> &'a str {
        self.words[0]
    }

    /// The version of the request, as `v3`.
    #[track_caller]
    pub fn version(&self) -> i16 {
        let word = self.words.iter().find_map(|word| word.strip_prefix('v')?.parse().ok());
        word.unwrap_or_else(|| panic!("no version in {:?}", self.words))
    }

    /// The value of `key=value`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    /// The number of `key=number`.
    #[track_caller]
    pub fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        let parse = |text: &str| text.parse().ok().unwrap_or_else(|| panic!("no number: {text}"));
        self.get(key).map(parse)
    }

    /// Whether a word is there.
    pub fn has(&self, word: &str) -> bool {
        self.words.contains(&word)
    }

    /// The partitions, as `p0,p1`.
    #[track_caller]
    pub fn partitions(&self) -> Vec<i32> {
        let word = self.words.iter().find(|word| {
            word.strip_prefix('p')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        });
        let list = word.unwrap_or_else(|| panic!("no partitions in {:?}", self.words));
        list.split(',').map(|one| one[1..].parse().unwrap()).collect()
    }
}

/// Runs every scenario of a file under `tests/conformance/`: `begin` makes what one starts with, and
/// `step` asks and tells what was answered.
#[track_caller]
pub fn run<S>(file: &str, begin: impl Fn() -> S, step: impl Fn(&mut S, &Command<'_>) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let (mut found, mut wrong, mut scenario) = (String::new(), String::new(), "");
    let mut state = begin();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(name) = line.strip_prefix("== ") {
            (state, scenario) = (begin(), name);
        }
        if line.is_empty() || line.starts_with(['=', '#']) {
            writeln!(found, "{line}").unwrap();
            continue;
        }
        let (asked, expected) = line.split_once("=>").unwrap_or((line, ""));
        let got = step(&mut state, &Command::parse(asked));
        let asked = asked.trim();
        writeln!(found, "{}", format!("{asked} => {got}").trim_end()).unwrap();
        if got != expected.trim() {
            let expected = expected.trim();
            writeln!(wrong, "{file}:{number}: {scenario}: {asked}: {got}, expected {expected}")
                .unwrap();
        }
    }
    if std::env::var("OTTLA_REWRITE").is_ok_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap();
    } else {
        assert!(wrong.is_empty(), "\n{wrong}");
    }
}
