//! `ottla status`, and the help topic on durability.

use serde_json::json;

use crate::commands::{Running, run};

#[test]
fn a_running_broker_tells_how_it_is_doing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let server = Running::start("", &["--data-dir", &data, "--port", "0", "--http-port", "0"]);
    let line = server.wait_lines(1).remove(0);
    let http = line.split("http ").nth(1).unwrap().split(',').next().unwrap();
    let health = run("", &["status", "--http", http, "--json"]).json();
    assert_eq!(health["status"], json!("ok"));
    assert_eq!(health["data_dir"], json!(data));
    assert_eq!(health["durability"], json!("fsync"));
    assert_eq!(health["accepts_records"], json!(true));
    assert!(health["free_bytes"].as_u64().unwrap() > 0);
    let table = run("", &["status", "--http", &format!("http://{http}/")]).ok();
    for line in [
        "durability           fsync",
        "partitions offline   0",
        "transactional ids    0",
        "transactions         0 open, 0 ending",
    ] {
        assert!(table.lines().any(|found| found == line), "{table}");
    }
    drop(server);
    let error = run("", &["status", "--http", http]).fails(1);
    assert!(error.contains(http) && error.contains("--http"), "{error}");
}

#[test]
fn the_promise_is_a_help_topic() {
    let told = run("", &["help", "durability"]).ok();
    for word in ["fsync", "interval", "os", "ephemeral", "acks", "power cut", "kill -9"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(run("", &["--help", "durability"]).ok(), told);
    assert!(run("", &["--help"]).ok().contains("ottla help durability"));
}
