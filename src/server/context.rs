//! What a handler knows of the connection it answers: the broker, the listener, the client.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::budget::Budget;
use super::faults::Faults;
use super::metrics::ServerMetrics;
use crate::broker::Boot;
use crate::clock::Clock;
use crate::types::NodeId;

/// An address as clients are told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Bounds of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Largest request, size field excluded, in bytes.
    pub(crate) frame_max_bytes: usize,
    /// A connection without request or answer for so long is closed, in ms.
    pub(crate) idle_ms: u64,
}

/// The surroundings of one connection.
pub(crate) struct Context {
    pub(crate) boot: Arc<Boot>,
    /// The node whose listener the client came in on.
    pub(crate) node_id: NodeId,
    /// The listener's name.
    pub(crate) listener: Arc<str>,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    /// Where each node is to be reached by clients of this listener, in node order.
    pub(crate) endpoints: Vec<(NodeId, Endpoint)>,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<ServerMetrics>,
    /// For the requests of all connections.
    pub(crate) budget: Arc<Budget>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) client: Mutex<String>,
}

impl Context {
    /// The client id of the latest request, fit for a log line.
    pub(crate) fn client_id(&self) -> String {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers the client id of a request, where it differs; at most 256 characters of it.
    pub(crate) fn note_client_id(&self, client_id: &str) {
        const SHOWN_CHARS: usize = 256;
        let mut known = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != client_id {
            *known = client_id.escape_debug().take(SHOWN_CHARS).collect();
        }
    }

    /// The address of the node that answers.
    pub(crate) fn own_endpoint(&self) -> Endpoint {
        let own = self.endpoints.iter().find(|(node, _)| *node == self.node_id);
        own.map_or_else(
            || Endpoint { host: self.local.ip().to_string(), port: self.local.port() },
            |(_, endpoint)| endpoint.clone(),
        )
    }
}
