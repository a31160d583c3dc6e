//! The reference documents' own examples, what is recognised as what, and that what was written is read.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::client::cluster::{Headers, Stored, ToSend, TopicPartition};
use crate::services::unit::Emission;
use crate::services::{Class, ServiceError};
use crate::types::Offset;

const STORED_AT: Timestamp = Timestamp(1_750_000_000_000);

fn stored(value: Option<&str>, headers: &[(&str, &str)]) -> Stored {
    let header = |(key, value): &(&str, &str)| ((*key).to_owned(), Some(value.to_string().into()));
    Stored {
        at: TopicPartition::new("order-created", 3),
        offset: Offset(42),
        timestamp: STORED_AT,
        key: None,
        value: value.map(|value| value.to_owned().into()),
        headers: headers.iter().map(header).collect(),
    }
}

/// Reads a value without headers as whatever it is.
fn check(value: &str, envelope: Envelope, name: &str, event_id: &str, body: &Value) -> Read {
    let read = read(&stored(Some(value), &[]), None).expect("an event");
    assert_eq!(
        (read.envelope, &*read.name, &*read.event_id, &read.body),
        (envelope, name, event_id, body)
    );
    assert_eq!(super::read(&stored(Some(value), &[]), Some(envelope)), Ok(read.clone()));
    read
}

#[test]
fn flat_events_without_a_name_are_read() {
    let value = r#"{"eventId":"workflow_generated_1750000000001","workflowId":"wf-1",
        "generatedWorkflow":{"steps":[]},"userId":"u-1","tenantId":"tenant-0a","timestamp":1750000000001}"#;
    let body = serde_json::from_str(value).unwrap();
    let read = check(value, Envelope::Flat, "", "workflow_generated_1750000000001", &body);
    assert_eq!(read.time, Timestamp(1_750_000_000_001));
    assert_eq!(read.correlation_id, read.event_id);
}

#[test]
fn flat_events_are_named_by_the_header_event_type() {
    let value = r#"{"eventId":"e-1","userId":"u-1","tenantId":"t-1","email":"a@b.c","timestamp":1750000000002,
        "ipAddress":"::1","userAgent":"x","permissions":["workflow.create"]}"#;
    let headers = [
        ("event-type", "user.authenticated"),
        ("tenant-id", "t-1"),
        ("timestamp", "1750000000002"),
    ];
    let read = read(&stored(Some(value), &headers), None).unwrap();
    assert_eq!((read.envelope, &*read.name), (Envelope::Flat, "user.authenticated"));
    assert_eq!(read.time, Timestamp(1_750_000_000_002));

    let bare = super::read(&stored(Some(r#"{"userId":"u-1"}"#), &headers), None).unwrap();
    assert_eq!((bare.envelope, &*bare.name), (Envelope::Flat, "user.authenticated"));
    assert_eq!((&*bare.event_id, bare.time), ("order-created-3@42", Timestamp(1_750_000_000_002)));
}

#[test]
fn steps_of_the_workflow_saga_are_flat_events_of_a_saga() {
    let value = r#"{"sagaId":"saga_1750000000000_k3j9x0a1b","userId":"u-1","tenantId":"t-1",
        "permissions":["workflow.create"]}"#;
    let body = serde_json::from_str(value).unwrap();
    let read = check(value, Envelope::Flat, "", "order-created-3@42", &body);
    assert_eq!(read.saga_id.as_deref(), Some("saga_1750000000000_k3j9x0a1b"));
}

#[test]
fn events_with_a_payload_are_read() {
    let value = r#"{"eventId":"b-1","eventType":"user.authenticated","timestamp":"2025-06-14T21:00:00.250Z",
        "version":"1.0","source":"api-gateway","payload":{"userId":"u-1","email":"a@b.c","sessionId":"s-1",
        "authMethod":"oauth2"}}"#;
    let body =
        json!({"userId": "u-1", "email": "a@b.c", "sessionId": "s-1", "authMethod": "oauth2"});
    let read = check(value, Envelope::Payload, "user.authenticated", "b-1", &body);
    assert_eq!(read.time, Timestamp(1_749_934_800_250));
}

#[test]
fn flat_events_with_a_name_are_read_whatever_their_time_is() {
    let value = r#"{"eventType":"OrderCreated","eventId":"uuid","timestamp":"2024-01-...",
        "orderId":"order-123","userId":"user-456"}"#;
    let body = serde_json::from_str(value).unwrap();
    let read = check(value, Envelope::Flat, "OrderCreated", "uuid", &body);
    assert_eq!(read.time, STORED_AT);
}

