//! The orchestrator on a table in memory: what comes by its topic, what it writes.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use serde_json::{Value, json};

use super::sagas;
use crate::client::cluster::TopicPartition;
use crate::services::cx::{Cx, Effects, StateView};
use crate::services::error::Result;
use crate::services::event::Envelope;
use crate::services::saga::{Operation, Orchestrator, Record, Status, decision, start};
use crate::services::unit::{Emission, Input, TimerChange};
use crate::types::{Offset, Timestamp};

#[derive(Clone, Default)]
struct Rows(BTreeMap<(String, String), Bytes>);

impl StateView for Rows {
    fn row(&self, table: &str, key: &str) -> Option<Bytes> {
        self.0.get(&(table.to_owned(), key.to_owned())).cloned()
    }
}

struct NoEffects;

impl Effects for NoEffects {
    fn intend<'a>(
        &'a self,
        _key: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(true)))
    }

    fn boundary<'a>(&'a self, _name: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(std::future::ready(()))
    }
}

/// One partition of everything.
struct Bench {
    saga: Orchestrator,
    rows: Rows,
    /// What was emitted to others.
    out: Vec<Emission>,
    timers: BTreeMap<String, Emission>,
    offset: i64,
}

impl Bench {
    fn new(saga: &str) -> Self {
        let saga = Orchestrator::new(sagas::named(saga));
        let (rows, out, timers) = (Rows::default(), Vec::new(), BTreeMap::new());
        Self { saga, rows, out, timers, offset: 0 }
    }

    /// Handles a record and all that comes of it by the saga's own topic.
    fn take(&mut self, record: Emission) -> Result<()> {
        let mut queue = vec![record];
        while !queue.is_empty() {
            let record = queue.remove(0);
            queue.extend(self.one(&record)?);
        }
        Ok(())
    }

    fn one(&mut self, record: &Emission) -> Result<Vec<Emission>> {
        let input = self.input(record);
        let state = Arc::new(self.rows.clone());
        let cx = Cx::new("g".into(), input, Timestamp(0), state, Arc::new(NoEffects));
        let mut handling = pin!(self.saga.handle(cx.clone()));
        let polled = handling.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(handled) = polled else { panic!("it waits for nobody") };
        handled?;
        let unit = cx.take_unit();
        for ((table, key), row) in unit.rows {
            let at = (table.to_owned(), key);
            match row {
                Some(row) => drop(self.rows.0.insert(at, row)),
                None => drop(self.rows.0.remove(&at)),
            }
        }
        for change in unit.timers {
            match change {
                TimerChange::Set { id, event, .. } => drop(self.timers.insert(id, event)),
                TimerChange::Cancel { id } => drop(self.timers.remove(&id)),
            }
        }
        let inbox = self.saga.topics()[0].clone();
        let (own, others): (Vec<_>, Vec<_>) =
            unit.emissions.into_iter().partition(|emission| emission.topic == inbox);
        self.out.extend(others);
        Ok(own)
    }

    fn input(&mut self, record: &Emission) -> Input {
        self.offset += 1;
        let id: Arc<str> = format!("e-{}", self.offset).into();
        Input {
            at: TopicPartition::new(record.topic.clone(), 0),
            offset: Offset(self.offset),
            timestamp: Timestamp(0),
            key: Some(record.key.clone().into()),
            value: serde_json::to_vec(&json!({ "event_data": record.body })).ok().map(Bytes::from),
            headers: record.headers.clone(),
            routed_key: record.key.clone().into(),
            event_id: id.clone(),
            name: record.name.clone(),
            correlation_id: id,
            saga_id: None,
            traceparent: None,
            body: record.body.clone(),
            envelope: record.envelope,
            attempt: 1,
            maybe_begun: false,
        }
    }

    fn saga(&self) -> Option<Record> {
        let row = self.rows.row(self.saga.tables()[0], "s-1")?;
        Some(Record::decode(&row).unwrap())
    }

    fn sent(&mut self) -> Vec<String> {
        self.out.drain(..).map(|it| format!("{} {}", it.topic, it.name)).collect()
    }
}

fn order() -> Value {
    json!({ "order_id": "o-1", "customer_id": "c", "items": [], "total_amount": 7.0 })
}

fn reply(key: &str, headers: &[(&str, &str)], body: Value) -> Emission {
    let owned = |(name, value): &(&str, &str)| {
        ((*name).to_owned(), Some(Bytes::copy_from_slice(value.as_bytes())))
    };
    Emission {
        topic: "ottla.reply.order".into(),
        name: "done".into(),
        envelope: Envelope::Domain,
        key: key.to_owned(),
        body,
        headers: headers.iter().map(owned).collect(),
    }
}

