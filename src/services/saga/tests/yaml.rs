//! Sagas in YAML: the example of the documentation, and what is told of wrong files.

use serde_json::{Value, json};

use crate::services::saga::{
    Answered, DataError, Decision, Event, Phase, Record, Status, Verdict, Versions, command_id,
    decide, yaml,
};
use crate::types::Timestamp;

fn example() -> &'static str {
    let text = include_str!("../../../../docs/sagas.md");
    let (_, rest) = text.split_once("```yaml\n").unwrap();
    rest.split_once("```").unwrap().0
}

fn start(data: Value) -> Event {
    let (saga_id, correlation_id) = ("s".to_owned(), "c".to_owned());
    Event::Start { saga_id, data, correlation_id, traceparent: None }
}

fn ok(step: &str, phase: Phase, body: Value) -> Event {
    Event::Reply {
        id: format!("{step}-{}", phase.name()),
        command_id: command_id("order", "s", step, phase),
        status: Answered::Ok,
        body,
        actor: "p".to_owned(),
    }
}

/// The decisions, in order, and the saga at last.
fn run(events: Vec<Event>) -> (Vec<Decision>, Record) {
    let versions = Versions::of(yaml::parse("order.yaml", example()).unwrap()).unwrap();
    let mut record = None;
    let decisions = events.into_iter().map(|event| {
        let decision = decide(&versions, record.as_ref(), event, Timestamp(0));
        record = decision.record.clone().or(record.take());
        decision
    });
    let decisions = decisions.collect();
    (decisions, record.unwrap())
}

fn sent(decision: &Decision) -> Vec<(String, Value)> {
    let commands = decision.commands.iter();
    commands.map(|command| (command.name.to_string(), command.body.clone())).collect()
}

#[test]
fn the_example_of_the_documentation_runs() {
    let data = json!({ "order_id": "o-1", "items": [{ "sku": "a" }], "total": 7 });
    let (decisions, record) = run(vec![
        start(data),
        ok("reserve", Phase::Run, Value::Null),
        ok("pay", Phase::Run, json!({ "accepted": true, "receipt": "r-1" })),
    ]);
    let expected = json!({ "order_id": "o-1", "items": [{ "sku": "a" }] });
    assert_eq!(sent(&decisions[0]), [("reserve_inventory".to_owned(), expected)]);
    let expected = json!({ "order_id": "o-1", "amount": 7, "note": "order o-1 of " });
    assert_eq!(sent(&decisions[1]), [("process_payment".to_owned(), expected)]);
    let expected = json!({ "orderId": "o-1" });
    assert_eq!(sent(&decisions[2]), [("NotificationRequested".to_owned(), expected)]);
    assert_eq!((record.status, &record.data["receipt"]), (Status::Completed, &json!("r-1")));
}

#[test]
fn a_refusal_is_undone_and_named() {
    let data = json!({ "order_id": "o-1", "items": [], "total": 7, "is_large": true });
    let (decisions, record) = run(vec![
        start(data),
        ok("reserve", Phase::Run, Value::Null),
        ok("approve", Phase::Run, Value::Null),
        ok("pay", Phase::Run, json!({ "accepted": false })),
        ok("pay", Phase::Undo, Value::Null),
        ok("reserve", Phase::Undo, Value::Null),
    ]);
    assert_eq!(decisions[1].watches.len(), 1);
    let expected = json!({ "order_id": "o-1", "receipt": null });
    let receipt = sent(&decisions[3]);
    assert_eq!(receipt[0].0, "refund_payment");
    assert_eq!(receipt[0].1["order_id"], expected["order_id"]);
    assert_eq!(record.status, Status::Compensated);
    assert_eq!(record.reason.as_deref(), Some("payment was not accepted"));
}

#[test]
fn an_answer_without_what_is_kept_of_it_is_undone() {
    let (decisions, record) = run(vec![
        start(json!({ "order_id": "o-1", "items": [], "total": 7 })),
        ok("reserve", Phase::Run, Value::Null),
        ok("pay", Phase::Run, json!({ "accepted": true })),
    ]);
    assert_eq!(sent(&decisions[2])[0].0, "refund_payment");
    assert_eq!(record.reason.as_deref(), Some("bad-reply: /receipt is missing"));
}

#[test]
fn data_without_what_is_required_begins_no_saga() {
    let versions = Versions::of(yaml::parse("order.yaml", example()).unwrap()).unwrap();
    let refused = decide(&versions, None, start(json!({ "order_id": "o-1" })), Timestamp(0));
    assert_eq!(refused.record, None);
    let missing = DataError::new("items", "is missing");
    assert_eq!(versions.newest().check(&json!({})), Err(missing));
}

#[test]
fn what_a_saga_is_about_is_its_id_where_the_data_does_not_say_it_and_is_told_of_its_life() {
    let versions = Versions::of(yaml::parse("order.yaml", example()).unwrap()).unwrap();
    let data = json!({ "items": [], "total": 5 });
    assert_eq!(versions.newest().check(&data), Ok(()));
    let begun = decide(&versions, None, start(data.clone()), Timestamp(0));
    let record = begun.record.unwrap();
    assert_eq!(record.data, json!({ "items": [], "total": 5, "order_id": "s" }));
    assert_eq!(begun.lifecycle[0].body["order_id"], "s");
    let again = decide(&versions, Some(&record), start(data), Timestamp(0));
    assert_eq!(again.verdict, Verdict::Ignored("started before"));
}

fn check(text: &str, expected: &[&str]) {
    let complaints = yaml::parse("s.yaml", text).map(|_| ()).unwrap_err();
    assert_eq!(complaints, expected, "{text}");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let head = "saga: a\nversion: 1\nsteps:\n  - name: b\n";
    let send = "    send:\n      topic: t\n      type: c\n      key: ";
    check(head, &["s.yaml, line 4, column 11: a step needs `send`, `wait` or both"]);
    check(
        &format!("{head}{send}${{id}}\n    timeout: 5 s\n    answer: maybe\n"),
        &[
            "s.yaml, line 10, column 13: answer: `reply` or `none`",
            "s.yaml, line 8, column 12: `${id}`: fields are `data.NAME` or `data.NAME.NAME`",
            "s.yaml, line 9, column 14: \"5 s\" is no span of time: `500ms`, `5s`, `10m`, `12h`, `7d`",
        ],
    );
    check(
        &format!("{head}{send}k\n    save: {{ x: y }}\n  - name: b\n{send}k\n"),
        &["s.yaml, line 9, column 16: \"y\" is no JSON pointer: `/field/field`"],
    );
    check(
        &format!("{head}{send}k\n  - name: b\n{send}k\n"),
        &["s.yaml, line 1, column 7: saga a has two steps b"],
    );
    check("saga: a\nversion: 1\nsteps: []\n", &["s.yaml, line 1, column 7: saga a has no steps"]);
}

#[test]
fn what_the_parser_refuses_has_a_place_too() {
    for (text, part) in [
        ("saga: a\nversion: one\nsteps: []\n", "line 2, column 10"),
        ("saga: a\nversion: 1\nsteps:\n  - nam: b\n", "line 4"),
        ("saga: a\nversion: 1\n", "steps"),
    ] {
        let complaints = yaml::parse("s.yaml", text).map(|_| ()).unwrap_err();
        assert!(complaints[0].contains(part), "{complaints:?}");
    }
}
