//! Prometheus' text format 0.0.4, written line by line.

use std::fmt::{Display, Write};

/// A page in the making.
#[derive(Default)]
pub(super) struct Text(pub(super) String);

impl Text {
    /// Begins a family; all its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample to the family.
    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, content)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let content = content.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{open}{label}=\"{content}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A family of one sample without labels.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A family that is 1 and says something in its labels.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.family(name, "gauge", help);
        self.sample(name, labels, 1);
    }
}

/// µs as seconds, exactly.
pub(super) fn seconds(us: u64) -> String {
    const US: u64 = 1_000_000;
    format!("{}.{:06}", us / US, us % US)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.info("x", "Help.", &[("a", "1"), ("b", "q\"\\\n")]);
        let expected = "# HELP x Help.\n# TYPE x gauge\nx{a=\"1\",b=\"q\\\"\\\\\\n\"} 1\n";
        assert_eq!(text.0, expected);
        assert_eq!(seconds(1_500_000), "1.500000");
        assert_eq!(seconds(7), "0.000007");
    }
}
