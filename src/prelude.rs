//! What a service's source needs: `use ottla::prelude::*;`.

pub use std::time::Duration;

pub use ottla_macros::{Command, Event};
pub use serde::{Deserialize, Serialize};

pub use crate::services::{
    AfterDead, App, Class, Command, Cx, Delivery, Effect, EffectMode, Envelope, Event, Order,
    Result, Retry, ServiceError, Table, permanent, service, transient,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "order-created", key = "order_id")]
    struct OrderCreated {
        order_id: String,
    }

    #[derive(Serialize, Deserialize)]
    struct Customer {
        id: u64,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(
        topic = "customer.updated",
        name = "CUSTOMER_UPDATED",
        key = "customer.id",
        envelope = "data"
    )]
    struct CustomerUpdated {
        customer: Customer,
    }

    #[derive(Event, Serialize, Deserialize)]
    #[event(
        topic = "payment_domain_events",
        name = "payment_completed",
        key = "0",
        envelope = "domain"
    )]
    struct PaymentCompleted(String);

    #[derive(Command, Serialize, Deserialize)]
    #[command(topic = "payment_commands", name = "process_payment", key = "order_id")]
    #[command(envelope = "command", reply = PaymentCompleted)]
    struct ProcessPayment {
        order_id: String,
        amount: u64,
    }

    fn about<E: Event>(event: &E) -> (&'static str, &'static str, Envelope, String) {
        (E::TOPIC, E::NAME, E::ENVELOPE, event.key())
    }

    fn reply<C: Command>(_: &C) -> &'static str {
        <C::Reply as Event>::NAME
    }

    #[test]
    fn events_know_their_topic_name_envelope_and_key() {
        let event = OrderCreated { order_id: "o-1".into() };
        let expected = ("order-created", "OrderCreated", Envelope::CloudEvents, "o-1".into());
        assert_eq!(about(&event), expected);
        let event = CustomerUpdated { customer: Customer { id: 7 } };
        let expected = ("customer.updated", "CUSTOMER_UPDATED", Envelope::Data, "7".into());
        assert_eq!(about(&event), expected);
        let event = PaymentCompleted("o-2".into());
        let expected =
            ("payment_domain_events", "payment_completed", Envelope::Domain, "o-2".into());
        assert_eq!(about(&event), expected);
    }

    #[test]
    fn commands_are_events_with_a_reply() {
        let command = ProcessPayment { order_id: "o-3".into(), amount: 5 };
        let expected = ("payment_commands", "process_payment", Envelope::Command, "o-3".into());
        assert_eq!(about(&command), expected);
        assert_eq!((reply(&command), command.amount), ("payment_completed", 5));
    }
}
