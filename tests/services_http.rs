//! Services beside the broker as those meet them who come by HTTP: over sockets, with curl's requests.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ottla::Ottla;
use ottla::client::cluster::{Cluster, ToSend, TopicSpec};
use ottla::client::embedded::Embedded;
use ottla::clock::Clock;
use ottla::config::value::HttpPort;
use ottla::prelude::*;
use ottla::services::saga::{Saga, Versions};
use serde_json::{Value, json};

#[derive(Command, Serialize, Deserialize)]
#[command(topic = "greetings", key = "name", reply = Greeted)]
struct Greet {
    name: String,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "greeted", key = "name")]
struct Greeted {
    name: String,
}

#[derive(Serialize, Deserialize)]
struct Guest {
    name: String,
}

async fn greet(command: Greet, _: Cx) -> Result<Greeted> {
    match &*command.name {
        "nobody" => Err(permanent("nobody-there")),
        _ => Ok(Greeted { name: command.name }),
    }
}

/// A handler of an event that nobody can handle.
async fn refuse(_: Greeted, _: Cx) -> Result {
    Err(permanent("never"))
}

fn app() -> App {
    let saga = Saga::<Guest>::new("welcome", 1);
    let saga = saga.step("greet", |guest| Greet { name: guest.name.clone() }).end();
    let refuser = service("refuser").on(refuse).done();
    let greeter = service("greeter").answer(greet);
    App::new().service(greeter).service(refuser).saga(Versions::of(saga).unwrap())
}

struct Answer {
    code: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
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

fn post(address: SocketAddr, path: &str, more: &str, body: &str) -> Answer {
    let length = body.len();
    ask(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{more}Connection: close\r\n\r\n{body}"
        ),
    )
}

/// Runs `test` while services run beside a broker, on a thread that may block.
fn with_services(app: App, test: impl FnOnce(&Ottla, SocketAddr)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let builder = Ottla::builder().ephemeral().app(app).with_config(|config| {
        config.ottla_http_port = HttpPort::On(0);
        config.ottla_services_port = HttpPort::On(0);
    });
    let ottla = runtime.block_on(builder.start()).unwrap();
    test(&ottla, ottla.services_address().unwrap());
    runtime.block_on(ottla.stop()).unwrap();
}

#[test]
fn a_saga_is_posted_waited_for_and_shown() {
    with_services(app(), |ottla, address| {
        let body = r#"{"name": "anna"}"#;
        let begun = post(address, "/api/saga/welcome", "Idempotency-Key: k-1\r\n", body);
        assert_eq!(begun.code, 202, "{}", begun.body);
        let link = begun.json()["links"]["self"].as_str().unwrap().to_owned();
        assert!(begun.head.contains(&format!("location: {link}")), "{}", begun.head);
        // At once, whether anything of it is done or not.
        let shown = get(address, &link);
        assert_eq!((shown.code, &shown.json()["data"]["name"]), (200, &json!("anna")));
        let again = post(address, "/api/saga/welcome?wait=20s", "Idempotency-Key: k-1\r\n", body);
        assert_eq!((again.code, &again.json()["status"]), (200, &json!("completed")));
        assert_eq!(again.json()["saga_id"], begun.json()["saga_id"]);
        let brokers = get(address, "/health/kafka").json()["brokers"].clone();
        assert_eq!(brokers, json!(ottla.bootstrap_servers()));
    });
}

