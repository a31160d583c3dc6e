//! `ottla dlq show`.

use serde_json::{Map, Value, json};

use super::letters::Letters;
use crate::cli::connect::Connect;
use crate::cli::ended::Ended;
use crate::cli::format::put_json;
use crate::cli::output::{Output, or_dash};
use crate::cli::time;
use crate::services::dlq::{DeadLetter, Decision};

/// Show a dead letter whole: why it died, its headers and its value
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The consumer group
    group: String,
    /// PARTITION@OFFSET as `ottla dlq list` shows it, or the id of the event
    entry: String,
    /// The topic of its dead letters, where it is not GROUP.dlq
    #[arg(long, value_name = "NAME")]
    topic: Option<String>,
}

impl Show {
    pub(super) async fn run(self, connect: &Connect, out: &mut Output) -> Result<(), Ended> {
        let mut client = connect.client().await?;
        let mut letters = Letters::open(&mut client, &self.group, self.topic.as_deref()).await?;
        let letter = letters.one(&mut client, &self.entry).await?;
        let decision = letters.decision(&letter).map(word);
        if connect.json {
            let mut object = as_json(&letter);
            object["decision"] = json!(decision);
            return out.json(&object);
        }
        print(&letter, decision, out)
    }
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Redriven => "redriven",
        Decision::Discarded => "discarded",
    }
}

fn print(letter: &DeadLetter, decision: Option<&str>, out: &mut Output) -> Result<(), Ended> {
    let class = letter.class.map_or("-", crate::services::Class::name);
    let key = letter.key.as_deref().map(String::from_utf8_lossy);
    let decision = decision.map(|decision| format!(", {decision} already")).unwrap_or_default();
    out.line(format_args!("entry {} of group {}{decision}", letter.entry, letter.group))?;
    let lines = [
        ("reason", format!("{}, {class}", letter.reason)),
        ("message", letter.message.clone()),
        ("record", format!("{}@{}", letter.at, letter.offset)),
        ("key", or_dash(key)),
        ("event id", letter.event_id.clone()),
        ("attempts", letter.tried.to_string()),
        ("redriven before", letter.redrives.to_string()),
        ("first failed", time::show(letter.first_failed_at)),
        ("given up", time::show(letter.died_at)),
    ];
    for (name, value) in lines {
        out.line(format_args!("  {name:15}  {value}"))?;
    }
    out.line("headers")?;
    for (name, value) in &letter.headers {
        let value = value.as_deref().map(String::from_utf8_lossy);
        out.line(format_args!("  {name:15}  {}", or_dash(value)))?;
    }
    match &letter.value {
        None => out.line("value: null"),
        Some(value) => {
            let bytes = value.len();
            out.line(format_args!("value, {bytes} bytes"))?;
            out.line(shown(value))
        }
    }
}

/// JSON indented, other text as it is, bytes that are none as far as they are.
pub(super) fn shown(value: &[u8]) -> String {
    let json = serde_json::from_slice::<Value>(value);
    let pretty = json.ok().and_then(|value| serde_json::to_string_pretty(&value).ok());
    pretty.unwrap_or_else(|| String::from_utf8_lossy(value).into_owned())
}

/// All of an entry.
pub(super) fn as_json(letter: &DeadLetter) -> Value {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("entry", json!(letter.entry.to_string()));
    put("partition", json!(letter.entry.partition.0));
    put("offset", json!(letter.entry.offset.0));
    put("group", json!(letter.group));
    put("reason", json!(letter.reason));
    put("class", json!(letter.class.map(crate::services::Class::name)));
    put("message", json!(letter.message));
    put("event_id", json!(letter.event_id));
    put("attempts", json!(letter.tried));
    put("redrives", json!(letter.redrives));
    put("first_failed_at", json!(time::show(letter.first_failed_at)));
    put("died_at", json!(time::show(letter.died_at)));
    let at = json!({
        "topic": letter.at.topic.as_ref(),
        "partition": letter.at.partition.0,
        "offset": letter.offset.0,
    });
    put("record", at);
    put("trace", json!(letter.trace));
    put_json(&mut object, "key", letter.key.as_deref());
    put_json(&mut object, "value", letter.value.as_deref());
    let headers = letter.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        header.insert("name".to_owned(), json!(name));
        put_json(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    object.insert("headers".to_owned(), headers.collect());
    Value::Object(object)
}
