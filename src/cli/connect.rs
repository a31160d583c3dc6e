//! The flags that every command towards a cluster has, and the connection that follows from them.

use super::duration;
use super::ended::Ended;
use crate::client::{Address, Client, Options};
use crate::clock::Clock;

/// Where the cluster is and how to answer.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Connect {
    /// Brokers to ask first, with commas between
    ///
    /// Not given, it is the environment variable OTTLA_BOOTSTRAP_SERVER, else
    /// KAFKA_BOOTSTRAP_SERVERS, else localhost:9092.
    #[arg(
        long,
        short = 'b',
        global = true,
        visible_alias = "bootstrap-servers",
        value_name = "HOST:PORT"
    )]
    bootstrap_server: Option<String>,
    /// Give up on a broker that is silent for so long
    #[arg(long, global = true, value_name = "SPAN", default_value = "30s",
          value_parser = duration::parse_ms)]
    timeout: u64,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
}

impl Connect {
    /// The addresses to ask first.
    ///
    /// # Errors
    /// `Usage` for what is no address.
    pub(crate) fn bootstrap(&self) -> Result<Vec<Address>, Ended> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let text = self
            .bootstrap_server
            .clone()
            .or_else(|| variable("OTTLA_BOOTSTRAP_SERVER"))
            .or_else(|| variable("KAFKA_BOOTSTRAP_SERVERS"))
            .unwrap_or_else(|| "localhost:9092".to_owned());
        Address::parse_list(&text).map_err(|error| Ended::Usage(error.to_string()))
    }

    /// How long a broker may be silent, in ms.
    pub(crate) fn timeout_ms(&self) -> u64 {
        self.timeout
    }

    /// Connects.
    ///
    /// # Errors
    /// `Usage` for what is no address, `Failed` where nobody answers.
    pub(crate) async fn client(&self) -> Result<Client, Ended> {
        let defaults = Options::default();
        let options = Options {
            client_id: "ottla-cli".to_owned(),
            connect_timeout_ms: self.timeout.min(defaults.connect_timeout_ms),
            request_timeout_ms: self.timeout,
        };
        Ok(Client::connect(&self.bootstrap()?, Clock::system(), options).await?)
    }
}
