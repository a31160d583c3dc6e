use serde_json::{Value, json};

use super::module;
use crate::config::broker::BrokerConfig;
use crate::services::modules::testing::{Bench, header, key, value};

async fn bench(stock: &str) -> Bench {
    let settings = BrokerConfig { orders_stock: Some(stock.into()), ..BrokerConfig::default() };
    Bench::new(vec![module(&settings).unwrap()]).await
}

fn order(order_id: &str, product_id: &str, quantity: u64, total: f64) -> Value {
    json!({"orderId": order_id, "userId": "u-1", "total": total,
        "items": [{"productId": product_id, "quantity": quantity}]})
}

async fn post(bench: &Bench, order_id: &str, product_id: &str, quantity: u64, total: f64) {
    let body = order(order_id, product_id, quantity, total);
    bench.post("POST /orders", &format!("e-{order_id}"), body).await.unwrap();
}

fn status(bench: &Bench, order_id: &str) -> Value {
    bench.row("orders.orders", order_id).unwrap_or_default()["status"].clone()
}

const TOPICS: &[&str] = &[
    "order-created",
    "payment-processed",
    "payment-failed",
    "inventory-reserved",
    "inventory-failed",
    "payment-refunded",
    "order-shipped",
    "order-cancelled",
];

/// The topics with something in them.
fn told(bench: &Bench) -> Vec<&'static str> {
    TOPICS.iter().copied().filter(|topic| !bench.values(topic).is_empty()).collect()
}

#[tokio::test]
async fn r71_r102_an_order_is_answered_then_paid_reserved_and_shipped() {
    let bench = bench("p-1=10").await;
    post(&bench, "o-1", "p-1", 2, 99.5).await;
    assert_eq!(told(&bench), ["order-created"], "it was answered before anybody paid");
    bench.settle().await;
    assert_eq!(
        told(&bench),
        ["order-created", "payment-processed", "inventory-reserved", "order-shipped"]
    );
    for (topic, name) in [
        ("order-created", "OrderCreated"),
        ("payment-processed", "PaymentProcessed"),
        ("inventory-reserved", "InventoryReserved"),
        ("order-shipped", "OrderShipped"),
    ] {
        let record = bench.only(topic);
        let said = value(&record);
        assert_eq!((&said["eventType"], &said["orderId"]), (&json!(name), &json!("o-1")));
        assert!(said["eventId"].is_string() && said["timestamp"].is_string());
        assert_eq!(
            (key(&record), header(&record, "ottla-correlation-id")),
            ("o-1".into(), "e-o-1".into())
        );
    }
    assert_eq!(bench.only_value("order-created")["total"], json!(99.5));
    assert_eq!(status(&bench, "o-1"), "shipped");
    assert_eq!(bench.row("orders.stock", "default/p-1"), Some(json!(8)));
    assert_eq!(bench.only_value("notification-requested")["template"], "order-shipped");
}

#[tokio::test]
async fn r72_a_payment_that_fails_cancels_the_order() {
    let bench = bench("").await;
    post(&bench, "o-1", "p-1", 1, 10_000.01).await;
    bench.settle().await;
    assert_eq!(told(&bench), ["order-created", "payment-failed", "order-cancelled"]);
    assert_eq!(bench.only_value("order-cancelled")["reason"], "declined");
    assert_eq!(status(&bench, "o-1"), "cancelled");
}

#[tokio::test]
async fn r72_stock_that_fails_refunds_the_payment_and_cancels_the_order() {
    let bench = bench("p-1=1").await;
    post(&bench, "o-1", "p-1", 2, 50.0).await;
    bench.settle().await;
    let expected = [
        "order-created",
        "payment-processed",
        "inventory-failed",
        "payment-refunded",
        "order-cancelled",
    ];
    assert_eq!(told(&bench), expected);
    let refund = bench.only_value("payment-refunded");
    assert_eq!(
        (&refund["amount"], &refund["reason"]),
        (&json!(50.0), &json!("out of stock: 2 of p-1, 1 left"))
    );
    assert_eq!(status(&bench, "o-1"), "cancelled");
    // The event once more, with another id.
    let again = json!({"eventType": "InventoryFailed", "eventId": "again", "orderId": "o-1", "userId": "u-1", "reason": "x"});
    bench.send("inventory-failed", Some("o-1"), again).await;
    bench.settle().await;
    assert_eq!(
        (bench.values("payment-refunded").len(), bench.values("order-cancelled").len()),
        (1, 1)
    );
}

#[tokio::test]
async fn no_piece_is_sold_twice_and_no_order_charged_twice() {
    let mut bench = bench("p-1=10").await;
    for n in 0..30 {
        post(&bench, &format!("o-{n}"), "p-1", 1, 5.0).await;
        post(&bench, &format!("o-{n}"), "p-1", 1, 5.0).await;
        if n % 10 == 5 {
            bench.restart().await;
        }
    }
    bench.settle().await;
    let again = json!({"eventType": "OrderCreated", "eventId": "other-id", "orderId": "o-0", "userId": "u-1",
        "items": [{"productId": "p-1", "quantity": 1}], "total": 5});
    bench.send("order-created", Some("o-0"), again).await;
    bench.settle().await;
    assert_eq!(bench.values("payment-processed").len(), 30);
    assert_eq!(bench.values("order-shipped").len(), 10);
    assert_eq!(bench.values("payment-refunded").len(), 20);
    assert_eq!(bench.row("orders.stock", "default/p-1"), Some(json!(0)));
}

#[tokio::test]
async fn orders_that_cannot_be_name_their_field() {
    let bench = bench("").await;
    for (body, field) in [
        (json!({"userId": "u", "total": 1}), "items"),
        (json!({"userId": "u", "total": 1, "items": []}), "items"),
        (order("o", "p", 0, 1.0), "items[0].quantity"),
        (order("o", "p", 1, -1.0), "total"),
        (json!({"total": 1, "items": [{"productId": "p", "quantity": 1}]}), "userId"),
    ] {
        assert_eq!(bench.post("POST /orders", "e", body).await.unwrap_err().field, field);
    }
    assert!(told(&bench).is_empty());
    let stock = BrokerConfig { orders_stock: Some("p-1=ten".into()), ..BrokerConfig::default() };
    assert_eq!(
        module(&stock).unwrap_err().to_string(),
        "orders.stock: \"p-1=ten\" is not PRODUCT=COUNT"
    );
}