#[test]
fn limits_and_hosts_are_kept_and_told_as_json() {
    with_services(app(), |_, address| {
        let large = format!("{{\"name\": \"{}\"}}", "x".repeat(3 << 20));
        for (answer, code) in [
            (get(address, "/nothing"), 404),
            (post(address, "/health/live", "", "{}"), 405),
            (post(address, "/api/saga/welcome", "", "{"), 400),
            (post(address, "/api/saga/welcome", "", "{}"), 422),
            (post(address, "/api/saga/welcome", "", &large[..0]), 400),
        ] {
            assert_eq!(answer.code, code, "{}", answer.body);
            assert!(answer.json()["message"].is_string(), "{}", answer.body);
            assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
            assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
        }
        let length = large.len();
        let announced = format!(
            "POST /api/saga/welcome HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        let refused = ask(address, &announced); // Before the body comes.
        assert_eq!((refused.code, &refused.json()["error"]), (413, &json!("too-large")));
        let foreign =
            "GET /health/live HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        let refused = ask(address, foreign);
        assert_eq!((refused.code, &refused.json()["error"]), (403, &json!("forbidden")));
    });
}

#[test]
fn metrics_tell_of_services() {
    with_services(app(), |ottla, address| {
        for name in ["anna", "nobody"] {
            let body = format!("{{\"name\": {name:?}}}");
            let ended = post(address, "/api/saga/welcome?wait=20s", "", &body);
            assert_eq!(ended.code, 200, "{}", ended.body);
        }
        let http = ottla.http_address().unwrap();
        let has = |text: &str, line: &str| text.lines().any(|found| found == line);
        let clock = Clock::system();
        loop {
            let text = get(http, "/metrics").body;
            // The dead letter comes by itself, after the saga has ended.
            let all = [
                "ottla_dlq_records{group=\"refuser\"} 1",
                "ottla_handler_errors_total{group=\"refuser\",class=\"permanent\"} 1",
                "ottla_saga_instances{saga=\"welcome\",state=\"completed\"} 1",
                "ottla_saga_instances{saga=\"welcome\",state=\"running\"} 0",
                "ottla_consumer_lag{group=\"greeter\"} 0",
                "ottla_parked_keys{group=\"greeter\"} 0",
            ];
            if all.iter().all(|line| has(&text, line)) {
                assert!(
                    text.contains("ottla_handler_seconds_bucket{group=\"greeter\",le=\"+Inf\"} 2")
                );
                assert!(text.contains("# TYPE ottla_timer_late_seconds gauge"));
                assert!(text.contains("# TYPE ottla_breaker_state gauge"));
                return;
            }
            assert!(clock.elapsed() < Duration::from_secs(60), "{text}");
            std::thread::yield_now();
        }
    });
}

static SPINS: AtomicBool = AtomicBool::new(false);
static SPINNING: AtomicUsize = AtomicUsize::new(0);

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "work", key = "id")]
struct Work {
    id: String,
}

/// Never yields while it is told to spin.
async fn spin(_: Work, _: Cx) -> Result {
    SPINNING.fetch_add(1, Ordering::Relaxed);
    while SPINS.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
    SPINNING.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}

/// A record of a topic, with a key of its own.
fn record(topic: &str, key: usize) -> ToSend {
    ToSend {
        topic: topic.into(),
        partition: None,
        key: Some(key.to_string().into()),
        value: Some(format!("{{\"id\": \"{key}\"}}").into()),
        headers: Vec::new(),
        timestamp: None,
    }
}

/// How long the slower sends of a round took: the third slowest of a hundred, so that a pause of the machine says
/// nothing.
async fn slow_send(cluster: &Embedded) -> Duration {
    let mut took = Vec::new();
    for key in 0..100 {
        let clock = Clock::system();
        cluster.send(vec![record("quiet", key)]).await.unwrap();
        took.push(clock.elapsed());
    }
    took.sort();
    took[97]
}

/// The median of some rounds, with handlers that spin in every other one: what the machine does beside the test
/// meets both.
#[test]
fn handlers_that_never_yield_do_not_hold_up_the_broker() {
    const ROUNDS: usize = 7;
    let app = App::new().service(service("spinner").on(spin).done());
    with_services(app, |ottla, _| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let cluster = Embedded::new(ottla.broker().clone());
            let topics = ["quiet", "work"].map(|name| TopicSpec {
                name: name.to_owned(),
                partitions: Some(1),
                configs: Default::default(),
            });
            cluster.ensure_topics(topics.to_vec()).await.unwrap();
            let handled = || ottla.services().unwrap().metrics("spinner").unwrap().handled.get();
            let (mut quiet, mut busy, mut sent) = (Vec::new(), Vec::new(), 0);
            let threads = std::thread::available_parallelism().unwrap().get();
            for _ in 0..ROUNDS {
                quiet.push(slow_send(&cluster).await);
                SPINS.store(true, Ordering::Relaxed);
                for _ in 0..threads * 2 {
                    cluster.send(vec![record("work", sent)]).await.unwrap();
                    sent += 1;
                }
                while SPINNING.load(Ordering::Relaxed) < threads {
                    tokio::task::yield_now().await;
                }
                busy.push(slow_send(&cluster).await);
                SPINS.store(false, Ordering::Relaxed);
                while handled() < u64::try_from(sent).unwrap() {
                    tokio::task::yield_now().await;
                }
            }
            quiet.sort();
            busy.sort();
            let (quiet, busy) = (quiet[ROUNDS / 2], busy[ROUNDS / 2]);
            // Some hundred µs are what the kernel takes to change threads at all.
            let most = (quiet * 2).max(Duration::from_millis(2));
            assert!(busy <= most, "{busy:?} while handlers spin, {quiet:?} without");
        });
    });
}

#[test]
fn a_pack_that_there_is_not_is_a_usage_error() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ottla"));
    let refused =
        command.args(["--ephemeral", "--port", "0", "--pack", "nonsense"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(told.contains("nonsense") && told.contains("there are"), "{told}");
}
