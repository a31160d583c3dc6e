//! The bound on requests in memory: bytes are taken from one budget before they are read, and given
//! back when the request that they belong to is answered.
//!
//! Each connection may hold a few bytes without asking, so that small requests always get through:
//! a heartbeat never waits for others' records. Where the budget is used up by requests that are all
//! half read, none of them could go on; so one connection at a time may read the rest of its request
//! without being charged. In memory at most: the budget, the largest request, and the allowance of
//! each connection.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a connection may hold without asking, in bytes.
pub(crate) const ALLOWANCE_BYTES: usize = 16 * 1024;
/// Taken from the budget at once, at most, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// The budget of one broker.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: Arc<Semaphore>,
    total_bytes: usize,
    /// The one place beyond the budget.
    overdraft: Arc<Semaphore>,
}

impl Budget {
    pub(crate) fn new(total_bytes: usize) -> Self {
        let total_bytes = total_bytes.clamp(1, Semaphore::MAX_PERMITS);
        let bytes = Arc::new(Semaphore::new(total_bytes));
        Self { bytes, total_bytes, overdraft: Arc::new(Semaphore::new(1)) }
    }
}

/// What one connection holds of the budget.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    /// Bytes read of requests that are not answered yet.
    held_bytes: usize,
    charged: Option<OwnedSemaphorePermit>,
    overdraft: Option<Overdraft>,
}

#[derive(Debug)]
struct Overdraft {
    bytes: usize,
    _place: OwnedSemaphorePermit,
}

impl Share {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, held_bytes: 0, charged: None, overdraft: None }
    }

    /// How many of `wanted` bytes may be read now; 0 where the budget is used up.
    pub(crate) fn room(&mut self, wanted: usize) -> usize {
        let wanted = wanted.min(CHUNK_BYTES);
        let lacking = wanted.saturating_sub(self.free_bytes());
        let lacking = u32::try_from(lacking.min(self.budget.bytes.available_permits()));
        if let Ok(lacking @ 1..) = lacking
            && let Ok(permit) = Arc::clone(&self.budget.bytes).try_acquire_many_owned(lacking)
        {
            self.charge(permit);
        }
        self.free_bytes().min(wanted)
    }

    /// Waits until there is room for some bytes more. `rest` is what the request that is being read
    /// lacks, where that is known. Cancel-safe.
    pub(crate) async fn more(&mut self, rest: Option<usize>) {
        let wanted = rest.unwrap_or(ALLOWANCE_BYTES).min(CHUNK_BYTES);
        let wanted = wanted.min(self.budget.total_bytes / 4);
        let wanted = u32::try_from(wanted.max(1)).unwrap_or(u32::MAX);
        let may_overdraw = rest.is_some() && self.overdraft.is_none();
        tokio::select! {
            biased;
            permit = Arc::clone(&self.budget.bytes).acquire_many_owned(wanted) => {
                self.charge(permit.expect("the budget is never closed"));
            }
            Ok(_place) = Arc::clone(&self.budget.overdraft).acquire_owned(), if may_overdraw => {
                self.overdraft = Some(Overdraft { bytes: rest.unwrap_or(0), _place });
            }
        }
    }

    /// Notes that `bytes` were read, and gives back what was taken for more.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        self.settle();
    }

    /// Gives back the bytes of requests that are answered.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        self.settle();
    }

    fn charge(&mut self, permit: OwnedSemaphorePermit) {
        match &mut self.charged {
            Some(charged) => charged.merge(permit),
            None => self.charged = Some(permit),
        }
    }

    fn charged_bytes(&self) -> usize {
        self.charged.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn free_bytes(&self) -> usize {
        let overdraft = self.overdraft.as_ref().map_or(0, |overdraft| overdraft.bytes);
        let limit = ALLOWANCE_BYTES.saturating_add(self.charged_bytes()).saturating_add(overdraft);
        limit.saturating_sub(self.held_bytes)
    }

    fn settle(&mut self) {
        let due = self.held_bytes.saturating_sub(ALLOWANCE_BYTES);
        let spare = self.charged_bytes().saturating_sub(due);
        if spare > 0 {
            // Dropped, and so given back.
            let _spare = self.charged.as_mut().and_then(|charged| charged.split(spare));
        }
        if due <= self.charged_bytes() {
            self.overdraft = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 100_000;

    fn shares(count: usize) -> Vec<Share> {
        let budget = Arc::new(Budget::new(TOTAL));
        (0..count).map(|_| Share::new(Arc::clone(&budget))).collect()
    }

    /// Reads as much of `wanted` bytes as there is room for.
    fn read(share: &mut Share, wanted: usize) -> usize {
        let mut read = 0;
        loop {
            let room = share.room(wanted - read);
            if room == 0 {
                return read;
            }
            share.took(room);
            read += room;
        }
    }

    fn left(share: &Share) -> usize {
        share.budget.bytes.available_permits()
    }

    #[test]
    fn small_requests_take_nothing_and_large_ones_what_they_hold() {
        let mut all = shares(2);
        assert_eq!(read(&mut all[0], ALLOWANCE_BYTES), ALLOWANCE_BYTES);
        assert_eq!(left(&all[0]), TOTAL);
        assert_eq!(read(&mut all[1], 50_000), 50_000);
        assert_eq!(left(&all[0]), TOTAL + ALLOWANCE_BYTES - 50_000);
        all[1].answered(20_000);
        assert_eq!(left(&all[0]), TOTAL + ALLOWANCE_BYTES - 30_000);
        all[1].answered(30_000);
        assert_eq!(left(&all[0]), TOTAL);
    }

    #[test]
    fn room_that_is_not_used_is_given_back() {
        let mut share = shares(1).remove(0);
        assert_eq!(share.room(50_000), 50_000);
        share.took(10);
        assert_eq!(left(&share), TOTAL);
        assert_eq!(share.room(ALLOWANCE_BYTES), ALLOWANCE_BYTES);
        share.took(ALLOWANCE_BYTES);
        assert_eq!(left(&share), TOTAL - 10);
    }

    #[tokio::test]
    async fn a_request_waits_for_the_budget_until_another_is_answered() {
        let mut all = shares(3);
        let mut one = all.remove(0);
        assert_eq!(read(&mut one, TOTAL + ALLOWANCE_BYTES), TOTAL + ALLOWANCE_BYTES);
        let mut two = all.remove(0);
        assert_eq!(read(&mut two, TOTAL), ALLOWANCE_BYTES);
        let ready = tokio::select! {
            biased;
            () = two.more(None) => true,
            () = std::future::ready(()) => false,
        };
        assert!(!ready);
        one.answered(TOTAL + ALLOWANCE_BYTES);
        two.more(None).await;
        assert!(two.room(TOTAL) > 0);
    }

    #[tokio::test]
    async fn one_request_at_a_time_goes_on_when_all_are_stuck() {
        let mut all = shares(4);
        let wanted = 60_000;
        let got: Vec<_> = all.iter_mut().map(|share| read(share, wanted)).collect();
        assert!(got.iter().sum::<usize>() <= TOTAL + 4 * ALLOWANCE_BYTES);
        let (two, rest) = (2, wanted - got[2]);
        all[two].more(Some(rest)).await;
        assert_eq!(read(&mut all[two], rest), rest, "to its end and no further");
        let next = wanted - got[3];
        let ready = tokio::select! {
            biased;
            () = all[3].more(Some(next)) => true,
            () = std::future::ready(()) => false,
        };
        assert!(!ready, "one at a time");
        all[two].answered(wanted);
        all[3].more(Some(next)).await;
        assert_eq!(read(&mut all[3], next), next);
    }
}
