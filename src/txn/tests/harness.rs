//! What the shared harness has to know of this coordinator.

use bytes::Bytes;

use crate::machine::testing::Tested;
use crate::txn::{Coordinator, TransactionRecord, TxnConfig};
use crate::types::Now;

impl Tested for Coordinator {
    type Config = TxnConfig;

    fn start(config: &TxnConfig, now: Now) -> Self {
        Self::new(config.clone(), now)
    }

    fn check(&self) {
        Self::check(self);
    }

    fn encode(record: &TransactionRecord) -> Option<(Bytes, Option<Bytes>)> {
        Some(record.encode().unwrap())
    }

    fn decode(_: &TransactionRecord, key: Bytes, value: Option<Bytes>) -> TransactionRecord {
        TransactionRecord::decode(key, value).unwrap()
    }

    fn assert_same(&self, restarted: &Self) {
        assert_eq!(self.durable(), restarted.durable());
    }
}
