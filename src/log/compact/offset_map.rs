//! The newest offset of each key, in bounded memory.

use std::collections::HashMap;

use crate::types::Offset;

/// Bytes that an entry takes beside its key: its slot in the table, which doubles as it grows and is
/// there twice while it does, and what the allocator adds to the key.
const ENTRY_BYTES: usize = 96;

/// See the module.
#[derive(Debug)]
pub(super) struct OffsetMap {
    newest: HashMap<Box<[u8]>, Offset>,
    used_bytes: usize,
    limit_bytes: usize,
}

impl OffsetMap {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { newest: HashMap::new(), used_bytes: 0, limit_bytes }
    }

    /// What an entry with a key of that length takes at most.
    pub(super) fn cost(key: &[u8]) -> usize {
        ENTRY_BYTES.saturating_add(key.len())
    }

    /// Whether so many bytes more still fit. An empty map takes anything, so that every run gets on.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.newest.is_empty() || self.used_bytes.saturating_add(bytes) <= self.limit_bytes
    }

    /// Takes note of a record; offsets only rise.
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) {
        if let Some(newest) = self.newest.get_mut(key) {
            *newest = offset;
            return;
        }
        self.used_bytes = self.used_bytes.saturating_add(Self::cost(key));
        self.newest.insert(key.into(), offset);
    }

    /// Whether no newer record with that key is known.
    pub(super) fn is_newest(&self, key: &[u8], offset: Offset) -> bool {
        self.newest.get(key).is_none_or(|newest| *newest <= offset)
    }
}
