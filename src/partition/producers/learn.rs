//! What is known of the producers when a log is opened.

use super::Producers;
use crate::log::{Log, ReadError, Sidecar};

/// The largest file of producers that is read, in bytes: a million of them, or a hundred million aborted
/// transactions.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Learns what every producer wrote last, and which transactions are open or were aborted: from the
/// file as far as it goes, from there on from the log. A file that speaks of more than there is would
/// be right again, and wrong, once the log has grown: it is taken away. One from before the log start
/// knows of transactions whose markers went with the records.
pub(in crate::partition) fn learn(
    producers: &mut Producers,
    log: &Log,
    file: &Sidecar,
) -> Result<(), ReadError> {
    let (start, end) = (log.start_offset(), log.end_offset());
    let bytes = file.read(FILE_BYTES_MAX);
    let stands_for = bytes.as_deref().and_then(|bytes| producers.restore(bytes));
    let from = match stands_for {
        Some(at) if start <= at && at <= end => at,
        Some(_) | None => {
            producers.forget();
            if bytes.is_some()
                && let Err(error) = file.remove()
            {
                return Err(ReadError::Io { path: log.dir().to_owned(), source: error });
            }
            start
        }
    };
    for batch in log.reader().batches(from) {
        let batch = batch?;
        producers.record(&batch);
        let header = batch.header();
        if header.attributes.is_control() && header.base_offset < log.synced_end() {
            producers.transactions().release(log.synced_end());
        }
    }
    producers.aborted().forget_before(start);
    Ok(())
}
