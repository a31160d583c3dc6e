use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Api;
use crate::client::cluster::Cluster;
use crate::clock::Clock;
use crate::prelude::*;
use crate::services::Running;
use crate::services::modules::Module;
use crate::services::saga::{Saga, Versions};
use crate::services::testing::MemoryCluster;
use crate::services::unit::Emission;
use crate::types::Timestamp;

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

fn saga() -> Versions {
    let saga = Saga::<Guest>::new("welcome", 1).http("POST /guests");
    let saga = saga.step("greet", |guest| Greet { name: guest.name.clone() });
    Versions::of(saga.end()).unwrap()
}

fn app() -> App {
    let notes = Module::new("notes").publishes("POST /notes", |posted| {
        let key = posted.fields().word("name")?;
        Ok(Emission {
            topic: "notes".into(),
            name: "Note".into(),
            envelope: Envelope::CloudEvents,
            key,
            body: posted.body.clone(),
            headers: Vec::new(),
        })
    });
    App::new().service(service("greeter").answer(greet)).saga(saga()).module(notes)
}

struct Test {
    cluster: MemoryCluster,
    running: Option<Running>,
    api: Api,
}

impl Test {
    fn start() -> Self {
        Self::on(MemoryCluster::new(Clock::manual(Timestamp(1_700_000_000_000))))
    }

    fn on(cluster: MemoryCluster) -> Self {
        let shared: Arc<dyn Cluster> = Arc::new(cluster.clone());
        let running = app().start(Arc::clone(&shared)).unwrap();
        let api = Api::of(&app(), shared, running.handle().clone());
        Self { cluster, running: Some(running), api }
    }

    async fn settle(&self) {
        self.running.as_ref().unwrap().settle().await.unwrap();
    }

    async fn stop(&mut self) {
        self.running.take().unwrap().stop().await;
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &str) -> (u16, Value) {
        let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        headers.extend(key.map(|key| ("idempotency-key".to_owned(), key.to_owned())));
        let body = Bytes::copy_from_slice(body.as_bytes());
        let reply = self.api.request("POST", path, &headers, body).await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let reply = self.api.request("GET", path, &[], Bytes::new()).await;
        (reply.status, serde_json::from_slice(&reply.body).unwrap())
    }

    async fn starts(&self) -> usize {
        let all = self.cluster.records("ottla.reply.welcome");
        let is_start = |name: &str, value: &Bytes| name == "ce_type" && value == "ottla.saga.start";
        let starts = all.iter().filter(|record| {
            let mut headers = record.headers.iter();
            headers.any(|(name, value)| value.as_ref().is_some_and(|value| is_start(name, value)))
        });
        starts.count()
    }
}

