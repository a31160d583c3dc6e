//! Tables: a value a key, in a compacted topic `ottla.state.NAME`, of which this process keeps a copy that
//! may be lost.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A table by its name; usually a `static`.
#[derive(Debug)]
pub struct Table<K, V> {
    name: &'static str,
    kinds: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    /// The table of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, kinds: PhantomData }
    }

    /// Its name; the topic is `ottla.state.` and the name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The topic of a table: `ottla.state.` and its name; a saga's `saga.NAME` lies in `ottla.saga.NAME`.
pub(super) fn topic_of(table: &str) -> String {
    if table.starts_with("saga.") {
        format!("ottla.{table}")
    } else {
        format!("ottla.state.{table}")
    }
}

/// What a row is found by. A handler may only touch rows of the key that its record was routed by: those whose
/// text equals it, or begins with it and a `/`. Any other row may belong to another instance.
pub trait TableKey {
    /// As the topic's records have it.
    fn text(&self) -> String;
}

impl TableKey for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl TableKey for str {
    fn text(&self) -> String {
        self.to_owned()
    }
}

/// A row of many below one routed key: `("warehouse-1", "product-7")`.
impl<A: AsRef<str>, B: AsRef<str>> TableKey for (A, B) {
    fn text(&self) -> String {
        format!("{}/{}", self.0.as_ref(), self.1.as_ref())
    }
}

/// What a row can be.
pub trait TableValue: Serialize + DeserializeOwned + Send + 'static {}

impl<V: Serialize + DeserializeOwned + Send + 'static> TableValue for V {}
