//! `ottla log check`: reads every byte of the logs in a data folder.

use serde_json::{Value, json};

use super::super::ended::Ended;
use super::super::output::{Output, tell};
use super::super::progress::Progress;
use super::super::settings::DataDir;
use super::{damage_json, decode, open, topic_of, unknown};
use crate::broker::{Access, OfflineFolder, StrayFate, snapshot_damage};
use crate::clock::Clock;
use crate::log::Damage;
use crate::log::inspect::{Found, Inspection, SegmentFile, inspect};
use crate::partition::{ProducerSlots, Producers};
use crate::records::{ControlRecord, ValidBatch};
use crate::types::Offset;

/// Bytes that the records of one batch may unpack to.
const BATCH_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Read every batch of every partition and say what is damaged
///
/// Nothing is changed. Checked are checksums, offsets, indexes, and what the broker's own journals
/// say. A tail that a crash left half written is no damage: the next start cuts it off. Exit code 1
/// if anything is damaged, 3 while a broker runs on the folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Only these, named as their folders: orders-0
    partition: Vec<String>,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// A partition and all that is wrong with it.
struct Checked {
    name: String,
    log: Inspection,
    damage: Vec<Damage>,
    /// Who wrote to it, and in which transactions.
    producers: Producers,
}

impl Check {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` with everything that is damaged; see [`Ended`].
    pub(crate) fn run(self, data_dir: &DataDir, out: &mut Output) -> Result<(), Ended> {
        let folder = open(&data_dir.path()?, Access::Alone)?;
        let there = folder.partitions().map_err(|error| unreadable(&folder, &error))?;
        if let Some(missing) = self.partition.iter().find(|name| !there.contains(name)) {
            return Err(unknown(&folder, missing));
        }
        let names = if self.partition.is_empty() { &there } else { &self.partition };
        let mut checked = check(&folder, names)?;
        let mut notes = Vec::new();
        if self.partition.is_empty() {
            compare_with_catalog(&folder, &there, &mut checked, &mut notes)?;
        }
        notes.extend(checked.iter().flat_map(|one| one.log.notes.clone()));
        notes.extend(checked.iter().flat_map(open_transactions));
        if self.json {
            let partitions: Vec<_> = checked.iter().map(as_json).collect();
            out.json(&json!({
                "data_dir": folder.path().display().to_string(),
                "partitions": partitions,
                "notes": notes,
            }))?;
        } else {
            let header = ["PARTITION", "SEGMENTS", "RECORDS", "BYTES", "START", "END", "STATE"];
            out.table(&header, checked.iter().map(row).collect())?;
            out.flush()?;
            notes.iter().for_each(|note| tell(format_args!("note: {note}")));
        }
        let damage = checked.iter().flat_map(|one| one.damage.iter().map(Damage::to_string));
        Ended::unless_empty(damage.collect())
    }
}

fn unreadable(folder: &OfflineFolder, error: &std::io::Error) -> Ended {
    Ended::failed(format!("{} cannot be read: {error}", folder.path().display()))
}

fn check(folder: &OfflineFolder, names: &[String]) -> Result<Vec<Checked>, Ended> {
    let clock = Clock::system();
    let mut progress = Progress::new("bytes", None, &clock);
    let mut bytes = 0;
    let mut checked = Vec::new();
    for name in names {
        let mut damage = Vec::new();
        let mut producers = Producers::new(ProducerSlots::new(usize::MAX));
        let mut each = |segment: &SegmentFile, found: Found<'_>| {
            if let Found::Batch { position, batch } = found {
                bytes += batch.size_bytes();
                progress.at(bytes, || format!("{bytes} bytes, {name}"));
                producers.record(batch);
                damage.extend(undecodable(topic_of(name), segment, position, batch));
            }
        };
        let log = inspect(folder.fs(), &folder.dir(name), folder.checkpoint(name), &mut each);
        let log = log.map_err(|error| Ended::failed(format!("{name} cannot be read: {error}")))?;
        damage.extend(log.damage().cloned());
        if topic_of(name) == "__cluster_metadata" {
            damage.extend(snapshot_damage(folder).map_err(|error| unreadable(folder, &error))?);
        }
        checked.push(Checked { name: name.clone(), log, damage, producers });
    }
    Ok(checked)
}

/// Those that no marker has ended: no damage, but read_committed consumers wait for one.
fn open_transactions(one: &Checked) -> Vec<String> {
    let told = |(producer_id, epoch, first): (i64, i16, i64)| {
        let name = &one.name;
        format!(
            "{name}: producer {producer_id} of epoch {epoch} has a transaction open from offset {first}"
        )
    };
    without_marker(&one.producers).map(told).collect()
}

/// Producer id, epoch and first offset of each open transaction.
fn without_marker(producers: &Producers) -> impl Iterator<Item = (i64, i16, i64)> {
    producers.describe().into_iter().filter_map(|state| {
        let first = state.transaction_start?;
        Some((state.producer_id.0, state.producer_epoch.0, first.0))
    })
}

/// A record of the broker's own that is none.
fn undecodable(
    topic: &str,
    segment: &SegmentFile,
    position: u64,
    batch: &ValidBatch,
) -> Option<Damage> {
    let records = batch.records(BATCH_BYTES_MAX).ok()?;
    if batch.header().attributes.is_control() {
        let broken = records.iter().flatten().find(|it| ControlRecord::decode(it).is_none())?;
        let (file, reason) = (segment.path.clone(), "no control record".to_owned());
        return Some(Damage { file, position, offset: broken.offset, reason });
    }
    if !topic.starts_with("__") {
        return None;
    }
    records.iter().flatten().find_map(|record| {
        let record = records.own(&record);
        let reason = decode::decode(topic, record.key, record.value)?.err()?;
        Some(Damage { file: segment.path.clone(), position, offset: record.offset, reason })
    })
}

/// Finds partitions without a folder, and folders without a partition.
fn compare_with_catalog(
    folder: &OfflineFolder,
    there: &[String],
    checked: &mut Vec<Checked>,
    notes: &mut Vec<String>,
) -> Result<(), Ended> {
    let expected = folder.expected_partitions().map_err(|error| unreadable(folder, &error))?;
    for (name, was_written) in expected.iter().filter(|(name, _)| !there.contains(name)) {
        if !was_written {
            notes.push(format!("{name}: no folder yet, the next start makes it"));
            continue;
        }
        let reason = "the folder is missing".to_owned();
        let (file, offset) = (folder.dir(name), Offset(0));
        let damage = vec![Damage { file, position: 0, offset, reason }];
        let (log, producers) = (Inspection::default(), Producers::new(ProducerSlots::new(0)));
        checked.push(Checked { name: name.clone(), log, damage, producers });
    }
    let is_own = |name: &str| topic_of(name).starts_with("__");
    for name in there.iter().filter(|name| !expected.contains_key(*name) && !is_own(name)) {
        let fate = folder.fate_of_stray(name).map_err(|error| unreadable(folder, &error))?;
        notes.push(match fate {
            StrayFate::LeftAlone => format!("{name}: not made by ottla: it stays"),
            StrayFate::Removed => format!("{name}: of a deleted topic: the next start removes it"),
            StrayFate::Kept => format!(
                "{name}: of a topic that the catalog does not know: the next start keeps it as \
                 {name}.UUID-stray"
            ),
        });
    }
    for name in folder.kept_strays().map_err(|error| unreadable(folder, &error))? {
        notes.push(format!(
            "{name}: of a topic that the catalog did not know: never removed by ottla; remove it \
             once nobody misses its records"
        ));
    }
    Ok(())
}

fn state(one: &Checked) -> String {
    match (&one.log.torn, one.damage.len()) {
        (_, count @ 1..) => {
            format!("damaged in {count} place{}", if count == 1 { "" } else { "s" })
        }
        (Some(torn), 0) => format!("ok, {} bytes of an unfinished write", torn.length),
        (None, 0) => "ok".to_owned(),
    }
}

fn row(one: &Checked) -> Vec<String> {
    vec![
        one.name.clone(),
        one.log.segments.len().to_string(),
        one.log.records.to_string(),
        one.log.size_bytes().to_string(),
        one.log.start.to_string(),
        one.log.end.to_string(),
        state(one),
    ]
}

fn as_json(one: &Checked) -> Value {
    json!({
        "partition": one.name,
        "segments": one.log.segments.len(),
        "batches": one.log.batches,
        "records": one.log.records,
        "bytes": one.log.size_bytes(),
        "log_start_offset": one.log.start.0,
        "log_end_offset": one.log.end.0,
        "aborted_transactions": one.producers.aborted_count(),
        "open_transactions": without_marker(&one.producers)
            .map(|(producer_id, producer_epoch, first_offset)| json!({
                "producer_id": producer_id,
                "producer_epoch": producer_epoch,
                "first_offset": first_offset,
            }))
            .collect::<Vec<_>>(),
        "unfinished_bytes": one.log.torn.as_ref().map_or(0, |torn| torn.length),
        "damage": one.damage.iter().map(damage_json).collect::<Vec<_>>(),
    })
}