#[tokio::test]
async fn a_saga_is_begun_shown_and_listed() {
    let test = Test::start();
    let (status, begun) = test.post("/api/saga/welcome", None, r#"{"name": "anna"}"#).await;
    assert_eq!((status, &begun["status"]), (202, &json!("running")));
    let link = begun["links"]["self"].as_str().unwrap();
    assert_eq!(link, format!("/api/saga/welcome/{}", begun["saga_id"].as_str().unwrap()));
    let (status, shown) = test.get(link).await;
    assert_eq!((status, &shown["data"]), (200, &json!({"name": "anna"})), "{shown}");
    test.settle().await;

    let (_, shown) = test.get(link).await;
    assert_eq!((&shown["status"], &shown["reason"]), (&json!("completed"), &json!(null)));
    assert_eq!(shown["started_at"], json!("2023-11-14T22:13:20.000Z"));
    let (_, history) = test.get(begun["links"]["history"].as_str().unwrap()).await;
    assert_eq!(history["history"][0]["step"], json!("greet"));
    assert_eq!(history["history"][0]["outcome"], json!("done"));

    let (status, _) = test.post("/guests", None, r#"{"name": "nobody"}"#).await;
    assert_eq!(status, 202);
    test.settle().await;
    let (_, all) = test.get("/api/sagas?saga=welcome").await;
    assert_eq!(all["count"], json!(2));
    let (_, failed) = test.get("/api/sagas?state=completed&limit=1").await;
    assert_eq!(failed["sagas"][0]["saga_id"], begun["saga_id"]);
    let counts = test.api.saga_counts().await;
    let ended: Vec<_> = counts[0].1.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(ended.len(), 2, "{ended:?}");
}

#[tokio::test]
async fn who_waits_is_given_the_end() {
    let test = Test::start();
    let (status, ended) = test.post("/guests?wait=20s", None, r#"{"name": "ben"}"#).await;
    assert_eq!((status, &ended["status"]), (200, &json!("completed")), "{ended}");
    assert!(ended["links"]["self"].as_str().unwrap().starts_with("/guests/"));
}

#[tokio::test]
async fn a_repeated_post_is_one_saga() {
    let test = Test::start();
    let (status, first) = test.post("/guests", Some("k-1"), r#"{"name": "anna"}"#).await;
    assert_eq!(status, 202);
    let (status, again) = test.post("/guests", Some("k-1"), r#"{ "name":"anna" }"#).await;
    assert_eq!((status, &again["saga_id"]), (202, &first["saga_id"]));
    let (status, other) = test.post("/guests", Some("k-1"), r#"{"name": "ben"}"#).await;
    assert_eq!((status, &other["error"]), (422, &json!("idempotency-key-reused")));
    test.settle().await;
    let (status, ended) = test.post("/guests?wait=1s", Some("k-1"), r#"{"name": "anna"}"#).await;
    assert_eq!((status, &ended["saga_id"]), (200, &first["saga_id"]));
    assert_eq!(test.starts().await, 1);
    let (status, _) = test.post("/guests", Some("k-1"), r#"{"name": "ben"}"#).await;
    assert_eq!(status, 422);
    let (_, second) = test.post("/guests", Some("k-2"), r#"{"name": "anna"}"#).await;
    assert_ne!(second["saga_id"], first["saga_id"]);
}

#[tokio::test]
async fn what_is_begun_is_known_while_nobody_handles_it_and_after_a_restart() {
    let mut test = Test::start();
    test.settle().await;
    test.stop().await;
    let (status, begun) = test.post("/guests", Some("k"), r#"{"name": "anna"}"#).await;
    assert_eq!(status, 202, "{begun}");
    let link = begun["links"]["self"].as_str().unwrap();
    let (status, shown) = test.get(link).await;
    assert_eq!((status, &shown["status"]), (200, &json!("running")), "{shown}");
    let (status, _) = test.post("/guests", Some("k"), r#"{"name": "ben"}"#).await;
    assert_eq!(status, 422);

    let mut test = Test::on(test.cluster);
    test.settle().await;
    test.stop().await;
    let (_, shown) = test.get(link).await;
    assert_eq!(shown["status"], json!("completed"), "from its topic");
    let again = Test::on(test.cluster);
    let (_, shown) = again.get(link).await;
    assert_eq!(shown["status"], json!("completed"));
    again.settle().await;
    let (_, shown) = again.get(link).await;
    assert_eq!(shown["status"], json!("completed"));
    let (_, all) = again.get("/api/sagas").await;
    assert_eq!(all["count"], json!(1));
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let test = Test::start();
    for (path, body, expected, error) in [
        ("/guests", "{\n \"name\": anna}", 400, "malformed-json"),
        ("/guests", "", 400, "malformed-json"),
        ("/guests", "{}", 422, "invalid"),
        ("/guests", r#"{"name": 7}"#, 422, "invalid"),
        ("/guests", "[]", 422, "invalid"),
        ("/guests?wait=1h", r#"{"name": "a"}"#, 422, "invalid"),
        ("/notes", r#"{"name": ""}"#, 422, "invalid"),
        ("/nothing", "{}", 404, "not-found"),
        ("/api/sagas", "{}", 405, "method-not-allowed"),
    ] {
        let (status, found) = test.post(path, None, body).await;
        assert_eq!((status, found["error"].as_str()), (expected, Some(error)), "{path} {body}");
        assert!(found["message"].is_string(), "{found}");
    }
    let (_, malformed) = test.post("/guests", None, "{\n \"name\": anna}").await;
    assert_eq!((&malformed["line"], &malformed["column"]), (&json!(2), &json!(10)));
    let (_, missing) = test.post("/guests", None, "{}").await;
    assert_eq!((&missing["field"], &missing["message"]), (&json!("name"), &json!("is missing")));
    let large = format!(r#"{{"name": "{}"}}"#, "x".repeat(700_000));
    assert_eq!(test.post("/guests", None, &large).await.0, 413);
    let (status, _) = test.post("/guests", Some(""), r#"{"name": "a"}"#).await;
    assert_eq!(status, 400);

    let plain = [("content-type".to_owned(), "text/plain".to_owned())];
    assert_eq!(test.api.request("POST", "/guests", &plain, Bytes::new()).await.status, 415);
    let refused = test.api.request("DELETE", "/guests/1", &[], Bytes::new()).await;
    assert!(refused.headers.contains(&("allow".to_owned(), "GET, HEAD".to_owned())));
    for path in ["/api/sagas?state=lost", "/api/sagas?saga=lost", "/api/sagas?limit=0"] {
        assert_eq!(test.get(path).await.0, 422, "{path}");
    }
    for path in ["/guests/none", "/guests/none/history", "/health/services/none", "/guests/%"] {
        assert_eq!(test.get(path).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn an_event_is_durable_when_the_answer_comes() {
    let test = Test::start();
    let (status, first) = test.post("/notes", Some("k"), r#"{"name": "anna"}"#).await;
    assert_eq!((status, &first["topic"], &first["key"]), (202, &json!("notes"), &json!("anna")));
    assert_eq!(test.cluster.records("notes").len(), 1);
    let (_, again) = test.post("/notes", Some("k"), r#"{"name": "anna"}"#).await;
    assert_eq!(again["event_id"], first["event_id"]);
}

#[tokio::test]
async fn health_is_told() {
    let test = Test::start();
    test.settle().await;
    let (status, kafka) = test.get("/health/kafka").await;
    let expected = json!({
        "connected": true, "producer": true, "consumers": 2, "brokers": "memory",
    });
    assert_eq!((status, kafka), (200, expected));
    assert_eq!(test.get("/health/ready").await, (200, json!({ "ready": true, "waiting": [] })));
    assert_eq!(test.get("/health/live").await.0, 200);
    let (_, one) = test.post("/guests?wait=20s", None, r#"{"name": "nobody"}"#).await;
    assert!(one["saga_id"].is_string());
    let (_, greeter) = test.get("/health/services/greeter").await;
    assert_eq!((&greeter["state"], &greeter["failed"]), (&json!("working"), &json!(1)));
    let (_, saga) = test.get("/health/services/welcome").await;
    assert_eq!(saga["service"], json!("ottla-saga-welcome"));
    assert_eq!(test.api.dead_letters("greeter").await, Some(0));
}

#[tokio::test]
async fn every_route_is_described_and_every_description_answers() {
    let test = Test::start();
    let (_, document) = test.get("/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let mut described: Vec<_> = Vec::new();
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase();
            let asked = path.replace("{id}", "x").replace("{group}", "greeter");
            let reply = test.api.request(&method, &asked, &[], Bytes::new()).await;
            let body: Value = serde_json::from_slice(&reply.body).unwrap();
            let is_no_route =
                body["message"].as_str().is_some_and(|it| it.contains("no such path"));
            assert!(reply.status != 405 && !is_no_route, "{method} {path}: {body}");
            described.push(format!("{method} {path}"));
        }
    }
    described.sort();
    let lines = test.api.0.routes.lines().iter();
    let mut lines: Vec<_> = lines.map(|line| format!("{} {}", line.method, line.path)).collect();
    lines.sort();
    assert_eq!(described, lines);
    for route in
        ["POST /guests", "GET /guests/{id}/history", "POST /api/saga/welcome", "POST /notes"]
    {
        assert!(lines.iter().any(|line| line == route), "{route}");
    }
}
