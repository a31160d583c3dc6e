//! The catalog in one file, so that its journal need not be kept for ever.
//!
//! A snapshot has Kafka's form: the file `OFFSET-EPOCH.checkpoint` in the journal's folder holds record
//! batches with offsets from 0 on: a control batch with a SnapshotHeader (type 3), the records that make
//! an equal catalog, and a control batch with a SnapshotFooter (type 4). OFFSET is the first one that is
//! not in it. It is on disk before the journal loses what lies before OFFSET.
//!
//! A snapshot that is not whole is never used. As long as the journal still has everything it is not
//! needed either; otherwise the start is refused: no older state comes back in silence.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Broker;
use crate::catalog::CatalogRecord;
use crate::log::fs::Fs;
use crate::log::{Damage, LogError};
use crate::records::{BatchBuilder, BuildError, ControlRecord, NewRecord, ValidBatch};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// What a snapshot's name ends in.
pub(super) const SUFFIX: &str = ".checkpoint";
/// The largest that is read, in bytes.
const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// A batch is closed when it has so many bytes.
const BATCH_BYTES: usize = 512 * 1024;
/// Bytes that the records of one batch may unpack to.
const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;
const HEADER: i16 = 3;
const FOOTER: i16 = 4;
/// What the journal's batches carry: one broker, one leadership.
const EPOCH: LeaderEpoch = LeaderEpoch(0);

/// A catalog up to some offset of its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// The first offset of the journal that is not in it.
    pub end: Offset,
    /// The values of its records.
    pub values: Vec<Bytes>,
}

/// Why there is no way to the catalog's state.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    /// The one that is needed is not whole.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// The journal begins later, and nothing says what was before.
    #[error("records before offset {0} are gone, and there is no snapshot that has them")]
    Missing(Offset),
    /// The journal ends before the snapshot does.
    #[error("the journal ends at offset {end}, before its snapshot {}", path.display())]
    Behind {
        /// The snapshot.
        path: PathBuf,
        /// The journal's end.
        end: Offset,
    },
    /// The file system refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// The offset in a snapshot's name; `None` for any other name.
pub(super) fn parse_name(name: &str) -> Option<Offset> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let is_number = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(offset, 20) || !is_number(epoch, 10) {
        return None;
    }
    offset.parse().ok().map(Offset)
}

fn name(end: Offset) -> String {
    format!("{:020}-{:010}{SUFFIX}", end.0, EPOCH.0)
}

/// The snapshots in a folder, newest first.
pub(super) fn list(fs: &dyn Fs, dir: &Path) -> io::Result<Vec<(Offset, PathBuf)>> {
    if !fs.exists(dir) {
        return Ok(Vec::new());
    }
    let entries = fs.list(dir)?.into_iter().filter(|entry| !entry.is_dir);
    let mut found: Vec<_> = entries
        .filter_map(|entry| Some((parse_name(&entry.name)?, dir.join(&entry.name))))
        .collect();
    found.sort();
    found.reverse();
    Ok(found)
}

/// The newest whole snapshot that a journal with offsets from `start` to `end` goes on from; `None`
/// where the journal has everything by itself.
///
/// # Errors
/// See [`SnapshotError`].
pub(super) fn newest(
    fs: &dyn Fs,
    dir: &Path,
    (start, end): (Offset, Offset),
) -> Result<Option<Snapshot>, SnapshotError> {
    let fault = |path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotError::Io { path, source }
    };
    let mut refused: Option<SnapshotError> = None;
    for (offset, path) in list(fs, dir).map_err(fault(dir))? {
        if offset > end {
            return Err(SnapshotError::Behind { path, end });
        }
        if offset < start {
            break;
        }
        match read(fs, &path, offset).map_err(fault(&path))? {
            Ok(snapshot) => return Ok(Some(snapshot)),
            Err(damage) => {
                tracing::warn!(%damage, "snapshot of the catalog not used");
                refused.get_or_insert(damage.into());
            }
        }
    }
    if start == Offset(0) {
        return Ok(None);
    }
    Err(refused.unwrap_or(SnapshotError::Missing(start)))
}

