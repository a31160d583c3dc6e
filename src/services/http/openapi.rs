//! What the API says of itself, as OpenAPI 3.1: made of the table that requests are answered by.

use serde_json::{Map, Value, json};

use super::routes::{Line, Routes, Target};

/// The document.
pub(super) fn document(routes: &Routes) -> Value {
    let mut paths = Map::new();
    for line in routes.lines() {
        let path = paths.entry(line.path.clone()).or_insert_with(|| json!({}));
        path[line.method.to_ascii_lowercase()] = operation(line);
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "ottla services", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
    })
}

fn operation(line: &Line) -> Value {
    let names = line.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<_> = names.map(|name| parameter("path", name, "")).collect();
    let query = |name, words| parameter("query", name, words);
    match line.target {
        Target::Start(_) => {
            parameters.push(query("wait", "how long to wait for the end: 500ms, 2s"));
            parameters.push(key());
        }
        Target::Publish(_) => parameters.push(key()),
        Target::Sagas => {
            parameters.push(query("saga", "only those of this name"));
            parameters.push(query("state", "only those in this state"));
            parameters.push(query("limit", "at most so many, 100 without it"));
        }
        Target::Saga(_)
        | Target::History(_)
        | Target::Kafka
        | Target::Live
        | Target::Ready
        | Target::Services
        | Target::Service
        | Target::OpenApi => {}
    }
    let mut operation = json!({ "summary": line.summary, "responses": responses(line.target) });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if line.method == "POST" {
        let schema = json!({ "schema": { "type": "object" } });
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": schema } });
    }
    operation
}

fn parameter(place: &str, name: &str, description: &str) -> Value {
    let is_path = place == "path";
    json!({
        "in": place,
        "name": name,
        "required": is_path,
        "description": if is_path { name } else { description },
        "schema": { "type": "string" },
    })
}

fn key() -> Value {
    parameter("header", "Idempotency-Key", "makes a repeated request the same")
}

fn responses(target: Target) -> Value {
    let told = |codes: &[(&str, &str)]| {
        let told = codes.iter().map(|(code, words)| {
            let content = json!({ "application/json": { "schema": { "type": "object" } } });
            ((*code).to_owned(), json!({ "description": words, "content": content }))
        });
        Value::Object(told.collect())
    };
    let refused = [
        ("400", "no JSON, or a header that will not do"),
        ("413", "too large"),
        ("415", "not said to be JSON"),
        ("422", "a field that will not do, or a key that was used with another body"),
        ("503", "the cluster cannot be reached: try again"),
    ];
    match target {
        Target::Start(_) => {
            let ok = [("200", "it has ended in time"), ("202", "it is begun, durably")];
            told(&[ok.as_slice(), &refused].concat())
        }
        Target::Publish(_) => {
            told(&[[("202", "the event is durable")].as_slice(), &refused].concat())
        }
        Target::Saga(_) | Target::History(_) | Target::Service => {
            told(&[("200", "it"), ("404", "there is none of this name")])
        }
        Target::Sagas => told(&[("200", "the sagas"), ("422", "a parameter that will not do")]),
        Target::Kafka | Target::Ready => told(&[("200", "yes"), ("503", "no")]),
        Target::Live | Target::Services | Target::OpenApi => told(&[("200", "it")]),
    }
}
