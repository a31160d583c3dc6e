//! The order service: keeps where each order is at, cancels those whose payment failed or was given back, and has
//! their users told.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::events::{
    InventoryReserved, NotificationRequested, OrderCancelled, OrderCreated, OrderShipped,
    PaymentFailed, PaymentProcessed, PaymentRefunded,
};
use crate::services::{Cx, Result, Service, Table, service};

/// Orders by their id.
pub static ORDERS: Table<String, Order> = Table::new("orders.orders");

/// Where an order is at. Its events come by several topics, in any order: only what is later counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Ordered.
    Created,
    /// Paid.
    Paid,
    /// What was ordered is put aside.
    Reserved,
    /// On its way.
    Shipped,
    /// Nothing comes of it.
    Cancelled,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Whose.
    pub user_id: String,
    /// Where it is at.
    pub status: Status,
    /// Why it was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The service.
pub(super) fn orders() -> Service {
    service("order-service")
        .on(|event: OrderCreated, cx| step(event.order_id, event.user_id, Status::Created, cx))
        .by(|event| event.order_id.clone())
        .done()
        .on(|event: PaymentProcessed, cx| step(event.order_id, event.user_id, Status::Paid, cx))
        .by(|event| event.order_id.clone())
        .done()
        .on(|event: InventoryReserved, cx| {
            step(event.order_id, event.user_id, Status::Reserved, cx)
        })
        .by(|event| event.order_id.clone())
        .done()
        .on(shipped)
        .by(|event: &OrderShipped| event.order_id.clone())
        .done()
        .on(|event: PaymentFailed, cx| cancel(event.order_id, event.user_id, event.reason, cx))
        .by(|event| event.order_id.clone())
        .done()
        .on(|event: PaymentRefunded, cx| cancel(event.order_id, event.user_id, event.reason, cx))
        .by(|event| event.order_id.clone())
        .done()
}

async fn step(order_id: String, user_id: String, status: Status, cx: Cx) -> Result {
    move_to(&cx, &order_id, Order { user_id, status, reason: None }).await.map(drop)
}

async fn shipped(event: OrderShipped, cx: Cx) -> Result {
    let order = Order { user_id: event.user_id.clone(), status: Status::Shipped, reason: None };
    if !move_to(&cx, &event.order_id, order).await? {
        return Ok(());
    }
    cx.emit(&NotificationRequested {
        user_id: event.user_id,
        template: "order-shipped".to_owned(),
        title: "Order Shipped".to_owned(),
        message: format!("Your order {} is on its way: {}", event.order_id, event.shipment_id),
        data: json!({ "orderId": event.order_id, "shipmentId": event.shipment_id }),
    })
}

/// PaymentFailed and PaymentRefunded: the order is cancelled.
async fn cancel(order_id: String, user_id: String, reason: String, cx: Cx) -> Result {
    let order =
        Order { user_id: user_id.clone(), status: Status::Cancelled, reason: Some(reason.clone()) };
    if !move_to(&cx, &order_id, order).await? {
        return Ok(());
    }
    cx.emit(&OrderCancelled {
        order_id: order_id.clone(),
        user_id: user_id.clone(),
        reason: reason.clone(),
    })?;
    cx.emit(&NotificationRequested {
        user_id,
        template: "order-cancelled".to_owned(),
        title: "Order Cancelled".to_owned(),
        message: format!("Your order {order_id} was cancelled: {reason}"),
        data: json!({ "orderId": order_id, "reason": reason }),
    })
}

/// Whether the order was not there yet.
async fn move_to(cx: &Cx, order_id: &String, order: Order) -> Result<bool> {
    let before = cx.get(&ORDERS, order_id).await?;
    if before.is_some_and(|before| before.status >= order.status) {
        return Ok(false);
    }
    cx.put(&ORDERS, order_id, &order)?;
    Ok(true)
}