/// Reads a snapshot; the inner error is what is wrong with it.
pub(super) fn read(fs: &dyn Fs, path: &Path, end: Offset) -> io::Result<Result<Snapshot, Damage>> {
    let mut left = Bytes::from(fs.read(path, SNAPSHOT_BYTES_MAX)?);
    let size = left.len();
    let mut snapshot = Snapshot { end, values: Vec::new() };
    let (mut expected, mut has_header, mut has_footer) = (Offset(0), false, false);
    loop {
        let position = (size - left.len()) as u64;
        let damage = |reason: String| {
            Ok(Err(Damage { file: path.to_owned(), position, offset: expected, reason }))
        };
        if left.is_empty() {
            return match has_footer {
                true => Ok(Ok(snapshot)),
                false => damage("it ends without a footer".to_owned()),
            };
        }
        let batch = match next_batch(&mut left) {
            Ok(batch) => batch,
            Err(reason) => return damage(reason),
        };
        let is_control = batch.header().attributes.is_control();
        let kind = is_control.then(|| control_type(&batch)).flatten();
        let fits = batch.header().base_offset == expected
            && !has_footer
            && has_header == (kind != Some(HEADER))
            && is_control == kind.is_some();
        if !fits {
            return damage(format!("batch at offset {} has no place", batch.header().base_offset));
        }
        if !is_control && let Err(reason) = take_values(&batch, &mut snapshot.values) {
            return damage(reason);
        }
        (has_header, has_footer) = (true, kind == Some(FOOTER));
        expected = batch.header().next_offset();
    }
}

fn next_batch(left: &mut Bytes) -> Result<ValidBatch, String> {
    let header = crate::records::BatchHeader::parse(left).map_err(|error| error.to_string())?;
    let length = usize::try_from(header.size_bytes()).map_err(|error| error.to_string())?;
    if length > left.len() {
        return Err(format!("batch of {length} bytes is cut"));
    }
    ValidBatch::parse_stored(left.split_to(length)).map_err(|error| error.to_string())
}

fn control_type(batch: &ValidBatch) -> Option<i16> {
    let records = batch.records(BATCH_BYTES_MAX).ok()?;
    let record = records.iter().next()?.ok()?;
    match ControlRecord::decode(&record)? {
        ControlRecord::Other(kind @ (HEADER | FOOTER)) => Some(kind),
        ControlRecord::Other(_) | ControlRecord::End(_) => None,
    }
}

fn take_values(batch: &ValidBatch, values: &mut Vec<Bytes>) -> Result<(), String> {
    let records = batch.records(BATCH_BYTES_MAX).map_err(|error| error.to_string())?;
    for record in &records {
        let record = records.own(&record.map_err(|error| error.to_string())?);
        values.push(record.value.unwrap_or_default());
    }
    Ok(())
}

/// A snapshot's bytes.
fn encode(records: &[CatalogRecord], now: Timestamp) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut next = Offset(0);
    let mut put = |batch: Result<ValidBatch, BuildError>| -> Result<(), String> {
        let mut batch = batch.map_err(|error| error.to_string())?;
        batch.assign(next, EPOCH);
        next = batch.header().next_offset();
        out.extend_from_slice(&batch.to_bytes());
        Ok(())
    };
    // Version 0 (i16), then of the header the time of the last record in it, then no tagged fields.
    let [a, b, c, d, e, f, g, h] = now.0.to_be_bytes();
    put(control(HEADER, &[0, 0, a, b, c, d, e, f, g, h, 0], now))?;
    let mut builder = BatchBuilder::new();
    for record in records {
        let value = record.encode().map_err(|error| error.to_string())?;
        builder.push(&NewRecord { timestamp: now, key: None, value: Some(&value), headers: &[] });
        if builder.size_bytes() >= BATCH_BYTES {
            put(std::mem::take(&mut builder).build())?;
        }
    }
    if builder.count() > 0 {
        put(builder.build())?;
    }
    put(control(FOOTER, &[0, 0, 0], now))?;
    Ok(out)
}

fn control(kind: i16, value: &[u8], timestamp: Timestamp) -> Result<ValidBatch, BuildError> {
    let [high, low] = kind.to_be_bytes();
    let mut builder = BatchBuilder::new().control();
    let key = [0, 0, high, low];
    builder.push(&NewRecord { timestamp, key: Some(&key), value: Some(value), headers: &[] });
    builder.build()
}

impl Broker {
    /// Writes a snapshot of the catalog once its journal has grown by
    /// metadata.log.max.record.bytes.between.snapshots, and lets go of what is in it.
    pub fn watch_catalog_size(&self) {
        let journal = self.catalog_journal.partition();
        let limit = u64::try_from(self.config.metadata_log_max_record_bytes_between_snapshots);
        if journal.is_offline() || journal.size_bytes() < limit.unwrap_or(u64::MAX) {
            return;
        }
        if let Err(error) = self.snapshot_catalog() {
            tracing::warn!(error, "no snapshot of the catalog: its journal goes on growing");
        }
    }

