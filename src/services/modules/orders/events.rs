//! Events of the choreographed order saga, in the flat envelope of the third reference document:
//! `{eventType, eventId, timestamp, orderId, ...}`, all keyed by the order. The document names three topics; the
//! others are named as those are.

use ottla_macros::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

/// A product of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Which.
    pub product_id: String,
    /// How many.
    pub quantity: u64,
}

/// Somebody has ordered.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "order-created", name = "OrderCreated", key = "order_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct OrderCreated {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// What.
    pub items: Vec<Item>,
    /// For how much.
    pub total: Number,
}

/// It is paid.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "payment-processed", name = "PaymentProcessed", key = "order_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct PaymentProcessed {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// What.
    pub items: Vec<Item>,
    /// How much.
    pub amount: Number,
    /// The provider's receipt.
    pub payment_id: String,
}

/// It is not paid, and will not be.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "payment-failed", name = "PaymentFailed", key = "order_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct PaymentFailed {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// Why.
    pub reason: String,
}

/// What was ordered is put aside.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "inventory-reserved", name = "InventoryReserved", key = "order_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct InventoryReserved {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// What.
    pub items: Vec<Item>,
}

/// There is not enough of it.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "inventory-failed", name = "InventoryFailed", key = "order_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct InventoryFailed {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// Why.
    pub reason: String,
}

/// The money is given back.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "payment-refunded", name = "PaymentRefunded", key = "order_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct PaymentRefunded {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// How much.
    pub amount: Number,
    /// Why.
    pub reason: String,
}

/// It is on its way.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "order-shipped", name = "OrderShipped", key = "order_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct OrderShipped {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// By what it can be followed.
    pub shipment_id: String,
}

/// Nothing comes of it.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "order-cancelled", name = "OrderCancelled", key = "order_id", envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
    /// The order.
    pub order_id: String,
    /// Who.
    pub user_id: String,
    /// Why.
    pub reason: String,
}

/// Somebody is to be told something.
#[derive(Clone, Debug, Event, Serialize, Deserialize)]
#[event(topic = "notification-requested", name = "NotificationRequested", key = "user_id")]
#[event(envelope = "flat")]
#[serde(rename_all = "camelCase")]
pub struct NotificationRequested {
    /// Who.
    pub user_id: String,
    /// What kind of thing.
    pub template: String,
    /// In a few words.
    pub title: String,
    /// In more.
    pub message: String,
    /// What it is about.
    pub data: Value,
}