#[test]
fn saga_commands_are_read() {
    let value = r#"{"command": "create_order", "payload": {"order_id": "order-123"}, "saga_id": "saga-123",
        "correlation_id": "corr-456", "source_service": "saga-coordinator",
        "timestamp": "2025-06-14T21:00:00.123456"}"#;
    let body = json!({"order_id": "order-123"});
    let read = check(value, Envelope::Command, "create_order", "order-created-3@42", &body);
    assert_eq!(read.saga_id.as_deref(), Some("saga-123"));
    assert_eq!(&*read.correlation_id, "corr-456");
    assert_eq!(read.time, Timestamp(1_749_934_800_123));
}

#[test]
fn domain_events_are_read() {
    let value = r#"{"event_type": "order_created", "aggregate_id": "order-123", "aggregate_type": "order",
        "event_data": {"order_id": "order-123"}, "event_version": 1, "occurred_at": 1749934800.5}"#;
    let body = json!({"order_id": "order-123"});
    let read = check(value, Envelope::Domain, "order_created", "order-created-3@42", &body);
    assert_eq!(read.time, Timestamp(1_749_934_800_500));
}

#[test]
fn events_with_data_and_metadata_are_read() {
    let value = r#"{"type":"USER_CREATED","data":{"userId":"65f0c0ffee","email":"a@b.c","role":"hr"},
        "metadata":{"tenantId":"t-1","source":"auth-service","eventId":"m-1"}}"#;
    let body = json!({"userId": "65f0c0ffee", "email": "a@b.c", "role": "hr"});
    check(value, Envelope::Data, "USER_CREATED", "m-1", &body);
    // As the document's createEvent leaves it: without an id.
    let value = r#"{"type":"USER_CREATED","data":{},"metadata":{"tenantId":"t-1"}}"#;
    check(value, Envelope::Data, "USER_CREATED", "order-created-3@42", &json!({}));
}

