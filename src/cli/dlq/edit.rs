//! `ottla dlq edit`.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use serde_json::json;

use super::change::{Change, changed};
use super::decide::{Desk, Verdict};
use super::show::shown;
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::output::Output;
use crate::ids::Ids;
use crate::services::dlq::DeadLetter;

/// The largest value that is read from a file, in bytes.
const VALUE_BYTES_MAX: u64 = 64 << 20;

/// Change the value of a dead letter and have the group handle that, under the same event id
///
/// Without flags the value is opened in the editor of the environment, $VISUAL or $EDITOR.
#[derive(Debug, clap::Args)]
pub(super) struct Edit {
    /// The consumer group
    group: String,
    /// PARTITION@OFFSET as `ottla dlq list` shows it, or the id of the event
    entry: String,
    /// The topic of its dead letters, where it is not GROUP.dlq
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
    /// The new value, whole
    #[arg(long, value_name = "PATH", conflicts_with_all = ["set", "unset"])]
    value_file: Option<PathBuf>,
    /// Change the value at a JSON pointer; what is no JSON is text; may be given several times
    #[arg(long, value_name = "POINTER=JSON", value_parser = Change::parse_set)]
    set: Vec<Change>,
    /// Take out of the value what is at a JSON pointer, after --set; may be given several times
    #[arg(long, value_name = "POINTER", value_parser = Change::parse_unset)]
    unset: Vec<Change>,
    /// Only show the new value
    #[arg(long)]
    dry_run: bool,
}

impl Edit {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let mut desk = Desk::open(&mut client, &self.group, self.topic.as_deref(), connect).await?;
        let mut letter = desk.letters.one(&mut client, &self.entry).await?;
        if desk.letters.decision(&letter).is_some() {
            let (group, entry) = (&self.group, letter.entry);
            return Err(Ended::failed(format!(
                "entry {entry} was decided about before: `ottla dlq show {group} {entry}` says how"
            )));
        }
        let value = self.value(&letter)?;
        let is_same = letter.value.as_ref() == Some(&value);
        letter.value = Some(value);
        if !self.dry_run && !is_same {
            desk.commit(&mut client, std::slice::from_ref(&letter), Verdict::Redrive).await?;
        }
        let is_redriven = !self.dry_run && !is_same;
        let value = letter.value.as_deref().unwrap_or_default();
        if connect.json {
            return out.json(&json!({
                "group": self.group,
                "entry": letter.entry.to_string(),
                "event_id": letter.event_id,
                "redriven": is_redriven,
                "value": String::from_utf8_lossy(value),
            }));
        }
        out.line(shown(value))?;
        let (entry, group) = (letter.entry, &self.group);
        out.line(match (is_same, self.dry_run) {
            (true, _) => {
                format!("nothing was changed, and entry {entry} of group {group} is not redriven")
            }
            (_, true) => {
                format!("entry {entry} of group {group} would be redriven with this value")
            }
            (_, false) => format!("entry {entry} of group {group} is redriven with this value"),
        })
    }

    /// The new value.
    fn value(&self, letter: &DeadLetter) -> Result<Bytes, Ended> {
        if let Some(path) = &self.value_file {
            let failed =
                |error| Ended::failed(format!("{} cannot be read: {error}", path.display()));
            return read(File::open(path).map_err(failed)?).map_err(failed);
        }
        let changes: Vec<_> = self.set.iter().chain(&self.unset).cloned().collect();
        if changes.is_empty() {
            return edited(letter);
        }
        changed(letter.value.as_ref(), &changes).map_err(Ended::failed)
    }
}

fn read(file: File) -> std::io::Result<Bytes> {
    let mut value = Vec::new();
    file.take(VALUE_BYTES_MAX).read_to_end(&mut value)?;
    Ok(Bytes::from(value))
}

/// Lets the user change the value in an editor. A line feed that the editor puts at the end is none of the value's.
fn edited(letter: &DeadLetter) -> Result<Bytes, Ended> {
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok());
    let editor = editor.filter(|_| std::io::stdin().is_terminal()).unwrap_or_default();
    // Perhaps with flags: `code --wait`.
    let mut words = editor.split_whitespace();
    let Some(program) = words.next() else {
        let text = "say what to change: --set POINTER=JSON, --unset POINTER or --value-file PATH";
        return Err(Ended::Usage(text.to_owned()));
    };
    let path = std::env::temp_dir().join(format!("ottla-{}.json", Ids::random().uuid()));
    let failed = |error| Ended::failed(format!("{} cannot be edited: {error}", path.display()));
    let value = letter.value.as_deref().unwrap_or_default();
    let before = shown(value);
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(&path).map_err(failed)?;
    file.write_all(before.as_bytes()).map_err(failed)?;
    let status = Command::new(program).args(words).arg(&path).status();
    // An editor may have put another file in its place.
    let after = File::open(&path).and_then(read);
    #[expect(clippy::disallowed_methods, reason = "a file of our own, of no log")]
    let removed = std::fs::remove_file(&path);
    let status = status.map_err(failed)?;
    let after = after.map_err(failed)?;
    removed.map_err(failed)?;
    if !status.success() {
        return Err(Ended::failed(format!("the editor ended with {status}: nothing was changed")));
    }
    let text = after.strip_suffix(b"\n").unwrap_or(&after);
    let is_same = text == before.as_bytes() || after == before.as_bytes();
    Ok(if is_same { Bytes::copy_from_slice(value) } else { Bytes::copy_from_slice(text) })
}
