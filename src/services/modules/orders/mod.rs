//! The pack `orders`: the order saga without anybody who leads it, as the third reference document has it. Each
//! service knows the events that it follows, and none the others.
//!
//! ```text
//! POST /orders -> OrderCreated -> payment-service -> PaymentProcessed -> inventory-service -> InventoryReserved
//!              -> shipping-service -> OrderShipped -> order-service: NotificationRequested
//! PaymentFailed -> order-service: OrderCancelled
//! InventoryFailed -> payment-service: PaymentRefunded -> order-service: OrderCancelled
//! ```

pub mod events;
mod inventory;
mod order;
mod payment;
mod shipping;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::json;

pub use self::inventory::{RESERVATIONS, Reservation, STOCK, WAREHOUSE};
pub use self::order::{ORDERS, Order, Status};
pub use self::payment::{PAYMENTS, Payment};
use super::route::{FieldError, Posted};
use super::{Module, PackError};
use crate::config::broker::BrokerConfig;
use crate::services::event::Envelope;
use crate::services::unit::Emission;

/// The pack.
///
/// # Errors
/// A stock that is not to be read.
pub(super) fn module(settings: &BrokerConfig) -> Result<Module, PackError> {
    let stock = stock(settings.orders_stock.as_deref().unwrap_or_default());
    let stock = stock.map_err(|problem| PackError::Setting { key: "orders.stock", problem })?;
    Ok(Module::new("orders")
        .service(order::orders())
        .service(payment::payments(settings.orders_payment_limit))
        .service(inventory::inventory(stock))
        .service(shipping::shipping())
        .publishes("POST /orders", create))
}

/// `prod-1=10,prod-2=5`.
fn stock(text: &str) -> Result<BTreeMap<String, u64>, String> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let read = entries.map(|entry| {
        let parsed = entry.rsplit_once('=').and_then(|(product, count)| {
            Some((product.trim().to_owned(), count.trim().parse().ok()?))
        });
        parsed.ok_or_else(|| format!("{entry:?} is not PRODUCT=COUNT"))
    });
    read.collect()
}

/// The order is taken, and answered for, before anybody pays.
fn create(posted: Posted<'_>) -> Result<Emission, FieldError> {
    let fields = posted.fields();
    let order_id = fields.word_if("orderId")?.unwrap_or_else(|| posted.event_id.to_owned());
    let mut items = Vec::new();
    for item in fields.objects("items")? {
        let (product_id, quantity) = (item.word("productId")?, item.count("quantity")?);
        items.push(json!({ "productId": product_id, "quantity": quantity }));
    }
    fields.amount("total")?;
    let body = json!({
        "orderId": order_id,
        "userId": fields.word("userId")?,
        "items": items,
        "total": fields.get("total"),
    });
    Ok(Emission {
        topic: "order-created".into(),
        name: "OrderCreated".into(),
        envelope: Envelope::Flat,
        key: order_id,
        body,
        headers: Vec::new(),
    })
}
