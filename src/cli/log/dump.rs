//! `ottla log dump`: prints the batches and records of a partition's log, or of one file.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::super::ended::Ended;
use super::super::format::put_json;
use super::super::output::Output;
use super::super::settings::DataDir;
use super::super::time;
use super::{decode, open, topic_of, unknown};
use crate::broker::Access;
use crate::log::fs::{Fs, RealFs};
use crate::log::inspect::{Found, Hole, segment_files, walk_file};
use crate::log::layout;
use crate::records::{ControlRecord, Outcome, OwnedRecord, ValidBatch};
use crate::types::Offset;

/// Bytes that the records of one batch may unpack to.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Print the batches and records of a partition or a file
///
/// Records of `__consumer_offsets` and `__cluster_metadata`, and the markers of transactions, are
/// printed with their meaning. It only
/// reads, and may run beside a broker: a batch that is just being written is told as such. Exit code
/// 1 if there is damage in what was printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Dump {
    /// A partition, named as its folder (orders-0), or a .log or .checkpoint file
    #[arg(value_name = "PARTITION|FILE")]
    what: String,
    /// Begin with the batch that has this offset
    #[arg(long, default_value_t = 0)]
    offset: i64,
    /// Print at most so many records
    #[arg(long, value_name = "RECORDS")]
    max: Option<u64>,
    /// Print one line of JSON a batch, for scripts
    #[arg(long)]
    json: bool,
    /// Print keys and values, not only their sizes
    #[arg(long)]
    values: bool,
}

/// What was met so far.
struct State {
    topic: String,
    left: u64,
    complaints: Vec<String>,
}

