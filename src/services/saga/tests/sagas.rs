//! The sagas that the tests run.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::services::event::{Command, Envelope, Event};
use crate::services::policy::Retry;
use crate::services::saga::{Saga, Versions};

/// An event of this name: JSON as it comes, with its key in one field.
macro_rules! event {
    ($type:ident, $topic:literal, $name:literal, $envelope:ident, $key:literal $(, $reply:ty)?) => {
        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        pub(super) struct $type(pub(super) Value);

        impl Event for $type {
            const TOPIC: &'static str = $topic;
            const NAME: &'static str = $name;
            const ENVELOPE: Envelope = Envelope::$envelope;

            fn key(&self) -> String {
                self.0[$key].as_str().unwrap_or_default().to_owned()
            }
        }

        $(impl Command for $type {
            type Reply = $reply;
        })?
    };
}

event!(CreateOrder, "order_commands", "create_order", Command, "order_id", OrderCreated);
event!(OrderCreated, "order_domain_events", "order_created", Domain, "order_id");
event!(CancelOrder, "order_commands", "cancel_order", Command, "order_id", OrderCancelled);
event!(OrderCancelled, "order_domain_events", "order_cancelled", Domain, "order_id");
event!(Reserve, "inventory_commands", "reserve_inventory", Command, "order_id", Reserved);
event!(Reserved, "inventory_domain_events", "inventory_reserved", Domain, "order_id");
event!(Release, "inventory_commands", "release_inventory", Command, "order_id", Released);
event!(Released, "inventory_domain_events", "inventory_released", Domain, "order_id");
event!(Pay, "payment_commands", "process_payment", Command, "order_id", Paid);
event!(Paid, "payment_domain_events", "payment_completed", Domain, "order_id");
event!(PaymentFailed, "payment_domain_events", "payment_failed", Domain, "order_id");
event!(Refund, "payment_commands", "refund_payment", Command, "order_id", Refunded);
event!(Refunded, "payment_domain_events", "payment_refunded", Domain, "order_id");
event!(Ship, "shipping_commands", "create_shipping", Command, "order_id", Shipped);
event!(Shipped, "shipping_domain_events", "shipping_created", Domain, "order_id");
event!(CancelShipping, "shipping_commands", "cancel_shipping", Command, "order_id", NotShipped);
event!(NotShipped, "shipping_domain_events", "shipping_cancelled", Domain, "order_id");
event!(Validate, "saga.user.validation.requested", "user.validation", Flat, "userId", Validated);
event!(Validated, "saga.user.validation.completed", "user.validated", Flat, "userId");
event!(Generate, "saga.ai.generation.requested", "ai.generation", Flat, "workflowId", Generated);
event!(Generated, "saga.ai.generation.completed", "ai.generated", Flat, "workflowId");
event!(Save, "saga.workflow.save.requested", "workflow.save", Flat, "workflowId", Saved);
event!(Saved, "saga.workflow.save.completed", "workflow.saved", Flat, "workflowId");
event!(Notify, "saga.notification.requested", "notification", Flat, "userId");
event!(Compensate, "saga.compensation.requested", "compensation", Flat, "workflowId");

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) order_id: String,
    pub(super) customer_id: String,
    pub(super) items: Vec<Item>,
    pub(super) total_amount: f64,
    #[serde(default)]
    pub(super) receipt: String,
    #[serde(default)]
    pub(super) shipment_id: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Item {
    product_id: String,
    quantity: u32,
}

fn of(order: &Order) -> Value {
    serde_json::json!({ "order_id": order.order_id })
}

fn with(order: &Order, field: &str, value: impl Serialize) -> Value {
    let mut body = of(order);
    body[field] = serde_json::to_value(value).unwrap();
    body
}

fn text(reply: &Value, field: &str) -> String {
    reply[field].as_str().unwrap_or_default().to_owned()
}

