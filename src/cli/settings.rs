//! The flags that set something, for `serve` and `config show`, and how they are put together with
//! file and environment.

use std::path::PathBuf;

use super::ended::Ended;
use crate::config::load::{self, ConfigFile, Input, LoadError, Loaded, Origin, Static, assignment};
use crate::config::value::HttpPort;

/// Settings from flags.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any config key; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Where the data is; by default ./ottla-data
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    data_dir: Option<String>,
    /// Keep everything in memory only
    #[arg(long)]
    ephemeral: bool,
    /// Listen at localhost on this port; 0 takes a free one
    #[arg(long, short, conflicts_with = "listen")]
    port: Option<u16>,
    /// Listen at this address; may be given several times
    #[arg(long, value_name = "NAME://HOST:PORT")]
    listen: Vec<String>,
    /// The address that clients of a listener are told; may be given several times
    #[arg(long, value_name = "NAME://HOST:PORT")]
    advertise: Vec<String>,
    /// The port of health and metrics, or off; by default 8080, or a free one with --port 0
    #[arg(long, value_name = "PORT|off")]
    http_port: Option<String>,
    /// Run the services of this pack beside the broker; may be given several times
    #[arg(long = "pack", value_name = "NAME")]
    packs: Vec<String>,
    /// The port of the API of services, or off; by default 9000, or a free one with --port 0
    #[arg(long, value_name = "PORT|off")]
    services_port: Option<String>,
    /// The id that clients know this broker by
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// Accept that other machines come in without authentication
    #[arg(long)]
    insecure_no_auth: bool,
}

/// Where a data folder is, for commands that look at one.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DataDir {
    /// The data folder; by default that of `ottla serve` with the same settings
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

impl DataDir {
    /// The folder.
    ///
    /// # Errors
    /// As for [`Settings::load`].
    pub(crate) fn path(&self) -> Result<PathBuf, Ended> {
        let (config, data_dir) = (self.config.clone(), self.data_dir.clone());
        let loaded = Settings { config, data_dir, ..Settings::default() }.load()?;
        Ok(PathBuf::from(loaded.broker.data_dir()))
    }
}

impl Settings {
    /// Puts file, environment and flags together.
    ///
    /// # Errors
    /// `Usage` for a setting that is refused, `Failed` for a file that cannot be read.
    pub(crate) fn load(&self) -> Result<Loaded, Ended> {
        let environment: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let variable =
            environment.iter().find(|(name, value)| name == "OTTLA_CONFIG" && !value.is_empty());
        let path = self.config.clone().or_else(|| variable.map(|(_, path)| PathBuf::from(path)));
        let file = path.map(|path| ConfigFile::read(&path)).transpose();
        let file = file.map_err(|error| Ended::failed(error.to_string()))?;
        let input = Input {
            file,
            environment,
            flags: self.flags(),
            insecure_no_auth: self.insecure_no_auth,
        };
        let mut loaded = load::load(&input).map_err(|error| refused(&error))?;
        if self.port == Some(0) {
            let Loaded { broker, statics, .. } = &mut loaded;
            let ports = [
                ("ottla.http.port", &mut broker.ottla_http_port),
                ("ottla.services.port", &mut broker.ottla_services_port),
            ];
            for (key, port) in ports {
                statics.entry(key).or_insert_with(|| {
                    *port = HttpPort::On(0);
                    Static { value: Some("0".to_owned()), origin: Origin::Flag }
                });
            }
        }
        Ok(loaded)
    }

    fn flags(&self) -> Vec<(String, String)> {
        let mut flags = self.set.clone();
        let mut set = |key: &str, value: Option<String>| {
            flags.extend(value.map(|value| (key.to_owned(), value)));
        };
        let joined = |list: &[String]| Some(list.join(",")).filter(|text| !text.is_empty());
        set("ottla.data.dir", self.data_dir.clone());
        set("ottla.durability", self.ephemeral.then(|| "ephemeral".to_owned()));
        set("listeners", self.port.map(|port| format!("PLAINTEXT://localhost:{port}")));
        set("listeners", joined(&self.listen));
        set("advertised.listeners", joined(&self.advertise));
        set("ottla.http.port", self.http_port.clone());
        set("ottla.packs", joined(&self.packs));
        set("ottla.services.port", self.services_port.clone());
        set("node.id", self.node_id.clone());
        flags
    }
}

fn refused(error: &LoadError) -> Ended {
    match error {
        LoadError::Read { .. } => Ended::failed(error.to_string()),
        _ => Ended::Usage(error.to_string()),
    }
}
