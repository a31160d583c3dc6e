//! What compaction leaves of a batch: fewer records in the same frame, or the frame alone.
//!
//! Base and last offset, producer, sequence, leader epoch and codec stay as they were, so a batch
//! spans the offsets it always did and its producer's last sequence can still be told. With a delete
//! horizon (KIP-534) the attributes say so and the horizon stands where the base timestamp was; the
//! records' timestamps count from it then.

use std::sync::Arc;

use super::batch::{BatchError, ValidBatch};
use super::builder::seal;
use super::compression::{Codec, Compression, compress};
use super::header::BatchHeader;
use super::record::{NewRecord, Record, put_record};
use crate::types::Timestamp;

impl BatchHeader {
    /// From when on the batch's tombstones, or its marker, may go; `None` if no compaction has met
    /// them yet.
    pub fn delete_horizon(&self) -> Option<Timestamp> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }
}

impl ValidBatch {
    /// The batch with only `kept` of its records, which must be in order: a copy with a new CRC.
    /// A `delete_horizon` is written into it; without one it keeps the one it has, if any.
    ///
    /// # Errors
    /// `Codec`, `Compression`; `TooLarge` if the records no longer fit into a batch.
    pub fn with_records(
        &self,
        kept: &[Record<'_>],
        delete_horizon: Option<Timestamp>,
    ) -> Result<Self, BatchError> {
        let mut header = *self.header();
        let attributes = header.attributes;
        if let Some(horizon) = delete_horizon {
            header.attributes = attributes.with_delete_horizon(true);
            header.base_timestamp = horizon;
        }
        let mut area = Vec::new();
        for record in kept {
            let delta = if attributes.is_append_time() {
                record.timestamp_delta // The batch has the time of all its records.
            } else {
                record.timestamp.0.wrapping_sub(header.base_timestamp.0)
            };
            put(&mut area, delta, record);
        }
        if !attributes.is_append_time()
            && let Some(max) = kept.iter().map(|record| record.timestamp).max()
        {
            header.max_timestamp = max;
        }
        let size_bytes = u64::try_from(area.len()).unwrap_or(u64::MAX);
        let too_large =
            BatchError::TooLarge { size_bytes, limit_bytes: u64::from(i32::MAX.unsigned_abs()) };
        header.record_count = i32::try_from(kept.len()).map_err(|_| too_large.clone())?;
        let codec = attributes.codec().ok_or(BatchError::Codec(attributes.0 & 7))?;
        let packed = match codec {
            Codec::None => area,
            codec => compress(Compression::from(codec), &area)
                .map_err(|error| BatchError::Compression(Arc::new(error)))?,
        };
        seal(header, &packed).ok_or(too_large)
    }

    /// The batch without its records: it still tells of its offsets and of its producer.
    #[must_use]
    pub fn without_records(&self) -> Self {
        let mut header = *self.header();
        header.attributes = header.attributes.with_codec(Codec::None).with_delete_horizon(false);
        header.base_timestamp = Timestamp(-1);
        header.record_count = 0;
        seal(header, &[]).expect("a header alone fits into a batch")
    }
}

fn put(area: &mut Vec<u8>, timestamp_delta: i64, record: &Record<'_>) {
    let headers: Vec<_> = record.headers.iter().collect();
    let new = NewRecord {
        timestamp: record.timestamp,
        key: record.key,
        value: record.value,
        headers: &headers,
    };
    put_record(area, timestamp_delta, record.offset_delta, &new);
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test that fails may panic")]
mod tests {
    use super::super::{BatchBuilder, OwnedRecord};
    use super::*;
    use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const LIMIT: usize = 1 << 20;
    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    fn batch(codec: Codec) -> ValidBatch {
        let mut builder = BatchBuilder::new().compression(codec).producer(
            ProducerId(7),
            ProducerEpoch(1),
            i32::MAX - 1,
        );
        for (i, time) in [30, 10, 20].into_iter().enumerate() {
            builder.push(&NewRecord {
                timestamp: Timestamp(1000 + time),
                key: Some(format!("k{i}").as_bytes()),
                value: (i != 1).then_some(b"v"),
                headers: &[(b"h", Some(b"1")), (b"h", None)],
            });
        }
        let mut batch = builder.build().unwrap();
        batch.assign(Offset(40), LeaderEpoch(3));
        batch
    }

    fn owned(batch: &ValidBatch) -> Vec<OwnedRecord> {
        let records = batch.records(LIMIT).unwrap();
        records.iter().map(|record| records.own(&record.unwrap())).collect()
    }

    /// As it comes back from a log.
    fn stored(batch: &ValidBatch) -> ValidBatch {
        ValidBatch::parse_stored(batch.to_bytes()).unwrap()
    }

    fn keep(batch: &ValidBatch, kept: &[usize], horizon: Option<i64>) -> ValidBatch {
        let records = batch.records(LIMIT).unwrap();
        let all: Vec<_> = records.iter().map(Result::unwrap).collect();
        let kept: Vec<_> = kept.iter().map(|index| all[*index]).collect();
        stored(&batch.with_records(&kept, horizon.map(Timestamp)).unwrap())
    }

    #[test]
    fn survivors_are_what_they_were() {
        for codec in CODECS {
            for horizon in [None, Some(99_999_999), Some(i64::MAX)] {
                let batch = batch(codec);
                let thin = keep(&batch, &[1, 2], horizon);
                assert_eq!(owned(&thin), owned(&batch)[1..], "{codec:?} {horizon:?}");
                let (was, is) = (batch.header(), thin.header());
                assert_eq!((is.base_offset, is.last_offset()), (Offset(40), Offset(42)));
                assert_eq!((is.record_count, is.max_timestamp), (2, Timestamp(1020)));
                assert_eq!(is.leader_epoch, was.leader_epoch);
                assert_eq!((is.producer_id, is.producer_epoch), (ProducerId(7), ProducerEpoch(1)));
                assert_eq!((is.base_sequence, is.last_sequence()), (i32::MAX - 1, 0));
                assert_eq!(is.attributes.codec(), Some(codec));
                assert_eq!(is.delete_horizon(), horizon.map(Timestamp));
                // Thinned out once more, it keeps its horizon.
                let again = keep(&thin, &[1], None);
                assert_eq!(owned(&again), owned(&batch)[2..]);
                assert_eq!(again.header().delete_horizon(), horizon.map(Timestamp));
            }
        }
    }

    #[test]
    fn the_time_of_the_append_stays() {
        let batch = batch(Codec::Lz4).with_append_time(Timestamp(5000));
        let thin = keep(&batch, &[1], Some(7));
        assert_eq!(owned(&thin)[0].timestamp, Timestamp(5000));
        assert_eq!(thin.header().max_timestamp, Timestamp(5000));
    }

    #[test]
    fn an_empty_frame_keeps_offsets_and_sequence() {
        let batch = keep(&batch(Codec::Zstd), &[0, 1], Some(9));
        let empty = stored(&batch.without_records());
        assert_eq!(owned(&empty), []);
        let header = empty.header();
        assert_eq!((header.base_offset, header.last_offset()), (Offset(40), Offset(42)));
        assert_eq!((header.last_sequence(), header.delete_horizon()), (0, None));
        assert_eq!(empty.size_bytes(), 61);
    }
}
