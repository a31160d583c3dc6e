//! The payment service: charges for orders, and gives the money back where what was ordered is not there. The
//! provider is a fake one that declines what is over a limit.

use serde::{Deserialize, Serialize};
use serde_json::Number;

use super::events::{
    InventoryFailed, OrderCreated, PaymentFailed, PaymentProcessed, PaymentRefunded,
};
use crate::services::event::Effect;
use crate::services::modules::DEDUP;
use crate::services::{Cx, Result, Service, Table, permanent, service};

/// Payments by order.
pub static PAYMENTS: Table<String, Payment> = Table::new("orders.payments");

/// What was paid for an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    /// How much.
    pub amount: Number,
    /// The provider's receipt; none where it declined.
    pub payment_id: Option<String>,
    /// Whether it was given back.
    pub is_refunded: bool,
}

/// The service.
pub(super) fn payments(limit: f64) -> Service {
    service("payment-service")
        .on(move |event, cx| charge(limit, event, cx))
        .by(|event: &OrderCreated| event.order_id.clone())
        .dedup(DEDUP)
        .breaker("orders-psp")
        .done()
        .on(refund)
        .by(|event: &InventoryFailed| event.order_id.clone())
        .dedup(DEDUP)
        .breaker("orders-psp")
        .done()
}

/// An order is charged once, by how many events ever it is told.
async fn charge(limit: f64, event: OrderCreated, cx: Cx) -> Result {
    if cx.get(&PAYMENTS, &event.order_id).await?.is_some() {
        return Ok(());
    }
    let amount = event.total.clone();
    let receipt = cx.effect("charge", Charge { amount: event.total, limit }).await?;
    let payment =
        Payment { amount: amount.clone(), payment_id: receipt.clone(), is_refunded: false };
    cx.put(&PAYMENTS, &event.order_id, &payment)?;
    let (order_id, user_id) = (event.order_id, event.user_id);
    match receipt {
        Some(payment_id) => {
            let items = event.items;
            cx.emit(&PaymentProcessed { order_id, user_id, items, amount, payment_id })
        }
        None => cx.emit(&PaymentFailed { order_id, user_id, reason: "declined".to_owned() }),
    }
}

/// InventoryFailed: the payment is given back, once.
async fn refund(event: InventoryFailed, cx: Cx) -> Result {
    let Some(payment) = cx.get(&PAYMENTS, &event.order_id).await? else {
        return Err(permanent("not-paid").because(event.order_id));
    };
    let Some(payment_id) = payment.payment_id.clone().filter(|_| !payment.is_refunded) else {
        return Ok(());
    };
    cx.effect("refund", Refund { payment_id }).await?;
    let amount = payment.amount.clone();
    cx.put(&PAYMENTS, &event.order_id, &Payment { is_refunded: true, ..payment })?;
    let (order_id, user_id, reason) = (event.order_id, event.user_id, event.reason);
    cx.emit(&PaymentRefunded { order_id, user_id, amount, reason })
}

/// A charge: a receipt, or none where the provider declines.
struct Charge {
    amount: Number,
    limit: f64,
}

impl Effect for Charge {
    type Out = Option<String>;

    async fn run(&self, key: &str) -> Result<Option<String>> {
        let amount = self.amount.as_f64().unwrap_or(f64::INFINITY);
        Ok((amount <= self.limit).then(|| format!("pay-{key}")))
    }
}

struct Refund {
    payment_id: String,
}

impl Effect for Refund {
    type Out = String;

    async fn run(&self, key: &str) -> Result<String> {
        Ok(format!("refund-{key}-of-{}", self.payment_id))
    }
}
