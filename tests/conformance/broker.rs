//! The broker under test: one in this process, or any that already runs.
//!
//! With `OTTLA_TEST_BOOTSTRAP=HOST:PORT` in the environment every test asks the broker there; it may
//! be an Apache Kafka, the oracle of these tests. Where ottla means to differ from it, a test asks
//! [`Broker::is_kafka`] and says why beside it.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use ottla::config::ConfigTable;
use ottla::protocol::ErrorCode;
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::{Builder, Ottla};
use tokio::runtime::Runtime;

use super::client::Client;
use super::kit;

/// A broker to ask; one of this process stops when it is dropped.
#[derive(Debug)]
pub struct Broker {
    address: String,
    is_kafka: OnceLock<bool>,
    own: Option<Own>,
}

/// A broker in this process, and what it runs on.
#[derive(Debug)]
struct Own {
    runtime: Runtime,
    ottla: Option<Ottla>,
}

/// The broker that all tests share: they use topics and groups of their own.
pub fn shared() -> &'static Broker {
    static SHARED: OnceLock<Broker> = OnceLock::new();
    SHARED.get_or_init(|| {
        let broker = Broker::start();
        if broker.is_kafka() {
            broker.wait_for_coordinator();
        }
        broker
    })
}

impl Broker {
    /// A broker of the test's own; the given one, if the environment names one.
    pub fn start() -> Self {
        match std::env::var("OTTLA_TEST_BOOTSTRAP") {
            Ok(address) => Self { address, is_kafka: OnceLock::new(), own: None },
            Err(_) => Self::start_with(|builder| builder),
        }
    }

    /// A broker of the test's own with settings of its own, whatever the environment says.
    pub fn start_with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let ottla = runtime.block_on(change(Ottla::builder().ephemeral()).start()).unwrap();
        let address = ottla.bootstrap_servers();
        let own = Some(Own { runtime, ottla: Some(ottla) });
        Self { address, is_kafka: OnceLock::from(false), own }
    }

    /// A broker of the test's own with these settings, by Kafka's names.
    pub fn start_set(settings: &[(&str, &str)]) -> Self {
        Self::start_with(|builder| {
            builder.with_config(|config| {
                for (name, value) in settings {
                    config.set(name, value).unwrap();
                }
            })
        })
    }

    /// Stops a broker of the test's own.
    pub fn stop(self) {
        drop(self);
    }

    /// What runs here.
    fn ottla(&self) -> &Ottla {
        self.own.as_ref().and_then(|own| own.ottla.as_ref()).unwrap()
    }

    /// The broker behind the sockets of one of this process.
    pub fn broker(&self) -> &ottla::broker::Broker {
        self.ottla().broker()
    }

    /// Lets retention look once.
    pub fn enforce_retention(&self) {
        self.ottla().broker().enforce_retention();
    }

    /// Bytes that it has read from all its connections.
    pub fn received_bytes(&self) -> u64 {
        self.ottla().metrics().received_bytes.load(Ordering::SeqCst)
    }

    /// Its open connections.
    pub fn connection_count(&self) -> i64 {
        self.ottla().metrics().connections.load(Ordering::SeqCst)
    }

    /// `HOST:PORT` of each of its listeners, by name.
    pub fn listeners(&self) -> Vec<(String, String)> {
        let addresses = self.ottla().listeners().iter();
        addresses.map(|(name, address)| (name.clone(), address.to_string())).collect()
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A new connection to it.
    pub fn connect(&self) -> Client {
        Client::connect_to(&self.address)
    }

    /// Whether somebody else has started it, in another process.
    pub fn is_given(&self) -> bool {
        self.own.is_none()
    }

    /// Differs from Kafka: there a fresh broker's coordinators are not to be had for a moment (15).
    fn wait_for_coordinator(&self) {
        let mut client = self.connect();
        for key_type in [0, 1] {
            let key = "warm".to_owned();
            let find = FindCoordinatorRequest { key, key_type, ..Default::default() };
            kit::until("the coordinator is there", || {
                client.call(2, &find).error_code == ErrorCode::None
            });
        }
    }

    /// Whether it is an Apache Kafka.
    pub fn is_kafka(&self) -> bool {
        *self.is_kafka.get_or_init(|| self.connect().is_kafka())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let Some(ottla) = self.ottla.take() else { return };
        let stopped = self.runtime.block_on(ottla.stop());
        assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
    }
}