impl Dump {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` with the damage met; see [`Ended`].
    pub(crate) fn run(self, data_dir: &DataDir, out: &mut Output) -> Result<(), Ended> {
        let (topic, files) = self.files(data_dir)?;
        let mut state = State { topic, left: self.max.unwrap_or(u64::MAX), complaints: Vec::new() };
        let count = files.len();
        for (number, file) in files.iter().enumerate() {
            let begins_later = files.get(number + 1).and_then(|next| base_of(next));
            if begins_later.is_some_and(|next| next.0 <= self.offset) || state.left == 0 {
                continue;
            }
            self.file(file, number + 1 == count, &mut state, out)?;
        }
        out.flush()?;
        Ended::unless_empty(state.complaints)
    }

    /// The topic that the records are of, and the files to read.
    fn files(&self, data_dir: &DataDir) -> Result<(String, Vec<PathBuf>), Ended> {
        let path = Path::new(&self.what);
        let is_file = self.what.contains('/')
            || path.extension().is_some_and(|ending| ending == "log" || ending == "checkpoint");
        if is_file {
            let above = std::path::absolute(path).ok();
            let above = above.as_deref().and_then(Path::parent).and_then(Path::file_name);
            let topic = above.and_then(|name| name.to_str()).map(topic_of).unwrap_or_default();
            return Ok((topic.to_owned(), vec![path.to_owned()]));
        }
        let folder = open(&data_dir.path()?, Access::Shared)?;
        let dir = folder.dir(&self.what);
        if layout::parse_partition_folder(&self.what).is_none() || !folder.fs().exists(&dir) {
            return Err(unknown(&folder, &self.what));
        }
        let segments =
            segment_files(folder.fs(), &dir).map_err(|error| unreadable(&dir, &error))?;
        let files = segments.into_iter().map(|segment| segment.path).collect();
        Ok((topic_of(&self.what).to_owned(), files))
    }

    fn file(
        &self,
        path: &Path,
        is_last: bool,
        state: &mut State,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let mut expected = base_of(path).unwrap_or(Offset(0));
        let mut outcome = Ok(());
        let walked = walk_file(&RealFs as &dyn Fs, path, &mut expected, true, &mut |found| {
            outcome = match found {
                Found::Batch { position, batch } => self.batch(path, position, batch, state, out),
                Found::Hole(hole) => self.hole(hole, is_last, state, out),
            };
            if outcome.is_ok() && state.left > 0 {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        outcome?;
        walked.map_err(|error| unreadable(path, &error))
    }

    fn batch(
        &self,
        path: &Path,
        position: u64,
        batch: &ValidBatch,
        state: &mut State,
        out: &mut Output,
    ) -> Result<(), Ended> {
        if batch.header().next_offset().0 <= self.offset {
            return Ok(());
        }
        let mut shown = Vec::new();
        let records = batch.records(BATCH_BYTES_MAX);
        match &records {
            Err(error) => state.complaints.push(in_batch(path, position, error)),
            Ok(records) => {
                for record in records {
                    let Ok(record) = record.map_err(|error| {
                        state.complaints.push(in_batch(path, position, &error));
                    }) else {
                        break;
                    };
                    if record.offset.0 >= self.offset && state.left > 0 {
                        state.left -= 1;
                        let is_control = batch.header().attributes.is_control();
                        let meaning = if is_control {
                            Some(control(batch, ControlRecord::decode(&record)))
                        } else {
                            meaning(&state.topic, records.own(&record))
                        };
                        shown.push(self.record(records.own(&record), meaning));
                    }
                }
            }
        }
        if self.json {
            let mut line = head_json(path, position, batch);
            line.insert("records".to_owned(), shown.into_iter().map(|(json, _)| json).collect());
            return out.json_line(&Value::Object(line));
        }
        out.line(head_line(path, position, batch))?;
        shown.into_iter().try_for_each(|(_, line)| out.line(format_args!("  {line}")))
    }

    /// A record, as JSON and as a line.
    fn record(&self, record: OwnedRecord, meaning: Option<Meaning>) -> (Value, String) {
        let mut json = Map::new();
        json.insert("offset".to_owned(), json!(record.offset.0));
        json.insert("timestamp".to_owned(), json!(record.timestamp.0));
        let mut line = format!("{} {}", record.offset, time::show(record.timestamp));
        let parts = [("key", record.key.as_deref()), ("value", record.value.as_deref())];
        for (name, bytes) in parts {
            json.insert(format!("{name}_bytes"), json!(bytes.map(<[u8]>::len)));
            let size = bytes.map_or("null".to_owned(), |bytes| format!("{} bytes", bytes.len()));
            if self.values {
                put_json(&mut json, name, bytes);
                let text = bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
                line.push_str(&format!(", {name} {text:?}"));
            } else {
                line.push_str(&format!(", {name} {size}"));
            }
        }
        json.insert("headers".to_owned(), json!(record.headers.len()));
        if !record.headers.is_empty() {
            line.push_str(&format!(", {} headers", record.headers.len()));
        }
        if let Some(Meaning { json: meaning, text }) = meaning {
            line.push_str(&format!(": {text}"));
            if let Some(meaning) = meaning {
                json.insert("meaning".to_owned(), meaning);
            }
        }
        (Value::Object(json), line)
    }

    fn hole(
        &self,
        hole: &Hole,
        is_last: bool,
        state: &mut State,
        out: &mut Output,
    ) -> Result<(), Ended> {
        let Hole { damage, length, next, .. } = hole;
        let is_tail = is_last && next.is_none();
        if !is_tail {
            state.complaints.push(damage.to_string());
        }
        if self.json {
            return out.json_line(&json!({
                "file": damage.file.display().to_string(),
                "position": damage.position,
                "size": length,
                "expected_offset": damage.offset.0,
                "next_offset": next.map(|next| next.0),
                "reason": damage.reason,
                "is_tail": is_tail,
            }));
        }
        let what = if is_tail { "unfinished write, or one under way" } else { "damage" };
        let (position, reason) = (damage.position, &damage.reason);
        out.line(format_args!("{what}: {length} bytes at byte {position}: {reason}"))
    }
}

/// What a record of the broker's own says; no JSON where it says nothing that is known.
struct Meaning {
    json: Option<Value>,
    text: String,
}

fn meaning(topic: &str, record: OwnedRecord) -> Option<Meaning> {
    Some(match decode::decode(topic, record.key, record.value)? {
        Ok(json) => Meaning { text: json.to_string(), json: Some(json) },
        Err(reason) => Meaning { json: None, text: format!("no record of {topic}: {reason}") },
    })
}

/// What a control record says.
fn control(batch: &ValidBatch, record: Option<ControlRecord>) -> Meaning {
    match record {
        Some(ControlRecord::End(marker)) => {
            let outcome = match marker.outcome {
                Outcome::Commit => "commit",
                Outcome::Abort => "abort",
            };
            let (producer_id, epoch) = (batch.header().producer_id, marker.coordinator_epoch);
            let text = format!(
                "{outcome} of the transaction of producer {producer_id}, coordinator epoch {epoch}"
            );
            let json = json!({ "marker": outcome, "coordinator_epoch": epoch });
            Meaning { json: Some(json), text }
        }
        Some(ControlRecord::Other(kind)) => {
            Meaning { json: None, text: format!("control record of type {kind}") }
        }
        None => Meaning { json: None, text: "no control record".to_owned() },
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Ended {
    Ended::failed(format!("{} cannot be read: {error}", path.display()))
}

fn in_batch(path: &Path, position: u64, error: &dyn std::fmt::Display) -> String {
    format!("{}: batch at byte {position}: {error}", path.display())
}

/// The offset in a file's name.
fn base_of(path: &Path) -> Option<Offset> {
    layout::parse_segment_file(path.file_name()?.to_str()?)
}

fn head_line(path: &Path, position: u64, batch: &ValidBatch) -> String {
    let header = batch.header();
    let file = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let mut line = format!(
        "{}..={} in {file} at byte {position}: {} records, {} bytes, epoch {}, codec {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.size_bytes(),
        header.leader_epoch,
        codec(batch),
    );
    if header.producer_id.0 >= 0 {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        line.push_str(&format!(", producer {id} epoch {epoch} from {}", header.base_sequence));
    }
    let flags = [
        (header.attributes.is_transactional(), ", transactional"),
        (header.attributes.is_control(), ", control"),
        (header.attributes.is_append_time(), ", append time"),
        (header.attributes.has_delete_horizon(), ", delete horizon"),
    ];
    flags.iter().filter(|(set, _)| *set).for_each(|(_, text)| line.push_str(text));
    line
}

fn head_json(path: &Path, position: u64, batch: &ValidBatch) -> Map<String, Value> {
    let header = batch.header();
    let value = json!({
        "file": path.display().to_string(),
        "position": position,
        "size": header.size_bytes(),
        "base_offset": header.base_offset.0,
        "last_offset": header.last_offset().0,
        "record_count": header.record_count,
        "leader_epoch": header.leader_epoch.0,
        "max_timestamp": header.max_timestamp.0,
        "codec": codec(batch),
        "crc": header.crc,
        "producer_id": header.producer_id.0,
        "producer_epoch": header.producer_epoch.0,
        "base_sequence": header.base_sequence,
        "is_transactional": header.attributes.is_transactional(),
        "is_control": header.attributes.is_control(),
        "is_append_time": header.attributes.is_append_time(),
    });
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn codec(batch: &ValidBatch) -> String {
    let codec = batch.header().attributes.codec();
    codec.map_or("unknown".to_owned(), |codec| format!("{codec:?}").to_lowercase())
}
