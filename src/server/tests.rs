//! The server apart from a broker that is ready: what is asked while it starts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Faults, Server, ServerMetrics, ServerOptions, bind};
use crate::broker::{Boot, Broker, BrokerOptions, Tasks};
use crate::clock::Clock;
use crate::config::broker::BrokerConfig;
use crate::config::value::Durability;
use crate::ids::Ids;
use crate::log::fs::MemoryFs;
use crate::partition::Flusher;

/// Metadata 1 that announces one topic and ends there.
const CUT_SHORT: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 1];

struct Starting {
    boot: Arc<Boot>,
    tasks: Arc<Tasks>,
    address: SocketAddr,
    config: BrokerConfig,
}

impl Starting {
    async fn new() -> Self {
        let config =
            BrokerConfig { ottla_durability: Durability::Ephemeral, ..BrokerConfig::default() };
        let bound = bind("PLAINTEXT", "127.0.0.1", 0, None, 16).await.expect("a free port");
        let (boot, tasks) = (Arc::new(Boot::default()), Arc::new(Tasks::default()));
        let address = bound.address;
        let metrics = Arc::new(ServerMetrics::default());
        let options = ServerOptions {
            boot: Arc::clone(&boot),
            clock: Clock::system(),
            metrics,
            other_nodes: Vec::new(),
            faults: Faults::default(),
        };
        let server = Server::new(vec![bound], &config, options);
        tasks.spawn("kafka listeners", server.run(tasks.stopping()));
        Self { boot, tasks, address, config }
    }

    /// Sends the request that cannot be read; nothing is known of that before the broker is ready.
    async fn ask(&self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.expect("connected");
        client.write_all(&CUT_SHORT).await.expect("sent");
        client
    }

    fn open(&self) -> Arc<Broker> {
        let (flusher, _thread) = Flusher::start(Clock::system(), 0).expect("a thread");
        let options = BrokerOptions {
            config: self.config.clone(),
            statics: BTreeMap::new(),
            clock: Clock::system(),
            ids: Ids::random(),
            fs: Arc::new(MemoryFs::new()),
            folder: PathBuf::from("data"),
            flusher,
            tasks: Arc::clone(&self.tasks),
            other_nodes: Vec::new(),
        };
        Broker::open(options).expect("opened")
    }

    async fn stop(self) {
        self.tasks.stop();
        self.tasks.join(std::future::pending()).await;
    }
}

async fn check_closed(mut client: TcpStream) {
    assert_eq!(client.read(&mut [0]).await.expect("closed, not reset"), 0);
}

#[tokio::test]
async fn a_request_refused_once_the_broker_is_ready_ends_its_connection() {
    let starting = Starting::new().await;
    let client = starting.ask().await;
    starting.boot.set_ready(starting.open());
    check_closed(client).await;
    starting.stop().await;
}

#[tokio::test]
async fn a_request_to_a_broker_that_never_starts_ends_its_connection() {
    let starting = Starting::new().await;
    let client = starting.ask().await;
    starting.boot.set_failed();
    check_closed(client).await;
    starting.stop().await;
}
