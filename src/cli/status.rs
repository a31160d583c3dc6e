//! `ottla status`: how a broker is doing, by its own word over HTTP.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::Value;

use super::duration;
use super::ended::Ended;
use super::output::Output;

/// How long the broker may take to connect, and to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The largest answer read, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;
const OFFLINE: &str = "partitions_offline";

/// Show how a running broker is doing
///
/// It is asked over HTTP, see `--http-port` of `ottla serve`. Exit code 1 while it starts, with a
/// partition offline, with a full disk, or if it cannot be reached.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    /// Where the broker serves HTTP
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    http: String,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Does it.
    ///
    /// # Errors
    /// `Failed` if not all is well.
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        let address = self.http.strip_prefix("http://").unwrap_or(&self.http);
        let address = address.trim_end_matches('/');
        let health = ask(address).map_err(|error| {
            Ended::failed(format!(
                "no answer from http://{address}: {error}: start `ottla`, or give --http HOST:PORT"
            ))
        })?;
        if self.json {
            out.json(&health)?;
        } else {
            rows(&health)
                .into_iter()
                .try_for_each(|(name, value)| out.line(format_args!("{name:<20} {value}")))?;
        }
        out.flush()?;
        Ended::unless_empty(complaints(&health))
    }
}

fn ask(address: &str) -> io::Result<Value> {
    let resolved = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect_timeout(&resolved, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    write!(stream, "GET /health HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
    let health = body.and_then(|body| serde_json::from_str::<Value>(body).ok());
    let is_ours = |health: &Value| health["version"].is_string() && health["status"].is_string();
    health.filter(is_ours).ok_or_else(|| io::Error::other("that is no ottla"))
}

fn rows(health: &Value) -> Vec<(&'static str, String)> {
    let text = |name: &str| match &health[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let offline = health[OFFLINE].as_array().map_or(0, Vec::len);
    let oldest = match health["transactions_oldest_open_ms"].as_u64() {
        Some(ms) => format!(", the oldest for {}", duration::show_age_ms(ms)),
        None => String::new(),
    };
    let (open, ending) = (text("transactions_open"), text("transactions_ending"));
    vec![
        ("status", text("status")),
        ("version", text("version")),
        ("uptime", format!("{} s", text("uptime_seconds"))),
        ("data folder", text("data_dir")),
        ("durability", text("durability")),
        ("cluster id", text("cluster_id")),
        ("topics", text("topics")),
        ("partitions", text("partitions")),
        ("partitions offline", offline.to_string()),
        ("transactional ids", text("transactional_ids")),
        ("transactions", format!("{open} open, {ending} ending{oldest}")),
        ("connections", text("connections")),
        ("disk free", format!("{} bytes", text("free_bytes"))),
        ("producers let in", text("accepts_records")),
    ]
}

fn complaints(health: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    if health["status"] == "starting" {
        complaints.push("the broker starts: not everything works yet".to_owned());
    }
    if health["accepts_records"] == Value::Bool(false) {
        complaints.push("the disk is full: producers are refused".to_owned());
    }
    for partition in health[OFFLINE].as_array().into_iter().flatten() {
        let (topic, index) = (partition["topic"].as_str().unwrap_or("-"), &partition["partition"]);
        let reason = partition["reason"].as_str().unwrap_or("-");
        complaints.push(format!("{topic}-{index} is offline: {reason}"));
    }
    complaints
}
