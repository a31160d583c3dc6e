//! The inventory service: puts what was paid for aside, all of an order or nothing of it. All stock is one key, so
//! that no two orders are given the same piece.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::events::{InventoryFailed, InventoryReserved, Item, PaymentProcessed};
use crate::services::{Cx, Result, Service, Table, service};

/// Whose pieces are left, by product; those that nobody counts are not there.
pub static STOCK: Table<(String, String), u64> = Table::new("orders.stock");
/// What is put aside, by order.
pub static RESERVATIONS: Table<(String, String), Reservation> = Table::new("orders.reservations");

/// The warehouse: the key of all rows.
pub const WAREHOUSE: &str = "default";

/// What is put aside for an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// What.
    pub items: Vec<Item>,
}

/// The service; of a product that the stock does not name there is no end.
pub(super) fn inventory(stock: BTreeMap<String, u64>) -> Service {
    let stock = std::sync::Arc::new(stock);
    let reserve = move |event: PaymentProcessed, cx: Cx| {
        let stock = std::sync::Arc::clone(&stock);
        async move { reserve(&stock, event, cx).await }
    };
    service("inventory-service").on(reserve).by(|_| WAREHOUSE.to_owned()).done()
}

async fn reserve(stock: &BTreeMap<String, u64>, event: PaymentProcessed, cx: Cx) -> Result {
    let place = (WAREHOUSE, event.order_id.as_str());
    if cx.get(&RESERVATIONS, &place).await?.is_some() {
        return Ok(());
    }
    let mut wanted = BTreeMap::<&str, u64>::new();
    for item in &event.items {
        let sum = wanted.entry(&item.product_id).or_default();
        *sum = sum.saturating_add(item.quantity);
    }
    let mut left = Vec::new();
    for (product_id, quantity) in wanted {
        let Some(at_first) = stock.get(product_id) else { continue };
        let row = cx.get(&STOCK, &(WAREHOUSE, product_id)).await?;
        let there = row.unwrap_or(*at_first);
        let Some(rest) = there.checked_sub(quantity) else {
            let reason = format!("out of stock: {quantity} of {product_id}, {there} left");
            let (order_id, user_id) = (event.order_id, event.user_id);
            return cx.emit(&InventoryFailed { order_id, user_id, reason });
        };
        left.push((product_id, rest));
    }
    for (product_id, rest) in left {
        cx.put(&STOCK, &(WAREHOUSE, product_id), &rest)?;
    }
    cx.put(&RESERVATIONS, &place, &Reservation { items: event.items.clone() })?;
    let (order_id, user_id, items) = (event.order_id.clone(), event.user_id, event.items.clone());
    cx.emit(&InventoryReserved { order_id, user_id, items })
}
