//! One small HTTP server: health, readiness and metrics of the broker in this process, and on a port of its own the
//! API of its services (`services.rs`).
//!
//! | path | what |
//! |---|---|
//! | `/health`, `/healthz` | 200 and a JSON account; 503 while starting or with a partition offline |
//! | `/ready`, `/readyz` | 200 once everything works, 503 before |
//! | `/version` | name and version |
//! | `/metrics` | Prometheus text, version 0.0.4 |

mod guard;
mod metrics;
mod process;
mod service_metrics;
mod services;
mod status;
mod text;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::broker::Boot;
use crate::clock::Clock;
use crate::config::value::Durability;
use crate::server::ServerMetrics;
use crate::services::http::Api;

use guard::{Guard, Says};

pub use guard::Names;
pub use services::ServicesFace;

/// A client that has not sent its headers by then is cut off.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// Connections at a time; more wait in the backlog.
const CONNECTIONS_MAX: usize = 256;
/// A connection is closed after so long, whatever it does, in ms.
const CONNECTION_MAX_MS: u64 = 60_000;
/// Wait after an accept that failed, in ms.
const ACCEPT_RETRY_MS: u64 = 50;

/// What the pages are made from.
#[derive(Clone, Debug)]
pub struct HttpState {
    /// The broker, once it is ready.
    pub boot: Arc<Boot>,
    /// What the Kafka face counts.
    pub metrics: Arc<ServerMetrics>,
    /// The broker's time.
    pub clock: Clock,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Where its first Kafka listener is.
    pub kafka: SocketAddr,
    /// By which names it may be asked.
    pub names: Names,
    /// The services beside the broker, once they run.
    pub services: Arc<OnceLock<Api>>,
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, state: HttpState, stop: watch::Receiver<bool>) {
    let clock = state.clock.clone();
    serve_router(listener, router(state), clock, stop).await;
}

async fn serve_router(
    listener: TcpListener,
    router: Router,
    clock: Clock,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    while !*stop.borrow() {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), clock.clone());
                    let mut stop = stop.clone();
                    connections.spawn(async move {
                        let _place = place;
                        tokio::select! {
                            () = connection => {}
                            _ = stop.changed() => {}
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "HTTP accept failed");
                    clock.sleep_ms(ACCEPT_RETRY_MS).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.changed() => break,
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, clock: Clock) {
    let service = TowerToHyperService::new(router);
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEADERS_MAX);
    tokio::select! {
        served = server.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = served {
                tracing::debug!(%error, "HTTP connection ended");
            }
        }
        () = clock.sleep_ms(CONNECTION_MAX_MS) => {}
    }
}

fn router(state: HttpState) -> Router {
    let guarded = Guard { names: state.names, says: Says::Text };
    Router::new()
        .route("/health", get(status::health))
        .route("/healthz", get(status::health))
        .route("/ready", get(status::ready))
        .route("/readyz", get(status::ready))
        .route("/version", get(status::version))
        .route("/metrics", get(metrics::page))
        .with_state(state)
        .layer(middleware::from_fn_with_state(guarded, guard::guard))
}
