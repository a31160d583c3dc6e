//! Health, readiness, version and metrics, asked over a plain socket as probes and Prometheus do.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use ottla::Ottla;
use ottla::client::{Address, Connection, Options};
use ottla::clock::Clock;
use ottla::config::ConfigTable;
use ottla::config::listener::Exposure;
use ottla::config::value::HttpPort;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::init_producer_id::InitProducerIdRequest;
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::records::{BatchBuilder, NewRecord};
use ottla::types::{ProducerEpoch, ProducerId};
use serde_json::{Value, json};

struct Answer {
    code: u16,
    head: String,
    body: String,
}

fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

/// Runs `test` while ottla runs, on a thread that may block.
fn with_ottla(test: impl FnOnce(&Ottla, SocketAddr) + Send) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let builder =
        Ottla::builder().ephemeral().with_config(|it| it.ottla_http_port = HttpPort::On(0));
    let ottla = runtime.block_on(builder.start()).unwrap();
    test(&ottla, ottla.http_address().unwrap());
    runtime.block_on(ottla.stop()).unwrap();
}

/// Runs a command of ours towards it.
fn command(ottla: &Ottla, args: &[&str], input: &[u8]) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ottla"));
    command.args(args).args(["-b", &ottla.bootstrap_servers()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert!(child.wait().unwrap().success(), "{args:?}");
}

#[test]
fn other_machines_are_let_in_only_where_that_is_said() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let start = |exposure, host: &str| {
        let builder = Ottla::builder().ephemeral().exposure(exposure).with_config(|config| {
            config.set("listeners", "PLAINTEXT://0.0.0.0:0").unwrap();
            config.set("ottla.http.port", "0").unwrap();
            config.set("ottla.http.host", host).unwrap();
        });
        runtime.block_on(builder.start())
    };
    // A Kafka listener that lets others in does not open HTTP to them.
    for (host, expected) in [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0")] {
        let ottla = start(Exposure::InsecureNoAuth, host).unwrap();
        assert_eq!(ottla.http_address().unwrap().ip().to_string(), expected);
        runtime.block_on(ottla.stop()).unwrap();
    }
    let builder = Ottla::builder().ephemeral().with_config(|config| {
        config.set("ottla.http.port", "0").unwrap();
        config.set("ottla.http.host", "0.0.0.0").unwrap();
    });
    let error = runtime.block_on(builder.start()).unwrap_err().to_string();
    assert!(error.contains("HTTP://0.0.0.0") && error.contains("--insecure-no-auth"), "{error}");
}

#[test]
fn probes_are_answered() {
    with_ottla(|_, address| {
        for path in ["/health", "/healthz"] {
            let answer = get(address, path);
            let found: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(answer.code, 200, "{path}");
            assert_eq!(found["status"], json!("ok"));
            assert_eq!(found["durability"], json!("ephemeral"));
            assert_eq!(found["node_id"], json!(1));
            assert_eq!(found["partitions_offline"], json!([]));
        }
        for path in ["/ready", "/readyz"] {
            assert_eq!(get(address, path).code, 200, "{path}");
        }
        let found: Value = serde_json::from_str(&get(address, "/version").body).unwrap();
        assert_eq!(found, json!({ "name": "ottla", "version": env!("CARGO_PKG_VERSION") }));
        assert_eq!(get(address, "/nothing").code, 404);
        let post = "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
        assert_eq!(ask(address, post).code, 405);
    });
}

#[test]
fn pages_of_other_sites_are_refused() {
    with_ottla(|_, address| {
        let of = |headers: &str| {
            ask(address, &format!("GET /health HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"))
        };
        let rebound = of("Host: evil.example\r\n");
        assert_eq!(rebound.code, 403);
        assert!(!rebound.body.contains("cluster_id"), "{}", rebound.body);
        assert_eq!(of("Host: localhost\r\nOrigin: https://evil.example\r\n").code, 403);
        let right = of("Host: localhost\r\n");
        assert_eq!(right.code, 200);
        for header in ["x-content-type-options: nosniff", "frame-ancestors 'none'", "no-store"] {
            assert!(right.head.contains(header), "{}", right.head);
        }
        let long = format!("Host: localhost\r\nX: {}\r\n", "x".repeat(1 << 20));
        let mut stream = TcpStream::connect(address).unwrap();
        // Refused while it is still being sent: how much of it gets through does not matter.
        let _ = stream.write_all(format!("GET / HTTP/1.1\r\n{long}\r\n").as_bytes());
        assert_eq!(get(address, "/ready").code, 200);
    });
}

/// The samples of a page in the text format, each checked to belong to a family.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {name}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let is_member = |family: &String, kind: &String| {
                name == family
                    || (kind == "histogram"
                        && ["_bucket", "_sum", "_count"]
                            .iter()
                            .any(|end| name.strip_suffix(end) == Some(family)))
            };
            assert!(kinds.iter().any(|(family, kind)| is_member(family, kind)), "{line}");
            let value = value.parse().unwrap();
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
        }
    }
    samples
}

