//! Holds the shape of the source tree: who may import whom, that every file says what it is, and
//! that files stay short. A rule that is broken names the file, the line and what to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms, in groups from those that know least to those that know most: a room may import
/// itself, its own group's rooms never, and every room of the groups before it.
const LAYERS: &[&[&str]] = &[
    &["types"],
    &["clock", "ids", "telemetry"],
    &["codec"],
    &["config", "records", "machine", "protocol"],
    &["log", "auth"],
    &["partition"],
    &["catalog", "groups", "txn"],
    &["broker"],
    &["client", "server"],
    &["registry", "sql", "services"],
    &["console"],
    &["http"],
    &["embed"],
    &["cli"],
];

/// Pairs inside the rule above that are refused all the same, or beside it that are allowed.
const PROTOCOL_READERS: &[&str] = &["server", "client", "cli", "protocol"];

/// Lines a file may have.
const LINES_MAX: usize = 600;

/// Files that are longer than [`LINES_MAX`], with their length when they were listed: a number here
/// only falls.
const LONG_FILES: &[(&str, usize)] = &[];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("readable source");
            let name = path.strip_prefix(&root).expect("below src").display().to_string();
            (name, text)
        })
        .collect()
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&room))
}

#[test]
fn rooms_import_only_what_knows_less() {
    let mut wrong = Vec::new();
    for (name, text) in all() {
        let Some((room, _)) = name.split_once('/') else {
            continue; // lib.rs, main.rs and the one-file rooms stand above or below all.
        };
        let own = layer(room).unwrap_or_else(|| panic!("{name}: room {room} has no layer"));
        for (index, line) in text.lines().enumerate() {
            for import in line.split("crate::").skip(1) {
                let other: String =
                    import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let Some(theirs) = layer(&other) else { continue };
                let protocol_leak = other == "protocol" && !PROTOCOL_READERS.contains(&room);
                if other != room && (theirs >= own || protocol_leak) {
                    wrong.push(format!("src/{name}:{}: {room} imports {other}", index + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = all()
        .into_iter()
        .filter(|(name, text)| !text.starts_with("//!") && !name.ends_with("tests.rs"))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "files without a //! header: {silent:?}");
}

#[test]
fn files_stay_short() {
    let listed: BTreeMap<_, _> = LONG_FILES.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, text) in all() {
        let lines = text.lines().count();
        match listed.get(name.as_str()) {
            None if lines > LINES_MAX => {
                wrong.push(format!("{name} has {lines} lines, {LINES_MAX} allowed"));
            }
            Some(most) if lines > *most => {
                wrong.push(format!("{name} grew to {lines} lines, listed with {most}"));
            }
            Some(_) if lines <= LINES_MAX => {
                wrong.push(format!("{name} is short again: take it off the list"));
            }
            None | Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "find the second subject of:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TO\u{44}O", "FIX\u{4d}E", "unimplemented!(", "#[ignore"];
    let mut wrong = Vec::new();
    for (name, text) in all() {
        for (index, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("src/{name}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "unfinished:\n{}", wrong.join("\n"));
}
