//! `#[derive(Event)]` and `#[derive(Command)]`: topic, name on the wire, key and reply as part of a type.
//!
//! ```text
//! #[derive(Event, Serialize, Deserialize)]
//! #[event(topic = "order-created", name = "OrderCreated", key = "order_id", envelope = "flat")]
//! struct OrderCreated { order_id: String, total: u64 }
//!
//! #[derive(Command, Serialize, Deserialize)]
//! #[command(topic = "payment_commands", name = "process_payment", key = "order_id", reply = PaymentCompleted)]
//! struct ProcessPayment { order_id: String, amount: u64 }
//! ```
//!
//! `topic` and `key` are needed, and `reply` of a command. `name` is the type's own without one, `envelope`
//! `"cloudevents"`. The key is a field that implements `Display`, or one of a field's: `key = "customer.id"`.

mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `ottla::services::Event`.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    expanded(&parse_macro_input!(input as DeriveInput), expand::Kind::Event)
}

/// Implements `ottla::services::Event` and `ottla::services::Command`.
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    expanded(&parse_macro_input!(input as DeriveInput), expand::Kind::Command)
}

fn expanded(input: &DeriveInput, kind: expand::Kind) -> TokenStream {
    expand::expand(input, kind).unwrap_or_else(syn::Error::into_compile_error).into()
}