#[test]
fn metrics_follow_what_happens() {
    with_ottla(|ottla, address| {
        command(ottla, &["topic", "create", "t", "-p", "2"], b"");
        command(ottla, &["produce", "t", "-p", "1"], b"1\n2\n3\n");
        command(ottla, &["consume", "t", "-g", "g", "--from-beginning", "-n", "1"], b"");
        let answer = get(address, "/metrics");
        let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
        assert!(answer.head.contains(kind), "{}", answer.head);
        let found = samples(&answer.body);
        let of = |series: &str| {
            *found.get(series).unwrap_or_else(|| panic!("{series} is not in\n{}", answer.body))
        };
        let is = |series: &str, value: f64| assert!((of(series) - value).abs() < 1e-9, "{series}");
        is("kafka_brokers", 1.0);
        is(
            &format!("kafka_broker_info{{id=\"1\",address=\"{}\"}}", ottla.bootstrap_servers()),
            1.0,
        );
        is("kafka_topic_partitions{topic=\"t\"}", 2.0);
        let partition = "{topic=\"t\",partition=\"1\"}";
        for (name, value) in [
            ("kafka_topic_partition_current_offset", 3.0),
            ("kafka_topic_partition_oldest_offset", 0.0),
            ("kafka_topic_partition_leader", 1.0),
            ("kafka_topic_partition_leader_is_preferred", 1.0),
            ("kafka_topic_partition_replicas", 1.0),
            ("kafka_topic_partition_in_sync_replica", 1.0),
            ("kafka_topic_partition_under_replicated_partition", 0.0),
        ] {
            is(&format!("{name}{partition}"), value);
        }
        let labels = "consumergroup=\"g\",topic=\"t\"";
        is(&format!("kafka_consumergroup_current_offset{{{labels},partition=\"1\"}}"), 1.0);
        is(&format!("kafka_consumergroup_lag{{{labels},partition=\"1\"}}"), 2.0);
        is(&format!("kafka_consumergroup_current_offset_sum{{{labels}}}"), 1.0);
        is(&format!("kafka_consumergroup_lag_sum{{{labels}}}"), 2.0);
        is("kafka_consumergroup_members{consumergroup=\"g\"}", 0.0);
        is("ottla_groups", 1.0);
        is("ottla_request_seconds_count{api=\"Produce\"}", 1.0);
        is("ottla_request_seconds_bucket{api=\"Produce\",le=\"+Inf\"}", 1.0);
        for series in [
            "ottla_received_bytes_total",
            "ottla_sent_bytes_total",
            "ottla_connections_accepted_total",
            "ottla_sync_rounds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
        ] {
            assert!(of(series) > 0.0, "{series}");
        }
    });
}

/// Begins a transaction and writes a record in it: id `x`, one id before it.
async fn begin_transaction(ottla: &Ottla) {
    let addresses = Address::parse_list(&ottla.bootstrap_servers()).unwrap();
    let (clock, options) = (Clock::system(), Options::default());
    let mut connection = Connection::open(&addresses[0], &clock, &options).await.unwrap();
    let mut producer = (-1, -1);
    for id in ["idle", "x"] {
        let request = |_| InitProducerIdRequest {
            transactional_id: Some(id.to_owned()),
            transaction_timeout_ms: 60_000,
            producer_epoch: -1,
            ..Default::default()
        };
        let answer = connection.call(request).await.unwrap();
        assert_eq!(answer.error_code, ErrorCode::None);
        producer = (answer.producer_id, answer.producer_epoch);
    }
    let (id, epoch) = (ProducerId(producer.0), ProducerEpoch(producer.1));
    let mut batch = BatchBuilder::new().producer(id, epoch, 0).transactional();
    let (timestamp, value) = (clock.now().wall, Some(b"v".as_slice()));
    batch.push(&NewRecord { timestamp, key: None, value, headers: &[] });
    let records = Some(batch.build().unwrap().to_bytes());
    let data = PartitionProduceData { index: 0, records };
    let topic =
        TopicProduceData { name: "t".to_owned(), partition_data: vec![data], ..Default::default() };
    let request = ProduceRequest {
        transactional_id: Some("x".to_owned()),
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
    };
    let sent = connection.send(12, &request).await.unwrap();
    let answer = connection.receive(sent, 30_000).await.unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, ErrorCode::None);
}

#[test]
fn open_transactions_are_told() {
    with_ottla(|ottla, address| {
        let health = || -> Value { serde_json::from_str(&get(address, "/health").body).unwrap() };
        assert_eq!(health()["transactions_oldest_open_ms"], json!(null));
        command(ottla, &["topic", "create", "t"], b"");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(begin_transaction(ottla));
        let found = health();
        assert_eq!(found["transactional_ids"], json!(2));
        assert_eq!(found["transactions_open"], json!(1));
        assert_eq!(found["transactions_ending"], json!(0));
        assert!(found["transactions_oldest_open_ms"].is_u64(), "{found}");
        let page = get(address, "/metrics").body;
        for line in [
            "ottla_transactional_ids 2",
            "ottla_transactions_open 1",
            "ottla_transactions_ending 0",
            "ottla_partition_last_stable_offset_lag{topic=\"t\",partition=\"0\"} 1",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(samples(&page).contains_key("ottla_transactions_oldest_open_seconds"));
        command(ottla, &["txn", "abort", "x"], b"");
        assert_eq!(health()["transactions_open"], json!(0));
    });
}

#[test]
fn a_busy_http_port_does_not_stop_the_broker() {
    with_ottla(|_, address| {
        let port = address.port().to_string();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ottla"))
            .args(["--ephemeral", "--port", "0", "--http-port", &port])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        child.kill().unwrap();
        let errors = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
        assert!(line.contains(", http off, "), "{line}");
        assert!(errors.contains("WARN") && errors.contains("--http-port"), "{errors}");
    });
}
