//! What a broker that has started tells: the first line on stdout, and the ready file.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use super::ended::Ended;
use crate::embed::{Ottla, reachable};

/// Where a running ottla is to be reached.
pub(crate) struct Ready {
    listeners: Vec<(String, SocketAddr)>,
    http: Option<SocketAddr>,
    services: Option<SocketAddr>,
    data: String,
    durability: String,
}

impl Ready {
    /// Of this one.
    pub(crate) fn of(ottla: &Ottla) -> Self {
        let data = ottla.data_dir();
        Self {
            listeners: ottla.listeners().to_vec(),
            http: ottla.http_address(),
            services: ottla.services_address(),
            data: data.map_or_else(|| "in memory".to_owned(), |path| path.display().to_string()),
            durability: ottla.durability().to_string(),
        }
    }

    /// Removes the file of an earlier run, so that nobody takes it for this one's.
    ///
    /// # Errors
    /// `Failed` if it is there and stays.
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own file, not one of the data folder"
    )]
    pub(crate) fn remove(path: &Path) -> Result<(), Ended> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Ended::failed(format!("{} cannot be removed: {error}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Writes the file: whoever sees it sees all of it.
    ///
    /// # Errors
    /// `Failed` if that is not possible.
    #[expect(
        clippy::disallowed_methods,
        reason = "the user's own file, not one of the data folder"
    )]
    pub(crate) fn write(&self, path: &Path) -> Result<(), Ended> {
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}", std::process::id()));
        let write = || {
            File::create(&unfinished)?.write_all(format!("{:#}\n", self.as_json()).as_bytes())?;
            std::fs::rename(&unfinished, path)
        };
        write().map_err(|error: io::Error| {
            Ended::failed(format!("{} cannot be written: {error}", path.display()))
        })
    }

    fn as_json(&self) -> serde_json::Value {
        let bootstrap = self.listeners.first().map(|(_, address)| reachable(*address).to_string());
        let listener = |(name, address): &(String, SocketAddr)| json!({ "name": name, "address": reachable(*address).to_string() });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "bootstrap_servers": bootstrap,
            "listeners": self.listeners.iter().map(listener).collect::<Vec<_>>(),
            "http": self.http.map(|address| reachable(address).to_string()),
            "services": self.services.map(|address| reachable(address).to_string()),
        })
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ottla {} ready: kafka", env!("CARGO_PKG_VERSION"))?;
        for (_, address) in &self.listeners {
            write!(f, " {address}")?;
        }
        match self.http {
            Some(address) => write!(f, ", http {address}")?,
            None => write!(f, ", http off")?,
        }
        if let Some(address) = self.services {
            write!(f, ", services {address}")?;
        }
        write!(f, ", data {}, durability {}", self.data, self.durability)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(http: Option<&str>) -> Ready {
        let address = |text: &str| text.parse().expect("an address");
        Ready {
            listeners: vec![
                ("PLAINTEXT".to_owned(), address("0.0.0.0:9092")),
                ("INSIDE".to_owned(), address("127.0.0.1:9094")),
            ],
            http: http.map(address),
            services: None,
            data: "./ottla-data".to_owned(),
            durability: "fsync".to_owned(),
        }
    }

    #[test]
    fn the_line_names_everything() {
        let version = env!("CARGO_PKG_VERSION");
        let rest = "data ./ottla-data, durability fsync";
        assert_eq!(
            ready(Some("127.0.0.1:8080")).to_string(),
            format!(
                "ottla {version} ready: kafka 0.0.0.0:9092 127.0.0.1:9094, http 127.0.0.1:8080, {rest}"
            )
        );
        assert!(ready(None).to_string().contains(", http off, "));
        let services = "127.0.0.1:9000".parse().ok();
        let line = Ready { services, ..ready(None) }.to_string();
        assert!(line.contains(", http off, services 127.0.0.1:9000, data "), "{line}");
    }

    #[test]
    fn the_file_has_addresses_to_connect_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ready.json");
        ready(None).write(&path).expect("written");
        let text = std::fs::read_to_string(&path).expect("there");
        let found: serde_json::Value = serde_json::from_str(&text).expect("whole");
        let expected = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "bootstrap_servers": "127.0.0.1:9092",
            "listeners": [
                { "name": "PLAINTEXT", "address": "127.0.0.1:9092" },
                { "name": "INSIDE", "address": "127.0.0.1:9094" },
            ],
            "http": null,
            "services": null,
        });
        assert_eq!(found, expected);
        assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
        Ready::remove(&path).expect("removed");
        Ready::remove(&path).expect("not there is fine");
    }
}
