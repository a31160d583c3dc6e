//! From a time to an offset (ListOffsets): sparse index, then headers, then the one batch.

use std::io;

use super::error::{ReadError, SegmentError};
use super::read::LogReader;
use super::segment::Segment;
use crate::records::compression::DECOMPRESSED_LIMIT;
use crate::records::{BatchHeader, Record};
use crate::types::{LeaderEpoch, Offset, Timestamp};

/// A record by its place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// The leadership under which it was stored.
    pub leader_epoch: LeaderEpoch,
}

/// What may be answered: from the log start offset to a watermark.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: Offset,
    up_to: Offset,
}

/// The batch with the largest timestamp seen so far.
#[derive(Clone, Copy, Debug)]
struct Newest<'a> {
    segment: &'a Segment,
    position: u64,
    timestamp: Timestamp,
}

impl LogReader {
    /// The first record before `up_to` whose timestamp is at least `timestamp`.
    ///
    /// # Errors
    /// `Damaged`, `Unreadable`, `Io`.
    pub fn offset_for_timestamp(
        &self,
        timestamp: Timestamp,
        up_to: Offset,
    ) -> Result<Option<TimedOffset>, ReadError> {
        self.look(up_to, |span| {
            for segment in self.segments_from(span.start) {
                if segment.base >= span.up_to {
                    break;
                }
                if let Some(found) = first_since(&segment, timestamp, span)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// The first of the records before `up_to` that have the largest timestamp.
    ///
    /// # Errors
    /// `Damaged`, `Unreadable`, `Io`.
    pub fn max_timestamp(&self, up_to: Offset) -> Result<Option<TimedOffset>, ReadError> {
        self.look(up_to, |span| {
            let segments = self.segments_from(span.start);
            let mut newest = None;
            for segment in segments.iter().take_while(|segment| segment.base < span.up_to) {
                newest = newer(newest, segment, span)?;
            }
            let Some(Newest { segment, position, timestamp }) = newest else { return Ok(None) };
            let header = header_at(segment, position)?;
            let is_newest = |record: &Record<'_>| record.timestamp == timestamp;
            let found = record_in(segment, position, &header, is_newest, span)?;
            // Compaction may have taken the record that gave the batch its time.
            Ok(Some(found.unwrap_or(TimedOffset {
                offset: header.last_offset(),
                timestamp,
                leader_epoch: header.leader_epoch,
            })))
        })
    }

    /// Asks again where retention has taken a file away meanwhile.
    fn look<R>(
        &self,
        up_to: Offset,
        ask: impl Fn(Span) -> Result<R, ReadError>,
    ) -> Result<R, ReadError> {
        loop {
            let span = Span { start: self.start_offset(), up_to: up_to.min(self.end_offset()) };
            match ask(span) {
                Err(ReadError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound
                        && self.start_offset() > span.start => {}
                answer => return answer,
            }
        }
    }
}

fn first_since(
    segment: &Segment,
    timestamp: Timestamp,
    span: Span,
) -> Result<Option<TimedOffset>, ReadError> {
    let (max, floor) = segment.index(|index| (index.max, index.floor_timestamp(timestamp)))?;
    if max.is_none_or(|max| max.timestamp < timestamp) {
        return Ok(None);
    }
    let is_since = |record: &Record<'_>| record.timestamp >= timestamp;
    let mut found = None;
    walk(segment, floor, |position, header| {
        if header.max_timestamp >= timestamp && header.last_offset() >= span.start {
            found = record_in(segment, position, header, is_since, span)?;
        }
        Ok(found.is_none() && header.next_offset() < span.up_to)
    })?;
    Ok(found)
}

/// `newest`, or the batch of `segment` that is newer.
fn newer<'a>(
    mut newest: Option<Newest<'a>>,
    segment: &'a Segment,
    span: Span,
) -> Result<Option<Newest<'a>>, ReadError> {
    let mut take = |position, timestamp| {
        if newest.is_none_or(|newest| timestamp > newest.timestamp) {
            newest = Some(Newest { segment, position, timestamp });
        }
    };
    let (max, next) = segment.index(|index| (index.max, index.next))?;
    if span.start <= segment.base && next <= span.up_to {
        max.iter().for_each(|max| take(max.position, max.timestamp));
        return Ok(newest);
    }
    walk(segment, (0, segment.base), |position, header| {
        if header.record_count == 0 {
            // A frame that compaction left: no record has its time.
        } else if span.start <= header.base_offset && header.next_offset() <= span.up_to {
            take(position, header.max_timestamp);
        } else if span.start <= header.last_offset() {
            // Only some of its records may be told of: theirs is the time that counts.
            let batch = segment.batch(position, header)?;
            let records = batch.records(DECOMPRESSED_LIMIT).map_err(unreadable(header))?;
            for record in &records {
                let record = record.map_err(|error| unreadable(header)(error.into()))?;
                if span.start <= record.offset && record.offset < span.up_to {
                    take(position, record.timestamp);
                }
            }
        }
        Ok(header.next_offset() < span.up_to)
    })?;
    Ok(newest)
}

/// Shows `visit` every batch from `floor` on until it says no.
fn walk(
    segment: &Segment,
    (floor, mut expected): (u64, Offset),
    mut visit: impl FnMut(u64, &BatchHeader) -> Result<bool, ReadError>,
) -> Result<(), ReadError> {
    let file = segment.file()?;
    let mut walk = segment.walk(&*file, floor);
    while let Some((position, header)) =
        walk.next().map_err(|error| segment.scan_error(error, expected))?
    {
        segment
            .check_follows(&header, expected)
            .map_err(|reason| segment.damage(position, expected, reason))?;
        expected = header.next_offset();
        if !visit(position, &header)? {
            break;
        }
    }
    Ok(())
}

fn header_at(segment: &Segment, position: u64) -> Result<BatchHeader, SegmentError> {
    let file = segment.file()?;
    let header = segment.walk(&*file, position).next();
    let header = header.map_err(|error| segment.scan_error(error, segment.base))?;
    header
        .map(|(_, header)| header)
        .ok_or_else(|| segment.damage(position, segment.base, "there is no batch here".to_owned()))
}

/// The first record within `span` that `is_it`.
fn record_in(
    segment: &Segment,
    position: u64,
    header: &BatchHeader,
    is_it: impl Fn(&Record<'_>) -> bool,
    span: Span,
) -> Result<Option<TimedOffset>, ReadError> {
    let batch = segment.batch(position, header)?;
    let records = batch.records(DECOMPRESSED_LIMIT).map_err(unreadable(header))?;
    for record in &records {
        let record = record.map_err(|error| unreadable(header)(error.into()))?;
        if span.start <= record.offset && record.offset < span.up_to && is_it(&record) {
            return Ok(Some(TimedOffset {
                offset: record.offset,
                timestamp: record.timestamp,
                leader_epoch: header.leader_epoch,
            }));
        }
    }
    Ok(None)
}

fn unreadable(header: &BatchHeader) -> impl Fn(crate::records::BatchError) -> ReadError + use<> {
    let offset = header.base_offset;
    move |source| ReadError::Unreadable { offset, source }
}