    fn snapshot_catalog(&self) -> Result<(), String> {
        let journal = self.catalog_journal.partition();
        let (records, end) =
            self.look_at_catalog(|catalog| (catalog.to_records(), self.catalog_journal.end()));
        if journal.durable_end() < end {
            return Ok(()); // What a crash could still take back is in no snapshot.
        }
        let now = self.clock.now().wall;
        let folder = crate::log::layout::partition_folder(&journal.topic, journal.index);
        let (fs, dir) = (&*self.folder.fs, self.folder.path.join(folder));
        let path = dir.join(name(end));
        let bytes = encode(&records, now)?;
        fs.atomic_write(&path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        let shortened = journal.with_log(|log| -> Result<(), LogError> {
            log.advance_start(end)?;
            log.enforce_retention(now, end)?;
            log.remove_due(now).map(drop)
        });
        shortened.map_err(|error| error.to_string())?;
        tracing::info!(%end, bytes = bytes.len(), "snapshot of the catalog");
        for (offset, path) in list(fs, &dir).map_err(|error| error.to_string())? {
            if offset < end {
                fs.remove_file(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::records::TopicRecord;
    use crate::log::fs::MemoryFs;

    fn records(count: u128) -> Vec<CatalogRecord> {
        let topic = |number| {
            let topic_id = uuid::Uuid::from_u128(number);
            CatalogRecord::Topic(TopicRecord { name: format!("topic-{number}"), topic_id })
        };
        (1..=count).map(topic).collect()
    }

    fn put(fs: &MemoryFs, end: i64, bytes: &[u8]) -> PathBuf {
        let dir = Path::new("/data");
        fs.create_dir_all(dir).unwrap();
        let path = dir.join(name(Offset(end)));
        fs.atomic_write(&path, bytes).unwrap();
        path
    }

    fn values(records: &[CatalogRecord]) -> Vec<Bytes> {
        records.iter().map(|record| record.encode().unwrap()).collect()
    }

    #[test]
    fn a_snapshot_comes_back() {
        let fs = MemoryFs::new();
        for count in [0, 1, 20_000] {
            let records = records(count);
            let path = put(&fs, 7, &encode(&records, Timestamp(5)).unwrap());
            let found = read(&fs, &path, Offset(7)).unwrap().unwrap();
            assert_eq!(found.values, values(&records));
        }
    }

    #[test]
    fn kafkas_own_snapshot_is_read() {
        let fs = MemoryFs::new();
        let path = put(&fs, 0, include_bytes!("../../tests/vectors/bootstrap.checkpoint"));
        let found = read(&fs, &path, Offset(0)).unwrap().unwrap();
        assert_eq!(found.values.len(), 6);
        assert!(found.values.iter().all(|value| CatalogRecord::decode(value.clone()).is_ok()));
    }

    #[test]
    fn no_part_of_a_snapshot_and_no_flipped_bit_is_taken_for_one() {
        let fs = MemoryFs::new();
        let records = records(3);
        let whole = encode(&records, Timestamp(5)).unwrap();
        for cut in 0..whole.len() {
            let path = put(&fs, 7, whole.get(..cut).unwrap());
            assert!(read(&fs, &path, Offset(7)).unwrap().is_err(), "cut at {cut}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let path = put(&fs, 7, &bytes);
            if let Ok(found) = read(&fs, &path, Offset(7)).unwrap() {
                assert_eq!(found.values, values(&records), "bit {bit}");
            }
        }
    }

    #[test]
    fn only_a_snapshot_that_the_journal_goes_on_from_is_used() {
        let fs = MemoryFs::new();
        let dir = Path::new("/data");
        let find = |start, end| newest(&fs, dir, (Offset(start), Offset(end)));
        assert!(find(0, 9).unwrap().is_none());
        assert!(matches!(find(3, 9), Err(SnapshotError::Missing(Offset(3)))));
        let older = records(1);
        put(&fs, 4, &encode(&older, Timestamp(5)).unwrap());
        let path = put(&fs, 8, &encode(&records(2), Timestamp(5)).unwrap());
        assert_eq!(find(0, 9).unwrap().unwrap().end, Offset(8));
        assert_eq!(find(8, 8).unwrap().unwrap().end, Offset(8));
        assert!(matches!(find(0, 7), Err(SnapshotError::Behind { .. })));
        assert!(matches!(find(9, 9), Err(SnapshotError::Missing(_))));
        let whole = fs.read(&path, u64::MAX).unwrap();
        put(&fs, 8, whole.get(..whole.len() - 1).unwrap());
        assert_eq!(find(2, 9).unwrap().unwrap().values, values(&older), "the journal has the rest");
        assert!(matches!(find(5, 9), Err(SnapshotError::Damaged(_))));
        put(&fs, 4, b"");
        assert!(find(0, 9).unwrap().is_none(), "the journal has all of it");
        assert!(matches!(find(2, 9), Err(SnapshotError::Damaged(_))));
    }
}
