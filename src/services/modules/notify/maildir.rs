//! Letters as files of a maildir: written to `tmp`, and moved to `new` when they are on disk, so that a reader
//! never sees half of one. A file's name follows from the letter's key: to deliver it again is no second letter, also
//! when a reader has moved it to `cur` meanwhile.
//!
//! Layout and names: <https://cr.yp.to/proto/maildir.html>; heads: RFC 5322, and RFC 2047 where a text is no ASCII.

#![expect(
    clippy::disallowed_methods,
    reason = "the maildir is this module's own, and no part of the log"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::letter::Letter;
use crate::services::envelope::time;
use crate::types::Timestamp;

/// Bytes of a text in one encoded word, of which 75 letters are allowed (RFC 2047, 2).
const WORD_BYTES: usize = 42;
/// Letters of a subject.
const SUBJECT_LETTERS_MAX: usize = 200;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A maildir.
#[derive(Clone, Debug)]
pub(super) struct Maildir {
    folder: PathBuf,
    from: String,
}

impl Maildir {
    pub(super) fn new(folder: impl Into<PathBuf>, from: &str) -> Self {
        Self { folder: folder.into(), from: from.to_owned() }
    }

    /// Delivers a letter, unless it is there already. On disk when it returns.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn deliver(&self, key: &str, at: Timestamp, letter: &Letter) -> io::Result<()> {
        let [tmp, new, cur] = ["tmp", "new", "cur"].map(|part| self.folder.join(part));
        for part in [&tmp, &new, &cur] {
            fs::create_dir_all(part)?;
        }
        if self.has(key, at)? {
            return Ok(());
        }
        let name = file_name(key, at);
        let mut file = File::create(tmp.join(&name))?;
        file.write_all(self.message(key, at, letter).as_bytes())?;
        file.sync_all()?;
        fs::rename(tmp.join(&name), new.join(&name))?;
        File::open(&new)?.sync_all()
    }

    /// Whether a letter was delivered, read or not.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn has(&self, key: &str, at: Timestamp) -> io::Result<bool> {
        let name = file_name(key, at);
        Ok(self.folder.join("new").join(&name).exists()
            || was_read(&self.folder.join("cur"), &name)?)
    }

    fn message(&self, key: &str, at: Timestamp, letter: &Letter) -> String {
        let Letter { to, subject, text, template, .. } = letter;
        format!(
            "Date: {}\nFrom: {}\nTo: {to}\nSubject: {}\nMessage-ID: <{key}@ottla>\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nX-Ottla-Template: {}\n\n{}\n",
            date(at),
            self.from,
            head(subject),
            head(template),
            text.replace('\r', ""),
        )
    }
}

fn file_name(key: &str, at: Timestamp) -> String {
    format!("{}.{key}.ottla", at.0.div_euclid(1000))
}

/// Whether a reader has taken the file, which adds `:2,` and flags to its name.
fn was_read(cur: &Path, name: &str) -> io::Result<bool> {
    let entries = match fs::read_dir(cur) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let found = entry?.file_name();
        if found.to_string_lossy().split(':').next() == Some(name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A text as it can stand in a head: one line, encoded where it is no ASCII.
fn head(text: &str) -> String {
    let line: String = text.chars().filter(|c| !c.is_control()).take(SUBJECT_LETTERS_MAX).collect();
    if line.is_ascii() {
        return line;
    }
    let mut words = vec![String::new()];
    for letter in line.chars() {
        let is_full = words.last().is_some_and(|word| word.len() + letter.len_utf8() > WORD_BYTES);
        if is_full {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(letter);
        }
    }
    let words = words.iter().map(|word| format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
    words.collect::<Vec<_>>().join("\n ")
}

/// `24 Nov 2026 19:02:20 +0000`.
fn date(at: Timestamp) -> String {
    let text = time::format(at);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or("00");
    let month = part(5, 7).parse::<usize>().unwrap_or(1).clamp(1, 12);
    format!("{} {} {} {} +0000", part(8, 10), MONTHS[month - 1], part(0, 4), part(11, 19))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::letter::Kind;
    use super::*;

    fn letter(subject: &str) -> Letter {
        Letter {
            kind: Kind::Mail,
            to: "anna@example.com".into(),
            subject: subject.into(),
            text: "Hello\r\nthere".into(),
            template: "welcome".into(),
            about: Value::Null,
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_letter_is_one_file_however_often_it_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let maildir = Maildir::new(folder.path(), "ottla@localhost");
        let at = Timestamp(1_700_000_000_123);
        maildir.deliver("k-1", at, &letter("Welcome")).unwrap();
        maildir.deliver("k-1", at, &letter("Welcome")).unwrap();
        let new = folder.path().join("new");
        assert_eq!(names(&new), ["1700000000.k-1.ottla"]);
        assert!(names(&folder.path().join("tmp")).is_empty());
        let text = fs::read_to_string(new.join("1700000000.k-1.ottla")).unwrap();
        let expected = "Date: 14 Nov 2023 22:13:20 +0000\nFrom: ottla@localhost\nTo: anna@example.com\n\
                        Subject: Welcome\nMessage-ID: <k-1@ottla>\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("\n\nHello\nthere\n"), "{text}");

        let read = folder.path().join("cur").join("1700000000.k-1.ottla:2,S");
        fs::rename(new.join("1700000000.k-1.ottla"), read).unwrap();
        maildir.deliver("k-1", at, &letter("Welcome")).unwrap();
        assert!(names(&new).is_empty());
        maildir.deliver("k-2", at, &letter("Welcome")).unwrap();
        assert_eq!(names(&new), ["1700000000.k-2.ottla"]);
    }

    #[test]
    fn heads_are_one_line_of_ascii() {
        assert_eq!(head("Hi\r\nBcc: all@example.com"), "HiBcc: all@example.com");
        let encoded = head(&"ж".repeat(30));
        assert!(encoded.is_ascii() && encoded.lines().count() == 2, "{encoded}");
        let word = encoded.lines().next().unwrap();
        let inner = word.strip_prefix("=?utf-8?B?").and_then(|it| it.strip_suffix("?=")).unwrap();
        let text = String::from_utf8(STANDARD.decode(inner).unwrap()).unwrap();
        assert_eq!(text, "ж".repeat(21));
        assert!(word.len() <= 75);
    }
}
