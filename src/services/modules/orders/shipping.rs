//! The shipping service: sends what is put aside.

use super::events::{InventoryReserved, OrderShipped};
use crate::services::modules::DEDUP;
use crate::services::{Cx, Result, Service, ids, service};

/// The service.
pub(super) fn shipping() -> Service {
    service("shipping-service").on(ship).dedup(DEDUP).done()
}

async fn ship(event: InventoryReserved, cx: Cx) -> Result {
    let shipment_id = ids::derived(&["shipment", &event.order_id]);
    cx.emit(&OrderShipped { order_id: event.order_id, user_id: event.user_id, shipment_id })
}
