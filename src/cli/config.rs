//! `ottla config`: what is set and what could be, without a broker.

use serde_json::{Map, Value, json};

use super::ended::Ended;
use super::output::{Output, or_dash};
use super::settings::Settings;
use crate::config::broker::BrokerConfig;
use crate::config::{ConfigTable, docs};

/// What to show of the settings.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show which settings a broker would start with, and where each comes from
    Show(Box<Show>),
    /// Print the manual of all settings, in Markdown
    Docs,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Also the settings that are at their defaults
    #[arg(long)]
    all: bool,
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Config {
    /// Does it.
    ///
    /// # Errors
    /// See [`Ended`].
    pub(crate) fn run(self, out: &mut Output) -> Result<(), Ended> {
        match self.command {
            Command::Show(show) => show.run(out),
            Command::Docs => out.bytes(docs::page().as_bytes()),
        }
    }
}

impl Show {
    fn run(self, out: &mut Output) -> Result<(), Ended> {
        let loaded = self.settings.load()?;
        let mut rows = Vec::new();
        for key in BrokerConfig::KEYS {
            let name = key.info.name;
            let origin = loaded.statics.get(name).map(|given| given.origin.to_string());
            if origin.is_some() || self.all {
                let value = loaded.broker.value_of(name).flatten();
                rows.push((name, value, origin.unwrap_or_else(|| "default".to_owned())));
            }
        }
        if self.json {
            let entry = |(name, value, origin): (&str, Option<String>, String)| {
                (name.to_owned(), json!({ "value": value, "origin": origin }))
            };
            let object: Map<_, _> = rows.into_iter().map(entry).collect();
            return out.json(&Value::Object(object));
        }
        let row = |(name, value, origin): (&str, Option<String>, String)| {
            vec![name.to_owned(), or_dash(value), origin]
        };
        out.table(&["KEY", "VALUE", "FROM"], rows.into_iter().map(row).collect())
    }
}