#[test]
fn cloud_events_are_read_in_both_modes() {
    let headers = [
        ("ce_id", "c-1"),
        ("ce_type", "OrderCreated"),
        ("ce_source", "/shop"),
        ("ce_time", "2025-06-14T23:00:00+02:00"),
        ("ce_specversion", "1.0"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("ottla-correlation-id", "corr"),
        ("ottla-causation-id", "cause"),
        ("ottla-saga-id", "saga"),
    ];
    let read = read(&stored(Some(r#"{"order_id":"o-1"}"#), &headers), None).unwrap();
    assert_eq!((read.envelope, &*read.name), (Envelope::CloudEvents, "OrderCreated"));
    assert_eq!((&*read.event_id, &*read.correlation_id), ("c-1", "corr"));
    assert_eq!(
        (read.causation_id.as_deref(), read.saga_id.as_deref()),
        (Some("cause"), Some("saga"))
    );
    assert_eq!(read.traceparent.as_deref(), Some(headers[5].1));
    assert_eq!(read.time, Timestamp(1_749_934_800_000));
    assert_eq!(read.body, json!({"order_id": "o-1"}));

    let none = super::read(&stored(None, &headers), None).unwrap();
    assert_eq!((&*none.name, none.body), ("OrderCreated", Value::Null));

    let value = r#"{"specversion":"1.0","id":"c-2","source":"/shop","type":"OrderCreated",
        "time":"2025-06-14T21:00:00Z","data":{"order_id":"o-2"}}"#;
    check(value, Envelope::CloudEvents, "OrderCreated", "c-2", &json!({"order_id": "o-2"}));
}

#[test]
fn a_cloud_event_that_looks_like_an_envelope_is_one_if_the_names_agree() {
    let value = r#"{"event_type":"order_created","event_data":{"order_id":"o-1"}}"#;
    let named =
        |name| read(&stored(Some(value), &[("ce_id", "1"), ("ce_type", name)]), None).unwrap();
    assert_eq!(named("order_created").envelope, Envelope::Domain);
    assert_eq!(named("order_created").body, json!({"order_id": "o-1"}));
    assert_eq!(named("imported").envelope, Envelope::CloudEvents);
    assert_eq!(named("imported").body, serde_json::from_str::<Value>(value).unwrap());
}

#[test]
fn a_reply_with_an_id_in_its_headers_alone_is_a_domain_event() {
    let value = r#"{"event_type":"payment_completed","event_data":{"receipt":"r-1"}}"#;
    let headers = [
        ("ce_id", "c-1:r"),
        ("kafka_correlationId", "x"),
        ("ottla-saga-id", "s-1"),
        ("ottla-status", "ok"),
    ];
    let read = read(&stored(Some(value), &headers), None).unwrap();
    assert_eq!((read.envelope, &*read.name), (Envelope::Domain, "payment_completed"));
    assert_eq!((&*read.event_id, read.saga_id.as_deref()), ("c-1:r", Some("s-1")));
}

#[test]
fn what_is_expected_wins_where_it_fits() {
    let value = r#"{"eventType":"Sent","eventId":"1","payload":{"a":1}}"#;
    let with = |expected| read(&stored(Some(value), &[]), expected).unwrap();
    assert_eq!(with(None).envelope, Envelope::Payload);
    assert_eq!(with(Some(Envelope::Flat)).envelope, Envelope::Flat);
    assert_eq!(with(Some(Envelope::Domain)).envelope, Envelope::Payload);
    assert_eq!(with(Some(Envelope::CloudEvents)).envelope, Envelope::Payload);
}

#[test]
fn a_value_in_no_envelope_is_an_event_for_who_expects_none() {
    let record = stored(Some(r#"{"order_id":"o-1"}"#), &[]);
    for envelope in [Envelope::CloudEvents, Envelope::Flat] {
        let read = read(&record, Some(envelope)).unwrap();
        assert_eq!((read.envelope, &*read.name), (envelope, ""));
        assert_eq!((&*read.event_id, read.time), ("order-created-3@42", STORED_AT));
    }
    assert!(read(&record, Some(Envelope::Domain)).is_err());
}

#[test]
fn an_id_given_by_ottla_wins_over_all_others() {
    let headers = [("ce_id", "c-1"), ("ottla-event-id", "order-created-0@7")];
    let read = read(&stored(Some(r#"{"eventId":"b-1"}"#), &headers), None).unwrap();
    assert_eq!(&*read.event_id, "order-created-0@7");
}

#[test]
fn headers_that_are_no_text_count_as_missing() {
    let mut record = stored(Some(r#"{"eventId":"b-1"}"#), &[("ce_id", "")]);
    record.headers.push(("ottla-event-id".to_owned(), Some(vec![0xff, 0xfe].into())));
    record.headers.push(("ottla-saga-id".to_owned(), None));
    record.headers.push(("traceparent".to_owned(), Some("00-nothing".into())));
    let read = read(&record, None).unwrap();
    assert_eq!((&*read.event_id, read.saga_id, read.traceparent), ("b-1", None, None));
}

fn refused(value: Option<&[u8]>) -> EnvelopeError {
    let value = value.map(bytes::Bytes::copy_from_slice);
    read(&Stored { value, ..stored(None, &[]) }, None).expect_err("no event")
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let at = |value: &str| match refused(Some(value.as_bytes())) {
        EnvelopeError::NotJson { at, message } => (at, message),
        other => panic!("{other}"),
    };
    assert_eq!(at("{\"a\": 1,\n \"b\": x}"), (15, "expected value".to_owned()));
    assert_eq!(at("hello").0, 0);
    assert_eq!(at("{\"a\":").1, "EOF while parsing a value");
    assert_eq!(at(&"[".repeat(200)).1, "recursion limit exceeded");
    assert!(matches!(refused(Some(b"\xff\xfe")), EnvelopeError::NotJson { at: 0, .. }));
    assert_eq!(refused(Some(b"\0\0\0\0\x07avro")), EnvelopeError::Framed { schema_id: 7 });
    assert_eq!(refused(None), EnvelopeError::NoValue);
}

#[test]
fn an_unknown_envelope_names_its_first_keys() {
    let found = |value: &str| match refused(Some(value.as_bytes())) {
        EnvelopeError::Unknown { found } => found,
        other => panic!("{other}"),
    };
    assert_eq!(
        found(r#"{"orderId":1,"total":2,"c":3,"d":4,"e":5,"f":6,"g":7}"#),
        "the value's keys are orderId, total, c, d, e and 2 more"
    );
    assert_eq!(found("[1]"), "the value is a list");
    assert_eq!(found("{}"), "the value is an object without keys");
    let error = ServiceError::from(refused(Some(b"17")));
    assert_eq!((error.class, &*error.reason), (Class::Permanent, "unknown-envelope"));
    assert!(error.to_string().contains("the value is a number: known are cloudevents"), "{error}");
}

#[test]
fn what_takes_too_much_memory_is_refused() {
    let large = vec![b' '; VALUE_BYTES_MAX + 1];
    assert_eq!(refused(Some(&large)), EnvelopeError::TooLarge { bytes: large.len() });
    let many = format!("[{}0]", "0,".repeat(ELEMENTS_MAX));
    assert_eq!(refused(Some(many.as_bytes())), EnvelopeError::TooManyElements);
}

fn about(id: &str) -> About {
    About {
        event_id: id.into(),
        correlation_id: "corr-456".into(),
        causation_id: Some("cause-1".into()),
        source: "saga-coordinator".into(),
        time: Timestamp(1_749_934_800_123),
        saga_id: Some("saga-123".into()),
        traceparent: None,
    }
}

fn emission(envelope: Envelope, topic: &str, name: &str, body: Value) -> Emission {
    let (topic, name) = (topic.into(), name.into());
    Emission { topic, name, envelope, key: "order-123".to_owned(), body, headers: Headers::new() }
}

fn written(sent: &ToSend) -> Value {
    serde_json::from_slice(sent.value.as_ref().unwrap()).unwrap()
}

fn as_stored(sent: ToSend) -> Stored {
    Stored {
        at: TopicPartition::new(sent.topic, 0),
        offset: Offset(0),
        timestamp: STORED_AT,
        key: sent.key,
        value: sent.value,
        headers: sent.headers,
    }
}

#[test]
fn envelopes_are_written_as_the_documents_have_them() {
    let body = json!({"order_id": "order-123"});
    let value = |envelope, topic, name| {
        written(&write(&emission(envelope, topic, name, body.clone()), &about("e-1")))
    };
    let at = "2025-06-14T21:00:00.123Z";
    assert_eq!(value(Envelope::CloudEvents, "order-created", "OrderCreated"), body);
    assert_eq!(
        value(Envelope::Flat, "order-created", "OrderCreated"),
        json!({"eventType": "OrderCreated", "eventId": "e-1", "timestamp": at, "sagaId": "saga-123",
            "order_id": "order-123"})
    );
    assert_eq!(
        value(Envelope::Payload, "user-events", "user.registered"),
        json!({"eventId": "e-1", "eventType": "user.registered", "timestamp": at, "version": "1.0",
            "source": "saga-coordinator", "payload": body})
    );
    assert_eq!(
        value(Envelope::Command, "order_commands", "create_order"),
        json!({"command": "create_order", "payload": body, "saga_id": "saga-123",
            "correlation_id": "corr-456", "source_service": "saga-coordinator", "timestamp": at})
    );
    assert_eq!(
        value(Envelope::Domain, "order_domain_events", "order_created"),
        json!({"event_type": "order_created", "aggregate_id": "order-123", "aggregate_type": "order",
            "event_data": body, "event_version": 1, "occurred_at": at})
    );
    assert_eq!(
        value(Envelope::Data, "user.created", "USER_CREATED"),
        json!({"type": "USER_CREATED", "data": body, "metadata": {"source": "saga-coordinator",
            "eventId": "e-1", "timestamp": at, "correlationId": "corr-456", "causationId": "cause-1",
            "sagaId": "saga-123"}})
    );
}

#[test]
fn an_emission_says_more_than_the_runtime() {
    let body = json!({"eventId": "own", "timestamp": 5, "userId": "u-1"});
    let flat =
        write(&emission(Envelope::Flat, "user.created", "user.created", body), &about("e-1"));
    assert_eq!(
        written(&flat),
        json!({"eventType": "user.created", "eventId": "own", "timestamp": 5, "sagaId": "saga-123",
            "userId": "u-1"})
    );
    assert_eq!(headers::text(&flat.headers, "ce_id"), Some("own"));
    assert_eq!(headers::text(&flat.headers, "event-type"), Some("user.created"));

    let mut command = emission(Envelope::Command, "order_commands", "create_order", json!({}));
    headers::set(&mut command.headers, "ce_id", "step-1");
    headers::set(&mut command.headers, "ottla-step", "reserve");
    let sent = write(&command, &about("e-1"));
    assert_eq!(headers::text(&sent.headers, "ce_id"), Some("step-1"));
    assert_eq!(written(&sent)["step"], "reserve");
    assert_eq!(sent.headers.iter().filter(|(key, _)| key == "ce_id").count(), 1);
    assert_eq!((sent.key, sent.partition), (Some("order-123".into()), None));
}

#[test]
fn a_trace_goes_on_and_begins_the_same_every_time() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let child = trace::child(Some(parent), "corr", "e-1");
    assert_eq!((&child[..36], &child[52..]), ("00-4bf92f3577b34da6a3ce929d0e0e4736-", "-00"));
    assert_ne!(child, parent);
    assert_eq!(trace::valid(&child), Some(&*child));
    let (one, other) = (trace::child(None, "corr", "e-1"), trace::child(None, "corr", "e-2"));
    assert_eq!((&one[..36], trace::valid(&one)), (&other[..36], Some(&*one)));
    assert_ne!(one, other);
    for bad in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
    ] {
        assert_eq!(trace::valid(bad), None, "{bad}");
    }
}

#[test]
fn times_are_read_as_they_come() {
    let check = |text: &str, ms: i64| assert_eq!(time::parse(text), Some(Timestamp(ms)), "{text}");
    check("1970-01-01T00:00:00Z", 0);
    check("2000-02-29T12:30:15.5Z", 951_827_415_500);
    check("2000-02-29 12:30:15,512345", 951_827_415_512);
    check("1969-12-31T23:59:59.999Z", -1);
    check("2025-06-14T21:00:00-0330", 1_749_947_400_000);
    for bad in [
        "",
        "2025-06-14",
        "2025-02-30T00:00:00Z",
        "2025-13-01T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00Zulu",
        "2025-01-01T00:00:00+1",
        "2025-01-01T00:00:00€",
        "+025-01-01T00:00:00Z",
    ] {
        assert_eq!(time::parse(bad), None, "{bad}");
    }
    assert_eq!(time::from_json(&json!(1_749_934_800)), Some(Timestamp(1_749_934_800_000)));
    assert_eq!(time::from_json(&json!("1749934800250")), Some(Timestamp(1_749_934_800_250)));
    assert_eq!(time::from_json(&json!(-1)), None);
    assert_eq!(time::from_json(&json!(1e300)), None);
}

#[test]
fn envelopes_have_names() {
    for envelope in Envelope::ALL {
        assert_eq!(Envelope::from_name(envelope.name()), Some(envelope));
    }
    assert_eq!(Envelope::from_name("avro"), None);
}

fn bodies() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    let keys =
        "[a-z_]{1,8}|eventId|eventType|payload|command|type|data|event_type|event_data|specversion";
    let nested = leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(keys, nested, 0..5)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

proptest! {
    #[test]
    fn what_was_written_is_read(body in bodies(), name in "Order[a-zA-Z._]{1,12}", id in "\\PC{1,20}", ms in 0i64..4_000_000_000_000) {
        for envelope in Envelope::ALL {
            let about = About { time: Timestamp(ms), ..about(&id) };
            let sent = write(&emission(envelope, "orders", &name, body.clone()), &about);
            let value = written(&sent);
            let record = as_stored(sent);
            let read = read(&record, Some(envelope)).unwrap();
            prop_assert_eq!(&*read.name, &*name);
            prop_assert_eq!(read.time, about.time);
            prop_assert_eq!((&read.correlation_id, &read.causation_id), (&about.correlation_id, &about.causation_id));
            prop_assert_eq!(&read.saga_id, &about.saga_id);
            prop_assert!(read.traceparent.is_some());
            prop_assert_eq!(&read.body, if envelope == Envelope::Flat { &value } else { &body });
            let own_id = body.get("eventId").and_then(Value::as_str).filter(|id| !id.is_empty());
            let event_id = own_id.filter(|_| envelope == Envelope::Flat).unwrap_or(&id);
            prop_assert_eq!(&*read.event_id, event_id);
            prop_assert_eq!(read.envelope, envelope);
            if envelope != Envelope::CloudEvents && envelope != Envelope::Flat {
                prop_assert_eq!(super::read(&record, None), Ok(read));
            }
        }
    }

    #[test]
    fn times_are_written_and_read(ms in -62_167_219_200_000i64..253_402_300_800_000) {
        prop_assert_eq!(time::parse(&time::format(Timestamp(ms))), Some(Timestamp(ms)));
    }

    #[test]
    fn no_bytes_and_no_text_panic(value: Vec<u8>, text in ".*", header: Vec<u8>) {
        let mut record = stored(None, &[]);
        record.value = Some(value.into());
        record.headers = vec![("ce_time".to_owned(), Some(header.clone().into())), ("traceparent".to_owned(), Some(header.into()))];
        let _ = read(&record, None);
        let _ = (time::parse(&text), trace::valid(&text));
    }
}