#[test]
fn a_saga_is_started_answered_and_told_about() {
    let mut bench = Bench::new("order");
    bench.take(start("order", "s-1", order())).unwrap();
    assert_eq!(bench.sent(), ["order_commands create_order", "saga_domain_events saga_started"]);
    assert_eq!(bench.timers.keys().collect::<Vec<_>>(), ["s-1/saga", "s-1/step"]);
    bench.take(reply("s-1", &[("ottla-step", "create_order")], Value::Null)).unwrap();
    assert_eq!(
        bench.sent(),
        ["inventory_commands reserve_inventory", "saga_domain_events saga_step_completed"]
    );
    let refused = [
        ("ottla-step", "reserve_inventory"),
        ("ottla-status", "failed"),
        ("ottla-reason", "sold-out"),
        ("ce_source", "inventory"),
    ];
    bench.take(reply("s-1", &refused, Value::Null)).unwrap();
    let saga = bench.saga().unwrap();
    assert_eq!((saga.status, saga.reason.as_deref()), (Status::Compensating, Some("sold-out")));
    assert_eq!(saga.history[1].actor.as_deref(), Some("inventory"));
}

#[test]
fn a_reply_is_known_by_its_correlation_and_finds_its_saga_from_another_key() {
    let mut bench = Bench::new("order");
    bench.take(start("order", "s-1", order())).unwrap();
    let command = bench.saga().unwrap().awaiting.unwrap().command_id;
    let headers = [("kafka_correlationId", &*command), ("ottla-saga-id", "s-1")];
    bench.take(reply("o-1", &headers, Value::Null)).unwrap();
    assert_eq!(bench.saga().unwrap().done, ["create_order"]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let mut bench = Bench::new("order");
    let mut reason = |record| bench.take(record).map_err(|error| error.reason);
    let refused = |reason: &str| Err(reason.to_owned());
    assert_eq!(reason(start("order", "s-1", json!({}))), refused("saga-refused"));
    assert_eq!(reason(reply("s-1", &[], Value::Null)), refused("unaddressed-reply"));
    let odd = [("ottla-step", "create_order"), ("ottla-status", "perhaps")];
    assert_eq!(reason(reply("s-1", &odd, Value::Null)), refused("unaddressed-reply"));
    let mut unknown = start("order", "s-1", order());
    unknown.name = "ottla.saga.unknown".into();
    assert_eq!(reason(unknown), refused("bad-event"));
    assert_eq!(reason(start("order", "s-1", order())), Ok(()));
    assert_eq!(reason(start("order", "s-1", order())), Ok(()));
}

#[test]
fn deadlines_and_decisions_come_by_the_same_topic() {
    let mut bench = Bench::new("order");
    bench.take(start("order", "s-1", order())).unwrap();
    bench.take(decision("order", "s-1", Operation::Skip, "ann")).unwrap();
    assert_eq!(bench.saga().unwrap().done, ["create_order"]);
    let due = bench.timers["s-1/saga"].clone();
    bench.take(due).unwrap();
    assert_eq!(bench.saga().unwrap().status, Status::Compensating);
    assert!(!bench.timers.contains_key("s-1/saga"));
    assert!(bench.sent().contains(&"system.alerts saga_compensating".to_owned()));
    bench.take(decision("order", "s-1", Operation::Abandon, "ann")).unwrap();
    assert_eq!(bench.saga().unwrap().status, Status::Failed);
    assert!(bench.timers.is_empty());
}

#[test]
fn an_event_that_everybody_reads_answers_those_who_wait_for_it() {
    let mut bench = Bench::new("events");
    let topics = ["ottla.reply.events", "payment_domain_events", "saga.user.validation.completed"];
    assert_eq!(bench.saga.topics().iter().map(|it| &**it).collect::<Vec<_>>(), topics);
    bench.take(start("events", "s-1", order())).unwrap();
    let paid = |name: &str, order: &str| Emission {
        topic: "payment_domain_events".into(),
        name: name.into(),
        ..reply(order, &[], json!({ "order_id": order, "receipt": "r-1", "reason": "poor" }))
    };
    bench.take(paid("payment_completed", "o-2")).unwrap();
    bench.take(paid("payment_refunded", "o-1")).unwrap();
    assert_eq!(bench.saga().unwrap().done, Vec::<String>::new());
    bench.take(paid("payment_completed", "o-1")).unwrap();
    let saga = bench.saga().unwrap();
    assert_eq!(
        (&saga.done[..], &saga.data["receipt"]),
        (&["process_payment".to_owned()][..], &json!("r-1"))
    );
    let waits = bench.saga.tables()[1];
    assert!(!bench.rows.0.keys().any(|(table, _)| table == waits));

    let mut bench = Bench::new("events");
    bench.take(start("events", "s-1", order())).unwrap();
    bench.take(paid("payment_failed", "o-1")).unwrap();
    let saga = bench.saga().unwrap();
    assert_eq!((saga.status, saga.reason.as_deref()), (Status::Failed, Some("poor")));
}