fn order_steps() -> Saga<Order> {
    let undo = Retry::exp(Duration::from_secs(1), Duration::from_secs(60)).attempts(2);
    Saga::<Order>::new("order", 1)
        .http("POST /api/saga/order")
        .deadline(Duration::from_secs(30))
        .step("create_order", |d| CreateOrder(with(d, "items", &d.items)))
        .undo(|d| CancelOrder(of(d)))
        .step("reserve_inventory", |d| Reserve(with(d, "items", &d.items)))
        .undo(|d| Release(of(d)))
        .timeout(Duration::from_secs(5))
        .step("process_payment", |d| Pay(with(d, "amount", d.total_amount)))
        .save(|d, reply| d.receipt = text(&reply.0, "receipt"))
        .undo(|d| Refund(with(d, "receipt", &d.receipt)))
        .timeout(Duration::from_secs(10))
        .resend(1)
        .retry(Retry::exp(Duration::from_secs(1), Duration::from_secs(8)).attempts(1))
        .undo_retry(Duration::from_secs(10), undo)
        .step("create_shipping", |d| Ship(of(d)))
        .save(|d, reply| d.shipment_id = text(&reply.0, "shipment_id"))
        .undo(|d| CancelShipping(of(d)))
        .end()
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Workflow {
    user_id: String,
    tenant_id: String,
    workflow_id: String,
    description: String,
    #[serde(default)]
    workflow: Value,
}

fn workflow_steps() -> Saga<Workflow> {
    let json = |d: &Workflow| serde_json::json!({ "workflowId": d.workflow_id });
    let undo = move |d: &Workflow, step: &str| {
        let mut body = json(d);
        body["steps"] = serde_json::json!([step]);
        body
    };
    Saga::<Workflow>::new("workflow", 1)
        .deadline(Duration::from_secs(60))
        .step("user.validation", |d: &Workflow| {
            let (user, tenant) = (&d.user_id, &d.tenant_id);
            Validate(serde_json::json!({
                "userId": user, "tenantId": tenant, "permissions": ["workflow.create"]
            }))
        })
        .require(|reply: &Validated| match reply.0["valid"].as_bool() {
            Some(true) => Ok(()),
            Some(false) | None => Err("User validation failed".to_owned()),
        })
        .step("ai.generation", |d: &Workflow| {
            let (workflow, description) = (&d.workflow_id, &d.description);
            Generate(serde_json::json!({ "workflowId": workflow, "description": description }))
        })
        .save(|d, reply| d.workflow = reply.0["workflow"].clone())
        .undo_tell(move |d| Compensate(undo(d, "ai.generation")))
        .step("workflow.save", |d: &Workflow| {
            let (workflow, generated) = (&d.workflow_id, &d.workflow);
            Save(serde_json::json!({ "workflowId": workflow, "generatedWorkflow": generated }))
        })
        .undo_tell(move |d| Compensate(undo(d, "workflow.save")))
        .tell("notification", |d: &Workflow| {
            let (user, workflow) = (&d.user_id, &d.workflow_id);
            Notify(serde_json::json!({
                "userId": user, "type": "workflow.ready", "workflowId": workflow
            }))
        })
        .end()
}

/// An order whose payment is answered by the events that everybody reads, and which is approved by one where it
/// is large.
fn event_steps() -> Saga<Order> {
    Saga::<Order>::new("events", 1)
        .wait_for::<Validated>("approval", "/orderId", |d| d.order_id.clone())
        .when(|d| d.total_amount > 1000.0)
        .timeout(Duration::from_secs(86_400))
        .step("process_payment", |d| Pay(with(d, "amount", d.total_amount)))
        .answered_by_event("/event_data/order_id")
        .fails_by::<PaymentFailed>()
        .save(|d, reply| d.receipt = text(&reply.0, "receipt"))
        .undo(|d| Refund(of(d)))
        .step("create_shipping", |d| Ship(of(d)))
        .end()
}

/// The versions of a saga, as the scripts name it.
pub(super) fn named(name: &str) -> Versions {
    match name {
        "order" => Versions::of(order_steps()),
        "order-2" => {
            let steps = Saga::<Order>::new("order", 2).step("create_order", |d| CreateOrder(of(d)));
            Versions::of(steps.end())
        }
        "order-1-and-2" => {
            let steps = Saga::<Order>::new("order", 2).step("create_order", |d| CreateOrder(of(d)));
            Versions::of(steps.end()).and_then(|versions| versions.and(order_steps()))
        }
        "workflow" => Versions::of(workflow_steps()),
        "events" => Versions::of(event_steps()),
        other => panic!("no saga {other}"),
    }
    .unwrap()
}
